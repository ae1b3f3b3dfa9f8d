"""Contract checks for schemes: what every scheme, of ours or of yours, must keep to.

>>> from schemes import GradientCoding
>>> check_scheme(GradientCoding(n_workers=5, s=2))
"""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np

from schemes.base.codec import Decoded, Ended, Precision
from schemes.base.linear import ApproximateScheme, LinearScheme
from schemes.base.mailing import MessageSession, Remembered, RememberingSession
from schemes.base.playing import closing_of, deliver, play, play_valued
from schemes.base.scheme import Scheme, Session
from schemes.base.task_codec import codec_of
from schemes.base.work import Closing, Outcome, Phase, Status, Task, Work
from simulator.choices import Leftover
from simulator.parameters import FloatArray


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
    as_sent = pickle.loads(pickle.dumps(scheme))
    assert _said(as_sent) == _said(scheme), "a scheme is a description that can be sent to a process"
    assert 0 < scheme.load < np.inf, f"load {scheme.load} is not a share of a job's data"
    assert scheme.load_bound is None or scheme.load >= scheme.load_bound * (1 - 1e-12), "load below the bound"
    assert abs(scheme.chunk_loads().sum() - 1) < 1e-9, "chunks must add up to one job"
    for setting in itertools.islice(type(scheme).settings(scheme.n_workers, scheme.delay_rounds), 100):
        assert setting == dataclasses.replace(setting), "a setting is legal"
        assert setting.n_workers == scheme.n_workers, "a setting is for these workers"
        assert setting.delay_rounds <= scheme.delay_rounds, "a setting keeps to the largest T"
    _check_work(scheme, n_jobs)
    outcomes, accepted = play(scheme, n_jobs, lambda index, busy: np.zeros_like(busy))
    assert all(accepted), "nobody missing must be enough"
    _check_outcomes(scheme, n_jobs, outcomes)
    for _ in range(20):
        check_waiting_rescues(scheme, n_jobs, rng)
    if isinstance(scheme, LinearScheme):
        check_decoding(scheme, rng)
    for run in range(12):
        takes_estimate = bool(run % 2) and scheme.needs_enough is None
        check_repeatable(scheme, n_jobs, seed + run, takes_estimate=takes_estimate)
        check_codec(scheme, n_jobs, seed + run, takes_estimate=takes_estimate)
    assert _said(as_sent) == _said(scheme), "a run has changed its scheme"


def check_waiting_rescues(scheme: Scheme, n_jobs: int, rng: np.random.Generator) -> None:
    """Stop every round somewhere in a random order of arrival where it is enough: every job must end."""
    outcomes = play_valued(scheme, scheme.start(n_jobs, np.random.default_rng(0)), rng, p_forced=0.0)
    _check_outcomes(scheme, n_jobs, outcomes)


def check_repeatable(scheme: Scheme, n_jobs: int, seed: int, *, takes_estimate: bool = False) -> None:
    """Play runs from equal seeds, some rounds of them stopped too early, one begun before and one after the other."""
    first, second = (_Noted(scheme.start(n_jobs, np.random.default_rng(seed))) for _ in range(2))
    for session in (first, second):
        play_valued(scheme, session, np.random.default_rng(seed), takes_estimate=takes_estimate)
    third = _Noted(scheme.start(n_jobs, np.random.default_rng(seed)))
    play_valued(scheme, third, np.random.default_rng(seed), takes_estimate=takes_estimate)
    for session in (second, third):
        for index, (note, other) in enumerate(zip(first.notes, session.notes, strict=True)):
            assert note == other, f"round {index}: another run from an equal seed differs: {note}, then {other}"


class _Noted(Session):
    """A session whose words are noted, and which may change no array that it has given or was given."""

    def __init__(self, session: Session) -> None:
        self.n_rounds, self.acts = session.n_rounds, session.acts
        self.notes: list[str] = []  # of each round
        self._session = session
        self._given: list[tuple[FloatArray, bytes]] = []

    def open_round(self, index: int) -> Work:
        work = self._session.open_round(index)
        arrays = [array for array in (work.loads, work.gradients) if array is not None]
        self._given += [(array, array.tobytes()) for array in arrays]
        tasks = [self._session.tasks(worker) for worker in range(len(work.loads))]
        self.notes.append(repr((arrays, tasks)))
        return work

    def receive(self, worker: int, report: int) -> None:
        self._session.receive(worker, report)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        self._session.receive_late(index, worker, report)

    @property
    def look_s(self) -> float:  # type: ignore[override] # an attribute of others, which this one only passes on
        return self._session.look_s

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        phase = self._session.act(now_s, progress)
        self.notes[-1] += f" {phase}"
        return phase

    def leftover(self) -> Leftover | None:
        leftover = self._session.leftover()
        self.notes[-1] += f" {leftover}"
        return leftover

    def enough(self) -> bool:
        is_enough = self._session.enough()
        self.notes[-1] += f" {is_enough}"
        return is_enough

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        assert closing.heard is not None
        before = [array.copy() for array in (closing.missing, *closing.heard)]
        if self._session.asks_for_uploads and (closing.takes_estimate or not closing.forced):
            n_received = np.bincount(closing.heard.workers, minlength=len(closing.missing))
            uploads = self._session.uploads(given := n_received.copy())
            assert np.array_equal(n_received, given), "uploads has changed what it was given"
            assert uploads is None or (uploads.shape == given.shape and (uploads >= 0).all()), f"uploads {uploads}"
            self.notes[-1] += f" {uploads}"
        outcomes = self._session.close_round(closing)
        self.notes[-1] += f" {outcomes}"
        assert all(map(np.array_equal, before, (closing.missing, *closing.heard))), "close_round has changed `closing`"
        for array, was in self._given:
            assert array.tobytes() == was, "the work of a round was changed in place"
        return outcomes

    def tasks(self, worker: int) -> Sequence[Task]:
        return self._session.tasks(worker)


def _said(scheme: Scheme) -> str:
    """All that a description says, also where it holds arrays."""
    fields = dataclasses.fields(scheme)  # type: ignore[arg-type]  # a dataclass, if it keeps the contract
    said = [(field.name, getattr(scheme, field.name)) for field in fields]
    matrix = scheme.encoding_matrix() if isinstance(scheme, LinearScheme) else None
    return repr((type(scheme), said, scheme.load, scheme.chunk_loads(), matrix))


def check_decoding(scheme: LinearScheme, rng: np.random.Generator, n_patterns: int = 20) -> None:
    """Check that who may be missing agrees with what can be decoded, and that weights give the sum of all chunks."""
    matrix, session = scheme.encoding_matrix(), scheme.start(1, rng)
    nobody = np.zeros(scheme.n_workers, dtype=np.bool_)
    is_estimate = isinstance(scheme, ApproximateScheme) or scheme.squared_error(nobody, enough=True) != 0
    may_wait = is_estimate or scheme.decodes_more
    for worker in range(scheme.n_workers):
        chunks = np.unique(np.flatnonzero(matrix[worker]) // scheme.blocks)
        assert scheme.chunks_of(worker) == tuple(chunks), f"worker {worker}: other chunks"
    for _ in range(n_patterns):
        finished = np.sort(rng.permutation(scheme.n_workers)[: rng.integers(1, scheme.n_workers + 1)])
        missing = np.ones(scheme.n_workers, dtype=np.bool_)
        missing[finished] = False
        work = session.open_round(0)
        for worker in finished:
            deliver(session, work, int(worker))
        weights = scheme.decode(finished.tolist())
        is_decoded = session.enough() and scheme.squared_error(missing, enough=True) == 0
        assert not is_decoded or weights is not None, f"{finished} answered: enough, and yet not decodable"
        assert is_decoded or may_wait or weights is None, f"{finished} answered: decodable, and yet not enough"
        if weights is not None:
            wanted = np.tile(np.eye(scheme.blocks), matrix.shape[1] // scheme.blocks)
            assert np.abs(weights.T @ matrix[finished] - wanted).max() < 1e-6, f"{finished}: wrong weights"


EXACT = 1e-8  # largest relative error of a gradient that counts as decoded


class UnitGradients:
    """A value plane on which errors can be read off: each block of each chunk is a unit vector and some random numbers.

    So the squared error of the unit part is that which the scheme reports, and whatever is done to one chunk's gradient
    and not to another's shows.

    Examples
    --------
    >>> from schemes import GradientCoding
    >>> from schemes.base.valued import ValuedSession
    >>> code, plane = GradientCoding(n_workers=3, s=1), UnitGradients(3)
    >>> session = ValuedSession(code.start(1, plane.rng), code.codec("float64", plane.rng), plane)
    >>> outcomes, _ = play(code, 1, lambda index, busy: np.array([False, True, False]), session)
    >>> plane.worst < 1e-12
    True
    """

    def __init__(self, n_error_blocks: int, seed: int = 0) -> None:
        self.n_error_blocks = n_error_blocks
        self.rng = np.random.default_rng(seed)
        self.worst = 0.0  # relative error of the gradients that were decoded
        self.condition = 1.0  # worst
        self.decode_s: list[float] = []
        self.ended: dict[int, FloatArray | None] = {}
        self._of_jobs: dict[int, FloatArray] = {}  # of which results may be used later

    def end_in_order(self, jobs: Sequence[Ended]) -> None:
        """Compare what is decoded from results, each with the gradient of its chunk at the parameters of its job."""
        for ended in jobs:
            results, job = ended.results, ended.outcome.job
            assert results is not None
            self.ended[job] = None
            for needed in {job, *(result.job for result in results)} - set(self._of_jobs):
                self._of_jobs[needed] = self._gradients(ended.chunk_loads)
            if ended.outcome.status != "failed":
                gradients = np.array([self._of_jobs[result.job][result.chunk] for result in results])
                gradients.setflags(write=False)
                (found,) = ended.decode([ended.responses], gradients[:, np.newaxis])
                self._compare(ended.outcome, self._of_jobs[job], found)
            for old in [known for known in self._of_jobs if known < ended.oldest]:
                del self._of_jobs[old]

    def _gradients(self, chunk_loads: FloatArray) -> FloatArray:
        """Shape ``(n_chunks, blocks * (n_error_blocks + 4))``."""
        n_chunks = len(chunk_loads)
        blocks = max(1, self.n_error_blocks // n_chunks)
        units = np.eye(n_chunks * blocks).reshape(n_chunks, blocks, -1)
        noise = self.rng.standard_normal((n_chunks, blocks, 4))
        return np.concatenate([units, noise], axis=2).reshape(n_chunks, -1)

    def end(self, ended: Ended) -> None:
        """Compare what is decoded with the full gradient, and what is reported with what is there."""
        self.end_together([ended])

    def end_together(self, jobs: Sequence[Ended]) -> None:
        """The same for some jobs that are decoded in one call, with gradients of their own."""
        self.ended |= {ended.outcome.job: None for ended in jobs}
        jobs = [ended for ended in jobs if ended.outcome.status != "failed"]
        if not jobs:
            return
        gradients = np.stack([self._gradients(ended.chunk_loads) for ended in jobs], axis=1)
        gradients.setflags(write=False)
        decoded = jobs[0].decode([ended.responses for ended in jobs], gradients)
        assert len(decoded) == len(jobs), "there must be a gradient for each job"
        for place, (ended, found) in enumerate(zip(jobs, decoded, strict=True)):
            self._compare(ended.outcome, gradients[:, place], found)

    def _compare(self, outcome: Outcome, gradients: FloatArray, decoded: Decoded) -> None:
        self.ended[outcome.job] = decoded.gradient
        exact = gradients.sum(axis=0)
        assert decoded.gradient.shape == exact.shape, f"job {outcome.job}: a gradient of another shape"
        assert np.isfinite(decoded.gradient).all(), f"job {outcome.job}: a gradient must be finite"
        n_chunks = len(gradients)
        blocks = max(1, self.n_error_blocks // n_chunks)
        error = decoded.gradient - exact
        squared = float((error.reshape(blocks, -1)[:, : n_chunks * blocks] ** 2).sum())
        self.condition = max(self.condition, decoded.condition)
        self.decode_s.append(decoded.decode_s)
        if outcome.status == "decoded":
            self.worst = max(self.worst, float(np.linalg.norm(error) / np.linalg.norm(exact)))
        else:
            reported = outcome.squared_error
            assert abs(squared - reported) <= EXACT * max(1.0, reported), (
                f"job {outcome.job}: {squared}, not {reported}"
            )


def check_codec(
    scheme: Scheme,
    n_jobs: int = 12,
    seed: int = 0,
    precision: Precision = "float64",
    *,
    takes_estimate: bool = False,
) -> UnitGradients:
    """Raise ``AssertionError`` if what is decoded is not what the scheme says it is.

    Rounds are stopped at random, in random orders of arrival, some of them before the responses are enough; if the
    scheme hears late responses, some come late. Gradients that count as decoded must be exact to 1e-8 (in float64),
    approximate ones must have the squared error that is reported.

    Returns
    -------
    plane
        What happened.
    """
    rng = np.random.default_rng(seed)
    n_jobs = max(n_jobs, 2 * scheme.delay_rounds + 3)
    plane, later = UnitGradients(scheme.n_error_blocks, seed), Remembered()
    begun = scheme.start(n_jobs, np.random.default_rng(0))
    session = RememberingSession(begun, codec_of(scheme, precision, rng), later)
    play_valued(scheme, session, rng, takes_estimate=takes_estimate)
    for _, jobs in itertools.groupby(later, lambda ended: (ended.decode, ended.outcome.job // 3)):
        together = list(jobs)
        if together[0].results is None:
            plane.end_together(together)
        else:
            plane.end_in_order(together)
    assert sorted(plane.ended) == list(range(n_jobs)), "every job must end, once"
    assert precision == "float32" or plane.worst < EXACT, f"a decoded gradient is wrong by {plane.worst}"
    return plane


def check_messages(scheme: Scheme, n_jobs: int = 12, seed: int = 0, *, takes_estimate: bool = False) -> int:
    """Raise ``AssertionError`` if what is decoded from messages is not what the simulator decodes from gradients.

    Messages are made as real workers make them, task by task, with :meth:`Scheme.coefficients`; only those count that
    have come. Rounds are as in :func:`check_codec`.

    Returns
    -------
    n
        Jobs that were compared.
    """
    rng = np.random.default_rng(seed)
    session = MessageSession(scheme, max(n_jobs, 2 * scheme.delay_rounds + 3), rng, takes_estimate=takes_estimate)
    play_valued(scheme, session, rng, takes_estimate=takes_estimate)
    return session.n_compared


def _check_work(scheme: Scheme, n_jobs: int) -> None:
    """Work has the right shape, its tasks add up, nobody gets more than the design load; `mean_load` is the mean."""
    session = scheme.start(n_jobs, np.random.default_rng(0))
    sizes = scheme.chunk_loads()
    assert session.n_rounds == n_jobs + scheme.delay_rounds, "rounds must be jobs + T"
    most = np.zeros(scheme.n_workers)
    for index in range(session.n_rounds):
        work = session.open_round(index)
        assert work.loads.shape[0] == scheme.n_workers, "one row of loads for each worker"
        steps = np.diff(work.loads, axis=1, prepend=0.0)
        assert np.nanmin(steps, initial=0.0) >= 0, "loads must be cumulative"
        most = np.maximum(most, work.given)
        for worker in range(scheme.n_workers):
            tasks = session.tasks(worker)
            total = sum(task.load for task in tasks)
            assert total <= work.given[worker] + 1e-9, f"round {index}: tasks of worker {worker} exceed its load"
            done = np.cumsum([task.load for task in tasks])
            n_reports = int(work.last_report[worker]) + 1
            is_list = n_reports < 2 or (len(done) == n_reports and np.allclose(done, work.loads[worker, :n_reports]))
            assert is_list, f"round {index}: reports of worker {worker} are not those of its tasks, in their order"
            for task in tasks:
                assert abs(sizes[list(task.chunks)].sum() - task.load) < 1e-9, "a task's load is that of its chunks"
                assert index - scheme.delay_rounds <= task.job <= min(index, n_jobs - 1), (
                    "a task of a job not in flight"
                )
        heard = [each for worker in np.flatnonzero(work.busy).tolist() for each in deliver(session, work, worker)]
        session.close_round(closing_of(heard, np.zeros(scheme.n_workers, dtype=np.bool_), forced=False))
    largest, mean = float(most.max()), float(most.mean())
    assert largest <= scheme.load * (1 + 1e-9), f"a worker got load {largest}, more than the design load {scheme.load}"
    is_mean = session.acts or largest < scheme.load * (1 - 1e-9) or abs(mean - scheme.mean_load) <= 1e-9 * scheme.load
    assert is_mean, f"workers got a mean load of {mean}, not the mean_load {scheme.mean_load}"


def _check_outcomes(scheme: Scheme, n_jobs: int, outcomes: list[Outcome]) -> None:
    assert sorted(outcome.job for outcome in outcomes) == list(range(n_jobs)), "every job must end, once"
    for outcome in outcomes:
        assert outcome.status in get_args(Status), f"job {outcome.job}: no such status as {outcome.status!r}"
        assert outcome.status != "failed", f"job {outcome.job} failed although every round was enough"
        assert outcome.squared_error == 0 or outcome.status == "approximate", "an error means approximate"
        # what is stale is no exact gradient, and its error is not known
        is_exact = outcome.squared_error == 0 and not scheme.late_ends_rounds
        assert not (is_exact and outcome.status == "approximate"), "approximate means an error above 0"
