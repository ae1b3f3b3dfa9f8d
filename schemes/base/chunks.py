"""Plain gradients of chunks, of which distinct ones count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from schemes.base.codec import Answer, Codec, Decoded, Ended, Weights, combined, placed
from schemes.base.scheme import Session
from schemes.base.work import Outcome, Work
from simulator.parameters import FloatArray


class HasChunks(Protocol):
    """A session that says which chunks it has."""

    chunks: Sequence[int]  # distinct ones, of the job that has just ended


class ChunkCodec(Codec):
    """The sum of the distinct chunks that have come, divided by their share of all."""

    def open_round(self, index: int, work: Work, session: Session) -> None:
        self._session: HasChunks = session  # type: ignore[assignment] # of a scheme that uses this codec

    def end(self, outcome: Outcome) -> Ended:
        return Ended(outcome, self.chunk_loads, [*self._session.chunks], self._decode)

    def _weights(self, chunks: Sequence[int]) -> Weights:
        values = np.zeros(len(self.chunk_loads))
        values[list(chunks)] = len(values) / max(1, len(chunks))
        return Weights(values)

    def _decode(self, responses: Sequence[Sequence[int]], gradients: FloatArray) -> Sequence[Decoded]:
        return combined(responses, self._weights, self.sent(gradients))

    def answers(self, ended: Ended) -> Sequence[Answer]:
        return [Answer(ended.outcome.job, (chunk,)) for chunk in ended.responses]

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        rows = placed(messages, ended.responses, len(self.chunk_loads))
        return combined([ended.responses], self._weights, rows)[0]


def scaled(n_chunks: int, job: int, n_have: int) -> Outcome:
    """End a job with the sum of some of its chunks, scaled; without any, it failed."""
    return Outcome.of(job, n_chunks * (n_chunks - n_have) / n_have if n_have else None)
