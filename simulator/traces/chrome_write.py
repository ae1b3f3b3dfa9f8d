"""A run as Chrome trace JSON, so that Perfetto (https://ui.perfetto.dev) and chrome://tracing show it."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from simulator.files import whole_file

MASTER = 0  # thread of the master; worker w is thread w + 1
US = 1e6  # per second


def export_chrome(runs: pd.DataFrame, rounds: pd.DataFrame, workers: pd.DataFrame, *, path: Path) -> int:
    """Write the runs as Chrome trace JSON; a name that ends in .gz is packed.

    Each run (a scheme in a trial of a point) is a process, with a thread for the master, on which rounds are events
    and what the master waited is one inside, and a thread for each worker: an event from when it takes up its list
    until it is done with it, or cut off when the round closes. Names and ``args`` say who straggled.

    Parameters
    ----------
    runs, rounds, workers
        Tables of results.
    path
        What to write.

    Returns
    -------
    n_events
        That were written.
    """
    n_events = 0
    with whole_file(path) as partial, partial.open("wb") as raw:
        # without a time in it: the same run gives the same file
        packed: Any = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8") as file:
            file.write('{"displayTimeUnit": "ms", "traceEvents": [')
            for event in events(runs, rounds, workers):
                file.write(",\n" if n_events else "\n")
                json.dump(event, file, ensure_ascii=False)
                n_events += 1
            file.write("\n]}\n")
    return n_events


def events(runs: pd.DataFrame, rounds: pd.DataFrame, workers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The events of all runs, process by process.

    Examples
    --------
    >>> import stragglersim
    >>> from schemes import Uncoded
    >>> from straggler_models import Constant
    >>> usual = {"usual": Constant(startup_s=0.5)}
    >>> scenario = stragglersim.Scenario(workers=1, jobs=1, stragglers=usual, schemes={"uncoded": Uncoded(1)})
    >>> results = stragglersim.run(scenario, detail="workers")
    >>> for event in events(results.runs, results.rounds, results.workers):
    ...     if event["ph"] == "X":
    ...         print(event["name"], event["tid"], event["ts"], event["dur"])
    round 0 0 0.0 500000.0
    round 0 1 0.0 500000.0
    """
    keys = ["point", "scheme", "trial"]
    of_run = dict(list(workers.groupby(keys, sort=False)))
    several = runs["point"].nunique() > 1
    for pid, (key, own) in enumerate(rounds.groupby(keys, sort=False)):
        point, scheme, trial = key
        name = f"{scheme}, trial {trial}" + (f", point {point}" if several else "")
        listed = of_run[key]
        yield _named("process_name", pid, MASTER, name=name)
        yield _named("process_sort_index", pid, MASTER, sort_index=pid)
        threads = ["master", *(f"worker {worker}" for worker in range(int(listed["worker"].max()) + 1))]
        for tid, thread in enumerate(threads):
            yield _named("thread_name", pid, tid, name=thread)
            yield _named("thread_sort_index", pid, tid, sort_index=tid)
        yield from _master_events(pid, own)
        yield from _worker_events(pid, own, listed)


def _named(what: str, pid: int, tid: int, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _complete(name: str, pid: int, tid: int, begin_s: float, end_s: float, **args: Any) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": "master" if tid == MASTER else "worker",
        "pid": pid,
        "tid": tid,
        "ts": round(begin_s * US, 3),  # in nanoseconds, as fine as Perfetto has it
        "dur": round((end_s - begin_s) * US, 3),
        "args": args,
    }


def _master_events(pid: int, rounds: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in rounds.to_dict("records"):
        begin_s, end_s = row["start_s"], row["start_s"] + row["duration_s"]
        name = f"round {row['round']}"
        yield _complete(name, pid, MASTER, begin_s, end_s, round=row["round"], stragglers=row["stragglers"])
        if row["waited"]:
            yield _complete("waits", pid, MASTER, end_s - row["waited_s"], end_s, waited_s=row["waited_s"])


def _worker_events(pid: int, rounds: pd.DataFrame, workers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    start_s = rounds.set_index("round")["start_s"].to_dict()
    close_s = (rounds["start_s"] + rounds["duration_s"]).set_axis(rounds["round"]).to_dict()
    free_s: dict[int, float] = {}  # when a worker is done with an older list, which it may go on with
    for row in workers.to_dict("records"):
        index, worker = row["round"], row["worker"]
        if math.isnan(row["finished_s"]):  # it was given nothing
            continue
        begin_s = max(start_s[index], free_s.get(worker, 0.0))
        is_cut_off = math.isinf(row["finished_s"])
        end_s = close_s[index] if is_cut_off else start_s[index] + row["finished_s"]
        if end_s <= begin_s and is_cut_off:  # not begun
            continue
        free_s[worker] = end_s
        # Perfetto colours events by their names without numbers
        name = f"{'straggler, ' if row['straggler'] else ''}round {index}"
        args = {"round": index, "worker": worker, "straggler": row["straggler"], "cut_off": is_cut_off}
        args |= {column: row[column] for column in ("load_given", "load_done")}
        event = _complete(name, pid, worker + 1, begin_s, max(begin_s, end_s), **args)
        yield event | ({"cname": "terrible"} if row["straggler"] else {})
