"""Wide tables: a row for each worker or round."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from simulator.errors import TraceError
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.table import in_seconds
from straggler_models.trace_table import UNREADABLE, csv_rows

INDEX_NAMES = ("", "index", "worker", "rank", "round", "step", "iteration")


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Read a CSV with a row for each worker and a column for each round, or the other way round.

    A first line with names (something that is no number, or 0, 1, 2, ... or 1, 2, 3, ...) is a header, a first column
    with such names an index. Empty cells are left out.
    """
    if "rows" not in options:
        raise TraceError("--rows: must say worker or round for a wide table, got nothing")
    path = sources[0]
    try:
        cells = pd.DataFrame(list(csv_rows(path)), dtype=object)
    except UNREADABLE as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise TraceError(f"{path}: must be a readable CSV file, got none ({reason})") from None
    if cells.empty:
        raise TraceError(f"{path}: must hold times, got none")
    cells = cells.loc[:, (cells != "").any()].T.reset_index(drop=True).T  # columns without a name or a time are none
    header = _names(cells.iloc[0].tolist())
    if header is not None and _only_first_is_text(header) and all(map(_is_text, cells[0])):
        header = None  # these are names of rows
    if header is not None:
        cells = cells.iloc[1:]
    if cells.empty:
        raise TraceError(f"{path}: must hold times, got none")
    index = _index(header, cells)
    if index is not None:
        cells = cells.iloc[:, 1:]
        header = None if header is None else header[1:]
    columns = list(range(cells.shape[1])) if header is None else header
    index = list(range(cells.shape[0])) if index is None else index
    across, down = ("round", "worker") if options["rows"] == "worker" else ("worker", "round")
    samples = pd.DataFrame(
        {
            down: np.repeat(np.array(index, dtype=object), len(columns)),
            across: np.tile(np.array(columns, dtype=object), len(index)),
        }
    )
    times = pa.chunked_array([pa.array(cells.to_numpy().ravel().tolist(), pa.string())])
    return Samples(in_seconds(samples, times, path, options.get("unit")))


def _names(cells: Sequence[str]) -> Sequence[str] | None:
    """The cells, if they are names and no times."""
    if cells[0] == "" or any(map(_is_text, cells)):  # the former above the index of a frame that pandas has written
        return cells
    numbers = [_number(cell) for cell in cells]
    counts = any(numbers == list(range(first, first + len(cells))) for first in (0, 1))
    return cells if counts and len(cells) > 1 else None


def _index(header: Sequence[str] | None, cells: pd.DataFrame) -> Sequence[Any] | None:
    """The first column, if it holds names and no times."""
    first: list[str] = cells.iloc[:, 0].tolist()
    if cells.shape[1] < 2:
        return None
    if header is None:  # a column that counts may be one of times; text is none
        return first if any(map(_is_text, first)) else None
    has_own_name = not re.search(r"\d", header[0]) and any(re.search(r"\d", name) for name in header[1:])
    return first if header[0].lower() in INDEX_NAMES or has_own_name else _names(first)


def _only_first_is_text(cells: Sequence[str]) -> bool:
    return _is_text(cells[0]) and len(cells) > 1 and not any(map(_is_text, cells[1:]))


def _is_text(cell: str) -> bool:
    return cell != "" and _number(cell) is None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


WIDE = Format(
    kind="wide",
    options=("rows", "delimiter", "decimal", *COMMON),
    fits=lambda source, options: "rows" in options,
    read=read,
    hint="--rows worker or --rows round (a row for each)",
)
