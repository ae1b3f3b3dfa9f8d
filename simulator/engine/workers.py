"""Progress of each worker, with what is left over from earlier rounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from schemes.base.work import Work
from simulator.choices import Leftover
from simulator.engine.downlink import Downlink
from simulator.engine.presence import Presence
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.worker_times import RoundTimes
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray, IntArray


class Late(NamedTuple):
    """Lists of a round that went on when it was closed."""

    of_round: int
    start_s: float
    workers: IntArray  # shape (n,)
    loads: FloatArray  # shape (n, n_reports)
    begin_s: FloatArray  # shape (n,), in seconds after ``start_s``
    finish_s: FloatArray  # shape (n, n_reports)


class Workers:
    """Due times of each worker's reports, and the work that it has done."""

    times: RoundTimes

    def __init__(
        self,
        n_workers: int,
        times: Iterator[RoundTimes],
        speeds: SpeedChanges | None,
        leftover: Leftover,
        downlink: Downlink | None = None,
        presence: Presence | None = None,
    ) -> None:
        self._stream = times
        self._speeds = speeds
        self._leftover = leftover
        self._downlink = downlink
        self._presence = presence or None
        self.left_s: dict[int, float] = {}  # when workers leave with lists that the round began with
        self.whole_s: dict[int, float] = {}  # when these lists would end otherwise
        self.heard_s = np.full(n_workers, np.inf)  # when the master hears of whoever leaves next
        self._busy_until_s = np.zeros(n_workers)  # with old lists; seconds after the open round's start
        self.idle_until_s = np.zeros(n_workers)  # before what is left over begins, if it has not yet
        self._late: list[Late] = []
        self._room = 64

    def dispatch(self, index: int, start_s: float, work: Work) -> tuple[Work, FloatArray]:
        """Give out the work; return it and when each report is due, NaN where there is none."""
        self.times = next(self._stream)
        self.through_s = self.begin_s = self._busy_until_s
        if self._downlink and not work.is_divisible:  # the shares of that are free
            self.begin_s = np.maximum(self.through_s, self._downlink.send_all(work.busy))
        if work.is_divisible:
            work, finish_s = self._share_out()
        else:
            finish_s = self.times.work_s(work.loads)
        if (finish_s < 0).any():
            worker = int(np.argmax((finish_s < 0).any(axis=1)))
            raise SimulationError(
                f"round {index}, worker {worker}: completion times must be at least 0 s, "
                f"got {np.nanmin(finish_s[worker]):g} s at load {work.given[worker]:g} "
                "(does base_load * seconds_per_load exceed a measured duration? try load_effect: proportional)"
            )
        if self._speeds:
            work_s, finish_s = finish_s, self._speeds.finishing_s(start_s, self.begin_s, finish_s)
            self._note_slowdown(work, work_s, finish_s)
        elif self._leftover == "finish" or self._downlink:
            finish_s = self.begin_s[:, np.newaxis] + finish_s
        self._start_s, self._work, self._finish_s = start_s, work, finish_s
        return work, finish_s if self._presence is None else self._cut_short(self._presence, work, finish_s)

    def _cut_short(self, presence: Presence, work: Work, finish_s: FloatArray) -> FloatArray:
        """Let workers leave with what they have in hand: when reports are still due, inf if they are lost."""
        leaves_s, self.heard_s = presence.all_leave_s(self.begin_s)
        lost = (finish_s >= leaves_s[:, np.newaxis]) & np.isfinite(finish_s)
        self.left_s = {worker: float(leaves_s[worker]) for worker in np.flatnonzero(lost.any(axis=1)).tolist()}
        self.whole_s = {worker: float(finish_s[worker, work.last_report[worker]]) for worker in self.left_s}
        if not self.left_s:
            return finish_s
        # a list that is cut short ends when its worker leaves, with the load that is done by then
        done = load_done(work.loads, self.begin_s, finish_s, leaves_s[:, np.newaxis])
        self._work = Work(np.where(lost, done[:, np.newaxis], work.loads))
        self._finish_s = np.where(lost, leaves_s[:, np.newaxis], finish_s)
        for worker, left_s in self.left_s.items():
            self._leave_speeds(left_s, [worker])
        return np.where(lost, np.inf, finish_s)

    def _share_out(self) -> tuple[Work, FloatArray]:
        """Work of which each worker does as much as it can until one job is done."""
        if self._speeds:
            raise SimulationError("ideal needs straggler models that live in rounds")
        loads, instant_s = self.times.share_out()
        if np.isnan(loads).all():  # nobody ever answers: everybody is asked
            loads = np.full_like(loads, 1 / len(loads))
        return Work(loads, gradients=np.zeros_like(loads)), np.where(np.isnan(loads), np.nan, instant_s)

    def _note_slowdown(self, work: Work, work_s: FloatArray, finish_s: FloatArray) -> None:
        """Let the times of the round say how slow each worker turned out to be."""
        each = np.arange(len(finish_s)), work.last_report
        with np.errstate(invalid="ignore"):
            factor = (finish_s[each] - self.begin_s) / work_s[each]
        known = work.busy & ~np.isnan(factor)
        self.times = self.times._replace(slowdown=self.times.slowdown * np.where(known, factor, 1.0))

    def close(self, index: int, stop_s: float, next_s: float, missing: BoolArray) -> FloatArray:
        """Load that each worker has done of its list; with leftover finish, that it is going to do.

        The next round begins at ``next_s``, in seconds after the start of this one.
        """
        work, begin_s, finish_s = self._work, self.begin_s, self._finish_s
        if self._leftover == "cancel":
            if self._downlink:
                self._downlink.close(next_s, goes_on=False)
            self._leave_speeds(stop_s)
            done = work.given.copy()
            who = np.flatnonzero(missing)
            if len(who):
                done[who] = load_done(work.loads[who], begin_s[who], finish_s[who], stop_s)
            return done
        last_s = self._last_s()
        late = work.busy & (last_s > next_s) & np.isfinite(finish_s[np.arange(len(finish_s)), work.last_report])
        if late.any():
            who = np.flatnonzero(late)
            self._go_on(Late(index, self._start_s, who, work.loads[who], begin_s[who], finish_s[who]))
        self._busy_until_s = np.maximum(0.0, last_s - next_s)
        self.idle_until_s = np.maximum(0.0, self.idle_until_s - next_s)
        if self._downlink:
            self._downlink.close(next_s, goes_on=True)
            waits_s = np.where(self.through_s <= next_s, self.begin_s - next_s, 0.0)  # for what is on its way
            self.idle_until_s = np.minimum(np.maximum(self.idle_until_s, waits_s), self._busy_until_s)
        return np.asarray(np.where(finish_s < np.inf, work.loads, 0.0).max(axis=1))

    def _leave_speeds(self, now_s: float, workers: Collection[int] | None = None) -> None:
        """Let some workers, or all, be at nothing of ours any more."""
        if self._speeds:
            self._speeds.drop(self._start_s + now_s, workers)

    def _last_s(self) -> FloatArray:
        """Return when each worker is back from old lists and from the one that the round began with.

        A list that never ends is dropped as soon as the worker is back: it keeps nobody from the next one.
        """
        last_s = np.where(np.isfinite(self._finish_s), self._finish_s, -np.inf).max(axis=1)
        return np.asarray(np.maximum(self._busy_until_s, last_s))

    def _go_on(self, late: Late) -> None:
        """Keep lists that go on; forget some time those that have ended since."""
        self._late.append(late)
        if len(self._late) > self._room:
            now_s = self._start_s
            self._late = [each for each in self._late if each.start_s + np.nanmax(each.finish_s) > now_s]
            self._room = 2 * len(self._late) + 64

    def cut_off(self, end_s: float) -> Iterator[tuple[int, IntArray, FloatArray]]:
        """Yield what is left over at some instant and ends there: round, workers, load not done."""
        for index, start_s, workers, loads, begin_s, finish_s in self._late:
            done = load_done(loads, begin_s, finish_s, end_s - start_s)
            yield index, workers, np.nanmax(loads, axis=1) - done
        self._late.clear()


def load_done(loads: FloatArray, begin_s: FloatArray, finish_s: FloatArray, until_s: float | FloatArray) -> FloatArray:
    """Load done until then, shape ``(n_workers,)``; of a task cut off, the share of its own duration that ran.

    Examples
    --------
    >>> load_done(np.array([[0.1, 0.2]]), np.array([0.0]), np.array([[1.0, 3.0]]), 2.0)
    array([0.15])
    """
    before_s = np.concatenate([begin_s[:, np.newaxis], finish_s[:, :-1]], axis=1)
    steps = np.diff(loads, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (until_s - before_s) / (finish_s - before_s)
    share[finish_s <= until_s] = 1.0  # also for a task that takes no time
    return np.asarray(np.nansum(steps * np.clip(share, 0.0, 1.0), axis=1))
