"""The summary of a run, as tables and sentences."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from simulator.cli.terminal import print_table, say

if TYPE_CHECKING:
    from simulator.results.results import Results


def print_summary(results: Results) -> None:
    """What came out, per scheme; a table for each point."""
    from simulator.results.fairness import fairness
    from simulator.results.summary import summary
    from simulator.scenario.keys import swept_together

    keys = [key for entry in results.scenario.get("sweep", {}) for key in swept_together(entry)]
    table = summary(results.runs)
    n_points = table["point"].nunique()
    for point, rows in itertools.islice(table.groupby("point", sort=False), MOST_POINTS):
        first = results.runs[results.runs["point"] == point].iloc[:1]
        values = {key: first[key].item() for key in keys}  # of numbers, null is NaN
        at = ", ".join(f"{key} = {'none' if value != value else value}" for key, value in values.items())
        say(f"\n{results.scenario['name']}{': ' if at else ''}{at}")
        has_errors = bool((rows["error_norm_mean"] > 0).any())
        header = (*SUMMARY_HEADER, *(("error norm", "exact") if has_errors else ()))
        print_table(header, [_summary_row(row, has_errors) for row in rows.to_dict("records")])
        if "final_loss" in rows and rows["final_loss"].notna().any():
            print_table(TRAINING_HEADER, [_training_row(row) for row in rows.to_dict("records")])
        if rows["decode_failures"].nunique() > 1:
            say("Schemes failed to decode different numbers of jobs: compare jobs/s, not makespans.")
    if n_points > MOST_POINTS:
        say(f"\nand {n_points - MOST_POINTS} more points: see summary.csv")
    say("Means over trials; makespan with its 95 % interval; failed: jobs in all trials.")
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


MOST_POINTS = 20  # whose tables are printed
SUMMARY_HEADER = (
    *("scheme", "load", "T", "makespan s", "change", "jobs/s"),
    *("latency p50 s", "p95 s", "p99 s", "waits", "failed"),
)
TRAINING_HEADER = (
    *("scheme", "final loss", "final accuracy", "gradient error"),
    *("worst residual", "worst condition", "decode"),
)


def _training_row(row: dict[Any, Any]) -> tuple[str, ...]:
    return (
        str(row["scheme"]),
        f"{row['final_loss']:.5g}",
        *(
            "–" if value != value else text
            for value, text in (
                (row["final_accuracy"], f"{100 * row['final_accuracy']:.4g} %"),
                (row["gradient_error_mean"], f"{row['gradient_error_mean']:.2g}"),
                (row["worst_residual"], f"{row['worst_residual']:.1e}"),
                (row["decode_mean_s"], f"{row['worst_condition']:.3g}"),
                (row["decode_mean_s"], f"{1e3 * row['decode_mean_s']:.2g} ms"),
            )
        ),
    )


def _say_inexact(results: Results) -> None:
    """Name schemes whose gradients were less exact than promised: rare patterns of answers are badly conditioned."""
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
            f"{EXACT:g}: its answers were badly conditioned ({rows['worst_condition'].max():.1e})."
        )


def _summary_row(row: dict[Any, Any], has_errors: bool) -> tuple[str, ...]:
    from simulator.statistics import TIE

    half_s = row["makespan_high_s"] - row["makespan_s"]
    # equal trials differ in the last bit at most
    interval = "" if half_s != half_s else f" ± {half_s if half_s > TIE * row['makespan_s'] else 0:.3g}"
    latencies = (f"{row[f'job_latency_p{q}_s']:.4g}" for q in (50, 95, 99))
    return (
        str(row["scheme"]),
        f"{row['load']:.5g}",
        str(row["delay_rounds"]),
        f"{row['makespan_s']:.5g}{interval}",
        f"{row['change_percent']:+.1f} %",
        f"{row['jobs_per_s']:.4g}",
        *latencies,
        f"{row['waited_rounds']:.4g}",
        str(row["decode_failures"]),
        *((f"{row['error_norm_mean']:.4g}", f"{100 * row['exact_share']:.4g} %") if has_errors else ()),
    )
