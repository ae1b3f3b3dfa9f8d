"""The contract checks notice what is wrong: a scheme that keeps the contract, and deliberate mutants of it."""

import dataclasses
import functools

import numpy as np
import pytest

from schemes import LinearScheme
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Outcome, Task, Work
from schemes.testing import check_scheme


@dataclasses.dataclass(frozen=True)
class Clusters(Scheme):
    """Three workers of a cluster hold its three chunks, begin with different ones, and report each; clusters move on.

    A job ends in its round, or, if the master heard of late responses, one round later.
    """

    session: type[Session]
    T: int = 0
    n_workers: int = 6
    tolerates = "two stragglers of each cluster"
    load = 0.5

    @property
    def delay_rounds(self):
        return self.T

    @property
    def hears_late(self):
        return self.T > 0

    def chunk_loads(self):
        return np.full(self.n_workers, 1 / self.n_workers)

    def start(self, n_jobs, rng):
        return self.session(self, n_jobs, rng)


class ClustersSession(Session):
    def __init__(self, scheme, n_jobs, rng):
        self.n, self.T, self.n_jobs, self.n_rounds = scheme.n_workers, scheme.T, n_jobs, n_jobs + scheme.T
        self.come, self.shift = {}, int(rng.integers(6))
        self.loads = np.array([[1 / 6, 2 / 6, 3 / 6]] * self.n)

    def open_round(self, index):
        self.index = index
        if index >= self.n_jobs:
            return Work(np.full((self.n, 1), np.nan))
        self.come[index] = set()
        return Work(self.loads)

    def list_of(self, index, worker):
        place = (worker + index + self.shift) % self.n
        return [place - place % 3 + (place + step) % 3 for step in range(3)]

    def receive(self, worker, report):
        self.come[self.index].add(self.list_of(self.index, worker)[report])

    def receive_late(self, index, worker, report):
        if index in self.come:
            self.come[index].add(self.list_of(index, worker)[report])

    def has(self, job):
        return len(self.come[job]) == self.n

    def enough(self):
        return self.index >= self.n_jobs or self.has(self.index)

    def close_round(self, closing):
        ended = {job: self.has(job) for job in self.come if self.has(job) or job == self.index - self.T}
        self.come = {job: come for job, come in self.come.items() if job not in ended}
        return [Outcome.of(job, 0.0 if is_decoded else None) for job, is_decoded in ended.items()]

    def tasks(self, worker):
        if self.index >= self.n_jobs:
            return []
        return [Task(self.index, "plain", 1 / 6, (chunk,)) for chunk in self.list_of(self.index, worker)]


class OneChunkMissing(ClustersSession):
    def has(self, job):
        return self.come[job] >= set(range(1, self.n))


class OneChunkTwice(ClustersSession):
    def tasks(self, worker):
        return [dataclasses.replace(task, chunks=(max(1, task.chunks[0]),)) for task in super().tasks(worker)]


class CountsReports(ClustersSession):
    def open_round(self, index):
        self.n_reports = 0
        return super().open_round(index)

    def receive(self, worker, report):
        super().receive(worker, report)
        self.n_reports += 1

    def enough(self):
        return self.index >= self.n_jobs or self.n_reports >= self.n

    def has(self, job):
        return self.enough()


class LastRoundsClusters(ClustersSession):
    def receive(self, worker, report):
        self.come[self.index].add(self.list_of(self.index - 1, worker)[report])


class Backwards(ClustersSession):
    def receive(self, worker, report):
        super().receive(worker, 2 - report)


class LoadsBackwards(ClustersSession):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.loads = np.array([[1 / 12, 2 / 6, 3 / 6]] * self.n)


class ForcedIsDecoded(ClustersSession):
    def close_round(self, closing):
        return [dataclasses.replace(one, status="decoded", squared_error=0.0) for one in super().close_round(closing)]


class ForcedNeverEnds(ClustersSession):
    def close_round(self, closing):
        return [one for one in super().close_round(closing) if one.status != "failed"]


class LateForTheWrongJob(ClustersSession):
    def receive_late(self, index, worker, report):
        super().receive_late(self.index, worker, report)


class LateOneIsAll(ClustersSession):
    def receive_late(self, index, worker, report):
        for each in range(3):
            super().receive_late(index, worker, each)


class OutlivesARun(ClustersSession):
    n_closed = 0

    def open_round(self, index):
        self.shift = self.n_closed // 7
        return super().open_round(index)

    def close_round(self, closing):
        type(self).n_closed += 1
        return super().close_round(closing)


class UnequalRuns(ClustersSession):
    n_runs = 0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        UnequalRuns.n_runs += 1
        self.shift = self.n_runs


class SharedWithTheNextRun(ClustersSession):
    """All is new when a run begins, but the run before goes on with it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        type(self).rounds = []

    def open_round(self, index):
        self.rounds.append(index)
        self.shift = len(self.rounds) // 5
        return super().open_round(index)


class WritesIntoItsWork(ClustersSession):
    def close_round(self, closing):
        self.loads *= 0.5 if self.index % 2 else 1.0
        return super().close_round(closing)


class WritesIntoMissing(ClustersSession):
    def close_round(self, closing):
        closing.missing[:] = False
        return super().close_round(closing)


class ForgetsSomeUploads(ClustersSession):
    asks_for_uploads = True

    def uploads(self, n_received):
        return np.where(n_received > 0, 1.0, 0.0)[1:]


class WritesIntoReceived(ClustersSession):
    asks_for_uploads = True

    def uploads(self, n_received):
        n_received[:] = 0
        return n_received.astype(float)


MUTANTS = ClustersSession.__subclasses__()
NEEDS_LATE = (LateForTheWrongJob, LateOneIsAll)


@pytest.mark.parametrize("T", [0, 1])
def test_a_scheme_of_moving_clusters_keeps_the_contract(T):
    check_scheme(Clusters(ClustersSession, T=T))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutated_session_is_found(mutant):
    for seed in range(3):
        with pytest.raises(AssertionError):
            check_scheme(Clusters(mutant, T=int(mutant in NEEDS_LATE)), seed=seed)


@functools.lru_cache
def _matrix(n):
    return np.eye(n)


@dataclasses.dataclass(frozen=True)
class SpoilsItsMatrix(LinearScheme):
    """Its arrays are made once, and a run writes into them."""

    n_workers: int = 4

    def encoding_matrix(self):
        return _matrix(self.n_workers)

    def squared_errors(self, closed):
        _matrix(self.n_workers)[0, 0] += 1.0
        return super().squared_errors(closed)


@dataclasses.dataclass(frozen=True)
class Counts(Clusters):
    """A description that a run changes."""

    runs: list = dataclasses.field(default_factory=list)

    def start(self, n_jobs, rng):
        self.runs.append(n_jobs)
        return super().start(n_jobs, rng)


@dataclasses.dataclass(frozen=True)
class Weighted(LinearScheme):
    """A description with an array in it."""

    n_workers: int = 3
    weights_of: np.ndarray = dataclasses.field(default_factory=lambda: np.array([1.0, 2.0, 3.0]))

    def encoding_matrix(self):
        return np.diag(self.weights_of)


@pytest.mark.parametrize("scheme", [SpoilsItsMatrix(), Counts(ClustersSession)], ids=["matrix", "list"])
def test_a_description_that_a_run_changes_is_found(scheme):
    with pytest.raises(AssertionError):
        check_scheme(scheme)


def test_a_description_may_hold_arrays():
    check_scheme(Weighted())


@dataclasses.dataclass(frozen=True)
class Unequal(Clusters):
    """Worker 0 sends nothing of its last chunk; the others have the design load."""

    said: float = 0.5

    @property
    def mean_load(self):
        return self.said


class UnequalSession(ClustersSession):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.loads = np.array([[1 / 6, 2 / 6, np.nan]] + [[1 / 6, 2 / 6, 3 / 6]] * (self.n - 1))

    def tasks(self, worker):
        return super().tasks(worker)[: 2 if worker == 0 else 3]


def test_a_mean_load_must_be_the_mean():
    check_scheme(Unequal(UnequalSession, said=17 / 36))
    with pytest.raises(AssertionError, match=r"mean load of 0.472.*, not the mean_load 0.5"):
        check_scheme(Unequal(UnequalSession))
