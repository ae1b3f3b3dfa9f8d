"""Tables of times as they stand in a file: of a CSV its text, of Parquet its columns."""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.parameters import BoolArray, FloatArray

GZIP = b"\x1f\x8b"  # how such a file begins
LONGEST_LINE = 2**24  # characters
MOST_TIMES = 20_000_000  # of a trace
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
NO_VALUE = ("", "na", "n/a", "nan", "null", "none", "<na>")  # cells that hold nothing, in small letters
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, csv.Error)  # what files that are no such files raise


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a text file, or one that gzip has packed, under whatever name."""
    if path.exists() and not path.is_file():
        raise OSError(f"{'a folder' if path.is_dir() else 'a device or pipe'} is no file")
    with path.open("rb") as file:
        is_packed = file.peek(2)[:2] == GZIP
        with TextIOWrapper(gzip.open(file) if is_packed else file, encoding="utf-8-sig", newline="") as text:
            yield text


def is_csv(path: Path) -> bool:
    """Say by its name whether a file is a CSV; others are Parquet."""
    return path.name.lower().endswith((".csv", ".csv.gz"))


def csv_rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV: cells without spaces around them, as many in each row as in the first.

    Rows of empty cells are left out, and such cells behind the last of the first row.

    Raises
    ------
    ValueError
        If a row has more or fewer, or this is no text.
    """
    with opened(path) as text:
        reader, n_cells = csv.reader(_lines(text), skipinitialspace=True, strict=True), 0
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            n_cells = n_cells or len(row)
            if len(row) < n_cells or any(row[n_cells:]):
                raise ValueError(f"line {reader.line_num} has {len(row)} cells, the first {n_cells}")
            yield row[:n_cells]


def _lines(text: TextIO) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a line has more than {LONGEST_LINE} characters")
        yield line


def in_a_line(text: object, most: int = 200) -> str:
    """What stands in a file, for an error message."""
    return " ".join(str(text).split())[:most]


def names_in(path: Path) -> list[str]:
    """Return the names of the columns of a file; raises as :func:`read_table` does."""
    import pyarrow.parquet

    with _told(path):
        if is_csv(path):
            return next(csv_rows(path), [])
        return list(pyarrow.parquet.ParquetDataset(path).schema.names)


def read_table(path: Path) -> pa.Table:
    """Read the columns of a CSV as text, of Parquet (a file, or a folder of partitions) by its Arrow schema.

    Raises
    ------
    ValueError
        If there is no such file, or it can't be read, is empty or too large.
    """
    import pyarrow as pa
    import pyarrow.parquet

    with _told(path):
        if is_csv(path):
            rows = csv_rows(path)
            names = next(rows, None)
            if names is None:
                raise ValueError("it is empty")
            parts, n_rows = [pa.table([pa.array([], pa.string())] * len(names), names)], 0
            while some := list(itertools.islice(rows, 100_000)):
                n_rows += len(some)
                _refuse_more(n_rows)
                parts.append(pa.table([pa.array(cells, pa.string()) for cells in zip(*some, strict=True)], names))
            return pa.concat_tables(parts)
        dataset = pyarrow.parquet.ParquetDataset(path)
        _refuse_more(sum(fragment.metadata.num_rows for fragment in dataset.fragments))
        return dataset.read()


def _refuse_more(n_rows: int) -> None:
    if n_rows > MOST_TIMES:
        raise ValueError(f"it has {n_rows} rows or more, a trace at most {MOST_TIMES}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in a sentence why a table can't be read."""
    import pyarrow as pa

    try:
        path.stat()
        if not path.is_file() and not path.is_dir():
            raise ValueError(f"path must name a readable file, got {path} (a device or pipe)")
    except OSError as error:
        raise ValueError(f"path must name a readable file, got {path} ({error.strerror})") from None
    try:
        yield
    except (pa.ArrowException, *UNREADABLE) as error:
        said = "the file ends too early" if isinstance(error, EOFError) else str(error)
        reason = in_a_line(said) or type(error).__name__
        raise ValueError(f"path must name a Parquet file or a .csv file, got {path} ({reason})") from None


def numbers(column: pa.ChunkedArray) -> tuple[FloatArray, BoolArray]:
    """Return the numbers in a column and where there is something else; NaN: nothing; durations in seconds.

    Raises
    ------
    ValueError
        If its type is none of numbers or text; the error is what was got.
    """
    import pyarrow as pa

    column = decoded(column)
    kind = column.type
    try:
        if pa.types.is_string(kind):
            cells = [_number(cell) for cell in column.to_pylist()]
            known = [np.nan if cell is None else cell for cell in cells]
            return np.array(known, dtype=np.float64), np.array([cell is None for cell in cells], dtype=np.bool_)
        values: FloatArray | None = None
        if pa.types.is_duration(kind):
            values = _floats(column.cast(pa.int64())) / PER_SECOND[kind.unit]
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            values = _floats(column)
        elif pa.types.is_null(kind):
            values = np.full(len(column), np.nan)
    except pa.ArrowException:
        values = None
    if values is None:
        raise ValueError(f"{str(kind)[:100]}{' (an instant is no duration)' if pa.types.is_temporal(kind) else ''}")
    return values, np.zeros(len(values), dtype=np.bool_)


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without the dictionary of a partition or a category, and with one type of text."""
    import pyarrow as pa

    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        is_text = pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
        return column.cast(pa.string()) if is_text else column
    except pa.ArrowException:
        return column


def _floats(column: pa.ChunkedArray) -> FloatArray:
    import pyarrow as pa

    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _number(cell: str | None) -> float | None:
    """The number in a cell, NaN if it is empty; None: there is something else."""
    if cell is None or cell.strip().lower() in NO_VALUE:
        return np.nan
    try:  # Python reads 1_000 and digits of all scripts, too
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None
