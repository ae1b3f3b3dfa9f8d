"""The vectorised engine: the semantics of the events engine on arrays over runs, rounds and workers.

A round needs no events where arrivals depend on nothing that happens in it: when the responses are enough is an order
statistic of the arrivals (the scheme's :class:`~schemes.base.batch.Batch` says which), and all that the master does
follows from a few instants. Runs go side by side, each a row, whatever trial, point or setting it is of.

Rounds of schemes without memory are rows, too. Of a scheme with memory, all rounds are looked at beforehand as if
everybody had the usual work; who is missing then is kept in bits, and on these it is decided, round by round, whether
that is enough. Only the rows that have to wait, or that turn out to have other work, are looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemes.base.batch import Batch, Closed, MemorylessBatch, RenewedBatch
from schemes.base.rule import APPROXIMATE, DECODED, FAILED, Rule
from simulator.engine.arrays.ended import due, ended
from simulator.engine.arrays.renewed import Further, renewed
from simulator.engine.arrays.round_by_round import round_by_round
from simulator.engine.arrays.rows import Log, Rounds, Rows, Times, blocks, chunks
from simulator.engine.arrays.rule_batch import RuleBatch
from simulator.engine.figures import Runs
from simulator.engine.master_rules import MasterRule
from simulator.engine.worker_times import DrawnTimes
from simulator.parameters import FloatArray, IntArray


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
    log = Log(len(rows.source), n_rounds, n_jobs)
    first = 0
    for batch in batches:
        part = log.part(first, batch.n_rounds)
        if isinstance(batch, Rule):
            round_by_round(RuleBatch(batch), rows, times, part)
        else:
            assert isinstance(batch, MemorylessBatch | RenewedBatch)
            _all_at_once(batch, rows, times, part)
        first += batch.n_rounds
    return log.runs(batches[0].n_workers, rows)


def _all_at_once(batch: MemorylessBatch | RenewedBatch, rows: Rows, times: Times, log: Log) -> None:
    """Rounds without memory, as many at a time as fit a cache."""
    n_rows, n_rounds = log.rounds.n_given.shape
    loads, further = batch.loads(), Further(times)
    for begin, many, drawn in blocks(rows, times, n_rounds, batch.n_workers):
        further.open(log.first + begin, many)
        for which, rounds in chunks(n_rows, many, batch.n_workers * loads.shape[2]):
            part = drawn.of(rows.source[which], rounds)
            own = loads if len(loads) == 1 else loads[which]
            shape = which.stop - which.start, rounds.stop - rounds.start
            each = np.repeat(np.arange(which.start, which.stop), shape[1])
            if isinstance(batch, RenewedBatch):
                closed, errors = renewed(batch, part, further, rows, which, rounds)
            else:
                closed, errors = _closed(batch, own, part, shape, rows.rule.rows(each), each)
            here = which, slice(begin + rounds.start, begin + rounds.stop)
            for column, values in zip(log.rounds, closed, strict=True):
                column[here] = np.broadcast_to(values, len(each)).reshape(shape)
            status = np.where(errors > 0, APPROXIMATE, DECODED)
            status[np.isnan(errors)] = FAILED
            log.status[here], log.squared_error[here] = status.reshape(shape), errors.reshape(shape)
    log.ended_in[:] = log.first + np.arange(n_rounds)


def _closed(
    batch: MemorylessBatch,
    loads: FloatArray,
    times: DrawnTimes,
    shape: tuple[int, int],
    rule: MasterRule,
    each: IntArray,
) -> tuple[Rounds, FloatArray]:
    """Rounds of rows (``shape``), flat: what is due when, when the master stops, and the errors of what it has then."""
    loads, due_s = due(batch, loads, times, shape)
    end = ended(batch, loads, due_s, rule, each)
    errors = batch.squared_errors(
        Closed(each, due_s, end.rounds.duration_s, end.missing, end.forced, rule.waits_for == "nobody")
    )
    return end.rounds, errors
