"""Base of the workloads: rows of data, parameters, and the gradient of a loss that is a mean over rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import ConfigDict

from simulator.parameters import FloatArray, IntArray, TakesNumpy

Rows = IntArray | slice
"""Rows of the data: index arrays with it, ``features[rows]``. Rows that are neighbours come as a slice."""


class Measured(NamedTuple):
    """Quality of a model."""

    loss: float  # mean over all rows
    accuracy: float  # share of all rows; NaN where nothing is classified


class Workload(TakesNumpy, ABC):
    """A description of what is trained: frozen, comparable, the same in every run.

    Subclasses are ``pydantic.dataclasses.dataclass(frozen=True)``; the constructor's parameters are the keys in a
    scenario.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    models_at_once: ClassVar[int] = 1
    """most models that :meth:`chunk_gradients` and :meth:`measured` are given at a time; more than 1 where computing
    several together is faster than one after another"""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Rows of data; the loss is a mean over them."""

    @property
    def n_parameters(self) -> int:
        """Parameters of a model, told before any is made; 0 (default): not known."""
        return 0

    @abstractmethod
    def initial(self, rng: np.random.Generator) -> FloatArray:
        """Parameters with which the training of a model begins, a vector."""

    @abstractmethod
    def gradient(self, parameters: FloatArray, rows: Rows) -> FloatArray:
        """Gradient of the loss, *summed* over some rows: that of all rows is the sum of those of their chunks.

        Parameters
        ----------
        parameters
            Shape ``(dimension,)``; read-only.
        rows
            May be none at all.
        """

    @abstractmethod
    def loss(self, parameters: FloatArray) -> float:
        """Mean loss over all rows."""

    def accuracy(self, parameters: FloatArray) -> float:
        """Share of all rows that are classified correctly; NaN (default) where nothing is classified."""
        return math.nan

    def chunk_gradients(self, parameters: FloatArray, chunks: Sequence[Rows], rows: Rows, out: FloatArray) -> None:
        """Write down the gradients of some chunks of rows for each of some models.

        Override it where one pass over all of them is faster than a call of :meth:`gradient` for each.

        Parameters
        ----------
        parameters
            Of the models, shape ``(n_models, dimension)``; there are at most :attr:`models_at_once`; read-only.
        chunks
            Rows of each chunk.
        rows
            Those of all chunks, one after another.
        out
            To be filled, shape ``(n_chunks, n_models, dimension)``.
        """
        for model, of_model in enumerate(parameters):
            for place, chunk in zip(out[:, model], chunks, strict=True):
                found = np.asarray(self.gradient(of_model, chunk))
                if found.shape != place.shape:
                    raise ValueError(
                        f"gradient of {type(self).__name__} must have as many entries as its parameters, "
                        f"{len(place)}, got shape {found.shape}"
                    )
                place[:] = found

    def measured(self, parameters: FloatArray) -> Sequence[Measured]:
        """Loss and accuracy of some models.

        Override it where one pass over the data is faster than calls of :meth:`loss` and :meth:`accuracy` for each.

        Parameters
        ----------
        parameters
            Shape ``(n_models, dimension)``; read-only.
        """
        return [Measured(self.loss(of_model), self.accuracy(of_model)) for of_model in parameters]
