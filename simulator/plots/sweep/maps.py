"""Maps over two swept numbers: which scheme is best, and what it gains over the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from simulator.columns import RUNS
from simulator.parameters import BoolArray, FloatArray
from simulator.plots.sheet import Sheet
from simulator.plots.style import GREY
from simulator.plots.text import key_label, wrapped
from simulator.results.compare import compare
from simulator.results.results import Results
from simulator.results.summary import name_of
from simulator.statistics import TIE

MOST_PERCENT = 200.0  # a gain beyond has the last colour, so that the others can be told apart
MOST_CELLS = 12  # across or up, that have room for text
LETTERS_ACROSS = 38  # of a whole map
TIE_COLOUR = "#EDEDED"
HATCHES = ("", "////", "....", "xxxx", r"\\\\", "----", "++++", "||||", "oooo")
TIE_HATCHES = ("", "//", "..")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Map:
    """A metric of each scheme over two swept keys; the arrays' last two axes are (y, x)."""

    labels: Sequence[str]  # of the axes across and up
    x: FloatArray
    y: FloatArray
    schemes: list[str]
    values: FloatArray  # shape (schemes, y, x); lower is better, so jobs per second are negative
    best: BoolArray  # of the same shape: the best of each cell, and what equals it in every trial
    undecided: BoolArray  # another is not distinguishable from the best
    metric: str
    label: str  # of the metric
    remarks: list[str]
    title: str = ""  # the values of other swept keys

    @property
    def gain_percent(self) -> FloatArray:
        """Gain of the best of the other schemes over the first: time saved, or more jobs per second."""
        return self._gain(self.values[1:].min(axis=0))

    @property
    def gains_percent(self) -> FloatArray:
        """Gain of each of the other schemes over the first, shape (schemes - 1, y, x)."""
        return self._gain(self.values[1:])

    @property
    def letters(self) -> dict[int, str]:
        """The letter of each scheme; of very many schemes, of those that are best somewhere."""
        n_all = len(self.schemes)
        shown = range(n_all) if n_all <= len(LETTERS) else np.flatnonzero(self.best.any(axis=(1, 2))).tolist()
        return {place: LETTERS[rank % len(LETTERS)] for rank, place in enumerate(shown)}

    def _gain(self, values: FloatArray) -> FloatArray:
        first, other = np.abs(self.values[0]), np.abs(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            change: FloatArray = 100 * (other / first - 1)
        return change if RUNS[self.metric].higher_is_better else -change


def map_of(results: Results, keys: Sequence[str], metric: str, names: Mapping[str, str]) -> Map | None:
    """A metric as a map over two swept keys; None if these do not tell the points apart, or all schemes are alike.

    Parameters
    ----------
    results
        Of a sweep over all combinations of the keys' values.
    keys
        Those across and up.
    metric
        ``makespan_s``, or ``jobs_per_s``, of which more is better.
    names
        Short names of keys, where they have one.
    """
    runs = results.runs[results.runs["kind"] != "ideal"]
    schemes = list(dict.fromkeys(runs["scheme"]))
    if len(schemes) < 2 or any(runs[key].dtype.kind not in "iuf" for key in keys):
        return None
    sign = -1.0 if RUNS[metric].higher_is_better else 1.0
    points = runs.drop_duplicates("point").sort_values("point")
    x, y = (np.unique(points[key].to_numpy(dtype=np.float64)) for key in keys)
    if min(len(x), len(y)) < 2 or len(points) > len(x) * len(y):
        return None
    table = compare(runs, metric=metric)
    at = points.set_index("point").loc[table["point"]]
    across, up = (np.searchsorted(on, at[key].to_numpy(dtype=np.float64)) for on, key in zip((x, y), keys, strict=True))
    cell = table["scheme"].map(schemes.index).to_numpy(), up, across
    values = np.full((len(schemes), len(y), len(x)), np.inf)
    best, near_best = np.zeros((2, *values.shape), dtype=np.bool_)
    values[cell] = sign * table["mean"].fillna(sign * np.inf)
    near_best[cell] = table["near_best"]
    best[cell] = (table["rank"] == 1).fillna(False) & ~table["near_best"]
    undecided = np.asarray(near_best.any(axis=0))
    if np.allclose(values, values[0], rtol=TIE, atol=0):
        return None
    remarks = ["without the reference (ideal)"] if (results.runs["kind"] == "ideal").any() else []
    remarks += ["approximate gradients count like exact ones"] if (runs["error_norm_mean"] > 0).any() else []
    where = "?" if _has_room(x, y) else f"no room for ? in {undecided.sum()} of {undecided.size} cells"
    unsure = "another is not distinguishable from the best (the 95 % interval of the paired difference contains 0)"
    remarks += [f"{where}: {unsure}"] if undecided.any() else []
    remarks += ["tie: equal in every trial"] if (best.sum(axis=0) > 1).any() else []
    most_letters = 2 * best.sum(axis=0) - 1 + undecided
    is_cut = _has_room(x, y) and (most_letters > LETTERS_ACROSS // len(x)).any()
    remarks += ["=: a tie of more schemes than have room"] if is_cut else []
    labels = [names.get(key, key) for key in keys]
    label = name_of(metric, runs)
    return Map(labels, x, y, schemes, values, best, undecided, metric, label, remarks)


def draw_best(sheet: Sheet, cells: Map) -> None:
    """Draw the best scheme of each cell, by colour and by letter (by hatch, where letters have no room)."""
    sheet.set_height(2.9)
    axes = sheet.panel()
    _label(axes, cells)
    n_best, has_room = cells.best.sum(axis=0), _has_room(cells.x, cells.y)
    tints = [tint(look.colour) for look in sheet.looks(cells.schemes).values()]
    hatches = ["" if has_room else HATCHES[place % len(HATCHES)] for place in range(len(cells.schemes))]
    alone = cells.best & (n_best == 1)
    kinds = [
        (f"{letter}: {cells.schemes[place]}" if has_room else cells.schemes[place], *look)
        for place, letter in cells.letters.items()
        for look in [(tints[place], hatches[place], alone[place])]
    ]
    kinds += [(name, to_rgb(TIE_COLOUR), hatch, is_here) for name, hatch, is_here in _ties(cells, has_room=has_room)]
    handles: list[Patch | Line2D] = []
    for name, colour, hatch, is_here in kinds:
        squares = _rectangles(is_here, merge=not has_room)
        style: dict[str, Any] = {"facecolor": colour, "hatch": hatch}
        edge: dict[str, Any] = (
            {"edgecolor": "white", "linewidth": 0.4} if has_room else {"edgecolor": GREY, "linewidth": 0}
        )
        axes.add_collection(PatchCollection(squares, **style, **edge))
        handles.append(Patch(edgecolor=GREY, linewidth=0.4, label=wrapped(name, 26), **style))
    if has_room:
        for j, i in np.ndindex(n_best.shape):
            axes.text(i, j, _best_letters(cells, j, i), ha="center", va="center", fontsize="small")
    axes.set_title(_below(cells, f"best by mean {cells.label}"))
    sheet.add_legend({}, has_lines=False, extra=handles)


def _ties(cells: Map, *, has_room: bool) -> list[tuple[str, str, BoolArray]]:
    """Name, hatch and cells of ties: one kind for those that say by letters who ties, else one for each company."""
    is_tie = cells.best.sum(axis=0) > 1
    companies = np.unique(cells.best[:, is_tie].T, axis=0)
    if has_room or len(companies) > len(TIE_HATCHES):
        return [("tie", "", is_tie)] * bool(is_tie.any())
    names = [", ".join(np.array(cells.schemes)[company]) for company in companies]
    here = [(cells.best == company[:, np.newaxis, np.newaxis]).all(axis=0) for company in companies]
    return [(f"tie: {name}", *kind) for name, kind in zip(names, zip(TIE_HATCHES, here, strict=False), strict=True)]


def _best_letters(cells: Map, j: int, i: int) -> str:
    """The letters of the best of a cell, or = where so many that tie have no room."""
    letters = "=".join(cells.letters[place] for place in np.flatnonzero(cells.best[:, j, i]).tolist())
    mark = "?" if cells.undecided[j, i] else ""
    return (letters if len(letters + mark) <= LETTERS_ACROSS // len(cells.x) else "=") + mark


def _rectangles(cells: BoolArray, *, merge: bool) -> list[Rectangle]:
    """A square for each cell, or one rectangle for neighbours in a row: hundreds of cells by hundreds are too many."""
    if not merge:
        return [Rectangle((i - 0.5, j - 0.5), 1, 1) for j, i in np.argwhere(cells)]
    edges = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)[:, 1]
    return [Rectangle((i - 0.5, j - 0.5), stop - i, 1) for (j, i), stop in zip(starts, stops, strict=True)]


def draw_gain(sheet: Sheet, cells: Map, beside: Sequence[Map]) -> None:
    """Draw what the best of the other schemes gains over the first; hatched where it loses.

    ``beside`` are the maps with which it shares its colours, itself among them.
    """
    sheet.set_height(2.9)
    axes = sheet.panel()
    _label(axes, cells)
    colours = _colours(np.stack([other.gain_percent for other in beside]))
    _gain_cells(axes, cells, cells.gain_percent, colours)
    _add_bar(sheet, [axes], cells, colours)
    others = cells.schemes[1] if len(cells.schemes) == 2 else f"best of {len(cells.schemes) - 1} schemes"
    hatched = "; hatched: loses" if (cells.gain_percent < 0).any() else ""
    axes.set_title(_below(cells, wrapped(f"{others} against {cells.schemes[0]}{hatched}", 60)))


def draw_gains(sheet: Sheet, cells: Map, beside: Sequence[Map]) -> None:
    """Draw what each of the other schemes gains over the first, a panel for each; hatched where it loses."""
    gains = cells.gains_percent
    n_rows = -(-len(gains) // 2)
    sheet.set_height(0.7 + 1.6 * n_rows)
    grid = sheet.subplots(n_rows, 2)
    panels = list(grid.flat[: len(gains)])
    colours = _colours(np.stack([other.gains_percent for other in beside]))
    for place, (axes, gain, scheme) in enumerate(zip(panels, gains, cells.schemes[1:], strict=True)):
        _label(axes, cells, n_columns=2, has_x=place + 2 >= len(gains), has_y=place % 2 == 0)
        _gain_cells(axes, cells, gain, colours, most_cells=6)
        axes.set_title(wrapped(scheme, 28))
    for spare in grid.flat[len(gains) :]:
        spare.remove()
    sheet.label_rows(key_label(cells.labels[1], 30))
    _add_bar(sheet, panels, cells, colours)
    hatched = "; hatched: loses" if (gains < 0).any() else ""
    title = _below(cells, wrapped(f"each scheme against {cells.schemes[0]}{hatched}", 60))
    sheet.figure.suptitle(title, fontsize=rcParams["axes.titlesize"])


class _Colours(NamedTuple):
    """Colours of gains in percent."""

    norm: Normalize
    cmap: str
    most: float  # beyond it, all have the last colour
    is_cut: bool  # whether any is beyond


def _colours(gains: FloatArray) -> _Colours:
    """Colours for all of these gains; around white, if there are losses."""
    largest = float(np.max(np.abs(gains), where=np.isfinite(gains), initial=1e-9))
    most = min(largest, MOST_PERCENT)
    has_losses = bool((gains < 0).any())
    norm = Normalize(-most if has_losses else 0, most)
    is_cut = largest > most or bool(np.isinf(gains).any())
    return _Colours(norm, "PuOr" if has_losses else "Purples", most, is_cut)


def _gain_cells(axes: Axes, cells: Map, gain: FloatArray, colours: _Colours, most_cells: int = MOST_CELLS) -> None:
    finite = np.where(np.isfinite(gain), gain, np.nan)
    shown = np.where(gain == np.inf, 2 * colours.most, finite)
    axes.imshow(shown, cmap=colours.cmap, norm=colours.norm, origin="lower", aspect="auto", zorder=0)
    lost = _rectangles(gain < 0, merge=True)
    axes.add_collection(PatchCollection(lost, facecolor="none", edgecolor=GREY, hatch="////", linewidth=0))
    if max(len(cells.x), len(cells.y)) <= most_cells:
        _write_in(axes, gain, colours.most)


def _add_bar(sheet: Sheet, panels: Sequence[Axes], cells: Map, colours: _Colours) -> None:
    extend = "max" if colours.is_cut else "neither"
    bar = sheet.figure.colorbar(
        ScalarMappable(colours.norm, colours.cmap), ax=panels, pad=0.02, aspect=25, extend=extend
    )
    more = RUNS[cells.metric].higher_is_better
    bar.set_label(f"more {cells.label} (%)" if more else f"{cells.label} saved (%)")


def _below(cells: Map, text: str) -> str:
    return "\n".join(filter(None, (cells.title, text)))


def _write_in(axes: Axes, gain: FloatArray, most: float) -> None:
    for j, i in np.ndindex(gain.shape):
        value = float(gain[j, i])
        text = "∞" if value == np.inf else "–" if np.isnan(value) else f"{round(value):+d}".replace("+0", "0")
        colour = "white" if value > 0.6 * most else "black"
        around = [withStroke(linewidth=1.5, foreground="white")] if value < 0 else []  # of a hatch
        axes.text(i, j, text, ha="center", va="center", fontsize="x-small", color=colour, path_effects=around)


def _label(axes: Axes, cells: Map, n_columns: int = 1, *, has_x: bool = True, has_y: bool = True) -> None:
    """Give axes a unit square for each cell, labelled by the swept values that have room."""
    axes.set(xlim=(-0.5, len(cells.x) - 0.5), ylim=(-0.5, len(cells.y) - 0.5))
    axes.set_xticks(*_ticks(cells.x, room=42 // n_columns))
    axes.set_yticks(*_ticks(cells.y, room=80 // n_columns))
    axes.set_xlabel(key_label(cells.labels[0], 44 // n_columns) if has_x else "")
    axes.set_ylabel(key_label(cells.labels[1], 30) if n_columns == 1 else "")  # else all rows share it
    axes.tick_params(length=0, labelbottom=has_x, labelleft=has_y)


def _ticks(values: FloatArray, room: int) -> tuple[Sequence[int], list[str]]:
    """Places and labels, as many as fit into so many characters."""
    labels = [f"{value:.4g}" for value in values]
    longest = max(map(len, labels)) + 1
    step = -(-len(labels) * longest // room)
    places = range(0, len(labels), step)
    return places, [labels[place] for place in places]


def tint(colour: str) -> tuple[float, float, float]:
    """A colour on which black letters can be read."""
    red, green, blue = (0.45 * part + 0.55 for part in to_rgb(colour))
    return red, green, blue


def _has_room(x: FloatArray, y: FloatArray) -> bool:
    return max(len(x), len(y)) <= MOST_CELLS
