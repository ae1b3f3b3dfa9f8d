"""Workloads: gradients are those of the loss, and those of chunks are those of their rows."""

import numpy as np
import pytest
from pydantic.dataclasses import dataclass
from scipy import special

import examples
from workloads import WORKLOADS, LeastSquares, LogisticRegression
from workloads.digits import digits
from workloads.testing import check_workload


def test_the_examples_cover_the_table():
    assert {type(workload) for workload in examples.WORKLOADS} == set(WORKLOADS.values())


@pytest.mark.parametrize("workload", examples.WORKLOADS, ids=repr)
def test_every_workload_keeps_its_contract(workload):
    check_workload(workload)


def test_gradients_of_another_loss_break_the_contract():
    @dataclass(frozen=True)
    class Other(LeastSquares):
        def loss(self, parameters):
            return 1.001 * super().loss(parameters)

    with pytest.raises(AssertionError, match=r"the loss grows by .* the gradient says"):
        check_workload_here(Other(rows=20, dimension=3))


def test_gradients_of_other_chunks_break_the_contract():
    @dataclass(frozen=True)
    class Other(LeastSquares):
        def chunk_gradients(self, parameters, chunks, rows, out):
            super().chunk_gradients(parameters, chunks[::-1], rows, out)

    with pytest.raises(AssertionError, match="chunk_gradients of rows"):
        check_workload_here(Other(rows=20, dimension=3))


def test_a_workload_that_changes_the_models_it_measures_breaks_the_contract():
    @dataclass(frozen=True)
    class Other(LeastSquares):
        models_at_once = 2

        def measured(self, parameters):
            parameters += 0.0
            return super().measured(parameters)

    with pytest.raises(ValueError, match="read-only"):
        check_workload_here(Other(rows=20, dimension=3))


def check_workload_here(workload):
    """As of a class that no other process could find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pickle.loads", lambda data: workload)
        patch.setattr("pickle.dumps", lambda data: b"")
        check_workload(workload)


@pytest.mark.parametrize("workload", examples.WORKLOADS, ids=repr)
def test_gradients_of_chunks_are_those_of_their_rows(workload):
    rng = np.random.default_rng(1)
    models = np.stack([workload.initial(rng), 0.1 * rng.standard_normal(len(workload.initial(rng)))] * 5)
    n = workload.n_rows
    order = rng.permutation(n)[: n // 2]
    cases = [
        ([slice(0, 0), slice(0, 3), slice(3, n), slice(n, n)], slice(None)),
        ([order[:2], order[2:2], order[2:]], order),
    ]
    for chunks, rows in cases:
        together = np.full((len(chunks), *models.shape), np.nan)
        workload.chunk_gradients(models, chunks, rows, together)
        for number, gradients in enumerate(together.transpose(1, 0, 2)):
            whole = gradients.sum(axis=0)
            np.testing.assert_allclose(whole, workload.gradient(models[number], rows), atol=1e-10)
            for gradient, chunk in zip(gradients, chunks, strict=True) if number < 2 else ():
                alone = [workload.gradient(models[number], np.array([row])) for row in np.arange(n)[chunk]]
                np.testing.assert_allclose(gradient, np.sum(alone, axis=0) if alone else 0 * gradient, atol=1e-10)
        assert number == len(models) - 1


@pytest.mark.parametrize("case", ["drawn", "all alike", "classes alike", "of no number", "beyond all numbers"])
def test_accuracy_is_the_share_whose_best_score_is_the_first_of_the_true_class(case):
    parameters = np.random.default_rng(3).standard_normal((10, 65))
    with np.errstate(over="ignore", invalid="ignore"):
        if case == "all alike":
            parameters[:] = 1.0
        elif case == "classes alike":
            parameters[[3, 8, 9]] = parameters[[1, 1, 2]]
        elif case == "of no number":
            parameters[4] = np.nan
        elif case == "beyond all numbers":
            parameters *= 1e308
        scores = digits().images @ parameters.T
        is_right = (scores.argmax(axis=1) == digits().labels) & np.isfinite(scores).all(axis=1)
        found = LogisticRegression().measured(np.stack([parameters.ravel(), np.zeros(650)]))
    assert found[0].accuracy == np.mean(is_right)
    assert found[1].accuracy == np.mean(digits().labels == 0)  # not one: all classes have the same score
    assert found[1].loss == pytest.approx(np.log(10))
    if case in ("drawn", "classes alike"):
        log_likelihood = scores - special.logsumexp(scores, axis=1, keepdims=True)
        assert 0.02 < found[0].accuracy < 0.5
        assert found[0].loss == pytest.approx(-log_likelihood[np.arange(len(scores)), digits().labels].mean())
