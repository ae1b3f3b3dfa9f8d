"""Some workers never answer."""

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Count
from straggler_models.base import Drawn, DrawnModel, WorkerTimes, some_workers


@dataclass(frozen=True)
class FailedWorkers(DrawnModel):
    """`count` workers, chosen uniformly, never answer.

    Source: the failed workers of Ramamoorthy, Meng and Girimaji, "Leveraging partial stragglers within gradient
    coding", NeurIPS 2024, section 5.

    Examples
    --------
    >>> next(FailedWorkers(count=2, drawn="per_run").rounds(2, np.random.default_rng(1))).slowdown[0]
    array([inf, inf])
    """

    count: Count
    """number of workers that fail"""
    drawn: Drawn
    """whether each round draws anew which workers fail, or the whole run once"""

    @property
    def is_drawn_once(self) -> bool:
        return self.drawn == "per_run"

    @property
    def may_never_answer(self) -> bool:
        return self.count > 0

    def check(self, n_workers: int, n_rounds: int) -> None:
        if self.count > n_workers:
            raise ValueError(f"count must be between 0 and {n_workers}, got {self.count}")

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        failed = some_workers(n_rounds, n_workers, self.count, rng)
        return WorkerTimes(slowdown=np.where(failed, np.inf, 1.0))
