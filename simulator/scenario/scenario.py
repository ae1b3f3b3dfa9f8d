"""A frozen description of what is run, free of contradictions."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, InstanceOf, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from schemes import Adaptive, Ideal, Scheme
from simulator.choices import Leftover, WaitFor
from simulator.engine.drawn_once import settled
from simulator.engine.master_rules import FirstEnough, MasterRule
from simulator.engine.network import Network
from simulator.engine.probing import Probing
from simulator.engine.training import Training
from simulator.errors import Path_, Problem, ScenarioError, show
from simulator.parameters import Count, PositiveCount, Seconds, TakesNumpy, complaints_of
from simulator.plugins.fields import fields_of
from simulator.plugins.messages import at_parameter
from simulator.scenario.limits import COARSE_POLL_S, MOST_WORKERS
from simulator.scenario.proportions import of_numbers, of_pieces, of_polls, of_runs, of_training
from simulator.scenario.ranges import values_of
from simulator.scenario.yaml_text import yaml_of
from straggler_models import StragglerModel


def _as_lists(sweep: Any) -> Any:
    """Ranges and arrays among the values of a sweep as lists."""
    if not isinstance(sweep, dict):
        return sweep
    arrays = {key: given.tolist() if isinstance(given, np.ndarray) else given for key, given in sweep.items()}
    return {key: values_of(given) if isinstance(given, dict) else given for key, given in arrays.items()}


def _values(labelled: Any) -> Iterable[Any]:
    return labelled.values() if isinstance(labelled, dict) else ()


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True),
)
class Scenario(TakesNumpy):
    """A scenario: everything that decides the numbers of a run.

    A new key is a field here, and is handed on in execution/one_run.py, to `RunPlan` or to the array form.

    Raises
    ------
    ScenarioError
        If parameters contradict each other; the error has a line for each contradiction.

    Examples
    --------
    >>> from schemes import Uncoded
    >>> from straggler_models import Constant
    >>> Scenario(workers=2, jobs=3, stragglers={"usual": Constant(1.0)}, schemes={"uncoded": Uncoded(2)}).n_rounds
    3

    Parts may be mappings, as in a file; then the number of workers need not be repeated:

    >>> shorter = Scenario(
    ...     workers=4,
    ...     jobs=3,
    ...     stragglers={"usual": {"kind": "constant", "startup_s": 1.0}},
    ...     schemes={"GC": {"kind": "gradient_coding", "s": 1}, "uncoded": {"kind": "uncoded"}},
    ... )
    >>> shorter.schemes["GC"]
    GradientCoding(n_workers=4, s=1)
    """

    name: Annotated[str, Field(min_length=1)] = "scenario"
    """name in tables and figures"""
    seed: Count = 0
    """the one number behind all random numbers"""
    trials: PositiveCount = 1
    """independent repetitions"""
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)]
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
    """rounds that every scheme first runs uncoded, as a master does that still observes the cluster"""
    leftover: Leftover = "cancel"
    """whether a straggler drops its list when the round closes, or completes it first"""
    round_overhead_s: Seconds = 0.0
    """seconds of broadcast, decoding and bookkeeping after each round with work"""
    action_overhead_s: Seconds = 0.0
    """seconds until work begins that a scheme gives out during a round"""
    network: Network = Network()
    """what messages cost; by default nothing"""
    training: Training | None = None
    """training on the gradients; by default none"""
    schemes: dict[str, InstanceOf[Scheme]]
    """schemes by label; all meet the same worker times"""
    masters: dict[str, InstanceOf[MasterRule]] = dataclasses.field(default_factory=dict)
    """rules of single schemes, by the scheme's label, in place of ``master``"""
    sweep: Annotated[dict[str, list[Any]], BeforeValidator(_as_lists)] = dataclasses.field(default_factory=dict)
    """values of dotted keys; each combination is a point; `a, b: [[1, 2], [3, 4]]` varies two keys together"""
    points: tuple[Any, ...] = ()
    """the swept values of each point, with its scenario; filled in when a scenario is loaded"""

    @model_validator(mode="before")
    @classmethod
    def _made_of_mappings(cls, given: Any) -> Any:
        if not isinstance(given, ArgsKwargs) or given.args or not given.kwargs:
            return given
        at = given.kwargs
        parts = [at.get(name) for name in ("master", "network", "training")]
        parts += [part for name in ("stragglers", "schemes", "masters") for part in _values(at.get(name))]
        if not any(isinstance(part, dict) for part in parts):
            return given
        return ArgsKwargs((), import_module("simulator.scenario.loading").made(dict(at)))

    def __post_init__(self) -> None:
        parts = (field.name for field in dataclasses.fields(self) if field.name not in ("training", "sweep", "points"))
        problems = [problem for name in parts for problem in of_numbers(getattr(self, name), (name,))]
        problems = problems or [problem for check, given in checks(self) for problem in check(*given)]
        if problems:
            raise ContradictionError(problems)
        if self.sweep and not self._has_its_points:  # that file makes scenarios, and so stands above this one
            object.__setattr__(self, "points", tuple(import_module("simulator.scenario.loading").fill_in(self)))

    @property
    def _has_its_points(self) -> bool:
        """True if there are points, and they have not been left behind by `dataclasses.replace` of what they share."""
        swept = {key.strip().partition(".")[0] for entry in self.sweep for key in entry.split(",")}
        swept |= {"sweep", "points"} | (
            {"schemes", "masters"} if swept & {"workers", "seed", "stragglers", "schemes"} else set()
        )
        shared = [field.name for field in dataclasses.fields(self) if field.name not in swept]
        return any(all(getattr(at, name) == getattr(self, name) for name in shared) for _, at in self.points[:1])

    def to_yaml(self) -> str:
        """Return the scenario as a file has it; loading that gives the same scenario.

        Examples
        --------
        >>> from schemes import Uncoded
        >>> from straggler_models import Constant
        >>> mine = Scenario(workers=2, jobs=3, stragglers={"usual": Constant(1.0)}, schemes={"uncoded": Uncoded(2)})
        >>> print(mine.to_yaml().split("schemes:")[1].strip())
        uncoded: {kind: uncoded}
        """
        return yaml_of(import_module("simulator.scenario.plain").plain(self))

    @property
    def n_rounds(self) -> int:
        """Rounds that the longest scheme needs."""
        return self.jobs + max((scheme.delay_rounds for scheme in self.schemes.values()), default=0)

    def scheme_to_run(self, label: str) -> Scheme:
        """Return what runs under a scheme's name: the scheme, after uncoded rounds if there are any."""
        scheme = self.schemes[label]
        if isinstance(scheme, Adaptive):
            scheme = scheme.under(self.rule_for(label))
        return Probing(scheme.n_workers, scheme, self.probe) if self.probe else scheme

    @property
    def schemes_at_work(self) -> list[str]:
        """Labels of the schemes with work of their own to show; all, if there is none."""
        return [label for label, scheme in self.schemes.items() if not isinstance(scheme, Ideal)] or list(self.schemes)

    def rule_for(self, label: str) -> MasterRule:
        """The master rule under which a scheme runs."""
        return self.masters.get(label, self.master)

    def all_points(self) -> Sequence[tuple[dict[str, Any], Self]]:
        """Swept values and scenario of each point; without a sweep, the scenario itself."""
        return self.points or [({}, self)]

    def with_trials(self, n_trials: Mapping[int, int]) -> Self:
        """The same with other numbers of trials at some points."""
        if not self.points:
            return dataclasses.replace(self, trials=n_trials.get(0, self.trials))
        points = [
            (values, dataclasses.replace(at_point, trials=n_trials[index]) if index in n_trials else at_point)
            for index, (values, at_point) in enumerate(self.points)
        ]
        return self.sibling({"points": tuple(points)})

    def sibling(self, changed: Mapping[str, Any]) -> Self:
        """Return the same with other values that are known to be sound: nothing is checked, all else is shared."""
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        vars(made).update(changed)
        return made


class ContradictionError(ScenarioError):
    """Problems between parameters of a scenario, each with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__([str(problem) for problem in problems])
        self.problems = list(problems)


def checks(
    scenario: Scenario, *, at_a_point: bool = False
) -> Iterator[tuple[Callable[..., Iterator[Problem]], tuple[Any, ...]]]:
    """Yield checks of what single parameters can't know of, each with all that it may look at.

    What has passed a check passes it again: scenarios that differ elsewhere need not be checked by it.
    """
    of = scenario
    empty = tuple(section for section in ("stragglers", "schemes") if not getattr(of, section))
    yield _of_values, (empty, of.name, of.probe, of.jobs)
    yield _of_network, (of.network, of.workers)
    changing = next((label for label, model in of.stragglers.items() if model.lives_in != "rounds"), None)
    is_single = of.training is not None and of.models is None
    limits = of.workers, of.models, is_single, of.leftover, changing
    yield _of_schemes, (of.schemes, of.masters, of.master.waits_for, *limits)
    rules: dict[Path_, MasterRule] = {("schemes", label, "master"): rule for label, rule in of.masters.items()}
    if not of.schemes.keys() <= of.masters.keys():
        rules[("master",)] = of.master
    waiting = tuple([place for place, rule in rules.items() if rule.may_wait_for_ever])
    yield _of_models, (of.stragglers, of.workers, of.seed, of.n_rounds, waiting)
    yield _of_trials, (of.stragglers, of.trials)
    yield of_runs, (of.schemes, of.workers, of.jobs, of.trials)
    yield of_training, (of.training, of.workers, of.models or 1)
    yield from _of_times(of, rules, at_a_point=at_a_point)


def _of_times(
    of: "Scenario", rules: Mapping[Path_, MasterRule], *, at_a_point: bool
) -> Iterator[tuple[Callable[..., Iterator[Problem]], Any]]:
    """Checks for which worker times are drawn, where there is anything to check."""
    polls = {
        place: rule
        for place, rule in rules.items()
        if rule.poll_s is not None and not (at_a_point and rule.poll_s > COARSE_POLL_S)
    }
    changes = any(model.lives_in in ("seconds", "absences") for model in of.stragglers.values())
    if not polls and not changes:
        return
    loads: dict[Path_, float] = {}
    for label, scheme in of.schemes.items():
        place = ("schemes", label, "master") if label in of.masters else ("master",)
        loads[place] = max(scheme.load, loads.get(place, 0.0))
    if polls:
        yield of_polls, (polls, tuple(loads.items()), of.stragglers, of.workers, of.seed)
    if changes:
        yield of_pieces, (of.stragglers, of.workers, of.seed, max(loads.values(), default=0.0))


def _of_values(empty: Sequence[str], name: str, probe: int, jobs: int) -> Iterator[Problem]:
    for section in empty:
        yield Problem((section,), "must have at least one entry, got none")
    if "/" in name or "\\" in name or name.startswith("."):
        yield Problem(("name",), f"must not hold / or \\, nor begin with a dot, got {show(name)}")
    if probe >= jobs:
        yield Problem(("probe",), f"must be less than jobs = {jobs}, got {probe}")


def _of_network(network: Network, workers: int) -> Iterator[Problem]:
    rates = network.worker_bytes_per_s
    if isinstance(rates, list) and len(rates) != workers:
        message = f"must have {workers} entries, one for each worker, got {len(rates)}"
        yield Problem(("network", "worker_bytes_per_s"), message)


def _of_schemes(
    schemes: Mapping[str, Scheme],
    masters: Mapping[str, MasterRule],
    waits_for: WaitFor,
    workers: int,
    models: int | None,
    is_single: bool,
    leftover: Leftover,
    changing: str | None,
) -> Iterator[Problem]:
    """``waits_for``: of the common master; ``is_single``: one model is trained; ``changing``: a model not of rounds."""
    for label, scheme in schemes.items():
        place = ("schemes", label)
        if scheme.n_workers != workers:
            yield Problem(place, f"n_workers must be {workers}, as in the scenario, got {scheme.n_workers}")
        if is_single and scheme.delay_rounds:
            got = f"{scheme.delay_rounds} (set models: {scheme.delay_rounds + 1} or more)"
            yield Problem(place, f"T must be 0 rounds where a single model is trained, got {got}")
        if models is not None and scheme.delay_rounds > models - 1:
            yield Problem(place, f"T must be at most models - 1 = {models - 1} rounds, got {scheme.delay_rounds}")
        if scheme.late_ends_rounds and models is not None and models > 1:
            got = f"models: {models} (leave it out)"
            yield Problem(place, f"must train a single model, because late responses count, got {got}")
        if isinstance(scheme, Ideal) and changing is not None:
            got = f"stragglers.{changing}, in seconds, loads, tasks, messages or absences (leave one of them out)"
            yield Problem(place, f"ideal needs straggler models that live in rounds, got {got}")
        if not np.isfinite(scheme.load):
            yield Problem(place, f"load must be finite, got {scheme.load}")
        if scheme.hears_late and leftover == "cancel":
            message = "must be drop with leftover: cancel, got keep (set leftover: finish)"
            yield Problem((*place, "late_responses"), message)
        waits = masters[label].waits_for if label in masters else waits_for
        if scheme.needs_enough is not None and waits == "nobody":
            yield Problem(place, f"needs a master that waits for enough or for all: {scheme.needs_enough}")
    for label in set(masters) - set(schemes):
        yield Problem(("masters", label), f"must name a scheme, got {label}")


def _of_models(
    stragglers: Mapping[str, StragglerModel], workers: int, seed: int, n_rounds: int, waiting: Sequence[Path_]
) -> Iterator[Problem]:
    """``waiting``: places of rules that may wait for ever."""
    never = []
    for label, given in stragglers.items():
        try:
            model = settled({label: given}, workers, seed)[label]
            model.check(workers, n_rounds)
            never += [f"stragglers.{label}"] if model.may_never_answer else []
        except ValueError as error:
            for said in complaints_of(error):
                yield at_parameter(said, fields_of(type(given)), ("stragglers", label))
    for place in waiting if never else ():
        why = f"workers of {', '.join(never)} may never answer and the master would wait for them"
        yield Problem((*place, "timeout_s"), f"must be given, because {why}, got nothing")


def _of_trials(stragglers: Mapping[str, StragglerModel], trials: int) -> Iterator[Problem]:
    models = stragglers.values()
    if trials > 1 and not any(model.is_random and not model.gives_same_times for model in models):
        replayed = [label for label, model in stragglers.items() if model.gives_same_times]
        if replayed:
            got = f"{trials} (use mode: bootstrap in stragglers.{replayed[0]} for trials that differ)"
            yield Problem(("trials",), f"must be 1, because every trial would replay the same trace, got {got}")
