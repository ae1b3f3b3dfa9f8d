"""`stragglersim run` and `validate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.choices import Detail, Engine, ExecutorName
from simulator.cli.options import Overrides, ScenarioFile, Sweeps, load_scenario
from simulator.cli.run_summary import print_summary
from simulator.cli.terminal import InputError, complain, progress, say, say_figures, status

if TYPE_CHECKING:
    from simulator.execution.tasks import Failure
    from simulator.plots.run import Drawn
    from simulator.results.results import Results
    from simulator.scenario.scenario import Scenario

FAILED, UNEQUAL = 1, 3  # exit status: runs failed, or the aim was missed; a run on events gave other numbers
MOST_NAMED = 3  # of the means that are not known well enough


def run(
    scenario_file: ScenarioFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results (default: results/NAME).")
    ] = None,
    overrides: Overrides = None,
    sweeps: Sweeps = None,
    detail: Annotated[Detail, typer.Option(help="Finest table to write.")] = "rounds",
    engine: Annotated[
        Engine,
        typer.Option(
            help="What computes the numbers: events defines them, vectorised gives the same ones much faster where it "
            "can, auto uses it there and repeats a sample of the runs on events."
        ),
    ] = "auto",
    executor: Annotated[
        ExecutorName, typer.Option(help="Where runs are computed; the numbers do not depend on it.")
    ] = "processes",
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="Number of processes (default: one for each core).")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="TCP", help="Address of a Dask scheduler, for --executor dask (default: its own)."),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on when a run fails, and list it in errors.csv.")
    ] = False,
    until: Until = None,
    force: Annotated[bool, typer.Option("--force", help="Delete the results that are in DIR first.")] = False,
) -> None:
    """Run a scenario, and write tables, a summary and figures.

    Example: stragglersim run quickstart.yaml --set master.kind=mu_rule --out results/mu

    After a run that was stopped or killed, the same command goes on with it.
    """
    from simulator.execution.sweep import run_into
    from simulator.results.folder import building
    from simulator.scenario.free_load import free_load

    narrow = None if until is None else _half_width(until)
    scenario = load_scenario(scenario_file, overrides, sweeps)
    folder = out or Path("results") / scenario.name
    with building(folder, replace=force) as place:
        with progress(f"Running {scenario.name}") as told:
            results, failures = run_into(
                place,
                scenario,
                engine=engine,
                detail=detail,
                progress=told,
                executor=executor,
                processes=processes,
                address=address,
                keep_going=keep_going,
                until=narrow,
                read_from=scenario_file,
            )
        drawn = _draw(results, place, None if failures else scenario)  # for which trials are run again
        results.seal(place)
    print_summary(results, free_load(scenario))
    _say_written(folder, drawn)
    missed = [] if narrow is None else _missed(results, narrow)
    _exit_if_not_well(folder, failures, missed, results.manifest.get("checked", {}).get("differences", ()))


def _missed(results: Results, half_width: float) -> list[str]:
    """A line about the means that are not known as well as --until wants, the worst first."""
    from simulator.results.compare import MOST_TRIALS, known_worse

    table = known_worse(results.runs, half_width)
    is_sweep = results.runs["point"].nunique() > 1
    named = [
        f"{row['scheme']}{' at point ' + str(row['point']) if is_sweep else ''}: {row['metric']} ± "
        f"{100 * row['half']:.2g} % after {row['n_trials']} trials"
        for row in table[:MOST_NAMED].to_dict("records")
    ]
    more = [f"and {len(table) - MOST_NAMED} more means"] if len(table) > MOST_NAMED else []
    aim = f"--until ci={100 * half_width:g}%: not reached"
    return [f"{aim} (no point gets more than {MOST_TRIALS} trials): {'; '.join(named + more)}"] if named else []


def _draw(results: Results, place: Path, scenario: Scenario | None) -> Drawn:
    from simulator.files import whole

    with status("Drawing"), whole(place / "plots") as partial:
        from simulator.plots.run import draw

        return draw(results, partial, scenario)


def _say_written(folder: Path, drawn: Drawn) -> None:
    from simulator.columns import TABLES

    tables = [f"{name}.parquet" for name in TABLES if (folder / f"{name}.parquet").exists()]
    say(f"Tables   {folder}/ ({', '.join(tables)}, summary.csv)")
    say_figures(folder, *drawn)


def _exit_if_not_well(folder: Path, failures: list[Failure], missed: Sequence[str], differences: Sequence[str]) -> None:
    from simulator.results.folder import ERRORS

    for difference in differences:
        complain(f"{folder}: {difference} (please report it, and use --engine events)")
    if failures:
        n_failed = sum(len(failure.unit.trials) for failure in failures)
        complain(f"{n_failed} runs failed: see {folder}/{ERRORS} (the same command tries them again)")
    for line in missed:
        complain(line)
    if differences or failures or missed:
        raise typer.Exit(UNEQUAL if differences else FAILED)


Until = Annotated[
    str | None,
    typer.Option(
        metavar="ci=PERCENT%",
        help="Add trials (at least 10) until the 95 % interval of each mean makespan is ± PERCENT or less, e.g. ci=2%.",
    ),
]


def _half_width(until: str) -> float:
    """The half width of an interval over its mean, from ci=2%."""
    import re

    match = re.fullmatch(r"ci=(\d+(?:\.\d+)?)%", until.replace(" ", ""))
    if match is None or not float(match[1]) > 0:
        raise InputError(f"--until: must be ci= and a percentage above 0, e.g. ci=2%, got {until}")
    return float(match[1]) / 100


def validate(scenario_file: ScenarioFile, overrides: Overrides = None, sweeps: Sweeps = None) -> None:
    """Check a scenario, and say what it will run.

    Example: stragglersim validate quickstart.yaml
    """
    scenario = load_scenario(scenario_file, overrides, sweeps)
    points = [at_point for _, at_point in scenario.all_points()]
    n_runs = sum(len(point.schemes) * point.trials for point in points)
    sizes = [
        *([f"{len(points)} points"] if len(points) > 1 else []),
        _counted("scheme", [len(point.schemes) for point in points]),
        _counted("trial", [point.trials for point in points]),
        f"{_counted('run', [n_runs])} of {_counted('job', [point.jobs for point in points])} "
        f"on {_counted('worker', [point.workers for point in points])}",
    ]
    say(f"{scenario_file}: fine: {', '.join(sizes)}")


def _counted(what: str, numbers: Sequence[int]) -> str:
    """A number of things, or the range that it has at the points of a sweep."""
    least, most = min(numbers), max(numbers)
    return f"{least if least == most else f'{least} to {most}'} {what}{'' if most == 1 else 's'}"
