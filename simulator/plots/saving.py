"""Figures as files, each with its caption: in the file itself, and in `captions.md` beside it."""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from simulator.choices import FigureFormat
from simulator.files import read_text, whole
from simulator.plots.style import ChartError, style

CAPTIONS = "captions.md"
NOT_OF_STYLE = ("backend", "interactive", "toolbar", "webagg")  # of a window, not of a figure
FORMATS: Sequence[FigureFormat] = ("png", "svg")
METADATA = {"png": "Description", "svg": "Description", "pdf": "Subject"}  # where the caption stands
NO_DATE = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same results give the same files


def save(figure: Figure, folder: Path, name: str, formats: Sequence[FigureFormat] = FORMATS) -> Path:
    """Write a figure and its caption, which is the figure's label; return the path of the first file.

    Raises
    ------
    ChartError
        If its size leaves no room for what is on it.
    """
    caption = str(figure.get_label())
    with style(), warnings.catch_warnings():  # ticks are made when a figure is written
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box is shown in its place
        warnings.filterwarnings("error", "constrained_layout not applied")
        try:
            fits = _fits(figure)
        except (RuntimeError, FileNotFoundError) as error:  # of LaTeX
            raise ChartError(f"{name}: must be written without LaTeX (text.usetex), got {_first(error)}") from None
        if not fits:
            size = " x ".join(f"{inches:g}" for inches in figure.get_size_inches())
            raise ChartError(f"{name}: {size} inches are too small for it")
        with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # what is laid out stays, and each file is drawn once
        folder.mkdir(parents=True, exist_ok=True)
        for kind in formats:
            metadata = {"Title": name, METADATA[kind]: caption} | NO_DATE[kind]
            figure.savefig(folder / f"{name}.{kind}", metadata=metadata)
    add_captions(folder, {name: caption})
    return folder / f"{name}.{formats[0]}"


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _fits(figure: Figure) -> bool:
    """Lay a figure out, and say whether there is room for it."""
    if engine := figure.get_layout_engine():
        try:
            engine.execute(figure)
        except UserWarning:
            return False
    panels = [axes.get_position() for axes in figure.axes if axes.get_subplotspec()]  # a colour bar is none
    for text in figure.texts:
        if panels and text.get_rotation() == 90:  # a label that they share, at their middle, as far as there is room
            half = min(0.5, text.get_window_extent().height / figure.bbox.height / 2)
            text.set_y(min(1 - half, max(half, sum(Bbox.union(panels).intervaly) / 2)))
    labels = [axes.yaxis.label.get_window_extent() for axes in figure.axes if axes.get_ylabel()]
    pairs = [*combinations(labels, 2), *chain(*map(_neighbours, figure.axes))]
    shared = [Bbox.intersection(one, other) for one, other in pairs]
    return not any(both is not None and both.width > 1 and both.height > 1 for both in shared)


def _neighbours(axes: Axes) -> Iterator[tuple[Bbox, Bbox]]:
    """Where each two labels of ticks beside each other stand on the vertical axis."""
    low, high = sorted(axes.yaxis.get_view_interval())
    labels = [tick.label1 for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    return pairwise([label.get_window_extent() for label in labels if label.get_visible() and label.get_text()])


def captions(folder: Path) -> dict[str, str]:
    """The captions of the figures in a folder, by name; none, if there is no such file or it can't be read."""
    try:
        text = read_text(folder / CAPTIONS)
    except (OSError, ValueError):
        return {}
    found = re.findall(r"^## (.+)\n\n(.+)$", text, re.MULTILINE)
    return dict(found)


def add_captions(folder: Path, new: Mapping[str, str]) -> None:
    """Write captions to those that a folder has."""
    said = captions(folder) | dict(new)
    parts = [f"## {name}\n\n{' '.join(caption.split())}\n" for name, caption in said.items() if caption]
    with whole(folder / CAPTIONS) as partial:
        partial.write_text("\n".join(["# Captions\n", *parts]), encoding="utf-8")


def read_style(path: Path) -> dict[str, Any]:
    """The settings of a matplotlib style sheet.

    Raises
    ------
    ChartError
        If it is not one.
    """
    must = f"--style {path}: must be a matplotlib style sheet"
    faults = _Faults()
    log = logging.getLogger("matplotlib")
    log.addHandler(faults)
    was, log.propagate = log.propagate, False
    try:
        text = read_text(path)
        given = rc_params_from_file(path, use_default_template=False)
    except OSError as error:
        raise ChartError(f"{must}, got {error.strerror or error}") from None
    except ValueError as error:
        raise ChartError(f"{must}, got {error}") from None
    finally:
        log.propagate = was
        log.removeHandler(faults)
    if faults.said or not text.strip():
        raise ChartError(f"{must}, got {faults.said[0] if faults.said else 'an empty file'}")
    return {key: value for key, value in given.items() if not key.startswith(NOT_OF_STYLE)}


class _Faults(logging.Handler):
    """What matplotlib says of a style sheet, a line each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(" ".join(record.getMessage().split()).split(" You probably")[0])
