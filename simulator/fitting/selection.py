"""The base distribution and the layers that a trace asks for: maximum likelihood, stepwise by BIC."""

import dataclasses
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.fitting.base_distributions import BASE_DISTRIBUTIONS, BaseDistribution
from simulator.fitting.layers import LAYERS, Layer
from simulator.fitting.likelihood import Layered
from simulator.parameters import BoolArray, FloatArray, IntArray

N_POOLED = 2000  # durations on which all base distributions are tried, regardless of round and worker
N_BASES = 2  # that are tried in full, the best of them
N_WORKERS = 48  # on which layers are tried before all are asked
N_SOUGHT = 8000  # durations of a trace in which layers are sought at length; of a longer one, some workers ...
LEAST_WORKERS = 16  # ... but so many
NEARLY = 30.0  # of a log-likelihood: what the last steps of a search may still gain
MOST_TURNS = 8  # of dropping or exchanging a layer
LITTLE = 0.05  # of a log-likelihood: smaller gains end a search
UNLIKELY = 1e-9  # nothing is ever quite sure to be hit, or not: else it could not change
_bic, _likelihood = operator.attrgetter("bic"), operator.attrgetter("log_likelihood")


@dataclass(frozen=True)
class Fitted:
    """A model with its most likely parameters."""

    layered: Layered
    theta: FloatArray  # shape (n_theta,)
    hits: FloatArray  # probability that each round is hit, then each worker, shape (n_rounds + n_workers,)
    log_likelihood: float

    @property
    def bic(self) -> float:
        """Schwarz's information criterion: the smaller, the better."""
        n_parameters = len(self.layered.base.names) + len(self.layered.places)
        n_observed = int(np.isfinite(self.layered.durations_s).sum())
        return n_parameters * math.log(n_observed) - 2 * self.log_likelihood

    @property
    def words(self) -> str:
        """Base distribution and layers, for users."""
        return ", ".join([self.layered.base.kind, *(layer.label for layer in self.layered.layers)])


class LayerChoice(NamedTuple):
    """Verdict of the information criterion on a layer."""

    layer: str  # its label
    is_kept: bool
    delta_bic: float  # how much larger BIC is if the choice is turned round


class Selection(NamedTuple):
    """Outcome with one base distribution."""

    best: Fitted
    choices: tuple[LayerChoice, ...]  # in the order of LAYERS


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
    scale = 1 / np.sqrt(_rough_information(layered, theta))  # one step of a search is as long in all directions

    def falling(at: FloatArray) -> tuple[float, FloatArray]:
        value = layered.evaluate(at * scale, hits)
        return -value.log_likelihood, -value.gradient * scale

    reached = -math.inf
    for _ in range(1 if n_steps else 12):
        if layered.has_hits:
            hits = updated(layered, theta, hits)
        n_most = n_steps or (20 if layered.has_hits else 100)
        options = {"maxiter": n_most, "ftol": 1e-9 if is_final else 5e-6, "gtol": 1e-3}
        found = minimize(  # type: ignore[call-overload]  # its types know fewer forms of bounds than it does
            falling, theta / scale, jac=True, method="L-BFGS-B", bounds=bounds / scale[:, np.newaxis], options=options
        )
        theta, gained, reached = found.x * scale, -found.fun - reached, -found.fun
        if gained < (LITTLE if is_final else 20 * LITTLE):
            break
    return Fitted(layered, theta, hits, float(reached))


def _at_top(start: Fitted) -> Fitted:
    """The best fit that can be climbed to from another."""
    return maximise(start.layered, start.theta, start.hits)


def _rough_information(layered: Layered, theta: FloatArray) -> FloatArray:
    """About how much the trace says of each entry of theta, as if all states were seen."""
    n_rounds, n_workers = layered.durations_s.shape
    log_y = np.log(layered.durations_s[np.isfinite(layered.durations_s)])
    middle = log_y[np.abs(log_y - np.median(log_y)) <= np.quantile(np.abs(log_y - np.median(log_y)), 0.8)]
    density = layered.base.density(middle, theta[: layered.base.n_theta])
    information = [len(log_y) * float(np.mean(slope**2)) for slope in density.by_theta]
    of_scale = float(np.mean((1 + density.by_log_x) ** 2))
    for layer in layered.layers:
        *chances, slowdown = layered.of_layer(theta, layer)
        units = layer.units(chances, len(log_y), n_rounds, n_workers)
        information += [n * (p * (1 - p)) for n, p in zip(units, chances, strict=True)]
        information.append(len(log_y) * layer.shares(chances)[1] * of_scale * (1 - 1 / slowdown) ** 2)
    return np.maximum(information, 1.0)


def updated(layered: Layered, theta: FloatArray, hits: FloatArray) -> FloatArray:
    """The probabilities of being hit that make the bound largest."""
    for _ in range(6):
        evidence = np.clip(layered.evaluate(theta, hits).hit_evidence, -500, 500)
        new = np.clip(1 / (1 + np.exp(-evidence)), UNLIKELY, 1 - UNLIKELY)
        change, hits = float(np.abs(new - hits).max()), new
        if change < 1e-3:
            break
    return hits


def promising(durations_s: FloatArray, known_s: float, censored: BoolArray | None = None) -> list[BaseDistribution]:
    """The base distributions that are best at the durations as such, as mixtures of slowed and usual ones.

    What order durations come in does not matter here, so that a few thousand quantiles stand for all.
    """
    x = np.sort(durations_s[np.isfinite(durations_s)])
    least, cut = float(x[0]), None
    pooled = np.quantile(x, (np.arange(min(N_POOLED, len(x))) + 0.5) / min(N_POOLED, len(x)))[np.newaxis]
    if censored is not None:  # each time stands for its neighbours, which are censored or not as it is
        observed = np.isfinite(durations_s)
        order = np.lexsort((censored[observed], durations_s[observed]))
        some = order[np.linspace(0, len(x) - 1, min(N_POOLED, len(x))).astype(np.int64)]
        pooled, cut = durations_s[observed][some][np.newaxis], censored[observed][some][np.newaxis]
        least = float(durations_s[observed & ~censored].min())
    layers = tuple(layer for layer in LAYERS if layer.pooled)  # each duration is a worker of its own
    starts = [sum(values, ()) for values in zip(*(layer.pooled for layer in layers), strict=True)]
    fits = []
    for base in (kind(least, known_s) for kind in BASE_DISTRIBUTIONS.values() if kind.has_shift or not known_s):
        mixture, usual = Layered(pooled, base, layers, cut), base.start(x)
        tries = [maximise(mixture, np.array([*usual, *_unconstrained(start)]), np.zeros(1)) for start in starts]
        fits.append(max(tries, key=_likelihood))
    return [fitted.layered.base for fitted in sorted(fits, key=_bic)[:N_BASES]]


def _unconstrained(natural: Sequence[float]) -> FloatArray:
    """Theta of chances below 1 and slowdowns above it."""
    return np.array([math.log(v - 1) if v > 1 else math.log(v / (1 - v)) for v in natural])


def select(
    durations_s: FloatArray,
    base: BaseDistribution,
    start: Fitted | None = None,
    censored: BoolArray | None = None,
    progress: Callable[[str], None] = lambda trying: None,
) -> Selection:
    """Add the layer that BIC likes most, until it likes none; then drop those it does not like any more.

    Parameters
    ----------
    durations_s
        Shape ``(n_rounds, n_workers)``, seconds; inf counts as not observed.
    base
        Of durations that nothing slows.
    start
        A fit to begin with, rather than with no layers.
    censored
        Where workers were cancelled.
    progress
        Called with what is tried next.
    """
    x = np.sort(durations_s[np.isfinite(durations_s)])
    best = start or maximise(
        Layered(durations_s, base, (), censored), base.start(x), np.full(sum(durations_s.shape), 0.5)
    )
    every = min(-(-durations_s.size // N_SOUGHT), durations_s.shape[1] // LEAST_WORKERS)
    is_long = every > 1
    if is_long and start is None:
        best = _from_some_workers(best, every, progress)
    possible = [layer for layer in LAYERS if np.all(np.array(durations_s.shape) >= layer.least_shape)]
    for n_turns in range(MOST_TURNS + 1):
        longer: dict[Layer, Fitted] = {}
        absent = [layer for layer in possible if layer not in best.layered.layers]
        while absent:
            # the most promising first; once one is added, the others are looked at anew
            absent.sort(key=lambda layer: -_promise(best, layer))
            progress(f"{best.words} and {absent[0].label}")
            better = _at_top(_with(best, absent[0], n_steps=6))
            if better.bic < best.bic:
                best, longer = better, {}
                absent = [layer for layer in possible if layer not in best.layered.layers]
            else:
                longer[absent.pop(0)] = better
        shorter = {}
        for layer in best.layered.layers:
            progress(f"{best.words} without {layer.label}")
            shorter[layer] = _at_top(_without(best, layer))
        better = min(shorter.values(), key=_bic, default=best)
        if better.bic >= best.bic and not is_long:
            progress(f"{best.words} from other starts")
            better = min(_exchanged(best, shorter, possible), key=_bic, default=best)
        if better.bic >= best.bic - 1 or n_turns == MOST_TURNS:
            break
        best = better
    kept, rises = best.layered.layers, {layer: other.bic - best.bic for layer, other in (longer | shorter).items()}
    choices = (LayerChoice(layer.label, layer in kept, rises[layer]) for layer in LAYERS if layer in rises)
    return Selection(best, tuple(choices))


def _from_some_workers(start: Fitted, every: int, progress: Callable[[str], None]) -> Fitted:
    """A fit with the layers that some workers ask for: fast and slow ones in proportion, and the slowest."""
    old = start.layered
    which = np.argsort(-_excess(old.durations_s).mean(axis=0), kind="stable")[::every]
    few = _of_workers(start, which)
    found = select(few.layered.durations_s, old.base, few, few.layered.censored, progress).best
    n_rounds = len(old.durations_s)
    hits = np.concatenate([found.hits[:n_rounds], start.hits[n_rounds:]])
    return maximise(dataclasses.replace(old, layers=found.layered.layers), found.theta, hits)


def _exchanged(best: Fitted, shorter: Mapping[Layer, Fitted], possible: Sequence[Layer]) -> Iterator[Fitted]:
    """Fits with one layer sought anew, or another in its place, where these come near."""
    for gone, less in shorter.items():
        enough = best.log_likelihood - max(NEARLY, 0.2 * (best.log_likelihood - less.log_likelihood))
        for layer in possible:
            if layer not in less.layered.layers:
                # a layer sought anew finds the others as they are, not as they would be without it
                tried = _with(_without(best, gone) if layer is gone else less, layer, n_steps=12)
                if tried.log_likelihood > enough:
                    yield _at_top(tried)


def _promise(fitted: Fitted, layer: Layer) -> float:
    """About how much likelier the trace is with one more layer, from some of its workers."""
    n_workers = fitted.layered.durations_s.shape[1]
    some = _of_workers(fitted, np.arange(0, n_workers, -(-n_workers // N_WORKERS)))
    return _with(some, layer, n_steps=10).log_likelihood - some.log_likelihood


def _of_workers(fitted: Fitted, which: IntArray) -> Fitted:
    """A model as one of fewer workers."""
    old, n_rounds = fitted.layered, len(fitted.layered.durations_s)
    cut = old.censored
    hits = np.concatenate([fitted.hits[:n_rounds], fitted.hits[n_rounds:][which]])
    some = dataclasses.replace(
        old, durations_s=old.durations_s[:, which], censored=None if cut is None else cut[:, which]
    )
    return Fitted(some, fitted.theta, hits, some.evaluate(fitted.theta, hits).log_likelihood)


def with_base(fitted: Fitted, base: BaseDistribution) -> Fitted:
    """The best fit of the same layers on another base distribution."""
    old = fitted.layered
    x = np.sort(old.durations_s[np.isfinite(old.durations_s)])
    theta = np.concatenate([base.start(x), fitted.theta[old.base.n_theta :]])
    return maximise(dataclasses.replace(old, base=base), theta, fitted.hits)


def _with(fitted: Fitted, layer: Layer, n_steps: int) -> Fitted:
    """The likeliest of several fits with one more layer, so many steps from their starts."""
    old = fitted.layered
    new = dataclasses.replace(old, layers=tuple(one for one in LAYERS if one in (*old.layers, layer)))
    first = new.places[layer, layer.names[0]]
    tries = [
        maximise(new, np.insert(fitted.theta, first, _unconstrained(values)), hits, n_steps=n_steps)
        for values, hits in layer.starts(_excess(old.durations_s), fitted.hits)
    ]
    return max(tries, key=_likelihood)


def _excess(durations_s: FloatArray) -> FloatArray:
    """Log durations less their median; 0 where there is none."""
    log_y = np.log(durations_s)
    is_seen = np.isfinite(log_y)
    return np.where(is_seen, log_y - np.median(log_y[is_seen]), 0.0)


def _without(fitted: Fitted, layer: Layer) -> Fitted:
    """A fit less one of its layers, all else being as it is."""
    old = fitted.layered
    new = dataclasses.replace(old, layers=tuple(one for one in old.layers if one is not layer))
    theta = np.delete(fitted.theta, [old.places[layer, name] for name in layer.names])
    return Fitted(new, theta, fitted.hits, new.evaluate(theta, fitted.hits).log_likelihood)
