"""One reader of traces: every command reads the same files to the same times, or refuses them in one line."""

import gzip
import json
import os
import pathlib
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import stragglersim
from simulator.traces.files import read_times
from straggler_models import Trace
from straggler_models.trace_file import read_trace_file

TIMES_S = np.random.default_rng(1).lognormal(0.0, 0.5, (40, 4)).round(3)
ROWS = [(t, w, float(TIMES_S[t, w])) for t in range(40) for w in range(4)]
READERS = {
    "info": ("trace", "info"),
    "fit": ("trace", "fit", "--out", "model.yaml"),
    "convert": ("trace", "convert", "--out", "out.parquet"),
    "tune": ("tune", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1"),
    "advise": ("advise", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1"),
}


def text(head="round,worker,duration_s", rows=ROWS, comma=",", end="\n"):
    return head + "\n" + "".join(comma.join(map(str, row)) + end for row in rows)


def parquet(path, columns, about=None):
    table = pa.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(about or {}), path)


def columns(**others):
    rounds, workers, times_s = zip(*ROWS, strict=True)
    return {"round": list(rounds), "worker": list(workers), "duration_s": list(times_s)} | others


def write(name):
    """Write a trace of TIMES_S in some way that people have."""
    _, workers, times_s = zip(*ROWS, strict=True)
    match name:
        case "upper.CSV":
            data = text()
        case "packed.csv.gz" | "packed.csv":  # under either name
            data = gzip.compress(text().encode())
        case "spaces.csv":
            data = text("round, worker, duration_s", comma=", ")
        case "trailing.csv":
            data = text(end=",\n")
        case "index.csv":
            data = text(",round,worker,duration_s", [(row, *ROWS[row]) for row in range(len(ROWS))])
        case "byte-order.csv":
            data = "\ufeff" + text()
        case "one.csv":
            data = text(rows=[(t + 1, w + 1, s) for t, w, s in ROWS])
        case "savetxt.csv":
            data = text(rows=[(f"{t:.18e}", f"{w:.18e}", f"{s:.18e}") for t, w, s in ROWS])
        case "names.csv":
            data = text(rows=[(f"step {t}", f"rank{w}", s) for t, w, s in ROWS])
        case "negative.csv":
            data = text(rows=[(t - 50, w, s) for t, w, s in ROWS])
        case "index.parquet":
            pd.DataFrame(columns()).set_index(["round", "worker"]).to_parquet(name)
            return
        case "timedelta.parquet":
            seconds = [round(1e9 * time_s) for time_s in times_s]
            parquet(name, columns(duration_s=pa.array(seconds, pa.duration("ns"))))
            return
        case "timedelta-ms.parquet":
            seconds = [round(1e3 * time_s) for time_s in times_s]
            parquet(name, columns(duration_s=pa.array(seconds, pa.duration("ms"))))
            return
        case "partitions":
            pd.DataFrame(columns()).to_parquet(name, partition_cols=["worker"])
            return
        case "other-pandas.parquet":
            parquet(name, columns(), {b"pandas": b"{}"})
            return
        case "text.parquet":
            parquet(name, {key: [str(value) for value in values] for key, values in columns().items()})
            return
        case "categories.parquet":
            parquet(name, columns(worker=pa.array([f"w{w}" for w in workers]).dictionary_encode()))
            return
        case "other-names.csv":
            data = text("step,rank,ms", [(t, w, round(1000 * s)) for t, w, s in ROWS])
        case "wide.csv":
            data = "\n".join(",".join(map(str, row)) for row in TIMES_S)
        case "profile.json":
            events = [
                {"ph": "X", "name": f"iteration {t}", "pid": w, "ts": 1e7 * t, "dur": 1e6 * s} for t, w, s in ROWS
            ]
            data = json.dumps(events)
    with open(name, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


OPTIONS = {
    "other-names.csv": ("--columns", "round=step,worker=rank,duration_s=ms", "--unit", "ms"),
    "wide.csv": ("--rows", "round"),
    "profile.json": ("--event", r"iteration (\d+)"),
}
GOOD = [
    *("upper.CSV", "packed.csv.gz", "packed.csv", "spaces.csv", "trailing.csv", "index.csv", "byte-order.csv"),
    *("one.csv", "savetxt.csv", "names.csv", "negative.csv"),
    *("index.parquet", "timedelta.parquet", "timedelta-ms.parquet"),
    *("partitions", "other-pandas.parquet", "text.parquet", "categories.parquet"),
    *("other-names.csv", "wide.csv", "profile.json"),
]


def read_by_every_command(cli, file, options=()):
    """What each command prints of a file."""
    said = {}
    for command, arguments in READERS.items():
        more = ("--force",) if command in ("fit", "convert") else ()
        status, out, err = cli(*arguments, file, *options, *more)
        assert status == 0, (command, err)
        said[command] = out.replace(file, "FILE")
    return said


OF_PLAIN = {}  # what commands print of a plain file, which no test needs to find again


@pytest.mark.parametrize("name", GOOD)
def test_every_command_reads_a_trace_to_the_same_times(cli, name):
    write(name)
    parquet("plain.parquet", columns())
    plain = OF_PLAIN or read_by_every_command(cli, "plain.parquet")
    OF_PLAIN.update(plain)
    said = read_by_every_command(cli, name, OPTIONS.get(name, ()))
    assert read_trace_file("out.parquet").duration_s == pytest.approx(TIMES_S, rel=1e-12)
    for command in ("tune", "advise", "fit"):
        assert said[command] == plain[command]


def test_a_scenario_reads_the_native_format_and_otherwise_names_convert(tmp_path, cli):
    for name in ("upper.CSV", "packed.csv.gz", "spaces.csv", "timedelta.parquet", "text.parquet", "index.parquet"):
        write(name)
        Trace(path=name).check(4, 40)
        assert read_trace_file(name).duration_s == pytest.approx(TIMES_S, rel=1e-12)
    for name in ("one.csv", "names.csv", "wide.csv", "partitions", "profile.json", "other-names.csv"):
        write(name)
        with pytest.raises(ValueError, match="stragglersim trace convert makes a trace of other files"):
            Trace(path=name).check(4, 40)


@pytest.mark.parametrize("name", ["wide.csv", "partitions", "one.csv"])
def test_the_winners_of_other_files_replay_what_was_read(cli, tmp_path, name):
    write(name)
    arguments = (*READERS["tune"], name, *OPTIONS.get(name, ()), "--out", "tuned")
    assert cli(*arguments)[0] == 0
    assert read_trace_file("tuned/trace.parquet").duration_s == pytest.approx(TIMES_S)
    scenario = stragglersim.load("tuned/winners.yaml")
    makespan_s = stragglersim.run(scenario).runs["makespan_s"].min()
    best = pd.read_csv("tuned/best.csv")["makespan_s"].min()
    assert makespan_s == pytest.approx(best)


def some_null(values, kind=None):
    return pa.array([None if row == 7 else value for row, value in enumerate(values)], kind)


DATES = pa.array([*range(len(ROWS))], pa.timestamp("ns"))
STRUCTS = [{"a": row} for row in range(len(ROWS))]
BAD = {
    "null worker": (columns(worker=some_null([f"w{w}" for _, w, _ in ROWS])), "worker must be given in each row, got"),
    "null number": (columns(worker=some_null([w for _, w, _ in ROWS])), "worker must be given in each row, got"),
    "null round": (columns(round=some_null([t for t, _, _ in ROWS])), "round must be given in each row, got"),
    "no rounds": (columns(round=pa.nulls(len(ROWS))), "round must be given in each row, got"),
    "nan round": (columns(round=[np.nan, *(float(t) for t, _, _ in ROWS[1:])]), "round must be given in each row, got"),
    "struct round": (columns(round=STRUCTS), "round must hold numbers or names, got struct<a: int64>"),
    "struct worker": (columns(worker=STRUCTS), "worker must hold numbers or names, got struct<a: int64>"),
    "list worker": (columns(worker=[[1]] * len(ROWS)), "worker must hold numbers or names, got list"),
    "time of a worker": (columns(worker=DATES), "worker must hold numbers or names, got timestamp[ns]"),
    "struct time": (columns(duration_s=STRUCTS), "times must be numbers of at least 0, got struct"),
    "instants": (columns(duration_s=DATES), "got timestamp[ns] (an instant is no duration)"),
    "truth": (columns(duration_s=[True] * len(ROWS)), "times must be numbers of at least 0, got bool"),
    "long round": (columns(round=[f"{10**20 + t}" for t, _, _ in ROWS]), "of at most 18 digits), got '1000"),
    "huge round": (columns(round=["9" * 5000] * len(ROWS)), "must have names of at most 200 characters, got"),
    "large round": (columns(round=pa.array([2**64 - 1 - t for t, _, _ in ROWS], pa.uint64())), "of at most 18 digits)"),
    "null time": (columns(duration_s=some_null([s for _, _, s in ROWS])), "got none for round 1, worker 3 (--missing"),
}


@pytest.mark.parametrize("command", [*READERS, "scenario"])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_trace_is_refused_by_every_command(cli, tmp_path, kind, command):
    table, line = BAD[kind]
    parquet("bad.parquet", table)
    if command == "scenario":
        with pytest.raises(ValueError, match="path must name"):
            Trace(path="bad.parquet").check(4, 40)
        return
    status, out, err = cli(*READERS[command], "bad.parquet")
    said = [one for one in err.splitlines() if not one.endswith("...")]
    assert (status, out, len(said)) == (2, "", 1)
    assert said[0].startswith("bad.parquet: ")
    assert line in said[0]
    assert os.listdir() == ["bad.parquet"]


def test_a_null_time_is_a_missing_one(cli):
    parquet("gaps.parquet", columns(duration_s=some_null([s for _, _, s in ROWS])))
    options = ("gaps.parquet", "--missing")
    assert "1 never answered" in cli("trace", "info", *options, "inf")[1]
    assert "4 workers, 39 rounds" in cli("trace", "info", *options, "drop")[1]
    words = text().replace(f",1,{ROWS[1][2]}\n", ",1,N/A\n", 1).replace(f",1,{ROWS[5][2]}\n", ",1,null\n", 1)
    with open("words.csv", "w") as file:
        file.write(words)
    assert "round 0, worker 1; round 1, worker 1 (--missing" in cli("trace", "info", "words.csv")[2]
    assert "2 never answered" in cli("trace", "info", "words.csv", "--missing", "inf")[1]


def test_a_worker_without_any_time_is_not_left_out(cli):
    parquet("gaps.parquet", columns(duration_s=[None if w == 2 else s for _, w, s in ROWS]))
    assert "for round 0, worker 2; round 1, worker 2" in cli("trace", "info", "gaps.parquet")[2]


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("name", ["packed.csv.gz", "packed.json.gz"])
@pytest.mark.parametrize("fault", ["truncated", "corrupt", "checksum"])
def test_a_damaged_gzip_is_refused(cli, command, name, fault):
    write("profile.json")
    content = text().encode() if ".csv" in name else pathlib.Path("profile.json").read_bytes()
    data = bytearray(gzip.compress(content))
    match fault:
        case "truncated":
            del data[len(data) // 2 :]
        case "corrupt":
            data[40:60] = bytes(20)
            with pytest.raises((zlib.error, OSError)):
                gzip.decompress(bytes(data))
        case "checksum":
            data[-8] ^= 1
    os.remove("profile.json")
    with open(name, "wb") as file:
        file.write(data)
    status, out, err = cli(*READERS[command], name)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"{name}: must be a ")
    assert ("the file ends too early" in err) == (fault == "truncated") or name.endswith(".json.gz")
    assert os.listdir() == [name]


def test_a_unit_of_times_that_have_one_is_refused(cli):
    write("timedelta.parquet")
    status, _, err = cli("trace", "info", "timedelta.parquet", "--unit", "ms")
    assert (status, err) == (
        2,
        "--unit: must be left out for timedelta.parquet, whose times are duration[ns], got ms\n",
    )


def test_devices_and_pipes_are_refused_at_once(cli, tmp_path):
    os.mkfifo("pipe.csv")
    for name in ("pipe.csv", "/dev/zero"):
        assert "must be a readable file" in cli("trace", "info", name)[2]
        assert cli("trace", "info", name, "--rows", "round")[0] == 2
        assert cli("trace", "info", name, "--from", "chrome")[0] == 2


def test_times_that_are_too_many_are_refused_before_they_are_read(cli, monkeypatch):
    n_rows = 30_000_000
    constant = pa.DictionaryArray.from_arrays(np.zeros(1_000_000, dtype=np.int8), [1])
    with pyarrow.parquet.ParquetWriter(
        "many.parquet", pa.schema([(name, constant.type) for name in columns()])
    ) as file:
        for _ in range(n_rows // len(constant)):
            file.write_table(pa.table([constant] * 3, names=list(columns())))
    assert "it has 30000000 rows or more, a trace at most 20000000" in cli("trace", "info", "many.parquet")[2]
    diagonal = list(range(5000))
    parquet("diagonal.parquet", {"round": diagonal, "worker": diagonal, "duration_s": [1.0] * 5000})
    line = "must have at most 20000000 times, got 5000 rounds and 5000 workers"
    assert line in cli("trace", "info", "diagonal.parquet", "--missing", "inf")[2]


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([{"name": f"ProfilerStep#{10**22}"}], ": steps: must have the number of the step (of at most 18 digits)"),
        ([{"ts": float("nan")}], "must have numbers ts and dur of at least 0"),
        ([{"ts": 10**400}], "must have numbers ts and dur of at least 0"),
        ([{"dur": float("inf")}], "must have numbers ts and dur of at least 0"),
        ([{"ts": "now"}], "must have numbers ts and dur of at least 0"),
    ],
)
def test_numbers_of_a_profile_that_are_none_are_refused(cli, events, line):
    good = {"ph": "X", "name": "ProfilerStep#0", "pid": 1, "ts": 0, "dur": 5}
    with open("bad.json", "w") as file:
        json.dump([good | event for event in events], file)
    status, _, err = cli("trace", "info", "bad.json")
    assert (status, err.count("\n")) == (2, 1)
    assert line in err


def test_whatever_stands_for_a_process_is_a_name(cli):
    good = {"ph": "X", "name": "ProfilerStep#0", "ts": 0, "dur": 5}
    with open("odd.json", "w") as file:
        json.dump([good | {"pid": pid} for pid in ([1], {"a": 1}, None, "\ud800")], file)
    assert "4 workers, 1 round" in cli("trace", "info", "odd.json")[1]
    with open("deep.json", "w") as file:
        file.write("[" * 100_000)
    assert "must be a readable Chrome trace (JSON)" in cli("trace", "info", "deep.json")[2]


def test_a_row_of_another_length_is_refused_with_its_line(cli):
    for rows, line in (("0,0,1\n0\n", "line 3 has 1 cells, the first 3"), ("0,0,1,7\n", "line 2 has 4 cells, the fir")):
        with open("ragged.csv", "w") as file:
            file.write("round,worker,duration_s\n" + rows)
        assert line in cli("trace", "info", "ragged.csv")[2]


def test_labels_that_mean_the_same_number_are_one(cli):
    with open("mixed.csv", "w") as file:
        file.write("round,worker,duration_s\n0,0,1\n0.0,1,2\n1,0,3\n1.,1,4\n")
    assert read_times(pathlib.Path("mixed.csv")).duration_s.tolist() == [[1.0, 2.0], [3.0, 4.0]]
