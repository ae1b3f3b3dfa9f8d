"""Sequential schemes that use what stragglers have done: mini-tasks reported in time, and responses that come late."""

import itertools

import numpy as np
import pytest
from patterns import is_bursty
from test_engine import durations, run, starts, statuses

import examples
import stragglersim
from schemes import Closing, Multiplexed, SelectiveRepeat, Uncoded
from schemes.base.playing import play
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from straggler_models import Bernoulli, Constant


def play_with_prefixes(scheme, n_jobs, pattern, rng):
    """As `play`, but a straggler has reported some of its list."""
    session = scheme.start(n_jobs, np.random.default_rng(0))
    outcomes = []
    for index in range(session.n_rounds):
        work = session.open_round(index)
        missing = pattern[index] & work.busy
        for worker in np.flatnonzero(work.busy):
            n_reports = work.last_report[worker] + 1
            for report in range(rng.integers(0, n_reports) if missing[worker] else n_reports):
                session.receive(int(worker), report)
        outcomes.append(session.enough())
        outcomes += [(outcome.job, outcome.status) for outcome in session.close_round(Closing(missing, forced=False))]
    return outcomes


def random_pattern(n, n_rounds, B, W, lam, rng):
    """A bursty pattern, grown round by round."""
    pattern = np.zeros((0, n), dtype=bool)
    for _ in range(n_rounds):
        longer = np.vstack([pattern, rng.random(n) < 0.5])
        pattern = longer if is_bursty(longer, B, W, lam) else np.vstack([pattern, np.zeros(n, dtype=bool)])
    return pattern


@pytest.mark.parametrize(("n", "B", "W"), [*examples.SMALL_WINDOWS, (5, 2, 4)])
@pytest.mark.parametrize("accepts", ["pattern", "recoverable"])
def test_partial_credit_survives_patterns_that_are_claimed_whatever_stragglers_have_reported(n, B, W, accepts):
    rng, n_jobs = np.random.default_rng(5), 6
    for lam in range(n + 1):
        scheme = Multiplexed(n, B=B, W=W, lam=lam, accepts=accepts, credit="prefix")
        for _ in range(12):
            pattern = random_pattern(n, n_jobs + scheme.delay_rounds, B, W, lam, rng)
            outcomes = play_with_prefixes(scheme, n_jobs, pattern, rng)
            assert False not in outcomes
            assert sorted(o for o in outcomes if o is not True) == [(job, "decoded") for job in range(n_jobs)]


@pytest.mark.parametrize(("B", "W", "lam"), [(1, 2, 1), (2, 3, 2), (1, 3, 4), (2, 4, 4)])
@pytest.mark.parametrize("accepts", ["pattern", "recoverable"])
def test_without_partial_reports_both_kinds_of_credit_are_the_same(B, W, lam, accepts):
    rng = np.random.default_rng(1)
    whole, prefix = (Multiplexed(4, B=B, W=W, lam=lam, accepts=accepts, credit=c) for c in ("whole_list", "prefix"))
    for _ in range(100):
        pattern = rng.random((20, 4)) < 0.3
        played = [play(scheme, 12, lambda t, _, S=pattern: S[t]) for scheme in (whole, prefix)]
        assert repr(played[0]) == repr(played[1])  # a failed job's error is NaN


def test_only_what_is_really_missing_is_repeated():
    scheme = Multiplexed(2, B=1, W=3, lam=2, credit="prefix")  # lists of up to two first tries, of load 1/4 each
    rows = [[(0, 4.0, 1), (0, 4.0, 1)], [(0, 4.0, 1), (0, 8.0, 1)], *[[(0, 4.0, 1), (0, 4.0, 1)]] * 2]
    record = run(scheme, 2, rows, FixedTime(time_s=2.0))
    # round 1: worker 1 does its try of job 0, the older, in 2 s, and loses that of job 1, which is repeated in round 3
    assert record.workers[1]["straggler"].tolist() == [False, True]
    assert [block["load_given"].tolist() for block in record.workers] == [
        [0.25, 0.25],
        [0.5, 0.5],
        [0.25, 0.25],
        [0, 0.25],
    ]
    assert (record.jobs.job, record.jobs.decoded_round, statuses(record)) == ([0, 1], [1, 3], ["decoded"] * 2)
    whole = run(Multiplexed(2, B=1, W=3, lam=2), 2, rows, FixedTime(time_s=2.0))
    assert whole.workers[2]["load_given"].tolist() == [0.25, 0.5]


def test_repeats_come_first_and_coded_results_last():
    scheme = Multiplexed(3, B=2, W=3, lam=1, credit="prefix")
    session = scheme.start(8, np.random.default_rng(0))
    for index in range(6):
        work = session.open_round(index)
        for worker in range(3):
            for report in range(work.last_report[worker] + 1):
                if not (worker == 2 and index in (2, 3) and report >= 1):
                    session.receive(worker, report)
        if index == 3:
            # first tries of jobs 2 and 3, oldest first; job 1 coded in its first late slot, then job 0 in its last
            assert [(task.job, task.kind) for task in session.tasks(0)] == [
                (2, "plain"), (3, "plain"), (1, "coded"), (0, "coded")
            ]  # fmt: skip
            assert [(task.job, task.kind) for task in session.tasks(2)] == [
                (2, "plain"), (3, "plain"), (1, "coded"), (0, "coded")
            ]  # fmt: skip
        if index == 4:  # worker 2 lost the first try of job 2 in round 2, and that of job 3 in round 3
            assert [(task.job, task.kind) for task in session.tasks(2)] == [
                (2, "repeat"), (3, "plain"), (4, "plain"), (1, "coded")
            ]  # fmt: skip
        missing = np.array([False, False, index in (2, 3)])
        session.close_round(Closing(missing, forced=False))


def test_a_late_response_saves_the_wait_for_a_repeat():
    rows = starts([1, 5, 5], [1, 1, 1], [1, 1, 1])
    rule = MuRule(mu=1.0, wait_for="enough")

    def rounds(late_responses, **how):
        scheme = SelectiveRepeat(3, B=1, W=2, lam=2, accepts="recoverable", late_responses=late_responses, **how)
        record = run(scheme, 2, rows, rule, leftover="finish")
        assert statuses(record) == ["decoded", "decoded"]
        return durations(record)

    # s = 1: two responses are needed. Round 1: workers 1 and 2 finish round 0's lists at 3, and their own at 4
    assert rounds("drop") == [2.0, 4.0, 0.0]
    # the late responses end round 1 at 3; round 2 does not close before its own first response
    assert rounds("keep") == [2.0, 3.0, 2.0]


def test_a_late_response_of_a_worker_that_repeats_nothing_saves_one_of_the_repeats():
    # s = 1: three responses are needed. Workers 1 and 2 repeat job 0; worker 3's late response comes at 1, worker 1's
    # at 3, and worker 2's, which is not needed any more, would come at 5
    scheme = SelectiveRepeat(4, B=1, W=2, lam=2, accepts="recoverable", late_responses="keep")
    rows = starts([1, 5, 7, 3], [1, 9, 9, 1], [1, 1, 1, 1])
    record = run(scheme, 2, rows, MuRule(mu=1.0, wait_for="enough"), leftover="finish")
    assert durations(record)[:2] == [2.0, 3.0]
    assert (record.jobs.job[0], record.jobs.decoded_round[0]) == (0, 1)


def test_a_response_that_comes_while_the_master_is_busy_is_known_when_work_is_given_out():
    scheme = SelectiveRepeat(3, B=1, W=2, lam=2, accepts="recoverable", late_responses="keep")
    rows = starts([1, 5, 5], [1, 1, 1], [1, 1, 1])
    record = run(scheme, 2, rows, MuRule(mu=1.0, wait_for="enough"), leftover="finish", overhead_s=3.5)
    assert record.workers[1]["finished_s"].tolist() == [1.0, 1.0, 1.0]  # nobody is late any more
    assert [block["load_given"].sum() for block in record.workers] == [2.0, 2.0, 0.0]
    assert (record.jobs.job, record.jobs.decoded_round) == ([0, 1], [1, 1])


def test_late_results_of_multiplexed_are_not_repeated():
    rows = starts([1, 2.25], [1, 0], [1, 1], [1, 1])
    rule = FixedTime(time_s=2.0, wait_for="enough")

    def given(late_responses):
        scheme = Multiplexed(2, B=1, W=3, lam=2, accepts="recoverable", late_responses=late_responses)
        record = run(scheme, 1, rows, rule, leftover="finish")
        assert statuses(record) == ["decoded"]
        return [block["load_given"].tolist() for block in record.workers]

    assert given("drop") == [[0.25, 0.25], [0.25, 0.25], [0.0, 0.25]]
    assert given("keep") == [[0.25, 0.25], [0.25, 0.25], [0.0, 0.0]]


def test_nothing_is_late_where_lists_are_dropped():
    with pytest.raises(
        stragglersim.ScenarioError, match=r"schemes.M.late_responses: must be drop .* \(set leftover: finish\)"
    ):
        stragglersim.Scenario(
            workers=4,
            jobs=2,
            stragglers={"usual": Constant(startup_s=1.0)},
            schemes={"M": Multiplexed(4, B=1, W=2, lam=1, late_responses="keep"), "U": Uncoded(4)},
        )


@pytest.mark.parametrize("rule", [FirstEnough(), MuRule(mu=0.5), MuRule(mu=0.5, wait_for="enough")], ids=repr)
def test_every_kind_of_credit_decodes_everything_where_the_master_waits(rule):
    kinds = itertools.product(["whole_list", "prefix"], ["drop", "keep"], ["pattern", "recoverable"])
    schemes = {
        f"{credit}, {late}, {accepts}": Multiplexed(
            12, B=2, W=4, lam=3, credit=credit, late_responses=late, accepts=accepts
        )
        for credit, late, accepts in kinds
    }
    scenario = stragglersim.Scenario(
        workers=12,
        jobs=30,
        trials=3,
        stragglers={"usual": Constant(seconds_per_load=12.0), "slow": Bernoulli(p=0.15, slowdown=5.0)},
        master=rule,
        leftover="finish",
        schemes=schemes,
    )
    assert not stragglersim.run(scenario).runs["decode_failures"].any()
