"""The array form of a session: many runs of a scheme side by side, for the vectorised engine.

Runs are rows, of any trials, points and settings. A scheme without memory has no use for rounds: all of them are looked
at at once. What a batch says must be what the scheme's session says of each run by itself; tests compare the two. From
a rule it is derived.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from schemes.base.rule import Clause, Rule, permits
from schemes.base.scheme import BoolArray, FloatArray, IntArray
from schemes.base.sets import ManySets, Set


class Closed(NamedTuple):
    """Some rounds without memory as they ended, each a row."""

    rows: IntArray  # of which run each is, shape (n,)
    due_s: FloatArray  # when each report was due, shape (n, n_workers, n_reports); -inf where there is none
    instant_s: FloatArray  # when the master stopped, shape (n,)
    missing: BoolArray  # who had not reported everything, shape (n, n_workers)
    forced: BoolArray  # shape (n,)
    takes_estimate: bool

    def of(self, mask: BoolArray) -> Closed:
        """Some of them."""
        parts: dict[str, Any] = {name: part[mask] for name, part in zip(self._fields, self[:-1], strict=False)}
        return self._replace(**parts)


class Batch(ABC):
    """The master's memory during runs of a scheme side by side: rows, which may differ in a parameter."""

    n_rows: int
    n_workers: int
    n_rounds: int
    is_divisible = False  # as of `Work`
    asks_for_uploads = False  # whether all who have reported something upload at the master's word
    blocks = 1  # such an upload is so small a part of a gradient

    @abstractmethod
    def loads(self) -> FloatArray:
        """Cumulative load at each report in the open round, shape ``(n_rows or 1, n_workers, n_reports)``; NaN where
        there is none."""

    def gradients(self) -> FloatArray | None:
        """Number of gradients that go up with each report, shape as of the loads; None (default): one."""
        return None

    @abstractmethod
    def enough(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        """Is what has arrived by an instant enough?

        Parameters
        ----------
        due_s
            When each report arrives, shape ``(n, n_workers, n_reports)``; -inf where there is none.
        by_s
            The instants, shape ``(n,)``.
        rows
            Of which run each is, shape ``(n,)``.
        """

    @abstractmethod
    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        """From which instant on is it enough? Shape ``(n,)``; -inf: even nobody would be."""


class MemorylessBatch(Batch):
    """Runs in which each round is a job of its own."""

    @abstractmethod
    def squared_errors(self, closed: Closed) -> FloatArray:
        """Squared errors of the gradients that the master returns, shape ``(n,)``; NaN where the job failed."""


def last_of(due_s: FloatArray) -> FloatArray:
    """Instants at which each worker has reported everything, shape ``(n, n_workers)``; -inf for who has no work."""
    return functools.reduce(np.maximum, np.moveaxis(due_s, 2, 0))  # eight times as fast as `max` along a short axis


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


class RuleBatch(Batch):
    """Runs of a rule, each of its rows one."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.sets, ManySets)
        self.rule, self.sets = rule, rule.sets
        self.n_rows, self.n_workers, self.n_rounds = rule.sets.n_rows, rule.sets.n_workers, rule.n_rounds
        self.loads_of_all: FloatArray = rule.tasks_of_all() * rule.top / rule.bottom
        """load of a worker while everybody has work and no job fails, shape ``(n_rounds, n_rows or 1)``"""
        self._tasks_of_all = rule.tasks_of_all()

    def open_round(self, index: int) -> None:
        """Open a round of all runs."""
        self.rule.open(index)
        self._alternatives = self.rule.alternatives()
        self._places, self._n_tasks = self._places_of_jobs()
        self._n_given = self.rule.n_tasks()

    def is_usual(self) -> BoolArray:
        """Rows in which everybody has the work of `loads_of_all` in the open round, shape ``(n_rows or 1,)``."""
        usual = self._n_given == self._tasks_of_all[self.rule.index][:, np.newaxis]
        return np.asarray(usual[:, 0] if usual.shape[1] == 1 else usual.all(axis=1))

    def loads(self) -> FloatArray:
        return self.rule.loads()

    def gradients(self) -> FloatArray | None:
        return self.rule.gradients()

    def permits(self, missing: Set) -> BoolArray:
        """Is it enough without these? Shape ``(n_rows,)``."""
        return np.asarray(permits(self.sets, self._alternatives, missing))

    def _places_of_jobs(self) -> tuple[dict[int, IntArray], IntArray]:
        """Place in its list at which each worker serves each job, -1 if it does not; and how long its list is.

        Shape ``(n_rows, n_workers)`` each; only where lists count in part.
        """
        places: dict[int, IntArray] = {}
        n_before = np.zeros((self.n_rows, self.n_workers), dtype=np.int64)
        for job, who in self.rule.lists() if self.rule.by_task else []:
            serves = self.sets.workers(who)
            places[job] = np.where(serves, n_before, places.get(job, -1))
            n_before = n_before + serves
        return places, n_before

    def _due_of(self, job: int | None, due_s: FloatArray, rows: IntArray) -> FloatArray:
        """Instants at which each worker's result for a job arrives, -inf for who has no task; shape ``(n,
        n_workers)``."""
        if job not in self._places:
            return last_of(due_s)
        places = self._places[job][rows]
        job_due_s = np.take_along_axis(due_s, np.maximum(places, 0)[:, :, np.newaxis], axis=2)[:, :, 0]
        return np.where(places >= 0, job_due_s, -np.inf)

    def missing_by_job(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> dict[int, Set] | None:
        """Workers whose result for each job is missing at an instant; None: lists count as a whole."""
        if not self._places:
            return None
        n_missing = sum(report_s > by_s[:, np.newaxis] for report_s in np.moveaxis(due_s, 2, 0))
        n_come = self._n_tasks[rows] - n_missing
        return {job: self.sets.of(places[rows] >= n_come) for job, places in self._places.items()}

    def _of_rows(self, rows: IntArray) -> list[list[Clause]]:
        return [[clause.of_rows(self.sets, rows) for clause in clauses] for clauses in self._alternatives]

    def enough(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        missing = self.sets.of(last_of(due_s) > by_s[:, np.newaxis])
        truths = permits(self.sets, self._of_rows(rows), missing, self.missing_by_job(due_s, by_s, rows))
        return np.broadcast_to(truths, len(due_s))

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        instants = [
            np.max(
                [
                    np.full(len(due_s), -np.inf),
                    *(permitted_s(self.sets, clause, self._due_of(clause.job, due_s, rows)) for clause in clauses),
                ],
                axis=0,
            )
            for clauses in self._of_rows(rows)
        ]
        return np.asarray(np.min(instants, axis=0))

    def close_round(
        self, missing: Set, forced: BoolArray | None, by_job: dict[int, Set] | None
    ) -> list[tuple[int, IntArray]]:
        """End the open round of all runs; return the status of the jobs that ended in any, NOT_ENDED (0) in the others.

        The parameters are those of :meth:`~schemes.base.rule.Rule.remember`.
        """
        self.rule.remember(missing, forced, by_job)
        return self.rule.ended()
