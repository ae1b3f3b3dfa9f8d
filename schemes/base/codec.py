"""Memoryless linear codes: a new one is a matrix and one line in the table."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Heard, Outcome, Phase, Work
from simulator.parameters import FloatArray, IntArray


def least_squares_weights(matrix: FloatArray, answered: IntArray) -> Weights:
    """Weights of smallest norm that bring a combination of some rows of a matrix nearest to all ones.

    The condition number is that of the rows, without what is 0 to rounding.

    Examples
    --------
    >>> matrix = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    >>> least_squares_weights(matrix, np.array([0, 2, 1])).values.round(6)
    array([0.5, 1. , 0.5])
    """
    values, condition = np.zeros(len(matrix)), 1.0
    if len(answered):
        rows = matrix[answered]
        found, _, rank, singular = np.linalg.lstsq(rows.T, np.ones(matrix.shape[1]), rcond=None)
        values[answered] = found
        condition = float(singular[0] / singular[rank - 1]) if rank else 1.0
    return Weights(values, condition)


Responses = TypeVar("Responses")
Precision = Literal["float64", "float32"]
NEIGHBOURS = 8  # workers encoded at a time: their chunks overlap


class Decoded(NamedTuple):
    """The gradient that the master returns, and what it took."""

    gradient: FloatArray  # shape (dimension,)
    condition: float  # the worst condition number of a linear system that was solved for the weights; 1: none was
    decode_s: float  # seconds that the master took for the weights and for combining messages, as measured


Decode = Callable[[Sequence[Any], FloatArray], Sequence[Decoded]]


"""Encodes what has come for each of some jobs, and decodes their gradients.

Given the responses of each job, and the gradients of their chunks, shape ``(n_chunks, n_jobs, dimension)``.
"""


class Weights(NamedTuple):
    """Weights with which the master combines the responses of one code."""

    values: FloatArray  # shape (n_workers,) or (n_workers, blocks); exactly 0 for everybody who has not answered
    condition: float = 1.0


class Result(NamedTuple):
    """The gradient of a chunk, at the parameters with which a worker began to compute it."""

    job: int  # whose rows and parameters it had: those with which the round of that number began
    worker: int
    chunk: int
    steps: int = 1  # more: so many steps of its own, each on a batch of its own; the gradient is what these add up to


class Answer(NamedTuple):
    """A message that the master has: what answers a worker's task, the combination of some chunks of a job."""

    job: int
    chunks: tuple[int, ...]
    worker: int | None = None  # None: whoever has sent it
    of_round: int | None = None  # in which the task was given; None: it would be the same in any


class Upload(NamedTuple):
    """What a worker is to send of the chunks that it has finished: a combination of the blocks of their gradients."""

    chunks: tuple[int, ...]
    coefficients: FloatArray  # shape (n_chunks, blocks); a gradient is cut into so many blocks, with zeros behind

    def of(self, gradients: FloatArray) -> FloatArray:
        """The upload, given the gradients of the chunks, shape ``(n_chunks, dimension)``."""
        parts = in_parts(gradients, self.coefficients.shape[1])
        return np.asarray(np.einsum("cb,cbd->d", self.coefficients, parts))


def in_parts(gradients: FloatArray, blocks: int) -> FloatArray:
    """Gradients, shape ``(..., dimension)``, cut into parts, ``(..., blocks, length)``, with zeros behind.

    Examples
    --------
    >>> in_parts(np.array([1.0, 2.0, 3.0]), 2).tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    *shape, dimension = gradients.shape
    if dimension % blocks:
        gradients = np.pad(gradients, [(0, 0)] * len(shape) + [(0, -dimension % blocks)])
    return gradients.reshape(*shape, blocks, -1)


def message(coefficients: FloatArray, gradients: FloatArray) -> FloatArray:
    """What answers a task, from the gradients of its chunks and :meth:`~schemes.base.scheme.Scheme.coefficients`."""
    if coefficients.ndim == 1:
        return np.asarray(coefficients @ gradients)
    return Upload((), coefficients).of(gradients)


class Messages:
    """Messages that have come, by what they answer."""

    def __init__(self) -> None:
        self._came: dict[int, dict[Answer, FloatArray]] = {}

    def add(self, answer: Answer, message: FloatArray) -> None:
        """Keep a message: the answer of a worker to a task that it was given in some round."""
        of_job = self._came.setdefault(answer.job, {})
        for known_as in (answer, answer._replace(of_round=None), answer._replace(of_round=None, worker=None)):
            of_job[known_as] = message

    def of(self, answers: Sequence[Answer], dimension: int) -> FloatArray:
        """Return some messages, shape ``(n, dimension)``, which must have come; or shorter ones, if they are parts."""
        messages = [self._came[answer.job][answer] for answer in answers]
        return np.array(messages) if messages else np.empty((0, dimension))

    def forget(self, job: int) -> None:
        """Forget the messages of a job."""
        self._came.pop(job, None)


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

    def act(self, phase: Phase, session: Session) -> None:  # noqa: B027 - most schemes do not act
        """Note who computes what of the work that the session has given out while the round goes on."""

    def receive_late(self, index: int, worker: int, report: int) -> None:  # noqa: B027 - most have no use for it
        """Note that a report of round ``index`` has arrived in a later one."""

    def close_round(self, heard: Heard, closing: Closing) -> None:  # noqa: B027 - some ask the session afterwards
        """Note that the master has ended the open round, after it has heard some reports."""

    @abstractmethod
    def end(self, outcome: Outcome) -> Ended:
        """Note that a job has ended, perhaps failed, with the round that was closed last."""

    def uploads(self, n_received: IntArray, takes_estimate: bool) -> Mapping[int, Upload]:
        """Say what real workers are to upload, now that the master has stopped the round; asked if the session asks.

        Parameters
        ----------
        n_received
            How many reports of each worker have arrived, shape ``(n_workers,)``.
        takes_estimate
            Whether the rule waits for nobody.
        """
        raise ValueError(f"{type(self).__name__} must define uploads to run on real workers")

    def answers(self, ended: Ended) -> Sequence[Answer]:
        """Name the messages that :meth:`combine` needs for a job that has ended, all of which have come.

        Raises
        ------
        ValueError
            If the scheme can't be run on real workers, or does not say.
        """
        raise ValueError(f"{type(self).__name__} must define answers and combine to run on real workers")

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        """Decode a job from what real workers have sent: the messages of :meth:`answers`, or all uploads.

        Parameters
        ----------
        messages
            Shape ``(n_answers, dimension)``; of uploads, by worker, ``(n_uploads, dimension / blocks)``, rounded up; so
            are messages that combine parts of gradients.
        """
        raise ValueError(f"{type(self).__name__} must define combine to run on real workers")

    def sent(self, messages: FloatArray) -> FloatArray:
        """Messages as they arrive: rounded to the precision in which they are sent."""
        return messages if self.precision == "float64" else messages.astype(np.float32).astype(np.float64)


class Ended(NamedTuple):
    """A job that has ended, and all that it takes to decode its gradient at any time: what comes later is not in it."""

    outcome: Outcome
    chunk_loads: FloatArray  # size of each chunk of the job's data
    responses: Any  # that have come
    decode: Decode
    results: Sequence[Result] | None = None
    """If not None: ``decode`` is given the gradients of these, shape ``(n_results, 1, dimension)``, not those of the
    chunks, for this job alone and before any later one: it may keep something for these."""
    oldest: int = 0  # no result of an earlier job is still to come

    def decoded(self, gradients: FloatArray) -> Decoded:
        """Decode this job alone, from the gradients of its chunks, shape ``(n_chunks, dimension)``."""
        (decoded,) = self.decode([self.responses], gradients[:, np.newaxis])
        return decoded


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


def placed(messages: FloatArray, places: Any, n_messages: int) -> FloatArray:
    """Some messages, shape ``(n, dimension)``, among those of one job: zeros for what has not come.

    Examples
    --------
    >>> placed(np.array([[5.0]]), [1], 3).tolist()
    [[[0.0]], [[5.0]], [[0.0]]]
    """
    all_messages = np.zeros((n_messages, 1, messages.shape[1]))
    all_messages[places, 0] = messages
    return all_messages


def combined(
    responses: Sequence[Responses], solve: Callable[[Responses], Weights], messages: FloatArray
) -> Sequence[Decoded]:
    """The gradients of some jobs.

    Parameters
    ----------
    responses
        What has come, for each job.
    solve
        Gives the weights for them.
    messages
        Of all workers, shape ``(n_workers, n_jobs, dimension)``; of parts, if there are weights for each part of a
        gradient.
    """
    decoded = []
    for job, answered in enumerate(responses):
        began_s = time.perf_counter()
        weights = solve(answered)
        if weights.values.shape[:1] != messages.shape[:1]:
            raise ValueError(
                f"weights must be one for each of {len(messages)} messages, 0 for those that have not come, "
                f"got shape {weights.values.shape}"
            )
        gradient = (weights.values.T @ messages[:, job]).ravel()
        decoded.append(Decoded(gradient, weights.condition, time.perf_counter() - began_s))
    return decoded
