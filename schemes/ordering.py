"""Orderings: in which order each worker processes its chunks, and how good an order is.

An ordering is a matrix with the shape of the assignment: the position, from 1, at which a worker processes a chunk; 0
where it does not hold it.

References
----------
Ramamoorthy, Meng and Girimaji, "Leveraging partial stragglers within gradient coding", NeurIPS 2024.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemes.assignment import read_columns
from simulator.parameters import BoolArray, FloatArray, InputPath, IntArray, TakesNumpy


class Ordering(TakesNumpy, ABC):
    """A description of an order; a plug-in of its own, `ordering: {kind: matching}`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    @abstractmethod
    def positions(self, held: BoolArray, rng: np.random.Generator) -> IntArray:
        """Position of each chunk at each worker, shape of ``held``: ``(n_chunks, n_workers)``."""


@dataclass(frozen=True)
class Natural(Ordering):
    """Each worker processes its chunks by number.

    Examples
    --------
    >>> Natural().positions(np.array([[True, False], [True, True]]), np.random.default_rng(0))
    array([[1, 0],
           [2, 1]])
    """

    def positions(self, held: BoolArray, rng: np.random.Generator) -> IntArray:
        return np.where(held, np.cumsum(held, axis=0), 0)


@dataclass(frozen=True)
class RandomOrdering(Ordering):
    """Each worker processes its chunks in an order drawn uniformly, once."""

    def positions(self, held: BoolArray, rng: np.random.Generator) -> IntArray:
        keys = np.where(held, rng.random(held.shape), np.inf)
        return np.where(held, keys.argsort(axis=0).argsort(axis=0) + 1, 0)


@dataclass(frozen=True)
class BestOfRandom(Ordering):
    """The best of k random orderings: the one with the smallest Q_max for one copy (l = 1)."""

    k: Annotated[int, Field(ge=1, le=10_000)]
    """number of random orderings"""

    def positions(self, held: BoolArray, rng: np.random.Generator) -> IntArray:
        drawn = [RandomOrdering().positions(held, rng) for _ in range(self.k)]
        return min(drawn, key=lambda positions: q_max(positions))


@dataclass(frozen=True)
class Matching(Ordering):
    """Each chunk takes each position equally often, as far as the assignment allows.

    With as many chunks as workers and all sums of rows and columns equal to delta, a perfect matching of what is
    left of the assignment gets position 1, the next one position 2, and so on. All row sums are delta(delta+1)/2,
    which is optimal for one copy. Other assignments, which the paper leaves open, get a heuristic: position by
    position, chunks that lag behind are served first, then pairs of chunks of a worker are swapped while that lowers
    Q_max.

    Examples
    --------
    >>> from schemes.assignment import Cyclic
    >>> rng = np.random.default_rng(0)
    >>> Matching().positions(Cyclic(chunks_per_worker=3).matrix(6, rng), rng).sum(axis=1)
    array([6, 6, 6, 6, 6, 6])
    """

    def positions(self, held: BoolArray, rng: np.random.Generator) -> IntArray:
        degrees = {*held.sum(axis=0).tolist(), *held.sum(axis=1).tolist()}
        if held.shape[0] == held.shape[1] and len(degrees) == 1:
            return _peel(held, degrees.pop())
        return _improve(_serve_laggards(held))


@dataclass(frozen=True)
class FileOrdering(Ordering):
    """An ordering from a CSV file with the columns ``worker``, ``chunk`` (from 0) and ``position`` (from 1)."""

    path: InputPath
    """CSV file; relative to the scenario file"""

    def positions(self, held: BoolArray, rng: np.random.Generator) -> IntArray:
        workers, chunks, places = read_columns("ordering.path", self.path, ("worker", "chunk", "position"))
        positions = np.zeros(held.shape, dtype=np.int64)
        fits = workers.max() < held.shape[1] and chunks.max() < held.shape[0] and len(workers) == held.sum()
        if fits:
            positions[chunks, workers] = places
        in_order = np.sort(np.where(held, positions, 0), axis=0)[::-1]
        expected = np.sort(np.where(held, np.cumsum(held, axis=0), 0), axis=0)[::-1]
        if not fits or ((positions > 0) != held).any() or (in_order != expected).any():
            raise ValueError(
                "ordering.path must name an ordering of the assignment (positions 1, 2, ... of each worker's chunks), "
                f"got {self.path}"
            )
        return positions


ORDERINGS: dict[str, type[Ordering]] = {
    "best_of_random": BestOfRandom,
    "file": FileOrdering,
    "matching": Matching,
    "natural": Natural,
    "random": RandomOrdering,
}


def q_of_chunks(positions: IntArray, copies: int = 1) -> IntArray:
    """Most chunk computations that leave each chunk with fewer than ``copies`` copies, plus 1; shape ``(n_chunks,)``.

    Workers without the chunk do all of theirs, ``copies - 1`` of its holders too, the others what comes before it.
    A chunk with fewer holders than copies never gets there: one more than all computations.
    """
    held = positions > 0
    done = held.sum(axis=0)
    elsewhere = (~held * done).sum(axis=1)
    before = np.where(held, positions - 1, 0).sum(axis=1)
    rest = np.sort(np.where(held, done - positions + 1, 0), axis=1)[:, ::-1]
    return np.asarray(elsewhere + before + rest[:, : copies - 1].sum(axis=1) + 1)


def q_max(positions: IntArray, copies: int = 1) -> int:
    """Q_max: so many chunk computations of the cluster are enough for ``copies`` of each chunk, however spread.

    Examples
    --------
    >>> from schemes.assignment import Cyclic
    >>> rng = np.random.default_rng(0)
    >>> held = Cyclic(chunks_per_worker=8).matrix(200, rng)
    >>> q_max(Matching().positions(held, rng)), q_max(Natural().positions(held, rng))
    (1565, 1593)
    """
    return int(q_of_chunks(positions, copies).max())


def q_bound(held: BoolArray, copies: int = 1) -> int:
    """A bound that no ordering's Q_max is below, by averaging.

    The positions of a worker add up to the same whatever their order. Of the holders' remaining work, the
    ``copies - 1`` largest parts are at least their share, (copies - 1)/holders, of all. So Q of chunk c is at least
    a_c + b_c S_c, where S_c is what comes before it and the sum of all S_c is fixed; the weighted mean with weights
    1/b_c bounds the maximum.
    """
    done = held.sum(axis=0)
    holders = held.sum(axis=1)
    elsewhere = (~held * done).sum(axis=1)
    share = (copies - 1) / holders
    if (share >= 1).any():
        return int(done.sum()) + 1
    least = elsewhere + share * (held * done).sum(axis=1) + 1
    before = (done * (done - 1) / 2).sum()
    bound = ((least / (1 - share)).sum() + before) / (1 / (1 - share)).sum()
    return int(np.ceil(bound - 1e-9))


def _peel(held: BoolArray, degree: int) -> IntArray:
    """Split a regular bipartite graph into perfect matchings; one always exists (König)."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    left = held.copy()
    positions = np.zeros(held.shape, dtype=np.int64)
    chunks = np.arange(len(held))
    for position in range(1, degree + 1):
        workers = maximum_bipartite_matching(csr_matrix(left), perm_type="column")
        positions[chunks, workers] = position
        left[chunks, workers] = False
    return positions


def _serve_laggards(held: BoolArray) -> IntArray:
    """Position by position, match workers with chunks, those first that can afford waiting least."""
    from scipy.optimize import linear_sum_assignment

    positions = np.zeros(held.shape, dtype=np.int64)
    done = held.sum(axis=0)
    slack = (~held * done).sum(axis=1).astype(np.float64)  # grows with every round that a copy waits
    left = held.copy()
    for position in range(1, int(done.max()) + 1):
        waiting = slack + left.sum(axis=1)
        worth = np.where(left, 1 + waiting[:, np.newaxis] - waiting.min(), 0.0)
        chunks, workers = linear_sum_assignment(worth, maximize=True)
        real = left[chunks, workers]
        chosen = dict(zip(workers[real].tolist(), chunks[real].tolist(), strict=True))
        for worker in np.flatnonzero(left.any(axis=0)).tolist():
            chunk = chosen.get(worker, int(np.argmax(np.where(left[:, worker], waiting, -np.inf))))
            positions[chunk, worker] = position
            left[chunk, worker] = False
        slack += left.sum(axis=1)
    return positions


def _improve(positions: IntArray, n_passes: int = 200) -> IntArray:
    """Swap two chunks of a worker while that lowers the worst chunk without making another as bad."""
    positions = positions.copy()
    for _ in range(n_passes):
        q: FloatArray = q_of_chunks(positions).astype(np.float64)
        worst = int(q.argmax())
        best_gain, best = 0.0, None
        for worker in np.flatnonzero(positions[worst]).tolist():
            place = positions[worst, worker]
            earlier = np.flatnonzero((positions[:, worker] > 0) & (positions[:, worker] < place))
            gains = np.minimum(
                place - positions[earlier, worker], q[worst] - q[earlier] - place + positions[earlier, worker]
            )
            if len(gains) and gains.max() > best_gain:
                best_gain, best = float(gains.max()), (worker, int(earlier[gains.argmax()]))
        if best is None:
            break
        worker, other = best
        positions[[worst, other], worker] = positions[[other, worst], worker]
    return positions
