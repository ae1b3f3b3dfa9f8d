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
    label: str = ""  # in a figure or above a table; none: it is not for figures, and its name stands above a table
    unit: str = ""  # unless the label or the meaning says it
    higher_is_better: bool = False
    fixed: bool = False  # the same in all trials, so that it has no interval
    unfair: bool = False  # where jobs fail: who gives jobs up is done sooner, which is no merit
    type: str = ""  # on disk
    may_be_null: bool = False

    def heading(self, name: str) -> str:
        """What stands above the column of this name in a table for people: words, and the unit.

        Examples
        --------
        >>> RUNS["makespan_s"].heading("makespan_s"), RUNS["scheme"].heading("scheme")
        ('makespan (s)', 'scheme')
        """
        unit = self.unit.partition(",")[0].replace("seconds", "s")
        return (self.label or name.replace("_", " ")) + (f" ({unit})" if unit else "")


class RunRow(TypedDict, total=False):
    """One scheme in one trial of one point; each swept key is a column, too."""

    scenario: Annotated[str, Column("name of the scenario")]
    point: Annotated[int, Column("combination of swept values", "point")]
    scheme: Annotated[str, Column("label of the scheme")]
    kind: Annotated[str, Column("kind of the scheme")]
    trial: Annotated[int, Column("independent repetition")]
    engine: Annotated[str, Column("engine of the run: `events`, `vectorised` or `live`")]
    n_workers: Annotated[int, Column("workers", "workers", fixed=True)]
    n_jobs: Annotated[int, Column("jobs", "jobs", fixed=True)]
    delay_rounds: Annotated[int, Column("T of the scheme", "delay T", "rounds", fixed=True)]
    load: Annotated[float, Column("design load", "load", "share of a job, per worker and round", fixed=True)]
    computed_load: Annotated[float, Column("load computed / (workers x jobs)", "computed load", "share of a job")]
    overhead: Annotated[
        float,
        Column(
            "load computed / jobs with a gradient - 1; 1: twice the work", "overhead", "extra work, in jobs per job"
        ),
    ]
    makespan_s: Annotated[
        float, Column("end of the last round, with `round_overhead_s`", "makespan", "seconds", unfair=True)
    ]
    jobs_per_s: Annotated[
        float, Column("jobs with a gradient, exact or not / makespan", "jobs per second", higher_is_better=True)
    ]
    job_latency_mean_s: Annotated[float, Column("mean of `jobs.latency_s`", "job latency", "seconds")]
    job_latency_p50_s: Annotated[float, Column("median of `jobs.latency_s`", "50 % quantile of job latency", "seconds")]
    job_latency_p95_s: Annotated[float, Column("95 % quantile of latencies", "95 % quantile of job latency", "seconds")]
    job_latency_p99_s: Annotated[float, Column("99 % quantile of latencies", "99 % quantile of job latency", "seconds")]
    decode_failures: Annotated[int, Column("jobs that got no gradient in time", "failed jobs of a trial")]
    waited_rounds: Annotated[
        int,
        Column(
            "rounds in which the master waited beyond its rule's stopping time; `waits` in printed tables",
            "rounds in which the master waited",
        ),
    ]
    waited_s: Annotated[float, Column("sum of `rounds.waited_s`", "time waited", "seconds")]
    straggler_rate: Annotated[float, Column("stragglers / lists given", "stragglers", "share of workers with work")]
    squared_error_mean: Annotated[float, Column("mean of `jobs.squared_error`", "squared error")]
    relative_error_mean: Annotated[float, Column("mean of sqrt(squared_error / number of chunks)", "relative error")]
    error_norm_mean: Annotated[float, Column("mean of sqrt(squared_error)", "error norm", "of chunk gradients")]
    exact_share: Annotated[float, Column("jobs without error", "jobs decoded exactly", "share", higher_is_better=True)]
    uploads: Annotated[int, Column("sum of `rounds.uploads`", "uploads")]
    bytes_up: Annotated[float, Column("sum of `rounds.bytes_up`", "sent to the master", "bytes")]
    upload_s: Annotated[float, Column("sum of `rounds.upload_s`", "time on the way", "seconds")]
    final_loss: Annotated[float, Column("after the last steps, mean over models", "loss at the end")]
    final_accuracy: Annotated[float, Column("after the last steps", "accuracy at the end", higher_is_better=True)]
    gradient_error_mean: Annotated[float, Column("mean of `training.gradient_error`", "relative error of the gradient")]
    worst_residual: Annotated[float, Column("largest of any job decoded", "worst relative error of a decoded gradient")]
    worst_condition: Annotated[float, Column("largest of any job decoded", "worst condition number")]
    decode_mean_s: Annotated[float, Column("mean over jobs", "measured decoding time of a job", "seconds")]
    mean_load: Annotated[float, Column("design load, mean over workers", "mean load", "share of a job", fixed=True)]
    load_bound: Annotated[
        float,
        Column(
            "lower bound on the load of any scheme, with any delay, that tolerates the same bursts",
            "lower bound of the load",
            "share of a job",
            fixed=True,
        ),
    ]
    seconds_per_update: Annotated[
        float, Column("makespan M / jobs", "time for each model update", "seconds", unfair=True)
    ]


class RoundColumns(NamedTuple):
    """The rounds of a run."""

    round: Annotated[list[int], Column("number of the round")]
    start_s: Annotated[list[float], Column("start of the round", unit="seconds")]
    duration_s: Annotated[list[float], Column("duration, without `round_overhead_s`", unit="seconds")]
    first_finish_s: Annotated[list[float], Column("first response after the start; NaN: none", unit="seconds")]
    waited: Annotated[list[bool], Column("whether the master waited beyond the instant that its rule named")]
    waited_s: Annotated[list[float], Column("how long it waited beyond that instant", unit="seconds")]
    stragglers: Annotated[list[int], Column("workers with work that had not reported all of it")]
    uploads: Annotated[list[int], Column("messages with gradients that were sent")]
    bytes_up: Annotated[list[float], Column("size of these messages", unit="bytes")]
    upload_s: Annotated[list[float], Column("time on the way of the last message that was needed", unit="seconds")]
    phases: Annotated[list[int], Column("number of phases: how often work was given out")]
    stale: Annotated[list[int], Column("responses of earlier rounds that came since the previous round closed")]
    fresh: Annotated[list[int], Column("results of the round's own lists that came before it ended")]


class JobColumns(NamedTuple):
    """The jobs of a run."""

    job: Annotated[list[int], Column("number of the job")]
    start_round: Annotated[list[int], Column("round in which it started")]
    decoded_round: Annotated[list[int | None], Column("round in which it ended; none if it failed")]
    start_s: Annotated[list[float], Column("start of `start_round`", unit="seconds")]
    decoded_s: Annotated[list[float], Column("end of `decoded_round`; NaN if it failed", unit="seconds")]
    latency_s: Annotated[list[float], Column("from start to decoding; NaN if it failed", unit="seconds")]
    status: Annotated[list[str], Column("`decoded`, `approximate` (counts as finished) or `failed`")]
    squared_error: Annotated[list[float], Column("in squared norms of a chunk's gradient; NaN if it failed")]


class WorkerRow(TypedDict):
    """One worker in a round of a run, with `--detail workers`."""

    round: Annotated[int, Column("number of the round")]
    worker: Annotated[int, Column("number of the worker")]
    finished_s: Annotated[float, Column("after the start; inf: cut off; NaN: had no work", unit="seconds")]
    load_given: Annotated[float, Column("load of its list")]
    load_done: Annotated[float, Column("load of its list that it computed")]
    straggler: Annotated[bool, Column("whether it had not reported all of its list when the round closed")]
    startup_s: Annotated[float, Column("its start-up in this round", unit="seconds")]
    seconds_per_load: Annotated[float, Column("its time for a load of 1 in this round", unit="seconds")]
    slowdown: Annotated[float, Column("its factor of both in this round")]
    used: Annotated[bool, Column("whether a result of it, fresh or stale, was used in this round")]


class StepColumns(NamedTuple):
    """The steps of all models, with `training`; step 0 is the beginning."""

    model: Annotated[list[int], Column("number of the model")]
    step: Annotated[list[int], Column("number of the step")]
    time_s: Annotated[list[float], Column("when it was taken", unit="seconds")]
    worker_s: Annotated[list[float], Column("time that workers had been at work until then, summed", unit="seconds")]
    loss: Annotated[list[float], Column("mean over all rows of data; inf: it diverged")]
    accuracy: Annotated[list[float], Column("share of rows classified correctly; NaN for a workload without accuracy")]
    gradient_error: Annotated[list[float], Column("relative error of the gradient; NaN if none was applied")]
    staleness: Annotated[list[float], Column("mean number of updates since its results were begun; NaN if none")]


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
TIMES_TO: dict[str, tuple[Measure, str]] = {  # added to runs by `compare`: what is to be reached, and what is spent
    "time_to_accuracy": ("accuracy", "time_s"),
    "time_to_loss": ("loss", "time_s"),
    "worker_s_to_loss": ("loss", "worker_s"),
}
SUMMARY = {  # what becomes of the trials of a scheme at a point, in the order of summary.csv
    **dict.fromkeys(("load", "mean_load", "delay_rounds"), "first"),
    **dict.fromkeys(("makespan_s", "jobs_per_s", "job_latency_p50_s", "job_latency_p95_s"), "mean"),
    **dict.fromkeys(("job_latency_p99_s", "waited_rounds", "waited_s", "computed_load", "exact_share"), "mean"),
    **dict.fromkeys(("error_norm_mean", "relative_error_mean", "final_loss", "final_accuracy"), "mean"),
    **dict.fromkeys(("gradient_error_mean", "decode_mean_s"), "mean"),
    **{"worst_residual": "max", "worst_condition": "max", "decode_failures": "sum"},
}
_CHANGE = "100 (mean / mean of the baseline - 1), over the trials that both have; less than 0: it takes less"
_SETTING = {  # of a scheme, in the tables of `tune` and `advise`
    "scheme": Column("label of the scheme"),
    "makespan_s": RUNS["makespan_s"],
    "rule": Column("rule by which the master stops waiting", "master's rule"),
    "setting": Column("parameters of the scheme"),
    **{name: RUNS[name] for name in ("delay_rounds", "load")},
    **{name: Column(f"parameter {name} of the scheme") for name in ("B", "W", "s", "lam")},
    "accepts": Column("what a sequential scheme accepts: pattern, recoverable, published"),
    "assignment": Column("which worker computes which chunks"),
    "code": Column("code of the scheme, if it has a choice"),
    "kind": Column("kind of the scheme"),
    **{name: RUNS[name] for name in ("waited_rounds", "waited_s", "straggler_rate")},
}
_OF_TRACE = {
    "file": "name of the trace",
    "base_load": "load at which it was measured",
    "workers": "workers (ranks)",
    "rounds": "rounds (steps)",
    "consecutive_pairs": "pairs of rounds that are successive steps",
    "rounds_of_half": "rounds with the largest delays that have half of what stragglers cost",
    "worst_worker": "worker that costs most time",
    "worst_host": "host whose workers cost most time",
    "slowest_over_median": "mean over rounds of the slowest worker's time over the median worker's",
    "slowest_over_mean": "mean over rounds of the slowest worker's time over the mean of the workers",
    "waiting_share": "share of worker time that is waiting for the slowest of the round",
    "waiting_hours": "worker-hours of waiting per 1 000 rounds",
    "saved_worker": "share of the time saved if the worst worker had been as fast as the round's median worker",
    "saved_host": "the same for all workers of the worst host",
    "saved_slow": "the same for all workers that are slow all the time",
    "saved_all": "the same for all that are slower than the median worker: what stragglers cost",
    **{
        f"saved_slowest_{k}": f"share saved if the {k} slowest of each round had been as fast as the median"
        for k in range(11)
    },
    **{f"{name}_s": f"{name} of all times" for name in ("min", "median", "mean", "max")},
    "p95_s": "95 % quantile of all times",
    "p99_s": "99 % quantile of all times",
    "never_answered": "times that are infinite",
    "max_over_median": "largest time over the median one",
    "outlier_s": "times from this many seconds on are outliers",
    "outliers": "times that are outliers",
    "outlier_rounds": "rounds with outliers",
    "outlier_share": "share of all seconds that outliers take",
    "mu": "a worker straggles that takes over 1 + mu times as long as the reference",
    "reference": "reference worker of each round: the first, or the median one",
    "suggested_mu": "a mu that separates stragglers, if this one labels no worker or most of them",
    "straggler_rate": "share of times that are those of stragglers",
    "straggler_rate_other_reference": "the same with the other reference",
    "is_degenerate": "whether more than half of the times are those of stragglers",
    "stragglers_per_round_median": "median number of stragglers in a round",
    "stragglers_per_round_max": "largest number of stragglers in a round",
    "worst_round": "the round with most stragglers",
    "workers_ever_straggling": "workers that straggle at least once",
    "dispersion": "variance of stragglers per round over the binomial one",
    "dispersion_critical": "dispersion that independent workers exceed with a probability of 2.5 %",
    "bursts": "runs of rounds in which a worker straggles",
    "frac_bursts_len1": "share of bursts of 1 round",
    "frac_bursts_len2": "share of bursts of 2 rounds",
    "frac_bursts_len3plus": "share of longer bursts",
    "burst_mean": "mean length of a burst",
    "longest_burst": "longest burst",
    "p_again": "share of stragglers that straggle in the next round, too",
    "low": "lower end of its 95 % interval",
    "high": "upper end of its 95 % interval",
    "at_random": "the same if each round's stragglers were drawn anew among all workers",
    "at_own_rates": "the same if each worker's rounds were shuffled",
    "n_pairs": "stragglers in rounds that another round follows",
    "warm_up_rounds": "rounds of a warm-up",
    "period": "period of periodic slow rounds",
    "first_periodic_round": "first slow round of the period",
    "host_rounds": "rounds that hit one host",
    "fail_slows": "workers that become slow and stay so",
    "episodes": "fail-slows that end",
    "stalls": "rare long stalls",
    "longest_stall_s": "the longest stall",
    "slow_workers": "workers that are slow all the time",
    "slowest_worker": "the worker with the largest median factor",
    "slowest_factor": "that factor: its time over the round's median worker's",
}
_COMPARED = {  # beside swept keys
    "scheme": RUNS["scheme"],
    "metric": Column("column of `runs` that is compared"),
    "mean": Column("mean of the metric over trials"),
    "low": Column("lower end of its 95 % confidence interval (Student's t)"),
    "high": Column("upper end of that interval"),
    "interval": Column("in reports: that interval", "95 % interval"),
    "verdict": Column(
        "in reports: best, or ~ best: not distinguishable from the best (95 % interval of the paired difference "
        "contains 0)"
    ),
    "regret_percent": Column(
        "with a scheme that chooses online: 100 (mean(x / b) - 1), b the best in each trial of the schemes that do not",
        "regret",
        "%",
    ),
    "baseline": Column("scheme that changes and wins are against"),
    "n_paired": Column("trials that it and the baseline have", "paired trials"),
    "change_percent": Column(_CHANGE, "change", "%"),
    "change_low_percent": Column("lower end of its 95 % confidence interval, paired by trial (Fieller)", unit="%"),
    "change_high_percent": Column("upper end of that interval", unit="%"),
    "change_interval": Column("in reports: that interval", "95 % interval of the change", "%"),
    "won_share": Column(
        "share of trials in which it is better than the baseline; ties count half", "trials won", "share"
    ),
    "failed_jobs": Column("jobs of all trials that failed"),
    "all_jobs": Column("jobs of all trials"),
    "failure_rate": Column("share of the jobs of all trials that failed", "failed jobs", "share"),
    "failure_low": Column("lower end of its 95 % confidence interval (Wilson)", unit="share"),
    "failure_high": Column("upper end of that interval", unit="share"),
    "near_best": Column("whether it is not distinguishable from the best; ties with the best are not"),
    "ranked_by": Column("the metric, or `jobs_per_s` where schemes fail different shares of jobs"),
    "rank": Column("1 is the best at the point; equal means share a rank"),
    "n_trials": Column("trials of the scheme that count", "trials"),
    "ranked_mean": Column(
        "mean of `jobs_per_s`, by which schemes are ranked where they fail different shares of jobs", "jobs per second"
    ),
}
_TESTED = {
    "scheme": _SETTING["scheme"],
    "workers": Column("what is done about workers; nothing: all as they are", "action on workers"),
    "saved_percent": Column("on the tested rounds, against uncoded work by all workers", "time saved", "%"),
    "saved_low": Column("lower end of its 95 % interval over resamples", "saved at least", "%"),
    "saved_high": Column("upper end of its 95 % interval", "saved at most", "%"),
    "time_s": Column("makespan on the tested rounds, in order", "time", "seconds"),
    "won": Column(
        "share of resamples in which it was the fastest of all with exact gradients", "resamples won", "share"
    ),
    "relative_error": Column(
        "sqrt(squared error / number of chunks): the error of a gradient over its norm", "relative error"
    ),
    **_SETTING,
    "n_workers": Column("workers after the action", "workers"),
    "first_s": Column("makespan on the rounds of choosing", "time when chosen", "seconds"),
    "long_s": Column("makespan on the tested rounds, of a longer run", "time of a longer run", "seconds"),
}
_LEARNED = {
    "rounds": Column("rounds that the choice was made on", "rounds of choosing"),
    "time_s": Column("makespan of the choice on the tested rounds", "time when tested", "seconds"),
    **_SETTING,
}
_SLOPE = {
    "slope_s": Column("by least squares over all finite times", "slope", "seconds per load"),
    "intercept_s": Column("time at load 0 of that line", "intercept", "seconds"),
    "slope_of_medians": Column("by least squares over the median of each trace", unit="seconds per load"),
    "seconds_per_load": Column("value for a scenario: the slope of medians, or 0 if that is negative", unit="seconds"),
    "line_miss": Column("largest relative miss of a median by the line", unit="share"),
    "quadratic_miss": Column("the same by a quadratic", unit="share"),
    "is_bent": Column("whether the data need the quadratic"),
    "power": Column("p of time = a x load^p"),
    "additive_error": Column("relative error of predictions for other loads if slowness adds", unit="share"),
    "proportional_error": Column("the same if slowness multiplies", unit="share"),
    "better_effect": Column("the load effect that predicts other loads better"),
}


def _unit_of_trace(name: str) -> str:
    """The unit of a column of `info`; none: a number, a name or a count."""
    if name.endswith("_s"):
        return "seconds"
    if name.startswith(("saved_", "frac_")) or name.endswith(("_share", "_rate", "_other_reference")):
        return "share"
    units = {"waiting_hours": "worker-hours", "base_load": "share of a job", "mu": "of the reference's time"}
    units |= dict.fromkeys(("p_again", "low", "high", "at_random", "at_own_rates"), "probability")
    return units.get(name, "rounds" if name in ("burst_mean", "longest_burst", "period") else "")


DERIVED = {  # of tables that commands make of runs or traces, by the name of the table; as people read them
    "summary": {
        **{name: RUNS[name] for name in ("scheme", "makespan_s")},
        "makespan_low_s": Column("lower end of the 95 % interval of `makespan_s`", "makespan at least", "seconds"),
        "makespan_high_s": Column("upper end of the 95 % interval of `makespan_s`", "makespan at most", "seconds"),
        "change_percent": Column("100 (mean makespan / that of the first scheme - 1)", "change", "%"),
        "n_trials": Column("trials", "trials"),
        **{name: RUNS[name] for name in (*SUMMARY, "point")},
    },
    "compare": _COMPARED,
    "best": _SETTING,
    "tested": _TESTED,
    "learned": _LEARNED,
    "info": {name: Column(meaning, unit=_unit_of_trace(name)) for name, meaning in _OF_TRACE.items()},
    "load_slope": _SLOPE,
}


def derived(table: str, name: str) -> Column | None:
    """Facts of a column of a derived table; the ends of an interval are those of their column; None: it has none."""
    own = DERIVED[table]
    base, _, end = name.rpartition("_")
    if name not in own and base in own and end in ("low", "high"):
        return replace(
            own[base], meaning=f"{'lower' if end == 'low' else 'upper'} end of the 95 % interval of `{base}`"
        )
    return own.get(name)
