"""`stragglersim tune`: the best setting of every scheme, and the best rule, for a trace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulator.cli.options import Out, SearchOptions, forget_stale, must_be_folder, takes, tell_remarks
from simulator.cli.terminal import print_table, progress, say, status

if TYPE_CHECKING:
    import pandas as pd

    from simulator.results.account import Account, Said
    from simulator.tuning.search import Search
    from simulator.tuning.trace import AdjustedTrace


@takes(SearchOptions)
def tune(
    options: SearchOptions,
    grid: Annotated[
        Literal["every", "published"], typer.Option(help="Every legal setting, or the grid of the first paper.")
    ] = "every",
    out: Out = None,
) -> None:
    """Find the best setting of each scheme, together with the master's rule, for a trace.

    Every setting meets the rounds of the trace, repeated as needed, with times adjusted to its load.

    Example: stragglersim tune trace.parquet --base-load 0.125 --seconds-per-load 1.12 --max-delay 3 --out results/tune
    """
    from simulator.results.account import Said
    from simulator.tuning.check import N_CHECKED, largest_difference
    from simulator.tuning.search import search_trace

    began = time.time()
    trace = options.trace()
    search = options.search(trace, is_published_grid=grid == "published")
    must_be_folder(out)
    with progress(f"Trying settings on {options.file.name}", "%") as told:
        settings = search_trace(trace, search, progress=told)
    with status("Running some again on events"):
        difference = largest_difference(settings, trace, search)
    others = [_under_other_effect(settings, trace, other, search) for other in trace.alternatives()]
    tell_remarks(trace.measured)
    answers = _answers(settings)
    if trace.measured.doubt:
        say(f"\nNo setting to rely on: {trace.measured.doubt}.")
    for said in reversed(answers):  # what is looked for stands last
        say(f"\n{said.table}")
        print_table(tuple(said.header), [tuple(row) for row in said.rows])
        for line in said.sentences:
            say(line)
    say(fairness_of(settings, trace, search))
    lines = [
        *others,
        f"The best of each scheme and {N_CHECKED} others run again on events: the same waits, makespans equal to "
        f"{max(difference, 1e-15):.0e}",
        "The best of so many settings is partly luck: `stragglersim advise` says how much of it holds on other rounds.",
    ]
    for line in lines:
        say(line)
    if out is not None:
        _write(
            settings,
            trace,
            search,
            out,
            [*answers, Said(title="Remarks", sentences=[*trace.measured.remarks, *lines])],
            began,
        )


def _answers(settings: pd.DataFrame) -> tuple[Said, Said]:
    """The best of each scheme under its own best rule, and under each rule; the fastest scheme first."""
    from schemes.heterogeneous_gradient_coding import BY_SPEED
    from schemes.multiplexed import REPETITION
    from simulator.results.account import Said
    from simulator.tuning.best import fastest_first
    from simulator.tuning.rows import said_shares

    best = fastest_first(settings)
    by_scheme = Said(
        table="Each scheme's best setting, under its own best rule, the fastest first",
        header=[
            "scheme",
            "makespan (s)",
            "against uncoded",
            f"against {REPETITION}",
            "setting",
            "master's rule",
            "T",
            "load",
            "within 1 %",
        ],
        rows=_best_rows(settings, best),
        sentences=[
            "Changes are against uncoded work and repetition only at their best. Repetition only is multiplexed with "
            "lam = n, where nothing is coded: what T alone gains.",
            "Within 1 %: settings of the scheme under that rule that are nearly as good, and the range of s or lam "
            "among those that differ in nothing else. Rule -: all responses are needed.",
            *(said_shares(row["speeds"]) for row in best.to_dict("records") if row["scheme"] == BY_SPEED),
        ],
    )
    table = "Makespan (s) of the best setting of each scheme, under each rule; * the best under it"
    rules = [str(rule) for rule in settings["rule"].unique()]
    rows = _rows_by_rule(settings, list(best["scheme"]), rules)
    return by_scheme, Said(table=table, header=["scheme", *rules], rows=rows)


def _best_rows(settings: pd.DataFrame, best: pd.DataFrame) -> list[list[str]]:
    from schemes.multiplexed import REPETITION
    from simulator.tuning.best import flatness
    from simulator.tuning.rows import said_rule, said_setting

    makespans_s = best.set_index("scheme")["makespan_s"]
    rows = []
    for row in best.to_dict("records"):
        near = flatness(settings, row)
        span = f"{near.low}" if near.low == near.high else f"{near.low} to {near.high}"
        alike = f" ({near.parameter} {span})" if near.near > 1 and near.parameter else ""
        changes = (_saved(row["makespan_s"], makespans_s.get(other)) for other in ("uncoded", REPETITION))
        setting = said_setting(row), said_rule(row), str(row["delay_rounds"]), f"{row['load']:.4g}"
        numbers = f"{row['makespan_s']:.2f}", *changes
        rows.append([row["scheme"], *numbers, *setting, f"{near.near} of {near.n_settings}{alike}"])
    return rows


def _rows_by_rule(settings: pd.DataFrame, schemes: list[str], rules: list[str]) -> list[list[str]]:
    from simulator.statistics import TIE
    from simulator.tuning.best import best_settings

    by_rule = best_settings(settings, by=("scheme", "rule"))
    table = by_rule.pivot(index="scheme", columns="rule", values="makespan_s").loc[schemes, rules]
    is_best = table <= table.min() * (1 + TIE)
    return [
        [scheme, *(f"{value:.2f}{'*' if is_least else ' '}" for value, is_least in zip(*of_scheme, strict=True))]
        for scheme, *of_scheme in zip(schemes, table.to_numpy().tolist(), is_best.to_numpy().tolist(), strict=True)
    ]


def _under_other_effect(settings: pd.DataFrame, trace: AdjustedTrace, other: AdjustedTrace, search: Search) -> str:
    """Say whether the choice depends on how times change with the load, and what it costs to be wrong."""
    from simulator.errors import UserError
    from simulator.tuning.best import NEAR, fastest_first
    from simulator.tuning.rows import said_setting
    from simulator.tuning.search import search_trace

    try:
        with progress(f"Trying settings with load effect {other.effect}", "%") as told:
            there = search_trace(other, search, like=trace, progress=told)
    except UserError as error:
        return f"Load effect {other.effect} in place of {trace.effect} was not tried: {error}"
    chosen, chosen_there = (int(fastest_first(table).index[0]) for table in (settings, there))
    rows = settings.to_dict("records")
    here, away = (
        f"{rows[place]['scheme']} ({said_setting(rows[place]) or 'no parameters'})" for place in (chosen, chosen_there)
    )
    here_s, there_s = settings["makespan_s"].to_numpy(), there["makespan_s"].to_numpy()
    found = f"Load effect {other.effect} in place of {trace.effect}: {away} is the best, {there_s[chosen_there]:.2f} s"
    if here == away:
        return f"{found}; the same choice."
    loss, loss_there = here_s[chosen_there] / here_s[chosen], there_s[chosen] / there_s[chosen_there]
    lost = f"{here} loses {100 * (loss_there - 1):.1f} % there, {away} {100 * (loss - 1):.1f} % under {trace.effect}"
    hardly = max(loss, loss_there) <= NEAR
    return f"{found}; {'another choice, but nearly as good' if hardly else 'the choice depends on it'}: {lost}."


def _saved(makespan_s: float, other_s: float | None) -> str:
    return "-" if other_s is None else f"{_change(makespan_s, other_s):+.1f} %"


def _change(makespan_s: float, other_s: float) -> float:
    return 100 * (makespan_s / other_s - 1)


def fairness_of(settings: pd.DataFrame, trace: AdjustedTrace, search: Search) -> str:
    """Say in one line what makes the comparison fair or not."""
    times, n_workers = trace.times()
    return (
        f"{len(settings)} settings; {search.n_jobs} jobs on {n_workers} workers; {trace} "
        f"({times.n_rounds} rounds, repeated as needed); T at most {search.delay}; leftover: cancel"
        + ("; as published" if search.as_published else "")
    )


def _write(
    settings: pd.DataFrame, trace: AdjustedTrace, search: Search, out: Path, said: list[Said], began: float
) -> None:
    """Tables, a scenario with the winners, and figures."""
    from simulator.files import filling
    from simulator.plots.tuning import draw_search
    from simulator.results.account import SUFFIX
    from simulator.scenario.yaml_text import write_yaml
    from simulator.tuning.best import best_settings
    from simulator.tuning.scenarios import winning_scenario

    with status("Drawing"), filling(out) as folder:
        settings.to_parquet(folder / "settings.parquet", index=False)
        best_settings(settings, by=("scheme", "rule")).to_csv(folder / "best.csv", index=False)
        trace.write_into(folder)
        write_yaml(winning_scenario("tune", settings, trace, search, out), folder / "winners.yaml")
        figures = draw_search(settings, folder, fairness_of(settings, trace, search))
        about = _account(settings, trace, search, said)
        about.figures = [figure.with_suffix(".svg").name for figure in figures]
        about.write(folder / f"tune{SUFFIX}", [trace.path], began)
    forget_stale(out, figures)
    say(f"Tables   {out}/settings.parquet, best.csv")
    say(f"Winners  {out}/winners.yaml (stragglersim run {out}/winners.yaml)")
    say(f"Figures  {', '.join(str(out / figure.name) for figure in figures)}")


def _account(settings: pd.DataFrame, trace: AdjustedTrace, search: Search, said: list[Said]) -> Account:
    """What a report says of a search."""
    from simulator.results.account import Account
    from simulator.tuning.best import fastest_first
    from simulator.tuning.rows import said_rule, said_setting

    best, *others = fastest_first(settings).to_dict("records")
    setting, file = said_setting(best), trace.path.name
    rule = said_rule(best)
    named = f"{best['scheme']}{f' ({setting})' if setting else ''}{f' with the rule {rule}' * (rule != '-')}"
    shown = {one["scheme"]: one for one in (*others[:1], *(one for one in others if one["scheme"] == "uncoded"))}
    against = " and ".join(
        f"{-_change(best['makespan_s'], other['makespan_s']):.1f} % less than {label} ({other['makespan_s']:.5g} s)"
        for label, other in shown.items()
    )
    return Account(
        kind="tune",
        subject=file,
        question=f"Which scheme, setting and rule end {search.n_jobs} jobs soonest on the workers of {file}?",
        answer=f"{named} is the fastest: {search.n_jobs} jobs take {best['makespan_s']:.5g} s"
        f"{f', {against}' if against else ''}.",
        said=said,
        fair=fairness_of(settings, trace, search),
        tables=["best.csv"],
        scenarios=["winners.yaml"],
    )
