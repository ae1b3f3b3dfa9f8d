"""K-batch-sync: an update of any k results, all computed at its own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.batch import Batch, RenewedBatch
from schemes.base.scheme import Session
from schemes.base.updates import RenewedSession, UpdateScheme
from schemes.base.work import Closing, Outcome, Work
from simulator.choices import Leftover
from simulator.parameters import FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class KBatchSync(UpdateScheme):
    """An update is made of the first ``k`` results of a round, in which workers start again when they have responded.

    Every worker begins with its own n-th of the job's data; those that have responded take the n chunks in turn. At the
    update, unfinished work is dropped, and all workers start again.

    References
    ----------
    Dutta, Joshi, Ghosh, Dube and Nagpurkar, "Slow and Stale Gradients Can Win the Race", AISTATS 2018 (K-batch-sync).

    Examples
    --------
    >>> KBatchSync(n_workers=10, k=4).load
    0.1
    """

    n_workers: PositiveCount
    k: PositiveCount
    """results that make an update"""

    @property
    def late_ends_rounds(self) -> bool:
        return False

    @property
    def tolerates(self) -> str:
        return "any stragglers, as long as some workers go on, at the price of an approximate gradient"

    @property
    def begins_anew(self) -> bool:
        return True

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        return [_KBatch(self.n_workers, self.load, np.array([row.k for row in rows]), n_jobs)]

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _KBatchSyncSession(self, n_jobs, self.k)


class _KBatchSyncSession(RenewedSession):
    def open_round(self, index: int) -> Work:
        self.n_lists = 0
        self.idle = [*range(self._n_workers)]
        return super().open_round(index)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = super().close_round(closing)
        self.came.clear()
        self._open.clear()
        return outcomes

    def leftover(self) -> Leftover:
        return "cancel"


class _KBatch(RenewedBatch):
    def squared_errors(self, in_order: IntArray, n_come: IntArray, rows: IntArray) -> FloatArray:
        n_used = np.minimum(n_come, self.k[rows])
        chunks = np.where(in_order < self.n_workers, in_order, (in_order - self.n_workers) % self.n_workers)
        used = np.arange(in_order.shape[1]) < n_used[:, np.newaxis]
        at = np.repeat(np.arange(len(rows)), n_used) * self.n_workers + chunks[used]
        counts = np.bincount(at, minlength=len(rows) * self.n_workers).reshape(-1, self.n_workers)
        weights = counts * (self.n_workers / np.maximum(n_used, 1))[:, np.newaxis]
        return np.where(n_used > 0, ((weights - 1) ** 2).sum(axis=1), np.nan)
