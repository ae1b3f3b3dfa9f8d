"""Tables of other people: labels, times and units."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa

from simulator.errors import TraceError
from simulator.parameters import FloatArray
from simulator.traces.formats.format import OPTIONAL, Options
from straggler_models.trace_table import (
    MOST_TIMES,
    NO_VALUE,
    PER_SECOND,
    are_instants,
    decoded,
    in_a_line,
    is_parquet,
    numbers,
    read_table,
    truths,
)

DIALECT = ("delimiter", "decimal")  # options of a CSV
NO_FOLDER = "__HIVE_DEFAULT_PARTITION__"  # in the name of a folder: there is no value


def must_be(error: ValueError, path: Path) -> TraceError:
    """Say of a file what ``kind: trace`` says of its path."""
    return TraceError(f"{path}: {str(error).replace('path must name', 'must be', 1)}")


def dialect(options: Options) -> dict[str, str]:
    """Return what options say of a CSV.

    Raises
    ------
    TraceError
        If it can't be.
    """
    said: dict[str, str] = {name: options[name] for name in DIALECT if name in options}
    if said.get("delimiter") in ("\\t", "tab"):
        said["delimiter"] = "\t"
    if len(said.get("delimiter", ",")) != 1 or said.get("delimiter") in ("\n", "\r", '"'):
        raise TraceError(f"--delimiter: must be one character (or tab), got {in_a_line(said['delimiter'], 60)!r}")
    if said.get("decimal", ".") not in (".", ","):
        raise TraceError(f"--decimal: must be . or a comma, got {in_a_line(said['decimal'], 60)!r}")
    return said


def table_of(path: Path, options: Options) -> pa.Table:
    """Read a CSV or Parquet file."""
    said = dialect(options)
    try:
        if said and is_parquet(path):
            raise TraceError(f"--{next(iter(said))}: must be left out for {path}, which is Parquet")
        table = read_table(path, **said)
        names = table.column_names  # raises for names that are no text
    except ValueError as error:
        raise must_be(error, path) from None
    name, counts, _ = pandas_knows(table.schema)
    if name in ("", *names) or len(counts) != table.num_rows:
        return table
    return table.append_column(name, pa.array(np.arange(counts.start, counts.stop, counts.step)))


class PandasFrame(NamedTuple):
    """What only pandas knows of a table that it has written."""

    index_name: str = ""
    counts: range = range(0)  # which it writes as three numbers
    column_label: str = ""  # of all columns together


def pandas_knows(schema: pa.Schema) -> PandasFrame:
    """Return what the metadata of pandas say of an index that counts, and of the columns together."""
    try:
        about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        label = " ".join(str(level["name"] or "") for level in about["column_indexes"])
        for index in about["index_columns"]:
            if isinstance(index, dict) and index["kind"] == "range" and index["name"]:
                counts = range(index["start"], index["stop"], index["step"])
                return PandasFrame(str(index["name"]), counts if len(counts) <= MOST_TIMES else range(0), label)
        return PandasFrame(column_label=label)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, OverflowError):  # of another program
        return PandasFrame()


def of_folders(path: Path) -> dict[str, str | None]:
    """Columns that stand in the names of a file's folders, as in ``worker=3/part.parquet``."""
    pairs = [part.partition("=") for part in path.parts[:-1]]
    named = {unquote(name): unquote(value) for name, _, value in pairs if name and value}
    return {name: None if value == NO_FOLDER else value for name, value in named.items()}


def labels(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray[Any, Any]:
    """Return the labels in a column: integers, or text.

    Raises
    ------
    TraceError
        If they are of another type, or one is missing.
    """
    column = decoded(column)
    kind = column.type
    is_integer = pa.types.is_integer(kind) and kind != pa.uint64()
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (is_number or pa.types.is_string(kind) or pa.types.is_null(kind)):
        raise TraceError(f"{path}: {name} must hold numbers or names, got {str(kind)[:100]}")
    if is_integer and not column.null_count:
        return np.asarray(column.to_numpy())
    cells = ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
    for row, cell in enumerate(cells):
        if cell.lower() in NO_VALUE:
            raise TraceError(f"{path}: {name} must be given in each row, got {cell or 'nothing'} in row {row}")
    return np.array(cells, dtype=object)


def in_seconds(column: pa.ChunkedArray, path: Path, unit: str | None, named: Callable[[int], str]) -> FloatArray:
    """Return the times of a column in seconds, NaN where there is none.

    Parameters
    ----------
    column
        The times, numbers or text.
    path
        Where they come from, for messages.
    unit
        Of numbers; None: seconds. Durations have a unit of their own.
    named
        Says the round and worker of a row, for messages.
    """
    if unit is not None and pa.types.is_duration(column.type):
        raise TraceError(f"--unit: must be left out for {path}, whose times are {column.type}, got {unit}")
    try:
        values, wrong = numbers(column)
    except ValueError as error:
        raise TraceError(f"{path}: times must be numbers of at least 0, got {error}") from None
    wrong |= values < 0
    if wrong.any():
        row = int(np.argmax(wrong))
        got = in_a_line(column[row].as_py(), 60)
        hint = " (--decimal , if it has a decimal comma)" if "," in got else ""
        raise TraceError(f"{path}: times must be numbers of at least 0, got {got} for {named(row)}{hint}")
    values = values / PER_SECOND[unit or "s"]
    if (is_instant := are_instants(values)).any():
        row = int(np.argmax(is_instant))
        raise TraceError(
            f"{path}: times must be durations, got {in_a_line(column[row].as_py(), 60)} for {named(row)}, which looks "
            "like an instant (--columns start=...,end=... takes what is between two), or is in another unit (--unit)"
        )
    return values


def place(samples: pd.DataFrame, row: int) -> str:
    """Name the round and worker of a row, for a message."""
    return f"round {in_a_line(samples['round'][row], 60)}, worker {in_a_line(samples['worker'][row], 60)}"


def left_out(names: Sequence[object], kind: str, what: str) -> tuple[str, ...]:
    """Say which columns or rows are left out; what they are not."""
    if not names:
        return ()
    listed = in_a_line(", ".join(dict.fromkeys(map(str, names))))
    return (f"{kind} called {listed} are left out: computed from others, they are no {what}s",)


def with_optional(samples: pd.DataFrame, table: pa.Table, path: Path, unit: str | None) -> pd.DataFrame:
    """Add the optional columns of the native form that a table has: worker_name and those of `OPTIONAL`."""
    there = [name for name in ("worker_name", *OPTIONAL) if table.column_names.count(name) == 1]
    found: dict[str, Any] = {}
    for name in there:
        column = table.column(name)
        if name in ("worker_name", "host"):
            found[name] = labels(column, name, path)
        elif name == "waited_s":
            found[name] = in_seconds(column, path, unit, lambda row: place(samples, row))
        else:
            try:
                found[name], wrong = (truths(column), ()) if name == "censored" else numbers(column)
                if np.any(wrong):
                    raise ValueError(in_a_line(column[int(np.argmax(wrong))].as_py(), 60))
            except ValueError as error:
                rule = "true or false" if name == "censored" else "numbers"
                raise TraceError(f"{path}: {name} must be {rule}, got {error}") from None
    return samples.assign(**found)
