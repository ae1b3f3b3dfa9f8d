"""Approximate codes that may also weigh all responses alike."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from schemes.base.batch import Closed
from schemes.base.codec import Weights
from schemes.base.counting import Allowance, at_most
from schemes.base.linear import ApproximateScheme
from simulator.parameters import FloatArray, IntArray


class OneStepScheme(ApproximateScheme):
    """The master picks the best weights, or gives each of r responses the weight n/(d r), with d copies of a chunk."""

    @property
    @abstractmethod
    def is_one_step(self) -> bool:
        """Whether all responses have the same weight."""

    @property
    @abstractmethod
    def copies(self) -> int:
        """Workers that hold a chunk, perhaps on average: d."""

    def allowance(self) -> Allowance | None:
        return at_most(0, self.n_workers) if self.is_one_step else None

    def squared_errors(self, closed: Closed) -> FloatArray:
        if not self.is_one_step:
            return super().squared_errors(closed)
        answered = ~closed.missing
        n_responses = np.maximum(1, np.count_nonzero(answered, axis=1))  # without any, the estimate is 0
        weights = self.n_workers / (self.copies * n_responses)
        estimates = weights[:, np.newaxis] * (answered @ self.encoding_matrix())
        errors = ((estimates - 1) ** 2).sum(axis=1)
        return np.asarray(np.where(errors > 1e-12 * self.n_workers, errors, 0.0))

    def weights(self, answered: IntArray) -> Weights:
        if not self.is_one_step:
            return super().weights(answered)
        values = np.zeros(self.n_workers)
        values[answered] = self.n_workers / (self.copies * max(1, len(answered)))
        return Weights(values)
