"""Gradient coding whose responses are parts of a gradient."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Weights
from schemes.base.counting import Allowance, at_most
from schemes.base.linear import LinearScheme
from schemes.base.patterns import any_of
from schemes.codes import supported_matrix, supported_weights
from simulator.parameters import Count, FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class CommunicationEfficientGradientCoding(LinearScheme):
    """Worker i computes chunks i..i+s+m-1 (mod n) and sends 1/m of a gradient; any n - s responses are enough.

    A gradient is cut into ``m`` parts, and a response is one combination of the parts of all chunks that the worker
    holds. With m = 1 it is gradient coding.

    References
    ----------
    Ye and Abbe, "Communication-Computation Efficient Gradient Coding", ICML 2018. Coefficients are random here, with
    which decoding is well conditioned.

    Examples
    --------
    >>> code = CommunicationEfficientGradientCoding(n_workers=5, s=1, m=2)
    >>> code.load, code.chunks_of(4), code.weights(np.array([4, 0, 2, 1])).values.shape
    (0.6, (0, 1, 4), (5, 2))
    """

    n_workers: PositiveCount
    s: Count
    """stragglers tolerated per round, whichever they are"""
    m: PositiveCount
    """parts of a gradient: a response has 1/m of its size; s + m is at most the number of workers"""

    def __post_init__(self) -> None:
        if self.s >= self.n_workers:
            raise ValueError(f"s must be between 0 and {self.n_workers - 1}, got {self.s}")
        if self.s + self.m > self.n_workers:
            raise ValueError(f"m must be between 1 and {self.n_workers - self.s} (s + m at most n), got {self.m}")

    @property
    def blocks(self) -> int:
        return self.m

    def encoding_matrix(self) -> FloatArray:
        workers = np.arange(self.n_workers)
        holders = (workers[:, np.newaxis] - np.arange(self.s + self.m)) % self.n_workers
        return supported_matrix(holders, self.n_workers, self.m)

    def weights(self, answered: IntArray) -> Weights:
        return supported_weights(self.n_workers, self.s, self.m, answered)

    def worker_loads(self) -> FloatArray:
        return np.full(self.n_workers, (self.s + self.m) / self.n_workers)

    def chunks_of(self, worker: int) -> tuple[int, ...]:
        return tuple(sorted((worker + offset) % self.n_workers for offset in range(self.s + self.m)))

    @property
    def n_error_blocks(self) -> int:
        return self.n_workers * self.m

    def allowance(self) -> Allowance:
        return at_most(self.s, self.n_workers)

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.s, 'straggler')} in every round"
