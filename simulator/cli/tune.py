"""`stragglersim tune`: the best setting of every scheme, and the best rule, for a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulator.cli.options import Out, SearchOptions, forget_stale, must_be_folder, takes_search_options
from simulator.cli.terminal import print_table, progress, say, status

if TYPE_CHECKING:
    import pandas as pd

    from simulator.tuning.search import Search
    from simulator.tuning.trace import AdjustedRecording


@takes_search_options
def tune(
    options: SearchOptions,
    grid: Annotated[
        Literal["every", "published"], typer.Option(help="Every legal setting, or the grid of the first paper.")
    ] = "every",
    out: Out = None,
) -> None:
    """Find the best setting of each scheme, together with the master's rule, for a recording.

    Every setting is replayed to the recording, from the start again when it is over, with times adjusted to its load.

    Example: stragglersim tune recording.parquet --seconds-per-load 1.12 --max-delay 3 --out results/tune
    """
    from simulator.tuning.check import N_CHECKED, largest_difference
    from simulator.tuning.search import search_recording

    search, recording = options.search(is_published_grid=grid == "published"), options.trace()
    must_be_folder(out)
    with progress(f"Trying settings on {options.file.name}", "settings") as told:
        settings = search_recording(recording, search, progress=told)
    with status("Running some again on events"):
        difference = largest_difference(settings, recording, search)
    _print(settings, recording, search)
    say(
        f"The best of each scheme and {N_CHECKED} others run again on events: the same waits, makespans equal to "
        f"{max(difference, 1e-15):.0e}"
    )
    say("The best of so many settings is partly luck: `stragglersim advise` says how much of it holds on other rounds.")
    if out is not None:
        _write(settings, recording, search, out)


def _print(settings: pd.DataFrame, recording: AdjustedRecording, search: Search) -> None:
    """The best of each scheme under each rule, and under its own best rule."""
    from schemes.multiplexed import REPETITION
    from simulator.statistics import TIE
    from simulator.tuning.best import best_settings, fastest_first, flatness
    from simulator.tuning.rows import said_setting

    by_rule = best_settings(settings, by=("scheme", "rule"))
    rules = list(settings["rule"].unique())
    table = by_rule.pivot_table(index="scheme", columns="rule", values="makespan_s", sort=False)
    say("\nMakespan (s) of the best setting of each scheme, under each rule; * the best under it")
    rows = []
    for scheme, makespans_s in table[rules].iterrows():
        best_s = ((value, table[rule].min()) for rule, value in makespans_s.items())
        cells = (f"{value:.2f}{'*' if value <= least * (1 + TIE) else ' '}" for value, least in best_s)
        rows.append((str(scheme), *cells))
    print_table(("scheme", *rules), rows)
    say("Each scheme's best setting, under its own best rule")
    best = fastest_first(settings)
    makespans_s = best.set_index("scheme")["makespan_s"]
    rows = []
    for row in best.to_dict("records"):
        near = flatness(settings, row)
        span = f"{near.low}" if near.low == near.high else f"{near.low} to {near.high}"
        rows.append(
            (
                row["scheme"],
                said_setting(row),
                row["rule"],
                str(row["delay_rounds"]),
                f"{row['load']:.4g}",
                f"{row['makespan_s']:.2f}",
                _saved(row["makespan_s"], makespans_s.get("uncoded")),
                _saved(row["makespan_s"], makespans_s.get(REPETITION)),
                f"{near.near} of {near.n_settings}"
                + (f" ({near.parameter} {span})" if near.near > 1 and near.parameter else ""),
            )
        )
    header = ("scheme", "setting", "rule", "T", "load", "makespan s", "uncoded", REPETITION, "within 1 %")
    print_table(header, rows)
    say(
        f"uncoded, {REPETITION}: change against these at their best. {REPETITION}: multiplexed with lam = n, where "
        "nothing is coded: what T alone gains.\nwithin 1 %: settings of the scheme under that rule that are nearly as "
        "good, and the range of s or lam among those that differ in nothing else."
    )
    say(fairness_of(settings, recording, search))


def _saved(makespan_s: float, other_s: float | None) -> str:
    return "-" if other_s is None else f"{100 * (makespan_s / other_s - 1):+.1f} %"


def fairness_of(settings: pd.DataFrame, recording: AdjustedRecording, search: Search) -> str:
    """Say in one line what makes the comparison fair or not."""
    times, n_workers = recording.times()
    return (
        f"{len(settings)} settings; {search.n_jobs} jobs on {n_workers} workers; {recording} "
        f"({times.n_rounds} rounds, over and over); T at most {search.delay}; leftover: cancel"
        + ("; as published" if search.as_published else "")
    )


def _write(settings: pd.DataFrame, recording: AdjustedRecording, search: Search, out: Path) -> None:
    """Tables, a scenario with the winners, and pictures."""
    from simulator.files import filling
    from simulator.plots.tuning import draw_search
    from simulator.scenario.yaml_text import write_yaml
    from simulator.tuning.best import best_settings
    from simulator.tuning.scenarios import winning_scenario

    with status("Drawing"), filling(out) as folder:
        settings.to_parquet(folder / "settings.parquet", index=False)
        best_settings(settings, by=("scheme", "rule")).to_csv(folder / "best.csv", index=False)
        recording.write_into(folder)
        write_yaml(winning_scenario("tune", settings, recording, search, out), folder / "winners.yaml")
        pictures = draw_search(settings, folder, fairness_of(settings, recording, search))
    forget_stale(out, pictures)
    say(f"Tables   {out}/settings.parquet, best.csv")
    say(f"Winners  {out}/winners.yaml (stragglersim run {out}/winners.yaml)")
    say(f"Pictures {', '.join(str(out / picture.name) for picture in pictures)}")
