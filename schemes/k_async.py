"""K-async: an update whenever k workers have responded, of gradients that may be stale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.patterns import any_of
from schemes.base.scheme import Session
from schemes.base.updates import CountedSession, UpdateScheme
from schemes.base.work import Closing, Outcome
from simulator.choices import Leftover
from simulator.parameters import PositiveCount


@dataclass(frozen=True)
class KAsync(UpdateScheme):
    """An update is made when ``k`` workers have responded since the last; these start again, the others go on.

    A job is one update. A worker that has responded waits for the update, then computes at the new parameters; the
    others go on at the old ones. ``k = 1`` is asynchronous SGD, and ``k = n_workers`` waits for all workers.

    References
    ----------
    Dutta, Joshi, Ghosh, Dube and Nagpurkar, "Slow and Stale Gradients Can Win the Race", AISTATS 2018 (K-async SGD).

    Examples
    --------
    >>> KAsync(n_workers=10, k=2).load
    0.1
    """

    n_workers: PositiveCount
    k: PositiveCount
    """workers whose responses make an update"""

    def __post_init__(self) -> None:
        if self.k > self.n_workers:
            raise ValueError(f"k must be between 1 and {self.n_workers}, got {self.k}")

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.n_workers - self.k, 'straggler')} in every update, at the price of stale gradients"

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _KAsyncSession(self, n_jobs, self.k)


class _KAsyncSession(CountedSession):
    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = super().close_round(closing)
        self.idle += [result.worker for result in self.used]
        return outcomes

    def leftover(self) -> Leftover:
        return "finish"
