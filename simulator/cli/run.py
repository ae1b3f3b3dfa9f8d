"""`stragglersim run` and `validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.choices import Detail, Engine, ExecutorName
from simulator.cli.options import Overrides, ScenarioFile, Sweeps, load_scenario
from simulator.cli.show import say_figures
from simulator.cli.terminal import InputError, complain, print_summary, progress, say, status


def run(
    scenario_file: ScenarioFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results (results/NAME if not given).")
    ] = None,
    overrides: Overrides = None,
    sweeps: Sweeps = None,
    detail: Annotated[Detail, typer.Option(help="Finest table to keep.")] = "rounds",
    engine: Annotated[
        Engine,
        typer.Option(
            help="What computes the numbers: events define them, vectorised gives the same ones much faster where it "
            "can, auto takes it there."
        ),
    ] = "events",
    executor: Annotated[
        ExecutorName, typer.Option(help="Where runs are computed; the numbers are the same.")
    ] = "processes",
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
            )
        with status("Drawing"), whole(place / "plots") as partial:
            from simulator.plots.run import draw

            pictures = draw(results, partial, None if failures else scenario)  # for which trials are run again
        results.seal(place)
    print_summary(results)
    say(f"Tables   {folder}/ ({', '.join(f'{table}.parquet' for table in _tables(folder))}, summary.csv)")
    say_figures(folder, pictures)
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


def validate(scenario_file: ScenarioFile, overrides: Overrides = None, sweeps: Sweeps = None) -> None:
    """Check a scenario and say what it will run.

    Example: stragglersim validate quickstart.yaml
    """
    scenario = load_scenario(scenario_file, overrides, sweeps)
    n_points, n_schemes = len(scenario.all_points()), len(scenario.schemes)
    n_runs = sum(len(point.schemes) * point.trials for _, point in scenario.all_points())
    points = f"{n_points} points, " if n_points > 1 else ""
    sizes = "" if points else f", {scenario.trials} trial(s)"
    say(
        f"{scenario_file}: fine: {points}{n_schemes} schemes{sizes}, {n_runs} runs of {scenario.jobs} jobs on "
        f"{scenario.workers} workers{' (before the sweep)' if points else ''}"
    )
