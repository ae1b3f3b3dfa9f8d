"""Workers that become slow and stay so."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from simulator.parameters import BoolArray, Factor, Probability
from straggler_models.base import ChainModel

MeanRounds = Annotated[float, Field(ge=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class FailSlow(ChainModel):
    """Before each round, also the first, each usual worker becomes slow with probability p_fail, for long or for good.

    By round t (from 0) a share 1 - (1 - p_fail)^(t + 1) of the workers has failed; without ``mean_rounds`` they are
    slow to the end. With it, a slow worker recovers before the next round with probability 1/mean_rounds.

    Source: Gunawi et al., "Fail-Slow at Scale: Evidence of Hardware Performance Faults in Large Production Systems",
    FAST 2018.

    Examples
    --------
    >>> next(FailSlow(p_fail=0.3, slowdown=3.0).rounds(2, np.random.default_rng(7))).slowdown[:4]
    array([[1., 1.],
           [1., 3.],
           [1., 3.],
           [3., 3.]])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("p_fail", "slowdown", "mean_rounds")

    p_fail: Probability
    """probability that a worker becomes slow, before each round"""
    slowdown: Factor
    """how many times longer a slow worker takes; .inf: it never answers"""
    mean_rounds: MeanRounds | None = None
    """mean number of rounds that a worker is slow, a geometric number; null: it stays slow for good"""

    @property
    def may_never_answer(self) -> bool:
        return self.slowdown == np.inf and self.p_fail > 0

    def chances(self) -> tuple[float, float, float]:
        return self.p_fail, 0.0 if self.mean_rounds is None else 1 / self.mean_rounds, self.slowdown

    def start(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        return rng.random(n_workers) < self.p_fail
