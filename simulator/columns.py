"""Every table of a run, column by column: the rows that are recorded, what is written, and what people read of them.

The numbers come from `RunRecord.metrics` (engine/record.py), with training from engine/training.py, and from `row_of`
(execution/one_run.py), which says what the run was of.
"""

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple, TypedDict, TypeVar, get_args, get_origin, get_type_hints

from simulator.choices import Measure

Table = TypeVar("Table", "RoundColumns", "JobColumns", "StepColumns")
ON_DISK = {int: "int64", int | None: "int64", float: "float64", bool: "bool", str: "large_string"}


@dataclass(frozen=True)
class Column:
    """Facts of a column, beside what its row says: its name and type."""

    meaning: str
    label: str = ""  # in a figure; none: it is not for figures
    unit: str = ""  # unless the label or the meaning says it
    higher_is_better: bool = False
    fixed: bool = False  # the same in all trials, so that it has no interval
    unfair: bool = False  # where jobs fail: who gives jobs up is done sooner, which is no merit
    type: str = ""  # on disk
    may_be_null: bool = False


class RunRow(TypedDict, total=False):
    """One scheme in one trial of one point; each swept key is a column, too."""

    scenario: Annotated[str, Column("name of the scenario")]
    point: Annotated[int, Column("combination of swept values", "point")]
    scheme: Annotated[str, Column("label of the scheme")]
    kind: Annotated[str, Column("kind of the scheme")]
    trial: Annotated[int, Column("independent repetition")]
    engine: Annotated[str, Column("`events` or `vectorised`: what computed the run")]
    n_workers: Annotated[int, Column("workers", "workers", fixed=True)]
    n_jobs: Annotated[int, Column("jobs", "jobs", fixed=True)]
    delay_rounds: Annotated[int, Column("T of the scheme", "delay T", "rounds", fixed=True)]
    load: Annotated[float, Column("design load", "load", "share of a job, per worker and round", fixed=True)]
    computed_load: Annotated[float, Column("load computed / (workers x jobs)", "computed load", "share of a job")]
    overhead: Annotated[float, Column("load computed / jobs decoded - 1", "overhead", "extra work, in jobs per job")]
    makespan_s: Annotated[float, Column("end of the last round", "makespan", "seconds", unfair=True)]
    jobs_per_s: Annotated[float, Column("jobs decoded / makespan", "jobs per second", higher_is_better=True)]
    job_latency_mean_s: Annotated[float, Column("mean of `jobs.latency_s`", "job latency", "seconds")]
    job_latency_p50_s: Annotated[float, Column("its median", "50 % quantile of job latency", "seconds")]
    job_latency_p95_s: Annotated[float, Column("its 95 % quantile", "95 % quantile of job latency", "seconds")]
    job_latency_p99_s: Annotated[float, Column("its 99 % quantile", "99 % quantile of job latency", "seconds")]
    decode_failures: Annotated[int, Column("jobs that failed", "failed jobs of a trial")]
    waited_rounds: Annotated[int, Column("rounds that are `waited`", "rounds in which the master waited")]
    waited_s: Annotated[float, Column("sum of `rounds.waited_s`", "time waited", "seconds")]
    straggler_rate: Annotated[float, Column("stragglers / lists given", "stragglers", "share of workers with work")]
    squared_error_mean: Annotated[float, Column("mean of `jobs.squared_error`", "squared error")]
    relative_error_mean: Annotated[float, Column("mean of sqrt(squared_error / number of chunks)", "relative error")]
    error_norm_mean: Annotated[float, Column("mean of sqrt(squared_error)", "error norm", "of chunk gradients")]
    exact_share: Annotated[float, Column("jobs without error", "jobs decoded exactly", "share", higher_is_better=True)]
    uploads: Annotated[int, Column("sum of `rounds.uploads`", "uploads")]
    bytes_up: Annotated[float, Column("sum of `rounds.bytes_up`", "sent to the master", "bytes")]
    upload_s: Annotated[float, Column("sum of `rounds.upload_s`", "time on the way", "seconds")]
    final_loss: Annotated[float, Column("of last steps, mean over models", "loss at the end")]
    final_accuracy: Annotated[float, Column("of last steps", "accuracy at the end", higher_is_better=True)]
    gradient_error_mean: Annotated[float, Column("mean of `training.gradient_error`", "relative error of the gradient")]
    worst_residual: Annotated[float, Column("see training.md", "worst relative error of a decoded gradient")]
    worst_condition: Annotated[float, Column("see training.md", "worst condition number")]
    decode_mean_s: Annotated[float, Column("see training.md", "measured decoding time of a job", "seconds")]
    load_bound: Annotated[float, Column("see Schemes", "lower bound of the load", "share of a job", fixed=True)]
    seconds_per_update: Annotated[float, Column("see below", "time for each model update", "seconds", unfair=True)]


class RoundColumns(NamedTuple):
    """The rounds of a run."""

    round: Annotated[list[int], Column("number of the round")]
    start_s: Annotated[list[float], Column("its start", unit="seconds")]
    duration_s: Annotated[list[float], Column("its length, without `round_overhead_s`", unit="seconds")]
    first_finish_s: Annotated[list[float], Column("first response after the start; NaN: none", unit="seconds")]
    waited: Annotated[list[bool], Column("whether the master waited beyond the instant that its rule named")]
    waited_s: Annotated[list[float], Column("how long", unit="seconds")]
    stragglers: Annotated[list[int], Column("workers with work that had not reported all of it")]
    uploads: Annotated[list[int], Column("messages with gradients that were sent")]
    bytes_up: Annotated[list[float], Column("of these", unit="bytes")]
    upload_s: Annotated[list[float], Column("how long the last needed one was on its way", unit="seconds")]


class JobColumns(NamedTuple):
    """The jobs of a run."""

    job: Annotated[list[int], Column("number of the job")]
    start_round: Annotated[list[int], Column("round in which it started")]
    decoded_round: Annotated[list[int | None], Column("round in which it ended; none if it failed")]
    start_s: Annotated[list[float], Column("start of `start_round`", unit="seconds")]
    decoded_s: Annotated[list[float], Column("end of `decoded_round`; NaN if it failed", unit="seconds")]
    latency_s: Annotated[list[float], Column("from start to decoding; NaN if it failed", unit="seconds")]
    status: Annotated[list[str], Column("`decoded`, `approximate` or `failed`")]
    squared_error: Annotated[list[float], Column("in squared norms of a chunk's gradient; NaN if it failed")]


class WorkerRow(TypedDict):
    """One worker in a round of a run, with `--detail workers`."""

    round: Annotated[int, Column("number of the round")]
    worker: Annotated[int, Column("number of the worker")]
    finished_s: Annotated[float, Column("after the start; inf: cut off; NaN: had no work", unit="seconds")]
    load_given: Annotated[float, Column("load of its list")]
    load_done: Annotated[float, Column("load that it computed of it")]
    straggler: Annotated[bool, Column("whether it had not reported all of it")]
    startup_s: Annotated[float, Column("its start-up in this round", unit="seconds")]
    seconds_per_load: Annotated[float, Column("its time for a load of 1 in this round", unit="seconds")]
    slowdown: Annotated[float, Column("its factor of both in this round")]


class StepColumns(NamedTuple):
    """The steps of all models, with `training`; step 0 is the beginning."""

    model: Annotated[list[int], Column("number of the model")]
    step: Annotated[list[int], Column("number of the step")]
    time_s: Annotated[list[float], Column("when it was taken", unit="seconds")]
    loss: Annotated[list[float], Column("mean over all rows of data; inf: it diverged")]
    accuracy: Annotated[list[float], Column("share of rows classified correctly; NaN if nothing is classified")]
    gradient_error: Annotated[list[float], Column("relative error of the gradient; NaN if none was applied")]


def empty(table: type[Table]) -> Table:
    """Columns without a row."""
    return table._make([] for _ in table._fields)


def _columns(table: type) -> dict[str, Column]:
    found = {}
    for name, hint in get_type_hints(table, include_extras=True).items():
        kind, column = get_args(hint)
        kind = get_args(kind)[0] if get_origin(kind) is list else kind
        found[name] = replace(column, type=ON_DISK[kind], may_be_null=type(None) in get_args(kind))
    return found


KEYS = ("point", "scheme", "trial")  # which run a row is of: they stand first in all tables but runs
SCHEMAS = {"runs": RunRow, "rounds": RoundColumns, "jobs": JobColumns, "workers": WorkerRow, "training": StepColumns}
TABLES = {name: _columns(table) for name, table in SCHEMAS.items()}
RUNS = TABLES["runs"]
LISTED = tuple(TABLES)[1:]  # of which a run has several rows
NULLABLE = {name for table in TABLES.values() for name, column in table.items() if column.may_be_null}
TIMES_TO: dict[str, Measure] = {"time_to_accuracy": "accuracy", "time_to_loss": "loss"}  # added to runs by `compare`
SUMMARY = {  # what becomes of the trials of a scheme at a point, in the order of summary.csv
    **dict.fromkeys(("load", "delay_rounds"), "first"),
    **dict.fromkeys(("makespan_s", "jobs_per_s", "job_latency_p50_s", "job_latency_p95_s"), "mean"),
    **dict.fromkeys(("job_latency_p99_s", "waited_rounds", "waited_s", "computed_load", "exact_share"), "mean"),
    **dict.fromkeys(("error_norm_mean", "relative_error_mean", "final_loss", "final_accuracy"), "mean"),
    **dict.fromkeys(("gradient_error_mean", "decode_mean_s"), "mean"),
    **{"worst_residual": "max", "worst_condition": "max", "decode_failures": "sum"},
}
