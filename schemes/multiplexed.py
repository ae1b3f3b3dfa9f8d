"""M-SGC: most of the data once and again only where it went missing, the rest coded."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.codec import Answer, Codec, Decoded, Encoder, Ended, Precision, Weights, combined, placed
from schemes.base.counting import RuleScheme
from schemes.base.multiplexed_session import MultiplexedSession, TaskwiseSession
from schemes.base.patterns import Acceptance, Accepts, Code, LateResponses, accepting, counted, load_bound
from schemes.base.rule import DECODED, FAILED, NOT_ENDED, Alternatives, Clause, Counts, Past, Rule, count_down, count_up
from schemes.base.scheme import Session
from schemes.base.sets import Numbers, OneSet, Set, Sets, Truths
from schemes.base.work import Outcome, Task, Work
from schemes.codes import check_published, check_replicas, code_chunks, code_matrix, code_weights
from simulator.parameters import BoolArray, Count, FloatArray, IntArray, PositiveCount

REPETITION = "repetition only"  # the label where nothing is coded


@dataclass(frozen=True)
class Multiplexed(RuleScheme):
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
    """stragglers that the master accepts: those of the tolerated pattern, or all with which jobs can be decoded"""
    credit: Literal["prefix", "whole_list"] = "whole_list"
    """what counts: each mini-task reported before the round closed, or only whole lists (as published)"""
    late_responses: LateResponses = "drop"
    """keep: responses that arrive in a later round (leftover: finish) count while their job is open"""
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

    @property
    def is_coded(self) -> bool:
        """True if there are D2 chunks at all."""
        return self.lam < self.n_workers

    @property
    def n_slots(self) -> int:
        """Mini-tasks of a worker in a round."""
        return self.W - 1 + self.B

    @property
    def n_tasks(self) -> int:
        return self.n_workers * self.n_slots

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
        who = f"at most {counted(self.lam, 'distinct straggler')}, each"
        if self.B == 1:  # bursty and arbitrary patterns are the same
            return f"in any {self.W} rounds {who} in one round"
        wide = self.W + self.B - 1
        bursty = f"in any {self.W} rounds {who} within {self.B} rounds"
        return f"{bursty}; or in any {wide} rounds {who} in at most {self.B} of them"

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

    def chunks_of(self, worker: int) -> tuple[int, ...]:
        """Chunks of a group that a worker's coded result is made of, counted within the group."""
        return code_chunks(self.code, self.n_workers, self.lam, worker)

    def rule(self, sets: Sets, n_jobs: int, values: Numbers) -> MultiplexedRule:
        return MultiplexedRule(sets, n_jobs, self, values)

    def grid(self, n_jobs: int, values: IntArray) -> Rule | None:
        is_coded = int(values.max()) < self.n_workers
        if self.credit == "prefix" or not (is_coded or self.as_published):
            return None  # workers have unequal work: late lists are what was missed
        return super().grid(n_jobs, values)

    def coefficients(self, worker: int, task: Task, index: int) -> FloatArray:
        if task.kind != "coded":
            return np.ones(1)
        within = (np.array(task.chunks) - self.n_workers * (self.W - 1)) % self.n_workers  # the group
        row: FloatArray = code_matrix(self.code, self.n_workers, self.lam)[worker, within]
        return row

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return MultiplexedCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        is_plain = self.credit == "whole_list" and self.late_responses == "drop"
        make = MultiplexedSession if is_plain else TaskwiseSession
        return make(self, self.rule(OneSet(self.n_workers), n_jobs, self.lam))


class MultiplexedRule(Rule):
    """Slot k of round t serves job t - k: first tries, and then repeats of what was lost, or coded results."""

    def __init__(self, sets: Sets, n_jobs: int, scheme: Multiplexed, lam: Numbers) -> None:
        super().__init__(sets, n_jobs, scheme.delay_rounds)
        self._lam, self._B, self._window, self.n_slots = lam, scheme.B, scheme.W, scheme.n_slots
        self._in_groups = scheme.code == "fractional_repetition"
        self._accepts = "published" if scheme.as_published else scheme.accepts
        self.by_task = scheme.credit == "prefix"
        n, replicas = sets.n_workers, lam + 1
        self._coded = lam < n
        self._all_coded = not sets.some(self._coded ^ True)
        self.top = sets.where(self._coded, replicas, 1)
        self.bottom = n * sets.where(self._coded, scheme.B + (scheme.W - 1) * replicas, scheme.W - 1)
        self.lost: dict[int, list[Set]] = {}  # of each job in flight: who lacks more than 0, 1, ... B first tries
        self.again: dict[int, Set] = {}  # who repeats one in the open round
        self._is_open: dict[int, Truths] = {}  # where it has not ended
        self._past = Past(sets, scheme.B, scheme.W)
        self._wide = Counts(sets, scheme.n_slots - 1)
        self._is_bursty = self._is_arbitrary = sets.always  # the history so far

    def open(self, index: int) -> None:
        self.index, sets = index, self.sets
        if index < self.n_jobs and not (self.is_search and self._accepts != "recoverable"):
            self.lost[index], self._is_open[index] = [sets.nobody] * (self._B + (not self.is_search)), sets.always
        self.again = {job: self.lost[job][0] if self._is_late(job) else sets.nobody for job in self.lost}
        if self._accepts != "recoverable":
            self._patterns = self._conforming()

    def _is_late(self, job: int) -> bool:
        return self.index - job >= self._window - 1

    def serves(self, job: int) -> Set:
        """Workers with a task of a job."""
        sets, is_open = self.sets, self._is_open[job]
        who = sets.everybody
        if self._is_late(job) and not self._all_coded:
            who = sets.where(self._coded, who, self.again[job])
        return sets.where(is_open, who, sets.nobody)

    def busy(self) -> Set:
        if self._accepts == "published" or (self.is_search and self._all_coded):
            return self.sets.everybody
        return functools.reduce(operator.or_, map(self.serves, self.lost), self.sets.nobody)

    def n_tasks(self) -> IntArray:
        if self._accepts == "published":
            return np.full((1, 1), self.n_slots)
        return self.n_results()

    def n_results(self) -> IntArray:
        if self._all_coded:
            return np.reshape(sum(self._is_open.values(), start=self.sets.always * 0), (-1, 1))
        serving = [self.sets.workers(self.serves(job)) for job in self.lost]
        return np.asarray(sum(serving, start=np.zeros((1, 1), dtype=np.int64)))

    def tasks_of_all(self) -> IntArray:
        index = np.arange(self.n_rounds)
        n_tasks = np.minimum(index + 1, self.n_jobs) - np.maximum(0, index - self.delay_rounds)
        return (n_tasks if self._accepts != "published" else np.full_like(index, self.n_slots))[:, np.newaxis]

    def lists(self) -> list[tuple[int, Set]]:
        """Repeats come first and coded results last: of these, some may be missing."""
        late = [job for job in self.lost if self._is_late(job)]
        repeats = [(job, self.serves(job) & self.again[job]) for job in late]
        first_tries = [(job, self.serves(job)) for job in self.lost if not self._is_late(job)]
        coded = [(job, self.serves(job) & ~self.again[job]) for job in reversed(late)]
        return [*repeats, *first_tries, *coded]

    def _conforming(self) -> list[Clause]:
        """Clauses under which the whole history stays bursty, or arbitrary; which are the same for B = 1."""
        sets, lam = self.sets, self._lam
        if self._accepts == "published" or self._B == 1:
            return [self._past.bursty(lam)]
        bursty = self._past.bursty(sets.where(self._is_bursty, lam, -1))
        often, ever = self._wide.at_least(self._B), self._wide.at_least(1)
        return [bursty, Clause(often, ever, sets.where(self._is_arbitrary, lam, -1))]

    def alternatives(self) -> Alternatives:
        if self._accepts != "recoverable":
            return [[clause] for clause in self._patterns]
        return [[self._recoverable(job, lost) for job, lost in self.lost.items()]]

    def _recoverable(self, job: int, lost: list[Set]) -> Clause:
        """Clause under which the job can be decoded in time, should nobody straggle later.

        Each lost D1 result of a worker takes one of the B late slots of that worker; so nobody may be missing
        who needs all that are left, this one included. And coded results come only from workers that have
        nothing to repeat, so not too many may begin to have something to repeat or lose their coded result.
        """
        sets, limit = self.sets, self._lam
        needed = lost[min(self._B, self.n_slots - (self.index - job)) - 1]
        before = self.again[job] if self._is_late(job) else lost[0]
        if not self.is_search:
            is_open = self._is_open[job]
            needed, before = sets.where(is_open, needed, sets.nobody), sets.where(is_open, before, sets.nobody)
            limit = sets.where(is_open, limit, sets.n_workers)
        return Clause(needed, before, limit, in_groups=self._in_groups, job=job)

    def remember(self, missing: Set, forced: Truths | None, by_job: Mapping[int, Set] | None = None) -> None:
        sets = self.sets
        if self._accepts != "recoverable":
            kept = [clause.permits(sets, missing) for clause in self._patterns]
            if forced is not None:
                kept = [one | forced for one in kept]
            self._is_bursty, self._is_arbitrary = kept[0], kept[-1]
            self._past.append(missing, forced, may_clash=False)
            if len(kept) > 1:
                self._wide.append(missing, forced)
        self._without = {job: self._book(job, missing if by_job is None else by_job[job]) for job in self.lost}
        if self.is_search:
            self.lost.pop(self.index - self.delay_rounds, None)

    def _book(self, job: int, missing: Set) -> Set:
        """Book what this round brought to a job; return who has no coded result for it, or will have none."""
        lost = self.lost[job]
        if not self._is_late(job):
            self.lost[job] = count_up(lost, missing)
            return self.lost[job][0]
        self.lost[job] = count_down(lost, self.again[job] & ~missing, self.sets.nobody)
        return missing | self.again[job]

    def receive_late(self, job: int, worker: Set) -> None:
        """A first try of an earlier round has come."""
        self.lost[job] = count_down(self.lost[job], worker, self.sets.nobody)

    def ended(self) -> list[tuple[int, Numbers]]:
        sets, ended = self.sets, []
        for job, lost in list(self.lost.items()):
            slot = self.index - job
            late_slots = min(self._B, self.delay_rounds - slot)  # after this round
            enough_coded = sets.fits(self._without[job], self._lam, in_groups=self._in_groups)
            dead = sets.any(lost[late_slots]) | (enough_coded ^ True)
            may_be_done = slot >= self._window - 2 and not (self._all_coded and slot < self.delay_rounds)
            if not may_be_done and not sets.some(dead):
                continue
            status = sets.where(dead, FAILED, NOT_ENDED)
            if may_be_done:
                is_last = self._coded ^ True if slot < self.delay_rounds else sets.always
                status = sets.where(is_last & (dead ^ True) & sets.none(lost[0]), DECODED, status)
            status = sets.where(self._is_open[job], status, NOT_ENDED)
            ended.append((job, status))
            self._is_open[job] = self._is_open[job] & (status == NOT_ENDED)
            if not sets.some(self._is_open[job]):
                del self.lost[job], self._is_open[job]
        return ended


class MultiplexedCodec(Codec):
    """Results of a job that the master has: W - 1 uncoded ones of each worker, and coded ones of B groups."""

    def __init__(self, scheme: Multiplexed, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._encoder = Encoder(code_matrix(scheme.code, scheme.n_workers, scheme.lam)) if scheme.is_coded else None

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, MultiplexedSession)
        self._session = session

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._session.received(outcome.job), self._decode)

    def _decode(self, responses: Sequence[BoolArray], gradients: FloatArray) -> Sequence[Decoded]:
        n = self._scheme.n_workers
        first = n * (self._scheme.W - 1)
        groups = (gradients[at : at + n] for at in range(first, len(gradients), n))
        return self._combined(responses, self.sent(gradients[:first]), (self.sent(self._coded(of)) for of in groups))

    def _coded(self, gradients: FloatArray) -> FloatArray:
        assert self._encoder is not None, "there are chunks to be coded"
        return self._encoder.messages(gradients)

    def answers(self, ended: Ended) -> Sequence[Answer]:
        scheme, n, width = self._scheme, self._scheme.n_workers, self._scheme.W - 1
        own = np.flatnonzero(self._of_d1(ended.responses)).tolist()
        answers = [Answer(ended.outcome.job, (chunk,)) for chunk in own]
        for group, came in enumerate(self._of_coded(ended.responses)):
            first = n * (width + group)
            for worker in np.flatnonzero(came).tolist():
                chunks = tuple(first + chunk for chunk in scheme.chunks_of(worker))
                answers.append(Answer(ended.outcome.job, chunks, worker))
        return answers

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        n, width = self._scheme.n_workers, self._scheme.W - 1
        of_d1 = self._of_d1(ended.responses)
        own, coded = messages[: (at := int(of_d1.sum()))], []
        for came in self._of_coded(ended.responses):
            n_came = int(came.sum())
            coded.append(placed(messages[at : at + n_came], came, n))
            at += n_came
        return self._combined([ended.responses], placed(own, of_d1, n * width), coded)[0]

    def _of_d1(self, received: BoolArray) -> BoolArray:
        """Mask of the uncoded chunks that have come."""
        return received[: self._scheme.W - 1].T.reshape(-1)

    def _of_coded(self, received: BoolArray) -> BoolArray:
        """Masks of the workers whose coded results have come, a row for each group."""
        return received[self._scheme.W - 1 :] if self._scheme.is_coded else received[:0]

    def _combined(
        self, responses: Sequence[BoolArray], own: FloatArray, coded: Iterable[FloatArray]
    ) -> Sequence[Decoded]:
        """Decode from the uncoded results and the coded ones of each group."""
        scheme, width = self._scheme, self._scheme.W - 1
        solve = functools.partial(code_weights, scheme.code, scheme.n_workers, scheme.lam)
        of_d1 = [self._of_d1(received) for received in responses]
        decoded = combined(of_d1, lambda received: Weights(received.astype(np.float64)), own)
        for group, of_group in enumerate(coded):
            answered = [np.flatnonzero(received[width + group]) for received in responses]
            more = combined(answered, solve, of_group)
            decoded = [
                Decoded(had.gradient + new.gradient, max(had.condition, new.condition), had.decode_s + new.decode_s)
                for had, new in zip(decoded, more, strict=True)
            ]
        return decoded
