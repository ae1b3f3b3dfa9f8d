"""To-do lists: each worker computes several chunks one after another, and each result is sent at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.batch import Batch, Closed, MemorylessBatch
from schemes.base.chunks import ChunkCodec, scaled
from schemes.base.codec import Codec, Precision
from schemes.base.patterns import any_of
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Outcome, Task, Work
from simulator.parameters import FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class ToDoList(Scheme):
    """Worker i computes ``r`` of n chunks in an order of its own; the round ends when ``k`` distinct ones have come.

    ``cyclic``: chunks i, i + 1, ..., i + r - 1. ``staircase``: the same for even i, and i, i - 1, ..., i - r + 1 for
    odd ones (all modulo n). The gradient is the sum of the distinct chunks times n / their number: exact with all.

    References
    ----------
    Amiri and Gunduz, "Computation Scheduling for Distributed Machine Learning With Straggling Workers", IEEE
    Transactions on Signal Processing 2019, section III. Times are drawn there for every task, here for every worker.

    Examples
    --------
    >>> ToDoList(n_workers=5, r=3, k=4, order="staircase").lists().tolist()[:2]
    [[0, 1, 2], [1, 0, 4]]
    """

    n_workers: PositiveCount
    r: PositiveCount
    """chunks that each worker computes"""
    k: PositiveCount
    """distinct chunks that end a round; as many as workers: the gradient is exact"""
    order: Literal["cyclic", "staircase"] = "cyclic"
    """whether all workers go up, or odd ones down"""

    def __post_init__(self) -> None:
        for name, value in (("r", self.r), ("k", self.k)):
            if value > self.n_workers:
                raise ValueError(f"{name} must be between 1 and {self.n_workers}, got {value}")

    def lists(self) -> IntArray:
        """Each worker's chunks in its order, shape ``(n_workers, r)``."""
        workers = np.arange(self.n_workers)[:, np.newaxis]
        step = np.where((self.order == "staircase") & (workers % 2 == 1), -1, 1)
        return np.asarray((workers + step * np.arange(self.r)) % self.n_workers)

    @property
    def load(self) -> float:
        return self.r / self.n_workers

    @property
    def tolerates(self) -> str:
        if self.k < self.n_workers:
            return "any stragglers that leave k distinct chunks, at the price of an approximate gradient"
        if self.order == "cyclic":
            failed = any_of(self.r - 1, "failed worker")
            return f"{failed} in every round; slow ones count with the chunks that they have done"
        return "stragglers that leave every chunk to somebody; slow ones count with the chunks that they have done"

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return ChunkCodec(self, precision)

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        return [_ToDoBatch(self, np.array([row.k for row in rows]), n_jobs)]

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _ToDoSession(self, n_jobs)


class _ToDoSession(Session):
    def __init__(self, scheme: ToDoList, n_jobs: int) -> None:
        self.n_rounds, self._k, self._n_chunks = n_jobs, scheme.k, scheme.n_workers
        self._lists: list[list[int]] = scheme.lists().tolist()
        self._work = Work(np.tile(np.arange(1, scheme.r + 1) / scheme.n_workers, (scheme.n_workers, 1)))

    def open_round(self, index: int) -> Work:
        self._job = index
        self._has: set[int] = set()
        return self._work

    def receive(self, worker: int, report: int) -> None:
        self._has.add(self._lists[worker][report])

    def enough(self) -> bool:
        return len(self._has) >= self._k

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        self.chunks = sorted(self._has)
        return [scaled(self._n_chunks, self._job, len(self.chunks))]

    def tasks(self, worker: int) -> Sequence[Task]:
        return [Task(self._job, "plain", 1 / self._n_chunks, (chunk,)) for chunk in self._lists[worker]]


class _ToDoBatch(MemorylessBatch):
    """A chunk comes with the first of its copies, and a job with the k-th of its chunks."""

    def __init__(self, scheme: ToDoList, k: IntArray, n_jobs: int) -> None:
        self.n_workers, self.n_rounds, self._k = scheme.n_workers, n_jobs, k
        self._loads = np.tile(np.arange(1, scheme.r + 1) / scheme.n_workers, (1, scheme.n_workers, 1))
        places = [np.flatnonzero(scheme.lists().ravel() == chunk) for chunk in range(scheme.n_workers)]
        # of each chunk, the places of its copies among all reports; the last one again, where there are fewer
        most = max(map(len, places))
        self._copies = np.array([np.pad(each, (0, most - len(each)), mode="edge") for each in places])

    def loads(self) -> FloatArray:
        return self._loads

    def _chunks_s(self, due_s: FloatArray) -> FloatArray:
        """When each chunk comes first, shape ``(n, n_chunks)``."""
        return np.asarray(due_s.reshape(len(due_s), -1)[:, self._copies].min(axis=2))

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        in_order, k = np.sort(self._chunks_s(due_s), axis=1), self._k[rows]
        return np.asarray(in_order[np.arange(len(due_s)), k - 1])

    def squared_errors(self, closed: Closed) -> FloatArray:
        n_have = np.count_nonzero(self._chunks_s(closed.due_s) <= closed.instant_s[:, np.newaxis], axis=1)
        errors = self.n_workers * (self.n_workers - n_have) / np.maximum(n_have, 1)
        return np.where(n_have > 0, errors, np.nan)
