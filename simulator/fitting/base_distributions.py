"""Distributions that usual worker times may follow: densities, with derivatives, and the straggler models they are.

One describes what a worker takes when nothing slows it down; a slowed worker takes a multiple of that. All is written
in terms of log x, and every function works on arrays of any shape.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from simulator.parameters import FloatArray
from straggler_models import Constant, Lognormal, Pareto, ShiftedExponential, StragglerModel, Weibull

IMPOSSIBLE = -700.0  # log density where there is none: exp of it is still a number
HALF_LOG_2_PI = 0.9189385332046727
SOFT = 0.05  # width of a softened edge, as a share of the distribution's own scale
LEAST_SPREAD = 1e-4  # of logarithms; below, the durations are as good as equal


class Density(NamedTuple):
    """Of x: the logarithm of the density, or of the chance of being longer, and its derivatives."""

    log: FloatArray
    by_log_x: FloatArray
    by_theta: list[FloatArray]  # for each unconstrained parameter


@dataclass(frozen=True)
class BaseDistribution(ABC):
    """A family of positive distributions, with what does not vary during a search for its parameters.

    ``theta`` are its unconstrained parameters, of which there are ``n_theta``; ``names`` are those a user reads.
    """

    names: ClassVar[tuple[str, ...]]
    becomes: ClassVar[Callable[..., StragglerModel]]  # from parameters of the same names
    has_edge: ClassVar[bool] = False  # whether the density jumps at its smallest value, ``least``, then not in theta
    has_shift: ClassVar[bool] = False  # whether its first parameter is a constant time that the rest comes on top of

    least: float  # smallest measured value: where an edge is, or below which a shift must stay
    known_s: float = 0.0  # seconds that are part of every value and known: a shift is at least that
    is_soft: bool = True  # whether slowed workers may be a little faster than the edge: searches climb no saw teeth

    @abstractmethod
    def start(self, x: FloatArray) -> FloatArray:
        """A rough estimate from x, sorted; robust against a few slowed ones."""

    @abstractmethod
    def density(self, log_x: FloatArray, theta: FloatArray) -> Density:
        """The density of x, not of log x; its derivatives are by log x and by theta."""

    @abstractmethod
    def survival(self, log_x: FloatArray, theta: FloatArray) -> Density:
        """The chance of being longer than x, for times at which workers were cancelled; derivatives as of a density."""

    def natural(self, theta: FloatArray) -> FloatArray:
        """The parameters that a user reads, in the order of ``names``."""
        return np.exp(theta)

    def models(self, theta: FloatArray) -> dict[str, StragglerModel]:
        """The distribution as straggler models by label, less the ``known_s`` seconds that another model adds."""
        parameters = dict(zip(self.names, self.natural(theta).tolist(), strict=True))
        return {"usual": self.becomes(**parameters, adds_to="startup_s")}

    def behind(self, theta: FloatArray, n_usual: float) -> tuple[float, float]:
        """The place of an edge, given that the smallest of n_usual values is ``least``; and its standard error."""
        raise NotImplementedError(f"{self.kind} has no edge")

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Of theta."""
        return [(-30.0, 30.0)] * self.n_theta

    @property
    def n_theta(self) -> int:
        """Number of unconstrained parameters."""
        return len(self.names) - self.has_edge

    @property
    def kind(self) -> str:
        """Its name."""
        return next(kind for kind, distribution in BASE_DISTRIBUTIONS.items() if isinstance(self, distribution))


def _robust(x: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of log x, from its quartiles."""
    low, middle, high = np.quantile(np.log(x), (0.2, 0.45, 0.7))
    return float(middle), max(float(high - low) / 1.366, 10 * LEAST_SPREAD)


@dataclass(frozen=True)
class LognormalDistribution(BaseDistribution):
    """log x is normal.

    Examples
    --------
    >>> base = LognormalDistribution(least=0.1)
    >>> base.density(np.zeros(1), np.zeros(2)).log.round(4)
    array([-0.9189])
    """

    names = ("median", "sigma")
    becomes = Lognormal

    def start(self, x: FloatArray) -> FloatArray:
        middle, spread = _robust(x)
        return np.array([middle, np.log(spread)])

    def density(self, log_x: FloatArray, theta: FloatArray) -> Density:
        sigma = np.exp(theta[1])
        z = (log_x - theta[0]) / sigma
        square = z * z
        return Density(-log_x - theta[1] - HALF_LOG_2_PI - square / 2, -1 - z / sigma, [z / sigma, square - 1])

    def survival(self, log_x: FloatArray, theta: FloatArray) -> Density:
        from scipy.special import log_ndtr

        sigma = np.exp(theta[1])
        z = (log_x - theta[0]) / sigma
        log = log_ndtr(-z)
        hazard = np.exp(-z * z / 2 - HALF_LOG_2_PI - log)
        return Density(log, -hazard / sigma, [hazard / sigma, hazard * z])


@dataclass(frozen=True)
class ShiftedLognormalDistribution(BaseDistribution):
    """log(x - floor) is normal: a constant and a lognormal time, one after the other."""

    names = ("floor", "median", "sigma")
    has_shift = True

    def start(self, x: FloatArray) -> FloatArray:
        middle, spread = _robust(x - self._floor(np.log([4.0])))
        return np.array([np.log(4.0), middle, np.log(spread)])

    def _floor(self, theta: FloatArray) -> float:
        return self.known_s + (self.least - self.known_s) / (1 + float(np.exp(-theta[0])))

    def density(self, log_x: FloatArray, theta: FloatArray) -> Density:
        return self._on_top(log_x, theta, LognormalDistribution(self.least).density, IMPOSSIBLE)

    def survival(self, log_x: FloatArray, theta: FloatArray) -> Density:
        return self._on_top(log_x, theta, LognormalDistribution(self.least).survival, 0.0)

    def _on_top(
        self, log_x: FloatArray, theta: FloatArray, rest: Callable[[FloatArray, FloatArray], Density], below: float
    ) -> Density:
        """What holds of the rest of x, and below the floor."""
        floor, x = self._floor(theta), np.exp(log_x)
        is_above = x > floor
        above = np.where(is_above, x - floor, 1.0)
        of_rest = rest(np.log(above), theta[1:])
        slope = is_above * of_rest.by_log_x / above  # by x
        by_floor = -slope * (floor - self.known_s) * (self.least - floor) / (self.least - self.known_s)
        by_rest = [is_above * by for by in of_rest.by_theta]
        return Density(np.where(is_above, of_rest.log, below), slope * x, [by_floor, *by_rest])

    @property
    def bounds(self) -> list[tuple[float, float]]:
        # with the floor at the smallest duration, the likelihood has a pole: of no use, and kept away from
        return [(-6.0, 4.6), (-30.0, 30.0), (-7.0, 1.0)]

    def natural(self, theta: FloatArray) -> FloatArray:
        return np.array([self._floor(theta) - self.known_s, *np.exp(theta[1:])])

    def models(self, theta: FloatArray) -> dict[str, StragglerModel]:
        floor, median, sigma = self.natural(theta).tolist()
        return {"floor": Constant(startup_s=floor), "usual": Lognormal(median=median, sigma=sigma, adds_to="startup_s")}


@dataclass(frozen=True)
class WeibullDistribution(BaseDistribution):
    """(x/scale)^shape is exponential."""

    names = ("scale", "shape")
    becomes = Weibull

    def start(self, x: FloatArray) -> FloatArray:
        middle, spread = _robust(x)
        shape = 1.28 / spread  # log x has standard deviation pi/(sqrt(6) shape)
        return np.array([middle + 0.4 / shape, np.log(shape)])

    def density(self, log_x: FloatArray, theta: FloatArray) -> Density:
        shape = np.exp(theta[1])
        power = shape * (log_x - theta[0])
        excess = np.exp(np.minimum(power, 300.0))
        slope = shape * (1 - excess)
        return Density(theta[1] - log_x + power - excess, slope - 1, [-slope, 1 + power * (1 - excess)])

    def survival(self, log_x: FloatArray, theta: FloatArray) -> Density:
        shape = np.exp(theta[1])
        power = shape * (log_x - theta[0])
        excess = np.exp(np.minimum(power, 300.0))
        return Density(-excess, -shape * excess, [shape * excess, -power * excess])


@dataclass(frozen=True)
class ShiftedExponentialDistribution(BaseDistribution):
    """x - shift is exponential; its edge is the shift."""

    names = ("shift", "mean")
    becomes = ShiftedExponential
    has_edge = True
    has_shift = True

    def start(self, x: FloatArray) -> FloatArray:
        return np.array([np.log(max((float(np.quantile(x, 0.45)) - self.least) / 0.6, LEAST_SPREAD * self.least))])

    def density(self, log_x: FloatArray, theta: FloatArray) -> Density:
        x = np.exp(log_x)
        beyond = (x - self.least) / np.exp(theta[0])
        fall, slope = _edge(beyond, self.is_soft)
        return Density(-theta[0] - fall, -slope * x / np.exp(theta[0]), [fall - 1])

    def survival(self, log_x: FloatArray, theta: FloatArray) -> Density:
        x = np.exp(log_x)
        beyond = (x - self.least) / np.exp(theta[0])
        log, slope = _beyond_edge(beyond, self.is_soft)
        return Density(log, slope * x / np.exp(theta[0]), [-slope * beyond])

    def natural(self, theta: FloatArray) -> FloatArray:
        return np.array([self.least - self.known_s, *np.exp(theta)])

    def behind(self, theta: FloatArray, n_usual: float) -> tuple[float, float]:
        mean = float(np.exp(theta[0]))
        return max(self.least - mean / n_usual, self.known_s), mean / n_usual


@dataclass(frozen=True)
class ParetoDistribution(BaseDistribution):
    """log(x/scale) is exponential; its edge is the scale."""

    names = ("scale", "shape")
    becomes = Pareto
    has_edge = True

    def start(self, x: FloatArray) -> FloatArray:
        return np.array([-np.log(max((float(np.quantile(np.log(x), 0.45)) - np.log(self.least)) / 0.6, LEAST_SPREAD))])

    def density(self, log_x: FloatArray, theta: FloatArray) -> Density:
        shape = np.exp(theta[0])
        fall, slope = _edge(shape * (log_x - np.log(self.least)), self.is_soft)
        return Density(theta[0] - log_x - fall, -1 - shape * slope, [1 - fall])

    def survival(self, log_x: FloatArray, theta: FloatArray) -> Density:
        shape = np.exp(theta[0])
        beyond = shape * (log_x - np.log(self.least))
        log, slope = _beyond_edge(beyond, self.is_soft)
        return Density(log, shape * slope, [slope * beyond])

    def natural(self, theta: FloatArray) -> FloatArray:
        return np.array([self.least, *np.exp(theta)])

    def behind(self, theta: FloatArray, n_usual: float) -> tuple[float, float]:
        by = float(np.exp(-theta[0])) / n_usual
        return self.least * (1 - by), self.least * by


def _edge(beyond: FloatArray, is_soft: bool) -> tuple[FloatArray, FloatArray]:
    """The fall of the log density of a standard exponential, and its slope; before the edge, steeply if soft."""
    if is_soft:
        before = beyond < 0
        return np.where(before, beyond / -SOFT, beyond), np.where(before, -1 / SOFT, 1.0)
    before = beyond < -1e-12
    return np.where(before, -IMPOSSIBLE, beyond), np.where(before, 0.0, 1.0)


def _beyond_edge(beyond: FloatArray, is_soft: bool) -> tuple[FloatArray, FloatArray]:
    """The log of what lies beyond, of the density of which `_edge` is the fall, and its slope."""
    softened = SOFT * np.exp(np.minimum(beyond, 0.0) / SOFT) if is_soft else np.zeros_like(beyond)
    before, whole = beyond < 0, 1 + SOFT * is_soft
    log = np.where(before, np.log(whole - softened), -beyond)
    return log, np.where(before, -softened / SOFT / (whole - softened), -1.0)


BASE_DISTRIBUTIONS: dict[str, type[BaseDistribution]] = {
    "shifted_exponential": ShiftedExponentialDistribution,
    "lognormal": LognormalDistribution,
    "shifted_lognormal": ShiftedLognormalDistribution,
    "weibull": WeibullDistribution,
    "pareto": ParetoDistribution,
}
