"""Local SGD: workers take steps of their own before their models are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Codec, Ended, Precision, Result
from schemes.base.scheme import Session
from schemes.base.updates import ResultCodec
from schemes.base.work import Closing, Heard, Outcome, Task, Work
from schemes.fastest_k import FastestK
from simulator.parameters import FloatArray, PositiveCount


@dataclass(frozen=True)
class LocalSgd(FastestK):
    """Every worker takes ``steps`` steps on its own n-th of as many batches; the first ``k`` models are averaged.

    A job is one averaging. A list has the load of ``steps`` batches, which may be more than 1; the response is the sum
    of the steps. Workers use the learning rate of the scenario and plain steps. Times and errors are those of
    ``fastest_k`` with this load; the squared error is that of a single step.

    References
    ----------
    Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019; the first ``k``: as in k-sync SGD.

    Examples
    --------
    >>> LocalSgd(n_workers=10, k=8, steps=5).load
    0.5
    """

    n_workers: PositiveCount
    k: PositiveCount
    """models that the master averages"""
    steps: PositiveCount
    """steps that a worker takes before it responds"""

    def worker_loads(self) -> FloatArray:
        return np.full(self.n_workers, self.steps / self.n_workers)

    def tasks_of(self, worker: int, job: int) -> Sequence[Task]:
        return [Task(job, "plain", 1 / self.n_workers, self.data_of(worker, job), step) for step in range(self.steps)]

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _LocalCodec(self, precision)


class _LocalCodec(ResultCodec):
    def __init__(self, scheme: LocalSgd, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme, self._steps = scheme, scheme.steps

    def open_round(self, index: int, work: Work, session: Session) -> None:
        """Nothing of earlier rounds counts."""

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._answered = heard.workers[: self._scheme.k].tolist()

    def end(self, outcome: Outcome) -> Ended:
        scheme, job = self._scheme, outcome.job
        used = [Result(job, worker, scheme.data_of(worker, job)[0], self._steps) for worker in self._answered]
        return self.of_results(outcome, used, job + 1)
