"""Runs without times: who answers is chosen by a pattern, or arrivals come in a random order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import get_args

import numpy as np

from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Heard, Outcome, Work
from simulator.choices import Leftover
from simulator.parameters import BoolArray, FloatArray

MOST_REPORTS = 1000  # of a worker in a round: a session that gives out more never has enough
Chooser = Callable[[int, BoolArray], BoolArray]
"""Stragglers, given the round and who has work; both of shape (n_workers,)."""


def play(
    scheme: Scheme, n_jobs: int, stragglers: Chooser, session: Session | None = None
) -> tuple[list[Outcome], list[bool]]:
    """Run a scheme under a straggler pattern, without any times.

    Parameters
    ----------
    session
        Of the scheme, if it is to be another one than a new one.

    Returns
    -------
    outcomes, accepted
        Every job that ended, and for each round whether the scheme found the responses enough.
    """
    session = session or scheme.start(n_jobs, np.random.default_rng(0))
    outcomes: list[Outcome] = []
    accepted = []
    for index in range(session.n_rounds):
        work = session.open_round(index)
        missing = stragglers(index, work.busy) & work.busy
        heard: list[tuple[int, int]] = []
        for worker in np.flatnonzero(work.busy & ~missing).tolist():
            heard += deliver(session, work, worker)
        heard += _deliver_more(session, work)
        accepted.append(session.enough())
        outcomes += session.close_round(closing_of(heard, missing, forced=not accepted[-1]))
    return outcomes, accepted


def closing_of(heard: list[tuple[int, int]], missing: BoolArray, *, forced: bool) -> Closing:
    """The end of a round in which reports came one a second."""
    return Closing(missing, forced, heard=Heard.of(heard), stop_s=float(len(heard)))


def deliver(session: Session, work: Work, worker: int) -> list[tuple[int, int]]:
    """All that a worker reports."""
    reports = [(worker, report) for report in range(int(work.last_report[worker]) + 1)]
    for report in reports:
        session.receive(*report)
    return reports


def _deliver_more(session: Session, work: Work) -> list[tuple[int, int]]:
    """All that comes of what is given out while the round goes on, until there is enough."""
    n_given = [int(last) + 1 for last in work.last_report.tolist()]
    heard: list[tuple[int, int]] = []
    while session.acts and not session.enough():
        phase = session.act(min(1.0, session.look_s), lambda: np.full(len(n_given), 0.5))
        if phase is None or not phase.lists:
            break
        for worker, loads in phase.lists.items():
            for _ in loads:
                session.receive(worker, n_given[worker])
                heard.append((worker, n_given[worker]))
                n_given[worker] += 1
        assert max(n_given) <= MOST_REPORTS, "work is given out without end, and is never enough"
    return heard


def play_valued(
    scheme: Scheme, session: Session, rng: np.random.Generator, p_forced: float = 0.25, *, takes_estimate: bool = False
) -> list[Outcome]:
    """Play a run with random arrivals; rounds end where it is enough, somewhere after, or (some) before.

    A master that takes an estimate asked for what there is. Raises ``AssertionError`` if `enough` turns false again in
    a round, or is false at its end, if a job ends late, or if work is given to somebody who has some.
    """
    run = _Run(scheme, session, rng)
    outcomes: list[Outcome] = []
    for index in range(session.n_rounds):
        run.hear_late()
        run.open(index)
        is_forced, patience = rng.random() < p_forced, max(0, int(rng.integers(-2, 4)))
        was_enough = False
        while True:
            assert session.enough() or not was_enough, f"round {index}: enough, then not any more"
            was_enough = session.enough()
            if (was_enough and patience <= 0) or (is_forced and rng.random() < 2 / scheme.n_workers):
                break
            patience -= int(was_enough)
            if not run.hear_one():
                break
        missing = run.missing()
        assert session.enough() or run.something_comes or not run.heard, f"round {index}: all is there, but not enough"
        heard = Heard.of(run.heard, run.times_s)
        closing = Closing(missing, not session.enough(), takes_estimate, heard, run.now_s)
        ended = session.close_round(closing)
        assert all(outcome.job + scheme.delay_rounds >= index for outcome in ended), f"round {index}: a job ended late"
        outcomes += ended
        run.close()
    return outcomes


class _Run:
    """Lists that have been given out, and what of them has not come yet."""

    def __init__(self, scheme: Scheme, session: Session, rng: np.random.Generator) -> None:
        self._scheme, self._session, self._rng = scheme, session, rng
        self._due: list[deque[tuple[int, int]]] = [deque() for _ in range(scheme.n_workers)]  # rounds and reports

    def hear_late(self) -> None:
        """Let some reports come while the master is busy."""
        n_workers = self._scheme.n_workers
        for worker in self._rng.permutation(n_workers)[: self._rng.integers(0, n_workers + 1)].tolist():
            if self._due[worker]:
                origin, report = self._due[worker].popleft()
                self._session.receive_late(origin, worker, report)

    def open(self, index: int) -> None:
        """Give out the work of a round."""
        self.index, self.now_s = index, 0.0
        work = self._session.open_round(index)
        self._n_given = [int(last) + 1 for last in work.last_report.tolist()]
        self._n_lacking = [*self._n_given]
        self.heard: list[tuple[int, int]] = []
        self.times_s: list[float] = []
        for worker, n_reports in enumerate(self._n_given):
            self._due[worker] += [(index, report) for report in range(n_reports)]

    def hear_one(self) -> bool:
        """Let the next report of some worker come, and the session act on it; false if nothing is to come."""
        who = [worker for worker, due in enumerate(self._due) for _ in due]
        if not who and not self._acts_at_look():
            return False
        if who:
            self.now_s += float(self._rng.exponential())
            worker = int(self._rng.choice(who))
            origin, report = self._due[worker].popleft()
            if origin < self.index:
                self._session.receive_late(origin, worker, report)
            else:
                self._session.receive(worker, report)
                self.heard.append((worker, report))
                self.times_s.append(self.now_s)
                self._n_lacking[worker] -= 1
            if not self._session.enough():
                self._act()
        return True

    def _acts_at_look(self) -> bool:
        """Go to the instant at which the session wants to act, if nothing else happens; true if work was given out."""
        if not self._session.acts or not self.now_s < self._session.look_s < np.inf:
            return False
        self.now_s = self._session.look_s
        return self._act()

    def _act(self) -> bool:
        if not self._session.acts:
            return False
        n_tasks = [len(self._session.tasks(worker)) for worker in range(self._scheme.n_workers)]
        phase = self._session.act(self.now_s, self._progress)
        assert not np.isnan(self._session.look_s), f"round {self.index}: look_s must be an instant, got nan"
        for worker in phase.dropped if phase is not None else ():
            self._due[worker].clear()
        for worker, loads in phase.lists.items() if phase is not None else ():
            assert 0 <= worker < len(n_tasks), f"round {self.index}: there is no worker {worker} to give work to"
            assert not self._due[worker], f"round {self.index}: worker {worker} has work, and is given more"
            steps = np.diff(loads, prepend=0.0)
            assert len(steps), f"round {self.index}: a list of worker {worker} must have a report"
            assert (steps >= 0).all(), f"round {self.index}: loads must be cumulative, got {loads}"
            first = self._n_given[worker]
            self._due[worker] += [(self.index, first + place) for place in range(len(steps))]
            self._n_given[worker] += len(steps)
            self._n_lacking[worker] += len(steps)
            assert self._n_given[worker] <= MOST_REPORTS, "work is given out without end, and is never enough"
            new = [task.load for task in self._session.tasks(worker)[n_tasks[worker] :]]
            assert len(new) == len(steps), (
                f"round {self.index}: worker {worker} must have a new task for each new report"
            )
            assert np.allclose(new, steps), (
                f"round {self.index}: worker {worker} was given {steps}, its tasks say {new}"
            )
        return bool(phase is not None and phase.lists)

    def _progress(self) -> FloatArray:
        return np.array([0.5 if due else np.nan for due in self._due])

    @property
    def something_comes(self) -> bool:
        """True if something has been given out and has not come."""
        return any(self._due) or bool(self.missing().any())

    def missing(self) -> BoolArray:
        """Who was given work and has not reported all of it."""
        return np.array(self._n_lacking) > 0

    def close(self) -> None:
        """Keep what goes on and is heard."""
        scheme = self._scheme
        leftover = self._session.leftover()
        assert leftover in (None, *get_args(Leftover)), f"round {self.index}: no such leftover as {leftover!r}"
        assert leftover is None or scheme.decides_leftover, "a scheme whose session says leftover must decide_leftover"
        goes_on = leftover == "finish" if scheme.decides_leftover else scheme.hears_late
        if not (goes_on and (scheme.hears_late or scheme.late_ends_rounds)):
            self._due = [deque() for _ in self._due]
