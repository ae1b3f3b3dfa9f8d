"""`stragglersim advise`: what to run on a cluster, from a trace of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator.cli.options import Out, SearchOptions, forget_stale, must_be_folder, takes, tell_remarks
from simulator.cli.terminal import print_table, progress, say, status

if TYPE_CHECKING:
    from simulator.tuning.advice import Advice
    from simulator.tuning.search import Search
    from simulator.tuning.trace import AdjustedTrace

REMARK = (
    "Each scheme at its best setting of the first half, under its own best rule. rest: met in order; saved: against\n"
    "uncoded work, with the 95 % interval over resamples of the rest; won: resamples in which it was the fastest of\n"
    "these. What is chosen again on other rounds may differ; intervals from few rounds are too narrow."
)


@takes(SearchOptions)
def advise(options: SearchOptions, out: Out = None) -> None:
    """Say which scheme, setting and master rule to use on a measured cluster, what it gains, and how sure that is.

    Settings are chosen on the first half of the trace and tested on the rest, in order and in resamples. The search
    is a coarse one: at most 24 values of s or lam, in equal ratios; `tune` tries all.

    Example: stragglersim advise trace.parquet --seconds-per-load 1.12 --out results/advice
    """
    from simulator.tuning import advice
    from simulator.tuning.advice_text import sentences

    search, trace = options.search(is_coarse=True), options.trace()
    must_be_folder(out)
    tell_remarks(trace.measured)
    with progress(f"Trying settings on {options.file.name}", "settings") as told:
        found = advice.find_advice(trace, search, progress=told)
    lines = sentences(found, search)
    note = _note(found, trace, search)
    say("")
    for line in lines:
        say(line)
    header, rows = _table(found)
    print_table(header, rows)
    say(REMARK)
    say(note)
    if out is not None:
        _write(found, lines, note, trace, search, out)


def _note(found: Advice, trace: AdjustedTrace, search: Search) -> str:
    """Say in one line what makes the comparison fair or not."""
    _, n_workers = trace.times()
    first, rest = found.n_chosen_on, found.n_tested_on
    return (
        f"{search.n_jobs} jobs on {n_workers} workers; {trace}; chosen on rounds 0 to {first - 1} of it, tested on "
        f"{first} to {first + rest - 1}, both over and over; {len(found.settings)} settings; T at most {search.delay}; "
        "leftover: cancel" + ("; as published" if search.as_published else "")
    )


def _table(found: Advice) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from simulator.tuning.rows import cells_of

    rows: list[tuple[str, ...]] = []
    for row, won in zip(found.chosen.to_dict("records"), found.share_won, strict=True):
        saved = [found.saved(row["scheme"], other) for other in ("uncoded", "GC")]
        shown = ("-" if one is None else str(one) for one in saved)
        rows.append((*cells_of(row), f"{row['rest_s']:.2f}", *shown, f"{100 * won:.0f} %"))
    header = ("scheme", "setting", "rule", "T", "load", "first half s", "rest s", "saved", "against GC", "won")
    return header, rows


def _write(found: Advice, lines: list[str], note: str, trace: AdjustedTrace, search: Search, out: Path) -> None:
    """The page, tables, a scenario with the settings, and figures."""
    from simulator.files import filling
    from simulator.plots.advice import draw_advice
    from simulator.scenario.yaml_text import write_yaml
    from simulator.tuning.scenarios import winning_scenario

    with status("Drawing"), filling(out) as folder:
        figures = draw_advice(found, folder, note)
        (folder / "advice.md").write_text(_page(found, lines, note, trace), encoding="utf-8")
        found.chosen.to_csv(folder / "chosen.csv", index=False)
        found.learned.to_csv(folder / "learned.csv", index=False)
        trace.write_into(folder)
        write_yaml(winning_scenario("advice", found.settings, trace, search, out), folder / "winners.yaml")
    forget_stale(out, figures)
    say(f"Page     {out}/advice.md")
    say(f"Tables   {out}/chosen.csv, learned.csv")
    say(f"Schemes  {out}/winners.yaml (stragglersim run {out}/winners.yaml, --set probe=N with N uncoded rounds first)")
    say(f"Figures  {', '.join(str(out / figure.name) for figure in figures)}")


def _page(found: Advice, lines: list[str], note: str, trace: AdjustedTrace) -> str:
    header, rows = _table(found)
    table = [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]
    text = "\n\n".join([f"# Advice for {trace.path.name}", *lines, "\n".join(table), REMARK, note])
    return f"{text}\n\n![What each scheme saves, and what more probing gains](advice.png)\n"
