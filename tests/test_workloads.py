"""Workloads: gradients are those of the loss, and those of chunks are those of their rows."""

import numpy as np
import pytest

from workloads import WORKLOADS, LeastSquares, LogisticRegression, TwoLayerNetwork

EXAMPLES = [
    LeastSquares(rows=20, dimension=4),
    LogisticRegression(),
    LogisticRegression(l2=0.1),
    TwoLayerNetwork(hidden=3, l2=0.01),
]


def test_the_examples_cover_the_table():
    assert {type(workload) for workload in EXAMPLES} == set(WORKLOADS.values())


@pytest.mark.parametrize("workload", EXAMPLES, ids=repr)
def test_gradients_are_those_of_the_loss(workload):
    rng = np.random.default_rng(0)
    parameters = workload.initial(rng) + 0.1 * rng.standard_normal(len(workload.initial(rng)))
    gradient = workload.gradient(parameters, slice(None)) / workload.n_rows
    for _ in range(5):
        direction = rng.standard_normal(len(parameters))
        change = workload.loss(parameters + 1e-5 * direction) - workload.loss(parameters - 1e-5 * direction)
        assert change / 2e-5 == pytest.approx(gradient @ direction, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("workload", EXAMPLES, ids=repr)
def test_gradients_of_chunks_are_those_of_their_rows(workload):
    rng = np.random.default_rng(1)
    parameters = workload.initial(rng)
    n = workload.n_rows
    order = rng.permutation(n)[: n // 2]
    cases = [
        ([slice(0, 0), slice(0, 3), slice(3, n), slice(n, n)], slice(None)),
        ([order[:2], order[2:2], order[2:]], order),
    ]
    for chunks, rows in cases:
        gradients = workload.chunk_gradients(parameters, chunks, rows)
        for gradient, chunk in zip(gradients, chunks, strict=True):
            alone = [workload.gradient(parameters, np.array([row])) for row in np.arange(n)[chunk]]
            np.testing.assert_allclose(gradient, np.sum(alone, axis=0) if alone else 0 * gradient, atol=1e-10)
        np.testing.assert_allclose(gradients.sum(axis=0), workload.gradient(parameters, rows), atol=1e-10)
