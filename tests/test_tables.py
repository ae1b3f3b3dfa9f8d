"""Tables of times as people have them: each is read to the same times, or refused in a line that says what helps."""

import gzip
import json
import pathlib
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest

from simulator.choices import TraceKind
from simulator.traces.files import read_times
from simulator.traces.formats import FORMATS
from straggler_models import Trace

CASES = pathlib.Path(__file__).parents[2] / "shared" / "cases" / "traces"
TIMES_S = [[1.21, 1.08], [1.17, 4.4]]
LONG = [("round", "worker", "duration_s"), *((t, w, TIMES_S[t][w]) for t in range(2) for w in range(2))]
WIDE = [("round", "rank0", "rank1"), (0, 1.21, 1.08), (1, 1.17, 4.4)]


def text(rows, comma=",", end="\n"):
    return "".join(comma.join(map(str, row)) + end for row in rows)


def decimal_commas(rows, comma=";"):
    return text([[str(cell).replace(".", ",") for cell in row] for row in rows], comma)


def put(name, data):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def converted(cli, *arguments, times_s=TIMES_S):
    """Convert, compare the times, and return what was said of them."""
    status, out, err = cli("trace", "convert", *arguments, "--out", "out.parquet", "--force")
    assert (status, err) == (0, ""), err
    table = pd.read_parquet("out.parquet")
    found = table.pivot(index="round", columns="worker", values="duration_s").to_numpy()
    assert found == pytest.approx(np.array(times_s), rel=1e-12)
    return out.splitlines()[1:]


def refused(cli, *arguments):
    status, out, err = cli("trace", "convert", *arguments, "--out", "refused.parquet")
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert not pathlib.Path("refused.parquet").exists()
    return err


# ---- text


TEXTS = {
    "comma": text(LONG),
    "semicolon": text(LONG, ";"),
    "tab": text(LONG, "\t"),
    "bar": text(LONG, "|"),
    "bars at the end": text(LONG, "|", "|\n"),
    "spaces": text(LONG, " "),
    "many spaces": text(LONG, "   ", "  \n"),
    "spaces and tabs": text(LONG, " \t "),
    "comma and space": text(LONG, ", "),
    "comma at the end": text(LONG, end=",\n"),
    "comma at the end of the first": text(LONG).replace("\n", ",\n", 1),
    "comma at the end of the others": text(LONG[:1]) + text(LONG[1:], end=",\n"),
    "decimal commas": decimal_commas(LONG),
    "decimal commas, tabs": decimal_commas(LONG, "\t"),
    "decimal commas, spaces": decimal_commas(LONG, " "),
    "quoted": text([[f'"{cell}"' for cell in row] for row in LONG]),
    "comments": "# made by\n#\n" + text(LONG).replace("\n1,0", "\n# a pause, after which, it goes on\n1,0") + "# end\n",
    "Windows": text(LONG, end="\r\n"),
    "empty lines": text(LONG, end="\n\n"),
    "UTF-8 with a mark": "\ufeff" + text(LONG),
    "UTF-16": text(LONG).encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + text(LONG, "\t").encode("utf-16-be"),
    "Latin-1": text([(*LONG[0], "Gerät"), *((*row, "Müller") for row in LONG[1:])]).encode("latin-1"),
    "packed": gzip.compress(text(LONG).encode(), mtime=0),
    "packed UTF-16": gzip.compress(text(LONG).encode("utf-16"), mtime=0),
}


@pytest.mark.parametrize("name", ["log.csv", "log.TXT", "log"])
@pytest.mark.parametrize("kind", TEXTS)
def test_text_is_read_whatever_separates_it(cli, tmp_path, kind, name):
    put(name, TEXTS[kind])
    assert converted(cli, name) == []
    Trace(path=name).check(2, 2)  # as the commands do


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("1,21;1,08\n1,17;4,40\n", ()),
        ("1,21 1,08\n1,17 4,40\n", ()),
        ("1.21 1.08\n1.17 4.40\n", ()),
        (" 1.21   1.08\n 1.17   4.40\n", ()),
        ("# numpy.savetxt\n1.21e+00\t1.08e+00\n1.17e+00\t4.4e+00\n", ()),
        ('"1,21","1,08"\n"1,17","4,40"\n', ("--decimal", ",")),
        ("1,210\t1,080\n1,170\t4,400\n", ("--decimal", ",")),
        ("1.21/1.08\n1.17/4.40\n", ("--delimiter", "/")),
        ("1.21\t1.08\n1.17\t4.40\n", ("--delimiter", r"\t")),
        ("#,rank0,rank1\n0,1.21,1.08\n1,1.17,4.4\n", ()),  # a spreadsheet numbers its rows so
    ],
)
def test_a_wide_table_may_have_decimal_commas_too(cli, data, options):
    put("times.csv", data)
    converted(cli, "times.csv", "--rows", "round", *options)


def test_a_number_with_a_comma_that_may_be_a_thousand_is_refused(cli):
    put("times.csv", "1,210\t1,080\n1,170\t4,400\n")
    said = refused(cli, "times.csv", "--rows", "round")
    assert "1,210 may be in thousands or have decimals (--decimal , or --decimal . says which)" in said
    put("times.csv", decimal_commas(LONG * 20) + "2;0;1.500\n")
    assert "line 101 has 1.500 where decimals have a comma (--decimal)" in refused(cli, "times.csv")
    put("times.csv", 'round,worker,duration_s\n0,0,"1,5"\n')
    assert "got 1,5 for round 0, worker 0 (--decimal , if it has a decimal comma)" in refused(cli, "times.csv")


def test_what_can_be_no_separator_or_decimal_is_refused(cli):
    put("log.csv", text(LONG))
    assert refused(cli, "log.csv", "--delimiter", ",,").startswith("--delimiter: must be one character")
    assert refused(cli, "log.csv", "--decimal", ";").startswith("--decimal: must be . or a comma, got ';'")
    pd.DataFrame(LONG[1:], columns=LONG[0]).to_parquet("log.parquet")
    assert refused(cli, "log.parquet", "--decimal", ",").startswith("--decimal: must be left out for log.parquet")


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("a.csv", pickle.dumps(TIMES_S), "it looks like a pickle, which is never loaded"),
        ("a.csv", b"\x89HDF\r\n\x1a\n", "it looks like HDF5 (save it as Parquet or CSV)"),
        ("a.xlsx", b"PK\x03\x04" + bytes(40), "it looks like a zip or an Excel workbook"),
        ("a.csv", text(LONG).encode("utf-16-le"), "it is not text"),
        ("a.csv", b'{"round": 0', "it looks like JSON (--from records, or chrome)"),
        ("a.csv", gzip.compress(text(LONG).encode(), mtime=0)[:-12], "the file ends too early"),
    ],
)
def test_a_file_that_is_no_table_is_said_to_look_like_what_it_is(cli, name, data, line):
    put(name, data)
    assert line in refused(cli, name)
    assert line in refused(cli, name, "--rows", "round")
    with pytest.raises(ValueError, match="trace convert makes a trace of other files"):
        Trace(path=name).check(1, 1)


# ---- long tables


def test_times_that_are_missing_are_refused_with_their_lines(cli):
    put("log.csv", "# about\nround,worker,duration_s\n0,0,1.21\n0,1,N/A\n\n1,0,\n1,1,4.4\n")
    said = refused(cli, "log.csv")
    assert "got none in lines 4, 6 for round 0, worker 1; round 1, worker 0 (--missing drop" in said
    assert converted(cli, "log.csv", "--missing", "inf", times_s=[[1.21, np.inf], [np.inf, 4.4]]) == []
    assert converted(cli, "log.csv", "--missing", "inf", "--rounds", "1:", times_s=[[np.inf, 4.4]]) == []


def test_a_sum_of_which_a_part_is_missing_is_missing(cli):
    put("log.csv", text([*LONG, (0, 0, 1), (0, 1, "N/A")]))
    assert "got none in line 7 for round 0, worker 1" in refused(cli, "log.csv", "--aggregate", "sum")
    sums = [[2.21, np.inf], TIMES_S[1]]
    assert converted(cli, "log.csv", "--aggregate", "sum", "--missing", "inf", times_s=sums) == []


@pytest.mark.parametrize(
    ("how", "times_s"), [("sum", [[3.0, 7.0]]), ("max", [[2.0, 4.0]]), ("mean", [[1.5, 3.5]]), ("last", [[2.0, 4.0]])]
)
def test_several_times_of_a_round_and_worker_become_one(cli, how, times_s):
    put("log.csv", text([(*LONG[0], "part"), (0, 0, 1, 0), (0, 0, 2, 1), (0, 1, 3, 0), (0, 1, 4, 1)]))
    assert "(--aggregate sum, max, mean or last makes one of them)" in refused(cli, "log.csv")
    assert converted(cli, "log.csv", "--aggregate", how, times_s=times_s) == []


def test_only_rows_of_which_all_conditions_hold_are_read(cli):
    rows = [(*row, "forward", 1.0) for row in LONG[1:]]
    others = [(0, 0, "never read", "backward", 1), (1, 0, 3, "forward", 2), (1, 1, "", "forward", 0)]
    put("log.csv", text([(*LONG[0], "phase", "job"), *others, *rows]))
    assert converted(cli, "log.csv", "--where", "phase=forward", "--where", "job=1") == []
    said = refused(cli, "log.csv", "--where", "phase=step")
    assert said == "--where: must be true of some rows, got phase=step, which is of none\n"
    assert "of log.csv one of round, worker, duration_s, phase, job, got x=1" in refused(
        cli, "log.csv", "--where", "x=1"
    )
    frame = pd.DataFrame([*others, *rows], columns=[*LONG[0], "phase", "job"]).assign(ok=[False] * 3 + [True] * 4)
    frame["duration_s"] = pd.to_numeric(frame["duration_s"], errors="coerce")
    frame.to_parquet("log.parquet")
    assert converted(cli, "log.parquet", "--where", "ok=true") == []


STARTS = [("step", "rank", "a", "b"), (0, 0, 100.0, 101.21), (0, 1, 100.1, 101.18), (1, 0, 5, 6.17), (1, 1, 0, 4.4)]


def test_a_time_may_be_from_a_start_to_an_end(cli):
    given = ("--columns", "round=step,worker=rank,start=a,end=b")
    put("log.csv", text(STARTS))
    assert converted(cli, "log.csv", *given) == []
    put("log.csv", text([STARTS[0], *((*row[:2], 1000 * row[2], 1000 * row[3]) for row in STARTS[1:])]))
    assert converted(cli, "log.csv", *given, "--unit", "ms") == []
    epoch_ns = 1_700_000_000_123_456_789  # a float does not tell such numbers apart
    exact = [(*row[:2], epoch_ns, epoch_ns + round(1e9 * (row[3] - row[2]))) for row in STARTS[1:]]
    put("log.csv", text([STARTS[0], *exact]))
    assert converted(cli, "log.csv", *given, "--unit", "ns") == []
    pd.DataFrame(exact, columns=STARTS[0]).to_parquet("log.parquet")
    assert converted(cli, "log.parquet", *given, "--unit", "ns") == []


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_starts_and_ends_may_be_dates(cli, zone):
    frame = pd.DataFrame(STARTS[1:], columns=["round", "worker", "start", "end"])
    for name in ("start", "end"):
        since_1970_ms = (1e3 * frame[name] + 1.7e12).round().astype("int64")
        frame[name] = pd.to_datetime(since_1970_ms, unit="ms", utc=True).dt.tz_convert(zone)
    frame.to_parquet("log.parquet")
    assert converted(cli, "log.parquet") == []
    assert refused(cli, "log.parquet", "--unit", "ms").startswith("--unit: must be left out for log.parquet")
    for name in ("start", "end"):
        frame[name] = [instant.isoformat() for instant in frame[name]]
    frame.to_csv("log.csv", index=False)
    assert converted(cli, "log.csv") == []


@pytest.mark.parametrize(
    ("start", "end", "line"),
    [
        ("noon", 5, "start and end must be numbers or instants (2026-01-31T12:00:00.5), got noon"),
        ("2026-01-31T12:00:00", 5, "start and end must both be numbers, or both instants"),
        (6, 5, "times must be numbers of at least 0, got -1.0 for round 0, worker 0"),
        ("inf", "inf", "start and end must both be numbers, or both instants"),
        (0, "1e999999999", "start and end must both be numbers, or both instants"),
    ],
)
def test_starts_and_ends_that_are_none_are_refused(cli, start, end, line):
    put("log.csv", text([("round", "worker", "start", "end"), (0, 0, start, end)]))
    assert line in refused(cli, "log.csv")


def test_a_table_for_each_rank_takes_its_name_for_the_worker(cli):
    for rank in (0, 1, 10):
        put(f"logs/rank{rank}.csv", text([("step", "time_s"), (7, 1 + rank), (8, 2 + rank)]))
    given = ("--columns", "round=step,duration_s=time_s")
    times_s = [[1, 2, 11], [2, 3, 12]]
    line = "without a column of workers, files are taken for them: rank0, rank1, rank10"
    files = [f"logs/rank{rank}.csv" for rank in (10, 0, 1)]
    assert converted(cli, *files, *given, times_s=times_s) == [
        line.replace("rank0, rank1, rank10", "rank10, rank0, rank1")
    ]
    assert converted(cli, "logs", *given, times_s=times_s) == [line]
    assert pd.read_parquet("out.parquet")["worker_name"].tolist() == ["rank0", "rank1", "rank10"] * 2
    status, _, err = cli("trace", "info", "logs", *given)
    assert (status, err) == (0, f"logs: {line}\n")
    assert "columns step, worker, time_s" in refused(cli, "logs/rank0.csv", *given)


def test_files_of_one_name_are_told_apart_by_their_folders(cli):
    for node in ("a", "b"):
        put(f"logs/{node}/times.csv", text([("round", "duration_s"), (0, 1 + (node == "b"))]))
    assert converted(cli, "logs", times_s=[[1, 2]]) == [
        "without a column of workers, files are taken for them: a/times, b/times"
    ]


def test_files_with_workers_are_put_together(cli):
    put("logs/0.csv", text(LONG[:3]))
    put("logs/1.csv", text([LONG[0], *LONG[3:]], ";"))
    assert converted(cli, "logs") == []
    put("logs/2.csv", text([LONG[0], LONG[1]]))
    assert "got several for round 0, worker 0" in refused(cli, "logs")


def test_folders_say_what_their_names_do(cli):
    frame = pd.DataFrame(LONG[1:], columns=LONG[0])
    frame.to_parquet("by worker", partition_cols=["worker"])
    assert converted(cli, "by worker") == []
    frame.assign(run="a b/c").to_parquet("by both", partition_cols=["run", "round", "worker"])
    assert converted(cli, "by both", "--where", "run=a b/c") == []
    for worker in (0, 1):
        rows = [row[::2] for row in LONG[1:] if row[1] == worker]
        put(f"text/rank={worker}/part.csv", text([("round", "duration_s"), *rows]))
    assert converted(cli, "text", "--columns", "worker=rank") == []
    frame.astype({"worker": object}).assign(worker=[0, 1, None, 1]).to_parquet("gap", partition_cols=["worker"])
    put(
        "gap/worker=__HIVE_DEFAULT_PARTITION__/p.parquet",
        pathlib.Path("gap").rglob("*.parquet").__next__().read_bytes(),
    )
    assert "worker must be given in each row, got nothing" in refused(cli, "gap")


def test_rows_of_totals_are_no_workers_and_no_rounds(cli):
    put("log.csv", text([*LONG, (0, "mean", 1.1), (1, "Mean", 2.8), ("total", 0, "#REF!")]))
    assert converted(cli, "log.csv") == [
        "rows whose round is called total are left out: computed from others, they are no rounds",
        "rows whose worker is called mean, Mean are left out: computed from others, they are no workers",
    ]


@pytest.mark.parametrize(
    ("name", "unit"), [("duration_ms", "ms"), ("time (us)", "us"), ("nanoseconds", "ns"), ("step-msec", "ms")]
)
def test_a_column_that_says_a_unit_is_told_of_if_it_is_not_given(cli, name, unit):
    put("t.csv", text([("round", "worker", name), *LONG[1:]]))
    options = ("--columns", f"duration_s={name}")
    said = converted(cli, "t.csv", *options)
    assert said == [f"{name} is taken for seconds, although it is called {unit} (--unit {unit}, or s if it is right)"]
    assert converted(cli, "t.csv", *options, "--unit", "s") == []


def test_names_of_workers_survive_when_a_trace_is_converted_again(cli):
    put("t.csv", text([LONG[0], *((t, ("node-b", "node-a")[w], s) for t, w, s in LONG[1:])]))
    assert converted(cli, "t.csv", times_s=[row[::-1] for row in TIMES_S]) == []
    first = pd.read_parquet("out.parquet")
    pathlib.Path("out.parquet").rename("first.parquet")
    assert converted(cli, "first.parquet", times_s=[row[::-1] for row in TIMES_S]) == []
    again = pd.read_parquet("out.parquet")
    pd.testing.assert_frame_equal(first, again)
    assert again["worker_name"].tolist() == ["node-a", "node-b"] * 2


@pytest.mark.parametrize(("scale", "options"), [(1, ()), (1e3, ()), (1e3, ("--unit", "ms"))])
def test_instants_are_no_durations(cli, scale, options):
    put("t.csv", text([("round", "worker", "time"), *((t, w, scale * (1.7e9 + t)) for t in range(2) for w in (0, 1))]))
    line = refused(cli, "t.csv", "--columns", "duration_s=time", *options)
    assert "must be durations, got 17000000" in line
    assert "for round 0, worker 0, which looks like an instant" in line
    put("wide.csv", text([("timestamp", "node-a", "node-b"), *((scale * (1.7e9 + t) + 0.5, 1, 2) for t in range(2))]))
    assert "which looks like an instant" in refused(cli, "wide.csv", "--rows", "round", *options)


# ---- wide tables


@pytest.mark.parametrize("others", [("loss",), ("loss", "p99")])
def test_columns_that_are_called_otherwise_than_the_workers_are_told(cli, others):
    rows = [(*WIDE[0], "rank2", *others), *((*row, 2.5, *([0.5] * len(others))) for row in WIDE[1:])]
    put("t.csv", text(rows))
    said = converted(
        cli, "t.csv", "--rows", "round", times_s=[[0.5] * len(others) + [*row[1:], 2.5] for row in WIDE[1:]]
    )
    assert said == [f"columns called {', '.join(others)} are taken for workers, too, as the others are"]


@pytest.mark.parametrize(
    "word", ["max", "mean", "total", "Sum", "average", "median", "MIN", "std", "max_s", "mean (ms)"]
)
def test_columns_and_rows_of_totals_are_left_out_and_told(cli, word):
    put("times.csv", text([(*row, cell) for row, cell in zip(WIDE, (word, "=B2", 4), strict=True)]))
    line = f"columns called {word} are left out: computed from others, they are no workers"
    assert converted(cli, "times.csv", "--rows", "round") == [line]
    put("times.csv", text([*WIDE, (word, 9, "#DIV/0!")]))
    line = f"rows called {word} are left out: computed from others, they are no rounds"
    assert converted(cli, "times.csv", "--rows", "round") == [line]


@pytest.mark.parametrize("word", ["max01", "summer", "meanwhile", "minnie", "standby"])
def test_a_worker_is_no_total_for_its_name(cli, word):
    put("times.csv", text([("round", "a", word), *WIDE[1:]]))
    assert converted(cli, "times.csv", "--rows", "round") == []


@pytest.mark.parametrize(
    ("first", "others"),
    [
        ([0, 1], [1.5, 1.25]),
        ([1, 2, 3, 4, 5], [1.5, 1.25, 2, 1, 1]),
        ([100, 110, 120], [1.5, 1.25, 2]),
        ([3, 4, 7, 8, 9], [1.5, 1.25, 2, 1, 1]),
        ([1, 2, 3], [1500, 1250, 2000]),
    ],
)
def test_a_first_column_that_counts_is_no_worker_and_told(cli, first, others):
    times_s = np.array([others, others[::-1]], dtype=float).T
    np.savetxt("times.txt", np.column_stack([first, times_s]))
    np.save("times.npy", np.column_stack([first, times_s]))
    listed = ", ".join(f"{number:g}" for number in first[:3])
    line = f"the first column ({listed}, ...) is taken for the numbers of rounds, since it counts"
    for name in ("times.txt", "times.npy"):
        assert converted(cli, name, "--rows", "round", times_s=times_s) == [line]
        steps = pd.read_parquet("out.parquet")
        assert (steps["step"] if "step" in steps else steps["round"]).unique().tolist() == first


@pytest.mark.parametrize("first", [[1, 2], [1.5, 2.5, 3.5], [3, 2, 1], [1, 1, 2], [2, 3, 5], [1, 2, np.inf]])
def test_a_first_column_of_times_stays_a_worker(cli, first):
    times_s = np.column_stack([first, np.linspace(1.1, 1.7, len(first))])
    np.savetxt("times.txt", times_s)
    assert converted(cli, "times.txt", "--rows", "round", times_s=times_s) == []
    put("times.csv", text([("rank0", "rank1"), (1, 1.5), (2, 1.2), (3, 1.1)]))
    assert converted(cli, "times.csv", "--rows", "round", times_s=[[1, 1.5], [2, 1.2], [3, 1.1]]) == []


@pytest.mark.parametrize(("first", "is_told"), [((1, 2, 3), True), (("", 0, 1), False), (("a", "b", "c"), False)])
def test_a_first_row_that_counts_above_whole_times_is_told(cli, first, is_told):
    put("t.csv", text([first, (7, 1, 4), (5, 5, 1)]))
    _, out, _ = cli("trace", "convert", "t.csv", "--rows", "round", "--out", "o.parquet")
    assert ("the first row is taken for a header, since it counts" in out) is is_told


def test_a_first_row_with_a_gap_is_no_header(cli):
    for gap in ("N/A", ""):
        put("times.csv", f"{gap},1.08\n1.17,4.4\n")
        assert (
            converted(cli, "times.csv", "--rows", "round", "--missing", "inf", times_s=[[np.inf, 1.08], TIMES_S[1]])
            == []
        )


def test_wide_parquet_with_rounds_needs_no_option(cli):
    frame = pd.DataFrame(WIDE[1:], columns=WIDE[0])
    frame.to_parquet("wide.parquet")
    assert converted(cli, "wide.parquet") == []
    frame.set_index("round").assign(mean=1.5).to_parquet("wide.parquet")
    assert converted(cli, "wide.parquet") == [
        "columns called mean are left out: computed from others, they are no workers"
    ]
    long = pd.DataFrame(LONG[1:], columns=LONG[0])
    long["worker"] = long["worker"].map({0: "alpha", 1: "beta"})
    long.pivot(index="round", columns="worker", values="duration_s").to_parquet("wide.parquet")
    assert converted(cli, "wide.parquet") == []
    frame.rename(columns={"rank0": "alpha", "rank1": "beta"}).to_parquet("wide.parquet")
    assert "must have the columns round, worker and duration_s" in refused(cli, "wide.parquet")
    assert converted(cli, "wide.parquet", "--rows", "round") == []
    frame.drop(columns="round").T.to_parquet("wide.parquet")  # its index has no name
    assert converted(cli, "wide.parquet", "--rows", "worker") == []
    frame[["rank0", "rank1"]] = frame[["rank0", "rank1"]].apply(lambda cells: pd.to_timedelta(cells, unit="s"))
    frame.assign(host="h").to_parquet("wide.parquet")
    assert converted(cli, "wide.parquet") == ["columns called host are left out: round says what each row is"]


def test_a_long_table_is_not_read_as_a_wide_one(cli):
    put("log.csv", text(LONG))
    pd.DataFrame(LONG[1:], columns=LONG[0]).to_parquet("log.parquet")
    for name in ("log.csv", "log.parquet"):
        assert refused(cli, name, "--rows", "round").startswith(f"--rows: must be left out for {name}, a long table")


# ---- arrays


def test_arrays_are_read_and_never_unpickled(cli):
    np.save("times.npy", TIMES_S)
    assert converted(cli, "times.npy", "--rows", "round") == []
    assert "--rows: must say worker or round" in refused(cli, "times.npy")
    pathlib.Path("times.npy").rename("times.dat")  # the content tells
    assert converted(cli, "times.dat", "--rows", "round") == []
    for dtype in (">f4", np.float16, np.int32):
        np.save("times.npy", np.array([[1.5, 2], [1, 3]]).astype(dtype))
        expected = [[1.5, 2], [1, 3]] if dtype != np.int32 else [[1, 2], [1, 3]]
        assert converted(cli, "times.npy", "--rows", "round", times_s=expected) == []
    np.save("times.npy", (1000 * np.array(TIMES_S)).round().astype("m8[ms]"))
    assert converted(cli, "times.npy", "--rows", "round") == []
    np.save("times.npy", np.array([[1.21, np.nan], [1.17, 4.4]]))
    assert "got none for round 0, worker 1" in refused(cli, "times.npy", "--rows", "round")


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (np.ones(3), "got the array of shape (3,)"),
        (np.ones((2, 2, 2)), "got the array of shape (2, 2, 2)"),
        (np.array([[1, None]]), "Python objects in dtype"),
        (np.array([[1j]]), "got an array of complex128"),
        (np.array([[True]]), "got an array of bool"),
        (np.array([[1]], dtype="M8[s]"), "got an array of datetime64[s]"),
        (np.ones((1, 1), dtype=[("a", float)]), "got an array of [('a', '<f8')]"),
        (np.array([["soon"]]), "got an array of <U4"),
        (np.array([[-1.0]]), "got -1.0 for round 0, worker 0"),
        (np.empty((0, 4)), "must hold times, got none"),
        (np.broadcast_to(1.0, (5000, 5000)), "it has 25000000 times or more, a trace at most 20000000"),
    ],
)
def test_an_array_that_has_no_times_of_rounds_and_workers_is_refused(cli, array, line):
    np.save("times.npy", array)
    said = refused(cli, "times.npy", "--rows", "round")
    assert said.startswith("times.npy: ")
    assert line in said


@pytest.mark.parametrize(("unit", "seconds"), [("D", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001)])
def test_an_array_of_durations_has_a_unit_of_its_own(cli, unit, seconds):
    np.save("a.npy", np.array([[3, 2], [4, 1]], dtype=f"m8[{unit}]"))
    assert (
        converted(cli, "a.npy", "--rows", "round", times_s=[[3 * seconds, 2 * seconds], [4 * seconds, seconds]]) == []
    )


@pytest.mark.parametrize("unit", ["m8[Y]", "m8[ps]", "m8"])
def test_durations_of_no_fixed_length_are_refused(cli, unit):
    np.save("a.npy", np.array([[3, 2], [4, 1]], dtype=unit))
    assert "times must be numbers of at least 0, got an array of timedelta64" in refused(
        cli, "a.npy", "--rows", "round"
    )


def test_an_archive_of_arrays_has_one_of_two_dimensions(cli):
    np.savez_compressed("times.npz", times=TIMES_S, ranks=[0, 1])
    line = "arrays ranks are left out: times has rounds and workers"
    assert converted(cli, "times.npz", "--rows", "round") == [line]
    np.savez("times.npz", a=TIMES_S, b=TIMES_S)
    assert "got a of shape (2, 2), b of shape (2, 2)" in refused(cli, "times.npz", "--rows", "round")
    with zipfile.ZipFile("times.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.npy", bytes(400_000_000))
    assert "it has 25000000 times or more" in refused(cli, "times.npz", "--rows", "round")
    put("times.npz", pathlib.Path("times.npz").read_bytes()[:-30])
    assert "it looks like a zip" in refused(cli, "times.npz", "--rows", "round")


# ---- JSON

RECORDS = [dict(zip(LONG[0], row, strict=True)) for row in LONG[1:]]
LISTS = {name: [record[name] for record in RECORDS] for name in LONG[0]}
JSONS = {
    "lines": "\n".join(map(json.dumps, RECORDS)),
    "lines with more": "\n\n".join(json.dumps(record | {"note": {"a": [1]}}) for record in RECORDS) + "\n",
    "records": json.dumps(RECORDS, indent=1),
    "lists": json.dumps(LISTS, indent=1),
    "lists in a line": json.dumps(LISTS),
    "pandas": pd.DataFrame(RECORDS).to_json(),
    "wide records": json.dumps([dict(zip(WIDE[0], row, strict=True)) for row in WIDE[1:]]),
    "packed": gzip.compress(json.dumps(RECORDS).encode(), mtime=0),
    "UTF-16": json.dumps(RECORDS).encode("utf-16"),
    "many lists": json.dumps({"note": ["x"] * 30_000} | {name: LISTS[name] * 7500 for name in LONG[0]}),
}


@pytest.mark.parametrize("name", ["log.json", "log.jsonl", "log"])
@pytest.mark.parametrize("kind", JSONS)
def test_json_that_is_a_table_is_read_as_one(cli, kind, name):
    put(name, JSONS[kind])
    assert converted(cli, name, *(("--aggregate", "max") if kind == "many lists" else ())) == []


def test_json_has_the_options_of_tables(cli):
    put("log.json", json.dumps([{"step": t, "rank": w, "ms": 1000 * s, "kind": "a"} for t, w, s in LONG[1:]]))
    options = ("--columns", "round=step,worker=rank,duration_s=ms", "--unit", "ms", "--where", "kind=a")
    assert converted(cli, "log.json", *options) == []
    assert "(--columns round=step,worker=rank,duration_s=ms --unit ms)" in refused(cli, "log.json")
    put("log.json", json.dumps({"rank0": [1.21, 1.17], "rank1": [1.08, 4.4]}))
    assert converted(cli, "log.json", "--rows", "round") == []
    assert "(--rows round)" in refused(cli, "log.json")
    rows = [{"round": 0, "worker": 0, "duration_s": "inf"}, {"round": 0, "worker": "1", "duration_s": 2.5}]
    put("log.json", json.dumps(rows))
    assert converted(cli, "log.json", times_s=[[np.inf, 2.5]]) == []
    for worker in (0, 1):
        lines = [json.dumps({"round": t, "duration_s": TIMES_S[t][worker]}) for t in range(2)]
        put(f"logs/rank{worker}.jsonl", "\n".join(lines))
    assert converted(cli, "logs") == ["without a column of workers, files are taken for them: rank0, rank1"]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            '{"round": 0}\n{"round": 1',
            "must be JSON objects, in a list or a line each, or an object of lists, got none (lin",
        ),
        ('{"round": 0}\n[1]\n', "got none (it holds something else)"),
        ('{"round": [0], "worker": [0, 1]}', "got none (its lists are not equally long, or are none)"),
        ('[{"round": {"a": 1}, "worker": 0, "duration_s": 1}]', "round must hold numbers or names, got struct"),
        ('[{"round": 0, "worker": null, "duration_s": 1}]', "worker must be given in each row, got nothing"),
        ('[{"round": 0, "worker": 0, "duration_s": true}]', "times must be numbers of at least 0, got bool"),
        ('[{"round": 0, "worker": 0}]', "must have the columns round, worker and duration_s, got round, worker: "),
    ],
)
def test_json_that_is_no_table_is_refused(cli, data, line):
    put("log.json", data)
    assert line in refused(cli, "log.json")


@pytest.mark.parametrize(
    "data", ['[{"ph": "X", "name": "a", "ts": 0, "dur": 1}]', '[{"ph": "M"},', '{"traceEvents": []}', "[]", "[", "{}"]
)
def test_events_are_left_to_the_format_of_profiles(tmp_path, data):
    path = tmp_path / "events.json"
    path.write_text(data)
    assert next(kind for kind, form in FORMATS.items() if form.fits(path, {})) == "chrome"


# ---- what can't be read, and what helps


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("worker0,worker1", "a wide table with a column for each worker (--rows round)"),
        ("step,node-1,node-2,max", "a wide table with a column for each worker (--rows round)"),
        ("rank,step 1,step 2", "a wide table with a column for each round (--rows worker)"),
        ("1.5,2.5", "a table without names (--rows worker or --rows round, what a row is)"),
        ("iteration,rank,step_time_ms", "(--columns round=iteration,worker=rank,duration_s=step_time_ms --unit ms)"),
        ("global_step,hostname,elapsed", "(--columns round=global_step,worker=hostname,duration_s=elapsed)"),
        (
            "epoch,worker_id,start_time,end_time",
            "(--columns round=epoch,worker=worker_id,start=start_time,end=end_time)",
        ),
        ("step,sec", "(--columns round=step,worker=...,duration_s=sec)"),
        (
            "a,b," + "time" * 20,
            "say --rows worker or --rows round (a row for each), or --columns round=...,worker=...,duration_s=...",
        ),
        ("a,b", "say --rows worker or --rows round (a row for each), or --columns round=...,worker=...,duration_s=..."),
    ],
)
def test_what_can_not_be_read_names_the_option_that_would_help(cli, head, line):
    put("log.csv", f"{head}\n" + ",".join("1" for _ in head.split(",")) + "\n")
    said = refused(cli, "log.csv")
    assert said.startswith("log.csv: must have the columns round, worker and duration_s, got ")
    assert said.endswith(f"{line}\n")


def test_from_names_the_format_where_the_content_does_not(cli):
    put("log.json", json.dumps(RECORDS))
    for kind in ("chrome", "npy", "long", "wide"):
        assert refused(cli, "log.json", "--from", kind)
    assert converted(cli, "log.json", "--from", "records") == []
    assert {"npy", "records"} < {*TraceKind.__args__}


# ---- the cases

LONG_NAMES = "round=step,worker=rank"
READ = [
    ("microbatch.csv", [[0.21, 0.405]], f"--columns {LONG_NAMES},duration_s=ms --unit ms --aggregate sum"),
    ("start_end.csv", [[1.2, 1.1], [1.2, 4.4]], f"--columns {LONG_NAMES},start=start,end=end"),
    ("times.npy", TIMES_S, "--rows round"),
    *(
        (name, TIMES_S, "")
        for name in (
            *("lines.jsonl", "records.json", "hive", "multiindex.parquet", "timedelta.parquet", "UPPER.CSV"),
            *("semicolon_decimal_comma.csv", "trailing_comma.csv", "spaces.csv", "times.csv.gz"),
        )
    ),
    ("na_words.csv", [[1.21, np.inf], [1.0, np.inf]], "--missing inf"),
    (
        "savetxt_step_first.csv",
        [[1, 1.1, 4], [1, 1.2, 1.1], [1.1, 1, 1], [1.2, 1.1, 1], [1, 1, 1.3]],
        "--rows round",
    ),
    ("desc_neg_rounds.csv", [[1, 2], [3, 3]], f"--columns {LONG_NAMES},duration_s=sec"),
    ("rank0.csv rank1.csv", [[1, 1], [1.1, 4.1]], "--columns round=step,duration_s=time_s"),
    ("excel_totals.csv", [[1, 1.1, 4], [1, 1.2, 1.1], [1.1, 1, 1.2]], "--rows round"),
    ("onebased.csv", [[1, 1.5], [1.1, 1]], ""),
    ("pandas-metadata.parquet", np.arange(1.0, 19).reshape(6, 3), ""),
]
REFUSED = [
    ("microbatch.csv", f"--columns {LONG_NAMES},duration_s=ms", "--aggregate"),
    ("datetime.parquet", "", "an instant is no duration"),
    ("na_words.csv", "", "in lines 3, 5"),
    ("bigstep.csv", f"--columns {LONG_NAMES},duration_s=sec", "at most 18 digits"),
    ("base-load-x.parquet", "", "base_load in its metadata must be a number"),
    ("null-worker-misassigned.parquet", "", "worker must be given in each row"),
    ("null-worker-one.parquet", "", "worker must be given in each row"),
    ("null-round-all.parquet", "", "round must be given in each row"),
    ("truncated.csv.gz", "", "the file ends too early"),
]
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not part of the project: no {CASES}")


@needs_cases
@pytest.mark.parametrize(("names", "times_s", "options"), READ, ids=[row[0] for row in READ])
def test_a_case_is_read_to_its_times(cli, names, times_s, options):
    converted(cli, *(CASES / name for name in names.split()), *options.split(), times_s=times_s)
    if " " not in names:
        given = dict(zip((word[2:] for word in options.split()[::2]), options.split()[1::2], strict=True))
        assert read_times(CASES / names, None, given).duration_s == pytest.approx(np.array(times_s), rel=1e-12)


@needs_cases
@pytest.mark.parametrize(("name", "options", "line"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_case_that_is_no_trace_is_refused_by_all(cli, name, options, line):
    assert line in refused(cli, CASES / name, *options.split())
    for command in (("trace", "info"), ("trace", "fit", "--out", "model.yaml"), ("tune", "--jobs", "4")):
        status, _, err = cli(*command, CASES / name, *options.split())
        assert status == 2
        assert line in err


def test_rounds_that_are_dropped_are_counted(cli):
    pathlib.Path("a.csv").write_text("round,worker,duration_s\n0,0,1\n0,1,2\n1,0,\n1,1,2\n2,0,1\n2,1,4\n")
    said = cli("trace", "convert", "a.csv", "--missing", "drop", "--out", "out.parquet")[1]
    assert "1 of 3 rounds, in which times are missing, are left out" in said
    assert "left out" not in cli("trace", "convert", "a.csv", "--missing", "inf", "--force", "--out", "out.parquet")[1]
