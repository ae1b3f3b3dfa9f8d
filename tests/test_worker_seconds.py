"""Seconds in which workers are at work: brute force from the table of workers, and by hand."""

import heapq
import math

import numpy as np
import pytest
from test_engine import FREE, starts, times_of
from training_examples import EXACT_SCHEMES, STRAGGLERS, scenario

import stragglersim
from schemes import BackupTasks, BoundedStaleness, Dsag, FastestK, KAsync, KBatchAsync, Phase, Uncoded
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, MuRule
from simulator.engine.record import RunRecord
from simulator.engine.training import Training
from simulator.engine.worker_seconds import worker_seconds
from straggler_models import Constant, MarkovSpeed
from workloads import LeastSquares

TRAINING = Training(workload=LeastSquares(), learning_rate=0.1)


# --- brute force from the table of workers ---


def at_work_s(workers, starts_s, stops_s, time_s, leftover):
    """Seconds until some time; a list begins when its round does, or when its worker is through with older ones."""
    free_s, total = {}, 0.0
    for row in workers.sort_values("round").itertuples():
        start_s, stop_s = starts_s[row.round], stops_s[row.round]
        if start_s >= time_s or math.isnan(row.finished_s):
            continue
        end_s = start_s + row.finished_s  # inf: cut off, by the end of the round or by that of the run
        if leftover == "cancel":
            end_s = min(end_s, stop_s)
        begin_s = max(start_s, free_s.get(row.worker, 0.0))
        total += max(0.0, min(end_s, time_s) - begin_s)
        free_s[row.worker] = end_s
    return total


SPELLS = {"spells": MarkovSpeed([{"slowdown": 1.0, "mean_s": 5.0}, {"slowdown": 6.0, "mean_s": 1.0}])}


@pytest.mark.parametrize("leftover", ["cancel", "finish"])
@pytest.mark.parametrize("spells", [{}, SPELLS], ids=["rounds", "seconds"])
def test_worker_seconds_are_those_of_the_table_of_workers(leftover, spells):
    schemes = {label: of for label, of in EXACT_SCHEMES.items() if leftover == "finish" or not of.hears_late}
    if spells:
        del schemes["ideal"]
    given = scenario(
        schemes | {"k": FastestK(8, k=5)},
        TRAINING,
        trials=2,
        jobs=24,
        stragglers=STRAGGLERS | spells,
        leftover=leftover,
        master=MuRule(mu=0.5, wait_for="enough"),
        round_overhead_s=0.25,
    )
    results = stragglersim.run(given, detail="workers")
    n_compared = 0
    for key, steps in results.training.groupby(["scheme", "trial"]):
        rounds, workers = (
            table[(table["scheme"] == key[0]) & (table["trial"] == key[1])]
            for table in (results.rounds, results.workers)
        )
        starts_s = dict(zip(rounds["round"], rounds["start_s"], strict=True))
        stops_s = dict(zip(rounds["round"], rounds["start_s"] + rounds["duration_s"], strict=True))
        for step in steps.itertuples():
            assert step.worker_s == pytest.approx(at_work_s(workers, starts_s, stops_s, step.time_s, leftover))
            n_compared += 1
    assert n_compared == 28 * 2 * len(given.schemes)


def test_workers_that_never_stop_working_cost_all_their_time():
    given = scenario({"all": Uncoded(3)}, TRAINING, models=None, jobs=4, stragglers={"usual": Constant(2.0)})
    assert stragglersim.run(given).training["worker_s"].tolist() == [0.0, 6.0, 12.0, 18.0, 24.0]


# --- by hand, three workers ---


class Summed(RunRecord):
    """The seconds until the end of each round."""

    def __init__(self, *given):
        super().__init__(*given)
        self.until_s = [0.0]

    def round_closed(self, closed):
        super().round_closed(closed)
        self.until_s.append(self.until_s[-1] + worker_seconds(closed))


def seconds(scheme, n_jobs, rows, again=(), rule=None, leftover="cancel", overhead_s=0.0, action_overhead_s=0.0):
    record = Summed(scheme.n_workers, n_jobs)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=times_of(rows),
        speeds=None,
        rule=rule or FirstEnough(),
        leftover=leftover,
        round_overhead_s=overhead_s,
        network=FREE,
        rng=np.random.default_rng(0),
        again=lambda k: times_of(again[k - 1]),
        action_overhead_s=action_overhead_s,
    )
    simulate(plan, record)
    return record.until_s[1:]


@pytest.mark.parametrize(
    ("rows", "how", "expected"),
    [
        # worker 0 copies chunk 2 from 2 to 5 s: 1 + 3, 2, and 5 s that are in vain
        ([1, 2, 9], {}, 11.0),
        # the original is done at 4 s, and the copy is cut off: 1 + 2, 2, 4
        ([1, 2, 4], {}, 9.0),
        # it is cancelled at 2 s: 1 + 3, 2, 2
        ([1, 2, 9], {"relaunch": True}, 8.0),
        # the copy begins half a second later, in which worker 0 is idle: 1 + 3, 2, 5.5
        ([1, 2, 9], {"action_overhead_s": 0.5}, 11.5),
        # an original that never ends is cut off like any other
        ([1, 2, math.inf], {}, 11.0),
    ],
)
def test_originals_and_copies_cost_what_they_are_at_work(rows, how, expected):
    backup = BackupTasks(3, policy={"after": "share", "share": 2 / 3}, relaunch="relaunch" in how)
    overhead_s = how.get("action_overhead_s", 0.0)
    assert seconds(backup, 1, starts(rows), [starts([3, 9, 9])], action_overhead_s=overhead_s) == [expected]


def test_who_goes_on_is_at_work_and_who_waits_for_the_update_is_not():
    # round 0 until 2 s: 1, 2, 2; until 5 s: workers 0 and 1 began at 2 s, 3 + 1 + 3; until 9 s: 2 + 4 + 4
    rows = starts([1, 2, 9], [3, 1, 99], [2, 8, 99])
    assert seconds(KAsync(3, k=2), 3, rows) == [5.0, 12.0, 22.0]
    # with an overhead of 0.5 s, worker 2 goes on during it, and is done at 9 s all the same
    assert seconds(KAsync(3, k=2), 3, rows, overhead_s=0.5) == [5.5, 13.0, 21.5]


def test_what_has_not_begun_when_a_round_ends_is_no_work_yet():
    # worker 0 gets a list at 1 s that begins at 1.5 s; until 1.25 s: 1, 1.25, 1.25
    # until 4.25 s: worker 0 from 1.5 to 3.5 s and again from 4 s, worker 1 from 1.25 to 4.25 s, worker 2
    again = [starts([2, 9, 9], [1, 9, 9])]
    scheme = KBatchAsync(3, k=2)
    assert seconds(scheme, 2, starts([1, 1.25, 9], [9, 3, 9]), again, action_overhead_s=0.5) == [3.5, 3.5 + 8.25]


def test_a_list_may_begin_some_rounds_after_it_has_been_given_out():
    # worker 0 gets one at 1 s, which begins at 4 s, and worker 1 one at 2.5 s, which begins at 5.5 s
    rows, again = starts([1, 2, 3], [9, 0.5, 9], [9, 9, 1]), [starts([2, 9, 9], [9, 2, 9], [9, 9, 9])]
    # until 2 s: 1, 2, 2; until 3 s: 0, 0.5, 1; until 6 s: 2, 0.5, 1
    assert seconds(KBatchAsync(3, k=2), 3, rows, again, action_overhead_s=3.0) == [5.0, 6.5, 10.0]


def test_workers_that_wait_for_the_slowest_are_not_at_work():
    # in step: 3 updates at 1, 2 and 4 s; then all begin the next pass at 4 s
    rows = starts([1, 2, 4], [9, 9, 9], [9, 9, 9], [1, 1, 2], [9, 9, 9], [9, 9, 9])
    assert seconds(BoundedStaleness(3, staleness=0), 6, rows) == [3.0, 5.0, 7.0, 10.0, 10.0, 11.0]


def test_a_stale_worker_that_begins_anew_is_at_work_again():
    # until 1 s; then worker 1 comes at 3 s and begins anew, and worker 0 at 4 s: all three have worked all the time
    rows, again = starts([1, 3, 9], [3, 99, 99]), [starts([99, 99, 99], [99, 9, 99])]
    assert seconds(Dsag(3, w=1), 2, rows, again) == [3.0, 12.0]


def impatient(scheme):
    """The same, but unfinished lists are dropped at the end of the second round."""

    class Impatient(type(scheme)):
        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            session.leftover = lambda: "cancel" if session.job == 1 else "finish"
            return session

    return Impatient(scheme.n_workers, k=scheme.k)


def test_lists_of_earlier_rounds_are_dropped_when_the_session_says_so():
    # until 1 s and 2 s all three work; then worker 0 and 2 have nothing, and worker 1 works until 3 s
    rows = starts([1, 2, 9], [9, 9, 9], [9, 1, 9])
    assert seconds(impatient(KAsync(3, k=1)), 3, rows) == [3.0, 6.0, 7.0]
    # as above until 3 s; then worker 0's list never begins; worker 2 works from 3 to 4 s and from 7 to 8 s
    rows, again = starts([1, 2, 3], [9, 0.5, 9], [9, 9, 1]), [starts([2, 9, 9], [9, 2, 9], [9, 9, 1])]
    assert seconds(impatient(KBatchAsync(3, k=2)), 3, rows, again, action_overhead_s=3.0) == [5.0, 6.5, 8.5]


def test_a_copy_that_is_dropped_costs_what_it_has_taken():
    class Changing(BackupTasks):
        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            act = session.act

            def change(now_s, progress):
                session.look_s = 3.0
                return act(now_s, progress) if now_s < 3.0 else Phase({}, dropped=[0])

            session.act = change
            return session

    # worker 0's copy is of 2 to 3 s, and the original goes on to 9 s
    scheme = Changing(3, policy={"after": "share", "share": 2 / 3})
    assert seconds(scheme, 1, starts([1, 2, 9]), [starts([3, 9, 9])]) == [1 + 1 + 2 + 9]


@pytest.mark.parametrize("leftover", ["cancel", "finish"])
def test_what_never_ends_counts_until_its_round_is_closed(leftover):
    rule = FirstEnough(timeout_s=3.0)
    assert seconds(Uncoded(3), 2, starts([1, math.inf, 2], [1, 1, 1]), rule=rule, leftover=leftover) == [6.0, 9.0]


def brute_async(times, n, k, n_updates):
    """Worker seconds until each update; ``times[u][w]``: how long worker w takes that began at update u."""
    lists = [(0.0, times[0][worker]) for worker in range(n)]
    due = [(times[0][worker], worker) for worker in range(n)]
    heapq.heapify(due)
    found = []
    for update in range(n_updates):
        used = [heapq.heappop(due) for _ in range(k)]
        now_s = used[-1][0]
        found.append(sum(min(end_s, now_s) - begin_s for begin_s, end_s in lists))
        for _, worker in used if update + 1 < n_updates else []:
            lists.append((now_s, now_s + times[update + 1][worker]))
            heapq.heappush(due, (lists[-1][1], worker))
    return found


@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 1), (5, 2), (6, 5), (3, 3)])
def test_k_async_costs_what_brute_force_says(n, k):
    times = 1 + np.random.default_rng(n).exponential(size=(40, n))
    assert seconds(KAsync(n, k=k), 40, starts(*times)) == pytest.approx(brute_async(times, n, k, 40))
