"""Finding plug-ins by their kind, building them from plain values, and saying what is wrong with these."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemes import SCHEMES, Scheme
from schemes.assignment import ASSIGNMENTS, Assignment
from schemes.ordering import ORDERINGS, Ordering
from simulator.engine.master_rules import MASTER_RULES, MasterRule
from simulator.errors import OUTSIDE, SHIPPED, Path_, Problem, did_you_mean, is_shipped, place_in, show, told
from straggler_models import STRAGGLER_MODELS, StragglerModel
from workloads import WORKLOADS, Workload

T = TypeVar("T")


FILLED_IN = ("n_workers", "seed")  # parameters that schemes get from the scenario


class Table(NamedTuple):
    """The kinds of one family: those that ship with the simulator, and an entry-point group for others."""

    family: str
    base: type
    shipped: Mapping[str, type]
    group: str

    @property
    def filled_in(self) -> tuple[str, ...]:
        """Parameters that do not stand in a scenario."""
        return FILLED_IN if self.base is Scheme else ()

    def find(self, kind: object) -> type:
        """The class of a kind: shipped, from an installed package's entry points, or ``package.module:Class``."""
        if isinstance(kind, str) and kind in self.shipped:
            return self.shipped[kind]
        outside = {point.name: point for point in self._entry_points()}
        if isinstance(kind, str) and kind in outside:
            return self._checked(kind, lambda: outside[kind].load())
        if isinstance(kind, str) and self.group and ":" in kind:
            module, _, name = kind.partition(":")
            return self._checked(kind, lambda: getattr(importlib.import_module(module), name))
        known = sorted({*self.shipped, *outside})
        hint = did_you_mean(kind, known)
        more = " or package.module:Class" if self.group else ""
        raise ValueError(f"{show(kind)} is not one of {', '.join(known)}{more}{hint}")

    def _entry_points(self) -> Iterable[importlib.metadata.EntryPoint]:
        return importlib.metadata.entry_points(group=self.group) if self.group else ()

    def _checked(self, kind: str, load: Any) -> type:
        try:
            found = load()
        except (Exception, SystemExit) as error:  # whatever an outside package raises while it is imported
            place = place_in(error, {kind.partition(":")[0].partition(".")[0]})
            reason = " ".join(str(error).split()) or type(error).__name__
            if place:
                reason = f"{type(error).__name__}: {reason}, {place}"
            elif isinstance(error, ModuleNotFoundError):
                reason += "; is its folder on PYTHONPATH?"
            raise ValueError(f"must name a {self.family} that can be imported, got {kind} ({reason})") from None
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ValueError(f"must name a subclass of {self.base.__name__}, got {kind}")
        if found.__module__.partition(".")[0] not in SHIPPED:
            OUTSIDE.add(found.__module__.partition(".")[0])
        return found

    def known(self) -> dict[str, type]:
        """All kinds with their classes, those of installed packages too; one that can't be imported is left out."""
        classes = dict(self.shipped)
        for point in self._entry_points():
            with contextlib.suppress(ValueError):
                classes.setdefault(point.name, self._checked(point.name, point.load))
        return dict(sorted(classes.items()))

    def kind_of(self, plugin: object) -> str:
        """The kind under which a scenario finds the class of this plug-in."""
        cls = type(plugin)
        for kind, known in self.shipped.items():
            if known is cls:
                return kind
        for point in self._entry_points():
            if point.value == f"{cls.__module__}:{cls.__qualname__}":
                return point.name
        return f"{cls.__module__}:{cls.__qualname__}"


SCHEME_TABLE = Table("scheme", Scheme, SCHEMES, "stragglersim.schemes")


MODEL_TABLE = Table("straggler model", StragglerModel, STRAGGLER_MODELS, "stragglersim.straggler_models")


RULE_TABLE = Table("master rule", MasterRule, MASTER_RULES, "")


ASSIGNMENT_TABLE = Table("assignment", Assignment, ASSIGNMENTS, "stragglersim.assignments")


ORDERING_TABLE = Table("ordering", Ordering, ORDERINGS, "stragglersim.orderings")


WORKLOAD_TABLE = Table("workload", Workload, WORKLOADS, "stragglersim.workloads")


NESTED: dict[type, Table] = {
    Assignment: ASSIGNMENT_TABLE,
    Ordering: ORDERING_TABLE,
    Workload: WORKLOAD_TABLE,
}  # plug-ins of plug-ins


class Parameter(NamedTuple):
    """A key of a plug-in, for people."""

    name: str
    must_be: str
    default: str | None  # None: it has to be given
    meaning: str


def parameters(cls: type, filled_in: tuple[str, ...] = ()) -> list[Parameter]:
    """What a plug-in's keys are, without those that the scenario fills in."""
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


def fields_of(cls: type) -> dict[str, FieldInfo]:
    """The parameters of a pydantic dataclass: the fields that its constructor takes."""
    return {name: field for name, field in getattr(cls, "__pydantic_fields__", {}).items() if field.init is not False}


def build(
    cls: type[T],
    given: Mapping[str, Any],
    path: Path_,
    folder: Path,
    filled_in: Mapping[str, Any] | None = None,
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
            is_path = name in fields and _is_input_path(fields[name])
            nested = NESTED.get(_unwrap(fields[name].annotation, [])[0]) if name in fields else None
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
        unfinished: Any = cls
        missing = ", ".join(sorted(unfinished.__abstractmethods__))
        return None, [*problems, Problem(path, f"the class {cls.__name__} must define {missing}")]
    unknown = {name for name, value in filled_in.items() if value is None}
    try:
        plugin = cls(**values, **filled_in)
    except ValidationError as error:
        return None, problems + [p for p in explain(error, fields, path) if p.path[-1] not in unknown]
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
        kinds = ", ".join(table.shipped)
        return None, [Problem((*path, "kind"), f"must be given (one of {kinds}), got nothing")]
    try:
        cls = table.find(given["kind"])
    except ValueError as error:
        return None, [Problem((*path, "kind"), str(error))]
    known = fields_of(cls) or inspect.signature(cls).parameters
    filled_in = {name: value for name, value in (filled_in or {}).items() if name in known}
    return build(cls, {key: value for key, value in given.items() if key != "kind"}, path, folder, filled_in)


def as_values(plugin: object, table: Table) -> dict[str, Any]:
    """The mapping that describes a plug-in: the reverse of :func:`from_values`."""
    names = list(fields_of(type(plugin))) or list(vars(plugin))
    values: dict[str, Any] = {"kind": table.kind_of(plugin)}
    for name in names:
        value = getattr(plugin, name)
        nested = next((NESTED[base] for base in NESTED if isinstance(value, base)), None)
        if value is not None and name not in table.filled_in:
            values[name] = value if nested is None else as_values(value, nested)
    return values


def identity(plugin: object) -> dict[str, Any]:
    """All that decides what a plug-in does, as plain values: its class, its parameters, the content of its input files.

    Of a plug-in from outside, also the source of its class, because it may be edited between two runs. What that source
    imports is not followed.

    Examples
    --------
    >>> from straggler_models import Constant
    >>> identity(Constant(startup_s=1.0))["startup_s"]
    1.0
    """
    cls = type(plugin)
    fields = fields_of(cls)
    values: dict[str, Any] = {"class": f"{cls.__module__}:{cls.__qualname__}"}
    for name in fields or vars(plugin):
        value = getattr(plugin, name)
        if name in fields and _is_input_path(fields[name]) and value is not None:
            value = _content(value)
        elif isinstance(value, tuple(NESTED)):
            value = identity(value)
        values[name] = value
    if not is_shipped(plugin):
        families = (Scheme, StragglerModel, MasterRule, *NESTED)
        classes = [base for base in cls.__mro__ if issubclass(base, families)]
        outside = [base for base in classes if base.__module__.split(".")[0] not in SHIPPED]
        values["source"] = [_source(base) for base in outside]
    return values


def _is_input_path(field: FieldInfo) -> bool:
    return any(type(mark).__name__ == "BesideTheScenario" for mark in field.metadata)


def _content(path: str) -> str:
    """A hash of what a file holds; read again only if it has changed."""
    try:
        stat = Path(path).stat()
        return _hashed(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:  # the plug-in will say so when it reads it
        return error.strerror or str(error)


@functools.lru_cache(maxsize=256)
def _hashed(path: str, modified_ns: int, size: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _source(cls: type) -> str:
    """A hash of the file that defines a class; its name alone where there is none."""
    try:
        return _content(inspect.getfile(cls))
    except (OSError, TypeError):
        return cls.__qualname__


def explain(error: ValidationError, fields: Mapping[str, FieldInfo], path: Path_) -> list[Problem]:
    """What pydantic found, in our words."""
    problems = []
    for found in error.errors(include_url=False):
        place = (*path, *found["loc"])
        field = fields.get(str(found["loc"][0])) if found["loc"] else None
        kind, got = found["type"], show(found["input"])
        if kind == "value_error":
            problems.append(at_parameter(str(found["ctx"]["error"]), fields, place))
        elif kind.endswith("too_short"):
            problems.append(Problem(place, f"must not be empty, got {got}"))
        elif kind.startswith("missing"):
            # the key is not there to point at: point at what should hold it, and name it
            what = must_be(field) if field is not None and len(found["loc"]) == 1 else "a value"
            problems.append(Problem(place, f"must be given ({what}), got nothing"))
        elif field is not None and len(found["loc"]) == 1:
            hint = (
                " (infinity is written .inf)"
                if str(found["input"]).strip("+-") in ("inf", "infinity", "Infinity")
                else ""
            )
            problems.append(Problem(place, f"must be {_broken_rule(kind, field)}, got {got}{hint}"))
        else:
            message = found["msg"].replace("Input should be ", "must be ")
            message = message.replace("Extra inputs are not permitted", "must not be given")
            problems.append(Problem(place, f"{message}, got {got}"))
    return problems


def at_parameter(message: str, fields: Mapping[str, FieldInfo], path: Path_) -> Problem:
    """A complaint "<parameter> must be ..." stands at the key of that parameter."""
    name, _, rest = message.partition(" ")
    steps = name.split(".")  # of a nested plug-in: "assignment.path must ..."
    return Problem((*path, *steps), rest) if steps[0] in fields else Problem(path, message)


def must_be(field: FieldInfo) -> str:
    """What a parameter must be: its type and its range."""
    kind, bounds = _unwrap(field.annotation, list(field.metadata))
    noun = {int: "an integer", float: "a number", str: "text", bool: "true or false"}.get(kind)
    if kind in NESTED:
        family = NESTED[kind].family
        return f"{'an' if family[0] in 'aeiou' else 'a'} {family} (list {family}s)"
    if get_origin(kind) is Literal:
        noun = "one of " + ", ".join(str(choice) for choice in get_args(kind))
    limits = _range(bounds)
    return " ".join(part for part in (noun or "a list", "of" * limits.startswith("at least"), limits) if part)


def _broken_rule(kind: str, field: FieldInfo) -> str:
    """The range alone, if it is only that."""
    _, bounds = _unwrap(field.annotation, list(field.metadata))
    is_range = kind.startswith(("greater_than", "less_than")) and _range(bounds)
    return _range(bounds) if is_range else must_be(field) + (" and finite" if kind == "finite_number" else "")


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Look through Optional and Annotated."""
    while True:
        args = get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            metadata = [*metadata, *annotation.__metadata__]
            annotation = args[0]
        elif type(None) in args:
            annotation = next(arg for arg in args if arg is not type(None))
        else:
            break
    flat = [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
    return annotation, flat


def _range(bounds: list[Any]) -> str:
    least = next((bound.ge for bound in bounds if isinstance(bound, annotated_types.Ge)), None)
    most = next((bound.le for bound in bounds if isinstance(bound, annotated_types.Le)), None)
    above = next((bound.gt for bound in bounds if isinstance(bound, annotated_types.Gt)), None)
    if least is not None and most is not None:
        return f"between {least} and {most}"
    if least is not None:
        return f"at least {least}"
    if above is not None:
        return f"greater than {above}" + (f" and at most {most}" if most is not None else "")
    return ""
