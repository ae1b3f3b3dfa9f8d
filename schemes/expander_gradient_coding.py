"""Codes from regular graphs whose spectral gap bounds the error."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from schemes.assignment import RandomRegular, drawn
from schemes.base.one_step import OneStepScheme
from schemes.base.shuffling import SHUFFLE
from simulator.parameters import Count, FloatArray, PositiveCount


@dataclass(frozen=True)
class ExpanderGradientCoding(OneStepScheme):
    """Worker w sums the chunks that are its neighbours in a random d-regular graph.

    With r responses, ``decoding: fixed`` weighs each by n/(d r); ``optimal`` picks the best weights. With s = n - r
    missing, the squared error is at most (lambda/d)^2 n s/(n - s), lambda = max(abs(lambda_2), abs(lambda_n)) of the
    adjacency matrix.

    References
    ----------
    Raviv, Tamo, Tandon and Dimakis, "Gradient coding from cyclic MDS codes and expander graphs", ICML 2018.

    Examples
    --------
    >>> code = ExpanderGradientCoding(n_workers=20, chunks_per_worker=4)
    >>> missing = np.arange(20) < 5
    >>> bool(0 < code.squared_error(missing, enough=False) <= code.error_bound(5))
    True
    """

    n_workers: PositiveCount
    chunks_per_worker: PositiveCount
    """d, the degree of the graph"""
    decoding: Literal["fixed", "optimal"] = "optimal"
    """weights of the responses: all equal, or those with the smallest error"""
    shuffle: bool = Field(default=False, repr=False, kw_only=True, description=SHUFFLE)
    seed: Annotated[Count, Field(repr=False)] = 0
    """for the graph; filled in from the scenario"""

    def __post_init__(self) -> None:
        try:
            self.encoding_matrix()
        except ValueError as error:
            raise ValueError(str(error).removeprefix("assignment.")) from None

    def encoding_matrix(self) -> FloatArray:
        graph = RandomRegular(chunks_per_worker=self.chunks_per_worker)
        return drawn(graph, self.n_workers, self.seed).astype(np.float64)

    @property
    def is_one_step(self) -> bool:
        return self.decoding == "fixed"

    @property
    def copies(self) -> int:
        return self.chunks_per_worker

    def error_bound(self, n_missing: int) -> float:
        """The bound on the squared error for so many missing workers."""
        eigenvalues = np.linalg.eigvalsh(self.encoding_matrix())  # in ascending order
        gap = max(abs(eigenvalues[0]), abs(eigenvalues[-2])) / self.chunks_per_worker
        return float(gap**2 * self.n_workers * n_missing / (self.n_workers - n_missing))
