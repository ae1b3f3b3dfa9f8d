"""A scheme with memory that is one rule: the session, the array form and the search form follow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np

from schemes.base.batch import Batch, RuleBatch
from schemes.base.grid import Grid
from schemes.base.rule import Rule
from schemes.base.scheme import IntArray, Scheme
from schemes.base.sets import ManySets, Numbers, Sets


class RuleScheme(Scheme):
    """A scheme that says its rule on rows; `start` gives it to a session that knows the tasks."""

    @abstractmethod
    def rule(self, sets: Sets, n_jobs: int, values: Numbers) -> Rule:
        """Begin a run for each row.

        Parameters
        ----------
        sets
            The rows.
        n_jobs
            Of each run.
        values
            Of the parameter that is :attr:`varied`, in each row; the others are this scheme's.
        """

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        values = np.array([getattr(row, self.varied) if self.varied else 0 for row in rows])
        return [RuleBatch(self.rule(ManySets(len(rows), self.n_workers), n_jobs, values))]

    def grid(self, n_jobs: int, values: IntArray) -> Grid | None:
        return Grid(self.rule(ManySets(len(values), self.n_workers), n_jobs, values))
