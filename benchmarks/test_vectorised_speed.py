"""The vectorised engine against a bare numpy pass over the same worker times.

The aim for 480 jobs on 256 workers in 100 trials under the mu-rule: schemes without memory at most 10 times the pass,
the sequential ones at most 60 times. Drawing the times of one trial: at most 10 ms. 1 000 exact instances of partial
gradient coding: under 0.3 s.
"""

import numpy as np
import pytest

from schemes import (
    FastestK,
    FractionalRepetition,
    GradientCoding,
    Multiplexed,
    PartialGradientCoding,
    SelectiveRepeat,
    Uncoded,
)
from schemes.assignment import Cyclic
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.engine.worker_times import Draws, Source
from simulator.tuning.evaluate import on_arrays
from straggler_models import FailedWorkers, GilbertElliott, ShiftedExponential

N_WORKERS, N_JOBS, N_TRIALS = 256, 480, 100
SCHEMES = [
    Uncoded(N_WORKERS),
    GradientCoding(N_WORKERS, s=15),
    FractionalRepetition(N_WORKERS, s=15),
    FastestK(N_WORKERS, k=200),
    SelectiveRepeat(N_WORKERS, B=2, W=3, lam=23),
    Multiplexed(N_WORKERS, B=1, W=2, lam=27),
    Multiplexed(N_WORKERS, B=2, W=3, lam=27),
]
MODELS = {
    "usual": ShiftedExponential(shift=1.0, mean=0.2, adds_to="startup_s"),
    "bursts": GilbertElliott(p_slow=0.05, p_recover=0.5, slowdown=4.0),
}


def drawn(models, n_workers, n_trials, n_rounds):
    return Draws([Source(models, seed=0, trial=trial) for trial in range(n_trials)], n_workers).take(n_rounds)


@pytest.fixture(scope="module")
def times():
    return drawn(MODELS, N_WORKERS, N_TRIALS, N_JOBS + max(scheme.delay_rounds for scheme in SCHEMES))


def bare_pass(finish_s):
    """Who takes more than twice as long as the fastest worker of the round, counted."""
    tolerance_s = 2.0 * finish_s.min(axis=2)
    return np.count_nonzero(finish_s > tolerance_s[:, :, np.newaxis], axis=2)


@pytest.mark.benchmark(group="100 trials of 480 jobs on 256 workers")
def test_bare_pass(benchmark, times):
    finish_s = (times.startup_s * times.slowdown)[:, :N_JOBS]
    assert benchmark.pedantic(bare_pass, args=(finish_s,), rounds=9, warmup_rounds=1).shape == (N_TRIALS, N_JOBS)


@pytest.mark.benchmark(group="100 trials of 480 jobs on 256 workers")
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_engine(benchmark, times, scheme):
    args = [scheme] * N_TRIALS, times, N_JOBS, MuRule(mu=1.0)
    runs = benchmark.pedantic(on_arrays, args=args, rounds=5, warmup_rounds=1)
    assert runs.ends_s.shape == (N_TRIALS, N_JOBS + scheme.delay_rounds)


@pytest.mark.benchmark(group="drawing the times of 480 rounds of 256 workers")
def test_drawing(benchmark):
    times = benchmark.pedantic(drawn, args=(MODELS, N_WORKERS, 1, N_JOBS), rounds=20, warmup_rounds=1)
    assert times.startup_s.shape == (1, N_JOBS, N_WORKERS)


@pytest.mark.benchmark(group="1 000 exact instances, 200 workers, l = 1")
def test_partial(benchmark):
    scheme = PartialGradientCoding(200, assignment=Cyclic(chunks_per_worker=8))
    models = {
        "speed": ShiftedExponential(shift=0.0, mean=200.0, adds_to="seconds_per_load"),
        "failed": FailedWorkers(count=7, drawn="per_round"),
    }
    args = [scheme] * 1000, drawn(models, 200, 1000, 1), 1, FirstEnough(timeout_s=10_000.0)
    runs = benchmark.pedantic(on_arrays, args=args, rounds=5, warmup_rounds=1)
    assert np.mean(runs.makespan_s) == pytest.approx(2.281, abs=0.07)  # as published


@pytest.mark.benchmark(group="1 000 rounds of M-SGC on 10 000 workers")
def test_large(benchmark):
    scheme = Multiplexed(10_000, B=1, W=2, lam=1000)
    runs = benchmark.pedantic(
        lambda: on_arrays([scheme], drawn(MODELS, 10_000, 1, 1000), 999, MuRule(mu=1.0)), rounds=1
    )
    assert runs.ends_s.shape == (1, 1000)
