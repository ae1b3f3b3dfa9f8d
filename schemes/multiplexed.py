"""M-SGC: most of the data once and again only where it went missing, the rest coded."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base import (
    Count,
    FloatArray,
    IntArray,
    PositiveCount,
    Scheme,
    Session,
    Task,
)
from schemes.batch import Batch
from schemes.codec import Codec, Precision
from schemes.multiplexed_codec import MultiplexedCodec
from schemes.multiplexed_session import MultiplexedSession, TaskwiseSession
from schemes.patterns import load_bound
from schemes.sequential import Accepts, Code, LateAnswers, check_published, check_replicas, code_matrix
from schemes.sequential_batch import MultiplexedBatch


@dataclass(frozen=True)
class Multiplexed(Scheme):
    """Every round, a worker serves W - 1 + B jobs: one mini-task for each of them, in slots 0..W-2+B.

    Slot k of round t serves job t - k. The first W - 1 slots compute the worker's own chunks of the job (D1), one
    group of chunks each, uncoded. The last B slots repeat one of these where an answer went missing, and
    otherwise compute one of B results coded over chunks (D2) that lam + 1 workers share.
    T = W - 2 + B; with X = B + (W - 1)(lam + 1), each mini-task has load (lam + 1)/(nX), and 1/(n(W - 1)) for
    lam = n, where nothing is coded.

    References
    ----------
    Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding For Straggler Mitigation", ICLR 2023, section 3.3
    (M-SGC) and its appendix (M-SGC-Rep).

    Examples
    --------
    >>> scheme = Multiplexed(n_workers=4, B=2, W=3, lam=2)
    >>> scheme.delay_rounds, scheme.load
    (3, 0.375)
    """

    n_workers: PositiveCount
    B: PositiveCount
    """longest burst tolerated, in rounds"""
    W: PositiveCount
    """window of the tolerated pattern, in rounds; more than B"""
    lam: Count
    """distinct stragglers tolerated in any W rounds"""
    code: Code = "gradient_coding"
    """code of the D2 chunks: any n - lam answers, or one of each group of lam + 1 replicas"""
    accepts: Accepts = "pattern"
    """stragglers that the master puts up with: the tolerated patterns, or whatever can still be decoded"""
    credit: Literal["prefix", "whole_list"] = "whole_list"
    """what counts: each mini-task that was reported before the round closed, or only whole lists (as published)"""
    late_answers: LateAnswers = "drop"
    """whether answers that arrive in a later round (leftover: finish) still count while their job is open"""
    as_published: bool = False
    """accept bursty patterns only, and give full work in every round, as the paper's simulator does"""

    def __post_init__(self) -> None:
        if self.B >= self.W:
            raise ValueError(f"B must be between 1 and W - 1 = {self.W - 1}, got {self.B}")
        if self.lam > self.n_workers:
            raise ValueError(f"lam must be between 0 and {self.n_workers}, got {self.lam}")
        if self.is_coded:
            check_replicas(self.code, self.n_workers, self.lam + 1, "lam + 1")
        check_published(self.accepts, self.late_answers, as_published=self.as_published)
        if self.as_published and self.credit != "whole_list":
            raise ValueError(f"credit must be whole_list with as_published, got {self.credit}")

    @property
    def is_coded(self) -> bool:
        """Whether there are D2 chunks at all."""
        return self.lam < self.n_workers

    @property
    def n_slots(self) -> int:
        """Mini-tasks of a worker in a round."""
        return self.W - 1 + self.B

    def load_of(self, n_tasks: IntArray | int) -> FloatArray | float:
        """Load of so many mini-tasks."""
        if not self.is_coded:
            return n_tasks / (self.n_workers * (self.W - 1))
        replicas = self.lam + 1
        return n_tasks * replicas / (self.n_workers * (self.B + (self.W - 1) * replicas))

    @property
    def delay_rounds(self) -> int:
        return self.W - 2 + self.B

    @property
    def load(self) -> float:
        return float(self.load_of(self.n_slots))

    @property
    def tolerates(self) -> str:
        return (
            f"in any {self.W} rounds at most {self.lam} distinct stragglers, each within {self.B} round(s); or in any "
            f"{self.W + self.B - 1} rounds at most {self.lam} distinct stragglers, each in at most {self.B} of them"
        )

    @property
    def load_bound(self) -> float:
        return load_bound(self.n_workers, self.B, self.W, self.lam)

    def chunk_loads(self) -> FloatArray:
        """D1: W - 1 chunks of each worker in turn; then D2: B groups of n chunks, if anything is coded."""
        own = np.full(self.n_workers * (self.W - 1), self.load_of(1))
        if not self.is_coded:
            return own
        return np.concatenate([own, np.full(self.B * self.n_workers, self.load_of(1) / (self.lam + 1))])

    @property
    def hears_late(self) -> bool:
        return self.late_answers == "keep"

    def batch(self, n_jobs: int, n_runs: int) -> Batch:
        return MultiplexedBatch(self, n_jobs, n_runs)

    def coefficients(self, worker: int, task: Task) -> FloatArray:
        if task.kind != "coded":
            return np.ones(1)
        within = (np.array(task.chunks) - self.n_workers * (self.W - 1)) % self.n_workers  # the group
        row: FloatArray = code_matrix(self.code, self.n_workers, self.lam)[worker, within]
        return row

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return MultiplexedCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        if self.credit == "whole_list" and self.late_answers == "drop":
            return MultiplexedSession(self, n_jobs)
        return TaskwiseSession(self, n_jobs)
