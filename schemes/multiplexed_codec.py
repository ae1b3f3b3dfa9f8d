"""The numbers of a run of `multiplexed`: D1 gradients as they are, D2 groups coded."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from schemes.base import BoolArray, Closing, FloatArray, Heard, Outcome, Session, Work
from schemes.codec import Codec, Decoded, Encoder, Ended, Precision, Weights, combined
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

    def close_round(self, heard: Heard, closing: Closing) -> None:
        lists, workers = self._lists[self._round], heard.workers
        if lists.by_task:
            for worker, report in zip(workers.tolist(), heard.reports.tolist(), strict=True):
                self.receive_late(self._round, worker, report)
            return
        for job, results in zip(lists.jobs, lists.results, strict=True):
            results = results[workers]
            self._received[job][np.where(results >= 0, results, self._round - job), workers] = True

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, self._received.pop(outcome.job), self._decode)

    def _decode(self, answers: Sequence[BoolArray], gradients: FloatArray) -> Sequence[Decoded]:
        scheme, n, width = self._scheme, self._scheme.n_workers, self._scheme.W - 1
        own = self.sent(gradients[: n * width])
        coded = [gradients[first : first + n] for first in range(n * width, len(gradients), n)]
        solve = functools.partial(code_weights, scheme.code, n, scheme.lam)
        decoded = combined([received[:width].T.reshape(-1) for received in answers], _as_they_are, own)
        for group, of_group in enumerate(coded):
            assert self._encoder is not None, "there are chunks to be coded"
            answered = [np.flatnonzero(received[width + group]) for received in answers]
            more = combined(answered, solve, self.sent(self._encoder.messages(of_group)))
            decoded = [_added(*both) for both in zip(decoded, more, strict=True)]
        return decoded


def _as_they_are(received: BoolArray) -> Weights:
    """Of gradients that are not coded."""
    return Weights(received.astype(np.float64))


def _added(first: Decoded, second: Decoded) -> Decoded:
    """The sum of two parts of a gradient."""
    return Decoded(
        first.gradient + second.gradient,
        max(first.condition, second.condition),
        first.decode_s + second.decode_s,
    )
