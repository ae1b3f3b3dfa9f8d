"""Kinds of parameters and arrays, the same in all that is described in a scenario."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import ArgsKwargs, CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0)]  # may be inf: never


class BesideTheScenario:
    """Marks a path that, in a scenario, is relative to the scenario's folder."""


class OfEach:
    """Marks a nested model of which any number may be a list, an entry for each worker, or a distribution."""


InputPath = Annotated[str, Field(min_length=1), BesideTheScenario()]


def plain_numbers(value: Any) -> Any:
    """The same with numpy's numbers as Python's, also in lists and mappings.

    Examples
    --------
    >>> plain_numbers([np.int64(3), "a"])
    [3, 'a']
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {plain_numbers(key): plain_numbers(inner) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain_numbers, value))
    if isinstance(value, ArgsKwargs):
        return ArgsKwargs(plain_numbers(value.args), plain_numbers(value.kwargs or {}))
    return value


class TakesNumpy:
    """A base of pydantic dataclasses whose parameters may be numpy's numbers."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(plain_numbers, handler(source))


class ComplaintsError(ValueError):
    """Several of what a ValueError says one of: "<parameter> must be ..., got ..."; in its arguments."""

    def __str__(self) -> str:
        return "; ".join(self.args)


def complaints_of(error: Exception) -> tuple[str, ...]:
    """All that an error complains of.

    Examples
    --------
    >>> complaints_of(ValueError("p must be given")), complaints_of(ComplaintsError("p must be ...", "q must be ..."))
    (('p must be given',), ('p must be ...', 'q must be ...'))
    """
    return error.args if isinstance(error, ComplaintsError) else (str(error),)
