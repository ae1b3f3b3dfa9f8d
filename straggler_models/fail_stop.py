"""Workers that break down and are repaired."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from simulator.parameters import BoolArray
from straggler_models.base import ChainModel

Rounds = Annotated[float, Field(ge=1)]  # may be inf: never


@dataclass(frozen=True)
class FailStop(ChainModel):
    """Each worker works for a geometric number of rounds, then answers nothing for a geometric number of rounds.

    All work in the first round. A working worker fails before the next round with probability
    1/mean_rounds_to_failure; a failed one is back with probability 1/mean_rounds_to_repair (.inf: never).

    Source: Schlichting and Schneider, "Fail-Stop Processors", ACM Transactions on Computer Systems 1983.

    Examples
    --------
    >>> model = FailStop(mean_rounds_to_failure=1.0, mean_rounds_to_repair=1.0)
    >>> next(model.rounds(1, np.random.default_rng(1))).slowdown[:4, 0]
    array([ 1., inf,  1., inf])
    """

    takes_arrays: ClassVar[tuple[str, ...]] = ("mean_rounds_to_failure", "mean_rounds_to_repair")

    mean_rounds_to_failure: Rounds
    """mean number of rounds that a worker works"""
    mean_rounds_to_repair: Rounds
    """mean number of rounds that a failed worker is away; .inf: it never comes back"""

    @property
    def may_never_answer(self) -> bool:
        return self.mean_rounds_to_failure < np.inf

    def chances(self) -> tuple[float, float, float]:
        return 1 / self.mean_rounds_to_failure, 1 / self.mean_rounds_to_repair, np.inf

    def start(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        return np.zeros(n_workers, dtype=np.bool_)
