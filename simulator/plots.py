"""The pictures of a run, one column wide, as PNG and SVG: readable in grey print and with colour-blind eyes."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from schemes.base import FloatArray
from simulator.closeups import draw_stragglers, draw_timeline, straggler_logs, timelines
from simulator.document import swept_together
from simulator.results import Results, fairness, summary
from simulator.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

WIDTH_IN = 3.4  # one column
DPI = 200
GREY = "#555555"

# Okabe and Ito's colours, grey in place of the yellow, which can't be seen on white
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 0.7)), (0, (8, 2, 1, 2, 1, 2)))

STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "stragglersim",  # the same results are to give the same files
}

Draw = Callable[[Figure], None]


def draw(results: Results, folder: Path, scenario: Scenario | None = None) -> list[Path]:
    """Write every picture that the results allow, as PNG and as SVG.

    Parameters
    ----------
    results
        Of one point, or of a sweep (which gets one picture: makespan against the first swept key).
    folder
        Where to write; it is made if it does not exist.
    scenario
        What was run. Trial 0 of it is run again for the pictures of single workers; without it there are none.

    Returns
    -------
    paths
        Of the PNGs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures(results, scenario):
        path = folder / f"{name}.png"
        with _style():  # ticks are made when a figure is written
            figure.savefig(path, dpi=DPI)
            figure.set_layout_engine("none")  # what is laid out stays
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        paths.append(path)
    return paths


def figures(results: Results, scenario: Scenario | None = None) -> Iterator[tuple[str, Figure]]:
    """Make the pictures one after another, each with its name."""
    for name, draw_on, what in _pictures(results, scenario):
        with _style():
            figure = Figure(figsize=(WIDTH_IN, 2.4), layout="constrained")
            draw_on(figure)
            note = textwrap.fill("; ".join([*what, _literal(fairness(results))]), 86)
            figure.supxlabel(note, x=0.01, ha="left", fontsize=5.5, color=GREY)
        yield name, figure


def _style() -> Any:
    # from matplotlib's defaults, so that a personal matplotlibrc changes no picture
    return matplotlib.style.context(["default", STYLE])


def _pictures(results: Results, scenario: Scenario | None) -> Iterator[tuple[str, Draw, list[str]]]:
    """Name and drawing of each picture, and what its small line has to add."""
    if results.runs["point"].nunique() > 1:
        has_intervals = results.runs["trial"].nunique() > 1
        what = ["band or bar: 95 % interval over trials"] if has_intervals else []
        yield "makespan", lambda figure: _sweep(figure, results), what
        if (results.runs["error_norm_mean"] > 0).any():
            yield "error", lambda figure: _sweep_errors(figure, results), ["errors of 0 are below the axis"]
        return
    yield "makespan", lambda figure: _makespan(figure, results), []
    jobs = results.jobs
    if jobs is not None:
        yield "jobs_finished", lambda figure: _jobs_finished(figure, jobs), ["trial 0"]
        yield (
            "latency",
            lambda figure: _latency(figure, jobs),
            ["failed jobs take for ever"] if jobs["latency_s"].isna().any() else [],
        )
    yield "load_makespan", lambda figure: _load_makespan(figure, results), []
    if scenario is not None:
        _, at_point = scenario.all_points()[0]
        logs = straggler_logs(at_point)
        yield "stragglers", lambda figure: draw_stragglers(figure, logs), ["trial 0"]
        shown = timelines(at_point, logs)
        yield "timeline", lambda figure: draw_timeline(figure, shown, at_point), ["trial 0"]


def _literal(text: str) -> str:
    """What matplotlib is to show as it is: no formulas, and nothing left out for its underscore."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _wrapped(label: str, width: int) -> str:
    """A label of any length; wrapped, not cut, so that two of them stay different."""
    return _literal("\n".join(textwrap.wrap(label, width) or [label]))


class Look(NamedTuple):
    """How a scheme is drawn in every picture."""

    colour: str
    marker: str
    dashes: Any


def _looks(schemes: Sequence[str]) -> dict[str, Look]:
    n = len(COLOURS)
    # from the ninth on, colours come again with other markers and lines
    return {
        label: Look(COLOURS[place % n], MARKERS[(place + place // n) % n], DASHES[(place + place // n) % n])
        for place, label in enumerate(schemes)
    }


def _legend(figure: Figure, looks: dict[str, Look], *, has_lines: bool = True, extra: Sequence[Line2D] = ()) -> None:
    """Add a legend above the axes, in as many columns as the labels leave room for; the figure grows by it."""
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes if has_lines else "none")
        for look in looks.values()
    ]
    labels = [*(_wrapped(label, 26) for label in looks), *(str(line.get_label()) for line in extra)]
    longest = max(len(line) for label in labels for line in label.splitlines())
    n_columns = max(1, min(4, int(240 / (3.9 * longest + (34 if has_lines else 24)))))  # in points
    n_lines = math.ceil(sum(len(label.splitlines()) for label in labels) / n_columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.14 * n_lines)
    figure.legend(
        [*handles, *extra],
        labels,
        loc="outside upper center",
        ncols=n_columns,
        frameon=False,
        handlelength=3 if has_lines else 1,
        columnspacing=1.2,
    )


def _half_widths(table: pd.DataFrame) -> FloatArray:
    """From the mean makespan down and up to the ends of the interval, shape ``(2, rows)``; 0 for a single trial."""
    mean_s = table["makespan_s"]
    ends = [mean_s - table["makespan_low_s"], table["makespan_high_s"] - mean_s]
    return np.nan_to_num(np.array(ends, dtype=np.float64))


def _with_interval(axis_label: str, table: pd.DataFrame) -> str:
    if table["n_trials"].max() < 2:
        return f"{axis_label} (seconds)"
    return f"mean {axis_label} (seconds), 95 % interval"


def _makespan(figure: Figure, results: Results) -> None:
    """Makespan of each scheme; one that failed jobs is hollow and says so, because it did less."""
    table = summary(results.runs)
    n_jobs = int(results.runs.groupby("scheme")["n_jobs"].sum().iloc[0])
    looks = _looks(list(table["scheme"]))
    labels = [_wrapped(label, 20) for label in looks]
    row_in = max(0.3, *(0.12 * len(label.splitlines()) + 0.04 for label in labels))
    figure.set_figheight(0.75 + row_in * len(table))
    axes = figure.subplots()
    remarks = [_remark(row, n_jobs) for row in table.to_dict("records")]
    mean_s, half_s = table["makespan_s"].to_numpy(dtype=np.float64), _half_widths(table)
    for place, (look, remark) in enumerate(zip(looks.values(), remarks, strict=True)):
        hollow: dict[str, Any] = {"facecolor": "white", "edgecolor": look.colour, "hatch": "////"}
        axes.barh(place, mean_s[place], height=0.6, **(hollow if remark else {"color": look.colour}))
    _intervals(axes, mean_s, half_s)
    _say_beside(
        axes, mean_s + half_s[1], [f"{text}{remark}" for text, remark in zip(_figures(mean_s), remarks, strict=True)]
    )
    axes.set_yticks(range(len(table)), labels)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel(_with_interval("makespan", table))
    is_ideal = table["scheme"].isin(results.runs.loc[results.runs["kind"] == "ideal", "scheme"]).to_numpy()
    if is_ideal.any():
        axes.axvline(mean_s[is_ideal][0], color=GREY, linestyle="--", linewidth=0.9, zorder=0)
        axes.set_title("dashed: the T = 0 reference (ideal)", fontsize=6.5, loc="right")


def _say_beside(axes: Axes, ends_s: FloatArray, texts: Sequence[str]) -> None:
    """Put each text to the right of its bar, and end the axis where there is room for all of them."""
    limits_s = []
    for place, (end_s, text) in enumerate(zip(ends_s, texts, strict=True)):
        said = axes.annotate(
            text, (end_s, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5, linespacing=1.0
        )
        said.set_in_layout(False)
        longest = max(len(line) for line in text.splitlines())
        limits_s.append(end_s / (1 - min(0.6, (3.6 * longest + 6) / 165)))  # in points, of the width of the axes
    axes.set_xlim(0, max(limits_s) or 1.0)


def _figures(values: FloatArray) -> list[str]:
    """Numbers with as many decimals as the largest needs for four figures."""
    largest = float(values.max(initial=0))
    decimals = max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 0
    return [f"{value:.{decimals}f}" for value in values]


def _remark(row: Mapping[Any, Any], n_jobs: int) -> str:
    """What makes a makespan incomparable."""
    if row["decode_failures"]:
        return f"\n{row['decode_failures']} of {n_jobs} jobs failed"
    if row["relative_error_mean"] > 0:
        return f"\napproximate: error {row['relative_error_mean']:.2g}"
    return ""


def _intervals(axes: Axes, mean_s: FloatArray, half_s: FloatArray) -> None:
    """Draw intervals in black on white, so that they are seen on a bar of any colour."""
    ends = mean_s - half_s[0], mean_s + half_s[1]
    if half_s.any():
        axes.hlines(np.arange(len(mean_s)), *ends, color="white", linewidth=2.4, zorder=3)
        axes.hlines(np.arange(len(mean_s)), *ends, color="black", linewidth=0.9, zorder=4)


def _jobs_finished(figure: Figure, jobs: pd.DataFrame) -> None:
    """Jobs finished against time in trial 0: over trials, the bands of a few schemes hide each other."""
    looks = _looks(list(jobs["scheme"].unique()))
    figure.set_figheight(2.5)
    axes = figure.subplots()
    for label, group in jobs[jobs["trial"] == 0].groupby("scheme", sort=False):
        look = looks[str(label)]
        at_s = np.concatenate([[0.0], np.sort(group["decoded_s"].dropna())])
        finished = np.arange(len(at_s))
        axes.step(at_s, finished, where="post", color=look.colour, linestyle=look.dashes)
        axes.plot(at_s[-1], finished[-1], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
    axes.set_xlabel("simulated time (seconds)")
    axes.set_ylabel("jobs finished")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    _legend(figure, looks)


def _latency(figure: Figure, jobs: pd.DataFrame) -> None:
    """Share of jobs that take longer; a failed job takes for ever. The logarithm shows the slow few."""
    looks = _looks(list(jobs["scheme"].unique()))
    figure.set_figheight(2.5)
    axes = figure.subplots()
    longest_s = 1.04 * jobs["latency_s"].max()
    least = 1.0
    for label, group in jobs.groupby("scheme", sort=False):
        look, n_jobs = looks[str(label)], len(group)
        latency_s, n_each = np.unique(group["latency_s"].dropna(), return_counts=True)
        longer = 1 - np.concatenate([[0], np.cumsum(n_each)]) / n_jobs
        longer[np.abs(longer) < 1e-12] = 0.0
        least = min(least, float(longer[longer > 0].min()))
        at_s = np.concatenate([[0.0], latency_s])
        if longer[-1] > 0 and np.isfinite(longest_s):
            at_s, longer = np.append(at_s, longest_s), np.append(longer, longer[-1])
        axes.step(at_s, longer, where="post", color=look.colour, linestyle=look.dashes)
        _mark_end(axes, look, at_s, longer)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0.7 * least, 1.15)
    axes.set_xlim(0, longest_s if longest_s > 0 else 1.0)
    axes.set_xlabel("job latency (seconds)")
    axes.set_ylabel("share of jobs that take longer")
    _legend(figure, looks)


def _mark_end(axes: Axes, look: Look, at_s: FloatArray, longer: FloatArray) -> None:
    """Put the scheme's marker where its line leaves the picture."""
    last = int(np.flatnonzero(longer > 0)[-1])
    end_s = at_s[min(last + 1, len(at_s) - 1)]
    axes.plot(end_s, longer[last], color=look.colour, marker=look.marker, clip_on=False, zorder=3)


def _load_makespan(figure: Figure, results: Results) -> None:
    """What the load buys."""
    table = summary(results.runs)
    looks = _looks(list(table["scheme"]))
    figure.set_figheight(2.4)
    axes = figure.subplots()
    for row, look, half_s in zip(table.to_dict("records"), looks.values(), _half_widths(table).T, strict=True):
        fill = "white" if row["decode_failures"] else look.colour
        at = row["load"], row["makespan_s"]
        axes.plot(*at, look.marker, color=look.colour, markerfacecolor=fill, markersize=5)
        if half_s.any():
            axes.errorbar(
                *at, yerr=half_s[:, np.newaxis], fmt="none", color=look.colour, capsize=2, linewidth=0.9, zorder=1
            )
    axes.margins(0.12)
    axes.set_xlabel("load (share of a job, per worker and round)")
    axes.set_ylabel(_with_interval("makespan", table).replace(", ", ",\n"))
    _legend(figure, looks, has_lines=False, extra=[HOLLOW] if table["decode_failures"].any() else [])


HOLLOW = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="none", label="hollow: jobs failed")


def _sweep(figure: Figure, results: Results) -> None:
    """Makespan against the first swept key, a line for each scheme, a panel for each choice of the other keys."""
    table, keys = _at_points(results)
    first, *others = keys
    looks = _looks(list(table["scheme"].unique()))
    choices = list(table[others].drop_duplicates().itertuples(index=False)) if others else [()]
    n_columns = 1 if len(choices) % 2 else 2
    n_rows = len(choices) // n_columns
    figure.set_figheight(0.6 + 1.7 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, choice in zip(grid.flat, choices, strict=True):
        here = table[(table[others] == list(choice)).all(axis=1)] if others else table
        _sweep_lines(axes, here, first, looks)
        says = ", ".join(f"{key} = {_said(value)}" for key, value in zip(others, choice, strict=True))
        axes.set_title(_wrapped(says, 28 if n_columns > 1 else 60), fontsize=6.5)
    for axes in grid[:, 0]:
        axes.set_ylabel("makespan (seconds)" if table["n_trials"].max() < 2 else "mean makespan\n(seconds)")
    for axes in grid[-1]:
        axes.set_xlabel(_key_label(first, 44 // n_columns))
    _legend(figure, looks, extra=[HOLLOW] if table["decode_failures"].any() else [])


def _sweep_errors(figure: Figure, results: Results) -> None:
    """Error of the gradient against the first swept key, and below it the share of jobs without any error."""
    table, keys = _at_points(results)
    first, *others = keys
    looks = _looks(list(table["scheme"].unique()))
    choices = list(table[others].drop_duplicates().itertuples(index=False)) if others else [()]
    figure.set_figheight(3.6)
    grid = figure.subplots(2, len(choices), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2))
    for (above, below), choice in zip(grid.T, choices, strict=True):
        here = table[(table[others] == list(choice)).all(axis=1)] if others else table
        for label, group in here.groupby("scheme", sort=False):
            look, at = looks[str(label)], group[first].to_numpy(dtype=np.float64)
            norm = group["error_norm_mean"].to_numpy(dtype=np.float64)
            style = {"color": look.colour, "linestyle": look.dashes, "marker": look.marker, "markersize": 3.5}
            above.plot(at, np.where(norm > 0, norm, np.nan), **style)
            below.plot(at, 100 * group["exact_share"].to_numpy(dtype=np.float64), **style)
        above.set_yscale("log")
        below.set_ylim(-5, 105)
        below.set_xlabel(_key_label(first, 44 // len(choices)).replace(" (", "\n("))
        says = ", ".join(f"{key} = {_said(value)}" for key, value in zip(others, choice, strict=True))
        above.set_title(_wrapped(says, 60 // len(choices)), fontsize=6.5)
    grid[0, 0].set_ylabel("mean error norm\n(of chunk gradients)")
    grid[1, 0].set_ylabel("recovered\nexactly (%)")
    _legend(figure, looks)


def _said(value: object) -> str:
    """A swept value; a whole mapping, which the tables hold as text, without its punctuation."""
    return re.sub(r"[{}']", "", str(value)).removeprefix("kind: ")


def _key_label(key: str, width: int) -> str:
    """A dotted key, wrapped at its dots."""
    lines = textwrap.wrap(key.replace(".", ". "), width, break_long_words=False)
    return _literal("\n".join(lines).replace(". ", ".")) + (" (seconds)" if key.endswith("_s") else "")


def _at_points(results: Results) -> tuple[pd.DataFrame, list[str]]:
    """The summary with the swept values of each point."""
    # keys that vary together have one axis: that of the first
    keys = [
        key for key in (swept_together(entry)[0] for entry in results.scenario.get("sweep", {})) if key in results.runs
    ]
    values = results.runs.groupby("point")[keys].first()
    return summary(results.runs).join(values, on="point"), keys or ["point"]


def _sweep_lines(axes: Axes, table: pd.DataFrame, key: str, looks: dict[str, Look]) -> None:
    """Lines with bands over numbers; over other values, between which there is nothing, points side by side."""
    values = list(dict.fromkeys(table[key]))
    is_number = not any(isinstance(value, str | bool | np.bool_) for value in values)
    for place, (label, group) in enumerate(table.groupby("scheme", sort=False)):
        look, ordered = looks[str(label)], group.sort_values(key) if is_number else group
        shift = 0.6 * ((place + 0.5) / len(looks) - 0.5)
        places = ordered[key] if is_number else [values.index(value) + shift for value in ordered[key]]
        at, mean_s = np.array(places, dtype=np.float64), ordered["makespan_s"].to_numpy(dtype=np.float64)
        _line_or_points(axes, look, at, mean_s, _half_widths(ordered), is_line=is_number)
        has_failed = ordered["decode_failures"].to_numpy() > 0
        for which, fill in ((~has_failed, look.colour), (has_failed, "white")):
            axes.plot(at[which], mean_s[which], look.marker, color=look.colour, markerfacecolor=fill)
    if not is_number:
        axes.set_xticks(range(len(values)), [_wrapped(_said(value), 12) for value in values])
    elif len(values) <= 8 and max(values) <= 50 * min(values):
        axes.set_xticks(values)
    elif min(values) > 0 and max(values) > 50 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")


def _line_or_points(
    axes: Axes, look: Look, at: FloatArray, mean_s: FloatArray, half_s: FloatArray, *, is_line: bool
) -> None:
    if is_line:
        axes.plot(at, mean_s, color=look.colour, linestyle=look.dashes)
        axes.fill_between(at, mean_s - half_s[0], mean_s + half_s[1], color=look.colour, alpha=0.15, linewidth=0)
    else:
        axes.errorbar(at, mean_s, yerr=half_s, fmt="none", color=look.colour, linewidth=0.9)
