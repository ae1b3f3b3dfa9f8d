"""The master, waiting for the open round to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import simpy

from schemes.base.scheme import Session
from schemes.base.work import Work
from simulator.engine.master_rules import MasterRule
from simulator.errors import SimulationError

if TYPE_CHECKING:
    from simulator.engine.network import Arrivals, Messages


class Watch:
    """The master, waiting for the open round to end: ``closed`` succeeds when it does."""

    def __init__(
        self,
        env: simpy.Environment,
        start_s: float,
        rule: MasterRule,
        session: Session,
        work: Work,
        arrivals: Arrivals,
        over_s: float = np.inf,  # when the master knows that nothing more comes
    ) -> None:
        self._env = env
        self._start_s = start_s
        self._rule = rule
        self._enough = session.enough
        self._receive = _hearing(session, arrivals.late) if len(arrivals.late.workers) else session.receive
        self._arrivals = arrivals
        self._times_s = [*arrivals.times_s, np.nan]  # NaN: nothing is due
        self._workers: list[int] = arrivals.workers.tolist()
        self._reports: list[int] = arrivals.reports.tolist()
        self._place = 0  # reports that have arrived
        self.closed = env.event()
        # the one event ahead: scheduled again and again, which costs half of making one for each arrival
        self._tick: simpy.Event | None = None
        self._on_arrival: list[Callable[[simpy.Event], None]] = [self._arrive]
        self.duration_s = 0.0
        self._ends_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
        if over_s < np.inf:
            self._ends_s = min(self._ends_s, rule.acts_s(over_s))
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
        """Return the seconds that the master went on after the instant at which the rule wanted to stop."""
        return max(0.0, self.duration_s - self._wanted_s)

    def _want(self, instant_s: float | None) -> None:
        """Note the instant at which the rule wants to stop, now that it is known."""
        if instant_s is None:
            self._checks_arrivals = True
        else:
            self._wanted_s = self._look_s = self._rule.acts_s(instant_s)

    def _plan(self) -> None:
        """Derive when the master acts next, and from which arrival on it attends to arrivals at all."""
        self._acts_s = min(self._ends_s, self._look_s)
        # arrivals; beyond the last one, nothing is due; late responses alone never end a round
        place = self._arrivals.first_own + 1
        if not (self._is_postponed or self._checks_arrivals):
            place = self._arrivals.all_own if self._reference is None else self._reference + 1
        self._attends_from = max(self._place + 1, place)

    def _schedule(self) -> None:
        """Schedule what is next: an arrival that the master attends to, before its own action if both are at once."""
        place = self._attends_from - 1
        instant_s, happens = (self._times_s[place] if place < len(self._times_s) else np.nan), self._on_arrival
        if not instant_s <= self._acts_s:  # nor if nothing is due
            instant_s, happens = self._acts_s, [self._act]
        if instant_s == np.inf:
            raise SimulationError(
                "no worker can answer any more, but the master waits for more responses (give it a timeout_s)"
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
        place, receive = self._place, self._receive
        times_s, workers, reports = self._times_s, self._workers, self._reports
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
        """Take in an arrival and plan what the master does next."""
        if self._checks_arrivals or self._place >= self._arrivals.all_own:
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
        """Let the master look, or end the round."""
        self._receive_until(self._acts_s)
        if self._ends_s <= self._look_s:
            self._close(self._ends_s)
        elif self._place <= self._arrivals.first_own < len(self._workers):
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


def _hearing(session: Session, late: Messages) -> Callable[[int, int], None]:
    """Receive reports of the open round, and late ones, whose worker is their place counted from the end."""
    rounds, workers, reports = late.rounds.tolist(), late.workers.tolist(), late.reports.tolist()

    def receive(worker: int, report: int) -> None:
        if worker < 0:
            session.receive_late(rounds[worker], workers[worker], reports[worker])
        else:
            session.receive(worker, report)

    return receive
