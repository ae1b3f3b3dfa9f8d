"""The numbers of a run of `multiplexed`: D1 gradients as they are, D2 groups coded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from schemes.base import BoolArray, Closing, FloatArray, Session, Work
from schemes.codec import Codec, Decoded, Encoder, Precision, Report
from schemes.multiplexed_session import Lists, MultiplexedSession
from schemes.sequential import code_matrix, code_weights

if TYPE_CHECKING:
    from schemes.multiplexed import Multiplexed


class MultiplexedCodec(Codec):
    """Which results of a job the master has: W - 1 uncoded ones of each worker, and coded ones of B groups."""

    def __init__(self, scheme: Multiplexed, precision: Precision) -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._encoder = Encoder(code_matrix(scheme.code, scheme.n_workers, scheme.lam)) if scheme.is_coded else None
        self._received: dict[int, BoolArray] = {}  # by job, shape (W - 1 + B, n_workers): D1 results, then coded ones
        self._lists: dict[int, Lists] = {}  # of the latest rounds: answers may come late

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, MultiplexedSession)
        self._round = index
        self._lists[index] = session.lists()
        self._lists.pop(index - self._scheme.n_slots, None)
        self._received[index] = np.zeros((self._scheme.n_slots, self._scheme.n_workers), dtype=np.bool_)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        lists = self._lists.get(index)
        if lists is None:
            return
        order = lists.order[worker]
        for place in order[report : report + 1] if lists.by_task else order:
            job = lists.jobs[place]
            if job in self._received:
                result = int(lists.results[place][worker])
                self._received[job][result if result >= 0 else index - job, worker] = True

    def close_round(self, heard: Sequence[Report], closing: Closing) -> None:
        lists = self._lists[self._round]
        if lists.by_task:
            for worker, report in heard:
                self.receive_late(self._round, worker, report)
            return
        workers = np.array([worker for worker, _ in heard], dtype=np.int64)
        for job, results in zip(lists.jobs, lists.results, strict=True):
            results = results[workers]
            self._received[job][np.where(results >= 0, results, self._round - job), workers] = True

    def decode(self, job: int, gradients: FloatArray) -> Decoded:
        scheme, n, width = self._scheme, self._scheme.n_workers, self._scheme.W - 1
        received = self._received[job]
        own = self.sent(gradients[: n * width])
        coded = [gradients[first : first + n] for first in range(n * width, len(gradients), n)]
        messages = [self.sent(self._encoder.messages(group)) for group in coded] if self._encoder else []
        began_s = time.perf_counter()
        gradient = received[:width].T.reshape(-1).astype(np.float64) @ own
        condition = 1.0
        for group, of_group in enumerate(messages):
            answered = np.flatnonzero(received[width + group]).tolist()
            weights = code_weights(scheme.code, n, scheme.lam, answered)
            gradient += weights.values @ of_group
            condition = max(condition, weights.condition)
        return Decoded(gradient, condition, time.perf_counter() - began_s)

    def forget(self, job: int) -> None:
        self._received.pop(job, None)
