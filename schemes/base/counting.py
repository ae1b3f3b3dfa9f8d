"""Sessions in which who is missing decides, counted as responses arrive."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np

from schemes.base.rule import DECODED, NOT_ENDED, Alternatives, Clause, Rule
from schemes.base.scheme import Scheme, Session
from schemes.base.sets import ManySets, Numbers, OneSet, Sets
from schemes.base.work import Closing, Outcome, Work
from simulator.parameters import BoolArray, IntArray


class Allowance(NamedTuple):
    """The workers that may be missing: of each of some disjoint groups of workers, at most so many.

    A group with limit 0 holds the workers whom the master needs.
    """

    group_of: IntArray  # shape (n_workers,): the worker's group, or -1: may be missing freely
    limits: IntArray  # shape (n_groups,): how many of the group may be missing

    def parts(self) -> list[Part]:
        """Say the same of all workers at once, group by group, or of all groups of neighbours together."""
        n_workers, limits = len(self.group_of), self.limits.tolist()
        replicas = n_workers // max(1, len(limits))
        is_even = len(limits) > 1 and limits == [replicas - 1] * len(limits)
        if is_even and (self.group_of == np.arange(n_workers) // replicas).all():
            return [Part(np.zeros(n_workers, dtype=np.bool_), replicas - 1, in_groups=True)]
        others = [self.group_of != group for group in range(len(limits))]
        return [Part(who, limit + np.count_nonzero(who)) for who, limit in zip(others, limits, strict=True)]


class Part(NamedTuple):
    """A clause of one row that needs nobody."""

    before: BoolArray  # shape (n_workers,)
    limit: int
    in_groups: bool = False


def clauses_of(sets: Sets, allowances: Sequence[Allowance]) -> list[Clause]:
    """Say the same on sets, from the allowance of each row."""
    n_workers, clauses = sets.n_workers, []
    nothing = Part(np.zeros(n_workers, dtype=np.bool_), n_workers)
    rows = [allowance.parts() for allowance in allowances]
    for in_groups in (False, True):
        of_kind = [[part for part in parts if part.in_groups == in_groups] for parts in rows]
        for parts in itertools.zip_longest(*of_kind, fillvalue=nothing):
            before = sets.of(np.array([part.before for part in parts]))
            clauses.append(Clause(sets.nobody, before, sets.numbers([part.limit for part in parts]), in_groups))
    return clauses


def at_most(n_missing: int, n_workers: int) -> Allowance:
    """Any ``n_missing`` of the workers may be missing."""
    return Allowance(np.zeros(n_workers, dtype=np.int64), np.array([n_missing]))


class CountingSession(Session):
    """A session in which *who is missing* decides what is enough.

    A subclass calls :meth:`expect` whenever a round opens. Asked whether it is enough, the session also learns how many
    more must arrive at least, and does not look again before they have. As workers only ever arrive, what holds once
    holds for the rest of the round.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self.sets = OneSet(n_workers)
        self._missing = 0
        self._by_job: dict[int, int] = {}  # whose result for a job has not come, where lists count in part
        self._pending: list[list[Clause]] = [[]]  # of each alternative, what is not known to hold, the next one last
        self._n_short = 0  # so many more must arrive at least
        self._group = 0  # some neighbours of whom one is needed and nobody had come at the last look

    def expect(self, busy: int, alternatives: Alternatives) -> None:
        """Wait for the ``busy`` workers until all clauses of one of the ``alternatives`` hold."""
        self._missing = busy
        self._wait_for(alternatives)

    def _wait_for(self, alternatives: Alternatives) -> None:
        self._pending = [list(reversed(clauses)) for clauses in alternatives]
        self._n_short = self._group = 0

    def receive(self, worker: int, report: int) -> None:
        self._missing ^= 1 << worker  # hot: called for every arrival
        self._n_short -= 1

    def enough(self) -> bool:
        if self._n_short > 0 or (self._group and not self._group & ~self._missing):
            return False
        self._n_short = min(map(self._short, self._pending), default=self.n_workers)
        return self._n_short <= 0

    def _short(self, pending: list[Clause]) -> int:
        """Count how many more must arrive at least if all these clauses are to hold; forget those that hold."""
        while pending:
            clause = pending[-1]
            missing = self._missing if clause.job is None else self._by_job.get(clause.job, self._missing)
            n_short: int = (missing & clause.needed).bit_count()
            if clause.limit is not None:
                without = missing | clause.before
                if clause.in_groups:
                    n_beyond = self._n_lacking_groups(clause, without, clause.limit + 1)
                else:
                    n_beyond = without.bit_count() - clause.limit
                n_short = max(n_short, n_beyond)
            if n_short > 0:
                return n_short
            pending.pop()
        return 0

    def _n_lacking_groups(self, clause: Clause, without: int, replicas: int) -> int:
        """Count the groups of which nobody is there, and remember one of them if it is needed whatever else comes."""
        firsts: int = self.sets.full_groups(without, replicas)
        if len(self._pending) == 1 and clause.job is None:
            first = firsts & -firsts
            self._group = ((first << replicas) - first) & ~clause.before
        return firsts.bit_count()


AnyRule = TypeVar("AnyRule", bound=Rule)


class RuleSession(CountingSession, Generic[AnyRule]):
    """A session that follows from a rule; a subclass says what the tasks are."""

    def __init__(self, rule: AnyRule) -> None:
        assert isinstance(rule.sets, OneSet)
        super().__init__(rule.sets.n_workers)
        self.sets, self.rule, self.n_rounds = rule.sets, rule, rule.n_rounds
        self._is_stale = False  # whether something has come late that changes who may be missing
        self._same_work: dict[tuple[int, int], Work] = {}  # where everybody is given as many tasks

    def open_round(self, index: int) -> Work:
        self.rule.open(index)
        self._is_stale = False
        self.expect(self.rule.busy(), self.rule.alternatives())
        return self._work()

    def enough(self) -> bool:
        if self._is_stale:
            self._is_stale = False
            self._wait_for(self.rule.alternatives())
        return super().enough()

    def _work(self) -> Work:
        n_tasks, n_results = self.rule.n_tasks(), self.rule.n_results()
        is_same = n_tasks.size == 1 and (n_results is None or n_results.size == 1) and not self.rule.by_task
        key = (int(n_tasks[0, 0]), -1 if n_results is None else int(n_results[0, 0]))
        work = self._same_work.get(key) if is_same else None
        if work is None:
            gradients = self.rule.gradients()
            work = Work(self.rule.loads()[0], gradients=None if gradients is None else gradients[0])
            if is_same:
                self._same_work[key] = work
        return work

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        self._book(self.sets.of(closing.missing), forced=closing.forced)
        return [
            Outcome.of(job, 0.0 if status == DECODED else None)
            for job, status in self.rule.ended()
            if status != NOT_ENDED
        ]

    def _book(self, missing: int, *, forced: bool) -> None:
        self.rule.remember(missing, forced)


class RuleScheme(Scheme):
    """A scheme that is one rule on rows, of which arrays and search follow; `start` gives it to a session."""

    @abstractmethod
    def rule(self, sets: Sets, n_jobs: int, values: Numbers) -> Rule:
        """Begin a run for each row, which has its own value of the parameter that is :attr:`varied`."""

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Rule]:
        values = np.array([getattr(row, self.varied) if self.varied else 0 for row in rows])
        return [self.rule(ManySets(len(rows), self.n_workers), n_jobs, values)]

    def grid(self, n_jobs: int, values: IntArray) -> Rule | None:
        return self.rule(ManySets(len(values), self.n_workers), n_jobs, values)
