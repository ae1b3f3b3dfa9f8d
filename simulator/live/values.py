"""Real gradients of a live run: what orders bring along, and what is decoded from the messages that were received."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from schemes.base.codec import Codec, Decoded, Ended, Messages
from simulator.engine.events import ClosedRound
from simulator.engine.record import RunRecord
from simulator.engine.result_gradients import Begun, n_rows_of
from simulator.engine.training import Step, TrainingRecord, staleness_of
from simulator.engine.worker_seconds import worker_seconds
from simulator.parameters import FloatArray
from workloads import Rows


class _Taken(NamedTuple):
    """A step that was taken, or a job that failed: measured when the run is over, so that nobody waits for it."""

    ended: Ended
    before: FloatArray  # parameters
    after: FloatArray
    rows: Rows
    step: int
    found: Decoded | None
    size: float  # norm of the messages


@dataclass(kw_only=True)
class LiveRecord(TrainingRecord):
    """A live run: gradients are decoded at once from what workers have sent, since their next orders need the result.

    Losses and residuals against the true gradient are computed by :meth:`complete`, after the run.
    """

    codec: Codec

    def __post_init__(self) -> None:
        super().__post_init__()
        self.came = Messages()
        self.uploaded: FloatArray | None = None  # what the master asked for at the end of the open round
        self._begun: dict[int, Begun] = {}
        self._taken: list[_Taken] = []

    @property
    def dimension(self) -> int:
        """Length of a gradient."""
        return len(self._models[0].parameters)

    def begun(self, job: int, n_steps: int = 1) -> Begun:
        """Parameters and rows with which a job begins; and rows of further batches, if workers take several steps."""
        if job not in self._begun:
            model = self._models[job % self.n_models]
            further = [next(model.batches) for _ in range(n_steps - 1)]
            self._begun[job] = Begun(model.parameters, [model.rows, *further])
        return self._begun[job]

    def is_open(self, job: int) -> bool:
        """True if messages of a job may still be of use."""
        return job in self._begun

    def rows_of(self, job: int, step: int, chunk: int) -> Rows:
        """Rows of a chunk of a job; of a further batch, if it is for a further step."""
        rows = self._begun[job].rows[step]
        held = self._cut(self.codec.chunk_loads, n_rows_of(rows, self._workload))[chunk]
        return held if isinstance(rows, slice) else rows[held]

    def n_rows(self, rows: Rows) -> int:
        """Count some rows."""
        return n_rows_of(rows, self._workload)

    def end(self, ended: Ended) -> None:
        """Decode what has come, and take the step."""
        job, is_of_use = ended.outcome.job, ended.outcome.status != "failed"
        model, (_, (rows, *_)) = self._models[job % self.n_models], self.begun(job)
        before, found, size = model.parameters, None, 0.0
        if is_of_use and not model.has_diverged:
            messages = self.uploaded
            if messages is None:
                messages = self.came.of(self.codec.answers(ended), self.dimension)
            with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
                found = self.codec.combine(ended, messages)
                size = float(np.linalg.norm(messages))
                step = model.optimiser.step(found.gradient[: self.dimension] / self.n_rows(rows))
                model.parameters = model.parameters - self.plan.learning_rate * step
            self._decode_s.append(found.decode_s)
        if is_of_use or self.plan.on_failure == "skip":
            model.step += 1
            model.rows = next(model.batches)
            self._taken.append(_Taken(ended, before, model.parameters, rows, model.step, found, size))
        for old in [job] if ended.results is None else [each for each in self._begun if each < ended.oldest]:
            self.came.forget(old)
            self._begun.pop(old, None)

    def round_closed(self, closed: ClosedRound) -> None:
        RunRecord.round_closed(self, closed)
        self._worker_s += worker_seconds(closed)
        self._ended_s |= {outcome.job: (closed.end_s, self._worker_s) for outcome in closed.outcomes}

    def complete(self) -> None:
        """Measure all steps, in the order in which they were taken."""
        with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            for taken in self._taken:
                job = taken.ended.outcome.job
                error = math.nan if taken.found is None else self._measured(taken, taken.found)
                model = self._models[job % self.n_models]
                model.parameters, model.step = taken.after, taken.step
                self._note([Step(job % self.n_models, *self._ended_s[job], error, staleness_of(taken.ended))])
        self._taken.clear()

    def _measured(self, taken: _Taken, found: Decoded) -> float:
        """Distance of a decoded gradient from the true one, relative to its length."""
        self._worst_condition = max(self._worst_condition, found.condition)
        if not (np.isfinite(taken.before).all() and np.isfinite(found.gradient).all()):  # beyond all numbers
            return math.nan
        exact = self._results.gradient(taken.before, taken.rows)
        length = float(np.linalg.norm(exact))
        error = float(np.linalg.norm(found.gradient[: self.dimension] - exact))
        relative = error / length if length else (math.inf if error else 0.0)
        relative = relative if math.isfinite(length) else math.nan
        if taken.ended.outcome.status == "decoded" and math.isfinite(length):
            relative = self._residual(taken.ended, found, error, max(length, taken.size))
        self._errors += [] if math.isnan(relative) else [relative]
        return relative
