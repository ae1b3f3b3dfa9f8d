"""(n, s)-GC, the cyclic repetition code."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base import Allowance, Count, FloatArray, IntArray, PositiveCount, at_most
from schemes.codec import Weights
from schemes.linear import LinearScheme, least_squares_weights
from schemes.patterns import load_bound


@dataclass(frozen=True)
class GradientCoding(LinearScheme):
    """Worker i combines chunks i..i+s (mod n) so that any n - s answers give the sum.

    References
    ----------
    Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, section 4.2 and algorithm 2.

    Examples
    --------
    >>> code = GradientCoding(n_workers=5, s=2)
    >>> bool(np.allclose(code.decode([4, 0, 2]) @ code.encoding_matrix()[[4, 0, 2]], 1))
    True
    """

    n_workers: PositiveCount
    s: Count
    """stragglers tolerated per round, whoever they are"""

    def __post_init__(self) -> None:
        if self.s >= self.n_workers:
            raise ValueError(f"s must be between 0 and {self.n_workers - 1}, got {self.s}")

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


@functools.lru_cache(maxsize=8)
def cyclic_repetition(n_workers: int, s: int) -> FloatArray:
    """Encoding matrix of the cyclic repetition code, shape ``(n_workers, n_workers)``, read-only.

    With H random of shape (s, n) whose rows sum to zero, every row of the matrix lies in the null space of H,
    which any n - s of them span, and so does the all-ones vector. A random H keeps the decoding well
    conditioned where integer nodes would not. It is drawn from a fixed seed: the code belongs to (n, s).

    Examples
    --------
    >>> np.count_nonzero(cyclic_repetition(4, 1), axis=1)
    array([2, 2, 2, 2])
    """
    rng = np.random.default_rng([n_workers, s])
    checks = rng.standard_normal((s, n_workers))
    checks[:, -1] = -checks[:, :-1].sum(axis=1)
    matrix = np.eye(n_workers)
    if s:
        for worker in range(n_workers):
            others = np.arange(worker + 1, worker + s + 1) % n_workers
            matrix[worker, others] = -np.linalg.solve(checks[:, others], checks[:, worker])
    matrix.setflags(write=False)
    return matrix


class _Solutions(NamedTuple):
    """All a with ``a @ B == 1``: one of them, and what may be added."""

    inverse: FloatArray  # pseudo-inverse of B^T, shape (n_workers, n_workers): makes the solution of smallest norm
    smallest: FloatArray  # that solution, shape (n_workers,)
    free: FloatArray  # an orthonormal basis of the a with ``a @ B == 0``, shape (s, n_workers)


@functools.lru_cache(maxsize=8)
def _solutions(n_workers: int, s: int) -> _Solutions:
    left, singular, right = np.linalg.svd(cyclic_repetition(n_workers, s))
    rank = n_workers - s  # of the code, by construction
    inverse = (left[:, :rank] / singular[:rank]) @ right[:rank]
    smallest = inverse.sum(axis=1)
    smallest.setflags(write=False)  # it is handed out
    return _Solutions(inverse, smallest, np.ascontiguousarray(left[:, rank:].T))


def cyclic_weights(n_workers: int, s: int, answered: IntArray) -> Weights:
    """Weights of smallest norm that make the sum of all chunks out of the answers of at least n - s workers.

    They are what least squares over the answers gives, for the price of a system with a row for each *missing* worker:
    the code has a weight vector for everybody, and an s-dimensional space of vectors that add nothing; of these,
    one is added that makes the weights of the missing workers 0. The condition number is that of this system. What
    rounding leaves is solved for once more: that wins one or two digits. What is left then is the rounding of the
    answers themselves, times their weights.

    Examples
    --------
    >>> weights = cyclic_weights(5, 2, np.array([4, 0, 2])).values
    >>> bool(np.allclose(weights @ cyclic_repetition(5, 2), 1)), np.flatnonzero(weights).tolist()
    (True, [0, 2, 4])
    """
    inverse, smallest, free = _solutions(n_workers, s)
    is_missing = np.ones(n_workers, dtype=np.bool_)
    is_missing[answered] = False
    missing = np.flatnonzero(is_missing)
    if not len(missing):
        return Weights(smallest)
    if len(missing) > s:  # not the sum, but what comes nearest to it
        return least_squares_weights(cyclic_repetition(n_workers, s), answered)
    left, singular, right = np.linalg.svd(free.take(missing, axis=1), full_matrices=False)
    of_missing = (right.T / singular) @ left.T  # what of the vectors to add, for each unit of a missing worker's weight
    values = smallest - smallest[missing] @ of_missing @ free
    values[missing] = 0.0
    values += inverse @ (1.0 - values @ cyclic_repetition(n_workers, s))
    values -= values[missing] @ of_missing @ free
    values[missing] = 0.0
    return Weights(values, float(singular[0] / singular[-1]))
