"""Rounds of schemes that act while a round goes on, or that late responses may end.

A round has phases: at its start, and whenever the session gives out work in the middle, arrivals become known, and the
one event ahead is the next of them or the next instant at which the master acts. What is on its way is in one queue on
the clock of the run, whatever round it belongs to; instants of the open round are compared in seconds since its start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterator
from typing import Protocol

import numpy as np
import simpy

from schemes.base.scheme import Session
from schemes.base.work import Heard, Work
from simulator.engine.acting_workers import ActingWorkers, Given
from simulator.engine.mail import Message
from simulator.engine.master_rules import MasterRule
from simulator.engine.presence import Presence
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, IntArray


class Post(Protocol):
    """What has arrived, and what may."""

    @property
    def is_empty(self) -> bool:
        """True if nothing has arrived or may arrive."""

    def next_s(self) -> float:
        """Return when the next message arrives, as far as it is known, in seconds after the round's start."""

    def take(self, until_s: float) -> Iterator[Message]:
        """Take what has arrived by then."""

    def send(self, given: Given) -> None:
        """Tell when the reports of a list are due that is given out while the round goes on."""

    def drop(self, workers: Collection[int], now_s: float) -> None:
        """Let workers send no more of what they have."""

    def lose(self, workers: Collection[int]) -> None:
        """Lose what is on its way from some workers."""

    def coming(self, workers: Collection[int]) -> Counter[int]:
        """Count what is on its way from some workers, of this round."""


class ActingRound:
    """The open round: what has been given out and heard in it, and when the master stops."""

    def __init__(
        self,
        rule: MasterRule,
        session: Session,
        workers: ActingWorkers,
        mail: Post,
        work: Work,
        *,
        late_ends: bool,
        late: list[int],
        action_overhead_s: float,
        presence: Presence | None = None,
    ) -> None:
        self._rule, self._session, self._workers, self._mail = rule, session, workers, mail
        self._late_ends, self._action_overhead_s, self._presence = late_ends, action_overhead_s, presence or None
        self._enough, self._receive = session.enough, session.receive
        self._lacking: list[int] = np.count_nonzero(work.reporting, axis=1).tolist()  # reports of each worker to come
        self._has_worked = work.busy.copy()
        self._n_lacking = work.n_reports  # of all workers, without what was dropped
        self._given_up: dict[int, int] = {}  # reports that were dropped, by worker
        self._finished: set[int] = set()  # workers that have reported all that they had been given
        self._heard: list[tuple[int, int, float]] = []
        self.late = late  # workers of the reports of earlier rounds that have come since the last one
        self.n_phases, self.stop_s, self._first_finish_s = 1, 0.0, np.nan
        self._rank = rule.reference_rank(work.n_busy)
        self._ends_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
        self._wanted_s = np.inf  # the instant that the rule names, once it is known
        self._look_s = np.inf  # when the master looks next
        self._act_s = np.inf  # when the session acts next
        self._is_postponed = False  # to the first response: nobody had answered when the master looked
        self._checks_arrivals = False  # just enough will do now

    def waited_s(self) -> float:
        """Return the seconds that the master went on after the instant at which the rule wanted to stop."""
        return max(0.0, self.stop_s - self._wanted_s)

    def wait(self, env: simpy.Environment, start_s: float) -> Generator[simpy.Event, None, None]:
        """Go from instant to instant until the round ends."""
        self.begin()
        while True:
            now_s = min(self._mail.next_s(), self.next_s())
            if now_s == np.inf:
                raise SimulationError(
                    "no worker can answer any more, but the master waits for more responses (give it a timeout_s)"
                )
            if start_s + now_s > env.now:
                yield env.timeout(start_s + now_s - env.now)
            if self.step(now_s):
                return

    def begin(self) -> None:
        """See what is to be done first."""
        if not self._rank:
            self._want(self._rule.wants_s(0.0))
        self._plan_action(0.0)
        if self._presence:
            self._give_up(self._presence.away)
        if self._late_ends or self._nothing_comes():
            self._attend(0.0)

    def next_s(self) -> float:
        """Return when the master does or hears something next if nothing arrives; inf: never."""
        news_s = self._presence.next_news_s() if self._presence else np.inf
        return min(self._ends_s, self._look_s, self._act_s, news_s)

    def step(self, now_s: float) -> bool:
        """Take in what has arrived by now, no later than `next_s`, and do what is due; true: the round is over."""
        if self._receive_until(now_s):
            self._attend(now_s)
        if self._presence and (news := self._presence.news(now_s)):
            left, away = news
            self._mail.lose(left)
            self._give_up(left)
            self._session.hear_absences(left, away, now_s)
            self._attend(now_s)
        if self._look_s <= now_s < self._ends_s:
            self._look(now_s)
        if self._act_s <= now_s < self._ends_s:
            self._act(now_s)
        if self._ends_s <= now_s:
            self.stop_s = self._ends_s
            return True
        return False

    def _want(self, instant_s: float | None) -> None:
        """Note the instant at which the rule wants to stop, now that it is known."""
        if instant_s is None:
            self._checks_arrivals = True
        else:
            self._wanted_s = self._look_s = self._rule.acts_s(instant_s)

    def _receive_until(self, now_s: float) -> bool:
        """Receive all that has arrived by now; say whether anything has."""
        n_before = len(self._heard) + len(self.late)
        for message in self._mail.take(now_s):
            worker = message.worker
            if message.of_round != self._workers.index:
                self.late.append(worker)
                self._session.receive_late(message.of_round, worker, message.report)
                continue
            self._heard.append((worker, message.report, message.arrives_s))
            self._receive(worker, message.report)
            self._n_lacking -= 1
            self._lacking[worker] -= 1
            if not self._lacking[worker]:
                self._note_finish(worker, message.arrives_s)
        return len(self._heard) + len(self.late) > n_before

    def _note_finish(self, worker: int, at_s: float) -> None:
        """Count the workers that have reported all that they were given; the rule may depend on one of them."""
        if not self._finished:
            self._first_finish_s = at_s
        self._finished.add(worker)
        if len(self._finished) == self._rank:
            self._rank = 0
            self._want(self._rule.wants_s(at_s))

    @property
    def _has_answer(self) -> bool:
        """True if there is a response that may end the round."""
        return self._late_ends or bool(self._heard)

    def _nothing_comes(self) -> bool:
        """True if all that may end the round has arrived."""
        return not self._n_lacking and (not self._late_ends or self._mail.is_empty)

    def _attend(self, now_s: float) -> None:
        """Look at what has arrived, if the rule does, and let the session act on it."""
        if self._checks_arrivals and self._has_answer and self._enough():
            self._ends_s = min(self._ends_s, self._rule.acts_s(now_s))
        elif self._is_postponed and self._has_answer:
            self._is_postponed, self._look_s = False, self._rule.acts_s(now_s)
        if self._session.acts or self._nothing_comes():
            self._act_s = min(self._act_s, self._rule.acts_s(now_s))

    def _look(self, now_s: float) -> None:
        """Look at the instant that the rule has named."""
        self._look_s = np.inf
        if not self._has_answer and self._n_lacking and not self._mail.is_empty:
            self._is_postponed = True
        elif self._enough() or self._rule.waits_for == "nobody":
            self._ends_s = now_s
        else:
            self._checks_arrivals = self._rule.waits_for == "enough"

    def _act(self, now_s: float) -> None:
        """Let the session give out more work; end the round if nothing comes any more."""
        phase = self._session.act(now_s, lambda: self._workers.progress(now_s)) if self._session.acts else None
        if phase is not None:
            if phase.dropped:
                self._drop(phase.dropped, now_s)
            begin_s = now_s + self._action_overhead_s
            for worker, loads in phase.lists.items():
                given = self._workers.begin(worker, now_s, begin_s, loads)
                self._mail.send(given)
                self._has_worked[worker] = True
                self._lacking[worker] += len(loads)
                self._n_lacking += len(loads)
            self.n_phases += bool(phase.lists)
            if self._presence:
                self._give_up(self._presence.away.intersection(phase.lists))
        self._plan_action(now_s)
        if self._nothing_comes():
            # where nothing can come from the beginning, the master waits for somebody to join
            joins_s = self._presence.next_join_s() if self._presence and now_s == 0.0 else 0.0
            self._ends_s = min(self._ends_s, self._rule.acts_s(joins_s)) if joins_s else now_s

    def _drop(self, workers: Collection[int], now_s: float) -> None:
        self._workers.drop(workers, now_s)
        self._mail.drop(workers, now_s)
        self._give_up(workers)

    def _give_up(self, workers: Collection[int]) -> None:
        """Expect no more of some workers than what is on its way."""
        n_sent = self._mail.coming(workers)
        for worker in workers:
            given_up = self._lacking[worker] - n_sent[worker]
            self._n_lacking -= given_up - self._given_up.get(worker, 0)
            self._given_up[worker] = given_up

    def _plan_action(self, now_s: float) -> None:
        look_s = self._session.look_s if self._session.acts else np.inf
        self._act_s = self._rule.acts_s(look_s) if look_s > now_s else np.inf

    def missing(self) -> BoolArray:
        """Return a mask of the workers that were given work and have not reported all of it."""
        return self._has_worked & (np.array(self._lacking) > 0)

    def n_worked(self) -> int:
        """Count the workers that were given work."""
        return int(np.count_nonzero(self._has_worked))

    def heard(self) -> Heard:
        """Return the reports of this round that have arrived."""
        return Heard.of([each[:2] for each in self._heard], [each[2] for each in self._heard])

    def first_finish_s(self) -> float:
        """Return when the first worker had reported everything; NaN if none has."""
        return self._first_finish_s

    def n_received(self) -> IntArray:
        """Count the reports that have arrived from each worker, shape ``(n_workers,)``."""
        return np.bincount([each[0] for each in self._heard], minlength=len(self._lacking))
