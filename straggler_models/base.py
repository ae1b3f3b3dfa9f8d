"""Base of the straggler models, descriptions of how long work takes.

A model lives in *rounds* (new worker times every round), in *seconds* (:class:`SecondsModel`: a speed that changes
while work is going on), in *loads* (the time of a list, not linear in its load), in *absences* (who is not there), or
in *tasks*, *messages* or the *gradients* in messages (a number for each place in a list). Models compose: start-up
times, seconds per load and delays add, slowdowns multiply, and a worker is there if all say so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.fields import FieldInfo

from simulator.parameters import BoolArray, FloatArray, IntArray, TakesNumpy, plain_numbers

AddsTo = Annotated[
    Literal["startup_s", "seconds_per_load", "task", "message_s", "seconds_per_gradient"],
    Field(
        description="what is drawn: for each round startup_s in seconds, or seconds_per_load in seconds for load 1; "
        "for each task its own seconds for load 1 (task); for each message its delay in seconds (message_s), or that "
        "for each gradient in it (seconds_per_gradient)"
    ),
]
Drawn = Literal["per_round", "per_run"]
LivesIn = Literal["rounds", "seconds", "loads", "absences", "tasks", "messages", "gradients"]
ListSeconds = Callable[[FloatArray, IntArray], FloatArray]  # seconds of lists of such loads, each of such a worker
Part = Literal["startup_s", "seconds_per_load", "slowdown"]  # of worker times
PLACES: dict[str, LivesIn] = {"task": "tasks", "message_s": "messages", "seconds_per_gradient": "gradients"}
BLOCK_ROUNDS = 64  # rounds drawn at a time: few Python calls, little memory, no influence on how a stream is used


class WorkerTimes(NamedTuple):
    """Time that work takes, in one or more successive rounds.

    A task that ends at cumulative load c is done ``slowdown * (startup_s + seconds_per_load * c)`` seconds
    after the worker began. All of shape ``(n_rounds, n_workers)``, ``(n_workers,)`` for one round, or scalar; ``inf``
    in any of them: the worker never answers.
    """

    startup_s: FloatArray | float = 0.0  # seconds before the first task begins
    seconds_per_load: FloatArray | float = 0.0  # seconds that one whole job (load 1) would take
    slowdown: FloatArray | float = 1.0  # factor on everything

    @property
    def n_rounds(self) -> int:
        """Number of rounds that this is for."""
        return max(len(field) if isinstance(field, np.ndarray) and field.ndim == 2 else 1 for field in self)


class StragglerModel(TakesNumpy, ABC):
    """A description of worker times: frozen, comparable, safe to share between runs.

    Subclasses are ``pydantic.dataclasses.dataclass(frozen=True)``; the constructor's parameters are the keys in a
    scenario. State lives in the generator that :meth:`rounds` returns.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    is_random: ClassVar[bool] = True
    """True if another stream of random numbers gives other times."""
    takes_arrays: ClassVar[tuple[str, ...]] = ()
    """Parameters that may be arrays, an entry for each worker, where times are drawn; each class says so for itself."""

    @classmethod
    def each(cls, **parameters: Any) -> Self:
        """Return the model of ``per_worker``: its numbers may be lists, an entry for each worker, or distributions.

        Examples
        --------
        >>> from straggler_models import Bernoulli
        >>> Bernoulli.each(p=[0.1, 0.2], slowdown={"distribution": "uniform", "low": 2.0, "high": 4.0}).p
        [0.1, 0.2]
        """
        fields = fields_of(cls)
        for name in [name for name in parameters if fields and name not in fields]:
            raise TypeError(f"{name} is not a parameter of {cls.__name__} (known: {', '.join(fields)})")
        given = {name: field.get_default() for name, field in fields.items() if not field.is_required()} | parameters
        lists = {name: value.tolist() for name, value in given.items() if isinstance(value, np.ndarray)}
        return cls.unchecked(plain_numbers(given | lists))

    @classmethod
    def unchecked(cls, values: dict[str, Any]) -> Self:
        """Return the model with such parameters, whatever they are."""
        made = object.__new__(cls)
        vars(made).update(values)
        return made

    @property
    def lives_in(self) -> LivesIn:
        """Where its times are: in :meth:`rounds`, in seconds, in :meth:`lists` of loads, or in :meth:`absences`.

        In seconds: in :meth:`slowdowns`, or in :meth:`others`. Or they are in :meth:`places` of tasks, of messages, or
        of messages in proportion to their gradients.
        """
        return "rounds"

    @property
    def draws_once(self) -> bool:
        """True if it draws something for itself, once for all trials; a run is of what is :meth:`settled`."""
        return False

    @property
    def gives_same_times(self) -> bool:
        """True if every trial meets the same times because they were measured."""
        return False

    @property
    def may_never_answer(self) -> bool:
        """True if a worker may take for ever: the master then needs a timeout."""
        return False

    @property
    def changes_per_s(self) -> float:
        """Mean number of changes of one worker in a second, if it says so: too many in a round are refused."""
        return 0.0

    @property
    def is_noise(self) -> bool:
        """True if work given out later in a round draws anew; False (default): a worker's state is the round's."""
        return False

    @property
    def tail_index(self) -> float:
        """Order from which on moments of a worker's time are infinite: up to 1 the mean, up to 2 the variance."""
        return float("inf")

    def check(self, n_workers: int, n_rounds: int) -> None:
        """Raise ``ValueError`` if the model can't serve so many workers and rounds (a trace may be too short)."""

    def settled(self, n_workers: int, rng: np.random.Generator) -> "StragglerModel":
        """Return the model with all drawn that it draws once for itself, if it :attr:`draws_once` at all."""
        return self

    @abstractmethod
    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        """Yield worker times for successive rounds, for ever.

        The stream is the model's own, and it is used in one order, whatever else a scenario holds; so a longer
        run only extends a shorter one.
        """

    def slowdowns(self, n_workers: int, rng: np.random.Generator) -> "Iterator[Speeds]":
        """Yield each worker's piecewise-constant slowdown over wall-clock time from 0 s on, for ever."""
        raise NotImplementedError

    def others(self, n_workers: int, rng: np.random.Generator) -> "Sequence[OtherWork] | None":
        """Return what else each worker is at from 0 s on, if our lists change that; None (default): nothing else."""
        return None

    def absences(self, n_workers: int, rng: np.random.Generator) -> "Sequence[Iterator[Absence]]":
        """Return each worker's absences from 0 s on, in order, without an overlap."""
        raise NotImplementedError

    def lists(self, n_workers: int, rng: np.random.Generator) -> Iterator[ListSeconds]:
        """Yield for each round what lists take, start-up apart, from their whole loads; equal loads, equal times."""
        raise NotImplementedError

    def places(self, n_workers: int, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Yield a number of each worker for the first, second, ... task or message of its list, in one round.

        Numbers of tasks are seconds per load, those of messages seconds; at least 0. Each round has its own stream.
        """
        raise NotImplementedError


class DrawnModel(StragglerModel):
    """A model whose rounds do not depend on those before: it says how they are drawn, and :meth:`rounds` follows."""

    @property
    def is_drawn_once(self) -> bool:
        """True if one round is drawn, whose times are those of all."""
        return False

    @abstractmethod
    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        """Draw the next rounds: so many, if drawing them in several goes gives the same, as filling one array does.

        A model that needs more than one array gives ``BLOCK_ROUNDS``, however many are asked for.
        """

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        while not self.is_drawn_once:
            yield self.draw(BLOCK_ROUNDS, n_workers, rng)
        times = self.draw(1, n_workers, rng)
        while True:
            yield times


class NoiseModel(DrawnModel):
    """A model that is noise: a random number for each worker and round, or for each of its tasks or messages."""

    adds_to: AddsTo

    @property
    def lives_in(self) -> LivesIn:
        return PLACES.get(self.adds_to, "rounds")

    @property
    def is_noise(self) -> bool:
        return True

    @abstractmethod
    def numbers(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> FloatArray:
        """Draw a number for each round and worker, shape ``(n_rounds, n_workers)``."""

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        if self.lives_in != "rounds":  # rounds as such change nothing
            return WorkerTimes()
        return WorkerTimes(**{part_of(self.adds_to): self.numbers(n_rounds, n_workers, rng)})

    def places(self, n_workers: int, rng: np.random.Generator) -> Iterator[FloatArray]:
        while True:
            yield self.numbers(1, n_workers, rng)[0]


class StandardModel(DrawnModel):
    """A drawn model of standard draws, random numbers that depend on no parameter: models of a class share them."""

    @property
    def part(self) -> Part:
        """The part of the worker times that is drawn."""
        return "slowdown"

    @staticmethod
    @abstractmethod
    def fill(draws: FloatArray, rng: np.random.Generator) -> None:
        """Fill an array with the next standard draws."""

    @abstractmethod
    def turn(self, draws: FloatArray) -> None:
        """Turn standard draws into worker times, in place."""

    def numbers(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> FloatArray:
        """Draw a number for each round and worker, shape ``(n_rounds, n_workers)``."""
        draws = np.empty((n_rounds, n_workers))
        self.fill(draws, rng)
        self.turn(draws)
        return draws

    def draw(self, n_rounds: int, n_workers: int, rng: np.random.Generator) -> WorkerTimes:
        if self.lives_in != "rounds":  # rounds as such change nothing
            return WorkerTimes()
        return WorkerTimes(**{self.part: self.numbers(n_rounds, n_workers, rng)})


class ChainModel(StragglerModel):
    """A model in which each worker is fast or slow, and changes state between rounds (a Markov chain)."""

    @abstractmethod
    def chances(self) -> tuple[float | FloatArray, float | FloatArray, float | FloatArray]:
        """P(fast -> slow) and P(slow -> fast) from one round to the next, and the slowdown of a slow worker."""

    @abstractmethod
    def start(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        """Return who is slow in the first round."""

    def follow(self, is_slow: BoolArray, draws: FloatArray) -> BoolArray:
        """Go on from who is slow, shape ``(..., n_workers)``, and return who is slow after the last round.

        Uniform draws, shape ``(..., n_rounds, n_workers)``, become the slowdowns of the rounds.
        """
        p_slow, p_recover, slowdown = self.chances()
        # a fast worker becomes slow below p_slow, a slow one stays slow from p_recover on
        becomes_slow = draws < p_slow
        differs = becomes_slow != (draws >= p_recover)
        for row in range(draws.shape[-2]):
            changed = becomes_slow[..., row, :] ^ (differs[..., row, :] & is_slow)
            becomes_slow[..., row, :] = is_slow
            is_slow = changed
        slow_down(draws, becomes_slow, slowdown)
        return is_slow

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        is_slow = self.start(n_workers, rng)
        while True:
            slowdown = rng.random((BLOCK_ROUNDS, n_workers))
            is_slow = self.follow(is_slow, slowdown)
            yield WorkerTimes(slowdown=slowdown)


class Speeds(NamedTuple):
    """Successive pieces of every worker's speed, shape ``(n_pieces, n_workers)`` each."""

    duration_s: FloatArray  # how long the piece lasts
    slowdown: FloatArray  # during it; inf: the worker stands still


class ClockModel(StragglerModel):
    """A model of what happens over wall-clock time."""

    @property
    def lives_in(self) -> LivesIn:
        return "seconds"

    def rounds(self, n_workers: int, rng: np.random.Generator) -> Iterator[WorkerTimes]:
        """Rounds as such change nothing."""
        while True:
            yield WorkerTimes()


class SecondsModel(ClockModel):
    """A model in which workers change their speed at any time, also in the middle of a task."""

    @abstractmethod
    def slowdowns(self, n_workers: int, rng: np.random.Generator) -> Iterator[Speeds]:
        """Yield each worker's piecewise-constant slowdown over wall-clock time from 0 s on, for ever."""


class OtherWork(ABC):
    """What else one worker is at, as it is at some instant, with a list of ours or without.

    It can be copied, to look ahead: how a list of ours gets on is worked out when it comes, and it may be dropped
    before it is done.
    """

    now_s: float = 0.0
    """the instant, on the clock of the run"""

    @abstractmethod
    def copy(self) -> Self:
        """Return another one that goes on by itself, and meets the same from now on."""

    @abstractmethod
    def enter(self) -> None:
        """Let a list of ours come."""

    @abstractmethod
    def leave(self) -> None:
        """Let it go: it is done, or was dropped."""

    @abstractmethod
    def outlook(self) -> tuple[float, float]:
        """Say until when our list gets on equally fast, if it stays (inf: to its end), and its slowdown until then."""

    @abstractmethod
    def run(self, until_s: float) -> None:
        """Go on until then; an instant that is over changes nothing."""


class SharedModel(ClockModel):
    """A model of what workers are at beside our lists, which go on differently where a list of ours is."""

    @abstractmethod
    def other_work(self, rng: np.random.Generator) -> OtherWork:
        """Return what one worker is at from 0 s on."""

    def others(self, n_workers: int, rng: np.random.Generator) -> Sequence[OtherWork]:
        return [self.other_work(own) for own in rng.spawn(n_workers)]


class Absence(NamedTuple):
    """A time for which nobody is in a worker's place, on the clock of the run."""

    leaves_s: float
    joins_s: float  # when another worker joins; inf: none does
    heard_s: float  # when the master hears that the worker has left: when another one joins, at the latest


class LeavingModel(ClockModel):
    """A model of workers that leave, with what they have in hand, and of others that join in their place."""

    @property
    def lives_in(self) -> LivesIn:
        return "absences"

    @abstractmethod
    def absences_of(self, rng: np.random.Generator) -> Iterator[Absence]:
        """Yield one worker's absences from 0 s on, in order, without an overlap."""

    def absences(self, n_workers: int, rng: np.random.Generator) -> Sequence[Iterator[Absence]]:
        return [self.absences_of(own) for own in rng.spawn(n_workers)]


def fields_of(cls: type[StragglerModel]) -> dict[str, FieldInfo]:
    """Return the parameters of a model, as pydantic knows them; of a class without pydantic, none."""
    return {name: field for name, field in getattr(cls, "__pydantic_fields__", {}).items() if field.init is not False}


def part_of(target: AddsTo) -> Part:
    """Return the part of worker times that is drawn."""
    return "startup_s" if target == "startup_s" else "seconds_per_load"


def slow_down(out: FloatArray, is_slow: BoolArray, slowdown: float | FloatArray) -> None:
    """Write the slowdowns: of who is slow, and 1 of everybody else."""
    if isinstance(slowdown, np.ndarray):
        np.copyto(out, np.where(is_slow, slowdown, 1.0))
        return
    np.take(np.array([1.0, slowdown]), is_slow.view(np.uint8), out=out, mode="clip")  # twice as fast as a mask


def some_workers(n_rounds: int, n_workers: int, n_chosen: int, rng: np.random.Generator) -> BoolArray:
    """Choose so many workers uniformly, anew in every round, shape ``(n_rounds, n_workers)``."""
    return rng.permuted(np.tile(np.arange(n_workers) < n_chosen, (n_rounds, 1)), axis=1)
