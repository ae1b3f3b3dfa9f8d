"""Workers that change their speed while they work."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from simulator.parameters import Factor, Positive
from straggler_models.base import SecondsModel, Speeds

BLOCK_PIECES = 32


@with_config(ConfigDict(extra="forbid"))
class SpeedState(TypedDict):
    """A state of a worker: how many times longer work takes in it, and its mean sojourn in seconds."""

    slowdown: Factor
    mean_s: Positive


@dataclass(frozen=True)
class MarkovSpeed(SecondsModel):
    """Each worker stays in a state for an exponential time, then moves to one of the others, each equally likely.

    It starts in the stationary distribution, in which a state's share of time is mean_s over the sum of all mean_s; so
    the long-run mean speed is the sum of mean_s/slowdown over the sum of mean_s.

    Source: a Markov-modulated server, as in Prabhu and Zhu, "Markov-modulated queueing systems", Queueing Systems 1989.

    Examples
    --------
    >>> fast_and_slow = MarkovSpeed(states=[{"slowdown": 1.0, "mean_s": 9.0}, {"slowdown": 3.0, "mean_s": 3.0}])
    >>> round(fast_and_slow.mean_speed, 6)
    0.833333
    """

    states: Annotated[list[SpeedState], Field(min_length=1)]
    """slowdown (.inf: the worker stands still) and mean_s, the mean sojourn in seconds, of each state"""

    def __post_init__(self) -> None:
        if all(state["slowdown"] == np.inf for state in self.states):
            raise ValueError("states must have one with a finite slowdown, got none")

    @property
    def mean_speed(self) -> float:
        """Long-run mean of 1/slowdown."""
        total_s = sum(state["mean_s"] for state in self.states)
        return sum(state["mean_s"] / state["slowdown"] for state in self.states) / total_s

    def slowdowns(self, n_workers: int, rng: np.random.Generator) -> Iterator[Speeds]:
        slowdown = np.array([state["slowdown"] for state in self.states])
        mean_s = np.array([state["mean_s"] for state in self.states])
        n_states = len(mean_s)
        state = np.searchsorted(np.cumsum(mean_s / mean_s.sum()), rng.random(n_workers), side="right")
        state = np.minimum(state, n_states - 1)  # the last sum may be rounded to just below 1
        while True:
            moves = rng.integers(1, n_states, (BLOCK_PIECES, n_workers)) if n_states > 1 else np.zeros(1, int)
            visited = (state + np.cumsum(np.broadcast_to(moves, (BLOCK_PIECES, n_workers)), axis=0)) % n_states
            visited = np.vstack([state, visited])
            durations = mean_s[visited[:-1]] * rng.standard_exponential((BLOCK_PIECES, n_workers))
            yield Speeds(durations, slowdown[visited[:-1]])
            state = visited[-1]
