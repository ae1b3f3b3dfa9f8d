"""Long tables: a row for each round and worker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulator.errors import TraceError
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.table import in_seconds, labels, must_be
from straggler_models.trace_file import COMPONENTS, checked
from straggler_models.trace_table import decoded, in_a_line, names_in, numbers, read_table

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = ("round", "worker", "duration_s")


def _fits(source: Path, options: Options) -> bool:
    if "columns" in options:
        return True
    try:
        names = set(names_in(source))
    except ValueError as error:
        raise must_be(error, source) from None
    return {"round", "worker"} <= names and bool(names & {"duration_s", *COMPONENTS})


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Read a CSV or Parquet file with a row for each round and worker; ``columns`` says what these are called there.

    Without durations, but with what they are made of, as the ``workers.parquet`` of a run, it is native already.
    """
    path, columns = sources[0], _columns(options.get("columns", ""))
    wanted = {name: columns.get(name, name) for name in NAMES}
    try:
        table = read_table(path)
        present = table.column_names
        if wanted["duration_s"] not in present and not columns and set(present) & set(COMPONENTS):
            return Samples(_parts(table, path))
    except ValueError as error:
        raise must_be(error, path) from None
    absent = [called for called in wanted.values() if present.count(called) != 1]
    if absent:
        hint = ", ".join(f"{name}=..." for name, called in wanted.items() if called in absent)
        raise TraceError(
            f"{path}: must have the columns {', '.join(wanted.values())}, got {in_a_line(', '.join(present))} "
            f"(--columns {hint} says what they are called)"
        )
    named = {name: labels(table.column(wanted[name]), wanted[name], path) for name in ("round", "worker")}
    if present.count("step") == 1 and "step" not in wanted.values():
        steps = ["" if step is None else str(step) for step in decoded(table.column("step")).to_pylist()]
        is_number = all(re.fullmatch("[+-]?[0-9]{1,18}", step) for step in steps)
        named["step"] = np.array(list(map(int, steps)) if is_number else steps)
    return Samples(in_seconds(pd.DataFrame(named), table.column(wanted["duration_s"]), path, options.get("unit")))


def _parts(table: pa.Table, path: Path) -> pd.DataFrame:
    checked(table, str(path))
    names = [name for name in ("round", "worker", *COMPONENTS) if name in table.column_names]
    frame = pd.DataFrame({name: numbers(table.column(name))[0] for name in names})
    return frame.astype({"round": "int32", "worker": "int32"}).drop_duplicates().sort_values(["round", "worker"])


def _columns(text: str) -> dict[str, str]:
    """The names in ``round=step,worker=rank``."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    names = {name.strip(): called.strip() for name, _, called in pairs}
    wrong = [name for name, called in names.items() if name not in NAMES or not called]
    if wrong or len(names) < len(pairs):
        raise TraceError(f"--columns: must be round=NAME,worker=NAME,duration_s=NAME or some of them, got {text}")
    return names


LONG = Format(
    kind="long",
    options=("columns", "where", "delimiter", "decimal", *COMMON),
    fits=_fits,
    read=read,
    hint="--columns round=...,worker=...,duration_s=...",
)
