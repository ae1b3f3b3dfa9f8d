"""Many settings of the two sequential schemes at once, on one sequence of worker times: what a search needs.

Settings that share B and W run side by side, each with its own ``lam``.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from schemes.base.bits import Bits, Recent, lowest, meet, no_bits, packed, size
from schemes.base.grid import Grid, lost_groups
from schemes.base.patterns import Acceptance, Code
from schemes.base.scheme import BoolArray, FloatArray, IntArray


class _Bursts:
    """The window of W rounds that ends now: may these workers be missing if it is to be bursty?

    `fits` is for the past rounds of the window, which a master may have accepted for another reason.
    """

    def __init__(self, B: int, W: int, lam: IntArray, nobody: Bits) -> None:
        self._B, self._W, self._lam = B, W, lam
        self._rounds: deque[Bits] = deque(maxlen=W - 1)
        self._past = Recent(W - 1, nobody)
        self._old = Recent(W - B, nobody)  # B to W - 1 rounds ago
        self._clash = np.full(len(lam), -W)  # the latest round that a worker straggled in and again B or more later
        self._index = 0

    def permit(self, missing: Bits) -> BoolArray:
        """Which settings would have a bursty window, shape ``(n_settings,)``."""
        few = size(self._past.union | missing) <= self._lam
        return np.asarray(few & ~meet(missing, self._old.union))

    def fits(self) -> BoolArray:
        """Whether the same worker straggled nowhere in the past window with B or more rounds between."""
        return np.asarray(self._clash < self._index - (self._W - 1))

    def append(self, missing: Bits, *, may_clash: bool) -> None:
        """Add a round."""
        if may_clash:
            self._find_clashes(missing)
        self._rounds.append(missing)
        self._past.append(missing)
        if len(self._rounds) >= self._B:
            self._old.append(self._rounds[-self._B])
        self._index += 1

    def _find_clashes(self, missing: Bits) -> None:
        settings = np.flatnonzero(meet(missing, self._old.union))
        ago = self._B
        while len(settings):
            both = meet(missing[:, settings], self._rounds[-ago][:, settings])
            self._clash[settings[both]] = np.maximum(self._clash[settings[both]], self._index - ago)
            settings = settings[~both]
            ago += 1


class SelectiveRepeatGrid(Grid):
    """`selective_repeat` with some ``lam``."""

    def __init__(
        self,
        n_workers: int,
        n_jobs: int,
        B: int,
        W: int,
        lam: IntArray,
        *,
        code: Code = "gradient_coding",
        accepts: Acceptance = "pattern",
    ) -> None:
        self.n_workers, self.delay_rounds = n_workers, B
        self._n_jobs, self._code, self._accepts = n_jobs, code, accepts
        self._s = -(-lam * B // (W - 1 + B))
        self.load = (self._s + 1) / n_workers
        self._nobody = no_bits(n_workers, len(lam))
        self._everybody = packed(np.ones((len(lam), n_workers), dtype=np.bool_))
        self._without: deque[Bits] = deque(maxlen=B)  # of each of the latest jobs, whose result is not there
        self._bursts = _Bursts(B, W, lam, self._nobody)
        self._many = np.full(len(lam), -W)  # the latest round with more than s stragglers
        self._W = W

    def loads(self) -> FloatArray:
        return np.tile(self.load, (self._n_jobs + self.delay_rounds, 1))

    def open_round(self, index: int) -> Bits | None:
        self._index = index
        self._repeats = self._repeaters() if len(self._without) == self.delay_rounds else self._nobody
        self._has_repeats = self._repeats.any(axis=0)
        if index < self._n_jobs:
            return None
        if self._accepts == "published":
            return np.where(self._has_repeats, self._everybody, self._nobody)
        return self._repeats

    def _repeaters(self) -> Bits:
        """Who computes its task of job t - B again."""
        without = self._without[0]
        if self._code == "gradient_coding":
            return lowest(without, size(without) - self._s, self.n_workers)
        return packed(lost_groups(without, self.n_workers, self._s + 1))

    def accepts(self, missing: Bits) -> BoolArray:
        if self._accepts == "recoverable":
            return ~meet(missing, self._repeats)
        bursty = self._bursts.permit(missing)
        if self._accepts == "published":
            return bursty
        few = (size(missing) <= self._s) & (self._many < self._index - (self._W - 1))
        return np.asarray((bursty & self._bursts.fits()) | few)

    def close_round(self, missing: Bits) -> None:
        if self._index < self._n_jobs:
            self._without.append(missing | self._repeats)
        else:
            self._without.append(self._nobody)
        if self._accepts == "recoverable":
            return
        is_many = size(missing) > self._s
        if self._accepts == "published":
            self._bursts.append(np.where(is_many | self._has_repeats, missing, self._nobody), may_clash=False)
            return
        self._many[is_many] = self._index
        self._bursts.append(missing, may_clash=True)


class MultiplexedGrid(Grid):
    """`multiplexed` with some ``lam``, all below n or, where everybody works in every round, up to n."""

    def __init__(
        self,
        n_workers: int,
        n_jobs: int,
        B: int,
        W: int,
        lam: IntArray,
        *,
        code: Code = "gradient_coding",
        accepts: Acceptance = "pattern",
    ) -> None:
        self.n_workers, self.delay_rounds = n_workers, W - 2 + B
        self._n_jobs, self._B, self._W, self._lam = n_jobs, B, W, lam
        self._code, self._accepts = code, accepts
        self.load = self._load_of(W - 1 + B)
        nobody = no_bits(n_workers, len(lam))
        self._nobody = nobody
        self._bursts = _Bursts(B, W, lam, nobody)
        self._is_bursty = np.ones(len(lam), dtype=np.bool_)
        self._wide: deque[Bits] = deque(maxlen=W + B - 2)
        self._at_least = [nobody] * B  # who straggled in so many rounds of the wide window: once or more, ...
        self._is_arbitrary = np.ones(len(lam), dtype=np.bool_)
        self._lost: dict[int, list[Bits]] = {}  # of each job in flight: who lacks one first try or more, two or more...

    def loads(self) -> FloatArray:
        index = np.arange(self._n_jobs + self.delay_rounds)
        if self._accepts == "published":
            return np.tile(self.load, (len(index), 1))
        n_tasks = np.minimum(index + 1, self._n_jobs) - np.maximum(0, index - self.delay_rounds)
        return self._load_of(n_tasks[:, np.newaxis])

    def _load_of(self, n_tasks: IntArray | int) -> FloatArray:
        """Load of so many mini-tasks."""
        replicas, n = self._lam + 1, self.n_workers
        coded = n_tasks * replicas / (n * (self._B + (self._W - 1) * replicas))
        return np.where(self._lam < n, coded, n_tasks / (n * (self._W - 1)))

    def open_round(self, index: int) -> None:
        self._index = index
        if self._accepts == "recoverable" and index < self._n_jobs:
            self._lost[index] = [self._nobody] * self._B

    def accepts(self, missing: Bits) -> BoolArray:
        if self._accepts == "recoverable":
            accepted = np.ones(missing.shape[1], dtype=np.bool_)
            for job, lost in self._lost.items():
                accepted &= self._is_recoverable(self._index - job, lost, missing)
            return accepted
        bursty, arbitrary = self._patterns(missing)
        return bursty | arbitrary

    def _patterns(self, missing: Bits) -> tuple[BoolArray, BoolArray]:
        """Whether the whole history stays bursty, and whether it stays arbitrary."""
        bursty = self._is_bursty & self._bursts.permit(missing)
        if self._accepts == "published" or self._B == 1:  # bursty and arbitrary are the same there
            return bursty, np.zeros_like(bursty)
        few = size(self._at_least[0] | missing) <= self._lam
        return bursty, np.asarray(self._is_arbitrary & few & ~meet(missing, self._at_least[-1]))

    def _is_recoverable(self, slot: int, lost: list[Bits], missing: Bits) -> BoolArray:
        """Whether a job can still be decoded without these, if nobody is missing from then on."""
        late_slots = min(self._B, self._W - 1 + self._B - slot)  # that are left, the present one included
        return np.asarray(~meet(missing, lost[late_slots - 1]) & self._has_enough_coded(missing | lost[0]))

    def _has_enough_coded(self, without: Bits) -> BoolArray:
        """Whether each group of replicas has its coded results, without those of these workers."""
        if self._code == "gradient_coding":
            return np.asarray(size(without) <= self._lam)
        return np.asarray(~lost_groups(without, self.n_workers, self._lam + 1).any(axis=1))

    def close_round(self, missing: Bits) -> None:
        if self._accepts == "recoverable":
            for job, lost in list(self._lost.items()):
                self._advance(job, lost, missing)
            return
        self._is_bursty, self._is_arbitrary = self._patterns(missing)
        self._bursts.append(missing, may_clash=False)
        if self._accepts == "pattern" and self._B > 1:
            self._wide.append(missing)
            self._at_least = [self._nobody] * self._B
            for stragglers in self._wide:
                _count(self._at_least, stragglers)

    def _advance(self, job: int, lost: list[Bits], missing: Bits) -> None:
        """Book what this round brought to a job."""
        slot = self._index - job
        if slot == self.delay_rounds:
            del self._lost[job]
        elif slot < self._W - 1:
            _count(lost, missing)
        else:  # who was not missing has repeated a first try, if one was lost
            more = [*lost[1:], self._nobody]
            lost[:] = [(at_least & missing) | one_more for at_least, one_more in zip(lost, more, strict=True)]


def _count(at_least: list[Bits], workers: Bits) -> None:
    """Add one to the counts of these workers; ``at_least[k]`` holds those with a count of k + 1 or more."""
    for times in range(len(at_least) - 1, 0, -1):
        at_least[times] = at_least[times] | (at_least[times - 1] & workers)
    at_least[0] = at_least[0] | workers
