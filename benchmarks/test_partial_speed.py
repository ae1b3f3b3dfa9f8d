"""Partial gradient coding: an ordering, and one exact instance against bare SimPy timeouts for the same completions.

The limits: 10 ms for the ordering, 2 times the bare loop for the instance.
"""

from __future__ import annotations

import numpy as np
import pytest
import simpy

from schemes import PartialGradientCoding
from schemes.assignment import Cyclic, RandomRegular
from schemes.ordering import Matching
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import RoundTimes

N_ROUNDS = 100
SCHEME = PartialGradientCoding(200, assignment=Cyclic(chunks_per_worker=8))
PER_CHUNK_S = np.random.default_rng(0).exponential(1.0, (N_ROUNDS, 200))


def engine():
    zeros, ones = np.zeros(200), np.ones(200)
    record = RunRecord(200, N_ROUNDS)
    plan = RunPlan(
        scheme=SCHEME,
        n_jobs=N_ROUNDS,
        times=iter([RoundTimes(zeros, per_chunk * 200, ones, None) for per_chunk in PER_CHUNK_S]),
        speeds=None,
        rule=FirstEnough(),
        leftover="cancel",
        round_overhead_s=0.0,
        network=Network(),
        rng=np.random.default_rng(0),
    )
    simulate(plan, record)
    return record


def bare_loop(rounds):
    env = simpy.Environment()
    count = 0

    def done(_):
        nonlocal count
        count += 1

    def master():
        for delays in rounds:
            for delay in delays:
                env.timeout(delay).callbacks.append(done)
            yield env.timeout(delays[-1])

    env.run(until=env.process(master()))
    return count


def completions():
    """The chunk completions up to the end of each round, as times."""
    durations = engine().rounds.duration_s
    positions = np.arange(1, 9)[:, np.newaxis]
    every = [np.sort((positions * per_chunk).ravel()) for per_chunk in PER_CHUNK_S]
    return [times[times <= duration].tolist() for times, duration in zip(every, durations, strict=True)]


@pytest.mark.benchmark(group="100 exact instances, 200 workers")
def test_bare_timeouts(benchmark):
    rounds = completions()
    print(f"\n{np.mean([len(times) for times in rounds]):.0f} chunk completions in an instance")
    assert benchmark.pedantic(bare_loop, args=(rounds,), rounds=9, warmup_rounds=1) == sum(map(len, rounds))


@pytest.mark.benchmark(group="100 exact instances, 200 workers")
def test_events(benchmark):
    assert len(benchmark.pedantic(engine, rounds=9, warmup_rounds=1).jobs.job) == N_ROUNDS


@pytest.mark.benchmark(group="ordering of 200 x 200, delta 8")
def test_ordering(benchmark):
    held = RandomRegular(chunks_per_worker=8).matrix(200, np.random.default_rng(1))
    positions = benchmark(Matching().positions, held, np.random.default_rng(0))
    assert set(positions.sum(axis=1)) == {36}
