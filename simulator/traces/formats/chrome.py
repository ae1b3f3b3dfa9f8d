"""Chrome trace JSON, as PyTorch's profiler (Kineto) writes it: how long each rank took in each step."""

import bisect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from simulator.errors import TraceError, show
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from straggler_models.trace_table import UNREADABLE, opened

STEP = r"ProfilerStep#(\d+)"  # what the profiler calls a step
NUMBER = "[0-9]{1,18}"  # of a step
MOST_US = 1e18  # what a profiler may say of a time
ON_THE_GPU = "gpu_user_annotation"  # category of the copy of an annotation on the device's own track


class _Event(NamedTuple):
    """A complete event: it has a beginning and a duration."""

    name: str
    pid: str
    begin_us: float
    duration_us: float


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Add up, for each rank and step, the durations of the events with a name.

    The rank is ``distributedInfo.rank`` of the file, or else the process (``pid``) of the event; of several files
    without ranks, each process of each file is a worker of its own. Copies of annotations on a GPU's track are not
    counted.

    ``event`` is a regular expression for the whole name. A group in it, as in ``iteration ([0-9]+)``, captures the
    number of the step; without one, an event belongs to the step ``ProfilerStep#N`` of its process in which it begins,
    and events outside of all steps are left out. The default are the steps themselves.
    """
    event = options.get("event") or STEP
    pattern = _pattern(event)
    seconds: dict[tuple[int, str], float] = {}
    found_in: dict[tuple[int, str], Path] = {}
    for path in sources:
        document = _read(path)
        rank = _rank(document)
        by_name = len(sources) > 1 and rank is None
        events = _events(document, path)
        n_found = 0
        for step, happened in _in_steps(events, pattern):
            worker = happened.pid if rank is None else str(rank)
            key = (step, f"{path.name} pid {worker}" if by_name else worker)
            if found_in.setdefault(key, path) != path:
                raise TraceError(
                    f"{path}: must hold steps or a rank of its own, got step {step} of rank {worker} again, which "
                    f"{found_in[key]} has"
                )
            seconds[key] = seconds.get(key, 0.0) + happened.duration_us
            n_found += 1
        if n_found == 0:
            known = ", ".join(dict.fromkeys(re.sub(r"\d+", "N", happened.name) for happened in events[:1000]))
            raise TraceError(
                f"{path}: must hold events {event} in steps, got none (--event takes a regular expression; "
                f"events are {known[:200] or 'none'})"
            )
    rows = [(step, worker, duration_us / 1e6) for (step, worker), duration_us in seconds.items()]
    return Samples(pd.DataFrame(rows, columns=["round", "worker", "duration_s"]))


def _pattern(event: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(event)
    except re.error as error:
        raise TraceError(f"--event: must be a regular expression, got {event} ({error})") from None
    if pattern.groups > 1:
        raise TraceError(f"--event: must have at most one group, for the number of the step, got {event}")
    return pattern


def _read(path: Path) -> Any:
    try:
        with opened(path) as file:
            return json.load(file)
    except (*UNREADABLE, RecursionError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise TraceError(f"{path}: must be a readable Chrome trace (JSON), got none ({reason})") from None


def _rank(document: Any) -> int | None:
    info = document.get("distributedInfo") if isinstance(document, dict) else None
    rank = info.get("rank") if isinstance(info, dict) else None
    return rank if isinstance(rank, int) and abs(rank) < 2**63 else None


def _events(document: Any, path: Path) -> list[_Event]:
    """All complete events, in order of time."""
    listed = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(listed, list):
        raise TraceError(f"{path}: must be a Chrome trace, a list of events or an object with traceEvents, got neither")
    events = []
    for entry in listed:
        if not isinstance(entry, dict) or entry.get("ph") != "X" or entry.get("cat") == ON_THE_GPU:
            continue
        begin_us, duration_us = entry.get("ts"), entry.get("dur", 0)
        name = _text(entry.get("name"))
        if not (
            isinstance(begin_us, int | float)
            and isinstance(duration_us, int | float)
            and abs(begin_us) < MOST_US
            and 0 <= duration_us < MOST_US
        ):
            raise TraceError(
                f"{path}: events must have numbers ts and dur of at least 0 (and below {MOST_US:g}), got "
                f"{_text(duration_us)[:60]} at {_text(begin_us)[:60]} for {name[:60]}"
            )
        events.append(_Event(name, _text(entry.get("pid")), float(begin_us), float(duration_us)))
    return sorted(events, key=lambda event: event.begin_us)


def _text(value: Any) -> str:
    """A value as text that can be written: half a pair of surrogates can't."""
    return str(value).encode(errors="replace").decode()


def _in_steps(events: Sequence[_Event], pattern: re.Pattern[str]) -> Iterator[tuple[int, _Event]]:
    """The events that match, each with the number of its step."""
    matched = [(event, found) for event in events if (found := pattern.fullmatch(event.name))]
    if pattern.groups:
        for event, found in matched:
            if not re.fullmatch(NUMBER, found[1] or ""):
                raise TraceError(
                    f"--event: its group must capture the number of the step (of at most 18 digits), got "
                    f"{show(found[1])} of {event.name[:60]}"
                )
            yield int(found[1]), event
        return
    steps: dict[str, list[tuple[float, float, int]]] = {}
    for event in events:
        if (step := re.fullmatch(STEP, event.name)) and re.fullmatch(NUMBER, step[1]):
            steps.setdefault(event.pid, []).append((event.begin_us, event.begin_us + event.duration_us, int(step[1])))
    for event, _ in matched:
        of_process = steps.get(event.pid, [])
        place = bisect.bisect_right(of_process, event.begin_us, key=lambda span: span[0]) - 1
        if place >= 0 and event.begin_us < of_process[place][1]:
            yield of_process[place][2], event


CHROME = Format(
    kind="chrome",
    options=("event", "work", "without", "step", "worker", "replica_of", *(name for name in COMMON if name != "unit")),
    fits=lambda source, options: ".json" in source.suffixes,
    read=read,
    unit="us",
    takes_several=True,
)
