"""Workloads: gradients are those of the loss, and those of chunks are those of their rows."""

import numpy as np
import pytest
from pydantic.dataclasses import dataclass

from workloads import WORKLOADS, LeastSquares, LogisticRegression, TwoLayerNetwork
from workloads.testing import check_workload

EXAMPLES = [
    LeastSquares(rows=20, dimension=4),
    LogisticRegression(),
    LogisticRegression(l2=0.1),
    TwoLayerNetwork(hidden=3, l2=0.01),
]


def test_the_examples_cover_the_table():
    assert {type(workload) for workload in EXAMPLES} == set(WORKLOADS.values())


@pytest.mark.parametrize("workload", EXAMPLES, ids=repr)
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


def check_workload_here(workload):
    """As of a class that no other process could find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pickle.loads", lambda data: workload)
        patch.setattr("pickle.dumps", lambda data: b"")
        check_workload(workload)


@pytest.mark.parametrize("workload", EXAMPLES, ids=repr)
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
