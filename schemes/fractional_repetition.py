"""GC-Rep: groups of replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.counting import Allowance
from schemes.base.linear import LinearScheme
from schemes.base.patterns import any_of
from schemes.codes import Repetition
from simulator.parameters import Count, PositiveCount


@dataclass(frozen=True)
class FractionalRepetition(Repetition, LinearScheme):
    """Give ``s + 1`` neighbouring workers the same chunks; any one of them is enough.

    References
    ----------
    Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, section 4.1.

    Examples
    --------
    >>> FractionalRepetition(n_workers=4, s=1).encoding_matrix().astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 1],
           [0, 0, 1, 1]])
    """

    code = "fractional_repetition"
    label = "GC-Rep"

    n_workers: PositiveCount
    s: Count
    """stragglers tolerated per round, whichever they are; s + 1 divides the number of workers"""

    def __post_init__(self) -> None:
        if self.s >= self.n_workers:
            raise ValueError(f"s must be between 0 and {self.n_workers - 1}, got {self.s}")
        if self.n_workers % (self.s + 1):
            raise ValueError(f"workers must be a multiple of s + 1 = {self.s + 1}, got {self.n_workers}")

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        return (cls(n_workers=n_workers, s=s) for s in range(1, n_workers) if n_workers % (s + 1) == 0)

    def allowance(self) -> Allowance:
        replicas = self.s + 1
        group_of = np.arange(self.n_workers) // replicas
        return Allowance(group_of, np.full(self.n_workers // replicas, self.s))

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.s, 'straggler')} in every round; more while each group of {self.s + 1} has a response"
