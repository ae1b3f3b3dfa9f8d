"""Streams and signals: the command line says and does the same wherever it is started and however it is stopped."""

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

IN_ASCII = {"±": "+-", "–": "-"}


def prepare_streams() -> None:
    """Let every text be said: to nobody where the shell has closed a stream, in other letters where some can't be."""
    codecs.register_error("respelled", _respelled)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # and a file that is opened would take its place
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="respelled")


def _respelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle an error of encoding: put what people read in place of the sign, or else its number."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in IN_ASCII:
        return IN_ASCII[error.object[error.start]], error.start + 1
    return codecs.backslashreplace_errors(error)


def as_said(text: str) -> str:
    """A text as the output will have it."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "respelled").decode(encoding)


@contextmanager
def stoppable() -> Iterator[Callable[[], int]]:
    """Make SIGTERM and SIGHUP do what Ctrl-C does; yields a function that returns the exit status to stop with."""
    came = signal.SIGINT
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, _frame: object) -> None:
        nonlocal came
        came = signal.Signals(number)
        for other in before:  # once is enough: nothing is to disturb the clearing up
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # not on every system
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
                before[number] = signal.signal(number, stop)
        yield lambda: 128 + came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
