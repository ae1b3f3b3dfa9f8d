"""The figures of a trace: every time, its rounds, its bursts, and what load costs."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, MaxNLocator

from simulator.parameters import FloatArray
from simulator.plots.saving import save
from simulator.plots.sheet import Draw, Sheet
from simulator.plots.style import BLUE, GREY, ORANGE, SKY, VERMILLION, style
from simulator.statistics import Z, quantile
from simulator.traces.loads import curve
from simulator.traces.measures import LoadSlope, expected_bursts, median_worker_s
from simulator.traces.naming import counted
from simulator.traces.report import Description

N_MARKED = 100  # rounds that have room for markers
N_CELLS = 480  # rounds or workers that a figure has the pixels for


class _Plain(LogFormatter):
    """Labels between powers of ten where there is room for them, as plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _whole_numbers() -> MaxNLocator:
    return MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])


def draw_trace(about: Description, label: str, folder: Path) -> list[Path]:
    """Write the figures of a trace, as PNG and as SVG, with names that begin with its label.

    Returns
    -------
    paths
        Of the PNGs.
    """
    return [save(figure, folder, f"{label}-{name}") for name, figure in trace_figures(about, label)]


def trace_figures(about: Description, label: str) -> Iterator[tuple[str, Figure]]:
    """Make the figures one after another, each with its name."""
    n_rounds, n_workers = about.stragglers.shape
    what = f"{label}: {counted(n_workers, 'worker')}, {counted(n_rounds, 'round')}"
    rule = f"straggler: over {1 + about.mu:g} × the {about.reference} worker's time"
    if about.trace.is_sample:
        what += ", a sample with gaps"
    elif n_gaps := int(np.count_nonzero(~about.trace.follows)):
        what += f", {n_gaps} gap{'s' * (n_gaps > 1)} between them"
    heat_map = partial(_heat_map, duration_s=about.trace.duration_s)
    yield "heat_map", _figure(heat_map, f"Every time by its colour. {what}")
    yield "rounds", _figure(partial(_rounds, about=about), f"Times in each round. {what}; {rule}")
    yield "stragglers", _figure(partial(_counts, about=about), f"Stragglers in each round. {what}; {rule}")
    if about.bursts is not None and len(about.bursts):
        bursts = f"Lengths of bursts. {what}; {rule}; cut ones count as long as seen"
        yield "bursts", _figure(partial(_bursts, about=about), bursts)


def _figure(draw_on: Draw, what: str) -> Figure:
    with style():
        sheet = Sheet()
        draw_on(sheet)
        sheet.figure.set_label(what)
    return sheet.figure


def _heat_map(sheet: Sheet, duration_s: FloatArray) -> None:
    """Every time by its colour, a logarithmic one; of several that share a cell, the longest."""
    n_rounds, n_workers = duration_s.shape
    sheet.set_height(2.4 if n_workers <= 64 else 3.2)
    axes = sheet.panel()
    cell = [math.ceil(n / N_CELLS) for n in duration_s.shape]
    shown = duration_s
    for place, size in enumerate(cell):
        shown = np.maximum.reduceat(shown, np.arange(0, shown.shape[place], size), axis=place)
    finite_s = shown[np.isfinite(shown)]
    least_s, most_s = (float(finite_s.min()), float(finite_s.max())) if finite_s.size else (1.0, 1.0)
    is_log = 0 < least_s < most_s
    image = axes.imshow(
        np.where(np.isfinite(shown), shown, np.nan).T,
        extent=(-0.5, n_rounds - 0.5, n_workers - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
        cmap="cividis_r",
        norm=LogNorm(least_s, most_s) if is_log else Normalize(least_s, most_s or 1.0),
    )
    axes.set(facecolor=VERMILLION, xlabel="round", ylabel="worker")  # the face shows where there is no time
    axes.spines[:].set_visible(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_whole_numbers())
    bar = sheet.figure.colorbar(image, ax=axes, pad=0.02, aspect=30)
    shared = "" if cell == [1, 1] else f"\nlongest of {cell[0]} round(s) × {cell[1]} worker(s)"
    bar.set_label(f"time (seconds{', log scale' if is_log else ''}){shared}")
    if is_log:
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter(_Plain())
    if finite_s.size < shown.size:
        sheet.add_legend({}, extra=[Patch(color=VERMILLION, label="never answered")])


def _rounds(sheet: Sheet, about: Description) -> None:
    duration_s = about.trace.duration_s
    axes = sheet.panel()
    rounds = np.arange(len(duration_s))
    reference_s = duration_s.min(axis=1) if about.reference == "first" else median_worker_s(duration_s)
    low, middle, high = ([quantile(row, share) for row in duration_s] for share in (0.05, 0.5, 0.95))
    bottom, top = (np.where(np.isfinite(ends), ends, np.nan) for ends in (low, high))
    if len(rounds) > 1:
        axes.fill_between(rounds, bottom, top, color=SKY, alpha=0.5, linewidth=0)
    else:
        axes.vlines(rounds, bottom, top, color=SKY, linewidth=6, alpha=0.5)
    last_s = np.where(np.isfinite(duration_s), duration_s, -np.inf).max(axis=1)
    rule = f"{1 + about.mu:g} × {about.reference}"
    size = 4.0 if len(rounds) <= N_MARKED else 1.0
    lines: list[tuple[Sequence[float] | FloatArray, dict[str, Any]]] = [
        (middle, {"color": BLUE, "marker": "o", "markersize": 0.6 * size, "label": "median"}),
        (duration_s.min(axis=1), {"color": "black", "linestyle": ":", "label": "first"}),
        ((1 + about.mu) * reference_s, {"color": VERMILLION, "linestyle": "--", "label": rule}),
        (last_s, {"color": ORANGE, "marker": "^", "markersize": size, "linestyle": "none", "label": "last"}),
    ]
    handles: list[Line2D | Patch] = [Patch(color=SKY, alpha=0.5, label="5 % to 95 %")]
    for values, how in lines:
        seconds = np.asarray(values, dtype=np.float64)
        handles += axes.plot(rounds, np.where(np.isfinite(seconds), seconds, np.nan), **how)
    if float(duration_s.min()) > 0:  # outliers leave room to see the others
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(_Plain())
    never = np.count_nonzero(np.isinf(duration_s))
    axes.set_ylabel("time (seconds)" + (f"\n{never} never answered" if never else ""))
    _label_rounds(axes, len(rounds))
    sheet.add_legend({}, extra=handles)


def _label_rounds(axes: Axes, n_rounds: int) -> None:
    axes.set_xlim(-0.7, n_rounds - 0.3)
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.set_xlabel("round")


def _counts(sheet: Sheet, about: Description) -> None:
    """Plot the number of stragglers in each round, and the range in which luck would keep it."""
    axes = sheet.panel()
    n_rounds, n_workers = about.stragglers.shape
    # one outline, however many rounds there are
    axes.stairs(about.stragglers.sum(axis=1), np.arange(n_rounds + 1) - 0.5, fill=True, color=BLUE)
    mean = n_workers * about.rate
    half = Z * math.sqrt(mean * (1 - about.rate))
    axes.axhspan(max(0.0, mean - half), min(n_workers, mean + half), color=ORANGE, alpha=0.35, linewidth=0, zorder=0)
    axes.axhline(mean, color=VERMILLION, linestyle="--")
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    axes.yaxis.set_major_locator(_whole_numbers())
    axes.set_ylabel(f"stragglers (of {n_workers})")
    _label_rounds(axes, n_rounds)
    handles = [
        Patch(color=BLUE, label="stragglers"),
        Line2D([], [], color=VERMILLION, linestyle="--", label="mean"),
        Patch(color=ORANGE, alpha=0.35, label="95 % by chance"),
    ]
    sheet.add_legend({}, extra=handles)


def _bursts(sheet: Sheet, about: Description) -> None:
    """Plot how long workers straggle in a row, and how long they would at random."""
    assert about.bursts is not None
    axes = sheet.panel()
    longest = int(about.bursts.max())
    lengths = np.arange(1, longest + 1)
    n_rounds, n_workers = about.stragglers.shape
    ends = np.concatenate([[0], np.flatnonzero(~about.trace.follows) + 1, [n_rounds]])
    expected = np.zeros(n_rounds)
    for n_in_a_row in np.diff(ends).tolist():
        expected[:n_in_a_row] += expected_bursts(about.bursts.sum() / about.stragglers.size, n_in_a_row, n_workers)
    shown = np.where(expected >= 0.5, expected, np.nan)[:longest]
    axes.bar(lengths, np.bincount(about.bursts)[1:], width=0.8, color=BLUE)
    axes.plot(lengths, shown, color=VERMILLION, marker="s", linestyle="--")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(_Plain())
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.set(xlim=(0.4, longest + 0.6), ylim=(0.5, None), xlabel="length of a burst (rounds)", ylabel="bursts")
    handles = [
        Patch(color=BLUE, label="measured"),
        Line2D([], [], color=VERMILLION, marker="s", linestyle="--", label="mean, if at random at the same rate"),
    ]
    sheet.add_legend({}, extra=handles)


def draw_slope(described: Sequence[Description], slope: LoadSlope, folder: Path) -> Path:
    """Write the figure of time against load, as PNG and as SVG; returns the path of the PNG."""
    loads = np.array([about.trace.base_load for about in described], dtype=np.float64)
    bent = curve([about.trace.duration_s for about in described], loads.tolist())

    def draw_on(sheet: Sheet) -> None:
        axes = sheet.panel()
        answered = [about.trace.duration_s[np.isfinite(about.trace.duration_s)] for about in described]
        low, middle, high = (np.array([quantile(each, share) for each in answered]) for share in (0.05, 0.5, 0.95))
        means = np.array([each.mean() for each in answered])
        ends = np.array([min(loads.min(), 0.0), loads.max()])
        through = float(middle.mean() - slope.slope_of_medians * loads.mean())
        axes.errorbar(loads, middle, (middle - low, high - middle), color=BLUE, fmt="o", elinewidth=0.8, capsize=2)
        axes.plot(loads, means, color=ORANGE, marker="^", linestyle="none")
        axes.plot(ends, through + slope.slope_of_medians * ends, color=BLUE)
        if bent is not None and bent.is_bent:
            some = np.linspace(loads.min(), loads.max(), 101)
            axes.plot(some, bent.at(some), color=GREY, linestyle=":")
        axes.plot(ends, slope.intercept_s + slope.slope_s * ends, color=VERMILLION, linestyle="--")
        axes.set(ylim=(0, None), xlabel="load (share of a job's data)", ylabel="time (seconds)")
        handles = [
            Line2D([], [], color=BLUE, marker="o", linestyle="none", label="median (5 % to 95 %)"),
            Line2D([], [], color=ORANGE, marker="^", linestyle="none", label="mean"),
            Line2D([], [], color=BLUE, label=f"medians: {slope.slope_of_medians:.3g} s per load"),
            Line2D([], [], color=VERMILLION, linestyle="--", label=f"least squares: {slope.slope_s:.3g} s per load"),
        ]
        if bent is not None and bent.is_bent:
            handles.append(Line2D([], [], color=GREY, linestyle=":", label="quadratic through the medians"))
        sheet.add_legend({}, extra=handles)

    return save(
        _figure(draw_on, f"Time against load. {len(described)} traces; infinite times left out"), folder, "load_slope"
    )
