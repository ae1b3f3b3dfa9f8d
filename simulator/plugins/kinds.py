"""The families of plug-ins, and the class of a kind: shipped, from an installed package, or `package.module:Class`."""

import contextlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from schemes import SCHEMES, Scheme
from schemes.assignment import ASSIGNMENTS, Assignment
from schemes.ordering import ORDERINGS, Ordering
from simulator.engine.master_rules import MASTER_RULES, MasterRule
from simulator.errors import OUTSIDE, SHIPPED, did_you_mean, place_in, show
from simulator.plugins.fields import fields_of
from straggler_models import STRAGGLER_MODELS, StragglerModel
from workloads import WORKLOADS, Workload

FILLED_IN = ("n_workers", "seed", "worker_speeds")  # parameters that schemes get from the scenario


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
# plug-ins of plug-ins
NESTED = {table.base: table for table in (ASSIGNMENT_TABLE, ORDERING_TABLE, WORKLOAD_TABLE, MODEL_TABLE, SCHEME_TABLE)}


def as_values(plugin: object, table: Table) -> dict[str, Any]:
    """The mapping that describes a plug-in: the reverse of :func:`from_values`."""
    values: dict[str, Any] = {"kind": table.kind_of(plugin)}
    for name in fields_of(type(plugin)) or vars(plugin):
        value = getattr(plugin, name)
        if value is not None and name not in table.filled_in:
            values[name] = nested_values(value)
    return values


def nested_values(value: Any) -> Any:
    """A parameter as a scenario says it: one that is a plug-in itself, such as an assignment, as a mapping.

    Examples
    --------
    >>> from schemes.assignment import Cyclic
    >>> nested_values(Cyclic(chunks_per_worker=3)), nested_values(5)
    ({'kind': 'cyclic', 'chunks_per_worker': 3}, 5)
    """
    if isinstance(value, dict):
        return {label: nested_values(one) for label, one in value.items()}
    return next((as_values(value, table) for base, table in NESTED.items() if isinstance(value, base)), value)
