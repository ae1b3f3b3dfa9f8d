"""Infinite means and variances are told before a run, and intervals that can't be reached after it."""

import numpy as np
import pytest

from schemes import FastestK, FractionalRepetition, GradientCoding, Ideal, Multiplexed, SelectiveRepeat, Uncoded
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.scenario.heavy_tails import heavy_tails
from straggler_models import Constant, Pareto, ShiftedExponential
from stragglersim import Scenario

YAML = """\
name: heavy
workers: 6
jobs: 2
trials: 20
stragglers: {u: {kind: pareto, scale: 1.0, shape: 1.5, adds_to: startup_s}}
schemes: {u: {kind: uncoded}, GC: {kind: gradient_coding, s: 2}}
"""


def told(scheme, shape, rule=None, **changes):
    model = Pareto(scale=1.0, shape=shape, adds_to="startup_s")
    given = {
        "workers": 6,
        "jobs": 20,
        "stragglers": {"u": model, "c": Constant(1.0)},
        "master": rule or FirstEnough(),
    } | changes
    said = heavy_tails(Scenario(schemes={"it": scheme}, **given))
    return [word for line in said for word in ("mean", "variance") if f"infinite {word}" in line]


@pytest.mark.parametrize(
    ("scheme", "shape", "moments"),
    [
        (Uncoded(6), 1.0, ["mean"]),
        (Uncoded(6), 2.0, ["variance"]),
        (Uncoded(6), 2.01, []),
        (FastestK(6, k=6), 0.9, ["mean"]),
        (FastestK(6, k=4), 0.9, []),
        (GradientCoding(6, s=1), 0.5, ["mean"]),
        (GradientCoding(6, s=1), 0.9, ["variance"]),
        (GradientCoding(6, s=2), 0.9, []),
        (FractionalRepetition(6, s=1), 0.9, ["variance"]),
        (SelectiveRepeat(6, B=1, W=2, lam=2), 0.9, ["variance"]),  # s = 1 in every round
        (Multiplexed(6, B=2, W=3, lam=2), 0.9, ["mean"]),
        (Ideal(6), 0.9, []),
        (FastestK(6, k=1), 1e-320, ["mean"]),
        (Ideal(6), 1e-320, []),
    ],
)
def test_a_master_that_waits_for_the_last_inherits_the_tail_and_one_that_can_spare_workers_a_lighter_one(
    scheme, shape, moments
):
    assert told(scheme, shape) == moments


@pytest.mark.parametrize(
    ("rule", "moments"),
    [
        (FirstEnough(timeout_s=9.0), []),
        (FixedTime(time_s=1.0), []),
        (FixedTime(time_s=1.0, wait_for="enough"), []),
        (FixedTime(time_s=1.0, wait_for="all"), ["mean"]),
        (MuRule(mu=1.0), ["mean"]),
        (MuRule(mu=1.0, wait_for="enough"), []),
        (MuRule(mu=1.0, wait_for="nobody"), []),
    ],
)
def test_a_rule_may_bound_a_round_or_wait_for_all(rule, moments):
    assert told(GradientCoding(6, s=2), 0.9, rule) == moments


def test_probing_rounds_are_uncoded():
    assert told(GradientCoding(6, s=2), 0.9, probe=3) == ["mean"]


def test_light_tails_are_not_told():
    light = {"u": ShiftedExponential(shift=1.0, mean=1.0, adds_to="startup_s")}
    assert told(Uncoded(6), 0.9, stragglers=light) == []


def test_a_scheme_of_many_workers_is_judged_quickly():
    assert told(Uncoded(2000), 0.9, workers=2000) == ["mean"]


def test_validate_and_run_warn_and_do_what_was_asked(cli, tmp_path):
    (tmp_path / "heavy.yaml").write_text(YAML)
    for call in (("validate", "heavy.yaml"), ("run", "heavy.yaml", "--executor", "serial", "--detail", "runs")):
        status, _, err = cli(*call)
        assert status == 0
        assert "heavy.yaml: warning: stragglers.u: Pareto has so heavy a tail that makespans of u have" in err
        assert "infinite variance" in err
    assert "warning" not in cli("validate", "heavy.yaml", "--set", "stragglers.u.shape=2.5")[2]


def test_an_interval_that_is_not_reached_is_said_with_exit_status_1(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.results.compare.MOST_TRIALS", 40)
    (tmp_path / "heavy.yaml").write_text(YAML)
    given = ("run", "heavy.yaml", "--executor", "serial", "--detail", "runs", "--force")
    status, _, err = cli(*given, "--until", "ci=1%")
    last = err.strip().splitlines()[-1]
    assert status == 1
    assert last.startswith("--until ci=1%: not reached (no point gets more than 40 trials): u: makespan_s ± ")
    assert "% after 40 trials; GC: makespan_s ± " in last
    status, _, err = cli(*given, "--until", "ci=99%")
    assert (status, "not reached" in err) == (0, False)


def test_run_says_what_few_or_equal_trials_are_worth(cli, tmp_path):
    (tmp_path / "heavy.yaml").write_text(YAML)
    given = ("run", "heavy.yaml", "--executor", "serial", "--detail", "runs", "--force")
    assert "intervals are rough" in cli(*given, "--set", "trials=9")[1]
    assert "One trial has no interval" in cli(*given, "--set", "trials=1")[1]
    out = cli(*given)[1]
    assert not any(line in out for line in ("intervals are rough", "One trial", "trials are equal"))
    (tmp_path / "heavy.yaml").write_text(
        YAML.replace(
            "kind: pareto, scale: 1.0, shape: 1.5, adds_to: startup_s", "kind: bernoulli, p: 1.0e-9, slowdown: 5.0"
        ).replace("stragglers: {", "stragglers: {c: {kind: constant, startup_s: 1}, ")
    )
    assert (
        "± 0: all 20 trials are equal; if some trials differ, with 95 % confidence at most 14 % of them do."
        in cli(*given)[1]
    )


def test_the_tail_index_of_pareto_is_its_shape():
    times = Pareto(scale=1.0, shape=1.5, adds_to="startup_s")
    assert times.tail_index == 1.5
    assert Constant(1.0).tail_index == np.inf
