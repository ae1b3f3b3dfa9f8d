"""Which conversion is meant, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.choices import Axis, Missing, TraceKind, TraceTarget
from simulator.errors import TraceError
from simulator.traces.files import write_recording
from simulator.traces.tables import native, read_long, read_wide

if TYPE_CHECKING:
    import pandas as pd


OPTIONS: dict[str, tuple[TraceKind, ...]] = {  # which say something about which kind of source
    "--rows": ("wide",),
    "--columns": ("long",),
    "--unit": ("wide", "long"),
    "--event": ("chrome",),
    "--base-load": ("wide", "long", "chrome"),
    "--missing": ("wide", "long", "chrome"),
    "--scheme": ("run",),
    "--trial": ("run",),
    "--point": ("run",),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be converted, and how; None where nothing was said."""

    sources: Sequence[Path]
    out: Path
    source: TraceKind | None = None
    target: TraceTarget | None = None
    rows: Axis | None = None
    columns: str | None = None
    unit: str | None = None
    event: str | None = None
    base_load: float | None = None
    missing: Missing = "error"
    schemes: Sequence[str] = ()
    trials: Sequence[int] = ()
    points: Sequence[int] = ()
    replace: bool = False

    @property
    def given(self) -> list[str]:
        """The options of :data:`OPTIONS` that were given."""
        values = (
            self.rows,
            self.columns,
            self.unit,
            self.event,
            self.base_load,
            None if self.missing == "error" else self.missing,
            self.schemes or None,
            self.trials or None,
            self.points or None,
        )
        return [option for option, value in zip(OPTIONS, values, strict=True) if value is not None]


def convert(request: Request) -> str:
    """Convert, and say in a sentence what was written.

    Raises
    ------
    TraceError
        If the request means nothing, or can't be met; nothing is written then.
    """
    kind = _kind(request)
    for option in request.given:
        if kind not in OPTIONS[option]:
            raise TraceError(f"{option}: must be left out, got it for a source that is read as {kind} (--from)")
    target = request.target or ("chrome" if ".json" in request.out.suffixes else "parquet")
    if target == "chrome" and kind != "run":
        raise TraceError(
            f"--to chrome: must be given a folder that a run has written, got {request.sources[0]} (read as {kind})"
        )
    if len(request.sources) > 1 and kind != "chrome":
        raise TraceError(f"trace convert: must be given one SOURCE to read as {kind}, got {len(request.sources)}")
    if request.out.exists() and not request.replace:
        raise TraceError(f"{request.out}: must not exist yet (--force replaces it)")
    if target == "chrome":
        return _export(request)
    table = _table(request, kind)
    n_rounds, n_workers = int(table["round"].max()) + 1, int(table["worker"].max()) + 1
    write_recording(request.out, table, _about(request, kind))
    kept = [name for name in ("step", "worker_name") if name in table.columns]
    labels = f" (their own names: {', '.join(kept)})" if kept else ""
    return f"Wrote {request.out}: {n_workers} workers, {n_rounds} rounds{labels}"


def _kind(request: Request) -> TraceKind:
    """What the source is, by what was said of it, its name, or its columns."""
    first = request.sources[0]
    if request.source is not None:
        return request.source
    if first.is_dir():
        return "run"
    if ".json" in first.suffixes:
        return "chrome"
    if request.rows is not None:
        return "wide"
    if request.columns is not None or _is_long(first):
        return "long"
    raise TraceError(
        f"{first}: must have the columns round, worker and duration_s, got others: say --rows worker or --rows round "
        "(a row for each), --columns round=...,worker=...,duration_s=..., or --from"
    )


def _is_long(path: Path) -> bool:
    from simulator.traces.tables import column_names

    return {"round", "worker", "duration_s"} <= set(column_names(path))


def _export(request: Request) -> str:
    from simulator.traces.chrome_write import chosen, export_chrome

    results = chosen(request.sources[0], request.schemes, request.trials, request.points)
    n_events = export_chrome(results, request.out)
    return f"Wrote {request.out}: {len(results.runs)} run(s), {n_events} events (open it in https://ui.perfetto.dev)"


def _table(request: Request, kind: TraceKind) -> pd.DataFrame:
    first = request.sources[0]
    if kind == "run":
        from simulator.traces.chrome_write import chosen, recorded

        return recorded(chosen(first, request.schemes, request.trials, request.points), first)
    if kind == "chrome":
        from simulator.traces.chrome_read import read_chrome

        samples = read_chrome(request.sources, request.event)
    elif kind == "long":
        samples = read_long(first, _columns(request.columns or ""), request.unit or "s")
    else:
        if request.rows is None:
            raise TraceError("--rows: must say worker or round for a wide table, got nothing")
        samples = read_wide(first, request.rows, request.unit or "s")
    return native(samples, " ".join(map(str, request.sources[:3])), request.missing)


def _columns(text: str) -> dict[str, str]:
    """The names in ``round=step,worker=rank``."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    names = {name.strip(): called.strip() for name, _, called in pairs}
    wrong = [name for name, called in names.items() if name not in ("round", "worker", "duration_s") or not called]
    if wrong or len(names) < len(pairs):
        raise TraceError(f"--columns: must be round=NAME,worker=NAME,duration_s=NAME or some of them, got {text}")
    return names


def _about(request: Request, kind: TraceKind) -> dict[str, str | float]:
    """What the file says about itself."""
    try:
        ours = version("stragglersim")
    except PackageNotFoundError:  # used from a checkout
        ours = "unknown"
    said: dict[str, str | float | None] = {
        "source": ", ".join(path.name for path in request.sources),
        "conversion": " ".join([f"from {kind}", *(f"{name}={value}" for name, value in _how(request) if value)]),
        "source_unit": "us" if kind == "chrome" else request.unit or "s",
        "unit": "s",
        "base_load": request.base_load,
        "created_by": f"stragglersim {ours}",
    }
    return {key: value for key, value in said.items() if value is not None}


def _how(request: Request) -> list[tuple[str, str | None]]:
    missing = None if request.missing == "error" else request.missing
    return [("rows", request.rows), ("columns", request.columns), ("event", request.event), ("missing", missing)]
