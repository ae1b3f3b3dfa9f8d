"""A round under a master rule whose times are known: how it would have been closed."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from schemes.base.scheme import Session
from schemes.base.work import Closing, Heard, Work
from simulator.choices import WaitFor
from simulator.parameters import FloatArray, IntArray


class Look(Protocol):
    """What there is to be known of a master rule: when the master looks, and what it waits for then."""

    @property
    def timeout_s(self) -> float | None:
        """When a round closes, whatever is missing."""

    @property
    def waits_for(self) -> WaitFor:
        """Responses that it waits for, if those at the instant are not enough."""

    def reference_rank(self, n_busy: int) -> int:
        """Workers that must finish before the instant is known."""

    def wants_s(self, reference_s: float) -> float | None:
        """The instant; None: every arrival."""

    def acts_s(self, instant_s: float) -> float:
        """When the master acts on what happens at an instant."""


class EveryArrival:
    """The rule that a scheme expects which has not been told another one."""

    timeout_s = None
    waits_for: WaitFor = "enough"

    def reference_rank(self, n_busy: int) -> int:
        return 0

    def wants_s(self, reference_s: float) -> None:
        return None

    def acts_s(self, instant_s: float) -> float:
        return instant_s


def closed_round(session: Session, rule: Look, work: Work, finish_s: FloatArray) -> Closing:
    """Play the open round of a session whose reports come at these times; say how it ends."""
    workers, reports = np.nonzero(work.reporting)
    times_s = finish_s[workers, reports]
    order = np.argsort(times_s, kind="stable")
    workers, reports, times_s = workers[order], reports[order], times_s[order]
    limit_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
    play = _Play(session, workers, reports, times_s, limit_s)
    own_s = np.sort(finish_s[np.arange(len(finish_s)), work.last_report][work.busy])
    stop_s = min(play.stop_s(rule, own_s), limit_s)
    play.until(stop_s)
    n_come = np.zeros(len(finish_s), dtype=np.int64)
    np.add.at(n_come, workers[: play.place], 1)
    missing = work.busy & (n_come <= work.last_report)
    heard = Heard(workers[: play.place], reports[: play.place], times_s[: play.place])
    return Closing(missing, not session.enough(), rule.waits_for == "nobody", heard, stop_s)


class _Play:
    """Reports of a round, handed to a session in the order in which they come, up to some instant."""

    def __init__(
        self, session: Session, workers: IntArray, reports: IntArray, times_s: FloatArray, limit_s: float
    ) -> None:
        self._session, self._workers, self._reports = session, workers.tolist(), reports.tolist()
        self._times_s: list[float] = times_s.tolist()
        self._limit_s = limit_s
        self.place = 0

    def until(self, now_s: float) -> None:
        """Hand over what has come by then."""
        now_s = min(now_s, self._limit_s)
        while self.place < len(self._times_s) and self._times_s[self.place] <= now_s:
            self._session.receive(self._workers[self.place], self._reports[self.place])
            self.place += 1

    def stop_s(self, rule: Look, own_s: FloatArray) -> float:
        """When the rule ends the round; ``own_s`` is when workers have finished, in order."""
        if not self._times_s:
            return 0.0
        rank = rule.reference_rank(len(own_s))
        wants_s, last_s = rule.wants_s(float(own_s[rank - 1]) if rank else 0.0), rule.acts_s(self._times_s[-1])
        if wants_s is not None:
            look_s = max(rule.acts_s(wants_s), rule.acts_s(self._times_s[0]))
            if look_s >= last_s or rule.waits_for == "all":
                return last_s if look_s >= last_s or not self._is_enough(look_s) else look_s
            if self._is_enough(look_s) or rule.waits_for == "nobody":
                return look_s
        while not self._session.enough() and self.place < len(self._times_s):
            if self._times_s[self.place] > self._limit_s:
                return self._limit_s
            self.until(self._times_s[self.place])
        return rule.acts_s(self._times_s[self.place - 1]) if self.place else last_s

    def _is_enough(self, now_s: float) -> bool:
        self.until(now_s)
        return self._session.enough()
