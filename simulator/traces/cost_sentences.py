"""What stragglers cost and who causes it: in sentences, as rows of a table, and as columns of ``info.csv``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from simulator.traces.costs import SLOWEST, Costs, Estimate, Saving
from simulator.traces.measures import SURE
from simulator.traces.naming import ONE_WORKER, labelled, workers

if TYPE_CHECKING:
    from simulator.traces.report import Description

LITTLE = 0.02  # of the time, which is not worth looking for who causes it
MOST = 0.5  # of what could be saved: whoever saves that alone causes it; and of what they save, in any case
FEW = 0.1  # of the rounds: if half is lost in so few, they are named
NAMED = 5  # rounds


def verdict(about: Description) -> Iterator[tuple[str, str]]:
    """Yield what stragglers cost, and who causes it, each with its name."""
    of = about.costs
    if of is None or about.is_alone:
        yield "verdict", _unknown(about)
        return
    least = "at least " if about.times.never_answered or about.trace.censored is not None else ""
    if about.trace.doubt:
        yield "verdict", f"no verdict: {about.trace.doubt}"
    yield "if own work" if about.trace.doubt else "verdict", _answer(about, of, least)
    yield (
        "waiting",
        f"{least}{_share(of.waiting)} of worker time is waiting for the slowest of the round: "
        f"{_estimate(of.worker_hours, 3)} worker-hours per 1 000 rounds",
    )
    yield (
        "slowest",
        f"{least}{_estimate(of.over_mean, 4)} times the round's mean, {_estimate(of.over_median, 4)} times its median "
        "worker",
    )


def _unknown(about: Description) -> str:
    return ONE_WORKER if about.is_alone else "what stragglers cost is not known: no worker answered after any time"


class Cause(NamedTuple):
    """Whatever causes most of what stragglers cost."""

    what: Literal["nothing", "workers", "rounds", "nobody"]
    saving: Saving | None = None


def _cause(about: Description, of: Costs) -> Cause:
    in_all = of.savings[-1].share
    if in_all.value < LITTLE:
        return Cause("nothing")
    for kind in ("worker", "host", "slow"):
        saving = of.saved(kind)
        if saving and saving.share.value >= MOST * in_all.value and _is_sure(about, of, saving):
            return Cause("workers", saving)
    return Cause("rounds" if len(of.half) <= FEW * len(about.stragglers) else "nobody")


def _is_sure(about: Description, of: Costs, saving: Saving) -> bool:
    """Tell if others, or other rounds, would hardly have the same workers cause as much by luck."""
    kind, number, share = saving
    if kind == "host":
        worst = of.saved("worker")
        is_one_worker = worst is not None and worst.share.value >= MOST * share.value
        is_hit = number in {hit.host for hit in about.patterns.hosts}
        return (is_hit or (of.host_luck or 0.0) <= SURE) and not is_one_worker and not share.low <= 0
    if math.isnan(share.low):  # the slowest of every round must be one of them
        ones = about.slow.workers if kind == "slow" else [number]
        n_rounds, n_workers = about.stragglers.shape
        is_always = bool(np.isin(about.trace.duration_s.argmax(axis=1), ones).all())
        return is_always and float(len(ones) / n_workers) ** (n_rounds - 1) <= SURE
    return share.low >= MOST * share.value


def _answer(about: Description, of: Costs, least: str) -> str:
    what = f"{least}{_share(of.savings[-1].share)} of the time"
    match _cause(about, of):
        case Cause("nothing"):
            return f"stragglers cost little: {what}"
        case Cause("workers", Saving() as saving):
            return f"stragglers cost {what}, and {_share(saving.share)} because of {_who(about, saving)}"
        case Cause("rounds"):
            return f"stragglers cost {what}, half of it in {_half(about, of)}"
    alone = [f"{_who(about, one)} {_percent(one.share)}" for one in _worst(of)]
    return f"stragglers cost {what}; no single worker {_causes(of)} most of it: {', '.join(alone)}"


def _causes(of: Costs) -> str:
    worst = of.saved("worker")
    may = worst is not None and worst.share.value >= MOST * of.savings[-1].share.value
    return "surely causes" if may else "causes"


def _half(about: Description, of: Costs) -> str:
    named = ", ".join(map(str, of.half[:NAMED])) + (", ..." if len(of.half) > NAMED else "")
    return f"{len(of.half)} of {len(about.stragglers)} rounds ({named})"


def _worst(of: Costs) -> list[Saving]:
    return [one for one in map(of.saved, ("worker", "slowest")) if one]


def full_sentences(about: Description, command: str) -> str:
    """What stragglers cost, who causes it and what to do next, for people who have never seen such a verdict."""
    of = about.costs
    if of is None or about.is_alone:
        return f"{_unknown(about)[0].upper()}{_unknown(about)[1:]}."
    least = "at least " if about.times.never_answered or about.trace.censored is not None else ""
    n_rounds, n_workers = about.stragglers.shape
    cause = _cause(about, of)
    said = [
        f"Stragglers cost {'little, ' if cause.what == 'nothing' else ''}{least}{_share(of.savings[-1].share)} of the "
        f"time: each of the {n_rounds} rounds (steps) waits for the slowest of {n_workers} workers (ranks), and that "
        "much would be saved if none were slower than the median worker of its round"
    ]
    match cause:
        case Cause("nothing"):
            said.append("There is next to nothing to gain from doing anything about them")
        case Cause("workers", Saving() as saving):
            who = _who(about, saving)
            said.append(f"Most of it is because of {who}: that alone would save {_share(saving.share)}")
        case Cause("rounds"):
            said.append(f"Half of it was lost in {_half(about, of)}: look at what happened then")
        case _:
            alone = ", ".join(f"{_who(about, one)} costs {_percent(one.share)}" for one in _worst(of))
            said.append(f"No single worker {_causes(of)} most of it: {alone}")
    if about.trace.doubt:
        return f"No verdict: {about.trace.doubt}. If they are own work all the same: {'. '.join(said)}."
    return ". ".join(said if cause.what == "nothing" else [*said, next_step(command)]) + "."


def next_step(command: str) -> str:
    """Say which command says what to do."""
    return (
        f"Next, `{command}` says what to do about it and what that saves: leave out or replace slow workers, give them "
        "less work, or give parts of the work to several workers"
    )


def savings(about: Description) -> list[tuple[str, str, str]]:
    """Rows of the table of who causes what: who, the time saved, its interval; without what is next to nothing."""
    found = about.costs.savings if about.costs else ()
    return [
        (
            _who(about, one),
            f"{100 * one.share.value:.1f} %",
            "" if math.isnan(one.share.low) else f"[{100 * one.share.low:.1f}, {100 * one.share.high:.1f}]",
        )
        for one in found
        if 100 * one.share.value >= 0.05 and not (one.kind == "slowest" and one.number == found[-1].number)
    ]


def _who(about: Description, saving: Saving) -> str:
    kind, number, _ = saving
    hosts, host, names = about.trace.hosts, about.trace.host, about.trace.names
    match kind:
        case "worker":
            stays = host is not None and len(hosts) > 1 and bool((host[:, number] == host[0, number]).all())
            on = f"host {hosts[host[0, number]]}" if stays and host is not None else ""
            return f"worker {labelled(number, names, on)}"
        case "host":
            return f"host {hosts[number]}"
        case "slow":
            return f"{workers(about.slow.workers.tolist(), names)}, slow all the time"
        case "slowest":
            return f"the {f'{number} ' if number > 1 else ''}slowest of each round"
    return "all slower than the median worker"


def cost_figures(about: Description) -> dict[str, Any]:
    """Columns of ``info.csv``, each estimate with the ends of its interval."""
    of = about.costs
    worst = {kind: of.saved(kind) if of else None for kind in ("worker", "host", "slow", "all")}
    slowest = {f"slowest_{k}": of.saved("slowest", k) if of else None for k in SLOWEST}
    estimates: dict[str, Estimate | None] = {
        "slowest_over_median": of.over_median if of else None,
        "slowest_over_mean": of.over_mean if of else None,
        "waiting_share": of.waiting if of else None,
        "waiting_hours": of.worker_hours if of else None,
        **{f"saved_{who}": saving.share if saving else None for who, saving in (worst | slowest).items()},
    }
    worker, host = worst["worker"], worst["host"]
    columns = {
        f"{name}{end}": value
        for name, estimate in estimates.items()
        for end, value in zip(("", "_low", "_high"), estimate or (None,) * 3, strict=True)
    }
    return {
        "rounds_of_half": len(of.half) if of else None,
        "worst_worker": worker.number if worker else None,
        "worst_host": about.trace.hosts[host.number] if host else None,
        **columns,
    }


def _percent(of: Estimate) -> str:
    return f"{100 * of.value:.3g} %"


def _share(of: Estimate) -> str:
    return _percent(of) + _interval(Estimate(*(100 * end for end in of)), 3)


def _estimate(of: Estimate, digits: int) -> str:
    return f"{of.value:.{digits}g}{_interval(of, digits)}"


def _interval(of: Estimate, digits: int) -> str:
    return "" if math.isnan(of.low) else f" [{of.low:.{digits}g}, {of.high:.{digits}g}]"
