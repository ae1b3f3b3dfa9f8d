"""Training as users meet it: keys of scenarios, results on disk, the summary, and a workload of one's own."""

import os
import re
import subprocess
import sys

import jsonschema
import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML as YAML_
from training_examples import curve, descent, scenario

import stragglersim
from schemes import FastestK, GradientCoding
from simulator.cli.run_summary import print_summary
from simulator.engine.training import Training
from simulator.results.summary import summary
from simulator.scenario.identity import setting_key
from simulator.scenario.json_schema import scenario_schema
from simulator.scenario.no_effect import warnings
from stragglersim import SimulationError
from workloads import LogisticRegression, Workload
from workloads.testing import check_workload

YAML = """
workers: 4
jobs: 8
models: 2
seed: 3
stragglers: {usual: {kind: shifted_exponential, shift: 1.0, mean: 0.5, adds_to: startup_s}}
training: {workload: {kind: least_squares, dimension: 3}, learning_rate: 0.1}
schemes:
  GC: {kind: gradient_coding, s: 1}
  SR: {kind: selective_repeat, B: 1, W: 2, lam: 2}
"""


@pytest.fixture
def loaded(tmp_path):
    def load(*overrides, text=YAML):
        (tmp_path / "mine.yaml").write_text(text)
        return stragglersim.load(tmp_path / "mine.yaml", overrides)

    return load


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.learning_rate=0", "training.learning_rate: must be greater than 0, got 0"),
        ("training.batch=513", "training.batch: must be between 1 and 512, the rows of data, got 513"),
        ("training.workload.kind=least", "'least' is not one of least_squares, logistic_regression"),
        ("training.optimizer=sgd", "is not a key here .* did you mean optimiser"),
        ("training.on_failure=stop", "training.on_failure: must be one of skip, repeat, got 'stop'"),
        ("training.workload.condition=0.5", "condition: must be at least 1, got 0.5"),
        ("training=3", r"training: must be a mapping \(keys: workload, .*\), got 3"),
        (
            "training={learning_rate: 1.0}",
            r"training.workload: must be given \(a workload \(list workloads\)\), got nothing",
        ),
        ("models=1", r"schemes.SR: T must be at most models - 1 = 0 rounds, got 1"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(loaded, override, said):
    with pytest.raises(stragglersim.ScenarioError, match=said):
        loaded(override)


def test_without_models_there_is_one(loaded):
    with pytest.raises(
        stragglersim.ScenarioError, match=r"schemes.SR: T must be 0 rounds .* got 1 .set models: 2 or more"
    ):
        loaded(text=YAML.replace("models: 2\n", ""))


def test_a_resolved_scenario_gives_the_same_run(loaded, tmp_path):
    first = stragglersim.run(loaded("training.batch=64", "training.workload.seed=3"))
    first.save(tmp_path / "out")
    assert stragglersim.Results.load(tmp_path / "out").training.equals(first.training)
    jsonschema.validate(YAML_(typ="safe").load(tmp_path / "out" / "scenario.yaml"), scenario_schema())
    again = stragglersim.run(stragglersim.load(tmp_path / "out" / "scenario.yaml"))
    pd.testing.assert_frame_equal(first.training, again.training, check_exact=True)


def test_parts_of_another_training_are_not_gone_on_with(loaded):
    def key(*overrides):
        return setting_key(loaded(*overrides), "GC", detail="rounds", engine="events")

    changes = [
        "training.learning_rate=0.2",
        "training.batch=8",
        "training.workload.noise=0.2",
        "training.messages=float32",
    ]
    assert len({key(), *map(key, changes)}) == 5
    assert key() == key("training.optimiser=sgd")
    assert key("name=other", "trials=2") == key()


def test_keys_of_training_can_be_swept(loaded):
    run = loaded(text=YAML + "sweep: {training.learning_rate: [0.1, 0.2]}\n")
    assert warnings(run) == []
    results = stragglersim.run(run)
    last = results.training.groupby("point")["loss"].last()
    assert last[1] < last[0]
    assert set(results.runs["training.learning_rate"]) == {0.1, 0.2}


def test_arrays_leave_training_to_events(loaded):
    assert set(stragglersim.run(loaded(), engine="auto").runs["engine"]) == {"events"}
    with pytest.raises(SimulationError, match="needs --engine events"):
        stragglersim.run(loaded(), engine="vectorised")


def test_the_summary_says_how_training_went_and_how_exact_it_was(capsys):
    training = Training(workload=LogisticRegression(), learning_rate=0.5)
    results = stragglersim.run(scenario({"GC": GradientCoding(8, s=2), "k": FastestK(8, k=6)}, training, trials=2))
    of_gc = results.runs["scheme"] == "GC"
    results.runs.loc[of_gc & (results.runs["trial"] == 1), ["worst_residual", "worst_condition"]] = 3e-8, 2e7
    table, runs = summary(results.runs), results.runs[of_gc]
    assert table.loc[0, "final_loss"] == pytest.approx(runs["final_loss"].mean())
    last = results.training.groupby(["scheme", "trial", "model"]).last()
    assert last["loss"].nunique() > 4
    for column in ("loss", "accuracy"):
        assert runs[f"final_{column}"].iloc[0] == pytest.approx(last.loc["GC", 0][column].mean())
    applied = results.training[(results.training["scheme"] == "k") & (results.training["trial"] == 1)]
    assert results.runs["gradient_error_mean"].iloc[-1] == pytest.approx(applied["gradient_error"].mean())
    assert (table.loc[0, "worst_residual"], table.loc[0, "worst_condition"]) == (3e-8, 2e7)
    print_summary(results)
    said = capsys.readouterr().out
    assert re.search(r"GC +\d\.\d+ +\d+\.?\d* % +\d\S*e-\d+ +3.0e-08 +2e\+07 +[\d.]+ ms", said)
    assert "GC: a decoded gradient was off by 3.0e-08 of its length, more than 1e-08" in said
    assert "k: a decoded" not in said


# --- a workload of one's own ---


OWN = """
import numpy as np
from pydantic.dataclasses import dataclass
from workloads import Workload

@dataclass(frozen=True)
class Cubic(Workload):
    "The mean of (a - row)^4 / 4."
    fault: str = ""
    n_rows = 8

    def initial(self, rng):
        if self.fault == "matrix":
            return np.zeros((1, 1))
        return np.random.standard_normal(1) if self.fault == "luck" else np.zeros(1)

    def gradient(self, parameters, rows):
        if self.fault == "error":
            raise KeyError("mine")
        if self.fault == "changes":
            parameters -= 0.1
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "long":
            return np.zeros(2)
        if self.fault == "nan":
            return np.array([np.nan])
        each = (parameters - np.arange(8.0)[rows, None]) ** 3
        return each.mean(axis=0) if self.fault == "mean" else each.sum(axis=0)

    def loss(self, parameters):
        if self.fault == "loss":
            return parameters
        return float(np.mean((parameters - np.arange(8.0)) ** 4) / 4)

    def accuracy(self, parameters):
        return 95.0 if self.fault == "percent" else np.nan
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_workload.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield YAML.replace("{kind: least_squares, dimension: 3}", "{kind: 'my_workload:Cubic'}").replace("0.1}", "0.01}")
    sys.modules.pop("my_workload", None)


def test_a_workload_of_ones_own_is_trained(loaded, own):
    results = stragglersim.run(loaded(text=own))
    workload = loaded(text=own).training.workload
    assert isinstance(workload, Workload)
    check_workload(workload)
    np.testing.assert_allclose(curve(results, "SR"), descent(workload, 4, 0.01, np.zeros(1)), rtol=1e-9)


def test_a_workload_that_lacks_something_is_told_what(loaded, own, tmp_path):
    (tmp_path / "my_workload.py").write_text(OWN.replace("def loss", "def lose"))
    with pytest.raises(stragglersim.ScenarioError, match=r"training\.workload: the class Cubic must define loss"):
        loaded(text=own)


def test_a_workload_of_ones_own_gets_all_figures(loaded, own, tmp_path):
    loaded(text=own)
    command = [sys.executable, "-m", "simulator", "run", "mine.yaml", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"loss", "timeline", "stragglers"} <= {path.stem for path in (tmp_path / "out" / "plots").iterdir()}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error", r"a plug-in raised KeyError: 'mine' \(my_workload.py:\d+\)"),
        ("changes", r"a plug-in raised ValueError: output array is read-only \(my_workload.py:\d+\)"),
        ("matrix", r"initial of Cubic must be a vector of finite numbers, got shape \(1, 1\)"),
        ("luck", "initial of Cubic must draw from rng only, got different numbers from equal ones"),
        ("mean", "gradient of Cubic must be a sum over its rows, .* got a difference of"),
        ("nan", "gradient of Cubic must be finite at the initial parameters"),
        ("long", r"gradient of Cubic must have as many entries as its parameters, 1, got shape \(2,\)"),
        ("exit", r"a plug-in raised SystemExit: 0 \(my_workload.py:\d+\)"),
        ("loss", r"loss of Cubic must be a number, got an array of shape \(1,\)"),
        ("percent", "accuracy of Cubic must be a share from 0 to 1, or NaN, got 95.0"),
    ],
)
def test_a_fault_of_ones_own_workload_is_told_in_a_line(loaded, own, fault, said):
    run = loaded(f"training.workload.fault={fault}", text=own)
    with pytest.raises(SimulationError, match=r"schemes\.GC, trial 0: " + said):
        stragglersim.run(run)
    with pytest.raises((ValueError, KeyError, SystemExit)):
        check_workload(run.training.workload)
