"""The layers of a fitted model, each a class: what may slow durations down.

A layer is fast or slow; slow, it multiplies a duration by its slowdown. The likelihood sums layers out from the last
of ``LAYERS`` to the first, each given the states of those before it. A
new layer is a class here and its place in ``LAYERS``. Formulas, documentation: Explanation, Fitting a trace.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray
from straggler_models import Bernoulli, CommonShock, GilbertElliott, PartialSlowdown, ProneWorkers, StragglerModel

Bounds = tuple[float, float]
Starts = Iterator[tuple[tuple[float, ...], FloatArray]]
CHANCE, MINORITY, RARE = (-11.5, 11.5), (-11.5, 0.0), (-11.5, -2.2)  # limits of logits
FAR = 100.0  # in logarithms: less likely states are as good as impossible; products stay normal numbers


class Summed(NamedTuple):
    """Log densities with a layer summed out of them, and what that needs; n_rounds is 1 once rounds are summed."""

    logs: FloatArray  # shape (states of the layers before it ..., n_rounds, n_workers)
    shares: FloatArray  # probabilities of fast and slow, given those: shape (..., 2, n_rounds, n_workers)
    rest: FloatArray = np.empty(0)  # what the layer itself needs for its gradient
    bonus: float = 0.0  # what it adds to the log-likelihood besides


class Posterior(NamedTuple):
    """Knowledge of a layer's states from all durations."""

    summed: Summed
    outer: FloatArray  # probability of the states of the layers before it, shape (..., n_rounds or 1, n_workers)
    inner: FloatArray  # the same with its own, shape (..., 2, n_rounds or 1, n_workers)
    slow: FloatArray  # with those of all layers where it is slow, shape (..., n_rounds, n_workers); 0: not observed
    observed: BoolArray  # shape (n_rounds, n_workers)
    hits: FloatArray  # shape (n_rounds + n_workers,)


class Layer(ABC):
    """One way in which durations become slow: unless it says otherwise, each by itself, with one chance.

    Its parameters are its chances and then ``slowdown``.
    """

    label: ClassVar[str]  # in scenarios and in what is printed
    names: ClassVar[tuple[str, ...]]  # of its parameters
    limits: ClassVar[tuple[Bounds, ...]]  # of the logits of its chances
    becomes: ClassVar[Callable[..., StragglerModel]]  # from parameters of the same names
    least_shape: ClassVar[tuple[int, int]] = (1, 1)  # rounds and workers: in less, it can't be told from other layers
    pooled: ClassVar[tuple[tuple[float, ...], ...]] = ()  # two starts where order does not matter; (): left out there
    slows_workers: ClassVar[bool] = False  # whether its state is a worker's, in all rounds: of one layer only
    hits_rounds: ClassVar[bool] = False  # whether some of ``hits`` are of its states; of one layer only
    hits_workers: ClassVar[bool] = False  # the same

    def bounds(self, n_rounds: int) -> list[Bounds]:
        """Of the logits of its chances, and log(slowdown - 1): slow is at least a tenth slower."""
        return [*self.limits, (-2.3, 6.9)]

    def model(self, values: Sequence[float]) -> StragglerModel:
        """Return the straggler model that it is."""
        return self.becomes(**dict(zip(self.names, values, strict=True)))

    @abstractmethod
    def starts(self, excess: FloatArray, hits: FloatArray) -> Starts:
        """Say where to look for it, given log durations less their median: its parameters, and new ``hits``."""

    def units(self, chances: Sequence[float], n_durations: int, n_rounds: int, n_workers: int) -> list[float]:
        """Count the draws that each of its chances decides."""
        return [n_durations]

    def shares(self, chances: Sequence[float]) -> tuple[float, float]:
        """Shares of the durations that it does not touch and that it slows."""
        slow = float(np.prod(chances))
        return 1 - slow, slow

    def sum_out(self, logs: FloatArray, chances: Sequence[float], hits: FloatArray) -> Summed:
        """Sum over its states, the last axis of log densities before rounds and workers."""
        return Summed(*_mixed(logs, chances[0]))

    def by_logits(self, chances: Sequence[float], known: Posterior) -> list[float]:
        """The gradient of the log-likelihood by the logits of its chances."""
        return [float(known.slow.sum()) - chances[0] * int(known.observed.sum())]

    def hit_evidence(self, chances: Sequence[float], known: Posterior) -> FloatArray:
        """Log odds of each round's, and then each worker's, being hit."""
        return np.zeros(len(known.hits))


class SlowWorkerLayer(Layer):
    """Some workers are slow in all rounds."""

    label = "slow_workers"
    names, limits = ("share", "slowdown"), (MINORITY,)
    least_shape = (3, 3)
    slows_workers = True
    pooled = ((0.05, 2.0), (0.2, 1.3))

    def model(self, values: Sequence[float]) -> StragglerModel:
        share, slowdown = values
        return PartialSlowdown(share=share, slowdown_min=slowdown, slowdown_max=slowdown, drawn="per_run")

    def starts(self, excess: FloatArray, hits: FloatArray) -> Starts:
        of_worker = np.sort(np.median(excess, axis=0))
        n_workers = len(of_worker)
        gaps = np.diff(of_worker)[n_workers // 2 - 1 :]
        first_slow = n_workers // 2 + int(np.argmax(gaps))
        slowdown = float(np.exp(of_worker[first_slow:].mean() - of_worker[:first_slow].mean()))
        yield ((n_workers - first_slow) / (n_workers + 1), max(slowdown, 1.1)), hits
        slowest = of_worker[-max(1, n_workers // 7) :].mean() - np.median(of_worker)
        yield (0.15, max(float(np.exp(slowest)), 1.12)), hits

    def units(self, chances: Sequence[float], n_durations: int, n_rounds: int, n_workers: int) -> list[float]:
        return [n_workers]

    def sum_out(self, logs: FloatArray, chances: Sequence[float], hits: FloatArray) -> Summed:
        of_worker = _weighted(logs.sum(axis=-2, keepdims=True), chances[0])
        most = of_worker.max(axis=-3, keepdims=True)
        log_likelihood = most + np.log(np.exp(of_worker - most).sum(axis=-3, keepdims=True))
        shares = np.exp(np.maximum(of_worker - log_likelihood, -FAR))
        return Summed(log_likelihood.squeeze(-3), shares)

    def by_logits(self, chances: Sequence[float], known: Posterior) -> list[float]:
        return [float(known.inner[..., 1, :, :].sum()) - chances[0] * known.inner.shape[-1]]


class BurstLayer(Layer):
    """Each worker is fast or slow, and changes state between rounds (a Markov chain)."""

    label = "bursts"
    names, limits = ("p_slow", "p_recover", "slowdown"), (MINORITY, CHANCE)
    becomes = GilbertElliott
    least_shape = (3, 1)

    def bounds(self, n_rounds: int) -> list[Bounds]:
        p_slow, _, slowdown = super().bounds(n_rounds)
        return [p_slow, (-math.log(max(1.0, n_rounds / 2 - 1)), 11.5), slowdown]  # bursts end within the trace

    def starts(self, excess: FloatArray, hits: FloatArray) -> Starts:
        for quantile, p_slow in ((0.9, 0.05), (0.98, 0.02)):
            yield (p_slow, 0.4, _slowdown_at(excess, quantile)), hits

    def units(self, chances: Sequence[float], n_durations: int, n_rounds: int, n_workers: int) -> list[float]:
        _, slow = self.shares(chances)
        return [n_durations * (1 - slow), n_durations * slow]

    def shares(self, chances: Sequence[float]) -> tuple[float, float]:
        p_slow, p_recover = chances
        return p_recover / (p_slow + p_recover), p_slow / (p_slow + p_recover)

    def sum_out(self, logs: FloatArray, chances: Sequence[float], hits: FloatArray) -> Summed:
        """Sum over all workers' chains at once: a forward filter, then a backward smoother."""
        p_slow, p_recover = chances
        most = logs.max(axis=-3)  # (..., T, n)
        rounds = np.moveaxis(np.exp(np.maximum(logs - np.expand_dims(most, -3), -FAR)), -2, 0)  # (T, ..., 2, n)
        fast, slow = np.ascontiguousarray(rounds[..., 0, :]), np.ascontiguousarray(rounds[..., 1, :])
        keeps = 1 - p_slow - p_recover
        predicted, filtered, norms, smoothed = (np.empty_like(fast) for _ in range(4))
        now = np.full(fast.shape[1:], p_slow / (p_slow + p_recover))
        for t in range(len(fast)):
            predicted[t] = now
            joint = now * slow[t]
            norms[t] = joint + (1 - now) * fast[t]
            filtered[t] = joint / norms[t]
            now = p_slow + keeps * filtered[t]
        smoothed[-1] = filtered[-1]
        stays = filtered[:-1] * (1 - p_recover) / predicted[1:]
        leaves = filtered[:-1] * p_recover / (1 - predicted[1:])
        for t in range(len(fast) - 2, -1, -1):
            smoothed[t] = leaves[t] + (stays[t] - leaves[t]) * smoothed[t + 1]
        later = smoothed[1:]
        remain, recover = (stays * later).sum(axis=0), (leaves * (1 - later)).sum(axis=0)
        slows = later.sum(axis=0) - remain
        moves = np.stack([len(later) - remain - recover - slows, slows, recover, remain])  # expected, (4, ..., n)
        visits = np.moveaxis(np.stack([1 - smoothed, smoothed], axis=-2), 0, -2)  # (..., 2, T, n)
        of_worker = np.log(norms).sum(axis=0) + most.sum(axis=-2)
        return Summed(np.expand_dims(of_worker, -2), visits, moves)

    def by_logits(self, chances: Sequence[float], known: Posterior) -> list[float]:
        a, b = chances
        outer = known.outer[..., 0, :]
        stay, slow, recover, remain = (known.summed.rest * outer).reshape(4, -1).sum(axis=1).tolist()
        first_slow = float((known.summed.shares[..., 1, 0, :] * outer).sum())
        n_first = float(outer.sum())
        # the first round has the stationary distribution: slow with probability a/(a + b)
        by_a = first_slow / a - n_first / (a + b)
        by_b = (n_first - first_slow) / b - n_first / (a + b)
        return [slow * (1 - a) - stay * a + by_a * a * (1 - a), recover * (1 - b) - remain * b + by_b * b * (1 - b)]


class HitLayer(Layer):
    """Some rounds, or some workers, are hit, and durations slow in these, each by itself."""

    limits = (CHANCE, CHANCE)  # being hit; being slow then

    def own(self, hits: FloatArray, n_rounds: int) -> FloatArray:
        """Its part of the hits, those of rounds or those of workers, which ends an array of log densities."""
        return hits[:n_rounds, np.newaxis] if self.hits_rounds else hits[n_rounds:]

    def units(self, chances: Sequence[float], n_durations: int, n_rounds: int, n_workers: int) -> list[float]:
        return [n_rounds if self.hits_rounds else n_workers, n_durations * chances[0]]

    def sum_out(self, logs: FloatArray, chances: Sequence[float], hits: FloatArray) -> Summed:
        """Sum over the durations that are hit; of what is hit, ``hits`` gives a lower bound."""
        p, share = chances
        hits = self.own(hits, logs.shape[-2])
        calm = logs[..., 0, :, :]
        hit, shares = _mixed(logs, share)
        gain = hit - calm
        shares *= hits
        shares[..., 0, :, :] += 1 - hits
        inside, outside = np.clip(hits, 1e-300, 1.0), np.clip(1 - hits, 1e-300, 1.0)
        entropy = -(hits * np.log(inside) + (1 - hits) * np.log(outside))
        bonus = float(np.sum(hits * np.log(p) + (1 - hits) * np.log(1 - p)) + entropy.sum())
        return Summed(calm + hits * gain, shares, gain, bonus)

    def by_logits(self, chances: Sequence[float], known: Posterior) -> list[float]:
        p, share = chances
        hits = self.own(known.hits, len(known.observed))
        in_hits = float((hits * known.observed).sum())
        return [float(hits.sum()) - p * hits.size, float(known.slow.sum()) - share * in_hits]

    def hit_evidence(self, chances: Sequence[float], known: Posterior) -> FloatArray:
        gain = known.outer * known.summed.rest
        prior = np.log(chances[0]) - np.log(1 - chances[0])
        evidence = np.zeros(len(known.hits))
        of_each = gain.reshape(-1, *gain.shape[-2:]).sum(axis=0)
        own = self.own(evidence, len(known.observed))
        own += of_each.sum(axis=1, keepdims=True) + prior if self.hits_rounds else of_each.sum(axis=0) + prior
        return evidence


class ProneWorkerLayer(HitLayer):
    """Some workers are slow more often than the others, in rounds of their own."""

    label = "prone_workers"
    names, limits = ("share", "p", "slowdown"), (MINORITY, MINORITY)
    becomes = ProneWorkers
    least_shape = (3, 3)
    hits_workers = True

    def starts(self, excess: FloatArray, hits: FloatArray) -> Starts:
        n_rounds = len(excess)
        for quantile in (0.9, 0.95):
            slow = excess > np.quantile(excess, quantile)
            often = slow.mean(axis=0)
            prone = often > 1.5 * (1 - quantile) + 1 / n_rounds
            if prone.any():
                slowdown = max(1.15, float(np.exp(np.median(excess[slow & prone]))))
                chances = (min(float(prone.mean()), 0.45), float(np.clip(often[prone].mean(), 0.05, 0.95)))
                yield (*chances, slowdown), np.concatenate([hits[:n_rounds], np.where(prone, 0.9, 0.05)])
        yield (0.1, 0.2, _slowdown_at(excess, 0.95)), hits


class ShockLayer(HitLayer):
    """Some rounds are hit, and many workers slow in these."""

    label = "shocks"
    names = ("p", "share", "slowdown")
    becomes = CommonShock
    least_shape = (1, 3)
    hits_rounds = True

    def starts(self, excess: FloatArray, hits: FloatArray) -> Starts:
        slow = excess > np.quantile(excess, 0.9)
        share = slow.mean(axis=1)
        middle = float(np.median(share))
        # above the widest gap between rounds, or more than chance gives a usual round
        ranked = np.sort(share)
        widest = ranked[len(ranked) // 2 + 1 + int(np.argmax(np.diff(ranked)[len(ranked) // 2 :]))]
        many = middle + 4 * math.sqrt(max(middle, 0.01) / slow.shape[1])
        for limit in (widest, min(many, ranked[-1])):
            hit = share >= limit
            seen = excess[hit][slow[hit]]
            slowest = float(np.exp(np.median(seen))) if len(seen) else _slowdown_at(excess, 0.98)
            chances = (float(np.clip(hit.mean(), 0.02, 0.9)), float(np.clip(share[hit].mean(), 0.05, 0.95)))
            for slowdown in (max(slowest, 1.15), _slowdown_at(excess, 0.9)):
                yield (*chances, slowdown), np.concatenate([np.where(hit, 0.95, 0.02), hits[len(excess) :]])


class OutlierLayer(Layer):
    """Some durations are slow, without memory."""

    label = "outliers"
    names, limits = ("p", "slowdown"), (RARE,)
    becomes = Bernoulli
    pooled = ((0.005, 8.0), (0.02, 3.0))

    def starts(self, excess: FloatArray, hits: FloatArray) -> Starts:
        for quantile, p in ((0.999, 0.002), (0.995, 0.005), (0.98, 0.02)):
            yield (p, _slowdown_at(excess, quantile)), hits


# The order is that of theta and of the axes of all arrays of states, and no matter of taste: what has no memory is
# summed out first, in each duration; then what links the durations of a round; a worker's rounds; all of a worker.
LAYERS: tuple[Layer, ...] = (
    SlowWorkerLayer(),
    BurstLayer(),
    ProneWorkerLayer(),
    ShockLayer(),
    OutlierLayer(),
)


def _slowdown_at(excess: FloatArray, quantile: float) -> float:
    return max(1.15, float(np.exp(np.quantile(excess, quantile))))


def _weighted(logs: FloatArray, chance: float) -> FloatArray:
    """Log densities of fast and slow, with the chances of these."""
    return np.asarray(logs + np.log([1 - chance, chance])[:, np.newaxis, np.newaxis])


def _mixed(logs: FloatArray, chance: float) -> tuple[FloatArray, FloatArray]:
    """The log density of a mixture of fast and slow, and the share of each in it."""
    logs = _weighted(logs, chance)
    fast, slow = logs[..., 0, :, :], logs[..., 1, :, :]
    gap = slow - fast
    odds = np.exp(-np.minimum(np.abs(gap), FAR))
    likelier = 1 / (1 + odds)
    less_likely = odds * likelier
    shares = np.empty_like(logs)
    shares[..., 0, :, :] = np.where(gap > 0, less_likely, likelier)
    shares[..., 1, :, :] = np.where(gap > 0, likelier, less_likely)
    return np.maximum(fast, slow) - np.log(likelier), shares
