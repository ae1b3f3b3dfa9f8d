"""Speeds of workers, from the straggler models of a scenario."""

from collections.abc import Mapping

import numpy as np

from simulator.engine.drawn_once import settled
from simulator.engine.streams import ONCE, stream
from simulator.parameters import FloatArray
from straggler_models import PerWorker, StragglerModel

N_ROUNDS = 4096  # over which means are taken of what is drawn: of its own, in no trial


def worker_speeds(models: Mapping[str, StragglerModel], n_workers: int, seed: int) -> list[float] | None:
    """1 / the mean seconds per load of each worker, relative to the fastest; None: no ``per_worker`` model says any.

    Seconds per load of all models add up, but for those of measured rounds. Slowdowns do not count: they are what
    makes a straggler.

    Examples
    --------
    >>> from straggler_models import Constant
    >>> worker_speeds({"usual": PerWorker(Constant.each(seconds_per_load=[2.0, 4.0]))}, n_workers=2, seed=0)
    [1.0, 0.5]
    """
    seconds, own = np.zeros(n_workers), np.zeros(n_workers)
    for label, model in settled(models, n_workers, seed).items():
        if model.lives_in != "seconds" and not model.gives_same_times:
            mean_s = _mean_s(model, n_workers, stream(seed, ONCE, "speeds", label))
            seconds += mean_s
            own += mean_s if isinstance(model, PerWorker) else 0.0
    if not own.any() or not seconds.all():
        return None
    speeds: list[float] = (seconds.min() / seconds).tolist()
    return speeds


def _mean_s(model: StragglerModel, n_workers: int, rng: np.random.Generator) -> FloatArray:
    """Mean seconds for load 1 of each worker, shape ``(n_workers,)``."""
    total, n_rounds = np.zeros(n_workers), 0
    if model.lives_in == "loads":
        for seconds, _ in zip(model.lists(n_workers, rng), range(N_ROUNDS), strict=False):
            total += seconds(np.ones(n_workers), np.arange(n_workers))
        return total / N_ROUNDS
    for times in model.rounds(n_workers, rng):
        rows = np.broadcast_to(times.seconds_per_load, (times.n_rounds, n_workers))
        total, n_rounds = total + rows.sum(axis=0), n_rounds + times.n_rounds
        if n_rounds >= N_ROUNDS or not model.is_random:
            break
    return total / n_rounds
