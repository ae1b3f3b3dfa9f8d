"""Bounded staleness: asynchronous updates, no worker too far ahead of the slowest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.scheme import Scheme, Session
from schemes.base.updates import CountedSession, UpdateScheme
from schemes.base.work import Closing, Outcome
from simulator.choices import Leftover
from simulator.parameters import Count, PositiveCount


@dataclass(frozen=True)
class BoundedStaleness(UpdateScheme):
    """Each response is an update; a worker waits if it has made over ``staleness`` updates more than the slowest one.

    A job is one response, so ``n_workers`` of them make one pass over a job's data. A worker starts again at the
    parameters of its own update, as long as it is at most ``staleness`` updates ahead. ``staleness: 0`` keeps all in
    step; a large value is asynchronous SGD.

    References
    ----------
    Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server", NeurIPS 2013.

    Examples
    --------
    >>> BoundedStaleness(n_workers=10, staleness=3).load
    0.1
    """

    n_workers: PositiveCount
    staleness: Count
    """updates that a worker may be ahead of the slowest one when it begins the next"""

    @property
    def tolerates(self) -> str:
        return f"stragglers that are at most {self.staleness} updates behind, at the price of stale gradients"

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _BoundedSession(self, n_jobs, self.staleness)


class _BoundedSession(CountedSession):
    def __init__(self, scheme: Scheme, n_jobs: int, staleness: int) -> None:
        super().__init__(scheme, n_jobs, k=1)
        self._ahead = staleness
        self._updates = [0] * scheme.n_workers
        self._workers_at = Counter({0: scheme.n_workers})  # that have made so many updates
        self._slowest = 0
        self._waiting: list[int] = []

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = super().close_round(closing)
        before = self._slowest
        for result in self.used:
            made = self._updates[result.worker] = self._updates[result.worker] + 1
            self._workers_at[made] += 1
            self._workers_at[made - 1] -= 1
            while not self._workers_at[self._slowest]:
                del self._workers_at[self._slowest]
                self._slowest += 1
            may_begin = made <= self._slowest + self._ahead
            (self.idle if may_begin else self._waiting).append(result.worker)
        if self._slowest > before:
            most = self._slowest + self._ahead
            self.idle += [worker for worker in self._waiting if self._updates[worker] <= most]
            self._waiting = [worker for worker in self._waiting if self._updates[worker] > most]
        return outcomes

    def leftover(self) -> Leftover:
        return "finish"
