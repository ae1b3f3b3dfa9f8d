"""Rounds with phases, late responses that end rounds, and the schemes that use them: by hand, brute force, formula."""

import heapq
import math

import numpy as np
import pytest
from test_engine import FREE, durations, starts, statuses, times_of

import stragglersim
from schemes import (
    BackupTasks,
    BoundedStaleness,
    Dsag,
    FastestK,
    KAsync,
    KBatchAsync,
    KBatchSync,
    Phase,
    SelectiveRepeat,
    ToDoList,
    Uncoded,
)
from schemes.base.codec import Result
from schemes.base.scheme import Session
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.result_gradients import Begun, ResultGradients
from stragglersim import SimulationError
from workloads import LeastSquares

SHARE = {"after": "share", "share": 0.5}


def run(
    scheme,
    n_jobs,
    rows,
    rule=None,
    again=(),
    action_overhead_s=0.0,
    network=FREE,
    overhead_s=0.0,
    leftover="cancel",
    collector=None,
):
    """``again``: worker times of the k-th further lists, for k = 1, 2, ..."""
    record = collector or RunRecord(scheme.n_workers, n_jobs, keeps_workers=True)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=times_of(rows),
        speeds=None,
        rule=rule or FirstEnough(),
        leftover=leftover,
        round_overhead_s=overhead_s,
        network=network,
        rng=np.random.default_rng(0),
        again=lambda k: times_of(again[k - 1]),
        action_overhead_s=action_overhead_s,
    )
    simulate(plan, record)
    return record


# --- backup tasks ---


def test_the_first_of_original_and_copy_counts():
    backup = BackupTasks(4, policy=SHARE)
    record = run(backup, 1, starts([1, 2, 9, 4]), again=[starts([3, 1, 0, 0])])
    assert durations(record) == [5.0]  # at 2 s, worker 0 copies chunk 2 (done at 5), worker 1 chunk 3 (at 3)
    assert (record.rounds.phases, record.rounds.stragglers, statuses(record)) == ([2], [1], ["decoded"])


def test_what_is_given_out_late_begins_after_the_overhead_of_an_action():
    backup = BackupTasks(4, policy=SHARE)
    record = run(backup, 1, starts([1, 2, 9, 4]), again=[starts([3, 1, 0, 0])], action_overhead_s=0.5)
    assert durations(record) == [5.5]


def test_copies_begin_at_a_deadline():
    backup = BackupTasks(3, policy={"after": "deadline", "deadline_s": 2.5})
    # worker 0 copies chunk 1 from 2.5 to 4.5 s, then chunk 2, which its second further list says takes 1 s
    record = run(backup, 1, starts([1, 9, 9]), again=[starts([2, 0, 0]), starts([1, 0, 0])])
    assert (durations(record), record.rounds.phases) == ([5.5], [3])


def test_relaunching_cancels_the_original():
    backup = BackupTasks(2, policy=SHARE, relaunch=True)
    record = run(backup, 1, starts([1, 4]), again=[starts([9, 0])])
    assert durations(record) == [10.0]
    # worker 1 had done a quarter of its half when it was cancelled
    assert record.load_done == pytest.approx(0.5 + 0.5 * 0.25 + 0.5)
    assert record.rounds.stragglers == [1]


def test_the_task_with_the_longest_remaining_time_is_copied_first():
    late = BackupTasks(4, policy={"after": "late", "max_copies": 1, "heartbeat_s": 2.0})
    record = run(late, 1, starts([1, 5, 9, 8]), again=[starts([3, 3, 3, 3]), starts([1, 0, 0, 0])])
    # at 2 s a copy of chunk 2 begins, done at 5 s; at 6 s one of chunk 3, by worker 1 or 0: whoever was idle first
    assert record.rounds.phases == [3]
    assert durations(record) == [8.0]


def brute_backup(first_s, copy_s, k):
    """Copies of what is missing begin when k results are there: chunks in order, for who finished first."""
    order = np.argsort(first_s, kind="stable")
    at_s = first_s[order[k - 1]]
    idle = [worker for worker in order.tolist() if first_s[worker] <= at_s]
    missing = [chunk for chunk in range(len(first_s)) if first_s[chunk] > at_s]
    copied = dict(zip(missing, idle, strict=False))
    return max([at_s, *(min(first_s[c], at_s + copy_s[copied[c]]) if c in copied else first_s[c] for c in missing)])


def test_backup_tasks_take_as_long_as_brute_force_says():
    rng = np.random.default_rng(3)
    for n, k in [(4, 3), (6, 4), (9, 8), (5, 5)]:
        first, copies = 1 + rng.exponential(size=(20, n)), 1 + rng.exponential(size=(20, n))
        backup = BackupTasks(n, policy={"after": "share", "share": k / n})
        record = run(backup, 20, starts(*first), again=[starts(*copies)])
        assert durations(record) == pytest.approx([brute_backup(*both, k) for both in zip(first, copies, strict=True)])


# --- asynchronous updates ---


def brute_async(times, n, k, n_updates):
    """Seconds at which updates happen; ``times[u][w]``: how long worker w takes that began at update u."""
    due = [(times[0][worker], worker) for worker in range(n)]
    heapq.heapify(due)
    came, ends = [], []
    for update in range(n_updates):
        while len(came) < k:
            came.append(heapq.heappop(due))
        used, came = came[:k], came[k:]
        ends.append(max(used[-1][0], ends[-1] if ends else 0.0))
        if update + 1 < n_updates:
            for _, worker in used:
                heapq.heappush(due, (ends[-1] + times[update + 1][worker], worker))
    return ends


@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 1), (5, 2), (6, 5), (3, 3)])
def test_k_async_updates_when_brute_force_says(n, k):
    times = 1 + np.random.default_rng(n).exponential(size=(60, n))
    record = run(KAsync(n, k=k), 60, starts(*times))
    assert np.cumsum(durations(record)) == pytest.approx(brute_async(times, n, k, 60))
    assert sum(record.rounds.stale) > 0 or n in (1, k)


def test_k_async_of_all_is_synchronous():
    times = starts(*(1 + np.random.default_rng(0).exponential(size=(30, 4))))
    assert durations(run(KAsync(4, k=4), 30, times)) == durations(run(FastestK(4, k=4), 30, times))


def test_responses_that_come_at_once_make_updates_one_after_the_other():
    record = run(KAsync(4, k=1), 4, starts(*[[1.0] * 4] * 4))
    assert durations(record) == [1.0, 0.0, 0.0, 0.0]


def per_update_s(scheme, n_jobs=8_000):
    scenario = stragglersim.Scenario(
        workers=10,
        jobs=n_jobs,
        stragglers={"usual": {"kind": "shifted_exponential", "shift": 1.0, "mean": 0.5, "adds_to": "startup_s"}},
        schemes={"it": scheme},
    )
    return float(stragglersim.run(scenario).runs["makespan_s"].iloc[0]) / n_jobs


@pytest.mark.parametrize(
    ("scheme", "seconds"),
    [
        (KAsync(10, k=1), 0.150),
        (KAsync(10, k=2), 0.316),
        (KAsync(10, k=5), 0.953),
        (KBatchAsync(10, k=4), 4 * 1.5 / 10),
        (BoundedStaleness(10, staleness=1_000), 0.150),
    ],
    ids=repr,
)
def test_seconds_per_update_are_those_of_renewal_theory_and_brute_force(scheme, seconds):
    assert per_update_s(scheme) == pytest.approx(seconds, rel=0.01)


def test_workers_in_step_take_a_round_of_all_for_each_pass():
    times = 1 + np.random.default_rng(1).exponential(size=(12, 3))
    ends = np.cumsum(durations(run(BoundedStaleness(3, staleness=0), 12, starts(*times))))
    # everybody begins the next pass with the update of the last
    last, expected = 0.0, []
    for first in range(0, 12, 3):
        expected += sorted(last + times[first])
        last = expected[-1]
    assert ends == pytest.approx(expected)


def test_late_responses_pass_the_network_and_count_in_a_later_round():
    record = run(
        KAsync(2, k=1), 3, starts([1, 2.5], [1, 9], [9, 9]), network=Network(latency_s=0.25, gradient_bytes=8.0)
    )
    assert durations(record) == pytest.approx([1.25, 1.25, 0.25])
    assert record.rounds.stale == [0, 0, 1]


def test_a_response_that_comes_while_the_master_is_busy_makes_the_next_update_at_once():
    record = run(KAsync(2, k=1), 2, starts([1, 1.2], [9, 9]), overhead_s=0.5)
    assert durations(record) == [1.0, 0.0]
    assert record.makespan_s == 2.0


# --- batches ---


def test_k_batch_sync_takes_the_first_results_of_all_who_go_on():
    again = [starts([1, 9, 9]), starts([1, 9, 9])]
    record = run(KBatchSync(3, k=3), 1, starts([1, 2.5, 9]), again=again)
    assert durations(record) == [2.5]  # worker 0 at 1 and 2 s, worker 1 at 2.5 s
    assert (record.rounds.phases, record.rounds.stragglers) == ([3], [2])
    # chunks 0, 0 again (the first to be given out once more), 1: weights 2, 1, 0 against 1, 1, 1
    assert record.jobs.squared_error == [2.0]


def test_no_work_is_given_out_once_there_is_enough():
    record = run(KBatchSync(2, k=1), 1, starts([1, 2]), MuRule(mu=3.0), again=[starts([1, 1])])
    assert (durations(record), record.rounds.phases) == ([2.0], [1])


# --- DSAG ---


def test_dsag_uses_stale_results_and_lets_their_workers_begin_anew():
    dsag = Dsag(3, w=1)
    record = run(dsag, 3, starts([1, 3, 9], [3, 9, 9], [9, 2, 9]), again=[starts(*[[9, 9, 9]] * 3)])
    # round 1: worker 0 is back after 3 s; before, worker 1 comes, stale, and begins anew with its times of the round
    assert durations(record)[:2] == [1.0, 3.0]
    assert record.rounds.stale[:2] == [0, 1]
    assert record.jobs.squared_error[:2] == [6.0, 1.5]  # 3 (3 - m) / m with m = 1, then 2 chunks


# --- fresh and stale results, and who takes part ---


def used(record):
    return [block["used"].tolist() for block in record.workers]


def test_fresh_and_stale_results_of_dsag_and_participation():
    record = run(Dsag(3, w=1), 3, starts([1, 3, 9], [3, 9, 9], [9, 2, 9]), again=[starts(*[[9, 9, 9]] * 3)])
    # on the clock: worker 0 at 1, 4 and 13 s, each fresh; worker 1 at 3 and 12 s, worker 2 at 9 s, all stale
    assert (record.rounds.fresh, record.rounds.stale) == ([1, 1, 1], [0, 1, 2])
    assert used(record) == [[True, False, False], [True, True, False], [True, True, True]]
    assert np.mean(used(record), axis=0) == pytest.approx([1, 2 / 3, 1 / 3])


def test_fresh_and_stale_results_of_k_async():
    record = run(KAsync(3, k=1), 3, starts([1, 2.5, 9], [1, 9, 9], [9, 9, 9]))
    assert (record.rounds.fresh, record.rounds.stale) == ([1, 1, 0], [0, 0, 1])
    assert used(record) == [[True, False, False], [True, False, False], [False, True, False]]


def test_results_beyond_the_kth_are_used_by_the_next_update():
    record = run(KAsync(3, k=1), 2, starts([1, 1, 9], [9, 9, 9]))
    assert (record.rounds.fresh, record.rounds.stale) == ([2, 0], [0, 0])
    assert used(record) == [[True, False, False], [False, True, False]]


def test_an_original_that_comes_after_its_copy_is_fresh_and_not_used():
    backup = BackupTasks(3, policy={"after": "share", "share": 1 / 3})
    record = run(backup, 1, starts([1, 2.5, 6]), again=[starts([1, 0, 0]), starts([5, 0, 0])])
    # worker 0 copies chunk 1 (done at 2 s), then chunk 2 (would be at 7 s); worker 1 comes at 2.5 s, in vain
    assert (durations(record), record.rounds.fresh, record.rounds.stale) == ([6.0], [4], [0])
    assert used(record) == [[True, False, True]]


def test_late_responses_of_rounds_with_a_single_phase_are_stale_results():
    scheme = SelectiveRepeat(3, B=1, W=2, lam=1, late_responses="keep")
    record = run(scheme, 2, starts([1, 1, 1.5], [1, 1, 9], [1, 1, 9]), leftover="finish")
    # round 0 ends at 1 s without worker 2, whose response comes half a second into round 1
    assert (record.rounds.fresh[:2], record.rounds.stale[:2]) == ([2, 2], [0, 1])
    assert used(record)[:2] == [[True, True, False], [True, True, True]]


def test_a_groupby_of_workers_is_the_participation():
    scenario = stragglersim.Scenario(
        workers=3,
        jobs=40,
        stragglers={"usual": {"kind": "shifted_exponential", "shift": 1.0, "mean": 1.0, "adds_to": "startup_s"}},
        schemes={"sync": Uncoded(3), "2-sync": FastestK(3, k=2), "DSAG": Dsag(3, w=1)},
    )
    results = stragglersim.run(scenario, detail="workers")
    share = results.workers.groupby("scheme")["used"].mean()
    assert share[["sync", "2-sync"]].tolist() == pytest.approx([1, 2 / 3])
    each = results.workers.groupby(["scheme", "worker"])["used"].mean()["DSAG"]
    came = results.rounds[results.rounds["scheme"] == "DSAG"][["fresh", "stale"]].to_numpy().sum()
    assert each.sum() * 40 <= came
    assert len(each) == 3


def test_after_probing_a_scheme_says_whose_results_it_used():
    scenario = stragglersim.Scenario(
        workers=3,
        jobs=8,
        probe=2,
        stragglers={"usual": {"kind": "constant", "startup_s": 1.0}},
        schemes={"async": KAsync(3, k=1)},
    )
    workers = stragglersim.run(scenario, detail="workers").workers
    # all three come at once, each for an update of its own
    assert workers.groupby("round")["used"].sum().tolist() == [3, 3, 1, 1, 1, 1, 1, 1]


# --- to-do lists ---


def test_a_to_do_list_ends_with_the_kth_distinct_chunk():
    # seconds for each chunk of a worker: 1, 2, 4
    rows = [[(0.0, 3 * each, 1.0) for each in (1, 2, 4)]]
    assert durations(run(ToDoList(3, r=2, k=3), 1, rows)) == [4.0]  # 0: 0 at 1, 1 at 2; 1: 1 at 2, 2 at 4
    assert durations(run(ToDoList(3, r=2, k=2), 1, rows)) == [2.0]
    assert durations(run(ToDoList(3, r=3, k=3), 1, rows)) == [3.0]  # worker 0 does all
    down = run(ToDoList(3, r=2, k=3, order="staircase"), 1, rows)
    assert durations(down) == [4.0]


# --- the contract of a session that acts ---


class Greedy(KBatchSync):
    """Gives work to somebody who has some."""

    def start(self, n_jobs, rng):
        session = super().start(n_jobs, rng)
        session.act = lambda now_s, progress: Phase({1: [0.5]})
        return session


def test_work_for_a_worker_who_has_some_is_refused():
    with pytest.raises(SimulationError, match="round 0: new work must go to an idle worker, got worker 1"):
        run(Greedy(2, k=2), 1, starts([1, 9]), again=[starts([1, 1])])


def test_progress_is_the_share_of_time_and_nan_for_the_idle():
    seen = []

    class Curious(BackupTasks):
        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            session.act = lambda now_s, progress: seen.append((now_s, progress()))
            return session

    run(Curious(3, policy=SHARE), 1, starts([1, 4, 8]))
    assert seen[0][0] == 1.0
    np.testing.assert_allclose(seen[0][1], [math.nan, 0.25, 0.125])


def test_progress_of_a_list_that_is_carried_over_counts_from_when_it_began():
    seen = []

    class Curious(KAsync):
        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            session.acts = True
            session.act = lambda now_s, progress: seen.append((session.job, now_s, progress().tolist()))
            return session

    # on the clock: worker 0 is back at 1 and 3 s, worker 1 at 4 s, worker 2 at 10 s
    run(Curious(3, k=1), 3, starts([1, 4, 10], [2, 9, 9], [9, 9, 9]))
    at = {(job, now_s): share for job, now_s, share in seen}
    assert at[1, 0.0] == pytest.approx([0.0, 1 / 4, 1 / 10])
    assert at[2, 0.0] == pytest.approx([0.0, 3 / 4, 3 / 10])


def test_progress_is_that_of_the_older_list_where_one_is_queued_behind_it():
    seen = []

    class Curious(BackupTasks):
        @property
        def decides_leftover(self):
            return False

        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            session.act = lambda now_s, progress: seen.append((now_s, progress().tolist()))
            return session

    policy = {"after": "deadline", "deadline_s": 0.5}
    run(Curious(2, policy=policy), 2, starts([1, 4], [2, 1]), FixedTime(time_s=2.0), leftover="finish")
    # round 0 ends at 2 s, when worker 1 is half through; its list of round 1 begins two seconds later
    of_second = [share for now_s, share in seen if now_s == 0.5][-1]
    assert of_second == pytest.approx([0.25, 2.5 / 4])


def test_instants_are_heard():
    closings = []

    class Curious(FastestK):
        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            close = session.close_round
            session.close_round = lambda closing: closings.append(closing) or close(closing)
            return session

    run(Curious(3, k=2), 1, starts([2, 1, 4]))
    (closing,) = closings
    assert closing.stop_s == 2.0
    assert (closing.heard.workers.tolist(), closing.heard.times_s.tolist()) == ([1, 0], [1.0, 2.0])


def test_a_fixed_time_ends_a_round_of_a_scheme_that_acts():
    record = run(KBatchSync(2, k=9), 1, starts([1, 4]), FixedTime(time_s=2.5), again=[starts([1, 9]), starts([1, 9])])
    assert (durations(record), record.rounds.phases) == ([2.5], [3])
    assert record.load_done == pytest.approx(0.5 * (1 + 1 + 0.5 + 2.5 / 4))


def test_sessions_do_not_act_by_default():
    assert Session.act(None, 1.0, None) is None


def test_asynchronous_updates_are_of_a_single_model():
    given = {"workers": 4, "jobs": 8, "stragglers": {"usual": {"kind": "constant", "startup_s": 1.0}}}
    with pytest.raises(stragglersim.ScenarioError, match=r"schemes.it: must train a single model, .* models: 4"):
        stragglersim.Scenario(**given, models=4, schemes={"it": KAsync(4, k=2)})


def trained(**schemes):
    scenario = stragglersim.Scenario(
        workers=6,
        jobs=120,
        seed=2,
        stragglers={"usual": {"kind": "shifted_exponential", "shift": 1.0, "mean": 1.0, "adds_to": "startup_s"}},
        training={"workload": {"kind": "least_squares", "rows": 60, "dimension": 4}, "learning_rate": 0.1},
        schemes=schemes,
    )
    steps = stragglersim.run(scenario).training
    return {label: steps[steps["scheme"] == label] for label in schemes}


def test_gradients_are_those_at_the_parameters_that_they_were_begun_with():
    steps = trained(sync={"kind": "uncoded"}, all={"kind": "k_async", "k": 6}, one={"kind": "k_async", "k": 1})
    np.testing.assert_allclose(steps["all"]["loss"], steps["sync"]["loss"], rtol=1e-9)
    assert (steps["all"]["staleness"].dropna() == 0).all()
    assert steps["one"]["staleness"].iloc[60:].mean() == pytest.approx(5, rel=0.1)  # n - 1 updates in between
    assert steps["one"]["gradient_error"].iloc[60:].mean() > 0.1


def test_local_steps_of_one_step_are_those_of_the_fastest_k():
    steps = trained(k={"kind": "fastest_k", "k": 4}, one={"kind": "local_sgd", "k": 4, "steps": 1})
    np.testing.assert_allclose(steps["one"]["loss"], steps["k"]["loss"], rtol=1e-9)


def test_local_steps_are_plain_ones_on_each_worker_s_own_rows():
    workload = LeastSquares(rows=60, dimension=4)
    begin = workload.initial(np.random.default_rng(0))
    gradients = ResultGradients(workload, 0.1, lambda loads, n_rows: [slice(10 * w, 10 * w + 10) for w in range(6)])
    gradients.begin(0, Begun(begin, [slice(None)] * 3))
    there = begin
    for _ in range(3):
        there = there - 0.1 * workload.gradient(there, slice(20, 30)) / 10
    sent = gradients.computed(Result(0, worker=2, chunk=2, steps=3), np.full(6, 1 / 6))
    np.testing.assert_allclose(sent, (begin - there) / 0.1 * 10)


def test_dsag_with_all_results_is_synchronous():
    steps = trained(sync={"kind": "uncoded"}, all={"kind": "dsag", "w": 6})
    np.testing.assert_allclose(steps["all"]["loss"], steps["sync"]["loss"], rtol=1e-9)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"after": "share", "share": 2.0}, r"policy.share: must be less than or equal to 1, got 2"),
        ({"after": "never"}, r"policy: must be a mapping with after: share, deadline or late, got"),
    ],
)
def test_a_policy_that_is_none_is_told_in_words(policy, message):
    given = {"workers": 4, "jobs": 8, "stragglers": {"usual": {"kind": "constant", "startup_s": 1.0}}}
    with pytest.raises(stragglersim.ScenarioError, match=message):
        stragglersim.Scenario(**given, schemes={"it": {"kind": "backup_tasks", "policy": policy}})


def test_a_round_of_dsag_without_any_result_uses_what_is_kept():
    slow = {"kind": "bernoulli", "p": 0.6, "slowdown": 60.0}
    scenario = stragglersim.Scenario(
        workers=3,
        jobs=12,
        stragglers={"usual": {"kind": "constant", "startup_s": 0.1}, "slow": slow},
        master=FixedTime(time_s=0.15, timeout_s=0.2),
        training={"workload": {"kind": "least_squares"}, "learning_rate": 0.1},
        schemes={"DSAG": Dsag(3, 2)},
    )
    training = stragglersim.run(scenario).training
    assert training["staleness"].isna().sum() > 1  # step 0, and rounds in which nothing came
    assert len(training) == 13
