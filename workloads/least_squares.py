"""A problem whose whole course is known in closed form."""

import functools
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from simulator.parameters import Count, FloatArray, NonNegative, Positive, PositiveCount
from workloads.base import Rows, Workload

MOST_NUMBERS = 20_000_000  # of the features


class Data(NamedTuple):
    """Rows of a linear problem."""

    features: FloatArray  # shape (n_rows, dimension)
    targets: FloatArray  # shape (n_rows,)


@dataclass(frozen=True)
class LeastSquares(Workload):
    """Half the mean squared residual of a linear model on random data.

    With H = X^T X / rows, gradient descent with learning rate r has, after k steps from a, the parameters
    optimum + (I - r H)^k (a - optimum). It begins at 0.

    Examples
    --------
    >>> problem = LeastSquares(rows=50, dimension=3)
    >>> bool(np.linalg.norm(problem.gradient(problem.optimum, slice(None))) < 1e-12)
    True
    """

    rows: PositiveCount = 512
    """rows of data"""
    dimension: Annotated[int, Field(ge=1, le=5_000)] = 16
    """parameters"""
    noise: NonNegative = 0.1
    """standard deviation of the noise in the targets"""
    condition: Positive = 10.0
    """largest over smallest variance of the features, which lie in equal ratios in between; the largest is 1"""
    seed: Count = 0
    """seed of the data"""

    def __post_init__(self) -> None:
        if self.rows * self.dimension > MOST_NUMBERS:
            name = "rows" if self.rows > self.dimension else "dimension"
            got = f"{getattr(self, name)}"
            raise ValueError(f"{name} must leave at most {MOST_NUMBERS} numbers, rows times dimension, got {got}")
        if self.condition < 1:
            raise ValueError(f"condition must be at least 1, got {self.condition:g}")

    @property
    def data(self) -> Data:
        """Features and targets."""
        return _data(self.rows, self.dimension, self.noise, self.condition, self.seed)

    @property
    def n_rows(self) -> int:
        return self.rows

    @property
    def n_parameters(self) -> int:
        return self.dimension

    @property
    def hessian(self) -> FloatArray:
        """H, shape ``(dimension, dimension)``."""
        features = self.data.features
        return np.asarray(features.T @ features / self.rows)

    @property
    def optimum(self) -> FloatArray:
        """Parameters at which the loss is smallest."""
        return np.asarray(np.linalg.lstsq(*self.data, rcond=None)[0])

    def initial(self, rng: np.random.Generator) -> FloatArray:
        return np.zeros(self.dimension)

    def gradient(self, parameters: FloatArray, rows: Rows) -> FloatArray:
        features, targets = self.data.features[rows], self.data.targets[rows]
        return np.asarray(features.T @ (features @ parameters - targets))

    def loss(self, parameters: FloatArray) -> float:
        features, targets = self.data
        return float(np.mean((features @ parameters - targets) ** 2) / 2)


@functools.lru_cache(maxsize=8)
def _data(n_rows: int, dimension: int, noise: float, condition: float, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_rows, dimension)) * np.geomspace(1.0, condition**-0.5, dimension)
    targets = features @ rng.standard_normal(dimension) + noise * rng.standard_normal(n_rows)
    return Data(features, targets)
