"""Goodness of fit: the same numbers of a trace and of what its model gives, with the model's own spread."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simulator.engine.worker_times import Draws, Source
from simulator.statistics import quantile
from simulator.traces.measures import burst_lengths
from straggler_models import StragglerModel
from straggler_models.base import BoolArray, FloatArray

N_SIMULATED = 40  # traces to compare with
LONG = 1.5  # a straggler takes so many times the measured median ...
FEW = 0.01  # ... unless fewer than this share do: then it is one of the slowest FEWEST
FEWEST = 0.05
N_LAGS = 8
QUANTILES = (0.5, 0.9, 0.99, 0.999)


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
    measured: float
    low: float
    high: float

    @property
    def is_inside(self) -> bool:
        """True if the model could well have given the measured number."""
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        return self.low - slack <= self.measured <= self.high + slack


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
    found = []
    for name, value in measured.items():
        values = np.array([numbers[name] for numbers in simulated])
        values = values[np.isfinite(values)]
        if np.isfinite(value) and len(values):
            found.append(Check(name, value, *np.quantile(values, (0.025, 0.975)).tolist()))
    return found


def _numbers(durations_s: FloatArray, limit_s: float) -> dict[str, float]:
    straggles = durations_s > limit_s
    counts, bursts = straggles.sum(axis=1), burst_lengths(straggles)
    quantiles = {q: quantile(durations_s, q) for q in QUANTILES}
    log_s = np.log(durations_s)
    with np.errstate(invalid="ignore"):  # medians may be inf: their spread is no number then
        spreads = [100 * float(np.std(np.median(log_s, axis=axis))) for axis in (0, 1)]
    return {
        **{f"{100 * q:g} % quantile s": value for q, value in quantiles.items() if value < np.inf},
        "stragglers %": 100 * float(straggles.mean()),
        "stragglers per round, standard deviation": float(counts.std()),
        "stragglers per round, most": float(counts.max()),
        "burst length, mean": float(np.mean(bursts)) if len(bursts) else np.nan,
        "burst length, longest": float(max(bursts, default=0)),
        "P(straggles | did so before)": float(lagged_memory(straggles, 1)[0]),
        "worker medians, spread %": spreads[0],
        "round medians, spread %": spreads[1],
    }
