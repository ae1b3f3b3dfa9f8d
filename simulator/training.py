"""Real gradients: what a run does to the models that it trains, beside how long it takes.

A record of a run that is also its value plane: it computes the chunk gradients of each job when the job begins, is
handed the gradient that the master has decoded, applies it, and writes down loss and accuracy at the time of that
round's end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, InstanceOf
from pydantic.dataclasses import dataclass as checked

from schemes.base import FloatArray, Outcome
from schemes.codec import Decoded, Precision
from simulator.engine import ClosedRound
from simulator.metrics import RunRecord, Value
from simulator.plugins import is_shipped
from simulator.waiting import SimulationError
from simulator.worker_times import stream
from workloads import Rows, Workload
from workloads.checks import accuracy_of, check_sums, gradients_of, initial_of, loss_of, n_rows_of

PositiveCount = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

EXACT = 1e-8  # largest residual of a gradient that was called decoded ...
ROUNDING = 1e-14  # ... or this times the condition number, which is what float64 can do: beyond both, the code is wrong
MOMENTUM = 0.9


@checked(frozen=True, kw_only=True)
class Training:
    """What every scheme of a scenario trains, and how.

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
    """what is trained"""
    batch: PositiveCount | None = None
    """rows of data of one job, drawn without repetition until all have been used; all of them if not given"""
    optimiser: Literal["sgd", "momentum"] = "sgd"
    """what is done with a gradient; momentum keeps 0.9 of the last step"""
    learning_rate: Positive
    """factor of the mean gradient of a job's rows"""
    on_failure: Literal["skip", "repeat"] = "skip"
    """whether a model whose job failed goes on to its next rows, or takes the same again in its next job"""
    messages: Precision = "float64"
    """in which workers send; the master computes in float64"""

    def __post_init__(self) -> None:
        n_rows = n_rows_of(self.workload)
        if self.batch is not None and self.batch > n_rows:
            raise ValueError(f"batch must be between 1 and {n_rows}, the rows of data, got {self.batch}")


@dataclass
class _Model:
    """One of the networks that are trained in turn."""

    parameters: FloatArray
    velocity: FloatArray
    batches: Iterator[Rows]
    rows: Rows
    step: int = 0


@dataclass(kw_only=True)
class TrainingRecord(RunRecord):
    """A run with what it did to the models: the collector and the value plane of one scheme in one trial.

    ``training`` holds a row for each step of each model, with the columns of the table of that name.
    """

    plan: Training
    n_models: int
    seed: int
    trial: int
    training: list[tuple[Value, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._workload = self.plan.workload
        self._models = [self._model(number) for number in range(self.n_models)]
        self._chunks: dict[int, tuple[FloatArray, list[slice]]] = {}
        self._new: list[tuple[int, int, float, float, float]] = []  # steps of the round that is closing
        self._decode_s: list[float] = []
        self._errors: list[float] = []  # relative, of all gradients that were applied
        self._worst_residual, self._worst_condition = math.nan, 1.0  # nothing was called exact yet
        self._is_shipped = is_shipped(self._workload)  # and tested
        if not self._is_shipped:
            check_sums(self._workload, self._models[0].parameters)
        for number in range(self.n_models):
            self._note(number, math.nan)
        self._write(0.0)

    def _model(self, number: int) -> _Model:
        """Beginnings and batches belong to a model of a trial: they are the same under every scheme."""
        parameters = initial_of(self._workload, lambda: stream(self.seed, self.trial, "model", str(number)))
        batches = _batches(
            self._workload.n_rows, self.plan.batch, stream(self.seed, self.trial, "batches", str(number))
        )
        return _Model(parameters, np.zeros_like(parameters), batches, next(batches))

    def begin(self, job: int, chunk_loads: FloatArray) -> FloatArray:
        """Gradients summed over the rows of each chunk of a job."""
        model = self._models[job % self.n_models]
        rows = model.rows
        chunks = self._cut(chunk_loads, self._n_rows(rows))
        held = chunks if isinstance(rows, slice) else [rows[chunk] for chunk in chunks]
        with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            gradients = gradients_of(self._workload, model.parameters, held, rows)
        if self._is_shipped:
            return gradients
        if not np.isfinite(gradients).all():
            raise ValueError(f"gradients of {type(self._workload).__name__} must be finite, got others")
        return gradients.copy()  # it may use the array again while the job is in flight

    def _n_rows(self, rows: Rows) -> int:
        return self._workload.n_rows if isinstance(rows, slice) else len(rows)

    def _cut(self, chunk_loads: FloatArray, n_rows: int) -> Sequence[slice]:
        """Neighbouring rows for each chunk, as many as its load says, to rounding."""
        known = self._chunks.get(n_rows)
        if known is None or known[0] is not chunk_loads:
            ends = np.rint(np.cumsum(chunk_loads) * n_rows).astype(np.int64).tolist()
            known = chunk_loads, [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
            self._chunks[n_rows] = known
        return known[1]

    def end(self, outcome: Outcome, decoded: Decoded | None, gradients: FloatArray) -> None:
        """Apply what was decoded."""
        number = outcome.job % self.n_models
        model = self._models[number]
        if decoded is None:
            if self.plan.on_failure == "repeat":
                return
        else:
            error = self._check(outcome, decoded, gradients)
            with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
                model.velocity *= MOMENTUM if self.plan.optimiser == "momentum" else 0.0
                model.velocity += decoded.gradient / self._n_rows(model.rows)
                model.parameters = model.parameters - self.plan.learning_rate * model.velocity
            model.parameters.setflags(write=False)  # a workload must leave them as they are
        model.step += 1
        model.rows = next(model.batches)
        self._note(number, math.nan if decoded is None else error)

    def _check(self, outcome: Outcome, decoded: Decoded, gradients: FloatArray) -> float:
        """Relative error of a decoded gradient; remember the worst of those that are called exact."""
        exact = np.ones(len(gradients)) @ gradients
        difference, length = decoded.gradient - exact, math.sqrt(exact @ exact)
        error = math.sqrt(difference @ difference)
        self._decode_s.append(decoded.decode_s)
        self._worst_condition = max(self._worst_condition, decoded.condition)
        if outcome.status == "decoded":
            # near an optimum chunks cancel, and their sum is rounding: there, their own size is the measure
            scale = length if error <= self._worst_residual * length else _size(gradients, length)
            residual = error / scale if scale else 0.0
            self._worst_residual = max(residual, self._worst_residual)  # NaN gives way
            allowed = max(EXACT, ROUNDING * decoded.condition)
            if self.plan.messages == "float64" and not residual <= allowed:
                raise SimulationError(
                    f"job {outcome.job}: its decoded gradient must be that of all its rows to {allowed:.2g}, got a "
                    f"relative error of {residual:.2g}, condition number {decoded.condition:.2g}"
                )
        self._errors.append(error / length if length else (math.inf if error else 0.0))
        return self._errors[-1]

    def _note(self, number: int, error: float) -> None:
        model = self._models[number]
        with np.errstate(over="ignore", invalid="ignore"):
            loss = loss_of(self._workload, model.parameters)
        if not math.isfinite(loss):
            hint = " (training.learning_rate is too large?)" if model.step else ""
            raise SimulationError(f"model {number}, step {model.step}: its loss must be finite, got {loss:g}{hint}")
        accuracy = accuracy_of(self._workload, model.parameters)
        self._new.append((number, model.step, loss, accuracy, error))

    def _write(self, time_s: float) -> None:
        self.training += [(model, step, time_s, *measured) for model, step, *measured in self._new]
        self._new = []

    def round_closed(self, closed: ClosedRound) -> None:
        super().round_closed(closed)
        self._write(closed.end_s)

    def figures(self, n_error_blocks: int | None) -> dict[str, float]:
        """Those of the run, with loss and accuracy at the end (means over models) and how exact gradients were."""
        last = {row[0]: row for row in self.training}.values()
        return super().figures(n_error_blocks) | {
            "final_loss": float(np.mean([row[3] for row in last])),
            "final_accuracy": float(np.mean([row[4] for row in last])),
            "gradient_error_mean": float(np.mean(self._errors)) if self._errors else math.nan,
            "worst_residual": self._worst_residual,
            "worst_condition": self._worst_condition,
            "decode_mean_s": float(np.mean(self._decode_s)) if self._decode_s else math.nan,
        }


def _size(gradients: FloatArray, length: float) -> float:
    """Root of the chunks' squared norms, at least the length of their sum."""
    return max(length, math.sqrt(np.vdot(gradients, gradients)))


def _batches(n_rows: int, batch: int | None, rng: np.random.Generator) -> Iterator[Rows]:
    """Rows of one step after another: all of them, or batches that use all rows before any comes again.

    What is left at the end of a shuffled order is less than a batch, and is left out.
    """
    while batch is None:
        yield slice(None)
    while True:
        order = rng.permutation(n_rows)
        for first in range(0, n_rows - batch + 1, batch):
            yield order[first : first + batch]
