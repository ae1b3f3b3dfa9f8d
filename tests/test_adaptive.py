"""Choice on line: what is replayed, what may be known, and what it is worth."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import Adaptive, FractionalRepetition, GradientCoding, PartialGradientCoding, Uncoded
from schemes.assignment import Cyclic
from schemes.base import seen
from schemes.base.seen import Seen
from schemes.base.under_rule import closed_round
from schemes.base.work import Heard, Work
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import RoundTimes
from simulator.errors import ScenarioError
from simulator.results.compare import compare
from stragglersim import Scenario

RULES = [
    FirstEnough(),
    FirstEnough(poll_s=0.7),
    MuRule(mu=0.5, wait_for="all"),
    MuRule(mu=0.4, reference="median", wait_for="enough", timeout_s=4.0),
    MuRule(mu=0.4, wait_for="nobody"),
    FixedTime(time_s=1.5, wait_for="enough"),
    FixedTime(time_s=1.2, wait_for="all", poll_s=0.5),
    FixedTime(time_s=1.7, timeout_s=1.6),
]
SCHEMES = [
    Uncoded(5),
    GradientCoding(5, s=2),
    FractionalRepetition(6, s=2),
    PartialGradientCoding(6, assignment=Cyclic(3), blocks=2),
    PartialGradientCoding(6, assignment=Cyclic(3), credit="whole_list"),
]


def run(scheme, times, rule, n_jobs=12):
    record = RunRecord(scheme.n_workers, n_jobs)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=iter([RoundTimes(row, np.full(len(row), 1.0), np.ones(len(row)), None) for row in times]),
        speeds=None,
        rule=rule,
        leftover="cancel",
        round_overhead_s=0.0,
        network=Network(),
        rng=np.random.default_rng(0),
    )
    simulate(plan, record)
    return record


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SCHEMES), st.sampled_from(RULES), st.integers(0, 1000))
def test_a_round_is_replayed_as_the_engine_closes_it(scheme, rule, seed):
    if rule.waits_for == "nobody" and scheme.needs_enough:
        return
    times = np.random.default_rng(seed).choice([0.25, 0.5, 1.0, 1.5, 4.0], size=(12, scheme.n_workers))
    record = run(scheme, times, rule)
    session = scheme.start(12, np.random.default_rng(0))
    for index, startup_s in enumerate(times):
        work = session.open_round(index)
        closing = closed_round(session, rule, work, startup_s[:, np.newaxis] + work.loads)
        session.close_round(closing)
        assert closing.stop_s == pytest.approx(record.rounds.duration_s[index], rel=1e-12)
        assert closing.missing.sum() == record.rounds.stragglers[index]


OF = {"Rep": FractionalRepetition(6, s=2), "GC": GradientCoding(6, s=1), "uncoded": Uncoded(6)}


@pytest.mark.parametrize("rule", [FirstEnough(), MuRule(mu=1.5, wait_for="all")], ids=["first enough", "mu"])
def test_what_was_not_seen_changes_nothing(rule):
    # workers that are cut off take any longer: no choice, and so no later round, may depend on how much
    scheme = Adaptive(6, of=OF, window=5).under(rule)
    rng, n_changed = np.random.default_rng(1), 0
    for _ in range(20):
        times = rng.exponential(1.0, size=(30, 6)) + 0.1
        record = run(scheme, times, rule, 30)
        seen_s = np.array(record.rounds.duration_s)[:, np.newaxis]
        later = np.where(times > seen_s, times + rng.exponential(5.0, size=times.shape), times)
        n_changed += np.count_nonzero(later != times)
        assert run(scheme, later, rule, 30).rounds.duration_s == record.rounds.duration_s
    assert n_changed > 100


@pytest.mark.parametrize("rule", RULES[:3])
def test_a_choice_of_one_is_that_one(rule):
    times = np.random.default_rng(2).exponential(1.0, size=(30, 6))
    alone, chosen = (run(one, times, rule, 30) for one in (OF["GC"], Adaptive(6, of={"GC": OF["GC"]}).under(rule)))
    assert chosen.rounds == alone.rounds
    assert chosen.jobs == alone.jobs


def test_it_finds_out_that_a_worker_is_slow():
    # uncoded rounds take 9 s, coded ones 0.1 + 2/6 s, those of three chunks 0.1 + 3/6; who was never heard may be fast
    times = np.full((40, 6), 0.1)
    times[:, 4] = 9.0
    record = run(Adaptive(6, of=OF, explore=0.0), times, FirstEnough(), 40)
    durations = np.array(record.rounds.duration_s)
    assert durations[:2] == pytest.approx([0.1 + 3 / 6, 0.1 + 2 / 6])
    assert durations[2] == pytest.approx(9.0 + 1 / 6)
    assert durations[3:] == pytest.approx(0.1 + 2 / 6)


def test_what_may_pay_is_tried_and_dropped_if_it_does_not():
    times = np.full((60, 6), 0.1)
    times[:, 4] = 0.6
    slow = run(Adaptive(6, of=OF, explore=1.0), times, FirstEnough(), 60)
    tried = np.flatnonzero(np.isclose(slow.rounds.duration_s, 0.6 + 1 / 6))
    assert 0 < len(tried) < 15


def test_once_is_probing_as_the_first_paper_does_it():
    models = {"kind": "shifted_exponential", "shift": 1.0, "mean": 0.3, "adds_to": "startup_s"}
    slow = {"kind": "bernoulli", "p": 0.2, "slowdown": 40.0}
    code = {"kind": "multiplexed", "B": 1, "W": 2, "lam": 3}
    adaptive = {"kind": "adaptive", "of": {"uncoded": {"kind": "uncoded"}, "M-SGC": code}, "once": True, "window": 10}
    common = {"workers": 6, "jobs": 40, "trials": 5, "seed": 3, "stragglers": {"usual": models, "slow": slow}}
    chosen = stragglersim.run(Scenario(**common, schemes={"adaptive": adaptive}))
    probed = stragglersim.run(Scenario(**common, schemes={"M-SGC": code, "uncoded": {"kind": "uncoded"}}, probe=10))
    durations_s = chosen.rounds.pivot_table(index="trial", columns="round", values="duration_s")
    n_coded = 0
    for label, of_scheme in probed.rounds.groupby("scheme"):
        those_s = of_scheme.pivot_table(index="trial", columns="round", values="duration_s")
        those_s = those_s.loc[durations_s.index]
        is_it = np.isclose(durations_s[those_s.columns], those_s, rtol=1e-9).all(axis=1)
        n_coded += is_it.sum() if label == "M-SGC" else 0
        durations_s = durations_s[~is_it]
    assert n_coded >= 3
    assert durations_s.empty


def test_values_decode_whatever_was_chosen():
    of = {"M-SGC": {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2}, "GC": {"kind": "gradient_coding", "s": 1}}
    schemes = {
        "once": {"kind": "adaptive", "of": {"uncoded": {"kind": "uncoded"}, **of}, "once": True, "window": 3},
        "always": {
            "kind": "adaptive",
            "of": {"GC": of["GC"], "uncoded": {"kind": "uncoded"}, "Rep": {"kind": "fractional_repetition", "s": 1}},
            "window": 3,
            "explore": 10.0,
        },
    }
    scenario = Scenario(
        workers=4,
        jobs=20,
        models=2,
        stragglers={"usual": {"kind": "lognormal", "median": 1.0, "sigma": 0.8, "adds_to": "startup_s"}},
        schemes=schemes,
        training={"workload": {"kind": "least_squares", "rows": 40, "dimension": 5}, "learning_rate": 0.1},
    )
    runs = stragglersim.run(scenario).runs
    assert runs["worst_residual"].max() < 1e-9


# --- what the master has seen ---


def test_a_bound_is_replaced_by_what_was_slower():
    # Kaplan-Meier of 1, 2+, 3, 4: half of those above 2 take 3, half 4
    values, known = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, True])
    shares = np.linspace(0.001, 0.999, 999)
    found = seen._later(values, known, np.full(999, 2.0), shares)
    assert set(found) == {3.0, 4.0}
    assert np.mean(found == 3.0) == pytest.approx(0.5, abs=0.01)
    # beyond the largest that is known, an exponential rest: of mean (excess of the one above it + mean of all) / 1
    beyond = seen._later(np.array([1.0, 2.0, 5.0]), np.array([True, True, False]), np.array([5.0] * 999), shares)
    assert (beyond > 5.0).all()
    assert np.mean(beyond - 5.0) == pytest.approx((5.0 - 2.0) + (0 + 1 + 4) / 2, rel=0.02)


def test_slowness_is_relative_to_the_line_of_the_fastest():
    found = Seen(10, None)
    for load in (0.25, 0.5):
        work = Work(np.full((2, 1), load))
        found.add(work, Heard.of([(0, 0), (1, 0)], [1.0 + 2.0 * load, 3 * (1.0 + 2.0 * load)]), 9.0)
    slowness, line = found.slowness(np.random.default_rng(0))
    assert line == pytest.approx((1.0, 2.0))
    assert slowness == pytest.approx([1.0, 3.0])
    # as long as only one load was seen, all is work
    alone = Seen(10, None)
    alone.add(Work(np.full((2, 1), 0.5)), Heard.of([(0, 0), (1, 0)], [2.0, 3.0]), 9.0)
    assert alone.slowness(None)[1] == pytest.approx((0.0, 4.0))
    assert not alone.has_a_line
    known = Seen(10, 1.0)
    known.add(Work(np.full((2, 1), 0.5)), Heard.of([(0, 0), (1, 0)], [2.0, 3.0]), 9.0)
    assert known.slowness(None)[1] == pytest.approx((1.5, 1.0))


# --- regret ---


def test_regret_is_against_the_best_of_each_trial():
    makespans = {"a": [1.0, 4.0], "b": [2.0, 2.0], "chooses": [1.5, 2.5]}
    import pandas as pd

    rows = [
        {"point": 0, "scheme": label, "trial": trial, "makespan_s": value, "jobs_per_s": 10 / value, "n_jobs": 10}
        | {"decode_failures": 0, "kind": "adaptive" if label == "chooses" else "uncoded"}
        for label, values in makespans.items()
        for trial, value in enumerate(values)
    ]
    table = compare(pd.DataFrame(rows)).set_index("scheme")["regret_percent"]
    assert table.to_dict() == pytest.approx({"a": 50.0, "b": 50.0, "chooses": 37.5})
    fewer = compare(pd.DataFrame([row for row in rows if row["scheme"] != "chooses"]))
    assert fewer["regret_percent"].isna().all()
    faster = compare(pd.DataFrame(rows), metric="jobs_per_s").set_index("scheme")["regret_percent"]
    assert faster.to_dict() == pytest.approx(table.to_dict())


# --- what is refused ---


@pytest.mark.parametrize(
    ("of", "more", "words"),
    [
        ({}, {}, "schemes.it.of: "),
        ({"x": {"kind": "gradient_coding", "s": 9}}, {}, "schemes.it.of.x.s: must be between 0 and 3, got 9"),
        (
            {"x": {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2}},
            {},
            "schemes.it.of.x: must be a scheme without delay",
        ),
        ({"x": {"kind": "k_async", "k": 2}}, {}, "schemes.it.of.x: must be a scheme that gives out all work when"),
        ({"x": {"kind": "uncoded", "s": 1}}, {}, "schemes.it.of.x.s: is not a key here"),
        ({"x": {"kind": "uncoded"}}, {"explore": -1}, "schemes.it.explore: must be at least 0, got -1"),
    ],
)
def test_what_can_not_be_chosen_is_refused_at_its_key(of, more, words):
    with pytest.raises(ScenarioError) as error:
        Scenario(
            workers=4,
            jobs=3,
            models=2,
            stragglers={"usual": {"kind": "constant", "startup_s": 1.0}},
            schemes={"it": {"kind": "adaptive", "of": of, **more}},
        )
    assert words in str(error.value)


def test_explain_says_what_there_is_to_choose_from(cli):
    assert cli("examples", "adaptive")[0] == 0
    status, out, _ = cli("explain", "adaptive.yaml")
    assert status == 0
    assert "adaptive: chooses from fours, code, pairs, uncoded" in out


def test_a_scenario_says_it_again_as_it_was_given():
    scheme = Adaptive(6, of=OF)
    scenario = Scenario(
        workers=6, jobs=3, stragglers={"usual": {"kind": "constant", "startup_s": 1.0}}, schemes={"it": scheme}
    )
    assert "Rep: {kind: fractional_repetition, s: 2}" in scenario.to_yaml()
    assert dataclasses.replace(scenario).schemes["it"] == scheme
