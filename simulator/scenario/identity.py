"""All that decides the numbers of a setting: the one list of it, for keys of finished runs and for warnings."""

import dataclasses
import functools
import hashlib
import json
import pickle
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from schemes import Scheme
from simulator.engine.events import NUMERICS
from simulator.plugins.identity import identity
from simulator.plugins.kinds import FILLED_IN
from simulator.scenario.scenario import Scenario

# The keys of a scenario that decide no number of any run. Every other key decides all of them: so does a new one, until
# it is put here.
DECIDES_NOTHING = ("name", "trials", "sweep", "points")  # trials: how many runs there are
OF_SCHEMES = ("schemes", "master", "masters")  # a setting meets only its own
APART = frozenset({*DECIDES_NOTHING, *OF_SCHEMES})
PLAIN = frozenset({str, int, float, bool, type(None), list, tuple})


class Identities:
    """Hashes of what decides what plug-ins do, each found out once: the points of a sweep share most of them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, str]] = {}  # with the plug-in, whose number is its own while it is there

    def __call__(self, value: object) -> Any:
        """Plain values as they are; plug-ins, and mappings of labels to plug-ins, by what decides what these do."""
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if type(value) in PLAIN:
            return value
        if isinstance(value, dict):
            return {label: self(inner) for label, inner in sorted(value.items())}
        return self._known.setdefault(id(value), (value, _hashed(value)))[1]


def _hashed(plugin: object) -> str:
    said = identity(plugin)
    if isinstance(plugin, Scheme):
        said |= {name: getattr(plugin, name, None) for name in FILLED_IN}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    """Convert what JSON does not know, in attributes of plug-ins from outside."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else pickle.dumps(value).hex()


def decisive(scenario: Scenario, label: str, identify: Identities) -> tuple[Any, ...]:
    """All that decides the numbers of a scheme in a scenario without its sweep, trial by trial.

    It does not depend on how many trials there are, on other schemes and points, nor on names of scenarios and folders.

    Examples
    --------
    >>> from schemes import FastestK, Uncoded
    >>> from straggler_models import Constant
    >>> given = {"workers": 2, "jobs": 1, "stragglers": {"usual": Constant(1.0)}}
    >>> alone = Scenario(**given, schemes={"all": Uncoded(2)})
    >>> both = Scenario(**given, schemes={"one": FastestK(2, k=1), "all": Uncoded(2)}, trials=1, name="other")
    >>> of = Identities()
    >>> decisive(alone, "all", of) == decisive(both, "all", of) != decisive(both, "one", of)
    True
    """
    names, values_of = _others(type(scenario))  # type: ignore[arg-type]  # the class has a hash, its instances have none
    own = label, identify(scenario.schemes[label]), identify(scenario.rule_for(label))
    others = [value if type(value) in PLAIN else identify(value) for value in values_of(scenario)]
    return NUMERICS, *own, names, *others


@functools.cache
def _others(cls: type[Scenario]) -> tuple[str, Callable[[Scenario], tuple[object, ...]]]:
    """Names, and a function for the values, of what decides the numbers of every scheme."""
    names = [field.name for field in dataclasses.fields(cls) if field.name not in APART]
    return " ".join(names), attrgetter(*names)


def setting_key(scenario: Scenario, label: str, *, detail: str, engine: str, identify: Identities | None = None) -> str:
    """Hash of all that decides the numbers of a setting, and of what computes them and which of them are kept."""
    said = detail, engine, *decisive(scenario, label, identify or Identities())
    return hashlib.sha256(repr(said).encode()).hexdigest()
