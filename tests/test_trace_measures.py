"""What is computed from measured times: by hand, against theory, and against the notes of real traces."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulator.statistics import quantile, wilson
from simulator.traces.files import MeasuredTimes, read_times
from simulator.traces.measures import (
    burst_lengths,
    dispersion,
    expected_bursts,
    load_slope,
    median_worker_s,
    memory,
    outliers,
    slow_workers,
    stragglers,
    times,
)
from simulator.traces.report import describe, findings, row
from straggler_models import GilbertElliott

INF = np.inf
BY_HAND = np.array(  # 5 rounds of 4 workers
    [
        [1.0, 1.0, 2.0, 2.5],
        [1.0, 3.0, 1.5, 2.5],
        [2.0, 4.0, 5.0, 4.1],
        [1.0, INF, 1.0, 1.0],
        [1.0, 1.0, 1.0, 30.0],
    ]
)
STRAGGLE = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=bool)


def measured(duration_s, *, steps=None):
    return MeasuredTimes(Path("mine.parquet"), np.asarray(duration_s), None, steps)


def test_a_straggler_takes_more_than_one_plus_mu_times_the_reference():
    assert stragglers(BY_HAND).tolist() == STRAGGLE.tolist()
    assert median_worker_s(BY_HAND).tolist() == [1.0, 1.5, 4.0, 1.0, 1.0]  # the second of four, as in the mu-rule
    assert np.argwhere(stragglers(BY_HAND, reference="median")).tolist() == [[0, 3], [3, 1], [4, 3]]
    assert np.argwhere(stragglers(BY_HAND, mu=2.5)).tolist() == [[3, 1], [4, 3]]


def test_who_never_answers_straggles_also_if_nobody_does():
    assert stragglers(np.array([[INF, INF], [1.0, INF]])).tolist() == [[True, True], [False, True]]
    assert stragglers(np.array([[INF, INF, 1.0]]), reference="median").tolist() == [[True, True, False]]
    assert stragglers(np.zeros((2, 2))).any() == np.False_


def test_quantiles_mean_and_outliers_by_hand():
    of = times(BY_HAND)
    assert (of.min_s, of.max_s, of.never_answered) == (1.0, INF, 1)
    assert of.median_s == (1.5 + 2.0) / 2
    assert of.mean_s == pytest.approx((BY_HAND[np.isfinite(BY_HAND)]).sum() / 19)
    assert (of.p95_s, of.p99_s) == (INF, INF)  # a twentieth of 20 times is one
    assert outliers(BY_HAND) == (17.5, 1, 1, pytest.approx(30 / BY_HAND[np.isfinite(BY_HAND)].sum()))
    assert outliers(BY_HAND, over_s=4.0)[:3] == (4.0, 3, 2)
    assert times(np.full((2, 2), INF)).mean_s == INF
    assert outliers(np.full((2, 2), INF))[1:] == (0, 0, 0.0)


def test_bursts_by_hand():
    assert burst_lengths(STRAGGLE).tolist() == [1, 1, 1, 3, 1]
    assert burst_lengths(np.zeros((3, 2), dtype=bool)).tolist() == []


def test_memory_by_hand():
    of = memory(STRAGGLE)
    # followed by a round: workers 1 (twice), 2, 3 (three times); by another straggling one: two of worker 3
    assert (of.n_pairs, of.p_again) == (6, pytest.approx(2 / 6))
    # rounds have 1, 2, 2, 1, 1 of 4 stragglers
    assert of.at_random == pytest.approx((1 * 2 + 2 * 2 + 2 * 1 + 1 * 1) / 4 / 6)
    # workers have 0, 2, 1, 4 straggling rounds
    assert of.at_own_rates == pytest.approx((2 * 1 + 4 * 3) / (7 * 4))
    assert memory(np.array([[False, False], [True, True]])) is None
    assert memory(np.array([[True, True]])) is None


def test_chance_is_what_shuffling_gives():
    rng = np.random.default_rng(3)
    pattern = rng.random((12, 30)) < rng.random((12, 1)) * rng.random((1, 30))
    of = memory(pattern)

    def mean_share(shuffled):
        both, before = zip(*[((one[:-1] & one[1:]).sum(), one[:-1].sum()) for one in shuffled], strict=True)
        return np.sum(both) / np.sum(before)

    rounds_kept = (rng.permuted(pattern, axis=1) for _ in range(3000))
    assert mean_share(rounds_kept) == pytest.approx(of.at_random, rel=0.02)
    workers_kept = (rng.permuted(pattern, axis=0) for _ in range(3000))
    assert mean_share(workers_kept) == pytest.approx(of.at_own_rates, rel=0.02)


def draw(model, n_rounds, n_workers, seed):
    parts, generator = [], model.rounds(n_workers, np.random.default_rng(seed))
    while sum(map(len, parts)) < n_rounds:
        parts.append(next(generator).slowdown)
    return np.concatenate(parts)[:n_rounds] > 1


def test_memory_finds_the_distribution_of_gilbert_elliott_and_no_bursts_without_it():
    model = GilbertElliott(p_slow=0.05, p_recover=0.6, slowdown=4.0)
    found = [memory(draw(model, 40, 32, seed)) for seed in range(200)]
    assert np.mean([of.p_again for of in found]) == pytest.approx(0.4, abs=0.01)
    covered = np.mean([of.low <= 0.4 <= of.high for of in found])
    assert 0.9 <= covered <= 0.99
    assert np.mean([of.is_bursty for of in found]) > 0.95
    rng = np.random.default_rng(4)
    chance = [memory(rng.random((40, 32)) < 0.1) for _ in range(200)]
    assert np.mean([of.repeats for of in chance]) < 0.05
    unequal = [memory(rng.random((40, 32)) < np.where(np.arange(32) < 4, 0.7, 0.03)) for _ in range(200)]
    assert np.mean([of.repeats for of in unequal]) > 0.95
    assert np.mean([of.is_bursty for of in unequal]) < 0.05


def test_the_interval_widens_where_whole_rounds_or_workers_decide():
    alone = memory(np.random.default_rng(5).random((30, 64)) < 0.2)
    assert (alone.low, alone.high) == pytest.approx(np.array(wilson(alone.p_again, alone.n_pairs)), abs=0.01)
    shocks = np.zeros((30, 64), dtype=bool)
    shocks[[3, 4, 10, 20]] = True
    together = memory(shocks)
    assert together.p_again == 0.25
    low, high = wilson(0.25, 4 * 64)
    assert together.low < low - 0.1
    assert together.high > high + 0.1
    assert not together.repeats  # one shock after another out of four is no proof


def test_expected_bursts_are_those_of_coin_tosses():
    rng = np.random.default_rng(6)
    seen = burst_lengths(rng.random((6, 40_000)) < 0.4)
    counts = np.bincount(seen, minlength=7)[1:]
    assert expected_bursts(0.4, 6, 40_000) == pytest.approx(counts, rel=0.07)


def test_dispersion_by_hand_and_in_law():
    of = dispersion(STRAGGLE)
    # counts 1 2 2 1 1: variance 0.3; 4 x 7/20 x 13/20
    assert of.ratio == pytest.approx(0.3 / (4 * 0.35 * 0.65))
    assert (of.median_count, of.max_count, of.max_round) == (1.0, 2, 1)
    assert of.critical == pytest.approx(11.1433 / 4, rel=1e-5)  # chi-square with 4 degrees of freedom
    assert np.isnan(dispersion(np.zeros((3, 3), dtype=bool)).ratio)
    assert not dispersion(np.ones((1, 3), dtype=bool)).hits_together
    rng = np.random.default_rng(7)
    by_chance = [dispersion(rng.random((25, 40)) < 0.2) for _ in range(1000)]
    assert np.mean([of.hits_together for of in by_chance]) == pytest.approx(0.025, abs=0.015)
    assert dispersion(rng.random((25, 40)) < np.where(np.arange(25) % 5, 0.05, 0.8)[:, None]).hits_together


def test_persistently_slow_workers_are_slow_in_most_rounds_and_not_by_luck():
    duration_s = np.ones((9, 6))
    duration_s[:, 4], duration_s[:5, 2], duration_s[:4, 1] = 2.0, 1.5, 9.0
    of = slow_workers(duration_s)
    assert of.factors.tolist() == [1.0, 1.0, 1.5, 1.0, 2.0, 1.0]
    assert of.workers.tolist() == [4]  # worker 2 was slow in 5 of 9 rounds, which a third of all times are
    assert slow_workers(np.array([[1.0, 1.0, 5.0]])).workers.tolist() == []  # one round is no habit
    often = np.ones((20, 50))
    often[:9, 7] = 9.0
    assert slow_workers(often).workers.tolist() == []  # surely more often than others, but not all the time
    shock = np.ones((9, 6)) * np.where(np.arange(9) % 2, 1.0, 10.0)[:, None]
    assert slow_workers(shock).workers.tolist() == []
    never = np.ones((20, 6))
    never[:, 3] = INF
    assert slow_workers(never).workers.tolist() == [3]
    assert slow_workers(np.full((5, 3), INF)).factors.tolist() == [1.0, 1.0, 1.0]


def test_the_load_slope_by_hand_and_clipped():
    of = load_slope([np.array([[1.0, 3.0]]), np.array([[2.0, 4.0, INF]]), np.array([[4.0, 6.0]])], [0.0, 0.5, 1.0])
    assert of == pytest.approx((3.0, 5 / 3 + 1 / 6, 3.0, 3.0))
    falling = load_slope([np.array([[2.0]]), np.array([[1.0]])], [0.0, 1.0])
    assert (falling.slope_of_medians, falling.seconds_per_load) == (-1.0, 0.0)
    outlier = load_slope([np.array([[1.0, 1.0, 40.0]]), np.array([[2.0, 2.0, 2.0]])], [0.0, 1.0])
    assert outlier.slope_s < 0 < outlier.slope_of_medians == 1.0
    with pytest.raises(ValueError, match="at least two different"):
        load_slope([np.ones((1, 1))] * 2, [0.5, 0.5])
    with pytest.raises(ValueError, match="finite"):
        load_slope([np.ones((1, 1)), np.full((1, 1), INF)], [0.0, 1.0])


SECONDS = st.one_of(st.floats(0, 1e6), st.just(INF))
GRIDS = arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=SECONDS)


@given(GRIDS, st.sampled_from(["first", "median"]), st.floats(0, 10))
@settings(max_examples=150, deadline=None)
def test_figures_of_any_trace_agree_with_each_other(duration_s, reference, mu):
    about = describe(measured(duration_s), mu, reference)
    pattern = about.stragglers
    assert about.bursts.sum() == (pattern & ~about.patterns.explained).sum()
    assert not (pattern & ~stragglers(duration_s, mu / 2, reference)).any()  # less tolerance, no fewer stragglers
    assert pattern[np.isinf(duration_s)].all()
    if about.memory is not None:
        of = about.memory
        assert 0 <= of.low <= of.p_again <= of.high <= 1
        # a pair is a place inside a burst
        assert of.p_again * of.n_pairs == pytest.approx((about.bursts - 1).sum())
        assert 0 <= of.at_random <= 1
        assert 0 <= of.at_own_rates <= 1
    assert about.outliers.n_times <= np.isfinite(duration_s).sum()
    assert not np.isnan(about.slow.factors).any()
    assert set(row(about, "mine")) == set(
        row(describe(measured(duration_s, steps=2 * np.arange(len(duration_s)))), "mine")
    )
    list(findings(about))


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6)), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_quantiles_are_those_of_numpy(values, share):
    assert quantile(values, share) == pytest.approx(np.quantile(values, share), rel=1e-12, abs=1e-9)


def test_a_rule_that_labels_more_than_half_is_degenerate():
    duration_s = np.where(np.arange(10) < 4, 1.0, 3.0)[None, :]
    assert describe(measured(duration_s)).is_degenerate
    assert not describe(measured(duration_s), reference="median").is_degenerate
    assert not describe(measured(duration_s[:, :8])).is_degenerate  # four of eight straggle


def test_findings_are_what_was_planted():
    rng = np.random.default_rng(8)
    usual = rng.uniform(1.0, 1.1, (40, 32))
    (nobody,) = findings(describe(measured(usual)))
    assert nobody.startswith(
        "nobody is twice as slow as the round's first; there are no stragglers: the longest time is 1."
    )
    assert [said[:10] for said in findings(describe(measured(usual), mu=0.08))] == ["straggling"]
    bursty = np.where(draw(GilbertElliott(p_slow=0.03, p_recover=0.3, slowdown=4.0), 40, 32, 1), 4.0, 1.0) * usual
    (said,) = [line for line in findings(describe(measured(bursty))) if "straggled in the round before" in line]
    assert said.startswith("bursty: P(straggle | straggled in the round before) = 0.")
    shocks = usual.copy()
    shocks[[5, 20], 4:] = 4.0
    assert any(line.startswith("some rounds hit many") for line in findings(describe(measured(shocks))))
    slow = usual.copy()
    slow[:, 7] *= 3
    assert "worker 7 is slow all the time: 2" in " ".join(findings(describe(measured(slow))))
    assert "the same workers straggle again" in " ".join(findings(describe(measured(slow))))
    fast = usual.copy()
    fast[:, 0] = 0.1
    (first, *_) = findings(describe(measured(fast)))
    assert first.startswith("the mu-rule is degenerate: 96.9 % of the times are over 2x the round's first, so")
    assert "so bursts and counts mean little; there are no stragglers: the longest time is 1.0" in first
    usual[0, 0] = usual[1, 0] = 500.0  # one alone were a stall
    assert any(line.startswith("a few times dominate means: 2 of") for line in findings(describe(measured(usual))))
    (gaps, *others) = findings(describe(measured(slow, steps=2 * np.arange(len(slow)))))
    assert gaps.startswith("rounds are a sample")
    assert not any("straggled in the round before" in line for line in others)


TRACES = Path(__file__).parents[2] / "shared" / "traces"
AWS = TRACES / "aws-lambda"
needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason=f"the traces are not part of the project: no {TRACES}")


@needs_traces
def test_every_real_trace_has_the_figures_of_its_notes():
    noted = pd.read_csv(AWS / "stats.csv")
    assert len(noted) > 60
    names = {"stragglers_per_round_median": None, "stragglers_per_round_max": None, "workers_ever_straggling": None}
    names |= dict.fromkeys(("bursts", "longest_burst", "rounds", "min_s", "median_s", "mean_s", "p95_s"))
    names |= dict.fromkeys(("p99_s", "max_s", "frac_bursts_len1", "frac_bursts_len2", "frac_bursts_len3plus"))
    names |= {"max_over_median": None, "straggler_rate": "straggler_rate_mu1"}
    for note in noted.to_dict("records"):
        trace = read_times(AWS / f"{note['file']}.parquet")
        found = row(describe(trace, outlier_s=20.0), note["file"])
        if found["stalls"]:  # which the notes count
            assert note["file"] in (
                "cnn-b256-canada-load1.000-n25-a",
                "resnet18-b256-canada-load0.000-n25-failed-early",
            )
            continue
        for name, called in names.items():
            # printed with six digits after the point
            assert found[name] == pytest.approx(note[called or name], rel=2e-6, abs=1e-6), (note["file"], name)
        assert found["outliers"] == note["n_over_20s"], note["file"]
        assert outliers(trace.duration_s, 60.0).n_times == note["n_over_60s"], note["file"]


@needs_traces
def test_every_load_slope_is_that_of_the_notes():
    for note in pd.read_csv(AWS / "load_slope.csv").to_dict("records"):
        setup, tag = note["group"].split("-n")
        loads = note["loads"].split()
        files = [AWS / f"{setup}-load{load}-n{tag}.parquet" for load in loads]
        found = load_slope([read_times(file).duration_s for file in files], [float(load) for load in loads])
        for name in ("slope_s", "intercept_s", "slope_of_medians"):
            assert getattr(found, name) == pytest.approx(note[name], rel=1e-9), (note["group"], name)


@needs_traces
def test_memory_of_real_traces_is_as_in_their_notes():
    load0 = [file for file in AWS.glob("cnn-b*-canada-load0.000-*.parquet") if "n10-early" not in file.name]
    found = [memory(stragglers(read_times(file).duration_s)) for file in load0]
    assert all(0.095 < of.p_again < 0.265 for of in found)
    assert np.mean([of.repeats for of in found]) > 0.7
    of = memory(stragglers(read_times(AWS / "cnn-b2048-canada-load0.250-n30.parquet").duration_s))
    assert not of.repeats


@needs_traces
def test_training_jobs_are_as_in_their_notes():
    persistent, transient = (
        describe(read_times(TRACES / "llm-training" / f"{name}.parquet"))
        for name in ("dp4-persistent", "dp32-transient")
    )
    assert persistent.trace.is_sample
    assert transient.trace.is_sample
    assert persistent.bursts is None
    assert persistent.slow.workers.tolist() == [0]
    assert persistent.slow.factors[0] == pytest.approx(2.25, abs=0.02)
    assert transient.slow.workers.tolist() == []
