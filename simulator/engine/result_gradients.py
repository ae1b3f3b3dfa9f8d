"""Gradients at the parameters with which each result was begun, which may be older than those of the update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from schemes.base.codec import Result
from simulator.errors import is_shipped
from simulator.parameters import FloatArray
from workloads import Rows, Workload


class Begun(NamedTuple):
    """What workers began a job with."""

    parameters: FloatArray
    rows: Sequence[Rows]  # of the job; and of further batches, if workers take several steps by themselves


class ResultGradients:
    """What workers send: jobs are kept for as long as results of theirs may be used.

    Parameters
    ----------
    workload
        What is trained.
    learning_rate
        Of the steps that workers take by themselves.
    cut
        Neighbouring rows for each chunk, from the chunks' loads and the number of rows.
    """

    def __init__(
        self, workload: Workload, learning_rate: float, cut: Callable[[FloatArray, int], Sequence[slice]]
    ) -> None:
        self._workload, self._learning_rate, self._cut = workload, learning_rate, cut
        self._begun: dict[int, Begun] = {}
        self._is_shipped = is_shipped(workload)  # and tested

    def begin(self, job: int, begun: Begun) -> None:
        """Keep what a job began with."""
        self._begun[job] = begun

    def forget(self, oldest: int) -> None:
        """Forget the jobs before the oldest of which results may still be used."""
        for older in [each for each in self._begun if each < oldest]:
            del self._begun[older]

    def computed(self, result: Result, chunk_loads: FloatArray) -> FloatArray:
        """What a worker sends: the gradient of its chunk, or what several steps of its own come to, in its units."""
        parameters, batches = self._begun[result.job]
        own = self._chunk(batches[0], chunk_loads, result.chunk)
        if result.steps == 1:
            return self.gradient(parameters, own)
        there = parameters
        for rows in batches[: result.steps]:
            chunk = self._chunk(rows, chunk_loads, result.chunk)
            gradient = self.gradient(there, chunk) / max(1, n_rows_of(chunk, self._workload))
            there = there - self._learning_rate * gradient
        return (parameters - there) / self._learning_rate * n_rows_of(own, self._workload)

    def gradient(self, parameters: FloatArray, rows: Rows) -> FloatArray:
        """The gradient at some parameters, summed over some rows."""
        given = parameters[np.newaxis].view()
        given.setflags(write=False)
        out = np.full((1, 1, len(parameters)), np.nan)
        self._workload.chunk_gradients(given, [rows], rows, out)
        if not self._is_shipped and not np.isfinite(out).all():
            raise ValueError(f"gradients of {type(self._workload).__name__} must be finite, got other values")
        return np.asarray(out[0, 0])

    def _chunk(self, rows: Rows, chunk_loads: FloatArray, chunk: int) -> Rows:
        held = self._cut(chunk_loads, n_rows_of(rows, self._workload))[chunk]
        return held if isinstance(rows, slice) else rows[held]


def n_rows_of(rows: Rows, workload: Workload) -> int:
    """Count some rows of a workload."""
    return len(range(*rows.indices(workload.n_rows))) if isinstance(rows, slice) else len(rows)
