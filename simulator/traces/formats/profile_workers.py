"""Whose events of a Chrome trace are: processes with steps of their own, devices, files of one process."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from simulator.errors import TraceError
from simulator.parameters import BoolArray, IntArray
from simulator.traces.formats.chrome_events import Events
from simulator.traces.formats.own_work import is_on_device
from simulator.traces.naming import missing
from simulator.traces.native import natural_key
from straggler_models.trace_table import in_a_line

OF_A_CYCLE = r"(.+)\.\d+\.pt\.trace\.json(\.gz)?"  # NAME.TIME, as tensorboard_trace_handler names a cycle of a process
OF_A_HOST = r"(?P<host>.+)_(?P<pid>\d+)\.\d+\.pt\.trace\.json(\.gz)?"  # the same, if it chooses the name itself
SAMPLE = 1000  # events of a device that say whose it is


def owners(
    events: Events, has_steps: BoolArray, path: Path, *, need_devices: bool
) -> tuple[IntArray, list[str], list[str]]:
    """Find the process of each event, among those with steps.

    What ran on a device, elsewhere than in a process with steps, belongs to the process with the same prefix before its
    number, or that launched it, or else, if there are as many devices as processes, to that at the same place in their
    order; if ``need_devices``, others are refused.

    Returns
    -------
    owner
        The place of each event's process in ``pids``; -1: nobody's.
    pids
        Processes with steps.
    remarks
        What is to be known of it.
    """
    pid = events.pid
    hosts = list(dict.fromkeys(pid.codes[has_steps].tolist()))
    pids = [pid.names[code] for code in hosts]
    if len(hosts) == 1:
        return np.zeros(len(pid.codes), dtype=np.int64), pids, []
    of_pid = np.full(len(pid.names), -1, dtype=np.int64)
    of_pid[hosts] = np.arange(len(hosts))
    on_device = is_on_device(events)
    homeless = [code for code in np.unique(pid.codes[on_device]).tolist() if of_pid[code] < 0]
    prefixes = [_prefix(name) for name in pids]
    remarks: list[str] = []
    if all(prefixes) and len(set(prefixes)) == len(prefixes):  # as tools that merge files mark their ranks
        for code, name in enumerate(pid.names):
            if of_pid[code] < 0 and _prefix(name) in prefixes:
                of_pid[code] = prefixes.index(_prefix(name))
    elif homeless:
        launched = [_launched(events, on_device, code, hosts) for code in homeless]
        if all((counts == counts.max()).sum() == 1 for counts in launched):
            of_pid[homeless] = [int(counts.argmax()) for counts in launched]
        elif len(homeless) == len(hosts):
            by_name = sorted(homeless, key=lambda code: natural_key(pid.names[code]))
            of_pid[by_name] = sorted(range(len(hosts)), key=lambda place: natural_key(pids[place]))
            remarks.append(
                f"{path}: devices {', '.join(pid.names[code] for code in by_name[:5])} are taken for those of its "
                "processes in their order"
            )
        elif need_devices:
            raise TraceError(
                f"{path}: must say whose its devices are, got {len(homeless)} devices of {len(hosts)} processes "
                "(convert the files of the ranks, before they are merged)"
            )
    return of_pid[pid.codes], pids, remarks


def _prefix(pid: str) -> str:
    """What stands before the number of a process: [TP00-DP01] 83."""
    return re.sub(r"\s*[0-9]+$", "", pid)


def _launched(events: Events, on_device: BoolArray, device: int, hosts: Sequence[int]) -> IntArray:
    """How many events of a device each process has launched, of the first ones."""
    some = np.flatnonzero(on_device & (events.pid.codes == device) & (events.correlation >= 0))[:SAMPLE]
    counts = [
        np.isin(events.correlation[some], events.correlation[(events.pid.codes == host) & ~on_device]).sum()
        for host in hosts
    ]
    return np.array(counts, dtype=np.int64)


def launches(events: Events, owner: IntArray) -> IntArray:
    """Find the event of the host that launched each event of a device; itself, if none is known, and for the host's."""
    on_device = is_on_device(events)
    itself = np.arange(len(owner))
    known = events.correlation >= 0
    launching = np.flatnonzero(known & ~on_device & (owner >= 0))
    if not len(launching):
        return itself
    _, number = np.unique(events.correlation, return_inverse=True)
    key = number.astype(np.int64) * (owner.max() + 2) + owner
    launching = launching[np.lexsort((events.begin_us[launching], key[launching]))]
    place = np.minimum(np.searchsorted(key[launching], key), len(launching) - 1)
    found = known & on_device & (key[launching[place]] == key)
    return np.where(found, launching[place], itself)


def labels(tables: Sequence[pd.DataFrame], sources: Sequence[Path], by: str | None) -> list[str]:
    """Name the workers of each file's table, in its column worker; return what is to be known of it.

    A worker is the rank of a file with one process, or else the process; files of the same process, as several cycles
    of the profiler write them, are of one worker. ``by`` says that pid, tid or an argument of events is the worker.
    """
    names = [path.name if [other.name for other in sources].count(path.name) == 1 else str(path) for path in sources]
    of_file = [_of_file(table, name, len(sources) == 1, by) for table, name in zip(tables, names, strict=True)]
    remarks = _join_cycles(tables, of_file)
    for table, label in zip(tables, of_file, strict=True):
        table["worker"] = label
    if by not in (None, "pid"):
        whole = pd.concat(tables)
        alone = by != "tid" or whole.groupby("part")["worker"].nunique().max() == 1
        for table in tables:
            table["worker"] = table["part"] if alone else table["worker"] + " tid " + table["part"]
    return remarks


def _of_file(table: pd.DataFrame, name: str, is_only: bool, by: str | None) -> pd.Series:
    pid, rank = table["pid"], table.attrs["rank"]
    if by is None and pid.nunique() == 1:
        if rank is not None:
            return pid.map(lambda _: str(rank))
        if cycle := re.fullmatch(OF_A_CYCLE, name):
            return pid.map(lambda _: cycle[1])
    return pid if is_only else f"{name} pid " + pid


def hosts(tables: Sequence[pd.DataFrame], sources: Sequence[Path]) -> list[str]:
    """Take the hosts in the names of files for those of workers, if all have one; return what is to be known of it."""
    found = [re.fullmatch(OF_A_HOST, path.name) for path in sources]
    named = [
        one["host"] if one and (table["pid"] == one["pid"]).all() else ""
        for one, table in zip(found, tables, strict=True)
    ]
    if not all(named):
        return []
    for table, host in zip(tables, named, strict=True):
        table["host"] = host
    return [f"hosts, by the names of the files: {in_a_line(', '.join(dict.fromkeys(named)))}"]


def missing_ranks(tables: Sequence[pd.DataFrame]) -> str:
    """Say which ranks of the job were not read; of merged files, which do not say whose they are, how many."""
    n_ranks = max(table.attrs["n_ranks"] for table in tables)
    ranks = [table.attrs["rank"] for table in tables if table["pid"].nunique() == 1]
    if len(ranks) == len(tables) and None not in ranks:
        return missing(ranks, n_ranks)
    n_there = len({worker for table in tables for worker in table["worker"]})
    return missing(range(n_there), n_ranks, are_known=False) if n_there < n_ranks else ""


def _join_cycles(tables: Sequence[pd.DataFrame], of_file: list[pd.Series]) -> list[str]:
    """Give files of one process one name: the same pid, and no step again."""
    of_pid: dict[str, list[int]] = {}
    for place, (table, label) in enumerate(zip(tables, of_file, strict=True)):
        if table["pid"].nunique() == 1 and label.iloc[0].endswith(f" pid {table['pid'].iloc[0]}"):
            of_pid.setdefault(table["pid"].iloc[0], []).append(place)
    remarks = []
    for pid, places in of_pid.items():
        steps = [step for place in places for step in tables[place]["step"].unique()]
        if len(places) > 1 and len(set(steps)) == len(steps):
            for place in places:
                of_file[place] = of_file[place].map(lambda _, pid=pid: f"pid {pid}")
            remarks.append(f"{len(places)} files of pid {pid} without a step in common are taken for one worker")
    return remarks
