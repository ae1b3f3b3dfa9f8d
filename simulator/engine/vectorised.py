"""The vectorised engine: the semantics of the events engine on arrays over runs, rounds and workers.

A round needs no events where arrivals depend on nothing that happens in it: when the responses are enough is an order
statistic of the arrivals (the scheme's :class:`~schemes.base.batch.Batch` says which), and all that the master does
follows from a few instants. Rounds of schemes without memory are all taken at once, others one after another in
all runs together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from schemes.base.batch import Batch, BatchClosing, at_most_missing_s, last_of
from schemes.base.rule import APPROXIMATE, DECODED, FAILED, NOT_ENDED
from schemes.base.scheme import BoolArray, FloatArray, IntArray, Status
from simulator.columns import JobColumns, RoundColumns
from simulator.engine.master_rules import MasterRule
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import RoundTimes
from simulator.engine.workers import load_done
from simulator.errors import SimulationError

STATUS: dict[int, Status] = {DECODED: "decoded", APPROXIMATE: "approximate", FAILED: "failed"}
EVERY = slice(None)  # run
CHUNK = 1 << 18  # values that are worked on at once: arrays that fit a processor's cache


class BatchTimes(NamedTuple):
    """Worker times of some rounds of some runs, shape ``(n_runs, n_rounds, n_workers)`` each; inf: never."""

    startup_s: FloatArray
    seconds_per_load: FloatArray
    slowdown: FloatArray

    def round(self, place: int) -> BatchTimes:
        """One of the rounds, shape ``(n_runs, n_workers)`` each."""
        return BatchTimes(*(field[:, place] for field in self))

    def rows(self) -> BatchTimes:
        """Each round a row, shape ``(n_runs * n_rounds, n_workers)`` each."""
        return BatchTimes(*(field.reshape(-1, field.shape[2]) for field in self))


def simulate_rows(
    batch: Batch | None,
    *,
    n_workers: int,
    n_jobs: int,
    n_rounds: int,
    times: Iterator[BatchTimes],
    rule: MasterRule,
    round_overhead_s: float,
    gradient_bytes: float,
) -> list[RunRecord]:
    """Run all runs of a batch.

    Parameters
    ----------
    batch
        Who computes what.
    times
        Worker times in blocks of rounds.
    rule, round_overhead_s, gradient_bytes
        As for events.
    """
    assert batch is not None, "whoever asks for arrays has seen that there are some"
    log = _Log(batch.n_runs, n_rounds, n_jobs)
    if batch.is_memoryless:
        _all_at_once(batch, times, rule, log)
    else:
        _round_by_round(batch, times, rule, log)
    return log.records(n_workers, round_overhead_s, gradient_bytes)


def _all_at_once(batch: Batch, times: Iterator[BatchTimes], rule: MasterRule, log: _Log) -> None:
    """Rounds without memory, as many at a time as fit a cache."""
    first = 0
    loads = batch.open_round(0)
    for block in times:
        shape = block.startup_s.shape[:2]
        rows = block.rows()
        step = max(1, CHUNK // loads[0].size)
        parts = [
            _close(batch, loads, BatchTimes(*(field[begin : begin + step] for field in rows)), rule)
            for begin in range(0, len(rows.startup_s), step)
        ]
        fields = [np.concatenate(field) for field in zip(*(part[:-1] for part in parts), strict=True)]
        closed = _Closed._make([*fields, []])
        rounds = slice(first, first + shape[1])
        log.rounds_closed(rounds, closed, shape)
        [outcomes] = zip(*(part.outcomes for part in parts), strict=True)
        log.status[:, rounds] = np.concatenate([outcome.status for outcome in outcomes]).reshape(shape)
        log.squared_error[:, rounds] = np.concatenate([outcome.squared_error for outcome in outcomes]).reshape(shape)
        log.ended_in[:, rounds] = np.arange(rounds.start, rounds.stop)
        first += shape[1]


def _round_by_round(batch: Batch, times: Iterator[BatchTimes], rule: MasterRule, log: _Log) -> None:
    index = 0
    for block in times:
        for place in range(block.startup_s.shape[1]):
            loads = batch.open_round(index)
            closed = _close(batch, loads, block.round(place), rule)
            log.rounds_closed(slice(index, index + 1), closed, (batch.n_runs, 1))
            for outcome in closed.outcomes:
                ended = outcome.status != NOT_ENDED
                log.status[ended, outcome.job] = outcome.status[ended]
                log.squared_error[ended, outcome.job] = outcome.squared_error[ended]
                log.ended_in[ended, outcome.job] = index
            index += 1


class _Closed(NamedTuple):
    """A round of each row, as it ended; shape ``(n,)`` each."""

    duration_s: FloatArray
    first_finish_s: FloatArray
    waited_s: FloatArray
    stragglers: IntArray
    uploads: IntArray
    gradients: FloatArray
    n_given: IntArray
    load_done: FloatArray
    outcomes: list[Any]


def _close(batch: Batch, loads: FloatArray, times: BatchTimes, rule: MasterRule) -> _Closed:
    """One round of each row: what is due when, when the master stops, and what there is then."""
    loads, due_s = _due(batch, loads, times)
    last_s = last_of(due_s)
    busy = ~np.isnan(loads[:, :, 0])
    n_busy = np.broadcast_to(np.count_nonzero(busy, axis=1), len(due_s))
    all_busy = bool(busy.all())
    stop = _Stop(batch, rule, due_s, last_s, n_busy, all_busy=all_busy)
    instant_s = np.where(n_busy > 0, stop.instant_s, 0.0)
    missing = last_s > instant_s[:, np.newaxis]
    forced = stop.forced & (n_busy > 0)
    estimate = rule.waits_for == "nobody"
    outcomes = batch.close_round(BatchClosing(due_s, instant_s, missing, forced, estimate))
    given = np.nanmax(np.where(np.isnan(loads), 0.0, loads), axis=2).sum(axis=1)
    stragglers = np.count_nonzero(missing, axis=1)
    load = np.broadcast_to(given, len(due_s))
    if stragglers.any():
        rows, workers = np.divmod(np.flatnonzero(missing), missing.shape[1])  # `nonzero` of two axes is slow
        lists = np.broadcast_to(loads, due_s.shape)[rows, workers]
        load = load - np.bincount(rows, _lost(lists, due_s[rows, workers], instant_s[rows]), minlength=len(due_s))
    uploads, gradients = _uploads(batch, due_s, instant_s, n_busy - stragglers, asked=~forced | estimate)
    first_s = stop.first_finish_s
    return _Closed(
        duration_s=instant_s,
        first_finish_s=np.where((first_s <= instant_s) & (n_busy > 0), first_s, np.nan),
        waited_s=np.where(n_busy > 0, np.maximum(0.0, instant_s - stop.wanted_s), 0.0),
        stragglers=stragglers,
        uploads=uploads,
        gradients=gradients,
        n_given=n_busy,
        load_done=load,
        outcomes=outcomes,
    )


def _lost(lists: FloatArray, due_s: FloatArray, instant_s: FloatArray) -> FloatArray:
    """Load of lists that were cut off and were not done, from arrays of shape ``(n, n_reports)``; shape ``(n,)``."""
    if lists.shape[1] == 1:  # as below, at a third of the price
        lost: FloatArray = lists[:, 0] * (1 - instant_s / due_s[:, 0])
        return lost
    done = load_done(lists, np.zeros(len(lists)), np.where(np.isnan(lists), np.nan, due_s), instant_s[:, np.newaxis])
    return np.asarray(np.nanmax(lists, axis=1) - done)


def _due(batch: Batch, loads: FloatArray, times: BatchTimes) -> tuple[FloatArray, FloatArray]:
    """Return when each report is due, -inf where there is none, shape ``(n, n_workers, n_reports)``; and the loads."""
    startup_s, seconds_per_load, slowdown = (field[:, :, np.newaxis] for field in times)
    if batch.is_divisible:
        return _shared_out(times)
    any_idle = bool(np.isnan(loads).any())
    try:
        with np.errstate(invalid="raise"):
            due_s: FloatArray = seconds_per_load * loads
            due_s += startup_s
            due_s *= slowdown
    except FloatingPointError:  # inf * 0 where a worker never answers
        with np.errstate(invalid="ignore"):
            due_s = slowdown * (startup_s + seconds_per_load * loads)
        due_s[np.isnan(due_s)] = np.inf
    if any_idle:
        due_s[np.broadcast_to(np.isnan(loads), due_s.shape)] = -np.inf
    return loads, due_s


def _shared_out(times: BatchTimes) -> tuple[FloatArray, FloatArray]:
    """Work of which each worker does as much as it can until one job is done."""
    loads, due_s = np.empty((*times.startup_s.shape, 1)), []
    for row, (startup_s, seconds_per_load, slowdown) in enumerate(zip(*times, strict=True)):
        never = np.isinf(startup_s) | np.isinf(seconds_per_load) | np.isinf(slowdown)
        loads[row], instant_s = RoundTimes(startup_s, seconds_per_load, slowdown, never).share_out()
        if np.isnan(loads[row]).all():  # nobody ever answers: everybody is asked
            loads[row] = 1 / len(startup_s)
        due_s.append(np.where(np.isnan(loads[row]), -np.inf, instant_s))
    return loads, np.stack(due_s)


class _Stop:
    """Instant at which the master stops in each row, as `simulator.engine.waiting` finds it event by event."""

    def __init__(
        self,
        batch: Batch,
        rule: MasterRule,
        due_s: FloatArray,
        last_s: FloatArray,
        n_busy: IntArray,
        *,
        all_busy: bool,
    ) -> None:
        self._batch, self._rule, self._due_s = batch, rule, due_s
        present = last_s if all_busy else np.where(last_s == -np.inf, np.inf, last_s)
        self.first_finish_s: FloatArray = present.min(axis=1)
        self._first_s: FloatArray = self.first_finish_s  # the first report
        if due_s.shape[2] > 1:
            self._first_s = np.where(due_s[:, :, 0] == -np.inf, np.inf, due_s[:, :, 0]).min(axis=1)
        if self._first_s.min() < 0:
            raise SimulationError("completion times must be at least 0 s")
        wanted_s = self._wanted_s(present, n_busy)
        if wanted_s is None:
            self.wanted_s: FloatArray | float = np.inf
            looked_s, forced = self._at_arrivals()
        else:
            self.wanted_s = rule.acts_at(np.broadcast_to(wanted_s, len(due_s)))
            looked_s, forced = self._looked(self.wanted_s)
        self.instant_s, self.forced = self._ended(looked_s, forced, last_s, n_busy)

    def _wanted_s(self, present: FloatArray, n_busy: IntArray) -> FloatArray | float | None:
        """Instant that the rule names; None: the master looks at every arrival."""
        rank = self._rule.reference_rank(n_busy)
        if isinstance(rank, int) and rank == 0:
            return self._rule.wants_s(0.0)
        if isinstance(rank, int) and rank == 1:
            return self._rule.wants_s(self.first_finish_s)
        return self._rule.wants_s(at_most_missing_s(present, present.shape[1] - np.asarray(rank)))

    def _at_arrivals(self) -> tuple[FloatArray, BoolArray]:
        """Stop at the first arrival with which the responses are enough; in no row without that."""
        enough_s = self._batch.enough_s(self._due_s, EVERY)
        return self._rule.acts_at(np.maximum(enough_s, self._first_s)), np.zeros(len(self._due_s), dtype=np.bool_)

    def _looked(self, wanted_s: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Stop at the instant (inf: with the last report) or later; and where the responses fall short then."""
        too_early = (wanted_s < self._first_s) & (self._first_s < np.inf)
        look_s = np.where(too_early, self._rule.acts_at(self._first_s), wanted_s)
        enough = self._batch.enough(self._due_s, look_s, EVERY)
        if self._rule.waits_for == "nobody" or enough.all():
            return look_s, ~enough
        instant_s = np.where(enough, look_s, np.inf)
        if self._rule.waits_for == "enough":
            which = np.flatnonzero(~enough)
            instant_s[which] = self._rule.acts_at(self._batch.enough_s(self._due_s[which], which))
        return instant_s, np.zeros(len(look_s), dtype=np.bool_)

    def _ended(
        self, looked_s: FloatArray, forced: BoolArray, last_s: FloatArray, n_busy: IntArray
    ) -> tuple[FloatArray, BoolArray]:
        """Stop by the last report and the timeout at the latest; and where the responses fall short then."""
        everybody_s = self._rule.acts_at(last_s.max(axis=1))
        limit_s = np.inf if self._rule.timeout_s is None else self._rule.acts_s(self._rule.timeout_s)
        ends_s = np.minimum(everybody_s, limit_s)
        cut = ends_s < looked_s
        forced = forced & ~cut
        late = np.flatnonzero(cut & (ends_s < everybody_s) & (n_busy > 0))
        if len(late):
            forced[late] = ~self._batch.enough(self._due_s[late], ends_s[late], late)
        instant_s = np.minimum(looked_s, ends_s)
        if np.isinf(instant_s[n_busy > 0]).any():
            raise SimulationError("nobody can answer any more, and the master waits for more responses")
        return instant_s, forced


def _uploads(
    batch: Batch,
    due_s: FloatArray,
    instant_s: FloatArray,
    n_heard: IntArray,
    *,
    asked: BoolArray,
) -> tuple[IntArray, FloatArray]:
    """Messages with gradients, and the gradients in them."""
    if batch.asks_for_uploads():
        heard = due_s[:, :, 0] <= instant_s[:, np.newaxis]
        heard &= due_s[:, :, 0] > -np.inf
        uploads = np.where(asked, np.count_nonzero(heard, axis=1), 0)
        return uploads, uploads / batch.blocks
    gradients = batch.gradients()
    if gradients is None and due_s.shape[2] == 1:
        return n_heard, n_heard.astype(np.float64)
    heard = (due_s <= instant_s[:, np.newaxis, np.newaxis]) & (due_s > -np.inf)
    if gradients is None:
        uploads = np.count_nonzero(heard, axis=(1, 2))
        return uploads, uploads.astype(np.float64)
    sent = np.where(heard, gradients, 0.0)
    return np.count_nonzero(sent, axis=(1, 2)), sent.sum(axis=(1, 2))


class _Log:
    """Log of all runs, in arrays of shape ``(n_runs, n_rounds)`` and ``(n_runs, n_jobs)``."""

    def __init__(self, n_runs: int, n_rounds: int, n_jobs: int) -> None:
        kinds = [int if name in ("stragglers", "uploads", "n_given") else float for name in _Closed._fields[:-1]]
        self.rounds = _Closed._make([*(np.zeros((n_runs, n_rounds), kind) for kind in kinds), []])
        self.status = np.full((n_runs, n_jobs), NOT_ENDED)
        self.squared_error = np.zeros((n_runs, n_jobs))
        self.ended_in = np.zeros((n_runs, n_jobs), dtype=np.int64)

    def rounds_closed(self, rounds: slice, closed: _Closed, shape: tuple[int, int]) -> None:
        """Take note of some rounds of all runs."""
        for column, values in zip(self.rounds[:-1], closed[:-1], strict=True):
            column[:, rounds] = values.reshape(shape)

    def records(self, n_workers: int, round_overhead_s: float, gradient_bytes: float) -> list[RunRecord]:
        """Each run as the events engine would have recorded it."""
        n_runs, n_rounds = self.rounds.n_given.shape
        n_jobs = self.status.shape[1]
        overhead_s = np.where(self.rounds.n_given > 0, round_overhead_s, 0.0)
        ends_s = np.cumsum(self.rounds.duration_s + overhead_s, axis=1)
        starts_s = np.concatenate([np.zeros((n_runs, 1)), ends_s[:, :-1]], axis=1)
        records = []
        for run in range(n_runs):
            rounds = RoundColumns(
                round=list(range(n_rounds)),
                start_s=starts_s[run].tolist(),
                duration_s=self.rounds.duration_s[run].tolist(),
                first_finish_s=self.rounds.first_finish_s[run].tolist(),
                waited=(self.rounds.waited_s[run] > 0).tolist(),
                waited_s=self.rounds.waited_s[run].tolist(),
                stragglers=self.rounds.stragglers[run].tolist(),
                uploads=self.rounds.uploads[run].tolist(),
                bytes_up=(self.rounds.gradients[run] * gradient_bytes).tolist(),
                upload_s=[0.0] * n_rounds,
            )
            jobs = self._jobs(run, starts_s[run, :n_jobs], ends_s[run])
            record = RunRecord(n_workers, n_jobs, rounds=rounds, jobs=jobs, makespan_s=float(ends_s[run, -1]))
            record.load_done = float(self.rounds.load_done[run].sum())
            record.n_given = int(self.rounds.n_given[run].sum())
            records.append(record)
        return records

    def _jobs(self, run: int, starts_s: FloatArray, ends_s: FloatArray) -> JobColumns:
        codes, ended_in = self.status[run].tolist(), self.ended_in[run].tolist()
        ended_s = np.where(self.status[run] == FAILED, np.nan, ends_s[self.ended_in[run]])
        return JobColumns(
            job=list(range(len(codes))),
            start_round=list(range(len(codes))),
            decoded_round=[None if code == FAILED else index for code, index in zip(codes, ended_in, strict=True)],
            start_s=starts_s.tolist(),
            decoded_s=ended_s.tolist(),
            latency_s=(ended_s - starts_s).tolist(),
            status=[STATUS[code] for code in codes],
            squared_error=self.squared_error[run].tolist(),
        )
