"""Gradient coding for workers of different speeds: each has a load in proportion to its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from schemes.base.codec import Weights
from schemes.base.counting import Allowance, at_most
from schemes.base.linear import LinearScheme
from schemes.base.patterns import any_of
from schemes.codes import supported_matrix, supported_weights
from simulator.parameters import Count, FloatArray, IntArray, NonNegative, PositiveCount

MOST_CHUNKS = 10  # for each worker, where their number is not given
FEW = 16  # workers whose numbers of chunks are told one by one
BY_SPEED = "load by speed"
ROUNDING = 1e-9  # of a number of chunks
NEAR = 0.01  # how much longer than its share a worker may then take
Listed = Annotated[list[NonNegative], Tag("list")]
Auto = Annotated[Literal["auto"], Tag("auto")]


def _form(speeds: object) -> str:
    return "auto" if isinstance(speeds, str) else "list"


@dataclass(frozen=True)
class HeterogeneousGradientCoding(LinearScheme):
    """Worker i computes a share of the chunks in proportion to its speed; any s workers may be missing.

    Each of K chunks has s + 1 holders. Worker i of speed v_i holds the K (s + 1) v_i / sum(v) chunks, rounded, that
    follow those of worker i - 1, cyclically: without stragglers all finish together. No worker holds more than all K;
    what a very fast one would have beyond that is divided among the others in proportion to their speeds.

    K is the first of n, 2n, ..., 10n with which rounding makes no worker take more than 1 % longer than its share. If
    there is none, it is the one with which the slowest worker takes least time.

    References
    ----------
    Wang, Guo, Tang, Li and Li, "Heterogeneity-aware Gradient Coding for Straggler Tolerance", ICDCS 2019.

    Examples
    --------
    >>> code = HeterogeneousGradientCoding(n_workers=4, speeds=[1.0, 1.0, 2.0, 4.0], s=1)
    >>> code.n_chunks, code.counts.tolist(), code.load
    (4, [1, 1, 2, 4], 1.0)
    """

    n_workers: PositiveCount
    speeds: Annotated[Listed | Auto, Field(discriminator=Discriminator(_form))]
    """speed of each worker, in any unit; auto: 1 / its mean seconds_per_load, from a per_worker straggler model"""
    s: Count
    """stragglers tolerated per round, whichever they are"""
    chunks: PositiveCount | None = None
    """K, the number of chunks; null: derived from the speeds"""
    worker_speeds: list[NonNegative] | None = Field(default=None, repr=False)
    """what auto stands for; filled in from the scenario"""

    def __post_init__(self) -> None:
        if self.speeds == "auto" and self.worker_speeds is None:
            raise ValueError("speeds must be a list unless a per_worker straggler model has seconds per load, got auto")
        known = self.known_speeds
        if len(known) != self.n_workers:
            raise ValueError(f"speeds must have {self.n_workers} entries, one for each worker, got {len(known)}")
        n_working = int(np.count_nonzero(known))
        if self.s >= n_working:
            raise ValueError(f"s must be between 0 and {n_working - 1}, for workers with a speed above 0, got {self.s}")

    @property
    def label(self) -> str:
        return "heterogeneous GC" if self.s else BY_SPEED

    @classmethod
    def settings(cls, n_workers: int, max_delay: int, *, speeds: Sequence[float] | None = None) -> Iterator[Self]:
        n_working = np.count_nonzero(speeds) if speeds is not None else 0
        each = (cls(n_workers=n_workers, speeds=list(speeds or ()), s=s) for s in range(n_working))
        return (one for one in each if one.s or one.counts.all())  # nothing for a worker is to leave it out

    @property
    def known_speeds(self) -> list[float]:
        """The speeds, also those that a scenario says."""
        return self.worker_speeds or [] if self.speeds == "auto" else list(self.speeds)

    @property
    def n_chunks(self) -> int:
        """K."""
        return self._placement.n_chunks

    @property
    def counts(self) -> IntArray:
        """Chunks that each worker holds, shape ``(n_workers,)``."""
        return self._placement.counts

    @property
    def _placement(self) -> _Placement:
        return _placement(tuple(self.known_speeds), self.s, self.chunks)

    def encoding_matrix(self) -> FloatArray:
        return _matrix(tuple(self.counts.tolist()), self.s)

    @property
    def n_error_blocks(self) -> int:
        return self.n_chunks

    def weights(self, answered: IntArray) -> Weights:
        idle = np.flatnonzero(self.counts == 0)  # of whom nothing is wanted
        values, condition = supported_weights(self.n_workers, self.s, 1, np.append(answered, idle))
        values[idle] = 0.0
        return Weights(values, condition)

    def worker_loads(self) -> FloatArray:
        return self.counts / self.n_chunks

    def allowance(self) -> Allowance:
        return at_most(self.s, self.n_workers)

    @property
    def decodes_more(self) -> bool:
        """With equal shares, say, that are whole parts of all: neighbours in the placement then are replicas."""
        return True

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.s, 'straggler')} in every round"

    @property
    def facts(self) -> dict[str, str]:
        counts = self.counts
        each = ", ".join(map(str, counts.tolist())) if len(counts) <= FEW else f"{counts.min()} to {counts.max()}"
        return {"chunks": str(self.n_chunks), "chunks of each worker": each}


def shares(speeds: FloatArray, s: int) -> FloatArray:
    """Loads in proportion to speeds, none above 1, that add up to s + 1.

    Examples
    --------
    >>> shares(np.array([1.0, 1.0, 6.0]), 1).tolist()
    [0.5, 0.5, 1.0]
    """
    loads = np.zeros(len(speeds))
    left, working = float(s + 1), speeds > 0
    while working.any():
        per_speed = left / speeds[working].sum()
        is_full = working & (speeds * per_speed > 1)
        if not is_full.any():
            loads[working] = speeds[working] * per_speed
            break
        loads[is_full] = 1.0
        left, working = s + 1 - loads.sum(), working & ~is_full
    return loads


def rounded(loads: FloatArray, n_chunks: int) -> IntArray:
    """Whole numbers of chunks near ``n_chunks`` times loads, which add up to as many; by largest remainder.

    Examples
    --------
    >>> rounded(np.array([0.3, 0.7, 1.0]), 4).tolist()
    [1, 3, 4]
    """
    exact = loads * n_chunks
    counts = np.floor(exact + ROUNDING).astype(np.int64)
    n_more = round(exact.sum()) - int(counts.sum())
    counts[np.argsort(-np.round((exact - counts) / ROUNDING), kind="stable")[:n_more]] += 1
    return counts


class _Placement(NamedTuple):
    n_chunks: int
    counts: IntArray


@functools.lru_cache(maxsize=1024)
def _placement(speeds: tuple[float, ...], s: int, chunks: int | None) -> _Placement:
    loads = shares(np.array(speeds), s)
    n_chunks = chunks or _number_of_chunks(np.array(speeds), loads)
    return _Placement(n_chunks, rounded(loads, n_chunks))


@functools.lru_cache(maxsize=8)
def _matrix(counts: tuple[int, ...], s: int) -> FloatArray:
    holders = np.repeat(np.arange(len(counts)), counts).reshape(s + 1, -1).T
    matrix = supported_matrix(holders, len(counts))
    matrix.setflags(write=False)
    return matrix


def _number_of_chunks(speeds: FloatArray, loads: FloatArray) -> int:
    """K, where it is not given."""
    n_workers, working = len(speeds), speeds > 0
    took = {}
    for n_chunks in range(n_workers, MOST_CHUNKS * n_workers + 1, n_workers):
        times = (rounded(loads, n_chunks) / n_chunks)[working] / speeds[working]
        took[n_chunks] = float(times.max())
        if took[n_chunks] <= (1 + NEAR) * (loads[working] / speeds[working]).max():
            return n_chunks
    return min(took, key=took.__getitem__)
