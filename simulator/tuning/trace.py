"""A trace whose times are adjusted to any load: what searches and advice are made from."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simulator.errors import UserError
from simulator.parameters import FloatArray
from simulator.traces.files import MeasuredTimes, read_times
from simulator.traces.formats.format import Options
from straggler_models.base import WorkerTimes
from straggler_models.trace import Trace
from straggler_models.trace_file import read_trace_file, slowdown_of

PROPORTIONAL, CONVERTED = "adjusted-trace.parquet", "trace.parquet"  # files beside the scenarios that name them


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
    options
        How the file is read, see `simulator.traces.files.read_times`.
    """

    path: Path
    base_load: float | None = None
    seconds_per_load: float | Literal["proportional"] | None = None
    options: Options = field(default_factory=dict)

    def times(self) -> tuple[WorkerTimes, int]:
        """Worker times of the measured rounds, and the number of workers.

        Raises
        ------
        TraceError
            If the file can't be read.
        SearchError
            If the adjustment is missing or makes no sense.
        """
        trace = self.measured
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
        n_workers = trace.duration_s.shape[1]
        if self.seconds_per_load == "proportional":
            return WorkerTimes(0.0, _per_load_s(trace, n_workers), slowdown_of(trace.censored)), n_workers
        times = self._adjusted()
        least_s = np.min(times.slowdown * (times.startup_s + times.seconds_per_load * np.float64(1 / n_workers)))
        if least_s < 0:
            raise SearchError(
                f"{self.path}: completion times must be at least 0 s, got {least_s:.3g} s at load 1/{n_workers}: use a "
                "smaller --base-load or --seconds-per-load"
            )
        return times, n_workers

    @cached_property
    def measured(self) -> MeasuredTimes:
        """What the file holds, read once."""
        trace = read_times(self.path, self.base_load, self.options)
        if trace.censored is None:
            return trace
        said = (
            f"{100 * trace.censored.mean():.2g} % of the times are censored (the worker was cancelled then): lower "
            "bounds, with which whatever waits longer than the scheme that was recorded looks better than it is"
        )
        return trace._replace(remarks=(*trace.remarks, said))

    def _adjusted(self) -> WorkerTimes:
        """Worker times at any load, as ``kind: trace`` gives them."""
        trace = self.measured
        slowdown = slowdown_of(trace.censored)
        if trace.components is not None:
            parts = zip(trace.components, WorkerTimes(), strict=True)
            times = WorkerTimes(*(usual if part is None else part for part, usual in parts))
            return times._replace(slowdown=times.slowdown * slowdown)
        try:
            model = Trace(str(self.path), base_load=trace.base_load or 0.0, seconds_per_load=self.seconds_per_load)  # type: ignore[arg-type]  # a number by now
        except ValueError as error:
            raise SearchError(f"{self.path}: {_first_line(error)}") from None
        startup_s = trace.duration_s - model.base_load * model.seconds_per_load
        return WorkerTimes(startup_s, model.seconds_per_load, slowdown)

    @cached_property
    def _written(self) -> str | None:
        """Name of the file to write for ``kind: trace``; None: it reads the trace itself."""
        if self.seconds_per_load == "proportional":
            return PROPORTIONAL
        try:
            file = read_trace_file(str(self.path))
        except ValueError:
            return CONVERTED
        ours = (*(self.measured.components or (self.measured.duration_s,)), self.measured.censored)
        theirs = (*(file.components if self.measured.components else (file.duration_s,)), file.censored)
        pairs = zip(ours, theirs, strict=True)
        is_same = all(a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs)
        return None if is_same else CONVERTED

    def model_in(self, folder: Path) -> dict[str, Any]:
        """The straggler model that replays it, as a scenario in a folder says it, see :meth:`write_into`."""
        model = {"kind": "trace", "path": self._written or os.path.relpath(self.path, folder), "wrap": "cycle"}
        if self.seconds_per_load in (None, "proportional"):
            return model
        return model | {"base_load": self.measured.base_load or 0.0, "seconds_per_load": self.seconds_per_load}

    def write_into(self, folder: Path) -> None:
        """Write the file that :meth:`model_in` names, if it is not the trace itself."""
        if self._written is None:
            return
        import pandas as pd

        trace = self.measured
        columns: dict[str, Any] = {"duration_s": trace.duration_s}
        if self.seconds_per_load == "proportional":
            columns = {"seconds_per_load": self.times()[0].seconds_per_load}
        elif trace.components is not None:
            parts = zip(WorkerTimes._fields, trace.components, strict=True)
            columns = {name: part for name, part in parts if part is not None}
        if trace.censored is not None:
            columns["censored"] = trace.censored
        n_rounds, n_workers = trace.duration_s.shape
        rounds, workers = np.divmod(np.arange(n_rounds * n_workers), n_workers)
        frame = pd.DataFrame({"round": rounds, "worker": workers} | {name: np.ravel(c) for name, c in columns.items()})
        frame.to_parquet(folder / self._written, index=False)

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
