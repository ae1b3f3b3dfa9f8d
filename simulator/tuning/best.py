"""Findings of a search: the best settings, how much they gain, and how flat the optimum is."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import pandas as pd

from schemes import Scheme
from schemes.backup_tasks import COPIES
from schemes.heterogeneous_gradient_coding import BY_SPEED
from schemes.multiplexed import REPETITION
from simulator.plugins.kinds import SCHEME_TABLE
from simulator.statistics import TIE
from simulator.tuning.rows import parameters_of, said_setting

WORTH_PERCENT = 1.0  # time saved that nobody would go to any trouble for
UNCODED = ("uncoded", REPETITION, COPIES, BY_SPEED)  # labels of what is no code
ALIKE = 0.02  # choices that differ by less on the other half are as good
DIGITS = round(-math.log10(TIE))
NEAR = 1.01  # settings within 1 % of the best are as good, for all that a trace says


def best_settings(settings: pd.DataFrame, *, by: Sequence[str] = ("scheme",)) -> pd.DataFrame:
    """The best setting of each group; of equals the one with the smaller T, then load, then the first.

    Parameters
    ----------
    settings
        As of `simulator.tuning.evaluate.evaluate`.
    by
        Columns that make the groups: ``scheme`` gives each scheme with its own best rule, ``scheme`` and ``rule`` each
        scheme under each rule.

    Returns
    -------
    best
        Rows of ``settings``, with their index, in the order in which the groups appear there.
    """
    best = _best_first(settings, by)
    place = settings.groupby(list(by), sort=False).ngroup()
    return best.loc[place[best.index].sort_values().index]


def fastest_first(settings: pd.DataFrame) -> pd.DataFrame:
    """The best setting of each scheme, the fastest first; ties are broken by smaller T, then smaller load."""
    return _best_first(settings, ["scheme"])


def _best_first(settings: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The best setting of each group, the best first: makespans are compared to as many digits as `TIE` has."""
    least_s = settings.groupby(list(by), sort=False)["makespan_s"].transform("min")
    near = settings[settings["makespan_s"] <= least_s * (1 + 100 * TIE)]  # nothing else may round to the least
    rounded = near.assign(makespan_s=[float(f"{makespan_s:.{DIGITS}g}") for makespan_s in near["makespan_s"]])
    in_order = rounded.sort_values(["makespan_s", "delay_rounds", "load"], kind="stable").index
    return near.loc[in_order].drop_duplicates(list(by))


class Flatness(NamedTuple):
    """Number of settings that are nearly as good as the best."""

    near: int
    n_settings: int  # of the scheme under the same rule
    parameter: str  # s or lam
    low: int | float  # its range among those that differ in nothing else
    high: int | float


def flatness(settings: pd.DataFrame, best: Mapping[Any, Any]) -> Flatness:
    """Count the settings within 1 % of the best of its scheme under its rule: how flat the optimum is."""
    own = settings[(settings["scheme"] == best["scheme"]) & (settings["rule"] == best["rule"])]
    near = own[own["makespan_s"] <= NEAR * best["makespan_s"]]
    cls: type[Scheme] = SCHEME_TABLE.find(best["kind"])
    parameter = cls.searched()
    if parameter is None or not isinstance(own[parameter].iloc[0], Real):
        return Flatness(len(near), len(own), "", 0, 0)
    alike = near
    for name in parameters_of(cls):
        if name != parameter and name in best:
            alike = alike[[value == best[name] for value in alike[name]]]  # also if these are lists
    return Flatness(len(near), len(own), parameter, alike[parameter].min(), alike[parameter].max())


class Winner(NamedTuple):
    """The best scheme under a rule with T of at most so much, and what coding gains there."""

    rule: str
    max_delay: int
    scheme: str
    setting: str
    makespan_s: float
    baseline_s: float  # of repetition without coding; at T = 0, of uncoded work
    coding_saves_percent: float  # the best that is coded, against the baseline


def winners(settings: pd.DataFrame) -> list[Winner]:
    """The winner for each rule and each limit on T, every scheme at its own best setting; see `fastest_first` for ties.

    Repetition without coding (`multiplexed` with lam = n) gains by T alone. What a coded scheme gains over it, coding
    gains.
    """
    found = []
    in_order = _best_first(settings, ["rule", "scheme", "delay_rounds"])
    for rule in settings["rule"].unique():
        under = in_order[in_order["rule"] == rule]
        for limit in range(int(settings["delay_rounds"].max()) + 1):
            best = under[under["delay_rounds"] <= limit].drop_duplicates("scheme")
            first = best.iloc[0]
            makespans_s = best.set_index("scheme")["makespan_s"]
            baseline = REPETITION if REPETITION in makespans_s else "uncoded"
            coded_s = makespans_s.drop(list(UNCODED), errors="ignore").min()
            baseline_s = float(makespans_s.get(baseline, float("nan")))
            found.append(
                Winner(
                    rule=str(rule),
                    max_delay=limit,
                    scheme=first["scheme"],
                    setting=said_setting(first.to_dict()),
                    makespan_s=first["makespan_s"],
                    baseline_s=baseline_s,
                    coding_saves_percent=100 * (1 - coded_s / baseline_s),
                )
            )
    return found
