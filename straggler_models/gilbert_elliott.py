"""Bursts: a slow worker tends to stay slow."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import BoolArray, Factor, Probability
from straggler_models.base import ChainModel


@dataclass(frozen=True)
class GilbertElliott(ChainModel):
    """Each worker is fast or slow, and changes state between rounds (a Markov chain).

    It starts in the stationary distribution: a share p_slow/(p_slow + p_recover) of the workers is slow, in bursts of
    1/p_recover rounds on average. With p_slow = p_recover = 0 no worker is ever slow.

    Source: Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical Journal 1960; fitted to AWS Lambda by
    Krishnan, Ebrahimi and Khisti, ICLR 2023.

    Examples
    --------
    >>> model = GilbertElliott(p_slow=1.0, p_recover=0.0, slowdown=4.0)
    >>> next(model.rounds(2, np.random.default_rng(1))).slowdown[0]
    array([4., 4.])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("p_slow", "p_recover", "slowdown")

    p_slow: Probability
    """P(fast -> slow) from one round to the next"""
    p_recover: Probability
    """P(slow -> fast) from one round to the next"""
    slowdown: Factor
    """how many times longer a slow worker takes; .inf: it never answers"""

    @property
    def may_never_answer(self) -> bool:
        return self.slowdown == np.inf and self.p_slow > 0

    def chances(self) -> tuple[float, float, float]:
        return self.p_slow, self.p_recover, self.slowdown

    def start(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        changes = np.asarray(self.p_slow + self.p_recover)
        share = np.divide(self.p_slow, changes, out=np.zeros(changes.shape), where=changes > 0)
        return np.asarray(rng.random(n_workers) < share)
