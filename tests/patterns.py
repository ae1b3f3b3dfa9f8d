"""Straggler patterns, as they are defined: boolean arrays of shape ``(n_rounds, n_workers)``, true for a straggler.

Windows that stick out at either end count, with the rounds they have.

Source: Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding For Straggler Mitigation", ICLR 2023, section 2.
"""

import numpy as np


def is_bursty(pattern, B, W, lam):
    """In every W rounds at most ``lam`` distinct workers straggle, first and last time at most B - 1 apart.

    Examples
    --------
    >>> one_worker = np.array([[True], [False], [True]])
    >>> is_bursty(one_worker, B=1, W=2, lam=1), is_bursty(one_worker, B=2, W=3, lam=1)
    (True, False)
    """
    return all(_fits_bursty(pattern[max(0, end - W) : end], B, lam) for end in range(1, len(pattern) + 1))


def is_arbitrary(pattern, N, W, lam):
    """In every W rounds at most ``lam`` distinct workers straggle, each in at most N of them."""
    return all(_fits_arbitrary(pattern[max(0, end - W) : end], N, lam) for end in range(1, len(pattern) + 1))


def _fits_bursty(window, B, lam):
    distinct = window.any(axis=0)
    n_distinct = np.count_nonzero(distinct)
    if n_distinct == 0:
        return True
    first = window.argmax(axis=0)
    last = len(window) - 1 - window[::-1].argmax(axis=0)
    return bool(n_distinct <= lam and (last - first)[distinct].max() < B)


def _fits_arbitrary(window, N, lam):
    times = np.count_nonzero(window, axis=0)
    return bool(np.count_nonzero(times) <= lam and times.max(initial=0) <= N)
