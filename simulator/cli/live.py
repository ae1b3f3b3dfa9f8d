"""`stragglersim live`: the same scenario on real processes, and whether the simulator is true."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import Overrides, ScenarioFile, load_scenario
from simulator.cli.run_summary import print_summary
from simulator.cli.terminal import InputError, complain, print_table, progress, say, say_figures, status

if TYPE_CHECKING:
    from simulator.live.run import Live
    from simulator.plots.run import Drawn
    from simulator.scenario.scenario import Scenario

UNEQUAL = 3  # exit status: a replay came to something else


def live(
    scenario_file: ScenarioFile,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of workers (default: that of the scenario)."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="TCP", help="Address of a Dask scheduler, whose workers are the hosts (default: this machine)."
        ),
    ] = None,
    inject: Annotated[
        bool,
        typer.Option("--inject", help="Slow the workers down as the scenario's straggler models say."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results (default: results/NAME-live).")
    ] = None,
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Delete the results that are in DIR first.")] = False,
) -> None:
    """Run a scenario on real processes that compute real gradients, and compare the simulator with them.

    Example: stragglersim live async.yaml --inject --set jobs=20

    Schemes run one after another, each once. Tables, summary and figures are those of `run`. For each scheme, live.csv
    has the measured time, that of its replay in the simulator (which must be equal), and the predicted time.
    """
    from simulator.files import check_can_be_made, replacing
    from simulator.plugins.identity import checksum
    from simulator.results.folder import may_write

    scenario = load_scenario(scenario_file, [*([f"workers={workers}"] if workers else []), *(overrides or [])])
    folder = (out or Path("results") / f"{scenario.name}-live").resolve()
    may_write(folder, replace=force)
    check_can_be_made(folder)
    with progress(f"Running {scenario.name} on processes", "rounds") as told:
        found = _run(scenario, told, address, {str(scenario_file): checksum(str(scenario_file))}, is_injected=inject)
    with replacing(folder) as place:
        from simulator.live.folder import write_live

        write_live(found, place)
        drawn = _draw(found, place, scenario)
        found.results.seal(place)
    print_summary(found.results)
    _say_verdict(found, is_injected=inject)
    say(f"Tables   {folder}/ (live.csv, arrivals.parquet, traces/, runs.parquet and those of a run, summary.csv)")
    say_figures(folder, *drawn)
    if not all(row.replay_equal for row in found.rows):
        for label, differences in found.differences.items():
            if differences:
                complain(f"{label}: the replay differs in {', '.join(differences[:3])} (please report it)")
        raise typer.Exit(UNEQUAL)


def _run(
    scenario: Scenario, told: object, address: str | None, read_from: dict[str, str], *, is_injected: bool
) -> Live:
    try:
        from simulator.live.run import live as run_live
    except ModuleNotFoundError as error:
        if error.name != "zmq":
            raise
        raise InputError("live: needs pyzmq, got none (pip install 'stragglersim[live]')") from None

    in_all = sum(scenario.jobs + scheme.delay_rounds for scheme in scenario.schemes.values())
    done_before: dict[str, int] = {}

    def tell(label: str, done: int, _: int) -> None:
        done_before[label] = done
        assert callable(told)
        told(sum(done_before.values()), in_all)

    if address is None:
        return run_live(scenario, is_injected=is_injected, read_from=read_from, progress=tell)
    from simulator.live.dask_hosts import dask_hosts

    with dask_hosts(address) as (hosts, own_address):
        return run_live(
            scenario, is_injected=is_injected, hosts=hosts, address=own_address, read_from=read_from, progress=tell
        )


def _draw(found: Live, place: Path, scenario: Scenario) -> Drawn:
    from simulator.files import whole

    with status("Drawing"), whole(place / "plots") as partial:
        from simulator.plots.live import draw_live
        from simulator.plots.run import draw

        drawn = draw(found.results, partial, scenario)
        return drawn._replace(paths=[*drawn.paths, *draw_live(found, partial)])


def _say_verdict(found: Live, *, is_injected: bool) -> None:
    from simulator.live.verdict import sentence

    header = ("scheme", "live s", "replay s", "equal", "predicted s", "95 % of that", "difference")
    rows = [
        (
            row.scheme,
            f"{row.live_s:.4g}",
            f"{row.replay_s:.4g}",
            "yes" if row.replay_equal else "no",
            f"{row.predicted_s:.4g}",
            f"[{row.predicted_low_s:.4g}, {row.predicted_high_s:.4g}]",
            f"{100 * row.difference:+.1f} %",
        )
        for row in found.rows
    ]
    print_table(header, rows)
    calibration = found.calibration
    say(
        f"Measured with constant work: a response takes {1000 * calibration.latency_s:.2f} ms to arrive, a round has "
        f"{1000 * calibration.round_overhead_s:.2f} ms of overhead. Predictions use these and the straggler models."
    )
    say(sentence(found.rows))
    if not is_injected:
        say(
            "Without --inject, the scenario's straggler models did not slow the workers down, but the predictions use "
            "them. `stragglersim trace fit` fits models to the traces that were recorded."
        )
    for worker, n_times in sorted(found.n_replaced.items()):
        say(
            f"Worker {worker} ended and was replaced{f' {n_times} times' if n_times > 1 else ''}; its lists began again"
        )
    if found.n_refused:
        say(f"Messages that did not belong to this run, and were dropped: {found.n_refused}.")
    say("")
