"""Products of many small effects."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import FloatArray, Positive, Seconds
from straggler_models.base import AddsTo, NoiseModel, Part, StandardModel, part_of


@dataclass(frozen=True)
class Lognormal(StandardModel, NoiseModel):
    """Each worker and round draws median * exp(sigma Z) with Z standard normal, independently.

    The mean is median * exp(sigma^2/2).

    Source: Johnson, Kotz and Balakrishnan, "Continuous Univariate Distributions" 1, 2nd edition, 1994, chapter 14.

    Examples
    --------
    >>> next(Lognormal(median=2.0, sigma=0.0, adds_to="startup_s").rounds(2, np.random.default_rng(1))).startup_s[0]
    array([2., 2.])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("median", "sigma")

    median: Positive
    """median of the draws"""
    sigma: Seconds
    """standard deviation of the logarithm"""
    adds_to: AddsTo

    @property
    def part(self) -> Part:
        return part_of(self.adds_to)

    @staticmethod
    def fill(draws: FloatArray, rng: np.random.Generator) -> None:
        rng.standard_normal(out=draws)

    def turn(self, draws: FloatArray) -> None:
        draws *= self.sigma
        np.exp(draws, out=draws)
        draws *= self.median
