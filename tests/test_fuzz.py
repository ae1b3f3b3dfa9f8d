"""Scenarios changed at random: whatever they say, each ends in a known way (`benchmarks/fuzz.py` has many more)."""

import importlib
import itertools
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

BUDGET_S = 10.0


@pytest.fixture(scope="module")
def fuzz():
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("fuzz")


@pytest.mark.filterwarnings("default")  # a warning is no fault here: it is what somebody would read
def test_no_scenario_ends_in_a_traceback_or_a_hang(fuzz):
    counts, began_s = Counter(), time.monotonic()
    for number in itertools.count():
        assert list(fuzz.faults("scenario", number, fuzz.in_process, counts)) == []
        if time.monotonic() - began_s > BUDGET_S:
            break
    assert {status for _, _, status in counts} >= {0, 2}


def test_what_escapes_the_command_line_is_a_fault(fuzz, monkeypatch):
    monkeypatch.setattr(fuzz, "command_line", lambda: 1 / 0)
    found = list(fuzz.faults("scenario", 0, fuzz.in_process, Counter()))
    assert len(found) == 2
    assert "ZeroDivisionError" in found[0]
