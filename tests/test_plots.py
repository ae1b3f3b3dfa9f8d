"""Every figure is written, says what it shows and in which unit, and shows what the tables say."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import getp
from matplotlib.figure import Figure
from matplotlib.text import Text

import stragglersim
from schemes import FastestK, GradientCoding, Ideal, Multiplexed, Uncoded
from simulator.engine.master_rules import FixedTime, MuRule
from simulator.plots.fit import draw_fit
from simulator.plots.point import draw_jobs_finished
from simulator.plots.run import chart_of, draw, run_figures
from simulator.plots.saving import save
from simulator.plots.sheet import Sheet
from simulator.plots.stragglers import StragglerLog, draw_stragglers, not_drawn, straggler_logs
from simulator.plots.style import GREY, ChartError, looks_of, style, widen_beneath
from simulator.plots.sweep.charts import Chart
from simulator.plots.sweep.frames import at_points
from simulator.plots.sweep.lines import draw_lines, scale_up
from simulator.plots.sweep.load_latency import _not_dominated
from simulator.plots.sweep.maps import Map, _rectangles, draw_best, map_of
from simulator.plots.timeline import draw_timeline, timelines
from simulator.results.compare import compare
from simulator.results.fairness import fairness
from simulator.results.results import Results
from straggler_models import Bernoulli, Constant

NAMES = ["makespan", "jobs_finished", "latency", "load_makespan", "stragglers", "timeline"]


def make(**changes: object) -> stragglersim.Scenario:
    keys = {
        "workers": 4,
        "jobs": 6,
        "trials": 2,
        "seed": 3,
        "stragglers": {"usual": Constant(startup_s=0.5, seconds_per_load=4.0), "slow": Bernoulli(p=0.2, slowdown=5.0)},
        "master": MuRule(mu=0.5),
        "schemes": {
            "uncoded": Uncoded(4),
            "_$GC$ with a label that is much longer than its column": GradientCoding(4, s=1),
            "M-SGC": Multiplexed(4, B=1, W=2, lam=1),
        },
    }
    return stragglersim.Scenario(**(keys | changes))


@pytest.fixture(scope="module")
def scenario() -> stragglersim.Scenario:
    return make()


@pytest.fixture(scope="module")
def results(scenario: stragglersim.Scenario) -> Results:
    return stragglersim.run(scenario)


@pytest.fixture(scope="module")
def made(results: Results, scenario: stragglersim.Scenario) -> dict[str, Figure]:
    return dict(run_figures(results, scenario))


def caption_of(figure: Figure) -> str:
    return str(figure.get_label())


def drawn_by(draw_on: Callable[..., None], *given: Any) -> Figure:
    with style():
        draw_on(sheet := Sheet(), *given)
    return sheet.figure


def draw_chart(results: Results, folder: Path, chart: Chart) -> Path:
    return save(chart_of(results, chart), folder, chart.name)


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.fixture(scope="module")
def written(results: Results, scenario: stragglersim.Scenario, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw(results, tmp_path_factory.mktemp("first") / "new" / "plots", scenario)


def test_every_figure_is_drawn_once_for_each_file(tmp_path):
    class Counted(Text):
        n_drawn = 0

        def draw(self, renderer: object) -> None:
            self.n_drawn += 1
            super().draw(renderer)

    figure, counted = Figure(layout="constrained"), Counted(0.5, 0.5, "once")
    figure.subplots().add_artist(counted)
    save(figure, tmp_path, "figure")
    assert counted.n_drawn == 2


def test_every_figure_is_written_as_png_and_as_svg(written):
    assert [path.stem for path in written.paths] == NAMES
    for path in written.paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert "<svg" in path.with_suffix(".svg").read_text(encoding="utf-8")


def test_the_same_results_give_the_same_files(results, written, tmp_path):
    again = draw(results, tmp_path).paths  # close-ups would take seconds more
    for one, other in zip(written.paths, again, strict=False):
        assert one.read_bytes() == other.read_bytes()
        assert one.with_suffix(".svg").read_bytes() == other.with_suffix(".svg").read_bytes()


def test_axes_say_what_they_show_and_in_which_unit(made):
    assert made["makespan"].axes[0].get_xlabel() == "mean makespan (seconds), 95 % interval"
    assert made["makespan"].axes[0].get_xlim()[0] == 0
    assert made["jobs_finished"].axes[0].get_xlabel() == "time (seconds)"
    assert made["jobs_finished"].axes[0].get_ylabel() == "jobs finished (mean)"
    assert made["latency"].axes[0].get_xlabel() == "job latency (seconds)"
    assert made["latency"].axes[0].get_ylabel() == "share of jobs that take longer"
    assert "(seconds)" in made["load_makespan"].axes[0].get_ylabel()
    assert made["load_makespan"].axes[0].get_xlabel().startswith("load (share of a job")
    assert made["stragglers"].axes[-1].get_xlabel() == "round"
    assert made["timeline"].axes[-1].get_xlabel().startswith("time since round ")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_what_makes_the_comparison_fair(made, name):
    said = caption_of(made[name])
    assert "master: mu_rule (mu = 0.5, reference = first, wait_for = all)" in said
    assert "leftover: cancel; no T limit; 2 trials; engine: vectorised; 6 of 6 runs repeated on events: equal" in said


def test_the_fairness_line_knows_own_rules_t_limits_and_what_is_swept(results):
    plain = results.scenario
    schemes = plain["schemes"] | {"uncoded": {"kind": "uncoded", "master": {"kind": "first_enough"}}}
    swept = plain | {"models": 4, "schemes": schemes, "sweep": {"master.mu": [1.0], "leftover": ["finish"]}}
    said = fairness(dataclasses.replace(results, scenario=swept))
    assert "mu = swept" in said
    assert "schemes.uncoded.master: first_enough" in said
    assert "leftover: swept; T at most 3" in said
    own = {label: {"kind": "uncoded", "master": {"kind": "first_enough"}} for label in "abc"}
    for schemes, rules in (
        (own, ["master: first_enough (all schemes)"]),
        (own | {"b": {"kind": "uncoded", "master": {"kind": "fixed_time", "time_s": 2}}},
         ["master: first_enough", "schemes.b.master: fixed_time (time_s = 2)"]),
    ):  # fmt: skip
        said = fairness(dataclasses.replace(results, scenario=plain | {"schemes": schemes}))
        assert said.partition("; leftover")[0].split("; ") == rules


@pytest.mark.parametrize(
    ("training", "swept", "said"),
    [
        ({}, {}, "training: least_squares, batch all, sgd, rate 0.25, on_failure: skip"),
        ({"batch": 8, "optimiser": "momentum", "on_failure": "repeat", "messages": "float32"}, {},
         "training: least_squares, batch 8, momentum, rate 0.25, on_failure: repeat, messages: float32"),
        ({}, {"training.learning_rate": [0.1], "training.batch": [1, 2], "seed": [1]},
         "training: least_squares, batch swept, sgd, rate swept, on_failure: skip"),
        ({}, {"training.workload.rows": [5], "training.workload.l2": [1], "training.messages": ["float32"]},
         "training: least_squares, l2 swept, rows swept, batch all, sgd, rate 0.25, on_failure: skip, messages: swept"),
        ({}, {"training.workload": [1], "training.optimiser": [1], "training.on_failure": [1]},
         "training: swept, batch all, swept, rate 0.25, on_failure: swept"),
        ({}, {"training": [1]}, "training swept"),
    ],
)  # fmt: skip
def test_the_fairness_line_says_how_was_trained(results, training, swept, said):
    given = {"workload": {"kind": "least_squares", "rows": 9}, "learning_rate": 0.25} | training
    plain = results.scenario | {"training": given, "sweep": swept}
    parts = fairness(dataclasses.replace(results, scenario=plain)).split("; ")
    assert [part for part in parts if part.startswith("training")] == [said]
    assert "training" not in fairness(results)


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_shown_whole_and_as_they_are(made, name):
    said = " ".join(texts(made[name]).split())
    assert r"_\$GC\$ with a label" in said or "_$GC$ with a label" in said or name == "timeline"
    assert "..." not in said


def test_a_figure_with_failures_says_so():
    hurried = make(master=FixedTime(time_s=2.0))
    results = stragglersim.run(hurried)
    failed = results.runs.groupby("scheme")["decode_failures"].sum()
    assert failed["uncoded"] > 0
    made = dict(run_figures(results))
    assert f"{failed['uncoded']} of 12 jobs failed" in texts(made["makespan"])
    assert "hollow: jobs failed" in texts(made["load_makespan"])
    assert "failed jobs count as infinite" in caption_of(made["latency"])


def test_nothing_is_said_of_failures_where_there_are_none(results, made):
    assert not results.runs["decode_failures"].any()
    assert not any("failed" in texts(figure) for figure in made.values())


def test_all_jobs_may_fail():
    slow = {"usual": Constant(1.0), "slow": Bernoulli(p=0.5, slowdown=9)}
    schemes = {"uncoded": Uncoded(40)}
    results = stragglersim.run(make(master=FixedTime(time_s=1.0), stragglers=slow, schemes=schemes, workers=40))
    assert set(results.jobs["status"]) == {"failed"}
    for _, figure in run_figures(results):
        figure.draw_without_rendering()


def test_jobs_finished_is_the_mean_over_trials_with_a_band():
    """By hand: job 0 ends at 1 s and 3 s, job 1 at 4 s and 8 s; Student's t of 2 trials: 12.7."""
    ends_s = {"a": [[1.0, 4.0], [3.0, 8.0]], "b": [[2.0, 5.0], [2.0, 5.0]]}
    rows = [
        {"scheme": scheme, "trial": trial, "job": job, "decoded_s": at_s}
        for scheme, trials in ends_s.items()
        for trial, jobs in enumerate(trials)
        for job, at_s in enumerate(jobs)
    ]
    [axes] = drawn_by(draw_jobs_finished, pd.DataFrame(rows)).axes
    line = axes.lines[0]
    assert line.get_xydata().tolist() == [[0, 0], [1, 0.5], [3, 1], [4, 1.5], [8, 2]]
    assert line.get_drawstyle() == "steps-post"
    band = axes.collections[0].get_paths()[0]
    inside = [band.contains_point(point) for point in ((2.0, 0.1), (2.0, 1.9), (3.5, 0.9))]
    assert inside == [True, True, False]
    assert axes.get_ylabel() == "jobs finished (mean)"
    alone = drawn_by(draw_jobs_finished, pd.DataFrame(rows).query("trial == 0")).axes[0]
    assert not alone.collections
    assert alone.get_ylabel() == "jobs finished"


def test_jobs_finished_ends_where_the_last_trial_ends(results, made):
    steps = {
        line.get_color(): line.get_xydata() for line in made["jobs_finished"].axes[0].lines if len(line.get_xdata()) > 1
    }
    last = results.jobs.query("scheme == 'uncoded'")["decoded_s"]
    assert steps["#000000"][-1] == pytest.approx([last.max(), 6])


def test_the_straggler_matrix_agrees_with_the_rounds_table(results, scenario):
    for label, log in straggler_logs(scenario, scenario.schemes).items():
        rounds = results.rounds[(results.rounds["scheme"] == label) & (results.rounds["trial"] == 0)]
        assert log.stragglers.sum(axis=1).tolist() == rounds["stragglers"].tolist()
        assert log.waited == rounds["waited"].tolist()


def test_many_workers_and_rounds_share_cells_and_no_straggler_is_lost():
    scenario = make(workers=250, jobs=500, trials=1, schemes={"uncoded": Uncoded(250)}, master=FixedTime(time_s=1.0))
    logs = straggler_logs(scenario, scenario.schemes)
    figure = drawn_by(draw_stragglers, logs)
    shares = figure.axes[0].images[0].get_array().T
    stragglers = logs["uncoded"].stragglers
    firsts = [(first, worker) for first in range(0, 500, 2) for worker in range(0, 250, 3)]
    in_cell = [stragglers[first : first + 2, worker : worker + 3].any() for first, worker in firsts]
    assert (shares > 0).ravel().tolist() == in_cell
    assert 0 < sum(in_cell) < len(in_cell)
    assert "cell of 3 workers × 2 rounds" in texts(figure)


TWINS = {"GC": GradientCoding(4, s=1), "twin": GradientCoding(4, s=1), "uncoded": Uncoded(4)}


def sizes(axes, size, colour):
    """The sizes of the lines, or of the markers, of a colour."""
    kind = "get_linestyle" if size == "linewidth" else "get_marker"
    return [getp(line, size) for line in axes.lines if line.get_color() == colour and getattr(line, kind)() != "None"]


@pytest.mark.parametrize("name", ["jobs_finished", "latency", "load_makespan"])
def test_where_schemes_lie_on_each_other_the_lower_one_is_wider(name):
    axes = dict(run_figures(stragglersim.run(make(schemes=TWINS, trials=5))))[name].axes[0]
    first, second, apart = (look.colour for look in looks_of(list(TWINS)).values())
    for size in ("linewidth", "markersize") if name != "load_makespan" else ("markersize",):
        assert min(sizes(axes, size, first)) > max(sizes(axes, size, second)) == max(sizes(axes, size, apart))


def test_lines_that_cross_keep_their_width():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0, 1, 2], color="black", linewidth=1.0)
    axes.plot([0, 1, 2], [2, 1, 0], color="red", linewidth=1.0)
    axes.step([0, 1.5, 2], [2, 1, 1], where="post", color="green", linewidth=1.0)
    axes.step([0, 1.8, 2], [2, 0, 0], where="post", color="blue", linewidth=1.0)  # on the last one for most of its way
    widen_beneath(axes)
    assert [line.get_linewidth() for line in axes.lines] == [1.0, 1.0, 2.5, 1.0]


def test_schemes_under_which_nobody_or_everybody_straggles_have_no_panel_and_that_is_said(scenario):
    logs = straggler_logs(scenario, scenario.schemes)
    nobody, everybody = StragglerLog(), StragglerLog()
    for log, packed in ((nobody, np.uint8([0])), (everybody, np.uint8([0xF0]))):
        log._packed, log._n_workers, log._n_given, log.waited = [packed] * 3, 4, 12, [False] * 3
    shown = {"uncoded": nobody, "GC": logs["M-SGC"], "SR-SGC": everybody}
    figure = drawn_by(draw_stragglers, shown)
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == ["GC"]
    assert not_drawn(shown) == [
        "not drawn: uncoded (0 % straggled, as no round closed before all had reported)",
        "not drawn: SR-SGC (100 % straggled, as every round closed before anybody had reported everything)",
    ]
    assert not_drawn({"GC": logs["M-SGC"]}) == []


def test_figures_that_say_nothing_are_not_drawn_and_it_is_said_why(tmp_path, cli):
    alike = {"schemes": {name: Uncoded(4) for name in "abc"}}
    results = stragglersim.run(make(**alike))
    drawn = draw(results, tmp_path / "plots", make(**alike))
    assert [path.stem for path in drawn.paths] == ["makespan", "timeline"]
    assert drawn.left_out == {
        "jobs_finished": "all schemes finish their jobs at the same times",
        "latency": "all schemes have the same latencies",
        "load_makespan": "all schemes have load 0.25",
        "stragglers": "no scheme has rounds in which some workers were cut off and others not",
    }
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {"makespan", "timeline", "captions"}
    results.save(tmp_path / "out")
    out = cli("plot", "out")[1]
    assert "no latency: all schemes have the same latencies" in " ".join(out.split())


def test_nothing_is_drawn_of_jobs_that_all_failed_and_it_is_said_why(tmp_path):
    results = stragglersim.run(make(master=FixedTime(time_s=0.1, timeout_s=0.2)))
    assert results.runs["decode_failures"].sum() == 36
    left_out = draw(results, tmp_path).left_out
    assert (left_out["jobs_finished"], left_out["latency"]) == ("no job was decoded", "no job was decoded")


def test_a_sweep_that_tells_no_scheme_from_another_has_no_lines(tmp_path):
    results = stragglersim.run(sweep_of({"jobs": [2, 3]}, schemes={name: Uncoded(4) for name in "abc"}))
    drawn = draw(results, tmp_path)
    assert drawn.paths == []
    assert drawn.left_out == {
        "makespan": "all schemes have the same makespan at every point",
        "load_latency": "every scheme has load 0.25 at every point",
    }
    assert lines_of(results, Chart("jobs", "makespan_s")).axes  # what is asked for is drawn


def test_a_log_axis_shows_zeros():
    figure = Figure()
    axes = figure.subplots()
    scale_up(axes, pd.Series([0.0, 0.01, 5.0]))
    assert axes.get_yscale() == "symlog"
    figure.draw_without_rendering()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["0", "0.01", "0.1", "1"]
    heights = axes.transData.transform([[0, value] for value in (0.0, 0.01, 0.1, 1.0)])[:, 1]
    assert axes.get_ylim()[0] < 0
    assert (np.diff(heights) > 5).all()
    scale_up(linear := Figure().subplots(), pd.Series([0.0, 1.0, 5.0]))
    assert linear.get_yscale() == "linear"


def test_errors_of_0_are_on_the_axis():
    schemes = {"some": FastestK(4, k=2), "all": GradientCoding(4, s=1)}
    results = stragglersim.run(sweep_of({"jobs": [2, 3]}, schemes=schemes))
    above = dict(run_figures(results))["error"].axes[0]
    zeros = [line for line in above.lines if (line.get_ydata() == 0).all()]
    assert len(zeros) == 1
    assert above.get_ylim()[0] < 0


def test_task_ends_in_the_timeline_follow_the_worker_times():
    # a list of load 2/6 (two mini-tasks of 1/6): 4 x (0.5 + 6 c) s
    slow = {"usual": Constant(startup_s=0.5, seconds_per_load=6.0), "slow": Bernoulli(p=1.0, slowdown=4.0)}
    scheme = Multiplexed(3, B=1, W=2, lam=3)
    scenario = make(workers=3, trials=1, stragglers=slow, schemes={"M-SGC": scheme}, master=MuRule(mu=0.0))
    [log] = timelines(scenario, straggler_logs(scenario, scenario.schemes)).values()
    view = log.rounds[0]
    bars = [bar for bar in view.bars if bar.worker == 0]
    ends = [4 * (0.5 + 6 * scheme.load_of(n)) for n in range(len(bars))]
    assert [bar.end_s - view.start_s for bar in bars] == pytest.approx(ends)
    assert [bar.kind for bar in bars] == ["startup", "plain"]
    assert view.stop_s == pytest.approx(bars[-1].end_s)


def test_the_timeline_shows_the_lists_that_were_open_not_what_became_of_them(scenario):
    logs = straggler_logs(scenario, scenario.schemes)
    shown = timelines(scenario, logs)
    assert list(shown) == list(scenario.schemes)
    for label, log in shown.items():
        for view in log.rounds:
            late = {bar.worker for bar in view.bars if not bar.is_heard}
            missing = set(np.flatnonzero(logs[label].stragglers[view.index]).tolist())
            assert late == missing
    kinds = {bar.kind for view in shown["M-SGC"].rounds for bar in view.bars}
    assert kinds == {"startup", "plain", "coded", "repeat"}


def test_a_worker_that_never_answers_is_drawn_to_the_edge():
    dead = {"usual": Constant(4.0), "dead": Bernoulli(p=0.4, slowdown=float("inf"))}
    scenario = make(stragglers=dead, master=MuRule(timeout_s=9.0), schemes={"uncoded": Uncoded(4)})
    shown = timelines(scenario, straggler_logs(scenario, scenario.schemes))
    assert any(np.isinf(bar.end_s) for view in shown["uncoded"].rounds for bar in view.bars)
    figure = drawn_by(draw_timeline, shown, scenario, {"uncoded": "uncoded"})
    edge_s = figure.axes[0].get_xlim()[1]
    assert max(bars.get_path().vertices[:, 0].max() for bars in figure.axes[0].patches) <= edge_s
    assert max(line[-1, 0] for line in figure.axes[0].collections[0].get_segments()) == edge_s


def test_old_lists_are_finished_before_new_ones_begin():
    scenario = make(leftover="finish", trials=1)
    for log in timelines(scenario, straggler_logs(scenario, scenario.schemes)).values():
        last_s: dict[int, float] = {}
        for bar in (bar for view in log.rounds for bar in view.bars):
            assert bar.begin_s >= last_s.get(bar.worker, 0.0) - 1e-9
            last_s[bar.worker] = bar.end_s


def test_without_a_scenario_there_are_no_closeups(results):
    assert [name for name, _ in run_figures(results)] == NAMES[:4]


def test_without_a_jobs_table_there_are_no_figures_of_jobs(results):
    assert [name for name, _ in run_figures(Results(results.runs, scenario=results.scenario))] == [
        "makespan",
        "load_makespan",
    ]


def test_a_sweep_has_a_line_for_each_scheme_and_a_panel_for_each_second_value():
    point = make(trials=2)
    points = [
        ({"master.mu": mu, "leftover": left}, dataclasses.replace(point, master=MuRule(mu=mu), leftover=left))
        for mu in (0.1, 1.0, 8.0)
        for left in ("cancel", "finish")
    ]
    sweep = {"master.mu": [0.1, 1.0, 8.0], "leftover": ["cancel", "finish"]}
    swept = dataclasses.replace(point, sweep=sweep, points=tuple(points))
    results = stragglersim.run(swept)
    made = dict(run_figures(results, swept))
    assert list(made) == ["makespan", "load_latency"]
    figure = made["makespan"]
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes] == ["leftover = cancel", "leftover = finish"]
    assert figure.axes[0].get_xlabel() == r"$\mu$"
    line = figure.axes[1].lines[0]
    chosen = results.runs.query("scheme == 'uncoded' and leftover == 'finish'")
    assert line.get_xdata().tolist() == [0.1, 1.0, 8.0]
    assert line.get_ydata() == pytest.approx(chosen.groupby("master.mu")["makespan_s"].mean().to_numpy())


def sweep_of(sweep: dict[str, list[object]], **changes: object) -> stragglersim.Scenario:
    """A scenario with points that differ in the rule's mu or time, in jobs, or in GC's s."""
    point = make(**changes)
    points = []
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        rule = {key.removeprefix("master."): value for key, value in chosen.items() if key.startswith("master.")}
        varied = {"master": dataclasses.replace(point.master, **rule), "jobs": chosen.get("jobs", point.jobs)}
        if "schemes.GC.s" in chosen:
            varied["schemes"] = point.schemes | {"GC": GradientCoding(4, s=chosen["schemes.GC.s"])}
        points.append((chosen, dataclasses.replace(point, **varied)))
    return dataclasses.replace(point, sweep=sweep, points=tuple(points))


TWO = {"uncoded": Uncoded(4), "GC": GradientCoding(4, s=1)}


@pytest.fixture(scope="module")
def over_two() -> Results:
    return stragglersim.run(sweep_of({"master.mu": [0.1, 1.0, 8.0], "jobs": [3, 9]}, schemes=TWO, trials=3))


def test_two_swept_numbers_make_maps_and_no_panel_is_lost(over_two):
    made = dict(run_figures(over_two))
    assert list(made) == ["makespan", "best_scheme", "gain", "load_latency"]
    for figure in made.values():
        figure.draw_without_rendering()
    for name in ("best_scheme", "gain"):
        axes = made[name].axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == (r"$\mu$", "jobs")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "1", "8"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["3", "9"]
    assert "A: uncoded" in texts(made["best_scheme"])
    assert made["gain"].axes[1].get_ylabel() == "makespan saved (%)"


def test_maps_hold_the_means_of_the_tables(over_two):
    cells = map_of(over_two, ["master.mu", "jobs"], "makespan_s", {})
    means = over_two.runs.groupby(["master.mu", "jobs", "scheme"])["makespan_s"].mean()
    letters = {text.get_text()[0] for text in dict(run_figures(over_two))["best_scheme"].axes[0].texts}
    best = set()
    for (j, jobs), (i, mu) in itertools.product(enumerate([3, 9]), enumerate([0.1, 1.0, 8.0])):
        here = means[mu, jobs]
        assert cells.values[:, j, i] == pytest.approx([here["uncoded"], here["GC"]])
        assert cells.gain_percent[j, i] == pytest.approx(100 * (1 - here["GC"] / here["uncoded"]))
        assert [cells.schemes[place] for place in np.flatnonzero(cells.best[:, j, i])] == [here.idxmin()]
        best.add({"uncoded": "A", "GC": "B"}[here.idxmin()])
    assert letters == best


def made_up(rows: list[tuple[int, float, float]], **columns: object) -> Results:
    """Runs of two schemes over a 2 x 2 sweep, of which point 0 has these makespans; the others 10 s and 5 s."""
    table = []
    for point, trial in itertools.product(range(4), range(len(rows))):
        makespans_s = rows[trial][1:] if point == 0 else (10.0, 5.0)
        for scheme, makespan_s in zip(("first", "second"), makespans_s, strict=True):
            table.append(
                {"point": point, "scheme": scheme, "kind": scheme, "trial": trial, "engine": "events", "load": 0.5}
                | {"makespan_s": makespan_s, "jobs_per_s": 1 / makespan_s, "decode_failures": 0, "error_norm_mean": 0.0}
                | {"job_latency_p95_s": makespan_s, "a": point // 2, "b": point % 2, "n_jobs": 9}
                | {name: value[scheme] for name, value in columns.items()}
            )
    return Results(pd.DataFrame(table), scenario={"name": "made up", "sweep": {"a": [0, 1], "b": [0, 1]}})


@pytest.mark.parametrize(
    ("rows", "is_undecided"),
    [
        ([(0, 10.0, 9.0), (1, 20.0, 19.1), (2, 30.0, 28.9)], False),  # by pairs, second is better, though trials differ
        ([(0, 10.0, 9.0), (1, 20.0, 23.0), (2, 30.0, 26.0)], True),
        ([(0, 10.0, 10.0), (1, 20.0, 20.0)], False),  # a tie
        ([(0, 10.0, 20.0), (1, 20.0, 10.0)], True),  # equal means alone are no tie
        ([(0, 10.0, 9.9)], False),  # nothing is known of chance
    ],
)
def test_cells_that_chance_may_have_decided_are_marked(rows, is_undecided):
    results = made_up(rows)
    assert map_of(results, ["a", "b"], "makespan_s", {}).undecided.tolist() == [[is_undecided, False], [False, False]]
    caption = caption_of(dict(run_figures(results))["best_scheme"])
    assert ("?: another is not distinguishable from the best" in caption) == is_undecided


def test_a_map_without_room_for_marks_says_how_many_cells_are_undecided():
    point, scheme, trial = np.indices((26, 2, 3)).reshape(3, -1)
    makespan_s = 10.0 - 5.0 * (scheme == 1) * (point > 0) + (scheme == 1) * (point == 0) * (trial - 1)
    runs = pd.DataFrame(
        {"point": point, "scheme": np.array(["x", "y"])[scheme], "trial": trial, "makespan_s": makespan_s}
    )
    runs = runs.assign(jobs=point % 13, workers=point // 13, kind=runs["scheme"], n_jobs=1, decode_failures=0)
    runs = runs.assign(jobs_per_s=1 / runs["makespan_s"], error_norm_mean=0.0)
    remarks = map_of(Results(runs, scenario={}), ["jobs", "workers"], "makespan_s", {}).remarks
    assert remarks[0].startswith("no room for ? in 1 of 26 cells: another is not distinguishable from the best")


@pytest.mark.parametrize("seed", range(10))
def test_a_map_and_a_comparison_call_the_same_cells_undecided(seed):
    rng = np.random.default_rng(seed)
    shape = (4, 3, int(rng.integers(2, 13)))  # points, schemes, trials
    makespans_s = rng.gamma(4.0, 1.0, shape) + 0.5 * rng.random((*shape[:2], 1))
    makespans_s[0, 1] = makespans_s[0, 0] * (1 + 1e-12 * rng.random(shape[2]))  # equal but for rounding
    point, scheme, trial = np.indices(shape).reshape(3, -1)
    runs = pd.DataFrame({"point": point, "scheme": np.array(["x", "y", "z"])[scheme], "trial": trial})
    runs = runs.assign(makespan_s=makespans_s.ravel(), jobs=point // 2, workers=point % 2, kind=runs["scheme"])
    runs = runs.assign(n_jobs=1, decode_failures=0, jobs_per_s=1 / runs["makespan_s"], error_norm_mean=0.0)
    runs = runs[rng.random(len(runs)) < 0.95]  # trials may be missing
    cells = map_of(Results(runs, scenario={}), ["workers", "jobs"], "makespan_s", {})
    table = compare(runs)
    undecided = table.groupby("point")["near_best"].any()
    assert cells.undecided.ravel().tolist() == undecided.sort_index().tolist()
    best = table[(table["rank"] == 1) & ~table["near_best"]].groupby("point")["scheme"].agg(set)
    shown = [set(np.array(cells.schemes)[is_best]) for is_best in cells.best.reshape(len(cells.schemes), -1).T]
    assert shown == best.sort_index().tolist()


def test_schemes_that_are_equal_in_every_trial_tie_and_none_of_them_has_won(tmp_path):
    shipped = (Path(__file__).parents[1] / "scenarios" / "load-against-lam.yaml").read_text().split("sweep:")[0]
    of_lam = '"schemes.M-SGC.lam, schemes.SR-SGC.lam, schemes.GC.s": [[0, 0, 0], [1, 1, 1], [8, 8, 8]]'
    of_w = '"schemes.M-SGC.W, schemes.SR-SGC.W": [[2, 2], [3, 3]]'
    (tmp_path / "small.yaml").write_text(f"{shipped}sweep:\n  {of_lam}\n  {of_w}\n")
    results = stragglersim.run(stragglersim.load(tmp_path / "small.yaml", ["trials=3", "jobs=20"]))
    table = compare(results.runs)
    is_tied = table["schemes.GC.s"] < 2
    assert set(table[is_tied & (table["rank"] == 1)]["scheme"]) == {"GC", "SR-SGC"}
    figure = dict(run_figures(results))["best_scheme"]
    letters = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert {letters[i, j].rstrip("?") for i in (0, 1) for j in (0, 1)} == {"A=B"}
    assert not any("=" in letters[2, j] for j in (0, 1))
    assert "tie" in texts(figure).splitlines()
    [tie] = [patches for patches in figure.axes[0].collections if len(patches.get_paths()) == 4]
    red, green, blue, _ = tie.get_facecolor()[0]
    assert red == green == blue > 0.9


def test_a_map_without_ties_has_no_entry_for_them(over_two):
    assert "tie" not in texts(dict(run_figures(over_two))["best_scheme"]).splitlines()


def test_where_failures_differ_schemes_are_compared_by_jobs_per_second():
    failing = made_up([(0, 10.0, 9.0)], decode_failures={"first": 0, "second": 3}, jobs_per_s={"first": 2, "second": 1})
    made = dict(run_figures(failing))
    assert list(made) == ["jobs_per_s", "best_scheme", "gain"]
    for name in ("jobs_per_s", "best_scheme", "gain"):
        assert "compared by jobs per second" in caption_of(made[name])
    assert {text.get_text() for text in made["best_scheme"].axes[0].texts} == {"A"}
    assert {text.get_text() for text in made["gain"].axes[0].texts} == {"-50"}
    assert made["gain"].axes[1].get_ylabel() == "more jobs per second (%)"
    nobody = made_up([(0, 10.0, 9.0)], decode_failures={"first": 9, "second": 3}, jobs_per_s={"first": 0, "second": 1})
    assert {text.get_text() for text in dict(run_figures(nobody))["gain"].axes[0].texts} == {"∞"}


def test_maps_of_many_cells_have_hatches_in_place_of_letters():
    sweep = {"master.mu": [0.1 * k for k in range(1, 15)], "jobs": [3, 9]}
    made = dict(run_figures(stragglersim.run(sweep_of(sweep, schemes=TWO, trials=1))))
    axes = made["best_scheme"].axes[0]
    assert not axes.texts
    hatches = [patches.get_hatch() for patches in axes.collections]
    assert len(set(hatches)) == len(TWO)
    assert not made["gain"].axes[0].texts
    for figure in made.values():
        figure.draw_without_rendering()


def test_the_front_holds_what_nobody_beats_in_load_and_latency():
    results = stragglersim.run(sweep_of({"schemes.GC.s": [0, 1, 2, 3]}, schemes=TWO, trials=2))
    figure = dict(run_figures(results))["load_latency"]
    points = at_points(results, "job_latency_p95_s").assign(load=at_points(results, "load")["value"])
    pairs = set(zip(points["load"], points["value"], strict=True))
    front = {(x, y) for x, y in pairs if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in pairs)}
    rings = [line for line in figure.axes[0].lines if line.get_markersize() == 8]
    assert {tuple(pair) for line in rings for pair in line.get_xydata().tolist()} == front
    assert 1 < len(front) < len(pairs)


def test_load_against_latency_says_nothing_where_no_panel_has_different_loads(tmp_path):
    results = stragglersim.run(make(schemes={"a": FastestK(4, k=3), "b": FastestK(4, k=2)}, sweep={"workers": [4, 5]}))
    with pytest.raises(ChartError, match="load_latency: every scheme has the same load in each panel"):
        results.plot.load_latency()


def test_points_with_failed_jobs_are_not_on_the_front_and_surroundings_have_panels():
    scenario = sweep_of({"jobs": [3, 9], "master.time_s": [1.0, 6.0]}, schemes=TWO, master=FixedTime(time_s=1.0))
    results = stragglersim.run(scenario)
    failed = at_points(results, "job_latency_p95_s").query("failures > 0")
    assert len(failed)
    figure = dict(run_figures(results))["load_latency"]
    assert [axes.get_title() for axes in figure.axes] == ["jobs = 3", "jobs = 9"]
    rings = [line for axes in figure.axes for line in axes.lines if line.get_markersize() == 8]
    on_front = {tuple(pair) for line in rings for pair in line.get_xydata().tolist()}
    assert on_front.isdisjoint(zip(at_points(results, "load")["value"][failed.index], failed["value"], strict=True))
    assert "hollow: jobs failed" in texts(figure)


def lines_of(results: Results, chart: Chart) -> Figure:
    figure = drawn_by(draw_lines, results, chart)
    figure.draw_without_rendering()
    return figure


def test_any_column_is_drawn_against_a_swept_key_with_its_interval(over_two):
    figure = lines_of(over_two, Chart("jobs", "job_latency_mean_s", where={"scheme": ["GC"]}))
    assert [axes.get_title() for axes in figure.axes] == [rf"$\mu$ = {mu}" for mu in ("0.1", "1", "8")]
    assert figure.get_supylabel() == "mean job latency (seconds)"
    runs = over_two.runs.query("scheme == 'GC' and `master.mu` == 8")
    by_jobs = runs.groupby("jobs")["job_latency_mean_s"]
    line, band = figure.axes[2].lines[0], figure.axes[2].collections[0].get_paths()[0].vertices
    assert line.get_xydata().tolist() == pytest.approx(np.column_stack([[3, 9], by_jobs.mean()]))
    half = 4.302652729911275 * by_jobs.std() / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert band[:, 1].max() == pytest.approx((by_jobs.mean() + half).max())
    assert "uncoded" not in texts(figure)


def test_the_reference_is_a_dashed_line_or_points():
    results = stragglersim.run(sweep_of({"jobs": [2, 3]}, schemes=TWO | {"ideal": Ideal(4)}, trials=1))
    words = Results(results.runs.replace({"jobs": {2: "two", 3: "three"}}), scenario=results.scenario)
    for each, shown in ((results, {("--", "None")}), (words, {("None", "d")})):
        lines = [line for line in lines_of(each, Chart("jobs", "makespan_s")).axes[0].lines if line.get_color() == GREY]
        looks = {(line.get_linestyle(), str(line.get_marker() or None)) for line in lines}
        assert looks - {("None", "None")} == shown


def test_lines_can_be_of_a_swept_key(over_two):
    figure = lines_of(over_two, Chart("jobs", "makespan_s", by="master.mu"))
    assert [axes.get_title() for axes in figure.axes] == ["scheme = uncoded", "scheme = GC"]
    shown = texts(figure).splitlines()
    assert {rf"$\mu$ = {mu}" for mu in ("0.1", "1", "8")} <= set(shown)


def test_a_column_that_follows_a_swept_key_takes_its_place():
    results = stragglersim.run(sweep_of({"schemes.GC.s": [0, 1, 2, 3]}, schemes=TWO, trials=2))
    [axes] = lines_of(results, Chart("load", "makespan_s")).axes
    assert axes.get_xlabel() == "load (share of a job, per worker and round)"
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 4]
    assert drawn[-1].get_xdata().tolist() == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        (Chart("nope", "makespan_s"), "--x nope: must be one of master.mu, jobs, n_workers"),
        (Chart("jobs", "kind"), "--y kind: must be one of n_workers, n_jobs"),
        (Chart("jobs", "jobs"), "--y jobs: must be one of"),
        (Chart("jobs", "makespan_s", by="load"), "--by load: must be one of scheme, master.mu, jobs"),
        (Chart("jobs", "makespan_s", where={"load": [1]}), "--where load: must be one of scheme, master.mu, jobs"),
        (Chart("jobs", "makespan_s", where={"jobs": [4]}), "--where jobs: must be one of 3, 9, got 4"),
    ],
)
def test_a_chart_that_cannot_be_drawn_is_refused_in_one_line_and_nothing_is_written(over_two, tmp_path, chart, message):
    with pytest.raises(ChartError) as error:
        draw_chart(over_two, tmp_path / "plots", chart)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "plots").exists()


def test_too_many_panels_are_refused_with_what_to_fix():
    results = stragglersim.run(
        sweep_of({"jobs": [3, 4], "master.mu": [0.1 * k for k in range(1, 8)]}, schemes=TWO, trials=1)
    )
    assert "makespan" not in dict(run_figures(results))
    with pytest.raises(ChartError, match=r"at most 6 panels, got 7: fix some of master.mu: 0\.1, 0\.2.* \(key=value\)"):
        lines_of(results, Chart("jobs", "makespan_s"))
    lines_of(results, Chart("jobs", "makespan_s", where={"master.mu": [0.1, 0.2]}))


def test_a_chart_is_written_under_a_name_of_its_own(over_two, tmp_path):
    path = draw_chart(over_two, tmp_path, Chart("master.mu", "makespan_s", where={"jobs": [3]}))
    assert path.name == "makespan_s-over-master_mu-where-jobs-3.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in path.with_suffix(".svg").read_text(encoding="utf-8")


SCENARIOS = Path(stragglersim.__file__).parent.parent / "scenarios"


@pytest.fixture(scope="module")
def against_lam() -> Results:
    scenario = stragglersim.load(SCENARIOS / "load-against-lam.yaml", ["trials=1", "jobs=1"])
    return stragglersim.run(scenario, engine="vectorised")


def test_loads_and_bounds_against_lam_are_those_of_the_paper(against_lam):
    n = 20
    for run in against_lam.runs.to_dict("records"):
        lam, B, W = (run[f"schemes.M-SGC.{name}"] for name in ("lam", "B", "W"))
        bursty = (W - 1 + B) / (n * (W - 1) + B * (n - lam))
        load, bound = {
            "GC": ((lam + 1) / n, 1 / (n - lam)),
            "SR-SGC": ((-(-B * lam // (W - 1 + B)) + 1) / n, bursty),
            "M-SGC": ((lam + 1) * (W - 1 + B) / (n * (B + (W - 1) * (lam + 1))), bursty),
        }[run["scheme"]]
        assert (run["load"], run["load_bound"]) == pytest.approx((load, bound), rel=1e-12)
        assert run["scheme"] != "M-SGC" or lam < n - 1 or load == pytest.approx(bound, rel=1e-12)


def test_the_load_has_a_line_for_each_scheme_and_each_bound_and_a_panel_for_each_burst(against_lam):
    figure = dict(run_figures(against_lam))["load"]
    figure.draw_without_rendering()
    titles = [f"$B$ = {B}, $W$ = {W}" for B, W in ((1, 2), (1, 3), (2, 7), (1, 6))]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert figure.axes[-1].get_xlabel() == r"$\lambda$ = $s$"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["GC", "SR-SGC", "M-SGC", "bound of M-SGC, SR-SGC"]
    dashed = [line for line in figure.axes[2].lines if line.get_color() == "#555555"]
    lam = np.arange(20)
    assert [line.get_xdata().tolist() for line in dashed] == [lam.tolist()]
    assert dashed[0].get_ydata() == pytest.approx(8 / (120 + 2 * (20 - lam)))


def test_a_bound_that_other_schemes_are_below_is_not_drawn_and_that_is_said(against_lam):
    figure = dict(run_figures(against_lam))["load"]
    assert "bound of GC not drawn: other schemes, which tolerate less, are below it" in caption_of(figure)
    figure = lines_of(against_lam, Chart("schemes.M-SGC.lam", "load", where={"scheme": ["GC"]}))
    lam, dashed = np.arange(20), [line for line in figure.axes[0].lines if line.get_color() == "#555555"]
    assert dashed[0].get_ydata() == pytest.approx(1 / (20 - lam))


def test_a_bound_that_all_schemes_share_is_one_line(against_lam):
    wanted = {"scheme": ["SR-SGC", "M-SGC"], "schemes.M-SGC.B": [1], "schemes.M-SGC.W": [6]}
    figure = lines_of(against_lam, Chart("schemes.M-SGC.lam", "load", where=wanted))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SR-SGC", "M-SGC", "bound"]
    assert len(figure.axes) == 1


def test_a_scheme_without_a_bound_has_none():
    point = make(schemes={"any": FastestK(4, k=3)})
    results = stragglersim.run(point)
    assert results.runs["load_bound"].isna().all()


def test_keys_that_vary_together_are_told_apart_by_as_many_of_them_as_it_takes():
    results = made_up([(0, 10.0, 9.0)])
    results.scenario["sweep"] = {"a, b": [[0, 0], [0, 1], [1, 0], [1, 1]]}
    figure = dict(run_figures(results))["makespan"]
    assert [axes.get_title() for axes in figure.axes] == ["$b$ = 0", "$b$ = 1"]
    assert [axes.lines[0].get_ydata().tolist() for axes in figure.axes] == [[10, 10], [10, 10]]


def test_a_swept_null_has_a_panel_like_any_value():
    results = made_up([(0, 10.0, 9.0)])
    results.runs["b"] = results.runs["b"].where(results.runs["b"] > 0)
    figure = dict(run_figures(results))["makespan"]
    assert [axes.get_title() for axes in figure.axes] == ["$b$ = none", "$b$ = 1"]
    assert all(len(axes.lines[0].get_xdata()) == 2 for axes in figure.axes)


def test_a_third_key_makes_a_pair_of_maps_for_each_of_its_values_in_the_same_colours():
    sweep = {"master.mu": [0.1, 1.0, 8.0], "jobs": [3, 9], "schemes.GC.s": [1, 3]}
    results = stragglersim.run(sweep_of(sweep, schemes=TWO, trials=3))
    made = dict(run_figures(results))
    maps = [name for name in made if name.startswith(("best", "gain"))]
    assert maps == [f"{name}-schemes_GC_s-{s}" for s in (1, 3) for name in ("best_scheme", "gain")]
    gains = [made[name].axes[0] for name in maps if name.startswith("gain")]
    assert [axes.get_title().splitlines()[0] for axes in gains] == ["$s$ of GC = 1", "$s$ of GC = 3"]
    assert gains[0].images[0].norm.vmax == gains[1].images[0].norm.vmax
    means = results.runs.groupby(["schemes.GC.s", "jobs", "master.mu", "scheme"])["makespan_s"].mean().unstack()
    for s, axes in zip((1, 3), gains, strict=True):
        expected = (100 * (1 - means["GC"] / means["uncoded"]))[s].to_numpy().reshape(2, 3)
        np.testing.assert_allclose(axes.images[0].get_array(), expected)


def test_the_gain_of_each_scheme_has_a_panel():
    schemes = TWO | {"M-SGC": Multiplexed(4, B=1, W=2, lam=1)}
    results = stragglersim.run(sweep_of({"master.mu": [0.1, 1.0, 8.0], "jobs": [3, 9]}, schemes=schemes, trials=3))
    figure = dict(run_figures(results))["gains"]
    figure.draw_without_rendering()
    means = results.runs.groupby(["jobs", "master.mu", "scheme"])["makespan_s"].mean().unstack()
    for axes, scheme in zip(figure.axes, ["GC", "M-SGC"], strict=False):
        assert axes.get_title() == scheme
        expected = (100 * (1 - means[scheme] / means["uncoded"])).to_numpy().reshape(2, 3)
        np.testing.assert_allclose(axes.images[0].get_array(), expected)


def test_the_front_is_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(1)
    load = rng.integers(0, 6, 60).astype(float)
    latency_s = rng.integers(0, 3, 60) + 6.0 - load
    may_win = rng.random(60) < 0.7
    expected = [
        may_win[i]
        and not any(
            may_win[j] and load[j] <= load[i] and latency_s[j] <= latency_s[i]
            and (load[j] < load[i] or latency_s[j] < latency_s[i])
            for j in range(60)
        )
        for i in range(60)
    ]  # fmt: skip
    assert 1 < sum(expected) < 20
    assert _not_dominated(load, latency_s, may_win).tolist() == expected


def test_neighbours_in_a_map_share_a_rectangle():
    cells = np.array([[True, True, False, True], [False, False, False, False], [True, True, True, True]])
    merged = [rectangle.get_bbox().bounds for rectangle in _rectangles(cells, merge=True)]
    assert merged == [(-0.5, -0.5, 2, 1), (2.5, -0.5, 1, 1), (-0.5, 1.5, 4, 1)]
    assert len(_rectangles(cells, merge=False)) == 7


def map_of_ties(n_columns: int) -> tuple[Map, str]:
    """Three schemes that tie everywhere but in one cell, with what the map says in its cells and its legend."""
    point, scheme, trial = np.indices((2 * n_columns, 3, 3)).reshape(3, -1)
    labels = np.array(["x", "y", "z"])[scheme]
    makespan_s = 5.0 + trial + 9.0 * (scheme > 0) * (point == 0)
    runs = pd.DataFrame({"point": point, "scheme": labels, "kind": labels, "trial": trial, "makespan_s": makespan_s})
    runs = runs.assign(jobs=point % n_columns, workers=point // n_columns, n_jobs=1, decode_failures=0)
    runs = runs.assign(jobs_per_s=1 / runs["makespan_s"], error_norm_mean=0.0)
    cells = map_of(Results(runs, scenario={}), ["jobs", "workers"], "makespan_s", {})
    return cells, texts(drawn_by(draw_best, cells))


def test_a_tie_is_named_by_letters_or_in_the_caption_or_in_the_legend():
    cells, said = map_of_ties(3)
    assert "A=B=C" in said
    assert not any(remark.startswith("=:") for remark in cells.remarks)
    cells, said = map_of_ties(12)
    assert "A=B=C" not in said
    assert "=: a tie of more schemes than have room" in cells.remarks
    assert "tie: x, y, z" in map_of_ties(13)[1]


def test_quantiles_of_a_trace_with_times_of_0_are_not_on_a_log_axis():
    measured_s = np.random.default_rng(1).exponential(1.0, (20, 4))
    for least_s, scale in ((0.1, "log"), (0.0, "linear")):
        measured_s[:3] = least_s
        draw_fit(figure := Figure(layout="constrained"), measured_s, [measured_s, measured_s], "it")
        assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == scale
