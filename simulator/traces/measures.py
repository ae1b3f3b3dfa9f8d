"""Measures of a trace: who straggles, how often in a row, who with whom, and what a load costs.

Plain functions of arrays: ``duration_s`` of shape ``(n_rounds, n_workers)``, in seconds, ``inf`` for a worker that
never answered. What each means, documentation: Reference, Traces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from simulator.choices import Reference
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.statistics import quantile, wilson

OUTLIER = 10.0  # times the median of a trace, from where on a time is an outlier
SLOWER = 1.2  # times the median worker of the round, from where on a worker was slow in it
SURE = 0.05  # chance of one false alarm among all workers of a trace


class Times(NamedTuple):
    """The times of a trace, in seconds; quantiles count an infinite time as the longest."""

    min_s: float
    median_s: float
    mean_s: float
    """of the times that are finite"""
    p95_s: float
    p99_s: float
    max_s: float
    never_answered: int
    """infinite times"""


def times(duration_s: FloatArray) -> Times:
    """Summarise all times of a trace.

    Examples
    --------
    >>> times(np.array([[1.0, 2.0], [3.0, np.inf]]))[:3]
    (1.0, 2.5, 2.0)
    """
    answered_s = duration_s[np.isfinite(duration_s)]
    return Times(
        float(duration_s.min()),
        quantile(duration_s, 0.5),
        float(answered_s.mean()) if answered_s.size else np.inf,
        quantile(duration_s, 0.95),
        quantile(duration_s, 0.99),
        float(duration_s.max()),
        duration_s.size - answered_s.size,
    )


class Outliers(NamedTuple):
    """Finite times far from all others."""

    over_s: float
    """seconds, from where on a time is counted"""
    n_times: int
    n_rounds: int
    """rounds in which there is one"""
    share: float
    """of the sum of all finite times"""


def outliers(duration_s: FloatArray, over_s: float | None = None) -> Outliers:
    """Count the times over ``over_s`` seconds, by default ten times the median of the trace.

    Examples
    --------
    >>> outliers(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 15.0]]))
    Outliers(over_s=10.0, n_times=1, n_rounds=1, share=0.75)
    """
    if over_s is None:
        over_s = OUTLIER * quantile(duration_s, 0.5)
    is_finite = np.isfinite(duration_s)
    is_out = is_finite & (duration_s > over_s)
    total_s = float(duration_s[is_finite].sum())
    share = float(duration_s[is_out].sum()) / total_s if total_s else 0.0
    return Outliers(over_s, int(np.count_nonzero(is_out)), int(np.count_nonzero(is_out.any(axis=1))), share)


def median_worker_s(duration_s: FloatArray) -> FloatArray:
    """Return when each round's median worker is done, shape ``(n_rounds,)``: the ceil(n / 2)-th, as in the mu-rule.

    Examples
    --------
    >>> median_worker_s(np.array([[4.0, 1.0, 3.0, 2.0]]))
    array([2.])
    """
    place = (duration_s.shape[1] - 1) // 2
    middle: FloatArray = np.partition(duration_s, place, axis=1)[:, place]
    return middle


def stragglers(duration_s: FloatArray, mu: float = 1.0, reference: Reference = "first") -> BoolArray:
    """Say who takes more than 1 + mu times as long as the first or the median worker of the round.

    A worker that never answered straggles, also where the reference did not answer either.

    Returns
    -------
    stragglers : array, shape (n_rounds, n_workers)

    References
    ----------
    The mu-rule of Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding For Straggler Mitigation", ICLR 2023.

    Examples
    --------
    >>> stragglers(np.array([[1.0, 2.0, 2.1], [1.0, 1.5, np.inf]]))
    array([[False, False,  True],
           [False, False,  True]])
    """
    reference_s = duration_s.min(axis=1) if reference == "first" else median_worker_s(duration_s)
    with np.errstate(over="ignore"):
        is_late: BoolArray = (duration_s > (1 + mu) * reference_s[:, None]) | np.isinf(duration_s)
    return is_late


def burst_lengths(is_straggler: BoolArray, follows: BoolArray | None = None) -> IntArray:
    """Lengths of all maximal runs of rounds in which a worker straggles, in rounds, worker by worker.

    Runs cut by an end of the trace, or by a gap in it, count with the length seen.

    Parameters
    ----------
    is_straggler
        Shape ``(n_rounds, n_workers)``.
    follows
        True where the next round is the next step, shape ``(n_rounds - 1,)``; None: everywhere.

    Examples
    --------
    >>> burst_lengths(np.array([[True, False], [True, True], [False, False], [True, False]]))
    array([2, 1, 1])
    """
    if follows is not None:
        is_straggler = np.insert(is_straggler, np.flatnonzero(~follows) + 1, values=False, axis=0)
    padded = np.pad(is_straggler.T.astype(np.int64), ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)
    lengths: IntArray = np.nonzero(steps == -1)[1] - np.nonzero(steps == 1)[1]
    return lengths


def expected_bursts(rate: float, n_rounds: int, n_workers: int) -> FloatArray:
    """Mean number of bursts of each length 1, ..., n_rounds, if every worker straggled at random in every round.

    Examples
    --------
    >>> expected_bursts(0.5, n_rounds=2, n_workers=4)  # of the patterns 00, 01, 10, 11
    array([2., 1.])
    """
    lengths = np.arange(1, n_rounds + 1)
    at_the_ends = 2 * rate**lengths * (1 - rate)
    inside = (n_rounds - lengths - 1) * rate**lengths * (1 - rate) ** 2
    expected: FloatArray = n_workers * np.where(lengths == n_rounds, rate**lengths, at_the_ends + inside)
    return expected


class Memory(NamedTuple):
    """Tendency of the workers that straggle now to straggle next."""

    p_again: float
    """P(straggle | straggled in the round before)"""
    low: float
    """lower end of its 95 % interval"""
    high: float
    """upper end"""
    at_random: float
    """what it would be if each round's stragglers were drawn at random among all workers"""
    at_own_rates: float
    """what it would be if each worker's rounds were shuffled: workers keep their own rates, bursts are lost"""
    n_pairs: int
    """stragglers that had a next round"""

    @property
    def repeats(self) -> bool:
        """True if the same workers straggle again more often than by chance."""
        return self.low > self.at_random

    @property
    def is_bursty(self) -> bool:
        """True if they do so more often than because some workers straggle more often than others."""
        return self.low > max(self.at_random, self.at_own_rates)


def memory(
    is_straggler: BoolArray, follows: BoolArray | None = None, left_out: BoolArray | None = None
) -> Memory | None:
    """Estimate P(straggle | straggled in the round before), and set it against two kinds of chance.

    The interval is Wilson's, for the number of pairs divided by Kish's design effect: pairs of one worker, or of one
    round, are not independent.

    Parameters
    ----------
    is_straggler
        Shape ``(n_rounds, n_workers)``.
    follows
        True where the next round is the next step, shape ``(n_rounds - 1,)``; None: everywhere.
    left_out
        Times that are as if they were not known, shaped like ``is_straggler``; None: there are none.

    Returns
    -------
    memory
        None where no straggler has a next round.

    Examples
    --------
    >>> memory(np.array([[True, False], [True, False], [False, True], [False, False]]))[:1]
    (0.3333333333333333,)
    """
    is_known = np.ones(is_straggler.shape, dtype=np.bool_) if left_out is None else ~left_out
    is_pair = is_known[:-1] & is_known[1:]
    if follows is not None:
        is_pair &= follows[:, None]
    before, after = is_straggler[:-1] & is_pair, is_straggler[1:] & is_pair
    n_pairs = int(np.count_nonzero(before))
    if n_pairs == 0:
        return None
    again = before & after
    p_again = int(np.count_nonzero(again)) / n_pairs
    first, second, both = (of.sum(axis=1, dtype=np.int64) for of in (before, after, is_pair))
    at_random = float((first * second / np.maximum(both, 1)).sum()) / n_pairs
    # with k of n rounds straggling, in any order, k / n of a worker's pairs begin with one, and a share of
    # (k - 1) / (n - 1) of these end with one, too
    k, n = (is_straggler & is_known).sum(axis=0), is_known.sum(axis=0)
    begin = is_pair.sum(axis=0) * k / np.maximum(n, 1)
    at_own_rates = float(begin @ ((k - 1) / np.maximum(n - 1, 1)) / begin.sum())
    effect = max(1.0, *(_design_effect(again, before, p_again, axis) for axis in (0, 1)))
    low, high = map(float, wilson(p_again, n_pairs / effect))
    return Memory(p_again, low, high, at_random, at_own_rates, n_pairs)


def _design_effect(again: BoolArray, before: BoolArray, share: float, axis: int) -> float:
    """Return the variance of a share over the binomial one, which it exceeds as a worker or round has many pairs."""
    residuals = again.sum(axis=axis) - share * before.sum(axis=axis)
    n_groups, n_pairs = len(residuals), np.count_nonzero(before)
    if n_groups < 2 or share in (0.0, 1.0):
        return 1.0
    return float((residuals**2).sum() * n_groups / (n_groups - 1) / (n_pairs * share * (1 - share)))


class Dispersion(NamedTuple):
    """Variation of the number of stragglers from round to round."""

    ratio: float
    """variance of the number per round over that of a binomial number; NaN if nobody or everybody straggles"""
    critical: float
    """what independent workers exceed with a chance of 2.5 %; NaN for a single round"""
    median_count: float
    """stragglers in the median round"""
    max_count: int
    """stragglers in the round with most of them"""
    max_round: int
    """the first such round"""

    @property
    def hits_together(self) -> bool:
        """True if some rounds slow many workers at once."""
        return self.ratio > self.critical


def dispersion(is_straggler: BoolArray) -> Dispersion:
    """Compare the variance of the number of stragglers per round with n p (1 - p).

    References
    ----------
    Fisher's index of dispersion: for a binomial number, (n_rounds - 1) times the ratio is about chi-square with
    n_rounds - 1 degrees of freedom.

    Examples
    --------
    >>> dispersion(np.array([[True, True], [False, False]])).ratio  # variance 2 over 2 x 1/2 x 1/2
    4.0
    """
    from scipy.special import chdtri

    n_rounds, n_workers = is_straggler.shape
    counts = is_straggler.sum(axis=1)
    rate = float(is_straggler.mean())
    binomial = n_workers * rate * (1 - rate)
    known = n_rounds > 1 and binomial > 0
    return Dispersion(
        float(counts.var(ddof=1)) / binomial if known else np.nan,
        float(chdtri(n_rounds - 1, 0.025)) / (n_rounds - 1) if n_rounds > 1 else np.nan,
        float(np.median(counts)),
        int(counts.max()),
        int(counts.argmax()),
    )


class SlowWorkers(NamedTuple):
    """Workers that are slow all the time."""

    factors: FloatArray
    """each worker's time over that of the round's median worker, in its median round, shape ``(n_workers,)``"""
    workers: IntArray
    """those that are persistently slow, the slowest first"""


def slow_workers(duration_s: FloatArray) -> SlowWorkers:
    """Find persistently slow workers.

    These take more than 1.2 times as long as the round's median worker in more than half of the rounds, and more often
    than luck explains: with a binomial number of such rounds, at the rate of all workers together, the chance of one
    false alarm is 5 % (Bonferroni).

    Examples
    --------
    >>> slow_workers(np.array([[1.0, 2.0, 1.0, 1.1]] * 8)).workers
    array([1])
    """
    from scipy.special import bdtrc

    n_rounds, n_workers = duration_s.shape
    median_s = median_worker_s(duration_s)[:, None]
    with np.errstate(all="ignore"):
        relative = np.where(duration_s == median_s, 1.0, duration_s / median_s)  # also where both are 0 or inf
    is_slow = relative > SLOWER
    n_slow = is_slow.sum(axis=0)
    luck = np.where(n_slow > 0, bdtrc(np.maximum(n_slow - 1, 0), n_rounds, is_slow.mean()), 1.0)
    factors = np.array([quantile(column, 0.5) for column in relative.T])
    found = np.flatnonzero((2 * n_slow > n_rounds) & (luck < SURE / n_workers))
    return SlowWorkers(factors, found[np.argsort(-factors[found], kind="stable")])


def log_luck(count: ArrayLike, n_slow: ArrayLike, n_rounds: int) -> FloatArray:
    """Logarithm of the chance that ``count`` given rounds are all among the ``n_slow`` slow ones of all rounds.

    Examples
    --------
    >>> np.exp(log_luck(2, 3, 10)).round(4)  # 3 / 10 x 2 / 9
    np.float64(0.0667)
    """
    from scipy.special import gammaln

    given: FloatArray = np.asarray(count, dtype=np.float64)
    slow = np.maximum(np.asarray(n_slow, dtype=np.float64), given)
    chance: FloatArray = (
        gammaln(slow + 1) - gammaln(slow - given + 1) - gammaln(n_rounds + 1) + gammaln(n_rounds - given + 1)
    )
    return chance


class LoadSlope(NamedTuple):
    """Cost of load, over traces at several loads; a load of 1 is all data of a job."""

    slope_s: float
    """least squares over all finite times, seconds per load; outliers can make it negative"""
    intercept_s: float
    """of the same line, seconds"""
    slope_of_medians: float
    """least squares over the median of each trace, seconds per load; outliers do not matter to it"""
    seconds_per_load: float
    """the slope of medians, or 0 if that is negative: what a scenario can use"""


def load_slope(durations_s: Sequence[FloatArray], loads: Sequence[float]) -> LoadSlope:
    """Fit duration = intercept + slope x load.

    Parameters
    ----------
    durations_s
        The times of each trace, in seconds; infinite ones are left out.
    loads
        The load at which each was measured.

    Raises
    ------
    ValueError
        If there are fewer than two different loads, or a trace without a response.

    Examples
    --------
    >>> load_slope([np.array([[1.0, 1.0, 1.0]]), np.array([[1.5, 1.5, 3.0]])], [0.0, 0.5])
    LoadSlope(slope_s=2.0, intercept_s=1.0, slope_of_medians=1.0, seconds_per_load=1.0)
    """
    if len(set(loads)) < 2:
        raise ValueError(f"loads must be at least two different numbers, got {list(loads)}")
    answered = [duration_s[np.isfinite(duration_s)] for duration_s in durations_s]
    if not all(times_s.size for times_s in answered):
        raise ValueError("durations_s must have at least one finite time for each load, got none")
    each = np.repeat(np.asarray(loads, dtype=np.float64), [times_s.size for times_s in answered])
    slope_s, intercept_s = _line(each, np.concatenate(answered))
    of_medians, _ = _line(np.asarray(loads, dtype=np.float64), np.array([np.median(times_s) for times_s in answered]))
    return LoadSlope(slope_s, intercept_s, of_medians, max(0.0, of_medians))


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and intercept by least squares."""
    from_mean = x - x.mean()
    slope = float(from_mean @ (y - y.mean()) / (from_mean @ from_mean))
    return slope, float(y.mean() - slope * x.mean())
