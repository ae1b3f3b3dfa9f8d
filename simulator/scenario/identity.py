"""All that decides the numbers of a setting: the one list of it, for keys of finished runs and for warnings."""

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from simulator.engine.events import NUMERICS
from simulator.plugins.identity import identity
from simulator.plugins.kinds import FILLED_IN
from simulator.scenario.scenario import Scenario

# The keys of a scenario that decide no number of any run. Every other key decides all of them: so does a new one, until
# it is put here.
DECIDES_NOTHING = ("name", "trials", "sweep", "points")  # trials: how many runs there are
OF_SCHEMES = ("schemes", "master", "masters")  # a setting meets only its own
APART = frozenset({*DECIDES_NOTHING, *OF_SCHEMES})
PLAIN = (str, int, float, list, tuple, type(None))


def decisive(scenario: Scenario, label: str, identify: Callable[[object], Any] = identity) -> dict[str, Any]:
    """All that decides the numbers of a scheme in a scenario without its sweep, trial by trial.

    It does not depend on how many trials there are, on other schemes and points, nor on names of scenarios and folders.

    Parameters
    ----------
    scenario, label
        The setting.
    identify
        The identity of a plug-in; an :class:`Identities` where there are many settings.

    Examples
    --------
    >>> from schemes import FastestK, Uncoded
    >>> from straggler_models import Constant
    >>> given = {"workers": 2, "jobs": 1, "stragglers": {"usual": Constant(1.0)}}
    >>> alone = Scenario(**given, schemes={"all": Uncoded(2)})
    >>> both = Scenario(**given, schemes={"one": FastestK(2, k=1), "all": Uncoded(2)}, trials=1, name="other")
    >>> decisive(alone, "all") == decisive(both, "all") != decisive(both, "one")
    True
    """
    scheme = scenario.schemes[label]
    others = [field.name for field in dataclasses.fields(scenario) if field.name not in APART]
    return {
        "numerics": NUMERICS,
        "label": label,
        "scheme": identify(scheme) | {name: getattr(scheme, name, None) for name in FILLED_IN},
        "rule": identify(scenario.rule_for(label)),
        **{name: _identified(getattr(scenario, name), identify) for name in others},
    }


def _identified(value: object, identify: Callable[[object], Any]) -> Any:
    """Plain values as they are; plug-ins, and mappings of labels to plug-ins, by what decides what these do."""
    if isinstance(value, dict):
        return {label: _identified(inner, identify) for label, inner in value.items()}
    return value if isinstance(value, PLAIN) else identify(value)


def setting_key(
    scenario: Scenario, label: str, *, detail: str, engine: str, identify: Callable[[object], Any] = identity
) -> str:
    """Hash of all that decides the numbers of a setting, and of what computes them and which of them are kept."""
    said = decisive(scenario, label, identify) | {"detail": detail, "engine": engine}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    """Convert what JSON does not know, in attributes of plug-ins from outside."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else pickle.dumps(value).hex()


class Identities:
    """Identities of plug-ins, each found out once: the points of a sweep share most of them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Any]] = {}  # with the plug-in, whose number is its own while it is there

    def __call__(self, plugin: object) -> Any:
        if id(plugin) not in self._known:
            self._known[id(plugin)] = plugin, identity(plugin)
        return self._known[id(plugin)][1]
