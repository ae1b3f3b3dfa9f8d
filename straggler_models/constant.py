"""The same time for everybody, always."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from straggler_models.base import BLOCK_ROUNDS, Seconds, StragglerModel, WorkerTimes


@dataclass(frozen=True)
class Constant(StragglerModel):
    """Every worker takes startup_s + seconds_per_load * load seconds.

    Examples
    --------
    >>> next(Constant(startup_s=0.5).rounds(2, np.random.default_rng(1))).startup_s[0]
    array([0.5, 0.5])
    """

    is_random: ClassVar[bool] = False

    startup_s: Seconds = 0.0
    """seconds before the first task begins"""
    seconds_per_load: Seconds = 0.0
    """seconds for load 1, the whole data of a job"""

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        shape = (BLOCK_ROUNDS, n_workers)
        times = WorkerTimes(np.full(shape, self.startup_s), np.full(shape, self.seconds_per_load))
        while True:
            yield times
