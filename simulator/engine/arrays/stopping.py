"""Instants at which the master stops in rounds side by side, as `engine/waiting.py` finds them event by event."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from schemes.base.batch import Batch, at_most_missing_s
from simulator.engine.master_rules import MasterRule
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray, IntArray


class Looks(NamedTuple):
    """Rounds as the master sees them whatever is enough, shape ``(n,)`` each."""

    first_s: FloatArray  # the first report
    first_finish_s: FloatArray  # the first whole list
    last_s: FloatArray  # the last report
    wanted_s: FloatArray  # the instant that the rule names; inf: the master looks at every arrival
    look_s: FloatArray  # when it looks: not before the first report


def last_of(due_s: FloatArray) -> FloatArray:
    """Instants at which each worker has reported everything, shape ``(n, n_workers)``; -inf for who has no work."""
    return functools.reduce(np.maximum, np.moveaxis(due_s, 2, 0))  # eight times as fast as `max` along a short axis


def looks(rule: MasterRule, due_s: FloatArray, last_s: FloatArray, n_busy: IntArray) -> Looks:
    """Find when the master looks.

    Parameters
    ----------
    rule
        Whose numbers are arrays of shape ``(n,)``.
    due_s
        When each report is due, shape ``(n, n_workers, n_reports)``; -inf where there is none.
    last_s
        When each worker has reported everything, shape ``(n, n_workers)``.
    n_busy
        How many workers have work, shape ``(n,)``.
    """
    present = last_s if (n_busy == last_s.shape[1]).all() else np.where(last_s == -np.inf, np.inf, last_s)
    first_finish_s = first_s = np.asarray(present.min(axis=1))
    if due_s.shape[2] > 1:
        first_s = np.where(due_s[:, :, 0] == -np.inf, np.inf, due_s[:, :, 0]).min(axis=1)
    if first_s.min() < 0:
        raise SimulationError("completion times must be at least 0 s")
    rank = rule.reference_rank(n_busy)
    reference_s = first_finish_s
    if not isinstance(rank, int):
        reference_s = at_most_missing_s(present, present.shape[1] - rank)
    wanted_s = rule.wants_s(reference_s)
    if wanted_s is None:
        never = np.full(len(due_s), np.inf)
        return Looks(first_s, first_finish_s, np.asarray(last_s.max(axis=1)), never, never)
    wanted_s = rule.acts_at(np.broadcast_to(wanted_s, len(due_s)))
    too_early = (wanted_s < first_s) & (first_s < np.inf)
    look_s = np.where(too_early, rule.acts_at(first_s), wanted_s)
    return Looks(first_s, first_finish_s, np.asarray(last_s.max(axis=1)), wanted_s, look_s)


def stopped(
    batch: Batch, rule: MasterRule, look: Looks, due_s: FloatArray, n_busy: IntArray, rows: IntArray
) -> tuple[FloatArray, BoolArray]:
    """Return when the master stops, 0 where nobody has work; and where it does although it has not enough.

    Parameters
    ----------
    batch
        Says what is enough.
    rows
        Of which of its rows each is.

    The others are those of :func:`looks`.
    """
    forced = np.zeros(len(due_s), dtype=np.bool_)
    if not rule.looks:
        instant_s = rule.acts_at(np.maximum(batch.enough_s(due_s, rows), look.first_s))
    else:
        instant_s = look.look_s
        enough = batch.enough(due_s, look.look_s, rows)
        if rule.waits_for == "nobody":
            forced = ~enough
        elif not enough.all():
            instant_s = np.where(enough, look.look_s, np.inf)
            if rule.waits_for == "enough":
                which = np.flatnonzero(~enough)
                instant_s[which] = rule.rows(which).acts_at(batch.enough_s(due_s[which], rows[which]))
    # by the last report and the timeout at the latest
    everybody_s = rule.acts_at(look.last_s)
    ends_s = np.minimum(everybody_s, rule.limit_s)
    cut = ends_s < instant_s
    forced = forced & ~cut
    late = np.flatnonzero(cut & (ends_s < everybody_s) & (n_busy > 0))
    if len(late):
        forced[late] = ~batch.enough(due_s[late], ends_s[late], rows[late])
    instant_s = np.where(n_busy > 0, np.minimum(instant_s, ends_s), 0.0)
    if np.isinf(instant_s).any():
        raise SimulationError("no worker can answer any more, but the master waits for more responses")
    return instant_s, forced & (n_busy > 0)
