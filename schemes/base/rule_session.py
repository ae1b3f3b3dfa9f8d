"""The session of a rule: one row, arrival by arrival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from schemes.base.allowance import CountingSession
from schemes.base.rule import DECODED, NOT_ENDED, Rule
from schemes.base.scheme import Closing, Outcome, Work
from schemes.base.sets import OneSet

AnyRule = TypeVar("AnyRule", bound=Rule)


class RuleSession(CountingSession, Generic[AnyRule]):
    """What a rule says of one run; a subclass says what the tasks are."""

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
            Outcome(job, "decoded" if status == DECODED else "failed", 0.0 if status == DECODED else float("nan"))
            for job, status in self.rule.ended()
            if status != NOT_ENDED
        ]

    def _book(self, missing: int, *, forced: bool) -> None:
        self.rule.remember(missing, forced)
