"""All schemes of a scenario on real workers, one after another, with what the simulator says of each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemes import Adaptive, Ideal
from schemes.base.task_codec import codec_of
from simulator.engine.figures import Runs
from simulator.engine.streams import stream
from simulator.engine.training import Training
from simulator.errors import LiveError
from simulator.execution.assemble import Place, arranged
from simulator.execution.one_run import facts_of, plan_of, telling
from simulator.execution.store import Parts, Unit, encode, table_of
from simulator.live.calibration import Calibration, calibrate
from simulator.live.hub import Host, Hub
from simulator.live.master import LiveRun, run_live
from simulator.live.replay import differences, replay
from simulator.live.values import LiveRecord
from simulator.live.verdict import Row, predictions
from simulator.plugins.kinds import SCHEME_TABLE, WORKLOAD_TABLE, as_values
from simulator.results.account import origin
from simulator.results.results import Results
from simulator.scenario.plain import plain
from simulator.scenario.scenario import Scenario
from workloads import LeastSquares

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]  # what is run, rounds done, rounds in all
DEFAULT_ROWS = 4096
DEFAULT_DIMENSION = 64


@dataclass(frozen=True)
class Live:
    """A scenario on real workers."""

    results: Results
    arrivals: pd.DataFrame  # scheme, round, worker, report, heard_s
    traces: Mapping[str, pd.DataFrame]  # own work in the native form, by scheme
    rows: Sequence[Row]
    calibration: Calibration
    differences: Mapping[str, Sequence[str]]  # of the replay, by scheme
    n_refused: int  # messages that came, and were none of this run's
    n_replaced: Mapping[int, int]  # processes that ended and were replaced, by worker


def live(
    scenario: Scenario,
    *,
    is_injected: bool = False,
    hosts: Sequence[Host] = (),
    address: str = "127.0.0.1",
    read_from: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Live:
    """Run every scheme of a scenario once on real workers: trial 0.

    Parameters
    ----------
    scenario
        What to run. Without ``training``, workers compute gradients of a least-squares problem.
    is_injected
        Whether the scenario's straggler models slow the workers down: they wait until the instants that are drawn.
    hosts, address
        Where workers run, and how they reach this process; by default, they are processes of this machine.
    read_from
        Checksums of the files that were read.
    progress
        Is told of rounds.

    Raises
    ------
    LiveError
        If there are no workers, if they do not answer and the rule would wait for ever, or if a scheme can't be run.
    """
    if scenario.sweep:
        said = "must be none for a live run, which runs one point, got one (--set sweep={} leaves it out)"
        raise LiveError(f"sweep: {said}")
    delaying = [label for label, model in scenario.stragglers.items() if model.lives_in in ("messages", "gradients")]
    if is_injected and delaying:
        said = "must not delay messages with --inject, because real messages take their own time"
        raise LiveError(f"stragglers.{delaying[0]}: {said} (leave it out)")
    leaving = next((label for label, model in scenario.stragglers.items() if model.lives_in == "absences"), None)
    if leaving is not None and is_injected:
        raise LiveError(f"stragglers.{leaving}: must be left out of a live run, whose workers stay, got one (--set)")
    for label, scheme in scenario.schemes.items():
        if isinstance(scheme, Ideal | Adaptive):
            why = "divides work in hindsight" if isinstance(scheme, Ideal) else "chooses among several"
            kind = SCHEME_TABLE.kind_of(scheme)
            raise LiveError(
                f"schemes.{label}: must be one that real workers can run, got {kind}, which {why} (leave it out)"
            )
    began, (scenario, training) = time.time(), trained(scenario)
    runs: dict[str, LiveRun] = {}
    workload = as_values(training.workload, WORKLOAD_TABLE)
    with Hub(scenario.workers, workload, Path.cwd(), hosts, address) as hub:
        if progress is not None:
            progress("calibration", 0, 1)
        calibration = calibrate(hub, scenario, training)
        for label in scenario.schemes:
            runs[label] = _run_scheme(hub, scenario, label, training, progress, is_injected=is_injected)
    predicted = predictions(scenario, calibration, is_injected=is_injected)
    rows, unequal = [], {}
    for label, run in runs.items():
        with telling(scenario, label, 0):
            replayed = replay(plan_of(scenario, label, 0), run)
        unequal[label] = differences(run.record, replayed)
        rows.append(Row(label, run.record.makespan_s, replayed.makespan_s, not unequal[label], *predicted[label]))
    results = _results(scenario, runs)
    results.manifest = {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "engine": "live",
        "injected": is_injected,
        "latency_s": calibration.latency_s,
        "round_overhead_s": calibration.round_overhead_s,
        "workers_replaced": dict(hub.n_replaced),
        **origin(read_from or {}, began),
    }
    traces = {label: _trace(run) for label, run in runs.items()}
    return Live(results, _arrivals(runs), traces, rows, calibration, unequal, hub.n_refused, hub.n_replaced)


def trained(scenario: Scenario) -> tuple[Scenario, Training]:
    """A scenario that says what workers compute: what it trains, or a least-squares problem with T + 1 models."""
    if scenario.training is not None:
        return scenario, scenario.training
    training = Training(workload=LeastSquares(rows=DEFAULT_ROWS, dimension=DEFAULT_DIMENSION), learning_rate=0.1)
    delay = max(scheme.delay_rounds for scheme in scenario.schemes.values())
    models = scenario.models or (delay + 1 if delay else None)
    return dataclasses.replace(scenario, training=training, models=models), training


def _run_scheme(
    hub: Hub, scenario: Scenario, label: str, training: Training, progress: Progress | None, *, is_injected: bool
) -> LiveRun:
    from threadpoolctl import threadpool_limits

    with telling(scenario, label, 0), threadpool_limits(limits=1):
        plan = plan_of(scenario, label, 0)
        record = LiveRecord(
            scenario.workers,
            scenario.jobs,
            keeps_workers=True,
            plan=training,
            n_models=scenario.models or 1,
            seed=scenario.seed,
            trial=0,
            codec=codec_of(plan.scheme, training.messages, stream(scenario.seed, 0, "codec", label)),
        )
        tell = None if progress is None else lambda done, in_all: progress(label, done, in_all)
        return run_live(plan, hub, record, is_injected=is_injected, progress=tell)


def _results(scenario: Scenario, runs: Mapping[str, LiveRun]) -> Results:
    """The tables, as a run of the simulator has them."""
    import pyarrow as pa

    parts, blocks = Parts(), []
    for order, (label, run) in enumerate(runs.items()):
        scheme, record = scenario.schemes[label], run.record
        is_approximate = "approximate" in record.jobs.status
        facts = facts_of(scenario, label)
        models = facts.pop("models")
        columns: dict[str, Any] = {name: [value] for name, value in facts.items()}
        metrics = record.metrics(scheme.n_error_blocks if is_approximate else None)
        columns |= {name: np.array([value]) for name, value in metrics.items()}
        columns |= {"trial": np.array([0]), "engine": ["live"]}
        columns["seconds_per_update"] = columns["makespan_s"] * models / scenario.jobs
        table = table_of(columns, Runs.of([record]), [record], "workers")
        unit = Unit(0, label, range(1), label)
        parts.add(encode([unit], [table]))
        blocks.append((Place(0, label, order, label), range(1)))
    pieces = list(arranged(parts, blocks, {"scenario": scenario.name}, {}))
    frames = {name: pa.concat_tables([piece[name] for piece in pieces]).to_pandas() for name in pieces[0]}
    if scenario.models is None:
        frames["runs"] = frames["runs"].drop(columns="seconds_per_update")
    return Results(**frames, scenario=plain(scenario))


def _arrivals(runs: Mapping[str, LiveRun]) -> pd.DataFrame:
    """When the master heard each report, in seconds after the start of the round whose it is."""
    import pandas as pd

    rows = [
        (label, one.of_round, one.worker, one.report, one.heard_s - run.rounds[one.of_round].start_s)
        for label, run in runs.items()
        for one in run.arrivals
    ]
    return pd.DataFrame(rows, columns=["scheme", "round", "worker", "report", "heard_s"])


def _trace(run: LiveRun) -> pd.DataFrame:
    """Own work of each worker in each round in which all had some: a bound, where the list was cancelled.

    Rounds are left out in which somebody's list goes on and has no end.
    """
    import pandas as pd

    pieces: list[pd.DataFrame] = []
    for closed in run.rounds:
        if not closed.work.busy.all():
            continue
        each = np.arange(len(closed.work.busy))
        own_s = closed.finish_s[each, closed.work.last_report].copy()
        for worker in np.flatnonzero(~np.isfinite(own_s)).tolist():
            own_s[worker] = run.late_s.get((closed.index, worker), np.inf)
        censored = ~np.isfinite(own_s)
        if censored.any() and not closed.is_cut_off:  # lists that waited for older ones: nothing is known of them
            continue
        pieces.append(
            pd.DataFrame(
                {
                    "round": len(pieces),
                    "worker": each,
                    "duration_s": np.where(censored, closed.stop_s, own_s),
                    "censored": censored,
                }
            )
        )
    columns = ["round", "worker", "duration_s", "censored"]
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=columns)
