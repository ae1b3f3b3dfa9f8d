"""Warnings of what is swept, or set by an option, and changes nothing."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from simulator.errors import Path_, show
from simulator.scenario.censored import censored
from simulator.scenario.dotted_keys import find, find_all, swept_together
from simulator.scenario.heavy_tails import heavy_tails
from simulator.scenario.identity import Identities, decisive
from simulator.scenario.plain import plain
from simulator.scenario.scenario import Scenario


def warnings(scenario: Scenario, overrides: Sequence[str] = ()) -> list[str]:
    """Say what is allowed and probably not meant; ``overrides`` are those with which the scenario was loaded."""
    said = [*_ruled_out(scenario), *_idle_entries(scenario), *_shadowed_options(scenario, overrides)]
    return said + censored(scenario) + heavy_tails(scenario)


def _ruled_out(scenario: Scenario) -> Iterator[str]:
    """Warn of swept keys of the master that schemes replace by one of their own."""
    for key in itertools.chain.from_iterable(map(swept_together, scenario.sweep)):
        if _is_of_master(key) and set(scenario.schemes) <= set(scenario.masters):
            yield f"sweep.{key}: changes nothing: every scheme has its own master (leave the entry out)"
        elif _is_of_master(key) and scenario.masters:
            of = ", ".join(scenario.masters)
            yield f"sweep.{key}: changes nothing for schemes with their own master: {of}"


def _is_of_master(key: str) -> bool:
    return key.split(".")[0] == "master"


def _idle_entries(scenario: Scenario) -> Iterator[str]:
    """Warn of entries of the sweep all of whose values give the same runs, whatever the other entries are."""
    lengths = [len(values) for values in scenario.sweep.values()]
    points = [point for _, point in scenario.points]
    identify = Identities()
    is_told = set(scenario.schemes) <= set(scenario.masters)  # of the master, by `_ruled_out`
    if math.prod(lengths) != len(points):  # points of another making
        return
    for place, (entry, values) in enumerate(scenario.sweep.items()):
        if len(values) == 1:
            yield f"sweep.{entry}: varies nothing: it has one value only, {show(values[0])}"
            continue
        if is_told and all(map(_is_of_master, swept_together(entry))):
            continue
        # points are in the order of itertools.product: the last entry varies fastest
        stride = math.prod(lengths[place + 1 :])
        firsts = (index for index in range(len(points)) if index // stride % len(values) == 0)
        groups = (points[first : first + len(values) * stride : stride] for first in firsts)
        if all(_give_the_same_runs(group, identify) for group in groups):
            yield f"sweep.{entry}: varies nothing: all its values give the same runs"


def _give_the_same_runs(group: Sequence[Scenario], identify: Identities) -> bool:
    """Compare points that differ in one entry of the sweep."""
    first = _runs_of(group[0], identify)
    return all(_runs_of(point, identify) == first for point in group[1:])


def _runs_of(scenario: Scenario, identify: Identities) -> tuple[Any, ...]:
    """All that decides which runs there are, and their numbers."""
    return scenario.trials, {label: decisive(scenario, label, identify) for label in scenario.schemes}


def _shadowed_options(scenario: Scenario, overrides: Sequence[str]) -> Iterator[str]:
    """Warn of options ``--set key=value`` whose place the sweep fills at every point."""
    data = {"network": {}} | plain(scenario)
    swept = {
        path: key
        for key in itertools.chain.from_iterable(map(swept_together, scenario.sweep))
        for path in _places(data, key)
    }
    for assignment in overrides:
        key = assignment.partition("=")[0].strip()
        for path in _places(data, key):
            above = next((swept[path[:end]] for end in range(1, len(path) + 1) if path[:end] in swept), None)
            if above is not None:
                yield f"--set {key}: changes nothing: shadowed by the sweep, which sets {above} at every point"


def _places(data: dict[str, Any], key: str) -> list[Path_]:
    try:
        return find_all(data, key) if "*" in key else [find(data, key)]
    except ValueError:  # a place that another option has replaced
        return []
