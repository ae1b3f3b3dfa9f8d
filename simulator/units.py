"""One scheme in some trials of one point: which engine runs it, and what is said if it fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from schemes.codec import Valued
from simulator import vectorised
from simulator.engine import Collector, simulate
from simulator.errors import OUTSIDE, place_in, told
from simulator.metrics import Detail, RunRecord
from simulator.plugins import SCHEME_TABLE, is_shipped
from simulator.scenario import Scenario
from simulator.training import TrainingRecord
from simulator.waiting import SimulationError
from simulator.worker_times import ONCE, SpeedChanges, round_times, stream

Engine = Literal["auto", "vectorised", "events"]


def engine_for(scenario: Scenario, label: str, *, detail: Detail, engine: Engine) -> str:
    """The engine that computes a scheme's numbers if this one is asked for.

    Raises
    ------
    SimulationError
        If the vectorised one is asked for and can't.
    """
    if engine == "events":
        return "events"
    reason = vectorised.why_not(scenario, label, detail)
    if reason is not None and engine == "vectorised":
        raise SimulationError(f"schemes.{label}: needs --engine events (or auto): {reason}")
    return "vectorised" if reason is None else "events"


def run_unit(scenario: Scenario, label: str, trials: range, *, detail: Detail, engine: Engine) -> list[RunRecord]:
    """Run a block of trials of one scheme in a scenario without its sweep; a record for each.

    The numbers of a trial must not depend on which others are in its block.
    """
    if engine_for(scenario, label, detail=detail, engine=engine) == "vectorised":
        wrong = (SimulationError, ValueError) if is_shipped(scenario.schemes[label]) else (Exception,)
        with suppress(*wrong):  # events fail too, and say in which trial, round and worker
            return vectorised.run_block(scenario, label, trials)
    records = []
    for trial in trials:
        if scenario.training is None:
            record = RunRecord(scenario.workers, scenario.jobs, keeps_workers=detail == "workers")
            run_one(scenario, label, trial, record)
        else:
            with _telling(scenario, label, trial):
                record = TrainingRecord(
                    scenario.workers,
                    scenario.jobs,
                    keeps_workers=detail == "workers",
                    plan=scenario.training,
                    n_models=scenario.models or 1,
                    seed=scenario.seed,
                    trial=trial,
                )
            run_one(scenario, label, trial, record, record)
        records.append(record)
    return records


def run_one(
    scenario: Scenario, label: str, trial: int, collector: Collector, plane: TrainingRecord | None = None
) -> None:
    """Run one scheme in one trial of a scenario (without its sweep); with numbers, if there is a plane for them."""
    where = (scenario.stragglers, scenario.workers, scenario.seed, trial)
    scheme = scenario.scheme_to_run(label)
    if plane is not None:
        draws = stream(scenario.seed, trial, "codec", label)
        scheme = Valued(scheme.n_workers, scheme, plane.plan.messages, plane, draws)
    with _telling(scenario, label, trial):
        simulate(
            scheme,
            n_jobs=scenario.jobs,
            times=round_times(*where),
            speeds=SpeedChanges(*where),
            rule=scenario.rule_for(label),
            leftover=scenario.leftover,
            round_overhead_s=scenario.round_overhead_s,
            network=scenario.network,
            rng=stream(scenario.seed, ONCE, "scheme", label),
            collector=collector,
        )


@contextmanager
def _telling(scenario: Scenario, label: str, trial: int) -> Iterator[None]:
    """Say in which run something went wrong, and whether it was in something of the user's own."""
    where = f"schemes.{label}, trial {trial}"
    try:
        yield
    except SimulationError as error:
        raise SimulationError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        plugins: list[object] = [scenario.schemes[label], *scenario.stragglers.values()]
        plugins += [scenario.training.workload] if scenario.training is not None else []
        outside = {type(plugin).__module__.partition(".")[0] for plugin in plugins if not is_shipped(plugin)}
        place = place_in(error, OUTSIDE | outside)
        if isinstance(error, ValueError) and not place:
            raise SimulationError(f"{where}: {' '.join(str(error).split())}") from error
        if not OUTSIDE | outside:
            raise  # a fault of ours: its traceback is wanted
        raise SimulationError(f"{where}: {told(error, place)}") from error


def row_of(scenario: Scenario, label: str, trial: int, record: RunRecord, engine: str) -> dict[str, Any]:
    """What a row of the runs table says, besides where in the scenario the run stands."""
    with _telling(scenario, label, trial):
        return _columns(scenario, label, trial, record, engine)


def _columns(scenario: Scenario, label: str, trial: int, record: RunRecord, engine: str) -> dict[str, Any]:
    scheme, models = scenario.schemes[label], scenario.models
    is_approximate = any(job[6] == "approximate" for job in record.jobs)
    return {
        "kind": SCHEME_TABLE.kind_of(scheme),
        "trial": trial,
        "engine": engine,
        "n_workers": scenario.workers,
        "n_jobs": scenario.jobs,
        "delay_rounds": scheme.delay_rounds,
        "load": float(scheme.load),
        **record.figures(scheme.n_error_blocks if is_approximate else None),
        "load_bound": math.nan if scheme.load_bound is None else float(scheme.load_bound),
        # a model is updated once in so many jobs
        "seconds_per_update": math.nan if models is None else record.makespan_s * models / scenario.jobs,
    }
