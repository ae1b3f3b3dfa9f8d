"""Text in figures: what is shown as it is, mathtext, wrapping, and parameters as the papers write them."""

import re
import textwrap
from functools import cache

from matplotlib import rcParams
from matplotlib.mathtext import MathTextParser

FORMULA = re.compile(r"(?<!\\)\$.*?(?<!\\)\$")
GREEK = {"lam": r"\lambda", "mu": r"\mu"}
STAND_IN = 0xE000  # characters for private use, in place of formulas while text is wrapped


@cache
def has_formulas(text: str) -> bool:
    """Say whether what is between dollars, of which there is an even number, can be read as mathtext.

    >>> [has_formulas(text) for text in (r"$\\lambda$-GC", "5 $", "$ and $ are $$", r"$\\frac{$")]
    [True, False, False, False]
    """
    if "$" not in text:
        return False
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def literal(text: str) -> str:
    """Text as matplotlib is to be given it: a dollar is a dollar unless there are formulas, and no underscore hides it.

    >>> literal("5 $"), literal("$W$ = 3")
    ('5 \\\\$', '$W$ = 3')
    """
    if not has_formulas(text):
        text = re.sub(r"(?<!\\)\$", r"\\$", text)
    if rcParams["text.usetex"]:
        text = for_tex(text)
    return f" {text}" if text.startswith("_") else text


def for_tex(text: str) -> str:
    """Text for LaTeX (``text.usetex``), in which some characters that are plain elsewhere mean something.

    >>> for_tex("95 % of p_slow, $W_0$")
    '95 \\\\% of p\\\\_slow, $W_0$'
    """
    parts = re.split(f"({FORMULA.pattern})", text)
    return "".join(part if place % 2 else re.sub(r"(?<!\\)([%#&_])", r"\\\1", part) for place, part in enumerate(parts))


def length(text: str) -> int:
    """Estimate how many letters wide a text is; a command of mathtext is one.

    >>> length(r"$\\lambda_{12}$-GC")
    6
    """
    return len(FORMULA.sub(lambda formula: "x" * _letters(formula[0]), text.replace(r"\$", "x")))


def _letters(formula: str) -> int:
    return len(re.sub(r"[{}$^_\s]", "", re.sub(r"\\[A-Za-z]+", "x", formula)))


def wrapped(label: str, width: int) -> str:
    """A label of any length; wrapped, not cut, so that two of them stay different, and never inside of a formula."""
    text = literal(label)
    formulas = FORMULA.findall(text) if has_formulas(text) else []
    for place, formula in enumerate(formulas):
        text = text.replace(formula, chr(STAND_IN + place) * max(1, min(width, _letters(formula))), 1)
    text = "\n".join(textwrap.wrap(text, width) or [text])
    for place, formula in enumerate(formulas):
        stand_in = chr(STAND_IN + place)
        text = re.sub(f"{stand_in}[{stand_in}\n]*", lambda _, formula=formula: formula, text, count=1)  # type: ignore[misc]
    return f" {text}" if text.startswith("_") else text


def said(value: object) -> str:
    """A swept value; a whole mapping, which the tables hold as text, without its punctuation."""
    if value != value:  # NaN: null in the scenario
        return "none"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[{}']", "", text).removeprefix("kind: ")


def parameter(name: str) -> str:
    """A parameter as the papers write it.

    >>> parameter("lam"), parameter("W"), parameter("p_slow")
    ('$\\\\lambda$', '$W$', 'p_slow')
    """
    letter = GREEK.get(name, name if len(name) == 1 and name.isalpha() else "")
    return f"${letter}$" if letter else name


def key_name(key: str) -> str:
    """A dotted key, or the letter that the papers have for it.

    >>> key_name("schemes.M-SGC.lam"), key_name("master.mu"), key_name("master.time_s")
    ('$\\\\lambda$ of M-SGC', '$\\\\mu$', 'master.time_s')
    """
    path, _, name = key.rpartition(".")
    if parameter(name) == name:
        return key
    owner = path.removeprefix("schemes.").removeprefix("master")
    return f"{parameter(name)} of {owner}" if owner else parameter(name)


def key_label(key: str, width: int) -> str:
    """A dotted key as the label of an axis, wrapped at its dots."""
    name = key_name(key)
    lines = textwrap.wrap(name.replace(".", ". "), width, break_long_words=False)
    is_time = key.endswith("_s") and not key.endswith("_per_s")
    return literal("\n".join(lines).replace(". ", ".")) + (" (seconds)" if is_time else "")
