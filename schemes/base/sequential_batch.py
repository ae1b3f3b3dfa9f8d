"""The array forms of the two sequential schemes: what `selective_repeat` and `multiplexed` say of many runs at once.

Histories are running counts of straggling rounds in a window, so that a round costs a few operations on arrays of
shape ``(n_runs, n_workers)`` for each job in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemes.base.batch import DECODED, FAILED, NOT_ENDED, Batch, BatchClosing, BatchOutcome, at_most_missing_s, last_of
from schemes.base.scheme import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from schemes.multiplexed import Multiplexed
    from schemes.selective_repeat import SelectiveRepeat


Rows = IntArray | slice


ALL = slice(None)


class Window:
    """In how many of the latest rounds each worker straggled, shape ``(n_runs, n_workers)``."""

    def __init__(self, n_rounds: int, shape: tuple[int, int]) -> None:
        self.rounds = [np.zeros(shape, dtype=np.bool_) for _ in range(n_rounds)]  # oldest first
        self.times = np.zeros(shape, dtype=np.int16)

    def append(self, stragglers: BoolArray) -> None:
        """Add this round and forget the oldest; the array is kept, not copied."""
        if self.rounds:
            self.times += stragglers
            self.times -= self.rounds.pop(0)
            self.rounds.append(stragglers)

    def clear(self, runs: BoolArray) -> None:
        """Start afresh in some runs."""
        for stragglers in self.rounds:
            stragglers[runs] = False
        self.times[runs] = 0


class Limits:
    """Nobody ``needed`` may be missing, and of those who are ``counted`` only so many in each run."""

    def __init__(self, needed: BoolArray, counted: BoolArray, limits: IntArray, valid: BoolArray) -> None:
        self.needed, self.counted, self.limits, self.valid = needed, counted, limits, valid

    def permit(self, missing: BoolArray, runs: Rows) -> BoolArray:
        """Are these workers allowed to be missing together? Shapes ``(n, n_workers)`` and ``(n,)``."""
        few = np.count_nonzero(missing & self.counted[runs], axis=1) <= self.limits[runs]
        return np.asarray(self.valid[runs] & few & ~(missing & self.needed[runs]).any(axis=1))

    def permitted_s(self, due_s: FloatArray, runs: Rows) -> FloatArray:
        """From which instant on those that are missing may be; shapes ``(n, n_workers)`` and ``(n,)``."""
        all_needed_s = np.where(self.needed[runs], due_s, -np.inf).max(axis=1)
        # those who are not counted stand at -inf, so that they are never missing
        few_s = at_most_missing_s(due_s, self.counted[runs], self.limits[runs])
        few_s = np.where(self.limits[runs] >= due_s.shape[1], -np.inf, few_s)
        return np.where(self.valid[runs], np.maximum(all_needed_s, few_s), np.inf)


def bursty_limits(recent: Window, old: IntArray, lam: int, valid: BoolArray) -> Limits:
    """As `schemes.base.patterns.bursty_allowance`: ``old`` counts the rounds of the window that are B or more ago."""
    straggled = recent.times > 0
    return Limits(old > 0, ~straggled, lam - np.count_nonzero(straggled, axis=1), valid)


class SelectiveRepeatBatch(Batch):
    """`selective_repeat` in many runs."""

    def __init__(self, scheme: SelectiveRepeat, n_jobs: int, n_runs: int) -> None:
        self.n_runs = n_runs
        self._scheme, self._n_jobs = scheme, n_jobs
        self._shape = n_runs, scheme.n_workers
        self._window = Window(scheme.W - 1, self._shape)
        self._received: dict[int, BoolArray] = {}  # of each job started, whose result came in its own round
        self._is_open: dict[int, BoolArray] = {}  # in which runs it has not ended, shape (n_runs,)

    def open_round(self, index: int) -> FloatArray:
        scheme = self._scheme
        self._round = index
        self._repeats = self._repeaters(index - scheme.B)
        self._has_repeats: BoolArray = np.asarray(self._repeats.any(axis=1))
        busy = np.ones(self._shape, dtype=np.bool_) if index < self._n_jobs else self._repeats
        if scheme.as_published and index >= self._n_jobs:
            busy = np.broadcast_to(self._has_repeats[:, np.newaxis], self._shape)
        self._padded = np.where(self._repeats, 1.0, 0.0) if scheme.as_published and index >= self._n_jobs else None
        self._limits = self._acceptable()
        if index < self._n_jobs:
            return np.full((1, scheme.n_workers, 1), scheme.load)
        return np.where(busy, scheme.load, np.nan)[:, :, np.newaxis]

    def gradients(self) -> FloatArray | None:
        return None if self._padded is None else self._padded[:, :, np.newaxis]

    def _grouped(self, workers: BoolArray) -> BoolArray:
        """By groups of replicas, shape ``(n_runs, n_groups, s + 1)``."""
        return workers.reshape(len(workers), -1, self._scheme.s + 1)

    def _repeaters(self, job: int) -> BoolArray:
        scheme = self._scheme
        repeats = np.zeros(self._shape, dtype=np.bool_)
        if job in self._received and self._is_open[job].any():
            received = self._received[job]
            if scheme.code == "gradient_coding":
                without = ~received
                rank = np.cumsum(without, axis=1)
                repeats = without & (rank <= rank[:, -1:] - scheme.s)
            else:
                repeats[:, :: scheme.s + 1] = ~self._grouped(received).any(axis=2)
            repeats &= self._is_open[job][:, np.newaxis]
        return repeats

    def _is_decodable(self, received: BoolArray) -> BoolArray:
        if self._scheme.code == "gradient_coding":
            return np.asarray(np.count_nonzero(received, axis=1) >= self._scheme.n_workers - self._scheme.s)
        return np.asarray(np.all(self._grouped(received).any(axis=2), axis=1))

    def _acceptable(self) -> list[Limits]:
        scheme, window = self._scheme, self._window
        everybody, nobody = np.ones(self._shape, dtype=np.bool_), np.zeros(self._shape, dtype=np.bool_)
        always = np.ones(self.n_runs, dtype=np.bool_)
        unlimited = np.full(self.n_runs, scheme.n_workers)
        if scheme.accepts == "recoverable":
            return [Limits(self._repeats, nobody, unlimited, always)]
        past = np.array(window.rounds)
        old = np.count_nonzero(past[: scheme.W - scheme.B], axis=0)
        limits = [bursty_limits(window, old, scheme.lam, self._fits_bursty(past))]
        if not scheme.as_published:
            few = np.count_nonzero(past, axis=2).max(axis=0) <= scheme.s
            limits.append(Limits(nobody, everybody, np.full(self.n_runs, scheme.s), few))
        return limits

    def _fits_bursty(self, past: BoolArray) -> BoolArray:
        """Whether the past rounds of the window, shape ``(W - 1, n_runs, n_workers)``, keep the rule."""
        straggled = past.any(axis=0)
        first = past.argmax(axis=0)
        last = len(past) - 1 - past[::-1].argmax(axis=0)
        within = np.all(~straggled | (last - first < self._scheme.B), axis=1)
        return np.asarray(within & (np.count_nonzero(straggled, axis=1) <= self._scheme.lam))

    def enough(self, due_s: FloatArray, by_s: FloatArray, runs: Rows) -> BoolArray:
        missing = last_of(due_s) > by_s[:, np.newaxis]
        permitted = np.array([limits.permit(missing, runs) for limits in self._limits])
        return np.asarray(permitted.any(axis=0))

    def enough_s(self, due_s: FloatArray, runs: Rows) -> FloatArray:
        return np.asarray(np.min([limits.permitted_s(last_of(due_s), runs) for limits in self._limits], axis=0))

    def close_round(self, closing: BatchClosing) -> list[BatchOutcome]:
        scheme, missing, outcomes = self._scheme, closing.missing, []
        old = self._round - scheme.B
        if old in self._received:
            is_open = self._is_open.pop(old)
            del self._received[old]
            repaired = ~(self._repeats & missing).any(axis=1)
            status = np.where(is_open, np.where(repaired, DECODED, FAILED), NOT_ENDED)
            outcomes.append(_outcome(old, status))
        if self._round < self._n_jobs:
            received = ~missing & ~self._repeats
            decoded = self._is_decodable(received)
            outcomes.append(_outcome(self._round, np.where(decoded, DECODED, NOT_ENDED)))
            self._received[self._round], self._is_open[self._round] = received, ~decoded
        remembered = missing.copy()
        if scheme.as_published:
            ignored = ~self._has_repeats & (np.count_nonzero(missing, axis=1) <= scheme.s)
            remembered[ignored] = False
        self._window.append(remembered)
        if closing.forced.any():
            self._window.clear(closing.forced)
        return outcomes


def _outcome(job: int, status: IntArray) -> BatchOutcome:
    return BatchOutcome(job, status, np.where(status == FAILED, np.nan, 0.0))


class MultiplexedBatch(Batch):
    """`multiplexed` in many runs."""

    def __init__(self, scheme: Multiplexed, n_jobs: int, n_runs: int) -> None:
        self.n_runs = n_runs
        self._scheme, self._n_jobs = scheme, n_jobs
        self._shape = n_runs, scheme.n_workers
        self._by_task = scheme.credit == "prefix"
        self._replicas = scheme.n_workers if scheme.code == "gradient_coding" else scheme.lam + 1
        self._n_missing: dict[int, IntArray] = {}  # of each job in flight, D1 results lost; shape (n_runs, n_workers)
        self._is_open: dict[int, BoolArray] = {}  # in which runs it has not ended, shape (n_runs,)
        self._recent = Window(scheme.W - 1, self._shape)
        self._wide = Window(scheme.n_slots - 1, self._shape)
        self._is_bursty = np.ones(n_runs, dtype=np.bool_)
        self._is_arbitrary = np.ones(n_runs, dtype=np.bool_)
        self._limits: list[Limits] = []

    def open_round(self, index: int) -> FloatArray:
        self._round = index
        if index < self._n_jobs:
            self._n_missing[index] = np.zeros(self._shape, dtype=np.int16)
            self._is_open[index] = np.ones(self.n_runs, dtype=np.bool_)
        self._place_of: dict[int, IntArray] = {}
        if self._scheme.accepts == "pattern":
            self._limits = self._acceptable()
        return self._loads()

    def _loads(self) -> FloatArray:
        scheme = self._scheme
        n_open = sum(self._is_open.values(), start=np.zeros(self.n_runs, dtype=np.int64))
        is_uniform = scheme.is_coded and (n_open == n_open[0]).all()
        if is_uniform:
            n_tasks = np.full((1, scheme.n_workers), n_open[0])
        elif scheme.is_coded:
            n_tasks = np.broadcast_to(np.asarray(n_open)[:, np.newaxis], self._shape)
        else:
            n_tasks = sum(map(self._has_task, self._n_missing), start=np.zeros(self._shape, dtype=np.int64))
        self._n_tasks = n_tasks
        if self._by_task:
            self._put_in_order()
            reports = np.arange(1, max(1, int(n_tasks.max())) + 1)
            return np.where(reports <= n_tasks[:, :, np.newaxis], scheme.load_of(reports), np.nan)
        if scheme.as_published:
            n_tasks = np.full((1, scheme.n_workers), scheme.n_slots)
        return np.where(n_tasks > 0, scheme.load_of(n_tasks), np.nan)[:, :, np.newaxis]

    def gradients(self) -> FloatArray | None:
        return None if self._by_task else self._n_tasks[:, :, np.newaxis].astype(np.float64)

    def _is_late(self, job: int) -> bool:
        return self._round - job >= self._scheme.W - 1

    def _has_task(self, job: int) -> BoolArray:
        """Who computes something for a job, shape ``(n_runs, n_workers)``."""
        is_open = self._is_open[job][:, np.newaxis]
        if self._scheme.is_coded or not self._is_late(job):
            return np.broadcast_to(is_open, self._shape)
        return is_open & (self._n_missing[job] > 0)

    def _put_in_order(self) -> None:
        """Where in its list each worker serves each job: repeats, first tries, then coded results, newest first."""
        late = [job for job in self._n_missing if self._is_late(job)]
        first_tries = [job for job in self._n_missing if not self._is_late(job)]
        repeats = {job: self._has_task(job) & (self._n_missing[job] > 0) for job in late}
        before = np.zeros(self._shape, dtype=np.int64)
        for job in late:
            self._place_of[job] = before
            before = before + repeats[job]
        for job in first_tries:
            self._place_of[job] = before
            before = before + self._has_task(job)
        for job in reversed(late):
            coded = self._has_task(job) & ~repeats[job]
            self._place_of[job] = np.where(repeats[job], self._place_of[job], before)
            before = before + coded

    def _due_of(self, job: int, due_s: FloatArray, runs: Rows) -> FloatArray:
        """When each worker's result for a job arrives, -inf for who has no task; shape ``(n, n_workers)``."""
        if not self._by_task:
            return last_of(due_s)
        places = np.minimum(self._place_of[job][runs], due_s.shape[2] - 1)
        job_due_s = np.take_along_axis(due_s, places[:, :, np.newaxis], axis=2)[:, :, 0]
        return np.where(self._has_task(job)[runs], job_due_s, -np.inf)

    def _acceptable(self) -> list[Limits]:
        scheme = self._scheme
        old = np.sum(self._recent.rounds[: scheme.W - scheme.B], axis=0)
        limits = [bursty_limits(self._recent, old, scheme.lam, self._is_bursty)]
        if scheme.B > 1 and not scheme.as_published:
            times = self._wide.times
            n_distinct = np.count_nonzero(times, axis=1)
            limits.append(Limits(times >= scheme.B, times == 0, scheme.lam - n_distinct, self._is_arbitrary))
        return limits

    def enough(self, due_s: FloatArray, by_s: FloatArray, runs: Rows) -> BoolArray:
        if self._scheme.accepts == "pattern":
            missing = last_of(due_s) > by_s[:, np.newaxis]
            return np.asarray(np.any([limits.permit(missing, runs) for limits in self._limits], axis=0))
        enough = np.ones(len(due_s), dtype=np.bool_)
        for job in self._n_missing:
            missing = self._due_of(job, due_s, runs) > by_s[:, np.newaxis]
            enough &= ~self._is_open[job][runs] | self._is_recoverable(job, missing, runs)
        return enough

    def _late_slots(self, job: int) -> int:
        """Late slots of a job that are left, the present one included."""
        return min(self._scheme.B, self._scheme.n_slots - (self._round - job))

    def _in_groups(self, workers: BoolArray) -> IntArray:
        """How many of each group of replicas, shape ``(n, n_groups)``."""
        return np.asarray(np.count_nonzero(workers.reshape(len(workers), -1, self._replicas), axis=2))

    def _is_recoverable(self, job: int, missing: BoolArray, runs: Rows) -> BoolArray:
        n_missing = self._n_missing[job][runs]
        recoverable: BoolArray = np.asarray(~(missing & (n_missing >= self._late_slots(job))).any(axis=1))
        if self._scheme.is_coded:
            without_coded = missing | (n_missing > 0)
            recoverable &= (self._in_groups(without_coded) <= self._scheme.lam).all(axis=1)
        return recoverable

    def enough_s(self, due_s: FloatArray, runs: Rows) -> FloatArray:
        if self._scheme.accepts == "pattern":
            last_s = last_of(due_s)
            return np.asarray(np.min([limits.permitted_s(last_s, runs) for limits in self._limits], axis=0))
        enough_s = np.full(len(due_s), -np.inf)
        for job in self._n_missing:
            job_s = self._recoverable_s(job, self._due_of(job, due_s, runs), runs)
            enough_s = np.maximum(enough_s, np.where(self._is_open[job][runs], job_s, -np.inf))
        return enough_s

    def _recoverable_s(self, job: int, due_s: FloatArray, runs: Rows) -> FloatArray:
        n_missing = self._n_missing[job][runs]
        instants = np.where(n_missing >= self._late_slots(job), due_s, -np.inf).max(axis=1)
        if not self._scheme.is_coded:
            return np.asarray(instants)
        shape = len(due_s), -1, self._replicas
        complete = (n_missing == 0).reshape(shape)
        n_spare = self._scheme.lam - np.count_nonzero(~complete, axis=2)  # how many of the complete may be missing
        grouped = np.sort(np.where(complete, due_s.reshape(shape), -np.inf), axis=2)
        places = np.clip(self._replicas - 1 - n_spare, 0, self._replicas - 1)
        group_s = np.take_along_axis(grouped, places[:, :, np.newaxis], axis=2)[:, :, 0]
        group_s = np.where(n_spare >= self._replicas, -np.inf, group_s)
        return np.asarray(np.maximum(instants, group_s.max(axis=1)))

    def close_round(self, closing: BatchClosing) -> list[BatchOutcome]:
        self._remember(closing)
        outcomes = []
        for job in list(self._n_missing):
            missing = closing.missing
            if self._by_task:
                missing = self._due_of(job, closing.due_s, ALL) > closing.instant_s[:, np.newaxis]
            status = self._advance(job, missing)
            if (status != NOT_ENDED).any():
                outcomes.append(_outcome(job, status))
            if not self._is_open[job].any():
                del self._is_open[job], self._n_missing[job]
        return outcomes

    def _remember(self, closing: BatchClosing) -> None:
        if self._scheme.accepts == "recoverable":
            return
        permitted = [limits.permit(closing.missing, ALL) for limits in self._limits]
        self._is_bursty = permitted[0] | closing.forced
        self._is_arbitrary = (permitted[1] if len(permitted) > 1 else self._is_arbitrary) | closing.forced
        remembered = closing.missing.copy()
        self._recent.append(remembered)
        self._wide.append(remembered)
        if closing.forced.any():
            self._recent.clear(closing.forced)
            self._wide.clear(closing.forced)

    def _advance(self, job: int, missing: BoolArray) -> IntArray:
        """Book what this round brought to a job; return how it ended in each run, if it did."""
        scheme, n_missing, is_open = self._scheme, self._n_missing[job], self._is_open[job]
        slot = self._round - job
        late_slots = min(scheme.B, scheme.delay_rounds - slot)  # after this round
        if slot < scheme.W - 1:
            n_missing += missing
            without_coded = n_missing > 0
        else:
            incomplete = n_missing > 0
            without_coded = missing | incomplete
            n_missing -= incomplete & ~missing
        lost: BoolArray = n_missing.max(axis=1) > late_slots
        if scheme.is_coded:
            lost |= (self._in_groups(without_coded) > scheme.lam).any(axis=1)
        status = np.where(lost, FAILED, NOT_ENDED)
        if slot == scheme.delay_rounds or (slot >= scheme.W - 2 and not scheme.is_coded):
            status = np.where(lost | n_missing.any(axis=1), status, DECODED)
        status = np.where(is_open, status, NOT_ENDED)
        self._is_open[job] = is_open & (status == NOT_ENDED)
        return status
