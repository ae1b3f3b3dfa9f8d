"""Finished units of work: named by what decides their numbers, kept in files that are whole or not there.

A *setting* is one scheme at one point of a scenario; its key is a hash of everything that decides its numbers. A
*unit* is a block of its trials. A *part* is an Arrow file with the runs of some units, a row for each run, in which the
rounds, jobs and workers of the run are lists. Which units it holds, and where, stands in its metadata, and its name is
a hash of its bytes, so that a damaged one is recognised.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.choices import Detail
from simulator.columns import LISTED, RUNS, TABLES
from simulator.engine.figures import Runs
from simulator.engine.record import RunRecord
from simulator.engine.training import TrainingRecord
from simulator.files import whole, writing
from simulator.parameters import IntArray
from simulator.results.folder import PART_SUFFIX
from simulator.results.reading import NOT_ALWAYS

if TYPE_CHECKING:
    import pyarrow as pa

UNITS = b"units"  # key of a part's metadata
BATCH_ROWS = 20_000  # of a part, read at once: a batch for each unit would cost more than the few rows of a small one


class Unit(NamedTuple):
    """A block of trials of one scheme at one point."""

    point: int
    label: str
    trials: range
    key: str  # of its setting


class _Held(NamedTuple):
    """Place of a unit."""

    trials: range
    part: str
    batch: int
    row: int  # of its first trial in the batch
    n_rows: int  # of its longest table


class Rows(NamedTuple):
    """Place of some runs."""

    part: str
    batch: int
    rows: range


def table_of(columns: Mapping[str, Any], runs: Runs, records: Sequence[RunRecord], detail: Detail) -> pa.Table:
    """A row for each run, in which its rounds, jobs and workers are lists.

    Parameters
    ----------
    columns
        Of the runs table, without those that other runs decide.
    runs
        The same runs.
    records
        The same again, of events: for the table of workers and that of training.
    detail
        The finest table to keep.
    """
    import pyarrow as pa

    found = {name: pa.array(columns[name], known.type) for name, known in RUNS.items() if name in columns}
    (n_runs, n_rounds), n_jobs = runs.ends_s.shape, runs.status.shape[1]
    if detail != "runs":
        found["rounds"] = _list_array("rounds", [n_rounds] * n_runs, runs.rounds())
        found["jobs"] = _list_array("jobs", [n_jobs] * n_runs, runs.jobs())
    if detail == "workers":
        blocks = [block for record in records for block in record.workers]
        joined = {name: np.concatenate([block[name] for block in blocks]) for name in TABLES["workers"]}
        found["workers"] = _list_array("workers", [n_rounds * runs.n_workers] * n_runs, joined)
    steps = [record.training for record in records if isinstance(record, TrainingRecord)]
    if steps:
        joined_steps = {
            name: list(itertools.chain.from_iterable(getattr(each, name) for each in steps))
            for name in TABLES["training"]
        }
        found["training"] = _list_array("training", [len(each.step) for each in steps], joined_steps)
    return pa.table(found)


def _list_array(table: str, lengths: Sequence[int], columns: Mapping[str, Any]) -> pa.ListArray:
    """A list of rows for each run."""
    import pyarrow as pa

    known = TABLES[table]
    arrays = [pa.array(columns[name], column.type) for name, column in known.items()]
    offsets = pa.array(np.cumsum([0, *lengths]), "int32")
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, list(known)))


def encode(units: Sequence[Unit], tables: Sequence[pa.Table]) -> bytes:
    """The bytes of a part.

    Parameters
    ----------
    units
        What it holds.
    tables
        Of :func:`table_of`: the runs of all units, one after the other.
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    lengths = np.ones(len(table), dtype=np.int64)
    for name in LISTED:
        if name in table.column_names:
            lengths = np.maximum(lengths, pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy())
    said, starts = _placed(units, lengths.tolist())
    table = table.replace_schema_metadata({UNITS: json.dumps(said)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for start, stop in itertools.pairwise([*starts, len(table)]):
            writer.write_table(table.slice(start, stop - start))
    return bytes(sink.getvalue())


def _placed(units: Sequence[Unit], lengths: Sequence[int]) -> tuple[list[list[Any]], list[int]]:
    """Return the place of each unit, as :class:`_Held` wants it, and the run with which each batch begins.

    ``lengths`` are the rows of each run's longest table.
    """
    said: list[list[Any]] = []
    starts = [0]
    first = in_batch = 0
    for unit in units:
        n_rows = sum(lengths[first : first + len(unit.trials)])
        if in_batch and in_batch + n_rows > BATCH_ROWS:
            starts.append(first)
            in_batch = 0
        said.append([unit.key, unit.trials.start, unit.trials.stop, len(starts) - 1, first - starts[-1], n_rows])
        first, in_batch = first + len(unit.trials), in_batch + n_rows
    return said, starts


class Parts:
    """The units that are done: in a folder, or in memory if there is none."""

    def __init__(self, folder: Path | None = None) -> None:
        """Look through a folder; what is not a whole part, or lacks columns of today, counts for nothing."""
        self._folder = folder
        self._contents: dict[str, bytes] = {}
        self._held: dict[str, list[_Held]] = defaultdict(list)
        self._schemas: dict[str, pa.Schema] = {}
        self._open = functools.lru_cache(maxsize=64)(self._opened)
        for path in sorted(folder.glob(f"*{PART_SUFFIX}")) if folder else ():
            with suppress(OSError, ValueError, TypeError, KeyError):
                content = path.read_bytes()
                if _name(content) == path.name:
                    self._register(path.name, content)

    @property
    def is_kept(self) -> bool:
        """True if parts outlive this process."""
        return self._folder is not None

    def has(self, key: str) -> bool:
        """True if there is any trial of a setting."""
        return key in self._held

    def add(self, content: bytes) -> None:
        """Keep a part; in a folder, at once and whole.

        Raises
        ------
        WriteError
            If it can't be written.
        """
        name = _name(content)
        if self._folder is None:
            self._contents[name] = content
        else:
            with writing(self._folder.parent), whole(self._folder / name) as partial:
                partial.write_bytes(content)
        self._register(name, content)

    def _register(self, name: str, content: bytes) -> None:
        import pyarrow as pa

        schema = pa.ipc.open_file(content).schema
        if not _has_all_columns(schema):
            return
        for key, first, stop, batch, row, n_rows in json.loads(schema.metadata[UNITS]):
            self._held[key].append(_Held(range(first, stop), name, batch, row, n_rows))
        self._schemas[name] = schema.remove_metadata()

    def _opened(self, name: str) -> pa.ipc.RecordBatchFileReader:
        import pyarrow as pa

        folder = self._folder
        return pa.ipc.open_file(self._contents[name] if folder is None else pa.memory_map(str(folder / name)))

    def missing(self, key: str, trials: range) -> Iterator[range]:
        """The gaps in what is there of a setting."""
        at = trials.start
        for held in sorted(self._held.get(key, ()), key=attrgetter("trials.start")):
            if at < min(held.trials.start, trials.stop):
                yield range(at, min(held.trials.start, trials.stop))
            at = max(at, held.trials.stop)
        if at < trials.stop:
            yield range(at, trials.stop)

    def find(self, key: str, trials: range) -> Iterator[tuple[Rows, int]]:
        """Yield the places of the runs of a setting that are there, each once, and about how long their tables are."""
        at = trials.start
        for held in sorted(self._held.get(key, ()), key=attrgetter("trials.start")):
            first, stop = max(at, held.trials.start), min(held.trials.stop, trials.stop)
            if first < stop:
                offset = held.row - held.trials.start
                n_rows = -(-held.n_rows * (stop - first) // len(held.trials))
                yield Rows(held.part, held.batch, range(first + offset, stop + offset)), n_rows
                at = stop

    def read(self, part: str, batch: int, rows: IntArray) -> pa.Table:
        """Some runs of a batch."""
        import pyarrow as pa

        return pa.Table.from_batches([self._open(part).get_batch(batch)]).take(rows)

    def schema(self, keys: Iterable[str]) -> pa.Schema:
        """Schema of the runs of some settings."""
        import pyarrow as pa

        names = {held.part for key in keys for held in self._held.get(key, ())}
        return pa.unify_schemas(list({self._schemas[name] for name in names}), promote_options="permissive")


def _has_all_columns(schema: pa.Schema) -> bool:
    """True if all tables of a part have the columns that they are written with."""
    needed = RUNS.keys() - {"scenario", "point", "scheme"} - NOT_ALWAYS  # those that follow from where a run belongs
    lists = [name for name in LISTED if name in schema.names]
    return needed <= set(schema.names) and all(
        [field.name for field in schema.field(name).type.value_type] == list(TABLES[name]) for name in lists
    )


def _name(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest() + PART_SUFFIX
