"""Files of measured worker times in long form: read and checked."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from straggler_models.base import BoolArray, FloatArray, IntArray, WorkerTimes

if TYPE_CHECKING:
    import pyarrow as pa

COMPONENTS = WorkerTimes._fields


class TraceFile(NamedTuple):
    """Times in a file, shape ``(n_rounds, n_workers)`` each, None where there is no such column; and what it says."""

    duration_s: FloatArray | None
    components: tuple[FloatArray | None, ...]  # in the order of COMPONENTS
    has_gaps: bool  # there is a column step, and successive rounds are not successive steps
    metadata: Mapping[bytes, bytes]  # of its Arrow schema

    @property
    def shape(self) -> tuple[int, int]:
        """Rounds and workers."""
        n_rounds, n_workers = next(times for times in (self.duration_s, *self.components) if times is not None).shape
        return n_rounds, n_workers


def read_trace_file(path: str) -> TraceFile:
    """Read a trace and check it: complete, no NaN, nothing negative."""
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise ValueError(f"path must name a readable file, got {path} ({error.strerror})") from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: str, modified_ns: int, size: int) -> TraceFile:
    """Read once per version of the file."""
    table = _table(path)
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError(f"path must name a file whose columns have different names, got {', '.join(names)} in {path}")
    has_duration = "duration_s" in names
    has_components = any(name in names for name in COMPONENTS)
    if not {"round", "worker"} <= set(names) or has_duration == has_components:
        raise ValueError(
            "path must name a file with the columns round, worker and either duration_s or startup_s and/or "
            f"seconds_per_load, got {', '.join(names)} in {path}"
        )
    index = [_column(table, name, path) for name in ("round", "worker")]
    for name, values in zip(("round", "worker"), index, strict=True):
        is_count = (values >= 0) & (values < 2**40) & (np.floor(values) == values)
        _refuse(~is_count, path, f"{name} counts 0, 1, 2, ...", values)
    columns = {name: _column(table, name, path) for name in ("duration_s", *COMPONENTS) if name in names}
    for name, values in columns.items():
        _refuse(np.isnan(values), path, f"{name} must be a number", values)
        if name != "startup_s":  # a start-up time at load 0 may be negative, if a trace was made at another load
            _refuse(values < 0, path, f"{name} must not be negative", values)
    rounds, workers = (values.astype(np.int64) for values in index)
    return TraceFile(
        _grid(rounds, workers, columns.get("duration_s"), path),
        tuple(_grid(rounds, workers, columns.get(name), path) for name in COMPONENTS),
        has_gaps="step" in names and _has_gaps(rounds, table.column("step").to_numpy()),
        metadata=table.schema.metadata or {},
    )


def _table(path: str) -> pa.Table:
    import pyarrow as pa

    try:
        if path.lower().endswith(".csv"):
            import pyarrow.csv

            return pa.csv.read_csv(path)
        import pyarrow.parquet

        return pa.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"path must name a Parquet file or a .csv file, got {path} ({reason})") from None


def _column(table: pa.Table, name: str, path: str) -> FloatArray:
    import pyarrow as pa

    try:
        if pa.types.is_boolean(table.column(name).type):
            raise pa.ArrowInvalid("truth values are no numbers")
        return np.asarray(table.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException:
        kind = table.column(name).type
        raise ValueError(f"path must name a file whose {name} holds numbers, got {kind} in {path}") from None


def _refuse(wrong: BoolArray, path: str, rule: str, values: FloatArray) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"path must name a file in which {rule}, got {values[row]} in row {row} of {path}")


def _has_gaps(rounds: IntArray, steps: np.ndarray) -> bool:
    _, first = np.unique(rounds, return_index=True)
    return steps.dtype.kind not in "iuf" or bool((np.diff(steps[first]) != 1).any())


def _grid(rounds: IntArray, workers: IntArray, values: FloatArray | None, path: str) -> FloatArray | None:
    """Lay rows out as (round, worker); rows for the same round and worker must agree."""
    if values is None:
        return None
    if len(values) == 0:
        raise ValueError(f"path must name a file with at least one row, got none in {path}")
    shape = (int(rounds.max()) + 1, int(workers.max()) + 1)
    n_places = len(np.unique(rounds * shape[1] + workers))
    if n_places < shape[0] * shape[1]:
        raise ValueError(
            f"path must name a file with a row for each of {shape[0]} rounds and {shape[1]} workers, "
            f"got {n_places} of them in {path}"
        )
    grid = np.empty(shape)
    grid[rounds, workers] = values
    if (grid[rounds, workers] != values).any():
        row = int(np.argmax(grid[rounds, workers] != values))
        raise ValueError(
            "path must name a file with one time for each round and worker (keep the rows of one trial, one point "
            f"and one scheme), got several for round {rounds[row]}, worker {workers[row]} in {path}"
        )
    grid.setflags(write=False)
    return grid
