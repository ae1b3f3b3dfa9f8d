"""The textbook model of a random delay."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import FloatArray, Positive, Seconds
from straggler_models.base import AddsTo, NoiseModel, Part, StandardModel, part_of


@dataclass(frozen=True)
class ShiftedExponential(StandardModel, NoiseModel):
    """Each worker and round draws shift + Exp(mean), independently: P(X > x) = exp(-(x - shift)/mean) for x >= shift.

    Source: Lee, Lam, Pedarsani, Papailiopoulos and Ramchandran, "Speeding Up Distributed Machine Learning Using
    Codes", IEEE Transactions on Information Theory 2018, section III.

    Examples
    --------
    >>> model = ShiftedExponential(shift=1.0, mean=2.0, adds_to="startup_s")
    >>> bool(next(model.rounds(3, np.random.default_rng(1))).startup_s.min() >= 1)
    True
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("shift", "mean")

    shift: Seconds
    """smallest value"""
    mean: Positive
    """mean of the exponential part, which is added to the shift"""
    adds_to: AddsTo

    @property
    def part(self) -> Part:
        return part_of(self.adds_to)

    @staticmethod
    def fill(draws: FloatArray, rng: np.random.Generator) -> None:
        rng.standard_exponential(out=draws)

    def turn(self, draws: FloatArray) -> None:
        draws *= self.mean
        draws += self.shift
