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
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from schemes.around import Around
from schemes.base import Closing, FloatArray, IntArray, Outcome, Scheme, Session, Task, Work

Precision = Literal["float64", "float32"]
Report = tuple[int, int]
"""A worker, and which of its reports in that round: 0, 1, ..."""
NEIGHBOURS = 8  # workers encoded at a time: their chunks overlap


class Decoded(NamedTuple):
    """The gradient that the master returns, and what it took."""

    gradient: FloatArray  # shape (dimension,)
    condition: float  # the worst condition number of a linear system that was solved for the weights; 1: none was
    decode_s: float  # seconds that the master took for the weights and for combining messages, as measured


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
        self._sizes = scheme.chunk_loads()
        self.precision = precision

    def chunk_loads(self, job: int) -> FloatArray:
        """Size of each chunk of a job's data."""
        return self._sizes

    def open_round(self, index: int, work: Work, session: Session) -> None:  # noqa: B027 - some need no note
        """Note who computes what in the round that the session has just opened."""

    def receive_late(self, index: int, worker: int, report: int) -> None:  # noqa: B027 - most have no use for it
        """Note that a report of round ``index`` has arrived in a later one."""

    @abstractmethod
    def close_round(self, heard: Sequence[Report], closing: Closing) -> None:
        """The master has ended the open round.

        Parameters
        ----------
        heard
            What has arrived of this round, in that order.
        closing
            How it ended.
        """

    @abstractmethod
    def decode(self, job: int, gradients: FloatArray) -> Decoded:
        """Encode what has been received for a job, and decode the gradient.

        Called after a round with which the job has ended, unless it failed.

        Parameters
        ----------
        job
            Which one.
        gradients
            Gradient of each of its chunks, shape ``(n_chunks, dimension)``.
        """

    def forget(self, job: int) -> None:  # noqa: B027 - not all remember anything
        """The job has ended."""

    def sent(self, messages: FloatArray) -> FloatArray:
        """Messages as they arrive: rounded to the precision in which they are sent."""
        return messages if self.precision == "float64" else messages.astype(np.float32).astype(np.float64)


class ValuePlane(Protocol):
    """Whoever computes gradients for a run and uses what is decoded."""

    def begin(self, job: int, chunk_loads: FloatArray) -> FloatArray:
        """A job begins: the gradient of each of its chunks, shape ``(n_chunks, dimension)``."""

    def end(self, outcome: Outcome, decoded: Decoded | None, gradients: FloatArray) -> None:
        """A job has ended; ``decoded`` is None if it failed."""


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
    n_jobs
        Jobs of the run; job t begins in round t.
    """

    def __init__(self, session: Session, codec: Codec, plane: ValuePlane, n_jobs: int) -> None:
        self.n_rounds = session.n_rounds
        self._session, self._codec, self._plane, self._n_jobs = session, codec, plane, n_jobs
        self._gradients: dict[int, FloatArray] = {}  # of the jobs in flight
        self._heard: list[Report] = []  # in the open round

    def open_round(self, index: int) -> Work:
        work = self._session.open_round(index)
        self.asks_for_uploads = self._session.asks_for_uploads
        if index < self._n_jobs:
            self._gradients[index] = self._plane.begin(index, self._codec.chunk_loads(index))
        self._codec.open_round(index, work, self._session)
        return work

    def receive(self, worker: int, report: int) -> None:
        self._session.receive(worker, report)
        self._heard.append((worker, report))

    def receive_late(self, index: int, worker: int, report: int) -> None:
        self._session.receive_late(index, worker, report)
        self._codec.receive_late(index, worker, report)

    def enough(self) -> bool:
        return self._session.enough()

    def uploads(self, n_received: IntArray) -> FloatArray | None:
        return self._session.uploads(n_received)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = self._session.close_round(closing)
        heard, self._heard = self._heard, []
        self._codec.close_round(heard, closing)
        for outcome in outcomes:
            gradients = self._gradients.pop(outcome.job)
            decoded = None if outcome.status == "failed" else self._codec.decode(outcome.job, gradients)
            self._codec.forget(outcome.job)
            self._plane.end(outcome, decoded, gradients)
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
        return ValuedSession(self.scheme.start(n_jobs, rng), codec, self.plane, n_jobs)


class Encoder:
    """Messages that are linear combinations of chunk gradients, some neighbouring workers at a time.

    A product with the whole matrix would mostly multiply zeros: neighbours of a cyclic code share most of their chunks.

    Examples
    --------
    >>> Encoder(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])).messages(np.array([[1.0], [10.0], [100.0]]))
    array([[ 11.],
           [120.]])
    """

    def __init__(self, matrix: FloatArray) -> None:
        self._n_workers, n_chunks = matrix.shape
        self._is_identity = self._n_workers == n_chunks and np.array_equal(matrix, np.eye(n_chunks))
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
        other._blocks = [
            (workers, chunks, np.ascontiguousarray(matrix[workers, chunks])) for workers, chunks, _ in self._blocks
        ]
        return other

    def messages(self, gradients: FloatArray) -> FloatArray:
        """Each worker's, shape ``(n_workers, dimension)``; of gradients of shape ``(n_chunks, dimension)``."""
        if self._is_identity:
            return gradients
        messages = np.empty((self._n_workers, gradients.shape[1]))
        for workers, chunks, coefficients in self._blocks:
            np.matmul(coefficients, gradients[chunks], out=messages[workers])
        return messages


class Heard(NamedTuple):
    """An answer, as a task that has been done by a worker."""

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
    >>> codec.close_round([(2, 0), (0, 0)], Closing(np.array([False, True, False]), forced=False))
    >>> codec.decode(0, np.array([[1.0], [10.0], [100.0]])).gradient.round(6)
    array([111.])
    """

    def __init__(self, scheme: Scheme, precision: Precision = "float64") -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._lists: dict[int, list[list[Sequence[Task]]]] = {}  # of a round: what each report of each worker is about
        self._heard: dict[int, list[Heard]] = defaultdict(list)

    def open_round(self, index: int, work: Work, session: Session) -> None:
        self._round = index
        self._lists[index] = [
            self._by_report(session.tasks(worker), int(last)) for worker, last in enumerate(work.last_report)
        ]
        # no job of an older list is still open
        self._lists.pop(index - self._scheme.delay_rounds - 1, None)

    @staticmethod
    def _by_report(tasks: Sequence[Task], last_report: int) -> list[Sequence[Task]]:
        """A list is reported as a whole, or task by task."""
        return [tasks] if last_report <= 0 else [[task] for task in tasks]

    def receive_late(self, index: int, worker: int, report: int) -> None:
        if index in self._lists:
            for task in self._lists[index][worker][report]:
                self._heard[task.job].append(Heard(worker, task))

    def close_round(self, heard: Sequence[Report], closing: Closing) -> None:
        for worker, report in heard:
            self.receive_late(self._round, worker, report)

    def decode(self, job: int, gradients: FloatArray) -> Decoded:
        heard = self._heard[job]
        rows = np.zeros((len(heard), len(gradients)))
        for row, (worker, task) in zip(rows, heard, strict=True):
            row[list(task.chunks)] = self._scheme.coefficients(worker, task)
        messages = self.sent(rows @ gradients)
        began_s = time.perf_counter()
        weights, _, rank, singular = np.linalg.lstsq(rows.T, np.ones(len(gradients)), rcond=None)
        gradient = weights @ messages
        condition = float(singular[0] / singular[rank - 1]) if rank else 1.0
        return Decoded(gradient, condition, time.perf_counter() - began_s)

    def forget(self, job: int) -> None:
        self._heard.pop(job, None)
