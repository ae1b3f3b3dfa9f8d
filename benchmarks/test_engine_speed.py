"""The events engine against a bare SimPy loop over the same timeouts, in one run: `make benchmark`.

The group's last column but one is the ratio to the bare loop, in brackets. The aim is 1.5, the limit 2.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import simpy

from schemes import GradientCoding, Multiplexed, Scheme, SelectiveRepeat
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, MasterRule, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import round_times
from straggler_models import GilbertElliott, ShiftedExponential

N_WORKERS, N_JOBS = 256, 480
MODELS = {
    "noise": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s"),
    "bursts": GilbertElliott(p_slow=0.05, p_recover=0.5, slowdown=4.0),
}
CASES = [
    ("M-SGC (1, 2, 27), mu-rule", Multiplexed(N_WORKERS, B=1, W=2, lam=27), MuRule()),
    ("GC s = 15, first_enough", GradientCoding(N_WORKERS, s=15), FirstEnough()),
    ("SR-SGC (2, 3, 23), mu-rule", SelectiveRepeat(N_WORKERS, B=2, W=3, lam=23), MuRule()),
    (
        "M-SGC (1, 2, 27) recoverable, first_enough",
        Multiplexed(N_WORKERS, B=1, W=2, lam=27, accepts="recoverable"),
        FirstEnough(),
    ),
]


def drawn_times():
    return list(round_times(MODELS, N_WORKERS, seed=1, trial=0, n_rounds=N_JOBS + 2))


def bare_loop(rounds: list[list[float]]) -> int:
    """Schedule a timeout with a counting callback for each worker in each round, and nothing else."""
    env = simpy.Environment()
    count = 0

    def arrived(_: simpy.Event) -> None:
        nonlocal count
        count += 1

    def master():
        for delays in rounds:
            for delay in delays:
                env.timeout(delay).callbacks.append(arrived)
            yield env.timeout(max(delays))

    env.run(until=env.process(master()))
    return count


def engine(scheme: Scheme, rule: MasterRule) -> RunRecord:
    record = RunRecord(N_WORKERS, N_JOBS)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=N_JOBS,
        times=iter(drawn_times()),
        speeds=None,
        rule=rule,
        leftover="cancel",
        round_overhead_s=0.0,
        network=Network(),
        rng=np.random.default_rng(0),
    )
    simulate(plan, record)
    return record


@pytest.mark.benchmark(group="480 jobs on 256 workers")
def test_bare_simpy_loop(benchmark):
    rounds = [(times.slowdown * times.startup_s).tolist() for times in drawn_times()[: N_JOBS + 1]]
    assert benchmark.pedantic(bare_loop, args=(rounds,), rounds=9, warmup_rounds=1) == 256 * 481


@pytest.mark.benchmark(group="480 jobs on 256 workers")
@pytest.mark.parametrize(("scheme", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_engine(benchmark, scheme, rule):
    record = benchmark.pedantic(engine, args=(scheme, rule), rounds=9, warmup_rounds=1)
    assert len(record.jobs.job) == N_JOBS


@pytest.mark.benchmark(group="command line")
def test_help(benchmark):
    done = benchmark.pedantic(
        subprocess.run, args=([sys.executable, "-m", "simulator", "--help"],), kwargs={"capture_output": True}, rounds=7
    )
    assert done.returncode == 0
