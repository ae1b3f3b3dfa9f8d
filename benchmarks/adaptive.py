"""Choice on line against the best fixed one: `python benchmarks/adaptive.py TRACES` (a folder of traces at load 0).

Six kinds of seeded synthetic clusters, those of `benchmarks/advice.py`, and each measured file, over and over.
All schemes meet the same times; regret is against the best of the fixed ones on these very times, in hindsight.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from advice import KINDS, cluster

import stragglersim
from stragglersim import Scenario

N_JOBS, LAMBDA_JOBS = 400, 80
SECONDS_PER_LOAD = 1.121753  # of the measured files, as in the first paper's comparison
RULES = {"first_enough": {"kind": "first_enough"}, "mu 1, all": {"kind": "mu_rule", "mu": 1.0, "wait_for": "all"}}


def settings(n_workers: int) -> dict[str, dict[str, Any]]:
    """What there is to choose from."""
    tolerated = [s for s in (1, 2, 3, 5, 7, 15, 31) if s <= n_workers // 4]
    codes = {f"GC {s}": {"kind": "gradient_coding", "s": s} for s in tolerated}
    groups = {f"GC-Rep {s}": {"kind": "fractional_repetition", "s": s} for s in tolerated if n_workers % (s + 1) == 0}
    # the safest first
    return {**dict(reversed(groups.items())), **dict(reversed(codes.items())), "uncoded": {"kind": "uncoded"}}


def regrets(times: dict[str, Any], n_workers: int, n_jobs: int, rule: str, per_load_s: float) -> dict[str, Any]:
    """Run all of them, and the choice among them."""
    of = settings(n_workers)
    uncoded_first = {"uncoded": of["uncoded"], **of}
    schemes = {
        **of,
        "adaptive": {"kind": "adaptive", "of": of},
        "never tries": {"kind": "adaptive", "of": of, "explore": 0.0},
        "load known": {"kind": "adaptive", "of": of, "seconds_per_load": per_load_s},
        "once": {
            "kind": "adaptive",
            "of": uncoded_first,
            "window": n_jobs // 10,
            "once": True,
            "seconds_per_load": per_load_s,
        },
    }
    scenario = Scenario(
        name="adaptive",
        workers=n_workers,
        jobs=n_jobs,
        stragglers={"times": times},
        master=RULES[rule],
        schemes=schemes,
    )
    table = stragglersim.run(scenario).compare().set_index("scheme")
    found = {
        label: table.loc[label, "regret_percent"]
        for label in ("adaptive", "never tries", "load known", "once", "uncoded")
    }
    return found | {"best": table.loc[list(of), "mean"].idxmin()}


def synthetic(kind: str, seed: int, folder: Path) -> tuple[dict[str, Any], int, float]:
    """Times of a cluster of a kind, its number of workers, and what load costs."""
    of = cluster(kind, np.random.default_rng([seed, KINDS.index(kind)]))
    slowdown = of.slowdown(N_JOBS, seed)
    slowdown[of.onset :] *= of.slow
    rounds, workers = np.divmod(np.arange(slowdown.size), of.n_workers)
    path = folder / f"{KINDS.index(kind)}-{seed}.parquet"
    columns = {"startup_s": of.startup_s, "seconds_per_load": of.seconds_per_load, "slowdown": slowdown.ravel()}
    pd.DataFrame({"round": rounds, "worker": workers, **columns}).to_parquet(path)
    return {"kind": "trace", "path": str(path)}, of.n_workers, of.seconds_per_load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=Path)
    parser.add_argument("--seeds", type=int, default=10, help="clusters of each kind")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rule in RULES:
            for kind in KINDS:
                for seed in range(given.seeds):
                    times, n_workers, per_load_s = synthetic(kind, seed, Path(folder))
                    rows.append({"times": kind, "rule": rule, **regrets(times, n_workers, N_JOBS, rule, per_load_s)})
                print(
                    pd.DataFrame(rows[-given.seeds :]).mean(numeric_only=True).round(2).to_dict(),
                    rule,
                    kind,
                    flush=True,
                )
            for path in sorted(given.traces.glob("*load0.000*.parquet")):
                times = {"kind": "trace", "path": str(path), "wrap": "cycle", "base_load": 0.0}
                n_workers = int(pd.read_parquet(path, columns=["worker"])["worker"].max()) + 1
                found = regrets(
                    times | {"seconds_per_load": SECONDS_PER_LOAD}, n_workers, LAMBDA_JOBS, rule, SECONDS_PER_LOAD
                )
                rows.append({"times": "Lambda", "rule": rule, **found})
                print(found, rule, path.name, flush=True)
    table = pd.DataFrame(rows)
    said = table.groupby(["rule", "times"], sort=False)[["adaptive", "never tries", "load known", "once", "uncoded"]]
    print(said.agg(["mean", "max"]).round(1).to_string())


if __name__ == "__main__":
    main()
