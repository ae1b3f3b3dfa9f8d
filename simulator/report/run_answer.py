"""The question that a run asks, and its answer: a sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.columns import RUNS
from simulator.results.compare import compare
from simulator.results.summary import name_of
from simulator.statistics import TIE

if TYPE_CHECKING:
    import pandas as pd

    from simulator.results.results import Results

MOST_NAMED = 4  # schemes, in a sentence


def metric_of(runs: pd.DataFrame) -> str:
    """The column that decides: the error of gradients where all makespans are equal, as with a master of fixed time."""
    makespan_s = runs["makespan_s"].groupby(runs["point"])
    all_equal = (makespan_s.max() <= makespan_s.min() * (1 + TIE)).all()
    return "relative_error_mean" if all_equal and runs["relative_error_mean"].max() > 0 else "makespan_s"


def question(results: Results, keys: list[str]) -> str:
    """What was run, as a question."""
    runs = results.runs
    labels = [str(label) for label in runs["scheme"].unique()]
    jobs, workers = (_span(runs[name]) for name in ("n_jobs", "n_workers"))
    where = f"{jobs} job{'' if jobs == '1' else 's'} on {workers} workers"
    at = f" at each of {runs['point'].nunique()} points ({_listed(keys)} swept)" if keys else ""
    if len(labels) == 1:
        return f"How long does {labels[0]} take for {where}{at}?"
    return f"Which of {_listed(labels)} is the best for {where}{at}?"


def answer(runs: pd.DataFrame, metric: str) -> str:
    """What `compare` says of all that is no mere reference, in a sentence."""
    real = runs[runs["kind"] != "ideal"]
    table = compare(real if len(real) else runs, metric=metric)
    if table["rank"].isna().all():
        return "That is not known: no scheme has a finite value in all trials."
    if table["point"].nunique() > 1:
        return _of_sweep(table, runs)
    errors = real.groupby("scheme")["relative_error_mean"].mean()
    best = table.loc[table["rank"] == 1, "scheme"].iloc[0]
    if metric != "makespan_s" or not errors.get(best, 0.0) > 0:
        return _of_point(table, runs)
    said = f"{_of_point(table, runs)[:-1]}; its gradients are approximate (relative error {errors[best]:.2g})"
    exact = real[real["scheme"].map(errors) == 0]
    if exact.empty:
        return f"{said}."
    return f"{said}, and the best of those with exact ones is {_of_point(compare(exact), runs)}"


def _of_point(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    first = table[table["rank"] == 1]
    row = first.to_dict("records")[0]
    interval = "" if row["high"] != row["high"] else f" [{row['low']:.5g}, {row['high']:.5g}]"
    trials = f"{row['n_trials']} trial{'s' * (row['n_trials'] > 1)}"
    unit = " s" if RUNS[row["metric"]].unit == "seconds" else ""
    said = f"{row['scheme']}: mean {name_of(row['metric'], runs)} {row['mean']:.5g}{unit}{interval} over {trials}"
    if row["ranked_by"] != row["metric"]:
        ranked_by = f"{name_of(row['ranked_by'], runs)} ({row['ranked_mean']:.4g})"
        said += f", ranked by mean {ranked_by} as schemes fail different jobs"
    if len(table) == 1:
        return f"{said}."
    if len(first) > 1:
        return f"{_listed([str(label) for label in first['scheme']])} tie: {said.partition(': ')[2]}."
    if row["scheme"] != row["baseline"] and row["change_percent"] == row["change_percent"]:
        low, high = row["change_low_percent"], row["change_high_percent"]
        ends = "" if low != low else f" [{low:+.1f}, {high:+.1f}]"
        said += f", {row['change_percent']:+.1f} %{ends} against {row['baseline']}"
    near = [str(label) for label in table.loc[table["near_best"], "scheme"]]
    if row["n_trials"] == 1:
        return f"{said}; with one trial, that may be luck unless nothing is random."
    if near:
        return f"{said}; not significantly different from {_listed(near)} (paired 95 % CI contains 0)."
    return f"{said}; significantly better than all others (paired 95 % CI)."


def _of_sweep(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    n_points = table["point"].nunique()
    first = table[table["rank"] == 1]
    doubtful = set(table.loc[table["near_best"], "point"]) | set(first.loc[first.duplicated("point"), "point"])
    counts = first["scheme"].value_counts(sort=True)
    said = []
    for label, count in list(counts.items())[:MOST_NAMED]:
        sure = (~first.loc[first["scheme"] == label, "point"].isin(doubtful)).sum()
        said.append(f"{label} at {count} of {n_points} points ({sure} of them for sure)")
    more = f"; and {len(counts) - MOST_NAMED} more schemes" if len(counts) > MOST_NAMED else ""
    return f"By mean {name_of(table['metric'].iloc[0], runs)}, the best is {'; '.join(said)}{more}."


def _span(numbers: pd.Series[int]) -> str:
    return str(numbers.min()) if numbers.min() == numbers.max() else f"{numbers.min()} to {numbers.max()}"


def _listed(names: list[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
