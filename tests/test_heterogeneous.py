"""Load in proportion to speed: Wang et al.'s code, and the speeds that a scenario says."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import GradientCoding, HeterogeneousGradientCoding
from schemes.heterogeneous_gradient_coding import rounded, shares
from schemes.testing import check_codec, check_messages
from simulator.scenario.loading import load
from straggler_models import Constant, Gamma, PerWorker, ShiftedExponential
from stragglersim import ScenarioError

SPEEDS = [[1.0], [2.0, 1.0], [1.0, 1.0, 3.0], [4.0, 2.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 6]
SPEEDS += [[0.0, 1.0, 1.0, 0.01, 5.0], [9.0, 1.0, 1.0, 2.0, 2.0, 3.0]]
CASES = [(speeds, s) for speeds in SPEEDS for s in range(np.count_nonzero(speeds))]


@pytest.mark.parametrize(("speeds", "s"), CASES, ids=repr)
def test_any_s_workers_may_be_missing(speeds, s):
    n = len(speeds)
    code = HeterogeneousGradientCoding(n, speeds=speeds, s=s)
    matrix, session = code.encoding_matrix(), code.start(1, np.random.default_rng(0))
    for missing in itertools.combinations(range(n), s):
        answered = [worker for worker in range(n) if worker not in missing and code.counts[worker]]
        values = code.weights(np.array(answered)).values
        np.testing.assert_allclose(values @ matrix, 1, atol=1e-9)
        assert not np.delete(values, answered).any()
        session.open_round(0)
        for worker in answered:
            session.receive(worker, 0)
        assert session.enough()
    assert ((matrix != 0).sum(axis=0) == s + 1).all()
    assert (np.count_nonzero(matrix, axis=1) == code.counts).all()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_loads_are_shares_of_speeds_to_rounding(data):
    n = data.draw(st.integers(1, 30))
    speeds = data.draw(st.lists(st.floats(0.05, 20.0), min_size=n, max_size=n))
    s = data.draw(st.integers(0, n - 1))
    chunks = data.draw(st.sampled_from([None, 1, 7, n, 3 * n]))
    code = HeterogeneousGradientCoding(n, speeds=speeds, s=s, chunks=chunks)
    assert code.counts.sum() == code.n_chunks * (s + 1)
    assert code.counts.max() <= code.n_chunks
    exact = np.array(speeds) * (s + 1) / sum(speeds)
    if exact.max() <= 1:
        assert (np.abs(code.counts - exact * code.n_chunks) < 1 + 1e-9).all()
    assert code.mean_load == pytest.approx((s + 1) / n)
    answered = np.random.default_rng(n).permutation(n)[: n - s]
    assert np.abs(code.weights(answered).values @ code.encoding_matrix() - 1).max() < 1e-6


def test_what_a_worker_can_not_hold_is_shared_out():
    assert shares(np.array([1.0, 3.0, 100.0, 50.0]), 2).tolist() == [0.25, 0.75, 1.0, 1.0]
    assert rounded(np.array([0.25, 0.75, 1.0]), 6).tolist() == [2, 4, 6]  # 1.5 and 4.5: ties go to the first


def test_the_number_of_chunks_makes_rounding_small():
    # 2 * [1, 2, 3]/6 of 3 chunks are whole; of speeds that differ by 10 %, some loads of 6 chunks are 1/6 too large
    assert HeterogeneousGradientCoding(3, speeds=[1.0, 2.0, 3.0], s=1).n_chunks == 3
    code = HeterogeneousGradientCoding(6, speeds=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5], s=1)
    loads, exact = code.worker_loads(), 2 * np.array(code.speeds) / sum(code.speeds)
    assert (loads / exact).max() < 1.02 < (rounded(exact, 6) / 6 / exact).max()
    assert check_codec(code, n_jobs=6).worst < 1e-8
    assert check_messages(code, n_jobs=6) > 0


def rounds_of(scheme, models, **more):
    given = {"workers": scheme.n_workers, "jobs": 5, "stragglers": models, "schemes": {"it": scheme}}
    return stragglersim.run(stragglersim.Scenario(**(given | more))).rounds


def test_all_finish_together_without_stragglers():
    # 2 chunks of each 1/3 in all: loads 1/3, 2/3, 1 at speeds 1, 2, 3 take 1/3 s; equal loads would take 2/3 s
    models = {"usual": PerWorker(Constant.each(seconds_per_load=[1.0, 1 / 2, 1 / 3]))}
    code = HeterogeneousGradientCoding(3, speeds=[1.0, 2.0, 3.0], s=1)
    rounds = rounds_of(code, models)
    assert rounds["duration_s"].tolist() == pytest.approx([1 / 3] * 5)
    assert rounds_of(GradientCoding(3, s=1), models)["duration_s"].tolist() == pytest.approx([1 / 3] * 5)
    everybody = {"kind": "mu_rule", "mu": 1.0, "wait_for": "all"}
    assert rounds_of(code, models, master=everybody)["stragglers"].tolist() == [0] * 5
    slow = {"usual": PerWorker(Constant.each(startup_s=[0.0, 0.0, 9.0], seconds_per_load=[1.0, 1 / 2, 1 / 3]))}
    assert rounds_of(code, slow)["duration_s"].tolist() == pytest.approx([1 / 3] * 5)
    assert rounds_of(GradientCoding(3, s=1), slow)["duration_s"].tolist() == pytest.approx([2 / 3] * 5)


AUTO = """\
workers: 4
jobs: 3
stragglers:
  usual: {kind: per_worker, model: {kind: constant, seconds_per_load: [1, 1, 2, 4]}}
  slow: {kind: bernoulli, p: 0.2, slowdown: 4}
schemes:
  it: {kind: heterogeneous_gradient_coding, s: 1, speeds: auto}
"""


def loaded(tmp_path, *changes):
    text = AUTO
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "it.yaml"
    path.write_text(text)
    return load(path)


def test_auto_takes_speeds_from_what_is_each_workers_own(tmp_path):
    of = loaded(tmp_path)
    assert of.schemes["it"].known_speeds == [1.0, 1.0, 0.5, 0.25]
    assert "speeds: auto" in of.to_yaml()
    assert of.schemes["it"].counts.tolist() == HeterogeneousGradientCoding(4, speeds=[4, 4, 2, 1], s=1).counts.tolist()
    models = {"usual": {"kind": "per_worker", "model": {"kind": "constant", "seconds_per_load": [2, 1, 1, 1]}}}
    scheme = {"kind": "heterogeneous_gradient_coding", "s": 1, "speeds": "auto"}
    in_python = stragglersim.Scenario(workers=4, jobs=2, stragglers=models, schemes={"it": scheme})
    assert in_python.schemes["it"].known_speeds == [0.5, 1.0, 1.0, 1.0]
    made = {"usual": PerWorker(Constant.each(seconds_per_load=[2, 1, 1, 1])), "all": Constant(seconds_per_load=1.0)}
    in_python = stragglersim.Scenario(workers=4, jobs=2, stragglers=made, schemes={"it": scheme})
    assert in_python.schemes["it"].known_speeds == pytest.approx([2 / 3, 1.0, 1.0, 1.0])


def test_auto_takes_means_of_what_is_drawn():
    for model, mean_s in (
        (ShiftedExponential.each(shift=[1.0, 2.0], mean=[1.0, 2.0], adds_to="seconds_per_load"), [2.0, 4.0]),
        (Gamma.each(mean=[3.0, 1.0], variance=1.0, adds_to="seconds_per_load"), [3.0, 1.0]),
    ):
        scheme = {"kind": "heterogeneous_gradient_coding", "s": 1, "speeds": "auto"}
        of = stragglersim.Scenario(workers=2, jobs=2, stragglers={"it": PerWorker(model)}, schemes={"it": scheme})
        assert of.schemes["it"].known_speeds == pytest.approx(min(mean_s) / np.array(mean_s), rel=0.05)
        again = stragglersim.Scenario(workers=2, jobs=2, stragglers={"it": PerWorker(model)}, schemes={"it": scheme})
        assert again.schemes["it"].known_speeds == of.schemes["it"].known_speeds


def test_a_sweep_of_the_workers_changes_the_speeds(tmp_path):
    sweep = "sweep: {stragglers.usual.model.seconds_per_load: [[1, 1, 1, 1], [1, 2, 3, 4]]}\njobs: 3"
    of = loaded(tmp_path, ("jobs: 3", sweep))
    assert [at.schemes["it"].counts.tolist() for _, at in of.points] == [[2, 2, 2, 2], [4, 2, 1, 1]]
    assert load_again(of).points[1][1].schemes["it"].counts.tolist() == [4, 2, 1, 1]


def load_again(of):
    return stragglersim.Scenario(
        workers=4,
        jobs=3,
        stragglers=of.stragglers,
        schemes={"it": {"kind": "heterogeneous_gradient_coding", "s": 1, "speeds": "auto"}},
        sweep=of.sweep,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [("per_worker, model: {kind: constant, seconds_per_load: [1, 1, 2, 4]}", "constant, seconds_per_load: 1")],
            "",
        ),
        ([("seconds_per_load", "startup_s")], ""),
        ([("auto", "[1, 2, 3]")], "speeds: must have 4 entries, one for each worker, got 3"),
        ([("auto", "[1, 2, 3, -1]")], "speeds.3: must be greater than or equal to 0, got -1"),
        ([("auto", "fast")], "speeds: must be 'auto', got 'fast'"),
        ([("auto", "[0, 0, 1, 1]"), ("s: 1", "s: 2")], "s: must be between 0 and 1, for workers with a speed above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, changes, message):
    nothing = "speeds: must be a list unless a per_worker straggler model has seconds per load, got auto"
    with pytest.raises(ScenarioError) as error:
        loaded(tmp_path, *changes)
    (line,) = str(error.value).splitlines()
    assert f"schemes.it.{message or nothing}" in line


def test_wrong_models_are_told_alone(tmp_path):
    with pytest.raises(ScenarioError) as error:
        loaded(tmp_path, ("[1, 1, 2, 4]", "[1, 1, 2]"))
    (line,) = str(error.value).splitlines()
    assert "stragglers.usual.model.seconds_per_load: must have 4 entries" in line


def test_a_model_that_can_not_be_made_is_told_alone(tmp_path):
    with pytest.raises(ScenarioError) as error:
        loaded(tmp_path, ("per_worker", "per_workers"))
    (line,) = str(error.value).splitlines()
    assert "stragglers.usual.kind: 'per_workers' is not one of" in line
