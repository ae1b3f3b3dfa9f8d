"""Intervals of time: unions, intersections, differences and lengths, for very many at once."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from simulator.parameters import BoolArray, FloatArray, IntArray


class Intervals(NamedTuple):
    """Intervals that have no point in common, in order."""

    begin: FloatArray
    end: FloatArray


EVERYWHERE = Intervals(np.array([-np.inf]), np.array([np.inf]))


def union_by(group: IntArray, begin: FloatArray, end: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Unite the intervals of each group.

    Examples
    --------
    >>> of, begin, end = union_by(np.array([1, 0, 1]), np.array([2.0, 1.0, 1.0]), np.array([4.0, 2.0, 3.0]))
    >>> of.tolist(), begin.tolist(), end.tolist()
    ([0, 1], [1.0, 1.0], [2.0, 4.0])
    """
    if not len(group):
        return group, begin, end
    order = np.lexsort((begin, group))
    group, begin, end = group[order], begin[order], end[order]
    reached = pd.Series(end).groupby(group).cummax().to_numpy()
    is_first = np.ones(len(group), dtype=np.bool_)
    is_first[1:] = (group[1:] != group[:-1]) | (begin[1:] > reached[:-1])
    firsts = np.flatnonzero(is_first)
    lasts = np.append(firsts[1:], len(group)) - 1
    return group[firsts], begin[firsts], reached[lasts]


def union(begin: FloatArray, end: FloatArray) -> Intervals:
    """Unite intervals."""
    return Intervals(*union_by(np.zeros(len(begin), dtype=np.int64), begin, end)[1:])


def common(one: Intervals, other: Intervals) -> Intervals:
    """Return what is in both.

    Examples
    --------
    >>> common(Intervals(np.array([0.0, 5.0]), np.array([3.0, 9.0])), Intervals(np.array([2.0]), np.array([6.0])))
    Intervals(begin=array([2., 5.]), end=array([3., 6.]))
    """
    bounds = np.unique(np.concatenate([*one, *other]))
    is_in = holds(one, bounds[:-1]) & holds(other, bounds[:-1])
    return Intervals(bounds[:-1][is_in], bounds[1:][is_in])


def difference(one: Intervals, other: Intervals) -> Intervals:
    """Return what is in one, but not in the other."""
    outside = Intervals(np.append(-np.inf, other.end), np.append(other.begin, np.inf))
    return common(one, outside)


def covered(intervals: Intervals, begin: FloatArray, end: FloatArray) -> FloatArray:
    """Return how much of each stretch from ``begin`` to ``end`` the intervals cover.

    Examples
    --------
    >>> covered(Intervals(np.array([1.0, 4.0]), np.array([2.0, 8.0])), np.array([0.0, 5.0]), np.array([5.0, 6.0]))
    array([2., 1.])
    """
    if not len(intervals.begin):
        return np.zeros(len(begin))
    low, high = np.minimum(begin.min(initial=0), 0), np.maximum(end.max(initial=0), 0)  # instead of infinite bounds
    starts, ends = np.clip(intervals.begin, low, high), np.clip(intervals.end, low, high)
    before = np.append(0.0, np.cumsum(ends - starts))

    def until(instant: FloatArray) -> FloatArray:
        place = np.searchsorted(starts, instant, side="right") - 1
        return np.where(place < 0, 0.0, before[place] + np.minimum(instant, ends[place]) - starts[place])

    return np.asarray(until(end) - until(begin))


def holds(intervals: Intervals, points: FloatArray) -> BoolArray:
    """Say which points are in an interval, its begin included and its end not."""
    n_begun = np.searchsorted(intervals.begin, points, side="right")
    return np.asarray(n_begun > np.searchsorted(intervals.end, points, side="right"))
