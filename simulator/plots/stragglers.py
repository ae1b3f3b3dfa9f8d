"""Stragglers of each round."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from schemes.base.scheme import Session
from schemes.base.work import Work
from simulator.engine.events import ClosedRound
from simulator.execution.one_run import run_one
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.plots.sheet import Sheet
from simulator.plots.style import BLUE, ORANGE, WIDTH_IN, LeftOut, SaysNothingError, chosen_height_in
from simulator.plots.text import wrapped
from simulator.scenario.scenario import Scenario

MOST_PANELS = 8
PANEL_IN = 0.6  # height that one needs at least
N_CELLS = (480, 96)  # rounds and workers that a panel has the pixels for, at 200 dpi


class StragglerLog:
    """A collector that keeps who straggled, one bit for each worker and round, and when the master waited."""

    def __init__(self) -> None:
        self._packed: list[NDArray[np.uint8]] = []
        self._n_workers = 0
        self._n_given = 0
        self.waited: list[bool] = []
        self.helped: dict[
            int, list[int]
        ] = {}  # rounds with phases: who sent nothing, and whose later work came in time

    def round_opened(self, index: int, work: Work, session: Session) -> None:
        """Do nothing: there is nothing to see yet."""

    def round_closed(self, closed: ClosedRound) -> None:
        """Note who was missing."""
        self._n_workers = len(closed.closing.missing)
        self._n_given += closed.n_given
        self._packed.append(np.packbits(closed.closing.missing))
        self.waited.append(closed.waited_s > 0)
        if closed.given:
            n_received, missing = closed.arrivals.n_received(), closed.closing.missing
            came = [later.worker for later in closed.given if later.first_report < n_received[later.worker]]
            self.helped[closed.index] = [*np.flatnonzero(missing & (n_received == 0)).tolist(), *came]

    def cut_off(self, index: int, workers: IntArray, load: FloatArray) -> None:
        """Leave it: whoever is late has been counted when the round closed."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rounds and workers."""
        return len(self._packed), self._n_workers

    @property
    def stragglers(self) -> BoolArray:
        """Mask of the stragglers, shape ``(n_rounds, n_workers)``."""
        return np.unpackbits(np.array(self._packed), axis=1, count=self._n_workers).view(np.bool_)

    @property
    def straggler_rate(self) -> float:
        """Share of the lists given out that were not reported in time."""
        return np.count_nonzero(self.stragglers) / max(1, self._n_given)


def straggler_logs(scenario: Scenario, labels: Iterable[str]) -> dict[str, StragglerLog]:
    """Run trial 0 of these schemes for their stragglers."""
    logs = {label: StragglerLog() for label in labels}
    for label, log in logs.items():
        run_one(scenario, label, 0, log)
    return logs


def draw_stragglers(sheet: Sheet, logs: Mapping[str, StragglerLog]) -> None:
    """Draw who straggled in which round, a panel for each scheme, with a strip for the rounds that were waited for.

    Schemes under which nobody was cut off, or everybody in every round, have no panel.
    """
    logs = dict(_telling(logs)[: _most_panels()])
    if not logs:
        raise SaysNothingError("no scheme has rounds in which some workers were cut off and others not")
    is_tall = max(log.shape[1] for log in logs.values()) > N_CELLS[1] // 2
    sheet.set_height(0.9 + (1.05 if is_tall else 0.8) * len(logs))
    panels: list[Axes] = list(sheet.subplots(len(logs), 1, sharex=True)[:, 0])
    cell = _cell([log.shape for log in logs.values()])
    shares = [_shares(log.stragglers, cell) for log in logs.values()]
    most = max(float(share.max(initial=0)) for share in shares) or 1.0
    any_waited = any(any(log.waited) for log in logs.values())
    for axes, (label, log), share in zip(panels, logs.items(), shares, strict=True):
        image = _draw_matrix(axes, share, log.shape, 1.0 if cell == (1, 1) else most)
        if any_waited:
            _draw_strip(axes, log)
        waited = f", waited in {sum(log.waited)} of {len(log.waited)} rounds" if any_waited else ""
        title = f"{label}: {100 * log.straggler_rate:.1f} % straggled{waited}"
        axes.set_title(wrapped(title, int(60 * sheet.width_in / WIDTH_IN)), loc="left", pad=2)
    panels[-1].set_xlim(-0.5, max(len(log.waited) for log in logs.values()) - 0.5)
    panels[-1].set_xlabel("round")
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    sheet.label_rows("worker")
    _straggler_key(sheet, panels, image, cell, any_waited=any_waited)


def _telling(logs: Mapping[str, StragglerLog]) -> list[tuple[str, StragglerLog]]:
    return [(label, log) for label, log in logs.items() if 0 < log.straggler_rate < 1]


def _most_panels() -> int:
    """Panels that have room in a figure, on a page if it may be as high as it likes."""
    height_in = chosen_height_in()
    return MOST_PANELS if height_in is None else max(1, min(MOST_PANELS, int((height_in - 0.8) / PANEL_IN)))


def not_drawn(logs: Mapping[str, StragglerLog]) -> list[str]:
    """Say which schemes have no panel, and why."""
    reasons = {
        0.0: "0 % straggled, as no round closed before all had reported",
        1.0: "100 % straggled, as every round closed before anybody had reported everything",
    }
    labels = {rate: [label for label, log in logs.items() if log.straggler_rate == rate] for rate in reasons}
    said = [f"not drawn: {', '.join(labels[rate])} ({why})" for rate, why in reasons.items() if labels[rate]]
    no_room = [label for label, _ in _telling(logs)[_most_panels() :]]
    return said + ([LeftOut(f"not shown, no room: {', '.join(no_room)}")] if no_room else [])


def _cell(shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Rounds and workers that share a cell of the figure, so that no straggler falls between two pixels."""
    rounds, workers = (math.ceil(int(n) / most) for n, most in zip(np.max(shapes, axis=0), N_CELLS, strict=True))
    return rounds, workers


def _shares(stragglers: BoolArray, cell: tuple[int, int]) -> FloatArray:
    """Share of stragglers in each cell, shape ``(cells of rounds, cells of workers)``."""
    shares: FloatArray | BoolArray = stragglers
    for axis, size in enumerate(cell):
        starts = np.arange(0, shares.shape[axis], size)
        sizes = np.diff(starts, append=shares.shape[axis])
        shares = np.add.reduceat(shares, starts, axis=axis, dtype=np.float64) / np.expand_dims(sizes, 1 - axis)
    return np.asarray(shares, dtype=np.float64)


def _draw_matrix(axes: Axes, shares: FloatArray, shape: tuple[int, int], most: float) -> AxesImage:
    n_rounds, n_workers = shape
    axes.set_yticks(np.unique([0, n_workers // 2, n_workers - 1]))
    axes.spines[:].set_visible(True)  # or one could not see where nobody straggled
    return axes.imshow(
        shares.T,
        extent=(-0.5, n_rounds - 0.5, n_workers - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
        cmap=LinearSegmentedColormap.from_list("share", ["white", BLUE]),
        vmin=0.0,
        vmax=most,
    )


def _draw_strip(axes: Axes, log: StragglerLog) -> None:
    """Mark the rounds in which the master waited, above the workers."""
    n_workers = log.shape[1]
    rounds = np.flatnonzero(log.waited)
    top, bottom = -0.5 - 0.22 * n_workers, -0.5 - 0.06 * n_workers
    axes.axhline(-0.5, color="black", linewidth=0.5)
    axes.bar(rounds, height=bottom - top, bottom=top, width=1.0, color=ORANGE, linewidth=0)
    axes.set_ylim(n_workers - 0.5, top - 0.04 * n_workers)


def _straggler_key(
    sheet: Sheet, panels: list[Axes], image: AxesImage, cell: tuple[int, int], *, any_waited: bool
) -> None:
    handles = [Patch(color=BLUE, label="straggler (cut off)")] if cell == (1, 1) else []
    if any_waited:
        handles.append(Patch(color=ORANGE, label="strip: the master waited"))
    if handles:
        sheet.add_key(handles)
    if cell != (1, 1):
        bar = sheet.figure.colorbar(image, ax=panels, location="bottom", aspect=50, pad=0.02, shrink=0.8)
        bar.ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
        size = " × ".join(
            f"{n} {what}" + "s" * (n > 1) for n, what in zip(cell[::-1], ("worker", "round"), strict=True)
        )
        bar.set_label(f"stragglers (%) in a cell of {size}", fontsize="small")
