"""Which base law and which layers a recording asks for: maximum likelihood, stepwise by BIC."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.fitting.base_distributions import BASE_LAWS, BaseLaw
from simulator.fitting.likelihood import LAYERS, Layered
from straggler_models.base import FloatArray

N_POOLED = 2000  # durations on which all base laws are tried, regardless of round and worker
N_LAWS = 2  # that are tried in full, the best of them
N_WORKERS = 48  # on which layers are tried before all are asked
NEARLY = 30.0  # of a log-likelihood: what the last steps of a search may still gain
MOST_TURNS = 8  # of dropping or exchanging a layer
LITTLE = 0.05  # of a log-likelihood: smaller gains end a search
UNLIKELY = 1e-9  # a round is never quite sure to be hit, or not: else it could not change


@dataclass(frozen=True)
class Fitted:
    """A model with its most likely parameters."""

    layered: Layered
    theta: FloatArray  # shape (n_theta,)
    hits: FloatArray  # probability that each round is hit by a shock, shape (n_rounds,)
    log_likelihood: float

    @property
    def bic(self) -> float:
        """Schwarz's information criterion: the smaller, the better."""
        n_observed = int(np.isfinite(self.layered.durations_s).sum())
        return self.layered.n_parameters * math.log(n_observed) - 2 * self.log_likelihood


class Choice(NamedTuple):
    """What the information criterion says about a layer."""

    layer: str
    is_kept: bool
    delta_bic: float  # how much larger BIC is if the choice is turned round


class Search(NamedTuple):
    """What came of a search with one base law."""

    best: Fitted
    choices: tuple[Choice, ...]  # in the order of LAYERS


def maximise(
    layered: Layered,
    theta: FloatArray,
    hits: FloatArray,
    *,
    fixed: Sequence[int] = (),
    n_steps: int | None = None,
    is_final: bool = False,
) -> Fitted:
    """Climb the log-likelihood from a start.

    Parameters
    ----------
    layered
        The model.
    theta, hits
        The start; see :meth:`Layered.evaluate`.
    fixed
        Places in theta that stay.
    n_steps
        How many steps to take only; None: as many as it needs.
    is_final
        Whether to climb to the very top.
    """
    from scipy.optimize import minimize

    bounds = np.array([(theta[i], theta[i]) if i in fixed else pair for i, pair in enumerate(layered.bounds)])
    theta = np.clip(theta, *bounds.T)
    has_shocks = "shocks" in layered.layers
    scale = 1 / np.sqrt(_rough_information(layered, theta))  # one step of a search is as long in all directions

    def falling(at: FloatArray) -> tuple[float, FloatArray]:
        value = layered.evaluate(at * scale, hits)
        return -value.log_likelihood, -value.gradient * scale

    reached = -math.inf
    for _ in range(1 if n_steps else 12):
        if has_shocks:
            hits = updated(layered, theta, hits)
        n_most = n_steps or (20 if has_shocks else 100)
        options = {"maxiter": n_most, "ftol": 1e-9 if is_final else 5e-6, "gtol": 1e-3}
        found = minimize(  # type: ignore[call-overload]  # its types know fewer forms of bounds than it does
            falling, theta / scale, jac=True, method="L-BFGS-B", bounds=bounds / scale[:, np.newaxis], options=options
        )
        theta, gained, reached = found.x * scale, -found.fun - reached, -found.fun
        if gained < (LITTLE if is_final else 20 * LITTLE):
            break
    return Fitted(layered, theta, hits, float(reached))


def _rough_information(layered: Layered, theta: FloatArray) -> FloatArray:
    """About how much the recording says of each entry of theta, as if all states were seen."""
    n_rounds, n_workers = layered.durations_s.shape
    log_y = np.log(layered.durations_s[np.isfinite(layered.durations_s)])
    middle = log_y[np.abs(log_y - np.median(log_y)) <= np.quantile(np.abs(log_y - np.median(log_y)), 0.8)]
    density = layered.law.density(middle, theta[: layered.law.n_theta])
    information = [len(log_y) * float(np.mean(slope**2)) for slope in density.by_theta]
    of_scale = float(np.mean((1 + density.by_log_x) ** 2))
    for layer in layered.layers:
        *chances, slowdown = layered.of_layer(theta, layer)
        spread = [p * (1 - p) for p in chances]
        if layer == "slow_workers":
            share, units = chances[0], [n_workers]
        elif layer == "bursts":
            share = chances[0] / (chances[0] + chances[1])
            units = [len(log_y) * (1 - share), len(log_y) * share]
        elif layer == "shocks":
            share, units = chances[0] * chances[1], [n_rounds, len(log_y) * chances[0]]
        else:
            share, units = chances[0], [len(log_y)]
        information += [n * p for n, p in zip(units, spread, strict=True)]
        information.append(len(log_y) * share * of_scale * (1 - 1 / slowdown) ** 2)
    return np.maximum(information, 1.0)


def updated(layered: Layered, theta: FloatArray, hits: FloatArray) -> FloatArray:
    """The probabilities of the rounds' being hit that make the bound largest."""
    for _ in range(6):
        evidence = np.clip(layered.evaluate(theta, hits).hit_evidence, -500, 500)
        new = np.clip(1 / (1 + np.exp(-evidence)), UNLIKELY, 1 - UNLIKELY)
        change, hits = float(np.abs(new - hits).max()), new
        if change < 1e-3:
            break
    return hits


def promising(durations_s: FloatArray, known_s: float) -> list[BaseLaw]:
    """The base laws that are best at the durations as such, as mixtures of slowed and usual ones.

    What order durations come in does not matter here, so that a few thousand quantiles stand for all.
    """
    x = np.sort(durations_s[np.isfinite(durations_s)])
    least = float(x[0])
    pooled = np.quantile(x, (np.arange(min(N_POOLED, len(x))) + 0.5) / min(N_POOLED, len(x)))[np.newaxis]
    laws = [law(least, known_s) for law in BASE_LAWS.values() if law.has_shift or not known_s]
    fits = []
    for law in laws:
        mixture = Layered(pooled, law, ("slow_workers", "outliers"))  # each duration a worker of its own
        starts = [(0.05, 2.0, 0.005, 8.0), (0.2, 1.3, 0.02, 3.0)]
        fits.append(
            max(
                (
                    maximise(mixture, np.concatenate([law.start(x), _unconstrained(start)]), np.zeros(1))
                    for start in starts
                ),
                key=lambda fitted: fitted.log_likelihood,
            )
        )
    fits.sort(key=lambda fitted: fitted.bic)
    return [fitted.layered.law for fitted in fits[:N_LAWS]]


def _unconstrained(natural: Sequence[float]) -> FloatArray:
    """Theta of chances below 1 and slowdowns above it."""
    return np.array([math.log(v - 1) if v > 1 else math.log(v / (1 - v)) for v in natural])


def search(durations_s: FloatArray, law: BaseLaw, start: Fitted | None = None) -> Search:
    """Add the layer that BIC likes most, until it likes none; then drop those it does not like any more.

    Parameters
    ----------
    durations_s
        Shape ``(n_rounds, n_workers)``, seconds; inf counts as not observed.
    law
        Of durations that nothing slows.
    start
        A fit to begin with, rather than with no layers.
    """
    x = np.sort(durations_s[np.isfinite(durations_s)])
    best = start or maximise(Layered(durations_s, law, ()), law.start(x), np.full(len(durations_s), 0.5))
    possible = _possible(durations_s)
    n_turns = 0
    while True:
        longer: dict[str, Fitted] = {}
        absent = [layer for layer in possible if layer not in best.layered.layers]
        while absent:
            # the most promising first; once one is added, the others are looked at anew
            absent.sort(key=lambda layer: -_promise(best, layer))
            better = _with(best, absent[0])
            if better.bic < best.bic:
                best, longer = better, {}
                absent = [layer for layer in possible if layer not in best.layered.layers]
            else:
                longer[absent.pop(0)] = better
        shorter = {layer: _without(best, layer) for layer in best.layered.layers}
        better = min(shorter.values(), key=_bic, default=best)
        if better.bic >= best.bic:
            better = min(_exchanged(best, shorter, possible), key=_bic, default=best)
        if better.bic >= best.bic - 1 or n_turns == MOST_TURNS:
            break
        n_turns += 1
        best = better
    others = longer | shorter
    kept = best.layered.layers
    choices = (Choice(layer, layer in kept, others[layer].bic - best.bic) for layer in LAYERS if layer in others)
    return Search(best, tuple(choices))


def _exchanged(best: Fitted, shorter: Mapping[str, Fitted], possible: Sequence[str]) -> Iterator[Fitted]:
    """Fits with one layer sought anew, or another in its place, where these come near."""
    for gone, less in shorter.items():
        enough = best.log_likelihood - max(NEARLY, 0.2 * (best.log_likelihood - less.log_likelihood))
        for layer in possible:
            if layer not in less.layered.layers:
                # a layer sought anew finds the others as they are, not as they would be without it
                base = _stripped(best, gone) if layer == gone else less
                likeliest = max(_tries(base, layer, n_steps=12), key=lambda found: found.log_likelihood)
                if likeliest.log_likelihood > enough:
                    yield maximise(likeliest.layered, likeliest.theta, likeliest.hits)


def _promise(fitted: Fitted, layer: str) -> float:
    """About how much likelier the recording is with one more layer, from some of its workers."""
    every = -(-fitted.layered.durations_s.shape[1] // N_WORKERS)
    some = dataclasses.replace(fitted.layered, durations_s=fitted.layered.durations_s[:, ::every])
    before = some.evaluate(fitted.theta, fitted.hits).log_likelihood
    part = Fitted(some, fitted.theta, fitted.hits, before)
    return max(tried.log_likelihood for tried in _tries(part, layer, n_steps=10)) - before


def with_law(fitted: Fitted, law: BaseLaw) -> Fitted:
    """The best fit of the same layers on another base law."""
    old = fitted.layered
    x = np.sort(old.durations_s[np.isfinite(old.durations_s)])
    theta = np.concatenate([law.start(x), fitted.theta[old.law.n_theta :]])
    return maximise(Layered(old.durations_s, law, old.layers), theta, fitted.hits)


def _bic(fitted: Fitted) -> float:
    return fitted.bic


def _possible(durations_s: FloatArray) -> list[str]:
    """The layers that a recording of this shape can tell from others."""
    n_rounds, n_workers = durations_s.shape
    needs_rounds, needs_workers = {"slow_workers", "bursts"}, {"slow_workers", "shocks"}
    return [
        layer
        for layer in LAYERS
        if not (layer in needs_rounds and n_rounds < 3) and not (layer in needs_workers and n_workers < 3)
    ]


def _with(fitted: Fitted, layer: str) -> Fitted:
    """The best fit with one more layer, from the best of several starts."""
    likeliest = max(_tries(fitted, layer, n_steps=6), key=lambda found: found.log_likelihood)
    return maximise(likeliest.layered, likeliest.theta, likeliest.hits)


def _tries(fitted: Fitted, layer: str, n_steps: int) -> list[Fitted]:
    """The first steps to a fit with one more layer."""
    old = fitted.layered
    new = Layered(old.durations_s, old.law, tuple(name for name in LAYERS if name in (*old.layers, layer)))
    place = new.places[layer, LAYERS[layer][0]]
    return [
        maximise(new, np.insert(fitted.theta, place, _unconstrained(start)), hits, n_steps=n_steps)
        for start, hits in _starts(fitted, layer)
    ]


def _without(fitted: Fitted, layer: str) -> Fitted:
    """The best fit without one of the layers."""
    rest = _stripped(fitted, layer)
    return maximise(rest.layered, rest.theta, rest.hits)


def _stripped(fitted: Fitted, layer: str) -> Fitted:
    """A fit less one of its layers, all else being as it is."""
    old = fitted.layered
    new = Layered(old.durations_s, old.law, tuple(name for name in old.layers if name != layer))
    theta = np.delete(fitted.theta, [old.places[layer, name] for name in LAYERS[layer]])
    return Fitted(new, theta, fitted.hits, new.evaluate(theta, fitted.hits).log_likelihood)


def _starts(fitted: Fitted, layer: str) -> Iterator[tuple[tuple[float, ...], FloatArray]]:
    """Where to look for a layer: its parameters, and which rounds are hit."""
    log_y = np.log(fitted.layered.durations_s)
    is_seen = np.isfinite(log_y)
    excess = np.where(is_seen, log_y - np.median(log_y[is_seen]), 0.0)
    upper = [max(1.15, float(np.exp(np.quantile(excess, q)))) for q in (0.9, 0.98, 0.995, 0.999)]
    if layer == "slow_workers":
        of_worker = np.sort(np.median(excess, axis=0))
        n_workers = len(of_worker)
        gaps = np.diff(of_worker)[n_workers // 2 - 1 :]
        first_slow = n_workers // 2 + int(np.argmax(gaps))
        slowdown = float(np.exp(of_worker[first_slow:].mean() - of_worker[:first_slow].mean()))
        yield ((n_workers - first_slow) / (n_workers + 1), max(slowdown, 1.1)), fitted.hits
        slowest = of_worker[-max(1, n_workers // 7) :].mean() - np.median(of_worker)
        yield (0.15, max(float(np.exp(slowest)), 1.12)), fitted.hits
    elif layer == "bursts":
        for slowdown, p_slow in ((upper[0], 0.05), (upper[1], 0.02)):
            yield (p_slow, 0.4, slowdown), fitted.hits
    elif layer == "shocks":
        slow = excess > np.quantile(excess, 0.9)
        share = slow.mean(axis=1)
        middle = float(np.median(share))
        # above the widest gap between rounds, or more than chance gives a usual round
        ranked = np.sort(share)
        widest = ranked[len(ranked) // 2 + 1 + int(np.argmax(np.diff(ranked)[len(ranked) // 2 :]))]
        many = middle + 4 * math.sqrt(max(middle, 0.01) / slow.shape[1])
        for limit in (widest, min(many, ranked[-1])):
            is_hit = share >= limit
            slowest = float(np.exp(np.median(excess[is_hit][slow[is_hit]]))) if slow[is_hit].any() else upper[1]
            chances = (float(np.clip(is_hit.mean(), 0.02, 0.9)), float(np.clip(share[is_hit].mean(), 0.05, 0.95)))
            for slowdown in (max(slowest, 1.15), upper[0]):
                yield (*chances, slowdown), np.where(is_hit, 0.95, 0.02)
    else:
        for slowdown, p in ((upper[3], 0.002), (upper[2], 0.005), (upper[1], 0.02)):
            yield (p, slowdown), fitted.hits
