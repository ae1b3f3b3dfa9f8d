"""What is swept, or set by an option, and changes nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from simulator.document import Path_, find, find_all, show, swept_together
from simulator.plugins import fields_of, identity, is_shipped
from simulator.training import Training

if TYPE_CHECKING:
    from simulator.scenario import Scenario


def ruled_out(scenario: Scenario) -> Iterator[str]:
    """Warn of swept keys of the master that schemes replace by one of their own."""
    for key in itertools.chain.from_iterable(map(swept_together, scenario.sweep)):
        if _is_of_master(key) and set(scenario.schemes) <= set(scenario.masters):
            yield f"sweep.{key}: changes nothing: all schemes have a master of their own"
        elif _is_of_master(key) and scenario.masters:
            of = ", ".join(scenario.masters)
            yield f"sweep.{key}: changes nothing for scheme(s) {of}, which have a master of their own"


def _is_of_master(key: str) -> bool:
    return key.split(".")[0] == "master"


def idle_entries(scenario: Scenario) -> Iterator[str]:
    """Warn of entries of the sweep all of whose values give the same runs, whatever the other entries are."""
    lengths = [len(values) for values in scenario.sweep.values()]
    points = [point for _, point in scenario.points]
    is_told = set(scenario.schemes) <= set(scenario.masters)  # of the master, by `ruled_out`
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
        firsts = (index - index // stride % lengths[place] * stride for index in range(len(points)))
        if all(_runs_as(point, points[first]) for point, first in zip(points, firsts, strict=True)):
            yield f"sweep.{entry}: varies nothing: all its values give the same runs"


def _runs_as(one: Scenario, other: Scenario) -> bool:
    return one is other or _simulated(one) == _simulated(other)


def _simulated(scenario: Scenario) -> tuple[Any, ...]:
    """All that decides the numbers of a run."""
    return (
        *(scenario.seed, scenario.trials, scenario.workers, scenario.jobs, scenario.models),
        *(scenario.leftover, scenario.round_overhead_s, scenario.network),
        {label: _comparable(model) for label, model in scenario.stragglers.items()},
        {label: _comparable(scheme) for label, scheme in scenario.schemes.items()},
        {label: scenario.rule_for(label) for label in scenario.schemes},
        scenario.training
        and [getattr(scenario.training, key) for key in fields_of(Training) if key != "workload"]
        + [_comparable(scenario.training.workload)],
    )


def _comparable(plugin: object) -> object:
    """The plug-in; of one from outside, which need not know when it equals another, all that decides what it does."""
    return plugin if is_shipped(plugin) else identity(plugin)


def shadowed_options(scenario: Scenario, overrides: Sequence[str]) -> Iterator[str]:
    """Warn of options ``--set key=value`` whose place the sweep fills at every point."""
    data = {"network": {}} | scenario.as_dict()
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
