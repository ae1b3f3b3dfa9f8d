"""Do workers wait for each other? Then their times are not their own, and say little of who is slow."""

from typing import NamedTuple

import numpy as np

from simulator.parameters import FloatArray

LEAST_ROUNDS = 5
WARM_UP = 1.5  # times the usual round, for which the first rounds of a trace are left out
CLOSE, TOGETHER = 0.7, 0.5  # below this q and above this rho, workers wait for each other
EQUAL = 0.002  # of the median: so little between the workers of a round is nothing, or waiting
NORMAL_IQR = 1.349  # standard deviations between the quartiles of a normal distribution


class Alike(NamedTuple):
    """How much the times of a round's workers are like each other."""

    q: float  # spread within rounds, over the spread of the rounds' medians
    rho: float  # mean rank correlation of two workers over rounds; NaN: there are no two whose times vary
    spread: float  # median range within rounds, over the median time


def alike(duration_s: FloatArray) -> Alike | None:
    """Compare the workers of each round; None: there are too few of them, or of rounds in which all answered.

    Slow first rounds are left out.

    Examples
    --------
    >>> alike(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [5.0, 5.0], [6.0, 6.0]]))
    Alike(q=0.0, rho=1.0, spread=0.0)
    """
    duration_s = duration_s[np.isfinite(duration_s).all(axis=1)]
    medians_s = np.median(duration_s, axis=1)
    if len(medians_s):
        duration_s = duration_s[int(np.argmax(medians_s <= WARM_UP * np.median(medians_s))) :]
    if len(duration_s) < LEAST_ROUNDS or duration_s.shape[1] < 2:
        return None
    duration_s = duration_s / max(float(duration_s.max()), np.finfo(np.float64).tiny)  # so that squares are numbers
    low_s, middle_s, high_s = np.quantile(np.median(duration_s, axis=1), (0.25, 0.5, 0.75))
    within_s = np.sqrt(np.median(duration_s.var(axis=1, ddof=1)))
    with np.errstate(divide="ignore", invalid="ignore"):  # all rounds, or all times, are equal
        q = within_s * NORMAL_IQR / (high_s - low_s)
        spread = np.median(np.ptp(duration_s, axis=1)) / middle_s
    return Alike(float(q), mean_rank_correlation(duration_s), float(spread))


def waiting(duration_s: FloatArray) -> str | None:
    """Say why times seem to contain waiting for others, if they do, and what to measure instead."""
    found = alike(duration_s)
    if found is None:
        return None
    if found.spread < EQUAL:
        why = f"are all but equal (the median range is {100 * found.spread:.2g} % of the median)"
    elif found.q < CLOSE and found.rho > TOGETHER:
        why = f"rise and fall together (q = {found.q:.2f}, rank correlation {found.rho:.2f})"
    else:
        return None
    return (
        f"times of a round {why}, as if they contained waiting for the slowest rank; record own work (documentation: "
        "How-to, Record own work)"
    )


def mean_rank_correlation(duration_s: FloatArray) -> float:
    """Mean of Spearman's correlation over all pairs of workers whose times vary; NaN: there is no such pair.

    With z the ranks of a worker over rounds, of mean 0 and variance 1, and s their sum over m workers, the variance
    of s is the sum of all correlations, of which m are those of workers with themselves, 1 each: the mean of the
    others is (var(s) - m) / (m (m - 1)). Equal times have the mean of their ranks.

    Parameters
    ----------
    duration_s
        Shape ``(n_rounds, n_workers)``.

    Examples
    --------
    >>> mean_rank_correlation(np.array([[1.0, 2.0, 9.0], [2.0, 5.0, 5.0], [4.0, 6.0, 1.0]])).__round__(4)
    -0.3333
    """
    ranks = _ranks(duration_s)
    deviations = ranks.std(axis=0)
    varies = deviations > 0
    m = int(np.count_nonzero(varies))
    if m < 2:
        return float("nan")
    z = (ranks[:, varies] - ranks[:, varies].mean(axis=0)) / deviations[varies]
    return float((z.sum(axis=1).var() - m) / (m * (m - 1)))


def _ranks(values: FloatArray) -> FloatArray:
    """The rank of each value in its column, from 0; equal ones have the mean of theirs."""
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    differs = np.diff(ordered, axis=0) != 0
    edge = np.ones((1, values.shape[1]), dtype=np.bool_)
    place = np.arange(len(values), dtype=np.float64)[:, np.newaxis]
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs]), place, -np.inf), axis=0)
    last = np.minimum.accumulate(np.where(np.concatenate([differs, edge]), place, np.inf)[::-1], axis=0)[::-1]
    ranks = np.empty_like(first)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=0)
    return ranks
