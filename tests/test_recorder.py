"""The recorder for other people's training loops: what it measures, what it writes, and how that becomes a trace."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

from stragglersim.recorder import RANKS, Recorder

HEAD = "round,worker,duration_s,waited_s,started_unix_s\n"
OWN_S = np.array([[0.03, 0.05, 0.12], [0.12, 0.04, 0.03], [0.05, 0.13, 0.06], [0.04, 0.03, 0.05]])  # ranks, rounds
N_TIMES = 3  # that these rounds are met


def rows(recorder):
    return pd.read_csv(recorder.path)


def busy(seconds):
    """Compute for so long; return how long it was."""
    begin_s = time.perf_counter()
    while time.perf_counter() - begin_s < seconds / 2:
        pass
    time.sleep(max(0.0, seconds - (time.perf_counter() - begin_s)))
    return time.perf_counter() - begin_s


def work_beside_others(folder, rank, barrier):
    recorder, injected = Recorder(folder, rank=rank), []
    barrier.wait()
    for seconds in recorder.steps(np.tile(OWN_S[rank], N_TIMES).tolist()):
        injected.append(busy(seconds))
        with recorder.waiting():
            barrier.wait()
    np.save(f"{folder}-{rank}.npy", injected)


def train_with_ddp(folder, rank, port):
    import torch
    import torch.distributed
    from torch.nn.parallel import DistributedDataParallel

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "4"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    recorder, injected = Recorder(folder), []
    model = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(4)])
    model = recorder.ddp(DistributedDataParallel(model, bucket_cap_mb=0.01))
    model(torch.ones(1, 64)).sum().backward()
    for seconds in recorder.steps(np.tile(OWN_S[rank], N_TIMES).tolist()):
        begin_s = time.perf_counter()
        loss = model(torch.ones(8, 64)).sum()
        busy(seconds)
        injected.append(time.perf_counter() - begin_s)
        loss.backward()
    np.save(f"{folder}-{rank}.npy", injected)
    torch.distributed.barrier()
    os._exit(0)  # threads of Gloo may abort a process that ends


SPAWN = multiprocessing.get_context("spawn")


def beside_each_other(target, folder, shared):
    processes = [SPAWN.Process(target=target, args=(folder, rank, shared), daemon=True) for rank in range(len(OWN_S))]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def as_measured(cli, folder):
    """Own work and steps, shape (rounds, ranks), as `trace convert` gives them, and what was injected."""
    assert cli("trace", "convert", folder, "--out", "out.parquet")[0] == 0
    own = pd.read_parquet("out.parquet").pivot_table(columns="worker", index="round", values="duration_s").to_numpy()
    waited = np.array([pd.read_csv(folder / f"rank-{rank}.csv")["waited_s"] for rank in range(len(OWN_S))]).T
    return own, own + waited, np.array([np.load(f"{folder}-{rank}.npy") for rank in range(len(OWN_S))]).T


def test_own_work_is_what_was_injected_where_all_steps_are_the_slowest_ones(cli, tmp_path):
    barrier = SPAWN.Barrier(len(OWN_S))
    beside_each_other(work_beside_others, tmp_path / "a", barrier)
    own, steps, injected = as_measured(cli, tmp_path / "a")
    assert np.median(abs(own / injected - 1)) < 0.01
    assert (abs(own / injected - 1) < 0.05).mean() > 0.95  # others use the machine, too
    assert np.median(steps / steps.mean(axis=1, keepdims=True)) == pytest.approx(1, abs=0.02)
    slowest = injected.max(axis=1, keepdims=True)  # twice the mean, as long as nobody else takes the cores
    assert 0.98 < np.median(steps / slowest) < 1.5


def test_own_work_under_ddp_ends_when_the_last_gradients_are_ready(cli, tmp_path):
    pytest.importorskip("torch", reason="DistributedDataParallel is PyTorch's, which is not installed")
    beside_each_other(train_with_ddp, tmp_path / "a", 20000 + os.getpid() % 20000)
    own, steps, injected = as_measured(cli, tmp_path / "a")
    assert np.median(abs(own / injected - 1)) < 0.05  # the backward pass comes on top
    assert np.mean(steps) / np.mean(injected) > 1.5


def test_the_recorder_imports_nothing_of_the_simulator_and_nothing_that_is_installed(tmp_path):
    script = (
        "import sys; before = set(sys.modules)\nfrom stragglersim.recorder import Recorder\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names)))\n"
        f"Recorder({str(tmp_path)!r}, rank=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["stragglersim"]
    import stragglersim.recorder

    shutil.copy(stragglersim.recorder.__file__, tmp_path / "copied.py")
    alone = "import copied; copied.Recorder('times', rank=1)"
    subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path = [*sys.path, '.']; {alone}"], cwd=tmp_path, check=True
    )
    assert (tmp_path / "times" / "rank-1.csv").read_text() == HEAD


def test_a_round_costs_at_most_ten_microseconds(tmp_path):
    best_s = np.inf
    for rank in range(50):
        recorder, n_rounds = Recorder(tmp_path, rank=rank), 1000
        begin_s = time.perf_counter()
        for _ in recorder.steps(range(n_rounds)):
            with recorder.waiting():
                pass
        best_s = min(best_s, (time.perf_counter() - begin_s) / n_rounds)
    assert best_s < 10e-6


def test_loading_a_batch_is_own_work_of_its_round(tmp_path):
    def loader():
        for _ in range(3):
            time.sleep(0.02)
            yield None
        time.sleep(0.5)  # until it is found that there is no more: of no round

    recorder = Recorder(tmp_path, rank=0)
    for _ in recorder.steps(loader()):
        time.sleep(0.01)
    table = rows(recorder)
    assert table["round"].tolist() == [0, 1, 2]
    assert table["duration_s"].between(0.03, 0.2).all()
    assert (table["waited_s"] == 0).all()
    assert (abs(table["started_unix_s"] - time.time()) < 60).all()


def test_epochs_go_on_counting_rounds(tmp_path):
    recorder = Recorder(tmp_path, rank=7)
    for _ in range(2):
        for _ in recorder.steps(range(2)):
            pass
    with recorder.round():
        pass
    assert rows(recorder)["round"].tolist() == [0, 1, 2, 3, 4]
    assert set(rows(recorder)["worker"]) == {7}


def test_a_round_that_raised_is_no_measurement_and_keeps_its_number(tmp_path):
    recorder = Recorder(tmp_path, rank=0)

    def fails():
        for number in recorder.steps(range(5)):
            if number == 1:
                raise KeyError

    with pytest.raises(KeyError):
        fails()
    with pytest.raises(KeyError), recorder.round():
        raise KeyError
    for number in recorder.steps(range(3)):
        if number == 1:
            break

    def broken():
        raise KeyError
        yield

    with pytest.raises(KeyError):
        next(recorder.steps(broken()))
    with recorder.round():
        pass
    assert rows(recorder)["round"].tolist() == [0, 3, 6]


def test_waits_inside_waits_count_once_and_those_of_other_threads_not_at_all(tmp_path):
    recorder = Recorder(tmp_path, rank=0)
    sleep = recorder.wrap(time.sleep)
    assert sleep.__name__ == "sleep"
    sleep(0.01)  # outside of a round
    with recorder.round(), recorder.waiting():
        sleep(0.03)
        with recorder.waiting():
            sleep(0.03)
    with recorder.round():
        threads = [threading.Thread(target=sleep, args=(0.05,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        for thread in threads:
            thread.join()
    with recorder.round(), pytest.raises(KeyError), recorder.waiting():  # a wait that raised is over
        raise KeyError
    table = rows(recorder)
    assert table["waited_s"].iloc[0] == pytest.approx(0.06, abs=0.02)
    assert table["duration_s"].iloc[0] < 0.02
    assert table["waited_s"].iloc[1] == 0
    assert table["duration_s"].iloc[1] > 0.09
    assert table["waited_s"].iloc[2] < 0.01


def test_a_second_round_at_the_same_time_is_refused(tmp_path):
    recorder = Recorder(tmp_path, rank=0)
    message = "^round 0: must end before another one begins, got it still open$"
    with recorder.round(), pytest.raises(RuntimeError, match=message), recorder.round():
        pass
    assert rows(recorder)["round"].tolist() == [0]


@pytest.mark.parametrize("name", RANKS)
def test_the_rank_is_the_one_that_the_launcher_says(tmp_path, monkeypatch, name):
    for other in RANKS:
        monkeypatch.delenv(other, raising=False)
    with pytest.raises(ValueError, match=r"^rank: must be given, or stand in the environment as RANK, .*, got none$"):
        Recorder(tmp_path)
    monkeypatch.setenv(name, "five")
    with pytest.raises(ValueError, match=f"^{name}: must be a number of at least 0, got 'five'$"):
        Recorder(tmp_path)
    monkeypatch.setenv(name, "5")
    assert Recorder(tmp_path).path == tmp_path / "rank-5.csv"
    assert Recorder(tmp_path, rank=0).path == tmp_path / "rank-0.csv"
    with pytest.raises(ValueError, match=r"^rank: must be a number of at least 0, got -1$"):
        Recorder(tmp_path, rank=-1)


def test_files_of_an_earlier_run_are_not_added_to(tmp_path):
    Recorder(tmp_path, rank=0)
    with pytest.raises(FileExistsError, match=r"rank-0.csv: must not exist yet, got a file of an earlier run"):
        Recorder(tmp_path, rank=0)


def test_a_process_that_is_killed_loses_the_open_round_only(tmp_path):
    script = (
        "import os, signal\nfrom stragglersim.recorder import Recorder\n"
        f"for number in Recorder({str(tmp_path)!r}, rank=0).steps(range(9)):\n"
        "    if number == 3:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert pd.read_csv(tmp_path / "rank-0.csv")["round"].tolist() == [0, 1, 2]


def write(path, rank, rounds, own=1.0, waited=0.5):
    path.parent.mkdir(exist_ok=True)
    lines = (f"{number},{rank},{own + number},{waited},1.7e9\n" for number in rounds)
    path.write_text(HEAD + "".join(lines))


def test_files_of_all_ranks_are_merged_and_rounds_that_not_all_have_are_left_out(cli, tmp_path):
    for rank, rounds in {0: range(6), 1: [0, 1, 2, 4, 5], 10: range(5)}.items():
        write(tmp_path / "times" / f"rank-{rank}.csv", rank, rounds)
    status, said, _ = cli("trace", "convert", "times", "--out", "out.parquet")
    assert status == 0
    assert "3 workers, 4 rounds" in said
    assert "2 of 6 rounds, which not all 3 ranks have, are left out (the first: 3)" in said
    assert "ranks 2 to 9 of at least 11 are missing: waiting and the verdict are those of the other 3 only" in said
    table = pd.read_parquet("out.parquet")
    assert table["step"].tolist() == np.repeat([0, 1, 2, 4], 3).tolist()
    assert table["duration_s"].tolist() == np.repeat([1.0, 2.0, 3.0, 5.0], 3).tolist()
    assert table["waited_s"].tolist() == [0.5] * 12
    status, said, warned = cli("trace", "info", "times")
    assert status == 0
    assert "  waited      15.4 % of all seconds" in said
    assert "times: 2 of 6 rounds, which not all 3 ranks have, are left out" in warned


def test_ranks_that_wait_for_each_other_have_no_master(cli, tmp_path):
    """What they cannot do, a code, is told second; workers that a master calls wait for nobody in a round."""
    for waited in (0.5, 0.0):
        folder, out = f"waited-{waited}", f"waited-{waited}.parquet"
        for rank, own in enumerate((1.0, 1.01, 1.02, 3.0)):
            write(tmp_path / folder / f"rank-{rank}.csv", rank, range(30), own=own, waited=waited)
        assert cli("trace", "convert", folder, "--out", out)[0] == 0
        for source in (folder, out):
            said = cli("advise", source, "--schemes", "uncoded,gradient_coding", "--max-delay", 0, "--mu", 1)[1]
            assert any("Replace worker 3: " in line for line in said.splitlines()[:4])
            is_told = "These ranks exchange gradients by collectives, and a code needs a master" in said
            assert is_told == (waited > 0)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.csv": (0, [0]), "b.csv": (1, [1])}, "must have a round that all 2 ranks have, got none"),
        ({"a.csv": (0, [0]), "b.csv": (0, [1])}, "must be of another rank, got rank 0 as in times/a.csv"),
        ({"a.csv": (0, [0]), "b.csv": (1, [])}, "times/b.csv: must hold rounds, got none"),
        ({"a.csv": (0, [0]), "b.csv": ("x", [0])}, "times/b.csv: worker must count 0, 1, 2, ..., got x in row 0"),
        ({"a.csv": (0, [0]), "b.csv": (1, [0], -2)}, "times must be numbers of at least 0"),
    ],
)
def test_files_that_are_no_run_are_refused_in_one_line(cli, tmp_path, files, said):
    for name, written in files.items():
        write(tmp_path / "times" / name, *written)
    status, _, error = cli("trace", "convert", "times", "--out", "out.parquet")
    assert status == 2
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.parquet").exists()
