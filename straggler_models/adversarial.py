"""The pattern behind the lower bound on load."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Count, Factor, PositiveCount
from straggler_models.base import StragglerModel, WorkerTimes


@dataclass(frozen=True)
class Adversarial(StragglerModel):
    """Workers 0..lam-1 are slow in B rounds, then no worker is slow in W - 1 rounds, and so on.

    The pattern is (B, W, lam)-bursty, and no scheme with a load below the bound tolerates it.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, the proof of the lower bound on load.

    Examples
    --------
    >>> next(Adversarial(B=1, W=2, lam=1, slowdown=5.0).rounds(2, np.random.default_rng(1))).slowdown
    array([[5., 1.],
           [1., 1.]])
    """

    is_random: ClassVar[bool] = False

    B: PositiveCount
    """length of a burst, in rounds"""
    W: PositiveCount
    """window of the pattern, in rounds; at least B"""
    lam: Count
    """number of workers that straggle in a burst"""
    slowdown: Factor
    """how many times longer a slow worker takes; .inf: it never answers"""

    def __post_init__(self) -> None:
        if self.B > self.W:
            raise ValueError(f"B must be between 1 and W = {self.W}, got {self.B}")

    @property
    def may_never_answer(self) -> bool:
        return self.slowdown == np.inf and self.lam > 0

    def check(self, n_workers: int, n_rounds: int) -> None:
        if self.lam > n_workers:
            raise ValueError(f"lam must be between 0 and {n_workers}, got {self.lam}")

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        slowdown = np.ones((self.B + self.W - 1, n_workers))
        slowdown[: self.B, : self.lam] = self.slowdown
        while True:
            yield WorkerTimes(slowdown=slowdown)
