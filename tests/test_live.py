"""Runs on real processes: exact decoding, what was injected, replays, and what goes wrong with processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import times_of

import examples
from schemes import Ideal, NestedGradientCoding, PartialGradientCoding
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.errors import LiveError
from simulator.execution.one_run import plan_of
from simulator.live import run as live_run
from simulator.live.hub import Hub
from simulator.live.run import live
from simulator.live.verdict import Row, table
from simulator.live.wire import WireError, pack, unpack
from simulator.plots.live import live_page
from stragglersim import Scenario

zmq = pytest.importorskip("zmq", reason="live runs need the extra stragglersim[live]")
SPEC = {"kind": "least_squares", "rows": 40, "dimension": 5}
# no two instants at which something is decided are less than 10 ms apart
USUAL = {"kind": "per_worker", "model": {"kind": "constant", "startup_s": [0.02, 0.03, 0.04, 0.05]}}
SLOW = {"kind": "bernoulli", "p": 0.2, "slowdown": 10.0}
RULE = {"kind": "mu_rule", "mu": 2.5, "wait_for": "enough"}
KEEP = {"late_responses": "keep", "accepts": "recoverable"}


def scenario(schemes, *, stragglers=None, jobs=12, **more):
    stragglers = stragglers or {"usual": USUAL, "slow": SLOW}
    more = {"master": RULE} | more
    return Scenario(name="live", seed=3, workers=4, jobs=jobs, stragglers=stragglers, schemes=schemes, **more)


CYCLIC = {"kind": "cyclic", "chunks_per_worker": 2}
SYNCHRONOUS = {
    "uncoded": {"kind": "uncoded"},
    "GC": {"kind": "gradient_coding", "s": 1},
    "GC-Rep": {"kind": "fractional_repetition", "s": 1},
    "parts": {"kind": "communication_efficient_gradient_coding", "s": 1, "m": 2},
    "SR-SGC": {"kind": "selective_repeat", "B": 1, "W": 2, "lam": 2},
    "M-SGC": {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2},
    "partial": {
        "kind": "partial_gradient_coding",
        "assignment": {"kind": "cyclic", "chunks_per_worker": 2},
        "blocks": 2,
    },
    "nested": {"kind": "nested_gradient_coding", "s_max": 2},
    "fastest 3": {"kind": "fastest_k", "k": 3},
    "to-do": {"kind": "to_do_list", "r": 2, "k": 4, "order": "cyclic"},
    "copies": {"kind": "backup_tasks", "policy": {"after": "share", "share": 0.5}},
}
ASYNCHRONOUS = {
    "2-async": {"kind": "k_async", "k": 2},
    "k-batch": {"kind": "k_batch_async", "k": 3},
    "stale": {"kind": "bounded_staleness", "staleness": 2},
    "DSAG": {"kind": "dsag", "w": 2},
    "local": {"kind": "local_sgd", "k": 3, "steps": 3},
    "LATE": {"kind": "backup_tasks", "policy": {"after": "late", "max_copies": 2, "heartbeat_s": 0.02}},
}


MARGIN_S = 0.002  # of what the first response is late, the look of the rule is 3.5 times as late


def told_alike(found, of):
    """What was injected is what happened: statuses and stragglers of the simulation of the same times.

    Where the machine was so busy that a response came later than the margin, that is no fault of the master.
    """
    for label in set(found.results.runs["scheme"]) - {"to-do"}:  # whose two reports come at one instant here
        simulated = RunRecord(of.workers, of.jobs, keeps_workers=True)
        simulate(plan_of(of, label, 0), simulated)
        due_s = pd.concat(map(pd.DataFrame, simulated.workers)).set_index(["round", "worker"])["finished_s"]
        arrivals = found.arrivals[found.arrivals["scheme"] == label]
        late_s = arrivals.groupby(["round", "worker"])["heard_s"].max() - due_s
        if late_s[np.isfinite(late_s)].max() > MARGIN_S:
            continue
        rounds, jobs = found.results.rounds, found.results.jobs
        assert rounds[rounds["scheme"] == label]["stragglers"].tolist() == simulated.rounds.stragglers, label
        assert jobs[jobs["scheme"] == label]["status"].tolist() == simulated.jobs.status, label


def test_every_synchronous_scheme_decodes_what_was_injected():
    of = scenario(SYNCHRONOUS, models=3, training={"workload": SPEC, "learning_rate": 0.1})
    found = live(of, is_injected=True)
    assert all(row.replay_equal for row in found.rows), found.differences
    assert found.results.runs.set_index("scheme")["worst_residual"].drop("fastest 3").max() < 1e-8
    told_alike(found, of)
    assert set(found.results.runs["engine"]) == {"live"}
    assert (found.arrivals.groupby("scheme")["heard_s"].min() > 0).all()
    uncoded = found.traces["uncoded"]
    assert len(uncoded) == 48
    assert (uncoded["duration_s"] >= 0.02).all()
    # a cancelled list is told as what it had run at least
    assert found.traces["GC"]["censored"].any()


def test_schemes_that_act_replay_equal():
    found = live(scenario(ASYNCHRONOUS, master={"kind": "first_enough"}), is_injected=True)
    assert all(row.replay_equal for row in found.rows), found.differences
    training = found.results.training
    assert training[training["scheme"] == "stale"]["staleness"].max() > 0
    assert training["loss"].notna().all()
    for _, of_scheme in training.groupby("scheme"):
        assert of_scheme["loss"].iloc[-1] < of_scheme["loss"].iloc[0]


def test_leftover_work_and_late_responses_replay_equal():
    schemes = {
        "GC": {"kind": "gradient_coding", "s": 1},
        "SR-SGC": {
            "kind": "selective_repeat",
            "B": 1,
            "W": 2,
            "lam": 2,
            "late_responses": "keep",
            "accepts": "recoverable",
        },
        "M-SGC": {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2, **KEEP},
    }
    found = live(scenario(schemes, models=3, leftover="finish"), is_injected=True)
    assert all(row.replay_equal for row in found.rows), found.differences
    assert found.results.runs["worst_residual"].max() < 1e-8


def test_what_nature_does_without_models_is_replayed_and_predicted():
    found = live(
        scenario({"uncoded": {"kind": "uncoded"}}, stragglers={"none": {"kind": "constant", "startup_s": 0.0}})
    )
    (row,) = found.rows
    assert row.replay_equal
    assert 0 < row.predicted_low_s <= row.predicted_s <= row.predicted_high_s
    assert found.calibration.latency_s > 0
    times = ["live_s", "replay_s", "replay_equal", "predicted_s", "predicted_low_s", "predicted_high_s"]
    assert table(found.rows).columns.tolist() == ["scheme", *times, "difference"]


def test_a_killed_worker_is_replaced_and_its_work_sent_again(monkeypatch):
    killed = []

    class Killing(Hub):
        def __enter__(self):
            super().__enter__()
            timer = threading.Timer(2.0, lambda: killed.append(self.pids[2]) or os.kill(self.pids[2], signal.SIGKILL))
            timer.start()
            return self

    monkeypatch.setattr(live_run, "Hub", Killing)
    stragglers = {"usual": {"kind": "constant", "startup_s": 0.1}}
    of = scenario({"uncoded": {"kind": "uncoded"}}, stragglers=stragglers, jobs=20)
    found = live(of, is_injected=True)
    assert killed
    assert found.rows[0].replay_equal
    assert found.results.runs["decode_failures"].item() == 0
    assert found.results.runs["worst_residual"].item() < 1e-8


def test_a_worker_that_always_dies_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "fatal_gradients.py").write_text(
        "from pydantic.dataclasses import dataclass\nfrom workloads import LeastSquares\n"
        "@dataclass(frozen=True)\nclass Deadly(LeastSquares):\n"
        "    def gradient(self, parameters, rows):\n"
        "        if parameters.any():\n            raise ValueError('no gradient today')\n"
        "        return super().gradient(parameters, rows)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    of = scenario(
        {"uncoded": {"kind": "uncoded"}},
        training={"workload": {"kind": "fatal_gradients:Deadly"}, "learning_rate": 0.1},
    )
    with pytest.raises(LiveError, match=r"worker \d: must answer, got its end .*no gradient today"):
        live(of, is_injected=True)


def test_with_a_timeout_a_round_closes_without_a_worker_that_is_gone():
    hub_of = Hub(2, SPEC, Path())
    with hub_of as hub:
        for _ in range(6):
            os.kill(hub.pids[0], signal.SIGKILL)
            heard = hub.receive(hub.now_s() + 5.0)
            assert heard is not None
            if heard.kind == "gone":
                break
            assert heard.kind == "reborn"
        assert heard.kind == "gone"


def test_strangers_are_refused():
    with Hub(1, SPEC, Path()) as hub:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.connect(hub._said["address"])
        for frames in ([b"nonsense"], [b"{}"], pack("report", {"worker": 0, "generation": 0, "token": "guessed"})):
            socket.send_multipart(frames)
        assert hub.receive(hub.now_s() + 0.5) is None
        assert hub.n_refused == 3
        header = {"worker": 0, "generation": 1, "token": hub._token, "version": 99}
        socket.send_multipart(pack("hello", header))
        with pytest.raises(LiveError, match="must be of the same version as the master, 1, got 99"):
            hub.receive(hub.now_s() + 2.0)
        context.destroy(linger=0)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_no_worker_outlives_its_master(how, tmp_path):
    (tmp_path / "long.yaml").write_text(
        "name: long\nworkers: 3\njobs: 2000\nstragglers: {usual: {kind: constant, startup_s: 0.05}}\n"
        "schemes: {uncoded: {kind: uncoded}}\n"
    )
    command = [sys.executable, "-m", "simulator", "live", "long.yaml", "--inject"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        try:
            children, until = [], time.monotonic() + 30
            while len(children) < 4 and time.monotonic() < until:
                time.sleep(0.1)
                children = descendants(process.pid)
            time.sleep(1.0)
            process.send_signal(how)
            began = time.monotonic()
            _, words = process.communicate(timeout=20)
        finally:
            process.kill()
    while any(map(alive, children)) and time.monotonic() < began + 10:
        time.sleep(0.02)
    assert len(children) == 4
    assert not any(map(alive, children))
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert words.decode().splitlines()[-1].startswith("stopped")
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


def descendants(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [*map(int, children), *(below for child in children for below in descendants(int(child)))]


def test_what_can_not_be_run_live_is_refused():
    of = {"kind": "adaptive", "of": {"uncoded": {"kind": "uncoded"}}}
    for scheme, why in (({"kind": "ideal"}, "divides work in hindsight"), (of, "chooses among several")):
        with pytest.raises(LiveError, match=rf"schemes.it: must be one that real workers can run, .* which {why}"):
            live(scenario({"uncoded": {"kind": "uncoded"}, "it": scheme}), is_injected=True)
    with pytest.raises(LiveError, match="sweep: must be none"):
        live(scenario({"uncoded": {"kind": "uncoded"}}, sweep={"jobs": [1, 2]}))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_garbage_is_no_message(frames):
    with pytest.raises(WireError):
        unpack(frames)


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "order", "arrays": [["<f8", 3]]},
        {"kind": "order", "arrays": [["|O", 1]]},
        {"kind": "order", "arrays": [["<f8", -1]]},
        {"kind": "order", "arrays": [["<f8", 2, 0.5]]},
        {"kind": "order", "arrays": [[]]},
        {"kind": 3, "arrays": [["<f8", 1]]},
        {"arrays": [["<f8", 1]]},
        [],
    ],
)
def test_arrays_that_are_not_as_the_header_says_are_refused(header):
    with pytest.raises(WireError):
        unpack([json.dumps(header).encode(), b"12345678"])


# --- two ways to decide when a round closes ---

SINGLE_PHASE = [
    scheme
    for scheme in examples.SCHEMES
    if not isinstance(scheme, Ideal | PartialGradientCoding | NestedGradientCoding)
    if not scheme.late_ends_rounds and not scheme.begins_anew
]
RULES = [
    FirstEnough(),
    FirstEnough(poll_s=0.7),
    MuRule(mu=0.5, wait_for="all"),
    MuRule(mu=0.4, reference="median", wait_for="enough", timeout_s=4.0),
    FixedTime(time_s=1.5, wait_for="enough"),
    FixedTime(time_s=1.2, wait_for="all", poll_s=0.5),
]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_round_closes_alike_whether_arrivals_are_known_ahead_or_heard_as_they_come(data):
    scheme = data.draw(st.sampled_from(SINGLE_PHASE))
    rule = data.draw(st.sampled_from(RULES))
    seed = data.draw(st.integers(0, 1000))
    latency_s = data.draw(st.sampled_from([0.0, 0.1]))
    if rule.waits_for == "nobody" and scheme.needs_enough:
        return

    class AsTheyCome(type(scheme)):
        @property
        def decides_leftover(self):  # then the engine keeps to what has come
            return True

    changed = object.__new__(AsTheyCome)
    changed.__dict__.update(vars(scheme))
    records, rng = [], np.random.default_rng(seed)
    drawn = rng.choice([0.5, 1.0, 1.5, 2.0, 5.0], size=(12 + scheme.delay_rounds, scheme.n_workers))
    if scheme.hears_late:  # no ties with the start of a later round, which rounding decides
        drawn += 1e-3 * rng.random(drawn.shape)
    rows = [[(startup_s, 0.5, 1.0) for startup_s in row] for row in drawn.tolist()]
    for one in (scheme, changed):
        record = RunRecord(scheme.n_workers, 12)
        plan = RunPlan(
            scheme=one,
            n_jobs=12,
            times=times_of(rows),
            speeds=None,
            rule=rule,
            leftover="finish" if scheme.hears_late else "cancel",
            round_overhead_s=0.25,
            network=Network(latency_s=latency_s),
            rng=np.random.default_rng(0),
            again=lambda k: times_of(rows[::-1]),
        )
        simulate(plan, record)
        records.append(record)
    known, heard = records
    assert known.rounds.duration_s == pytest.approx(heard.rounds.duration_s, rel=1e-12)
    assert known.rounds.stragglers == heard.rounds.stragglers
    assert known.rounds.waited_s == pytest.approx(heard.rounds.waited_s, abs=1e-12)
    assert known.jobs == heard.jobs or known.jobs.status == heard.jobs.status


@pytest.mark.parametrize(("slowest_s", "scale"), [(5.0, "linear"), (50.0, "log")])
def test_the_figure_shows_all_schemes_whatever_their_times(slowest_s, scale):
    rows = [Row(label, t, t, True, t, 0.9 * t, 1.1 * t) for label, t in (("GC", 2.0), ("uncoded", slowest_s))]
    (axes,) = live_page(rows, is_injected=True).axes
    assert axes.get_xscale() == axes.get_yscale() == scale
    low, high = axes.get_xlim()
    assert low < 0.9 * 2.0
    assert high > 1.1 * slowest_s


def test_a_verdict_has_a_row_for_each_scheme():
    assert Row("GC", 2.0, 2.0, True, 2.2, 1.0, 3.0).difference == pytest.approx(0.1)
