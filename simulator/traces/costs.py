"""Costs of stragglers, where every round waits for its slowest worker: how much, and who causes it.

A function of an array ``duration_s`` of shape ``(n_rounds, n_workers)``; a worker that never answered (``inf``) counts
as the longest finite time of the trace, so that what it costs is a lower bound. Formulas,
documentation: Reference, Traces.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.statistics import TIE, block_resamples, expanded_tail, percentile_interval
from simulator.traces.measures import SURE, median_worker_s

WORST = 5  # workers and hosts of which it is said what they cause
SLOWEST = (1, 2, 3, 5, 10)  # so many of each round
LEAST_ROUNDS = 10  # for an interval
LEAST = 1e-300  # of the longest time of a trace, which is next to nothing
DRAWS = 500  # of deals of workers to hosts, and of shifts
MOST_ROUNDS = 4096  # that are drawn one by one; of more, neighbours are taken together
HOURS = 1000 / 3600  # worker-hours per 1 000 rounds, of worker-seconds per round


class Estimate(NamedTuple):
    """A figure and its 95 % confidence interval, NaN where there are too few rounds for one."""

    value: float
    low: float
    high: float


class Saving(NamedTuple):
    """Share of the time of all rounds that would be saved, if some workers had been as their round's median worker."""

    kind: str
    """worker, host, slow (workers that are slow all the time), slowest (of each round) or all (that are slower)"""
    number: int
    """of the worker or host; how many workers"""
    share: Estimate


class Costs(NamedTuple):
    """Costs of waiting for the slowest worker of each round."""

    over_median: Estimate
    """slowest over median worker, mean over rounds in which that took any time"""
    over_mean: Estimate
    """slowest worker over the mean of all, likewise"""
    waiting: Estimate
    """share of all workers' time that they wait for the slowest of their round"""
    worker_hours: Estimate
    """the same in hours, per 1 000 rounds"""
    savings: tuple[Saving, ...]
    """worst workers first, then worst hosts, then by number"""
    host_luck: float | None
    """chance that the worst host saves as much if workers are dealt to the hosts at random; None: there are no hosts"""
    half: tuple[int, ...]
    """the fewest rounds in which half is lost of what all that are slower than the median worker cost; longest first"""

    def saved(self, kind: str, number: int | None = None) -> Saving | None:
        """Return the first, and so the largest, saving of a kind; None if there is none."""
        of_kind = (saving for saving in self.savings if saving.kind == kind and number in (None, saving.number))
        return next(of_kind, None)


def costs(duration_s: FloatArray, slow: IntArray | None = None, host: IntArray | None = None) -> Costs | None:
    """Estimate what stragglers cost; None where no worker answered after any time.

    Parameters
    ----------
    duration_s
        Shape ``(n_rounds, n_workers)``.
    slow
        Workers that are slow all the time; what they cause together is said if they are several.
    host
        Number of the host of each worker in each round, shaped like ``duration_s``.

    Examples
    --------
    >>> found = costs(np.array([[1.0, 2.0, 4.0], [1.0, 5.0, 3.0]]))  # rounds of 4 and 5 s
    >>> [found.over_median.value.__round__(3), found.waiting.value.__round__(3)]
    [1.833, 0.407]
    >>> [(saving.kind, saving.number, saving.share.value.__round__(3)) for saving in found.savings]
    [('worker', 1, 0.222), ('worker', 2, 0.222), ('slowest', 1, 0.444), ('all', 1, 0.444)]
    """
    longest_s = float(np.max(duration_s, where=np.isfinite(duration_s), initial=0.0))
    if not longest_s:
        return None
    times = np.minimum(duration_s, longest_s) / longest_s  # so that sums are numbers
    ordered = np.sort(times, axis=1)
    slowest, median, mean = ordered[:, -1], ordered[:, (times.shape[1] - 1) // 2], times.mean(axis=1)
    found = [(kind, number, _pooled(saved)) for kind, number, saved in _savings(times, ordered, slow, host)]
    total, wait = _pooled(slowest), _pooled(slowest - mean)
    took_time = median > 0, mean > 0
    with np.errstate(all="ignore"):  # a time may be next to nothing, as compared with another
        over = [np.where(took, slowest / usual, 0.0) for took, usual in zip(took_time, (median, mean), strict=True)]
        columns = [
            *((_pooled(ratio), _pooled(took)) for ratio, took in zip(over, took_time, strict=True)),
            (wait, total),
            (longest_s * times.shape[1] * HOURS * wait, _pooled(np.ones(len(times)))),
            *((saved, total) for _, _, saved in found),
        ]
        over_median, over_mean, waiting, worker_hours, *shares = _estimates(columns)
    savings = (Saving(kind, number, share) for (kind, number, _), share in zip(found, shares, strict=True))
    luck = None if host is None else _host_luck(times, host)
    return Costs(over_median, over_mean, waiting, worker_hours, tuple(savings), luck, _half(slowest - median))


def _half(lost: FloatArray) -> tuple[int, ...]:
    longest_first = np.argsort(-lost, kind="stable")
    so_far = np.cumsum(lost[longest_first])
    return tuple(longest_first[: int(np.searchsorted(so_far, so_far[-1] / 2)) + 1].tolist())


def _savings(
    times: FloatArray, ordered: FloatArray, slow: IntArray | None, host: IntArray | None
) -> Iterator[tuple[str, int, FloatArray]]:
    """Yield kind, number and what is saved in each round; of workers and hosts, those that save most."""
    n_workers = times.shape[1]
    middle = (n_workers - 1) // 2
    slowest, median = ordered[:, -1], ordered[:, middle]
    worker = times.argmax(axis=1)
    # without its slowest worker a round ends with the next one, which is no faster than the median
    yield from _worst("worker", worker, slowest - ordered[:, max(n_workers - 2, 0)])
    if host is not None:
        causer = host[np.arange(len(times)), worker]
        rest = np.max(times, axis=1, where=host != causer[:, None], initial=0.0)
        yield from _worst("host", causer, slowest - np.maximum(rest, median))
    if slow is not None and len(slow) > 1:
        rest = np.delete(times, slow, axis=1).max(axis=1, initial=0.0)
        yield "slow", len(slow), slowest - np.maximum(rest, median)
    n_slower = n_workers - 1 - middle
    for k in SLOWEST:
        if k <= n_slower:
            yield "slowest", k, slowest - ordered[:, -1 - k]
    yield "all", n_slower, slowest - median


def _worst(kind: str, causer: IntArray, saved: FloatArray) -> Iterator[tuple[str, int, FloatArray]]:
    """Yield those whom most would be saved by; in a round, only who causes its end saves anything."""
    totals = np.bincount(causer, weights=saved)
    for number in np.argsort(-totals, kind="stable")[:WORST].tolist():
        if totals[number] > 0:
            yield kind, number, np.where(causer == number, saved, 0.0)


def _host_luck(times: FloatArray, host: IntArray) -> float:
    """Chance that the worst host saves as much as it does, if workers are dealt to the places on hosts at random.

    Workers keep their rounds, so that they may differ for good, and their slow rounds may be together. Of many rounds,
    those in which most is lost are looked at. Few workers have few deals: if none saves more, it is the chance that it
    saves as much beyond what each of its workers alone does, if their rounds are shifted against each other.
    """
    n_rounds, n_workers = times.shape
    n_hosts = int(host.max()) + 1
    # nobody saves anything beyond the median worker, or once all of its host are passed over
    depth = min(n_workers // 2, int(np.bincount((host + n_hosts * np.arange(n_rounds)[:, None]).ravel()).max()))
    slowest_first, lost = _slowest_first(times, depth)
    most = np.argsort(-lost[:, -1], kind="stable")[:MOST_ROUNDS]
    rows, rng = most[:, None], np.random.default_rng(0)
    own = _worst_host(host[rows, slowest_first[most]], lost[most])
    deals = (rng.permutation(n_workers)[slowest_first[most]] for _ in range(DRAWS))
    dealt = np.array([_worst_host(host[rows, dealt], lost[most]) for dealt in deals])
    luck = _share_of_as_much(dealt, own)
    median = median_worker_s(times)
    some = np.flatnonzero(median > LEAST)[:MOST_ROUNDS]
    if luck <= SURE or dealt.max() > own * (1 + TIE) or not len(some) or not depth:
        return luck
    times, host = times[some] / median[some, None], host[some]  # no round is slow as a whole
    rows, columns = np.arange(len(times))[:, None], np.arange(n_workers)

    def shifted(by: IntArray) -> float:
        slowest_first, lost = _slowest_first(times[(rows + by) % len(times), columns], depth)
        return _worst_host(host[rows, slowest_first], lost - lost[:, [1]])

    shifts = [shifted(rng.integers(len(times), size=(n_workers,))) for _ in range(DRAWS)]
    return _share_of_as_much(np.array(shifts), shifted(np.zeros(n_workers, dtype=np.int64)))


def _slowest_first(times: FloatArray, depth: int) -> tuple[IntArray, FloatArray]:
    """Return the slowest workers of each round, and how much sooner each ends than the first of them."""
    slowest_first = np.argsort(-times, axis=1, kind="stable")[:, : depth + 1]
    ordered = np.take_along_axis(times, slowest_first, axis=1)
    return slowest_first, ordered[:, :1] - ordered


def _worst_host(of: IntArray, lost: FloatArray) -> float:
    """Return what the worst host costs, where the slowest workers of each round are ``of`` these hosts."""
    is_other = of != of[:, :1]
    is_other[:, -1] = True
    return float(np.bincount(of[:, 0], weights=lost[np.arange(len(of)), is_other.argmax(axis=1)]).max())


def _share_of_as_much(drawn: FloatArray, own: float) -> float:
    return float((1 + np.count_nonzero(drawn >= own * (1 - TIE))) / (1 + len(drawn)))


def _pooled(values: FloatArray | BoolArray) -> FloatArray:
    """Sums over neighbouring rounds, where there are too many to draw them one by one."""
    together = -(-len(values) // MOST_ROUNDS)
    return np.asarray(np.add.reduceat(values, np.arange(0, len(values), together), dtype=np.float64))


def _estimates(columns: Sequence[tuple[FloatArray, FloatArray]]) -> list[Estimate]:
    """Estimate sum over rounds / sum over rounds for each pair; intervals are from resampled blocks of rounds."""
    above, below = (np.stack(side, axis=1) for side in zip(*columns, strict=True))
    values = above.sum(axis=0) / below.sum(axis=0)
    low = high = np.full(len(columns), np.nan)
    n_rounds = len(above)
    if n_rounds >= LEAST_ROUNDS:
        drawn = block_resamples(n_rounds, n_rounds)
        places = drawn + n_rounds * np.arange(len(drawn))[:, None]
        counts = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        low, high = percentile_interval((counts @ above / (counts @ below)).T, expanded_tail(n_rounds))
    return [Estimate(*map(float, of)) for of in zip(values, low, high, strict=True)]
