"""A frozen description of what is run, free of contradictions."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import ConfigDict, Field, InstanceOf
from pydantic.dataclasses import dataclass

from schemes import Ideal, Scheme
from schemes.probing import Probing
from simulator.choices import Leftover
from simulator.engine.master_rules import FirstEnough, MasterRule
from simulator.engine.network import Network
from simulator.engine.training import Training
from simulator.errors import Path_, Problem, ScenarioError, show
from simulator.plugins.fields import fields_of
from simulator.plugins.messages import at_parameter
from straggler_models import StragglerModel
from straggler_models.base import Count, PositiveCount, Seconds, SecondsModel


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True),
)
class Scenario:
    """All that decides the numbers of a run.

    A new key is a field here, and is handed on in execution/one_run.py, to `RunPlan` or to the array form.

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
    leftover: Leftover = "cancel"
    """whether a straggler drops its list when the round closes, or completes it first, unheard"""
    round_overhead_s: Seconds = 0.0
    """seconds of broadcast, decoding and bookkeeping that every round with work costs after it has closed"""
    network: Network = Network()
    """what it takes to send responses; by default nothing"""
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
        """Return what runs under a scheme's name: the scheme, after uncoded rounds if there are any."""
        scheme = self.schemes[label]
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
            (values, dataclasses.replace(at_point, trials=n_trials.get(index, at_point.trials)))
            for index, (values, at_point) in enumerate(self.points)
        ]
        return dataclasses.replace(self, points=tuple(points))


class ContradictionError(ScenarioError):
    """Problems between parameters of a scenario, each with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__([str(problem) for problem in problems])
        self.problems = list(problems)


def _contradictions(scenario: Scenario) -> Iterator[Problem]:
    """Yield problems that single parameters can't know of."""
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
            who = f"workers of {', '.join(f'stragglers.{label}' for label in never)}"
            why = f"{who} may never answer and the master would wait for them"
            yield Problem((*place, "timeout_s"), f"must be given, because {why}, got nothing")
    models = scenario.stragglers.values()
    if scenario.trials > 1 and not any(model.is_random and not model.gives_same_times for model in models):
        replayed = [label for label, model in scenario.stragglers.items() if model.gives_same_times]
        if replayed:
            got = f"{scenario.trials} (use mode: bootstrap in stragglers.{replayed[0]} for trials that differ)"
            yield Problem(("trials",), f"must be 1, because every trial would replay the same trace, got {got}")


def _of_schemes(scenario: Scenario) -> Iterator[Problem]:
    for label, scheme in scenario.schemes.items():
        place = ("schemes", label)
        if scheme.n_workers != scenario.workers:
            yield Problem(place, f"n_workers must be {scenario.workers}, as in the scenario, got {scheme.n_workers}")
        if scenario.training is not None and scenario.models is None and scheme.delay_rounds:
            got = f"{scheme.delay_rounds} (set models: {scheme.delay_rounds + 1} or more)"
            yield Problem(place, f"T must be 0 rounds where a single model is trained, got {got}")
        if scenario.models is not None and scheme.delay_rounds > scenario.models - 1:
            limit = f"models - 1 = {scenario.models - 1} rounds"
            yield Problem(place, f"T must be at most {limit}, got {scheme.delay_rounds}")
        seconds = [label for label, model in scenario.stragglers.items() if isinstance(model, SecondsModel)]
        if isinstance(scheme, Ideal) and seconds:
            got = f"stragglers.{seconds[0]}, in seconds (leave one of them out)"
            yield Problem(place, f"ideal needs straggler models that live in rounds, got {got}")
        if not np.isfinite(scheme.load):
            yield Problem(place, f"load must be finite, got {scheme.load}")
        if scheme.hears_late and scenario.leftover == "cancel":
            message = "must be drop unless workers finish what is left over, got keep (set leftover: finish)"
            yield Problem((*place, "late_responses"), message)
        if scheme.needs_enough is not None and scenario.rule_for(label).waits_for == "nobody":
            yield Problem(place, f"needs a master that waits for enough or for all: {scheme.needs_enough}")
    for label in set(scenario.masters) - set(scenario.schemes):
        yield Problem(("masters", label), f"must name a scheme, got {label}")
