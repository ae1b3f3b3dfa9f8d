"""The master's memory during a run of `multiplexed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes.base.allowance import Allowance, CountingSession, Tally
from schemes.base.patterns import History, arbitrary_allowance, bursty_allowance
from schemes.base.scheme import BoolArray, Closing, IntArray, Outcome, Task, Work

if TYPE_CHECKING:
    from schemes.multiplexed import Multiplexed


@dataclass(slots=True)
class _Job:
    """What the master has of a job in flight."""

    received: BoolArray  # shape (W - 1, n_workers): the D1 results
    n_missing: IntArray  # shape (n_workers,): D1 results that were tried and lost
    repeats: IntArray  # shape (n_workers,): the D1 result that a worker computes again in the open round, or -1


class Lists(NamedTuple):
    """What the workers compute in one round."""

    jobs: list[int]  # in flight, oldest first
    results: list[IntArray]  # of each job, the D1 result of each worker; -1: a coded one, or nothing
    order: list[list[int]]  # of each worker, the places in `jobs` that it serves, in its order
    by_task: bool  # whether each of them is a report of its own; if not, all are reported together


class MultiplexedSession(CountingSession):
    """Whole lists count if they come in time, as published."""

    def __init__(self, scheme: Multiplexed, n_jobs: int) -> None:
        super().__init__(scheme.n_workers)
        self.n_rounds = n_jobs + scheme.delay_rounds
        self._scheme = scheme
        self._n_jobs = n_jobs
        self._jobs: dict[int, _Job] = {}  # in flight, oldest first
        self._history = History(scheme.n_slots - 1, scheme.n_workers)
        self._is_bursty = self._is_arbitrary = True  # the history so far
        self._bursty: Allowance | None = None  # who may straggle now so that it remains so
        self._arbitrary: Allowance | None = None
        replicas = scheme.n_workers if scheme.code == "gradient_coding" else scheme.lam + 1
        self._replica_group = np.arange(scheme.n_workers) // replicas
        self._same_work = [self._work(np.full(scheme.n_workers, n_tasks)) for n_tasks in range(scheme.n_slots + 1)]

    def _work(self, n_tasks: IntArray, n_results: IntArray | None = None) -> Work:
        """Lists that are reported as a whole; of padded ones, not every mini-task has a result."""
        loads = np.where(n_tasks > 0, self._scheme.load_of(n_tasks), np.nan)[:, np.newaxis]
        gradients = (n_tasks if n_results is None else n_results)[:, np.newaxis].astype(np.float64)
        return Work(loads, gradients=gradients)

    def open_round(self, index: int) -> Work:
        scheme = self._scheme
        self._round = index
        if index < self._n_jobs:
            self._jobs[index] = _Job(
                received=np.zeros((scheme.W - 1, scheme.n_workers), dtype=np.bool_),
                n_missing=np.zeros(scheme.n_workers, dtype=np.int64),
                repeats=np.full(scheme.n_workers, -1),
            )
        for number, job in self._jobs.items():
            incomplete = np.flatnonzero(job.n_missing)
            if index - number >= scheme.W - 1:
                job.repeats[:] = -1
                job.repeats[incomplete] = job.received[:, incomplete].argmin(axis=0)
        work = self._give()
        self.expect(work.busy, self._acceptable())
        return work

    def _give(self) -> Work:
        scheme = self._scheme
        if scheme.as_published:
            return self._work(np.full(scheme.n_workers, scheme.n_slots), self._has_task().sum(axis=0))
        if scheme.is_coded:
            return self._same_work[len(self._jobs)]
        return self._work(self._has_task().sum(axis=0))

    def _has_task(self) -> BoolArray:
        """Who computes something for which job in flight, oldest first, shape ``(n_jobs, n_workers)``."""
        scheme = self._scheme
        has_task = np.ones((len(self._jobs), scheme.n_workers), dtype=np.bool_)
        if not scheme.is_coded:
            for row, (number, job) in enumerate(self._jobs.items()):
                if self._round - number >= scheme.W - 1:
                    has_task[row] = job.repeats >= 0
        return has_task

    def lists(self) -> Lists:
        """What the workers compute in the open round; of lists that are reported as a whole, in any order."""
        everything = list(range(len(self._jobs)))
        return Lists(list(self._jobs), self._results(), [everything] * self.n_workers, by_task=False)

    def _results(self) -> list[IntArray]:
        """Of each job in flight, the D1 result that each worker computes; -1: a coded one, or nothing."""
        late = self._scheme.W - 1
        slots = [(self._round - number, job) for number, job in self._jobs.items()]
        return [job.repeats.copy() if slot >= late else np.full(self.n_workers, slot) for slot, job in slots]

    def _acceptable(self) -> list[list[Allowance]]:
        scheme, past = self._scheme, self._history.rounds
        if scheme.accepts == "recoverable":
            return [[self._recoverable(self._round - number, job) for number, job in self._jobs.items()]]
        self._bursty = self._arbitrary = None
        if self._is_bursty:
            self._bursty = bursty_allowance(past[-(scheme.W - 1) :], scheme.B, scheme.W, scheme.lam)
        if self._is_arbitrary and scheme.B > 1 and not scheme.as_published:  # for B = 1 it is the same pattern
            self._arbitrary = arbitrary_allowance(past, scheme.B, scheme.lam)
        return [[allowance] for allowance in (self._bursty, self._arbitrary) if allowance is not None]

    def _recoverable(self, slot: int, job: _Job) -> Allowance:
        """Who may be missing in this round if the job is to be decoded in time, should nobody straggle later.

        Each lost D1 result of a worker takes one of the B late slots of that worker; so nobody may be missing
        who needs all that are left, this one included. And coded results come only from workers that have
        nothing to repeat, so not too many may begin to have something to repeat or lose their coded result.
        """
        scheme = self._scheme
        late_slots = min(scheme.B, scheme.n_slots - slot)
        group_of = np.where(job.n_missing >= late_slots, 0, -1)
        if not scheme.is_coded:
            return Allowance(group_of, np.zeros(1, dtype=np.int64))
        incomplete = job.n_missing > 0
        group_of = np.where(incomplete, group_of, 1 + self._replica_group)
        limits = scheme.lam - self._n_per_replica_group(incomplete)
        return Allowance(group_of, np.concatenate([[0], limits]))

    def _n_per_replica_group(self, workers: BoolArray) -> IntArray:
        return np.bincount(self._replica_group[workers], minlength=self._replica_group[-1] + 1)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        self._remember(closing)
        outcomes = []
        for number, job in list(self._jobs.items()):
            outcome = self._advance(number, job, self._lost(number, closing))
            if outcome is not None:
                outcomes.append(outcome)
                del self._jobs[number]
        return outcomes

    def _lost(self, number: int, closing: Closing) -> BoolArray:
        """Whose results for a job did not come in this round."""
        return closing.missing

    def _remember(self, closing: Closing) -> None:
        if self._scheme.accepts == "recoverable":
            return
        if closing.forced:
            self._history.clear()
            self._is_bursty = self._is_arbitrary = True
            return
        self._is_bursty = self._bursty is not None and self._bursty.permits(closing.missing)
        self._is_arbitrary = self._arbitrary is not None and self._arbitrary.permits(closing.missing)
        self._history.append(closing.missing)

    def _advance(self, number: int, job: _Job, missing: BoolArray) -> Outcome | None:
        """Book what this round brought to the job; return how it ended, if it did."""
        scheme = self._scheme
        slot = self._round - number
        if slot < scheme.W - 1:
            job.received[slot] = ~missing
            job.n_missing += missing
            without_coded = job.n_missing > 0
        else:
            repeats = job.repeats >= 0
            without_coded = missing | repeats
            repeated = np.flatnonzero(repeats & ~missing)
            results = job.repeats[repeated]
            job.n_missing[repeated] -= ~job.received[
                results, repeated
            ]  # unless the first try came late, and yet before
            job.received[results, repeated] = True
        late_slots = min(scheme.B, scheme.delay_rounds - slot)  # after this round
        lost = job.n_missing.max() > late_slots
        if scheme.is_coded:
            lost |= (self._n_per_replica_group(without_coded) > scheme.lam).any()
        if lost:
            return Outcome(number, "failed", float("nan"))
        is_last = slot == scheme.delay_rounds or (slot >= scheme.W - 2 and not scheme.is_coded)
        return Outcome(number, "decoded") if is_last and not job.n_missing.any() else None

    def tasks(self, worker: int) -> Sequence[Task]:
        tasks = [self._task(worker, self._round - number, number, job) for number, job in self._jobs.items()]
        return [task for task in reversed(tasks) if task is not None]

    def _task(self, worker: int, slot: int, number: int, job: _Job) -> Task | None:
        scheme = self._scheme
        n, width = scheme.n_workers, scheme.W - 1
        load = float(scheme.load_of(1))
        if slot < width:
            return Task(number, "plain", load, (worker * width + slot,))
        if job.repeats[worker] >= 0:
            return Task(number, "repeat", load, (worker * width + int(job.repeats[worker]),))
        if not scheme.is_coded:
            return None
        group = n * width + (slot - width) * n
        if scheme.code == "gradient_coding":
            holders = [(worker + offset) % n for offset in range(scheme.lam + 1)]
        else:
            holders = [worker - worker % (scheme.lam + 1) + offset for offset in range(scheme.lam + 1)]
        return Task(number, "coded", load, tuple(group + chunk for chunk in holders))


class TaskwiseSession(MultiplexedSession):
    """Where lists may count in part, or late, so that each job has its own missing workers."""

    def __init__(self, scheme: Multiplexed, n_jobs: int) -> None:
        super().__init__(scheme, n_jobs)
        self._by_task = scheme.credit == "prefix"
        self._lists: dict[int, Lists] = {}  # of the latest rounds
        self._came: dict[int, bytearray] = {}  # whose result for a job in flight has come in the open round
        self._tallies: dict[int, Tally] = {}  # of what each of them needs, if anything recoverable is accepted
        self._n_short = 0  # tallies that do not hold yet

    def _give(self) -> Work:
        scheme = self._scheme
        has_task = self._has_task()
        n_tasks = has_task.sum(axis=0)
        self._open_lists = Lists(list(self._jobs), self._results(), self._order(), by_task=self._by_task)
        self._lists[self._round] = self._open_lists
        self._lists.pop(self._round - scheme.n_slots, None)
        self._came = {number: bytearray((~has).tobytes()) for number, has in zip(self._jobs, has_task, strict=True)}
        if not self._by_task:
            return self._work(n_tasks)
        reports = np.arange(1, n_tasks.max(initial=1) + 1)
        given = reports <= n_tasks[:, np.newaxis]
        return Work(np.where(given, scheme.load_of(reports), np.nan))

    def _order(self) -> list[list[int]]:
        """The places of the jobs in flight that each worker serves, in the order that loses least (docs/model.md).

        Repeats come first and coded results last: of these, some may be missing.
        """
        scheme, jobs = self._scheme, list(self._jobs.items())
        late = [job for number, job in jobs if self._round - number >= scheme.W - 1]
        first_tries = list(range(len(late), len(jobs)))  # the oldest job first
        coded = list(range(len(late)))[::-1] if scheme.is_coded else []
        order = [first_tries + coded] * scheme.n_workers
        repeats = np.array([job.repeats >= 0 for job in late]).reshape(len(late), scheme.n_workers)
        for worker in np.flatnonzero(repeats.any(axis=0)).tolist():
            again = np.flatnonzero(repeats[:, worker]).tolist()
            order[worker] = again + first_tries + [place for place in coded if place not in again]
        return order

    def lists(self) -> Lists:
        return self._open_lists

    def tasks(self, worker: int) -> Sequence[Task]:
        if not self._by_task:
            return super().tasks(worker)
        jobs = list(self._jobs.items())
        served = [jobs[place] for place in self._open_lists.order[worker]]
        tasks = [self._task(worker, self._round - number, number, job) for number, job in served]
        return [task for task in tasks if task is not None]

    def _acceptable(self) -> list[list[Allowance]]:
        if self._scheme.accepts == "pattern":
            return super()._acceptable()
        for number, job in self._jobs.items():
            waiting = ~np.frombuffer(self._came[number], dtype=np.bool_)
            tally = Tally(self._recoverable(self._round - number, job), waiting)
            self._tallies[number] = tally
            self._n_short += tally.n_violated > 0
        return []

    def receive(self, worker: int, report: int) -> None:
        order, jobs = self._open_lists.order[worker], self._open_lists.jobs
        if not self._by_task or report == len(order) - 1:
            super().receive(worker, report)
        for place in order[report : report + 1] if self._by_task else order:
            number = jobs[place]
            self._came[number][worker] = 1
            if self._tallies:
                self._n_short -= self._tallies[number].arrives(worker)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        lists = self._lists.get(index)
        if lists is None:
            return
        order = lists.order[worker]
        for place in order[report : report + 1] if self._by_task else order:
            number = lists.jobs[place]
            result, job = int(lists.results[place][worker]), self._jobs.get(number)
            # a coded result that comes late is not needed: without enough of them in time, the job would have failed
            if job is not None and result >= 0 and not job.received[result, worker]:
                job.received[result, worker] = True
                job.n_missing[worker] -= 1
                if number in self._tallies:
                    self._relax(number, worker, int(job.n_missing[worker]))

    def _relax(self, number: int, worker: int, n_missing: int) -> None:
        """A late result of a worker has come, so that it is still lacking only so many of earlier rounds."""
        scheme, tally = self._scheme, self._tallies[number]
        slot = self._round - number
        late_slots = min(scheme.B, scheme.n_slots - slot)
        came = self._came[number][worker]
        if n_missing + 1 >= late_slots > n_missing and not came:
            self._n_short -= tally.excuse(worker)
        if scheme.is_coded and slot < scheme.W - 1 and not n_missing:
            # from now on it is its present try alone that may keep it from coded work
            group = 1 + int(self._replica_group[worker])
            tally.group_of[worker] = group
            if came:
                self._n_short -= tally.lessen(group)

    def enough(self) -> bool:
        return not self._n_short if self._scheme.accepts == "recoverable" else super().enough()

    def _lost(self, number: int, closing: Closing) -> BoolArray:
        return ~np.frombuffer(self._came[number], dtype=np.bool_)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = super().close_round(closing)
        self._tallies, self._n_short = {}, 0
        return outcomes
