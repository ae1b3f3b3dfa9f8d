"""Every straggler model against the contract and against its formula; and how models compose."""

import math

import numpy as np
import pytest
from scipy import stats

import examples
from simulator.engine.speed_changes import SpeedChanges
from simulator.engine.streams import stream
from simulator.engine.worker_times import round_times
from straggler_models import (
    STRAGGLER_MODELS,
    Adversarial,
    Bernoulli,
    CommonShock,
    Constant,
    FailedWorkers,
    FailSlow,
    FailStop,
    GilbertElliott,
    Lognormal,
    MarkovSpeed,
    Pareto,
    PartialSlowdown,
    ProneWorkers,
    SecondsModel,
    ShiftedExponential,
    Speeds,
    Trace,
    Weibull,
    WorkerTimes,
)
from straggler_models.base import StragglerModel
from straggler_models.testing import check_model, draw_rounds


@pytest.mark.parametrize("model", examples.MODELS, ids=repr)
def test_every_model_keeps_the_contract(model):
    check_model(model)


def test_the_examples_cover_the_table():
    assert {type(model) for model in examples.MODELS} | {Trace} == set(STRAGGLER_MODELS.values())


@pytest.mark.parametrize("adds_to", ["startup_s", "seconds_per_load"])
@pytest.mark.parametrize(
    ("model", "distribution"),
    [
        (lambda to: ShiftedExponential(shift=1.0, mean=2.0, adds_to=to), stats.expon(loc=1.0, scale=2.0)),
        (lambda to: Pareto(scale=2.0, shape=3.0, adds_to=to), stats.pareto(b=3.0, scale=2.0)),
        (lambda to: Weibull(scale=2.0, shape=0.7, adds_to=to), stats.weibull_min(c=0.7, scale=2.0)),
        (lambda to: Lognormal(median=2.0, sigma=0.8, adds_to=to), stats.lognorm(s=0.8, scale=2.0)),
    ],
)
def test_draws_follow_the_distribution_and_go_where_they_are_told(model, distribution, adds_to):
    times = draw_rounds(model(adds_to), 50, 200, np.random.default_rng(8))
    drawn, other = (times[0], times[1]) if adds_to == "startup_s" else (times[1], times[0])
    assert stats.kstest(drawn.ravel(), distribution.cdf).pvalue > 0.01
    assert not other.any()


def slow_of(model, n_workers, n_rounds, seed=3):
    return draw_rounds(model, n_workers, n_rounds, np.random.default_rng(seed))[2] > 1


def test_gilbert_elliott_has_the_stationary_share_from_the_first_round_on():
    slow = slow_of(GilbertElliott(p_slow=0.05, p_recover=0.2, slowdown=4.0), 20_000, 30)
    share = 0.05 / 0.25
    error = math.sqrt(share * (1 - share) / 20_000)
    assert abs(slow[0].mean() - share) < 4 * error
    assert abs(slow[-1].mean() - share) < 4 * error


def test_gilbert_elliott_bursts_last_as_long_as_they_take_to_recover():
    slow = slow_of(GilbertElliott(p_slow=0.05, p_recover=0.2, slowdown=4.0), 400, 2000)
    begins = ~slow[:-1] & slow[1:]
    lengths = slow[1:].sum() / begins.sum()
    assert lengths == pytest.approx(1 / 0.2, rel=0.03)
    assert begins.sum() / (~slow[:-1]).sum() == pytest.approx(0.05, rel=0.03)


def test_bernoulli_and_common_shock_have_their_rates():
    assert slow_of(Bernoulli(p=0.3, slowdown=2.0), 500, 200).mean() == pytest.approx(0.3, abs=0.006)
    shocks = slow_of(CommonShock(p=0.2, share=0.4, slowdown=2.0), 500, 3000)
    hit = shocks.any(axis=1)
    assert hit.mean() == pytest.approx(0.2, abs=0.03)
    assert shocks[hit].mean() == pytest.approx(0.4, abs=0.01)


def test_partial_slowdown_hits_the_share_and_is_drawn_when_told():
    for drawn, distinct in [("per_run", 1), ("per_round", 100)]:
        model = PartialSlowdown(share=0.3, slowdown_min=2.0, slowdown_max=4.0, drawn=drawn)
        slowdown = draw_rounds(model, 10, 100, np.random.default_rng(1))[2]
        assert ((slowdown > 1).sum(axis=1) == 3).all()
        assert len(np.unique(slowdown, axis=0)) == distinct
        assert slowdown[slowdown > 1].min() >= 2
        assert slowdown.max() <= 4


def test_failed_workers_fail_so_many_in_every_round():
    for drawn, distinct in [("per_run", 1), ("per_round", 30)]:
        failed = np.isinf(draw_rounds(FailedWorkers(count=3, drawn=drawn), 10, 100, np.random.default_rng(1))[2])
        assert (failed.sum(axis=1) == 3).all()
        assert len(np.unique(failed, axis=0)) >= distinct


def test_fail_stop_has_its_mean_times():
    down = np.isinf(draw_rounds(FailStop(10.0, 4.0), 200, 3000, np.random.default_rng(2))[2])
    assert not down[0].any()
    failures, repairs = (~down[:-1] & down[1:]).sum(), (down[:-1] & ~down[1:]).sum()
    assert (~down[:-1]).sum() / failures == pytest.approx(10.0, rel=0.03)
    assert down[:-1].sum() / repairs == pytest.approx(4.0, rel=0.03)
    never_back = np.isinf(draw_rounds(FailStop(10.0, math.inf), 50, 300, np.random.default_rng(2))[2])
    assert not (never_back[:-1] & ~never_back[1:]).any()


def test_prone_workers_are_the_same_in_all_rounds_and_straggle_by_themselves():
    model = ProneWorkers(share=0.25, p=0.3, slowdown=2.0)
    _, _, slowdown = draw_rounds(model, 40, 2000, np.random.default_rng(3))
    shares = (slowdown == 2.0).mean(axis=0)
    assert np.count_nonzero(shares) == 10
    np.testing.assert_allclose(shares[shares > 0], 0.3, atol=0.05)
    prone = slowdown[:, shares > 0] == 2.0
    assert prone.sum(axis=1).var() == pytest.approx(10 * 0.3 * 0.7, rel=0.1)


@pytest.mark.parametrize("mean_rounds", [None, 1.0, 8.0])
def test_fail_slow_has_the_share_of_its_chain_in_every_round(mean_rounds):
    model, n_workers, n_rounds = FailSlow(p_fail=0.03, slowdown=2.0, mean_rounds=mean_rounds), 20_000, 80
    slow, t = slow_of(model, n_workers, n_rounds), np.arange(n_rounds)
    back = 0.0 if mean_rounds is None else 1 / mean_rounds
    share = 1 - (1 - 0.03) ** (t + 1) if mean_rounds is None else 0.03 / (0.03 + back) * (1 - (0.97 - back) ** (t + 1))
    assert (abs(slow.mean(axis=1) - share) < 4.5 * np.sqrt(share * (1 - share) / n_workers)).all()
    ends = slow[:-1] & ~slow[1:]
    assert ends.sum() / slow[:-1].sum() == pytest.approx(back, rel=0.03)


def test_the_adversary_repeats_its_pattern():
    slow = slow_of(Adversarial(B=2, W=3, lam=1, slowdown=9.0), 2, 9)
    assert slow[:, 0].tolist() == [True, True, False, False] * 2 + [True]
    assert not slow[:, 1].any()


# --- models in seconds ---


def test_markov_speed_has_its_long_run_mean_speed():
    model = MarkovSpeed(states=[*examples.TWO_STATES, {"slowdown": math.inf, "mean_s": 2.0}])
    assert model.mean_speed == pytest.approx((3 + 1 / 5) / 6)
    changes = SpeedChanges({"speed": model}, 40, seed=1, trial=0)
    work_s = np.full((40, 1), 2000.0)
    finishing = changes.finishing_s(0.0, np.zeros(40), work_s)
    assert (work_s / finishing).mean() == pytest.approx(model.mean_speed, rel=0.02)


class Steps(SecondsModel):
    """Worker 0: 2 s at full speed, 3 s at a third, 1 s of standstill, then at half; worker 1 at full speed."""

    def slowdowns(self, n_workers, rng):
        far = 1000.0
        yield Speeds(
            np.array([[2.0, far], [3.0, far], [1.0, far], [far, far]]),
            np.array([[1.0, 1.0], [3.0, 1.0], [math.inf, 1.0], [2.0, 1.0]]),
        )
        while True:
            yield Speeds(np.full((1, 2), far), np.ones((1, 2)))


def test_work_is_integrated_through_changes_of_speed():
    changes = SpeedChanges({"steps": Steps()}, 2, seed=0, trial=0)
    work_s = np.array([[1.0, 2.5, 3.0, 3.5], [1.0, 2.5, math.inf, math.nan]])
    finishing = changes.finishing_s(0.0, np.zeros(2), work_s)
    # 2 s of work by 2 s, 3 s by 5 s, nothing until 6 s, then half speed
    assert finishing[0].tolist() == [1.0, 3.5, 5.0, 7.0]
    assert finishing[1, :3].tolist() == [1.0, 2.5, math.inf]
    assert math.isnan(finishing[1, 3])
    # a round that starts at 4 s: a third of speed for 1 s, standstill for 1 s, then half
    assert changes.finishing_s(4.0, np.zeros(2), np.array([[0.5], [1.0]]))[:, 0] == pytest.approx([2 + 1 / 3, 1.0])
    # the same, begun 1.5 s late, in the standstill
    late = changes.finishing_s(4.0, np.array([1.5, 0.0]), np.array([[0.5], [1.0]]))
    assert late[0, 0] == pytest.approx(3.0)


def test_two_models_in_seconds_multiply():
    one = SpeedChanges({"a": Steps()}, 2, 0, 0)
    both = SpeedChanges({"a": Steps(), "b": Steps()}, 2, 0, 0)
    work_s = np.array([[2.0 + 3 / 9], [4.0]])
    assert both.finishing_s(0.0, np.zeros(2), work_s)[:, 0] == pytest.approx([5.0, 4.0])
    assert one.finishing_s(0.0, np.zeros(2), work_s)[0, 0] == pytest.approx(3.0)


# --- composition and streams ---


def rounds_of(models, n_rounds, seed=7, trial=0, n_workers=4):
    return list(round_times(models, n_workers, seed, trial, n_rounds))


class OneByOne(StragglerModel):
    """Yields single rounds as vectors."""

    def rounds(self, n_workers, rng):
        while True:
            yield WorkerTimes(startup_s=rng.random(n_workers))


def test_startup_and_seconds_per_load_add_and_slowdowns_multiply():
    models = {
        "a": Constant(startup_s=1.0, seconds_per_load=2.0),
        "b": Constant(startup_s=0.5, seconds_per_load=1.0),
        "c": Adversarial(B=1, W=2, lam=1, slowdown=3.0),
        "d": Bernoulli(p=1.0, slowdown=2.0),
    }
    times = rounds_of(models, 2)
    assert times[0].startup_s.tolist() == [1.5] * 4
    assert times[0].seconds_per_load.tolist() == [3.0] * 4
    assert [t.slowdown.tolist() for t in times] == [[6.0, 2.0, 2.0, 2.0], [2.0] * 4]


def test_a_stream_is_keyed_by_its_label_and_by_nothing_else():
    models = {
        "x": ShiftedExponential(shift=0.0, mean=1.0, adds_to="startup_s"),
        "y": Bernoulli(p=0.5, slowdown=2.0),
        "z": OneByOne(),
    }
    alone = rounds_of({"y": models["y"]}, 200)
    together = rounds_of(dict(reversed(models.items())), 200)
    assert all(np.array_equal(a.slowdown, b.slowdown) for a, b in zip(alone, together, strict=True))
    swapped = rounds_of({"x": models["y"]}, 200)
    assert not all(np.array_equal(a.slowdown, b.slowdown) for a, b in zip(alone, swapped, strict=True))
    assert stream(1, 0, "a", "b").random() == stream(1, 0, "a", "b").random()
    others = [stream(2, 0, "a", "b"), stream(1, 1, "a", "b"), stream(1, 0, "b", "b"), stream(1, 0, "a", "a")]
    assert len({generator.random() for generator in [stream(1, 0, "a", "b"), *others]}) == 5


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (WorkerTimes(startup_s=np.array([math.nan] * 4)), "startup_s must be a number, got nan"),
        (WorkerTimes(seconds_per_load=-1.0), "seconds_per_load must be at least 0, got -1.0"),
        (WorkerTimes(slowdown=0.0), "slowdown must be greater than 0, got 0.0"),
    ],
)
def test_worker_times_that_make_no_sense_are_refused_at_once(times, message):
    class Broken(StragglerModel):
        def rounds(self, n_workers, rng):
            while True:
                yield times

    with pytest.raises(ValueError, match=message):
        rounds_of({"broken": Broken()}, 1)


# --- traces ---


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def trace(tmp_path):
    rows = "".join(f"{r},{w},{r * 10 + w + 1}\n" for r in range(3) for w in range(2))
    return write(tmp_path / "trace.csv", f"round,worker,duration_s\n{rows}")


def test_a_trace_is_replayed_with_its_start_up_adjusted_to_load_zero(trace):
    model = Trace(path=trace, wrap="cycle", base_load=0.5, seconds_per_load=1.0)
    startup_s, seconds_per_load, _ = draw_rounds(model, 2, 4, np.random.default_rng(0))
    assert startup_s.tolist() == [[0.5, 1.5], [10.5, 11.5], [20.5, 21.5], [0.5, 1.5]]
    assert (seconds_per_load == 1.0).all()


def test_a_smaller_scenario_uses_the_first_workers(trace):
    assert draw_rounds(Trace(path=trace), 1, 3, np.random.default_rng(0))[0].tolist() == [[1], [11], [21]]


def test_bootstrap_draws_whole_blocks_of_successive_rounds_each_round_equally_often(trace):
    model = Trace(path=trace, mode="bootstrap", block_rounds=2)
    check_model(model, n_workers=2)
    drawn = draw_rounds(model, 2, 6000, np.random.default_rng(0))[0]
    rounds = (drawn[:, 0] // 10).astype(int)
    assert (drawn[:, 1] - drawn[:, 0] == 1).all()
    assert ((rounds[1::2] - rounds[::2]) % 3 == 1).all()
    assert np.bincount(rounds) / 6000 == pytest.approx([1 / 3] * 3, abs=0.03)


def test_components_are_read_as_they_are_and_inf_is_never(tmp_path):
    path = write(tmp_path / "parts.csv", "round,worker,seconds_per_load,slowdown\n0,0,2.5,1\n0,1,inf,3\n")
    model = Trace(path=path, wrap="cycle")
    assert model.may_never_answer
    startup_s, seconds_per_load, slowdown = draw_rounds(model, 2, 1, np.random.default_rng(0))
    assert (startup_s.tolist(), seconds_per_load.tolist()) == ([[0.0, 0.0]], [[2.5, math.inf]])
    assert slowdown.tolist() == [[1.0, 3.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round,worker,duration_s\n0,0,nan\n", "duration_s must be a number, got nan in row 0"),
        ("round,worker,duration_s\n0,0,1\n0,1,-2\n", "duration_s must not be negative, got -2.0 in row 1"),
        ("round,worker,duration_s\n0,0,fast\n", "whose duration_s holds numbers, got fast"),
        ("round,worker,seconds\n0,0,1\n", "got round, worker, seconds"),
        ("round,worker,duration_s,startup_s\n0,0,1,1\n", "either duration_s or startup_s"),
        ("round,worker,duration_s\n0,0,1\n1,1,1\n", "a row for each of 2 rounds and 2 workers, got 2"),
        ("round,worker,duration_s\n0,0,1\n0,0,2\n", "one time for each round and worker.*round 0, worker 0"),
        ("round,worker,duration_s\n-1,0,1\n", "round counts 0, 1, 2, ..., got -1.0"),
        ("round,worker,duration_s\n0,0.5,1\n", "worker counts 0, 1, 2, ..., got 0.5"),
        ("round,worker,duration_s\n", "at least one row"),
        ("round,worker,duration_s,duration_s\n0,0,1,1\n", "columns have different names"),
        ("round,worker,duration_s\n1e300,0,1\n", "round counts 0, 1, 2, ..., got 1e"),
        ("round,worker,duration_s\ninf,0,1\n", "round counts 0, 1, 2, ..., got inf"),
        ("round,worker,duration_s\n0,0,true\n", "whose duration_s holds numbers, got true"),
        ("", "must name a Parquet file or a .csv file"),
        ("round,worker,duration_s\n0,0,1\n0\n", "must name a Parquet file or a .csv file"),
    ],
)
def test_malformed_traces_are_refused_in_one_sentence(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        Trace(path=write(tmp_path / "bad.csv", text)).check(1, 1)
    assert "\n" not in str(error.value)


def test_a_trace_that_is_no_table_or_not_there_is_refused(tmp_path):
    garbage = tmp_path / "bad.parquet"
    garbage.write_bytes(b"PAR1 this is no parquet")
    for path in (garbage, tmp_path / "nowhere.parquet", tmp_path):
        with pytest.raises(ValueError, match="path must name a"):
            Trace(path=str(path)).check(1, 1)


def test_a_trace_too_small_is_refused(trace):
    with pytest.raises(ValueError, match=r"at least 3 workers, got 2"):
        Trace(path=trace).check(3, 1)
    with pytest.raises(ValueError, match=r"at least 4 rounds \(or give wrap: cycle\), got 3"):
        Trace(path=trace).check(2, 4)
    Trace(path=trace, wrap="cycle").check(2, 400)


def test_load_adjustment_belongs_to_measured_durations(tmp_path):
    path = write(tmp_path / "parts.csv", "round,worker,startup_s\n0,0,1\n")
    with pytest.raises(ValueError, match="seconds_per_load must be left out for a file without duration_s"):
        Trace(path=path, seconds_per_load=1.0).check(1, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trace(path="x", mode="bootstrap"), "block_rounds must be given"),
        (lambda: Trace(path="x", block_rounds=3), "block_rounds must be left out"),
        (lambda: Adversarial(B=3, W=2, lam=1, slowdown=2.0), "B must be between 1 and W = 2, got 3"),
        (lambda: PartialSlowdown(share=0.5, slowdown_min=3.0, slowdown_max=2.0, drawn="per_run"), "at least"),
        (lambda: MarkovSpeed(states=[{"slowdown": math.inf, "mean_s": 1.0}]), "finite slowdown"),
        (lambda: MarkovSpeed(states=[]), "at least 1 item"),
        (lambda: Bernoulli(p=1.5, slowdown=2.0), "less than or equal to 1"),
        (lambda: Constant(startup_s=math.nan), "finite number"),
        (lambda: Bernoulli(p=math.nan, slowdown=2.0), "p"),
        (lambda: Bernoulli(p=0.5, slowdown=math.nan), "slowdown"),
        (lambda: FailSlow(p_fail=1.5, slowdown=2.0), "less than or equal to 1"),
        (lambda: FailSlow(p_fail=0.5, slowdown=2.0, mean_rounds=0.5), "greater than or equal to 1"),
        (lambda: FailSlow(p_fail=0.5, slowdown=2.0, mean_rounds=math.inf), "finite number"),
        (lambda: FailedWorkers(count=5, drawn="per_run").check(4, 1), "count must be between 0 and 4, got 5"),
        (lambda: Adversarial(B=1, W=2, lam=5, slowdown=2.0).check(4, 1), "lam must be between 0 and 4, got 5"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
