"""Workloads in training: what a classifier learns, and what those are told that compute something else."""

import numpy as np
import pandas as pd
import pytest
from pydantic.dataclasses import dataclass
from training_examples import EXACT_SCHEMES, curve, descent, scenario

import stragglersim
from schemes import FastestK, Uncoded
from simulator.engine.training import Training
from stragglersim import SimulationError
from workloads import LeastSquares, LogisticRegression
from workloads.base import Measured


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


def test_a_workload_that_leaves_out_a_chunk_is_found_out():
    @dataclass(frozen=True)
    class Forgetful(LeastSquares):
        def chunk_gradients(self, parameters, chunks, rows, out):
            n_done = len(chunks) - (len(chunks) > 2)  # what is checked at the beginning has two
            super().chunk_gradients(parameters, chunks[:n_done], rows, out[:n_done])

    run = scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Forgetful(), learning_rate=0.1))
    with pytest.raises(SimulationError, match="gradients of Forgetful must be finite, got other values"):
        stragglersim.run(run)


# --- models computed together ---


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
        (FirstModel(), "gradient of FirstModel must be a sum over its rows, .* of another model"),
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
