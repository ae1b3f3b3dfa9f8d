"""Arrays that numpy has saved: a row for each worker or round."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import TraceError
from simulator.traces.formats.format import COMMON, Format, Options, Samples
from simulator.traces.formats.grid import of_grid
from straggler_models.trace_table import MOST_TIMES, PER_SECOND, in_a_line

MAGIC = b"\x93NUMPY"
LARGEST_CELL = 16  # bytes


def _fits(source: Path, options: Options) -> bool:
    if not source.is_file():
        return False
    with source.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            return True
    return zipfile.is_zipfile(source) and source.name.lower().endswith(".npz")


def read(sources: Sequence[Path], options: Options) -> Samples:
    """Read the one array with two dimensions in a ``.npy`` or ``.npz`` file; nothing is unpickled."""
    path = sources[0]
    try:
        arrays = dict(_arrays(path))
    except Exception as error:  # numpy parses the header as Python, and what is wrong with it has many types
        reason = in_a_line(error) or type(error).__name__
        raise TraceError(f"{path}: must be an array of numbers that numpy has saved, got none ({reason})") from None
    flat = [name for name, array in arrays.items() if array.ndim == 2]
    if len(flat) != 1:
        listed = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
        raise TraceError(
            f"{path}: must hold one array of two dimensions, rounds and workers, got {in_a_line(listed) or 'none'}"
        )
    values = arrays[flat[0]]
    unit = np.datetime_data(values.dtype)[0] if values.dtype.kind == "m" else None
    if values.dtype.kind in "iuf":
        values = values.astype(np.float64)
    elif unit in ("W", "D", "h", "m"):
        values = values.astype("m8[s]")
    elif unit not in PER_SECOND:
        raise TraceError(f"{path}: times must be numbers of at least 0, got an array of {in_a_line(values.dtype, 60)}")
    found = of_grid(values, None, None, path, options)
    others = [name for name in arrays if name != flat[0]]
    said = (f"arrays {in_a_line(', '.join(others))} are left out: {flat[0]} has rounds and workers",) if others else ()
    return found._replace(remarks=(*found.remarks, *said))


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if not zipfile.is_zipfile(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        _refuse_more(array.size)
        yield "the array", array
        return
    with zipfile.ZipFile(path) as packed:
        _refuse_more(sum(member.file_size for member in packed.infolist()) // LARGEST_CELL)
    with np.load(path, allow_pickle=False) as arrays:
        yield from arrays.items()


def _refuse_more(n_times: int) -> None:
    if n_times > MOST_TIMES:
        raise ValueError(f"it has {n_times} times or more, a trace at most {MOST_TIMES}")


NPY = Format(kind="npy", options=("rows", *COMMON), fits=_fits, read=read)
