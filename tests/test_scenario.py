"""Scenarios: what is read, and what every wrong input is told."""

import json
import math
import sys

import jsonschema
import pytest

import stragglersim
from examples import SCENARIO
from schemes import Uncoded
from simulator.engine.master_rules import MuRule
from simulator.scenario.dotted_keys import find
from simulator.scenario.json_schema import scenario_schema
from simulator.scenario.no_effect import warnings
from simulator.scenario.plain import plain
from straggler_models import Bernoulli, Constant
from stragglersim import Scenario, ScenarioError


@pytest.fixture
def write(tmp_path):
    def _write(text, name="scenario.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def errors_of(path, overrides=()):
    with pytest.raises(ScenarioError) as error:
        stragglersim.load(path, overrides)
    return [line.replace(str(path), "FILE") for line in error.value.lines]


def test_a_scenario_becomes_frozen_objects(write):
    scenario = stragglersim.load(write(SCENARIO))
    assert scenario.stragglers == {"usual": Constant(0.1, 6.0), "slow": Bernoulli(p=0.2, slowdown=4.0)}
    assert scenario.master == MuRule(mu=1.0)
    assert scenario.schemes["GC"].load == 0.5
    assert scenario.n_rounds == 4
    with pytest.raises(AttributeError):
        scenario.seed = 4


def test_the_resolved_scenario_is_the_same_scenario(write):
    from ruamel.yaml import YAML

    scenario = stragglersim.load(write(SCENARIO + "models: 3\nsweep: {master.mu: [0.5, 1.0]}\n"))
    again = write("", "resolved.yaml")
    with again.open("w") as file:
        YAML(typ="safe").dump(plain(scenario), file)
    assert stragglersim.load(again) == scenario


def test_a_scheme_may_have_a_master_of_its_own(write):
    text = SCENARIO.replace("s: 2}", "s: 2, master: {kind: fixed_time, time_s: 2}}") + "sweep: {master.mu: [1, 2]}\n"
    scenario = stragglersim.load(write(text))
    assert scenario.rule_for("GC").time_s == 2
    assert scenario.rule_for("uncoded") == MuRule(mu=1.0)
    assert plain(scenario)["schemes"]["GC"]["master"]["kind"] == "fixed_time"
    assert "GC" in warnings(scenario)[0]
    assert warnings(scenario)[0].startswith("sweep.master.mu")


def test_overrides_replace_values_as_yaml(write):
    scenario = stragglersim.load(write(SCENARIO), ["schemes.GC.s=3", "master.mu=1e-3", "stragglers.slow.slowdown=2.5"])
    assert (scenario.schemes["GC"].s, scenario.master.mu) == (3, 1e-3)
    assert scenario.stragglers["slow"].slowdown == 2.5


def test_a_sweep_is_every_combination(write):
    text = SCENARIO + "sweep:\n  master.mu: [0.5, 1]\n  schemes.GC.s: [0, 1, 2]\n"
    scenario = stragglersim.load(write(text))
    assert [values for values, _ in scenario.all_points()] == [
        {"master.mu": mu, "schemes.GC.s": s} for mu in (0.5, 1) for s in (0, 1, 2)
    ]
    assert [point.schemes["GC"].s for _, point in scenario.all_points()] == [0, 1, 2] * 2


def test_keys_may_vary_together_and_for_all_labels(write):
    text = SCENARIO.replace("{kind: uncoded}", "{kind: gradient_coding, s: 0}") + (
        "sweep:\n  schemes.*.s, jobs: [[1, 5], [2, 6]]\n  master.mu: [1, 2]\n"
    )
    points = stragglersim.load(write(text)).all_points()
    assert [values for values, _ in points] == [
        {"schemes.*.s": s, "jobs": jobs, "master.mu": mu} for s, jobs in ((1, 5), (2, 6)) for mu in (1, 2)
    ]
    assert [[scheme.s for scheme in point.schemes.values()] for _, point in points] == [[1, 1], [1, 1], [2, 2], [2, 2]]
    assert [point.jobs for _, point in points] == [5, 5, 6, 6]


def test_a_label_may_hold_dots_and_spaces():
    data = {"schemes": {"a.b c": {"s": 1}, "a": {"s": 2}}}
    assert find(data, "schemes.a.b c.s") == ("schemes", "a.b c", "s")
    assert find(data, "schemes.a.s") == ("schemes", "a", "s")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("seed: 3", "seed: -3"), "FILE:2:1: seed: must be at least 0, got -3"),
        (("trials: 2", "trials: 2.5"), "FILE:3:1: trials: must be an integer of at least 1, got 2.5"),
        (("trials: 2", "trials: off"), "FILE:3:1: trials: must be an integer of at least 1, got 'off'"),
        (("jobs: 4", "jbos: 4"), "FILE:5:1: jbos: is not a key of a scenario"),
        (("jobs: 4\n", ""), "FILE:1:1: jobs: must be given (an integer of at least 1), got nothing"),
        (("s: 2}", "s: 400}"), "FILE:12:31: schemes.GC.s: must be between 0 and 5, got 400"),
        (("s: 2}", "s: 2, t: 4}"), "FILE:12:37: schemes.GC.t: is not a key here (known: s)"),
        (("p: 0.2", "p: 1.5"), "FILE:8:27: stragglers.slow.p: must be between 0 and 1, got 1.5"),
        (("p: 0.2", "p: .nan"), "FILE:8:27: stragglers.slow.p: must be"),
        (("p: 0.2, ", ""), "FILE:8:3: stragglers.slow.p: must be given (a number between 0 and 1), got nothing"),
        (("startup_s: 1e-1", "startup_s: .inf"), "FILE:7:27: stragglers.usual.startup_s: must be a number of at least"),
        (("kind: bernoulli", "kind: bernouli"), "FILE:8:10: stragglers.slow.kind: 'bernouli' is not one of"),
        (("kind: bernoulli, ", ""), "FILE:8:3: stragglers.slow.kind: must be given (one of adversarial"),
        (("kind: mu_rule", "kind: mu"), "FILE:9:10: master.kind: 'mu' is not one of first_enough, fixed_time, mu_rule"),
        (("mu: 1.0", "mu: 1.0, wait_for: al"), "FILE:9:34: master.wait_for: must be one of all, enough, nobody"),
        (("{kind: uncoded}", "3"), "FILE:11:3: schemes.uncoded: must be a mapping with a kind, got 3"),
        (
            ("schemes:\n  uncoded: {kind: uncoded}\n  GC: {kind: gradient_coding, s: 2}\n", ""),
            "FILE:1:1: schemes: must be",
        ),
        (("slowdown: 4", "slowdown: .inf"), "FILE:9:1: master.timeout_s: must be given, because workers of"),
        (
            ("kind: gradient_coding, s: 2", "kind: fractional_repetition, s: 3"),
            "FILE:12:3: schemes.GC: workers must be a",
        ),
        (("kind: gradient_coding, s: 2", "kind: multiplexed, B: 2, W: 2, lam: 1"), "FILE:12:27: schemes.GC.B: must be"),
        (("seed: 3", "models: 1\nseed: 3\nseed: 4"), "FILE:4:1: seed: must be given once, got the same key again"),
        (("seed: 3", "seed: !!python/name:os.system"), "FILE:2:7: seed: must be a plain value, got the tag"),
        (("kind: uncoded", "kind: no.where:Thing"), "FILE:11:13: schemes.uncoded.kind: must name a scheme that can be"),
        (
            ("kind: uncoded", "kind: json:JSONDecoder"),
            "FILE:11:13: schemes.uncoded.kind: must name a subclass of Scheme",
        ),
        (("kind: uncoded", "kind: json:dumps"), "FILE:11:13: schemes.uncoded.kind: must name a subclass of Scheme"),
        (
            ("workers: 6", "workers: 6\nsweep: {master.nu: [1]}"),
            "FILE:5:9: sweep.master.nu: at master.nu = 1: master.nu: is",
        ),
        (("workers: 6", "workers: 6\nsweep: {mister.nu: [1]}"), "FILE:5:9: sweep.mister.nu: must name a place"),
        (
            ("workers: 6", "workers: 6\nsweep: {jobs: 3}"),
            "FILE:5:9: sweep.jobs: must be a list of values, or a range {from: 1, to: 10, n: 4}, got 3",
        ),
        (
            ("workers: 6", "workers: 6\nsweep: {'jobs, seed': [3]}"),
            "FILE:5:9: sweep.jobs, seed: must be a list of lists of 2",
        ),
        (("workers: 6", "workers: 6\nsweep: {jobs.*.x: [3]}"), "FILE:5:9: sweep.jobs.*.x: must name a place"),
        (("workers: 6", "workers: 6\nsweep: [jobs]"), "FILE:5:1: sweep: must be a mapping of dotted keys"),
        (("workers: 6", "workers: 6\nsweep: {schemes.GC.s: [1, 9]}"), "schemes.GC.s: must be between 0 and 5, got 9"),
    ],
)
def test_wrong_input_is_told_where_and_what(write, change, line):
    assert change[0] in SCENARIO
    lines = errors_of(write(SCENARIO.replace(*change)))
    assert any(line in found for found in lines), lines
    assert all(found.startswith("FILE:") and "\n" not in found for found in lines)


def test_a_scheme_whose_t_exceeds_the_models_is_refused(write):
    text = SCENARIO + "  M-SGC: {kind: multiplexed, B: 2, W: 3, lam: 2}\nmodels: 3\n"
    assert errors_of(write(text)) == ["FILE:13:3: schemes.M-SGC: T must be at most models - 1 = 2 rounds, got 3"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("seed: 3", "seed: !!int abc"), "FILE:2:7: seed: must be a int, got 'abc'"),
        (("seed: 3", "seed: !!bool maybe"), "FILE:2:7: seed: must be a bool, got 'maybe'"),
        (("workers: 6", "workers: 100000000000000000000000"), "FILE:4:1: workers: must be between 1 and 1000000, got"),
        (("name: good", "name: ../../evil"), "FILE:1:1: name: must not hold /"),
        (("name: good", "name: ''"), "FILE:1:1: name: must not be empty, got ''"),
        (("name: good", 'name: "\x01"'), "FILE:1:8: must be YAML"),
        (("name: good", "<<: 3"), "FILE:1:5: <<: must be a mapping or a list of mappings, got '3'"),
        (("name: good", "a: &a {<<: *a}"), "FILE:1:4: a.<<: must not contain itself"),
        (("slowdown: 4", "slowdown: inf"), "got 'inf' (infinity is written .inf)"),
        (
            ("kind: bernoulli, p: 0.2, slowdown: 4", "kind: markov_speed, states: []"),
            "states: must not be empty, got []",
        ),
    ],
)
def test_odd_values_are_refused_too(write, change, line):
    lines = errors_of(write(SCENARIO.replace(*change)))
    assert any(line in found for found in lines), lines


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import sys; sys.exit(0)", "must name a scheme that can be imported"),
        (
            "from schemes import Uncoded\nclass X(Uncoded):\n  def __init__(self, n_workers): 1 / 0",
            "cannot be made: a plug-in raised ZeroDiv",
        ),
        (
            "from schemes import Uncoded\nclass X(Uncoded):\n  @property\n  def delay_rounds(self): 1 / 0",
            "a plug-in raised ZeroDivisionError",
        ),
    ],
)
def test_a_plug_in_that_raises_is_one_line(write, tmp_path, monkeypatch, code, line):
    (tmp_path / "raises.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("raises", None)
    lines = errors_of(write(SCENARIO.replace("kind: uncoded", "kind: 'raises:X'")))
    assert len(lines) == 1
    assert line in lines[0]


def test_a_plain_dataclass_is_a_plug_in_too(write, tmp_path, monkeypatch):
    (tmp_path / "plainly.py").write_text(
        "from dataclasses import dataclass\nimport numpy as np\nfrom schemes import LinearScheme\n"
        "@dataclass(frozen=True)\nclass Plain(LinearScheme):\n"
        "    n_workers: int\n    def encoding_matrix(self): return np.eye(self.n_workers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scenario = stragglersim.load(write(SCENARIO.replace("kind: uncoded", "kind: 'plainly:Plain'")))
    assert stragglersim.run(scenario).runs["decode_failures"].sum() == 0


def test_models_are_checked_also_where_all_schemes_are_wrong(write):
    text = SCENARIO.replace("kind: uncoded", "kind: uncodd").replace("gradient_coding", "gradent_coding")
    text = text.replace("{kind: bernoulli, p: 0.2, slowdown: 4}", "{kind: failed_workers, count: 9, drawn: per_run}")
    lines = errors_of(write(text))
    assert [line.split(":")[1] for line in lines] == ["8", "11", "12"]


def test_overrides_reach_the_default_master_and_items_of_lists(write):
    text = SCENARIO.replace("master: {kind: mu_rule, mu: 1.0}\n", "")
    text = text.replace(
        "{kind: bernoulli, p: 0.2, slowdown: 4}", "{kind: markov_speed, states: [{slowdown: 2, mean_s: 1}]}"
    )
    scenario = stragglersim.load(write(text), ["master.timeout_s=2", "stragglers.slow.states.0.slowdown=3"])
    assert scenario.master.timeout_s == 2
    assert scenario.stragglers["slow"].states[0]["slowdown"] == 3
    assert stragglersim.load(write(SCENARIO + "sweep: {jobs: [1, 2]}"), ["sweep={}"]).points == ()


def test_an_error_of_a_sweep_is_told_once_at_the_key_at_fault(write):
    text = SCENARIO + "sweep:\n  jobs: [1, 2]\n  schemes.GC.s: [1, 9]\n"
    assert errors_of(write(text)) == [
        "FILE:15:3: sweep.schemes.GC.s: at jobs = 1, schemes.GC.s = 9: schemes.GC.s: must be between 0 and 5, got 9"
    ]


def test_all_errors_are_reported_in_the_order_of_the_file(write):
    text = SCENARIO.replace("seed: 3", "seed: x").replace("p: 0.2", "p: 2")
    text = text.replace("s: 2", "s: 9").replace("mu: 1.0", "mi: 1")
    places = [line.split(":")[1] for line in errors_of(write(text))]
    assert places == ["2", "8", "9", "12"]


def test_the_nearest_known_word_is_offered(write):
    assert errors_of(write(SCENARIO.replace("jobs: 4", "jbos: 4")))[1].endswith("did you mean jobs?")
    assert errors_of(write(SCENARIO.replace("slowdown", "slowdwon")))[1].endswith("did you mean slowdown?")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: [1,\n", "FILE:2:1: must be YAML"),
        ("a: 1\n b: 2\n", "FILE:2:3: must be YAML"),
        ("", "FILE:1:1: must be a mapping"),
        ("- 1\n", "FILE:1:1: must be a mapping"),
        ("a: 1\n---\nb: 2\n", "FILE:2:1: must be YAML"),
        ("a: &x [*x]\n", "FILE:1:4: a.0: must not contain itself"),
        ("? [1, 2]\n: 3\n", "FILE:1:3"),
        ("a: \x00\n", "FILE:1:4: must be YAML"),
    ],
)
def test_what_is_not_a_yaml_mapping_is_refused(write, text, start):
    lines = errors_of(write(text))
    assert lines[0].startswith(start), lines


def test_unreadable_files_are_refused(tmp_path):
    assert "No such file" in errors_of(tmp_path / "nowhere.yaml")[0]
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    assert "not UTF-8" in errors_of(tmp_path / "latin.yaml")[0]


def test_errors_of_overrides_name_the_option(write):
    path = write(SCENARIO)
    assert errors_of(path, ["schemes.GC.s=9"]) == ["--set schemes.GC.s: must be between 0 and 5, got 9"]
    assert errors_of(path, ["schemes.CG.s=9"])[0].startswith("--set schemes.CG.s: must name a place")
    assert errors_of(path, ["nothing"])[0].startswith("--set nothing: must be key.path=value")
    assert errors_of(path, ["jobs=["])[0].startswith("--set jobs: must be a YAML value")


def test_a_trace_is_found_beside_the_scenario_and_its_errors_have_a_place(write, tmp_path):
    (tmp_path / "data").mkdir()
    trace = tmp_path / "data" / "times.csv"
    rows = [f"{r},{w},1.5" for r in range(3) for w in range(6)]
    text = SCENARIO.replace("{kind: bernoulli, p: 0.2, slowdown: 4}", "{kind: trace, path: data/times.csv}")
    text = text.replace("trials: 2", "trials: 1")
    path = write(text)
    assert "stragglers.slow.path: must name a readable file" in errors_of(path)[0]
    trace.write_text("\n".join(["round,worker,duration_s", *rows]))
    assert errors_of(path) == [
        "FILE:8:23: stragglers.slow.path: must name a trace of at least 4 rounds (or give wrap: cycle), "
        f"got 3 in {trace}"
    ]
    assert stragglersim.load(path, ["stragglers.slow.wrap=cycle"]).stragglers["slow"].path == str(trace)
    trace.write_text("\n".join(["round,worker,duration_s", *rows[:-1], "2,5,nan"]))
    assert (
        "FILE:8:23: stragglers.slow.path: must name a file in which duration_s must be a number" in errors_of(path)[0]
    )


def test_trials_of_one_trace_are_refused_with_a_hint(write, tmp_path):
    (tmp_path / "times.csv").write_text("round,worker,duration_s\n" + "".join(f"0,{w},1\n" for w in range(6)))
    text = SCENARIO.replace("  slow: {kind: bernoulli, p: 0.2, slowdown: 4}\n", "")
    text = text.replace(
        "{kind: constant, startup_s: 1e-1, seconds_per_load: 6}", "{kind: trace, path: times.csv, wrap: cycle}"
    )
    lines = errors_of(write(text))
    assert lines == [
        "FILE:3:1: trials: must be 1, because every trial would replay the same trace, got 2 "
        "(use mode: bootstrap in stragglers.usual for trials that differ)"
    ]
    stragglersim.load(write(text.replace("wrap: cycle", "mode: bootstrap, block_rounds: 2")))


def test_a_plug_in_of_another_package_is_a_kind(write, tmp_path, monkeypatch):
    (tmp_path / "mypackage.py").write_text(
        "from pydantic.dataclasses import dataclass\n"
        "from schemes import Uncoded\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Uncoded):\n"
        "    '''Mine.'''\n"
        "    extra: int = 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scenario = stragglersim.load(write(SCENARIO.replace("{kind: uncoded}", "{kind: 'mypackage:Mine', extra: 3}")))
    assert scenario.schemes["uncoded"].extra == 3
    assert plain(scenario)["schemes"]["uncoded"] == {"kind": "mypackage:Mine", "extra": 3}
    del sys.modules["mypackage"]
    (tmp_path / "broken.py").write_text("1 / 0")
    lines = errors_of(write(SCENARIO.replace("kind: uncoded", "kind: 'broken:Mine'")))
    assert "got broken:Mine (ZeroDivisionError: division by zero, broken.py:1)" in lines[0]


def test_python_builds_the_same_scenarios_and_refuses_the_same_contradictions():
    models = {"usual": Constant(1.0)}
    with pytest.raises(ScenarioError, match="n_workers must be 4, as in the scenario, got 5"):
        Scenario(workers=4, jobs=1, stragglers=models, schemes={"uncoded": Uncoded(5)})
    with pytest.raises(ScenarioError, match="timeout_s"):
        Scenario(workers=4, jobs=1, stragglers={"x": Bernoulli(p=0.1, slowdown=math.inf)}, schemes={"u": Uncoded(4)})
    with pytest.raises(ScenarioError, match="stragglers: must have at least one entry"):
        Scenario(workers=4, jobs=1, stragglers={}, schemes={"u": Uncoded(4)})


def test_the_schema_describes_the_shipped_scenarios():
    from ruamel.yaml import YAML

    from simulator.cli.look_up import _scenarios

    schema = scenario_schema()
    json.dumps(schema)
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    checked, load = kind(schema), YAML(typ="safe").load
    for path in _scenarios().glob("*.yaml"):
        checked.validate(load(path))
    with pytest.raises(jsonschema.ValidationError):
        checked.validate(load(SCENARIO.replace("s: 2}", "s: -2}")))
    checked.validate(load(SCENARIO.replace("kind: uncoded", "kind: 'package.module:Mine', x: 3")))


@pytest.mark.parametrize(
    ("text", "write"),
    [
        ("stragglers:\n  {models}", "`stragglers: model.yaml` into"),  # as `trace fit` writes it
        ("{models}", "it below `stragglers:` in"),
    ],
)
def test_stragglers_alone_are_no_scenario(text, write, tmp_path):
    models = "a: {kind: constant, startup_s: 0.2}\n  b: {kind: bernoulli, p: 0.1, slowdown: 2}\n"
    models = models if "stragglers" in text else models.replace("  b", "b")
    (tmp_path / "model.yaml").write_text(text.replace("{models}", models))
    with pytest.raises(ScenarioError) as error:
        stragglersim.load(tmp_path / "model.yaml")
    assert str(error.value) == (
        f"{tmp_path}/model.yaml:1:1: this is a section of stragglers: write {write} a scenario, beside workers, jobs "
        "and schemes"
    )
