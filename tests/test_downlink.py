"""Parameters on their way to workers, and links of their own: by hand, closed forms, against SimPy's resources."""

import math

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from test_acting import run as run_acting
from test_engine import durations, run, starts, times_of

import stragglersim
from schemes import BackupTasks, FastestK, GradientCoding, Ideal, KAsync, Uncoded
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.record import RunRecord
from simulator.engine.worker_seconds import worker_seconds
from simulator.execution.side_by_side import why_not
from simulator.results.fairness import fairness
from straggler_models import Constant, MarkovSpeed, ShiftedExponential
from stragglersim import Network, Scenario

DOWN = Network(downlink_bytes_per_s=50.0, egress_bytes_per_s=100.0, gradient_bytes=100.0)  # 1 s out, 2 s down
OUT = Network(egress_bytes_per_s=100.0, gradient_bytes=100.0)


def finished(record, index=0):
    return record.workers[index]["finished_s"].tolist()


def test_orders_go_out_one_after_another_and_then_down():
    record = run(Uncoded(3), 2, starts([5, 1, 1], [1, 1, 1]), FirstEnough(), network=DOWN)
    assert finished(record) == [3 + 5, 4 + 1, 5 + 1]
    assert durations(record) == [8.0, 6.0]  # the next round finds the links empty
    down = Network(downlink_bytes_per_s=50.0, gradient_bytes=100.0)
    assert finished(run(Uncoded(3), 1, starts([5, 1, 1]), FirstEnough(), network=down)) == [7, 3, 3]


def test_workers_have_uplinks_of_their_own():
    network = Network(worker_bytes_per_s=[100.0, 50.0, 200.0], ingress_bytes_per_s=400.0, gradient_bytes=200.0)
    record = run(Uncoded(3), 1, starts([1, 1, 2]), FirstEnough(), network=network)
    # sent at 3, 5 and 3; through the ingress, half a second each, at 3.5, 5.5 and 4
    assert durations(record) == [5.5]
    assert record.rounds.first_finish_s == [3.5]
    rows = starts([1, 1, 2], [1, 1, 1])
    assert durations(run_acting(KAsync(3, k=1), 2, rows, network=network)) == [
        3.5,
        0.5,
    ]  # worker 2 follows, through at 4
    assert durations(run_acting(KAsync(3, k=3), 1, rows, network=network)) == [5.5]


@pytest.mark.parametrize("ingress", [50.0, 100.0, 200.0])
def test_uncoded_rounds_have_a_closed_form(ingress):
    n, size, out, down, up, latency_s, work_s = 3, 100.0, 100.0, 50.0, 25.0, 0.25, 1.5
    network = Network(
        latency_s=latency_s,
        worker_bytes_per_s=up,
        ingress_bytes_per_s=ingress,
        downlink_bytes_per_s=down,
        egress_bytes_per_s=out,
        gradient_bytes=size,
    )
    record = run(Uncoded(n), 1, starts([work_s] * n), FirstEnough(), network=network)
    between = size / down + work_s + size / up + latency_s
    # all pass the slower of the two shared links one after another
    expected = between + size / out + size / ingress + (n - 1) * max(size / out, size / ingress)
    assert durations(record) == pytest.approx([expected])


def test_the_slower_uplink_decides_an_uncoded_round():
    each = [100.0, 40.0, 80.0]
    network = Network(worker_bytes_per_s=each, egress_bytes_per_s=100.0, gradient_bytes=100.0)
    record = run(Uncoded(3), 1, starts([2, 2, 2]), FirstEnough(), network=network)
    assert durations(record) == [max(place + 1 + 2 + 100 / rate for place, rate in enumerate(each))]


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_orders_pass_simpy_resources(data):
    """First come first served, one at a time, round after round, while workers finish what is left over."""
    n, n_rounds, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    scheme, leftover = FastestK(n, k=min(k, n)), data.draw(st.sampled_from(["cancel", "finish"]))
    eighths = st.integers(1, 40).map(lambda eighth: eighth / 8)
    work = [[data.draw(eighths) + worker / 1024 for worker in range(n)] for _ in range(n_rounds)]
    out, down = (data.draw(st.sampled_from([None, 4.0, 16.0])) for _ in range(2))
    network = Network(egress_bytes_per_s=out, downlink_bytes_per_s=down, gradient_bytes=8.0)
    record = run(scheme, n_rounds, starts(*work), FirstEnough(), leftover=leftover, network=network)
    env, ends = simpy.Environment(), []
    links = {}

    def empty():
        links.update(out=simpy.Resource(env), down=[simpy.Resource(env) for _ in range(n)])

    def passing(resource, rate):
        with resource.request() as turn:
            yield turn
            yield env.timeout(8.0 / rate if rate else 0.0)

    def worker_does(worker, seconds, before, done):
        yield from passing(links["out"], out)
        yield from passing(links["down"][worker], down)
        if before is not None and leftover == "finish":
            yield before
        yield env.timeout(seconds)
        done.append(worker)

    def master():
        empty()
        lists = [None] * n
        for row in work:
            start_s, done = env.now, []
            lists = [env.process(worker_does(w, row[w], lists[w], done)) for w in range(n)]
            while len(done) < scheme.k:
                yield env.any_of([each for each in lists if each.is_alive])
            ends.append(env.now - start_s)
            if leftover == "cancel":
                empty()

    env.run(until=env.process(master()))
    assert durations(record) == pytest.approx(ends)


def test_orders_that_have_not_gone_out_wait_in_the_next_round_where_lists_go_on():
    rows = starts([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    record = run(FastestK(3, k=1), 2, rows, FirstEnough(), leftover="finish", network=OUT)
    # out at 1, 2, 3, and from 1.5 on behind them at 4, 5, 6: worker 0 is done at 4.5
    assert durations(record) == [1.5, 3.0]
    record = run(FastestK(3, k=1), 2, rows, FirstEnough(), network=OUT)
    assert durations(record) == [1.5, 1.5]


def test_load_counts_from_when_the_order_is_there():
    record = run(FastestK(3, k=1), 1, starts([1, 4, 4]), FirstEnough(), network=DOWN)
    # the round ends at 4: worker 1 has only just begun, worker 2 has nothing yet
    assert record.workers[0]["load_done"].tolist() == [1 / 3, 0.0, 0.0]
    record = run(FastestK(3, k=1), 1, starts([3, 4, 4]), FirstEnough(), network=DOWN)
    assert record.workers[0]["load_done"].tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 12])


class Kept(RunRecord):
    """A record that keeps the seconds of all workers."""

    def round_closed(self, closed):
        super().round_closed(closed)
        self.worker_s = [*getattr(self, "worker_s", []), worker_seconds(closed)]


def plan_of(scheme, n_jobs, rows, leftover, network, **other):
    return RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=times_of(rows),
        speeds=None,
        rule=FirstEnough(),
        leftover=leftover,
        round_overhead_s=0.0,
        network=network,
        rng=np.random.default_rng(0),
        **other,
    )


def test_waiting_for_parameters_is_no_work():
    record = Kept(3, 1)
    simulate(plan_of(FastestK(3, k=2), 1, starts([1, 2, 9]), "cancel", DOWN), record)
    assert record.worker_s == [1 + 2 + 1]  # until 6: from 3 to 4, 4 to 6, 5 to 6
    record = Kept(3, 2)
    rows = starts([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    simulate(plan_of(FastestK(3, k=1), 2, rows, "finish", OUT), record)
    # until 1.5: worker 0 from 1; then worker 1 from 2, worker 2 from 3, worker 0 from 4 to 4.5
    assert record.worker_s == pytest.approx([0.5, 1.5])


def test_later_orders_wait_behind_earlier_ones():
    backup = BackupTasks(3, policy={"after": "share", "share": 0.3})
    record = run_acting(backup, 1, starts([0.5, 1, 9]), again=[starts([1, 1, 1])], network=OUT)
    # worker 0 is done at 1.5, and its copy of chunk 1 goes out behind the order of worker 2, which is out at 3: at 4;
    # worker 1 is done at 3, and its copy of chunk 2 goes out behind that one, at 5
    assert durations(record) == [6.0]
    record = run_acting(backup, 1, starts([0.5, 1, 9]), again=[starts([1, 1, 1])])
    assert durations(record) == [2.0]


def test_only_who_is_given_work_is_sent_an_order():
    rows = starts([1, 4, 9], [1, 9, 9], [1, 9, 9])
    record = run_acting(KAsync(3, k=1), 3, rows, network=OUT)
    # round 0: out at 1, 2, 3, worker 0 done at 2; then only worker 0 begins anew, behind the order of worker 2: at 4
    assert durations(record) == [2.0, 3.0, 1.0]  # at 5 worker 0 again; at 6 worker 1, which has begun at 2


def test_the_shares_of_ideal_are_free():
    record = run(Ideal(2), 1, [[(0, 2.0, 1), (0, 2.0, 1)]], FirstEnough(), network=DOWN)
    assert durations(record) == [1.0]


def test_rules_and_speeds_in_seconds_see_work_that_begins_late():
    assert durations(run(GradientCoding(3, s=1), 1, starts([1, 1, 9]), MuRule(mu=0.5), network=OUT)) == [3.0]
    assert durations(run(Uncoded(3), 1, starts([1, 1, 1]), FixedTime(time_s=3.5, wait_for="enough"), network=OUT)) == [
        4
    ]
    assert durations(run(Uncoded(3), 1, starts([1, 1, 1]), FirstEnough(poll_s=2.5), network=OUT)) == [5.0]
    spells = MarkovSpeed([{"slowdown": 1.0, "mean_s": 5.0}, {"slowdown": 6.0, "mean_s": 1.0}])
    common = {"workers": 3, "jobs": 30, "schemes": {"uncoded": Uncoded(3)}}
    late = Scenario(stragglers={"work": Constant(1.0), "spells": spells}, network=OUT, **common)
    free = Scenario(stragglers={"work": Constant(1.0), "spells": spells}, **common)
    late_s, free_s = (stragglersim.run(each, engine="events").runs["makespan_s"].item() for each in (late, free))
    assert free_s + 30 < late_s


def test_workers_are_followed_one_by_one_on_events():
    noise = {"work": ShiftedExponential(shift=1.0, mean=1.0, adds_to="startup_s")}
    sent = Scenario(workers=3, jobs=5, stragglers=noise, schemes={"uncoded": Uncoded(3)}, network=DOWN)
    assert why_not(sent, "uncoded") == "messages share a network"
    assert set(stragglersim.run(sent).runs["engine"]) == {"events"}
    assert math.isclose(
        stragglersim.run(sent).runs["makespan_s"].item(),
        stragglersim.run(sent, engine="events").runs["makespan_s"].item(),
    )


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ("{downlink_bytes_per_s: 0}", "3:11: network.downlink_bytes_per_s: must be greater than 0, got 0"),
        ("{egress_bytes_per_s: -2}", "3:11: network.egress_bytes_per_s: must be greater than 0, got -2"),
        ("{egress_bytes_per_s: 5}", "3:1: network.gradient_bytes: must be given with egress_bytes_per_s, got 0"),
        (
            "{worker_bytes_per_s: [1, 2], gradient_bytes: 1}",
            "3:11: network.worker_bytes_per_s: must have 3 entries, one for each worker, got 2",
        ),
        (
            "{worker_bytes_per_s: [1, 0, 2], gradient_bytes: 1}",
            "3:35: network.worker_bytes_per_s.1: must be greater than 0, got 0",
        ),
        (
            "{worker_bytes_per_s: [1, 1, -2], gradient_bytes: 1}",
            "3:38: network.worker_bytes_per_s.2: must be greater than 0, got -2",
        ),
        ("{worker_bytes_per_s: slow}", "3:11: network.worker_bytes_per_s: must be a valid number, got 'slow'"),
    ],
)
def test_a_wrong_rate_is_told_at_its_key(tmp_path, network, line):
    path = tmp_path / "x.yaml"
    path.write_text(
        f"workers: 3\njobs: 2\nnetwork: {network}\nstragglers: {{usual: {{kind: constant, startup_s: 1}}}}\n"
        "schemes: {uncoded: {kind: uncoded}}\n",
        encoding="utf-8",
    )
    with pytest.raises(stragglersim.ScenarioError) as error:
        stragglersim.load(path)
    assert f"x.yaml:{line}" in str(error.value)


def test_rates_of_workers_are_swept_written_and_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
workers: 3
jobs: 2
network: {worker_bytes_per_s: [1e6, 2e6, 4e6], gradient_bytes: 4e6}
stragglers: {usual: {kind: constant, startup_s: 1}}
schemes: {uncoded: {kind: uncoded}}
sweep: {network.worker_bytes_per_s.0: [1e6, 4e6]}
""",
        encoding="utf-8",
    )
    results = stragglersim.run(stragglersim.load(path))
    assert results.runs["makespan_s"].tolist() == [10.0, 6.0]
    assert "network: worker_bytes_per_s swept, gradient_bytes = 4e+06" in fairness(results)
    results.save(tmp_path / "out")
    assert stragglersim.Results.load(tmp_path / "out").runs["makespan_s"].tolist() == [10.0, 6.0]
    plain = stragglersim.run(stragglersim.load(path, overrides=["sweep={}"]))
    assert "network: worker_bytes_per_s from 1e+06 to 4e+06, gradient_bytes = 4e+06" in fairness(plain)
