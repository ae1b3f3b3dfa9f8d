"""Updates from results that may be stale: each job is one step of the parameters."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence

import numpy as np

from schemes.base.codec import Answer, Codec, Decoded, Ended, Precision, Result
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Outcome, Phase, Status, Task, Work
from simulator.parameters import FloatArray, PositiveCount


class UpdateScheme(Scheme):
    """Workers compute an n-th of a job's data each, and an update is made of some of their results.

    The gradient is estimated as n / k times the sum of the k results. Its squared error is told as if all had been
    computed at the parameters of the update: what staleness does is seen in training only.
    """

    n_workers: PositiveCount

    @property
    def load(self) -> float:
        return 1 / self.n_workers

    @property
    def late_ends_rounds(self) -> bool:
        return True

    @property
    def decides_leftover(self) -> bool:
        return True

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return ResultCodec(self, precision)


class UpdateSession(Session):
    """The master's memory of what each worker is at, and of what has come and is not used yet.

    A subclass says who begins anew, and what becomes of what has come. A worker has one list at a time, of one task.
    """

    def __init__(self, scheme: Scheme, n_jobs: int) -> None:
        self.n_rounds, self._n_workers, self._load = n_jobs, scheme.n_workers, scheme.load
        self._at: list[Result | None] = [None] * scheme.n_workers
        self._open: dict[int, int] = {}  # how many results of each job are still to come or to be used
        self._given: dict[int, list[Result]] = {}  # in the open round, by worker
        self.job = -1
        self.idle: list[int] = [*range(scheme.n_workers)]  # who begins anew at the next occasion
        self._away: set[int] = set()  # in whose place nobody is
        self._lost: set[int] = set()  # of these, who has lost its list
        self.used: Sequence[Result] = []  # for the job that has just ended

    def chunk_for(self, worker: int) -> int:
        """The chunk that a worker is given next: by default its own."""
        return worker

    def open_round(self, index: int) -> Work:
        self.job = index
        self._given = {}
        loads = np.full((self._n_workers, 1), np.nan)
        for worker in self._begin():
            loads[worker] = self._load
        return Work(loads)

    def _begin(self) -> list[int]:
        """Let those who are idle begin, at the parameters of the open round."""
        workers, self.idle = self.idle, []
        for worker in workers:
            result = Result(self.job, worker, self.chunk_for(worker))
            self._at[worker] = result
            self._given.setdefault(worker, []).append(result)
        if workers:
            self._open[self.job] = self._open.get(self.job, 0) + len(workers)
        return workers

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        """Give work to all who are idle, as long as there is not enough."""
        if not self.idle or self.enough():
            return None
        return Phase({worker: [self._load] for worker in self._begin()})

    def hear_absences(self, left: Collection[int], away: Collection[int], now_s: float) -> None:
        """Let those begin anew who have joined in the place of a worker that has left with a list."""
        back = {*left, *(self._away - {*away})}
        for worker in sorted(back):
            result, self._at[worker] = self._at[worker], None
            if result is not None:
                self._lost.add(worker)
                if result.job in self._open:
                    self.forget([result])
        self._away = {*away}
        self.idle += sorted(self._lost - self._away)
        self._lost &= self._away

    def receive(self, worker: int, report: int) -> None:
        result, self._at[worker] = self._at[worker], None
        assert result is not None, "a worker has one list at a time"
        self.hear(result)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        self.receive(worker, report)

    @abstractmethod
    def hear(self, result: Result) -> None:
        """Note a result; hot."""

    def forget(self, results: Sequence[Result]) -> None:
        """These are needed no more: what their jobs began with need not be kept for them."""
        for result in results:
            self._open[result.job] -= 1
            if not self._open[result.job]:
                del self._open[result.job]

    def used_workers(self) -> Collection[int]:
        return {result.worker for result in self.used}

    @property
    def oldest(self) -> int:
        """The earliest job of which a result may still be used."""
        return next(iter(self._open), self.job + 1)

    def tasks(self, worker: int) -> Sequence[Task]:
        return [Task(given.job, "plain", self._load, (given.chunk,)) for given in self._given.get(worker, [])]

    def estimate(self, counts: FloatArray) -> Outcome:
        """End the job with an estimate in which chunks have weights, shape ``(n_workers,)``; without any: failed."""
        if not counts.any():
            return Outcome.of(self.job, None)
        error = float(((counts - 1) ** 2).sum())
        is_stale = any(result.job != self.job for result in self.used)
        status: Status = "approximate" if error or is_stale else "decoded"
        return Outcome(self.job, status, error)


class CountedSession(UpdateSession):
    """An update of the first ``k`` results since the last one; what has come beyond them counts for the next."""

    def __init__(self, scheme: Scheme, n_jobs: int, k: int) -> None:
        super().__init__(scheme, n_jobs)
        self.k = k
        self.came: deque[Result] = deque()

    def hear(self, result: Result) -> None:
        self.came.append(result)

    def enough(self) -> bool:
        return len(self.came) >= self.k

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        self.used = [self.came.popleft() for _ in range(min(self.k, len(self.came)))]
        self.forget(self.used)
        counts = np.bincount([result.chunk for result in self.used], minlength=self._n_workers)
        return [self.estimate(np.asarray(counts * (self._n_workers / max(1, len(self.used)))))]


class RenewedSession(CountedSession):
    """A worker begins anew as soon as it has responded; lists are of the n chunks in turn."""

    acts = True
    n_lists = 0  # that were given out

    def chunk_for(self, worker: int) -> int:
        self.n_lists += 1
        return (self.n_lists - 1) % self._n_workers

    def hear(self, result: Result) -> None:
        self.came.append(result)
        self.idle.append(result.worker)


class ResultCodec(Codec):
    """Results with the parameters at which they were computed; the estimate is n / k times the sum of k of them."""

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, UpdateSession)
        self._session = session

    def end(self, outcome: Outcome) -> Ended:
        return self.of_results(outcome, self._session.used, self._session.oldest)

    def of_results(self, outcome: Outcome, used: Sequence[Result], oldest: int) -> Ended:
        """A job that has ended with some results; none of a job before the oldest is to come."""
        return Ended(outcome, self.chunk_loads, used, self._estimate, used, oldest)

    def _estimate(self, responses: Sequence[Sequence[Result]], gradients: FloatArray) -> Sequence[Decoded]:
        return [self._weighed(responses[0], self.sent(gradients[:, 0]))]

    def _weighed(self, used: Sequence[Result], messages: FloatArray) -> Decoded:
        began_s = time.perf_counter()
        gradient = self.weigh(used, messages)
        return Decoded(gradient, 1.0, time.perf_counter() - began_s)

    def answers(self, ended: Ended) -> Sequence[Answer]:
        return [Answer(result.job, (result.chunk,), result.worker) for result in ended.results or ()]

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        return self._weighed(ended.responses, messages)

    def weigh(self, used: Sequence[Result], gradients: FloatArray) -> FloatArray:
        """The estimate from the gradients of some results, shape ``(n_results, dimension)``."""
        return np.asarray(gradients.sum(axis=0) * (len(self.chunk_loads) / len(used)))
