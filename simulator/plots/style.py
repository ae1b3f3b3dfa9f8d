"""Style that all figures share: colours, markers, type sizes, labels and legends."""

import math
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist, getp, setp
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.statistics import is_tie

Draw = Callable[[Figure], None]
WIDTH_IN = 3.4  # one column
DPI = 200
GREY = "#555555"
# Okabe and Ito's colours, grey in place of the yellow, which can't be seen on white
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999")
ORANGE, SKY, BLUE, VERMILLION = (COLOURS[place] for place in (1, 2, 4, 5))
LIGHT = "#DDDDDD"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 0.7)), (0, (8, 2, 1, 2, 1, 2)))
STYLE = {
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "stragglersim",  # the same results are to give the same files
}
# what is hidden: its look, its size, pixels within which another hides it, share that must be hidden
BENEATH = (("linestyle", "linewidth", 1, 0.5), ("marker", "markersize", 2, 0.25))
NOTHING = ("", " ", "none", "None", None)  # how matplotlib says no line, or no marker
HOLLOW = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="none", label="hollow: jobs failed")


class SaysNothingError(Exception):
    """A figure that nobody can learn from, with the reason why it is not drawn."""


def refuse_alike(curves: Sequence[FloatArray], why: str) -> None:
    """Refuse a figure of several schemes whose curves are all the same."""
    first, *others = curves
    with np.errstate(invalid="ignore"):  # of infinite values, which equal each other
        is_same = [len(other) == len(first) and bool(is_tie(other, first).all()) for other in others]
    if others and all(is_same):
        raise SaysNothingError(why)


def widen_beneath(axes: Axes) -> None:
    """Widen lines and markers that lie under others of another look, so that all of them are seen."""
    axes.get_xlim(), axes.get_ylim()  # limits are found when they are asked for
    drawn = [line for line in axes.lines if line.get_transform() == axes.transData]
    for kind_of_look, size, near, share in BENEATH:
        kind = [line for line in drawn if getp(line, kind_of_look) not in NOTHING and getp(line, "fillstyle") != "none"]
        looks = [(line.get_color(), getp(line, kind_of_look)) for line in kind]
        places = [_pixels(axes, line, on_the_way=size == "linewidth") for line in kind]
        covered = [_around(axes, place, near) for place in places]
        depths = []
        for at, (columns, rows) in enumerate(places):
            on_top = zip(looks[at + 1 :], covered[at + 1 :], strict=True)
            hiding = {look for look, its in on_top if np.count_nonzero(its[columns, rows]) > share * len(columns)}
            depths.append(len(hiding - {looks[at]}))
        step = min(1.5, 4 / max([1, *depths]))  # points, so that many do not hide what is beside them
        for line, depth in zip(kind, depths, strict=True):
            setp(line, **{size: getp(line, size) + depth * step})


def _pixels(axes: Axes, line: Line2D, *, on_the_way: bool) -> tuple[IntArray, IntArray]:
    """Columns and rows of the pixels of a line's points in its axes, or also of what is between them."""
    points = np.asarray(line.get_xydata(), dtype=np.float64).T
    if on_the_way:
        points = np.array(STEP_LOOKUP_MAP[line.get_drawstyle()](*points))
    with np.errstate(invalid="ignore"):
        at = axes.transData.transform(points.T) - axes.bbox.min
    at = at[np.isfinite(at).all(axis=1)]
    if on_the_way and len(at):
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
        every = np.arange(0.0, along[-1] + 0.5, 0.5)
        at = np.stack([np.interp(every, along, column) for column in at.T], axis=1)
    at = at[((at >= 0) & (at <= axes.bbox.size)).all(axis=1)]
    columns, rows = np.unique(np.round(at).astype(np.int64), axis=0).T
    return columns, rows


def _around(axes: Axes, pixels: tuple[IntArray, IntArray], near: int) -> BoolArray:
    """Mark the pixels of axes that are so near to some."""
    marked = np.zeros(np.ceil(axes.bbox.size).astype(np.int64) + 2 * near + 1, dtype=np.bool_)
    for right, up in np.ndindex(2 * near + 1, 2 * near + 1):
        marked[pixels[0] + right, pixels[1] + up] = True
    return marked[near:, near:]


def style() -> Any:
    """Draw in this style; nothing else has a say."""
    # from matplotlib's defaults, so that a personal matplotlibrc changes no figure
    return matplotlib.style.context(["default", STYLE])


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write a figure as PNG and as SVG; return the path of the PNG."""
    path = folder / f"{name}.png"
    figure.set_dpi(DPI)
    with style(), warnings.catch_warnings():  # ticks are made when a figure is written
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box is shown in its place
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")  # what is laid out stays
        png, svg = FigureCanvasAgg(figure), FigureCanvasSVG(figure)
        png.print_png(path)  # type: ignore[no-untyped-call] # `savefig` would draw everything twice
        svg.print_svg(path.with_suffix(".svg"), metadata={"Date": None})  # type: ignore[no-untyped-call]
    return path


def literal(text: str) -> str:
    """Escape what matplotlib is to show as it is: no formulas, and nothing left out for its underscore."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def wrapped(label: str, width: int) -> str:
    """A label of any length; wrapped, not cut, so that two of them stay different."""
    return literal("\n".join(textwrap.wrap(label, width) or [label]))


class Look(NamedTuple):
    """Style of a scheme in every figure."""

    colour: str
    marker: str
    dashes: Any


def looks_of(schemes: Sequence[str]) -> dict[str, Look]:
    """Tell schemes apart, in the order of the scenario."""
    n = len(COLOURS)
    # from the ninth on, colours come again with other markers and lines
    return {
        label: Look(COLOURS[place % n], MARKERS[(place + place // n) % n], DASHES[(place + place // n) % n])
        for place, label in enumerate(schemes)
    }


def add_legend(figure: Figure, looks: dict[str, Look], *, has_lines: bool = True, extra: Sequence[Artist] = ()) -> None:
    """Add a legend above the axes, in as many columns as the labels leave room for; the figure grows by it."""
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes if has_lines else "none")
        for look in looks.values()
    ]
    labels = [*(wrapped(label, 26) for label in looks), *(str(line.get_label()) for line in extra)]
    longest = max(len(line) for label in labels for line in label.splitlines())
    wide = figure.get_figwidth() / WIDTH_IN
    n_columns = max(1, int(min(4 * wide, 240 * wide / (3.9 * longest + (34 if has_lines else 24)))))  # in points
    n_lines = math.ceil(sum(len(label.splitlines()) for label in labels) / n_columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.14 * n_lines)
    figure.legend(
        [*handles, *extra],
        labels,
        loc="outside upper center",
        ncols=n_columns,
        frameon=False,
        handlelength=3 if has_lines else 1,
        columnspacing=1.2,
    )


def said(value: object) -> str:
    """A swept value; a whole mapping, which the tables hold as text, without its punctuation."""
    if value != value:  # NaN: null in the scenario
        return "none"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[{}']", "", text).removeprefix("kind: ")


def key_label(key: str, width: int) -> str:
    """A dotted key, wrapped at its dots."""
    lines = textwrap.wrap(key.replace(".", ". "), width, break_long_words=False)
    is_time = key.endswith("_s") and not key.endswith("_per_s")
    return literal("\n".join(lines).replace(". ", ".")) + (" (seconds)" if is_time else "")


def log_with_zero(axes: Axes, least: float, most: float) -> None:
    """Make the vertical axis logarithmic from ``least``, the smallest number above 0, up, with room for 0 below it."""
    axes.set_yscale("symlog", linthresh=least, linscale=0.3)
    powers = 10.0 ** np.arange(math.floor(math.log10(least)), math.log10(most) + 1)
    powers = powers[:: math.ceil(len(powers) / 8)]
    ticks = (np.outer(powers, (1, 2, 5)) if most < 20 * least else powers).ravel()
    inside = ticks[(ticks >= 0.999 * least) & (ticks <= 1.001 * most)].tolist()
    axes.set_yticks([0.0, *(inside if len(inside) > 1 else [least, most])])
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.minorticks_off()
    axes.set_ylim(-0.2 * least, 1.25 * most)


def plain_ticks(axis: Axis, least: float, most: float) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5, 10 over less than two decades, otherwise 1, 10, 100."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if most < 100 * least else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
