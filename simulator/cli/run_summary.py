"""The summary of a run, as tables and sentences."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from simulator.cli.terminal import print_table, said_load, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.results.results import Results

MOST_POINTS = 20  # whose tables are printed


def print_summary(results: Results, remarks: Iterable[str] = ()) -> None:
    """Print the results of each scheme; a table for each point, and below them what else must be known."""
    from simulator.results.compare import swept_keys
    from simulator.results.compare_text import worth
    from simulator.results.fairness import fairness
    from simulator.results.summary import name_of, summary

    keys = swept_keys(results.runs)
    table, makespan = summary(results.runs), name_of("makespan_s", results.runs)
    n_points = table["point"].nunique()
    for point, rows in itertools.islice(table.groupby("point", sort=False), MOST_POINTS):
        first = results.runs[results.runs["point"] == point].iloc[:1]
        values = {key: first[key].item() for key in keys}  # of numbers, null is NaN
        at = ", ".join(f"{key} = {'none' if value != value else value}" for key, value in values.items())
        say(f"\n{results.scenario['name']}{': ' if at else ''}{at}")
        has_errors = bool((rows["error_norm_mean"] > 0).any())
        tables = [[_summary_cells(row, makespan, has_errors) for row in rows.to_dict("records")]]
        if "final_loss" in rows and rows["final_loss"].notna().any():
            tables.append([_training_cells(row) for row in rows.to_dict("records")])
        for cells in tables:
            print_table(tuple(cells[0]), [tuple(row.values()) for row in cells])
        if rows["decode_failures"].nunique() > 1:
            say(f"Schemes failed to decode different numbers of jobs: compare jobs/s, not {makespan}s.")
    if n_points > MOST_POINTS:
        say(f"\nand {n_points - MOST_POINTS} more points: see summary.csv")
    say(f"Means over trials; {makespan} with its 95 % interval; failed: jobs in all trials.")
    worths = worth(table["n_trials"], table["makespan_s"], table["makespan_high_s"] - table["makespan_s"])
    for line in (*worths, *remarks):
        say(line)
    if "final_loss" in table:
        say(
            "final loss and accuracy: means over models and trials, on the data trained on; gradient error: mean "
            "distance from the true gradient, relative to its length; worst residual: largest one of a gradient that "
            "counts as decoded; decode: measured time of the master for a job."
        )
        _say_inexact(results)
        for label, losses in results.runs.groupby("scheme", sort=False)["final_loss"]:
            if n_diverged := int((losses == float("inf")).sum()):
                rate = "training.learning_rate is too large?"
                say(f"{label}: models diverged in {n_diverged} of {len(losses)} runs ({rate}).")
    say(f"{fairness(results)}\n")


def _training_cells(row: dict[Any, Any]) -> dict[str, str]:
    cells = {
        "final accuracy": (row["final_accuracy"], f"{100 * row['final_accuracy']:.4g} %"),
        "gradient error": (row["gradient_error_mean"], f"{row['gradient_error_mean']:.2g}"),
        "worst residual": (row["worst_residual"], f"{row['worst_residual']:.1e}"),
        "worst condition": (row["decode_mean_s"], f"{row['worst_condition']:.3g}"),
        "decode": (row["decode_mean_s"], f"{1e3 * row['decode_mean_s']:.2g} ms"),
    }
    shown = {heading: "–" if value != value else text for heading, (value, text) in cells.items()}
    return {"scheme": str(row["scheme"]), "final loss": f"{row['final_loss']:.5g}", **shown}


def _say_inexact(results: Results) -> None:
    """Name schemes whose gradients were less exact than promised: rare patterns of responses are badly conditioned."""
    import numpy as np

    from simulator.engine.training import EXACT

    runs, key = results.runs, "training.messages"
    if "training" in runs:
        is_rounded = runs["training"].astype(str).str.contains("float32")
    else:
        is_rounded = (runs[key] if key in runs else results.scenario["training"].get("messages")) == "float32"
    inexact = runs[~np.asarray(is_rounded, dtype=np.bool_) & (runs["worst_residual"] > EXACT)]
    for label, rows in inexact.groupby("scheme", sort=False):
        say(
            f"{label}: a decoded gradient was off by {rows['worst_residual'].max():.1e} of its length, more than "
            f"{EXACT:g}: its responses were badly conditioned ({rows['worst_condition'].max():.1e})."
        )


def _summary_cells(row: dict[Any, Any], makespan: str, has_errors: bool) -> dict[str, str]:
    from simulator.statistics import TIE

    half_s = row["makespan_high_s"] - row["makespan_s"]
    # equal trials differ in the last bit at most
    interval = "" if half_s != half_s else f" ± {half_s if half_s > TIE * row['makespan_s'] else 0:.3g}"
    errors = {"error norm": f"{row['error_norm_mean']:.4g}", "exact": f"{100 * row['exact_share']:.4g} %"}
    return {
        "scheme": str(row["scheme"]),
        "load": said_load(row["mean_load"], row["load"], 5),
        "T": str(row["delay_rounds"]),
        f"{makespan} s": f"{row['makespan_s']:.5g}{interval}",
        "change": f"{row['change_percent']:+.1f} %",
        "jobs/s": f"{row['jobs_per_s']:.4g}",
        "latency p50 s": _latency(row["job_latency_p50_s"]),
        "p95 s": _latency(row["job_latency_p95_s"]),
        "p99 s": _latency(row["job_latency_p99_s"]),
        "waits": f"{row['waited_rounds']:.4g}",
        "failed": str(row["decode_failures"]),
        **(errors if has_errors else {}),
    }


def _latency(seconds: float) -> str:
    return "–" if seconds != seconds else f"{seconds:.4g}"  # no job was decoded
