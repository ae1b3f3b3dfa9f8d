"""What workers are busy with in a few rounds of a run, on the clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from schemes.base.scheme import Session
from schemes.base.work import Task, TaskKind, Work
from simulator.engine.events import ClosedRound
from simulator.parameters import FloatArray, IntArray

RESULTS_EACH = 5  # that are shown on average, where neither rounds nor other schemes say for how long
Filling = TaskKind | Literal["startup"]


class Bar(NamedTuple):
    """A stretch of a worker's time in a round."""

    worker: int
    job: int  # -1: for no job
    kind: Filling
    begin_s: float  # simulated seconds
    end_s: float
    is_heard: bool  # whether the master got the result before it stopped, or later if it still counts then
    place: int = 0  # of the list among those that the worker was given in the round: from 1 on, in mid-round


@dataclass(frozen=True, slots=True)
class RoundView:
    """A round, as the timeline shows it."""

    index: int
    start_s: float  # simulated seconds
    stop_s: float
    waited: bool
    drops: bool  # whether what was not finished was dropped then
    bars: list[Bar]


class _List(NamedTuple):
    """A list of tasks; times are seconds after the start of its round."""

    worker: int
    place: int
    begin_s: float
    startup_s: float
    s_per_load: float
    loads: FloatArray  # at each report
    tasks: Sequence[Task]
    n_heard: float  # reports; inf: all, now or later
    end_s: float  # when it was dropped, or done

    def bars(self, start_s: float) -> Iterator[Bar]:
        """Stretches, one after another; what never ends has an infinite ``end_s``."""
        if self.begin_s == -math.inf:
            yield Bar(self.worker, -1, "startup", start_s, math.inf, is_heard=False, place=self.place)
            return
        ends = np.cumsum([0.0, *(task.load for task in self.tasks)])
        fillings: list[tuple[int, Filling]] = [(-1, "startup"), *((task.job, task.kind) for task in self.tasks)]
        if self.loads[-1] > ends[-1] * (1 + 1e-9):  # a scheme may ask for more work than there are tasks
            ends, fillings = np.append(ends, self.loads[-1]), [*fillings, (-1, "startup")]
        if len(self.tasks) == 1 and not self.s_per_load:  # starting up is all that it takes
            fillings[0] = fillings[1]
        begin_s = self.begin_s
        for (job, kind), load in zip(fillings, ends.tolist(), strict=True):
            end_s = self.begin_s + self.startup_s + self.s_per_load * load
            report = min(int(np.searchsorted(self.loads, load * (1 - 1e-9))), len(self.loads) - 1)
            is_heard = report < self.n_heard and end_s <= self.end_s * (1 + 1e-9)
            end_s = min(end_s, self.end_s)
            if end_s > begin_s:
                yield Bar(self.worker, job, kind, start_s + begin_s, start_s + end_s, is_heard, self.place)
            begin_s = max(begin_s, end_s)


class SeenEnough(BaseException):
    """Ends a run of which the rest is not needed."""


@dataclass
class TimelineLog:
    """A collector that keeps what some workers were busy with in a few rounds."""

    window: range
    workers: Sequence[int]
    is_in_step: bool = True  # else responses count whenever they come, and rounds are as many as take `until_s`
    until_s: float = math.inf
    rounds: list[RoundView] = field(default_factory=list)
    before: list[RoundView] = field(default_factory=list)  # whose lists may go on
    tasks: dict[int, Sequence[Task]] = field(default_factory=dict)
    n_results: int = 0

    def _is_over(self, index: int) -> bool:
        if self.is_in_step or not self.rounds:
            return index >= self.window.stop
        is_known = self.until_s < math.inf
        is_long = self.rounds[-1].stop_s - self.rounds[0].start_s >= self.until_s
        return is_long if is_known else self.n_results >= RESULTS_EACH * self._n_workers

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Ask for the lists: a session knows those of its open round only."""
        self._session, self._n_workers = session, len(work.busy)
        if self._is_over(index):
            raise SeenEnough
        self.tasks = {worker: session.tasks(worker) for worker in self.workers if work.busy[worker]}

    def round_closed(self, closed: ClosedRound) -> None:
        """Put the lists on the clock."""
        if closed.index < self.window.start and closed.is_cut_off:
            return
        lists = sorted([*self._first(closed), *self._later(closed)], key=lambda one: (one.worker, one.place))
        bars = [bar for one in lists for bar in one.bars(closed.start_s)]
        stop_s, drops = closed.start_s + closed.stop_s, closed.is_cut_off
        view = RoundView(closed.index, closed.start_s, stop_s, closed.waited_s > 0, drops, bars)
        if closed.index < self.window.start:
            self.before.append(view)
            return
        self.rounds.append(view)
        self.n_results += int(closed.arrivals.n_received().sum()) + len(closed.late)

    def _n_heard(self, closed: ClosedRound, worker: int) -> float:
        """Reports of its lists in this round that are heard; inf: all that it will make."""
        goes_on = not (self.is_in_step or closed.is_cut_off)
        return math.inf if goes_on else float(closed.arrivals.n_received()[worker])

    def _first(self, closed: ClosedRound) -> Iterator[_List]:
        """Lists that the round began with."""
        times, work = closed.times.evened_out(closed.work.loads), closed.work
        for worker, tasks in self.tasks.items():
            startup_s, rate, slowdown = (float(part[worker]) for part in times[:3])
            last, given = int(work.last_report[worker]), float(work.given[worker])
            last_s = float(closed.finish_s[worker][last])
            # a worker may begin late, after an older list
            begin_s = last_s - slowdown * (startup_s + rate * given) if math.isfinite(last_s) else -math.inf
            pace, loads = (slowdown * startup_s, slowdown * rate), work.loads[worker][: last + 1]
            end_s = min(last_s, closed.dropped_s.get(worker, math.inf))
            yield _List(worker, 0, begin_s, *pace, loads, tasks, self._n_heard(closed, worker), end_s)

    def _later(self, closed: ClosedRound) -> Iterator[_List]:
        """Lists that were given out while it went on."""
        left: dict[int, list[Task]] = {}
        places: Counter[int] = Counter()
        for later in closed.given:
            worker = later.worker
            if worker not in self.workers:
                continue
            n_first = len(self.tasks.get(worker, ()))
            tasks = left.setdefault(worker, list(self._session.tasks(worker)[n_first:]))
            own: list[Task] = []
            while tasks and sum(task.load for task in own) < later.loads[-1] * (1 - 1e-9):
                own.append(tasks.pop(0))
            places[worker] += 1
            last_s = later.finish_s[-1]
            begin_s = later.begin_s if math.isfinite(last_s) else -math.inf
            startup_s = later.startup_share * (last_s - later.begin_s)
            s_per_load = (1 - later.startup_share) * (last_s - later.begin_s) / later.loads[-1]
            n_heard = self._n_heard(closed, worker) - later.first_report
            pace, loads, end_s = (startup_s, s_per_load), np.array(later.loads), min(last_s, later.cut_s)
            yield _List(worker, places[worker], begin_s, *pace, loads, own, n_heard, end_s)

    def cut_off(self, index: int, workers: IntArray, load: FloatArray) -> None:
        """Leave it: the end of the run is not shown."""
