"""Arrays against events where runs go side by side: `python benchmarks/many_rows.py [CASE...] [--trace TRACE]`.

CPU time of `stragglersim.run`, points and tables included: the best of several goes on arrays, one on events, or one
on a part of its trials that is scaled up. The cases are M-SGC (1, 2, lam), n = 256, 80 jobs, one trial of each of 100
points; 100 trials with times drawn, tables or rounds only (the engines alone, on times that were drawn before); a
single run; and the shipped scenario partial-approximate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import stragglersim
from simulator.choices import Detail, Engine
from simulator.engine.events import RunPlan, simulate
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import Draws, Source, round_times
from simulator.scenario.yaml_text import write_yaml
from simulator.tuning.evaluate import on_arrays

HERE = Path(__file__).resolve().parent
TRACE = HERE.parents[1] / "shared/traces/aws-lambda/cnn-b2048-canada-load0.000-n30.parquet"
SHIPPED = HERE.parent / "scenarios/partial-approximate.yaml"
DRAWN = {
    "usual": {"kind": "shifted_exponential", "shift": 1.0, "mean": 0.2, "adds_to": "startup_s"},
    "bursts": {"kind": "gilbert_elliott", "p_slow": 0.05, "p_recover": 0.5, "slowdown": 4.0},
}
BERNOULLI = {
    "usual": {"kind": "constant", "startup_s": 1.0, "seconds_per_load": 5.0},
    "slow": {"kind": "bernoulli", "p": 0.05, "slowdown": 4.0},
}
M_SGC = {"kind": "multiplexed", "B": 1, "W": 2, "lam": 27}
SETTINGS = {
    "M-SGC (1, 2, 27)": M_SGC,
    "M-SGC (2, 3, 27)": M_SGC | {"B": 2, "W": 3},
    "SR-SGC (1, 2, 23)": {"kind": "selective_repeat", "B": 1, "W": 2, "lam": 23},
    "SR-SGC (2, 3, 23)": {"kind": "selective_repeat", "B": 2, "W": 3, "lam": 23},
}


class Case(NamedTuple):
    """Something to run on both engines."""

    scenario: dict[str, object] | Path
    detail: Detail | None = "runs"  # None: rounds only
    on_events: int | None = None  # how many trials; None: all
    goes: int = 5  # on arrays


def cases(trace: Path) -> Iterator[tuple[str, Case]]:
    """All cases, by name."""

    def case(models: object, scheme: object = M_SGC, trials: int = 1, sweep: object = None) -> dict[str, object]:
        common = {"name": "rows", "seed": 3, "workers": 256, "jobs": 80, "master": {"kind": "mu_rule", "mu": 1.0}}
        swept = {} if sweep is None else {"sweep": sweep}
        return common | {"stragglers": models, "schemes": {"it": scheme}, "trials": trials} | swept

    measured = {"kind": "trace", "path": str(trace), "wrap": "cycle", "base_load": 0.0, "seconds_per_load": 1.121753}
    times = {"replayed": {"lambda": measured}} if trace.exists() else {}
    for how, models in (times | {"drawn": DRAWN}).items():
        yield f"100 lam, {how}", Case(case(models, sweep={"schemes.it.lam": list(range(1, 101))}))
        mus = [round(0.2 + 0.02 * i, 2) for i in range(100)]
        yield f"100 mu, {how}", Case(case(models, sweep={"master.mu": mus}))
    ps = [round(0.001 + 0.001 * i, 3) for i in range(100)]
    yield "100 p, drawn", Case(case(BERNOULLI, sweep={"stragglers.slow.p": ps}))
    for name, scheme in SETTINGS.items():
        for detail in ("runs", "rounds", None):
            said = f"{detail or 'rounds only'}, 100 trials, {name}"
            yield said, Case(case(DRAWN, scheme, trials=100), detail, on_events=20)
    for how, models in (times | {"drawn": DRAWN}).items():
        yield f"one run, {how}", Case(case(models), goes=15)
    yield "partial-approximate", Case(SHIPPED, on_events=20, goes=1)


def loaded(scenario: dict[str, object] | Path, overrides: Sequence[str] = ()) -> stragglersim.Scenario:
    """A scenario from a file or from what one would hold."""
    if isinstance(scenario, Path):
        return stragglersim.load(scenario, overrides)
    with tempfile.TemporaryDirectory() as place:
        write_yaml(scenario, Path(place) / "scenario.yaml")
        return stragglersim.load(Path(place) / "scenario.yaml", overrides)


def whole(scenario: stragglersim.Scenario, engine: Engine, detail: Detail) -> tuple[Callable[[], object], int]:
    """A call that runs a scenario, and how many runs that is."""
    n_runs = sum(point.trials * len(point.schemes) for _, point in scenario.all_points())
    return lambda: stragglersim.run(scenario, engine=engine, detail=detail), n_runs


def rounds_only(scenario: stragglersim.Scenario, engine: Engine) -> tuple[Callable[[], object], int]:
    """The same of one scheme, but times are drawn before, and nothing comes after the last round."""
    [scheme], rule, n_jobs, trials = scenario.schemes.values(), scenario.master, scenario.jobs, range(scenario.trials)
    where, n_rounds = (scenario.stragglers, scenario.workers, scenario.seed), n_jobs + scheme.delay_rounds
    if engine == "vectorised":
        sources = [Source(scenario.stragglers, scenario.seed, trial) for trial in trials]
        times = Draws(sources, scenario.workers).take(n_rounds)
        return lambda: on_arrays([scheme] * len(trials), times, n_jobs, rule), len(trials)
    drawn = [list(round_times(*where, trial, n_rounds)) for trial in trials]

    def on_events() -> None:
        for times in drawn:
            rng = np.random.default_rng(0)
            plan = RunPlan(scheme, n_jobs, iter(times), None, rule, "cancel", 0.0, Network(), rng)
            simulate(plan, RunRecord(scenario.workers, n_jobs))

    return on_events, len(trials)


def cpu_s(case: Case, engine: Engine) -> tuple[float, int]:
    """The least CPU time of a run in some goes, in seconds, and how many runs there are in a go."""
    is_part = engine == "events" and case.on_events is not None
    scenario = loaded(case.scenario, [f"trials={case.on_events}"] if is_part else [])
    if case.detail is None:
        call, n_runs = rounds_only(scenario, engine)
    else:
        call, n_runs = whole(scenario, engine, case.detail)
    seconds = []
    for _ in range(1 if engine == "events" and n_runs > 1 else case.goes):
        began_s = time.process_time()
        call()
        seconds.append(time.process_time() - began_s)
    return min(seconds) / n_runs, n_runs


def main() -> None:
    """Print a row for each case whose name has one of the words in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", help="part of the names of cases; without any: all")
    parser.add_argument("--trace", type=Path, default=TRACE, help="what is replayed")
    chosen = parser.parse_args()
    if not chosen.trace.exists():
        print(f"{chosen.trace} is not there: nothing is replayed")
    print(f"{'CPU time':42} {'runs':>7} {'events':>13} {'arrays':>13} {'ratio':>7}  events ran")
    for name, case in cases(chosen.trace):
        if chosen.case and not any(word in name for word in chosen.case):
            continue
        (arrays_s, n_runs), (events_s, n_part) = cpu_s(case, "vectorised"), cpu_s(case, "events")
        shown = " ".join(f"{1e3 * seconds:7.3f} ms/run" for seconds in (events_s, arrays_s))
        print(f"{name:42} {n_runs:7d} {shown} {events_s / arrays_s:7.1f}  {n_part}", flush=True)


if __name__ == "__main__":
    main()
