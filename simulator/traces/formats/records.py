"""JSON that is a table: a line for each object, a list of objects, or an object of lists."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from simulator.errors import TraceError
from simulator.traces.formats import long
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.grid import has_columns_of_workers, of_columns
from straggler_models.trace_table import UNREADABLE, in_a_line, opened, refuse_more, text_lines

BEGIN = 2**16  # characters that tell what a file is
EVENTS = {"ph", "traceEvents", "startstops"}  # keys of Chrome traces, and of Dask's
LISTS = r'\{\s*"[^"]*"\s*:\s*(\[\s*[^{\s]|\{\s*"[0-9]+"\s*:)'  # as a large object of lists begins


def _fits(source: Path, options: Options) -> bool:
    """Say whether a file begins as such a table, and not as a Chrome trace."""
    try:
        with opened(source) as file:
            begin = file.read(BEGIN).lstrip()
    except UNREADABLE:
        return False
    is_list = begin.startswith("[")
    begin = begin[is_list:].lstrip()
    try:
        first, end = json.JSONDecoder().raw_decode(begin)
    except (ValueError, RecursionError):  # it is longer, or no JSON
        return not is_list and '"traceEvents"' not in begin and re.match(LISTS, begin) is not None
    if not isinstance(first, dict) or not first or EVENTS & first.keys():
        return False
    return is_list or begin[end:].strip() != "" or _has_lists(first) or _is_record(first)


def _has_lists(document: dict[str, Any]) -> bool:
    """Say whether an object has a list, or as pandas writes it an object, for each column."""
    return all(isinstance(column, list) for column in document.values()) or all(
        isinstance(column, dict) and all(key.isdigit() for key in column) for column in document.values()
    )


def _is_record(document: dict[str, Any]) -> bool:
    return not any(isinstance(cell, list | dict) for cell in document.values())


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Read long tables, or a wide one if it is given, or its columns say, that it is one."""
    if len(sources) > 1:
        return long.read(sources, options, _table)
    table = _table(sources[0], options)
    if "rows" in options or ("columns" not in options and has_columns_of_workers(table.schema)):
        return of_columns(table, sources[0], options)
    return long.read(sources, options, lambda path, options: table)


def _table(path: Path, options: Options) -> pa.Table:
    try:
        columns = _columns(path)
        return pa.table([_column(cells) for cells in columns.values()], list(map(_text, columns)))
    except (*UNREADABLE, RecursionError) as error:
        reason = "the file ends too early" if isinstance(error, EOFError) else in_a_line(error)
        raise TraceError(
            f"{path}: must be JSON objects, in a list or a line each, or an object of lists, got none ({reason})"
        ) from None


def _columns(path: Path) -> dict[str, list[Any]]:
    with opened(path) as file:
        begin = file.readline(BEGIN)
    try:
        first = json.loads(begin)
    except (ValueError, RecursionError):
        first = None
    records: list[Any] = []
    with opened(path) as file:
        if isinstance(first, dict) and not _has_lists(first):
            for number, line in enumerate(text_lines(file), 1):
                if line.strip():
                    records.append(_in_line(line, number))
                    refuse_more(len(records))
        else:
            records = json.load(file)
    if isinstance(records, dict):
        columns = {name: list(cells.values()) if isinstance(cells, dict) else cells for name, cells in records.items()}
        if not _has_lists(records) or len({len(cells) for cells in columns.values()}) != 1:
            raise ValueError("its lists are not equally long, or are none")
        return columns
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise ValueError("it holds something else")
    names = dict.fromkeys(name for record in records for name in record)
    refuse_more(len(names) * len(records) // 8)
    return {name: [record.get(name) for record in records] for name in names}


def _in_line(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _column(cells: list[Any]) -> pa.Array:
    """Cells of one type; of several, and names that are no Unicode, as text."""
    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: Any) -> str:
    return str(cell).encode(errors="replace").decode()


RECORDS = Format(
    kind="records",
    options=("columns", "where", "rows", *COMMON),
    fits=_fits,
    read=read,
    takes_several=True,
)
