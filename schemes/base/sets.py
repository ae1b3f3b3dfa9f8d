"""Sets of workers, one for each row, in two forms with the same few words: a rule is written once for both.

A row is a run, or a setting in a search. Union and intersection are ``|`` and ``&`` in either form, of truths too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from simulator.parameters import BoolArray, IntArray

Set = Any  # of workers, one for each row: an int whose bit i is worker i, or words of shape (n_words, n_rows)
Truths = Any  # one for each row: a bool, or an array of shape (n_rows,)
Numbers = Any  # one for each row: an int, or an array of shape (n_rows,)
Words = NDArray[np.uint64]
WORD = 64


class OneSet:
    """One row: a set is an int, truths and numbers are plain. What the words mean is said here for both forms.

    Examples
    --------
    >>> sets = OneSet(4)
    >>> a = sets.of(np.array([[True, False, True, True]]))
    >>> a, sets.size(a), sets.lowest(a, 2), sets.full_groups(a, 2), sets.workers(a & 0b110)[0].tolist()
    (13, 3, 5, 4, [False, False, True, False])
    """

    always: Truths = True

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self.nobody: Set = 0
        self.everybody: Set = (1 << n_workers) - 1
        self._n_bytes = -(-n_workers // 8)

    def numbers(self, values: Sequence[int]) -> Numbers:
        """Numbers, from one for each row."""
        [value] = values
        return value

    def of(self, workers: BoolArray) -> Set:
        """Sets from an array of shape ``(n_rows, n_workers)``."""
        return int.from_bytes(np.packbits(workers, bitorder="little").tobytes(), "little")

    def workers(self, sets: Set) -> BoolArray:
        """The array that sets were made from."""
        as_bytes = np.frombuffer(sets.to_bytes(self._n_bytes, "little"), dtype=np.uint8)
        return np.unpackbits(as_bytes, count=self.n_workers, bitorder="little").view(np.bool_)[np.newaxis]

    def size(self, sets: Set) -> Numbers:
        """Number of workers in each set."""
        return sets.bit_count()

    def any(self, sets: Set) -> Truths:
        """In which rows is anybody?"""
        return sets != 0

    def none(self, sets: Set) -> Truths:
        """In which rows is nobody?"""
        return sets == 0

    def some(self, truths: Truths) -> bool:
        """Is anything true in any row?"""
        return bool(truths)

    def where(self, truths: Truths, this: Any, that: Any) -> Any:
        """In each row one of two sets or numbers."""
        return this if truths else that

    def lowest(self, sets: Set, n_wanted: Numbers) -> Set:
        """The lowest-numbered workers of each set, as many as are wanted."""
        if n_wanted <= 0:
            return 0
        members = np.flatnonzero(self.workers(sets))
        return sets if n_wanted >= len(members) else sets & ((1 << int(members[n_wanted])) - 1)

    def full_groups(self, sets: Set, replicas: Numbers) -> Set:
        """The first workers of those groups of so many neighbours that are in the set altogether."""
        width = 1
        while width < replicas:  # who is in it with so many neighbours above
            step = min(width, replicas - width)
            sets &= sets >> step
            width += step
        return sets & _firsts(self.n_workers, replicas)

    def fits(self, sets: Set, limit: Numbers, *, in_groups: bool) -> Truths:
        """Are there at most so many: of all workers, or of each group of ``limit + 1`` neighbours?"""
        return not self.full_groups(sets, limit + 1) if in_groups else sets.bit_count() <= limit


@functools.lru_cache(maxsize=64)
def _firsts(n_workers: int, replicas: int) -> int:
    return sum(1 << first for first in range(0, n_workers, replicas))


class ManySets:
    """Many rows: 64 workers in a word, worker i is bit ``i % 64`` of word ``i // 64``. The words are as of `OneSet`."""

    def __init__(self, n_rows: int, n_workers: int) -> None:
        self.n_rows, self.n_workers = n_rows, n_workers
        self.nobody: Set = packed(np.zeros((n_rows, n_workers), dtype=np.bool_))
        self.everybody: Set = packed(np.ones((n_rows, n_workers), dtype=np.bool_))
        self.always: Truths = np.ones(n_rows, dtype=np.bool_)

    def numbers(self, values: Sequence[int]) -> Numbers:
        return np.array(values)

    def of(self, workers: BoolArray) -> Set:
        return packed(workers)

    def workers(self, sets: Set) -> BoolArray:
        return unpacked(sets, self.n_workers)

    def size(self, sets: Set) -> Numbers:
        return size(sets)

    def any(self, sets: Set) -> Truths:
        return np.asarray(sets.any(axis=0))

    def none(self, sets: Set) -> Truths:
        return np.asarray(~sets.any(axis=0))

    def some(self, truths: Truths) -> bool:
        return bool(truths.any())

    def where(self, truths: Truths, this: Any, that: Any) -> Any:
        return np.where(truths, this, that)

    def lowest(self, sets: Set, n_wanted: Numbers) -> Set:
        found = np.zeros_like(sets)
        rows = np.flatnonzero(n_wanted > 0)
        if len(rows):
            members = unpacked(sets[:, rows], self.n_workers)
            rank = np.cumsum(members, axis=1, dtype=np.int32)
            found[:, rows] = packed(members & (rank <= n_wanted[rows, np.newaxis]))
        return found

    def full_groups(self, sets: Set, replicas: Numbers) -> Set:
        return packed(self._full_groups(sets, replicas))

    def fits(self, sets: Set, limit: Numbers, *, in_groups: bool) -> Truths:
        if in_groups:
            return np.asarray(~self._full_groups(sets, limit + 1).any(axis=1))
        return np.asarray(size(sets) <= limit)

    def _full_groups(self, sets: Set, replicas: Numbers) -> BoolArray:
        first = np.zeros((sets.shape[1], self.n_workers), dtype=np.bool_)
        replicas = np.broadcast_to(replicas, len(first))
        is_possible = size(sets) >= replicas
        for each in np.unique(replicas[is_possible]).tolist():
            rows = np.flatnonzero(is_possible & (replicas == each))
            groups = unpacked(sets[:, rows], self.n_workers).reshape(len(rows), -1, each)
            first[rows, ::each] = groups.all(axis=2)
        return first


Sets = OneSet | ManySets


def packed(workers: BoolArray) -> Words:
    """Sets from an array of shape ``(n_rows, n_workers)``.

    Examples
    --------
    >>> packed(np.array([[True, False, True], [False, False, False]]))
    array([[5, 0]], dtype=uint64)
    """
    n_rows, n_workers = workers.shape
    n_words = -(-n_workers // WORD)
    if n_workers % WORD:
        filled = np.zeros((n_rows, n_words * 8), dtype=np.uint8)
        filled[:, : -(-n_workers // 8)] = np.packbits(workers, axis=1, bitorder="little")
    else:
        filled = np.packbits(workers, axis=1, bitorder="little")
    return np.ascontiguousarray(filled.view("<u8").astype(np.uint64, copy=False).T)


def unpacked(sets: Words, n_workers: int) -> BoolArray:
    """The array of shape ``(n_rows, n_workers)`` that sets were made from."""
    as_bytes = np.ascontiguousarray(sets.T).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(as_bytes, axis=1, count=n_workers, bitorder="little").view(np.bool_)


def size(sets: Words) -> IntArray:
    """Number of workers in each set, shape ``(n_rows,)``."""
    counts: IntArray = np.bitwise_count(sets).sum(axis=0, dtype=np.int64)
    return counts
