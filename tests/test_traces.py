"""Measured AWS Lambda times through the whole simulator: known totals."""

from pathlib import Path

import numpy as np
import pytest
import reference

import stragglersim
from schemes import FractionalRepetition, GradientCoding, Multiplexed, SelectiveRepeat, Uncoded
from simulator.engine.master_rules import FirstEnough, MuRule
from straggler_models import Trace
from straggler_models.trace_file import read_trace_file
from stragglersim import Scenario

FOLDER = Path(__file__).parents[2] / "shared" / "traces" / "aws-lambda"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the traces are not part of the project: no {FOLDER}")

SLOPE = 1.1217530


def scenario(scheme, rule, name="cnn-b2048-canada-load0.000-n30.parquet", jobs=80):
    trace = Trace(path=str(FOLDER / name), wrap="cycle", base_load=0.0, seconds_per_load=SLOPE)
    return Scenario(workers=256, jobs=jobs, stragglers={"lambda": trace}, schemes={"it": scheme}, master=rule)


@pytest.mark.parametrize(
    ("scheme", "wait_for", "makespan_s", "waited_rounds"),
    [
        (Multiplexed(256, B=1, W=2, lam=27, as_published=True), "all", 105.49, 32),
        (Multiplexed(256, B=2, W=3, lam=27, as_published=True), "all", 112.85, 38),
        (Uncoded(256), "all", 128.00, 80),
        (Multiplexed(256, B=1, W=2, lam=27, as_published=True), "enough", 99.10, None),
        (Multiplexed(256, B=2, W=3, lam=27, as_published=True), "enough", 103.14, None),
    ],
)
def test_known_totals_of_a_trace(scheme, wait_for, makespan_s, waited_rounds):
    run = stragglersim.run(scenario(scheme, MuRule(mu=1.0, wait_for=wait_for))).runs.iloc[0]
    assert run["makespan_s"] == pytest.approx(makespan_s, abs=0.005)
    assert waited_rounds in (None, run["waited_rounds"])
    assert run["decode_failures"] == 0


@pytest.mark.parametrize("rule", ["first_enough", "mu all", "mu enough"])
@pytest.mark.parametrize(
    ("scheme", "twin"),
    [
        (GradientCoding(256, s=15), reference.gradient_coding(256, 15)),
        (FractionalRepetition(256, s=15), reference.fractional_repetition(256, 15)),
        (SelectiveRepeat(256, B=2, W=3, lam=23), reference.SelectiveRepeat(256, 2, 3, 23)),
        (
            SelectiveRepeat(256, B=2, W=3, lam=23, as_published=True),
            reference.SelectiveRepeat(256, 2, 3, 23, as_published=True),
        ),
        (Multiplexed(256, B=1, W=2, lam=27), reference.Multiplexed(256, 1, 2, 27)),
        (Multiplexed(256, B=2, W=3, lam=27), reference.Multiplexed(256, 2, 3, 27)),
        (Multiplexed(256, B=1, W=3, lam=256), reference.Multiplexed(256, 1, 3, 256)),
    ],
    ids=lambda value: repr(value) if not hasattr(value, "start") or hasattr(value, "load_bound") else "",
)
@pytest.mark.parametrize("name", ["cnn-b2048-canada-load0.000-n30.parquet", "cnn-b256-london-load0.000-n10.parquet"])
def test_every_round_of_a_trace_is_that_of_the_naive_simulator(scheme, twin, rule, name):
    rules = {
        "first_enough": (FirstEnough(), ("first_enough",)),
        "mu all": (MuRule(mu=1.0), ("mu", 1.0, "first", "all")),
        "mu enough": (MuRule(mu=0.5, wait_for="enough"), ("mu", 0.5, "first", "enough")),
    }
    mine, told = rules[rule]
    rounds = stragglersim.run(scenario(scheme, mine, name, jobs=5)).rounds
    measured = read_trace_file(str(FOLDER / name)).duration_s
    rows = [[(second, SLOPE, 1.0) for second in measured[t % len(measured)].tolist()] for t in range(5 + twin.T)]
    expected, outcomes = reference.simulate(twin, 5, rows, told)
    assert rounds["duration_s"].tolist() == pytest.approx([closes for closes, *_ in expected], rel=1e-12)
    assert rounds["waited_s"].tolist() == pytest.approx([waited for _, waited, *_ in expected], abs=1e-12)
    assert rounds["stragglers"].tolist() == [len(left) for _, _, left, _ in expected]
    assert {status for status, _ in outcomes.values()} == {"decoded"}


def test_the_trace_is_read_as_its_notes_say():
    measured = read_trace_file(str(FOLDER / "cnn-b2048-canada-load0.000-n30.parquet")).duration_s
    assert measured.shape == (30, 256)
    assert np.isfinite(measured).all()
