"""The array form of a session: many runs of a scheme at once, for the vectorised engine.

Runs are rows. A scheme without memory has no use for rounds: there each row is a round of some run. What a batch says
must be what the scheme's session says of each run by itself; tests compare the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, TypeVar

import numpy as np

from schemes.base.allowance import Allowance
from schemes.base.scheme import BoolArray, FloatArray, IntArray

Values = TypeVar("Values", BoolArray, FloatArray)


NOT_ENDED, DECODED, APPROXIMATE, FAILED = range(4)


class BatchOutcome(NamedTuple):
    """How one job ended in each run, if it did."""

    job: int
    status: IntArray  # shape (n_runs,): NOT_ENDED, DECODED, APPROXIMATE or FAILED
    squared_error: FloatArray  # shape (n_runs,); NaN where the job failed


class BatchClosing(NamedTuple):
    """Why a round ended in each run, and who was missing then."""

    due_s: FloatArray  # when each report was due, shape (n_runs, n_workers, n_reports); -inf where there is none
    instant_s: FloatArray  # when the master stopped, shape (n_runs,)
    missing: BoolArray  # who had not reported everything, shape (n_runs, n_workers)
    forced: BoolArray  # shape (n_runs,)
    takes_estimate: bool


class Batch(ABC):
    """The master's memory during ``n_runs`` runs of a scheme."""

    n_runs: int
    is_memoryless = False  # whether the engine may take rounds as runs
    is_divisible = False  # as of `Work`
    blocks = 1  # an upload at the master's word is so small a part of a gradient

    @abstractmethod
    def open_round(self, index: int) -> FloatArray:
        """Cumulative load at each report, shape ``(n_runs or 1, n_workers, n_reports)``; NaN where there is none."""

    def gradients(self) -> FloatArray | None:
        """How many gradients go up with each report, shape as of the loads; None (default): one."""
        return None

    def asks_for_uploads(self) -> bool:
        """Whether all who have reported something upload at the master's word."""
        return False

    @abstractmethod
    def enough(self, due_s: FloatArray, by_s: FloatArray, runs: IntArray | slice) -> BoolArray:
        """Is what has arrived by an instant enough?

        Parameters
        ----------
        due_s
            When each report of these runs arrives, shape ``(n, n_workers, n_reports)``; -inf where there is none.
        by_s
            The instants, shape ``(n,)``.
        runs
            Which runs these are.
        """

    @abstractmethod
    def enough_s(self, due_s: FloatArray, runs: IntArray | slice) -> FloatArray:
        """From which instant on is it enough? Shape ``(n,)``; -inf: even nobody would be."""

    @abstractmethod
    def close_round(self, closing: BatchClosing) -> list[BatchOutcome]:
        """End the open round of all runs."""


def last_of(due_s: FloatArray) -> FloatArray:
    """When each worker has reported everything, shape ``(n, n_workers)``; -inf for who has no work."""
    return due_s[:, :, 0] if due_s.shape[2] == 1 else due_s.max(axis=2)


def at_most_missing_s(due_s: FloatArray, who: BoolArray | None, n_missing: IntArray | int) -> FloatArray:
    """From which instant on at most so many are missing, shape ``(n,)``.

    Parameters
    ----------
    due_s
        When each worker arrives, shape ``(n, n_workers)``.
    who
        Who counts; None: everybody.
    n_missing
        How many of them may be missing: one number, or one for each row. Negative: never enough, as those who
        count can't become fewer than none.

    Examples
    --------
    >>> at_most_missing_s(np.array([[3.0, 1.0, 2.0]]), None, 1)
    array([2.])
    """
    n_workers = due_s.shape[1]
    counted = due_s if who is None else np.where(who, due_s, -np.inf)
    if isinstance(n_missing, int):
        if n_missing >= n_workers:
            return np.full(len(due_s), -np.inf)
        if n_missing == 0:
            return np.asarray(counted.max(axis=1))
        place = n_workers - 1 - n_missing
        return np.asarray(np.partition(counted, place, axis=1)[:, place])
    in_order = np.sort(counted, axis=1)
    places = n_workers - 1 - np.asarray(n_missing)
    instants = in_order[np.arange(len(due_s)), np.clip(places, 0, n_workers - 1)]
    return np.where(places < 0, -np.inf, np.where(places >= n_workers, np.inf, instants))


class Groups:
    """The members of an allowance's groups, and how many of each may be missing."""

    def __init__(self, allowance: Allowance) -> None:
        members = [np.flatnonzero(allowance.group_of == group) for group in range(len(allowance.limits))]
        limits = allowance.limits.tolist()
        kinds = sorted({(len(who), limit) for who, limit in zip(members, limits, strict=True)})
        self._all = np.arange(len(allowance.group_of))
        # groups of one size and limit are handled together, those that may be missing altogether not at all
        self._kinds = [
            (np.array([who for who, limit in zip(members, limits, strict=True) if (len(who), limit) == kind]), kind[1])
            for kind in kinds
            if kind[1] < kind[0]
        ]
        self._least = min((limit for _, limit in self._kinds), default=len(self._all))
        self._is_one = [members.size for members, _ in self._kinds] == [len(self._all)] and len(limits) == 1

    def permit(self, missing: BoolArray) -> BoolArray:
        """Are these workers allowed to be missing together? Shapes ``(n, n_workers)`` and ``(n,)``."""
        # so few may be missing wherever they are
        permitted: BoolArray = np.count_nonzero(missing, axis=1) <= self._least
        if self._is_one or permitted.all():
            return permitted
        rows = np.flatnonzero(~permitted)
        permitted[rows] = True
        for members, limit in self._kinds:
            counts = np.count_nonzero(self._grouped(missing[rows], members), axis=2)
            permitted[rows] &= (counts <= limit).all(axis=1)
        return permitted

    def _grouped(self, values: Values, members: IntArray) -> Values:
        """Values by group and member, shape ``(n, n_groups, size)``; a view if neighbours are grouped."""
        if np.array_equal(members.ravel(), self._all):
            return values.reshape(len(values), *members.shape)
        return values[:, members]

    def permitted_s(self, due_s: FloatArray) -> FloatArray:
        """From which instant on those that are missing may be; shapes ``(n, n_workers)`` and ``(n,)``."""
        instants = np.full(len(due_s), -np.inf)
        for members, limit in self._kinds:
            size = members.shape[1]
            place = size - 1 - limit
            grouped = self._grouped(due_s, members)
            if place in (0, size - 1):
                least = grouped.min(axis=2) if place == 0 else grouped.max(axis=2)
            else:
                least = np.partition(grouped, place, axis=2)[:, :, place]
            instants = np.maximum(instants, least.max(axis=1))
        return instants
