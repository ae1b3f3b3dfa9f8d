"""Figures as they may stand in a page: nothing in them runs, loads or styles anything else."""

import re
from xml.etree import ElementTree

from markupsafe import Markup, escape

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
ELEMENTS = {
    "svg",
    "g",
    "defs",
    "path",
    "clipPath",
    "rect",
    "circle",
    "ellipse",
    "line",
    "polyline",
    "polygon",
    "use",
    "image",
} | {"text", "tspan", "linearGradient", "radialGradient", "stop", "pattern"}
ATTRIBUTES = (
    {"id", "d", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "points"}
    | {"viewBox", "preserveAspectRatio", "offset", "gradientUnits", "gradientTransform", "patternUnits", "clip-path"}
    | {"clipPathUnits", "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "opacity"}
    | {"stroke-dasharray", "stroke-linecap", "stroke-linejoin", "font-size", "font-family", "text-anchor"}
)
PROPERTIES = (
    {"fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity"}
    | {"stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "stop-color", "stop-opacity"}
    | {"font", "font-size", "font-family", "font-style", "font-weight", "text-anchor", "image-rendering"}
)
REFERENCE = re.compile(r"url\(\s*['\"]?#([^'\")\s]+)['\"]?\s*\)")
IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*")


class NoSVGError(ValueError):
    """A file that is no figure."""


def inlined(text: str, prefix: str, title: str) -> Markup:
    """An SVG as a part of a page, with ids of its own, and a title that is read out.

    Raises
    ------
    NoSVGError
        If it is none.

    Examples
    --------
    >>> text = '<svg xmlns="http://www.w3.org/2000/svg"><script>no()</script><g id="a" onload="no()"/></svg>'
    >>> print(inlined(text, "f1", "A & B"))
    <svg role="img" aria-labelledby="f1-title"><title id="f1-title">A &amp; B</title><g id="f1-a"/></svg>
    """
    if "<!ENTITY" in text:
        raise NoSVGError("must have no entities of its own")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise NoSVGError(f"must be XML, got {error}") from None
    if root.tag != f"{SVG}svg":
        raise NoSVGError("must be an SVG")
    inside = "".join(_written(child, prefix) for child in root)
    attributes = _attributes(root, prefix, without=("width", "height", "id"))
    title = escape(title)
    return Markup(
        f'<svg role="img" aria-labelledby="{prefix}-title"{attributes}><title id="{prefix}-title">{title}</title>'
        f"{inside}</svg>"
    )


def _written(element: ElementTree.Element, prefix: str) -> str:
    """An element and what is in it, as far as it only draws."""
    name = str(element.tag).removeprefix(SVG)
    if name not in ELEMENTS or name == "svg":
        return ""
    attributes = _attributes(element, prefix)
    inside = str(escape(element.text or "")) if name in ("text", "tspan") else ""
    for child in element:
        inside += _written(child, prefix)
        inside += str(escape(child.tail or "")) if name in ("text", "tspan") else ""
    return f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"


def _attributes(element: ElementTree.Element, prefix: str, without: tuple[str, ...] = ()) -> str:
    kept = {}
    for name, value in element.attrib.items():
        if name in (f"{XLINK}href", "href"):
            if value.startswith("#"):
                kept["href"] = f"#{prefix}-{value[1:]}"
            elif element.tag == f"{SVG}image" and IMAGE.fullmatch(value):
                kept["href"] = "".join(value.split())
        elif name == "id":
            kept[name] = f"{prefix}-{value}"
        elif name == "style":
            kept[name] = _style(value, prefix)
        elif name in ATTRIBUTES and (plain := _plain(value, prefix)) is not None:
            kept[name] = plain
    return "".join(f' {name}="{escape(value)}"' for name, value in kept.items() if value and name not in without)


def _style(text: str, prefix: str) -> str:
    kept = []
    for declaration in text.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name in PROPERTIES and (plain := _plain(value, prefix)) is not None:
            kept.append(f"{name}:{plain}")
    return ";".join(kept)


def _plain(value: str, prefix: str) -> str | None:
    """A value with the ids of this figure; None if it names anything outside of it."""
    own = REFERENCE.sub("", value)
    if "url" in own.lower() or "\\" in own or "expression" in own.lower() or "/*" in own:
        return None
    return REFERENCE.sub(lambda found: f"url(#{prefix}-{found[1]})", value)
