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
from simulator.engine import vectorised
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.execution.one_run import drawn_times, run_block
from straggler_models import FailedWorkers, GilbertElliott, ShiftedExponential
from stragglersim import Scenario

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
SCENARIO = Scenario(
    workers=N_WORKERS,
    jobs=N_JOBS,
    trials=N_TRIALS,
    stragglers={
        "usual": ShiftedExponential(shift=1.0, mean=0.2, adds_to="startup_s"),
        "bursts": GilbertElliott(p_slow=0.05, p_recover=0.5, slowdown=4.0),
    },
    master=MuRule(mu=1.0),
    schemes={"uncoded": Uncoded(N_WORKERS)},
)


@pytest.fixture(scope="module")
def times():
    """For so many rounds as each number of jobs needs: contiguous, as drawn."""
    needed = sorted({N_JOBS + scheme.delay_rounds for scheme in SCHEMES})
    return {n_rounds: joined(drawn_times(SCENARIO, range(N_TRIALS), n_rounds)) for n_rounds in needed}


def joined(blocks):
    return vectorised.BatchTimes(*(np.concatenate(fields, axis=1) for fields in zip(*blocks, strict=True)))


def bare_pass(finish_s):
    """Who takes more than twice as long as the fastest worker of the round, counted."""
    tolerance_s = 2.0 * finish_s.min(axis=2)
    return np.count_nonzero(finish_s > tolerance_s[:, :, np.newaxis], axis=2)


@pytest.mark.benchmark(group="100 trials of 480 jobs on 256 workers")
def test_bare_pass(benchmark, times):
    finish_s = times[N_JOBS].startup_s * times[N_JOBS].slowdown
    assert benchmark.pedantic(bare_pass, args=(finish_s,), rounds=9, warmup_rounds=1).shape == (N_TRIALS, N_JOBS)


@pytest.mark.benchmark(group="100 trials of 480 jobs on 256 workers")
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_engine(benchmark, times, scheme):
    n_rounds = N_JOBS + scheme.delay_rounds

    def run():
        return vectorised.simulate_rows(
            scheme.batch(N_JOBS, N_TRIALS),
            n_workers=N_WORKERS,
            n_jobs=N_JOBS,
            n_rounds=n_rounds,
            times=iter([times[n_rounds]]),
            rule=SCENARIO.master,
            round_overhead_s=0.0,
            gradient_bytes=0.0,
        )

    records = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    assert len(records) == N_TRIALS
    assert len(records[0].rounds.round) == n_rounds


@pytest.mark.benchmark(group="drawing the times of 480 rounds of 256 workers")
def test_drawing(benchmark):
    blocks = benchmark.pedantic(lambda: list(drawn_times(SCENARIO, range(1), N_JOBS)), rounds=20, warmup_rounds=1)
    assert sum(block.startup_s.shape[1] for block in blocks) == N_JOBS


@pytest.mark.benchmark(group="1 000 exact instances, 200 workers, l = 1")
def test_partial(benchmark):
    scheme = PartialGradientCoding(200, assignment=Cyclic(chunks_per_worker=8))
    scenario = Scenario(
        workers=200,
        jobs=1,
        trials=1000,
        stragglers={
            "speed": ShiftedExponential(shift=0.0, mean=200.0, adds_to="seconds_per_load"),
            "failed": FailedWorkers(count=7, drawn="per_round"),
        },
        master=FirstEnough(timeout_s=10_000.0),
        schemes={"partial": scheme},
    )
    times = joined(drawn_times(scenario, range(1000), 1))

    def run():
        return vectorised.simulate_rows(
            scheme.batch(1, 1000),
            n_workers=200,
            n_jobs=1,
            n_rounds=1,
            times=iter([times]),
            rule=scenario.master,
            round_overhead_s=0.0,
            gradient_bytes=0.0,
        )

    records = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    assert np.mean([record.makespan_s for record in records]) == pytest.approx(2.281, abs=0.07)  # as published


@pytest.mark.benchmark(group="1 000 rounds of M-SGC on 10 000 workers")
def test_large(benchmark):
    scheme = Multiplexed(10_000, B=1, W=2, lam=1000)
    scenario = Scenario(
        workers=10_000,
        jobs=999,
        stragglers=SCENARIO.stragglers,
        master=MuRule(mu=1.0),
        schemes={"M-SGC": scheme},
    )
    [record] = benchmark.pedantic(lambda: run_block(scenario, "M-SGC", range(1)), rounds=1)
    assert len(record.rounds.round) == 1000
