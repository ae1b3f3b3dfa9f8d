"""`stragglersim advise`: what to run on a cluster, from a trace of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.cli.options import Out, SearchOptions, forget_stale, must_be_folder, takes, tell_remarks
from simulator.cli.terminal import print_table, progress, say, status

if TYPE_CHECKING:
    from simulator.tuning.advice import Advice
    from simulator.tuning.search import Search
    from simulator.tuning.trace import AdjustedTrace

REMARK = (
    "Each at its best setting and rule on the rounds of choosing (rule -: all responses are needed). time: on the\n"
    "tested rounds, in order; saved: against uncoded work by all workers, with the 95 % interval over resamples;\n"
    "error: relative, of each gradient.\n"
    "won: share of resamples of the tested rounds in which it is the fastest (ties are shared among the fastest); the\n"
    "choice was made on other rounds."
)


@takes(SearchOptions)
def advise(options: SearchOptions, out: Out = None) -> None:
    """Say what to do about stragglers on a measured cluster, what it gains, and how sure that is.

    It tries to leave out or replace slow workers, load by speed, codes and copies of late tasks under each rule, and
    approximate gradients. Each is chosen on one part of the trace and tested on a later one.

    `tune` tries finer grids of s and lam.

    Example: stragglersim advise trace.parquet --base-load 0.125 --seconds-per-load 1.12 --out results/advice
    """
    from simulator.tuning.advice_text import sentences
    from simulator.tuning.advising import find_advice

    began = time.time()
    trace = options.trace()
    search = options.search(trace, is_coarse=True)
    must_be_folder(out)
    with progress(f"Trying settings on {options.file.name}", "%") as told:
        found = find_advice(trace, search, progress=told)
    tell_remarks(trace.measured)
    lines = sentences(found, search, doubt=trace.measured.doubt)
    note = _note(found, trace, search)
    say("")
    for line in lines:
        say(line)
    header, rows = _table(found)
    print_table(header, rows)
    say(REMARK)
    say(note)
    if out is not None:
        _write(found, lines, note, trace, search, out, began)


def _note(found: Advice, trace: AdjustedTrace, search: Search) -> str:
    """Say in one line what makes the comparison fair or not."""
    _, n_workers = trace.times()
    (first, middle), (begin, end) = found.chosen_on, found.tested_on
    return (
        f"{search.n_jobs} jobs on {n_workers} workers; {trace}; chosen on rounds {first} to {middle - 1} of it, tested "
        f"on {begin} to {end - 1}, each repeated as needed; {len(found.settings)} settings; T at most {search.delay}; "
        "leftover: cancel" + ("; as published" if search.as_published else "")
    )


def _table(found: Advice) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from simulator.tuning.rows import said_rule, said_setting

    tested = sorted(found.candidates, key=lambda one: one.time_s)
    rows: list[tuple[str, ...]] = [
        (
            one.fleet.said or "-",
            one.scheme,
            said_setting(one.setting),
            said_rule(one.setting),
            str(one.setting["delay_rounds"]),
            f"{one.setting['load']:.4g}",
            f"{one.time_s:.2f}",
            str(found.saved(one)),
            f"{100 * found.share_won[one]:.0f} %" if one in found.share_won else "-",
            f"{one.relative_error:.2f}" if one.relative_error else "0",
        )
        for one in (*tested, *found.approximate)
    ]
    return ("workers", "scheme", "setting", "rule", "T", "load", "time s", "saved", "won", "error"), rows


def _write(
    found: Advice, lines: list[str], note: str, trace: AdjustedTrace, search: Search, out: Path, began: float
) -> None:
    """The page, tables, scenarios with the settings, and figures."""
    from simulator.files import filling
    from simulator.plots.advice import draw_advice
    from simulator.results.account import SUFFIX, Account, Said
    from simulator.scenario.yaml_text import write_yaml
    from simulator.tuning.scenarios import action_scenario, winning_scenario

    with status("Drawing"), filling(out) as folder:
        figures = draw_advice(found, folder, note)
        (folder / "advice.md").write_text(_page(found, lines, note, trace), encoding="utf-8")
        found.table().to_csv(folder / "tested.csv", index=False)
        found.learned.to_csv(folder / "learned.csv", index=False)
        trace.write_into(folder)
        write_yaml(winning_scenario("advice", found.settings, trace, search, out), folder / "winners.yaml")
        if found.chosen.fleet.action != "keep":
            write_yaml(action_scenario(found.chosen, trace, search, folder), folder / "action.yaml")
        Account(
            kind="advise",
            subject=trace.path.name,
            question=f"What is to be done about stragglers in {trace.path.name}?",
            answer=lines[0],
            said=[Said(title="Advice", sentences=[*trace.measured.remarks, *lines[1:]])],
            fair=note,
            tables=["tested.csv", "learned.csv"],
            figures=[figure.with_suffix(".svg").name for figure in figures],
            scenarios=sorted(path.name for path in folder.glob("*.yaml")),
        ).write(folder / f"advise{SUFFIX}", [trace.path], began)
    forget_stale(out, figures)
    say(f"Page     {out}/advice.md")
    say(f"Tables   {out}/tested.csv, learned.csv")
    say(f"Schemes  {out}/winners.yaml (stragglersim run {out}/winners.yaml)")
    if found.chosen.fleet.action != "keep":
        say(f"Advised  {out}/action.yaml (the workers after it: stragglersim run {out}/action.yaml)")
    say("         scenarios run on all rounds of the trace, and so give other times than the tested rounds alone")
    say(f"Figures  {', '.join(str(out / figure.name) for figure in figures)}")


def _page(found: Advice, lines: list[str], note: str, trace: AdjustedTrace) -> str:
    header, rows = _table(found)
    table = [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]
    remarks = [f"Of the trace: {remark}." for remark in trace.measured.remarks]
    text = "\n\n".join([f"# Advice for {trace.path.name}", *lines, "\n".join(table), REMARK, *remarks, note])
    return f"{text}\n\n![Time that each saves, and what more rounds gain](advice.png)\n"
