"""Long tables: a row for each round and worker."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from simulator.errors import TraceError
from simulator.parameters import BoolArray
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.instants import spans
from simulator.traces.formats.table import (
    DIALECT,
    dialect,
    in_seconds,
    labels,
    left_out,
    must_be,
    of_folders,
    place,
    table_of,
    with_optional,
)
from simulator.traces.formats.words import TOTAL, advice, unit_in
from straggler_models.trace_file import COMPONENTS, checked
from straggler_models.trace_table import csv_rows, decoded, in_a_line, is_parquet, numbers, refuse_more, truths

NAMES = ("round", "worker", "duration_s", "start", "end", "host")
SUFFIXES = r"(?i)(\.(csv|tsv|txt|dat|log|parquet|pq|json|jsonl|ndjson|gz))+$"


def read(sources: Sequence[Path], options: Options, load: Callable[[Path, Options], pa.Table] = table_of) -> Samples:
    """Read tables with a row for each round and worker; ``columns`` says what these are called there.

    A time is in a column, or from an instant to another. Of several files without workers, each is a worker, called as
    the file is; folders called worker=3 are columns, too. ``where`` says which rows are meant.

    Without durations, but with what they are made of, as the ``workers.parquet`` of a run, it is native already.
    """
    columns = _columns(options.get("columns", ""))
    own_names = _own_names(sources)
    parts: list[pd.DataFrame] = []
    remarks: list[str] = []
    n_rows = 0
    for path, own_name in zip(sources, own_names, strict=True):
        table = load(path, options)
        n_rows += table.num_rows
        try:
            refuse_more(n_rows)
            if len(sources) == 1 and not columns and _is_native(table.column_names):
                return Samples(_parts(table, path))
        except ValueError as error:
            raise must_be(error, path) from None
        known = of_folders(path)
        if len(sources) > 1 and not {"worker"} & {*columns, *known, *table.column_names}:
            known["worker"] = own_name
            remarks[:1] = [f"without a column of workers, files are taken for them: {in_a_line(', '.join(own_names))}"]
        for name, value in known.items():
            if name not in table.column_names:
                table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
        part = _samples(table, path, columns, options, remarks)
        if part["duration_s"].isna().any() and load is table_of and not is_parquet(path):
            part["line"] = np.array([line for line, _ in csv_rows(path, **dialect(options))][1:])[part.index]
        parts.append(part)
    samples = pd.concat(parts, ignore_index=True)
    if samples.empty and "where" in options:
        raise TraceError(f"--where: must be true of some rows, got {', '.join(options['where'])}, which is of none")
    if not all("step" in part.columns for part in parts):
        samples = samples.drop(columns="step", errors="ignore")
    else:
        steps = ["" if step is None else str(step) for step in samples["step"]]
        is_number = all(re.fullmatch("[+-]?[0-9]{1,18}", step) for step in steps)
        samples["step"] = np.array(list(map(int, steps)) if is_number else steps)
    words = in_a_line(columns.get("round", "round"), 60), in_a_line(columns.get("worker", "worker"), 60)
    return Samples(samples, tuple(dict.fromkeys(remarks)), words=words)


def _samples(
    table: pa.Table, path: Path, columns: Mapping[str, str], options: Options, remarks: list[str]
) -> pd.DataFrame:
    """The times in one table, by their rows in it; what is to be known about them is added to the remarks."""
    present = table.column_names
    has_ends = not {"start", "end"}.isdisjoint(columns)
    if "duration_s" not in (*columns, *present):
        has_ends |= {"start", "end"} <= {*present}
    time = ("start", "end") if has_ends else ("duration_s",)
    wanted = {name: columns.get(name, name) for name in ("round", "worker", *time, *({"host"} & {*columns}))}
    absent = [called for called in wanted.values() if present.count(called) != 1]
    if absent and not options.get("columns"):
        raise TraceError(
            f"{path}: must have the columns round, worker and duration_s, got {in_a_line(', '.join(present))}: "
            f"{advice(present)}"
        )
    if absent:
        hint = ", ".join(f"{name}=..." for name, called in wanted.items() if called in absent)
        raise TraceError(
            f"{path}: must have the columns {', '.join(wanted.values())}, got {in_a_line(', '.join(present))} "
            f"(--columns {hint} says what they are called)"
        )
    keep = _meant(table, options.get("where", ()), path)
    for name in ("round", "worker"):
        column = decoded(table.column(wanted[name]))
        if pa.types.is_string(column.type):
            totals = pa.compute.match_substring_regex(column, f"^(?:{TOTAL})$").fill_null(False).to_numpy()
            remarks += left_out(column.filter(pa.array(totals & keep)).to_pylist(), f"rows whose {name} is", name)
            keep &= ~totals
    table = table.filter(pa.array(keep))
    samples = pd.DataFrame(
        {name: labels(table.column(wanted[name]), wanted[name], path) for name in ("round", "worker")}
    )
    if present.count("step") == 1 and "step" not in wanted.values():
        samples["step"] = pd.Series(decoded(table.column("step")).to_pylist(), dtype=object)
    times = [table.column(wanted[name]) for name in time]
    said = unit_in(wanted[time[0]])
    if said and "unit" not in options and not any(pa.types.is_temporal(column.type) for column in times):
        called = in_a_line(wanted[time[0]], 60)
        remarks.append(
            f"{called} is taken for seconds, although it is called {said} (--unit {said}, or s if it is right)"
        )
    samples["duration_s"] = in_seconds(
        spans(times[0], times[1], path) if has_ends else times[0],
        path,
        options.get("unit"),
        lambda row: place(samples, row),
    )
    if columns.get("host", "host") != "host":
        others = table.drop_columns(["host"]) if "host" in present else table
        table = others.append_column("host", table.column(columns["host"]))
    samples = with_optional(samples, table, path, options.get("unit"))
    return samples.set_axis(np.flatnonzero(keep))


def _meant(table: pa.Table, conditions: Sequence[str], path: Path) -> BoolArray:
    """The rows of which all conditions hold."""
    meant = np.ones(table.num_rows, dtype=np.bool_)
    for condition in conditions:
        name, is_one, value = (part.strip() for part in condition.partition("="))
        if not is_one or table.column_names.count(name) != 1:
            known = in_a_line(", ".join(table.column_names))
            raise TraceError(f"--where: must be COLUMN=VALUE, of {path} one of {known}, got {in_a_line(condition, 60)}")
        cells = decoded(table.column(name)).to_pylist()
        texts = ["" if cell is None else str(cell).strip() for cell in cells]
        meant &= np.array([_is(text, value) for text in texts], dtype=np.bool_)
    return meant


def _is(text: str, value: str) -> bool:
    try:
        return text == value or float(text) == float(value)
    except ValueError:
        return text.lower() == value.lower() in ("true", "false")


def _is_native(names: Sequence[str]) -> bool:
    return "duration_s" not in names and bool(set(names) & set(COMPONENTS))


def _parts(table: pa.Table, path: Path) -> pd.DataFrame:
    checked(table, str(path))
    names = [name for name in ("round", "worker", *COMPONENTS) if name in table.column_names]
    frame = pd.DataFrame({name: numbers(table.column(name))[0] for name in names})
    if "censored" in table.column_names:
        frame["censored"] = truths(table.column("censored"))
    return frame.astype({"round": "int32", "worker": "int32"}).drop_duplicates().sort_values(["round", "worker"])


def _columns(text: str) -> dict[str, str]:
    """The names in ``round=step,worker=rank``."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    names = {name.strip(): called.strip() for name, _, called in pairs}
    wrong = [name for name, called in names.items() if name not in NAMES or not called]
    if wrong or len(names) < len(pairs) or ("duration_s" in names and {"start", "end"} & names.keys()):
        raise TraceError(
            "--columns: must be round=NAME,worker=NAME,duration_s=NAME (or start=NAME,end=NAME),host=NAME or some of "
            f"them, got {text}"
        )
    return names


def _own_names(sources: Sequence[Path]) -> list[str]:
    """What files are called, with as many of their folders as tell them apart."""
    names = [re.sub(SUFFIXES, "", path.name) or path.name for path in sources]
    if len(set(names)) == len(names):
        return names
    folders = [path.absolute().parent for path in sources]
    common = os.path.commonpath(folders)
    return [(folder.relative_to(common) / name).as_posix() for folder, name in zip(folders, names, strict=True)]


LONG = Format(
    kind="long",
    options=("columns", "where", *DIALECT, *COMMON),
    fits=lambda source, options: True,
    read=read,
    takes_several=True,
)
