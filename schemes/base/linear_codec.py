"""Numbers of memoryless linear codes: encoded, decoded, and combined from messages."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from schemes.base.codec import Answer, Codec, Decoded, Encoder, Ended, Precision, combined, in_parts, placed
from schemes.base.work import Closing, Heard, Outcome
from simulator.parameters import FloatArray, IntArray

if TYPE_CHECKING:
    from schemes.base.linear import LinearScheme


class LinearCodec(Codec):
    """Each round a job, each response one combination of the worker's chunks."""

    def __init__(self, scheme: LinearScheme, precision: Precision = "float64") -> None:
        super().__init__(scheme, precision)
        self._scheme = scheme
        self._encoder = Encoder(scheme.encoding_matrix())

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._answered = heard.workers

    def end(self, outcome: Outcome) -> Ended:
        order = self._scheme.data_order(outcome.job)
        decode = self._decode if order is None else functools.partial(self._decode_shuffled, order)
        return Ended(outcome, self.chunk_loads, self._answered, decode)

    def _decode_shuffled(
        self, order: IntArray, responses: Sequence[IntArray], gradients: FloatArray
    ) -> Sequence[Decoded]:
        return self._decode(responses, gradients[order])

    def _decode(self, responses: Sequence[IntArray], gradients: FloatArray) -> Sequence[Decoded]:
        (n_chunks, n_jobs, dimension), blocks = gradients.shape, self._scheme.blocks
        if blocks > 1:
            gradients = np.moveaxis(in_parts(gradients, blocks), 2, 1).reshape(n_chunks * blocks, n_jobs, -1)
        found = combined(responses, self._scheme.weights, self.sent(self._encoder.messages(gradients)))
        return [one._replace(gradient=one.gradient[:dimension]) for one in found]

    def answers(self, ended: Ended) -> Sequence[Answer]:
        scheme, job = self._scheme, ended.outcome.job
        return [Answer(job, scheme.data_of(worker, job), worker) for worker in ended.responses.tolist()]

    def combine(self, ended: Ended, messages: FloatArray) -> Decoded:
        rows = placed(messages, ended.responses, self._scheme.n_workers)
        return combined([ended.responses], self._scheme.weights, rows)[0]
