"""The master's memory during a run of `multiplexed`: which mini-task it is that somebody computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes.base.counting import RuleSession
from schemes.base.scheme import IntArray, Task, Work

if TYPE_CHECKING:
    from schemes.multiplexed import Multiplexed, MultiplexedRule


class Lists(NamedTuple):
    """Work of all workers in one round."""

    jobs: list[int]  # in flight, oldest first
    results: list[IntArray]  # of each job, the D1 result of each worker; -1: a coded one, or nothing
    order: list[list[int]]  # of each worker, the places in `jobs` that it serves, in its order
    by_task: bool  # whether each of them is a report of its own; if not, all are reported together


class MultiplexedSession(RuleSession["MultiplexedRule"]):
    """The rule, and of each job in flight which D1 results are lost."""

    def __init__(self, scheme: Multiplexed, rule: MultiplexedRule) -> None:
        super().__init__(rule)
        self._scheme = scheme
        self._lost: dict[int, list[int]] = {}  # of each job in flight and each D1 result, whose was tried and lost
        self._repeats: dict[int, dict[int, int]] = {}  # of each late job and D1 result, who computes it again now
        self._late: dict[int, int] = {}  # whose repeat for a job is not needed: its first try has come in the meantime

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        if index < self.rule.n_jobs:
            self._lost[index] = [0] * (self._scheme.W - 1)
        self._lost = {job: self._lost[job] for job in self.rule.lost}
        self._repeats = {job: self._first_lost(job) for job, again in self.rule.again.items() if again}
        return work

    def _first_lost(self, job: int) -> dict[int, int]:
        """Of each D1 result, whose first one it is that is lost."""
        first, left = {}, self.rule.again[job]
        for result, lost in enumerate(self._lost[job]):
            if lost & left:
                first[result] = lost & left
                left &= ~lost
        return first

    def _book(self, missing: int, *, forced: bool) -> None:
        by_job = {job: self._by_job.get(job, missing) | self._late.get(job, 0) for job in self._lost}
        for job, lost in self._lost.items():
            slot = self.rule.index - job
            if slot < self._scheme.W - 1:
                lost[slot] = by_job[job]
            for result, who in self._repeats.get(job, {}).items():
                lost[result] &= ~who | by_job[job]
        self.rule.remember(missing, forced, by_job)

    def lists(self) -> Lists:
        """Work of all workers in the open round; of lists that are reported as a whole, in any order."""
        jobs = list(self._lost)
        everything = list(range(len(jobs)))
        return Lists(jobs, [self._results(job) for job in jobs], [everything] * self.n_workers, by_task=False)

    def _results(self, job: int) -> IntArray:
        """The D1 result of a job that each worker computes; -1: a coded one, or nothing."""
        slot = self.rule.index - job
        results = np.full(self.n_workers, slot if slot < self._scheme.W - 1 else -1)
        for result, who in self._repeats.get(job, {}).items():
            results[self.sets.workers(who)[0]] = result
        return results

    def tasks(self, worker: int) -> Sequence[Task]:
        return [task for job in reversed(self._lost) for task in self._task(worker, job)]

    def _task(self, worker: int, job: int) -> list[Task]:
        """The task of a worker for a job, if it has one."""
        scheme, n, width = self._scheme, self.n_workers, self._scheme.W - 1
        slot, load = self.rule.index - job, float(scheme.load_of(1))
        if slot < width:
            return [Task(job, "plain", load, (worker * width + slot,))]
        for result, who in self._repeats.get(job, {}).items():
            if who >> worker & 1:
                return [Task(job, "repeat", load, (worker * width + result,))]
        if not scheme.is_coded:
            return []
        group = n * width + (slot - width) * n
        if scheme.code == "gradient_coding":
            holders = [(worker + offset) % n for offset in range(scheme.lam + 1)]
        else:
            holders = [worker - worker % (scheme.lam + 1) + offset for offset in range(scheme.lam + 1)]
        return [Task(job, "coded", load, tuple(group + chunk for chunk in holders))]


class TaskwiseSession(MultiplexedSession):
    """A session in which lists may count in part, or late, so that each job has its own missing workers."""

    def __init__(self, scheme: Multiplexed, rule: MultiplexedRule) -> None:
        super().__init__(scheme, rule)
        self._lists: dict[int, Lists] = {}  # of the latest rounds

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        self._open_lists = super().lists()._replace(order=self._order(), by_task=self.rule.by_task)
        self._lists[index] = self._open_lists
        self._lists.pop(index - self._scheme.n_slots, None)
        self._by_job = {job: self.rule.serves(job) for job in self._lost} if self.rule.by_task else {}
        self._late = dict.fromkeys(self._lost, 0)
        return work

    def _order(self) -> list[list[int]]:
        """The places of the jobs in flight that each worker serves, in its order."""
        place = {job: place for place, job in enumerate(self._lost)}
        lists = [(place[job], who) for job, who in self.rule.lists()]
        odd = 0
        for _, who in lists:
            odd |= who if who.bit_count() <= self.n_workers // 2 else self.sets.everybody ^ who
        usual = [place for place, who in lists if who & ~odd] if odd != self.sets.everybody else []
        order = [usual] * self.n_workers
        for worker in np.flatnonzero(self.sets.workers(odd)).tolist():
            order[worker] = [place for place, who in lists if who >> worker & 1]
        return order

    def lists(self) -> Lists:
        return self._open_lists

    def tasks(self, worker: int) -> Sequence[Task]:
        if not self.rule.by_task:
            return super().tasks(worker)
        jobs = self._open_lists.jobs
        return [task for place in self._open_lists.order[worker] for task in self._task(worker, jobs[place])]

    def receive(self, worker: int, report: int) -> None:
        if not self.rule.by_task:
            super().receive(worker, report)
            return
        order, bit = self._open_lists.order[worker], 1 << worker
        self._by_job[self._open_lists.jobs[order[report]]] ^= bit
        self._n_short -= 1
        if report == len(order) - 1:
            self._missing ^= bit

    def receive_late(self, index: int, worker: int, report: int) -> None:
        lists = self._lists.get(index)
        if lists is None:
            return
        order, bit = lists.order[worker], 1 << worker
        for place in order[report : report + 1] if lists.by_task else order:
            job, result = lists.jobs[place], int(lists.results[place][worker])
            # a coded result that comes late is not needed: without enough of them in time, the job would have failed
            if job in self.rule.lost and result >= 0 and self._lost[job][result] & bit:
                self._lost[job][result] ^= bit
                self.rule.receive_late(job, bit)
                self._late[job] |= self._repeats.get(job, {}).get(result, 0) & bit
                self._is_stale = True
