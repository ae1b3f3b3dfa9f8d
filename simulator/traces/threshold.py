"""A threshold that labels nobody, or most, says little of stragglers; one that separates them is suggested."""

from typing import NamedTuple

import numpy as np

from simulator.parameters import FloatArray
from simulator.traces.measures import median_worker_s

RARE = 0.2  # slow times per round, fewer of which are no kind of their own
CLEAR = 1.1  # ratio of the ends of a gap that one sees; no time within it is slow
SLOWEST = 0.05  # share of the times that are labelled where there is no gap


class Separation(NamedTuple):
    """A threshold between usual and slow times, relative to the round's median worker."""

    mu: float
    """with the median worker as reference"""
    share: float
    """of the times, that straggle then"""
    gap: tuple[float, float] | None
    """its ends, over the median worker's time; None where there is no wide one with enough times above"""
    longest: float
    """the longest time over that of its round's median worker"""


def separation(duration_s: FloatArray) -> Separation | None:
    """Find the mu that separates slow times from usual ones: the widest gap of log(time / median worker's time).

    At most half of the times are slow, and at least one in five rounds. If the ends of the gap differ by less than
    10 %, mu labels the slowest 5 % instead, of those over 1.1 times the median worker's. Rounds whose median worker
    took no time, or never answered, are left out.

    Returns
    -------
    separation
        None where no round is left.

    Examples
    --------
    >>> separation(np.array([[1.0, 1.0, 1.1, 1.4], [1.0, 1.0, 1.0, 1.5]]))
    Separation(mu=0.2, share=0.25, gap=(1.1, 1.4), longest=1.5)
    """
    median_s = median_worker_s(duration_s)
    usable = (median_s > 0) & np.isfinite(median_s)
    if not usable.any():
        return None
    with np.errstate(over="ignore"):
        relative = np.sort((duration_s[usable] / median_s[usable, None]).ravel())
    n_times, n_finite = len(relative), int(np.searchsorted(relative, np.inf))
    longest = float(relative[n_finite - 1])
    first = (n_times - 1) // 2  # place of the longest usual time: from here on half of the times, or fewer, are slow
    last = min(n_times - 1 - int(np.ceil(RARE * len(median_s))), n_finite - 2)
    if first <= last:
        ends = relative[first : last + 2]
        place = int((ends[1:] / ends[:-1]).argmax())
        low, high = float(ends[place]), float(ends[place + 1])
        if high > CLEAR * low:
            return Separation(_short(low, high), 1 - (first + place + 1) / n_times, (low, high), longest)
    usual = float(relative[min(int((1 - SLOWEST) * n_times), n_finite - 1)])
    mu = round(max(usual, CLEAR) - 1, 2)
    return Separation(mu, float(np.mean(relative > 1 + mu)), None, longest)


def _short(low: float, high: float) -> float:
    """Return the mu with the fewest digits next to the middle of the gap, in logs."""
    middle = float(np.sqrt(low) * np.sqrt(high)) - 1
    return next(mu for mu in (round(middle, digits) for digits in range(1, 16)) if low <= 1 + mu < high)


def suggestion(duration_s: FloatArray) -> str:
    """Say which threshold separates stragglers from others."""
    found = separation(duration_s)
    if found is None:
        return "no other mu separates them"
    if found.longest <= CLEAR:
        return (
            f"there are no stragglers: the longest time is {found.longest:.4g} times that of its round's median worker"
        )
    counts = f"--reference median --mu {found.mu:g} would count {100 * found.share:.3g} % of the times"
    return f"no mu separates them clearly; {counts}" if found.gap is None else counts
