"""Errors: one line for each that a user can mend, and whose fault the rest is."""

import difflib
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

OUTSIDE: set[str] = set()  # packages and modules of plug-ins that are not ours
Path_ = tuple[str | int, ...]  # keys and list positions, from the top of the file
SHIPPED = ("schemes", "straggler_models", "workloads", "simulator", "stragglersim")  # packages whose plug-ins are ours


class UserError(Exception):
    """An error that a user can mend; its text says where, what, must be, got, what to do."""


def place_in(error: BaseException, packages: Collection[str]) -> str | None:
    """File and line in the code of some packages that an error comes from; None if from none of them."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    theirs = [frame for frame in frames if str(frame.f_globals.get("__name__")).partition(".")[0] in packages]
    return f"{Path(theirs[-1].f_code.co_filename).name}:{theirs[-1].f_lineno}" if theirs else None


def told(error: BaseException, place: str | None) -> str:
    """One line about an error in a plug-in, or about what followed from one."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"a plug-in raised {said} ({place})" if place else f"a plug-in caused {said}"


class Problem(NamedTuple):
    """Error in one value."""

    path: Path_
    message: str  # "must be ..., got ..."

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}"


class ScenarioError(UserError):
    """One or more mistakes in a scenario, a line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


def dotted(path: Path_) -> str:
    """The name of a place, for people."""
    return ".".join(str(part) for part in path)


def show(value: Any) -> str:
    """A value for an error message, in at most 60 characters."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class SimulationError(UserError):
    """A run that cannot go on."""


class LostError(SimulationError):
    """A run that ended its process."""


class LiveError(SimulationError):
    """A live run whose processes do not start, or cannot go on."""


class WriteError(UserError):
    """A file or folder that cannot be written."""


class ResultsError(UserError):
    """A folder that must not be replaced, or that cannot be read as results."""


class TraceError(UserError):
    """A trace that cannot be read or converted."""


def is_shipped(plugin: object) -> bool:
    """Say whether a plug-in comes with the simulator."""
    return type(plugin).__module__.split(".")[0] in SHIPPED


def did_you_mean(word: object, known: list[str]) -> str:
    """A hint at the nearest known word, or nothing."""
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
