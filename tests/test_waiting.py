"""Do workers wait for each other? What times say of it, and the sentence that every command has."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from simulator.traces.files import read_times
from simulator.traces.waiting import alike, mean_rank_correlation, waiting

MEASURED = next((up / "shared" / "traces" for up in Path(__file__).parents if (up / "shared").exists()), Path("shared"))
measured = pytest.mark.skipif(not MEASURED.exists(), reason="the measured traces are not beside this checkout")


def own_work(n_rounds=30, n_workers=6, seed=0):
    return np.random.default_rng(seed).lognormal(0.0, 0.3, (n_rounds, n_workers))


def steps(times_s, spread=0.02, seed=1):
    """Every worker's step lasts as long as the slowest one's, and a little that is its own."""
    own = np.random.default_rng(seed).normal(0.0, spread, times_s.shape)
    return times_s.max(axis=1, keepdims=True) + own


def write(path, times_s):
    index = pd.MultiIndex.from_product([range(count) for count in times_s.shape], names=["round", "worker"])
    pd.Series(times_s.ravel(), index, name="duration_s").reset_index().to_csv(path, index=False)


@measured
def test_no_measured_own_work_is_flagged_and_the_steps_of_one_are():
    flagged = {path.stem for path in sorted(MEASURED.rglob("*.parquet")) if waiting(read_times(path).duration_s)}
    assert flagged == {"a100x4-llama3b-iter"}
    assert len(list(MEASURED.rglob("*.parquet"))) > 80


def test_steps_are_flagged_where_own_work_is_not():
    said = waiting(steps(own_work()))
    assert said is not None
    assert said.startswith("times of a round rise and fall together (q = 0.")
    assert said.endswith("; record own work (documentation: How-to, Record own work)")
    assert waiting(own_work()) is None


def test_a_drift_that_all_share_is_no_waiting_as_long_as_workers_differ_more():
    drift = np.linspace(1.0, 1.3, 40)[:, np.newaxis]
    times_s = drift * (1 + np.random.default_rng(2).normal(0.0, 0.12, (40, 8)))
    found = alike(times_s)
    assert found.q > 0.7
    assert waiting(times_s) is None


def test_workers_that_rise_and_fall_together_are_not_flagged_if_one_is_always_slow():
    together = np.random.default_rng(3).lognormal(0.0, 0.5, (40, 1)) * np.ones(6)
    assert waiting(together * np.linspace(1.0, 1.02, 6)) is not None
    slow = together * np.array([1.0, 1.0, 1.0, 1.0, 1.0, 5.0])
    assert alike(slow).rho > 0.5
    assert alike(slow).q > 0.7
    assert waiting(slow) is None


def test_equal_times_are_flagged_whatever_their_order():
    times_s = 1 + np.random.default_rng(4).uniform(0.0, 0.001, (20, 5))
    assert alike(times_s).rho < 0.5
    assert "times of a round are all but equal (the median range is 0.0" in waiting(times_s)
    assert waiting(1 + 10 * (times_s - 1)) is None


def test_warm_up_is_left_out():
    times_s = own_work(12, 4)
    times_s[:3] = [[90.0], [60.0], [5.0]]
    assert alike(times_s) == alike(times_s[3:])
    assert alike(np.concatenate([np.full((40, 4), 90.0), own_work(9, 4)])) is not None  # of which no part is the usual


def test_too_little_is_not_judged():
    times_s = steps(own_work())
    assert waiting(times_s[:5]) is not None
    assert waiting(times_s[:4]) is None
    assert waiting(times_s[:, :1]) is None
    times_s[4:, 0] = np.inf  # rounds in which somebody never answered say nothing of waiting
    assert waiting(times_s) is None


@pytest.mark.parametrize("digits", [0, 1, 9])  # with many ties, some, none
def test_the_mean_rank_correlation_is_that_of_all_pairs(digits):
    times_s = np.random.default_rng(5).lognormal(0.0, 1.0, (11, 7)).round(digits) + own_work(11, 1).round(1)
    pairs = [spearmanr(times_s[:, a], times_s[:, b]).statistic for a, b in itertools.combinations(range(7), 2)]
    assert mean_rank_correlation(times_s) == pytest.approx(np.mean(pairs), abs=1e-12)
    constant = np.concatenate([times_s, np.ones((11, 2))], axis=1)  # has no rank
    assert mean_rank_correlation(constant) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert np.isnan(mean_rank_correlation(np.ones((11, 7))))


def test_many_workers_take_little_memory():
    times_s = steps(own_work(6, 10_000))
    tracemalloc.start()
    assert alike(times_s).rho > 0.5
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 * times_s.nbytes  # all pairs would take 1700 times as much


COMMANDS = {
    "convert": ("trace", "convert", "steps.csv", "--out", "out.parquet"),
    "info": ("trace", "info", "steps.csv"),
    "fit": ("trace", "fit", "steps.csv", "--out", "model.yaml"),
    "tune": ("tune", "steps.csv", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1"),
    "advise": ("advise", "steps.csv", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_so_in_one_line_and_verdicts_begin_with_it(cli, tmp_path, command):
    write(tmp_path / "steps.csv", steps(own_work()))
    status, said, warned = cli(*COMMANDS[command])
    assert status == 0
    assert command != "info" or "\n  verdict     no verdict: times of a round " in said
    assert command != "advise" or said.startswith("\nNo advice: times of a round ")
    assert [line.count("looks like workers wait") for line in (said + warned).splitlines()].count(1) == 1
    write(tmp_path / "steps.csv", own_work())
    _, said, warned = cli(*COMMANDS[command], *(["--force"] if command in ("convert", "fit") else []))
    assert "looks like workers wait" not in said + warned


@pytest.mark.parametrize(("waited_s", "is_told"), [(0.0, True), (0.5, False)])
def test_times_of_which_waiting_was_measured_are_own_work(cli, waited_s, is_told):
    rows = [f"{t},{w},{1 + t / 10},{waited_s}\n" for t in range(8) for w in range(3)]
    with open("t.csv", "w") as file:
        file.writelines(["round,worker,duration_s,waited_s\n", *rows])
    for command in (("convert", "t.csv", "--out", "t.parquet"), ("info", "t.csv")):
        status, out, err = cli("trace", *command)
        assert (status, "wait for each other" in out + err) == (0, is_told)
