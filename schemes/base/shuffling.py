"""Which of the data each chunk of a code is, drawn anew each round."""

from __future__ import annotations

import functools

import numpy as np

from simulator.parameters import IntArray

ORDER = 2  # the purpose of a stream, beside those of `schemes.assignment` and of orderings
SHUFFLE = "whether each round draws anew which data each chunk is, so that no data always depend on the same workers"
SEED = "for these draws; filled in from the scenario"


@functools.lru_cache(maxsize=256)
def shuffled(seed: int, n_chunks: int, index: int) -> IntArray:
    """The chunks in the random order of a round, the same in all trials; read-only.

    Examples
    --------
    >>> sorted(shuffled(0, 4, 1).tolist()), bool((shuffled(0, 9, 1) == shuffled(0, 9, 2)).all())
    ([0, 1, 2, 3], False)
    """
    order = np.random.default_rng([seed, ORDER, index]).permutation(n_chunks)
    order.setflags(write=False)
    return order
