"""Real gradients: what schemes do to training, against plain descent, closed forms and numbers worked out by hand."""

import dataclasses
import itertools
import os
import re
import subprocess
import sys

import jsonschema
import numpy as np
import pandas as pd
import pytest
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML as YAML_

import stragglersim
from schemes import (
    BernoulliGradientCoding,
    FastestK,
    FractionalRepetition,
    GradientCoding,
    Ideal,
    Multiplexed,
    PartialGradientCoding,
    SelectiveRepeat,
    Uncoded,
)
from schemes.assignment import Cyclic
from schemes.base.codec import Weights
from schemes.base.linear import LinearCodec
from simulator.cli.run_summary import print_summary
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.training import Training
from simulator.engine.worker_times import stream
from simulator.results.compare import compare
from simulator.results.compare_text import notes
from simulator.results.summary import summary
from simulator.scenario.identity import setting_key
from simulator.scenario.json_schema import scenario_schema
from simulator.scenario.no_effect import warnings
from straggler_models import Constant, GilbertElliott, ShiftedExponential
from stragglersim import SimulationError
from workloads import LeastSquares, LogisticRegression, TwoLayerNetwork, Workload
from workloads.base import Measured
from workloads.testing import check_workload

STRAGGLERS = {
    "usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s"),
    "bursts": GilbertElliott(p_slow=0.1, p_recover=0.5, slowdown=4.0),
}
EXACT_SCHEMES = {
    "uncoded": Uncoded(8),
    "GC": GradientCoding(8, s=2),
    "GC-Rep": FractionalRepetition(8, s=1),
    "SR-SGC": SelectiveRepeat(8, B=2, W=3, lam=3),
    "SR-SGC, late": SelectiveRepeat(8, B=1, W=2, lam=4, accepts="recoverable", late_responses="keep"),
    "M-SGC": Multiplexed(8, B=1, W=2, lam=3),
    "M-SGC-Rep": Multiplexed(8, B=2, W=3, lam=3, code="fractional_repetition"),
    "M-SGC, prefix": Multiplexed(8, B=2, W=3, lam=2, credit="prefix", accepts="recoverable", late_responses="keep"),
    "partial": PartialGradientCoding(8, assignment=Cyclic(4)),
    "partial, l = 2": PartialGradientCoding(8, assignment=Cyclic(4), blocks=2),
    "ideal": Ideal(8),
}


def scenario(schemes, training, **given):
    n_workers = next(iter(schemes.values())).n_workers
    given = {"workers": n_workers, "jobs": 40, "models": 4, "stragglers": STRAGGLERS, "leftover": "finish"} | given
    return stragglersim.Scenario(schemes=schemes, training=training, **given)


def descent(workload, n_steps, rate, parameters, rows=None, momentum=0.0):
    """Plain gradient descent; the loss after each step."""
    velocity, losses = 0.0, [workload.loss(parameters)]
    for step in range(n_steps):
        chosen = slice(None) if rows is None else rows[step]
        n_rows = workload.n_rows if rows is None else len(chosen)
        velocity = momentum * velocity + workload.gradient(parameters, chosen) / n_rows
        parameters = parameters - rate * velocity
        losses.append(workload.loss(parameters))
    return np.array(losses)


def curve(results, scheme, model=0, trial=0, column="loss"):
    table = results.training
    chosen = table[(table["scheme"] == scheme) & (table["model"] == model) & (table["trial"] == trial)]
    assert chosen["step"].tolist() == list(range(len(chosen)))
    return chosen[column].to_numpy()


# --- exact schemes ---


@pytest.mark.parametrize("optimiser", ["sgd", "momentum"])
def test_exact_schemes_follow_plain_full_batch_descent(optimiser):
    workload = TwoLayerNetwork(hidden=8, l2=1e-3)
    run = scenario(EXACT_SCHEMES, Training(workload=workload, learning_rate=0.5, optimiser=optimiser), trials=2)
    results = stragglersim.run(run)
    assert results.runs["decode_failures"].sum() == 0
    for trial, model in ((0, 0), (1, 3)):
        initial = workload.initial(stream(run.seed, trial, "model", str(model)))
        plain = descent(workload, 10, 0.5, initial, momentum=0.9 * (optimiser == "momentum"))
        assert plain[-1] < plain[0]
        for label in EXACT_SCHEMES:
            np.testing.assert_allclose(curve(results, label, model, trial), plain, rtol=1e-6)
    assert results.runs["worst_residual"].max() < 1e-8
    assert (results.training["gradient_error"].dropna() < 1e-8).all()


def test_least_squares_goes_as_its_closed_form_says():
    problem, rate = LeastSquares(rows=100, dimension=5, condition=4.0), 0.4
    schemes = {"M-SGC": EXACT_SCHEMES["M-SGC"]}
    results = stragglersim.run(scenario(schemes, Training(workload=problem, learning_rate=rate)))
    shrink, begin = np.eye(5) - rate * problem.hessian, -problem.optimum
    expected = [problem.loss(problem.optimum + np.linalg.matrix_power(shrink, k) @ begin) for k in range(11)]
    np.testing.assert_allclose(curve(results, "M-SGC", model=2), expected, rtol=1e-9)


@pytest.mark.parametrize("batch", [30, 37, 1])
def test_batches_are_the_same_under_every_scheme(batch):
    problem = LeastSquares(rows=100, dimension=3)
    run = scenario(EXACT_SCHEMES, Training(workload=problem, learning_rate=0.1, batch=batch), seed=5)
    results = stragglersim.run(run)
    rng = stream(5, 0, "batches", "1")
    rows = []
    while len(rows) < 10:
        order = rng.permutation(100)
        rows += [order[first : first + batch] for first in range(0, 100 - batch + 1, batch)]
    plain = descent(problem, 10, 0.1, np.zeros(3), rows)
    for label in EXACT_SCHEMES:
        np.testing.assert_allclose(curve(results, label, model=1), plain, rtol=1e-9)


def test_the_timing_of_a_run_does_not_know_of_training():
    schemes = EXACT_SCHEMES | {"k": FastestK(8, k=5)}
    with_training = stragglersim.run(scenario(schemes, Training(workload=LeastSquares(), learning_rate=0.1), trials=2))
    without = stragglersim.run(scenario(schemes, None, trials=2))
    for table in ("rounds", "jobs"):
        pd.testing.assert_frame_equal(getattr(with_training, table), getattr(without, table), check_exact=True)
    shared = list(without.runs.columns)
    pd.testing.assert_frame_equal(with_training.runs[shared], without.runs, check_exact=True)
    assert without.training is None


def test_a_step_is_taken_when_its_job_is_decoded():
    training = Training(workload=LeastSquares(), learning_rate=0.1)
    results = stragglersim.run(scenario(EXACT_SCHEMES, training, trials=2, round_overhead_s=0.25))
    jobs = results.jobs.assign(model=results.jobs["job"] % 4, step=1 + results.jobs["job"] // 4)
    both = jobs.merge(results.training, on=["scheme", "trial", "model", "step"])
    assert len(both) == len(jobs) == len(results.training) - 2 * 4 * len(EXACT_SCHEMES)
    assert (both["decoded_s"] == both["time_s"]).all()
    assert (results.training.loc[results.training["step"] == 0, "time_s"] == 0).all()


def test_two_models_in_turn_by_hand():
    # one row, feature x, target y: loss (x a - y)^2 / 2, from a = 0; every round takes 2 s; T = 1
    problem = LeastSquares(rows=1, dimension=1, noise=0.0, seed=3)
    x, y = problem.data.features[0, 0], problem.data.targets[0]
    results = stragglersim.run(
        scenario(
            {"SR": SelectiveRepeat(3, B=1, W=2, lam=1)},
            Training(workload=problem, learning_rate=0.25),
            models=2,
            jobs=4,
            stragglers={"usual": Constant(2.0)},
        )
    )
    once = 0.25 * x * y
    twice = once - 0.25 * x * (x * once - y)
    expected = [(0, 0.0, 0.0), (1, 0.0, 0.0), (0, 2.0, once), (1, 4.0, once), (0, 6.0, twice), (1, 8.0, twice)]
    table = results.training[["model", "time_s", "loss"]].itertuples(index=False)
    for (model, time_s, loss), (model_, time_s_, parameter) in zip(table, expected, strict=True):
        assert (model, time_s) == (model_, time_s_)
        assert loss == pytest.approx((x * parameter - y) ** 2 / 2)


def test_chunk_gradients_are_computed_once_for_each_job(monkeypatch):
    calls = []
    compute = LeastSquares.chunk_gradients
    monkeypatch.setattr(
        LeastSquares, "chunk_gradients", lambda self, *given: calls.append(len(given[1])) or compute(self, *given)
    )
    for label in ("GC", "SR-SGC", "M-SGC"):
        calls.clear()
        training = Training(workload=LeastSquares(), learning_rate=0.1)
        stragglersim.run(scenario({label: EXACT_SCHEMES[label]}, training))
        assert calls == [len(EXACT_SCHEMES[label].chunk_loads())] * 40


def test_models_on_the_same_rows_have_their_gradients_computed_together(monkeypatch):
    calls = []
    compute = LogisticRegression.chunk_gradients
    monkeypatch.setattr(
        LogisticRegression, "chunk_gradients", lambda self, *given: calls.append(len(given[0])) or compute(self, *given)
    )
    schemes = EXACT_SCHEMES | {"fastest_k": FastestK(8, k=6)}
    together = stragglersim.run(scenario(schemes, Training(workload=LogisticRegression(), learning_rate=0.5), jobs=11))
    assert calls == [4, 4, 3] * len(schemes)  # turns of 4 models
    calls.clear()
    monkeypatch.setattr("simulator.engine.training.ROOM", 2 * 8 * 650)  # M-SGC has more than 8 chunks
    apart = stragglersim.run(scenario(schemes, Training(workload=LogisticRegression(), learning_rate=0.5), jobs=11))
    sizes = [len(scheme.chunk_loads()) for scheme in schemes.values()]
    assert calls == [n for size in sizes for n in ([2] * 5 + [1] if size == 8 else [1] * 11)]
    pd.testing.assert_frame_equal(apart.training, together.training, rtol=1e-9, atol=1e-9)
    calls.clear()
    training = Training(workload=LogisticRegression(), learning_rate=0.5, batch=200)
    stragglersim.run(scenario({"GC": schemes["GC"]}, training, jobs=11))
    assert calls == [1] * 11  # each model has its own rows


def test_a_job_whose_uploads_come_too_late_changes_nothing():
    schemes = {"partial": EXACT_SCHEMES["partial, l = 2"]}
    results = stragglersim.run(
        scenario(
            schemes,
            Training(workload=LeastSquares(), learning_rate=0.1),
            stragglers={"usual": Constant(1.0)},
            master=FirstEnough(timeout_s=5.0),
            network=stragglersim.Network(ingress_bytes_per_s=1.0, gradient_bytes=10.0),
            jobs=8,
        )
    )
    assert set(results.jobs["status"]) == {"failed"}
    assert results.training.groupby("model")["loss"].nunique().tolist() == [1] * 4
    assert results.training["step"].max() == 2


def test_rows_stand_in_the_order_of_jobs_also_where_a_later_one_ends_first():
    schemes = {"SR-SGC": EXACT_SCHEMES["SR-SGC"]}
    results = stragglersim.run(scenario(schemes, Training(workload=LeastSquares(), learning_rate=0.1)))
    ended_s = results.jobs.sort_values("job")["decoded_s"]
    assert not ended_s.is_monotonic_increasing
    assert results.training["model"].tolist() == [0, 1, 2, 3] * 11
    assert results.training["time_s"].tolist() == [0.0] * 4 + ended_s.tolist()


def test_a_job_that_outlasts_its_delay_is_found_out():
    class Late(SelectiveRepeat):
        @property
        def delay_rounds(self):
            return 1  # and not 2

    training = Training(workload=LeastSquares(), learning_rate=0.1)
    run = scenario({"late": Late(8, B=2, W=3, lam=3)}, training, models=2)
    with pytest.raises(SimulationError, match=r"must have ended when the next one of its model began, in"):
        stragglersim.run(run)


def test_a_workload_that_leaves_out_a_chunk_is_found_out():
    @dataclass(frozen=True)
    class Forgetful(LeastSquares):
        def chunk_gradients(self, parameters, chunks, rows, out):
            n_done = len(chunks) - (len(chunks) > 2)  # what is checked at the beginning has two
            super().chunk_gradients(parameters, chunks[:n_done], rows, out[:n_done])

    run = scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Forgetful(), learning_rate=0.1))
    with pytest.raises(SimulationError, match="gradients of Forgetful must be finite, got others"):
        stragglersim.run(run)


class Models(LeastSquares):
    """Computes all models at once."""

    models_at_once = 4

    def chunk_gradients(self, parameters, chunks, rows, out):
        for model in range(len(parameters)):
            LeastSquares.chunk_gradients(self, parameters[[model]], chunks, rows, out[:, model : model + 1])

    def measured(self, parameters):
        return [Measured(self.loss(model), np.nan) for model in parameters]


class FirstModel(Models):
    def chunk_gradients(self, parameters, chunks, rows, out):
        super().chunk_gradients(np.repeat(parameters[:1], len(parameters), axis=0), chunks, rows, out)


class FirstLoss(Models):
    def measured(self, parameters):
        return super().measured(np.repeat(parameters[:1], len(parameters), axis=0))


class OneLoss(Models):
    def measured(self, parameters):
        return super().measured(parameters[:1])


class Returns(Models):
    def chunk_gradients(self, parameters, chunks, rows, out):
        return np.zeros_like(out)


class NoModels(Models):
    models_at_once = 0


class OwnLoss(LogisticRegression):
    def loss(self, parameters):
        return 100 + super().loss(parameters)


class Empty(LeastSquares):
    def initial(self, rng):
        return np.zeros(0)


class Complex(LeastSquares):
    def gradient(self, parameters, rows):
        return 1j * super().gradient(parameters, rows)


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        (FirstModel(), "gradient of FirstModel must be summed over its rows, .* of another model"),
        (FirstLoss(), "measured of FirstLoss must be loss and accuracy of each model"),
        (OneLoss(), "measured of OneLoss must be loss and accuracy of each of 3 models"),
        (Returns(), "chunk_gradients of Returns must fill out with finite numbers"),
        (NoModels(), "models_at_once of NoModels must be a whole number of at least 1, got 0"),
        (OwnLoss(), "measured of OwnLoss must be loss and accuracy of each model, 102.* got 2.3"),
        (Empty(), r"initial of Empty must be a vector of finite numbers, got shape \(0,\)"),
        pytest.param(
            Complex(), "must be a vector of 16 real", marks=pytest.mark.filterwarnings("ignore:Casting complex values")
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_workload_that_computes_models_together_must_keep_them_apart(workload, said):
    run = scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=workload, learning_rate=0.1))
    with pytest.raises(SimulationError, match=said):
        stragglersim.run(run)


def test_a_workload_of_ones_own_may_compute_models_together():
    run = scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Models(), learning_rate=0.1))
    np.testing.assert_allclose(
        curve(stragglersim.run(run), "GC", model=3), descent(Models(), 10, 0.1, np.zeros(16)), rtol=1e-9
    )


@pytest.mark.parametrize("fault", ["writes", "first", "short"])
def test_a_code_of_ones_own_that_decodes_wrongly_is_told(fault):
    class OwnCodec(LinearCodec):
        def end(self, outcome):
            return super().end(outcome)._replace(decode=self.wrong)

        def wrong(self, responses, gradients):
            if fault == "writes":
                gradients[0] *= 5
            decoded = super()._decode(responses, gradients)
            return (
                decoded[:1] if fault == "first" else [found._replace(gradient=found.gradient[:3]) for found in decoded]
            )

    class Own(GradientCoding):
        def codec(self, precision, rng):
            return OwnCodec(self, precision)

    said = {"writes": "read-only", "first": "for each of 4 jobs", "short": r"must give a gradient of shape \(650,\)"}
    run = scenario({"own": Own(8, s=2)}, Training(workload=LogisticRegression(), learning_rate=0.1))
    with pytest.raises(SimulationError, match=said[fault]):
        stragglersim.run(run)


def test_a_job_is_exact_also_after_a_worse_one_that_was_legal():
    # the first job is wrong by as much as its condition allows; near the optimum chunks cancel
    class Rough(GradientCoding):
        def weights(self, answered):
            calls.append(answered)
            values, condition = super().weights(answered)
            return Weights(values * (1 + 5e-8), 1e8) if len(calls) == 1 else Weights(values, condition)

    calls = []
    training = Training(workload=LeastSquares(dimension=3, condition=1.0), learning_rate=0.5)
    results = stragglersim.run(scenario({"rough": Rough(8, s=2)}, training, models=None, jobs=100))
    assert 0 < results.training["gradient_error"].iloc[-1] < 1e-12
    assert results.runs["worst_residual"].item() == pytest.approx(5e-8, rel=1e-3)


def test_uncoded_rounds_before_a_scheme_train_too(monkeypatch):
    problem, cut = LeastSquares(), []
    compute = LeastSquares.chunk_gradients
    monkeypatch.setattr(
        LeastSquares, "chunk_gradients", lambda self, *given: cut.append(len(given[1])) or compute(self, *given)
    )
    schemes = {label: EXACT_SCHEMES[label] for label in ("GC", "M-SGC")}
    results = stragglersim.run(scenario(schemes, Training(workload=problem, learning_rate=0.1), probe=6))
    plain = descent(problem, 10, 0.1, np.zeros(16))
    for label in schemes:
        np.testing.assert_allclose(curve(results, label, model=3), plain, rtol=1e-9)
    assert cut == [8] * 40 + [8] * 6 + [16] * 34  # chunks of GC, then those of M-SGC after the uncoded ones


# --- approximate schemes ---


def stationary_loss(problem, mean, second, rate):
    """Mean loss in the long run, above the smallest one, if chunk c has a random weight w_c in each step.

    With e the distance to the optimum, chunk c has the gradient A_c e + r_c, so e' = e - rate sum_c w_c (A_c e + r_c).
    From ``mean`` E w_c and ``second`` E w_c w_d follow the mean of e and its second moment P, as those that a step
    leaves as they are; the loss is tr(H P) / 2.
    """
    features, targets = problem.data
    n_rows, d = features.shape
    ends = np.rint(np.arange(len(mean) + 1) / len(mean) * n_rows).astype(int)
    A, r = [], []
    for first, end in itertools.pairwise(ends):
        X = features[first:end]
        A.append(X.T @ X / n_rows)
        r.append(X.T @ (X @ problem.optimum - targets[first:end]) / n_rows)
    A, r, unit = np.array(A), np.array(r), np.eye(d)
    A_mean, r_mean = np.einsum("c,cij->ij", mean, A), mean @ r
    e = np.linalg.solve(A_mean, -r_mean)
    onto = np.eye(d * d) - rate * (np.kron(A_mean, unit) + np.kron(unit, A_mean))
    onto += rate**2 * np.einsum("cd,cij,dkl->ikjl", second, A, A).reshape(d * d, d * d)
    cross = -rate * np.outer(e, r_mean) + rate**2 * np.einsum("cd,ci,dj->ij", second, A @ e, r)
    noise = cross + cross.T + rate**2 * np.einsum("cd,ci,dj->ij", second, r, r)
    assert np.abs(np.linalg.eigvals(onto)).max() < 1
    P = np.linalg.solve(np.eye(d * d) - onto, noise.ravel()).reshape(d, d)
    return np.trace(problem.hessian @ P) / 2


def check_neighbourhood(scheme, moments, rate, master=None):
    """A long run must stay as far above the smallest loss as theory says."""
    problem = LeastSquares(rows=64, dimension=3, noise=1.0, condition=4.0)
    run = scenario(
        {"it": scheme},
        Training(workload=problem, learning_rate=rate),
        models=None,
        jobs=1600,
        trials=2,
        leftover="cancel",
        stragglers={  # all alike, and anew in each round: chunk p of a worker's list is done at p * 0.25 s + noise
            "usual": Constant(startup_s=0.0, seconds_per_load=2.0),
            "noise": ShiftedExponential(shift=0.0, mean=0.5, adds_to="startup_s"),
        },
        **({"master": master} if master else {}),
    )
    results, least = stragglersim.run(run), problem.loss(problem.optimum)
    above = [curve(results, "it", trial=trial)[100:1600] - least for trial in range(2)]
    blocks = np.concatenate(above).reshape(-1, 100).mean(axis=1)  # long enough to be independent
    expected, error = stationary_loss(problem, *moments, rate), blocks.std(ddof=1) / np.sqrt(len(blocks))
    assert error < 0.05 * expected
    assert abs(blocks.mean() - expected) < 4 * error


@pytest.mark.parametrize(("k", "rate"), [(3, 0.3), (6, 0.6)])
def test_fastest_k_ends_in_the_neighbourhood_that_theory_gives(k, rate):
    second = np.full((8, 8), 8 * (k - 1) / (k * 7))  # k random ones of 8 weights are 8/k
    np.fill_diagonal(second, 8 / k)
    check_neighbourhood(FastestK(8, k=k), (np.ones(8), second), rate)


def done_by(time_s, position):
    """P(a worker has done that many chunks by then) in `check_neighbourhood`."""
    return 1 - np.exp(-max(0.0, time_s - 0.25 * position) / 0.5)


def test_partial_coding_ends_in_the_neighbourhood_that_theory_gives():
    # a chunk counts if anybody has done it; it is chunk number p of the list of worker c - p + 1, for p = 1, 2, 3
    def lacking(*chunks):
        first = {}  # of each worker's list: position of the first of these chunks
        for chunk, place in itertools.product(chunks, (3, 2, 1)):
            worker = (chunk - place + 1) % 8
            first[worker] = min(place, first.get(worker, place))
        return np.prod([1 - done_by(0.7, place) for place in first.values()])

    each = range(8)
    mean = np.array([1 - lacking(c) for c in each])
    second = np.array([[1 - lacking(c) - lacking(d) + lacking(c, d) for d in each] for c in each])
    assert 0.5 < mean[0] < 0.9
    scheme = PartialGradientCoding(8, assignment=Cyclic(3))
    assert scheme.placement.positions.T.tolist()[0][:3] == [1, 2, 3]
    check_neighbourhood(scheme, (mean, second), 0.4, FixedTime(time_s=0.7))


def test_approximate_codes_end_in_the_neighbourhood_that_theory_gives():
    scheme = BernoulliGradientCoding(8, p=0.3)
    matrix = scheme.encoding_matrix()
    mean, second = np.zeros(8), np.zeros((8, 8))
    for answered in itertools.product([False, True], repeat=8):
        rows = matrix[list(answered)]
        weights = np.linalg.lstsq(rows.T, np.ones(8), rcond=None)[0] @ rows if any(answered) else np.zeros(8)
        shares = [
            done_by(1.2, n) if is_in else 1 - done_by(1.2, n) for is_in, n in zip(answered, matrix.sum(1), strict=True)
        ]
        mean += np.prod(shares) * weights
        second += np.prod(shares) * np.outer(weights, weights)
    check_neighbourhood(scheme, (mean, second), 0.4, FixedTime(time_s=1.2))


def test_estimates_are_off_and_train_all_the_same():
    schemes = {
        "partial": PartialGradientCoding(8, assignment=Cyclic(4)),
        "baseline": PartialGradientCoding(8, assignment=Cyclic(4), credit="whole_list"),
        "BGC": BernoulliGradientCoding(8, p=0.4),
    }
    training = Training(workload=LogisticRegression(), learning_rate=0.5)
    run = scenario(schemes, training, master=FixedTime(time_s=1.6))
    results = stragglersim.run(run)
    jobs = results.jobs.assign(model=results.jobs["job"] % 4, step=1 + results.jobs["job"] // 4)
    both = jobs.merge(results.training, on=["scheme", "trial", "model", "step"])
    assert {"approximate", "decoded"} <= set(both["status"])
    is_exact = both["status"] == "decoded"
    assert (both.loc[is_exact, "gradient_error"] < 1e-8).all()
    assert (both.loc[~is_exact, "gradient_error"] > 1e-4).all()
    last = results.training.groupby("scheme").last()
    assert (last["loss"] < np.log(10)).all()


def test_messages_in_float32_are_near_those_in_float64():
    schemes = {"GC": GradientCoding(8, s=2), "M-SGC": Multiplexed(8, B=1, W=2, lam=3)}
    workload = LogisticRegression()
    runs = [
        stragglersim.run(scenario(schemes, Training(workload=workload, learning_rate=0.5, messages=messages)))
        for messages in ("float64", "float32")
    ]
    for label in schemes:
        double, single = (curve(results, label) for results in runs)
        assert not np.array_equal(double[1:], single[1:])
        np.testing.assert_allclose(single, double, rtol=1e-4)
    assert (runs[1].runs["worst_residual"] > 1e-9).all()


# --- failures ---


@pytest.mark.parametrize("on_failure", ["skip", "repeat"])
def test_failed_jobs_are_skipped_or_repeated(on_failure):
    problem = LeastSquares(rows=60, dimension=3)
    training = Training(workload=problem, learning_rate=0.2, batch=10, on_failure=on_failure)
    results = stragglersim.run(
        scenario({"GC": GradientCoding(8, s=1)}, training, master=FirstEnough(timeout_s=3.0), leftover="cancel")
    )
    statuses = results.jobs.set_index("job")["status"]
    assert set(statuses) == {"decoded", "failed"}
    for model in range(4):
        rng = stream(0, 0, "batches", str(model))
        batches = [
            order[first : first + 10]
            for order in (rng.permutation(60), rng.permutation(60))
            for first in range(0, 60, 10)
        ]
        parameters, losses = np.zeros(3), [problem.loss(np.zeros(3))]
        for job in range(model, 40, 4):
            if statuses[job] == "decoded":
                parameters = parameters - 0.2 * problem.gradient(parameters, batches.pop(0)) / 10
            elif on_failure == "skip":
                batches.pop(0)
            else:
                continue
            losses.append(problem.loss(parameters))
        np.testing.assert_allclose(curve(results, "GC", model), losses, rtol=1e-9)
    errors = results.training.loc[results.training["step"] > 0, "gradient_error"]
    assert errors.isna().sum() == (statuses == "failed").sum() * (on_failure == "skip")


def test_a_code_that_decodes_something_else_is_found_out():
    class Wrong(GradientCoding):
        def weights(self, answered):
            return Weights(super().weights(answered).values * (1 + 2e-8))

    training = Training(workload=LeastSquares(), learning_rate=0.1)
    run = scenario({"wrong": Wrong(8, s=2)}, training)
    with pytest.raises(SimulationError, match=r"schemes.wrong, trial 0: job 0: .* must be .* got .* 2e-08"):
        stragglersim.run(run)


@pytest.mark.parametrize(("condition", "is_told"), [(1e6, True), (1e7, False)])
def test_a_badly_conditioned_code_may_be_less_exact(condition, is_told):
    class Rough(GradientCoding):
        def weights(self, answered):
            return Weights(super().weights(answered).values * (1 + 5e-8), condition)

    training = Training(workload=LeastSquares(), learning_rate=0.1)
    run = scenario({"rough": Rough(8, s=2)}, training)
    if is_told:
        with pytest.raises(SimulationError, match=r"must be .* to 1e-08, got .* 5e-08, condition number 1e\+06"):
            stragglersim.run(run)
    else:
        assert stragglersim.run(run).runs["worst_residual"].item() == pytest.approx(5e-8, rel=1e-3)


def test_at_the_optimum_the_chunks_are_the_measure():
    training = Training(workload=LeastSquares(dimension=3, condition=1.0), learning_rate=0.9)
    results = stragglersim.run(scenario({"GC": GradientCoding(8, s=2)}, training, models=None, jobs=100))
    # the gradient itself is rounding there, and what was decoded is rounding beside it
    assert results.training["gradient_error"].max() < 1e-8
    assert results.training["gradient_error"].iloc[-1] > 0
    assert results.runs["worst_residual"].item() < 1e-12


def test_the_health_of_a_code_is_in_the_runs(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("schemes.base.codec.time.perf_counter", lambda: float(next(ticks)))
    schemes = {label: EXACT_SCHEMES[label] for label in ("uncoded", "GC", "M-SGC", "partial, l = 2")}
    training = Training(workload=LeastSquares(), learning_rate=0.1)
    runs = stragglersim.run(scenario(schemes, training, trials=2, stragglers={"usual": Constant(1.0)})).runs
    by_scheme = runs.groupby("scheme")
    assert by_scheme.get_group("uncoded")["worst_condition"].tolist() == [1.0, 1.0]
    assert by_scheme.get_group("GC")["decode_mean_s"].tolist() == [1.0, 1.0]
    assert by_scheme.get_group("M-SGC")["decode_mean_s"].tolist() == [2.0, 2.0]  # what is coded, and what is not
    first, second = by_scheme.get_group("partial, l = 2")["worst_condition"]
    assert 1 < first != second > 1  # R is drawn anew in each trial


def test_the_summary_says_how_training_went_and_how_exact_it_was(capsys):
    training = Training(workload=LogisticRegression(), learning_rate=0.5)
    results = stragglersim.run(scenario({"GC": GradientCoding(8, s=2), "k": FastestK(8, k=6)}, training, trials=2))
    of_gc = results.runs["scheme"] == "GC"
    results.runs.loc[of_gc & (results.runs["trial"] == 1), ["worst_residual", "worst_condition"]] = 3e-8, 2e7
    table, runs = summary(results.runs), results.runs[of_gc]
    assert table.loc[0, "final_loss"] == pytest.approx(runs["final_loss"].mean())
    last = results.training.groupby(["scheme", "trial", "model"]).last()
    assert last["loss"].nunique() > 4
    for column in ("loss", "accuracy"):
        assert runs[f"final_{column}"].iloc[0] == pytest.approx(last.loc["GC", 0][column].mean())
    applied = results.training[(results.training["scheme"] == "k") & (results.training["trial"] == 1)]
    assert results.runs["gradient_error_mean"].iloc[-1] == pytest.approx(applied["gradient_error"].mean())
    assert (table.loc[0, "worst_residual"], table.loc[0, "worst_condition"]) == (3e-8, 2e7)
    print_summary(results)
    said = capsys.readouterr().out
    assert re.search(r"GC +\d\.\d+ +\d+\.?\d* % +\d\S*e-\d+ +3.0e-08 +2e\+07 +[\d.]+ ms", said)
    assert "GC: a decoded gradient was off by 3.0e-08 of its length, more than 1e-08" in said
    assert "k: a decoded" not in said


@pytest.mark.parametrize("on_failure", ["skip", "repeat"])
@pytest.mark.parametrize("messages", ["float64", "float32"])
def test_a_model_that_diverges_stops_and_the_run_goes_on(on_failure, messages, capsys):
    schemes = {label: EXACT_SCHEMES[label] for label in ("GC", "M-SGC")}
    training = Training(workload=LeastSquares(), learning_rate=1e100, on_failure=on_failure, messages=messages)
    results = stragglersim.run(scenario(schemes, training, trials=2))
    last = results.training.groupby(["scheme", "trial", "model"]).last()
    assert (last["loss"] == np.inf).all()
    # with the rate r, parameters grow as r, r^2, ... and the loss as their squares: r^4 is beyond all numbers
    assert results.training["step"].value_counts().to_dict() == {step: len(last) for step in (0, 1, 2)}
    assert np.isinf(results.training["loss"]).sum() == len(last)
    assert (results.runs["final_loss"] == np.inf).all()
    print_summary(results)
    assert "M-SGC: models diverged in 2 of 2 runs (training.learning_rate is too large?)." in capsys.readouterr().out
    table = compare(results.runs, metric="final_loss")
    assert table[["mean", "rank"]].isna().all(axis=None)
    assert "-: no mean, as not every trial has a finite final_loss." in notes(table)


@dataclass(frozen=True)
class Steep(Workload):
    """Loss x^4 / 4: from 1, steps of 0.1 x^3 lead to 0; from afar, away from it."""

    n_rows = 2
    far: float = 100.0

    def initial(self, rng):
        return np.array([self.far if rng.random() < 0.5 else 1.0])

    def gradient(self, parameters, rows):
        return len(np.arange(2)[rows]) * parameters**3

    def loss(self, parameters):
        return float(parameters[0] ** 4 / 4)


def test_a_model_that_diverges_leaves_the_others_alone():
    given = scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Steep(), learning_rate=0.1), jobs=80)
    results = stragglersim.run(given)
    begins = [curve(results, "GC", model)[0] for model in range(4)]
    assert set(begins) == {0.25, 0.25e8}
    for model, begin in enumerate(begins):
        if begin == 0.25:
            plain = descent(Steep(), 20, 0.1, np.ones(1))
            np.testing.assert_allclose(curve(results, "GC", model), plain, rtol=1e-6)
        else:
            assert curve(results, "GC", model)[-1] == np.inf
            assert len(curve(results, "GC", model)) < 10
    untrained = stragglersim.run(dataclasses.replace(given, training=None))
    pd.testing.assert_frame_equal(results.jobs, untrained.jobs)


def test_gradients_too_long_for_a_number_have_no_error():
    @dataclass(frozen=True)
    class Slope(Steep):
        def gradient(self, parameters, rows):
            return np.full(1, 1e160) * len(np.arange(2)[rows])  # its square is beyond all numbers

        def loss(self, parameters):
            return float(1e160 * parameters[0])

    results = stragglersim.run(
        scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Slope(far=1.0), learning_rate=1e-160))
    )
    assert curve(results, "GC")[-1] == pytest.approx(-9e160)
    assert results.training["gradient_error"].isna().all()
    assert results.runs[["gradient_error_mean", "worst_residual"]].isna().all(axis=None)


def test_a_loss_that_is_no_number_from_the_beginning_is_told():
    training = Training(workload=Steep(far=1e90), learning_rate=0.1)
    with pytest.raises(SimulationError, match=r"model \d: its loss must be finite at the beginning, got inf"):
        stragglersim.run(scenario({"GC": EXACT_SCHEMES["GC"]}, training))


# --- workloads ---


def test_a_classifier_learns_to_read():
    training = Training(workload=LogisticRegression(), learning_rate=2.0)
    results = stragglersim.run(scenario({"uncoded": Uncoded(4)}, training, models=None, jobs=60))
    accuracy = curve(results, "uncoded", column="accuracy")
    assert accuracy[0] < 0.5
    assert accuracy[-1] > 0.93
    assert results.runs["final_accuracy"].item() == accuracy[-1]


def test_accuracy_is_nan_where_nothing_is_classified():
    training = Training(workload=LeastSquares(), learning_rate=0.1)
    results = stragglersim.run(scenario({"uncoded": Uncoded(4)}, training))
    assert results.training["accuracy"].isna().all()


# --- scenarios ---

YAML = """
workers: 4
jobs: 8
models: 2
seed: 3
stragglers: {usual: {kind: shifted_exponential, shift: 1.0, mean: 0.5, adds_to: startup_s}}
training: {workload: {kind: least_squares, dimension: 3}, learning_rate: 0.1}
schemes:
  GC: {kind: gradient_coding, s: 1}
  SR: {kind: selective_repeat, B: 1, W: 2, lam: 2}
"""


@pytest.fixture
def loaded(tmp_path):
    def load(*overrides, text=YAML):
        (tmp_path / "mine.yaml").write_text(text)
        return stragglersim.load(tmp_path / "mine.yaml", overrides)

    return load


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.learning_rate=0", "training.learning_rate: must be greater than 0, got 0"),
        ("training.batch=513", "training.batch: must be between 1 and 512, the rows of data, got 513"),
        ("training.workload.kind=least", "'least' is not one of least_squares, logistic_regression"),
        ("training.optimizer=sgd", "is not a key here .* did you mean optimiser"),
        ("training.on_failure=stop", "training.on_failure: must be one of skip, repeat, got 'stop'"),
        ("training.workload.condition=0.5", "condition: must be at least 1, got 0.5"),
        ("training=3", r"training: must be a mapping \(keys: workload, .*\), got 3"),
        (
            "training={learning_rate: 1.0}",
            r"training.workload: must be given \(a workload \(list workloads\)\), got nothing",
        ),
        ("models=1", r"schemes.SR: T must be at most models - 1 = 0 rounds, got 1"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(loaded, override, said):
    with pytest.raises(stragglersim.ScenarioError, match=said):
        loaded(override)


def test_without_models_there_is_one(loaded):
    with pytest.raises(
        stragglersim.ScenarioError, match=r"schemes.SR: T must be 0 rounds .* got 1 .set models: 2 or more"
    ):
        loaded(text=YAML.replace("models: 2\n", ""))


def test_a_resolved_scenario_gives_the_same_run(loaded, tmp_path):
    first = stragglersim.run(loaded("training.batch=64", "training.workload.seed=3"))
    first.save(tmp_path / "out")
    assert stragglersim.Results.load(tmp_path / "out").training.equals(first.training)
    jsonschema.validate(YAML_(typ="safe").load(tmp_path / "out" / "scenario.yaml"), scenario_schema())
    again = stragglersim.run(stragglersim.load(tmp_path / "out" / "scenario.yaml"))
    pd.testing.assert_frame_equal(first.training, again.training, check_exact=True)


def test_parts_of_another_training_are_not_gone_on_with(loaded):
    def key(*overrides):
        return setting_key(loaded(*overrides), "GC", detail="rounds", engine="events")

    changes = [
        "training.learning_rate=0.2",
        "training.batch=8",
        "training.workload.noise=0.2",
        "training.messages=float32",
    ]
    assert len({key(), *map(key, changes)}) == 5
    assert key() == key("training.optimiser=sgd")
    assert key("name=other", "trials=2") == key()


def test_keys_of_training_can_be_swept(loaded):
    run = loaded(text=YAML + "sweep: {training.learning_rate: [0.1, 0.2]}\n")
    assert warnings(run) == []
    results = stragglersim.run(run)
    last = results.training.groupby("point")["loss"].last()
    assert last[1] < last[0]
    assert set(results.runs["training.learning_rate"]) == {0.1, 0.2}


def test_arrays_leave_training_to_events(loaded):
    assert set(stragglersim.run(loaded(), engine="auto").runs["engine"]) == {"events"}
    with pytest.raises(SimulationError, match="needs --engine events"):
        stragglersim.run(loaded(), engine="vectorised")


OWN = """
import numpy as np
from pydantic.dataclasses import dataclass
from workloads import Workload

@dataclass(frozen=True)
class Cubic(Workload):
    "The mean of (a - row)^4 / 4."
    fault: str = ""
    n_rows = 8

    def initial(self, rng):
        if self.fault == "matrix":
            return np.zeros((1, 1))
        return np.random.standard_normal(1) if self.fault == "luck" else np.zeros(1)

    def gradient(self, parameters, rows):
        if self.fault == "error":
            raise KeyError("mine")
        if self.fault == "changes":
            parameters -= 0.1
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "long":
            return np.zeros(2)
        if self.fault == "nan":
            return np.array([np.nan])
        each = (parameters - np.arange(8.0)[rows, None]) ** 3
        return each.mean(axis=0) if self.fault == "mean" else each.sum(axis=0)

    def loss(self, parameters):
        if self.fault == "loss":
            return parameters
        return float(np.mean((parameters - np.arange(8.0)) ** 4) / 4)

    def accuracy(self, parameters):
        return 95.0 if self.fault == "percent" else np.nan
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_workload.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield YAML.replace("{kind: least_squares, dimension: 3}", "{kind: 'my_workload:Cubic'}").replace("0.1}", "0.01}")
    sys.modules.pop("my_workload", None)


def test_a_workload_of_ones_own_is_trained(loaded, own):
    results = stragglersim.run(loaded(text=own))
    workload = loaded(text=own).training.workload
    assert isinstance(workload, Workload)
    check_workload(workload)
    np.testing.assert_allclose(curve(results, "SR"), descent(workload, 4, 0.01, np.zeros(1)), rtol=1e-9)


def test_a_workload_that_lacks_something_is_told_what(loaded, own, tmp_path):
    (tmp_path / "my_workload.py").write_text(OWN.replace("def loss", "def lose"))
    with pytest.raises(stragglersim.ScenarioError, match=r"training\.workload: the class Cubic must define loss"):
        loaded(text=own)


def test_a_workload_of_ones_own_gets_all_figures(loaded, own, tmp_path):
    loaded(text=own)
    command = [sys.executable, "-m", "simulator", "run", "mine.yaml", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"loss", "timeline", "stragglers"} <= {path.stem for path in (tmp_path / "out" / "plots").iterdir()}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error", r"a plug-in raised KeyError: 'mine' \(my_workload.py:\d+\)"),
        ("changes", r"a plug-in raised ValueError: output array is read-only \(my_workload.py:\d+\)"),
        ("matrix", r"initial of Cubic must be a vector of finite numbers, got shape \(1, 1\)"),
        ("luck", "initial of Cubic must draw from rng only, got others with an equal one"),
        ("mean", "gradient of Cubic must be summed over its rows, .* got a difference of"),
        ("nan", "gradient of Cubic must be finite at the initial parameters"),
        ("long", r"gradient of Cubic must have as many entries as its parameters, 1, got shape \(2,\)"),
        ("exit", r"a plug-in raised SystemExit: 0 \(my_workload.py:\d+\)"),
        ("loss", r"loss of Cubic must be a number, got an array of shape \(1,\)"),
        ("percent", "accuracy of Cubic must be a share from 0 to 1, or NaN, got 95.0"),
    ],
)
def test_a_fault_of_ones_own_workload_is_told_in_a_line(loaded, own, fault, said):
    run = loaded(f"training.workload.fault={fault}", text=own)
    with pytest.raises(SimulationError, match=r"schemes\.GC, trial 0: " + said):
        stragglersim.run(run)
    with pytest.raises((ValueError, KeyError, SystemExit)):
        check_workload(run.training.workload)


def test_a_waiting_rule_and_a_network_train_as_well(loaded):
    run = scenario(
        {label: EXACT_SCHEMES[label] for label in ("GC", "SR-SGC, late", "partial, l = 2")},
        Training(workload=LeastSquares(), learning_rate=0.1),
        master=MuRule(mu=0.3, wait_for="enough"),
        network=stragglersim.Network(latency_s=0.1, ingress_bytes_per_s=1e6, gradient_bytes=1e5),
    )
    results = stragglersim.run(run)
    plain = descent(LeastSquares(), 10, 0.1, np.zeros(16))
    for label in run.schemes:
        np.testing.assert_allclose(curve(results, label), plain, rtol=1e-9)
