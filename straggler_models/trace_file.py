"""Files of measured worker times in long form: read and checked."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.choices import LoadEffect
from simulator.parameters import BoolArray, FloatArray, IntArray
from straggler_models.base import WorkerTimes
from straggler_models.trace_table import (
    NO_VALUE,
    are_instants,
    decoded,
    in_a_line,
    metadata,
    numbers,
    read_table,
    truths,
)

if TYPE_CHECKING:
    import pyarrow as pa

COMPONENTS = WorkerTimes._fields
JUST_AFTER = 1 + 1e-9  # times as long: later than the same instant, however sums of times are rounded
CONVERT = " (stragglersim trace convert makes a trace of other files)"


class TraceFile(NamedTuple):
    """Times in a file, shape ``(n_rounds, n_workers)`` each, None where there is no such column."""

    duration_s: FloatArray | None
    components: tuple[FloatArray | None, ...]  # in the order of COMPONENTS; beside duration_s only slowdown, if at all
    # number of each round in the training; zeros: these are no whole numbers; None: there is no column step
    steps: IntArray | None
    censored: BoolArray | None = None  # True: the worker was cancelled then, the true time is at least this
    waited_s: FloatArray | None = None  # for others, which is no part of the times
    hosts: tuple[str, ...] = ()  # on which workers ran
    host: FloatArray | None = None  # the place of each worker's in hosts
    scheme: str | None = None  # kind or name of the one that was recorded; None: the file does not say

    @property
    def shape(self) -> tuple[int, int]:
        """Rounds and workers."""
        n_rounds, n_workers = next(times for times in (self.duration_s, *self.components) if times is not None).shape
        return n_rounds, n_workers


def read_trace_file(path: str) -> TraceFile:
    """Read a trace in the native form and check it: complete, no NaN, nothing negative."""
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise ValueError(f"path must name a readable file, got {path} ({error.strerror})") from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


def slowdown_of(censored: BoolArray | None) -> FloatArray | float:
    """Return the factor that lets workers that were cancelled answer just after that; others as they did."""
    return 1.0 if censored is None else np.where(censored, JUST_AFTER, 1.0)


def at_any_load(
    duration_s: FloatArray,
    base_load: float,
    seconds_per_load: float | None,
    effect: LoadEffect,
    factors: FloatArray | None,
) -> WorkerTimes:
    """Return worker times at any load, of durations measured at one.

    Parameters
    ----------
    duration_s, base_load
        What was measured, and at which load.
    seconds_per_load
        S of the usual time; None: 0, or for ``proportional`` all of the median.
    effect
        With m the median of all finite durations, a duration d at load L0 is at load L

        - ``additive``: d + (L - L0) S
        - ``proportional``: d (1 + (L - L0) S / m)
        - ``fitted``: d + (L - L0) S k, with k from ``factors``
    factors
        The slowdown k of each round and worker, or None where nothing is known of it.

    Raises
    ------
    ValueError
        If there are no factors where there must be, or proportional times would be negative at small loads.

    Examples
    --------
    >>> at_any_load(np.array([[1.0, 2.0, 6.0]]), 0.5, 3.0, "proportional", None)  # 0.5 s, and 3 s for load 1
    WorkerTimes(startup_s=0.5, seconds_per_load=3.0, slowdown=array([[0.5, 1. , 3. ]]))
    """
    if effect == "proportional":
        answered_s = duration_s[np.isfinite(duration_s)]
        usual_s = float(np.median(answered_s)) if answered_s.size else np.inf
        if not 0 < usual_s < np.inf:
            raise ValueError(f"load_effect must not be proportional for a median time of {usual_s:g} s")
        if seconds_per_load is None:
            if base_load <= 0:
                raise ValueError(
                    "base_load must be above 0 for load_effect: proportional without seconds_per_load, got 0"
                )
            return WorkerTimes(0.0, usual_s / base_load, duration_s / usual_s)
        startup_s = usual_s - base_load * seconds_per_load
        if startup_s < -1e-9 * usual_s:
            raise ValueError(
                f"seconds_per_load must be at most {usual_s / base_load:.6g} (median / base_load) for load_effect: "
                f"proportional, or left out (all of the median is work), got {seconds_per_load:g}"
            )
        return WorkerTimes(max(0.0, startup_s), seconds_per_load, duration_s / usual_s)
    per_load_s: FloatArray | float = seconds_per_load or 0.0
    if effect == "fitted":
        if factors is None:
            raise ValueError(
                "load_effect must not be fitted for a trace without a column slowdown beside duration_s "
                "(stragglersim trace fit FILE --out model.yaml writes model.parquet, which has it)"
            )
        per_load_s = per_load_s * factors
    return WorkerTimes(duration_s - base_load * per_load_s, per_load_s)


@functools.lru_cache(maxsize=8)
def _read(path: str, modified_ns: int, size: int) -> TraceFile:
    """Read once per version of the file."""
    if Path(path).is_dir():
        raise ValueError(f"path must name a file, got the folder {path}{CONVERT}")
    try:
        return checked(read_table(Path(path)), path)
    except ValueError as error:
        raise ValueError(f"{error}{CONVERT}") from None


def checked(table: pa.Table, path: str) -> TraceFile:
    """Return the trace in a table that counts rounds and workers from 0, and see that nothing is wrong with it."""
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError(
            f"path must name a file whose columns have different names, got {in_a_line(', '.join(names))} in {path}"
        )
    has_duration = "duration_s" in names
    has_components = any(name in names for name in COMPONENTS[: 2 if has_duration else None])
    if not {"round", "worker"} <= set(names) or has_duration == has_components:
        raise ValueError(
            "path must name a file with the columns round, worker and either duration_s or startup_s and/or "
            f"seconds_per_load, got {in_a_line(', '.join(names))} in {path}"
        )
    index = [_column(table, name, path) for name in ("round", "worker")]
    for name, values in zip(("round", "worker"), index, strict=True):
        is_count = (values >= 0) & (values < 2**40) & (np.floor(values) == values)
        kind = str(table.column(name).type)
        if kind.startswith("duration"):
            raise ValueError(f"path must name a file in which {name} counts 0, 1, 2, ..., got {kind} in {path}")
        _refuse(~is_count, path, f"{name} counts 0, 1, 2, ...", values)
    columns = {name: _column(table, name, path) for name in ("duration_s", *COMPONENTS, "waited_s") if name in names}
    for name, values in columns.items():
        _refuse(np.isnan(values), path, f"{name} must be a number", values)
        if name != "startup_s":  # a start-up time at load 0 may be negative, if a trace was made at another load
            _refuse(values < 0, path, f"{name} must not be negative", values)
    if has_duration and "slowdown" in columns:
        factors = columns["slowdown"]
        _refuse(
            (factors == 0) | np.isinf(factors), path, "slowdown beside duration_s must be above 0, not inf", factors
        )
    if "censored" in names:
        columns["censored"] = _flags(table, path)
    hosts: tuple[str, ...] = ()
    if "host" in names:
        hosts, columns["host"] = _hosts(table, path)
    if "duration_s" in columns:
        _refuse(
            are_instants(columns["duration_s"]), path, "duration_s are durations, no instants", columns["duration_s"]
        )
    rounds, workers = (values.astype(np.int64) for values in index)
    censored = _grid(rounds, workers, columns.get("censored"), path)
    scheme = metadata(table.schema.metadata or {}).get("scheme")
    return TraceFile(
        _grid(rounds, workers, columns.get("duration_s"), path, may_repeat=False),
        tuple(_grid(rounds, workers, columns.get(name), path) for name in COMPONENTS),
        steps=_steps(rounds, table.column("step")) if "step" in names else None,
        censored=censored > 0 if censored is not None and censored.any() else None,
        waited_s=_grid(rounds, workers, columns.get("waited_s"), path),
        hosts=hosts,
        host=_grid(rounds, workers, columns.get("host"), path),
        scheme=None if scheme is None else str(scheme),
    )


def _column(table: pa.Table, name: str, path: str) -> FloatArray:
    column = table.column(name)
    try:
        values, wrong = numbers(column)
    except ValueError as error:
        raise ValueError(f"path must name a file whose {name} holds numbers, got {error} in {path}") from None
    if wrong.any():
        got = in_a_line(column[int(np.argmax(wrong))].as_py(), 60)
        raise ValueError(f"path must name a file whose {name} holds numbers, got {got} in {path}")
    return values


def _flags(table: pa.Table, path: str) -> FloatArray:
    try:
        return truths(table.column("censored")).astype(np.float64)
    except ValueError as error:
        raise ValueError(f"path must name a file whose censored is true or false, got {error} of {path}") from None


def _hosts(table: pa.Table, path: str) -> tuple[tuple[str, ...], FloatArray]:
    """The hosts, sorted, and the place of each row's among them."""
    encoded = decoded(table.column("host")).combine_chunks().dictionary_encode()
    names = ["" if host is None else in_a_line(host) for host in encoded.dictionary.to_pylist()]
    if encoded.indices.null_count or any(name.lower() in NO_VALUE for name in names):
        raise ValueError(f"path must name a file whose host is given in each row, got nothing in a row of {path}")
    hosts, place = np.unique(names, return_inverse=True)
    return tuple(hosts.tolist()), place[encoded.indices.to_numpy()].astype(np.float64)


def _refuse(wrong: BoolArray, path: str, rule: str, values: FloatArray) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"path must name a file in which {rule}, got {values[row]} in row {row} of {path}")


def _steps(rounds: IntArray, column: pa.ChunkedArray) -> IntArray:
    _, first = np.unique(rounds, return_index=True)
    try:
        steps, _ = numbers(column)
    except ValueError:  # names
        return np.zeros(len(first), dtype=np.int64)
    is_whole = (np.abs(steps) < 2**53) & (np.floor(steps) == steps)
    return np.where(is_whole.all(), steps[first], 0).astype(np.int64)


def _grid(
    rounds: IntArray, workers: IntArray, values: FloatArray | None, path: str, *, may_repeat: bool = True
) -> FloatArray | None:
    """Lay rows out as (round, worker); if some are for the same, as those of several schemes are, they must agree."""
    if values is None:
        return None
    if len(values) == 0:
        raise ValueError(f"path must name a file with at least one row, got none in {path}")
    shape = (int(rounds.max()) + 1, int(workers.max()) + 1)
    places, first = np.unique(rounds * shape[1] + workers, return_index=True)
    if len(places) < shape[0] * shape[1]:
        raise ValueError(
            f"path must name a file with a row for each of {shape[0]} rounds and {shape[1]} workers, "
            f"got {len(places)} of them in {path}"
        )
    grid = np.empty(shape)
    grid[rounds, workers] = values
    differs = grid[rounds, workers] != values
    if not may_repeat:
        differs = np.ones(len(values), dtype=np.bool_)
        differs[first] = False
    if differs.any():
        row = int(np.argmax(differs))
        raise ValueError(
            "path must name a file with one time for each round and worker (keep the rows of one trial, one point "
            f"and one scheme), got several for round {rounds[row]}, worker {workers[row]} in {path}"
        )
    grid.setflags(write=False)
    return grid
