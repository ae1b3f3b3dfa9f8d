"""Seconds in which workers are at work: what a run costs, beside how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.parameters import FloatArray

if TYPE_CHECKING:
    from simulator.engine.events import ClosedRound


def worker_seconds(closed: ClosedRound) -> float:
    """Seconds in which workers were at work from the start of a round until the next one begins, summed over workers.

    A worker is at work from when it takes up a list (start-up included) until it is done with it, drops it because the
    session says so, or, where unfinished lists are dropped, until the master stops the round. What never ends is
    dropped then, too. Sending, waiting for the master and the overheads are no work.
    """
    until_s = closed.stop_s if closed.is_cut_off else closed.end_s - closed.start_s
    ends_s = _ends_s(closed.finish_s, closed.stop_s)
    for worker, when_s in closed.dropped_s.items():
        ends_s[worker] = min(ends_s[worker], when_s)
    ends_s = np.maximum(ends_s, closed.through_s)
    seconds = float((np.minimum(ends_s, until_s) - np.minimum(closed.idle_until_s, until_s)).sum())
    waits_until_s = np.minimum(closed.begin_s, ends_s)  # for what is on its way
    seconds -= float((np.minimum(waits_until_s, until_s) - np.minimum(closed.through_s, until_s)).sum())
    for given in closed.given:
        end_s = min(given.cut_s, float(_ends_s(np.array([given.finish_s]), closed.stop_s)[0]), until_s)
        seconds += max(0.0, end_s - given.begin_s)
    return seconds


def _ends_s(finish_s: FloatArray, stop_s: float) -> FloatArray:
    """When lists end, from the times of their reports, shape ``(n, n_reports)``; -inf where there is no list."""
    last_s = np.where(np.isfinite(finish_s), finish_s, -np.inf).max(axis=1)
    return np.asarray(np.where((finish_s == np.inf).any(axis=1), np.maximum(last_s, stop_s), last_s))
