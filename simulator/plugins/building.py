"""Plug-ins made from plain values, and plain values made from plug-ins."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from simulator.errors import OUTSIDE, SHIPPED, Path_, Problem, did_you_mean, is_shipped, place_in, show, told
from simulator.plugins.fields import fields_of, is_input_path, unwrap
from simulator.plugins.kinds import NESTED, Table
from simulator.plugins.messages import at_parameter, problems_in

T = TypeVar("T")


def build(
    cls: type[T], given: Mapping[str, Any], path: Path_, folder: Path, filled_in: Mapping[str, Any] | None = None
) -> tuple[T | None, list[Problem]]:
    """Make a plug-in from plain values; what is wrong with them comes back as problems.

    A value None in ``filled_in`` is not known, because it is wrong itself: then only what is wrong with single values
    is a problem.
    """
    fields, filled_in = fields_of(cls), dict(filled_in or {})
    known = [name for name in fields if name not in filled_in]
    problems, values = [], {}
    for name, value in given.items():
        if fields and name not in known:
            keys = ", ".join(known) or "none"
            problems.append(Problem((*path, name), f"is not a key here (known: {keys}){did_you_mean(name, known)}"))
        else:
            is_path = name in fields and is_input_path(fields[name])
            nested = NESTED.get(unwrap(fields[name].annotation, [])[0]) if name in fields else None
            if is_path and isinstance(value, str) and value:
                values[name] = str((folder / value).resolve())
            elif nested is not None:
                values[name], found = from_values(value, (*path, name), nested, folder)
                problems += found
            else:
                values[name] = value
    if any(values[name] is None and given[name] is not None for name in values):
        return None, problems
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(vars(cls)["__abstractmethods__"]))
        return None, [*problems, Problem(path, f"the class {cls.__name__} must define {missing}")]
    unknown = {name for name, value in filled_in.items() if value is None}
    try:
        plugin = cls(**values, **filled_in)
    except ValidationError as error:
        return None, problems + [p for p in problems_in(error, fields, path) if p.path[-1] not in unknown]
    except (ValueError, TypeError) as error:  # a plug-in that is not a pydantic dataclass
        return None, [*problems, at_parameter(str(error), fields, path)]
    except Exception as error:
        parts = [value for value in values.values() if isinstance(value, tuple(NESTED))]
        if cls.__module__.split(".")[0] in SHIPPED and all(map(is_shipped, parts)):
            raise  # a fault of ours: its traceback is wanted
        return None, [*problems, Problem(path, f"can't be made: {told(error, place_in(error, OUTSIDE))}")]
    return (None if problems else plugin), problems


def from_values(
    given: object, path: Path_, table: Table, folder: Path, filled_in: Mapping[str, Any] | None = None
) -> tuple[Any, list[Problem]]:
    """Make the plug-in that a mapping with a ``kind`` describes; None if there are problems."""
    if not isinstance(given, dict):
        return None, [Problem(path, f"must be a mapping with a kind, got {show(given)}")]
    if "kind" not in given:
        kinds = ", ".join(sorted(table.shipped))
        return None, [Problem((*path, "kind"), f"must be given (one of {kinds}), got nothing")]
    try:
        cls = table.find(given["kind"])
    except ValueError as error:
        return None, [Problem((*path, "kind"), str(error))]
    known = fields_of(cls) or inspect.signature(cls).parameters
    filled_in = {name: value for name, value in (filled_in or {}).items() if name in known}
    return build(cls, {key: value for key, value in given.items() if key != "kind"}, path, folder, filled_in)
