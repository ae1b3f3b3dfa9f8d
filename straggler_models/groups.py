"""Workers that are slow together: racks, hosts, switches."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, InstanceOf
from pydantic.dataclasses import dataclass

from simulator.parameters import ComplaintsError, Count, FloatArray, IntArray, PositiveCount, complaints_of
from straggler_models.base import Absence, ListSeconds, LivesIn, SharedModel, Speeds, StragglerModel, WorkerTimes

Members = Annotated[list[Annotated[list[Count], Field(min_length=1)]], Field(min_length=1)]


@dataclass(frozen=True)
class Groups(StragglerModel):
    """Workers in groups (racks, hosts) whose members share the state of a model.

    The model is drawn for as many "workers" as there are groups, and each member takes the times of its group; workers
    in no group are left as they are. Groups are ``size`` neighbours each (the last one may be smaller), or given.

    Source: the correlated failures of racks in Ford et al., "Availability in Globally Distributed Storage Systems",
    OSDI 2010; here any model.

    Examples
    --------
    >>> from straggler_models import Bernoulli
    >>> racks = Groups(size=3, model=Bernoulli(p=0.5, slowdown=4.0))
    >>> next(racks.rounds(7, np.random.default_rng(1))).slowdown[0]
    array([1., 1., 1., 1., 1., 1., 4.])
    """

    model: InstanceOf[StragglerModel]
    """any straggler model, of groups in place of workers"""
    size: PositiveCount | None = None
    """workers in a group; alternative to members"""
    members: Members | None = None
    """the workers of each group; alternative to size"""
    shuffled: bool = False
    """true: groups are drawn once, uniformly; false: they are neighbours"""
    seed: Count | None = None
    """seed of shuffled groups, and of what the model draws once; null: the scenario's"""

    def __post_init__(self) -> None:
        if (self.size is None) == (self.members is None):
            got = "none of them" if self.size is None else "both"
            raise ValueError(f"size must be given, or members in its place, got {got}")
        if self.shuffled and self.members is not None:
            raise ValueError("shuffled must be left out where members are given, got true")
        if isinstance(self.model, SharedModel) or isinstance(getattr(self.model, "model", None), SharedModel):
            got = type(self.model).__name__
            raise ValueError(f"model must not be one of other jobs, which each member has of its own, got {got}")

    @property
    def is_random(self) -> bool:  # type: ignore[override]  # of the class elsewhere, here of the model inside
        return self.model.is_random

    @property
    def lives_in(self) -> LivesIn:
        return self.model.lives_in

    @property
    def gives_same_times(self) -> bool:
        return self.model.gives_same_times

    @property
    def may_never_answer(self) -> bool:
        return self.model.may_never_answer

    @property
    def changes_per_s(self) -> float:
        return self.model.changes_per_s

    @property
    def is_noise(self) -> bool:
        return self.model.is_noise

    @property
    def draws_once(self) -> bool:
        return self.shuffled or self.model.draws_once

    @property
    def tail_index(self) -> float:
        return self.model.tail_index

    def check(self, n_workers: int, n_rounds: int) -> None:
        seen: set[int] = set()
        for group, members in enumerate(self.members or ()):
            for place, worker in enumerate(members):
                if worker >= n_workers:
                    raise ValueError(
                        f"members.{group}.{place} must be a worker between 0 and {n_workers - 1}, got {worker}"
                    )
                if worker in seen:
                    raise ValueError(f"members.{group}.{place} must be a worker of one group only, got {worker} again")
                seen.add(worker)
        try:
            self.model.check(self._n_groups(n_workers), n_rounds)
        except ValueError as error:
            raise _of_model(error) from error

    def settled(self, n_workers: int, rng: np.random.Generator) -> "Groups":
        if not self.draws_once:
            return self
        of_members, of_model = (rng if self.seed is None else np.random.default_rng(self.seed)).spawn(2)
        try:
            model, members = self.model.settled(self._n_groups(n_workers), of_model), self.members
        except ValueError as error:
            raise _of_model(error) from error
        if self.shuffled and self.size is not None:
            order = of_members.permutation(n_workers)
            members = [np.sort(order[at : at + self.size]).tolist() for at in range(0, n_workers, self.size)]
        return Groups(model, None if members else self.size, members)

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        model, group = self._at_work(n_workers, rng)
        for times in model.rounds(self._n_groups(n_workers), rng):
            yield WorkerTimes(
                _spread(times.startup_s, 0.0, group),
                _spread(times.seconds_per_load, 0.0, group),
                _spread(times.slowdown, 1.0, group),
            )

    def slowdowns(self, n_workers: int, rng: np.random.Generator) -> Iterator[Speeds]:
        model, group = self._at_work(n_workers, rng)
        for speeds in model.slowdowns(self._n_groups(n_workers), rng):
            yield Speeds(speeds.duration_s[:, group], np.where(group < 0, 1.0, speeds.slowdown[:, group]))

    def absences(self, n_workers: int, rng: np.random.Generator) -> Sequence[Iterator[Absence]]:
        model, group = self._at_work(n_workers, rng)
        every: list[list[Iterator[Absence]]] = [
            list(itertools.tee(absences, int(np.count_nonzero(group == number))))
            for number, absences in enumerate(model.absences(self._n_groups(n_workers), rng))
        ]
        return [every[number].pop() if number >= 0 else iter(()) for number in group.tolist()]

    def lists(self, n_workers: int, rng: np.random.Generator) -> Iterator[ListSeconds]:
        model, group = self._at_work(n_workers, rng)
        for of_groups in model.lists(self._n_groups(n_workers), rng):

            def seconds(loads: FloatArray, workers: IntArray, of_groups: ListSeconds = of_groups) -> FloatArray:
                return np.where(group[workers] < 0, 0.0, of_groups(loads, group[workers]))

            yield seconds

    def places(self, n_workers: int, rng: np.random.Generator) -> Iterator[FloatArray]:
        model, group = self._at_work(n_workers, rng)
        for of_groups in model.places(self._n_groups(n_workers), rng):
            yield np.asarray(_spread(of_groups, 0.0, group))

    def _n_groups(self, n_workers: int) -> int:
        return len(self.members) if self.members else -(-n_workers // (self.size or 1))

    def _at_work(self, n_workers: int, rng: np.random.Generator) -> tuple[StragglerModel, IntArray]:
        """The model of the groups, and the group of each worker; -1: none."""
        if self.draws_once:  # outside a scenario
            return self.settled(n_workers, rng)._at_work(n_workers, rng)
        if self.members is None:
            return self.model, np.arange(n_workers) // (self.size or 1)
        group = np.full(n_workers, -1)
        for number, members in enumerate(self.members):
            group[members] = number
        return self.model, group


def _spread(part: FloatArray | float, of_none: float, group: IntArray) -> FloatArray | float:
    """Part of the worker times, from groups to workers; ``of_none``: of workers in no group."""
    if not isinstance(part, np.ndarray) and (part == of_none or (group >= 0).all()):
        return part
    of_groups = np.broadcast_to(part, (*np.shape(part)[:-1], int(group.max()) + 1))
    return np.where(group < 0, of_none, of_groups[..., group])


def _of_model(error: ValueError) -> ValueError:
    """What the model inside complains of, at its place."""
    return ComplaintsError(*(f"model.{said}" for said in complaints_of(error)))
