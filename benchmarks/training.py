"""What training costs beside its gradients: 64 workers, 400 jobs, digits, softmax regression, 4 models.

    python benchmarks/training.py

Of each scheme: seconds of a run without training, of a run with training, and of the chunk gradients and their sums
alone, each job's once: one job after another, in one pass over the data for all chunks of a job, and a turn of 4 jobs
at a time, as a run computes them. Then what training adds to the run, in percent of either: medians of several
repeats, each with everything once, and the range of the middle half. All with one thread for linear algebra.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import stragglersim
from schemes import FastestK, GradientCoding, Multiplexed, PartialGradientCoding, Scheme, SelectiveRepeat, Uncoded
from schemes.assignment import Cyclic
from simulator.engine.training import Training
from straggler_models import GilbertElliott, ShiftedExponential
from workloads import LogisticRegression

N, N_JOBS, REPEATS = 64, 400, 15
SCHEMES: dict[str, Scheme] = {
    "uncoded": Uncoded(N),
    "fastest_k, k = 56": FastestK(N, k=56),
    "GC s = 6": GradientCoding(N, s=6),
    "SR-SGC (2, 3, 8)": SelectiveRepeat(N, B=2, W=3, lam=8),
    "M-SGC (1, 2, 8)": Multiplexed(N, B=1, W=2, lam=8),
    "partial, delta = 8": PartialGradientCoding(N, assignment=Cyclic(8)),
}


def measured_s(*jobs: Callable[[], object]) -> NDArray[np.float64]:
    """Seconds of each, shape ``(repeats, n_jobs)``, by turns, so that what else the machine does meets all of them."""
    times_s = np.empty((REPEATS, len(jobs)))
    for repeat in range(REPEATS):
        for place, job in enumerate(jobs):
            began_s = time.perf_counter()
            job()
            times_s[repeat, place] = time.perf_counter() - began_s
    return times_s


def scenario(scheme: Scheme, training: Training | None, models: int = 4) -> stragglersim.Scenario:
    return stragglersim.Scenario(
        workers=N,
        jobs=N_JOBS,
        models=models,
        stragglers={
            "usual": ShiftedExponential(shift=1.0, mean=0.3, adds_to="startup_s"),
            "bursts": GilbertElliott(p_slow=0.05, p_recover=0.5, slowdown=4.0),
        },
        schemes={"scheme": scheme},
        training=training,
    )


def gradients(workload: LogisticRegression, scheme: Scheme, at_once: int) -> None:
    """The chunk gradients of all jobs, at other parameters each, and their sums."""
    ends = np.rint(np.cumsum(scheme.chunk_loads()) * workload.n_rows).astype(int).tolist()
    chunks = [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
    parameters = workload.initial(np.random.default_rng(0))
    out = np.empty((len(chunks), at_once, len(parameters)))
    for turn in range(0, N_JOBS, at_once):
        models = parameters + 1e-3 * np.arange(1 + turn, 1 + turn + at_once)[:, np.newaxis]
        workload.chunk_gradients(models, chunks, slice(None), out)
        out.sum(axis=0)


def main() -> None:
    workload = LogisticRegression()
    training = Training(workload=workload, learning_rate=0.5)
    columns = ("timing", "training", "by job", "by turn")
    print(" " * 20 + "".join(f"{column:>10}" for column in columns) + f"{'of jobs':>24}{'of turns':>24}")
    for name, scheme in SCHEMES.items():
        alone, plain = scenario(scheme, training), scenario(scheme, None)
        times_s = measured_s(
            lambda plain=plain: stragglersim.run(plain, engine="events"),
            lambda alone=alone: stragglersim.run(alone, engine="events"),
            lambda scheme=scheme: gradients(workload, scheme, 1),
            lambda scheme=scheme: gradients(workload, scheme, 4),
        )
        print(f"{name:20}" + "".join(f"{each:8.3f} s" for each in np.median(times_s, axis=0)), end="")
        for place in (2, 3):
            low, median, high = np.percentile(100 * (times_s[:, 1] - times_s[:, 0]) / times_s[:, place], [25, 50, 75])
            print(f"{median:8.0f} % ({low:.0f} to {high:.0f})".rjust(24), end="")
        print()
    print("\nWith one model: of jobs")
    for name in ("uncoded", "fastest_k, k = 56", "GC s = 6", "partial, delta = 8"):
        scheme = SCHEMES[name]
        alone, plain = scenario(scheme, training, models=1), scenario(scheme, None, models=1)
        times_s = measured_s(
            lambda plain=plain: stragglersim.run(plain, engine="events"),
            lambda alone=alone: stragglersim.run(alone, engine="events"),
            lambda scheme=scheme: gradients(workload, scheme, 1),
        )
        print(f"{name:20}{np.median(100 * (times_s[:, 1] - times_s[:, 0]) / times_s[:, 2]):8.0f} %")


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
