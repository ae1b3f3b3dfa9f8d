"""The values of a swept key: lists, and ranges in equal steps or equal ratios."""

from collections.abc import Mapping
from typing import Any

from simulator.errors import show
from simulator.scenario.limits import MOST_POINTS

LARGEST = 1e150  # so that steps and ratios are numbers too
KEYS = ("from", "to", "n", "scale")


def values_of(given: object) -> list[Any]:
    """The values of one entry of a sweep: a list, or a range as ``from``, ``to``, ``n`` and ``scale``.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> values_of({"from": 0.01, "to": 0.04, "n": 4})
    [0.01, 0.02, 0.03, 0.04]
    >>> values_of({"from": 1, "to": 16, "n": 5, "scale": "log"})
    [1, 2, 4, 8, 16]
    """
    if isinstance(given, Mapping):
        return _spaced(given)
    if not isinstance(given, list) or not given:
        raise ValueError(f"must be a list of values, or a range {{from: 1, to: 10, n: 4}}, got {show(given)}")
    return given


def is_number(value: object) -> bool:
    """Say whether a value is a number of which steps and ratios are numbers, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _spaced(given: Mapping[str, Any]) -> list[Any]:
    unknown = [key for key in given if key not in KEYS]
    if unknown or not {"from", "to", "n"} <= set(given):
        raise ValueError(f"must be a range {{from: 1, to: 10, n: 4}}, with scale: log in ratios, got {show(given)}")
    start, stop, n, scale = given["from"], given["to"], given["n"], given.get("scale", "linear")
    if not (is_number(start) and is_number(stop)) or start == stop:
        raise ValueError(f"must go from one number to another, got {show(start)} to {show(stop)}")
    if not isinstance(n, int) or isinstance(n, bool) or not 2 <= n <= MOST_POINTS:
        raise ValueError(f"must have between 2 and {MOST_POINTS} values, got n = {show(n)}")
    if scale not in ("linear", "log"):
        raise ValueError(f"must have the scale linear or log, got {show(scale)}")
    if scale == "log" and min(start, stop) <= 0:
        raise ValueError(f"must go from one positive number to another on a log scale, got {start} to {stop}")
    return _steps(start, stop, n) if scale == "linear" else _ratios(start, stop, n)


def _steps(start: float, stop: float, n: int) -> list[Any]:
    if isinstance(start, int) and isinstance(stop, int) and (stop - start) % (n - 1) == 0:
        return [start + (stop - start) // (n - 1) * step for step in range(n)]
    return [float(start), *(_tidy(start + (stop - start) * step / (n - 1)) for step in range(1, n - 1)), float(stop)]


def _ratios(start: float, stop: float, n: int) -> list[Any]:
    inner = [_tidy(start * (stop / start) ** (step / (n - 1))) for step in range(1, n - 1)]
    if isinstance(start, int) and isinstance(stop, int) and all(value.is_integer() for value in inner):
        return [start, *map(int, inner), stop]
    return [float(start), *inner, float(stop)]


def _tidy(value: float) -> float:
    """0.03, not 0.030000000000000002: values are read in tables and figures, and typed again."""
    return float(f"{value:.12g}")
