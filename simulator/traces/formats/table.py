"""Tables of other people: labels, times and units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulator.errors import TraceError
from straggler_models.trace_table import NO_VALUE, PER_SECOND, decoded, in_a_line, numbers

if TYPE_CHECKING:
    import pyarrow as pa


def must_be(error: ValueError, path: Path) -> TraceError:
    """Say of a file what ``kind: trace`` says of its path."""
    return TraceError(f"{path}: {str(error).replace('path must name', 'must be', 1)}")


def labels(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray[Any, Any]:
    """Return the labels in a column: integers, or text.

    Raises
    ------
    TraceError
        If they are of another type, or one is missing.
    """
    import pyarrow as pa

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


def in_seconds(samples: pd.DataFrame, column: pa.ChunkedArray, path: Path, unit: str | None) -> pd.DataFrame:
    """Add the times of a column in seconds, NaN where there is none.

    Parameters
    ----------
    samples
        The round and worker of each time.
    column
        The times, numbers or text.
    path
        Where they come from, for messages.
    unit
        Of numbers; None: seconds. Durations have a unit of their own.
    """
    import pyarrow as pa

    if unit is not None and pa.types.is_duration(column.type):
        raise TraceError(f"--unit: must be left out for {path}, whose times are {column.type}, got {unit}")
    try:
        values, wrong = numbers(column)
    except ValueError as error:
        raise TraceError(f"{path}: times must be numbers of at least 0, got {error}") from None
    wrong |= values < 0
    if wrong.any():
        row = int(np.argmax(wrong))
        got, of_round, worker = (
            in_a_line(cell, 60) for cell in (column[row].as_py(), samples["round"][row], samples["worker"][row])
        )
        raise TraceError(
            f"{path}: times must be numbers of at least 0, got {got} for round {of_round}, worker {worker}"
        )
    return samples.assign(duration_s=values / PER_SECOND[unit or "s"])
