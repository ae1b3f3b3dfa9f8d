"""Style that all figures share: colours, markers, type sizes and scales, unless the user has chosen others."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from cycler import cycler
from matplotlib import rc_context, rcParams, rcParamsDefault
from matplotlib.artist import getp, setp
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from simulator.errors import ResultsError
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.statistics import is_tie

WIDTH_IN = 3.4  # one column
GREY = "#555555"
# Okabe and Ito's colours, grey in place of the yellow, which can't be seen on white
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999", "#882255")
ORANGE, SKY, BLUE, VERMILLION = (COLOURS[place] for place in (1, 2, 4, 5))
LIGHT = "#DDDDDD"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 0.7)), (0, (8, 2, 1, 2, 1, 2)))
STYLE: dict[str, Any] = {
    "figure.figsize": [WIDTH_IN, 2.4],  # the height is the content's, unless the user gives a size
    "figure.dpi": 200,
    "font.size": 8,  # all other sizes follow
    "axes.titlesize": "small",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # letters that can be searched for, as publishers want them
    "svg.hashsalt": "stragglersim",  # the same results are to give the same files
}
OF_LINES = ("axes.prop_cycle", "lines.linewidth", "lines.markersize", "hatch.linewidth")  # also on the user's axes
_IN_FORCE: ContextVar[bool] = ContextVar("_IN_FORCE", default=False)
# what is hidden: its look, its size, points within which another hides it, share that must be hidden
BENEATH = (("linestyle", "linewidth", 0.72, 0.5), ("marker", "markersize", 1.44, 0.25))
NOTHING = ("", " ", "none", "None", None)  # how matplotlib says no line, or no marker


class ChartError(ResultsError):
    """A figure that the results do not allow, in one sentence."""


class SaysNothingError(Exception):
    """A figure that nobody can learn from, with the reason why it is not drawn."""


class LeftOut(str):
    """A remark on what has no room in a figure: the terminal says it, too."""


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
    for kind_of_look, size, near_points, share in BENEATH:
        near = max(1, round(near_points * axes.figure.dpi / 72))  # pixels
        kind = [line for line in drawn if getp(line, kind_of_look) not in NOTHING and getp(line, "fillstyle") != "none"]
        looks = [(line.get_color(), getp(line, kind_of_look)) for line in kind]
        places = [_pixels(axes, line, on_the_way=size == "linewidth") for line in kind]
        covered = [_around(axes, place, near) for place in places]
        depths = []
        for at, (columns, rows) in enumerate(places):
            on_top = zip(looks[at + 1 :], covered[at + 1 :], strict=True)
            hiding = {look for look, its in on_top if np.count_nonzero(its[columns, rows]) > share * len(columns)}
            depths.append(len(hiding - {looks[at]}))
        step = min(1.5, 3 / max([1, *depths]))  # points, so that many do not hide what is beside them
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


@contextmanager
def style(given: Mapping[str, Any] = MappingProxyType({}), *, only: Sequence[str] = tuple(STYLE)) -> Iterator[None]:
    """Draw in this style, or ``only`` so much of it, as far as the user has chosen no other: in rcParams, or given."""
    if _IN_FORCE.get():
        yield
        return
    now: Any = rcParams
    usual: Any = rcParamsDefault
    chosen: Any = {key: STYLE[key] for key in only if now[key] == usual[key]} | dict(given)
    with rc_context(chosen):
        if rcParams["font.family"] == ["serif"] and rcParams["mathtext.fontset"] == usual["mathtext.fontset"]:
            is_ours = rcParams["font.serif"][0] == usual["font.serif"][0]
            now["mathtext.fontset"] = "dejavuserif" if is_ours else "stix"  # formulas look like the texts
        token = _IN_FORCE.set(True)
        try:
            yield
        finally:
            _IN_FORCE.reset(token)


def chosen_height_in() -> float | None:
    """Height that the user has chosen for figures; None: as high as their content wants."""
    with style():
        width_in, height_in = rcParams["figure.figsize"]
        return None if [width_in, height_in] == STYLE["figure.figsize"] else float(height_in)


class Look(NamedTuple):
    """Style of a scheme in every figure."""

    colour: str
    marker: str
    dashes: Any


def looks_of(schemes: Sequence[str]) -> dict[str, Look]:
    """Tell schemes apart, in the order of the scenario, in the colours of the style."""
    with style():
        cycle = rcParams["axes.prop_cycle"].by_key()
    colours, markers, dashes = cycle.get("color", COLOURS), cycle.get("marker", MARKERS), cycle.get("linestyle", DASHES)
    n = len(colours)
    # where colours come again, they do with other markers and lines
    return {
        label: Look(
            colours[place % n],
            markers[(place + place // n) % len(markers)],
            dashes[(place + place // n) % len(dashes)],
        )
        for place, label in enumerate(schemes)
    }


def log_with_zero(axes: Axes, least: float, most: float, *, is_low: bool = False) -> None:
    """Make the vertical axis logarithmic from ``least``, the smallest number above 0, up, with room for 0 below it."""
    axes.set_yscale("symlog", linthresh=least, linscale=1.0 if is_low else 0.3)
    powers = 10.0 ** np.arange(math.floor(math.log10(least)), math.log10(most) + 1)
    ticks = (np.outer(powers, (1, 2, 5)) if most < 20 * least else powers).ravel()
    inside = ticks[(ticks >= 0.999 * least) & (ticks <= 1.001 * most)].tolist()
    inside = inside[:: -math.ceil(len(inside) / (3 if is_low else 8)) or 1][::-1]
    axes.set_yticks([0.0, *(inside if len(inside) > 1 else [least, most])])
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.minorticks_off()
    axes.set_ylim(-0.2 * least, 1.25 * most)


def number(value: float, _: object = None) -> str:
    """A number of a tick; of very large and small ones with their power of ten.

    >>> number(0.5), number(2e7), number(1e-6)
    ('0.5', '$2\\\\times10^{7}$', '$10^{-6}$')
    """
    digits, has_power, power = f"{value:g}".partition("e")
    times = "" if digits == "1" else rf"{digits}\times"
    return f"${times}10^{{{int(power)}}}$" if has_power else digits


def plain_ticks(axis: Axis, least: float, most: float) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5, 10 over less than two decades, otherwise 1, 10, 100."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if most < 100 * least else (1.0,)))
    axis.set_major_formatter(number)
    axis.set_minor_formatter(NullFormatter())
