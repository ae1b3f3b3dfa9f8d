"""What is out of all proportion is refused at its key, before anything large is allocated; the merely odd is read."""

import dataclasses
import itertools
import json
import os
import time

import numpy as np
import pytest

import stragglersim
from examples import SCENARIO
from schemes import FastestK, GradientCoding, PartialGradientCoding, Uncoded
from schemes.assignment import Cyclic
from schemes.ordering import BestOfRandom
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.training import Training
from simulator.scenario.loading import Maker
from straggler_models import Bernoulli, Constant
from stragglersim import Scenario, ScenarioError
from workloads import LeastSquares

TRAINING = "training: {workload: {kind: %s}, learning_rate: 0.1}"


@pytest.fixture
def errors(tmp_path):
    def of(text):
        path = tmp_path / "s.yaml"
        path.write_text(text, encoding="utf-8")
        began_s = time.process_time()
        with pytest.raises(ScenarioError) as error:
            stragglersim.load(path)
        assert time.process_time() - began_s < 5.0
        return [line.replace(str(path), "FILE") for line in error.value.lines]

    return of


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("jobs: 4", "jobs: 1000001", "FILE:5:1: jobs: must be at most 1000000, the rounds of one run, got 1000001"),
        ("jobs: 4", f"jobs: 1{400 * '0'}", "FILE:5:1: jobs: must be at most 1000000, the rounds of one run, got about"),
        ("trials: 2", "trials: 1000000000", "FILE:3:1: trials: must leave at most 10000000 runs, got 1000000000 of"),
        ("workers: 6\njobs: 4", "workers: 100000\njobs: 1000000", "jobs: must leave at most 10000000000 worker times"),
        (
            "workers: 6",
            "training: {workload: {kind: least_squares, rows: 20002, dimension: 1}, learning_rate: 1}\nworkers: 10001",
            "FILE:5:1: workers: must be at most 10000 where gradients are computed, got 10001",
        ),
        ("workers: 6", "workers: 1000000000", "FILE:4:1: workers: must be between 1 and 1000000, got 1000000000"),
        ("gradient_coding, s: 2", "multiplexed, B: 1, W: 999999, lam: 2", "schemes.GC.W: must leave at most 1000000"),
        ("gradient_coding, s: 2", "multiplexed, B: 1, W: 300000, lam: 2", "schemes.GC.W: must leave at most 1000000 t"),
        ("gradient_coding, s: 2", "selective_repeat, B: 1000000, W: 1000001, lam: 2", "schemes.GC.W: must leave at"),
        (
            "gradient_coding, s: 2",
            f"multiplexed, B: 1, W: 1{4000 * '0'}, lam: 2",
            "schemes.GC.W: must be at most 1000000000000000, got about 10^4000",
        ),
        (
            "workers: 6",
            "workers: 20000",
            "schemes.P: workers must be at most 10000 for an assignment of chunks, got 20000",
        ),
        (
            "mu: 1.0",
            "mu: 1.0, poll_s: 1e-30",
            "FILE:9:34: master.poll_s: must be at least 1e-09 of the median worker t",
        ),
        ("mu: 1.0", "mu: 1.0, poll_s: 1e-320", "FILE:9:34: master.poll_s: must be at least 1e-09 of the median"),
        ("mu: 1.0", "mu: 1.0, timeout_s: 1e+308", "FILE:9:34: master.timeout_s: must be at most 1e+30, got 1e+308"),
        ("mu: 1.0", "mu: 1.0, timeout_s: 1e29, poll_s: 0.5", "master.timeout_s: must be at most 1e+18 times poll_s"),
        (
            "seed: 3",
            "network: {latency_s: 1.7e308}",
            "FILE:2:11: network.latency_s: must be at most 1e+30, got 1.7e+308",
        ),
        (
            "s: 2}",
            "s: 2, master: {kind: fixed_time, time_s: 1e300}}",
            "schemes.GC.master.time_s: must be at most 1e+30",
        ),
        (
            "kind: bernoulli, p: 0.2, slowdown: 4",
            "kind: markov_speed, states: [{slowdown: 2, mean_s: 1e-30}]",
            "FILE:8:3: stragglers.slow: must change the speed of a worker at most 100000 times in the",
        ),
        (
            "seed: 3",
            TRAINING % "two_layer_network, hidden: 10000000000",
            "hidden: must be between 1 and 10000, got 1000",
        ),
        (
            "seed: 3",
            TRAINING % "least_squares, rows: 1000000000",
            "rows: must leave at most 20000000 numbers, rows tim",
        ),
        (
            "seed: 3",
            TRAINING % "least_squares, dimension: 1000000000",
            "dimension: must be between 1 and 5000, got 1000",
        ),
        (
            "seed: 3",
            "models: 1000000000\n" + TRAINING % "least_squares",
            "FILE:2:1: models: must leave at most 100000000 parameters and rows in all, got 1000000000 models",
        ),
        (
            "workers: 6",
            "workers: 50000\n" + TRAINING % "least_squares",
            "workers: must be at most 10000 where gradients",
        ),
        ("seed: 3", "sweep: {jobs: {from: 1, to: 9, n: 1000000}}", "sweep.jobs: must have between 2 and 500000 values"),
        (
            "seed: 3",
            "sweep: {jobs: {from: 1, to: 1000, n: 1000}, seed: {from: 1, to: 1000, n: 1000}}",
            "FILE:2:45: sweep.seed: must leave at most 500000 points in all, got 1000000 with this entry",
        ),
        (
            "trials: 2",
            "trials: 1000\nsweep: {seed: {from: 1, to: 10000, n: 10000}}",
            "FILE:4:1: sweep: must leave at most 10000000 runs in all, got 20000000",
        ),
    ],
)
def test_what_is_out_of_proportion_is_refused_at_its_key(errors, old, new, line):
    text = SCENARIO
    if "assignment" in line:
        text += "  P: {kind: partial_gradient_coding, assignment: {kind: random_regular, chunks_per_worker: 2}}\n"
    assert old in text
    lines = errors(text.replace(old, new))
    assert any(line in found for found in lines), lines
    assert all(len(found) < 5000 for found in lines)


def test_the_orderings_that_are_drawn_have_an_end():
    with pytest.raises(ValueError, match="less than or equal to 10000"):
        BestOfRandom(k=10**9)


def test_python_refuses_the_same():
    with pytest.raises(ScenarioError, match="jobs: must be at most 1000000"):
        Scenario(workers=4, jobs=10**9, stragglers={"c": Constant(1.0)}, schemes={"u": Uncoded(4)})


@pytest.mark.parametrize("poll_s", [1e-320, 1e-30, 0.1])
def test_the_next_poll_has_an_end_however_fine_they_are(poll_s):
    rule = FirstEnough(poll_s=poll_s)
    for instant_s in (0.0, 1e-300, 0.25, 1.0, 1e20, 1e308):
        at_s = rule.acts_s(instant_s)
        assert instant_s <= at_s <= instant_s + 0.1
        assert rule.acts_at(np.array([instant_s]))[0] == at_s


def test_aliases_nesting_and_length_are_bounded(errors):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise("abcdefgh"))
    assert "its aliases of at most 100000 values" in errors(SCENARIO + bomb)[0]
    assert errors(SCENARIO + "x: " + "[" * 5000) == ["FILE:13:103: must be at most 100 levels deep, got more"]
    chain = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [[[[*a{n - 1}]]]]\n" for n in range(1, 60))
    assert "of at most 100 levels" in errors(SCENARIO + chain)[0]
    inner = "a0: &a0 " + "[" * 60 + "1" + "]" * 60 + "\n"
    for n_outer, is_refused in ((38, False), (39, True)):  # the scenario and the number are levels, too
        said = errors(SCENARIO + inner + "x: " + "[" * n_outer + "*a0" + "]" * n_outer)
        assert ("of at most 100 levels" in said[0]) == is_refused


def test_a_file_of_very_many_values_is_refused(errors, monkeypatch):
    from simulator.scenario import yaml_text

    monkeypatch.setattr(yaml_text, "MOST_NODES", 1000)
    assert "must be of at most 1000 values, got more" in errors(SCENARIO + f"x: {list(range(2000))}\n")[0]


def test_of_very_many_unknown_keys_the_first_are_told(errors):
    lines = errors(SCENARIO + "".join(f"key{number}: 1\n" for number in range(4_000)))
    assert len(lines) == 21
    assert lines[19].startswith("FILE:32:1: key19: is not a key of a scenario")
    assert lines[20] == "FILE:33:1: key20: and 3979 more are not keys of a scenario"
    keys = ", ".join(f"key{number}: 1" for number in range(4_000))
    assert len(errors(SCENARIO.replace("s: 2}", f"s: 2, {keys}}}"))) == 21
    assert len(errors(SCENARIO + "".join(f"  s{number}: 3\n" for number in range(4_000)))) == 101


@pytest.mark.parametrize("place", ["/dev/zero", "fifo"])
def test_devices_and_pipes_are_no_files(tmp_path, place):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ScenarioError, match=r"got none \(it is not a regular file\)"):
        stragglersim.load(tmp_path / place)
    scenario = tmp_path / "s.yaml"
    scenario.write_text(SCENARIO.replace("bernoulli, p: 0.2, slowdown: 4", f"trace, path: {place}"))
    with pytest.raises(ScenarioError, match=r"stragglers.slow.path: must name a regular file, got /"):
        stragglersim.load(scenario)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    with (tmp_path / "s.yaml").open("wb") as file:
        file.truncate(10**12)  # with nothing in it
    with pytest.raises(ScenarioError, match="it has 1000000000000 bytes, more than 16777216"):
        stragglersim.load(tmp_path / "s.yaml")


def test_a_character_as_json_writes_it_is_read_and_half_of_one_is_refused(tmp_path, errors):
    data = {"workers": 4, "jobs": 2, "stragglers": {"m": {"kind": "constant"}}, "schemes": {"💥": {"kind": "uncoded"}}}
    (tmp_path / "emoji.yaml").write_text(json.dumps(data))
    assert list(stragglersim.load(tmp_path / "emoji.yaml").schemes) == ["💥"]
    assert errors(SCENARIO.replace("name: good", 'name: "\\ud83d"')) == [
        "FILE:1:7: must be text, got half of a surrogate pair (write both halves, or the character itself)"
    ]


def test_merge_keys_share_sections(tmp_path, errors):
    shared = "stragglers:\n  usual: &usual {kind: constant, startup_s: 1.0}\n  more: {<<: *usual, startup_s: 2.0}\n"
    shared += "schemes:\n  a: &a {kind: gradient_coding, s: 1}\n  b: {<<: [{s: 2}, *a]}\n"
    (tmp_path / "shared.yaml").write_text("workers: 4\njobs: 2\n" + shared)
    scenario = stragglersim.load(tmp_path / "shared.yaml")
    assert scenario.stragglers == {"usual": Constant(1.0), "more": Constant(2.0)}
    assert scenario.schemes == {"a": GradientCoding(4, s=1), "b": GradientCoding(4, s=2)}
    assert errors("workers: 4\njobs: 2\n" + shared.replace("s: 2}", "s: 9}")) == [
        "FILE:8:13: schemes.b.s: must be between 0 and 3, got 9"
    ]


def test_points_are_made_of_parts_and_not_each_as_a_whole(tmp_path, monkeypatch):
    made, whole = [], Maker.scenario
    monkeypatch.setattr(Maker, "scenario", lambda self, data: made.append(data) or whole(self, data))
    (tmp_path / "s.yaml").write_text(SCENARIO + "sweep: {stragglers.slow.p: {from: 0, to: 1, n: 2000}}")
    assert len(stragglersim.load(tmp_path / "s.yaml").points) == 2000
    assert len(made) == 1


def test_as_many_points_as_the_limit_are_no_more(errors, monkeypatch, tmp_path):
    monkeypatch.setattr("simulator.scenario.points.MOST_POINTS", 4)
    (tmp_path / "four.yaml").write_text(SCENARIO + "sweep: {seed: [1, 2], trials: [1, 2]}")
    assert len(stragglersim.load(tmp_path / "four.yaml").all_points()) == 4
    [said] = errors(SCENARIO + "sweep: {seed: [1, 2], trials: [1, 2, 3]}")
    assert "sweep.trials: must leave at most 4 points in all, got 6 with this entry" in said


def test_the_first_line_comes_soon(cli, tmp_path, monkeypatch):
    from simulator.cli import terminal

    monkeypatch.setattr(terminal, "PATIENCE_S", 0.0)
    (tmp_path / "s.yaml").write_text(SCENARIO)
    _, _, err = cli("run", "s.yaml", "--executor", "serial")
    assert err.startswith("Reading s.yaml ...\n")
    assert "Running good ...\n" in err


def test_numbers_of_numpy_are_numbers():
    given = {
        "workers": np.int64(4),
        "jobs": np.int32(5),
        "seed": np.int64(3),
        "stragglers": {"c": Constant(np.int64(1)), "b": Bernoulli(p=np.float32(0.5), slowdown=np.int64(3))},
        "master": MuRule(mu=np.int64(1)),
        "network": Network(latency_s=np.int64(1)),
        "training": Training(
            workload=LeastSquares(rows=np.int64(50)), batch=np.int64(10), learning_rate=np.float32(0.5)
        ),
        "schemes": {
            "u": Uncoded(np.int64(4)),
            "k": FastestK(n_workers=np.int64(4), k=np.uint8(2)),
            "p": PartialGradientCoding(
                np.int64(4), assignment=Cyclic(np.int64(2)), ordering=BestOfRandom(k=np.int64(2))
            ),
        },
    }
    scenario = Scenario(**given)
    assert (type(scenario.workers), type(scenario.schemes["k"].k)) == (int, int)
    assert scenario.schemes["p"].ordering == BestOfRandom(k=2)
    assert len(stragglersim.run(scenario).runs) == 3
    with pytest.raises(ValueError, match="valid integer"):
        Uncoded(np.float64(4.0))


def test_a_sweep_in_python_is_one_as_from_a_file(tmp_path):
    given = {"workers": 4, "jobs": 5, "stragglers": {"c": Constant(1.0), "b": Bernoulli(p=0.5, slowdown=3.0)}}
    given |= {"schemes": {"u": Uncoded(4), "g": GradientCoding(4, s=1)}}
    sweep = {
        "schemes.g.s": [0, np.int64(2)],
        "master.timeout_s": np.array([5.0, 6.0]),
        "seed": {"from": 1, "to": 3, "n": 3},
    }
    scenario = Scenario(**given, sweep=sweep)
    results = stragglersim.run(scenario)
    results.save(tmp_path / "out")
    again = stragglersim.load(tmp_path / "out" / "scenario.yaml")
    assert again == scenario
    assert len(again.points) == 12
    assert sorted(set(results.runs["schemes.g.s"])) == [0, 2]
    assert stragglersim.run(again).runs["makespan_s"].tolist() == results.runs["makespan_s"].tolist()
    assert [point.jobs for _, point in dataclasses.replace(scenario, jobs=9).points] == [9] * 12
    with pytest.raises(
        ScenarioError, match=r"sweep.schemes.g.s: at schemes.g.s = 7: schemes.g.s: must be between 0 and"
    ):
        Scenario(**given, sweep={"schemes.g.s": [1, 7]})


def test_what_a_sweep_in_python_does_not_vary_is_the_same_object():
    class Mine(Uncoded):
        """A class that no file could name."""

    scheme = Mine(4)
    scenario = Scenario(
        workers=4, jobs=1, stragglers={"c": Constant(1.0)}, schemes={"u": scheme}, sweep={"jobs": [1, 2]}
    )
    assert [point.schemes["u"] is scheme for _, point in scenario.points] == [True, True]
    assert FixedTime(time_s=np.int64(3)).time_s == 3
