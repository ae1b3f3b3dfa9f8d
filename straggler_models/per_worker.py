"""Workers that differ: a model whose parameters are each worker's own."""

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, cast, get_args

import numpy as np
from pydantic import InstanceOf, ValidationError
from pydantic.dataclasses import dataclass

from simulator.parameters import ComplaintsError, Count, FloatArray, IntArray, OfEach, complaints_of
from straggler_models.base import (
    BLOCK_ROUNDS,
    Absence,
    ClockModel,
    LeavingModel,
    ListSeconds,
    LivesIn,
    OtherWork,
    SharedModel,
    StragglerModel,
    WorkerTimes,
    fields_of,
)
from straggler_models.distributions import complaint, distribution_of

SOME = 100  # workers of which it is said whether any may never answer, before a scenario says how many there are


@dataclass(frozen=True)
class PerWorker(StragglerModel):
    """A straggler model with parameters of each worker's own: a list, or a draw for each worker.

    Any number among the model's parameters may be a list with an entry for each worker, or
    ``{distribution: uniform, low: 0.01, high: 0.1}`` (``exponential``: mean; ``lognormal``: median, sigma; ``gamma``:
    mean, variance; ``choice``: values, shares), drawn once for each worker, for all trials alike. A worker has the
    times that it would have if all workers had its parameters, from the same random numbers: a common shock stays one.

    Source: workers with parameters of their own as in Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG", 2021.

    Examples
    --------
    >>> from straggler_models import Bernoulli
    >>> model = PerWorker(Bernoulli.each(p=[0.0, 1.0, 1.0], slowdown=[2.0, 3.0, 4.0]))
    >>> next(model.rounds(3, np.random.default_rng(1))).slowdown[0]
    array([1., 3., 4.])
    """

    model: Annotated[InstanceOf[StragglerModel], OfEach()]
    """any straggler model but those of speeds in seconds; its numbers may be lists or distributions"""
    seed: Count | None = None
    """seed of draws from distributions; null: the scenario's"""

    def __post_init__(self) -> None:
        if missing := self._missing():
            raise ComplaintsError(*missing, *self._malformed(), *self._out_of_range())
        is_of_clock = isinstance(self.model, ClockModel) and not isinstance(self.model, SharedModel | LeavingModel)
        if is_of_clock or any(isinstance(v, StragglerModel) for v in vars(self.model).values()):
            kind = type(self.model).__name__
            raise ValueError(f"model must live in rounds and hold no other model, got {kind} (groups take any)")
        if malformed := list(self._malformed()):
            raise ComplaintsError(*malformed, *self._out_of_range())

    def _missing(self) -> list[str]:
        fields = fields_of(type(self.model)).items()
        missing = [name for name, field in fields if field.is_required() and name not in vars(self.model)]
        return [f"model.{name} must be given, got nothing" for name in missing]

    def _malformed(self) -> Iterator[str]:
        """Say which entries are no numbers, and which distributions are none."""
        for name, given in self._own().items():
            if isinstance(given, dict):
                try:
                    distribution_of(given)
                except ValueError as error:
                    yield from (f"model.{name}.{said}" for said in complaints_of(error))
            else:
                for worker, value in enumerate(given):
                    if type(value) not in (int, float):
                        yield f"model.{name}.{worker} must be a number, got {value!r} (worker {worker})"

    def _out_of_range(self, drawn: Collection[str] = ()) -> Iterator[str]:
        """Say which entries of lists, and shared parameters, are wrong by themselves; of what is drawn the first."""
        own = self._own()
        base = vars(self.model) | {name: given[0] for name, given in own.items() if isinstance(given, list) and given}
        seen: dict[tuple[str, float] | None, list[str]] = {None: _wrong(type(self.model), base)}
        yield from (f"model.{said}" for said in seen[None] if said.partition(" ")[0] not in own)
        for name, given in own.items():
            for worker, value in enumerate(given if isinstance(given, list) else ()):
                if type(value) in (int, float):
                    if (name, value) not in seen:
                        seen[name, value] = _wrong(type(self.model), base | {name: value})
                    wrong = [self._told(worker, said) for said in seen[name, value] if said.partition(" ")[0] == name]
                    yield from wrong
                    if wrong and name in drawn:
                        break

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
        return any(model.may_never_answer for _, model in self._some()._different())

    @property
    def changes_per_s(self) -> float:
        return max(model.changes_per_s for _, model in self._some()._different())

    @property
    def is_noise(self) -> bool:
        return self.model.is_noise

    @property
    def draws_once(self) -> bool:
        return any(isinstance(value, dict) for value in self._own().values())

    @property
    def tail_index(self) -> float:
        return min(model.tail_index for _, model in self._some()._different())

    def check(self, n_workers: int, n_rounds: int) -> None:
        said = [*self._of_lengths(n_workers), *self._out_of_range()]
        if not said:
            for worker, values in self._different_values():
                try:
                    self._model_of(worker, values).check(n_workers, n_rounds)
                except ComplaintsError as error:
                    said += error.args
                except ValueError as error:
                    said.append(self._told(worker, str(error)))
        if said:
            raise ComplaintsError(*dict.fromkeys(said))

    def _of_lengths(self, n_workers: int) -> Iterator[str]:
        for name, given in self._own().items():
            if isinstance(given, list) and len(given) != n_workers:
                yield f"model.{name} must have {n_workers} entries, one for each worker, got {len(given)}"

    def settled(self, n_workers: int, rng: np.random.Generator) -> "PerWorker":
        if not self.draws_once:
            return self
        names = list(fields_of(type(self.model)) or vars(self.model))
        own = (rng if self.seed is None else np.random.default_rng(self.seed)).spawn(len(names))
        drawn = {
            name: distribution_of(value).draw(n_workers, own[names.index(name)]).tolist()
            for name, value in self._own().items()
            if isinstance(value, dict)
        }
        made = PerWorker(self.model.unchecked(vars(self.model) | drawn))
        if wrong := list(made._out_of_range(drawn)):
            raise ComplaintsError(*self._of_lengths(n_workers), *wrong)
        return made

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        models, of_worker = self._at_work(n_workers, rng)
        if len(models) == 1:
            yield from models[0].rounds(n_workers, rng)
        else:
            blocks = [_blocks(model, n_workers, twin) for model, twin in zip(models, _twins(rng, models), strict=True)]
            for together in zip(*blocks, strict=True):
                yield WorkerTimes(*(_own_of(parts, of_worker) for parts in zip(*together, strict=True)))

    def others(self, n_workers: int, rng: np.random.Generator) -> Sequence[OtherWork] | None:
        if not isinstance(self.model, SharedModel):
            return None
        return [cast(SharedModel, model).other_work(own) for model, own in self._each(n_workers, rng)]

    def absences(self, n_workers: int, rng: np.random.Generator) -> Sequence[Iterator[Absence]]:
        return [cast(LeavingModel, model).absences_of(own) for model, own in self._each(n_workers, rng)]

    def _each(self, n_workers: int, rng: np.random.Generator) -> list[tuple[StragglerModel, np.random.Generator]]:
        """Each worker's model, with a stream of its own."""
        if self.draws_once:  # outside a scenario
            return self.settled(n_workers, rng)._each(n_workers, rng)
        own = list(zip(*self._own().values(), strict=True)) or [()] * n_workers
        models = [self._model_of(worker, values) for worker, values in enumerate(own)]
        return list(zip(models, rng.spawn(n_workers), strict=True))

    def lists(self, n_workers: int, rng: np.random.Generator) -> Iterator[ListSeconds]:
        models, of_worker = self._at_work(n_workers, rng)
        every = [model.lists(n_workers, twin) for model, twin in zip(models, _twins(rng, models), strict=True)]
        for together in zip(*every, strict=True):

            def seconds(loads: FloatArray, workers: IntArray, each: Sequence[ListSeconds] = together) -> FloatArray:
                return _own_of([of(loads, workers) for of in each], of_worker[workers])

            yield seconds

    def places(self, n_workers: int, rng: np.random.Generator) -> Iterator[FloatArray]:
        models, of_worker = self._at_work(n_workers, rng)
        every = [model.places(n_workers, twin) for model, twin in zip(models, _twins(rng, models), strict=True)]
        for together in zip(*every, strict=True):
            yield _own_of(together, of_worker)

    def _own(self) -> dict[str, Any]:
        """The parameters that are each worker's own: lists, or distributions."""
        fields = fields_of(type(self.model))
        return {
            name: value
            for name, value in vars(self.model).items()
            if isinstance(value, list | dict) and (name not in fields or _is_number(fields[name].annotation))
        }

    def _some(self) -> "PerWorker":
        """The same with nothing to draw; outside a scenario, with some drawn."""
        return self.settled(SOME, np.random.default_rng(0))

    def _different(self) -> Iterator[tuple[int, StragglerModel]]:
        """Models of single workers that differ from those before, each with the first worker that has it."""
        return ((worker, self._model_of(worker, values)) for worker, values in self._different_values())

    def _different_values(self) -> Iterator[tuple[int, tuple[float, ...]]]:
        own, seen = self._own(), set[tuple[float, ...]]()
        for worker, values in enumerate(zip(*own.values(), strict=False) if own else [()]):
            if values not in seen:
                seen.add(values)
                yield worker, values

    def _model_of(self, worker: int, values: tuple[float, ...]) -> StragglerModel:
        try:
            return type(self.model)(**(vars(self.model) | dict(zip(self._own(), values, strict=True))))
        except ValidationError as error:
            raise ComplaintsError(*(self._told(worker, complaint(found)) for found in error.errors())) from error
        except ValueError as error:
            raise ComplaintsError(self._told(worker, str(error))) from error

    def _told(self, worker: int, message: str) -> str:
        """A complaint about a worker's model; it is named where its own parameters have to do with it."""
        own, (name, _, rest) = self._own(), message.partition(" ")
        place = f"model.{name}.{worker}" if name in own else f"model.{name}"
        return f"{place} {rest}" + f" (worker {worker})" * any(parameter in message for parameter in own)

    def _at_work(self, n_workers: int, rng: np.random.Generator) -> tuple[list[StragglerModel], IntArray]:
        """Models of all workers, and which of them each worker has: only one, if arrays can say what differs."""
        if self.draws_once:  # outside a scenario
            return self.settled(n_workers, rng)._at_work(n_workers, rng)
        shared, own = vars(self.model), self._own()
        quick = vars(type(self.model)).get("takes_arrays", ())
        arrays = {name: np.array(values, dtype=np.float64) for name, values in own.items() if name in quick}
        others = {name: values for name, values in own.items() if name not in quick}
        sets: dict[tuple[float, ...], int] = {} if others else {(): 0}
        of_worker = [sets.setdefault(values, len(sets)) for values in zip(*others.values(), strict=True)]
        every = [shared | arrays | dict(zip(others, values, strict=True)) for values in sets]
        make = self.model.unchecked if arrays else lambda values: type(self.model)(**values)
        return [make(values) for values in every], np.array(of_worker or [0] * n_workers)


def _wrong(cls: type[StragglerModel], parameters: dict[str, Any]) -> list[str]:
    """ComplaintsError about parameters that are given, each by itself and not with others."""
    try:
        cls(**parameters)
    except ValidationError as error:
        found = [each for each in error.errors(include_url=False) if each["loc"]]
        return [complaint(each) for each in found if each["loc"][0] in parameters]
    except (ValueError, TypeError):  # of a model that is no pydantic dataclass: of which parameter is not known yet
        pass
    return []


def _is_number(annotation: object) -> bool:
    return annotation in (int, float) or any(_is_number(inner) for inner in get_args(annotation))


def _twins(rng: np.random.Generator, models: Sequence[StragglerModel]) -> Iterator[np.random.Generator]:
    """For each model a stream of the same numbers."""
    state = rng.bit_generator.state
    for _ in models:
        twin = np.random.Generator(type(rng.bit_generator)(0))
        twin.bit_generator.state = state
        yield twin


def _blocks(model: StragglerModel, n_workers: int, rng: np.random.Generator) -> Iterator[list[FloatArray]]:
    """The three parts of a model's worker times, in blocks of as many rounds, whatever those of the model are."""
    kept = [np.empty((0, n_workers)) for _ in WorkerTimes()]
    for times in model.rounds(n_workers, rng):
        whole = (np.broadcast_to(part, (times.n_rounds, n_workers)) for part in times)
        kept = [np.concatenate(pair) for pair in zip(kept, whole, strict=True)]
        while len(kept[0]) >= BLOCK_ROUNDS:
            yield [part[:BLOCK_ROUNDS] for part in kept]
            kept = [part[BLOCK_ROUNDS:] for part in kept]
    if len(kept[0]):
        yield kept


def _own_of(parts: Sequence[FloatArray], of_worker: IntArray) -> FloatArray:
    """Of arrays with a column for each worker, each worker's from the one that is its own."""
    stack: FloatArray = np.stack(parts)
    return np.asarray(np.take_along_axis(stack, of_worker.reshape((1,) * (stack.ndim - 1) + (-1,)), axis=0)[0])
