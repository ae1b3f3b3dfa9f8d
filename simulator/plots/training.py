"""Figures of training: loss and accuracy against simulated time."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from simulator.choices import Measure
from simulator.columns import KEYS
from simulator.parameters import FloatArray
from simulator.plots.sheet import Draw, Sheet
from simulator.plots.style import Look, plain_ticks, refuse_alike
from simulator.plots.sweep.frames import kept_of, swept_entries, title_of
from simulator.results.curves import Curve, curves
from simulator.results.results import MOST_POINTS, Results
from simulator.statistics import half_width

N_TIMES = 300  # at which curves of different trials are averaged


def draw_training(
    sheet: Sheet, training: pd.DataFrame, measure: Measure, titles: Mapping[Any, str], schemes: Mapping[str, bool]
) -> None:
    """Mean over models and trials against time, with a 95 % interval over trials (Student's t) as a band.

    A panel for each point in ``titles``, a line for each scheme that is to be shown. It ends, with its marker, where
    the last of its trials takes its last step; until then, those that have taken theirs stay as they are.
    """
    looks = {label: look for label, look in sheet.looks(list(schemes)).items() if schemes[label]}
    found: dict[Any, dict[str, list[Curve]]] = defaultdict(lambda: {label: [] for label in looks})
    for (point, scheme, _), curve in curves(training, measure):
        found[point][scheme].append(curve)
    by_scheme = [[part for point in titles for curve in found[point][label] for part in curve] for label in looks]
    joined = [np.concatenate([np.zeros(0), *parts]) for parts in by_scheme]
    refuse_alike(joined, f"all schemes have the same {measure} at all times")
    n_columns = 1 if len(titles) == 1 else 2
    n_rows = math.ceil(len(titles) / n_columns)
    sheet.set_height(2.6 if n_rows == 1 else 0.9 + 1.5 * n_rows)
    grid = sheet.subplots(n_rows, n_columns, sharex=True, sharey=True)
    end_s = float(training["time_s"].max()) or 1.0
    means = []
    for place, (axes, (point, title)) in enumerate(zip(grid.flat, titles.items(), strict=False)):
        means += [_draw_curves(axes, found[point][label], look, end_s) for label, look in looks.items()]
        axes.set_xlim(0, end_s)
        axes.set_title(title)
        if place + n_columns >= len(titles):  # nothing is below
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("simulated time (seconds)" if n_columns == 1 else "time (seconds)")
    what = f"{measure} (mean over models)"
    if n_rows == 1:
        grid[0, 0].set_ylabel(what)
    else:
        sheet.label_rows(what)
    for spare in grid.flat[len(titles) :]:
        spare.remove()
    # the lines say what is shown: a band over few trials may be wider than all that is possible
    first: Axes = grid[0, 0]
    finite = [mean[np.isfinite(mean)] for mean in means]  # where none has diverged
    lowest, highest = np.concatenate(finite).min(), np.concatenate(finite).max()
    if measure == "accuracy":
        first.set_ylim(0, 1)
    elif lowest > 0:
        first.set_yscale("log")
        plain_ticks(first.yaxis, lowest, highest)
        first.set_ylim(lowest / 1.5, highest * 1.5)
    sheet.add_legend(looks)


def _draw_curves(axes: Axes, trials: list[Curve], look: Look, end_s: float) -> FloatArray:
    """One scheme; return the mean."""
    if not trials:
        return np.zeros(0)
    last_s = max(float(curve.times_s[-1]) for curve in trials)
    times_s = np.append(np.arange(0.0, last_s, end_s / N_TIMES), last_s)
    values = np.array([curve.at(times_s) for curve in trials])
    mean: FloatArray = values.mean(axis=0)
    axes.plot(times_s, mean, color=look.colour, linestyle=look.dashes)
    axes.plot(last_s, mean[-1], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
    if len(values) > 1:
        with np.errstate(over="ignore", invalid="ignore"):  # of what has diverged
            half = half_width(values.std(axis=0, ddof=1), len(values))
        axes.fill_between(times_s, mean - half, mean + half, color=look.colour, alpha=0.2, linewidth=0)
    return mean


def training_figures(
    results: Results, where: Mapping[str, Sequence[Any]] | None = None
) -> Iterator[tuple[str, Draw, list[str]]]:
    """Name and drawing of loss and accuracy, and what their captions have to add; nothing if points are too many.

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
    for measure in get_args(Measure):
        having = set(training.loc[training[measure].notna(), "point"])
        if having:
            schemes = {label: label in set(runs["scheme"]) for label in every}  # they look as in all figures
            shown = {point: title for point, title in titles.items() if point in having}
            draw_on = partial(draw_training, training=training, measure=measure, titles=shown, schemes=schemes)
            missing = ["no line of what has diverged"] if np.isinf(training[measure]).any() else []
            yield measure, draw_on, [*remarks, *missing]
