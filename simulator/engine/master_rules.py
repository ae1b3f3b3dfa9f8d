"""The master rules: when the master looks, and what it does if the responses are not enough then.

A rule names an instant of each round, which may depend on when some worker finished (the reference); at that
instant the master ends the round if the responses are enough. Otherwise it waits for what ``wait_for`` says.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from simulator.choices import Reference, WaitFor
from simulator.parameters import FloatArray, IntArray, Positive, Seconds, TakesNumpy

FINEST = 2.0**52  # polls up to an instant: beyond it, a multiple of poll_s and the instant are the same number
Ranks = TypeVar("Ranks", int, IntArray)
Instants = TypeVar("Instants", float, FloatArray)


@dataclass(frozen=True, kw_only=True)
class MasterRule(TakesNumpy, ABC):
    """Base class of the master rules."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    # described in the annotations: docstrings are those of a class's own parameters only
    timeout_s: Annotated[
        Positive | None, Field(description="seconds after which a round closes, whatever is missing")
    ] = None
    poll_s: Annotated[
        Positive | None,
        Field(description="the master acts only at multiples of this many seconds after the round's start"),
    ] = None

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the rule in tables."""

    @property
    @abstractmethod
    def waits_for(self) -> WaitFor:
        """Responses that the master waits for when those at the instant are not enough."""

    @abstractmethod
    def reference_rank(self, n_busy: Ranks) -> Ranks | int:
        """Return how many workers must finish before the instant is known (0: none), for one round or an array."""

    @abstractmethod
    def wants_s(self, reference_s: Instants) -> Instants | float | None:
        """The instant, given when the reference worker finished, in seconds after the round's start.

        None: there is none, the master looks at every arrival from the start.
        """

    @property
    def may_wait_for_ever(self) -> bool:
        """True if a worker that never answers could keep the master waiting."""
        return self.timeout_s is None

    @property
    def looks(self) -> bool:
        """True if the rule names an instant, and the master does not look at every arrival."""
        return self.wants_s(0.0) is not None

    @property
    def structure(self) -> tuple[object, ...]:
        """All but the numbers of the rule: rules in which that is equal go side by side."""
        return type(self), *("" if type(value) is float else value for value in vars(self).values())

    @classmethod
    def side_by_side(cls, rules: Sequence[Self]) -> Self:
        """One rule for many rows: its numbers are those of the rules, as arrays of shape ``(n_rows,)``.

        Examples
        --------
        >>> FixedTime.side_by_side([FixedTime(time_s=1.0), FixedTime(time_s=2.0)]).wants_s(0.0)
        array([1., 2.])
        """
        said = {
            name: np.array([getattr(rule, name) for rule in rules]) if type(value) is float else value
            for name, value in vars(rules[0]).items()
        }
        return rules[0]._with(said)

    def rows(self, which: IntArray) -> Self:
        """The same for some of its rows."""
        said = vars(self).items()
        return self._with({name: value[which] if isinstance(value, np.ndarray) else value for name, value in said})

    def _with(self, said: dict[str, Any]) -> Self:
        """A copy, of which nothing is checked."""
        copy = object.__new__(type(self))
        copy.__dict__.update(said)
        return copy

    @property
    def limit_s(self) -> FloatArray:
        """When each row's round ends at the latest; inf: at no fixed time."""
        return np.asarray(np.inf if self.timeout_s is None else self.acts_at(np.asarray(self.timeout_s)))

    def acts_at(self, instants_s: FloatArray) -> FloatArray:
        """The array form of :meth:`acts_s`, shape as of ``instants_s``."""
        if self.poll_s is None:
            return instants_s
        with np.errstate(over="ignore"):
            is_fine = instants_s / self.poll_s > FINEST
        n_polls = np.maximum(0.0, np.ceil(np.where(is_fine, 0.0, instants_s) / self.poll_s))
        with np.errstate(invalid="ignore"):
            for _ in range(2):
                n_polls = np.where((n_polls > 0) & ((n_polls - 1) * self.poll_s >= instants_s), n_polls - 1, n_polls)
            for _ in range(2):
                n_polls = np.where(n_polls * self.poll_s < instants_s, n_polls + 1, n_polls)
        return np.where(is_fine, instants_s, n_polls * self.poll_s)

    def acts_s(self, instant_s: float) -> float:
        """Return when the master acts on an event at that instant: the next multiple of ``poll_s``.

        Examples
        --------
        >>> FirstEnough(poll_s=0.5).acts_s(1.2), FirstEnough(poll_s=0.1).acts_s(3 * 0.1) == 3 * 0.1
        (1.5, True)
        """
        if self.poll_s is None or math.isinf(instant_s):
            return instant_s
        if instant_s / self.poll_s > FINEST:
            return instant_s
        n_polls = math.ceil(instant_s / self.poll_s)
        # the quotient is rounded: a multiple stays where it is, and nothing is rounded down
        while n_polls > 0 and (n_polls - 1) * self.poll_s >= instant_s:
            n_polls -= 1
        while n_polls * self.poll_s < instant_s:
            n_polls += 1
        return n_polls * self.poll_s


@dataclass(frozen=True, kw_only=True)
class FirstEnough(MasterRule):
    """Close the round as soon as the responses are enough."""

    @property
    def name(self) -> str:
        return "first_enough"

    @property
    def waits_for(self) -> WaitFor:
        return "enough"

    def reference_rank(self, n_busy: Ranks) -> Ranks | int:
        return 0

    def wants_s(self, reference_s: Instants) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class MuRule(MasterRule):
    """Look at the responses at (1 + mu) times the finishing time of the first worker, or of the median one.

    Workers that have not reported by then may be stragglers. If the scheme can't do without them, the master waits
    out: it goes on waiting as ``wait_for`` says. The median worker is the ceil(m/2)-th to finish of
    the m workers with work.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, section 2 (mu-rule and wait-out).

    Examples
    --------
    >>> MuRule(mu=0.5, wait_for="enough").name
    'mu 0.5, enough'
    """

    mu: Seconds = 1.0
    """tolerance: a worker may take 1 + mu times as long as the reference"""
    reference: Reference = "first"
    """whose finishing time counts"""
    wait_for: WaitFor = "all"
    """what the master waits for if the responses are not enough at that time"""

    @property
    def name(self) -> str:
        of_median = " of the median" if self.reference == "median" else ""
        return f"mu {_exact(self.mu)}{of_median}, {self.wait_for}"

    @property
    def waits_for(self) -> WaitFor:
        return self.wait_for

    def reference_rank(self, n_busy: Ranks) -> Ranks | int:
        return 1 if self.reference == "first" else (n_busy + 1) // 2

    def wants_s(self, reference_s: Instants) -> Instants:
        return (1.0 + self.mu) * reference_s


@dataclass(frozen=True, kw_only=True)
class FixedTime(MasterRule):
    """Look at the responses a fixed time after the round's start; what arrives at exactly that time counts."""

    time_s: Seconds
    """seconds after the round's start"""
    wait_for: WaitFor = "nobody"
    """what the master waits for if the responses are not enough at that time"""

    @property
    def name(self) -> str:
        return f"{_exact(self.time_s)} s, {self.wait_for}"

    @property
    def waits_for(self) -> WaitFor:
        return self.wait_for

    @property
    def may_wait_for_ever(self) -> bool:
        return self.timeout_s is None and self.wait_for != "nobody"

    def reference_rank(self, n_busy: Ranks) -> Ranks | int:
        return 0

    def wants_s(self, reference_s: Instants) -> float:
        return self.time_s


def _exact(value: float) -> str:
    """A number in as few digits as tell it from others."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


MASTER_RULES: dict[str, type[MasterRule]] = {
    "first_enough": FirstEnough,
    "fixed_time": FixedTime,
    "mu_rule": MuRule,
}
