"""Way from a file, its options and plain values to a frozen Scenario, or a line for each mistake."""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from simulator.engine.master_rules import FirstEnough
from simulator.engine.network import Network
from simulator.engine.training import Training
from simulator.errors import OUTSIDE, Path_, Problem, ScenarioError, is_shipped, place_in, show, told
from simulator.plugins.building import build, from_values, unknown_keys
from simulator.plugins.fields import fields_of
from simulator.plugins.identity import parts
from simulator.plugins.kinds import MODEL_TABLE, RULE_TABLE, SCHEME_TABLE
from simulator.plugins.messages import problems_in
from simulator.scenario.limits import MOST_RUNS, MOST_WORKERS
from simulator.scenario.plain import plain
from simulator.scenario.points import Points, Swept, entries_of, points_of
from simulator.scenario.scenario import ContradictionError, Scenario
from simulator.scenario.speeds import worker_speeds
from simulator.scenario.yaml_file import Document
from straggler_models import StragglerModel

Made = tuple[Any, list[Problem]]  # None if there are problems
KEYS = {name: field for name, field in fields_of(Scenario).items() if name not in ("masters", "points")}
ONES = {"network": Network, "training": Training}  # sections that are one thing, and no plug-in
LABELLED = {"stragglers": MODEL_TABLE, "schemes": SCHEME_TABLE}
INSTEAD = {"master": FirstEnough(timeout_s=1.0), "network": Network()}  # of a wrong one: it hides no other error


def load(path: str | Path, overrides: Sequence[str] = (), sweeps: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    path
        YAML file.
    overrides
        Assignments ``key.path=value`` that replace values of the file.
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
    if where := _stragglers_alone(document.data):
        first, write = where
        said = f"write {write.format(Path(path).name)} a scenario, beside workers, jobs and schemes"
        raise ScenarioError([f"{document.locate((first,))}: this is a section of stragglers: {said}"])
    data = {"name": Path(path).stem} | document.data
    sweep = data.pop("sweep", None)
    maker = Maker(Path(path).resolve().parent)
    scenario, problems = maker.scenario(data)
    entries, points, sweep_problems = _swept(data, sweep, maker, first=None if problems else scenario)
    if scenario is not None and not problems:
        problems = [*problems, *_unwritable(plain(scenario), ())]
    if problems or sweep_problems or scenario is None:
        raise ScenarioError(document.describe_all([*problems, *sweep_problems]))
    if not entries:
        return scenario
    values = {entry: swept.values for entry, swept in entries.items()}
    return scenario.sibling({"sweep": values, "points": tuple(points)})


def _stragglers_alone(data: Mapping[str, Any]) -> tuple[str, str] | None:
    """Find the first key, and what is to be written, if a file holds straggler models alone, as `trace fit` writes."""
    given = {key: value for key, value in data.items() if key not in ("name", "master", "network")}
    kinds = {value.get("kind") if isinstance(value, dict) else None for value in given.values()}
    if given.keys() == {"stragglers"}:
        return "stragglers", "`stragglers: {}` into"
    return (next(iter(given)), "it below `stragglers:` in") if kinds and kinds <= MODEL_TABLE.shipped.keys() else None


def of_values(values: Mapping[str, Any]) -> Scenario:
    """The scenario of plain values as stand with results, at its first point if it has a sweep.

    Raises
    ------
    ScenarioError
        If anything that it needs is no longer there.
    """
    data = {"network": {}} | {key: value for key, value in values.items() if key != "sweep"}
    scenario, problems = Maker(Path.cwd()).scenario(data)
    if problems or scenario is None:
        raise ContradictionError(problems)
    return scenario


def fill_in(scenario: Scenario) -> Points:
    """The points of a scenario that was made in Python, as if it had been read from a file.

    Raises
    ------
    ScenarioError
        If there is anything wrong with its sweep.
    """
    data = {"network": {}} | plain(scenario)
    first = scenario.sibling({"sweep": {}, "points": ()})
    _, points, problems = _swept(data, data.pop("sweep"), Maker(Path.cwd()), first=first)
    if problems:
        raise ContradictionError(problems)
    return points


def made(given: dict[str, Any]) -> dict[str, Any]:
    """Parts of a scenario in Python that are mappings, as a file has them, made into what they describe.

    Raises
    ------
    ScenarioError
        If there is anything wrong with them.
    """
    maker, problems, made_of = Maker(Path.cwd()), list[Problem](), dict(given)
    for section in LABELLED:
        parts = given.get(section)
        for label, part in parts.items() if isinstance(parts, dict) else ():
            if isinstance(part, dict):
                plugin, found = maker.part(given, section, label)
                made_of[section] = made_of[section] | {label: plugin}
                problems += found
    for name in ("master", *ONES):
        if isinstance(given.get(name), dict):
            made_of[name], found = maker.part(given, name)
            problems += found
    rules, found = maker.part(given, "masters")
    for label, rule in (given.get("masters") or {}).items():
        rules[label] = rule
        if isinstance(rule, dict):
            rules[label], of_rule = from_values(rule, ("masters", label), RULE_TABLE, Path.cwd())
            found = [*found, *of_rule]
    if problems or found:
        raise ContradictionError([*problems, *found])
    return made_of | ({"masters": rules} if rules else {})


def _swept(
    data: dict[str, Any], sweep: object, maker: "Maker", *, first: Scenario | None
) -> tuple[dict[str, Swept], Points, list[Problem]]:
    entries, problems = entries_of(data, sweep)
    points: Points = []
    if first is not None and entries and not problems:
        with _nothing_to_collect():
            points, problems = points_of(data, entries, maker, first)
        n_runs = sum(point.trials * len(point.schemes) for _, point in points)
        if n_runs > MOST_RUNS:
            problems.append(Problem(("sweep",), f"must leave at most {MOST_RUNS} runs in all, got {n_runs}"))
    return entries, points, problems


@contextlib.contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Spare the garbage collector so many new objects, all of which stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _unwritable(value: object, path: Path_) -> Iterator[Problem]:
    """Parameters of plug-ins that can't stand in the `scenario.yaml` beside the results."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unwritable(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _unwritable(inner, (*path, place))
    elif type(value) not in (bool, int, float, str, type(None)):
        yield Problem(path, f"must be a YAML value, got a {type(value).__name__} (keep it out of the fields)")


class Maker:
    """Makes scenarios from plain values; what stands at the same place and is the same is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[Any, ...], Made] = {}

    def scenario(self, data: dict[str, Any]) -> tuple[Scenario | None, list[Problem]]:
        """Make the whole."""
        problems = unknown_keys(data, list(KEYS), (), "of a scenario")
        values = {key: value for key, value in data.items() if key in KEYS}
        given = [key for key in (*ONES, "master") if key in data and (key != "training" or data[key] is not None)]
        for field in (*LABELLED, "masters", *given):
            made, found = self.part(data, field)
            problems += found
            values[field] = INSTEAD.get(field) if made is None else made
        try:
            scenario = Scenario(**values)
        except ValidationError as error:
            if not all(found["loc"] for found in error.errors()):  # of what a plug-in said while the whole was checked
                said = "; ".join(found["msg"].replace("Value error, ", "") for found in error.errors())
                return None, [*problems, Problem((), f"a plug-in raised ValueError: {' '.join(said.split())}")]
            problems += problems_in(error, KEYS, ())
            wrong = {str(found["loc"][0]) for found in error.errors()}
            return None, problems + _despite(values, wrong, problems)
        except ContradictionError as error:
            return None, problems + _new(error.problems, problems)
        except Exception as error:
            plugins = (*values["schemes"].values(), *values["stragglers"].values())
            if all(is_shipped(part) for plugin in plugins for part in parts(plugin)):
                raise  # a fault of ours: its traceback is wanted
            return None, [*problems, Problem((), told(error, place_in(error, OUTSIDE)))]
        return (None if problems else scenario), problems

    def part(self, data: dict[str, Any], field: str, label: str | None = None) -> Made:
        """Make one field of a scenario, or one label of it; of labels, those that are wrong are left out."""
        if label is not None:
            return self._labelled(data, field, label)
        if field in LABELLED:
            return self._every_label(data, field)
        if field == "masters":
            return self._own_rules(data)
        if field == "master":
            return self._once(from_values, data[field], (field,), RULE_TABLE)
        if field in ONES and not (field == "training" and data[field] is None):
            return self._once(_section, data[field], (field,), ONES[field])
        try:
            return _adapter(field).validate_python(data[field]), []
        except ValidationError:
            return None, [Problem((field,), "is said to be wrong where the whole is made")]

    def _once(self, make: Callable[..., Made], given: object, path: Path_, family: object, *more: object) -> Made:
        """Make what stands at a place, unless it has been made of the same values there."""
        key = (path, repr(given), repr(more))
        if key not in self._made:
            self._made[key] = make(given, path, family, self._folder, *more)
        return self._made[key]

    def _every_label(self, data: dict[str, Any], section: str) -> Made:
        given = data.get(section)
        if not isinstance(given, dict) or not given:
            what = "must be given" if section not in data else "must be"
            family = LABELLED[section].family
            return {}, [Problem((section,), f"{what} (a mapping of labels to {family}s), got {show(given)}")]
        plugins, problems = {}, []
        for label in given:
            plugin, found = self._labelled(data, section, label)
            problems += found
            if plugin is not None:
                plugins[label] = plugin
        return plugins, problems

    def _labelled(self, data: dict[str, Any], section: str, label: str) -> Made:
        given, path, table = data[section][label], (section, label), LABELLED[section]
        if section == "stragglers":
            return (given, []) if isinstance(given, StragglerModel) else self._once(from_values, given, path, table)
        if isinstance(given, dict):
            given = {key: value for key, value in given.items() if key != "master"}
        workers, seed = data.get("workers"), data.get("seed", 0)
        knows_n = isinstance(workers, int) and not isinstance(workers, bool) and 1 <= workers <= MOST_WORKERS
        seed = seed if isinstance(seed, int) and seed >= 0 else 0
        is_auto = knows_n and isinstance(given, dict) and given.get("speeds") == "auto"
        speeds = self._speeds(data, seed) if is_auto else None
        filled_in = {"n_workers": workers if knows_n else None, "seed": seed, "worker_speeds": speeds}
        return self._once(from_values, given, path, table, filled_in)

    def _speeds(self, data: dict[str, Any], seed: int) -> list[float] | None:
        """Speeds that the straggler models say; if these are wrong, any: there is no scenario."""
        models, problems = self._every_label(data, "stragglers")
        with contextlib.suppress(ValueError):
            if not problems:
                return worker_speeds(models, data["workers"], seed)
        return [1.0] * int(data["workers"])

    def _own_rules(self, data: dict[str, Any]) -> Made:
        """The master rules that schemes carry themselves."""
        rules, problems = {}, []
        schemes = data.get("schemes")
        for label, parameters in schemes.items() if isinstance(schemes, dict) else ():
            if isinstance(parameters, dict) and "master" in parameters:
                path = ("schemes", label, "master")
                rule, found = from_values(parameters["master"], path, RULE_TABLE, self._folder)
                problems += found
                if rule is not None:
                    rules[label] = rule
        return rules, problems


@functools.cache
def _adapter(field: str) -> TypeAdapter[Any]:
    """What a field of a scenario must be, without the rest."""
    metadata = KEYS[field].metadata
    kind: Any = Annotated[KEYS[field].annotation, *metadata] if metadata else KEYS[field].annotation
    return TypeAdapter(kind, config=ConfigDict(strict=True))


def _section(given: object, path: Path_, cls: type, folder: Path) -> Made:
    """Build a section that is one thing, not several with labels."""
    if not isinstance(given, dict):
        keys = ", ".join(fields_of(cls))
        return None, [Problem(path, f"must be a mapping (keys: {keys}), got {show(given)}")]
    return build(cls, given, path, folder)


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
