"""Points of a sweep: each is the scenario that its values make alone, and shares with others what does not differ."""

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import stragglersim
from simulator.scenario import points
from simulator.scenario.identity import Identities, setting_key
from stragglersim import ScenarioError

SCENARIO = """\
workers: 6
jobs: 4
stragglers:
  usual: {kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}
  slow: {kind: bernoulli, p: 0.1, slowdown: 4}
master: {kind: mu_rule, mu: 1.0}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 2}
  M-SGC: {kind: multiplexed, B: 1, W: 2, lam: 2}
  BGC: {kind: bernoulli_gradient_coding, p: 0.5}
"""
CONSTANT, STOPS = {"kind": "constant", "startup_s": 1}, {"kind": "fail_stop", "p": 0.1}
NOBODY, PATIENT = {"kind": "fixed_time", "time_s": 3}, {"kind": "first_enough"}
VALUES = {  # of dotted keys; some are wrong, alone or beside others
    "name": ["a", "a/b"],
    "workers": [6, 8, 2],
    "jobs": [4, 2, 4],
    "probe": [0, 3],
    "seed": [0, 1, -1],
    "trials": [1, 2],
    "models": [2, 5, 1],
    "round_overhead_s": [0, 0.5, True],
    "leftover": ["cancel", "finish"],
    "stragglers.usual": [CONSTANT, STOPS],
    "stragglers.usual.mean": [0.5, 1, 0.5],
    "stragglers.more": [CONSTANT, STOPS],
    "stragglers.slow.p": [0.1, 0.2, 2],
    "master": [NOBODY, PATIENT, {"kind": "first_enough", "timeout_s": 9}],
    "master.timeout_s": [None, 8],
    "schemes.GC.s": [2, 1, 7],
    "schemes.GC.master": [NOBODY, PATIENT],
    "schemes.uncoded": [{"kind": "ideal"}, {"kind": "uncoded", "master": NOBODY}],
    "schemes.GC.s, workers": [[2, 6], [5, 7]],
    "schemes.M-SGC.lam": [2, 6],
    "colour": ["red", "blue"],
}
VALUES_OF_ONE = {key: st.lists(st.sampled_from(values), min_size=1, max_size=3) for key, values in VALUES.items()}
SWEEPS = st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: VALUES_OF_ONE[key] for key in keys})
)


def loaded(sweep):
    """The points of a sweep, or what is said of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.yaml"
        path.write_text(SCENARIO + f"sweep: {json.dumps(sweep)}\n", encoding="utf-8")
        try:
            return stragglersim.load(path).points
        except ScenarioError as error:
            return str(error).replace(folder, "")


@settings(max_examples=200, deadline=None)
@given(sweep=SWEEPS)
@example(sweep={"jobs": [4, 2], "probe": [0, 3]})  # each value is right somewhere, the last point is wrong
@example(sweep={"master": [NOBODY, PATIENT], "stragglers.usual": [CONSTANT, STOPS]})
@example(
    sweep={
        "models": [None, 2, 1],
        "schemes.M-SGC": [{"kind": "uncoded"}, {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2}],
    }
)
@example(sweep={"seed": [0, 1], "workers": [6, 8]})  # schemes are made of both
def test_points_that_share_their_parts_are_those_that_are_made_one_by_one(sweep):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points._Siblings, "at", lambda self, place, chosen: None)
        patch.setattr(points._Siblings, "learn", lambda self, place, chosen, scenario: scenario)
        alone = loaded(sweep)
    together = loaded(sweep)
    assert repr(together) == repr(alone)
    assert together == alone
    if isinstance(alone, str):
        return
    assert len(alone) == math.prod(map(len, sweep.values()))
    identify = Identities()
    for (_, point), (_, same) in zip(together, alone, strict=True):
        for label in point.schemes:
            given = {"detail": "rounds", "engine": "events"}
            assert setting_key(point, label, **given, identify=identify) == setting_key(same, label, **given)


def test_points_share_what_is_not_swept_and_what_has_the_same_values():
    sweep = {"stragglers.slow.p": [0.1, 0.2], "schemes.GC.s": [1, 2], "round_overhead_s": [0.0, 1.0], "jobs": [3, 4]}
    points = [point for _, point in loaded(sweep)]
    assert len({id(point) for point in points}) == 16
    for name, n_different in {"stragglers": 2, "schemes": 2, "master": 1, "network": 1}.items():
        assert len({id(getattr(point, name)) for point in points}) == n_different
    for section, labels in {"stragglers": {"usual": 1, "slow": 2}, "schemes": {"uncoded": 1, "GC": 2}}.items():
        for label, n_different in labels.items():
            assert len({id(getattr(point, section)[label]) for point in points}) == n_different


def test_points_with_other_trials_leave_the_others_as_they_are(tmp_path):
    (tmp_path / "s.yaml").write_text(SCENARIO + "sweep: {jobs: [3, 4], seed: [0, 1]}\n", encoding="utf-8")
    scenario = stragglersim.load(tmp_path / "s.yaml")
    more = scenario.with_trials({1: 5})
    assert [point.trials for _, point in more.points] == [1, 5, 1, 1]
    assert [a is b for (_, a), (_, b) in zip(more.points, scenario.points, strict=True)] == [True, False, True, True]
