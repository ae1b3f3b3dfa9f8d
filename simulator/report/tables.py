"""Tables of a page: what is shown of each cell, and by what it is sorted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.columns import DERIVED, Column, derived
from simulator.plots.text import said

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 12_000  # of a table: a page has room for several
NUMBER = re.compile(r"([+-]?\d+(\.\d+)?(e[+-]?\d+)?)( ?%|\*)?")
INTERVAL = re.compile(r"\[([+-]?[0-9.]+), ")


class Cell(NamedTuple):
    """One cell."""

    text: str
    value: float | None  # of a number: by which it is sorted


class Heading(NamedTuple):
    """One column."""

    text: str  # in words, with the unit
    is_number: bool
    name: str = ""  # in files
    meaning: str = ""


class Table(NamedTuple):
    """One table."""

    title: str
    headings: list[Heading]
    rows: list[list[Cell]]
    left_out: str  # what is not shown, and where it is

    @property
    def defined(self) -> list[Heading]:
        """The columns that have a meaning of their own."""
        return [heading for heading in self.headings if heading.meaning]


def of_frame(
    frame: pd.DataFrame, kind: str, title: str, file: str, special: Mapping[str, Column] = MappingProxyType({})
) -> Table:
    """A frame as a table, with what columns.py says of its columns, in that order; swept keys stand after the first.

    Parameters
    ----------
    special
        Columns of which this table says something else.
    """
    n_rows = max(1, MOST_CELLS // max(1, len(frame.columns)))
    left_out = f"The first {n_rows} of {len(frame)} rows; {file} has all." if len(frame) > n_rows else ""
    first, *rest = (name for name in DERIVED[kind] if name in frame)
    others = [name for name in map(str, frame) if name not in (first, *rest)]
    are_swept = kind in ("summary", "compare")
    other = Column("value at the point" if are_swept else "parameter")
    headings, columns = [], []
    for name in (first, *others, *rest) if are_swept else (first, *rest, *others):
        known = special.get(name) or derived(kind, name) or other
        form = ".5g" if known.unit != "%" else "+.1f" if name.startswith("change") else ".1f"
        columns.append([_cell(value, form) for value in frame[name].head(n_rows).tolist()])
        text = name if known is other else known.heading(name)
        headings.append(Heading(text, _is_number(columns[-1]), name, known.meaning))
    return Table(title, headings, [list(row) for row in zip(*columns, strict=True)], left_out)


def on_its_side(frame: pd.DataFrame, kind: str, title: str) -> Table:
    """A frame of few rows and many columns: a row for each column, its meaning first."""
    known = {str(name): derived(kind, str(name)) for name in frame}
    names = frame["file"].astype(str).tolist() if len(frame) > 1 else ["value"]
    headings = [Heading(text, False) for text in ("what", *names, "column in the file")]
    rows = [
        [Cell(of.meaning.replace("`", "") if of else "", None), *map(_cell, frame[name].tolist()), Cell(name, None)]
        for name, of in known.items()
        if name != "file"
    ]
    return Table(title, headings, rows, "")


def of_texts(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table as a command has printed it."""
    columns = [[_of_text(row[place]) for row in rows] for place in range(len(header))]
    headings = [Heading(name, _is_number(column)) for name, column in zip(header, columns, strict=True)]
    return Table(title, headings, [list(row) for row in zip(*columns, strict=True)], "")


def _is_number(cells: Sequence[Cell]) -> bool:
    known = [cell for cell in cells if cell.text not in ("", "–")]
    return bool(known) and all(cell.value is not None for cell in known)


def _cell(value: Any, form: str = ".5g") -> Cell:
    if value is None or value != value:  # NaN
        return Cell("–", None)
    if str(value).startswith("{'kind': "):  # a part of a scheme, such as its assignment
        return Cell(said(value).replace(": ", " "), None)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", None)
    if isinstance(value, int):
        return Cell(str(value), value)
    if isinstance(value, float):
        text = f"{value:{form}}".replace("inf", "∞")
        return Cell(text, math.copysign(1e308, value) if math.isinf(value) else value)
    return _of_text(value) if isinstance(value, str) and INTERVAL.match(value) else Cell(str(value), None)


def _of_text(text: str) -> Cell:
    """A number by its value, an interval by its lower end."""
    if interval := INTERVAL.match(text):
        return Cell(text, float(interval[1]))
    number = NUMBER.fullmatch(text.strip())
    return Cell(text, float(number[1]) if number else None)
