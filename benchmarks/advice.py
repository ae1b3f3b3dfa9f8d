"""Advice on seeded synthetic traces of six kinds, against what is best on long ones: `python benchmarks/advice.py`.

Times are (startup_s + seconds_per_load x load) x slowdown. The advice sees durations at load 1/n, the seconds per load,
and that slow workers are slow at everything; T is at most 1. The truth is a long trace that goes on where the short one
ends: a worker that failed slow stays so, and a replaced one is a usual worker of its own. There every setting of the
coarse search, and every action of the advice, is replayed; what was advised should be within 2 % of the best of all.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simulator.engine.worker_times import Draws, Source
from simulator.parameters import FloatArray
from simulator.tuning.actions import Fleet
from simulator.tuning.advice import Advice, Candidate
from simulator.tuning.advising import find_advice
from simulator.tuning.best import fastest_first
from simulator.tuning.evaluate import evaluate, run_measured
from simulator.tuning.scenarios import scheme_of
from simulator.tuning.search import Search, rules_of
from simulator.tuning.trace import AdjustedTrace
from straggler_models import CommonShock, GilbertElliott, Lognormal, StragglerModel
from straggler_models.base import WorkerTimes

RULES = rules_of(("first_enough", "mu_rule"), (0.1, 0.3, 1.0), ("all",))
GOOD = 0.02  # of the best time
LONG = 4000  # rounds of the truth
HINDSIGHT = 400  # on which settings are searched again


class Cluster(NamedTuple):
    """What a trace is drawn from."""

    kind: str
    n_workers: int
    n_rounds: int
    startup_s: float
    seconds_per_load: float
    models: dict[str, StragglerModel]
    slow: FloatArray  # of each worker at the end, shape (n_workers,)
    onset: int  # from which round on

    def slowdown(self, n_rounds: int, seed: int, n_spare: int = 0) -> FloatArray:
        """Slowdowns of workers that nothing but chance makes slow, shape ``(n_rounds, n_workers + n_spare)``."""
        n = self.n_workers + n_spare
        times = Draws([Source(self.models, seed, 0)], n).take(n_rounds)
        return np.array(np.broadcast_to((times.startup_s * times.slowdown)[0], (n_rounds, n)))


def cluster(kind: str, rng: np.random.Generator) -> Cluster:
    """Draw a cluster of a kind."""
    n_workers, n_rounds = int(rng.choice([8, 15, 24])), int(rng.choice([100, 200, 400]))
    work = 1.0 if kind == "all work" else float(rng.uniform(0.2, 0.95))  # share of a usual step that grows with load
    sigma = float(rng.uniform(0.02, 0.1) if kind != "i.i.d." else rng.uniform(0.1, 0.6))
    models: dict[str, StragglerModel] = {"usual": Lognormal(median=1.0, sigma=sigma, adds_to="startup_s")}
    slow, onset = np.ones(n_workers), 0
    slowdown = float(rng.uniform(2, 8))
    if kind == "bursts":
        models["bursts"] = GilbertElliott(float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.2, 0.6)), slowdown)
    elif kind == "common shocks":
        models["shocks"] = CommonShock(float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.1, 0.4)), slowdown)
    elif kind == "one fail-slow":
        slow[rng.integers(n_workers)], onset = slowdown, int(rng.uniform(0.1, 0.8) * n_rounds)
    elif kind == "slow workers":
        which = rng.choice(n_workers, int(rng.integers(1, n_workers // 4 + 1)), replace=False)
        slow[which] = rng.uniform(1.3, 4, len(which))
    return Cluster(kind, n_workers, n_rounds, 1 - work, work * n_workers, models, slow, onset)


KINDS = ("i.i.d.", "bursts", "common shocks", "one fail-slow", "slow workers", "all work")


def advised(of: Cluster, seed: int, search: Search, folder: Path) -> Advice:
    """Advice from a short trace."""
    slowdown = of.slowdown(of.n_rounds, seed)
    slowdown[of.onset :] *= of.slow
    duration_s = slowdown * (of.startup_s + of.seconds_per_load / of.n_workers)
    rounds, workers = np.divmod(np.arange(duration_s.size), of.n_workers)
    path = folder / "trace.parquet"
    pd.DataFrame({"round": rounds, "worker": workers, "duration_s": duration_s.ravel()}).to_parquet(path)
    per_load_s = None if of.kind == "all work" else of.seconds_per_load
    trace = AdjustedTrace(path, 1 / of.n_workers, per_load_s, "proportional")
    return find_advice(trace, search)


def truth(of: Cluster, seed: int, fleet: Fleet) -> Fleet:
    """The workers of an action on a long trace."""
    drawn = of.slowdown(LONG, seed, n_spare=len(fleet.workers))
    slowdown = drawn[:, : of.n_workers] * of.slow
    if fleet.action == "leave out":
        slowdown = np.delete(slowdown, fleet.workers, axis=1)
    elif fleet.action == "replace":
        slowdown[:, list(fleet.workers)] = drawn[:, of.n_workers :]
    return fleet._replace(times=WorkerTimes(of.startup_s, of.seconds_per_load, slowdown))


def time_s(setting: dict[Any, Any], fleet: Fleet, search: Search) -> float:
    """Seconds for each job of a setting on a long trace."""
    rule = next(rule for rule in search.rules if rule.name == setting["rule"])
    scheme = scheme_of(setting, fleet.n_workers)
    runs = run_measured(scheme, fleet.times, np.arange(LONG)[np.newaxis], LONG - scheme.delay_rounds, rule)
    return float(runs.makespan_s[0]) / (LONG - scheme.delay_rounds)


def compared(of: Cluster, advice: Advice, seed: int, search: Search) -> dict[str, Any]:
    """What was advised, against the best in hindsight."""
    fleets = {one.fleet.said: truth(of, seed, one.fleet) for one in advice.candidates}
    tried = [(time_s(one.setting, fleets[one.fleet.said], search), named(one)) for one in advice.candidates]
    for said, fleet in fleets.items():
        wanted = dataclasses.replace(search, n_jobs=HINDSIGHT)
        if said:
            wanted = dataclasses.replace(wanted, schemes=("uncoded", "gradient_coding", "partial_gradient_coding"))
        found = evaluate(fleet.times, fleet.n_workers, HINDSIGHT, wanted.groups(fleet.n_workers), search.rules)
        best = fastest_first(found).iloc[0].to_dict()
        tried.append((time_s(best, fleet, search), f"{said} {best['scheme']} in hindsight".strip()))
    others = [one for one in advice.candidates if not one.is_plain]
    chosen = advice.chosen if advice.verdict == "pays" else advice.plain
    said_of = advice.chosen if not advice.chosen.is_plain else max(others, key=lambda one: advice.saved(one).percent)
    own_s, plain_s = (time_s(one.setting, fleets[one.fleet.said], search) for one in (chosen, advice.plain))
    best_s, best_name = min(tried)
    saved = advice.saved(said_of)
    truly = 100 * (1 - time_s(said_of.setting, fleets[said_of.fleet.said], search) / plain_s)
    return {
        "verdict": advice.verdict,
        "advised": named(chosen),
        "best": best_name,
        "loses %": 100 * (own_s / best_s - 1),
        "is good": own_s <= (1 + GOOD) * best_s,
        "saved %": saved.percent,
        "low": saved.low,
        "high": saved.high,
        "truly %": truly,
        "holds": round(saved.low, 1) <= round(truly, 1) <= round(saved.high, 1),  # as printed
    }


def named(one: Candidate) -> str:
    """An action and scheme, short."""
    return f"{one.fleet.said} {one.scheme}".strip()


def cases(number: int, first: int) -> Iterator[tuple[int, str]]:
    """Seeds and kinds, in turn."""
    return ((seed, KINDS[seed % len(KINDS)]) for seed in range(first, first + number))


def main() -> None:
    """Print a row for each trace, and how many were good."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed, kind in cases(options.number, options.first):
            rng = np.random.default_rng([seed, 17])
            of = cluster(kind, rng)
            search = Search(RULES, of.n_rounds, max_delay=1, is_coarse=True)
            advice = advised(of, 2 * seed, search, Path(folder))
            row = {"seed": seed, "kind": kind, "n": of.n_workers, "rounds": of.n_rounds}
            rows.append(row | compared(of, advice, 2 * seed + 1, search))
            print(
                " | ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in rows[-1].values()),
                flush=True,
            )
    table = pd.DataFrame(rows)
    print(table.groupby("kind", sort=False)[["is good", "holds"]].agg(["sum", "count"]).to_string())
    print(f"within 2 % of the best: {table['is good'].sum()} of {len(table)}; interval holds: {table['holds'].sum()}")


if __name__ == "__main__":
    main()
