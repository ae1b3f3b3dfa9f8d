"""The numbers of a run of `partial_gradient_coding`: coefficients that the master sends when it knows what is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes.base import BoolArray, Closing, FloatArray, Heard, IntArray, Outcome
from schemes.codec import Codec, Decode, Decoded, Encoder, Ended, Precision, combined
from schemes.linear import least_squares_weights

if TYPE_CHECKING:
    from schemes.partial_gradient_coding import PartialGradientCoding

NEGLIGIBLE = 1e-12  # of the largest singular value: rows of R that do not span anything more


class Decoder(NamedTuple):
    """What the master makes of finished chunks: the paper's R and X."""

    random: FloatArray  # R, shape (n_workers, blocks)
    coefficients: FloatArray  # X, shape (n_chunks, blocks, n_workers): of block u of chunk c in a worker's upload
    condition: float  # the worst condition number of the rows of R that a chunk is recovered from

    @property
    def encoding_matrix(self) -> FloatArray:
        """X as the combinations that workers send of all blocks, shape ``(n_workers, n_chunks * blocks)``."""
        return self.coefficients.reshape(-1, self.coefficients.shape[2]).T

    def upload(self, gradients: FloatArray) -> FloatArray:
        """What each worker sends, shape ``(n_workers, length / blocks)``; chunk gradients: ``(n_chunks, length)``."""
        matrix = self.encoding_matrix
        return matrix @ gradients.reshape(matrix.shape[1], -1)

    def gradient(self, uploads: FloatArray) -> FloatArray:
        """The sum of all chunks' gradients, shape ``(length,)``."""
        return np.asarray((self.random.T @ uploads).ravel())

    @property
    def squared_error(self) -> float:
        """Squared residual ||R^T X - 1 kron I||^2."""
        n_blocks = self.random.shape[1]
        products = np.einsum("wv,cuw->cuv", self.random, self.coefficients)
        return float(np.sum((products - np.eye(n_blocks)) ** 2))


def decoder(finished: BoolArray, random: FloatArray) -> Decoder:
    """Compute the coefficients for what has been finished, by least squares of minimum norm.

    Parameters
    ----------
    finished
        Who has finished which chunk, shape ``(n_chunks, n_workers)``.
    random
        R, whose entries are standard normal, shape ``(n_workers, blocks)``; a gradient has so many blocks.

    Examples
    --------
    >>> finished = np.array([[True, True, False], [False, True, True]])
    >>> code = decoder(finished, np.random.default_rng(0).standard_normal((3, 2)))
    >>> gradients = np.array([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    >>> code.gradient(code.upload(gradients)).round(6)
    array([11., 22., 33., 44.])
    """
    (n_chunks, n_workers), blocks = finished.shape, random.shape[1]
    if blocks == 1:  # the pseudo-inverse of a column
        columns = finished * random[:, 0]
        squares = np.einsum("cw,cw->c", columns, columns)
        columns *= np.divide(1.0, squares, out=np.zeros(n_chunks), where=squares > 0)[:, np.newaxis]
        return Decoder(random, columns[:, np.newaxis], 1.0)
    n_copies = np.count_nonzero(finished, axis=1)
    coefficients = np.zeros((n_chunks, blocks, n_workers))
    chunks, holders = np.nonzero(finished)
    # the rows of R of each chunk's holders, one below the other; rows of zeros below them change no pseudo-inverse
    place = np.arange(len(chunks)) - np.repeat(np.cumsum(n_copies) - n_copies, n_copies)
    rows = np.zeros((n_chunks, max(blocks, int(n_copies.max(initial=1))), blocks))
    rows[chunks, place] = random[holders]
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    spans = singular > NEGLIGIBLE * singular[:, :1]
    inverse = np.divide(1.0, singular, out=np.zeros_like(singular), where=spans)
    x = (left * inverse[:, np.newaxis, :]) @ right  # rows.T @ x[:, u] = e_u, by least squares
    coefficients[chunks, :, holders] = x[chunks, place]
    complete = n_copies >= blocks
    worst = (singular[complete, 0] / singular[complete, -1]).max(initial=1.0)
    return Decoder(random, coefficients, float(worst))


class PartialCodec(Codec):
    """What each worker had finished when the master stopped the round, and the uploads that it then asked for."""

    def __init__(self, scheme: PartialGradientCoding, precision: Precision, rng: np.random.Generator) -> None:
        super().__init__(scheme, precision)
        self._scheme, self._rng = scheme, rng
        self._positions = scheme.placement.positions
        self._held = scheme.held
        self._encoder = Encoder(np.repeat(self._held.T, scheme.blocks, axis=1).astype(np.float64))

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._n_done = np.bincount(heard.workers, minlength=self._scheme.n_workers)  # chunks that they have reported
        self._decode: Decode = self._decode_coded
        if self._scheme.credit == "whole_list":
            self._n_done = np.where(self._n_done > 0, len(self._held), 0)  # one report is the whole list
            self._decode = self._decode_sums if closing.takes_estimate else self._decode_coded

    def end(self, outcome: Outcome) -> Ended:
        if outcome.status == "failed" or self._decode == self._decode_sums:
            return Ended(outcome, self.chunk_loads, self._n_done, self._decode)
        random = self._rng.standard_normal((self._scheme.n_workers, self._scheme.blocks))
        return Ended(outcome, self.chunk_loads, (self._n_done, random), self._decode)

    def _decode_coded(self, answers: Sequence[tuple[IntArray, FloatArray]], gradients: FloatArray) -> Sequence[Decoded]:
        return [self._decode_job(*of_job, gradients[:, place]) for place, of_job in enumerate(answers)]

    def _decode_job(self, n_done: IntArray, random: FloatArray, gradients: FloatArray) -> Decoded:
        began_s = time.perf_counter()
        code = decoder(self._held & (self._positions <= n_done), random)
        ready_s = time.perf_counter()
        n_chunks, dimension = gradients.shape
        parts = _in_blocks(gradients, self._scheme.blocks).reshape(n_chunks * self._scheme.blocks, 1, -1)
        uploads = self.sent(self._encoder.reweighted(code.encoding_matrix).messages(parts))[:, 0]
        received_s = time.perf_counter()
        gradient = code.gradient(uploads)[:dimension]
        return Decoded(gradient, code.condition, time.perf_counter() - received_s + ready_s - began_s)

    def _decode_sums(self, answers: Sequence[IntArray], gradients: FloatArray) -> Sequence[Decoded]:
        """From the plain sums that workers send who have finished everything."""
        matrix = self._held.T.astype(np.float64)
        return combined(
            answers,
            lambda n_done: least_squares_weights(matrix, np.flatnonzero(n_done)),
            self.sent(self._encoder.messages(gradients)),
        )


def _in_blocks(gradients: FloatArray, blocks: int) -> FloatArray:
    """Gradients with zeros behind, where the length is not a multiple of the blocks."""
    missing = -gradients.shape[1] % blocks
    return np.pad(gradients, ((0, 0), (0, missing))) if missing else gradients
