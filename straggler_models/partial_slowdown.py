"""Partial stragglers: slow, but not idle."""

from collections.abc import Iterator

import numpy as np
from pydantic.dataclasses import dataclass

from straggler_models.base import BLOCK_ROUNDS, Drawn, Factor, Share, StragglerModel, WorkerTimes, some_workers


@dataclass(frozen=True)
class PartialSlowdown(StragglerModel):
    """A share of the workers goes on at a fraction of its speed.

    ``round(share * workers)`` workers, chosen uniformly, have a slowdown drawn uniformly between two bounds.

    Source: the partial stragglers of Ramamoorthy, Meng and Girimaji, "Leveraging partial stragglers within gradient
    coding", NeurIPS 2024, section 1.

    Examples
    --------
    >>> model = PartialSlowdown(share=0.5, slowdown_min=2.0, slowdown_max=2.0, drawn="per_run")
    >>> sorted(next(model.rounds(2, np.random.default_rng(1))).slowdown[0].tolist())
    [1.0, 2.0]
    """

    share: Share
    """share of the workers that is slow"""
    slowdown_min: Factor
    """smallest factor on a slow worker's times"""
    slowdown_max: Factor
    """largest factor on a slow worker's times"""
    drawn: Drawn
    """whether who is slow, and how slow, is drawn anew in every round or once"""

    def __post_init__(self) -> None:
        if not self.slowdown_min <= self.slowdown_max < np.inf:
            raise ValueError(
                f"slowdown_max must be finite and at least slowdown_min = {self.slowdown_min}, got {self.slowdown_max}"
            )

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        per_run = self.drawn == "per_run"
        n_slow, n_rounds = round(self.share * n_workers), 1 if per_run else BLOCK_ROUNDS
        while True:
            is_slow = some_workers(n_rounds, n_workers, n_slow, rng)
            factors = rng.uniform(self.slowdown_min, self.slowdown_max, (n_rounds, n_workers))
            times = WorkerTimes(slowdown=np.where(is_slow, factors, 1.0))
            yield times
            while per_run:
                yield times
