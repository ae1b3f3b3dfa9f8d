"""What training costs beside its gradients: 64 workers, 400 jobs, digits, softmax regression, 4 models.

    python benchmarks/training.py

Of each scheme: seconds of a run without training, of the chunk gradients alone (each job's once), of a run with
training, and what that adds beside the gradients. The aim is 20 %, not reached for gradients as small as these. All
with one thread for linear algebra.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

import simulator
from schemes import FastestK, GradientCoding, Multiplexed, PartialGradientCoding, Scheme, SelectiveRepeat, Uncoded
from schemes.assignment import Cyclic
from simulator.training import Training
from straggler_models import GilbertElliott, ShiftedExponential
from workloads import LogisticRegression

N, N_JOBS, REPEATS = 64, 400, 5
SCHEMES: dict[str, Scheme] = {
    "uncoded": Uncoded(N),
    "fastest_k, k = 56": FastestK(N, k=56),
    "GC s = 6": GradientCoding(N, s=6),
    "SR-SGC (2, 3, 8)": SelectiveRepeat(N, B=2, W=3, lam=8),
    "M-SGC (1, 2, 8)": Multiplexed(N, B=1, W=2, lam=8),
    "partial, delta = 8": PartialGradientCoding(N, assignment=Cyclic(8)),
}


def least_s(*jobs: Callable[[], object]) -> list[float]:
    """The shortest of several runs of each, by turns, so that what else the machine does meets all of them."""
    times_s = np.empty((REPEATS, len(jobs)))
    for repeat in range(REPEATS):
        for place, job in enumerate(jobs):
            began_s = time.perf_counter()
            job()
            times_s[repeat, place] = time.perf_counter() - began_s
    return times_s.min(axis=0).tolist()


def scenario(scheme: Scheme, training: Training | None) -> simulator.Scenario:
    return simulator.Scenario(
        workers=N,
        jobs=N_JOBS,
        models=4,
        stragglers={
            "usual": ShiftedExponential(shift=1.0, mean=0.3, adds_to="startup_s"),
            "bursts": GilbertElliott(p_slow=0.05, p_recover=0.5, slowdown=4.0),
        },
        schemes={"scheme": scheme},
        training=training,
    )


def gradients(workload: LogisticRegression, scheme: Scheme) -> None:
    """The chunk gradients of all jobs, at other parameters each."""
    ends = np.rint(np.cumsum(scheme.chunk_loads()) * workload.n_rows).astype(int).tolist()
    chunks = [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
    parameters = workload.initial(np.random.default_rng(0))
    for job in range(N_JOBS):
        workload.chunk_gradients(parameters + 1e-3 * (1 + job), chunks, slice(None)).sum(axis=0)


def main() -> None:
    workload = LogisticRegression()
    training = Training(workload=workload, learning_rate=0.5)
    print(f"{'':20}{'timing':>10}{'gradients':>12}{'both':>10}{'added':>10}")
    for name, scheme in SCHEMES.items():
        alone, plain = scenario(scheme, training), scenario(scheme, None)
        timing_s, gradients_s, both_s = least_s(
            lambda plain=plain: simulator.run(plain),
            lambda scheme=scheme: gradients(workload, scheme),
            lambda alone=alone: simulator.run(alone),
        )
        added = (both_s - timing_s) / gradients_s - 1
        print(f"{name:20}{timing_s:8.3f} s{gradients_s:10.3f} s{both_s:8.3f} s{100 * added:8.1f} %")


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
