"""A figure that somebody asks for: which column against which key."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from simulator.columns import KEYS
from simulator.plots.style import ChartError
from simulator.plots.sweep import frames
from simulator.plots.text import said
from simulator.results.results import Results
from simulator.results.summary import name_of
from simulator.statistics import TIE


@dataclass(frozen=True)
class Chart:
    """A column of the runs table against a swept key, or against another column."""

    x: str
    """swept key, or column of numbers"""
    y: str
    """column of numbers"""
    by: str = "scheme"
    """what the lines are of: ``scheme`` or a swept key"""
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """values of ``scheme`` or swept keys, to which the figure keeps"""

    @property
    def name(self) -> str:
        """A file name of its own, without an ending."""
        parts = [self.y, "over", self.x]
        parts += ["by", self.by] if self.by != "scheme" else []
        for key, values in self.where.items():
            parts += ["where", key, *map(said, values)]
        return file_name("-".join(parts))


def file_name(text: str) -> str:
    """A text without what a file system could mind."""
    return re.sub(r"[^\w-]+", "_", text)[:150]


@dataclass(frozen=True)
class Prepared:
    """A chart with what it shows."""

    table: pd.DataFrame
    panels: list[str]  # keys
    is_line: bool
    names: dict[str, str]  # of keys
    bounds: list[list[str]]  # schemes whose bound is the same, which stands in the table's column "bound"
    crossed: list[list[str]]  # such schemes with a bound that others are below


def prepared(results: Results, chart: Chart) -> Prepared:
    """Take what a chart shows from the results.

    Raises
    ------
    ChartError
        If they do not allow it.
    """
    entries = frames.swept_entries(results)
    keys = [key for keys in entries.values() for key in keys]
    numbers = [name for name in map(str, results.runs) if frames.is_numeric(results.runs[name]) and name not in KEYS]
    for option, given, known in (
        ("x", chart.x, list(dict.fromkeys([*keys, *numbers]))),
        ("y", chart.y, [column for column in numbers if column not in keys]),
        ("by", chart.by, ["scheme", *keys]),
    ):
        if given not in known:
            more = " (loss or accuracy against time: --x time_s --y loss)" if results.training is not None else ""
            raise ChartError(f"--{option} {given}: must be one of {', '.join(known)}{more}")
    kept = Results(frames.kept_of(results.runs, ["scheme", *keys], chart.where), scenario=results.scenario)
    table = frames.at_points(kept, chart.y)
    taken: list[str] = []
    if chart.x not in keys:
        table[chart.x] = frames.at_points(kept, chart.x)["value"]
        taken = [entry for entry in entries if frames.varies_with(table, chart.x, entries[entry], ["scheme", *keys])]
    open_entries = {"scheme": ["scheme"]} | {entry: entries[entry] for entry in entries if entry not in taken}
    panels = frames.undetermined(table, open_entries, [chart.x, chart.by])
    n_panels = len(frames.combinations(table, panels))
    if n_panels > frames.MOST_PANELS:
        values = "; ".join(f"{key}: {', '.join(map(said, dict.fromkeys(table[key])))}" for key in panels)
        most = f"--where: must leave at most {frames.MOST_PANELS} panels"
        raise ChartError(f"{most}, got {n_panels}: fix some of {values} (key=value)")
    is_line = len(taken) < 2 and frames.is_numeric(table[chart.x]) and not table[chart.x].isna().any()  # NaN: null
    groups: list[list[str]] = []
    if chart.y == "load" and chart.by == "scheme" and chart.x in keys and is_line and "load_bound" in kept.runs:
        table["bound"] = frames.at_points(kept, "load_bound")["value"]
        bounds = table.pivot(index="point", columns="scheme", values="bound")
        alike = frames.same_values(bounds.loc[:, bounds.notna().any()])
        groups = [list(group) for group in dict.fromkeys(map(tuple, alike.values()))]
    crossed = [group for group in groups if _is_crossed(table, group)]
    open_ = [group for group in groups if group not in crossed]
    return Prepared(
        table,
        panels,
        is_line,
        frames.short_names(table, entries) | {"makespan_s": name_of("makespan_s", kept.runs)},
        open_,
        crossed,
    )


def _is_crossed(table: pd.DataFrame, schemes: Sequence[str]) -> bool:
    """True if the load of another scheme is below the bound of some: a line there would seem to bound it."""
    bound = table[table["scheme"] == schemes[0]].set_index("point")["bound"]
    others = table[~table["scheme"].isin(list(schemes))]
    return bool((others["value"] < others["point"].map(bound) * (1 - TIE)).any())


def bound_remarks(results: Results, chart: Chart) -> list[str]:
    """Say which bounds of the load are not drawn, and why."""
    crossed = prepared(results, chart).crossed
    why = "other schemes, which tolerate less, are below it"
    return [f"bound of {', '.join(group)} not drawn: {why}" for group in crossed]
