"""The engine by hand, and against a second simulator that shares no code with it."""

import math

import numpy as np
import pytest
import reference
from hypothesis import example, given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import (
    FastestK,
    FractionalRepetition,
    GradientCoding,
    Ideal,
    Multiplexed,
    Outcome,
    Scheme,
    SelectiveRepeat,
    Session,
    Uncoded,
    Work,
)
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import RoundTimes
from stragglersim import Scenario, SimulationError

INF = math.inf
FREE = Network()


def times_of(rows):
    """Worker times from (startup_s, seconds_per_load, slowdown) of each worker in each round."""
    for row in rows:
        startup_s, seconds_per_load, slowdown = (np.array(column, dtype=float) for column in zip(*row, strict=True))
        never = np.isinf(startup_s) | np.isinf(seconds_per_load) | np.isinf(slowdown)
        yield RoundTimes(startup_s, seconds_per_load, slowdown, never if never.any() else None)


def run(scheme, n_jobs, rows, rule, leftover="cancel", overhead_s=0.0, keeps_workers=True, network=FREE):
    record = RunRecord(scheme.n_workers, n_jobs, keeps_workers=keeps_workers)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=times_of(rows),
        speeds=None,
        rule=rule,
        leftover=leftover,
        round_overhead_s=overhead_s,
        network=network,
        rng=np.random.default_rng(0),
    )
    simulate(plan, record)
    return record


def starts(*rounds):
    """Rows of worker times that are start-up only: the finishing times themselves."""
    return [[(second, 0.0, 1.0) for second in row] for row in rounds]


def rows_of(columns):
    """Rows whose items have the names of columns."""
    return list(map(type(columns)._make, zip(*columns, strict=True)))


def durations(record):
    return record.rounds.duration_s


def statuses(record):
    return [job.status for job in sorted(rows_of(record.jobs))]


# --- by hand ---


def test_a_round_ends_at_the_arrival_that_makes_it_decodable():
    record = run(GradientCoding(4, s=1), 2, starts([1, 2, 3, 9], [5, 1, 1, 1]), FirstEnough())
    assert durations(record) == [3.0, 1.0]
    assert record.rounds.stragglers[0] == 1
    assert record.makespan_s == 4.0


def test_the_mu_rule_ends_at_the_tolerance_if_that_is_enough():
    record = run(GradientCoding(4, s=1), 1, starts([1, 1.5, 2.5, 9]), MuRule(mu=2.0))
    assert durations(record) == [3.0]
    assert rows_of(record.rounds)[0][4:7] == (False, 0.0, 1)


def test_the_mu_rule_ends_with_the_slowest_if_that_comes_first():
    assert durations(run(Uncoded(3), 1, starts([1, 1.5, 1.75]), MuRule(mu=2.0))) == [1.75]


@pytest.mark.parametrize(
    ("wait_for", "duration_s", "waited_s", "stragglers", "status"),
    [("all", 9.0, 6.0, 0, "decoded"), ("enough", 5.0, 2.0, 1, "decoded"), ("nobody", 3.0, 0.0, 2, "failed")],
)
def test_what_the_mu_rule_waits_for(wait_for, duration_s, waited_s, stragglers, status):
    record = run(GradientCoding(4, s=1), 1, starts([1, 2, 5, 9]), MuRule(mu=2.0, wait_for=wait_for))
    assert durations(record) == [duration_s]
    assert rows_of(record.rounds)[0][4:7] == (waited_s > 0, waited_s, stragglers)
    assert statuses(record) == [status]


def test_the_median_worker_is_the_one_with_half_of_all_before_or_at_it():
    rule = MuRule(mu=0.5, reference="median", wait_for="nobody")
    assert durations(run(Uncoded(4), 1, starts([1, 2, 10, 10]), rule)) == [3.0]
    assert durations(run(Uncoded(5), 1, starts([1, 2, 4, 10, 10]), rule)) == [6.0]


def test_mu_zero_calls_everybody_but_the_fastest_a_straggler_and_ties_are_in_time():
    record = run(GradientCoding(4, s=2), 1, starts([1, 3, 1, 3]), MuRule(mu=0.0))
    assert durations(record) == [1.0]
    assert record.rounds.stragglers[0] == 2


def test_a_large_mu_leaves_no_straggler():
    record = run(Uncoded(3), 1, starts([1, 2, 50]), MuRule(mu=1e6))
    assert (durations(record), record.rounds.stragglers[0]) == ([50.0], 0)


def test_what_arrives_at_exactly_the_fixed_time_counts():
    record = run(Uncoded(3), 2, starts([1, 2, 3], [1, 2, 3.5]), FixedTime(time_s=3.0))
    assert (durations(record), statuses(record)) == ([3.0, 3.0], ["decoded", "failed"])


def test_a_round_never_closes_before_its_first_arrival():
    record = run(FastestK(2, k=1), 1, starts([7, 8]), FixedTime(time_s=3.0))
    assert durations(record) == [7.0]
    assert rows_of(record.rounds)[0][4:6] == (True, 4.0)


def test_a_fixed_time_round_closes_then_if_nobody_can_come():
    record = run(Uncoded(2), 1, starts([INF, INF]), FixedTime(time_s=3.0))
    assert (durations(record), statuses(record)) == ([3.0], ["failed"])
    assert math.isnan(record.rounds.first_finish_s[0])


def test_fixed_time_waits_as_told():
    rows = starts([1, 4, 6, 9])
    code = GradientCoding(4, s=1)
    assert durations(run(code, 1, rows, FixedTime(time_s=3.0, wait_for="enough"))) == [6.0]
    assert durations(run(code, 1, rows, FixedTime(time_s=3.0, wait_for="all"))) == [9.0]


def test_a_timeout_closes_whatever_is_missing():
    record = run(Uncoded(3), 2, starts([1, 2, INF], [1, 2, 3]), FirstEnough(timeout_s=5.0))
    assert (durations(record), statuses(record)) == ([5.0, 3.0], ["failed", "decoded"])


def test_polling_rounds_every_instant_up_and_counts_what_arrived_by_then():
    record = run(GradientCoding(4, s=1), 1, starts([0.2, 0.5, 1.2, 1.8]), FirstEnough(poll_s=1.0))
    assert (durations(record), record.rounds.stragglers[0]) == ([2.0], 0)
    record = run(GradientCoding(4, s=1), 1, starts([0.3, 0.7, 1.0, 9.0]), MuRule(mu=1.0, poll_s=0.5))
    assert (durations(record), record.rounds.stragglers[0]) == ([1.0], 1)
    record = run(Uncoded(2), 1, starts([0.25, INF]), FirstEnough(timeout_s=1.2, poll_s=1.0))
    assert durations(record) == [2.0]


def test_arrivals_at_once_are_all_received_before_the_master_looks():
    record = run(GradientCoding(4, s=2), 1, starts([2, 2, 2, 2]), FirstEnough())
    assert (durations(record), record.rounds.stragglers[0]) == ([2.0], 0)


def test_a_worker_that_never_answers_is_inf_in_any_component():
    for never in [(INF, 1.0, 1.0), (1.0, INF, 1.0), (1.0, 1.0, INF)]:
        record = run(GradientCoding(2, s=1), 1, [[(1.0, 0.0, 1.0), never]], FirstEnough())
        assert (durations(record), record.rounds.stragglers[0]) == ([1.0], 1)
        assert record.load_done == 1.0


def test_times_are_slowdown_times_startup_plus_work():
    record = run(Uncoded(2), 1, [[(1.0, 4.0, 1.0), (0.5, 2.0, 3.0)]], FirstEnough())
    assert durations(record) == [3.0 * (0.5 + 2.0 * 0.5)]
    assert record.workers[0]["finished_s"].tolist() == [3.0, 4.5]


def test_overhead_is_paid_after_every_round_with_work():
    record = run(Uncoded(2), 3, starts(*[[1, 2]] * 3), FirstEnough(), overhead_s=0.5)
    assert durations(record) == [2.0] * 3
    assert record.rounds.start_s == [0.0, 2.5, 5.0]
    assert record.jobs.latency_s == [2.5] * 3
    assert record.makespan_s == 7.5


def test_load_cut_off_counts_by_the_share_of_its_duration_that_ran():
    record = run(GradientCoding(2, s=1), 1, [[(0.0, 2.0, 1.0), (1.0, 7.0, 1.0)]], FirstEnough())
    assert record.workers[0]["load_done"].tolist() == [1.0, 0.25]
    assert record.metrics(None)["computed_load"] == 1.25 / 2
    assert record.metrics(None)["overhead"] == 0.25


def test_leftover_work_is_completed_first_and_unheard():
    """Worker 1 needs 4 s: cut at 1 s, it has 3 s to go, so in the next round it answers after 3 + 4 s."""
    rows = starts([1, 4], [2, 4], [8, 4])
    finish = run(GradientCoding(2, s=1), 3, rows, FirstEnough(), leftover="finish")
    # round 1 ends at 2 s, worker 1 then has 5 s to go; in round 2 it answers after 5 + 4 s, worker 0 after 8 s
    assert durations(finish) == [1.0, 2.0, 8.0]
    assert finish.workers[1]["finished_s"].tolist() == [2.0, 7.0]
    assert finish.workers[1]["straggler"].tolist() == [False, True]
    cancel = run(GradientCoding(2, s=1), 3, rows, FirstEnough())
    assert durations(cancel) == [1.0, 2.0, 4.0]
    # all lists are completed but the last: round 2 begins it at 5 s and ends at 8 s, 3 of 4 s later
    assert finish.load_done == pytest.approx(3 + 2 + 0.75)


@pytest.mark.parametrize("leftover", ["cancel", "finish"])
def test_a_worker_that_is_back_has_dropped_the_list_that_never_ends(leftover):
    record = run(GradientCoding(2, s=1), 3, starts([1, INF], [1, 1], [1, 1]), FirstEnough(), leftover=leftover)
    assert record.rounds.stragglers == [1, 0, 0]
    assert record.load_done == 5.0


def test_a_worker_that_goes_away_and_is_back_still_completes_what_it_had_begun():
    """Worker 1 needs 4 s in round 0, is away in round 1, and so begins its list of round 2 two seconds late."""
    rows = starts([1, 4], [1, INF], *[[1, 1]] * 4)
    record = run(GradientCoding(2, s=1), 6, rows, FirstEnough(), leftover="finish")
    assert durations(record) == [1.0] * 6
    assert [columns["finished_s"][1] for columns in record.workers[:3]] == [4.0, INF, 3.0]


def test_rounds_without_work_take_no_time_and_are_rows():
    record = run(SelectiveRepeat(3, B=1, W=2, lam=2), 2, starts(*[[1, 2, 3]] * 3), FirstEnough(), overhead_s=1.0)
    assert len(record.rounds.round) == 3
    assert (durations(record)[2], record.rounds.stragglers[2]) == (0.0, 0)
    assert record.makespan_s == record.rounds.start_s[2]


def test_selective_repeat_by_hand():
    """n = 3, s = 1: workers 0 and 1 straggle in round 0, so worker 0 repeats in round 1 and job 0 is decoded then."""
    scheme = SelectiveRepeat(3, B=1, W=2, lam=2)
    record = run(scheme, 2, starts([9, 9, 1], [1, 2, 9], [1, 1, 1]), MuRule(mu=1.0))
    # round 1: worker 2 would be a third straggler in the window, so the master waits; then nothing is left to repeat
    assert durations(record) == [2.0, 9.0, 0.0]
    jobs = sorted(rows_of(record.jobs))
    assert [job.decoded_round for job in jobs] == [1, 2 - 1]
    assert [job.latency_s for job in jobs] == [11.0, 9.0]


def test_multiplexed_by_hand():
    """n = 2, (1, 2, 1): mini-tasks of load 2/(2 * 3); a lost first try is repeated in the next round."""
    scheme = Multiplexed(2, B=1, W=2, lam=1)
    rows = [[(0.0, 3.0, 1.0), (0.0, 3.0, 5.0)], *[[(0.0, 3.0, 1.0)] * 2] * 2]
    record = run(scheme, 2, rows, MuRule(mu=1.0))
    assert scheme.load_of(1) == 1 / 3
    # round 0 has one mini-task (1 s), worker 1 straggles (5 s > 2 s); later rounds hold job t and job t - 1
    assert durations(record) == [2.0, 2.0, 1.0]
    assert record.rounds.stragglers == [1, 0, 0]
    assert [job.decoded_round for job in sorted(rows_of(record.jobs))] == [1, 2]
    assert record.load_done == pytest.approx(1 / 3 * (1 + 0.4 + 4 + 2))


def test_seconds_start_anew_in_every_round_however_long_the_run_is():
    """Equal rounds have equal durations to the last bit after a long time on the clock."""
    rows = starts(*[[0.1, 0.3]] * 3000)
    assert set(durations(run(Uncoded(2), 3000, rows, FirstEnough(), keeps_workers=False))) == {0.3}


def test_the_ideal_round_ends_when_all_workers_together_have_done_one_job():
    """By hand: 0.25 loads per second from 0 s and from 1 s; one more that begins too late."""
    rows = [[(0.0, 4.0, 1.0), (0.5, 2.0, 2.0), (9.0, 1.0, 1.0), (INF, 1.0, 1.0)]]
    record = run(Ideal(4), 1, rows, FirstEnough())
    assert durations(record) == [2.5]
    assert record.workers[0]["load_done"].tolist() == [0.625, 0.375, 0.0, 0.0]
    assert (record.rounds.stragglers[0], statuses(record)) == (0, ["decoded"])
    at_once = run(Ideal(2), 1, [[(0.0, 4.0, 1.0), (1.0, 0.0, 1.0)]], MuRule())
    assert durations(at_once) == [1.0]
    assert at_once.workers[0]["load_done"].tolist() == [0.25, 0.75]
    nobody = run(Ideal(2), 1, [[(INF, 1.0, 1.0)] * 2], FirstEnough(timeout_s=3.0))
    assert (durations(nobody), statuses(nobody)) == ([3.0], ["failed"])


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_the_ideal_work_adds_up_to_one_job_and_no_scheme_without_delay_is_faster(seed):
    rng = np.random.default_rng(seed)
    rows = (rng.exponential(1.0, (5, 6, 3)) + np.array([0, 0.1, 1])).tolist()
    record = run(Ideal(6), 5, rows, FirstEnough())
    for duration_s, times, workers in zip(record.rounds.duration_s, rows, record.workers, strict=True):
        done = [max(0.0, duration_s / slowdown - startup) / rate for startup, rate, slowdown in times]
        assert workers["load_done"] == pytest.approx(done, abs=1e-12)
        assert sum(done) == pytest.approx(1.0)
    for scheme in (Uncoded(6), GradientCoding(6, s=2), FractionalRepetition(6, s=1)):
        others = durations(run(scheme, 5, rows, FirstEnough()))
        assert all(mine <= other + 1e-12 for mine, other in zip(durations(record), others, strict=True))


@pytest.mark.parametrize("times", [(INF, 4.0, 1.0), (0.0, INF, 1.0), (0.0, 4.0, INF), (INF, 0.0, 1.0), (0.0, INF, INF)])
def test_who_never_answers_has_no_share_of_the_ideal_work(times):
    (both,) = times_of([[(0.0, 4.0, 1.0), times]])
    loads, instant_s = both.share_out()
    assert (loads[0, 0], instant_s) == (1.0, 4.0)
    assert math.isnan(loads[1, 0])
    (nobody,) = times_of([[times, times]])
    assert np.isnan(nobody.share_out()[0]).all()
    assert nobody.share_out()[1] == INF


def test_a_negative_completion_time_is_refused():
    with pytest.raises(SimulationError, match=r"round 0, worker 1: completion times must be at least 0 s, got -0.5 s"):
        run(Uncoded(2), 1, [[(1.0, 0.0, 1.0), (-1.0, 1.0, 1.0)]], FirstEnough())


def test_waiting_for_ever_is_an_error_and_not_a_silent_end():
    with pytest.raises(SimulationError, match="timeout_s"):
        run(Uncoded(2), 1, starts([1, INF]), FirstEnough())


class ChunkByChunk(Scheme):
    """A test scheme with two reports for each worker: half of the job's data is enough, whoever did it."""

    n_workers = 2
    load = 1.0
    tolerates = ""

    def chunk_loads(self):
        return np.array([0.5, 0.5])

    def start(self, n_jobs, rng):
        return ChunkSession()


class ChunkSession(Session):
    n_rounds = 1

    def open_round(self, index):
        self.reports = []
        return Work(np.array([[0.25, 0.5], [0.25, 1.0]]))

    def receive(self, worker, report):
        self.reports.append((worker, report))

    def enough(self):
        return len(self.reports) >= 2

    def close_round(self, closing):
        return [Outcome(0, "decoded")]

    def tasks(self, worker):
        return []


def test_reports_of_single_chunks_are_heard_as_they_come():
    record = run(ChunkByChunk(), 1, [[(1.0, 4.0, 1.0), (0.0, 4.0, 1.0)]], FirstEnough())
    # due: worker 0 at 2 and 3 s, worker 1 at 1 and 4 s; two reports are in at 2 s, nobody has finished
    assert durations(record) == [2.0]
    assert math.isnan(record.rounds.first_finish_s[0])
    assert record.rounds.stragglers[0] == 2
    assert record.workers[0]["load_done"].tolist() == [0.25, 0.25 + 0.75 / 3]


def test_the_reference_of_the_mu_rule_is_a_worker_that_has_finished_its_whole_list():
    record = run(ChunkByChunk(), 1, [[(1.0, 4.0, 1.0), (0.0, 4.0, 1.0)]], MuRule(mu=0.1))
    assert durations(record) == [pytest.approx(3.3)]
    assert record.rounds.first_finish_s[0] == 3.0


# --- against the naive simulator ---


@st.composite
def cases(draw):
    n = draw(st.integers(2, 6))
    n_jobs = draw(st.integers(1, 8))
    accepts = draw(st.sampled_from(["pattern", "recoverable", "as_published"]))
    how = {"as_published": True} if accepts == "as_published" else {"accepts": accepts}
    kind = draw(st.sampled_from(["GC", "rep", "SR", "M", "M", "SR"]))
    B = draw(st.integers(1, 3))
    if kind == "GC":
        s = draw(st.integers(0, n - 1))
        scheme, twin = GradientCoding(n, s=s), reference.gradient_coding(n, s)
    elif kind == "rep":
        s = draw(st.sampled_from([s for s in range(n) if n % (s + 1) == 0]))
        scheme, twin = FractionalRepetition(n, s=s), reference.fractional_repetition(n, s)
    elif kind == "SR":
        W, lam = B * draw(st.integers(1, 3)) + 1, draw(st.integers(0, n - 1))
        s = math.ceil(lam / ((W - 1) // B + 1))
        code = draw(st.sampled_from(["gradient_coding"] + ["fractional_repetition"] * (n % (s + 1) == 0)))
        scheme = SelectiveRepeat(n, B=B, W=W, lam=lam, code=code, **how)
        twin = reference.SelectiveRepeat(n, B, W, lam, code, **how)
    else:
        W, lam = draw(st.integers(B + 1, 5)), draw(st.integers(0, n))
        code = draw(st.sampled_from(["gradient_coding"] + ["fractional_repetition"] * (lam < n and n % (lam + 1) == 0)))
        scheme = Multiplexed(n, B=B, W=W, lam=lam, code=code, **how)
        twin = reference.Multiplexed(n, B, W, lam, code, **how)
    wait_for = draw(st.sampled_from(["all", "enough", "nobody"]))
    timeout = draw(st.sampled_from([None, None, 2.0, 5.0]))
    poll = draw(st.sampled_from([None, None, 0.5, 0.3]))
    rest = {"timeout_s": timeout, "poll_s": poll}
    rule, told = draw(
        st.sampled_from(
            [
                (FirstEnough(**rest), ("first_enough",)),
                *[
                    (MuRule(mu=mu, reference=who, wait_for=wait_for, **rest), ("mu", mu, who, wait_for))
                    for mu in (0.0, 0.3, 1.0)
                    for who in ("first", "median")
                ],
                *[
                    (FixedTime(time_s=time_s, wait_for=wait_for, **rest), ("fixed", time_s, wait_for))
                    for time_s in (0.5, 2.0)
                ],
            ]
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (n_jobs + scheme.delay_rounds, n)
    # coarse values, so that there are ties, and bursts
    slow = np.zeros(shape, dtype=bool)
    for t in range(shape[0]):
        slow[t] = rng.random(n) < (np.where(slow[t - 1], 0.5, 0.25) if t else 0.3)
    slowdown = np.where(slow, rng.choice([2.0, 4.0, 8.0], shape), 1.0)
    if timeout is not None:
        slowdown[rng.random(shape) < 0.1] = INF
    startup = rng.choice([0.0, 0.5, 1.0], shape) if draw(st.booleans()) else rng.exponential(1.0, shape)
    rows = np.stack([startup, np.full(shape, draw(st.sampled_from([0.5, 4.0]))), slowdown], axis=-1).tolist()
    return scheme, twin, n_jobs, rows, rule, told, timeout, poll


@given(cases())
@settings(deadline=None, max_examples=400)
def test_the_engine_agrees_with_the_naive_simulator(case):
    scheme, twin, n_jobs, rows, rule, told, timeout, poll = case
    record = run(scheme, n_jobs, rows, rule)
    rounds, outcomes = reference.simulate(twin, n_jobs, rows, told, timeout, poll)
    mine = rows_of(record.rounds)
    for row, workers, (closes, waited, left, loads) in zip(mine, record.workers, rounds, strict=True):
        assert row.duration_s == pytest.approx(closes, rel=1e-12)
        assert row.waited_s == pytest.approx(waited, abs=1e-12)
        assert set(np.flatnonzero(workers["straggler"]).tolist()) == left
        assert workers["load_given"] == pytest.approx([loads.get(i, 0.0) for i in range(scheme.n_workers)])
    assert {job.job: (job.status, job.decoded_round) for job in rows_of(record.jobs)} == {
        job: (status, t if status != "failed" else None) for job, (status, t) in outcomes.items()
    }


# --- properties ---

SCHEMES = [Uncoded(6), GradientCoding(6, s=2), SelectiveRepeat(6, B=2, W=3, lam=3), Multiplexed(6, B=1, W=3, lam=2)]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 3.0, 1024.0]))
@example(seed=0, factor=2.0)
@settings(deadline=None, max_examples=15)
def test_scaling_all_delays_scales_all_times(scheme, seed, factor):
    rows = np.random.default_rng(seed).exponential(1.0, (10 + scheme.delay_rounds, 6, 3)) + np.array([0, 0, 1])
    scaled = rows * [factor, factor, 1]
    one, other = (run(scheme, 10, r.tolist(), MuRule(mu=0.7)) for r in (rows, scaled))
    assert one.rounds.stragglers == other.rounds.stragglers
    assert np.allclose(np.array(durations(one)) * factor, durations(other), rtol=1e-12)


@given(st.integers(0, 2**32), st.integers(0, 5), st.floats(1, 10))
@settings(deadline=None, max_examples=30)
def test_a_slower_worker_never_makes_a_round_end_earlier_under_wait_for_all(seed, worker, factor):
    """Unless it is the fastest, which sets the tolerance."""
    rows = np.random.default_rng(seed).exponential(1.0, (1, 6, 3)) + np.array([0, 0, 1])
    slower = rows.copy()
    slower[:, worker, 2] *= factor
    for scheme in (Uncoded(6), GradientCoding(6, s=2)):
        finish = rows[0, :, 2] * (rows[0, :, 0] + rows[0, :, 1] * scheme.load)
        one, other = (durations(run(scheme, 1, r.tolist(), MuRule(mu=0.7)))[0] for r in (rows, slower))
        assert other >= one or worker == finish.argmin()


def test_a_slower_fastest_worker_may_make_a_round_end_earlier():
    """It raises the tolerance, which then covers one more worker, and that is enough."""
    before, after = (run(GradientCoding(3, s=1), 1, starts([first, 3, 9]), MuRule(mu=1.0)) for first in (1, 1.5))
    assert (durations(before), durations(after)) == ([9.0], [3.0])


@pytest.mark.parametrize("engine", ["events", "auto"])
def test_every_engine_is_offered(engine):
    scenario = Scenario(workers=2, jobs=2, stragglers={"usual": _constant()}, schemes={"uncoded": Uncoded(2)})
    assert stragglersim.run(scenario, engine=engine).runs["makespan_s"].tolist() == [2.0]


def _constant():
    from straggler_models import Constant

    return Constant(startup_s=1.0)


def test_a_session_of_other_rounds_than_its_scheme_says_is_refused_when_the_run_begins():
    class Hasty(Uncoded):
        delay_rounds = 3

    message = r"n_rounds of the session must be jobs \+ delay_rounds = 4 \+ 3, got 4"
    with pytest.raises(SimulationError, match=message):
        run(Hasty(2), 4, starts(*[[1, 1]] * 7), FirstEnough())
