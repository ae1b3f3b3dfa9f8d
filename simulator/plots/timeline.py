"""Timeline of the workers in the first rounds."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import ScaledTranslation, Transform

from schemes.base.scheme import Session
from schemes.base.work import Task, TaskKind, Work
from simulator.engine.events import ClosedRound
from simulator.execution.one_run import run_one
from simulator.parameters import FloatArray, IntArray
from simulator.plots.sheet import Sheet
from simulator.plots.style import LIGHT, VERMILLION, WIDTH_IN, LeftOut, chosen_height_in
from simulator.plots.text import wrapped
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
Line = list[tuple[float, float]]  # from point to point
Filling = TaskKind | Literal["startup"]
HATCHES: dict[Filling, str | None] = {"coded": "//////", "plain": None, "repeat": None, "startup": None}


class Bar(NamedTuple):
    """A stretch of a worker's time in a round."""

    worker: int
    job: int  # -1: for no job
    kind: Filling
    begin_s: float  # simulated seconds
    end_s: float
    is_heard: bool  # whether the master got the result before it stopped


@dataclass(frozen=True, slots=True)
class RoundView:
    """A round, as the timeline shows it."""

    index: int
    start_s: float  # simulated seconds
    stop_s: float
    waited: bool
    bars: list[Bar]


class _SeenEnough(BaseException):
    """Ends a run of which the rest is not needed."""


@dataclass
class TimelineLog:
    """A collector that keeps what some workers were busy with in a few rounds."""

    window: range
    workers: Sequence[int]
    rounds: list[RoundView] = field(default_factory=list)
    tasks: dict[int, Sequence[Task]] = field(default_factory=dict)

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Ask for the lists: a session knows those of its open round only."""
        if index >= self.window.stop:
            raise _SeenEnough
        if index in self.window:
            self.tasks = {worker: session.tasks(worker) for worker in self.workers if work.busy[worker]}

    def round_closed(self, closed: ClosedRound) -> None:
        """Put the lists on the clock."""
        if closed.index in self.window:
            n_heard = closed.arrivals.n_received().tolist()
            bars = [bar for worker in self.tasks for bar in _bars(closed, worker, self.tasks[worker], n_heard[worker])]
            stop_s = closed.start_s + closed.stop_s
            self.rounds.append(RoundView(closed.index, closed.start_s, stop_s, closed.waited_s > 0, bars))

    def cut_off(self, index: int, workers: IntArray, load: FloatArray) -> None:
        """Leave it: the end of the run is not shown."""


def _bars(closed: ClosedRound, worker: int, tasks: Sequence[Task], n_heard: int) -> Iterator[Bar]:
    """Stretches of a worker's list, one after another; what never ends has an infinite ``end_s``."""
    times, work = closed.times.of_lists(closed.work.given), closed.work
    startup_s, rate, slowdown = (float(part[worker]) for part in times[:3])
    loads, finish_s = work.loads[worker], closed.finish_s[worker]
    last_s, given = float(finish_s[work.last_report[worker]]), float(work.given[worker])
    if not math.isfinite(last_s):
        yield Bar(worker, -1, "startup", closed.start_s, math.inf, is_heard=False)
        return
    # a worker may begin late, after an older list
    origin_s = last_s - slowdown * (startup_s + rate * given)
    ends = np.cumsum([0.0, *(task.load for task in tasks)])
    fillings: list[tuple[int, Filling]] = [(-1, "startup"), *((task.job, task.kind) for task in tasks)]
    if given > ends[-1] * (1 + 1e-9):  # a scheme may ask for more work than there are tasks
        ends, fillings = np.append(ends, given), [*fillings, (-1, "startup")]
    begin_s = origin_s
    for (job, kind), load in zip(fillings, ends.tolist(), strict=True):
        end_s = origin_s + slowdown * (startup_s + rate * load)
        report = min(int(np.searchsorted(loads, load * (1 - 1e-9))), int(work.last_report[worker]))
        is_heard = report < n_heard
        if end_s > begin_s:
            yield Bar(worker, job, kind, closed.start_s + begin_s, closed.start_s + end_s, is_heard)
        begin_s = end_s


def timelines(
    scenario: Scenario, logs: Mapping[str, StragglerLog], wanted: Sequence[str] = ()
) -> dict[str, TimelineLog]:
    """Run trial 0 of as many schemes as have room, as far as needed, for early rounds and workers with most stragglers.

    The schemes are chosen among those of the logs, and come in their order; ``wanted`` before all others.
    """
    n_schemes, n_rows = _room(len(logs), scenario.workers)
    labels = _shown_schemes(scenario, list(logs), n_schemes, wanted)
    matrices = [logs[label].stragglers for label in labels]
    n_early = min(N_EARLY_ROUNDS, *map(len, matrices))
    counts = np.sum([matrix[:n_early] for matrix in matrices], axis=0)  # shape (n_early, n_workers)
    n_shown = min(N_SHOWN_ROUNDS, n_early)
    first = int(np.argmax(np.convolve(counts.sum(axis=1), np.ones(n_shown), mode="valid")))
    window = range(first, first + n_shown)
    by_need = np.argsort(-counts[first : window.stop].sum(axis=0), kind="stable")
    workers = np.sort(by_need[:n_rows]).tolist()
    shown = {label: TimelineLog(window, workers) for label in labels}
    for label, log in shown.items():
        try:
            run_one(scenario, label, 0, log)
        except _SeenEnough:
            continue
    return shown


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
    """Say which schemes have no panel for want of room, and how many workers no row."""
    others = [name for label, name in names.items() if label not in shown]
    n_shown = len(next(iter(shown.values())).workers)
    others += [f"{n_workers - n_shown} of {n_workers} workers"] * (n_shown < n_workers)
    return [LeftOut(f"not drawn, for want of room: {', '.join(others)}")] if others else []


def draw_timeline(sheet: Sheet, shown: Mapping[str, TimelineLog], scenario: Scenario, names: Mapping[str, str]) -> None:
    """Draw what the workers were busy with, a panel for each scheme; all begin with the same round, at 0."""
    n_workers = len(next(iter(shown.values())).workers)
    sheet.set_height(KEY_IN + len(shown) * (PANEL_IN + ROW_IN * n_workers))
    panels: list[Axes] = list(sheet.subplots(len(shown), 1, sharex=True)[:, 0])
    spans_s = [log.rounds[-1].stop_s - log.rounds[0].start_s for log in shown.values()]
    # where rounds take much longer, fewer of them are shown, so that the others can be read
    span_s = 1.02 * min(max(spans_s), 2 * min(spans_s)) or 1.0
    for axes, (label, log) in zip(panels, shown.items(), strict=True):
        axes.set_xlim(0, span_s)
        axes.set_ylim(n_workers - 0.4, -0.6)
        axes.set_yticks(range(n_workers), [str(worker) for worker in log.workers], fontsize="x-small")
        title = f"{names[label]} (T = {scenario.schemes[label].delay_rounds})"
        axes.set_title(wrapped(title, int(60 * sheet.width_in / WIDTH_IN)), loc="left", pad=11)
        marks = _Marks(defaultdict(list), [])
        for view in _from_0(log.rounds):
            _draw_round(axes, view, log.workers, marks, drops=scenario.leftover == "cancel")
        marks.draw(axes)
    first = next(iter(shown.values())).rounds[0].index
    panels[-1].set_xlabel(f"time since round {first} began (seconds)")
    most = f"those of {scenario.workers} that straggle most" if len(shown) > 1 else f"of {scenario.workers}"
    sheet.label_rows("worker" if n_workers == scenario.workers else f"worker ({most})")
    views = [view for log in shown.values() for view in log.rounds]
    _timeline_key(sheet, views, drops=scenario.leftover == "cancel")


def _from_0(views: Sequence[RoundView]) -> Iterator[RoundView]:
    """The same rounds, the first of which begins at 0."""
    begin_s = views[0].start_s
    for view in views:
        bars = [bar._replace(begin_s=bar.begin_s - begin_s, end_s=bar.end_s - begin_s) for bar in view.bars]
        yield RoundView(view.index, view.start_s - begin_s, view.stop_s - begin_s, view.waited, bars)


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


def _draw_round(axes: Axes, view: RoundView, workers: Sequence[int], marks: _Marks, *, drops: bool) -> None:
    axes.axvline(view.stop_s, color="black", linewidth=0.9, linestyle="--" if view.waited else "-", zorder=3)
    above = axes.get_xaxis_transform() + ScaledTranslation(0, 4.5 / 72, axes.figure.dpi_scale_trans)
    _number(axes, str(view.index), view.start_s, view.stop_s, (1.0, above))
    for worker, bars in itertools.groupby(view.bars, key=lambda bar: bar.worker):
        row, unnumbered = workers.index(worker), []
        for bar in bars:
            if drops and bar.begin_s >= view.stop_s:  # not begun when the list was dropped
                continue
            end_s = _draw_bar(axes, row, bar, view.stop_s if drops else math.inf, marks)
            if bar.job >= 0 and not _number(axes, str(bar.job), bar.begin_s, end_s, (row, axes.transData)):
                unnumbered.append(str(bar.job))
            if drops:
                _draw_rest(axes, row, bar, view.stop_s, marks)
        # where starting up takes most of the time, there is room for the numbers of the short tasks
        starting = view.bars[[bar.worker for bar in view.bars].index(worker)]
        _number(axes, " ".join(unnumbered), starting.begin_s, min(starting.end_s, view.stop_s), (row, axes.transData))


def _draw_bar(axes: Axes, row: int, bar: Bar, until_s: float, marks: _Marks) -> float:
    """Draw a stretch of time and return where it ends in the figure."""
    end_s = max(bar.begin_s, min(bar.end_s, until_s, axes.get_xlim()[1]))
    is_wide = _points(axes, end_s - bar.begin_s) > 3  # else hatch and edge would be all one sees
    is_repeat = bar.kind == "repeat"
    look = {
        "facecolor": JOB_COLOURS[bar.job % len(JOB_COLOURS)] if bar.job >= 0 else LIGHT,
        "alpha": 1.0 if bar.is_heard else 0.4,
        "hatch": HATCHES[bar.kind] if is_wide else None,
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
    needed = 0.44 * rcParams["font.size"] * (len(text) - 0.5 * text.count(" ")) + 1.5  # points
    if not text or _points(axes, end_s - begin_s) < needed:
        return False
    height, transform = at
    middle_s = (begin_s + end_s) / 2
    written = axes.text(
        middle_s, height, text, transform=transform, fontsize="x-small", ha="center", va="center_baseline"
    )
    written.set_in_layout(False)  # there are hundreds
    return True


def _points(axes: Axes, seconds: float) -> float:
    """Estimate the length of a stretch of time in the figure, in points."""
    begin_s, end_s = axes.get_xlim()
    width = 72 * axes.bbox.width / axes.figure.dpi
    return float(width * seconds / (end_s - begin_s))


def _timeline_key(sheet: Sheet, views: Sequence[RoundView], *, drops: bool) -> None:
    """Say what the marks that are there mean."""
    plain: dict[str, Any] = {"facecolor": JOB_COLOURS[1]}
    coded = plain | {"hatch": HATCHES["coded"], "edgecolor": "white", "linewidth": 0.2}
    line: dict[str, Any] = {"color": "black", "linewidth": 0.9}
    bars = [bar for view in views for bar in view.bars]
    kinds = {bar.kind for bar in bars}
    marks: list[tuple[bool, Patch | Line2D]] = [
        ("plain" in kinds, Patch(**plain, label="plain task (number: job)")),
        ("coded" in kinds, Patch(**coded, label="coded task")),
        ("repeat" in kinds, Patch(**plain, edgecolor="black", linewidth=0.8, label="repeated task")),
        ("startup" in kinds, Patch(facecolor=LIGHT, label="start-up, or for no job")),
        (not all(bar.is_heard for bar in bars), Patch(**plain, alpha=0.4, label="faded: not in time")),
        (True, Line2D([], [], **line, label="end of the round above")),
        (drops, Line2D([], [], color=VERMILLION, linewidth=0.7, label="would have gone on so long")),
        (any(view.waited for view in views), Line2D([], [], **line, linestyle="--", label="end after waiting")),
    ]
    sheet.add_key([handle for is_there, handle in marks if is_there])
