"""The codes of one job that several schemes use: cyclic and fractional repetition, their matrices and weights."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from schemes.base.codec import Weights, least_squares_weights
from schemes.base.patterns import load_bound
from simulator.parameters import FloatArray, IntArray

if TYPE_CHECKING:
    from schemes.base.patterns import Accepts, Code, LateResponses


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


@functools.lru_cache(maxsize=8)
def fractional_repetition(n_workers: int, s: int) -> FloatArray:
    """Encoding matrix of groups of s + 1 neighbours that hold the same chunks, shape ``(n_workers, n_workers)``."""
    replicas = s + 1
    matrix = np.kron(np.eye(n_workers // replicas), np.ones((replicas, replicas))).astype(np.float64)
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
    """Weights of smallest norm that make the sum of all chunks out of the responses of at least n - s workers.

    They are what least squares over the responses gives, for the price of a system with a row for each *missing*
    worker: the code has a weight vector for everybody, and an s-dimensional space of vectors that add nothing; of
    these, one is added that makes the weights of the missing workers 0. The condition number is that of this system.
    What rounding leaves is solved for once more: that wins one or two digits. What is left then is the rounding of the
    responses themselves, times their weights.

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


def repetition_weights(n_workers: int, replicas: int, answered: IntArray) -> Weights:
    """The first response of each group of neighbours counts, the others say the same.

    Examples
    --------
    >>> repetition_weights(4, 2, np.array([3, 0, 2])).values
    array([1., 0., 0., 1.])
    """
    values = np.zeros(n_workers)
    _, first = np.unique(answered // replicas, return_index=True)
    values[answered[first]] = 1.0
    return Weights(values)


def check_replicas(code: Code, n_workers: int, replicas: int, formula: str) -> None:
    """Refuse groups of replicas that do not divide the workers."""
    if code == "fractional_repetition" and n_workers % replicas:
        raise ValueError(
            f"workers must be a multiple of {formula} = {replicas} for code: fractional_repetition, got {n_workers}"
        )


def check_published(accepts: Accepts, late_responses: LateResponses, *, as_published: bool) -> None:
    """Refuse what the published simulator does in its own way."""
    if as_published and accepts != "pattern":
        raise ValueError(f"accepts must be left out with as_published, which has a rule of its own, got {accepts}")
    if as_published and late_responses != "drop":
        raise ValueError(f"late_responses must be drop with as_published, got {late_responses}")


class _Checks(NamedTuple):
    """What messages add up to with some weights, whoever holds what: orthonormal rows, one weight for each worker."""

    nothing: FloatArray  # weights with which they cancel out, shape (s, n_workers)
    parts: FloatArray  # weights with which they add up to each part of the gradient, shape (blocks, n_workers)


@functools.lru_cache(maxsize=8)
def _checks(n_workers: int, s: int, blocks: int) -> _Checks:
    rows = np.linalg.qr(np.random.default_rng([n_workers, s, blocks]).standard_normal((n_workers, s + blocks)))[0].T
    rows.setflags(write=False)  # they are handed out
    return _Checks(rows[:s], rows[s:])


def supported_matrix(holders: IntArray, n_workers: int, blocks: int = 1) -> FloatArray:
    """Encoding matrix of a code that decodes without any s workers, whoever holds what.

    Each gradient is cut into ``blocks`` parts, and a message is one combination of the parts of the worker's chunks:
    1/blocks of a gradient. With random weights, s of which are to cancel out all messages and ``blocks`` to give the
    parts of the gradient, a chunk's coefficients solve as many equations as it has holders, s + blocks.

    Parameters
    ----------
    holders
        The workers that hold each chunk, shape ``(n_chunks, s + blocks)``.

    Returns
    -------
    matrix
        Shape ``(n_workers, n_chunks * blocks)``, the parts of a chunk side by side.

    Examples
    --------
    >>> matrix = supported_matrix(np.array([[0, 1], [2, 0], [1, 0]]), n_workers=3)
    >>> weights = supported_weights(3, 1, 1, np.array([2, 1])).values
    >>> bool(np.allclose(weights.T @ matrix[:, [1, 2]], 1)), (matrix != 0).astype(int).tolist()
    (True, [[1, 1, 1], [1, 0, 1], [0, 1, 0]])
    """
    n_chunks, n_holders = holders.shape
    checks = np.concatenate(_checks(n_workers, n_holders - blocks, blocks))
    wanted = np.eye(n_holders)[:, n_holders - blocks :]
    found = np.linalg.solve(checks.T[holders].transpose(0, 2, 1), wanted)  # shape (n_chunks, n_holders, blocks)
    matrix = np.zeros((n_workers, n_chunks, blocks))
    matrix[holders, np.arange(n_chunks)[:, np.newaxis]] = found
    return matrix.reshape(n_workers, -1)


def supported_weights(n_workers: int, s: int, blocks: int, answered: IntArray) -> Weights:
    """Weights, shape ``(n_workers, blocks)``, for the messages of at least n - s workers of such a code.

    With one block, shape ``(n_workers,)``.

    To those that use everybody, what cancels out is added so that the missing workers' become 0. The condition number
    is that of this system, which has a row for each of them.
    """
    nothing, parts = _checks(n_workers, s, blocks)
    missing = np.setdiff1d(np.arange(n_workers), answered)
    added, _, _, singular = np.linalg.lstsq(nothing.T[missing], -parts.T[missing], rcond=None)
    values = parts.T + nothing.T @ added
    values[missing] = 0.0
    condition = float(singular[0] / singular[-1]) if len(singular) else 1.0
    return Weights(values if blocks > 1 else values[:, 0], condition)


def code_matrix(code: Code, n_workers: int, s: int) -> FloatArray:
    """Encoding matrix of the code of one job, or of one group of coded chunks, shape ``(n_workers, n_workers)``."""
    if code == "gradient_coding":
        return cyclic_repetition(n_workers, s)
    return fractional_repetition(n_workers, s)


def code_chunks(code: Code, n_workers: int, s: int, worker: int) -> tuple[int, ...]:
    """Chunks of a worker's combination in it: its own first, or those of its group."""
    if code == "gradient_coding":
        return tuple((worker + offset) % n_workers for offset in range(s + 1))
    first = worker - worker % (s + 1)
    return tuple(range(first, first + s + 1))


def code_weights(code: Code, n_workers: int, s: int, answered: IntArray) -> Weights:
    """Weights of the responses to it."""
    if code == "gradient_coding":
        return cyclic_weights(n_workers, s, answered)
    return repetition_weights(n_workers, s + 1, answered)


class Repetition:
    """What a linear scheme says that is one of the codes alone: its other base."""

    code: ClassVar[Code]
    n_workers: int
    s: int

    def encoding_matrix(self) -> FloatArray:
        return code_matrix(self.code, self.n_workers, self.s)

    def worker_loads(self) -> FloatArray:  # the same as counting in the matrix, without its n^2 entries
        return np.full(self.n_workers, (self.s + 1) / self.n_workers)

    def chunks_of(self, worker: int) -> tuple[int, ...]:
        return tuple(sorted(code_chunks(self.code, self.n_workers, self.s, worker)))

    def weights(self, answered: IntArray) -> Weights:
        return code_weights(self.code, self.n_workers, self.s, answered)

    @property
    def load_bound(self) -> float:
        return load_bound(self.n_workers, B=1, W=1, lam=self.s)
