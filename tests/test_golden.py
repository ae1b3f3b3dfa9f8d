"""Numbers for a seed stay as they are, or `NUMERICS` says that they have changed.

After a change that is meant: ``python tests/test_golden.py`` writes the table anew.
"""

import io
from pathlib import Path

import pandas as pd

import examples
import stragglersim
from schemes import FastestK, GradientCoding, Multiplexed, PartialGradientCoding, SelectiveRepeat, Uncoded
from schemes.assignment import Cyclic
from simulator.engine.events import NUMERICS
from simulator.engine.master_rules import FirstEnough
from straggler_models import Constant, GilbertElliott, ShiftedExponential
from stragglersim import Network, Scenario

TABLE = Path(__file__).with_name("golden.csv")
NUMBERS = ["makespan_s", "decode_failures", "stragglers", "uploads", "squared_error", "computed_load", "latency_s"]
USUAL = {
    "usual": ShiftedExponential(shift=0.2, mean=0.5, adds_to="startup_s"),
    "work": Constant(seconds_per_load=2.0),
    "bursts": GilbertElliott(p_slow=0.2, p_recover=0.5, slowdown=4.0),
}
FEW = [
    Uncoded(6),
    FastestK(6, k=4),
    GradientCoding(6, s=2),
    SelectiveRepeat(6, B=2, W=3, lam=4),
    Multiplexed(6, B=2, W=3, lam=2, accepts="recoverable", credit="prefix"),
    PartialGradientCoding(6, assignment=Cyclic(3)),
]
SLOW = Network(latency_s=0.1, worker_bytes_per_s=100.0, ingress_bytes_per_s=200.0, gradient_bytes=20.0)
OTHERS = [{"leftover": "finish"}, {"round_overhead_s": 0.3}, {"probe": 4}, {"network": SLOW}, {"seed": 2**40}]


def cases():
    """Each scheme, each model and each rule, and what else decides numbers."""
    for scheme in examples.SCHEMES:
        yield scheme, {"leftover": "finish"} if scheme.hears_late else {}
    for scheme in FEW[2:4]:
        for model in examples.MODELS:
            yield scheme, {"stragglers": {"usual": Constant(startup_s=0.2, seconds_per_load=2.0), "it": model}}
    for scheme in FEW:
        for rule in examples.RULES:
            yield scheme, {"master": rule}
        for how in OTHERS:
            yield scheme, how


def numbers(scheme, how):
    given = {"workers": scheme.n_workers, "jobs": 10, "trials": 2, "stragglers": USUAL, "seed": 5}
    given["master"] = FirstEnough(timeout_s=9.0)
    results = stragglersim.run(Scenario(**(given | how), schemes={"it": scheme}), engine="events")
    runs, jobs = results.runs, results.jobs
    return [
        runs["makespan_s"].sum(),
        runs["decode_failures"].sum(),
        results.rounds["stragglers"].sum(),
        results.rounds["uploads"].sum(),
        jobs["squared_error"].sum(),
        runs["computed_load"].sum(),
        jobs.loc[jobs["status"] != "failed", "latency_s"].sum(),
    ]


def found():
    rows = [(NUMERICS, repr(scheme), repr(how), *numbers(scheme, how)) for scheme, how in cases()]
    return pd.DataFrame(rows, columns=["numerics", "scheme", "how", *NUMBERS])


def test_numbers_for_a_seed_change_only_with_numerics():
    expected, now = pd.read_csv(TABLE), found()
    assert (expected["numerics"] == NUMERICS).all(), "NUMERICS has changed: python tests/test_golden.py"
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(now.to_csv(index=False))), expected, rtol=1e-9)


if __name__ == "__main__":
    found().to_csv(TABLE, index=False, float_format="%.12g")
