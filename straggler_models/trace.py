"""Measured worker times: replayed as they were, or resampled."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.choices import LoadEffect
from simulator.parameters import InputPath, PositiveCount, Seconds
from straggler_models.base import BLOCK_ROUNDS, StragglerModel, WorkerTimes
from straggler_models.trace_file import at_any_load, read_trace_file, slowdown_of


@dataclass(frozen=True)
class Trace(StragglerModel):
    """Worker times from a Parquet or CSV file in long form, one row for each round and worker.

    Columns ``round`` and ``worker`` count from 0. Either there is ``duration_s``, measured at load ``base_load``, and a
    duration d is, at load L,

    - ``load_effect: additive``: d + (L - base_load) seconds_per_load
    - ``proportional``: d (1 + (L - base_load) seconds_per_load / m), where m is the median of all finite times; without
      ``seconds_per_load`` all of it is work: d L / base_load
    - ``fitted``: d + (L - base_load) seconds_per_load k, where k is in a column ``slowdown`` beside ``duration_s``;

    or the file has ``startup_s`` and/or ``seconds_per_load`` (and ``slowdown``) itself, as the ``workers.parquet`` of
    a run does. ``inf`` means never answered. A scenario with fewer workers uses the first ones. Where a column
    ``censored`` is true, the worker was cancelled at that time, and its response comes just after it. That is too late
    for a master that stops then, as the recorded one did, and as early as possible for any other.

    ``replay`` gives the measured rounds in order. ``bootstrap`` draws blocks of successive rounds, each starting
    at any round with equal probability and going on at the first round after the last: the circular block
    bootstrap of Politis and Romano, 1992. A round's workers stay together, and bursts survive inside a block.

    Source of load adjustment: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection.
    """

    path: InputPath
    """trace, .parquet or .csv; relative to the scenario file"""
    mode: Literal["replay", "bootstrap"] = "replay"
    """the measured rounds in order, or blocks of them drawn at random"""
    wrap: Literal["error", "cycle"] = "error"
    """what replay does after the last measured round: refuse, or start again"""
    base_load: Seconds = 0.0
    """load at which duration_s was measured"""
    seconds_per_load: Seconds | None = None
    """seconds that load 1 takes besides start-up, with duration_s; null: 0, or all of the time if proportional"""
    load_effect: LoadEffect = "additive"
    """how a duration grows with the load: by the same seconds, in proportion, or as trace fit found"""
    block_rounds: PositiveCount | None = None
    """length of a block for bootstrap, in rounds; required there"""

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
        return any(bool(np.isinf(part).any()) for part in self._times(None))

    def check(self, n_workers: int, n_rounds: int) -> None:
        measured_rounds, measured_workers = read_trace_file(self.path).shape
        self._times(None)
        if measured_workers < n_workers:
            raise ValueError(
                f"path must name a trace of at least {n_workers} workers, got {measured_workers} in {self.path}"
            )
        if self.mode == "replay" and self.wrap == "error" and measured_rounds < n_rounds:
            raise ValueError(
                f"path must name a trace of at least {n_rounds} rounds (or give wrap: cycle), "
                f"got {measured_rounds} in {self.path}"
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
            yield WorkerTimes(*(part[rows] if isinstance(part, np.ndarray) else part for part in times))

    def _times(self, n_workers: int | None) -> WorkerTimes:
        trace = read_trace_file(self.path)
        slowdown = slowdown_of(trace.censored)
        if trace.duration_s is not None:
            given = self.base_load, self.seconds_per_load, self.load_effect
            times = at_any_load(trace.duration_s, *given, trace.components[2])
        else:
            for name in ("base_load", "seconds_per_load", "load_effect"):
                if getattr(self, name) not in (0.0, None, "additive"):
                    raise ValueError(
                        f"{name} must be left out for a file without duration_s, got {getattr(self, name)} for "
                        f"{self.path}"
                    )
            parts = zip(trace.components, WorkerTimes(), strict=True)
            times = WorkerTimes(*(default if column is None else column for column, default in parts))
        times = times._replace(slowdown=times.slowdown * slowdown)
        return WorkerTimes(*(part[:, :n_workers] if isinstance(part, np.ndarray) else part for part in times))
