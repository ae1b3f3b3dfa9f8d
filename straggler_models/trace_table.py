"""Tables of times as they stand in a file: of a CSV its text, of Parquet its columns."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.parameters import BoolArray, FloatArray

GZIP, PARQUET, UTF_16 = b"\x1f\x8b", b"PAR1", (b"\xff\xfe", b"\xfe\xff")  # how such files begin
OTHERS = {
    b"PK\x03\x04": "a zip or an Excel workbook (unpack it, or save the sheet as CSV)",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a pickle, which is never loaded (save it as Parquet or CSV)",
    b"\x89HDF": "HDF5 (save it as Parquet or CSV)",
    b"ARROW1": "an Arrow file (save it as Parquet or CSV)",
    b"{": "JSON (--from records, or chrome)",
    b"[": "JSON (--from records, or chrome)",
    b"SQLite f": "a database (save the table as CSV)",
}  # how files begin that are neither Parquet nor text
AS_LATIN_1 = "as Latin-1"  # what becomes of bytes that are no UTF-8
DELIMITERS = ("\t", ";", "|", ",", " ")  # the first that fits best
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")  # with either decimal
LONGEST_LINE = 2**24  # characters
MOST_TIMES = 20_000_000  # of a trace
PANDAS_ATTRS = b"PANDAS_ATTRS"  # where pandas keeps what is `DataFrame.attrs` when the file is read
TRUTHS = {"true": True, "1": True, "false": False, "0": False}  # cells that say so, in small letters
INSTANT = 1e9  # s: no duration is that long, but clocks have said more since 2001
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
NO_VALUE = ("", "na", "n/a", "nan", "null", "none", "<na>")  # cells that hold nothing, in small letters
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, csv.Error)  # what files that are no such files raise


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError) or error.encoding.startswith("utf-16"):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(AS_LATIN_1, _as_latin_1)


@contextmanager
def opened(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Open a text file, or one that gzip has packed, under whatever name: UTF-8, or UTF-16 that says so."""
    if path.exists() and not path.is_file():
        raise OSError(f"{'a folder' if path.is_dir() else 'a device or pipe'} is not a file")
    with path.open("rb") as file:
        data = gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP else file
        encoding = "utf-16" if data.peek(2)[:2] in UTF_16 else "utf-8-sig"
        with TextIOWrapper(data, encoding=encoding, errors=errors, newline="") as text:
            yield text


def is_parquet(path: Path) -> bool:
    """Say by its first bytes, or its name, whether this is a Parquet file; other files are text.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not path.is_file():  # to open a pipe takes for ever
        return False
    with path.open("rb") as file:
        begin = file.read(8)
    if begin.startswith(PARQUET) or path.name.lower().endswith((".parquet", ".pq")):
        return True
    if other := next((other for magic, other in OTHERS.items() if begin.startswith(magic)), None):
        raise ValueError(f"it looks like {other}")
    return False


def csv_rows(path: Path, delimiter: str | None = None, decimal: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV, each with the number of its last line: cells without spaces around them.

    Rows of empty cells and lines that begin with # are left out, and empty cells behind the last of the first row.
    Numbers have a decimal point, whatever they have in the file.

    Parameters
    ----------
    path
        What to read, perhaps packed; text that is no UTF-8 is taken for Latin-1.
    delimiter, decimal
        What is between cells (a space stands for any number of spaces and tabs), and within numbers; None: the first
        lines tell.

    Raises
    ------
    ValueError
        If a row has more or fewer cells than the first, or this is no text.
    """
    with opened(path, AS_LATIN_1) as text:
        lines = text_lines(text)
        head: list[str] = []
        while len(head) < 50 and sum(map(len, head)) < 2**20 and (line := next(lines, "")):
            head.append(line)
        delimiter = delimiter or max(DELIMITERS, key=lambda one: _fit(head, one))
        decimal = decimal or _decimal(head, delimiter)
        reader, first = _reader(itertools.chain(head, lines), delimiter), [""]
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            first = first if any(first) else row
            row += first[len(row) :] if not any(first[len(row) :]) else []  # only the first ends in a delimiter
            if len(row) < len(first) or any(row[len(first) :]):
                raise ValueError(f"line {reader.line_num} has {len(row)} cells, the first {len(first)}")
            if decimal == ",":
                if points := [cell for cell in row if NUMBER.fullmatch(cell) and "." in cell]:
                    raise ValueError(
                        f"line {reader.line_num} has {in_a_line(points[0], 60)} where decimals have a comma (--decimal)"
                    )
                row = [cell.replace(",", ".") if NUMBER.fullmatch(cell) else cell for cell in row]
            yield reader.line_num, row[: len(first)]


def text_lines(text: TextIO) -> Iterator[str]:
    """The lines of a text; those that say something about it are empty."""
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a line has more than {LONGEST_LINE} characters")
        if "\x00" in line:
            raise ValueError("it is not text")
        is_comment = line.startswith("#") and line[1:2] not in DELIMITERS[:-1]  # a column may be called #
        yield "\n" if is_comment else line


def _reader(lines: Iterable[str], delimiter: str) -> Any:
    if delimiter == " ":
        lines = (line.replace("\t", " ") for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)  # of spaces, one counts


def _fit(head: Sequence[str], delimiter: str) -> float:
    """Share of rows that are as long as the first, times the share of numbers below it."""
    try:
        rows = [[cell.strip() for cell in row] for row in _reader(head, delimiter) if any(map(str.strip, row))]
    except csv.Error:
        return 0.0
    filled = [max((place + 1 for place, cell in enumerate(row) if cell), default=0) for row in rows]
    if not rows or filled[0] < 2:
        return 0.0
    n_alike = sum(filled[0] <= len(row) and n <= len(rows[0]) for n, row in zip(filled, rows, strict=True))
    cells = [cell for row in rows[1:] or rows for cell in row]
    n_numbers = sum(cell.lower() in NO_VALUE or NUMBER.fullmatch(cell) is not None for cell in cells)
    return n_alike / len(rows) * (1 + n_numbers) / (1 + len(cells))


def _decimal(head: Sequence[str], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    cells = [cell.strip() for row in _reader(head, delimiter) for cell in row]
    numbers = [cell for cell in cells if NUMBER.fullmatch(cell)]
    commas = [cell for cell in numbers if "," in cell]
    if not commas or any("." in cell for cell in numbers):
        return "."
    if delimiter != ";" and all(re.fullmatch("[+-]?[1-9][0-9]{0,2},[0-9]{3}", cell) for cell in commas):
        raise ValueError(f"{commas[0]} may be in thousands or have decimals (--decimal , or --decimal . says which)")
    return ","


def in_a_line(text: object, most: int = 200) -> str:
    """What stands in a file, for an error message."""
    return " ".join(str(text).split())[:most]


def read_table(path: Path, delimiter: str | None = None, decimal: str | None = None) -> pa.Table:
    """Read the columns of a CSV as text, see :func:`csv_rows`, of Parquet by its Arrow schema.

    Raises
    ------
    ValueError
        If there is no such file, or it can't be read, is empty or too large.
    """
    import pyarrow as pa
    import pyarrow.parquet

    with told(path):
        if is_parquet(path):
            dataset = pyarrow.parquet.ParquetDataset(path)
            refuse_more(sum(fragment.metadata.num_rows for fragment in dataset.fragments))
            return dataset.read()
        rows = (row for _, row in csv_rows(path, delimiter, decimal))
        names = next(rows, None)
        if names is None:
            raise ValueError("it is empty")
        parts, n_rows = [pa.table([pa.array([], pa.string())] * len(names), names)], 0
        while some := list(itertools.islice(rows, 100_000)):
            n_rows += len(some)
            refuse_more(n_rows)
            parts.append(pa.table([pa.array(cells, pa.string()) for cells in zip(*some, strict=True)], names))
        return pa.concat_tables(parts)


def refuse_more(n_rows: int) -> None:
    """Refuse a table that is too long."""
    if n_rows > MOST_TIMES:
        raise ValueError(f"it has {n_rows} rows or more, a trace at most {MOST_TIMES}")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in a sentence why a table can't be read."""
    import pyarrow as pa

    try:
        path.stat()
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or pipe"
            raise ValueError(f"path must name a readable file, got {path} ({kind})")
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


def are_instants(times_s: FloatArray) -> BoolArray:
    """Mask of the times that look like readings of a clock."""
    return np.isfinite(times_s) & (times_s >= INSTANT)


def truths(column: pa.ChunkedArray) -> BoolArray:
    """Return what is true in a column.

    Raises
    ------
    ValueError
        If a cell is neither true nor false; the error is what was got.
    """
    import pyarrow as pa

    if pa.types.is_boolean(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())
    cells = [str(cell).strip().lower().removesuffix(".0") for cell in decoded(column).to_pylist()]
    wrong = next((row for row, cell in enumerate(cells) if cell not in TRUTHS), None)
    if wrong is not None:
        raise ValueError(f"{in_a_line(column[wrong].as_py(), 60)} in row {wrong}")
    return np.array([TRUTHS[cell] for cell in cells], dtype=np.bool_)


def metadata(stored: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return the metadata of a Parquet file: its own keys, and the ``attrs`` of a pandas frame."""
    try:
        attrs = json.loads(stored.get(PANDAS_ATTRS, b"{}"))
    except (ValueError, RecursionError):  # of another program
        attrs = None
    known: dict[str, Any] = attrs if isinstance(attrs, dict) else {}
    ours = {key: value for key, value in stored.items() if key not in (PANDAS_ATTRS, b"pandas", b"ARROW:schema")}
    return known | {key.decode(errors="replace"): value.decode(errors="replace") for key, value in ours.items()}


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
