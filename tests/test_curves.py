"""Time to a target, and figures of training."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from test_plots import draw_chart

import stragglersim
from schemes import FastestK, Uncoded
from simulator.engine.training import Training
from simulator.plots.run import chart_of, draw
from simulator.plots.style import ChartError
from simulator.plots.sweep.charts import Chart
from simulator.plots.sweep.frames import title_of
from simulator.plots.training import training_figures
from simulator.results.compare import CompareError
from simulator.results.curves import Curve, curves, with_time_to
from simulator.results.results import Results
from straggler_models import Constant, ShiftedExponential
from workloads import LeastSquares, LogisticRegression


def results_of(training, runs=None, **given):
    frame = pd.DataFrame(training, columns=["scheme", "trial", "model", "step", "time_s", "loss", "accuracy"])
    frame = frame.assign(
        point=0, gradient_error=np.nan, worker_s=frame["time_s"] * np.where(frame["scheme"] == "A", 10, 4)
    )
    runs = frame[["point", "scheme", "trial"]].drop_duplicates().assign(makespan_s=1.0) if runs is None else runs
    return Results(runs=runs, training=frame, **given)


# models 0 and 1 of scheme A in two trials alike, then one model of B, which does not get there in the second trial
BY_HAND = [
    *(
        ("A", trial, *step)
        for trial in (0, 1)
        for step in (
            (0, 0, 0.0, 4.0, 0.1),
            (1, 0, 0.0, 2.0, 0.3),
            (0, 1, 1.0, 2.0, 0.9),
            (1, 1, 3.0, 1.0, 0.9),
        )
    ),
    ("B", 0, 0, 0, 0.0, 3.0, 0.2),
    ("B", 0, 0, 1, 5.0, 1.0, 0.95),
    ("B", 1, 0, 0, 0.0, 3.0, 0.2),
    ("B", 1, 0, 1, 5.0, 1.6, 0.85),
]


def test_curves_are_means_over_models_by_hand():
    first = dict(curves(results_of(BY_HAND).training, "accuracy"))[0, "A", 0]
    assert first.times_s.tolist() == [0.0, 1.0, 3.0]
    assert first.values == pytest.approx([0.2, 0.6, 0.9])
    assert first.at(np.array([0.5, 1.0, 2.9, 3.0, 7.0])) == pytest.approx([0.2, 0.6, 0.6, 0.9, 0.9])


def test_steps_at_the_same_time_count_together():
    curve = Curve(np.array([0.0, 1.0]), np.array([0.5, 0.25]))
    assert curve.reaches("loss", 0.25) == 1.0
    assert math.isnan(curve.reaches("loss", 0.2))


def test_time_to_a_target_by_hand():
    runs, said = with_time_to(results_of(BY_HAND), "time_to_accuracy", 0.8)
    assert runs["time_to_accuracy"].tolist() == [3.0, 3.0, 5.0, 5.0]
    assert len(said) == 1
    runs, _ = with_time_to(results_of(BY_HAND), "time_to_loss", 2.0)
    assert runs["time_to_loss"].tolist() == [1.0, 1.0, 5.0, 5.0]
    runs, said = with_time_to(results_of(BY_HAND), "worker_s_to_loss", 2.0)
    assert runs["worker_s_to_loss"].tolist() == [10.0, 10.0, 20.0, 20.0]
    seconds = "worker-seconds (time at work, summed over workers)"
    assert said == [f"worker_s_to_loss: {seconds} until the mean loss of all models is at most 2 for the first time."]


def test_a_scheme_that_does_not_always_get_there_has_no_time():
    runs, said = with_time_to(results_of(BY_HAND), "time_to_accuracy", 0.9)
    assert runs["time_to_accuracy"].tolist()[:2] == [3.0, 3.0]
    assert runs["time_to_accuracy"].isna().tolist() == [False, False, True, True]
    assert said[1] == "B: reached in 1 of 2 trials, so it has no mean time (the others came to accuracy 0.85)."


def test_a_scheme_that_lacks_a_trial_has_no_time():
    runs, said = with_time_to(results_of([row for row in BY_HAND if row[:2] != ("A", 1)]), "time_to_loss", 2.0)
    assert runs["time_to_loss"].isna().tolist() == [True, False, False]
    assert said[1] == "A: reached in 1 of 2 trials, so it has no mean time (the others failed)."


def test_a_scheme_that_is_not_trained_has_no_time():
    runs = results_of([*BY_HAND, ("C", 0, 0, 0, 0.0, 3.0, 0.2), ("C", 1, 0, 0, 0.0, 3.0, 0.2)]).runs
    runs, said = with_time_to(results_of(BY_HAND, runs), "time_to_loss", 2.0)
    assert runs["time_to_loss"].isna().tolist() == [False, False, False, False, True, True]
    assert said[1:] == ["C: has no loss."]


def test_a_target_that_is_met_before_training_is_told():
    runs, said = with_time_to(results_of(BY_HAND), "time_to_loss", 3.0)
    assert runs["time_to_loss"].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert said[1:] == ["A: had reached it before the first step.", "B: had reached it before the first step."]


def test_what_can_not_be_asked_is_refused():
    results = results_of(BY_HAND)
    blind = results_of([(*row[:6], math.nan) for row in BY_HAND])
    with pytest.raises(
        CompareError,
        match=r"must be time_to_loss or worker_s_to_loss for a workload without accuracy, got time_to_accuracy",
    ):
        with_time_to(blind, "time_to_accuracy", 0.9)
    with pytest.raises(CompareError, match=r"got time_to_loss, which needs a scenario with training"):
        with_time_to(Results(runs=results.runs), "time_to_loss", 0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two schemes, of which the second takes half the time for the same steps."""
    run = stragglersim.Scenario(
        workers=4,
        jobs=40,
        models=2,
        trials=3,
        stragglers={"usual": Constant(1.0), "noise": ShiftedExponential(shift=0.0, mean=0.2, adds_to="startup_s")},
        training=Training(workload=LogisticRegression(), learning_rate=1.0),
        schemes={"all": Uncoded(4), "fastest 3": FastestK(4, k=3)},
    )
    path = tmp_path_factory.mktemp("curves") / "out"
    stragglersim.run(run).save(path)
    return path


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "simulator", *map(str, arguments)], capture_output=True, text=True)


def test_compare_ranks_by_what_workers_spend_until_a_target(folder):
    done = command("compare", folder, "--metric", "worker_s_to_loss", "--target", "1")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(folder / "compare.csv").set_index("scheme")
    training = Results.load(folder).training
    for scheme in ("all", "fastest 3"):
        spent = []
        for trial in range(3):
            steps = training[(training["scheme"] == scheme) & (training["trial"] == trial)]
            losses = {}
            for row in steps.sort_values("time_s").itertuples():
                losses[row.model] = row.loss
                if len(losses) == 2 and np.mean(list(losses.values())) <= 1:
                    spent.append(row.worker_s)
                    break
        assert table.loc[scheme, "mean"] == pytest.approx(np.mean(spent))
    assert "worker-seconds (time at work, summed over workers) until the mean loss" in done.stdout


def test_compare_ranks_by_the_time_to_a_target(folder):
    done = command("compare", folder, "--metric", "time_to_accuracy", "--target", "0.9")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(folder / "compare.csv").set_index("scheme")
    training = Results.load(folder).training
    for scheme in ("all", "fastest 3"):
        times = []
        for trial in range(3):
            of_run = training[(training["scheme"] == scheme) & (training["trial"] == trial)].sort_values("time_s")
            accuracy = {}
            for row in of_run.itertuples():  # again, step by step
                accuracy[row.model] = row.accuracy
                if len(accuracy) == 2 and np.mean(list(accuracy.values())) >= 0.9:
                    times.append(row.time_s)
                    break
        assert table.loc[scheme, "mean"] == pytest.approx(np.mean(times))
    assert table["rank"].to_dict() == {"all": 2, "fastest 3": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--metric", "time_to_accuracy", "--target", "90"],
            "--target: must be a share between 0 and 1 for time_to_accuracy, got 90",
        ),
        (["--metric", "time_to_loss", "--target", "nan"], "--target: must be a finite number, got nan"),
        (
            ["--metric", "time_to_los", "--target", "1"],
            "must be a column of runs or one of time_to_accuracy, time_to_loss, worker_s_to_loss, got time_to_los",
        ),
        (["--metric", "time_to_accuracy"], "--metric time_to_accuracy: must go with --target, got none"),
        (
            ["--target", "0.9"],
            "must go with --metric time_to_accuracy or time_to_loss or worker_s_to_loss, got --metric makespan_s",
        ),
    ],
)
def test_wrong_options_end_in_a_line_and_status_2(folder, options, said):
    done = command("compare", folder, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_target_that_nobody_reaches_is_no_crash(folder):
    done = command("compare", folder, "--metric", "time_to_loss", "--target", "1e-9")
    assert done.returncode == 0, done.stderr
    assert "reached in 0 of 3 trials" in done.stdout


def test_training_has_figures(folder, tmp_path):
    names = {path.stem for path in draw(Results.load(folder), tmp_path).paths}
    assert {"loss", "accuracy", "loss_worker_seconds"} <= names
    svg = (tmp_path / "accuracy.svg").read_text()
    assert svg.count("PolyCollection") == 2  # a band for each scheme


@pytest.mark.parametrize(("end_s", "is_wide"), [(19.9, False), (20.0, False), (20.1, True), (0.1, True), (0.0, False)])
def test_time_is_logarithmic_where_a_scheme_ends_ten_times_later_than_another(end_s, is_wide):
    rows = [("A", 0, 0, step, time_s, 4.0 - step, math.nan) for step, time_s in enumerate((0.0, 0.5, 2.0))]
    rows += [("B", 0, 0, step, time_s, 3.0 - step, math.nan) for step, time_s in enumerate((0.0, end_s))]
    results = results_of(rows)
    results.runs = results.runs.assign(engine="events", n_jobs=2)
    said = "log axis of time, from the earliest update on"
    assert [said in remarks for name, _, remarks in training_figures(results) if name == "loss"] == [is_wide]
    [axes] = chart_of(results, Chart("time_s", "loss")).axes
    first_s = min(0.5, end_s) if is_wide else 0.0
    assert (axes.get_xscale(), *axes.get_xlim()) == ("log" if is_wide else "linear", first_s, max(2.0, end_s))
    assert all((line.get_xdata() >= first_s).all() for line in axes.lines)
    worker_s = chart_of(results, Chart("worker_s", "loss")).axes[0]  # A's cost 10 for each second, B's 4
    assert worker_s.get_xscale() == ("log" if end_s == 0.1 else "linear")


SWEPT = """
workers: 4
jobs: 12
trials: 2
stragglers: {usual: {kind: constant, startup_s: 1.0}}
training: {workload: {kind: logistic_regression}, learning_rate: 1.0}
schemes: {all: {kind: uncoded}, fastest 3: {kind: fastest_k, k: 3}}
sweep: {training.learning_rate: [0.1, 0.5, 1.0]}
"""


def test_a_sweep_of_training_has_a_panel_for_each_point(tmp_path):
    (tmp_path / "swept.yaml").write_text(SWEPT)
    run = stragglersim.load(tmp_path / "swept.yaml")
    results = stragglersim.run(run)
    names = {path.stem for path in draw(results, tmp_path).paths}
    assert {"loss", "accuracy", "final_loss", "final_accuracy"} <= names
    said = (tmp_path / "loss.svg").read_text()
    assert all(f"learning rate = {rate}" in said for rate in ("0.1", "0.5", "1"))
    chart = Chart(x="time_s", y="loss", where={"training.learning_rate": [0.5], "scheme": ["all"]})
    said = draw_chart(results, tmp_path, chart).with_suffix(".svg").read_text()
    assert "learning rate = 0.5" in said
    assert "learning rate = 0.1" not in said
    assert "fastest 3" not in said
    with pytest.raises(ChartError, match=r"--where training.learning_rate: must be one of 0.1, 0.5, 1.0, got 7"):
        draw_chart(results, tmp_path, Chart(x="time_s", y="loss", where={"training.learning_rate": [7]}))


def test_figures_leave_out_what_there_is_none_of(tmp_path):
    run = stragglersim.Scenario(
        workers=2,
        jobs=4,
        stragglers={"usual": Constant(1.0)},
        training=Training(workload=LeastSquares(), learning_rate=0.1),
        schemes={"all": Uncoded(2)},
    )
    results = stragglersim.run(run)
    names = {path.stem for path in draw(results, tmp_path).paths}
    assert "loss" in names
    assert "accuracy" not in names
    with pytest.raises(ChartError, match="--y accuracy: must be loss for a workload without accuracy"):
        draw_chart(results, tmp_path, Chart(x="time_s", y="accuracy"))


def test_what_has_diverged_has_no_line(tmp_path):
    steep = SWEPT.replace("logistic_regression", "least_squares").replace("[0.1, 0.5, 1.0]", "[0.1, 1.0e+100]")
    (tmp_path / "swept.yaml").write_text(steep)
    results = stragglersim.run(stragglersim.load(tmp_path / "swept.yaml"))
    assert np.isinf(results.runs.groupby("point")["final_loss"].mean()).tolist() == [False, True]
    said = {path.stem: path.with_suffix(".svg").read_text() for path in draw(results, tmp_path / "plots").paths}
    assert "diverged" in said["loss"]
    assert "final_loss" in said


def test_titles_break_before_a_long_value_and_not_in_it():
    assert title_of(["training.workload"], ["logistic_regression"], 28) == "workload =\nlogistic_regression"
    assert title_of(["training.workload"], ["least_squares"], 28) == "workload = least_squares"
