"""Advice in words: what to do first, then how sure that is, and what it rests on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemes.backup_tasks import COPIES
from schemes.heterogeneous_gradient_coding import BY_SPEED
from schemes.multiplexed import REPETITION
from simulator.statistics import N_BLOCK_RESAMPLES, TIE
from simulator.traces.naming import labelled, workers
from simulator.tuning.best import ALIKE, WORTH_PERCENT
from simulator.tuning.rows import said_setting, said_shares

if TYPE_CHECKING:
    from simulator.tuning.advice import Advice, Candidate
    from simulator.tuning.search import Search

ALL_WORK = 95.0  # percent longer that twice the load takes: as good as twice as long
NEARLY = 1.1  # times as long, which less than half of the load may be worth
MOST_NAMED = 3  # other things that can be done
MOST_WORKERS = 12  # by their numbers
ALL_REDUCE = (
    "These ranks exchange gradients by collectives, and a code needs a master "
    "(documentation: Explanation, Which systems it models)"
)
DOING = {"replace": "replacing", "leave": "leaving", "give": "giving", "use": "using"}
VERB = re.compile(rf"^({'|'.join(DOING)})\b|(?<=, and )use\b")
MUCH_PERCENT = 5  # of the time: worth looking for a reason
SEEN = 0.005  # share of resamples that is no 0 %


def sentences(advice: Advice, search: Search, *, doubt: str = "") -> list[str]:
    """The advice in words, the verdict first; then what a code would save, if these ranks have no master.

    Parameters
    ----------
    advice, search
        What was found, and by which search.
    doubt
        Why times are hardly own work, if so.
    """
    return [
        *([f"No advice: {doubt}.", "If they are own work all the same:"] if doubt else []),
        _verdict(advice),
        *_with_master(advice),
        *_instead(advice),
        *_shares(advice),
        *_changes(advice),
        *_how_sure(advice),
        *_of_coding(advice),
        *_approximate(advice),
        *_rule_or_code(advice, search),
        *_probing(advice),
        *_long_runs(advice),
        *_load_effects(advice),
    ]


def what(one: Candidate) -> str:
    """Say what is done, as an order without a full stop."""
    code = "uncoded work"
    if one.is_coded:
        setting = said_setting(one.setting)
        code = f"{one.scheme}{f' ({setting})' if setting else ''} with the rule {one.setting['rule']}"
    who = one.fleet.workers
    action = f"{one.fleet.action} {workers(who, one.fleet.names, most=MOST_WORKERS)}" if who else ""
    if one.scheme == BY_SPEED:
        action = "give each worker load in proportion to its speed"
    if not action:
        return f"use {code}"
    return f"{action}, and use {code}" if one.is_coded else action


def doing(one: Candidate) -> str:
    """Say what is done, as the subject of a sentence.

    Examples
    --------
    >>> from simulator.tuning.actions import Fleet
    >>> from simulator.tuning.advice import Candidate
    >>> plain = {"scheme": "uncoded", "kind": "uncoded"}
    >>> doing(Candidate(Fleet("leave out", (3,), None, 8), plain, 1.0, None, 1.0))
    'leaving out worker 3'
    """
    return VERB.sub(lambda verb: DOING[verb[0]], what(one))


def _verdict(advice: Advice) -> str:
    """Say what to do, in a sentence or two."""
    chosen, plain = advice.chosen, advice.plain
    if advice.verdict == "pays":
        holds = f", each worker holding {100 * chosen.setting['load']:.3g} % of the data" if chosen.is_coded else ""
        if chosen.scheme == COPIES:
            holds = ", where every worker must be able to read all of the data"
        return (
            f"{_capital(what(chosen))}: on later rounds, {advice.n_jobs} jobs take "
            f"{_seconds(chosen.time_s)} rather than {_seconds(plain.time_s)}, {advice.saved(chosen)} less{holds}."
        )
    if advice.verdict == "does not pay":
        return _nothing_pays(advice)
    more = (advice.rounds_needed or 0) - advice.n_rounds
    best = chosen if not chosen.is_plain else advice.seems_best
    seems = f"{doing(best)} saves {advice.saved(best)} of the time"
    if advice.too_short:
        if advice.saved(best).percent < WORTH_PERCENT:
            copies = advice.find("GC")
            costs = (
                "" if copies is None or advice.has_collectives else f", and {doing(copies)} {_costs(advice, copies)}"
            )
            seems = f"nothing that was tried saves {WORTH_PERCENT:g} %{costs}"
        return (
            f"Too few rounds to choose by: {advice.n_rounds} were measured; record at least {more} more. On the "
            f"{advice.n_tested_on} that were tested, {seems}."
        )
    return (
        f"Not enough data: {seems} on later rounds, which may be chance. Record about "
        f"{more} more rounds, and change nothing until then."
    )


def _nothing_pays(advice: Advice) -> str:
    """Say what the best code saves or costs, and two copies of everything; or what else saves most; then why."""
    work = (
        "All of a step is work (twice the load takes twice as long)"
        if advice.twice_percent > ALL_WORK
        else f"Twice the load takes {advice.twice_percent:.0f} % longer"
    )
    why = f"{work}, and stragglers cost {advice.waiting_percent:.1f} % of the time."
    best = advice.seems_best
    most = "" if best.is_plain else f"; the most is {advice.saved(best)}, by {doing(best)}"
    if advice.has_collectives:
        no_one = "no worker is slow often enough to be replaced, left out or given less load"
        no_code = f"neither other workers nor load by speed save {WORTH_PERCENT:g} % for sure{most}"
        if best.is_plain and advice.waiting_percent > MUCH_PERCENT:
            why = f"{why[:-1]}, spread over workers and rounds: look for what slows them."
        return f"Change nothing: {no_one if best.is_plain else no_code}. {why}"
    codes = advice.coded
    code = min(codes, key=lambda one: one.time_s, default=None)
    if code is not None and advice.saved(code).percent < WORTH_PERCENT:
        copies = advice.find("GC")
        more = "" if copies is None or copies is code else f", and {what(copies)[4:]} {_costs(advice, copies)}"
        return f"Do not code: {what(code)[4:]} {_costs(advice, code)}{more}. {why}"
    tried = "" if codes else " No code was tried."
    return f"Change nothing: nothing that was tried saves {WORTH_PERCENT:g} % for sure{most}.{tried} {why}"


def _with_master(advice: Advice) -> Iterator[str]:
    """Say what a code would save, if there were a master."""
    if not advice.has_collectives:
        return
    best = min((one for one in advice.candidates if one.is_coded), key=lambda one: one.time_s, default=None)
    if best is None:
        yield f"{ALL_REDUCE}."
    elif advice.saved(best).low > 0:
        yield f"{ALL_REDUCE}: with a master, {doing(best)} would save at most {advice.saved(best)}."
    else:
        yield f"{ALL_REDUCE}; with one, no code that was tried would save time for sure."


def _costs(advice: Advice, one: Candidate) -> str:
    more = 100 * (one.time_s / advice.plain.time_s - 1)
    return _longer(more) if more >= WORTH_PERCENT else "saves next to nothing"


def _longer(percent: float) -> str:
    return f"takes {percent:.0f} % longer" if percent < 200 else f"takes {1 + percent / 100:.3g} times as long"


def _instead(advice: Advice) -> Iterator[str]:
    """Say what else can be done: the best of each other action, and the best code."""
    if advice.verdict != "pays":
        return
    lighter = _lighter(advice)
    others: list[Candidate] = []
    for one in sorted(advice.doable[1:], key=lambda one: one.time_s):
        is_known = _kind(one) in map(_kind, (advice.chosen, *others))
        is_more = one.steps > advice.chosen.steps and advice.saved(one, advice.chosen).percent < WORTH_PERCENT
        if not (is_known or is_more or one.is_plain or one is lighter) and advice.saved(one).low > 0:
            others.append(one)
    said = [f"{what(one)} ({_seconds(one.time_s)}, {advice.saved(one)} less)" for one in others[:MOST_NAMED]]
    if lighter is not None:
        copies = " and as much for each copy," if lighter.scheme == COPIES else ""
        shares = f"load {lighter.setting['load']:.3g}{copies} rather than {advice.chosen.setting['load']:.3g}"
        said.insert(0, f"{what(lighter)} ({_seconds(lighter.time_s)}, {advice.saved(lighter)} less, {shares})")
    sure = [one for one in advice.doable[1:] if not one.is_plain and advice.saved(one).low > 0]
    if not said and sure:
        best = min(sure, key=lambda one: one.time_s)
        said = [f"{what(best)} ({_seconds(best.time_s)}, {advice.saved(best)} less)"]
    yield f"Or else: {'; '.join(said)}." if said else "Nothing else that was tried saves for sure."


def _shares(advice: Advice) -> Iterator[str]:
    """Say what load by speed gives each worker, if that saves anything."""
    one = advice.find(BY_SPEED)
    if one is not None and advice.saved(one).low > 0:
        yield said_shares(one.setting["speeds"])


def _kind(one: Candidate) -> tuple[str, bool, bool]:
    """Say what kind of thing it is, of which the best is named: an action, a code, copies, or both of two."""
    return one.fleet.action, one.is_coded, one.scheme == COPIES


def _lighter(advice: Advice) -> Candidate | None:
    """Find what is nearly as fast as the choice with at most half of its load, if that is a code."""
    most = advice.chosen.setting["load"] / 2 if advice.chosen.is_coded else 0.0
    lighter = [one for one in advice.codes if one.setting["load"] <= most and advice.saved(one).low > 0]
    best = min(lighter, key=lambda one: one.time_s, default=None)
    return best if best is not None and best.time_s < NEARLY * advice.chosen.time_s else None


def _changes(advice: Advice) -> Iterator[str]:
    """Say which workers failed slow and when, and what that means for the advice."""
    if not advice.changes:
        return
    said = ", ".join(
        f"worker {labelled(of.worker, advice.plain.fleet.names)} "
        f"{f'is {of.factor:.2g} times slower' if of.factor < math.inf else 'answers nothing'} from "
        f"round {of.onset} {f'to {of.end - 1}' if of.end < advice.n_rounds else 'on'}"
        for of in advice.changes[:MOST_NAMED]
    )
    more = f" and {len(advice.changes) - MOST_NAMED} more" if len(advice.changes) > MOST_NAMED else ""
    if advice.chosen_on[0]:
        then = f". This is for workers as they are since round {advice.chosen_on[0]}"
    elif any(of.end == advice.n_rounds for of in advice.changes):
        then = "; too few rounds came after that to choose by"
    else:
        then = f". What is saved in such rounds rests on {'one event' if len(advice.changes) == 1 else 'these events'}"
    yield f"Machines changed during the trace: {said}{more}{then}."


def _how_sure(advice: Advice) -> Iterator[str]:
    if advice.verdict == "does not pay" or advice.too_short:
        return
    share, rival = dict(advice.share_won), advice.rival
    own = share.pop(advice.chosen)
    said = (
        f"Of {1 + len(share)} options, {doing(advice.chosen)} was the fastest in "
        f"{'all' if own > 1 - TIE else f'{100 * own:.0f} % of'} {N_BLOCK_RESAMPLES} resamples"
    )
    other = max(share, key=share.__getitem__, default=advice.chosen)
    if share.get(other, 0.0) >= SEEN:
        said += f", {doing(other)} in {100 * share[other]:.0f} %"
    if rival is not None and advice.verdict == "pays" and advice.saved(rival, advice.chosen).percent >= WORTH_PERCENT:
        said += (
            f"; the choice is not sure: on the tested rounds, {doing(rival)} saves "
            f"{advice.saved(rival, advice.chosen)} against it"
        )
    yield f"{said}."


def _of_coding(advice: Advice) -> Iterator[str]:
    """Say what coding adds to repeating what was missed, or to copies of it."""
    repeated = [one for one in map(advice.find, (REPETITION, COPIES)) if one is not None]
    if not repeated or advice.verdict != "pays" or advice.chosen not in advice.codes:
        return
    best_repeated = min(repeated, key=lambda one: one.time_s)
    name = "repetition without coding" if best_repeated.scheme == REPETITION else "copying the last tasks"
    savings = {one: advice.saved(one, best_repeated) for one in advice.coded}
    if not savings or any(saved.low > 0 for saved in savings.values()):
        return
    best = max(savings, key=lambda one: savings[one].percent)
    if all(saved.high < 0 for saved in savings.values()):
        yield f"{_capital(name)} is faster than every code: {best.scheme} saves {savings[best]} against it."
    else:
        yield f"No significant gain from coding itself: {best.scheme} saves most, {savings[best]} against {name}."


def _approximate(advice: Advice) -> Iterator[str]:
    """Say what approximate gradients would save, and their error."""
    if not advice.approximate or advice.has_collectives or advice.waiting_percent < WORTH_PERCENT:
        return
    said = (
        f"k {one.setting['k']} saves {advice.saved(one)} at a relative error of {one.relative_error:.2f}"
        for one in advice.approximate[:MOST_NAMED]
    )
    yield f"If gradients may be approximate (fastest_k, the slowest of each round left out): {'; '.join(said)}."


def _rule_or_code(advice: Advice, search: Search) -> Iterator[str]:
    if len(search.rules) < 2 or advice.verdict != "pays" or advice.chosen not in advice.codes:
        return
    rule, code = advice.rule_matters_percent, advice.scheme_matters_percent
    n_codes = len({one.scheme for one in advice.coded})
    if advice.chosen.scheme != COPIES and max(rule, code) >= WORTH_PERCENT and n_codes > 1:
        more = "The rule matters more than the code" if rule > code else "The code matters more than the rule"
        yield (
            f"{more}: on the rounds of choosing, {advice.codes[0].scheme} under another rule takes up to {rule:.0f} % "
            f"longer, and another code under the same rule up to {code:.0f} % longer."
        )


def _probing(advice: Advice) -> Iterator[str]:
    """Say how many probing rounds would have been enough."""
    if advice.verdict != "pays" or advice.chosen not in advice.codes:
        return
    enough, thing = advice.rounds_enough, "scheme" if advice.chosen.scheme == COPIES else "code"
    if enough is None:
        yield (
            f"The choice of a {thing} still changed by more than {100 * ALIKE:.0f} % near the end of the "
            f"{advice.chosen_on[1] - advice.chosen_on[0]} rounds of choosing: more of them may choose better."
        )
    else:
        yield (
            f"The {thing} that {enough} round{'s' if enough > 1 else ''} would have chosen, and each later choice, is "
            f"at most {100 * ALIKE:.0f} % slower than the last on the tested rounds."
        )


def _long_runs(advice: Advice) -> Iterator[str]:
    """Say what is saved in long runs by the choice, or by what is then better, if it has T rounds of delay."""
    for one in advice.doable:
        in_long = 100 * (1 - one.long_s / advice.plain.long_s)
        change = in_long - advice.saved(one).percent
        is_better = one.long_s < advice.chosen.long_s * (1 - WORTH_PERCENT / 100)
        if one.setting["delay_rounds"] and (one is advice.chosen or is_better) and abs(change) >= WORTH_PERCENT:
            why = ", where its T rounds at the end weigh less," if change > 0 else ","
            yield (
                f"With {_grouped(advice.n_long)} jobs{why} {one.scheme} saves {in_long:.1f} % (with "
                f"{_grouped(advice.n_jobs)}: {advice.saved(one).percent:.1f} %)."
            )


def _load_effects(advice: Advice) -> Iterator[str]:
    """Say if the choice depends on how times grow with load."""
    for other in () if advice.too_short else advice.others:
        grows = "adds to their work" if other.effect == "additive" else "multiplies their work"
        if what(other.chosen) == what(advice.chosen):
            yield f"The choice is the same if what slows workers {grows} (--load-effect {other.effect})."
        elif other.saves_percent is not None and other.saves_percent > -WORTH_PERCENT:
            yield (
                f"The choice hardly matters if what slows workers {grows} (--load-effect {other.effect}): then "
                f"{doing(other.chosen)} is at most {WORTH_PERCENT:g} % faster."
            )
        else:
            loses = "" if other.saves_percent is None else f", and the advice {_longer(-other.saves_percent)}"
            yield (
                f"The choice depends on how times grow with load: if what slows workers {grows} (--load-effect "
                f"{other.effect}), {doing(other.chosen)} is the best{loses}. Measure at two loads or more: "
                "`stragglersim trace info` says which it is."
            )


def _seconds(time_s: float) -> str:
    return f"{_grouped(time_s, '.4g' if time_s < 1e4 else '.0f')} s"


def _grouped(number: float, digits: str = ".0f") -> str:
    return f"{number:,{digits}}".replace(",", " ")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
