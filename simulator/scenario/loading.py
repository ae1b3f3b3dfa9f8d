"""Way from a file, its options and plain values to a frozen Scenario, or a line for each mistake."""

import copy
import dataclasses
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from simulator.engine.master_rules import FirstEnough, MasterRule
from simulator.engine.network import Network
from simulator.engine.training import Training
from simulator.errors import OUTSIDE, Path_, Problem, ScenarioError, did_you_mean, is_shipped, place_in, show, told
from simulator.plugins.building import build, from_values
from simulator.plugins.fields import fields_of
from simulator.plugins.kinds import MODEL_TABLE, RULE_TABLE, SCHEME_TABLE, Table
from simulator.plugins.messages import problems_in
from simulator.scenario.dotted_keys import find_all, replaced, swept_together
from simulator.scenario.plain import plain
from simulator.scenario.ranges import values_of
from simulator.scenario.scenario import ContradictionError, Scenario, checks
from simulator.scenario.yaml_file import Document

S = TypeVar("S")
Made = tuple[Any, list[Problem]]  # None if there are problems
Built = dict[tuple[Any, ...], Made]  # by all that it was made from
FILLED_IN_FROM = ("workers", "seed")  # keys of the file that schemes are made of too


def load(path: str | Path, overrides: Sequence[str] = (), sweeps: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    path
        YAML file.
    overrides
        Assignments ``key.path=value`` that replace what the file says.
    sweeps
        Assignments ``key.path=0.5,1,2`` or ``key.path=start:stop:number`` that add to the file's sweep, or replace an
        entry of it.

    Raises
    ------
    ScenarioError
        With every error of the file, a line each: file:line:column, key, rule and value.
    """
    document = Document(Path(path))
    document.data.setdefault("master", {"kind": "first_enough"})  # so that options and sweeps find a place
    document.data.setdefault("network", {})
    document.include("stragglers")
    for assignment in overrides:
        document.override(assignment)
        document.include("stragglers")
    for assignment in sweeps:
        document.sweep(assignment)
    folder = Path(path).resolve().parent
    data = {"name": Path(path).stem} | document.data
    sweep = data.pop("sweep", None)
    scenario, problems = scenario_of(data, folder)
    entries, sweep_problems = _entries(data, sweep)
    points: list[tuple[dict[str, Any], Scenario]] = []
    if not problems and not sweep_problems:
        points, sweep_problems = _points(data, entries, folder)
    if scenario is not None and not problems:
        problems = [*problems, *_unwritable(plain(scenario), ())]
    if problems or sweep_problems or scenario is None:
        raise ScenarioError(document.describe_all([*problems, *sweep_problems]))
    if not entries:
        return scenario
    values = {entry: swept.values for entry, swept in entries.items()}
    return dataclasses.replace(scenario, sweep=values, points=tuple(points))


def _unwritable(value: object, path: Path_) -> Iterator[Problem]:
    """Parameters of plug-ins that can't stand in the `scenario.yaml` beside the results."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unwritable(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _unwritable(inner, (*path, place))
    elif type(value) not in (bool, int, float, str, type(None)):
        yield Problem(path, f"must be a value as YAML has it, got a {type(value).__name__} (keep it out of the fields)")


class _Swept(NamedTuple):
    """An entry of a sweep."""

    places: dict[str, list[Path_]]  # that each of its keys means
    values: list[Any]  # of several keys: lists of as many values


def _entries(data: dict[str, Any], sweep: object) -> tuple[dict[str, _Swept], list[Problem]]:
    """Return the entries of a sweep, with its ranges as lists."""
    if sweep is None:
        return {}, []
    if not isinstance(sweep, dict):
        return {}, [Problem(("sweep",), f"must be a mapping of dotted keys to lists of values, got {show(sweep)}")]
    entries: dict[str, _Swept] = {}
    problems: list[Problem] = []
    for entry, given in sweep.items():
        try:
            places = {key: find_all(data, key) for key in swept_together(entry)}
            values = values_of(given)
            n_keys = len(places)
            wrong = [value for value in values if n_keys > 1 and not (isinstance(value, list) and len(value) == n_keys)]
            if wrong:
                raise ValueError(f"must be a list of lists of {n_keys} values, got {show(wrong[0])}")
            entries[entry] = _Swept(places, values)
        except ValueError as error:
            problems.append(Problem(("sweep", entry), str(error)))
    return entries, problems


def _points(
    data: dict[str, Any], entries: Mapping[str, _Swept], folder: Path
) -> tuple[list[tuple[dict[str, Any], Scenario]], list[Problem]]:
    """Every combination of swept values, each as a scenario of its own."""
    points: list[tuple[dict[str, Any], Scenario]] = []
    problems: list[Problem] = []
    seen: set[Problem] = set()  # each is told at the first point that has it
    built: Built = {}
    siblings = _Siblings(data, list(entries.values()))
    keys = [key for swept in entries.values() for key in swept.places]
    rows = [
        swept.values if len(swept.places) > 1 else [[value] for value in swept.values] for swept in entries.values()
    ]
    every = itertools.product(*rows) if entries else ()
    for combination, place in zip(every, itertools.product(*(range(len(values)) for values in rows)), strict=False):
        chosen = dict(zip(keys, itertools.chain.from_iterable(combination), strict=True))
        scenario = siblings.at(place)
        if scenario is not None:
            points.append((chosen, scenario))
            continue
        scenario, found = scenario_of(_varied(data, entries, chosen), folder, built)
        if scenario is not None:
            points.append((chosen, siblings.learn(place, scenario)))
        for problem in found:
            if problem not in seen:
                seen.add(problem)
                at = ", ".join(f"{key} = {show(value)}" for key, value in chosen.items())
                entry = _entry_at_fault(problem.path, {entry: swept.places for entry, swept in entries.items()})
                problems.append(Problem(("sweep", entry), f"at {at}: {problem}"))
    return points, problems


def _varied(data: dict[str, Any], entries: Mapping[str, _Swept], chosen: Mapping[str, Any]) -> dict[str, Any]:
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

    def __init__(self, data: Mapping[str, Any], entries: Sequence[_Swept]) -> None:
        self._first: Scenario | None = None
        self._parts: list[_Part] = []
        self._labelled: dict[Hashable, dict[str, Any]] = {}
        self._passed: set[Hashable] = set()  # with ids of plug-ins, which are kept in the parts
        places = [list(itertools.chain.from_iterable(swept.places.values())) for swept in entries]
        every = list(itertools.chain.from_iterable(places))
        for field in (field.name for field in dataclasses.fields(Scenario)):
            labels: list[Any] = [None]
            if field in ("stragglers", "schemes") and (field,) not in every:
                labels = list(dict.fromkeys([*data[field], *(path[1] for path in every if path[0] == field)]))
            for label in labels:
                numbers = [n for n, paths in enumerate(places) if any(_decides(path, field, label) for path in paths)]
                if numbers:
                    self._parts.append(_Part(field, label, itemgetter(*numbers), {}))

    def at(self, place: tuple[int, ...]) -> Scenario | None:
        """The scenario at a point, or None if anything in it has not been made yet, or does not go with the rest."""
        if self._first is None:
            return None
        values: dict[str, Any] = {}
        try:
            for field, label, numbers_in, known in self._parts:
                part = known[numbers_in(place)]
                if label is None:
                    values[field] = part
                else:
                    values.setdefault(field, dict(getattr(self._first, field)))[label] = part
        except KeyError:
            return None
        for field, value in values.items():
            if isinstance(value, dict):
                values[field] = self._labelled.setdefault((field, *map(id, value.values())), value)
        scenario = self._first.sibling(values)
        try:
            return scenario if all(self._passes(check, given) for check, given in checks(scenario)) else None
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

    def learn(self, place: tuple[int, ...], scenario: Scenario) -> Scenario:
        """Take note of what a sound scenario is made of; return the same, with all that is shared."""
        if self._first is None:
            self._first = scenario
        for field, label, numbers_in, known in self._parts:
            made = getattr(scenario, field)
            known.setdefault(numbers_in(place), made if label is None else made[label])
        return self.at(place) or scenario


def _decides(path: Path_, field: str, label: str | None) -> bool:
    """Say whether what stands at a place of the file decides a field of a scenario, or one label of it."""
    if field == "schemes" and path[0] in FILLED_IN_FROM:
        return True
    if field == "masters":
        return path[0] == "schemes" and (len(path) < 3 or path[2] == "master")
    return path[0] == field and label in (None, *path[1:2])


def _entry_at_fault(path: Path_, places: Mapping[str, dict[str, list[Path_]]]) -> str:
    """The entry of the sweep that varies something at or above the place of a problem, or else the first."""
    for entry, keys in places.items():
        if any(path[: len(varied)] == varied for paths in keys.values() for varied in paths):
            return entry
    return next(iter(places))


def scenario_of(
    data: dict[str, Any], folder: Path, built: Built | None = None
) -> tuple[Scenario | None, list[Problem]]:
    """Build a scenario from plain values; points of a sweep share what does not differ, in ``built``."""
    built = {} if built is None else built
    fields = {name: field for name, field in fields_of(Scenario).items() if name not in ("masters", "points")}
    problems = [
        Problem((key,), f"is not a key of a scenario (known: {', '.join(fields)}){did_you_mean(key, list(fields))}")
        for key in data
        if key not in fields
    ]
    values = {key: value for key, value in data.items() if key in fields}
    values["stragglers"], found = _plugins(data, "stragglers", MODEL_TABLE, folder, built)
    problems += found
    if "master" in data:
        rule, found = _once(built, from_values, data["master"], ("master",), RULE_TABLE, folder)
        problems += found
        values["master"] = rule or FirstEnough(timeout_s=1.0)  # a wrong one hides no other error
    if "network" in data:
        network, found = _once(built, _section, data["network"], ("network",), Network, folder)
        problems += found
        values["network"] = network or Network()
    if data.get("training") is not None:
        values["training"], found = _once(built, _section, data["training"], ("training",), Training, folder)
        problems += found
    values["masters"], found = _own_rules(data, folder)
    problems += found
    workers = data.get("workers")
    knows_n = isinstance(workers, int) and not isinstance(workers, bool) and workers >= 1
    seed = data.get("seed", 0)
    filled_in = {"n_workers": workers if knows_n else None, "seed": seed if isinstance(seed, int) and seed >= 0 else 0}
    values["schemes"], found = _plugins(data, "schemes", SCHEME_TABLE, folder, built, filled_in)
    problems += found
    try:
        scenario = Scenario(**values)
    except ValidationError as error:
        if not all(found["loc"] for found in error.errors()):  # of what a plug-in said while the whole was checked
            said = "; ".join(found["msg"].replace("Value error, ", "") for found in error.errors())
            return None, [*problems, Problem((), f"a plug-in raised ValueError: {' '.join(said.split())}")]
        problems += problems_in(error, fields, ())
        wrong = {str(found["loc"][0]) for found in error.errors()}
        return None, problems + _despite(values, wrong, problems)
    except ContradictionError as error:
        return None, problems + _new(error.problems, problems)
    except Exception as error:
        if all(map(is_shipped, (*values["schemes"].values(), *values["stragglers"].values()))):
            raise  # a fault of ours: its traceback is wanted
        return None, [*problems, Problem((), told(error, place_in(error, OUTSIDE)))]
    return (None if problems else scenario), problems


def _despite(values: dict[str, Any], wrong: set[str], problems: Sequence[Problem]) -> list[Problem]:
    """Contradictions that stand whatever the wrong values should have been."""
    sound = {"workers": 1, "jobs": 1} | {key: value for key, value in values.items() if key not in wrong}
    try:
        Scenario(**sound)
    except ContradictionError as error:
        found = _new(error.problems, problems)
        return [problem for problem in found if problem.path[0] != "schemes" or "workers" not in wrong]
    except ValidationError:  # more than single values is wrong
        pass
    return []


def _new(found: Sequence[Problem], known: Sequence[Problem]) -> list[Problem]:
    """Problems at places where none is known yet; a section emptied by its problems is not one."""
    places = {problem.path[:length] for problem in known for length in (1, 2)}
    return [problem for problem in found if problem.path[:2] not in places]


def _once(
    built: Built, make: Callable[..., Made], given: object, path: Path_, family: object, folder: Path, *more: object
) -> Made:
    """Make what stands at a place, unless it has been made of the same values there."""
    key = (path, repr(given), repr(more))
    if key not in built:
        built[key] = make(given, path, family, folder, *more)
    return built[key]


def _plugins(
    data: dict[str, Any], section: str, table: Table, folder: Path, built: Built, filled_in: object = None
) -> tuple[dict[str, Any], list[Problem]]:
    """Build a section of labelled plug-ins; those that are wrong are left out."""
    given = data.get(section)
    if not isinstance(given, dict) or not given:
        what = "must be given" if section not in data else "must be"
        return {}, [Problem((section,), f"{what} (a mapping of labels to {table.family}s), got {show(given)}")]
    plugins, problems = {}, []
    for label, parameters in given.items():
        if section == "schemes" and isinstance(parameters, dict):
            parameters = {key: value for key, value in parameters.items() if key != "master"}
        plugin, found = _once(built, from_values, parameters, (section, label), table, folder, filled_in)
        problems += found
        if plugin is not None:
            plugins[label] = plugin
    return plugins, problems


def _section(given: object, path: Path_, cls: type[S], folder: Path) -> tuple[S | None, list[Problem]]:
    """Build a section that is one thing, not several with labels."""
    if not isinstance(given, dict):
        keys = ", ".join(fields_of(cls))
        return None, [Problem(path, f"must be a mapping (keys: {keys}), got {show(given)}")]
    return build(cls, given, path, folder)


def _own_rules(data: dict[str, Any], folder: Path) -> tuple[dict[str, MasterRule], list[Problem]]:
    """The master rules that schemes carry themselves."""
    rules, problems = {}, []
    schemes = data.get("schemes")
    for label, parameters in schemes.items() if isinstance(schemes, dict) else ():
        if isinstance(parameters, dict) and "master" in parameters:
            rule, found = from_values(parameters["master"], ("schemes", label, "master"), RULE_TABLE, folder)
            problems += found
            if rule is not None:
                rules[label] = rule
    return rules, problems
