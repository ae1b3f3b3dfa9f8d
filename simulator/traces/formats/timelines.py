"""Timelines other than profiles: Dask task streams, and those that hold collectives only."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simulator.errors import TraceError

HOROVOD = r"NEGOTIATE_[A-Z]+"  # what a tensor waits for before its collective
NCCL = {"GROUP", "COLL", "P2P", "PROXY", "NET", "GPU", "CTRL", "KERNEL_CH", "GROUP_API", "COLL_API", "P2P_API"}
COLLECTIVES = {"COLL", "P2P"}  # of these categories, those that say that NCCL's profiler plugin wrote a file
RECORD = (
    "record the work of each rank's steps instead, with `from stragglersim.recorder import Recorder` or with the "
    "PyTorch profiler"
)


def is_dask(entries: Sequence[dict[str, Any]]) -> bool:
    """Say whether this is a task stream, as ``Client.get_task_stream`` of Dask gives it."""
    return bool(entries) and all("startstops" in entry and "ph" not in entry for entry in entries)


def dask_events(tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make an event of each computation of a task: its worker is the process, its key the name.

    Transfers between workers, reading and writing are no work.
    """
    return [_computation(task, *when) for task in tasks for when in _computed(task["startstops"])]


def _computed(startstops: Any) -> Iterator[tuple[Any, Any]]:
    for span in startstops if isinstance(startstops, list) else ():
        if isinstance(span, dict) and span.get("action") == "compute":
            yield span.get("start"), span.get("stop")
        elif isinstance(span, list) and len(span) == 3 and span[0] == "compute":  # of older versions
            yield span[1], span[2]


def _computation(task: dict[str, Any], start_s: Any, stop_s: Any) -> dict[str, Any]:
    is_right = all(type(instant) in (int, float) for instant in (start_s, stop_s))
    return {
        "ph": "X",
        "name": task.get("key"),
        "pid": task.get("worker"),
        "tid": task.get("thread"),
        "ts": 1e6 * start_s if is_right else start_s,
        "dur": 1e6 * (stop_s - start_s) if is_right else stop_s,
        "args": task,
    }


def refuse_collectives_only(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Refuse timelines of Horovod and of NCCL's profiler plugin: nothing in them is the work of a step.

    Raises
    ------
    TraceError
        If this is one.
    """
    marks = [entry for entry in entries if entry.get("ph") in ("X", "B", "b")]
    if any(str(entry.get("name")).startswith("ProfilerStep#") for entry in marks):
        return
    if any(re.fullmatch(HOROVOD, str(entry.get("name"))) for entry in marks):
        kind = "a Horovod timeline"
    elif (categories := {str(entry.get("cat")) for entry in marks}) <= NCCL and categories & COLLECTIVES:
        kind = "a trace of NCCL's profiler plugin"
    else:
        return
    raise TraceError(
        f"{path}: must hold the work of steps, got what looks like {kind}: negotiations and collectives only ({RECORD})"
    )
