"""Points of a sweep: each combination of its values as a scenario, which shares with others what does not differ."""

import copy
import dataclasses
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from simulator.errors import Path_, Problem, show
from simulator.scenario.dotted_keys import find_all, replaced, swept_together
from simulator.scenario.limits import MOST_LINES, MOST_POINTS
from simulator.scenario.proportions import of_numbers
from simulator.scenario.ranges import values_of
from simulator.scenario.scenario import Scenario, checks

Points = list[tuple[dict[str, Any], Scenario]]  # swept values and scenario of each
FILLED_IN_FROM = ("workers", "seed")  # keys of the file that schemes are made of too


class Maker(Protocol):
    """What makes scenarios, and parts of them, from plain values; None if there are problems."""

    def scenario(self, data: dict[str, Any]) -> tuple[Scenario | None, list[Problem]]:
        """Make the whole."""

    def part(self, data: dict[str, Any], field: str, label: str | None) -> tuple[Any, list[Problem]]:
        """Make one field of a scenario, or one label of it."""


class Swept(NamedTuple):
    """An entry of a sweep."""

    places: dict[str, list[Path_]]  # that each of its keys means
    values: list[Any]  # of several keys: lists of as many values


def entries_of(data: dict[str, Any], sweep: object) -> tuple[dict[str, Swept], list[Problem]]:
    """Return the entries of a sweep, with its ranges as lists."""
    if sweep is None:
        return {}, []
    if not isinstance(sweep, dict):
        return {}, [Problem(("sweep",), f"must be a mapping of dotted keys to lists of values, got {show(sweep)}")]
    entries: dict[str, Swept] = {}
    problems: list[Problem] = []
    n_points = 1
    for entry, given in sweep.items():
        if n_points > MOST_POINTS:
            break
        try:
            places = {key: find_all(data, key) for key in swept_together(entry)}
            values = values_of(given)
            n_keys = len(places)
            wrong = [value for value in values if n_keys > 1 and not (isinstance(value, list) and len(value) == n_keys)]
            if wrong:
                raise ValueError(f"must be a list of lists of {n_keys} values, got {show(wrong[0])}")
            n_points *= len(values)
            if n_points > MOST_POINTS:
                raise ValueError(f"must leave at most {MOST_POINTS} points in all, got {n_points} with this entry")
            entries[entry] = Swept(places, values)
        except ValueError as error:
            problems.append(Problem(("sweep", entry), str(error)))
    return entries, problems


def points_of(
    data: dict[str, Any], entries: Mapping[str, Swept], maker: Maker, first: Scenario | None
) -> tuple[Points, list[Problem]]:
    """Every combination of swept values, each as a scenario of its own; what is not swept is that of ``first``."""
    points: Points = []
    problems: list[Problem] = []
    seen: set[Problem] = set()  # each is told at the first point that has it
    siblings = _Siblings(data, entries, maker, first)
    keys = [key for swept in entries.values() for key in swept.places]
    rows = [
        swept.values if len(swept.places) > 1 else [[value] for value in swept.values] for swept in entries.values()
    ]
    every = itertools.product(*rows)
    for combination, place in zip(every, itertools.product(*(range(len(values)) for values in rows)), strict=True):
        chosen = dict(zip(keys, itertools.chain.from_iterable(combination), strict=True))
        found: list[Problem] = []
        scenario = siblings.at(place, chosen)
        if scenario is None:
            scenario, found = maker.scenario(_varied(data, entries, chosen))
            if scenario is not None:
                scenario = siblings.learn(place, chosen, scenario)
        if scenario is not None:
            points.append((chosen, scenario))
        for problem in found:
            if problem not in seen:
                seen.add(problem)
                at = ", ".join(f"{key} = {show(value)}" for key, value in chosen.items())
                entry = _entry_at_fault(problem.path, {entry: swept.places for entry, swept in entries.items()})
                problems.append(Problem(("sweep", entry), f"at {at}: {problem}"))
        if len(problems) > MOST_LINES:
            break
    return points, problems


def _varied(data: dict[str, Any], entries: Mapping[str, Swept], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The data at a point of the sweep."""
    for key, paths in itertools.chain.from_iterable(swept.places.items() for swept in entries.values()):
        for path in paths:
            data = replaced(data, path, copy.deepcopy(chosen[key]))
    return data


class _Part(NamedTuple):
    """A field of a scenario, or one label of it, that differs between points."""

    field: str
    label: str | None
    numbers_in: Callable[[tuple[int, ...]], object]  # a point's, of those entries of the sweep that decide the part
    known: dict[object, Any]  # by these numbers


class _Siblings:
    """Scenarios at the points of a sweep, which share all that is made of the same values and has been checked."""

    def __init__(
        self, data: dict[str, Any], entries: Mapping[str, Swept], maker: Maker, first: Scenario | None
    ) -> None:
        self._data, self._entries, self._maker = data, entries, maker
        self._parts: list[_Part] = []
        self._labelled: dict[Hashable, dict[str, Any]] = {}
        self._passed: set[Hashable] = set()  # with ids of plug-ins, which are kept in the parts
        places = [list(itertools.chain.from_iterable(swept.places.values())) for swept in entries.values()]
        every = list(itertools.chain.from_iterable(places))
        known = {field.name for field in dataclasses.fields(Scenario)} - {"masters", "sweep", "points"}
        self._first = first if all(path[0] in known for path in every) else None  # keys that are none are told
        for field in (field.name for field in dataclasses.fields(Scenario)):
            labels: list[Any] = [None]
            if field in ("stragglers", "schemes") and (field,) not in every:
                labels = list(dict.fromkeys([*data[field], *(path[1] for path in every if path[0] == field)]))
            for label in labels:
                numbers = [
                    n for n, paths in enumerate(places) if any(_decides(path, field, label, data) for path in paths)
                ]
                if numbers:
                    self._parts.append(_Part(field, label, itemgetter(*numbers), {}))

    def at(self, place: tuple[int, ...], chosen: Mapping[str, Any]) -> Scenario | None:
        """The scenario at a point, or None if anything in it is wrong, or does not go with the rest."""
        if self._first is None:
            return None
        values: dict[str, Any] = {}
        data = None
        for field, label, numbers_in, known in self._parts:
            numbers = numbers_in(place)
            if numbers not in known:
                data = data or _varied(self._data, self._entries, chosen)
                made, problems = self._maker.part(data, field, label)
                if problems or any(of_numbers(made, (field,))):
                    return None
                known[numbers] = made
            if label is None:
                values[field] = known[numbers]
            else:
                values.setdefault(field, dict(getattr(self._first, field)))[label] = known[numbers]
        for field, value in values.items():
            if isinstance(value, dict):
                values[field] = self._labelled.setdefault((field, *map(id, value.values())), value)
        scenario = self._first.sibling(values)
        try:
            return (
                scenario
                if all(self._passes(check, given) for check, given in checks(scenario, at_a_point=True))
                else None
            )
        except Exception:  # of a plug-in: said where it is made on its own
            return None

    def _passes(self, check: Callable[..., Iterator[Problem]], given: tuple[Any, ...]) -> bool:
        key = check, *[tuple(map(id, value.values())) if isinstance(value, dict) else value for value in given]
        if key in self._passed:
            return True
        if any(True for _ in check(*given)):
            return False
        self._passed.add(key)
        return True

    def learn(self, place: tuple[int, ...], chosen: Mapping[str, Any], scenario: Scenario) -> Scenario:
        """Take note of what a sound scenario is made of; return the same, with all that is shared."""
        if self._first is None:
            self._first = scenario
        for field, label, numbers_in, known in self._parts:
            made = getattr(scenario, field)
            known.setdefault(numbers_in(place), made if label is None else made[label])
        return self.at(place, chosen) or scenario


def _decides(path: Path_, field: str, label: str | None, data: dict[str, Any]) -> bool:
    """Say whether what stands at a place of the file decides a field of a scenario, or one label of it."""
    if field == "schemes" and path[0] in FILLED_IN_FROM:
        return True
    if field == "schemes" and path[0] == "stragglers":  # which may say the speeds of the workers
        schemes = data["schemes"]
        parts = [schemes.get(label)] if label is not None else schemes.values()
        return any(isinstance(part, dict) and "speeds" in part for part in parts)
    if field == "masters":
        return path[0] == "schemes" and (len(path) < 3 or path[2] == "master")
    return path[0] == field and label in (None, *path[1:2])


def _entry_at_fault(path: Path_, places: Mapping[str, dict[str, list[Path_]]]) -> str:
    """The entry of the sweep that varies something at or above the place of a problem, or else the first."""
    for entry, keys in places.items():
        if any(path[: len(varied)] == varied for paths in keys.values() for varied in paths):
            return entry
    return next(iter(places))
