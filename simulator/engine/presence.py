"""Who is there: workers that leave, others that join in their place, and what the master has heard of it."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from simulator.engine.drawn_once import settled
from simulator.engine.streams import stream
from simulator.parameters import FloatArray
from straggler_models.base import Absence, StragglerModel

NEVER = Absence(np.inf, np.inf, np.inf)


class Presence:
    """Absences of every worker, of all models together. Instants are seconds since the open round's start."""

    def __init__(self, models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int) -> None:
        leaving = {label: model for label, model in models.items() if model.lives_in == "absences"}
        every = [
            model.absences(n_workers, stream(seed, trial, "stragglers", label))
            for label, model in sorted(settled(leaving, n_workers, seed).items())
        ]
        both = [itertools.tee(_together(own)) for own in zip(*every, strict=True)]
        self._coming = [own for own, _ in both]
        self._told = [own for _, own in both]
        self._ahead: list[deque[Absence]] = [deque() for _ in both]  # that are not over, as far as they are known
        self._news: list[tuple[float, int, bool, Absence]] = []  # of the run: when, of whom, whether it joins
        for worker in range(len(both)):
            self._expect(worker)
        self._start_s = 0.0
        self.away: set[int] = set()  # as far as the master has heard

    def __bool__(self) -> bool:
        """True if anybody may leave."""
        return bool(self._ahead)

    def _expect(self, worker: int) -> None:
        absence = next(self._told[worker], NEVER)
        heapq.heappush(self._news, (absence.heard_s, worker, False, absence))

    def open(self, start_s: float) -> None:
        """Begin a round."""
        self._start_s = start_s
        for ahead in self._ahead:
            while ahead and ahead[0].joins_s <= start_s:
                ahead.popleft()

    def leaves_s(self, worker: int, begin_s: float) -> tuple[float, float]:
        """Say when a worker leaves next, from some instant on, and when the master hears of it.

        If it is away then, it leaves at once.
        """
        ahead, time_s = self._ahead[worker], self._start_s + begin_s
        while not ahead or ahead[-1].joins_s <= time_s:
            ahead.append(next(self._coming[worker], NEVER))
        absence = next(each for each in ahead if each.joins_s > time_s or each is NEVER)
        return max(begin_s, absence.leaves_s - self._start_s), absence.heard_s - self._start_s

    def all_leave_s(self, begins_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Say the same of all workers."""
        each = [self.leaves_s(worker, begin_s) for worker, begin_s in enumerate(begins_s.tolist())]
        leaves_s, heard_s = np.array(each).T
        return leaves_s, heard_s

    def next_news_s(self) -> float:
        """Return when the master hears of somebody next."""
        return self._news[0][0] - self._start_s

    def news(self, now_s: float) -> tuple[Collection[int], Collection[int]] | None:
        """Say who has left since the last time, as the master hears, and who is away now; None: nothing is new."""
        if self.next_news_s() > now_s:
            return None
        left = set()
        while self.next_news_s() <= now_s < np.inf:
            _, worker, joins, absence = heapq.heappop(self._news)
            if joins:
                self.away.discard(worker)
                self._expect(worker)
            else:
                left.add(worker)
                self.away.add(worker)
                heapq.heappush(self._news, (absence.joins_s, worker, True, absence))
        return sorted(left), frozenset(self.away)

    def next_join_s(self) -> float:
        """Return when the first of those joins who are away, as far as the master has heard; 0, if nobody will."""
        joins_s = min((when_s for when_s, _, joins, _ in self._news if joins), default=np.inf)
        return joins_s - self._start_s if joins_s < np.inf else 0.0

    def hears_of_one_s(self, workers: Sequence[int], since_s: float, until_s: float) -> float:
        """Return when the master first hears that one of some workers has left in between; inf: none does."""
        each = [self.leaves_s(worker, since_s) for worker in workers]
        return min((max(since_s, heard_s) for leaves_s, heard_s in each if leaves_s < until_s), default=np.inf)


def _together(own: Sequence[Iterator[Absence]]) -> Iterator[Absence]:
    """One worker's absences by several models: it is away where any of them says so."""
    last: Absence | None = None
    for absence in heapq.merge(*own):
        if last is None or absence.leaves_s > last.joins_s:
            if last is not None:
                yield last
            last = absence
        else:
            last = Absence(last.leaves_s, max(last.joins_s, absence.joins_s), min(last.heard_s, absence.heard_s))
        if last.joins_s == np.inf:
            break
    if last is not None:
        yield last
