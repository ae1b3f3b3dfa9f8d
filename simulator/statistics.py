"""Every interval, resampling of results and verdict of chance, for tables, figures and advice. Intervals are 95 %.

Tables have shape ``(rows, trials)``, NaN where a trial is missing.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from simulator.parameters import BoolArray, FloatArray, IntArray

TAIL = 0.025  # on each side of an interval
Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
# 97.5 % quantiles of Student's t for 1 to 30 trials: to import scipy takes longer than most comparisons
# fmt: off
T = np.array([
    math.nan, 12.706204736174694, 4.302652729749462, 3.1824463052837078, 2.7764451051977934, 2.5705818356363146,
    2.4469118511449786, 2.364624251592784, 2.306004135204166, 2.262157162798205, 2.228138851986274, 2.200985160091639,
    2.1788128296672284, 2.1603686564627913, 2.144786687917804, 2.131449545559776, 2.1199052992212546,
    2.1098155778333156, 2.1009220402410382, 2.0930240544083087, 2.085963447265864, 2.0796138447276795,
    2.0738730679040254, 2.0686576104190486, 2.0638985616280245, 2.0595385527532972, 2.0555294386428735,
    2.0518305164802846, 2.0484071417952454, 2.045229642132703,
])
# fmt: on
N_BLOCK_RESAMPLES = 500  # of rounds, which are simulated one by one
TIE = 1e-9  # relative; engines agree to this, so that a difference within it is rounding


def half_width(deviation: ArrayLike, n_trials: ArrayLike) -> FloatArray:
    """Half width of the interval of a mean: t(0.975, n - 1) sd / sqrt(n), Student's t; NaN for a single trial.

    Examples
    --------
    >>> half_width([2.0, 2.0], [4, 1]).round(3)
    array([3.182,   nan])
    """
    n = np.asarray(n_trials, dtype=np.int64)
    if n.max(initial=0) <= len(T):
        t = T[np.maximum(n, 1) - 1]
    else:
        from scipy.special import stdtrit

        t = stdtrit(n - 1.0, 1 - TAIL)
    with np.errstate(divide="ignore", invalid="ignore"):  # of single trials, and of what has diverged
        return np.asarray(t * np.asarray(deviation) / np.sqrt(n))


def mean_and_half_width(table: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Mean over trials, half width of its interval, number of trials, of each row.

    Examples
    --------
    >>> [column.round(3).tolist() for column in mean_and_half_width(np.array([[1.0, 3.0], [5.0, np.nan]]))]
    [[2.0, 5.0], [12.706, nan], [2, 1]]
    """
    n_trials = np.count_nonzero(~np.isnan(table), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN is the answer where trials are too few
        mean = np.nansum(table, axis=1) / n_trials
        variance = np.nansum((table - mean[:, None]) ** 2, axis=1) / (n_trials - 1)
    return mean, half_width(np.sqrt(variance), n_trials), n_trials


def wilson(share: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Score interval of a share p of n: (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n).

    References
    ----------
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.

    Examples
    --------
    >>> [end.round(3).tolist() for end in wilson([0.5, 0.0], 10)]
    [[0.237, 0.0], [0.763, 0.278]]
    """
    p, n = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    # exactly 0 and 1 at the ends, where rounding leaves a little
    return np.where(p == 0, 0.0, middle - half), np.where(p == 1, 1.0, middle + half)


def quantile(values: FloatArray, share: float) -> float:
    """Interpolate between order statistics, as numpy does, but also where some values are infinite.

    Examples
    --------
    >>> quantile(np.array([1.0, 2.0, np.inf]), 0.5), quantile(np.array([1.0, 2.0, np.inf]), 0.75)
    (2.0, inf)
    """
    ordered = np.sort(values, axis=None)
    place = share * (ordered.size - 1)
    low = int(place)
    below, above = float(ordered[low]), float(ordered[min(low + 1, ordered.size - 1)])
    return below if place == low or below == above else below + (place - low) * (above - below)


def percentile_interval(resampled: FloatArray, tail: float = TAIL) -> tuple[FloatArray, FloatArray]:
    """Bootstrap interval: quantiles over resamples, along the last axis, with this share beyond either end.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Examples
    --------
    >>> [float(end) for end in percentile_interval(np.arange(201.0))]
    [5.0, 195.0]
    """
    low, high = np.quantile(resampled, (tail, 1 - tail), axis=-1)
    return low, high


def interval_of_change(values: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Interval of mean(values) / mean(reference) - 1, paired by trial; NaN where that of mean(reference) reaches 0.

    It holds the ratios r for which the interval of the mean of values - r reference (Student's t) contains 0; so it
    contains 0 if and only if the interval of the mean difference does.

    References
    ----------
    Fieller, "Some Problems in Interval Estimation", Journal of the Royal Statistical Society B 1954.

    Examples
    --------
    >>> reference = np.array([[9.0, 10.0, 11.0]])
    >>> [end.round(3).tolist() for end in interval_of_change(0.5 * reference + [[0.0, 0.3, 0.0]], reference)]
    [[-0.534], [-0.445]]
    """
    both = ~(np.isnan(values) | np.isnan(reference))
    x, y = np.where(both, values, np.nan), np.where(both, reference, np.nan)
    (x_mean, _, n_trials), (y_mean, y_half, _) = mean_and_half_width(x), mean_and_half_width(y)
    with np.errstate(divide="ignore", invalid="ignore"):  # no trial in common, or nothing to divide by
        ratio = x_mean / y_mean
        rest, y_rest = x - ratio[:, None] * y, y - y_mean[:, None]  # the first of mean 0, but for rounding
        scale = half_width(1.0, n_trials) ** 2 / (n_trials - 1)
        of_rest, of_both = (scale * np.nansum(rest * other, axis=1) for other in (rest, y_rest))
        square = np.where(y_mean > y_half, y_mean**2 - y_half**2, np.nan)
        root = np.sqrt(of_both**2 + square * of_rest)
        return ratio - 1 - (of_both + root) / square, ratio - 1 - (of_both - root) / square


def is_tie(values: FloatArray, reference: FloatArray) -> BoolArray:
    """Equality but for rounding: within ``TIE``, relative to the reference.

    Examples
    --------
    >>> is_tie(np.array([2.0 + 1e-13, 2.1]), np.array([2.0, 2.0]))
    array([ True, False])
    """
    return np.asarray((values == reference) | (np.abs(values - reference) <= TIE * np.abs(reference)))


def is_tied(table: FloatArray, reference: FloatArray) -> BoolArray:
    """Rows that have the same trials as their reference, and tie in every one.

    Examples
    --------
    >>> is_tied(np.array([[1.0, 2.0], [1.0, 2.1], [1.0, np.nan]]), np.array([[1.0, 2.0]]))
    array([ True, False, False])
    """
    return np.asarray((is_tie(table, reference) | (np.isnan(table) & np.isnan(reference))).all(axis=1))


def is_undecided(cost: FloatArray, best: FloatArray) -> BoolArray:
    """Rows that may be as good as the best: the interval of the paired mean difference reaches 0, and they do not tie.

    Parameters
    ----------
    cost
        Less is better.
    best
        The best row beside each row, which may be that row itself.

    Examples
    --------
    >>> best = np.array([[1.0, 2.0, 3.0]])
    >>> is_undecided(np.concatenate([best, best + [[0.2, -0.1, 0.1]], best + 0.1]), best.repeat(3, axis=0))
    array([False,  True, False])
    """
    more, half, _ = mean_and_half_width(cost - best)
    rounding = TIE * np.abs(mean_and_half_width(best)[0])
    return np.asarray((more - half <= rounding) & ~is_tied(cost, best))


def block_resamples(n_measured: int, n_rounds: int) -> IntArray:
    """Circular block bootstrap: which measured round is met in each round, shape ``(N_BLOCK_RESAMPLES, n_rounds)``.

    Blocks are of ceil(cbrt(n)) rounds, so that bursts survive and resamples still differ. Each resample is as long as
    what was measured, replayed cyclically: how sure a figure is depends on how much was measured, not on how many
    jobs are run. The draw is the same in every call.

    References
    ----------
    Politis and Romano, "A Circular Block-Resampling Procedure for Stationary Data", 1992.

    Examples
    --------
    >>> block_resamples(8, 10).shape, (np.diff(block_resamples(8, 2)) % 8 == 1).all().item()
    ((500, 10), True)
    """
    rng = np.random.default_rng(0)
    length = _block_rounds(n_measured)
    starts = rng.integers(n_measured, size=(N_BLOCK_RESAMPLES, -(-n_measured // length), 1))
    drawn = ((starts + np.arange(length)) % n_measured).reshape(N_BLOCK_RESAMPLES, -1)[:, :n_measured]
    return np.asarray(drawn[:, np.arange(n_rounds) % n_measured])


def _block_rounds(n_measured: int) -> int:
    return int(np.ceil(np.cbrt(n_measured)))


def expanded_tail(n_measured: int) -> float:
    """Share of block resamples beyond either end of an interval: 2.5 % of many rounds, less of few.

    The expanded percentile interval: Student's t with as many degrees of freedom as blocks, less one, in place of the
    normal distribution.

    References
    ----------
    Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015.

    Examples
    --------
    >>> round(expanded_tail(8), 4), round(expanded_tail(100_000), 4)
    (0.0001, 0.0249)
    """
    from scipy.special import ndtr, stdtrit

    n_blocks = -(-n_measured // _block_rounds(n_measured))
    return float(ndtr(-stdtrit(n_blocks - 1, 1 - TAIL) * math.sqrt(n_blocks / (n_blocks - 1))))
