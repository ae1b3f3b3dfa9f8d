"""Approximate codes whose data are dealt out anew each round."""

import dataclasses

import numpy as np
import pytest

import stragglersim
from schemes import (
    BernoulliGradientCoding,
    BibdGradientCoding,
    ExpanderGradientCoding,
    FastestK,
    LocalSgd,
    SparseGraphGradientCoding,
)
from schemes.testing import check_messages, check_scheme
from simulator.engine.training import Training
from simulator.scenario.loading import load
from straggler_models import Constant, PerWorker, ShiftedExponential
from workloads import LeastSquares

CODES = [
    FastestK(6, k=5, shuffle=True),
    BibdGradientCoding(7, shuffle=True),
    BernoulliGradientCoding(8, p=0.3, shuffle=True, seed=3),
    ExpanderGradientCoding(8, chunks_per_worker=3, shuffle=True),
    ExpanderGradientCoding(8, chunks_per_worker=3, decoding="fixed", shuffle=True),
    SparseGraphGradientCoding(6, d=2, shuffle=True),
    SparseGraphGradientCoding(7, d=2, assignment="bernoulli", decoding="one_step", shuffle=True),
    LocalSgd(6, k=5, steps=3, shuffle=True),
]
SLOWEST = 5  # who never answers in time
ESTIMATE = {"kind": "mu_rule", "mu": 1.0, "wait_for": "nobody"}


def scenario(scheme, **more):
    n = scheme.n_workers
    models = {
        "usual": ShiftedExponential(shift=1.0, mean=0.1, adds_to="startup_s"),
        "slow": PerWorker(Constant.each(startup_s=np.where(np.arange(n) == SLOWEST, 9.0, 0.0))),
    }
    given = {"workers": n, "jobs": 30, "seed": 1, "stragglers": models, "master": ESTIMATE, "schemes": {"it": scheme}}
    return stragglersim.Scenario(**(given | more))


@pytest.mark.parametrize("scheme", CODES, ids=lambda scheme: f"{scheme}, shuffled")
def test_shuffled_codes_keep_the_contract(scheme):
    check_scheme(scheme)
    assert check_messages(scheme) > 0
    assert check_messages(scheme, takes_estimate=True) > 0


@pytest.mark.parametrize("engine", ["events", "vectorised"])
@pytest.mark.parametrize("scheme", CODES, ids=lambda scheme: f"{scheme}, shuffled")
def test_shuffling_changes_no_time_and_no_error(scheme, engine):
    found = [
        stragglersim.run(scenario(dataclasses.replace(scheme, shuffle=shuffle)), engine=engine)
        for shuffle in (True, False)
    ]
    assert found[0].rounds.equals(found[1].rounds)
    assert found[0].jobs.equals(found[1].jobs)


@pytest.mark.parametrize("scheme", CODES, ids=lambda scheme: f"{scheme}, shuffled")
def test_all_data_meet_all_workers_alike(scheme):
    n, n_rounds = scheme.n_workers, 3000
    met = np.zeros((n, n))
    for job in range(n_rounds):
        for worker in range(n):
            met[worker, list(scheme.data_of(worker, job))] += 1
    share = np.array([len(scheme.chunks_of(worker)) for worker in range(n)])[:, np.newaxis] / n
    assert (np.abs(met / n_rounds - share) <= 5 * np.sqrt(share * (1 - share) / n_rounds) + 1e-12).all()
    plain = dataclasses.replace(scheme, shuffle=False)
    assert [plain.data_of(worker, 7) for worker in range(n)] == [plain.chunks_of(worker) for worker in range(n)]


def test_the_order_is_of_the_seed_and_the_round():
    of = [FastestK(20, k=5, shuffle=True, seed=seed).data_order(job).tolist() for seed in (1, 2) for job in (0, 1)]
    assert len({*map(tuple, of)}) == 4
    assert FastestK(20, k=5, shuffle=True, seed=1).data_order(0).tolist() == of[0]


STARVED = [
    lambda shuffle: FastestK(6, k=5, shuffle=shuffle),
    lambda shuffle: SparseGraphGradientCoding(6, d=1, shuffle=shuffle),
    lambda shuffle: LocalSgd(6, k=5, steps=3, shuffle=shuffle),
    lambda shuffle: BernoulliGradientCoding(6, p=0.2, shuffle=shuffle),
]


@pytest.mark.parametrize("make", STARVED, ids=["fastest_k", "sparse_graph", "local_sgd", "bernoulli"])
def test_the_data_of_a_worker_that_is_always_slow_are_not_starved(make):
    data = LeastSquares(rows=60, dimension=20, noise=1.0)
    training = Training(workload=data, learning_rate=0.02)
    least, beyond = data.loss(data.optimum), {}
    for shuffle in (False, True):
        results = stragglersim.run(scenario(make(shuffle), jobs=800, training=training))
        assert (results.rounds["stragglers"] == 1).mean() > 0.99
        beyond[shuffle] = results.training["loss"].iloc[-100:].mean() - least
    # without the rows of one worker, the model goes where the others' are fitted best; with noise, it stays near
    assert beyond[True] < 0.4 * beyond[False]


def test_a_scenario_says_so(tmp_path):
    path = tmp_path / "it.yaml"
    path.write_text(
        "workers: 7\njobs: 3\nseed: 4\nstragglers: {usual: {kind: constant, startup_s: 1}}\nschemes:\n"
        "  k: {kind: fastest_k, k: 3, shuffle: true}\n  design: {kind: bibd_gradient_coding, shuffle: true}\n"
    )
    of = load(path)
    assert all(scheme.shuffle and scheme.seed == 4 for scheme in of.schemes.values())
    assert of.to_yaml().count("shuffle: true") == 2
