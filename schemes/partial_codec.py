"""The numbers of a run of `partial_gradient_coding`: coefficients that the master sends when it knows what is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes.base import BoolArray, Closing, FloatArray
from schemes.codec import Codec, Decoded, Encoder, Precision, Report
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


def decoder(finished: BoolArray, blocks: int, rng: np.random.Generator) -> Decoder:
    """Compute the coefficients for what has been finished, by least squares of minimum norm.

    Parameters
    ----------
    finished
        Who has finished which chunk, shape ``(n_chunks, n_workers)``.
    blocks
        Parts of a gradient.
    rng
        For R, whose entries are standard normal.

    Examples
    --------
    >>> finished = np.array([[True, True, False], [False, True, True]])
    >>> code = decoder(finished, 2, np.random.default_rng(0))
    >>> gradients = np.array([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    >>> code.gradient(code.upload(gradients)).round(6)
    array([11., 22., 33., 44.])
    """
    n_chunks, n_workers = finished.shape
    random = rng.standard_normal((n_workers, blocks))
    if blocks == 1:  # the pseudo-inverse of a column
        columns = np.where(finished, random[:, 0], 0.0)
        squares = np.einsum("cw,cw->c", columns, columns)[:, np.newaxis]
        shares = np.divide(columns, squares, out=columns, where=squares > 0)
        return Decoder(random, shares[:, np.newaxis], 1.0)
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

    def close_round(self, heard: Sequence[Report], closing: Closing) -> None:
        self._n_done = np.zeros(self._scheme.n_workers, dtype=np.int64)  # chunks that each worker has reported
        last = dict(heard)
        self._n_done[list(last)] = [report + 1 for report in last.values()]
        self._takes_estimate = closing.takes_estimate

    def decode(self, job: int, gradients: FloatArray) -> Decoded:
        n_done = self._n_done
        if self._scheme.credit == "whole_list":
            if self._takes_estimate:
                return self._best_weights(np.flatnonzero(n_done), gradients)
            n_done = np.where(n_done > 0, len(self._held), 0)  # one report is the whole list
        began_s = time.perf_counter()
        code = decoder(self._held & (self._positions <= n_done), self._scheme.blocks, self._rng)
        ready_s = time.perf_counter()
        dimension = gradients.shape[1]
        parts = _in_blocks(gradients, self._scheme.blocks).reshape(len(self._held) * self._scheme.blocks, -1)
        uploads = self.sent(self._encoder.reweighted(code.encoding_matrix).messages(parts))
        received_s = time.perf_counter()
        gradient = code.gradient(uploads)[:dimension]
        return Decoded(gradient, code.condition, time.perf_counter() - received_s + ready_s - began_s)

    def _best_weights(self, finished: np.ndarray, gradients: FloatArray) -> Decoded:
        """Of the plain sums that workers send who have finished everything."""
        messages = self.sent(self._encoder.messages(gradients))
        began_s = time.perf_counter()
        weights = least_squares_weights(self._held.T.astype(np.float64), finished.tolist())
        return Decoded(weights.values @ messages, weights.condition, time.perf_counter() - began_s)


def _in_blocks(gradients: FloatArray, blocks: int) -> FloatArray:
    """Gradients with zeros behind, where the length is not a multiple of the blocks."""
    missing = -gradients.shape[1] % blocks
    return np.pad(gradients, ((0, 0), (0, missing))) if missing else gradients
