"""Rounds in which workers begin anew as soon as they have responded, side by side: sums of fresh times."""

from __future__ import annotations

import itertools

import numpy as np

from schemes.base.batch import RenewedBatch
from simulator.engine.arrays.ended import arrivals, ended
from simulator.engine.arrays.rows import Rounds, Rows, Times
from simulator.engine.worker_times import DrawnTimes
from simulator.errors import SimulationError
from simulator.parameters import FloatArray, IntArray


class Further:
    """Worker times of further work in a block of rounds, drawn where somebody needs them."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._streams: dict[int, tuple[int, Times]] = {}
        self._drawn: dict[int, DrawnTimes] = {}

    def open(self, begin: int, n_rounds: int) -> None:
        """Go to a block."""
        self._begin, self._n_rounds = begin, n_rounds
        self._drawn.clear()

    def of(self, k: int, sources: IntArray, rounds: slice) -> DrawnTimes:
        """Worker times of everybody's k-th further list, in some rounds of the block."""
        if k not in self._drawn:
            at, stream = self._streams.get(k) or (0, self._times.again(k))
            if at < self._begin:
                stream.take(self._begin - at)
            self._drawn[k] = stream.take(self._n_rounds)
            self._streams[k] = self._begin + self._n_rounds, stream
        return self._drawn[k].of(sources, rounds)


def renewed(
    batch: RenewedBatch,
    times: DrawnTimes,
    further: Further,
    rows: Rows,
    which: slice,
    rounds: slice,
) -> tuple[Rounds, FloatArray]:
    """Rounds as they ended, and the errors of what the master had then."""
    shape = which.stop - which.start, rounds.stop - rounds.start
    each = np.repeat(np.arange(which.start, which.stop), shape[1])
    rule = rows.rule.rows(each)
    due_s = _lists(batch, times, further, rows.source[which], rounds, shape, each, rule.limit_s)
    end = ended(batch, _loads(batch, due_s), due_s, rule, each, finish_s=due_s[:, :, 0])
    begins_s = np.concatenate([np.full((*due_s.shape[:2], 1), -np.inf), due_s[:, :, :-1]], axis=2)
    too_late = (begins_s >= end.rounds.duration_s[:, np.newaxis, np.newaxis]) & (due_s > -np.inf)
    if too_late.any():  # the master stopped before there was enough, when these had not been given out
        due_s[too_late] = -np.inf
        end = ended(batch, _loads(batch, due_s), due_s, rule, each, finish_s=due_s[:, :, 0])
    in_order, n_come, phases = _results(due_s, end.rounds.duration_s)
    return end.rounds._replace(phases=phases), batch.squared_errors(in_order, n_come, each)


def _loads(batch: RenewedBatch, due_s: FloatArray) -> FloatArray:
    """Cumulative loads, shape of ``due_s``: a worker's lists in a round are as one that it reports piece by piece."""
    return np.where(due_s == -np.inf, np.nan, batch.load * np.arange(1, due_s.shape[2] + 1))


def _lists(
    batch: RenewedBatch,
    times: DrawnTimes,
    further: Further,
    sources: IntArray,
    rounds: slice,
    shape: tuple[int, int],
    each: IntArray,
    limit_s: FloatArray,
) -> FloatArray:
    """When each worker's lists are done, shape ``(n, n_workers, n_lists)``; -inf: not given out.

    None is given out once there is enough, or the time is over (``limit_s``).
    """
    loads = np.full((1, 1, 1, 1), batch.load)
    full = (*shape, batch.n_workers, 1)
    lists = [arrivals(loads, times, full).reshape(-1, batch.n_workers)]
    if min(lists[0].min(initial=0.0), 0.0) < 0:
        raise SimulationError("completion times must be at least 0 s")
    while True:
        due_s = np.stack(lists, axis=2)
        enough_s = np.minimum(batch.enough_s(due_s, each), limit_s)
        goes_on = (lists[-1] < enough_s[:, np.newaxis]) & (lists[-1] > -np.inf)
        if not goes_on.any():
            break
        more = arrivals(loads, further.of(len(lists), sources, rounds), full).reshape(-1, batch.n_workers)
        lists.append(np.where(goes_on, lists[-1] + np.where(goes_on, more, 0.0), -np.inf))
    # a list that was given out before it was known that enough would have come sooner
    for before, after in itertools.pairwise(lists):
        after[(before >= enough_s[:, np.newaxis]) | (before == -np.inf)] = -np.inf
    while len(lists) > 1 and (lists[-1] == -np.inf).all():
        lists.pop()
    return np.stack(lists, axis=2)


def _results(due_s: FloatArray, stop_s: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
    """Results in the order in which they come, how many have come when the master stops, and the phases."""
    n, n_workers, _ = due_s.shape
    flat = due_s.transpose(0, 2, 1).reshape(n, -1)  # of those that come at once, first lists are first
    flat = np.where(flat == -np.inf, np.inf, flat)
    order = np.argsort(flat, axis=1, kind="stable")
    in_order = np.take_along_axis(flat, order, axis=1)
    n_come = np.count_nonzero(in_order <= stop_s[:, np.newaxis], axis=1)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    # a list is given out when its worker's one before is done
    firsts = np.broadcast_to(np.arange(n_workers), (n, n_workers))
    given = np.concatenate([firsts, n_workers + places[:, :-n_workers]], axis=1)
    was_given = due_s.transpose(0, 2, 1).reshape(n, -1)[:, n_workers:] > -np.inf
    begins_s = np.sort(np.where(was_given, flat[:, :-n_workers], -1.0), axis=1)
    phases = 1 + np.count_nonzero(np.diff(begins_s, axis=1, prepend=-1.0) > 0, axis=1)
    return np.take_along_axis(given, order, axis=1), n_come, phases
