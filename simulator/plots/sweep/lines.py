"""A column against a swept key, with a line for each scheme."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from simulator.columns import RUNS
from simulator.parameters import FloatArray
from simulator.plots.sheet import HOLLOW, Sheet
from simulator.plots.style import GREY, Look, log_with_zero, number, plain_ticks
from simulator.plots.sweep import frames
from simulator.plots.sweep.charts import Chart, prepared
from simulator.plots.text import said, setting, wrapped
from simulator.results.results import Results

BOUND_DASHES = ((0, (4, 2)), (0, (1.5, 1.5)))
REFERENCE = Look(GREY, "", (0, (2, 2)))  # how the line is drawn that no scheme with T = 0 is below
MOST_LARGE = 12  # markers of a line that have room at their usual size
LETTER = 0.02  # width of a letter of a tick, as a share of an axis
MOST_VECTORS = 2000  # points that an SVG holds one by one


def panels(
    sheet: Sheet, table: pd.DataFrame, keys: Sequence[str], x: str, y: str, names: Mapping[str, str]
) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Axes for each combination of values that keys have, two in a row, each with its part of the table."""
    choices = frames.combinations(table, keys)
    n_columns = 1 if len(choices) == 1 else 2
    n_rows = math.ceil(len(choices) / n_columns)
    sheet.set_height(0.6 + 1.7 * n_rows)
    grid = sheet.subplots(n_rows, n_columns, sharex=True, sharey=True)
    is_mean = bool(table["n_trials"].max() > 1)
    for place, (axes, choice) in enumerate(zip(grid.flat, choices, strict=False)):
        title = frames.title_of([names.get(key, key) for key in keys], choice, 28 if n_columns > 1 else 60)
        axes.set_title(title)
        if n_rows == 1 and place == 0:
            axes.set_ylabel(frames.label_of(y, 22, names, is_mean=is_mean))
        if place + n_columns >= len(choices):  # nothing is below
            axes.tick_params(labelbottom=True)
        if place >= len(choices) - 1 - (len(choices) - 1) % n_columns:
            axes.set_xlabel(frames.label_of(x, 46 // n_columns, names, is_mean=is_mean))
        yield axes, frames.rows_at(table, keys, choice)
    if n_rows > 1:
        sheet.label_rows(frames.label_of(y, 40, names, is_mean=is_mean))
    for spare in grid.flat[len(choices) :]:
        spare.remove()


def _bound_looks(groups: Sequence[Sequence[str]], drawn: Collection[str]) -> dict[str, Look]:
    """Return the style of each bound of the load, by its name in the legend."""
    names = ["bound" if set(schemes) == set(drawn) else f"bound of {', '.join(schemes)}" for schemes in groups]
    return {name: Look(GREY, "", dashes) for name, dashes in zip(names, itertools.cycle(BOUND_DASHES), strict=False)}


def draw_lines(sheet: Sheet, results: Results, chart: Chart) -> None:
    """Draw a line or points for each scheme (or value of ``by``), a panel for each choice of the other keys."""
    shown = prepared(results, chart)
    is_of_schemes, is_swept = chart.by == "scheme", chart.x not in RUNS
    every = list(dict.fromkeys(results.runs["scheme"] if is_of_schemes else shown.table[chart.by]))
    names = [str(label) if is_of_schemes else setting(chart.by.split(".")[-1], said(label)) for label in every]
    drawn = set(shown.table[chart.by])
    labels = [label for label in every if label in drawn]
    references = set(results.runs.loc[results.runs["kind"] == "ideal", "scheme"]) if is_of_schemes else set()
    reference = REFERENCE if shown.is_line else REFERENCE._replace(marker="d")
    looks = {
        (f"{name} (T = 0 reference)" if label in references else name): reference if label in references else look
        for label, (name, look) in zip(every, sheet.looks(names).items(), strict=True)
        if label in drawn
    }
    bounds = _bound_looks(shown.bounds, drawn)
    for axes, here in panels(sheet, shown.table, shown.panels, chart.x, chart.y, shown.names):
        scale = _scale(axes, shown.table[chart.x], n_shown=4 if shown.panels else 8, is_swept=is_swept)
        for place, (label, name) in enumerate(zip(labels, looks, strict=True)):
            group = here[here[chart.by] == label]
            shift = 0.0 if scale is None else 0.6 * ((place + 0.5) / len(labels) - 0.5)
            at = group[chart.x] if scale is None else group[chart.x].map(scale) + shift
            if is_swept:  # else the line goes through the points in their order
                order = np.argsort(at.to_numpy(dtype=np.float64), kind="stable")
                group, at = group.iloc[order], at.iloc[order]
            _line(axes, looks[name], at.to_numpy(dtype=np.float64), group, is_line=shown.is_line)
        for (scheme, *_), look in zip(shown.bounds, bounds.values(), strict=True):
            bound = here[here["scheme"] == scheme].sort_values(chart.x)
            axes.plot(bound[chart.x], bound["bound"], color=look.colour, linestyle=look.dashes)
        scale_up(axes, shown.table["value"], ratio=10 if shown.bounds else 50)
    if axes.get_ylim()[0] < 0 < shown.table["value"].min():
        axes.set_ylim(bottom=0)  # where intervals that reach below are cut
    failed = [HOLLOW] if shown.table["failures"].any() else []
    sheet.add_legend(looks | bounds, has_lines=shown.is_line, extra=failed)


def _line(axes: Axes, look: Look, at: FloatArray, group: pd.DataFrame, *, is_line: bool) -> None:
    """A line with a band, or points with bars; hollow where jobs failed."""
    value, half = (group[name].to_numpy(dtype=np.float64) for name in ("value", "half"))
    if is_line:
        is_long = len(at) > MOST_VECTORS
        axes.plot(at, value, color=look.colour, linestyle=look.dashes, rasterized=is_long)
        style: dict[str, Any] = {"color": look.colour, "alpha": 0.15, "linewidth": 0, "rasterized": is_long}
        axes.fill_between(at, value - half, value + half, **style)
    else:
        axes.errorbar(at, value, yerr=half, fmt="none", color=look.colour, linewidth=0.9)
    has_failed = group["failures"].to_numpy() > 0
    for which, fill in ((~has_failed, look.colour), (has_failed, "white")):
        style = {"markerfacecolor": fill, "markersize": 4 if len(at) <= MOST_LARGE else 2.5}
        style |= {
            "color": look.colour,
            "marker": look.marker,
            "linestyle": "none",
            "rasterized": len(at) > MOST_VECTORS,
        }
        axes.plot(at[which], value[which], **style)


def _is_geometric(values: Sequence[float]) -> bool:
    steps = np.diff(np.log(np.sort(np.array(values, dtype=np.float64))))
    return bool(np.allclose(steps, steps[0], rtol=0.05))


def _scale(axes: Axes, values: pd.Series[Any], *, n_shown: int, is_swept: bool = True) -> dict[Any, int] | None:
    """Prepare the horizontal axis for numbers; for other values, between which there is nothing, give them places."""
    distinct = values.drop_duplicates().tolist()
    if not frames.is_numeric(values) or values.isna().any():  # NaN: null in the scenario
        axes.set_xticks(range(len(distinct)), [wrapped(said(value), 12) for value in distinct])
        return {value: place for place, value in enumerate(distinct)}
    least, most = min(distinct), max(distinct)
    gaps = np.diff(np.sort(np.array(distinct, dtype=np.float64)))
    n_letters = max(len(f"{value:g}") for value in distinct)
    room = LETTER * 8 / n_shown  # panels that show fewer values are narrower
    if least > 0 and (most > 50 * least or (most > 8 * least and len(distinct) > 4 and _is_geometric(distinct))):
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, least, most)
    elif is_swept and len(distinct) <= n_shown and gaps.min(initial=most) >= room * n_letters * (most - least):
        axes.set_xticks(distinct, [number(value) for value in distinct])
    elif all(float(value).is_integer() for value in distinct):
        axes.xaxis.set_major_locator(MaxNLocator(n_shown + 1, steps=[1, 2, 5, 10], integer=True))
    return None


def scale_up(axes: Axes, values: pd.Series[Any], ratio: float = 50) -> None:
    """Prepare the vertical axis: a logarithm where the small could not be told apart else; 0 is shown below it."""
    least = values[values > 0].min()  # NaN: there is none
    if values.min() == 0 and values.max() > ratio * least:
        log_with_zero(axes, least, values.max())
    elif values.min() > 0 and values.max() > ratio * least:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter(number)
        axes.yaxis.set_minor_formatter(NullFormatter())
        if values.max() < 300 * values.min():  # powers of ten alone would be too few
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def draw_errors(sheet: Sheet, results: Results) -> None:
    """Error of the gradient against the first swept key, and below it the share of jobs without any error."""
    norms, shares = frames.at_points(results, "error_norm_mean"), frames.at_points(results, "exact_share")
    entries = frames.swept_entries(results)
    first = next(iter(entries))
    looks = sheet.looks(list(norms["scheme"].unique()))
    others = frames.undetermined(norms, entries, [first])
    names, choices = frames.short_names(norms, entries), frames.combinations(norms, others)
    sheet.set_height(3.6)
    grid = sheet.subplots(2, len(choices), sharex=True, sharey="row", height_ratios=(3, 2))
    for (above, below), choice in zip(grid.T, choices, strict=True):
        scale = _scale(below, norms[first], n_shown=8 // len(choices))
        for axes, table, factor in ((above, norms, 1), (below, shares, 100)):
            for label, group in frames.rows_at(table, others, choice).groupby("scheme", sort=False):
                look, value = looks[str(label)], factor * group["value"].to_numpy(dtype=np.float64)
                at = group[first] if scale is None else group[first].map(scale)
                line = look.dashes if scale is None else "none"
                axes.plot(at, value, color=look.colour, linestyle=line, marker=look.marker, markersize=3.5)
        errors = norms.loc[norms["value"] > 0, "value"]
        log_with_zero(above, errors.min(), errors.max(), is_low=(sheet.height_in or 3.6) < 3)
        below.set_ylim(-5, 105)
        below.set_xlabel(frames.label_of(first, 44 // len(choices), names))
        title = frames.title_of([names.get(key, key) for key in others], choice, 60 // len(choices))
        above.set_title(title)
    grid[0, 0].set_ylabel("mean\nerror norm")
    grid[1, 0].set_ylabel("exact (%)")
    sheet.add_legend(looks)
