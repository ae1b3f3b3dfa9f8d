"""Timeline of the workers in the first rounds."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import ScaledTranslation, Transform

from simulator.execution.one_run import run_one
from simulator.plots.sheet import Sheet
from simulator.plots.style import LIGHT, VERMILLION, WIDTH_IN, LeftOut, chosen_height_in
from simulator.plots.text import wrapped
from simulator.plots.timeline_log import Bar, Filling, RoundView, SeenEnough, TimelineLog
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    from simulator.plots.stragglers import StragglerLog

JOB_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#009E73", "#CC79A7")
N_EARLY_ROUNDS = 40  # the timeline looks among these ...
N_SHOWN_ROUNDS = 5  # ... for so many in a row
N_SHOWN_WORKERS = 12
N_SHOWN_SCHEMES = 4
PAGE_IN, KEY_IN = 7.0, 0.9  # height of a figure at most, and of what is around its panels
PANEL_IN, ROW_IN = 0.45, 0.115  # height of a panel without a worker, and of each worker
LEAST_ROWS = 3  # of a panel, so that it shows anything
NARROW_POINTS = 14.0  # narrower than these, rounds have no lines through their bars
Line = list[tuple[float, float]]  # from point to point
HATCHES: dict[Filling, str | None] = {"coded": "//////", "plain": None, "repeat": None, "startup": None}
LATER = "....."  # hatch of what was begun in mid-round


def timelines(
    scenario: Scenario, logs: Mapping[str, StragglerLog], wanted: Sequence[str] = ()
) -> dict[str, TimelineLog]:
    """Run trial 0 of as many schemes as have room, as far as needed, for early rounds and workers with most stragglers.

    The schemes are chosen among those of the logs, and come in their order; ``wanted`` before all others. In rounds
    with phases, workers count whose later work came in time, and stragglers only if nothing has come from them. Schemes
    whose rounds late responses end are shown for as long as the others.
    """
    n_schemes, n_rows = _room(len(logs), scenario.workers)
    labels = _shown_schemes(scenario, list(logs), n_schemes, wanted)
    in_step = [label for label in labels if not scenario.schemes[label].late_ends_rounds]
    n_early = min(N_EARLY_ROUNDS, *(logs[label].shape[0] for label in labels))
    counts = np.zeros((n_early, scenario.workers), dtype=np.int64)
    for label in in_step or labels:
        of_log = logs[label].stragglers[:n_early].astype(np.int64)
        for index in logs[label].helped.keys() & range(n_early):
            of_log[index] = np.bincount(logs[label].helped[index], minlength=scenario.workers)
        counts += of_log
    n_shown = min(N_SHOWN_ROUNDS, n_early)
    first = int(np.argmax(np.convolve(counts.sum(axis=1), np.ones(n_shown), mode="valid")))
    window = range(first, first + n_shown)
    by_need = np.argsort(-counts[first : window.stop].sum(axis=0), kind="stable")
    workers = np.sort(by_need[:n_rows]).tolist()
    shown = {label: TimelineLog(window, workers, is_in_step=label in in_step) for label in labels}
    for label in [*in_step, *(label for label in labels if label not in in_step)]:
        if in_step and label not in in_step:
            shown[label].until_s = _span_s([shown[other] for other in in_step])
        try:
            run_one(scenario, label, 0, shown[label])
        except SeenEnough:
            continue
    return shown


def _span_s(logs: Collection[TimelineLog]) -> float:
    """Seconds that are shown: where rounds take much longer, fewer of them, so that the others can be read."""
    in_step = [log for log in logs if log.is_in_step] or logs
    spans_s = [log.rounds[-1].stop_s - log.rounds[0].start_s for log in in_step]
    return 1.02 * min(max(spans_s), 2 * min(spans_s)) or 1.0


def _room(n_schemes: int, n_workers: int) -> tuple[int, int]:
    """How many schemes, and workers of each, have room."""
    height_in = chosen_height_in() or PAGE_IN
    for n_shown in range(min(n_schemes, N_SHOWN_SCHEMES), 0, -1):
        n_rows = int(((height_in - KEY_IN) / n_shown - PANEL_IN) / ROW_IN)
        if n_rows >= min(n_workers, LEAST_ROWS):
            return n_shown, min(n_rows, n_workers, N_SHOWN_WORKERS)
    return 1, min(n_workers, LEAST_ROWS)


def _shown_schemes(scenario: Scenario, labels: Sequence[str], n_shown: int, wanted: Sequence[str]) -> list[str]:
    """Those that are wanted; the first scheme, for reference; and those with the longest memory."""
    by_memory = sorted(labels, key=lambda label: -scenario.schemes[label].delay_rounds)
    here = [label for label in wanted if label in labels]
    chosen = list(dict.fromkeys([*here, *labels[: n_shown > 1], *by_memory]))[:n_shown]
    return [label for label in labels if label in chosen]


def left_out_of(shown: Mapping[str, TimelineLog], names: Mapping[str, str], n_workers: int) -> list[str]:
    """Say which schemes have no panel and how many workers no row, because they do not fit."""
    others = [name for label, name in names.items() if label not in shown]
    n_shown = len(next(iter(shown.values())).workers)
    others += [f"{n_workers - n_shown} of {n_workers} workers"] * (n_shown < n_workers)
    return [LeftOut(f"not shown, no room: {', '.join(others)}")] if others else []


def draw_timeline(sheet: Sheet, shown: Mapping[str, TimelineLog], scenario: Scenario, names: Mapping[str, str]) -> None:
    """Draw what the workers were busy with, a panel for each scheme; all begin with the same round, at 0."""
    n_workers = len(next(iter(shown.values())).workers)
    sheet.set_height(KEY_IN + len(shown) * (PANEL_IN + ROW_IN * n_workers))
    panels: list[Axes] = list(sheet.subplots(len(shown), 1, sharex=True)[:, 0])
    span_s = _span_s(shown.values())
    for axes, (label, log) in zip(panels, shown.items(), strict=True):
        axes.set_xlim(0, span_s)
        axes.set_ylim(n_workers - 0.4, -0.6)
        axes.set_yticks(range(n_workers), [str(worker) for worker in log.workers], fontsize="x-small")
        title = f"{names[label]} (T = {scenario.schemes[label].delay_rounds})"
        axes.set_title(wrapped(title, int(60 * sheet.width_in / WIDTH_IN)), loc="left", pad=11)
        marks = _Marks(defaultdict(list), [])
        views = _from_0(log)
        _draw_ends(axes, [view for view in views if 0 <= view.start_s < span_s])
        for view in views:
            _draw_lists(axes, view, log.workers, marks)
        marks.draw(axes)
    first = next(iter(shown.values())).rounds[0].index
    panels[-1].set_xlabel(f"time since round {first} began (seconds)")
    most = f"those of {scenario.workers} that straggle most" if len(shown) > 1 else f"of {scenario.workers}"
    sheet.label_rows("worker" if n_workers == scenario.workers else f"worker ({most})")
    views = [view for log in shown.values() for view in log.rounds]
    _timeline_key(sheet, views)


def _from_0(log: TimelineLog) -> list[RoundView]:
    """The same rounds, the first of which begins at 0, and what goes on of earlier ones."""
    origin_s, views = log.rounds[0].start_s, []
    for view in [*log.before, *log.rounds]:
        on = [bar for bar in view.bars if view.start_s >= origin_s or origin_s < bar.end_s < math.inf]
        bars = [bar._replace(begin_s=max(0.0, bar.begin_s - origin_s), end_s=bar.end_s - origin_s) for bar in on]
        start_s, stop_s = view.start_s - origin_s, view.stop_s - origin_s
        views.append(replace(view, start_s=start_s, stop_s=stop_s, bars=bars))
    return views


class _Marks(NamedTuple):
    """Bars and lines of a panel: those that look alike are drawn as one, as there may be hundreds."""

    bars: dict[tuple[tuple[str, Any], ...], list[Line]]  # the corners of each
    rests: list[Line]

    def draw(self, axes: Axes) -> None:
        for look, corners in self.bars.items():
            path = Path.make_compound_path_from_polys(np.array(corners))
            axes.add_artist(PathPatch(path, snap=True, **dict(look)))  # as rectangles have it
        lines = LineCollection(self.rests, colors=VERMILLION, linewidths=0.7, zorder=2)
        axes.add_collection(lines, autolim=False)


def _draw_ends(axes: Axes, views: Sequence[RoundView]) -> None:
    """Draw where rounds end, with their numbers above; where these are narrow, some numbers, and short lines."""
    above = axes.get_xaxis_transform() + ScaledTranslation(0, 4.5 / 72, axes.figure.dpi_scale_trans)
    typical = _points(axes, min(views[-1].stop_s, axes.get_xlim()[1])) / len(views)
    if len(views) <= N_SHOWN_ROUNDS or typical >= NARROW_POINTS:
        for view in views:
            style = "--" if view.waited else "-"
            axes.axvline(view.stop_s, color="black", linewidth=0.9, linestyle=style, zorder=3)
            _number(axes, str(view.index), view.start_s, view.stop_s, (1.0, above))
        return
    top = axes.get_ylim()[1]
    axes.vlines([view.stop_s for view in views], top, top + 0.24, colors="black", linewidth=0.5, zorder=3)
    needed, written_s = _needed_points(str(views[-1].index)) + 4, -math.inf
    every = next(step for step in _round_steps() if step * typical >= needed)
    room_s = needed / _points(axes, 1.0)
    for view in views:
        middle_s = (view.start_s + view.stop_s) / 2
        is_free = written_s + room_s <= middle_s <= axes.get_xlim()[1] - room_s / 2
        if view.index % every == 0 and is_free:
            axes.axvline(view.stop_s, color="black", linewidth=0.4, zorder=3)
            _write(axes, str(view.index), middle_s, (1.0, above))
            written_s = middle_s


def _round_steps() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return (step * 10**power for power in itertools.count() for step in (1, 2, 5))


def _draw_lists(axes: Axes, view: RoundView, workers: Sequence[int], marks: _Marks) -> None:
    for (worker, _), own in itertools.groupby(view.bars, key=lambda bar: (bar.worker, bar.place)):
        row, bars, unnumbered = workers.index(worker), list(own), []
        for bar in bars:
            if view.drops and bar.begin_s >= view.stop_s:  # not begun when the list was dropped
                continue
            end_s = _draw_bar(axes, row, bar, view.stop_s if view.drops else math.inf, marks)
            if bar.job >= 0 and not _number(axes, str(bar.job), bar.begin_s, end_s, (row, axes.transData)):
                unnumbered.append(str(bar.job))
            if view.drops:
                _draw_rest(axes, row, bar, view.stop_s, marks)
        # where starting up takes most of the time, there is room for the numbers of the short tasks
        until_s = min(bars[0].end_s, view.stop_s)
        _number(axes, " ".join(unnumbered), bars[0].begin_s, until_s, (row, axes.transData))


def _draw_bar(axes: Axes, row: int, bar: Bar, until_s: float, marks: _Marks) -> float:
    """Draw a stretch of time and return where it ends in the figure."""
    end_s = max(bar.begin_s, min(bar.end_s, until_s, axes.get_xlim()[1]))
    is_wide = _points(axes, end_s - bar.begin_s) > 3  # else hatch and edge would be all one sees
    is_repeat = bar.kind == "repeat"
    look = {
        "facecolor": JOB_COLOURS[bar.job % len(JOB_COLOURS)] if bar.job >= 0 else LIGHT,
        "alpha": 1.0 if bar.is_heard else 0.4,
        "hatch": (LATER if bar.place and bar.job >= 0 else HATCHES[bar.kind]) if is_wide else None,
        "edgecolor": "black" if is_repeat else "white",
        "linewidth": 0.8 if is_repeat and is_wide else 0.2 if is_wide else 0.0,
    }
    low, high = row - 0.33, row + 0.33
    corners = [(bar.begin_s, low), (end_s, low), (end_s, high), (bar.begin_s, high)]
    marks.bars[tuple(look.items())].append(corners)
    return end_s


def _draw_rest(axes: Axes, row: int, bar: Bar, stop_s: float, marks: _Marks) -> None:
    """Draw what was dropped at the stop as a line: the next list begins at once, in the same place."""
    begin_s, end_s = max(bar.begin_s, stop_s), min(bar.end_s, axes.get_xlim()[1])
    if begin_s < end_s:
        marks.rests.append([(begin_s, row + 0.46), (end_s, row + 0.46)])


def _number(axes: Axes, text: str, begin_s: float, end_s: float, at: tuple[float, Transform]) -> bool:
    """Write numbers into a stretch of time, if they fit."""
    end_s = min(end_s, axes.get_xlim()[1])
    if not text or _points(axes, end_s - begin_s) < _needed_points(text):
        return False
    _write(axes, text, (begin_s + end_s) / 2, at)
    return True


def _needed_points(text: str) -> float:
    """Estimate the width of numbers."""
    return float(0.44 * rcParams["font.size"] * (len(text) - 0.5 * text.count(" ")) + 1.5)


def _write(axes: Axes, text: str, middle_s: float, at: tuple[float, Transform]) -> None:
    height, transform = at
    written = axes.text(
        middle_s, height, text, transform=transform, fontsize="x-small", ha="center", va="center_baseline"
    )
    written.set_in_layout(False)  # there are hundreds


def _points(axes: Axes, seconds: float) -> float:
    """Estimate the length of a stretch of time in the figure, in points."""
    begin_s, end_s = axes.get_xlim()
    width = 72 * axes.bbox.width / axes.figure.dpi
    return float(width * seconds / (end_s - begin_s))


def _timeline_key(sheet: Sheet, views: Sequence[RoundView]) -> None:
    """Say what the marks that are there mean."""
    plain: dict[str, Any] = {"facecolor": JOB_COLOURS[1]}
    coded = plain | {"hatch": HATCHES["coded"], "edgecolor": "white", "linewidth": 0.2}
    line: dict[str, Any] = {"color": "black", "linewidth": 0.9}
    bars, drops = [bar for view in views for bar in view.bars], any(view.drops for view in views)
    kinds = {bar.kind for bar in bars}
    marks: list[tuple[bool, Patch | Line2D]] = [
        ("plain" in kinds, Patch(**plain, label="plain task (number: job)")),
        ("coded" in kinds, Patch(**coded, label="coded task")),
        ("repeat" in kinds, Patch(**plain, edgecolor="black", linewidth=0.8, label="repeated task")),
        (any(bar.place for bar in bars), Patch(**coded | {"hatch": LATER}, label="begun in mid-round")),
        ("startup" in kinds, Patch(facecolor=LIGHT, label="start-up, or for no job")),
        (not all(bar.is_heard for bar in bars), Patch(**plain, alpha=0.4, label="faded: not in time")),
        (True, Line2D([], [], **line, label="end of the round above")),
        (drops, Line2D([], [], color=VERMILLION, linewidth=0.7, label="would have gone on so long")),
        (any(view.waited for view in views), Line2D([], [], **line, linestyle="--", label="end after waiting")),
    ]
    sheet.add_key([handle for is_there, handle in marks if is_there])
