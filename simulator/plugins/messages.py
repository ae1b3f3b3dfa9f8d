"""Descriptions, in our words, of what a parameter must be and what is wrong with a value."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typing_extensions import is_typeddict

from simulator.errors import Path_, Problem, show
from simulator.parameters import complaints_of
from simulator.plugins.fields import fields_of, plugin_in, unwrap


class Parameter(NamedTuple):
    """A key of a plug-in, for people."""

    name: str
    must_be: str
    default: str | None  # None: it has to be given
    meaning: str


def parameters(cls: type, filled_in: tuple[str, ...] = ()) -> list[Parameter]:
    """List a plug-in's keys, without those that the scenario fills in."""
    return [
        Parameter(
            name,
            must_be(field),
            None if field.default in (PydanticUndefined, None) else show(field.default),
            _meaning(cls, name) + (" (optional)" if field.default is None else ""),
        )
        for name, field in fields_of(cls).items()
        if name not in filled_in
    ]


def _meaning(cls: type, name: str) -> str:
    """The string below the parameter, in the class or in the one that it inherits it from."""
    inherited = (fields_of(base).get(name) for base in cls.__mro__)
    said = (field.description for field in inherited if field is not None and field.description)
    return " ".join(next(said, "").split())


def problems_in(error: ValidationError, fields: Mapping[str, FieldInfo], path: Path_) -> list[Problem]:
    """Put what pydantic found in our words."""
    problems = []
    for found in error.errors(include_url=False):
        field = fields.get(str(found["loc"][0])) if found["loc"] else None
        # of a mapping of one of several kinds, pydantic puts the kind into the place
        inside = found["loc"][2:] if field is not None and field.discriminator else found["loc"][1:]
        place = (*path, *found["loc"][:1], *inside)
        kind, got = found["type"], show(found["input"])
        if kind == "value_error":
            problems += [at_parameter(said, fields, place) for said in complaints_of(found["ctx"]["error"])]
        elif kind.endswith("too_short"):
            problems.append(Problem(place, f"must not be empty, got {got}"))
        elif kind.startswith("missing"):
            # the key is not there to point at: point at what should hold it, and name it
            what = must_be(field) if field is not None and len(found["loc"]) == 1 else "a value"
            problems.append(Problem(place, f"must be given ({what}), got nothing"))
        elif field is not None and len(found["loc"]) == 1:
            is_infinity = str(found["input"]).strip("+-") in ("inf", "infinity", "Infinity")
            hint = " (infinity is written .inf)" if is_infinity else ""
            problems.append(Problem(place, f"must be {_broken_rule(kind, field)}, got {got}{hint}"))
        else:
            message = found["msg"].replace("Input should be ", "must be ")
            message = message.replace("Extra inputs are not permitted", "must not be given")
            problems.append(Problem(place, f"{message}, got {got}"))
    return problems


def at_parameter(message: str, fields: Mapping[str, FieldInfo], path: Path_) -> Problem:
    """A complaint "<parameter> must be ..." stands at the key of that parameter."""
    name, _, rest = message.partition(" ")
    # of a nested plug-in, and of an entry of a list: "assignment.path must ...", "members.0.1 must ..."
    steps = [int(step) if step.isdecimal() else step for step in name.split(".")]
    return Problem((*path, *steps), rest) if steps[0] in fields else Problem(path, message)


def must_be(field: FieldInfo) -> str:
    """Say what a parameter must be: its type and its range."""
    kind, bounds = unwrap(field.annotation, list(field.metadata))
    noun = {int: "an integer", float: "a number", str: "text", bool: "true or false"}.get(kind)
    base, by_label = plugin_in(field)
    if inspect.isabstract(base):  # a plug-in of a plug-in, or some
        family = base.__name__.removeprefix("Straggler").lower()
        article = "an" if family[0] in "aeiou" else "a"
        return f"{f'{family}s by label' if by_label else f'{article} {family}'} (list {family}s)"
    if isinstance(field.discriminator, str):  # a mapping whose entry of that name says which one
        name = field.discriminator
        choices = [get_args(get_type_hints(each)[name])[0] for each in get_args(kind)]
        noun = f"a mapping with {name}: {', '.join(choices[:-1])} or {choices[-1]}"
    if is_typeddict(kind):
        noun = "a mapping with " + ", ".join(get_type_hints(kind))
    if get_origin(kind) is Literal:
        noun = "one of " + ", ".join(str(choice) for choice in get_args(kind))
    limits = _range(bounds)
    return " ".join(part for part in (noun or "a list", "of" * limits.startswith("at least"), limits) if part)


def _broken_rule(kind: str, field: FieldInfo) -> str:
    """The range alone, if it is only that."""
    _, bounds = unwrap(field.annotation, list(field.metadata))
    is_range = kind.startswith(("greater_than", "less_than")) and _range(bounds)
    return _range(bounds) if is_range else must_be(field) + (" and finite" if kind == "finite_number" else "")


def _range(bounds: list[Any]) -> str:
    limits = {name: getattr(bound, name) for bound in bounds for name in ("ge", "le", "gt") if hasattr(bound, name)}
    least, most, above = limits.get("ge"), limits.get("le"), limits.get("gt")
    if least is not None and most is not None:
        return f"between {least} and {most}"
    if least is not None:
        return f"at least {least}"
    if above is not None:
        return f"greater than {above}" + (f" and at most {most}" if most is not None else "")
    return ""
