"""Patterns of a trace in sentences, with their rounds, and as columns of ``info.csv``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.parameters import IntArray
from simulator.traces import change_points
from simulator.traces.change_points import NEVER
from simulator.traces.naming import in_runs, labelled

if TYPE_CHECKING:
    from simulator.traces.report import Description

NAMED = 5  # stalls, or rounds
LARGE = 0.05  # share of all seconds: so few times dominate means


def sentences(about: Description) -> Iterator[str]:
    """Yield a sentence for each pattern."""
    found, trace = about.patterns, about.trace
    if found.warm_up:
        several = found.warm_up > 1
        yield (
            f"{f'the first {found.warm_up} rounds are' if several else 'the first round is'} a warm-up: the median "
            f"worker {_takes('s', found.warm_up_factor, 'usual')}{' in the median one' * several}; "
            f"--drop-first {found.warm_up} leaves {'them' if several else 'it'} out"
        )
    for one in found.periodic:
        begins = one.rounds[:: one.in_a_row]
        unit = "round" if bool(np.all(np.diff(begins) == one.period)) else "step"
        slow = (
            f"every {_ordinal(one.period)} {unit} is slow"
            if one.in_a_row == 1
            else f"every {one.period} {unit}s, {one.in_a_row} in a row are slow"
        )
        yield (
            f"{slow} for most workers, from round {begins[0]} on (round{'s' * (one.in_a_row == 1)} {_some(begins)}): "
            f"the median worker {_takes('s', one.factor, 'usual')} (a checkpoint, an evaluation, a new "
            "epoch?)"
        )
    median = "the round's median worker"
    for hit in found.hosts:
        yield (
            f"host {trace.hosts[hit.host]} is hit as a whole in {_rounds(hit.rounds)}: its {hit.n_workers} workers "
            f"{_takes('', hit.factor, median)}, and few others are slow"
        )
    n_rounds, n_workers = trace.duration_s.shape
    yield from change_points.sentences(found.fail_slows, n_rounds, n_workers, trace.names)
    if found.stalls:
        named = ", ".join(
            f"worker {labelled(stall.worker, trace.names)} in round {stall.round} ({stall.duration_s:.4g} s, "
            f"{_times(stall.factor)} times the median worker)"
            for stall in found.stalls[:NAMED]
        )
        more = f", and {len(found.stalls) - NAMED} more" if len(found.stalls) > NAMED else ""
        total_s = float(trace.duration_s[np.isfinite(trace.duration_s)].sum())
        share = sum(stall.duration_s for stall in found.stalls) / total_s
        most = (
            f": {100 * share:.3g} % of all seconds (medians and quantiles are safer than means)"
            if share > LARGE
            else ""
        )
        which = "rare long stalls" if len(found.stalls) > 1 else "one long stall"
        yield f"{which}: {named}{more}{most}"


def besides(about: Description) -> str:
    """Say what other figures leave out, as it is said by itself."""
    found, n_rounds = about.patterns, len(about.trace.duration_s)
    kinds = {
        "warm-up": found.warm_up,
        "periodic rounds": found.periodic,
        "rounds that hit a host": found.hosts,
        "fail-slows": any(of.end == n_rounds for of in found.fail_slows),
        "episodes": any(of.end < n_rounds for of in found.fail_slows),
        "stalls": found.stalls,
    }
    named = [kind for kind, is_there in kinds.items() if is_there]
    return f" ({', '.join(named)} left out)" if named else ""


def pattern_figures(about: Description) -> dict[str, Any]:
    """Columns of ``info.csv``."""
    found, n_rounds = about.patterns, len(about.trace.duration_s)
    n_ended = sum(of.end < n_rounds for of in found.fail_slows)
    return {
        "warm_up_rounds": found.warm_up,
        "period": found.periodic[0].period if found.periodic else None,
        "first_periodic_round": int(found.periodic[0].rounds[0]) if found.periodic else None,
        "host_rounds": sum(len(hit.rounds) for hit in found.hosts),
        "fail_slows": len(found.fail_slows) - n_ended,
        "episodes": n_ended,
        "stalls": len(found.stalls),
        "longest_stall_s": found.stalls[0].duration_s if found.stalls else None,
    }


def _takes(ending: str, factor: float, than: str) -> str:
    if factor > np.exp(NEVER / 2):
        return f"answer{ending} nothing"
    return f"take{ending} {_times(factor)} times as long as {than}"


def _times(factor: float) -> str:
    return f"{factor:.2g}" if factor < 100 else f"{factor:.0f}"


def _ordinal(number: int) -> str:
    if number == 2:
        return "second"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _some(rounds: IntArray) -> str:
    named = ", ".join(map(str, rounds[: NAMED - 2]))
    return named if len(rounds) < NAMED else f"{named}, ..., {rounds[-1]}; {len(rounds)} in all"


def _rounds(rounds: IntArray) -> str:
    return f"round{'s' * (len(rounds) > 1)} {in_runs(rounds.tolist())}"
