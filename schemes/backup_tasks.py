"""Backup tasks: copies of what is slow, on workers that have finished."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from schemes.base.chunks import ChunkCodec
from schemes.base.codec import Codec, Precision
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Outcome, Phase, Task, Work
from simulator.choices import Leftover
from simulator.parameters import FloatArray, Positive, PositiveCount, Share


class AfterShare(TypedDict):
    """Copies begin when so many results have come."""

    after: Literal["share"]
    share: Share
    """share of the chunks, rounded up"""


class AfterDeadline(TypedDict):
    """Copies begin at a fixed time."""

    after: Literal["deadline"]
    deadline_s: Positive
    """seconds after the round's start"""


class Late(TypedDict):
    """Copies of the tasks with the longest estimated remaining time begin whenever workers tell how far they are."""

    after: Literal["late"]
    max_copies: PositiveCount
    """copies that run at once"""
    heartbeat_s: Positive
    """seconds between two messages about how far a worker is"""


COPIES = "copies of the last tasks"
SHARES = (0.5, 0.75, 0.9, 0.95)  # that a search tries
ROUNDING = 1e-12  # of a share of workers
Policy = Annotated[AfterShare | AfterDeadline | Late, Field(discriminator="after")]


@dataclass(frozen=True)
class BackupTasks(Scheme):
    """Uncoded work; chunks that are late are computed again by workers that have finished, and the first result counts.

    From the instant that the policy names, every worker that has finished takes a chunk that has neither come nor
    been copied; the original goes on, unless ``relaunch`` cancels it. The round ends when all chunks have come, and
    everything else is dropped. A chunk whose worker has left goes to the next idle worker at once, whatever the
    policy.

    ``after: late`` copies at each heartbeat, at most ``max_copies`` at once, the task first whose remaining time
    (1 - progress) / rate is longest. There, progress is the share of a task's time that is over, and rate is progress
    by the time since it began.

    References
    ----------
    Dean and Ghemawat, "MapReduce: Simplified Data Processing on Large Clusters", OSDI 2004, section 3.6 (backup tasks).
    Zaharia, Konwinski, Joseph, Katz and Stoica, "Improving MapReduce Performance in Heterogeneous Environments",
    OSDI 2008 (LATE).

    Examples
    --------
    >>> BackupTasks(n_workers=10, policy={"after": "share", "share": 0.9}).load
    0.1
    """

    n_workers: PositiveCount
    policy: Policy
    """when copies begin"""
    relaunch: bool = False
    """whether the original is cancelled when its copy begins"""

    @property
    def label(self) -> str:
        return COPIES

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        shares: dict[int, float] = {}  # by the number of results, of which all would be too late for copies
        for share in SHARES:
            shares.setdefault(math.ceil(share * n_workers * (1 - ROUNDING)), share)
        for n_results, share in shares.items():
            if n_results < n_workers:
                yield cls(n_workers=n_workers, policy={"after": "share", "share": share})

    @property
    def load(self) -> float:
        return 1 / self.n_workers

    @property
    def is_memoryless(self) -> bool:
        return True

    @property
    def decides_leftover(self) -> bool:
        return True

    @property
    def tolerates(self) -> str:
        return "stragglers that are slower than whoever has finished and does their work again"

    @property
    def facts(self) -> dict[str, str]:
        return {"load on top": f"{self.load:g} for each copy that a worker computes"}

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return ChunkCodec(self, precision)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _BackupSession(self, n_jobs)


class _BackupSession(Session):
    acts = True

    def __init__(self, scheme: BackupTasks, n_jobs: int) -> None:
        self.n_rounds, self._n, self._policy, self._relaunch = n_jobs, scheme.n_workers, scheme.policy, scheme.relaunch
        self._load = scheme.load
        self._work = Work(np.full((self._n, 1), self._load))
        self._away: Collection[int] = ()
        self._at: dict[int, int] = {}  # chunks in hand, by worker
        self._lacking: dict[int, None] = {}  # chunks, in order
        self._orphans: dict[int, None] = {}  # chunks that nobody has in hand, because workers have left
        self._idle: list[int] = []
        self._n_copies = 0  # that are running

    def open_round(self, index: int) -> Work:
        self._job, policy = index, self._policy
        self._lists = [[worker] for worker in range(self._n)]  # the chunks that each worker is given
        self._lacking = dict.fromkeys(range(self._n))
        self._to_copy = dict.fromkeys(range(self._n))  # chunks of which no copy has begun
        self._at = {worker: worker for worker in range(self._n) if worker not in self._away}
        self._orphans = dict.fromkeys(self._away)
        self._idle = []
        self._used: set[int] = set()  # workers of which a result was the first of its chunk
        self._n_copies = 0
        self.look_s = math.inf
        if policy["after"] != "share":
            self.look_s = policy["deadline_s"] if policy["after"] == "deadline" else policy["heartbeat_s"]
        return self._work

    def receive(self, worker: int, report: int) -> None:
        chunk = self._lists[worker][report]
        if chunk in self._lacking:
            del self._lacking[chunk]
            self._used.add(worker)
        self._to_copy.pop(chunk, None)
        self._orphans.pop(chunk, None)
        self._n_copies -= chunk != worker
        self._at.pop(worker, None)
        self._idle.append(worker)

    def hear_absences(self, left: Collection[int], away: Collection[int], now_s: float) -> None:
        for worker in left:
            chunk = self._at.pop(worker, None)
            self._n_copies -= chunk is not None and chunk != worker
            if chunk in self._lacking and chunk not in self._at.values():
                self._orphans[chunk] = None
        is_idle = {*self._idle, *left, *self._away} - {*self._at} - {*away}
        self._idle = [*(worker for worker in self._idle if worker in is_idle), *sorted(is_idle - {*self._idle})]
        self._away = away

    def enough(self) -> bool:
        return not self._lacking

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        policy = self._policy
        if policy["after"] == "late":
            return self._copied([*self._orphans, *self._at_heartbeat(policy, now_s, progress)])
        if policy["after"] == "share":
            is_on = self._n - len(self._lacking) >= policy["share"] * self._n * (1 - ROUNDING)
        else:
            is_on = now_s >= policy["deadline_s"]
        return self._copied([*self._orphans, *(self._to_copy if is_on else ())])

    def _at_heartbeat(self, policy: Late, now_s: float, progress: Callable[[], FloatArray]) -> Sequence[int]:
        if now_s < self.look_s:
            return []
        self.look_s = (round(now_s / policy["heartbeat_s"]) + 1) * policy["heartbeat_s"]
        n_more = policy["max_copies"] - self._n_copies
        chunks = np.array([chunk for chunk in self._to_copy if chunk not in self._orphans], dtype=np.int64)
        if n_more <= 0 or not self._idle or not len(chunks):
            return []
        share = progress()[chunks]
        with np.errstate(divide="ignore"):
            remaining_s = (1 - share) / (share / now_s)
        return list(chunks[np.argsort(-remaining_s, kind="stable")][:n_more].tolist())

    def _copied(self, chunks: Sequence[int]) -> Phase | None:
        """Let idle workers begin copies of some chunks, each once, in that order."""
        pairs = list(zip(self._idle, dict.fromkeys(chunks), strict=False))
        if not pairs:
            return None
        self._idle = self._idle[len(pairs) :]
        dropped = [chunk for _, chunk in pairs if self._at.get(chunk) == chunk] if self._relaunch else []
        for worker, chunk in pairs:
            self._lists[worker].append(chunk)
            self._to_copy.pop(chunk, None)
            self._orphans.pop(chunk, None)
            self._n_copies += chunk != worker
        for worker in dropped:
            del self._at[worker]
        self._at.update(pairs)
        return Phase({worker: [self._load] for worker, _ in pairs}, dropped)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        self.chunks = [chunk for chunk in range(self._n) if chunk not in self._lacking]
        return [Outcome.of(self._job, None if self._lacking else 0.0)]

    def leftover(self) -> Leftover:
        return "cancel"

    def used_workers(self) -> Collection[int]:
        return self._used

    def tasks(self, worker: int) -> Sequence[Task]:
        return [Task(self._job, "plain", self._load, (chunk,)) for chunk in self._lists[worker]]
