"""A row for each point and scheme: means over trials, with confidence intervals."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.columns import RUNS, SUMMARY
from simulator.statistics import half_width

if TYPE_CHECKING:
    import pandas as pd


def name_of(column: str, runs: pd.DataFrame) -> str:
    """What a column of runs is called; the makespan of single jobs is their completion time, as in the papers."""
    is_of_one_job = column == "makespan_s" and (runs["n_jobs"] == 1).all()
    return "completion time" if is_of_one_job else RUNS[column].label


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Per point and scheme: means over trials, a 95 % interval of the makespan, change against the first scheme.

    The interval is Student's t over trials, NaN for a single one. The change is a ratio of mean makespans, in
    percent; it means little where schemes fail to decode different numbers of jobs (compare jobs_per_s then).
    After training there are also loss and accuracy at the end, and the code's worst residual and condition number.
    """
    groups = runs.groupby(["point", "scheme"], sort=False)
    table = groups.agg({name: how for name, how in SUMMARY.items() if name in runs})
    table["n_trials"] = groups.size()
    half_s, after = half_width(groups["makespan_s"].std(), table["n_trials"]), list(table).index("makespan_s") + 1
    table.insert(after, "makespan_high_s", table["makespan_s"] + half_s)
    table.insert(after, "makespan_low_s", table["makespan_s"] - half_s)
    table = table.reset_index()
    first = table.groupby("point", sort=False)["makespan_s"].transform("first")
    table["change_percent"] = 100 * (table["makespan_s"] / first - 1)
    return table


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write what pandas' own ``to_csv`` writes, with each value of a column made into text once."""
    import pandas as pd

    columns = []
    for name in table:
        codes, values = pd.factorize(table[name])
        texts = np.array([*map(str, values.tolist()), ""], dtype=object)  # of nothing, whose code is -1
        columns.append(texts[codes].tolist())
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator=os.linesep)
        rows.writerow(table.columns)
        rows.writerows(zip(*columns, strict=True))
