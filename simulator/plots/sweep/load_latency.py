"""Latency against load, and which points no other beats in both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from simulator.parameters import BoolArray, FloatArray
from simulator.plots.sheet import HOLLOW, Sheet
from simulator.plots.style import GREY, Look, SaysNothingError
from simulator.plots.sweep.frames import at_points, combinations, rows_at, short_names, swept_entries
from simulator.plots.sweep.lines import MOST_VECTORS, panels, scale_up
from simulator.results.results import Results
from simulator.statistics import TIE

LATENCY = "job_latency_p95_s"
FRONT = Line2D([], [], color=GREY, marker="o", markersize=7, markerfacecolor="none", linestyle="none")
FRONT.set_label("ring: not dominated")


def draw_load_latency(sheet: Sheet, results: Results, surroundings: Sequence[str]) -> None:
    """Latency against load of each scheme at each point; a panel for each choice of what nobody chooses."""
    table = at_points(results, LATENCY)
    table["load"] = at_points(results, "load")["value"]
    if len(table) > 1 and np.ptp(table["load"]) <= TIE * table["load"].max():
        raise SaysNothingError(f"every scheme has load {table['load'].iloc[0]:.4g} at every point")
    of_panels = [rows_at(table, surroundings, choice)["load"] for choice in combinations(table, surroundings)]
    if len(table) > 1 and all(np.ptp(load) <= TIE * load.max() for load in of_panels):
        raise SaysNothingError("every scheme has the same load in each panel")
    looks = sheet.looks(list(table["scheme"].unique()))
    is_reference = table["scheme"].isin(results.runs.loc[results.runs["kind"] == "ideal", "scheme"])
    table["may_win"] = ~is_reference & (table["failures"] == 0) & table["value"].notna()
    names = short_names(table, swept_entries(results))
    for axes, here in panels(sheet, table, surroundings, "load", LATENCY, names):
        load, latency_s = (here[name].to_numpy(dtype=np.float64) for name in ("load", "value"))
        wins = _not_dominated(load, latency_s, here["may_win"].to_numpy(dtype=np.bool_))
        order = np.argsort(load[wins], kind="stable")
        axes.step(load[wins][order], latency_s[wins][order], where="post", color=GREY, linewidth=0.8, zorder=1)
        for label, group in here.assign(wins=wins).groupby("scheme", sort=False):
            _pareto_points(axes, looks[str(label)], group)
        axes.margins(0.1)
        scale_up(axes, table["value"])
    extra = [FRONT, *([HOLLOW] if table["failures"].any() else [])]
    sheet.add_legend(looks, has_lines=False, extra=extra)


def _pareto_points(axes: Axes, look: Look, group: pd.DataFrame) -> None:
    for is_whole, part in group.groupby(group["failures"] == 0):
        fill = look.colour if is_whole else "white"
        how: dict[str, Any] = {"markerfacecolor": fill, "zorder": 2, "rasterized": len(part) > MOST_VECTORS}
        axes.plot(part["load"], part["value"], look.marker, color=look.colour, **how)
    front = group[group["wins"]]
    axes.plot(front["load"], front["value"], "o", color=GREY, fillstyle="none", markersize=8, zorder=3)


def _not_dominated(load: FloatArray, latency_s: FloatArray, may_win: BoolArray) -> BoolArray:
    """Mark the points that no other beats in one and equals in the other; only those that may win are compared."""
    wins = may_win.copy()
    loads, which = np.unique(load[may_win], return_inverse=True)
    least_s = np.full(len(loads), np.inf)
    np.minimum.at(least_s, which, latency_s[may_win])  # at each load
    with_less_s = np.concatenate([[np.inf], np.minimum.accumulate(least_s)])[:-1]
    wins[may_win] = (latency_s[may_win] == least_s[which]) & (latency_s[may_win] < with_less_s[which])
    return wins


def remarks_of(results: Results) -> list[str]:
    """List what the caption of the figure has to add."""
    runs = results.runs
    remarks = ["each scheme at each point"]
    remarks += ["points where jobs failed are not compared"] if runs["decode_failures"].any() else []
    remarks += ["the reference (ideal) is not compared"] if (runs["kind"] == "ideal").any() else []
    return remarks + (["approximate gradients count like exact ones"] if (runs["error_norm_mean"] > 0).any() else [])
