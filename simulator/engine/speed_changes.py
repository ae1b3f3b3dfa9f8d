"""Speeds that change at any time: the streams of the straggler models that live in seconds, composed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from simulator.engine.drawn_once import settled
from simulator.engine.shared_path import SharedPath
from simulator.engine.streams import stream
from simulator.parameters import FloatArray
from straggler_models.base import Speeds, StragglerModel

MOST_STILL = 10_000  # blocks in which somebody does not get on


class SpeedChanges:
    """The slowdown of every worker over wall-clock time: the product of the models that live in seconds.

    Work is integrated through changes of speed. Pieces are kept from the latest round's start on. Where workers are at
    other work, too, what becomes of that depends on when a list of ours is there: each is noted, and whoever drops one
    must say so.
    """

    def __init__(self, models: Mapping[str, StragglerModel], n_workers: int, seed: int, trial: int) -> None:
        self._shared: list[SharedPath] = []
        self._paths: list[_Path | SharedPath] = []
        for label, model in sorted(settled(models, n_workers, seed).items()):
            if model.lives_in == "seconds":
                rng = stream(seed, trial, "stragglers", label)
                others = model.others(n_workers, rng)
                if others is None:
                    self._paths.append(_Path(model.slowdowns(n_workers, rng), n_workers))
                else:
                    self._shared.append(SharedPath(others))
                    self._paths.append(self._shared[-1])

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
        if self._shared:
            ends_s = np.where(np.isfinite(work_s), finishing, -np.inf).max(axis=1)
            for own in np.flatnonzero(begins & (ends_s > -np.inf)).tolist():
                self._note(own, start_s + float(begins_s[own]), start_s + float(ends_s[own]))
        return finishing

    def finishing_of(self, worker: int, start_s: float, begin_s: float, work_s: list[float]) -> list[float]:
        """Say the same of one worker: when increasing amounts of work are done that it begins at ``begin_s``."""
        amounts = np.array(work_s)
        self._finish_one(worker, start_s, begin_s, amounts)
        if self._shared and np.isfinite(work_s[-1]):
            self._note(worker, start_s + begin_s, start_s + float(amounts[-1]))
        return [float(amount) for amount in amounts]

    def _note(self, worker: int, begin_s: float, end_s: float) -> None:
        for path in self._shared:
            path.note(worker, begin_s, end_s)

    def drop(self, time_s: float, workers: Iterable[int] | None = None) -> None:
        """Let workers drop at some time of the run what they have begun; by default, let all."""
        for path in self._shared:
            path.drop(time_s, workers)

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
            raise ValueError(
                f"stragglers: durations and slowdowns of a model in seconds must have the same shape, got {shapes}"
            )
        self._n_still = 0 if speeds.duration_s.any(axis=0).all() else self._n_still + 1
        if self._n_still > MOST_STILL:
            raise ValueError(
                f"stragglers: a model in seconds must go on in time for all workers, got {MOST_STILL} blocks of 0 s"
            )
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
