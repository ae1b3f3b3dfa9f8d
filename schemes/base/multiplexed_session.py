"""The master's memory during a run of `multiplexed`: which mini-task it is that somebody computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes.base.counting import RuleSession
from schemes.base.work import Task, Work
from simulator.parameters import BoolArray

if TYPE_CHECKING:
    from schemes.multiplexed import Multiplexed, MultiplexedRule

Repeats = dict[int, dict[int, int]]  # of each late job and D1 result, who computes it again


class MultiplexedSession(RuleSession["MultiplexedRule"]):
    """The rule, and of each job in flight which D1 results are lost, and which coded ones have come."""

    def __init__(self, scheme: Multiplexed, rule: MultiplexedRule) -> None:
        super().__init__(rule)
        self._scheme = scheme
        self._lost: dict[int, list[int]] = {}  # of each job in flight and each D1 result, whose was tried and lost
        self._coded: dict[int, list[int]] = {}  # of each job in flight and each group, whose coded result has come
        self._repeats: Repeats = {}  # in the open round
        self._late: dict[int, int] = {}  # whose repeat for a job is not needed: its first try has come in the meantime

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        if index < self.rule.n_jobs:
            self._lost[index], self._coded[index] = [0] * (self._scheme.W - 1), [0] * self._scheme.B
        self._lost = {job: self._lost[job] for job in self.rule.lost}
        self._coded = {job: self._coded[job] for job in self.rule.lost}
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
                continue
            self._coded[job][slot - self._scheme.W + 1] = self.sets.everybody & ~(by_job[job] | self.rule.again[job])
            for result, who in self._repeats.get(job, {}).items():
                lost[result] &= ~who | by_job[job]
        self.rule.remember(missing, forced, by_job)

    def received(self, job: int) -> BoolArray:
        """Results that there are of a job that has just ended, shape ``(W - 1 + B, n_workers)``: D1, then coded."""
        come = [self.sets.everybody & ~lost for lost in self._lost[job]] + self._coded[job]
        return np.concatenate([self.sets.workers(who) for who in come])

    def _result(self, job: int, index: int, repeats: Repeats, worker: int) -> int:
        """The D1 result of a job that a worker computes in a round; -1: a coded one, or nothing."""
        if index - job < self._scheme.W - 1:
            return index - job
        return next((result for result, who in repeats.get(job, {}).items() if who >> worker & 1), -1)

    def tasks(self, worker: int) -> Sequence[Task]:
        return [task for job in reversed(self._lost) for task in self._task(worker, job)]

    def _task(self, worker: int, job: int) -> list[Task]:
        """The task of a worker for a job, if it has one."""
        scheme, n, width = self._scheme, self.n_workers, self._scheme.W - 1
        late_slot, load = self.rule.index - job - width, float(scheme.load_of(1))
        result = self._result(job, self.rule.index, self._repeats, worker)
        if result >= 0:
            return [Task(job, "plain" if late_slot < 0 else "repeat", load, (worker * width + result,))]
        if not scheme.is_coded:
            return []
        group = n * (width + late_slot)
        return [Task(job, "coded", load, tuple(group + chunk for chunk in scheme.chunks_of(worker)))]


class Lists(NamedTuple):
    """Work of all workers in one round."""

    jobs: list[list[int]]  # of each worker, the jobs that it serves, in its order
    repeats: Repeats


class TaskwiseSession(MultiplexedSession):
    """A session in which lists may count in part, or late, so that each job has its own missing workers."""

    def __init__(self, scheme: Multiplexed, rule: MultiplexedRule) -> None:
        super().__init__(scheme, rule)
        self._lists: dict[int, Lists] = {}  # of the latest rounds

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        self._lists[index] = Lists(self._jobs(), self._repeats)
        self._lacking = [*map(len, self._lists[index].jobs)]  # results of each worker
        self._lists.pop(index - self._scheme.n_slots, None)
        self._by_job = {job: self.rule.serves(job) for job in self._lost} if self.rule.by_task else {}
        self._late = dict.fromkeys(self._lost, 0)
        return work

    def _jobs(self) -> list[list[int]]:
        """The jobs in flight that each worker serves, in its order."""
        lists, odd = self.rule.lists(), 0
        for _, who in lists:
            odd |= who if who.bit_count() <= self.n_workers // 2 else self.sets.everybody ^ who
        usual = [job for job, who in lists if who & ~odd] if odd != self.sets.everybody else []
        jobs = [usual] * self.n_workers
        for worker in np.flatnonzero(self.sets.workers(odd)).tolist():
            jobs[worker] = [job for job, who in lists if who >> worker & 1]
        return jobs

    def tasks(self, worker: int) -> Sequence[Task]:
        if not self.rule.by_task:
            return super().tasks(worker)
        return [task for job in self._lists[self.rule.index].jobs[worker] for task in self._task(worker, job)]

    def receive(self, worker: int, report: int) -> None:
        if not self.rule.by_task:
            super().receive(worker, report)
            return
        jobs, bit = self._lists[self.rule.index].jobs[worker], 1 << worker
        self._by_job[jobs[report]] ^= bit
        self._n_short -= 1
        lacking = self._lacking[worker] = self._lacking[worker] - 1  # they may come in any order
        if not lacking:
            self._missing ^= bit

    def receive_late(self, index: int, worker: int, report: int) -> None:
        if index not in self._lists:
            return
        (jobs, repeats), bit = self._lists[index], 1 << worker
        for job in jobs[worker][report : report + 1] if self.rule.by_task else jobs[worker]:
            if job not in self.rule.lost:
                continue
            result = self._result(job, index, repeats, worker)
            if result < 0:  # coded: not needed, since without enough of them in time the job would have failed
                self._coded[job][index - job - self._scheme.W + 1] |= bit
            elif self._lost[job][result] & bit:
                self._lost[job][result] ^= bit
                self.rule.receive_late(job, bit)
                self._late[job] |= self._repeats.get(job, {}).get(result, 0) & bit
                self._is_stale = True
