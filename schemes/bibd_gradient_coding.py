"""Codes from block designs: the error depends on how many answer, and not on who."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from schemes.base.linear import ApproximateScheme
from schemes.base.shuffling import SEED, SHUFFLE
from simulator.parameters import Count, FloatArray, PositiveCount


@dataclass(frozen=True)
class BibdGradientCoding(ApproximateScheme):
    """Worker w sums the points of line w of a finite projective plane of prime order q.

    There are n = q^2 + q + 1 points (chunks) and lines (workers); each line has l = q + 1 points, any two share
    mu = 1. With the best weights and r responses, the squared error is n - l^2 r/(l - mu + mu r), whoever answers.

    References
    ----------
    Kadhe, Koyluoglu and Ramchandran, "Gradient coding based on block designs for mitigating adversarial stragglers",
    ISIT 2019.

    Examples
    --------
    >>> code = BibdGradientCoding(n_workers=7)
    >>> round(code.squared_error(np.arange(7) < 3, enough=False), 6), round(7 - 3**2 * 4 / (3 - 1 + 4), 6)
    (1.0, 1.0)
    """

    n_workers: PositiveCount
    """q^2 + q + 1 for a prime q: 7, 13, 31, 57, 133, 183, ..."""
    shuffle: bool = Field(default=False, repr=False, kw_only=True, description=SHUFFLE)
    seed: Count = Field(default=0, repr=False, kw_only=True, description=SEED)

    def __post_init__(self) -> None:
        q = (math.isqrt(4 * self.n_workers - 3) - 1) // 2
        if q * q + q + 1 != self.n_workers or q < 2 or any(q % d == 0 for d in range(2, math.isqrt(q) + 1)):
            raise ValueError(f"workers must be q^2 + q + 1 for a prime q (7, 13, 31, 57, ...), got {self.n_workers}")

    @property
    def order(self) -> int:
        """q, the order of the plane."""
        return (math.isqrt(4 * self.n_workers - 3) - 1) // 2

    def encoding_matrix(self) -> FloatArray:
        return projective_plane(self.order)


@functools.lru_cache(maxsize=8)
def projective_plane(q: int) -> FloatArray:
    """Incidence of the lines (rows) and points of the projective plane over the integers modulo a prime q.

    Points and lines are the vectors of length 3 whose first nonzero entry is 1; a point is on a line if their product
    is 0 modulo q.

    Examples
    --------
    >>> plane = projective_plane(2)
    >>> plane.shape, plane.sum(axis=1).tolist()
    ((7, 7), [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    """
    vectors = [v for v in itertools.product(range(q), repeat=3) if any(v) and next(x for x in v if x) == 1]
    points = np.array(vectors)
    incidence: FloatArray = ((points @ points.T) % q == 0).astype(np.float64)
    incidence.setflags(write=False)
    return incidence
