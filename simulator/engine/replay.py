"""One trace replayed to thousands of settings: the master rules over workers in the order in which they answer.

Where all workers have equally much work and a worker that is faster at one load is faster at every load, each round
has one order of arrival, whatever the setting. Then all that a setting decides in a round is after how many arrivals
the master stops.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from schemes.base.rule import Rule, permits
from schemes.base.sets import Words, packed, size, unpacked
from simulator.engine.master_rules import MasterRule
from simulator.parameters import BoolArray, FloatArray, IntArray
from straggler_models.base import WorkerTimes

NEGATIVE = (
    "completion times must be at least 0 s at every load: use --load-effect proportional, or a smaller --base-load or "
    "--seconds-per-load"
)


class NoOneOrderError(ValueError):
    """Which worker is faster depends on the load."""


class Played(NamedTuple):
    """Outcome of the rounds of each setting, shape ``(n_rounds, n_settings)`` each."""

    duration_s: FloatArray
    waited_s: FloatArray
    stragglers: IntArray
    n_given: IntArray


class MeasuredRounds:
    """Measured rounds, replayed cyclically, each with its workers in the order in which they answer.

    Parameters
    ----------
    times
        Worker times, shape ``(n_rounds, n_workers)``, all finite.

    Raises
    ------
    NoOneOrderError
        If the order is not the same at all loads.
    ValueError
        If somebody never answers.
    """

    def __init__(self, times: WorkerTimes, n_workers: int) -> None:
        parts = [
            np.broadcast_to(np.asarray(part, dtype=np.float64), (times.n_rounds, n_workers))
            for part in (times.startup_s, times.seconds_per_load, times.slowdown)
        ]
        startup_s, seconds_per_load, slowdown = parts
        at_no_load, at_full_load = slowdown * startup_s, slowdown * (startup_s + seconds_per_load)
        if not np.isfinite(at_full_load).all():
            raise ValueError("a worker never answers")
        order = np.lexsort((at_no_load, at_full_load), axis=1)
        if (np.diff(np.take_along_axis(at_no_load, order, axis=1), axis=1) < 0).any():
            raise NoOneOrderError("which worker is faster depends on the load")
        self.n_rounds, self.n_workers, self.order = times.n_rounds, n_workers, order
        in_order = [np.take_along_axis(part, order, axis=1) for part in parts]
        is_tied = np.all([np.diff(part, axis=1) == 0 for part in in_order], axis=0)
        # what is the same for everybody need not be looked up
        self._parts = [float(part[0, 0]) if (part == part[0, 0]).all() else part for part in in_order]
        self._last_tied = _ends_of_runs(is_tied)  # those tied with a place all arrive with it
        self._missing: list[Words | None] = [None] * self.n_rounds

    def missing_after(self, index: int, n_arrived: IntArray) -> Words:
        """Return the workers missing after so many arrivals in a round, one set for each number."""
        place = index % self.n_rounds
        table = self._missing[place]
        if table is None:
            rank = np.argsort(self.order[place])
            table = packed(rank >= np.arange(self.n_workers + 1)[:, np.newaxis])
            self._missing[place] = table
        return table.take(n_arrived, axis=1)

    def arrivals_s(self, indices: IntArray, n_arrived: IntArray, load: FloatArray) -> FloatArray:
        """Return when the last of so many arrives, by round and load; the three arrays broadcast against each other."""
        rounds, places = indices % self.n_rounds, n_arrived - 1
        startup_s, seconds_per_load, slowdown = (
            part if isinstance(part, float) else part[rounds, places] for part in self._parts
        )
        return np.asarray(slowdown * (startup_s + seconds_per_load * load))

    def with_tied(self, index: int, n_arrived: IntArray) -> IntArray:
        """As many arrivals, and all at the same instant as the last."""
        return np.asarray(self._last_tied[index % self.n_rounds, n_arrived - 1] + 1)

    def n_by(self, indices: IntArray, instant_s: FloatArray, load: FloatArray) -> IntArray:
        """Count the arrivals up to an instant, by bisection; arrays of equal shapes."""
        low, high = np.zeros(instant_s.shape, dtype=np.int64), np.full(instant_s.shape, self.n_workers + 1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            is_there = self.arrivals_s(indices, middle, load) <= instant_s
            low, high = np.where(is_there, middle, low), np.where(is_there, high, middle)
        return low

    def in_order(self, index: int, workers: Words) -> BoolArray:
        """Sets as arrays over places in the order of arrival, shape ``(n_sets, n_workers)``."""
        return unpacked(workers, self.n_workers)[:, self.order[index % self.n_rounds]]


def _ends_of_runs(is_tied: BoolArray) -> IntArray:
    """The last place of the run of ties that each place is in, from whether it is tied with the next."""
    n_rounds, n_pairs = is_tied.shape
    ends = np.where(is_tied, n_pairs + 1, np.arange(n_pairs))
    ends = np.concatenate([ends, np.full((n_rounds, 1), n_pairs)], axis=1)
    return np.asarray(np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1])


def replay(settings: Rule, measured: MeasuredRounds, rules: Sequence[MasterRule]) -> Played:
    """Play all settings.

    Parameters
    ----------
    settings
        A new run of each.
    measured
        What it meets.
    rules
        One after the other, each for an equal share of the settings. All wait for all, or all for enough.
    """
    settings.is_search = True
    loads = settings.loads_of_all()
    rounds = _Rounds(measured, loads, rules)
    for index in range(len(loads)):
        settings.open(index)
        accepts = functools.partial(permits, settings.sets, settings.alternatives())
        given: Words = settings.busy()
        busy = None if given is settings.sets.everybody else given
        if busy is not None:
            rounds.keep_to(index, busy)
        missing = rounds.missing(index, rounds.n_at_look[index], busy)
        stops = rounds.looks[index] & (accepts(missing) | (rounds.n_at_look[index] >= rounds.last[index]))
        if not stops.all():
            rounds.wait(index, accepts, busy, stops)
            missing = rounds.missing(index, rounds.n_arrived[index], busy)
        settings.remember(missing, None)
        rounds.stragglers[index] = size(missing)
    return rounds.played()


class _Rounds:
    """Rounds: what is known of all of them beforehand, and how they went; shape ``(n_rounds, n_settings)``."""

    def __init__(self, measured: MeasuredRounds, loads: FloatArray, rules: Sequence[MasterRule]) -> None:
        [self._waits_for] = {rule.waits_for for rule in rules}
        assert self._waits_for != "nobody"
        assert all((rule.timeout_s, rule.poll_s) == (None, None) for rule in rules)
        self._measured, self._loads = measured, loads
        self._indices = np.arange(len(loads))[:, np.newaxis]
        self.first = np.ones(loads.shape, dtype=np.int64)  # how many have arrived when the first that has work has
        self.last = np.full(loads.shape, measured.n_workers)
        self._n_given = np.full(loads.shape, measured.n_workers)
        self.stragglers = np.empty(loads.shape, dtype=np.int64)
        self.looks = np.zeros(loads.shape, dtype=np.bool_)  # at some instant, and not at each arrival
        self._wanted_s = np.full(loads.shape, np.inf)
        self.n_at_look = np.zeros(loads.shape, dtype=np.int64)
        n_each = loads.shape[1] // len(rules)
        self._looking = [  # the settings of each rule that looks at some instant
            (rule, slice(place * n_each, (place + 1) * n_each))
            for place, rule in enumerate(rules)
            if rule.wants_s(0.0) is not None
        ]
        for rule, settings in self._looking:
            self.looks[:, settings] = True
            self._know_looks(rule, settings)
        self.n_arrived = self.n_at_look.copy()
        self._stops = self.looks.copy()

    def _know_looks(self, rule: MasterRule, settings: slice) -> None:
        """Find when the master looks at rounds in which everybody has work; each load in each measured round once."""
        n_measured, n_rounds = self._measured.n_rounds, len(self._loads)
        _, some, which = np.unique(self._loads[:, settings], axis=1, return_index=True, return_inverse=True)
        loads = self._loads[:, settings][:, some]
        is_known = self._indices[:, 0] >= n_measured
        is_known[n_measured:] &= (loads[n_measured:] == loads[:-n_measured]).all(axis=1)
        new = np.flatnonzero(~is_known)
        wanted_s, n_by = np.empty(loads.shape), np.empty(loads.shape, dtype=np.int64)
        wanted_s[new], n_by[new] = self._look(rule, self._indices[new], loads[new])
        for index in range(n_measured, n_rounds):
            if is_known[index]:
                wanted_s[index], n_by[index] = wanted_s[index - n_measured], n_by[index - n_measured]
        self._wanted_s[:, settings], self.n_at_look[:, settings] = wanted_s[:, which], n_by[:, which]

    def _look(self, rule: MasterRule, indices: IntArray, loads: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return when the master wants to look, and how many have arrived when it does."""
        rank = rule.reference_rank(self._measured.n_workers)
        reference_s = self._measured.arrivals_s(indices, np.maximum(rank, np.ones(loads.shape, dtype=np.int64)), loads)
        wanted_s = np.broadcast_to(np.asarray(rule.wants_s(reference_s), dtype=np.float64), loads.shape)
        first_s = self._measured.arrivals_s(indices, np.ones(loads.shape, dtype=np.int64), loads)
        return wanted_s, self._measured.n_by(indices, np.maximum(wanted_s, first_s), loads)

    def keep_to(self, index: int, busy: Words) -> None:
        """Note that only some workers have work in a round."""
        places, n_workers = self._measured.in_order(index, busy), self._measured.n_workers
        n_busy = np.count_nonzero(places, axis=1)
        self._n_given[index] = n_busy
        self.first[index] = places.argmax(axis=1) + 1
        self.last[index] = n_workers - places[:, ::-1].argmax(axis=1)
        for rule, settings in self._looking:
            first, loads = self.first[index, settings], self._loads[index, settings]
            rank = np.broadcast_to(np.maximum(1, rule.reference_rank(n_busy[settings])), first.shape)
            reference = first
            if (rank > 1).any():
                reference = (np.cumsum(places[settings], axis=1) >= rank[:, np.newaxis]).argmax(axis=1) + 1
            indices = np.full(len(first), index)
            self._wanted_s[index, settings] = rule.wants_s(self._measured.arrivals_s(indices, reference, loads))
            first_s = self._measured.arrivals_s(indices, first, loads)
            look_s = np.maximum(self._wanted_s[index, settings], first_s)
            self.n_at_look[index, settings] = self._measured.n_by(indices, look_s, loads)
        self.n_arrived[index] = self.n_at_look[index]

    def missing(self, index: int, n_arrived: IntArray, busy: Words | None) -> Words:
        """Return the workers missing after so many arrivals."""
        missing = self._measured.missing_after(index, n_arrived)
        return missing if busy is None else missing & busy

    def wait(self, index: int, accepts: Callable[[Words], BoolArray], busy: Words | None, stops: BoolArray) -> None:
        """Go on in the settings whose master does not stop when it looks."""
        low, high = self.n_at_look[index], self.last[index]
        if self._waits_for == "enough":
            low = np.where(stops, high, low)
            while (high - low > 1).any():
                middle = (low + high) // 2
                accepted = accepts(self.missing(index, middle, busy))
                low, high = np.where(accepted, low, middle), np.where(accepted, middle, high)
            high = self._measured.with_tied(index, np.maximum(high, self.first[index]))
        self.n_arrived[index] = np.where(stops, self.n_at_look[index], high)
        self._stops[index] = stops

    def played(self) -> Played:
        """Return the outcome of the rounds."""
        last_s = self._measured.arrivals_s(self._indices, self.last, self._loads)
        first_s = self._measured.arrivals_s(self._indices, self.first, self._loads)
        if first_s.min() < 0:
            raise ValueError(NEGATIVE)
        stopped_s = np.minimum(np.maximum(self._wanted_s, first_s), last_s)
        waited_s = self._measured.arrivals_s(self._indices, np.maximum(self.n_arrived, 1), self._loads)
        duration_s = np.where(self._n_given == 0, 0.0, np.where(self._stops, stopped_s, waited_s))
        return Played(duration_s, np.maximum(0.0, duration_s - self._wanted_s), self.stragglers, self._n_given)
