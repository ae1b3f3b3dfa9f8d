"""Heavy tails: now and then, a very slow worker."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import FloatArray, Positive
from straggler_models.base import AddsTo, NoiseModel


@dataclass(frozen=True)
class Pareto(NoiseModel):
    """Each worker and round draws from the Pareto distribution: P(X > x) = (scale/x)^shape for x >= scale.

    The mean is scale * shape/(shape - 1) for shape > 1, and infinite otherwise; the variance is infinite up to shape 2.
    A master that waits for all inherits that; one that can spare s workers waits for times of tail index (s + 1) shape.

    Source: Arnold, "Pareto Distributions", 2nd edition, 2015 (type I).

    Examples
    --------
    >>> model = Pareto(scale=2.0, shape=3.0, adds_to="seconds_per_load")
    >>> bool(next(model.rounds(3, np.random.default_rng(1))).seconds_per_load.min() >= 2)
    True
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("scale", "shape")

    scale: Positive
    """smallest value"""
    shape: Positive
    """tail index: the smaller, the heavier the tail"""
    adds_to: AddsTo

    @property
    def tail_index(self) -> float:
        return self.shape

    def numbers(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> FloatArray:
        return np.asarray(self.scale * (1 + rng.pareto(self.shape, (n_rounds, n_workers))))
