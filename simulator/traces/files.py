"""Traces on disk: read with what is known about them, and written in the native form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.choices import TraceKind
from simulator.errors import TraceError
from simulator.files import whole_file
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.formats import FORMATS
from simulator.traces.formats.format import KEPT, Format, Options, Samples
from simulator.traces.formats.table import must_be
from simulator.traces.native import native, natural_key
from simulator.traces.waiting import waiting
from straggler_models.trace_file import TraceFile, checked
from straggler_models.trace_table import PANDAS_ATTRS, metadata

if TYPE_CHECKING:
    import pandas as pd

OF_A_RUN = ("manifest.json", "scenario.yaml", "runs.parquet", "parts")
SUFFIXES = (".json", ".csv", ".tsv", ".txt", ".parquet", ".npy", ".npz", ".jsonl", ".zip")


class MeasuredTimes(NamedTuple):
    """A trace: what every worker took in every round, and at which load."""

    path: Path
    duration_s: FloatArray  # shape (n_rounds, n_workers), read-only; inf: never answered
    base_load: float | None  # load at which the times hold; None: nobody said
    steps: IntArray | None = None  # number of each round in the training; None: all follow each other
    components: tuple[FloatArray | None, ...] | None = None  # duration_s was made of these; None: of durations
    remarks: tuple[str, ...] = ()  # of the format, for whoever reads figures of it
    censored: BoolArray | None = None  # True: cancelled then, the true time is at least this; None: none is
    waited_s: FloatArray | None = None  # for others, besides; None: not known
    hosts: tuple[str, ...] = ()  # on which workers ran
    host: IntArray | None = None  # the place of each worker's in hosts, shaped like duration_s
    slowdown: FloatArray | None = None  # that `trace fit` found in each of duration_s; None: not known
    names: tuple[str, ...] = ()  # of workers in the source; none: these count from 0
    has_collectives: bool = False  # True: ranks were seen to exchange gradients without a master
    doubt: str = ""  # why times seem to contain waiting for others; nothing: they don't
    table: pd.DataFrame | None = None  # what it was read from, in the native form

    @property
    def follows(self) -> BoolArray:
        """True where the next round is the next step of the training, shape ``(n_rounds - 1,)``."""
        return np.ones(len(self.duration_s) - 1, dtype=np.bool_) if self.steps is None else np.diff(self.steps) == 1

    @property
    def is_sample(self) -> bool:
        """True if most rounds were not followed by the next one in the training."""
        return bool(2 * np.count_nonzero(self.follows) < len(self.follows))


def read_times(path: Path, base_load: float | None = None, options: Options | None = None) -> MeasuredTimes:
    """Read a trace as `trace convert` does; every command that takes one reads it here.

    Parameters
    ----------
    path
        What to read. If it has ``startup_s``, ``seconds_per_load`` and ``slowdown`` in place of ``duration_s``, as the
        ``workers.parquet`` of a run does, the times are those of a task of load ``base_load``.
    base_load
        Load at which the times hold, if not what the file's metadata say under ``base_load``.
    options
        Those of the formats that were given; ``source`` is the kind of it.

    Raises
    ------
    TraceError
        If the file can't be read, or is no trace, or its metadata say a load that is none.
    """
    import pyarrow as pa

    options = dict(options or {})
    sources = files_in(path)
    form = recognised(sources[0], options, options.pop("source", None))
    table, remarks, known, _ = read_native(form, sources, options)
    if base_load is None:
        base_load = base_load_of(path)
    try:
        trace = checked(pa.Table.from_pandas(table, preserve_index=False), str(path))
    except ValueError as error:
        raise must_be(error, path) from None
    if trace.duration_s is None:
        base_load = base_load or 0.0
    duration_s = _at_load(trace, base_load or 0.0) if trace.duration_s is None else trace.duration_s
    parts = trace.components if trace.duration_s is None else None
    host = None if trace.host is None else trace.host.astype(np.int64)
    about = trace.censored, trace.waited_s, trace.hosts, host, trace.components[2] if parts is None else None
    called = table.drop_duplicates("worker").sort_values("worker").get("worker_name", ())
    names = tuple(map(str, called))
    seen = names, "has_collectives" in known, known.get("doubt", "")
    return MeasuredTimes(path, duration_s, base_load, trace.steps, parts, remarks, *about, *seen, table)


def recognised(source: Path, options: Options, kind: TraceKind | None = None) -> Format:
    """Return the format of a source: the one that is said, or the first that fits; see that it has the options."""
    form = FORMATS[kind] if kind else next(form for form in FORMATS.values() if form.fits(source, options))
    for name in options:
        if name not in form.options:
            option = f"--{name.replace('_', '-')}"
            raise TraceError(f"{option}: must be left out, got it for a source that is read as {form.kind} (--from)")
    return form


def files_in(source: Path) -> list[Path]:
    """The files of a folder with one for each rank; what a run has written, and a file, stay whole.

    Raises
    ------
    TraceError
        If there is none.
    """
    if not source.is_dir() or any((source / name).exists() for name in OF_A_RUN):
        return [source]
    inside = sorted(source.rglob("*"), key=lambda file: natural_key(str(file)))
    shown = [file for file in inside if not any(part[0] in "._" for part in file.relative_to(source).parts)]
    files = [file for file in shown if file.is_file() and file.name.lower().removesuffix(".gz").endswith(SUFFIXES)]
    if not files:
        raise TraceError(f"{source}: must hold a run, or a file for each rank ({', '.join(SUFFIXES)}), got none")
    return files


def read_native(form: Format, sources: Sequence[Path], options: Options) -> Samples:
    """Read sources into the native form: rounds and workers count from 0.

    Raises
    ------
    TraceError
        If they can't be, or there are several where the format takes one.
    """
    if len(sources) > 1 and not form.takes_several:
        raise TraceError(f"{sources[0]}: must be the only source to be read as {form.kind}, got {len(sources)} of them")
    samples = form.read(sources, options)
    known = {name: str(value) for name, value in said_of_itself(sources[0]).items() if name in KEPT}
    if known:  # since it was converted from these ranks
        samples = samples._replace(about=known, remarks=(*samples.remarks, *filter(None, [known.get("missing_ranks")])))
    if "duration_s" not in samples.table.columns:
        return samples
    table, left_out, *_ = native(samples.table, " ".join(map(str, sources[:3])), options, samples.words)
    samples = samples._replace(table=table, remarks=(*samples.remarks, *left_out))
    doubt = samples.about.get("doubt")
    if doubt is None and not ("waited_s" in table.columns and table["waited_s"].any()):  # measured, and no part of them
        doubt = waiting(table["duration_s"].to_numpy().reshape(-1, int(table["worker"].max()) + 1))
    if doubt is None:
        return samples
    remarks = (*samples.remarks, f"looks like workers wait for each other: {doubt}")
    return samples._replace(remarks=remarks, about=dict(samples.about) | {"doubt": doubt})


def _at_load(trace: TraceFile, load: float) -> FloatArray:
    """Seconds until a task of that load is done."""
    startup_s, rate, slowdown = (
        np.full(trace.shape, default) if part is None else part
        for part, default in zip(trace.components, (0.0, 0.0, 1.0), strict=True)
    )
    never = np.isinf(startup_s) | np.isinf(rate) | np.isinf(slowdown)
    with np.errstate(invalid="ignore"):  # inf * 0 is NaN; never wins
        return np.where(never, np.inf, slowdown * (startup_s + rate * load))


def _base_load(path: Path, about: Mapping[str, Any]) -> float | None:
    if "base_load" not in about:
        return None
    said = about["base_load"]
    try:
        base_load = np.nan if isinstance(said, bool) else float(said)
    except (TypeError, ValueError, OverflowError):
        base_load = np.nan
    if not 0 <= base_load < np.inf:
        raise TraceError(
            f"{path}: base_load in its metadata must be a number of at least 0, got {repr(said)[:80]} "
            "(give --base-load instead)"
        )
    return base_load


def base_load_of(path: Path) -> float | None:
    """Return the load at which a Parquet file says that its times hold; None: it does not say, or is another file.

    Raises
    ------
    TraceError
        If what it says is no load.
    """
    return _base_load(path, said_of_itself(path))


def said_of_itself(path: Path) -> dict[str, Any]:
    """Return the metadata of a Parquet file; of another file, none."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return metadata(pa.parquet.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return {}


def write_trace(path: Path, table: pd.DataFrame, about: Mapping[str, str | float]) -> None:
    """Write a trace as Parquet, complete or not at all.

    Parameters
    ----------
    path
        What to write.
    table
        In long form, as ``kind: trace`` reads it.
    about
        Kept in the file as its metadata, and as ``attrs`` of the frame that pandas reads from it.
    """
    import pyarrow as pa
    import pyarrow.parquet

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    own = {key.encode(): str(value).encode() for key, value in about.items()}
    attrs = {PANDAS_ATTRS: json.dumps(dict(about)).encode()}
    with whole_file(path) as partial:
        pyarrow.parquet.write_table(
            arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **attrs, **own}),
            partial,
            compression="zstd",
        )
