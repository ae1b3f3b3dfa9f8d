"""The SimPy engine: what happens in a run, arrival by arrival. It is the definition of the numbers.

All times inside a round are seconds since its start, each computed as one product; the clock of the SimPy
environment is only where they are put on one line. In a round there is exactly one event ahead: the next
arrival or the next instant at which the master acts, whichever is first (arrivals, if both are at once). So nothing
of a round is left in the queue when it closes, and no late event can reach a later round. Arrivals to which the rule
pays no attention, such as those between the first worker's and the look of the mu-rule, are received at the next event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import simpy

from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Heard, Outcome, Work
from simulator.choices import Leftover
from simulator.engine.acting import ActingRound
from simulator.engine.acting_workers import ActingWorkers, Again, Given
from simulator.engine.downlink import Downlink
from simulator.engine.mail import Mail
from simulator.engine.master_rules import MasterRule
from simulator.engine.network import Arrivals, Network, Traffic, Uplink
from simulator.engine.presence import Presence
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.waiting import Watch
from simulator.engine.worker_times import RoundTimes
from simulator.engine.workers import Workers
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray, IntArray

NUMERICS = 8
"""Version of the numbers: raise it when a change of the simulator, of a shipped scheme or model changes any number.

Runs do not go on with parts that have another one."""


class Received(Protocol):
    """What the master heard in a round."""

    def n_received(self) -> IntArray:
        """Count the reports that have arrived from each worker, shape ``(n_workers,)``."""

    def first_finish_s(self) -> float:
        """Return when the first worker had reported everything; NaN if none has."""


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """One round, as the master saw it, and what the workers did in it."""

    index: int
    start_s: float  # simulated seconds since the run began
    stop_s: float  # when the master stopped waiting for reports
    duration_s: float  # until the end of the round: later than the stop if workers upload only at the master's word
    end_s: float  # when the next round begins: after the overhead
    arrivals: Received  # what the master heard, and when
    waited_s: float  # beyond the instant at which the rule wanted to stop
    closing: Closing
    work: Work  # that the round began with
    n_given: int  # workers that were given work
    times: RoundTimes
    idle_until_s: FloatArray  # shape (n_workers,): later than 0 where what is left over begins later than the round
    through_s: FloatArray  # shape (n_workers,): when each worker is through with older lists
    begin_s: FloatArray  # shape (n_workers,): when it takes up its new one: later, if that is still on its way
    finish_s: FloatArray  # shape (n_workers, n_reports): when the work of each report was done, heard or not
    load_done: FloatArray  # shape (n_workers,)
    is_cut_off: bool  # whether stragglers drop their lists
    traffic: Traffic
    outcomes: tuple[Outcome, ...]
    given: Sequence[Given] = ()  # lists that were given out while it went on
    dropped_s: Mapping[int, float] = field(default_factory=dict)  # when workers dropped, or left, lists it began with
    phases: int = 1
    late: Sequence[int] = ()  # workers of the reports of earlier rounds that came since the last one
    used: Collection[int] | None = None  # workers of which a result was used; None: of which one has come


class Collector(Protocol):
    """Recorder of a run."""

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Look at the work of a round, and at the tasks behind it, before anything arrives."""

    def round_closed(self, closed: ClosedRound) -> None:
        """Take note of a round; keep no reference to it that is not needed."""

    def cut_off(self, index: int, workers: IntArray, load: FloatArray) -> None:
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
    again: Again | None = None  # worker times of further work in a round, if the scheme gives out any
    action_overhead_s: float = 0.0  # that passes before such work begins
    presence: Presence | None = None  # who is there, if any model lets workers leave
    overheads_s: Sequence[float] | None = None  # of each round, as measured, in place of the one of all

    def downlink(self) -> Downlink | None:
        """What orders go through; None: they are there at once."""
        return Downlink(self.network, self.scheme.n_workers) if self.network.takes_orders else None

    def overhead_s(self, index: int, *, has_work: bool) -> float:
        """Seconds between the end of a round and the beginning of the next one."""
        if self.overheads_s is not None:
            return self.overheads_s[index]
        return self.round_overhead_s if has_work else 0.0


def simulate(
    plan: RunPlan,
    collector: Collector,
    session: Session | None = None,
    floor_of: Callable[[bool], FloorMaker] = lambda acts: ActingFloor if acts else Floor,
) -> None:
    """Run all jobs of a plan and tell the collector about every round.

    Parameters
    ----------
    session
        Of the plan's scheme, if it is to be another one than a new one.
    floor_of
        What workers do in a round, for schemes that act and for others, if it is not what the plan's times say.

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
    env.run(until=env.process(_master(env, plan, session, collector, floor_of)))


def _master(
    env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector, make: Callable[[bool], FloorMaker]
) -> Generator[simpy.Event, None, None]:
    scheme = plan.scheme
    acts = session.acts or scheme.late_ends_rounds or scheme.decides_leftover
    floor = make(acts)(env, plan, session, collector)
    start_s = 0.0
    for index in range(session.n_rounds):
        if plan.presence:
            plan.presence.open(start_s)
            if news := plan.presence.news(0.0):
                floor.lose(news[0])
                session.hear_absences(*news, 0.0)
        for known in floor.known(index, start_s):
            session.receive_late(*known)
        work = session.open_round(index)
        collector.round_opened(index, work, session)
        closed = yield from floor.run(index, start_s, work)
        collector.round_closed(closed)
        start_s = closed.end_s
        if start_s > env.now:
            yield env.timeout(start_s - env.now)
    for late in floor.cut_off(start_s):
        collector.cut_off(*late)


class FloorMaker(Protocol):
    """What makes a :class:`Floor`, or another one."""

    def __call__(
        self, env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector
    ) -> Floor | ActingFloor:
        """Begin a run."""


class Floor:
    """Rounds in which all work is given out at the start: what arrives when is known then."""

    def __init__(self, env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector) -> None:
        self._env, self._plan, self._session = env, plan, session
        scheme, downlink = plan.scheme, plan.downlink()
        self._workers = Workers(scheme.n_workers, plan.times, plan.speeds, plan.leftover, downlink, plan.presence)
        self._uplink = Uplink(plan.network, plan.scheme.n_workers, hears_late=plan.scheme.hears_late)
        self.cut_off = self._workers.cut_off

    def lose(self, workers: Collection[int]) -> None:
        """Do nothing: what has been sent comes."""

    def known(self, index: int, start_s: float) -> Iterator[tuple[int, int, int]]:
        """Round, worker and report of what has come late since the last round was closed."""
        self._known = list(self._uplink.known())
        return iter(self._known)

    def run(self, index: int, start_s: float, work: Work) -> Generator[simpy.Event, None, ClosedRound]:
        """Run the round that the session has opened."""
        plan, session, workers, uplink = self._plan, self._session, self._workers, self._uplink
        work, finish_s = workers.dispatch(index, start_s, work)
        arrivals = uplink.open(index, work, finish_s, workers.times.places)
        stop_s = waited_s = 0.0
        if work.n_busy:
            over_s = self._over_s(arrivals, finish_s) if plan.presence else np.inf
            watch = Watch(self._env, start_s, plan.rule, session, work, arrivals, over_s)
            yield watch.closed
            stop_s, waited_s = watch.duration_s, watch.waited_s()
        overhead_s = plan.overhead_s(index, has_work=work.n_busy > 0)
        duration_s, closing = uploaded(plan.rule, session, uplink, arrivals, stop_s, plan.presence)
        outcomes = tuple(session.close_round(closing))
        return ClosedRound(
            index=index,
            start_s=start_s,
            stop_s=stop_s,
            duration_s=duration_s,
            end_s=start_s + duration_s + overhead_s,
            arrivals=arrivals,
            waited_s=waited_s,
            closing=closing,
            work=work,
            n_given=work.n_busy,
            times=workers.times,
            idle_until_s=workers.idle_until_s,
            through_s=workers.through_s,
            begin_s=workers.begin_s,
            finish_s=finish_s,
            load_done=workers.close(index, stop_s, duration_s + overhead_s, closing.missing),
            is_cut_off=plan.leftover == "cancel",
            traffic=uplink.close(stop_s, duration_s, overhead_s) if work.n_busy else Traffic(),
            outcomes=outcomes,
            dropped_s=workers.left_s,
            late=[worker for _, worker, _ in self._known] + arrivals.late_workers(),
        )

    def _over_s(self, arrivals: Arrivals, due_s: FloatArray) -> float:
        """Return when the master knows that nothing more comes, because workers have left; inf: by what comes."""
        presence, lacks = self._plan.presence, (due_s == np.inf).any(axis=1)
        if not presence or not lacks.any():
            return np.inf
        heard_s = max(0.0, float(self._workers.heard_s[lacks].max()))
        if not heard_s and not np.isfinite(due_s).any():  # from the beginning: the master waits for somebody to join
            return presence.next_join_s()
        return max(heard_s, arrivals.last_own_s)


class ActingFloor:
    """Rounds in which work is given out at any time, or that late responses may end."""

    def __init__(self, env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector) -> None:
        if session.asks_for_uploads:
            raise SimulationError("a scheme that acts while a round goes on can't ask for uploads at its end")
        self._env, self._plan, self._session, self._collector = env, plan, session, collector
        common = plan.scheme.n_workers, plan.times, plan.speeds, plan.leftover
        self._workers = ActingWorkers(*common, plan.again, plan.downlink(), plan.presence)
        self._mail = Mail(plan.network, plan.scheme.n_workers)
        self.lose, self.cut_off = self._mail.lose, self._workers.cut_off

    def known(self, index: int, start_s: float) -> Iterator[tuple[int, int, int]]:
        """Round, worker and report of what has come late since the last round was closed."""
        self._mail.open(index, start_s)
        self._known = list(self._mail.take(0.0))
        for message in self._known:
            yield message.of_round, message.worker, message.report

    def run(self, index: int, start_s: float, work: Work) -> Generator[simpy.Event, None, ClosedRound]:
        """Run the round that the session has opened."""
        plan, session, workers, mail = self._plan, self._session, self._workers, self._mail
        work, finish_s = workers.dispatch(index, start_s, work)
        mail.send_all(work, finish_s, workers.times.places)
        late_ends = plan.scheme.late_ends_rounds
        acting = ActingRound(
            plan.rule,
            session,
            workers,
            mail,
            work,
            late_ends=late_ends,
            late=[message.worker for message in self._known],
            action_overhead_s=plan.action_overhead_s,
            presence=plan.presence,
        )
        has_work = work.n_busy > 0 or late_ends
        if has_work:
            yield from acting.wait(self._env, start_s)
        overhead_s = plan.overhead_s(index, has_work=has_work)
        stop_s, takes_estimate = acting.stop_s, plan.rule.waits_for == "nobody"
        closing = Closing(acting.missing(), not session.enough(), takes_estimate, acting.heard(), stop_s)
        outcomes = tuple(session.close_round(closing))
        leftover = session.leftover() or plan.leftover if plan.scheme.decides_leftover else plan.leftover
        workers.goes_on(leftover)
        idle_until_s = workers.idle_until_s
        load_done = workers.close(index, stop_s, stop_s + overhead_s, closing.missing)
        goes_on = leftover == "finish" and (late_ends or plan.scheme.hears_late)
        traffic = mail.close(stop_s + overhead_s if goes_on else stop_s)
        if not goes_on:
            mail.drop_all()
        if leftover == "cancel":
            for late in workers.cut_off(start_s + stop_s):
                self._collector.cut_off(*late)
        return ClosedRound(
            index=index,
            start_s=start_s,
            stop_s=stop_s,
            duration_s=stop_s,
            end_s=start_s + stop_s + overhead_s,
            arrivals=acting,
            waited_s=acting.waited_s(),
            closing=closing,
            work=work,
            n_given=acting.n_worked(),
            times=workers.times,
            idle_until_s=idle_until_s,
            through_s=workers.through_s,
            begin_s=workers.begin_s,
            finish_s=finish_s,
            load_done=load_done,
            is_cut_off=leftover == "cancel",
            traffic=traffic,
            outcomes=outcomes,
            given=workers.given,
            dropped_s={**workers.left_s, **workers.dropped_s},
            phases=acting.n_phases,
            late=acting.late,
            used=session.used_workers(),
        )


class Asked(Protocol):
    """What workers are asked through for uploads."""

    def ask(self, word_s: float, gradients: FloatArray) -> float:
        """Let workers upload something, from that instant on; return when all of it has arrived."""


class Gathered(Received, Protocol):
    """What the master heard in a round that it has stopped."""

    def missing(self) -> BoolArray:
        """Return a mask of the workers that have not reported everything."""

    def heard(self) -> Heard:
        """Return the reports of this round that have arrived."""


def uploaded(
    rule: MasterRule,
    session: Session,
    uplink: Asked,
    arrivals: Gathered,
    stop_s: float,
    presence: Presence | None = None,
) -> tuple[float, Closing]:
    """Duration of a round and its closing, after the uploads that the master asks for when it stops, if any.

    If one of those leaves that are asked, the round ends without them when the master hears of it.
    """
    takes_estimate, heard = rule.waits_for == "nobody", arrivals.heard()
    is_forced = not session.enough()
    closing = Closing(arrivals.missing(), is_forced, takes_estimate, heard, stop_s)
    if not session.asks_for_uploads or (closing.forced and not closing.takes_estimate):
        return stop_s, closing
    asked = session.uploads(arrivals.n_received())
    if asked is None:
        return stop_s, closing
    duration_s = rule.acts_s(uplink.ask(stop_s, asked))
    limit_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
    if presence:
        heard_s = presence.hears_of_one_s(np.flatnonzero(asked).tolist(), stop_s, duration_s)
        if heard_s < np.inf:
            duration_s, limit_s = np.inf, min(limit_s, rule.acts_s(heard_s))
    if duration_s > limit_s:
        return limit_s, Closing(closing.missing, forced=True, heard=closing.heard, stop_s=stop_s)
    return duration_s, closing
