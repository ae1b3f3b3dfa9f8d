"""Rounds side by side, from what is due when to what the master had when it stopped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from schemes.base.batch import Batch
from simulator.engine.arrays.rows import Rounds
from simulator.engine.arrays.stopping import last_of, looks, stopped
from simulator.engine.master_rules import MasterRule
from simulator.engine.sharing_out import shared_out
from simulator.engine.worker_times import DrawnTimes
from simulator.parameters import BoolArray, FloatArray, IntArray


class Ended(NamedTuple):
    """Rounds as they ended, and who was missing."""

    rounds: Rounds
    missing: BoolArray  # shape (n, n_workers)
    forced: BoolArray


def ended(
    batch: Batch,
    loads: FloatArray,
    due_s: FloatArray,
    rule: MasterRule,
    each: IntArray,
    finish_s: FloatArray | None = None,
) -> Ended:
    """When the master stops, and what there is then, from what is due when.

    Parameters
    ----------
    each
        Of which row each round is.
    finish_s
        When each worker has done the list on which the rule may depend, shape ``(n, n_workers)``; None: all its work.
    """
    last_s = last_of(due_s)
    busy = ~np.isnan(loads[:, :, 0])
    n_busy = np.broadcast_to(np.count_nonzero(busy, axis=1), len(due_s))
    look = looks(rule, due_s, last_s if finish_s is None else finish_s, n_busy)
    if finish_s is not None:
        look = look._replace(last_s=last_s.max(axis=1))
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
        phases=np.ones_like(stragglers),
    )
    return Ended(rounds, missing, forced)


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
        uploads = np.where(asked, np.count_nonzero(batch.uploaders(due_s, stop_s, each), axis=1), 0)
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


def due(batch: Batch, loads: FloatArray, times: DrawnTimes, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
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
    due_s = arrivals(loads[:, np.newaxis], times, (*shape, *loads.shape[1:])).reshape(-1, *loads.shape[1:])
    idle = np.isnan(loads)
    if len(loads) > 1 and shape[1] > 1:
        loads, idle = np.repeat(loads, shape[1], axis=0), np.repeat(idle, shape[1], axis=0)
    if idle.any():
        due_s[np.broadcast_to(idle, due_s.shape)] = -np.inf
    return loads, due_s


def arrivals(loads: FloatArray, times: DrawnTimes, shape: tuple[int, ...]) -> FloatArray:
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
