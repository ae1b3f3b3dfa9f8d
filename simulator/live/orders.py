"""Orders: all that a worker needs to know to compute a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemes.base.codec import Answer
from schemes.base.scheme import Scheme
from schemes.base.work import Task
from simulator.live.values import LiveRecord
from simulator.live.wire import Array


class Orders:
    """Makes the orders of a run, and keeps what answers them."""

    def __init__(self, scheme: Scheme, record: LiveRecord) -> None:
        self._scheme, self._record = scheme, record
        self._precision = "<f8" if record.plan.messages == "float64" else "<f4"

    def made(self, worker: int, index: int, reports: Sequence[Sequence[Task]]) -> tuple[dict[str, Any], list[Array]]:
        """Header and arrays of an order for the tasks of some reports, given in round ``index``."""
        arrays: list[Array] = []
        of_job: dict[int, int] = {}  # place of a job's parameters
        said, place = [], 0
        for tasks in reports:
            steps = any(task.step for task in tasks)
            listed = []
            for task in tasks:
                begun = self._record.begun(task.job, max(each.step for each in tasks) + 1)
                if task.job not in of_job:
                    of_job[task.job] = len(arrays)
                    arrays.append(begun.parameters)
                rows = [self._record.rows_of(task.job, task.step, chunk) for chunk in task.chunks]
                one: dict[str, Any] = {
                    "parameters": of_job[task.job],
                    "step": task.step if steps else None,
                    "place": place,
                }
                one["rows"], more = _said(rows, len(arrays))
                arrays += more
                if steps:
                    one["n_rows"] = self._record.n_rows(rows[0])
                else:
                    one["coefficients"] = len(arrays)
                    arrays.append(np.asarray(self._scheme.coefficients(worker, task, index), dtype=np.float64))
                listed.append(one)
                place += len(task.chunks)
            said.append(listed)
        rate = self._record.plan.learning_rate
        return {"reports": said, "learning_rate": rate, "precision": self._precision}, arrays

    def keep(self, index: int, worker: int, tasks: Sequence[Task], messages: Sequence[Array]) -> None:
        """Keep what has come of a report, if its jobs are still open."""
        for task, message in zip(tasks, messages, strict=False):  # several steps of its own have one message
            if self._record.is_open(task.job):
                self._record.came.add(Answer(task.job, task.chunks, worker, index), message)


def _said(rows: Sequence[Any], first: int) -> tuple[list[Any], list[Array]]:
    """Rows as a header says them: bounds of a slice, or the place of an array that comes along."""
    said: list[Any] = []
    arrays: list[Array] = []
    for each in rows:
        if isinstance(each, slice):
            said.append([each.start, each.stop])
        else:
            said.append(first + len(arrays))
            arrays.append(np.asarray(each, dtype=np.int64))
    return said, arrays
