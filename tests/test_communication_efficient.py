"""Responses that are parts of a gradient: Ye and Abbe's code."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import CommunicationEfficientGradientCoding, GradientCoding
from schemes.base.codec import in_parts, message
from schemes.base.work import Task
from schemes.testing import check_codec, check_messages
from straggler_models import Constant, PerWorker, ShiftedExponential
from stragglersim import Network

SETTINGS = [(n, s, m) for n in range(1, 7) for s in range(n) for m in range(1, n - s + 1)]


def decoded(code, gradients, answered):
    """The gradient that any master has who knows only messages and weights."""
    messages = []
    for worker in answered:
        (task,) = code.tasks_of(worker, 0)
        messages.append(message(code.coefficients(worker, task, 0), gradients[list(task.chunks)]))
    return (code.weights(np.array(answered)).values[answered].T @ np.array(messages)).ravel()[: gradients.shape[1]]


@pytest.mark.parametrize(("n", "s", "m"), SETTINGS)
def test_any_responses_but_s_give_the_gradient(n, s, m):
    code = CommunicationEfficientGradientCoding(n, s=s, m=m)
    gradients = np.random.default_rng(0).standard_normal((n, 7))  # 7 is cut into no equal parts
    for answered in itertools.combinations(range(n), n - s):
        np.testing.assert_allclose(decoded(code, gradients, [*answered]), gradients.sum(axis=0), atol=1e-9)
    for answered in itertools.combinations(range(n), n - s - 1):
        assert code.decode(answered) is None
    assert all(len(code.chunks_of(worker)) == s + m for worker in range(n))


def test_a_response_is_a_part_of_a_gradient():
    code = CommunicationEfficientGradientCoding(5, s=1, m=2)
    assert message(code.coefficients(0, Task(0, "coded", 0.6, (0, 1, 2)), 0), np.ones((3, 9))).shape == (5,)
    assert in_parts(np.ones((3, 9)), 2).shape == (3, 2, 5)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_larger_codes_are_well_conditioned(data):
    n = data.draw(st.integers(7, 40))
    s = data.draw(st.integers(0, n // 2))
    code = CommunicationEfficientGradientCoding(n, s=s, m=data.draw(st.integers(1, n // 2)))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    answered = rng.permutation(n)[: n - data.draw(st.integers(0, s))]
    weights = code.weights(answered)
    wanted = np.tile(np.eye(code.m), n)
    assert np.abs(weights.values.T @ code.encoding_matrix() - wanted).max() < 1e-7
    assert weights.condition < 1e7
    assert not weights.values[np.setdiff1d(np.arange(n), answered)].any()


def test_numbers_at_the_size_of_a_cluster():
    assert check_codec(CommunicationEfficientGradientCoding(100, s=10, m=5), n_jobs=6).worst < 1e-8
    assert check_messages(CommunicationEfficientGradientCoding(20, s=4, m=3), n_jobs=6) > 0


def results(scheme, engine, **more):
    of = {"workers": scheme.n_workers, "jobs": 6, "trials": 2, "seed": 4, "schemes": {"it": scheme}} | more
    return stragglersim.run(stragglersim.Scenario(**of), engine=engine)


@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_with_one_part_it_is_gradient_coding(engine):
    models = {"usual": ShiftedExponential(shift=0.2, mean=0.5, adds_to="startup_s"), "work": Constant(0, 2.0)}
    own, gc = (
        results(scheme, engine, stragglers=models, network=Network(gradient_bytes=8.0)).rounds
        for scheme in (CommunicationEfficientGradientCoding(6, s=2, m=1), GradientCoding(6, s=2))
    )
    assert own.drop(columns="kind", errors="ignore").equals(gc.drop(columns="kind", errors="ignore"))


def mean_order_statistic(n, k, cdf, end):
    """Mean of the k-th smallest of n independent times above 0."""
    at = np.linspace(0, end, 20001)
    p = cdf(at)
    fewer = sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k))
    return np.trapezoid(fewer, at)


@pytest.mark.parametrize(("s", "m"), [(0, 1), (2, 1), (1, 3), (0, 4)])
def test_the_model_of_the_paper_in_closed_form(s, m):
    # d chunks take d t1 + Exp(mean d / l1), 1/m of a gradient t2 / m + Exp(mean 1 / (m l2)); the n - s fastest count
    n, d, t1, l1, t2, l2 = 8, s + m, 1.6, 0.8, 6.0, 0.1
    computing, sending = d / l1, 1 / (m * l2)

    def cdf(at):
        left = np.maximum(0, at - d * t1 - t2 / m)
        return 1 - (computing * np.exp(-left / computing) - sending * np.exp(-left / sending)) / (computing - sending)

    models = {
        "computing": ShiftedExponential(shift=n * t1, mean=n / l1, adds_to="seconds_per_load"),
        "sending": ShiftedExponential(shift=t2 / m, mean=sending, adds_to="startup_s"),
    }
    code = CommunicationEfficientGradientCoding(n, s=s, m=m)
    duration_s = results(code, "auto", stragglers=models, jobs=4000, trials=1).rounds["duration_s"]
    assert abs(duration_s.mean() - mean_order_statistic(n, n - s, cdf, 400)) < 4 * duration_s.sem()


@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_half_gradients_are_half_the_bytes(engine):
    models = {"usual": ShiftedExponential(shift=0.2, mean=0.5, adds_to="startup_s")}
    rounds = results(
        CommunicationEfficientGradientCoding(6, s=2, m=2), engine, stragglers=models, network=Network(gradient_bytes=8)
    ).rounds
    assert rounds["uploads"].tolist() == [4] * 12
    assert rounds["bytes_up"].tolist() == [16.0] * 12


def test_a_round_by_hand():
    # 3 of 4 chunks take 3 s, half a gradient 1 s more; worker 3 is 5 s late and not needed
    of = {
        "stragglers": {"usual": PerWorker(Constant.each(startup_s=[0.0, 0.1, 0.2, 5.0], seconds_per_load=4.0))},
        "network": Network(gradient_bytes=20.0, worker_bytes_per_s=10.0),
        "trials": 1,
    }
    rounds = results(CommunicationEfficientGradientCoding(4, s=1, m=2), "events", **of).rounds
    assert rounds["duration_s"].tolist() == pytest.approx([4.2] * 6)
    assert rounds["bytes_up"].tolist() == [30.0] * 6


@pytest.mark.parametrize(
    ("given_", "message_"),
    [
        ({"s": 5, "m": 1}, "s must be between 0 and 4, got 5"),
        ({"s": 2, "m": 4}, r"m must be between 1 and 3 \(s \+ m at most n\), got 4"),
        ({"s": 2, "m": 0}, "m"),
    ],
)
def test_what_makes_no_sense_is_refused(given_, message_):
    with pytest.raises(ValueError, match=message_):
        CommunicationEfficientGradientCoding(5, **given_)
