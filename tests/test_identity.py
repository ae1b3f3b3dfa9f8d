"""What decides the numbers: one function says it, for keys of settings and for warnings of sweeps that vary nothing."""

import dataclasses

import numpy as np
import pytest

import stragglersim
from schemes import Uncoded
from simulator.engine.master_rules import FixedTime
from simulator.engine.training import Training
from simulator.scenario.identity import DECIDES_NOTHING, setting_key
from simulator.scenario.no_effect import warnings
from straggler_models import Constant, StragglerModel, WorkerTimes
from stragglersim import Network, Scenario
from workloads import LeastSquares

SCENARIO = """\
trials: 2
workers: 4
jobs: 5
models: 2
stragglers:
  usual: {kind: constant, startup_s: 0.1, seconds_per_load: 6}
  slow: {kind: bernoulli, p: 0.3, slowdown: 4}
master: {kind: mu_rule, mu: 1.0}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 1}
"""
TRAINING = """\
training:
  workload: {kind: least_squares, rows: 60, dimension: 3, noise: 0.1}
  learning_rate: 0.1
"""

USUAL = Constant(1.0, seconds_per_load=6.0)
TRAINED = Training(workload=LeastSquares(rows=60, dimension=3), learning_rate=0.1)
PLAIN = Scenario(workers=4, jobs=3, stragglers={"usual": USUAL}, schemes={"all": Uncoded(4)}, training=TRAINED)
SENT = Network(gradient_bytes=1.0, worker_bytes_per_s=9.0, ingress_bytes_per_s=9.0)
CHANGES = {  # of each key of a scenario
    "name": "other",
    "seed": 1,
    "trials": 2,
    "workers": 5,
    "jobs": 4,
    "models": 2,
    "stragglers": {"usual": Constant(2.0, seconds_per_load=6.0)},
    "master": FixedTime(time_s=9.0),
    "probe": 2,
    "leftover": "finish",
    "round_overhead_s": 0.5,
    "action_overhead_s": 0.5,
    "network": SENT,
    "training": None,
    "schemes": {"all": Uncoded(4), "more": Uncoded(4)},
    "masters": {"all": FixedTime(time_s=9.0)},
    "sweep": {"seed": [0, 1]},
    "points": (({}, PLAIN),),
}
OF_NETWORK = {
    "latency_s": 0.1,
    "worker_bytes_per_s": [9.0, 9.0, 9.0, 8.0],
    "ingress_bytes_per_s": 8.0,
    "downlink_bytes_per_s": 8.0,
    "egress_bytes_per_s": 8.0,
    "gradient_bytes": 2.0,
}
OF_TRAINING = {
    "workload": LeastSquares(rows=60, dimension=4),
    "batch": 20,
    "optimiser": "momentum",
    "learning_rate": 0.2,
    "on_failure": "repeat",
    "messages": "float32",
}


def key_of(scenario):
    return setting_key(scenario, "all", detail="rounds", engine="events")


def changed(**changes):
    if "workers" in changes:
        changes["schemes"] = {"all": Uncoded(changes["workers"])}
    return dataclasses.replace(PLAIN, **changes)


class Held(StragglerModel):
    """No dataclass: its attributes say what it does."""

    def __init__(self, held):
        self.held = held

    def rounds(self, n_workers, rng):
        while True:
            yield WorkerTimes(slowdown=np.atleast_2d(self.held))


@pytest.mark.parametrize(
    "values",
    [
        [np.ones(4), np.array([1.0, 1.0, 1.0, 2.0]), np.ones((1, 4))],
        [np.arange(1000.0), np.where(np.arange(1000) == 500, 0.0, np.arange(1000.0))],  # too long to be printed whole
        [np.float64(1.0), np.float64(2.0)],
        [frozenset([1]), frozenset([2]), 1 + 2j],
    ],
    ids=["arrays", "long arrays", "numbers", "others"],
)
def test_what_a_plug_in_holds_decides(values):
    keys = [key_of(changed(stragglers={"usual": USUAL, "held": Held(value)})) for value in values]
    again = [key_of(changed(stragglers={"usual": USUAL, "held": Held(value)})) for value in values]
    assert keys == again
    assert len(set(keys)) == len(values)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Scenario)])
def test_every_key_of_a_scenario_decides_the_numbers_but_for_a_few(name):
    is_decisive = key_of(changed(**{name: CHANGES[name]})) != key_of(PLAIN)
    assert is_decisive == (name not in ("name", "trials", "schemes", "sweep", "points"))
    assert is_decisive <= (name not in DECIDES_NOTHING)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Network)])
def test_every_key_of_the_network_decides_the_numbers(name):
    network = dataclasses.replace(SENT, **{name: OF_NETWORK[name]})
    assert key_of(changed(network=network)) != key_of(changed(network=SENT))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Training)])
def test_every_key_of_training_decides_the_numbers(name):
    training = dataclasses.replace(TRAINED, **{name: OF_TRAINING[name]})
    assert key_of(changed(training=training)) != key_of(PLAIN)


def test_a_new_key_decides_the_numbers_until_somebody_says_that_it_does_not():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(Scenario):
        tide: float = 0.0
        moons: dict = dataclasses.field(default_factory=dict)

    values = {field.name: getattr(PLAIN, field.name) for field in dataclasses.fields(Scenario)}
    later = [{}, {"tide": 0.5}, {"moons": {"one": Constant(1.0)}}, {"moons": {"one": Constant(2.0)}}]
    assert len({key_of(Later(**values, **new)) for new in later}) == 4


@pytest.mark.parametrize(
    ("sweep", "varies"),
    [
        ("probe=0,3", True),
        ("trials=1,2", True),
        ("seed=0,1", True),
        ("workers=4,5", True),
        ("jobs=3,5", True),
        ("leftover=cancel,finish", True),
        ("round_overhead_s=0,0.5", True),
        ("round_overhead_s=0.5,0.50", False),
        ("network.latency_s=0,0.1", True),
        ("network.gradient_bytes=1,2", True),
        ("network.latency_s,network.gradient_bytes=[0,1],[0.1,1]", True),
        ("training.learning_rate=0.1,0.2", True),
        ("training.batch=20,30", True),
        ("training.optimiser=sgd,momentum", True),
        ("training.messages=float64,float32", True),
        ("training.workload.noise=0.1,0.2", True),
        ("training.optimiser=sgd,sgd", False),
        ("stragglers.slow.p=0.3,0.6", True),
        ("schemes.GC.s=1,2", True),
        ("schemes.GC.s=1,1", False),
        ("master.mu=0.1,3", True),
        ("master.mu=1,1.0", False),
        ("name=a,b", False),
        ("models=2,3", True),
    ],
)
def test_a_warning_that_a_sweep_varies_nothing_agrees_with_the_numbers(tmp_path, sweep, varies):
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO + TRAINING, encoding="utf-8")
    scenario = stragglersim.load(path, [], [sweep])
    results = stragglersim.run(scenario)
    left_out = ["point", "decode_mean_s", *scenario.points[0][0]]  # decoding is measured
    is_same = True
    for table in (results.runs, results.jobs, results.rounds, results.training):
        numbers = table.drop(columns=left_out, errors="ignore")
        first, second = (numbers[table["point"] == point].reset_index(drop=True) for point in (0, 1))
        is_same = is_same and first.equals(second)
    assert is_same != varies
    assert bool(warnings(scenario)) != varies
