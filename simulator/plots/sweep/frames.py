"""Content of the figures of a sweep: entries, panels and means, as frames."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from simulator.columns import RUNS
from simulator.plots.style import ChartError
from simulator.plots.text import key_label, key_name, literal, parameter, said, setting, units, wrapped
from simulator.results.results import Results
from simulator.scenario.dotted_keys import swept_together
from simulator.statistics import half_width

MOST_PANELS = 6
FIXED = [name for name, column in RUNS.items() if column.fixed]


def swept_entries(results: Results) -> dict[str, list[str]]:
    """The keys of each entry of the sweep, by the first that tells its values apart: what varies together has one axis.

    If none does, by the first of all.
    """
    points = results.runs.drop_duplicates("point")
    entries = {}
    for keys in map(swept_together, results.scenario.get("sweep", {})):
        if set(keys) <= set(points):
            n_values = len(points[keys].drop_duplicates())
            telling = (key for key in keys if points[key].nunique(dropna=False) == n_values)
            entries[next(telling, keys[0])] = keys
    return entries or {"point": ["point"]}


def undetermined(table: pd.DataFrame, entries: Mapping[str, Sequence[str]], known: Sequence[str]) -> list[str]:
    """The keys that still vary where those known are fixed: of each entry, as many as tell its values apart."""
    found = []
    for keys in entries.values():
        given = [key for key in keys if key in known]
        for key in keys:
            if key not in given and len(combinations(table, [*given, key])) > len(combinations(table, given)):
                given.append(key)
                found.append(key)
    return found


def short_names(table: pd.DataFrame, entries: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Short names, by key, of what several schemes have in common: their parameters that always have the same value."""
    names = {}
    all_keys = [key for keys in entries.values() for key in keys]
    for keys in entries.values():
        for key in keys:
            alike = same_values(table[keys])[key]
            if len(alike) < 2 or not all(other.startswith("schemes.") for other in alike):
                continue
            parameters = list(dict.fromkeys(other.rpartition(".")[2] for other in alike))
            if not any(other.rpartition(".")[2] in parameters for other in all_keys if other not in alike):
                names[key] = " = ".join(map(parameter, parameters))
    return names


def companions(
    table: pd.DataFrame, entries: Mapping[str, Sequence[str]], key: str, panels: Sequence[str] = ()
) -> list[str]:
    """Say which other keys change with the one on an axis, to other values, in the same panel."""
    keys = next((keys for keys in entries.values() if key in keys), [key])
    groups = [group for group in same_values(table[list(keys)]).values() if not {key, *panels} & set(group)]
    others = list(dict.fromkeys(group[0] for group in groups))
    names = short_names(table, entries)
    varying = ", ".join(names.get(other, key_name(other)) for other in others)
    return [f"{names.get(key, key_name(key))} varies with {varying}"] if others else []


def main_metric(results: Results) -> tuple[str, list[str]]:
    """Return the metric by which schemes are compared, and the remark that it calls for."""
    failures = results.runs.groupby(["point", "scheme"])["decode_failures"].sum()
    if (failures.groupby("point").nunique() > 1).any():
        return "jobs_per_s", ["schemes failed different numbers of jobs, so they are compared by jobs per second"]
    return "makespan_s", []


def at_points(results: Results, column: str) -> pd.DataFrame:
    """Mean of a column over the trials of each point and scheme (``value``), with the swept values of the point.

    ``half`` is half the 95 % interval of the mean (Student's t; 0 for a single trial), ``failures`` the failed jobs.
    """
    groups = results.runs.groupby(["point", "scheme"], sort=False)
    table = groups[column].agg(["mean", "std", "count"])
    half = np.where(table["count"] > 1, half_width(table["std"], table["count"]), 0.0)
    table = table.assign(half=half, failures=groups["decode_failures"].sum(), n_trials=groups.size())
    table = table.rename(columns={"mean": "value"}).drop(columns=["std", "count"]).reset_index()
    keys = [key for keys in swept_entries(results).values() for key in keys if key != "point"]
    return table.join(results.runs.groupby("point")[keys].first(), on="point") if keys else table


def label_of(column: str, width: int, names: Mapping[str, str], *, is_mean: bool = False) -> str:
    """A column of the runs table, or a swept key, as the label of an axis, with its unit."""
    if column not in RUNS:
        return wrapped(names[column], width) if column in names else key_label(column, width)
    label, unit = names.get(column, RUNS[column].label), RUNS[column].unit
    return wrapped(f"{'mean ' if is_mean and column not in FIXED else ''}{label}{f' ({unit})' if unit else ''}", width)


def combinations(table: pd.DataFrame, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """The combinations of values that keys have."""
    return list(table[list(keys)].drop_duplicates().itertuples(index=False, name=None)) if keys else [()]


def rows_at(table: pd.DataFrame, keys: Sequence[str], choice: Sequence[Any]) -> pd.DataFrame:
    """The rows of a table in which keys have these values."""
    for key, value in zip(keys, choice, strict=True):
        table = table[table[key].isna() if value != value else table[key] == value]  # NaN: null in the scenario
    return table


def title_of(keys: Sequence[str], choice: Sequence[Any], width: int) -> str:
    """The values of a panel's keys with their units, wrapped between words, or before a long value."""
    hard = "\N{NO-BREAK SPACE}"
    says = []
    for key, value in zip(keys, choice, strict=True):
        text = said(value) + f"{hard}{units(key)[1]}" * bool(units(key)[1])
        is_long = len(f"{key_name(key).split()[-1]} = {text},") > width
        says.append(setting(key, text, f"{hard}={' ' if is_long else hard}"))
    return literal("\n".join(textwrap.wrap(", ".join(says), width)).replace(hard, " "))


def same_values(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns with the same values as each column, itself among them."""
    columns = {str(name): table[name] for name in table}
    return {name: [other for other in columns if columns[other].equals(columns[name])] for name in columns}


def is_numeric(column: pd.Series[Any]) -> bool:
    """Say whether a column holds numbers."""
    return column.dtype.kind in "iuf"


def kept_of(runs: pd.DataFrame, keys: Sequence[str], where: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The runs with one of the values wanted of each key.

    Raises
    ------
    ChartError
        If there is no such key or value.
    """
    for key, wanted in where.items():
        if key not in keys:
            raise ChartError(f"--where {key}: must be one of {', '.join(keys)}")
        # what is neither number nor truth value is text in the tables
        is_kept = runs[key].isin(list(wanted)) | runs[key].astype(str).isin([str(value) for value in wanted])
        if None in wanted:
            is_kept |= runs[key].isna() | (runs[key].astype(str) == "none")  # as it is written beside text
        if not is_kept.any():
            known = ", ".join("null" if value != value else str(value) for value in runs[key].drop_duplicates())
            raise ChartError(f"--where {key}: must be one of {known}, got {', '.join(map(str, wanted))}")
        runs = runs[is_kept]
    return runs


def varies_with(table: pd.DataFrame, x: str, entry: Sequence[str], keys: Sequence[str]) -> bool:
    """True if a column changes with the keys of one entry while the others stay."""
    others = [key for key in keys if key not in entry]
    return bool((table.groupby(others, dropna=False)[x].nunique() > 1).any())


def unchosen_keys(table: pd.DataFrame, entries: Mapping[str, Sequence[str]]) -> list[str]:
    """The swept keys that nobody chooses: all but those of schemes and master."""
    chosen = ("schemes", "master")
    given = {first: keys for first, keys in entries.items() if any(key.split(".")[0] not in chosen for key in keys)}
    return undetermined(table, given, [])
