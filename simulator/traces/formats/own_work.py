"""Own work of ranks in profiles: a step, less the collectives during which the rank does not compute.

In synchronous training a rank's step lasts as long as the slowest rank's. What a rank did itself is the step without
the *exposed* collectives: ``step - (union of collectives - union of compute)``, on each device; if a rank has several
devices with collectives, that with the most own work counts.

1. A step is an event ``ProfilerStep#N`` of category ``user_annotation``, or without a category.
2. Collectives are, on a device, kernels and copies that are named after NCCL, RCCL, MSCCL or ``cross_device_reduce``,
   or have ``Collective name`` among their arguments; on the host, annotations ``gloo:``, ``mpi:`` and ``ucc:``. All
   others on the host are launches. They are clipped to the step that they belong to.
3. Compute is, on a device, every other kernel, copy and memset; without events of devices ``cpu_op``, but for
   ``c10d::`` and ``record_param_comms``.
4. What a device does belongs to the step that launched it, as ``correlation`` says, or else in which it starts. If its
   last event ends more than 5 % of a step after the host's step, the device is behind: the step lasts from the end of
   the previous step's last event to the end of its own, and a first step has no beginning.
5. With Python stacks, only what passes while the host is in a call that waits is subtracted.
6. A first or last step shorter than half the median of the others was cut off by the profiler.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulator.choices import Work
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.formats.chrome_events import Events
from simulator.traces.intervals import EVERYWHERE, Intervals, common, covered, difference, union, union_by

STEP = r"ProfilerStep#(\d+)"  # what the profiler calls a step
DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
COLLECTIVE_ON_DEVICE = re.compile(r"^(nccl|rccl)(Dev)?Kernel|^mscclKernel|cross_device_reduce")
COLLECTIVE_ON_HOST = re.compile(r"(gloo|mpi|ucc):")
LAUNCH = re.compile(r"c10d::|record_param_comms")  # operations of the host that only start collectives
IN_PYTHON = "python_function"
WAITING_CALL = re.compile(  # file.py(12): wait, or <built-in method wait of ...>
    r"(^|\): |<built-in (method|function) )([\w.]+\.)?(wait|run_backward|barrier|send|recv|synchronize)(>| of |$)"
)
BEHIND = 0.05  # of a step
CUT_OFF = 0.5  # of the median step
FEWEST_OTHERS = 2  # steps, of which a median says how long a whole one is


def is_step(events: Events) -> BoolArray:
    """Say which events are steps of the profiler."""
    return events.name.where(re.compile(STEP).fullmatch) & events.category.among(("user_annotation", "", "None"))


def is_on_device(events: Events) -> BoolArray:
    """Say which events ran on a device."""
    return events.category.among(DEVICE)


@dataclass(frozen=True)
class Activity:
    """What one worker did: its events, sorted by their kinds."""

    events: Events
    anchor_us: FloatArray  # when an event was launched, or else began
    is_on_device: BoolArray
    is_wait: BoolArray  # collectives, and what else is waiting
    is_compute: BoolArray
    waiting: Intervals  # when the host is in a call that waits; everywhere without stacks
    has_stacks: bool


def activity(events: Events, anchor_us: FloatArray, work: Work, without: re.Pattern[str] | None) -> Activity:
    """Sort the events of a worker: collectives and whatever matches ``without`` are waiting, if they are asked for."""
    on_device = is_on_device(events)
    named = events.name.where(COLLECTIVE_ON_DEVICE.search) | events.is_called_collective
    on_host = events.category.among(("user_annotation",)) & events.name.where(COLLECTIVE_ON_HOST.match)
    is_collective = (on_device & named) | on_host
    told = np.zeros(len(on_device), dtype=np.bool_)
    if without is not None:
        told = events.name.where(without.fullmatch) & ~is_step(events)
    computes = on_device if on_device.any() else events.category.among(("cpu_op",)) & ~events.name.where(LAUNCH.match)
    in_python = events.category.among((IN_PYTHON,))
    in_call = in_python & events.name.where(WAITING_CALL.search)
    return Activity(
        events,
        anchor_us,
        on_device,
        told if work == "step" else is_collective | told,
        computes & ~is_collective & ~told,
        union(events.begin_us[in_call], events.end_us[in_call]) if in_python.any() else EVERYWHERE,
        bool(in_python.any()),
    )


def work_in_steps(did: Activity, spans: pd.DataFrame, work: Work) -> pd.DataFrame:
    """Return the own work in steps of the profiler, ``spans`` with begin_us and end_us, by points 1 to 6."""
    spans = spans.sort_values("begin_us", kind="stable", ignore_index=True)
    begin_us, end_us = (spans[key].to_numpy(dtype=np.float64) for key in ("begin_us", "end_us"))
    step = np.searchsorted(begin_us, did.anchor_us, side="right") - 1
    step[did.anchor_us >= end_us[step]] = -1
    has_no_start = np.zeros(len(spans), dtype=np.bool_)
    if work != "step":
        begin_us, end_us, has_no_start[0] = _windows(did, step, begin_us, end_us)

    def exposed(mine: BoolArray, compute: Intervals) -> FloatArray:
        of, begin, end = _clipped(did, mine & (step >= 0), step, begin_us, end_us)
        exposed_us = covered(difference(did.waiting, compute), begin, end)
        return np.bincount(of, exposed_us, minlength=len(spans)).astype(np.float64)

    of, begin, end = _clipped(did, did.is_wait & (step >= 0), step, begin_us, end_us)
    in_collectives = np.bincount(of, end - begin, minlength=len(spans))
    spans = spans.assign(
        has_stacks=did.has_stacks,
        has_no_start=has_no_start,
        in_collectives_us=in_collectives,
        is_cut_off=_is_cut_off(end_us - begin_us, has_no_start),
    )
    waited_us = np.min([exposed(mine, compute) for mine, compute in _devices(did)], axis=0)
    return _measured(did, spans, begin_us, end_us, waited_us, work)


def work_in_events(did: Activity, spans: pd.DataFrame, work: Work) -> pd.DataFrame:
    """Return the own work in events, ``spans``, that need not be steps of the profiler."""
    begin_us, end_us = (spans[key].to_numpy(dtype=np.float64) for key in ("begin_us", "end_us"))

    def exposed(mine: BoolArray, compute: Intervals) -> FloatArray:
        waits = union(did.events.begin_us[mine], did.events.end_us[mine])
        return covered(common(difference(waits, compute), did.waiting), begin_us, end_us)

    waited_us = np.min([exposed(mine, compute) for mine, compute in _devices(did)], axis=0)
    return _measured(did, spans, begin_us, end_us, waited_us, work)


def _measured(
    did: Activity, spans: pd.DataFrame, begin_us: FloatArray, end_us: FloatArray, waited_us: FloatArray, work: Work
) -> pd.DataFrame:
    computed_us = covered(_union_of(did, did.is_compute), begin_us, end_us)
    length_us = end_us - begin_us
    own_us = computed_us if work == "compute" else length_us - waited_us
    return spans.assign(own_us=own_us, waited_us=waited_us, computed_us=computed_us, length_us=length_us)


def _devices(did: Activity) -> Iterator[tuple[BoolArray, Intervals]]:
    """The waits on each device that has some, with those of the host, and what covers them."""
    with_waits = np.unique(did.events.pid.codes[did.is_on_device & did.is_wait])
    for device in with_waits:
        is_there = did.is_on_device & (did.events.pid.codes == device)
        yield did.is_wait & (is_there | ~did.is_on_device), _union_of(did, did.is_compute & is_there)
    if not len(with_waits):
        yield did.is_wait, _union_of(did, did.is_compute)


def _union_of(did: Activity, mine: BoolArray) -> Intervals:
    return union(did.events.begin_us[mine], did.events.end_us[mine])


def _clipped(
    did: Activity, mine: BoolArray, step: IntArray, begin_us: FloatArray, end_us: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Events as far as they are in the steps that they belong to, united."""
    of = step[mine]
    begin = np.maximum(did.events.begin_us[mine], begin_us[of])
    end = np.minimum(did.events.end_us[mine], end_us[of])
    is_in = end > begin
    return union_by(of[is_in], begin[is_in], end[is_in])


def _windows(
    did: Activity, step: IntArray, begin_us: FloatArray, end_us: FloatArray
) -> tuple[FloatArray, FloatArray, bool]:
    """When steps begin and end, of those whose device is behind on the device; whether the first has no beginning."""
    last_us = np.full(len(begin_us), -np.inf)
    mine = did.is_on_device & (step >= 0)
    np.maximum.at(last_us, step[mine], did.events.end_us[mine])
    is_behind = last_us - end_us > BEHIND * np.median(end_us - begin_us)
    done_us = np.maximum.accumulate(np.where(np.isfinite(last_us), last_us, end_us))
    before_us = np.append(begin_us[0], done_us[:-1])
    after_one = np.append(False, is_behind[:-1])  # what is left of the previous step is none of this one
    starts_us = np.where(is_behind, before_us, np.where(after_one, np.maximum(begin_us, before_us), begin_us))
    ends_us = np.maximum(np.where(is_behind, last_us, end_us), starts_us)
    return starts_us, ends_us, bool(is_behind[0])


def cut_off_steps(events: Events) -> list[int]:
    """Return the numbers of steps of the profiler that it has cut off, by the time on the host."""
    of_profiler = events.of(is_step(events))
    order = np.argsort(of_profiler.begin_us, kind="stable")
    length_us = (of_profiler.end_us - of_profiler.begin_us)[order]
    cut_off = order[_is_cut_off(length_us, np.zeros(len(order), dtype=np.bool_))]
    return [int(of_profiler.name.names[code].partition("#")[2]) for code in of_profiler.name.codes[cut_off]]


def _is_cut_off(length_us: FloatArray, has_no_start: BoolArray) -> BoolArray:
    """Say which of the first and the last step the profiler has cut off."""
    is_cut_off = np.zeros(len(length_us), dtype=np.bool_)
    whole = np.flatnonzero(~has_no_start)
    if len(whole) > FEWEST_OTHERS:
        ends = [whole[-1]] if has_no_start.any() else [whole[0], whole[-1]]  # one step at each end at most
        for end in ends:
            is_cut_off[end] = length_us[end] < CUT_OFF * np.median(length_us[whole[whole != end]])
    return is_cut_off
