"""The reference that no scheme with T = 0 can beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.batch import Batch, Closed, MemorylessBatch
from schemes.base.codec import Codec, Decoded, Ended, Precision
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Outcome, Task, Work
from simulator.parameters import FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class Ideal(Scheme):
    """A round ends when the work done by all workers together adds up to one job.

    The work is perfectly divisible, nothing is wasted or redundant, and fast workers do more: it ends at the t at
    which the sum over workers of max(0, t / slowdown - startup_s) / seconds_per_load is 1. No exact scheme with T = 0
    ends a round earlier; one with T > 0 may be faster on the whole, by doing work in faster rounds.

    Examples
    --------
    >>> Ideal(n_workers=4).load
    0.25
    """

    n_workers: PositiveCount

    @property
    def load(self) -> float:
        """The mean over workers; who does how much depends on the round."""
        return 1 / self.n_workers

    @property
    def tolerates(self) -> str:
        return "any stragglers, while somebody works"

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        return [_IdealBatch(self.n_workers, n_jobs)]

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _IdealCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _IdealSession(self, n_jobs)


class _IdealSession(Session):
    """The job is done at one instant, by all who have done any of it: the first response is enough."""

    def __init__(self, scheme: Ideal, n_jobs: int) -> None:
        self.n_rounds = n_jobs
        self._work = Work(np.full((scheme.n_workers, 1), scheme.load), is_divisible=True)

    def open_round(self, index: int) -> Work:
        self._job, self._has_come = index, False
        return self._work

    def receive(self, worker: int, report: int) -> None:
        self._has_come = True

    def enough(self) -> bool:
        return self._has_come

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        return [Outcome.of(self._job, None if closing.forced else 0.0)]

    def tasks(self, worker: int) -> Sequence[Task]:
        return [Task(self._job, "plain", 1 / len(self._work.loads), (worker,))]


class _IdealCodec(Codec):
    """Codec without error: whoever did how much, their shares add up to the gradient."""

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, None, self._decode)

    def _decode(self, responses: Sequence[None], gradients: FloatArray) -> Sequence[Decoded]:
        return [Decoded(gradient, 1.0, 0.0) for gradient in self.sent(gradients).sum(axis=0)]


class _IdealBatch(MemorylessBatch):
    is_divisible = True

    def __init__(self, n_workers: int, n_jobs: int) -> None:
        self.n_workers, self.n_rounds = n_workers, n_jobs
        self._loads = np.full((1, n_workers, 1), 1 / n_workers)

    def loads(self) -> FloatArray:
        return self._loads

    def gradients(self) -> FloatArray:
        return np.zeros_like(self._loads)

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        return np.asarray(due_s.max(axis=(1, 2)))  # all who work finish at once

    def squared_errors(self, closed: Closed) -> FloatArray:
        return np.where(closed.forced, np.nan, 0.0)
