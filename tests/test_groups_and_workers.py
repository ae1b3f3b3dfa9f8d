"""Workers that share a state, workers that differ, and times that are not linear in load."""

import dataclasses
import math
from collections import Counter

import jsonschema
import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy import stats

import stragglersim
from schemes import GradientCoding, Ideal, Uncoded
from simulator.engine.drawn_once import settled
from simulator.engine.worker_times import round_times
from simulator.execution.side_by_side import why_not
from simulator.scenario.heavy_tails import heavy_tails
from simulator.scenario.json_schema import scenario_schema
from straggler_models import (
    Adversarial,
    Bernoulli,
    CommonShock,
    Constant,
    FailedWorkers,
    FailSlow,
    FailStop,
    Gamma,
    GilbertElliott,
    Groups,
    Lognormal,
    MarkovSpeed,
    Pareto,
    PartialSlowdown,
    PerWorker,
    ProneWorkers,
    ShiftedExponential,
    StragglerModel,
    Trace,
    Weibull,
    WorkerTimes,
)
from straggler_models.distributions import DISTRIBUTIONS, distribution_of
from straggler_models.testing import draw_rounds
from stragglersim import Scenario, ScenarioError, SimulationError

EXPONENTIAL = ShiftedExponential(shift=0.0, mean=1.0, adds_to="startup_s")
BURSTS = GilbertElliott(p_slow=0.1, p_recover=0.4, slowdown=4.0)
UNIFORM = {"distribution": "uniform", "low": 1.0, "high": 5.0}


def drawn(model, n_workers, n_rounds=100, seed=1):
    return draw_rounds(model, n_workers, n_rounds, np.random.default_rng(seed))


def scenario(stragglers, schemes=None, workers=12, **given):
    return Scenario(workers=workers, stragglers=stragglers, schemes=schemes or {"it": Uncoded(workers)}, **given)


# --- groups ---


def test_members_share_what_is_drawn_for_as_many_workers_as_there_are_groups():
    startup_s, _, _ = drawn(Groups(EXPONENTIAL, size=3), 7)
    expected, _, _ = drawn(EXPONENTIAL, 3)
    assert np.array_equal(startup_s, expected[:, [0, 0, 0, 1, 1, 1, 2]])
    given, _, _ = drawn(Groups(EXPONENTIAL, members=[[5, 0], [2], [1, 6]]), 7)
    assert np.array_equal(given[:, [0, 1, 2, 5, 6]], expected[:, [0, 2, 1, 0, 2]])


@pytest.mark.parametrize(
    "model", [Constant(startup_s=1.0, seconds_per_load=2.0), BURSTS, Bernoulli(p=1.0, slowdown=math.inf)]
)
def test_workers_in_no_group_are_left_as_they_are(model):
    found = drawn(Groups(model, members=[[3, 1], [0]]), 5)
    for part, neutral, of_groups in zip(found, (0.0, 0.0, 1.0), drawn(model, 2), strict=True):
        assert (part[:, [2, 4]] == neutral).all()
        assert np.array_equal(part[:, [3, 1, 0]], of_groups[:, [0, 0, 1]])


def test_groups_may_change_their_speed_in_seconds_and_leave_others_as_they_are():
    model = MarkovSpeed(states=[{"slowdown": 2.0, "mean_s": 3.0}, {"slowdown": 5.0, "mean_s": 1.0}])
    of_groups = next(model.slowdowns(2, np.random.default_rng(1)))
    found = next(Groups(model, members=[[3, 1], [0]]).slowdowns(4, np.random.default_rng(1)))
    assert np.array_equal(found.slowdown[:, [3, 1, 0]], of_groups.slowdown[:, [0, 0, 1]])
    assert np.array_equal(found.duration_s[:, [3, 1, 0]], of_groups.duration_s[:, [0, 0, 1]])
    assert (found.slowdown[:, 2] == 1).all()
    runs = stragglersim.run(scenario({"usual": Constant(1.0), "racks": Groups(model, size=6)}, jobs=3)).runs
    assert (runs["makespan_s"] > 3 * 2 - 1e-9).all()


def test_shuffled_members_are_drawn_uniformly_and_once_for_all_trials():
    racks = {"racks": Groups(EXPONENTIAL, size=3, shuffled=True)}
    members = [settled(racks, 6, seed)["racks"].members for seed in range(3000)]
    together = Counter(map(str, members))
    assert all(sorted(np.ravel(groups)) == list(range(6)) for groups in members)
    assert len(together) == math.comb(6, 3)
    assert stats.chisquare(list(together.values())).pvalue > 0.001
    for trial in (0, 5):
        times = [times.startup_s for times in round_times(racks, 6, 7, trial, 20)]
        for group in members[7]:
            assert all(len(set(row[group])) == 1 for row in times)


def test_a_seed_of_its_own_draws_the_same_groups_under_any_label_and_seed_of_the_scenario():
    mine = Groups(EXPONENTIAL, size=4, shuffled=True, seed=5)
    groups = [
        settled(models, 12, seed)[label].members
        for seed in (0, 1)
        for label, models in [("a", {"a": mine}), ("b", {"b": dataclasses.replace(mine, model=BURSTS)})]
    ]
    assert all(found == groups[0] for found in groups)
    assert groups[0] != settled({"a": dataclasses.replace(mine, seed=6)}, 12, 0)["a"].members


def test_what_is_drawn_once_depends_on_seed_and_label_and_not_on_other_models():
    racks = Groups(EXPONENTIAL, size=4, shuffled=True)
    alone = settled({"racks": racks}, 12, 3)["racks"]
    assert alone == settled({"other": racks, "racks": racks}, 12, 3)["racks"]
    assert alone != settled({"other": racks, "racks": racks}, 12, 3)["other"]
    assert alone != settled({"racks": racks}, 12, 4)["racks"]


@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_the_slowest_of_groups_has_the_exact_distribution(engine):
    """Uncoded, n = 12: single workers, four groups of 3, and groups (4 times) of single workers (twice) together."""
    trials = 400 if engine == "events" else 5_000
    single = GilbertElliott(p_slow=0.02, p_recover=0.38, slowdown=2.0)
    rack = GilbertElliott(p_slow=0.04, p_recover=0.36, slowdown=4.0)
    of_worker, of_rack = 0.05, 0.1
    usual = {"usual": Constant(startup_s=1.0)}
    at_most = {  # of the makespan of one round
        "single": {1.0: (1 - of_rack) ** 12},
        "racks": {1.0: (1 - of_rack) ** 4},
        "both": {
            1.0: ((1 - of_rack) * (1 - of_worker) ** 3) ** 4,
            2.0: (1 - of_rack) ** 4,
            4.0: (1 - of_rack + of_rack * (1 - of_worker) ** 3) ** 4,
        },
    }
    models = {
        "single": {"bursts": rack},
        "racks": {"bursts": Groups(rack, size=3)},
        "both": {"bursts": Groups(rack, size=3), "own": single},
    }
    for name, exact in at_most.items():
        runs = stragglersim.run(scenario(usual | models[name], jobs=1, trials=trials), engine=engine).runs
        for limit_s, share in exact.items():
            assert abs((runs["makespan_s"] <= limit_s).mean() - share) < 4 * math.sqrt(share * (1 - share) / trials)


# --- per worker ---

OF_EACH = [  # with two workers' own parameters
    (Adversarial, {"B": [1, 2, 1], "W": 3, "lam": [2, 1, 3], "slowdown": [2.0, 3.0, 4.0]}),
    (Bernoulli, {"p": [0.2, 0.5, 0.9], "slowdown": [2.0, 3.0, math.inf]}),
    (CommonShock, {"p": [0.2, 0.4, 0.6], "share": [0.5, 0.6, 0.7], "slowdown": [2.0, 3.0, 4.0]}),
    (Constant, {"startup_s": [1.0, 2.0, 3.0]}),
    (FailSlow, {"p_fail": [0.1, 0.2, 0.3], "slowdown": [2.0, 3.0, 4.0], "mean_rounds": [2.0, 5.0, 8.0]}),
    (FailStop, {"mean_rounds_to_failure": [4.0, 5.0, 6.0], "mean_rounds_to_repair": [2.0, math.inf, 4.0]}),
    (FailedWorkers, {"count": [0, 2, 3], "drawn": "per_round"}),
    (GilbertElliott, {"p_slow": [0.0, 0.2, 0.3], "p_recover": [0.0, 0.5, 0.6], "slowdown": [2.0, 3.0, 4.0]}),
    (Lognormal, {"median": [1.0, 2.0, 3.0], "sigma": [0.5, 0.6, 0.7], "adds_to": "startup_s"}),
    (Pareto, {"scale": [1.0, 2.0, 3.0], "shape": [2.0, 3.0, 4.0], "adds_to": "seconds_per_load"}),
    (
        PartialSlowdown,
        {"share": [0.3, 0.6, 1.0], "slowdown_min": [2.0, 3.0, 4.0], "slowdown_max": 5.0, "drawn": "per_run"},
    ),
    (ProneWorkers, {"share": [0.3, 0.6, 1.0], "p": [0.2, 0.3, 0.4], "slowdown": [2.0, 3.0, 4.0]}),
    (ShiftedExponential, {"shift": [0.0, 1.0, 2.0], "mean": [1.0, 2.0, 3.0], "adds_to": "startup_s"}),
    (Weibull, {"scale": [1.0, 2.0, 3.0], "shape": [0.5, 0.6, 0.7], "adds_to": "startup_s"}),
]


class OwnLists(StragglerModel):
    """From outside, with a constructor that is no dataclass's: blocks of any length."""

    def __init__(self, mean_s):
        if mean_s < 0:
            raise ValueError(f"mean_s must be at least 0, got {mean_s}")
        self.mean_s = mean_s

    def rounds(self, n_workers, rng):
        for n_rounds in (1, 5, 90, 70):
            yield WorkerTimes(startup_s=self.mean_s * rng.random((n_rounds, n_workers)))


@pytest.mark.parametrize(("cls", "given"), [*OF_EACH, (OwnLists, {"mean_s": [1.0, 2.0, 3.0]})])
def test_a_worker_has_the_times_that_it_would_have_if_all_had_its_parameters(cls, given):
    found = drawn(PerWorker(cls.each(**given)), 3, 150)
    for worker in range(3):
        own = {name: value[worker] if isinstance(value, list) else value for name, value in given.items()}
        for part, expected in zip(found, drawn(cls(**own), 3, 150), strict=True):
            assert np.array_equal(part[:, worker], expected[:, worker])


def test_each_worker_replays_its_own_column_of_a_trace(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text(
        "round,worker,duration_s\n" + "".join(f"{r},{w},{r + 10 * w + 9}\n" for r in range(3) for w in (0, 1))
    )
    model = PerWorker(Trace.each(path=str(path), base_load=[0.5, 1.0], seconds_per_load=2.0))
    assert model.gives_same_times
    assert drawn(model, 2, 3)[0].tolist() == [[8.0, 17.0], [9.0, 18.0], [10.0, 19.0]]
    with pytest.raises(ValueError, match="at least 4 rounds"):
        model.check(2, 4)


def test_each_worker_has_its_own_mean():
    means = [0.2, 0.5, 1.0, 3.0]
    startup_s = drawn(PerWorker(ShiftedExponential.each(shift=1.0, mean=means, adds_to="startup_s")), 4, 20_000)[0]
    assert (abs(startup_s.mean(axis=0) - 1 - means) < 4 * np.array(means) / math.sqrt(20_000)).all()
    p_slow = [0.01, 0.05, 0.1, 0.4]
    slow = drawn(PerWorker(GilbertElliott.each(p_slow=p_slow, p_recover=0.4, slowdown=4.0)), 4, 40_000)[2] > 1
    share = np.array(p_slow) / (np.array(p_slow) + 0.4)
    mixing = (1 + (0.6 - np.array(p_slow))) / (1 - (0.6 - np.array(p_slow)))  # variance of a mean of a chain
    assert (abs(slow.mean(axis=0) - share) < 4 * np.sqrt(share * (1 - share) * mixing / 40_000)).all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"distribution": "uniform", "low": 1.0, "high": 3.0}, stats.uniform(1.0, 2.0)),
        ({"distribution": "exponential", "mean": 2.0}, stats.expon(scale=2.0)),
        ({"distribution": "lognormal", "median": 2.0, "sigma": 0.5}, stats.lognorm(s=0.5, scale=2.0)),
        ({"distribution": "gamma", "mean": 2.0, "variance": 3.0}, stats.gamma(a=4 / 3, scale=1.5)),
    ],
)
def test_parameters_are_drawn_once_for_each_worker_from_their_distribution(given, expected):
    models = {"own": PerWorker(Constant.each(startup_s=given))}
    trials = [next(round_times(models, 5000, 3, trial, 1)).startup_s for trial in (0, 1)]
    assert np.array_equal(*trials)
    assert stats.kstest(trials[0], expected.cdf).pvalue > 0.01
    assert not np.array_equal(trials[0], next(round_times(models, 5000, 4, 0, 1)).startup_s)


def test_choice_draws_its_values_in_their_shares():
    models = {
        "own": PerWorker(Adversarial.each(B=1, W=1, lam={"distribution": "choice", "values": [0, 5]}, slowdown=2.0))
    }
    assert set(settled(models, 9, 1)["own"].model.lam) == {0, 5}
    skewed = distribution_of({"distribution": "choice", "values": [1.0, 2.0, 3.0], "shares": [1, 0, 3]})
    values, counts = np.unique(skewed.draw(4000, np.random.default_rng(1)), return_counts=True)
    assert values.tolist() == [1.0, 3.0]
    assert counts[1] / 4000 == pytest.approx(0.75, abs=0.03)
    assert set(DISTRIBUTIONS) == {"uniform", "exponential", "lognormal", "gamma", "choice"}


def test_a_parameter_is_drawn_whatever_the_others_are():
    one = settled({"own": PerWorker(GilbertElliott.each(p_slow=0.1, p_recover=0.4, slowdown=UNIFORM))}, 9, 1)
    other = {"distribution": "gamma", "mean": 0.1, "variance": 0.0001}
    two = settled({"own": PerWorker(GilbertElliott.each(p_slow=other, p_recover=0.4, slowdown=UNIFORM))}, 9, 1)
    assert one["own"].model.slowdown == two["own"].model.slowdown


def test_parameters_of_groups_are_each_groups_own():
    racks = Groups(PerWorker(Constant.each(startup_s=[1.0, 2.0])), size=2)
    assert drawn(racks, 4, 1)[0].tolist() == [[1.0, 1.0, 2.0, 2.0]]
    both = Groups(PerWorker(Constant.each(startup_s=UNIFORM)), size=2, shuffled=True)
    times = next(round_times({"racks": both}, 8, 1, 0, 1)).startup_s
    assert sorted(Counter(times.tolist()).values()) == [2, 2, 2, 2]


def test_who_may_never_answer_and_heavy_tails_are_those_of_single_workers():
    assert PerWorker(Bernoulli.each(p=[0.0, 0.1], slowdown=[2.0, math.inf])).may_never_answer
    assert not PerWorker(Bernoulli.each(p=[0.1, 0.0], slowdown=[2.0, math.inf])).may_never_answer
    pareto = PerWorker(Pareto.each(scale=1.0, shape=[5.0] * 11 + [0.9], adds_to="startup_s"))
    assert pareto.tail_index == 0.9
    assert "an infinite mean" in heavy_tails(scenario({"own": pareto}, jobs=2))[0]
    light = {"distribution": "uniform", "low": 1.5, "high": 1.9}
    own = PerWorker(Pareto.each(scale=1.0, shape=light, adds_to="startup_s"))
    assert "an infinite variance" in heavy_tails(scenario({"own": Groups(own, size=2)}, jobs=2))[0]


# --- gamma ---


def test_a_list_has_mean_and_variance_in_proportion_to_its_load_and_is_linear_within():
    models = {"work": Gamma(mean=2.0, variance=0.7, adds_to="seconds_per_load"), "send": Constant(startup_s=0.5)}
    times = list(round_times(models, 50, 1, 0, 200))
    found = {}
    for load in (0.1, 1.0):
        loads = np.tile([load / 2, load, math.nan], (50, 1))
        found[load] = np.array([one.work_s(loads)[:, :2] for one in times]) - 0.5
        np.testing.assert_allclose(found[load][:, :, 0], found[load][:, :, 1] / 2)
        whole_s = found[load][:, :, 1].ravel()
        exact = stats.gamma(a=2.0**2 * load / 0.7, scale=0.7 / 2.0)
        assert abs(whole_s.mean() - 2.0 * load) < 4 * math.sqrt(0.7 * load / 10_000)
        fourth = exact.stats("k") + 2  # (mu4 - var^2)/var^2
        assert abs(whole_s.var() / (0.7 * load) - 1) < 4 * math.sqrt(float(fourth) / 10_000)
        assert stats.kstest(whole_s, exact.cdf).pvalue > 0.01
    assert (found[0.1] < found[1.0]).all()  # the same quantile


def test_gamma_start_up_has_its_mean_and_variance():
    startup_s, seconds_per_load, _ = drawn(Gamma(mean=2.0, variance=0.7, adds_to="startup_s"), 50, 200)
    assert stats.kstest(startup_s.ravel(), stats.gamma(a=4 / 0.7, scale=0.35).cdf).pvalue > 0.01
    assert not seconds_per_load.any()


def test_gamma_through_groups_and_workers_of_their_own():
    gamma = Gamma(mean=2.0, variance=0.7, adds_to="seconds_per_load")
    loads = np.array([0.1, 0.2, 0.1, 0.1])
    seconds = next(Groups(gamma, members=[[2, 0], [1]]).lists(4, np.random.default_rng(1)))(loads, np.arange(4))
    expected = next(gamma.lists(2, np.random.default_rng(1)))(loads[[0, 1, 0]], np.array([0, 1, 0]))
    assert seconds.tolist() == [*expected, 0.0]
    own = PerWorker(Gamma.each(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 0.5, 2.0, 9.0], adds_to="seconds_per_load"))
    assert own.lives_in == "loads"
    lists = own.lists(4, np.random.default_rng(1))
    many = np.array([next(lists)(loads, np.arange(4)) for _ in range(20_000)])
    for worker, (mean, variance) in enumerate(zip(own.model.mean, own.model.variance, strict=True)):
        assert abs(many[:, worker].mean() - mean * loads[worker]) < 4 * math.sqrt(variance * loads[worker] / 20_000)
        assert many[:, worker].var() == pytest.approx(variance * loads[worker], rel=0.15)


def test_a_run_with_gamma_is_replayed_from_its_workers_and_needs_events(tmp_path):
    models = {"work": Gamma(mean=2.0, variance=0.7, adds_to="seconds_per_load"), "bursts": BURSTS}
    first = scenario(models, {"GC": GradientCoding(6, s=2)}, workers=6, jobs=20)
    assert "not linear in the load" in why_not(first, "GC")
    results = stragglersim.run(first, detail="workers")
    results.workers.to_parquet(tmp_path / "workers.parquet")
    replayed = dataclasses.replace(first, stragglers={"it": Trace(path=str(tmp_path / "workers.parquet"))})
    assert stragglersim.run(replayed).runs["makespan_s"].tolist() == pytest.approx(results.runs["makespan_s"].tolist())
    with pytest.raises(ScenarioError, match=r"ideal needs straggler models that live in rounds, got stragglers.work"):
        scenario(models, {"ideal": Ideal(6)}, workers=6, jobs=2)


# --- further work in a round ---


@pytest.mark.parametrize(
    "wrap", [lambda model: Groups(model, size=3), lambda model: Groups(model, size=2, shuffled=True)]
)
@pytest.mark.parametrize(("model", "is_noise"), [(EXPONENTIAL, True), (BURSTS, False)])
def test_further_work_draws_noise_anew_through_groups_and_keeps_states(wrap, model, is_noise):
    models = {"it": wrap(model)}
    assert models["it"].is_noise is is_noise
    first, again = (
        np.array([[*t.startup_s, *t.slowdown] for t in round_times(models, 6, 1, 0, 50, k)]) for k in (0, 2)
    )
    assert np.array_equal(first, again) is not is_noise


def test_further_work_draws_noise_anew_with_the_same_parameters_of_each_worker():
    models = {"it": PerWorker(Gamma.each(mean=UNIFORM, variance=1e-12, adds_to="seconds_per_load"))}
    first, again = (next(round_times(models, 6, 1, 0, 1, k)).work_s(np.full((6, 1), 1.0)) for k in (0, 1))
    np.testing.assert_allclose(first, again, atol=1e-4)
    assert not np.array_equal(first, again)
    states = {"it": PerWorker(GilbertElliott.each(p_slow=[0.1] * 6, p_recover=0.4, slowdown=4.0))}
    first, again = (np.array([one.slowdown for one in round_times(states, 6, 1, 0, 50, k)]) for k in (0, 1))
    assert np.array_equal(first, again)


# --- in scenarios ---

NESTED = """name: nested
workers: 6
jobs: 4
trials: 2
stragglers:
  usual: {kind: constant, startup_s: 0.2, seconds_per_load: 1.0}
  racks:
    {kind: groups, size: 3, shuffled: true, seed: 3,
     model: {kind: gilbert_elliott, p_slow: 0.1, p_recover: 0.5, slowdown: 8}}
  hosts:
    {kind: groups, members: [[0, 1], [4, 3]], model: {kind: per_worker, model: {kind: constant, startup_s: [1, 2.5]}}}
  own:
    kind: per_worker
    model:
      kind: gilbert_elliott
      p_slow: {distribution: uniform, low: 0.01, high: 0.1}
      p_recover: 0.5
      slowdown: [2, 3, 4, 5, 6, 7]
schemes: {uncoded: {kind: uncoded}}
sweep:
  stragglers.racks.model.p_slow: [0.1, 0.2]
  stragglers.own.model.p_slow.high: [0.1, 0.5]
  stragglers.own.model.slowdown.0: [2, 9.0]
  stragglers.hosts.members.0.1: [1, 5]
"""


def test_nested_parameters_are_swept_written_and_described_by_the_schema(tmp_path):
    (tmp_path / "nested.yaml").write_text(NESTED, encoding="utf-8")
    loaded = stragglersim.load(tmp_path / "nested.yaml", overrides=["stragglers.racks.model.slowdown=3.0"])
    assert len(loaded.points) == 16
    last = loaded.points[-1][1].stragglers
    assert last["racks"].model == GilbertElliott(p_slow=0.2, p_recover=0.5, slowdown=3.0)
    assert (last["own"].model.p_slow["high"], last["own"].model.slowdown[0], last["hosts"].members[0]) == (
        0.5,
        9.0,
        [0, 5],
    )
    (tmp_path / "again.yaml").write_text(loaded.to_yaml(), encoding="utf-8")
    assert stragglersim.load(tmp_path / "again.yaml") == loaded
    assert stragglersim.run(loaded).runs["point"].nunique() == 16
    schema = scenario_schema()
    for name in ("nested", "again"):
        jsonschema.validate(YAML(typ="safe").load(tmp_path / f"{name}.yaml"), schema)
    for right, wrong in (("p_slow: 0.1,", "p_slow: 1.1,"), ("high: 0.1", "hih: 0.1"), ("[2, 3,", "[two, 3,")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(YAML(typ="safe").load(NESTED.replace(right, wrong)), schema)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "{kind: groups, size: 3, model: {kind: gilbert, p_slow: 0.1}}",
            "5:38: stragglers.x.model.kind: 'gilbert' is not",
        ),
        (
            "{kind: groups, size: 3, model: {kind: bernoulli, p: 1.1, slowdown: 2}}",
            "5:55: stragglers.x.model.p: must be between 0 and 1, got 1.1",
        ),
        (
            "{kind: groups, model: {kind: constant}}",
            "5:3: stragglers.x.size: must be given, or members in its place, got none",
        ),
        (
            "{kind: groups, size: 2, members: [[0]], model: {kind: constant}}",
            "5:21: .*or members in its place, got both",
        ),
        (
            "{kind: groups, members: [[0, 7]], model: {kind: constant}}",
            "5:35: stragglers.x.members.0.1: must be a worker between 0 and 3, got 7",
        ),
        (
            "{kind: groups, members: [[0, 1], [2, 1]], model: {kind: constant}}",
            "5:43: stragglers.x.members.1.1: must be a worker of one group only, got 1 again",
        ),
        (
            "{kind: groups, members: [[0, 1]], shuffled: true, model: {kind: constant}}",
            "5:40: stragglers.x.shuffled: must be left out where members are given, got true",
        ),
        (
            "{kind: groups, size: 2, model: {kind: failed_workers, count: 3, drawn: per_run}}",
            "5:60: stragglers.x.model.count: must be between 0 and 2, got 3",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: [0.1, 0.2, 1.3, 0.1], slowdown: 2}}",
            r"5:64: stragglers.x.model.p.2: must be less than or equal to 1, got 1.3 \(worker 2\)",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: [0.1, 0.2, 0.1], slowdown: 2}}",
            "5:50: stragglers.x.model.p: must have 4 entries, one for each worker, got 3",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: [0.1, 0.2, 0.1, fast], slowdown: 2}}",
            r"5:69: stragglers.x.model.p.3: must be a number, got 'fast' \(worker 3\)",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: [0.1, 0.2, 0.1, 0.1], slowdown: -2}}",
            "5:75: stragglers.x.model.slowdown: must be greater than 0, got -2$",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: [0.1, 0.2, 0.1, 0.1]}}",
            "5:25: stragglers.x.model.slowdown: must be given, got nothing",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, q: 1, p: 0.1, slowdown: 2}}",
            r"5:50: stragglers.x.model.q: is not a key here \(known: p, slowdown\)",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: {distribution: uniform, low: 0.9, high: 9}, slowdown: 2}}",
            r"5:50: stragglers.x.model.p.0: must be less than or equal to 1, got .* \(worker 0\)",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: {distribution: uniform, low: 9, high: 1}, slowdown: 2}}",
            "5:85: stragglers.x.model.p.high: must be at least low = 9.0, got 1.0",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: {distribution: normal, mean: 1}, slowdown: 2}}",
            "5:54: stragglers.x.model.p.distribution: must be one of choice, .*, got 'normal'",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: {distribution: exponential, mean: 1, a: 1}, slowdown: 2}}",
            "5:90: stragglers.x.model.p.a: must be left out, because there is no such parameter, got 1",
        ),
        (
            "{kind: per_worker, model: {kind: partial_slowdown, share: 1, slowdown_min: 3, slowdown_max: [4, 4, 2, 4], "
            "drawn: per_run}}",
            r"5:105: stragglers.x.model.slowdown_max.2: must be finite and at least .* = 3.0, got 2.0 \(worker 2\)",
        ),
        (
            "{kind: per_worker, model: {kind: adversarial, B: 1, W: 3, lam: [1, 9, 1, 1], slowdown: 3}}",
            r"5:73: stragglers.x.model.lam.1: must be between 0 and 4, got 9 \(worker 1\)",
        ),
        (
            "{kind: per_worker, model: {kind: groups, size: 2, model: {kind: constant}}}",
            "5:25: stragglers.x.model: must live in rounds and hold no other model, got Groups",
        ),
        (
            "{kind: groups, size: 2, model: {kind: per_worker, model: {kind: constant, startup_s: [1, -2]}}}",
            r"5:95: stragglers.x.model.model.startup_s.1: must be greater than or equal to 0, got -2.* \(worker 1\)",
        ),
        (
            "{kind: per_worker, model: {kind: bernoulli, p: 0.5, slowdown: [2, 2, 2, .inf]}}",
            "1:1: master.timeout_s: must be given, because workers of stragglers.x may never answer",
        ),
        (
            "{kind: gamma, mean: 1, variance: 1.0e-320, adds_to: startup_s}",
            "5:29: stragglers.x.variance: must leave mean.2/variance above 0 and finite",
        ),
    ],
)
def test_what_is_wrong_inside_is_told_at_its_line_and_column(tmp_path, model, said):
    path = tmp_path / "it.yaml"
    path.write_text(f"workers: 4\njobs: 2\n\nstragglers:\n  x: {model}\nschemes: {{uncoded: {{kind: uncoded}}}}\n")
    with pytest.raises(ScenarioError, match=f"it.yaml:{said}") as error:
        stragglersim.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "{kind: gilbert_elliott, p_slow: [0.1, x, 2, .2], slowdown: {distribution: uniform, low: x, hih: 1}}",
            [
                "stragglers.x.model.p_recover: must be given, got nothing",
                "5:70: stragglers.x.model.p_slow.1: must be a number, got 'x' (worker 1)",
                "stragglers.x.model.slowdown.low: must be a valid number, got 'x'",
                "stragglers.x.model.slowdown.hih: must be left out, because there is no such parameter, got 1",
                "stragglers.x.model.slowdown.high: must be given, got nothing",
                "stragglers.x.model.p_slow.2: must be less than or equal to 1, got 2 (worker 2)",
            ],
        ),
        (
            "{kind: gilbert_elliott, p_slow: [3, 0.1, 3], p_recover: -1, slowdown: [2, 0, 1, -2, 1]}",
            [
                "stragglers.x.model.p_slow: must have 4 entries, one for each worker, got 3",
                "stragglers.x.model.slowdown: must have 4 entries, one for each worker, got 5",
                "stragglers.x.model.p_recover: must be greater than or equal to 0, got -1",
                "stragglers.x.model.p_slow.0: must be less than or equal to 1, got 3 (worker 0)",
                "stragglers.x.model.p_slow.2: must be less than or equal to 1, got 3 (worker 2)",
                "stragglers.x.model.slowdown.1: must be greater than 0, got 0 (worker 1)",
                "stragglers.x.model.slowdown.3: must be greater than 0, got -2 (worker 3)",
            ],
        ),
        (
            "{kind: bernoulli, p: {distribution: uniform, low: 2, high: 3}, slowdown: [1, -1, 1, -1]}",
            [
                "stragglers.x.model.p.0: must be less than or equal to 1, got 2.",  # the first of what was drawn
                "stragglers.x.model.slowdown.1: must be greater than 0, got -1 (worker 1)",
                "stragglers.x.model.slowdown.3: must be greater than 0, got -1 (worker 3)",
            ],
        ),
        (
            "{kind: partial_slowdown, share: 1, slowdown_min: 3, slowdown_max: [4, 2, 4, 1], drawn: per_run}",
            [
                "stragglers.x.model.slowdown_max.1: must be finite and at least slowdown_min = 3.0, got 2.0 (worker 1)",
                "stragglers.x.model.slowdown_max.3: must be finite and at least slowdown_min = 3.0, got 1.0 (worker 3)",
            ],
        ),
    ],
)
def test_all_that_is_wrong_is_told_in_a_line_each(tmp_path, model, said):
    path = tmp_path / "it.yaml"
    model = f"{{kind: per_worker, model: {model}}}"
    path.write_text(f"workers: 4\njobs: 2\n\nstragglers:\n  x: {model}\nschemes: {{uncoded: {{kind: uncoded}}}}\n")
    with pytest.raises(ScenarioError) as error:
        stragglersim.load(path)
    assert len(error.value.lines) == len(said), error.value
    for line in said:
        assert any(line in found for found in error.value.lines), (line, error.value)


def test_python_is_told_the_same():
    with pytest.raises(ScenarioError, match=r"stragglers.it.model.p.1: must be less than or equal to 1, got 2.0"):
        scenario({"it": PerWorker(Bernoulli.each(p=np.array([0.1, 2.0]), slowdown=2.0))}, workers=2, jobs=1)
    with pytest.raises(ScenarioError, match=r"stragglers.it.model.mean_s.1: must be at least 0, got -2.0 \(worker 1\)"):
        scenario({"it": PerWorker(OwnLists.each(mean_s=[0.1, -2.0]))}, workers=2, jobs=1)
    with pytest.raises(TypeError, match=r"q is not a parameter of Bernoulli \(known: p, slowdown\)"):
        Bernoulli.each(q=0.1)
    with pytest.raises(ValueError, match="slowdown must be given, got nothing"):
        PerWorker(Bernoulli.each(p=0.1))


class Breaks(StragglerModel):
    def rounds(self, n_workers, rng):
        raise KeyError("mine")


def test_a_model_from_outside_that_breaks_inside_another_is_told():
    with pytest.raises(SimulationError, match=r"KeyError: 'mine' \(test_groups_and_workers.py"):
        stragglersim.run(scenario({"it": Groups(Breaks(), size=2)}, jobs=1))
