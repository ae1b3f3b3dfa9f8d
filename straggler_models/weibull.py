"""Light or heavy tails, by one parameter."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import FloatArray, Positive
from straggler_models.base import AddsTo, NoiseModel


@dataclass(frozen=True)
class Weibull(NoiseModel):
    """Each worker and round draws from the Weibull distribution, independently: P(X > x) = exp(-(x/scale)^shape).

    The mean is scale * Gamma(1 + 1/shape); shape 1 is the exponential distribution, a smaller one has a heavier tail.

    Source: Weibull, "A Statistical Distribution Function of Wide Applicability", Journal of Applied Mechanics 1951.

    Examples
    --------
    >>> next(Weibull(scale=2.0, shape=0.5, adds_to="startup_s").rounds(3, np.random.default_rng(1))).n_rounds
    64
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("scale", "shape")

    scale: Positive
    """value exceeded by a share 1/e of the draws"""
    shape: Positive
    """below 1: heavier than exponential; above: lighter"""
    adds_to: AddsTo

    def numbers(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> FloatArray:
        return np.asarray(self.scale * rng.weibull(self.shape, (n_rounds, n_workers)))
