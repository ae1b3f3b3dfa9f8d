"""Plug-ins made from plain values, and plain values made from plug-ins."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from simulator.errors import OUTSIDE, SHIPPED, Path_, Problem, did_you_mean, is_shipped, place_in, show, told
from simulator.plugins.fields import fields_of, is_input_path, is_of_each, plugin_in
from simulator.plugins.kinds import NESTED, Table
from simulator.plugins.messages import at_parameter, problems_in
from straggler_models import StragglerModel

T = TypeVar("T")
MOST_TOLD = 20  # unknown keys of one mapping


def build(
    cls: type[T],
    given: Mapping[str, Any],
    path: Path_,
    folder: Path,
    filled_in: Mapping[str, Any] | None = None,
    *,
    of_each: bool = False,
) -> tuple[T | None, list[Problem]]:
    """Make a plug-in from plain values; what is wrong with them comes back as problems.

    A value None in ``filled_in`` is not known, because it is wrong itself: then only what is wrong with single values
    is a problem. With ``of_each`` it is a model of which any number may be each worker's own.
    """
    fields, filled_in = fields_of(cls), dict(filled_in or {})
    known = [name for name in fields if name not in filled_in]
    problems, values = unknown_keys(given, known, path, "here") if fields else [], {}
    for name, value in given.items():
        if name in known or not fields:
            field = fields.get(name)
            values[name], found = _parameter(value, field, (*path, name), folder, filled_in) if field else (value, [])
            problems += found
    if any(values[name] is None and given[name] is not None for name in values):
        return None, problems
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(vars(cls)["__abstractmethods__"]))
        return None, [*problems, Problem(path, f"the class {cls.__name__} must define {missing}")]
    unknown = {name for name, value in filled_in.items() if value is None}
    try:
        make = cls.each if of_each and issubclass(cls, StragglerModel) else cls
        plugin = make(**values, **filled_in)
    except ValidationError as error:
        return None, problems + [p for p in problems_in(error, fields, path) if p.path[-1] not in unknown]
    except (ValueError, TypeError) as error:  # a plug-in that is not a pydantic dataclass
        return None, [*problems, at_parameter(str(error), fields, path)]
    except Exception as error:
        parts = [value for value in values.values() if isinstance(value, tuple(NESTED))]
        if cls.__module__.split(".")[0] in SHIPPED and all(map(is_shipped, parts)):
            raise  # a fault of ours: its traceback is wanted
        return None, [*problems, Problem(path, f"cannot be made: {told(error, place_in(error, OUTSIDE))}")]
    return (None if problems else plugin), problems


def _parameter(
    value: Any, field: FieldInfo, path: Path_, folder: Path, filled_in: Mapping[str, Any]
) -> tuple[Any, list[Problem]]:
    """A parameter as a plug-in takes it: paths found, and plug-ins in it made; None if there are problems."""
    if is_input_path(field) and isinstance(value, str) and value:
        return _beside(folder, value, path)
    base, by_label = plugin_in(field)
    table = NESTED.get(base)
    if table is None or (by_label and not isinstance(value, dict)):
        return value, []
    if not by_label:
        return from_values(value, path, table, folder, of_each=is_of_each(field))
    made = {label: from_values(one, (*path, label), table, folder, filled_in) for label, one in value.items()}
    problems = [problem for _, found in made.values() for problem in found]
    return None if problems else {label: plugin for label, (plugin, _) in made.items()}, problems


def unknown_keys(given: Mapping[str, Any], known: list[str], path: Path_, where: str) -> list[Problem]:
    """Complain of keys that are not known; of very many, one by one of the first only."""
    keys, unknown = ", ".join(known) or "none", [name for name in given if name not in known]
    problems = [
        Problem((*path, name), f"is not a key {where} (known: {keys}){did_you_mean(name, known)}")
        for name in unknown[:MOST_TOLD]
    ]
    if len(unknown) > MOST_TOLD:
        problems.append(
            Problem((*path, unknown[MOST_TOLD]), f"and {len(unknown) - MOST_TOLD - 1} more are not keys {where}")
        )
    return problems


def _beside(folder: Path, name: str, path: Path_) -> tuple[str | None, list[Problem]]:
    """A path beside the scenario: what is there must have an end."""
    try:
        place = (folder / name).resolve()
        if place.exists() and not (place.is_file() or place.is_dir()):
            return None, [Problem(path, f"must name a regular file, got {place}")]
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a zero byte, a circle of links
        return None, [Problem(path, f"must name a readable file, got {show(name)} ({error})")]
    return str(place), []


def from_values(
    given: object,
    path: Path_,
    table: Table,
    folder: Path,
    filled_in: Mapping[str, Any] | None = None,
    *,
    of_each: bool = False,
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
    values = {key: value for key, value in given.items() if key != "kind"}
    return build(cls, values, path, folder, filled_in, of_each=of_each)
