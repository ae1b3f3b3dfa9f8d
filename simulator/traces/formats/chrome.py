"""Chrome trace JSON: what each rank did itself in each step of a profile, or how long other events took."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulator.choices import Work
from simulator.errors import TraceError, show
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.formats.chrome_events import Events, Labels, as_labels, looks_like_events, read_events
from simulator.traces.formats.doubts import doubts, waits_in_events
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.own_work import (
    STEP,
    activity,
    cut_off_steps,
    is_on_device,
    is_step,
    work_in_events,
    work_in_steps,
)
from simulator.traces.formats.profile_workers import hosts, labels, launches, missing_ranks, owners
from simulator.traces.intervals import holds, union, union_by

NUMBER = "[0-9]{1,18}"  # of a step
SHOWN = 5  # steps that are left out


@dataclass(frozen=True)
class _Asked:
    """What is wanted of a profile."""

    event: re.Pattern[str] | None  # other than steps of the profiler
    step: str  # argument that has the number of the step, or nothing
    worker: str | None  # pid, tid, or an argument
    work: Work
    without: re.Pattern[str] | None
    replica_of: re.Pattern[str] | None
    has_aggregate: bool


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Return the own work of each worker in each step, by the rule of `own_work`, or how long other events took.

    A worker is the rank that a file says in ``distributedInfo``, if it has one process with steps, or else the process;
    several files of one process, as cycles of the profiler write them, are one worker. What a device does counts for
    its process. Steps that the profiler cut off are left out on all ranks.

    ``event`` is a regular expression for the whole name of other events. A group in it, as in ``iteration ([0-9]+)``,
    captures the number of the step; without one, an argument does that ``step`` names, or an event belongs to the step
    ``ProfilerStep#N`` of its process in which it begins, and events outside of all steps are left out. The time is the
    union of a worker's events on all of its tracks, or with ``aggregate`` on each of them.
    """
    asked = _asked(options)
    found = [_read_file(path, asked) for path in sources]
    tables = [table for table, _ in found]
    remarks = [remark for _, some in found for remark in some] + labels(tables, sources, asked.worker)
    remarks += hosts(tables, sources)
    lacking = missing_ranks(tables)
    about = {"missing_ranks": lacking} if lacking else {}
    remarks += about.values()
    _refuse_again(tables, sources)
    table = pd.concat(tables, ignore_index=True).rename(columns={"step": "round"})
    table, dropped = _without_cut_off(table, sources[0])
    remarks += dropped
    if asked.event is None and not asked.step and asked.work == "exposed":
        remarks += doubts(table)
    if "exposed_us" in table.columns and (doubt := waits_in_events(table)):
        about["doubt"] = doubt
    if asked.replica_of is not None:
        table = _slowest(table, asked.replica_of)
    table = table.sort_values("end_us", kind="stable").assign(duration_s=table["own_us"] / 1e6)
    if table["waited_us"].any():
        table["waited_s"] = table["waited_us"] / 1e6
    kept = ("round", "worker", "duration_s", "waited_s", "host")
    if table.get("in_collectives_us", table.get("exposed_us", table["waited_us"])).any():
        about["has_collectives"] = "True"
    table = table[[name for name in kept if name in table.columns]].reset_index(drop=True)
    are_ranks = not asked.worker and not asked.replica_of and all(one.attrs["rank"] is not None for one in tables)
    return Samples(table, tuple(remarks), about, ("step", "rank" if are_ranks else "worker"))


def _asked(options: Options) -> _Asked:
    step, worker = options.get("step", ""), options.get("worker")
    if step and not re.fullmatch(r"args\..+", step):
        raise TraceError(f"--step: must be args.KEY, an argument of events, got {step}")
    if worker not in (None, "pid", "tid") and not re.fullmatch(r"args\..+", worker):
        raise TraceError(f"--worker: must be pid, tid or args.KEY, an argument of events, got {worker}")
    event = _pattern("--event", options.get("event"))
    if event is not None and event.groups > 1:
        raise TraceError(f"--event: must have at most one group, for the number of the step, got {event.pattern}")
    if event is not None and event.groups and step:
        raise TraceError(f"--event: must have no group if --step says the step, got {event.pattern}")
    replica_of = _pattern("--replica-of", options.get("replica_of"))
    if replica_of is not None and replica_of.groups != 1:
        raise TraceError(f"--replica-of: must have one group, for the name of the replica, got {replica_of.pattern}")
    return _Asked(
        event=event,
        step=step.removeprefix("args."),
        worker=worker,
        work=options.get("work") or ("exposed" if event is None and not step else "step"),
        without=_pattern("--without", options.get("without")),
        replica_of=replica_of,
        has_aggregate="aggregate" in options,
    )


def _pattern(option: str, text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise TraceError(f"{option}: must be a regular expression, got {text} ({error})") from None


def _read_file(path: Path, asked: _Asked) -> tuple[pd.DataFrame, list[str]]:
    """Return a row for each worker, step and track of a file, and what is to be known of it."""
    arguments = [
        key for key in (asked.step, (asked.worker or "").removeprefix("args.")) if key not in ("", "pid", "tid")
    ]
    events = read_events(path, arguments)
    of_profiler = is_step(events)
    is_chosen = of_profiler if asked.event is None and not asked.step else _matched(events, asked)
    if not is_chosen.any():
        raise _nothing(path, events, asked)
    has_steps = is_chosen | of_profiler
    if of_profiler.any():
        has_steps &= ~is_on_device(events)
    need_devices = asked.work != "step" or asked.without is not None or bool((is_chosen & is_on_device(events)).any())
    owner, pids, remarks = owners(events, has_steps, path, need_devices=need_devices)
    launched_by = launches(events, owner)
    part = _parts(events, asked.worker)
    unit = owner * len(part.names) + np.where(owner < 0, 0, part.codes[launched_by])
    anchor_us = events.begin_us[launched_by]
    try:
        number = _numbers(events, is_chosen, of_profiler, owner, anchor_us, asked)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None
    remarks += events.remarks
    has_worker = owner >= 0
    if asked.worker not in (None, "pid", "tid"):
        has_worker &= np.array([name != "None" for name in part.names], dtype=np.bool_)[part.codes[launched_by]]
    for is_lost, why in ((number < 0, "begin outside of all steps"), (~has_worker, f"have no {asked.worker}")):
        if n_lost := int((is_chosen & is_lost).sum()):
            remarks.append(f"{path}: {n_lost} events that {why} are left out")
    is_chosen &= (number >= 0) & has_worker
    if not is_chosen.any():
        raise _nothing(path, events, asked)
    if (asked.event or asked.step) and not events.is_dask:  # which does its tasks in any order
        remarks += _going_back(path, events.of(is_chosen), unit[is_chosen], number[is_chosen])
    tables = []
    for one in np.unique(unit[is_chosen]).tolist():
        mine = unit == one if len(pids) * len(part.names) > 1 else np.ones(len(unit), dtype=np.bool_)
        table = _work(path, events.of(mine), number[mine], is_chosen[mine], anchor_us[mine], asked)
        tables.append(
            table.assign(file=str(path), pid=pids[one // len(part.names)], part=part.names[one % len(part.names)])
        )
    whole = pd.concat(tables, ignore_index=True)
    whole.attrs |= {"rank": events.rank, "n_ranks": events.n_ranks}
    return whole, remarks


def _work(
    path: Path, events: Events, number: IntArray, is_chosen: BoolArray, anchor_us: Any, asked: _Asked
) -> pd.DataFrame:
    """Measure the chosen events of one worker."""
    codes, tracks = pd.factorize(
        pd.Series(events.tid.codes)[is_chosen] + len(events.tid.names) * events.pid.codes[is_chosen]
    )
    steps, of_step = np.unique(number[is_chosen], return_inverse=True)
    pairs = np.unique(of_step * len(tracks) + codes)
    in_steps = asked.event is None and not asked.step
    if len(pairs) > len(steps) and asked.worker is None and not asked.has_aggregate and not events.is_dask:
        begun_us = None if in_steps else anchor_us[is_chosen]
        _refuse_tracks(path, events, number, is_chosen, begun_us)
    separate = asked.has_aggregate or in_steps
    group, begin_us, end_us = union_by(
        of_step * len(tracks) + (codes if separate else 0), events.begin_us[is_chosen], events.end_us[is_chosen]
    )
    spans = pd.DataFrame({"group": group, "begin_us": begin_us, "end_us": end_us})
    if in_steps and len(again := spans.loc[spans["group"].duplicated(), "group"]):
        raise TraceError(
            f"{path}: must have each step of a thread once, got step {steps[again.iloc[0] // len(tracks)]} again, as "
            "where the profiler counts anew (convert its parts one by one)"
        )
    did = activity(events, anchor_us, asked.work, asked.without)
    table = (work_in_steps if in_steps else work_in_events)(did, spans, asked.work)
    if not in_steps and asked.work == "step" and asked.without is None:
        waits = activity(events, anchor_us, "exposed", None)
        table["exposed_us"] = work_in_events(waits, spans, "exposed")["waited_us"]
    how = {key: "any" if of_key.dtype == np.bool_ else "sum" for key, of_key in table.items()} | {"end_us": "max"}
    table = table.groupby("group").agg({key: way for key, way in how.items() if key != "group"})
    table["step"] = steps[table.index // len(tracks)]
    if not (in_steps or asked.step or (asked.event is not None and asked.event.groups)):
        table["is_cut_off"] = table["step"].isin(cut_off_steps(events))
    return table.reset_index(drop=True)


def _going_back(path: Path, events: Events, unit: IntArray, number: IntArray) -> list[str]:
    """Say so where a thread counts its steps anew: what has the same number is put together."""
    order = np.lexsort((events.begin_us, events.tid.codes, unit))
    thread = np.stack([unit, events.tid.codes])[:, order]
    back = np.flatnonzero((np.diff(number[order]) < 0) & (np.diff(thread) == 0).all(axis=0))
    if not len(back):
        return []
    before, after = number[order][back[0] : back[0] + 2]
    return [f"{path}: steps go back, first from {before} to {after}: events of the same number are put together"]


def _matched(events: Events, asked: _Asked) -> BoolArray:
    if asked.event is None:
        return np.array([value is not None for value in events.said[asked.step]], dtype=np.bool_)
    return events.name.where(asked.event.fullmatch)


def _nothing(path: Path, events: Events, asked: _Asked) -> TraceError:
    known = ", ".join(dict.fromkeys(re.sub(r"\d+", "N", name) for name in events.name.names[:1000]))
    wanted = asked.event.pattern if asked.event else f"with {asked.step} among their arguments" if asked.step else STEP
    is_other = wanted == STEP and events.name.where(re.compile(STEP).fullmatch).any()
    hint = "; steps are of the category user_annotation, or of none" if is_other else ""
    if asked.event and not asked.event.groups and events.name.where(asked.event.fullmatch).any():
        hint = "; without steps of the profiler around them, a group in it, as in step (\\d+), or --step says the step"
    return TraceError(
        f"{path}: must hold events {wanted} in steps, got none (--event takes a regular expression; "
        f"events are {known[:200] or 'none'}{hint})"
    )


def _parts(events: Events, worker: str | None) -> Labels:
    """What of an event tells workers of one process apart."""
    if worker == "tid":
        return events.tid
    if worker in (None, "pid"):
        return Labels(np.zeros(len(events.begin_us), dtype=np.int64), [""])
    return as_labels(events.said[worker.removeprefix("args.")])


def _numbers(
    events: Events, is_chosen: BoolArray, of_profiler: BoolArray, owner: IntArray, anchor_us: FloatArray, asked: _Asked
) -> IntArray:
    """Find the step of each chosen event; -1: it is in none."""
    if asked.step:
        values = [value if here else None for value, here in zip(events.said[asked.step], is_chosen, strict=True)]
        return np.array([-1 if value is None else _number("--step", value, asked.step) for value in values])
    pattern = asked.event or re.compile(STEP)
    if pattern.groups:
        return _in_names(events.name, is_chosen, pattern)
    number = np.full(len(owner), -1, dtype=np.int64)
    of_step = _in_names(events.name, of_profiler, re.compile(STEP))
    for one in np.unique(owner[of_profiler]).tolist():
        steps = np.flatnonzero(of_profiler & (owner == one))
        steps = steps[np.argsort(events.begin_us[steps], kind="stable")]
        mine = np.flatnonzero(is_chosen & (owner == one))
        place = np.searchsorted(events.begin_us[steps], anchor_us[mine], side="right") - 1
        is_in = (place >= 0) & (anchor_us[mine] < events.end_us[steps[place]])
        number[mine[is_in]] = of_step[steps[place[is_in]]]
    return number


def _in_names(names: Labels, is_chosen: BoolArray, pattern: re.Pattern[str]) -> IntArray:
    of_name = np.full(len(names.names), -1, dtype=np.int64)
    for code in np.unique(names.codes[is_chosen]).tolist():
        found = pattern.fullmatch(names.names[code])
        of_name[code] = _number(
            "steps" if pattern.pattern == STEP else "--event", found and found[1], names.names[code]
        )
    return np.where(is_chosen, of_name[names.codes], -1)


def _number(option: str, value: Any, where: str) -> int:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if isinstance(value, bool) or not re.fullmatch(NUMBER, text):
        which = {"--event": "its group must capture", "--step": "must name an argument that is"}.get(
            option, "must have"
        )
        raise TraceError(
            f"{option}: {which} the number of the step (of at most 18 digits), got {show(value)} of {where[:60]}"
        )
    return int(text)


def _refuse_tracks(
    path: Path, events: Events, number: IntArray, is_chosen: BoolArray, begun_us: FloatArray | None
) -> None:
    """Refuse a step that several threads of a process have, unless its events begin in steps of the profiler."""
    steps = is_step(events)
    if begun_us is not None and holds(union(events.begin_us[steps], events.end_us[steps]), begun_us).all():
        return
    rows = pd.DataFrame(
        {"step": number[is_chosen], "pid": events.pid.codes[is_chosen], "tid": events.tid.codes[is_chosen]}
    )
    n_tracks = rows.groupby(["pid", "step"])["tid"].nunique()
    several = n_tracks[n_tracks > 1]
    if several.empty:
        return
    pid, step = several.index.tolist()[0]
    raise TraceError(
        f"{path}: must have a step of a process on one thread, got step {step} of pid {events.pid.names[pid]} on "
        f"{several.iloc[0]} (--worker tid if each is a worker, --worker pid if they are one, or --aggregate)"
    )


def _refuse_again(tables: Sequence[pd.DataFrame], sources: Sequence[Path]) -> None:
    """Refuse files that have the same step of the same worker."""
    first: dict[tuple[str, int], Path] = {}
    for table, path in zip(tables, sources, strict=True):
        for worker, step in set(zip(table["worker"], table["step"], strict=True)):
            if (found := first.setdefault((worker, step), path)) != path:
                raise TraceError(
                    f"{path}: must hold steps or a rank of its own, got step {step} of rank {worker} again, which "
                    f"{found} has"
                )


def _without_cut_off(table: pd.DataFrame, where: Path) -> tuple[pd.DataFrame, list[str]]:
    """Leave out steps whose beginning or end some rank does not have, on all ranks."""
    remarks: list[str] = []
    left_out: set[int] = set()
    for key, why in (
        ("is_cut_off", "cut off by the profiler (shorter than half the median)"),
        ("has_no_start", "without a beginning, since the device is behind its host"),
    ):
        if key in table.columns and table[key].any():
            rows = table[table[key].eq(True)]
            steps, ranks = sorted(set(rows["round"])), list(dict.fromkeys(rows["worker"]))
            left_out.update(steps)
            shown = ", ".join(map(str, steps[:SHOWN])) + (", ..." if len(steps) > SHOWN else "")
            of = f"worker {ranks[0]}" if len(ranks) == 1 else f"{len(ranks)} workers"
            remarks.append(f"step{'s' * (len(steps) > 1)} {shown} left out on all ranks: on {of} {why}")
    kept = table[~table["round"].isin(left_out)]
    if kept.empty:
        raise TraceError(f"{where}: must hold whole steps, got none: {'; '.join(remarks)}")
    return kept, remarks


def _slowest(table: pd.DataFrame, replica_of: re.Pattern[str]) -> pd.DataFrame:
    """Make one worker of the ranks of a replica: the slowest counts, in rounds that all of them have."""
    replica = {}
    for worker, file in set(zip(table["worker"], table["file"], strict=True)):
        found = replica_of.search(worker) or replica_of.search(file)
        if found is None or found[1] is None:
            raise TraceError(
                f"--replica-of: must be found in the name of each rank, or of its file, got {worker} ({file})"
            )
        replica[worker] = found[1]
    table = table.assign(rank=table["worker"], worker=table["worker"].map(replica)).sort_values("own_us", kind="stable")
    n_ranks = table.groupby("worker")["rank"].nunique()
    of_round = table.groupby(["round", "worker"])
    is_whole = of_round["rank"].transform("nunique") == table["worker"].map(n_ranks)
    return table[is_whole].groupby(["round", "worker"], sort=False).tail(1)


CHROME = Format(
    kind="chrome",
    options=("event", "work", "without", "step", "worker", "replica_of", *(name for name in COMMON if name != "unit")),
    fits=lambda source, options: not source.is_dir() and looks_like_events(source),
    read=read,
    unit="us",
    takes_several=True,
)
