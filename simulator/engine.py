"""The SimPy engine: what happens in a run, arrival by arrival. It is the definition of the numbers.

All times inside a round are seconds since its start, each computed as one product; the clock of the SimPy
environment is only where they are put on one line. In a round there is exactly one event ahead: the next
arrival or the next instant at which the master acts, whichever is first (arrivals, if both are at once). So nothing
of a round is left in the queue when it closes, and no late event can reach a later round. Arrivals to which the rule
pays no attention, such as those between the first worker's and the look of the mu-rule, are received at the next event.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import simpy

from schemes.base import BoolArray, Closing, FloatArray, Outcome, Scheme, Session, Work
from simulator.errors import SimulationError
from simulator.master import MasterRule
from simulator.network import Arrivals, Network, Traffic, Uplink
from simulator.waiting import Watch
from simulator.worker_times import RoundTimes, SpeedChanges

Leftover = Literal["cancel", "finish"]

NUMERICS = 6
"""Version of the numbers: raise it when a change of the simulator, of a shipped scheme or model changes any number.

Runs do not go on with parts that have another one."""


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """One round, as the master saw it, and what the workers did in it."""

    index: int
    start_s: float  # simulated seconds since the run began
    stop_s: float  # when the master stopped waiting for reports
    duration_s: float  # until the end of the round: later than the stop if workers upload only at the master's word
    end_s: float  # when the next round begins: after the overhead
    arrivals: Arrivals  # what the master heard, and when
    waited_s: float  # beyond the instant at which the rule wanted to stop
    closing: Closing
    work: Work
    times: RoundTimes
    finish_s: FloatArray  # shape (n_workers, n_reports): when the work of each report was done, heard or not
    load_done: FloatArray  # shape (n_workers,)
    is_cut_off: bool  # whether stragglers drop their lists
    traffic: Traffic
    outcomes: tuple[Outcome, ...]


class Collector(Protocol):
    """Whoever records a run."""

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Look at the work of a round, and at the tasks behind it, before anything arrives."""

    def round_closed(self, closed: ClosedRound) -> None:
        """Take note of a round; keep no reference to it that is not needed."""

    def cut_off(self, index: int, workers: BoolArray, load: FloatArray) -> None:
        """Take back load of a round that was left over and was not finished when the run ended."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that a run depends on."""

    scheme: Scheme  # who computes what
    n_jobs: int  # there are `n_jobs + scheme.delay_rounds` rounds
    times: Iterator[RoundTimes]  # of successive rounds
    speeds: SpeedChanges | None  # over wall-clock time, if any model lives in seconds
    rule: MasterRule  # when the master stops waiting
    leftover: Leftover  # what a worker does with a list that was not finished when the round closed
    round_overhead_s: float  # that every round with work costs after it has closed
    network: Network  # what it takes to send answers
    rng: np.random.Generator  # for what the scheme draws for itself


def simulate(plan: RunPlan, collector: Collector) -> None:
    """Run all jobs of a plan and tell the collector about every round.

    Raises
    ------
    SimulationError
        If a completion time is negative, or nobody can answer any more and the rule has no timeout.
    """
    env = simpy.Environment()
    session = plan.scheme.start(plan.n_jobs, plan.rng)
    # always until the process: a run in which everybody waits for ever would otherwise end silently
    env.run(until=env.process(_master(env, plan, session, collector)))


def _master(
    env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector
) -> Generator[simpy.Event, None, None]:
    workers = _Workers(plan.scheme.n_workers, plan.times, plan.speeds, plan.leftover)
    uplink = Uplink(plan.network, plan.scheme.n_workers, hears_late=plan.scheme.hears_late)
    start_s = 0.0
    for index in range(session.n_rounds):
        for known in uplink.known():
            session.receive_late(*known)
        work = session.open_round(index)
        collector.round_opened(index, work, session)
        work, finish_s = workers.dispatch(index, start_s, work)
        arrivals = uplink.open(index, work, finish_s)
        stop_s = waited_s = overhead_s = 0.0
        if work.n_busy:
            watch = Watch(env, start_s, plan.rule, session, work, arrivals)
            yield watch.closed
            stop_s, waited_s, overhead_s = watch.duration_s, watch.waited_s(), plan.round_overhead_s
        duration_s, closing = _uploaded(plan.rule, session, uplink, arrivals, stop_s)
        outcomes = tuple(session.close_round(closing))
        end_s = start_s + duration_s + overhead_s
        collector.round_closed(
            ClosedRound(
                index=index,
                start_s=start_s,
                stop_s=stop_s,
                duration_s=duration_s,
                end_s=end_s,
                arrivals=arrivals,
                waited_s=waited_s,
                closing=closing,
                work=work,
                times=workers.times,
                finish_s=finish_s,
                load_done=workers.close(index, stop_s, duration_s + overhead_s, closing.missing),
                is_cut_off=plan.leftover == "cancel",
                traffic=uplink.close(stop_s, duration_s, overhead_s) if work.n_busy else Traffic(),
                outcomes=outcomes,
            )
        )
        if end_s > env.now:
            yield env.timeout(end_s - env.now)
        start_s = end_s
    for index, late, load in workers.cut_off(start_s):
        collector.cut_off(index, late, load)


def _uploaded(
    rule: MasterRule, session: Session, uplink: Uplink, arrivals: Arrivals, stop_s: float
) -> tuple[float, Closing]:
    """Duration of a round and its closing, after the uploads that the master asks for when it stops, if any."""
    closing = Closing(
        arrivals.missing(),
        forced=not session.enough(),
        takes_estimate=rule.waits_for == "nobody",
        heard=arrivals.heard(),
    )
    if not session.asks_for_uploads or (closing.forced and not closing.takes_estimate):
        return stop_s, closing
    asked = session.uploads(arrivals.n_received())
    if asked is None:
        return stop_s, closing
    duration_s = rule.acts_s(uplink.ask(stop_s, asked))
    limit_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
    if duration_s > limit_s:
        return limit_s, Closing(closing.missing, forced=True, heard=closing.heard)
    return duration_s, closing


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
        return Work(loads, gradients=np.zeros_like(loads)), np.where(np.isnan(loads), np.nan, instant_s)

    def _note_slowdown(self, work: Work, work_s: FloatArray, finish_s: FloatArray) -> None:
        """Let the times of the round say how slow each worker turned out to be."""
        each = np.arange(len(finish_s)), work.last_report
        with np.errstate(invalid="ignore"):
            factor = (finish_s[each] - self._busy_until_s) / work_s[each]
        known = work.busy & ~np.isnan(factor)
        self.times = self.times._replace(slowdown=self.times.slowdown * np.where(known, factor, 1.0))

    def close(self, index: int, stop_s: float, next_s: float, missing: BoolArray) -> FloatArray:
        """Load that each worker has done of its list; with leftover finish, that it is going to do.

        The next round begins at ``next_s``, in seconds after the start of this one.
        """
        work, begin_s, finish_s = self._work, self._busy_until_s, self._finish_s
        if not self._finishes_leftover:
            done = work.given.copy()
            who = np.flatnonzero(missing)
            if len(who):
                done[who] = load_done(work.loads[who], begin_s[who], finish_s[who], stop_s)
            return done
        last_s = np.where(work.busy, finish_s[np.arange(len(finish_s)), work.last_report], begin_s)
        late = work.busy & (last_s > next_s) & np.isfinite(last_s)
        if late.any():
            self._late.append((index, self._start_s, late, work.loads[late], begin_s[late], finish_s[late]))
        self._busy_until_s = np.maximum(0.0, last_s - next_s)
        will_be_done: FloatArray = np.where(finish_s < np.inf, work.loads, 0.0).max(axis=1)
        return will_be_done

    def cut_off(self, end_s: float) -> Iterator[tuple[int, BoolArray, FloatArray]]:
        """What was still left over when the run ended: round, workers, load not done."""
        for index, start_s, late, loads, begin_s, finish_s in self._late:
            done = load_done(loads, begin_s, finish_s, end_s - start_s)
            yield index, late, np.nanmax(loads, axis=1) - done


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
    done: FloatArray = np.nansum(steps * np.clip(share, 0.0, 1.0), axis=1)
    return done
