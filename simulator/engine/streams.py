"""Streams of random numbers, one by one and many at a time.

Every stream is keyed by what it is for, (seed, trial, purpose, label), never by the order of drawing or of a list:
all schemes of a trial meet the same times, and adding a model or a scheme changes no other number.
Many are seeded side by side, by numpy's ``SeedSequence`` on arrays; source of its mixing: O'Neill, "Developing a
seed_seq Alternative", 2015.
"""

import functools
import hashlib
from collections.abc import Sequence
from itertools import accumulate, repeat

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray

Hashes = NDArray[np.uint32]
POOL = 4  # words
ALL = np.arange(POOL)
ONCE = -1  # the trial of what is drawn once, for all trials
FEW = 12  # streams that are sooner seeded one by one


def stream(seed: int, trial: int, purpose: str, label: str) -> np.random.Generator:
    """Random numbers for one purpose.

    Examples
    --------
    >>> first, second = (stream(7, 0, "stragglers", label) for label in ("usual", "bursts"))
    >>> bool(first.random() == second.random())
    False
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_spawn_key(trial, purpose, label)))


def streams(keys: Sequence[tuple[int, int, str]]) -> list[np.random.Generator]:
    """Random numbers of straggler models, by seed, trial and label."""
    if len(keys) < FEW:
        return [stream(seed, trial, "stragglers", label) for seed, trial, label in keys]
    return _generators([key[0] for key in keys], [_spawn_key(trial, "stragglers", label) for _, trial, label in keys])


def _spawn_key(trial: int, purpose: str, label: str) -> tuple[int, ...]:
    return (trial - ONCE, *_digest(purpose, label))


@functools.lru_cache(maxsize=256)
def _digest(purpose: str, label: str) -> list[int]:
    digest = hashlib.blake2b(f"{purpose}\0{label}".encode(), digest_size=16).digest()
    words: list[int] = np.frombuffer(digest, dtype="<u4").tolist()
    return words


def _constants(first: int, factor: int, number: int) -> Hashes:
    powers = accumulate(repeat(factor, number), lambda value, by: value * by % 2**32, initial=first)
    return np.array(list(powers), dtype=np.uint32)


def _hashed(words: Hashes, constants: Hashes) -> Hashes:
    """Hash each word by a constant and the one after it."""
    hashed = (words ^ constants[:-1]) * constants[1:]
    hashed ^= hashed >> 16
    return hashed


def _mixed(words: Hashes, others: Hashes) -> Hashes:
    mixed = words * np.uint32(0xCA01F9DD) - others * np.uint32(0x4973F715)
    mixed ^= mixed >> 16
    return mixed


def _words(number: int) -> list[int]:
    """Cut a number into 32 bits each, the lowest first."""
    words = [number & 0xFFFFFFFF]
    while number := number >> 32:
        words.append(number & 0xFFFFFFFF)
    return words


def states(entropies: Sequence[int], spawn_keys: Sequence[Sequence[int]]) -> NDArray[np.uint64]:
    """Return what ``SeedSequence(entropy, spawn_key=...).generate_state(4, np.uint64)`` is, a row for each.

    Examples
    --------
    >>> own = np.random.SeedSequence(7, spawn_key=(1, 2)).generate_state(4, np.uint64)
    >>> bool((states([7], [(1, 2)]) == own).all())
    True
    """
    seeds = {entropy: _words(entropy) for entropy in set(entropies)}
    rows = [
        seeds[entropy] + [0] * (POOL - len(seeds[entropy])) + [word for part in key for word in _words(part)]
        for entropy, key in zip(entropies, spawn_keys, strict=True)
    ]
    lengths = np.array([len(row) for row in rows])
    most = int(lengths.max())
    words = np.array([row + [0] * (most - len(row)) for row in rows], dtype=np.uint32)
    constants = _constants(0x43B0D7E5, 0x931E8875, POOL * most)
    pool = _hashed(words[:, :POOL], constants[: POOL + 1])
    at = POOL
    for place in range(POOL):
        others = ALL[place != ALL]
        pool[:, others] = _mixed(pool[:, others], _hashed(pool[:, [place]], constants[at : at + POOL]))
        at += POOL - 1
    for place in range(POOL, most):
        mixed = _mixed(pool, _hashed(words[:, [place]], constants[at : at + POOL + 1]))
        pool = np.where(lengths[:, np.newaxis] > place, mixed, pool)
        at += POOL
    return _hashed(np.tile(pool, 2), _constants(0x8B51F9DD, 0x58F38DED, 2 * POOL)).astype("<u4").view("<u8")


class _Ready(ISeedSequence):
    """The state that one generator starts from."""

    def __init__(self, state: NDArray[np.uint64]) -> None:
        self._state = state

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[np.uint64]:
        return self._state


def _generators(entropies: Sequence[int], spawn_keys: Sequence[Sequence[int]]) -> list[np.random.Generator]:
    """Return ``default_rng(SeedSequence(entropy, spawn_key=...))`` for each."""
    ready = states(entropies, spawn_keys).astype(np.uint64)
    return [np.random.Generator(np.random.PCG64(_Ready(state))) for state in ready]  # type: ignore[arg-type]
