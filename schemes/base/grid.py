"""Many settings of a scheme at once, on one sequence of worker times: what a search for parameters needs.

In such a search the master never gives up a round, so no job ever fails, and all workers that have work have equally
much of it: which workers are missing is all that there is to remember, and sets of workers fit into bits. A scheme
without such a form is run on arrays or events, one setting after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from schemes.base.bits import Bits, size, unpacked
from schemes.base.scheme import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from schemes.base.patterns import Code


class Grid(ABC):
    """The master's memory in one run of each of some settings."""

    n_workers: int
    delay_rounds: int
    load: FloatArray
    """of each scheme, shape ``(n_settings,)``"""

    @abstractmethod
    def loads(self) -> FloatArray:
        """Load of a worker that has work, in each round, shape ``(n_rounds, n_settings)``; 0 in a round without."""

    @abstractmethod
    def open_round(self, index: int) -> Bits | None:
        """Open a round; return who has work, None: everybody."""

    @abstractmethod
    def accepts(self, missing: Bits) -> BoolArray:
        """May the master end the open round without these workers? Shape ``(n_settings,)``."""

    @abstractmethod
    def close_round(self, missing: Bits) -> None:
        """End the open round, without these."""


class GradientCodingGrid(Grid):
    """`gradient_coding` or, as its ``code``, `fractional_repetition` with some ``s``; s = 0 is `uncoded`."""

    delay_rounds = 0

    def __init__(self, n_workers: int, n_jobs: int, s: IntArray, *, code: Code = "gradient_coding") -> None:
        self.n_workers = n_workers
        self._n_jobs, self._s, self._code = n_jobs, s, code
        self.load = (s + 1) / n_workers

    def loads(self) -> FloatArray:
        return np.tile(self.load, (self._n_jobs, 1))

    def open_round(self, index: int) -> None:
        pass

    def accepts(self, missing: Bits) -> BoolArray:
        if self._code == "gradient_coding":
            return np.asarray(size(missing) <= self._s)
        return np.asarray(~lost_groups(missing, self.n_workers, self._s + 1).any(axis=1))

    def close_round(self, missing: Bits) -> None:
        pass


def lost_groups(missing: Bits, n_workers: int, replicas: IntArray) -> BoolArray:
    """Which groups of replicas are missing altogether; true at the first worker of each.

    Parameters
    ----------
    missing
        Sets of workers.
    replicas
        How many neighbours are a group, for each set, shape ``(n_settings,)``; it divides the workers.

    Returns
    -------
    lost
        Shape ``(n_settings, n_workers)``.
    """
    lost = np.zeros((missing.shape[1], n_workers), dtype=np.bool_)
    is_possible = size(missing) >= replicas
    for each in np.unique(replicas[is_possible]).tolist():
        settings = np.flatnonzero(is_possible & (replicas == each))
        groups = unpacked(missing[:, settings], n_workers).reshape(len(settings), -1, each)
        lost[settings, ::each] = groups.all(axis=2)
    return lost
