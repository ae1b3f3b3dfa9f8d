"""Who may be missing, counted as responses arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from schemes.base.scheme import BoolArray, IntArray, Session


class Allowance(NamedTuple):
    """Who may be missing: of each of some disjoint groups of workers, at most so many.

    A group with limit 0 holds the workers whom the master needs.
    """

    group_of: IntArray  # shape (n_workers,): the worker's group, or -1: may be missing freely
    limits: IntArray  # shape (n_groups,): how many of the group may be missing

    def missing_beyond(self, missing: BoolArray) -> IntArray:
        """How many more of each group are missing than may be (positive: too many), shape (n_groups,)."""
        # group -1 is counted first and dropped
        return np.bincount(self.group_of[missing] + 1, minlength=len(self.limits) + 1)[1:] - self.limits

    def permits(self, missing: BoolArray) -> bool:
        """Are these workers allowed to be missing together?"""
        return bool((self.missing_beyond(missing) <= 0).all())


def at_most(n_missing: int, n_workers: int) -> Allowance:
    """Any ``n_missing`` of the workers may be missing."""
    return Allowance(np.zeros(n_workers, dtype=np.int64), np.array([n_missing]))


class _Demand:
    """The first of some allowances, all of which must hold, that does not hold yet.

    As workers only ever arrive, an allowance that holds once holds for the rest of the round. So it is enough
    to count for one of them at a time, and to skip to the next that fails when it starts to hold: each
    allowance is looked at by an array operation at most twice in a round.
    """

    __slots__ = ("_arrived", "_pending", "beyond", "group_of", "n_violated")

    def __init__(self, allowances: Sequence[Allowance], arrived: bytearray) -> None:
        self._pending: Iterator[Allowance] = iter(allowances)
        self._arrived = arrived
        self.group_of: list[int] = []
        self.beyond: list[int] = []
        self.advance()

    def advance(self) -> None:
        """Skip allowances that hold."""
        missing = ~np.frombuffer(self._arrived, dtype=np.bool_)
        for allowance in self._pending:
            beyond = allowance.missing_beyond(missing)
            self.n_violated = int(np.count_nonzero(beyond > 0))
            if self.n_violated:
                self.group_of = allowance.group_of.tolist()
                self.beyond = beyond.tolist()
                return
        self.n_violated = 0


class CountingSession(Session):
    """A session in which every worker reports once and *who is missing* decides what is enough.

    A subclass calls :meth:`expect` whenever a round opens.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._arrived = bytearray(n_workers)
        self._demands: list[_Demand] = []
        self._is_enough = True

    def expect(self, busy: BoolArray, alternatives: Sequence[Sequence[Allowance]]) -> None:
        """Wait for the ``busy`` workers until all allowances of one of the ``alternatives`` hold."""
        self._arrived = bytearray((~busy).tobytes())
        self._demands = [_Demand(allowances, self._arrived) for allowances in alternatives]
        self._is_enough = False
        self._settle()

    def _settle(self) -> None:
        if any(not demand.n_violated for demand in self._demands):
            self._is_enough = True
            self._demands = []

    def receive(self, worker: int, report: int) -> None:
        self._arrived[worker] = 1
        for demand in self._demands:  # hot: called for every arrival
            group = demand.group_of[worker]
            if group >= 0:
                beyond = demand.beyond[group] - 1
                demand.beyond[group] = beyond
                if not beyond:
                    self._holds(demand)

    def _holds(self, demand: _Demand) -> None:
        """One more group has as few missing as it may."""
        demand.n_violated -= 1
        if not demand.n_violated:
            demand.advance()
            self._settle()

    def enough(self) -> bool:
        return self._is_enough


class Tally:
    """Counts for one allowance during a round, where a worker may also stop mattering before it arrives.

    Examples
    --------
    >>> tally = Tally(Allowance(np.array([0, 0, -1]), np.array([0])), np.array([True, True, True]))
    >>> tally.arrives(2), tally.arrives(0), tally.excuse(1)
    (False, False, True)
    """

    __slots__ = ("beyond", "group_of", "n_violated")

    def __init__(self, allowance: Allowance, missing: BoolArray) -> None:
        beyond = allowance.missing_beyond(missing)
        self.group_of: list[int] = allowance.group_of.tolist()
        self.beyond: list[int] = beyond.tolist()
        self.n_violated = int(np.count_nonzero(beyond > 0))

    def arrives(self, worker: int) -> bool:
        """A worker is not missing any more: does the allowance hold now, and did not before?"""
        group = self.group_of[worker]
        return group >= 0 and self.lessen(group)

    def excuse(self, worker: int) -> bool:
        """A worker that is missing may be from now on: as if it had arrived."""
        holds = self.arrives(worker)
        self.group_of[worker] = -1
        return holds

    def lessen(self, group: int) -> bool:
        """One more of a group may be missing, or one fewer is."""
        beyond = self.beyond[group] - 1
        self.beyond[group] = beyond
        if beyond:
            return False
        self.n_violated -= 1
        return not self.n_violated
