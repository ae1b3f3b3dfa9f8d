"""Schemes: who computes what, and when the answers are enough."""

from schemes.base import (
    Allowance,
    Closing,
    CountingSession,
    Outcome,
    Scheme,
    Session,
    Task,
    Work,
    at_most,
)
from schemes.fastest_k import FastestK
from schemes.fractional_repetition import FractionalRepetition
from schemes.gradient_coding import GradientCoding
from schemes.linear import LinearScheme, MemorylessSession
from schemes.multiplexed import Multiplexed
from schemes.partial_gradient_coding import PartialGradientCoding
from schemes.selective_repeat import SelectiveRepeat
from schemes.uncoded import Uncoded

SCHEMES: dict[str, type[Scheme]] = {
    "fastest_k": FastestK,
    "fractional_repetition": FractionalRepetition,
    "gradient_coding": GradientCoding,
    "multiplexed": Multiplexed,
    "partial_gradient_coding": PartialGradientCoding,
    "selective_repeat": SelectiveRepeat,
    "uncoded": Uncoded,
}

__all__ = [
    "SCHEMES",
    "Allowance",
    "Closing",
    "CountingSession",
    "FastestK",
    "FractionalRepetition",
    "GradientCoding",
    "LinearScheme",
    "MemorylessSession",
    "Multiplexed",
    "Outcome",
    "PartialGradientCoding",
    "Scheme",
    "SelectiveRepeat",
    "Session",
    "Task",
    "Uncoded",
    "Work",
    "at_most",
]
