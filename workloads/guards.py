"""Checks of what your own workload gets wrong most often, reported where it happens."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from simulator.parameters import FloatArray
from workloads.base import Measured, Rows, Workload

ALIKE = 1e-4  # relative; sums in another order differ by much less, also in float32
SHIFT = 0.01  # between the parameters of models that are tried together
N_TRIED = 3


def _name(workload: Workload) -> str:
    return type(workload).__name__


def count_of(workload: Workload, name: Literal["n_rows", "models_at_once"]) -> int:
    """Return the number of its rows, or of models whose gradients it computes together.

    Raises
    ------
    ValueError
        If that is no whole number of at least 1.
    """
    count: Any = getattr(workload, name)
    if not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"{name} of {_name(workload)} must be a whole number of at least 1, got {count!r}")
    return int(count)


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
    if initial.ndim != 1 or not initial.size or not np.isfinite(initial).all():
        got = f"shape {initial.shape}" if initial.ndim != 1 or not initial.size else "others"
        raise ValueError(f"initial of {_name(workload)} must be a vector of finite numbers, got {got}")
    if not np.array_equal(initial, workload.initial(rng())):
        raise ValueError(f"initial of {_name(workload)} must draw from rng only, got different numbers from equal ones")
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
    measured: Any = workload.measured(parameters)
    is_list = isinstance(measured, Sequence) and len(measured) == len(parameters)
    if not is_list or not all(isinstance(each, tuple) and len(each) == 2 for each in measured):
        raise ValueError(
            f"measured of {_name(workload)} must be loss and accuracy of each of {len(parameters)} models, "
            f"got {_shown(measured)}"
        )
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


def check_parts(workload: Workload, parameters: FloatArray) -> None:
    """Refuse what goes wrong in silence: gradients that are no sums over their rows, models that are mixed up.

    Parameters
    ----------
    parameters
        Of one model.

    Raises
    ------
    ValueError
        If gradients of two halves of the rows do not add up to that of all, if they or what is measured are others for
        several models at once than for each alone, or if there is no such number of models.
    """
    n_rows, at_once = count_of(workload, "n_rows"), count_of(workload, "models_at_once")
    models = parameters + SHIFT * np.arange(min(at_once, N_TRIED))[:, np.newaxis]
    models.setflags(write=False)
    halves: list[Rows] = [slice(0, n_rows // 2), slice(n_rows // 2, n_rows)]
    out = np.full((2, *models.shape), np.nan)
    workload.chunk_gradients(models, halves, slice(None), out)
    for model, (first, second) in zip(models, out.transpose(1, 0, 2), strict=True):
        whole: Any = np.asarray(workload.gradient(model, slice(0, n_rows)))
        if whole.shape != model.shape or whole.dtype.kind not in "fiu":
            raise ValueError(
                f"gradient of {_name(workload)} must be a vector of {len(model)} real numbers, as its parameters are, "
                f"got {whole.dtype} of shape {whole.shape}"
            )
        if not np.isfinite(whole).all():
            raise ValueError(
                f"gradient of {_name(workload)} must be finite at the initial parameters, got other values"
            )
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise ValueError(
                f"chunk_gradients of {_name(workload)} must fill out with finite numbers, got other values"
            )
        size = max(math.sqrt(first @ first), math.sqrt(second @ second))
        off = math.sqrt((whole - first - second) @ (whole - first - second))
        if not off <= ALIKE * size:
            hint = "(a mean? random?)" if at_once == 1 else "(a mean? random? of another model?)"
            raise ValueError(
                f"gradient of {_name(workload)} must be a sum over its rows, so that those of two halves add up to "
                f"that of all, got a difference of {off / size if size else math.inf:.2g} of their length {hint}"
            )
    for model, together in zip(models, measured_of(workload, models), strict=True):
        alone = workload.loss(model), workload.accuracy(model)
        if not np.allclose(together, alone, rtol=ALIKE, atol=ALIKE, equal_nan=True):
            raise ValueError(
                f"measured of {_name(workload)} must be loss and accuracy of each model, "
                f"{alone[0]:g} and {alone[1]:g}, got {together.loss:g} and {together.accuracy:g}"
            )
