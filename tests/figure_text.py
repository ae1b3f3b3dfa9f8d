"""What is on a figure, as lines of text that are the same everywhere: nothing is laid out, and no text is measured."""

from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, LineCollection
from matplotlib.colors import Colormap, to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from matplotlib.spines import Spine
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Transform

NAMED = 5  # numbers of an array that are written out; longer ones are summed up
LOOK = {"alpha": None, "rasterized": False, "hatch": None, "clip_on": True, "in_layout": True}  # as usual
NOTHING = ("", "None")  # how a line says that it has no marker, or is markers only
COLORBAR = ("location", "aspect", "pad", "shrink")


def number(value: Any) -> str:
    return f"{float(value):.4g}".replace("-0", "0") if value == 0 else f"{float(value):.4g}"


def numbers(values: Any) -> str:
    """A few numbers, or how many, the first, the last and the sum."""
    flat = np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)).ravel()
    if len(flat) <= NAMED:
        return "[" + " ".join(map(number, flat)) + "]"
    finite = flat[np.isfinite(flat)]
    total = 0.0 if abs(finite.sum()) < 1e-9 * np.abs(finite).sum() else finite.sum()
    lacking = f", {len(flat) - len(finite)} not finite" if len(finite) < len(flat) else ""
    return f"[{number(flat[0])} .. {number(flat[-1])}: {len(flat)}, sum {number(total)}{lacking}]"


def colour(value: Any) -> str:
    """A colour, or several; those alike are named once."""
    if value is None or (isinstance(value, str) and value == "none"):
        return "none"
    several = isinstance(value, np.ndarray) and value.ndim == 2
    return ",".join(
        dict.fromkeys(to_hex(one, keep_alpha=True).removesuffix("ff") for one in (value if several else [value]))
    )


def said(**parts: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in parts.items() if value not in ("", None))


def unless(value: str, usual: str) -> str:
    return "" if value == usual else value


def dashes(pattern: tuple[float, Any]) -> str:
    return "" if pattern[1] is None else ",".join(map(number, (pattern[0], *pattern[1])))


def usual_look(artist: Artist) -> str:
    """What differs from most artists."""
    parts = {name: getattr(artist, f"get_{name}")() for name, usual in LOOK.items() if hasattr(artist, f"get_{name}")}
    parts = {name: value for name, value in parts.items() if value != LOOK[name]}
    if "hatch" in parts:
        parts["hatch_width"] = number(getattr(artist, "_hatch_linewidth", matplotlib.rcParams["hatch.linewidth"]))
    return said(z=number(artist.get_zorder()), **parts)


def place(axes: Axes | Figure, transform: Transform) -> str:
    """Name of the coordinates; nothing for those of the data."""
    if isinstance(axes, Figure):
        return "figure"
    known = {"": axes.transData, "axes": axes.transAxes, "xaxis": axes.get_xaxis_transform()}
    known |= {"yaxis": axes.get_yaxis_transform()}
    return next((name for name, it in known.items() if transform == it), "other")


def of_line(line: Line2D) -> str:
    """A line and its markers; what of these is as the line is not said again."""
    parts: dict[str, Any] = {"line": colour(line.get_color())}
    if line.get_linestyle() not in NOTHING:
        parts |= {"width": number(line.get_linewidth()), "dashes": dashes(line._unscaled_dash_pattern)}
    if line.get_marker() not in NOTHING:
        face, edge = colour(line.get_markerfacecolor()), colour(line.get_markeredgecolor())
        parts |= {"marker": line.get_marker(), "size": number(line.get_markersize())}
        parts |= {"face": face if face != parts["line"] else "", "edge": edge if edge != parts["line"] else ""}
        parts |= {"edge_width": unless(number(line.get_markeredgewidth()), "1")}
        parts |= {"fill": unless(line.get_fillstyle(), "full")}
    return said(**parts, steps=unless(line.get_drawstyle(), "default"))


def of_patch(patch: Patch) -> str:
    style = dashes(patch.get_linestyle()) if isinstance(patch.get_linestyle(), tuple) else patch.get_linestyle()
    parts = {"face": colour(patch.get_facecolor()), "edge": colour(patch.get_edgecolor())}
    return said(**parts, width=number(patch.get_linewidth()), style=unless(style, "solid"))


def of_text(text: Text) -> str:
    effects = [effect._gc for effect in text.get_path_effects()]
    parts = {"size": number(text.get_fontsize()), "colour": unless(colour(text.get_color()), "#000000")}
    parts |= {"align": f"{text.get_ha()},{text.get_va()}", "rotation": unless(number(text.get_rotation()), "0")}
    return said(**parts, effects=effects or "")


def of_cmap(cmap: Colormap) -> str:
    return ",".join(colour(cmap(share)) for share in (0.0, 0.5, 1.0))


def with_data(axes: Axes | Figure, artist: Artist) -> tuple[str, list[Any]]:
    """Look of an artist, and its numbers."""
    after = f"{usual_look(artist)} {said(coordinates=place(axes, artist.get_transform()))}".strip()
    match artist:
        case Line2D():
            is_seen = artist.get_linestyle() not in NOTHING or artist.get_marker() not in NOTHING
            return f"{of_line(artist)} {after}", list(np.asarray(artist.get_xydata(), dtype=np.float64).T) * is_seen
        case Rectangle() | Polygon():
            path = artist.get_patch_transform().transform_path(artist.get_path())
            return f"patch {of_patch(artist)} {usual_look(artist)}", list(path.get_extents().extents[:, np.newaxis])
        case Patch():
            return f"shape {of_patch(artist)} {usual_look(artist)}", list(artist.get_path().vertices.T)
        case Collection():
            kind = "lines" if isinstance(artist, LineCollection) else "shapes"
            return f"{kind} {of_collection(artist)} {usual_look(artist)}", shapes_of(artist)
        case AxesImage():
            values, norm = artist.get_array(), artist.norm
            scale = f"{type(norm).__name__} {number(norm.vmin)} {number(norm.vmax)}"
            how = said(shape=values.shape, colours=of_cmap(artist.get_cmap()), scale=scale, origin=artist.origin)
            how += " " + said(
                interpolation=unless(artist.get_interpolation(), matplotlib.rcParams["image.interpolation"]),
                extent=numbers(artist.get_extent()),
            )
            return f"image {how} {usual_look(artist)}", [np.ma.filled(values.astype(np.float64), np.nan)]
        case Annotation():
            away = said(off=numbers(artist.xyann), off_in=artist.anncoords)
            return f"text {of_text(artist)} {away} {usual_look(artist)}", [
                artist.get_text(),
                *map(np.atleast_1d, artist.xy),
            ]
        case Text():
            return f"text {of_text(artist)} {after}", [artist.get_text(), *map(np.atleast_1d, artist.get_position())]
    raise TypeError(artist)


def of_collection(artist: Collection) -> str:
    return said(
        face=colour(artist.get_facecolor()),
        edge=colour(artist.get_edgecolor()),
        widths=numbers(np.unique(artist.get_linewidth())),
        dashes=" ".join(filter(None, map(dashes, artist.get_linestyle()))),
        sizes=unless(numbers(np.unique(getattr(artist, "get_sizes", list)())), "[]"),
    )


def shapes_of(artist: Collection) -> list[np.ndarray]:
    """Horizontal and vertical places of what is in a collection."""
    offsets = np.ma.filled(artist.get_offsets(), np.nan)
    if hasattr(artist, "get_sizes") and len(offsets) and offsets.any():
        return list(offsets.T)
    vertices = [path.vertices for path in artist.get_paths()]
    return list(np.concatenate(vertices).T) if vertices else []


def grouped(axes: Axes | Figure, shown: Iterable[Artist]) -> Iterator[str]:
    """A line for all artists that look the same and show anything, with the numbers of all of them."""
    alike: dict[str, list[Any]] = {}
    for artist in shown:
        look, data = with_data(axes, artist)
        if any(len(values) for values in data):
            alike.setdefault(look, []).append(data)
    for look, data in alike.items():
        times = f" {len(data)} times" if len(data) > 1 else ""
        names = [repr(values.pop(0)) for values in data if values and isinstance(values[0], str)]
        joined = map(numbers, (np.concatenate(list(map(np.ravel, part))) for part in zip(*data, strict=True)))
        yield " ".join(filter(None, (look + times, *names, *joined)))


def artists(axes: Axes) -> list[Artist]:
    own = (axes.patch, axes.title, axes._left_title, axes._right_title)
    return [it for it in axes.get_children() if it not in own and not isinstance(it, Spine | Axis | Legend | Axes)]


def of_axis(axis: Axis) -> str:
    """Scale, limits, label and ticks."""
    low, high = axis.get_view_interval()
    text = axis.get_label_text()
    label = f"{text!r} {said(size=unless(number(axis.label.get_size()), '8'))}".rstrip() if text else "no label"
    scale = axis.get_scale()
    if scale == "symlog":
        scale += f"({number(axis.get_transform().linthresh)}, {number(axis.get_transform().linscale)})"
    if getattr(axis.get_transform(), "_clip", False):
        scale += "(clip)"
    given = axis.get_tick_params(which="major")
    hidden = [] if given.get("labelbottom", True) and given.get("labelleft", True) else ["hidden"]
    length = number(given["length"]) if "length" in given else ""
    line = [f"{axis.axis_name} {scale} {number(low)} .. {number(high)} {label}; ticks"]
    for which, locs, formatter in (
        ("", axis.get_majorticklocs(), axis.get_major_formatter()),
        ("; minor", axis.get_minorticklocs(), axis.get_minor_formatter()),
    ):
        inside = [loc for loc in locs if min(low, high) - 1e-9 <= loc <= max(low, high) + 1e-9]
        names = formatter.format_ticks(inside)
        if not which:
            widths = ",".join(
                dict.fromkeys(number(tick.tick1line.get_markeredgewidth()) for tick in axis.get_major_ticks())
            )
            sizes = ",".join(dict.fromkeys(number(label.get_size()) for label in axis.get_ticklabels()))
            ticks = zip(map(number, inside), names, strict=True)
            line += [name if name == at else f"{at}:{name!r}" for at, name in ticks]
            line += [said(size=unless(sizes, "6.664"), width=unless(widths, "0.6"), length=length), *hidden]
        elif inside:
            line += [which, numbers(inside), *names]
    return " ".join(filter(None, line))


def of_legend(legend: Legend) -> Iterator[str]:
    where = f"{getattr(legend, '_outside_loc', None) or ''} {legend._loc}".strip()
    how = said(columns=legend._ncols, frame=legend.get_frame_on(), handles=number(legend.handlelength))
    yield f"legend {where} {how} {said(between=number(legend.columnspacing))}"
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        look = of_line(handle) if isinstance(handle, Line2D) else of_patch(handle)
        size = unless(number(text.get_fontsize()), "6.664")
        more = said(size=size, alpha=handle.get_alpha(), hatch=getattr(handle, "get_hatch", str)())
        yield f"  {text.get_text()!r} {look} {more}".rstrip()


def of_axes(axes: Axes) -> Iterator[str]:
    spec = axes.get_subplotspec()
    where = str([spec.rowspan.start, spec.colspan.start]) if spec else ""
    if bar := getattr(axes, "_colorbar", None):
        yield f"colorbar {said(**{name: axes._colorbar_info[name] for name in COLORBAR}, extend=bar.extend)}"
        yield f"  {of_axis(axes.yaxis if bar.orientation == 'vertical' else axes.xaxis)}"
        return
    spines = ",".join(name for name, spine in axes.spines.items() if spine.get_visible())
    look = {"face": unless(colour(axes.get_facecolor()), "#ffffff"), "aspect": unless(axes.get_aspect(), "auto")}
    look |= {"width": unless(number(axes.spines["left"].get_linewidth()), "0.6")}
    titles = []
    for side, title in (("", axes.title), ("left ", axes._left_title), ("right ", axes._right_title)):
        if title.get_text():
            pad = number(axes.titleOffsetTrans.to_values()[5] * 72 / axes.figure.dpi) if side else ""
            math = "" if title.get_parse_math() else "as it is"
            titles.append(f"{side}{title.get_text()!r} {of_text(title)} {said(pad=pad, math=math)}")
    hidden = "" if axes.get_visible() else "invisible"
    yield " ".join(
        filter(None, ["axes", where, hidden, said(**look, spines=unless(spines, "left,bottom")), *titles])
    ).rstrip()
    for axis in (axes.xaxis, axes.yaxis):
        yield f"  {of_axis(axis)}"
    yield from (f"  {line}" for line in grouped(axes, artists(axes)))
    if axes.get_legend():
        yield from (f"  {line}" for line in of_legend(axes.get_legend()))


def described(figure: Figure) -> list[str]:
    """All that is on a figure."""
    layout = figure.get_layout_engine()
    space = number(layout.get()["wspace"]) if layout else "none"
    lines = [f"figure {' x '.join(map(number, figure.get_size_inches()))} {said(space=unless(space, '0.02'))}".rstrip()]
    lines += [f"caption {figure.get_label()!r}"] if figure.get_label() else []
    lines += grouped(figure, figure.texts)
    lines += [line for legend in figure.legends for line in of_legend(legend)]
    return lines + [line for axes in figure.axes for line in of_axes(axes)]
