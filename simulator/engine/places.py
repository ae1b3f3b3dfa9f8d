"""Random numbers for each place in a worker's list: of its tasks, and of its messages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simulator.engine.streams import stream
from simulator.parameters import FloatArray, IntArray
from straggler_models.base import StragglerModel

Column = Iterator[FloatArray]  # numbers of one place after another, of each worker one
LIVES_IN = ("tasks", "messages", "gradients")


class Places:
    """Sums over some models for a round's places, drawn one place after another as they are asked for.

    So a longer list has the numbers of a shorter one, and some more.

    Examples
    --------
    >>> places = Places({"usual": iter([np.array([1.0, 2.0]), np.array([3.0, 4.0])])})
    >>> places.first(2)
    array([[1., 3.],
           [2., 4.]])
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._drawn: list[FloatArray] = []

    def first(self, number: int) -> FloatArray:
        """Numbers of the first places, shape ``(n_workers, number)``."""
        while len(self._drawn) < number:
            self._drawn.append(np.sum([_next(*each) for each in self._columns.items()], axis=0))
        return np.stack(self._drawn[:number], axis=1)

    def of(self, worker: int, number: int) -> list[float]:
        """Numbers of one worker's first places."""
        return [float(each) for each in self.first(number)[worker]]


def _next(label: str, column: Column) -> FloatArray:
    drawn = next(column, None)
    if drawn is None:
        raise ValueError(f"stragglers.{label}: the model must yield a time for each place of a list, got too few")
    is_right = np.isfinite(drawn) & (drawn >= 0)
    if not is_right.all():
        message = f"what is drawn for a task or message must be at least 0 and finite, got {drawn[~is_right][0]}"
        raise ValueError(f"stragglers.{label}: {message}")
    return drawn


class ListPlaces(NamedTuple):
    """What is drawn in a round for the lists that workers are given; None: nothing."""

    tasks: Places | None = None  # seconds per load of each task, on top of those of all
    messages: Places | None = None  # seconds by which each message is delayed
    gradients: Places | None = None  # more of these for each gradient in it

    def task_seconds(self, loads: FloatArray) -> FloatArray | float:
        """Seconds of work, at the usual speed, that its tasks have on top up to each cumulative load; of its shape."""
        if self.tasks is None:
            return 0.0
        upto = np.fmax.accumulate(np.nan_to_num(loads), axis=1)
        return np.cumsum(self.tasks.first(loads.shape[1]) * np.diff(upto, axis=1, prepend=0.0), axis=1)

    def task_seconds_of(self, worker: int, loads: Sequence[float]) -> Iterable[float]:
        """Say the same of one worker, number by number."""
        if self.tasks is None:
            return itertools.repeat(0.0, len(loads))
        steps = np.diff(loads, prepend=0.0)
        return list(map(float, np.cumsum(self.tasks.first(len(loads))[worker] * steps)))

    @property
    def delay(self) -> bool:
        """True if messages are delayed."""
        return self.messages is not None or self.gradients is not None

    def delays_s(self, gradients: FloatArray) -> FloatArray | None:
        """Delay of each message with so many gradients, shape ``(n_workers, n_reports)``; None: there is none."""
        if not self.delay:
            return None
        delays_s = np.zeros(gradients.shape)
        if self.messages is not None:
            delays_s += self.messages.first(gradients.shape[1])
        if self.gradients is not None:
            delays_s += self.gradients.first(gradients.shape[1]) * gradients
        return delays_s

    def delays_of(self, worker: int, number: int) -> list[float]:
        """Delays of one worker's messages, each with a gradient; none, if nothing delays them."""
        if not self.delay:
            return []
        each = [places.of(worker, number) for places in (self.messages, self.gradients) if places is not None]
        return [sum(delays) for delays in zip(*each, strict=True)]

    def upload_delays_s(self, gradients: FloatArray, places: IntArray) -> FloatArray:
        """Delay of one more message of each worker, after those of its list, shape ``(n_workers,)``."""
        delays_s = self.delays_s(np.repeat(gradients[:, np.newaxis], int(places.max()) + 1, axis=1))
        return np.zeros(len(places)) if delays_s is None else delays_s[np.arange(len(places)), places]


NO_PLACES = ListPlaces()


def list_places(
    models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int, again: int
) -> Callable[[int], ListPlaces]:
    """Return a function that says what is drawn in some round, for work that rounds begin with or the k-th further.

    Each round of a model has a stream of its own: how long lists are in one round changes no other.
    """
    labels = {where: [label for label in sorted(models) if models[label].lives_in == where] for where in LIVES_IN}
    if not any(labels.values()):
        return lambda index: NO_PLACES

    def column(label: str, index: int) -> Column:
        return models[label].places(n_workers, stream(seed, trial, "places", f"{label}\0{again}\0{index}"))

    def of_round(index: int) -> ListPlaces:
        each = ({label: column(label, index) for label in own} for own in labels.values())
        return ListPlaces(*(Places(columns) if columns else None for columns in each))

    return of_round
