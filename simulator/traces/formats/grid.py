"""Times in rows and columns, one for the workers and one for the rounds."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from simulator.errors import TraceError
from simulator.parameters import FloatArray
from simulator.traces.formats.format import Options, Samples
from simulator.traces.formats.table import in_seconds, labels, left_out, pandas_knows, place
from simulator.traces.formats.words import INDEX, ROUND, WORKER, is_total, is_wide, numbered_alike, odd_ones
from straggler_models.trace_table import in_a_line, numbers, refuse_more

SEEN = 200  # rows and columns that are looked at to see whether the first one counts


def of_grid(
    cells: np.ndarray[Any, Any], header: Sequence[Any] | None, index: Sequence[Any] | None, path: Path, options: Options
) -> Samples:
    """Return the times in cells, without what is computed from others, and without a first column that counts.

    Parameters
    ----------
    cells
        Numbers, durations or text, shape ``(n_rows, n_columns)``.
    header, index
        What stands above and beside them; None: nothing.
    path
        Where they come from, for messages.
    options
        ``rows`` says what a row is.
    """
    if "rows" not in options:
        raise TraceError(f"--rows: must say worker or round for a wide table, got nothing for {path}")
    across, down = ("round", "worker") if options["rows"] == "worker" else ("worker", "round")
    remarks: list[str] = []
    if header is not None:
        totals = np.array([is_total(name) for name in header], dtype=np.bool_)
        remarks += left_out(list(itertools.compress(header, totals)), "columns", across)
        cells, header = cells[:, ~totals], [name for name in header if not is_total(name)]
    if index is None and _counts(cells, header):
        listed = ", ".join(f"{number:g}" for number in _floats(cells[:3, 0]))
        index, cells, header = cells[:, 0].tolist(), cells[:, 1:], header and header[1:]
        remarks.append(f"the first column ({listed}, ...) is taken for the numbers of {down}s, since it counts")
    if index is not None:
        totals = np.array([is_total(name) for name in index], dtype=np.bool_)
        remarks += left_out(list(itertools.compress(index, totals)), "rows", down)
        cells, index = cells[~totals], [name for name in index if not is_total(name)]
    if header and (odd := odd_ones(list(map(str, header)))):
        remarks.append(f"columns called {in_a_line(', '.join(odd))} are taken for {across}s, too, as the others are")
    if cells.size == 0:
        raise TraceError(f"{path}: must hold times, got none")
    refuse_more(cells.size)
    table = pd.DataFrame(
        {
            down: np.repeat(np.array(range(len(cells)) if index is None else index, dtype=object), cells.shape[1]),
            across: np.tile(np.array(range(cells.shape[1]) if header is None else header, dtype=object), len(cells)),
        }
    )
    times = pa.chunked_array([pa.array(cells.ravel())])
    table["duration_s"] = in_seconds(times, path, options.get("unit"), lambda row: place(table, row))
    return Samples(table, tuple(remarks))


def refuse_long(names: Sequence[str], path: Path, options: Options) -> None:
    """Refuse to read a long table as if its columns were workers or rounds."""
    if "rows" in options and {"round", "worker", "duration_s"} <= {*names}:
        raise TraceError(
            f"--rows: must be left out for {path}, a long table with the columns round, worker, duration_s"
        )


def _counts(cells: np.ndarray[Any, Any], header: Sequence[Any] | None) -> bool:
    """Say whether the first column numbers the rows: whole numbers that go up, beside times that are no such numbers.

    Where all times are whole, only 0, 1, 2, ... and 1, 2, 3, ... do.
    """
    if (
        cells.shape[1] < 2
        or len(cells) == 0
        or (header is not None and numbered_alike(list(map(str, header))) is not None)
    ):
        return False
    first, others = _floats(cells[:, 0]), _floats(cells[:SEEN, 1:SEEN].ravel())
    steps = np.diff(first)
    if len(first) < (2 if first[0] == 0 else 3) or not (np.isfinite(first).all() and (first % 1 == 0).all()):
        return False
    if (others[np.isfinite(others)] % 1 != 0).any():
        return bool((steps > 0).all() and (len(steps) >= 4 or (steps == steps[0]).all()))
    return first[0] in (0, 1) and bool((steps == 1).all()) and not (np.diff(_floats(cells[:, 1])) == 1).all()


def _floats(cells: np.ndarray[Any, Any]) -> FloatArray:
    try:
        return numbers(pa.chunked_array([pa.array(cells)]))[0]
    except ValueError:
        return np.full(len(cells), np.nan)


def has_columns_of_workers(schema: pa.Schema) -> bool:
    """Say whether a table needs no ``rows``: it has a column of rounds, and then one for each worker."""
    by_pandas = pandas_knows(schema)
    return is_wide([*schema.names, by_pandas.index_name], by_pandas.column_label)


def of_columns(table: pa.Table, path: Path, options: Options) -> Samples:
    """Return the times in a table whose columns have names and types; one of them, or none, is the index."""
    names = table.column_names
    if len(set(names)) < len(names):
        raise TraceError(f"{path}: must have columns of different names, got some twice")
    refuse_long(names, path, options)
    rows = options.get("rows", "round" if has_columns_of_workers(table.schema) else None)
    if rows is None:
        raise TraceError(f"--rows: must say worker or round for a wide table, got nothing for {path}")
    words = WORKER if rows == "worker" else ROUND
    beside = sorted((name for name in names if name.lower() in INDEX), key=lambda name: name.lower() not in words)
    index = labels(table.column(beside[0]), beside[0], path) if beside else None
    columns = [name for name in names if name not in beside]
    unit, empty = options.get("unit"), np.full(table.num_rows, np.nan)
    cells = [empty if is_total(name) else _column(table, name, path, unit) for name in columns]
    options = {name: value for name, value in options.items() if name != "unit"} | {"rows": rows}
    grid = np.column_stack(cells) if cells else np.empty((table.num_rows, 0))
    found = of_grid(grid, columns, None if index is None else index.tolist(), path, options)
    if beside[1:]:
        said = f"columns called {in_a_line(', '.join(beside[1:]))} are left out: {beside[0]} says what each row is"
        return found._replace(remarks=(*found.remarks, said))
    return found


def _column(table: pa.Table, name: str, path: Path, unit: str | None) -> FloatArray:
    return in_seconds(table.column(name), path, unit, lambda row: f"{in_a_line(name, 60)} in row {row}")
