"""The columns of every table."""

from __future__ import annotations

TABLES = ("runs", "rounds", "jobs", "workers", "training")
LISTED = TABLES[1:]
COLUMNS = {  # of the tables that have several rows for a run, after those that say which run it is
    "rounds": {
        "round": "int64",
        "start_s": "float64",
        "duration_s": "float64",
        "first_finish_s": "float64",
        "waited": "bool",
        "waited_s": "float64",
        "stragglers": "int64",
        "uploads": "int64",
        "bytes_up": "float64",
        "upload_s": "float64",
    },
    "jobs": {
        "job": "int64",
        "start_round": "int64",
        "decoded_round": "int64",
        "start_s": "float64",
        "decoded_s": "float64",
        "latency_s": "float64",
        "status": "large_string",
        "squared_error": "float64",
    },
    "workers": {
        "round": "int64",
        "worker": "int64",
        "finished_s": "float64",
        "load_given": "float64",
        "load_done": "float64",
        "straggler": "bool",
        "startup_s": "float64",
        "seconds_per_load": "float64",
        "slowdown": "float64",
    },
    "training": {
        "model": "int64",
        "step": "int64",
        "time_s": "float64",
        "loss": "float64",
        "accuracy": "float64",
        "gradient_error": "float64",
    },
}
TRAINING_MEANS = ("final_loss", "final_accuracy", "gradient_error_mean", "decode_mean_s")
TRAINING_WORST = ("worst_residual", "worst_condition")
SUMMARY_MEANS = (
    "jobs_per_s",
    "job_latency_p50_s",
    "job_latency_p95_s",
    "job_latency_p99_s",
    "waited_rounds",
    "waited_s",
    "computed_load",
    "exact_share",
    "error_norm_mean",
    "relative_error_mean",
)
