"""Pictures of single runs: who straggled in which round, and what the workers were busy with.

The tables of a run do not hold this much detail. Runs are deterministic, so the collectors here get it by running
a trial once more; each keeps only what its picture shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from schemes.base import BoolArray, FloatArray, Session, Task, TaskKind, Work
from simulator.engine import ClosedRound
from simulator.scenario import Scenario
from simulator.sweep import run_one

BLUE, ORANGE, VERMILLION, LIGHT = "#0072B2", "#E69F00", "#D55E00", "#DDDDDD"
JOB_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "#999999")

N_CELLS = (480, 128)  # rounds and workers that a panel has the pixels for, at 200 dpi
N_EARLY_ROUNDS = 40  # the timeline looks among these ...
N_SHOWN_ROUNDS = 5  # ... for so many in a row
N_SHOWN_WORKERS = 12
N_SHOWN_SCHEMES = 3


class StragglerLog:
    """A collector that keeps who straggled, one bit for each worker and round, and when the master waited."""

    def __init__(self) -> None:
        self._packed: list[NDArray[np.uint8]] = []
        self._n_workers = 0
        self._n_given = 0
        self.waited: list[bool] = []

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Nothing to see yet."""

    def round_closed(self, closed: ClosedRound) -> None:
        """Note who was missing."""
        self._n_workers = len(closed.closing.missing)
        self._n_given += closed.work.n_busy
        self._packed.append(np.packbits(closed.closing.missing))
        self.waited.append(closed.waited_s > 0)

    def cut_off(self, index: int, workers: BoolArray, load: FloatArray) -> None:
        """Leave it: whoever is late has been counted when the round closed."""

    @property
    def stragglers(self) -> BoolArray:
        """Who straggled, shape ``(n_rounds, n_workers)``."""
        return np.unpackbits(np.array(self._packed), axis=1, count=self._n_workers).view(np.bool_)

    @property
    def straggler_rate(self) -> float:
        """Share of the lists given out that were not reported in time."""
        return np.count_nonzero(self.stragglers) / max(1, self._n_given)


def straggler_logs(scenario: Scenario) -> dict[str, StragglerLog]:
    """Run trial 0 of every scheme for its stragglers."""
    logs = {label: StragglerLog() for label in scenario.schemes}
    for label, log in logs.items():
        run_one(scenario, label, 0, log)
    return logs


def draw_stragglers(figure: Figure, logs: Mapping[str, StragglerLog]) -> None:
    """Draw who straggled in which round, a panel for each scheme, with a strip for the rounds that were waited for."""
    figure.set_figheight(0.75 + 0.8 * len(logs))
    panels: list[Axes] = list(figure.subplots(len(logs), 1, sharex=True, squeeze=False)[:, 0])
    cell = _cell([log.stragglers for log in logs.values()])
    shares = [_shares(log.stragglers, cell) for log in logs.values()]
    most = max(float(share.max(initial=0)) for share in shares) or 1.0
    any_waited = any(any(log.waited) for log in logs.values())
    for axes, (label, log), share in zip(panels, logs.items(), shares, strict=True):
        image = _draw_matrix(axes, share, log.stragglers.shape, 1.0 if cell == (1, 1) else most)
        if any_waited:
            _draw_strip(axes, log)
        axes.set_title(_straggler_title(label, log, any_waited=any_waited), fontsize=6.5, loc="left", pad=2)
    panels[-1].set_xlim(-0.5, max(len(log.waited) for log in logs.values()) - 0.5)
    panels[-1].set_xlabel("round")
    figure.supylabel("worker", fontsize=8)
    _straggler_key(figure, panels, image, cell, any_waited=any_waited)


def _cell(matrices: Sequence[BoolArray]) -> tuple[int, int]:
    """Rounds and workers that share a cell of the picture, so that no straggler falls between two pixels."""
    shape = np.max([matrix.shape for matrix in matrices], axis=0)
    rounds, workers = (math.ceil(int(size) / most) for size, most in zip(shape, N_CELLS, strict=True))
    return rounds, workers


def _shares(stragglers: BoolArray, cell: tuple[int, int]) -> FloatArray:
    """Share of stragglers in each cell, shape ``(cells of rounds, cells of workers)``."""
    totals = np.asarray(stragglers, dtype=np.float64)
    for axis, size in enumerate(cell):
        starts = np.arange(0, totals.shape[axis], size)
        sizes = np.diff(starts, append=totals.shape[axis])
        totals = np.add.reduceat(totals, starts, axis=axis) / np.expand_dims(sizes, 1 - axis)
    return totals


def _draw_matrix(axes: Axes, shares: FloatArray, shape: tuple[int, ...], most: float) -> AxesImage:
    n_rounds, n_workers = shape
    is_plain = bool(np.isin(shares, (0.0, 1.0)).all()) and most == 1.0
    axes.set_yticks(np.unique([0, n_workers // 2, n_workers - 1]))
    axes.spines[:].set_visible(True)  # or one could not see where nobody straggled
    return axes.imshow(
        shares.T,
        extent=(-0.5, n_rounds - 0.5, n_workers - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(["white", BLUE]) if is_plain else "Blues",
        vmin=0.0,
        vmax=most,
    )


def _draw_strip(axes: Axes, log: StragglerLog) -> None:
    """Mark the rounds in which the master waited, above the workers."""
    n_workers = log.stragglers.shape[1]
    rounds = np.flatnonzero(log.waited)
    top, bottom = -0.5 - 0.22 * n_workers, -0.5 - 0.06 * n_workers
    axes.axhline(-0.5, color="black", linewidth=0.5)
    axes.bar(rounds, height=bottom - top, bottom=top, width=1.0, color=ORANGE, linewidth=0)
    axes.set_ylim(n_workers - 0.5, top - 0.04 * n_workers)


def _straggler_title(label: str, log: StragglerLog, *, any_waited: bool) -> str:
    title = f"{100 * log.straggler_rate:.1f} % straggled"
    if any_waited:
        title += f", waited in {sum(log.waited)} of {len(log.waited)} rounds"
    return f"{label}: {title}" if len(label) < 25 else f"{label}:\n{title}"


def _straggler_key(
    figure: Figure, panels: list[Axes], image: AxesImage, cell: tuple[int, int], *, any_waited: bool
) -> None:
    handles = [Patch(color=BLUE, label="straggler (cut off)")] if cell == (1, 1) else []
    if any_waited:
        handles.append(Patch(color=ORANGE, label="strip: the master waited"))
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    if cell != (1, 1):
        bar = figure.colorbar(image, ax=panels, fraction=0.04, aspect=40, format=lambda share, _: f"{100 * share:.0f}")
        bar.set_label(f"stragglers (%) in a cell of {cell[1]} workers × {cell[0]} rounds", fontsize=6.5)


Filling = TaskKind | Literal["startup"]


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


class _SeenEnough(Exception):  # noqa: N818 - nothing is wrong
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
            bars = [bar for worker in self.tasks for bar in _bars(closed, worker, self.tasks[worker])]
            stop_s = closed.start_s + closed.duration_s
            self.rounds.append(RoundView(closed.index, closed.start_s, stop_s, closed.waited_s > 0, bars))

    def cut_off(self, index: int, workers: BoolArray, load: FloatArray) -> None:
        """Leave it: the end of the run is not shown."""


def _bars(closed: ClosedRound, worker: int, tasks: Sequence[Task]) -> Iterator[Bar]:
    """Stretches of a worker's list, one after another; what never ends has an infinite ``end_s``."""
    times, work = closed.times, closed.work
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
        is_heard = bool(finish_s[report] <= closed.duration_s)
        if end_s > begin_s:
            yield Bar(worker, job, kind, closed.start_s + begin_s, closed.start_s + end_s, is_heard)
        begin_s = end_s


def timelines(scenario: Scenario, logs: Mapping[str, StragglerLog]) -> dict[str, TimelineLog]:
    """Run trial 0 of a few schemes as far as needed, for the early rounds and the workers with most stragglers."""
    labels = _shown_schemes(scenario)
    matrices = [logs[label].stragglers for label in labels]
    n_early = min(N_EARLY_ROUNDS, *(len(matrix) for matrix in matrices))
    counts = np.sum([matrix[:n_early] for matrix in matrices], axis=0)  # shape (n_early, n_workers)
    n_shown = min(N_SHOWN_ROUNDS, n_early)
    first = int(np.argmax(np.convolve(counts.sum(axis=1), np.ones(n_shown), mode="valid")))
    window = range(first, first + n_shown)
    by_need = np.argsort(-counts[first : window.stop].sum(axis=0), kind="stable")
    workers = np.sort(by_need[:N_SHOWN_WORKERS]).tolist()
    shown = {label: TimelineLog(window, workers) for label in labels}
    for label, log in shown.items():
        try:
            run_one(scenario, label, 0, log)
        except _SeenEnough:
            continue
    return shown


def _shown_schemes(scenario: Scenario) -> list[str]:
    """The first scheme, for reference, and those with the longest memory, in the scenario's order."""
    first, *others = scenario.schemes
    others.sort(key=lambda label: -scenario.schemes[label].delay_rounds)
    chosen = {first, *others[: N_SHOWN_SCHEMES - 1]}
    return [label for label in scenario.schemes if label in chosen]


def draw_timeline(figure: Figure, shown: Mapping[str, TimelineLog], scenario: Scenario) -> None:
    """Draw what the workers were busy with, a panel for each scheme, all panels to the same scale."""
    n_workers = min(scenario.workers, N_SHOWN_WORKERS)
    figure.set_figheight(1.2 + len(shown) * (0.45 + 0.115 * n_workers))
    panels: list[Axes] = list(figure.subplots(len(shown), 1, squeeze=False)[:, 0])
    span_s = 1.02 * max(log.rounds[-1].stop_s - log.rounds[0].start_s for log in shown.values()) or 1.0
    for axes, (label, log) in zip(panels, shown.items(), strict=True):
        axes.set_xlim(log.rounds[0].start_s, log.rounds[0].start_s + span_s)
        axes.set_ylim(n_workers - 0.4, -0.6)
        axes.set_yticks(range(n_workers), [str(worker) for worker in log.workers], fontsize=5.5)
        axes.set_title(f"{label} (T = {scenario.schemes[label].delay_rounds})", fontsize=7, loc="left", pad=9)
        for view in log.rounds:
            _draw_round(axes, view, log.workers, span_s, drops=scenario.leftover == "cancel")
    panels[-1].set_xlabel("simulated time (seconds)")
    which = "" if n_workers == scenario.workers else f" (of {scenario.workers}, those that straggle most here)"
    figure.supylabel(f"worker{which}", fontsize=7)
    _timeline_key(figure, drops=scenario.leftover == "cancel")


HATCHES: dict[Filling, str | None] = {"coded": "//////", "plain": None, "repeat": None, "startup": None}


def _draw_round(axes: Axes, view: RoundView, workers: Sequence[int], span_s: float, *, drops: bool) -> None:
    style = "--" if view.waited else "-"
    axes.axvline(view.stop_s, color="black", linewidth=0.9, linestyle=style, zorder=3)
    middle_s = (view.start_s + view.stop_s) / 2
    axes.annotate(
        str(view.index), (middle_s, 1.0), (0, 1.5), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=5.5, ha="center", va="bottom",
    )  # fmt: skip
    for bar in view.bars:
        row = workers.index(bar.worker)
        end_s = min(bar.end_s, axes.get_xlim()[1])
        _draw_bar(axes, row, bar, min(end_s, view.stop_s) if drops else end_s, span_s)
        if drops and bar.begin_s <= end_s and end_s > view.stop_s:
            # the next list begins at once, so what was not done can't be drawn in the same place
            begin_s = max(bar.begin_s, view.stop_s)
            axes.plot([begin_s, end_s], [row + 0.46] * 2, color=VERMILLION, linewidth=0.7, solid_capstyle="butt")


def _draw_bar(axes: Axes, row: int, bar: Bar, end_s: float, span_s: float) -> None:
    width_s = end_s - bar.begin_s
    if width_s <= 0:
        return
    is_task = bar.job >= 0
    is_repeat = bar.kind == "repeat"
    axes.barh(
        row,
        width_s,
        left=bar.begin_s,
        height=0.66 if is_task else 0.2,
        color=JOB_COLOURS[bar.job % len(JOB_COLOURS)] if is_task else LIGHT,
        alpha=1.0 if bar.is_heard else 0.35,
        hatch=HATCHES[bar.kind],
        edgecolor="black" if is_repeat else "white",
        linewidth=0.8 if is_repeat else 0.2,
    )
    number = str(bar.job)
    if is_task and 195 * width_s / span_s > 3.4 * len(number) + 1.5:  # points: else it would not fit
        axes.text(bar.begin_s + width_s / 2, row, number, fontsize=5, ha="center", va="center_baseline")


def _timeline_key(figure: Figure, *, drops: bool) -> None:
    fill = JOB_COLOURS[1]
    late = "would have gone on so long" if drops else "work after the stop: faded"
    handles = [
        Patch(facecolor=fill, label="plain task (number: job)"),
        Patch(facecolor=fill, hatch=HATCHES["coded"], edgecolor="white", linewidth=0.2, label="coded task"),
        Patch(facecolor=fill, edgecolor="black", linewidth=0.8, label="repeated task"),
        Patch(facecolor=LIGHT, label="start-up, or work for no job"),
        Patch(facecolor=fill, alpha=0.35, label="not reported in time"),
        Line2D([], [], color=VERMILLION if drops else "none", linewidth=0.7, label=late),
        Line2D([], [], color="black", linewidth=0.9, label="the master stops (above: round)"),
        Line2D([], [], color="black", linewidth=0.9, linestyle="--", label="stops after waiting"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=6)
