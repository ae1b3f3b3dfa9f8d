"""A trace whose times are adjusted to any load: what searches and advice are made from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simulator.choices import LoadEffect
from simulator.errors import UserError
from simulator.parameters import FloatArray
from simulator.traces.files import MeasuredTimes, base_load_of, read_times
from simulator.traces.formats.format import Options
from simulator.traces.naming import ONE_WORKER, labelled
from straggler_models.base import WorkerTimes
from straggler_models.trace import Trace
from straggler_models.trace_file import at_any_load, read_trace_file, slowdown_of

CONVERTED = "trace.parquet"  # the file beside the scenarios that name it


class SearchError(UserError, ValueError):
    """A search or advice that is not possible, in one sentence."""


@dataclass(frozen=True)
class AdjustedTrace:
    """Measured worker times at any load, see `straggler_models.trace_file.at_any_load`.

    Parameters
    ----------
    path
        Parquet or CSV file, see `straggler_models.trace.Trace`.
    base_load
        Load L0 at which its durations were measured; None: what the file's metadata say, otherwise 0, or 1/n if
        ``seconds_per_load`` is not given.
    seconds_per_load
        Seconds that load 1 takes, besides start-up; None: m / L0, so that all of the median m is work.
    load_effect
        How a duration changes with the load; None: proportional if ``seconds_per_load`` is not given, else additive.
    options
        How the file is read, see `simulator.traces.files.read_times`.
    slowdown
        For ``fitted``: what `trace fit` found that each duration was multiplied by, if the file does not say it.
    """

    path: Path
    base_load: float | None = None
    seconds_per_load: float | None = None
    load_effect: LoadEffect | None = None
    options: Options = field(default_factory=dict)
    slowdown: FloatArray | None = field(default=None, compare=False)

    def times(self) -> tuple[WorkerTimes, int]:
        """Worker times of the measured rounds, and the number of workers.

        Raises
        ------
        TraceError
            If the file can't be read.
        SearchError
            If the adjustment makes no sense.
        """
        trace = self.measured
        measured = (trace.duration_s,) if trace.components is None else trace.components[:2]
        if not any(column is not None and column.any() for column in measured):
            raise SearchError(f"{self.path}: must have times above 0 s, got none")
        n_workers = trace.duration_s.shape[1]
        if n_workers == 1:
            raise SearchError(f"{self.path}: {ONE_WORKER}")
        if np.isinf(trace.duration_s).any():
            index, worker = np.argwhere(np.isinf(trace.duration_s))[0]
            who = labelled(worker, trace.names)
            raise SearchError(
                f"{self.path}: workers must answer in each round, got inf, first of worker {who} in round {index} "
                "(--rounds, --drop-first and --drop-last leave rounds out)"
            )
        times = self._adjusted()
        least_s = np.min(times.slowdown * (times.startup_s + times.seconds_per_load * np.float64(1 / n_workers)))
        if least_s < 0:
            raise SearchError(
                f"{self.path}: completion times must be at least 0 s, got {least_s:.3g} s at load 1/{n_workers}: use "
                "--load-effect proportional, or a smaller --base-load or --seconds-per-load"
            )
        return times, n_workers

    @cached_property
    def measured(self) -> MeasuredTimes:
        """What the file holds, read once; its remarks say what was assumed, too."""
        trace = read_times(self.path, self.base_load, self.options)
        remarks = list(trace.remarks)
        if trace.censored is not None:
            remarks.append(
                f"{100 * trace.censored.mean():.2g} % of the times are censored (the worker was cancelled then): lower "
                "bounds, with which whatever waits longer than the scheme that was recorded looks better than it is"
            )
        if trace.components is not None:
            if (self.seconds_per_load, self.base_load, self.load_effect) != (None, None, None):
                raise SearchError(
                    f"{self.path}: --seconds-per-load, --base-load and --load-effect must be left out for a trace that "
                    "has its own start-up times and seconds per load"
                )
        elif trace.base_load is None:
            of_uncoded = 1 / trace.duration_s.shape[1]
            trace = trace._replace(base_load=of_uncoded if self.seconds_per_load is None else 0.0)
            if self.seconds_per_load is not None:
                remarks.append(
                    "without --base-load, times are taken as measured at load 0, so that uncoded work takes S/n = "
                    f"{self.seconds_per_load * of_uncoded:.3g} s longer than measured; times of uncoded work are at "
                    f"load 1/n: --base-load {of_uncoded:.4g}"
                )
        if trace.components is None and self.seconds_per_load is None:
            median_s, _ = _all_work(trace)
            remarks.append(
                f"without --seconds-per-load, all of the median time ({median_s:.4g} s at load {trace.base_load:.4g}) "
                f"is taken for work, load effect {self.effect}: `stragglersim trace info` estimates both from traces "
                "at several loads"
            )
        if self.slowdown is not None:
            trace = trace._replace(slowdown=self.slowdown)
        return trace._replace(remarks=tuple(remarks))

    @property
    def effect(self) -> LoadEffect:
        """How a duration changes with the load."""
        return self.load_effect or ("proportional" if self.seconds_per_load is None else "additive")

    def alternatives(self) -> Iterator["AdjustedTrace"]:
        """The same trace under the other load effects, with the same seconds per load; of components, none.

        ``times`` of one may raise where those of another do not.
        """
        if self.measured.components is None:
            given = self._all_given
            if given["seconds_per_load"] is None:
                given = given | {"seconds_per_load": _all_work(self.measured)[1]}
            for effect in ("additive", "proportional"):
                if effect != self.effect:
                    yield replace(self, **(given | {"load_effect": effect}))

    @cached_property
    def _all_given(self) -> dict[str, Any]:
        """What a scenario says of the adjustment."""
        per_load_s = self.seconds_per_load
        if per_load_s is None and self.effect != "proportional":
            _, per_load_s = _all_work(self.measured)
        return {"base_load": self.measured.base_load, "seconds_per_load": per_load_s, "load_effect": self.effect}

    def _adjusted(self) -> WorkerTimes:
        """Worker times at any load, as ``kind: trace`` gives them."""
        trace = self.measured
        if trace.components is not None:
            parts = zip(trace.components, WorkerTimes(), strict=True)
            times = WorkerTimes(*(usual if part is None else part for part, usual in parts))
        else:
            try:
                model = Trace(str(self.path), **self._all_given)
                given = model.base_load, model.seconds_per_load, model.load_effect
                times = at_any_load(trace.duration_s, *given, trace.slowdown)
            except ValueError as error:
                raise SearchError(f"{self.path}: {_first_line(error)}") from None
        return times._replace(slowdown=times.slowdown * slowdown_of(trace.censored))

    @cached_property
    def _written(self) -> str | None:
        """Name of the file to write for ``kind: trace``; None: it reads the trace itself."""
        try:
            file = read_trace_file(str(self.path))
        except ValueError:
            return CONVERTED
        trace = self.measured
        if trace.components is not None:
            pairs = list(zip(trace.components, file.components, strict=True))
        else:
            pairs = [(trace.duration_s, file.duration_s), (trace.slowdown, file.components[2])]
        is_same = all(
            a is b or (a is not None and b is not None and np.array_equal(a, b))
            for a, b in (*pairs, (trace.censored, file.censored))
        )
        return None if is_same else CONVERTED

    def model_in(self, folder: Path) -> dict[str, Any]:
        """The straggler model that replays it, as a scenario in a folder says it, see :meth:`write_into`."""
        model = {"kind": "trace", "path": self._written or os.path.relpath(self.path, folder), "wrap": "cycle"}
        if self.measured.components is not None:
            return model
        return model | {name: value for name, value in self._all_given.items() if value is not None}

    def write_into(self, folder: Path) -> None:
        """Write the file that :meth:`model_in` names, if it is not the trace itself."""
        if self._written is None:
            return
        import pandas as pd

        trace = self.measured
        names = ("duration_s", "slowdown") if trace.components is None else WorkerTimes._fields
        parts = (trace.duration_s, trace.slowdown) if trace.components is None else trace.components
        columns = {**dict(zip(names, parts, strict=True)), "censored": trace.censored}
        n_rounds, n_workers = trace.duration_s.shape
        rounds, workers = np.divmod(np.arange(n_rounds * n_workers), n_workers)
        given = {name: np.ravel(column) for name, column in columns.items() if column is not None}
        frame = pd.DataFrame({"round": rounds, "worker": workers} | given)
        frame.to_parquet(folder / self._written, index=False)

    def __str__(self) -> str:
        if self.measured.components is not None:
            return self.path.name
        if self.seconds_per_load is None:
            return f"{self.path.name}, all of the median time is work, load effect {self.effect}"
        said = self.base_load is not None or base_load_of(self.path) is not None
        load = f"{self.measured.base_load:.4g}{'' if said else ', as --base-load was not given'}"
        return (
            f"{self.path.name} (measured at load {load}), {self.seconds_per_load:g} s for load 1, load effect "
            f"{self.effect}"
        )


def _all_work(trace: MeasuredTimes) -> tuple[float, float]:
    """The median time, and the seconds for load 1 if all of it is work."""
    answered_s = trace.duration_s[np.isfinite(trace.duration_s)]
    median_s = float(np.median(answered_s)) if answered_s.size else np.inf
    if not trace.base_load or not np.isfinite(trace.base_load):
        raise SearchError(
            f"{trace.path}: --seconds-per-load must be given for times at load {trace.base_load:g}, of which nothing "
            "is work (or another --base-load; `stragglersim trace info` estimates it from several loads)"
        )
    return median_s, median_s / trace.base_load


def _first_line(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} {first['msg'].removeprefix('Value error, ')}"
    return str(error)
