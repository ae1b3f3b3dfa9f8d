"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.choices import Aggregate, Axis, LoadEffect, Missing, TraceKind, Unit, Work
from simulator.cli.terminal import complain, if_it_takes_long, status

if TYPE_CHECKING:
    from simulator.scenario.scenario import Scenario
    from simulator.traces.files import MeasuredTimes
    from simulator.tuning.search import Search
    from simulator.tuning.trace import AdjustedTrace

ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace a value of the scenario, e.g. master.mu=0.5 (repeatable)."
    ),
]
Sweeps = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=VALUES",
        help="Sweep a value: master.mu=0.5,1,2, or start:stop:number (:log for equal ratios) (repeatable).",
    ),
]


def load_scenario(path: Path, overrides: list[str] | None = None, sweeps: list[str] | None = None) -> Scenario:
    """Load a scenario, and warn of what in it is probably not meant."""
    from simulator.scenario.loading import load
    from simulator.scenario.no_effect import warnings

    with if_it_takes_long(f"Reading {path}"):
        scenario = load(path, overrides or [], sweeps or [])
        warned = warnings(scenario, overrides or [])
    for warning in warned:
        complain(f"{path}: warning: {warning}")
    return scenario


# `trace info` takes several traces, and so a list of loads.
TraceFiles = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Traces, in any format that `trace convert` reads.")
]
BaseLoads = Annotated[
    str | None,
    typer.Option(
        metavar="LOADS",
        help="Load at which each file was measured, in the order of the files, e.g. 0,0.25,0.5 (default: base_load "
        "of its metadata); from several loads follow the seconds per load.",
    ),
]
TraceArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Trace, in any format that `trace convert` reads.", show_default=False)
]
BaseLoad = Annotated[
    float | None,
    typer.Option(
        metavar="LOAD",
        min=0,
        help="Load at which the times were measured (default: base_load of the file's metadata, else 0; tune and "
        "advise without --seconds-per-load: 1/n).",
    ),
]
FittedSecondsPerLoad = Annotated[
    float,
    typer.Option(metavar="S", min=0, help="Seconds that load 1 takes besides start-up (0: all of a time is start-up)."),
]


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options of all commands that read a trace, in the order of their help."""

    source: Annotated[
        TraceKind | None,
        typer.Option("--from", help="Format of the trace (default: recognised by content and options)."),
    ] = None
    rows: Annotated[Axis | None, typer.Option(help="Meaning of a row of a matrix.")] = None
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Column names of a long table, e.g. round=step,worker=rank,duration_s=time,host=node.",
        ),
    ] = None
    unit: Annotated[Unit | None, typer.Option(help="Unit of the times in a table (default: s).")] = None
    event: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Name of events of a Chrome trace that are work, in place of the profiler's steps: a worker's time "
            "is their union, less --without only. A group captures the number of the step; without a group, it is that "
            "of the ProfilerStep around them.",
        ),
    ] = None
    work: Annotated[
        Work | None,
        typer.Option(
            help="Own work in a step of a profile: all but exposed collectives (default), compute only, or all of it."
        ),
    ] = None
    without: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Name of further events of a profile during which a rank waits, unless its device computes.",
        ),
    ] = None
    step: Annotated[
        str | None, typer.Option(metavar="args.KEY", help="Where an event of a Chrome trace gives its step.")
    ] = None
    worker: Annotated[
        str | None, typer.Option(metavar="pid|tid|args.KEY", help="Where an event of a Chrome trace gives its worker.")
    ] = None
    replica_of: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help="Ranks whose names give the same group are one worker, as slow as the slowest."
        ),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Read only these rows of a long table (repeatable)."),
    ] = None
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHAR", help="Delimiter of a CSV (default: found from its lines).")
    ] = None
    decimal: Annotated[
        str | None, typer.Option(metavar="CHAR", help="Decimal mark of a CSV (default: found from its cells).")
    ] = None
    aggregate: Annotated[
        Aggregate | None, typer.Option(help="How to combine several times of one round and worker.")
    ] = None
    drop_first: Annotated[int | None, typer.Option(metavar="N", min=0, help="Drop the first N rounds.")] = None
    drop_last: Annotated[int | None, typer.Option(metavar="N", min=0, help="Drop the last N rounds.")] = None
    rounds: Annotated[
        str | None, typer.Option(metavar="A:B", help="Keep only rounds A to B - 1, counted from 0 in their order.")
    ] = None
    missing: Annotated[
        Missing,
        typer.Option(
            help="If a worker has no time in a round: refuse the trace, count it as no answer, or drop the round."
        ),
    ] = "error"

    def given(self) -> dict[str, Any]:
        """Return those that were given."""
        values = {option.name: getattr(self, option.name) for option in fields(ReadingOptions)}
        return {name: value for name, value in values.items() if value not in (None, "error", [])}

    def typed(self) -> list[str]:
        """Return those that were given, as they may be typed after a command."""
        options = {name: "--from" if name == "source" else f"--{name.replace('_', '-')}" for name in self.given()}
        values = {name: value if isinstance(value, list) else [value] for name, value in self.given().items()}
        return [text for name, option in options.items() for value in values[name] for text in (option, str(value))]


@dataclass(frozen=True, kw_only=True)
class SearchOptions(ReadingOptions):
    """Options of both `tune` and `advise`, after those of the trace."""

    file: TraceArgument
    jobs: Annotated[
        int | None, typer.Option(metavar="J", help="Jobs of a run (default: as many as the trace has rounds).")
    ] = None
    max_delay: Annotated[
        int | None,
        typer.Option(
            metavar="T", help="Largest T in rounds (default: M - 1 with --models, else 3; published grid: 20)."
        ),
    ] = None
    models: Annotated[int | None, typer.Option(metavar="M", help="Networks trained in turn; T is at most M - 1.")] = (
        None
    )
    seconds_per_load: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0,
            help="Seconds that load 1 takes besides start-up; `trace info` estimates them (default: all of the median "
            "time is work).",
        ),
    ] = None
    load_effect: Annotated[
        LoadEffect | None,
        typer.Option(
            help="What more load adds to a time: the same for all, in proportion to it, or the same times the slowdown "
            "that `trace fit` found (default: additive with --seconds-per-load, else proportional)."
        ),
    ] = None
    base_load: BaseLoad = None
    rules: Annotated[str, typer.Option(metavar="RULES", help="Master rules to try.")] = "first_enough,mu_rule"
    mus: Annotated[str, typer.Option("--mu", metavar="MUS", help="Tolerances of mu_rule to try.")] = "0.1,0.3,1"
    wait_for: Annotated[str, typer.Option(metavar="WHAT", help="What mu_rule waits for: all, enough, or both.")] = "all"
    schemes: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS", help="Schemes to try, e.g. uncoded,multiplexed (default: all that list settings)."
        ),
    ] = None
    accepts: Annotated[
        str | None, typer.Option(metavar="WHAT", help="What sequential schemes accept: pattern, recoverable, or both.")
    ] = None
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Let sequential schemes accept what the paper's simulator accepts.")
    ] = False

    def search(self, trace: AdjustedTrace, **more: bool) -> Search:
        """Return the search that is meant, on a trace."""
        from simulator.tuning.search import Search, rules_of

        with if_it_takes_long(f"Reading {self.file}"):
            n_rounds = trace.times()[0].n_rounds
        return Search(
            rules=rules_of(_items(self.rules), _numbers("--mu", self.mus), _items(self.wait_for)),
            schemes=None if self.schemes is None else tuple(_items(self.schemes)),
            accepts=None if self.accepts is None else tuple(_items(self.accepts)),
            n_jobs=n_rounds if self.jobs is None else self.jobs,
            max_delay=self.max_delay,
            models=self.models,
            as_published=self.as_published,
            **more,
        )

    def trace(self) -> AdjustedTrace:
        """Return the trace, with how its times change with the load; fitted, if that is asked for and not in it."""
        from simulator.tuning.trace import AdjustedTrace, SearchError

        adjusted = AdjustedTrace(self.file, self.base_load, self.seconds_per_load, self.load_effect, self.given())
        trace = adjusted.measured
        if adjusted.effect != "fitted" or trace.slowdown is not None:
            return adjusted
        from simulator.fitting.fit import FitError, fit_models

        with status("Fitting") as told:
            try:
                fitted = fit_models(trace.duration_s, censored=trace.censored, progress=told)
            except FitError as error:
                raise SearchError(f"{self.file}: {error} (for --load-effect fitted)") from None
        return replace(adjusted, slowdown=fitted.slowdowns)


def tell_remarks(trace: MeasuredTimes) -> None:
    """Say what is to be known of a trace by whoever reads figures of it."""
    for remark in trace.remarks:
        complain(f"{trace.path}: {remark}")


def takes(options: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a class, of which it gets an instance as its first argument."""
    shared = inspect.signature(options, eval_str=True).parameters

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        @functools.wraps(command)
        def spread(**given: Any) -> None:
            command(options(**{name: given.pop(name) for name in shared}), **given)

        every = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared.values())]
        spread.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # what typer reads
        spread.__annotations__ = {one.name: one.annotation for one in every}
        return spread

    return taking


Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for tables and figures.")]


def must_be_folder(out: Path | None) -> None:
    """Say before a long search that its results would have no place."""
    from simulator.tuning.trace import SearchError

    if out is not None and any(place.exists() and not place.is_dir() for place in (out, *out.parents)):
        raise SearchError(f"--out: must be a folder, got {out}, of which a part is a file")


def forget_stale(out: Path, figures: Sequence[Path]) -> None:
    """Remove the map of an earlier search, if this one has none."""
    if "winners.png" not in {figure.name for figure in figures}:
        for name in ("winners.png", "winners.svg"):
            (out / name).unlink(missing_ok=True)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _numbers(option: str, text: str) -> list[float]:
    from simulator.tuning.trace import SearchError

    try:
        return [float(item) for item in _items(text)]
    except ValueError:
        raise SearchError(f"{option}: must be numbers, e.g. 0.1,0.3,1, got {text}") from None
