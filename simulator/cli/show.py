"""`stragglersim plot` and `compare`: what a run has written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.choices import FigureFormat
from simulator.cli.options import load_scenario
from simulator.cli.terminal import InputError, complain, print_table, say, say_figures, status

if TYPE_CHECKING:
    from simulator.plots.naming import Naming
    from simulator.plots.run import Drawn
    from simulator.results.results import Results

MOST_INCHES = 40  # of a figure
SHOWN_ROWS = 40  # of a comparison, in whole points


def plot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that a run has written.", show_default=False)],
    x: Annotated[str | None, typer.Option("--x", metavar="KEY", help="Swept key or column for the x axis.")] = None,
    y: Annotated[
        str | None,
        typer.Option("--y", metavar="COLUMN", help="Column for the y axis (default: makespan_s or jobs_per_s)."),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="KEY", help="Draw a line for each scheme, or for each value of a swept key.")
    ] = "scheme",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Draw only this scheme or swept value (repeatable)."),
    ] = None,
    only: Annotated[
        str | None, typer.Option("--figure", metavar="NAME", help="Draw only this figure; NAME is that of its file.")
    ] = None,
    file_format: Annotated[
        FigureFormat | None, typer.Option("--format", help="File format of figures (default: png and svg).")
    ] = None,
    style_file: Annotated[
        Path | None,
        typer.Option(
            "--style", metavar="FILE.mplstyle", help="Matplotlib style sheet; axes.prop_cycle colours schemes."
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size of figures in inches, e.g. 3.5x2.5.")] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Title above figures.")] = "",
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="SCHEME=TEXT", help="Name of a scheme; they come in this order (repeatable)."),
    ] = None,
) -> None:
    """Draw the figures of a run again, into DIR/plots; with --x, draw a column against a swept key.

    Example: stragglersim plot results/quickstart --figure makespan --format pdf --size 3.5x2.5

    Example: stragglersim plot results/quickstart --label 'GC=$\\lambda$-GC' --label 'M-SGC=ours' --style paper.mplstyle

    Example: stragglersim plot results/mine --x master.mu --y makespan_s --by scheme --where workers=12

    Example: stragglersim plot results/training --x time_s --y loss --where scheme=GC --where scheme=M-SGC
    """
    from simulator.plots.naming import Naming
    from simulator.plots.run import Drawn, chart_of
    from simulator.plots.saving import FORMATS, read_style, save
    from simulator.plots.style import style
    from simulator.plots.sweep.charts import Chart
    from simulator.plots.sweep.frames import main_metric
    from simulator.results.results import Results

    if x is None and (y is not None or by != "scheme" or where):
        raise InputError("plot: --y, --by and --where must go with --x, got none (give a swept key or a column)")
    if x is not None and only is not None:
        raise InputError("plot: --figure must not go with --x, which draws a figure of its own (leave out one)")
    given = {} if style_file is None else read_style(style_file)
    given |= {} if size is None else {"figure.figsize": _inches(size)}
    formats = FORMATS if file_format is None else [file_format]
    results, names = Results.load(folder), _named(labels or [])
    naming = Naming(title, names, tuple(names))
    with style(given):
        if x is None:
            drawn = draw_again(results, folder, folder / "plots", only, naming, formats)
        else:
            chart = Chart(x=x, y=y or main_metric(results)[0], by=by, where=_wanted(where or []))
            figure = chart_of(results, chart, naming)
            drawn = Drawn([save(figure, folder / "plots", chart.name, formats)], {}, {})
    say_figures(folder, *drawn, formats)


def draw_again(
    results: Results, folder: Path, plots: Path, only: str | None, naming: Naming, formats: Sequence[FigureFormat]
) -> Drawn:
    """Draw figures of the run in a folder, as far as its scenario still runs."""
    from simulator.errors import ScenarioError, SimulationError
    from simulator.plots.run import draw

    scenario = None
    if only in (None, "stragglers", "timeline"):
        try:
            scenario = load_scenario(folder / "scenario.yaml")
        except ScenarioError as error:
            complain(f"{error}\nFigures of single rounds are not drawn: they need the scenario as it ran")
    with status("Drawing"):
        try:
            return draw(results, plots, scenario, naming, formats, only)
        except SimulationError as error:
            complain(f"{error}\nFigures of single rounds are not drawn: they need a trial that runs")
            return draw(results, plots, None, naming, formats, only)


def _inches(size: str) -> list[float]:
    """Width and height, from 3.5x2.5."""
    try:
        width_in, height_in = (float(part) for part in size.lower().split("x"))
        if not (0.5 <= width_in <= MOST_INCHES and 0.5 <= height_in <= MOST_INCHES):
            raise ValueError
    except ValueError:
        must = f"must be width and height, each 0.5 to {MOST_INCHES} inches, e.g. 3.5x2.5"
        raise InputError(f"--size: {must}, got {size}") from None
    return [width_in, height_in]


def _named(labels: Sequence[str]) -> dict[str, str]:
    """What schemes are to be called, from GC=text."""
    named: dict[str, str] = {}
    for assignment in labels:
        scheme, equals, text = assignment.partition("=")
        if not (equals and scheme.strip() and text.strip()):
            raise InputError(f"--label: must be SCHEME=TEXT, e.g. GC='$\\lambda$-GC', got {assignment}")
        named[scheme.strip()] = text.strip()
    return named


def _wanted(where: list[str]) -> dict[str, list[Any]]:
    """The values of each key of ``--where key=value``; of a key given again, any of them."""
    from simulator.scenario.yaml_text import plain_value

    wanted: dict[str, list[Any]] = {}
    for assignment in where:
        key, equals, text = assignment.partition("=")
        if not (equals and key.strip()):
            raise InputError(f"--where: must be KEY=VALUE, e.g. workers=12, got {assignment}")
        try:
            wanted.setdefault(key.strip(), []).append(plain_value(text))
        except ValueError as error:
            raise InputError(f"--where {key.strip()}: {error}") from None
    return wanted


def compare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that a run has written.", show_default=False)],
    baseline: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Scheme to compare with (default: the first).")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column of runs, or time_to_accuracy, time_to_loss, worker_s_to_loss."),
    ] = "makespan_s",
    target: Annotated[
        float | None,
        typer.Option(metavar="VALUE", help="Accuracy or loss to reach, for a time_to or worker_s_to metric."),
    ] = None,
) -> None:
    """Compare the schemes of a run trial by trial, and write DIR/compare.csv, compare.md and compare.tex.

    Example: stragglersim compare results/quickstart --baseline GC

    Example: stragglersim compare results/training --metric time_to_accuracy --target 0.9
    """
    from simulator.columns import TIMES_TO
    from simulator.results.compare import compare as compare_runs
    from simulator.results.compare import swept_keys
    from simulator.results.compare_text import as_text, notes, write
    from simulator.results.curves import with_time_to
    from simulator.results.fairness import fairness
    from simulator.results.results import Results

    if metric.startswith(("time_to_", "worker_s_to_")) and metric not in TIMES_TO:
        raise InputError(f"--metric: must be a column of runs or one of {', '.join(TIMES_TO)}, got {metric}")
    if target is not None and metric not in TIMES_TO:
        raise InputError(f"--target: must go with --metric {' or '.join(TIMES_TO)}, got --metric {metric}")
    if target is None and metric in TIMES_TO:
        raise InputError(f"--metric {metric}: must go with --target, got none (e.g. --target 0.9)")
    if target is not None and TIMES_TO[metric][0] == "accuracy" and not 0 <= target <= 1:
        raise InputError(f"--target: must be a share between 0 and 1 for {metric}, got {target:g}")
    if target is not None and not math.isfinite(target):
        raise InputError(f"--target: must be a finite number, got {target:g}")
    results = Results.load(folder)
    with status("Comparing"):
        runs, said = with_time_to(results, metric, target) if target is not None else (results.runs, [])
        table = compare_runs(runs, baseline=baseline, metric=metric)
        remarks = [*said, *notes(table), fairness(results)]
        write(table, folder, f"{results.scenario['name']}: {metric}", remarks)
    n_shown = 0
    for _, rows in table.groupby("point", sort=False):
        if n_shown and n_shown + len(rows) > SHOWN_ROWS:
            break
        n_shown += len(rows)
        at = ", ".join(f"{key} = {rows[key].iloc[0]}" for key in swept_keys(runs))
        say(f"\n{results.scenario['name']}{': ' if at else ''}{at}")
        print_table(*as_text(rows))
    if n_shown < len(table):
        say(f"The first {n_shown} of {len(table)} rows; compare.csv has all.")
    for remark in remarks:
        say(remark)
    say(f"\nTables   {folder}/ (compare.csv, compare.md, compare.tex)")
