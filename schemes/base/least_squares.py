"""Squared errors of the best weights: after each of the first responses, from one elimination in their order."""

from __future__ import annotations

import functools

import numpy as np

from simulator.parameters import BoolArray, FloatArray, IntArray

ZERO = 1e-12  # a squared error of at most so much for each chunk is rounding
PLAIN = 1e-5  # one of less than so much for each chunk is a difference of numbers too large for it
STEADY = 1e-4  # least share of a row outside of the span of earlier ones with which normal equations are good
DEPENDENT = 1e-8  # a row with a smaller share, of rows that are all made independent, has none
SHIFT = 1e-11  # by which they are: relative to each row's squared length


def least_squares_error(responses: FloatArray) -> float:
    """Squared distance of the all-ones vector to the span of the columns, shape ``(n_chunks, n_responses)``.

    Examples
    --------
    >>> least_squares_error(np.array([[1.0], [1.0], [0.0]]))
    1.0
    """
    ones = np.ones(len(responses))
    return _squared(responses @ np.linalg.lstsq(responses, ones, rcond=None)[0] - ones)


def least_squares_errors(matrix: FloatArray, due_s: FloatArray, missing: BoolArray) -> FloatArray:
    """Squared distance of the all-ones vector to the span of the rows that have come, in many rounds.

    The error of a round does not depend, to the bit, on the others that are asked for; those with equal ``due_s`` share
    an elimination.

    Parameters
    ----------
    matrix
        What each worker sends, shape ``(n_workers, n_chunks)``.
    due_s
        When each worker's response comes, or anything else in that order, shape ``(n, n_workers)``.
    missing
        Whose has not come, shape ``(n, n_workers)``: none that is due before another that has.

    Examples
    --------
    >>> matrix, due_s = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), np.array([[2.0, 1.0]])
    >>> least_squares_errors(matrix, due_s.repeat(3, axis=0), due_s > np.array([[0.0], [1.0], [2.0]])).round(6)
    array([3.      , 1.      , 0.333333])
    """
    elimination = _elimination(np.asarray(matrix, dtype=np.float64).tobytes(), matrix.shape)
    errors = np.empty(len(missing))
    rounds: dict[bytes, list[int]] = {}
    for place, row in enumerate(due_s):
        rounds.setdefault(row.tobytes(), []).append(place)
    for places in rounds.values():
        errors[places] = elimination.errors(np.argsort(due_s[places[0]], kind="stable"), missing[places])
    return errors


def _squared(residual: FloatArray) -> float:
    error = float(np.sum(residual**2))
    return error if error > ZERO * len(residual) else 0.0


@functools.lru_cache(maxsize=16)
def _elimination(values: bytes, shape: tuple[int, int]) -> _Elimination:
    return _Elimination(np.frombuffer(values).reshape(shape))


class _Elimination:
    """Cholesky factors of the products of a matrix's rows in any order, row by row.

    All have the size of the matrix, with unit rows for what has not come: a factor's rows then do not depend, to the
    bit, on how many follow.
    """

    def __init__(self, matrix: FloatArray) -> None:
        rows, kinds = np.unique(matrix, axis=0, return_inverse=True)
        self._matters: BoolArray = (matrix != 0).any(axis=1)
        self._kinds = kinds.reshape(-1)  # which of the rows that differ is each worker's
        self._rows = rows
        self._products, self._sums = rows @ rows.T, rows.sum(axis=1)

    def errors(self, order: IntArray, missing: BoolArray) -> FloatArray:
        """Errors of some rounds in which workers come in one order; shapes ``(n_workers,)``, ``(n, n_workers)``."""
        n_come = np.count_nonzero(~missing & self._matters, axis=1)
        kinds = self._kinds[order[self._matters[order]]][: n_come.max()]
        is_new = np.zeros(len(kinds), dtype=np.bool_)
        is_new[np.unique(kinds, return_index=True)[1]] = True
        kinds, n_kinds = kinds[is_new], np.append(0, np.cumsum(is_new))[n_come]
        is_kept, n_sound = np.ones(len(kinds), dtype=np.bool_), len(kinds)
        shares, parts = self._eliminated(kinds)
        if not (shares >= STEADY).all():
            is_kept, n_sound = self._independent(kinds)
            shares, parts = self._eliminated(kinds[is_kept])
            n_sound = 0 if np.isnan(shares).any() else n_sound
        n_kept = np.append(0, np.cumsum(is_kept))[n_kinds]
        errors: FloatArray = (self._rows.shape[1] - np.append(0.0, np.cumsum(parts**2)))[n_kept]
        is_plain = (errors >= PLAIN * self._rows.shape[1]) & (n_kinds <= n_sound)
        for place in np.flatnonzero(~is_plain).tolist():
            n = n_kinds[place]
            errors[place] = self._solved(kinds[:n][is_kept[:n]]) if n <= n_sound else self._fitted(kinds[:n])
        return errors

    def _eliminated(self, kinds: IntArray, shift: float = 0.0) -> tuple[FloatArray, FloatArray]:
        """Return the share of each row outside of the span of earlier ones, and the part of all ones along that.

        NaN if some row has no such share.
        """
        n = len(kinds)
        products = np.eye(len(self._rows) + 1)
        products[:n, :n] = self._products.take(kinds, axis=0).take(kinds, axis=1)
        lengths = products.diagonal()[:n].copy()
        np.fill_diagonal(products[:n, :n], lengths * (1 + shift))
        products[-1, :n] = self._sums[kinds]
        products[-1, -1] = 2 * self._rows.shape[1]  # more than the squares of the parts add up to
        try:
            factor = np.linalg.cholesky(products).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            return np.full(n, np.nan), np.full(n, np.nan)
        shares: FloatArray = factor.diagonal()[:n] ** 2 / lengths
        return shares, factor[-1, :n]

    def _independent(self, kinds: IntArray) -> tuple[BoolArray, int]:
        """Mask of the rows outside of the span of earlier ones, and how many rows come before one in doubt."""
        shares, _ = self._eliminated(kinds, SHIFT)
        is_kept = shares >= STEADY
        n_sound = int(np.argmin(np.append(is_kept | (shares < DEPENDENT), False)))
        is_kept[n_sound:] = False
        return is_kept, n_sound

    def _solved(self, kinds: IntArray) -> float:
        """Return the error from the weights: an error in them changes it by the square of that only."""
        kinds = np.sort(kinds)
        weights = np.linalg.solve(self._products.take(kinds, axis=0).take(kinds, axis=1), self._sums[kinds])
        return _squared(weights @ self._rows[kinds] - 1)

    def _fitted(self, kinds: IntArray) -> float:
        return least_squares_error(self._rows[np.sort(kinds)].T)
