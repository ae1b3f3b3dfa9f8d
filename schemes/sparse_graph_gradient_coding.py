"""Sparse graphs of workers and chunks, and two ways to decode what has come."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from schemes.assignment import Assignment, BernoulliAssignment, Fractional, drawn
from schemes.base.one_step import OneStepScheme
from schemes.base.shuffling import SHUFFLE
from simulator.parameters import Count, FloatArray, PositiveCount


@dataclass(frozen=True)
class SparseGraphGradientCoding(OneStepScheme):
    """Each worker sums the d chunks that it holds, and the master estimates the gradient from the responses that come.

    ``assignment: fractional`` (FRC): groups of d workers hold the same d chunks. ``bernoulli`` (BGC): each worker holds
    each chunk with probability d/n. ``decoding: one_step`` gives each of r responses the weight n/(r d), ``optimal``
    picks the best weights. If any r of n workers respond with equal probability, the expected squared error of FRC is
    n C(n-d, r)/C(n, r) with the best weights, and n (n-d)(n-r)/(r d (n-1)) in one step.

    References
    ----------
    Charles, Papailiopoulos and Ellenberg, "Approximate gradient coding via sparse random graphs", 2017.

    Examples
    --------
    >>> code = SparseGraphGradientCoding(n_workers=6, d=2)
    >>> missing = np.array([True, True, False, True, False, False])
    >>> round(code.squared_error(missing, enough=False), 6)
    2.0
    """

    n_workers: PositiveCount
    d: PositiveCount
    """chunks of each worker, and copies of each chunk; on average, if they are drawn"""
    assignment: Literal["fractional", "bernoulli"] = "fractional"
    """groups of d workers hold the same chunks, or each worker holds each chunk with probability d/n"""
    decoding: Literal["one_step", "optimal"] = "optimal"
    """weights of the responses: all equal, or those with the smallest error"""
    shuffle: bool = Field(default=False, repr=False, kw_only=True, description=SHUFFLE)
    seed: Annotated[Count, Field(repr=False)] = 0
    """for the draw; filled in from the scenario"""

    def __post_init__(self) -> None:
        if self.d > self.n_workers:
            raise ValueError(f"d must be between 1 and {self.n_workers}, got {self.d}")
        if self.assignment == "fractional" and self.n_workers % self.d:
            raise ValueError(f"d must divide the {self.n_workers} workers with assignment: fractional, got {self.d}")

    @property
    def is_one_step(self) -> bool:
        return self.decoding == "one_step"

    @property
    def copies(self) -> int:
        return self.d

    def encoding_matrix(self) -> FloatArray:
        graph: Assignment = Fractional(chunks_per_worker=self.d)
        if self.assignment == "bernoulli":
            graph = BernoulliAssignment(p=self.d / self.n_workers)
        return drawn(graph, self.n_workers, self.seed).T.astype(np.float64)
