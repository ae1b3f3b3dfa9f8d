"""Files and folders that are whole or not there."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simulator.errors import WriteError

PARTIAL = ".partial"  # in the names of what is being written
MOST_BYTES = 16 * 2**20  # of a file that is read by people


def read_text(path: Path) -> str:
    """Read a regular file of moderate size: no device, no pipe, nothing without an end.

    Raises
    ------
    OSError, ValueError
        If it is none, or can't be read, or is not UTF-8.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode) and not path.is_dir():  # opening a folder says so
        raise ValueError("it is not a regular file")
    if state.st_size > MOST_BYTES:
        raise ValueError(f"it has {state.st_size} bytes, more than {MOST_BYTES}")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES)  # the system's own files say that they have 0
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


@contextmanager
def writing(path: Path, kind: str = "folder") -> Iterator[None]:
    """Turn what the system says of a file or folder that can't be written into a sentence.

    Raises
    ------
    WriteError
        For any error of the system in the block.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path}: must be a {kind} that can be written, got {error.strerror or error}") from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write under; what is there at the end takes the place of ``path`` at once.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole(folder / "table.csv") as partial:
    ...     _ = partial.write_text("a,b")
    >>> [path.name for path in folder.iterdir()]
    ['table.csv']
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        yield partial
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            remove(partial)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under, as of :func:`whole`, for a file that somebody has named.

    Raises
    ------
    WriteError
        If it can't be written.
    """
    with writing(path, "file"), whole(path) as partial:
        yield partial


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A folder to write files into, which all go to ``folder`` at the end; other files there stay.

    Raises
    ------
    WriteError
        If they can't be written.
    """
    with writing(folder), made(folder), tempfile.TemporaryDirectory(prefix=".", suffix=PARTIAL, dir=folder) as partial:
        yield Path(partial)
        for file in sorted(Path(partial).iterdir()):
            os.replace(file, folder / file.name)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``folder`` at the end; if anything goes wrong, nothing is left of it.

    Raises
    ------
    WriteError
        If it can't be written.
    """
    with writing(folder), made(folder.parent), tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder.parent) as beside:
        partial, old = Path(beside) / "new", Path(beside) / "old"
        partial.mkdir()
        yield partial
        try:
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        except BaseException:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise


def check_can_be_made(folder: Path) -> None:
    """Find out before long work whether a folder can be written; nothing is left of it.

    Raises
    ------
    WriteError
        If it can't be.
    """
    with writing(folder), made(folder.parent), tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder.parent):
        pass


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; of the new ones, those that hold nothing at the end are removed."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for place in new:
            with suppress(OSError):
                place.rmdir()


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that it holds."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
