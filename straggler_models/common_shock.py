"""Rounds in which many workers are slow together."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Factor, Probability, Share
from straggler_models.base import BLOCK_ROUNDS, DrawnModel, WorkerTimes


@dataclass(frozen=True)
class CommonShock(DrawnModel):
    """A round is hit with probability p; in it, each worker is slow with probability ``share``.

    Independent stragglers never explain rounds in which 106 of 256 AWS Lambda workers are slow together, as measured
    beside Krishnan, Ebrahimi and Khisti, ICLR 2023. Source of the idea: Marshall and Olkin, "A Multivariate
    Exponential Distribution", JASA 1967.

    Examples
    --------
    >>> next(CommonShock(p=1.0, share=1.0, slowdown=3.0).rounds(2, np.random.default_rng(1))).slowdown[0]
    array([3., 3.])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("p", "share", "slowdown")

    p: Probability
    """probability that a round is hit"""
    share: Share
    """probability that a worker is slow in a round that is hit"""
    slowdown: Factor
    """how many times longer a slow worker takes; .inf: it never answers"""

    @property
    def may_never_answer(self) -> bool:
        return self.slowdown == np.inf and self.p > 0 and self.share > 0

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        is_hit = rng.random((BLOCK_ROUNDS, 1)) < self.p
        is_slow = is_hit & (rng.random((BLOCK_ROUNDS, n_workers)) < self.share)
        return WorkerTimes(slowdown=np.where(is_slow, self.slowdown, 1.0))
