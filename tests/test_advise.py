"""Advice: chosen on one half, tested on the other; verdicts by hand and on traces made to have them."""

import dataclasses
import re
import sys

import numpy as np
import pandas as pd
import pytest

import stragglersim
from schemes import BackupTasks, HeterogeneousGradientCoding, Multiplexed, SelectiveRepeat
from schemes.backup_tasks import COPIES
from schemes.heterogeneous_gradient_coding import BY_SPEED
from simulator.cli.app import main
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.statistics import N_BLOCK_RESAMPLES, block_resamples
from simulator.traces.change_points import FailSlow
from simulator.traces.naming import ONE_WORKER
from simulator.tuning.actions import Fleet, fleets, speeds_of
from simulator.tuning.advice import Advice, Candidate, Other
from simulator.tuning.advice_text import sentences
from simulator.tuning.advising import (
    _as_good_in_both,
    _halves,
    _least_trouble_first,
    _worth_testing,
    find_advice,
)
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


def advice_on(path, measured_s, search=SEARCH, **given):
    given = {"base_load": 0.0, "seconds_per_load": 0.5} | given
    return find_advice(AdjustedTrace(written(path, measured_s), **given), search)


def test_the_second_half_decides_nothing_about_the_choice(tmp_path):
    measured_s = bursty(20)
    other = measured_s.copy()
    other[10:] = bursty(10, seed=9)
    first = advice_on(tmp_path / "a.csv", measured_s)
    second = advice_on(tmp_path / "b.csv", other)
    pd.testing.assert_frame_equal(first.settings, second.settings)
    assert [one.setting for one in first.candidates] == [one.setting for one in second.candidates]
    assert [one.time_s for one in first.candidates] != [one.time_s for one in second.candidates]


def run_of(one, path, tmp_path, n_jobs, extra=""):
    """The makespan of a candidate's setting on a trace, as the engines run it."""
    lines = [
        f"workers: {one.fleet.n_workers}",
        f"jobs: {n_jobs}",
        f"stragglers: {{it: {{kind: trace, path: {path}, wrap: cycle{extra}}}}}",
        f"schemes: {{it: {as_scheme(one.setting)}}}".replace("'", ""),
        f"master: {'{kind: first_enough}' if one.setting['rule'] == 'first_enough' else '{kind: mu_rule, mu: 0.5}'}",
    ]
    (tmp_path / "it.yaml").write_text("\n".join(lines))
    return stragglersim.run(load(tmp_path / "it.yaml")).runs["makespan_s"].iloc[0]


def test_times_are_those_of_runs_on_the_tested_rounds(tmp_path):
    measured_s = bursty(16)
    found = advice_on(tmp_path / "a.csv", measured_s)
    rest = written(tmp_path / "rest.csv", measured_s[8:])
    assert (found.chosen_on, found.tested_on) == ((0, 8), (8, 16))
    assert {one.scheme for one in found.candidates} >= {"uncoded", "GC", "SR-SGC", "M-SGC", "partial GC"}
    for one in found.candidates:
        makespan_s = run_of(one, rest, tmp_path, 12, ", seconds_per_load: 0.5")
        assert one.time_s == pytest.approx(makespan_s, rel=1e-12)
        assert one.resampled_s.shape == (N_BLOCK_RESAMPLES,)
        assert one.resampled_s.min() <= one.time_s <= one.resampled_s.max()
        assert found.saved(one).percent == pytest.approx(100 * (1 - one.time_s / found.plain.time_s))


def test_runs_of_a_batch_are_runs_of_their_own():
    times = WorkerTimes(bursty(9), 0.5)
    scheme = Multiplexed(8, B=1, W=2, lam=3)
    rounds = np.random.default_rng(1).integers(9, size=(3, 13))
    together = run_measured(scheme, times, rounds, 12, MuRule(mu=0.5))
    alone = [run_measured(scheme, times, one[np.newaxis], 12, MuRule(mu=0.5)) for one in rounds]
    assert together.makespan_s.tolist() == [run.makespan_s.item() for run in alone]


def test_a_copy_takes_the_time_of_its_worker_in_that_round():
    """At 2 s, worker 0 (1 s a list) copies chunk 2, done at 3 s, worker 1 (2 s) chunk 3, which worker 3 ends at 5 s."""
    times, backup = (
        WorkerTimes(np.array([[1.0, 2.0, 9.0, 5.0]])),
        BackupTasks(4, policy={"after": "share", "share": 0.5}),
    )
    assert run_measured(backup, times, np.zeros((1, 1), dtype=int), 1, FirstEnough()).makespan_s.tolist() == [4.0]


def slow_in_a_row(n_rounds=40):
    """Of eight workers that take 1 s, three neighbours take 10 s for two rounds, then the three next to them."""
    measured_s = np.ones((n_rounds, 8))
    for index in range(n_rounds):
        measured_s[index, (3 * (index // 2) + np.arange(3)) % 8] = 10.0
    return measured_s


def test_copies_win_where_all_is_work_and_nobody_knows_who_will_be_slow(tmp_path):
    """Copies of three chunks are there after 2 s; a code that does without any three workers takes 4 s, or 3 chunks."""
    found = advice_on(tmp_path / "it.csv", slow_in_a_row(), base_load=1 / 8, seconds_per_load=None)
    assert (found.chosen.scheme, found.chosen.fleet.action, found.verdict) == (COPIES, "keep", "pays")
    assert found.chosen.setting["load"] == 1 / 8
    assert found.chosen.time_s == pytest.approx(12 * 2.0)
    assert found.plain.time_s == pytest.approx(12 * 10.0)
    assert found.find("GC").time_s == pytest.approx(12 * 4.0)
    said = sentences(found, SEARCH)
    assert said[0] == (
        "Use copies of the last tasks (share 0.5) with the rule first_enough: on later rounds, 12 jobs take 24 s "
        "rather than 120 s, 80.0 % [80.0, 80.0] less, where every worker must be able to read all of the data."
    )
    assert any(line.startswith("Copying the last tasks is faster than every code: ") for line in said)
    assert not any("the code" in line or "a code" in line for line in said)


def test_a_code_wins_where_a_copy_pays_a_long_start_up(tmp_path):
    """A code with s = 3 takes 1 s and 4/8 of 0.5 s; a copy begins after 1 s and 1/8 of that, and takes as long."""
    found = advice_on(tmp_path / "it.csv", slow_in_a_row(), dataclasses.replace(SEARCH, max_delay=0))
    assert found.verdict == "pays"
    assert found.chosen in found.coded
    assert found.chosen.time_s <= found.find("GC").time_s == pytest.approx(12 * (1 + 0.5 / 2))
    assert found.find(COPIES).time_s == pytest.approx(12 * 2 * (1 + 0.5 / 8))
    assert "Coding itself" not in " ".join(sentences(found, SEARCH))


def candidate(scheme, first_s, resampled_s, *, action="keep", workers=(), delay=0, long_s=None):
    kinds = {"uncoded": "uncoded", "GC": "gradient_coding", "GC-Rep": "fractional_repetition"}
    given = {"rule": "first_enough", "s": 1, "delay_rounds": delay, "load": 0.1, "makespan_s": first_s}
    setting = {"scheme": scheme, "kind": kinds.get(scheme, "multiplexed")} | given
    times_s = np.array(resampled_s)
    time_s = float(times_s.mean())
    return Candidate(Fleet(action, workers, WorkerTimes(), 8), setting, time_s, times_s, long_s or 5 * time_s)


def made(*candidates, learned_s=(5.0, 5.0), n_rounds=100, **given):
    """An advice of candidates, the chosen one first."""
    settings = pd.DataFrame([one.setting for one in candidates])
    learned = pd.DataFrame({"rounds": [1, 3, 10, 30][: len(learned_s)], "scheme": "GC", "time_s": learned_s})
    half = n_rounds // 2
    about = {"n_rounds": n_rounds, "n_jobs": n_rounds, "learned": learned, "settings": settings}
    usual = {"changes": (), "approximate": (), "twice_percent": 100.0, "waiting_percent": 20.0}
    return Advice(
        **{"chosen_on": (0, half), "tested_on": (half, n_rounds), "candidates": candidates} | about | usual | given
    )


REPEATED, UNCODED = candidate("repetition only", 6.0, [5.0, 5.0]), candidate("uncoded", 8.0, [8.0, 8.0])


def three(gc_s, **given):
    """GC with these makespans, before repetition of 5 s and uncoded work of 8 s."""
    return made(candidate("GC", 4.0, gc_s), REPEATED, UNCODED, **given)


def first_line(advice):
    return sentences(advice, SEARCH)[0]


def test_verdicts_by_hand():
    pays = three([4.0, 4.4])
    assert pays.verdict == "pays"
    saved = pays.saved(pays.chosen)
    assert saved.percent == pytest.approx(100 * (1 - 4.2 / 8))
    assert 45 <= saved.low < 45.2  # nearly all of the two resamples
    assert 49.8 < saved.high <= 50
    assert list(pays.share_won.values()) == [1.0, 0.0, 0.0]
    assert first_line(pays).startswith(
        "Use GC (s 1) with the rule first_enough: on later rounds, 100 jobs take 4.2 s rather than 8 s, 47.5 % ["
    )
    assert first_line(pays).endswith("] less, each worker holding 10 % of the data.")
    unsure = made(candidate("GC", 4.0, [4.0, 9.0]), UNCODED)
    assert unsure.verdict == "not enough data"
    assert list(unsure.share_won.values()) == [0.5, 0.5]
    assert first_line(unsure).startswith("Not enough data: using GC (s 1) with the rule first_enough saves 18.8 % [")
    loses = made(UNCODED, candidate("GC", 9.0, [9.0, 9.5]), candidate("repetition only", 9.0, [8.5, 8.5]))
    assert loses.verdict == "does not pay"
    assert first_line(loses) == (
        "Do not code: GC (s 1) with the rule first_enough takes 16 % longer. All of a step is work (twice the load "
        "takes twice as long), and stragglers cost 20.0 % of the time."
    )


def test_more_rounds_are_asked_for_only_where_they_would_tell():
    """Of an interval as wide as what is saved, a fourth is left with 16 times the rounds; nobody measures these."""
    for half_s, n_wanted in ((0.3, None), (1.0, 150), (1.5, 337), (5.0, None)):
        plain = candidate("uncoded", 8.0, np.full(501, 8.0))
        advice = made(candidate("GC", 4.0, np.linspace(7.2 - half_s, 7.2 + half_s, 501)), plain)
        saved = advice.saved(advice.chosen)
        needed = int(np.ceil(100 * max(1.1, ((saved.high - saved.low) / 2 / saved.percent) ** 2)))
        assert advice.rounds_needed == needed
        if n_wanted is None:
            assert advice.verdict == ("pays" if half_s < 0.8 else "does not pay")
        else:
            assert (advice.verdict, needed) == ("not enough data", pytest.approx(n_wanted, rel=0.05))
            assert f"Record about {needed - 100} more rounds, and change nothing until then." in first_line(advice)


def test_few_rounds_are_too_few_however_much_they_save():
    advice = three([4.0, 4.4], n_rounds=12)
    assert advice.verdict == "not enough data"
    assert first_line(advice).startswith("Too few rounds to choose by: 12 were measured; record at least 18 more.")
    assert not any("% of 500 resamples" in line for line in sentences(advice, SEARCH))


def test_a_choice_that_another_surely_beats():
    advice = three([6.0, 6.5])
    assert advice.rival is REPEATED
    assert any(
        "the choice is not sure: on the tested rounds, using repetition only" in line
        for line in sentences(advice, SEARCH)
    )


def test_how_sure_it_is_by_hand():
    replaced = candidate("uncoded", 3.0, [3.0, 3.0], action="replace", workers=(3,))
    assert "Of 2 options, replacing worker 3 was the fastest in all 500 resamples." in sentences(
        made(replaced, UNCODED), SEARCH
    )
    both = candidate("GC", 3.1, [2.0, 3.9], action="leave out", workers=(3,))
    said = " ".join(sentences(made(replaced, both, UNCODED), SEARCH))
    assert (
        "in 50 % of 500 resamples, leaving out worker 3, and using GC (s 1) with the rule first_enough in 50 %" in said
    )


def test_ranks_without_a_master_are_told_first_what_they_can_do():
    """GC is the fastest, but nothing for them: it is told second, and wins no resample."""
    replaced = candidate("uncoded", 5.0, [5.0, 5.2], action="replace", workers=(3,))
    out = candidate("uncoded", 6.0, [6.0, 6.0], action="leave out", workers=(3,))
    coded = candidate("GC", 4.0, [4.0, 4.0])
    verdict, code, instead, sure, *_ = sentences(made(replaced, coded, out, UNCODED, has_collectives=True), SEARCH)
    assert verdict.startswith("Replace worker 3: on later rounds, 100 jobs take 5.1 s rather than 8 s")
    assert code == (
        "These ranks exchange gradients by collectives, and a code needs a master (documentation: Explanation, Which "
        "systems it models): with a master, using GC (s 1) with the rule first_enough would save at most 50.0 % "
        "[50.0, 50.0]."
    )
    assert instead == "Or else: leave out worker 3 (6 s, 25.0 % [25.0, 25.0] less)."
    assert sure == "Of 3 options, replacing worker 3 was the fastest in all 500 resamples."
    ordered = _least_trouble_first([coded, out, replaced, UNCODED], has_collectives=True)
    assert ordered == [replaced, coded, out, UNCODED]
    nothing = made(UNCODED, coded, has_collectives=True)
    assert nothing.verdict == "does not pay"
    verdict, code = sentences(nothing, SEARCH)[:2]
    assert verdict.startswith(
        "Change nothing: no worker is slow often enough to be replaced, left out or given less load. All of a"
    )
    assert verdict.endswith(
        "stragglers cost 20.0 % of the time, spread over workers and rounds: look for what slows them."
    )
    assert code.endswith("would save at most 50.0 % [50.0, 50.0].")
    hardly = candidate("uncoded", 7.99, [7.99, 7.99], action="replace", workers=(3,))
    verdict, code = sentences(made(UNCODED, hardly, candidate("GC", 9.0, [9.0, 9.0]), has_collectives=True), SEARCH)[:2]
    assert verdict.startswith(
        "Change nothing: neither other workers nor load by speed save 1 % for sure; the most is 0.1 % [0.1, 0.1], by "
        "replacing worker 3. All of a step"
    )
    assert code.endswith("; with one, no code that was tried would save time for sure.")


def test_what_can_be_done_besides():
    """Two things to do are named only where they save more than one."""
    out = candidate("uncoded", 3.0, [3.0, 3.2], action="leave out", workers=(3,))
    chosen = candidate("uncoded", 2.0, [2.0, 2.0], action="replace", workers=(3,))
    for coded_s, named in (
        (3.3, ""),
        (1.9, "leave out worker 3, and use GC (s 1) with the rule first_enough (1.9 s, "),
    ):
        coded = candidate("GC", 2.9, [coded_s, coded_s], action="leave out", workers=(3,))
        verdict, instead = sentences(made(chosen, coded, out, REPEATED, UNCODED), SEARCH)[:2]
        assert verdict.startswith("Replace worker 3: on later rounds")
        both = f"{named}76.2 % [76.2, 76.2] less); " if named else ""
        assert instead == (
            f"Or else: {both}leave out worker 3 (3.1 s, 61.3 % [60.0, 62.5] less); use repetition only with the rule "
            "first_enough (5 s, 37.5 % [37.5, 37.5] less)."
        )


def test_a_code_of_far_less_load_is_named():
    def loaded(scheme, first_s, resampled_s, load):
        one = candidate(scheme, first_s, resampled_s)
        return dataclasses.replace(one, setting=one.setting | {"load": load})

    best = loaded("GC", 4.0, [4.0, 4.0], 1.0)
    for time_s, share, is_named in ((4.3, 0.5, True), (4.3, 0.6, False), (4.5, 0.5, False)):
        said = sentences(made(best, loaded("GC-Rep", 4.1, [time_s, time_s], share), UNCODED), SEARCH)
        named = "use GC-Rep (s 1) with the rule first_enough (4.3 s, 46.2 % [46.2, 46.2] less, load 0.5 rather than 1)"
        assert (named in " ".join(said)) == is_named


def test_copies_are_named_beside_codes_and_are_none_of_them():
    def advice_with(gc_s):
        coded, copied = candidate("GC", 4.0, [gc_s, gc_s]), candidate("M-SGC", 4.1, [4.2, 4.2])
        coded = dataclasses.replace(coded, setting=coded.setting | {"load": 0.5})
        policy = {"kind": "backup_tasks", "policy": {"after": "share", "share": 0.75}, "load": 0.125}
        return made(coded, dataclasses.replace(copied, setting=copied.setting | policy | {"scheme": COPIES}), UNCODED)

    advice = advice_with(4.0)
    verdict, instead, *others = sentences(advice, SEARCH)
    assert verdict.startswith("Use GC (s 1)")
    assert instead == (
        "Or else: use copies of the last tasks (share 0.75) with the rule first_enough (4.2 s, 47.5 % [47.5, 47.5] "
        "less, load 0.125 and as much for each copy, rather than 0.5)."
    )
    assert not any(line.startswith("Coding itself") for line in others)
    assert [one.scheme for one in advice.coded] == ["GC"]
    assert advice.scheme_matters_percent == 0.0
    assert (
        "No significant gain from coding itself: GC saves most, 0.0 % [0.0, 0.0] against copying the last tasks."
        in sentences(advice_with(4.2), SEARCH)
    )


def test_of_each_action_the_best_is_tested():
    def row(action, workers, scheme, first_s):
        return Fleet(action, workers, WorkerTimes(), 8), {"scheme": scheme, "makespan_s": first_s}

    kept = [row("keep", (), "uncoded", 9.0), row("keep", (), "GC", 5.0)]
    after = [
        row("leave out", (1,), "uncoded", 6.0),
        row("leave out", (1,), "GC", 4.9),
        row("leave out", (1, 2), "uncoded", 5.8),
        row("replace", (1,), "GC", 4.96),  # 0.8 % faster than GC without it
        row("replace", (1,), "uncoded", 5.5),
    ]
    found = [(fleet.said, of["scheme"], of["makespan_s"]) for fleet, of in _worth_testing(kept, after)]
    assert found == [
        ("leave out workers 1 and 2", "uncoded", 5.8),
        ("leave out worker 1", "GC", 4.9),
        ("replace worker 1", "uncoded", 5.5),
    ]


def test_machines_that_changed_are_told():
    change = FailSlow(3, onset=40, end=100, factor=10.2)
    said = sentences(three([4.0, 4.4], changes=(change,), chosen_on=(40, 70), tested_on=(70, 100)), SEARCH)
    assert (
        "Machines changed during the trace: worker 3 is 10 times slower from round 40 on. This is for workers as they "
        "are since round 40." in said
    )


@pytest.mark.parametrize(
    ("onset", "halves"),
    [
        (None, ((0, 50), (50, 100))),
        (22, ((22, 50), (50, 100))),
        (45, ((45, 72), (72, 100))),  # 5 rounds are too few to choose on
        (80, ((80, 90), (90, 100))),
        (95, ((0, 50), (50, 100))),  # too few since then
    ],
)
def test_rounds_since_the_last_change_are_halved(onset, halves):
    assert _halves(100, [] if onset is None else [FailSlow(3, onset=onset, end=100, factor=4.0)]) == halves


def test_a_worker_that_failed_slow_is_left_out_or_replaced(tmp_path):
    rng = np.random.default_rng(3)
    measured_s = rng.uniform(0.95, 1.05, (60, 8))
    measured_s[25:, 5] *= 6
    path = written(tmp_path / "it.csv", measured_s)
    found = find_advice(AdjustedTrace(path), dataclasses.replace(SEARCH, n_jobs=60))
    assert [change[:3] for change in found.changes] == [(5, 25, 60)]
    assert (found.chosen_on, found.tested_on) == ((25, 42), (42, 60))
    assert found.verdict == "pays"
    by_action = {one.fleet.said: one for one in found.candidates if one.scheme == "uncoded"}
    assert set(by_action) == {"", "leave out worker 5", "replace worker 5"}
    tested_s = measured_s[42:]
    left = np.delete(tested_s, 5, axis=1).max(axis=1) * 8 / 7
    assert by_action["leave out worker 5"].time_s == pytest.approx(left[np.arange(60) % 18].sum(), rel=1e-12)
    assert by_action["replace worker 5"].time_s < by_action["leave out worker 5"].time_s
    assert by_action["replace worker 5"].time_s >= np.delete(tested_s, 5, axis=1).max(axis=1)[np.arange(60) % 18].sum()


def test_the_least_trouble_of_what_is_as_fast():
    near = [
        candidate("GC", 5.00, [5.0]),
        candidate("uncoded", 5.02, [5.0], action="replace", workers=(1,)),
        candidate("M-SGC", 4.99, [5.0], delay=1),
        candidate("uncoded", 5.03, [5.0], action="leave out", workers=(1,)),
        candidate(BY_SPEED, 5.06, [5.0]),
        UNCODED,
    ]
    assert [one.first_s for one in _least_trouble_first(near)] == [5.03, 4.99, 5.0, 5.02, 5.06, 8.0]
    plain = candidate("uncoded", 5.04, [5.0])
    assert _least_trouble_first([*near, plain])[0] is plain  # nothing saves 1 %
    assert _least_trouble_first(near[:1] + near[2:3])[0] is near[0]  # T = 0


def test_what_coding_adds_to_repetition():
    assert any(
        "Repetition without coding is faster than every code" in line for line in sentences(three([6.0, 6.5]), SEARCH)
    )
    faster = made(candidate("GC", 4.0, [6.0, 6.0]), REPEATED, candidate("GC-Rep", 5.0, [4.0, 4.0]), UNCODED)
    assert not any("epetition without coding" in line for line in sentences(faster, SEARCH))
    tied = made(candidate("GC", 4.0, [4.9, 5.1]), REPEATED, UNCODED)
    assert any("No significant gain from coding itself: GC saves most" in line for line in sentences(tied, SEARCH))


def test_what_matters_more_is_told_where_it_is_worth_it():
    """Of the rounds of choosing: GC takes 4 s, 12 s under another rule, and SR-SGC 6 s."""
    advice = made(candidate("GC", 4.0, [4.0, 4.4]), candidate("SR-SGC", 6.0, [6.0, 6.0]), UNCODED)
    settings = {"scheme": ["GC", "GC", "SR-SGC"], "rule": ["first_enough", "mu_rule", "first_enough"]}
    for makespans_s, said in (
        (
            [4.0, 12.0, 6.0],
            "The rule matters more than the code: on the rounds of choosing, GC under another rule takes up to 200 %",
        ),
        (
            [4.0, 5.0, 6.0],
            "The code matters more than the rule: on the rounds of choosing, GC under another rule takes up to 25 %",
        ),
        ([4.0, 4.0, 4.0], None),
    ):
        of_half = dataclasses.replace(advice, settings=pd.DataFrame(settings | {"makespan_s": makespans_s}))
        lines = [line for line in sentences(of_half, SEARCH) if "matters more than" in line]
        assert [line.startswith(said) for line in lines] == ([True] if said else [])


def test_long_runs_and_load_effects_are_told():
    sequential = candidate("SR-SGC", 4.0, [4.0, 4.0], delay=1, long_s=24.0)
    adds = Other("additive", candidate("GC", 4.0, [4.0]), -12.0)
    said = sentences(made(sequential, UNCODED, others=(adds,)), SEARCH)
    assert "With 500 jobs, SR-SGC saves 40.0 % (with 100: 50.0 %)." in said
    assert (
        "The choice depends on how times grow with load: if what slows workers adds to their work (--load-effect "
        "additive), using GC (s 1) with the rule first_enough is the best, and the advice takes 12 % longer. "
        "Measure at two loads or more: `stragglersim trace info` says which it is." in said
    )
    for long_s, is_better in ((10.0, True), (20.0, False)):  # GC takes 20 s
        later = candidate("M-SGC", 5.0, [4.1, 4.1], delay=1, long_s=long_s)
        said = sentences(made(candidate("GC", 4.0, [4.0, 4.0]), later, UNCODED, n_jobs=1000), SEARCH)
        line = "With 5 000 jobs, where its T rounds at the end weigh less, M-SGC saves 75.0 % (with 1 000: 48.8 %)."
        assert (line in said) == is_better == any(one.startswith("With ") for one in said)
    near = made(sequential, UNCODED, others=(adds._replace(saves_percent=-0.5),))
    assert any("The choice hardly matters if what slows workers adds" in line for line in sentences(near, SEARCH))
    same = made(sequential, UNCODED, others=(adds._replace(chosen=sequential),))
    assert any("The choice is the same if what slows workers adds" in line for line in sentences(same, SEARCH))


def test_the_choice_under_the_other_effect_by_hand(tmp_path):
    """GC with s ends a round at the (8 - s)-th response; proportional, d is d (1 + (L - L0) S / m)."""
    measured_s = bursty(40)
    search = Search(rules=(FirstEnough(),), n_jobs=20, max_delay=0, schemes=("gradient_coding",), is_coarse=True)
    given = {"base_load": 0.1, "seconds_per_load": 9.0}
    found = advice_on(tmp_path / "a.csv", measured_s, search, **given)
    alike = advice_on(tmp_path / "a.csv", measured_s, search, **given, load_effect="proportional")
    [other] = found.others
    assert other.effect == "proportional"
    assert other.chosen.setting == alike.chosen.setting
    assert other.chosen.setting != found.chosen.setting

    def time_s(s):
        times_s = measured_s[20:] * (1 + ((s + 1) / 8 - 0.1) * 9.0 / np.median(measured_s))
        return np.sort(times_s, axis=1)[:, 7 - s].sum()

    own, best = (time_s(0 if one.is_plain else one.setting["s"]) for one in (found.chosen, other.chosen))
    assert other.chosen.time_s == pytest.approx(best, rel=1e-12)
    assert other.saves_percent == pytest.approx(100 * (1 - own / best))


def test_approximate_gradients_by_hand(tmp_path):
    """Without the slowest of 8: the 7th response ends each round, and the error is sqrt(1/7)."""
    measured_s = bursty(40)
    found = advice_on(tmp_path / "a.csv", measured_s, dataclasses.replace(SEARCH, n_jobs=20))
    one = found.approximate[0]
    assert one.setting["k"] == 7
    assert one.relative_error == pytest.approx(np.sqrt(1 / 7))
    times_s = np.sort(measured_s[20:] + 0.5 / 8, axis=1)
    assert one.time_s == pytest.approx(times_s[:, 6].sum(), rel=1e-12)


def test_how_sure_it_is_depends_on_the_trace_and_not_on_the_jobs(tmp_path):
    widths = []
    for n_jobs in (40, 400):
        search = dataclasses.replace(SEARCH, n_jobs=n_jobs, max_delay=0, schemes=("gradient_coding",))
        found = advice_on(tmp_path / "it.csv", bursty(40), search)
        saved = found.saved(found.find("GC"))
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
        measured_s, drawn = rounds(25), block_resamples(25, 25)
        pair = zip(("GC", "uncoded"), measured_s, strict=True)
        found = made(*(candidate(name, 1.0, times_s[drawn].sum(axis=1)) for name, times_s in pair), n_rounds=50)
        in_order = [
            dataclasses.replace(one, time_s=times_s.sum())
            for one, times_s in zip(found.candidates, measured_s, strict=True)
        ]
        saved = dataclasses.replace(found, candidates=tuple(in_order)).saved(*in_order)
        n_held += saved.low <= truth <= saved.high
    assert 0.90 <= n_held / 300 <= 0.98


@pytest.mark.parametrize(
    ("learned_s", "enough"),
    [
        ((5.0, 5.0), 1),
        ((9.0, 5.0 * (1 + ALIKE), 5.0), 3),
        ((5.0, 9.0, 5.0), None),
        ((4.0, 9.0, 5.05, 5.0), 10),  # a lucky choice before a bad one does not count
    ],
)
def test_rounds_enough_by_hand(learned_s, enough):
    assert three([4.0, 4.4], learned_s=learned_s).rounds_enough == enough


def test_load_by_speed_is_the_same_in_advise_and_tune(tmp_path, monkeypatch, capsys):
    """Worker 3 takes 1.6 s: of 1 / 1.6 to 7, it gets 0.082; what it takes longer than others adds, and stays."""
    measured_s = np.random.default_rng(3).uniform(0.999, 1.001, (30, 8))
    measured_s[:, 3] *= 1.6
    path, out = written(tmp_path / "it.csv", measured_s), tmp_path / "out"
    given = ("--seconds-per-load", 4, "--base-load", 1 / 8, "--max-delay", 0, "--rules", "first_enough")
    assert cli(monkeypatch, "advise", path, *given, "--schemes", "gradient_coding", "--out", out) == 0
    said = capsys.readouterr().out
    scheme = load(out / "winners.yaml").schemes[BY_SPEED]
    shares = scheme.worker_loads()
    assert shares[3] == pytest.approx(1 / 1.6 / (7 + 1 / 1.6), rel=0.1)
    each = ", ".join(f"{worker}: {share:.4g}" for worker, share in enumerate(shares))
    assert f"in whole chunks ({each})." in said
    assert each in (out / "advice.md").read_text()
    tested = pd.read_csv(out / "tested.csv").set_index("scheme")["time_s"]
    at_shares_s = (measured_s[15:] + 4 * (shares - 1 / 8)).max(axis=1)
    assert re.search(rf" {BY_SPEED} +s 0 +- +0 ", said)
    assert re.search(r" uncoded +- +0 +0.125 ", said)
    assert "(ties are shared among the fastest); the\nchoice was made on other rounds." in said
    assert tested[BY_SPEED] == pytest.approx(2 * at_shares_s.sum(), rel=1e-12)
    first = ("--rounds", "0:15", "--schemes", "uncoded,heterogeneous_gradient_coding")
    assert cli(monkeypatch, "tune", path, *given, *first, "--jobs", 30, "--out", tmp_path / "tuned") == 0
    said = capsys.readouterr().out
    assert f"{each})." in said
    assert re.search(rf" {BY_SPEED} .* s 0 +- +0 ", said)
    assert load(tmp_path / "tuned" / "winners.yaml").schemes[BY_SPEED] == scheme


def test_no_worker_is_given_nothing_by_speed():
    """A worker that takes 1000 times as long has no whole chunk: to leave it out is another thing to do."""
    speeds = [1.0] * 7 + [0.001]
    assert next(HeterogeneousGradientCoding.settings(8, 0, speeds=speeds)).s == 1
    assert next(HeterogeneousGradientCoding.settings(8, 0, speeds=[1.0] * 7 + [0.5])).s == 0


def test_load_is_given_by_speed_only_where_workers_surely_differ():
    rng = np.random.default_rng(5)
    n_given = 0
    for _ in range(200):
        times = WorkerTimes(0.0, rng.lognormal(0, 0.3, (30, 8)))
        n_given += speeds_of(times, 8) is not None
    assert n_given <= 20  # 5 % of 200, and chance
    slower = WorkerTimes(0.0, rng.lognormal(0, 0.3, (30, 8)) * np.linspace(1, 1.5, 8))
    assert speeds_of(slower, 8) is not None


def test_replaced_workers_are_as_usual_ones_and_keep_the_rounds_level():
    rng = np.random.default_rng(6)
    level = np.repeat([1.0, 3.0], 30)[:, np.newaxis]
    measured_s = rng.uniform(0.9, 1.1, (60, 6)) * level
    measured_s[:, 2] *= 5
    for times in (WorkerTimes(measured_s, 0.5), WorkerTimes(0.0, measured_s)):
        [replaced] = [fleet for fleet in fleets(times, 6, slice(0, 60)) if fleet.action == "replace"]
        at_load_s = replaced.times.slowdown * (replaced.times.startup_s + replaced.times.seconds_per_load / 6)
        usual_s = at_load_s[:, 2] / np.median(np.delete(at_load_s, 2, axis=1), axis=1)
        assert 0.75 < usual_s.min() < usual_s.max() < 1.25
        others = [part if np.ndim(part) else np.full((60, 6), part) for part in times]
        for part, before in zip(replaced.times, others, strict=True):
            np.testing.assert_array_equal(np.delete(part, 2, axis=1), np.delete(before, 2, axis=1))


def test_equal_workers_need_no_code(tmp_path):
    found = advice_on(tmp_path / "equal.csv", np.ones((40, 6)), seconds_per_load=3.0)
    assert found.verdict == "does not pay"
    assert found.chosen.is_plain
    assert first_line(found).startswith("Do not code: ")


def test_a_trace_that_is_clean_at_first_is_read_as_a_whole(tmp_path):
    """80 rounds without stragglers, and 320 with: of so many jobs, a code saves most of the time."""
    measured_s = bursty(400)
    measured_s[:80] = 1.0
    search = dataclasses.replace(SEARCH, n_jobs=400, max_delay=0)
    found = advice_on(tmp_path / "it.csv", measured_s, search, base_load=1 / 8)
    assert found.verdict == "pays"
    assert found.saved(found.chosen).percent > 60


def test_times_in_proportion_to_the_load(tmp_path):
    path = written(tmp_path / "it.csv", np.array([[2.0, 4.0]]))
    times, n_workers = AdjustedTrace(path).times()
    assert n_workers == 2
    np.testing.assert_array_equal(times.slowdown * times.seconds_per_load, [[4.0, 8.0]])  # at load 1/2 as measured
    with pytest.raises(SearchError, match="--seconds-per-load must be given for times at load 0"):
        AdjustedTrace(path, 0.0).times()


def test_a_thinner_grid_is_part_of_the_whole():
    groups = every_setting(30, 40, max_delay=3, schemes=searchable().values(), accepts=["pattern"])
    whole = {repr(group.first): group.values for group in groups}
    coarse = thinned(groups)
    assert 0 < len(coarse) < len(whole)
    for group in coarse:
        whole_of = whole[repr(group.first)]
        assert all(value in whole_of for value in group.values)
        assert all(value in group.values for value in (whole_of[0], whole_of[-1]))
    windows = [Group(SelectiveRepeat(30, B=1, W=x + 1, lam=2), (2,)) for x in range(1, 61)]
    assert [group.first.W - 1 for group in thinned(windows)] == [1, 2, 3, 5, 8, 13, 21, 34, 55]


def cli(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["stragglersim", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


@pytest.mark.parametrize("adjusted", [("--seconds-per-load", "0.5"), ("--load-effect", "proportional")])
def test_advise_writes_a_page_that_can_be_run(adjusted, tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "it.csv", bursty(36))
    out = tmp_path / "deep" / "out"
    options = (*adjusted, "--jobs", 10, "--max-delay", 1, "--mu", 0.5, "--out", out)
    assert cli(monkeypatch, "advise", path, *options) == 0
    said = capsys.readouterr().out
    page = (out / "advice.md").read_text()
    assert said.splitlines()[1] in page
    assert ("without --base-load, times are taken as measured at load 0" in page) == ("--seconds-per-load" in adjusted)
    assert {"advice.png", "settings.png", "winners.png", "tested.csv", "learned.csv"} <= {
        file.name for file in out.iterdir()
    }
    runs = stragglersim.run(load(out / "winners.yaml")).runs
    assert not runs["decode_failures"].any()
    assert not any(file.name.startswith(".") for file in out.iterdir())
    tested = pd.read_csv(out / "tested.csv")
    plain_s = tested[(tested["scheme"] == "uncoded") & tested["workers"].isna()]["time_s"].item()
    np.testing.assert_allclose(tested["saved_percent"], 100 * (1 - tested["time_s"] / plain_s), atol=1e-9)


def test_what_is_advised_can_be_run(tmp_path, monkeypatch, capsys):
    measured_s = np.random.default_rng(3).uniform(0.95, 1.05, (40, 6))
    measured_s[:, 2] *= 4
    path, out = written(tmp_path / "it.csv", measured_s), tmp_path / "out"
    assert cli(monkeypatch, "advise", path, "--max-delay", 0, "--out", out) == 0
    said = capsys.readouterr().out
    assert "orker 2" in said.splitlines()[1]
    assert f"Advised  {out}/action.yaml" in said
    [action] = stragglersim.run(load(out / "action.yaml")).runs.to_dict("records")
    assert action["scheme"] == "uncoded"
    assert action["makespan_s"] < measured_s.max(axis=1).sum() / 2
    assert "40 jobs on 6 workers" in said  # as many as rounds


def test_load_effect_fitted_asks_the_fit_what_multiplies(tmp_path, monkeypatch, capsys):
    """One worker is four times slower at everything: that multiplies its work at other loads, too."""
    measured_s = np.random.default_rng(4).lognormal(0, 0.05, (40, 6)) + 1.0
    measured_s[:, 2] *= 4
    path, out = written(tmp_path / "it.csv", measured_s), tmp_path / "out"
    given = ("--load-effect", "fitted", "--seconds-per-load", 3, "--base-load", 0.2, "--max-delay", 0, "--mu", 0.3)
    assert cli(monkeypatch, "advise", path, *given, "--out", out) == 0
    said = capsys.readouterr().out
    assert "load effect fitted" in said
    runs = stragglersim.run(load(out / "winners.yaml")).runs.set_index("scheme")
    table = pd.read_csv(out / "tested.csv")
    assert not runs["decode_failures"].any()
    trace = pd.read_parquet(out / "trace.parquet")
    slowdown = trace.groupby("worker")["slowdown"].mean()
    np.testing.assert_allclose(slowdown / slowdown[0], [1, 1, 4, 1, 1, 1], rtol=0.05)
    assert set(table["scheme"]) >= {"uncoded", "GC", "partial GC"}


def test_a_short_trace_is_not_enough(tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "it.csv", bursty(9))
    assert cli(monkeypatch, "advise", path, "--seconds-per-load", 1) == 2
    assert "not enough data: must hold at least 10 rounds, got 9" in capsys.readouterr().err


def test_a_worker_that_was_slow_for_a_while_is_named_and_tried(tmp_path):
    """A fail-slow that ended is none of now; but what is saved in its rounds is saved because of it."""
    measured_s = np.random.default_rng(7).uniform(0.95, 1.05, (200, 8))
    measured_s[60:140, 5] *= 4
    found = find_advice(AdjustedTrace(written(tmp_path / "it.csv", measured_s)), dataclasses.replace(SEARCH, n_jobs=80))
    assert [change[:3] for change in found.changes] == [(5, 60, 140)]
    assert (found.chosen_on, found.tested_on) == ((0, 100), (100, 200))
    assert {one.fleet.said for one in found.candidates} >= {"leave out worker 5", "replace worker 5"}
    assert (
        "Machines changed during the trace: worker 5 is 4 times slower from round 60 to 139. What is saved in such "
        "rounds rests on one event." in sentences(found, SEARCH)
    )


def test_of_codes_as_good_the_one_with_far_less_load():
    def loaded(scheme, first_s, load, delay=0):
        one = candidate(scheme, first_s, [first_s], delay=delay)
        return dataclasses.replace(one, setting=one.setting | {"load": load})

    best = loaded("GC", 5.0, 1.0)
    for other, is_chosen in (
        (loaded("GC-Rep", 5.09, 0.5), True),
        (loaded("GC-Rep", 5.11, 0.5), False),  # over 2 % slower
        (loaded("GC-Rep", 5.09, 0.6), False),
        (loaded("M-SGC", 5.09, 0.5, delay=1), False),
    ):
        assert (_least_trouble_first([best, other, UNCODED])[0] is other) == is_chosen


def test_rounds_without_all_answers_are_named(tmp_path, monkeypatch, capsys):
    measured_s = bursty(40)
    measured_s[7, 3] = np.inf
    path = written(tmp_path / "it.csv", measured_s)
    for command in ("advise", "tune"):
        assert cli(monkeypatch, command, path) == 2
        assert "got inf, first of worker 3 in round 7 (--rounds," in capsys.readouterr().err


def test_a_single_worker_is_refused(tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "it.csv", bursty(40, n_workers=1))
    for command in ("advise", "tune"):
        assert cli(monkeypatch, command, path) == 2
        assert capsys.readouterr() == ("", f"{path}: {ONE_WORKER}\n")


def test_what_holds_under_both_load_effects_is_chosen():
    """Less load for a slow worker is 1.5 % faster than replacing it; but if what slows it adds, it loses by half."""
    replaced = candidate("uncoded", 4.06, [4.1, 4.1], action="replace", workers=(3,))
    advice = made(candidate(BY_SPEED, 4.0, [4.0, 4.0]), replaced, UNCODED)
    cases = (-50.0, 4.06, True), (-9.0, 4.06, False), (-50.0, 4.1, False), (None, 4.0, False)
    for saves_percent, first_s, expected in cases:
        one = dataclasses.replace(replaced, setting=replaced.setting | {"makespan_s": first_s})
        at = dataclasses.replace(advice, candidates=(advice.chosen, one, UNCODED))
        found = _as_good_in_both(at, Other("additive", replaced, saves_percent))
        assert (found is one) == expected
