"""The search for parameters: how long it takes, and whether it gives the events engine's numbers.

`python benchmarks/tuning.py TRACE...`: the first trace is searched over the grid of the first paper (n = 256:
96 001 settings, 80 jobs), and over parts of it; then 500 random settings, shared out among all traces, are run
again on events: makespans must agree to 1e-9, and numbers of waits exactly.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import stragglersim
from simulator.engine.master_rules import MasterRule, MuRule
from simulator.tuning.evaluate import evaluate
from simulator.tuning.legal_settings import Group, published_grid
from simulator.tuning.search import Search, rules_of
from simulator.tuning.trace import AdjustedTrace
from straggler_models import Trace
from straggler_models.base import WorkerTimes

SLOPE = 1.1217530061354144
N_CHECKED = 500


def timed(times: WorkerTimes, n_workers: int, n_jobs: int, groups: Sequence[Group], rule: MasterRule) -> str:
    """Seconds of a search, in words."""
    began = time.perf_counter()
    settings = evaluate(times, n_workers, n_jobs, groups, [rule])
    seconds = time.perf_counter() - began
    return f"{len(settings):6d} settings, {n_jobs:3d} jobs, {n_workers:4d} workers, {rule.name}: {seconds:5.2f} s"


def first_workers(times: WorkerTimes, n_workers: int) -> WorkerTimes:
    """The same rounds on fewer workers."""
    assert isinstance(times.startup_s, np.ndarray)
    return WorkerTimes(times.startup_s[:, :n_workers], times.seconds_per_load)


def measure(path: Path) -> None:
    """Print how the time grows."""
    times, n_workers = AdjustedTrace(path, 0.0, SLOPE).times()
    grid = published_grid(n_workers, "published")
    for wait_for in ("all", "enough"):
        rule = MuRule(mu=1.0, wait_for="all" if wait_for == "all" else "enough")
        print(timed(times, n_workers, 80, grid, rule), flush=True)
        peak = [resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(f"peak memory: {peak[0]:.2f} GiB in this process, at most {peak[1]:.2f} GiB in each other")
        for n_jobs in (20, 40, 160):
            print(timed(times, n_workers, n_jobs, grid, rule), flush=True)
        for n_fewer in (64, 128):
            fewer = first_workers(times, n_fewer)
            print(timed(fewer, n_fewer, 80, published_grid(n_fewer, "published"), rule), flush=True)
        thinner = [group._replace(values=group.values[::8]) for group in grid]
        print(timed(times, n_workers, 80, thinner, rule), flush=True)


def check(path: Path, n_settings: int, rng: np.random.Generator) -> float:
    """Run random settings again on events; the largest relative difference of a makespan."""
    trace = AdjustedTrace(path, 0.0, SLOPE)
    times, n_workers = trace.times()
    rules = rules_of(("first_enough", "mu_rule"), (0.1, 1.0), ("all", "enough"))
    groups = [
        *Search(rules=rules, max_delay=3).groups(n_workers),
        *published_grid(n_workers, "published"),
    ]
    groups = [groups[place] for place in rng.choice(len(groups), n_settings)]
    model = {"it": Trace(path=str(path), wrap="cycle", base_load=0.0, seconds_per_load=SLOPE)}
    worst = 0.0
    for group in groups:
        value = int(rng.choice(group.values))
        rule = rules[rng.integers(len(rules))]
        [row] = evaluate(times, n_workers, 80, [group._replace(values=(value,))], [rule]).to_dict("records")
        schemes = {"it": group.scheme(value)}
        scenario = stragglersim.Scenario(workers=n_workers, jobs=80, stragglers=model, schemes=schemes, master=rule)
        run = stragglersim.run(scenario, engine="events", detail="runs").runs.iloc[0]
        assert run["waited_rounds"] == row["waited_rounds"], row
        assert run["decode_failures"] == 0, row
        worst = max(worst, abs(run["makespan_s"] / row["makespan_s"] - 1))
    return worst


def main() -> None:
    """Measure on the first trace, check on all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path, nargs="+")
    traces = parser.parse_args().traces
    measure(traces[0])
    rng = np.random.default_rng(1)
    for path in traces:
        n_settings = -(-N_CHECKED // len(traces))
        print(f"{path.stem}: {n_settings} settings on events, makespans within {check(path, n_settings, rng):.1e}")


if __name__ == "__main__":
    main()
