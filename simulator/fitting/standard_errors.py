"""Standard errors of estimates: observed information, and Pitman's estimator where a density has an edge."""

import dataclasses
from typing import NamedTuple

import numpy as np

from simulator.fitting.likelihood import Layered
from simulator.fitting.selection import Fitted, maximise, updated
from simulator.parameters import FloatArray

STEP = 1e-3  # of theta, for differences of gradients
N_GRID = 21  # places at which a slowdown is tried at a time
WIDE = 0.04  # of log(slowdown): how far a softened edge may have led astray


class Settled(NamedTuple):
    """The final estimates."""

    layered: Layered
    theta: FloatArray
    hits: FloatArray
    natural: FloatArray  # the parameters that a user reads, as in Layered.natural
    errors: FloatArray  # their standard errors; NaN: the trace does not say


def settled(fitted: Fitted) -> Settled:
    """Climb to the very top, and find standard errors.

    Where the base distribution has an edge, the likelihood of a slowdown has saw teeth, and its curvature says
    nothing. There the estimate is the mean of the likelihood taken as a density of log(slowdown), the other parameters
    being given, and its error the standard deviation.

    References
    ----------
    Efron and Hinkley, "Assessing the Accuracy of the Maximum Likelihood Estimator", Biometrika 1978; Pitman, "The
    Estimation of the Location and Scale Parameters ...", Biometrika 1939; Ibragimov and Has'minskii, "Statistical
    Estimation", 1981, chapter V (densities with jumps).
    """
    if fitted.layered.base.has_edge:
        return _settled_at_edges(fitted)
    top = maximise(fitted.layered, fitted.theta, fitted.hits, is_final=True)
    errors = _delta_method(top, _covariance(top, _inside(top)))
    return Settled(top.layered, top.theta, top.hits, top.layered.natural(top.theta), errors)


def _settled_at_edges(fitted: Fitted) -> Settled:
    base = dataclasses.replace(fitted.layered.base, is_soft=False)
    layered = dataclasses.replace(fitted.layered, base=base)
    slowdowns = [place for (_, name), place in layered.places.items() if name == "slowdown"]
    top = dataclasses.replace(fitted, layered=layered)
    spread = dict.fromkeys(slowdowns, WIDE)
    for n_zooms in (3, 6):  # roughly first, because each slowdown is sought with the others given
        theta = top.theta.copy()
        for place in slowdowns:
            mean, spread[place] = _pitman(layered, theta, top.hits, place, spread[place], n_zooms)
            theta[place] = min(mean, layered.bounds[place][1])
        top = maximise(layered, theta, top.hits, fixed=slowdowns, is_final=True)
    free = [place for place in _inside(top) if place not in slowdowns]
    covariance = _covariance(top, free)
    for place in slowdowns:
        if top.theta[place] == layered.bounds[place][1]:  # of the slow, nothing was seen
            spread[place] = np.nan
    for place, deviation in spread.items():  # of log(slowdown)
        slowdown = 1 + np.exp(top.theta[place])
        covariance[place, place] = (deviation * slowdown / (slowdown - 1)) ** 2
    n_usual = float(np.isfinite(layered.durations_s).sum()) * layered.usual_share(top.theta)
    edge, edge_error = base.behind(top.theta[: base.n_theta], n_usual)
    behind = dataclasses.replace(layered, base=dataclasses.replace(base, least=edge))
    errors = np.concatenate([[edge_error], _delta_method(top, covariance)[1:]])
    return Settled(behind, top.theta, top.hits, behind.natural(top.theta), errors)


def _pitman(
    layered: Layered, theta: FloatArray, hits: FloatArray, place: int, deviation: float, n_zooms: int
) -> tuple[float, float]:
    """Seek one entry of theta, log(slowdown - 1), the others being given.

    Returns it, and the standard deviation of log(slowdown) over the likelihood, of which ``deviation`` is a guess.
    """
    mean = float(np.log1p(np.exp(theta[place])))
    half = min(4 * deviation, 0.9 * mean)
    trial = theta.copy()
    for _ in range(n_zooms):
        grid = np.linspace(mean - half, mean + half, N_GRID)
        logs = np.empty(N_GRID)
        for index, log_slowdown in enumerate(grid):
            trial[place] = np.log(np.expm1(max(log_slowdown, 1e-3)))
            logs[index] = layered.evaluate(trial, hits).log_likelihood
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        step = grid[1] - grid[0]
        mean = float(weights @ grid)
        # where the likelihood drops at once, the drop is anywhere between two places of the grid
        deviation = float(np.sqrt(weights @ (grid - mean) ** 2 + step**2 / 12))
        if 0.2 * half <= deviation <= 0.4 * half:
            break
        half = min(max(4 * deviation, 2 * step), 0.9 * mean)
    return float(np.log(np.expm1(mean))), deviation


def _inside(top: Fitted) -> list[int]:
    """Entries of theta that are not at a bound."""
    low, high = np.array(top.layered.bounds).T
    return [int(place) for place in np.flatnonzero((top.theta > low + 1e-6) & (top.theta < high - 1e-6))]


def _covariance(top: Fitted, free: list[int]) -> FloatArray:
    """The inverse of the observed information of some entries of theta; NaN for others, or if there is none."""
    information = np.empty((len(free), len(free)))
    for row, place in enumerate(free):
        gradients = []
        for sign in (1, -1):
            theta = top.theta.copy()
            theta[place] += sign * STEP
            # the hits follow: what counts is the bound at its largest
            hits = updated(top.layered, theta, top.hits) if top.layered.has_hits else top.hits
            gradients.append(top.layered.evaluate(theta, hits).gradient[free])
        information[row] = (gradients[1] - gradients[0]) / (2 * STEP)
    information = (information + information.T) / 2
    covariance = np.full((len(top.theta),) * 2, np.nan)
    if free and np.linalg.eigvalsh(information).min() > 0:
        covariance[np.ix_(free, free)] = np.linalg.inv(information)
    return covariance


def _delta_method(top: Fitted, covariance: FloatArray) -> FloatArray:
    """Standard errors of the natural parameters; each depends on one entry of theta."""
    natural = top.layered.natural
    n_edges = len(natural(top.theta)) - len(top.theta)
    errors = np.full(len(top.theta) + n_edges, np.nan)
    for place in range(len(top.theta)):
        theta = top.theta.copy()
        theta[place] += 1e-5
        slope = (natural(theta) - natural(top.theta))[place + n_edges] / 1e-5
        errors[place + n_edges] = abs(slope) * np.sqrt(covariance[place, place])
    return errors
