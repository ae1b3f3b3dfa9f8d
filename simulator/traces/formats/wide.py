"""Wide tables: a row for each worker or round."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from simulator.errors import TraceError
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.grid import has_columns_of_workers, of_columns, of_grid, refuse_long
from simulator.traces.formats.table import DIALECT, dialect, must_be, table_of
from simulator.traces.formats.words import INDEX, is_total
from straggler_models.trace_table import NO_VALUE, csv_rows, is_parquet, refuse_more, told


def _fits(source: Path, options: Options) -> bool:
    if "rows" in options:
        return True
    try:
        is_named = "columns" not in options and is_parquet(source)
        return is_named and has_columns_of_workers(pyarrow.parquet.read_schema(source))
    except (pa.ArrowException, OSError, ValueError):
        return False  # and LONG says why


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Read a table with a row for each worker and a column for each round, or the other way round.

    Of a CSV, a first line with names (something that is no number, or 0, 1, 2, ... or 1, 2, 3, ...) is a header, a
    first column with such names, or that counts otherwise, an index. Empty cells are left out. Parquet has names of
    columns; with one of rounds and else one for each worker, it needs no ``rows``.
    """
    path = sources[0]
    cells = _cells(path, options)
    if cells is None:
        return of_columns(table_of(path, options), path, options)
    header = _names(cells.iloc[0].tolist())
    if header is not None and _only_first_is_text(header) and all(map(_is_text, cells[0])):
        header = None  # these are names of rows
    if header is not None:
        refuse_long(header, path, options)
        cells = cells.iloc[1:]
    if cells.empty:
        raise TraceError(f"{path}: must hold times, got none")
    is_doubtful = header is not None and all(
        (_number(cell) or 0.0) % 1 == 0 for cell in (*header, *cells.to_numpy().flat)
    )
    is_doubtful = is_doubtful and not any(map(_is_text, header or ())) and "" not in (header or ())
    index = _index(header, cells)
    if index is not None:
        cells = cells.iloc[:, 1:]
        header = None if header is None else header[1:]
    found = of_grid(cells.to_numpy(), header, index, path, options)
    said = ("the first row is taken for a header, since it counts",) if is_doubtful else ()
    return found._replace(remarks=(*said, *found.remarks))


def _cells(path: Path, options: Options) -> pd.DataFrame | None:
    """The cells of a CSV as text, without columns that have neither a name nor a time; None: it is Parquet."""
    rows, n_cells = [], 0
    try:
        with told(path):
            if is_parquet(path):
                return None
            for _, row in csv_rows(path, **dialect(options)):
                n_cells += len(row)
                refuse_more(n_cells)
                rows.append(row)
    except ValueError as error:
        raise must_be(error, path) from None
    if not rows:
        raise TraceError(f"{path}: must hold times, got none")
    cells = pd.DataFrame(rows, dtype=object)
    return cells.loc[:, (cells != "").any()].T.reset_index(drop=True).T


def _names(cells: Sequence[str]) -> Sequence[str] | None:
    """The cells, if they are names and no times."""
    if any(map(_is_text, cells)):
        return cells
    numbers = [_number(cell) for cell in cells]
    if cells[0] == "" and all(number is not None and number % 1 == 0 for number in numbers[1:]):
        return cells  # above the index of a frame that pandas has written
    counts = any(numbers == list(range(first, first + len(cells))) for first in (0, 1))
    return cells if counts and len(cells) > 1 else None


def _index(header: Sequence[str] | None, cells: pd.DataFrame) -> Sequence[Any] | None:
    """The first column, if it holds names and no times."""
    first: list[str] = cells.iloc[:, 0].tolist()
    if cells.shape[1] < 2:
        return None
    if header is None or any(map(_is_text, first)):
        return first if any(map(_is_text, first)) else None
    has_own_name = not re.search(r"\d", header[0]) and any(re.search(r"\d", name) for name in header[1:])
    return first if header[0].lower() in INDEX or (has_own_name and not is_total(header[0])) else None


def _only_first_is_text(cells: Sequence[str]) -> bool:
    return _is_text(cells[0]) and len(cells) > 1 and not any(map(_is_text, cells[1:]))


def _is_text(cell: str) -> bool:
    return cell.lower() not in NO_VALUE and _number(cell) is None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


WIDE = Format(
    kind="wide",
    options=("rows", *DIALECT, *COMMON),
    fits=_fits,
    read=read,
)
