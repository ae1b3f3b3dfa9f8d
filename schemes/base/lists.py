"""Lists that workers were given: which tasks each of their reports is about."""

from __future__ import annotations

from collections.abc import Sequence

from schemes.base.scheme import Session
from schemes.base.work import Phase, Task, Work


class Lists:
    """Tasks by round, worker and report. A list is reported as a whole, or task by task.

    Examples
    --------
    >>> import numpy as np
    >>> from schemes import GradientCoding
    >>> session, lists = GradientCoding(n_workers=3, s=1).start(1, np.random.default_rng(0)), Lists()
    >>> lists.open_round(0, session.open_round(0), session)
    >>> [task.chunks for task in lists.of(0, 2, 0)]
    [(0, 2)]
    """

    def __init__(self) -> None:
        self._lists: dict[int, list[list[Sequence[Task]]]] = {}
        self._round = -1

    def open_round(self, index: int, work: Work, session: Session) -> None:
        """Note what the session gives out at the start of a round."""
        self._round = index
        self._lists[index] = [
            self._by_report(session.tasks(worker), int(last)) for worker, last in enumerate(work.last_report)
        ]

    @staticmethod
    def _by_report(tasks: Sequence[Task], last_report: int) -> list[Sequence[Task]]:
        return [tasks] if last_report == 0 else [[task] for task in tasks]

    def act(self, phase: Phase, session: Session) -> None:
        """Note what it gives out while the round goes on."""
        lists = self._lists[self._round]
        for worker, loads in phase.lists.items():
            lists[worker] += [[task] for task in session.tasks(worker)[-len(loads) :]]

    def of(self, index: int, worker: int, report: int) -> Sequence[Task]:
        """Tasks behind a report."""
        return self._lists[index][worker][report]

    def has(self, index: int) -> bool:
        """True if a round is known, and not forgotten."""
        return index in self._lists

    def forget_before(self, index: int) -> None:
        """Forget all rounds before one."""
        while next(iter(self._lists), index) < index:
            del self._lists[next(iter(self._lists))]
