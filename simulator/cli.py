"""The command line: `stragglersim`, also `python -m simulator`.

Heavy libraries are imported where they are used, so that `--help` answers at once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.advise_command import advise
from simulator.errors import OUTSIDE, UserError, place_in, told
from simulator.terminal import InputError, complain, print_summary, print_table, progress, say, status
from simulator.trace_commands import trace
from simulator.tune_command import tune

if TYPE_CHECKING:
    from schemes import Scheme
    from simulator.results.results import Results
    from simulator.scenario.scenario import Scenario

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate distributed gradient computation with slow workers: what does redundancy buy?\n\n"
    "Start with:\n\n  stragglersim examples quickstart\n\n  stragglersim run quickstart.yaml --out results/quickstart",
)

app.add_typer(trace, name="trace")

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
        help="Vary a value: master.mu=0.5,1,2, or start:stop:number (:log for equal ratios); repeatable.",
    ),
]


class Detail(StrEnum):
    """The finest table to keep."""

    runs = "runs"
    rounds = "rounds"
    workers = "workers"


class Engine(StrEnum):
    """What computes the numbers."""

    auto = "auto"
    vectorised = "vectorised"
    events = "events"


class Executor(StrEnum):
    """Where runs are computed."""

    serial = "serial"
    processes = "processes"
    dask = "dask"


class Family(StrEnum):
    """What can be listed."""

    schemes = "schemes"
    models = "models"
    assignments = "assignments"
    masters = "masters"
    orderings = "orderings"
    workloads = "workloads"


@app.command()
def run(
    scenario_file: ScenarioFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results (results/NAME if not given).")
    ] = None,
    overrides: Overrides = None,
    sweeps: Sweeps = None,
    detail: Annotated[Detail, typer.Option(help="Finest table to keep.")] = Detail.rounds,
    engine: Annotated[
        Engine,
        typer.Option(
            help="What computes the numbers: events define them, vectorised gives the same ones much faster where it "
            "can, auto takes it there."
        ),
    ] = Engine.events,
    executor: Annotated[
        Executor, typer.Option(help="Where runs are computed; the numbers are the same.")
    ] = Executor.processes,
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="How many processes (one for each core if not given).")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="TCP", help="Of a dask scheduler, with --executor dask (its own if not given)."),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="List runs that fail in errors.csv, and go on with the others.")
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="ci=PERCENT%",
            help="Add trials (10 at least) until the 95 % interval of each mean makespan is so narrow, e.g. ci=2%.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Forget the results that are in DIR.")] = False,
) -> None:
    """Run a scenario: tables, a summary and pictures. Stopped or killed, the same command goes on.

    Example: stragglersim run quickstart.yaml --set master.kind=mu_rule --out results/mu
    """
    from simulator.execution.sweep import run_into
    from simulator.files import whole
    from simulator.results.folder import ERRORS, building

    narrow = None if until is None else _half_width(until)
    scenario = _load(scenario_file, overrides, sweeps)
    folder = out or Path("results") / scenario.name
    with building(folder, replace=force) as place:
        with progress(f"Running {scenario.name}") as told:
            results, failures = run_into(
                place,
                scenario,
                engine=engine.value,
                detail=detail.value,
                progress=told,
                executor=executor.value,
                processes=processes,
                address=address,
                keep_going=keep_going,
                until=narrow,
            )
        with status("Drawing"), whole(place / "plots") as partial:
            from simulator.plots.run import draw

            pictures = draw(results, partial, None if failures else scenario)  # for which trials are run again
        results.seal(place)
    print_summary(results)
    say(f"Tables   {folder}/ ({', '.join(f'{table}.parquet' for table in _tables(folder))}, summary.csv)")
    _say_pictures(folder, pictures)
    if failures:
        n_failed = sum(len(failure.unit.trials) for failure in failures)
        complain(f"{n_failed} runs failed: see {folder}/{ERRORS} (the same command tries them again)")
        raise typer.Exit(1)


def _half_width(until: str) -> float:
    """The half width of an interval over its mean, from ci=2%."""
    import re

    match = re.fullmatch(r"ci=(\d+(?:\.\d+)?)%", until.replace(" ", ""))
    if match is None or not float(match[1]) > 0:
        raise InputError(f"--until: must be ci= and a percentage above 0, e.g. ci=2%, got {until}")
    return float(match[1]) / 100


def _tables(folder: Path) -> list[str]:
    from simulator.results.columns import TABLES

    return [name for name in TABLES if (folder / f"{name}.parquet").exists()]


@app.command()
def validate(scenario_file: ScenarioFile, overrides: Overrides = None, sweeps: Sweeps = None) -> None:
    """Check a scenario and say what it will run.

    Example: stragglersim validate quickstart.yaml
    """
    scenario = _load(scenario_file, overrides, sweeps)
    n_points, n_schemes = len(scenario.all_points()), len(scenario.schemes)
    n_runs = sum(len(point.schemes) * point.trials for _, point in scenario.all_points())
    points = f"{n_points} points, " if n_points > 1 else ""
    sizes = "" if points else f", {scenario.trials} trial(s)"
    say(
        f"{scenario_file}: fine: {points}{n_schemes} schemes{sizes}, {n_runs} runs of {scenario.jobs} jobs on "
        f"{scenario.workers} workers{' (before the sweep)' if points else ''}"
    )


app.command()(tune)
app.command()(advise)


@app.command("list")
def list_plugins(
    family: Annotated[Family, typer.Argument(help="What to list.", show_default=False)],
) -> None:
    """List schemes, straggler models, master rules, workloads, or parts of schemes, with their parameters.

    Example: stragglersim list models
    """
    from simulator.plugins.kinds import (
        ASSIGNMENT_TABLE,
        MODEL_TABLE,
        ORDERING_TABLE,
        RULE_TABLE,
        SCHEME_TABLE,
        WORKLOAD_TABLE,
    )
    from simulator.plugins.messages import parameters

    table = {
        Family.schemes: SCHEME_TABLE,
        Family.models: MODEL_TABLE,
        Family.assignments: ASSIGNMENT_TABLE,
        Family.masters: RULE_TABLE,
        Family.orderings: ORDERING_TABLE,
        Family.workloads: WORKLOAD_TABLE,
    }[family]
    rows: list[tuple[str, ...]] = []
    for kind, cls in table.known().items():
        rows.append((kind, "", (cls.__doc__ or "").strip().partition("\n")[0].replace("`", "")))
        for parameter in parameters(cls, table.filled_in):
            default = "" if parameter.default is None else f" [default: {parameter.default}]"
            rows.append((f"  {parameter.name}", parameter.must_be, parameter.meaning + default))
        rows.append(("", "", ""))
    print_table(("kind, parameters", "must be", "meaning"), rows[:-1], wrap="meaning")


@app.command()
def explain(scenario_file: ScenarioFile, overrides: Overrides = None, sweeps: Sweeps = None) -> None:
    """Say what each scheme of a scenario costs and tolerates, without running it; of a sweep, each scheme once.

    Example: stragglersim explain quickstart.yaml

    The bound is the smallest load of any scheme, with any finite T, that tolerates the same bursts.
    """

    scenario = _load(scenario_file, overrides, sweeps)
    rows, facts, told = [], [], set()
    for values, at_point in scenario.all_points():
        for label, scheme in at_point.schemes.items():
            at = _of_scheme(values, label)
            bound = scheme.load_bound
            reports = _most_reports(scheme)
            row = (
                label,
                f"{scheme.load:.6g}",
                f"{scheme.load * at_point.workers:.3g}x",
                str(scheme.delay_rounds),
                "-" if bound is None else f"{bound:.6g}",
                "-" if bound is None else f"{scheme.load / bound:.3g}",
                str(reports),
                scheme.tolerates,
            )
            if row not in told:
                told.add(row)
                rows.append((row[0], at, *row[1:]) if scenario.points else row)
                facts += [f"{label}{f' ({at})' if at else ''}: {name} {said}" for name, said in scheme.facts.items()]
    first = ("scheme", "at") if scenario.points else ("scheme",)
    header = (*first, "load", "of uncoded", "T", "load bound", "load / bound", "reports", "tolerates")
    print_table(header, rows, wrap="tolerates")
    for fact in facts:
        say(fact)


def _of_scheme(values: dict[str, Any], label: str) -> str:
    """The swept values that can decide what a scheme costs and tolerates."""
    own = {key: key.removeprefix(f"schemes.{label}.").removeprefix("schemes.*.") for key in values}
    return ", ".join(f"{name} = {values[key]}" for key, name in own.items() if name != key or key == "workers")


def _most_reports(scheme: Scheme) -> int:
    """Reports of a worker in a round in the middle of a run in which nobody is missing."""
    import numpy as np

    from schemes import Closing

    session, most = scheme.start(scheme.delay_rounds + 1, np.random.default_rng(0)), 0
    for index in range(scheme.delay_rounds + 1):
        work = session.open_round(index)
        most = max(most, work.loads.shape[1])
        for worker, report in np.argwhere(work.reporting).tolist():
            session.receive(worker, report)
        session.close_round(Closing(np.zeros(scheme.n_workers, dtype=np.bool_), forced=False))
    return most


@app.command()
def plot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that a run has written.", show_default=False)],
    x: Annotated[str | None, typer.Option("--x", metavar="KEY", help="Swept key, or column of runs.")] = None,
    y: Annotated[
        str | None,
        typer.Option("--y", metavar="COLUMN", help="Column of runs (default: makespan_s, or jobs_per_s)."),
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="KEY", help="A line for each: scheme, or a swept key.")] = "scheme",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Keep to a scheme or swept value (repeatable)."),
    ] = None,
) -> None:
    """Draw the pictures of a run again, into DIR/plots; with --x, one of a column of runs against a swept key.

    Example: stragglersim plot results/quickstart

    Example: stragglersim plot results/mine --x master.mu --y makespan_s --by scheme --where workers=12

    Example: stragglersim plot results/training --x time_s --y loss --where scheme=GC --where scheme=M-SGC
    """
    from simulator.results.results import Results

    if x is None and (y is not None or by != "scheme" or where):
        raise InputError("plot: --x must be given with --y, --by or --where (a swept key, or a column of runs)")
    results = Results.load(folder)
    if x is None:
        pictures = _draw_again(results, folder)
    else:
        from simulator.plots.run import draw_chart
        from simulator.plots.sweep.charts import Chart
        from simulator.plots.sweep.frames import main_metric

        chart = Chart(x=x, y=y or main_metric(results)[0], by=by, where=_wanted(where or []))
        pictures = [draw_chart(results, folder / "plots", chart)]
    _say_pictures(folder, pictures)


def _draw_again(results: Results, folder: Path) -> list[Path]:
    from simulator.errors import ScenarioError, SimulationError
    from simulator.plots.run import draw

    try:
        scenario = _load(folder / "scenario.yaml")
    except ScenarioError as error:
        complain(f"{error}\nno pictures of single rounds: these need the scenario as it ran")
        scenario = None
    with status("Drawing"):
        try:
            return draw(results, folder / "plots", scenario)
        except SimulationError as error:
            complain(f"{error}\nno pictures of single rounds: these need a trial that runs")
            return draw(results, folder / "plots")


def _wanted(where: list[str]) -> dict[str, list[Any]]:
    """The values of each key of ``--where key=value``; of a key given again, any of them."""
    from simulator.scenario.yaml_text import plain_value

    wanted: dict[str, list[Any]] = {}
    for assignment in where:
        key, equals, text = assignment.partition("=")
        if not (equals and key.strip()):
            raise InputError(f"--where {assignment}: must be key=value")
        try:
            wanted.setdefault(key.strip(), []).append(plain_value(text))
        except ValueError as error:
            raise InputError(f"--where {key.strip()}: {error}") from None
    return wanted


def _say_pictures(folder: Path, pictures: Sequence[Path]) -> None:
    names = ", ".join(sorted(picture.stem for picture in pictures))
    if names:
        say(f"Pictures {folder}/plots/ ({names}: PNG and SVG)")
    else:
        say("Pictures none: too many keys vary (stragglersim plot DIR --x KEY --where KEY=VALUE draws one)")


SHOWN_ROWS = 40  # of a comparison, in whole points


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that a run has written.", show_default=False)],
    baseline: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Scheme to compare with (the first if not given).")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column of the runs table, or time_to_accuracy, time_to_loss."),
    ] = "makespan_s",
    target: Annotated[
        float | None, typer.Option(metavar="VALUE", help="Accuracy or loss to reach, for time_to_...")
    ] = None,
) -> None:
    """Compare the schemes of a run, paired by trial; also into DIR/compare.csv and compare.md.

    Example: stragglersim compare results/quickstart --baseline GC

    Example: stragglersim compare results/training --metric time_to_accuracy --target 0.9
    """
    from simulator.results.compare import compare as compare_runs
    from simulator.results.compare import swept_keys
    from simulator.results.compare_text import as_text, notes, write
    from simulator.results.curves import TIMES_TO, with_time_to
    from simulator.results.fairness import fairness
    from simulator.results.results import Results

    if metric.startswith("time_to_") and metric not in TIMES_TO:
        raise InputError(f"--metric: must be a column of runs or one of {', '.join(TIMES_TO)}, got {metric}")
    if target is not None and metric not in TIMES_TO:
        raise InputError(f"--target: must go with --metric {' or '.join(TIMES_TO)}, got --metric {metric}")
    if target is None and metric in TIMES_TO:
        raise InputError(f"--metric {metric}: must go with --target, got none (e.g. --target 0.9)")
    if target is not None and TIMES_TO[metric] == "accuracy" and not 0 <= target <= 1:
        raise InputError(f"--target: must be a share between 0 and 1 for {metric}, got {target:g}")
    if target is not None and not math.isfinite(target):
        raise InputError(f"--target: must be a finite number, got {target:g}")
    results = Results.load(folder)
    with status("Comparing"):
        runs, said = with_time_to(results, metric, target) if target is not None else (results.runs, [])
        table = compare_runs(runs, baseline=baseline, metric=metric)
        remarks = [*said, *notes(table), fairness(results)]
        write(table, folder, f"{results.scenario['name']}: {metric}", remarks)
    n_shown = 0
    for _, rows in table.groupby("point", sort=False):
        if n_shown and n_shown + len(rows) > SHOWN_ROWS:
            break
        n_shown += len(rows)
        at = ", ".join(f"{key} = {rows[key].iloc[0]}" for key in swept_keys(table))
        say(f"\n{results.scenario['name']}{': ' if at else ''}{at}")
        print_table(*as_text(rows))
    if n_shown < len(table):
        say(f"The first {n_shown} of {len(table)} rows; compare.csv has all.")
    for remark in remarks:
        say(remark)
    say(f"\nTables   {folder}/ (compare.csv, compare.md)")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, so that editors complete and check it.

    Example: stragglersim schema > stragglersim.schema.json

    Then begin a scenario with:  # yaml-language-server: $schema=stragglersim.schema.json
    """
    import json

    from simulator.scenario.json_schema import scenario_schema

    print(json.dumps(scenario_schema(), indent=2))


@app.command()
def examples(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Scenario to copy to this folder.", show_default=False)
    ] = None,
) -> None:
    """List the scenarios that come with the simulator, or copy one here.

    Example: stragglersim examples quickstart
    """
    from simulator.errors import ScenarioError

    shipped = {file.stem: file for file in sorted(_scenarios().glob("*.yaml"))}
    if name is None:
        rows = [(stem, file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")) for stem, file in shipped.items()]
        print_table(("name", "question"), rows, wrap="question")
        return
    if name.removesuffix(".yaml") not in shipped:
        raise InputError(f"examples: {name!r} is not one of {', '.join(shipped)}")
    source = shipped[name.removesuffix(".yaml")]
    target = Path(source.name)
    if target.exists():
        raise InputError(f"{target}: must not exist yet, so that nothing of yours is overwritten")
    target.write_bytes(source.read_bytes())
    say(f"Wrote {target}")
    try:
        _load(target)
    except ScenarioError as error:
        say(f"Before it runs, it needs something of yours:\n{error}")
    else:
        say(f"Now: stragglersim run {target}")


def _scenarios() -> Path:
    """The shipped scenarios: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "scenarios"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "scenarios"


def _load(path: Path, overrides: list[str] | None = None, sweeps: list[str] | None = None) -> Scenario:
    from simulator.scenario.loading import load
    from simulator.scenario.no_effect import warnings

    scenario = load(path, overrides or [], sweeps or [])
    for warning in warnings(scenario, overrides or []):
        complain(f"{path}: warning: {warning}")
    return scenario


INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


def main() -> None:
    """Run the command line; what a user can mend ends in a line on stderr and exit status 2."""
    code, stopped = INTERRUPTED, "stopped; nothing was written"
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        pass
    except BrokenPipeError:  # of `stragglersim ... | head`
        code = 0
        sys.stdout = None  # so that nothing is flushed into it at exit
    except Exception as error:
        if isinstance(error, MemoryError):
            error = InputError("this needs more memory than there is: use fewer workers, jobs or details")
        said = str(error) if isinstance(error, UserError) else _usage(error)
        if said is None and not OUTSIDE:
            raise  # a fault of ours: its traceback is wanted
        said = said or f"stragglersim: {told(error, place_in(error, OUTSIDE))}"
        if _is_stop(error):
            stopped = said
        else:
            complain(said)
            code = 2
    if code == INTERRUPTED:
        complain(stopped)
    sys.exit(code)


def _is_stop(error: Exception) -> bool:
    from simulator.results.folder import Stopped

    return isinstance(error, Stopped)


def _usage(error: Exception) -> str | None:
    """What is wrong with the call, if the library of the command line has found it."""
    if not hasattr(error, "format_message"):
        return None
    said = " ".join(str(error.format_message()).split()).replace("Value error, ", "")  # of the library below it
    return f"stragglersim: {said} (--help tells more)"
