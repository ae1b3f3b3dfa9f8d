"""Rules about parameters that the two sequential schemes share."""

from __future__ import annotations

from typing import Literal

Code = Literal["gradient_coding", "fractional_repetition"]
Accepts = Literal["pattern", "recoverable"]


def check_replicas(code: Code, n_workers: int, replicas: int, formula: str) -> None:
    """Refuse groups of replicas that do not divide the workers."""
    if code == "fractional_repetition" and n_workers % replicas:
        raise ValueError(
            f"workers must be a multiple of {formula} = {replicas} for code: fractional_repetition, got {n_workers}"
        )


def check_acceptance(accepts: Accepts, *, as_published: bool) -> None:
    """Refuse two acceptance rules at once."""
    if as_published and accepts != "pattern":
        raise ValueError(f"accepts must be left out with as_published, which has a rule of its own, got {accepts}")
