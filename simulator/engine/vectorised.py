"""The vectorised engine: the semantics of the events engine on arrays over runs, rounds and workers.

A round needs no events where arrivals depend on nothing that happens in it: when the responses are enough is an order
statistic of the arrivals (the scheme's :class:`~schemes.base.batch.Batch` says which), and all that the master does
follows from a few instants. Runs go side by side, each a row, whatever trial, point or setting it is of.

Rounds of schemes without memory are rows, too. Of a scheme with memory, all rounds are looked at beforehand as if
everybody had the usual work; who is missing then is kept in bits, and on these it is decided, round by round, whether
that is enough. Only the rows that have to wait, or that turn out to have other work, are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from schemes.base.batch import Batch, Closed, MemorylessBatch
from schemes.base.rule import APPROXIMATE, DECODED, FAILED, Rule
from schemes.base.scheme import BoolArray, FloatArray, IntArray
from schemes.base.sets import WORD, Words, packed, size, unpacked
from simulator.engine.figures import Runs
from simulator.engine.master_rules import MasterRule
from simulator.engine.rule_batch import RuleBatch
from simulator.engine.stopping import Looks, last_of, looks, stopped
from simulator.engine.worker_times import DrawnTimes, shared_out

CHUNK = 1 << 17  # numbers that are worked on at once: arrays that fit a processor's cache
BLOCK = 1 << 22  # numbers of worker times that are drawn at once


class Times(Protocol):
    """Worker times as an engine asks for them."""

    def take(self, n_rounds: int) -> DrawnTimes:
        """The next rounds of all sources."""


class Rows(NamedTuple):
    """Runs side by side: in what they differ beside the scheme; shape ``(n_rows,)`` each."""

    source: IntArray  # of the worker times that each meets
    rule: MasterRule  # whose numbers are arrays
    round_overhead_s: FloatArray
    gradient_bytes: FloatArray


def simulate_rows(batches: Sequence[Batch | Rule], rows: Rows, times: Times, n_jobs: int) -> Runs:
    """Run all rows.

    Parameters
    ----------
    batches
        Who computes what: each for some rounds, one after the other. Only the last may have more rounds than jobs.
    rows
        Of these runs.
    times
        Worker times.
    n_jobs
        Of each run.

    Raises
    ------
    SimulationError
        If a completion time is negative, or nobody can answer any more and the rule has no timeout.
    """
    n_rounds = sum(batch.n_rounds for batch in batches)
    log = _Log(len(rows.source), n_rounds, n_jobs)
    first = 0
    for batch in batches:
        part = log.part(first, batch.n_rounds)
        if isinstance(batch, Rule):
            _round_by_round(RuleBatch(batch), rows, times, part)
        else:
            assert isinstance(batch, MemorylessBatch)
            _all_at_once(batch, rows, times, part)
        first += batch.n_rounds
    return log.runs(batches[0].n_workers, rows)


class _Log:
    """Rounds and jobs of all runs, in arrays of shape ``(n_rows, n_rounds)`` and ``(n_rows, n_jobs)``."""

    def __init__(self, n_rows: int, n_rounds: int, n_jobs: int) -> None:
        shape = n_rows, n_rounds
        self.rounds = Rounds(
            duration_s=np.zeros(shape),
            first_finish_s=np.zeros(shape),
            waited_s=np.zeros(shape),
            stragglers=np.zeros(shape, dtype=np.int64),
            uploads=np.zeros(shape, dtype=np.int64),
            gradients=np.zeros(shape),
            n_given=np.zeros(shape, dtype=np.int64),
            load_done=np.zeros(shape),
        )
        self.status = np.full((n_rows, n_jobs), DECODED)
        self.squared_error = np.zeros((n_rows, n_jobs))
        self.ended_in = np.zeros((n_rows, n_jobs), dtype=np.int64)
        self.first = 0

    def part(self, first: int, n_rounds: int) -> _Log:
        """Some rounds, and the jobs that begin in them; rounds in it count from 0."""
        part = object.__new__(_Log)
        part.rounds = Rounds._make(column[:, first : first + n_rounds] for column in self.rounds)
        part.status = self.status[:, first : first + n_rounds]
        part.squared_error = self.squared_error[:, first : first + n_rounds]
        part.ended_in = self.ended_in[:, first : first + n_rounds]
        part.first = self.first + first
        return part

    def runs(self, n_workers: int, rows: Rows) -> Runs:
        """All that the tables and the figures need."""
        rounds, is_given = self.rounds, self.rounds.n_given > 0
        ends_s = np.cumsum(rounds.duration_s + np.where(is_given, rows.round_overhead_s[:, np.newaxis], 0.0), axis=1)
        return Runs(
            n_workers=n_workers,
            ends_s=ends_s,
            duration_s=rounds.duration_s,
            first_finish_s=rounds.first_finish_s,
            waited_s=rounds.waited_s,
            stragglers=rounds.stragglers,
            uploads=rounds.uploads,
            bytes_up=rounds.gradients * rows.gradient_bytes[:, np.newaxis],
            upload_s=np.zeros(is_given.shape),
            n_given=rounds.n_given.sum(axis=1),
            load_done=rounds.load_done.sum(axis=1),
            status=self.status,
            squared_error=self.squared_error,
            ended_in=self.ended_in,
        )


class Rounds(NamedTuple):
    """Rounds as they ended, one array each."""

    duration_s: FloatArray
    first_finish_s: FloatArray
    waited_s: FloatArray
    stragglers: IntArray
    uploads: IntArray
    gradients: FloatArray
    n_given: IntArray
    load_done: FloatArray


def _all_at_once(batch: MemorylessBatch, rows: Rows, times: Times, log: _Log) -> None:
    """Rounds without memory, as many at a time as fit a cache."""
    n_rows, n_rounds = log.rounds.n_given.shape
    loads = batch.loads()
    for begin, many, drawn in _blocks(rows, times, n_rounds, batch.n_workers):
        for which, rounds in _chunks(n_rows, many, batch.n_workers * loads.shape[2]):
            part = drawn.of(rows.source[which], rounds)
            own = loads if len(loads) == 1 else loads[which]
            shape = which.stop - which.start, rounds.stop - rounds.start
            each = np.repeat(np.arange(which.start, which.stop), shape[1])
            closed, errors = _closed(batch, own, part, shape, rows.rule.rows(each), each)
            here = which, slice(begin + rounds.start, begin + rounds.stop)
            for column, values in zip(log.rounds, closed, strict=True):
                column[here] = np.broadcast_to(values, len(each)).reshape(shape)
            status = np.where(errors > 0, APPROXIMATE, DECODED)
            status[np.isnan(errors)] = FAILED
            log.status[here], log.squared_error[here] = status.reshape(shape), errors.reshape(shape)
    log.ended_in[:] = log.first + np.arange(n_rounds)


def _blocks(rows: Rows, times: Times, n_rounds: int, n_workers: int) -> Iterator[tuple[int, int, DrawnTimes]]:
    """The first round of each block, how many there are, and their worker times."""
    n_sources = int(rows.source.max()) + 1
    at_once = max(1, BLOCK // (n_sources * n_workers))
    for begin in range(0, n_rounds, at_once):
        many = min(at_once, n_rounds - begin)
        yield begin, many, times.take(many)


def _chunks(n_rows: int, n_rounds: int, n_each: int) -> Iterator[tuple[slice, slice]]:
    """Some rows and some rounds at a time, of so many numbers each."""
    at_once = max(1, min(n_rounds, CHUNK // n_each))
    many = max(1, CHUNK // (n_each * at_once))
    for row in range(0, n_rows, many):
        for begin in range(0, n_rounds, at_once):
            yield slice(row, min(row + many, n_rows)), slice(begin, min(begin + at_once, n_rounds))


def _closed(
    batch: Batch,
    loads: FloatArray,
    times: DrawnTimes,
    shape: tuple[int, int],
    rule: MasterRule,
    each: IntArray,
) -> tuple[Rounds, FloatArray]:
    """Rounds of rows (``shape``), flat: what is due when, when the master stops, and the errors of what it has then."""
    loads, due_s = _due(batch, loads, times, shape)
    end = _ended(batch, loads, due_s, rule, each)
    assert isinstance(batch, MemorylessBatch)
    errors = batch.squared_errors(
        Closed(each, due_s, end.rounds.duration_s, end.missing, end.forced, rule.waits_for == "nobody")
    )
    return end.rounds, errors


class _Ended(NamedTuple):
    """Rounds as they ended, and who was missing."""

    rounds: Rounds
    missing: BoolArray  # shape (n, n_workers)
    forced: BoolArray


def _ended(batch: Batch, loads: FloatArray, due_s: FloatArray, rule: MasterRule, each: IntArray) -> _Ended:
    """When the master stops, and what there is then, from what is due when; ``each``: of which row."""
    last_s = last_of(due_s)
    busy = ~np.isnan(loads[:, :, 0])
    n_busy = np.broadcast_to(np.count_nonzero(busy, axis=1), len(due_s))
    look = looks(rule, due_s, last_s, n_busy)
    stop_s, forced = stopped(batch, rule, look, due_s, n_busy, each)
    missing = last_s > stop_s[:, np.newaxis]
    stragglers = np.count_nonzero(missing, axis=1)
    load = np.broadcast_to(np.nanmax(np.where(np.isnan(loads), 0.0, loads), axis=2).sum(axis=1), len(due_s))
    if stragglers.any():
        at, workers = np.divmod(np.flatnonzero(missing), missing.shape[1])  # `nonzero` of two axes is slow
        lists = np.broadcast_to(loads, due_s.shape)[at, workers]
        load = load - np.bincount(at, _lost(lists, due_s[at, workers], stop_s[at]), minlength=len(due_s))
    asked = ~forced | (rule.waits_for == "nobody")
    uploads, gradients = _uploads(batch, due_s, stop_s, n_busy - stragglers, each, asked=asked)
    first_s = look.first_finish_s
    rounds = Rounds(
        duration_s=stop_s,
        first_finish_s=np.where((first_s <= stop_s) & (n_busy > 0), first_s, np.nan),
        waited_s=np.where(n_busy > 0, np.maximum(0.0, stop_s - look.wanted_s), 0.0),
        stragglers=stragglers,
        uploads=uploads,
        gradients=gradients,
        n_given=n_busy,
        load_done=load,
    )
    return _Ended(rounds, missing, forced)


def _lost(lists: FloatArray, due_s: FloatArray, stop_s: FloatArray) -> FloatArray:
    """Load of lists that were cut off and were not done, from arrays of shape ``(n, n_reports)``; shape ``(n,)``.

    Of the task that was being done, the share of its own duration that ran is done.
    """
    each = np.arange(len(lists))
    n_reports = np.count_nonzero(~np.isnan(lists), axis=1)
    n_done = n_reports - np.count_nonzero(due_s > stop_s[:, np.newaxis], axis=1)
    before_s = np.where(n_done > 0, due_s[each, n_done - 1], 0.0)
    before = np.where(n_done > 0, lists[each, n_done - 1], 0.0)
    share = (stop_s - before_s) / (due_s[each, n_done] - before_s)
    lost: FloatArray = lists[each, n_reports - 1] - (before + (lists[each, n_done] - before) * share)
    return lost


def _uploads(
    batch: Batch, due_s: FloatArray, stop_s: FloatArray, n_heard: IntArray, each: IntArray, *, asked: BoolArray
) -> tuple[IntArray, FloatArray]:
    """Messages with gradients, and the gradients in them."""
    if batch.asks_for_uploads:
        heard = due_s[:, :, 0] <= stop_s[:, np.newaxis]
        heard &= due_s[:, :, 0] > -np.inf
        uploads = np.where(asked, np.count_nonzero(heard, axis=1), 0)
        return uploads, uploads / batch.blocks
    gradients = batch.gradients()
    if gradients is None and due_s.shape[2] == 1:
        return n_heard, n_heard.astype(np.float64)
    heard = (due_s <= stop_s[:, np.newaxis, np.newaxis]) & (due_s > -np.inf)
    if gradients is None:
        uploads = np.count_nonzero(heard, axis=(1, 2))
        return uploads, uploads.astype(np.float64)
    sent = np.where(heard, gradients if len(gradients) == 1 else gradients[each], 0.0)
    return np.count_nonzero(sent, axis=(1, 2)), sent.sum(axis=(1, 2))


def _due(batch: Batch, loads: FloatArray, times: DrawnTimes, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return when each report is due in each round of each row, -inf where there is none; and the loads.

    Shape ``(n, n_workers, n_reports)``, n rounds of rows; of the loads perhaps 1 in place of n.
    """
    if batch.is_divisible:
        n_workers = loads.shape[1]
        full = (np.broadcast_to(part, (*shape, n_workers)).reshape(-1, n_workers) for part in times)
        shares, instant_s = shared_out(*full)
        shares[np.isnan(shares).all(axis=1)] = 1 / n_workers  # nobody ever answers: everybody is asked
        due_s = np.where(np.isnan(shares), -np.inf, instant_s[:, np.newaxis])
        return shares[:, :, np.newaxis], due_s[:, :, np.newaxis]
    due_s = _arrivals(loads[:, np.newaxis], times, (*shape, *loads.shape[1:])).reshape(-1, *loads.shape[1:])
    idle = np.isnan(loads)
    if len(loads) > 1 and shape[1] > 1:
        loads, idle = np.repeat(loads, shape[1], axis=0), np.repeat(idle, shape[1], axis=0)
    if idle.any():
        due_s[np.broadcast_to(idle, due_s.shape)] = -np.inf
    return loads, due_s


def _arrivals(loads: FloatArray, times: DrawnTimes, shape: tuple[int, ...]) -> FloatArray:
    """When lists are done that begin with the round; all broadcast to ``shape``, the last axis that of reports."""
    startup_s, seconds_per_load, slowdown = (part[..., np.newaxis] for part in times)
    try:
        with np.errstate(invalid="raise"):
            due_s = np.asarray(seconds_per_load * loads)
            if startup_s.any() if startup_s.size == 1 else True:
                due_s = due_s + startup_s
            if slowdown.size > 1 or slowdown.item() != 1.0:
                due_s = np.multiply(due_s, slowdown, out=due_s if due_s.shape == shape else None)
    except FloatingPointError:  # inf * 0 where a worker never answers
        with np.errstate(invalid="ignore"):
            due_s = slowdown * (startup_s + seconds_per_load * loads)
        due_s[np.isnan(due_s)] = np.inf
    return due_s if due_s.shape == shape else np.broadcast_to(due_s, shape).copy()


class _Foreseen(NamedTuple):
    """Some rounds in which everybody has the usual work, as the master sees them at its look."""

    looks: Looks  # arrays of shape (n_rows, n_rounds)
    missing: Words  # shape (n_rounds, n_words, n_rows)
    can_stop: BoolArray  # at the look, shape (n_rounds, n_rows)
    may_end: BoolArray  # with the last report, if it does not stop at the look


def _foreseen(loads: FloatArray, rows: Rows, drawn: DrawnTimes, n_workers: int) -> _Foreseen:
    """Look at some rounds of all rows; ``loads`` has the shape ``(n_rows or 1, n_rounds)``."""
    n_rows, n_rounds = len(rows.source), loads.shape[1]
    seen = Looks(*(np.empty((n_rows, n_rounds)) for _ in Looks._fields))
    bits = np.empty((n_rounds, -(-n_workers // WORD), n_rows), dtype=np.uint64)
    for which, rounds in _chunks(n_rows, n_rounds, n_workers):
        shape = which.stop - which.start, rounds.stop - rounds.start
        own = (loads if len(loads) == 1 else loads[which])[:, rounds]
        part = drawn.of(rows.source[which], rounds)
        due_s = _arrivals(own[:, :, np.newaxis, np.newaxis], part, (*shape, n_workers, 1)).reshape(-1, n_workers, 1)
        rule = rows.rule.rows(np.repeat(np.arange(which.start, which.stop), shape[1]))
        look = looks(rule, due_s, due_s[:, :, 0], np.full(len(due_s), n_workers))
        for column, values in zip(seen, look, strict=True):
            column[which, rounds] = values.reshape(shape)
        sets = packed(due_s[:, :, 0] > look.look_s[:, np.newaxis])
        bits[rounds, :, which] = sets.reshape(-1, *shape).transpose(2, 0, 1)
    rule = rows.rule.rows(np.arange(n_rows)[:, np.newaxis])  # against rounds
    last_s = rule.acts_at(seen.last_s)
    ends_s = np.minimum(last_s, rule.limit_s)
    can_stop = (seen.look_s <= ends_s) & (seen.look_s < np.inf)
    may_end = (last_s <= ends_s) & (last_s < np.inf)
    if rule.waits_for == "enough":
        may_end &= seen.look_s > ends_s
    return _Foreseen(seen._replace(last_s=last_s), bits, can_stop.T.copy(), may_end.T.copy())


def _round_by_round(batch: RuleBatch, rows: Rows, times: Times, log: _Log) -> None:
    """Rounds of a scheme with memory, one after another in all rows together."""
    n_rounds = log.rounds.n_given.shape[1]
    loads = np.ascontiguousarray(batch.loads_of_all.T)
    for begin, many, drawn in _blocks(rows, times, n_rounds, batch.n_workers):
        part = log.part(begin, many)
        own = loads[:, begin : begin + many]
        seen = None
        if rows.rule.looks and not batch.rule.by_task:
            seen = _foreseen(own, rows, drawn, batch.n_workers)
        played = _Played.of(batch, many)
        for place in range(many):
            batch.open_round(begin + place)
            missing, forced, by_job = _one_round(batch, rows, drawn, place, seen, played, part.rounds)
            for job, status in batch.close_round(missing, forced, by_job):
                ended = np.flatnonzero(status)
                if len(ended):
                    log.status[ended, job] = status[ended]
                    log.squared_error[ended, job] = np.where(status[ended] == FAILED, np.nan, 0.0)
                    log.ended_in[ended, job] = log.first + begin + place
        if seen is not None:
            _note(seen, played, own, batch.n_workers, part.rounds)
            _take_off_lost(played.missing, own, rows, drawn, part.rounds)


class _Played(NamedTuple):
    """How some rounds went of what was foreseen; of shape ``(n_rounds, n_rows)``."""

    at_look: BoolArray  # the master stopped at its look
    as_foreseen: BoolArray  # or with the last report; otherwise the round was looked at again
    missing: Words  # at the look, where it stopped then; shape (n_rounds, n_words, n_rows)
    uploads: IntArray
    gradients: IntArray

    @classmethod
    def of(cls, batch: RuleBatch, n_rounds: int) -> _Played:
        shape = n_rounds, batch.n_rows
        missing = np.zeros((n_rounds, *batch.sets.nobody.shape), dtype=np.uint64)
        counts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        return cls(np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), missing, *counts)


def _one_round(
    batch: RuleBatch,
    rows: Rows,
    drawn: DrawnTimes,
    place: int,
    seen: _Foreseen | None,
    played: _Played,
    rounds: Rounds,
) -> tuple[Words, BoolArray | None, dict[int, Words] | None]:
    """Play the open round; return who was missing, where that was not enough, and what of each job was missing."""
    forced = by_job = None
    missing = played.missing[place]
    if seen is not None:
        at_look, as_foreseen = played.at_look[place], played.as_foreseen[place]
        usual, enough = batch.is_usual(), batch.permits(seen.missing[place])
        np.logical_and(seen.can_stop[place], usual, out=at_look)
        if rows.rule.waits_for == "nobody":
            forced = at_look & ~enough
        else:
            at_look &= enough
        np.logical_or(at_look, seen.may_end[place] & usual, out=as_foreseen)
        np.multiply(seen.missing[place], at_look, out=missing)
        played.uploads[place], played.gradients[place] = _sent(batch, missing)
        if as_foreseen.all():
            return missing, forced, None
        missing = missing.copy()
    others = np.flatnonzero(~played.as_foreseen[place])
    loads = batch.loads()
    part = drawn.of(rows.source[others], slice(place, place + 1))
    own, due_s = _due(batch, loads if len(loads) == 1 else loads[others], part, (len(others), 1))
    end = _ended(batch, own, due_s, rows.rule.rows(others), others)
    for column, values in zip(rounds, end.rounds, strict=True):
        column[others, place] = values
    missing[:, others] = packed(end.missing)
    if end.forced.any():
        forced = np.zeros(batch.n_rows, dtype=np.bool_) if forced is None else forced
        forced[others] = end.forced
    if batch.rule.by_task:  # then the others are all
        by_job = batch.missing_by_job(due_s, end.rounds.duration_s, others)
    return missing, forced, by_job


def _sent(batch: RuleBatch, missing: Words) -> tuple[IntArray, IntArray]:
    """Messages with gradients from those who are not missing, and these gradients; shape ``(n_rows,)`` each."""
    n_results = batch.rule.n_results()
    if n_results is not None and n_results.shape[1] > 1:
        sent = np.where(batch.sets.workers(missing), 0, n_results)
        return np.count_nonzero(sent, axis=1), sent.sum(axis=1)
    n_heard = batch.n_workers - size(missing)
    return (n_heard, n_heard) if n_results is None else (n_heard * (n_results[:, 0] > 0), n_heard * n_results[:, 0])


def _note(seen: _Foreseen, played: _Played, loads: FloatArray, n_workers: int, rounds: Rounds) -> None:
    """Note the rounds that went as foreseen; the load still as if nothing were lost."""
    look, at_look, stragglers = seen.looks, played.at_look.T, np.bitwise_count(played.missing).sum(axis=1).T
    stop_s = np.where(at_look, look.look_s, look.last_s)
    with np.errstate(invalid="ignore"):  # inf - inf, where it did not go so
        waited_s = np.maximum(0.0, stop_s - look.wanted_s)
    noted = Rounds(
        duration_s=stop_s,
        first_finish_s=np.where(look.first_finish_s <= stop_s, look.first_finish_s, np.nan),
        waited_s=waited_s,
        stragglers=stragglers,
        uploads=played.uploads.T,
        gradients=played.gradients.T.astype(np.float64),
        n_given=np.array(n_workers),
        load_done=n_workers * loads,
    )
    for column, values in zip(rounds, noted, strict=True):
        np.copyto(column, values, where=played.as_foreseen.T)


def _take_off_lost(missing: Words, loads: FloatArray, rows: Rows, drawn: DrawnTimes, rounds: Rounds) -> None:
    """Take off the load that these, who were missing at the look, had not done; ``loads`` as of :func:`_foreseen`."""
    n_rounds, n_words, n_rows = missing.shape
    many = max(1, BLOCK // (n_words * WORD * n_rows))
    for first in range(0, n_rounds, many):
        sets = missing[first : first + many]
        flat = sets.transpose(1, 0, 2).reshape(n_words, -1)
        at = np.repeat(np.arange(flat.shape[1]), size(flat))
        workers = np.flatnonzero(unpacked(flat, n_words * WORD)) - at * (n_words * WORD)
        index, row = np.divmod(at, n_rows)
        index += first
        load = loads[row if len(loads) > 1 else 0, index]
        startup_s, seconds_per_load, slowdown = drawn.at(rows.source[row], index, workers)
        with np.errstate(invalid="ignore"):  # inf * 0 where a worker never answers
            share = 1 - rounds.duration_s[row, index] / (slowdown * (startup_s + seconds_per_load * load))
        lost = np.bincount(at, load * np.where(np.isnan(share), 1.0, share), minlength=len(sets) * n_rows)
        rounds.load_done[:, first : first + len(sets)] -= lost.reshape(len(sets), n_rows).T
