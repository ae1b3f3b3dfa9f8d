"""The default engine checks itself: runs of arrays are repeated on events."""

import dataclasses
import json

import numpy as np
import pytest

import stragglersim
from examples import OneRunOnly
from schemes import GradientCoding, Multiplexed, PartialGradientCoding, SelectiveRepeat, Uncoded
from schemes.assignment import Cyclic
from simulator.execution import check as checking
from simulator.execution import side_by_side
from simulator.execution.check import sampled
from simulator.execution.store import Unit
from simulator.results.fairness import fairness
from straggler_models import Bernoulli, MarkovSpeed, ShiftedExponential
from stragglersim import Results, Scenario

GIVEN = {
    "workers": 6,
    "jobs": 7,
    "trials": 30,
    "stragglers": {
        "usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s"),
        "slow": Bernoulli(p=0.2, slowdown=4.0),
    },
    "schemes": {"uncoded": Uncoded(6), "GC": GradientCoding(6, s=1)},
}
YAML = """\
name: checked
seed: 3
trials: {trials}
workers: 6
jobs: 7
stragglers:
  usual: {{kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}}
schemes:
  uncoded: {{kind: uncoded}}
  GC: {{kind: gradient_coding, s: 1}}
sweep: {{round_overhead_s: [0, 0.5]}}
"""


def checked(scenario, **options):
    return stragglersim.run(scenario, **options).manifest["checked"]


def off_by_a_second(monkeypatch, *, in_round):
    """Arrays whose rounds, one of them, take a second longer than on events."""
    simulate = side_by_side.simulate_rows

    def simulate_rows(*given):
        runs = simulate(*given)
        duration_s, ends_s = runs.duration_s.copy(), runs.ends_s.copy()
        duration_s[:, in_round] += 1
        ends_s[:, in_round:] += 1
        return dataclasses.replace(runs, duration_s=duration_s, ends_s=ends_s)

    monkeypatch.setattr(side_by_side, "simulate_rows", simulate_rows)


def test_twenty_runs_are_repeated_and_every_result_says_so():
    results = stragglersim.run(Scenario(**GIVEN))
    assert results.manifest["checked"] == {"runs": 60, "repeated": 20, "differences": []}
    assert fairness(results).endswith("engine: vectorised; 20 of 60 runs repeated on events: equal")


def test_events_and_arrays_on_request_are_not_checked():
    for engine in ("events", "vectorised"):
        results = stragglersim.run(Scenario(**GIVEN), engine=engine)
        assert "checked" not in results.manifest
        assert fairness(results).endswith(f"engine: {engine}")


def test_what_ran_on_events_is_not_repeated():
    speed = MarkovSpeed(states=[{"slowdown": 1.0, "mean_s": 3.0}, {"slowdown": 2.0, "mean_s": 3.0}])
    assert checked(Scenario(**GIVEN | {"stragglers": {"speed": speed} | GIVEN["stragglers"]})) == {
        "runs": 0,
        "repeated": 0,
        "differences": [],
    }
    mixed = GIVEN | {"schemes": {"own": OneRunOnly(6), "GC": GradientCoding(6, s=1)}}
    assert checked(Scenario(**mixed))["runs"] == 30
    assert checked(Scenario(**mixed))["repeated"] == 10  # those of `own` turn out to be of events


def test_each_scheme_is_repeated_if_there_are_more_than_twenty():
    units = [Unit(0, str(label), range(4), key="") for label in range(23)]
    assert sorted(unit.label for unit, _ in sampled(units, 0)) == sorted(map(str, range(23)))
    assert sampled(units, 0) == sampled(units, 0) != sampled(units, 1)
    few = [Unit(point, label, range(2, 5), key="") for point in range(3) for label in "ab"]
    chosen = sampled(few, 0)
    assert len(chosen) == len(set(chosen)) == 18
    assert {trial for _, trial in chosen} == {2, 3, 4}


@pytest.mark.parametrize(
    "scheme",
    [
        Multiplexed(6, B=2, W=3, lam=2, credit="prefix"),
        SelectiveRepeat(6, B=2, W=3, lam=2),
        PartialGradientCoding(6, assignment=Cyclic(chunks_per_worker=2)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("most", [30, 400, 3000])
def test_long_runs_are_repeated_in_a_shortened_form(scheme, most, monkeypatch):
    """Together at most so many arrivals: counted on events."""
    monkeypatch.setattr(checking, "MOST_ARRIVALS", most)
    n_rounds = []
    run_unit = checking.run_unit

    def counted(scenario, label, trials, detail):
        n_rounds.append(scenario.jobs + scheme.delay_rounds)
        return run_unit(scenario, label, trials, detail)

    monkeypatch.setattr(checking, "run_unit", counted)
    given = GIVEN | {"schemes": {"it": scheme}, "jobs": 20, "probe": 1, "trials": 50}
    found = checked(Scenario(**given))
    assert found["differences"] == []
    assert found["repeated"] == len(n_rounds) >= 1
    per_round = 12 if isinstance(scheme, PartialGradientCoding) else 6
    assert sum(n_rounds) * per_round <= most or len(n_rounds) == 1
    assert found["repeated"] == (20 if most == 3000 else found["repeated"])


@pytest.mark.parametrize("detail", ["runs", "rounds"])
def test_a_difference_names_scheme_point_and_trial_and_the_results_are_there(detail, tmp_path, monkeypatch, cli):
    off_by_a_second(monkeypatch, in_round=4)
    (tmp_path / "a.yaml").write_text(YAML.format(trials=3))
    given = ("--executor", "serial", "--detail", detail, "--out", tmp_path / "out")
    status, out, err = cli("run", tmp_path / "a.yaml", *given)
    assert status == 3
    assert "12 of 12 runs repeated on events: 12 not equal" in out
    lines = err.splitlines()
    assert len([line for line in lines if "as on events" in line]) == 12
    assert any("at round_overhead_s = 0.5: schemes.GC, trial 2: makespan_s must be" in line for line in lines)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["checked"]["differences"]) == 12
    assert len(Results.load(tmp_path / "out").runs) == 12


def test_a_difference_in_rounds_only_is_found(monkeypatch):
    simulate = side_by_side.simulate_rows

    def simulate_rows(*given):
        runs = simulate(*given)
        first_finish_s = runs.first_finish_s.copy()
        first_finish_s[:, 2] *= 1 + 3e-9
        return dataclasses.replace(runs, first_finish_s=first_finish_s)

    monkeypatch.setattr(side_by_side, "simulate_rows", simulate_rows)
    with pytest.warns(UserWarning, match=r"schemes.(uncoded|GC), trial \d+: rounds.first_finish_s\[2\] must be"):
        results = stragglersim.run(Scenario(**GIVEN))
    assert len(results.manifest["checked"]["differences"]) == 20
    assert checked(Scenario(**GIVEN), detail="runs")["differences"] == []  # the runs are the same


def test_a_run_that_goes_on_checks_its_new_parts(tmp_path, cli):
    path, out = tmp_path / "a.yaml", tmp_path / "out"

    def said(trials):
        path.write_text(YAML.format(trials=trials))
        assert cli("run", path, "--executor", "serial", "--out", out)[0] == 0
        return json.loads((out / "manifest.json").read_text())["checked"]

    assert said(2) == {"runs": 8, "repeated": 8, "differences": []}
    assert said(2) == {"runs": 8, "repeated": 8, "differences": []}
    assert said(3) == {"runs": 12, "repeated": 12, "differences": []}
    assert said(20) == {"runs": 80, "repeated": 32, "differences": []}
    (out / "manifest.json").unlink()  # as if it had been stopped before the check
    assert said(20) == {"runs": 80, "repeated": 20, "differences": []}


def test_trials_that_are_added_until_an_interval_is_narrow_are_checked_too(tmp_path, cli):
    (tmp_path / "a.yaml").write_text(YAML.format(trials=2))
    given = ("--executor", "serial", "--out", tmp_path / "out", "--until", "ci=3%")
    assert cli("run", tmp_path / "a.yaml", *given)[0] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["checked"]["runs"] > 8
    assert manifest["checked"]["repeated"] == 20
    assert np.unique(Results.load(tmp_path / "out").runs["engine"]).tolist() == ["vectorised"]
