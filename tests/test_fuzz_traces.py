"""Files of traces with something wrong: each is read, or refused in one line; benchmarks/fuzz_traces.py makes them."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import TraceError
from simulator.traces.files import read_times
from straggler_models import Trace
from straggler_models.trace_file import read_trace_file

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from fuzz_traces import mutants

BUDGET_S = 8.0
COMMANDS = ("info",), ("info", "--rows", "round"), ("convert", "--missing", "inf", "--out", "out.parquet")
LOAD_ONLY = "base_load in its metadata"  # that `kind: trace` does not ask for


@pytest.mark.parametrize("seed", [15, 16])
def test_a_mutated_trace_is_read_or_refused_in_one_line(tmp_path, seed):
    until, n_read = time.process_time() + BUDGET_S / 2, 0
    for name, data, suffix in mutants(seed):
        path = tmp_path / f"mutant{suffix}"
        path.write_bytes(data)
        measured_s, said = _times_or_refusal(path, name)
        n_read += measured_s is not None
        try:
            Trace(path=str(path), wrap="cycle").check(1, 1)
        except ValueError as error:
            _must_be_a_line(str(error), name)
        else:  # the same answer as that of the other commands
            assert measured_s is not None or LOAD_ONLY in said, name
            replayed_s = read_trace_file(str(path)).duration_s
            assert replayed_s is None or LOAD_ONLY in said or np.array_equal(replayed_s, measured_s), name
        if time.process_time() > until:
            break
    assert n_read > 20


def _times_or_refusal(path, name):
    try:
        return read_times(path).duration_s, ""
    except TraceError as error:
        _must_be_a_line(str(error), name)
        return None, str(error)


def _must_be_a_line(said, name):
    assert "\n" not in said, name
    assert len(said.encode()) < 1500, name


def test_the_commands_refuse_mutants_in_one_line_and_write_nothing(cli, tmp_path):
    until, statuses = time.process_time() + BUDGET_S / 2, set()
    for name, data, suffix in mutants(17):
        (tmp_path / f"mutant{suffix}").write_bytes(data)
        for command in (
            ("info",),
            ("convert", "--missing", "inf", "--out", "out.parquet"),
            ("info", "--rows", "round"),
        ):
            status, _, err = cli("trace", command[0], f"mutant{suffix}", *command[1:])
            statuses.add(status)
            assert status in (0, 2), name
            assert status == 0 or err.count("\n") == 1, (name, err)
            assert (tmp_path / "out.parquet").exists() == (status == 0 and command[0] == "convert"), name
            (tmp_path / "out.parquet").unlink(missing_ok=True)
        if time.process_time() > until:
            break
    assert statuses == {0, 2}
