"""What training costs beside its gradients: 64 workers, 400 jobs, digits, softmax regression, 4 models.

    python benchmarks/training.py

Of each scheme: seconds of a run without training, of a run with training, and of the chunk gradients alone (each job's
once): by a call of `gradient` for each chunk, as any workload has it, and by the one pass for all chunks that the
shipped classifiers have. Then what training adds to the run, in percent of either. All with one thread for linear
algebra.
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
from workloads import LogisticRegression, Workload

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


def gradients(workload: LogisticRegression, scheme: Scheme, *, by_chunk: bool) -> None:
    """The chunk gradients of all jobs, at other parameters each."""
    ends = np.rint(np.cumsum(scheme.chunk_loads()) * workload.n_rows).astype(int).tolist()
    chunks = [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
    parameters = workload.initial(np.random.default_rng(0))
    compute = Workload.chunk_gradients if by_chunk else LogisticRegression.chunk_gradients
    for job in range(N_JOBS):
        compute(workload, parameters + 1e-3 * (1 + job), chunks, slice(None)).sum(axis=0)


def main() -> None:
    workload = LogisticRegression()
    training = Training(workload=workload, learning_rate=0.5)
    print(f"{'':20}{'timing':>10}{'training':>10}{'by chunk':>10}{'one pass':>10}{'of chunks':>12}{'of one pass':>12}")
    for name, scheme in SCHEMES.items():
        alone, plain = scenario(scheme, training), scenario(scheme, None)
        timing_s, both_s, by_chunk_s, one_pass_s = least_s(
            lambda plain=plain: simulator.run(plain),
            lambda alone=alone: simulator.run(alone),
            lambda scheme=scheme: gradients(workload, scheme, by_chunk=True),
            lambda scheme=scheme: gradients(workload, scheme, by_chunk=False),
        )
        shares = [100 * (both_s - timing_s) / alone_s for alone_s in (by_chunk_s, one_pass_s)]
        print(f"{name:20}{timing_s:8.3f} s{both_s:8.3f} s{by_chunk_s:8.3f} s{one_pass_s:8.3f} s", end="")
        print(f"{shares[0]:10.0f} %{shares[1]:10.0f} %")


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
