"""The folder of a run: parts while it lasts, tables and a manifest when it is complete."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simulator.columns import TABLES
from simulator.errors import ResultsError, UserError
from simulator.files import PARTIAL, made, remove, writing

MANIFEST = "manifest.json"
ERRORS = "errors.csv"
REPORT = "report.html"
PARTS = "parts"  # folder of finished parts; see simulator/execution/store.py
PART_SUFFIX = ".arrow"


def may_write(folder: Path, *, replace: bool) -> None:
    """Refuse a folder that holds something else, or results that are not to be replaced.

    Raises
    ------
    ResultsError
        If so.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and not replace:
        raise ResultsError(f"{folder}: must not exist yet (--force, in Python replace=True, replaces it)")
    if folder.exists() and not _holds_results_only(folder):
        raise ResultsError(f"{folder}: must hold the results of a run, and nothing else, to be replaced")


def _holds_results_only(folder: Path) -> bool:
    """True if all that is there was written by a run, finished or not."""
    written = {f"{name}.parquet" for name in TABLES}
    written |= {
        "arrivals.parquet",
        "compare.csv",
        "compare.md",
        "compare.tex",
        "live.csv",
        "summary.csv",
        "scenario.yaml",
        REPORT,
        ERRORS,
        MANIFEST,
        "plots",
        PARTS,
        "traces",
    }
    try:
        names = {path.name for path in folder.iterdir()}
        if not {name for name in names if not _is_partial(name)} <= written:
            return False
        if (folder / PARTS).is_dir() and not all(_is_part(path.name) for path in (folder / PARTS).iterdir()):
            return False
        if MANIFEST not in names:
            return PARTS in names
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {"engine", "seed", "versions"} <= set(manifest)
    except (OSError, ValueError, TypeError):
        return False


def _can_go_on(folder: Path) -> bool:
    """True if there are parts, perhaps among other things, or the beginning of a run and nothing else."""
    parts = folder / PARTS
    if not parts.is_dir():
        return False
    names = [path.name for path in parts.iterdir()]
    return (bool(names) and all(map(_is_part, names))) or _holds_results_only(folder)


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(PARTIAL)


def _is_part(name: str) -> bool:
    return name.endswith(PART_SUFFIX) or _is_partial(name)


class Stopped(UserError):  # noqa: N818 - it is none
    """Ctrl-C; in a sentence, what is left."""


@contextmanager
def building(folder: Path, *, replace: bool) -> Iterator[Path]:
    """A folder in which a run is done part by part, or goes on; if there is no part at the end, nothing is left.

    Parameters
    ----------
    folder
        New, empty, or of an earlier run.
    replace
        Whether to forget what is there.

    Raises
    ------
    ResultsError
        If the folder holds anything else, or another run is in it.
    WriteError
        If it can't be written.
    Stopped
        After Ctrl-C.
    """
    with writing(folder):  # from a folder that has been deleted, nothing can be found
        folder = folder.resolve()
    if replace or not _can_go_on(folder):
        may_write(folder, replace=replace)
    with writing(folder), made(folder), _alone_in(folder):
        parts = folder / PARTS
        try:
            if replace:  # the manifest first: what is left without it is not complete
                for path in (folder / MANIFEST, *folder.iterdir()):
                    remove(path)
            parts.mkdir(exist_ok=True)
            for leftover in [*folder.glob(f".*{PARTIAL}"), *parts.glob(f".*{PARTIAL}")]:  # of a run that was killed
                remove(leftover)
            yield folder
        except KeyboardInterrupt:
            has_parts = any(parts.glob(f"*{PART_SUFFIX}"))
            kept = f"what is finished stays in {folder}, and the same command goes on"
            raise Stopped(f"stopped; {kept if has_parts else 'nothing was written'}") from None
        finally:
            if not any(parts.glob(f"*{PART_SUFFIX}")):
                shutil.rmtree(parts, ignore_errors=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder for as long as this process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # of the folder itself: no file is left behind, and the lock ends with the process, however that ends
        with suppress(ImportError, OSError):  # some systems, and some file systems, have no locks
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                got = "another that has not ended"
                raise ResultsError(f"{folder}: must be used by one run at a time, got {got}") from None
        yield
    finally:
        os.close(descriptor)
