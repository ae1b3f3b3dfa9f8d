"""Tables: their columns, that they are the same again, and that what can't be decoded is recorded, not waited for."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest

import stragglersim
from schemes import FastestK, GradientCoding, Multiplexed, SelectiveRepeat, Uncoded
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.record import RunRecord
from simulator.errors import WriteError
from simulator.execution.one_run import run_one
from simulator.results.summary import summary, write_csv
from straggler_models import (
    Bernoulli,
    CommonShock,
    Constant,
    FailedWorkers,
    FailStop,
    GilbertElliott,
    MarkovSpeed,
    ShiftedExponential,
    Trace,
)
from stragglersim import Results, ResultsError, Scenario

MODELS = {
    "usual": Constant(startup_s=0.2, seconds_per_load=4.0),
    "noise": ShiftedExponential(shift=0.1, mean=0.3, adds_to="startup_s"),
    "bursts": GilbertElliott(p_slow=0.1, p_recover=0.5, slowdown=6.0),
}
SCHEMES = {
    "uncoded": Uncoded(8),
    "GC": GradientCoding(8, s=2),
    "SR-SGC": SelectiveRepeat(8, B=1, W=2, lam=3),
    "M-SGC": Multiplexed(8, B=1, W=2, lam=3),
}
COLUMNS = {
    "runs": "scenario, point, scheme, kind, trial, engine, n_workers, n_jobs, delay_rounds, load, computed_load, "
    "overhead, makespan_s, jobs_per_s, job_latency_mean_s, job_latency_p50_s, job_latency_p95_s, job_latency_p99_s, "
    "decode_failures, waited_rounds, waited_s, straggler_rate, squared_error_mean, relative_error_mean",
    "rounds": "point, scheme, trial, round, start_s, duration_s, first_finish_s, waited, waited_s, stragglers",
    "jobs": "point, scheme, trial, job, start_round, decoded_round, start_s, decoded_s, latency_s, status, "
    "squared_error",
    "workers": "point, scheme, trial, round, worker, finished_s, load_given, load_done, straggler",
}


def scenario(**changes):
    given = {
        "workers": 8,
        "jobs": 20,
        "seed": 5,
        "trials": 2,
        "stragglers": MODELS,
        "schemes": SCHEMES,
        "master": MuRule(),
    }
    return Scenario(**(given | changes))


def rows_of(frame, label):
    return frame[frame["scheme"] == label].reset_index(drop=True)


def test_the_tables_have_the_promised_columns_first():
    results = stragglersim.run(scenario(), detail="workers")
    for name, columns in COLUMNS.items():
        expected = columns.split(", ")
        assert getattr(results, name).columns.tolist()[: len(expected)] == expected
    assert len(results.runs) == 4 * 2
    assert len(results.jobs) == 4 * 2 * 20
    assert len(results.rounds) == 2 * (20 + 20 + 21 + 21)
    assert len(results.workers) == 8 * len(results.rounds)


def test_the_same_seed_gives_the_same_tables_whatever_else_is_in_the_scenario():
    alone = stragglersim.run(scenario(schemes={"GC": SCHEMES["GC"]}, trials=1), detail="workers")
    unused = Bernoulli(p=0.0, slowdown=9.0)
    others = scenario(
        schemes=dict(reversed(SCHEMES.items())), stragglers={"unused": unused, **dict(reversed(MODELS.items()))}
    )
    among = stragglersim.run(others, detail="workers")
    for name in COLUMNS:
        frame = rows_of(getattr(among, name), "GC")
        pd.testing.assert_frame_equal(frame[frame["trial"] == 0], getattr(alone, name))


def test_another_seed_or_trial_gives_other_numbers():
    makespans = stragglersim.run(scenario(trials=3)).runs.query("scheme == 'uncoded'")["makespan_s"].tolist()
    other = stragglersim.run(scenario(seed=6, trials=1)).runs["makespan_s"][0]
    assert len({*makespans, other}) == 4


def test_all_schemes_of_a_trial_meet_the_same_worker_times():
    workers = stragglersim.run(scenario(trials=1), detail="workers").workers
    for column in ("startup_s", "seconds_per_load", "slowdown"):
        per_scheme = [rows_of(workers, label)[column].to_numpy()[: 20 * 8] for label in SCHEMES]
        assert all(np.array_equal(per_scheme[0], other) for other in per_scheme)


def test_a_longer_run_only_extends_a_shorter_one():
    short, long = (
        stragglersim.run(scenario(jobs=jobs, schemes={"GC": SCHEMES["GC"]}, trials=1)).rounds for jobs in (20, 90)
    )
    pd.testing.assert_frame_equal(short, long[:20])


@pytest.mark.parametrize("leftover", ["cancel", "finish"])
@pytest.mark.parametrize("label", SCHEMES)
def test_a_run_replayed_from_its_workers_table_is_the_same_run(tmp_path, label, leftover):
    shock = CommonShock(p=0.2, share=0.5, slowdown=math.inf)
    given = {"trials": 1, "schemes": {label: SCHEMES[label]}, "leftover": leftover, "master": MuRule(timeout_s=9.0)}
    first = stragglersim.run(scenario(stragglers=MODELS | {"shock": shock}, **given), detail="workers")
    first.save(tmp_path / "run")
    replay = Trace(path=str(tmp_path / "run" / "workers.parquet"))
    second = stragglersim.run(scenario(stragglers={"replay": replay}, **given), detail="workers")
    for name in COLUMNS:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)


def test_a_run_of_several_schemes_replays_them_all(tmp_path):
    first = stragglersim.run(scenario(trials=1), detail="workers")
    first.save(tmp_path / "run")
    replay = Trace(path=str(tmp_path / "run" / "workers.parquet"))
    second = stragglersim.run(scenario(trials=1, stragglers={"replay": replay}), engine="events")
    pd.testing.assert_frame_equal(first.runs, second.runs)
    stragglersim.run(scenario(trials=2), detail="workers").save(tmp_path / "two")
    with pytest.raises(ValueError, match="one time for each round and worker"):
        Trace(path=str(tmp_path / "two" / "workers.parquet")).check(8, 20)


def test_a_run_in_changing_speed_replays_too(tmp_path):
    speed = MarkovSpeed(states=[{"slowdown": 1.0, "mean_s": 3.0}, {"slowdown": 4.0, "mean_s": 1.0}])
    given = {"trials": 1, "schemes": {"GC": SCHEMES["GC"]}}
    first = stragglersim.run(scenario(stragglers=MODELS | {"speed": speed}, **given), detail="workers")
    first.save(tmp_path / "run")
    second = stragglersim.run(
        scenario(stragglers={"r": Trace(path=str(tmp_path / "run" / "workers.parquet"))}, **given)
    )
    assert second.rounds["duration_s"].to_numpy() == pytest.approx(first.rounds["duration_s"].to_numpy(), rel=1e-12)
    assert (second.rounds["stragglers"] == first.rounds["stragglers"]).all()


def test_computed_load_is_the_sum_over_the_workers_table():
    for leftover in ("cancel", "finish"):
        results = stragglersim.run(scenario(leftover=leftover), detail="workers")
        done = results.workers.groupby(["scheme", "trial"])["load_done"].sum()
        runs = results.runs.set_index(["scheme", "trial"])
        assert (runs["computed_load"] * 8 * 20).to_dict() == pytest.approx(done.to_dict())
        assert (runs["overhead"] + 1).to_dict() == pytest.approx((done / 20).to_dict())
        assert (results.workers["load_done"] <= results.workers["load_given"] + 1e-12).all()


def test_runs_are_derived_from_rounds_and_jobs():
    results = stragglersim.run(scenario(round_overhead_s=0.25, models=2))
    runs, all_jobs = results.runs.set_index(["scheme", "trial"]), results.jobs.groupby(["scheme", "trial"])
    for key, rounds in results.rounds.groupby(["scheme", "trial"]):
        run, jobs = runs.loc[key], all_jobs.get_group(key)
        n_with_work = (rounds["duration_s"] > 0).sum()
        assert run["makespan_s"] == pytest.approx(rounds["duration_s"].sum() + 0.25 * n_with_work)
        assert run["waited_rounds"] == rounds["waited"].sum()
        assert run["waited_s"] == pytest.approx(rounds["waited_s"].sum())
        assert run["job_latency_p95_s"] == pytest.approx(jobs["latency_s"].quantile(0.95))
        assert run["jobs_per_s"] == pytest.approx(20 / run["makespan_s"])
        assert run["seconds_per_update"] == pytest.approx(run["makespan_s"] * 2 / 20)
        assert (jobs["decoded_s"] - jobs["start_s"]).tolist() == pytest.approx(jobs["latency_s"].tolist())
        assert (jobs["decoded_round"] - jobs["start_round"]).max() <= run["delay_rounds"]


def test_approximate_jobs_carry_their_error():
    results = stragglersim.run(scenario(schemes={"k": FastestK(8, k=6)}, trials=1, master=FirstEnough()))
    assert set(results.jobs["status"]) == {"approximate"}
    assert results.runs["squared_error_mean"][0] == pytest.approx(8 * 2 / 6)
    assert results.runs["relative_error_mean"][0] == pytest.approx(math.sqrt(2 / 6))
    assert (results.runs["decode_failures"][0], results.runs["jobs_per_s"][0] > 0) == (0, True)


def test_a_sweep_has_a_point_for_each_value_and_a_column_for_each_key(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "workers: 4\njobs: 3\nstragglers: {usual: {kind: constant, startup_s: 1}}\n"
        "schemes: {GC: {kind: gradient_coding, s: 1}}\n"
        "sweep: {schemes.GC.s: [0, 1], stragglers.usual.startup_s: [1, 2]}\n"
    )
    results = stragglersim.run(stragglersim.load(path))
    assert results.runs["schemes.GC.s"].tolist() == [0, 0, 1, 1]
    assert results.runs["makespan_s"].tolist() == [3.0, 6.0, 3.0, 6.0]
    assert results.runs["load"].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert results.jobs["point"].unique().tolist() == [0, 1, 2, 3]


# --- nothing hangs ---

USUAL = {"usual": Constant(startup_s=1.0)}


@pytest.mark.parametrize("label", SCHEMES)
@pytest.mark.parametrize(
    "failure",
    [FailedWorkers(count=8, drawn="per_run"), FailedWorkers(count=4, drawn="per_run"), FailStop(2.0, 2.0)],
    ids=["all", "half", "now and then"],
)
@pytest.mark.parametrize(
    "rule",
    [FirstEnough(timeout_s=3.0), MuRule(timeout_s=3.0), FixedTime(time_s=3.0)],
    ids=lambda rule: type(rule).__name__,
)
@pytest.mark.parametrize("leftover", ["cancel", "finish"])
def test_workers_that_never_answer_end_in_failed_jobs(label, failure, rule, leftover):
    given = {"stragglers": USUAL | {"failure": failure}, "master": rule, "leftover": leftover, "trials": 1}
    results = stragglersim.run(scenario(schemes={label: SCHEMES[label]}, **given))
    run = results.runs.iloc[0]
    assert len(results.jobs) == 20
    assert run["decode_failures"] == (results.jobs["status"] == "failed").sum()
    assert results.jobs.query("status == 'failed'")["latency_s"].isna().all()
    assert (results.rounds["duration_s"] <= 3.0).all()
    if failure == FailedWorkers(count=8, drawn="per_run"):
        assert run["decode_failures"] == 20
        assert math.isnan(run["overhead"])
        assert run["jobs_per_s"] == 0
    if failure == FailedWorkers(count=4, drawn="per_run") and label in ("uncoded", "GC"):
        assert run["decode_failures"] == 20


def test_a_job_that_is_lost_is_failed_at_once_and_does_not_hold_up_the_others(tmp_path):
    """Worker 0 of 4 never answers in rounds 0 and 1: job 0 is lost after round 1; the others are decoded in time."""
    rows = [f"{r},{w},{math.inf if w == 0 and r < 2 else 1.0}" for r in range(7) for w in range(4)]
    path = tmp_path / "times.csv"
    path.write_text("\n".join(["round,worker,duration_s", *rows]))
    given = {"workers": 4, "jobs": 6, "trials": 1, "stragglers": {"r": Trace(path=str(path))}}
    results = stragglersim.run(
        scenario(**given, master=MuRule(timeout_s=2.0), schemes={"M": Multiplexed(4, B=1, W=2, lam=1)})
    )
    assert results.jobs["status"].tolist() == ["failed", "decoded", "decoded", "decoded", "decoded", "decoded"]
    assert results.rounds["duration_s"].tolist() == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]


# --- files ---


def test_results_are_saved_and_loaded(tmp_path):
    results = stragglersim.run(scenario(), detail="workers")
    results.save(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"{name}.parquet" for name in COLUMNS}
    assert names == tables | {"summary.csv", "scenario.yaml", "manifest.json"}
    loaded = Results.load(tmp_path / "out")
    for name in COLUMNS:
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(results, name))
    assert loaded.scenario == results.scenario
    assert loaded.manifest["engine"] == "auto"
    assert stragglersim.load(tmp_path / "out" / "scenario.yaml") == scenario()


def test_results_are_not_overwritten_unless_asked_and_nothing_else_ever_is(tmp_path):
    results = stragglersim.run(scenario(trials=1), detail="runs")
    assert (results.rounds, results.jobs) == (None, None)
    results.save(tmp_path / "out")
    with pytest.raises(ResultsError, match="must not exist yet"):
        results.save(tmp_path / "out")
    results.save(tmp_path / "out", replace=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(ResultsError, match="must hold the results of a run"):
        results.save(tmp_path / "home", replace=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out"]
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "another kind of manifest"}')
    with pytest.raises(ResultsError, match="and nothing else, to be replaced"):
        results.save(tmp_path / "app", replace=True)
    (tmp_path / "out" / "notes.txt").write_text("precious")
    with pytest.raises(ResultsError, match="and nothing else, to be replaced"):
        results.save(tmp_path / "out", replace=True)
    shutil.rmtree(tmp_path / "app")
    (tmp_path / "file").write_text("")
    for place, error in (("file", ResultsError), ("file/below", WriteError)):
        with pytest.raises(error):
            results.save(tmp_path / place)
    with pytest.raises(ResultsError, match="must be a folder that a run has written"):
        Results.load(tmp_path / "home")


def test_results_go_where_a_link_points(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    results = stragglersim.run(scenario(trials=1), detail="runs")
    results.save(tmp_path / "link")
    results.save(tmp_path / "link", replace=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "runs.parquet").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_swept_values_of_several_types_are_one_column(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "workers: 2\njobs: 1\nstragglers: {u: {kind: constant, startup_s: 1}}\nschemes: {uncoded: {kind: uncoded}}\n"
        "sweep: {models: [null, 4], master: [{kind: first_enough}, {kind: mu_rule}], master.timeout_s: [1.5, null]}\n"
    )
    results = stragglersim.run(stragglersim.load(path))
    results.save(tmp_path / "out")
    loaded = Results.load(tmp_path / "out").runs
    assert loaded["models"].isna().sum() == 4
    assert loaded["master.timeout_s"].tolist()[0] == 1.5
    assert loaded["master"][0] == "{'kind': 'first_enough'}"
    assert "models" in (tmp_path / "out" / "summary.csv").read_text().splitlines()[0]


def test_the_summary_compares_with_the_first_scheme_as_a_ratio_of_means():
    results = stragglersim.run(scenario(trials=5))
    table = summary(results.runs).set_index("scheme")
    makespans = {label: rows_of(results.runs, label)["makespan_s"] for label in SCHEMES}
    assert table["change_percent"]["GC"] == pytest.approx(
        100 * (makespans["GC"].mean() / makespans["uncoded"].mean() - 1)
    )
    half = 2.7764451052 * makespans["GC"].std() / math.sqrt(5)  # Student's t, 4 degrees of freedom, 97.5 %
    assert table["makespan_high_s"]["GC"] - table["makespan_s"]["GC"] == pytest.approx(half)


def test_a_csv_is_what_pandas_writes(tmp_path):
    table = pd.DataFrame(
        {
            "x": [0.1 + 0.2, math.nan, math.inf, 1e-300],
            "n": pd.array([1, None, 2, 1], dtype="Int64"),
            "is": [True, False, True, True],
            "a, b": ['say "no"', None, "a,b", "two\nlines"],
            "none": [None] * 4,
        }
    )
    write_csv(table, tmp_path / "own.csv")
    table.to_csv(tmp_path / "pandas.csv", index=False)
    assert (tmp_path / "own.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()


def test_one_run_can_be_had_without_tables():
    record = RunRecord(8, 20)
    run_one(scenario(), "GC", 1, record)
    expected = stragglersim.run(scenario()).runs.query("scheme == 'GC' and trial == 1")["makespan_s"].item()
    assert record.makespan_s == expected


@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_one_job_has_figures_of_jobs_too(engine):
    given = {"workers": 4, "jobs": 1, "stragglers": {"u": Constant(startup_s=0.5)}, "schemes": {"u": Uncoded(4)}}
    [run] = stragglersim.run(Scenario(**given), engine=engine).runs.to_dict("records")
    names = ("job_latency_mean_s", "job_latency_p50_s", "job_latency_p99_s", "exact_share", "squared_error_mean")
    assert [run[name] for name in names] == [0.5, 0.5, 0.5, 1.0, 0.0]
