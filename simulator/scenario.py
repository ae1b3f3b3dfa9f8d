"""From YAML to a frozen Scenario. Every error in the input is found here; what is behind trusts its inputs."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, InstanceOf, ValidationError
from pydantic.dataclasses import dataclass

from schemes import Ideal, Scheme
from schemes.probing import Probing
from simulator.document import Document, find_all, replaced, swept_together
from simulator.engine.master_rules import FirstEnough, MasterRule
from simulator.engine.network import Network
from simulator.engine.training import Training
from simulator.errors import (
    OUTSIDE,
    Path_,
    Problem,
    ScenarioError,
    did_you_mean,
    dotted,
    is_shipped,
    place_in,
    show,
    told,
)
from simulator.plugins.building import as_values, build, from_values
from simulator.plugins.fields import fields_of
from simulator.plugins.kinds import MODEL_TABLE, RULE_TABLE, SCHEME_TABLE, WORKLOAD_TABLE, Table
from simulator.plugins.messages import at_parameter, explain
from simulator.ranges import values_of
from simulator.shadows import idle_entries, ruled_out, shadowed_options
from straggler_models import StragglerModel
from straggler_models.base import SecondsModel

Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
S = TypeVar("S")
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True),
)
class Scenario:
    """All that decides the numbers of a run.

    Raises
    ------
    ScenarioError
        If parameters contradict each other; every contradiction is a line of it.

    Examples
    --------
    >>> from schemes import Uncoded
    >>> from straggler_models import Constant
    >>> Scenario(workers=2, jobs=3, stragglers={"usual": Constant(1.0)}, schemes={"uncoded": Uncoded(2)}).n_rounds
    3
    """

    name: Annotated[str, Field(min_length=1)] = "scenario"
    """what tables and figures call it"""
    seed: Count = 0
    """the one number behind all random numbers"""
    trials: PositiveCount = 1
    """independent repetitions"""
    workers: Annotated[int, Field(ge=1, le=1_000_000)]
    """n, the number of workers"""
    jobs: PositiveCount
    """gradients to compute"""
    models: PositiveCount | None = None
    """networks trained in turn; every scheme's T must be at most models - 1"""
    stragglers: dict[str, InstanceOf[StragglerModel]]
    """straggler models by label; they compose"""
    master: InstanceOf[MasterRule] = FirstEnough()
    """when the master stops waiting"""
    probe: Count = 0
    """rounds in which every scheme runs uncoded before it begins, as while a cluster is watched"""
    leftover: Literal["cancel", "finish"] = "cancel"
    """whether a straggler drops its list when the round closes, or completes it first, unheard"""
    round_overhead_s: Seconds = 0.0
    """seconds of broadcast, decoding and bookkeeping that every round with work costs after it has closed"""
    network: Network = Network()
    """what it takes to send answers; by default nothing"""
    training: Training | None = None
    """what is trained with the gradients, and how; by default nothing"""
    schemes: dict[str, InstanceOf[Scheme]]
    """schemes by label; all meet the same worker times"""
    masters: dict[str, InstanceOf[MasterRule]] = dataclasses.field(default_factory=dict)
    """rules of single schemes, by the scheme's label, in place of ``master``"""
    sweep: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    """values of dotted keys; each combination is a point; `a, b: [[1, 2], [3, 4]]` varies two keys together"""
    points: tuple[Any, ...] = ()
    """the swept values of each point, with its scenario; filled in when a scenario is loaded"""

    def __post_init__(self) -> None:
        problems = list(_contradictions(self))
        if problems:
            raise ContradictionError(problems)

    @property
    def n_rounds(self) -> int:
        """Rounds that the longest scheme needs."""
        return self.jobs + max((scheme.delay_rounds for scheme in self.schemes.values()), default=0)

    def scheme_to_run(self, label: str) -> Scheme:
        """What runs under a scheme's name: the scheme, after uncoded rounds if there are any."""
        scheme = self.schemes[label]
        return Probing(scheme.n_workers, scheme, self.probe) if self.probe else scheme

    def rule_for(self, label: str) -> MasterRule:
        """The master rule under which a scheme runs."""
        return self.masters.get(label, self.master)

    def all_points(self) -> Sequence[tuple[dict[str, Any], Scenario]]:
        """Swept values and scenario of each point; without a sweep, the scenario itself."""
        return self.points or [({}, self)]

    def with_trials(self, n_trials: Mapping[int, int]) -> Scenario:
        """The same with other numbers of trials at some points."""
        if not self.points:
            return dataclasses.replace(self, trials=n_trials.get(0, self.trials))
        points = [
            (values, dataclasses.replace(at_point, trials=n_trials.get(index, at_point.trials)))
            for index, (values, at_point) in enumerate(self.points)
        ]
        return dataclasses.replace(self, points=tuple(points))

    def warnings(self, overrides: Sequence[str] = ()) -> list[str]:
        """What is allowed and probably not meant; ``overrides`` are those with which the scenario was loaded."""
        return [*ruled_out(self), *idle_entries(self), *shadowed_options(self, overrides)]

    def as_dict(self) -> dict[str, Any]:
        """The resolved scenario: plain values, with every default, as YAML would hold them."""
        plain: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name
            not in ("network", "training", "stragglers", "master", "schemes", "masters", "sweep", "points")
        }
        if self.models is None:
            del plain["models"]
        if self.network != Network():
            plain["network"] = {key: value for key, value in vars(self.network).items() if value is not None}
        if self.training is not None:
            plain["training"] = plain_training(self.training)
        plain["stragglers"] = {label: as_values(model, MODEL_TABLE) for label, model in self.stragglers.items()}
        plain["master"] = as_values(self.master, RULE_TABLE)
        plain["schemes"] = {label: as_values(scheme, SCHEME_TABLE) for label, scheme in self.schemes.items()}
        for label, rule in self.masters.items():
            plain["schemes"][label]["master"] = as_values(rule, RULE_TABLE)
        return plain | ({"sweep": self.sweep} if self.sweep else {})


def plain_training(training: Training) -> dict[str, Any]:
    """Its keys as YAML would hold them."""
    values = {name: getattr(training, name) for name in fields_of(Training)}
    given = {name: value for name, value in values.items() if value is not None}
    return given | {"workload": as_values(training.workload, WORKLOAD_TABLE)}


class ContradictionError(ScenarioError):
    """Problems between parameters of a scenario, each with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__([f"{dotted(problem.path)}: {problem.message}" for problem in problems])
        self.problems = list(problems)


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
    scenario, problems = _scenario(data, folder)
    entries, sweep_problems = _entries(data, sweep)
    points: list[tuple[dict[str, Any], Scenario]] = []
    if not problems and not sweep_problems:
        points, sweep_problems = _points(data, entries, folder)
    if scenario is not None and not problems:
        problems = [*problems, *_unwritable(scenario.as_dict(), ())]
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

    def chosen(self, value: Any) -> dict[str, Any]:
        """One of its values, by key."""
        return dict(zip(self.places, value if len(self.places) > 1 else [value], strict=True))


def _entries(data: dict[str, Any], sweep: object) -> tuple[dict[str, _Swept], list[Problem]]:
    """What a sweep varies, with its ranges as lists."""
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
    for combination in itertools.product(*(swept.values for swept in entries.values())) if entries else ():
        chosen: dict[str, Any] = {}
        varied = data
        for swept, value in zip(entries.values(), combination, strict=True):
            chosen |= swept.chosen(value)
            for key, path in ((key, path) for key, paths in swept.places.items() for path in paths):
                varied = replaced(varied, path, copy.deepcopy(chosen[key]))
        scenario, found = _scenario(varied, folder, built)
        if scenario is not None:
            points.append((chosen, scenario))
        new = [problem for problem in found if problem not in seen]
        seen.update(new)
        at = ", ".join(f"{key} = {show(value)}" for key, value in chosen.items())
        for problem in new:
            entry = _entry_at_fault(problem.path, {entry: swept.places for entry, swept in entries.items()})
            problems.append(Problem(("sweep", entry), f"at {at}: {dotted(problem.path)}: {problem.message}"))
    return points, problems


def _entry_at_fault(path: Path_, places: Mapping[str, dict[str, list[Path_]]]) -> str:
    """The entry of the sweep that varies something at or above the place of a problem, or else the first."""
    for entry, keys in places.items():
        if any(path[: len(varied)] == varied for paths in keys.values() for varied in paths):
            return entry
    return next(iter(places))


Built = dict[tuple[Any, ...], tuple[Any, list[Problem]]]  # plug-ins by all that they were built from


def _scenario(data: dict[str, Any], folder: Path, built: Built | None = None) -> tuple[Scenario | None, list[Problem]]:
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
        problems += explain(error, fields, ())
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


def _plugins(
    data: dict[str, Any],
    section: str,
    table: Table,
    folder: Path,
    built: Built,
    filled_in: Mapping[str, Any] | None = None,
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


def _once(
    built: Built,
    make: Callable[..., tuple[Any, list[Problem]]],
    given: object,
    path: Path_,
    family: object,
    folder: Path,
    *filled_in: object,
) -> tuple[Any, list[Problem]]:
    """What stands at a place, made only if nothing has been made of the same values there."""
    key = (path, repr(given), repr(filled_in))
    if key not in built:
        built[key] = make(given, path, family, folder, *filled_in)
    return built[key]


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


def _contradictions(scenario: Scenario) -> Iterator[Problem]:
    """What single parameters can't know."""
    for section in ("stragglers", "schemes"):
        if not getattr(scenario, section):
            yield Problem((section,), "must have at least one entry, got none")
    if "/" in scenario.name or "\\" in scenario.name or scenario.name.startswith("."):
        yield Problem(("name",), f"must not hold / or \\, nor begin with a dot, got {show(scenario.name)}")
    if scenario.probe >= scenario.jobs:
        yield Problem(("probe",), f"must be less than jobs = {scenario.jobs}, got {scenario.probe}")
    yield from _of_schemes(scenario)
    never = []
    for label, model in scenario.stragglers.items():
        try:
            model.check(scenario.workers, scenario.n_rounds)
            never += [label] if model.may_never_answer else []
        except ValueError as error:
            yield at_parameter(str(error), fields_of(type(model)), ("stragglers", label))
    rules: dict[Path_, MasterRule] = {("schemes", label, "master"): rule for label, rule in scenario.masters.items()}
    if set(scenario.schemes) - set(scenario.masters):
        rules[("master",)] = scenario.master
    for place, rule in rules.items():
        if never and rule.may_wait_for_ever:
            yield Problem(
                (*place, "timeout_s"),
                f"must be given, because workers of {', '.join(f'stragglers.{label}' for label in never)} may never "
                "answer and the master would wait for them, got nothing",
            )
    models = scenario.stragglers.values()
    if scenario.trials > 1 and not any(model.is_random and not model.gives_same_times for model in models):
        replayed = [label for label, model in scenario.stragglers.items() if model.gives_same_times]
        if replayed:
            yield Problem(
                ("trials",),
                f"must be 1, because every trial would replay the same recording, got {scenario.trials} "
                f"(use mode: bootstrap in stragglers.{replayed[0]} for trials that differ)",
            )


def _of_schemes(scenario: Scenario) -> Iterator[Problem]:
    for label, scheme in scenario.schemes.items():
        if scheme.n_workers != scenario.workers:
            yield Problem(
                ("schemes", label), f"n_workers must be {scenario.workers}, as in the scenario, got {scheme.n_workers}"
            )
        if scenario.training is not None and scenario.models is None and scheme.delay_rounds:
            yield Problem(
                ("schemes", label),
                f"T must be 0 rounds where a single model is trained, got {scheme.delay_rounds} "
                f"(set models: {scheme.delay_rounds + 1} or more)",
            )
        if scenario.models is not None and scheme.delay_rounds > scenario.models - 1:
            yield Problem(
                ("schemes", label),
                f"T must be at most models - 1 = {scenario.models - 1} rounds, got {scheme.delay_rounds}",
            )
        seconds = [label for label, model in scenario.stragglers.items() if isinstance(model, SecondsModel)]
        if isinstance(scheme, Ideal) and seconds:
            yield Problem(
                ("schemes", label),
                f"ideal needs straggler models that live in rounds, got stragglers.{seconds[0]}, in seconds "
                "(leave one of them out)",
            )
        if not np.isfinite(scheme.load):
            yield Problem(("schemes", label), f"load must be finite, got {scheme.load}")
        if scheme.hears_late and scenario.leftover == "cancel":
            yield Problem(
                ("schemes", label, "late_answers"),
                "must be drop unless workers finish what is left over, got keep (set leftover: finish)",
            )
        if scheme.needs_enough is not None and scenario.rule_for(label).waits_for == "nobody":
            yield Problem(("schemes", label), f"needs a master that waits for enough or for all: {scheme.needs_enough}")
    for label in set(scenario.masters) - set(scenario.schemes):
        yield Problem(("masters", label), f"must name a scheme, got {label}")
