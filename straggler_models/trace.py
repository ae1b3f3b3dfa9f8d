"""Recorded worker times: replayed as they were, or resampled."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from straggler_models.base import (
    BLOCK_ROUNDS,
    BoolArray,
    FloatArray,
    InputPath,
    IntArray,
    PositiveCount,
    Seconds,
    StragglerModel,
    WorkerTimes,
)

if TYPE_CHECKING:
    import pyarrow as pa

COMPONENTS = ("startup_s", "seconds_per_load", "slowdown")


class Recording(NamedTuple):
    """What a file holds, shape ``(n_rounds, n_workers)`` each; None where there is no such column."""

    duration_s: FloatArray | None
    startup_s: FloatArray | None
    seconds_per_load: FloatArray | None
    slowdown: FloatArray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rounds and workers."""
        n_rounds, n_workers = next(column for column in self if column is not None).shape
        return n_rounds, n_workers


@dataclass(frozen=True)
class Trace(StragglerModel):
    """Worker times from a Parquet or CSV file in long form, one row for each round and worker.

    Columns ``round`` and ``worker`` count from 0. Either ``duration_s``, measured at load ``base_load``, gives

        startup_s = duration_s - base_load * seconds_per_load,

    or the file has ``startup_s`` and/or ``seconds_per_load`` (and ``slowdown``) itself, as the ``workers.parquet`` of
    a run does. ``inf`` means never answered. Fewer workers than recorded: the first ones.

    ``replay`` gives the recorded rounds in order. ``bootstrap`` draws blocks of successive rounds, each starting
    at any round with equal probability and going on at the first round after the last: the circular block
    bootstrap of Politis and Romano, 1992. A round's workers stay together, and bursts survive inside a block.

    Source of load adjustment: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection.
    """

    path: InputPath
    """recording, .parquet or .csv; relative to the scenario file"""
    mode: Literal["replay", "bootstrap"] = "replay"
    """the recorded rounds in order, or blocks of them drawn at random"""
    wrap: Literal["error", "cycle"] = "error"
    """what replay does past the last recorded round"""
    base_load: Seconds = 0.0
    """load at which duration_s was measured"""
    seconds_per_load: Seconds = 0.0
    """seconds that load 1 takes, besides start-up; for a file with duration_s"""
    block_rounds: PositiveCount | None = None
    """length of a block for bootstrap, in rounds; must be given there"""

    def __post_init__(self) -> None:
        if self.mode == "bootstrap" and self.block_rounds is None:
            raise ValueError("block_rounds must be given for mode: bootstrap, got none")
        if self.mode == "replay" and self.block_rounds is not None:
            raise ValueError(f"block_rounds must be left out for mode: replay, got {self.block_rounds}")

    @property
    def gives_same_times(self) -> bool:
        return self.mode == "replay"

    @property
    def may_never_answer(self) -> bool:
        times = self._times(None)
        return any(bool(np.isinf(part).any()) for part in (times.startup_s, times.seconds_per_load, times.slowdown))

    def check(self, n_workers: int, n_rounds: int) -> None:
        recorded_rounds, recorded_workers = read_recording(self.path).shape
        self._times(None)
        if recorded_workers < n_workers:
            raise ValueError(
                f"path must name a recording of at least {n_workers} workers, got {recorded_workers} in {self.path}"
            )
        if self.mode == "replay" and self.wrap == "error" and recorded_rounds < n_rounds:
            raise ValueError(
                f"path must name a recording of at least {n_rounds} rounds (or give wrap: cycle), "
                f"got {recorded_rounds} in {self.path}"
            )

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        times = self._times(n_workers)
        if self.mode == "bootstrap":
            yield from self._blocks(times, rng)
        while True:
            yield times
            if self.wrap == "error":
                return

    def _blocks(self, times: WorkerTimes, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        assert self.block_rounds is not None  # __post_init__ saw to it
        offsets = np.arange(self.block_rounds)
        n_blocks = -(-BLOCK_ROUNDS // self.block_rounds)
        while True:
            starts = rng.integers(times.n_rounds, size=(n_blocks, 1))
            rows = ((starts + offsets) % times.n_rounds).ravel()
            fields = (times.startup_s, times.seconds_per_load, times.slowdown)
            yield WorkerTimes(*(part[rows] if isinstance(part, np.ndarray) else part for part in fields))

    def _times(self, n_workers: int | None) -> WorkerTimes:
        recording = read_recording(self.path)
        if recording.duration_s is not None:
            measured_s = recording.duration_s[:, :n_workers]
            return WorkerTimes(measured_s - self.base_load * self.seconds_per_load, self.seconds_per_load)
        for name in ("base_load", "seconds_per_load"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} must be left out for a file without duration_s, got {getattr(self, name)} for {self.path}"
                )
        startup_s, seconds_per_load, slowdown = (
            default if column is None else column[:, :n_workers]
            for column, default in zip(recording[1:], (0.0, 0.0, 1.0), strict=True)
        )
        return WorkerTimes(startup_s, seconds_per_load, slowdown)


def read_recording(path: str) -> Recording:
    """Read a recording and check it: complete, no NaN, nothing negative."""
    file = Path(path)
    try:
        stat = file.stat()
    except OSError as error:
        raise ValueError(f"path must name a readable file, got {path} ({error.strerror})") from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: str, modified_ns: int, size: int) -> Recording:
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
        _refuse(
            ~((values >= 0) & (values < 2**40) & (np.floor(values) == values)),
            path,
            f"{name} counts 0, 1, 2, ...",
            values,
        )
    columns = {name: _column(table, name, path) for name in ("duration_s", *COMPONENTS) if name in names}
    for name, values in columns.items():
        _refuse(np.isnan(values), path, f"{name} must be a number", values)
        if name != "startup_s":  # a start-up time at load 0 may be negative, if a recording was made at another load
            _refuse(values < 0, path, f"{name} must not be negative", values)
    rounds, workers = (values.astype(np.int64) for values in index)
    return Recording(*(_grid(rounds, workers, columns.get(name), path) for name in ("duration_s", *COMPONENTS)))


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
