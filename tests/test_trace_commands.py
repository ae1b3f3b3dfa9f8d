"""`stragglersim trace`, as a user calls it."""

import gzip
import inspect
import itertools
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import stragglersim
from simulator.choices import TraceKind
from simulator.cli.trace import convert as convert_command
from simulator.plots.saving import captions, save
from simulator.plots.traces import trace_figures
from simulator.traces.files import read_times
from simulator.traces.formats import FORMATS
from simulator.traces.report import describe
from straggler_models import Trace
from straggler_models.trace_file import read_trace_file
from straggler_models.trace_table import metadata

TIMES_S = np.array([[1.5, 2.25, 1.0], [1.25, 8.0, 1.0]])  # 2 rounds of 3 workers

SCENARIO = """\
name: small
workers: 4
jobs: 6
models: 2
stragglers:
  usual: {kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}
  slow: {kind: bernoulli, p: 0.2, slowdown: 4}
  work: {kind: constant, seconds_per_load: 2}
schemes:
  GC: {kind: gradient_coding, s: 1, master: {kind: mu_rule, mu: 0.5}}
  M-SGC: {kind: multiplexed, B: 1, W: 2, lam: 2}
"""


def trace(duration_s):
    n_rounds, n_workers = np.shape(duration_s)
    index = pd.MultiIndex.from_product([range(n_rounds), range(n_workers)], names=["round", "worker"])
    return pd.DataFrame({"duration_s": np.ravel(duration_s)}, index=index).reset_index()


def times(path):
    return read_trace_file(str(path)).duration_s.tolist()


# ---- info


def test_info_says_what_is_in_a_file(cli):
    trace(np.where(np.arange(40).reshape(10, 4) % 7, 1.0, 3.0)).to_csv("mine.csv", index=False)
    status, out, err = cli("trace", "info", "mine.csv")
    assert (status, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        "mine.csv",
        "  verdict     stragglers cost 54.5 % [37.5, 58.3] of the time; no single worker causes most of it: "
        "worker 0 18.2 %, the slowest of each round 54.5 %",
        "  waiting     40.9 % [28.1, 43.8] of worker time is waiting for the slowest of the round: 1 [0.5, 1.17] "
        "worker-hours per 1 000 rounds",
        "  slowest     1.6 [1.3, 1.7] times the round's mean, 2.2 [1.6, 2.4] times its median worker",
        "",
        " if as fast as the round's median worker   time saved   95 % CI",
        " ───────────────────────────────────────────────────────────────────",
        " worker 0                                      18.2 %   [0.0, 33.3]",
        " worker 3                                      18.2 %   [0.0, 33.3]",
        " worker 1                                       9.1 %   [0.0, 37.4]",
        " worker 2                                       9.1 %   [0.0, 33.3]",
        " the slowest of each round                     54.5 %   [37.5, 58.3]",
        " all slower than the median worker             54.5 %   [37.5, 58.3]",
        "",
        "  measured    4 workers, 10 rounds, load not known",
        "  times       min 1 s, median 1 s, mean 1.3 s, p95 3 s, p99 3 s, max 3 s",
        "  outliers    none over 10 s",
        "  over 2x     the round's first (mu = 1): 15 % of the times; its median worker: 15 %",
        "  per round   median 1 of these, most 1 (round 0); 4 of 4 workers have any",
        "  bursts      6, mean length 1 rounds: 100 % last 1 round, 0 % 2, 0 % more; the longest 1",
        "  * too few stragglers to tell bursts from chance: P(straggle | straggled in the round before) = 0 [0, 0.39] "
        "against 0.083 at random",
        "",
        "Words: worker = rank, round = step, load = share of the global batch; documentation: Reference, Traces",
    ]
    assert "mu = 3" in cli("trace", "info", "mine.csv", "--mu", "3", "--reference", "median")[1]
    assert "6 of 40 times over 2 s, in 6 of 10 rounds: 34.6 %" in cli("trace", "info", "mine.csv", "--outlier", "2")[1]


def test_info_writes_a_table_and_figures_beside_what_is_there(cli, tmp_path):
    rng = np.random.default_rng(1)
    for name, load in (("a", 0.0), ("b", 0.5)):
        (tmp_path / name).mkdir()
        table = trace(np.where(rng.random((12, 5)) < 0.1, np.inf, rng.uniform(1, 1.2, (12, 5)) + 2 * load))
        table.attrs["base_load"] = load  # as a user of pandas keeps it
        table.to_parquet(f"{name}/run.parquet")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    status, out, err = cli("trace", "info", "a/run.parquet", "b/run.parquet", "--out", "out")
    assert (status, err) == (0, "Drawing ...\n")
    assert "Load slope over 2 traces" in out
    assert out.splitlines()[-1] == "Figures  out/ (heat_map, rounds, stragglers, bursts, load_slope: PNG and SVG)"
    trace(np.ones((4, 3))).to_parquet("a/even.parquet")
    assert "(heat_map, rounds, stragglers: PNG and SVG)" in cli("trace", "info", "a/even.parquet", "--out", "even")[1]
    table = pd.read_csv("out/info.csv")
    assert not any(name.startswith("Unnamed") for name in table.columns)
    assert table["file"].tolist() == ["run", "run-2"]
    assert table["base_load"].tolist() == [0.0, 0.5]
    assert (table["never_answered"] > 0).all()
    assert pd.read_csv("out/load_slope.csv").loc[0, "seconds_per_load"] == pytest.approx(2.0, abs=0.1)
    names = ["heat_map", "rounds", "stragglers", "bursts"]
    expected = {f"{file}-{name}.{end}" for file in ("run", "run-2") for name in names for end in ("png", "svg")}
    expected |= {"load_slope.png", "load_slope.svg"}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == expected | {"info.csv", "info.account.json", "load_slope.csv", "captions.md", "mine.txt"}
    name, again = next(trace_figures(describe(read_times(Path("a/run.parquet"))), "run"))
    save(again, tmp_path, f"run-{name}")
    assert (tmp_path / "run-heat_map.svg").read_bytes() == (tmp_path / "out/run-heat_map.svg").read_bytes()
    said = captions(tmp_path / "out")
    assert set(said) == {Path(name).stem for name in expected}
    assert said["run-heat_map"].startswith("Every time by its colour. run: ")


def test_info_warns_of_slopes_that_outliers_or_luck_have_spoilt(cli):
    trace([[1.0, 1.0, 40.0]]).to_csv("zero.csv", index=False)
    trace([[2.0, 2.0, 2.0]]).to_csv("one.csv", index=False)
    status, out, err = cli("trace", "info", "zero.csv", "one.csv", "--base-load", "0,1")
    assert status == 0
    assert "In a scenario: seconds_per_load: 1\n" in out
    assert err.startswith("warning: least squares is negative (-12 s per load)")
    status, out, err = cli("trace", "info", "zero.csv", "one.csv", "--base-load", "1,0")
    assert "In a scenario: seconds_per_load: 0\n" in out
    assert err.startswith("warning: the slope of medians is negative (-1 s per load) and was set to 0")
    assert "No load slope: --base-load" in cli("trace", "info", "zero.csv", "one.csv")[1]
    trace([[np.inf]]).to_csv("one.csv", index=False)
    status, out, _ = cli("trace", "info", "zero.csv", "one.csv", "--base-load", "0,1")
    assert status == 0
    assert "No load slope: there is a trace in which no worker ever answered" in out


def test_info_takes_the_times_of_a_run_at_a_load(cli):
    table = trace(TIMES_S).rename(columns={"duration_s": "startup_s"})
    table.loc[table["worker"] == 2, "startup_s"] = 0.0  # and 0 x inf is no number
    table.assign(seconds_per_load=2.0, slowdown=np.where(table["worker"] == 2, np.inf, 1.5)).to_parquet("run.parquet")
    for load, given in ((0.0, None), (0.5, 0.5)):
        found = read_times(Path("run.parquet"), given)
        assert found.base_load == load
        assert found.duration_s[:, :2].tolist() == (1.5 * (TIMES_S[:, :2] + 2 * load)).tolist()
        assert np.isinf(found.duration_s[:, 2]).all()


@pytest.mark.parametrize(
    ("steps", "n_pairs", "said"),
    [
        ([4, 5, 6], 2, ""),
        ([0, 1, 3], 1, "* 1 of 2 pairs of rounds are consecutive steps (the column step has gaps)"),
        ([2, 1, 0], 0, "* rounds are a sample"),
        (["a", "b", "c"], 0, "* rounds are a sample"),
        ([float("nan"), 1.0, 2.0], 0, "* rounds are a sample"),
        ([float("inf"), 1e300, -1e300], 0, "* rounds are a sample"),
    ],
)
def test_a_step_column_with_gaps_is_noticed(cli, steps, n_pairs, said):
    table = trace(np.ones((3, 2))).assign(step=np.repeat(steps, 2))
    table.to_csv("mine.csv", index=False)
    table.to_parquet("mine.parquet")
    for name in ("mine.csv", "mine.parquet"):
        assert np.count_nonzero(read_times(Path(name)).follows) == n_pairs
        out = cli("trace", "info", name)[1]
        assert (said in out) if said else ("step has gaps" not in out)


# ---- convert: formats


def test_the_words_of_from_are_the_formats():
    assert {kind: form.kind for kind, form in FORMATS.items()} == {word: word for word in get_args(TraceKind)}


def test_convert_has_the_options_of_its_formats_and_no_others():
    taken = {name for form in FORMATS.values() for name in form.options}
    assert set(inspect.signature(convert_command).parameters) == taken | {"sources", "out", "source", "to", "force"}


# ---- convert: tables


@pytest.mark.parametrize(
    ("text", "rows", "has_step"),
    [
        ("1.5,1.25\n2.25,8\n1,1\n", "worker", False),
        ("1.5,2.25,1\n1.25,8,1\n", "round", False),
        (",0,1,2\n0,1.5,2.25,1\n1,1.25,8,1\n", "round", False),  # DataFrame.to_csv()
        ("0,1,2\n1.5,2.25,1\n1.25,8,1\n", "round", False),  # DataFrame.to_csv(index=False)
        ("step,rank0,rank1,rank2\n7,1.5,2.25,1\n9,1.25,8,1\n", "round", True),
        ("step,rank0,rank2,rank1\n9,1.25,1,8\n7,1.5,1,2.25\n", "round", True),
        ("rank,step 7,step 9\n0,1.5,1.25\n1,2.25,8\n2,1,1\n", "worker", True),
        ("rank0,1.5,1.25\nrank1,2.25,8\nrank2,1,1\n", "worker", False),
    ],
)
def test_wide_tables_are_read_either_way(cli, tmp_path, text, rows, has_step):
    (tmp_path / "times.csv").write_text(text)
    status, out, err = cli("trace", "convert", "times.csv", "--rows", rows, "--out", "times.parquet")
    assert (status, err) == (0, "")
    assert out.startswith("Wrote times.parquet: 3 workers, 2 rounds")
    assert times("times.parquet") == TIMES_S.tolist()
    table = pd.read_parquet("times.parquet")
    assert ("step" in table) == has_step
    if has_step:
        assert table["step"].unique().tolist() == [7, 9]
        assert not read_times(Path("times.parquet")).follows.any()


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_long_tables_have_columns_and_units_of_their_own(cli, unit, factor):
    table = trace(TIMES_S * factor).sample(frac=1, random_state=0)
    table = table.rename(columns={"round": "step", "worker": "rank", "duration_s": "time"}).assign(note="x")
    table["step"] += 100
    options = ("--columns", "round=step, worker=rank,duration_s=time", "--unit", unit)
    table.to_csv("log.csv", index=False)
    table.to_parquet("log.parquet")
    for name in ("log.csv", "log.parquet"):
        assert cli("trace", "convert", name, *options, "--out", "mine.parquet", "--force")[0] == 0
        assert times("mine.parquet") == TIMES_S.tolist()
        found = pd.read_parquet("mine.parquet")
        assert found.columns.tolist() == ["round", "worker", "step", "duration_s"]
        assert found["step"].tolist() == [100] * 3 + [101] * 3
        assert read_times(Path("mine.parquet")).follows.all()


def test_names_of_workers_are_kept_and_sorted_as_people_do(cli):
    table = trace([[1.0, 2.0, 3.0]])
    table["worker"] = ["b10.x", "b9.x", "a.x"]
    table.assign(step=5).to_csv("log.csv", index=False)
    assert cli("trace", "convert", "log.csv", "--out", "mine.parquet")[0] == 0
    found = pd.read_parquet("mine.parquet")
    assert found["worker_name"].tolist() == ["a.x", "b9.x", "b10.x"]
    assert found["duration_s"].tolist() == [3.0, 2.0, 1.0]
    assert found["step"].tolist() == [5, 5, 5]
    table = trace(np.random.default_rng(2).uniform(1.0, 1.1, (40, 4)) * [1.0, 1.0, 3.0, 1.0])
    table["worker"] = "node-" + (7 + 5 * table["worker"]).astype(str)
    table.to_csv("log.csv", index=False)
    assert "because of worker 2 (node-17)\n" in cli("trace", "info", "log.csv")[1]
    searched = cli("advise", "log.csv", "--schemes", "uncoded", "--rules", "first_enough")[1]
    assert searched.startswith("\nReplace worker 2 (node-17): on later rounds, ")
    assert "\n leave out worker 2 (node-17) " in searched


def test_metadata_say_where_a_trace_comes_from_and_at_which_load(cli, tmp_path):
    (tmp_path / "times.csv").write_text("1500,2250\n")
    options = ("--rows", "round", "--unit", "ms", "--base-load", "0.5", "--out", "times.parquet")
    assert cli("trace", "convert", "times.csv", *options)[0] == 0
    about = pd.read_parquet("times.parquet").attrs
    assert about == {
        "source": "times.csv",
        "conversion": "from wide rows=round",
        "source_unit": "ms",
        "unit": "s",
        "base_load": 0.5,
        "created_by": about["created_by"],
    }
    assert about["created_by"].startswith("stragglersim ")
    stored = pyarrow.parquet.read_schema("times.parquet").metadata
    assert stored[b"base_load"] == b"0.5"
    assert metadata(stored)["source"] == "times.csv"
    assert "at load 0.5" in cli("trace", "info", "times.parquet")[1]
    assert "at load 0.25" in cli("trace", "info", "times.parquet", "--base-load", "0.25")[1]
    Trace(path=str(tmp_path / "times.parquet")).check(n_workers=2, n_rounds=1)


def test_missing_times_are_told_dropped_or_infinite(cli, tmp_path):
    (tmp_path / "times.csv").write_text("step,a0,a1\n3,1,2\n4,,3\n5,4,\n6,5,nan\n8,,1\n9,1,1\n")
    status, _, err = cli("trace", "convert", "times.csv", "--rows", "round", "--out", "mine.parquet")
    assert status == 2
    assert err == (
        "times.csv: must have a time for each of 6 rounds and 2 workers, got none for round 4, worker a0; round 5, "
        "worker a1; round 6, worker a1 and 1 more (--missing drop leaves such rounds out, --missing inf takes them for "
        "never answered)\n"
    )
    options = ("--rows", "round", "--out", "mine.parquet", "--force", "--missing")
    assert cli("trace", "convert", "times.csv", *options, "inf")[0] == 0
    assert times("mine.parquet") == [[1, 2], [np.inf, 3], [4, np.inf], [5, np.inf], [np.inf, 1], [1, 1]]
    assert cli("trace", "convert", "times.csv", *options, "drop")[0] == 0
    assert times("mine.parquet") == [[1, 2], [1, 1]]
    assert pd.read_parquet("mine.parquet")["step"].tolist() == [3, 3, 9, 9]


def test_missing_times_are_named_as_the_source_does(cli, tmp_path):
    (tmp_path / "log.csv").write_text("it,rank,s\n10,0,1\n10,1,1\n11,0,2\n")
    _, _, err = cli("trace", "info", "log.csv", "--columns", "round=it,worker=rank,duration_s=s")
    assert "for each of 2 its and 2 ranks, got none for it 11, rank 1 (" in err
    (tmp_path / "log.csv").write_text("round,step,worker,duration_s\n0,100,0,1\n0,100,1,1\n1,110,0,2\n")
    assert "for each of 2 steps and 2 workers, got none for step 110, worker 1 (" in cli("trace", "info", "log.csv")[2]


@pytest.mark.parametrize("more", ["", "host,"])
def test_columns_say_which_one_is_the_host(cli, tmp_path, more):
    cells = "x," if more else ""
    rows = [f"{t},{w},{1 + w},{cells}{'ab'[w // 2]}\n" for t in range(3) for w in range(3)]
    (tmp_path / "log.csv").write_text(f"round,worker,duration_s,{more}node\n{''.join(rows)}")
    assert cli("trace", "convert", "log.csv", "--columns", "host=node", "--out", "mine.parquet")[::2] == (0, "")
    assert read_times(Path("mine.parquet")).host.tolist() == [[0, 0, 1]] * 3
    err = cli("trace", "info", "log.csv", "--columns", "host=machine")[2]
    assert "must have the columns round, worker, duration_s, machine, got round, worker, duration_s, " in err


# ---- convert: profiler traces


ALL_OWN = "no collectives are in the profiles: the whole step is taken for own work\n"


def step(number, dur, *, ts=0, **more):
    return {"ph": "X", "name": f"ProfilerStep#{number}", "pid": 7, "tid": 1, "ts": ts, "dur": dur} | more


def kineto(path, events, rank=None):
    document = {"schemaVersion": 1, "traceEvents": events}
    if rank is not None:
        document["distributedInfo"] = {"backend": "nccl", "rank": rank, "world_size": 2}
    text = json.dumps(document).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def test_profiler_traces_become_a_trace_one_file_for_each_rank(cli, tmp_path):
    other = [
        {"ph": "M", "name": "process_name", "pid": 7},
        {"ph": "X", "name": "aten::mm", "ts": 1, "dur": 9},
    ]
    on_gpu = step(1, 77.0, cat="gpu_user_annotation", pid=0)
    kineto(tmp_path / "b.json", [*other, step(1, 1_500_000.0), step(2, 1_250_000), on_gpu], rank=0)
    kineto(tmp_path / "a.json.gz", [step(2, 8_000_000), step(1, 1e6), step(1, 1.25e6)], rank=1)
    status, out, err = cli("trace", "convert", "a.json.gz", "b.json", "--out", "steps.parquet")
    assert (status, err) == (0, "")
    assert out == "Wrote steps.parquet: 2 workers, 2 rounds (their own names: step)\n" + ALL_OWN
    assert times("steps.parquet") == [[1.5, 1.25], [1.25, 8.0]]  # nothing counts twice
    assert pd.read_parquet("steps.parquet").attrs["source_unit"] == "us"


def test_one_trace_with_several_processes_and_events_inside_of_steps(cli, tmp_path):
    def events(pid, forward, backward):
        return [
            step(3, 100, ts=1000, pid=pid),
            step(4, 100, ts=1100, pid=pid),
            {"ph": "X", "name": "forward", "pid": pid, "ts": 1000, "dur": forward},
            {"ph": "X", "name": "backward", "pid": pid, "ts": 1060, "dur": backward},
            {"ph": "X", "name": "forward", "pid": pid, "ts": 1100, "dur": 2 * forward},
            {"ph": "X", "name": "forward", "pid": pid, "ts": 1200, "dur": 5000},  # after the last step
            {"ph": "X", "name": "iteration 12", "pid": pid, "ts": 0, "dur": 10 * pid},
            {"ph": "B", "name": "forward", "pid": pid, "ts": 1000},
        ]

    (tmp_path / "all.json").write_text(json.dumps(events(20, 30, 10) + events(5, 50, 20)))
    out = ("--out", "mine.parquet", "--force")
    assert cli("trace", "convert", "all.json", *out)[0] == 0
    assert times("mine.parquet") == [[1e-4, 1e-4], [1e-4, 1e-4]]
    assert pd.read_parquet("mine.parquet")["worker_name"].tolist() == ["5", "20"] * 2
    assert cli("trace", "convert", "all.json", "--event", "forward|backward", *out)[0] == 0
    assert times("mine.parquet") == [[70e-6, 40e-6], [100e-6, 60e-6]]
    assert cli("trace", "convert", "all.json", "--event", r"iteration (\d+)", *out)[0] == 0
    assert times("mine.parquet") == [[50e-6, 200e-6]]


def test_files_without_ranks_are_workers_of_their_own(cli, tmp_path):
    kineto(tmp_path / "host1.json", [step(0, 1e6)])
    kineto(tmp_path / "host2.json", [step(0, 2e6)])
    assert cli("trace", "convert", "host1.json", "host2.json", "--out", "mine.parquet")[0] == 0
    assert pd.read_parquet("mine.parquet")["worker_name"].tolist() == ["host1.json pid 7", "host2.json pid 7"]
    assert times("mine.parquet") == [[1.0, 2.0]]


# ---- convert: runs


@pytest.fixture
def ran(cli, tmp_path):
    (tmp_path / "small.yaml").write_text(SCENARIO)
    stragglersim.run(stragglersim.load(tmp_path / "small.yaml"), detail="workers").save(tmp_path / "ran")
    return tmp_path / "ran"


def test_a_run_becomes_a_trace_that_gives_the_same_run(cli, ran, tmp_path):
    convert = ("trace", "convert", "ran", "--out", "times.parquet")
    assert cli(*convert)[2].startswith("ran: must be restricted to one run by --scheme, --trial and --point")
    assert cli(*convert, "--scheme", "M-SGC")[0] == 0
    assert cli("trace", "info", "times.parquet", "--base-load", "0.25")[0] == 0
    replay = (tmp_path / "small.yaml").read_text()
    before, _, rest = replay.partition("stragglers:\n")
    replay = before + "stragglers: {again: {kind: trace, path: times.parquet}}\n" + rest[rest.index("schemes:") :]
    (tmp_path / "again.yaml").write_text(replay)
    again = stragglersim.run(stragglersim.load(tmp_path / "again.yaml"))
    first = stragglersim.Results.load(ran)
    assert again.runs["makespan_s"].tolist() == first.runs["makespan_s"].tolist()
    pd.testing.assert_frame_equal(again.rounds, first.rounds)


def test_a_run_becomes_a_chrome_trace(cli, ran, tmp_path):
    status, out, err = cli("trace", "convert", "ran", "--to", "chrome", "--out", "run.json")
    assert (status, err) == (0, "")
    events = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    assert out.startswith(f"Wrote run.json: 2 run(s), {len(events)} events")
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names[0, 0] == "master"
    assert names[1, 4] == "worker 3"
    processes = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert processes == ["GC, trial 0", "M-SGC, trial 0"]
    results = stragglersim.Results.load(ran)
    rounds = results.rounds[results.rounds["scheme"] == "GC"]
    mine = [event for event in events if event["pid"] == 0 and event["ph"] == "X"]
    drawn = [event for event in mine if event["tid"] == 0 and event["name"] != "waits"]
    assert [event["ts"] for event in drawn] == pytest.approx((rounds["start_s"] * 1e6).tolist(), abs=1e-3)
    assert [event["dur"] for event in drawn] == pytest.approx((rounds["duration_s"] * 1e6).tolist(), abs=1e-3)
    waits = [event["dur"] for event in mine if event["name"] == "waits"]
    assert waits == pytest.approx((rounds.loc[rounds["waited"], "waited_s"] * 1e6).tolist(), abs=1e-3)
    workers = results.workers[results.workers["scheme"] == "GC"].merge(rounds, on="round")
    finished_s = workers["start_s"] + np.minimum(workers["finished_s"], workers["duration_s"])
    of_workers = [event for event in mine if event["tid"] > 0]
    assert [event["ts"] + event["dur"] for event in of_workers] == pytest.approx((finished_s * 1e6).tolist(), abs=1e-2)
    assert [event["args"]["straggler"] for event in of_workers] == workers["straggler"].tolist()
    late = [event for event in of_workers if event["name"].startswith("straggler, round ")]
    assert len(late) == workers["straggler"].sum() > 0
    assert all(event["cname"] == "terrible" and event["args"]["cut_off"] for event in late)


def test_events_of_a_worker_never_overlap_where_old_lists_are_finished(cli, tmp_path):
    (tmp_path / "late.yaml").write_text(SCENARIO + "leftover: finish\n")
    results = stragglersim.run(stragglersim.load(tmp_path / "late.yaml"), detail="workers")
    results.save(tmp_path / "late")
    assert cli("trace", "convert", "late", "--scheme", "GC", "--out", "late.json.gz")[0] == 0
    with gzip.open(tmp_path / "late.json.gz", "rt") as file:
        events = [event for event in json.load(file)["traceEvents"] if event["ph"] == "X" and event["tid"] > 0]
    for worker in range(1, 5):
        for event, later in itertools.pairwise([event for event in events if event["tid"] == worker]):
            assert event["ts"] + event["dur"] <= later["ts"] + 0.01
    went_on = results.workers[(results.workers["scheme"] == "GC") & results.workers["straggler"]]
    assert np.isfinite(went_on["finished_s"]).any()
    first = (tmp_path / "late.json.gz").read_bytes()
    assert first[4:8] == bytes(4)  # no time of day
    assert cli("trace", "convert", "late", "--scheme", "GC", "--out", "late.json.gz", "--force")[0] == 0
    assert (tmp_path / "late.json.gz").read_bytes() == first


# ---- what is wrong

FILES = {
    "long.csv": "round,worker,duration_s\n0,0,1\n0,1,2\n",
    "other.csv": "step,rank,time\n0,0,1\n0,1,2\n",
    "text.csv": "round,worker,duration_s\n0,0,soon\n",
    "minus.csv": "1.5,2\n-3,4\n",
    "twice.csv": "round,worker,duration_s\n0,0,1\n0,0,2\n",
    "named.csv": "round,worker,duration_s\nlunch,0,1\n",
    "empty.csv": "",
    "header.csv": "a,b\n",
    "events.json": '{"traceEvents": [{"ph": "X", "name": "aten::mm", "ts": 0, "dur": 1}]}',
    "broken.json": '{"traceEvents": [',
    "number.json": "3",
    "minus.json": '[{"ph": "X", "name": "ProfilerStep#0", "ts": 0, "dur": -1}]',
    "pickle.parquet": "cos\nsystem\n",
}
OUT = ("--out", "new.parquet")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("info", "nothing.csv"), "nothing.csv: must be a readable file"),
        (
            ("info", "other.csv"),
            "other.csv: must have the columns round, worker and duration_s, got step, rank, time: looks like a long",
        ),
        (("info", "pickle.parquet"), "pickle.parquet: must be a Parquet file"),
        (
            ("info", "long.csv", "--base-load", "0,1"),
            "--base-load: must be a number of at least 0 for each of 1 file(s)",
        ),
        (("info", "long.csv", "--base-load", "x"), "got x"),
        (("info", "long.csv", "--mu", "-1"), "stragglersim: Invalid value for '--mu'"),
        (("info", "long.csv", "--out", "long.csv"), "long.csv: must be a folder that can be written"),
        (("info",), "stragglersim: Missing argument"),
        (("convert", "long.csv"), "stragglersim: Missing option '--out'"),
        (
            ("convert", "other.csv", *OUT),
            "under other names (--columns round=step,worker=rank,duration_s=time)",
        ),
        (("convert", "other.csv", "--columns", "round=step", *OUT), "(--columns worker=..., duration_s=... says what"),
        (("convert", "other.csv", "--columns", "rank=worker", *OUT), "--columns: must be round=NAME,worker=NAME"),
        (("convert", "other.csv", "--columns", "round", *OUT), "--columns: must be round=NAME,worker=NAME"),
        (("convert", "nothing.csv", *OUT), "nothing.csv: must be a readable file, got nothing.csv (No such file"),
        (("convert", "pickle.parquet", *OUT), "pickle.parquet: must be a Parquet file or a .csv file, got"),
        (("convert", "empty.csv", "--rows", "round", *OUT), "empty.csv: must hold times, got none"),
        (("convert", "header.csv", "--rows", "round", *OUT), "header.csv: must hold times, got none"),
        (
            ("convert", "text.csv", *OUT),
            "text.csv: times must be numbers of at least 0, got soon for round 0, worker 0",
        ),
        (("convert", "minus.csv", "--rows", "worker", *OUT), "got -3 for round 0, worker 1"),
        (
            ("convert", "twice.csv", *OUT),
            "twice.csv: must have one time for each round and worker, got several for round 0",
        ),
        (
            ("convert", "named.csv", *OUT),
            "named.csv: rounds must be numbered alike (3, or step 3; of at most 18 digits), got 'lunch'",
        ),
        (("convert", "long.csv", "--from", "wide", *OUT), "--rows: must say worker or round for a wide table"),
        (
            ("convert", "long.csv", "--event", "x", *OUT),
            "--event: must be left out, got it for a source that is read as long",
        ),
        (
            ("convert", "events.json", "--unit", "ms", *OUT),
            "--unit: must be left out, got it for a source that is read as chr",
        ),
        (
            ("convert", "minus.csv", "minus.csv", "--rows", "worker", *OUT),
            "minus.csv: must be the only source to be read as wide, got 2 of them",
        ),
        (("convert", "long.csv", "--out", "run.json"), "--to chrome: must be given a folder that a run has written"),
        (("convert", "long.csv", "--out", "other.csv"), "other.csv: must not exist yet (--force replaces it)"),
        (("convert", "long.csv", "--out", "no/new.parquet"), "no/new.parquet: must be a file that can be written"),
        (("convert", "events.json", *OUT), r"events.json: must hold events ProfilerStep#(\d+) in steps, got none"),
        (
            ("convert", "events.json", "--event", "aten::mm", *OUT),
            "events.json: must hold events aten::mm in steps, got no",
        ),
        (("convert", "events.json", "--event", "(", *OUT), "--event: must be a regular expression, got ("),
        (("convert", "events.json", "--event", "(a)(b)", *OUT), "--event: must have at most one group"),
        (
            ("convert", "events.json", "--event", "aten::(mm)", *OUT),
            "--event: its group must capture the number of the st",
        ),
        (("convert", "broken.json", *OUT), "broken.json: must be a readable Chrome trace (JSON), got none (Expecting"),
        (("convert", "number.json", *OUT), "number.json: must be a Chrome trace, a list of events or an object with"),
        (
            ("convert", "minus.json", *OUT),
            "minus.json: events must have numbers ts and dur of at least 0 (and below 1e+18), got -1 at",
        ),
        (("convert", ".", "--out", "run.json"), "--to chrome: must be given a folder that a run has written, got"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(cli, tmp_path, arguments, line):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    status, _, err = cli("trace", *arguments)
    assert status == 2
    assert line in err
    assert err.count("\n") == 1
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == FILES


def test_a_run_without_workers_or_what_is_asked_for_is_told(cli, ran, tmp_path):
    convert = ("trace", "convert", "ran", "--out", "run.json")
    assert cli(*convert, "--scheme", "SGC")[2] == "ran: --scheme must be one of GC, M-SGC, got SGC\n"
    assert cli(*convert, "--trial", "3")[2] == "ran: --trial must be one of 0, got 3\n"
    (ran / "workers.parquet").unlink()
    assert cli(*convert) == (
        2,
        "",
        "ran: must hold workers.parquet, got none (stragglersim run ... --detail workers writes it)\n",
    )
    assert not (tmp_path / "run.json").exists()


def test_two_files_of_one_rank_are_refused(cli, tmp_path):
    kineto(tmp_path / "a.json", [step(1, 5)], rank=3)
    kineto(tmp_path / "b.json", [step(1, 6)], rank=3)
    status, _, err = cli("trace", "convert", "a.json", "b.json", *OUT)
    assert (status, err) == (
        2,
        "b.json: must hold steps or a rank of its own, got step 1 of rank 3 again, which a.json has\n",
    )


def test_a_conversion_keeps_the_load_in_the_metadata(cli, tmp_path):
    trace_with_base_load(b"0.25")
    assert cli("trace", "convert", "mine.parquet", "--out", "kept.parquet")[0] == 0
    assert read_times(Path("kept.parquet")).base_load == 0.25


READERS = {  # every command that looks at the load of a trace
    "info": ("trace", "info", "mine.parquet"),
    "fit": ("trace", "fit", "mine.parquet", "--out", "model.yaml"),
    "convert": ("trace", "convert", "mine.parquet", "--out", "converted.parquet"),
    "tune": ("tune", "mine.parquet", "--schemes", "uncoded", "--jobs", "4", "--out", "tuned"),
    "tune-slope": ("tune", "mine.parquet", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1"),
    "tune-proportional": ("tune", "mine.parquet", "--schemes", "uncoded", "--load-effect", "proportional"),
    "advise": ("advise", "mine.parquet", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1"),
}


def trace_with_base_load(said):
    """A trace whose metadata have that base_load: bytes as a key of the Parquet schema, others as pandas attrs."""
    attrs = {} if isinstance(said, bytes) else {b"PANDAS_ATTRS": json.dumps({"base_load": said}).encode()}
    own = {b"base_load": said} if isinstance(said, bytes) else {}
    table = pyarrow.Table.from_pandas(trace(np.random.default_rng(1).lognormal(0.0, 0.5, (40, 4))))
    pyarrow.parquet.write_table(table.replace_schema_metadata(attrs | own), "mine.parquet")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    "said",
    [b"abc", b"nan", b"-1", b"inf", b"", "abc", -1, None, [1], True, float("nan"), 10**400],
    ids=lambda v: repr(v)[:9],
)
def test_every_command_refuses_a_base_load_in_the_metadata_that_is_no_load(cli, tmp_path, command, said):
    trace_with_base_load(said)
    shown = said.decode() if isinstance(said, bytes) else said
    assert cli(*READERS[command]) == (
        2,
        "",
        f"mine.parquet: base_load in its metadata must be a number of at least 0, got {repr(shown)[:80]} "
        "(give --base-load instead)\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.parquet"]


@pytest.mark.parametrize("command", ["info", "fit", "tune-slope", "tune-proportional", "advise"])
def test_a_base_load_that_is_given_is_taken_for_that_in_the_metadata(cli, command):
    trace_with_base_load(b"abc")
    assert cli(*READERS[command], "--base-load", "0.5")[0] == 0


@pytest.mark.parametrize(
    "arguments", [("trace", "fit", "--out", "model.yaml"), ("tune", "--seconds-per-load", "0.1"), ("trace", "info")]
)
def test_every_command_reads_a_folder_of_parquet_files(cli, arguments):
    table = trace(np.random.default_rng(1).lognormal(0.0, 0.5, (40, 4)))
    table.to_parquet("folder", partition_cols=["worker"])
    assert cli(*arguments, "folder")[0] == 0


@pytest.mark.parametrize("attrs", [b"[1]", b"{", b'"base_load"'])
def test_attrs_of_another_program_are_left_alone(cli, attrs):
    table = pyarrow.Table.from_pandas(trace(TIMES_S)).replace_schema_metadata({b"PANDAS_ATTRS": attrs})
    pyarrow.parquet.write_table(table, "mine.parquet")
    assert read_times(Path("mine.parquet")).base_load is None


def test_help_has_examples(cli):
    assert "trace" in cli("--help")[1]
    assert "Example: stragglersim trace info" in " ".join(cli("trace", "info", "--help")[1].split())
    assert "Example: stragglersim trace convert" in " ".join(cli("trace", "convert", "--help")[1].split())
