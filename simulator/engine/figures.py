"""Runs as they ended, in columns, and the figures of merit derived from them: the same for both engines."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from schemes.base.rule import APPROXIMATE, DECODED, FAILED
from schemes.base.work import Status
from simulator.errors import SimulationError
from simulator.parameters import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from simulator.engine.record import RunRecord

STATUS: dict[int, Status] = {DECODED: "decoded", APPROXIMATE: "approximate", FAILED: "failed"}
CODE: dict[str, int] = {name: code for code, name in STATUS.items()}
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Runs:
    """Runs of equally many rounds and jobs; rounds have the shape ``(n_runs, n_rounds)``, jobs ``(n_runs, n_jobs)``."""

    n_workers: int
    ends_s: FloatArray  # of rounds: when the next one begins
    duration_s: FloatArray
    first_finish_s: FloatArray
    waited_s: FloatArray
    stragglers: IntArray
    uploads: IntArray
    bytes_up: FloatArray
    upload_s: FloatArray
    phases: IntArray
    stale: IntArray
    fresh: IntArray
    n_given: IntArray  # shape (n_runs,): lists of work given out, over all rounds and workers
    load_done: FloatArray  # shape (n_runs,)
    status: IntArray  # of jobs: DECODED, APPROXIMATE or FAILED
    squared_error: FloatArray
    ended_in: IntArray  # which round
    started_in: IntArray

    @classmethod
    def of(cls, records: Sequence[RunRecord]) -> Runs:
        """Runs that were recorded on events.

        Raises
        ------
        SimulationError
            If a job never ended.
        """
        jobs: list[list[tuple[Any, ...]]] = []
        for record in records:
            if len(record.jobs.job) < record.n_jobs:
                got = len(record.jobs.job)
                raise SimulationError(f"all {record.n_jobs} jobs must end, got {got} that did")
            of = record.jobs
            ended = zip(of.job, of.status, of.squared_error, record.ended_in, of.start_round, strict=True)
            jobs.append([(CODE[status], *others) for _, status, *others in sorted(ended)])
        status, error, ended_in, started_in = np.array(jobs, dtype=np.float64).transpose(2, 0, 1)
        rounds = [record.rounds for record in records]
        ends_s = [[*record.rounds.start_s[1:], record.makespan_s] for record in records]
        return cls(
            n_workers=records[0].n_workers,
            ends_s=np.array(ends_s),
            duration_s=np.array([each.duration_s for each in rounds]),
            first_finish_s=np.array([each.first_finish_s for each in rounds]),
            waited_s=np.array([each.waited_s for each in rounds]),
            stragglers=np.array([each.stragglers for each in rounds]),
            uploads=np.array([each.uploads for each in rounds]),
            bytes_up=np.array([each.bytes_up for each in rounds]),
            upload_s=np.array([each.upload_s for each in rounds]),
            n_given=np.array([record.n_given for record in records]),
            load_done=np.array([record.load_done for record in records]),
            status=status.astype(np.int64),
            squared_error=error,
            ended_in=ended_in.astype(np.int64),
            phases=np.array([each.phases for each in rounds]),
            stale=np.array([each.stale for each in rounds]),
            fresh=np.array([each.fresh for each in rounds]),
            started_in=started_in.astype(np.int64),
        )

    def rows(self, which: IntArray) -> Runs:
        """Some of the runs."""
        fields: dict[str, Any] = {name: part[which] for name, part in vars(self).items() if name in _COLUMNS}
        return Runs(self.n_workers, **fields)

    @property
    def starts_s(self) -> FloatArray:
        """When each round starts."""
        return np.concatenate([np.zeros((len(self.ends_s), 1)), self.ends_s[:, :-1]], axis=1)

    @property
    def makespan_s(self) -> FloatArray:
        """End of each run's last round, shape ``(n_runs,)``."""
        return self.ends_s[:, -1]

    @functools.cached_property
    def has_failed(self) -> BoolArray:
        """Mask of the jobs that failed."""
        return np.asarray(self.status == FAILED)

    @functools.cached_property
    def decoded_s(self) -> FloatArray:
        """When each job ended; NaN: it failed."""
        ends_s = np.take_along_axis(self.ends_s, self.ended_in, axis=1)
        return np.where(self.has_failed, np.nan, ends_s)

    @functools.cached_property
    def latency_s(self) -> FloatArray:
        """How long each job took; NaN: it failed."""
        return self.decoded_s - self.job_starts_s

    @property
    def job_starts_s(self) -> FloatArray:
        """When each job started."""
        return np.take_along_axis(self.starts_s, self.started_in, axis=1)

    @property
    def is_approximate(self) -> bool:
        """True if any job is."""
        return bool((self.status == APPROXIMATE).any())

    def rounds(self) -> dict[str, Any]:
        """Columns of the table of rounds, a run after the other."""
        n_runs, n_rounds = self.ends_s.shape
        columns = {
            "round": np.broadcast_to(np.arange(n_rounds), (n_runs, n_rounds)),
            "start_s": self.starts_s,
            "duration_s": self.duration_s,
            "first_finish_s": self.first_finish_s,
            "waited": self.waited_s > 0,
            "waited_s": self.waited_s,
            "stragglers": self.stragglers,
            "uploads": self.uploads,
            "bytes_up": self.bytes_up,
            "upload_s": self.upload_s,
            "phases": self.phases,
            "stale": self.stale,
            "fresh": self.fresh,
        }
        return {name: column.reshape(-1) for name, column in columns.items()}

    def jobs(self) -> dict[str, Any]:
        """Columns of the table of jobs, a run after the other; the round of a job that failed is masked."""
        n_runs, n_jobs = self.status.shape
        number = np.broadcast_to(np.arange(n_jobs), (n_runs, n_jobs))
        columns = {
            "job": number,
            "start_round": self.started_in,
            "decoded_round": np.ma.array(self.ended_in, mask=self.has_failed),
            "start_s": self.job_starts_s,
            "decoded_s": self.decoded_s,
            "latency_s": self.latency_s,
            "status": np.array([STATUS.get(code, "") for code in range(max(STATUS) + 1)], dtype=object)[self.status],
            "squared_error": self.squared_error,
        }
        return {name: column.reshape(-1) for name, column in columns.items()}

    def figures(self, n_error_blocks: IntArray | int = 1) -> dict[str, FloatArray | IntArray]:
        """The figures of merit of each run, shape ``(n_runs,)``, by column of the table of runs.

        Parameters
        ----------
        n_error_blocks
            Chunk blocks that squared errors add up over, of each run; needed only if a job was approximate.
        """
        n_jobs, decoded = self.status.shape[1], np.count_nonzero(~self.has_failed, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            overhead = np.where(decoded > 0, self.load_done / decoded - 1, np.nan)
            jobs_per_s = np.where(self.makespan_s != 0, decoded / self.makespan_s, np.nan)
            straggler_rate = np.where(self.n_given > 0, self.stragglers.sum(axis=1) / self.n_given, 0.0)
        return {
            "computed_load": self.load_done / (self.n_workers * n_jobs),
            "overhead": overhead,
            "makespan_s": self.makespan_s,
            "jobs_per_s": jobs_per_s,
            **self._of_jobs(decoded, np.broadcast_to(n_error_blocks, decoded.shape)),
            "decode_failures": n_jobs - decoded,
            "waited_rounds": np.count_nonzero(self.waited_s > 0, axis=1),
            "waited_s": self.waited_s.sum(axis=1),
            "straggler_rate": straggler_rate,
            "uploads": self.uploads.sum(axis=1),
            "bytes_up": self.bytes_up.sum(axis=1),
            "upload_s": self.upload_s.sum(axis=1),
        }

    def _of_jobs(self, decoded: IntArray, n_error_blocks: IntArray) -> dict[str, FloatArray]:
        """Means and quantiles over the jobs that did not fail; runs with equally many of these at once."""
        names = ["job_latency_mean_s", *(f"job_latency_p{round(100 * at)}_s" for at in QUANTILES)]
        names += ["squared_error_mean", "relative_error_mean", "error_norm_mean", "exact_share"]
        found = {name: np.full(len(decoded), np.nan) for name in names}
        found["exact_share"][:] = 0.0
        for count in np.unique(decoded[decoded > 0]).tolist():
            rows = decoded == count
            ended = ~self.has_failed[rows]
            latency_s = self.latency_s[rows][ended].reshape(-1, count)
            errors = self.squared_error[rows][ended].reshape(-1, count)
            values = [latency_s.mean(axis=1), *np.quantile(latency_s, QUANTILES, axis=1)]
            values += [errors.mean(axis=1), np.sqrt(errors / n_error_blocks[rows, np.newaxis]).mean(axis=1)]
            n_exact = np.count_nonzero(self.status[rows] == DECODED, axis=1)
            values += [np.sqrt(errors).mean(axis=1), n_exact / self.status.shape[1]]
            for name, value in zip(names, values, strict=True):
                found[name][rows] = value
        return found


_COLUMNS = [field.name for field in dataclasses.fields(Runs)][1:]
