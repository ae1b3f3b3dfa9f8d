"""The likelihood of a recording under layers of straggler models, with its gradient.

A recorded duration is y = x * product of slowdowns, with x from a base law and a slowdown for each layer that is
on: slow workers (the same in all rounds), bursts (a Markov chain for each worker), shocks (rounds in which many are
slow) and outliers (without memory). docs/fitting.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.fitting.base_distributions import SOFT, BaseLaw
from straggler_models import Bernoulli, CommonShock, GilbertElliott, PartialSlowdown, StragglerModel
from straggler_models.base import BoolArray, FloatArray

LAYERS: dict[str, tuple[str, ...]] = {  # the order of the axes of all arrays of states, and of theta
    "slow_workers": ("share", "slowdown"),
    "bursts": ("p_slow", "p_recover", "slowdown"),
    "shocks": ("p", "share", "slowdown"),
    "outliers": ("p", "slowdown"),
}
_CHANCE, _MINORITY, _RARE = (-11.5, 11.5), (-11.5, 0.0), (-11.5, -2.2)  # logits
_BOUNDS: dict[tuple[str, str], tuple[float, float]] = {
    ("slow_workers", "share"): _MINORITY,
    ("bursts", "p_slow"): _MINORITY,
    ("shocks", "p"): _CHANCE,
    ("shocks", "share"): _CHANCE,
    ("outliers", "p"): _RARE,
    **{(layer, "slowdown"): (-2.3, 6.9) for layer in LAYERS},  # log(slowdown - 1)
}
FAR = (
    100.0  # in logarithms: states that are less likely by that are as good as impossible; products stay normal numbers
)


class Value(NamedTuple):
    """What one evaluation gives."""

    log_likelihood: float  # with shocks, a lower bound of it
    gradient: FloatArray  # by theta
    hit_evidence: FloatArray  # log odds that the durations give to each round's being hit, shape (n_rounds,)
    slow_workers: FloatArray  # probability that a worker is a slow one, shape (n_workers,)


@dataclass(frozen=True)
class Layered:
    """A base law under some layers, as a likelihood of one recording.

    Parameters
    ----------
    durations_s
        Shape ``(n_rounds, n_workers)``; inf counts as not observed.
    law
        Of durations that nothing slows.
    layers
        Names, in the order of ``LAYERS``.
    """

    durations_s: FloatArray
    law: BaseLaw
    layers: tuple[str, ...]

    @property
    def n_theta(self) -> int:
        """How many unconstrained parameters there are: the law's, then logits and log(slowdown - 1) of each layer."""
        return self.law.n_theta + sum(len(LAYERS[layer]) for layer in self.layers)

    @property
    def n_parameters(self) -> int:
        """What an information criterion counts."""
        return self.law.n_parameters + sum(len(LAYERS[layer]) for layer in self.layers)

    @property
    def places(self) -> dict[tuple[str, str], int]:
        """Where in theta each layer's parameters are."""
        pairs = [(layer, name) for layer in self.layers for name in LAYERS[layer]]
        return {pair: self.law.n_theta + place for place, pair in enumerate(pairs)}

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Of theta: slow is at least a tenth slower, and slow workers are few; bursts end within the recording."""
        bounds = _BOUNDS | {("bursts", "p_recover"): (-math.log(max(1.0, len(self.durations_s) / 2 - 1)), 11.5)}
        return [*self.law.bounds, *(bounds[pair] for pair in self.places)]

    def natural(self, theta: FloatArray) -> FloatArray:
        """Parameters as a user reads them: the law's, then the layers'."""
        of_layers = [
            1 + np.exp(theta[place]) if name == "slowdown" else 1 / (1 + np.exp(-theta[place]))
            for (_, name), place in self.places.items()
        ]
        return np.array([*self.law.natural(theta[: self.law.n_theta]), *of_layers])

    def of_layer(self, theta: FloatArray, layer: str) -> list[float]:
        """A layer's parameters as a user reads them."""
        names, natural = LAYERS[layer], self.natural(theta)
        first = self.places[layer, names[0]] + len(natural) - len(theta)
        return [float(value) for value in natural[first : first + len(names)]]

    def usual_share(self, theta: FloatArray) -> float:
        """Share of the durations that nothing slows."""
        share = 1.0
        for layer in self.layers:
            *chances, _ = self.of_layer(theta, layer)
            if layer == "bursts":
                share *= chances[1] / (chances[0] + chances[1])
            else:
                share *= 1 - float(np.prod(chances))
        return share

    def models(self, theta: FloatArray) -> dict[str, StragglerModel]:
        """The straggler models that have this law, by label."""
        models = self.law.models(theta[: self.law.n_theta])
        for layer in self.layers:
            models[layer] = _model(layer, self.of_layer(theta, layer))
        return models

    def evaluate(self, theta: FloatArray, hits: FloatArray) -> Value:
        """The log-likelihood, or a lower bound of it.

        Parameters
        ----------
        theta
            Unconstrained parameters, shape ``(n_theta,)``.
        hits
            Probability that each round is hit by a shock, shape ``(n_rounds,)``: the variational part of the bound.
            Not used without the layer of shocks.
        """
        states = self._states(theta)
        slow, shares = states.weights, states.shape
        densities = _Densities(self, theta, states)
        n_rounds, n_workers = self.durations_s.shape

        # outliers, then shocks: summed out cell by cell
        by_outlier = densities.log + np.log(slow["outliers"])[:, np.newaxis, np.newaxis]
        without, of_outlier = _mixed(by_outlier)  # shapes (U, Z, S, T, n) and with an axis O
        calm = without[:, :, 0]
        emitted, of_shock = calm, np.ones_like(without)
        gain = np.zeros_like(calm)
        if shares[2] == 2:
            hit, of_hit = _mixed(without + np.log(slow["shocks"])[:, np.newaxis, np.newaxis], axis=2)
            gain = hit - calm
            emitted = calm + hits[:, np.newaxis] * gain
            of_shock = hits[:, np.newaxis] * of_hit
            of_shock[:, :, 0] += 1 - hits[:, np.newaxis]

        # bursts along each worker's rounds, then slow workers
        chain = _smooth(emitted, *(self.of_layer(theta, "bursts")[:2] if shares[1] == 2 else (0.0, 1.0)))
        of_worker = chain.log_likelihood + np.log(slow["slow_workers"])[:, np.newaxis]
        most = of_worker.max(axis=0)
        log_likelihood = most + np.log(np.exp(of_worker - most).sum(axis=0))
        kinds = np.exp(np.maximum(of_worker - log_likelihood, -FAR))  # (U, n)
        visits = chain.visits * kinds[:, np.newaxis, np.newaxis]  # (U, Z, T, n)
        weights = visits[:, :, np.newaxis, np.newaxis] * of_shock[:, :, :, np.newaxis] * of_outlier

        value = float(log_likelihood.sum())
        gradient = np.zeros(self.n_theta)
        if not densities.observed.all():
            weights *= densities.observed
        for place, slope in enumerate(densities.by_theta):
            gradient[place] = np.vdot(weights, slope)
        moved = np.einsum("uzsotn,uzsotn->uzso", weights, densities.by_log_x)
        moved += np.einsum("uzsotn->uzso", weights)  # slowing by 1 % shrinks x, and its density, by 1 %
        for axis, layer in enumerate(LAYERS):
            if layer in self.layers:
                place = self.places[layer, "slowdown"]
                excess = np.exp(theta[place])
                gradient[place] = -moved.take(1, axis=axis).sum() * excess / (1 + excess)
        if "slow_workers" in self.layers:
            share = slow["slow_workers"][1]
            gradient[self.places["slow_workers", "share"]] = kinds[1].sum() - share * n_workers
        if "bursts" in self.layers:
            first = self.places["bursts", "p_slow"]
            gradient[first : first + 2] = chain.by_logits(kinds)
        evidence = np.zeros(n_rounds)
        if "shocks" in self.layers:
            evidence = (visits * gain).sum(axis=(0, 1, 3))
            p = self.of_layer(theta, "shocks")[0]
            value += float(np.sum(hits * np.log(p) + (1 - hits) * np.log(1 - p)) + _entropy(hits).sum())
            gradient[self.places["shocks", "p"]] = hits.sum() - p * n_rounds
            slowed = weights[:, :, 1].sum()
            in_hits = (hits[:, np.newaxis] * densities.observed).sum()
            gradient[self.places["shocks", "share"]] = slowed - slow["shocks"][1] * in_hits
            evidence += np.log(p) - np.log(1 - p)
        if "outliers" in self.layers:
            p = slow["outliers"][1]
            gradient[self.places["outliers", "p"]] = weights[:, :, :, 1].sum() - p * densities.observed.sum()
        return Value(value, gradient, evidence, kinds[-1] if shares[0] == 2 else np.zeros(n_workers))

    def _states(self, theta: FloatArray) -> _States:
        """What the layers that are there can do to a duration."""
        log_slowdown: FloatArray = np.zeros((1, 1, 1, 1))
        weights: dict[str, FloatArray] = {}
        for axis, layer in enumerate(LAYERS):
            weights[layer] = np.ones(1)
            if layer in self.layers:
                *chances, slowdown = self.of_layer(theta, layer)
                weights[layer] = np.array([1 - chances[-1], chances[-1]])
                shape = [1, 1, 1, 1]
                shape[axis] = 2
                log_slowdown = log_slowdown + np.array([0.0, np.log(slowdown)]).reshape(shape)
        return _States(log_slowdown, weights)


class _States(NamedTuple):
    log_slowdown: FloatArray  # shape (U, Z, S, O): 2 for a layer that is there, else 1
    weights: dict[str, FloatArray]  # chance of fast and of slow; of bursts, not used

    @property
    def shape(self) -> tuple[int, ...]:
        return self.log_slowdown.shape


class _Densities:
    """Log densities of all durations in all states, shape ``(U, Z, S, O, n_rounds, n_workers)``, and derivatives."""

    def __init__(self, layered: Layered, theta: FloatArray, states: _States) -> None:
        self.observed: BoolArray = np.isfinite(layered.durations_s)
        log_y = np.log(np.where(self.observed, layered.durations_s, 1.0))
        log_slowdown = states.log_slowdown[..., np.newaxis, np.newaxis]
        density = layered.law.density(log_y - log_slowdown, theta[: layered.law.n_theta])
        self.log = density.log - log_slowdown
        if layered.law.has_edge and layered.law.is_soft:
            self.log -= np.log1p(SOFT) * (log_slowdown > 0)  # what is before the edge counts too
        if not self.observed.all():
            self.log *= self.observed
        self.by_log_x = density.by_log_x
        self.by_theta = density.by_theta


def _mixed(logs: FloatArray, axis: int = 3) -> tuple[FloatArray, FloatArray]:
    """The logarithm of a sum of one or two exponentials along an axis, and the share of each."""
    if logs.shape[axis] == 1:
        return logs.squeeze(axis), np.ones_like(logs)
    first, second = logs.take(0, axis=axis), logs.take(1, axis=axis)
    gap = second - first
    odds = np.exp(-np.minimum(np.abs(gap), FAR))
    likelier = 1 / (1 + odds)
    less_likely = odds * likelier
    is_second = gap > 0
    shares = np.empty_like(logs)
    np.moveaxis(shares, axis, 0)[0] = np.where(is_second, less_likely, likelier)
    np.moveaxis(shares, axis, 0)[1] = np.where(is_second, likelier, less_likely)
    log_sum: FloatArray = np.asarray(np.maximum(first, second) - np.log(likelier), dtype=np.float64)
    return log_sum, shares


def _entropy(hits: FloatArray) -> FloatArray:
    inside = np.clip(hits, 1e-300, 1.0)
    outside = np.clip(1 - hits, 1e-300, 1.0)
    return -(hits * np.log(inside) + (1 - hits) * np.log(outside))


class _Chain(NamedTuple):
    """What is known of all workers' Markov chains from all of their durations."""

    log_likelihood: FloatArray  # (U, n)
    visits: FloatArray  # probability of each state, (U, Z, T, n)
    p_slow: float
    p_recover: float
    moves: FloatArray  # expected numbers of moves fast-fast, fast-slow, slow-fast, slow-slow, (4, U, n)

    def by_logits(self, kinds: FloatArray) -> list[float]:
        """The gradient of the log-likelihood by the logits of p_slow and p_recover."""
        a, b = self.p_slow, self.p_recover
        stay, slow, recover, remain = (self.moves * kinds).sum(axis=(1, 2)).tolist()
        first_slow = float((self.visits[:, 1, 0] * kinds).sum())
        n_first = float(kinds.sum())
        # the first round follows the stationary law: slow with probability a/(a + b)
        by_a = first_slow / a - n_first / (a + b)
        by_b = (n_first - first_slow) / b - n_first / (a + b)
        return [
            slow * (1 - a) - stay * a + by_a * a * (1 - a),
            recover * (1 - b) - remain * b + by_b * b * (1 - b),
        ]


def _smooth(emitted: FloatArray, p_slow: float, p_recover: float) -> _Chain:
    """Forward filter and backward smoother of two states, for all workers at once.

    ``emitted`` are log densities, shape ``(U, Z, n_rounds, n_workers)``; with Z = 1 there is no chain.
    """
    if emitted.shape[1] == 1:
        n_kinds, _, _, n_workers = emitted.shape
        return _Chain(emitted.sum(axis=(1, 2)), np.ones_like(emitted), 0.0, 1.0, np.zeros((4, n_kinds, n_workers)))
    most = emitted.max(axis=1)  # (U, T, n)
    rounds = np.moveaxis(np.exp(np.maximum(emitted - most[:, np.newaxis], -FAR)), 2, 0)  # (T, U, Z, n)
    fast, slow = np.ascontiguousarray(rounds[:, :, 0]), np.ascontiguousarray(rounds[:, :, 1])
    keeps = 1 - p_slow - p_recover
    predicted, filtered, norms = np.empty_like(fast), np.empty_like(fast), np.empty_like(fast)
    now = np.full(fast.shape[1:], p_slow / (p_slow + p_recover))
    for t in range(len(fast)):
        predicted[t] = now
        joint = now * slow[t]
        norms[t] = joint + (1 - now) * fast[t]
        filtered[t] = joint / norms[t]
        now = p_slow + keeps * filtered[t]
    smoothed = np.empty_like(fast)
    smoothed[-1] = filtered[-1]
    stays = filtered[:-1] * (1 - p_recover) / predicted[1:]
    leaves = filtered[:-1] * p_recover / (1 - predicted[1:])
    for t in range(len(fast) - 2, -1, -1):
        smoothed[t] = leaves[t] + (stays[t] - leaves[t]) * smoothed[t + 1]
    later = smoothed[1:]
    remain, recover = (stays * later).sum(axis=0), (leaves * (1 - later)).sum(axis=0)
    slows = later.sum(axis=0) - remain
    moves = np.stack([len(later) - remain - recover - slows, slows, recover, remain])
    visits = np.moveaxis(np.stack([1 - smoothed, smoothed], axis=2), 0, 2)  # (U, Z, T, n)
    return _Chain(np.log(norms).sum(axis=0) + most.sum(axis=1), visits, p_slow, p_recover, moves)


def _model(layer: str, values: Sequence[float]) -> StragglerModel:
    """A layer as the straggler model that it is."""
    if layer == "slow_workers":
        share, slowdown = values
        return PartialSlowdown(share=share, slowdown_min=slowdown, slowdown_max=slowdown, drawn="per_run")
    if layer == "bursts":
        return GilbertElliott(p_slow=values[0], p_recover=values[1], slowdown=values[2])
    if layer == "shocks":
        return CommonShock(p=values[0], share=values[1], slowdown=values[2])
    return Bernoulli(p=values[0], slowdown=values[1])
