"""Paired statistics: which scheme is better at each point, by how much, and whether that could be luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.columns import KEYS, RUNS, TIMES_TO
from simulator.errors import UserError, did_you_mean
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.statistics import interval_of_change, is_tie, is_undecided, mean_and_half_width, wilson

if TYPE_CHECKING:
    import pandas as pd

HIGHER_IS_BETTER = [name for name, column in RUNS.items() if column.higher_is_better]  # of all others, less is better
UNFAIR_WITH_FAILURES = [name for name, column in RUNS.items() if column.unfair]
CHOOSES = "adaptive"  # kind of the schemes that choose on line among others
LEAST_TRIALS, MOST_TRIALS = 10, 10_000


class CompareError(UserError, ValueError):
    """A comparison that can't be made, in one sentence."""


def compare(runs: pd.DataFrame, *, baseline: str | None = None, metric: str = "makespan_s") -> pd.DataFrame:
    """Compare the schemes at each point by a metric, paired by trial.

    All schemes of a trial met the same worker times, so that pairing removes most of the luck. Where schemes failed to
    decode different numbers of jobs, makespans are not comparable, and ranks are by jobs_per_s.

    Parameters
    ----------
    runs
        The runs table of :class:`Results`. Trials may be missing: a pair of schemes is compared over
        the trials for which both have a value (NaN is none).
    baseline
        Label of the scheme that the others are compared with; the first one if None.
    metric
        A numeric column of ``runs``. More is better for jobs_per_s, exact_share and final_accuracy, less for others.

    Returns
    -------
    table : DataFrame
        A row for each point and scheme: ``point``, swept keys, ``scheme``, ``metric``, ``n_trials``;
        ``mean`` of the metric with its 95 % interval ``low``, ``high``;
        ``regret_percent``, where a scheme chooses on line: how much worse each did than the best of the others in
        hindsight, trial by trial, on average;
        ``baseline``, ``n_paired`` (trials that both have), ``change_percent`` with its 95 % interval
        ``change_low_percent``, ``change_high_percent``, and ``won_share`` of the paired trials;
        ``failed_jobs`` of ``all_jobs``, ``failure_rate`` with its 95 % interval ``failure_low``, ``failure_high``;
        ``ranked_by`` (a column of ``runs``), ``ranked_mean`` of that column, ``rank`` at this point (1 is the best,
        equal means share a rank) and ``near_best``: another is the best, but not distinguishable from it. Those of
        rank 1 that are not ``near_best`` are equal in every trial: a tie.
        NaN where there is nothing to say. Formulas, documentation: Explanation, What the numbers mean.

    Raises
    ------
    CompareError
        If there is no such baseline or metric, or no run.

    Examples
    --------
    >>> import stragglersim
    >>> from schemes import FractionalRepetition, Uncoded
    >>> from straggler_models import Bernoulli, Constant
    >>> scenario = stragglersim.Scenario(
    ...     workers=4,
    ...     jobs=50,
    ...     trials=20,
    ...     stragglers={"usual": Constant(seconds_per_load=4.0), "slow": Bernoulli(p=0.1, slowdown=8.0)},
    ...     schemes={"uncoded": Uncoded(4), "two copies": FractionalRepetition(4, s=1)},
    ... )
    >>> table = compare(stragglersim.run(scenario).runs, baseline="uncoded").set_index("scheme")
    >>> table.loc["two copies", ["change_low_percent", "change_percent", "change_high_percent"]].round().tolist()
    [-36.0, -31.0, -26.0]
    >>> table["rank"].to_dict()
    {'uncoded': 2, 'two copies': 1}
    """
    import pandas as pd

    keys = swept_keys(runs)
    metrics = [name for name in map(str, runs.select_dtypes("number").columns) if name not in (*KEYS, *keys)]
    labels = runs["scheme"].unique().tolist()
    if not labels:
        raise CompareError("runs: must have a row for each run, got none")
    baseline = labels[0] if baseline is None else baseline
    for what, given, known in (("baseline", baseline, labels), ("metric", metric, metrics)):
        if given not in known:
            hint = did_you_mean(given, known)
            raise CompareError(f"{what}: must be one of {', '.join(known)}, got {given!r}{hint}")

    runs = _without_infinite(runs, metric)
    layout = _Layout.of(runs)
    values = layout.spread(runs[metric])
    mean, half_width, n_trials = mean_and_half_width(values)
    paired = _against(values, layout.beside(values, labels.index(baseline)), metric)
    failures = _failures(layout.total(runs["decode_failures"]), layout.total(runs["n_jobs"]))
    ranking = _ranking(runs, layout, metric, failures["failure_rate"])
    swept = runs.drop_duplicates("point")[["point", *keys]].iloc[layout.point].reset_index(drop=True)
    columns = {
        "scheme": np.array(labels, dtype=object)[layout.scheme],
        "metric": metric,
        "n_trials": n_trials,
        "mean": mean,
        "low": mean - half_width,
        "high": mean + half_width,
        "regret_percent": 100 * _regret(runs, layout, metric, failures["failure_rate"]),
        "baseline": baseline,
        **paired,
        **failures,
        **ranking,
    }
    return pd.concat([swept, pd.DataFrame(columns)], axis=1)


def trials_needed(runs: pd.DataFrame, relative_half_width: float) -> dict[Any, int]:
    """Return the number of trials that each point is to have next, to know its mean makespans well enough.

    Well enough is: for every scheme at least 10 trials, and a 95 % interval of makespan_s (of jobs_per_s at points
    where schemes fail different shares of jobs) whose half width, divided by the mean, is at most
    ``relative_half_width``. Run, ask again, and stop when nothing is left. The number grows to the estimated need, by
    at least a tenth and at most to twice as many, since an estimate from a few trials is rough.

    Returns
    -------
    needed : dict
        Trials in all (at most 10 000) for each point that needs more; points that know enough, or have 10 000, are
        not in it.

    Raises
    ------
    CompareError
        If ``relative_half_width`` is not above 0.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"point": 0, "scheme": "GC", "trial": range(10), "makespan_s": [9.0, 11.0] * 5})
    >>> runs = runs.assign(n_jobs=50, decode_failures=0, jobs_per_s=50 / runs["makespan_s"])
    >>> trials_needed(runs, 0.08), trials_needed(runs, 0.06), trials_needed(runs, 0.01)
    ({}, {0: 16}, {0: 20})
    """
    if not relative_half_width > 0:
        raise CompareError(f"relative_half_width: must be above 0, got {relative_half_width}")
    layout, _, half, n_trials = _precision(runs)
    is_wide = half > relative_half_width
    with np.errstate(divide="ignore", invalid="ignore"):  # of schemes that are not wide
        estimate = np.ceil(n_trials * (half / relative_half_width) ** 2)
    grown = np.clip(estimate, np.ceil(1.1 * n_trials), 2 * n_trials)
    wanted = np.where(is_wide, grown, n_trials).clip(LEAST_TRIALS, MOST_TRIALS)
    needed: dict[Any, int] = {}
    points = runs["point"].drop_duplicates().tolist()
    for row in np.flatnonzero(wanted > n_trials):
        point = points[layout.point[row]]
        needed[point] = max(needed.get(point, 0), int(wanted[row]))
    return needed


def known_worse(runs: pd.DataFrame, relative_half_width: float) -> pd.DataFrame:
    """Return the means that are not known as well as :func:`trials_needed` has it, the worst first.

    Returns
    -------
    table : DataFrame
        ``point``, ``scheme``, ``metric``, ``n_trials`` and ``half``: half width over the mean (NaN: one trial).

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"point": 0, "scheme": "GC", "trial": range(10), "makespan_s": [9.0, 11.0] * 5})
    >>> runs = runs.assign(n_jobs=50, decode_failures=0, jobs_per_s=50 / runs["makespan_s"])
    >>> known_worse(runs, 0.06).round(3).to_numpy().tolist(), len(known_worse(runs, 0.08))
    ([[0, 'GC', 'makespan_s', 10, 0.075]], 0)
    """
    import pandas as pd

    layout, metric, half, n_trials = _precision(runs)
    points, schemes = (runs[key].drop_duplicates().to_numpy() for key in ("point", "scheme"))
    columns = {"point": points[layout.point], "scheme": schemes[layout.scheme], "metric": metric}
    table = pd.DataFrame({**columns, "n_trials": n_trials, "half": half})
    return table[~(half <= relative_half_width)].sort_values(
        "half", ascending=False, kind="stable", na_position="first"
    )


def _precision(runs: pd.DataFrame) -> tuple[_Layout, NDArray[np.object_], FloatArray, IntArray]:
    """Return layout, metric, half width of the interval over the mean, and number of trials, of each row."""
    layout = _Layout.of(runs)
    failed, jobs = layout.total(runs["decode_failures"]), layout.total(runs["n_jobs"])
    is_unfair = _is_unfair(layout, failed / jobs)
    values = np.where(is_unfair[:, None], layout.spread(runs["jobs_per_s"]), layout.spread(runs["makespan_s"]))
    mean, half, n_trials = mean_and_half_width(values)
    relative = np.divide(half, np.abs(mean), out=np.where(half == 0, 0.0, np.inf), where=mean != 0)
    relative[n_trials < 2] = np.nan  # not known at all
    return layout, np.where(is_unfair, "jobs_per_s", "makespan_s").astype(object), relative, n_trials


@dataclass(frozen=True)
class _Layout:
    """Place of each run in arrays of shape (rows, trials), with a row for each point and scheme that was run."""

    point: IntArray  # number of the point of each row, in order of appearance
    scheme: IntArray
    row_of: IntArray  # shape (points, schemes), -1 where it was not run
    row: IntArray  # of each run
    trial: IntArray
    n_trials: int

    @classmethod
    def of(cls, runs: pd.DataFrame) -> _Layout:
        import pandas as pd

        point, points = pd.factorize(runs["point"])
        scheme, schemes = pd.factorize(runs["scheme"])
        trial, trials = pd.factorize(runs["trial"], sort=True)  # else the order of runs would decide who is resampled
        cells, row = np.unique(point * len(schemes) + scheme, return_inverse=True)
        row_of = np.full(len(points) * len(schemes), -1)
        row_of[cells] = np.arange(len(cells))
        return cls(*np.divmod(cells, len(schemes)), row_of.reshape(len(points), -1), row, trial, len(trials))

    def spread(self, column: pd.Series[Any]) -> FloatArray:
        """A column of runs, shape (rows, trials), NaN where a trial is missing."""
        table = np.full((len(self.point), self.n_trials), np.nan)
        table[self.row, self.trial] = column.to_numpy(dtype=np.float64)
        return table

    def total(self, column: pd.Series[Any]) -> IntArray:
        """Sums over trials, shape (rows,)."""
        return np.bincount(self.row, column.to_numpy()).astype(np.int64)

    def beside(self, table: FloatArray, scheme: int | IntArray) -> FloatArray:
        """The rows of a scheme (one, or one for each point) beside each row of its point; NaN where it was not run."""
        at_point = self.row_of[np.arange(len(self.row_of)), scheme][self.point]
        return np.where(at_point[:, None] >= 0, table[at_point], np.nan)

    def per_point(self, values: FloatArray) -> FloatArray:
        """Values of rows, shape (points, schemes), NaN where a scheme was not run."""
        return np.where(self.row_of >= 0, values[self.row_of], np.nan)


def swept_keys(runs: pd.DataFrame) -> list[str]:
    """The columns of a table of runs that hold swept values: those that no run has of itself, one value at a point."""
    names = [name for name in map(str, runs.columns) if name not in RUNS and name not in TIMES_TO]
    n_values = runs.groupby("point")[names].nunique(dropna=False)
    return [name for name in names if (n_values[name] == 1).all()]


def _sign(metric: str) -> int:
    return -1 if metric in HIGHER_IS_BETTER else 1


def _without_infinite(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Runs in which a scheme that has an infinite value has none: the mean of its other trials would flatter it."""
    is_infinite = np.isinf(runs[metric])
    if not is_infinite.any():
        return runs
    has_one = is_infinite.groupby([runs["point"], runs["scheme"]]).transform("any")
    return runs.assign(**{metric: runs[metric].mask(has_one)})


def _against(values: FloatArray, reference: FloatArray, metric: str) -> dict[str, Any]:
    """Change and trials won against a reference, paired by trial; both have shape (rows, trials)."""
    both = ~(np.isnan(values) | np.isnan(reference))
    n_paired = np.count_nonzero(both, axis=1)
    gain = np.where(both, _sign(metric) * (reference - values), np.nan)
    tied = both & is_tie(values, reference)
    n_won = np.count_nonzero((gain > 0) & ~tied, axis=1) + 0.5 * np.count_nonzero(tied, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # no trial in common
        mean, reference_mean = (np.where(both, table, 0.0).sum(axis=1) / n_paired for table in (values, reference))
        won_share = n_won / n_paired
    low, high = interval_of_change(values, reference)
    return {
        "n_paired": n_paired,
        "change_percent": 100 * _change(mean, reference_mean),
        "change_low_percent": 100 * low,
        "change_high_percent": 100 * high,
        "won_share": won_share,
    }


def _change(mean: FloatArray, reference: FloatArray) -> FloatArray:
    """Ratio of means - 1; NaN unless the reference is above 0, as a ratio to anything else says nothing."""
    return np.divide(mean, reference, out=np.full_like(mean, np.nan), where=reference > 0) - 1


def _failures(failed: IntArray, jobs: IntArray) -> dict[str, Any]:
    """Share of the jobs of all trials that failed, with its 95 % interval (Wilson's score interval)."""
    rate = failed / jobs
    low, high = wilson(rate, jobs)
    return {"failed_jobs": failed, "all_jobs": jobs, "failure_rate": rate, "failure_low": low, "failure_high": high}


def _ranking(runs: pd.DataFrame, layout: _Layout, metric: str, failure_rate: FloatArray) -> dict[str, Any]:
    """Rank the schemes of each point, and say which can't be told from the best."""
    import pandas as pd

    values, is_unfair = layout.spread(runs[metric]), np.zeros(len(layout.point), dtype=np.bool_)
    cost = _sign(metric) * values
    if metric in UNFAIR_WITH_FAILURES:
        is_unfair = _is_unfair(layout, failure_rate)
        cost = np.where(is_unfair[:, None], _sign("jobs_per_s") * layout.spread(runs["jobs_per_s"]), values)
    mean_cost = mean_and_half_width(cost)[0]
    costs = layout.per_point(mean_cost)
    others, own = costs[layout.point], mean_cost[:, None]
    rank = 1 + np.count_nonzero((others < own) & ~is_tie(others, own), axis=1)  # nothing is less than NaN
    best = np.argmin(np.where(np.isnan(costs), np.inf, costs), axis=1)
    ranked_by = np.where(is_unfair, "jobs_per_s", metric)
    return {
        "ranked_by": ranked_by.astype(object),
        "ranked_mean": np.where(is_unfair | (metric in HIGHER_IS_BETTER), 0.0 - mean_cost, mean_cost),
        "rank": pd.Series(np.where(np.isnan(mean_cost), np.nan, rank)).astype("Int64"),
        "near_best": is_undecided(cost, layout.beside(cost, best)),
    }


def _regret(runs: pd.DataFrame, layout: _Layout, metric: str, failure_rate: FloatArray) -> FloatArray:
    """Ratio of what schemes are ranked by to the best fixed one in hindsight, trial by trial, - 1; shape (rows,).

    NaN where a ratio says nothing, and everywhere if no scheme chooses on line.
    """
    chooses = runs["kind"].eq(CHOOSES).to_numpy() if "kind" in runs else np.zeros(len(runs), dtype=np.bool_)
    if not chooses.any():
        return np.full(len(layout.point), np.nan)
    values, is_more = layout.spread(runs[metric]), np.full(len(layout.point), metric in HIGHER_IS_BETTER)
    if metric in UNFAIR_WITH_FAILURES:
        is_more = _is_unfair(layout, failure_rate)
        values = np.where(is_more[:, None], layout.spread(runs["jobs_per_s"]), values)
    with np.errstate(divide="ignore"):
        cost = np.where(is_more[:, None], 1 / values, values)
    is_fixed = np.ones(len(layout.point), dtype=np.bool_)
    is_fixed[layout.row[chooses]] = False
    best = np.full((len(layout.row_of), layout.n_trials), np.inf)
    np.fmin.at(best, layout.point[is_fixed], cost[is_fixed])
    ratio = np.divide(cost, best[layout.point], out=np.full_like(cost, np.nan), where=best[layout.point] > 0)
    return mean_and_half_width(np.where(np.isfinite(ratio), ratio, np.nan))[0] - 1


def _is_unfair(layout: _Layout, failure_rate: FloatArray) -> BoolArray:
    """Mark rows at whose points schemes failed different shares of jobs, so that makespans can't be compared."""
    rates = layout.per_point(failure_rate)
    return np.asarray((np.nanmax(rates, axis=1) > np.nanmin(rates, axis=1))[layout.point])
