"""The likelihood of a trace under layers of straggler models, with its gradient.

A measured duration is y = x * product of slowdowns, with x from a base distribution and a slowdown for each layer that
is on. Formulas, documentation: Explanation, Fitting a trace.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.fitting.base_distributions import SOFT, BaseDistribution, Density
from simulator.fitting.layers import Layer, Posterior, Summed
from simulator.parameters import BoolArray, FloatArray
from straggler_models import StragglerModel


class Value(NamedTuple):
    """Outcome of one evaluation."""

    log_likelihood: float  # if rounds can be hit, a lower bound of it
    gradient: FloatArray  # by theta
    hit_evidence: FloatArray  # log odds that the durations give to each round's, then each worker's, being hit
    slow_workers: FloatArray  # probability that a worker is a slow one, shape (n_workers,)


@dataclass(frozen=True)
class Layered:
    """A base distribution under some layers, as a likelihood of one trace.

    Parameters
    ----------
    durations_s
        Shape ``(n_rounds, n_workers)``; inf counts as not observed.
    base
        Of durations that nothing slows.
    layers
        Some of ``LAYERS``, in that order: also that of the axes of all arrays of states.
    censored
        Where a worker was cancelled at its duration: what is known is that it would have been longer.
    """

    durations_s: FloatArray
    base: BaseDistribution
    layers: tuple[Layer, ...]
    censored: BoolArray | None = None

    @property
    def has_hits(self) -> bool:
        """True if a layer asks which rounds or workers are hit."""
        return any(layer.hits_rounds or layer.hits_workers for layer in self.layers)

    @property
    def places(self) -> dict[tuple[Layer, str], int]:
        """Places of each layer's parameters in theta: after the base's; logits, and log(slowdown - 1)."""
        pairs = [(layer, name) for layer in self.layers for name in layer.names]
        return {pair: self.base.n_theta + place for place, pair in enumerate(pairs)}

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Of theta.

        Where the slow workers were cancelled, nothing keeps a slowdown from growing for ever: then it is as large as
        times differ, which is a lower bound like the times themselves.
        """
        bounds = sum((layer.bounds(len(self.durations_s)) for layer in self.layers), self.base.bounds)
        if self.censored is not None:
            seen = self.durations_s[np.isfinite(self.durations_s)]
            most = math.log(max(float(seen.max()) / self.base.least - 1, 0.11))
            for (_, name), place in self.places.items():
                if name == "slowdown":
                    bounds[place] = bounds[place][0], min(bounds[place][1], most)
        return bounds

    def natural(self, theta: FloatArray) -> FloatArray:
        """Parameters as a user reads them: the base's, then the layers'."""
        of_layers = [
            1 + np.exp(theta[place]) if name == "slowdown" else 1 / (1 + np.exp(-theta[place]))
            for (_, name), place in self.places.items()
        ]
        return np.array([*self.base.natural(theta[: self.base.n_theta]), *of_layers])

    def of_layer(self, theta: FloatArray, layer: Layer) -> list[float]:
        """A layer's parameters as a user reads them."""
        natural = self.natural(theta)
        first = self.places[layer, layer.names[0]] + len(natural) - len(theta)
        return [float(value) for value in natural[first : first + len(layer.names)]]

    def usual_share(self, theta: FloatArray) -> float:
        """Share of the durations that nothing slows."""
        return math.prod(layer.shares(self.of_layer(theta, layer)[:-1])[0] for layer in self.layers)

    def models(self, theta: FloatArray) -> dict[str, StragglerModel]:
        """The straggler models that have this distribution, by label."""
        of_layers = {layer.label: layer.model(self.of_layer(theta, layer)) for layer in self.layers}
        return self.base.models(theta[: self.base.n_theta]) | of_layers

    def evaluate(self, theta: FloatArray, hits: FloatArray) -> Value:
        """The log-likelihood, or a lower bound of it.

        Parameters
        ----------
        theta
            Unconstrained parameters, shape ``(n_theta,)``.
        hits
            Probability that each round is hit, and then each worker, shape ``(n_rounds + n_workers,)``: the
            variational part of the bound. Not used without a layer that hits these.
        """
        parameters = [self.of_layer(theta, layer) for layer in self.layers]
        density, logs = self._density(theta, [slowdown for *_, slowdown in parameters])
        summed, logs = self._summed_out(logs, parameters, hits)
        log_likelihood = float(logs.sum(axis=0).sum()) + sum(one.bonus for one in summed)
        known, weights = self._posteriors(summed, hits)
        evidence, slow_workers = np.zeros(len(hits)), np.zeros(weights.shape[-1])
        by_logits = []
        for layer, (*chances, _), of_layer in zip(self.layers, parameters, known, strict=True):
            by_logits.append(layer.by_logits(chances, of_layer))
            evidence += layer.hit_evidence(chances, of_layer)
            if layer.slows_workers:
                slow_workers = of_layer.inner[..., 1, 0, :]
        gradient = self._gradient(theta, density, weights, by_logits)
        return Value(log_likelihood, gradient, evidence, slow_workers)

    def slowdowns(self, theta: FloatArray, hits: FloatArray) -> FloatArray:
        """The mean of what all layers together multiply each duration by, given the durations; 0: not observed."""
        parameters = [self.of_layer(theta, layer) for layer in self.layers]
        _, logs = self._density(theta, [slowdown for *_, slowdown in parameters])
        _, weights = self._posteriors(self._summed_out(logs, parameters, hits)[0], hits)
        for *_, slowdown in parameters:  # of the first axis, then of the next
            weights = weights[0] + slowdown * weights[1]
        return weights.reshape(self.durations_s.shape)

    def _summed_out(
        self, logs: FloatArray, parameters: Sequence[Sequence[float]], hits: FloatArray
    ) -> tuple[list[Summed], FloatArray]:
        """Sum all layers out of log densities, from the last to the first."""
        summed: list[Summed] = []
        for layer, (*chances, _) in zip(reversed(self.layers), reversed(parameters), strict=True):
            summed.insert(0, layer.sum_out(logs, chances, hits))
            logs = summed[0].logs
        return summed, logs

    def _density(self, theta: FloatArray, slowdowns: Sequence[float]) -> tuple[Density, FloatArray]:
        """The density of x in all states, an axis for each layer and then rounds and workers; log densities of y."""
        observed = np.isfinite(self.durations_s)
        log_slowdown: FloatArray = np.zeros((1, 1))
        for slowdown in slowdowns:
            log_slowdown = log_slowdown[..., np.newaxis, :, :] + np.array([0.0, np.log(slowdown)])[:, None, None]
        log_y = np.log(np.where(observed, self.durations_s, 1.0))
        density = self.base.density(log_y - log_slowdown, theta[: self.base.n_theta])
        if self.censored is None:
            logs = density.log - log_slowdown
        else:
            longer = self.base.survival(log_y - log_slowdown, theta[: self.base.n_theta])
            logs = np.where(self.censored, longer.log, density.log - log_slowdown)
            by_theta = zip(longer.by_theta, density.by_theta, strict=True)
            density = Density(
                logs,
                np.where(self.censored, longer.by_log_x, density.by_log_x),
                [np.where(self.censored, by_longer, by) for by_longer, by in by_theta],
            )
        if self.base.has_edge and self.base.is_soft:
            logs -= np.log1p(SOFT) * (log_slowdown > 0)  # what is before the edge counts too
        return density, logs if observed.all() else logs * observed

    def _posteriors(self, summed: Sequence[Summed], hits: FloatArray) -> tuple[list[Posterior], FloatArray]:
        """The posterior of each layer, and the probabilities of all states together, 0 where nothing was observed."""
        observed = np.isfinite(self.durations_s)
        weights = [np.ones((1, observed.shape[1]))]
        for one in summed:
            weights.append(np.expand_dims(weights[-1], -3) * one.shares)
        joint = np.ascontiguousarray(weights[-1] * observed)
        slow = (np.moveaxis(joint, axis, 0)[1] for axis in range(len(summed)))
        known = zip(summed, weights[:-1], weights[1:], slow, strict=True)
        return [Posterior(*of_layer, observed, hits) for of_layer in known], joint

    def _gradient(
        self, theta: FloatArray, density: Density, weights: FloatArray, by_logits: Sequence[Sequence[float]]
    ) -> FloatArray:
        """By theta (Fisher's identity): mean slopes over all states, given the durations."""
        moved = np.einsum("...tn,...tn->...", weights, density.by_log_x)
        seen = weights if self.censored is None else weights * ~self.censored
        moved = moved + np.einsum("...tn->...", seen)  # slowing by 1 % shrinks x, and its density, by 1 %
        gradient = [float(np.vdot(weights, slope)) for slope in density.by_theta]
        for axis, (layer, by_chances) in enumerate(zip(self.layers, by_logits, strict=True)):
            excess = np.exp(theta[self.places[layer, "slowdown"]])
            gradient += [*by_chances, -moved.take(1, axis=axis).sum() * excess / (1 + excess)]
        return np.array(gradient)
