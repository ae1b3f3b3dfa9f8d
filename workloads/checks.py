"""What a workload of one's own gets wrong most often, told where it happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from workloads.base import FloatArray, Measured, Rows, Workload

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


def measured_of(workload: Workload, parameters: FloatArray) -> Sequence[Measured]:
    """Loss and accuracy of some models; the loss is inf or NaN where training has diverged.

    Parameters
    ----------
    parameters
        Shape ``(n_models, dimension)``.

    Raises
    ------
    ValueError
        If a loss is no number, or an accuracy neither a share nor NaN.
    """
    measured: Any = list(workload.measured(parameters))
    for loss, accuracy in measured:
        if not isinstance(loss, float | int | np.floating | np.integer):
            raise ValueError(f"loss of {_name(workload)} must be a number, got {_shown(loss)}")
        if not isinstance(accuracy, float | int | np.floating | np.integer) or accuracy < 0 or accuracy > 1:
            raise ValueError(
                f"accuracy of {_name(workload)} must be a share from 0 to 1, or NaN, got {_shown(accuracy)}"
            )
    return [Measured(float(loss), float(accuracy)) for loss, accuracy in measured]


def _shown(value: object) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def check_sums(workload: Workload, parameters: FloatArray) -> None:
    """Refuse gradients that are no sums over their rows, or others each time.

    Raises
    ------
    ValueError
        If those of two halves of the rows do not add up to that of all.
    """
    n_rows = n_rows_of(workload)
    halves: list[Rows] = [slice(0, n_rows // 2), slice(n_rows // 2, n_rows)]
    model = parameters[np.newaxis]
    of_halves, of_all = np.full((2, *model.shape), np.nan), np.full((1, *model.shape), np.nan)
    workload.chunk_gradients(model, halves, slice(None), of_halves)
    workload.chunk_gradients(model, [slice(0, n_rows)], slice(None), of_all)
    first, second, whole = of_halves[0, 0], of_halves[1, 0], of_all[0, 0]
    if not np.isfinite(whole).all():
        raise ValueError(f"gradient of {_name(workload)} must be finite at the initial parameters, got others")
    size = max(math.sqrt(first @ first), math.sqrt(second @ second))
    off = math.sqrt((whole - first - second) @ (whole - first - second))
    if not off <= ALIKE * size:
        raise ValueError(
            f"gradient of {_name(workload)} must be summed over its rows, so that those of two halves add up to that "
            f"of all, got a difference of {off / size if size else math.inf:.2g} of their length (a mean? random?)"
        )
