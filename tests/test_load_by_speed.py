"""Load in proportion to speed in `tune` and `advise`, with speeds from what is searched alone."""

import sys

import numpy as np
import pandas as pd
import pytest

import stragglersim
from simulator.cli.app import main
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.tuning.actions import speeds_of
from simulator.tuning.advising import find_advice
from simulator.tuning.check import largest_difference
from simulator.tuning.search import Search, search_trace
from simulator.tuning.trace import AdjustedTrace, SearchError
from straggler_models.base import WorkerTimes

RULES = (FirstEnough(), MuRule(mu=0.5))
SPEED = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 4.0])
KIND = "heterogeneous_gradient_coding"


def written(path, measured_s):
    rounds, workers = np.divmod(np.arange(measured_s.size), measured_s.shape[1])
    pd.DataFrame({"round": rounds, "worker": workers, "duration_s": measured_s.ravel()}).to_csv(path, index=False)
    return path


def times(n_rounds, speed=SPEED, seed=0):
    """Of workers with such speeds; one in fifteen is ten times slower."""
    rng = np.random.default_rng(seed)
    shape = n_rounds, len(speed)
    return rng.uniform(0.95, 1.05, shape) / speed * np.where(rng.random(shape) < 1 / 15, 10, 1)


def test_speeds_are_those_of_median_times():
    measured_s = times(30)
    found = speeds_of(WorkerTimes(0.0, 6 * measured_s), 6)
    assert found == pytest.approx(np.median(measured_s, axis=0).min() / np.median(measured_s, axis=0), rel=1e-3)
    assert speeds_of(WorkerTimes(0.0, 6 * times(30, np.ones(6))), 6) is None


def test_a_search_tries_load_by_speed_with_and_without_a_code(tmp_path):
    trace = AdjustedTrace(written(tmp_path / "it.csv", times(40)))
    search = Search(rules=RULES, n_jobs=40, schemes=("uncoded", "gradient_coding", KIND))
    settings = search_trace(trace, search)
    own = settings[settings["kind"] == KIND]
    assert sorted(own["s"].unique()) == [0, 1, 2, 3, 4, 5]
    assert set(own["scheme"]) == {"load by speed", "heterogeneous GC"}
    assert {tuple(speeds) for speeds in own["speeds"]} == {tuple(speeds_of(*trace.times()))}
    best_s = settings.groupby("scheme")["makespan_s"].min()
    assert best_s["heterogeneous GC"] < 0.8 * best_s["GC"]
    assert best_s["load by speed"] < 0.8 * best_s["uncoded"]
    assert largest_difference(settings, trace, search) < 1e-12


def test_workers_that_do_not_differ_have_no_load_by_speed(tmp_path):
    trace = AdjustedTrace(written(tmp_path / "it.csv", times(40, np.ones(6))))
    assert KIND not in set(search_trace(trace, Search(rules=RULES, n_jobs=8))["kind"])
    with pytest.raises(SearchError, match="do not differ in speed"):
        search_trace(trace, Search(rules=RULES, n_jobs=8, schemes=(KIND,)))


def test_settings_are_the_same_under_another_load_effect(tmp_path):
    trace = AdjustedTrace(written(tmp_path / "it.csv", 5 + times(40)), base_load=0.5, seconds_per_load=2.0)
    search = Search(rules=RULES, n_jobs=8, schemes=("uncoded", KIND))
    here = search_trace(trace, search)
    assert KIND in set(here["kind"])
    for other in trace.alternatives():
        there = search_trace(other, search, like=trace)
        pd.testing.assert_frame_equal(here[["scheme", "speeds", "s"]], there[["scheme", "speeds", "s"]])


def test_advice_knows_the_speeds_of_the_rounds_of_choosing_only(tmp_path, monkeypatch):
    asked, groups = [], Search.groups

    def noted(self, n_workers, speeds=None):
        asked.append((n_workers, speeds))
        return groups(self, n_workers, speeds)

    monkeypatch.setattr(Search, "groups", noted)
    trace = AdjustedTrace(written(tmp_path / "it.csv", times(60)), load_effect="proportional")
    search = Search(rules=RULES, n_jobs=20, max_delay=1, is_coarse=True, schemes=("uncoded", KIND))
    found = find_advice(trace, search)
    chosen = found.find("heterogeneous GC")
    begin, end = found.chosen_on
    assert (begin, end) == (0, 30)
    adjusted, n = trace.times()
    seen = [
        speeds_of(WorkerTimes(*(np.broadcast_to(part, (60, n))[:n_rounds] for part in adjusted)), n)
        for n_rounds in (1, 3, 10, 30)
    ]
    assert [speeds for n_workers, speeds in asked[:4] if n_workers == n] == seen
    assert chosen.setting["speeds"] == seen[-1] != speeds_of(adjusted, n)
    assert found.find("load by speed").setting["speeds"] == seen[-1]


def test_the_winner_is_written_as_a_scenario(tmp_path, monkeypatch, capsys):
    path, out = written(tmp_path / "it.csv", times(40)), tmp_path / "out"
    arguments = ["tune", path, "--schemes", f"uncoded,{KIND}", "--rules", "first_enough", "--out", out]
    monkeypatch.setattr(sys, "argv", ["stragglersim", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "speeds" not in capsys.readouterr().out
    scenario = stragglersim.load(out / "winners.yaml")
    settings = pd.read_parquet(out / "settings.parquet")
    runs = stragglersim.run(scenario).runs.set_index("scheme")["makespan_s"]
    assert runs["heterogeneous GC"] == pytest.approx(settings[settings["s"] > 0]["makespan_s"].min(), rel=1e-12)
