"""The figures of a run, one column wide: readable in grey print and with colour-blind eyes."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.choices import FigureFormat
from simulator.columns import RUNS
from simulator.plots.naming import AS_THEY_ARE, MOST_LINES, MOST_SCHEMES, Naming, few_schemes
from simulator.plots.point import draw_jobs_finished, draw_latency, draw_load_makespan, draw_makespan, has_bands
from simulator.plots.saving import FORMATS, save
from simulator.plots.sheet import Draw, Sheet
from simulator.plots.stragglers import draw_stragglers, not_drawn, straggler_logs
from simulator.plots.style import OF_LINES, ChartError, LeftOut, SaysNothingError, style, widen_beneath
from simulator.plots.sweep.charts import Chart
from simulator.plots.sweep.figures import chart_figure, sweep_figures
from simulator.plots.text import key_name
from simulator.plots.timeline import draw_timeline, left_out_of, timelines
from simulator.plots.training import SHOWN, training_figures
from simulator.results.fairness import fairness
from simulator.results.results import MOST_POINTS, Results
from simulator.results.summary import name_of, summary
from simulator.scenario.scenario import Scenario

OF_POINT = {  # every figure of a run, and what it shows
    "makespan": "Makespan of each scheme",
    "jobs_finished": "Jobs finished against time",
    "latency": "Share of jobs that take longer than a time",
    "loss": "Loss against time, mean over models",
    "accuracy": "Accuracy against time, mean over models",
    "loss_worker_seconds": "Loss against the seconds that workers have been at work, mean over models",
    "load_makespan": "Makespan against load",
    "stragglers": "Workers that straggled in each round",
    "timeline": "What the workers were busy with in some rounds",
}
OF_SWEEP = {
    "makespan": "Makespan of each scheme over swept values",
    "jobs_per_s": "Jobs per second of each scheme over swept values",
    "load": "Load of each scheme over swept values",
    "final_loss": "Loss at the end over swept values",
    "final_accuracy": "Accuracy at the end over swept values",
    "error": "Error of the gradient, and share of jobs without any, over swept values",
    "best_scheme": "The best scheme over two swept values",
    "gain": "Gain of the best of the other schemes over the first one, over two swept values",
    "gains": "Gain of each of the other schemes over the first one, over two swept values",
    "load_latency": "95 % quantile of job latency against load",
    **{name: OF_POINT[name] for name in SHOWN},
}
Drawing = tuple[str, Draw, list[str]]  # name, how it is drawn, and what its caption has to add


class Drawn(NamedTuple):
    """What came of drawing all figures."""

    paths: list[Path]  # of the first format
    left_out: dict[str, str]  # why a figure would say nothing, by its name
    no_room: dict[str, list[str]]  # what is said of what has no room, and in which figures

    def add(self, path: Path, name: str, remarks: Sequence[str]) -> None:
        """Add a figure that is written."""
        self.paths.append(path)
        for remark in remarks:
            if isinstance(remark, LeftOut):
                self.no_room.setdefault(remark, []).append(name)


def figures_of(results: Results) -> dict[str, str]:
    """The figures that results of this kind can have, and what each shows."""
    known = OF_SWEEP if results.runs["point"].nunique() > 1 else OF_POINT
    of_training = (*SHOWN, "final_loss", "final_accuracy") if results.training is None else ()
    makespan = name_of("makespan_s", results.runs).capitalize()
    return {name: shows.replace("Makespan", makespan) for name, shows in known.items() if name not in of_training}


def draw(
    results: Results,
    folder: Path,
    scenario: Scenario | None = None,
    naming: Naming = AS_THEY_ARE,
    formats: Sequence[FigureFormat] = FORMATS,
    only: str | None = None,
) -> Drawn:
    """Write every figure that the results allow and that says something, and ``captions.md``.

    Parameters
    ----------
    results
        Of one point, or of a sweep, which gets figures of its own.
    folder
        Where to write; it is made if it does not exist.
    scenario
        What was run. Trial 0 of it is run again for the figures of single workers; without it there are none.
    naming
        Names, order and colours of schemes.
    formats
        What each figure is written as.
    only
        Name of the figure that is wanted alone.

    Raises
    ------
    ChartError
        If there is no figure of the name that is wanted, or it would say nothing.
    """
    drawn = Drawn([], {}, {})
    if only is not None:
        figure, remarks = _wanted(results, only, scenario, naming)
        drawn.add(save(figure, folder, only, formats), only, remarks)
        return drawn
    for name, made, remarks in _made(results, scenario, naming):
        try:
            if isinstance(made, SaysNothingError):
                raise made
            drawn.add(save(made, folder, name, formats), name, remarks)
        except (SaysNothingError, ChartError) as why:
            drawn.left_out[name] = str(why).removeprefix(f"{name}: ")
    folder.mkdir(parents=True, exist_ok=True)  # also where nothing is drawn
    return drawn


def figure_of(
    results: Results,
    name: str,
    scenario: Scenario | None = None,
    naming: Naming = AS_THEY_ARE,
    axes: Axes | None = None,
) -> Figure:
    """One of the figures of results, by name.

    Parameters
    ----------
    results
        Of one point, or of a sweep.
    name
        As its file's; the maps of a sweep of more than two keys are named after the values of the others.
    scenario
        What was run, for the figures of single workers.
    naming
        Title; names, order and colours of schemes.
    axes
        Where to draw, if the figure has one panel.

    Returns
    -------
    figure
        New, or that of the axes. Its caption is its label (``figure.get_label()``).

    Raises
    ------
    ChartError
        If there is no such figure of these results, or it would say nothing.
    """
    return _wanted(results, name, scenario, naming, axes)[0]


def _wanted(
    results: Results, name: str, scenario: Scenario | None, naming: Naming, axes: Axes | None = None
) -> tuple[Figure, list[str]]:
    names = []
    for known, draw_on, remarks in _drawings(naming.renamed(results), scenario, naming):
        names.append(known)
        if known == name:
            try:
                return _figure(results, draw_on, _caption(results, name, remarks), naming, axes), remarks
            except SaysNothingError as why:
                raise ChartError(f"{name}: {why}") from None
    known = ", ".join(dict.fromkeys([*figures_of(results), *names]))
    raise ChartError(f"{name}: must be one of the figures of these results: {known}")


def chart_of(results: Results, chart: Chart, naming: Naming = AS_THEY_ARE, axes: Axes | None = None) -> Figure:
    """The figure of a column of the runs table against a swept key or another column.

    Raises
    ------
    ChartError
        If the results do not allow it.
    """
    renamed, chart = naming.renamed(results), naming.chart(chart)
    draw_on, remarks = _curve_figure(renamed, chart) or chart_figure(renamed, chart)
    names = {key: name_of(key, results.runs) if key in RUNS else key_name(key) for key in (chart.y, chart.x)}
    names |= {"time_s": "time", "worker_s": "time of all workers at work"}  # of training
    return _figure(results, draw_on, [f"{names[chart.y]} against {names[chart.x]}", *remarks], naming, axes)


def _curve_figure(results: Results, chart: Chart) -> tuple[Draw, list[str]] | None:
    """Loss or accuracy against time, which are in a table of their own; None if the chart is of something else."""
    wanted = next((name for name, shown in SHOWN.items() if shown[:2] == (chart.y, chart.x)), None)
    if wanted is None or results.training is None:
        return None
    if chart.by != "scheme":
        raise ChartError(f"--by {chart.by}: must be scheme with --x {chart.x}, of which each has a line")
    for name, draw_on, remarks in training_figures(results, chart.where):
        if name == wanted:
            return draw_on, remarks
    if results.training[chart.y].isna().all():
        raise ChartError(f"--y {chart.y}: must be loss for a workload without accuracy")
    raise ChartError(f"--where: must leave between 1 and {MOST_POINTS} points that have {chart.y}")


def run_figures(results: Results, scenario: Scenario | None = None) -> Iterator[tuple[str, Figure]]:
    """Make the figures that say something one after another, each with its name; their labels are their captions."""
    made = _made(results, scenario, AS_THEY_ARE)
    return ((name, figure) for name, figure, _ in made if isinstance(figure, Figure))


def _made(
    results: Results, scenario: Scenario | None, naming: Naming
) -> Iterator[tuple[str, Figure | SaysNothingError, list[str]]]:
    for name, draw_on, remarks in _drawings(naming.renamed(results), scenario, naming):
        try:
            yield name, _figure(results, draw_on, _caption(results, name, remarks), naming), remarks
        except SaysNothingError as why:
            yield name, why, remarks


def _caption(results: Results, name: str, remarks: Sequence[str]) -> list[str]:
    return [figures_of(results)[name.partition("-")[0]], *remarks]


def _figure(results: Results, draw_on: Draw, said: Sequence[str], naming: Naming, axes: Axes | None = None) -> Figure:
    with style() if axes is None else style(only=OF_LINES):  # whose texts have sizes already
        sheet = Sheet(axes, naming.colours_shown())
        draw_on(sheet)
        if naming.title:
            sheet.set_title(naming.title)
        sheet.escape_tex()
        for panel in sheet.figure.axes if axes is None else [axes]:
            widen_beneath(panel)
        if axes is None:
            sheet.figure.set_label(f"{said[0]}. {'; '.join([*said[1:], fairness(results)])}")
    return sheet.figure


def _drawings(results: Results, scenario: Scenario | None, naming: Naming) -> Iterator[Drawing]:
    """Each figure of results that are renamed already."""
    every, first = results, [naming.labels.get(scheme, scheme) for scheme in naming.order]
    lines, few_lines = few_schemes(every, first, MOST_LINES)
    if results.runs["point"].nunique() > 1:
        for name, draw_on, remarks in chain(sweep_figures(lines, every), training_figures(lines)):
            yield name, draw_on, [*remarks, *few_lines]
        return
    results, few = few_schemes(every, first, MOST_SCHEMES)
    ranked = list(dict.fromkeys([*lines.runs["scheme"], *results.runs["scheme"]]))  # their looks come first
    bars = ["line: 95 % interval over trials"] if results.runs["trial"].nunique() > 1 else []
    bars += ["where it reaches below 0, it is cut there"] if (summary(results.runs)["makespan_low_s"] < 0).any() else []
    yield "makespan", partial(draw_makespan, results=results, schemes=ranked), [*bars, *few]
    jobs = lines.jobs
    if jobs is not None:
        of_trials = ["mean over trials"] * bool(bars) + ["band: 95 % interval"] * has_bands(jobs)
        yield "jobs_finished", partial(draw_jobs_finished, jobs=jobs), [*of_trials, *few_lines]
        remarks = ["log axis with 0 below it"]
        remarks += ["failed jobs count as infinite"] if jobs["latency_s"].isna().any() else []
        yield "latency", partial(draw_latency, jobs=jobs), [*remarks, *few_lines]
    for name, draw_on, remarks in training_figures(results):
        yield name, draw_on, [*remarks, *few]
    yield "load_makespan", partial(draw_load_makespan, results=results, schemes=ranked), [*bars, *few]
    if scenario is not None:
        yield from _close_ups(results, scenario, naming, few)


def _close_ups(results: Results, scenario: Scenario, naming: Naming, few: list[str]) -> Iterator[Drawing]:
    """Figures of single workers in trial 0, which is run again."""
    _, at_point = scenario.all_points()[0]
    kept = set(results.runs["scheme"])
    names = {scheme: name for scheme, name in naming.schemes(at_point.schemes_at_work).items() if name in kept}
    logs = straggler_logs(at_point, names)
    named = {names[scheme]: log for scheme, log in logs.items()}
    yield "stragglers", partial(draw_stragglers, logs=named), ["trial 0", *not_drawn(named), *few]
    shown = timelines(at_point, logs, naming.order)
    said = ["trial 0", *left_out_of(shown, names, at_point.workers), *few]
    yield "timeline", partial(draw_timeline, shown=shown, scenario=at_point, names=names), said
