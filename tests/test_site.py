"""What the site has: the reference of everything that the code offers, and the gallery of every scenario."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
import typer

from examples import SCHEMES as EXAMPLES
from schemes import SCHEMES
from simulator.cli.app import app
from simulator.columns import DERIVED, TABLES
from simulator.scenario.json_schema import scenario_schema

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs" / "generate"))
import notebooks  # noqa: E402 - beside the docs
import reference_pages as reference  # noqa: E402
from test_notebooks import NOTEBOOKS  # noqa: E402
from test_prose import too_long  # noqa: E402

PRICE = "at the price of"  # an approximate or a stale gradient
OUR_OWN = ("uncoded", "ideal", "constant", "prone_workers")  # of no paper


@pytest.mark.parametrize("page", reference.FAMILIES)
def test_the_page_of_a_family_has_every_kind_its_parameters_and_its_source(page):
    plugins, text = reference.FAMILIES[page][0], reference.PAGES[page]()
    sections = dict(section.split("\n", 1) for section in text.split("\n## ")[1:])
    headings = {kind: reference.heading(kind) for kind in plugins.shipped}
    sections = {kind: sections[headings[kind]] for kind in plugins.shipped}
    assert text.count("\n## ") == len(sections)
    for kind, cls in plugins.shipped.items():
        for parameter in reference.parameters(cls, plugins.filled_in):
            assert f"| `{parameter.name}` | {parameter.must_be} |" in sections[kind]
    if page in ("schemes", "straggler-models"):
        assert [kind for kind, said in sections.items() if "Source" not in said and kind not in OUR_OWN] == []


def test_headings_have_the_names_of_the_papers_and_anchors_the_kind():
    text = reference.PAGES["schemes"]()
    assert "\n## multiplexed (M-SGC) { #multiplexed }\n" in text
    assert "\n## selective_repeat (SR-SGC) { #selective_repeat }\n" in text
    assert "\n## uncoded { #uncoded }\n" in text
    kinds = {kind for plugins, *_ in reference.FAMILIES.values() for kind in plugins.shipped}
    assert set(reference.OF_PAPERS) | set(reference.EXPLAINED) <= kinds


def test_schemes_that_give_estimates_are_marked():
    text = reference.PAGES["schemes"]()
    estimated = {
        kind for kind, cls in SCHEMES.items() if any(type(one) is cls and PRICE in one.tolerates for one in EXAMPLES)
    }
    assert estimated == reference.ESTIMATED
    assert text.count("*Estimates*: ") == len(estimated)


def test_the_page_of_keys_has_all_that_the_schema_has():
    text = reference.scenario_keys()
    for name in scenario_schema()["properties"]:
        assert f"\n| `{name}` | " in text
    assert "must be | default" in text
    assert "a list |" not in text.replace("or a list", "")


def test_the_page_of_commands_has_every_command_and_option():
    text = reference.command_line()
    for path, command in reference.commands(("stragglersim",), typer.main.get_command(app)):
        section = text.split(f"## {' '.join(path)}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert parameter.opts[0] in section or parameter.param_type_name == "argument"


def test_the_page_of_tables_has_every_column():
    text = reference.tables()
    for name, columns in (TABLES | DERIVED).items():
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        assert all(f"| `{column}`{{ #{name}-{column} }} |" in section for column in columns)
    assert "| float64 | jobs per second | " in text


@pytest.mark.parametrize("page", reference.PAGES)
def test_no_sentence_that_the_code_says_is_too_long(page):
    assert too_long(reference.PAGES[page]()) == []


def test_what_is_printed_names_pages_by_their_titles_and_no_file_of_the_docs():
    rooms = ("simulator", "stragglersim", "schemes", "straggler_models", "workloads", "scenarios")
    files = [file for room in rooms for ending in ("py", "yaml") for file in (ROOT / room).rglob(f"*.{ending}")]
    texts = {file: " ".join(file.read_text(encoding="utf-8").split()) for file in files}
    assert [file for file, text in texts.items() if re.search(r"docs/\w+/\w*.?md", text)] == []
    named = {title for text in texts.values() for title in re.findall(r"documentation: ([\w ]+, [\w ]+)", text)}
    assert named <= {f"{room}, {title}" for room, title in titles()}
    assert "Reference, Traces" in named


def titles():
    """Section and title of each page."""
    section = ""
    for line in (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].splitlines():
        found = re.fullmatch(r"( *)- ([^:]+):.*", line)
        if found is not None:
            section = found[2] if len(found[1]) == 2 else section
            yield section, found[2]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_page_with_its_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    shown = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    made = notebooks.pages(path)
    text = made.pop(f"examples/{path.stem}.md")
    assert text.startswith(cells[0].source)
    assert text.count("```python\n") == sum(cell.cell_type == "code" for cell in cells)
    assert text.count("![") == len(made) == sum("image/png" in output.get("data", {}) for output in shown) > 0
    assert text.count("<table>") == sum("<table" in output.get("data", {}).get("text/html", "") for output in shown)
    assert "```text\n" in text
    assert "src=" not in text


def test_the_gallery_has_every_scenario_with_its_figure():
    text = (ROOT / "docs" / "gallery" / "index.md").read_text(encoding="utf-8")
    for scenario in (ROOT / "scenarios").glob("*.yaml"):
        section = text.split(f"\n### {scenario.stem}\n")[1].split("\n### ")[0]
        assert f"]({scenario.stem}.png)" in section
        assert f"](../../scenarios/{scenario.name})" in section
        assert (ROOT / "docs" / "gallery" / f"{scenario.stem}.png").is_file()
