"""What responses cost on their way: by hand, and the ingress against SimPy's own resource."""

import math

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import durations, rows_of, run, starts, statuses

import stragglersim
from schemes import GradientCoding, Ideal, Multiplexed, PartialGradientCoding, SelectiveRepeat, Uncoded, Work
from schemes.assignment import Cyclic
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Uplink
from stragglersim import Network

INF = math.inf


def uploads(record):
    """Their number, bytes and seconds in each round."""
    return list(zip(record.rounds.uploads, record.rounds.bytes_up, record.rounds.upload_s, strict=True))


def test_a_free_network_changes_nothing_and_counts_responses():
    record = run(GradientCoding(4, s=1), 1, starts([1, 2, 3, 9]), FirstEnough())
    assert uploads(record)[0] == (3, 0.0, 0.0)


def test_a_message_takes_its_size_over_the_rate_and_the_latency():
    network = Network(latency_s=0.25, worker_bytes_per_s=100.0, ingress_bytes_per_s=400.0, gradient_bytes=200.0)
    record = run(Uncoded(2), 1, starts([1, 9]), FirstEnough(), network=network)
    assert durations(record) == [9 + 2 + 0.25 + 0.5]
    assert record.rounds.first_finish_s[0] == 1 + 2 + 0.25 + 0.5
    assert uploads(record)[0] == (2, 400.0, 2.75)


def test_messages_queue_at_the_ingress_in_the_order_in_which_they_come():
    network = Network(ingress_bytes_per_s=100.0, gradient_bytes=200.0)  # 2 s each
    record = run(Uncoded(4), 1, starts([1, 3, 3.5, 20]), FirstEnough(), network=network)
    assert durations(record) == [22.0]
    code = GradientCoding(4, s=1)
    record = run(code, 1, starts([3.5, 1, 3, 20]), FirstEnough(), network=network)
    assert durations(record) == [7.0]  # 1-3, 3-5, 5-7
    assert uploads(record)[0] == (3, 600.0, 3.5)


def test_messages_in_flight_are_dropped_and_have_been_sent():
    network = Network(ingress_bytes_per_s=100.0, gradient_bytes=200.0)
    record = run(GradientCoding(4, s=2), 2, starts([1, 1.5, 2, 4.5], [1, 2, 9, 9]), FirstEnough(), network=network)
    # 1-3, 3-5: enough at 5, with worker 2 in the queue and worker 3 behind it; the next round finds the ingress empty
    assert durations(record) == [5.0, 5.0]
    assert uploads(record) == [(4, 800.0, 3.5), (2, 400.0, 3.0)]
    assert record.rounds.stragglers == [2, 2]
    assert record.workers[0]["finished_s"].tolist() == [1.0, 1.5, 2.0, 4.5]
    assert record.load_done == pytest.approx(4 * 0.75 + 2 * 0.75 + 2 * 0.75 * 5 / 9)


def test_the_mu_rule_sees_arrivals():
    network = Network(latency_s=1.0)
    assert durations(run(GradientCoding(3, s=1), 1, starts([1, 2, 3.5]), MuRule(mu=0.5), network=network)) == [3.0]


def test_a_message_that_arrives_at_the_fixed_time_counts():
    network = Network(ingress_bytes_per_s=100.0, gradient_bytes=100.0)
    record = run(Uncoded(2), 1, starts([1, 1]), FixedTime(time_s=3.0), network=network)
    assert (durations(record), statuses(record)) == ([3.0], ["decoded"])


def test_a_multiplexed_list_brings_one_gradient_for_each_job():
    network = Network(worker_bytes_per_s=8.0, gradient_bytes=8.0)
    record = run(
        Multiplexed(3, B=1, W=2, lam=1), 2, starts([1, 1, 1], [1, 1, 1], [1, 1, 1]), FirstEnough(), network=network
    )
    # T = 1: one mini-task in the first and the last round, two in between; the last response of a job is not needed
    assert durations(record) == [2.0, 3.0, 2.0]
    assert record.rounds.bytes_up == [24.0, 48.0, 24.0]
    assert record.rounds.uploads == [3, 3, 3]


def test_padding_of_the_published_simulator_sends_nothing():
    network = Network(gradient_bytes=8.0)
    how = {"n_workers": 4, "B": 1, "W": 2, "lam": 2, "as_published": True}
    rows = starts([1, 1, 9, 9], [1, 1, 1, 1])
    record = run(SelectiveRepeat(**how), 1, rows, MuRule(mu=1.0, wait_for="nobody"), network=network)
    assert record.rounds.bytes_up == [16.0, 8.0]
    record = run(Multiplexed(**how), 1, starts([1, 1, 1, 1], [1, 1, 1, 1]), FirstEnough(), network=network)
    assert record.rounds.bytes_up == [32.0, 32.0]


def test_mini_tasks_that_are_reported_one_by_one_leave_one_after_another():
    network = Network(worker_bytes_per_s=8.0, gradient_bytes=8.0)
    scheme = Multiplexed(2, B=1, W=2, lam=2, credit="prefix")  # lam = n: a second try only where the first was lost
    rows = [[(0, 2.0, 1), (0, 20.0, 1)], [(0, 2.0, 1), (0, 2.0, 1)]]
    record = run(scheme, 1, rows, FixedTime(time_s=3.0), network=network)
    assert durations(record) == [3.0, 2.0]  # load 1/2 each: done after 1 s, and after 10 s
    assert uploads(record) == [(1, 8.0, 1.0), (1, 8.0, 1.0)]
    rows = [[(0, 2.0, 1), (0, 2.0, 4)], [(0, 0.5, 1), (0, 0.5, 1)], [(0, 2.0, 1), (0, 2.0, 1)]]
    record = run(scheme, 2, rows, FixedTime(time_s=3.0), network=network)
    # round 1, worker 1: the repeat is done at 0.25 and arrives at 1.25; the first try, done at 0.5, follows it
    assert durations(record) == [3.0, 2.25, 0.0]


PARTIAL = {"n_workers": 3, "assignment": Cyclic(chunks_per_worker=2)}


def test_uploads_of_partial_coding_begin_at_the_masters_word():
    network = Network(latency_s=0.5, worker_bytes_per_s=4.0, ingress_bytes_per_s=8.0, gradient_bytes=8.0)
    rows = [[(0, 3.0, 1), (0, 3.0, 1), (0, 30.0, 1)]]  # a chunk takes 1 s, 1 s, 10 s
    record = run(PartialGradientCoding(**PARTIAL), 1, rows, FirstEnough(), network=network)
    # worker 0: chunks 0, 1 at 1, 2; worker 1: chunks 1, 2 at 1, 2, reported at 2.5. The word is there at 3, sending
    # takes 2 s, they reach the ingress at 5.5 and have come through at 6.5 and 7.5. Worker 2 has nothing to say
    assert durations(record) == [7.5]
    assert record.rounds.first_finish_s[0] == 2.5
    assert uploads(record)[0] == (2, 16.0, 5.0)
    assert statuses(record) == ["decoded"]
    assert record.load_done == pytest.approx(2 / 3 + 2 / 3 + 0.25 / 3)  # work ends with the master's word
    record = run(PartialGradientCoding(**PARTIAL, blocks=2), 1, rows, FirstEnough(), network=network)
    # chunk 0 is at workers 0 and 2, which has it second: at 20, reported at 20.5; three uploads of half the size
    assert durations(record) == [20.5 + 0.5 + 1 + 0.5 + 3 * 0.5]
    assert uploads(record)[0] == (3, 12.0, 3.5)


def test_an_estimate_is_uploaded_too_by_whoever_has_finished_a_chunk():
    network = Network(latency_s=0.5, gradient_bytes=8.0)
    rows = [[(0, 3.0, 1), (0, 30.0, 1), (0, 30.0, 1)]]
    record = run(PartialGradientCoding(**PARTIAL), 1, rows, FixedTime(time_s=3.0), network=network)
    assert (durations(record), statuses(record)) == ([4.0], ["approximate"])
    assert rows_of(record.rounds)[0][4:10] == (False, 0.0, 2, 1, 8.0, 1.0)
    whole = PartialGradientCoding(**PARTIAL, credit="whole_list")
    assert durations(run(whole, 1, rows, FixedTime(time_s=2.0), network=network)) == [3.5]  # waits for a first report
    nobody = [[(0, INF, 1)] * 3]
    record = run(PartialGradientCoding(**PARTIAL), 1, nobody, FixedTime(time_s=3.0), network=network)
    assert (durations(record), uploads(record)[0]) == ([3.0], (0, 0.0, 0.0))


def test_a_timeout_during_the_uploads_loses_the_job():
    network = Network(worker_bytes_per_s=4.0, gradient_bytes=8.0)
    rows = [[(0, 3.0, 1), (0, 3.0, 1), (0, 30.0, 1)]]
    record = run(PartialGradientCoding(**PARTIAL), 1, rows, FirstEnough(timeout_s=3.5), network=network)
    assert (durations(record), statuses(record)) == ([3.5], ["failed"])
    assert uploads(record)[0] == (2, 16.0, 1.5)
    assert statuses(run(PartialGradientCoding(**PARTIAL), 1, rows, FirstEnough(timeout_s=4.0), network=network)) == [
        "decoded"
    ]


def test_a_master_that_polls_notices_the_end_of_the_uploads_then():
    network = Network(worker_bytes_per_s=4.0, gradient_bytes=5.0)
    rows = [[(0, 3.0, 1), (0, 3.0, 1), (0, 30.0, 1)]]
    assert durations(run(PartialGradientCoding(**PARTIAL), 1, rows, FirstEnough(poll_s=1.0), network=network)) == [4.0]


def test_the_reference_sends_nothing():
    network = Network(ingress_bytes_per_s=1.0, gradient_bytes=100.0)
    record = run(Ideal(2), 1, [[(0, 2.0, 1), (0, 2.0, 1)]], FirstEnough(), network=network)
    assert (durations(record), uploads(record)[0]) == ([1.0], (0, 0.0, 0.0))


@settings(deadline=None)
@given(data=st.data())
def test_links_and_ingress_are_simpy_resources(data):
    """First come first served, one message at a time: the recursion against processes and resources."""
    n, reports = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    eighths = st.integers(0, 40).map(lambda k: k / 8)
    steps = np.array(data.draw(st.lists(st.lists(eighths, min_size=reports, max_size=reports), min_size=n, max_size=n)))
    due_s = np.cumsum(steps, axis=1) + np.arange(n)[:, np.newaxis] / 1024  # no two workers at once
    gradients = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 3), min_size=reports, max_size=reports), min_size=n, max_size=n))
    ).astype(float)
    worker_rate, ingress_rate = (data.draw(st.sampled_from([None, 4.0, 16.0])) for _ in range(2))
    network = Network(
        latency_s=data.draw(eighths),
        worker_bytes_per_s=worker_rate,
        ingress_bytes_per_s=ingress_rate,
        gradient_bytes=8.0,
    )
    arrives_s = np.full((n, reports), np.nan)
    env = simpy.Environment()
    links = [simpy.Resource(env) for _ in range(n)]
    ingress = simpy.Resource(env)

    def pass_through(resource, seconds):
        with resource.request() as turn:
            yield turn
            yield env.timeout(seconds)

    def message(worker, report):
        yield env.timeout(due_s[worker, report])
        size = 8.0 * gradients[worker, report]
        if size:
            yield from pass_through(links[worker], size / worker_rate if worker_rate else 0.0)
        yield env.timeout(network.latency_s)
        if size:
            yield from pass_through(ingress, size / ingress_rate if ingress_rate else 0.0)
        arrives_s[worker, report] = env.now

    for worker in range(n):
        for report in range(reports):
            env.process(message(worker, report))
    env.run()
    uplink = Uplink(network, n, hears_late=False)
    arrivals = uplink.open(0, Work(np.cumsum(np.ones_like(due_s), axis=1), gradients=gradients), due_s)
    assert arrivals.times_s == pytest.approx(np.sort(arrives_s.ravel()).tolist(), rel=1e-12)


def test_a_scenario_has_a_network(tmp_path):
    path = tmp_path / "slow-uplink.yaml"
    path.write_text(
        """
workers: 2
jobs: 2
network: {ingress_bytes_per_s: 1e6, gradient_bytes: 2e6}
stragglers: {usual: {kind: constant, startup_s: 1}}
schemes: {uncoded: {kind: uncoded}}
sweep: {network.gradient_bytes: [2e6, 4e6]}
""",
        encoding="utf-8",
    )
    results = stragglersim.run(stragglersim.load(path))
    assert results.runs["makespan_s"].tolist() == [10.0, 18.0]
    assert results.runs["bytes_up"].tolist() == [8e6, 16e6]
    assert results.rounds["uploads"].tolist() == [2, 2, 2, 2]
    assert results.scenario["network"]["ingress_bytes_per_s"] == 1e6


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ("{gradient_bytes: -1}", "4:11: network.gradient_bytes: must be at least 0, got -1"),
        ("{worker_bytes_per_s: 0}", "4:11: network.worker_bytes_per_s: must be greater than 0, got 0"),
        ("{ingress_bytes_per_s: 5}", "4:1: network.gradient_bytes: must be given with ingress_bytes_per_s, got 0"),
        ("{latency: 5}", "4:11: network.latency: is not a key here (known: latency_s, worker_bytes_per_s, "),
        (
            "5",
            "4:1: network: must be a mapping (keys: latency_s, worker_bytes_per_s, ingress_bytes_per_s, ",
        ),
    ],
)
def test_a_wrong_network_is_told_where_and_what(tmp_path, network, line):
    path = tmp_path / "x.yaml"
    path.write_text(
        f"workers: 2\njobs: 2\nname: x\nnetwork: {network}\nstragglers: {{usual: {{kind: constant, startup_s: 1}}}}\n"
        "schemes: {uncoded: {kind: uncoded}}\n",
        encoding="utf-8",
    )
    with pytest.raises(stragglersim.ScenarioError) as error:
        stragglersim.load(path)
    assert f"x.yaml:{line}" in str(error.value)
