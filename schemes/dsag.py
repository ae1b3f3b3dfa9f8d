"""DSAG: stochastic average gradients from fresh and stale results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Codec, Precision, Result
from schemes.base.patterns import any_of
from schemes.base.scheme import Scheme, Session
from schemes.base.updates import ResultCodec, UpdateScheme, UpdateSession
from schemes.base.work import Closing, Outcome
from simulator.choices import Leftover
from simulator.parameters import FloatArray, PositiveCount


@dataclass(frozen=True)
class Dsag(UpdateScheme):
    """A round ends with ``w`` fresh results; the step uses the latest gradient of each chunk, fresh or stale.

    The master keeps the latest gradient of each worker's chunk. A stale result replaces an
    older one, and its worker starts again at once, at the parameters of the open round. The step uses the sum of the
    kept gradients, divided by the share of the chunks that have one.

    References
    ----------
    Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG: A Mixed Synchronous-Asynchronous Iterative Method for
    Straggler-Resilient Learning", 2021.

    Examples
    --------
    >>> Dsag(n_workers=10, w=4).load
    0.1
    """

    n_workers: PositiveCount
    w: PositiveCount
    """fresh results that end a round"""

    def __post_init__(self) -> None:
        if self.w > self.n_workers:
            raise ValueError(f"w must be between 1 and {self.n_workers}, got {self.w}")

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.n_workers - self.w, 'straggler')} in every round, at the price of stale gradients"

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _DsagCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _DsagSession(self, n_jobs, self.w)


class _DsagSession(UpdateSession):
    acts = True

    def __init__(self, scheme: Scheme, n_jobs: int, w: int) -> None:
        super().__init__(scheme, n_jobs)
        self._w = w
        self._came: list[Result] = []
        self._fresh: list[int] = []  # workers that wait for the next round
        self._kept: dict[int, int] = {}  # of each chunk: the job of its latest gradient

    def hear(self, result: Result) -> None:
        self._came.append(result)
        # what a worker begins while it waits for nothing is of the open round
        (self._fresh if result.job == self.job else self.idle).append(result.worker)

    def enough(self) -> bool:
        return len(self._fresh) >= self._w

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        self.used, self._came = self._came, []
        self.forget(self.used)
        self._kept |= {result.chunk: result.job for result in self.used}
        self.idle, self._fresh = [*self._fresh, *self.idle], []
        n_kept = len(self._kept)
        if not n_kept:
            return [Outcome.of(self.job, None)]
        is_exact = n_kept == self._n_workers and all(job == self.job for job in self._kept.values())
        error = self._n_workers * (self._n_workers - n_kept) / n_kept
        return [Outcome(self.job, "decoded" if is_exact else "approximate", float(error))]

    def leftover(self) -> Leftover:
        return "finish"


class _DsagCodec(ResultCodec):
    """The latest gradient of each chunk."""

    def __init__(self, scheme: Scheme, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._kept: dict[int, FloatArray] = {}
        self._sum: FloatArray | float = 0.0

    def weigh(self, used: Sequence[Result], gradients: FloatArray) -> FloatArray:
        for result, gradient in zip(used, gradients, strict=True):
            self._sum = self._sum + (gradient - self._kept.get(result.chunk, 0.0))
            self._kept[result.chunk] = gradient
        return np.asarray(self._sum * (len(self.chunk_loads) / len(self._kept)))
