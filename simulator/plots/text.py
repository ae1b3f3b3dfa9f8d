"""Text in figures: what is shown as it is, mathtext, wrapping, and parameters as the papers write them."""

import re
import textwrap
from functools import cache

import numpy as np
from matplotlib import rcParams
from matplotlib.mathtext import MathTextParser

FORMULA = re.compile(r"(?<!\\)\$.*?(?<!\\)\$")
LETTERS = {"lam": r"\lambda", "mu": r"\mu", "blocks": r"\ell", "chunks_per_worker": r"\delta"}
WORDS = {
    "time_s": "deadline",
    "startup_s": "start-up",
    "count": "number",
    "latency_s": "network latency",
    "gradient_bytes": "gradient size",
    "worker_bytes_per_s": "bandwidth of a worker",
    "ingress_bytes_per_s": "bandwidth of the master",
    "downlink_bytes_per_s": "downlink of a worker",
    "egress_bytes_per_s": "outgoing bandwidth of the master",
}
STATES = {  # of an owner, which it is or is not, or which a value completes
    "shuffled": "shuffled",
    "relaunch": "relaunched",
    "as_published": "as published",
    "adds_to": "added to",
}
UNITS = {
    "_bytes_per_s": ("bytes per second", "B/s"),
    "_bytes": ("bytes", "B"),
    "_per_s": ("per second", "/s"),
    "_s": ("seconds", "s"),
}
OWNED = re.compile(r"(?:schemes|stragglers)\.(.+?)(?:\.(?:assignment|ordering|master))?\.(\w+)")
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
        MathTextParser("path").parse(text.replace("\n", " "))  # it reads lines one by one in a figure
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
    """A label of any length; wrapped, not cut, so that two of them stay different, and never inside of a formula.

    Of so many lines, none is longer than it must be.
    """
    text = literal(label)
    formulas = FORMULA.findall(text) if has_formulas(text) else []
    for place, formula in enumerate(formulas):
        text = text.replace(formula, chr(STAND_IN + place) * max(1, min(width, _letters(formula))), 1)
    lines = textwrap.wrap(text, width) or [text]
    for narrower in range(width - 1, max(map(len, text.split()), default=width) - 1, -1):
        if len(fewer := textwrap.wrap(text, narrower)) > len(lines):
            break
        lines = fewer
    text = "\n".join(lines)
    for place, formula in enumerate(formulas):
        stand_in = chr(STAND_IN + place)
        text = re.sub(f"{stand_in}[{stand_in}\n]*", lambda _, formula=formula: formula, text, count=1)  # type: ignore[misc]
    return f" {text}" if text.startswith("_") else text


def said(value: object) -> str:
    """A swept value; a whole mapping, which the tables hold as text, without its punctuation."""
    if value != value:  # NaN: null in the scenario
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[{}']", "", text).removeprefix("kind: ")


def units(key: str) -> tuple[str, str]:
    """The unit of a parameter, in full and short; nothing if it has none."""
    return next((unit for ending, unit in UNITS.items() if key.endswith(ending)), ("", ""))


def parameter(name: str) -> str:
    """A parameter as the papers write it, or in words.

    >>> parameter("lam"), parameter("W"), parameter("p_slow"), parameter("wait_for")
    ('$\\\\lambda$', '$W$', 'p_slow', 'wait for')
    """
    if name in STATES:
        return STATES[name]
    letter = LETTERS.get(name, name if len(name) == 1 and name.isalpha() else "")
    if letter or name in WORDS:
        return f"${letter}$" if letter else WORDS[name]
    name = re.sub(f"({'|'.join(UNITS)})$", "", name)
    return name if re.match("[a-z]_", name) else name.replace("_", " ")


def key_name(key: str) -> str:
    """A dotted key in words, with the letter that the papers have for it.

    >>> key_name("schemes.M-SGC.lam"), key_name("stragglers.racks.shuffled"), key_name("master.time_s")
    ('$\\\\lambda$ of M-SGC', 'racks shuffled', 'deadline')
    """
    path = key.removesuffix(".kind")  # whose value says what it is
    owner, name = found.groups() if (found := OWNED.fullmatch(path)) else ("*", path.rpartition(".")[2])
    if owner == "*":
        return parameter(name)
    return f"{owner} {parameter(name)}" if name in STATES else f"{parameter(name)} of {owner}"


def setting(key: str, text: str, equals: str = " = ") -> str:
    """A swept key with what is said of its value.

    >>> setting("stragglers.racks.size", "3"), setting("stragglers.racks.shuffled", "no"), setting("shuffled", "yes")
    ('size of racks = 3', 'racks not shuffled', 'shuffled')
    >>> setting("stragglers.delays.adds_to", "message_s")
    'delays added to message_s'
    """
    name, state = key_name(key), STATES.get(key.rpartition(".")[2])
    if state is None:
        return f"{name}{equals}{text}"
    if text not in ("yes", "no"):
        return f"{name} {text}"
    return name if text == "yes" else f"{name.removesuffix(state)}not {state}"


def key_label(key: str, width: int) -> str:
    """A dotted key as the label of an axis, with its unit, wrapped."""
    unit, _ = units(key)
    return wrapped(key_name(key) + f" ({unit})" * bool(unit), width)
