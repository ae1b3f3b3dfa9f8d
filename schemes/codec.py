"""The numbers behind a session: what answers carry, and the gradient that the master makes of them.

A session knows which answers have come; a codec follows it through the same run and knows what is in them. Chunk
gradients are computed once for each job, however many workers hold the chunk; a worker's message is encoded from them
when the master uses it, which changes no number: they are those at the parameters at which the job began.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from schemes.around import Around
from schemes.base import Closing, FloatArray, Heard, IntArray, Outcome, Scheme, Session, Task, Work

Answers = TypeVar("Answers")
Precision = Literal["float64", "float32"]
NEIGHBOURS = 8  # workers encoded at a time: their chunks overlap


class Decoded(NamedTuple):
    """The gradient that the master returns, and what it took."""

    gradient: FloatArray  # shape (dimension,)
    condition: float  # the worst condition number of a linear system that was solved for the weights; 1: none was
    decode_s: float  # seconds that the master took for the weights and for combining messages, as measured


Decode = Callable[[Sequence[Any], FloatArray], Sequence[Decoded]]
"""Encodes what has come for each of some jobs, and decodes their gradients.

Given the answers of each job, and the gradients of their chunks, shape ``(n_chunks, n_jobs, dimension)``.
"""


class Weights(NamedTuple):
    """How the master combines the answers of one code."""

    values: FloatArray  # shape (n_workers,); exactly 0 for everybody who has not answered
    condition: float = 1.0


class Codec(ABC):
    """The numbers of one run of a scheme.

    Parameters
    ----------
    scheme
        Whose run it is.
    precision
        In which workers send their messages. The master computes in float64.
    """

    def __init__(self, scheme: Scheme, precision: Precision = "float64") -> None:
        self.chunk_loads = scheme.chunk_loads()
        self.precision = precision

    def open_round(self, index: int, work: Work, session: Session) -> None:  # noqa: B027 - some need no note
        """Note who computes what in the round that the session has just opened."""

    def receive_late(self, index: int, worker: int, report: int) -> None:  # noqa: B027 - most have no use for it
        """Note that a report of round ``index`` has arrived in a later one."""

    @abstractmethod
    def close_round(self, heard: Heard, closing: Closing) -> None:
        """The master has ended the open round, after it has heard some reports."""

    @abstractmethod
    def end(self, outcome: Outcome) -> Ended:
        """A job has ended, perhaps failed, with the round that was closed last."""

    def sent(self, messages: FloatArray) -> FloatArray:
        """Messages as they arrive: rounded to the precision in which they are sent."""
        return messages if self.precision == "float64" else messages.astype(np.float32).astype(np.float64)


class Ended(NamedTuple):
    """A job that has ended, and all that it takes to decode its gradient at any time: what comes later is not in it."""

    outcome: Outcome
    chunk_loads: FloatArray  # size of each chunk of the job's data
    answers: Any  # that have come
    decode: Decode

    def decoded(self, gradients: FloatArray) -> Decoded:
        """Decode this job alone, from the gradients of its chunks, shape ``(n_chunks, dimension)``."""
        (decoded,) = self.decode([self.answers], gradients[:, np.newaxis])
        return decoded


class ValuePlane(Protocol):
    """Whoever computes gradients for a run and uses what is decoded."""

    def end(self, ended: Ended) -> None:
        """A job has ended, perhaps failed; its gradient can be decoded now or later."""


class ValuedSession(Session):
    """A session that keeps a codec informed: it plays the same run, and its answers carry numbers.

    Parameters
    ----------
    session
        The master's memory; its decisions stay as they are.
    codec
        Of the same scheme.
    plane
        Where the gradients come from, and go to.
    """

    def __init__(self, session: Session, codec: Codec, plane: ValuePlane) -> None:
        self.n_rounds = session.n_rounds
        self._session, self._codec, self._plane = session, codec, plane

    def open_round(self, index: int) -> Work:
        work = self._session.open_round(index)
        self.asks_for_uploads = self._session.asks_for_uploads
        self._codec.open_round(index, work, self._session)
        return work

    # these two are called at each arrival, and the codec hears of a round when it closes: no call in between
    @property
    def receive(self) -> Callable[[int, int], None]:
        return self._session.receive

    @property
    def enough(self) -> Callable[[], bool]:
        return self._session.enough

    def receive_late(self, index: int, worker: int, report: int) -> None:
        self._session.receive_late(index, worker, report)
        self._codec.receive_late(index, worker, report)

    def uploads(self, n_received: IntArray) -> FloatArray | None:
        return self._session.uploads(n_received)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = self._session.close_round(closing)
        assert closing.heard is not None, "a codec is told what has arrived"
        self._codec.close_round(closing.heard, closing)
        for outcome in outcomes:
            self._plane.end(self._codec.end(outcome))
        return outcomes

    def tasks(self, worker: int) -> Sequence[Task]:
        return self._session.tasks(worker)


@dataclasses.dataclass(frozen=True)
class Valued(Around):
    """A scheme whose runs carry numbers; all else is as without them.

    Parameters
    ----------
    n_workers
        As of the scheme.
    scheme
        What runs.
    precision
        In which workers send.
    plane
        Where the gradients come from, and go to: of one run.
    rng
        For what the code draws for each job.
    """

    precision: Precision
    plane: ValuePlane
    rng: np.random.Generator

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        codec = self.scheme.codec(self.precision, self.rng)
        return ValuedSession(self.scheme.start(n_jobs, rng), codec, self.plane)


class Encoder:
    """Messages that are linear combinations of chunk gradients, some neighbouring workers at a time.

    A product with the whole matrix would mostly multiply zeros: neighbours of a cyclic code share most of their chunks.

    Examples
    --------
    >>> Encoder(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])).messages(np.array([[[1.0]], [[10.0]], [[100.0]]]))
    array([[[ 11.]],
    <BLANKLINE>
           [[120.]]])
    """

    def __init__(self, matrix: FloatArray) -> None:
        self._n_workers, n_chunks = matrix.shape
        self._is_identity = self._n_workers == n_chunks and np.array_equal(matrix, np.eye(n_chunks))
        self._room: dict[int, FloatArray] = {}  # for messages of one length, also of the same with other coefficients
        self._blocks: list[tuple[slice, slice | IntArray, FloatArray]] = []
        for first in range(0, self._n_workers, NEIGHBOURS):
            rows = matrix[first : first + NEIGHBOURS]
            held = np.flatnonzero(rows.any(axis=0))
            is_run = len(held) and held[-1] - held[0] + 1 == len(held)
            chunks = slice(held[0], held[-1] + 1) if is_run else held  # a slice need not be copied
            self._blocks.append((slice(first, first + len(rows)), chunks, np.ascontiguousarray(rows[:, chunks])))

    def reweighted(self, matrix: FloatArray) -> Encoder:
        """The same with other coefficients, which are 0 where this one's are."""
        other = copy.copy(self)
        other._is_identity = False
        other._blocks = [(workers, chunks, matrix[workers, chunks]) for workers, chunks, _ in self._blocks]
        return other

    def messages(self, gradients: FloatArray) -> FloatArray:
        """Each worker's, shape ``(n_workers, n_jobs, dimension)``; of gradients ``(n_chunks, n_jobs, dimension)``.

        They are gone with the next call.
        """
        if self._is_identity:
            return gradients
        n_chunks, n_jobs, dimension = gradients.shape
        gradients = gradients.reshape(n_chunks, n_jobs * dimension)
        if n_jobs * dimension not in self._room:  # a new array of this size costs more than what is written into it
            self._room.clear()
            self._room[n_jobs * dimension] = np.empty((self._n_workers, n_jobs * dimension))
        messages = self._room[n_jobs * dimension]
        for workers, chunks, coefficients in self._blocks:
            np.matmul(coefficients, gradients[chunks], out=messages[workers])
        return messages.reshape(self._n_workers, n_jobs, dimension)


def combined(
    answers: Sequence[Answers], solve: Callable[[Answers], Weights], messages: FloatArray
) -> Sequence[Decoded]:
    """The gradients of some jobs.

    Parameters
    ----------
    answers
        What has come, for each job.
    solve
        Gives the weights for them.
    messages
        Of all workers, shape ``(n_workers, n_jobs, dimension)``.
    """
    decoded = []
    for job, answered in enumerate(answers):
        began_s = time.perf_counter()
        weights = solve(answered)
        if weights.values.shape != messages.shape[:1]:
            raise ValueError(
                f"weights must be one for each of {len(messages)} messages, 0 for those that have not come, "
                f"got shape {weights.values.shape}"
            )
        gradient = weights.values @ messages[:, job]
        decoded.append(Decoded(gradient, weights.condition, time.perf_counter() - began_s))
    return decoded


class Answer(NamedTuple):
    """A task that has been done by a worker."""

    worker: int
    task: Task


class TaskCodec(Codec):
    """For any scheme whose tasks are linear combinations of chunk gradients: says `Session.tasks`, and least squares.

    The general answer, and a slow one: the master solves one system over all messages and chunks of a job. The shipped
    schemes have codecs that know more; tests compare them with this one.

    Examples
    --------
    >>> from schemes import GradientCoding
    >>> code = GradientCoding(n_workers=3, s=1)
    >>> session, codec = code.start(1, np.random.default_rng(0)), TaskCodec(code)
    >>> codec.open_round(0, session.open_round(0), session)
    >>> codec.close_round(Heard.of([(2, 0), (0, 0)]), Closing(np.array([False, True, False]), forced=False))
    >>> codec.end(Outcome(0, "decoded")).decoded(np.array([[1.0], [10.0], [100.0]])).gradient.round(6)
    array([111.])
    """

    def __init__(self, scheme: Scheme, precision: Precision = "float64") -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._lists: dict[int, list[list[Sequence[Task]]]] = {}  # of a round: what each report of each worker is about
        self._heard: dict[int, list[Answer]] = defaultdict(list)

    def open_round(self, index: int, work: Work, session: Session) -> None:
        self._round = index
        self._lists[index] = [
            self._by_report(session.tasks(worker), int(last)) for worker, last in enumerate(work.last_report)
        ]
        # no older job is still open, nor one of an older list
        self._lists.pop(index - self._scheme.delay_rounds - 1, None)
        self._heard.pop(index - self._scheme.delay_rounds - 1, None)

    @staticmethod
    def _by_report(tasks: Sequence[Task], last_report: int) -> list[Sequence[Task]]:
        """A list is reported as a whole, or task by task."""
        return [tasks] if last_report <= 0 else [[task] for task in tasks]

    def receive_late(self, index: int, worker: int, report: int) -> None:
        if index in self._lists:
            for task in self._lists[index][worker][report]:
                if task.job >= self._round - self._scheme.delay_rounds:  # older ones have ended
                    self._heard[task.job].append(Answer(worker, task))

    def close_round(self, heard: Heard, closing: Closing) -> None:
        for worker, report in zip(heard.workers.tolist(), heard.reports.tolist(), strict=True):
            self.receive_late(self._round, worker, report)

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._heard.pop(outcome.job, []), self._decode)

    def _decode(self, answers: Sequence[Sequence[Answer]], gradients: FloatArray) -> Sequence[Decoded]:
        return [self._decode_job(heard, gradients[:, place]) for place, heard in enumerate(answers)]

    def _decode_job(self, heard: Sequence[Answer], gradients: FloatArray) -> Decoded:
        rows = np.zeros((len(heard), len(gradients)))
        for row, (worker, task) in zip(rows, heard, strict=True):
            row[list(task.chunks)] = self._scheme.coefficients(worker, task)
        messages = self.sent(rows @ gradients)
        began_s = time.perf_counter()
        weights, _, rank, singular = np.linalg.lstsq(rows.T, np.ones(len(gradients)), rcond=None)
        gradient = weights @ messages
        condition = float(singular[0] / singular[rank - 1]) if rank else 1.0
        return Decoded(gradient, condition, time.perf_counter() - began_s)
