"""What a master has seen of its workers, and what may have come of those that it did not wait for."""

from __future__ import annotations

from collections import deque

import numpy as np

from schemes.base.work import Heard, Work
from simulator.parameters import BoolArray, FloatArray

TINY = 1e-300  # seconds
SAME = 1e-12  # of squares of loads: one load


class Seen:
    """What the master has seen of workers in the latest rounds.

    Parameters
    ----------
    window
        So many rounds.
    seconds_per_load
        How times grow with load, if that is known.
    """

    def __init__(self, window: int, seconds_per_load: float | None) -> None:
        self._seconds_per_load = seconds_per_load
        # loads, and when the fastest had done them, shape (n, 2)
        self._points: deque[FloatArray] = deque(maxlen=window)
        self._rounds: deque[tuple[FloatArray, FloatArray, BoolArray]] = deque(maxlen=window)

    def add(self, work: Work, heard: Heard, stop_s: float) -> None:
        """Take in a round: for each worker the latest load and its time, or the next load and that it takes longer."""
        times_s = np.full(work.loads.shape, np.inf)
        times_s[heard.workers, heard.reports] = heard.times_s
        has_come = work.reporting & (times_s < np.inf)
        n_come = has_come.sum(axis=1)
        is_known = n_come > 0
        each, place = np.arange(len(n_come)), np.maximum(n_come - 1, 0)
        loads = np.where(work.busy, work.loads[each, place], 0.0)
        self._rounds.append((loads, np.where(is_known, times_s[each, place], stop_s * work.busy), is_known))
        fastest = np.argmin(times_s, axis=0)[np.newaxis]  # whom no setting cuts off
        first_s, at = (np.take_along_axis(of, fastest, axis=0)[0] for of in (times_s, work.loads))
        self._points.append(np.stack([at, first_s], axis=1)[first_s < np.inf])

    @property
    def has_a_line(self) -> bool:
        """Whether it is known how times grow with load."""
        loads = np.concatenate([np.empty((0, 2)), *self._points])[:, 0]
        return self._seconds_per_load is not None or len(loads) == 0 or bool(np.ptp(loads) > 0)

    def _line(self) -> tuple[float, float] | None:
        """Start-up and seconds per load of the fastest; None: nobody has been heard."""
        points = np.concatenate(list(self._points))
        loads, times_s = points[:, 0], points[:, 1]
        if not len(loads) or not times_s.any():
            return None
        spread = loads - loads.mean()
        variance = float(spread @ spread)
        slope = times_s.mean() / loads.mean()  # of one load, all is work
        if self._seconds_per_load is not None:
            slope = min(slope, self._seconds_per_load)
        elif variance > SAME * float(loads @ loads):
            slope = min(slope, max(0.0, float(spread @ times_s) / variance))
        return float(times_s.mean() - slope * loads.mean()), float(slope)

    def slowness(self, rng: np.random.Generator | None) -> tuple[FloatArray, tuple[float, float]] | None:
        """Of each worker in the latest round, relative to the line, which comes with it; None: nothing is known."""
        line = self._line()
        if line is None:
            return None
        loads, times_s, known = (np.stack(each) for each in zip(*self._rounds, strict=True))
        ratios = times_s / np.maximum(line[0] + line[1] * loads, TINY)
        slowness, cut_off = ratios[-1].copy(), ~known[-1]
        if rng is None:  # as if all had come just then
            return slowness, line
        shares = rng.random(len(slowness))[cut_off]
        slowness[cut_off] = _later(np.ravel(ratios), np.ravel(known), slowness[cut_off], shares)
        return slowness, line


def _later(values: FloatArray, known: BoolArray, bounds: FloatArray, shares: FloatArray) -> FloatArray:
    """Values above bounds, at which shares of those above them are larger still: of the Kaplan-Meier distribution.

    Values that are not known are bounds, too. Beyond the largest that is known, the rest is exponential, with the mean
    excess of all that are as large, one more counted that is as far above the smallest as the mean.
    """
    order = np.lexsort((~known, values))
    values, known = values[order], known[order]
    survive = np.cumprod(1 - known / np.arange(len(values), 0, -1))
    place = np.searchsorted(values, bounds, side="right")
    wanted = shares * np.where(place > 0, survive[place - 1], 1.0)
    found = np.searchsorted(-survive, -wanted)
    largest = np.max(values, where=known, initial=values[0])
    larger = values[values > largest]
    usual = np.sum(values - values[0]) / max(1, np.count_nonzero(known))
    rest = np.log(np.maximum(wanted, TINY) / np.maximum(np.minimum(survive[-1], wanted / shares.clip(TINY)), TINY))
    beyond = np.maximum(largest, bounds) - (np.sum(larger - largest) + usual) * np.minimum(rest, 0.0)
    is_known = found < len(values)
    return np.where(is_known, np.maximum(values[np.minimum(found, len(values) - 1)], bounds), beyond)
