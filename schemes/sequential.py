"""What the two sequential schemes share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from schemes.base import Allowance, BoolArray, FloatArray, IntArray
from schemes.codec import Weights
from schemes.fractional_repetition import FractionalRepetition, repetition_weights
from schemes.gradient_coding import cyclic_repetition, cyclic_weights

Code = Literal["gradient_coding", "fractional_repetition"]
Accepts = Literal["pattern", "recoverable"]
LateAnswers = Literal["drop", "keep"]


def check_replicas(code: Code, n_workers: int, replicas: int, formula: str) -> None:
    """Refuse groups of replicas that do not divide the workers."""
    if code == "fractional_repetition" and n_workers % replicas:
        raise ValueError(
            f"workers must be a multiple of {formula} = {replicas} for code: fractional_repetition, got {n_workers}"
        )


def check_published(accepts: Accepts, late_answers: LateAnswers, *, as_published: bool) -> None:
    """Refuse what the published simulator does in its own way."""
    if as_published and accepts != "pattern":
        raise ValueError(f"accepts must be left out with as_published, which has a rule of its own, got {accepts}")
    if as_published and late_answers != "drop":
        raise ValueError(f"late_answers must be drop with as_published, got {late_answers}")


def code_matrix(code: Code, n_workers: int, s: int) -> FloatArray:
    """Encoding matrix of the code of one job, or of one group of coded chunks, shape ``(n_workers, n_workers)``."""
    if code == "gradient_coding":
        return cyclic_repetition(n_workers, s)
    return FractionalRepetition(n_workers, s).encoding_matrix()


def code_weights(code: Code, n_workers: int, s: int, answered: IntArray) -> Weights:
    """Weights of the answers to it."""
    if code == "gradient_coding":
        return cyclic_weights(n_workers, s, answered)
    return repetition_weights(n_workers, s + 1, answered)


class Tally:
    """Counts for one allowance during a round, where a worker may also stop mattering before it arrives.

    Examples
    --------
    >>> tally = Tally(Allowance(np.array([0, 0, -1]), np.array([0])), np.array([True, True, True]))
    >>> tally.arrives(2), tally.arrives(0), tally.excuse(1)
    (False, False, True)
    """

    __slots__ = ("beyond", "group_of", "n_violated")

    def __init__(self, allowance: Allowance, missing: BoolArray) -> None:
        beyond = allowance.missing_beyond(missing)
        self.group_of: list[int] = allowance.group_of.tolist()
        self.beyond: list[int] = beyond.tolist()
        self.n_violated = int(np.count_nonzero(beyond > 0))

    def arrives(self, worker: int) -> bool:
        """A worker is not missing any more: does the allowance hold now, and did not before?"""
        group = self.group_of[worker]
        return group >= 0 and self.lessen(group)

    def excuse(self, worker: int) -> bool:
        """A worker that is missing may be from now on: as if it had arrived."""
        holds = self.arrives(worker)
        self.group_of[worker] = -1
        return holds

    def lessen(self, group: int) -> bool:
        """One more of a group may be missing, or one fewer is."""
        beyond = self.beyond[group] - 1
        self.beyond[group] = beyond
        if beyond:
            return False
        self.n_violated -= 1
        return not self.n_violated
