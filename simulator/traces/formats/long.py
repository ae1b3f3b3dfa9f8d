"""Long tables: a row for each round and worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from simulator.errors import TraceError
from simulator.traces.formats.format import Format, Options
from simulator.traces.formats.table import in_seconds, read_table

NAMES = ("round", "worker", "duration_s")


def _fits(source: Path, options: Options) -> bool:
    return "columns" in options or set(NAMES) <= set(map(str, read_table(source, n_rows=0).columns))


def read(sources: Sequence[Path], options: Options) -> pd.DataFrame:
    """Read a CSV or Parquet file with a row for each round and worker; ``columns`` says what these are called there."""
    path, columns = sources[0], _columns(options.get("columns", ""))
    table = read_table(path)
    wanted = {name: columns.get(name, name) for name in NAMES}
    absent = [called for called in wanted.values() if called not in table.columns]
    if absent:
        hint = ", ".join(f"{name}=..." for name, called in wanted.items() if called in absent)
        raise TraceError(
            f"{path}: must have the columns {', '.join(wanted.values())}, got {', '.join(map(str, table.columns))} "
            f"(--columns {hint} says what they are called)"
        )
    samples = table[list(wanted.values())].set_axis(list(wanted), axis=1)
    if "step" in table.columns and "step" not in wanted.values():
        samples = samples.assign(step=_steps(table["step"], path))
    return in_seconds(samples, path, options.get("unit", LONG.unit))


def _columns(text: str) -> dict[str, str]:
    """The names in ``round=step,worker=rank``."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    names = {name.strip(): called.strip() for name, _, called in pairs}
    wrong = [name for name, called in names.items() if name not in NAMES or not called]
    if wrong or len(names) < len(pairs):
        raise TraceError(f"--columns: must be round=NAME,worker=NAME,duration_s=NAME or some of them, got {text}")
    return names


def _steps(steps: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(steps, errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        raise TraceError(f"{path}: step must hold integers, got {steps[numbers.isna() | (numbers % 1 != 0)].iloc[0]}")
    return numbers.astype("int64")


LONG = Format(
    kind="long",
    options=("columns", "unit", "base_load", "missing"),
    fits=_fits,
    read=read,
    hint="--columns round=...,worker=...,duration_s=...",
)
