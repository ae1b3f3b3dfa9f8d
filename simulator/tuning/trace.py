"""A trace whose times are adjusted to any load: what searches and advice are made from."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simulator.errors import UserError
from simulator.traces.files import MeasuredTimes, read_times
from straggler_models.base import FloatArray, WorkerTimes
from straggler_models.trace import Trace

PROPORTIONAL = "adjusted-trace.parquet"


class SearchError(UserError, ValueError):
    """A search or advice that can't be had, in one sentence."""


@dataclass(frozen=True)
class AdjustedTrace:
    """Measured worker times at any load.

    A duration d measured at load L0 is d + (L - L0) * seconds_per_load at load L, with one slope for all workers and
    rounds; or d * L / L0, if all of it grows with the load.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection.

    Parameters
    ----------
    path
        Parquet or CSV file, see `straggler_models.trace.Trace`.
    base_load
        Load L0 at which its durations were measured; None: what the file's metadata say, otherwise 0, or 1/n for times
        that are proportional.
    seconds_per_load
        Seconds that load 1 takes, besides start-up; or ``proportional``.
    """

    path: Path
    base_load: float | None = None
    seconds_per_load: float | Literal["proportional"] | None = None

    def times(self) -> tuple[WorkerTimes, int]:
        """Worker times of the measured rounds, and the number of workers.

        Raises
        ------
        TraceError
            If the file can't be read.
        SearchError
            If the adjustment is missing or makes no sense.
        """
        trace = read_times(self.path, self.base_load)
        if trace.components is None and self.seconds_per_load is None:
            raise SearchError(
                f"{self.path}: --seconds-per-load must be given for a trace of durations (proportional if all "
                "of a duration grows with the load; `stragglersim trace info` estimates it from several loads)"
            )
        if trace.components is not None and (self.seconds_per_load, self.base_load) != (None, None):
            raise SearchError(
                f"{self.path}: --seconds-per-load and --base-load must be left out for a trace that has its "
                "own start-up times and seconds per load"
            )
        measured = (trace.duration_s,) if trace.components is None else trace.components[:2]
        if not any(column is not None and column.any() for column in measured):
            raise SearchError(f"{self.path}: must have times above 0 s, got none")
        n_rounds, n_workers = trace.duration_s.shape
        if self.seconds_per_load == "proportional":
            return WorkerTimes(0.0, _per_load_s(trace, n_workers)), n_workers
        fields = self.model_in(Path.cwd()) | {"path": str(self.path)}
        del fields["kind"]
        try:
            model = Trace(**fields)
            model.check(n_workers, n_rounds)
            times = next(model.rounds(n_workers, np.random.default_rng(0)))
        except ValueError as error:
            raise SearchError(f"{self.path}: {_first_line(error)}") from None
        least_s = np.min(times.slowdown * (times.startup_s + times.seconds_per_load * np.float64(1 / n_workers)))
        if least_s < 0:
            raise SearchError(
                f"{self.path}: completion times must be at least 0 s, got {least_s:.3g} s at load 1/{n_workers}: use a "
                "smaller --base-load or --seconds-per-load"
            )
        return times, n_workers

    def model_in(self, folder: Path) -> dict[str, Any]:
        """The straggler model that replays it, as a scenario in a folder says it, see :meth:`write_into`."""
        if self.seconds_per_load == "proportional":
            return {"kind": "trace", "path": PROPORTIONAL, "wrap": "cycle"}
        model = {"kind": "trace", "path": os.path.relpath(self.path, folder), "wrap": "cycle"}
        if self.seconds_per_load is None:
            return model
        base_load = read_times(self.path, self.base_load).base_load or 0.0
        return model | {"base_load": base_load, "seconds_per_load": self.seconds_per_load}

    def write_into(self, folder: Path) -> None:
        """Write the file that :meth:`model_in` names, if it is not the trace itself."""
        if self.seconds_per_load != "proportional":
            return
        import pandas as pd

        times, n_workers = self.times()
        rounds, workers = np.divmod(np.arange(times.n_rounds * n_workers), n_workers)
        frame = pd.DataFrame({"round": rounds, "worker": workers, "seconds_per_load": np.ravel(times.seconds_per_load)})
        frame.to_parquet(folder / PROPORTIONAL, index=False)

    def __str__(self) -> str:
        if self.seconds_per_load is None:
            return self.path.name
        if self.seconds_per_load == "proportional":
            return f"{self.path.name}, times proportional to load"
        return f"{self.path.name}, {self.seconds_per_load:g} s more at load 1"


def _per_load_s(trace: MeasuredTimes, n_workers: int) -> FloatArray:
    base_load = 1 / n_workers if trace.base_load is None else trace.base_load
    if not 0 < base_load < np.inf:
        raise SearchError(f"--base-load: must be above 0 for times that are proportional to it, got {base_load:g}")
    return trace.duration_s / base_load


def _first_line(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} {first['msg'].removeprefix('Value error, ')}"
    return str(error)
