"""Every legal setting of the schemes that a search for parameters tries, in groups that are replayed side by side."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemes import SCHEMES, GradientCoding, Multiplexed, Scheme, SelectiveRepeat, Uncoded
from schemes.base.patterns import Acceptance, accepting
from schemes.base.rule import Rule
from simulator.plugins.fields import fields_of
from simulator.plugins.kinds import SCHEME_TABLE

# the published search: T at most 20, and windows of at most 80 rounds
PUBLISHED_DELAY = 20
PUBLISHED_WINDOW = 80
MOST_VALUES = 24
FIBONACCI = (1, 2, 3, 5, 8, 13, 21, 34, 55)


class Group(NamedTuple):
    """Settings with one label and T that differ in the searched parameter alone."""

    first: Scheme
    values: tuple[Any, ...]  # of the searched parameter; None of a scheme without one

    @property
    def searched(self) -> str | None:
        """The name of that parameter."""
        return self.first.searched()

    def scheme(self, value: Any) -> Scheme:
        """One of the settings."""
        return self.first if self.searched is None else _changed(self.first, {self.searched: value})

    def grid(self, n_jobs: int, n_times: int = 1) -> Rule | None:
        """A run of each setting, so many times; None: the scheme has no such form."""
        if not self.first.session_follows("grid"):
            return None
        return self.first.grid(n_jobs, np.array(self.values * n_times))


def _changed(scheme: Any, values: dict[str, Any]) -> Scheme:
    changed: Scheme = dataclasses.replace(scheme, **values)
    return changed


def searchable() -> dict[str, type[Scheme]]:
    """The schemes that have settings, shipped or from installed packages, in the order of a search."""
    known = SCHEME_TABLE.known()
    in_order = {kind: known[kind] for kind in (*SCHEMES, *known)}
    return {kind: cls for kind, cls in in_order.items() if has_settings(cls)}


def has_settings(cls: type[Scheme]) -> bool:
    """Tell schemes that can be searched from others; a subclass of a scheme must say its own settings."""
    return "settings" in vars(cls)


def shipped_labels() -> list[str]:
    """The labels that a search may meet; two workers and a round of delay are enough for each of them."""
    return list(dict.fromkeys(scheme.label for cls in SCHEMES.values() for scheme in cls.settings(2, 1)))


def every_setting(
    n_workers: int,
    n_jobs: int,
    *,
    max_delay: int,
    schemes: Iterable[type[Scheme]],
    accepts: Sequence[Acceptance],
    speeds: Sequence[float] | None = None,
) -> list[Group]:
    """Every legal setting with T of at most ``max_delay``, and W of at most ``n_jobs`` where T does not limit it.

    Parameters
    ----------
    n_workers, n_jobs
        Of the run.
    max_delay
        Largest T, in rounds.
    schemes
        What is tried, in this order.
    accepts
        What the sequential schemes may accept, each of these.
    speeds
        Of the workers, if they differ.
    """
    groups: list[Group] = []
    for place, accepted in enumerate(accepts):
        for cls in schemes:
            taken = inspect.signature(cls.settings).parameters
            limits = {"max_window": n_jobs, "accepts": accepted, "speeds": speeds}
            if place == 0 or "accepts" in taken:
                known = {name: limit for name, limit in limits.items() if name in taken}
                groups += grouped(cls.settings(n_workers, max_delay, **known))
    return groups


def grouped(schemes: Iterable[Scheme]) -> Iterator[Group]:
    """Put neighbours together that may be replayed side by side."""
    for _, alike in itertools.groupby(schemes, key=_but_searched):
        first, *others = alike
        searched = first.searched()
        yield Group(first, tuple(None if searched is None else vars(one)[searched] for one in (first, *others)))


def _but_searched(scheme: Scheme) -> tuple[Any, ...]:
    cls = type(scheme)
    return cls, scheme.label, scheme.delay_rounds, _others(cls)(vars(scheme))


@functools.cache
def _others(cls: type[Scheme], *left_out: str) -> operator.itemgetter[Any]:
    """Look up all parameters but the searched one."""
    return operator.itemgetter(*(name for name in fields_of(cls) if name not in (cls.searched(), *left_out)))


def published_grid(n_workers: int, accepts: Acceptance) -> list[Group]:
    """The settings of the first paper's search.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection.

    Examples
    --------
    >>> sum(len(group.values) for group in published_grid(256, "published"))
    96001
    """
    uncoded, no_replicas = Uncoded.settings(n_workers, 0), GradientCoding(n_workers, s=0)
    sequential: Iterator[SelectiveRepeat | Multiplexed] = itertools.chain(
        SelectiveRepeat.settings(n_workers, PUBLISHED_DELAY, max_window=PUBLISHED_WINDOW),
        Multiplexed.settings(n_workers, PUBLISHED_DELAY - 1),
    )
    accepted = accepting(accepts)
    groups = grouped(scheme for scheme in sequential if scheme.code == "gradient_coding")
    return [
        *grouped([*uncoded, no_replicas, *GradientCoding.settings(n_workers, 0)]),
        *(group._replace(first=_changed(group.first, accepted)) for group in groups),
    ]


def thinned(groups: Sequence[Group]) -> list[Group]:
    """A coarser grid: at most `MOST_VALUES` of s or lam in equal ratios, and of the windows W with one T some.

    These are the 1st, 2nd, 3rd, 5th, 8th ...: in `selective_repeat` x = 1, 2, 3, 5, 8 ... in W = x B + 1.

    Examples
    --------
    >>> [group] = thinned([Group(GradientCoding(256, s=1), tuple(range(1, 256)))])
    >>> group.values
    (1, 2, 3, 4, 5, 7, 9, 11, 14, 18, 23, 29, 37, 47, 60, 76, 97, 124, 157, 200, 255)
    """
    n_windows: Counter[str] = Counter()
    kept = []
    for group in groups:
        others = _others(type(group.first), "W")(vars(group.first))
        alike = repr((group.first.label, group.first.delay_rounds, others))
        n_windows[alike] += 1
        if n_windows[alike] in FIBONACCI:
            kept.append(group._replace(values=_in_equal_ratios(group.values)))
    return kept


def _in_equal_ratios(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(values) <= MOST_VALUES:
        return values
    if not all(isinstance(value, int) for value in values):
        places = np.linspace(0, len(values) - 1, MOST_VALUES).astype(np.int64)
    else:
        wanted = np.geomspace(max(1, values[0]), values[-1], MOST_VALUES)
        places = np.minimum(np.searchsorted(values, np.round(wanted)), len(values) - 1)
    return tuple(values[place] for place in np.unique(places))
