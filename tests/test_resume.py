"""Executors and parts: the same tables wherever they are computed, and however often that was interrupted."""

import errno
import itertools
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import stragglersim
from examples import OneRunOnly
from schemes import FastestK, PartialGradientCoding, Uncoded
from schemes.assignment import FileAssignment
from simulator.columns import TABLES
from simulator.engine.master_rules import FirstEnough, FixedTime
from simulator.errors import LostError, WriteError
from simulator.execution import tasks
from simulator.execution.executors import ExecutorError, Lost, Processes, executor_of
from simulator.execution.store import Parts, Unit, _name
from simulator.execution.sweep import run_into
from simulator.execution.tasks import Bundles, Done, Failure, Order
from simulator.results.compare import trials_needed
from simulator.results.folder import building
from simulator.scenario.identity import setting_key
from straggler_models import Constant, ShiftedExponential, Trace
from stragglersim import Results, ResultsError, Scenario, SimulationError

SWEEP = """\
name: sweep
seed: 3
trials: 30
workers: 8
jobs: 5
stragglers:
  usual: {kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 2}
  SR-SGC: {kind: selective_repeat, B: 1, W: 2, lam: 3}
sweep:
  round_overhead_s: [0, 0.5]
  stragglers.usual.mean: [0.2, 0.5, 1.0]
"""


@pytest.fixture
def sweep(tmp_path):
    """Load the scenario, with changes."""
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)

    def load(*overrides):
        return stragglersim.load(path, overrides)

    return load


def finish(folder, scenario, **options):
    """Run what is missing; return what happened to progress."""
    seen = []
    with building(folder, replace=False) as place:
        options = {"executor": "serial", "engine": "events", "progress": lambda *done: seen.append(done)} | options
        results, failures = run_into(place, scenario, **options)
        results.seal(place)
    return seen, failures


def assert_same(first, second):
    for name in TABLES:
        assert (first / f"{name}.parquet").exists() == (second / f"{name}.parquet").exists()
        if (first / f"{name}.parquet").exists():
            frames = [pd.read_parquet(folder / f"{name}.parquet") for folder in (first, second)]
            pd.testing.assert_frame_equal(*frames, check_exact=True)
    for name in ("summary.csv", "scenario.yaml"):
        assert (first / name).read_text() == (second / name).read_text()


# --- executors ---


def triple(task):
    return 3 * task


def die_of_two(task):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 3 * task


def die_the_first_time(path):
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def stop_within_a_result(then):
    """Let this process send all but the end of its next message."""

    def send(pipe, content):
        os.write(pipe.fileno(), content[:-1])
        then()

    Connection._send = send


def die_within_a_result_the_first_time(path):
    if not path.exists():
        path.touch()
        stop_within_a_result(lambda: os.kill(os.getpid(), signal.SIGKILL))
    return path.name


def interrupt_within_a_result(starter):
    stop_within_a_result(lambda: (os.kill(starter, signal.SIGINT), time.sleep(3600)))


def fail(task):
    raise ValueError(f"no {task}")


def results_of(executor, function, tasks):
    left = list(tasks)
    return dict(executor.map_unordered(function, lambda: left.pop(0) if left else None))


def test_every_executor_runs_every_task():
    for executor in (executor_of("serial"), Processes(1), Processes(2)):
        assert results_of(executor, triple, range(1, 8)) == {task: 3 * task for task in range(1, 8)}


def test_a_task_whose_process_dies_is_done_again(tmp_path):
    paths = [tmp_path / name for name in "abcde"]
    assert results_of(Processes(2), die_the_first_time, paths) == {path: path.name for path in paths}


def test_a_process_that_dies_within_a_result_is_replaced(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    assert results_of(Processes(2), die_within_a_result_the_first_time, paths) == {path: path.name for path in paths}


def test_ctrl_c_within_a_result_ends_every_process():
    with pytest.raises(KeyboardInterrupt):
        results_of(Processes(2), interrupt_within_a_result, [os.getpid()])
    assert not multiprocessing.active_children()


def test_a_task_that_always_takes_its_process_down_is_lost_and_the_others_are_not():
    results = results_of(Processes(2), die_of_two, range(1, 6))
    assert isinstance(results.pop(2), Lost)
    assert results == {1: 3, 3: 9, 4: 12, 5: 15}


def test_what_a_task_raises_is_raised():
    with pytest.raises(ValueError, match="no 1"):
        results_of(Processes(2), fail, [1])


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ExecutorError, match="--processes: must be at least 1, got 0"):
        executor_of("processes", 0)
    with pytest.raises(ExecutorError, match="--address: must go with --executor dask"):
        executor_of("processes", None, "tcp://here:1")


def test_the_numbers_are_the_same_wherever_they_are_computed(sweep):
    serial = stragglersim.run(sweep(), detail="workers")
    elsewhere = stragglersim.run(sweep(), detail="workers", executor="processes", processes=2)
    for name in set(TABLES) - {"training"}:
        pd.testing.assert_frame_equal(getattr(serial, name), getattr(elsewhere, name), check_exact=True)


def test_the_numbers_are_the_same_on_a_dask_cluster(sweep):
    pytest.importorskip("distributed", reason="needs the extra stragglersim[cluster]")
    scenario = sweep("trials=4")
    elsewhere = stragglersim.run(scenario, executor="dask", processes=2)
    pd.testing.assert_frame_equal(stragglersim.run(scenario).runs, elsewhere.runs, check_exact=True)


def test_a_wrong_address_of_a_cluster_is_one_line():
    pytest.importorskip("distributed", reason="needs the extra stragglersim[cluster]")
    with pytest.raises(ExecutorError, match=r"--address: must be that of a dask scheduler.* got foo"):
        results_of(executor_of("dask", 1, "foo"), triple, [1])


# --- keys ---

USUAL = {"usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s")}
BASE = {"workers": 4, "jobs": 3, "stragglers": USUAL, "schemes": {"k": FastestK(4, k=2)}}


def key_of(label="k", detail="rounds", engine="events", **changes):
    return setting_key(Scenario(**BASE | changes), label, detail=detail, engine=engine)


def test_a_key_does_not_depend_on_what_changes_no_number():
    both = {"other": Uncoded(4), "k": FastestK(4, k=2)}
    for changes in (
        {"name": "x"},
        {"trials": 9},
        {"schemes": both},
        {"masters": {"k": FirstEnough()}},
    ):
        assert key_of(**changes) == key_of()
    models = {"always": Constant(1.0), **USUAL}
    assert key_of(stragglers=models) == key_of(stragglers=dict(reversed(models.items())))


def test_a_key_depends_on_everything_else(tmp_path):
    rule = FixedTime(time_s=9.0)
    other = [
        {"seed": 1},
        {"jobs": 4},
        {"models": 2},
        {"leftover": "finish"},
        {"round_overhead_s": 0.5},
        {"network": stragglersim.Network(latency_s=0.1)},
        {"master": rule},
        {"schemes": {"k": FastestK(4, k=3)}},
        {"schemes": {"l": FastestK(4, k=2)}, "label": "l"},
        {"stragglers": {"renamed": USUAL["usual"]}},
        {"stragglers": USUAL | {"more": Constant(1.0)}},
        {"workers": 5, "schemes": {"k": FastestK(5, k=2)}},
        {"detail": "runs"},
        {"engine": "auto"},
    ]
    keys = [key_of(), *(key_of(**changes) for changes in other)]
    assert len(set(keys)) == len(keys)


def test_a_key_depends_on_what_input_files_hold_not_on_where_they_are(tmp_path):
    times, moved = tmp_path / "times.csv", tmp_path / "moved.csv"
    times.write_text("round,worker,duration_s\n" + "".join(f"{r},{w},1\n" for r in range(3) for w in range(4)))
    moved.write_bytes(times.read_bytes())
    keys = [key_of(stragglers={"t": Trace(path=str(path))}) for path in (times, moved)]
    times.write_text(times.read_text().replace("2,3,1\n", "2,3,2\n"))
    os.utime(times, ns=(1, 1))
    assert keys[0] == keys[1] != key_of(stragglers={"t": Trace(path=str(times))})
    shares = tmp_path / "assignment.csv"  # of a plug-in in a plug-in
    nested = []
    for chunks in ("0,0\n1,1\n2,2\n3,3\n", "0,1\n1,0\n2,2\n3,3\n"):
        shares.write_text("worker,chunk\n" + chunks)
        os.utime(shares, ns=(1, len(nested)))
        coded = PartialGradientCoding(4, assignment=FileAssignment(path=str(shares)))
        nested.append(key_of(schemes={"k": coded}))
    assert nested[0] != nested[1]


def test_a_key_depends_on_the_source_of_a_plug_in_from_outside(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "from schemes import FastestK\nclass Mine(FastestK):\n    pass\n"
    keys = []
    for edited in (source, source + "    tolerates = 'all'\n"):
        (tmp_path / "mine_of_test_resume.py").write_text(edited)
        module = __import__("mine_of_test_resume")
        keys.append(key_of(schemes={"k": module.Mine(4, k=2)}))
    assert keys[0] != keys[1]


# --- going on ---


def test_a_finished_run_is_only_put_together_again(sweep, tmp_path, monkeypatch):
    finish(tmp_path / "out", sweep())
    before = Results.load(tmp_path / "out").runs
    monkeypatch.setattr("simulator.execution.tasks.run_unit", None)
    assert finish(tmp_path / "out", sweep())[0] == [(540, 540)]
    pd.testing.assert_frame_equal(Results.load(tmp_path / "out").runs, before)


def test_each_trial_keeps_the_engine_that_ran_it(tmp_path):
    for trials in (1, 3):
        scenario = Scenario(**BASE | {"schemes": {"own": OneRunOnly(4)}, "trials": trials})
        seen, _ = finish(tmp_path / "out", scenario, engine="auto")
    assert seen[0] == (1, 3)
    assert Results.load(tmp_path / "out").runs["engine"].tolist() == ["vectorised", "events", "events"]


def test_more_trials_points_and_schemes_use_what_is_there(sweep, tmp_path):
    few = ("trials=20", "sweep={stragglers.usual.mean: [1.0, 0.2]}", "schemes={GC: {kind: gradient_coding, s: 2}}")
    finish(tmp_path / "out", sweep(*few))
    seen, _ = finish(tmp_path / "out", sweep())
    assert seen[0] == (40, 540)
    finish(tmp_path / "at once", sweep())
    assert_same(tmp_path / "at once", tmp_path / "out")
    seen, _ = finish(tmp_path / "out", sweep(*few))  # and less is less
    assert seen == [(40, 40)]
    finish(tmp_path / "few", sweep(*few))
    assert_same(tmp_path / "few", tmp_path / "out")


def test_a_setting_that_several_points_share_is_run_once(sweep, tmp_path, monkeypatch):
    scenario = sweep("schemes.GC.master={kind: mu_rule}", "sweep={master.poll_s: [0.1, 0.2]}", "trials=2")
    seen, _ = finish(tmp_path / "out", scenario)
    assert seen[0] == (0, 12)
    assert seen[-1] == (12, 12)
    parts = Parts(tmp_path / "out/parts")
    assert sum(len(held) for held in parts._held.values()) == 5
    pd.testing.assert_frame_equal(Results.load(tmp_path / "out").runs, stragglersim.run(scenario, engine="events").runs)


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "garbage"])
def test_a_damaged_part_counts_for_nothing(sweep, tmp_path, damage):
    scenario = sweep("trials=4")
    finish(tmp_path / "whole", scenario)
    finish(tmp_path / "out", scenario)
    part = next((tmp_path / "out/parts").iterdir())
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes({"cut": content[:-9], "empty": b"", "changed": content, "garbage": b"\0" * 999}[damage])
    (tmp_path / "out/parts/.x.arrow.partial").write_bytes(content)
    seen, _ = finish(tmp_path / "out", scenario)
    assert 0 < seen[0][0] < seen[0][1]
    assert_same(tmp_path / "whole", tmp_path / "out")
    assert not list((tmp_path / "out/parts").glob(".*"))


def call(folder, *options, path=()):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "simulator",
            "run",
            "sweep.yaml",
            "--out",
            "out",
            *([] if "serial" in options else ["--processes", "2"]),
            "--engine",
            "events",
            *options,
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, Path(stragglersim.__file__).parents[1]]))},
    )


def test_killed_at_any_moment_and_resumed_it_is_the_same_run(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("jobs: 5", "jobs: 20"))
    finish(tmp_path / "at once", stragglersim.load(tmp_path / "sweep.yaml"))
    moments = random.Random(4)
    for n_parts in (1, 3):
        process = call(tmp_path)
        while process.poll() is None and len(list(tmp_path.glob("out/parts/*.arrow"))) < n_parts:
            time.sleep(0.01)
        time.sleep(0.2 * moments.random())
        process.kill()
        process.communicate()
        assert not (tmp_path / "out/manifest.json").exists()
        with pytest.raises(ResultsError, match="has not finished"):
            Results.load(tmp_path / "out")
    seen, _ = finish(tmp_path / "out", stragglersim.load(tmp_path / "sweep.yaml"))
    assert 0 < seen[0][0] < seen[0][1] == 540
    assert_same(tmp_path / "at once", tmp_path / "out")


def test_ctrl_c_stops_with_one_line_and_what_is_finished_stays(sweep, tmp_path):
    sweep()
    process = call(tmp_path, "--set", "jobs=600")
    while process.poll() is None and not list(tmp_path.glob("out/parts/*.arrow")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert [line for line in err.splitlines() if not line.startswith("Running")] == [
        f"stopped; what is finished stays in {tmp_path}/out, and the same command goes on"
    ]
    assert list(tmp_path.glob("out/parts/*.arrow"))


def test_ctrl_c_at_the_terminal_is_one_line_while_processes_start(sweep, tmp_path):
    sweep()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'forkserver' in ' '.join(sys.orig_argv):\n"
        "    for pid in (os.getpid(), os.getppid()): os.kill(pid, signal.SIGINT)\n"
    )
    process = call(tmp_path, "--set", "jobs=600", path=[tmp_path])
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    told = [line for line in err.splitlines() if not line.startswith(("Reading", "Running"))]
    assert told == ["stopped; nothing was written"]


# --- processes that die ---

DEADLY = """
import os
from pathlib import Path
from pydantic.dataclasses import dataclass
from schemes import Uncoded

@dataclass(frozen=True)
class Deadly(Uncoded):
    marker: str = ""
    def start(self, n_jobs, rng):
        if not (self.marker and Path(self.marker).exists()):
            if self.marker:
                Path(self.marker).touch()
            os._exit(0)
        return super().start(n_jobs, rng)
"""


@pytest.fixture
def deadly(tmp_path, monkeypatch):
    """Write a plug-in that ends its process with exit status 0, and a sweep with it; with a marker, only once."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "sweep.yaml"

    def load(marker=""):
        own = f"  own: {{kind: 'deadly:Deadly', marker: '{marker}'}}\n"
        path.write_text(SWEEP.replace("  SR-SGC", own + "  SR-SGC").replace("trials: 30", "trials: 4"))
        return stragglersim.load(path)

    yield load
    sys.modules.pop("deadly", None)


IN_PROCESSES = {"executor": "processes", "processes": 2}


def test_a_scheme_that_ends_its_process_once_is_run_again(deadly, tmp_path):
    scenario = deadly(tmp_path / "marker")
    assert finish(tmp_path / "out", scenario, **IN_PROCESSES)[1] == []
    assert (tmp_path / "marker").exists()
    finish(tmp_path / "at once", scenario)
    assert_same(tmp_path / "at once", tmp_path / "out")


def test_a_scheme_that_always_ends_its_process_is_named_and_what_is_finished_stays(deadly, tmp_path):
    at = r"at round_overhead_s = \S+, stragglers.usual.mean = \S+: schemes.own, trials 0-3: its process died 3 times"
    with pytest.raises(LostError, match=f"^{at}"):
        finish(tmp_path / "out", deadly(), **IN_PROCESSES)


def test_with_keep_going_only_what_ends_its_process_is_missing(deadly, tmp_path):
    _, failures = finish(tmp_path / "out", deadly(), keep_going=True, **IN_PROCESSES)
    assert [(failure.unit.point, failure.unit.label) for failure in failures] == [(point, "own") for point in range(6)]
    assert all(failure.is_lost for failure in failures)
    runs = Results.load(tmp_path / "out").runs
    assert runs.groupby("scheme").size().to_dict() == {"uncoded": 24, "GC": 24, "SR-SGC": 24}
    assert pd.read_csv(tmp_path / "out/errors.csv")["scheme"].tolist() == ["own"] * 6


def test_units_that_were_lost_together_are_tried_alone_and_one_alone_has_failed(sweep):
    points = sweep().all_points()
    units = [Unit(0, label, range(2), label) for label in ("uncoded", "GC")]
    bundles = Bundles(units, points, Order("rounds", "vectorised", keep_going=False))
    both = bundles.next_bundle()
    assert both.units == units
    assert bundles.next_bundle() is None
    assert bundles.lost(both, "it died") == Done()
    for unit in units:
        alone = bundles.next_bundle()
        assert alone.units == [unit]
        failure = Failure(unit, f"schemes.{unit.label}, trials 0-1: it died", is_lost=True)
        assert bundles.lost(alone, "it died").failures == [failure]
    assert bundles.next_bundle() is None


@pytest.mark.parametrize("size", [{}, {"--set": "jobs=1"}])
def test_a_plug_in_that_ends_its_process_is_told_with_status_1(deadly, tmp_path, size):
    """However small the run is: what is not the simulator's own is not run in the process that tells."""
    deadly()
    process = call(tmp_path, *itertools.chain.from_iterable(size.items()), path=[tmp_path])
    _, err = process.communicate(timeout=300)
    last = err.splitlines()[-1]
    assert (process.returncode, "schemes.own, trials 0-3: its process died 3 times" in last) == (1, True)
    process = call(tmp_path, "--keep-going", "--set", "sweep={jobs: [1, 2]}", path=[tmp_path])
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err.splitlines()[-1]) == (
        1,
        "8 runs failed: see out/errors.csv (the same command tries them again)",
    )


def test_a_serial_run_that_ends_its_process_leaves_a_folder_that_is_unfinished(deadly, tmp_path, cli):
    deadly()
    process = call(tmp_path, "--executor", "serial", path=[tmp_path])
    process.communicate(timeout=300)
    assert not (tmp_path / "out/manifest.json").exists()
    for command in ("compare", "plot"):
        status, _, err = cli(command, "out")
        assert (status, "got one that has not finished" in err, err.count("\n")) == (2, True, 1)


# --- failures ---


def failing(trial_that_fails):
    """An engine that can't run one trial of GC."""

    def run_unit(scenario, label, trials, detail):
        if label == "GC" and trial_that_fails in trials and scenario.round_overhead_s == 0.5:
            raise SimulationError(f"schemes.{label}, trial {trial_that_fails}: it is too late")
        return real(scenario, label, trials, detail)

    real = tasks.run_unit
    return run_unit


def test_a_failure_stops_the_run_and_what_is_finished_stays(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.execution.tasks.run_unit", failing(0))
    at = r"^at round_overhead_s = 0.5, stragglers.usual.mean = 0.2: schemes.GC, trial 0: it is too late$"
    with pytest.raises(SimulationError, match=at):
        finish(tmp_path / "out", sweep("trials=4"))
    monkeypatch.undo()
    assert finish(tmp_path / "out", sweep("trials=4"))[0][0] == (4 * 3 * 3 + 4, 4 * 6 * 3)
    finish(tmp_path / "at once", sweep("trials=4"))
    assert_same(tmp_path / "at once", tmp_path / "out")


def test_with_keep_going_failures_are_listed_and_tried_again(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.execution.tasks.run_unit", failing(1))
    _, failures = finish(tmp_path / "out", sweep("trials=4"), keep_going=True)
    assert len(failures) == 3
    errors = pd.read_csv(tmp_path / "out/errors.csv")
    assert errors["point"].tolist() == [3, 4, 5]
    assert errors.iloc[0, 1:].tolist() == ["GC", 0, 3, "schemes.GC, trial 1: it is too late"]
    assert len(Results.load(tmp_path / "out").runs) == 4 * 6 * 3 - 3 * 4
    monkeypatch.undo()
    finish(tmp_path / "out", sweep("trials=4"), keep_going=True)
    assert not (tmp_path / "out/errors.csv").exists()
    finish(tmp_path / "at once", sweep("trials=4"))
    assert_same(tmp_path / "at once", tmp_path / "out")


def test_where_everything_fails_there_is_nothing_to_show(sweep, tmp_path, monkeypatch):
    def run_unit(scenario, label, trials, detail):
        raise SimulationError("never")

    monkeypatch.setattr("simulator.execution.tasks.run_unit", run_unit)
    with pytest.raises(SimulationError, match="never"):
        finish(tmp_path / "out", sweep("trials=4"), keep_going=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n_written", [0, 2])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(sweep, tmp_path, monkeypatch, n_written):
    write, left = Path.write_bytes, [None] * n_written

    def write_bytes(path, content):
        write(path, content[:99])
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left.pop()
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(WriteError, match=r"out: must be a folder that can be written, got No space left on device$"):
        finish(tmp_path / "out", sweep("trials=4"))
    assert len(list(tmp_path.glob("out/parts/*"))) == n_written
    assert (tmp_path / "out").exists() == (n_written > 0)
    monkeypatch.undo()
    finish(tmp_path / "out", sweep("trials=4"))
    finish(tmp_path / "at once", sweep("trials=4"))
    assert_same(tmp_path / "at once", tmp_path / "out")


def test_a_disk_that_is_full_when_tables_are_written_is_one_line(sweep, tmp_path, monkeypatch):
    def write_table(writer, table):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", write_table)
    with pytest.raises(WriteError, match="must be a folder that can be written, got No space left on device"):
        finish(tmp_path / "out", sweep("trials=4"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["parts"]


def test_a_folder_that_cannot_be_written_is_one_line(sweep, tmp_path, monkeypatch):
    def mkdir(path, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", mkdir)  # as root, permissions stop nobody
    with pytest.raises(WriteError, match="out: must be a folder that can be written, got Read-only file system"):
        finish(tmp_path / "out", sweep("trials=4"))
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        finish(tmp_path / "file" / "below", sweep("trials=4"))


def test_two_runs_at_once_do_not_share_a_folder(sweep, tmp_path):
    with building(tmp_path / "out", replace=False) as place:
        run_into(place, sweep("trials=4"), executor="serial", engine="events")
        for replace in (False, True):
            with (
                pytest.raises(ResultsError, match="out: must be used by one run at a time, got another that has not"),
                building(tmp_path / "out", replace=replace),
            ):
                pass
        assert list((tmp_path / "out/parts").iterdir())
    seen, _ = finish(tmp_path / "out", sweep("trials=4"))  # and afterwards, it is free
    assert seen[0][0] == seen[0][1]


def test_trials_are_added_until_the_intervals_are_narrow(tmp_path):
    scenario = tmp_path / "narrow.yaml"
    scenario.write_text(
        "workers: 8\njobs: 10\ntrials: 2\n"
        "stragglers: {usual: {kind: shifted_exponential, shift: 1, mean: 1, adds_to: startup_s}}\n"
        "schemes: {uncoded: {kind: uncoded}, GC: {kind: gradient_coding, s: 3}}\n"
        "sweep: {stragglers.usual.mean: [0.01, 2.0]}\n",
        encoding="utf-8",
    )
    with building(tmp_path / "out", replace=False) as place:
        results, _ = run_into(place, stragglersim.load(scenario), executor="serial", until=0.02)
    counts = results.runs.groupby("point")["trial"].nunique()
    assert counts[0] == 10  # never fewer
    assert 20 < counts[1] < 2000
    assert not trials_needed(results.runs, 0.02)
    with building(tmp_path / "out", replace=False) as place:
        again, _ = run_into(place, stragglersim.load(scenario), executor="serial", until=0.02)
    pd.testing.assert_frame_equal(again.runs, results.runs)


def test_on_arrays_too_a_run_goes_on_where_it_stopped(sweep, tmp_path):
    finish(tmp_path / "at once", sweep(), engine="auto")
    finish(tmp_path / "out", sweep("trials=3"), engine="auto")
    seen, _ = finish(tmp_path / "out", sweep(), engine="auto")
    assert 0 < seen[0][0] < seen[0][1]
    assert_same(tmp_path / "at once", tmp_path / "out")
    for part in list((tmp_path / "out/parts").iterdir())[1:]:
        part.unlink()
    finish(tmp_path / "out", sweep(), engine="auto", executor="processes", processes=2)
    assert_same(tmp_path / "at once", tmp_path / "out")


NEWER = {"runs": ["mean_load"], "rounds": ["phases", "stale", "fresh"], "workers": ["used"]}


def as_written_before(folder, newer=NEWER):
    """Take columns from the tables and parts of a folder, as if it were from before there were any."""
    for path in folder.glob("*.parquet"):
        pd.read_parquet(path).drop(columns=newer.get(path.stem, [])).to_parquet(path)
    for path in (folder / "parts").glob("*.arrow"):
        table = pa.ipc.open_file(path.read_bytes()).read_all()
        for name in table.column_names:
            if name in newer.get("runs", []):
                table = table.drop_columns([name])
            elif name in newer:
                lists = table[name].combine_chunks()
                kept = [field.name for field in lists.type.value_type if field.name not in newer[name]]
                rows = pa.StructArray.from_arrays([lists.flatten().field(each) for each in kept], kept)
                of_runs = pa.ListArray.from_arrays(lists.offsets, rows)
                table = table.set_column(table.column_names.index(name), name, of_runs)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        content = bytes(sink.getvalue())
        path.unlink()
        (path.parent / _name(content)).write_bytes(content)


@pytest.mark.parametrize("table", NEWER)
def test_a_folder_that_lacks_columns_of_today_is_refused_with_what_to_do_and_run_again(table, sweep, tmp_path, cli):
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("trials: 30", "trials: 2"))
    command = ["run", "sweep.yaml", "--out", "out", *["--detail", "workers"] * (table == "workers")]
    assert cli(*command)[0] == 0
    folder = tmp_path / "out"
    expected = {path.name: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    as_written_before(folder, {table: NEWER[table]})
    with pytest.raises(ResultsError) as refused:
        Results.load(folder)
    (line,) = str(refused.value).splitlines()
    assert line.endswith(
        f"{table}.parquet: must have the column {NEWER[table][0]}, got none (written by another version? "
        "`stragglersim run` with --force writes it anew)"
    )
    for reading in ("compare", "plot", "report"):
        status, _, err = cli(reading, "out")
        assert status == 2 if table == "runs" else "Traceback" not in err
        assert table != "runs" or err.splitlines()[-1] == line.replace(str(folder), "out")
    for again in ([], ["--force"]):
        status, out, _ = cli(*command, *again)
        assert status == 0
        for name, frame in expected.items():
            pd.testing.assert_frame_equal(pd.read_parquet(folder / name), frame)
        if table != "workers":  # on arrays
            n_repeated, n_runs = map(int, re.search(r"(\d+) of (\d+) runs repeated", out).groups())
            assert n_repeated <= n_runs == 36


def test_going_on_with_more_trials_uses_no_part_that_lacks_a_column(sweep, tmp_path):
    small = "trials=2"
    finish(tmp_path / "out", sweep(small), detail="workers")
    as_written_before(tmp_path / "out")
    seen, _ = finish(tmp_path / "out", sweep("trials=3"), detail="workers")
    assert seen[0] == (0, 54)
    finish(tmp_path / "fresh", sweep("trials=3"), detail="workers")
    for name in ("runs", "rounds", "workers"):
        both = [pd.read_parquet(tmp_path / where / f"{name}.parquet") for where in ("out", "fresh")]
        pd.testing.assert_frame_equal(*both)
