"""Contract checks for workloads: what every workload, of ours or of yours, must keep to.

>>> from workloads import LeastSquares
>>> check_workload(LeastSquares(rows=20, dimension=3))
"""

import dataclasses
import pickle

import numpy as np

from workloads.base import Rows, Workload
from workloads.guards import check_parts, count_of, initial_of, measured_of

STEP = 1e-5  # of central differences
N_DIRECTIONS = 5


def check_workload(workload: Workload, seed: int = 0) -> None:
    """Raise an error if the workload breaks the contract of :mod:`workloads.base`.

    Parameters
    ----------
    workload
        Small: all its rows are used some dozens of times.
    seed
        For the parameters and rows that are tried.

    Raises
    ------
    ValueError
        If a part gives something of another form than it must, or gradients are no sums over rows.
    AssertionError
        If gradients are not those of the loss, or those of chunks not those of their rows.
    """
    rng = np.random.default_rng(seed)
    assert dataclasses.is_dataclass(workload), "a workload is a dataclass"
    assert repr(pickle.loads(pickle.dumps(workload))) == repr(workload), "a workload can be sent to a process"
    n_rows = count_of(workload, "n_rows")
    initial = initial_of(workload, lambda: np.random.default_rng(seed))
    parameters = initial + 0.1 * rng.standard_normal(len(initial))
    parameters.setflags(write=False)  # they must be left as they are
    models = np.stack([parameters, initial])[: count_of(workload, "models_at_once")]
    for of_model, (loss, accuracy) in zip(models, measured_of(workload, models), strict=True):
        alone = np.array([workload.loss(of_model), workload.accuracy(of_model)])
        close = np.allclose([loss, accuracy], alone, rtol=1e-9, atol=1e-12, equal_nan=True)
        assert close, f"measured are {loss:g} and {accuracy:g}, alone they are {alone[0]:g} and {alone[1]:g}"
    check_parts(workload, parameters)
    order = rng.permutation(n_rows)
    third = n_rows // 3
    cut: list[Rows] = [slice(0, 0), slice(0, third), slice(third, n_rows)]
    drawn: list[Rows] = [order[:third], order[third:third], order[third:]]
    for chunks, rows in ((cut, slice(None)), (drawn, order)):
        together = np.full((len(chunks), *models.shape), np.nan)
        workload.chunk_gradients(models, chunks, rows, together)
        for of_model, gradients in zip(models, together.transpose(1, 0, 2), strict=True):
            for gradient, chunk in zip(gradients, chunks, strict=True):
                alone = workload.gradient(of_model, chunk)
                close = np.allclose(gradient, alone, rtol=1e-9, atol=1e-9 * np.abs(gradients).max(initial=1.0))
                assert close, f"chunk_gradients of rows {chunk} are not their gradient"
    gradient = workload.gradient(parameters, slice(None)) / n_rows
    for _ in range(N_DIRECTIONS):
        direction = rng.standard_normal(len(parameters))
        ahead, behind = (workload.loss(parameters + step * direction) for step in (STEP, -STEP))
        slope, given = (ahead - behind) / (2 * STEP), float(gradient @ direction)
        assert abs(slope - given) <= 1e-5 * max(abs(slope), abs(given)) + 1e-8, (
            f"the loss grows by {slope:g} along a direction, the gradient says {given:g}"
        )
