"""Plug-ins of one's own, with a mistake: one line, and status 2, in every command."""

import json
import sys

import pytest

OWN = """
import os
import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from schemes import Uncoded
from schemes.base.work import Outcome
from schemes.base.linear import LinearScheme
from straggler_models.base import SecondsModel, Speeds, StragglerModel, WorkerTimes
from workloads import LeastSquares

fault = lambda: os.environ.get("FAULT", "")

@dataclass(frozen=True)
class Ring(LinearScheme):
    n_workers: int
    x: float = 1.0
    def __post_init__(self):
        if fault() == "made":
            raise KeyError("x")
    def encoding_matrix(self):
        if fault() == "nan":
            return np.full((self.n_workers, 3), np.nan)
        if fault() == "shapes":
            return np.eye(self.n_workers) + np.ones((3, 2))
        return np.eye(self.n_workers)
    def batches(self, n_jobs, rows):
        if fault() == "batch":
            return 1 / 0
        return super().batches(n_jobs, rows)
    def allowance(self):
        return (1, 2) if fault() == "allowance" else None
    @property
    def tolerates(self):
        return [][1] if fault() == "tolerates" else "nothing"
    @property
    def load_bound(self):
        return [][1] if fault() == "bound" else None
    def start(self, n_jobs, rng):
        session = super().start(n_jobs, rng)
        close = session.close_round
        def closed(closing):
            [outcome] = close(closing)
            if fault() == "twice":
                return [outcome, outcome]
            if fault() == "close":
                raise KeyError("close")
            if fault() == "status":
                return [Outcome(outcome.job, "done")]
            return [] if fault() == "never" else [outcome]
        session.close_round = closed
        return session

@dataclass(frozen=True)
class ArrayField(Uncoded):
    x: object = Field(default_factory=lambda: np.eye(2))

@dataclass(frozen=True)
class Odd(Uncoded):
    x: float = np.float64(2.0)

@dataclass(frozen=True)
class Still(SecondsModel):
    def slowdowns(self, n_workers, rng):
        while True:
            still = np.ones((1, n_workers))
            still[:, 0] = 0.0
            yield Speeds(still, np.ones((1, n_workers)))

@dataclass(frozen=True)
class Arrays(LinearScheme):
    n_workers: int
    def __post_init__(self):
        object.__setattr__(self, "factors", np.arange(1.0, self.n_workers + 1))
    def encoding_matrix(self):
        return np.diag(self.factors)

@dataclass(frozen=True)
class Factors(StragglerModel):
    x: float = 1.0
    is_random = False
    def __post_init__(self):
        object.__setattr__(self, "factors", self.x * np.array([[1.0, 2.0, 1.0, 3.0, 1.0, 1.0]]))
    def rounds(self, n_workers, rng):
        while True:
            yield WorkerTimes(slowdown=self.factors)

@dataclass(frozen=True)
class WithData(LeastSquares):
    X: object = Field(default=None, init=False)
    def __post_init__(self):
        object.__setattr__(self, "X", np.eye(3))
"""

SCENARIO = """
workers: 6
jobs: 5
trials: 2
stragglers: {usual: {kind: shifted_exponential, shift: 1.0, mean: 0.2, adds_to: startup_s}}
schemes: {uncoded: {kind: uncoded}, ring: {kind: 'own_plugins:Ring'}}
"""


@pytest.fixture
def call(tmp_path, cli, monkeypatch):
    """Call the command line where there are plug-ins and a scenario; ``fault`` is planted in them."""
    (tmp_path / "own_plugins.py").write_text(OWN)
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    monkeypatch.syspath_prepend(tmp_path)

    def call(*arguments, fault=""):
        monkeypatch.setenv("FAULT", fault)  # which new processes would not know
        alone = ["--executor", "serial"] if arguments[0] == "run" and "--executor" not in arguments else []
        return cli(*arguments, *alone)

    yield call
    sys.modules.pop("own_plugins", None)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "mine.yaml"],
        ["run", "mine.yaml", "--engine", "auto"],
        ["run", "mine.yaml", "--executor", "processes", "--processes", "2", "--detail", "workers"],
        ["run", "mine.yaml", "--sweep", "schemes.ring.x=1,2"],
        ["validate", "mine.yaml"],
        ["explain", "mine.yaml"],
    ],
    ids=" ".join,
)
def test_plug_ins_of_ones_own_go_through_every_command(call, command, tmp_path):
    status, out, _ = call(*command)
    assert status == 0
    if command[0] == "run":
        is_alike = "--sweep" in command  # both schemes wait for the same workers
        assert bool(list((tmp_path / "results/mine/plots").glob("*.png"))) != is_alike
        assert ("no makespan: all schemes have the same makespan at every point" in out) == is_alike
        assert call("compare", "results/mine")[0] == 0
    if "workers" in command:
        assert call("plot", "results/mine")[0] == 0


@pytest.mark.parametrize(
    ("command", "fault", "said"),
    [
        ("validate mine.yaml", "made", "schemes.ring: cannot be made: a plug-in raised KeyError: 'x' (own_plugins.py:"),
        ("validate mine.yaml", "shapes", "a plug-in raised ValueError: operands could not be broadcast"),
        ("explain mine.yaml", "tolerates", "a plug-in raised IndexError: list index out of range (own_plugins.py:"),
        ("run mine.yaml", "bound", "schemes.ring, trial 0: a plug-in raised IndexError"),
        ("run mine.yaml", "nan", "encoding_matrix of Ring must be finite and have a row for each of 6 workers"),
        ("run mine.yaml", "twice", "each job must end once, while it is in flight, got job 0"),
        ("run mine.yaml", "status", "job 0: must end as one of decoded, approximate, failed, with an error from 0 on"),
        ("run mine.yaml", "never", "schemes.ring, trial 0: all 5 jobs must end, got 0 that did"),
        ("run mine.yaml --engine auto", "allowance", "schemes.ring, trial 0: a plug-in raised AttributeError"),
        (
            "run mine.yaml --engine vectorised",
            "batch",
            "its array form is not available: a plug-in raised Zero",
        ),
        ("run mine.yaml --set schemes.ring.kind=own_plugins:Odd", "", "schemes.ring.x: must be a YAML value"),
        (
            "run mine.yaml --set schemes.ring.kind=own_plugins:ArrayField",
            "",
            "schemes.ring.x: must be a YAML value, got a ndarray (keep it out of the fields)",
        ),
        (
            "run mine.yaml --set stragglers.slow={kind:own_plugins:Still}",
            "",
            "stragglers: a model in seconds must go on in time for all workers, got 10000 blocks of 0 s",
        ),
    ],
)
def test_a_mistake_in_a_plug_in_is_one_line(call, command, fault, said, tmp_path):
    status, _, err = call(*command.replace("{kind:", "{kind: ").split(" ", 3), fault=fault)
    lines = [line for line in err.splitlines() if not line.startswith(("Running", "Drawing"))]
    assert len(lines) == 1, err
    assert said in lines[0]
    assert status == 2
    assert not (tmp_path / "results/mine/manifest.json").exists()


def test_an_array_form_that_fails_leaves_the_scheme_to_events(call):
    assert call("run", "mine.yaml", "--engine", "auto", fault="batch")[0] == 0


def test_runs_that_fail_leave_the_others_with_their_figures(call, tmp_path):
    status, out, err = call("run", "mine.yaml", "--keep-going", "--engine", "events", fault="close")
    assert status == 1
    assert "2 runs failed: see results/mine/errors.csv" in err
    assert "uncoded" in out
    assert (tmp_path / "results/mine/plots/makespan.png").exists()
    assert call("compare", "results/mine")[0] == 0
    status, out, err = call("plot", "results/mine", fault="close")
    assert (status, err) == (0, "Drawing ...\n")
    assert "timeline" in out  # of the scheme that ran


def test_a_scheme_that_fails_later_leaves_the_figures_of_whole_runs(call):
    assert call("run", "mine.yaml", "--engine", "events")[0] == 0
    status, out, err = call("plot", "results/mine", fault="close")
    assert status == 0
    assert "Figures of single rounds are not drawn: they need a trial that runs" in err
    assert "timeline" not in out
    assert "makespan" in out


def test_a_workload_may_hold_arrays_and_be_swept(call):
    training = "training={workload: {kind: 'own_plugins:WithData', rows: 30, dimension: 3}, learning_rate: 0.1}"
    status, _, err = call("run", "mine.yaml", "--set", training, "--sweep", "training.learning_rate=0.1,0.2")
    assert status == 0, err
    assert "varies nothing" not in err


ARRAYS = "--set=schemes.arrays={kind: 'own_plugins:Arrays'}", "--set=stragglers.mine={kind: 'own_plugins:Factors'}"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--engine", "events", "--detail", "workers"],
        ["--executor", "processes", "--processes", "2"],
        ["--sweep", "jobs=3,4", "--sweep", "stragglers.mine.x=1.0,2.0"],
    ],
    ids=" ".join,
)
def test_schemes_and_models_may_hold_arrays(call, options, tmp_path):
    status, _, err = call("validate", "mine.yaml", *ARRAYS)
    assert status == 0, err
    assert call("explain", "mine.yaml", *ARRAYS)[0] == 0
    status, out, err = call("run", "mine.yaml", *ARRAYS, *options)
    assert status == 0, err
    assert "varies nothing" not in err
    assert "arrays" in out
    assert call("compare", "results/mine")[0] == call("plot", "results/mine")[0] == 0


def test_a_class_that_json_does_not_know_is_no_end_of_the_schema(call, monkeypatch):
    from collections.abc import Callable

    from schemes import SCHEMES, Uncoded
    from simulator.plugins.kinds import SCHEME_TABLE, Table

    class Strange(Uncoded):
        """Has no schema."""

        def __init__(self, what: Callable[[], int]) -> None: ...

    others = {SCHEME_TABLE.family: {"strange": Strange}}
    monkeypatch.setattr(Table, "known", lambda self: dict(self.shipped) | others.get(self.family, {}))
    status, out, _ = call("schema")
    assert status == 0
    assert set(SCHEMES) < {name.partition(".")[2] for name in json.loads(out)["$defs"] if name.startswith("scheme.")}
