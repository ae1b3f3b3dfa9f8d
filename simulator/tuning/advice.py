"""Advice from a trace: chosen on its first half, tested on the other, with how sure that is."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from schemes.multiplexed import REPETITION
from simulator.parameters import FloatArray, IntArray
from simulator.statistics import block_resamples, expanded_tail, is_tie, percentile_interval
from simulator.tuning.best import ALIKE, WORTH_PERCENT, fastest_first
from simulator.tuning.evaluate import Progress, evaluate, run_measured
from simulator.tuning.rows import said_setting
from simulator.tuning.scenarios import scheme_of
from simulator.tuning.search import Search, searching
from simulator.tuning.trace import AdjustedTrace, SearchError
from straggler_models.base import WorkerTimes

LEAST_ROUNDS = 10  # fewer say nothing of rounds to come
PROBES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200)
Verdict = Literal["pays", "does not pay", "not enough data"]


class Saved(NamedTuple):
    """Time saved in percent, with its 95 % interval over resamples."""

    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.percent:.1f} % [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Advice:
    """Advice from a trace on what to run.

    Parameters
    ----------
    n_chosen_on, n_tested_on
        Rounds of the first part, on which settings were chosen, and of the rest, on which they were tested.
    chosen
        The best setting of each scheme on the first part, under its own best rule, the fastest first; its columns
        are those of `simulator.tuning.evaluate.evaluate`, and ``rest_s``, the makespan on the rest.
    resampled_s
        Makespans of these settings on resampled rests, shape ``(n_schemes, N_BLOCK_RESAMPLES)``.
    learned
        For each number of probing rounds: what would have been chosen after them, and its makespan on the rest.
    settings
        All settings on the first part.
    """

    n_chosen_on: int
    n_tested_on: int
    chosen: pd.DataFrame
    resampled_s: FloatArray
    learned: pd.DataFrame
    settings: pd.DataFrame

    @property
    def winner(self) -> dict[Any, Any]:
        """The setting that was the fastest on the first part."""
        return dict(self.chosen.iloc[0])

    def saved(self, scheme: str, other: str) -> Saved | None:
        """Return what a scheme saves against another on resampled rests; None if one was not tried.

        The interval is the expanded percentile interval, see :func:`simulator.statistics.expanded_tail`.
        """
        labels = self.chosen["scheme"].tolist()
        if scheme not in labels or other not in labels:
            return None
        own_s, other_s = (self.resampled_s[labels.index(label)] for label in (scheme, other))
        low, high = percentile_interval(100 * (1 - own_s / other_s), expanded_tail(self.n_tested_on))
        return Saved(float(100 * (1 - own_s.mean() / other_s.mean())), float(low), float(high))

    @property
    def share_won(self) -> FloatArray:
        """Share of resampled rests in which each scheme is the fastest; ties are shared."""
        is_best = is_tie(self.resampled_s, self.resampled_s.min(axis=0))
        share: FloatArray = (is_best / is_best.sum(axis=0)).mean(axis=1)
        return share

    def savings(self) -> dict[str, Saved]:
        """Return what each scheme but uncoded saves against uncoded work, in the order of the first part."""
        found = {scheme: self.saved(scheme, "uncoded") for scheme in self.chosen["scheme"] if scheme != "uncoded"}
        return {scheme: saved for scheme, saved in found.items() if saved is not None}

    @property
    def verdict(self) -> Verdict:
        """Verdict on the rest: the winner saves time against uncoded work, or nothing does, or that can't be told."""
        savings = self.savings()
        own = savings.get(self.winner["scheme"])
        if own is not None and own.low > 0:
            return "pays"
        may_pay = any(saved.high >= WORTH_PERCENT for saved in savings.values())
        return "not enough data" if may_pay else "does not pay"

    @property
    def rival(self) -> str | None:
        """The scheme that saves most against the winner on the rest, if that is sure; None: there is none."""
        found = {scheme: self.saved(scheme, self.winner["scheme"]) for scheme in self.chosen["scheme"][1:]}
        sure = {scheme: saved.percent for scheme, saved in found.items() if saved is not None and saved.low > 0}
        return max(sure, key=lambda scheme: sure[scheme]) if sure else None

    @property
    def rounds_enough(self) -> int | None:
        """Number of probing rounds after which all choices are as good as the last; None: not before the last."""
        rest_s = self.learned["rest_s"].to_numpy()
        worse = np.flatnonzero(rest_s > (1 + ALIKE) * rest_s[-1])
        first = int(worse[-1]) + 1 if len(worse) else 0
        return None if first >= len(rest_s) - 1 else int(self.learned["rounds"].iloc[first])

    @property
    def rule_matters_percent(self) -> float:
        """Percentage by which the winner's best setting takes longer under its worst rule, on the first part."""
        own = self.settings[self.settings["scheme"] == self.winner["scheme"]]
        by_rule_s = own.groupby("rule")["makespan_s"].min()
        return float(100 * (by_rule_s.max() / by_rule_s.min() - 1))

    @property
    def scheme_matters_percent(self) -> float:
        """Percentage by which the worst of the coded schemes takes longer than the best, under the winner's rule."""
        is_coded = ~self.settings["scheme"].isin(["uncoded", REPETITION])
        under = self.settings[(self.settings["rule"] == self.winner["rule"]) & is_coded]
        by_scheme_s = under.groupby("scheme")["makespan_s"].min()
        return float(100 * (by_scheme_s.max() / by_scheme_s.min() - 1)) if len(by_scheme_s) else 0.0


def find_advice(trace: AdjustedTrace, search: Search, *, progress: Progress | None = None) -> Advice:
    """Choose on the first half of a trace, and test on the rest.

    The rest is met in order, and in resamples of its own length: blocks of successive rounds that start anywhere in it,
    see :func:`simulator.statistics.block_resamples`. All settings meet the same resamples. Uncoded work
    is always among the schemes.

    Raises
    ------
    SearchError
        If the trace can't be searched, or is too short for any advice.
    """
    if search.schemes is not None and "uncoded" not in search.schemes:
        search = dataclasses.replace(search, schemes=("uncoded", *search.schemes))
    times, n_workers = trace.times()
    if times.n_rounds < LEAST_ROUNDS:
        raise SearchError(
            f"{trace.path}: not enough data: must hold at least {LEAST_ROUNDS} rounds, got {times.n_rounds}"
        )
    n_first = times.n_rounds // 2
    rest = _part(times, n_first, times.n_rounds)
    probes = [n_rounds for n_rounds in PROBES if n_rounds < n_first] + [n_first]
    n_rounds = search.n_jobs + search.delay
    in_order, drawn = np.arange(n_rounds)[np.newaxis], block_resamples(rest.n_rounds, n_rounds)
    learned, settings = [], pd.DataFrame()
    with searching(trace):
        for place, n_used in enumerate(probes):
            tell = _within(progress, place, len(probes))
            groups = search.groups(n_workers)
            settings = evaluate(_part(times, 0, n_used), n_workers, search.n_jobs, groups, search.rules, progress=tell)
            first = fastest_first(settings).iloc[0].to_dict()
            [rest_s] = _makespans_s(first, search, rest, n_workers, in_order)
            found = {"scheme": first["scheme"], "setting": said_setting(first), "rule": first["rule"], "rest_s": rest_s}
            learned.append({"rounds": n_used} | found)
    chosen = fastest_first(settings)
    rows = chosen.to_dict("records")
    return Advice(
        n_chosen_on=n_first,
        n_tested_on=rest.n_rounds,
        chosen=chosen.assign(rest_s=[_makespans_s(row, search, rest, n_workers, in_order)[0] for row in rows]),
        resampled_s=np.array([_makespans_s(row, search, rest, n_workers, drawn) for row in rows]),
        learned=pd.DataFrame(learned),
        settings=settings,
    )


def _makespans_s(
    setting: dict[Any, Any], search: Search, times: WorkerTimes, n_workers: int, rounds: IntArray
) -> FloatArray:
    """Makespans of a setting under its rule, for runs that meet these measured rounds; shape ``(n_runs,)``."""
    scheme = scheme_of(setting, n_workers)
    rules = {rule.name: rule for rule in search.rules}
    needed = rounds[:, : search.n_jobs + scheme.delay_rounds]
    return run_measured(scheme, times, needed, search.n_jobs, rules[setting["rule"]]).makespan_s


def _within(progress: Progress | None, place: int, n_places: int) -> Progress | None:
    """The progress of one of some equal parts."""
    if progress is None:
        return None
    return lambda done, in_all: progress(place * in_all + done, n_places * in_all)


def _part(times: WorkerTimes, first: int, end: int) -> WorkerTimes:
    """Some of the measured rounds."""
    parts = (times.startup_s, times.seconds_per_load, times.slowdown)
    return WorkerTimes(
        *(part[first:end] if isinstance(part, np.ndarray) and part.ndim == 2 else part for part in parts)
    )
