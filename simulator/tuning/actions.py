"""What can be done about workers besides coding: each action is a trace as it would have been after it."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from simulator.parameters import FloatArray, IntArray
from simulator.traces import naming
from simulator.traces.measures import SURE, median_worker_s, slow_workers
from straggler_models.base import WorkerTimes

Action = Literal["keep", "leave out", "replace"]
MOST_LEFT_OUT = 0.5  # of the workers
SIZES = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)  # of sets of slow workers, besides all of them


class Fleet(NamedTuple):
    """Workers after an action, with the times that they would have had."""

    action: Action
    workers: tuple[int, ...]
    """that are left out or replaced, the slowest first"""
    times: WorkerTimes
    n_workers: int
    names: Sequence[str] = ()
    """of all workers of the trace, where it has any"""

    @property
    def said(self) -> str:
        """The action in words."""
        return f"{self.action} {naming.workers(self.workers, self.names)}" if self.workers else ""

    def part(self, rounds: slice) -> "Fleet":
        """The same in some of the rounds."""
        return self._replace(times=WorkerTimes(*(part[rounds] for part in _parts(self.times, self.n_workers))))


def _parts(times: WorkerTimes, n_workers: int) -> list[FloatArray]:
    """The parts of worker times, all of the shape ``(n_rounds, n_workers)``."""
    shape = times.n_rounds, n_workers
    return [np.broadcast_to(np.asarray(part, dtype=np.float64), shape) for part in times]


def fleets(
    times: WorkerTimes, n_workers: int, seen: slice, failed: Sequence[int] = (), names: Sequence[str] = ()
) -> Iterator[Fleet]:
    """Yield what workers could be: as they are, then after each action that some rounds suggest.

    Slow workers (`simulator.traces.measures.slow_workers`), and after them those that failed, are left out, the slowest
    first, at most half of all; or replaced by usual ones.

    Parameters
    ----------
    times
        Of all rounds, shape ``(n_rounds, n_workers)``.
    seen
        The rounds that decide who is slow.
    failed
        Workers that failed slow in some of these rounds.
    names
        Of the workers, where the trace has any.

    Examples
    --------
    >>> times = WorkerTimes(0.0, np.tile([1.0, 1.0, 1.0, 5.0], (12, 1)))
    >>> [fleet.said for fleet in fleets(times, 4, slice(0, 12))]
    ['', 'leave out worker 3', 'replace worker 3']
    """
    parts = _parts(times, n_workers)
    whole = WorkerTimes(*parts)
    yield Fleet("keep", (), whole, n_workers, names=names)
    usual_s = at_equal_load_s(whole, 1 / n_workers)
    found = slow_workers(usual_s[seen])
    slow = np.array(list(dict.fromkeys([*found.workers.tolist(), *failed])), dtype=np.int64)
    slow = slow[: int(MOST_LEFT_OUT * n_workers)]
    for size in sorted({size for size in (*SIZES, len(slow)) if 0 < size <= len(slow)}):
        gone = slow[:size]
        left = WorkerTimes(*(np.delete(part, gone, axis=1) for part in parts))
        yield Fleet("leave out", tuple(gone.tolist()), left, n_workers - size, names=names)
        after = _replaced(parts, usual_s, gone, found.factors)
        yield Fleet("replace", tuple(gone.tolist()), after, n_workers, names=names)


def at_equal_load_s(times: WorkerTimes, load: float) -> FloatArray:
    """Completion times at a load, of the shape of the parts."""
    with np.errstate(invalid="ignore"):
        return np.asarray(times.slowdown * (times.startup_s + times.seconds_per_load * load))


def speeds_of(times: WorkerTimes, n_workers: int) -> list[float] | None:
    """Speeds from the workers' median times at the load of uncoded work, the fastest 1; None: they do not differ.

    Examples
    --------
    >>> speeds_of(WorkerTimes(0.0, np.tile([1.0, 2.0, 3.0], (12, 1))), 3)
    [1.0, 0.5, 0.3333]
    """
    usual_s = at_equal_load_s(WorkerTimes(*_parts(times, n_workers)), 1 / n_workers)
    median_s = np.median(usual_s, axis=0)
    if not _differ(usual_s) or not median_s.all():
        return None
    return [float(f"{speed:.4g}") for speed in median_s.min() / median_s]


def _differ(duration_s: FloatArray) -> bool:
    """Tell if some workers are faster than others (Friedman's test, 5 %)."""
    from scipy.special import chdtrc
    from scipy.stats import rankdata

    n_rounds, n_workers = duration_s.shape
    if n_workers < 2:
        return False
    ranks = rankdata(duration_s, axis=1)
    spread = ranks.var(axis=1, ddof=1).sum() / n_rounds  # n (n + 1) / 12 without ties
    if not spread:
        return False
    statistic = n_rounds * np.square(ranks.mean(axis=0) - (n_workers + 1) / 2).sum() / spread
    return bool(chdtrc(n_workers - 1, statistic) < SURE)


def _replaced(parts: Sequence[FloatArray], usual_s: FloatArray, gone: IntArray, factors: FloatArray) -> WorkerTimes:
    """Times if some workers were usual ones.

    A new worker is as much slower than the round's median worker as one of the others, whose median is the most usual,
    was half the trace away: so it is sometimes the slowest, and not together with that one.
    """
    others = np.setdiff1d(np.arange(len(factors)), gone)
    alike = others[np.argsort(np.abs(factors[others] - np.median(factors[others])), kind="stable")]
    model = alike[np.arange(len(gone)) % len(alike)]
    shift = len(usual_s) // 2
    median_s = median_worker_s(usual_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = median_s / np.roll(median_s, shift)
    level = np.where(np.isfinite(level), level, 1.0)[:, np.newaxis]
    parts = [part.copy() for part in parts]
    for part in parts:
        part[:, gone] = np.roll(part[:, model], shift, axis=0)
    startup_s, seconds_per_load, slowdown = parts
    if np.ptp(seconds_per_load) == 0 == np.ptp(slowdown):  # what differs adds: with load, nobody overtakes
        startup_s[:, gone] += (level - 1) * np.roll(usual_s[:, model], shift, axis=0) / slowdown[:, gone]
    else:
        slowdown[:, gone] *= level
    return WorkerTimes(startup_s, seconds_per_load, slowdown)
