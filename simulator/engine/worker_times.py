"""Worker times of trials: the streams of a scenario's straggler models, composed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import groupby, islice, repeat
from operator import attrgetter
from typing import NamedTuple, TypeGuard

import numpy as np

from simulator.engine.drawn_once import settled
from simulator.engine.places import NO_PLACES, ListPlaces, list_places
from simulator.engine.sharing_out import shared_out
from simulator.engine.streams import streams
from simulator.parameters import BoolArray, FloatArray, IntArray
from straggler_models.base import (
    BLOCK_ROUNDS,
    ChainModel,
    DrawnModel,
    ListSeconds,
    StandardModel,
    StragglerModel,
    WorkerTimes,
)

CHUNK = 1 << 19  # numbers of a chain that are worked on at once


class RoundTimes(NamedTuple):
    """Worker times of one round, shape ``(n_workers,)`` each."""

    startup_s: FloatArray
    seconds_per_load: FloatArray
    slowdown: FloatArray
    never: BoolArray | None  # who never answers; None: nobody
    lists: tuple[ListSeconds, ...] = ()  # of models that live in loads
    places: ListPlaces = NO_PLACES  # of models that live in tasks, messages or gradients

    def of_lists(self, loads: FloatArray) -> RoundTimes:
        """The same where whole lists have such loads, shape ``(n_workers,)``: linear in load, within each list."""
        if not self.lists:
            return self
        seconds_per_load, workers = self.seconds_per_load.copy(), np.flatnonzero(loads > 0)
        for seconds in self.lists:
            seconds_per_load[workers] += seconds(loads[workers], workers) / loads[workers]
        if not (seconds_per_load >= 0).all():
            raise ValueError(f"seconds of a list must be at least 0, got {seconds_per_load.min():g} per load")
        return self._replace(seconds_per_load=seconds_per_load, lists=())

    def evened_out(self, loads: FloatArray) -> RoundTimes:
        """The same without what is drawn for single tasks: linear within lists of such cumulative loads."""
        given = np.nan_to_num(np.fmax.reduce(loads, axis=1))
        times, who = self.of_lists(given), given > 0
        if self.places.tasks is None:
            return times
        of_tasks = np.asarray(self.places.task_seconds(loads))[who, -1] / given[who]
        seconds_per_load = times.seconds_per_load.copy()
        seconds_per_load[who] += of_tasks
        return times._replace(seconds_per_load=seconds_per_load, places=self.places._replace(tasks=None))

    def work_s(self, loads: FloatArray) -> FloatArray:
        """Seconds of work, at the speed of the round, up to each cumulative load; shape of ``loads``."""
        if self.lists:
            return self.of_lists(np.fmax.reduce(loads, axis=1)).work_s(loads)
        startup_s, seconds_per_load = self.startup_s[:, np.newaxis], self.seconds_per_load[:, np.newaxis]
        with np.errstate(invalid="ignore"):  # inf * 0 where a worker never answers
            seconds: FloatArray = startup_s + seconds_per_load * loads
            seconds = self.slowdown[:, np.newaxis] * (seconds + self.places.task_seconds(loads))
        if self.never is not None:
            seconds[self.never] = np.where(np.isnan(loads[self.never]), np.nan, np.inf)
        return seconds

    def work_of(self, worker: int, loads: Sequence[float]) -> list[float]:
        """Seconds of work of one worker up to each cumulative load: the same as :meth:`work_s`, number by number."""
        if self.lists:  # whose times depend on the load of the whole list
            given = np.zeros(len(self.startup_s))
            given[worker] = max(loads)
            return self.of_lists(given).work_of(worker, loads)
        if self.never is not None and self.never[worker]:
            return [float("inf")] * len(loads)
        startup_s, seconds_per_load = float(self.startup_s[worker]), float(self.seconds_per_load[worker])
        slowdown = float(self.slowdown[worker])
        pairs = zip(loads, self.places.task_seconds_of(worker, loads), strict=True)
        return [slowdown * (startup_s + seconds_per_load * load + of_tasks) for load, of_tasks in pairs]

    def share_out(self) -> tuple[FloatArray, float]:
        """Share one job out so that all who work finish together: loads, shape ``(n_workers, 1)``, and the instant.

        A worker whose work has not begun by then gets NaN. The instant is inf if nobody ever answers.

        Examples
        --------
        >>> times = RoundTimes(np.array([0.0, 1.0]), np.array([4.0, 4.0]), np.array([1.0, 1.0]), None)
        >>> times.share_out()[1], times.share_out()[0].ravel()
        (2.5, array([0.625, 0.375]))
        """
        loads, instant_s = shared_out(*(part[np.newaxis] for part in self[:3]))
        return loads[0, :, np.newaxis], float(instant_s[0])


def round_times(
    models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int, n_rounds: int, again: int = 0
) -> Iterator[RoundTimes]:
    """Worker times of successive rounds; with ``again`` = k, of a worker's k-th further work in each."""
    source = Source(settled(models, n_workers, seed), seed, trial, again)
    draws, in_loads = Draws([source], n_workers), [label for label in models if models[label].lives_in == "loads"]
    rngs = streams([source.key(label) for label in in_loads])
    every = [source.models[label].lists(n_workers, rng) for label, rng in zip(in_loads, rngs, strict=True)]
    lists: Iterator[tuple[ListSeconds, ...]] = zip(*every, strict=True) if every else repeat(())
    places = list_places(source.models, n_workers, seed, trial, again)
    for first in range(0, n_rounds, BLOCK_ROUNDS):
        shape = (min(BLOCK_ROUNDS, n_rounds - first), n_workers)
        startup_s, seconds_per_load, slowdown = (np.broadcast_to(field[0], shape) for field in draws.take(shape[0]))
        never = np.isinf(startup_s) | np.isinf(seconds_per_load) | np.isinf(slowdown)
        for row, has_any in enumerate(np.any(never, axis=1).tolist()):
            who = never[row] if has_any else None
            fields = startup_s[row], seconds_per_load[row], slowdown[row], who, next(lists)
            yield RoundTimes(*fields, places(first + row))


class DrawnTimes(NamedTuple):
    """Worker times of some rounds of some sources.

    Shape ``(n_sources, n_rounds, n_workers)`` each; an axis along which nothing differs may have length 1.
    """

    startup_s: FloatArray
    seconds_per_load: FloatArray
    slowdown: FloatArray

    def of(self, sources: IntArray, rounds: slice) -> DrawnTimes:
        """Some rounds of some sources, which may be given several times."""
        first, many = int(sources[0]), len(sources)
        in_order = sources[-1] == first + many - 1 and bool((np.diff(sources) == 1).all())
        which = slice(first, first + many) if in_order else sources  # a slice is not copied
        return DrawnTimes(*(field if len(field) == 1 else field[which] for field in self.rounds(rounds)))

    def rounds(self, rounds: slice) -> DrawnTimes:
        """Some rounds of all sources."""
        return DrawnTimes(*(field if field.shape[1] == 1 else field[:, rounds] for field in self))

    def at(self, sources: IntArray, rounds: IntArray, workers: IntArray) -> Iterator[FloatArray | float]:
        """Single numbers: the three fields, for each source, round and worker."""
        for field in self:
            places = zip((sources, rounds, workers), field.shape, strict=True)
            yield field[tuple(index if length > 1 else 0 for index, length in places)]


class Kept:
    """Worker times that were drawn before, from the first round on."""

    def __init__(self, drawn: DrawnTimes, sources: Sequence[Source] = (), n_workers: int = 0) -> None:
        self._drawn, self._at = drawn, 0
        self._sources, self._n_workers = sources, n_workers

    def take(self, n_rounds: int) -> DrawnTimes:
        """The next rounds of all sources."""
        first, self._at = self._at, self._at + n_rounds
        return self._drawn.rounds(slice(first, self._at))

    def again(self, k: int) -> Draws:
        """Those of everybody's k-th further list in a round, which are drawn when they are asked for."""
        return Draws([source._replace(again=k) for source in self._sources], self._n_workers)


class Source(NamedTuple):
    """One trial of a scenario's straggler models."""

    models: Mapping[str, StragglerModel]
    seed: int
    trial: int
    again: int = 0  # 0: the work that rounds begin with; k: what a worker is given as its k-th further work in a round

    def key(self, label: str) -> tuple[int, int, str]:
        """The stream of a model: noise is drawn anew for further work, a worker's state is that of the round."""
        is_fresh = self.again and self.models[label].is_noise
        return self.seed, self.trial, f"{label}\0{self.again}" if is_fresh else label


class Draws:
    """Worker times of many sources side by side: start-up times and seconds per load add, slowdowns multiply.

    Models that do not live in rounds are left out. What several sources draw from one stream is drawn once.

    Examples
    --------
    >>> from straggler_models import Bernoulli, Constant
    >>> models = {"usual": Constant(startup_s=2.0), "slow": Bernoulli(p=0.5, slowdown=3.0)}
    >>> times = Draws([Source(models, seed=0, trial=trial) for trial in range(5)], n_workers=4).take(10)
    >>> times.startup_s, times.slowdown.shape
    (array([[[2.]]]), (5, 10, 4))
    """

    def __init__(self, sources: Sequence[Source], n_workers: int) -> None:
        every = {id(source.models): source.models for source in sources}
        if any(model.draws_once for models in every.values() for model in models.values()):
            known: dict[Hashable, StragglerModel] = {}
            sources = [one._replace(models=settled(one.models, n_workers, one.seed, known)) for one in sources]
        self._sources, self._n_workers = sources, n_workers
        users: dict[tuple[str, Hashable], list[int]] = {}
        for place, source in enumerate(sources):
            for label, model in source.models.items():
                if model.lives_in == "rounds":
                    alike = (type(model), model.part) if _is_standard(model) else id(model)
                    users.setdefault((label, alike), []).append(place)
        groups = [_Group(label, sources, users[label, alike], n_workers) for label, alike in users]
        groups.sort(key=attrgetter("label"))
        self._labels = [list(found) for _, found in groupby(groups, key=attrgetter("label"))]
        self._n_sources = len(sources)
        rngs = iter(streams([key for group in groups for key in group.keys]))
        for group in groups:
            group.start(rngs)

    def take(self, n_rounds: int) -> DrawnTimes:
        """Worker times of the next rounds.

        Raises
        ------
        ValueError
            If a model ends too early, or its times make no sense.
        """
        totals = [np.full((1, 1, 1), neutral) for neutral in WorkerTimes()]
        for groups in self._labels:
            taken = [group.take(n_rounds) for group in groups]
            for place, neutral in enumerate((0.0, 0.0, 1.0)):
                fields = [fields[place] for fields in taken]
                if all(field.size == 1 and field.item() == neutral for field in fields):
                    continue
                total, field = totals[place], self._of_all(groups, fields, neutral)
                if total.size == 1 and total.item() == neutral:
                    totals[place] = field
                    continue
                shape = np.broadcast_shapes(total.shape, field.shape)
                out = next((part for part in (total, field) if part.shape == shape and part.flags.writeable), None)
                totals[place] = (np.multiply if place == 2 else np.add)(total, field, out=out)
        return DrawnTimes(*totals)

    def again(self, k: int) -> Draws:
        """Those of everybody's k-th further list in a round, from the first round on."""
        return Draws([source._replace(again=k) for source in self._sources], self._n_workers)

    def _of_all(self, groups: Sequence[_Group], fields: Sequence[FloatArray], neutral: float) -> FloatArray:
        """One field of all models of a label, for all sources."""
        if len(groups) == 1 and len(groups[0].places) == self._n_sources:
            return groups[0].of_sources(fields[0])
        shape = (self._n_sources, *(max(field.shape[axis] for field in fields) for axis in (1, 2)))
        n_have = sum(len(group.places) for group in groups)
        whole = np.empty(shape) if n_have == self._n_sources else np.full(shape, neutral)
        for group, field in zip(groups, fields, strict=True):
            whole[group.places] = group.of_sources(field)
        return whole


class _Group:
    """The sources of one model, or of alike ones of standard draws: a row for each stream and model."""

    def __init__(self, label: str, sources: Sequence[Source], places: list[int], n_workers: int) -> None:
        self.label, self._model, self._n_workers = label, sources[places[0]].models[label], n_workers
        self.places = np.array(places)  # of the sources among all
        is_same = self._model.gives_same_times or not self._model.is_random
        rows: dict[tuple[int, tuple[int, int, str]], int] = {}
        users: dict[tuple[int, int, str], dict[int, StragglerModel]] = {}  # of each stream: rows and their models
        found = []
        for place in places:
            of = sources[places[0] if is_same else place]
            model, key = sources[place].models[label], of.key(label)
            row = rows.setdefault((id(model), key), len(rows))
            users.setdefault(key, {})[row] = model
            found.append(row)
        self._rows = np.array(found)  # of the sources
        self.keys, self._users = list(users), list(users.values())

    def start(self, rngs: Iterator[np.random.Generator]) -> None:
        """Begin, with a stream for each key."""
        self._rngs = list(islice(rngs, len(self.keys)))
        self._once: list[FloatArray] | None = None
        if _is_chain(self._model):
            self._is_slow = np.stack([self._model.start(self._n_workers, rng) for rng in self._rngs])
        elif not _is_standard(self._model):
            self._blocks = [_Blocks(self.label, self._model, self._n_workers, rng) for rng in self._rngs]

    def take(self, n_rounds: int) -> list[FloatArray]:
        """The next rounds, a row for each stream and model; the three fields as in `DrawnTimes`."""
        if _is_chain(self._model):
            draws = np.empty((len(self._rngs), n_rounds, self._n_workers))
            many = max(1, CHUNK // draws[0].size)
            for first in range(0, len(draws), many):
                rows = slice(first, first + many)
                for rng, row in zip(self._rngs[rows], draws[rows], strict=True):
                    rng.random(out=row)
                self._is_slow[rows] = self._model.follow(self._is_slow[rows], draws[rows])
            fields = [np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), draws]
        elif _is_standard(self._model):
            fields = [np.full((1, 1, 1), neutral) for neutral in WorkerTimes()]
            fields[WorkerTimes._fields.index(self._model.part)] = self._turned(n_rounds)
        elif self._once is not None:
            return self._once
        else:
            is_once = _is_drawn(self._model) and self._model.is_drawn_once
            fields = self._filled(1 if is_once else n_rounds)
            if is_once:
                self._once = fields
                for field in fields:
                    field.setflags(write=False)
        self._check(fields)
        return fields

    def _turned(self, n_rounds: int) -> FloatArray:
        """Standard draws, once for all models of a stream, and what these make of them."""
        draws = np.empty((int(self._rows.max()) + 1, n_rounds, self._n_workers))
        for rng, users in zip(self._rngs, self._users, strict=True):
            (first, own), *others = users.items()
            assert _is_standard(own)
            own.fill(draws[first], rng)
            for row, model in others:
                draws[row] = draws[first]
                assert _is_standard(model)
                model.turn(draws[row])
            own.turn(draws[first])
        return draws

    def _filled(self, n_rounds: int) -> list[FloatArray]:
        """Put blocks together; a field is one number for as long as it is the same everywhere."""
        fields: list[FloatArray] = []
        shape = (len(self._blocks), n_rounds, self._n_workers)
        for row, blocks in enumerate(self._blocks):
            for rounds, block in blocks.take(n_rounds):
                fields = fields or [np.full((1, 1, 1), part) if part.ndim == 0 else np.empty(shape) for part in block]
                for place, part in enumerate(block):
                    field = fields[place]
                    if field.shape != shape and not (part.ndim == 0 and part == field.item()):
                        fields[place] = field = np.broadcast_to(field, shape).copy()
                    if field.shape == shape:
                        field[row, rounds] = part
        return fields

    def _check(self, fields: list[FloatArray]) -> None:
        for name, values, is_right, least, rule in (
            ("startup_s", fields[0], np.greater, -np.inf, "a number"),
            ("seconds_per_load", fields[1], np.greater_equal, 0.0, "at least 0"),
            ("slowdown", fields[2], np.greater, 0.0, "greater than 0"),
        ):
            if not is_right(values.min(), least):  # the smallest is NaN if there is any
                wrong = values[~is_right(values, least)][0]
                raise ValueError(f"stragglers.{self.label}: {name} must be {rule}, got {wrong}")

    def of_sources(self, field: FloatArray) -> FloatArray:
        """A row for each source, where there is one for each stream; a single row may stay one."""
        return field[self._rows] if 1 < len(field) < len(self._rows) else field


def _is_drawn(model: StragglerModel) -> TypeGuard[DrawnModel]:
    return type(model).rounds is DrawnModel.rounds  # and no subclass has rounds of its own


def _is_standard(model: StragglerModel) -> TypeGuard[StandardModel]:
    return _is_drawn(model) and type(model).draw is StandardModel.draw


def _is_chain(model: StragglerModel) -> TypeGuard[ChainModel]:
    return type(model).rounds is ChainModel.rounds


class _Blocks:
    """Blocks of rounds from one stream, cut as they are asked for."""

    def __init__(self, label: str, model: StragglerModel, n_workers: int, rng: np.random.Generator) -> None:
        self._label = label
        self._draw: Callable[[int], WorkerTimes | None]
        if _is_drawn(model):
            self._draw = lambda n_rounds: model.draw(n_rounds, n_workers, rng)
        else:
            rounds = model.rounds(n_workers, rng)
            self._draw = lambda _: next(rounds, None)
        self._kept: list[FloatArray] = []
        self._n_kept = 0

    def take(self, n_rounds: int) -> Iterator[tuple[slice, list[FloatArray]]]:
        """The next rounds: which, and their times."""
        at = 0
        while at < n_rounds:
            if not self._n_kept:
                times = self._draw(min(n_rounds - at, BLOCK_ROUNDS))
                if times is None:
                    raise ValueError(
                        f"stragglers.{self._label}: the model must yield times for all rounds of the run, got too few"
                    )
                self._kept, self._n_kept = [np.asarray(part, dtype=np.float64) for part in times], times.n_rounds
            size = min(n_rounds - at, self._n_kept)
            is_long = [part.ndim == 2 and len(part) > 1 for part in self._kept]
            yield slice(at, at + size), [p[:size] if cut else p for p, cut in zip(self._kept, is_long, strict=True)]
            self._kept = [p[size:] if cut else p for p, cut in zip(self._kept, is_long, strict=True)]
            at, self._n_kept = at + size, self._n_kept - size
