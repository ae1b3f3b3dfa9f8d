"""The figures of a run, one column wide, as PNG and SVG: readable in grey print and with colour-blind eyes."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.choices import Measure
from simulator.parameters import FloatArray
from simulator.plots.stragglers import draw_stragglers, one_sided, straggler_logs
from simulator.plots.style import (
    GREY,
    HOLLOW,
    WIDTH_IN,
    Draw,
    SaysNothingError,
    add_legend,
    literal,
    log_with_zero,
    looks_of,
    refuse_alike,
    save,
    style,
    widen_beneath,
    wrapped,
)
from simulator.plots.sweep.charts import Chart
from simulator.plots.sweep.figures import chart_figure, sweep_figures
from simulator.plots.sweep.frames import ChartError
from simulator.plots.timeline import draw_timeline, timelines
from simulator.plots.training import training_figures
from simulator.results.fairness import fairness
from simulator.results.results import MOST_POINTS, Results
from simulator.results.summary import summary
from simulator.scenario.scenario import Scenario
from simulator.statistics import TIE


class Drawn(NamedTuple):
    """What came of drawing all figures."""

    paths: list[Path]  # of the PNGs
    left_out: dict[str, str]  # why a figure would say nothing, by its name


def draw(results: Results, folder: Path, scenario: Scenario | None = None) -> Drawn:
    """Write every figure that the results allow and that says something, as PNG and as SVG.

    Parameters
    ----------
    results
        Of one point, or of a sweep, which gets figures of its own.
    folder
        Where to write; it is made if it does not exist.
    scenario
        What was run. Trial 0 of it is run again for the figures of single workers; without it there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = Drawn([], {})
    for name, figure in _made(results, scenario):
        if isinstance(figure, Figure):
            drawn.paths.append(save(figure, folder, name))
        else:
            drawn.left_out[name] = str(figure)
    return drawn


def draw_chart(results: Results, folder: Path, chart: Chart) -> Path:
    """Write one figure, of a column of the runs table against a swept key or another column.

    Returns
    -------
    path
        Of the PNG.

    Raises
    ------
    ChartError
        If the results do not allow it.
    """
    draw_on, remarks = _curve_figure(results, chart) or chart_figure(results, chart)
    figure = _figure(results, draw_on, remarks)
    folder.mkdir(parents=True, exist_ok=True)
    return save(figure, folder, chart.name)


def _curve_figure(results: Results, chart: Chart) -> tuple[Draw, list[str]] | None:
    """Loss or accuracy against time, which are in a table of their own; None if the chart is of something else."""
    if chart.x != "time_s" or chart.y not in get_args(Measure) or results.training is None:
        return None
    if chart.by != "scheme":
        raise ChartError(f"--by {chart.by}: must be scheme with --x time_s, of which each has a line")
    for name, draw_on, remarks in training_figures(results, chart.where):
        if name == chart.y:
            return draw_on, remarks
    if results.training[chart.y].isna().all():
        raise ChartError(f"--y {chart.y}: must be loss where nothing is classified")
    raise ChartError(f"--where: must leave between 1 and {MOST_POINTS} points that have {chart.y}")


def run_figures(results: Results, scenario: Scenario | None = None) -> Iterator[tuple[str, Figure]]:
    """Make the figures that say something one after another, each with its name."""
    return ((name, figure) for name, figure in _made(results, scenario) if isinstance(figure, Figure))


def _made(results: Results, scenario: Scenario | None) -> Iterator[tuple[str, Figure | SaysNothingError]]:
    for name, draw_on, what in _drawings(results, scenario):
        try:
            yield name, _figure(results, draw_on, what)
        except SaysNothingError as why:
            yield name, why


def _figure(results: Results, draw_on: Draw, what: Sequence[str]) -> Figure:
    with style():
        figure = Figure(figsize=(WIDTH_IN, 2.4), layout="constrained")
        draw_on(figure)
        for axes in figure.axes:
            widen_beneath(axes)
        note = textwrap.fill("; ".join([*what, literal(fairness(results))]), 86)
        figure.supxlabel(note, x=0.01, ha="left", fontsize=5.5, color=GREY)
    return figure


def _drawings(results: Results, scenario: Scenario | None) -> Iterator[tuple[str, Draw, list[str]]]:
    """Name and drawing of each figure, and what its small line has to add."""
    if results.runs["point"].nunique() > 1:
        yield from sweep_figures(results)
        yield from training_figures(results)
        return
    yield "makespan", lambda figure: _makespan(figure, results), []
    jobs = results.jobs
    if jobs is not None:
        yield "jobs_finished", lambda figure: _jobs_finished(figure, jobs), ["trial 0"]
        remarks = ["log axis with 0 below it"]
        remarks += ["failed jobs count as infinite"] if jobs["latency_s"].isna().any() else []
        yield "latency", lambda figure: _latency(figure, jobs), remarks
    yield from training_figures(results)
    yield "load_makespan", lambda figure: _load_makespan(figure, results), []
    if scenario is not None:
        _, at_point = scenario.all_points()[0]
        logs = straggler_logs(at_point)
        yield "stragglers", lambda figure: draw_stragglers(figure, logs), ["trial 0", *one_sided(logs)]
        shown = timelines(at_point, logs)
        yield "timeline", lambda figure: draw_timeline(figure, shown, at_point), ["trial 0"]


def _half_widths(table: pd.DataFrame) -> FloatArray:
    """Lengths from the mean makespan to the ends of the interval, shape ``(2, rows)``; 0 for a single trial."""
    mean_s = table["makespan_s"]
    ends = [mean_s - table["makespan_low_s"], table["makespan_high_s"] - mean_s]
    return np.nan_to_num(np.array(ends, dtype=np.float64))


def _makespan_label(table: pd.DataFrame) -> str:
    return "makespan (seconds)" if table["n_trials"].max() < 2 else "mean makespan (seconds), 95 % interval"


def _makespan(figure: Figure, results: Results) -> None:
    """Makespan of each scheme; one that failed jobs is hollow and says so, because it did less."""
    table = summary(results.runs)
    n_jobs = int(results.runs.groupby("scheme")["n_jobs"].sum().iloc[0])
    looks = looks_of(list(table["scheme"]))
    labels = [wrapped(label, 20) for label in looks]
    row_in = max(0.3, *(0.12 * len(label.splitlines()) + 0.04 for label in labels))
    figure.set_figheight(0.75 + row_in * len(table))
    axes = figure.subplots()
    remarks = [_remark(row, n_jobs) for row in table.to_dict("records")]
    mean_s, half_s = table["makespan_s"].to_numpy(dtype=np.float64), _half_widths(table)
    for place, (look, remark) in enumerate(zip(looks.values(), remarks, strict=True)):
        hollow: dict[str, Any] = {"facecolor": "white", "edgecolor": look.colour, "hatch": "////"}
        axes.barh(place, mean_s[place], height=0.6, **(hollow if remark else {"color": look.colour}))
    low_s, high_s = mean_s - half_s[0], mean_s + half_s[1]
    if half_s.any():  # black on white, to be seen on a bar of any colour
        axes.hlines(range(len(table)), low_s, high_s, color="white", linewidth=2.4, zorder=3)
        axes.hlines(range(len(table)), low_s, high_s, color="black", linewidth=0.9, zorder=4)
    _say_beside(axes, high_s, [text + remark for text, remark in zip(_figures(mean_s), remarks, strict=True)])
    axes.set_yticks(range(len(table)), labels)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel(_makespan_label(table))
    is_ideal = table["scheme"].isin(results.runs.loc[results.runs["kind"] == "ideal", "scheme"]).to_numpy()
    if is_ideal.any():
        axes.axvline(mean_s[is_ideal][0], color=GREY, linestyle="--", linewidth=0.9, zorder=0)
        axes.set_title("dashed: the T = 0 reference (ideal)", fontsize=6.5, loc="right")


def _say_beside(axes: Axes, ends_s: FloatArray, texts: Sequence[str]) -> None:
    """Put each text to the right of its bar, and end the axis where there is room for all of them."""
    limits_s = []
    for place, (end_s, text) in enumerate(zip(ends_s, texts, strict=True)):
        how: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 6.5, "linespacing": 1.0}
        axes.annotate(text, (end_s, place), (3, 0), **how).set_in_layout(False)
        longest = max(len(line) for line in text.splitlines())
        limits_s.append(end_s / (1 - min(0.6, (3.6 * longest + 6) / 165)))  # in points, of the width of the axes
    axes.set_xlim(0, max(limits_s) or 1.0)


def _figures(values: FloatArray) -> list[str]:
    """Numbers with as many decimals as the largest needs for four figures."""
    largest = float(values.max(initial=0))
    decimals = max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 0
    return [f"{value:.{decimals}f}" for value in values]


def _remark(row: Mapping[Any, Any], n_jobs: int) -> str:
    """Say what makes a makespan incomparable."""
    if row["decode_failures"]:
        return f"\n{row['decode_failures']} of {n_jobs} jobs failed"
    if row["relative_error_mean"] > 0:
        return f"\napproximate: error {row['relative_error_mean']:.2g}"
    return ""


def _jobs_finished(figure: Figure, jobs: pd.DataFrame) -> None:
    """Jobs finished against time in trial 0: over trials, the bands of a few schemes hide each other."""
    looks = looks_of(list(jobs["scheme"].unique()))
    in_trial_0 = jobs[jobs["trial"] == 0].groupby("scheme", sort=False)["decoded_s"]
    ends_s = {str(label): np.concatenate([[0.0], np.sort(ends_s.dropna())]) for label, ends_s in in_trial_0}
    if max(map(len, ends_s.values())) == 1:
        raise SaysNothingError("no job was decoded in trial 0")
    refuse_alike(list(ends_s.values()), "all schemes finish their jobs at the same times in trial 0")
    figure.set_figheight(2.5)
    axes = figure.subplots()
    for label, at_s in ends_s.items():
        look = looks[label]
        finished = np.arange(len(at_s))
        axes.step(at_s, finished, where="post", color=look.colour, linestyle=look.dashes)
        axes.plot(at_s[-1], finished[-1], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
    axes.set(xlabel="simulated time (seconds)", ylabel="jobs finished", xlim=(0, None), ylim=(0, None))
    add_legend(figure, looks)


def _latency(figure: Figure, jobs: pd.DataFrame) -> None:
    """Share of jobs that take longer; a failed job takes for ever. The logarithm shows the slow few."""
    looks = looks_of(list(jobs["scheme"].unique()))
    by_scheme = jobs.groupby("scheme", sort=False)["latency_s"]
    if jobs["latency_s"].isna().all():
        raise SaysNothingError("no job was decoded")
    in_order = [np.sort(latency_s.fillna(np.inf)) for _, latency_s in by_scheme]
    refuse_alike(in_order, "all schemes have the same latencies")
    figure.set_figheight(2.5)
    axes = figure.subplots()
    longest_s = 1.04 * jobs["latency_s"].max()
    least = 1.0
    for label, group in by_scheme:
        look, n_jobs = looks[str(label)], len(group)
        latency_s, n_each = np.unique(group.dropna(), return_counts=True)
        longer = 1 - np.concatenate([[0], np.cumsum(n_each)]) / n_jobs
        longer[np.abs(longer) < 1e-12] = 0.0
        least = min(least, float(longer[longer > 0].min()))
        at_s = np.concatenate([[0.0], latency_s])
        if longer[-1] > 0 and np.isfinite(longest_s):
            at_s, longer = np.append(at_s, longest_s), np.append(longer, longer[-1])
        axes.step(at_s, longer, where="post", color=look.colour, linestyle=look.dashes)
        last = int(np.flatnonzero(longer > 0)[-1])
        end_s = at_s[min(last + 1, len(at_s) - 1)]  # where the line leaves the figure
        axes.plot(end_s, longer[last], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
    log_with_zero(axes, least, 1.0)
    axes.set(xlim=(0, longest_s if longest_s > 0 else 1.0))
    axes.set(xlabel="job latency (seconds)", ylabel="share of jobs that take longer")
    add_legend(figure, looks)


def _load_makespan(figure: Figure, results: Results) -> None:
    table = summary(results.runs)
    if len(table) > 1 and np.ptp(table["load"]) <= TIE * table["load"].max():
        raise SaysNothingError(f"all schemes have load {table['load'].iloc[0]:.4g}")
    looks = looks_of(list(table["scheme"]))
    figure.set_figheight(2.4)
    axes = figure.subplots()
    for row, look, half_s in zip(table.to_dict("records"), looks.values(), _half_widths(table).T, strict=True):
        fill = "white" if row["decode_failures"] else look.colour
        at = row["load"], row["makespan_s"]
        axes.plot(*at, look.marker, color=look.colour, markerfacecolor=fill, markersize=5)
        if half_s.any():
            bar: dict[str, Any] = {"color": look.colour, "capsize": 2, "linewidth": 0.9, "zorder": 1}
            axes.errorbar(*at, yerr=half_s[:, np.newaxis], fmt="none", **bar)
    axes.margins(0.12)
    axes.set_xlabel("load (share of a job, per worker and round)")
    axes.set_ylabel(_makespan_label(table).replace(", ", ",\n"))
    add_legend(figure, looks, has_lines=False, extra=[HOLLOW] if table["decode_failures"].any() else [])
