"""The folder of a live run: that of a run, and what shows whether the simulator is true."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from simulator.files import whole
from simulator.live.run import Live
from simulator.live.verdict import table
from simulator.traces.files import write_trace

ARRIVALS, VERDICT, TRACES = "arrivals.parquet", "live.csv", "traces"


def write_live(found: Live, folder: Path) -> None:
    """Write all but figures and manifest."""
    results = found.results
    for name in ("runs", "rounds", "jobs", "workers", "training"):
        frame = getattr(results, name)
        if frame is not None:
            frame.to_parquet(folder / f"{name}.parquet", index=False)
    results.write_beside(folder)
    found.arrivals.to_parquet(folder / ARRIVALS, index=False)
    with whole(folder / VERDICT) as partial:
        table(found.rows).to_csv(partial, index=False)
    (folder / TRACES).mkdir(exist_ok=True)
    names = file_names(found.traces)
    for label, trace in found.traces.items():
        if len(trace):
            load = float(results.runs.set_index("scheme")["load"][label])
            about: dict[str, str | float] = {"source": "live run", "unit": "s", "base_load": load, "scheme": label}
            write_trace(folder / TRACES / f"{names[label]}.parquet", trace, about)


def file_names(labels: Iterable[str]) -> dict[str, str]:
    """Labels as names of files, no two alike.

    Examples
    --------
    >>> file_names(["GC, s = 3", "GC s 3"])
    {'GC, s = 3': 'GC-s-3', 'GC s 3': 'GC-s-3-2'}
    """
    names: dict[str, str] = {}
    for label in labels:
        base = re.sub(r"[^\w.]+", "-", label).strip("-.") or "scheme"
        tries = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
        names[label] = next(name for name in tries if name not in names.values())
    return names
