"""Goodness of fit: the same numbers of a trace and of what its model gives, with the model's own spread."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simulator.engine.worker_times import Draws, Source
from simulator.parameters import BoolArray, FloatArray
from simulator.statistics import quantile
from simulator.traces.measures import burst_lengths
from straggler_models import StragglerModel

N_SIMULATED = 40  # traces to compare with
LONG = 1.5  # a straggler takes so many times the measured median ...
FEW = 0.01  # ... unless fewer than this share do: then it is one of the slowest FEWEST
FEWEST = 0.05
N_LAGS = 8
QUANTILES = (0.5, 0.9, 0.99, 0.999)
STRAGGLERS, MOST, LONGEST = "stragglers %", "stragglers per round, most", "burst length, longest"
NEVER, AGAIN = "never answered %", "P(straggles | did so before)"
TOO_WIDE = "too wide to fail"


def simulated_durations(
    models: Mapping[str, StragglerModel], n_rounds: int, n_workers: int, *, seed: int, load: float = 0.0
) -> FloatArray:
    """Durations that the models give at some load, shape ``(n_rounds, n_workers)``, seconds.

    Examples
    --------
    >>> from straggler_models import Constant
    >>> simulated_durations({"usual": Constant(startup_s=2.0, seconds_per_load=4.0)}, 1, 2, seed=0, load=0.5)
    array([[4., 4.]])
    """
    times = Draws([Source(models, seed, 0)], n_workers).take(n_rounds)
    durations_s = times.slowdown * (times.startup_s + times.seconds_per_load * load)
    return np.broadcast_to(durations_s[0], (n_rounds, n_workers))


def cut_off_alike(simulated_s: FloatArray, measured_s: FloatArray, censored: BoolArray) -> FloatArray:
    """Cancel as many workers in each round of a simulated trace as in the measured one: the slowest.

    They are cancelled so much later than the slowest of the others as in the measured round.

    Examples
    --------
    >>> measured_s, censored = np.array([[1.0, 2.0, 3.0]]), np.array([[False, False, True]])
    >>> cut_off_alike(np.array([[9.0, 4.0, 2.0]]), measured_s, censored)
    array([[6., 4., 2.]])
    """
    cut_s = simulated_s.copy()
    for row, times_s, is_cut in zip(cut_s, measured_s, censored, strict=True):
        n_left = len(row) - int(np.count_nonzero(is_cut))
        if 0 < n_left < len(row):
            later = float(times_s[is_cut].min() / times_s[~is_cut].max())
            slowest = np.argsort(row)[n_left - 1 :]
            row[slowest[1:]] = np.minimum(row[slowest[1:]], row[slowest[0]] * max(later, 1.0))
    return cut_s


def threshold_s(durations_s: FloatArray) -> float:
    """Seconds beyond which a worker is called a straggler here.

    Examples
    --------
    >>> threshold_s(np.array([[1.0, 1.0, 1.0, 4.0]]))
    1.5
    """
    median = quantile(durations_s, 0.5)
    above = float(np.mean(durations_s > LONG * median))
    return LONG * median if above >= FEW else quantile(durations_s, 1 - FEWEST)


def lagged_memory(straggles: BoolArray, n_lags: int = N_LAGS) -> FloatArray:
    """P(straggles | the same worker straggled k rounds before), k from 1 on; NaN where nobody did."""
    shares = np.full(n_lags, np.nan)
    for lag in range(1, min(n_lags, len(straggles) - 1) + 1):
        before = straggles[:-lag]
        if before.any():
            shares[lag - 1] = float(straggles[lag:][before].mean())
    return shares


class Check(NamedTuple):
    """A number of the trace, and the middle 95 % of it in traces that the model would give."""

    name: str
    measured: float  # inf: of responses that never came
    low: float
    high: float
    is_too_wide: bool  # nothing that is possible, or not even half and twice as much, would be outside

    @property
    def is_inside(self) -> bool:
        """True if the model could well have given the measured number."""
        slack = 1e-9 * max((abs(end) for end in (self.low, self.high) if end < np.inf), default=0.0)
        return self.low - slack <= self.measured <= self.high + slack

    @property
    def verdict(self) -> str:
        """Does it fit: yes, no, or a yes that nothing could have turned into a no."""
        return "no" if not self.is_inside else TOO_WIDE if self.is_too_wide else "yes"


def checks(measured_s: FloatArray, simulated_s: Sequence[FloatArray]) -> list[Check]:
    """Compare a trace with what its model gives.

    Parameters
    ----------
    measured_s
        Shape ``(n_rounds, n_workers)``.
    simulated_s
        Of the same shape each.
    """
    limit_s = threshold_s(measured_s)
    measured = _numbers(measured_s, limit_s)
    simulated = [_numbers(durations_s, limit_s) for durations_s in simulated_s]
    least, most = _limits(*measured_s.shape)
    found = []
    for name, value in measured.items():
        values = np.array([numbers[name] for numbers in simulated])
        values = values[~np.isnan(values)]
        if np.isnan(value) or not len(values) or (name == NEVER and not value):
            continue
        low, middle, high = (quantile(values, share) for share in (0.025, 0.5, 0.975))
        if value == low == np.inf:  # of those that never answered: they are counted by themselves
            continue
        holds_all = low <= least.get(name, 0.0) and high >= most.get(name, np.inf)
        found.append(Check(name, value, low, high, holds_all or (2 * low <= middle <= high / 2 and middle > 0)))
    return found


def _limits(n_rounds: int, n_workers: int) -> tuple[dict[str, float], dict[str, float]]:
    """The least and the most that numbers can be, where these are not 0 and infinite."""
    return {LONGEST: 1.0}, {STRAGGLERS: 100.0, MOST: n_workers, LONGEST: n_rounds, AGAIN: 1.0}


def _numbers(durations_s: FloatArray, limit_s: float) -> dict[str, float]:
    straggles = durations_s > limit_s
    counts, bursts = straggles.sum(axis=1), burst_lengths(straggles)
    log_s = np.log(durations_s)
    with np.errstate(invalid="ignore"):  # medians may be inf: their spread is no number then
        spreads = [100 * float(np.std(np.median(log_s, axis=axis))) for axis in (0, 1)]
    return {
        **{f"{100 * q:g} % quantile s": quantile(durations_s, q) for q in QUANTILES},
        NEVER: 100 * float(np.isinf(durations_s).mean()),
        STRAGGLERS: 100 * float(straggles.mean()),
        "stragglers per round, standard deviation": float(counts.std()),
        MOST: float(counts.max()),
        "share of rounds straggled, spread over workers %": 100 * float(straggles.mean(axis=0).std()),
        "burst length, mean": float(np.mean(bursts)) if len(bursts) else np.nan,
        LONGEST: float(max(bursts, default=0)),
        AGAIN: float(lagged_memory(straggles, 1)[0]),
        "worker medians, spread %": spreads[0],
        "round medians, spread %": spreads[1],
    }
