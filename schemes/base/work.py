"""Work of a round, what is heard of it, and how it ends."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray, IntArray

Status = Literal["decoded", "approximate", "failed"]
TaskKind = Literal["plain", "coded", "repeat"]


@dataclass(frozen=True, slots=True)
class Task:
    """One item of a worker's list, as plots and the value plane see it."""

    job: int
    kind: TaskKind  # "plain": a first try, uncoded; "coded": a combination; "repeat": a second try
    load: float  # share of the job's data
    chunks: tuple[int, ...]  # indices into the scheme's `chunk_loads()`
    step: int = 0  # of several that a worker takes by itself, each from where the one before has led


@dataclass(frozen=True)
class Work:
    """Work that every worker is given in one round.

    Parameters
    ----------
    loads
        Cumulative load (a share of one job's data) at each report of each worker, shape
        ``(n_workers, n_reports)``; NaN where a worker makes no (further) report. A worker without any report
        is idle.

    Examples
    --------
    >>> Work(np.array([[0.25], [np.nan]])).busy
    array([ True, False])
    """

    loads: FloatArray
    is_divisible: bool = False
    """True if the engine may share the loads out anew, so that all workers finish one job together."""
    gradients: FloatArray | None = None
    """Number of gradients that go up with each report, shape of ``loads``; None: one with each."""

    @functools.cached_property
    def reporting(self) -> BoolArray:
        """Mask of the reports that are made, shape ``(n_workers, n_reports)``."""
        return ~np.isnan(self.loads)

    @functools.cached_property
    def busy(self) -> BoolArray:
        """Mask of the workers with work, shape ``(n_workers,)``."""
        return np.asarray(self.reporting.any(axis=1))

    @functools.cached_property
    def n_busy(self) -> int:
        """Number of workers with work."""
        return int(np.count_nonzero(self.busy))

    @functools.cached_property
    def n_reports(self) -> int:
        """Number of reports that all workers together will make."""
        return int(np.count_nonzero(self.reporting))

    @functools.cached_property
    def last_report(self) -> IntArray:
        """The report that completes each worker's list, shape ``(n_workers,)``; -1 for an idle worker."""
        last = self.loads.shape[1] - 1 - np.argmax(self.reporting[:, ::-1], axis=1)
        return np.where(self.busy, last, -1)

    @functools.cached_property
    def given(self) -> FloatArray:
        """Load of each worker's whole list, shape ``(n_workers,)``; 0 for an idle worker."""
        return np.where(self.busy, self.loads[np.arange(len(self.loads)), self.last_report], 0.0)


class Heard(NamedTuple):
    """Reports of a round that arrived during that round, in that order."""

    workers: IntArray  # shape (n,)
    reports: IntArray  # which one of its worker's: 0, 1, ...; shape (n,)
    times_s: FloatArray  # when, in seconds after the round's start; shape (n,)

    @classmethod
    def of(cls, reports: Sequence[tuple[int, int]], times_s: Sequence[float] | None = None) -> Heard:
        """Some reports, each a worker and which of its reports it is; without times, one a second.

        Examples
        --------
        >>> Heard.of([(2, 0), (0, 0)]).workers
        array([2, 0])
        """
        workers, which = np.array(reports, dtype=np.int64).reshape(-1, 2).T
        return cls(workers, which, np.arange(float(len(workers))) if times_s is None else np.array(times_s))


@dataclass(frozen=True, slots=True)
class Closing:
    """End of a round: why it ended, and who was missing then."""

    missing: BoolArray  # shape (n_workers,): had work and had not reported all of it
    forced: bool  # the master stopped although the responses were not enough
    takes_estimate: bool = False  # the rule waits for nobody: it asked for what there is, exact or not
    heard: Heard | None = None  # in the round; codecs must be told, and are by the engine
    stop_s: float = float("nan")  # when the master stopped, in seconds after the round's start; the engine says it


class Phase(NamedTuple):
    """What the master does while a round goes on: a further phase of it begins.

    Examples
    --------
    >>> Phase({3: [0.25]}).dropped  # worker 3, which has nothing to do, gets a quarter of a job's data
    ()
    """

    lists: Mapping[int, Sequence[float]] = {}
    """New work of idle workers: the cumulative load at each report. Its reports count on from the worker's earlier ones
    in this round."""
    dropped: Collection[int] = ()
    """Workers that drop what they have begun: what they have not sent is never heard."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job that ended."""

    job: int
    status: Status
    squared_error: float = 0.0  # of the gradient returned, in units of one chunk's squared norm; NaN if failed
    start_round: int | None = None  # in which the job started; None: job t in round t

    @classmethod
    def of(cls, job: int, squared_error: float | None) -> Outcome:
        """A job whose gradient is exact, or has an error; None or NaN: there is none, the job failed."""
        if squared_error is None or np.isnan(squared_error):
            return cls(job, "failed", float("nan"))
        return cls(job, "approximate" if squared_error else "decoded", squared_error)
