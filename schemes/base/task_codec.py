"""Least squares over all messages of a job: any linear scheme can be decoded so."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from schemes.base.codec import Answer, Codec, Decoded, Ended, Precision
from schemes.base.lists import Lists
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Heard, Outcome, Phase, Task, Work
from simulator.parameters import FloatArray


class TaskCodec(Codec):
    """For any scheme whose tasks are linear combinations of chunk gradients: says `Session.tasks`, and least squares.

    The general response, and a slow one: the master solves one system over all messages and chunks of a job. The
    shipped schemes have codecs that know more; tests compare them with this one.

    Examples
    --------
    >>> from schemes import GradientCoding
    >>> code = GradientCoding(n_workers=3, s=1)
    >>> session, codec = code.start(1, np.random.default_rng(0)), TaskCodec(code)
    >>> codec.open_round(0, session.open_round(0), session)
    >>> codec.close_round(Heard.of([(2, 0), (0, 0)]), Closing(np.array([False, True, False]), forced=False))
    >>> codec.end(Outcome(0, "decoded")).decoded(np.array([[1.0], [10.0], [100.0]])).gradient.round(6)
    array([111.])
    """

    def __init__(self, scheme: Scheme, precision: Precision = "float64") -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._lists = Lists()
        self._heard: dict[int, list[tuple[int, Task, int]]] = defaultdict(list)  # of a job: who did what, given when

    def open_round(self, index: int, work: Work, session: Session) -> None:
        self._round = index
        self._lists.open_round(index, work, session)
        # no older job is still open, nor one of an older list
        self._lists.forget_before(index - self._scheme.delay_rounds)
        self._heard.pop(index - self._scheme.delay_rounds - 1, None)

    def act(self, phase: Phase, session: Session) -> None:
        self._lists.act(phase, session)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        if self._lists.has(index):
            for task in self._lists.of(index, worker, report):
                if task.job >= self._round - self._scheme.delay_rounds:  # older ones have ended
                    self._heard[task.job].append((worker, task, index))

    def close_round(self, heard: Heard, closing: Closing) -> None:
        for worker, report in zip(heard.workers.tolist(), heard.reports.tolist(), strict=True):
            self.receive_late(self._round, worker, report)

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._heard.pop(outcome.job, []), self._decode)

    def _decode(self, responses: Sequence[Sequence[tuple[int, Task, int]]], gradients: FloatArray) -> Sequence[Decoded]:
        return [self._decode_job(heard, gradients[:, place]) for place, heard in enumerate(responses)]

    def _rows(self, heard: Sequence[tuple[int, Task, int]], n_chunks: int) -> FloatArray:
        """Coefficients of all chunks in some messages, shape ``(n_messages, n_chunks)``."""
        rows = np.zeros((len(heard), n_chunks))
        for row, (worker, task, index) in zip(rows, heard, strict=True):
            row[list(task.chunks)] = self._scheme.coefficients(worker, task, index)
        return rows

    def _decode_job(self, heard: Sequence[tuple[int, Task, int]], gradients: FloatArray) -> Decoded:
        rows = self._rows(heard, len(gradients))
        return self._solved(rows, self.sent(rows @ gradients))

    def answers(self, ended: Ended) -> Sequence[Answer]:
        return [Answer(task.job, task.chunks, worker, index) for worker, task, index in ended.responses]

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        return self._solved(self._rows(ended.responses, len(self.chunk_loads)), messages)

    @staticmethod
    def _solved(rows: FloatArray, messages: FloatArray) -> Decoded:
        began_s = time.perf_counter()
        weights, _, rank, singular = np.linalg.lstsq(rows.T, np.ones(rows.shape[1]), rcond=None)
        gradient = weights @ messages
        condition = float(singular[0] / singular[rank - 1]) if rank else 1.0
        return Decoded(gradient, condition, time.perf_counter() - began_s)


def codec_of(scheme: Scheme, precision: Precision, rng: np.random.Generator) -> Codec:
    """Begin the numbers of a run of a scheme: with its own codec if it has one, otherwise with least squares."""
    return scheme.codec(precision, rng) or TaskCodec(scheme, precision)
