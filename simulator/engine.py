"""The SimPy engine: what happens in a run, arrival by arrival. It is the definition of the numbers.

All times inside a round are seconds since its start, each computed as one product; the clock of the SimPy
environment is only where they are put on one line. In a round there is exactly one event ahead: the next
arrival or the next instant at which the master acts, whichever is first (arrivals, if both are at once). So nothing
of a round is left in the queue when it closes, and no late event can reach a later round. Arrivals to which the rule
pays no attention, such as those between the first worker's and the look of the mu-rule, are received at the next event.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import simpy

from schemes.base import BoolArray, Closing, FloatArray, Outcome, Scheme, Session, Work
from simulator.master import MasterRule
from simulator.worker_times import RoundTimes, SpeedChanges

Leftover = Literal["cancel", "finish"]


class SimulationError(Exception):
    """A run that can't go on, in one sentence for the user."""


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """One round, as the master saw it, and what the workers did in it."""

    index: int
    start_s: float  # simulated seconds since the run began
    duration_s: float  # until the master stopped
    end_s: float  # when the next round begins: after the overhead
    first_finish_s: float  # when the first worker had reported everything; NaN if none had
    waited_s: float  # beyond the instant at which the rule wanted to stop
    closing: Closing
    work: Work
    times: RoundTimes
    finish_s: FloatArray  # shape (n_workers, n_reports): when each report was due, heard or not
    load_done: FloatArray  # shape (n_workers,)
    is_cut_off: bool  # whether stragglers drop their lists
    outcomes: tuple[Outcome, ...]


class Collector(Protocol):
    """Whoever records a run."""

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Look at the work of a round, and at the tasks behind it, before anything arrives."""

    def round_closed(self, closed: ClosedRound) -> None:
        """Take note of a round; keep no reference to it that is not needed."""

    def cut_off(self, index: int, workers: BoolArray, load: FloatArray) -> None:
        """Take back load of a round that was left over and was not finished when the run ended."""


def simulate(
    scheme: Scheme,
    *,
    n_jobs: int,
    times: Iterator[RoundTimes],
    speeds: SpeedChanges | None,
    rule: MasterRule,
    leftover: Leftover,
    round_overhead_s: float,
    rng: np.random.Generator,
    collector: Collector,
) -> None:
    """Run ``n_jobs`` jobs of a scheme and tell the collector about every round.

    Parameters
    ----------
    scheme
        Who computes what.
    n_jobs
        Jobs; there are ``n_jobs + scheme.delay_rounds`` rounds.
    times
        Worker times of successive rounds.
    speeds
        Changes of speed over wall-clock time, if any model lives in seconds.
    rule
        When the master stops waiting.
    leftover
        What a worker does with a list that was not finished when the round closed.
    round_overhead_s
        Seconds that every round with work costs after it has closed.
    rng
        For what the scheme draws for itself.
    collector
        Whoever records.

    Raises
    ------
    SimulationError
        If a completion time is negative, or nobody can answer any more and the rule has no timeout.
    """
    env = simpy.Environment()
    session = scheme.start(n_jobs, rng)
    workers = _Workers(scheme.n_workers, times, speeds, leftover)

    def master() -> Generator[simpy.Event, None, None]:
        start_s = 0.0
        for index in range(session.n_rounds):
            work = session.open_round(index)
            collector.round_opened(index, work, session)
            work, finish_s = workers.dispatch(index, start_s, work)
            arrivals = _Arrivals(work, finish_s)
            duration_s = waited_s = overhead_s = 0.0
            if work.n_busy:
                watch = _Watch(env, start_s, rule, session, work, arrivals)
                yield watch.closed
                duration_s, waited_s, overhead_s = watch.duration_s, watch.waited_s(), round_overhead_s
            forced = not session.enough()
            closing = Closing(arrivals.missing(), forced=forced, takes_estimate=rule.waits_for == "nobody")
            outcomes = tuple(session.close_round(closing))
            end_s = start_s + duration_s + overhead_s
            collector.round_closed(
                ClosedRound(
                    index=index,
                    start_s=start_s,
                    duration_s=duration_s,
                    end_s=end_s,
                    first_finish_s=arrivals.first_finish_s(),
                    waited_s=waited_s,
                    closing=closing,
                    work=work,
                    times=workers.times,
                    finish_s=finish_s,
                    load_done=workers.close(index, duration_s, overhead_s, closing.missing),
                    is_cut_off=leftover == "cancel",
                    outcomes=outcomes,
                )
            )
            if overhead_s:
                yield env.timeout(max(0.0, end_s - env.now))
            start_s = end_s
        for index, late, load in workers.cut_off(start_s):
            collector.cut_off(index, late, load)

    # always until the process: a run in which everybody waits for ever would otherwise end silently
    env.run(until=env.process(master()))


class _Workers:
    """When each worker's reports are due, and how much of its work was done."""

    times: RoundTimes

    def __init__(
        self, n_workers: int, times: Iterator[RoundTimes], speeds: SpeedChanges | None, leftover: Leftover
    ) -> None:
        self._stream = times
        self._speeds = speeds
        self._finishes_leftover = leftover == "finish"
        self._busy_until_s = np.zeros(n_workers)  # with old lists; seconds after the open round's start
        self._late: list[tuple[int, float, BoolArray, FloatArray, FloatArray, FloatArray]] = []

    def dispatch(self, index: int, start_s: float, work: Work) -> tuple[Work, FloatArray]:
        """Give out the work; return it and when each report is due, NaN where there is none."""
        self.times = next(self._stream)
        if work.is_divisible:
            work, finish_s = self._share_out()
        else:
            finish_s = self.times.work_s(work.loads)
        if (finish_s < 0).any():
            worker = int(np.argmax((finish_s < 0).any(axis=1)))
            raise SimulationError(
                f"round {index}, worker {worker}: completion times must be at least 0 s, "
                f"got {np.nanmin(finish_s[worker]):g} s at load {work.given[worker]:g} "
                "(does base_load * seconds_per_load exceed a recorded duration?)"
            )
        if self._speeds:
            work_s, finish_s = finish_s, self._speeds.finishing_s(start_s, self._busy_until_s, finish_s)
            self._note_slowdown(work, work_s, finish_s)
        elif self._finishes_leftover:
            finish_s = self._busy_until_s[:, np.newaxis] + finish_s
        self._start_s, self._work, self._finish_s = start_s, work, finish_s
        return work, finish_s

    def _share_out(self) -> tuple[Work, FloatArray]:
        """Work of which each worker does as much as it can until one job is done."""
        if self._speeds:
            raise SimulationError("work can be shared out ideally only with straggler models that live in rounds")
        loads, instant_s = self.times.share_out()
        if np.isnan(loads).all():  # nobody ever answers: everybody is asked
            loads = np.full_like(loads, 1 / len(loads))
        return Work(loads), np.where(np.isnan(loads), np.nan, instant_s)

    def _note_slowdown(self, work: Work, work_s: FloatArray, finish_s: FloatArray) -> None:
        """Let the times of the round say how slow each worker turned out to be."""
        each = np.arange(len(finish_s)), work.last_report
        with np.errstate(invalid="ignore"):
            factor = (finish_s[each] - self._busy_until_s) / work_s[each]
        known = work.busy & ~np.isnan(factor)
        self.times = self.times._replace(slowdown=self.times.slowdown * np.where(known, factor, 1.0))

    def close(self, index: int, duration_s: float, overhead_s: float, missing: BoolArray) -> FloatArray:
        """Load that each worker has done of its list; with leftover finish, that it is going to do."""
        work, begin_s, finish_s = self._work, self._busy_until_s, self._finish_s
        if not self._finishes_leftover:
            done = work.given.copy()
            who = np.flatnonzero(missing)
            if len(who):
                done[who] = _load_done(work.loads[who], begin_s[who], finish_s[who], duration_s)
            return done
        last_s = np.where(work.busy, finish_s[np.arange(len(finish_s)), work.last_report], begin_s)
        late = work.busy & (last_s > duration_s + overhead_s) & np.isfinite(last_s)
        if late.any():
            self._late.append((index, self._start_s, late, work.loads[late], begin_s[late], finish_s[late]))
        self._busy_until_s = np.maximum(0.0, last_s - (duration_s + overhead_s))
        will_be_done: FloatArray = np.where(finish_s < np.inf, work.loads, 0.0).max(axis=1)
        return will_be_done

    def cut_off(self, end_s: float) -> Iterator[tuple[int, BoolArray, FloatArray]]:
        """What was still left over when the run ended: round, workers, load not done."""
        for index, start_s, late, loads, begin_s, finish_s in self._late:
            done = _load_done(loads, begin_s, finish_s, end_s - start_s)
            yield index, late, np.nanmax(loads, axis=1) - done


def _load_done(loads: FloatArray, begin_s: FloatArray, finish_s: FloatArray, until_s: float) -> FloatArray:
    """Load done until then, shape ``(n_workers,)``; of a task cut off, the share of its own duration that ran."""
    before_s = np.concatenate([begin_s[:, np.newaxis], finish_s[:, :-1]], axis=1)
    steps = np.diff(loads, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (until_s - before_s) / (finish_s - before_s)
    share[finish_s <= until_s] = 1.0  # also for a task that takes no time
    done: FloatArray = np.nansum(steps * np.clip(share, 0.0, 1.0), axis=1)
    return done


class _Arrivals:
    """The reports of one round in the order of their arrival."""

    def __init__(self, work: Work, finish_s: FloatArray) -> None:
        self._work = work
        due_s = finish_s.ravel()
        order = np.argsort(due_s, kind="stable")  # NaN and inf go last
        order = order[: np.count_nonzero(due_s < np.inf)]
        n_reports_each = finish_s.shape[1]
        self.workers_in_order, self.reports_in_order = np.divmod(order, n_reports_each)
        self.times_s: list[float] = due_s[order].tolist()
        self.n_arrived = 0
        # places, in the order of arrival, of the reports that complete a worker's list
        if n_reports_each == 1:
            self._completing = np.arange(len(order))
        else:
            is_last = self.reports_in_order == work.last_report[self.workers_in_order]
            self._completing = np.flatnonzero(is_last)

    def finisher(self, rank: int) -> int | None:
        """Place of the report with which the rank-th worker finishes; None if so many never do."""
        return int(self._completing[rank - 1]) if rank <= len(self._completing) else None

    def first_finish_s(self) -> float:
        """When the first worker had reported everything; NaN if that has not happened."""
        place = self.finisher(1)
        return self.times_s[place] if place is not None and place < self.n_arrived else np.nan

    def missing(self) -> BoolArray:
        """Who has not reported everything."""
        missing = self._work.busy.copy()
        finished = self._completing[: np.searchsorted(self._completing, self.n_arrived)]
        missing[self.workers_in_order[finished]] = False
        return missing


class _Watch:
    """The master, waiting for the open round to end: ``closed`` succeeds when it does."""

    def __init__(
        self,
        env: simpy.Environment,
        start_s: float,
        rule: MasterRule,
        session: Session,
        work: Work,
        arrivals: _Arrivals,
    ) -> None:
        self._env = env
        self._start_s = start_s
        self._rule = rule
        self._receive, self._enough = session.receive, session.enough
        self._arrivals = arrivals
        self._times_s = [*arrivals.times_s, np.nan]  # NaN: nothing is due
        self._workers: list[int] = arrivals.workers_in_order.tolist()
        self._reports: list[int] = arrivals.reports_in_order.tolist()
        self._n_all = work.n_reports
        self._place = 0  # reports that have arrived
        self.closed = env.event()
        # the one event ahead: scheduled again and again, which costs half of making one for each arrival
        self._tick: simpy.Event | None = None
        self._on_arrival: list[Callable[[simpy.Event], None]] = [self._arrive]
        self.duration_s = 0.0
        self._ends_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
        self._wanted_s = np.inf  # the instant that the rule names, once it is known
        self._look_s = np.inf  # when the master looks next
        self._is_postponed = False  # to the first arrival: nobody had answered when the master looked
        self._checks_arrivals = False  # just enough will do now
        self._reference: int | None = None  # place of the arrival on which the instant depends
        rank = rule.reference_rank(work.n_busy)
        if rank:
            self._reference = arrivals.finisher(rank)
        else:
            self._want(rule.wants_s(0.0))
        self._plan()
        self._schedule()

    def waited_s(self) -> float:
        """How long the master went on after the instant at which the rule wanted to stop."""
        return max(0.0, self.duration_s - self._wanted_s)

    def _want(self, instant_s: float | None) -> None:
        """Now it is known at which instant the rule wants to stop."""
        if instant_s is None:
            self._checks_arrivals = True
        else:
            self._wanted_s = self._look_s = self._rule.acts_s(instant_s)

    def _plan(self) -> None:
        """Derive when the master acts next, and from which arrival on it attends to arrivals at all."""
        self._acts_s = min(self._ends_s, self._look_s)
        self._attends_from = self._place + 1  # arrivals; beyond the last one, nothing is due
        if not (self._is_postponed or self._checks_arrivals):
            place = self._n_all if self._reference is None else self._reference + 1
            self._attends_from = max(self._attends_from, place)

    def _schedule(self) -> None:
        """Schedule what is next: an arrival that the master attends to, before its own action if both are at once."""
        place = self._attends_from - 1
        instant_s, happens = (self._times_s[place] if place < len(self._times_s) else np.nan), self._on_arrival
        if not instant_s <= self._acts_s:  # nor if nothing is due
            instant_s, happens = self._acts_s, [self._act]
        if instant_s == np.inf:
            raise SimulationError(
                "nobody can answer any more, and the master waits for more answers: give it a timeout_s"
            )
        # the clock's own sum is rounded and may be ahead by the last bit
        delay_s = max(0.0, self._start_s + instant_s - self._env.now)
        if self._tick is None:
            self._tick = self._env.timeout(delay_s)
        else:
            self._env.schedule(self._tick, delay=delay_s)
        self._tick.callbacks = happens

    def _receive_until(self, now_s: float) -> None:
        """Receive all that has arrived by now, this instant included; only then does the master look."""
        place, times_s, workers, reports, receive = (
            self._place,
            self._times_s,
            self._workers,
            self._reports,
            self._receive,
        )
        while times_s[place] <= now_s:
            receive(workers[place], reports[place])
            place += 1
        self._place = place

    def _arrive(self, tick: simpy.Event) -> None:
        now_s = self._times_s[self._attends_from - 1]
        self._receive_until(now_s)
        if self._checks_arrivals and not self._enough():
            # the usual case of `_plan` and `_schedule`, without another call: on to the next arrival
            next_s = self._times_s[self._place]
            self._attends_from = self._place + 1
            if next_s <= self._acts_s:
                delay_s = self._start_s + next_s - self._env.now
                tick.callbacks = self._on_arrival
                self._env.schedule(tick, delay=delay_s if delay_s > 0.0 else 0.0)
                return
        else:
            self._attend(now_s)
        self._schedule()

    def _attend(self, now_s: float) -> None:
        """What an arrival means to the master."""
        if self._checks_arrivals or self._place == self._n_all:
            self._ends_s = min(self._ends_s, self._rule.acts_s(now_s))
            self._checks_arrivals = False
        elif self._is_postponed:
            self._is_postponed = False
            self._look_s = self._rule.acts_s(now_s)
        elif self._reference is not None:
            self._reference = None
            self._want(self._rule.wants_s(now_s))
        self._plan()

    def _act(self, _: simpy.Event) -> None:
        """The master looks, or the round is over."""
        self._receive_until(self._acts_s)
        if self._ends_s <= self._look_s:
            self._close(self._ends_s)
        elif not self._place and self._times_s[0] >= 0:
            self._look_s, self._is_postponed = np.inf, True
        elif self._enough() or self._rule.waits_for == "nobody":
            self._close(self._look_s)
        else:
            self._look_s, self._checks_arrivals = np.inf, self._rule.waits_for == "enough"
        if not self.closed.triggered:
            self._plan()
            self._schedule()

    def _close(self, instant_s: float) -> None:
        self.duration_s = instant_s
        self._arrivals.n_arrived = self._place
        self._on_arrival = []  # a reference to itself would be left to the garbage collector
        self.closed.succeed()
