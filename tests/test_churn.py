"""Workers that leave and others that join: by hand, in closed form, and by brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

import examples
import stragglersim
from schemes import BackupTasks
from simulator.engine.presence import Presence
from simulator.engine.record import RunRecord
from simulator.engine.worker_seconds import worker_seconds
from simulator.errors import LiveError, ScenarioError
from simulator.execution.one_run import run_one
from simulator.live.run import live
from straggler_models import Bernoulli, Churn, Constant, Groups, MarkovSpeed, PerWorker, Queueing
from straggler_models.base import Absence, LeavingModel, SharedModel
from straggler_models.queueing import DISCIPLINES
from stragglersim import Scenario


@dataclass(frozen=True)
class Told(LeavingModel):
    """Absences of each worker, as they are told: (leaves, joins, heard)."""

    each: list[list[tuple[float, float, float]]]

    def absences_of(self, rng):
        raise NotImplementedError

    def absences(self, n_workers, rng):
        return [itertools.starmap(Absence, own) for own in [*self.each, *[[]] * n_workers][:n_workers]]


def run(scheme, absences, n=3, jobs=2, work_s=1.0, detail="workers", **how):
    """Run a scheme where a worker's n-th of a job takes so long, and workers leave as told."""
    given = {"work": Constant(seconds_per_load=work_s * n), "churn": Told(absences), **how.pop("stragglers", {})}
    scenario = Scenario(workers=n, jobs=jobs, stragglers=given, schemes={"it": scheme}, **how)
    return stragglersim.run(scenario, detail=detail)


def told(results):
    return results.rounds["duration_s"].tolist(), results.jobs["status"].tolist()


UNCODED = {"kind": "uncoded"}

# --- by hand ---


def test_what_a_worker_has_in_hand_is_lost_and_the_master_stops_when_it_hears_of_it():
    # worker 1 leaves at 0.25 s, is heard of at 1.5 s and replaced at 2 s: after the next round has begun
    results = run(UNCODED, [[], [(0.25, 2.0, 1.5)]], jobs=4)
    # the second round begins at 1.5 s without it, and ends with the others; so does the third, with all
    assert told(results) == ([1.5, 1.0, 1.0, 1.0], ["failed", "failed", "decoded", "decoded"])
    assert results.rounds["stragglers"].tolist() == [1, 1, 0, 0]
    workers = results.workers.query("worker == 1")
    assert workers["load_done"].tolist() == pytest.approx([0.25 / 3, 0.0, 1 / 3, 1 / 3])
    assert workers["finished_s"].tolist() == [math.inf, math.inf, 1.0, 1.0]


def test_who_joins_is_known_at_once_and_has_no_list_of_the_round():
    # the master would hear at 10 s; the new worker comes at 1.25 s
    results = run(UNCODED, [[], [(0.25, 1.25, 1.25)]])
    assert told(results) == ([1.25, 1.0], ["failed", "decoded"])


def test_codes_that_can_spare_it_do_not_wait():
    code = {"kind": "gradient_coding", "s": 1}
    # a list of two chunks takes 2 s
    assert told(run(code, [[], [(0.25, 9.0, 5.0)]])) == ([2.0, 2.0], ["decoded", "decoded"])
    waits = run(code, [[], [(0.25, 9.0, 5.0)]], master={"kind": "mu_rule", "mu": 0.5, "wait_for": "all"})
    # 1.5 times 2 s, with enough; the second round, from 3 s on, ends with the last, when the master has heard of it
    assert told(waits)[0] == [3.0, 2.0]


def test_a_rule_that_waits_for_all_waits_until_it_hears():
    rule = {"kind": "fixed_time", "time_s": 1.0, "wait_for": "all"}
    assert told(run(UNCODED, [[], [(0.25, 9.0, 5.0)]], master=rule)) == ([5.0, 1.0], ["failed", "failed"])
    assert told(run(UNCODED, [[], [(0.25, 9.0, 5.0)]], master=rule | {"timeout_s": 2.5}))[0] == [2.5, 2.5]
    assert told(run(UNCODED, [[], [(0.25, 9.0, 5.0)]], master=rule | {"poll_s": 0.75}))[0][0] == 5.25


def test_results_that_were_sent_count():
    # of two chunks, one is done at 1 s
    partial = {"kind": "to_do_list", "r": 2, "k": 3}
    results = run(partial, [[], [(1.5, 9.0, 1.75)], [(0.5, 9.0, 0.75)]], jobs=1)
    # chunks 0, 1 at 1 s from workers 0 and 1, chunk 2 never: that of worker 1 would have come at 2 s
    assert told(results) == ([2.0], ["approximate"])
    assert run(partial, [[], [], [(0.5, 9.0, 0.75)]], jobs=1).jobs["status"].tolist() == ["decoded"]


def test_a_round_that_nobody_can_answer_waits_for_the_first_to_join():
    gone = [[(0.25, 4.0, 0.5)], [(0.5, 6.0, 0.75)], [(0.5, 5.0, 1.0)]]
    # heard of the last at 1 s; the second round ends when worker 0's successor comes, at 4 s; the third with its work
    results = run({"kind": "fastest_k", "k": 1}, gone, jobs=4)
    assert told(results) == ([1.0, 3.0, 1.0, 1.0], ["failed", "failed", "approximate", "approximate"])
    for_good = [[(0.25, math.inf, 0.5)]] * 3
    assert told(run({"kind": "fastest_k", "k": 1}, for_good, jobs=3))[0] == [0.5, 0.0, 0.0]


def test_left_over_lists_are_lost_with_their_worker_and_nothing_is_done_twice():
    slow = {"slow": PerWorker(Bernoulli.each(p=[0.0, 1.0, 0.0], slowdown=4.0))}
    # worker 1 would need 4 s for its first list; it leaves at 2.5 s and is replaced at 2.75 s
    scheme, gone = {"kind": "fastest_k", "k": 2}, [[], [(2.5, 2.75, 2.75)]]
    results = run(scheme, gone, jobs=8, leftover="finish", stragglers=slow)
    workers = results.workers.query("worker == 1")
    assert results.rounds["duration_s"].tolist() == [1.0] * 8
    # the lists of rounds 1 and 2 wait for the first one, and are lost with it; that of round 3 is done at 7 s
    assert workers["load_done"].tolist() == pytest.approx([2.5 / 12, 0, 0, 1 / 3, 1 / 12, 0, 0, 0])
    assert workers["straggler"].all()


def test_other_jobs_go_on_alone_when_our_worker_leaves():
    shared = {"jobs": Queueing(rate=0.0, mean_s=1.0, discipline="processor_sharing")}
    assert told(run(UNCODED, [[], [(0.25, 2.0, 1.5)]], jobs=4, stragglers=shared))[0] == [1.5, 1.0, 1.0, 1.0]


COPIES = {"kind": "backup_tasks", "policy": {"after": "share", "share": 1.0}}


def test_a_chunk_whose_worker_has_left_goes_to_another_one():
    # heard at 1.5 s, when workers 0 and 2 are idle: a copy until 2.5 s
    results = run(COPIES, [[], [(0.25, 9.0, 1.5)]], jobs=2)
    # then its chunk goes to the first who is idle
    assert told(results) == ([2.5, 2.0], ["decoded", "decoded"])
    assert results.rounds["phases"].tolist() == [2, 2]
    # heard before anybody is idle
    assert told(run(COPIES, [[], [(0.25, 9.0, 0.5)]], jobs=1))[0] == [2.0]


def test_a_copy_is_lost_with_its_worker_too():
    # worker 0 has the copy of chunk 1 at 1.5 s and leaves at 2 s; heard at 2.25 s: worker 2 does it until 3.25 s
    gone = [[(2.0, 9.0, 2.25)], [(0.25, 9.0, 1.5)]]
    assert told(run(COPIES, gone, jobs=1)) == ([3.25], ["decoded"])


def test_who_joins_takes_what_is_left():
    # all but worker 2 leave; heard at 0.75 s; worker 0's successor joins at 0.9 s and takes chunk 0; chunk 1 is left
    gone = [[(0.25, 0.9, 0.75)], [(0.5, 9.0, 0.75)]]
    assert told(run(COPIES, gone, jobs=1)) == ([2.0], ["decoded"])


def test_relaunched_originals_do_not_stop_copies_of_others():
    policy = {"after": "deadline", "deadline_s": 0.5}
    gone = [[(0.25, 0.4, 0.4)]]
    # worker 0's successor is idle at 0.4 s and takes chunk 0, to 1.4 s; at 0.5 s nobody is idle; at 1 s nothing is late
    assert told(run({**COPIES, "policy": policy, "relaunch": True}, gone, jobs=1))[0] == [1.4]


def test_late_looks_at_the_progress_that_was_told():
    # worker 0 leaves at 0.1 s, unheard; at 1.5 s workers 1 and 2 are idle, and it looks slowest
    policy = {"after": "late", "max_copies": 1, "heartbeat_s": 0.75}
    slow = {"slow": PerWorker(Bernoulli.each(p=[0.0, 0.0, 0.0, 1.0], slowdown=3.0))}
    gone = [[(0.1, 99.0, 99.0)]]
    results = run({"kind": "backup_tasks", "policy": policy}, gone, n=4, jobs=1, stragglers=slow)
    # worker 3 has done half by then, worker 0 a tenth: its copy first, to 2.5 s; worker 3 is done at 3 s
    assert told(results) == ([3.0], ["decoded"])


def test_nobody_waits_for_whoever_was_away_from_the_beginning():
    # the second round begins at 2 s without worker 1; of worker 0, which leaves at 2.5 s, the master hears at 2.75 s
    results = run(COPIES, [[(2.5, 99.0, 2.75)], [(0.25, 99.0, 0.5)]], n=2)
    assert told(results) == ([2.0, 0.75], ["decoded", "failed"])


@dataclass(frozen=True)
class Careless(BackupTasks):
    """Takes whoever has left for idle."""

    def start(self, n_jobs, rng):
        session = super().start(n_jobs, rng)
        hear = session.hear_absences
        session.hear_absences = lambda left, away, now_s: hear(left, (), now_s)
        return session


def test_what_is_given_to_a_worker_that_is_known_to_be_away_is_lost():
    results = run(Careless(2, policy=COPIES["policy"]), [[], [(0.25, 99.0, 0.5)]], n=2, jobs=1)
    assert told(results) == ([1.0], ["failed"])


def test_what_is_on_its_way_is_lost_when_a_scheme_that_acts_hears_that_its_worker_has_left():
    # worker 1 is done at 1 s, leaves at 1.25 s and is heard of at 1.5 s; worker 0 is heard at 2 s and begins a copy
    slow = {"latency_s": 1.0}
    assert told(run(COPIES, [[], [(1.25, 99.0, 1.5)]], n=2, jobs=1, network=slow))[0] == [4.0]
    # others get what has been sent
    assert told(run(UNCODED, [[], [(1.25, 99.0, 1.5)]], n=2, jobs=1, network=slow)) == ([2.0], ["decoded"])
    # heard between two rounds: worker 1 is done at 1.2 s and would be heard at 1.7 s
    late = {"slow": PerWorker(Bernoulli.each(p=[0.0, 1.0], slowdown=1.2))}
    how = {"network": {"latency_s": 0.5}, "round_overhead_s": 1.0, "stragglers": late}
    results = run({"kind": "k_async", "k": 1}, [[], [(1.3, 99.0, 1.6)]], n=2, **how)
    assert results.rounds["stale"].tolist() == [0, 0]
    assert run({"kind": "k_async", "k": 1}, [], n=2, **how).rounds["stale"].tolist() == [0, 1]


def test_other_jobs_have_the_worker_to_themselves_when_it_leaves():
    # another job of 0.6 s has 0.35 s to go at 0.5 s, and 0.1 s at 0.75 s, when the second round begins
    class Jobs(SharedModel):
        def other_work(self, rng):
            return DISCIPLINES["processor_sharing"](itertools.tee(iter([]), 1)[0], [0.6])

    results = run(UNCODED, [[(0.5, 0.75, 0.75)]], n=1, stragglers={"jobs": Jobs()}, detail="rounds")
    assert told(results)[0] == pytest.approx([0.75, 1.1])


@pytest.mark.parametrize("kind", ["k_async", "k_batch_async", "dsag", "bounded_staleness"])
def test_who_joins_begins_anew_in_asynchronous_schemes(kind):
    how = {"bounded_staleness": {"staleness": 100}, "dsag": {"w": 1}}.get(kind, {"k": 1})
    # worker 1 leaves at 1.5 s and its successor joins at 4.25 s; worker 0 makes an update a second, worker 1 too
    results = run({"kind": kind, **how}, [[], [(1.5, 4.25, 2.0)]], n=2, jobs=14)
    used = results.workers.query("worker == 1 and used")["round"]
    ends_s = (results.rounds["start_s"] + results.rounds["duration_s"])[used].drop_duplicates().tolist()
    # with its first list, and that begun at 4.25 s (by schemes that act) or at 5 s; DSAG uses results at updates
    assert ends_s[:2] == [1.0, 5.25 if kind == "k_batch_async" else 6.0]


def test_nobody_waits_for_ever_for_the_slowest_who_has_left():
    # all must keep step with worker 1, which is away from 0.5 s to 5 s: the master waits for its successor
    results = run({"kind": "bounded_staleness", "staleness": 0}, [[], [(0.5, 5.0, 0.75)]], n=2, jobs=4)
    ends_s = (results.rounds["start_s"] + results.rounds["duration_s"]).tolist()
    assert ends_s == [1.0, 5.0, 6.0, 7.0]
    assert results.jobs["status"].tolist()[1] == "failed"


def test_uploads_of_who_has_left_are_not_waited_for():
    scheme = {"kind": "partial_gradient_coding", "assignment": {"kind": "cyclic", "chunks_per_worker": 2}}
    network = {"latency_s": 0.25, "worker_bytes_per_s": 1.0, "gradient_bytes": 2.0}
    assert told(run(scheme, [[]], jobs=1, network=network)) == ([3.75], ["decoded"])
    # all chunks are there at 1 s, heard at 1.25 s; worker 1 leaves while it uploads
    results = run(scheme, [[], [(2.0, 9.0, 2.5)]], jobs=1, network=network)
    assert told(results) == ([2.5], ["failed"])


# --- several models, groups, own parameters ---


def test_a_worker_is_there_if_all_models_say_so():
    models = {"a": Told([[(1.0, 3.0, 2.5), (8.0, 9.0, 9.0)]]), "b": Told([[(2.0, 4.0, 2.25), (6.0, 7.0, 6.5)]])}
    presence = Presence(models, 1, 0, 0)
    presence.open(0.0)
    assert [presence.leaves_s(0, at_s) for at_s in (0.0, 3.5, 4.0, 6.5, 7.5, 20.0)] == [
        (1.0, 2.25),
        (3.5, 2.25),
        (6.0, 6.5),
        (6.5, 6.5),
        (8.0, 9.0),
        (math.inf, math.inf),
    ]


def test_members_of_a_group_leave_together_and_workers_may_differ():
    model = Churn(mean_stay_s=5.0, mean_away_s=1.0, detect_s=0.5)
    absences = [list(itertools.islice(own, 5)) for own in Groups(model, size=2).absences(5, np.random.default_rng(1))]
    assert absences[0] == absences[1] != absences[2] == absences[3] != absences[4]
    alone = Groups(model, members=[[2]]).absences(3, np.random.default_rng(1))
    assert [len(list(itertools.islice(own, 5))) for own in alone] == [0, 0, 5]
    own = PerWorker(Churn.each(mean_stay_s=[1.0, 1000.0], mean_away_s=1.0, detect_s=0.0))
    leaves_s = [
        [each.leaves_s for each in itertools.islice(one, 500)] for one in own.absences(2, np.random.default_rng(2))
    ]
    means = np.diff(leaves_s).mean(axis=1)
    assert means == pytest.approx([2.0, 1001.0], rel=0.2)


# --- closed forms ---


def test_first_rounds_are_decoded_as_often_as_nobody_leaves():
    n, stay_s, trials = 4, 10.0, 3000
    models = {"work": Constant(seconds_per_load=4.0), "churn": Churn(mean_stay_s=stay_s, mean_away_s=5.0, detect_s=0.5)}
    schemes = {"uncoded": UNCODED, "GC": {"kind": "gradient_coding", "s": 1}}
    results = stragglersim.run(Scenario(workers=n, jobs=1, trials=trials, stragglers=models, schemes=schemes))
    decoded = 1 - results.runs.groupby("scheme")["decode_failures"].mean()
    stays = [math.exp(-1.0 / stay_s), math.exp(-2.0 / stay_s)]  # through a list of one chunk, and of two
    assert decoded["uncoded"] == pytest.approx(stays[0] ** n, abs=0.03)
    assert decoded["GC"] == pytest.approx(stays[1] ** n + n * stays[1] ** (n - 1) * (1 - stays[1]), abs=0.03)


def test_in_the_long_run_workers_are_there_for_their_share_of_the_time():
    model = Churn(mean_stay_s=3.0, mean_away_s=1.0, detect_s=math.inf)
    away_s = 0.0
    for own in model.absences(20, np.random.default_rng(3)):
        away_s += sum(each.joins_s - each.leaves_s for each in itertools.takewhile(lambda of: of.joins_s < 5000, own))
    assert away_s / 20 / 5000 == pytest.approx(0.25, rel=0.05)


# --- brute force ---


def brute(absences, work_s, n_jobs, s):
    """Rounds of a code of which any n - s whole lists of ``work_s`` are enough, worker by worker."""
    now_s, durations = 0.0, []
    for _ in range(n_jobs):
        ends_s, heard_s = [], []
        for own in absences:
            hit = next((each for each in own if each[1] > now_s and each[0] <= now_s + work_s), None)
            if hit is None:
                ends_s.append(work_s)
            else:
                heard_s.append(max(0.0, hit[2] - now_s))
        in_time = sorted(ends_s)
        if len(in_time) >= len(absences) - s:
            took_s = in_time[len(absences) - s - 1]
        elif not ends_s and max(heard_s) == 0:
            took_s = min(each[1] for own in absences for each in own if each[1] > now_s) - now_s
        else:
            took_s = max([*heard_s, *ends_s])
        durations.append(took_s)
        now_s += took_s
    return durations


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    s=st.integers(0, 2),
    stay_s=st.sampled_from([2.0, 6.0]),
    detect_s=st.sampled_from([0.0, 0.7, 9.0]),
)
def test_rounds_are_those_of_brute_force(seed, s, stay_s, detect_s):
    model, n = Churn(mean_stay_s=stay_s, mean_away_s=1.5, detect_s=detect_s), 3
    absences = [list(itertools.islice(own, 200)) for own in model.absences(n, np.random.default_rng(seed))]
    results = run({"kind": "gradient_coding", "s": s}, [[tuple(each) for each in own] for own in absences], jobs=12)
    assert results.rounds["duration_s"].tolist() == pytest.approx(brute(absences, s + 1.0, 12, s), abs=1e-9)


@pytest.mark.parametrize("scheme", examples.SCHEMES, ids=repr)
def test_every_scheme_goes_on_to_its_end(scheme):
    if scheme.n_workers == 1 or type(scheme).__name__ == "Ideal":
        return
    stragglers = {
        "work": Constant(seconds_per_load=float(scheme.n_workers)),
        "speed": MarkovSpeed(states=examples.TWO_STATES),
        "jobs": Queueing(rate=0.2, mean_s=1.0, discipline="processor_sharing"),
        "churn": Churn(mean_stay_s=15.0, mean_away_s=3.0, detect_s=1.0),
    }
    leftover = "finish" if scheme.hears_late else "cancel"
    for network in ({}, {"latency_s": 0.3, "ingress_bytes_per_s": 10.0, "gradient_bytes": 1.0}):
        scenario = Scenario(
            workers=scheme.n_workers,
            jobs=20,
            trials=3,
            seed=2,
            stragglers=stragglers,
            leftover=leftover,
            schemes={"it": scheme},
            network=network,
        )
        results = stragglersim.run(scenario, detail="workers")
        assert len(results.jobs) == 60
        assert (results.workers["load_done"] >= -1e-12).all()
        assert (results.workers["load_done"] <= results.workers["load_given"] + 1e-9).all()


# --- what is asked for ---


@pytest.mark.parametrize(
    ("detect_s", "away_s", "is_needed"),
    [(0.5, 2.0, False), (math.inf, 2.0, False), (0.5, math.inf, False), (math.inf, math.inf, True)],
)
def test_a_timeout_is_asked_for_only_where_the_master_would_wait_for_ever(detect_s, away_s, is_needed):
    churn = Churn(mean_stay_s=3.0, mean_away_s=away_s, detect_s=detect_s)
    given = {"workers": 2, "jobs": 5, "stragglers": {"work": Constant(1.0), "churn": churn}, "schemes": {"it": UNCODED}}
    if is_needed:
        with pytest.raises(ScenarioError, match=r"because workers of stragglers.churn may"):
            Scenario(**given)
        given["master"] = {"kind": "first_enough", "timeout_s": 4.0}
    results = stragglersim.run(Scenario(**given))
    assert len(results.jobs) == 5
    with pytest.raises(ScenarioError, match=r"stragglers.never may never"):
        Scenario(
            **(
                given
                | {
                    "stragglers": {"churn": churn, "never": Bernoulli(0.1, math.inf)},
                    "master": {"kind": "first_enough"},
                }
            )
        )


# --- what workers cost, training, live runs ---


class Costs(RunRecord):
    """Seconds in which workers were at work, round by round."""

    def round_closed(self, closed):
        super().round_closed(closed)
        vars(self).setdefault("seconds", []).append(worker_seconds(closed))


@pytest.mark.parametrize(("leftover", "expected"), [("cancel", [2.25, 2.0, 3.0]), ("finish", [2.25, 2.0, 3.0])])
def test_workers_are_at_work_until_they_leave(leftover, expected):
    given = {"work": Constant(seconds_per_load=3.0), "churn": Told([[], [(0.25, 2.0, 1.5)]])}
    schemes = {"it": UNCODED, "copies": COPIES}
    scenario = Scenario(workers=3, jobs=3, stragglers=given, schemes=schemes, leftover=leftover)
    record = Costs(3, 3)
    run_one(scenario, "it", 0, record)
    assert record.seconds == expected
    record = Costs(3, 3)
    run_one(scenario, "copies", 0, record)
    # a copy of 1 s from 1.5 s on; then all three are there, from 2.5 s on
    assert record.seconds == [3.25, 3.0, 3.0]


def test_a_list_that_goes_on_is_work_until_its_worker_leaves():
    # worker 0's second list, from 1 s on, is lost at 1.9 s; worker 1 takes 1.7 s for a list
    slow = PerWorker(Bernoulli.each(p=[0.0, 1.0], slowdown=1.7))
    given = {"work": Constant(seconds_per_load=2.0), "slow": slow, "churn": Told([[(1.9, 3.0, 2.5)]])}
    scheme = {"kind": "k_batch_async", "k": 2}
    record = Costs(2, 2)
    run_one(Scenario(workers=2, jobs=2, stragglers=given, schemes={"it": scheme}), "it", 0, record)
    assert [*zip(record.rounds.start_s, record.rounds.duration_s, strict=True)] == [
        (0.0, 1.7),
        (1.7, pytest.approx(2.3)),
    ]
    assert record.seconds == pytest.approx([3.4, 0.2 + 1.0 + 2.3])
    assert record.load_done == pytest.approx(0.5 * (1 + 0.9 + 1 + 1 + 1 + 0.6 / 1.7))


@pytest.mark.parametrize(
    "kind", ["backup_tasks", "k_async", "k_batch_async", "k_batch_sync", "dsag", "gradient_coding"]
)
def test_training_goes_on_where_workers_leave(kind):
    how = {"backup_tasks": {"policy": COPIES["policy"]}, "dsag": {"w": 2}, "gradient_coding": {"s": 1}}.get(
        kind, {"k": 2}
    )
    stragglers = {"speed": MarkovSpeed(states=examples.TWO_STATES), "churn": Churn(15.0, 3.0, 1.0)}
    workload = {"kind": "least_squares", "rows": 40, "dimension": 4}
    results = run(
        {"kind": kind, **how},
        [],
        n=4,
        jobs=60,
        stragglers=stragglers,
        training={"workload": workload, "learning_rate": 0.1},
    )
    assert results.workers["straggler"].any()
    losses = results.training["loss"]
    assert losses.iloc[-1] < 0.2 * losses.iloc[0]


def test_live_workers_stay():
    given = {"work": Constant(seconds_per_load=0.1), "churn": Churn(5.0, 1.0, 0.1)}
    scenario = Scenario(workers=2, jobs=2, stragglers=given, schemes={"it": UNCODED})
    with pytest.raises(LiveError, match=r"stragglers.churn: must be left out of a live run"):
        live(scenario, is_injected=True)
