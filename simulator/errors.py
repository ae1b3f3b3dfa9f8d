"""What all errors that a user can mend have in common, and whose fault the others are."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from pathlib import Path

OUTSIDE: set[str] = set()  # packages and modules of plug-ins that are not ours


class UserError(Exception):
    """An error whose text is all that there is to say: where, what, must be, got, what to do."""


def place_in(error: BaseException, packages: Collection[str]) -> str | None:
    """Where in the code of some packages an error comes from, as ``file.py:line``; None if from none of them."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    theirs = [frame for frame in frames if str(frame.f_globals.get("__name__")).partition(".")[0] in packages]
    return f"{Path(theirs[-1].f_code.co_filename).name}:{theirs[-1].f_lineno}" if theirs else None


def told(error: BaseException, place: str | None) -> str:
    """One line about an error in a plug-in, or about what followed from one."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"a plug-in raised {said} ({place})" if place else f"a plug-in has led to {said}"
