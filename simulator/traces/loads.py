"""Times at several loads: whether a line goes through them, and how more load changes the times of slow workers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulator.parameters import FloatArray

LEAST_LOADS = 3  # of different loads, for a check of fit
BENT = 0.05  # relative miss of a line, from where on a curve may be asked for
SURE = 0.05  # chance that a curve is asked for where the medians lie on a line, but for what is normal
ALIKE = 0.01  # load effects whose errors differ by less predict as well
ERRORS = 3.0  # standard errors that a miss must exceed
PLACES = (0.9, 1.0)  # of workers in a round, in the order of arrival: the slow ones, and the slowest
ROUNDS = (0.5, 0.9)  # quantiles over rounds of when these arrive


class Curve(NamedTuple):
    """Medians over loads: the line of `seconds_per_load`, and a quadratic."""

    loads: FloatArray
    """different ones, in order"""
    medians_s: FloatArray
    line_miss: FloatArray
    """of the least-squares line at each load, relative to the median"""
    quadratic: FloatArray
    """coefficients of 1, load and its square, by relative least squares"""
    quadratic_miss: FloatArray
    power: float
    """p of time = a x load^p, least squares of logarithms over loads above 0; NaN with fewer than two"""
    is_off: bool
    """True if the line misses a median by over 5 % and three of its standard errors"""
    is_bent: bool
    """True if the data ask for the quadratic"""

    def at(self, load: FloatArray | float) -> FloatArray:
        """Seconds by the quadratic."""
        return np.asarray(np.polynomial.polynomial.polyval(load, self.quadratic))

    @property
    def slopes_s(self) -> FloatArray:
        """Seconds per load between each two loads that follow each other."""
        return np.diff(self.medians_s) / np.diff(self.loads)

    @property
    def first(self) -> int:
        """The place of the least load above 0."""
        return int(np.argmax(self.loads > 0))

    @property
    def most_s(self) -> float:
        """Seconds per load of which the time at the least load above 0 is made, if all of it is work."""
        return float(self.medians_s[self.first] / self.loads[self.first])

    @property
    def usable_s(self) -> float:
        """The slope from the least load above 0 to the next, or less: the usual time is not negative at any load."""
        return float(np.clip(self.slopes_s[min(self.first, len(self.slopes_s) - 1)], 0.0, self.most_s))


def curve(durations_s: Sequence[FloatArray], loads: Sequence[float]) -> Curve | None:
    """Check whether medians lie on a line; None for fewer than three loads, or if a median is 0.

    The data ask for a quadratic if the line misses a median by over 5 % and three of its standard errors, an F test of
    relative residuals is sure (5 %; of four loads or more), and the quadratic rises from load to load.

    Examples
    --------
    >>> found = curve([np.full((9, 3), 1 + load**2) for load in (0.0, 0.5, 1.0, 2.0)], [0.0, 0.5, 1.0, 2.0])
    >>> found.is_bent, found.quadratic.round(9).tolist()
    (True, [1.0, 0.0, 1.0])
    """
    from scipy.special import fdtrc

    together = {
        load: [d for d, at in zip(durations_s, loads, strict=True) if at == load] for load in sorted(set(loads))
    }
    each = [np.concatenate([d[np.isfinite(d)] for d in of]) for of in together.values()]
    x, medians_s = np.array(list(together)), np.array([np.median(times_s) for times_s in each])
    if len(x) < LEAST_LOADS or not (medians_s > 0).all():
        return None
    line = np.polynomial.polynomial.polyfit(x, medians_s, 1)
    fits = [np.polynomial.polynomial.polyfit(x, medians_s, degree, w=1 / medians_s) for degree in (1, 2)]
    of_line, of_both = (np.polynomial.polynomial.polyval(x, fit) / medians_s - 1 for fit in (line, fits[1]))
    residuals = [float(((np.polynomial.polynomial.polyval(x, fit) / medians_s - 1) ** 2).sum()) for fit in fits]
    spare = len(x) - 3
    by_chance = 1.0  # a quadratic goes through any three
    if spare:
        by_chance = float(fdtrc(1, spare, (residuals[0] - residuals[1]) / max(residuals[1] / spare, 1e-18)))
    powers = np.polynomial.polynomial.polyvander(x, 1)
    shares = np.eye(len(x)) - powers @ np.linalg.pinv(powers)  # of each median in each miss
    errors = np.sqrt(shares**2 @ np.array([_error_of_median(of) for of in together.values()]) ** 2) / medians_s
    is_off = bool((np.abs(of_line) > np.maximum(BENT, ERRORS * errors)).any())
    rises = bool((np.diff(np.polynomial.polynomial.polyval(np.linspace(x[0], x[-1], 101), fits[1])) >= 0).all())
    positive = x > 0
    power = np.nan
    if np.count_nonzero(positive) > 1:
        power = float(np.polynomial.polynomial.polyfit(np.log(x[positive]), np.log(medians_s[positive]), 1)[1])
    return Curve(x, medians_s, of_line, fits[1], of_both, power, is_off, is_off and by_chance < SURE and rises)


def _error_of_median(durations_s: Sequence[FloatArray]) -> float:
    """Standard error of a median, from those of rounds."""
    of_rounds = np.concatenate(
        [np.median(np.where(np.isfinite(d), d, d[np.isfinite(d)].max()), axis=1) for d in durations_s]
    )
    spread_s = float(np.subtract(*np.quantile(of_rounds, [0.75, 0.25]))) / 1.349
    return float(1.2533 * spread_s / np.sqrt(len(of_rounds)))


class Prediction(NamedTuple):
    """Relative errors with which traces at other loads predict slow workers."""

    additive: float
    """mean of the absolute logarithm of predicted over measured"""
    proportional: float
    low: float
    """lower end of the 95 % confidence interval of additive - proportional (Student's t over predicted loads)"""
    high: float

    @property
    def better(self) -> str | None:
        """The effect that surely predicts better; None: these traces can't tell."""
        if abs(self.additive - self.proportional) < ALIKE or self.low <= 0 <= self.high:
            return None
        return "proportional" if self.low > 0 else "additive"


def predictions(durations_s: Sequence[FloatArray], loads: Sequence[float]) -> Prediction | None:
    """Predict each trace from each at another load, under both load effects; None for fewer than three loads.

    The usual time at a load comes from the medians at all others (a quadratic if they ask for it, else a line), so that
    errors differ only by what becomes of slow workers: the median and the 90 % quantile, over rounds, of the slowest
    worker and of the 90 % one.

    Examples
    --------
    >>> slow = np.tile([1.0, 1.0, 3.0], (9, 1))  # as many times at each load
    >>> found = predictions([slow, 1.5 * slow, 2 * slow, 2.5 * slow], [0.0, 0.5, 1.0, 1.5])
    >>> found.better, round(found.proportional, 9)
    ('proportional', 0.0)
    """
    from scipy.special import stdtrit

    usual_s = np.array([np.median(d[np.isfinite(d)]) for d in durations_s])
    slow_s = np.array([_slow(d) for d in durations_s])
    x = np.array(loads)
    if len(set(loads)) < LEAST_LOADS or not (usual_s > 0).all():
        return None
    errors = []  # of each predicted load: additive, proportional
    for load in sorted(set(loads)):
        others = np.flatnonzero(x != load)
        if len(set(x[others])) < 2:
            continue
        bent = curve([durations_s[int(place)] for place in others], x[others].tolist())
        if bent is not None and bent.is_bent:
            there_s = float(bent.at(load))
        else:
            there_s = float(
                np.polynomial.polynomial.polyval(load, np.polynomial.polynomial.polyfit(x[others], usual_s[others], 1))
            )
        added_s = slow_s[others] + (there_s - usual_s[others])[:, None]
        times = slow_s[others] * (there_s / usual_s[others])[:, None]
        truth_s = slow_s[x == load].mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            errors.append([np.abs(np.log(np.maximum(of, 1e-3 * truth_s) / truth_s)).mean() for of in (added_s, times)])
    means = np.array(errors)
    differences = means[:, 0] - means[:, 1]
    half = float(stdtrit(len(means) - 1, 0.975)) * differences.std(ddof=1) / np.sqrt(len(means))
    additive, proportional = means.mean(axis=0)
    middle = float(differences.mean())
    return Prediction(float(additive), float(proportional), middle - half, middle + half)


def _slow(duration_s: FloatArray) -> FloatArray:
    """Return when slow workers arrive, over rounds."""
    in_order = np.sort(duration_s, axis=1)
    places = [int(np.ceil(place * duration_s.shape[1])) - 1 for place in PLACES]
    finite = np.where(np.isfinite(in_order), in_order, in_order[np.isfinite(in_order)].max())
    return np.asarray(np.quantile(finite[:, places], ROUNDS, axis=0).ravel())
