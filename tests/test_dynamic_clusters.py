"""Clusters over which stragglers are dealt out: against workers moved by hand, one by one, and what it is worth."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adaptive import run

import stragglersim
from schemes import DynamicClusters
from schemes.base.playing import play
from schemes.dynamic_clusters import dealt
from simulator.engine.master_rules import FirstEnough
from simulator.engine.worker_times import round_times
from stragglersim import Scenario


def moved(clusters, stragglers):
    """Deal stragglers out in lists of workers, cluster by cluster: one change of places at a time."""
    clusters = [list(cluster) for cluster in clusters]
    share, more = divmod(len(stragglers), len(clusters))
    have = [sum(worker in stragglers for worker in cluster) for cluster in clusters]
    wanted = [share] * len(clusters)
    for _ in range(more):  # one more for whoever has most, of equal ones the first
        wanted[max((c for c in range(len(clusters)) if wanted[c] == share), key=lambda c: (have[c], -c))] += 1
    going = [(c, w) for c, cluster in enumerate(clusters) for w in last(cluster, stragglers, have[c] - wanted[c], True)]
    coming = [
        (c, w) for c, cluster in enumerate(clusters) for w in last(cluster, stragglers, wanted[c] - have[c], False)
    ]
    for (a, straggler), (b, other) in zip(going, coming, strict=True):
        i, j = clusters[a].index(straggler), clusters[b].index(other)
        clusters[a][i], clusters[b][j] = other, straggler
    return clusters


def last(cluster, stragglers, n, are_stragglers):
    """The n workers of the highest numbers of those that are stragglers, or are not."""
    return sorted(w for w in cluster if (w in stragglers) == are_stragglers)[-n:] if n > 0 else []


def as_lists(places, n_clusters):
    return np.argsort(places).reshape(n_clusters, -1).tolist()


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_stragglers_are_dealt_out_evenly(n_clusters, size, data):
    n = n_clusters * size
    places = np.array(data.draw(st.permutations(range(n))))
    stragglers = data.draw(st.sets(st.integers(0, n - 1)))
    found = dealt(places, np.isin(np.arange(n), [*stragglers]), n_clusters)
    assert as_lists(found, n_clusters) == moved(as_lists(places, n_clusters), stragglers)
    n_each = [sum(worker in stragglers for worker in cluster) for cluster in as_lists(found, n_clusters)]
    assert max(n_each) - min(n_each) <= 1


@pytest.mark.parametrize("moves", [True, False])
def test_whoever_may_be_missing(moves):
    # every pattern of two rounds with 4 workers in 2 clusters, of which each tolerates one straggler
    scheme = DynamicClusters(4, clusters=2, r=2, moves=moves)
    for first, second in itertools.product(itertools.product([False, True], repeat=4), repeat=2):
        pattern = np.array([first, second])
        _, accepted = play(scheme, 2, lambda index, busy, pattern=pattern: pattern[index])
        clusters = [[0, 1], [2, 3]]
        for index, missing in enumerate(pattern):
            assert accepted[index] == all(sum(missing[cluster]) <= 1 for cluster in clusters)
            clusters = moved(clusters, {*np.flatnonzero(missing)}) if moves else clusters


def test_slow_workers_are_spread_before_one_more_is_slow():
    # workers 0 and 1 are slow, which their cluster of four can bear; then worker 2, too
    times = np.ones((5, 8))
    times[:, :2] = times[1:, 2] = 9.0
    codes = [DynamicClusters(8, clusters=2, r=3, moves=moves) for moves in (False, True)]
    static, dynamic = (run(code, times, FirstEnough(), 5) for code in codes)
    assert static.rounds.duration_s == [1.375] + [9.375] * 4
    assert dynamic.rounds.duration_s == [1.375] * 5


@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_a_round_of_fixed_clusters_is_the_slowest_order_statistic(engine):
    # the time of a cluster of m is the (m - r + 1)-th smallest of its times
    scheme = {"kind": "dynamic_clusters", "clusters": 3, "r": 2, "moves": False}
    noise = {"kind": "lognormal", "median": 1.0, "sigma": 0.5, "adds_to": "startup_s"}
    scenario = Scenario(workers=12, jobs=50, stragglers={"noise": noise}, schemes={"static": scheme})
    times = np.array([each.startup_s for each in round_times(scenario.stragglers, 12, scenario.seed, 0, 50)])
    expected = np.sort(times.reshape(50, 3, 4), axis=2)[:, :, 2].max(axis=1)
    rounds = stragglersim.run(scenario, engine=engine).rounds
    assert rounds["duration_s"].to_numpy() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"clusters": 4, "r": 1}, "clusters must divide the 6 workers, got 4"),
        ({"clusters": 2, "r": 4}, "r must be between 1 and 3, the workers of a cluster, got 4"),
    ],
)
def test_what_is_no_cluster_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        DynamicClusters(6, **values)
