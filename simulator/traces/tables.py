"""Tables of other people, wide or long, as recordings in the native form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemes.base.scheme import BoolArray, FloatArray, IntArray
from simulator.choices import Axis, Missing
from simulator.errors import TraceError

if TYPE_CHECKING:
    import pandas as pd


PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
SHOWN = 3  # of missing pairs
INDEX_NAMES = ("", "index", "worker", "rank", "round", "step", "iteration")


def read_wide(path: Path, rows: Axis, unit: str = "s") -> pd.DataFrame:
    """Read a CSV with a row for each worker and a column for each round, or the other way round.

    A first line with names (something that is no number, or 0, 1, 2, ... or 1, 2, 3, ...) is a header, a first column
    with such names an index.

    Parameters
    ----------
    path
        The file.
    rows
        What a row is.
    unit
        Of the times: s, ms, us or ns.

    Returns
    -------
    samples
        With the columns round, worker (labels, as they stand) and duration_s; empty cells are left out.

    Raises
    ------
    TraceError
        If it can't be read so.
    """
    import pandas as pd

    cells = _read_csv(path, header=None).fillna("")
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
    across, down = ("round", "worker") if rows == "worker" else ("worker", "round")
    samples = pd.DataFrame(
        {
            down: np.repeat(np.array(index, dtype=object), len(columns)),
            across: np.tile(np.array(columns, dtype=object), len(index)),
            "duration_s": cells.to_numpy().ravel(),
        }
    )
    return _in_seconds(samples, path, unit)


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


def read_long(path: Path, columns: Mapping[str, str], unit: str = "s") -> pd.DataFrame:
    """Read a CSV or Parquet file with a row for each round and worker.

    Parameters
    ----------
    path
        The file.
    columns
        What the columns round, worker and duration_s are called there, where they are called otherwise.
    unit
        Of the times: s, ms, us or ns.

    Returns
    -------
    samples
        With the columns round, worker (labels, as they stand), duration_s, and step if there is one.

    Raises
    ------
    TraceError
        If it can't be read so.
    """
    table = _read_csv(path) if _is_csv(path) else _read_parquet(path)
    wanted = {name: columns.get(name, name) for name in ("round", "worker", "duration_s")}
    absent = [called for called in wanted.values() if called not in table.columns]
    if absent:
        hint = ", ".join(f"{name}=..." for name, called in wanted.items() if called in absent)
        raise TraceError(
            f"{path}: must have the columns {', '.join(wanted.values())}, got {', '.join(map(str, table.columns))} "
            f"(--columns {hint} says what they are called)"
        )
    samples = table[list(wanted.values())].set_axis(list(wanted), axis=1)
    if "step" in table.columns and "step" not in wanted.values():
        samples = samples.assign(step=_steps(table["step"], path))
    return _in_seconds(samples, path, unit)


def column_names(path: Path) -> list[str]:
    """What the columns of a CSV or Parquet file are called."""
    if _is_csv(path):
        return [str(name) for name in _read_csv(path, n_rows=0).columns]
    return [str(name) for name in _read_parquet(path).columns]


def _steps(steps: pd.Series, path: Path) -> pd.Series:
    import pandas as pd

    numbers = pd.to_numeric(steps, errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        raise TraceError(f"{path}: step must hold integers, got {steps[numbers.isna() | (numbers % 1 != 0)].iloc[0]}")
    return numbers.astype("int64")


def _is_csv(path: Path) -> bool:
    return ".csv" in path.suffixes


def _read_csv(path: Path, header: int | None = 0, n_rows: int | None = None) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, header=header, nrows=n_rows)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]
        raise TraceError(f"{path}: must be a readable CSV file, got none ({reason})") from None


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]
        raise TraceError(f"{path}: must be a readable CSV or Parquet file, got none ({reason})") from None


def _in_seconds(samples: pd.DataFrame, path: Path, unit: str) -> pd.DataFrame:
    """Turn the cells of the last column into seconds, and leave empty ones out."""
    import pandas as pd

    cells = samples["duration_s"]
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    is_empty = cells.isna() | cells.isin(["", "nan", "NaN", "NA"])
    wrong = (values.isna() & ~is_empty) | (values < 0)
    if wrong.any():
        row = samples[wrong].iloc[0]
        raise TraceError(
            f"{path}: times must be numbers of at least 0, got {row['duration_s']} for round {row['round']}, worker "
            f"{row['worker']}"
        )
    return samples.assign(duration_s=values / PER_SECOND[unit])[~is_empty].reset_index(drop=True)


def native(samples: pd.DataFrame, where: str, missing: Missing = "error") -> pd.DataFrame:
    """Number rounds and workers from 0 on, and see that no time is missing.

    Parameters
    ----------
    samples
        With the columns round and worker, which hold labels, duration_s, and perhaps step.
    where
        Where they come from, for messages.
    missing
        What to do about rounds in which workers have no time: refuse them, take the time for infinite (never
        answered), or drop them.

    Returns
    -------
    table
        With the columns round, worker and duration_s, sorted; step keeps the label of a round and worker_name that of
        a worker, unless these count 0, 1, 2, ... themselves.

    Raises
    ------
    TraceError
        If times are missing, or there are several for one round and worker, or nothing is left.

    Examples
    --------
    >>> import pandas as pd
    >>> samples = pd.DataFrame({"round": ["7", "8"], "worker": ["rank0", "rank0"], "duration_s": [1.5, 1.25]})
    >>> native(samples, "example")[["round", "worker", "step", "duration_s"]].to_numpy().tolist()
    [[0.0, 0.0, 7.0, 1.5], [1.0, 0.0, 8.0, 1.25]]
    """
    if samples.empty:
        raise TraceError(f"{where}: must hold times, got none")
    rows, steps, shown = _order(samples["round"])
    columns, meant, names = _order(samples["worker"])
    if not all(isinstance(step, int) for step in steps):
        raise TraceError(f"{where}: rounds must be numbered alike (3, or step 3), got {shown[0]!r}")
    grid = np.full((len(steps), len(names)), np.nan)
    grid[rows, columns] = samples["duration_s"]
    if np.count_nonzero(~np.isnan(grid)) < len(samples):
        twice = samples[samples.duplicated(["round", "worker"])].iloc[0]
        raise TraceError(
            f"{where}: must have one time for each round and worker, got several for round {twice['round']}, worker "
            f"{twice['worker']} (keep one run, or add them up)"
        )
    numbers = np.array(steps, dtype=np.int64)
    if "step" in samples.columns:
        numbers[rows] = samples["step"]
    keep = _complete(grid, shown, names, where, missing)
    counts = meant == list(range(len(meant)))
    return _long_form(grid[keep], numbers[keep], None if counts else names)


def _order(labels: pd.Series) -> tuple[IntArray, list[int | str], list[str]]:
    """The place of each label among all of them, by number where each has one, else by name.

    Returns
    -------
    places
        Of each label, shape ``(n_labels,)``.
    meant
        The number, or else the name, of each place.
    names
        The label of each place.
    """
    import pandas as pd

    codes, distinct = pd.factorize(labels)
    names = [str(label) for label in distinct]
    meant: list[int | str] = list(names)
    numbers = [re.fullmatch(r"(.*?)(\d+)(?:\.0+)?", name) for name in names]
    if len({found and found[1] for found in numbers}) == 1 and numbers[0]:  # rank0, rank1, ...
        meant = [int(found[2]) for found in numbers if found]
    order = sorted(range(len(names)), key=lambda place: _natural(str(meant[place])))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places[codes], [meant[place] for place in order], [names[place] for place in order]


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts rank10 after rank9."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _complete(grid: FloatArray, rounds: list[str], workers: list[str], where: str, missing: Missing) -> BoolArray:
    """Which rounds to keep; what is missing in them becomes infinite."""
    is_missing = np.isnan(grid)
    if is_missing.any() and missing == "error":
        pairs = np.argwhere(is_missing)
        first = "; ".join(f"round {rounds[row]}, worker {workers[column]}" for row, column in pairs[:SHOWN])
        more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        raise TraceError(
            f"{where}: must have a time for each of {len(rounds)} rounds and {len(workers)} workers, got none for "
            f"{first}{more} (--missing drop leaves such rounds out, --missing inf takes them for never answered)"
        )
    keep = np.ones(len(grid), dtype=np.bool_)
    if missing == "drop":
        keep = ~np.asarray(is_missing.any(axis=1))
    if not keep.any():
        raise TraceError(f"{where}: must have a round with a time for each worker, got none")
    grid[is_missing] = np.inf
    return keep


def _long_form(grid: FloatArray, steps: IntArray, names: list[str] | None) -> pd.DataFrame:
    import pandas as pd

    n_rounds, n_workers = grid.shape
    table = pd.DataFrame(
        {
            "round": np.repeat(np.arange(n_rounds, dtype=np.int32), n_workers),
            "worker": np.tile(np.arange(n_workers, dtype=np.int32), n_rounds),
        }
    )
    if names is not None:
        table["worker_name"] = names * n_rounds
    if not np.array_equal(steps, np.arange(n_rounds)):
        table["step"] = np.repeat(steps, n_workers)
    table["duration_s"] = grid.ravel()
    return table
