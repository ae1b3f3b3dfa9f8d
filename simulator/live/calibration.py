"""What a cluster costs besides the work: measured with constant work before the schemes run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemes import Uncoded
from simulator.engine.events import RunPlan
from simulator.engine.master_rules import FirstEnough
from simulator.engine.network import Network
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.streams import ONCE, stream
from simulator.engine.training import Training
from simulator.engine.worker_times import round_times
from simulator.live.hub import Hub
from simulator.live.master import run_live
from simulator.live.values import LiveRecord
from simulator.scenario.scenario import Scenario
from straggler_models import Constant

N_ROUNDS = 24
WORK_S = 0.05  # of every worker in every round


class Calibration(NamedTuple):
    """Seconds that a real run takes beside the work.

    Examples
    --------
    >>> Calibration(latency_s=0.002, round_overhead_s=0.001, cost_of_rounds_s=(0.002, 0.004)).network.latency_s
    0.002
    """

    # both of the median round: a round in which other programs ran counts no more than others
    latency_s: float  # from the instant at which a list was to be done until the master has heard of it
    round_overhead_s: float  # between the end of a round and the beginning of the next
    cost_of_rounds_s: Sequence[float]  # both together in each of the rounds: they vary with what the machine is at

    @property
    def network(self) -> Network:
        """The network that has this latency."""
        return Network(latency_s=self.latency_s)

    def of(self, scenario: Scenario, trials: int) -> Scenario:
        """A scenario with these costs in place of its own; no values are computed."""
        return dataclasses.replace(
            scenario, network=self.network, round_overhead_s=self.round_overhead_s, trials=trials, training=None
        )


def calibrate(hub: Hub, scenario: Scenario, training: Training) -> Calibration:
    """Run uncoded rounds of constant work, with the gradients of the scenario."""
    scheme, models = Uncoded(scenario.workers), {"constant": Constant(WORK_S)}
    where = (models, scenario.workers, scenario.seed, 0)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=N_ROUNDS,
        times=round_times(*where, N_ROUNDS),
        speeds=SpeedChanges(*where),
        rule=FirstEnough(),
        leftover="cancel",
        round_overhead_s=0.0,
        network=Network(),
        rng=stream(scenario.seed, ONCE, "scheme", "calibration"),
    )
    codec = scheme.codec(training.messages, plan.rng)
    record = LiveRecord(scenario.workers, N_ROUNDS, plan=training, n_models=1, seed=scenario.seed, trial=0, codec=codec)
    run = run_live(plan, hub, record, is_injected=True, is_calibration=True)
    starts_s = [closed.start_s for closed in run.rounds]
    late_s: list[list[float]] = [[] for _ in range(N_ROUNDS)]
    for arrival in run.arrivals:
        late_s[arrival.of_round].append(arrival.heard_s - starts_s[arrival.of_round] - WORK_S)
    measured = range(1, N_ROUNDS - 1)  # the first one warms up, and after the last one nothing begins
    latencies_s = [float(np.mean(late_s[index])) for index in measured]
    closed = [run.rounds[index] for index in measured]
    gaps_s = [each.end_s - each.start_s - each.duration_s for each in closed]
    costs_s = [sum(pair) for pair in zip(latencies_s, gaps_s, strict=True)]
    return Calibration(float(np.median(latencies_s)), float(np.median(gaps_s)), costs_s)
