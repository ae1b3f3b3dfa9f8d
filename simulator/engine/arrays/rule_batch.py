"""The array form of a rule: runs of a scheme with memory side by side."""

import numpy as np

from schemes.base.batch import Batch, permitted_s
from schemes.base.rule import Clause, Rule, permits
from schemes.base.sets import ManySets, Set
from simulator.engine.arrays.stopping import last_of
from simulator.parameters import BoolArray, FloatArray, IntArray


class RuleBatch(Batch):
    """Runs of a rule, each of its rows one."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.sets, ManySets)
        self.rule, self.sets = rule, rule.sets
        self.n_rows, self.n_workers, self.n_rounds = rule.sets.n_rows, rule.sets.n_workers, rule.n_rounds
        self.loads_of_all: FloatArray = rule.loads_of_all()
        """load of a worker while everybody has work and no job fails, shape ``(n_rounds, n_rows or 1)``"""
        self._tasks_of_all = rule.tasks_of_all()

    def open_round(self, index: int) -> None:
        """Open a round of all runs."""
        self.rule.open(index)
        self._alternatives = self.rule.alternatives()
        self._places, self._n_tasks = self._places_of_jobs()
        self._n_given = self.rule.n_tasks()

    def is_usual(self) -> BoolArray:
        """Rows in which everybody has the work of `loads_of_all` in the open round, shape ``(n_rows or 1,)``."""
        usual = self._n_given == self._tasks_of_all[self.rule.index][:, np.newaxis]
        return np.asarray(usual[:, 0] if usual.shape[1] == 1 else usual.all(axis=1))

    def loads(self) -> FloatArray:
        return self.rule.loads()

    def gradients(self) -> FloatArray | None:
        return self.rule.gradients()

    def permits(self, missing: Set) -> BoolArray:
        """Is it enough without these? Shape ``(n_rows,)``."""
        return np.asarray(permits(self.sets, self._alternatives, missing))

    def _places_of_jobs(self) -> tuple[dict[int, IntArray], IntArray]:
        """Place in its list at which each worker serves each job, -1 if it does not; and how long its list is.

        Shape ``(n_rows, n_workers)`` each; only where lists count in part.
        """
        places: dict[int, IntArray] = {}
        n_before = np.zeros((self.n_rows, self.n_workers), dtype=np.int64)
        for job, who in self.rule.lists() if self.rule.by_task else []:
            serves = self.sets.workers(who)
            places[job] = np.where(serves, n_before, places.get(job, -1))
            n_before = n_before + serves
        return places, n_before

    def _due_of(self, job: int | None, due_s: FloatArray, rows: IntArray) -> FloatArray:
        """Instants at which each worker's result for a job arrives, -inf for who has no task; shape ``(n,
        n_workers)``."""
        if job not in self._places:
            return last_of(due_s)
        places = self._places[job][rows]
        job_due_s = np.take_along_axis(due_s, np.maximum(places, 0)[:, :, np.newaxis], axis=2)[:, :, 0]
        return np.where(places >= 0, job_due_s, -np.inf)

    def missing_by_job(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> dict[int, Set] | None:
        """Workers whose result for each job is missing at an instant; None: lists count as a whole."""
        if not self._places:
            return None
        n_missing = sum(report_s > by_s[:, np.newaxis] for report_s in np.moveaxis(due_s, 2, 0))
        n_come = self._n_tasks[rows] - n_missing
        return {job: self.sets.of(places[rows] >= n_come) for job, places in self._places.items()}

    def _of_rows(self, rows: IntArray) -> list[list[Clause]]:
        return [[clause.of_rows(self.sets, rows) for clause in clauses] for clauses in self._alternatives]

    def enough(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        missing = self.sets.of(last_of(due_s) > by_s[:, np.newaxis])
        truths = permits(self.sets, self._of_rows(rows), missing, self.missing_by_job(due_s, by_s, rows))
        return np.broadcast_to(truths, len(due_s))

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        instants = [
            np.max(
                [
                    np.full(len(due_s), -np.inf),
                    *(permitted_s(self.sets, clause, self._due_of(clause.job, due_s, rows)) for clause in clauses),
                ],
                axis=0,
            )
            for clauses in self._of_rows(rows)
        ]
        return np.asarray(np.min(instants, axis=0))

    def close_round(
        self, missing: Set, forced: BoolArray | None, by_job: dict[int, Set] | None
    ) -> list[tuple[int, IntArray]]:
        """End the open round of all runs; return the status of the jobs that ended in any, NOT_ENDED (0) in the others.

        The parameters are those of :meth:`~schemes.base.rule.Rule.remember`.
        """
        self.rule.remember(missing, forced, by_job)
        each = np.ones(self.n_rows, dtype=np.int64)
        return [(job, status if isinstance(status, np.ndarray) else status * each) for job, status in self.rule.ended()]
