"""Memoryless linear codes: a new one is a matrix and one line in the table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from schemes.base.batch import Batch, Closed, MemorylessBatch, permitted_s
from schemes.base.codec import Codec, Precision, Weights, least_squares_weights
from schemes.base.counting import Allowance, CountingSession, clauses_of
from schemes.base.least_squares import least_squares_errors
from schemes.base.linear_codec import LinearCodec
from schemes.base.rule import Clause, Rule, permits
from schemes.base.scheme import Scheme, Session
from schemes.base.sets import ManySets
from schemes.base.shuffling import shuffled
from schemes.base.work import Closing, Outcome, Task, Work
from simulator.parameters import BoolArray, FloatArray, IntArray

DECODED = 1e-6  # largest error in any chunk's coefficient of a gradient that counts as decoded


class LinearScheme(Scheme):
    """Every worker sends one linear combination of its chunks' gradients; each round is a job of its own.

    A subclass gives the matrix. It may also say in closed form who may be missing (:meth:`allowance`), which is
    faster than the general response from the rank of the matrix, and what an incomplete response is worth
    (:meth:`squared_errors`). Its parameters may be ``shuffle`` and ``seed``, if all chunks are of equal size.
    """

    shuffle: bool = False
    seed: int = 0

    @property
    def blocks(self) -> int:
        """Parts that each gradient is cut into; a response is a combination of parts. With more than one, a subclass
        says its :meth:`allowance` and its :meth:`weights`, shape ``(n_workers, blocks)``."""
        return 1

    @abstractmethod
    def encoding_matrix(self) -> FloatArray:
        """Coefficients of each worker's combination, shape ``(n_workers, n_chunks * blocks)``."""

    def allowance(self) -> Allowance | None:
        """Return who may be missing; None (default): whoever leaves the matrix decodable."""
        return None

    @property
    def decodes_more(self) -> bool:
        """True if the matrix may be decodable without workers of whom :meth:`allowance` says that they are needed."""
        return False

    def squared_errors(self, closed: Closed) -> FloatArray:
        """Squared errors of the gradients that the master returns, in units of one chunk's squared gradient norm.

        For orthogonal chunk gradients.

        Parameters
        ----------
        closed
            Some rounds: ``missing`` says who had not answered, ``forced`` where the responses were not enough, and
            ``due_s`` in which order they came.

        Returns
        -------
        errors
            Shape ``(n,)``; NaN where the master returns no gradient: a failure.
        """
        return np.where(closed.forced, np.nan, 0.0)

    def squared_error(self, missing: BoolArray, *, enough: bool) -> float | None:
        """The squared error of one round in which these, of shape ``(n_workers,)``, had not answered; None: failed."""
        error = float(self.squared_errors(Closed.alone(missing, not enough))[0])
        return None if np.isnan(error) else error

    def decode(self, finished: Sequence[int]) -> FloatArray | None:
        """Find weights that turn the finished workers' messages into the full gradient.

        Parameters
        ----------
        finished
            Indices of the workers whose messages have arrived, in any order.

        Returns
        -------
        weights : array, shape (len(finished),) or (len(finished), blocks), or None
            ``a`` with ``a @ encoding_matrix()[finished] == 1`` in every chunk; None while no such ``a`` exists. With
            parts of gradients, ``a.T`` times these rows is 1 for the same part of each chunk, and 0 for others.

        Examples
        --------
        >>> from schemes import FractionalRepetition
        >>> FractionalRepetition(n_workers=4, s=1).decode([2, 1]).round(6)
        array([1., 1.])
        """
        responses = self.encoding_matrix()[list(finished)]
        wanted = np.tile(np.eye(self.blocks), responses.shape[1] // self.blocks)  # (blocks, n_chunks * blocks)
        weights = np.linalg.lstsq(responses.T, wanted.T, rcond=None)[0].astype(np.float64)
        is_exact = np.abs(weights.T @ responses - wanted).max() <= DECODED
        return (weights if self.blocks > 1 else weights[:, 0]) if is_exact else None

    def weights(self, answered: IntArray) -> Weights:
        """The weights by which the master combines the responses that it has when a job ends.

        By default those of least squares and smallest norm: exact where the responses span the sum of all chunks.

        Parameters
        ----------
        answered
            Workers, shape ``(n,)``, in the order in which their responses came.

        Examples
        --------
        >>> from schemes import FastestK
        >>> FastestK(n_workers=4, k=2).weights(np.array([3, 0, 1])).values
        array([2., 0., 0., 2.])
        """
        return least_squares_weights(self.encoding_matrix(), answered)

    def coefficients(self, worker: int, task: Task, index: int) -> FloatArray:
        order = self.data_order(index)
        chunks = np.array(task.chunks) if order is None else np.argsort(order)[list(task.chunks)]
        coefficients: FloatArray = self._by_chunk()[worker, chunks]
        return coefficients if self.blocks > 1 else coefficients[:, 0]

    def _by_chunk(self) -> FloatArray:
        """The encoding matrix, shape ``(n_workers, n_chunks, blocks)``."""
        return self.encoding_matrix().reshape(self.n_workers, -1, self.blocks)

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return LinearCodec(self, precision)

    @property
    def is_memoryless(self) -> bool:
        return True

    @property
    def n_error_blocks(self) -> int:
        return int(self.encoding_matrix().shape[1])

    def chunk_loads(self) -> FloatArray:
        n_chunks = self.n_error_blocks // self.blocks
        return np.full(n_chunks, 1 / n_chunks)

    def worker_loads(self) -> FloatArray:
        """Load of each worker, shape ``(n_workers,)``: the share of the chunks in its combination."""
        holds = self._by_chunk().any(axis=2)
        return np.asarray(np.count_nonzero(holds, axis=1) / holds.shape[1])

    def chunks_of(self, worker: int) -> tuple[int, ...]:
        """The chunks in a worker's combination."""
        return tuple(np.flatnonzero(self._by_chunk()[worker].any(axis=1)).tolist())

    def data_order(self, job: int) -> IntArray | None:
        """Which of the data each chunk of the code is for a job, shape ``(n_chunks,)``; None: the one of its number."""
        return shuffled(self.seed, len(self.chunk_loads()), job) if self.shuffle else None

    def data_of(self, worker: int, job: int) -> tuple[int, ...]:
        """Which of the data a worker's combination for a job is of."""
        chunks, order = self.chunks_of(worker), self.data_order(job)
        return chunks if order is None else tuple(order[list(chunks)].tolist())

    def tasks_of(self, worker: int, job: int) -> Sequence[Task]:
        """Say what a worker's list for a job consists of."""
        chunks = self.data_of(worker, job)
        load = float(self.worker_loads()[worker])
        return [Task(job, "coded" if len(chunks) > 1 else "plain", load, chunks)] if chunks else []

    @property
    def load(self) -> float:
        return float(self.worker_loads().max())

    @property
    def mean_load(self) -> float:
        return float(self.worker_loads().mean())

    @property
    def tolerates(self) -> str:
        return "whatever stragglers leave the encoding matrix decodable, in every round"

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        return [_LinearBatch(rows, n_jobs)]

    def grid(self, n_jobs: int, values: IntArray) -> Rule | None:
        name = self.searched()
        settings = [self] * len(values) if name is None else [*self.with_each(name, values.tolist())]
        loads = np.array([scheme.worker_loads() for scheme in settings])
        allowances = [allowance for scheme in settings if (allowance := scheme.allowance()) is not None]
        if len(allowances) < len(settings) or (loads != loads[:, :1]).any():
            return None
        rule = Rule(ManySets(len(settings), self.n_workers), n_jobs)
        rule.top, rule.steady = loads[:, 0], [clauses_of(rule.sets, allowances)]
        return rule

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        allowance = self.allowance()
        if allowance is None:
            return _SpanSession(self, n_jobs)
        return MemorylessSession(self, n_jobs, allowance)


class PlainScheme(LinearScheme):
    """Every worker computes its own n-th of the data, uncoded."""

    def encoding_matrix(self) -> FloatArray:
        return np.eye(self.n_workers)

    def worker_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    @property
    def n_error_blocks(self) -> int:
        return self.n_workers

    def chunks_of(self, worker: int) -> tuple[int, ...]:
        return (worker,)


class ApproximateScheme(LinearScheme):
    """Every worker sends the plain sum of its chunks; whatever arrives, the master picks the best weights.

    The squared error is min over x of ||A_F x - 1||^2, F the workers that answered. A subclass gives the matrix, of
    zeros and ones.
    """

    def squared_errors(self, closed: Closed) -> FloatArray:
        return least_squares_errors(self.encoding_matrix(), closed.due_s[:, :, 0], closed.missing)

    @property
    def tolerates(self) -> str:
        return "any stragglers, at the price of an approximate gradient"


class MemorylessSession(CountingSession):
    """Job t is round t, and what is enough depends on who is missing."""

    def __init__(self, scheme: LinearScheme, n_jobs: int, allowance: Allowance | None) -> None:
        super().__init__(scheme.n_workers)
        self.n_rounds = n_jobs
        self._scheme = scheme
        self._alternatives = [] if allowance is None else [clauses_of(self.sets, [allowance])]
        loads = scheme.worker_loads()
        loads = np.where(loads > 0, loads, np.nan)[:, np.newaxis]
        self._work = Work(loads, gradients=np.full_like(loads, 1 / scheme.blocks) if scheme.blocks > 1 else None)
        self._busy = self.sets.of(self._work.busy)
        self._job = -1

    def open_round(self, index: int) -> Work:
        self._job = index
        self.expect(self._busy, self._alternatives)
        return self._work

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        answered = None if closing.heard is None else closing.heard.workers
        closed = Closed.alone(closing.missing, closing.forced, answered, takes_estimate=closing.takes_estimate)
        return [Outcome.of(self._job, float(self._scheme.squared_errors(closed)[0]))]

    def tasks(self, worker: int) -> Sequence[Task]:
        return self._scheme.tasks_of(worker, self._job)


class _SpanSession(MemorylessSession):
    """Decodable as soon as the all-ones vector lies in the span of the rows that arrived.

    An orthonormal basis of that span grows with each arrival (Gram-Schmidt, each vector orthogonalised twice),
    so that an arrival costs O(n_chunks x rank) and the question itself O(1).
    """

    def __init__(self, scheme: LinearScheme, n_jobs: int) -> None:
        super().__init__(scheme, n_jobs, None)
        self._matrix = scheme.encoding_matrix()
        if self._matrix.ndim != 2 or len(self._matrix) != scheme.n_workers or not np.isfinite(self._matrix).all():
            raise ValueError(
                f"encoding_matrix of {type(scheme).__name__} must be finite and have a row for each of "
                f"{scheme.n_workers} workers, got shape {self._matrix.shape}"
            )

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        n_workers, n_chunks = self._matrix.shape
        self._basis = np.empty((min(n_workers, n_chunks), n_chunks))
        self._rank = 0
        self._residual = np.ones(n_chunks)
        self._n_expected = work.n_busy
        self._is_enough = False
        return work

    def enough(self) -> bool:
        return self._is_enough

    def receive(self, worker: int, report: int) -> None:
        self._n_expected -= 1
        if not self._n_expected:  # there is nobody left to wait for
            self._is_enough = True
        if self._is_enough or self._rank == len(self._basis):
            return
        row = self._matrix[worker]
        new = row.copy()
        basis = self._basis[: self._rank]
        for _ in range(2):
            new -= (basis @ new) @ basis
        length = np.linalg.norm(new)
        if length > 1e-9 * np.linalg.norm(row):
            new /= length
            self._basis[self._rank] = new
            self._rank += 1
            self._residual -= (new @ self._residual) * new
            self._is_enough = bool(np.abs(self._residual).max() <= DECODED)


class _LinearBatch(MemorylessBatch):
    """Rounds without memory, of settings that may differ by row."""

    def __init__(self, rows: Sequence[LinearScheme], n_jobs: int) -> None:
        self.n_workers, self.n_rounds = rows[0].n_workers, n_jobs
        distinct = {id(row): row for row in rows}
        places = {of: place for place, of in enumerate(distinct)}
        self._settings, self._which = list(distinct.values()), np.array([places[id(row)] for row in rows])
        loads = np.array([setting.worker_loads() for setting in self._settings])
        loads = np.where(loads > 0, loads, np.nan)[:, :, np.newaxis]
        self._loads = loads if len(loads) == 1 else loads[self._which]
        allowances = [allowance for setting in self._settings if (allowance := setting.allowance()) is not None]
        blocks = np.array([setting.blocks for setting in self._settings])[:, np.newaxis, np.newaxis]
        gradients = np.full_like(loads, 1.0) / blocks
        self._gradients = None if (blocks == 1).all() else gradients if len(loads) == 1 else gradients[self._which]
        self._sets = ManySets(len(loads), self.n_workers)
        self._clauses = clauses_of(self._sets, allowances) if len(allowances) == len(loads) else None

    def loads(self) -> FloatArray:
        return self._loads

    def gradients(self) -> FloatArray | None:
        return self._gradients

    def _of_rows(self, rows: IntArray) -> list[Clause]:
        if self._clauses is None or len(self._settings) == 1:
            return self._clauses or []
        return [clause.of_rows(self._sets, self._which[rows]) for clause in self._clauses]

    def enough(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        missing = due_s[:, :, 0] > by_s[:, np.newaxis]
        if self._clauses is not None:
            return np.broadcast_to(permits(self._sets, [self._of_rows(rows)], self._sets.of(missing)), len(due_s))
        if not all(isinstance(setting, ApproximateScheme) for setting in self._settings):
            return super().enough(due_s, by_s, rows)
        forced = np.asarray(missing.any(axis=1))
        closed = Closed(rows, due_s, by_s, missing, forced, takes_estimate=True)
        errors = self._errors(closed, ApproximateScheme.squared_errors)  # of the best weights, whatever a subclass uses
        return np.asarray((errors == 0) | ~forced)

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        last_s = due_s[:, :, 0]
        if self._clauses is None:
            which = self._which[rows].tolist()
            return np.array([_spanned_s(self._settings[at], row) for at, row in zip(which, last_s, strict=True)])
        instants = [permitted_s(self._sets, clause, last_s) for clause in self._of_rows(rows)]
        return np.asarray(np.max(instants, axis=0))

    def squared_errors(self, closed: Closed) -> FloatArray:
        return self._errors(closed, lambda setting, part: setting.squared_errors(part))

    def _errors(self, closed: Closed, errors_of: Callable[[Any, Closed], FloatArray]) -> FloatArray:
        errors, which = np.empty(len(closed.rows)), self._which[closed.rows]
        for at in np.unique(which).tolist():
            mine = which == at
            errors[mine] = errors_of(self._settings[at], closed.of(mine))
        return errors


def _spanned_s(scheme: LinearScheme, due_s: FloatArray) -> float:
    """Return when an arrival makes the rows span the sum of all chunks; shape of ``due_s``: ``(n_workers,)``."""
    session = _SpanSession(scheme, 1)
    session.open_round(0)
    for worker in np.argsort(due_s, kind="stable").tolist():
        if -np.inf < due_s[worker] < np.inf:
            session.receive(worker, 0)
            if session.enough():
                return float(due_s[worker])
    return np.inf
