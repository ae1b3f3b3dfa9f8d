"""No redundancy: the baseline that every code has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Weights
from schemes.base.counting import Allowance, at_most
from schemes.base.linear import PlainScheme
from simulator.parameters import IntArray, PositiveCount


@dataclass(frozen=True)
class Uncoded(PlainScheme):
    """Each worker computes its own n-th of the data, and the master needs all responses.

    Examples
    --------
    >>> Uncoded(n_workers=4).load
    0.25
    """

    label = "uncoded"

    n_workers: PositiveCount

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        yield cls(n_workers=n_workers)

    def weights(self, answered: IntArray) -> Weights:
        values = np.zeros(self.n_workers)
        values[answered] = 1.0
        return Weights(values)

    def allowance(self) -> Allowance:
        return at_most(0, self.n_workers)

    @property
    def tolerates(self) -> str:
        return "no straggler"

    @property
    def load_bound(self) -> float:
        return 1 / self.n_workers
