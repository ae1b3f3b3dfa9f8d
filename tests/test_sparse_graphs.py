"""Sparse graphs: the errors of Charles, Papailiopoulos and Ellenberg's codes."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import ExpanderGradientCoding, SparseGraphGradientCoding
from straggler_models import Constant, ShiftedExponential


def every_error(code, r):
    """Squared errors of all sets of r responses."""
    n = code.n_workers
    for answered in itertools.combinations(range(n), r):
        yield code.squared_error(~np.isin(np.arange(n), answered), enough=False)


@pytest.mark.parametrize(("n", "d"), [(4, 1), (4, 2), (6, 2), (6, 3), (6, 6), (8, 4), (12, 2)])
def test_mean_errors_of_frc_are_those_of_the_closed_forms(n, d):
    for r in range(1, n + 1):
        if comb(n, r) > 1000:
            continue
        optimal, one_step = (
            np.mean([*every_error(SparseGraphGradientCoding(n, d=d, decoding=decoding), r)])
            for decoding in ("optimal", "one_step")
        )
        assert optimal == pytest.approx(n * comb(n - d, r) / comb(n, r), abs=1e-9)
        assert one_step == pytest.approx(n * (n - d) * (n - r) / (r * d * max(1, n - 1)), abs=1e-9)


def test_the_number_that_was_simulated_elsewhere():
    assert np.mean([*every_error(SparseGraphGradientCoding(12, d=2), 6)]) == pytest.approx(2.7273, abs=1e-4)


@pytest.mark.parametrize(("assignment", "n"), [("fractional", 6), ("bernoulli", 5)])
def test_errors_are_those_of_least_squares(assignment, n):
    code = SparseGraphGradientCoding(n, d=2, assignment=assignment, seed=4)
    held = code.encoding_matrix()
    one_step = SparseGraphGradientCoding(n, d=2, assignment=assignment, decoding="one_step", seed=4)
    for row in itertools.product([False, True], repeat=n):
        missing = np.array(row)
        responses = held[~missing]
        weights = np.linalg.lstsq(responses.T, np.ones(n), rcond=None)[0]
        assert code.squared_error(missing, enough=False) == pytest.approx(((weights @ responses - 1) ** 2).sum())
        r = max(1, len(responses))
        estimate = n / (2 * r) * responses.sum(axis=0)
        assert one_step.squared_error(missing, enough=False) == pytest.approx(((estimate - 1) ** 2).sum())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_errors_of_larger_graphs(data):
    d, groups = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 8))
    n, missing = d * groups, np.zeros(d * groups, dtype=bool)
    missing[data.draw(st.lists(st.integers(0, n - 1), unique=True))] = True
    empty = np.count_nonzero(missing.reshape(groups, d).all(axis=1))
    assert SparseGraphGradientCoding(n, d=d).squared_error(missing, enough=False) == pytest.approx(d * empty, abs=1e-9)
    code = SparseGraphGradientCoding(n, d=d, assignment="bernoulli", seed=data.draw(st.integers(0, 9)))
    responses = code.encoding_matrix()[~missing]
    weights = np.linalg.lstsq(responses.T, np.ones(n), rcond=None)[0]
    expected = ((weights @ responses - 1) ** 2).sum()
    assert code.squared_error(missing, enough=False) == pytest.approx(expected, abs=1e-8)


def test_simulated_errors_meet_the_closed_form():
    models = {"usual": ShiftedExponential(shift=1.0, mean=1.0, adds_to="startup_s"), "work": Constant(0.0, 1.0)}
    # the median worker ends the round: of times that are i.i.d., any so many respond with equal probability
    rule = {"kind": "mu_rule", "mu": 0.0, "reference": "median", "wait_for": "nobody"}
    shared = {"workers": 12, "jobs": 4000, "seed": 1, "stragglers": models, "master": rule}
    schemes = {one: SparseGraphGradientCoding(12, d=2, decoding=one) for one in ("optimal", "one_step")}
    results = stragglersim.run(stragglersim.Scenario(**shared, schemes=schemes))
    r = 12 - int(results.rounds["stragglers"].iloc[0])
    assert set(results.rounds["stragglers"]) == {12 - r}
    found = results.jobs.groupby("scheme")["squared_error"].agg(["mean", "sem"])
    for scheme, expected in (
        ("optimal", 12 * comb(10, r) / comb(12, r)),
        ("one_step", 12 * 10 * (12 - r) / (r * 2 * 11)),
    ):
        assert abs(found.loc[scheme, "mean"] - expected) < 4 * found.loc[scheme, "sem"]


def test_bernoulli_graphs_have_d_copies_on_average():
    held = [SparseGraphGradientCoding(100, d=5, assignment="bernoulli", seed=s).encoding_matrix() for s in range(20)]
    assert np.mean(held) == pytest.approx(0.05, rel=0.05)


def test_one_step_weights_are_those_of_expanders():
    answered = np.array([4, 0, 1])
    expander = ExpanderGradientCoding(6, chunks_per_worker=2, decoding="fixed").weights(answered).values
    assert SparseGraphGradientCoding(6, d=2, decoding="one_step").weights(answered).values.tolist() == expander.tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"d": 7}, "d must be between 1 and 6, got 7"),
        ({"d": 4}, "d must divide the 6 workers with assignment: fractional, got 4"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SparseGraphGradientCoding(6, **parameters)
