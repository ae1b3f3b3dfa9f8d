"""Gradient coding in clusters, over which stragglers are dealt out anew after each round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from schemes.base.counting import Allowance, RuleScheme, RuleSession, clauses_of
from schemes.base.patterns import any_of
from schemes.base.rule import DECODED, FAILED, Alternatives, Rule
from schemes.base.scheme import Session
from schemes.base.sets import Numbers, OneSet, Set, Sets, Truths
from schemes.base.work import Task
from schemes.codes import cyclic_repetition
from simulator.parameters import BoolArray, FloatArray, IntArray, PositiveCount


@dataclass(frozen=True)
class DynamicClusters(RuleScheme):
    """Clusters of equal size, each with its own data and gradient coding; stragglers are spread over them.

    In a cluster of m = n / ``clusters`` workers, each computes r of its m chunks, and any r - 1 may be missing. After
    each round, its stragglers are spread evenly: each cluster gets equally many, give or take one, and they change
    places with workers that did not straggle. So workers that stay slow no longer share a cluster. Each worker holds
    the data of all clusters that it may join.

    References
    ----------
    Buyukates, Ozfatura, Ulukus and Gunduz, "Gradient Coding with Dynamic Clustering for Straggler Mitigation", 2020.

    Examples
    --------
    >>> DynamicClusters(n_workers=6, clusters=2, r=2).load  # 2 of 6 chunks
    0.3333333333333333
    """

    n_workers: PositiveCount
    clusters: PositiveCount
    """number of clusters; divides the number of workers"""
    r: PositiveCount
    """chunks of each worker: its cluster tolerates r - 1 stragglers"""
    moves: bool = True
    """whether stragglers are spread over the clusters; false: clusters stay as they are"""

    def __post_init__(self) -> None:
        if self.n_workers % self.clusters:
            raise ValueError(f"clusters must divide the {self.n_workers} workers, got {self.clusters}")
        if self.r > self.size:
            raise ValueError(f"r must be between 1 and {self.size}, the workers of a cluster, got {self.r}")

    @property
    def size(self) -> int:
        """Workers of a cluster, and chunks of its data."""
        return self.n_workers // self.clusters

    @property
    def load(self) -> float:
        return self.r / self.n_workers

    @property
    def is_memoryless(self) -> bool:
        return not self.moves

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.r - 1, 'straggler')} of each cluster of {self.size} workers, in every round"

    def chunk_loads(self) -> FloatArray:
        return np.full(self.n_workers, 1 / self.n_workers)

    def chunks_of(self, place: int) -> tuple[int, ...]:
        """Chunks of whoever has a place: place j of all is place j mod m of its cluster, and its first chunk is j."""
        first = place - place % self.size
        return tuple(first + (place - first + offset) % self.size for offset in range(self.r))

    def coefficients(self, worker: int, task: Task, index: int) -> FloatArray:
        rows = cyclic_repetition(self.size, self.r - 1)
        return np.array([rows[task.chunks[0] % self.size, chunk % self.size] for chunk in task.chunks])

    def rule(self, sets: Sets, n_jobs: int, values: Numbers) -> _Rule:
        return _Rule(sets, n_jobs, self, values)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _ClusterSession(self, self.rule(OneSet(self.n_workers), n_jobs, self.r))


def dealt(places: IntArray, stragglers: BoolArray, n_clusters: int) -> IntArray:
    """Places of the next round, from those of this one; both of shape ``(n_workers,)``.

    Clusters with too many stragglers give away those of the highest numbers, to clusters with too few, whose workers
    of the highest numbers that were no stragglers come in return. Where they can't be dealt out equally, clusters that
    have more keep one more.

    Examples
    --------
    >>> dealt(np.arange(4), np.array([True, True, False, False]), 2).tolist()  # worker 1 and worker 3 change places
    [0, 3, 2, 1]
    """
    size = len(places) // n_clusters
    cluster_of = places // size
    n_have = np.bincount(cluster_of[stragglers], minlength=n_clusters)
    share, n_more = divmod(int(n_have.sum()), n_clusters)
    n_too_many = n_have - share
    n_too_many[np.argsort(-n_have, kind="stable")[:n_more]] -= 1
    going: list[int] = []
    coming: list[int] = []
    for cluster, n in enumerate(n_too_many.tolist()):
        if n:
            members = np.flatnonzero((cluster_of == cluster) & (stragglers if n > 0 else ~stragglers))
            (going if n > 0 else coming).extend(members[-abs(n) :].tolist())
    found = places.copy()
    found[going + coming] = places[coming + going]
    return found


class _Rule(Rule):
    """In each cluster at most r - 1 may be missing; who is where is each row's own."""

    def __init__(self, sets: Sets, n_jobs: int, scheme: DynamicClusters, r: Numbers) -> None:
        super().__init__(sets, n_jobs)
        self.top, self.bottom = r, scheme.n_workers
        self._scheme, self._r = scheme, np.atleast_1d(r).tolist()
        self.places = np.tile(np.arange(scheme.n_workers), (len(self._r), 1))
        self._forced: Truths | None = None

    def alternatives(self) -> Alternatives:
        if not self.steady or self._scheme.moves:
            scheme = self._scheme
            allowances = [
                Allowance(places // scheme.size, np.full(scheme.clusters, r - 1))
                for places, r in zip(self.places, self._r, strict=True)
            ]
            self.steady = [clauses_of(self.sets, allowances)]
        return self.steady

    def remember(self, missing: Set, forced: Truths | None, by_job: object = None) -> None:
        self._forced = forced
        if self._scheme.moves:
            stragglers = self.sets.workers(missing)
            for row in np.flatnonzero(stragglers.any(axis=1)).tolist():
                self.places[row] = dealt(self.places[row], stragglers[row], self._scheme.clusters)

    def ended(self) -> list[tuple[int, Numbers]]:
        sets = self.sets
        never = sets.any(sets.nobody)
        return [(self.index, sets.where(never if self._forced is None else self._forced, FAILED, DECODED))]


class _ClusterSession(RuleSession[_Rule]):
    def __init__(self, scheme: DynamicClusters, rule: _Rule) -> None:
        super().__init__(rule)
        self._scheme = scheme

    def tasks(self, worker: int) -> Sequence[Task]:
        chunks = self._scheme.chunks_of(int(self.rule.places[0, worker]))
        return [Task(self.rule.index, "coded" if len(chunks) > 1 else "plain", self._scheme.load, chunks)]
