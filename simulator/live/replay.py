"""The replay of a live run: what the master heard, and when, through the simulator, which must come to the same."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from schemes.base.scheme import Session
from schemes.base.work import Work
from simulator.engine.acting_workers import ActingWorkers, Given
from simulator.engine.events import ActingFloor, Collector, Floor, FloorMaker, RunPlan, simulate
from simulator.engine.network import Network, Uplink
from simulator.engine.record import RunRecord
from simulator.engine.workers import Workers
from simulator.live.floor import no_times
from simulator.parameters import BoolArray, FloatArray

if TYPE_CHECKING:
    import simpy

    from simulator.live.master import LiveRun

FAR_S = 1e9  # after the start of its round: when what was not heard would have come
ALIKE_S = 1e-9  # difference of instants that are sums of others in another order


def replay(plan: RunPlan, run: LiveRun) -> RunRecord:
    """Simulate a run with the instants at which the master of a live one heard each report.

    Parameters
    ----------
    plan
        Of the live run: its scheme, its rule, and what becomes of leftover work.
    run
        What was recorded.
    """
    heard = _Heard(run)
    overheads_s = [closed.end_s - closed.start_s - closed.duration_s for closed in run.rounds]
    plan = dataclasses.replace(
        plan,
        times=no_times(plan.scheme.n_workers),
        speeds=None,
        network=Network(),
        overheads_s=overheads_s,
        action_overhead_s=0.0,
        again=None,
    )
    record = RunRecord(plan.scheme.n_workers, plan.n_jobs)
    simulate(plan, record, floor_of=heard.floor)
    return record


def differences(live: RunRecord, replayed: RunRecord) -> list[str]:
    """Say in which rounds and jobs a replay came to something else; nothing if it did not."""
    found = []
    starts_s, durations_s = np.array(live.rounds.start_s), np.array(live.rounds.duration_s)
    early = np.flatnonzero(starts_s[1:] < (starts_s + durations_s)[:-1] - ALIKE_S)
    found += [f"round {at + 1}: start_s before the end of the one before" for at in early]
    for name in ("duration_s", "start_s"):
        a, b = np.array(getattr(live.rounds, name)), np.array(getattr(replayed.rounds, name))
        found += [f"round {at}: {name}" for at in np.flatnonzero(~np.isclose(a, b, rtol=0, atol=ALIKE_S))]
    for name in ("stragglers", "phases"):
        pairs = zip(getattr(live.rounds, name), getattr(replayed.rounds, name), strict=True)
        found += [f"round {at}: {name}" for at, (a, b) in enumerate(pairs) if a != b]
    for name in ("job", "status", "decoded_round"):
        pairs = zip(getattr(live.jobs, name), getattr(replayed.jobs, name), strict=True)
        found += [f"job {at}: {name}" for at, (a, b) in enumerate(pairs) if a != b]
    return found


class _Heard:
    """When each report was heard, in seconds after the start of its own round."""

    def __init__(self, run: LiveRun) -> None:
        starts_s = [closed.start_s for closed in run.rounds]
        self._at_s = {
            (arrival.of_round, arrival.worker, arrival.report): arrival.heard_s - starts_s[arrival.of_round]
            for arrival in run.arrivals
        }
        self.progresses = iter(run.progresses)
        self.asked_s = run.asked_s

    def when_s(self, index: int, worker: int, report: int) -> float:
        """The instant; far away for what was not heard."""
        return self._at_s.get((index, worker, report), FAR_S)

    def of_work(self, index: int, work: Work) -> FloatArray:
        """Instants of all reports of a round's first lists, shape ``(n_workers, n_reports)``; NaN: there is none."""
        times_s = np.full(work.loads.shape, np.nan)
        for worker, report in zip(*map(np.ndarray.tolist, np.nonzero(work.reporting)), strict=True):
            times_s[worker, report] = self.when_s(index, worker, report)
        return times_s

    def floor(self, acts: bool) -> FloorMaker:
        """Make the floor of the replay."""
        return functools.partial(_RecordedActingFloor if acts else _RecordedFloor, self)


class _RecordedFloor(Floor):
    def __init__(
        self, heard: _Heard, env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector
    ) -> None:
        super().__init__(env, plan, session, collector)
        n_workers = plan.scheme.n_workers
        self._workers = _RecordedWorkers(heard, plan)
        self._uplink = _RecordedUplink(heard, plan.network, n_workers, hears_late=plan.scheme.hears_late)


class _RecordedActingFloor(ActingFloor):
    def __init__(
        self, heard: _Heard, env: simpy.Environment, plan: RunPlan, session: Session, collector: Collector
    ) -> None:
        super().__init__(env, plan, session, collector)
        self._workers = _RecordedActingWorkers(heard, plan)
        self.cut_off = self._workers.cut_off


class _RecordedUplink(Uplink):
    def __init__(self, heard: _Heard, network: Network, n_workers: int, *, hears_late: bool) -> None:
        super().__init__(network, n_workers, hears_late=hears_late)
        self._heard = heard

    def ask(self, word_s: float, gradients: FloatArray) -> float:
        super().ask(word_s, gradients)
        return self._heard.asked_s[self._index]


class _RecordedWorkers(Workers):
    def __init__(self, heard: _Heard, plan: RunPlan) -> None:
        super().__init__(plan.scheme.n_workers, plan.times, None, plan.leftover)
        self._heard = heard

    def dispatch(self, index: int, start_s: float, work: Work) -> tuple[Work, FloatArray]:
        self.times, self.through_s, self.begin_s = next(self._stream), self._busy_until_s, self._busy_until_s
        return work, self._heard.of_work(index, work)

    def close(self, index: int, stop_s: float, next_s: float, missing: BoolArray) -> FloatArray:
        return np.zeros(len(missing))


class _RecordedActingWorkers(ActingWorkers):
    def __init__(self, heard: _Heard, plan: RunPlan) -> None:
        super().__init__(plan.scheme.n_workers, plan.times, None, plan.leftover, None)
        self._heard = heard
        self._n_reports: dict[int, int] = {}

    def dispatch(self, index: int, start_s: float, work: Work) -> tuple[Work, FloatArray]:
        self.times, self.index, self.given, self.dropped_s = next(self._stream), index, [], {}
        self.through_s = self.begin_s = self._busy_until_s
        self._n_reports = dict(enumerate((work.last_report + 1).tolist()))
        return work, self._heard.of_work(index, work)

    def begin(self, worker: int, now_s: float, begin_s: float, loads: Sequence[float]) -> Given:
        first = self._n_reports[worker]
        self._n_reports[worker] += len(loads)
        finish_s = [self._heard.when_s(self.index, worker, first + place) for place in range(len(loads))]
        return Given(worker, first, begin_s, loads, finish_s)

    def drop(self, workers: Collection[int], now_s: float) -> None:
        """Do nothing: what was not sent was not heard."""

    def progress(self, now_s: float) -> FloatArray:
        return next(self._heard.progresses)

    def close(self, index: int, stop_s: float, next_s: float, missing: BoolArray) -> FloatArray:
        return np.zeros(len(missing))
