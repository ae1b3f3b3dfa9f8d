"""Figures of one point: makespan, jobs finished, latency and load of each scheme."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from simulator.parameters import FloatArray
from simulator.plots.sheet import HOLLOW, Sheet
from simulator.plots.style import COLOURS, GREY, WIDTH_IN, SaysNothingError, log_with_zero, refuse_alike
from simulator.plots.text import wrapped
from simulator.results.results import Results
from simulator.results.summary import name_of, summary
from simulator.statistics import TIE, half_width

MOST_TIMES = 2000  # of a line


def _half_widths(table: pd.DataFrame) -> FloatArray:
    """Lengths from the mean makespan to the ends of the interval, shape ``(2, rows)``; 0 for a single trial."""
    mean_s = table["makespan_s"]
    ends = [mean_s - table["makespan_low_s"], table["makespan_high_s"] - mean_s]
    return np.nan_to_num(np.array(ends, dtype=np.float64))


def _makespan_label(results: Results, table: pd.DataFrame) -> str:
    name = name_of("makespan_s", results.runs)
    return f"{name} (seconds)" if table["n_trials"].max() < 2 else f"mean {name} (seconds), 95 % interval"


def draw_makespan(sheet: Sheet, results: Results, schemes: Sequence[str]) -> None:
    """Makespan of each scheme; one that failed jobs is hollow and says so, because it did less.

    Schemes look as they do in this order.
    """
    table = summary(results.runs)
    n_jobs = int(results.runs.groupby("scheme")["n_jobs"].sum().iloc[0])
    looks = sheet.looks(schemes)
    labels = [wrapped(label, 20) for label in table["scheme"]]
    row_in = max(0.3, *(0.12 * len(label.splitlines()) + 0.04 for label in labels))
    sheet.set_height(0.75 + row_in * len(table))
    axes = sheet.panel()
    remarks = [_remark(row, n_jobs) for row in table.to_dict("records")]
    mean_s, half_s = table["makespan_s"].to_numpy(dtype=np.float64), _half_widths(table)
    for place, (label, remark) in enumerate(zip(table["scheme"], remarks, strict=True)):
        colour = looks[label].colour
        hollow: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "hatch": "////"}
        axes.barh(place, mean_s[place], height=0.6, **(hollow if remark else {"color": colour}))
    low_s, high_s = mean_s - half_s[0], mean_s + half_s[1]
    if half_s.any():  # black on white, to be seen on a bar of any colour
        axes.hlines(range(len(table)), low_s, high_s, color="white", linewidth=2.4, zorder=3)
        axes.hlines(range(len(table)), low_s, high_s, color="black", linewidth=0.9, zorder=4)
    room = 165 * sheet.width_in / WIDTH_IN
    _say_beside(axes, room, high_s, [text + remark for text, remark in zip(_figures(mean_s), remarks, strict=True)])
    axes.set_yticks(range(len(table)), labels)
    axes.set_ylim(len(table) - 0.5, -0.5)
    label = _makespan_label(results, table)
    axes.set_xlabel(label if len(label) <= 40 * sheet.width_in / WIDTH_IN else label.replace(", ", ",\n"))
    is_ideal = table["scheme"].isin(results.runs.loc[results.runs["kind"] == "ideal", "scheme"]).to_numpy()
    if is_ideal.any():
        axes.axvline(mean_s[is_ideal][0], color=GREY, linestyle="--", linewidth=0.9, zorder=0)
        axes.set_title("dashed: the T = 0 reference (ideal)", loc="right")


def _say_beside(axes: Axes, room: float, ends_s: FloatArray, texts: Sequence[str]) -> None:
    """Put each text to the right of its bar, and end the axis, so many points long, where all of them have room."""
    limits_s, letter = [], 0.45 * rcParams["font.size"]
    for place, (end_s, text) in enumerate(zip(ends_s, texts, strict=True)):
        how: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": "small", "linespacing": 1.0}
        axes.annotate(text, (end_s, place), (3, 0), **how).set_in_layout(False)
        longest = max(len(line) for line in text.splitlines())
        limits_s.append(end_s / (1 - min(0.6, (letter * longest + 6) / room)))
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


def has_bands(jobs: pd.DataFrame) -> bool:
    """Say whether there are several trials, and so few schemes that their bands can be told apart."""
    return jobs["trial"].nunique() > 1 and jobs["scheme"].nunique() <= len(COLOURS)


def draw_jobs_finished(sheet: Sheet, jobs: pd.DataFrame) -> None:
    """Jobs finished against time: the mean over trials, with a 95 % interval (Student's t) as a band of few schemes."""
    looks = sheet.looks(list(jobs["scheme"].unique()))
    n_jobs = jobs["job"].nunique()
    trials = {
        str(label): [np.sort(ends_s.dropna()) for _, ends_s in of_scheme.groupby("trial")["decoded_s"]]
        for label, of_scheme in jobs.groupby("scheme", sort=False)
    }
    joined = [np.concatenate(ends_s) for ends_s in trials.values()]
    if not any(map(len, joined)):
        raise SaysNothingError("no job was decoded")
    refuse_alike(joined, "all schemes finish their jobs at the same times")
    sheet.set_height(2.5)
    axes = sheet.panel()
    for label, ends_s in trials.items():
        look = looks[label]
        at_s = np.unique(np.concatenate([[0.0], *ends_s]))
        at_s = at_s[np.unique(np.linspace(0, len(at_s) - 1, MOST_TIMES).astype(np.int64))]
        finished = np.array([np.searchsorted(each, at_s, side="right") for each in ends_s])
        mean = finished.mean(axis=0)
        axes.step(at_s, mean, where="post", color=look.colour, linestyle=look.dashes)
        axes.plot(at_s[-1], mean[-1], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
        if has_bands(jobs):
            half = half_width(finished.std(axis=0, ddof=1), len(finished))
            low, high = np.clip([mean - half, mean + half], 0, n_jobs)
            axes.fill_between(at_s, low, high, step="post", color=look.colour, alpha=0.2, linewidth=0)
    what = "jobs finished (mean)" if jobs["trial"].nunique() > 1 else "jobs finished"
    axes.set(xlabel="time (seconds)", ylabel=what)
    axes.set(xlim=(0, None), ylim=(0, None))
    sheet.add_legend(looks)


def draw_latency(sheet: Sheet, jobs: pd.DataFrame) -> None:
    """Share of jobs that take longer; a failed job takes for ever. The logarithm shows the slow few."""
    looks = sheet.looks(list(jobs["scheme"].unique()))
    by_scheme = jobs.groupby("scheme", sort=False)["latency_s"]
    if jobs["latency_s"].isna().all():
        raise SaysNothingError("no job was decoded")
    in_order = [np.sort(latency_s.fillna(np.inf)) for _, latency_s in by_scheme]
    refuse_alike(in_order, "all schemes have the same latencies")
    sheet.set_height(2.5)
    axes = sheet.panel()
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
    axes.set(xlabel="job latency (seconds)", ylabel=wrapped("share of jobs that take longer", sheet.letters_up))
    sheet.add_legend(looks)


def draw_load_makespan(sheet: Sheet, results: Results, schemes: Sequence[str]) -> None:
    """Makespan against load, a marker for each scheme; these look as they do in this order."""
    table = summary(results.runs)
    if len(table) > 1 and np.ptp(table["load"]) <= TIE * table["load"].max():
        raise SaysNothingError(f"all schemes have load {table['load'].iloc[0]:.4g}")
    looks = sheet.looks(schemes)
    sheet.set_height(2.4)
    axes = sheet.panel()
    for row, half_s in zip(table.to_dict("records"), _half_widths(table).T, strict=True):
        look = looks[row["scheme"]]
        fill = "white" if row["decode_failures"] else look.colour
        at = row["load"], row["makespan_s"]
        axes.plot(*at, look.marker, color=look.colour, markerfacecolor=fill, markersize=5)
        if half_s.any():
            bar: dict[str, Any] = {"color": look.colour, "capsize": 2, "linewidth": 0.9, "zorder": 1}
            axes.errorbar(*at, yerr=half_s[:, np.newaxis], fmt="none", **bar)
    axes.margins(0.12)
    if axes.get_ylim()[0] < 0:
        axes.set_ylim(bottom=0)  # where intervals that reach below are cut
    axes.set_xlabel("load (share of a job, per worker and round)")
    axes.set_ylabel(_makespan_label(results, table).replace(", ", ",\n"))
    sheet.add_legend(looks, has_lines=False, extra=[HOLLOW] if table["decode_failures"].any() else [])
