"""SR-SGC: gradient coding for fewer stragglers, and another try B rounds later for what is missing."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.allowance import Allowance, CountingSession, Tally
from schemes.base.batch import Batch
from schemes.base.codec import Codec, Decoded, Encoder, Ended, Precision, combined
from schemes.base.grid import Grid
from schemes.base.patterns import (
    Acceptance,
    Accepts,
    Code,
    History,
    LateResponses,
    accepting,
    bursty_allowance,
    few_allowance,
    load_bound,
)
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
from schemes.base.sequential_batch import SelectiveRepeatBatch
from schemes.base.sequential_grid import SelectiveRepeatGrid
from schemes.codes import check_published, check_replicas, code_matrix, code_weights


@dataclass(frozen=True)
class SelectiveRepeat(Scheme):
    """(n, s)-GC in every round; workers whose responses job t - B lacked compute it again in round t.

    W = xB + 1, s = ceil(lam / (x + 1)), load (s + 1)/n in every round, T = B.

    References
    ----------
    Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding For Straggler Mitigation", ICLR 2023, section 3.2
    (SR-SGC) and its appendix (SR-SGC-Rep).

    Examples
    --------
    >>> scheme = SelectiveRepeat(n_workers=4, B=1, W=2, lam=2)
    >>> scheme.s, scheme.load, scheme.delay_rounds
    (1, 0.5, 1)
    """

    n_workers: PositiveCount
    B: PositiveCount
    """longest burst tolerated, in rounds; also T"""
    W: PositiveCount
    """window of the tolerated pattern, in rounds; a multiple of B, plus 1"""
    lam: Count
    """distinct stragglers tolerated in any W rounds"""
    code: Code = "gradient_coding"
    """code of one job: any n - s responses, or one of each group of s + 1 replicas"""
    accepts: Accepts = "pattern"
    """stragglers that the master puts up with: the tolerated patterns, or whatever can still be decoded"""
    late_responses: LateResponses = "drop"
    """whether responses that arrive in a later round (leftover: finish) still count while their job is open"""
    as_published: bool = False
    """accept stragglers, and pad the last rounds, as the paper's simulator does"""

    def __post_init__(self) -> None:
        if self.W == 1 or (self.W - 1) % self.B:
            raise ValueError(f"W must be a multiple of B = {self.B}, plus 1 (x B + 1 with x >= 1), got {self.W}")
        if self.lam > self.n_workers:
            raise ValueError(f"lam must be between 0 and {self.n_workers}, got {self.lam}")
        if self.s >= self.n_workers:
            raise ValueError(f"lam must leave s = ceil(lam B / (W - 1 + B)) below n = {self.n_workers}, got {self.lam}")
        check_replicas(self.code, self.n_workers, self.s + 1, "s + 1")
        check_published(self.accepts, self.late_responses, as_published=self.as_published)

    @property
    def label(self) -> str:
        return "SR-SGC" if self.code == "gradient_coding" else "SR-SGC-Rep"

    @classmethod
    def settings(
        cls, n_workers: int, max_delay: int, *, max_window: int = 80, accepts: Acceptance = "pattern"
    ) -> Iterator[Self]:
        once = accepts == "recoverable"  # for each B and s, which are all that matters then
        for B in range(1, max_delay + 1):
            for W in range(B + 1, B + 2 if once else max(max_window, B + 1) + 1, B):
                per_s = (W - 1 + B) // B
                legal = [lam for lam in range(1, n_workers + 1, per_s if once else 1) if -(-lam // per_s) < n_workers]
                divided = [lam for lam in legal if n_workers % (-(-lam // per_s) + 1) == 0]
                if legal:
                    first = cls(n_workers=n_workers, B=B, W=W, lam=1, **accepting(accepts))
                    yield from first.with_each("lam", legal)
                if divided:
                    repeated = dataclasses.replace(first, lam=divided[0], code="fractional_repetition")
                    yield from repeated.with_each("lam", divided)

    def grid(self, n_jobs: int, values: IntArray) -> Grid:
        accepts: Acceptance = "published" if self.as_published else self.accepts
        return SelectiveRepeatGrid(self.n_workers, n_jobs, self.B, self.W, values, code=self.code, accepts=accepts)

    @property
    def s(self) -> int:
        """Stragglers of one round that need no repeating."""
        return -(-self.lam * self.B // (self.W - 1 + self.B))

    @property
    def delay_rounds(self) -> int:
        return self.B

    @property
    def load(self) -> float:
        return (self.s + 1) / self.n_workers

    @property
    def tolerates(self) -> str:
        return (
            f"in any {self.W} rounds: at most {self.lam} distinct stragglers, each within {self.B} round(s); "
            f"or at most {self.s} stragglers in each of them"
        )

    @property
    def load_bound(self) -> float:
        return load_bound(self.n_workers, self.B, self.W, self.lam)

    @property
    def hears_late(self) -> bool:
        return self.late_responses == "keep"

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def batch(self, n_jobs: int, n_runs: int) -> Batch:
        return SelectiveRepeatBatch(self, n_jobs, n_runs)

    def coefficients(self, worker: int, task: Task) -> FloatArray:
        return code_matrix(self.code, self.n_workers, self.s)[worker, list(task.chunks)]

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _SelectiveRepeatCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _SelectiveRepeatSession(self, n_jobs)


class _OpenJob(NamedTuple):
    received: BoolArray  # whose result of the job's own round has come, shape (n_workers,)
    tried: BoolArray  # who computed it in that round: all but those that repeated another job


class _SelectiveRepeatSession(CountingSession):
    def __init__(self, scheme: SelectiveRepeat, n_jobs: int) -> None:
        super().__init__(scheme.n_workers)
        self.n_rounds = n_jobs + scheme.B
        self._scheme = scheme
        self._n_jobs = n_jobs
        self._open: dict[int, _OpenJob] = {}  # started, and not decodable yet
        self._tally: Tally | None = None  # what job t - B still needs, where late responses may bring it
        self._history = History(scheme.W - 1, scheme.n_workers)
        self._full = self._work(np.ones(scheme.n_workers, dtype=np.bool_))
        self._idle = self._work(np.zeros(scheme.n_workers, dtype=np.bool_))

    def _work(self, busy: BoolArray, answering: BoolArray | None = None) -> Work:
        gradients = None if answering is None else answering[:, np.newaxis].astype(np.float64)
        return Work(np.where(busy, self._scheme.load, np.nan)[:, np.newaxis], gradients=gradients)

    @property
    def repeating(self) -> BoolArray:
        """Who repeats job t - B in the open round t, shape ``(n_workers,)``."""
        return self._repeats

    def open_round(self, index: int) -> Work:
        self._round = index
        self._repeats = self._repeaters(index - self._scheme.B)
        self._has_repeats = bool(self._repeats.any())
        if index < self._n_jobs:
            work = self._full
        elif self._has_repeats and self._scheme.as_published:  # padding: nobody else has anything to say
            work = self._work(self._full.busy, answering=self._repeats)
        else:
            work = self._work(self._repeats) if self._has_repeats else self._idle
        self.expect(work.busy, self._acceptable())
        return work

    def _repeaters(self, job: int) -> BoolArray:
        """Who computes its task of ``job`` again: the lowest-numbered workers whose results are missing."""
        repeats = np.zeros(self.n_workers, dtype=np.bool_)
        if job in self._open:
            received = self._open[job].received
            if self._scheme.code == "gradient_coding":
                without = np.flatnonzero(~received)
                repeats[without[: max(0, len(without) - self._scheme.s)]] = True
            else:
                repeats[:: self._scheme.s + 1] = ~self._has_result(received)
        return repeats

    def _has_result(self, received: BoolArray) -> BoolArray:
        """Which groups of replicas have answered."""
        return np.asarray(received.reshape(-1, self._scheme.s + 1).any(axis=1))

    def _is_decodable(self, received: BoolArray) -> bool:
        if self._scheme.code == "gradient_coding":
            return bool(np.count_nonzero(received) >= self.n_workers - self._scheme.s)
        return bool(self._has_result(received).all())

    def _acceptable(self) -> list[list[Allowance]]:
        scheme, past = self._scheme, self._history.rounds
        if scheme.accepts == "recoverable":
            # everything that job t - B still lacks is being repeated now; job t can be rescued in round t + B
            needed = Allowance(np.where(self._repeats, 0, -1), np.zeros(1, dtype=np.int64))
            if scheme.hears_late:
                self._tally = Tally(needed, self._repeats)
            return [[needed]]
        bursty = bursty_allowance(past, scheme.B, scheme.W, scheme.lam)
        few = None if scheme.as_published else few_allowance(past, scheme.s)
        return [[allowance] for allowance in (bursty, few) if allowance is not None]

    def receive(self, worker: int, report: int) -> None:
        super().receive(worker, report)
        if self._tally is not None:
            self._tally.arrives(worker)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        job = self._open.get(index)
        if job is None or not job.tried[worker]:  # decoded or failed since, or a repeat of an older one, too late now
            return
        group = worker - worker % (self._scheme.s + 1)
        needed = self._scheme.code == "gradient_coding" or not job.received[group : group + self._scheme.s + 1].any()
        job.received[worker] = True
        if self._tally is None or not needed or index != self._round - self._scheme.B:
            return
        substitute = worker if self._scheme.code == "gradient_coding" else group
        if not self._repeats[substitute]:  # one repeat fewer is needed, whoever's
            self._tally.lessen(0)
        elif not self._arrived[substitute]:
            self._tally.excuse(substitute)

    def enough(self) -> bool:
        return super().enough() if self._tally is None else not self._tally.n_violated

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        scheme, outcomes = self._scheme, []
        if self._round < self._n_jobs:
            tried = ~self._repeats
            self._open[self._round] = _OpenJob(received=~closing.missing & tried, tried=tried)
        for number, job in list(self._open.items()):
            is_last = number == self._round - scheme.B
            if self._is_decodable(job.received | (self._repeats & ~closing.missing) if is_last else job.received):
                outcomes.append(Outcome(number, "decoded"))
            elif is_last:
                outcomes.append(Outcome(number, "failed", float("nan")))
            else:
                continue
            del self._open[number]
        self._tally = None
        if closing.forced:
            self._history.clear()
        elif scheme.as_published and not self._has_repeats and np.count_nonzero(closing.missing) <= scheme.s:
            self._history.append(np.zeros(self.n_workers, dtype=np.bool_))
        else:
            self._history.append(closing.missing)
        return outcomes

    def tasks(self, worker: int) -> Sequence[Task]:
        scheme = self._scheme
        repeats = bool(self._repeats[worker])
        if not repeats and self._round >= self._n_jobs:
            return []
        if scheme.code == "gradient_coding":
            chunks = tuple((worker + offset) % self.n_workers for offset in range(scheme.s + 1))
        else:
            first = worker - worker % (scheme.s + 1)
            chunks = tuple(range(first, first + scheme.s + 1))
        if repeats:
            return [Task(self._round - scheme.B, "repeat", scheme.load, chunks)]
        return [Task(self._round, "coded", scheme.load, chunks)]


class _SelectiveRepeatCodec(Codec):
    """A worker's answer for a job is the same combination, whenever it comes."""

    def __init__(self, scheme: SelectiveRepeat, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._encoder = Encoder(code_matrix(scheme.code, scheme.n_workers, scheme.s))
        self._answered: dict[int, BoolArray] = {}  # by job: whose response there is
        self._jobs: dict[int, IntArray] = {}  # by round, of late responses too: the job that each worker computes

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, _SelectiveRepeatSession)
        self._round = index
        self._answered[index] = np.zeros(self._scheme.n_workers, dtype=np.bool_)
        self._jobs[index] = index - self._scheme.B * session.repeating
        self._jobs.pop(index - self._scheme.B - 1, None)

    def close_round(self, heard: Heard, closing: Closing) -> None:
        workers = heard.workers
        jobs = self._jobs[self._round][workers]
        for job in (self._round - self._scheme.B, self._round):
            if job in self._answered:
                self._answered[job][workers[jobs == job]] = True

    def receive_late(self, index: int, worker: int, report: int) -> None:
        job = int(self._jobs[index][worker]) if index in self._jobs else -1
        if job in self._answered:
            self._answered[job][worker] = True

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, np.flatnonzero(self._answered.pop(outcome.job)), self._decode)

    def _decode(self, responses: Sequence[IntArray], gradients: FloatArray) -> Sequence[Decoded]:
        solve = functools.partial(code_weights, self._scheme.code, self._scheme.n_workers, self._scheme.s)
        return combined(responses, solve, self.sent(self._encoder.messages(gradients)))
