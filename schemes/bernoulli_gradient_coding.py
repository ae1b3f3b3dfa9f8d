"""BGC: a sparse random code."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from schemes.assignment import BernoulliAssignment, drawn
from schemes.base.linear import ApproximateScheme
from schemes.base.shuffling import SHUFFLE
from simulator.parameters import Count, FloatArray, PositiveCount


@dataclass(frozen=True)
class BernoulliGradientCoding(ApproximateScheme):
    """Each worker holds each chunk with probability p and sends their sum; the best weights estimate the gradient.

    References
    ----------
    Charles, Papailiopoulos and Ellenberg, "Approximate gradient coding via sparse random graphs", 2017.

    Examples
    --------
    >>> code = BernoulliGradientCoding(n_workers=30, p=0.2)
    >>> 0 < code.squared_error(np.arange(30) < 20, enough=False) < 30
    True
    """

    n_workers: PositiveCount
    p: Annotated[float, Field(gt=0, le=1)]
    """probability that a worker holds a chunk; drawn once"""
    shuffle: bool = Field(default=False, repr=False, kw_only=True, description=SHUFFLE)
    seed: Annotated[Count, Field(repr=False)] = 0
    """for the draw; filled in from the scenario"""

    def encoding_matrix(self) -> FloatArray:
        return drawn(BernoulliAssignment(p=self.p), self.n_workers, self.seed).T.astype(np.float64)
