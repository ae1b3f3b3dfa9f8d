"""Advice in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from schemes.multiplexed import REPETITION
from simulator.parameters import FloatArray
from simulator.statistics import N_BLOCK_RESAMPLES
from simulator.tuning.best import ALIKE, WORTH_PERCENT
from simulator.tuning.rows import said_setting

if TYPE_CHECKING:
    from simulator.tuning.advice import Advice
    from simulator.tuning.search import Search


def sentences(advice: Advice, search: Search) -> list[str]:
    """The advice in words."""
    scheme, share = advice.winner["scheme"], advice.share_won
    said = [sentence for sentence in (_verdict(advice), _of_coding(advice)) if sentence]
    said.append(
        f"{scheme}, as chosen on the first half, was the fastest in {100 * share[0]:.0f} % of {N_BLOCK_RESAMPLES} "
        f"resamples of the rest{_runner_up(advice, share)}."
    )
    if advice.verdict == "pays":
        said.append(_probing(advice))
    if len(search.rules) > 1 and scheme != "uncoded":
        rule, code = advice.rule_matters_percent, advice.scheme_matters_percent
        if max(rule, code) >= WORTH_PERCENT:
            more = "The rule matters more than the code" if rule > code else "The code matters more than the rule"
            said.append(
                f"{more} on the first half: {scheme} at its best takes {rule:.0f} % longer under the worst of the "
                f"rules tried, and the worst of the coded schemes {code:.0f} % longer than the best, under its rule."
            )
    return said


def _named(row: dict[Any, Any]) -> str:
    setting = said_setting(row)
    return f"{row['scheme']}{f' ({setting})' if setting else ''} with the rule {row['rule']}"


def _verdict(advice: Advice) -> str:
    """Say what to do, in a sentence or two."""
    scheme, name, savings = advice.winner["scheme"], _named(advice.winner), advice.savings()
    rival = advice.rival
    if advice.verdict == "pays":
        against = [f"{savings[scheme]} against uncoded work"]
        for other in ("GC", REPETITION):
            saved = advice.saved(scheme, other)
            if saved is not None and scheme != other:
                against.append(f"{saved} against {other} at its best")
        said = f"Use {name}: on the rest it saves {', '.join(against)}."
        if rival is not None:
            said += (
                f" But the choice is not sure: on the rest {rival}, as chosen on the first half, saves "
                f"{advice.saved(rival, scheme)} against it."
            )
        return said
    if advice.verdict == "does not pay":
        most = max(savings, key=lambda label: savings[label].percent, default=None)
        tested = "" if most is None else f": on the rest, {most} saves most, {savings[most]} against uncoded work"
        return f"Coding does not pay here{tested}."
    best = "uncoded work" if scheme == "uncoded" else name
    said = f"Not enough data: on the first half {best} was the fastest"
    if scheme != "uncoded":
        said += f", but on the rest it saves {savings[scheme]} against uncoded work"
    if rival is not None:
        said += f"; on the rest {rival} saves {advice.saved(rival, scheme)} against it, so the halves disagree"
    return f"{said}. Record more rounds."


def _probing(advice: Advice) -> str:
    """Say how many probing rounds would have been enough."""
    enough = advice.rounds_enough
    if enough is None:
        return (
            f"The choice still changed by more than {100 * ALIKE:.0f} % on the rest near the end of the "
            f"{advice.n_chosen_on} probing rounds: more of them may choose better."
        )
    return (
        f"{enough} probing round{'s' if enough > 1 else ''} would have been enough: on the rest, every choice from "
        f"then on is at most {100 * ALIKE:.0f} % slower than the last."
    )


def _of_coding(advice: Advice) -> str:
    """Say what coding adds to repeating what was missed."""
    labels = [label for label in advice.chosen["scheme"] if label not in ("uncoded", REPETITION)]
    found = {label: advice.saved(label, REPETITION) for label in labels}
    savings = {label: saved for label, saved in found.items() if saved is not None}
    if not savings or any(saved.low > 0 for saved in savings.values()):
        return ""
    best = max(savings, key=lambda label: savings[label].percent)
    if all(saved.high < 0 for saved in savings.values()):
        return (
            f"Repetition without coding is faster than every code on the rest: {best} saves {savings[best]} against it."
        )
    sure = "Coding itself gains nothing that is sure"
    return f"{sure}: {best} saves most, {savings[best]} against repetition without coding."


def _runner_up(advice: Advice, share: FloatArray) -> str:
    others = np.argsort(-share, kind="stable")
    second = next((int(place) for place in others if place != 0 and share[place] > 0), None)
    return "" if second is None else f" ({advice.chosen['scheme'].iloc[second]}: {100 * share[second]:.0f} %)"
