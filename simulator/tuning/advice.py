"""Advice: what could be done about stragglers, how much it saves, how sure that is, and the verdict."""

import functools
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from simulator.choices import LoadEffect
from simulator.parameters import FloatArray
from simulator.statistics import expanded_tail, is_tie, percentile_interval
from simulator.traces.change_points import FailSlow
from simulator.tuning.actions import Action, Fleet
from simulator.tuning.best import ALIKE, UNCODED, WORTH_PERCENT
from simulator.tuning.rows import NEEDS_ALL, said_rule, said_setting

SURE_ROUNDS = 30  # fewer say too little to choose by: half of them are tested
LONGER = 5  # times as many jobs, in which a few rounds of delay do not count
MOST_MORE = 10  # times as many rounds, which nobody would measure
TROUBLE: tuple[Action, ...] = ("leave out", "replace", "keep")  # the least first; keep: load by speed, then a code
Verdict = Literal["pays", "does not pay", "not enough data"]


class Saved(NamedTuple):
    """Time saved in percent, with its 95 % interval over resamples."""

    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        percent, low, high = (round(value, 1) + 0.0 for value in (self.percent, self.low, self.high))  # no -0.0
        return f"{percent:.1f} % [{low:.1f}, {high:.1f}]"


@dataclass(frozen=True, eq=False)
class Candidate:
    """Something that can be done: an action on workers, and a setting of a scheme under its best rule."""

    fleet: Fleet
    setting: dict[Any, Any]
    """columns are those of `simulator.tuning.evaluate.evaluate`; chosen on the first part"""
    time_s: float
    """makespan on the tested rounds, in order"""
    resampled_s: FloatArray
    """makespans on resampled tested rounds, of no more jobs than these are, shape ``(N_BLOCK_RESAMPLES,)``"""
    long_s: float
    """makespan of `LONGER` times as many jobs"""
    relative_error: float = 0.0
    """of each gradient, if it is approximate"""

    @property
    def scheme(self) -> str:
        """Its label."""
        return str(self.setting["scheme"])

    @property
    def first_s(self) -> float:
        """Makespan on the rounds on which it was chosen, of no more jobs than these are."""
        return float(self.setting["makespan_s"])

    @property
    def is_plain(self) -> bool:
        """True if it is uncoded work by workers as they are."""
        return self.fleet.action == "keep" and self.scheme == "uncoded"

    @property
    def is_coded(self) -> bool:
        """True if it is a code, repeats or copies."""
        return self.scheme not in NEEDS_ALL

    @property
    def steps(self) -> int:
        """How many things there are to do: an action on workers, a code or load by speed."""
        return int(self.fleet.action != "keep") + int(self.scheme != "uncoded")

    @property
    def trouble(self) -> tuple[float, ...]:
        """How much trouble it is, for comparisons: the number of steps, the action, T, then load."""
        place = TROUBLE.index(self.fleet.action) + int(self.is_coded)
        return self.steps, place, float(self.setting["delay_rounds"]), float(self.setting["load"])


class Other(NamedTuple):
    """What would be chosen if times grew with load otherwise."""

    effect: LoadEffect
    chosen: Candidate
    saves_percent: float | None
    """time that the advice saves against that choice then, on the tested rounds; None: there is none"""


@dataclass(frozen=True)
class Advice:
    """Advice from a trace on what to do.

    Parameters
    ----------
    chosen_on, tested_on
        Rounds of the trace, from and before.
    changes
        Fail-slows: advice is for workers as they are since the last one that lasts to the end of the trace.
    candidates
        What gives exact gradients: the best setting of each scheme with workers as they are, and what is best after
        each other action, the fastest on the rounds of choosing first; before them the choice, which is the least
        trouble of all that are less than 1 % slower there.
    approximate
        What does without the slowest of each round.
    learned
        For each number of probing rounds: what would have been chosen after them, and its makespan on those tested.
    settings
        All settings on the first part, with workers as they are.
    twice_percent
        Percentage by which the median time is longer at twice the load of uncoded work.
    waiting_percent
        Percentage of uncoded work's time on the tested rounds that would be saved if all were as fast as the median
        worker.
    others
        Under the other load effects.
    """

    chosen_on: tuple[int, int]
    tested_on: tuple[int, int]
    n_rounds: int
    n_jobs: int
    changes: tuple[FailSlow, ...]
    candidates: tuple[Candidate, ...]
    approximate: tuple[Candidate, ...]
    learned: pd.DataFrame
    settings: pd.DataFrame
    twice_percent: float
    waiting_percent: float
    others: tuple[Other, ...] = ()
    has_collectives: bool = False
    """True: ranks exchange gradients without a master, so that a code is nothing they can do"""

    def table(self) -> pd.DataFrame:
        """All that was tested: a row for each candidate, approximate ones last."""
        return pd.DataFrame(
            {
                "workers": one.fleet.said,
                "scheme": one.scheme,
                "setting": said_setting(one.setting),
                "time_s": one.time_s,
            }
            | {f"saved_{name}": value for name, value in self.saved(one)._asdict().items()}
            | {"won": self.share_won.get(one), "relative_error": one.relative_error}
            | {"rule": said_rule(one.setting)}
            | {name: one.setting[name] for name in ("delay_rounds", "load")}
            | {"n_workers": one.fleet.n_workers, "first_s": one.first_s, "long_s": one.long_s}
            for one in (*self.candidates, *self.approximate)
        )

    @property
    def n_tested_on(self) -> int:
        """How many rounds it was tested on."""
        return self.tested_on[1] - self.tested_on[0]

    @property
    def chosen(self) -> Candidate:
        """What to do, by the rounds of choosing."""
        return self.candidates[0]

    @property
    def doable(self) -> list[Candidate]:
        """What these workers can do, the choice first: all, or without a master all but codes."""
        return [one for one in self.candidates if not (self.has_collectives and one.is_coded)]

    @property
    def plain(self) -> Candidate:
        """Uncoded work by workers as they are."""
        return next(one for one in self.candidates if one.is_plain)

    @property
    def n_long(self) -> int:
        """Jobs of a long run."""
        return LONGER * self.n_jobs

    @property
    def seems_best(self) -> Candidate:
        """What saves most on the tested rounds, other than uncoded work by all workers if there is something."""
        return min(self.doable, key=lambda one: (one.is_plain, one.time_s))

    @property
    def codes(self) -> list[Candidate]:
        """What is coded, repeats or copies, with workers as they are."""
        return [one for one in self.candidates if one.fleet.action == "keep" and one.is_coded]

    @property
    def coded(self) -> list[Candidate]:
        """Codes proper, with workers as they are."""
        return [one for one in self.codes if one.scheme not in UNCODED]

    def find(self, scheme: str) -> Candidate | None:
        """The best of a scheme with workers as they are; None if it was not tried."""
        return next((one for one in self.candidates if (one.fleet.action, one.scheme) == ("keep", scheme)), None)

    def saved(self, one: Candidate, other: Candidate | None = None) -> Saved:
        """Return what one saves against another, by default `plain`, on the tested rounds.

        The percentage is of the makespans in order; the interval is the expanded percentile interval of resamples, see
        :func:`simulator.statistics.expanded_tail`.
        """
        other = other or self.plain
        resampled = _percent(one.resampled_s, other.resampled_s)
        low, high = percentile_interval(resampled, expanded_tail(self.n_tested_on))
        percent = float(_percent(np.array(one.time_s), np.array(other.time_s)))
        return Saved(percent, min(float(low), percent), max(float(high), percent))

    @functools.cached_property
    def share_won(self) -> dict[Candidate, float]:
        """Share of resamples in which each thing that can be done is the fastest; ties are shared."""
        resampled_s = np.array([one.resampled_s for one in self.doable])
        is_best = is_tie(resampled_s, resampled_s.min(axis=0))
        share: FloatArray = (is_best / is_best.sum(axis=0)).mean(axis=1)
        return dict(zip(self.doable, share.tolist(), strict=True))

    @property
    def too_short(self) -> bool:
        """True if the trace has too few rounds to choose by."""
        return self.n_rounds < SURE_ROUNDS

    @property
    def verdict(self) -> Verdict:
        """Verdict on the tested rounds: something saves time for sure, nothing does, or more rounds would tell."""
        if self.too_short:
            return "not enough data"
        if not self.chosen.is_plain and self.saved(self.chosen).low > 0:
            return "pays"
        most = self.rounds_needed
        return "not enough data" if most and most <= MOST_MORE * self.n_rounds else "does not pay"

    @property
    def rounds_needed(self) -> int | None:
        """Rounds to measure that would tell if something saves as much as it seems to, or 1 %; None: nothing may."""
        if self.too_short:
            return SURE_ROUNDS
        needed = []
        for one in self.doable:
            saved = self.saved(one)
            if not one.is_plain and saved.high >= WORTH_PERCENT:
                half = (saved.high - saved.low) / 2
                needed.append((half / max(abs(saved.percent), WORTH_PERCENT)) ** 2)
        return int(np.ceil(self.n_rounds * max(1.1, min(needed)))) if needed else None

    @property
    def rival(self) -> Candidate | None:
        """What saves most on the tested rounds, if it surely beats what was chosen; None: there is nothing."""
        sure = [one for one in self.doable[1:] if self.saved(one, self.chosen).low > 0]
        return min(sure, key=lambda one: one.time_s, default=None)

    @property
    def rounds_enough(self) -> int | None:
        """Number of probing rounds after which all choices are as good as the last; None: not before the last."""
        times_s = self.learned["time_s"].to_numpy()
        worse = np.flatnonzero(times_s > (1 + ALIKE) * times_s[-1])
        first = int(worse[-1]) + 1 if len(worse) else 0
        return None if first >= len(times_s) - 1 else int(self.learned["rounds"].iloc[first])

    @property
    def rule_matters_percent(self) -> float:
        """Percentage by which the best code takes longer under its worst rule, on the first part."""
        own = self.settings[self.settings["scheme"] == self.codes[0].scheme]
        by_rule_s = own.groupby("rule")["makespan_s"].min()
        return float(100 * (by_rule_s.max() / by_rule_s.min() - 1))

    @property
    def scheme_matters_percent(self) -> float:
        """Percentage by which the worst of the coded schemes takes longer than the best, under the best code's rule."""
        is_coded = ~self.settings["scheme"].isin(UNCODED)
        under = self.settings[(self.settings["rule"] == self.codes[0].setting["rule"]) & is_coded]
        by_scheme_s = under.groupby("scheme")["makespan_s"].min()
        return float(100 * (by_scheme_s.max() / by_scheme_s.min() - 1)) if len(by_scheme_s) else 0.0


def _percent(own_s: FloatArray, other_s: FloatArray) -> FloatArray:
    """Time saved in percent; of times that never end, nothing against each other."""
    with np.errstate(invalid="ignore"):
        ratio = np.where(own_s == other_s, 1.0, own_s / other_s)
    return np.asarray(100 * (1 - np.minimum(ratio, np.finfo(np.float64).max)))
