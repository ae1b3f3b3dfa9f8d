"""Chrome JSON: own work of ranks in profiles, and the times of other events."""

import gzip
import json
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

MS = 1000.0  # microseconds
CASES = pathlib.Path(__file__).parents[2] / "shared" / "cases" / "traces"


def event(name, begin_ms, length_ms, *, cat="user_annotation", pid=60, tid=1, **args):
    of = {"cat": cat} if cat else {}
    return {"ph": "X", "name": name, **of, "pid": pid, "tid": tid, "ts": begin_ms * MS, "dur": length_ms * MS} | (
        {"args": args} if args else {}
    )


def steps(lengths_ms, *, first=0, every_ms=100, **of):
    return [event(f"ProfilerStep#{first + t}", every_ms * t, length, **of) for t, length in enumerate(lengths_ms)]


def kernel(begin_ms, length_ms, name="gemm", **of):
    return event(name, begin_ms, length_ms, **({"cat": "kernel", "pid": 0, "tid": 7} | of))


def nccl(begin_ms, length_ms, **of):
    return kernel(begin_ms, length_ms, **({"name": "ncclDevKernel_AllReduce_Sum_f32_RING_LL", "tid": 20} | of))


def each(n_steps, *events, every_ms=100):
    """The events again in each step."""
    return [one | {"ts": one["ts"] + every_ms * MS * t} for t in range(n_steps) for one in events]


def write(name, events, rank=None, **info):
    about = {} if rank is None else {"distributedInfo": {"backend": "nccl", "rank": rank} | info}
    pathlib.Path(name).write_text(json.dumps(about | {"traceEvents": events}))
    return name


@pytest.fixture
def convert(cli):
    """Convert; returns the times in milliseconds, a row for each round, and what is said."""

    def call(*arguments, column="duration_s"):
        status, out, err = cli("trace", "convert", *arguments, "--out", "out.parquet", "--force")
        assert (status, err) == (0, ""), err
        table = pd.read_parquet("out.parquet")
        times = table.pivot(index="round", columns="worker", values=column).to_numpy()
        return np.round(1000 * times, 9).tolist(), out.partition("\n")[2]

    return call


@pytest.fixture
def refused(cli):
    def call(*arguments):
        status, out, err = cli("trace", "convert", *arguments, "--out", "none.parquet")
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert not pathlib.Path("none.parquet").exists()
        return err

    return call


# ---- own work, point by point


def test_own_work_is_the_step_without_collectives_that_no_compute_covers(convert):
    for rank, computes in enumerate((80, 60)):
        write(f"r{rank}.json", [*steps([100] * 3), *each(3, kernel(0, computes), nccl(50, 50))], rank)
    times, said = convert("r0.json", "r1.json")
    assert (times, said) == ([[80, 60]] * 3, "")
    assert convert("r0.json", "r1.json", column="waited_s")[0] == [[20, 40]] * 3
    assert convert("r1.json")[0] == [[60]] * 3  # ranks that are missing change nothing


@pytest.mark.parametrize(("work", "own"), [("exposed", 80), ("compute", 70), ("step", 90)])
def test_work_says_what_of_a_step_counts(convert, work, own):
    write("r.json", [*steps([90] * 3), *each(3, kernel(0, 70), nccl(50, 30))])
    assert convert("r.json", "--work", work)[0] == [[own]] * 3


def test_steps_are_annotations_and_their_copies_on_devices_are_none(convert, refused):
    copies = [event(f"ProfilerStep#{t}", 100 * t, 5, cat="gpu_user_annotation", pid=0, tid=7) for t in range(3)]
    for cat in ("user_annotation", None):
        write("r.json", [*steps([90] * 3, cat=cat), *copies])
        assert convert("r.json")[0] == [[90]] * 3
    write("copies.json", copies)
    assert r"copies.json: must hold events ProfilerStep#(\d+) in steps, got none" in refused("copies.json")
    write("function.json", steps([90] * 3, cat="python_function"))
    assert "steps are of the category user_annotation, or of none" in refused("function.json")


@pytest.mark.parametrize(
    "waits",
    [
        nccl(60, 30),
        nccl(60, 30, name="ncclKernel_AllGather_RING"),
        nccl(60, 30, name="rcclDevKernel_Generic"),
        nccl(60, 30, name="mscclKernel_Sum"),
        nccl(60, 30, name="void vllm::cross_device_reduce_1stage<float>"),
        nccl(60, 30, name="ncclDevKernel_SendRecv"),
        kernel(60, 30, "Memcpy PtoP", cat="gpu_memcpy", **{"Collective name": "all_gather"}),
        event("gloo:all_reduce", 60, 30, tid=9),
        event("mpi:send", 60, 30),
        event("ucc:barrier", 60, 30),
        nccl(60, 34),  # clipped to the step
    ],
)
def test_collectives_of_devices_and_of_the_host_are_subtracted(convert, waits):
    write("r.json", [*steps([90] * 3), *each(3, kernel(0, 50), waits)])
    assert convert("r.json")[0] == [[60]] * 3


@pytest.mark.parametrize(
    "launch",
    [
        event("nccl:all_reduce", 60, 30),
        event("hccl:all_reduce", 60, 30),
        event("gloo:all_reduce", 60, 30, cat="cpu_op"),
        event("c10d::allreduce_", 60, 30, cat="cpu_op"),
        event("record_param_comms", 60, 30, cat="cpu_op", **{"Collective name": "allreduce"}),
        event("ncclDevKernel_AllReduce", 60, 30, cat="cuda_runtime"),
    ],
)
def test_what_only_launches_a_collective_is_work(convert, launch):
    write("r.json", [*steps([90] * 3), *each(3, launch)])
    times, said = convert("r.json")
    assert times == [[90]] * 3
    assert said == "no collectives are in the profiles: the whole step is taken for own work\n"


@pytest.mark.parametrize(
    ("covers", "own"),
    [
        (kernel(60, 10), 70),
        (kernel(60, 10, cat="gpu_memcpy"), 70),
        (kernel(60, 10, cat="gpu_memset"), 70),
        (event("aten::mm", 60, 10, cat="cpu_op"), 60),  # the trace has devices
        (event("backward", 0, 90), 60),
        (event("train.py(3): main", 0, 90, cat="python_function"), 90),  # see the test of stacks
    ],
)
def test_compute_on_a_device_covers_collectives(convert, covers, own):
    write("r.json", [*steps([90] * 3), *each(3, kernel(0, 50), nccl(60, 30), covers)])
    assert convert("r.json")[0] == [[own]] * 3


@pytest.mark.parametrize(
    ("covers", "own"),
    [
        (event("aten::mm", 60, 10, cat="cpu_op", tid=3), 70),
        (event("c10d::allreduce_", 60, 10, cat="cpu_op"), 60),
        (event("record_param_comms", 60, 10, cat="cpu_op"), 60),
        (event("backward", 60, 10), 60),
    ],
)
def test_operations_cover_collectives_where_there_is_no_device(convert, covers, own):
    write("r.json", [*steps([90] * 3), *each(3, event("gloo:all_reduce", 60, 30), covers)], rank=0)
    assert convert("r.json")[0] == [[own]] * 3


def test_each_device_counts_for_itself(convert):
    two = (nccl(50, 40), kernel(0, 50), nccl(70, 20, pid=1), kernel(50, 40, pid=1, tid=9))
    write("r.json", [*steps([90] * 3), *each(3, *two[:2])])
    assert convert("r.json")[0] == [[50]] * 3
    write("r.json", [*steps([90] * 3), *each(3, *two)])
    assert convert("r.json")[0] == [[90]] * 3  # the second one computes all the time
    write("r.json", [*steps([90] * 3), *each(3, *two[:2], kernel(50, 40, pid=1))])
    assert convert("r.json")[0] == [[50]] * 3  # a device without collectives says nothing


def launched(begin_ms, length_ms, at_ms, number, make=kernel):
    return [
        event("cudaLaunchKernel", at_ms, 0.001, cat="cuda_runtime", correlation=number),
        make(begin_ms, length_ms, correlation=number),
    ]


def test_events_of_a_device_belong_to_the_step_that_launched_them(convert):
    # the collective runs beyond its step by less than 5 % of one, and is nothing of the next
    events = [*launched(0, 80, 1, 1), *launched(80, 24, 2, 2, nccl), *launched(104, 76, 101, 3)]
    write("r.json", [*steps([100] * 3), *events])
    assert convert("r.json", "--rounds", "0:2")[0] == [[80], [100]]


def test_without_correlation_an_event_belongs_to_the_step_in_which_it_starts(convert):
    write("r.json", [*steps([100] * 3), kernel(0, 80), nccl(80, 24), nccl(190, 4)])
    assert convert("r.json")[0] == [[80], [96], [100]]


def test_a_device_behind_its_host_has_windows_of_its_own(convert):
    events, number = steps([10] * 5, every_ms=10), 0
    for t in range(5):  # the host launches 100 ms of the device's time in 10
        for begin, length, make in ((0, 70, kernel), (70, 30, nccl)):
            number += 1
            events += launched(20 + 100 * t + begin, length, 10 * t + 1, number, make)
    write("r.json", events)
    times, said = convert("r.json")
    assert times == [[70]] * 4
    assert (
        said == "step 0 left out on all ranks: on worker 60 without a beginning, since the device is behind its host\n"
    )
    assert pd.read_parquet("out.parquet")["step"].tolist() == [1, 2, 3, 4]
    assert convert("r.json", "--work", "step")[0] == [[10]] * 5


@pytest.mark.parametrize(("over_ms", "n_rounds"), [(4, 4), (6, 3)])
def test_a_device_is_behind_from_five_percent_of_a_step_on(convert, over_ms, n_rounds):
    events = [one for t in range(4) for one in launched(100 * t + 50, 50 + over_ms, 100 * t + 1, t)]
    write("r.json", [*steps([100] * 4), *events])
    assert len(convert("r.json")[0]) == n_rounds


def test_a_step_that_is_not_behind_does_not_count_what_was_left_of_the_one_before(convert):
    events = [*launched(0, 90, 1, 1), *launched(100, 130, 101, 2), *launched(230, 40, 201, 3)]
    write("r.json", [*steps([100] * 3), *events])
    assert convert("r.json")[0] == [[100], [140], [70]]  # from 90 to 230, from there to 300


CALLS = [
    *(f"torch/distributed/distributed_c10d.py(4123): {call}" for call in ("barrier", "send", "recv")),
    "<built-in method wait of PyCapsule object at 0x7f>",
    "<built-in method run_backward of torch._C._EngineBase object at 0x7f>",
    "torch/cuda/__init__.py(1040): synchronize",
]


@pytest.mark.parametrize("call", CALLS)
def test_with_python_stacks_only_calls_that_wait_are_subtracted(convert, call):
    main = event("train.py(3): main", 0, 90, cat="python_function")
    waits = event(call, 70, 10, cat="python_function")
    others = (event("queue.py(1): waiting", 80, 5, cat="python_function"), event("wait", 85, 5))
    write("r.json", [*steps([90] * 3), *each(3, event("gloo:all_reduce", 60, 30), main, waits, *others)])
    assert convert("r.json")[0] == [[80]] * 3
    write("r.json", [*steps([90] * 3), *each(3, event("gloo:all_reduce", 60, 30), main)])
    times, said = convert("r.json")
    assert times == [[90]] * 3
    assert "the Python stacks" in said


def test_a_step_that_the_profiler_cut_off_is_left_out_on_all_ranks(convert):
    write("r0.json", steps([100, 100, 100, 40]), 0)
    write("r1.json", [*steps([100, 100, 100, 90])], 1)
    times, said = convert("r0.json", "r1.json")
    assert times == [[100, 100]] * 3
    assert "step 3 left out on all ranks: on worker 0 cut off by the profiler (shorter than half the median)" in said
    write("r0.json", steps([30, 100, 40, 100]), 0)  # only at the ends
    times, said = convert("r0.json", "r1.json")
    assert times == [[100, 100], [40, 100], [100, 90]]
    assert "step 0 left out" in said


def test_points_4_and_6_leave_out_one_step_at_each_end_at_most(convert):
    # a first step that is cut off and behind: its last event is the beginning of the next
    events = [event("ProfilerStep#0", 85, 15), *steps([0, 100, 100, 100, 10])[1:]]
    for t in range(5):
        start = 100 + 100 * (t - 1) + 20
        events += launched(max(start, 90), 30 if t in (0, 4) else 100, 100 * t + (90 if t == 0 else 1), t)
    write("r.json", events)
    times, said = convert("r.json")
    assert pd.read_parquet("out.parquet")["step"].tolist() == [1, 2, 3]
    assert times == [[100]] * 3
    assert "step 4 left out" in said
    assert "step 0 left out" in said


def test_without_names_further_waits(convert):
    wait = event("wait for data", 70, 15)
    write("r.json", [*steps([90] * 3), *each(3, kernel(0, 50), nccl(60, 10), wait)])
    assert convert("r.json")[0] == [[80]] * 3
    assert convert("r.json", "--without", "wait for .*")[0] == [[65]] * 3
    assert convert("r.json", "--without", "wait for .*", "--work", "step")[0] == [[75]] * 3
    write("r.json", [*steps([90] * 3), *each(3, kernel(60, 20, "my_all_reduce"), kernel(70, 20))])
    assert convert("r.json", "--without", "my_.*")[0] == [[80]] * 3  # no compute, but covered by some


# ---- doubts


def test_ranks_that_do_nothing_but_collectives_are_told(convert):
    write("r0.json", [*steps([100] * 3), *each(3, nccl(10, 85))], 0)
    write("r1.json", [*steps([100] * 3), *each(3, nccl(10, 90))], 1)
    times, said = convert("r0.json", "r1.json")
    assert times == [[15, 10]] * 3
    assert "collectives cover over 80% of the step on every rank (at least 85%)" in said
    write("r1.json", [*steps([100] * 3), *each(3, nccl(10, 80))], 1)
    assert "collectives cover" not in convert("r0.json", "r1.json")[1]


@pytest.mark.parametrize(
    ("computes", "n_idle", "is_told"),
    [(50, 8, True), (50, 5, True), (50, 4, False), (65, 8, False), (0, 8, True)],  # 65 of 90 is over 0.7
)
def test_ranks_that_wait_for_what_the_trace_does_not_show_are_told(convert, computes, n_idle, is_told):
    write("r0.json", [*steps([95] * 8), *each(8, kernel(0, 90), nccl(92, 1))], 0)
    kernels = [kernel(100 * t, computes if t < n_idle else 90) for t in range(8)]
    write("r1.json", [*steps([95] * 8), *kernels, *each(8, nccl(92, 1))], 1)
    times, said = convert("r0.json", "r1.json")
    assert times == [[94, 94]] * 8
    assert ("rank 1 looks as if waiting for something that the trace does not show" in said) == is_told
    assert ("--work compute" in said) == is_told
    times, said = convert("r0.json", "r1.json", "--work", "compute")
    assert (times[0], said) == ([90, computes], "")


def test_a_rank_without_collectives_is_told(convert):
    write("r0.json", [*steps([100] * 3), *each(3, nccl(50, 10))], 0)
    write("r1.json", steps([100] * 3), 1)
    times, said = convert("r0.json", "r1.json")
    assert times == [[90, 100]] * 3
    assert said == "no collectives are in the profile of rank 1: the whole step is taken for own work\n"


def test_no_compute_at_all_is_no_hidden_wait(convert):
    for rank in range(2):
        write(f"r{rank}.json", [*steps([100] * 3), *each(3, nccl(60, 30 * rank + 1))], rank)
    assert convert("r0.json", "r1.json")[1] == ""


def test_doubts_are_said_by_every_command(cli):
    for rank in range(2):
        write(f"r{rank}.json", [*steps([100] * 3), *each(3, nccl(10, 90))], rank)
    pathlib.Path("ranks").mkdir()
    for rank in range(2):
        pathlib.Path(f"r{rank}.json").rename(f"ranks/r{rank}.json")
    for command in (("trace", "info", "ranks"), ("tune", "ranks", "--seconds-per-load", "0.01", "--jobs", "3")):
        assert "collectives cover over 80%" in cli(*command)[2]


# ---- workers


def test_cycles_of_one_process_are_one_worker(convert):
    for host, pid in (("nodeA", 11), ("nodeB", 12)):
        for cycle in (0, 1):
            write(f"{host}_{pid}.{1700 + 100 * cycle}.pt.trace.json", steps([90] * 3, first=2 + 5 * cycle, pid=pid))
    times, said = convert(*sorted(map(str, pathlib.Path().glob("*.json"))))
    assert times == [[90, 90]] * 6
    assert "hosts, by the names of the files: nodeA, nodeB" in said
    table = pd.read_parquet("out.parquet")
    assert table["host"].tolist()[:2] == ["nodeA", "nodeB"]
    assert table["worker_name"].tolist()[:2] == ["nodeA_11", "nodeB_12"]
    assert table["step"].tolist()[::2] == [2, 3, 4, 7, 8, 9]


@pytest.mark.parametrize("name", ["rank_0", "rank0", "nodeA_61"])
def test_names_of_files_without_the_process_say_no_hosts(convert, name):
    write("nodeB_60.17.pt.trace.json", steps([90] * 3), rank=0)
    write(f"{name}.17.pt.trace.json", steps([90] * 3), rank=1)
    assert "hosts" not in convert("nodeB_60.17.pt.trace.json", f"{name}.17.pt.trace.json")[1]
    assert "host" not in pd.read_parquet("out.parquet")


def test_steps_that_a_rank_lacks_are_named_as_the_profile_does(refused):
    write("a.json", steps([90] * 4, first=10), rank=3)
    write("b.json", steps([90] * 3, first=11), rank=5)
    assert "for each of 4 steps and 2 ranks, got none for step 10, rank 5 (" in refused("a.json", "b.json")


def test_a_single_rank_of_many_is_told(convert):
    write("a.json", steps([90] * 3), rank=3, world_size=8)
    assert "\nonly rank 3 of 8 was read: give the files of all ranks\n" in f"\n{convert('a.json')[1]}"


def test_cycles_in_files_of_other_names_are_one_worker_and_told(convert):
    write("early.json", steps([90] * 3))
    write("late.json", steps([80] * 3, first=3))
    times, said = convert("early.json", "late.json")
    assert times == [[90]] * 3 + [[80]] * 3
    assert "2 files of pid 60 without a step in common are taken for one worker" in said


def test_each_cycle_has_ends_that_may_be_cut_off(convert):
    write("r0.1.pt.trace.json", steps([90, 90, 90, 10]))
    write("r0.2.pt.trace.json", steps([20, 90, 90, 90], first=4))
    times, said = convert("r0.1.pt.trace.json", "r0.2.pt.trace.json")
    assert times == [[90]] * 6
    assert "steps 3, 4 left out on all ranks" in said


def test_a_folder_of_ranks_and_ranks_in_folders_of_the_same_file_name(convert):
    for rank in range(11):
        folder = pathlib.Path(f"ranks/node{rank}")
        folder.mkdir(parents=True)
        write(folder / "trace.json", steps([50 + rank] * 3))
    assert convert("ranks")[0] == [[50 + rank for rank in range(11)]] * 3  # node10 after node9


@pytest.mark.parametrize(
    ("ranks", "n_ranks", "said"),
    [
        ((0, 1, 3, 4), 8, "ranks 2, 5 to 7 of 8 are missing: waiting and the verdict are those of the other 4 only"),
        ((0, 1), 64, "ranks 2 to 63 of 64 are missing: "),
        ((0, 1, 3), None, "rank 2 of at least 4 is missing: "),
        (range(0, 30, 2), 30, "ranks 1, 3, 5, 7, 9 and 10 more of 30 are missing: "),
        ((0, 1), 2, None),
        ((0, 1), 2**62, None),  # no number of ranks
    ],
)
def test_ranks_that_were_not_read_are_named_by_every_command(convert, cli, ranks, n_ranks, said):
    pathlib.Path("ranks").mkdir()
    for rank in ranks:
        write(
            f"ranks/r{rank}.json",
            [*steps([100] * 12), *each(12, kernel(0, 60), nccl(60, 40))],
            rank,
            world_size=n_ranks,
        )
    assert convert("ranks")[1].startswith(said or "")
    for command in (("trace", "info"), ("advise", "--schemes", "uncoded", "--rules", "first_enough")):
        told = cli(*command, "ranks")[2]
        assert f"ranks: {said}" in told if said else "missing" not in told
    line = (
        "These ranks exchange gradients by collectives, and a code needs a master (documentation: Explanation, Which "
    )
    convert("out.parquet", "--drop-first", "1")  # what is known of the job is kept
    for source in ("ranks", "out.parquet"):
        _, out, err = cli("advise", source, "--schemes", "uncoded,gradient_coding", "--rules", "first_enough")
        assert line in out
        assert f"{source}: {said}" in err if said else "missing" not in err


@pytest.mark.parametrize("rank", [None, 0])
def test_several_processes_with_steps_are_several_workers_whatever_the_rank(convert, rank):
    events = [
        *(one for dp in (0, 1) for one in steps([90 + dp] * 3, pid=f"[TP00-DP0{dp}] 83")),
        *each(3, nccl(70, 20, pid="[TP00-DP01] 0")),
        *each(3, nccl(80, 10, pid="[TP00-DP00] 0")),
    ]
    write("merged.json", events, rank, world_size=4)
    times, said = convert("merged.json")
    assert times == [[80, 71]] * 3
    assert said.startswith("2 of 4 ranks are missing: ") == (rank == 0)
    assert pd.read_parquet("out.parquet")["worker_name"].tolist()[:2] == ["[TP00-DP00] 83", "[TP00-DP01] 83"]


def test_devices_of_several_processes_are_told_by_launches_or_order_or_refused(convert, refused):
    hosts = [one for pid in (60, 61) for one in steps([90] * 3, pid=pid)]
    devices = {
        device: [event("cudaLaunchKernel", 1, 1, cat="cuda_runtime", pid=host, correlation=device), wait]
        for device, host, wait in (
            (0, 61, nccl(80, 10, correlation=0)),
            (1, 60, nccl(70, 20, pid=1, correlation=1)),
        )
    }
    write("merged.json", [*hosts, *devices[0], *devices[1]])
    assert convert("merged.json")[0] == [[70, 80], [90, 90], [90, 90]]
    write("merged.json", [*hosts, devices[0][1], devices[1][1]])
    times, said = convert("merged.json")
    assert times == [[80, 70], [90, 90], [90, 90]]
    assert "devices 0, 1 are taken for those of its processes in their order" in said
    write("merged.json", [*hosts, devices[0][1]])
    assert "must say whose its devices are, got 1 devices of 2 processes" in refused("merged.json")
    assert convert("merged.json", "--work", "step")[0] == [[90, 90]] * 3


def test_threads_that_have_the_same_step_are_refused_or_workers(convert, refused):
    write("threads.json", [*steps([90] * 3), *steps([80] * 3, tid=2)])
    line = refused("threads.json")
    assert "must have a step of a process on one thread, got step 0 of pid 60 on 2 (--worker tid" in line
    assert convert("threads.json", "--worker", "tid")[0] == [[90, 80]] * 3
    assert convert("threads.json", "--aggregate", "mean")[0] == [[85]] * 3
    assert convert("threads.json", "--worker", "pid", "--aggregate", "max")[0] == [[90]] * 3


def test_a_replica_takes_as_long_as_the_slowest_of_its_ranks(convert, refused):
    for rank, own in enumerate((70, 60, 50, 80)):
        write(f"dp{rank // 2}-tp{rank % 2}.json", [*steps([90] * 3), *each(3, nccl(own, 90 - own))], rank)
    files = [f"dp{rank // 2}-tp{rank % 2}.json" for rank in range(4)]
    assert convert(*files, "--replica-of", r"dp(\d)")[0] == [[70, 80]] * 3
    assert convert(*files, "--replica-of", r"dp(\d)", column="waited_s")[0] == [[20, 10]] * 3
    assert "--replica-of: must have one group" in refused(*files, "--replica-of", "dp")
    assert "--replica-of: must be found in the name of each rank, or of its file, got" in refused(
        *files, "--replica-of", "node(.)"
    )
    write("dp0-tp1.json", steps([90] * 2), 1)
    assert "got none for step 2, worker 0" in refused(*files, "--replica-of", r"dp(\d)")
    ranks = (steps([90 + tp] * 3, pid=f"TP{tp}-DP{dp} 8") for dp in (0, 1) for tp in (0, 1))
    write("merged.json", [step for rank in ranks for step in rank])
    assert convert("merged.json", "--replica-of", r"DP(\d)")[0] == [[91, 91]] * 3


# ---- other events


def test_other_events_are_a_union_over_the_tracks_of_a_worker(convert):
    inside = (
        event("forward", 10, 40),
        event("forward", 20, 20),
        event("backward", 45, 25, tid=2),
        event("lost", 95, 3),
        nccl(60, 30),
    )
    write("r.json", [*steps([90] * 3), *each(3, *inside)])
    assert convert("r.json", "--event", "forward")[0] == [[40]] * 3
    assert convert("r.json", "--event", "forward|backward")[0] == [[60]] * 3  # one step around: one worker
    assert convert("r.json", "--event", "forward|backward", "--without", "nccl.*")[0] == [[50]] * 3
    assert convert("r.json", "--event", "forward|backward", "--work", "exposed")[0] == [[50]] * 3
    assert convert("r.json", "--event", "nccl.*")[0] == [[30]] * 3
    late = [*each(3, event("forward", 10, 40), event("backward", 40, 55, tid=2))]  # longer than the step
    write("late.json", [*steps([90] * 3), *late])
    assert convert("late.json", "--event", "forward|backward")[0] == [[85]] * 3
    assert "3 events that begin outside of all steps are left out" in convert("r.json", "--event", "forward|lost")[1]


def test_other_events_of_steps_that_were_cut_off_are_left_out(convert):
    write("r.json", [*steps([90, 90, 90, 20]), *each(4, event("forward", 0, 15))])
    times, said = convert("r.json", "--event", "forward")
    assert times == [[15]] * 3
    assert "step 3 left out" in said


def test_a_timeline_of_ray_has_a_worker_for_each_thread(convert, refused):
    tasks = [
        event(f"train_step_{t}", 1000 * t, length, cat="task", pid="10.0.0.1", tid=f"worker:{name}")
        for t in range(3)
        for name, length in (("aa", 200), ("bb", 400))
    ]
    pathlib.Path("ray.json").write_text(json.dumps(tasks))
    named = ("ray.json", "--event", r"train_step_(\d+)")
    assert convert(*named, "--worker", "tid")[0] == [[200, 400]] * 3
    assert pd.read_parquet("out.parquet")["worker_name"].tolist()[:2] == ["worker:aa", "worker:bb"]
    assert "--worker tid" in refused(*named)
    assert convert(*named, "--worker", "pid")[0] == [[400]] * 3  # a union, if it is said
    again = [task | {"pid": "10.0.0.2"} for task in tasks]
    pathlib.Path("ray.json").write_text(json.dumps(tasks + again))
    assert convert(*named, "--worker", "tid")[0] == [[200, 400, 200, 400]] * 3


def test_arguments_say_step_and_worker(convert, refused):
    tasks = [
        event(f"task {n}", 10 * n, 5 + w, pid=1, tid=1, iteration=str(t), rank=f"r{w}")
        for n, (t, w) in enumerate((t, w) for t in range(3) for w in range(2))
    ]
    pathlib.Path("a.json").write_text(json.dumps([*tasks, event("idle", 70, 20, pid=1)]))
    given = ("a.json", "--step", "args.iteration", "--worker", "args.rank")
    assert convert(*given)[0] == [[5, 6]] * 3
    assert convert(*given, "--event", "task .*")[0] == [[5, 6]] * 3
    pathlib.Path("b.json").write_text(json.dumps([*tasks, event("task 9", 70, 20, pid=1, iteration=0)]))
    times, said = convert("b.json", *given[1:])
    assert times == [[5, 6]] * 3
    assert "b.json: 1 events that have no args.rank are left out" in said
    assert "--step: must be args.KEY" in refused("a.json", "--step", "iteration")
    assert "--worker: must be pid, tid or args.KEY" in refused("a.json", "--worker", "thread")
    assert "must have no group if --step says the step" in refused(*given, "--event", "task (.)")
    assert "a.json: --step: must name an argument that is the number of the step" in refused(
        "a.json", "--step", "args.rank"
    )
    assert "must hold events with epoch among their arguments" in refused("a.json", "--step", "args.epoch")


@pytest.mark.parametrize(("aggregate", "time"), [("sum", 50), ("max", 30), ("mean", 25), ("last", 20)])
def test_tracks_are_aggregated(convert, aggregate, time):
    rows = (event("work", 0, 30), event("work", 10, 10), event("work", 20, 20, tid=2))
    write("r.json", [*steps([90] * 3), *each(3, *rows)])
    assert convert("r.json", "--event", "work", "--aggregate", aggregate)[0] == [[time]] * 3
    assert convert("r.json", "--event", "work")[0] == [[40]] * 3


def test_a_task_stream_of_dask_is_read(convert):
    def task(t, worker, *spans, thread=1):
        named = [dict(zip(("action", "start", "stop"), span, strict=True)) for span in spans]
        return {
            "key": f"grad-{t}-{worker}",
            "worker": f"tcp://10.0.0.{worker}:1",
            "thread": thread,
            "startstops": named,
        }

    tasks = [
        one
        for t in range(3)
        for one in (
            task(t, 1, ("transfer", t, t + 0.5), ("compute", t + 0.5, t + 0.75)),
            task(t, 1, ("compute", t + 0.625, t + 0.875), thread=2),
            task(t, 2, ("compute", t, t + 0.25)) | {"startstops": [["compute", t, t + 0.25]]},  # as older ones
        )
    ]
    pathlib.Path("stream.json").write_text(json.dumps(tasks))
    assert convert("stream.json", "--event", r"grad-(\d+)-.*")[0] == [[375, 250]] * 3


# ---- files


def test_pairs_of_begin_and_end_are_events(convert):
    def mark(phase, name, begin_ms, **more):
        return {"ph": phase, "ts": begin_ms * MS, "pid": 1, "tid": 1} | ({"name": name} if name else {}) | more

    marks = [
        *(mark("B", "step 0", 0), mark("B", "inner", 2), mark("E", None, 4), mark("E", None, 10)),
        *(mark("B", "step 1", 11), mark("E", "step 1", 25)),
        *(mark("b", "load 0", 0, cat="io", id=1), mark("b", "load 1", 1, cat="io", id=2, tid=2)),
        *(mark("e", "load 0", 7, cat="io", id=1, tid=3), mark("e", None, 9, cat="io", id=2)),
        *(mark("B", "step 2", 30), mark("E", None, 90, tid=8)),  # of another thread
    ]
    pathlib.Path("a.json").write_text(json.dumps(marks[::-1]))  # in whatever order
    times, said = convert("a.json", "--event", r"step (\d+)")
    assert times == [[10], [14]]
    assert "a.json: 1 events that begin, but don't end, are left out" in said
    assert convert("a.json", "--event", r"load (\d+)")[0] == [[7], [8]]


@pytest.mark.parametrize("ending", ["", ",", ",\n", "]", ",]", ",\n]\n"])
def test_an_array_may_end_after_a_whole_event(convert, ending):
    pathlib.Path("a.json").write_text("[\n" + ",\n".join(map(json.dumps, steps([90] * 3))) + ending)
    times, said = convert("a.json")
    assert times == [[90]] * 3
    assert ("ends without ], as of a run that was killed" in said) == ("]" not in ending)


def test_an_array_that_ends_within_an_event_is_refused(refused):
    pathlib.Path("a.json").write_text(json.dumps(steps([90] * 3))[:-20])
    assert "a.json: must be a readable Chrome trace (JSON), got none" in refused("a.json")
    pathlib.Path("a.json").write_text("[\n")
    assert "a.json: must hold events" in refused("a.json")
    data = gzip.compress(json.dumps(steps([90] * 300)).encode())
    pathlib.Path("a.json").write_bytes(data[:-30])
    assert "a.json: must be a readable Chrome trace (JSON), got none" in refused("a.json")


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.zip", "profile", "a.txt"])
@pytest.mark.parametrize("packed_by", ["gzip", "zip", None])
def test_packed_files_are_read_whatever_their_suffix(convert, name, packed_by):
    text = json.dumps({"traceEvents": steps([90] * 3)}).encode()
    if packed_by == "zip":
        with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("inside.json", text)
    else:
        pathlib.Path(name).write_bytes(gzip.compress(text) if packed_by else text)
    assert convert(name)[0] == [[90]] * 3


def test_a_zip_of_several_files_is_refused(refused):
    with zipfile.ZipFile("a.json", "w") as file:
        for rank in range(2):
            file.writestr(f"r{rank}.json", "[]")
    assert "a zip of 2 files, not one: unpack it into a folder" in refused("a.json")
    pathlib.Path("a.json").rename("ranks.zip")
    assert "a zip of 2 files, not one: unpack it into a folder" in refused("ranks.zip", "--event", "step")


def test_a_list_of_lists_is_no_list_of_events(refused):
    pathlib.Path("a.json").write_text("[[1, 2], [3, 4]]")
    assert "a.json: must be a Chrome trace, a list of events, got a list of list" in refused("a.json")


HOROVOD = [
    {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "grad"}},
    {"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": 1, "pid": 1},
    {"ph": "E", "ts": 2, "pid": 1},
    {"ph": "B", "name": "ALLREDUCE", "ts": 2, "pid": 1},
    {"ph": "E", "ts": 3, "pid": 1},
]
PLUGIN = [{"ph": p, "name": "AllReduce", "cat": "COLL", "id": 0, "pid": 3, "ts": t} for p, t in (("b", 1), ("e", 9))]


@pytest.mark.parametrize(("events", "kind"), [(HOROVOD, "a Horovod timeline"), (PLUGIN, "NCCL's profiler plugin")])
@pytest.mark.parametrize("options", [(), ("--event", "A.*")])
def test_timelines_of_collectives_are_recognised_and_refused(refused, events, kind, options):
    pathlib.Path("t.json").write_text(json.dumps(events)[:-1] + ",\n")
    line = refused("t.json", *options)
    for part in ("must hold the work of steps, got what looks like ", kind, "stragglersim.recorder", "PyTorch prof"):
        assert part in line


@pytest.mark.parametrize(
    ("options", "own", "is_told"),
    [([], 90, True), (["--work", "exposed"], 60, False), (["--without", "nccl.*"], 60, False)],
)
def test_events_that_are_waiting_in_part_are_told(convert, options, own, is_told):
    write("r.json", [*steps([100] * 3), *each(3, event("forward", 0, 90), kernel(0, 50), nccl(40, 40))])
    times, said = convert("r.json", "--event", "forward", *options)
    assert (times, "looks like workers wait for each other: up to 33%" in said) == ([[own]] * 3, is_told)


def test_events_with_little_waiting_are_not_told_of(convert):
    write("r.json", [*steps([100] * 3), *each(3, event("forward", 0, 90), kernel(0, 50), nccl(50, 4))])
    assert convert("r.json", "--event", "forward") == ([[90]] * 3, "")


def test_events_without_a_number_and_steps_around_are_told_what_says_the_step(refused):
    write("r.json", each(3, event("forward", 0, 40)))
    line = refused("r.json", "--event", "forward")
    assert r"a group in it, as in step (\d+), or --step says the step" in line


def test_a_step_that_a_thread_has_again_is_refused(refused, convert):
    again = [*steps([90] * 3), *(one | {"ts": one["ts"] + 1000 * MS} for one in steps([60] * 3))]
    write("r.json", again)
    line = refused("r.json")
    assert "r.json: must have each step of a thread once, got step 0 again" in line
    write("two.json", [*steps([90] * 3), *steps([60] * 3, pid=61)])
    assert convert("two.json")[0] == [[90, 60]] * 3


# ---- files of others


def cases(*patterns):
    return [str(path) for pattern in patterns for path in sorted(CASES.glob(pattern))]


ROWS = [
    (["traceml252_rank*.json"], [], 60, [0.1621, 0.3611, 0.1621, 0.1621], 1e-4),
    (["traceml252_rank*.json"], ["--event", "forward|backward"], 60, [0.346] * 4, 1e-3),
    (["overlap_rank*.json"], [], 4, [0.8, 0.6], 1e-9),
    (["hidden_wait_rank*.json"], [], 8, [0.94] * 3, 1e-9),
    (["hidden_wait_rank*.json"], ["--work", "compute"], 8, [0.9, 0.5, 0.5], 1e-9),
    (["folder_of_ranks"], [], 4, [0.2, 0.6, 0.2], 1e-3),
    (["merged_rank0info.json"], [], 3, [0.9, 0.91], 1e-9),
    (["ray_timeline.json"], ["--event", r"train_step_(\d+)", "--worker", "tid"], 3, [0.2, 0.4], 1e-9),
    (["nested_rank*.json"], ["--event", "forward"], 2, [0.8, 0.8], 1e-9),
    (["begin_end_pairs.json"], ["--event", r"step (\d+)"], 3, [0.0005, 0.001], 1e-12),
    (["dask_task_stream.json"], ["--event", r"grad-(\d+)-.*"], 3, [0.1, 0.2], 1e-6),
    (
        ["bytedance_like.json"],
        ["--event", "forward.*", "--step", "args.step", "--worker", "pid", "--aggregate", "max"],
        *(3, [2e-5, 2e-5], 1e-12),
    ),
    (["node*.json"], [], 6, [0.9, 0.9], 1e-9),
    (["stub_last_rank*.json"], [], 10, [0.095, 0.0951, 0.0952, 0.0953], 1e-9),
    (["gznosuffix_rank*.json"], [], 3, [5e-6, 5e-6], 1e-12),
]
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not there")


@needs_cases
@pytest.mark.parametrize(("patterns", "options", "n_rounds", "own_s", "within_s"), ROWS)
def test_files_of_others_give_their_own_work(convert, patterns, options, n_rounds, own_s, within_s):
    times, _ = convert(*cases(*patterns), *options)
    assert len(times) == n_rounds
    assert np.mean(times, axis=0) / 1000 == pytest.approx(own_s, abs=within_s)


@needs_cases
@pytest.mark.parametrize(
    ("pattern", "options", "line"),
    [
        ("ray_timeline.json", ["--event", r"train_step_(\d+)"], "--worker"),
        ("horovod_timeline.json", [], "stragglersim.recorder"),
        ("horovod_open_bracket.json", [], "must hold events"),
        ("nccl_profiler.json", [], "stragglersim.recorder"),
        ("huge-step.json", [], "of at most 18 digits"),
    ],
)
def test_files_of_others_that_hold_no_work_are_refused(refused, pattern, options, line):
    assert line in refused(*cases(pattern), *options)


@needs_cases
def test_events_of_others_that_are_waiting_in_part_are_told(convert):
    said = convert(*cases("traceml252_rank*.json"), "--event", "forward|backward")[1]
    assert "looks like workers wait for each other" in said


@needs_cases
def test_files_of_others_with_hidden_waits_and_cut_off_steps_are_told(convert):
    assert "ranks 1, 2 look as if waiting" in convert(*cases("hidden_wait_rank*.json"))[1]
    assert "step 10 left out on all ranks" in convert(*cases("stub_last_rank*.json"))[1]


@pytest.mark.parametrize("name", ["a.json", "a.zip"])
def test_a_zip_that_is_damaged_is_refused(refused, name):
    with zipfile.ZipFile(name, "w") as file:
        file.writestr("a.json", json.dumps(steps([90] * 3)))
    path = pathlib.Path(name)
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    assert name in refused(name)


def test_events_that_count_anew_are_told(convert):
    again = [event(f"step {number}", 100 * place, 10 + place) for place, number in enumerate((0, 1, 0, 1))]
    times, said = convert(write("a.json", again), "--event", r"step (\d+)")
    assert times == [[22], [24]]
    assert "a.json: steps go back, first from 1 to 0: events of the same number are put together" in said
    apart = [event(f"step {number}", 100 * number, 10, tid=tid) for tid in (1, 2) for number in (0, 1)]
    assert "go back" not in convert(write("b.json", apart), "--event", r"step (\d+)", "--worker", "tid")[1]
