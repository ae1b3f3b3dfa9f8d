"""What a point of a large sweep costs beside its runs: `python benchmarks/many_points.py --points 100000`.

Five keys are swept, ten values each, two schemes run in one trial of each point. Printed are the seconds of each stage
of `stragglersim run` and the largest memory of a process; the CPU seconds of this process tell one commit from another.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resume import descendants

from simulator.cli.run_summary import print_summary
from simulator.execution import sweep
from simulator.files import whole
from simulator.plots.run import draw
from simulator.results.folder import building
from simulator.results.results import Results
from simulator.scenario.loading import load
from simulator.scenario.no_effect import warnings

SWEEP = """\
name: many
seed: 3
workers: 12
jobs: 5
stragglers:
  usual: {{kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}}
  slow: {{kind: bernoulli, p: 0.1, slowdown: 4}}
master: {{kind: mu_rule, mu: 1.0}}
schemes:
  uncoded: {{kind: uncoded}}
  GC: {{kind: gradient_coding, s: 2}}
sweep:
  round_overhead_s: {overheads}
  stragglers.usual.mean: {means}
  stragglers.slow.p: {ps}
  master.mu: {mus}
  schemes.GC.s: {ss}
"""
seconds: dict[str, tuple[float, float]] = {}


def text_of(n_points: int) -> str:
    """The scenario: ten values of each key, and of the first one as many as make the number of points."""
    numbers = range(1, 11)
    tenths = [number / 10 for number in numbers]
    overheads = [number / 100 for number in range(max(1, math.ceil(n_points / 10**4)))]
    return SWEEP.format(overheads=overheads, means=tenths, ps=[x / 4 for x in tenths], mus=tenths, ss=list(numbers))


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add what a stage takes: seconds, and seconds of this process's CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    before = seconds.get(name, (0.0, 0.0))
    seconds[name] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu


def timed(owner: Any, function: str, name: str) -> None:
    """Make each call of a function a stage; what others do within it counts for both."""
    inner = getattr(owner, function)

    def outer(*args: Any, **options: Any) -> Any:
        with stage(name):
            return inner(*args, **options)

    setattr(owner, function, outer)


def largest_gb() -> float:
    """The largest memory that a process of the executor has had so far."""
    peaks = [0]
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):  # it has ended
            status = Path(f"/proc/{pid}/status").read_text()
            peaks += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks) / 2**20


def main() -> None:
    """Load, warn, run, write, draw and print, as `stragglersim run` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=100_000, help="rounded up to a multiple of ten thousand")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--executor", default="processes")
    parser.add_argument("--detail", default="rounds")
    chosen = parser.parse_args()
    timed(sweep, "_Sweep", "  (keys)")
    timed(sweep, "_write_tables", "  (tables)")
    timed(Results, "write_beside", "  (summary.csv, scenario.yaml)")
    peaks = [0.0]
    options = {"engine": chosen.engine, "executor": chosen.executor, "detail": chosen.detail}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "many.yaml"
        file.write_text(text_of(chosen.points))
        with stage("load"):
            scenario = load(file)
        with stage("warnings"):
            warnings(scenario)
        with building(Path(place) / "out", replace=False) as folder:
            with stage("run and write"):
                results, _ = sweep.run_into(folder, scenario, progress=lambda *_: peaks.append(largest_gb()), **options)
            with stage("figures"), whole(folder / "plots") as partial:
                draw(results, partial, scenario)
            results.seal(folder)
        with stage("printed summary"), contextlib.redirect_stdout(io.StringIO()):
            print_summary(results)
    n_points = len(scenario.points)
    print(f"{n_points} points, {len(results.runs)} runs")
    for name, (wall, cpu) in seconds.items():
        print(f"{name:32} {wall:7.2f} s, CPU {cpu:7.2f} s, {1e6 * cpu / n_points:6.1f} us a point")
    own_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    whole_s = sum(wall for name, (wall, _) in seconds.items() if not name.startswith(" "))
    print(f"whole: {whole_s:.1f} s; at most {own_gb:.2f} GB here, {max(peaks):.2f} GB in a process of the executor")


if __name__ == "__main__":
    main()
