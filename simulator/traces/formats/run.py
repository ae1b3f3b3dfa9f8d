"""Folders that a run has written: the worker times of one run, or runs as a Chrome trace."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from simulator.errors import TraceError
from simulator.results.reading import read_folder
from simulator.traces.chrome_write import export_chrome
from simulator.traces.formats.format import Format, Options, Samples

NEEDED = ("runs", "rounds", "workers")


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Return the worker times of one run, in the native form."""
    tables = _chosen(sources[0], options)
    if len(tables["runs"]) != 1:
        raise TraceError(
            f"{sources[0]}: must be restricted to one run by --scheme, --trial and --point to become a trace, got "
            f"{len(tables['runs'])} runs"
        )
    columns = ["round", "worker", "startup_s", "seconds_per_load", "slowdown"]
    return Samples(tables["workers"][columns].reset_index(drop=True))


def _export(folder: Path, options: Options, out: Path) -> str:
    tables = _chosen(folder, options)
    n_events = export_chrome(*tables.values(), path=out)
    return f"Wrote {out}: {len(tables['runs'])} run(s), {n_events} events (open it in https://ui.perfetto.dev)"


def _chosen(folder: Path, options: Options) -> dict[str, pd.DataFrame]:
    """Read the tables of the runs that are wanted, in the order of `NEEDED`; an empty choice means all."""
    found = read_folder(folder, NEEDED)
    if not found.keys() >= set(NEEDED):
        raise TraceError(
            f"{folder}: must hold workers.parquet, got none (stragglersim run ... --detail workers writes it)"
        )
    tables: dict[str, pd.DataFrame] = {name: found[name] for name in NEEDED}
    for key in RUN.options:
        wanted = options.get(key, ())
        known = list(dict.fromkeys(tables["runs"][key].tolist()))
        unknown = [value for value in wanted if value not in known]
        if unknown:
            listed = ", ".join(map(str, known[:20])) + (", ..." if len(known) > 20 else "")
            raise TraceError(f"{folder}: --{key} must be one of {listed}, got {unknown[0]}")
        if wanted:
            tables = {name: table[table[key].isin(wanted)] for name, table in tables.items()}
    return tables


RUN = Format(
    kind="run",
    options=("scheme", "trial", "point"),
    fits=lambda source, options: source.is_dir(),
    read=read,
    export=_export,
)
