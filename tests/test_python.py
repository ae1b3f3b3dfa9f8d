"""In Python and notebooks: scenarios of mappings, and what results show and give to papers."""

import importlib.resources
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import stragglersim
from schemes import GradientCoding, Uncoded
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.results.compare import compare
from simulator.results.summary import summary
from straggler_models import Bernoulli, Constant
from stragglersim import Scenario, ScenarioError

PARTS = {
    "stragglers": {
        "usual": {"kind": "constant", "seconds_per_load": 4.0},
        "slow": {"kind": "bernoulli", "p": 0.2, "slowdown": 5.0},
    },
    "schemes": {
        "uncoded": {"kind": "uncoded"},
        "GC": {"kind": "gradient_coding", "s": 1, "master": {"kind": "mu_rule", "mu": 0.5}},
    },
}
OBJECTS = Scenario(
    workers=4,
    jobs=6,
    trials=5,
    stragglers={"usual": Constant(seconds_per_load=4.0), "slow": Bernoulli(p=0.2, slowdown=5.0)},
    schemes={"uncoded": Uncoded(4), "GC": GradientCoding(4, s=1)},
    masters={"GC": MuRule(mu=0.5)},
)


def test_a_scenario_of_mappings_is_that_of_objects():
    assert Scenario(workers=4, jobs=6, trials=5, **PARTS) == OBJECTS
    mixed = {"uncoded": Uncoded(4), "GC": {"kind": "gradient_coding", "s": 1}}
    both = Scenario(
        workers=4,
        jobs=6,
        trials=5,
        stragglers=OBJECTS.stragglers,
        schemes=mixed,
        master={"kind": "first_enough"},
        masters={"GC": {"kind": "mu_rule", "mu": 0.5}},
        network={"latency_s": 0.25},
    )
    assert both.network.latency_s == 0.25
    assert (both.schemes, both.masters, both.master) == (OBJECTS.schemes, OBJECTS.masters, FirstEnough())
    swept = Scenario(workers=4, jobs=6, sweep={"schemes.GC.s": [1, 2]}, **PARTS)
    assert [point.schemes["GC"].s for _, point in swept.points] == [1, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schemes": {"GC": {"kind": "gradient_codin", "s": 1}}}, "did you mean gradient_coding?"),
        ({"schemes": {"GC": {"kind": "gradient_coding", "s": 9}}}, "schemes.GC.s: must be between 0 and 3, got 9"),
        ({"stragglers": {"usual": {"kind": "bernoulli", "p": 2.0, "slowdown": 2.0}}}, "stragglers.usual.p: must be"),
        ({"master": {"kind": "mu_rule", "mu": -1.0}}, "master.mu: must be at least 0"),
        ({"masters": {"GC": {"kind": "mu_rule", "mu": "much"}}}, "masters.GC.mu: must be"),
        ({"network": {"latency": 1.0}}, "network.latency: is not a key"),
        ({"schemes": {"GC": {"kind": "gradient_coding", "s": 1, "master": 3}}}, "schemes.GC.master: must be"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_told_at_its_place(given, said):
    with pytest.raises(ScenarioError, match=said.replace("?", r"\?")):
        Scenario(workers=4, jobs=6, **PARTS | given)


@pytest.mark.parametrize("sweep", [{}, {"master": [{"kind": "first_enough"}, {"kind": "mu_rule", "mu": 1.0}]}])
def test_yaml_of_a_scenario_is_the_scenario(sweep, tmp_path):
    scenario = Scenario(workers=4, jobs=6, name="mine", sweep=sweep, **PARTS)
    (tmp_path / "it.yaml").write_text(scenario.to_yaml())
    assert stragglersim.load(tmp_path / "it.yaml") == scenario


def test_results_have_their_tables_by_name():
    results = stragglersim.run(OBJECTS)
    pd.testing.assert_frame_equal(results.summary(), summary(results.runs))
    expected = compare(results.runs, baseline="GC", metric="jobs_per_s")
    pd.testing.assert_frame_equal(results.compare(baseline="GC", metric="jobs_per_s"), expected)


class Cells(HTMLParser):
    """The cells of tables, and everything else that is said."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.said = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        self.rows[-1].append(data) if self.tags[-1] in ("td", "th") else self.said.append(data)


HOSTILE = "<script>alert(1)</script> & 50 %_"


def test_a_notebook_shows_a_comparison_and_runs_nothing():
    results = stragglersim.run(
        Scenario(workers=4, jobs=6, stragglers=OBJECTS.stragglers, schemes={HOSTILE: Uncoded(4)})
    )
    shown = Cells(results._repr_html_())
    assert "script" not in shown.tags
    assert shown.rows[1][0] == HOSTILE
    assert any("first_enough" in line for line in shown.said)
    many = OBJECTS.schemes | {f"GC {place}": GradientCoding(4, s=1) for place in range(60)}
    long = Cells(
        stragglersim.run(Scenario(workers=4, jobs=2, stragglers=OBJECTS.stragglers, schemes=many))._repr_html_()
    )
    assert len(long.rows) == 41
    assert any("first 40 of 62 rows" in line for line in long.said)


def test_tables_for_papers():
    schemes = {r"$\lambda$-GC": GradientCoding(4, s=1), "50 %_~{x}": Uncoded(4), "5 $": Uncoded(4)}
    results = stragglersim.run(Scenario(workers=4, jobs=6, trials=3, stragglers=OBJECTS.stragglers, schemes=schemes))
    text = results.to_latex(baseline="5 $")
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert (lines[0][:15], lines[1], lines[-2:]) == (
        r"\begin{tabular}",
        r"\toprule",
        [r"\bottomrule", r"\end{tabular}"],
    )
    header, *rows = [line for line in lines if line.endswith(r" \\")]
    assert {row.count(" & ") for row in (header, *rows)} == {lines[0].count("r") + lines[0].count("l") - 3}
    assert [row.split(" & ")[0] for row in rows] == [r"$\lambda$-GC", r"50 \%\_$\sim$\{x\}", r"5 \$"]
    assert r"$\pm$" in rows[0]
    names = header.removesuffix(r" \\").split(" & ")
    assert len(set(names)) == len(names)
    shown = [line for line in results.to_markdown().splitlines() if line.startswith("|")]
    assert len(shown) == 5
    assert "makespan_s" in shown[0]


def test_progress_can_be_a_bar(capfd):
    bar, numbers = stragglersim.run(OBJECTS, progress=True), []
    assert "run" in capfd.readouterr().err
    told = stragglersim.run(OBJECTS, progress=lambda done, in_all: numbers.append((done, in_all)))
    assert numbers[-1] == (10, 10)
    pd.testing.assert_frame_equal(bar.runs, told.runs)
    stragglersim.run(OBJECTS)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("package", ["stragglersim", "simulator", "schemes", "straggler_models", "workloads"])
def test_types_are_shipped(package):
    assert (importlib.resources.files(package) / "py.typed").is_file()


def test_numbers_of_mappings_may_be_of_numpy():
    given = {"GC": {"kind": "gradient_coding", "s": np.int64(1)}}
    assert Scenario(workers=4, jobs=6, **PARTS | {"schemes": given}).schemes["GC"] == GradientCoding(4, s=1)
