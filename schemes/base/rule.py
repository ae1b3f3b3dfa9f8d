"""The rule of a scheme, written once: who computes what, who may be missing, and what a closed round brought.

Every rule here is "nobody of these may be missing, and with those at most so many", joined by *and* over jobs and by
*or* over patterns, on sets of workers with one row for each run or setting. From it follow the session for events (one
row, `schemes.base.counting`), the array form of the engine and the search form.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from schemes.base.sets import Numbers, Set, Sets, Truths
    from simulator.parameters import FloatArray, IntArray

NOT_ENDED, DECODED, APPROXIMATE, FAILED = range(4)  # how a job has ended in a row


class Clause(NamedTuple):
    """Nobody ``needed`` may be missing; and those missing together with those ``before`` are at most ``limit``."""

    needed: Set
    before: Set
    limit: Numbers | None  # negative: never; None: however many there are
    in_groups: bool = False  # whether that is of each group of ``limit + 1`` neighbours, and not of all workers
    job: int | None = None  # which one's results are meant, where a list may count in part

    def permits(self, sets: Sets, missing: Set) -> Truths:
        """Are these workers allowed to be missing together?"""
        if self.limit is None:
            return True if self.needed is sets.nobody else sets.none(missing & self.needed)
        without = missing if self.before is sets.nobody else missing | self.before
        few = sets.fits(without, self.limit, in_groups=self.in_groups)
        return few if self.needed is sets.nobody else few & sets.none(missing & self.needed)

    def of_rows(self, sets: Sets, rows: IntArray) -> Clause:
        """Say the same of some rows; nobody remains nobody."""
        needed, before = (each if each is sets.nobody else each[:, rows] for each in (self.needed, self.before))
        limit = self.limit[rows] if isinstance(self.limit, np.ndarray) else self.limit
        return self._replace(needed=needed, before=before, limit=limit)


Alternatives = Sequence[Sequence[Clause]]  # one of these, and all of that


def permits(sets: Sets, alternatives: Alternatives, missing: Set, by_job: Mapping[int, Set] | None = None) -> Truths:
    """Do all clauses of one of the alternatives hold, without these workers or, of each job, without those?"""
    one_holds: Truths = False
    for clauses in alternatives:
        all_hold: Truths = True
        for clause in clauses:
            who = missing if by_job is None or clause.job is None else by_job[clause.job]
            holds = clause.permits(sets, who)
            all_hold = holds if all_hold is True else all_hold & holds  # which is half the price for arrays
        one_holds = all_hold if one_holds is False else one_holds | all_hold
    return one_holds


class Rule:
    """The master's memory during one run for each row: all that the three engines need to know of a scheme.

    Rounds are opened and closed in order. What a subclass leaves out is as of a scheme without memory, all of whose
    workers have one task in every round.
    """

    by_task = False  # whether each task of a list is reported by itself
    is_search = False  # no round is ever forced, all with work have equally much, and nobody asks how jobs end
    n_slots = 1  # tasks of a full list
    top: Numbers  # load of a task, as a fraction (of integers: that of several is rounded once)
    bottom: Numbers = 1
    steady: Alternatives = ()  # of every round, without memory

    def __init__(self, sets: Sets, n_jobs: int, delay_rounds: int = 0) -> None:
        self.sets, self.n_jobs, self.delay_rounds = sets, n_jobs, delay_rounds
        self.n_rounds, self.n_workers = n_jobs + delay_rounds, sets.n_workers
        self.index = -1

    def open(self, index: int) -> None:
        """Open a round."""
        self.index = index

    def busy(self) -> Set:
        """Workers with work in the open round; `Sets.everybody` itself if that is everybody."""
        return self.sets.everybody

    def n_tasks(self) -> IntArray:
        """Number of tasks that a worker is given, shape ``(n_rows, n_workers)``, or ``(n_rows, 1)`` if all have as
        many."""
        return np.ones((1, 1), dtype=np.int64)

    def n_results(self) -> IntArray | None:
        """Number of gradients that go up with a list that is reported as a whole, as `n_tasks`; None (default): one."""
        return None

    def lists(self) -> list[tuple[int, Set]]:
        """The jobs in the order of every worker's list, and who has a task of each; for lists that count in part."""
        return []

    @functools.cached_property
    def _per_task(self) -> tuple[IntArray, IntArray]:
        """Load of a task, as a fraction of two arrays of shape ``(n_rows, 1, 1)``, or ``(1, 1, 1)``."""
        return tuple(_alike(np.reshape(part, (-1, 1, 1))) for part in (self.top, self.bottom))  # type: ignore[return-value]

    def loads(self) -> FloatArray:
        """Cumulative load at each report, shape ``(n_rows or 1, n_workers, n_reports)``; NaN where there is none."""
        n_tasks = _alike(self.n_tasks())[:, :, np.newaxis]
        top, bottom = self._per_task
        n_done = np.arange(1, max(1, int(n_tasks.max())) + 1) if self.by_task else n_tasks
        loads = np.where((n_done <= n_tasks) & (n_tasks > 0), n_done * top / bottom, np.nan)
        return np.broadcast_to(loads, (len(loads), self.sets.n_workers, loads.shape[2]))

    def gradients(self) -> FloatArray | None:
        """Number of gradients that go up with each report, shape ``(n_rows or 1, n_workers, 1)``; None: one."""
        n_results = self.n_results()
        if n_results is None or self.by_task:
            return None
        gradients = _alike(n_results).astype(np.float64)
        return np.broadcast_to(gradients, (len(gradients), self.sets.n_workers))[:, :, np.newaxis]

    def tasks_of_all(self) -> IntArray:
        """Number of tasks of those with work in each round while no job fails, shape ``(n_rounds, 1)``."""
        return np.ones((self.n_rounds, 1), dtype=np.int64)

    def loads_of_all(self) -> FloatArray:
        """Load of those with work in each round while no job fails, shape ``(n_rounds, n_rows or 1)``."""
        return np.asarray(self.tasks_of_all() * self.top / self.bottom)

    def alternatives(self) -> Alternatives:
        """Clauses that say who may be missing in the open round."""
        return self.steady

    def remember(self, missing: Set, forced: Truths | None, by_job: Mapping[int, Set] | None = None) -> None:
        """Close the open round.

        Parameters
        ----------
        missing
            Who had work and did not report all of it.
        forced
            Where the master stopped although it was not enough; None: nowhere.
        by_job
            Whose results for each job did not come, where lists count in part; None: those of ``missing``.
        """

    def ended(self) -> list[tuple[int, Numbers]]:
        """Status of the jobs that ended with the round just closed: `NOT_ENDED`, `DECODED` or `FAILED` in each row."""
        return []


def _alike(rows: IntArray) -> IntArray:
    """One row, if all are equal."""
    return rows[:1] if (rows == rows[:1]).all() else rows


class Past:
    """Stragglers of the latest W - 1 rounds; before the first nobody did."""

    def __init__(self, sets: Sets, B: int, W: int) -> None:
        self._sets, self._B, self._W = sets, B, W
        self._index = 0
        # latest round that a worker straggled in, and again B or more later
        self._clash = sets.where(sets.always, -W, 0)
        self._rounds = deque([sets.nobody] * (W - 1), maxlen=W - 1)
        self._all, self._old = Recent(W - 1, sets.nobody), Recent(W - B, sets.nobody)

    def clashes(self) -> Truths:
        """Rows in which a worker straggled in two of these rounds, B or more apart, which were accepted for another
        reason."""
        return self._clash >= self._index - (self._W - 1)

    def bursty(self, limit: Numbers) -> Clause:
        """Clause under which the window of W rounds that ends now is bursty.

        Nobody who straggled B or more rounds ago, and with all who straggled since at most so many.
        """
        return Clause(self._old.union, self._all.union, limit)

    def append(self, missing: Set, forced: Truths | None, *, may_clash: bool) -> None:
        """Add a round, and forget the oldest; all of them where it was forced."""
        sets = self._sets
        if may_clash:
            self._find_clashes(missing)
        if forced is not None and sets.some(forced):
            self._forget(forced)
            missing = sets.where(forced, sets.nobody, missing)
        self._rounds.append(missing)
        self._all.append(missing)
        self._old.append(self._rounds[-self._B])
        self._index += 1

    def _forget(self, forced: Truths) -> None:
        sets, rounds = self._sets, self._rounds
        self._clash = sets.where(forced, -self._W, self._clash)
        self._all, self._old = Recent(self._W - 1, sets.nobody), Recent(self._W - self._B, sets.nobody)
        for place, missing in enumerate(list(rounds)):
            rounds[place] = sets.where(forced, sets.nobody, missing)
            self._all.append(rounds[place])
            if place < self._W - self._B:
                self._old.append(rounds[place])

    def _find_clashes(self, missing: Set) -> None:
        sets, ago = self._sets, self._B
        rows = sets.any(missing & self._old.union)
        while sets.some(rows):
            both = rows & sets.any(missing & self._rounds[-ago])
            later = both & (self._clash < self._index - ago)
            self._clash = sets.where(later, self._index - ago, self._clash)
            rows = rows ^ both
            ago += 1


class Counts:
    """In how many of the latest rounds each worker straggled, in binary: one set for each digit, the lowest first.

    Examples
    --------
    >>> from schemes.base.sets import OneSet
    >>> counts = Counts(OneSet(2), n_rounds=3)
    >>> for missing in (0b01, 0b11, 0b01, 0b01):
    ...     counts.append(missing, None)
    >>> counts.at_least(1), counts.at_least(2), counts.at_least(3)
    (3, 1, 1)
    """

    def __init__(self, sets: Sets, n_rounds: int) -> None:
        self._sets = sets
        self._rounds = deque([sets.nobody] * n_rounds, maxlen=n_rounds)
        self._digits = [sets.nobody] * n_rounds.bit_length()

    def append(self, missing: Set, forced: Truths | None) -> None:
        """Add a round, and forget the oldest; all of them where it was forced."""
        sets, oldest = self._sets, self._rounds[0]
        self._rounds.append(missing)
        up, down = missing & ~oldest, oldest & ~missing
        for place, digit in enumerate(self._digits):
            self._digits[place] = digit ^ (up | down)
            up, down = up & digit, down & ~digit
        if forced is not None and sets.some(forced):
            for kept in (self._rounds, self._digits):
                for place, one in enumerate(list(kept)):
                    kept[place] = sets.where(forced, sets.nobody, one)

    def at_least(self, n_times: int) -> Set:
        """Workers that straggled so often, which can't be more often than there are rounds."""
        who = self._sets.everybody
        for place, digit in enumerate(self._digits):
            who = digit & who if n_times >> place & 1 else digit | who
        return who


def count_up(at_least: Sequence[Set], workers: Set) -> list[Set]:
    """Add one to the counts of these workers; ``at_least[k]`` holds those with a count above k.

    Examples
    --------
    >>> count_up([0b110, 0b100], 0b011)
    [7, 6]
    """
    return [at_least[0] | workers, *(more | (fewer & workers) for fewer, more in itertools.pairwise(at_least))]


def count_down(at_least: Sequence[Set], workers: Set, nobody: Set) -> list[Set]:
    """Take one from the counts of these workers, which are all positive."""
    others = ~workers
    return [(this & others) | more for this, more in itertools.pairwise([*at_least, nobody])]


class Recent:
    """Union of the latest sets: a queue whose union costs two operations, however long it is.

    The older half is kept as unions that end at its newest set, so that the oldest set can be dropped.

    Examples
    --------
    >>> recent = Recent(2, 0)
    >>> for worker in range(3):
    ...     recent.append(1 << worker)
    >>> recent.union
    6
    """

    def __init__(self, length: int, nobody: Set) -> None:
        self.union = nobody
        self._length, self._nobody = length, nobody
        self._older: list[Set] = []  # unions, the one with the oldest set last
        self._newer: list[Set] = []
        self._newer_union = nobody

    def append(self, sets: Set) -> None:
        """Add sets, which are kept and not copied, and forget the oldest if there are too many."""
        if not self._length:
            return
        self._newer.append(sets)
        self._newer_union = self._newer_union | sets
        if len(self._older) + len(self._newer) > self._length:
            if not self._older:
                self._turn()
            self._older.pop()
        self.union = self._older[-1] | self._newer_union if self._older else self._newer_union

    def _turn(self) -> None:
        union = self._nobody
        for sets in reversed(self._newer):
            union = union | sets
            self._older.append(union)
        self._newer, self._newer_union = [], self._nobody
