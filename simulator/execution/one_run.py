"""One scheme in some trials of one point: which engine runs it, and what is said if it fails."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from schemes.base.valued import Valued
from simulator.choices import Detail, Engine
from simulator.columns import RunRow
from simulator.engine import vectorised
from simulator.engine.events import Collector, RunPlan, simulate
from simulator.engine.record import RunRecord
from simulator.engine.training import TrainingRecord
from simulator.engine.vectorised import BatchTimes
from simulator.engine.worker_times import ONCE, SpeedChanges, composed, round_times, stream
from simulator.errors import OUTSIDE, SimulationError, is_shipped, place_in, told
from simulator.plugins.kinds import SCHEME_TABLE
from simulator.scenario.scenario import Scenario
from straggler_models.base import SecondsModel


def run_unit(
    scenario: Scenario, label: str, trials: range, *, detail: Detail, engine: Engine
) -> tuple[list[RunRecord], str]:
    """Run a block of trials of one scheme in a scenario without its sweep; a record for each, and the engine that ran.

    The numbers of a trial must not depend on which others are in its block.

    Raises
    ------
    SimulationError
        If a run can't go on, or the vectorised engine is asked for and can't.
    """
    if engine != "events":
        reason = why_not(scenario, label, detail)
        if reason is None:
            wrong = (SimulationError, ValueError) if is_shipped(scenario.schemes[label]) else (Exception,)
            with suppress(*wrong):  # events fail too, and say in which trial, round and worker
                return run_block(scenario, label, trials), "vectorised"
        elif engine == "vectorised":
            raise SimulationError(f"schemes.{label}: needs --engine events (or auto): {reason}")
    return [_run_trial(scenario, label, trial, detail) for trial in trials], "events"


def why_not(scenario: Scenario, label: str, detail: Detail = "rounds") -> str | None:
    """Say why a scheme of a scenario needs events; None if it does not."""
    scheme = scenario.schemes[label]
    if scenario.training is not None:
        return "real gradients go with responses one by one"
    if detail == "workers":
        return "the table of workers is theirs"
    if any(isinstance(model, SecondsModel) for model in scenario.stragglers.values()):
        return "a straggler model lives in seconds"
    if scenario.leftover == "finish":
        return "workers finish what is left over"
    if not scenario.network.is_free:
        return "messages share a network"
    try:
        has_none = scheme.batch(1, 1) is None
    except Exception as error:
        if is_shipped(scheme):
            raise  # a fault of ours: its traceback is wanted
        place = place_in(error, {type(scheme).__module__.partition(".")[0]})
        return f"its array form can't be had: {told(error, place)}"
    return f"{type(scheme).__name__} has no array form" if has_none else None


def run_block(scenario: Scenario, label: str, trials: range) -> list[RunRecord]:
    """Run a scheme in some trials of a scenario (without its sweep) on arrays.

    Raises
    ------
    SimulationError
        If a completion time is negative, or nobody can answer any more and the rule has no timeout.
    """
    scheme = scenario.scheme_to_run(label)
    return vectorised.simulate_rows(
        scheme.batch(scenario.jobs, len(trials)),
        n_workers=scenario.workers,
        n_jobs=scenario.jobs,
        n_rounds=scenario.jobs + scheme.delay_rounds,
        times=drawn_times(scenario, trials, scenario.jobs + scheme.delay_rounds),
        rule=scenario.rule_for(label),
        round_overhead_s=scenario.round_overhead_s,
        gradient_bytes=scenario.network.gradient_bytes,
    )


def drawn_times(scenario: Scenario, trials: range, n_rounds: int) -> Iterator[BatchTimes]:
    """Worker times of the rounds of some trials, in blocks of rounds."""
    where = scenario.stragglers, scenario.workers, scenario.seed
    sources = [composed(*where, trial) for trial in trials]
    left = n_rounds
    while left:
        blocks = [next(source) for source in sources]  # equal models give blocks of equal lengths
        size = min(left, len(blocks[0][0]))
        yield BatchTimes(*(np.stack([block[field][:size] for block in blocks]) for field in range(3)))
        left -= size


def _run_trial(scenario: Scenario, label: str, trial: int, detail: Detail) -> RunRecord:
    """Run a scheme in one trial on events, with numbers if the scenario trains a model."""
    common = (scenario.workers, scenario.jobs, detail == "workers")
    if scenario.training is None:
        record = RunRecord(*common)
    else:
        n_models = scenario.models or 1
        with _telling(scenario, label, trial):
            record = TrainingRecord(*common, plan=scenario.training, n_models=n_models, seed=scenario.seed, trial=trial)
    run_one(scenario, label, trial, record)
    return record


def run_one(scenario: Scenario, label: str, trial: int, collector: Collector) -> None:
    """Run one scheme in one trial of a scenario (without its sweep); with numbers, if the collector has them."""
    where = (scenario.stragglers, scenario.workers, scenario.seed, trial)
    scheme = scenario.scheme_to_run(label)
    if isinstance(collector, TrainingRecord):
        draws = stream(scenario.seed, trial, "codec", label)
        scheme = Valued(scheme.n_workers, scheme, collector.plan.messages, collector, draws)
    with _telling(scenario, label, trial):
        plan = RunPlan(
            scheme=scheme,
            n_jobs=scenario.jobs,
            times=round_times(*where),
            speeds=SpeedChanges(*where),
            rule=scenario.rule_for(label),
            leftover=scenario.leftover,
            round_overhead_s=scenario.round_overhead_s,
            network=scenario.network,
            rng=stream(scenario.seed, ONCE, "scheme", label),
        )
        simulate(plan, collector)


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


def row_of(scenario: Scenario, label: str, trial: int, record: RunRecord, engine: str) -> RunRow:
    """A row of the runs table, without its place in the scenario."""
    with _telling(scenario, label, trial):
        scheme, models = scenario.schemes[label], scenario.models
        is_approximate = "approximate" in record.jobs.status
        return {
            "kind": SCHEME_TABLE.kind_of(scheme),
            "trial": trial,
            "engine": engine,
            "n_workers": scenario.workers,
            "n_jobs": scenario.jobs,
            "delay_rounds": scheme.delay_rounds,
            "load": float(scheme.load),
            **record.metrics(scheme.n_error_blocks if is_approximate else None),
            "load_bound": math.nan if scheme.load_bound is None else float(scheme.load_bound),
            # a model is updated once in so many jobs
            "seconds_per_update": math.nan if models is None else record.makespan_s * models / scenario.jobs,
        }
