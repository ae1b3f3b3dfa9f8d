"""Advice: chosen on one half, tested on the other; verdicts by hand and on traces made to have them."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

import stragglersim
from schemes import Multiplexed, SelectiveRepeat
from simulator.cli.app import main
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.statistics import N_BLOCK_RESAMPLES, block_resamples
from simulator.tuning.advice import Advice, find_advice
from simulator.tuning.advice_text import sentences
from simulator.tuning.best import ALIKE
from simulator.tuning.evaluate import run_measured
from simulator.tuning.legal_settings import Group, every_setting, searchable, thinned
from simulator.tuning.scenarios import as_scheme
from simulator.tuning.search import Search
from simulator.tuning.trace import AdjustedTrace, SearchError
from straggler_models.base import WorkerTimes
from stragglersim import load

SEARCH = Search(rules=(FirstEnough(), MuRule(mu=0.5)), n_jobs=12, max_delay=1, is_coarse=True)


def written(path, measured_s, **columns):
    rounds, workers = np.divmod(np.arange(measured_s.size), measured_s.shape[1])
    table = pd.DataFrame({"round": rounds, "worker": workers, "duration_s": measured_s.ravel()} | columns)
    table.to_csv(path, index=False)
    return path


def bursty(n_rounds, n_workers=8, seed=0):
    """One in six is ten times slower."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.9, 1.1, (n_rounds, n_workers)) * np.where(rng.random((n_rounds, n_workers)) < 1 / 6, 10, 1)


def test_the_second_half_decides_nothing_about_the_choice(tmp_path):
    measured_s = bursty(20)
    other = measured_s.copy()
    other[10:] = bursty(10, seed=9)
    first = find_advice(AdjustedTrace(written(tmp_path / "a.csv", measured_s), 0.0, 0.5), SEARCH)
    second = find_advice(AdjustedTrace(written(tmp_path / "b.csv", other), 0.0, 0.5), SEARCH)
    pd.testing.assert_frame_equal(first.settings, second.settings)
    assert first.chosen["rest_s"].tolist() != second.chosen["rest_s"].tolist()


def test_figures_on_the_rest_are_those_of_a_run(tmp_path):
    measured_s = bursty(16)
    found = find_advice(AdjustedTrace(written(tmp_path / "a.csv", measured_s), 0.0, 0.5), SEARCH)
    rest = written(tmp_path / "rest.csv", measured_s[8:])
    winner = found.winner
    lines = [
        f"workers: 8\njobs: 12\nstragglers: {{it: {{kind: trace, path: {rest}, wrap: cycle, seconds_per_load: 0.5}}}}",
        f"schemes: {{it: {as_scheme(winner)}}}".replace("'", ""),
        f"master: {'{kind: first_enough}' if winner['rule'] == 'first_enough' else '{kind: mu_rule, mu: 0.5}'}",
    ]
    (tmp_path / "it.yaml").write_text("\n".join(lines))
    runs = stragglersim.run(load(tmp_path / "it.yaml")).runs
    assert winner["rest_s"] == pytest.approx(runs["makespan_s"].iloc[0], rel=1e-12)
    assert (found.n_chosen_on, found.n_tested_on) == (8, 8)
    assert found.resampled_s.shape == (len(found.chosen), N_BLOCK_RESAMPLES)
    low, high = found.resampled_s.min(axis=1), found.resampled_s.max(axis=1)
    assert (low <= found.chosen["rest_s"]).all()
    assert (found.chosen["rest_s"] <= high).all()


def test_runs_of_a_batch_are_runs_of_their_own():
    times = WorkerTimes(bursty(9), 0.5)
    scheme = Multiplexed(8, B=1, W=2, lam=3)
    rounds = np.random.default_rng(1).integers(9, size=(3, 13))
    together = run_measured(scheme, times, rounds, 12, MuRule(mu=0.5))
    alone = [run_measured(scheme, times, one[np.newaxis], 12, MuRule(mu=0.5)) for one in rounds]
    assert together.makespan_s.tolist() == [run.makespan_s.item() for run in alone]


def made(resampled_s, learned_s=(5.0, 5.0), labels=("GC", "repetition only", "uncoded")):
    """An advice from makespans on resamples, the first label's being the winner."""
    settings = pd.DataFrame(
        {
            "scheme": labels,
            "rule": "first_enough",
            "kind": ["uncoded" if label == "uncoded" else "gradient_coding" for label in labels],
            "B": 0,
            "s": 1,
            "makespan_s": range(1, len(labels) + 1),
        }
    )
    learned = pd.DataFrame({"rounds": [1, 2, 4, 8][: len(learned_s)], "scheme": labels[0], "rest_s": learned_s})
    chosen = settings.assign(rest_s=np.mean(resampled_s, axis=1))
    return Advice(8, 8, chosen, np.array(resampled_s), learned, settings)


def first_line(advice):
    return sentences(advice, SEARCH)[0]


def test_verdicts_by_hand():
    pays = made([[4.0, 4.4], [5.0, 5.0], [8.0, 8.0]])
    assert pays.verdict == "pays"
    saved = pays.saved("GC", "uncoded")
    assert saved.percent == pytest.approx(100 * (1 - 4.2 / 8))
    assert 45 <= saved.low < 45.125  # nearly all of the two resamples, as 8 rounds are few
    assert 49.875 < saved.high <= 50
    assert pays.share_won.tolist() == [1.0, 0.0, 0.0]
    assert first_line(pays).startswith("Use GC (s 1) with the rule first_enough: on the rest it saves 47.5 %")
    unsure = made([[4.0, 9.0], [5.0, 5.0], [8.0, 8.0]])
    assert unsure.verdict == "not enough data"
    assert unsure.share_won.tolist() == [0.5, 0.5, 0.0]
    assert first_line(unsure).startswith("Not enough data: on the first half GC (s 1)")
    loses = made([[9.0, 9.5], [8.5, 8.5], [8.0, 8.0]])
    assert loses.verdict == "does not pay"
    assert first_line(loses).startswith("Coding does not pay here: on the rest, repetition only saves most, -6.2 %")


def test_halves_that_disagree():
    """What won the first half loses on the rest: to another scheme, or, uncoded, to all."""
    rival = made([[6.0, 6.5], [5.0, 5.0], [8.0, 8.0]])
    assert rival.rival == "repetition only"
    assert "But the choice is not sure: on the rest repetition only" in first_line(rival)
    uncoded = made([[8.0, 8.0], [5.0, 5.0], [4.0, 4.0]], labels=("uncoded", "GC", "repetition only"))
    assert uncoded.verdict == "not enough data"
    assert "uncoded work was the fastest; on the rest repetition only saves 50.0 %" in first_line(uncoded)
    assert any(
        line.startswith("uncoded, as chosen on the first half, was the fastest in 0 %")
        for line in sentences(uncoded, SEARCH)
    )


def test_what_coding_adds_to_repetition():
    slower = made([[6.0, 6.5], [5.0, 5.0], [8.0, 8.0]])
    assert "Repetition without coding is faster than every code on the rest" in sentences(slower, SEARCH)[1]
    one_is_faster = made(
        [[6.0, 6.0], [5.0, 5.0], [4.0, 4.0], [8.0, 8.0]], labels=("GC", "repetition only", "GC-Rep", "uncoded")
    )
    assert not any("Repetition without coding" in line for line in sentences(one_is_faster, SEARCH))


def test_what_matters_more_is_told_where_it_is_worth_it():
    """Of the first half: GC takes 4 s, 12 s under another rule, and SR-SGC 6 s."""
    advice = made([[4.0, 4.4], [5.0, 5.0], [8.0, 8.0]])
    settings = {"scheme": ["GC", "GC", "SR-SGC"], "rule": ["first_enough", "mu_rule", "first_enough"]}
    for makespans_s, said in (
        ([4.0, 12.0, 6.0], "The rule matters more than the code on the first half: GC at its best takes 200 % longer"),
        ([4.0, 5.0, 6.0], "The code matters more than the rule on the first half: GC at its best takes 25 % longer"),
        ([4.0, 4.0, 4.0], None),
    ):
        of_half = dataclasses.replace(advice, settings=pd.DataFrame(settings | {"makespan_s": makespans_s}))
        last = sentences(of_half, SEARCH)[-1]
        assert last.startswith(said) if said else "matters more" not in last


def test_how_sure_it_is_depends_on_the_trace_and_not_on_the_jobs(tmp_path):
    trace = AdjustedTrace(written(tmp_path / "it.csv", bursty(40)), 0.0, 0.5)
    widths = []
    for n_jobs in (40, 400):
        search = dataclasses.replace(SEARCH, n_jobs=n_jobs, max_delay=0, schemes=("gradient_coding",))
        saved = find_advice(trace, search).saved("GC", "uncoded")
        widths.append(saved.high - saved.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Independent rounds of two schemes without memory, whose makespans are sums: 25 measured rounds."""
    rng = np.random.default_rng(1)

    def rounds(n_rounds):
        times = np.sort(rng.lognormal(0, 0.8, (n_rounds, 8)), axis=1)
        return np.array([times[:, 5] + 0.3, times[:, 7] + 0.1])

    mean_s = rounds(400_000).mean(axis=1)
    truth = 100 * (1 - mean_s[0] / mean_s[1])
    n_held = 0
    for _ in range(300):
        found = made([[1.0], [1.0]], labels=("GC", "uncoded"))
        drawn = block_resamples(25, 25)
        saved = dataclasses.replace(found, n_tested_on=25, resampled_s=rounds(25)[:, drawn].sum(axis=2)).saved(
            "GC", "uncoded"
        )
        n_held += saved.low <= truth <= saved.high
    assert 0.90 <= n_held / 300 <= 0.98


@pytest.mark.parametrize(
    ("learned_s", "enough"),
    [
        ((5.0, 5.0), 1),
        ((9.0, 5.0 * (1 + ALIKE), 5.0), 2),
        ((5.0, 9.0, 5.0), None),
        ((4.0, 9.0, 5.05, 5.0), 4),  # a lucky choice before a bad one does not count
    ],
)
def test_rounds_enough_by_hand(learned_s, enough):
    assert made([[4.0], [5.0], [8.0]], learned_s).rounds_enough == enough


def test_equal_workers_need_no_code(tmp_path):
    path = written(tmp_path / "equal.csv", np.ones((12, 6)))
    found = find_advice(AdjustedTrace(path, 0.0, 3.0), SEARCH)
    assert found.verdict == "does not pay"
    assert found.winner["scheme"] == "uncoded"
    assert sentences(found, SEARCH)[0].startswith("Coding does not pay here: on the rest, ")


def test_times_in_proportion_to_the_load(tmp_path):
    path = written(tmp_path / "it.csv", np.array([[2.0, 4.0]]))
    times, n_workers = AdjustedTrace(path).times()
    assert n_workers == 2
    np.testing.assert_array_equal(times.slowdown * times.seconds_per_load, [[4.0, 8.0]])  # at load 1/2 as measured
    with pytest.raises(SearchError, match="--seconds-per-load must be given for times at load 0"):
        AdjustedTrace(path, 0.0).times()


def test_a_thinner_grid_is_part_of_the_whole():
    groups = every_setting(30, 40, max_delay=3, schemes=searchable().values(), accepts=["pattern"])
    whole = {group.first: set(group.values) for group in groups}
    coarse = thinned(groups)
    assert 0 < len(coarse) < len(whole)
    for group in coarse:
        assert set(group.values) <= whole[group.first]
        assert {min(group.values), max(group.values)} <= set(group.values)
    windows = [Group(SelectiveRepeat(30, B=1, W=x + 1, lam=2), (2,)) for x in range(1, 61)]
    assert [group.first.W - 1 for group in thinned(windows)] == [1, 2, 3, 5, 8, 13, 21, 34, 55]


def cli(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["stragglersim", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


@pytest.mark.parametrize("adjusted", [("--seconds-per-load", "0.5"), ("--load-effect", "proportional")])
def test_advise_writes_a_page_that_can_be_run(adjusted, tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "it.csv", bursty(12))
    out = tmp_path / "deep" / "out"
    options = (*adjusted, "--jobs", 10, "--max-delay", 1, "--mu", 0.5, "--out", out)
    assert cli(monkeypatch, "advise", path, *options) == 0
    said = capsys.readouterr().out
    page = (out / "advice.md").read_text()
    assert said.splitlines()[1] in page
    assert {"advice.png", "settings.png", "winners.png", "chosen.csv", "learned.csv"} <= {
        file.name for file in out.iterdir()
    }
    runs = stragglersim.run(load(out / "winners.yaml")).runs
    assert not runs["decode_failures"].any()
    assert not any(file.name.startswith(".") for file in out.iterdir())


def test_a_short_trace_is_not_enough(tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "it.csv", bursty(9))
    assert cli(monkeypatch, "advise", path, "--seconds-per-load", 1) == 2
    assert "not enough data: must hold at least 10 rounds, got 9" in capsys.readouterr().err
