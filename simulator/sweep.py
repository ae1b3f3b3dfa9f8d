"""Points x trials x schemes of a scenario, run one after another."""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from simulator.engine import Collector, simulate
from simulator.metrics import Detail, RunRecord
from simulator.plugins import SCHEME_TABLE, is_shipped
from simulator.results import JOB_COLUMNS, ROUND_COLUMNS, Results, frames
from simulator.scenario import Scenario
from simulator.waiting import SimulationError
from simulator.worker_times import ONCE, SpeedChanges, round_times, stream

if TYPE_CHECKING:
    import pandas as pd

Engine = Literal["events", "auto"]
Progress = Callable[[int, int], None]  # runs done, runs in all


def run(
    scenario: Scenario,
    *,
    engine: Engine = "events",
    detail: Detail = "rounds",
    progress: Progress | None = None,
) -> Results:
    """Run every scheme in every trial of every point.

    Parameters
    ----------
    scenario
        What to run.
    engine
        ``events``, the SimPy engine; ``auto``, the fastest that can run the scenario (at present, the same).
    detail
        The finest table to keep: ``runs``, ``rounds`` (with jobs) or ``workers``.
    progress
        Called after each run with the number of runs done and of all runs.

    Raises
    ------
    SimulationError
        If a run can't go on.
    """
    import pandas as pd

    began = time.time()
    keys: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    records: list[RunRecord] = []
    points = scenario.all_points()
    n_all = sum(at_point.trials * len(at_point.schemes) for _, at_point in points)
    for index, (values, at_point) in enumerate(points):
        for trial, label in itertools.product(range(at_point.trials), at_point.schemes):
            record = RunRecord(at_point.workers, at_point.jobs, keeps_workers=detail == "workers")
            run_one(at_point, label, trial, record)
            keys.append({"point": index, "scheme": label, "trial": trial})
            runs.append(_row(scenario.name, index, at_point, label, trial, record, values))
            if detail == "runs":
                record.rounds, record.jobs = [], []
            records.append(record)
            if progress is not None:
                progress(len(runs), n_all)
    table = pd.DataFrame(runs)
    for key in points[0][0]:
        table[key] = _one_type(table[key])
    results = Results(table, scenario=scenario.as_dict(), manifest=_manifest(scenario, began))
    if detail != "runs":
        results.rounds = frames(keys, [record.rounds for record in records], ROUND_COLUMNS)
        results.jobs = frames(keys, [sorted(record.jobs, key=_job) for record in records], JOB_COLUMNS)
    if detail == "workers":
        results.workers = pd.concat(map(_workers, keys, records), ignore_index=True)
    return results


def _one_type(values: pd.Series[Any]) -> pd.Series[Any]:
    """Swept values as a column: numbers (nothing is NaN), truth values or text; anything mixed becomes text."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float, type(None)}:
        return values if type(None) not in kinds else values.astype("float64")
    return values if kinds in ({bool}, {str}) else values.map(lambda value: "none" if value is None else str(value))


def _workers(key: dict[str, Any], record: RunRecord) -> pd.DataFrame:
    import pandas as pd

    columns = record.workers[0]
    return pd.DataFrame(key | {name: np.concatenate([block[name] for block in record.workers]) for name in columns})


def _job(row: tuple[Any, ...]) -> int:
    return int(row[0])


def run_one(scenario: Scenario, label: str, trial: int, collector: Collector) -> None:
    """Run one scheme in one trial of a scenario (without its sweep)."""
    where = (scenario.stragglers, scenario.workers, scenario.seed, trial)
    try:
        simulate(
            scenario.schemes[label],
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
    except (SimulationError, ValueError) as error:
        raise SimulationError(f"schemes.{label}, trial {trial}: {error}") from error
    except Exception as error:
        plugins = [scenario.schemes[label], *scenario.stragglers.values()]
        if all(is_shipped(plugin) for plugin in plugins):
            raise  # a fault of ours: its traceback is wanted
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise SimulationError(f"schemes.{label}, trial {trial}: a plug-in raised {reason}") from error


def _row(
    name: str,
    point: int,
    scenario: Scenario,
    label: str,
    trial: int,
    record: RunRecord,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """A row of the runs table."""
    scheme = scenario.schemes[label]
    is_approximate = any(job[6] == "approximate" for job in record.jobs)
    row = {
        "scenario": name,
        "point": point,
        "scheme": label,
        "kind": SCHEME_TABLE.kind_of(scheme),
        "trial": trial,
        "engine": "events",
        "n_workers": scenario.workers,
        "n_jobs": scenario.jobs,
        "delay_rounds": scheme.delay_rounds,
        "load": scheme.load,
        **record.figures(scheme.n_error_blocks if is_approximate else None),
    }
    if scenario.models is not None:  # a model is updated once in so many jobs
        row["seconds_per_update"] = record.makespan_s * scenario.models / scenario.jobs
    return row | dict(values)


def _manifest(scenario: Scenario, began: float) -> dict[str, Any]:
    packages = ("stragglersim", "numpy", "simpy", "pandas", "pyarrow")
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "engine": "events",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began, 3),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
