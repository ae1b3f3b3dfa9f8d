"""Products of many small effects."""

import numpy as np
from pydantic.dataclasses import dataclass

from straggler_models.base import AddsTo, DrawnModel, Positive, Seconds, WorkerTimes, added_to


@dataclass(frozen=True)
class Lognormal(DrawnModel):
    """Each worker and round draws median * exp(sigma Z) with Z standard normal, independently.

    The mean is median * exp(sigma^2/2).

    Source: Johnson, Kotz and Balakrishnan, "Continuous Univariate Distributions" 1, 2nd edition, 1994, chapter 14.

    Examples
    --------
    >>> next(Lognormal(median=2.0, sigma=0.0, adds_to="startup_s").rounds(2, np.random.default_rng(1))).startup_s[0]
    array([2., 2.])
    """

    median: Positive
    """value that half of the draws exceed"""
    sigma: Seconds
    """standard deviation of the logarithm"""
    adds_to: AddsTo
    """what is drawn: startup_s in seconds, or seconds_per_load in seconds for load 1"""

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        draws = self.median * np.exp(self.sigma * rng.standard_normal((n_rounds, n_workers)))
        return added_to(self.adds_to, draws)
