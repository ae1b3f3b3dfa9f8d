"""A scheme with memory that is one rule: the session, the array form and the search form follow."""

from __future__ import annotations

from abc import abstractmethod

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
            Of the last of the parameters that must be given, in each row; the others are this scheme's.
        """

    def batch(self, n_jobs: int, n_runs: int) -> Batch:
        values = np.full(n_runs, getattr(self, str(self.searched())))
        return RuleBatch(self.rule(ManySets(n_runs, self.n_workers), n_jobs, values))

    def grid(self, n_jobs: int, values: IntArray) -> Grid | None:
        return Grid(self.rule(ManySets(len(values), self.n_workers), n_jobs, values))
