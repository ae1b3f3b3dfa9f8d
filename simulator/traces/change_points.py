"""Fail-slows in a trace: workers that become slow at some round and stay so, found by change points.

A fail-slow is a run of at least ``ROUNDS`` rounds in which a worker takes at least ``SLOWER`` times as long,
in its median round and relative to the round's median worker, as in its other rounds, and as the median worker does.
How they are found, documentation: Reference, Traces.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.measures import SLOWER, SURE, median_worker_s
from simulator.traces.naming import labelled

ROUNDS = 10  # slow in a row, from which on; shorter interruptions do not end a fail-slow
BURST = 30  # mean rounds of a burst, at most
NAMED = 8  # fail-slows
NEVER = 50.0  # logarithm of a relative time that stands for infinity
ORDER = 3  # rounds that the chain of a burst looks back
LENGTHS = 1.1  # ratio of successive lengths of segments that are looked at


class FailSlow(NamedTuple):
    """Rounds in which a worker was slow, other than before or afterwards."""

    worker: int
    onset: int
    """the first slow round"""
    end: int
    """the round after the last slow one"""
    factor: float
    """times as long as in the worker's other rounds, relative to the round's median worker"""


class Hazard(NamedTuple):
    """Chances of fail-slows in a trace, as the parameters of the straggler model ``fail_slow``."""

    p_fail: float
    slowdown: float
    mean_rounds: float | None
    """None: every one lasts to the end of the trace"""
    at_risk: int
    """worker-rounds in which one could have begun"""


def fail_slows(duration_s: FloatArray, follows: BoolArray | None = None) -> tuple[FailSlow, ...]:
    """Find fail-slows, by worker and onset; one false alarm in a trace of exchangeable rounds has a chance of 5 %.

    A worker changes if the normal scores of its relative times have a mean in some segment that is too large for
    rounds in any order (a union bound over all segments and workers). Two levels and a penalty for each change then
    say where. What a Markov chain like that of all other rounds explains is a burst.

    Parameters
    ----------
    duration_s
        Seconds, shape ``(n_rounds, n_workers)``; ``inf``: never answered.
    follows
        True where the next round is the next step, shape ``(n_rounds - 1,)``; None: everywhere.

    References
    ----------
    Segments: Olshen, Venkatraman, Lucito and Wigler, "Circular binary segmentation for the analysis of array-based DNA
    copy number data", Biostatistics 2004. Likelihood of rounds of an unknown rate: Krichevsky and Trofimov, "The
    performance of universal encoding", IEEE Transactions on Information Theory 1981.

    Examples
    --------
    >>> duration_s = np.random.default_rng(1).uniform(1.0, 1.1, (100, 8))
    >>> duration_s[60:, 3] *= 4
    >>> fail_slows(duration_s)[0][:3]
    (3, 60, 100)
    """
    relative = _relative(duration_s)
    workers, starts, lengths = _changed(relative)
    if not len(workers):
        return ()
    own = relative[:, workers]
    is_slow = (np.arange(len(own))[:, None] >= starts) & (np.arange(len(own))[:, None] < starts + lengths)
    for _ in range(2):
        is_slow = _two_levels(own, *_levels(own, is_slow))
    usual, _ = _levels(own, is_slow)
    _grow(is_slow, own, usual)
    base = np.median(relative, axis=0)
    base[workers] = usual
    candidates = [
        FailSlow(worker, onset, end, _factor(level - usual[place]))
        for place, worker in enumerate(workers.tolist())
        for onset, end in _runs(is_slow[:, place])
        if (level := float(np.median(own[onset:end, place]))) >= max(0.0, usual[place]) + np.log(SLOWER)
    ]
    return tuple(_no_bursts(relative - base, candidates, follows))


def hazard(found: Sequence[FailSlow], n_rounds: int, n_workers: int) -> Hazard:
    """Estimate the chances of fail-slows from those of a trace: each number of events over that of its occasions.

    Examples
    --------
    >>> hazard([FailSlow(3, onset=60, end=100, factor=4.0)], n_rounds=100, n_workers=8)
    Hazard(p_fail=0.001314060446780552, slowdown=4.0, mean_rounds=None, at_risk=761)
    """
    n_slow = sum(of.end - of.onset for of in found)
    n_ends = sum(of.end < n_rounds for of in found)
    at_risk = n_rounds * n_workers - n_slow + len(found) - n_ends
    slow_before_last = n_slow - (len(found) - n_ends)
    slowdown = float(np.exp(np.mean(np.log([of.factor for of in found]))))
    return Hazard(len(found) / at_risk, slowdown, slow_before_last / n_ends if n_ends else None, at_risk)


def slow_rounds(found: Sequence[FailSlow], n_rounds: int, n_workers: int) -> BoolArray:
    """Mark the worker-rounds of fail-slows, shape ``(n_rounds, n_workers)``."""
    is_slow = np.zeros((n_rounds, n_workers), dtype=np.bool_)
    for of in found:
        is_slow[of.onset : of.end, of.worker] = True
    return is_slow


def sentences(found: Sequence[FailSlow], n_rounds: int, n_workers: int, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield a sentence for each fail-slow, and what they would be in a scenario.

    Examples
    --------
    >>> for sentence in sentences([FailSlow(3, onset=60, end=90, factor=4.0)], n_rounds=90, n_workers=8):
    ...     print(sentence)
    worker 3 is 4 times slower from round 60 to 89 (to the end): a fail-slow, no burst
    in a scenario: {kind: fail_slow, p_fail: 0.0014, slowdown: 4} (1 onset in 691 worker-rounds at risk)
    """
    for of in found[:NAMED]:
        does = f"is {of.factor:.2g} times slower" if of.factor < np.inf else "answers nothing"
        begin = f"round {of.onset}" if of.onset else "the first round"
        yield (
            f"worker {labelled(of.worker, names)} {does} from {begin} to {of.end - 1}"
            f"{' (to the end): a fail-slow' if of.end == n_rounds else ': an episode'}, no burst"
        )
    if len(found) > NAMED:
        yield f"{len(found) - NAMED} more such, of {len({of.worker for of in found})} workers in all"
    if found:
        p_fail, slowdown, mean_rounds, at_risk = hazard(found, n_rounds, n_workers)
        lasts = "" if mean_rounds is None else f", mean_rounds: {mean_rounds:.3g}"
        yield (
            f"in a scenario: {{kind: fail_slow, p_fail: {p_fail:.2g}, slowdown: "
            f"{f'{slowdown:.3g}' if slowdown < np.inf else '.inf'}{lasts}}} "
            f"({len(found)} onset{'s' if len(found) > 1 else ''} in {at_risk} worker-rounds at risk)"
        )


def _relative(duration_s: FloatArray) -> FloatArray:
    """Logarithm of each time over that of the round's median worker."""
    median_s = median_worker_s(duration_s)[:, None]
    with np.errstate(all="ignore"):
        logs = np.log(np.where(duration_s == median_s, 1.0, duration_s / median_s))  # also where both are 0 or inf
    return np.clip(logs, -NEVER, NEVER)


def _factor(log: float) -> float:
    return float(np.exp(log)) if log < NEVER / 2 else np.inf


def _changed(relative: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
    """Workers that surely change, with the first round and the length of the segment that shows it best."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    n_rounds, n_workers = relative.shape
    lengths = np.arange(ROUNDS, n_rounds - ROUNDS + 1)
    if not len(lengths):
        return (np.zeros(0, dtype=np.int64),) * 3
    bound = -ndtri(SURE / (n_workers * (n_rounds - lengths + 1).sum()))
    scores = ndtri((rankdata(relative, axis=0) - 0.5) / n_rounds)
    sums = np.zeros((n_rounds + 1, n_workers))
    np.cumsum(scores - scores.mean(axis=0), axis=0, out=sums[1:])
    best, starts, best_lengths = np.zeros(n_workers), *np.zeros((2, n_workers), dtype=np.int64)
    n_lengths = 2 + int(np.log(lengths[-1] / ROUNDS) / np.log(LENGTHS))
    for length in np.unique(np.geomspace(ROUNDS, lengths[-1], n_lengths).round().astype(int)).tolist():
        excess = sums[length:] - sums[:-length]
        at = excess.argmax(axis=0)
        z = excess[at, np.arange(n_workers)] / np.sqrt(length * (1 - length / n_rounds))
        is_better = z > best
        best[is_better], starts[is_better], best_lengths[is_better] = z[is_better], at[is_better], length
    workers = np.flatnonzero(best > bound)
    return workers, starts[workers], best_lengths[workers]


def _levels(own: FloatArray, is_slow: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Each worker's median relative time in its usual and in its slow rounds; of all, where there are none."""
    usual, slow = (
        np.array([np.median(x[kept] if kept.any() else x) for x, kept in zip(own.T, of.T, strict=True)])
        for of in (~is_slow, is_slow)
    )
    return usual, slow


def _two_levels(own: FloatArray, usual: FloatArray, slow: FloatArray) -> BoolArray:
    """Who is slow when: least absolute deviations from two levels, with a penalty for each change (Viterbi).

    Deviations count at most the difference of the levels, and a change half as much as ``ROUNDS`` of them.
    """
    half = np.maximum((slow - usual) / 2, 1e-12)
    gains = np.clip((own - (usual + slow) / 2) / half, -1.0, 1.0)  # of calling a round slow
    score = np.zeros((2, own.shape[1]))
    came_from_other = np.empty((len(own), *score.shape), dtype=np.bool_)
    for row, gain in enumerate(gains):
        changed = score[::-1] - ROUNDS / 2
        came_from_other[row] = changed > score
        score = np.maximum(score, changed)
        score[1] += gain
    is_slow = np.empty(own.shape, dtype=np.bool_)
    state = score[1] > score[0]
    for row in range(len(own) - 1, -1, -1):
        is_slow[row] = state
        state = state ^ came_from_other[row, state.astype(np.int64), np.arange(len(state))]
    return is_slow


def _grow(is_slow: BoolArray, own: FloatArray, usual: FloatArray) -> None:
    """Add rounds at either end that are halfway there: slower than 95 % of the worker's other rounds."""
    others = np.where(is_slow, np.nan, own)
    others[:, is_slow.all(axis=0)] = NEVER
    is_high = own > np.maximum(usual + np.log(SLOWER), np.nanquantile(others, 1 - SURE, axis=0))
    for rows in (range(1, len(own)), range(len(own) - 2, -1, -1)):
        for row in rows:
            is_slow[row] |= is_high[row] & is_slow[row - rows.step]


def _runs(is_slow: BoolArray) -> Iterator[tuple[int, int]]:
    """First round of each run that is long enough, and the round after it; no run where nothing else is left."""
    steps = np.diff(np.pad(is_slow.astype(np.int64), 1))
    for onset, end in zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True):
        if end - onset >= ROUNDS and np.count_nonzero(~is_slow) >= ROUNDS:
            yield onset, end


def _no_bursts(excess: FloatArray, candidates: list[FailSlow], follows: BoolArray | None) -> list[FailSlow]:
    """Leave out bursts: what a chain explains that is fitted to all other rounds, and to the bursts found so far.

    Where that chain stays slow for more than ``BURST`` rounds on average, what it explains are fail-slows all the same.
    """
    thresholds = {of: _threshold(of.factor) for of in candidates}
    kept, n_before = candidates, len(candidates) + 1
    while len(kept) < n_before:
        n_before = len(kept)
        is_other = ~slow_rounds(kept, *excess.shape)
        chains = {threshold: _chain(excess > threshold, is_other, follows) for threshold in set(thresholds.values())}
        kept = [
            of
            for of in kept
            if _evidence(excess[of.onset : of.end, of.worker] > thresholds[of], chains[thresholds[of]])
            > np.log(excess.size / SURE)
        ]
    return [of for of in candidates if of in kept or chains[thresholds[of]][-1] > 1 - 1 / BURST]


def _threshold(factor: float) -> float:
    """Excess from which on a round is slow: halfway between the levels, or a little less (few of them: few chains)."""
    half = np.log(min(factor, np.exp(NEVER / 2))) / 2
    return float(np.log(SLOWER) * 2 ** max(0.0, np.floor(4 * np.log2(half / np.log(SLOWER))) / 4))


def _chain(is_slow: BoolArray, is_other: BoolArray, follows: BoolArray | None) -> FloatArray:
    """P(slow) after each pattern of the ``ORDER`` rounds before, by its number in binary, over all other rounds."""
    n_rows = len(is_slow) - ORDER
    is_known = np.ones((n_rows, is_slow.shape[1]), dtype=np.bool_)
    pattern = np.zeros(is_known.shape, dtype=np.int16)
    for first in range(ORDER + 1):
        is_known &= is_other[first : first + n_rows]
        pattern = 2 * pattern + is_slow[first : first + n_rows]
        if follows is not None and first < ORDER:
            is_known &= follows[first : first + n_rows, None]
    counts = np.bincount(pattern[is_known], minlength=2 ** (ORDER + 1)).reshape(-1, 2)
    chances: FloatArray = (counts[:, 1] + 0.5) / (counts.sum(axis=1) + 1)
    return chances


def _evidence(is_slow: BoolArray, chain: FloatArray) -> float:
    """Logarithm of the likelihood ratio of rounds of one unknown rate, against a chain that was not slow before.

    From any first round on, it ever exceeds log k with a chance of at most 1/k if the chain is true.
    """
    from scipy.special import betaln

    pattern, as_burst = 0, 0.0
    for slow in is_slow.tolist():
        as_burst += np.log(chain[pattern] if slow else 1 - chain[pattern])
        pattern = (2 * pattern + slow) % len(chain)
    n_slow = int(np.count_nonzero(is_slow))
    return float(betaln(n_slow + 0.5, len(is_slow) - n_slow + 0.5) - betaln(0.5, 0.5) - as_burst)
