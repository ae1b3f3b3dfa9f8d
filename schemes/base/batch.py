"""The array form of a session: many runs of a scheme side by side, for the vectorised engine.

Runs are rows, of any trials, points and settings. A scheme without memory has no use for rounds: all of them are looked
at at once. What a batch says must be what the scheme's session says of each run by itself; tests compare the two. A
scheme with memory says a rule instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from schemes.base.rule import Clause
from schemes.base.sets import ManySets
from simulator.parameters import BoolArray, FloatArray, IntArray


class Closed(NamedTuple):
    """Some rounds without memory as they ended, each a row."""

    rows: IntArray  # of which run each is, shape (n,)
    due_s: FloatArray  # when each report was due, shape (n, n_workers, n_reports); -inf where there is none
    instant_s: FloatArray  # when the master stopped, shape (n,)
    missing: BoolArray  # who had not reported everything, shape (n, n_workers)
    forced: BoolArray  # shape (n,)
    takes_estimate: bool

    @classmethod
    def alone(
        cls, missing: BoolArray, forced: bool, answered: IntArray | None = None, *, takes_estimate: bool = False
    ) -> Closed:
        """One round, from who was missing, and who answered in which order; None: in that of their numbers."""
        order = np.flatnonzero(~missing) if answered is None else answered
        due_s = np.where(missing, np.inf, -np.inf)
        due_s[order] = np.arange(len(order))
        return cls(
            rows=np.zeros(1, dtype=np.int64),
            due_s=due_s[np.newaxis, :, np.newaxis],
            instant_s=np.array([float(len(order))]),
            missing=missing[np.newaxis],
            forced=np.array([forced]),
            takes_estimate=takes_estimate,
        )

    def of(self, mask: BoolArray) -> Closed:
        """Some of them."""
        parts: dict[str, Any] = {name: part[mask] for name, part in zip(self._fields, self[:-1], strict=False)}
        return self._replace(**parts)


class Batch(ABC):
    """The master's memory during runs of a scheme side by side: rows, which may differ in a parameter."""

    n_workers: int
    n_rounds: int
    is_divisible = False  # as of `Work`
    asks_for_uploads = False  # whether there are `uploaders` at the master's word
    blocks = 1  # such an upload is so small a part of a gradient

    @abstractmethod
    def loads(self) -> FloatArray:
        """Cumulative load at each report in the open round, shape ``(n_rows or 1, n_workers, n_reports)``; NaN where
        there is none."""

    def gradients(self) -> FloatArray | None:
        """Number of gradients that go up with each report, shape as of the loads; None (default): one."""
        return None

    def uploaders(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        """Who uploads at the master's word, given at an instant? By default, whoever has reported something.

        The parameters are those of :meth:`enough`; shape ``(n, n_workers)``.
        """
        first_s = due_s[:, :, 0]
        return np.asarray((first_s <= by_s[:, np.newaxis]) & (first_s > -np.inf))

    def enough(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        """Is what has arrived by an instant enough? By default from the instant of :meth:`enough_s` on.

        Parameters
        ----------
        due_s
            When each report arrives, shape ``(n, n_workers, n_reports)``; -inf where there is none.
        by_s
            The instants, shape ``(n,)``.
        rows
            Of which run each is, shape ``(n,)``.
        """
        return self.enough_s(due_s, rows) <= by_s

    @abstractmethod
    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        """From which instant on is it enough? Shape ``(n,)``; -inf: even nobody would be."""


class MemorylessBatch(Batch):
    """Runs in which each round is a job of its own."""

    @abstractmethod
    def squared_errors(self, closed: Closed) -> FloatArray:
        """Squared errors of the gradients that the master returns, shape ``(n,)``; NaN where the job failed."""


def at_most_missing_s(due_s: FloatArray, n_missing: IntArray | int) -> FloatArray:
    """From which instant on at most so many are missing, shape ``(n,)``; inf: never, -inf: even if nobody comes.

    Parameters
    ----------
    due_s
        When each worker arrives, shape ``(n, n_workers)``.
    n_missing
        How many may be missing: one number, or one for each row.

    Examples
    --------
    >>> at_most_missing_s(np.array([[3.0, 1.0, 2.0]]), 1)
    array([2.])
    """
    n_rows, n_workers = due_s.shape
    places = n_workers - 1 - np.atleast_1d(n_missing)
    if (places == places[0]).all():
        place = int(places[0])
        if not 0 <= place < n_workers:
            return np.full(n_rows, -np.inf if place < 0 else np.inf)
        if place in (0, n_workers - 1):
            return np.asarray(due_s.max(axis=1) if place else due_s.min(axis=1))
        return np.asarray(np.partition(due_s, place, axis=1)[:, place])
    in_order = np.sort(due_s, axis=1)
    instants = in_order[np.arange(n_rows), np.clip(places, 0, n_workers - 1)]
    return np.where(places < 0, -np.inf, np.where(places >= n_workers, np.inf, instants))


def permitted_s(sets: ManySets, clause: Clause, due_s: FloatArray) -> FloatArray:
    """From which instant on those that are missing may be; shapes ``(n, n_workers)`` and ``(n,)``."""
    instants = np.full(len(due_s), -np.inf)
    if clause.limit is not None:
        missing_s = np.where(sets.workers(clause.before), np.inf, due_s) if clause.before.any() else due_s
        limit = np.broadcast_to(clause.limit, len(due_s))
        instants = _groups_s(missing_s, limit + 1) if clause.in_groups else at_most_missing_s(missing_s, limit)
    if clause.needed.any():
        instants = np.maximum(instants, np.where(sets.workers(clause.needed), due_s, -np.inf).max(axis=1))
    return instants


def _groups_s(due_s: FloatArray, replicas: IntArray) -> FloatArray:
    """From which instant on somebody has come of each group of so many neighbours."""
    if replicas[0] <= due_s.shape[1] and (replicas == replicas[0]).all():
        return np.asarray(due_s.reshape(len(due_s), -1, replicas[0]).min(axis=2).max(axis=1))
    instants = np.full(len(due_s), -np.inf)
    for each in np.unique(replicas[replicas <= due_s.shape[1]]).tolist():
        rows = np.flatnonzero(replicas == each)
        instants[rows] = _groups_s(due_s[rows], replicas[rows])
    return instants


class RenewedBatch(Batch):
    """Runs in which a worker begins anew as soon as it has responded, until a round has enough results.

    Lists have one report and equal loads. Each round is a job of its own.
    """

    def __init__(self, n_workers: int, load: float, k: IntArray, n_jobs: int) -> None:
        self.n_workers, self.n_rounds, self.load = n_workers, n_jobs, load
        self.k = k  # results that are enough, shape (n_rows,)

    def loads(self) -> FloatArray:
        return np.full((1, self.n_workers, 1), self.load)

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        in_order = np.sort(np.where(due_s == -np.inf, np.inf, due_s).reshape(len(due_s), -1), axis=1)
        places, last = self.k[rows] - 1, in_order.shape[1] - 1
        return np.where(places <= last, in_order[np.arange(len(due_s)), np.minimum(places, last)], np.inf)

    @abstractmethod
    def squared_errors(self, in_order: IntArray, n_come: IntArray, rows: IntArray) -> FloatArray:
        """Squared errors of the gradients, shape ``(n,)``; NaN where the job failed.

        Parameters
        ----------
        in_order
            Which result came first, second, ..., shape ``(n, n_results)``: below ``n_workers`` the first one of that
            worker, ``n_workers + j`` that of the list which was given out j-th after these.
        n_come
            How many have come, shape ``(n,)``.
        rows
            Of which run each round is, shape ``(n,)``.
        """
