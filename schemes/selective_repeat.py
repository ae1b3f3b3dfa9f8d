"""SR-SGC: gradient coding for fewer stragglers, and another try B rounds later for what is missing."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Answer, Codec, Decoded, Encoder, Ended, Precision, combined, placed
from schemes.base.counting import RuleScheme, RuleSession
from schemes.base.patterns import Acceptance, Accepts, Code, LateResponses, accepting, counted, load_bound
from schemes.base.rule import DECODED, FAILED, NOT_ENDED, Alternatives, Clause, Past, Rule
from schemes.base.scheme import Session
from schemes.base.sets import Numbers, OneSet, Set, Sets, Truths
from schemes.base.work import Outcome, Task, Work
from schemes.codes import check_published, check_replicas, code_chunks, code_matrix, code_weights
from simulator.parameters import Count, FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class SelectiveRepeat(RuleScheme):
    """(n, s)-GC in every round; workers whose responses to job t - B were missing compute them again in round t.

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
    """stragglers that the master accepts: those of the tolerated pattern, or all with which jobs can be decoded"""
    late_responses: LateResponses = "drop"
    """keep: responses that arrive in a later round (leftover: finish) count while their job is open"""
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

    @property
    def s(self) -> int:
        """Stragglers of one round that need no repeating."""
        s: int = self.repaired(self.lam)
        return s

    def repaired(self, lam: Numbers) -> Numbers:
        """`s` for one or more ``lam``."""
        return -(-lam * self.B // (self.W - 1 + self.B))

    @property
    def delay_rounds(self) -> int:
        return self.B

    @property
    def load(self) -> float:
        return (self.s + 1) / self.n_workers

    @property
    def tolerates(self) -> str:
        within = "in one round" if self.B == 1 else f"within {self.B} rounds"
        bursty = f"at most {counted(self.lam, 'distinct straggler')}, each {within}"
        return f"in any {self.W} rounds: {bursty}; or at most {counted(self.s, 'straggler')} in each of them"

    @property
    def load_bound(self) -> float:
        return load_bound(self.n_workers, self.B, self.W, self.lam)

    @property
    def hears_late(self) -> bool:
        return self.late_responses == "keep"

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def rule(self, sets: Sets, n_jobs: int, values: Numbers) -> _Rule:
        return _Rule(sets, n_jobs, self, values)

    def coefficients(self, worker: int, task: Task, index: int) -> FloatArray:
        return code_matrix(self.code, self.n_workers, self.s)[worker, list(task.chunks)]

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _SelectiveRepeatCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _SelectiveRepeatSession(self, self.rule(OneSet(self.n_workers), n_jobs, self.lam))


class _Rule(Rule):
    """Job t - B is repeated by whoever its code can't do without, everybody else computes job t."""

    def __init__(self, sets: Sets, n_jobs: int, scheme: SelectiveRepeat, lam: Numbers) -> None:
        super().__init__(sets, n_jobs, scheme.B)
        self._lam, self._s, self._window = lam, scheme.repaired(lam), scheme.W
        self._in_groups = scheme.code == "fractional_repetition"
        self._accepts = "published" if scheme.as_published else scheme.accepts
        self._hears_late = scheme.hears_late
        self.top, self.bottom = self._s + 1, scheme.n_workers
        self.without: dict[int, Set] = {}  # of each job in flight at the last opening, whose result is not there
        self._is_open: dict[int, Truths] = {}  # where it has not ended
        self._past = Past(sets, scheme.B, scheme.W)
        self._many = sets.where(sets.always, -scheme.W, 0)  # latest round with more than s stragglers

    def open(self, index: int) -> None:
        self.index = index
        self.without = {job: who for job, who in self.without.items() if job in self._is_open}
        self.repeats = self._repeaters(index - self.delay_rounds)
        self._has_repeats = self.sets.any(self.repeats)

    def _repeaters(self, job: int) -> Set:
        """Workers that compute their task of a job again: the lowest-numbered workers whose results are missing."""
        sets = self.sets
        if job not in self.without:
            return sets.nobody
        without = self.without[job]
        if self._in_groups:
            repeats = sets.full_groups(without, self._s + 1)
        else:
            repeats = sets.lowest(without, sets.size(without) - self._s)
        return repeats if self.is_search else sets.where(self._is_open[job], repeats, sets.nobody)

    @property
    def _is_padded(self) -> bool:
        return self._accepts == "published" and self.index >= self.n_jobs

    def busy(self) -> Set:
        if self.index < self.n_jobs:
            return self.sets.everybody
        if self._is_padded:
            return self.sets.where(self._has_repeats, self.sets.everybody, self.sets.nobody)
        return self.repeats

    def n_tasks(self) -> IntArray:
        if self.index < self.n_jobs:
            return np.ones((1, 1), dtype=np.int64)
        return self.sets.workers(self.busy()).astype(np.int64)

    def n_results(self) -> IntArray | None:
        return self.sets.workers(self.repeats).astype(np.int64) if self._is_padded else None

    def alternatives(self) -> Alternatives:
        sets, lam = self.sets, self._lam
        if self._accepts == "recoverable":
            return [[self._rescue()]]
        if self._accepts == "published":
            return [[self._past.bursty(lam)]]
        few = sets.where(self._many < self.index - (self._window - 1), self._s, -1)
        bursty = self._past.bursty(sets.where(self._past.clashes(), -1, lam))
        return [[bursty], [Clause(sets.nobody, sets.nobody, few)]]

    def _rescue(self) -> Clause:
        """All that job t - B lacks is being repeated now; job t can be rescued in round t + B."""
        sets, nobody = self.sets, self.sets.nobody
        if not self._hears_late or not self._has_repeats:
            return Clause(self.repeats, nobody, None)
        without = self.without[self.index - self.delay_rounds]
        if self._in_groups:
            return Clause(self.repeats & sets.full_groups(without, self._s + 1), nobody, None)
        # each late response of somebody who does not repeat makes one repeat superfluous, whoever's
        others = sets.everybody & ~(self.repeats & without)
        return Clause(nobody, others, sets.n_workers + self._s - sets.size(without))

    def remember(self, missing: Set, forced: Truths | None, by_job: Mapping[int, Set] | None = None) -> None:
        sets = self.sets
        self._missing = missing
        if self.index < self.n_jobs:
            self.without[self.index], self._is_open[self.index] = missing | self.repeats, sets.always
        if self.is_search:
            self.without.pop(self.index - self.delay_rounds, None)
        if self._accepts == "recoverable":
            return
        is_many = sets.size(missing) > self._s
        if self._accepts == "published":
            self._past.append(sets.where(is_many | self._has_repeats, missing, sets.nobody), forced, may_clash=False)
            return
        self._many = sets.where(is_many, self.index, self._many)
        if forced is not None:
            self._many = sets.where(forced, -self._window, self._many)
        self._past.append(missing, forced, may_clash=True)

    def ended(self) -> list[tuple[int, Numbers]]:
        sets, old, ended = self.sets, self.index - self.delay_rounds, []
        for job in list(self._is_open) if self._hears_late else [old, self.index]:
            if job in self._is_open:
                if job == old:
                    self.without[job] = self.without[job] & ~(self.repeats & ~self._missing)
                decoded = sets.fits(self.without[job], self._s, in_groups=self._in_groups)
                status = sets.where(decoded, DECODED, FAILED if job == old else NOT_ENDED)
                ended.append((job, sets.where(self._is_open[job], status, NOT_ENDED)))
                self._is_open[job] = self._is_open[job] & (decoded ^ True)
        for job in [job for job, is_open in self._is_open.items() if job == old or not sets.some(is_open)]:
            del self._is_open[job]
        return ended


class _SelectiveRepeatSession(RuleSession["_Rule"]):
    def __init__(self, scheme: SelectiveRepeat, rule: _Rule) -> None:
        super().__init__(rule)
        self._scheme = scheme
        self._repeats: dict[int, int] = {}  # by round: who repeated an older job in it

    def answered(self, job: int) -> IntArray:
        """Workers whose result for a job there is, while it is in flight, and when it has just ended."""
        return np.flatnonzero(~self.sets.workers(self.rule.without[job])[0])

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        self._repeats[index] = self.rule.repeats
        self._repeats.pop(index - self._scheme.B - 1, None)
        return work

    def receive_late(self, index: int, worker: int, report: int) -> None:
        bit = 1 << worker
        if index in self.rule.without and not self._repeats[index] & bit:  # a repeat of an older job is too late now
            self.rule.without[index] &= ~bit
            self._is_stale = True

    def tasks(self, worker: int) -> Sequence[Task]:
        scheme = self._scheme
        index, repeats = self.rule.index, bool(self.rule.repeats >> worker & 1)
        if not repeats and index >= self.rule.n_jobs:
            return []
        chunks = code_chunks(scheme.code, self.n_workers, scheme.s, worker)
        if repeats:
            return [Task(index - scheme.B, "repeat", scheme.load, chunks)]
        return [Task(index, "coded", scheme.load, chunks)]


class _SelectiveRepeatCodec(Codec):
    """A worker's response for a job is the same combination, whenever it comes."""

    def __init__(self, scheme: SelectiveRepeat, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._encoder = Encoder(code_matrix(scheme.code, scheme.n_workers, scheme.s))
        self._solve = functools.partial(code_weights, scheme.code, scheme.n_workers, scheme.s)

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, _SelectiveRepeatSession)
        self._session = session

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._session.answered(outcome.job), self._decode)

    def _decode(self, responses: Sequence[IntArray], gradients: FloatArray) -> Sequence[Decoded]:
        return combined(responses, self._solve, self.sent(self._encoder.messages(gradients)))

    def answers(self, ended: Ended) -> Sequence[Answer]:
        scheme, job = self._scheme, ended.outcome.job
        of_worker = functools.partial(code_chunks, scheme.code, scheme.n_workers, scheme.s)
        return [Answer(job, of_worker(worker), worker) for worker in ended.responses.tolist()]

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        rows = placed(messages, ended.responses, self._scheme.n_workers)
        return combined([ended.responses], self._solve, rows)[0]
