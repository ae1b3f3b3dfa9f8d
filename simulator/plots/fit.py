"""A page that shows how well a fitted model looks like its trace."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from simulator.fitting.goodness import N_LAGS, lagged_memory, threshold_s
from simulator.parameters import BoolArray, FloatArray
from simulator.plots.style import COLOURS, GREY
from simulator.traces.measures import burst_lengths

MEASURED, SIMULATED = COLOURS[5], COLOURS[4]
NEVER_S = 1e300  # stands for inf, which can't be interpolated
MOST_PLACES = 200  # points of a line of quantiles


def draw_fit(figure: Figure, measured_s: FloatArray, simulated_s: Sequence[FloatArray], about: str) -> None:
    """Draw six views of a trace over the middle 95 % of what the model gives; the caption is the figure's label.

    Parameters
    ----------
    figure
        Empty, with a constrained layout.
    measured_s
        Shape ``(n_rounds, n_workers)``, seconds.
    simulated_s
        Of the same shape each.
    about
        What was fitted, for the caption.
    """
    figure.set_size_inches(7.0, 5.0)
    panels: list[Axes] = list(figure.subplots(2, 3).ravel())
    limit_s = threshold_s(measured_s)
    straggles = measured_s > limit_s
    others = [durations_s > limit_s for durations_s in simulated_s]
    _draw_quantiles(panels[0], measured_s, simulated_s)
    _draw_steps(panels[1], np.sort(straggles.sum(axis=1))[::-1], [np.sort(other.sum(axis=1))[::-1] for other in others])
    panels[1].set(title="stragglers in a round", xlabel="rounds, the worst first", ylabel="stragglers")
    longest = min(12, max(burst_lengths(straggles), default=1) + 2)
    _draw_steps(panels[2], _survival(straggles, longest), [_survival(other, longest) for other in others], first=1)
    panels[2].set(
        title="lengths of bursts", xlabel="at least so many rounds", ylabel="bursts of all (%)", ylim=(0, 105)
    )
    n_lags = min(N_LAGS, len(measured_s) - 1)
    lagged = [100 * lagged_memory(other, n_lags) for other in others]
    _draw_steps(panels[3], 100 * lagged_memory(straggles, n_lags), lagged, first=1)
    panels[3].axhline(100 * float(straggles.mean()), color=GREY, linewidth=0.6, linestyle=":")
    panels[3].set(title="memory", xlabel="rounds before", ylabel="straggles if it did then (%)", ylim=(0, None))
    for axis, panel, what in ((0, panels[4], "worker"), (1, panels[5], "round")):
        _draw_steps(panel, _medians(measured_s, axis), [_medians(durations_s, axis) for durations_s in simulated_s])
        panel.set(title=f"{what}s' medians", xlabel=f"{what}s, the slowest first", ylabel="seconds")
    figure.set_label(
        f"The trace (dots) over {len(simulated_s)} traces that the model gives (line: their median, band: their middle "
        f"95 %). Above: quantiles of all times, which agree on the dashed line; how many workers straggle in a round; "
        "how long they straggle in a row. Below: how often a worker straggles that did so that many rounds before "
        "(dotted: the share of all times); the median time of each worker; the median time of each round. "
        f"{about}; straggler: longer than {limit_s:.4g} s"
    )


def _draw_quantiles(axes: Axes, measured_s: FloatArray, simulated_s: Sequence[FloatArray]) -> None:
    n_all = measured_s.size
    # as many places in each tail as in the middle
    tail = np.geomspace(0.5 / n_all, 0.5, MOST_PLACES // 2)
    places = np.concatenate([tail, 1 - tail[::-1][1:]])
    measured, *others = (
        np.quantile(np.where(np.isfinite(durations_s), durations_s, NEVER_S), places)
        for durations_s in (measured_s, *simulated_s)
    )
    nearly_s = 1e-50 * NEVER_S  # between a time and never
    seen = (measured < nearly_s) & (np.max(others, axis=0) < nearly_s)
    if not seen.any():
        return
    low, middle, high = np.quantile(np.array(others)[:, seen], (0.025, 0.5, 0.975), axis=0)
    axes.fill_betweenx(measured[seen], low, high, color=SIMULATED, alpha=0.25, linewidth=0, label="model, 95 %")
    axes.plot(middle, measured[seen], color=MEASURED, marker=".", markersize=2, linestyle="none", label="measured")
    ends = [min(measured[0], middle[0]), max(measured[seen][-1], middle[-1])]
    axes.plot(ends, ends, color=GREY, linewidth=0.6, linestyle="--")
    scale = "log" if ends[0] > 0 else "linear"  # a logarithm has no 0
    axes.set(xscale=scale, yscale=scale, title="quantiles", xlabel="model (seconds)", ylabel="measured (seconds)")
    is_wide = ends[1] > 8 * ends[0] > 0
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if is_wide else MaxNLocator(4))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, loc="upper left")


def _draw_steps(axes: Axes, measured: FloatArray, simulated: Sequence[FloatArray], first: int = 0) -> None:
    x = np.arange(first, first + len(measured))
    rows = np.array(simulated, dtype=np.float64)
    known = np.isfinite(rows).any(axis=0)
    quantiles = [np.nanquantile(place, (0.025, 0.5, 0.975)) for place in rows[:, known].T]
    low, middle, high = np.reshape(quantiles, (-1, 3)).T
    axes.fill_between(x[known], low, high, color=SIMULATED, alpha=0.25, linewidth=0)
    axes.plot(x[known], middle, color=SIMULATED, linewidth=0.8)
    axes.plot(x, measured, color=MEASURED, marker=".", markersize=2.5, linewidth=0.6)


def _survival(straggles: BoolArray, longest: int) -> FloatArray:
    """Share of bursts (%) that are at least 1, 2, ... rounds long."""
    lengths = burst_lengths(straggles)
    return np.array([100 * np.mean(lengths >= n) if len(lengths) else np.nan for n in range(1, longest + 1)])


def _medians(durations_s: FloatArray, axis: int) -> FloatArray:
    """Medians of workers (axis 0) or rounds (axis 1), in falling order; NaN where more than half never answered."""
    medians = np.median(durations_s, axis=axis)
    return np.where(np.isfinite(medians), medians, np.nan)[np.argsort(-medians)]
