"""Runs side by side: in what they differ, and what became of their rounds and jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from schemes.base.rule import DECODED
from simulator.engine.figures import Runs
from simulator.engine.master_rules import MasterRule
from simulator.engine.worker_times import DrawnTimes
from simulator.parameters import FloatArray, IntArray

CHUNK = 1 << 17  # numbers that are worked on at once: arrays that fit a processor's cache
BLOCK = 1 << 22  # numbers of worker times that are drawn at once


class Times(Protocol):
    """Worker times as an engine asks for them."""

    def take(self, n_rounds: int) -> DrawnTimes:
        """The next rounds of all sources."""

    def again(self, k: int) -> Times:
        """Those of everybody's k-th further list in a round, from the first round on."""


class Rows(NamedTuple):
    """Runs side by side: in what they differ beside the scheme; shape ``(n_rows,)`` each."""

    source: IntArray  # of the worker times that each meets
    rule: MasterRule  # whose numbers are arrays
    round_overhead_s: FloatArray
    gradient_bytes: FloatArray


class Rounds(NamedTuple):
    """Rounds as they ended, one array each."""

    duration_s: FloatArray
    first_finish_s: FloatArray
    waited_s: FloatArray
    stragglers: IntArray
    uploads: IntArray
    gradients: FloatArray
    n_given: IntArray
    load_done: FloatArray
    phases: IntArray


class Log:
    """Rounds and jobs of all runs, in arrays of shape ``(n_rows, n_rounds)`` and ``(n_rows, n_jobs)``."""

    def __init__(self, n_rows: int, n_rounds: int, n_jobs: int) -> None:
        shape = n_rows, n_rounds
        self.rounds = Rounds(
            duration_s=np.zeros(shape),
            first_finish_s=np.zeros(shape),
            waited_s=np.zeros(shape),
            stragglers=np.zeros(shape, dtype=np.int64),
            uploads=np.zeros(shape, dtype=np.int64),
            gradients=np.zeros(shape),
            n_given=np.zeros(shape, dtype=np.int64),
            load_done=np.zeros(shape),
            phases=np.ones(shape, dtype=np.int64),
        )
        self.status = np.full((n_rows, n_jobs), DECODED)
        self.squared_error = np.zeros((n_rows, n_jobs))
        self.ended_in = np.zeros((n_rows, n_jobs), dtype=np.int64)
        self.first = 0

    def part(self, first: int, n_rounds: int) -> Log:
        """Some rounds, and the jobs that begin in them; rounds in it count from 0."""
        part = object.__new__(Log)
        part.rounds = Rounds._make(column[:, first : first + n_rounds] for column in self.rounds)
        part.status = self.status[:, first : first + n_rounds]
        part.squared_error = self.squared_error[:, first : first + n_rounds]
        part.ended_in = self.ended_in[:, first : first + n_rounds]
        part.first = self.first + first
        return part

    def runs(self, n_workers: int, rows: Rows) -> Runs:
        """All that the tables and the figures need."""
        rounds, is_given = self.rounds, self.rounds.n_given > 0
        ends_s = np.cumsum(rounds.duration_s + np.where(is_given, rows.round_overhead_s[:, np.newaxis], 0.0), axis=1)
        return Runs(
            n_workers=n_workers,
            ends_s=ends_s,
            duration_s=rounds.duration_s,
            first_finish_s=rounds.first_finish_s,
            waited_s=rounds.waited_s,
            stragglers=rounds.stragglers,
            uploads=rounds.uploads,
            bytes_up=rounds.gradients * rows.gradient_bytes[:, np.newaxis],
            upload_s=np.zeros(is_given.shape),
            phases=rounds.phases,
            stale=np.broadcast_to(0, is_given.shape),
            fresh=rounds.uploads,  # whatever is sent comes at once
            n_given=rounds.n_given.sum(axis=1),
            load_done=rounds.load_done.sum(axis=1),
            status=self.status,
            squared_error=self.squared_error,
            ended_in=self.ended_in,
            started_in=np.broadcast_to(np.arange(self.status.shape[1]), self.status.shape),
        )


def blocks(rows: Rows, times: Times, n_rounds: int, n_workers: int) -> Iterator[tuple[int, int, DrawnTimes]]:
    """The first round of each block, how many there are, and their worker times."""
    n_sources = int(rows.source.max()) + 1
    at_once = max(1, BLOCK // (n_sources * n_workers))
    for begin in range(0, n_rounds, at_once):
        many = min(at_once, n_rounds - begin)
        yield begin, many, times.take(many)


def chunks(n_rows: int, n_rounds: int, n_each: int) -> Iterator[tuple[slice, slice]]:
    """Some rows and some rounds at a time, of so many numbers each."""
    at_once = max(1, min(n_rounds, CHUNK // n_each))
    many = max(1, CHUNK // (n_each * at_once))
    for row in range(0, n_rows, many):
        for begin in range(0, n_rounds, at_once):
            yield slice(row, min(row + many, n_rows)), slice(begin, min(begin + at_once, n_rounds))
