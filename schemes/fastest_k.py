"""Ignore the slowest: an approximate gradient from the first responses."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from schemes.base.batch import Closed
from schemes.base.codec import Weights
from schemes.base.counting import Allowance, at_most
from schemes.base.linear import PlainScheme
from schemes.base.patterns import any_of
from schemes.base.shuffling import SEED, SHUFFLE
from simulator.parameters import Count, FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class FastestK(PlainScheme):
    """Uncoded work; the sum of the first k responses, scaled by n/k, stands for the gradient.

    The squared error is that of k coefficients n/k and n - k zeros against n ones: n(n - k)/k. Responses after
    the k-th change nothing. A round that is closed by force with r < k responses returns their sum times n/r.

    References
    ----------
    Dutta, Joshi, Ghosh, Dube and Nagpurkar, "Slow and Stale Gradients Can Win the Race", AISTATS 2018 (k-sync SGD).

    Examples
    --------
    >>> FastestK(n_workers=4, k=2).squared_error(np.array([True, True, False, False]), enough=True)
    4.0
    """

    n_workers: PositiveCount
    k: PositiveCount
    """responses that the master uses"""
    shuffle: bool = Field(default=False, repr=False, kw_only=True, description=SHUFFLE)
    seed: Count = Field(default=0, repr=False, kw_only=True, description=SEED)

    def __post_init__(self) -> None:
        if self.k > self.n_workers:
            raise ValueError(f"k must be between 1 and {self.n_workers}, got {self.k}")

    def weights(self, answered: IntArray) -> Weights:
        used = answered[: self.k]
        values = np.zeros(self.n_workers)
        values[used] = self.n_workers / max(1, len(used))
        return Weights(values)

    def allowance(self) -> Allowance:
        return at_most(self.n_workers - self.k, self.n_workers)

    def squared_errors(self, closed: Closed) -> FloatArray:
        n_used = np.minimum(self.k, self.n_workers - np.count_nonzero(closed.missing, axis=1))
        errors = self.n_workers * (self.n_workers - n_used) / np.maximum(n_used, 1)
        return np.where(n_used > 0, errors, np.nan)

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.n_workers - self.k, 'straggler')} in every round, at the price of an approximate gradient"
