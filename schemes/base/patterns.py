"""Straggler patterns that the sequential schemes are made for, and what may be chosen of them.

References
----------
Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding For Straggler Mitigation", ICLR 2023, section 2.
"""

from __future__ import annotations

from typing import Any, Literal


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


def counted(count: int, noun: str) -> str:
    """A number and what there are so many of.

    Examples
    --------
    >>> counted(0, "straggler"), counted(1, "straggler")
    ('0 stragglers', 'one straggler')
    """
    return f"one {noun}" if count == 1 else f"{count} {noun}s"


def any_of(count: int, noun: str) -> str:
    """Any so many of something.

    Examples
    --------
    >>> any_of(0, "straggler"), any_of(1, "straggler"), any_of(2, "straggler")
    ('no straggler', 'any one straggler', 'any 2 stragglers')
    """
    return f"any {counted(count, noun)}" if count else f"no {noun}"


Code = Literal["gradient_coding", "fractional_repetition"]
Accepts = Literal["pattern", "recoverable"]
Acceptance = Accepts | Literal["published"]  # the last one: as_published
LateResponses = Literal["drop", "keep"]


def accepting(accepts: Acceptance) -> dict[str, Any]:
    """Say what a sequential scheme is to accept, as its parameters."""
    return {"as_published": True} if accepts == "published" else {"accepts": accepts}
