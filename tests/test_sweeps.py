"""What is swept: ranges, the command line's `--sweep`, and warnings of what changes nothing."""

import jsonschema
import pytest

import stragglersim
from examples import SCENARIO
from simulator.scenario.json_schema import scenario_schema
from simulator.scenario.no_effect import warnings
from simulator.scenario.plain import plain
from simulator.scenario.ranges import values_of
from simulator.scenario.yaml_file import read_values
from stragglersim import ScenarioError, UserError


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file


@pytest.fixture
def write(path):
    def _write(more):
        path.write_text(SCENARIO + more, encoding="utf-8")
        return path

    return _write


def swept(scenario, key):
    return list(dict.fromkeys(values[key] for values, _ in scenario.all_points()))


def error_of(*arguments):
    with pytest.raises(ScenarioError) as error:
        stragglersim.load(*arguments)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"from": 0.01, "to": 0.1, "n": 10}, [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1]),
        ({"from": 1, "to": 7, "n": 3}, [1, 4, 7]),
        ({"from": 7, "to": 1, "n": 3, "scale": "linear"}, [7, 4, 1]),
        ({"from": 1, "to": 2, "n": 3}, [1.0, 1.5, 2.0]),
        ({"from": 1.0, "to": 3, "n": 3}, [1.0, 2.0, 3.0]),
        ({"from": 10**15 + 1, "to": 10**15 + 5, "n": 3}, [10**15 + 1, 10**15 + 3, 10**15 + 5]),
        ({"from": 1, "to": 1000, "n": 4, "scale": "log"}, [1, 10, 100, 1000]),
        ({"from": 0.001, "to": 10, "n": 5, "scale": "log"}, [0.001, 0.01, 0.1, 1.0, 10.0]),
        ({"from": 1, "to": 10, "n": 3, "scale": "log"}, [1.0, 3.16227766017, 10.0]),
    ],
)
def test_a_range_holds_both_ends_and_integers_stay_integers(given, values):
    got = values_of(given)
    assert got == values
    assert list(map(type, got)) == list(map(type, values))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5,1,2", [0.5, 1, 2]),
        ("first, median", ["first", "median"]),
        ("true,null", [True, None]),
        ("1e-3", [0.001]),
        ("0.01:0.03:3", [0.01, 0.02, 0.03]),
        ("1:16:5:log", [1, 2, 4, 8, 16]),
        ("-1:1:3", [-1, 0, 1]),
        ("{kind: first_enough}, {kind: mu_rule, mu: 1}", [{"kind": "first_enough"}, {"kind": "mu_rule", "mu": 1}]),
        ("[1, 2], [3, 4]", [[1, 2], [3, 4]]),
        ("package.module:Class", ["package.module:Class"]),
    ],
)
def test_values_of_an_option_are_read_as_yaml(text, values):
    assert read_values(text) == values


def test_a_range_in_the_file_is_a_list_of_points_and_of_the_resolved_scenario(write):
    scenario = stragglersim.load(write("sweep: {schemes.GC.s: {from: 1, to: 5, n: 3}, master.mu: [0.5, 1]}"))
    assert swept(scenario, "schemes.GC.s") == [1, 3, 5]
    assert len(scenario.points) == 6
    assert plain(scenario)["sweep"] == {"schemes.GC.s": [1, 3, 5], "master.mu": [0.5, 1]}


def test_options_add_to_the_sweep_of_the_file_and_replace_entries_of_it(write):
    path = write("sweep: {schemes.GC.s: [1, 2], 'jobs,seed': [[3, 1], [4, 2]]}")
    scenario = stragglersim.load(
        path, [], ["master.mu=0.5:2:4", "schemes.GC.s=3,4,5", "jobs, seed=[5, 3],[6, 4],[7, 5]"]
    )
    assert scenario.sweep == {
        "schemes.GC.s": [3, 4, 5],
        "jobs,seed": [[5, 3], [6, 4], [7, 5]],
        "master.mu": [0.5, 1.0, 1.5, 2.0],
    }
    assert scenario.points[-1][0] == {"schemes.GC.s": 5, "jobs": 7, "seed": 5, "master.mu": 2.0}
    assert scenario.points[-1][1].master.mu == 2.0


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("{from: 1, to: 1, n: 3}", "must go from one number to another, got 1 to 1"),
        ("{from: 1, to: .nan, n: 3}", "must go from one number to another, got 1 to nan"),
        ("{from: 1, to: x, n: 3}", "must go from one number to another, got 1 to 'x'"),
        ("{from: 1, to: 9, n: 1}", "must have between 2 and 500000 values, got n = 1"),
        ("{from: 1, to: 9, n: true}", "must have between 2 and 500000 values, got n = true"),
        ("{from: 1, to: 9, n: 3, scale: cubic}", "must have the scale linear or log, got 'cubic'"),
        ("{from: 0, to: 9, n: 3, scale: log}", "must go from one positive number to another on a log scale, got 0"),
        ("{from: 1, to: 9}", "must be a range {from: 1, to: 10, n: 4}"),
        ("{from: 1, to: 9, n: 3, step: 4}", "must be a range {from: 1, to: 10, n: 4}"),
        ("{from: 1, to: 4, n: 3}", "at jobs = 2.5: jobs: must be an integer of at least 1, got 2.5"),
    ],
)
def test_a_wrong_range_is_told_where_and_what(write, more, line):
    path = write(f"sweep: {{jobs: {more}}}")
    said = error_of(path)
    assert said.startswith(f"{path}:13:9: sweep.jobs: ")
    assert line in said


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("jobs", "--sweep jobs: must be key.path=values, got jobs"),
        ("jobs=", "--sweep jobs: must be values separated by commas, or start:stop:number"),
        ("jobs=1:2", "--sweep jobs: must be values separated by commas, or start:stop:number"),
        ("jobs=1:2:3:lin", "--sweep jobs: must be values separated by commas, or start:stop:number"),
        ("jobs=1:2:x", "--sweep jobs: must have between 2 and 500000 values, got n = 'x'"),
        ("jobs=[1", "--sweep jobs: must be values separated by commas"),
        ("jbos=1,2", "--sweep jbos: at jbos = 1: jbos: is not a key of a scenario"),
        ("schemes.CG.s=1,2", "--sweep schemes.CG.s: must name a place in the scenario"),
        ("schemes.GC.s=1,9", "--sweep schemes.GC.s: at schemes.GC.s = 9: schemes.GC.s: must be between 0 and 5, got 9"),
        ("jobs, seed=1,2", "--sweep jobs, seed: must be a list of lists of 2 values, got 1"),
    ],
)
def test_errors_of_sweep_options_name_the_option(path, option, line):
    assert error_of(path, [], [option]).splitlines()[0].startswith(line)


def test_a_key_that_the_file_sweeps_together_with_another_is_not_swept_alone(write):
    path = write("sweep: {'jobs, seed': [[3, 1], [4, 2]]}")
    assert error_of(path, [], ["jobs=1,2"]) == (
        "--sweep jobs: must be swept as in the scenario, by the entry 'jobs, seed', got 'jobs'"
    )
    assert len(stragglersim.load(path, ["sweep={}"], ["jobs=1,2"]).points) == 2


@pytest.mark.parametrize(
    ("sweeps", "warned"),
    [
        (["master.mu=1,2"], []),
        (["seed=1,2"], []),
        (["trials=1,2"], []),
        (["network.latency_s=0,1"], []),
        (["models=3,4"], []),
        (["master.mu=1"], ["sweep.master.mu: varies nothing: it has one value only, 1"]),
        (["master.mu=1,1.0"], ["sweep.master.mu: varies nothing: all its values give the same runs"]),
        (["name=a,b", "jobs=1,2"], ["sweep.name: varies nothing: all its values give the same runs"]),
        (["jobs=1,2", "name=a,b", "seed=1,2"], ["sweep.name: varies nothing: all its values give the same runs"]),
        # the later entry replaces the whole section
        (
            ["master.mu=1,2", "master={kind: first_enough},{kind: mu_rule, mu: 1}"],
            ["sweep.master.mu: varies nothing: all its values give the same runs"],
        ),
        (["master={kind: first_enough},{kind: mu_rule, mu: 1}", "jobs=1,1,2"], []),
    ],
)
def test_what_varies_nothing_is_warned_about(path, sweeps, warned):
    assert warnings(stragglersim.load(path, [], sweeps)) == warned


def test_rules_of_schemes_that_shadow_a_swept_rule_are_warned_about(path):
    own = "schemes.GC.master={kind: first_enough}"
    one = warnings(stragglersim.load(path, [own], ["master.mu=1,2"]))
    assert one == ["sweep.master.mu: changes nothing for schemes with their own master: GC"]
    both = warnings(stragglersim.load(path, [own, "schemes.uncoded.master={kind: first_enough}"], ["master.mu=1,2"]))
    assert both == ["sweep.master.mu: changes nothing: every scheme has its own master (leave the entry out)"]


@pytest.mark.parametrize(
    ("overrides", "sweep", "shadowing"),
    [
        (["master.mu=3"], "master.mu=1,2", {"master.mu": "master.mu"}),
        (["master.mu=3"], "master={kind: first_enough},{kind: mu_rule, mu: 1}", {"master.mu": "master"}),
        (["stragglers.slow.p=0.5"], "stragglers.*.slowdown=2,3", {}),
        (["schemes.GC.s=1", "jobs=2"], "schemes.GC.s, seed=[1,1],[2,2]", {"schemes.GC.s": "schemes.GC.s"}),
        (["master={kind: fixed_time, time_s: 1}"], "master.time_s=1,2", {}),
        (["network.latency_s=1"], "network.latency_s=1,2", {"network.latency_s": "network.latency_s"}),
    ],
)
def test_options_that_the_sweep_replaces_are_warned_about(path, overrides, sweep, shadowing):
    if "*" in sweep:
        overrides = [*overrides, "stragglers.usual={kind: bernoulli, p: 0.1, slowdown: 3}"]
    said = warnings(stragglersim.load(path, overrides, [sweep]), overrides)
    assert said == [
        f"--set {key}: changes nothing: shadowed by the sweep, which sets {by} at every point"
        for key, by in shadowing.items()
    ]


def test_a_wildcard_of_the_sweep_shadows_options_too(path):
    overrides = ["stragglers.usual={kind: bernoulli, p: 0.1, slowdown: 3}", "stragglers.slow.p=0.5"]
    [warning] = warnings(stragglersim.load(path, overrides, ["stragglers.*.p=0.1,0.2"]), overrides)
    assert warning.startswith(
        "--set stragglers.slow.p: changes nothing: shadowed by the sweep, which sets stragglers.*"
    )


def test_the_schema_knows_ranges(write):
    from ruamel.yaml import YAML

    read = YAML(typ="safe").load
    jsonschema.validate(
        read(SCENARIO + "sweep: {jobs: {from: 1, to: 9, n: 3, scale: log}, seed: [1]}"), scenario_schema()
    )
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read(SCENARIO + "sweep: {jobs: {from: 1, to: 9}}"), scenario_schema())


def test_runs_have_a_column_of_each_swept_range(path):
    runs = stragglersim.run(stragglersim.load(path, ["trials=1"], ["schemes.GC.s=0:4:3", "master.mu=0.5,1"])).runs
    assert runs.groupby("point")["schemes.GC.s"].first().tolist() == [0, 0, 2, 2, 4, 4]
    assert runs["schemes.GC.s"].dtype.kind == "i"
    assert runs.groupby("point")["master.mu"].first().tolist() == [0.5, 1] * 3


def test_a_plug_in_that_does_not_know_when_it_equals_another_is_compared_by_what_decides_it(
    path, tmp_path, monkeypatch
):
    source = """
from schemes import Scheme, Uncoded

class Mine(Scheme):
    delay_rounds, tolerates, load = 0, "nothing", 0.0

    def __init__(self, n_workers, colour="red"):
        self.n_workers, self.colour, self.load = n_workers, colour, 1 / n_workers

    def start(self, n_jobs, rng):
        return Uncoded(self.n_workers).start(n_jobs, rng)

    def chunk_loads(self):
        return Uncoded(self.n_workers).chunk_loads()
"""
    (tmp_path / "outside_scheme.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    mine = "schemes={mine: {kind: 'outside_scheme:Mine', master: {kind: first_enough}}}"
    shadowed = warnings(stragglersim.load(path, [mine], ["master.mu=1,2"]))
    assert shadowed == ["sweep.master.mu: changes nothing: every scheme has its own master (leave the entry out)"]
    idle = warnings(stragglersim.load(path, [mine], ["master.mu=1,2", "jobs=3,3"]))
    assert idle[1:] == ["sweep.jobs: varies nothing: all its values give the same runs"]
    assert not warnings(stragglersim.load(path, [mine], ["schemes.mine.colour=red,blue"]))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"engine": "simpy"}, "engine: must be one of auto, vectorised, events, got 'simpy'"),
        ({"detail": "all"}, "detail: must be one of runs, rounds, workers, got 'all'"),
        ({"executor": "threads"}, "executor: must be one of serial, processes, dask, got 'threads'"),
        ({"scenario": "q.yaml"}, r"scenario: must be a Scenario, got 'q.yaml' \(load makes one of a file\)"),
    ],
)
def test_python_refuses_words_that_are_none(write, changes, line):
    given = {"scenario": stragglersim.load(write(""))} | changes
    with pytest.raises(UserError, match=line):
        stragglersim.run(**given)
