"""What a workload of one's own gets wrong most often, told where it happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from workloads.base import FloatArray, Rows, Workload

ALIKE = 1e-4  # relative; sums in another order differ by much less, also in float32


def _name(workload: Workload) -> str:
    return type(workload).__name__


def n_rows_of(workload: Workload) -> int:
    """Its number of rows.

    Raises
    ------
    ValueError
        If that is no number of rows.
    """
    n_rows: Any = workload.n_rows
    if not isinstance(n_rows, int | np.integer) or n_rows < 1:
        raise ValueError(f"n_rows of {_name(workload)} must be a whole number of at least 1, got {n_rows!r}")
    return int(n_rows)


def initial_of(workload: Workload, rng: Callable[[], np.random.Generator]) -> FloatArray:
    """Parameters with which training begins, read-only.

    Parameters
    ----------
    rng
        Gives an equal generator with each call.

    Raises
    ------
    ValueError
        If they are no vector of finite numbers, or others with an equal generator.
    """
    initial = np.array(workload.initial(rng()), dtype=np.float64)
    if initial.ndim != 1 or not np.isfinite(initial).all():
        got = f"shape {initial.shape}" if initial.ndim != 1 else "others"
        raise ValueError(f"initial of {_name(workload)} must be a vector of finite numbers, got {got}")
    if not np.array_equal(initial, workload.initial(rng())):
        raise ValueError(f"initial of {_name(workload)} must draw from rng only, got others with an equal one")
    initial.setflags(write=False)
    return initial


def loss_of(workload: Workload, parameters: FloatArray) -> float:
    """Loss; inf or NaN where training has diverged.

    Raises
    ------
    ValueError
        If it is no number.
    """
    loss: Any = workload.loss(parameters)
    if not isinstance(loss, float | int | np.floating | np.integer):
        raise ValueError(f"loss of {_name(workload)} must be a number, got {_shown(loss)}")
    return float(loss)


def accuracy_of(workload: Workload, parameters: FloatArray) -> float:
    """Accuracy, or NaN.

    Raises
    ------
    ValueError
        If it is neither a share nor NaN.
    """
    accuracy: Any = workload.accuracy(parameters)
    if not isinstance(accuracy, float | int | np.floating | np.integer) or accuracy < 0 or accuracy > 1:
        raise ValueError(f"accuracy of {_name(workload)} must be a share from 0 to 1, or NaN, got {_shown(accuracy)}")
    return float(accuracy)


def _shown(value: object) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def gradients_of(workload: Workload, parameters: FloatArray, chunks: Sequence[Rows], rows: Rows) -> FloatArray:
    """Gradient of each chunk, shape ``(n_chunks, dimension)``.

    Raises
    ------
    ValueError
        If they do not have this shape.
    """
    gradients: Any = workload.chunk_gradients(parameters, chunks, rows)
    shape = (len(chunks), len(parameters))
    if not (isinstance(gradients, np.ndarray) and gradients.shape == shape and gradients.dtype == np.float64):
        got = f"{gradients.dtype} of shape {gradients.shape}" if isinstance(gradients, np.ndarray) else repr(gradients)
        raise ValueError(f"chunk_gradients of {_name(workload)} must be float64 of shape {shape}, got {got}")
    return gradients


def check_sums(workload: Workload, parameters: FloatArray) -> None:
    """Refuse gradients that are no sums over their rows, or others each time.

    Raises
    ------
    ValueError
        If those of two halves of the rows do not add up to that of all.
    """
    n_rows = n_rows_of(workload)
    halves: list[Rows] = [slice(0, n_rows // 2), slice(n_rows // 2, n_rows)]
    first, second = gradients_of(workload, parameters, halves, slice(None)).copy()  # the array may be used again
    (whole,) = gradients_of(workload, parameters, [slice(0, n_rows)], slice(None))
    if not np.isfinite(whole).all():
        raise ValueError(f"gradient of {_name(workload)} must be finite at the initial parameters, got others")
    size = max(math.sqrt(first @ first), math.sqrt(second @ second))
    off = math.sqrt((whole - first - second) @ (whole - first - second))
    if not off <= ALIKE * size:
        raise ValueError(
            f"gradient of {_name(workload)} must be summed over its rows, so that those of two halves add up to that "
            f"of all, got a difference of {off / size if size else math.inf:.2g} of their length (a mean? random?)"
        )
