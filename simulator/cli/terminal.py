"""Output of the command line: tables, progress and complaints."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from simulator.cli.surroundings import as_said
from simulator.errors import UserError

PATIENCE_S = 0.7  # two waits and the start of Python take less than 2 s
WRAPPED = 48  # characters of a column that may be broken into lines, where a table is piped
EVERY_S = 2.0  # between lines that say what is being done


class InputError(UserError):
    """Something about the call, in one sentence."""


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], wrap: str | None = None) -> None:
    """A table that fits the terminal; only the column ``wrap`` may be broken into lines."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        is_number = all(row[place][:1] in "+-0123456789" for row in rows) and any(row[place] for row in rows)
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name != wrap, overflow="fold")
    for row in rows:
        table.add_row(*map(as_said, row))
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False)
    # numbers are never cut: a table too wide for the terminal is broken by the terminal, and is whole in a file
    needed = Measurement.get(console, console.options.update(width=1000), table)
    least = needed.maximum
    if wrap is not None:
        longest = max(len(row[header.index(wrap)]) for row in (header, *rows))
        least = needed.minimum + 30 if sys.stdout.isatty() else least - longest + WRAPPED
    console.width = max(console.width, min(least, needed.maximum))
    console.print(table, markup=False)


def said_load(mean: float, largest: float, digits: int) -> str:
    """Loads of the workers in a table: one number if they are equal, mean and largest otherwise.

    Examples
    --------
    >>> said_load(0.25, 0.25, 5), said_load(2 / 3, 1.0, 5)
    ('0.25', 'mean 0.66667, largest 1')
    """
    is_one = abs(largest - mean) <= 1e-9 * largest
    return f"{largest:.{digits}g}" if is_one else f"mean {mean:.{digits}g}, largest {largest:.{digits}g}"


@contextmanager
def progress(what: str, units: str = "runs") -> Iterator[Callable[[int, int], None]]:
    """A bar with the remaining time on a terminal, a line at each tenth otherwise; in units, or %."""
    if not sys.stderr.isatty():
        with if_it_takes_long(what):
            yield _after_the_first(what, _tenths(what, units))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield _after_the_first(what, lambda done, in_all: bar.update(task, completed=done, total=in_all))


def _after_the_first(what: str, show: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Say first how many runs are there already."""
    is_first = True

    def say(done: int, in_all: int) -> None:
        nonlocal is_first
        if is_first and done:
            complain(f"{what}: {done} of {in_all} runs were there already")
        elif not is_first:
            show(done, in_all)
        is_first = False

    return say


def _tenths(what: str, units: str) -> Callable[[int, int], None]:
    tenths_said, known = 0, 0

    def show(done: int, in_all: int) -> None:
        nonlocal tenths_said, known
        if known and in_all != known and units != "%":
            complain(f"{what}: {in_all} {units} are needed now")
            tenths_said = done * 10 // in_all
        known = in_all
        if done * 10 // in_all > tenths_said:
            tenths_said = done * 10 // in_all
            complain(f"{what}: {10 * tenths_said} %" if units == "%" else f"{what}: {done} of {in_all} {units}")

    return show


@contextmanager
def if_it_takes_long(what: str) -> Iterator[None]:
    """Say what is being done, if it is not done soon."""
    timer = threading.Timer(PATIENCE_S, complain, [f"{what} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done, while it is; what is yielded takes details: of these, a line now and then otherwise."""
    if not sys.stderr.isatty():
        complain(f"{what} ...")
        yield _now_and_then(what)
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as shown:
        yield lambda detail: shown.update(f"{what}: {detail}")


def _now_and_then(what: str) -> Callable[[str], None]:
    said_at = time.monotonic()

    def show(detail: str) -> None:
        nonlocal said_at
        if time.monotonic() >= said_at + EVERY_S:
            said_at = time.monotonic()
            complain(f"{what}: {detail} ...")

    return show


def say(text: str) -> None:
    """Print what was asked for."""
    print(text)


def complain(text: str) -> None:
    """Print what is wrong, or might be; if there is no room for it, nobody can be told."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def say_figures(
    folder: Path,
    figures: Sequence[Path],
    left_out: Mapping[str, str],
    no_room: Mapping[str, Sequence[str]],
    formats: Sequence[str] = ("png", "svg"),
) -> None:
    """Say which figures there are, what has no room in them, and why others would say nothing."""
    if figures:
        stems = ", ".join(sorted(figure.stem for figure in figures))
        say(f"Figures  {folder}/plots/ ({stems}: {' and '.join(formats).upper().replace('AND', 'and')})")
    elif left_out:
        say("Figures  none has anything to show")
    else:
        say("Figures  none: too many keys vary (stragglersim plot DIR --x KEY --where KEY=VALUE draws one)")
    for what, names in no_room.items():
        say(f"         {', '.join(names)}: {what}")
    for name, why in left_out.items():
        say(f"         no {name}: {why}")
