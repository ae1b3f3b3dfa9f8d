"""The way from a trace to advice: each thing that can be done is replayed, chosen and tested on different rounds."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from schemes.heterogeneous_gradient_coding import BY_SPEED, HeterogeneousGradientCoding
from simulator.engine.master_rules import FirstEnough
from simulator.parameters import FloatArray, IntArray
from simulator.statistics import block_resamples
from simulator.traces.change_points import FailSlow, fail_slows
from simulator.traces.measures import median_worker_s
from simulator.tuning.actions import Fleet, at_equal_load_s, fleets, speeds_of
from simulator.tuning.advice import LONGER, Advice, Candidate, Other
from simulator.tuning.best import ALIKE, WORTH_PERCENT, fastest_first
from simulator.tuning.evaluate import Progress, evaluate, run_measured
from simulator.tuning.legal_settings import Group, grouped
from simulator.tuning.rows import NEEDS_ALL, said_rule, said_setting
from simulator.tuning.scenarios import scheme_of
from simulator.tuning.search import Search, searching
from simulator.tuning.trace import AdjustedTrace, SearchError

LEAST_ROUNDS = 10  # fewer say nothing of rounds to come
PROBES = (1, 3, 10, 30, 100, 300, 1000)
FEW_JOBS = 80  # that any part is replayed to at least, and no more than it has rounds
MOST_TIMES = 1 << 24  # that are simulated side by side
MUCH = 0.1  # of the time, lost under another load effect
APPROXIMATE = (1, 2, 3, 5)  # slowest workers of each round that an approximate gradient does without
Tried = tuple[Fleet, dict[Any, Any]]  # with a row of `simulator.tuning.evaluate.evaluate`


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
    found = []
    for place, other in enumerate(alternatives, start=1):
        with contextlib.suppress(SearchError):  # times below 0 s at some loads
            found.append((other, _advice(other, search, (), _within(progress, place, 1 + len(alternatives)))))
    others = [_under(other, search, advice.chosen, of_other) for other, of_other in found]
    robust = next((better for other in others if (better := _as_good_in_both(advice, other))), None)
    if robust is not None:
        in_order = [robust, *(one for one in advice.candidates if one is not robust)]
        advice = dataclasses.replace(advice, candidates=tuple(in_order))
        others = [_under(other, search, robust, of_other) for other, of_other in found]
    return dataclasses.replace(advice, others=tuple(others))


def _as_good_in_both(advice: Advice, other: Other) -> Candidate | None:
    """What would be chosen under another load effect, if the choice loses much there, and this next to nothing here."""
    if other.saves_percent is None or other.saves_percent > -100 * MUCH:
        return None
    wanted = other.chosen.fleet.said, other.chosen.setting["scheme"]
    alike = (one for one in advice.doable if (one.fleet.said, one.scheme) == wanted)
    return next((one for one in alike if one.first_s <= advice.chosen.first_s * (1 + ALIKE)), None)


def _advice(trace: AdjustedTrace, search: Search, probes: Sequence[int], progress: Progress | None) -> Advice:
    """Advice under one load effect."""
    times, n_workers = trace.times()
    if times.n_rounds < LEAST_ROUNDS:
        raise SearchError(
            f"{trace.path}: not enough data: must hold at least {LEAST_ROUNDS} rounds, got {times.n_rounds}"
        )
    found = fail_slows(trace.measured.duration_s, trace.measured.follows)
    changes = tuple(of for of in found if of.onset > 0 or of.end < times.n_rounds)
    chosen_on, tested_on = _halves(times.n_rounds, [of for of in changes if of.end == times.n_rounds])
    first, rest = slice(*chosen_on), slice(*tested_on)
    n_first = first.stop - first.start
    keep, *others = fleets(times, n_workers, first, _failed(changes, first), trace.measured.names)
    probes = [*(n_rounds for n_rounds in probes if n_rounds < n_first), n_first]
    n_parts = len(probes) + len(others) + 1
    choosing = _shorter(search, n_first)
    with searching(trace):
        learned, settings = _learned(keep, first.start, probes, rest, search, progress, n_parts)
        tried: list[Tried] = [(keep, row) for row in fastest_first(settings).to_dict("records")]
        after: list[Tried] = []
        for place, fleet in enumerate(others):
            told = _within(progress, len(probes) + place, n_parts)
            after += _after(fleet.part(first), fleet, _few(choosing, settings), told)
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
        candidates=tuple(_least_trouble_first(exact, trace.measured.has_collectives)),
        has_collectives=trace.measured.has_collectives,
        approximate=approximate,
        learned=learned,
        settings=settings,
        twice_percent=float(100 * (np.median(twice_s) / np.median(usual_s) - 1)),
        waiting_percent=float(100 * (1 - median_worker_s(usual_s[rest]).sum() / in_all_s)),
    )


def _under(other: AdjustedTrace, search: Search, own: Candidate, found: Advice) -> Other:
    """The choice under another load effect, and what ours is worth there."""
    first = slice(*found.chosen_on)
    after = fleets(*other.times(), first, _failed(found.changes, first), other.measured.names)
    same = (fleet for fleet in after if fleet.said == own.fleet.said)
    fleet = next(same, None)
    with searching(other):
        meant = None if fleet is None else _tested(fleet, own.setting, slice(*found.tested_on), search)
    return Other(other.effect, found.chosen, None if meant is None else found.saved(meant, found.chosen).percent)


def _least_trouble_first(candidates: Sequence[Candidate], has_collectives: bool = False) -> list[Candidate]:
    """The fastest first, but before all the one that is the least trouble of those that are nearly as fast.

    Of codes, one that asks for at most half of the load may be 2 % slower. Ranks that have no master can't use any.
    """
    doable = [one for one in candidates if not (has_collectives and one.is_coded)]
    fastest_s = min(one.first_s for one in doable)
    near = [one for one in doable if one.first_s <= fastest_s / (1 - WORTH_PERCENT / 100)]
    chosen = min(near, key=lambda one: (one.trouble, one.first_s))
    lighter = [
        one
        for one in candidates
        if chosen.is_coded and one.fleet.said == chosen.fleet.said and one.is_coded
        if one.setting["delay_rounds"] <= chosen.setting["delay_rounds"]
        if one.setting["load"] <= chosen.setting["load"] / 2 and one.first_s <= chosen.first_s * (1 + ALIKE)
    ]
    chosen = min(lighter, key=lambda one: one.first_s, default=chosen)
    return [chosen, *sorted((one for one in candidates if one is not chosen), key=lambda one: one.first_s)]


def _shorter(search: Search, n_rounds: int) -> Search:
    """A search with as many jobs as there are rounds, or at least some; no more than are meant."""
    return dataclasses.replace(search, n_jobs=min(search.n_jobs, max(FEW_JOBS, n_rounds)))


def _failed(changes: Sequence[FailSlow], rounds: slice) -> list[int]:
    """Workers that were slow in some of the rounds, and not in all of the trace."""
    return [of.worker for of in changes if of.onset < rounds.stop and of.end > rounds.start]


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
    longest = _shorter(search, probes[-1])
    learned, settings = [], pd.DataFrame()
    for place, n_used in enumerate(probes):
        told, part = _within(progress, place, n_parts), keep.part(slice(begin, begin + n_used))
        n_jobs = _shorter(search, n_used).n_jobs
        groups = _groups(longest, part)
        settings = evaluate(part.times, part.n_workers, n_jobs, groups, search.rules, progress=told)
        best = fastest_first(settings).iloc[0].to_dict()
        [time_s] = _makespans_s(best, keep.part(rest), search, in_order)
        found = {"scheme": best["scheme"], "setting": said_setting(best), "rule": said_rule(best), "time_s": time_s}
        learned.append({"rounds": n_used} | found)
    return pd.DataFrame(learned), settings


def _groups(search: Search, seen: Fleet) -> list[Group]:
    """Settings for workers with such times; load by speed is tried whatever the schemes, and after no other action."""
    speeds = speeds_of(seen.times, seen.n_workers)
    groups = [group for group in search.groups(seen.n_workers, speeds) if group.first.label != BY_SPEED]
    if seen.action == "keep":
        by_speed = HeterogeneousGradientCoding.settings(seen.n_workers, 0, speeds=speeds)
        groups += grouped(scheme for scheme in by_speed if scheme.label == BY_SPEED)
    return groups


def _few(search: Search, settings: pd.DataFrame) -> Search:
    """A search after an action: uncoded, and schemes that were the best two without it."""
    best = fastest_first(settings)
    others = best["kind"][~best["scheme"].isin(NEEDS_ALL)]
    return dataclasses.replace(search, schemes=("uncoded", *dict.fromkeys(others[:2])))


def _after(seen: Fleet, fleet: Fleet, search: Search, progress: Progress | None) -> Iterator[Tried]:
    """What is best after an action, and uncoded work."""
    groups = _groups(search, seen)
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
    """Makespans of a setting under its rule, for runs that replay these rounds cyclically; shape ``(n_runs,)``."""
    scheme, n_rounds = scheme_of(setting, part.n_workers), part.times.n_rounds
    rule = {rule.name: rule for rule in (FirstEnough(), *search.rules)}[setting["rule"]]
    if scheme.is_memoryless:  # each round need be simulated once only
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
