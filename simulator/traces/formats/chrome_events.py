"""Events of Chrome trace JSON: complete ones, and pairs of a begin and an end."""

import gc
import gzip
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simulator.errors import TraceError
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.formats.timelines import dask_events, is_dask, refuse_collectives_only
from straggler_models.trace_table import GZIP, UNREADABLE, opened

MOST_US = 1e18  # what a profiler may say of a time
ON_THE_GPU = "gpu_user_annotation"  # category of the copy of an annotation on the device's own track
RECORDS = r"\[\s*\{|\{[^{}\[\]]*\}\s*\{"  # JSON of tables: a list of rows, or rows
HEAD = 2**20  # characters that show what a file is
ZIP = b"PK\x03\x04"  # how such a file begins
PAIRED = {"B": "E", "b": "e"}  # phases, synchronous and asynchronous


class Labels(NamedTuple):
    """A text for each event; few of them differ."""

    codes: IntArray
    names: list[str]

    def where(self, fits: Callable[[str], object]) -> BoolArray:
        """Say which texts fit."""
        return np.array([bool(fits(name)) for name in self.names], dtype=np.bool_)[self.codes]

    def of(self, chosen: BoolArray) -> "Labels":
        """Return those of some events."""
        return Labels(self.codes[chosen], self.names)

    def among(self, names: Iterable[str]) -> BoolArray:
        """Say which texts are among some."""
        return np.isin(self.codes, [code for code, name in enumerate(self.names) if name in set(names)])


@dataclass(frozen=True)
class Events:
    """What a file says of its events that have a duration; an entry of each array is an event."""

    name: Labels
    category: Labels
    pid: Labels
    tid: Labels
    begin_us: FloatArray  # since the first
    end_us: FloatArray
    correlation: IntArray  # the same for an event on a device and the one that launched it; -1: not said
    is_called_collective: BoolArray  # by its arguments
    said: dict[str, list[Any]]  # values of arguments that are wanted
    rank: int | None
    n_ranks: int  # of the job; 0: not said
    is_dask: bool
    remarks: tuple[str, ...]

    def of(self, chosen: BoolArray) -> "Events":
        """Return some of the events."""
        return replace(
            self,
            name=self.name.of(chosen),
            category=self.category.of(chosen),
            pid=self.pid.of(chosen),
            tid=self.tid.of(chosen),
            begin_us=self.begin_us[chosen],
            end_us=self.end_us[chosen],
            correlation=self.correlation[chosen],
            is_called_collective=self.is_called_collective[chosen],
            said={},
        )


def looks_like_events(path: Path) -> bool:
    """Say by its first lines whether a file, packed or not, has Chrome events or a Dask task stream."""
    is_json = ".json" in path.suffixes
    try:
        head = _text(path, HEAD).lstrip()
    except (*UNREADABLE, RuntimeError, zipfile.BadZipFile):
        return is_json or _has_json(path)
    if head[:1] in ("[", "{") and re.search(r'"(traceEvents|ph|startstops)"\s*:', head):
        return True
    return is_json and not re.match(RECORDS, head)


def _has_json(path: Path) -> bool:
    """Say whether a zip holds JSON, as of several ranks."""
    if not path.is_file():  # to open a pipe takes for ever
        return False
    try:
        with zipfile.ZipFile(path) as packed:
            return any(".json" in Path(name).suffixes for name in packed.namelist())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return False


def read_events(path: Path, arguments: Sequence[str] = ()) -> Events:
    """Read the events of a file; copies of annotations on a device's own track are left out.

    Parameters
    ----------
    path
        JSON, also packed by gzip or zip under whatever name: an object with ``traceEvents``, a list of events (also
        one that lacks its last bracket), or a Dask task stream.
    arguments
        Names of arguments of events, whose values are wanted.

    Raises
    ------
    TraceError
        If this is no such file, or a time is none, or all events are collectives.
    """
    with _no_cycles():
        return _read(path, arguments)


def _read(path: Path, arguments: Sequence[str]) -> Events:
    document, remarks = _document(path)
    listed = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(listed, list):
        raise TraceError(f"{path}: must be a Chrome trace, a list of events or an object with traceEvents, got neither")
    entries = [entry for entry in listed if isinstance(entry, dict)]
    if listed and not entries:
        raise TraceError(f"{path}: must be a Chrome trace, a list of events, got a list of {type(listed[0]).__name__}")
    if of_dask := is_dask(entries):
        entries = dask_events(entries)
    paired, n_open = _pairs(entries, path)
    refuse_collectives_only(path, entries)
    whole = [entry for entry in entries if entry.get("ph") == "X" and entry.get("cat") != ON_THE_GPU] + paired
    if n_open:
        remarks.append(f"{path}: {n_open} events that begin, but don't end, are left out")
    begin_us, duration_us = _times(whole, path)
    begin_us = begin_us - begin_us.min(initial=np.inf)  # exact differences of large numbers
    about = [args if isinstance(args := entry.get("args"), dict) else {} for entry in whole]
    correlations = [args.get("correlation") for args in about]
    return Events(
        name=as_labels(entry.get("name") for entry in whole),
        category=as_labels(entry.get("cat", "") for entry in whole),
        pid=as_labels(entry.get("pid") for entry in whole),
        tid=as_labels(entry.get("tid") for entry in whole),
        begin_us=begin_us,
        end_us=begin_us + duration_us,
        correlation=np.array([c if type(c) is int and 0 <= c < 2**62 else -1 for c in correlations], dtype=np.int64),
        is_called_collective=np.array(["Collective name" in args for args in about], dtype=np.bool_),
        said={key: [args.get(key) for args in about] for key in arguments},
        rank=_of_job(document, "rank"),
        n_ranks=_of_job(document, "world_size") or 0,
        is_dask=of_dask,
        remarks=tuple(remarks),
    )


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Look for no cycles among millions of events, which have none: that takes as long as reading them."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def _document(path: Path) -> tuple[Any, list[str]]:
    """Parse a file; a list whose last bracket is missing, as a run that was killed leaves it, is closed."""
    try:
        text = _text(path)
        try:
            return json.loads(text), []
        except ValueError:
            if not text.lstrip().startswith("["):
                raise
            closed = text.rstrip().removesuffix("]").rstrip().removesuffix(",") + "]"
            try:
                document = json.loads(closed)
            except ValueError:
                document = None
            if document is None:
                raise
            is_open = not text.rstrip().endswith("]")
            return document, [f"{path}: ends without ], as of a run that was killed: read up to there"] * is_open
    except (*UNREADABLE, RecursionError, RuntimeError, zipfile.BadZipFile) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise TraceError(f"{path}: must be a readable Chrome trace (JSON), got none ({reason})") from None


def _text(path: Path, most: int = -1) -> str:
    """The text of a file, or its beginning, unpacked."""
    with opened(path) as text:
        if text.buffer.peek(4)[:4] != ZIP:  # type: ignore[attr-defined]  # both files and gzip can
            return text.read(most)
    with zipfile.ZipFile(path) as packed:
        inside = [name for name in packed.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(inside) != 1:
            raise ValueError(f"a zip of {len(inside)} files, not one: unpack it into a folder")
        with packed.open(inside[0]) as file:
            data = file.read(most)
    return (gzip.decompress(data) if data[:2] == GZIP else data).decode("utf-8-sig", "strict" if most < 0 else "ignore")


def _pairs(entries: Sequence[dict[str, Any]], path: Path) -> tuple[list[dict[str, Any]], int]:
    """Make complete events of begins and ends; return the number of begins that have no end, too.

    Those of one thread enclose each other; asynchronous ones belong together by their category and id.
    """
    marks = [entry for entry in entries if entry.get("ph") in ("B", "E", "b", "e")]
    instants, _ = _times(marks, path)
    begun: dict[tuple[str, ...], list[tuple[dict[str, Any], float]]] = {}
    whole = []
    for place in np.argsort(instants, kind="stable").tolist():
        mark, instant = marks[place], float(instants[place])
        phase = str(mark["ph"])
        kind = "tid" if phase in "BE" else "cat"
        key = (kind, *(str(mark.get(of)) for of in ("pid", kind)))
        if kind == "cat":
            key += (str(mark.get("id", mark.get("id2"))), str(mark.get("scope")))
        if phase in PAIRED:
            begun.setdefault(key, []).append((mark, instant))
            continue
        still = begun.get(key, [])
        name = mark.get("name") or None
        of_name = [at for at in range(len(still) - 1, -1, -1) if name in (None, still[at][0].get("name"))][:1]
        if of_name:
            begin, since = still.pop(of_name[0])
            whole.append(begin | {"ts": since, "dur": instant - since, "args": _joined(begin, mark)})
    return whole, sum(map(len, begun.values()))


def _joined(begin: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    both = (begin.get("args"), end.get("args"))
    return {key: value for args in both if isinstance(args, dict) for key, value in args.items()}


def _times(entries: Sequence[dict[str, Any]], path: Path) -> tuple[FloatArray, FloatArray]:
    """Begins and durations, all of which must be numbers."""
    begin_us = _numbers(entry.get("ts") for entry in entries)
    duration_us = _numbers(entry.get("dur", 0) for entry in entries)
    is_wrong = np.isnan(begin_us) | ~(duration_us >= 0)
    if is_wrong.any():
        wrong = entries[int(is_wrong.argmax())]
        raise TraceError(
            f"{path}: events must have numbers ts and dur of at least 0 (and below {MOST_US:g}), got "
            f"{_writable(wrong.get('dur', 0))[:60]} at {_writable(wrong.get('ts'))[:60]} for "
            f"{_writable(wrong.get('name'))[:60]}"
        )
    return begin_us, duration_us


def _numbers(values: Iterable[Any]) -> FloatArray:
    return np.array([v if type(v) in (int, float) and abs(v) < MOST_US else np.nan for v in values], dtype=np.float64)


def as_labels(values: Iterable[Any]) -> Labels:
    """Make a text of each value."""
    known: dict[str, int] = {}
    codes = [known.setdefault(value if type(value) is str else str(value), len(known)) for value in values]
    return Labels(np.array(codes, dtype=np.int64), [_writable(name) for name in known])


def _writable(value: Any) -> str:
    """A value as text that can be written: half a pair of surrogates can't."""
    return str(value).encode(errors="replace").decode()


def _of_job(document: Any, key: str) -> int | None:
    info = document.get("distributedInfo") if isinstance(document, dict) else None
    number = info.get(key) if isinstance(info, dict) else None
    return number if type(number) is int and abs(number) < 2**63 else None
