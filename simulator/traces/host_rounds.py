"""Rounds of a trace that hit one host: nearly all of its workers are slow, and few others."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.change_points import FailSlow
from simulator.traces.measures import SLOWER, SURE, log_luck

NEARLY = 0.9  # share of a host's workers that are as good as all
THRESHOLDS = (SLOWER, 1.5, 2.0, 4.0)  # times the round's median worker, from where on a host's workers are slow
ALIKE = 0.8  # share of the rounds of either of two fail-slows that are those of both


class HostRounds(NamedTuple):
    """Rounds in which nearly all workers of a host are slow, and few others."""

    host: int
    """its place among the hosts"""
    rounds: IntArray
    factor: float
    """times the round's median worker, for the median one of their times"""
    n_workers: int
    """workers on the host, in the first of these rounds"""


def host_rounds(relative: FloatArray, host: IntArray) -> tuple[HostRounds, ...]:
    """Find rounds in which nearly all workers of a host are slow and few others, for each host.

    How often that happens by luck is the larger one of two numbers: for slow workers of each round drawn at random, and
    for workers that are slow at their own rates. The runs of such rounds must be more than a Poisson number explains,
    with a chance of one false alarm of 5 % over all hosts and thresholds. A host slow in more than half of the rounds
    is no such.

    Parameters
    ----------
    relative
        Times over those of the round's median worker, shape ``(n_rounds, n_workers)``.
    host
        Number of the host of each, shaped alike.

    Examples
    --------
    >>> relative = np.ones((50, 16))
    >>> relative[20:22, 4:8] = 5.0
    >>> [(hit.host, hit.rounds.tolist()) for hit in host_rounds(relative, np.tile(np.arange(16) // 4, (50, 1)))]
    [(1, [20, 21])]
    """
    n_hosts = int(host.max()) + 1
    found: dict[int, tuple[float, IntArray]] = {}
    is_often = np.zeros(n_hosts, dtype=np.bool_)
    for threshold in THRESHOLDS:
        is_hit, expected = _hits(relative > threshold, host, n_hosts)
        is_often |= 2 * is_hit.sum(axis=0) > len(is_hit)
        for number, chance in zip(*_luck_of_hosts(is_hit, expected), strict=True):
            if chance < min(SURE / (n_hosts * len(THRESHOLDS)), found.get(number, (1.0,))[0]):
                found[number] = chance, np.flatnonzero(is_hit[:, number])
    return tuple(
        HostRounds(
            number,
            rounds,
            float(np.median(relative[rounds][host[rounds] == number])),
            int(np.count_nonzero(host[rounds[0]] == number)),
        )
        for number, (_, rounds) in sorted(found.items())
        if not is_often[number]
    )


def _hits(is_slow: BoolArray, host: IntArray, n_hosts: int) -> tuple[BoolArray, FloatArray]:
    """Hosts that are hit in each round, shape ``(n_rounds, n_hosts)``, and how often each would be by luck."""
    from scipy.special import gammaln

    n_rounds, n_workers = is_slow.shape
    place = (host + n_hosts * np.arange(n_rounds)[:, None]).ravel()

    def per_host(values: FloatArray | BoolArray) -> FloatArray:
        return np.bincount(place, values.ravel(), n_rounds * n_hosts).reshape(n_rounds, n_hosts).astype(np.float64)

    n_on, n_slow = per_host(np.ones(is_slow.shape)), per_host(is_slow)
    needed, slow_in_all = np.ceil(NEARLY * n_on), is_slow.sum(axis=1, dtype=np.float64)[:, None]
    others = n_workers - n_on
    is_new = np.ones((n_rounds, 1), dtype=np.bool_)  # whoever stays slow has been drawn before
    is_new[1:, 0] = (is_slow[1:] != is_slow[:-1]).any(axis=1)
    is_hit = (n_on > 1) & (n_slow >= needed) & (slow_in_all - n_slow <= (1 - NEARLY) * others) & (others > 1)
    with np.errstate(all="ignore"):
        rates = np.log(np.broadcast_to(is_slow.mean(axis=0), is_slow.shape))
        at_own_rates = per_host(rates) * needed / n_on
        ways = gammaln(n_on + 1) - gammaln(needed + 1) - gammaln(n_on - needed + 1)
        drawn = np.where((slow_in_all < needed) | ~is_new, -np.inf, log_luck(needed, slow_in_all, n_workers))
        chances = (np.where(n_on > 1, np.exp(np.minimum(0.0, ways + logs)), 0.0) for logs in (drawn, at_own_rates))
    return is_hit, np.maximum(*(chance.sum(axis=0) for chance in chances))


def _luck_of_hosts(is_hit: BoolArray, expected: FloatArray) -> tuple[list[int], list[float]]:
    """Hosts that are hit in some rounds, and the chance of so many runs of them by luck."""
    from scipy.special import gammainc

    n_runs = (np.diff(is_hit.astype(np.int64), axis=0, prepend=0) == 1).sum(axis=0)
    hosts = np.flatnonzero(n_runs)
    return hosts.tolist(), gammainc(n_runs[hosts], expected[hosts]).tolist()  # of a Poisson number


def hit_times(hits: Sequence[HostRounds], host: IntArray) -> BoolArray:
    """Mark the times of hosts in the rounds that hit them, shaped like ``host``."""
    is_hit = np.zeros(host.shape, dtype=np.bool_)
    for hit in hits:
        is_hit[hit.rounds] |= host[hit.rounds] == hit.host
    return is_hit


def together(
    found: Sequence[FailSlow], host: IntArray, n_rounds: int
) -> tuple[tuple[HostRounds, ...], tuple[FailSlow, ...]]:
    """Take fail-slows, or episodes, of nearly all workers of a host in the same rounds for one of the host.

    Returns
    -------
    hits
        Those of hosts.
    rest
        Those of workers.

    Examples
    --------
    >>> found = [FailSlow(worker, onset=10, end=30, factor=3.0) for worker in (0, 4, 5)]
    >>> (hit,), rest = together(found, np.tile([0, 0, 0, 1, 2, 2], (40, 1)), 40)
    >>> hit.host, hit.rounds[[0, -1]].tolist(), [of.worker for of in rest]
    (2, [10, 29], [0])
    """
    hits: list[HostRounds] = []
    rest = list(found)
    for of in found:
        number = host[of.onset, of.worker]
        here = np.flatnonzero((host[of.onset : of.end] == number).all(axis=0))
        alike = [one for one in rest if one.worker in here and _overlap(one, of) >= ALIKE]
        if of in alike and len(here) > 1 and len(alike) >= NEARLY * len(here):
            onset, end = (int(np.median([one[place] for one in alike])) for place in (1, 2))
            factor = float(np.median([one.factor for one in alike]))
            hits.append(HostRounds(int(number), np.arange(onset, end), factor, len(here)))
            rest = [one for one in rest if one not in alike]
    return tuple(hits), tuple(rest)


def _overlap(one: FailSlow, other: FailSlow) -> float:
    shared = min(one.end, other.end) - max(one.onset, other.onset)
    return shared / (max(one.end, other.end) - min(one.onset, other.onset))
