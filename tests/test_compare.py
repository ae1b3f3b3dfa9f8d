"""Comparison: formulas against scipy's own, pairing, missing trials, failures, and what is written and said."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import stragglersim
from schemes import GradientCoding, Uncoded
from simulator.columns import DERIVED
from simulator.errors import WriteError
from simulator.results.compare import CompareError, compare, known_worse, trials_needed
from simulator.results.compare_text import as_text, markdown, notes, write
from simulator.statistics import T, half_width, interval_of_change
from straggler_models import ShiftedExponential
from stragglersim import Results, Scenario


def runs_of(makespans, failures=None, n_jobs=100, **columns):
    """A runs table of one point from makespans by scheme, a number for each trial."""
    rows = [
        {"point": 0, "scheme": label, "trial": trial, "n_jobs": n_jobs, "makespan_s": value, **columns}
        for label, values in makespans.items()
        for trial, value in enumerate(values)
    ]
    runs = pd.DataFrame(rows)
    runs["decode_failures"] = 0 if failures is None else runs["scheme"].map(failures)
    runs["jobs_per_s"] = (n_jobs - runs["decode_failures"]) / runs["makespan_s"]
    return runs


def common_luck(n_trials, *factors, seed=1):
    """Trials that differ by much, in the same way for all schemes."""
    rng = np.random.default_rng(seed)
    luck = rng.gamma(4.0, 25.0, n_trials)
    return [factor * luck * rng.normal(1.0, 0.05, n_trials) for factor in factors]


def by_scheme(table):
    return table.set_index("scheme")


def test_student_of_few_trials_is_the_one_of_scipy_to_the_bit_and_does_not_import_it():
    assert T[1:].tolist() == special.stdtrit(np.arange(1.0, len(T)), 0.975).tolist()
    both = [half_width(1.0, len(T)).item(), half_width([1.0, 1.0], [len(T), len(T) + 1])[0]]
    assert both[0] == both[1]
    code = (
        "import sys; from simulator.statistics import half_width; half_width(1.0, 20); sys.exit('scipy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_means_have_the_interval_of_student():
    (x,) = common_luck(12, 1.0)
    row = compare(runs_of({"a": x})).iloc[0]
    expected = stats.t.interval(0.95, 11, loc=x.mean(), scale=stats.sem(x))
    assert (row["mean"], row["n_trials"]) == (pytest.approx(x.mean()), 12)
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_the_interval_of_a_change_holds_the_ratios_that_scipys_paired_test_does_not_reject():
    x, y = common_luck(17, 0.9, 1.0)
    row = by_scheme(compare(runs_of({"y": y, "x": x}))).loc["x"]
    assert row["change_percent"] == pytest.approx(100 * (x.mean() / y.mean() - 1))
    for end, inward in (("change_low_percent", 1), ("change_high_percent", -1)):
        for percent, is_rejected in ((row[end] - 1e-6 * inward, True), (row[end] + 1e-6 * inward, False)):
            assert (stats.ttest_rel(x, (1 + percent / 100) * y).pvalue < 0.05) == is_rejected


def test_there_is_no_interval_of_a_change_against_what_may_be_nothing():
    rows = by_scheme(compare(runs_of({"y": [0.1, 0.2, 5.0], "x": [1.0, 2.0, 3.0]})))
    assert rows["change_percent"]["x"] > 0
    assert rows[["change_low_percent", "change_high_percent"]].isna().all(axis=None)
    assert as_text(rows.reset_index())[1][1][5] == "-"


def test_pairing_removes_the_luck_that_schemes_share():
    x, y = common_luck(30, 0.9, 1.0)
    table = by_scheme(compare(runs_of({"y": y, "x": x})))
    assert table["high"]["x"] > table["low"]["y"]  # the means' own intervals overlap
    assert table["change_high_percent"]["x"] < 0
    assert not table["near_best"]["y"]


@pytest.mark.parametrize("n_trials", [5, 10, 20, 100])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_the_interval_of_a_change_covers_the_true_one_as_often_as_it_says(kind, n_trials):
    rng = np.random.default_rng(3)
    shape = 1000, n_trials
    x, y = (rng.normal(1.0, 0.2, shape) if kind == "normal" else 1 + rng.exponential(1.0, shape) for _ in range(2))
    low, high = interval_of_change(0.8 * x, y)
    assert 0.935 <= np.mean((low <= -0.2) & (high >= -0.2)) <= 0.975


@pytest.mark.parametrize(("failed", "n_jobs"), [(0, 50), (1, 50), (13, 400), (50, 50)])
def test_failure_rates_have_wilsons_interval(failed, n_jobs):
    row = compare(runs_of({"a": [1.0, 1.0]}, {"a": failed}, n_jobs=n_jobs)).iloc[0]
    expected = stats.binomtest(2 * failed, 2 * n_jobs).proportion_ci(method="wilson")
    assert (row["failed_jobs"], row["all_jobs"]) == (2 * failed, 2 * n_jobs)
    assert (row["failure_low"], row["failure_high"]) == pytest.approx(tuple(expected), abs=1e-12)
    assert 0 <= row["failure_low"] <= row["failure_rate"] <= row["failure_high"] <= 1


def test_trials_won_count_ties_half_and_rounding_is_a_tie():
    table = by_scheme(compare(runs_of({"y": [1.0, 1.0, 1.0, 1.0], "x": [0.9, 1.0 + 1e-13, 1.1, 0.8]})))
    assert table["won_share"].to_dict() == {"y": 0.5, "x": (2 + 0.5) / 4}
    table = by_scheme(compare(runs_of({"y": [1.0, 1.0], "x": [0.5, 2.0]}), metric="jobs_per_s"))
    assert table["won_share"]["x"] == 0.5
    assert by_scheme(compare(runs_of({"y": [1.0], "x": [0.5]}), metric="jobs_per_s"))["won_share"]["x"] == 1


def test_more_jobs_per_second_and_less_of_anything_else_is_better():
    runs = runs_of({"slow": [2.0, 2.1], "quick": [1.0, 1.1]}).assign(of_my_own=[1.0, 1.0, 5.0, 5.0])
    for metric, best in (("makespan_s", "quick"), ("jobs_per_s", "quick"), ("of_my_own", "slow")):
        table = by_scheme(compare(runs, metric=metric))
        assert table.index[table["rank"] == 1].tolist() == [best]
        assert table["ranked_by"].unique().tolist() == [metric]
        assert table["ranked_mean"].tolist() == table["mean"].tolist()


def test_equal_schemes_share_a_rank_and_both_are_best():
    table = by_scheme(compare(runs_of({"a": [3.0, 5.0], "b": [1.0, 2.0], "c": [1.0, 2.0 + 1e-13], "d": [2.0, 4.0]})))
    assert table["rank"].to_dict() == {"a": 4, "b": 1, "c": 1, "d": 3}
    assert not table["near_best"][["b", "c"]].any()
    assert [row[2] for row in as_text(table.reset_index())[1]][1:3] == ["best", "best"]


def test_a_scheme_whose_paired_difference_from_the_best_may_be_0_is_near_the_best():
    (best,) = common_luck(20, 1.0)
    sometimes_worse = best * np.where(np.arange(20) % 2, 1.06, 0.96)
    always_worse = best * 1.01
    table = by_scheme(compare(runs_of({"far": always_worse, "best": best, "near": sometimes_worse})))
    assert table["near_best"].to_dict() == {"far": False, "best": False, "near": True}
    assert "~ best" in " ".join(notes(table.reset_index()))
    assert "~ best" not in " ".join(notes(compare(runs_of({"best": best, "far": always_worse}))))


def test_worse_in_a_single_trial_and_equal_but_for_rounding_in_all_others_is_near_the_best():
    (best,) = common_luck(20, 1.0)
    once_worse = best * (1 + 1e-13)
    once_worse[3] *= 2
    table = by_scheme(compare(runs_of({"best": best, "once worse": once_worse})))
    assert table.loc["once worse", ["rank", "near_best"]].tolist() == [2, True]


def test_near_the_best_means_that_the_interval_of_the_change_against_it_contains_0():
    for seed in range(30):
        x, y = common_luck(15, 1.0, 1.02, seed=seed)
        table = by_scheme(compare(runs_of({"y": y, "x": x}), baseline="x" if x.mean() < y.mean() else "y"))
        other = table[table["rank"] == 2].iloc[0]
        assert other["near_best"] == (other["change_low_percent"] <= 0 <= other["change_high_percent"])


def test_where_failures_differ_ranks_are_by_jobs_per_second_and_that_is_said():
    runs = runs_of({"gives up": [1.0, 1.1], "decodes": [2.0, 2.1]}, {"gives up": 90, "decodes": 0})
    runs = pd.concat([runs, runs_of({"gives up": [1.0, 1.1], "decodes": [2.0, 2.1]}).assign(point=1)])
    table = compare(runs)
    assert table["rank"].tolist() == [2, 1, 1, 2]
    assert table["ranked_by"].tolist() == ["jobs_per_s"] * 2 + ["makespan_s"] * 2
    assert table["ranked_mean"][1] == pytest.approx((100 / 2.0 + 100 / 2.1) / 2)
    said = "Schemes failed to decode different numbers of jobs at 1 of 2 points: ranked by jobs_per_s, not makespan_s."
    assert said in notes(table)
    assert not any("failed to decode" in line for line in notes(table[table["point"] == 1]))
    assert not any("failed to decode" in line for line in notes(compare(runs, metric="decode_failures")))


def test_missing_trials_leave_pairs_of_those_that_both_have_and_that_is_said():
    x, y = common_luck(12, 0.9, 1.0)
    runs = runs_of({"y": y, "x": x})
    fewer = runs[~((runs["scheme"] == "x") & (runs["trial"] >= 8))]
    fewer = fewer[~((fewer["scheme"] == "y") & (fewer["trial"] == 0))]
    row = by_scheme(compare(fewer)).loc["x"]
    both = by_scheme(compare(runs[runs["trial"].between(1, 7)])).loc["x"]
    assert (row["n_trials"], row["n_paired"], row["mean"]) == (8, 7, pytest.approx(x[:8].mean()))
    for column in ("change_percent", "change_low_percent", "change_high_percent", "won_share"):
        assert row[column] == pytest.approx(both[column], rel=1e-12)
    assert "Trials are missing: schemes are compared over the trials that both have (7 to 11)." in notes(compare(fewer))
    assert not any("missing" in line for line in notes(compare(runs)))


def test_a_trial_without_a_value_is_a_missing_trial():
    x, y = common_luck(6, 0.9, 1.0)
    runs = runs_of({"y": y, "x": x}).assign(job_latency_p50_s=[*y, np.nan, *x[1:]])
    row = by_scheme(compare(runs, metric="job_latency_p50_s")).loc["x"]
    assert (row["n_trials"], row["n_paired"], row["mean"]) == (5, 5, pytest.approx(x[1:].mean()))
    nothing = by_scheme(compare(runs.assign(job_latency_p50_s=[*y, *np.full(6, np.nan)]), metric="job_latency_p50_s"))
    assert nothing["rank"]["y"] == 1
    assert nothing.loc["x", ["mean", "change_percent", "won_share", "rank"]].isna().all()
    assert as_text(nothing.reset_index())[1][1][:4] == ("x", "-", "", "-")


def test_a_scheme_that_is_not_at_a_point_has_no_row_there_and_none_is_compared_with_it():
    at_0, at_1 = runs_of({"a": [1.0, 2.0], "b": [2.0, 3.0]}), runs_of({"b": [2.0, 3.0], "c": [1.0, 1.0]})
    table = compare(pd.concat([at_0, at_1.assign(point=1)]))
    assert table[["point", "scheme"]].to_numpy().tolist() == [[0, "a"], [0, "b"], [1, "b"], [1, "c"]]
    assert table["rank"].tolist() == [1, 2, 2, 1]
    assert table["n_paired"].tolist() == [2, 2, 0, 0]
    assert table["change_percent"].isna().tolist() == [False, False, True, True]


def test_one_trial_has_no_intervals_and_few_are_called_rough():
    table = by_scheme(compare(runs_of({"y": [2.0], "x": [1.0]})))
    assert table["change_percent"]["x"] == -50
    assert table[["low", "high", "change_low_percent", "change_high_percent"]].isna().all(axis=None)
    assert table["rank"].to_dict() == {"y": 2, "x": 1}
    assert not table["near_best"].any()
    assert any(line.startswith("One trial has no interval") for line in notes(table.reset_index()))
    for n_trials, is_rough in ((9, True), (10, False)):
        said = notes(compare(runs_of({"x": np.arange(1.0, n_trials + 1)})))
        assert any("intervals are rough" in line for line in said) == is_rough


def test_equal_trials_have_an_interval_of_0_and_what_it_is_worth_is_said():
    said = notes(compare(runs_of({"y": [5.0] * 20, "x": np.arange(1.0, 21)})))
    assert any(line.startswith("± 0: all 20 trials are equal") and "at most 14 % of them do" in line for line in said)
    assert not any("± 0" in line for line in notes(compare(runs_of({"x": np.arange(1.0, 21)}))))


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 0.5, 1.0, 1e9])
def test_a_change_does_not_depend_on_the_unit(unit):
    x, y = common_luck(20, 1.0, 1.2)
    found, expected = (compare(runs_of({"a": x * each, "b": y * each})) for each in (unit / 100, 1.0))
    names = ["change_percent", "change_low_percent", "change_high_percent"]
    assert found[names].to_numpy() == pytest.approx(expected[names].to_numpy())
    assert found["change_percent"].iloc[1] == pytest.approx(20, abs=5)


def test_a_change_against_nothing_is_not_a_number():
    runs = runs_of({"y": [1.0, 1.0], "x": [1.0, 1.0]}).assign(waited_s=[0.0, 0.0, 1.0, 2.0])
    table = by_scheme(compare(runs, metric="waited_s"))
    assert table[["change_percent", "change_low_percent"]].isna().all(axis=None)
    assert (table["rank"].tolist(), table["near_best"].tolist()) == ([1, 2], [False, True])  # two trials say little


def test_the_order_of_rows_and_schemes_changes_no_number():
    values = dict(zip("abc", common_luck(11, 1.0, 0.97, 1.1), strict=True))
    runs = runs_of(values)
    first = by_scheme(compare(runs, baseline="b")).sort_index()
    shuffled = runs.sample(frac=1, random_state=4)
    pd.testing.assert_frame_equal(by_scheme(compare(shuffled, baseline="b")).sort_index(), first)
    alone = by_scheme(compare(runs[runs["scheme"] != "c"], baseline="b"))
    assert alone.loc["a", "change_low_percent"] == pytest.approx(first.loc["a", "change_low_percent"], rel=1e-12)


def test_many_points_give_what_each_gives_alone():
    rng = np.random.default_rng(5)
    points = [
        runs_of(dict(zip("abc", common_luck(rng.integers(2, 9), 1, 0.9, 1.1, seed=p), strict=True))).assign(point=p)
        for p in range(300)
    ]
    together = compare(pd.concat(points))
    for p in (0, 99, 100, 299):
        alone = compare(points[p])
        pd.testing.assert_frame_equal(together[together["point"] == p].reset_index(drop=True), alone)


def test_unknown_baselines_and_metrics_are_answered_with_the_known_ones():
    runs = runs_of({"GC": [1.0], "M-SGC": [1.0]}, workers=3)
    with pytest.raises(CompareError, match="baseline: must be one of GC, M-SGC, got 'MSGC'; did you mean M-SGC"):
        compare(runs, baseline="MSGC")
    with pytest.raises(CompareError, match=r"metric: must be one of n_jobs, makespan_s, .*; did you mean makespan_s"):
        compare(runs, metric="makespan")
    for metric in ("scheme", "trial", "point", "workers"):  # not numbers, or nothing that came out
        with pytest.raises(CompareError, match="metric: must be one of"):
            compare(runs, metric=metric)
    with pytest.raises(CompareError, match="runs: must have a row"):
        compare(runs[:0])


# --- how many trials ---


def test_trials_grow_to_the_estimated_need_but_at_most_double():
    (x,) = common_luck(40, 1.0)
    half = stats.t.ppf(0.975, 39) * stats.sem(x) / x.mean()
    runs = runs_of({"a": x})
    assert trials_needed(runs, 1.001 * half) == {}
    assert trials_needed(runs, half / np.sqrt(1.5)) == {0: 60}
    assert trials_needed(runs, 0.999 * half) == {0: 44}
    assert trials_needed(runs, half / 10) == {0: 80}


def test_trials_needed_follow_jobs_per_s_where_failures_differ():
    steady, wild = [10.0] * 10, [8.0, 12.0] * 5
    runs = runs_of({"a": steady, "b": steady})
    assert trials_needed(runs, 0.05) == {}
    runs = runs_of({"a": steady, "b": steady}, failures={"a": 0, "b": 20})
    runs.loc[runs["scheme"] == "b", "jobs_per_s"] = wild
    assert trials_needed(runs, 0.05) == {0: 20}
    assert trials_needed(runs.assign(decode_failures=20), 0.05) == {}  # where they fail alike, makespans count


def test_no_point_has_fewer_than_10_trials_or_more_than_10000():
    assert trials_needed(runs_of({"a": [1.0]}), 0.02) == {0: 10}
    assert trials_needed(runs_of({"a": [1.0] * 9}), 0.02) == {0: 10}
    assert trials_needed(runs_of({"a": [1.0] * 10}), 0.02) == {}
    assert trials_needed(runs_of({"a": [1.0, 9.0] * 3000}), 1e-6) == {0: 10_000}
    assert trials_needed(runs_of({"a": [1.0, 9.0] * 5000}), 1e-6) == {}


def test_the_scheme_that_varies_most_decides_for_its_point_only():
    steady, wild = [1.0, 1.01] * 10, [1.0, 3.0] * 10
    runs = pd.concat([runs_of({"a": steady, "b": wild}).assign(point=7), runs_of({"a": steady, "b": steady})])
    assert trials_needed(runs, 0.02) == {7: 40}


def test_asking_again_and_again_ends_with_intervals_that_are_narrow_enough():
    rng = np.random.default_rng(2)
    drawn = rng.lognormal(0.0, 0.3, 10_000)
    n_trials, n_asked = 1, 0
    while needed := trials_needed(runs_of({"a": drawn[:n_trials]}), 0.02):
        assert needed[0] > n_trials
        n_trials, n_asked = needed[0], n_asked + 1
    row = compare(runs_of({"a": drawn[:n_trials]})).iloc[0]
    assert (row["high"] - row["mean"]) / row["mean"] <= 0.02
    assert (n_trials < 1300, n_asked < 14) == (True, True)  # (1.96 * 0.307 / 0.02)^2 = 905


def test_means_that_are_not_known_well_enough_are_listed_the_worst_first():
    points = [runs_of({"a": [9.0, 11.0] * 10, "b": [5.0, 15.0] * 10}), runs_of({"b": [1.0]}).assign(point=1)]
    table = known_worse(pd.concat(points), 0.04)
    assert table[["point", "scheme", "metric", "n_trials"]].to_numpy().tolist() == [
        [1, "b", "makespan_s", 1],
        [0, "b", "makespan_s", 20],
        [0, "a", "makespan_s", 20],
    ]
    assert table["half"].iloc[1] == pytest.approx(stats.t.ppf(0.975, 19) * stats.sem([5.0, 15.0] * 10) / 10)
    assert len(known_worse(points[0], 0.05)) == 1
    assert known_worse(points[0], 0.5).empty


def test_a_width_that_is_not_above_0_is_refused():
    with pytest.raises(CompareError, match="must be above 0, got 0"):
        trials_needed(runs_of({"a": [1.0]}), 0)


# --- what is written and said ---


def saved(folder, **changes):
    given = {
        "name": "small",
        "workers": 6,
        "jobs": 4,
        "trials": 3,
        "stragglers": {"usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s")},
        "schemes": {"uncoded": Uncoded(6), "GC": GradientCoding(6, s=2)},
    }
    results = stragglersim.run(Scenario(**(given | changes)), detail="runs")
    results.save(folder)
    return results


def test_compare_prints_a_table_and_writes_csv_and_markdown(cli, tmp_path):
    results = saved(tmp_path / "out")
    status, out, _ = cli("compare", tmp_path / "out", "--baseline", "GC", "--metric", "job_latency_mean_s")
    assert status == 0
    for word in ("small", "job_latency_mean_s", "against GC", "best", "won", "failed", "±", "first_enough", "3 trials"):
        assert word in out
    written = pd.read_csv(tmp_path / "out/compare.csv")
    expected = compare(results.runs, baseline="GC", metric="job_latency_mean_s")
    pd.testing.assert_frame_equal(written, expected, check_dtype=False)
    lines = (tmp_path / "out/compare.md").read_text().splitlines()
    assert lines[0] == "# small: job_latency_mean_s"
    assert [line.count("|") for line in lines if line.startswith("|")] == [10] * 4
    assert not list((tmp_path / "out").glob(".*"))
    results.save(tmp_path / "out", replace=True)  # it still is a folder of results


def test_a_long_table_is_cut_on_the_screen_and_whole_in_the_files(cli, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "workers: 2\njobs: 1\nstragglers: {u: {kind: constant, startup_s: 1}}\n"
        "schemes: {'a|b': {kind: uncoded}, GC: {kind: gradient_coding, s: 1}}\n"
        f"sweep: {{jobs: {list(range(1, 26))}}}\n"
    )
    stragglersim.run(stragglersim.load(path), detail="runs").save(tmp_path / "out")
    status, out, _ = cli("compare", tmp_path / "out")
    assert (status, out.count("jobs = "), "jobs = 20\n" in out, "jobs = 21\n" in out) == (0, 20, True, False)
    assert "The first 40 of 50 rows; compare.csv has all." in out
    assert pd.read_csv(tmp_path / "out/compare.csv")["jobs"].tolist() == [n for n in range(1, 26) for _ in range(2)]
    rows = [line for line in (tmp_path / "out/compare.md").read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 50
    assert rows[2].startswith("| 1 | a\\|b | ")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--baseline", "G"), "baseline: must be one of uncoded, GC, got 'G'; did you mean GC?"),
        (("--metric", "latency"), "metric: must be one of n_workers, "),
    ],
)
def test_wrong_options_are_one_line_and_nothing_is_written(cli, tmp_path, options, line):
    saved(tmp_path / "out", trials=1)
    before = sorted((tmp_path / "out").iterdir())
    status, out, err = cli("compare", tmp_path / "out", *options)
    assert (status, out, line in err.splitlines()[-1]) == (2, "", True)
    assert sorted((tmp_path / "out").iterdir()) == before


def test_a_folder_without_results_is_refused(cli, tmp_path):
    status, _, err = cli("compare", tmp_path)
    assert (status, "must be a folder that a run has written" in err) == (2, True)


def test_what_cannot_be_written_leaves_nothing_unfinished(tmp_path):
    table = compare(runs_of({"a": [1.0, 2.0]}))
    (tmp_path / "compare.csv").mkdir()
    with pytest.raises(WriteError, match="must be a folder that can be written"):
        write(table, tmp_path, "title", notes(table))
    assert [path.name for path in tmp_path.iterdir()] == ["compare.csv"]
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="must be a folder that can be written, got"):
        write(table, tmp_path / "file" / "below", "title", notes(table))


def test_markdown_shows_jobs_per_second_where_ranks_are_by_it():
    table = compare(runs_of({"a": [1.0, 2.0], "b": [1.0, 2.0]}, {"a": 1, "b": 0}))
    assert "| makespan_s | jobs_per_s |" in markdown(table, "title", notes(table))


def test_a_loaded_run_compares_as_before_it_was_saved(tmp_path):
    results = saved(tmp_path / "out")
    pd.testing.assert_frame_equal(compare(Results.load(tmp_path / "out").runs), compare(results.runs))


def test_every_column_of_a_comparison_is_described():
    assert set(compare(runs_of({"a": [1.0, 2.0]}))) - {"point"} <= set(DERIVED["compare"])
