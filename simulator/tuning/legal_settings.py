"""Every legal setting of the schemes that a search for parameters tries, in groups that are replayed side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemes.base.grid import GradientCodingGrid, Grid
from schemes.base.patterns import Code
from schemes.base.sequential_grid import Acceptance, MultiplexedGrid, SelectiveRepeatGrid

KINDS = ("uncoded", "gradient_coding", "fractional_repetition", "selective_repeat", "multiplexed")
REPETITION = "repetition only"  # `multiplexed` with lam = n, where nothing is coded
LABELS = ("uncoded", "GC", "GC-Rep", "SR-SGC", "SR-SGC-Rep", "M-SGC", REPETITION, "M-SGC-Rep")
# the published search: T at most 20, and windows of at most 80 rounds
PUBLISHED_DELAY = 20
PUBLISHED_WINDOW = 80


class Group(NamedTuple):
    """Settings of a scheme that differ only in ``s`` or ``lam``."""

    label: str
    kind: str
    code: Code
    accepts: Acceptance
    B: int  # 0 for a scheme without memory, as W
    W: int
    values: tuple[int, ...]  # of s for a scheme without memory, otherwise of lam

    @property
    def delay_rounds(self) -> int:
        """T."""
        return self.W - 2 + self.B if self.kind == "multiplexed" else self.B

    @property
    def has_equal_lists(self) -> bool:
        """Whether all workers that have work have equally much; with nothing coded, late lists are what was missed."""
        return self.label != REPETITION or self.accepts == "published"

    def grid(self, n_workers: int, n_jobs: int) -> Grid:
        """A run of each setting."""
        values = np.array(self.values)
        if not self.B:
            return GradientCodingGrid(n_workers, n_jobs, values, code=self.code)
        make = SelectiveRepeatGrid if self.kind == "selective_repeat" else MultiplexedGrid
        return make(n_workers, n_jobs, self.B, self.W, values, code=self.code, accepts=self.accepts)

    def scheme(self, value: int) -> dict[str, Any]:
        """One of the settings, as a scenario says it.

        Examples
        --------
        >>> Group("SR-SGC", "selective_repeat", "gradient_coding", "recoverable", 1, 2, (3,)).scheme(3)
        {'kind': 'selective_repeat', 'B': 1, 'W': 2, 'lam': 3, 'accepts': 'recoverable'}
        """
        if self.kind == "uncoded":
            return {"kind": self.kind}
        if not self.B:
            return {"kind": self.kind, "s": value}
        scheme: dict[str, Any] = {"kind": self.kind, "B": self.B, "W": self.W, "lam": value}
        if self.code != "gradient_coding":
            scheme["code"] = self.code
        if self.accepts == "published":
            scheme["as_published"] = True
        elif self.accepts != "pattern":
            scheme["accepts"] = self.accepts
        return scheme


def every_setting(
    n_workers: int, n_jobs: int, *, max_delay: int, kinds: Sequence[str] = KINDS, accepts: Sequence[Acceptance]
) -> list[Group]:
    """Every legal setting with T of at most ``max_delay``, and W of at most ``n_jobs`` or B + 1.

    Where two settings are the same scheme, only one is there: `selective_repeat` that accepts what is recoverable has
    nothing but B and s; lam = 0 is uncoded.

    Parameters
    ----------
    n_workers, n_jobs
        Of the run.
    max_delay
        Largest T, in rounds.
    kinds
        Schemes, each with its variant of repetition if it has one.
    accepts
        What the sequential schemes may accept, each of these.
    """
    groups = list(_memoryless(n_workers, kinds))
    for accepted in accepts:
        if "selective_repeat" in kinds:
            for B in range(1, max_delay + 1):
                windows = range(B + 1, max(n_jobs, B + 1) + 1, B)
                for W in windows[:1] if accepted == "recoverable" else windows:
                    groups += _selective_repeat(n_workers, B, W, accepted)
        if "multiplexed" in kinds:
            for W in range(2, max_delay + 2):
                for B in range(1, min(W - 1, max_delay + 2 - W) + 1):
                    groups += _multiplexed(n_workers, B, W, accepted)
    return groups


def published_grid(n_workers: int, accepts: Acceptance) -> list[Group]:
    """The settings of the first paper's search.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection.

    Examples
    --------
    >>> sum(len(group.values) for group in published_grid(256, "published"))
    96001
    """
    groups = [
        Group("uncoded", "uncoded", "gradient_coding", "pattern", 0, 0, (0,)),
        Group("GC", "gradient_coding", "gradient_coding", "pattern", 0, 0, tuple(range(n_workers))),
    ]
    lam = tuple(range(1, n_workers + 1))
    for B in range(1, PUBLISHED_DELAY + 1):
        for W in range(B + 1, PUBLISHED_WINDOW + 1, B):
            legal = tuple(one for one in lam if -(-one * B // (W - 1 + B)) < n_workers)
            groups.append(Group("SR-SGC", "selective_repeat", "gradient_coding", accepts, B, W, legal))
    for W in range(2, PUBLISHED_WINDOW):
        for B in range(1, min(W - 1, PUBLISHED_DELAY + 1 - W) + 1):
            groups += [group for group in _multiplexed(n_workers, B, W, accepts) if group.code == "gradient_coding"]
    return [group for group in groups if group.values]


def thinned(groups: Sequence[Group]) -> list[Group]:
    """A coarser grid: at most `MOST_VALUES` of s or lam in equal ratios, and x = 1, 2, 3, 5, 8 ... in W = x B + 1.

    Examples
    --------
    >>> [group] = thinned([Group("GC", "gradient_coding", "gradient_coding", "pattern", 0, 0, tuple(range(1, 256)))])
    >>> group.values
    (1, 2, 3, 4, 5, 7, 9, 11, 14, 18, 23, 29, 37, 47, 60, 76, 97, 124, 157, 200, 255)
    """
    return [
        group._replace(values=_in_equal_ratios(group.values))
        for group in groups
        if group.kind != "selective_repeat" or (group.W - 1) // group.B in FIBONACCI
    ]


MOST_VALUES = 24
FIBONACCI = (1, 2, 3, 5, 8, 13, 21, 34, 55)


def _in_equal_ratios(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) <= MOST_VALUES:
        return values
    wanted = np.geomspace(max(1, values[0]), values[-1], MOST_VALUES)
    places = np.searchsorted(values, np.round(wanted))
    return tuple(values[place] for place in np.unique(np.minimum(places, len(values) - 1)))


def _memoryless(n_workers: int, kinds: Sequence[str]) -> Iterator[Group]:
    if "uncoded" in kinds:
        yield Group("uncoded", "uncoded", "gradient_coding", "pattern", 0, 0, (0,))
    if "gradient_coding" in kinds and n_workers > 1:
        yield Group("GC", "gradient_coding", "gradient_coding", "pattern", 0, 0, tuple(range(1, n_workers)))
    if "fractional_repetition" in kinds:
        values = tuple(replicas - 1 for replicas in _divisors(n_workers)[1:])
        if values:
            yield Group("GC-Rep", "fractional_repetition", "fractional_repetition", "pattern", 0, 0, values)


def _selective_repeat(n_workers: int, B: int, W: int, accepts: Acceptance) -> Iterator[Group]:
    per_s = (W - 1 + B) // B  # s = ceil(lam / (x + 1))
    legal = [lam for lam in range(1, n_workers + 1) if -(-lam // per_s) < n_workers]
    once = accepts == "recoverable"  # for each s
    values = tuple(legal[::per_s] if once else legal)
    if values:
        yield Group("SR-SGC", "selective_repeat", "gradient_coding", accepts, B, W, values)
    divided = tuple(lam for lam in values if n_workers % (-(-lam // per_s) + 1) == 0)
    if divided:
        yield Group("SR-SGC-Rep", "selective_repeat", "fractional_repetition", accepts, B, W, divided)


def _multiplexed(n_workers: int, B: int, W: int, accepts: Acceptance) -> Iterator[Group]:
    if n_workers > 1:
        values = tuple(range(1, n_workers))
        yield Group("M-SGC", "multiplexed", "gradient_coding", accepts, B, W, values)
    yield Group(REPETITION, "multiplexed", "gradient_coding", accepts, B, W, (n_workers,))
    divided = tuple(replicas - 1 for replicas in _divisors(n_workers)[1:])
    if divided:
        yield Group("M-SGC-Rep", "multiplexed", "fractional_repetition", accepts, B, W, divided)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
