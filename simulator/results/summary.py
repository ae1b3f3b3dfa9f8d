"""A row for each point and scheme: means over trials, with confidence intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.results.columns import SUMMARY_MEANS, TRAINING_MEANS, TRAINING_WORST
from simulator.statistics import half_width

if TYPE_CHECKING:
    import pandas as pd


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Per point and scheme: means over trials, a 95 % interval of the makespan, change against the first scheme.

    The interval is Student's t over trials, NaN for a single one. The change is a ratio of mean makespans, in
    percent; it means little where schemes fail to decode different numbers of jobs (compare jobs_per_s then).
    After training there are also loss and accuracy at the end, and the code's worst residual and condition number.
    """
    groups = runs.groupby(["point", "scheme"], sort=False)
    n_trials, makespan_s = groups.size(), groups["makespan_s"].mean()
    half_s = half_width(groups["makespan_s"].std(), n_trials)
    table = groups[["load", "delay_rounds"]].first()
    table["makespan_s"] = makespan_s
    table["makespan_low_s"], table["makespan_high_s"] = makespan_s - half_s, makespan_s + half_s
    table[list(SUMMARY_MEANS)] = groups[list(SUMMARY_MEANS)].mean()
    if "final_loss" in runs:
        table[list(TRAINING_MEANS)] = groups[list(TRAINING_MEANS)].mean()
        table[list(TRAINING_WORST)] = groups[list(TRAINING_WORST)].max()
    table["decode_failures"] = groups["decode_failures"].sum()
    table["n_trials"] = n_trials
    table = table.reset_index()
    first = table.groupby("point", sort=False)["makespan_s"].transform("first")
    table["change_percent"] = 100 * (table["makespan_s"] / first - 1)
    return table
