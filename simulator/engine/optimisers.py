"""Optimisers, which turn a gradient into a step: one class for each optimiser."""

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from simulator.parameters import FloatArray


class Optimiser(Protocol):
    """Makes the steps of one model; what it keeps from one to the next is its own."""

    def step(self, gradient: FloatArray) -> FloatArray:
        """Return what the learning rate multiplies, given the mean gradient of a job's rows."""


class SGD:
    """Follows the gradient."""

    def step(self, gradient: FloatArray) -> FloatArray:
        return gradient


class Momentum:
    """Adds the gradient to 0.9 of the last step."""

    def __init__(self) -> None:
        self._velocity = np.zeros(())

    def step(self, gradient: FloatArray) -> FloatArray:
        self._velocity = 0.9 * self._velocity + gradient
        return self._velocity


OPTIMISERS: dict[str, type[Optimiser]] = {"sgd": SGD, "momentum": Momentum}

if TYPE_CHECKING:
    OptimiserName = str
else:
    OptimiserName = Literal[tuple(OPTIMISERS)]  # the words of the table: pydantic checks them, a type checker can't
