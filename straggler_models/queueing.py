"""Workers that serve other jobs as well."""

from __future__ import annotations

import copy
import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Literal, Self

import numpy as np
from pydantic.dataclasses import dataclass

from simulator.parameters import FloatArray, NonNegative, Positive
from straggler_models.base import OtherWork, SharedModel

BLOCK_JOBS = 32
Discipline = Literal["fifo", "processor_sharing", "priority"]
Jobs = Iterator[tuple[float, float]]  # when each comes, and its service time


@dataclass(frozen=True)
class Queueing(SharedModel):
    """Each worker also serves other jobs, which come as a Poisson process and share it with the simulated work.

    ``fifo``: our list waits for all that is there when the worker takes it up, and is then served to its end.
    ``processor_sharing``: all that is there is served at equal shares of the worker's speed. ``priority``: other jobs
    go first and interrupt our list. At 0 s the other jobs are in their stationary distribution without us: a geometric
    number of them, each with an equilibrium residual service time (exact for any service times).

    With rho = rate * mean_s < 1, the mean wait of a first list in ``fifo`` is w = rho * mean_s * (1 + scv) / (2 (1 -
    rho)); with exponential times, w = rho / (mu - rate), where mu = 1 / mean_s. If it is x seconds of work, it takes
    x / (1 - rho) in ``processor_sharing`` and (w + x) / (1 - rho) under ``priority``, on average.

    References
    ----------
    Kleinrock, "Queueing Systems", volumes 1 and 2, 1975 and 1976 (M/G/1: Pollaczek and Khinchine; processor sharing).

    Examples
    --------
    >>> round(Queueing(rate=0.5, mean_s=1.0, discipline="fifo").wait_s, 6)
    1.0
    """

    rate: NonNegative
    """mean number of other jobs that come to each worker in a second"""
    mean_s: Positive
    """mean service time of other jobs, in seconds"""
    discipline: Discipline
    """whether the list waits for jobs that are there, shares the worker with them, or is interrupted by each new job"""
    scv: NonNegative = 1.0
    """squared coefficient of variation of service times, which are Gamma: 1 exponential, 0 all equal"""

    def __post_init__(self) -> None:
        if not self.rho < 1:
            raise ValueError(f"rate must be less than 1 / mean_s = {1 / self.mean_s:g}, got {self.rate:g}")

    @property
    def rho(self) -> float:
        """Share of a worker's time that other jobs take."""
        return self.rate * self.mean_s

    @property
    def wait_s(self) -> float:
        """Mean work of other jobs that is there, without a list of ours (Pollaczek and Khinchine)."""
        return self.rho * self.mean_s * (1 + self.scv) / (2 * (1 - self.rho))

    @property
    def changes_per_s(self) -> float:
        return 2 * self.rate

    def other_work(self, rng: np.random.Generator) -> OtherWork:
        here, jobs = rng.spawn(2)
        there = int(here.geometric(1 - self.rho)) - 1
        residual_s = here.random(there) * self._services(there, here, more=1)
        comes = itertools.tee(self._jobs(jobs), 1)[0]
        return DISCIPLINES[self.discipline](comes, residual_s.tolist())

    def _jobs(self, rng: np.random.Generator) -> Jobs:
        now_s = 0.0
        while self.rate:
            times_s = now_s + np.cumsum(rng.standard_exponential(BLOCK_JOBS) / self.rate)
            yield from zip(times_s.tolist(), self._services(BLOCK_JOBS, rng).tolist(), strict=True)
            now_s = float(times_s[-1])

    def _services(self, number: int, rng: np.random.Generator, more: int = 0) -> FloatArray:
        """Draw service times; with one more, as often as they are long: those that are met at some instant."""
        if not self.scv:
            return np.full(number, self.mean_s)
        return self.mean_s * self.scv * rng.standard_gamma(1 / self.scv + more, number)


class _Served(OtherWork):
    """Other jobs at one worker."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._next = next(jobs, (np.inf, 0.0))  # when the next one comes, and its service time
        self._has_ours = False

    def copy(self) -> Self:
        made = copy.copy(self)
        made._jobs = copy.copy(self._jobs)  # which come to both
        return made

    def _come(self) -> float:
        """Let the next job come; return its service time."""
        service_s = self._next[1]
        self._next = next(self._jobs, (np.inf, 0.0))
        return service_s

    def enter(self) -> None:
        self._has_ours = True

    def leave(self) -> None:
        self._has_ours = False


class _First(_Served):
    """Work of other jobs that goes before ours."""

    def __init__(self, jobs: Jobs, residual_s: list[float]) -> None:
        super().__init__(jobs)
        self._ahead_s = sum(residual_s)

    @abstractmethod
    def _queue(self, service_s: float) -> None:
        """Let a job come that takes so long."""

    def run(self, until_s: float) -> None:
        while self._next[0] <= until_s:
            self._serve(self._next[0])
            self._queue(self._come())
        self._serve(until_s)

    def _serve(self, until_s: float) -> None:
        if until_s >= self.now_s:
            # the end of the work as `outlook` says it, so that then nothing is left
            self._ahead_s = 0.0 if self.now_s + self._ahead_s <= until_s else self._ahead_s - (until_s - self.now_s)
            self.now_s = until_s


class _Priority(_First):
    """All other jobs go before ours, also those that come later."""

    def outlook(self) -> tuple[float, float]:
        return (self.now_s + self._ahead_s, np.inf) if self._ahead_s else (self._next[0], 1.0)

    def _queue(self, service_s: float) -> None:
        self._ahead_s += service_s


class _Fifo(_First):
    """What comes after our list is served after it."""

    _behind_s = 0.0

    def outlook(self) -> tuple[float, float]:
        return (self.now_s + self._ahead_s, np.inf) if self._ahead_s else (np.inf, 1.0)

    def _queue(self, service_s: float) -> None:
        if self._has_ours:
            self._behind_s += service_s
        else:
            self._ahead_s += service_s

    def leave(self) -> None:
        super().leave()
        self._ahead_s, self._behind_s = self._ahead_s + self._behind_s, 0.0


class _Sharing(_Served):
    """Everything is served at once, at equal shares.

    ``_each_s`` is the service that each would have got that had been there from the beginning; a job is done when it
    has grown by the job's service time.
    """

    def __init__(self, jobs: Jobs, residual_s: list[float]) -> None:
        super().__init__(jobs)
        self._each_s = 0.0
        self._done_at = residual_s
        heapify(self._done_at)

    def copy(self) -> Self:
        made = super().copy()
        made._done_at = self._done_at.copy()
        return made

    def _n_served(self) -> int:
        return len(self._done_at) + self._has_ours

    def _first_done_s(self) -> float:
        return self.now_s + (self._done_at[0] - self._each_s) * self._n_served() if self._done_at else np.inf

    def outlook(self) -> tuple[float, float]:
        return max(self.now_s, min(self._first_done_s(), self._next[0])), float(self._n_served())

    def run(self, until_s: float) -> None:
        while (next_s := min(done_s := self._first_done_s(), self._next[0])) <= until_s:
            if done_s <= next_s:
                self.now_s, self._each_s = max(self.now_s, done_s), heappop(self._done_at)
            else:
                self._serve(next_s)
                heappush(self._done_at, self._each_s + self._come())
        self._serve(until_s)

    def _serve(self, until_s: float) -> None:
        if until_s > self.now_s:
            if n_served := self._n_served():
                self._each_s += (until_s - self.now_s) / n_served
            self.now_s = until_s


DISCIPLINES: dict[Discipline, Callable[[Jobs, list[float]], OtherWork]] = {
    "fifo": _Fifo,
    "processor_sharing": _Sharing,
    "priority": _Priority,
}
