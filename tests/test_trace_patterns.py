"""Patterns of a trace: named with their rounds where they were planted, and nowhere else."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.traces.files import MeasuredTimes
from simulator.traces.host_rounds import host_rounds
from simulator.traces.measures import burst_lengths, memory
from simulator.traces.patterns import patterns, periodic_rounds, stalled, warm_up_rounds
from simulator.traces.report import describe, facts, findings, row
from straggler_models import GilbertElliott
from straggler_models.testing import draw_rounds

N_ROUNDS, N_WORKERS = 240, 16
HOST = np.tile(np.arange(N_WORKERS) // 4, (N_ROUNDS, 1))
HOSTS = ("a", "b", "c", "d")


def usual(seed=1, sigma=0.05, shape=(N_ROUNDS, N_WORKERS)):
    return 2 * np.exp(sigma * np.random.default_rng(seed).standard_normal(shape))


def measured(duration_s, *, hosts=True, steps=None):
    host = HOST[: len(duration_s)]
    about = {"hosts": HOSTS, "host": host} if hosts else {}
    return MeasuredTimes(Path("mine.parquet"), duration_s, None, steps, **about)


def planted(kind):
    """Times with one pattern, what is said of it, its figures, and what is left out elsewhere."""
    times_s = usual()
    match kind:
        case "warm-up":
            times_s[:4] *= np.array([8.0, 6.0, 4.0, 2.0])[:, None]
            times_s[0, 5:] *= np.linspace(1.0, 5.0, 11)  # also unequal
            said = "the first 4 rounds are a warm-up: the median worker takes 4.9"
            return times_s, said, {"warm_up_rounds": 4}, "warm-up"
        case "periodic rounds":
            times_s[25::40] *= 3
            times_s[25::40, :5] *= 3  # who is hit more is no straggler of its own
            said = (
                "every 40th round is slow for most workers, from round 25 on (rounds 25, 65, 105, ..., 225; 6 in all): "
            )
            return times_s, said, {"period": 40, "first_periodic_round": 25}, "periodic rounds"
        case "rounds that hit a host":
            times_s[[10, 11, 12, 90, 200], 4:8] *= 30
            said = "host b is hit as a whole in rounds 10 to 12, 90, 200: its 4 workers take 30 times as long as the "
            return times_s, said, {"host_rounds": 5}, "rounds that hit a host"
        case "a host's episode":
            times_s[60:150, 4:8] *= 30
            said = "host b is hit as a whole in rounds 60 to 149: its 4 workers take 29 times as long as the "
            return times_s, said, {"host_rounds": 90, "episodes": 0}, "rounds that hit a host"
        case "episode":
            times_s[100:170, 3] *= 30
            said = "worker 3 is 30 times slower from round 100 to 169: an episode, no burst"
            return times_s, said, {"episodes": 1, "fail_slows": 0}, "episodes"
        case "fail-slow":
            times_s[170:, 3] *= 30
            said = "worker 3 is 30 times slower from round 170 to 239 (to the end): a fail-slow, no burst"
            return times_s, said, {"episodes": 0, "fail_slows": 1}, "fail-slows"
    times_s[[20, 70, 150], [3, 9, 3]] = 60.0, 100.0, 80.0
    said = "rare long stalls: worker 9 in round 70 (100 s, "
    return times_s, said, {"stalls": 3, "longest_stall_s": 100.0}, "stalls"


KINDS = ("warm-up", "periodic rounds", "rounds that hit a host", "a host's episode", "episode", "fail-slow", "stalls")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pattern_is_named_with_its_rounds_and_is_nothing_else(kind):
    times_s, said, figures, left_out = planted(kind)
    about = describe(measured(times_s))
    first, *others = findings(about)
    assert first.startswith(said)
    assert all(line.startswith(("in a scenario: {kind: fail_slow", "no time is over 2x")) for line in others)
    called = dict(facts(about))
    assert called["bursts"] == f"none ({left_out} left out)"
    assert called["outliers"].startswith("none over")
    found = row(about, "mine")
    none = {"warm_up_rounds": 0, "period": None, "first_periodic_round": None, "host_rounds": 0, "fail_slows": 0}
    none |= {"episodes": 0, "stalls": 0, "longest_stall_s": None, "bursts": 0, "outliers": 0, "slow_workers": 0}
    assert {name: found[name] for name in none} == none | figures


def test_patterns_do_not_hide_each_other():
    times_s = usual(2)
    times_s[:3] *= 5
    times_s[60::45] *= 2.5
    times_s[[20, 130], 8:12] *= 4
    times_s[140:200, 2] *= 5
    times_s[220:, 15] *= 4
    times_s[77, 11] = 90.0
    found = patterns(times_s, HOST)
    assert found.warm_up == 3
    assert [(one.period, one.rounds.tolist()) for one in found.periodic] == [(45, [60, 105, 150, 195])]
    assert [(hit.host, hit.rounds.tolist(), hit.n_workers) for hit in found.hosts] == [(2, [20, 130], 4)]
    assert [of[:3] for of in found.fail_slows] == [(2, 140, 200), (15, 220, 240)]
    assert [stall[:3] for stall in found.stalls] == [(11, 77, 90.0)]
    assert not (found.explained & (times_s < 2.5) & (np.arange(N_ROUNDS)[:, None] % 45 != 15)).any()


def test_periodic_rounds_that_begin_with_the_first_one_are_no_warm_up():
    times_s = usual(13)
    times_s[::30] *= 3
    found = patterns(times_s)
    assert [(one.period, len(one.rounds)) for one in found.periodic] == [(30, 8)]
    assert found.warm_up == 0
    times_s[:2] *= 4  # both
    found = patterns(times_s)
    assert [(one.period, len(one.rounds)) for one in found.periodic] == [(30, 8)]
    assert found.warm_up == 2


def test_a_run_of_rounds_that_hit_a_host_holds_no_episodes_of_its_workers():
    times_s = usual(14)
    times_s[60:72, 4:8] *= 5
    found = patterns(times_s, HOST)
    assert [(hit.host, hit.rounds[[0, -1]].tolist()) for hit in found.hosts] == [(1, [60, 71])]
    assert found.fail_slows == ()


def test_many_stalls_and_runs_are_counted():
    times_s = usual(3)
    times_s[10::25, 5] = np.arange(60.0, 70.0)
    (said, *_) = findings(describe(measured(times_s)))
    assert said.count("worker 5 in round") == 5
    assert ", and 5 more: " in said
    assert said.endswith("% of all seconds (medians and quantiles are safer than means)")
    times_s = usual(3)
    times_s[10::25, 4:8] *= 5
    (said, *_) = findings(describe(measured(times_s)))
    assert "in rounds 10, 35, 60, 85, 110 and 5 more: " in said


def test_where_hosts_are_not_known_none_is_named():
    times_s = planted("rounds that hit a host")[0]
    assert any(line.startswith("some rounds hit many") for line in findings(describe(measured(times_s, hosts=False))))


def test_a_host_that_fails_is_neither_workers_that_fail_nor_slow_ones():
    times_s = usual()
    times_s[80:, 4:8] *= 4
    about = describe(measured(times_s))
    (said,) = findings(about)
    assert said.startswith("host b is hit as a whole in rounds 80 to 239: its 4 workers take 3.9")


# --- what is no such pattern ---


def test_slow_first_rounds_are_a_warm_up_only_if_later_ones_are_not_so():
    level = np.log(usual(4)[:, 0] / 2)
    level[:2] = np.log([3.0, 1.5])
    assert warm_up_rounds(level) == 2
    level[40::12] = np.log(3.0)
    assert warm_up_rounds(level) == 0  # round 0 is one of many
    level[40::12] = 0.0
    level[1] = np.log(1.15)
    assert warm_up_rounds(level) == 1
    level /= 10
    level[0] = np.log(1.19)
    assert warm_up_rounds(level) == 0  # too little
    level[0] = np.log(1.21)
    assert warm_up_rounds(level) == 1
    assert warm_up_rounds(np.log([5.0] + [1.0] * 9)) == 0  # one in ten comes first by luck, too
    assert warm_up_rounds(np.log([5.0] * 60 + [1.0] * 140)) == 0  # a phase


def test_rounds_that_drift_from_high_to_low_are_no_warm_up():
    rng = np.random.default_rng(15)
    levels = [0.5 * _autoregressive(rng, 43, 0.97) for _ in range(400)]
    assert sum(warm_up_rounds(level - np.median(level)) > 0 for level in levels) <= 12
    level = rng.normal(0, 0.01, 43) + 0.01 * _autoregressive(rng, 43, 0.97)
    level[:3] = 0.5
    assert warm_up_rounds(level) == 3


@given(st.integers(3, 60), st.integers(0, 59), st.integers(7, 12), st.integers(0, 10), st.booleans())
@settings(max_examples=150, deadline=None)
def test_periodic_rounds_are_found_for_any_period_and_first_round(period, first, count, later, with_gap):
    n_rounds = first + period * count
    level = np.random.default_rng(first).normal(0, 0.02, n_rounds)
    rounds = np.arange(first, n_rounds, period)
    level[rounds] += np.log(2.5)
    steps = np.arange(n_rounds) + later
    if with_gap:  # a round that is no slow one is lost
        lost = int(rounds[1]) + 1
        level, steps = np.delete(level, lost), np.delete(steps, lost)
        rounds = rounds - (rounds > lost)
    (found,) = periodic_rounds(level, steps)
    assert (found.period, found.rounds.tolist()) == (period, rounds.tolist())
    assert found.factor == pytest.approx(2.5, rel=0.1)


def test_slow_phases_that_come_again_are_periodic():
    level = np.random.default_rng(12).normal(0, 0.02, 300)
    level += np.log(2) * (np.arange(300) // 10 % 2)
    (found,) = periodic_rounds(level)
    assert (found.period, found.in_a_row) == (20, 10)
    assert found.rounds.tolist() == [place for place in range(300) if place // 10 % 2]
    times_s = usual() * np.exp(level[:N_ROUNDS, None])
    (said, _) = findings(describe(measured(times_s)))
    assert said.startswith(
        "every 20 rounds, 10 in a row are slow for most workers, from round 10 on (round 10, 30, 50, "
    )


def test_slow_rounds_that_do_not_come_again_at_equal_distances_are_not_periodic():
    rng = np.random.default_rng(5)
    level = rng.normal(0, 0.02, 300)
    level[[20, 70, 121, 170, 221]] = 1.0
    assert periodic_rounds(level) == ()
    drift = np.cumsum(rng.normal(0, 0.05, 300))
    assert periodic_rounds(drift) == ()
    for n_rounds in range(1, 12):
        assert periodic_rounds(np.zeros(n_rounds)) == ()


def test_a_host_is_not_named_for_one_worker_or_for_all_hosts_or_all_rounds():
    relative = np.ones((100, N_WORKERS))
    relative[::10, 4] = 5.0
    assert host_rounds(relative, HOST[:100]) == ()
    relative[::10] = 5.0
    assert host_rounds(relative, HOST[:100]) == ()
    relative[:] = 1.0
    relative[[10, 40, 70], 4:8] = relative[[10, 10, 40, 40, 70, 70], [0, 12, 1, 9, 9, 13]] = 5.0
    assert host_rounds(relative, HOST[:100]) == ()  # others, too
    relative[[10, 40, 70], [0, 1, 9]] = 1.0
    assert len(host_rounds(relative, HOST[:100])) == 1
    relative[:] = 1.0
    relative[:, 4:8] = 5.0
    assert host_rounds(relative, HOST[:100]) == ()
    relative[:] = 1.0
    relative[:, 4] = 5.0  # a slow worker, and another one on the same host that is slow at times
    relative[::7, 5] = 5.0
    assert host_rounds(relative, np.tile(np.arange(N_WORKERS) // 2, (100, 1))) == ()


def test_workers_may_change_hosts():
    host = HOST.copy()
    host[120:] = host[120:, ::-1]
    relative = np.ones(host.shape)
    relative[(host == 1) & np.isin(np.arange(N_ROUNDS), [30, 31, 150])[:, None]] = 3.0
    assert [(hit.host, hit.rounds.tolist()) for hit in host_rounds(relative, host)] == [(1, [30, 31, 150])]


def test_stalls_are_rare_single_and_far_over_all_others():
    nothing = np.zeros((N_ROUNDS, N_WORKERS), dtype=bool)
    relative = usual(6) / 2
    relative[50, 3] = 2.0
    assert len(stalled(relative, nothing)) == 0  # not far enough
    relative[50, 3] = relative[51, 3] = 20.0
    assert len(stalled(relative, nothing)) == 0  # a burst
    relative[51, 3], relative[50, 4] = 1.0, 20.0
    assert len(stalled(relative, nothing)) == 0  # a round
    relative[50, 4], relative[90, 4] = np.inf, 15.0
    assert stalled(relative, nothing).tolist() == [[50, 3], [90, 4]]  # who never answered has no time
    relative[::9, 5] = 20.0
    assert len(stalled(relative, nothing)) == 0  # not rare
    tail = 1 + np.random.default_rng(7).pareto(0.8, relative.shape)
    assert tail.max() > 10 * np.quantile(tail, 0.999)
    assert len(stalled(tail, nothing)) == 0


NOISE = {
    "lognormal": lambda rng, shape: np.exp(0.3 * rng.standard_normal(shape)),
    "bursts": lambda rng, shape: (
        draw_rounds(GilbertElliott(0.03, 1 / 3, 4.0), shape[1], shape[0], rng)[2]
        * np.exp(0.1 * rng.standard_normal(shape))
    ),
    "shocks": lambda rng, shape: (
        np.where((rng.random((shape[0], 1)) < 0.05) & (rng.random(shape) < 0.6), 4.0, 1.0)
        * np.exp(0.1 * rng.standard_normal(shape))
    ),
    "pareto": lambda rng, shape: 1 + rng.pareto(1.5, shape),
    "drift": lambda rng, shape: (
        np.exp(0.3 * _autoregressive(rng, shape[0], 0.95))[:, None] * np.exp(0.1 * rng.standard_normal(shape))
    ),
}


def _autoregressive(rng, n_rounds, rho):
    values = [rng.standard_normal()]
    while len(values) < n_rounds:
        values.append(rho * values[-1] + np.sqrt(1 - rho**2) * rng.standard_normal())
    return np.array(values)


@pytest.mark.parametrize("noise", NOISE)
def test_exchangeable_rounds_hold_each_pattern_in_at_most_one_trace_of_twenty(noise):
    rng, shape = np.random.default_rng(8), (100, 16)
    found = [patterns(NOISE[noise](rng, shape), HOST[:100]) for _ in range(200)]
    for kind in ("warm_up", "periodic", "hosts", "stalls"):
        assert sum(bool(getattr(of, kind)) for of in found) <= 10, kind


@pytest.mark.parametrize("seconds", [0.0, 1.0, np.inf])
def test_traces_of_any_size_and_of_equal_or_endless_times_are_taken(seconds):
    for n_rounds in (1, 2, 3, 30):
        for n_workers in (1, 2, 9):
            shape = n_rounds, n_workers
            found = patterns(np.full(shape, seconds), np.zeros(shape, dtype=np.int64) + np.arange(n_workers) // 2)
            assert not found.explained.any()


def test_a_hundred_thousand_rounds_take_seconds():
    times_s = usual(9, 0.3, (100_000, 3))
    begin_s = time.thread_time()
    patterns(times_s)
    assert time.thread_time() - begin_s < 20


def test_who_answers_nothing_is_named_as_such():
    times_s = usual()
    times_s[50:53, 4:8] = np.inf
    times_s[0] = np.inf
    warm_up, host = findings(describe(measured(times_s)))
    assert warm_up == "the first round is a warm-up: the median worker answers nothing; --drop-first 1 leaves it out"
    assert host == "host b is hit as a whole in rounds 50 to 52: its 4 workers answer nothing, and few others are slow"


# --- pairs of consecutive steps ---


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=9), st.data())
@settings(max_examples=150, deadline=None)
def test_bursts_and_memory_are_read_from_pairs_of_consecutive_steps(rounds, data):
    slow = np.array(rounds)
    follows = np.array(data.draw(st.lists(st.booleans(), min_size=len(slow) - 1, max_size=len(slow) - 1)), dtype=bool)
    parts = np.split(slow, np.flatnonzero(~follows) + 1)
    lengths = sorted(length for part in parts for length in burst_lengths(part).tolist())
    assert sorted(burst_lengths(slow, follows).tolist()) == lengths
    pairs = [(one, two) for part in parts for one, two in pairwise(part)]
    n_before = sum(one.sum() for one, _ in pairs)
    of = memory(slow, follows)
    if not n_before:
        assert of is None
    else:
        assert of.n_pairs == n_before
        assert of.p_again == pytest.approx(sum((one & two).sum() for one, two in pairs) / n_before)
        assert of.at_random == pytest.approx(sum(one.sum() * two.sum() for one, two in pairs) / (3 * n_before))


def test_what_is_left_out_is_as_if_it_were_not_known():
    times_s = usual(16)
    times_s[:, 7] *= 2.02  # over the threshold in most rounds
    times_s[170:, 7] *= 3
    about = describe(measured(times_s, hosts=False), mu=0.97, reference="median")
    assert [of[:3] for of in about.patterns.fail_slows] == [(7, 170, 240)]
    assert about.memory.at_own_rates == pytest.approx(about.memory.p_again, abs=0.07)
    assert not about.memory.is_bursty
    slow, left_out = np.array([[1, 1], [1, 0], [0, 1], [1, 1]], dtype=bool), np.zeros((4, 2), dtype=bool)
    left_out[0, 1] = True
    of = memory(slow, None, left_out)
    # worker 0: two pairs begin with a straggler, one ends with one; worker 1: one, which does
    assert (of.n_pairs, of.p_again) == (3, pytest.approx(2 / 3))
    # round 0: one pair, round 1 and 2: two
    assert of.at_random == pytest.approx((1 * 1 / 1 + 1 * 1 / 2 + 1 * 2 / 2) / 3)
    # worker 0: 3 of 4 rounds and 3 pairs; worker 1: 2 of 3 rounds and 2 pairs
    assert of.at_own_rates == pytest.approx((3 * 3 / 4 * 2 / 3 + 2 * 2 / 3 * 1 / 2) / (3 * 3 / 4 + 2 * 2 / 3))


def test_one_dropped_round_withholds_nothing_and_a_sample_does():
    rng, shape = np.random.default_rng(10), (312, 16)
    slowdown = draw_rounds(GilbertElliott(0.03, 0.4, 4.0), 16, 312, rng)[2]
    times_s = slowdown * np.exp(0.05 * rng.standard_normal(shape))
    whole = describe(measured(times_s, hosts=False))
    steps = np.delete(np.arange(312), 130)
    about = describe(measured(times_s[steps], hosts=False, steps=steps))
    said = list(findings(about))
    assert said[0].startswith(
        "309 of 310 pairs of rounds are consecutive steps (the column step has gaps): bursts and "
    )
    assert any(line.startswith("bursty: ") for line in said)
    assert row(about, "mine")["consecutive_pairs"] == 309
    assert abs(len(about.bursts) - len(whole.bursts)) <= 16
    assert about.memory.p_again == pytest.approx(whole.memory.p_again, abs=0.02)
    times_s[5::12] *= 3
    (one,) = patterns(times_s).periodic
    assert one.period == 12
    sample = describe(measured(times_s[steps], hosts=False, steps=3 * steps))
    assert sample.patterns.periodic == ()
    assert (sample.bursts, sample.memory) == (None, None)
    assert next(findings(sample)).startswith("rounds are a sample")


def test_a_chain_of_bursts_does_not_cross_a_gap():
    from simulator.traces.change_points import _chain

    is_slow = np.tile([[False], [True]], (50, 1))  # every other round: with each odd one dropped, always
    is_other, follows = np.ones_like(is_slow), np.ones(99, dtype=bool)
    follows[49] = False
    is_slow[50:] = ~is_slow[50:]
    chain, across = _chain(is_slow, is_other, follows), _chain(is_slow, is_other, None)
    assert chain[0b101] == pytest.approx(0.5 / 48, abs=0.02)
    assert chain[0b011] == 0.5 != across[0b011]  # never seen but across the gap
