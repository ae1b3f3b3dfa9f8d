"""The notebooks in `examples/` run, and show what they are said to."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["first-steps", "own-scheme", "trace-to-decision"]


@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """In an empty folder, by this Python; what it prints is what is stored, but for paths and times."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    for cell in fresh.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    NotebookClient(fresh, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in stored.cells if cell.cell_type == "code")
    for before, after in zip(stored.cells, fresh.cells, strict=True):
        assert kinds(before) == kinds(after), before.source
        assert tables(before) == tables(after)
    assert sys.version_info >= (3, 11)


def kinds(cell):
    """What a cell shows: figures, tables, text; nothing of stderr."""
    shown = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return [sorted(output.get("data", {"text/plain": ""})) for output in shown]


def tables(cell):
    """Tables and numbers as text."""
    shown = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return [text for text in shown if "<table" in text]
