"""Figures of training: loss and accuracy against time, and loss against the time of all workers."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from simulator.choices import Measure
from simulator.columns import KEYS
from simulator.parameters import FloatArray
from simulator.plots.naming import MOST_LINES
from simulator.plots.sheet import Draw, Sheet
from simulator.plots.style import LIGHT, Look, plain_ticks, refuse_alike
from simulator.plots.sweep.frames import kept_of, swept_entries, title_of
from simulator.results.curves import Curve, curves
from simulator.results.results import MOST_POINTS, Results
from simulator.statistics import half_width

N_TIMES = 300  # at which curves of different trials are averaged
MOST_TOGETHER = 6  # schemes in a panel where all schemes would be too many
WIDE = 10  # if a scheme ends so many times as late as another, time is on a logarithmic axis


class Shown(NamedTuple):
    """What a figure of training shows: a column of the table against one of what is spent."""

    measure: Measure
    spent: str
    label: str  # of the horizontal axis


SHOWN = {  # by the figure's name
    "loss": Shown("loss", "time_s", "time (seconds)"),
    "accuracy": Shown("accuracy", "time_s", "time (seconds)"),
    "loss_worker_seconds": Shown("loss", "worker_s", "time of all workers (seconds)"),
}


class Mean(NamedTuple):
    """A scheme's mean over trials, with the half width of its 95 % interval if there are several."""

    times_s: FloatArray
    values: FloatArray
    half: FloatArray | None

    @classmethod
    def of(cls, trials: Sequence[Curve], from_s: float | None, end_s: float) -> Self:
        """The mean of curves, until the last one ends; from ``from_s`` on a logarithmic axis."""
        last_s = max(from_s or 0.0, *(float(curve.times_s[-1]) for curve in trials))
        times_s = np.append(np.arange(0.0, last_s, end_s / N_TIMES), last_s)
        if from_s is not None:
            times_s = np.geomspace(from_s, last_s, N_TIMES)
        values, half = np.array([curve.at(times_s) for curve in trials]), None
        if len(values) > 1:
            with np.errstate(over="ignore", invalid="ignore"):  # of what has diverged
                half = half_width(values.std(axis=0, ddof=1), len(values))
        return cls(times_s, values.mean(axis=0), half)


class Panel(NamedTuple):
    """One of the axes: a point, or some of the schemes, the others in grey."""

    title: str
    means: Mapping[str, Mean]  # of all schemes at the point
    schemes: Sequence[str]


def draw_training(
    sheet: Sheet,
    training: pd.DataFrame,
    shown: Shown,
    titles: Mapping[Any, str],
    schemes: Mapping[str, bool],
    from_s: float | None,
) -> None:
    """Mean over models and trials against time, with a 95 % interval over trials (Student's t) as a band.

    A panel for each point in ``titles``, a line for each scheme that is to be shown; of many schemes at one point, a
    panel for some at a time. A line ends, with its marker, where the last of its trials takes its last step; until
    then, those that have taken theirs stay as they are. With ``from_s``, the axis of time is logarithmic and begins
    there.
    """
    measure, spent, axis = shown
    looks = {label: look for label, look in sheet.looks(list(schemes)).items() if schemes[label]}
    found: dict[Any, dict[str, list[Curve]]] = defaultdict(lambda: {label: [] for label in looks})
    for (point, scheme, _), curve in curves(training, measure, spent):
        found[point][scheme].append(curve)
    by_scheme = [[part for point in titles for curve in found[point][label] for part in curve] for label in looks]
    joined = [np.concatenate([np.zeros(0), *parts]) for parts in by_scheme]
    refuse_alike(joined, f"all schemes have the same {measure} at all times")
    end_s = float(training[spent].max()) or 1.0
    panels = []
    for point, title in titles.items():
        means = {label: Mean.of(trials, from_s, end_s) for label, trials in found[point].items() if trials}
        apart = _apart([*means]) if len(titles) == 1 else [[*means]]
        panels += [Panel(title, means, some) for some in apart]
    n_columns = min(2, len(titles))
    n_rows = math.ceil(len(panels) / n_columns)
    sheet.set_height(2.6 if n_rows == 1 else 0.9 + 1.5 * n_rows)
    grid = sheet.subplots(n_rows, n_columns, sharex=True, sharey=True)
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        _draw_panel(axes, panel, looks)
        if from_s is not None:
            axes.set_xscale("log")
            plain_ticks(axes.xaxis, from_s, end_s)
        axes.set_xlim(from_s or 0.0, end_s)
        if place + n_columns >= len(panels):  # nothing is below
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(axis)
    what = f"{measure} (mean over models)"
    if n_rows == 1:
        grid[0, 0].set_ylabel(what)
    else:
        sheet.label_rows(what)
    for spare in grid.flat[len(panels) :]:
        spare.remove()
    _set_limits(grid[0, 0], measure, [mean.values for panel in panels for mean in panel.means.values()])
    if len(panels) == len(titles):
        sheet.add_legend(looks)
    else:
        for axes, panel in zip(grid.flat, panels, strict=True):
            sheet.add_legend_beside(axes, {label: looks[label] for label in panel.schemes})


def _apart(schemes: list[str]) -> list[list[str]]:
    """Schemes that share a panel: all, or about as many in each if they are too many to be told apart.

    Examples
    --------
    >>> [len(some) for some in _apart(list("abcdefghijklm"))], len(_apart(list("abcdefghijkl")))
    ([5, 5, 3], 1)
    """
    n_panels = 1 if len(schemes) <= MOST_LINES else math.ceil(len(schemes) / MOST_TOGETHER)
    size = math.ceil(len(schemes) / n_panels)
    return [schemes[first : first + size] for first in range(0, len(schemes), size)]


def _draw_panel(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    others = [mean for label, mean in panel.means.items() if label not in panel.schemes]
    axes.add_collection(LineCollection([np.column_stack(mean[:2]) for mean in others], colors=LIGHT, linewidths=0.6))
    for label in panel.schemes:
        look, (times_s, mean, half) = looks[label], panel.means[label]
        axes.plot(times_s, mean, color=look.colour, linestyle=look.dashes)
        axes.plot(times_s[-1], mean[-1], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
        if half is not None:
            axes.fill_between(times_s, mean - half, mean + half, color=look.colour, alpha=0.2, linewidth=0)
    axes.set_title(panel.title)


def _set_limits(axes: Axes, measure: Measure, means: Sequence[FloatArray]) -> None:
    """Let the lines say what is shown: a band over few trials may be wider than all that is possible."""
    finite = [mean[np.isfinite(mean)] for mean in means]  # where none has diverged
    lowest, highest = np.concatenate(finite).min(), np.concatenate(finite).max()
    if measure == "accuracy":
        axes.set_ylim(0, 1)
    elif lowest > 0:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, lowest, highest)
        axes.set_ylim(lowest / 1.5, highest * 1.5)


def training_figures(
    results: Results, where: Mapping[str, Sequence[Any]] | None = None
) -> Iterator[tuple[str, Draw, list[str]]]:
    """Name and drawing of each figure, and what its caption has to add; nothing if points are too many.

    Parameters
    ----------
    where
        Values of ``scheme`` or swept keys, to which the figures keep.

    Raises
    ------
    ChartError
        If there is no such key or value.
    """
    training, every = results.training, list(results.runs["scheme"].unique())
    keys = [key for keys in swept_entries(results).values() for key in keys]
    if training is None:
        return
    runs = kept_of(results.runs, ["scheme", *keys], where or {})
    points = runs.drop_duplicates("point")
    if len(points) > MOST_POINTS:
        return
    training = training.merge(runs[list(KEYS)], on=list(KEYS))
    varying = [key for key in swept_entries(results) if key != "point"] if results.runs["point"].nunique() > 1 else []
    titles = {row["point"]: title_of(varying, [row[key] for key in varying], 28) for row in points.to_dict("records")}
    remarks = ["band: 95 % interval; a trial that has ended stays as it is"] if runs["trial"].nunique() > 1 else []
    schemes = {label: label in set(runs["scheme"]) for label in every}  # they look as in all figures
    shown_schemes = [label for label in schemes if schemes[label]]
    for name, shown in SHOWN.items():
        having = set(training.loc[training[shown.measure].notna(), "point"])
        if having:
            at = {point: title for point, title in titles.items() if point in having}
            from_s = _first_of_wide(training, shown.spent)
            draw_on = partial(draw_training, training=training, shown=shown, titles=at, schemes=schemes, from_s=from_s)
            missing = ["no line of what has diverged"] if np.isinf(training[shown.measure]).any() else []
            wide = ["log axis of time, from the earliest update on"] if from_s is not None else []
            grey = ["grey: the schemes of the other panels"] if len(at) == 1 < len(_apart(shown_schemes)) else []
            yield name, draw_on, [*remarks, *missing, *wide, *grey]


def _first_of_wide(training: pd.DataFrame, spent: str) -> float | None:
    """Return when the earliest update is, if schemes end at very different times; else None."""
    ends_s = training.groupby(["point", "scheme"])[spent].max()
    at_points = ends_s[ends_s > 0].groupby("point")
    is_wide = (at_points.max() > WIDE * at_points.min()).any()
    return float(training.loc[training[spent] > 0, spent].min()) if is_wide else None
