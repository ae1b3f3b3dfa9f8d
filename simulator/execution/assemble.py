"""Tables put together from finished parts, always in the same order."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.columns import LISTED, NULLABLE
from simulator.execution.store import Parts, Rows

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 200_000  # rows arranged, and written, at a time


class Place(NamedTuple):
    """Place of a setting's runs in the tables: by point, then by trial, then by scheme."""

    point: int
    label: str
    order: int  # of the scheme among those of the point
    key: str


def arranged(
    parts: Parts, blocks: Sequence[tuple[Place, range]], given: Mapping[str, Any], swept: Mapping[str, pa.Array]
) -> Iterator[dict[str, pa.Table]]:
    """The tables in their order, a piece at a time.

    Parameters
    ----------
    parts
        Where the runs are.
    blocks
        Trials of settings, those of the same point and the same trials together, in the order of points and trials.
    given
        Columns that are the same in every run, to stand first.
    swept
        Columns of swept values, a value for each point.

    Yields
    ------
    tables
        By name; pieces of a table have the same schema.
    """
    schema = parts.schema(place.key for place, _ in blocks)
    piece: list[tuple[Place, Rows]] = []
    n_rows, before = 0, None
    for place, trials in blocks:
        if n_rows >= MOST_ROWS and (place.point, trials) != before:
            yield _arrange(parts, piece, schema, given, swept)
            piece, n_rows = [], 0
        before = (place.point, trials)
        for rows, n_more in parts.find(place.key, trials):
            piece.append((place, rows))
            n_rows += n_more
    if piece:
        yield _arrange(parts, piece, schema, given, swept)


def _arrange(
    parts: Parts,
    piece: Sequence[tuple[Place, Rows]],
    schema: pa.Schema,
    given: Mapping[str, Any],
    swept: Mapping[str, pa.Array],
) -> dict[str, pa.Table]:
    import pyarrow as pa

    in_batch: dict[tuple[str, int], list[int]] = defaultdict(list)  # so that each is read once
    for place_in_piece, (_, where) in enumerate(piece):
        in_batch[where[:2]].append(place_in_piece)
    chunks = [
        parts.read(*batch, np.concatenate([np.asarray(piece[number][1].rows) for number in numbers]))
        for batch, numbers in in_batch.items()
    ]
    runs = pa.concat_tables(chunks, promote_options="permissive").combine_chunks()
    read = np.array(list(itertools.chain.from_iterable(in_batch.values())))
    which = np.repeat(read, [len(piece[number][1].rows) for number in read])
    points = np.array([place.point for place, _ in piece])[which]
    orders = np.array([place.order for place, _ in piece])[which]
    order = np.lexsort((orders, runs["trial"].to_numpy(), points))
    runs = runs.take(order)
    keys = {
        "point": pa.array(points[order]),
        "scheme": pa.array([place.label for place, _ in piece], pa.large_string()).take(which[order]),
        "trial": runs["trial"],
    }
    columns = {name: pa.repeat(value, len(runs)) for name, value in given.items()}
    columns |= {"point": keys["point"], "scheme": keys["scheme"]}
    columns |= {field.name: runs[field.name].cast(field.type) for field in schema if field.name not in LISTED}
    tables = {"runs": pa.table(columns | {name: values.take(points[order]) for name, values in swept.items()})}
    for name in LISTED:
        if name in schema.names:
            tables[name] = _unfolded(runs[name].combine_chunks(), keys)
    return {name: _as_pandas_has_it(table) for name, table in tables.items()}


def _unfolded(lists: pa.ListArray, keys: Mapping[str, pa.Array]) -> pa.Table:
    """A row for each item of each run's list, after the columns that tell the runs apart."""
    import pyarrow as pa
    from pyarrow import compute

    n_rows = compute.fill_null(lists.value_lengths(), 0).to_numpy()  # nothing, where some points have no such table
    runs = np.repeat(np.arange(len(lists)), n_rows)
    rows = pa.Table.from_struct_array(lists.flatten())
    columns = {name: values.take(runs) for name, values in keys.items()}
    return pa.table(columns | {name: rows[name] for name in rows.column_names})


def _as_pandas_has_it(table: pa.Table) -> pa.Table:
    """The table with large strings and pandas' own metadata, as if it came from a frame."""
    import pyarrow as pa

    large = [field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field for field in table.schema]
    schema = pa.schema(large)
    return table.cast(schema.with_metadata(_metadata(schema)))


@functools.lru_cache(maxsize=16)
def _metadata(schema: pa.Schema) -> Any:
    import pyarrow as pa

    frame = schema.empty_table().to_pandas()
    frame = frame.astype(dict.fromkeys(NULLABLE.intersection(frame), "Int64"))
    return pa.Schema.from_pandas(frame, preserve_index=False).metadata
