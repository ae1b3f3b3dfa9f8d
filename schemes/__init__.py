"""Schemes: who computes what, and when the responses are enough."""

from schemes.base.counting import Allowance, CountingSession, at_most
from schemes.base.linear import ApproximateScheme, LinearScheme, MemorylessSession
from schemes.base.scheme import Closing, Outcome, Scheme, Session, Task, Work
from schemes.bernoulli_gradient_coding import BernoulliGradientCoding
from schemes.bibd_gradient_coding import BibdGradientCoding
from schemes.expander_gradient_coding import ExpanderGradientCoding
from schemes.fastest_k import FastestK
from schemes.fractional_repetition import FractionalRepetition
from schemes.gradient_coding import GradientCoding
from schemes.ideal import Ideal
from schemes.multiplexed import Multiplexed
from schemes.partial_gradient_coding import PartialGradientCoding
from schemes.selective_repeat import SelectiveRepeat
from schemes.uncoded import Uncoded

SCHEMES: dict[str, type[Scheme]] = {  # in the order of a search, which decides between equals
    "uncoded": Uncoded,
    "gradient_coding": GradientCoding,
    "fractional_repetition": FractionalRepetition,
    "selective_repeat": SelectiveRepeat,
    "multiplexed": Multiplexed,
    "bernoulli_gradient_coding": BernoulliGradientCoding,
    "bibd_gradient_coding": BibdGradientCoding,
    "expander_gradient_coding": ExpanderGradientCoding,
    "fastest_k": FastestK,
    "ideal": Ideal,
    "partial_gradient_coding": PartialGradientCoding,
}

__all__ = [
    "SCHEMES",
    "Allowance",
    "ApproximateScheme",
    "BernoulliGradientCoding",
    "BibdGradientCoding",
    "Closing",
    "CountingSession",
    "ExpanderGradientCoding",
    "FastestK",
    "FractionalRepetition",
    "GradientCoding",
    "Ideal",
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
