"""One scheme in some trials of one point on events, and what is said if it fails."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schemes.base.task_codec import codec_of
from schemes.base.valued import ValuedSession
from simulator.choices import Detail
from simulator.engine.events import Collector, RunPlan, simulate
from simulator.engine.presence import Presence
from simulator.engine.record import RunRecord
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.streams import ONCE, stream
from simulator.engine.training import TrainingRecord
from simulator.engine.worker_times import round_times
from simulator.errors import OUTSIDE, SimulationError, is_shipped, place_in, told
from simulator.plugins.identity import parts
from simulator.plugins.kinds import SCHEME_TABLE
from simulator.scenario.scenario import Scenario


def run_unit(scenario: Scenario, label: str, trials: range, detail: Detail) -> list[RunRecord]:
    """Run a block of trials of one scheme in a scenario (without its sweep) on events; a record for each.

    Raises
    ------
    SimulationError
        If a run can't go on.
    """
    return [_run_trial(scenario, label, trial, detail) for trial in trials]


def _run_trial(scenario: Scenario, label: str, trial: int, detail: Detail) -> RunRecord:
    """Run a scheme in one trial on events, with numbers if the scenario trains a model."""
    common = (scenario.workers, scenario.jobs, detail == "workers")
    if scenario.training is None:
        record = RunRecord(*common)
    else:
        n_models = scenario.models or 1
        with telling(scenario, label, trial):
            record = TrainingRecord(*common, plan=scenario.training, n_models=n_models, seed=scenario.seed, trial=trial)
    run_one(scenario, label, trial, record)
    return record


def run_one(scenario: Scenario, label: str, trial: int, collector: Collector) -> None:
    """Run one scheme in one trial of a scenario (without its sweep); with numbers, if the collector has them."""
    with telling(scenario, label, trial):
        plan = plan_of(scenario, label, trial)
        session = plan.scheme.start(plan.n_jobs, plan.rng)
        if isinstance(collector, TrainingRecord):
            codec = codec_of(plan.scheme, collector.plan.messages, stream(scenario.seed, trial, "codec", label))
            session = ValuedSession(session, codec, collector)
        simulate(plan, collector, session)


def plan_of(scenario: Scenario, label: str, trial: int) -> RunPlan:
    """All that a run of a scheme in one trial of a scenario depends on."""
    where = (scenario.stragglers, scenario.workers, scenario.seed, trial)
    scheme = scenario.scheme_to_run(label)
    n_rounds = scenario.jobs + scheme.delay_rounds
    return RunPlan(
        scheme=scheme,
        n_jobs=scenario.jobs,
        times=round_times(*where, n_rounds),
        again=lambda k: round_times(*where, n_rounds, again=k),
        speeds=SpeedChanges(*where),
        presence=Presence(*where),
        rule=scenario.rule_for(label),
        leftover=scenario.leftover,
        round_overhead_s=scenario.round_overhead_s,
        action_overhead_s=scenario.action_overhead_s,
        network=scenario.network,
        rng=stream(scenario.seed, ONCE, "scheme", label),
    )


@contextmanager
def telling(scenario: Scenario, label: str, trial: int) -> Iterator[None]:
    """Say in which run something went wrong, and whether it was in something of the user's own."""
    where = f"schemes.{label}, trial {trial}"
    try:
        yield
    except SimulationError as error:
        raise SimulationError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        outside = {type(plugin).__module__.partition(".")[0] for plugin in plugins_from_outside(scenario, label)}
        place = place_in(error, OUTSIDE | outside)
        if isinstance(error, ValueError) and not place:
            raise SimulationError(f"{where}: {' '.join(str(error).split())}") from error
        if not OUTSIDE | outside:
            raise  # a fault of ours: its traceback is wanted
        raise SimulationError(f"{where}: {told(error, place)}") from error


def plugins_from_outside(scenario: Scenario, label: str) -> list[object]:
    """All that a run of a scheme uses and does not come with the simulator."""
    plugins: list[object] = [scenario.schemes[label], scenario.rule_for(label), *scenario.stragglers.values()]
    plugins += [scenario.training.workload] if scenario.training is not None else []
    return [part for plugin in plugins for part in parts(plugin) if not is_shipped(part)]


def facts_of(scenario: Scenario, label: str) -> dict[str, Any]:
    """Columns of the runs table that are the same in all trials of a setting."""
    scheme = scenario.schemes[label]
    bound = scheme.load_bound
    return {
        "kind": SCHEME_TABLE.kind_of(scheme),
        "n_workers": scenario.workers,
        "n_jobs": scenario.jobs,
        "delay_rounds": scheme.delay_rounds,
        "load": float(scheme.load),
        "mean_load": float(scheme.mean_load),
        "load_bound": math.nan if bound is None else float(bound),
        "models": math.nan if scenario.models is None else float(scenario.models),
    }
