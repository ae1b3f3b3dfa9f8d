"""Patterns of a trace: warm-up, periodic rounds, rounds that hit one host, fail-slows and episodes, rare long stalls.

Each is looked for in what those before it leave unexplained (how, and how often by mistake, documentation:
Reference, Traces).
"""

from typing import NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces import change_points
from simulator.traces.change_points import FailSlow
from simulator.traces.host_rounds import HostRounds, hit_times, host_rounds, together
from simulator.traces.measures import SLOWER, SURE, log_luck, median_worker_s

CLEAR = 2.0  # times as far from the usual round, in logs, as the slowest 5 % of rounds: a warm-up
LEAST = 3  # rounds of a period
LONGEST = 1000  # period
PERIODS = 3  # that are looked for
SURE_PERIOD = 0.01  # chance of a false alarm: the smaller one as rounds are compared with their neighbours
LONG = 3.0  # times the longest other time: a stall
RARE = 0.05  # stalls per round, at most, or 5 in all
TAIL = 100  # longest other times, which say how far apart such times are
LEAST_TAIL = 5


class Periodic(NamedTuple):
    """Rounds that are slow for most workers, and come again and again."""

    period: int
    """in rounds; in steps, where some between the rounds are missing"""
    in_a_row: int
    """rounds that are slow each time"""
    rounds: IntArray
    factor: float
    """times as long as usual, for the median worker of the median one of them"""


class Stall(NamedTuple):
    """A time far over all others."""

    worker: int
    round: int
    duration_s: float
    factor: float
    """times the round's median worker"""


class Patterns(NamedTuple):
    """Patterns of a trace, each with its rounds."""

    warm_up: int
    """first rounds that are slow as a whole"""
    warm_up_factor: float
    """times as long as usual, for the median worker of the median one of them"""
    periodic: tuple[Periodic, ...]
    hosts: tuple[HostRounds, ...]
    fail_slows: tuple[FailSlow, ...]
    """episodes, too"""
    stalls: tuple[Stall, ...]
    """longest first"""
    explained: BoolArray
    """times that belong to one of them, shape ``(n_rounds, n_workers)``"""


def patterns(
    duration_s: FloatArray, host: IntArray | None = None, steps: IntArray | None = None, *, is_sample: bool = False
) -> Patterns:
    """Find all patterns of a trace.

    Parameters
    ----------
    duration_s
        Seconds, shape ``(n_rounds, n_workers)``; ``inf``: never answered.
    host
        Number of the host of each worker in each round, shaped alike; None: not known, or of no use.
    steps
        Number of each round in the training; None: all follow each other.
    is_sample
        True: rounds are too far apart to say what comes again and again.
    """
    explained = np.zeros(duration_s.shape, dtype=np.bool_)
    median_s = median_worker_s(duration_s)
    level = _level(median_s)
    periodic = () if is_sample else periodic_rounds(level, steps)
    for one in periodic:
        explained[one.rounds] = True
        level[one.rounds] -= np.log(one.factor)
    warm_up = warm_up_rounds(level)
    explained[:warm_up] = True
    with np.errstate(all="ignore"):
        relative = np.where(duration_s == median_s[:, None], 1.0, duration_s / median_s[:, None])
    hosts = () if host is None else host_rounds(np.where(explained, 1.0, relative), host)
    of_hosts = np.zeros_like(explained) if host is None else hit_times(hosts, host)
    follows = None if steps is None or is_sample else np.diff(steps) == 1
    found = change_points.fail_slows(np.where(of_hosts, median_s[:, None], duration_s), follows)
    explained |= of_hosts | change_points.slow_rounds(found, *duration_s.shape)
    if host is not None:
        more, found = together(found, host, len(duration_s))
        hosts += more
    stalls = tuple(
        Stall(worker, row, float(duration_s[row, worker]), float(relative[row, worker]))
        for row, worker in stalled(relative, explained).tolist()
    )
    for stall in stalls:
        explained[stall.round, stall.worker] = True
    factor = float(np.exp(np.median(level[:warm_up]))) if warm_up else 1.0
    return Patterns(warm_up, factor, periodic, hosts, found, stalls, explained)


def _level(median_s: FloatArray) -> FloatArray:
    """Logarithm of each round's median worker over that of the usual round; 0 where that says nothing."""
    usual_s = median_s[(median_s > 0) & np.isfinite(median_s)]
    if not usual_s.size:
        return np.zeros(len(median_s))
    with np.errstate(all="ignore"):
        logs = np.log(median_s / np.median(usual_s))
    return np.clip(logs, -change_points.NEVER, change_points.NEVER)


def warm_up_rounds(level: FloatArray) -> int:
    """Count the first rounds that are much slower than usual.

    They take 1.2 times as long as the usual round, and are twice as far from it, in logs, as the slowest 5 % of later
    rounds, or farther if times drift. That so many of the slowest rounds come first has a chance of at most 5 %. They
    are at most a quarter of all.

    Parameters
    ----------
    level
        Logarithm of each round's time over the usual one, shape ``(n_rounds,)``.

    Examples
    --------
    >>> warm_up_rounds(np.log([5.0, 3.0, *[1.0, 1.1] * 20]))
    2
    """
    n_rounds = len(level)
    later = level[n_rounds // 4 :]
    limit = max(np.log(SLOWER), CLEAR * np.quantile(later, 0.95) * _drift(later))
    k = int(np.argmin(level > limit))
    if not 0 < k <= n_rounds // 4:
        return 0
    n_slow = np.count_nonzero(level >= level[:k].min())
    return k if log_luck(k, n_slow, n_rounds) <= np.log(SURE) else 0


def _drift(later: FloatArray) -> float:
    """How much farther off rounds may be before or after, if less than 20 of these are as good as independent."""
    from_mean = later - later.mean()
    sum_of_squares = float(from_mean @ from_mean)
    again = min(max(0.0, float(from_mean[1:] @ from_mean[:-1]) / sum_of_squares), 0.99) if sum_of_squares else 0.0
    return max(1.0, float(np.sqrt((1 + again) / (1 - again) / SURE / len(later))))


def periodic_rounds(level: FloatArray, steps: IntArray | None = None) -> tuple[Periodic, ...]:
    """Find rounds that are slow and come every p-th round, from some round to the end of the trace.

    A slow round takes 1.2 times as long as the faster one of its neighbours. Of all periods, phases and first rounds,
    those are taken that luck explains least: all of them slower than so many of all rounds; the chance of one false
    alarm is 1 % (Bonferroni) if those rounds are exchangeable.

    Parameters
    ----------
    level
        Logarithm of each round's time over the usual one, shape ``(n_rounds,)``.
    steps
        Number of each round in the training; None: all follow each other.

    Examples
    --------
    >>> level = np.zeros(60)
    >>> level[9::10] = np.log(2)
    >>> periodic_rounds(level)
    (Periodic(period=10, in_a_row=1, rounds=array([ 9, 19, 29, 39, 49, 59]), factor=2.0),)
    """
    padded = np.concatenate([level[1:2], level, level[-2:-1]])
    if len(padded) < len(level) + 2:  # a single round
        return ()
    faster = np.minimum(padded[:-2], padded[2:])
    excess = level - faster
    excess[excess <= np.log(SLOWER)] = -np.inf
    places = np.arange(len(level)) if steps is None else steps - steps[0]
    if (np.diff(places) < 1).any() or places[-1] > 4 * len(level):  # no numbers, or too far apart
        places = np.arange(len(level))
    found: list[Periodic] = []
    while len(found) < PERIODS and (best := _best_period(excess, places)):
        period, rounds = best
        usual = float(np.median(faster[rounds]))
        shifts = _in_a_row(level > usual + np.log(SLOWER), rounds, period)
        rounds = np.unique(rounds[:, None] + shifts)
        found.append(Periodic(period, len(shifts), rounds, float(np.exp(np.median(level[rounds]) - usual))))
        excess[rounds] = -np.inf
    return tuple(found)


def _in_a_row(is_slow: BoolArray, rounds: IntArray, period: int) -> IntArray:
    """Places, next to periodic rounds, that are slow each time, with 0 for these rounds themselves."""
    ends = [0, 0]
    for side, towards in enumerate((-1, 1)):
        for shift in range(towards, towards * period, towards):
            places = rounds + shift
            if (
                places[0] < 0
                or places[-1] >= len(is_slow)
                or not is_slow[places].all()
                or ends[1] - ends[0] > period - 3
            ):
                break
            ends[side] = shift
    return np.arange(ends[0], ends[1] + 1)


def _best_period(excess: FloatArray, places: IntArray) -> tuple[int, IntArray] | None:
    """Return the period and the rounds that luck explains least; None if it may explain them."""
    n_rounds, n_places = len(excess), int(places[-1]) + 1
    slow = np.sort(excess[excess > -np.inf])
    if len(slow) < LEAST:
        return None
    values, row = np.full(n_places, np.inf), np.full(n_places, -1)
    values[places], row[places] = excess, np.arange(n_rounds)
    best, where, n_tests = 0.0, None, 0
    for period in range(2, min(LONGEST, n_places // LEAST) + 1):
        filled = np.pad(values, (0, -n_places % period), constant_values=np.inf).reshape(-1, period)
        n_tests += n_places - (LEAST - 1) * period
        phases = np.flatnonzero((filled[-LEAST:] > -np.inf).all(axis=0))
        last_first = filled[::-1, phases]
        least = np.minimum.accumulate(last_first, axis=0)
        count = np.cumsum(last_first < np.inf, axis=0)
        is_slow = (count >= LEAST) & (least > -np.inf)
        if is_slow.any():
            n_slower = len(slow) - np.searchsorted(slow, least[is_slow])
            luck = log_luck(count[is_slow], n_slower, n_rounds)
            if luck.min() < best:
                line, column = (int(of[luck.argmin()]) for of in np.nonzero(is_slow))
                best, where = float(luck.min()), (period, int(phases[column]), len(filled) - 1 - line)
    if where is None or best > np.log(SURE_PERIOD / n_tests):
        return None
    period, phase, first = where
    rounds = row[phase + period * first :: period]
    return period, rounds[rounds >= 0]


def stalled(relative: FloatArray, explained: BoolArray) -> IntArray:
    """Find single times far over all others: round and worker of each, longest first.

    The shortest of them is three times as long as the longest other time, relative to the round's median worker, and
    further from it than the tail of the other times explains (Hill), with a chance of one false alarm of 5 %. They are
    rare, and no two of a worker are next to each other, which would be a burst; most have a round of their own.

    References
    ----------
    Normalised spacings of a Pareto tail are exponential: Hill, "A simple general approach to inference about the tail
    of a distribution", Annals of Statistics 1975.

    Examples
    --------
    >>> relative = np.tile(np.linspace(1.0, 1.1, 10), (50, 1))
    >>> relative[30, 4] = 12.0
    >>> stalled(relative, np.zeros((50, 10), dtype=bool)).tolist()
    [[30, 4]]
    """
    usable = ~explained & np.isfinite(relative) & (relative > 0)
    n_times = int(np.count_nonzero(usable))
    most = max(1, min(max(5, int(RARE * len(relative))), n_times // 100))
    n_tail = min(TAIL, n_times // 10)
    if n_tail < LEAST_TAIL:
        return np.zeros((0, 2), dtype=np.int64)
    values = np.where(usable, relative, 0.0).ravel()
    first = np.argpartition(-values, most + n_tail)[: most + n_tail + 1]
    longest = first[np.argsort(-values[first], kind="stable")]
    logs = np.log(values[longest])
    spacings = np.arange(1, len(logs)) * (logs[:-1] - logs[1:])
    for count in range(most, 0, -1):
        tail = float(spacings[count : count + n_tail].mean())
        gap = float(spacings[count - 1])
        is_sure = gap > tail * n_tail * ((SURE / most) ** (-1 / n_tail) - 1)
        rounds, workers = np.unravel_index(longest[:count], relative.shape)
        is_here = np.zeros(relative.shape, dtype=np.bool_)
        is_here[rounds, workers] = True
        is_single = not (is_here[1:] & is_here[:-1]).any() and len(np.unique(rounds)) >= 0.75 * count
        if is_sure and is_single and logs[count - 1] - logs[count] >= np.log(LONG):
            return np.stack([rounds, workers], axis=1)
    return np.zeros((0, 2), dtype=np.int64)
