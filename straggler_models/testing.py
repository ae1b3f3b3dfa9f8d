"""Contract checks for straggler models: what every model, of ours or of yours, must keep to.

>>> from straggler_models import Bernoulli
>>> check_model(Bernoulli(p=0.1, slowdown=5.0))
"""

import dataclasses
import pickle

import numpy as np

from simulator.parameters import FloatArray
from straggler_models.base import SecondsModel, StragglerModel, WorkerTimes


def draw_rounds(
    model: StragglerModel, n_workers: int, n_rounds: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The first rounds of a model, shape ``(n_rounds, n_workers)``: startup_s, seconds_per_load and slowdown.

    Examples
    --------
    >>> from straggler_models import Constant
    >>> draw_rounds(Constant(startup_s=2.0), 1, 2, np.random.default_rng(0))[0]
    array([[2.],
           [2.]])
    """
    blocks: list[list[FloatArray]] = []
    for times in model.rounds(n_workers, rng):
        blocks.append([np.broadcast_to(field, (times.n_rounds, n_workers)) for field in times])
        if sum(len(block[0]) for block in blocks) >= n_rounds:
            break
    startup_s, seconds_per_load, slowdown = (np.concatenate(parts)[:n_rounds] for parts in zip(*blocks, strict=True))
    return startup_s, seconds_per_load, slowdown


def check_model(model: StragglerModel, n_workers: int = 6, n_rounds: int = 150) -> None:
    """Raise ``AssertionError`` if the model breaks the contract of :mod:`straggler_models.base`."""
    assert dataclasses.is_dataclass(model), "a model is a dataclass"
    assert pickle.loads(pickle.dumps(model)) == model, "a model is a description that can be sent to a process"
    model.check(n_workers, n_rounds)
    times, same = (draw_rounds(model, n_workers, n_rounds, np.random.default_rng(5)) for _ in range(2))
    for name, drawn, again in zip(WorkerTimes._fields, times, same, strict=True):
        assert drawn.shape == (n_rounds, n_workers), f"{name}: a row for each round, a column for each worker"
        assert np.array_equal(drawn, again), f"{name}: the same stream must give the same times"
        assert not np.isnan(drawn).any(), f"{name} must be a number"
    startup_s, seconds_per_load, slowdown = times
    assert (seconds_per_load >= 0).all(), "seconds_per_load must not be negative"
    assert (slowdown > 0).all(), "slowdown must be positive"
    assert (startup_s > -np.inf).all(), "startup_s must not be -inf"
    if any(np.isinf(drawn).any() for drawn in times):
        assert model.may_never_answer, "a model that yields inf must say so by may_never_answer"
    shorter = draw_rounds(model, n_workers, n_rounds // 3, np.random.default_rng(5))
    for drawn, prefix in zip(times, shorter, strict=True):
        assert np.array_equal(drawn[: n_rounds // 3], prefix), "a longer run must only extend a shorter one"
    if not model.is_random:
        other = draw_rounds(model, n_workers, n_rounds, np.random.default_rng(6))
        assert all(map(np.array_equal, times, other)), "is_random is False, and another stream gives other times"
    if isinstance(model, SecondsModel):
        _check_speeds(model, n_workers)


def _check_speeds(model: SecondsModel, n_workers: int) -> None:
    first, second = (model.slowdowns(n_workers, np.random.default_rng(5)) for _ in range(2))
    for _ in range(3):
        speeds, again = next(first), next(second)
        assert speeds.duration_s.shape == speeds.slowdown.shape, "a slowdown for each piece"
        assert speeds.duration_s.shape[1] == n_workers, "a column for each worker"
        assert (speeds.duration_s >= 0).all(), "a piece lasts at least 0 s"
        assert speeds.duration_s.any(), "time must go on"
        assert (speeds.slowdown > 0).all(), "slowdown must be positive"
        assert all(map(np.array_equal, speeds, again)), "the same stream must give the same speeds"
