"""Contract checks for straggler models: what every model, of ours or of yours, must keep to.

>>> from straggler_models import Bernoulli
>>> check_model(Bernoulli(p=0.1, slowdown=5.0))
"""

import dataclasses
import itertools
import pickle

import numpy as np

from simulator.parameters import FloatArray
from straggler_models.base import OtherWork, StragglerModel, WorkerTimes


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
    settled, again = (model.settled(n_workers, np.random.default_rng(4)) for _ in range(2))
    assert settled == again, "the same stream must settle the same"
    assert not settled.draws_once, "a model that is settled must have nothing left to draw once"
    model = settled if model.draws_once else model
    assert settled is model, "a model that draws nothing once for itself is settled as it is"
    model.check(n_workers, n_rounds)
    times, same = (draw_rounds(model, n_workers, n_rounds, _rng()) for _ in range(2))
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
    shorter = draw_rounds(model, n_workers, n_rounds // 3, _rng())
    for drawn, prefix in zip(times, shorter, strict=True):
        assert np.array_equal(drawn[: n_rounds // 3], prefix), "a longer run must only extend a shorter one"
    if not model.is_random:
        other = draw_rounds(model, n_workers, n_rounds, np.random.default_rng(6))
        assert all(map(np.array_equal, times, other)), "is_random is False, and another stream gives other times"
    _check_arrays(model, times)
    if model.lives_in == "seconds":
        if model.others(n_workers, _rng()) is None:
            _check_speeds(model, n_workers)
        else:
            _check_others(model, n_workers)
    if model.lives_in == "loads":
        _check_lists(model, n_workers)
    if model.lives_in in ("tasks", "messages", "gradients"):
        _check_places(model, n_workers)
    if model.lives_in == "absences":
        _check_absences(model, n_workers)


def _check_arrays(model: StragglerModel, times: tuple[FloatArray, ...]) -> None:
    """What takes arrays gives from equal entries what it gives from one number."""
    names = [name for name in vars(type(model)).get("takes_arrays", ()) if getattr(model, name) is not None]
    for name in names:
        values = np.full(times[0].shape[1], float(getattr(model, name)))
        drawn = draw_rounds(model.unchecked(vars(model) | {name: values}), len(values), len(times[0]), _rng())
        assert all(map(np.array_equal, times, drawn)), f"{name} is in takes_arrays, and an array gives other times"


def _check_lists(model: StragglerModel, n_workers: int) -> None:
    first, second = (model.lists(n_workers, _rng()) for _ in range(2))
    workers = np.arange(n_workers)
    for _ in range(3):
        seconds, again = next(first), next(second)
        of_half, of_all = (seconds(np.full(n_workers, load), workers) for load in (0.5, 1.0))
        assert (of_half >= 0).all(), "a list takes at least 0 s"
        assert (of_half <= of_all).all(), "more load must not take less time"
        assert np.array_equal(of_all, again(np.ones(n_workers), workers)), "the same stream must give the same times"
        assert of_all[-1] == seconds(np.ones(1), workers[-1:])[0], "a worker's time must not depend on others' lists"


def _check_places(model: StragglerModel, n_workers: int) -> None:
    first, second = (model.places(n_workers, _rng()) for _ in range(2))
    assert model.is_noise, "what is drawn for each task or message is noise"
    for _ in range(3):
        numbers, again = next(first), next(second)
        assert numbers.shape == (n_workers,), "a number for each worker"
        assert (np.isfinite(numbers) & (numbers >= 0)).all(), "a number of a task or message is at least 0 and finite"
        assert np.array_equal(numbers, again), "the same stream must give the same numbers"


def _check_speeds(model: StragglerModel, n_workers: int) -> None:
    first, second = (model.slowdowns(n_workers, _rng()) for _ in range(2))
    for _ in range(3):
        speeds, again = next(first), next(second)
        assert speeds.duration_s.shape == speeds.slowdown.shape, "a slowdown for each piece"
        assert speeds.duration_s.shape[1] == n_workers, "a column for each worker"
        assert (speeds.duration_s >= 0).all(), "a piece lasts at least 0 s"
        assert speeds.duration_s.any(), "time must go on"
        assert (speeds.slowdown > 0).all(), "slowdown must be positive"
        assert all(map(np.array_equal, speeds, again)), "the same stream must give the same speeds"


def _check_others(model: StragglerModel, n_workers: int) -> None:
    others, same = (model.others(n_workers, _rng()) or () for _ in range(2))
    assert len(others) == len(same) == n_workers, "other work for each worker"
    for other, again in zip(others, same, strict=True):
        for at_s in (0.0, 3.0, 50.0):
            other.run(at_s)
            again.run(at_s)
            ahead = other.copy()
            ahead.enter()
            pieces = _pieces(ahead)
            again.enter()
            assert pieces == _pieces(again.copy()), "the same stream must give the same, also to a copy"
            again.leave()
            assert all(slowdown > 0 for _, slowdown in pieces), "slowdown must be positive"
            ends_s = [at_s, *(end_s for end_s, _ in pieces)]
            assert all(map(float.__le__, ends_s, ends_s[1:])), "time must go on"


def _check_absences(model: StragglerModel, n_workers: int) -> None:
    every, same = (model.absences(n_workers, _rng()) for _ in range(2))
    assert len(every) == len(same) == n_workers, "absences of each worker"
    for own, again in zip(every, same, strict=True):
        absences, over_s = list(itertools.islice(own, 9)), 0.0
        assert absences == list(itertools.islice(again, 9)), "the same stream must give the same absences"
        for absence in absences:
            assert over_s <= absence.leaves_s <= absence.heard_s <= absence.joins_s, "absences must be in order"
            over_s = absence.joins_s


def _pieces(other: OtherWork) -> list[tuple[float, float]]:
    """Say how a list gets on that stays for a while."""
    pieces = [other.outlook()]
    while len(pieces) < 20 and pieces[-1][0] < np.inf:
        other.run(pieces[-1][0])
        pieces.append(other.outlook())
    return pieces


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)
