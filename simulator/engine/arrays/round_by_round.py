"""Rounds of schemes with memory, one after another in all rows together.

All of a block are looked at beforehand as if everybody had the usual work; who is missing then is kept in bits, and on
these it is decided, round by round, whether that is enough. Only the rows that have to wait, or that turn out to have
other work, are looked at again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from schemes.base.rule import FAILED
from schemes.base.sets import WORD, Words, packed, size, unpacked
from simulator.engine.arrays.ended import arrivals, due, ended
from simulator.engine.arrays.rows import BLOCK, Log, Rounds, Rows, Times, blocks, chunks
from simulator.engine.arrays.rule_batch import RuleBatch
from simulator.engine.arrays.stopping import Looks, looks
from simulator.engine.worker_times import DrawnTimes
from simulator.parameters import BoolArray, FloatArray, IntArray


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
    for which, rounds in chunks(n_rows, n_rounds, n_workers):
        shape = which.stop - which.start, rounds.stop - rounds.start
        own = (loads if len(loads) == 1 else loads[which])[:, rounds]
        part = drawn.of(rows.source[which], rounds)
        due_s = arrivals(own[:, :, np.newaxis, np.newaxis], part, (*shape, n_workers, 1)).reshape(-1, n_workers, 1)
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


def round_by_round(batch: RuleBatch, rows: Rows, times: Times, log: Log) -> None:
    """Rounds of a scheme with memory, one after another in all rows together."""
    n_rounds = log.rounds.n_given.shape[1]
    loads = np.ascontiguousarray(batch.loads_of_all.T)
    for begin, many, drawn in blocks(rows, times, n_rounds, batch.n_workers):
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
    own, due_s = due(batch, loads if len(loads) == 1 else loads[others], part, (len(others), 1))
    end = ended(batch, own, due_s, rows.rule.rows(others), others)
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
        phases=np.array(1),
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
