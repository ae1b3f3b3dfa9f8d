"""Times that are drawn for each task and each message of a list: by hand, formula and brute force."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_engine import durations, statuses

import examples
import stragglersim
from schemes import (
    BackupTasks,
    CommunicationEfficientGradientCoding,
    FastestK,
    GradientCoding,
    Ideal,
    KAsync,
    Multiplexed,
    PartialGradientCoding,
    SelectiveRepeat,
    ToDoList,
    Uncoded,
    Work,
)
from schemes.assignment import Cyclic
from simulator.engine.acting_workers import Given
from simulator.engine.events import RunPlan, simulate
from simulator.engine.mail import Mail
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Uplink
from simulator.engine.places import ListPlaces, Places
from simulator.engine.record import RunRecord
from simulator.engine.streams import stream
from simulator.engine.training import Training
from simulator.engine.worker_times import RoundTimes, round_times
from simulator.errors import LiveError
from simulator.execution.side_by_side import why_not
from simulator.live.run import live
from straggler_models import (
    Bernoulli,
    Churn,
    Constant,
    Gamma,
    Groups,
    Lognormal,
    MarkovSpeed,
    Pareto,
    PerWorker,
    Queueing,
    ShiftedExponential,
    TimeOfDay,
    Trace,
    Weibull,
)
from stragglersim import Network, Scenario, ScenarioError
from workloads import LeastSquares

EXPONENTIAL = ShiftedExponential(shift=0.0, mean=1.0, adds_to="task")


def places_of(rows):
    """Given numbers: a row for each worker, with a number for each place; behind these, 0."""
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    return Places({"it": iter([*columns, *[np.zeros(len(rows))] * 9])})


def times_of(n, *rounds):
    """Worker times of rounds: each a mapping of tasks, messages and gradients to rows; else startup_s, rate, slow."""
    for of_round in rounds:
        startup_s, rate, slow = (np.full(n, of_round.get(name, usual)) for name, usual in USUAL.items())
        drawn = {name: places_of(rows) for name, rows in of_round.items() if name in ListPlaces._fields}
        yield RoundTimes(startup_s, rate, slow, None, places=ListPlaces(**drawn))


USUAL = {"startup_s": 0.0, "rate": 0.0, "slow": 1.0}


def run(scheme, n_jobs, *rounds, rule=None, leftover="cancel", network=None, again=(), overhead_s=0.0):
    record = RunRecord(scheme.n_workers, n_jobs, keeps_workers=True)
    plan = RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=times_of(scheme.n_workers, *rounds),
        speeds=None,
        rule=rule or FirstEnough(),
        leftover=leftover,
        round_overhead_s=overhead_s,
        network=network or Network(),
        rng=np.random.default_rng(0),
        again=lambda k: times_of(scheme.n_workers, *again[k - 1]),
    )
    simulate(plan, record)
    return record


def finished(record, index=0):
    return record.workers[index]["finished_s"].tolist()


# --- tasks ---


def test_each_task_has_seconds_per_load_of_its_own():
    work = {"startup_s": 1.0, "rate": 3.0, "slow": 2.0, "tasks": [[3, 6, 0], [0, 0, 0], [30, 0, 0]]}
    record = run(ToDoList(3, r=2, k=3), 1, work)
    # chunks take 1 s each, and worker 0's 1 + 1 and 1 + 2 s; it sends chunk 0 at 2 * 3, chunk 1 at 2 * 6
    # worker 1: chunk 1 at 4, chunk 2 at 6; worker 2, whose first chunk takes 11 s, would send it at 24
    assert durations(record) == [6.0]
    assert finished(run(ToDoList(3, r=2, k=3), 1, work, rule=MuRule(mu=9.0))) == [12.0, 6.0, 26.0]
    assert record.workers[0]["load_done"].tolist() == pytest.approx([1 / 3, 2 / 3, 6 / 24 / 3])


@pytest.mark.parametrize("scheme", [ToDoList(4, r=3, k=4), GradientCoding(4, s=2), Uncoded(4)], ids=repr)
def test_all_lists_meet_the_same_numbers_by_place(scheme):
    """Of a stream for each round: a place more changes neither other places nor other rounds."""
    models = {"work": EXPONENTIAL, "base": Constant(startup_s=0.5, seconds_per_load=2.0)}
    results = stragglersim.run(
        Scenario(workers=4, jobs=3, seed=5, stragglers=models, schemes={"it": scheme}, leftover="finish"),
        detail="workers",
    )
    work = scheme.start(1, np.random.default_rng(0)).open_round(0)
    steps = np.diff(work.loads, axis=1, prepend=0.0)
    for index, of_round in results.workers.groupby("round"):
        rng = stream(5, 0, "places", f"work\0{0}\0{index}")
        drawn = np.stack([rng.standard_exponential(4) for _ in range(steps.shape[1])], axis=1)
        own_s = 0.5 + ((2.0 + drawn) * steps).sum(axis=1)
        assert (
            of_round["startup_s"] + of_round["seconds_per_load"] * of_round["load_given"]
        ).tolist() == pytest.approx(own_s.tolist())
        if not index:
            assert of_round["finished_s"].tolist() == pytest.approx(own_s.tolist())


def test_numbers_of_tasks_change_no_other_stream_and_no_other_label():
    usual = {"usual": ShiftedExponential(shift=0.0, mean=1.0, adds_to="startup_s")}
    loads = np.array([[0.1, 0.2, 0.3]] * 3)
    plain = [times.work_s(loads) for times in round_times(usual, 3, 1, 0, 70)]
    both = [times.work_s(loads) for times in round_times(usual | {"own": EXPONENTIAL}, 3, 1, 0, 70)]
    alone = [times.work_s(loads) for times in round_times({"own": EXPONENTIAL}, 3, 1, 0, 70)]
    np.testing.assert_allclose(np.array(plain) + alone, both)
    other = next(round_times({"other": EXPONENTIAL}, 3, 1, 0, 1)).work_s(loads)
    assert not np.isclose(other, alone[0]).any()
    steps = np.diff(np.array(alone)[:, :, ::1], axis=2, prepend=0.0) / 0.1
    assert len(np.unique(steps.round(9))) == steps.size  # all of them are different
    assert abs(steps.mean() - 1) < 4 / math.sqrt(steps.size)
    longer = next(round_times({"own": EXPONENTIAL}, 3, 1, 0, 1)).work_s(np.array([[0.1, 0.2, 0.3, 0.4, 0.5]] * 3))
    assert np.array_equal(longer[:, :3], alone[0])


@pytest.mark.parametrize(
    "model",
    [
        EXPONENTIAL,
        Lognormal(median=1.0, sigma=0.5, adds_to="task"),
        Gamma(mean=2.0, variance=0.7, adds_to="task"),
        Weibull(scale=1.0, shape=0.7, adds_to="task"),
        Pareto(scale=1.0, shape=3.0, adds_to="task"),
    ],
    ids=repr,
)
def test_a_task_takes_what_the_model_draws_for_a_round_elsewhere(model):
    """The same stream gives the same numbers, whatever they are added to."""
    part = dataclasses.replace(model, adds_to="startup_s")
    drawn = next(iter(model.places(5, np.random.default_rng(1))))
    assert np.array_equal(drawn, part.draw(1, 5, np.random.default_rng(1)).startup_s[0])
    assert model.lives_in == "tasks"
    assert dataclasses.replace(model, adds_to="message_s").lives_in == "messages"
    assert dataclasses.replace(model, adds_to="seconds_per_gradient").lives_in == "gradients"


def test_groups_share_their_tasks_and_workers_have_parameters_of_their_own():
    columns = Groups(EXPONENTIAL, members=[[0, 2], [1]]).places(4, np.random.default_rng(1))
    for _ in range(3):
        column = next(columns)
        assert column[0] == column[2] != column[1]
        assert column[3] == 0
    own = PerWorker(ShiftedExponential.each(shift=0.0, mean=[1.0, 2.0, 4.0], adds_to="task"))
    column, same = next(own.places(3, np.random.default_rng(1))), next(EXPONENTIAL.places(3, np.random.default_rng(1)))
    assert column.tolist() == (same * [1, 2, 4]).tolist()
    pareto = PerWorker(Pareto.each(scale=[1.0, 2.0], shape=3.0, adds_to="message_s"))
    assert (pareto.lives_in, pareto.is_noise) == ("messages", True)


def test_mean_uncoded_round_with_a_time_for_each_task():
    scenario = Scenario(
        workers=5,
        jobs=4000,
        seed=1,
        stragglers={"work": ShiftedExponential(shift=5.0, mean=10.0, adds_to="task")},
        schemes={"uncoded": Uncoded(5)},
    )
    mean_s = stragglersim.run(scenario).rounds["duration_s"].mean()
    assert mean_s == pytest.approx(1.0 + 2.0 * sum(1 / k for k in range(1, 6)), rel=0.02)


def test_single_workers_have_the_times_of_all_number_by_number():
    models = {"own": EXPONENTIAL, "work": Gamma(mean=2.0, variance=0.7, adds_to="seconds_per_load")}
    slow = Bernoulli(p=0.5, slowdown=3.0)
    loads = np.array([[0.1, 0.3, np.nan], [0.2, 0.4, 0.7], [np.nan] * 3])
    for of_models in ({"own": EXPONENTIAL, "slow": slow}, models):
        times = next(round_times(of_models, 3, 1, 0, 1))
        expected = times.work_s(loads)
        assert times.work_of(0, [0.1, 0.3]) == expected[0, :2].tolist()
        assert times.work_of(1, [0.2, 0.4, 0.7]) == expected[1].tolist()
        assert np.isnan(expected[[0, 2, 2, 2], [2, 0, 1, 2]]).all()


def test_lists_that_go_on_keep_the_numbers_of_their_round():
    slow = {"rate": 3.0, "tasks": [[0, 0], [9, 12], [0, 0]]}
    record = run(ToDoList(3, r=2, k=2), 2, slow, {"rate": 30.0}, leftover="finish")
    # 1 s for a chunk: chunks 0 and 2 at 1; worker 1's take 4 and 5 s, the others are done at 2 and begin anew
    assert (durations(record), finished(record)) == ([1.0, 11.0], [2.0, 9.0, 2.0])
    assert record.workers[1]["load_done"].tolist()[1] == pytest.approx(0.1)  # from 9 to 12, of 10 s for a chunk


def test_speeds_in_seconds_are_integrated_through_tasks():
    spells = MarkovSpeed([{"slowdown": 2.0, "mean_s": 1e6}])  # always half as fast
    models = {"work": EXPONENTIAL}
    common = {"workers": 3, "jobs": 5, "schemes": {"list": ToDoList(3, r=3, k=3)}, "leftover": "finish"}
    plain, halved = (
        stragglersim.run(Scenario(stragglers=given, **common)).rounds["duration_s"]
        for given in (models, models | {"speed": spells})
    )
    assert halved.tolist() == pytest.approx((2 * plain).tolist())


def test_a_further_list_draws_its_tasks_anew():
    backup = BackupTasks(3, policy={"after": "share", "share": 0.3})
    first = {"rate": 3.0, "tasks": [[0], [6], [30]]}
    record = run(backup, 1, first, again=[[{"rate": 3.0, "tasks": [[3], [0], [0]]}]])
    # worker 0 is done at 1, and its copy of chunk 1 takes 1 + 1 s; worker 1 is done at 3, its copy of chunk 2 at 4
    assert durations(record) == [4.0]
    times = [next(round_times({"own": EXPONENTIAL}, 3, 1, 0, 1, again=k)).work_s(np.ones((3, 1))) for k in (0, 1, 2)]
    assert not np.isclose(times[0], times[1]).any()
    assert not np.isclose(times[1], times[2]).any()


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_to_do_lists_with_times_of_tasks_and_messages_by_brute_force(data):
    n = data.draw(st.integers(2, 6))
    r, k = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    order, seed = data.draw(st.sampled_from(["cyclic", "staircase"])), data.draw(st.integers(0, 99))
    models = {
        "work": ShiftedExponential(shift=0.1, mean=1.0, adds_to="task"),
        "sending": ShiftedExponential(shift=0.0, mean=0.5, adds_to="message_s"),
    }
    scenario = Scenario(
        workers=n, jobs=3, seed=seed, stragglers=models, schemes={"list": ToDoList(n, r=r, k=k, order=order)}
    )
    results = stragglersim.run(scenario)
    for index, duration_s in enumerate(results.rounds["duration_s"]):
        of_work, of_sending = (stream(seed, 0, "places", f"{label}\0{0}\0{index}") for label in ("work", "sending"))
        tasks = [0.1 + of_work.standard_exponential(n) for _ in range(r)]
        messages = [0.5 * of_sending.standard_exponential(n) for _ in range(r)]
        comes = [math.inf] * n
        for worker in range(n):
            step, now_s = -1 if order == "staircase" and worker % 2 else 1, 0.0
            for place in range(r):
                now_s += tasks[place][worker] / n
                chunk = (worker + step * place) % n
                comes[chunk] = min(comes[chunk], now_s + messages[place][worker])
        assert duration_s == pytest.approx(sorted(comes)[k - 1])


# --- messages ---


def test_a_message_is_delayed_while_its_worker_goes_on():
    work = {"rate": 3.0, "messages": [[0.5, 0.25, 0], [0, 0, 0], [9, 9, 9]]}
    record = run(ToDoList(3, r=2, k=3), 1, work)
    # worker 0: chunk 0 at 1 + 0.5; worker 1: chunk 1 at 1, chunk 2 at 2
    assert durations(record) == [2.0]
    assert finished(record) == [2.0, 2.0, 2.0]  # of work; what worker 2 sends is on its way
    assert record.rounds.upload_s == [0.0]
    assert record.rounds.uploads == [3]  # worker 0's second message would be there at 2.25
    assert record.rounds.stragglers == [2]


def test_messages_of_a_worker_may_overtake_each_other():
    work = {"rate": 3.0, "messages": [[3, 0], [3, 0], [3, 0]]}
    record = run(ToDoList(3, r=2, k=3), 1, work, rule=FixedTime(time_s=2.0))
    assert (durations(record), statuses(record)) == ([2.0], ["decoded"])  # all second messages at 2
    assert record.rounds.stragglers == [3]  # and no first one
    record = run(ToDoList(3, r=2, k=3), 1, work, rule=MuRule(mu=0.5))
    assert record.rounds.first_finish_s == [4.0]  # 1 + 3: the first message is the last to come
    assert (durations(record), record.rounds.stragglers) == ([4.0], [0])
    # on a link of its own, the message that is ready first leaves first: from 2 to 3, and from 4 to 5
    link = Network(worker_bytes_per_s=8.0, gradient_bytes=8.0)
    record = run(ToDoList(3, r=2, k=3), 1, work, rule=MuRule(mu=0.0, wait_for="all"), network=link)
    assert durations(record) == [5.0]
    assert run(ToDoList(3, r=2, k=3), 1, work, network=link).rounds.duration_s == [3.0]


@settings(deadline=None)
@given(data=st.data())
def test_both_ways_of_messages_to_the_master_are_one(data):
    """What is known when a round opens, and message by message, as for schemes that act."""
    n, n_reports = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    eighths = st.lists(st.integers(0, 40).map(lambda k: k / 8), min_size=n_reports, max_size=n_reports)
    rows = st.lists(eighths, min_size=n, max_size=n)
    due_s = np.cumsum(data.draw(rows), axis=1) + np.arange(n)[:, np.newaxis] / 1024  # no two workers at once
    delays, each = data.draw(rows), data.draw(rows)
    rate, ingress = (data.draw(st.sampled_from([None, 4.0, 16.0])) for _ in range(2))
    network = Network(latency_s=0.5, worker_bytes_per_s=rate, ingress_bytes_per_s=ingress, gradient_bytes=8.0)
    work = Work(np.cumsum(np.ones_like(due_s), axis=1))
    found = []
    for kind in range(3):
        places = ListPlaces(messages=places_of(delays), gradients=places_of(each))
        mail = Mail(network, n)
        mail.open(0, 0.0)
        if not kind:
            arrivals = Uplink(network, n, hears_late=False).open(0, work, due_s, places)
            found.append(list(zip(arrivals.times_s, arrivals.workers.tolist(), arrivals.reports.tolist(), strict=True)))
            continue
        if kind == 1:
            mail.send_all(work, due_s, places)
        else:
            for worker in range(n):
                own = places.delays_of(worker, n_reports)
                mail.send(Given(worker, 0, 0.0, [1.0] * n_reports, due_s[worker].tolist(), delays_s=own))
        found.append([(message.arrives_s, message.worker, message.report) for message in mail.take(1e9)])
    for other in found[1:]:
        assert [each[1:] for each in other] == [each[1:] for each in found[0]]
        np.testing.assert_allclose([each[0] for each in other], [each[0] for each in found[0]])


def test_polls_and_timeouts_see_delayed_messages():
    work = {"rate": 3.0, "messages": [[0.25], [0.5], [9]]}
    assert durations(run(FastestK(3, k=2), 1, work, rule=FirstEnough(poll_s=1.0))) == [2.0]
    record = run(Uncoded(3), 1, work, rule=FirstEnough(timeout_s=5.0))
    assert (durations(record), statuses(record), record.rounds.stragglers) == ([5.0], ["failed"], [1])
    assert record.load_done == 1.0  # its work is done, its message is not there


def test_what_is_sent_takes_time_for_each_gradient():
    rates = {"startup_s": 1.0, "gradients": [[2.0], [1.0], [0.5]]}
    assert durations(run(Uncoded(3), 1, rates)) == [3.0]
    scheme = Multiplexed(3, B=1, W=2, lam=1)
    record = run(scheme, 2, rates, rates, rates, rule=MuRule(mu=9.0, wait_for="all"))
    assert durations(record) == [3.0, 5.0, 3.0]  # T = 1: a gradient for each of two jobs in the second round
    assert record.rounds.upload_s == [2.0, 4.0, 2.0]


@pytest.mark.parametrize(("s", "m"), [(0, 1), (6, 1), (1, 3), (1, 2)])
def test_the_random_model_of_ye_and_abbe_by_numerical_integration(s, m):
    """Their (lambda1, lambda2, t1, t2) = (0.8, 0.1, 1.6, 6) for n = 8; sums of d exponential chunks and of 1/m sent."""
    n, d, computing, sending = 8, s + m, 0.8 / (s + m), 0.1 * m
    scenario = Scenario(
        workers=n,
        jobs=3000,
        stragglers={
            "computing": ShiftedExponential(shift=n * 1.6, mean=n / 0.8, adds_to="seconds_per_load"),
            "sending": ShiftedExponential(shift=6.0, mean=10.0, adds_to="seconds_per_gradient"),
        },
        schemes={"code": CommunicationEfficientGradientCoding(n, s=s, m=m)},
    )
    durations_s = stragglersim.run(scenario).rounds["duration_s"]

    def lacks(t):  # P(fewer than n - s of n sums of two exponentials are done)
        done = 1 - (sending * np.exp(-computing * t) - computing * np.exp(-sending * t)) / (sending - computing)
        return stats.binom.cdf(n - s - 1, n, done)

    t = np.linspace(0, 500, 200_001)
    exact_s = d * 1.6 + 6.0 / m + lacks(t).sum() * t[1] - lacks(t)[0] * t[1] / 2
    assert abs(durations_s.mean() - exact_s) < 4 * durations_s.std() / math.sqrt(3000)


def test_uploads_at_the_masters_word_are_messages_too():
    scheme = PartialGradientCoding(3, assignment=Cyclic(chunks_per_worker=2))
    delays = {"rate": 3.0, "messages": [[0, 0.5, 1.0], [0, 0, 0.25], [9, 9, 9]], "gradients": [[0, 0, 2.0]] * 3}
    record = run(scheme, 1, delays)
    # worker 0: chunks 0, 1 reported at 1, 2.5; worker 1: 1, 2 at 1, 2. The word comes at once; a whole gradient is 2 s
    assert durations(record) == [2.0 + max(1.0, 0.25) + 2.0]
    assert record.rounds.uploads == [2]
    half = PartialGradientCoding(3, assignment=Cyclic(chunks_per_worker=2), blocks=2)
    assert durations(run(half, 1, {"rate": 3.0, "gradients": [[0, 0, 2.0]] * 3})) == [2.0 + 1.0]


def test_late_messages_are_heard_in_a_later_round():
    scheme = SelectiveRepeat(3, B=1, W=2, lam=1, late_responses="keep")
    first = {"startup_s": 1.0, "messages": [[0], [0], [2.5]]}
    rounds = [first, {"startup_s": 2.0}, {"startup_s": 1.0}]
    record = run(scheme, 2, *rounds, rule=MuRule(mu=0.5, wait_for="enough"), leftover="finish")
    assert record.rounds.duration_s[0] == 1.5
    assert record.rounds.stale == [0, 1, 0]  # at 3.5, 2 s after the second round has begun
    assert set(statuses(record)) == {"decoded"}


def test_late_messages_end_rounds_of_schemes_that_act():
    first = {"startup_s": 1.0, "messages": [[0], [1.5]]}
    record = run(KAsync(2, k=1), 3, first, {"startup_s": 9.0}, {"startup_s": 9.0})
    assert durations(record) == [1.0, 1.5, 7.5]  # worker 1's, at 2.5; then worker 0's, begun at 1
    assert record.rounds.stale == [0, 1, 1]


def test_a_copy_sends_a_message_of_its_own():
    backup = BackupTasks(3, policy={"after": "share", "share": 0.3})
    again = [[{"rate": 3.0, "messages": [[0.25], [0], [0]]}], [{"rate": 3.0}]]
    record = run(backup, 1, {"rate": 3.0, "tasks": [[0], [9], [30]]}, again=again)
    # worker 0: its copy of chunk 1 is done at 2 and there at 2.25; then its copy of chunk 2, without a delay
    assert durations(record) == [3.25]


def test_mini_tasks_count_in_whatever_order_they_come():
    scheme = Multiplexed(3, B=1, W=2, lam=3, credit="prefix")
    lost, late = ({"rate": 3.0, "messages": [[0, 0], [9, 0], [0, 0]]} for _ in range(2))
    record = run(scheme, 2, lost, late, {"rate": 3.0})
    # worker 1's first try for job 0 is lost; of its results in the second round the one for job 1 comes first, at 2
    assert durations(record) == [1.0, 10.0, 0.0]
    assert statuses(record) == ["decoded"] * 2


@pytest.mark.parametrize("blocks", [1, 2])
def test_coefficients_are_of_the_chunks_that_were_told_of(blocks):
    """In training each gradient is compared with the true one."""
    models = {
        "work": Constant(seconds_per_load=1.0),
        "sending": ShiftedExponential(shift=0.0, mean=2.0, adds_to="message_s"),
    }
    scenario = Scenario(
        workers=6,
        jobs=30,
        stragglers=models,
        schemes={"it": PartialGradientCoding(6, assignment=Cyclic(chunks_per_worker=3), blocks=blocks)},
        training=Training(workload=LeastSquares(rows=60, dimension=4), learning_rate=0.1),
    )
    results = stragglersim.run(scenario)
    assert set(results.jobs["status"]) == {"decoded"}
    assert results.runs["worst_residual"].max() < 1e-8


# --- what takes them, and what does not ---


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("leaves", [False, True], ids=["stay", "leave"])
@pytest.mark.parametrize("leftover", ["cancel", "finish"])
def test_every_scheme_runs_with_all_that_there_is(leftover, leaves):
    models = {
        "usual": ShiftedExponential(shift=0.5, mean=0.5, adds_to="startup_s"),
        "tasks": ShiftedExponential(shift=0.0, mean=5.0, adds_to="task"),
        "messages": Weibull(scale=0.2, shape=0.7, adds_to="message_s"),
        "sending": Lognormal(median=0.1, sigma=0.5, adds_to="seconds_per_gradient"),
        "spells": MarkovSpeed([{"slowdown": 1.0, "mean_s": 5.0}, {"slowdown": 4.0, "mean_s": 1.0}]),
        "days": TimeOfDay(wave={"mean": 1.5, "amplitude": 0.3, "peak_s": 3.0}, period_s=10.0),
        "jobs": Queueing(rate=0.2, mean_s=0.5, discipline="processor_sharing"),
    }
    if leaves:
        models["spot"] = Churn(mean_stay_s=20.0, mean_away_s=2.0, detect_s=1.0)
    network = Network(
        latency_s=0.01,
        worker_bytes_per_s=[100.0, 50.0, 25.0, 100.0, 100.0, 100.0],
        ingress_bytes_per_s=200.0,
        downlink_bytes_per_s=40.0,
        egress_bytes_per_s=60.0,
        gradient_bytes=20.0,
    )
    schemes = [each for each in examples.SCHEMES if each.n_workers == 6 and not isinstance(each, Ideal)]
    schemes = {repr(each): each for each in schemes if leftover == "finish" or not each.hears_late}
    results = stragglersim.run(
        Scenario(workers=6, jobs=6, stragglers=models, schemes=schemes, network=network, leftover=leftover),
        detail="workers",
    )
    assert (results.rounds["duration_s"] >= 0).all()
    assert (results.workers["load_done"] >= 0).all()
    assert (results.workers["load_done"] <= results.workers["load_given"] + 1e-9).all()
    assert leaves == (results.runs["decode_failures"].sum() > 0)


def test_a_run_is_replayed_from_its_workers_where_lists_are_reported_whole(tmp_path):
    models = {"base": Constant(startup_s=0.1, seconds_per_load=1.0), "own": EXPONENTIAL}
    first = Scenario(workers=6, jobs=20, stragglers=models, schemes={"GC": GradientCoding(6, s=2)})
    results = stragglersim.run(first, detail="workers")
    results.workers.to_parquet(tmp_path / "workers.parquet")
    replayed = dataclasses.replace(first, stragglers={"it": Trace(path=str(tmp_path / "workers.parquet"))})
    assert stragglersim.run(replayed).runs["makespan_s"].tolist() == pytest.approx(results.runs["makespan_s"].tolist())


@pytest.mark.parametrize("adds_to", ["task", "message_s", "seconds_per_gradient"])
def test_places_need_events_and_no_ideal(adds_to):
    models = {"work": Constant(1.0, 1.0), "own": ShiftedExponential(shift=0.0, mean=1.0, adds_to=adds_to)}
    scenario = Scenario(workers=3, jobs=3, stragglers=models, schemes={"uncoded": Uncoded(3)})
    assert why_not(scenario, "uncoded") == "a straggler model draws anew for each task or message"
    assert stragglersim.run(scenario).runs["engine"].tolist() == ["events"]
    with pytest.raises(ScenarioError, match=r"ideal needs straggler models that live in rounds, got stragglers.own"):
        Scenario(workers=3, jobs=3, stragglers=models, schemes={"ideal": Ideal(3)})


def test_live_runs_take_tasks_and_refuse_delays():
    models = {"own": ShiftedExponential(shift=0.0, mean=1.0, adds_to="message_s")}
    scenario = Scenario(workers=3, jobs=3, stragglers=models, schemes={"uncoded": Uncoded(3)})
    with pytest.raises(LiveError, match=r"^stragglers.own: must not delay messages with --inject"):
        live(scenario, is_injected=True)


def test_a_model_of_ones_own_must_draw_numbers_that_make_sense():
    places = Places({"mine": iter([np.array([1.0, -1.0])])})
    with pytest.raises(
        ValueError, match=r"stragglers.mine: what is drawn for a task or message must be at least 0 and"
    ):
        places.first(1)
    with pytest.raises(ValueError, match="the model must yield a time for each place of a list, got too few"):
        Places({"mine": iter([])}).first(1)


def test_what_a_scenario_may_say(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "workers: 3\njobs: 2\nstragglers: {own: {kind: gamma, mean: 1, variance: 1, adds_to: tasks}}\n"
        "schemes: {uncoded: {kind: uncoded}}\n",
        encoding="utf-8",
    )
    with pytest.raises(ScenarioError) as error:
        stragglersim.load(path)
    known = "startup_s, seconds_per_load, task, message_s, seconds_per_gradient"
    assert f"stragglers.own.adds_to: must be one of {known}, got 'tasks'" in str(error.value)
