"""The command line where streams are closed, full or of few letters, folders vanish, and processes are stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import stragglersim

SCENARIO = """\
name: small
trials: 2
workers: 4
jobs: 3
stragglers:
  usual: {kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 1}
"""
ROOT = str(Path(stragglersim.__file__).parents[1])


@pytest.fixture
def shell(tmp_path):
    """Run a line of a shell, in which $S is the command, in a folder with a scenario and its results."""
    (tmp_path / "small.yaml").write_text(SCENARIO)
    stragglersim.run(stragglersim.load(tmp_path / "small.yaml")).save(tmp_path / "out")

    def call(line, **environment):
        given = {"S": f"{sys.executable} -m simulator", "PYTHONPATH": ROOT, "F": str(tmp_path)}
        command = ["bash", "-c", f"set -o pipefail; {line}"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | given | environment
        )
        return done.returncode, done.stdout, done.stderr

    return call


EVERY = ["run small.yaml --out new", "compare out", "explain small.yaml", "list models", "schema", "--help"]


@pytest.mark.parametrize("command", EVERY)
def test_a_closed_output_is_an_output_that_nobody_wants(shell, tmp_path, command):
    status, out, err = shell(f"$S {command} >&-")
    assert (status, out, "Traceback" in err) == (0, "", False)
    assert shell(f"$S {command.replace('new', 'newer')} <&- >&- 2>&-") == (0, "", "")
    if "new" in command:
        assert stragglersim.Results.load(tmp_path / "newer").runs.shape[0] == 4


@pytest.mark.parametrize("command", EVERY)
def test_a_full_output_is_one_line(shell, command):
    status, _, err = shell(f"$S {command} >/dev/full")
    lines = [line for line in err.splitlines() if not line.startswith(("Running", "Drawing", "Comparing"))]
    assert (status, lines) == (2, ["output: must be a file that can be used, got No space left on device"])


def test_progress_that_has_no_room_stops_nothing(shell):
    status, out, _ = shell("$S run small.yaml --out new 2>/dev/full")
    assert (status, "Tables   new/" in out) == (0, True)


@pytest.mark.parametrize("command", EVERY)
def test_an_output_that_is_cut_short_is_no_error(shell, command):
    assert shell(f"$S {command} | true")[0] == 0
    assert shell(f"$S {command.replace('new', 'newer')} 2>&1 | true")[0] == 0


@pytest.mark.parametrize("command", EVERY)
def test_a_terminal_of_few_letters_gets_others(shell, command):
    status, out, err = shell(f"$S {command}", PYTHONIOENCODING="ascii")
    assert (status, out.isascii(), "Traceback" in err) == (0, True, False)
    if "compare" in command or "run" in command:
        assert "+-" in out


def test_a_label_that_cannot_be_said_is_said_by_its_number(shell, tmp_path):
    (tmp_path / "greek.yaml").write_text(SCENARIO.replace("GC", "α"), encoding="utf-8")
    status, out, _ = shell("$S explain greek.yaml", PYTHONIOENCODING="ascii")
    assert (status, "\\u03b1" in out) == (0, True)
    assert len({len(line) for line in out.splitlines() if "0.5" in line or "0.25" in line}) == 1  # columns are even


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run $F/small.yaml", "results/small: must be a folder that can be written, got No such file or directory\n"),
        ("run small.yaml", "small.yaml: must be a readable YAML file, got none (No such file or directory)\n"),
        ("compare out", "out: must be a folder that a run has written, got no folder\n"),
        ("examples quickstart", "quickstart.yaml: must be a file that can be written, got No such file or directory\n"),
        (
            "run $F/small.yaml --set jobs=20000 --engine events --processes 2 --out $F/new",
            "--executor processes: must be started in a folder that exists, got one that has been deleted "
            "(cd to another)\n",
        ),
    ],
)
def test_a_current_folder_that_has_been_deleted_is_one_line(shell, command, said):
    status, out, err = shell(f"mkdir gone; cd gone; rmdir ../gone; $S {command}")
    told = [line for line in err.splitlines(keepends=True) if not line.endswith(" ...\n")]  # no progress
    assert (status, out, told) == (2, "", [said])


def test_what_needs_no_current_folder_runs_without(shell):
    assert shell("mkdir gone; cd gone; rmdir ../gone; $S run $F/small.yaml --out $F/new")[0] == 0


# --- signals ---


def default_signals():
    """Undo what nohup does; the new process leads a group, as in a terminal."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


STOPS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]


@pytest.mark.parametrize(
    ("send", "number", "status", "executor"),
    [
        *(
            (send, *stop, executor)
            for send in (os.kill, os.killpg)
            for stop in STOPS
            for executor in ("serial", "processes")
        ),
        (os.kill, *STOPS[0], "dask"),
        (os.killpg, *STOPS[2], "dask"),
    ],
)
def test_whatever_stops_it_is_one_line_and_no_process_is_left(tmp_path, executor, number, status, send):
    if executor == "dask":
        pytest.importorskip("distributed", reason="needs the extra stragglersim[cluster]")
    (tmp_path / "long.yaml").write_text(SCENARIO.replace("trials: 2", "trials: 5000"))
    options = ["--executor", executor, "--engine", "events", "--set", "jobs=200"]
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "run", "long.yaml", "--out", "out", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": ROOT},
        preexec_fn=default_signals,
    )
    while process.poll() is None and not list(tmp_path.glob("out/parts/*.arrow")):
        time.sleep(0.01)
    send(process.pid, number)
    _, err = process.communicate(timeout=60)
    lines = [line for line in err.splitlines() if not line.startswith("Running")]
    said = f"stopped; what is finished stays in {tmp_path}/out, and the same command goes on"
    assert (process.returncode, lines) == (status, [said])
    assert not (tmp_path / "out/manifest.json").exists()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("processes are left")


def test_nohup_is_heeded(tmp_path):
    (tmp_path / "small.yaml").write_text(SCENARIO)
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from simulator.cli import app\n"
        "app.app = lambda *args, **options: os.kill(os.getpid(), signal.SIGHUP)\n"
        "app.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT}, check=False
    )
    assert done.returncode == 0


def test_the_dashboard_of_a_cluster_is_for_this_machine(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra stragglersim[cluster]")
    from simulator.execution.executors import executor_of

    seen = []

    class Seen(distributed.LocalCluster):
        def __init__(self, **options):
            super().__init__(**options)
            seen.append(
                [socket.getsockname()[0] for each in self.scheduler.http_server._sockets.values() for socket in [each]]
            )

    monkeypatch.setattr(distributed, "LocalCluster", Seen)
    tasks = [1]
    assert list(executor_of("dask", 1).map_unordered(abs, lambda: tasks.pop() if tasks else None)) == [(1, 1)]
    assert seen == [["127.0.0.1"] * len(seen[0])]
