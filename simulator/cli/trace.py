"""`stragglersim trace`: what traces say, and traces from and for other programs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.choices import Reference, TraceTarget
from simulator.cli.options import BaseLoad, BaseLoads, ReadingOptions, TraceFiles, takes, tell_remarks
from simulator.cli.terminal import complain, print_table, say, status

if TYPE_CHECKING:
    from simulator.results.account import Account
    from simulator.traces.load_sentences import LoadCost
    from simulator.traces.report import Description

MOST_NAMED = 3  # traces, in a sentence

trace = typer.Typer(
    no_args_is_help=True,
    help="Look into measured worker times, convert them, or fit straggler models to them.\n\n"
    "Example: stragglersim trace info monday.parquet tuesday.parquet",
)


@trace.command()
@takes(ReadingOptions)
def info(
    reading: ReadingOptions,
    files: TraceFiles,
    mu: Annotated[
        float, typer.Option(min=0.0, help="A worker straggles if it takes over 1 + mu times the reference's time.")
    ] = 1.0,
    reference: Annotated[
        Reference, typer.Option(help="The reference: the first or the median worker of the round.")
    ] = "first",
    base_load: BaseLoads = None,
    outlier: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="Longer times are outliers (default: 10 x the median)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for figures and info.csv; earlier ones are replaced.")
    ] = None,
) -> None:
    """Say what stragglers cost, who causes it, and what else is in traces: bursts, slow workers, the cost of load.

    Example: stragglersim trace info load0.parquet load1.parquet --base-load 0,1 --out results/traces

    Formulas, documentation: Reference, Traces.
    """
    from simulator.traces import cost_sentences, report
    from simulator.traces.files import read_times

    began = time.time()
    loads = [None] * len(files) if base_load is None else _loads(base_load, len(files))
    traces = [read_times(file, load, reading.given()) for file, load in zip(files, loads, strict=True)]
    for one in traces:
        tell_remarks(one)
    described = [report.describe(one, mu, reference, outlier) for one in traces]
    for about in described:
        say(f"{about.trace.path}")
        for name, said in cost_sentences.verdict(about):
            say(f"  {name:<12}{said}")
        rows = cost_sentences.savings(about)
        if rows:
            print_table(("if as fast as the round's median worker", "time saved", "95 % CI"), rows)
        for name, said in report.facts(about):
            say(f"  {name:<12}{said}")
        for sentence in report.findings(about):
            say(f"  * {sentence}")
        say("")
    cost = _load_cost(described)
    say(report.WORDS)
    if out is not None:
        loaded = [] if loads[0] is None else ["--base-load", f"{loads[0]:g}"]
        advise = ["stragglersim", "advise", str(files[0]), *reading.typed(), *loaded, "--out", "advice"]
        _write_info(described, cost, shlex.join(advise), out, began)


def _loads(given: str, n_files: int) -> list[float]:
    from simulator.errors import TraceError

    try:
        loads = [float(part) for part in given.split(",")]
    except ValueError:
        loads = []
    if len(loads) != n_files or not all(0 <= load < float("inf") for load in loads):
        must_be = f"a number of at least 0 for each of {n_files} file(s), with commas between"
        raise TraceError(f"--base-load: must be {must_be}, got {given}")
    return loads


def _load_cost(described: Sequence[Description]) -> LoadCost | None:
    """Say what load costs, if the traces tell."""
    from simulator.traces import load_sentences, report

    loads = [about.trace.base_load for about in described if about.trace.base_load is not None]
    if len(loads) < len(described) or len(set(loads)) < 2:
        if len(described) > 1:
            needed = "--base-load must give at least two different loads (or the files' metadata, base_load)"
            say(f"No load slope: {needed}.")
        return None
    try:
        cost = load_sentences.load_cost([about.trace.duration_s for about in described], loads)
    except ValueError:
        say("No load slope: there is a trace in which no worker ever answered.")
        return None
    names = report.labels([about.trace for about in described])
    say(f"Load slope over {len(described)} traces")
    rows = [
        (name, f"{load:g}", f"{about.times.median_s:.4g}", f"{about.times.mean_s:.4g}", f"{about.times.max_s:.4g}")
        for name, load, about in zip(names, loads, described, strict=True)
    ]
    print_table(("trace", "base load", "median s", "mean s", "max s"), rows)
    for sentence in load_sentences.sentences(cost):
        say(sentence)
    for warning in load_sentences.warnings(cost):
        complain(f"warning: {warning}")
    return cost


def _write_info(
    described: Sequence[Description], cost: LoadCost | None, advise: str, folder: Path, began: float
) -> None:
    import pandas as pd

    from simulator.files import filling
    from simulator.plots.traces import draw_slope, draw_trace
    from simulator.results.account import SUFFIX
    from simulator.traces import report

    names = report.labels([about.trace for about in described])
    with filling(folder) as partial, status("Drawing"):
        rows = [report.row(about, name) for about, name in zip(described, names, strict=True)]
        pd.DataFrame(rows).to_csv(partial / "info.csv", index=False)
        drawn: dict[str, None] = {}  # kinds of figures: no trace need have all
        for about, name in zip(described, names, strict=True):
            drawn |= dict.fromkeys(path.stem.removeprefix(f"{name}-") for path in draw_trace(about, name, partial))
        if cost is not None:
            pd.DataFrame([cost.row]).to_csv(partial / "load_slope.csv", index=False)
            draw_slope(described, cost.slope, partial)
        account = _account(described, names, cost, advise, [path.name for path in sorted(partial.glob("*.svg"))])
        account.write(partial / f"info{SUFFIX}", [one.trace.path for one in described], began)
    say(f"\nTables   {folder}/ (info.csv{'' if cost is None else ', load_slope.csv'})")
    say(f"Figures  {folder}/ ({', '.join([*drawn, *['load_slope'] * (cost is not None)])}: PNG and SVG)")


def _account(
    described: Sequence[Description], names: Sequence[str], cost: LoadCost | None, advise: str, figures: list[str]
) -> Account:
    """What a report says of traces."""
    from simulator.results.account import Account, Said
    from simulator.traces import cost_sentences, load_sentences, report

    said = [
        Said(
            title=str(about.trace.path),
            facts=[*cost_sentences.verdict(about), *report.facts(about)],
            sentences=[*about.trace.remarks, *report.findings(about)],
            table="Who causes it",
            header=["if as fast as the round's median worker", "time saved", "95 % CI"],
            rows=[list(row) for row in cost_sentences.savings(about)],
        )
        for about in described
    ]
    if cost is not None:
        sentences = [*load_sentences.sentences(cost), *load_sentences.warnings(cost)]
        said.append(Said(title=f"Load slope over {len(described)} traces", sentences=sentences))
    if len(names) > 1:
        of = [f"{name}: {next(cost_sentences.verdict(about))[1]}" for name, about in zip(names, described, strict=True)]
        more = f"; and {len(of) - MOST_NAMED} more traces" if len(of) > MOST_NAMED else ""
        answer = f"{'; '.join(of[:MOST_NAMED])}{more}. {cost_sentences.next_step(advise)}."
    else:
        answer, more = cost_sentences.full_sentences(described[0], advise), ""
    first = described[0]
    files = ", ".join(about.trace.path.name for about in described[:MOST_NAMED])
    return Account(
        kind="trace info",
        subject=files,
        question=f"What do stragglers cost in {files}{' and others' if more else ''}, and who causes it?",
        answer=answer[0].upper() + answer[1:],
        said=said,
        fair=f"straggler: over {1 + first.mu:g} x the {first.reference} worker's time. {report.WORDS}",
        tables=["info.csv", *["load_slope.csv"] * (cost is not None)],
        figures=figures,
    )


@trace.command()
@takes(ReadingOptions)
def convert(
    reading: ReadingOptions,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="A table, files of ranks or their folder, or the folder of a run."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.", show_default=False)],
    to: Annotated[
        TraceTarget | None,
        typer.Option("--to", help="Format to write (default: chrome for .json and .json.gz, else parquet)."),
    ] = None,
    base_load: BaseLoad = None,
    scheme: Annotated[list[str] | None, typer.Option(help="Of a run: only this scheme (repeatable).")] = None,
    trial: Annotated[list[int] | None, typer.Option(help="Of a run: only this trial (repeatable).")] = None,
    point: Annotated[list[int] | None, typer.Option(help="Of a run: only this point (repeatable).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Make a trace from tables or profiles, or a file of a run for Perfetto (https://ui.perfetto.dev).

    Example: stragglersim trace convert times.csv --rows worker --unit ms --out times.parquet

    Example: stragglersim trace convert log.csv --columns round=step,worker=rank,duration_s=time --out log.parquet

    Example: stragglersim trace convert rank*.json.gz --out steps.parquet

    Example: stragglersim trace convert folder-of-recorder --out own-work.parquet

    Example: stragglersim trace convert results/mine --scheme GC --trial 0 --out run.json
    """
    from simulator.traces.convert import convert as convert_trace

    options = reading.given() | {"base_load": base_load, "scheme": scheme, "trial": trial, "point": point}
    given = {name: value for name, value in options.items() if value not in (None, [])}
    source = given.pop("source", None)
    say(convert_trace(sources, out, given, kind=source, target=to, replace=force))
