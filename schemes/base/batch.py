"""The array form of a session: many runs of a scheme at once, for the vectorised engine.

Runs are rows. A scheme without memory has no use for rounds: there each row is a round of some run. What a batch says
must be what the scheme's session says of each run by itself; tests compare the two. From a rule it is derived.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from schemes.base.rule import FAILED, Clause, Rule, permits
from schemes.base.scheme import BoolArray, FloatArray, IntArray
from schemes.base.sets import ManySets, Set


class BatchOutcome(NamedTuple):
    """Status of one job in each run, if it did."""

    job: int
    status: IntArray  # shape (n_runs,): NOT_ENDED, DECODED, APPROXIMATE or FAILED
    squared_error: FloatArray  # shape (n_runs,); NaN where the job failed


class BatchClosing(NamedTuple):
    """Why a round ended in each run, and who was missing then."""

    due_s: FloatArray  # when each report was due, shape (n_runs, n_workers, n_reports); -inf where there is none
    instant_s: FloatArray  # when the master stopped, shape (n_runs,)
    missing: BoolArray  # who had not reported everything, shape (n_runs, n_workers)
    forced: BoolArray  # shape (n_runs,)
    takes_estimate: bool


class Batch(ABC):
    """The master's memory during ``n_runs`` runs of a scheme."""

    n_runs: int
    is_memoryless = False  # whether the engine may take rounds as runs
    is_divisible = False  # as of `Work`
    blocks = 1  # an upload at the master's word is so small a part of a gradient

    @abstractmethod
    def open_round(self, index: int) -> FloatArray:
        """Cumulative load at each report, shape ``(n_runs or 1, n_workers, n_reports)``; NaN where there is none."""

    def gradients(self) -> FloatArray | None:
        """Number of gradients that go up with each report, shape as of the loads; None (default): one."""
        return None

    def asks_for_uploads(self) -> bool:
        """True if all who have reported something upload at the master's word."""
        return False

    @abstractmethod
    def enough(self, due_s: FloatArray, by_s: FloatArray, runs: IntArray | slice) -> BoolArray:
        """Is what has arrived by an instant enough?

        Parameters
        ----------
        due_s
            When each report of these runs arrives, shape ``(n, n_workers, n_reports)``; -inf where there is none.
        by_s
            The instants, shape ``(n,)``.
        runs
            Which runs these are.
        """

    @abstractmethod
    def enough_s(self, due_s: FloatArray, runs: IntArray | slice) -> FloatArray:
        """From which instant on is it enough? Shape ``(n,)``; -inf: even nobody would be."""

    @abstractmethod
    def close_round(self, closing: BatchClosing) -> list[BatchOutcome]:
        """End the open round of all runs."""


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
    """Many runs of a rule, each of its rows one."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.sets, ManySets)
        self._rule, self._sets = rule, rule.sets
        self.n_runs = rule.sets.n_rows

    def open_round(self, index: int) -> FloatArray:
        self._rule.open(index)
        self._alternatives = self._rule.alternatives()
        self._places, self._n_tasks = self._places_of_jobs()
        self._gradients = self._rule.gradients()
        return self._rule.loads()

    def gradients(self) -> FloatArray | None:
        return self._gradients

    def _places_of_jobs(self) -> tuple[dict[int, IntArray], IntArray]:
        """Place in its list at which each worker serves each job, -1 if it does not; and how long its list is.

        Shape ``(n_runs, n_workers)`` each; only where lists count in part.
        """
        places: dict[int, IntArray] = {}
        n_before = np.zeros((self.n_runs, self._sets.n_workers), dtype=np.int64)
        for job, who in self._rule.lists() if self._rule.by_task else []:
            serves = self._sets.workers(who)
            places[job] = np.where(serves, n_before, places.get(job, -1))
            n_before = n_before + serves
        return places, n_before

    def _due_of(self, job: int | None, due_s: FloatArray, runs: IntArray | slice) -> FloatArray:
        """Instants at which each worker's result for a job arrives, -inf for who has no task; shape ``(n,
        n_workers)``."""
        if job not in self._places:
            return last_of(due_s)
        places = self._places[job][runs]
        job_due_s = np.take_along_axis(due_s, np.maximum(places, 0)[:, :, np.newaxis], axis=2)[:, :, 0]
        return np.where(places >= 0, job_due_s, -np.inf)

    def _missing(
        self, due_s: FloatArray, by_s: FloatArray, runs: IntArray | slice
    ) -> tuple[Set, dict[int, Set] | None]:
        """Workers that have not reported everything at an instant, and whose results for each job are missing."""
        if not self._places:
            return self._sets.of(last_of(due_s) > by_s[:, np.newaxis]), None
        n_missing = sum(report_s > by_s[:, np.newaxis] for report_s in np.moveaxis(due_s, 2, 0))
        n_come = self._n_tasks[runs] - n_missing
        by_job = {job: self._sets.of(places[runs] >= n_come) for job, places in self._places.items()}
        return self._sets.of(n_missing > 0), by_job

    def _of_runs(self, runs: IntArray | slice) -> list[list[Clause]]:
        return [[clause.of_rows(self._sets, runs) for clause in clauses] for clauses in self._alternatives]

    def enough(self, due_s: FloatArray, by_s: FloatArray, runs: IntArray | slice) -> BoolArray:
        missing, by_job = self._missing(due_s, by_s, runs)
        truths = permits(self._sets, self._of_runs(runs), missing, by_job)
        return np.broadcast_to(truths, len(due_s))

    def enough_s(self, due_s: FloatArray, runs: IntArray | slice) -> FloatArray:
        instants = [
            np.max(
                [
                    np.full(len(due_s), -np.inf),
                    *(permitted_s(self._sets, clause, self._due_of(clause.job, due_s, runs)) for clause in clauses),
                ],
                axis=0,
            )
            for clauses in self._of_runs(runs)
        ]
        return np.asarray(np.min(instants, axis=0))

    def close_round(self, closing: BatchClosing) -> list[BatchOutcome]:
        by_job = self._missing(closing.due_s, closing.instant_s, slice(None))[1] if self._places else None
        self._rule.remember(self._sets.of(closing.missing), closing.forced, by_job)
        return [
            BatchOutcome(job, status, np.where(status == FAILED, np.nan, 0.0)) for job, status in self._rule.ended()
        ]
