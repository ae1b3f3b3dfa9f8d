"""Partial stragglers: slow, but not idle."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Factor, Share
from straggler_models.base import BLOCK_ROUNDS, Drawn, DrawnModel, WorkerTimes, some_workers


@dataclass(frozen=True)
class PartialSlowdown(DrawnModel):
    """A share of the workers works at a fraction of its usual speed.

    ``round(share * workers)`` workers, chosen uniformly, have a slowdown drawn uniformly between two bounds.

    Source: the partial stragglers of Ramamoorthy, Meng and Girimaji, "Leveraging partial stragglers within gradient
    coding", NeurIPS 2024, section 1.

    Examples
    --------
    >>> model = PartialSlowdown(share=0.5, slowdown_min=2.0, slowdown_max=2.0, drawn="per_run")
    >>> sorted(next(model.rounds(2, np.random.default_rng(1))).slowdown[0].tolist())
    [1.0, 2.0]
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("slowdown_min", "slowdown_max")

    share: Share
    """share of the workers that is slow"""
    slowdown_min: Factor
    """smallest factor on a slow worker's times"""
    slowdown_max: Factor
    """largest factor on a slow worker's times"""
    drawn: Drawn
    """whether each round draws anew which workers are slow and how slow they are, or the whole run once"""

    def __post_init__(self) -> None:
        if not self.slowdown_min <= self.slowdown_max < np.inf:
            raise ValueError(
                f"slowdown_max must be finite and at least slowdown_min = {self.slowdown_min}, got {self.slowdown_max}"
            )

    @property
    def is_drawn_once(self) -> bool:
        return self.drawn == "per_run"

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        n_rounds = 1 if self.is_drawn_once else BLOCK_ROUNDS
        is_slow = some_workers(n_rounds, n_workers, round(self.share * n_workers), rng)
        factors = rng.uniform(self.slowdown_min, self.slowdown_max, (n_rounds, n_workers))
        return WorkerTimes(slowdown=np.where(is_slow, factors, 1.0))
