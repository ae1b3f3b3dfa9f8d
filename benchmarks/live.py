"""Is the simulator true to real processes? Schemes, rules, sizes and stragglers, measured and predicted.

    python benchmarks/live.py results/live          # about 12 minutes; --quick for one of each

Workers are slowed down by the very times that are simulated (`--inject`); the predictions know them and what a
calibration with constant work has measured, nothing else. Prints a table as docs/explanation/validation.md has it.
"""

import argparse
import os
import platform
from pathlib import Path

import pandas as pd

from simulator.live.run import live
from simulator.live.verdict import table
from stragglersim import Scenario

STRAGGLERS = {
    "noise": {
        "usual": {"kind": "constant", "startup_s": 0.1, "seconds_per_load": 0.8},
        "noise": {"kind": "shifted_exponential", "shift": 0.0, "mean": 0.05, "adds_to": "startup_s"},
    },
    "bursts": {
        "usual": {"kind": "constant", "startup_s": 0.15, "seconds_per_load": 0.8},
        "bursts": {"kind": "gilbert_elliott", "p_slow": 0.05, "p_recover": 0.5, "slowdown": 3.0},
        "noise": {"kind": "shifted_exponential", "shift": 0.0, "mean": 0.02, "adds_to": "startup_s"},
    },
    "spells": {
        "usual": {"kind": "constant", "startup_s": 0.15, "seconds_per_load": 0.8},
        "spells": {"kind": "markov_speed", "states": [{"slowdown": 1, "mean_s": 5.0}, {"slowdown": 4, "mean_s": 0.5}]},
        "noise": {"kind": "lognormal", "median": 0.03, "sigma": 0.6, "adds_to": "startup_s"},
    },
}
RULES = {
    "first_enough": {"kind": "first_enough"},
    "fixed_time": {"kind": "fixed_time", "time_s": 0.4, "wait_for": "enough"},
    "mu_rule": {"kind": "mu_rule", "mu": 0.5, "wait_for": "enough"},
}
JOBS = 20


def schemes(n_workers):
    s = n_workers // 8 - 1 or 1
    return {
        "uncoded": {"kind": "uncoded"},
        "GC": {"kind": "gradient_coding", "s": s},
        "GC-Rep": {"kind": "fractional_repetition", "s": s},
        "SR-SGC": {"kind": "selective_repeat", "B": 1, "W": 2, "lam": 2 * s},
        "M-SGC": {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2 * s},
        "partial": {
            "kind": "partial_gradient_coding",
            "assignment": {"kind": "cyclic", "chunks_per_worker": 2 * s},
        },
    }


def measured(n_workers, rule, stragglers, jobs, seed):
    scenario = Scenario(
        name="live",
        seed=seed,
        workers=n_workers,
        jobs=jobs,
        models=2,
        stragglers=STRAGGLERS[stragglers],
        master=RULES[rule],
        schemes=schemes(n_workers),
    )
    found = live(scenario, is_injected=True)
    rows = table(found.rows)
    rows.insert(0, "stragglers", stragglers)
    rows.insert(0, "rule", rule)
    rows.insert(0, "workers", n_workers)
    rows["latency_ms"] = 1000 * found.calibration.latency_s
    rows["overhead_ms"] = 1000 * found.calibration.round_overhead_s
    return rows


def judged(cells):
    off = 100 * cells["difference"].abs()
    inside = cells["live_s"].between(cells["predicted_low_s"], cells["predicted_high_s"])
    return (
        f"{len(cells)} cells: replay equal in {cells['replay_equal'].mean():.0%}, off by {off.mean():.2f} % in the "
        f"mean, {off.max():.2f} % at most, within 5 % in {(off <= 5).mean():.0%}, inside the range in "
        f"{inside.mean():.0%}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="few rounds of one straggler model")
    given = parser.parse_args()
    kinds, jobs = (["bursts"], 6) if given.quick else (list(STRAGGLERS), JOBS)
    given.out.mkdir(parents=True, exist_ok=True)
    cells = []
    for n_workers in (16, 64):
        for stragglers in kinds:
            for rule in RULES:
                cells.append(measured(n_workers, rule, stragglers, jobs, 20 + len(cells)))
                print(cells[-1].drop(columns=["replay_s"]).round(3).to_string(index=False), flush=True)
    cells = pd.concat(cells, ignore_index=True)
    cells.to_csv(given.out / "live.csv", index=False)
    is_wanted = (cells["scheme"] != "partial") & (cells["rule"] != "mu_rule")
    print(f"\n{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"uncoded, GC, GC-Rep, SR-SGC, M-SGC under first_enough and fixed_time: {judged(cells[is_wanted])}")
    for what, some in (("partial", cells["scheme"] == "partial"), ("mu_rule", cells["rule"] == "mu_rule")):
        print(f"{what}: {judged(cells[some])}")
    wide = cells.assign(percent=100 * cells["difference"]).pivot_table(
        index=["workers", "stragglers", "rule"], columns="scheme", values="percent", sort=False
    )
    names = [*wide.index.names, *wide.columns]
    print(f"| {' | '.join(names)} |\n{'| --- ' * len(names)}|")
    for where, row in wide.iterrows():
        print(f"| {' | '.join([*map(str, where), *(f'{value:+.1f}' for value in row)])} |")


if __name__ == "__main__":
    main()
