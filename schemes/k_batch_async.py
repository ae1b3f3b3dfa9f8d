"""K-batch-async: an update of any k results; a worker begins anew at once."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.scheme import Session
from schemes.base.updates import RenewedSession, UpdateScheme
from simulator.choices import Leftover
from simulator.parameters import PositiveCount


@dataclass(frozen=True)
class KBatchAsync(UpdateScheme):
    """An update is made of any ``k`` results, also several of one worker, which starts again when it has responded.

    A job is one update. Lists take the n chunks of a job's data in turn, over the whole run, so that successive
    results are of different rows. Each is computed at the parameters of the last update before it began.

    References
    ----------
    Dutta, Joshi, Ghosh, Dube and Nagpurkar, "Slow and Stale Gradients Can Win the Race", AISTATS 2018 (K-batch-async).
    By renewal theory an update takes k E[X] / n seconds in the long run.

    Examples
    --------
    >>> KBatchAsync(n_workers=10, k=25).load
    0.1
    """

    n_workers: PositiveCount
    k: PositiveCount
    """results that make an update"""

    @property
    def tolerates(self) -> str:
        return "any stragglers, as long as some workers go on, at the price of stale gradients"

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _KBatchAsyncSession(self, n_jobs, self.k)


class _KBatchAsyncSession(RenewedSession):
    def leftover(self) -> Leftover:
        return "finish"
