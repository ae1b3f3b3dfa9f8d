"""How often the intervals of `trace fit` hold the truth, and how often it sees what is not there.

`python benchmarks/fit_coverage.py [SEEDS [CASE]]` prints, for several sets of known parameters over so many seeds (20):
which base distribution was chosen, how often each layer was kept, and how often an estimate is within 1.96 standard
errors of the truth; z is the error in standard errors.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

from simulator.fitting.fit import fit_models
from simulator.fitting.goodness import simulated_durations
from straggler_models import (
    Bernoulli,
    CommonShock,
    Constant,
    GilbertElliott,
    Lognormal,
    Pareto,
    PartialSlowdown,
    ShiftedExponential,
    Weibull,
)

SHAPE = (80, 64)  # rounds, workers
BURSTS = GilbertElliott(p_slow=0.04, p_recover=0.4, slowdown=3.0)
SHOCKS = CommonShock(p=0.1, share=0.4, slowdown=2.2)
SLOW = PartialSlowdown(share=0.125, slowdown_min=1.8, slowdown_max=1.8, drawn="per_run")
OUTLIERS = Bernoulli(p=0.005, slowdown=15.0)
LOGNORMAL = Lognormal(median=1.0, sigma=0.15, adds_to="startup_s")
CASES = {
    "lognormal alone": {"usual": LOGNORMAL},
    "lognormal, bursts": {"usual": LOGNORMAL, "bursts": BURSTS},
    "lognormal, all": {
        "usual": LOGNORMAL,
        "slow_workers": SLOW,
        "bursts": BURSTS,
        "shocks": SHOCKS,
        "outliers": OUTLIERS,
    },
    "shifted exponential alone": {"usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s")},
    "shifted exponential, bursts, shocks": {
        "usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s"),
        "bursts": BURSTS,
        "shocks": SHOCKS,
    },
    "weibull, slow workers, outliers": {
        "usual": Weibull(scale=1.0, shape=6.0, adds_to="startup_s"),
        "slow_workers": SLOW,
        "outliers": OUTLIERS,
    },
    "pareto, bursts": {"usual": Pareto(scale=1.0, shape=8.0, adds_to="startup_s"), "bursts": BURSTS},
    "shifted lognormal, bursts": {
        "floor": Constant(startup_s=0.8),
        "usual": Lognormal(median=0.3, sigma=0.5, adds_to="startup_s"),
        "bursts": BURSTS,
    },
}


def truth_of(models: dict, layer: str, parameter: str) -> float:
    if parameter == "floor":
        return models["floor"].startup_s
    name = "slowdown_min" if (layer, parameter) == ("slow_workers", "slowdown") else parameter
    return getattr(models[layer], name, np.nan)  # NaN: of another base distribution


def main(n_seeds: int, only: str) -> None:
    for case, models in CASES.items():
        if only not in case:
            continue
        kept, held, bases, seconds = Counter(), {}, Counter(), []
        for seed in range(n_seeds):
            durations_s = simulated_durations(models, *SHAPE, seed=1000 + seed)
            began = time.perf_counter()
            fitted = fit_models(durations_s)
            seconds.append(time.perf_counter() - began)
            bases[fitted.base] += 1
            kept.update(choice.layer for choice in fitted.choices if choice.is_kept)
            for layer, parameter, value, error in fitted.estimates:
                if layer not in models:
                    continue
                z = (value - truth_of(models, layer, parameter)) / error
                held.setdefault(f"{layer}.{parameter}", []).append(z)
        print(
            f"{case}: base distributions {dict(bases)}, layers {dict(kept)} of {n_seeds}, {np.mean(seconds):.1f} s each"
        )
        for name, z in held.items():
            inside = np.mean(np.abs(z) <= 1.96)
            spread = f"z {np.mean(z):+.2f} ± {np.std(z):.2f}"
            print(f"    {name}: {100 * inside:.0f} % of {len(z)} within 1.96 errors; {spread}")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2] if len(sys.argv) > 2 else "")
