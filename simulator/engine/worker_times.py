"""Worker times of one trial: the streams of a scenario's straggler models, composed.

Every stream is keyed by what it is for, (seed, trial, purpose, label), never by the order of drawing or of a list:
all schemes of a trial meet the same times, and adding a model or a scheme changes no other number.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from straggler_models.base import BoolArray, FloatArray, SecondsModel, Speeds, StragglerModel, WorkerTimes

ONCE = -1  # the trial of what is drawn once, for all trials
MOST_STILL = 10_000  # blocks in which somebody does not get on


def stream(seed: int, trial: int, purpose: str, label: str) -> np.random.Generator:
    """Random numbers for one purpose.

    Examples
    --------
    >>> first, second = (stream(7, 0, "stragglers", label) for label in ("usual", "bursts"))
    >>> bool(first.random() == second.random())
    False
    """
    digest = hashlib.blake2b(f"{purpose}\0{label}".encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(trial - ONCE, *words)))


class RoundTimes(NamedTuple):
    """Worker times of one round, shape ``(n_workers,)`` each."""

    startup_s: FloatArray
    seconds_per_load: FloatArray
    slowdown: FloatArray
    never: BoolArray | None  # who never answers; None: nobody

    def work_s(self, loads: FloatArray) -> FloatArray:
        """Seconds of work, at the speed of the round, up to each cumulative load; shape of ``loads``."""
        startup_s, seconds_per_load = self.startup_s[:, np.newaxis], self.seconds_per_load[:, np.newaxis]
        with np.errstate(invalid="ignore"):  # inf * 0 where a worker never answers
            seconds: FloatArray = self.slowdown[:, np.newaxis] * (startup_s + seconds_per_load * loads)
        if self.never is not None:
            seconds[self.never] = np.where(np.isnan(loads[self.never]), np.nan, np.inf)
        return seconds

    def share_out(self) -> tuple[FloatArray, float]:
        """Share one job out so that all who work finish together: loads, shape ``(n_workers, 1)``, and the instant.

        A worker whose work has not begun by then gets NaN. The instant is inf if nobody ever answers.

        Examples
        --------
        >>> times = RoundTimes(np.array([0.0, 1.0]), np.array([4.0, 4.0]), np.array([1.0, 1.0]), None)
        >>> times.share_out()[1], times.share_out()[0].ravel()
        (2.5, array([0.625, 0.375]))
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            begins_s = self.slowdown * np.where(np.isfinite(self.startup_s), self.startup_s, np.inf)
            rates = 1 / (self.slowdown * self.seconds_per_load)  # loads per second; inf where work takes no time
        if self.never is not None:
            begins_s, rates = np.where(self.never, np.inf, begins_s), np.where(self.never, 0.0, rates)
        at_once = np.isinf(rates)
        instant_s = float(begins_s[at_once].min(initial=np.inf))
        order = np.argsort(begins_s)
        order = order[np.isfinite(begins_s[order]) & ~at_once[order]]
        sums, weighted = np.cumsum(rates[order]), np.cumsum(rates[order] * begins_s[order])
        candidates = (1 + weighted) / sums  # if the first k workers do it all
        if len(order):
            instant_s = max(0.0, min(instant_s, float(candidates.min())))
        works = begins_s < instant_s
        loads = np.full(len(works), np.nan)
        loads[works] = (instant_s - begins_s[works]) * np.where(at_once, 0.0, rates)[works]
        first = at_once & (begins_s <= instant_s)
        if first.any():  # one that takes no time does what is left
            loads[np.argmax(first)] = 1 - np.nansum(np.where(first, 0.0, loads))
        return loads[:, np.newaxis], instant_s


def round_times(models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int) -> Iterator[RoundTimes]:
    """Worker times of successive rounds."""
    for startup_s, seconds_per_load, slowdown in composed(models, n_workers, seed, trial):
        never = np.isinf(startup_s) | np.isinf(seconds_per_load) | np.isinf(slowdown)
        for row, has_any in enumerate(np.any(never, axis=1).tolist()):
            yield RoundTimes(startup_s[row], seconds_per_load[row], slowdown[row], never[row] if has_any else None)


def composed(
    models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Blocks of rounds of the models that live in rounds: start-up times and seconds per load add, slowdowns multiply.

    Shape ``(n_rounds, n_workers)`` each.
    """
    sources = [
        _Blocks(label, model.rounds(n_workers, stream(seed, trial, "stragglers", label)), n_workers)
        for label, model in sorted(models.items())
        if not isinstance(model, SecondsModel)
    ]
    while True:
        n_rounds = min((source.fill() for source in sources), default=1)
        startup_s, seconds_per_load = np.zeros((n_rounds, n_workers)), np.zeros((n_rounds, n_workers))
        slowdown = np.ones((n_rounds, n_workers))
        for source in sources:
            block = source.take(n_rounds)
            startup_s += block[0]
            seconds_per_load += block[1]
            slowdown *= block[2]
        yield startup_s, seconds_per_load, slowdown


class _Blocks:
    """A model's stream, cut to the lengths that composing asks for."""

    def __init__(self, label: str, blocks: Iterator[WorkerTimes], n_workers: int) -> None:
        self._label = label
        self._blocks = blocks
        self._n_workers = n_workers
        self._fields: list[FloatArray] = []
        self._left = 0

    def fill(self) -> int:
        """Make sure that there is a round; return how many there are."""
        if not self._left:
            times = next(self._blocks, None)
            if times is None:
                raise ValueError(f"stragglers.{self._label}: the model ended before the run did")
            self._left = times.n_rounds
            shape = (self._left, self._n_workers)
            self._fields = [np.broadcast_to(np.asarray(field, dtype=np.float64), shape) for field in times]
            self._check()
        return self._left

    def _check(self) -> None:
        startup_s, seconds_per_load, slowdown = self._fields
        for name, values, wrong, rule in (
            ("startup_s", startup_s, ~(startup_s > -np.inf), "a number"),
            ("seconds_per_load", seconds_per_load, ~(seconds_per_load >= 0), "at least 0"),
            ("slowdown", slowdown, ~(slowdown > 0), "greater than 0"),
        ):
            if wrong.any():
                raise ValueError(f"stragglers.{self._label}: {name} must be {rule}, got {values[wrong][0]}")

    def take(self, n_rounds: int) -> list[FloatArray]:
        """The next rounds."""
        taken = [field[:n_rounds] for field in self._fields]
        self._fields = [field[n_rounds:] for field in self._fields]
        self._left -= n_rounds
        return taken


class SpeedChanges:
    """The slowdown of every worker over wall-clock time: the product of the models that live in seconds.

    Work is integrated through changes of speed. Pieces are kept from the latest round's start on.
    """

    def __init__(self, models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int) -> None:
        self._paths = [
            _Path(model.slowdowns(n_workers, stream(seed, trial, "stragglers", label)), n_workers)
            for label, model in sorted(models.items())
            if isinstance(model, SecondsModel)
        ]

    def __bool__(self) -> bool:
        """True if any model lives in seconds."""
        return bool(self._paths)

    def finishing_s(self, start_s: float, begins_s: FloatArray, work_s: FloatArray) -> FloatArray:
        """Return when work is done that each worker begins at ``begins_s``; both in seconds after ``start_s``.

        ``work_s`` are increasing amounts at slowdown 1, shape ``(n_workers, n_reports)``; NaN and inf stay.
        """
        for path in self._paths:
            path.forget_until(start_s)
        begins = np.isfinite(begins_s)
        slowdown, until_s = np.ones(len(begins_s)), np.full(len(begins_s), np.inf)
        for path in self._paths:
            ends_s, factors = path.at(np.where(begins, start_s + begins_s, start_s))
            slowdown *= factors
            until_s = np.minimum(until_s, ends_s - start_s)
        with np.errstate(invalid="ignore"):  # inf * 0: no work, and standing still
            finishing = begins_s[:, np.newaxis] + work_s * slowdown[:, np.newaxis]
        # most workers finish all at the speed at which they begin; the others are followed piece by piece
        last_s = np.where(np.isfinite(work_s), finishing, -np.inf).max(axis=1)
        for worker in np.flatnonzero(begins & ~(last_s <= until_s)):
            finishing[worker] = work_s[worker]
            self._finish_one(int(worker), start_s, float(begins_s[worker]), finishing[worker])
        return finishing

    def _finish_one(self, worker: int, start_s: float, begin_s: float, work_s: FloatArray) -> None:
        """Turn one worker's amounts of work into finishing times, in place."""
        now_s, done_s = begin_s, 0.0
        cursors = [path.cursor(worker, start_s + begin_s) for path in self._paths]
        for report, amount_s in enumerate(work_s.tolist()):
            if not np.isfinite(amount_s):
                continue
            while True:
                slowdown, until_s = 1.0, np.inf
                for path, cursor in zip(self._paths, cursors, strict=True):
                    end_s, factor = path.piece(worker, cursor)
                    slowdown, until_s = slowdown * factor, min(until_s, end_s - start_s)
                finish_s = now_s + (amount_s - done_s) * slowdown if amount_s > done_s else now_s
                if finish_s <= until_s:
                    now_s, done_s = finish_s, amount_s
                    work_s[report] = finish_s
                    break
                done_s += (until_s - now_s) / slowdown
                now_s = until_s
                cursors = [
                    cursor + (path.piece(worker, cursor)[0] - start_s <= until_s)
                    for path, cursor in zip(self._paths, cursors, strict=True)
                ]


class _Path:
    """Each worker's pieces of one model, from some time on."""

    def __init__(self, blocks: Iterator[Speeds], n_workers: int) -> None:
        self._blocks = blocks
        self._last_end_s = np.zeros(n_workers)
        self._n_still = 0  # blocks in a row in which somebody did not get on
        self._ends_s = np.zeros((0, n_workers))
        self._slowdowns = np.zeros((0, n_workers))

    def _extend(self) -> None:
        speeds = next(self._blocks)
        if not ((speeds.duration_s >= 0).all() and (speeds.slowdown > 0).all() and speeds.duration_s.any()):
            raise ValueError("stragglers: a model in seconds must give durations >= 0, not all 0, and slowdowns > 0")
        if np.shape(speeds.duration_s) != np.shape(speeds.slowdown):
            shapes = f"{np.shape(speeds.duration_s)} and {np.shape(speeds.slowdown)}"
            raise ValueError(f"stragglers: durations and slowdowns of a model in seconds must be as many, got {shapes}")
        self._n_still = 0 if speeds.duration_s.any(axis=0).all() else self._n_still + 1
        if self._n_still > MOST_STILL:
            raise ValueError(f"stragglers: a model in seconds must get on for all, got {MOST_STILL} blocks of 0 s")
        ends_s = self._last_end_s + np.cumsum(speeds.duration_s, axis=0)
        self._last_end_s = ends_s[-1]
        self._ends_s = np.vstack([self._ends_s, ends_s])
        self._slowdowns = np.vstack([self._slowdowns, speeds.slowdown])

    def forget_until(self, time_s: float) -> None:
        """Drop pieces that have ended for all workers."""
        n_over = int(np.count_nonzero((self._ends_s <= time_s).all(axis=1)))
        self._ends_s, self._slowdowns = self._ends_s[n_over:], self._slowdowns[n_over:]

    def at(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return when each worker's piece at its time ends (wall-clock seconds), and the slowdown during it."""
        while (self._last_end_s <= times_s).any():
            self._extend()
        cursors, workers = np.count_nonzero(self._ends_s <= times_s, axis=0), np.arange(len(times_s))
        return self._ends_s[cursors, workers], self._slowdowns[cursors, workers]

    def cursor(self, worker: int, time_s: float) -> int:
        """The piece during which that time is."""
        while self._last_end_s[worker] <= time_s:
            self._extend()
        return int(np.searchsorted(self._ends_s[:, worker], time_s, side="right"))

    def piece(self, worker: int, cursor: int) -> tuple[float, float]:
        """Return when a piece ends (wall-clock seconds) and the slowdown during it."""
        while cursor >= len(self._ends_s):
            self._extend()
        return float(self._ends_s[cursor, worker]), float(self._slowdowns[cursor, worker])


class DrawnTimes(NamedTuple):
    startup_s: FloatArray
    seconds_per_load: FloatArray
    slowdown: FloatArray

    @property
    def n_rounds(self) -> int:
        return max(part.shape[1] for part in self)

    def part(self, source, rows, rounds):
        return DrawnTimes(
            *(
                (field if len(field) == 1 else field[source[rows]])[:, rounds if field.shape[1] > 1 else slice(None)]
                for field in self
            )
        )

    def rounds(self, which):
        return DrawnTimes(*(field[:, which] if field.shape[1] > 1 else field for field in self))

    def at(self, source, rounds, workers):
        return tuple(
            field[
                source if field.shape[0] > 1 else 0,
                rounds if field.shape[1] > 1 else 0,
                workers if field.shape[2] > 1 else 0,
            ]
            for field in self
        )


class Kept:
    """Worker times that were drawn before, from the first round on."""

    def __init__(self, drawn: DrawnTimes) -> None:
        self._drawn, self._at = drawn, 0

    def take(self, n_rounds: int) -> DrawnTimes:
        """The next rounds of all sources."""
        first, self._at = self._at, self._at + n_rounds
        return self._drawn.rounds(slice(first, self._at))


class Source(NamedTuple):
    models: Mapping[str, StragglerModel]
    seed: int
    trial: int


class Draws:
    def __init__(self, sources, n_workers):
        self._sources = [composed(s.models, n_workers, s.seed, s.trial) for s in sources]
        self._buffer = [np.zeros((3, 0, n_workers)) for s in sources]

    def take(self, n_rounds):
        out = []
        for i, it in enumerate(self._sources):
            while self._buffer[i].shape[1] < n_rounds:
                self._buffer[i] = np.concatenate([self._buffer[i], np.stack(next(it))], axis=1)
            out.append(self._buffer[i][:, :n_rounds])
            self._buffer[i] = self._buffer[i][:, n_rounds:]
        return DrawnTimes(*np.stack(out, axis=1))


def shared_out(startup_s, seconds_per_load, slowdown):
    loads, due_s = np.empty((*startup_s.shape, 1)), []
    for row, parts in enumerate(zip(startup_s, seconds_per_load, slowdown, strict=True)):
        never = np.isinf(parts[0]) | np.isinf(parts[1]) | np.isinf(parts[2])
        loads[row], instant_s = RoundTimes(*parts, never).share_out()
        if np.isnan(loads[row]).all():
            loads[row] = 1 / len(parts[0])
        due_s.append(np.where(np.isnan(loads[row]), -np.inf, instant_s))
    return loads, np.stack(due_s)
