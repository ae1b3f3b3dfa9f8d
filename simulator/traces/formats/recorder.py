"""Files that `stragglersim.recorder` has written, one for each rank."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from simulator.errors import TraceError
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.table import in_seconds, labels, must_be, place
from simulator.traces.naming import missing
from straggler_models.trace_table import UNREADABLE, opened, read_table

COLUMNS = ["round", "worker", "duration_s", "waited_s", "started_unix_s"]  # exactly these are such a file's
LONGEST_HEADER = 200  # characters


def _fits(source: Path, options: Options) -> bool:
    if not source.is_file() or {"rows", "columns"} & options.keys():
        return False
    try:
        with opened(source) as file:
            return file.readline(LONGEST_HEADER).strip() == ",".join(COLUMNS)
    except UNREADABLE:
        return False


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Read the files of all ranks; rounds that some of these lack are left out."""
    of_ranks: dict[int, Path] = {}
    tables = []
    for path in sources:
        tables.append(_rows(path))
        for rank in tables[-1]["worker"].unique().tolist():
            if rank in of_ranks:
                raise TraceError(
                    f"{path}: must be of another rank, got rank {rank} as in {of_ranks[rank]} (convert a run at a time)"
                )
            of_ranks[rank] = path
    table = pd.concat(tables, ignore_index=True)
    is_whole = table.groupby("round")["worker"].transform("nunique") == len(of_ranks)
    lacking = table.loc[~is_whole, "round"]
    if is_whole.sum() == 0:
        raise TraceError(f"{sources[0]}: must have a round that all {len(of_ranks)} ranks have, got none")
    remarks = []
    if len(lacking):
        remarks.append(
            f"{lacking.nunique()} of {table['round'].nunique()} rounds, which not all {len(of_ranks)} ranks have, are "
            f"left out (the first: {lacking.min()})"
        )
    absent = missing(of_ranks)
    about = {"missing_ranks": absent} if absent else {}
    if table["waited_s"].any():  # for each other: a worker that a master calls has nothing to wait for in a round
        about["has_collectives"] = "True"
    remarks += [absent] if absent else []
    return Samples(table[is_whole].reset_index(drop=True), tuple(remarks), about)


def _rows(path: Path) -> pd.DataFrame:
    """The rounds of one rank."""
    try:
        table = read_table(path)
    except ValueError as error:
        raise must_be(error, path) from None
    if table.column_names != COLUMNS:
        raise TraceError(f"{path}: must have the columns {', '.join(COLUMNS)}, got {', '.join(table.column_names)}")
    if not table.num_rows:
        raise TraceError(f"{path}: must hold rounds, got none (leave it out, if this rank took no part)")
    found = {name: pd.Series(labels(table.column(name), name, path).astype(str)) for name in ("round", "worker")}
    for name, cells in found.items():
        wrong = cells[~cells.str.fullmatch("[0-9]{1,18}")]
        if len(wrong):
            raise TraceError(
                f"{path}: {name} must count 0, 1, 2, ..., got {wrong.iloc[0][:60]} in row {wrong.index[0]}"
            )
    counts = pd.DataFrame(found).astype(np.int64)
    for name in ("duration_s", "waited_s"):
        counts[name] = in_seconds(table.column(name), path, None, lambda row: place(counts, row))
    return counts


RECORDER = Format(
    kind="recorder",
    options=tuple(name for name in COMMON if name != "unit"),
    fits=_fits,
    read=read,
    takes_several=True,
)
