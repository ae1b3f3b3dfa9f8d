"""Contract checks for schemes: what every scheme, of ours or of yours, must keep to.

>>> from schemes import GradientCoding
>>> check_scheme(GradientCoding(n_workers=5, s=2))
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable

import numpy as np

from schemes.base import BoolArray, Closing, Outcome, Scheme, Session, Work
from schemes.linear import ApproximateScheme, LinearScheme

Chooser = Callable[[int, BoolArray], BoolArray]
"""Who straggles, given the round and who has work; both of shape (n_workers,)."""


def play(scheme: Scheme, n_jobs: int, stragglers: Chooser) -> tuple[list[Outcome], list[bool]]:
    """Run a scheme under a straggler pattern, without any times.

    Returns
    -------
    outcomes, accepted
        Every job that ended, and for each round whether the scheme found the answers enough.
    """
    session = scheme.start(n_jobs, np.random.default_rng(0))
    outcomes: list[Outcome] = []
    accepted = []
    for index in range(session.n_rounds):
        work = session.open_round(index)
        missing = stragglers(index, work.busy) & work.busy
        for worker in np.flatnonzero(work.busy & ~missing):
            _deliver(session, work, int(worker))
        accepted.append(session.enough())
        outcomes += session.close_round(Closing(missing, forced=not accepted[-1]))
    return outcomes, accepted


def check_scheme(scheme: Scheme, n_jobs: int = 12, seed: int = 0) -> None:
    """Raise ``AssertionError`` if the scheme breaks the contract of :mod:`schemes.base`.

    Parameters
    ----------
    scheme
        Small: a few workers.
    n_jobs
        More than ``2 * scheme.delay_rounds``, so that a run has a middle.
    seed
        For the stragglers and orders of arrival that are tried.
    """
    n_jobs = max(n_jobs, 2 * scheme.delay_rounds + 3)
    rng = np.random.default_rng(seed)
    assert dataclasses.is_dataclass(scheme), "a scheme is a dataclass"
    assert pickle.loads(pickle.dumps(scheme)) == scheme, "a scheme is a description that can be sent to a process"
    assert 0 < scheme.load <= 1 + 1e-12, f"load {scheme.load} is not a share of a job's data"
    assert scheme.load_bound is None or scheme.load >= scheme.load_bound * (1 - 1e-12), "load below the bound"
    assert abs(scheme.chunk_loads().sum() - 1) < 1e-9, "chunks must add up to one job"
    _check_work(scheme, n_jobs)
    outcomes, accepted = play(scheme, n_jobs, lambda index, busy: np.zeros_like(busy))
    assert all(accepted), "nobody missing must be enough"
    _check_outcomes(scheme, n_jobs, outcomes)
    for _ in range(20):
        check_waiting_rescues(scheme, n_jobs, rng)
    if isinstance(scheme, LinearScheme):
        check_decoding(scheme, rng)


def check_waiting_rescues(scheme: Scheme, n_jobs: int, rng: np.random.Generator) -> None:
    """Stop every round somewhere in a random order of arrival where it is enough: every job must end in time.

    Also: `enough` must not turn false again while reports arrive, and must be true at the end.
    """
    session = scheme.start(n_jobs, np.random.default_rng(0))
    outcomes: list[Outcome] = []
    for index in range(session.n_rounds):
        work = session.open_round(index)
        patience = int(rng.integers(0, 4))  # arrivals after the first that is enough
        missing, was_enough = work.busy.copy(), session.enough()
        n_heard = np.zeros(scheme.n_workers, dtype=np.int64)
        for worker in rng.permutation(np.nonzero(work.reporting)[0]).tolist():  # lists arrive report by report, mixed
            if was_enough and patience == 0:
                break
            patience -= int(was_enough)
            session.receive(worker, int(n_heard[worker]))
            missing[worker] = n_heard[worker] < work.last_report[worker]
            n_heard[worker] += 1
            assert session.enough() or not was_enough, f"round {index}: enough, then not any more"
            was_enough = session.enough()
        assert was_enough, f"round {index}: everybody has answered, and it is not enough"
        ended = session.close_round(Closing(missing, forced=False))
        assert all(outcome.job + scheme.delay_rounds >= index for outcome in ended), f"round {index}: a job ended late"
        outcomes += ended
    _check_outcomes(scheme, n_jobs, outcomes)


def check_decoding(scheme: LinearScheme, rng: np.random.Generator, n_patterns: int = 20) -> None:
    """Who may be missing must agree with what can be decoded, and weights must give the sum of all chunks."""
    matrix, session = scheme.encoding_matrix(), scheme.start(1, rng)
    nobody = np.zeros(scheme.n_workers, dtype=np.bool_)
    is_estimate = isinstance(scheme, ApproximateScheme) or scheme.squared_error(nobody, enough=True) != 0
    for worker in range(scheme.n_workers):
        assert scheme.chunks_of(worker) == tuple(np.flatnonzero(matrix[worker])), f"worker {worker}: other chunks"
    for _ in range(n_patterns):
        finished = np.sort(rng.permutation(scheme.n_workers)[: rng.integers(1, scheme.n_workers + 1)])
        missing = np.ones(scheme.n_workers, dtype=np.bool_)
        missing[finished] = False
        work = session.open_round(0)
        for worker in finished:
            _deliver(session, work, int(worker))
        weights = scheme.decode(finished.tolist())
        is_decoded = session.enough() and scheme.squared_error(missing, enough=True) == 0
        assert not is_decoded or weights is not None, f"{finished} answered: enough, and yet not decodable"
        assert is_decoded or is_estimate or weights is None, f"{finished} answered: decodable, and yet not enough"
        if weights is not None:
            assert np.abs(weights @ matrix[finished] - 1).max() < 1e-6, f"{finished}: wrong weights"


def _deliver(session: Session, work: Work, worker: int) -> None:
    for report in range(int(work.last_report[worker]) + 1):
        session.receive(worker, report)


def _check_work(scheme: Scheme, n_jobs: int) -> None:
    """Work has the right shape, its tasks add up, and nobody gets more than the design load."""
    session = scheme.start(n_jobs, np.random.default_rng(0))
    sizes = scheme.chunk_loads()
    assert session.n_rounds == n_jobs + scheme.delay_rounds, "rounds must be jobs + T"
    most = 0.0
    for index in range(session.n_rounds):
        work = session.open_round(index)
        assert work.loads.shape[0] == scheme.n_workers, "one row of loads for each worker"
        steps = np.diff(work.loads, axis=1, prepend=0.0)
        assert np.nanmin(steps, initial=0.0) >= 0, "loads must be cumulative"
        most = max(most, float(work.given.max()))
        for worker in range(scheme.n_workers):
            tasks = session.tasks(worker)
            total = sum(task.load for task in tasks)
            assert total <= work.given[worker] + 1e-9, f"round {index}: tasks of worker {worker} exceed its load"
            for task in tasks:
                assert abs(sizes[list(task.chunks)].sum() - task.load) < 1e-9, "a task's load is that of its chunks"
                assert index - scheme.delay_rounds <= task.job <= min(index, n_jobs - 1), (
                    "a task of a job not in flight"
                )
        for worker in np.flatnonzero(work.busy).tolist():
            _deliver(session, work, int(worker))
        session.close_round(Closing(np.zeros(scheme.n_workers, dtype=np.bool_), forced=False))
    assert most <= scheme.load * (1 + 1e-9), f"a worker got load {most}, more than the design load {scheme.load}"


def _check_outcomes(scheme: Scheme, n_jobs: int, outcomes: list[Outcome]) -> None:
    assert sorted(outcome.job for outcome in outcomes) == list(range(n_jobs)), "every job must end, once"
    for outcome in outcomes:
        assert outcome.status != "failed", f"job {outcome.job} failed although every round was enough"
        assert (outcome.squared_error > 0) == (outcome.status == "approximate"), "approximate means an error above 0"
