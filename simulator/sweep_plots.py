"""The pictures of a sweep: lines against a swept key, maps of two, and load against latency."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator

from schemes.base import BoolArray, FloatArray
from simulator.errors import ResultsError
from simulator.looks import GREY, HOLLOW, Look, add_legend, key_label, literal, looks_of, plain_ticks, said, wrapped
from simulator.results.results import Results
from simulator.scenario.keys import swept_together
from simulator.statistics import half_width
from simulator.sweep_maps import Map, draw_best, draw_gain, draw_gains, map_of

if TYPE_CHECKING:
    import pandas as pd

MOST_PANELS = 6

Draw = Callable[[Figure], None]


class ChartError(ResultsError):
    """A picture that the results do not allow, in one sentence."""


@dataclass(frozen=True)
class Chart:
    """A column of the runs table against a swept key, or against another column."""

    x: str
    """swept key, or column of numbers"""
    y: str
    """column of numbers"""
    by: str = "scheme"
    """what the lines are of: ``scheme`` or a swept key"""
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """values of ``scheme`` or swept keys, to which the picture keeps"""

    @property
    def name(self) -> str:
        """A file name of its own, without an ending."""
        parts = [self.y, "over", self.x]
        parts += ["by", self.by] if self.by != "scheme" else []
        for key, values in self.where.items():
            parts += ["where", key, *map(said, values)]
        return _file_name("-".join(parts))


def sweep_pictures(results: Results) -> Iterator[tuple[str, Draw, list[str]]]:
    """Name and drawing of each picture that a sweep allows, and what its small line has to add."""
    entries = swept_entries(results)
    metric, remarks = main_metric(results)
    band = ["band or bar: 95 % interval over trials"] if results.runs["trial"].nunique() > 1 else []
    first = next(iter(entries))
    lines, loads = Chart(x=first, y=metric), Chart(x=first, y="load")
    table = at_points(results, metric)
    panels = _undetermined(table, entries, [first])
    if len(_choices(table, panels)) <= MOST_PANELS:
        name = {"makespan_s": "makespan"}.get(metric, metric)
        company = _company(table, entries, first, panels)
        yield name, lambda figure: draw_lines(figure, results, lines), [*remarks, *company, *band]
        keys = ["scheme", *(key for keys in entries.values() for key in keys)]
        if _is_numeric(table[first]) and _varies_with(at_points(results, "load"), "value", entries[first], keys):
            yield "load", lambda figure: draw_lines(figure, results, loads), company
        for column in ("final_loss", "final_accuracy"):
            if column in results.runs and results.runs[column].notna().any():
                of_end = Chart(x=first, y=column)
                yield column, partial(draw_lines, results=results, chart=of_end), [*company, *band]
        if (results.runs["error_norm_mean"] > 0).any() and len(_choices(table, panels)) <= 3:
            yield "error", lambda figure: _draw_errors(figure, results), ["errors of 0 are below the axis"]
    maps = _maps(results, metric, table, entries)
    remarks += [text for key in list(entries)[:2] for text in _company(table, entries, key)]
    for name, cells in maps.items():
        yield f"best_scheme{name}", partial(draw_best, cells=cells), [*remarks, *cells.remarks]
        yield f"gain{name}", partial(draw_gain, cells=cells, beside=list(maps.values())), remarks
        if 2 <= len(cells.schemes) - 1 <= MOST_PANELS:
            yield f"gains{name}", partial(draw_gains, cells=cells, beside=list(maps.values())), remarks
    surroundings = _surroundings(table, entries)
    if len(_choices(table, surroundings)) <= MOST_PANELS:
        yield "load_latency", lambda figure: _draw_pareto(figure, results, surroundings), _remarks_of_pareto(results)


def _maps(results: Results, metric: str, table: pd.DataFrame, entries: Mapping[str, Sequence[str]]) -> dict[str, Map]:
    """Maps over the first two entries, one for each choice of the others, by the ending of their file names."""
    axes, names = list(entries)[:2], _names(table, entries)
    others = _undetermined(table, {entry: keys for entry, keys in entries.items() if entry not in axes}, [])
    choices = _choices(table, others)
    maps: dict[str, Map] = {}
    if len(axes) < 2 or len(choices) > MOST_PANELS:
        return maps
    for choice in choices:
        kept = Results(_at(results.runs, others, choice), scenario=results.scenario)
        cells = map_of(kept, axes, metric, names)
        if cells is not None:
            ending = "".join(f"-{key}-{said(value)}" for key, value in zip(others, choice, strict=True))
            title = title_of([names.get(key, key) for key in others], choice, 60)
            maps[_file_name(ending)] = replace(cells, title=title)
    return maps


def _file_name(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text)[:150]


def swept_entries(results: Results) -> dict[str, list[str]]:
    """The keys of each entry of the sweep, by the first that tells its values apart: what varies together has one axis.

    If none does, by the first of all.
    """
    points = results.runs.drop_duplicates("point")
    entries = {}
    for keys in map(swept_together, results.scenario.get("sweep", {})):
        if set(keys) <= set(points):
            n_values = len(points[keys].drop_duplicates())
            telling = (key for key in keys if points[key].nunique(dropna=False) == n_values)
            entries[next(telling, keys[0])] = keys
    return entries or {"point": ["point"]}


def _undetermined(table: pd.DataFrame, entries: Mapping[str, Sequence[str]], known: Sequence[str]) -> list[str]:
    """The keys that still vary where those known are fixed: of each entry, as many as tell its values apart."""
    found = []
    for keys in entries.values():
        given = [key for key in keys if key in known]
        for key in keys:
            if key not in given and len(_choices(table, [*given, key])) > len(_choices(table, given)):
                given.append(key)
                found.append(key)
    return found


def _names(table: pd.DataFrame, entries: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Short names, by key, of what several schemes have in common: their parameters that always have the same value."""
    names = {}
    all_keys = [key for keys in entries.values() for key in keys]
    for keys in entries.values():
        for key in keys:
            alike = _alike(table[keys])[key]
            if len(alike) < 2 or not all(other.startswith("schemes.") for other in alike):
                continue
            parameters = list(dict.fromkeys(other.rpartition(".")[2] for other in alike))
            if not any(other.rpartition(".")[2] in parameters for other in all_keys if other not in alike):
                names[key] = " = ".join(parameters)
    return names


def _company(
    table: pd.DataFrame, entries: Mapping[str, Sequence[str]], key: str, panels: Sequence[str] = ()
) -> list[str]:
    """What is to be said of a key on an axis: which other keys change with it, to other values, in the same panel."""
    keys = next((keys for keys in entries.values() if key in keys), [key])
    groups = [group for group in _alike(table[list(keys)]).values() if not {key, *panels} & set(group)]
    others = list(dict.fromkeys(group[0] for group in groups))
    names = _names(table, entries)
    return [f"{names.get(key, key)} varies with {', '.join(names.get(other, other) for other in others)}"] * bool(
        others
    )


def main_metric(results: Results) -> tuple[str, list[str]]:
    """What schemes are compared by, and the remark that this calls for."""
    failures = results.runs.groupby(["point", "scheme"])["decode_failures"].sum()
    if (failures.groupby("point").nunique() > 1).any():
        return "jobs_per_s", ["schemes failed different numbers of jobs, so they are compared by jobs per second"]
    return "makespan_s", []


def at_points(results: Results, column: str) -> pd.DataFrame:
    """Mean of a column over the trials of each point and scheme (``value``), with the swept values of the point.

    ``half`` is half the 95 % interval of the mean (Student's t; 0 for a single trial), ``failures`` the failed jobs.
    """
    groups = results.runs.groupby(["point", "scheme"], sort=False)
    table = groups[column].agg(["mean", "std", "count"])
    half = np.where(table["count"] > 1, half_width(table["std"], table["count"]), 0.0)
    table = table.assign(half=half, failures=groups["decode_failures"].sum(), n_trials=groups.size())
    table = table.rename(columns={"mean": "value"}).drop(columns=["std", "count"]).reset_index()
    keys = [key for keys in swept_entries(results).values() for key in keys if key != "point"]
    return table.join(results.runs.groupby("point")[keys].first(), on="point") if keys else table


def label_of(column: str, width: int, names: Mapping[str, str], *, is_mean: bool = False) -> str:
    """A column of the runs table, or a swept key, as the label of an axis, with its unit."""
    if column in names:
        return wrapped(names[column], width)
    if column not in LABELS:
        return key_label(column, width)
    return wrapped(f"{'mean ' if is_mean else ''}{LABELS[column]}", width)


LABELS = {
    "point": "point",
    "delay_rounds": "delay T (rounds)",
    "load": "load (share of a job, per worker and round)",
    "load_bound": "lower bound of the load (share of a job)",
    "computed_load": "computed load (share of a job)",
    "overhead": "overhead (extra work, in jobs per job)",
    "makespan_s": "makespan (seconds)",
    "jobs_per_s": "jobs per second",
    "job_latency_mean_s": "job latency (seconds)",
    **{f"job_latency_p{q}_s": f"{q} % quantile of job latency (seconds)" for q in (50, 95, 99)},
    "decode_failures": "failed jobs of a trial",
    "waited_rounds": "rounds in which the master waited",
    "waited_s": "time waited (seconds)",
    "straggler_rate": "stragglers (share of workers with work)",
    "squared_error_mean": "squared error",
    "relative_error_mean": "relative error",
    "error_norm_mean": "error norm (of chunk gradients)",
    "exact_share": "jobs decoded exactly (share)",
    "uploads": "uploads",
    "bytes_up": "sent to the master (bytes)",
    "upload_s": "time on the way (seconds)",
    "seconds_per_update": "time for each model update (seconds)",
    "final_loss": "loss at the end",
    "final_accuracy": "accuracy at the end",
    "gradient_error_mean": "relative error of the gradient",
    "worst_residual": "worst relative error of a decoded gradient",
    "worst_condition": "worst condition number",
    "decode_mean_s": "measured decoding time of a job (seconds)",
    "n_workers": "workers",
    "n_jobs": "jobs",
}


def _choices(table: pd.DataFrame, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """The combinations of values that keys have."""
    return list(table[list(keys)].drop_duplicates().itertuples(index=False, name=None)) if keys else [()]


def _at(table: pd.DataFrame, keys: Sequence[str], choice: Sequence[Any]) -> pd.DataFrame:
    for key, value in zip(keys, choice, strict=True):
        table = table[table[key].isna() if value != value else table[key] == value]  # NaN: null in the scenario
    return table


def _panels(
    figure: Figure, table: pd.DataFrame, keys: Sequence[str], x: str, y: str, names: Mapping[str, str]
) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Axes for each combination of values that keys have, two in a row, each with its part of the table."""
    choices = _choices(table, keys)
    n_columns = 1 if len(choices) == 1 else 2
    n_rows = math.ceil(len(choices) / n_columns)
    figure.set_figheight(0.6 + 1.7 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    is_mean = bool(table["n_trials"].max() > 1)
    for place, (axes, choice) in enumerate(zip(grid.flat, choices, strict=False)):
        axes.set_title(
            title_of([names.get(key, key) for key in keys], choice, 28 if n_columns > 1 else 60), fontsize=6.5
        )
        if place % n_columns == 0:
            axes.set_ylabel(label_of(y, 22 if n_rows == 1 else 20, names, is_mean=is_mean and y not in FIXED))
        if place + n_columns >= len(choices):  # nothing is below
            axes.tick_params(labelbottom=True)
        if place >= len(choices) - 1 - (len(choices) - 1) % n_columns:
            axes.set_xlabel(label_of(x, 46 // n_columns, names, is_mean=is_mean and x not in FIXED))
        yield axes, _at(table, keys, choice)
    for spare in grid.flat[len(choices) :]:
        spare.remove()


def title_of(keys: Sequence[str], choice: Sequence[Any], width: int) -> str:
    """The values of a panel's keys, wrapped between them, at the dots of a key, or before a long value."""
    hard = "\N{NO-BREAK SPACE}"
    says = []
    for key, value in zip(keys, choice, strict=True):
        is_long = len(f"{key.rsplit('.', 1)[-1]} = {said(value)},") > width
        says.append(f"{key.replace('.', '. ')}{hard}={' ' if is_long else hard}{said(value)}")
    return literal("\n".join(textwrap.wrap(", ".join(says), width)).replace(". ", ".").replace(hard, " "))


FIXED = ("load", "load_bound", "delay_rounds", "n_workers", "n_jobs")  # the same in all trials


def chart_picture(results: Results, chart: Chart) -> tuple[Draw, list[str]]:
    """The drawing of a chart, and what its small line has to add.

    Raises
    ------
    ChartError
        If a key or column does not exist or holds no numbers, or the chart would have too many panels.
    """
    shown = _prepare(results, chart)
    remarks = [f"only {key} = {' or '.join(map(said, values))}" for key, values in chart.where.items()]
    remarks += [f"a line for each {chart.by}"] if chart.by != "scheme" else []
    metric, why = main_metric(results)
    if why and chart.y != metric:
        remarks.append("schemes failed different numbers of jobs: compare jobs per second")
    remarks += _company(shown.table, swept_entries(results), chart.x, shown.panels)
    remarks += (
        ["band or bar: 95 % interval over trials"] if chart.y not in FIXED and shown.table["n_trials"].max() > 1 else []
    )
    return lambda figure: draw_lines(figure, results, chart), remarks


@dataclass(frozen=True)
class _Prepared:
    """A chart with what it shows."""

    table: pd.DataFrame
    panels: list[str]  # keys
    is_line: bool
    names: dict[str, str]  # of keys
    bounds: list[list[str]]  # schemes whose bound is the same, which stands in the table's column "bound"


def _prepare(results: Results, chart: Chart) -> _Prepared:
    entries = swept_entries(results)
    keys = [key for keys in entries.values() for key in keys]
    columns = map(str, results.runs)
    numbers = [column for column in columns if _is_numeric(results.runs[column]) and column not in NOT_SHOWN]
    for option, given, known in (
        ("x", chart.x, list(dict.fromkeys([*keys, *numbers]))),
        ("y", chart.y, [column for column in numbers if column not in keys]),
        ("by", chart.by, ["scheme", *keys]),
    ):
        if given not in known:
            more = " (loss or accuracy against time: --x time_s --y loss)" if results.training is not None else ""
            raise ChartError(f"--{option} {given}: must be one of {', '.join(known)}{more}")
    kept = Results(kept_of(results.runs, ["scheme", *keys], chart.where), scenario=results.scenario)
    table = at_points(kept, chart.y)
    if chart.x not in keys:
        table[chart.x] = at_points(kept, chart.x)["value"]
        taken = [entry for entry in entries if _varies_with(table, chart.x, entries[entry], ["scheme", *keys])]
    else:
        taken = []
    open_entries = {"scheme": ["scheme"]} | {entry: entries[entry] for entry in entries if entry not in taken}
    panels = _undetermined(table, open_entries, [chart.x, chart.by])
    n_panels = len(_choices(table, panels))
    if n_panels > MOST_PANELS:
        values = "; ".join(f"{key}: {', '.join(map(said, dict.fromkeys(table[key])))}" for key in panels)
        raise ChartError(
            f"--where: must leave at most {MOST_PANELS} panels, got {n_panels}: fix some of {values} (key=value)"
        )
    is_line = len(taken) < 2 and _is_numeric(table[chart.x]) and not table[chart.x].isna().any()  # NaN: null
    groups = []
    if chart.y == "load" and chart.by == "scheme" and chart.x in keys and is_line and "load_bound" in kept.runs:
        table["bound"] = at_points(kept, "load_bound")["value"]
        bounds = table.pivot(index="point", columns="scheme", values="bound")
        alike = _alike(bounds.loc[:, bounds.notna().any()])
        groups = [list(group) for group in dict.fromkeys(map(tuple, alike.values()))]
    return _Prepared(table, panels, is_line, _names(table, entries), groups)


def _alike(table: pd.DataFrame) -> dict[str, list[str]]:
    """For each column, those with the same values, itself among them."""
    columns = {str(name): table[name] for name in table}
    return {name: [other for other in columns if columns[other].equals(columns[name])] for name in columns}


NOT_SHOWN = ("point", "trial")


def _is_numeric(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "iuf"


def kept_of(runs: pd.DataFrame, keys: Sequence[str], where: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The runs with one of the values wanted of each key.

    Raises
    ------
    ChartError
        If there is no such key or value.
    """
    for key, wanted in where.items():
        if key not in keys:
            raise ChartError(f"--where {key}: must be one of {', '.join(keys)}")
        # what is neither number nor truth value is text in the tables
        is_kept = runs[key].isin(list(wanted)) | runs[key].astype(str).isin([str(value) for value in wanted])
        if None in wanted:
            is_kept |= runs[key].isna() | (runs[key].astype(str) == "none")  # as it is written beside text
        if not is_kept.any():
            known = ", ".join("null" if value != value else str(value) for value in runs[key].drop_duplicates())
            raise ChartError(f"--where {key}: must be one of {known}, got {', '.join(map(str, wanted))}")
        runs = runs[is_kept]
    return runs


def _varies_with(table: pd.DataFrame, x: str, entry: Sequence[str], keys: Sequence[str]) -> bool:
    """Whether a column changes with the keys of one entry while the others stay."""
    others = [key for key in keys if key not in entry]
    return bool((table.groupby(others, dropna=False)[x].nunique() > 1).any())


def _bound_looks(groups: Sequence[Sequence[str]], drawn: Collection[str]) -> dict[str, Look]:
    """How the bounds of the load are drawn, by what the legend calls each of them."""
    names = ["bound" if set(schemes) == set(drawn) else f"bound of {', '.join(schemes)}" for schemes in groups]
    return {name: Look(GREY, "", dashes) for name, dashes in zip(names, itertools.cycle(BOUND_DASHES), strict=False)}


BOUND_DASHES = ((0, (4, 2)), (0, (1.5, 1.5)))
REFERENCE = Look(GREY, "", (0, (2, 2)))  # how the line is drawn that no scheme with T = 0 is below


def draw_lines(figure: Figure, results: Results, chart: Chart) -> None:
    """Draw a line or points for each scheme (or value of ``by``), a panel for each choice of the other keys."""
    shown = _prepare(results, chart)
    is_of_schemes, is_swept = chart.by == "scheme", chart.x not in LABELS
    labels = list(dict.fromkeys(results.runs["scheme"] if is_of_schemes else shown.table[chart.by]))
    names = [str(label) if is_of_schemes else f"{chart.by.split('.')[-1]} = {said(label)}" for label in labels]
    drawn = set(shown.table[chart.by])
    looks = {name: look for label, (name, look) in zip(labels, looks_of(names).items(), strict=True) if label in drawn}
    labels = [label for label in labels if label in drawn]
    references = set(results.runs.loc[results.runs["kind"] == "ideal", "scheme"]) if is_of_schemes else set()
    looks = {
        (f"{name} (T = 0 reference)" if label in references else name): REFERENCE if label in references else look
        for label, (name, look) in zip(labels, looks.items(), strict=True)
    }
    bounds = _bound_looks(shown.bounds, drawn)
    for axes, here in _panels(figure, shown.table, shown.panels, chart.x, chart.y, shown.names):
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
        _scale_up(axes, shown.table["value"], ratio=10 if shown.bounds else 50)
    failed = [HOLLOW] if shown.table["failures"].any() else []
    add_legend(figure, looks | bounds, has_lines=shown.is_line, extra=failed)


MOST_LARGE = 12  # markers of a line that have room at their usual size


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
        size = 4 if len(at) <= MOST_LARGE else 2.5
        [points] = axes.plot(
            at[which], value[which], look.marker, color=look.colour, markerfacecolor=fill, markersize=size
        )
        points.set_rasterized(len(at) > MOST_VECTORS)


LETTER = 0.02  # width of a letter of a tick, as a share of an axis


def _is_geometric(values: Sequence[float]) -> bool:
    steps = np.diff(np.log(np.sort(np.array(values, dtype=np.float64))))
    return bool(np.allclose(steps, steps[0], rtol=0.05))


def _scale(axes: Axes, values: pd.Series[Any], *, n_shown: int, is_swept: bool = True) -> dict[Any, int] | None:
    """Prepare the horizontal axis for numbers; for other values, between which there is nothing, give them places."""
    distinct = values.drop_duplicates().tolist()
    if not _is_numeric(values) or values.isna().any():  # NaN: null in the scenario
        axes.set_xticks(range(len(distinct)), [wrapped(said(value), 12) for value in distinct])
        return {value: place for place, value in enumerate(distinct)}
    least, most = min(distinct), max(distinct)
    gaps = np.diff(np.sort(np.array(distinct, dtype=np.float64)))
    n_letters = max(len(f"{value:g}") for value in distinct)
    if least > 0 and most > 50 * least:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    elif least > 0 and most > 8 * least and len(distinct) > 4 and _is_geometric(distinct):
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, least, most)
    elif is_swept and len(distinct) <= n_shown and gaps.min(initial=most) >= LETTER * n_letters * (most - least):
        axes.set_xticks(distinct, [f"{value:g}" for value in distinct])
    elif all(float(value).is_integer() for value in distinct):
        axes.xaxis.set_major_locator(MaxNLocator(n_shown + 1, steps=[1, 2, 5, 10], integer=True))
    return None


def _scale_up(axes: Axes, values: pd.Series[Any], ratio: float = 50) -> None:
    """Prepare the vertical axis: a logarithm where the small could not be told apart else."""
    if values.min() > 0 and values.max() > ratio * values.min():
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter("{x:g}")
        if values.max() < 300 * values.min():  # powers of ten alone would be too few
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def _draw_errors(figure: Figure, results: Results) -> None:
    """Error of the gradient against the first swept key, and below it the share of jobs without any error."""
    norms, shares = at_points(results, "error_norm_mean"), at_points(results, "exact_share")
    entries = swept_entries(results)
    first = next(iter(entries))
    looks = looks_of(list(norms["scheme"].unique()))
    others = _undetermined(norms, entries, [first])
    names, choices = _names(norms, entries), _choices(norms, others)
    figure.set_figheight(3.6)
    grid = figure.subplots(2, len(choices), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2))
    for (above, below), choice in zip(grid.T, choices, strict=True):
        scale = _scale(below, norms[first], n_shown=8 // len(choices))
        for axes, table, factor in ((above, norms, 1), (below, shares, 100)):
            for label, group in _at(table, others, choice).groupby("scheme", sort=False):
                look, value = looks[str(label)], factor * group["value"].to_numpy(dtype=np.float64)
                at = group[first] if scale is None else group[first].map(scale)
                line = look.dashes if scale is None else "none"
                shown = np.where(value > 0, value, np.nan) if axes is above else value
                axes.plot(at, shown, color=look.colour, linestyle=line, marker=look.marker, markersize=3.5)
        above.set_yscale("log")
        above.yaxis.set_major_formatter("{x:g}")
        above.yaxis.set_minor_formatter(LogFormatter())  # says something within a decade only, where there is room
        below.set_ylim(-5, 105)
        below.set_xlabel(label_of(first, 44 // len(choices), names).replace(" (", "\n("))
        above.set_title(title_of([names.get(key, key) for key in others], choice, 60 // len(choices)), fontsize=6.5)
    grid[0, 0].set_ylabel("mean error norm\n(of chunk gradients)")
    grid[1, 0].set_ylabel("recovered\nexactly (%)")
    add_legend(figure, looks)


def _surroundings(table: pd.DataFrame, entries: Mapping[str, Sequence[str]]) -> list[str]:
    """The swept keys that nobody chooses: all but those of schemes and master."""
    chosen = ("schemes", "master")
    given = {first: keys for first, keys in entries.items() if any(key.split(".")[0] not in chosen for key in keys)}
    return _undetermined(table, given, [])


def _draw_pareto(figure: Figure, results: Results, surroundings: Sequence[str]) -> None:
    """Latency against load of each scheme at each point; a panel for each choice of what nobody chooses."""
    table = at_points(results, LATENCY)
    table["load"] = at_points(results, "load")["value"]
    looks = looks_of(list(table["scheme"].unique()))
    is_reference = table["scheme"].isin(results.runs.loc[results.runs["kind"] == "ideal", "scheme"])
    table["may_win"] = ~is_reference & (table["failures"] == 0) & table["value"].notna()
    names = _names(table, swept_entries(results))
    for axes, here in _panels(figure, table, surroundings, "load", LATENCY, names):
        load, latency_s = (here[name].to_numpy(dtype=np.float64) for name in ("load", "value"))
        wins = _not_dominated(load, latency_s, here["may_win"].to_numpy(dtype=np.bool_))
        order = np.argsort(load[wins], kind="stable")
        axes.step(load[wins][order], latency_s[wins][order], where="post", color=GREY, linewidth=0.8, zorder=1)
        for label, group in here.assign(wins=wins).groupby("scheme", sort=False):
            _pareto_points(axes, looks[str(label)], group)
        axes.margins(0.1)
        _scale_up(axes, table["value"])
    extra = [FRONT, *([HOLLOW] if table["failures"].any() else [])]
    add_legend(figure, looks, has_lines=False, extra=extra)


LATENCY = "job_latency_p95_s"
FRONT = Line2D([], [], color=GREY, marker="o", markersize=7, markerfacecolor="none", linestyle="none")
FRONT.set_label("ring: not dominated")


MOST_VECTORS = 2000  # points that an SVG holds one by one


def _pareto_points(axes: Axes, look: Look, group: pd.DataFrame) -> None:
    for is_whole, part in group.groupby(group["failures"] == 0):
        fill = look.colour if is_whole else "white"
        [points] = axes.plot(
            part["load"], part["value"], look.marker, color=look.colour, markerfacecolor=fill, zorder=2
        )
        points.set_rasterized(len(part) > MOST_VECTORS)
    front = group[group["wins"]]
    axes.plot(front["load"], front["value"], "o", color=GREY, markerfacecolor="none", markersize=8, zorder=3)


def _not_dominated(load: FloatArray, latency_s: FloatArray, may_win: BoolArray) -> BoolArray:
    """Which points no other beats in one and equals in the other; only those that may win are compared."""
    wins = may_win.copy()
    loads, which = np.unique(load[may_win], return_inverse=True)
    least_s = np.full(len(loads), np.inf)
    np.minimum.at(least_s, which, latency_s[may_win])  # at each load
    with_less_s = np.concatenate([[np.inf], np.minimum.accumulate(least_s)])[:-1]
    wins[may_win] = (latency_s[may_win] == least_s[which]) & (latency_s[may_win] < with_less_s[which])
    return wins


def _remarks_of_pareto(results: Results) -> list[str]:
    runs = results.runs
    remarks = ["each scheme at each point"]
    remarks += ["points where jobs failed are not compared"] if runs["decode_failures"].any() else []
    remarks += ["the reference (ideal) is not compared"] if (runs["kind"] == "ideal").any() else []
    return remarks + (["approximate gradients count like exact ones"] if (runs["error_norm_mean"] > 0).any() else [])
