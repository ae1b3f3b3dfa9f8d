"""The SimPy engine: what happens in a run, arrival by arrival. It is the definition of the numbers.

All times inside a round are seconds since its start, each computed as one product; the clock of the SimPy
environment is only where they are put on one line. In a round there is exactly one event ahead: the next
arrival or the next instant at which the master acts, whichever is first (arrivals, if both are at once). So nothing
of a round is left in the queue when it closes, and no late event can reach a later round. Arrivals to which the rule
pays no attention, such as those between the first worker's and the look of the mu-rule, are received at the next event.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy

from schemes.base.scheme import Closing, Outcome, Scheme, Session, Work
from simulator.choices import Leftover
from simulator.engine.master_rules import MasterRule
from simulator.engine.network import Arrivals, Network, Traffic, Uplink
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.waiting import Watch
from simulator.engine.worker_times import RoundTimes
from simulator.engine.workers import Workers
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray

NUMERICS = 8
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
    """Recorder of a run."""

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
    network: Network  # what it takes to send responses
    rng: np.random.Generator  # for what the scheme draws for itself


def simulate(plan: RunPlan, collector: Collector, session: Session | None = None) -> None:
    """Run all jobs of a plan and tell the collector about every round.

    Parameters
    ----------
    session
        Of the plan's scheme, if it is to be another one than a new one.

    Raises
    ------
    SimulationError
        If a completion time is negative, nobody can answer any more and the rule has no timeout, or a session does not
        have as many rounds as its scheme says.
    """
    env = simpy.Environment()
    session = session or plan.scheme.start(plan.n_jobs, plan.rng)
    n_rounds = plan.n_jobs + plan.scheme.delay_rounds
    if session.n_rounds != n_rounds:
        expected = f"jobs + delay_rounds = {plan.n_jobs} + {plan.scheme.delay_rounds}"
        raise SimulationError(f"n_rounds of the session must be {expected}, got {session.n_rounds}")
    # always until the process: a run in which everybody waits for ever would otherwise end silently
    env.run(until=env.process(_master(env, plan, session, collector)))


def _master(
    env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector
) -> Generator[simpy.Event, None, None]:
    workers = Workers(plan.scheme.n_workers, plan.times, plan.speeds, plan.leftover)
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
    takes_estimate, heard = rule.waits_for == "nobody", arrivals.heard()
    closing = Closing(arrivals.missing(), forced=not session.enough(), takes_estimate=takes_estimate, heard=heard)
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
