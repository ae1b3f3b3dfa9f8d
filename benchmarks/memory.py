"""Peak memory of 10 000 jobs on 1 000 workers: `python benchmarks/memory.py`; the limit is 1 GiB."""

from __future__ import annotations

import resource
import time

import stragglersim
from schemes import Multiplexed
from simulator.engine.master_rules import MuRule
from straggler_models import GilbertElliott, ShiftedExponential

scenario = stragglersim.Scenario(
    workers=1000,
    jobs=10_000,
    stragglers={
        "noise": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s"),
        "bursts": GilbertElliott(p_slow=0.05, p_recover=0.5, slowdown=4.0),
    },
    master=MuRule(),
    schemes={"M-SGC": Multiplexed(1000, B=1, W=2, lam=100)},
)
for engine in ("events", "vectorised"):  # the peak is that of all so far
    began_s = time.perf_counter()
    results = stragglersim.run(scenario, engine=engine)
    seconds = time.perf_counter() - began_s
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert results.rounds is not None
    print(f"{len(results.rounds)} rounds of 1000 workers, {engine}: {seconds:.1f} s, peak memory {peak_gib:.2f} GiB")
