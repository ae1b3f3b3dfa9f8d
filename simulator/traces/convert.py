"""Conversion of a trace: the one that is meant, and what is written."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from simulator.choices import TraceKind, TraceTarget
from simulator.errors import TraceError
from simulator.traces.files import base_load_of, files_in, read_native, recognised, said_of_itself, write_trace
from simulator.traces.formats.format import Format, Options
from simulator.traces.naming import counted


def convert(
    sources: Sequence[Path],
    out: Path,
    options: Options,
    *,
    kind: TraceKind | None = None,
    target: TraceTarget | None = None,
    replace: bool = False,
) -> str:
    """Convert, and say what was written, and what is to be known about it, in a line each.

    Parameters
    ----------
    sources, out
        What is read, and what is written.
    options
        Those of the formats that were given.
    kind, target
        What the sources are read as and written as, if their names, the options or the columns do not say.
    replace
        Whether ``out`` may be there.

    Raises
    ------
    TraceError
        If this means nothing, or can't be done; nothing is written then.
    """
    sources = [file for source in sources for file in files_in(source)]
    form = recognised(sources[0], options, kind)
    target = target or ("chrome" if ".json" in out.suffixes else "parquet")
    export = form.export if target == "chrome" else None
    if target == "chrome" and export is None:
        raise TraceError(
            f"--to chrome: must be given a folder that a run has written, got {sources[0]} (read as {form.kind})"
        )
    if out.exists() and not replace:
        raise TraceError(f"{out}: must not exist yet (--force replaces it)")
    if export is not None:
        return export(sources[0], options, out)
    table, remarks, known, _ = read_native(form, sources, options)
    n_rounds, n_workers = int(table["round"].max()) + 1, int(table["worker"].max()) + 1
    write_trace(out, table, _about(sources, form, options) | dict(known))
    kept = [name for name in ("step", "worker_name") if name in table.columns]
    labels = f" (their own names: {', '.join(kept)})" if kept else ""
    return "\n".join([f"Wrote {out}: {counted(n_workers, 'worker')}, {counted(n_rounds, 'round')}{labels}", *remarks])


def _about(sources: Sequence[Path], form: Format, options: Options) -> dict[str, str | float]:
    """Return what the file says about itself."""
    try:
        ours = version("stragglersim")
    except PackageNotFoundError:  # used from a checkout
        ours = "unknown"
    is_table = len(sources) == 1 and "base_load" in form.options
    base_load = options.get("base_load", base_load_of(sources[0]) if is_table else None)
    scheme = said_of_itself(sources[0]).get("scheme") if is_table else None
    how = [f"{name}={value}" for name, value in options.items() if isinstance(value, str) and value and name != "unit"]
    return {
        "source": ", ".join(path.name for path in sources),
        "conversion": " ".join([f"from {form.kind}", *how]),
        "source_unit": options.get("unit", form.unit),
        "unit": "s",
        **({} if base_load is None else {"base_load": base_load}),
        **({"scheme": scheme} if scheme else {}),  # of the run that was recorded
        "created_by": f"stragglersim {ours}",
    }
