"""Partial stragglers: what slow workers have done up to now counts."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, InstanceOf
from pydantic.dataclasses import dataclass

from schemes.assignment import Assignment, Cyclic, drawn
from schemes.base.batch import Batch, Closed, MemorylessBatch
from schemes.base.block_decoder import decoder
from schemes.base.codec import (
    Codec,
    Decode,
    Decoded,
    Encoder,
    Ended,
    Precision,
    Upload,
    Weights,
    combined,
    least_squares_weights,
    placed,
)
from schemes.base.least_squares import least_squares_errors
from schemes.base.patterns import any_of
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Heard, Outcome, Task, Work
from schemes.ordering import Matching, Ordering, q_bound, q_max
from simulator.parameters import BoolArray, Count, FloatArray, IntArray, PositiveCount

FEW = 4  # blocks up to which comparing is faster than sorting
ORDER = 1  # the purpose of a stream, beside that of `schemes.assignment`


@dataclass(frozen=True)
class PartialGradientCoding(Scheme):
    """Workers report chunk by chunk; the master stops when each chunk is finished by ``blocks`` workers.

    Each gradient is cut into ``blocks`` parts, and a worker uploads one combination of one part's length over all that
    it has finished. Block u of chunk c is recovered from any ``blocks`` workers that finished c. Stopped earlier by a
    rule that waits for nobody, the best estimate has squared error sum over chunks of max(0, blocks - copies). A
    timeout is a failure: the exact gradient was asked for.

    With ``credit: whole_list`` only workers count that have finished all their chunks: the baseline. Where the master
    waits, it is enough that each chunk is held by ``blocks`` of them; where it takes an estimate, they send the plain
    sums of their chunks and the squared error is that of the best weights.

    References
    ----------
    Ramamoorthy, Meng and Girimaji, "Leveraging partial stragglers within gradient coding", NeurIPS 2024, section 3.

    Examples
    --------
    >>> from schemes.assignment import Cyclic
    >>> scheme = PartialGradientCoding(n_workers=200, assignment=Cyclic(chunks_per_worker=8))
    >>> scheme.load, scheme.q_max, scheme.q_bound
    (0.04, 1565, 1565)
    """

    n_workers: PositiveCount
    assignment: InstanceOf[Assignment]
    """which worker holds which chunk"""
    ordering: InstanceOf[Ordering] = Matching()
    """in which order a worker processes its chunks"""
    blocks: PositiveCount = 1
    """l: parts of a gradient; an upload has 1/l of its size, and each chunk is needed l times"""
    credit: Literal["prefix", "whole_list"] = "prefix"
    """what counts: each finished chunk, or only workers that have finished all of theirs"""
    seed: Annotated[Count, Field(repr=False)] = 0
    """for what the assignment and the ordering draw; filled in from the scenario"""

    def __post_init__(self) -> None:
        copies = int(self.held.sum(axis=1).min())
        if self.blocks > copies:
            raise ValueError(
                f"blocks must be between 1 and {copies}, the copies of the rarest chunk, got {self.blocks}"
            )
        self.placement  # noqa: B018 - refuses an ordering that does not fit

    @property
    def label(self) -> str:
        return "partial GC"

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        ratios = (round(2 ** (1 + half / 2)) for half in range(2 * n_workers.bit_length()))  # 2, 3, 4, 6, 8, 11 ...
        copies = sorted({min(n_workers, copies) for copies in ratios if n_workers > 1})
        return (cls(n_workers, assignment=Cyclic(many)) for many in copies)

    @property
    def is_memoryless(self) -> bool:
        return True

    @property
    def placement(self) -> Placement:
        """Placement of the chunks: who holds what, and in which order."""
        return _placement(self.n_workers, self.assignment, self.ordering, self.seed)

    @property
    def held(self) -> BoolArray:
        """The assignment, shape ``(n_chunks, n_workers)``."""
        return drawn(self.assignment, self.n_workers, self.seed)

    @property
    def sums(self) -> FloatArray:
        """The plain sums of the workers' chunks as a matrix, shape ``(n_workers, n_chunks)``."""
        return self.held.T.astype(np.float64)

    def squared_errors_of_sums(self, closed: Closed) -> FloatArray:
        """Squared errors of the best weights for the plain sums that workers send who have finished everything."""
        if self.blocks > 1:
            return np.full(len(closed.forced), np.nan)
        return least_squares_errors(self.sums, closed.due_s[:, :, 0], closed.missing)

    @property
    def load(self) -> float:
        held = self.held
        return float(held.sum(axis=0).max() / len(held))

    @property
    def mean_load(self) -> float:
        return float(self.held.mean())

    @property
    def q_max(self) -> int:
        """So many chunk computations of all workers together are always enough (`schemes.ordering.q_max`)."""
        return q_max(self.placement.positions, self.blocks)

    @property
    def q_bound(self) -> int:
        """A bound that Q_max of no ordering of the assignment is below."""
        return q_bound(self.held, self.blocks)

    @property
    def tolerates(self) -> str:
        spare = int(self.held.sum(axis=1).min()) - self.blocks
        if self.credit == "whole_list":
            return f"{any_of(spare, 'straggler')} in every round"
        return (
            f"{any_of(spare, 'failed worker')} in every round; slow ones count with the chunks that they have finished"
        )

    @property
    def facts(self) -> dict[str, str]:
        most, bound = self.q_max, self.q_bound
        return {
            "Q_max": str(most),
            "lower bound on Q_max": f"{bound} (gap {most - bound}, {100 * (most / bound - 1):.1f} %)",
            "largest row sum of the ordering": str(int(self.placement.positions.sum(axis=1).max())),
        }

    @property
    def needs_enough(self) -> str | None:
        if self.credit == "whole_list" and self.blocks > 1:
            return "with credit: whole_list an estimate is defined for blocks: 1 only"
        return None

    @property
    def n_error_blocks(self) -> int:
        return len(self.held) * self.blocks

    def chunk_loads(self) -> FloatArray:
        return np.full(len(self.held), 1 / len(self.held))

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch]:
        return [_PartialBatch(self, n_jobs)]

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _PartialCodec(self, precision, rng)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _PartialSession(self, n_jobs)


class Placement(NamedTuple):
    """The ordering, and each worker's chunks in it."""

    positions: IntArray  # shape (n_chunks, n_workers), from 1; 0 where a worker does not hold the chunk
    lists: list[list[int]]  # each worker's chunks in the order of processing


@functools.lru_cache(maxsize=64)
def _placement(n_workers: int, assignment: Assignment, ordering: Ordering, seed: int) -> Placement:
    held = drawn(assignment, n_workers, seed)
    positions = ordering.positions(held, np.random.default_rng([seed, ORDER]))
    positions.setflags(write=False)
    in_order = np.where(held, positions, len(held) + 1).argsort(axis=0, kind="stable")
    sizes = held.sum(axis=0).tolist()
    return Placement(positions, [in_order[:size, worker].tolist() for worker, size in enumerate(sizes)])


class _PartialSession(Session):
    """A job each round; the copies that each chunk lacks are counted until none lacks any."""

    asks_for_uploads = True

    def __init__(self, scheme: PartialGradientCoding, n_jobs: int) -> None:
        self.n_rounds, self._scheme = n_jobs, scheme
        self._is_prefix = scheme.credit == "prefix"
        lists = scheme.placement.lists
        self._reports = [[[chunk] for chunk in chunks] if self._is_prefix else [chunks] for chunks in lists]
        sizes = np.array([*map(len, lists)])[:, np.newaxis]
        done = np.arange(1, sizes.max() + 1) if self._is_prefix else np.maximum(sizes, 1)
        loads = np.where(done <= sizes, done / len(scheme.held), np.nan)
        self._work = Work(loads, gradients=np.zeros_like(loads))

    def open_round(self, index: int) -> Work:
        self._job = index
        self._n_lacking = len(self._scheme.held)
        self._lacking = [self._scheme.blocks] * self._n_lacking  # copies of each chunk; below 0: more than needed
        return self._work

    def receive(self, worker: int, report: int) -> None:
        for chunk in self._reports[worker][report]:  # hot: called for every chunk
            left = self._lacking[chunk] - 1
            self._lacking[chunk] = left
            if not left:
                self._n_lacking -= 1

    def enough(self) -> bool:
        return not self._n_lacking

    def tasks(self, worker: int) -> Sequence[Task]:
        load = 1 / len(self._scheme.held)
        return [Task(self._job, "plain", load, (chunk,)) for chunk in self._scheme.placement.lists[worker]]

    def uploads(self, n_received: IntArray) -> FloatArray:
        """Give coefficients to whoever has something to contribute: those of minimum norm use everybody."""
        return np.where(n_received > 0, 1 / self._scheme.blocks, 0.0)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        if not closing.takes_estimate:
            error = float("nan") if closing.forced else 0.0
        elif self._is_prefix:
            error = float(sum(left for left in self._lacking if left > 0))
        else:
            assert closing.heard is not None
            closed = Closed.alone(closing.missing, closing.forced, closing.heard.workers)
            error = float(self._scheme.squared_errors_of_sums(closed)[0])
        return [Outcome.of(self._job, error)]


class _PartialBatch(MemorylessBatch):
    """A chunk has its copies at an order statistic of its holders' times, a job at the last of its chunks."""

    asks_for_uploads = True

    def __init__(self, scheme: PartialGradientCoding, n_jobs: int) -> None:
        self.n_workers, self.n_rounds = scheme.n_workers, n_jobs
        self.blocks = scheme.blocks
        self._scheme = scheme
        session = scheme.start(1, np.random.default_rng(0))
        self._loads = session.open_round(0).loads[np.newaxis]
        n_reports = self._loads.shape[2]
        holders = [np.flatnonzero(row) for row in scheme.placement.positions]
        self._reports = np.zeros((max(map(len, holders)), len(holders)), dtype=np.int64)  # of each copy of each chunk
        for chunk, workers in enumerate(holders):
            position = scheme.placement.positions[chunk, workers] - 1 if n_reports > 1 else 0
            self._reports[: len(workers), chunk] = workers * n_reports + position
        self._are_none = np.arange(len(self._reports))[:, np.newaxis] >= list(map(len, holders))

    def loads(self) -> FloatArray:
        return self._loads

    def gradients(self) -> FloatArray:
        return np.zeros_like(self._loads)

    def _copies(self, reports: NDArray[Any], none: Any) -> NDArray[Any]:
        """Sort what is said of each report by chunks, shape ``(n, most copies, n_chunks)``."""
        copies = reports.reshape(len(reports), self._loads.size).take(self._reports, axis=1)
        if self._are_none.any():
            copies[:, self._are_none] = none
        return copies

    def _lacking(self, due_s: FloatArray, by_s: FloatArray) -> IntArray:
        """Copies that lack of all chunks at some instants, shape ``(n,)``."""
        arrived = self._copies(due_s <= by_s[:, np.newaxis, np.newaxis], False)
        n_copies = arrived.sum(axis=1, dtype=np.min_scalar_type(len(self._reports)))
        return np.asarray((self.blocks - np.minimum(n_copies, self.blocks)).sum(axis=1, dtype=np.int64))

    def enough(self, due_s: FloatArray, by_s: FloatArray, rows: IntArray) -> BoolArray:
        return np.asarray(self._lacking(due_s, by_s) == 0)

    def enough_s(self, due_s: FloatArray, rows: IntArray) -> FloatArray:
        copies_s = self._copies(due_s, np.inf)
        if self.blocks > FEW:
            return np.asarray(np.partition(copies_s, self.blocks - 1, axis=1)[:, self.blocks - 1].max(axis=1))
        least_s = [np.full(copies_s[:, 0].shape, np.inf)] * self.blocks  # in ascending order
        for copy_s in np.moveaxis(copies_s, 1, 0):
            for place, other_s in enumerate(least_s):
                least_s[place], copy_s = np.minimum(other_s, copy_s), np.maximum(other_s, copy_s)
        return np.asarray(least_s[-1].max(axis=1))

    def squared_errors(self, closed: Closed) -> FloatArray:
        if not closed.takes_estimate:
            return np.where(closed.forced, np.nan, 0.0)
        if self._scheme.credit == "prefix":
            return self._lacking(closed.due_s, closed.instant_s).astype(np.float64)
        return self._scheme.squared_errors_of_sums(closed)


class _PartialCodec(Codec):
    """Codec of what each worker had finished when the master stopped, and of the uploads that it then asked for."""

    def __init__(self, scheme: PartialGradientCoding, precision: Precision, rng: np.random.Generator) -> None:
        super().__init__(scheme, precision)
        self._scheme, self._rng = scheme, rng
        self._positions = scheme.placement.positions
        self._held = scheme.held
        self._encoder = Encoder(np.repeat(self._held.T, scheme.blocks, axis=1).astype(np.float64))

    def open_round(self, index: int, work: Work, session: Session) -> None:
        self._random: FloatArray | None = None  # of the open round, once it was needed

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._n_done = self._chunks_done(np.bincount(heard.workers, minlength=self._scheme.n_workers))
        self._finished = self._held & (self._n_done > 0)
        if self._scheme.credit == "prefix":  # reports that are delayed come in any order
            told = np.zeros((self._positions.max() + 1, self._scheme.n_workers), dtype=np.bool_)
            told[heard.reports + 1, heard.workers] = True
            self._finished &= np.take_along_axis(told, self._positions, axis=0)
        self._decode: Decode = self._decode_coded
        if self._scheme.credit == "whole_list" and closing.takes_estimate:
            self._decode = self._decode_sums

    def _chunks_done(self, n_received: IntArray) -> IntArray:
        """Count the chunks that each worker has told of, shape ``(n_workers,)``."""
        is_whole = self._scheme.credit == "whole_list"  # then one report is the whole list
        return np.where(n_received > 0, len(self._held), 0) if is_whole else n_received

    def uploads(self, n_received: IntArray, takes_estimate: bool) -> Mapping[int, Upload]:
        n_done = self._chunks_done(n_received)
        finished = self._held & (self._positions <= n_done)
        if self._scheme.credit == "whole_list" and takes_estimate:  # plain sums
            coefficients = np.repeat(finished[:, np.newaxis], self._scheme.blocks, axis=1).astype(np.float64)
        else:
            self._random = self._draw()
            coefficients = decoder(finished, self._random).coefficients
        chunks = {worker: np.flatnonzero(finished[:, worker]) for worker in np.flatnonzero(n_done).tolist()}
        return {
            worker: Upload(tuple(held.tolist()), np.ascontiguousarray(coefficients[held, :, worker]))
            for worker, held in chunks.items()
        }

    def end(self, outcome: Outcome) -> Ended:
        if outcome.status == "failed" or self._decode == self._decode_sums:
            return Ended(outcome, self.chunk_loads, self._n_done, self._decode)
        random = self._random if self._random is not None else self._draw()
        return Ended(outcome, self.chunk_loads, (self._finished, random), self._decode)

    def _draw(self) -> FloatArray:
        return self._rng.standard_normal((self._scheme.n_workers, self._scheme.blocks))

    def _decode_coded(
        self, responses: Sequence[tuple[BoolArray, FloatArray]], gradients: FloatArray
    ) -> Sequence[Decoded]:
        return [self._decode_job(*of_job, gradients[:, place]) for place, of_job in enumerate(responses)]

    def _decode_job(self, finished: BoolArray, random: FloatArray, gradients: FloatArray) -> Decoded:
        began_s = time.perf_counter()
        code = decoder(finished, random)
        ready_s = time.perf_counter()
        (n_chunks, dimension), blocks = gradients.shape, self._scheme.blocks
        if dimension % blocks:  # zeros behind
            gradients = np.pad(gradients, ((0, 0), (0, -dimension % blocks)))
        parts = gradients.reshape(n_chunks * blocks, 1, -1)
        uploads = self.sent(self._encoder.reweighted(code.encoding_matrix).messages(parts))[:, 0]
        received_s = time.perf_counter()
        gradient = code.gradient(uploads)[:dimension]
        return Decoded(gradient, code.condition, time.perf_counter() - received_s + ready_s - began_s)

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        if ended.decode == self._decode_sums:
            n_done = ended.responses
            rows = placed(messages, np.flatnonzero(n_done), self._scheme.n_workers)
            return combined([n_done], self._weights_of_sums, rows)[0]
        began_s = time.perf_counter()
        finished, random = ended.responses
        code = decoder(finished, random)
        who = np.flatnonzero(finished.any(axis=0))
        gradient = code.gradient(placed(messages, who, self._scheme.n_workers)[:, 0])
        return Decoded(gradient, code.condition, time.perf_counter() - began_s)

    def _weights_of_sums(self, n_done: IntArray) -> Weights:
        return least_squares_weights(self._scheme.sums, np.flatnonzero(n_done))

    def _decode_sums(self, responses: Sequence[IntArray], gradients: FloatArray) -> Sequence[Decoded]:
        """Decode from the plain sums that workers send who have finished everything."""
        return combined(responses, self._weights_of_sums, self.sent(self._encoder.messages(gradients)))
