"""Figures of a folder, in the order in which they are read, each with a caption and what it shows in words."""

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape

from simulator.files import read_text
from simulator.plots.style import WIDTH_IN
from simulator.report.svg import inlined

VIEW_BOX = re.compile(r'^<svg [^>]*viewBox="[-0-9.]+ [-0-9.]+ ([0-9.]+) ')
MOST_BYTES = 3_500_000  # of all figures, so that the page has at most 5 MB
SHOWS = {  # by the last part of its file's name
    "advice": "What each action or scheme saves against uncoded work, and what choosing on more rounds gains",
    "makespan": "Makespan: the time at which the last round ends, for each scheme",
    "best_scheme": "Which scheme is the best at each point of the sweep",
    "gain": "What the best scheme gains at each point of the sweep",
    "gains": "What each scheme gains at each point of the sweep",
    "jobs_finished": "Number of jobs finished against time, a line for each scheme",
    "latency": "Share of jobs that take longer than a time, a line for each scheme",
    "load_latency": "Job latency against load, for each scheme",
    "load_makespan": "Makespan against load, a marker for each scheme",
    "load": "Load of each scheme: the share of a job that a worker computes in a round",
    "loss": "Training loss against time, a line for each scheme",
    "accuracy": "Accuracy against time, a line for each scheme",
    "loss_worker_seconds": "Training loss against the seconds that workers have been at work, a line for each scheme",
    "timeline": "What each worker does in the first rounds, a row for each worker",
    "stragglers": "Stragglers: which workers, or how many, are late in each round",
    "settings": "Every setting that was tried: makespan against load, a panel for each master rule",
    "winners": "The best scheme under each master rule and limit on the delay T",
    "heat_map": "Every measured time by its colour: rounds from left to right, a row for each worker",
    "rounds": "How the times of each round are spread over the workers",
    "bursts": "How many rounds in a row workers straggle, against what chance would give",
    "load_slope": "Time against load, with the lines through it",
}


class Shown(NamedTuple):
    """One figure of the page."""

    name: str
    caption: str
    content: Markup | None  # None: it has no room, and is in its file only
    file: str

    @property
    def is_wide(self) -> bool:
        """True if it is drawn wider than a column."""
        box = VIEW_BOX.search(self.content or "")
        return box is not None and float(box[1]) > 1.3 * 72 * WIDTH_IN


def figures(
    paths: Iterable[Path], note: str, prefix: str, room: int = MOST_BYTES, makespan: str = "makespan"
) -> list[Shown]:
    """The figures in these files, as far as there is room for them; those without a caption get a common note."""
    shown = []
    captions: dict[Path, dict[str, str]] = {}
    for number, path in enumerate(sorted(paths, key=_place)):
        own = captions.setdefault(path.parent, captions_of(path.parent))
        shows = SHOWS.get(_what(path), f"Figure {path.stem}").replace("Makespan", makespan.capitalize())
        content = _content(path, f"{prefix}-{number}", shows)
        size = len(content.encode()) if content else 0
        if size > room:
            content, size = None, 0
        room -= size
        shown.append(Shown(path.stem, own.get(path.stem, f"{shows}. {note}"), content, path.name))
    return shown


def captions_of(folder: Path) -> dict[str, str]:
    """What captions.md says of each figure, under a heading with its name; nothing where there is no such file."""
    try:
        text = read_text(folder / "captions.md")
    except (OSError, ValueError):
        return {}
    _, *parts = re.split(r"^#+ *(.+)$", text, flags=re.MULTILINE)
    names = (re.sub(r"[`*]|\.(svg|png|pdf)\b", "", name).strip() for name in parts[::2])
    return {name: " ".join(body.split()) for name, body in zip(names, parts[1::2], strict=True) if body.strip()}


def _what(path: Path) -> str:
    return path.stem.rpartition("-")[2]  # figures of traces begin with the trace's name


def _place(path: Path) -> tuple[int, str]:
    what = _what(path)
    return (list(SHOWS).index(what) if what in SHOWS else len(SHOWS), path.stem)


def _content(path: Path, prefix: str, shows: str) -> Markup | None:
    """The SVG; if it is too large or damaged, the PNG beside it; None if there is none either."""
    try:
        content = inlined(read_text(path), prefix, shows)
        if len(content) <= MOST_BYTES // 2:
            return content
    except (ValueError, OSError, RecursionError):  # damaged, or no SVG
        pass
    try:
        encoded = base64.b64encode(path.with_suffix(".png").read_bytes()).decode()
    except OSError:
        return None
    return Markup(f'<img alt="{escape(shows)}" src="data:image/png;base64,{encoded}">')
