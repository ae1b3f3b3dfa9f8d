"""Fail-slows: found where they were planted, and nowhere else."""

import time
from pathlib import Path

import numpy as np
import pytest

from simulator.scenario.loading import load
from simulator.traces.change_points import ROUNDS, FailSlow, fail_slows, hazard, sentences
from simulator.traces.files import MeasuredTimes, read_times
from simulator.traces.report import describe, facts, findings, row
from straggler_models import FailSlow as Model
from straggler_models import GilbertElliott
from straggler_models.testing import draw_rounds

CLUSTERS = Path(__file__).parents[2] / "shared" / "traces" / "clusters"
NOISE = {
    "uniform": lambda rng, shape: rng.uniform(1.0, 1.1, shape),
    "lognormal": lambda rng, shape: np.exp(0.3 * rng.standard_normal(shape)),
    "pareto": lambda rng, shape: 1 + rng.pareto(1.1, shape),
    "often slow": lambda rng, shape: np.where(rng.random(shape) < 0.3, 5.0, 1.0) * rng.uniform(1.0, 1.1, shape),
}


def slowdowns(model, n_rounds, n_workers, rng):
    return draw_rounds(model, n_workers, n_rounds, rng)[2]


def with_one(rng, factor, sigma, onset, end, n_rounds=200, n_workers=12):
    duration_s = np.exp(sigma * rng.standard_normal((n_rounds, n_workers)))
    duration_s[onset:end, 5] *= factor
    return duration_s


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("shape", [(40, 8), (200, 16)])
def test_shuffled_rounds_hold_a_fail_slow_in_at_most_one_trace_of_twenty(noise, shape):
    rng = np.random.default_rng(1)
    assert sum(bool(fail_slows(NOISE[noise](rng, shape))) for _ in range(200)) <= 10


@pytest.mark.parametrize("p_slow", [0.02, 0.05])
@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_bursts_are_no_fail_slows(p_slow, sigma):
    rng, model, shape = np.random.default_rng(2), GilbertElliott(p_slow, 1 / 3, 4.0), (300, 15)
    traces = [slowdowns(model, *shape, rng) * np.exp(sigma * rng.standard_normal(shape)) for _ in range(200)]
    longest = max(run for trace in traces for run in _lengths(trace > 2))
    assert longest > 1.5 * ROUNDS
    assert sum(bool(fail_slows(trace)) for trace in traces) <= 10


def _lengths(is_slow):
    steps = np.diff(np.pad(is_slow.T.astype(int), ((0, 0), (1, 1))))
    return np.nonzero(steps == -1)[1] - np.nonzero(steps == 1)[1]


def test_slow_from_the_first_round_to_the_last_is_a_slow_worker():
    rng = np.random.default_rng(3)
    for _ in range(50):
        assert fail_slows(with_one(rng, 4.0, 0.1, 0, 200)) == ()


def test_a_fast_phase_or_slow_rounds_of_all_are_no_fail_slow():
    rng = np.random.default_rng(4)
    assert fail_slows(with_one(rng, 0.4, 0.1, 60, 120)) == ()
    everybody = with_one(rng, 1.0, 0.1, 0, 0)
    everybody[50:] *= 6.0
    assert fail_slows(everybody) == ()
    assert fail_slows(with_one(rng, 1.1, 0.01, 60, 200)) == ()  # sure, but too little
    assert fail_slows(with_one(rng, 9.0, 0.1, 60, 60 + ROUNDS - 1)) == ()  # sure, but too short


@pytest.mark.parametrize(
    ("factor", "sigma", "onset", "end"),
    [(10.0, 0.1, 20, 200), (2.0, 0.1, 100, 115), (1.3, 0.1, 80, 140), (2.0, 0.3, 130, 200), (np.inf, 0.2, 150, 200)],
)
def test_one_fail_slow_is_found_with_its_onset_end_and_factor(factor, sigma, onset, end):
    rng = np.random.default_rng(5)
    found = [fail_slows(with_one(rng, factor, sigma, onset, end)) for _ in range(50)]
    assert all(len(one) == 1 and one[0].worker == 5 for one in found)
    assert np.mean([abs(one.onset - onset) <= 2 and abs(one.end - end) <= 2 for (one,) in found]) >= 0.9
    assert np.median([one.factor for (one,) in found]) == pytest.approx(factor, rel=0.05)


def test_short_interruptions_end_no_fail_slow_and_long_ones_do():
    duration_s = with_one(np.random.default_rng(6), 5.0, 0.1, 50, 170)
    duration_s[100 : 100 + ROUNDS // 2, 5] /= 5
    (one,) = fail_slows(duration_s)
    assert one[:3] == (5, 50, 170)
    duration_s[90:120, 5] = 1.0
    assert [(of.onset, of.end) for of in fail_slows(duration_s)] == [(50, 90), (120, 170)]


def test_a_round_that_is_halfway_there_is_the_onset():
    duration_s = with_one(np.random.default_rng(6), 9.0, 0.1, 50, 200)
    duration_s[50, 5] /= 4.5
    assert fail_slows(duration_s)[0].onset == 50


def test_several_fail_slows_do_not_hide_each_other():
    duration_s = with_one(np.random.default_rng(7), 5.0, 0.1, 50, 200)
    duration_s[90:, 2] *= 3
    duration_s[:70, 9] *= 2
    assert [of[:3] for of in fail_slows(duration_s)] == [(2, 90, 200), (5, 50, 200), (9, 0, 70)]


def test_a_fail_slow_is_found_among_bursts():
    rng, shape = np.random.default_rng(8), (300, 15)
    slowdown = slowdowns(GilbertElliott(0.03, 0.5, 4.0), *shape, rng)
    slowdown[180:, 4] = 4.0
    (one,) = fail_slows(slowdown * rng.uniform(1.0, 1.1, shape))
    assert one.worker == 4
    assert abs(one.onset - 180) <= 3
    assert one.end == 300


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 5), (19, 3), (20, 1), (20, 2), (21, 2)])
def test_traces_of_any_size_and_of_equal_or_endless_times_are_taken(shape):
    for seconds in (0.0, 1.0, np.inf):
        assert fail_slows(np.full(shape, seconds)) == ()


def test_the_hazard_is_that_of_the_model():
    shape = (1000, 200)
    for mean_rounds in (200.0, None):
        rng = np.random.default_rng(1)
        model = Model(p_fail=0.0004, slowdown=3.0, mean_rounds=mean_rounds)
        duration_s = slowdowns(model, *shape, rng) * rng.uniform(1.0, 1.1, shape)
        of = hazard(fail_slows(duration_s), *shape)
        assert of.p_fail == pytest.approx(0.0004, rel=0.15)
        assert of.slowdown == pytest.approx(3.0, rel=0.02)
        assert of.mean_rounds == (mean_rounds and pytest.approx(mean_rounds, rel=0.15))
    # worker 0: 10 rounds, then slow for 20 of 30; worker 1: slow in the first 10; in round 0 both are at risk
    of = hazard([FailSlow(0, 10, 30, 2.0), FailSlow(1, 0, 10, 8.0)], 30, 2)
    assert of == pytest.approx((2 / (11 + 1 + 19), 4.0, (19 + 10) / 1, 31))


def test_a_thousand_workers_and_rounds_take_seconds():
    rng, shape = np.random.default_rng(10), (1000, 1000)
    model = Model(p_fail=0.0002, slowdown=2.0, mean_rounds=100.0)
    duration_s = slowdowns(model, *shape, rng) * np.exp(0.2 * rng.standard_normal(shape))
    begin_s = time.thread_time()
    assert len(fail_slows(duration_s)) > 100
    assert time.thread_time() - begin_s < 10


# --- trace info ---


def measured(duration_s, *, steps=None):
    return MeasuredTimes(Path("mine.parquet"), duration_s, None, steps)


def test_findings_name_a_fail_slow_and_leave_it_out_of_all_else():
    rng = np.random.default_rng(11)
    usual = rng.uniform(1.0, 1.1, (100, 12))
    for onset in (20, 70):  # slow in most rounds, or in few
        duration_s = usual.copy()
        duration_s[onset:, 5] *= 25
        about = describe(measured(duration_s))
        named, hint = findings(about)
        assert (
            named
            == f"worker 5 is {about.patterns.fail_slows[0].factor:.2g} times slower from round {onset} to 99 "
            + ("(to the end): a fail-slow, no burst")
        )
        assert hint.startswith("in a scenario: {kind: fail_slow, p_fail: 0.000")
        said = dict(facts(about))
        assert said["bursts"] == "none (fail-slows left out)"
        assert said["outliers"].endswith("s (fail-slows left out)")
        figures = row(about, "mine")
        assert (figures["fail_slows"], figures["bursts"], figures["outliers"], figures["slow_workers"]) == (1, 0, 0, 0)
        assert figures["straggler_rate"] == pytest.approx((100 - onset) / 1200)
    assert list(findings(describe(measured(duration_s, steps=2 * np.arange(100)))))[1] == named


def test_many_fail_slows_are_no_shock():
    duration_s = np.random.default_rng(12).uniform(1.0, 1.1, (300, 30))
    for worker in range(10):
        duration_s[20 + 25 * worker :, worker] *= 4
    said = list(findings(describe(measured(duration_s))))
    assert [line.split(" is ")[0] for line in said[:8]] == [f"worker {worker}" for worker in range(8)]
    assert said[8] == "2 more such, of 10 workers in all"
    assert len(said) == 10


def test_bursts_beside_a_fail_slow_are_still_said():
    rng, shape = np.random.default_rng(13), (300, 15)
    slowdown = slowdowns(GilbertElliott(0.03, 0.5, 4.0), *shape, rng)
    slowdown[100:, 4] = 30.0
    said = " ".join(findings(describe(measured(slowdown * rng.uniform(1.0, 1.1, shape)))))
    assert "worker 4 is" in said
    assert "bursty: P(straggle | straggled in the round before) = 0.5" in said


@pytest.mark.parametrize("factor", [4.0, np.inf])
def test_the_hint_is_a_straggler_model_of_a_scenario(tmp_path, factor):
    (_, hint) = sentences([FailSlow(3, 60, 90, factor)], 100, 8)
    model = hint.removeprefix("in a scenario: ").partition("}")[0] + "}"
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nseed: 1\ntrials: 1\nworkers: 4\njobs: 3\nschemes: {uncoded: {kind: uncoded}}\n"
        "master: {kind: first_enough, timeout_s: 9}\n"
        f"stragglers:\n  usual: {{kind: constant, startup_s: 1}}\n  failing: {model}\n"
    )
    assert load(file).stragglers["failing"] == Model(p_fail=0.0013, slowdown=factor, mean_rounds=30.0)


@pytest.mark.skipif(not CLUSTERS.is_dir(), reason=f"the traces are not part of the project: no {CLUSTERS}")
@pytest.mark.parametrize(
    ("name", "worker", "onset", "last", "factor"),
    [("ec2-cluster6-n15", 8, 219, 299, 10), ("ec2-cluster2-n15", 3, 22, 99, 10)],
)
def test_real_fail_slows_are_named_with_onset_and_end(name, worker, onset, last, factor):
    about = describe(read_times(CLUSTERS / f"{name}.parquet"))
    (one,) = about.patterns.fail_slows
    assert one.factor == pytest.approx(factor, rel=0.05)
    named, hint = findings(about)
    assert named.startswith(f"worker {worker} (ip-10-0-")
    assert named.endswith(f" times slower from round {onset} to {last} (to the end): a fail-slow, no burst")
    assert hint.startswith("in a scenario: {kind: fail_slow, p_fail: 0.000")
