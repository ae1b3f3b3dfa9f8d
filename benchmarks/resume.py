"""Sweeps that are killed and go on, and what a second process is worth: `python benchmarks/resume.py`.

A sweep of 2 000 points x 20 trials is killed with SIGKILL at five random moments and resumed, on processes and on a
dask cluster of two workers, one of which is killed too; its tables must equal those of the uninterrupted run, row for
row. Then a sweep that takes half a minute serially is run by two processes: at least 1.7 times as fast.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

SWEEP = """\
name: sweep
seed: 3
trials: {trials}
workers: 12
jobs: {jobs}
stragglers:
  usual: {{kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}}
schemes:
  uncoded: {{kind: uncoded}}
  GC: {{kind: gradient_coding, s: 2}}
sweep:
  round_overhead_s: {overheads}
  stragglers.usual.mean: {means}
"""
MOMENTS = random.Random(1)


def write_sweep(folder: Path, *, n_points: int, trials: int, jobs: int) -> None:
    overheads, means = [0.1 * i for i in range(n_points // 50)], [0.1 * (1 + i) for i in range(50)]
    text = SWEEP.format(trials=trials, jobs=jobs, overheads=overheads, means=means)
    (folder / "sweep.yaml").write_text(text)


CHILD = """
import sys
from pathlib import Path
import stragglersim
from simulator.results.folder import building
from simulator.execution.sweep import run_into
out, executor, processes, detail = sys.argv[1:]
with building(Path(out), replace=False) as place:
    options = {"engine": "events", "executor": executor, "processes": int(processes), "detail": detail}
    run_into(place, stragglersim.load("sweep.yaml"), **options)[0].seal(place)
"""  # what `stragglersim run` does, without figures


def start(folder: Path, out: str, executor: str, n: int, detail: str = "rounds") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, out, executor, str(n), detail]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)


def timed(folder: Path, out: str, executor: str, n: int, detail: str = "rounds") -> float:
    began = time.perf_counter()
    assert start(folder, out, executor, n, detail).wait() == 0
    return time.perf_counter() - began


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that these have."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [pid for child in children for pid in descendants(int(child))]


def workers(pid: int) -> list[int]:
    """Those of them that compute."""
    found = []
    for child in descendants(pid):
        command = Path(f"/proc/{child}/cmdline").read_text()
        found += [child] if ("forkserver" in command or "spawn_main" in command) and not descendants(child) else []
    return found


def kill_and_resume(folder: Path, executor: str, whole_s: float) -> None:
    """Start a run six times; kill it five times, and one of its workers before that."""
    parts = folder / executor / "parts"
    for turn in range(6):
        before = len(list(parts.glob("*.arrow")))
        process = start(folder, executor, executor, 2)
        if turn < 5:
            time.sleep(5 + MOMENTS.random() * whole_s / 6)
            if victims := workers(process.pid):
                os.kill(MOMENTS.choice(victims), signal.SIGKILL)
                time.sleep(3)
            process.kill()
            process.wait()
        else:
            assert process.wait() == 0
        after = len(list(parts.glob("*.arrow")))
        print(f"  {executor}, turn {turn + 1}: {before} parts before, {after} after", flush=True)


def must_be_same(first: Path, second: Path) -> None:
    for name in ("runs", "rounds", "jobs"):
        frames = [pd.read_parquet(folder / f"{name}.parquet") for folder in (first, second)]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
        print(f"  {name}: {len(frames[0])} rows are the same", flush=True)


def main() -> None:
    """Run both; `--points` makes the first one smaller."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--skip-dask", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_sweep(folder, n_points=chosen.points, trials=20, jobs=5)
        whole_s = timed(folder, "at once", "processes", 2)
        print(f"{chosen.points} points x 20 trials x 2 schemes, uninterrupted: {whole_s:.1f} s")
        print(f"again, only put together: {timed(folder, 'at once', 'processes', 2):.1f} s")
        for name in ("processes",) if chosen.skip_dask else ("processes", "dask"):
            kill_and_resume(folder, name, whole_s)
            must_be_same(folder / "at once", folder / name)
        write_sweep(folder, n_points=50, trials=20, jobs=80)
        seconds = {n: timed(folder, f"on {n}", "processes", n, "runs") for n in (1, 2)}
        print(f"one process {seconds[1]:.1f} s, two {seconds[2]:.1f} s: {seconds[1] / seconds[2]:.2f} times as fast")


if __name__ == "__main__":
    main()
