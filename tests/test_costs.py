"""What stragglers cost and who causes it, by hand and against loops; thresholds that label nobody, or most."""

import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulator.traces.cost_sentences import full_sentences, savings, verdict
from simulator.traces.costs import SLOWEST, costs
from simulator.traces.files import MeasuredTimes, read_times
from simulator.traces.measures import median_worker_s, stragglers
from simulator.traces.report import describe, facts, findings, row
from simulator.traces.threshold import separation, suggestion

INF = np.inf
BY_HAND = np.array([[1.0, 2.0, 6.0], [4.0, 2.0, 3.0]])  # 2 rounds of 3 workers, which take 6 and 4 s


def measured(duration_s, **about):
    return MeasuredTimes(Path("mine.parquet"), np.asarray(duration_s), None, **about)


def shares(found):
    return {(saving.kind, saving.number): pytest.approx(saving.share.value) for saving in found.savings}


def test_two_rounds_of_three_workers_by_hand():
    found = costs(BY_HAND)
    assert found.over_median.value == pytest.approx((6 / 2 + 4 / 3) / 2)
    assert found.over_mean.value == pytest.approx((6 / 3 + 4 / 3) / 2)
    # workers wait 5 + 4 + 0 and 0 + 2 + 1 s, of 3 x (6 + 4)
    assert found.waiting.value == pytest.approx(12 / 30)
    assert found.worker_hours.value == pytest.approx(12 / 2 * 1000 / 3600)
    # worker 2 as the median: 2 s in place of 6; worker 0: 3 s in place of 4; worker 1 saves nothing
    assert shares(found) == {("worker", 2): 4 / 10, ("worker", 0): 1 / 10, ("slowest", 1): 0.5, ("all", 1): 0.5}
    assert found.half == (0,)  # in which 4 of 6 s are lost
    assert np.isnan(found.waiting.low)  # of two rounds there is no interval


def test_the_k_slowest_and_hosts_by_hand():
    duration_s = np.array([[1.0, 1.0, 2.0, 4.0, 8.0, 7.0], [1.0, 9.0, 1.0, 1.0, 5.0, 3.0]])  # 8 and 9 s
    host = np.array([[0, 0, 1, 1, 2, 2]] * 2)
    # medians (the third of six): 2 and 1; without host 2: 4 and 9; without host 0: 8 and 5
    assert shares(costs(duration_s, host=host)) == {
        ("worker", 1): 4 / 17,
        ("worker", 4): 1 / 17,
        ("host", 0): 4 / 17,
        ("host", 2): 4 / 17,
        ("slowest", 1): (1 + 4) / 17,
        ("slowest", 2): (4 + 6) / 17,
        ("slowest", 3): (6 + 8) / 17,
        ("all", 3): (6 + 8) / 17,
    }
    moved = host.copy()
    moved[1] = [2, 2, 1, 1, 0, 0]  # workers change places
    assert shares(costs(duration_s, host=moved))["host", 2] == 8 / 17
    assert shares(costs(duration_s, slow=np.array([5, 4])))["slow", 2] == 4 / 17
    assert ("slow", 1) not in shares(costs(duration_s, slow=np.array([5])))
    assert shares(costs(duration_s, slow=np.arange(6)))["slow", 6] == 14 / 17  # all as the median


def test_who_never_answers_counts_as_the_longest_time_of_the_trace():
    lost, as_long = BY_HAND.copy(), BY_HAND.copy()
    lost[1, 1], as_long[1, 1] = INF, 6.0
    assert repr(costs(lost)) == repr(costs(as_long))
    assert shares(costs(lost))["worker", 1] == 2 / 12
    said = dict(verdict(describe(measured(lost))))
    assert all(text.split("cost ")[-1].startswith("at least ") for text in said.values())
    assert costs(np.full((2, 2), INF)) is None
    assert costs(np.array([[0.0, INF]])) is None
    (unknown,) = verdict(describe(measured(np.full((2, 2), INF))))
    assert unknown[1].startswith("what stragglers cost is not known")
    assert savings(describe(measured(np.full((2, 2), INF)))) == []


def test_rounds_without_time_have_no_ratio():
    found = costs(np.array([[0.0, 0.0, 3.0], [1.0, 1.0, 2.0]]))
    assert found.over_median.value == 2.0
    assert found.over_mean.value == pytest.approx((3 + 1.5) / 2)
    assert np.isnan(costs(np.array([[0.0, 0.0, 3.0]])).over_median.value)


TIMES = st.one_of(st.floats(0, 1e6), st.sampled_from([INF, 1.0, 5e-324, 1e308]))


@given(arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 9)), elements=TIMES), st.randoms())
@settings(max_examples=150, deadline=None)
def test_savings_are_those_of_rounds_computed_anew(duration_s, random):
    host = np.array([[random.randrange(3) for _ in line] for line in duration_s])
    found = costs(duration_s, host=host)
    if found is None:
        return
    times = np.where(np.isinf(duration_s), np.max(duration_s[np.isfinite(duration_s)]), duration_s)
    times /= times.max()
    median = median_worker_s(times)[:, None]
    rank = times.shape[1] - 1 - np.argsort(np.argsort(times, axis=1, kind="stable"), axis=1)

    def saved(replaced):
        return 1 - np.where(replaced, np.minimum(times, median), times).max(axis=1).sum() / times.max(axis=1).sum()

    for saving in found.savings:
        replaced = {
            "worker": np.broadcast_to(np.arange(times.shape[1]) == saving.number, times.shape),
            "host": host == saving.number,
            "slowest": rank < saving.number,
            "all": rank < times.shape[1],
        }[saving.kind]
        assert saving.share.value == pytest.approx(saved(replaced), abs=1e-9)
        assert 0 <= saving.share.value <= found.saved("all").share.value + 1e-9
    named = [saving.number for saving in found.savings if saving.kind == "worker"]
    others = [saved(np.arange(times.shape[1]) == worker) for worker in range(times.shape[1]) if worker not in named]
    least = min((saving.share.value for saving in found.savings if saving.kind == "worker"), default=0.0)
    assert len(named) <= 5
    assert max(others, default=0.0) <= (least if len(named) == 5 else 0.0) + 1e-9


def test_intervals_hold_the_truth_and_do_not_change():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):  # the larger of two uniform times is 2/3 on average, the smaller 1/3
        found = costs(rng.uniform(0.0, 1.0, (60, 2)))
        hits += found.saved("all").share.low <= 0.5 <= found.saved("all").share.high
    assert 181 <= hits <= 198
    times_s = rng.uniform(1.0, 2.0, (10, 4))
    assert costs(times_s) == costs(times_s)
    assert np.isnan(costs(times_s[:9]).waiting.low)


def test_many_rounds_are_taken_together():
    times_s = np.random.default_rng(6).exponential(size=(9001, 3))
    found = costs(times_s)
    assert found.waiting.value == pytest.approx(1 - times_s.mean(axis=1).sum() / times_s.max(axis=1).sum())
    assert 0.003 < found.waiting.high - found.waiting.low < 0.02


def test_ten_thousand_workers_take_no_time_to_speak_of():
    times_s = np.random.default_rng(7).lognormal(size=(300, 10_000))
    start_s = time.process_time()
    costs(times_s, host=np.broadcast_to(np.arange(10_000) // 8, times_s.shape))
    separation(times_s)
    assert time.process_time() - start_s < 2.0


def answer(duration_s, **about):
    return next(verdict(describe(measured(duration_s, **about))))[1]


def test_the_first_line_says_who_causes_most_of_it():
    rng = np.random.default_rng(8)
    usual = rng.uniform(1.0, 1.01, (40, 16))
    assert answer(usual).startswith("stragglers cost little: 0.")
    slow = usual.copy()
    slow[:, 7] *= 3
    assert answer(slow).endswith("because of worker 7")
    slow[:, 3] *= 3
    slow[:, 3] *= 1.1
    assert answer(slow).endswith("because of workers 3 and 7, slow all the time")
    turns = usual * np.where(np.arange(16) == np.arange(40)[:, None] % 16, 3.0, 1.0)
    assert "; no single worker causes most of it: worker " in answer(turns)
    hosts, host = ("a", "b", "c", "d"), np.repeat(np.arange(4), 4)[None, :].repeat(40, axis=0)
    turns = usual * np.where(host == 1, rng.uniform(1, 5, (40, 16)), 1.0)
    about = {"hosts": hosts, "host": host}
    assert answer(turns, **about).endswith("because of host b")
    assert ", slow all the time" in answer(turns, hosts=("a",), host=np.zeros_like(host))  # one host is no answer
    slow = usual.copy()
    slow[:, 7] *= 3
    assert answer(slow, **about).endswith("because of worker 7 (host b)")
    names = tuple(f"gpu-{place}" for place in range(1, 17))
    assert answer(slow, **about, names=names).endswith("because of worker 7 (gpu-8, host b)")
    [said] = [said for said in findings(describe(measured(slow, names=names))) if "slow all the time" in said]
    assert said.startswith("worker 7 (gpu-8) is slow all the time: 3.0")
    assert answer(slow, hosts=("a",), host=np.zeros_like(host)).endswith("because of worker 7")
    host[1, 7] = 2
    assert answer(slow, **about).endswith("because of worker 7")


def with_bursts(rng, n_rounds, n_workers, start, end=0.25):
    """Log-normal times; bursts, in which a worker takes three times as long, start and end with these chances."""
    times_s, is_slow = rng.lognormal(0.0, 0.05, (n_rounds, n_workers)), np.zeros(n_workers, dtype=bool)
    for line in times_s:
        is_slow = rng.random(n_workers) < np.where(is_slow, 1 - end, start)
        line[is_slow] *= 3
    return times_s


def test_a_host_is_blamed_only_if_its_workers_are_no_random_group():
    host = np.repeat([0, 1], 4)
    about = {"hosts": ("gpu-a", "gpu-b"), "host": np.tile(host, (100, 1))}
    rngs = [np.random.default_rng([1, seed]) for seed in range(40)]
    independent = [answer(with_bursts(rng, 100, 8, 0.02), **about) for rng in rngs]
    assert sum("because of host" in said for said in independent) <= 4
    together = [with_bursts(rng, 100, 2, 0.1)[:, host] * rng.uniform(1.0, 1.1, (100, 8)) for rng in rngs]
    for times_s in together:
        times_s[:, 4:] = times_s[:, 4:].min(axis=1, keepdims=True)
        times_s[:, 4:] = np.minimum(times_s[:, 4:], 1.1)
    assert all(answer(times_s, **about).endswith("because of host gpu-a") for times_s in together)
    turns = [answer(times_s, hosts=about["hosts"], host=np.tile([0, 1], (100, 4))) for times_s in together]
    assert not any("because of host" in said for said in turns)


def test_a_host_of_two_workers_is_blamed_if_their_slow_rounds_are_the_same():
    rng, host = np.random.default_rng(5), np.repeat(np.arange(4), 2)  # any pair shares a host in one deal of seven
    about = {"hosts": tuple("abcd"), "host": np.tile(host, (100, 1))}
    times_s = rng.uniform(1.0, 1.1, (100, 8)) * rng.lognormal(0.0, 0.3, (100, 1))
    for first in (4, 15, 33, 40, 62, 91):
        times_s[first : first + 4, 2:4] *= 3
    assert answer(times_s, **about).endswith("because of host b")
    times_s[:, 3] = np.roll(times_s[:, 3], 7)
    assert "because of host" not in answer(times_s, **about)


def test_a_host_is_not_blamed_for_one_of_its_workers():
    rng = np.random.default_rng(3)
    times_s = rng.uniform(1.0, 1.1, (60, 8))
    times_s[:22, 1] *= 3  # it costs more than half of what the host does, and less than half in all
    times_s[30:44, [0, 2]] *= 3
    times_s[44:, 5] *= 3
    about = {"hosts": ("a", "b"), "host": np.tile(np.repeat([0, 1], 4), (60, 1))}
    of = costs(times_s, host=about["host"])
    assert of.saved("host").number == 0
    assert "because of host" not in answer(times_s, **about)


def test_a_worker_is_blamed_only_if_it_is_no_luck():
    times_s = np.random.default_rng(2).lognormal(0.0, 0.03, (30, 8))
    for first, last, worker in ((3, 7, 1), (12, 15, 6), (20, 25, 1)):
        times_s[first:last, worker] *= 4
    of = costs(times_s)
    assert of.saved("worker").number == 1
    assert of.saved("worker").share.value > of.saved("all").share.value / 2
    assert "because of" not in answer(times_s)
    assert "no single worker surely causes most of it: worker 1 " in answer(times_s)
    slow = np.random.default_rng(2).lognormal(0.0, 0.03, (30, 8))
    slow[:, 3] *= 1.6
    assert answer(slow).endswith("because of worker 3")
    assert answer(slow[:4]).endswith("because of worker 3")  # too few rounds for an interval: slowest in all of them
    assert "because of" not in answer(slow[:1])
    assert "because of" not in answer(np.where(np.arange(6)[:, None] == 5, 1.0, slow[:6]))
    late = np.random.default_rng(2).lognormal(0.0, 0.03, (300, 8))
    late[200:, 3] *= 3
    assert answer(late).endswith("because of worker 3")


def test_rare_bursts_of_workers_that_are_alike_blame_nobody():
    rngs = [np.random.default_rng([2, seed]) for seed in range(60)]
    blamed = [n for n in (8, 30, 100) for rng in rngs if "because" in answer(with_bursts(rng, n, 8, 0.01))]
    assert len(blamed) <= 9


def test_times_with_waiting_have_no_verdict():
    rng = np.random.default_rng(4)
    together = rng.lognormal(0.0, 0.4, (40, 1)) * rng.uniform(1.0, 1.01, (40, 8))
    about = describe(measured(together, doubt="times rise and fall together"))
    names, said = zip(*verdict(about), strict=True)
    assert names[:2] == ("verdict", "if own work")
    assert said[0] == "no verdict: times rise and fall together"
    assert said[1].startswith("stragglers cost little: 0.")
    assert full_sentences(about, "advise it").startswith("No verdict: times rise and fall together. If they are own wo")
    assert not any("no stragglers" in sentence for sentence in findings(about))
    assert any("no stragglers" in sentence for sentence in findings(describe(measured(together))))


def test_full_sentences_say_what_it_costs_who_causes_it_and_what_is_next():
    def said(duration_s):
        return full_sentences(describe(measured(duration_s)), "advise it")

    rng = np.random.default_rng(8)
    usual, slow = rng.uniform(1.0, 1.01, (40, 16)), np.where(np.arange(16) == 7, 3.0, 1.0)
    assert said(usual).startswith("Stragglers cost little, 0.")
    assert said(usual).endswith("There is next to nothing to gain from doing anything about them.")
    assert "Most of it is because of worker 7: that alone would save 6" in said(usual * slow)
    assert "Next, `advise it` says what to do about it" in said(usual * slow)
    turns = usual * np.where(np.arange(16) == np.arange(40)[:, None] % 16, 3.0, 1.0)
    assert re.search(r"No single worker causes .*: worker \d+ costs .* %, the slowest of each round costs", said(turns))
    usual[17, 3] = 300.0
    assert "Half of it was lost in 1 of 40 rounds (17): look at what happened then. Next," in said(usual)
    lost = usual.copy()
    lost[3, 3] = INF
    assert said(lost).startswith("Stragglers cost at least ")
    assert said(np.full((2, 2), INF)) == "What stragglers cost is not known: no worker answered after any time."


def test_one_worker_tells_nothing_of_stragglers():
    about = describe(measured(np.arange(1.0, 41.0)[:, None]))
    assert [name for name, _ in verdict(about)] == ["verdict"]
    assert answer(about.trace.duration_s).startswith("one worker cannot tell of stragglers: nobody waits for it (give ")
    assert full_sentences(about, "advise it").startswith("One worker cannot tell of stragglers: nobody waits for it (")
    assert [name for name, _ in facts(about)] == ["measured", "times", "outliers"]
    assert not any("straggle" in sentence for sentence in findings(about))


def test_the_first_line_blames_no_worker_for_one_long_round():
    times_s = np.random.default_rng(10).uniform(1.0, 1.2, (40, 16))
    times_s[17, 3] = 30.0
    assert costs(times_s).saved("worker").number == 3
    assert answer(times_s).endswith("of the time, half of it in 1 of 40 rounds (17)")
    times_s[[5, 6, 30], 8:] = np.array([[40.0], [39.0], [38.0]])
    assert answer(times_s).endswith("of the time, half of it in 2 of 40 rounds (5, 6)")
    assert "no single worker" in answer(times_s[30:36])


def test_the_table_has_who_saves_anything_once():
    rng = np.random.default_rng(9)
    times_s = rng.uniform(1.0, 1.01, (40, 4))
    times_s[:, 2] *= 2
    rows = savings(describe(measured(times_s)))
    assert [who for who, _, _ in rows] == ["worker 2", "the slowest of each round", "all slower than the median worker"]
    assert all(value.endswith(" %") and interval.startswith("[") for _, value, interval in rows)
    assert savings(describe(measured(np.ones((20, 4))))) == []
    assert {interval for _, _, interval in savings(describe(measured(times_s[:5])))} == {""}


def test_columns_are_the_same_for_every_trace():
    few, lost = row(describe(measured(BY_HAND)), "few"), row(describe(measured([[INF]])), "lost")
    assert list(few) == list(lost)
    assert (few["worst_worker"], lost["worst_worker"], few["worst_host"]) == (2, None, None)
    assert few["saved_worker"] == pytest.approx(0.4)
    assert lost["saved_worker"] is None
    assert {f"saved_slowest_{k}{end}" for k in SLOWEST for end in ("", "_low", "_high")} < set(few)
    hosts = {"hosts": ("a", "b"), "host": np.array([[0, 0, 1], [0, 1, 1]])}
    assert row(describe(measured(BY_HAND, **hosts)), "hosts")["worst_host"] == "b"


def test_hosts_of_a_file_are_read_for_each_round_and_worker(tmp_path):
    table = pd.DataFrame(
        {"round": [0, 0, 0, 1, 1, 1], "worker": [0, 1, 2, 2, 1, 0], "duration_s": 1.0, "host": ["b", "a", "b", *"aab"]}
    )
    for file in (tmp_path / "mine.csv", tmp_path / "mine.parquet"):
        table.to_csv(file, index=False) if file.suffix == ".csv" else table.to_parquet(file)
        trace = read_times(file)
        assert trace.hosts == ("a", "b")
        assert trace.host.tolist() == [[1, 0, 1], [1, 0, 0]]
    table.astype({"host": "category"}).to_parquet(tmp_path / "mine.parquet")
    assert read_times(tmp_path / "mine.parquet").host.tolist() == [[1, 0, 1], [1, 0, 0]]


# ---- thresholds


def said(duration_s, mu=1.0, reference="first"):
    return next((line for line in findings(describe(measured(duration_s), mu, reference)) if "--mu" in line), "")


def test_a_threshold_that_labels_nobody_is_said_with_one_that_separates():
    times_s = np.random.default_rng(1).uniform(1.0, 1.1, (40, 8))
    times_s[:, 3] *= 1.6
    text = said(times_s)
    counts = r"--reference median --mu 0\.\d would count 12.5 % of the times"
    assert re.fullmatch(rf"nobody is twice as slow as the round's first; {counts}", text)
    assert said(times_s, 1.5).startswith("nobody is 2.5 times as slow as the round's first; ")
    found = separation(times_s)
    assert stragglers(times_s, found.mu, "median").sum(axis=0).tolist() == [0, 0, 0, 40, 0, 0, 0, 0]
    assert found.share == 1 / 8
    assert said(times_s, found.mu, "median") == ""
    assert row(describe(measured(times_s)), "mine")["suggested_mu"] == found.mu
    assert row(describe(measured(times_s), found.mu, "median"), "mine")["suggested_mu"] is None


def test_a_threshold_that_labels_most_is_said_with_one_that_separates():
    times_s = np.random.default_rng(2).uniform(1.0, 1.1, (40, 8))
    times_s[:, 0] *= 0.2
    times_s[:, 3] *= 4
    text = said(times_s)
    assert text.startswith("the mu-rule is degenerate: 87.5 % of the times are over 2x the round's first, so")
    assert text.endswith("; --reference median --mu 1 would count 12.5 % of the times")
    assert said(times_s, 1.0, "median") == ""


def test_times_without_a_gap_and_without_stragglers():
    rng = np.random.default_rng(3)
    text = suggestion(rng.lognormal(0, 0.2, (100, 20)))
    assert text.startswith("no mu separates them clearly; --reference median --mu 0.")
    assert separation(rng.lognormal(0, 0.2, (100, 20))).share == pytest.approx(0.05, abs=0.005)
    assert suggestion(rng.uniform(1, 1.02, (10, 4))).startswith("there are no stragglers: the longest time is 1.0")
    assert suggestion(np.full((3, 3), INF)) == suggestion(np.zeros((3, 3))) == "no other mu separates them"
    # three times of a thousand are no kind of their own
    rare = np.where(np.arange(1000).reshape(100, 10) % 333 == 7, 1.5, 1.0)
    assert separation(rare).gap is None
    assert separation(rare[:10]).gap is None
    assert separation(rare[:5]).gap == (1.0, 1.5)
    assert separation(rare) == (0.1, 0.003, None, 1.5)  # what is within 10 % of the median is not slow


@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 9)), elements=TIMES))
@settings(max_examples=200, deadline=None)
def test_a_suggested_mu_labels_the_share_that_is_said(duration_s):
    found = separation(duration_s)
    text = suggestion(duration_s)
    assert "nan" not in text
    median_s = median_worker_s(duration_s)
    usable = (median_s > 0) & np.isfinite(median_s)
    assert (found is None) == (not usable.any())
    if found is None or found.longest > 1e15:
        return
    labels = stragglers(duration_s[usable], found.mu, "median")
    if found.gap is not None:
        assert found.share == pytest.approx(labels.mean())
        assert 0 < found.share <= 0.5
    assert found.mu >= 0


TRACES = Path(__file__).parents[2] / "shared" / "traces"


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"the traces are not part of the project: no {TRACES}")
@pytest.mark.parametrize(
    ("file", "over_mean", "begins", "ends"),
    [
        (
            "llm-training/dp32-transient",
            1.261,
            "22.2 % [20.2, 24.8]",
            "worker 21 0.783 %, the slowest of each round 6.33 %",
        ),
        ("llm-training/dp4-persistent", 1.718, "55.7 % [55.6, 55.9]", "because of worker 0"),
        ("clusters/ec2-cluster6-n15", 2.482, "72.1 % [56.1, 80.3]", "because of worker 8 (ip-10-0-26-107)"),
        ("clusters/a100x4-llama3b-compute", 1.003, "little: 0.471 %", "of the time"),
    ],
)
def test_real_traces_say_what_stragglers_cost(file, over_mean, begins, ends):
    about = describe(read_times(TRACES / f"{file}.parquet"))
    assert about.costs.over_mean.value == pytest.approx(over_mean, abs=5e-4)
    (_, said), *_ = verdict(about)
    assert said.startswith(f"stragglers cost {begins}")
    assert said.endswith(ends)
