"""Distributions from which parameters of a model are drawn, once for each worker."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from simulator.parameters import ComplaintsError, FloatArray, NonNegative, Positive

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Distribution(ABC):
    """A description of a distribution."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    @abstractmethod
    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        """Draw so many numbers; integers, if they are all."""


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform between two numbers."""

    low: Finite
    """smallest number"""
    high: Finite
    """largest number"""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"high must be at least low = {self.low}, got {self.high}")

    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        return rng.uniform(self.low, self.high, number)


@dataclass(frozen=True)
class Exponential(Distribution):
    """Exponential."""

    mean: Positive
    """mean"""

    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        return self.mean * rng.standard_exponential(number)


@dataclass(frozen=True)
class Lognormal(Distribution):
    """median * exp(sigma Z) with Z standard normal."""

    median: Positive
    """number that half of the draws exceed"""
    sigma: NonNegative
    """standard deviation of the logarithm"""

    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        return np.asarray(self.median * np.exp(self.sigma * rng.standard_normal(number)))


@dataclass(frozen=True)
class Gamma(Distribution):
    """Gamma."""

    mean: Positive
    """mean"""
    variance: Positive
    """variance"""

    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        return rng.gamma(self.mean**2 / self.variance, self.variance / self.mean, number)


@dataclass(frozen=True)
class Choice(Distribution):
    """One of some numbers, each equally likely, or in given shares."""

    values: Annotated[list[int | float], Field(min_length=1)]
    """the numbers"""
    shares: list[NonNegative] | None = None
    """how likely each of them is, up to a common factor; left out: equally"""

    def __post_init__(self) -> None:
        if self.shares is not None and (len(self.shares) != len(self.values) or not sum(self.shares) > 0):
            raise ValueError(f"shares must be {len(self.values)} numbers, not all 0, got {self.shares}")

    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        shares = None if self.shares is None else np.array(self.shares) / sum(self.shares)
        return rng.choice(np.array(self.values), number, p=shares)


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "choice": Choice,
    "exponential": Exponential,
    "gamma": Gamma,
    "lognormal": Lognormal,
    "uniform": Uniform,
}


def distribution_of(given: dict[str, Any]) -> Distribution:
    """Make a distribution of a mapping ``{"distribution": "uniform", "low": 1.0, "high": 2.0}``.

    Raises
    ------
    ValueError
        "<key> must be ..., got ...".

    Examples
    --------
    >>> distribution_of({"distribution": "uniform", "low": 1.0, "high": 2.0})
    Uniform(low=1.0, high=2.0)
    """
    kind = given.get("distribution")
    cls = DISTRIBUTIONS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}, got {kind!r}")
    try:
        return cls(**{name: value for name, value in given.items() if name != "distribution"})
    except ValidationError as error:
        raise ComplaintsError(*map(complaint, error.errors(include_url=False))) from error


def complaint(found: Any) -> str:
    """Put one of the errors that pydantic found in our words: "<parameter> must be ..., got ...".

    Examples
    --------
    >>> try:
    ...     Exponential(mean=-1.0)
    ... except ValidationError as error:
    ...     [complaint(found) for found in error.errors()]
    ['mean must be greater than 0, got -1.0']
    """
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    place, got = ".".join(map(str, found["loc"])), found["input"]
    if found["type"].startswith("missing"):
        return f"{place} must be given, got nothing"
    if found["type"].startswith(("unexpected", "extra")):
        return f"{place} must be left out, because there is no such parameter, got {got!r}"
    return f"{place} {found['msg'].replace('Input should be', 'must be')}, got {got!r}"
