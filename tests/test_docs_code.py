"""The code of the pages runs, and prints what they say.

A page is run from top to bottom in an empty folder. A block with a title is a file; other blocks of Python share their
names; of blocks of a console, each line after "$ " is run, and the lines below it are what it prints ("..." stands for
any lines). A block below `<!-- needs: ... -->` needs something that this machine has not, and a figure below
`<!-- figure: FILE -->` is that file. `python tests/test_docs_code.py` writes outputs and figures anew.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from simulator.cli.app import main

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(
    r"(?:<!-- needs: (?P<needs>[^>]+) -->\n)?^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?"
    r"[^\n]*\n(?P<code>.*?)^```$"
    r"|<!-- figure: (?P<figure>\S+) -->\n!\[[^\]]*\]\((?P<shown>[^)]+)\)",
    re.M | re.S,
)
RUN = ("python", "console")
RUNS = re.compile("^```(?:python|console|.* title=)", re.M)
PAGES = sorted(page for page in DOCS.glob("*/*.md") if RUNS.search(page.read_text(encoding="utf-8")))
NEEDS = (
    "Kubernetes",
    "a Dask cluster",
    "a network",
    "a trace of yours",
    "mpi4py",
    "ray",
    "some minutes",
    "the class around it",
    "torch",
)
MOST_BYTES = 60_000


class Call(NamedTuple):
    """A line of a console, and what stands below it."""

    line: str
    said: str


def calls(code):
    parts = re.split(r"^\$ ", code, flags=re.M)[1:]
    return [Call(*part.partition("\n")[::2]) for part in parts]


def printed(call):
    """What a command prints, or says is wrong if a page shows that; arguments are as in a shell."""
    line, said = call
    words = shlex.split(line, comments=True)
    if words[0] == "python":
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True)
        return done.stdout
    assert words[0] == "stragglersim", f"neither run nor marked by needs: {line}"
    out, errors, before, status = io.StringIO(), io.StringIO(), sys.argv, 0
    try:
        sys.argv = words
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as stop:
        status = stop.code or 0
    finally:
        sys.argv = before
    assert not status or said.strip(), f"{line}: {errors.getvalue()}"
    return errors.getvalue() if status else out.getvalue()


def tidy(text):
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def as_said(said, found):
    """Say whether an output is what a page has; a line "..." stands for any lines."""
    lines = (r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in tidy(said).splitlines())
    return re.fullmatch("".join(lines), tidy(found) + "\n") is not None


def play(page, folder):
    """Run a page in a folder; yields each block, and what its calls have printed."""
    module = sys.modules["page"] = types.ModuleType("page")
    sys.path.insert(0, str(folder))
    before, here, style = Path.cwd(), set(sys.modules), plt.rcParams.copy()
    os.chdir(folder)
    try:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            assert block["needs"] in (None, *NEEDS), f"{page.name} needs {block['needs']}"
            if block["needs"] or (block["language"] not in RUN and not block["title"] and not block["figure"]):
                continue
            found = []
            if block["title"]:
                Path(block["title"]).write_text(block["code"], encoding="utf-8")
            elif block["language"] == "python":
                exec(compile(block["code"], page.name, "exec"), vars(module))
            elif block["language"] == "console":
                found = [(call, printed(call)) for call in calls(block["code"])]
            yield block, found
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        plt.close("all")
        plt.rcParams.update(style)
        for name in set(sys.modules) - here:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_runs_and_prints_what_it_says(page, tmp_path):
    for block, found in play(page, tmp_path):
        for call, output in found:
            assert not call.said.strip() or as_said(call.said, output), f"{call.line}\n{output}"
        if block["figure"]:
            assert (tmp_path / block["figure"]).is_file()
            assert (page.parent / block["shown"]).is_file()


def test_a_wrong_output_and_a_command_that_is_not_run_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ stragglersim examples nothing\nfine\n```\n")
    [(_, [(call, output)])] = play(page, tmp_path)
    assert output.startswith("examples: 'nothing' is not one of")
    assert not as_said(call.said, output)
    for line in ("make it", "stragglersim examples nothing"):
        page.write_text(f"```console\n$ {line}\n```\n")
        with pytest.raises(AssertionError, match=line):
            list(play(page, tmp_path))


def test_lines_that_are_left_out_match_any():
    assert as_said("a\n...\nd\n", "a  \nb\nc\nd\n\n")
    assert as_said("...\nd", "d")
    assert not as_said("a\n...\nd\n", "a\nb\nc\n")


def test_figures_of_the_docs_are_small():
    assert [path for path in DOCS.glob("**/*.png") if path.stat().st_size > MOST_BYTES] == []


def write_anew(page):
    """Put what commands print now below each that shows its output, and the figures beside the page."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for block, found in play(page, Path(folder)):
            for call, output in found:
                if call.said.strip() and not as_said(call.said, output):
                    text = text.replace(f"$ {call.line}\n{call.said}", f"$ {call.line}\n{tidy(output)}\n")
            if block["figure"]:
                figure = Image.open(Path(folder) / block["figure"]).convert("RGB")
                figure.quantize(64).save(page.parent / block["shown"], optimize=True)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for each in PAGES:
        write_anew(each)
