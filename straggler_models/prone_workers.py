"""Workers that straggle more often than others."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Factor, Probability, Share
from straggler_models.base import BLOCK_ROUNDS, StragglerModel, WorkerTimes, slow_down, some_workers


@dataclass(frozen=True)
class ProneWorkers(StragglerModel):
    """Some workers straggle more often than the others: they are slow in each round with probability p, independently.

    ``round(share * workers)`` workers, chosen uniformly once, are prone.

    Examples
    --------
    >>> next(ProneWorkers(share=0.5, p=1.0, slowdown=3.0).rounds(4, np.random.default_rng(1))).slowdown[:2]
    array([[3., 3., 1., 1.],
           [3., 3., 1., 1.]])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("p", "slowdown")

    share: Share
    """share of the workers that is prone"""
    p: Probability
    """probability that a prone worker is slow in a round"""
    slowdown: Factor
    """how many times longer it then takes; .inf: it never answers"""

    @property
    def may_never_answer(self) -> bool:
        return self.slowdown == np.inf and self.share > 0 and self.p > 0

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        is_prone = some_workers(1, n_workers, round(self.share * n_workers), rng)[0]
        while True:
            slowdown = rng.random((BLOCK_ROUNDS, n_workers))
            slow_down(slowdown, (slowdown < self.p) & is_prone, self.slowdown)
            yield WorkerTimes(slowdown=slowdown)
