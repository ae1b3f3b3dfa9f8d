"""Coefficients that a master sends when it knows what is done, so that all uploads together make the gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray

NEGLIGIBLE = 1e-12  # of the largest singular value: rows of R that do not span anything more


class Decoder(NamedTuple):
    """Matrices with which finished chunks are decoded: the paper's R and X."""

    random: FloatArray  # R, shape (n_workers, blocks)
    coefficients: FloatArray  # X, shape (n_chunks, blocks, n_workers): of block u of chunk c in a worker's upload
    condition: float  # the worst condition number of the rows of R that a chunk is recovered from

    @property
    def encoding_matrix(self) -> FloatArray:
        """X as the combinations that workers send of all blocks, shape ``(n_workers, n_chunks * blocks)``."""
        return self.coefficients.reshape(-1, self.coefficients.shape[2]).T

    def gradient(self, uploads: FloatArray) -> FloatArray:
        """The sum of all chunks' gradients, shape ``(length,)``, from uploads ``(n_workers, length / blocks)``."""
        return np.asarray((self.random.T @ uploads).ravel())


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
    >>> code.gradient(code.encoding_matrix @ gradients.reshape(4, 2)).round(6)
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
