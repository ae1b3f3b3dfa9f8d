"""Is the load adjustment right? `python benchmarks/direct_loads.py TRACES`.

GC and GC-Rep under first_enough at loads 1/4, 1/2 and 1: makespans on the trace of least load, adjusted, and on the
trace that was made at that very load.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

from findings import groups

from schemes import FractionalRepetition, GradientCoding
from simulator.engine.master_rules import FirstEnough
from simulator.execution.executors import Serial
from simulator.tuning.evaluate import evaluate
from simulator.tuning.legal_settings import Group
from simulator.tuning.trace import AdjustedTrace, SearchError

CODES = {"GC": GradientCoding, "GC-Rep": FractionalRepetition}


def makespan_s(trace: AdjustedTrace, label: str, load: float) -> float:
    """80 jobs under first_enough; NaN where the slope makes times negative."""
    try:
        times, n_workers = trace.times()
    except SearchError:
        return math.nan
    s = round(load * n_workers) - 1
    group = Group(CODES[label](n_workers, s=s), (s,))
    [row] = evaluate(times, n_workers, 80, [group], [FirstEnough()], executor=Serial()).to_dict("records")
    return float(row["makespan_s"])


def compared(trace: AdjustedTrace) -> Iterator[str]:
    """Adjusted and direct makespans at each load that was recorded."""
    for load in (0.25, 0.5, 1.0):
        name = trace.path.name.replace(f"load{trace.base_load:.3f}", f"load{load:.3f}")
        direct = AdjustedTrace(trace.path.with_name(name), load, trace.seconds_per_load)
        if direct.path.exists() and load != trace.base_load:
            for label in CODES:
                adjusted_s, direct_s = (makespan_s(one, label, load) for one in (trace, direct))
                yield f"{label} at {load:g}: {adjusted_s:.1f} / {direct_s:.1f}"


def main() -> None:
    """Print adjusted and direct makespans of each group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    for group, trace in groups(parser.parse_args().traces).items():
        if trace.seconds_per_load is not None:
            print(f"{group}: {'; '.join(compared(trace))}", flush=True)


if __name__ == "__main__":
    main()
