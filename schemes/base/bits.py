"""Sets of workers in bits, for many runs at once: 64 workers in a word.

An array of sets has shape ``(n_words, n_runs)``; worker i is bit ``i % 64`` of word ``i // 64``. Operations on sets are
those of numpy on integers: ``|``, ``&``, ``~`` (whose bits beyond the last worker must be masked by an ``&``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemes.base.scheme import BoolArray, IntArray

Bits = NDArray[np.uint64]


WORD = 64


def no_bits(n_workers: int, n_runs: int) -> Bits:
    """Empty sets."""
    return np.zeros((-(-n_workers // WORD), n_runs), dtype=np.uint64)


def packed(workers: BoolArray) -> Bits:
    """Sets from an array of shape ``(n_runs, n_workers)``.

    Examples
    --------
    >>> packed(np.array([[True, False, True], [False, False, False]]))
    array([[5, 0]], dtype=uint64)
    """
    n_runs, n_workers = workers.shape
    n_words = -(-n_workers // WORD)
    filled = np.zeros((n_runs, n_words * 8), dtype=np.uint8)
    filled[:, : -(-n_workers // 8)] = np.packbits(workers, axis=1, bitorder="little")
    return np.ascontiguousarray(filled.view("<u8").astype(np.uint64, copy=False).T)


def unpacked(sets: Bits, n_workers: int) -> BoolArray:
    """The array of shape ``(n_runs, n_workers)`` that sets were made from."""
    as_bytes = np.ascontiguousarray(sets.T).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(as_bytes, axis=1, count=n_workers, bitorder="little").view(np.bool_)


def size(sets: Bits) -> IntArray:
    """How many workers are in each set, shape ``(n_runs,)``."""
    counts: IntArray = np.bitwise_count(sets).sum(axis=0, dtype=np.int64)
    return counts


def meet(sets: Bits, others: Bits) -> BoolArray:
    """Whether sets have a worker in common, shape ``(n_runs,)``."""
    return np.asarray((sets & others).any(axis=0))


def lowest(sets: Bits, n_wanted: IntArray, n_workers: int) -> Bits:
    """The lowest-numbered workers of each set, as many as are wanted.

    Examples
    --------
    >>> lowest(packed(np.array([[True, False, True, True]])), np.array([2]), 4)
    array([[5]], dtype=uint64)
    """
    found = np.zeros_like(sets)
    runs = np.flatnonzero(n_wanted > 0)
    if len(runs):
        members = unpacked(sets[:, runs], n_workers)
        rank = np.cumsum(members, axis=1, dtype=np.int32)
        found[:, runs] = packed(members & (rank <= n_wanted[runs, np.newaxis]))
    return found


class Recent:
    """Who was in any of the latest sets: a queue whose union costs two operations, however long it is.

    The older half is kept as unions that end at its newest set, so that the oldest set can be dropped.

    Examples
    --------
    >>> recent = Recent(2, no_bits(3, 1))
    >>> for worker in range(3):
    ...     recent.append(np.array([[1 << worker]], dtype=np.uint64))
    >>> recent.union
    array([[6]], dtype=uint64)
    """

    def __init__(self, length: int, nobody: Bits) -> None:
        self.union = nobody
        self._length, self._nobody = length, nobody
        self._older: list[Bits] = []  # unions, the one with the oldest set last
        self._newer: list[Bits] = []
        self._newer_union = nobody

    def append(self, sets: Bits) -> None:
        """Add sets, which are kept and not copied, and forget the oldest if there are too many."""
        if not self._length:
            return
        self._newer.append(sets)
        self._newer_union = self._newer_union | sets
        if len(self._older) + len(self._newer) > self._length:
            if not self._older:
                self._turn()
            self._older.pop()
        self.union = self._older[-1] | self._newer_union if self._older else self._newer_union

    def _turn(self) -> None:
        union = self._nobody
        for sets in reversed(self._newer):
            union = union | sets
            self._older.append(union)
        self._newer, self._newer_union = [], self._nobody
