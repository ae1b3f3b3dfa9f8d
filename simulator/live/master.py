"""A run on real workers: one scheme from its first round to its last, as a real master sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from schemes.base.valued import ValuedSession
from schemes.base.work import Work
from simulator.engine.acting import ActingRound
from simulator.engine.events import ClosedRound, RunPlan, uploaded
from simulator.errors import LiveError, SimulationError
from simulator.live.floor import Arrival, LiveMail, LiveWorkers
from simulator.live.hub import Heard, Hub
from simulator.live.values import LiveRecord
from simulator.parameters import FloatArray

ADVICE = " (the master waits for it; give it a timeout_s)"
Progress = Callable[[int, int], None]  # rounds done, rounds in all


class LiveRun(NamedTuple):
    """What was recorded of a run."""

    record: LiveRecord
    rounds: list[ClosedRound]
    arrivals: list[Arrival]
    progresses: list[FloatArray]  # that a session was told
    late_s: Mapping[tuple[int, int], float]  # own work of lists that ended in a later round, by round and worker
    asked_s: Mapping[int, float]  # when the uploads had come that the master asked for, by round, since its start


def run_live(
    plan: RunPlan,
    hub: Hub,
    record: LiveRecord,
    *,
    is_injected: bool,
    is_calibration: bool = False,
    progress: Progress | None = None,
) -> LiveRun:
    """Run a plan on real workers.

    Raises
    ------
    LiveError
        If workers are gone and the rule would wait for them for ever.
    """
    master = _Master(plan, hub, record, is_injected=is_injected, is_calibration=is_calibration)
    master.run(progress)
    record.complete()
    workers = master.workers
    return LiveRun(record, master.rounds, workers.arrivals, workers.progresses, workers.late_s, master.asked_s)


@dataclass
class _Master:
    plan: RunPlan
    hub: Hub
    record: LiveRecord
    is_injected: bool
    is_calibration: bool = False
    rounds: list[ClosedRound] = field(default_factory=list)
    asked_s: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan, codec = self.plan, self.record.codec
        self.session = ValuedSession(plan.scheme.start(plan.n_jobs, plan.rng), codec, self.record)
        self.mail = LiveMail()
        self.workers = LiveWorkers(plan, self.hub, self.record, self.mail, is_injected=self.is_injected)
        self._late = plan.scheme.hears_late or plan.scheme.late_ends_rounds
        self._may_wait_for_ever = plan.rule.may_wait_for_ever
        self._gone: set[int] = set()

    def run(self, progress: Progress | None) -> None:
        """Go from round to round."""
        self._clock_s = self.hub.now_s()
        open_: ClosedRound | None = None  # closed, but it ends only when the next one begins
        for index in range(self.session.n_rounds):
            known = self._hear_what_came(index)
            start_s = self._now_s()
            work = self.session.open_round(index)
            work, orders = self.workers.prepare(index, start_s, work, self.session)
            self.record.round_opened(index, work, self.session)
            if not index:
                self._clock_s = self.hub.now_s()  # the run begins with its first round
            start_s = self._now_s() if index else 0.0
            if open_ is not None:
                self._end(open_, start_s)
            self.mail.open(index, start_s)
            for worker, order in orders:
                if worker not in self._gone:
                    self.workers.send(worker, order)
            open_ = self._run_round(index, start_s, work, known)
            if progress is not None:
                progress(index + 1, self.session.n_rounds)
        if open_ is not None:
            self._end(open_, self._now_s())
        self.workers.drop_all()
        self.workers.cancel(())

    def _now_s(self) -> float:
        """Seconds since the run began."""
        return self.hub.now_s() - self._clock_s

    def _end(self, closed: ClosedRound, end_s: float) -> None:
        closed = replace(closed, end_s=end_s)
        self.rounds.append(closed)
        self.record.round_closed(closed)

    def _hear_what_came(self, index: int) -> list[int]:
        """Take in all that came while the master was busy; return the workers of the reports that count."""
        while (heard := self.hub.receive(0.0)) is not None:
            self._take(heard)
        self.mail.open(index, self._now_s())
        known = []
        for message in self.mail.take(0.0):
            if self._late:
                known.append(message.worker)
                self.session.receive_late(message.of_round, message.worker, message.report)
        return known

    def _take(self, heard: Heard) -> None:
        if heard.kind == "gone":
            self._gone.add(heard.worker)
            if self._may_wait_for_ever:
                words = self.hub.last_words()
                got = heard.header.get("got") or f"its end{f' ({words})' if words else ''}"
                where, advice = ("calibration: ", "") if self.is_calibration else ("", ADVICE)
                raise LiveError(f"{where}worker {heard.worker}: must answer, got {got}{advice}")
        self.workers.hear(heard, self._clock_s)

    def _run_round(self, index: int, start_s: float, work: Work, known: list[int]) -> ClosedRound:
        plan, session, scheme = self.plan, self.session, self.plan.scheme
        acting = ActingRound(
            plan.rule,
            session,
            self.workers,
            self.mail,
            work,
            late_ends=scheme.late_ends_rounds,
            late=known,
            action_overhead_s=plan.action_overhead_s if self.is_injected else 0.0,
        )
        if work.n_busy or scheme.late_ends_rounds:
            self._wait(acting, start_s)
        asker = _Asker(self, acting, index, start_s)
        duration_s, closing = uploaded(plan.rule, session, asker, acting, acting.stop_s)
        if duration_s > acting.stop_s:
            self._hear_until(start_s + duration_s)  # the rule may act later than the last upload has come
        leftover = plan.leftover
        if not scheme.decides_leftover and leftover == "cancel" and not scheme.hears_late:
            self.workers.drop_all()
        outcomes = tuple(session.close_round(closing))
        if scheme.decides_leftover:
            leftover = session.leftover() or plan.leftover
            if leftover == "cancel":
                self.workers.drop_all()
        self.workers.goes_on(leftover)
        self.record.uploaded = None
        load_done = self.workers.close(index, acting.stop_s, self._now_s() - start_s, closing.missing)
        if leftover == "cancel":
            self.mail.drop_all()
        self.workers.forget(index - scheme.delay_rounds)
        bytes_each = np.dtype(self.record.plan.messages).itemsize * self.record.dimension
        at_once = np.zeros(scheme.n_workers)
        return ClosedRound(
            index=index,
            start_s=start_s,
            stop_s=acting.stop_s,
            duration_s=duration_s,
            end_s=np.nan,
            arrivals=acting,
            waited_s=acting.waited_s(),
            closing=closing,
            work=work,
            n_given=acting.n_worked(),
            times=self.workers.times,
            finish_s=self.workers.measured_s,
            idle_until_s=at_once,
            through_s=at_once,
            begin_s=at_once,
            dropped_s=self.workers.dropped_s,
            load_done=load_done,
            is_cut_off=leftover == "cancel",
            traffic=self.mail.close(bytes_each),
            outcomes=outcomes,
            given=self.workers.given,
            phases=acting.n_phases,
            late=acting.late,
            used=session.used_workers(),
        )

    def _hear_until(self, until_s: float) -> None:
        """Take in what comes up to an instant of the run."""
        while (heard := self.hub.receive(self._clock_s + until_s)) is not None:
            self._take(heard)

    def _wait(self, acting: ActingRound, start_s: float) -> None:
        """Feed the round with what comes, and let it act when it wants to, until it is over."""
        acting.begin()
        while True:
            due_s = min(acting.next_s(), self.mail.next_s())
            if due_s > self._now_s() - start_s:
                if due_s == np.inf and self.mail.is_empty:
                    raise SimulationError(
                        "no worker can answer any more, but the master waits for more responses (give it a timeout_s)"
                    )
                heard = self.hub.receive(self._clock_s + start_s + due_s)
                if heard is not None:
                    self._take(heard)
            elif acting.step(due_s):
                return


class _Asker:
    """Uploads that the master asks for at the end of a round."""

    def __init__(self, master: _Master, acting: ActingRound, index: int, start_s: float) -> None:
        self._master, self._acting, self._index, self._start_s = master, acting, index, start_s

    def ask(self, word_s: float, gradients: FloatArray) -> float:
        """Let workers upload; return when all of it has come, in seconds after the round's start."""
        master, codec = self._master, self._master.record.codec
        asked_s = self._master.asked_s
        asked_s[self._index] = np.inf  # until all has come
        takes_estimate = master.plan.rule.waits_for == "nobody"
        uploads = codec.uploads(self._acting.n_received(), takes_estimate)
        master.workers.ask(uploads)
        rule = master.plan.rule
        limit_s = np.inf if rule.timeout_s is None else rule.acts_s(rule.timeout_s)
        while len(master.workers.uploads) < len(uploads):
            heard = master.hub.receive(master._clock_s + self._start_s + limit_s)
            if heard is None:
                return np.inf  # too late
            master._take(heard)
        came = master.workers.uploads
        dimension = -(-master.record.dimension // max((u.coefficients.shape[1] for u in uploads.values()), default=1))
        for worker in uploads:
            if (shape := came[worker].shape) != (dimension,):
                raise LiveError(f"worker {worker}: must upload {dimension} numbers, got an array of shape {shape}")
        each = [came[worker].astype(np.float64) for worker in uploads]
        master.record.uploaded = np.stack(each) if each else np.zeros((0, dimension))
        asked_s[self._index] = master._now_s() - self._start_s
        return asked_s[self._index]
