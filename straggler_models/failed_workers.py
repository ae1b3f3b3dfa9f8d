"""Some workers never answer."""

from collections.abc import Iterator

import numpy as np
from pydantic.dataclasses import dataclass

from straggler_models.base import BLOCK_ROUNDS, Count, Drawn, StragglerModel, WorkerTimes, some_workers


@dataclass(frozen=True)
class FailedWorkers(StragglerModel):
    """So many workers, chosen uniformly, never answer.

    Source: the failed workers of Ramamoorthy, Meng and Girimaji, "Leveraging partial stragglers within gradient
    coding", NeurIPS 2024, section 5.

    Examples
    --------
    >>> next(FailedWorkers(count=2, drawn="per_run").rounds(2, np.random.default_rng(1))).slowdown[0]
    array([inf, inf])
    """

    count: Count
    """how many workers fail"""
    drawn: Drawn
    """whether who fails is drawn anew in every round or once"""

    @property
    def may_never_answer(self) -> bool:
        return self.count > 0

    def check(self, n_workers: int, n_rounds: int) -> None:
        if self.count > n_workers:
            raise ValueError(f"count must be between 0 and {n_workers}, got {self.count}")

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        failed = np.zeros((BLOCK_ROUNDS, n_workers), dtype=np.bool_)
        if self.drawn == "per_run":
            failed |= some_workers(1, n_workers, self.count, rng)
        while True:
            if self.drawn == "per_round":
                failed = some_workers(BLOCK_ROUNDS, n_workers, self.count, rng)
            yield WorkerTimes(slowdown=np.where(failed, np.inf, 1.0))
