"""(n, s)-GC, the cyclic repetition code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Weights
from schemes.base.counting import Allowance, at_most
from schemes.base.linear import LinearScheme
from schemes.base.patterns import load_bound
from schemes.base.scheme import Count, FloatArray, IntArray, PositiveCount
from schemes.codes import cyclic_repetition, cyclic_weights


@dataclass(frozen=True)
class GradientCoding(LinearScheme):
    """Worker i combines chunks i..i+s (mod n) so that any n - s responses give the sum.

    References
    ----------
    Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, section 4.2 and algorithm 2.

    Examples
    --------
    >>> code = GradientCoding(n_workers=5, s=2)
    >>> bool(np.allclose(code.decode([4, 0, 2]) @ code.encoding_matrix()[[4, 0, 2]], 1))
    True
    """

    label = "GC"

    n_workers: PositiveCount
    s: Count
    """stragglers tolerated per round, whoever they are"""

    def __post_init__(self) -> None:
        if self.s >= self.n_workers:
            raise ValueError(f"s must be between 0 and {self.n_workers - 1}, got {self.s}")

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        return (cls(n_workers=n_workers, s=s) for s in range(1, n_workers))

    def encoding_matrix(self) -> FloatArray:
        return cyclic_repetition(self.n_workers, self.s)

    def worker_loads(self) -> FloatArray:  # the same as counting in the matrix, without its n^2 entries
        return np.full(self.n_workers, (self.s + 1) / self.n_workers)

    def chunks_of(self, worker: int) -> tuple[int, ...]:
        return tuple(sorted((worker + offset) % self.n_workers for offset in range(self.s + 1)))

    def weights(self, answered: IntArray) -> Weights:
        return cyclic_weights(self.n_workers, self.s, answered)

    def allowance(self) -> Allowance:
        return at_most(self.s, self.n_workers)

    @property
    def tolerates(self) -> str:
        return f"any {self.s} stragglers in every round"

    @property
    def load_bound(self) -> float:
        return load_bound(self.n_workers, B=1, W=1, lam=self.s)
