"""The figures of a sweep: lines against a swept key, maps of two, and load against latency."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from simulator.plots.sheet import Draw, Sheet
from simulator.plots.style import refuse_alike
from simulator.plots.sweep import frames
from simulator.plots.sweep.charts import Chart, bound_remarks, file_name, prepared
from simulator.plots.sweep.lines import draw_errors, draw_lines
from simulator.plots.sweep.load_latency import draw_load_latency, remarks_of
from simulator.plots.sweep.maps import Map, draw_best, draw_gain, draw_gains, map_of
from simulator.plots.text import key_name, said, setting
from simulator.results.results import Results
from simulator.results.summary import name_of


def sweep_figures(results: Results, every: Results) -> Iterator[tuple[str, Draw, list[str]]]:
    """Name and drawing of each figure that a sweep allows, and what its caption has to add.

    Parameters
    ----------
    results
        Of schemes that have room beside each other.
    every
        Those of all schemes, for maps of the best.
    """
    entries = frames.swept_entries(results)
    metric, remarks = frames.main_metric(results)
    band = ["band or bar: 95 % interval over trials"] if results.runs["trial"].nunique() > 1 else []
    first = next(iter(entries))
    lines, loads = Chart(x=first, y=metric), Chart(x=first, y="load")
    table = frames.at_points(results, metric)
    panels = frames.undetermined(table, entries, [first])
    if len(frames.combinations(table, panels)) <= frames.MOST_PANELS:
        name = {"makespan_s": "makespan"}.get(metric, metric)
        company = frames.companions(table, entries, first, panels)
        yield name, partial(_lines_apart, results=results, chart=lines), [*remarks, *company, *band]
        keys = ["scheme", *(key for keys in entries.values() for key in keys)]
        load = frames.at_points(results, "load")
        if frames.is_numeric(table[first]) and frames.varies_with(load, "value", entries[first], keys):
            company_of_load = [*company, *bound_remarks(results, loads)]
            yield "load", partial(_lines_apart, results=results, chart=loads), company_of_load
        for column in ("final_loss", "final_accuracy"):
            if column in results.runs and results.runs[column].notna().any():
                of_end = Chart(x=first, y=column)
                yield column, partial(_lines_apart, results=results, chart=of_end), [*company, *band]
        if (results.runs["error_norm_mean"] > 0).any() and len(frames.combinations(table, panels)) <= 3:
            meaning = ["error norm: of the sum of chunk gradients; exact: share of jobs without any error"]
            yield "error", partial(draw_errors, results=results), [*meaning, "log axis with 0 below it"]
    maps = _maps(every, metric, table, entries)
    remarks += [text for key in list(entries)[:2] for text in frames.companions(table, entries, key)]
    for name, cells in maps.items():
        yield f"best_scheme{name}", partial(draw_best, cells=cells), [*remarks, *cells.remarks]
        yield f"gain{name}", partial(draw_gain, cells=cells, beside=list(maps.values())), remarks
        if 2 <= len(cells.schemes) - 1 <= frames.MOST_PANELS:
            yield f"gains{name}", partial(draw_gains, cells=cells, beside=list(maps.values())), remarks
    surroundings = frames.unchosen_keys(table, entries)
    if len(frames.combinations(table, surroundings)) <= frames.MOST_PANELS:
        yield (
            "load_latency",
            partial(draw_load_latency, results=results, surroundings=surroundings),
            remarks_of(results),
        )


def _lines_apart(sheet: Sheet, results: Results, chart: Chart) -> None:
    """Draw lines unless all schemes have the same."""
    table = frames.at_points(results, chart.y).pivot(index="point", columns="scheme", values="value")
    refuse_alike(list(table.to_numpy().T), f"all schemes have the same {name_of(chart.y, results.runs)} at every point")
    draw_lines(sheet, results, chart)


def _maps(results: Results, metric: str, table: pd.DataFrame, entries: Mapping[str, Sequence[str]]) -> dict[str, Map]:
    """Maps over the first two entries, one for each choice of the others, by the ending of their file names."""
    axes, names = list(entries)[:2], frames.short_names(table, entries)
    others = frames.undetermined(table, {entry: keys for entry, keys in entries.items() if entry not in axes}, [])
    choices = frames.combinations(table, others)
    maps: dict[str, Map] = {}
    if len(axes) < 2 or len(choices) > frames.MOST_PANELS:
        return maps
    for choice in choices:
        kept = Results(frames.rows_at(results.runs, others, choice), scenario=results.scenario)
        cells = map_of(kept, axes, metric, names)
        if cells is not None:
            ending = "".join(f"-{key}-{said(value)}" for key, value in zip(others, choice, strict=True))
            title = frames.title_of([names.get(key, key) for key in others], choice, 60)
            maps[file_name(ending)] = replace(cells, title=title)
    return maps


def chart_figure(results: Results, chart: Chart) -> tuple[Draw, list[str]]:
    """The drawing of a chart, and what its caption has to add.

    Raises
    ------
    ChartError
        If a key or column does not exist or holds no numbers, or the chart would have too many panels.
    """
    shown = prepared(results, chart)
    remarks = [f"only {setting(key, ' or '.join(map(said, values)))}" for key, values in chart.where.items()]
    remarks += [f"a line for each {key_name(chart.by)}"] if chart.by != "scheme" else []
    metric, why = frames.main_metric(results)
    if why and chart.y != metric:
        remarks.append("schemes failed different numbers of jobs: compare jobs per second")
    remarks += frames.companions(shown.table, frames.swept_entries(results), chart.x, shown.panels)
    remarks += bound_remarks(results, chart)
    if chart.y not in frames.FIXED and shown.table["n_trials"].max() > 1:
        remarks.append("band or bar: 95 % interval over trials")
    return partial(draw_lines, results=results, chart=chart), remarks
