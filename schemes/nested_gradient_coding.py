"""Nested codes: gradient coding whose number of tolerated stragglers is found out in each round."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.batch import Batch, Closed, MemorylessBatch, at_most_missing_s
from schemes.base.codec import Codec, Decoded, Encoder, Ended, Precision, Upload, combined, placed
from schemes.base.patterns import any_of
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Heard, Outcome, Task, Work
from schemes.codes import cyclic_repetition, cyclic_weights
from simulator.parameters import BoolArray, Count, FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class NestedGradientCoding(Scheme):
    """Worker i computes chunks i, i + 1, ..., i + s_max (mod n) one after another and tells the master of each.

    It is enough when for some s of at most ``s_max``, n - s workers have finished their first s + 1 chunks: these, for
    the smallest such s, then upload their combination of (n, s) gradient coding, at the master's word.

    References
    ----------
    Massny, Hofmeister, Egger and Wachter-Zeh, "Nested Gradient Codes for Straggler Mitigation in Distributed Machine
    Learning", 2022.

    Examples
    --------
    >>> code = NestedGradientCoding(n_workers=3, s_max=1)
    >>> code.level(np.array([1, 1, 1])), code.level(np.array([2, 0, 2])), code.level(np.array([2, 0, 1]))
    (0, 1, None)
    """

    n_workers: PositiveCount
    s_max: Count
    """stragglers tolerated per round, whichever they are; fewer stragglers make the round shorter"""

    def __post_init__(self) -> None:
        if self.s_max >= self.n_workers:
            raise ValueError(f"s_max must be between 0 and {self.n_workers - 1}, got {self.s_max}")

    def level(self, n_done: IntArray) -> int | None:
        """The smallest s for which enough is done, from the chunks that each worker has told of; None: there is none.

        Shape of ``n_done``: ``(n_workers,)``.
        """
        s = np.arange(self.s_max + 1)
        is_enough = np.count_nonzero(n_done > s[:, np.newaxis], axis=1) >= self.n_workers - s
        return int(np.argmax(is_enough)) if is_enough.any() else None

    def chunks_of(self, worker: int) -> list[int]:
        """Its chunks, in order."""
        return [(worker + offset) % self.n_workers for offset in range(self.s_max + 1)]

    @property
    def load(self) -> float:
        return (self.s_max + 1) / self.n_workers

    @property
    def is_memoryless(self) -> bool:
        return True

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.s_max, 'straggler')} in every round; the fewer there are, the fewer chunks are needed"

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        return [_NestedBatch(self.n_workers, np.array([row.s_max for row in rows]), n_jobs)]

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _NestedCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _NestedSession(self, n_jobs)


class _NestedSession(Session):
    asks_for_uploads = True

    def __init__(self, scheme: NestedGradientCoding, n_jobs: int) -> None:
        self.n_rounds, self._scheme = n_jobs, scheme
        loads = np.tile(np.arange(1, scheme.s_max + 2) / scheme.n_workers, (scheme.n_workers, 1))
        self._work = Work(loads, gradients=np.zeros_like(loads))

    def open_round(self, index: int) -> Work:
        self._job = index
        self._n_short = [self._scheme.n_workers - s for s in range(self._scheme.s_max + 1)]  # workers, for each s
        self._is_enough = False
        return self._work

    def receive(self, worker: int, report: int) -> None:
        self._n_short[report] -= 1
        self._is_enough = self._is_enough or not self._n_short[report]

    def enough(self) -> bool:
        return self._is_enough

    def uploads(self, n_received: IntArray) -> FloatArray:
        s = self._scheme.level(n_received)
        return np.zeros(len(n_received)) if s is None else (n_received > s).astype(np.float64)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        return [Outcome.of(self._job, None if closing.forced else 0.0)]

    def tasks(self, worker: int) -> Sequence[Task]:
        load = 1 / self._scheme.n_workers
        return [Task(self._job, "plain", load, (chunk,)) for chunk in self._scheme.chunks_of(worker)]


class _NestedBatch(MemorylessBatch):
    """For each s an order statistic of the times of the chunk s + 1; the first of them counts."""

    asks_for_uploads = True

    def __init__(self, n_workers: int, s_max: IntArray, n_jobs: int) -> None:
        self.n_workers, self.n_rounds, self._s_max = n_workers, n_jobs, s_max
        n_done = np.arange(1, s_max.max() + 2)
        loads = np.where(n_done <= s_max[:, np.newaxis] + 1, n_done / n_workers, np.nan)
        self._loads = np.broadcast_to(loads[:, np.newaxis], (len(s_max), n_workers, len(n_done)))

    def loads(self) -> FloatArray:
        return self._loads

    def gradients(self) -> FloatArray:
        return np.zeros_like(self._loads)

    def _each_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        """From which instant on it is enough for each s, shape ``(n, n_reports)``."""
        instants = [at_most_missing_s(due_s[:, :, s], s) for s in range(due_s.shape[2])]
        beyond = np.arange(due_s.shape[2]) > self._s_max[rows, np.newaxis]
        return np.where(beyond, np.inf, np.stack(instants, axis=1))

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        return np.asarray(self._each_s(due_s, rows).min(axis=1))

    def uploaders(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        holds: BoolArray = self._each_s(due_s, rows) <= by_s[:, np.newaxis]
        finished_s = due_s[np.arange(len(due_s)), :, np.argmax(holds, axis=1)]
        in_time: BoolArray = finished_s <= by_s[:, np.newaxis]
        return in_time & holds.any(axis=1, keepdims=True)

    def squared_errors(self, closed: Closed) -> FloatArray:
        return np.where(closed.forced, np.nan, 0.0)


class _Answered(NamedTuple):
    s: int
    workers: IntArray


class _NestedCodec(Codec):
    """The code of (n, s) gradient coding, for the s of each round."""

    def __init__(self, scheme: NestedGradientCoding, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._answered = self._asked(np.bincount(heard.workers, minlength=self._scheme.n_workers))

    def _asked(self, n_done: IntArray) -> _Answered | None:
        s = self._scheme.level(n_done)
        return None if s is None else _Answered(s, np.flatnonzero(n_done > s))

    def uploads(self, n_received: IntArray, takes_estimate: bool) -> Mapping[int, Upload]:
        asked = self._asked(n_received)
        if asked is None:
            return {}
        chunks = {worker: self._scheme.chunks_of(worker)[: asked.s + 1] for worker in asked.workers.tolist()}
        matrix = cyclic_repetition(self._scheme.n_workers, asked.s)
        return {worker: Upload(tuple(own), matrix[worker, own, np.newaxis]) for worker, own in chunks.items()}

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._answered, self._decode)

    def _decode(self, responses: Sequence[_Answered], gradients: FloatArray) -> Sequence[Decoded]:
        decoded: list[Decoded] = []
        for job, answered in enumerate(responses):
            encoder = Encoder(cyclic_repetition(self._scheme.n_workers, answered.s))
            decoded += self._combined(answered, self.sent(encoder.messages(gradients[:, [job]])))
        return decoded

    def _combined(self, answered: _Answered, messages: FloatArray) -> Sequence[Decoded]:
        solve = functools.partial(cyclic_weights, self._scheme.n_workers, answered.s)
        return combined([answered.workers], solve, messages)

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        answered: _Answered = ended.responses
        return self._combined(answered, placed(messages, answered.workers, self._scheme.n_workers))[0]
