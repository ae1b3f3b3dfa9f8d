"""The same time for everybody, always."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import Seconds
from straggler_models.base import DrawnModel, WorkerTimes


@dataclass(frozen=True)
class Constant(DrawnModel):
    """Every worker takes startup_s + seconds_per_load * load seconds.

    Examples
    --------
    >>> next(Constant(startup_s=0.5).rounds(2, np.random.default_rng(1))).startup_s
    0.5
    """

    is_random: ClassVar[bool] = False
    takes_arrays: ClassVar[tuple[str, ...]] = ("startup_s", "seconds_per_load")

    startup_s: Seconds = 0.0
    """seconds before the first task begins"""
    seconds_per_load: Seconds = 0.0
    """seconds for load 1, the whole data of a job"""

    @property
    def is_drawn_once(self) -> bool:
        return True

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        return WorkerTimes(self.startup_s, self.seconds_per_load)
