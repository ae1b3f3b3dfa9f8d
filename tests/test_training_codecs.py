"""Decoding inside training: how exact it is, and codes that decode something else."""

import itertools

import numpy as np
import pytest
from training_examples import EXACT_SCHEMES, curve, scenario

import stragglersim
from schemes import GradientCoding, Multiplexed
from schemes.base.codec import Weights
from schemes.base.linear_codec import LinearCodec
from simulator.engine.training import Training
from straggler_models import Constant
from stragglersim import SimulationError
from workloads import LeastSquares, LogisticRegression


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


def test_at_the_optimum_the_chunks_are_the_measure():
    training = Training(workload=LeastSquares(dimension=3, condition=1.0), learning_rate=0.9)
    results = stragglersim.run(scenario({"GC": GradientCoding(8, s=2)}, training, models=None, jobs=100))
    # the gradient itself is rounding there, and what was decoded is rounding beside it
    assert results.training["gradient_error"].max() < 1e-8
    assert results.training["gradient_error"].iloc[-1] > 0
    assert results.runs["worst_residual"].item() < 1e-12


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
