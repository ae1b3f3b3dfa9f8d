"""One job shared out so that all who work on it finish together."""

import numpy as np

from simulator.parameters import FloatArray


def shared_out(
    startup_s: FloatArray, seconds_per_load: FloatArray, slowdown: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Share one job out in each of some rounds, as ``RoundTimes.share_out``; from arrays ``(n, n_workers)``.

    Returns
    -------
    loads
        Shape ``(n, n_workers)``.
    instant_s
        Shape ``(n,)``.
    """
    never = np.isinf(startup_s) | np.isinf(seconds_per_load) | np.isinf(slowdown)
    with np.errstate(divide="ignore", invalid="ignore"):
        begins_s = np.where(never, np.inf, slowdown * startup_s)
        rates = np.where(never, 0.0, 1 / (slowdown * seconds_per_load))  # loads per second; inf: work takes no time
    at_once = np.isinf(rates)
    rates[at_once] = 0.0
    first_s = np.where(at_once, begins_s, np.inf).min(axis=1)
    order = np.argsort(begins_s, axis=1)
    own_rates, own_begins_s = np.take_along_axis(rates, order, axis=1), np.take_along_axis(begins_s, order, axis=1)
    weighted = np.cumsum(own_rates * np.where(own_rates > 0, own_begins_s, 0.0), axis=1)
    with np.errstate(divide="ignore"):
        candidates = (1 + weighted) / np.cumsum(own_rates, axis=1)  # if the first k workers do it all
    is_shared = (rates > 0).any(axis=1)
    instant_s = np.where(is_shared, np.maximum(0.0, np.minimum(first_s, candidates.min(axis=1))), first_s)
    with np.errstate(invalid="ignore"):
        loads = np.where(begins_s < instant_s[:, np.newaxis], (instant_s[:, np.newaxis] - begins_s) * rates, np.nan)
    first = at_once & (begins_s <= instant_s[:, np.newaxis])
    for row in np.flatnonzero(first.any(axis=1)).tolist():  # one that takes no time does what is left
        loads[row, np.argmax(first[row])] = 1 - np.nansum(np.where(first[row], 0.0, loads[row]))
    return loads, instant_s
