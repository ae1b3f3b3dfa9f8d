"""Straggler patterns: what the sequential schemes are made for, and what may be missing if history is to conform.

A pattern is a boolean array ``S`` of shape ``(n_rounds, n_workers)``, true where a worker straggles. Windows that
stick out at either end count, with the rounds they have.

References
----------
Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding For Straggler Mitigation", ICLR 2023, section 2.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from schemes.base.allowance import Allowance, at_most
from schemes.base.scheme import BoolArray


def is_bursty(pattern: BoolArray, B: int, W: int, lam: int) -> bool:
    """In every W rounds at most ``lam`` distinct workers straggle, first and last time at most B - 1 apart.

    Examples
    --------
    >>> one_worker = np.array([[True], [False], [True]])
    >>> is_bursty(one_worker, B=1, W=2, lam=1), is_bursty(one_worker, B=2, W=3, lam=1)
    (True, False)
    """
    return all(_fits_bursty(pattern[max(0, end - W) : end], B, lam) for end in range(1, len(pattern) + 1))


def is_arbitrary(pattern: BoolArray, N: int, W: int, lam: int) -> bool:
    """In every W rounds at most ``lam`` distinct workers straggle, each in at most N of them."""
    return all(_fits_arbitrary(pattern[max(0, end - W) : end], N, lam) for end in range(1, len(pattern) + 1))


def bursty_allowance(past: BoolArray, B: int, W: int, lam: int) -> Allowance | None:
    """Who may straggle now so that the window of W rounds ending now is bursty.

    Parameters
    ----------
    past
        The W - 1 rounds before this one, oldest first, shape ``(W - 1, n_workers)``.

    Returns
    -------
    allowance
        None where the past rounds alone break the rule.
    """
    if not _fits_bursty(past, B, lam):
        return None
    too_long_ago = np.any(past[: W - B], axis=0)  # B to W - 1 rounds ago
    return _needed_and_fresh(too_long_ago, np.any(past, axis=0), lam)


def arbitrary_allowance(past: BoolArray, N: int, lam: int) -> Allowance | None:
    """Who may straggle now so that the window ending now is arbitrary; ``past`` holds its other rounds."""
    if not _fits_arbitrary(past, N, lam):
        return None
    times = np.count_nonzero(past, axis=0)
    return _needed_and_fresh(times >= N, times > 0, lam)


def few_allowance(past: BoolArray, s: int) -> Allowance | None:
    """At most s stragglers now, if each of the ``past`` rounds had at most s."""
    if (np.count_nonzero(past, axis=1) > s).any():
        return None
    return at_most(s, past.shape[1])


def load_bound(n_workers: int, B: int, W: int, lam: int) -> float:
    """Smallest load of any scheme that tolerates every (B, W, lam)-bursty pattern with a finite T.

    For B < W an adversary lets the same ``lam`` workers straggle for B rounds, then nobody for W - 1 rounds, for
    ever: of W - 1 + B jobs' data, n workers have W - 1 rounds and n - lam workers another B rounds.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, theorem on the fundamental limit, re-derived.

    Examples
    --------
    >>> round(load_bound(20, B=2, W=3, lam=4), 6), load_bound(20, B=3, W=3, lam=4)
    (0.055556, 0.0625)
    """
    if B == W:
        return 1 / (n_workers - lam) if lam < n_workers else float("inf")
    return (W - 1 + B) / (n_workers * (W - 1) + B * (n_workers - lam))


class History:
    """The latest rounds' stragglers, oldest first; before the first round nobody straggled."""

    def __init__(self, n_rounds: int, n_workers: int) -> None:
        self.rounds = np.zeros((n_rounds, n_workers), dtype=np.bool_)

    def append(self, stragglers: BoolArray) -> None:
        """Add this round and forget the oldest."""
        if len(self.rounds):
            self.rounds[:-1] = self.rounds[1:]
            self.rounds[-1] = stragglers

    def clear(self) -> None:
        """Start afresh."""
        self.rounds[:] = False


def _needed_and_fresh(needed: BoolArray, distinct: BoolArray, lam: int) -> Allowance:
    """Nobody ``needed`` may be missing, and only so many who have not straggled in the window yet."""
    group_of = np.where(needed, 0, np.where(distinct, -1, 1))
    return Allowance(group_of, np.array([0, lam - np.count_nonzero(distinct)]))


def _fits_bursty(window: BoolArray, B: int, lam: int) -> bool:
    distinct = window.any(axis=0)
    n_distinct = np.count_nonzero(distinct)
    if n_distinct == 0:
        return True
    first = window.argmax(axis=0)
    last = len(window) - 1 - window[::-1].argmax(axis=0)
    return bool(n_distinct <= lam and (last - first)[distinct].max() < B)


def _fits_arbitrary(window: BoolArray, N: int, lam: int) -> bool:
    times = np.count_nonzero(window, axis=0)
    return bool(np.count_nonzero(times) <= lam and times.max(initial=0) <= N)


Code = Literal["gradient_coding", "fractional_repetition"]


Accepts = Literal["pattern", "recoverable"]


Acceptance = Accepts | Literal["published"]  # the last one: as_published


LateResponses = Literal["drop", "keep"]


def accepting(accepts: Acceptance) -> dict[str, Any]:
    """Say what a sequential scheme is to accept, as its parameters."""
    return {"as_published": True} if accepts == "published" else {"accepts": accepts}
