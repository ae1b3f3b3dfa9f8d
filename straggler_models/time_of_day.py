"""Workers whose speed follows the clock: every day alike, or changed once and for all."""

import itertools
from collections.abc import Iterator
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from simulator.parameters import Factor, FloatArray, Positive, Seconds
from straggler_models.base import SecondsModel, Speeds

PIECES = 360  # of a wave's period
BLOCK_PIECES = 30


@with_config(ConfigDict(extra="forbid"))
class Step(TypedDict):
    """An instant, and the slowdown from then on."""

    at_s: Seconds
    slowdown: Factor


@with_config(ConfigDict(extra="forbid"))
class Wave(TypedDict):
    """A slowdown ``mean * (1 + amplitude * cos(2 pi (t - peak_s) / period_s))``."""

    mean: Positive
    amplitude: Annotated[float, Field(ge=0, lt=1)]
    peak_s: Seconds


@dataclass(frozen=True)
class TimeOfDay(SecondsModel):
    """The slowdown of all workers is a function of wall-clock time: steps or a wave.

    Before the first step the slowdown is 1; with a period, that of the last step. A wave of mean m and amplitude a
    slows work down m * sqrt(1 - a^2) times over whole periods. It is cut into 360 pieces a period, of constant speed
    each, in which as much work is done as in the wave.

    Source: the diurnal load of shared machines, as in Reiss, Tumanov, Ganger, Katz and Kozuch, "Heterogeneity and
    Dynamicity of Clouds at Scale: Google Trace Analysis", SoCC 2012; here any function of time.

    Examples
    --------
    >>> steps = [{"at_s": 28800.0, "slowdown": 2.0}, {"at_s": 72000.0, "slowdown": 1.0}]
    >>> days = TimeOfDay(steps=steps, period_s=86400.0)
    >>> [part[:, 0].tolist() for part in next(days.slowdowns(1, np.random.default_rng(0)))]
    [[28800.0, 43200.0, 14400.0], [1.0, 2.0, 1.0]]
    """

    is_random: ClassVar[bool] = False

    steps: Annotated[list[Step], Field(min_length=1)] | None = None
    """at_s and slowdown of each change, in order (.inf: workers stand still); alternative to wave"""
    wave: Wave | None = None
    """mean, amplitude (a share of the mean) and peak_s; alternative to steps"""
    period_s: Positive | None = None
    """seconds after which everything repeats; null: steps are taken once"""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.wave is None):
            got = "none of them" if self.steps is None else "both"
            raise ValueError(f"steps must be given, or wave in its place, got {got}")
        if self.wave is not None and self.period_s is None:
            raise ValueError("period_s must be given with wave, got nothing")
        steps = self.steps or []
        for place, (before, after) in enumerate(itertools.pairwise(steps), 1):
            if after["at_s"] <= before["at_s"]:
                least = before["at_s"]
                raise ValueError(
                    f"steps.{place}.at_s must be later than the one before, {least:g}, got {after['at_s']:g}"
                )
        if steps and self.period_s is not None and steps[-1]["at_s"] >= self.period_s:
            got = f"{steps[-1]['at_s']:g}"
            raise ValueError(f"steps.{len(steps) - 1}.at_s must be less than period_s = {self.period_s:g}, got {got}")
        lasting = steps if self.period_s is not None else steps[-1:]
        if steps and all(step["slowdown"] == np.inf for step in lasting):
            raise ValueError(
                f"steps.{len(steps) - 1}.slowdown must be finite, because workers would never go on, got inf"
            )

    def slowdowns(self, n_workers: int, rng: np.random.Generator) -> Iterator[Speeds]:
        durations_s, slowdowns = self._pieces()
        if self.period_s is None:
            yield _of_all(durations_s, slowdowns, n_workers)
            durations_s, slowdowns = durations_s[-1:], slowdowns[-1:]
        while True:
            for first in range(0, len(durations_s), BLOCK_PIECES):
                block = slice(first, first + BLOCK_PIECES)
                yield _of_all(durations_s[block], slowdowns[block], n_workers)

    def _pieces(self) -> tuple[FloatArray, FloatArray]:
        """Durations and slowdowns from 0 s on: of one period, or to the end of time."""
        if self.wave is not None and self.period_s is not None:
            return _pieces_of(self.wave, self.period_s)
        steps = self.steps or []
        first = 1.0 if self.period_s is None else steps[-1]["slowdown"]
        last_s = np.inf if self.period_s is None else self.period_s
        durations_s = np.diff([0.0, *(step["at_s"] for step in steps), last_s])
        slowdowns = np.array([first, *(step["slowdown"] for step in steps)])
        return durations_s[durations_s > 0], slowdowns[durations_s > 0]


def _of_all(durations_s: FloatArray, slowdowns: FloatArray, n_workers: int) -> Speeds:
    return Speeds(*(np.tile(part[:, np.newaxis], n_workers) for part in (durations_s, slowdowns)))


def _pieces_of(wave: Wave, period_s: float) -> tuple[FloatArray, FloatArray]:
    """Pieces of a period in which as much work is done as in the wave.

    With theta = 2 pi (t - peak_s) / period_s, work is the integral of dt / (mean (1 + amplitude cos theta)), whose
    antiderivative in theta is 2 / sqrt(1 - amplitude^2) arctan(sqrt((1 - amplitude) / (1 + amplitude)) tan(theta / 2)).
    """
    turns = np.linspace(0.0, 1.0, PIECES + 1) - wave["peak_s"] / period_s
    whole = np.round(turns)  # periods of which the arctangent knows nothing
    share = np.sqrt((1 - wave["amplitude"]) / (1 + wave["amplitude"]))
    work = whole + np.arctan(share * np.tan(np.pi * (turns - whole))) / np.pi
    done_s = period_s / (wave["mean"] * np.sqrt(1 - wave["amplitude"] ** 2)) * np.diff(work)
    durations_s = np.full(PIECES, period_s / PIECES)
    return durations_s, durations_s / done_s
