"""Every picture is written, says what it shows and in which unit, and shows what the tables say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import simulator
from schemes import GradientCoding, Multiplexed, Uncoded
from simulator.closeups import draw_stragglers, draw_timeline, straggler_logs, timelines
from simulator.master import FixedTime, MuRule
from simulator.plots import draw, figures
from simulator.results import Results, fairness
from straggler_models import Bernoulli, Constant

NAMES = ["makespan", "jobs_finished", "latency", "load_makespan", "stragglers", "timeline"]


def make(**changes: object) -> simulator.Scenario:
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
    return simulator.Scenario(**(keys | changes))


@pytest.fixture(scope="module")
def scenario() -> simulator.Scenario:
    return make()


@pytest.fixture(scope="module")
def results(scenario: simulator.Scenario) -> Results:
    return simulator.run(scenario)


@pytest.fixture(scope="module")
def made(results: Results, scenario: simulator.Scenario) -> dict[str, Figure]:
    return dict(figures(results, scenario))


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.fixture(scope="module")
def written(results: Results, scenario: simulator.Scenario, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw(results, tmp_path_factory.mktemp("first") / "new" / "plots", scenario)


def test_every_picture_is_written_as_png_and_as_svg(written):
    assert [path.stem for path in written] == NAMES
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert "<svg" in path.with_suffix(".svg").read_text(encoding="utf-8")


def test_the_same_results_give_the_same_files(results, written, tmp_path):
    for one, other in zip(written, draw(results, tmp_path), strict=False):  # close-ups would take seconds more
        assert one.read_bytes() == other.read_bytes()
        assert one.with_suffix(".svg").read_bytes() == other.with_suffix(".svg").read_bytes()


def test_axes_say_what_they_show_and_in_which_unit(made):
    assert made["makespan"].axes[0].get_xlabel() == "mean makespan (seconds), 95 % interval"
    assert made["makespan"].axes[0].get_xlim()[0] == 0
    assert made["jobs_finished"].axes[0].get_xlabel() == "simulated time (seconds)"
    assert made["jobs_finished"].axes[0].get_ylabel() == "jobs finished"
    assert made["latency"].axes[0].get_xlabel() == "job latency (seconds)"
    assert made["latency"].axes[0].get_ylabel() == "share of jobs that take longer"
    assert "(seconds)" in made["load_makespan"].axes[0].get_ylabel()
    assert made["load_makespan"].axes[0].get_xlabel().startswith("load (share of a job")
    assert made["stragglers"].axes[-1].get_xlabel() == "round"
    assert made["timeline"].axes[-1].get_xlabel() == "simulated time (seconds)"


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_says_what_makes_the_comparison_fair(made, name):
    said = " ".join(made[name].get_supxlabel().split())
    assert "master: mu_rule (mu = 0.5, reference = first, wait_for = all)" in said
    assert "leftover: cancel; no T limit; 2 trials; engine: events" in said


def test_the_fairness_line_knows_own_rules_t_limits_and_what_is_swept(results):
    plain = results.scenario
    schemes = plain["schemes"] | {"uncoded": {"kind": "uncoded", "master": {"kind": "first_enough"}}}
    swept = plain | {"models": 4, "schemes": schemes, "sweep": {"master.mu": [1.0], "leftover": ["finish"]}}
    said = fairness(dataclasses.replace(results, scenario=swept))
    assert "mu = swept" in said
    assert "schemes.uncoded.master: first_enough" in said
    assert "leftover: swept; T at most 3" in said


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_shown_whole_and_as_they_are(made, name):
    said = " ".join(texts(made[name]).split())
    assert r"_\$GC\$ with a label" in said or "_$GC$ with a label" in said or name == "timeline"
    assert "..." not in said


def test_a_picture_with_failures_says_so():
    hurried = make(master=FixedTime(time_s=2.0))
    results = simulator.run(hurried)
    failed = results.runs.groupby("scheme")["decode_failures"].sum()
    assert failed["uncoded"] > 0
    made = dict(figures(results))
    assert f"{failed['uncoded']} of 12 jobs failed" in texts(made["makespan"])
    assert "hollow: jobs failed" in texts(made["load_makespan"])
    assert made["latency"].get_supxlabel().startswith("failed jobs take for ever")


def test_nothing_is_said_of_failures_where_there_are_none(results, made):
    assert not results.runs["decode_failures"].any()
    assert not any("failed" in texts(figure) for figure in made.values())


def test_all_jobs_may_fail():
    slow = {"usual": Constant(1.0), "slow": Bernoulli(p=0.5, slowdown=9)}
    schemes = {"uncoded": Uncoded(40)}
    results = simulator.run(make(master=FixedTime(time_s=1.0), stragglers=slow, schemes=schemes, workers=40))
    assert set(results.jobs["status"]) == {"failed"}
    for _, figure in figures(results):
        figure.draw_without_rendering()


def test_jobs_finished_ends_where_the_jobs_of_trial_0_end(results, made):
    steps = {
        line.get_color(): line.get_xydata() for line in made["jobs_finished"].axes[0].lines if len(line.get_xdata()) > 1
    }
    first = results.jobs.query("scheme == 'uncoded' and trial == 0")["decoded_s"]
    assert steps["#000000"][-1] == pytest.approx([first.max(), 6])


def test_the_straggler_matrix_agrees_with_the_rounds_table(results, scenario):
    for label, log in straggler_logs(scenario).items():
        rounds = results.rounds[(results.rounds["scheme"] == label) & (results.rounds["trial"] == 0)]
        assert log.stragglers.sum(axis=1).tolist() == rounds["stragglers"].tolist()
        assert log.waited == rounds["waited"].tolist()


def test_many_workers_and_rounds_share_cells_and_no_straggler_is_lost():
    scenario = make(workers=250, jobs=500, trials=1, schemes={"uncoded": Uncoded(250)}, master=FixedTime(time_s=1.0))
    logs, figure = straggler_logs(scenario), Figure()
    draw_stragglers(figure, logs)
    shares = figure.axes[0].images[0].get_array().T
    stragglers = logs["uncoded"].stragglers
    firsts = [(first, worker) for first in range(0, 500, 2) for worker in range(0, 250, 3)]
    in_cell = [stragglers[first : first + 2, worker : worker + 3].any() for first, worker in firsts]
    assert (shares > 0).ravel().tolist() == in_cell
    assert 0 < sum(in_cell) < len(in_cell)
    assert "cell of 3 worker(s) × 2 round(s)" in texts(figure)


def test_task_ends_in_the_timeline_follow_the_worker_times():
    # a list of load 2/6 (two mini-tasks of 1/6): 4 x (0.5 + 6 c) s
    slow = {"usual": Constant(startup_s=0.5, seconds_per_load=6.0), "slow": Bernoulli(p=1.0, slowdown=4.0)}
    scheme = Multiplexed(3, B=1, W=2, lam=3)
    scenario = make(workers=3, trials=1, stragglers=slow, schemes={"M-SGC": scheme}, master=MuRule(mu=0.0))
    [log] = timelines(scenario, straggler_logs(scenario)).values()
    view = log.rounds[0]
    bars = [bar for bar in view.bars if bar.worker == 0]
    ends = [4 * (0.5 + 6 * scheme.load_of(n)) for n in range(len(bars))]
    assert [bar.end_s - view.start_s for bar in bars] == pytest.approx(ends)
    assert [bar.kind for bar in bars] == ["startup", "plain"]
    assert view.stop_s == pytest.approx(bars[-1].end_s)


def test_the_timeline_shows_the_lists_that_were_open_not_what_became_of_them(scenario):
    logs = straggler_logs(scenario)
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
    shown = timelines(scenario, straggler_logs(scenario))
    assert any(np.isinf(bar.end_s) for view in shown["uncoded"].rounds for bar in view.bars)
    figure = Figure()
    draw_timeline(figure, shown, scenario)
    edge_s = figure.axes[0].get_xlim()[1]
    assert max(bar.get_x() + bar.get_width() for bar in figure.axes[0].patches) <= edge_s
    assert max(line.get_xdata()[-1] for line in figure.axes[0].lines) == edge_s


def test_old_lists_are_finished_before_new_ones_begin():
    scenario = make(leftover="finish", trials=1)
    for log in timelines(scenario, straggler_logs(scenario)).values():
        last_s: dict[int, float] = {}
        for bar in (bar for view in log.rounds for bar in view.bars):
            assert bar.begin_s >= last_s.get(bar.worker, 0.0) - 1e-9
            last_s[bar.worker] = bar.end_s


def test_without_a_scenario_there_are_no_closeups(results):
    assert [name for name, _ in figures(results)] == NAMES[:4]


def test_without_a_jobs_table_there_are_no_pictures_of_jobs(results):
    assert [name for name, _ in figures(Results(results.runs, scenario=results.scenario))] == [
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
    results = simulator.run(swept)
    [(name, figure)] = figures(results, swept)
    assert name == "makespan"
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes] == ["leftover = cancel", "leftover = finish"]
    assert figure.axes[0].get_xlabel() == "master.mu"
    line = figure.axes[1].lines[0]
    chosen = results.runs.query("scheme == 'uncoded' and leftover == 'finish'")
    assert line.get_xdata().tolist() == [0.1, 1.0, 8.0]
    assert line.get_ydata() == pytest.approx(chosen.groupby("master.mu")["makespan_s"].mean().to_numpy())
