"""`stragglersim live`, as a user calls it: what it writes, what it says, where workers run, and what goes wrong."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.engine.worker_times import round_times
from simulator.errors import LiveError, SimulationError
from simulator.live import hub as live_hub
from simulator.live import run as live_run
from simulator.live.calibration import Calibration
from simulator.live.hub import Hub
from simulator.live.run import live
from stragglersim import Scenario

zmq = pytest.importorskip("zmq", reason="live runs need the extra stragglersim[live]")
SPEC = {"kind": "least_squares", "rows": 40, "dimension": 5}
SMALL = """\
name: small
workers: 3
jobs: 4
stragglers:
  usual: {kind: shifted_exponential, shift: 0.02, mean: 0.02, adds_to: startup_s}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 1}
"""
TABLES = {f"{name}.parquet" for name in ("runs", "rounds", "jobs", "workers", "training", "arrivals")}
FILES = TABLES | {"live.csv", "traces", "summary.csv", "scenario.yaml", "manifest.json", "plots"}


def test_a_live_run_is_a_folder_that_every_command_reads(cli, tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    status, out, err = cli("live", "small.yaml", "--inject")
    assert status == 0, err
    assert "The replay is equal for all 2 schemes; predictions are off by" in out
    folder = tmp_path / "results/small-live"
    assert {path.name for path in folder.iterdir()} >= FILES | {
        "summary.csv",
        "scenario.yaml",
        "manifest.json",
        "plots",
    }
    verdict = pd.read_csv(folder / "live.csv")
    assert verdict["scheme"].tolist() == ["uncoded", "GC"]
    assert verdict["replay_equal"].all()
    runs = pd.read_parquet(folder / "runs.parquet")
    assert verdict["live_s"].to_numpy() == pytest.approx(runs["makespan_s"].to_numpy(), rel=1e-12)
    assert set(runs["engine"]) == {"live"}
    arrivals = pd.read_parquet(folder / "arrivals.parquet")
    assert arrivals.columns.tolist() == ["scheme", "round", "worker", "report", "heard_s"]
    assert (folder / "plots/live.png").exists()

    status, out, _ = cli("compare", folder)
    assert status == 0
    assert "GC" in out
    for command in (
        ("plot", folder, "--figure", "makespan"),
        ("report", folder),
        ("trace", "info", folder / "traces/uncoded.parquet"),
    ):
        assert cli(*command)[0] == 0, command
    status, _, err = cli("live", "small.yaml")
    assert status == 2
    assert "--force" in err


def test_a_replay_that_differs_is_told_and_is_exit_status_3(cli, tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SMALL)
    right = live_run.replay

    def wrong(plan, run):
        found = right(plan, run)
        found.rounds.stragglers[2] += 1
        return found

    monkeypatch.setattr(live_run, "replay", wrong)
    status, out, err = cli("live", "small.yaml", "--inject", "--workers", "2")
    assert status == 3
    assert "The replay is not equal for uncoded, GC" in out
    assert "uncoded: the replay differs in round 2: stragglers (please report it)" in err
    assert not pd.read_csv(tmp_path / "results/small-live/live.csv")["replay_equal"].any()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("foo", "--address: must be that of a scheduler, e.g. tcp://10.0.0.5:8786, got foo"),
        ("tcp://127.0.0.1:99999", "--address: must be that of a scheduler, e.g. tcp://10.0.0.5:8786, got tcp://127"),
        ("tcp://127.0.0.1:1", "--address: must be that of a scheduler that answers, got tcp://127.0.0.1:1"),
    ],
)
def test_a_wrong_address_is_one_line(cli, tmp_path, monkeypatch, address, words):
    pytest.importorskip("distributed", reason="needs the extra stragglersim[live]")
    monkeypatch.setattr("simulator.live.dask_hosts.CONNECT_S", 1.0)
    (tmp_path / "small.yaml").write_text(SMALL)
    status, _, err = cli("live", "small.yaml", "--address", address)
    assert status == 2
    assert words in err.splitlines()[-1]
    assert not (tmp_path / "results").exists()


def test_a_dask_cluster_of_two_places_the_workers(cli, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra stragglersim[live]")
    (tmp_path / "small.yaml").write_text(SMALL)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    )
    with cluster:
        status, out, err = cli("live", "small.yaml", "--inject", "--address", cluster.scheduler_address)
    assert status == 0, err
    assert "The replay is equal for all 2 schemes" in out
    assert len(pd.read_parquet(tmp_path / "results/small-live/arrivals.parquet")) > 12


# --- workers that fall silent, hang, or send what makes no sense ---


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process as POSIX does")
def test_a_worker_that_falls_silent_is_told_in_one_line(monkeypatch):
    class Stopping(Hub):
        def __enter__(self):
            super().__enter__()
            os.kill(self.pids[1], signal.SIGSTOP)
            return self

    monkeypatch.setattr(live_hub, "SILENCE_S", 1.5)
    monkeypatch.setattr(live_run, "Hub", Stopping)
    with pytest.raises(LiveError, match=r"^calibration: worker 1: must answer, got nothing for 1\.5 s$"):
        live(scenario(), is_injected=True)


HANGING = """
import time

from pydantic.dataclasses import dataclass

from workloads import LeastSquares


@dataclass(frozen=True)
class Hanging(LeastSquares):
    def gradient(self, parameters, rows):
        if parameters.any() and rows.start:
            time.sleep(1000)
        return super().gradient(parameters, rows)
"""


def scenario(**more):
    stragglers = {"usual": {"kind": "constant", "startup_s": 0.05}}
    return Scenario(
        name="live", workers=2, jobs=4, stragglers=stragglers, schemes={"uncoded": {"kind": "uncoded"}}, **more
    )


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """Return what is trained: gradients that never end, from the second round on, in one of two workers."""
    (tmp_path / "hanging_gradients.py").write_text(HANGING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(live_hub, "HANG_S", 1.0)
    return {"workload": {"kind": "hanging_gradients:Hanging", "rows": 40, "dimension": 5}, "learning_rate": 0.1}


def test_a_worker_that_hangs_while_its_heart_beats_is_told_in_one_line(hanging, monkeypatch):
    monkeypatch.setattr(live_run, "calibrate", lambda *_: Calibration(0.001, 0.001, (0.002,)))
    words = r"schemes.uncoded.*: worker 1: must answer, got no end of one gradient for 1 s .the master waits"
    with pytest.raises(SimulationError, match=words):
        live(scenario(training=hanging), is_injected=True)


def test_with_a_timeout_a_worker_that_hangs_is_a_straggler(hanging, monkeypatch):
    monkeypatch.setattr(live_run, "calibrate", lambda *_: Calibration(0.001, 0.001, (0.002,)))
    rule = {"kind": "first_enough", "timeout_s": 0.5}
    found = live(scenario(training=hanging, master=rule), is_injected=True)
    assert found.rows[0].replay_equal
    assert found.results.jobs["status"].tolist() == ["decoded", "failed", "failed", "failed"]


@pytest.mark.parametrize(
    ("kind", "header", "words"),
    [
        ("beat", {"progress": "half"}, "must send a number as progress, got 'half'"),
        ("beat", {"progress": float("nan"), "gradient_s": 0.0}, "must send a number as progress, got nan"),
        ("beat", {"progress": 0.5}, "must send a number as gradient_s, got None"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(kind, header, words):
    with Hub(1, SPEC, Path()) as hub:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.connect(hub._said["address"])
        me = {"worker": 0, "generation": 0, "token": hub._token}
        socket.send_multipart(live_hub.pack(kind, me | header))
        with pytest.raises(LiveError, match=re.escape(f"worker 0: {words}")):
            hub.receive(hub.now_s() + 2.0)
        context.destroy(linger=0)


LEAVING = """
import os

from pydantic.dataclasses import dataclass

from workloads import LeastSquares

CALLS = []


@dataclass(frozen=True)
class Leaving(LeastSquares):
    def gradient(self, parameters, rows):
        print("not ours to say")
        CALLS.append(rows)
        if parameters.any() and len(CALLS) == 30:
            os._exit(0)
        return super().gradient(parameters, rows)


@dataclass(frozen=True)
class Raising(LeastSquares):
    def gradient(self, parameters, rows):
        if parameters.any():
            raise RuntimeError("disk\\non fire")
        return super().gradient(parameters, rows)
"""


def test_a_worker_that_leaves_in_silence_is_replaced_and_told(cli, tmp_path, monkeypatch):
    (tmp_path / "leaving.py").write_text(LEAVING)
    training = "training: {workload: {kind: 'leaving:Leaving'}, learning_rate: 0.1}\n"
    (tmp_path / "small.yaml").write_text(SMALL + training)
    monkeypatch.syspath_prepend(str(tmp_path))
    status, out, err = cli("live", "small.yaml", "--inject", "--set", "jobs=10")
    assert status == 0, err
    assert "Worker 1 ended and was replaced" in out
    manifest = json.loads((tmp_path / "results/small-live/manifest.json").read_text())
    assert set(manifest["workers_replaced"]) >= {"1"}
    training = "training.workload={kind: 'leaving:Raising'}"
    status, _, err = cli("live", "small.yaml", "--inject", "--force", "--set", training, "--set", "master.timeout_s=1")
    assert status == 2
    words = r"calibration: worker \d: must answer, got its end \(.*RuntimeError: disk on fire.*\)"
    assert re.search(words, err.splitlines()[-1])
    assert "give it a timeout_s" not in err


def test_the_end_of_what_makes_workers_is_noticed(monkeypatch):
    class Ending(Hub):
        def __enter__(self):
            super().__enter__()
            parent = int(Path(f"/proc/{self.pids[0]}/stat").read_text().split()[3])
            os.kill(parent, signal.SIGKILL)
            return self

    monkeypatch.setattr(live_run, "Hub", Ending)
    with pytest.raises(LiveError, match=r"^workers: must keep running, got the end of what starts them"):
        live(scenario(), is_injected=True)


def test_a_round_with_uploads_ends_when_the_rule_acts():
    schemes = {
        "partial": {"kind": "partial_gradient_coding", "assignment": {"kind": "cyclic", "chunks_per_worker": 2}},
        "nested": {"kind": "nested_gradient_coding", "s_max": 1},
    }
    stragglers = {"usual": {"kind": "shifted_exponential", "shift": 0.02, "mean": 0.01, "adds_to": "startup_s"}}
    rule = {"kind": "first_enough", "poll_s": 0.2}
    of = Scenario(name="live", workers=4, jobs=4, stragglers=stragglers, schemes=schemes, master=rule)
    found = live(of, is_injected=True)
    assert all(row.replay_equal for row in found.rows), found.differences
    for _, rounds in found.results.rounds.groupby("scheme"):
        ends_s = rounds["start_s"] + rounds["duration_s"]
        assert (rounds["start_s"].iloc[1:].to_numpy() >= ends_s.iloc[:-1].to_numpy()).all()
        n_polls = rounds["duration_s"].to_numpy() / 0.2
        assert n_polls == pytest.approx(np.round(n_polls))


def test_own_work_of_lists_that_wait_for_older_ones_is_true():
    stragglers = {"usual": {"kind": "shifted_exponential", "shift": 0.02, "mean": 0.1, "adds_to": "startup_s"}}
    schemes = {"GC": {"kind": "gradient_coding", "s": 2}}
    of = Scenario(name="live", workers=4, jobs=12, stragglers=stragglers, schemes=schemes, leftover="finish")
    trace = live(of, is_injected=True).traces["GC"]
    times = np.array([each.startup_s for each in round_times(of.stragglers, 4, of.seed, 0, 12)])
    own_s = trace.pivot_table(index="round", columns="worker", values="duration_s").to_numpy()
    assert not trace["censored"].any()
    # rounds of which nothing is known are left out: each that is there is one of those that were drawn
    nearest = np.abs(own_s[:, np.newaxis] - times).max(axis=2).min(axis=1)
    assert len(own_s) > 3
    assert nearest.max() < 0.02


def test_without_pyzmq_it_is_one_line(cli, tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setitem(sys.modules, "zmq", None)
    for name in [name for name in sys.modules if name.startswith("simulator.live.")]:
        monkeypatch.delitem(sys.modules, name)
    status, _, err = cli("live", "small.yaml")
    assert status == 2
    assert err.splitlines()[-1] == "live: needs pyzmq, got none (pip install 'stragglersim[live]')"
    assert not (tmp_path / "results").exists()


def test_a_run_that_diverges_goes_on():
    found = live(scenario(training={"workload": SPEC, "learning_rate": 1e300}), is_injected=True)
    assert found.rows[0].replay_equal
    assert np.isinf(found.results.training["loss"]).any()
