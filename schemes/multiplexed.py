"""M-SGC: most of the data once and again only where it went missing, the rest coded."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Literal, Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.batch import Batch
from schemes.base.codec import Codec, Decoded, Encoder, Ended, Precision, Weights, combined
from schemes.base.grid import Grid
from schemes.base.multiplexed_session import Lists, MultiplexedSession, TaskwiseSession
from schemes.base.patterns import Acceptance, Accepts, Code, LateResponses, accepting, load_bound
from schemes.base.scheme import (
    BoolArray,
    Closing,
    Count,
    FloatArray,
    Heard,
    IntArray,
    Outcome,
    PositiveCount,
    Scheme,
    Session,
    Task,
    Work,
)
from schemes.base.sequential_batch import MultiplexedBatch
from schemes.base.sequential_grid import MultiplexedGrid
from schemes.codes import check_published, check_replicas, code_matrix, code_weights

REPETITION = "repetition only"  # the label where nothing is coded


@dataclass(frozen=True)
class Multiplexed(Scheme):
    """Every round, a worker serves W - 1 + B jobs: one mini-task for each of them, in slots 0..W-2+B.

    Slot k of round t serves job t - k. The first W - 1 slots compute the worker's own chunks of the job (D1), one
    group of chunks each, uncoded. The last B slots repeat one of these where a response went missing, and
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
    """code of the D2 chunks: any n - lam responses, or one of each group of lam + 1 replicas"""
    accepts: Accepts = "pattern"
    """stragglers that the master puts up with: the tolerated patterns, or whatever can still be decoded"""
    credit: Literal["prefix", "whole_list"] = "whole_list"
    """what counts: each mini-task that was reported before the round closed, or only whole lists (as published)"""
    late_responses: LateResponses = "drop"
    """whether responses that arrive in a later round (leftover: finish) still count while their job is open"""
    as_published: bool = False
    """accept bursty patterns only, and give full work in every round, as the paper's simulator does"""

    def __post_init__(self) -> None:
        if self.B >= self.W:
            raise ValueError(f"B must be between 1 and W - 1 = {self.W - 1}, got {self.B}")
        if self.lam > self.n_workers:
            raise ValueError(f"lam must be between 0 and {self.n_workers}, got {self.lam}")
        if self.is_coded:
            check_replicas(self.code, self.n_workers, self.lam + 1, "lam + 1")
        check_published(self.accepts, self.late_responses, as_published=self.as_published)
        if self.as_published and self.credit != "whole_list":
            raise ValueError(f"credit must be whole_list with as_published, got {self.credit}")

    @property
    def label(self) -> str:
        if not self.is_coded:
            return REPETITION
        return "M-SGC" if self.code == "gradient_coding" else "M-SGC-Rep"

    @classmethod
    def settings(cls, n_workers: int, max_delay: int, *, accepts: Acceptance = "pattern") -> Iterator[Self]:
        divided = [lam for lam in range(1, n_workers) if n_workers % (lam + 1) == 0]
        for W in range(2, max_delay + 2):
            for B in range(1, min(W - 1, max_delay + 2 - W) + 1):
                first = cls(n_workers=n_workers, B=B, W=W, lam=n_workers, **accepting(accepts))
                yield from first.with_each("lam", range(1, n_workers + 1))
                if divided:
                    repeated = dataclasses.replace(first, lam=divided[0], code="fractional_repetition")
                    yield from repeated.with_each("lam", divided)

    def grid(self, n_jobs: int, values: IntArray) -> Grid | None:
        is_equal = self.is_coded or self.as_published  # otherwise late lists are what was missed
        if not is_equal or self.credit == "prefix":
            return None
        accepts: Acceptance = "published" if self.as_published else self.accepts
        return MultiplexedGrid(self.n_workers, n_jobs, self.B, self.W, values, code=self.code, accepts=accepts)

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
        return self.late_responses == "keep"

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
        if self.credit == "whole_list" and self.late_responses == "drop":
            return MultiplexedSession(self, n_jobs)
        return TaskwiseSession(self, n_jobs)


class MultiplexedCodec(Codec):
    """Which results of a job the master has: W - 1 uncoded ones of each worker, and coded ones of B groups."""

    def __init__(self, scheme: Multiplexed, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._encoder = Encoder(code_matrix(scheme.code, scheme.n_workers, scheme.lam)) if scheme.is_coded else None
        self._received: dict[int, BoolArray] = {}  # by job, shape (W - 1 + B, n_workers): D1 results, then coded ones
        self._lists: dict[int, Lists] = {}  # of the latest rounds: responses may come late

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, MultiplexedSession)
        self._round = index
        self._lists[index] = session.lists()
        self._lists.pop(index - self._scheme.n_slots, None)
        self._received[index] = np.zeros((self._scheme.n_slots, self._scheme.n_workers), dtype=np.bool_)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        lists = self._lists.get(index)
        if lists is None:
            return
        order = lists.order[worker]
        for place in order[report : report + 1] if lists.by_task else order:
            job = lists.jobs[place]
            if job in self._received:
                result = int(lists.results[place][worker])
                self._received[job][result if result >= 0 else index - job, worker] = True

    def close_round(self, heard: Heard, closing: Closing) -> None:
        lists, workers = self._lists[self._round], heard.workers
        if lists.by_task:
            for worker, report in zip(workers.tolist(), heard.reports.tolist(), strict=True):
                self.receive_late(self._round, worker, report)
            return
        for job, results in zip(lists.jobs, lists.results, strict=True):
            results = results[workers]
            self._received[job][np.where(results >= 0, results, self._round - job), workers] = True

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._received.pop(outcome.job), self._decode)

    def _decode(self, responses: Sequence[BoolArray], gradients: FloatArray) -> Sequence[Decoded]:
        scheme, n, width = self._scheme, self._scheme.n_workers, self._scheme.W - 1
        own = self.sent(gradients[: n * width])
        coded = [gradients[first : first + n] for first in range(n * width, len(gradients), n)]
        solve = functools.partial(code_weights, scheme.code, n, scheme.lam)
        decoded = combined([received[:width].T.reshape(-1) for received in responses], _as_they_are, own)
        for group, of_group in enumerate(coded):
            assert self._encoder is not None, "there are chunks to be coded"
            answered = [np.flatnonzero(received[width + group]) for received in responses]
            more = combined(answered, solve, self.sent(self._encoder.messages(of_group)))
            decoded = [_added(*both) for both in zip(decoded, more, strict=True)]
        return decoded


def _as_they_are(received: BoolArray) -> Weights:
    """Of gradients that are not coded."""
    return Weights(received.astype(np.float64))


def _added(first: Decoded, second: Decoded) -> Decoded:
    """The sum of two parts of a gradient."""
    return Decoded(
        first.gradient + second.gradient,
        max(first.condition, second.condition),
        first.decode_s + second.decode_s,
    )
