"""Progress of workers that are given lists while a round goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from schemes.base.work import Work
from simulator.choices import Leftover
from simulator.engine.downlink import Downlink
from simulator.engine.presence import Presence
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.worker_times import RoundTimes
from simulator.engine.workers import Late, Workers, load_done
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray

ROUNDING = 1e-9  # of instants that are told since the start of different rounds
Again = Callable[[int], Iterator[RoundTimes]]
"""Gives the worker times of successive rounds, for what is a worker's k-th further list in its round."""


class Given(NamedTuple):
    """A list that was given out while the round went on; times are seconds after its start."""

    worker: int
    first_report: int  # the number of its first report in the round
    begin_s: float
    loads: Sequence[float]
    finish_s: list[float]
    cut_s: float = np.inf  # when it was dropped, or its worker left
    startup_share: float = 0.0  # of its time
    delays_s: Sequence[float] = ()  # of its messages; none: they are not delayed

    @property
    def due_s(self) -> list[float]:
        """When its reports are due; inf: they are lost."""
        return [each_s if each_s < self.cut_s else np.inf for each_s in self.finish_s]

    def done(self, until_s: float) -> float:
        """Load done until then."""
        if self.finish_s[-1] <= until_s:
            return self.loads[-1]
        if len(self.loads) == 1:  # the usual case, without arrays
            share = (until_s - self.begin_s) / (self.finish_s[0] - self.begin_s)
            return self.loads[0] * min(1.0, max(0.0, share))
        loads, begin_s, finish_s = np.array([self.loads]), np.array([self.begin_s]), np.array([self.finish_s])
        return float(load_done(loads, begin_s, finish_s, until_s)[0])


class ActingWorkers(Workers):
    """Workers whose lists may begin in mid-round, be dropped, and go on afterwards or not, as the session says."""

    def __init__(
        self,
        n_workers: int,
        times: Iterator[RoundTimes],
        speeds: SpeedChanges | None,
        leftover: Leftover,
        again: Again | None,
        downlink: Downlink | None = None,
        presence: Presence | None = None,
    ) -> None:
        super().__init__(n_workers, times, speeds, leftover, downlink, presence)
        self._again = again
        self._streams: dict[int, tuple[int, Iterator[RoundTimes]]] = {}  # and how many rounds of each are taken

    def dispatch(self, index: int, start_s: float, work: Work) -> tuple[Work, FloatArray]:
        work, due_s = super().dispatch(index, start_s, work)
        self.index = index
        self._times = {0: self.times}
        self.given: list[Given] = []
        self._latest: dict[int, int] = {}  # place of a worker's latest list in `given`
        self._n_given: dict[int, int] = {}
        self.dropped_s: dict[int, float] = {}  # when a list was dropped that the round began with
        # of workers that leave with their latest list: when, and when that would end otherwise
        self._gone = {worker: (left_s, self.whole_s[worker]) for worker, left_s in self.left_s.items()}
        free_s = np.where(np.isnan(self._finish_s), -np.inf, self._finish_s).max(axis=1)
        self._free_s = np.maximum(self._busy_until_s, free_s)
        return work, due_s

    def begin(self, worker: int, now_s: float, begin_s: float, loads: Sequence[float]) -> Given:
        """Give an idle worker a list, which is sent at ``begin_s``; say when its reports are due."""
        slack_s = ROUNDING * (self._start_s + now_s)
        if not 0 <= worker < len(self._free_s) or self._free_s[worker] > now_s + slack_s:
            raise SimulationError(f"round {self.index}: new work must go to an idle worker, got worker {worker}")
        before = self._latest.get(worker)
        first = int(self._work.last_report[worker]) + 1
        if before is not None:
            first = self.given[before].first_report + len(self.given[before].loads)
        n_before = self._n_given.get(worker, int(self._work.busy[worker]))
        times = self._times_of(n_before)
        finish_s = times.work_of(worker, loads)
        if finish_s and min(finish_s) < 0:
            raise SimulationError(
                f"round {self.index}, worker {worker}: completion times must be at least 0 s, got {min(finish_s):g} s"
            )
        if self._downlink:
            begin_s = self._downlink.send(worker, begin_s)
        startup_s = float(times.slowdown[worker] * times.startup_s[worker])
        startup_share = startup_s / finish_s[-1] if 0 < finish_s[-1] < np.inf else 0.0
        if self._speeds:
            finish_s = self._speeds.finishing_of(worker, self._start_s, begin_s, finish_s)
        else:
            finish_s = [begin_s + each_s for each_s in finish_s]
        self._n_given[worker], self._latest[worker] = n_before + 1, len(self.given)
        leaves_s = self._presence.leaves_s(worker, begin_s)[0] if self._presence else np.inf
        cut_s = leaves_s if leaves_s <= finish_s[-1] < np.inf else np.inf
        self._gone.pop(worker, None)
        if cut_s < np.inf:
            self._gone[worker] = cut_s, finish_s[-1]
            self._leave_speeds(cut_s, [worker])
        delays_s = times.places.delays_of(worker, len(loads))
        self.given.append(Given(worker, first, begin_s, loads, finish_s, cut_s, startup_share, delays_s))
        self._free_s[worker] = min(finish_s[-1], cut_s)
        return self.given[-1]

    def _times_of(self, n_before: int) -> RoundTimes:
        """Worker times of this round for a worker that has been given so many lists in it before."""
        if n_before not in self._times:
            assert self._again is not None, "the plan of a scheme that acts has times for it"
            n_taken, stream = self._streams.get(n_before) or (0, self._again(n_before))
            for _ in range(self.index - n_taken):
                next(stream)
            self._times[n_before] = next(stream)
            self._streams[n_before] = self.index + 1, stream
        return self._times[n_before]

    def drop(self, workers: Collection[int], now_s: float) -> None:
        """Let workers stop what they are at."""
        self._leave_speeds(now_s, workers)
        for worker in workers:
            if self._free_s[worker] > now_s:
                self._gone.pop(worker, None)
                if worker in self._latest:
                    place = self._latest[worker]
                    self.given[place] = self.given[place]._replace(cut_s=now_s)
                else:
                    self.dropped_s[worker] = now_s
                self._free_s[worker] = now_s

    def progress(self, now_s: float) -> FloatArray:
        """Return the share of its list's time that each worker has behind it, ``(n_workers,)``; NaN: idle."""
        begin_s, end_s = self.begin_s.copy(), self._free_s.copy()
        if self._latest:
            begin_s[[*self._latest]] = [self.given[place].begin_s for place in self._latest.values()]
        for late in self._late:  # lists of earlier rounds, of which a worker may have several to go
            since_s, until_s = late.begin_s, np.nanmax(late.finish_s, axis=1)
            is_on = (since_s <= (at_s := now_s + self._start_s - late.start_s)) & (at_s < until_s)
            begin_s[late.workers[is_on]] = since_s[is_on] - (at_s - now_s)
            end_s[late.workers[is_on]] = until_s[is_on] - (at_s - now_s)
        told_s, is_busy = np.full(len(end_s), now_s), self._free_s > now_s
        for worker, (left_s, whole_s) in self._gone.items():  # of which the master has heard up to then
            told_s[worker], end_s[worker], is_busy[worker] = min(now_s, left_s), whole_s, True
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip((told_s - begin_s) / (end_s - begin_s), 0.0, 1.0)
        return np.where(is_busy, share, np.nan)

    def close(self, index: int, stop_s: float, next_s: float, missing: BoolArray) -> FloatArray:
        until_s = np.full(len(missing), stop_s)
        for worker, when_s in self.dropped_s.items():
            until_s[worker] = min(stop_s, when_s)
        begin_s, finish_s = self.begin_s, self._finish_s
        if self._leftover == "cancel":
            if self._downlink:
                self._downlink.close(next_s, goes_on=False)
            self._leave_speeds(stop_s)
            done = load_done(self._work.loads, begin_s, finish_s, until_s[:, np.newaxis])
            for given in self.given:
                done[given.worker] += given.done(min(stop_s, given.cut_s))
            self._busy_until_s = self.idle_until_s = np.zeros(len(missing))
            return done
        who = np.array([*self.dropped_s], dtype=np.int64)
        cut = load_done(self._work.loads[who], begin_s[who], finish_s[who], until_s[who][:, np.newaxis])
        self._finish_s = finish_s.copy()
        self._finish_s[who] = np.where(finish_s[who] <= until_s[who][:, np.newaxis], finish_s[who], np.inf)
        done = super().close(index, stop_s, next_s, missing)
        done[who] = cut
        for given in self.given:
            if given.cut_s < np.inf:
                done[given.worker] += given.done(given.cut_s)
                self._busy_until_s[given.worker] = max(0.0, given.cut_s - next_s, self._busy_until_s[given.worker])
                continue
            last_s = max((each_s for each_s in given.finish_s if each_s < np.inf), default=-np.inf)
            done[given.worker] += given.done(last_s)
            if given.finish_s[-1] == last_s > next_s:
                which, begins_s = np.array([given.worker]), np.array([given.begin_s])
                late = Late(index, self._start_s, which, np.array([given.loads]), begins_s, np.array([given.finish_s]))
                self._go_on(late)
                self.idle_until_s[given.worker] = max(0.0, given.begin_s - next_s)
            self._busy_until_s[given.worker] = max(0.0, last_s - next_s, self._busy_until_s[given.worker])
        return done

    def goes_on(self, leftover: Leftover) -> None:
        """Say what becomes of unfinished lists when the round is closed."""
        self._leftover = leftover
