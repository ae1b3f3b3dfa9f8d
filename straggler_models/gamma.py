"""Many small tasks one after the other: mean and variance in proportion to load."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import FloatArray, IntArray, Positive
from straggler_models.base import BLOCK_ROUNDS, AddsTo, ListSeconds, LivesIn, NoiseModel


@dataclass(frozen=True)
class Gamma(NoiseModel):
    """Each worker and round draws a Gamma time for the whole list, with mean and variance in proportion to its load.

    A list of load c takes a time of mean ``mean * c`` and variance ``variance * c`` (shape mean^2 c/variance, scale
    variance/mean), as a sum of independent tasks does; within the list, time is linear in load. One uniform number per
    worker and round decides: lists of any load have the same quantile. With another ``adds_to`` mean and variance are
    those of the number that is drawn, whatever the load.

    Source: Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG: A Mixed Synchronous-Asynchronous Iterative Method
    for Straggler-Resilient Learning", 2021.

    Examples
    --------
    >>> model = Gamma(mean=2.0, variance=1.0, adds_to="seconds_per_load")
    >>> seconds = next(model.lists(1, np.random.default_rng(1)))
    >>> [round(float(seconds(np.array([load]), np.array([0]))[0]), 3) for load in (0.5, 1.0)]
    [0.858, 1.864]
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("mean", "variance")

    mean: Positive
    """mean for load 1, or of the number that is drawn"""
    variance: Positive
    """variance for load 1, or of the number that is drawn"""
    adds_to: AddsTo

    def __post_init__(self) -> None:
        shape = self.mean**2 / self.variance
        if not 0 < shape < np.inf:
            raise ValueError(
                f"variance must leave mean^2/variance above 0 and finite, got {self.variance:g}, so {shape}"
            )

    @property
    def lives_in(self) -> LivesIn:
        return "loads" if self.adds_to == "seconds_per_load" else super().lives_in

    def numbers(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> FloatArray:
        return rng.gamma(self.mean**2 / self.variance, self.variance / self.mean, (n_rounds, n_workers))

    def lists(self, n_workers: int, rng: np.random.Generator) -> Iterator[ListSeconds]:
        shape = np.broadcast_to(self.mean**2 / self.variance, n_workers)
        scale = np.broadcast_to(self.variance / self.mean, n_workers)
        while True:
            for draws in rng.random((BLOCK_ROUNDS, n_workers)):
                yield partial(_quantiles, draws, shape, scale)


def _quantiles(
    draws: FloatArray, shape: FloatArray, scale: FloatArray, loads: FloatArray, workers: IntArray
) -> FloatArray:
    from scipy.special import gammaincinv  # only here: it takes long to import

    return np.asarray(gammaincinv(shape[workers] * loads, draws[workers]) * scale[workers])
