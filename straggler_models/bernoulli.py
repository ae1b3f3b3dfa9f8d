"""Stragglers without memory."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Factor, FloatArray, Probability
from straggler_models.base import StandardModel, slow_down


@dataclass(frozen=True)
class Bernoulli(StandardModel):
    """Each worker is slow in each round with probability p, independently.

    Source: the random-straggler model of Tandon et al., "Gradient Coding", ICML 2017, with a finite slowdown too.

    Examples
    --------
    >>> next(Bernoulli(p=1.0, slowdown=3.0).rounds(2, np.random.default_rng(1))).slowdown[0]
    array([3., 3.])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("p", "slowdown")

    p: Probability
    """probability of being slow in a round"""
    slowdown: Factor
    """how many times longer a slow worker takes; .inf: it never answers"""

    @property
    def may_never_answer(self) -> bool:
        return self.slowdown == np.inf and self.p > 0

    @staticmethod
    def fill(draws: FloatArray, rng: np.random.Generator) -> None:
        rng.random(out=draws)

    def turn(self, draws: FloatArray) -> None:
        slow_down(draws, draws < self.p, self.slowdown)
