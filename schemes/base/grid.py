"""Many settings of a scheme at once, on one sequence of worker times: what a search for parameters needs.

In such a search the master never gives up a round, so no job ever fails, and all workers that have work have equally
much of it: which workers are missing is all that there is to remember.
"""

from __future__ import annotations

import numpy as np

from schemes.base.rule import Rule, permits
from schemes.base.scheme import BoolArray, FloatArray
from schemes.base.sets import Words


class Grid:
    """The master's memory in one run of each of some settings: the rows of a rule."""

    def __init__(self, rule: Rule) -> None:
        rule.is_search = True
        self._rule = rule
        self.load: FloatArray = rule.n_slots * rule.top / rule.bottom
        """of each scheme, shape ``(n_settings,)``"""

    def loads(self) -> FloatArray:
        """Load of a worker that has work, in each round, shape ``(n_rounds, n_settings)``."""
        loads: FloatArray = self._rule.tasks_of_all() * self._rule.top / self._rule.bottom
        return loads

    def open_round(self, index: int) -> Words | None:
        """Open a round; return who has work, None: everybody."""
        self._rule.open(index)
        self._alternatives = self._rule.alternatives()
        busy: Words = self._rule.busy()
        return None if busy is self._rule.sets.everybody else busy

    def accepts(self, missing: Words) -> BoolArray:
        """May the master end the open round without these workers? Shape ``(n_settings,)``."""
        return np.asarray(permits(self._rule.sets, self._alternatives, missing))

    def close_round(self, missing: Words) -> None:
        """End the open round, without these."""
        self._rule.remember(missing, None)
