"""Advice from a trace: what could be done, chosen on some rounds, tested on later ones, with how sure that is."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from schemes.multiplexed import REPETITION
from simulator.choices import LoadEffect
from simulator.engine.master_rules import FirstEnough
from simulator.parameters import FloatArray, IntArray
from simulator.statistics import block_resamples, expanded_tail, is_tie, percentile_interval
from simulator.traces.change_points import FailSlow, fail_slows
from simulator.traces.measures import median_worker_s
from simulator.tuning.actions import Action, Fleet, at_equal_load_s, fleets
from simulator.tuning.best import ALIKE, WORTH_PERCENT, fastest_first
from simulator.tuning.evaluate import Progress, evaluate, run_measured
from simulator.tuning.rows import said_setting
from simulator.tuning.scenarios import scheme_of
from simulator.tuning.search import Search, searching
from simulator.tuning.trace import AdjustedTrace, SearchError

LEAST_ROUNDS = 10  # fewer say nothing of rounds to come
SURE_ROUNDS = 30  # fewer say too little to choose by: half of them are tested
PROBES = (1, 3, 10, 30, 100, 300, 1000)
FEW_JOBS = 80  # that any part is replayed to at least, and no more than it has rounds
MOST_TIMES = 1 << 24  # that are simulated side by side
LONGER = 5  # times as many jobs, in which a few rounds of delay do not count
MOST_MORE = 10  # times as many rounds, which nobody would measure
APPROXIMATE = (1, 2, 3, 5)  # slowest workers of each round that an approximate gradient does without
TROUBLE: tuple[Action, ...] = ("leave out", "balance", "keep", "replace")  # the least first; of one step, keep: a code
Tried = tuple[Fleet, dict[Any, Any]]  # with a row of `simulator.tuning.evaluate.evaluate`
Verdict = Literal["pays", "does not pay", "not enough data"]


class Saved(NamedTuple):
    """Time saved in percent, with its 95 % interval over resamples."""

    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.percent:.1f} % [{self.low:.1f}, {self.high:.1f}]"


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
        """True if it is a code, or repeats."""
        return self.scheme != "uncoded"

    @property
    def steps(self) -> int:
        """How many things there are to do: an action on workers, a code."""
        return int(self.fleet.action != "keep") + int(self.is_coded)

    @property
    def trouble(self) -> tuple[float, ...]:
        """How much trouble it is, for comparisons: the number of steps, the action, T, then load."""
        place = TROUBLE.index(self.fleet.action)
        return self.steps, place, float(self.setting["delay_rounds"]), float(self.setting["load"])


class Other(NamedTuple):
    """What would be chosen if times grew with load otherwise."""

    effect: LoadEffect
    chosen: Candidate
    saves_percent: float | None
    """time that the advice saves against that choice then, on the tested rounds; None: it can't be had"""


@dataclass(frozen=True)
class Advice:
    """Advice from a trace on what to do.

    Parameters
    ----------
    chosen_on, tested_on
        Rounds of the trace, from and before.
    changes
        Fail-slows that last to the end of the trace: advice is for workers as they are since the last one.
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

    def table(self) -> pd.DataFrame:
        """All that was tested: a row for each candidate, approximate ones last."""
        won = dict(zip(self.candidates, self.share_won.tolist(), strict=True))
        return pd.DataFrame(
            {"workers": one.fleet.said, "n_workers": one.fleet.n_workers, "scheme": one.scheme}
            | {"setting": said_setting(one.setting)}
            | {name: one.setting[name] for name in ("rule", "delay_rounds", "load")}
            | {"first_s": one.first_s, "time_s": one.time_s, "long_s": one.long_s}
            | {f"saved_{name}": value for name, value in self.saved(one)._asdict().items()}
            | {"won": won.get(one), "relative_error": one.relative_error}
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
    def plain(self) -> Candidate:
        """Uncoded work by workers as they are."""
        return next(one for one in self.candidates if one.is_plain)

    @property
    def seems_best(self) -> Candidate:
        """What saves most on the tested rounds, other than uncoded work by all workers if there is something."""
        return min(self.candidates, key=lambda one: (one.is_plain, one.time_s))

    @property
    def codes(self) -> list[Candidate]:
        """What is coded, or repeats, with workers as they are."""
        return [one for one in self.candidates if one.fleet.action == "keep" and not one.is_plain]

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
    def share_won(self) -> FloatArray:
        """Share of resamples in which each candidate is the fastest; ties are shared."""
        resampled_s = np.array([one.resampled_s for one in self.candidates])
        is_best = is_tie(resampled_s, resampled_s.min(axis=0))
        share: FloatArray = (is_best / is_best.sum(axis=0)).mean(axis=1)
        return share

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
        for one in self.candidates:
            saved = self.saved(one)
            if not one.is_plain and saved.high >= WORTH_PERCENT:
                half = (saved.high - saved.low) / 2
                needed.append((half / max(abs(saved.percent), WORTH_PERCENT)) ** 2)
        return int(np.ceil(self.n_rounds * max(1.1, min(needed)))) if needed else None

    @property
    def rival(self) -> Candidate | None:
        """What saves most against what was chosen on the tested rounds, if that is sure; None: there is nothing."""
        sure = [one for one in self.candidates[1:] if self.saved(one, self.chosen).low > 0]
        return min(sure, key=lambda one: one.time_s, default=None)

    @property
    def rounds_enough(self) -> int | None:
        """Number of probing rounds after which all choices are as good as the last; None: not before the last."""
        rest_s = self.learned["rest_s"].to_numpy()
        worse = np.flatnonzero(rest_s > (1 + ALIKE) * rest_s[-1])
        first = int(worse[-1]) + 1 if len(worse) else 0
        return None if first >= len(rest_s) - 1 else int(self.learned["rounds"].iloc[first])

    @property
    def rule_matters_percent(self) -> float:
        """Percentage by which the best code takes longer under its worst rule, on the first part."""
        own = self.settings[self.settings["scheme"] == self.codes[0].scheme]
        by_rule_s = own.groupby("rule")["makespan_s"].min()
        return float(100 * (by_rule_s.max() / by_rule_s.min() - 1))

    @property
    def scheme_matters_percent(self) -> float:
        """Percentage by which the worst of the coded schemes takes longer than the best, under the best code's rule."""
        is_coded = ~self.settings["scheme"].isin(["uncoded", REPETITION])
        under = self.settings[(self.settings["rule"] == self.codes[0].setting["rule"]) & is_coded]
        by_scheme_s = under.groupby("scheme")["makespan_s"].min()
        return float(100 * (by_scheme_s.max() / by_scheme_s.min() - 1)) if len(by_scheme_s) else 0.0


def _percent(own_s: FloatArray, other_s: FloatArray) -> FloatArray:
    """Time saved in percent; of times that never end, nothing against each other."""
    with np.errstate(invalid="ignore"):
        ratio = np.where(own_s == other_s, 1.0, own_s / other_s)
    return np.asarray(100 * (1 - np.minimum(ratio, np.finfo(np.float64).max)))


def find_advice(trace: AdjustedTrace, search: Search, *, progress: Progress | None = None) -> Advice:
    """Choose on the first half of a trace, and test on the rest.

    If workers failed slow, and still are, the rounds since then are what counts: these are halved if the change was in
    the second half of the trace, or just before. Tested rounds are met in order, and in resamples of their own length:
    blocks of successive rounds that start anywhere in them, see :func:`simulator.statistics.block_resamples`.
    All candidates meet the same resamples. Uncoded work is always among the schemes.

    Raises
    ------
    SearchError
        If the trace can't be searched, or is too short for any advice.
    """
    if search.schemes is not None and "uncoded" not in search.schemes:
        search = dataclasses.replace(search, schemes=("uncoded", *search.schemes))
    alternatives = list(trace.alternatives())
    advice = _advice(trace, search, PROBES, _within(progress, 0, 1 + len(alternatives)))
    others = []
    for place, other in enumerate(alternatives, start=1):
        with contextlib.suppress(SearchError):  # times below 0 s at some loads
            others.append(_under(other, search, advice, _within(progress, place, 1 + len(alternatives))))
    return dataclasses.replace(advice, others=tuple(others))


def _advice(trace: AdjustedTrace, search: Search, probes: Sequence[int], progress: Progress | None) -> Advice:
    """Advice under one load effect."""
    times, n_workers = trace.times()
    if times.n_rounds < LEAST_ROUNDS:
        raise SearchError(
            f"{trace.path}: not enough data: must hold at least {LEAST_ROUNDS} rounds, got {times.n_rounds}"
        )
    found = fail_slows(trace.measured.duration_s, trace.measured.follows)
    changes = tuple(of for of in found if of.onset > 0 and of.end == times.n_rounds)
    chosen_on, tested_on = _halves(times.n_rounds, changes)
    first, rest = slice(*chosen_on), slice(*tested_on)
    n_first = first.stop - first.start
    keep, *others = fleets(times, n_workers, first)
    probes = [*(n_rounds for n_rounds in probes if n_rounds < n_first), n_first]
    n_parts = len(probes) + len(others) + 1
    choosing = _shorter(search, n_first)
    with searching(trace):
        learned, settings = _learned(keep, first.start, probes, rest, search, progress, n_parts)
        tried: list[Tried] = [(keep, row) for row in fastest_first(settings).to_dict("records")]
        after: list[Tried] = []
        for place, fleet in enumerate(others):
            told = _within(progress, len(probes) + place, n_parts)
            after += _after(fleet.part(first), fleet, _few(choosing, fleet, settings), told)
        tried += _worth_testing(tried, after)
        exact = [_tested(fleet, row, rest, search) for fleet, row in tried]
        fewer = _without_slowest(keep.part(first), choosing.n_jobs)
        approximate = tuple(_tested(keep, row, rest, search) for row in fewer)
    if progress is not None:
        progress(n_parts, n_parts)
    usual_s, twice_s = (at_equal_load_s(keep.times, load / n_workers) for load in (1, 2))
    in_all_s = usual_s[rest].max(axis=1).sum()
    return Advice(
        chosen_on=chosen_on,
        tested_on=tested_on,
        n_rounds=times.n_rounds,
        n_jobs=search.n_jobs,
        changes=changes,
        candidates=tuple(_least_trouble_first(exact)),
        approximate=approximate,
        learned=learned,
        settings=settings,
        twice_percent=float(100 * (np.median(twice_s) / np.median(usual_s) - 1)),
        waiting_percent=float(100 * (1 - median_worker_s(usual_s[rest]).sum() / in_all_s)),
    )


def _under(other: AdjustedTrace, search: Search, advice: Advice, progress: Progress | None) -> Other:
    """The choice under another load effect, and what the advice is worth there."""
    found = _advice(other, search, (), progress)
    own = advice.chosen
    same = (fleet for fleet in fleets(*other.times(), slice(*found.chosen_on)) if fleet.said == own.fleet.said)
    fleet = next(same, None)
    with searching(other):
        meant = None if fleet is None else _tested(fleet, own.setting, slice(*found.tested_on), search)
    return Other(other.effect, found.chosen, None if meant is None else found.saved(meant, found.chosen).percent)


def _least_trouble_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The fastest first, but before all the one that is the least trouble of those that are nearly as fast."""
    fastest_s = min(one.first_s for one in candidates)
    near = [one for one in candidates if one.first_s <= fastest_s / (1 - WORTH_PERCENT / 100)]
    chosen = min(near, key=lambda one: (one.trouble, one.first_s))
    return [chosen, *sorted((one for one in candidates if one is not chosen), key=lambda one: one.first_s)]


def _shorter(search: Search, n_rounds: int) -> Search:
    """A search with as many jobs as there are rounds, or at least some; no more than are meant."""
    return dataclasses.replace(search, n_jobs=min(search.n_jobs, max(FEW_JOBS, n_rounds)))


def _halves(n_rounds: int, changes: Sequence[FailSlow]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rounds to choose on, and those to test on."""
    begin, middle = max((of.onset for of in changes), default=0), n_rounds // 2
    if n_rounds - begin < LEAST_ROUNDS:  # too few since the last change
        begin = 0
    if begin and middle - begin < LEAST_ROUNDS:
        middle = (begin + n_rounds) // 2
    return (begin, middle), (middle, n_rounds)


def _learned(
    keep: Fleet,
    begin: int,
    probes: Sequence[int],
    rest: slice,
    search: Search,
    progress: Progress | None,
    n_parts: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What would be chosen after so many rounds, with its makespan on those tested; and all settings on all of them."""
    in_order = np.arange(search.n_jobs + search.delay)[np.newaxis]
    groups = _shorter(search, probes[-1]).groups(keep.n_workers)
    learned, settings = [], pd.DataFrame()
    for place, n_used in enumerate(probes):
        told, part = _within(progress, place, n_parts), keep.part(slice(begin, begin + n_used))
        n_jobs = _shorter(search, n_used).n_jobs
        settings = evaluate(part.times, part.n_workers, n_jobs, groups, search.rules, progress=told)
        best = fastest_first(settings).iloc[0].to_dict()
        [rest_s] = _makespans_s(best, keep.part(rest), search, in_order)
        found = {"scheme": best["scheme"], "setting": said_setting(best), "rule": best["rule"], "rest_s": rest_s}
        learned.append({"rounds": n_used} | found)
    return pd.DataFrame(learned), settings


def _few(search: Search, fleet: Fleet, settings: pd.DataFrame) -> Search:
    """A search after an action: uncoded, and schemes that were the best two without it; balanced, uncoded alone."""
    best = [kind for kind in fastest_first(settings)["kind"] if kind != "uncoded"]
    kinds = ("uncoded", *(dict.fromkeys(best[:2]) if fleet.shares is None else ()))
    return dataclasses.replace(search, schemes=kinds)


def _after(seen: Fleet, fleet: Fleet, search: Search, progress: Progress | None) -> Iterator[Tried]:
    """What is best after an action, and uncoded work."""
    groups = search.groups(seen.n_workers)
    settings = evaluate(seen.times, seen.n_workers, search.n_jobs, groups, search.rules, progress=progress)
    for place, row in enumerate(fastest_first(settings).to_dict("records")):
        if place == 0 or row["scheme"] == "uncoded":
            yield fleet, row


def _worth_testing(kept: Sequence[Tried], after: Sequence[Tried]) -> Iterator[Tried]:
    """Of each action the best uncoded, and what is coded if it beats that, and codes without the action, by 1 %."""
    by_action = itertools.groupby(sorted(after, key=lambda one: one[0].action), key=lambda one: one[0].action)
    codes_s = [row["makespan_s"] for _, row in kept if row["scheme"] != "uncoded"]
    for _, of_action in by_action:
        in_order = sorted(of_action, key=lambda one: float(one[1]["makespan_s"]))
        uncoded = next(one for one in in_order if one[1]["scheme"] == "uncoded")
        yield uncoded
        best_s = min([uncoded[1]["makespan_s"], *codes_s])
        if in_order[0][1]["makespan_s"] < best_s * (1 - WORTH_PERCENT / 100):
            yield in_order[0]


def _without_slowest(seen: Fleet, n_jobs: int) -> Iterator[dict[Any, Any]]:
    """Rows of `fastest_k`, whose gradient is approximate."""
    n = seen.n_workers
    for k in (n - slowest for slowest in APPROXIMATE if 2 * slowest < n):
        row = {"scheme": "fastest_k", "kind": "fastest_k", "k": k, "rule": "first_enough", "delay_rounds": 0}
        rounds = np.arange(n_jobs)[np.newaxis] % seen.times.n_rounds
        runs = run_measured(scheme_of(row, n), seen.times, rounds, n_jobs, FirstEnough())
        yield row | {"load": 1 / n, "makespan_s": float(runs.makespan_s[0])}


def _tested(fleet: Fleet, setting: dict[Any, Any], rest: slice, search: Search) -> Candidate:
    """A candidate with its makespans on the tested rounds."""
    part = fleet.part(rest)
    n_long = LONGER * search.n_jobs
    in_order = np.arange(n_long + search.delay)[np.newaxis]
    [time_s] = _makespans_s(setting, part, search, in_order)
    [long_s] = _makespans_s(setting, part, dataclasses.replace(search, n_jobs=n_long), in_order)
    testing = _shorter(search, part.times.n_rounds)
    drawn = block_resamples(part.times.n_rounds, testing.n_jobs + search.delay)
    k = setting.get("k") or fleet.n_workers
    error = float(np.sqrt((fleet.n_workers - k) / k))  # that of `fastest_k`, of k responses
    return Candidate(fleet, setting, float(time_s), _makespans_s(setting, part, testing, drawn), float(long_s), error)


def _makespans_s(setting: dict[Any, Any], part: Fleet, search: Search, rounds: IntArray) -> FloatArray:
    """Makespans of a setting under its rule, for runs that meet these rounds, over and over; shape ``(n_runs,)``."""
    scheme, n_rounds = scheme_of(setting, part.n_workers), part.times.n_rounds
    rule = {rule.name: rule for rule in (FirstEnough(), *search.rules)}[setting["rule"]]
    if not scheme.delay_rounds:  # rounds by themselves, so that each need be simulated once only
        each = run_measured(scheme, part.times, np.arange(n_rounds)[np.newaxis], n_rounds, rule).duration_s[0]
        return np.asarray(each[rounds[:, : search.n_jobs] % n_rounds].sum(axis=1))
    needed = rounds[:, : search.n_jobs + scheme.delay_rounds]
    some = max(1, MOST_TIMES // (needed.shape[1] * part.n_workers))
    runs = (needed[first : first + some] for first in range(0, len(needed), some))
    return np.concatenate([run_measured(scheme, part.times, one, search.n_jobs, rule).makespan_s for one in runs])


def _within(progress: Progress | None, place: int, n_places: int) -> Progress | None:
    """The progress of one of some equal parts."""
    if progress is None:
        return None
    return lambda done, in_all: progress(place * in_all + done, n_places * in_all)
