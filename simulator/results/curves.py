"""Loss and accuracy against time or the time of workers, and when they reach a target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.choices import Measure
from simulator.columns import KEYS, TIMES_TO
from simulator.parameters import FloatArray
from simulator.results.compare import CompareError
from simulator.results.results import Results

if TYPE_CHECKING:
    import pandas as pd


class Curve(NamedTuple):
    """The mean over the models of a run, which stays as it is from each time to the next; or each time of workers."""

    times_s: FloatArray
    values: FloatArray

    def at(self, times_s: FloatArray) -> FloatArray:
        """Values at some times from 0 on; after the last step, those of the end."""
        return self.values[np.searchsorted(self.times_s, times_s, side="right") - 1]

    def reaches(self, measure: Measure, target: float) -> float:
        """Return when it is first at the target: at least it for accuracy, at most it for loss; else NaN.

        Examples
        --------
        >>> curve = Curve(np.array([0.0, 2.0, 5.0]), np.array([0.1, 0.7, 0.9]))
        >>> curve.reaches("accuracy", 0.7), curve.reaches("accuracy", 0.95), curve.reaches("loss", 0.5)
        (2.0, nan, 0.0)
        """
        there = self.values >= target if measure == "accuracy" else self.values <= target
        return float(self.times_s[np.argmax(there)]) if there.any() else math.nan


def curves(
    training: pd.DataFrame, measure: Measure, spent: str = "time_s"
) -> Iterator[tuple[tuple[Any, str, Any], Curve]]:
    """The curve of each run, with its point, scheme and trial.

    Parameters
    ----------
    training
        The table of that name.
    measure
        A column of it.
    spent
        Another one, of what has been spent until each step.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [(0, 0.0, 4.0), (1, 0.0, 2.0), (0, 1.0, 2.0), (1, 3.0, 1.0)]
    >>> training = pd.DataFrame(rows, columns=["model", "time_s", "loss"]).assign(point=0, scheme="GC", trial=0)
    >>> [(_, curve)] = curves(training, "loss")
    >>> curve.times_s, curve.values
    (array([0., 1., 3.]), array([3. , 2. , 1.5]))
    """
    for (point, scheme, trial), steps in training.groupby(list(KEYS), sort=False):
        by_model = steps.pivot_table(index=spent, columns="model", values=measure, aggfunc="last", dropna=False)
        mean = by_model.ffill().mean(axis=1, skipna=False)
        yield (point, str(scheme), trial), Curve(mean.index.to_numpy(np.float64), mean.to_numpy(np.float64))


def with_time_to(results: Results, metric: str, target: float) -> tuple[pd.DataFrame, list[str]]:
    """The table of runs with one more column, and what has to be said about it.

    The column is the time at which the mean of all models is at the target, or that of all workers until then. A scheme
    that does not get there in every trial has none at all: the mean of its lucky trials would flatter it.

    Raises
    ------
    CompareError
        If nothing was trained, or nothing is classified.
    """
    if results.training is None:
        raise CompareError(f"--metric: must be a column of runs, got {metric}, which needs a scenario with training")
    measure, spent = TIMES_TO[metric]
    if results.training[measure].isna().all():
        raise CompareError(
            f"--metric: must be time_to_loss or worker_s_to_loss for a workload without accuracy, got {metric}"
        )
    times_s: dict[Any, float] = {}
    best: dict[Any, float] = {}
    for run, curve in curves(results.training, measure, spent):
        times_s[run] = curve.reaches(measure, target)
        best[run] = float(curve.values.max() if measure == "accuracy" else curve.values.min())
    keys = list(results.runs[list(KEYS)].itertuples(index=False, name=None))
    runs = results.runs.assign(
        **{metric: [times_s.get(key, math.nan) for key in keys], "best": [best.get(key, math.nan) for key in keys]}
    )
    # where runs have failed, a scheme has fewer than others
    n_trials: dict[Any, int] = runs.groupby("point")["trial"].nunique().to_dict()
    groups = runs.groupby(["point", "scheme"], sort=False)
    is_short = groups[metric].transform("count") < runs["point"].map(n_trials)
    sign = "at least" if measure == "accuracy" else "at most"
    goal = f"the mean {measure} of all models is {sign} {target:g}"
    seconds = "simulated seconds" if spent == "time_s" else "worker-seconds (time at work, summed over workers)"
    remarks = [f"{metric}: {seconds} until {goal} for the first time."]
    for (point, scheme), rows in groups:
        at = f" at point {point}" if runs["point"].nunique() > 1 else ""
        times, short = rows[metric], rows.loc[rows[metric].isna(), "best"]
        if rows["best"].isna().all():
            remarks.append(f"{scheme}{at}: has no {measure}.")
        elif times.count() < n_trials[point]:
            nearest = short.iloc[(short - target).abs().argmin()] if len(short) else None
            came = "failed" if nearest is None else f"came to {measure} {nearest:.4g}"
            reached = f"reached in {times.count()} of {n_trials[point]} trials"
            remarks.append(f"{scheme}{at}: {reached}, so it has no mean time (the others {came}).")
        elif not times.any():
            remarks.append(f"{scheme}{at}: had reached it before the first step.")
    runs.loc[is_short, metric] = np.nan
    return runs.drop(columns="best"), remarks
