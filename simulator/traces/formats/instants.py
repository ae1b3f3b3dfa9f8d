"""Times between two instants: numbers, or dates."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute

from simulator.errors import TraceError
from straggler_models.trace_table import NO_VALUE, NUMBER, decoded, in_a_line


def spans(start: pa.ChunkedArray, end: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    """Return how long it is from each start to its end: numbers as they were, or a duration between dates.

    Raises
    ------
    TraceError
        If they are neither, or one is of another kind than the other.
    """
    columns = [_read(decoded(column), path) for column in (start, end)]
    try:
        if all(isinstance(column, list) for column in columns):
            pairs = zip(*columns, strict=True)
            times = [None if begin is None or done is None else float(done - begin) for begin, done in pairs]
            return pa.chunked_array([pa.array(times, pa.float64())])
        return pa.compute.subtract_checked(columns[1], columns[0])
    except (pa.ArrowException, ArithmeticError, TypeError, ValueError):
        raise TraceError(
            f"{path}: start and end must both be numbers, or both instants (2026-01-31T12:00:00.5), got "
            f"{str(start.type)[:60]} and {str(end.type)[:60]}"
        ) from None


def _read(column: pa.ChunkedArray, path: Path) -> Any:
    """Exact numbers, or instants, of text; other columns as they are."""
    if not pa.types.is_string(column.type):
        return column
    cells = ["" if cell is None or cell.lower() in NO_VALUE else cell for cell in column.to_pylist()]
    if all(cell == "" or re.fullmatch(r"\+?inf|" + NUMBER.pattern, cell) for cell in cells):
        return [Decimal(cell) if cell else None for cell in cells]
    dates = pd.to_datetime(pd.Series(cells), format="ISO8601", utc=True, errors="coerce")
    for cell, is_none in zip(cells, dates.isna(), strict=True):
        if cell and is_none:
            raise TraceError(
                f"{path}: start and end must be numbers or instants (2026-01-31T12:00:00.5), got {in_a_line(cell, 60)}"
            )
    return pa.chunked_array([pa.array(dates)])
