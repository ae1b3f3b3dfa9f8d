"""Real gradients: what a run does to the models that it trains, beside how long it takes.

A record of a run that is also its value plane. Values follow times: some time after all jobs of a turn, one of each
model, have ended, it computes their chunk gradients, has them decoded from the responses that the master had, applies
them, and writes down loss and accuracy at the times at which the jobs ended. A model's job ends before its next one
begins: so the jobs of a turn do not depend on each other, and begin with the parameters that the turn before has left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import ConfigDict, InstanceOf
from pydantic.dataclasses import dataclass as checked

from schemes.base.codec import Decode, Decoded, Ended, Precision
from simulator.columns import RunRow, StepColumns, empty
from simulator.engine.events import ClosedRound
from simulator.engine.optimisers import OPTIMISERS, Optimiser, OptimiserName
from simulator.engine.record import RunRecord
from simulator.engine.result_gradients import Begun, ResultGradients, n_rows_of
from simulator.engine.streams import stream
from simulator.engine.worker_seconds import worker_seconds
from simulator.errors import SimulationError, is_shipped
from simulator.parameters import FloatArray, Positive, PositiveCount, TakesNumpy
from workloads import Rows, Workload
from workloads.base import Measured
from workloads.guards import check_parts, count_of, initial_of, measured_of

Item = TypeVar("Item")
EXACT = 1e-8  # largest residual of a gradient that was called decoded ...
ROUNDING = 1e-14  # ... or this times the condition number, which is what float64 can do: beyond both, the code is wrong
BURST = 64  # jobs that have ended before values are computed: going to and fro costs a processor its caches
ROOM = 4_000_000  # numbers: the chunk gradients that are computed together have no more, unless those of one job have


@checked(frozen=True, kw_only=True)
class Training(TakesNumpy):
    """Training on the gradients, the same for every scheme of a scenario.

    Examples
    --------
    >>> from workloads import LeastSquares
    >>> Training(workload=LeastSquares(), learning_rate=0.5).batch is None
    True
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

    workload: InstanceOf[Workload]
    """model and data that are trained"""
    batch: PositiveCount | None = None
    """rows of data of one job, one batch after another of a shuffled order; all of them if not given"""
    optimiser: OptimiserName = "sgd"
    """how a gradient changes the parameters; momentum adds 0.9 times the last step"""
    learning_rate: Positive
    """factor of the mean gradient of a job's rows"""
    on_failure: Literal["skip", "repeat"] = "skip"
    """skip: a model whose job failed goes on to its next rows; repeat: its next job takes the same rows again"""
    messages: Precision = "float64"
    """precision of messages; the master computes in float64"""

    def __post_init__(self) -> None:
        n_rows = count_of(self.workload, "n_rows")
        if self.batch is not None and self.batch > n_rows:
            raise ValueError(f"batch must be between 1 and {n_rows}, the rows of data, got {self.batch}")


@dataclass
class _Model:
    """One of the networks that are trained in turn."""

    parameters: FloatArray
    optimiser: Optimiser
    batches: Iterator[Rows]
    rows: Rows
    step: int = 0
    has_diverged: bool = False


class Step(NamedTuple):
    """A step of a model; step 0 is its beginning."""

    model: int
    time_s: float
    worker_s: float
    gradient_error: float
    staleness: float


def staleness_of(ended: Ended) -> float:
    """Mean number of updates between the beginning of a result and its use."""
    if ended.results is None:
        return 0.0
    return float(np.mean([ended.outcome.job - one.job for one in ended.results])) if ended.results else math.nan


@dataclass(kw_only=True)
class TrainingRecord(RunRecord):
    """A run with what it did to the models: the collector and the value plane of one scheme in one trial.

    ``training`` holds the steps of all models, in the order of their jobs.
    """

    plan: Training
    n_models: int
    seed: int
    trial: int
    training: StepColumns = field(default_factory=lambda: empty(StepColumns))

    def __post_init__(self) -> None:
        self._workload = self.plan.workload
        self._models = [self._model(number) for number in range(self.n_models)]
        self._chunks: dict[int, tuple[FloatArray, list[slice]]] = {}
        self._ended_jobs: dict[int, Ended] = {}
        self._ended_s: dict[int, tuple[float, float]] = {}  # with the seconds of all workers until then
        self._worker_s = 0.0
        self._turn = range(0, min(self.n_models, self.n_jobs))  # the jobs whose gradients are used next
        self._results = ResultGradients(self._workload, self.plan.learning_rate, self._cut)
        self._buffer = np.empty(0)
        self._decode_s: list[float] = []
        self._errors: list[float] = []  # relative, of all gradients that were applied
        self._worst_residual, self._worst_condition = math.nan, 1.0  # nothing was called exact yet
        self._is_shipped = is_shipped(self._workload)  # and tested
        with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            if not self._is_shipped:
                check_parts(self._workload, self._models[0].parameters)
            self._note([Step(number, 0.0, 0.0, math.nan, math.nan) for number in range(self.n_models)])

    def _model(self, number: int) -> _Model:
        """Make a model of the trial; its beginning and its batches are the same under every scheme."""
        parameters = initial_of(self._workload, lambda: stream(self.seed, self.trial, "model", str(number)))
        shuffles = stream(self.seed, self.trial, "batches", str(number))
        batches = _batches(self._workload.n_rows, self.plan.batch, shuffles)
        return _Model(parameters, OPTIMISERS[self.plan.optimiser](), batches, next(batches))

    def _cut(self, chunk_loads: FloatArray, n_rows: int) -> Sequence[slice]:
        """Neighbouring rows for each chunk, as many as its load says, to rounding."""
        known = self._chunks.get(n_rows)
        if known is None or known[0] is not chunk_loads:
            ends = np.rint(np.cumsum(chunk_loads) * n_rows).astype(np.int64).tolist()
            known = chunk_loads, [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
            self._chunks[n_rows] = known
        return known[1]

    def end(self, ended: Ended) -> None:
        """Remember it for its turn."""
        self._ended_jobs[ended.outcome.job] = ended

    def round_closed(self, closed: ClosedRound) -> None:
        super().round_closed(closed)
        self._worker_s += worker_seconds(closed)
        for outcome in closed.outcomes:
            self._ended_s[outcome.job] = closed.end_s, self._worker_s
            if closed.index >= outcome.job + self.n_models:
                raise SimulationError(
                    f"job {outcome.job}: must have ended when the next one of its model began, in round "
                    f"{outcome.job + self.n_models}, got round {closed.index} (is delay_rounds of the scheme right?)"
                )
        if len(self._ended_s) >= BURST or len(self._ended) == self.n_jobs:
            with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
                self._take_turns()

    def _take_turns(self) -> None:
        """Compute the values of all turns whose jobs have ended."""
        while self._turn and all(job in self._ended_s for job in self._turn):
            self._take_turn([self._ended_jobs.pop(job) for job in self._turn])
            self._turn = range(self._turn.stop, min(self._turn.stop + self.n_models, self.n_jobs))
        if not self._turn:
            self._buffer = np.empty(0)  # records of runs that are over wait for others

    def _take_turn(self, turn: Sequence[Ended]) -> None:
        """Apply what was decoded: a job of each model."""
        errors = dict.fromkeys(self._turn, math.nan)
        of_use = [ended for ended in turn if not self._model_of(ended).has_diverged]
        of_results = [ended for ended in of_use if ended.results is not None]
        for ended in of_results:
            errors |= self._apply_results(ended)
        with_chunks = [ended for ended in of_use if ended.results is None and ended.outcome.status != "failed"]
        for jobs in self._together(with_chunks):
            errors |= self._apply(jobs)
        seconds = {job: self._ended_s.pop(job) for job in self._turn}
        steps = []
        for ended in of_use:
            if ended.outcome.status != "failed" or self.plan.on_failure == "skip":
                model, job = self._model_of(ended), ended.outcome.job
                model.step += 1
                model.rows = next(model.batches)
                steps.append(Step(job % self.n_models, *seconds[job], errors[job], staleness_of(ended)))
        self._note(steps)

    def _apply_results(self, ended: Ended) -> dict[int, float]:
        """Compute results at the parameters that each was begun with, and use what is decoded from them."""
        model, job, results = self._model_of(ended), ended.outcome.job, ended.results
        assert results is not None
        further = [next(model.batches) for _ in range(max((one.steps for one in results), default=1) - 1)]
        self._results.begin(job, Begun(model.parameters, [model.rows, *further]))
        if ended.outcome.status == "failed":
            return {}
        gradients = np.empty((len(results), len(model.parameters)))  # there may be none, with older ones that are kept
        for place, result in zip(gradients, results, strict=True):
            place[:] = self._results.computed(result, ended.chunk_loads)
        self._results.forget(ended.oldest)
        (found,) = ended.decode([ended.responses], gradients[:, np.newaxis])
        self._decode_s.append(found.decode_s)
        exact = self._results.gradient(model.parameters, model.rows)
        length, error = float(np.linalg.norm(exact)), float(np.linalg.norm(found.gradient - exact))
        step = model.optimiser.step(found.gradient / n_rows_of(model.rows, self._workload))
        model.parameters = model.parameters - self.plan.learning_rate * step
        relative = error / length if length else (math.inf if error else 0.0)
        relative = relative if math.isfinite(length) else math.nan
        self._errors += [] if math.isnan(relative) else [relative]
        return {job: relative}

    def _model_of(self, ended: Ended) -> _Model:
        return self._models[ended.outcome.job % self.n_models]

    def _together(self, turn: Sequence[Ended]) -> Iterator[Sequence[Ended]]:
        """Jobs of one code on the same rows: all that can be computed at once."""

        def data(ended: Ended) -> tuple[Decode, int, int | None]:
            rows = self._model_of(ended).rows
            return ended.decode, id(ended.chunk_loads), None if isinstance(rows, slice) else id(rows)

        for _, group in itertools.groupby(turn, data):
            jobs = list(group)
            n_numbers = len(jobs[0].chunk_loads) * len(self._models[0].parameters)
            yield from _blocks(jobs, max(1, min(self._workload.models_at_once, ROOM // n_numbers)))

    def _apply(self, jobs: Sequence[Ended]) -> dict[int, float]:
        """Compute the gradients of some jobs, decode and use them; returns their relative errors."""
        rows = self._model_of(jobs[0]).rows
        n_rows = self._workload.n_rows if isinstance(rows, slice) else len(rows)
        chunks = self._cut(jobs[0].chunk_loads, n_rows)
        held = chunks if isinstance(rows, slice) else [rows[chunk] for chunk in chunks]
        parameters = self._stack([self._model_of(ended) for ended in jobs])
        shape = (len(chunks), *parameters.shape)
        if self._buffer.shape != shape:  # else used again: a new one costs more than what is written into it
            self._buffer = np.empty(shape)
        gradients = self._buffer
        if not self._is_shipped:
            gradients.fill(np.nan)  # what it leaves out shows
        self._workload.chunk_gradients(parameters, held, rows, gradients)
        if not self._is_shipped and not np.isfinite(gradients).all():
            raise ValueError(f"gradients of {type(self._workload).__name__} must be finite, got other values")
        decoded = self._decoded(jobs, gradients)
        errors = self._check(jobs, decoded, gradients)
        for ended, (gradient, *_) in zip(jobs, decoded, strict=True):
            model = self._model_of(ended)
            step = model.optimiser.step(gradient / n_rows)
            model.parameters = model.parameters - self.plan.learning_rate * step
        return errors

    @staticmethod
    def _decoded(jobs: Sequence[Ended], gradients: FloatArray) -> Sequence[Decoded]:
        """Decode the responses as the master does, which must leave the chunk gradients as they are."""
        given = gradients.view()
        given.setflags(write=False)
        decoded = jobs[0].decode([ended.responses for ended in jobs], given)
        got, shape = [np.shape(found.gradient) for found in decoded], gradients.shape[2:]
        if got != [shape] * len(jobs):
            raise ValueError(f"decode must give a gradient of shape {shape} for each of {len(jobs)} jobs, got {got}")
        return decoded

    @staticmethod
    def _stack(models: Sequence[_Model]) -> FloatArray:
        """Parameters, shape ``(n_models, dimension)``; a workload must leave them as they are."""
        parameters = np.array([model.parameters for model in models])
        parameters.setflags(write=False)
        return parameters

    def _check(self, jobs: Sequence[Ended], decoded: Sequence[Decoded], gradients: FloatArray) -> dict[int, float]:
        """Relative errors of decoded gradients; remember the worst of those that are called exact."""
        n_chunks, n_jobs, dimension = gradients.shape
        exact = (np.ones(n_chunks) @ gradients.reshape(n_chunks, -1)).reshape(n_jobs, dimension)
        lengths = np.linalg.norm(exact, axis=1).tolist()
        errors = np.linalg.norm(np.stack([found.gradient for found in decoded]) - exact, axis=1).tolist()
        relative = {}
        for place, (ended, found, error, length) in enumerate(zip(jobs, decoded, errors, lengths, strict=True)):
            self._decode_s.append(found.decode_s)
            self._worst_condition = max(self._worst_condition, found.condition)
            job = ended.outcome.job
            relative[job] = error / length if length else (math.inf if error else 0.0)
            if not math.isfinite(length):  # beyond all numbers
                relative[job] = math.nan
            elif ended.outcome.status == "decoded":
                residual = self._check_exact(ended, found, error, length, gradients[:, place])
                if error > EXACT * length:
                    relative[job] = residual
        self._errors += [error for error in relative.values() if not math.isnan(error)]
        return relative

    def _check_exact(self, ended: Ended, decoded: Decoded, error: float, length: float, gradients: FloatArray) -> float:
        """Residual of a gradient that is called exact."""
        # near an optimum chunks cancel, and their sum is rounding: there, their own size is the measure
        # (which takes time, and is not needed where it changes nothing: no new worst, and nothing to complain of)
        is_usual = error <= min(self._worst_residual, EXACT) * length
        scale = length if is_usual else max(length, float(np.linalg.norm(gradients)))
        return self._residual(ended, decoded, error, scale)

    def _residual(self, ended: Ended, decoded: Decoded, error: float, scale: float) -> float:
        """Residual of a gradient that is called exact, which must be one."""
        residual = error / scale if scale else 0.0
        self._worst_residual = max(residual, self._worst_residual)  # NaN gives way
        allowed = max(EXACT, ROUNDING * decoded.condition)
        if self.plan.messages == "float64" and not residual <= allowed:
            raise SimulationError(
                f"job {ended.outcome.job}: its decoded gradient must be that of all its rows to {allowed:.2g}, got a "
                f"relative error of {residual:.2g}, condition number {decoded.condition:.2g}"
            )
        return residual

    def _note(self, steps: Sequence[Step]) -> None:
        """Measure some models that have made a step."""
        measured: list[Measured] = []
        for block in _blocks(steps, self._workload.models_at_once):
            measured += measured_of(self._workload, self._stack([self._models[step.model] for step in block]))
        for (number, time_s, worker_s, error, staleness), (loss, accuracy) in zip(steps, measured, strict=True):
            model = self._models[number]
            if not model.step and not math.isfinite(loss):
                raise SimulationError(f"model {number}: its loss must be finite at the beginning, got {loss:g}")
            if not math.isfinite(loss):
                model.has_diverged, loss = True, math.inf
            self.training.model.append(number)
            self.training.step.append(model.step)
            self.training.time_s.append(time_s)
            self.training.worker_s.append(worker_s)
            self.training.loss.append(loss)
            self.training.accuracy.append(accuracy)
            self.training.gradient_error.append(error)
            self.training.staleness.append(staleness)

    def metrics(self, n_error_blocks: int | None) -> RunRow:
        """Those of the run, with loss and accuracy at the end (means over models) and how exact gradients were."""
        last = {model: place for place, model in enumerate(self.training.model)}.values()
        return super().metrics(n_error_blocks) | {
            "final_loss": float(np.mean([self.training.loss[place] for place in last])),
            "final_accuracy": float(np.mean([self.training.accuracy[place] for place in last])),
            "gradient_error_mean": float(np.mean(self._errors)) if self._errors else math.nan,
            "worst_residual": self._worst_residual,
            "worst_condition": self._worst_condition,
            "decode_mean_s": float(np.mean(self._decode_s)) if self._decode_s else math.nan,
        }


def _blocks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Neighbours, so many at a time.

    Examples
    --------
    >>> list(_blocks("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _batches(n_rows: int, batch: int | None, rng: np.random.Generator) -> Iterator[Rows]:
    """Rows of one step after another: all of them, or batches of a shuffled order, one after another.

    What is left at the end of a shuffled order is less than a batch, and is left out.
    """
    while batch is None:
        yield slice(None)
    while True:
        order = rng.permutation(n_rows)
        for first in range(0, n_rows - batch + 1, batch):
            yield order[first : first + batch]
