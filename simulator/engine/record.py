"""Record of a run: rounds and jobs as they ended, and the figures of merit derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

import numpy as np

from schemes.base.scheme import Session
from schemes.base.work import Outcome, Status, Work
from simulator.columns import JobColumns, RoundColumns, RunRow, empty
from simulator.engine.figures import Runs
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from simulator.engine.events import ClosedRound

STATUSES = get_args(Status)


@dataclass
class RunRecord:
    """A collector for one run: one scheme in one trial of one point.

    ``workers`` holds one block of columns for each round.
    """

    n_workers: int
    n_jobs: int
    keeps_workers: bool = False
    rounds: RoundColumns = field(default_factory=lambda: empty(RoundColumns))
    jobs: JobColumns = field(default_factory=lambda: empty(JobColumns))
    workers: list[dict[str, FloatArray | IntArray | BoolArray]] = field(default_factory=list)
    makespan_s: float = 0.0
    load_done: float = 0.0
    ended_in: list[int] = field(default_factory=list)  # which round, of the jobs in their order
    _ended: set[int] = field(default_factory=set, init=False, repr=False)
    n_given: int = 0  # lists of work given out, over all rounds and workers

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Do nothing: nothing is known yet that would be worth a row."""

    def round_closed(self, closed: ClosedRound) -> None:
        """Take note of a round."""
        self.rounds.round.append(closed.index)
        self.rounds.start_s.append(closed.start_s)
        self.rounds.duration_s.append(closed.duration_s)
        self.rounds.first_finish_s.append(closed.arrivals.first_finish_s())
        self.rounds.waited.append(closed.waited_s > 0)
        self.rounds.waited_s.append(closed.waited_s)
        self.rounds.stragglers.append(int(np.count_nonzero(closed.closing.missing)))
        self.rounds.uploads.append(closed.traffic.uploads)
        self.rounds.bytes_up.append(closed.traffic.bytes_up)
        self.rounds.upload_s.append(closed.traffic.upload_s)
        self.rounds.phases.append(closed.phases)
        self.rounds.stale.append(len(closed.late))
        self.rounds.fresh.append(_n_fresh(closed))
        self.n_given += closed.n_given
        self.makespan_s = closed.end_s
        self.load_done += float(closed.load_done.sum())
        for outcome in closed.outcomes:
            self._check_outcome(outcome, closed.index)
            start_round = outcome.job if outcome.start_round is None else outcome.start_round
            start_s, has_failed = self.rounds.start_s[start_round], outcome.status == "failed"
            self.ended_in.append(closed.index)
            self.jobs.job.append(outcome.job)
            self.jobs.start_round.append(start_round)
            self.jobs.decoded_round.append(None if has_failed else closed.index)
            self.jobs.start_s.append(start_s)
            self.jobs.decoded_s.append(math.nan if has_failed else closed.end_s)
            self.jobs.latency_s.append(math.nan if has_failed else closed.end_s - start_s)
            self.jobs.status.append(outcome.status)
            self.jobs.squared_error.append(outcome.squared_error)
        if self.keeps_workers:
            self._keep_workers(closed)

    def _check_outcome(self, outcome: Outcome, index: int) -> None:
        """A scheme of one's own may count wrongly."""
        start_round = outcome.job if outcome.start_round is None else outcome.start_round
        if not 0 <= outcome.job < self.n_jobs or not 0 <= start_round <= index or outcome.job in self._ended:
            raise SimulationError(
                f"round {index}: each job must end once, while it is in flight, got job {outcome.job}"
            )
        if outcome.status not in STATUSES or outcome.squared_error < 0:
            got, known = f"{outcome.status!r}, {outcome.squared_error:g}", ", ".join(STATUSES)
            raise SimulationError(f"job {outcome.job}: must end as one of {known}, with an error from 0 on, got {got}")
        self._ended.add(outcome.job)

    def _keep_workers(self, closed: ClosedRound) -> None:
        work = closed.work
        last_s, busy, given = closed.finish_s[np.arange(self.n_workers), work.last_report], work.busy, work.given
        if closed.given:
            last_s, busy, given = last_s.copy(), busy.copy(), given.copy()
            for later in closed.given:
                last_s[later.worker], busy[later.worker] = later.due_s[-1], True
                given[later.worker] += later.loads[-1]
        is_cut_off = ~np.isfinite(last_s)
        if closed.is_cut_off:
            is_cut_off |= closed.closing.missing & (last_s > closed.stop_s)  # else its response was only on its way
        used = closed.used
        if used is None:
            used = np.array([*np.flatnonzero(closed.arrivals.n_received()), *closed.late], dtype=np.int64)
        self.workers.append(
            {
                "round": np.full(self.n_workers, closed.index),
                "worker": np.arange(self.n_workers),
                "finished_s": np.where(busy & ~is_cut_off, last_s, np.where(busy, np.inf, np.nan)),
                "load_given": given,
                "load_done": closed.load_done,
                "straggler": closed.closing.missing,
                "startup_s": closed.times.startup_s,
                "seconds_per_load": closed.times.evened_out(work.loads).seconds_per_load,
                "slowdown": closed.times.slowdown,
                "used": np.isin(np.arange(self.n_workers), [*used]),
            }
        )

    def cut_off(self, index: int, workers: IntArray, load: FloatArray) -> None:
        """Take back load that was left over and not finished when the run ended."""
        self.load_done -= float(load.sum())
        if self.keeps_workers:
            columns = self.workers[index]
            columns["load_done"][workers] -= load
            columns["finished_s"][workers] = np.where(load > 1e-12, np.inf, columns["finished_s"][workers])

    def metrics(self, n_error_blocks: int | None) -> RunRow:
        """The figures of merit of the run.

        Parameters
        ----------
        n_error_blocks
            Chunk blocks that squared errors add up over; needed only if a job was approximate.
        """
        figures = Runs.of([self]).figures(n_error_blocks or 1)
        return {name: value.item() for name, value in figures.items()}  # type: ignore[return-value] # by their names


def _n_fresh(closed: ClosedRound) -> int:
    """Count the results of the round's own lists: reports that carry a gradient, or what the master asked for."""
    heard, gradients = closed.closing.heard, closed.work.gradients
    assert heard is not None, "the engine says what was heard"
    if gradients is None:
        return len(heard.workers)
    if not gradients.any():
        is_asked = not closed.closing.forced or closed.closing.takes_estimate
        return closed.traffic.uploads if is_asked else 0
    of_start = heard.reports <= closed.work.last_report[heard.workers]  # later lists carry one with each report
    n_later = len(of_start) - int(np.count_nonzero(of_start))
    return n_later + int(np.count_nonzero(gradients[heard.workers[of_start], heard.reports[of_start]]))
