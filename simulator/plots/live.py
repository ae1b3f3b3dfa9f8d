"""The figure of a live run: measured against predicted times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from simulator.plots.saving import save
from simulator.plots.style import GREY, looks_of, plain_ticks, style

if TYPE_CHECKING:
    from simulator.live.run import Live
    from simulator.live.verdict import Row

SIZE_IN = 4.5


def draw_live(found: Live, folder: Path) -> list[Path]:
    """Write the figure; returns the paths of the PNGs."""
    return [save(live_page(found.rows, is_injected=found.results.manifest["injected"]), folder, "live")]


def live_page(rows: Sequence[Row], *, is_injected: bool) -> Figure:
    """Measured against predicted makespans, with the ranges of the predictions."""
    looks = looks_of([row.scheme for row in rows])
    with style():
        figure = Figure(figsize=(SIZE_IN, SIZE_IN + 0.15 * ((len(rows) + 1) // 2)), layout="constrained")
        axes = figure.subplots()
        ends = [*(row.live_s for row in rows), *(row.predicted_low_s for row in rows)]
        ends += [row.predicted_high_s for row in rows]
        low, high = min(ends), max(ends)
        if high > 10 * low:
            low, high = low / 1.5, high * 1.5
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                plain_ticks(axis, low, high)
        else:
            low, high = low - 0.08 * (high - low), high + 0.08 * (high - low)
        axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=1)
        for row in rows:
            look = looks[row.scheme]
            axes.plot([row.live_s] * 2, [row.predicted_low_s, row.predicted_high_s], color=look.colour, linewidth=1.4)
            axes.plot(row.live_s, row.predicted_s, look.marker, color=look.colour, label=row.scheme, linestyle="none")
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_aspect("equal")
        axes.set_xlabel("measured makespan (seconds)")
        axes.set_ylabel("predicted makespan (seconds), 95 % of trials")
        figure.legend(loc="outside upper center", ncols=2)
        figure.set_label(
            "Makespan on real processes against its prediction from straggler models and calibration; workers "
            f"{'wait until the times that the models draw' if is_injected else 'take as long as they take'}; lines: "
            "95 % of trials; grey: equal"
        )
    return figure
