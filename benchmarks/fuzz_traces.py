"""Trace files with something wrong: good ones with other bytes, cells, columns, types or metadata.

`mutants(seed)` never ends; benchmarks/fuzz.py and tests/test_fuzz_traces.py take as many as they have time for.
"""

import copy
import gzip
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

CELLS = (
    *(
        "",
        " ",
        "nan",
        "NA",
        "null",
        "inf",
        "-inf",
        "-1",
        "0",
        "1e308",
        "1e-320",
        "1e999",
        "0.5",
        "-0",
        "+1",
        "1_0",
        "true",
    ),
    *(
        "9" * 20,
        "9" * 5000,
        "x" * 70000,
        "x" * 200000,
        "w0",
        "rank 1",
        "²",
        "٣",
        "\ud83d\ude00",
        '"',
        "\x00",
        "a\nb",
        "1,5",
        "2020-01-01",
    ),
)
NAMES = (
    "round",
    "worker",
    "duration_s",
    "step",
    "startup_s",
    "seconds_per_load",
    "slowdown",
    "",
    "rank",
    "0",
    "x" * 300,
)
LOADS = (b"x", b"nan", b"-1", b"inf", b"", b"\xff", b"[1]", b"9" * 400, b"0.5", b"true")
PANDAS = (
    b"{}",
    b"[]",
    b"{",
    b"null",
    b'{"index_columns": [1]}',
    b'{"index_columns": ["gone"], "columns": []}',
    b"[" * 3000,
)
JSON_VALUES = (
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    10**30,
    "",
    "x",
    "\ud800",
    [],
    [1],
    {},
    {"rank": 1},
    float("nan"),
    float("inf"),
)


def mutants(seed: int) -> Iterator[tuple[str, bytes, str]]:
    """Yield what was done, the bytes of a file, and the end of its name."""
    for number in itertools.count():
        rng = np.random.default_rng([seed, number])
        kind, make = MAKERS[int(rng.integers(len(MAKERS)))]
        data, suffix, done = make(rng)
        if rng.random() < 0.3:
            data, how = _other_bytes(data, rng)
            done.append(how)
        yield f"{seed}-{number} {kind}: {', '.join(done) or 'as it is'}", data, suffix


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _other_bytes(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Change some bytes."""
    how = _pick(rng, ("flip", "cut", "end", "insert", "twice", "zeros"))
    place, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 40))
    some = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    changed = {
        "flip": data[:place]
        + bytes(byte ^ (1 << int(rng.integers(8))) for byte in data[place : place + 1])
        + data[place + 1 :],
        "cut": data[:place] + data[place + length :],
        "end": data[:place],
        "insert": data[:place] + some + data[place:],
        "twice": data[: place + length] + data[place:],
        "zeros": data[:place] + bytes(length) + data[place + length :],
    }
    return changed[how], f"{how} at {place}"


def _rows(rng: np.random.Generator) -> tuple[list[str], list[list[Any]]]:
    """A good trace: names, and rows of cells."""
    n_rounds, n_workers, first = int(rng.integers(1, 7)), int(rng.integers(1, 5)), int(rng.integers(2))
    places = itertools.product(range(first, n_rounds + first), range(first, n_workers + first))
    names = ["round", "worker", _pick(rng, ("duration_s", "duration_s", "startup_s"))]
    rows = [[t, w, round(float(rng.lognormal()), 3)] for t, w in places]
    if rng.random() < 0.3:
        names, rows = [*names, "step"], [[*row, row[0] * 3 + 5] for row in rows]
    return names, rows


def _csv(rng: np.random.Generator) -> tuple[bytes, str, list[str]]:
    names, rows = _rows(rng)
    cells = [names, *([str(cell) for cell in row] for row in rows)]
    done = []
    for _ in range(int(rng.integers(3))):
        row = int(rng.integers(len(cells)))
        column = int(rng.integers(len(cells[row]) or 1))
        how = _pick(rng, ("cell", "cell", "cell", "name", "more", "fewer", "again", "gone"))
        if how == "cell" and cells[row]:
            cells[row][column % len(cells[row])] = _pick(rng, CELLS)
        elif how == "name":
            cells[0][column % len(cells[0])] = _pick(rng, NAMES)
        elif how == "more":
            cells[row] = [*cells[row], _pick(rng, CELLS)]
        elif how == "fewer" and len(cells[row]) > 1:
            cells[row] = cells[row][:-1]
        elif how == "again":
            cells.insert(row, list(cells[row]))
        elif how == "gone" and len(cells) > 1:
            del cells[row]
        done.append(f"{how} {row},{column}")
    comma, end = _pick(rng, (",", ",", ",", ", ", ";", "\t")), _pick(rng, ("\n", "\n", "\r\n", "\r", ",\n"))
    start = _pick(rng, ("", "", "", "\ufeff", "\n", "# about\n"))
    coding = _pick(rng, ("utf-8",) * 6 + ("utf-16", "latin-1"))
    text = start + "".join(comma.join(row) + end for row in cells)
    data = text.encode(coding, errors="replace" if coding != "utf-8" else "surrogatepass")
    suffix = _pick(rng, (".csv", ".csv", ".CSV", ".csv.gz", ".parquet"))
    return (gzip.compress(data, mtime=0) if suffix.endswith("gz") else data), suffix, [*done, coding]


def _parquet(rng: np.random.Generator) -> tuple[bytes, str, list[str]]:
    names, rows = _rows(rng)
    columns = [pa.array(list(cells)) for cells in zip(*rows, strict=True)]
    done = []
    for _ in range(int(rng.integers(3))):
        place = int(rng.integers(len(columns)))
        how = _pick(rng, ("type", "type", "type", "null", "name", "again", "gone"))
        if how == "type":
            columns[place], how = _other_type(columns[place], rng)
        elif how == "null":
            is_null = pa.array(rng.random(len(columns[place])) < rng.random())
            columns[place] = pa.compute.if_else(is_null, pa.scalar(None, columns[place].type), columns[place])
        elif how == "name":
            names[place] = _pick(rng, NAMES)
        elif how == "again":
            names, columns = [*names, names[place]], [*columns, columns[place]]
        elif how == "gone" and len(columns) > 1:
            del names[place], columns[place]
        done.append(f"{how} of column {place}")
    table = pa.table(columns, names)
    about = {}
    if rng.random() < 0.2:
        about[b"base_load"] = _pick(rng, LOADS)
    if rng.random() < 0.2:
        about[_pick(rng, (b"pandas", b"PANDAS_ATTRS", b"ARROW:schema"))] = _pick(rng, (*PANDAS, *LOADS))
    file = io.BytesIO()
    pyarrow.parquet.write_table(
        table.replace_schema_metadata(about), file, compression=_pick(rng, ("none", "snappy", "zstd"))
    )
    return (
        file.getvalue(),
        _pick(rng, (".parquet",) * 4 + (".csv", "")),
        [*done, *(f"{key!r} {about[key][:20]!r}" for key in about)],
    )


def _other_type(column: pa.Array, rng: np.random.Generator) -> tuple[pa.Array, str]:
    """A column of the same length, and its type."""
    values, n = column.to_pylist(), len(column)
    odd = [_pick(rng, (2**63 - 1, -(2**63), 2**53 + 1, 10**18, 10**19 % 2**63, -1)) for _ in range(n)]
    floats = [_pick(rng, (np.nan, np.inf, -np.inf, 1e308, 1e-320, 0.5, -0.0, 1e30)) for _ in range(n)]
    counts = list(range(n))
    made = [
        pa.array([{"a": count} for count in counts]),
        pa.array([[count] for count in counts]),
        pa.nulls(n),
        pa.array([bool(value) for value in counts]),
        pa.array([str(value) for value in values]),
        pa.array([_pick(rng, CELLS).encode(errors="replace").decode() for _ in values]),
        pa.array([str(value).encode() for value in values]),
        pa.array([str(value) for value in values], pa.large_string()),
        pa.array([f"w{value}" for value in values]).dictionary_encode(),
        pa.array(counts).dictionary_encode(),
        pa.array(odd, pa.int64()),
        pa.array([2**64 - 1 - count for count in counts], pa.uint64()),
        pa.array(counts, pa.int8()),
        pa.array(floats),
        pa.array([float(count) for count in counts], pa.float32()),
        pa.array([np.float16(count) for count in counts], pa.float16()),
        pa.array(counts).cast(pa.decimal128(38, 10)),
        *(pa.array(counts, pa.duration(unit)) for unit in ("s", "ms", "us", "ns")),
        *(pa.array(counts, pa.timestamp(unit)) for unit in ("s", "ns")),
        pa.array(counts, pa.timestamp("us", tz="Europe/Berlin")),
        pa.array(counts, pa.date32()),
        pa.array(counts, pa.time64("us")),
        pa.MapArray.from_arrays(list(range(n + 1)), [str(count) for count in counts], counts),
    ]
    chosen = _pick(rng, made)
    return chosen, str(chosen.type)


def _chrome(rng: np.random.Generator) -> tuple[bytes, str, list[str]]:
    events: list[Any] = [
        {"ph": "X", "name": f"ProfilerStep#{t}", "pid": w, "tid": 1, "ts": 1000 * t, "dur": 100 + 10 * w}
        for t, w in itertools.product(range(int(rng.integers(1, 5))), range(int(rng.integers(1, 4))))
    ]
    if rng.random() < 0.5:
        events.extend(step | {"cat": "kernel", "name": "ncclKernel", "args": {"correlation": 1}} for step in events[:3])
        events.extend({"ph": phase, "name": "it", "pid": 0, "ts": 5, "id": 1, "cat": "x"} for phase in "BEbe")
    document: dict[str, Any] = {"traceEvents": events}
    if rng.random() < 0.3:
        document["distributedInfo"] = {"rank": 0}
    done = []
    for _ in range(int(rng.integers(3))):
        value = _pick(rng, JSON_VALUES)
        place = int(rng.integers(len(events)))
        how = _pick(
            rng, ("ph", "name", "pid", "tid", "ts", "dur", "cat", "args", "event", "rank", "info", "events", "number")
        )
        if how == "event":
            events[place] = value
        elif how == "rank":
            document["distributedInfo"] = {"rank": value}
        elif how == "info":
            document["distributedInfo"] = value
        elif how == "events":
            document["traceEvents"] = value
        elif isinstance(events[place], dict):
            number = {"name": f"ProfilerStep#{_pick(rng, ('9' * 23, '9' * 5000, '٣', '-1', ''))}"}
            events[place] |= number if how == "number" else {how: value}
        done.append(f"{how} {str(value)[:20]!r}")
    data = json.dumps(document).encode()
    if rng.random() < 0.05:
        data = b"[" * 100_000
    is_packed = rng.random() < 0.3
    return (gzip.compress(data, mtime=0) if is_packed else data), ".json.gz" if is_packed else ".json", done


def _records(rng: np.random.Generator) -> tuple[bytes, str, list[str]]:
    names, rows = _rows(rng)
    records: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    done = []
    for _ in range(int(rng.integers(3))):
        place, name = int(rng.integers(len(records))), _pick(rng, NAMES)
        value = copy.deepcopy(_pick(rng, (*JSON_VALUES, *CELLS[:20])))  # what is put into it later stays in this one
        if rng.random() < 0.3:
            records[place] = value
        elif isinstance(records[place], dict):
            records[place][name] = value
        done.append(f"{name[:20]} of {place} {str(value)[:20]!r}")
    whole: Any = records
    if rng.random() < 0.3 and all(isinstance(record, dict) for record in records):
        whole = {name: [record.get(name) for record in records] for name in names}
    is_lines = rng.random() < 0.5
    text = "\n".join(map(json.dumps, records)) if is_lines else json.dumps(whole)
    return text.encode(), ".jsonl" if is_lines else ".json", done


def _npy(rng: np.random.Generator) -> tuple[bytes, str, list[str]]:
    shape = tuple(int(length) for length in rng.integers(0, 6, int(rng.integers(1, 4))))
    kind = _pick(rng, ("f8",) * 4 + (">f4", "f2", "i8", "u1", "m8[ms]", "M8[s]", "?", "c8", "U3", "S2", "i4,f8"))
    file = io.BytesIO()
    if rng.random() < 0.3:
        np.savez(file, a=np.zeros(shape, kind), b=np.zeros(3))
    else:
        np.save(
            file,
            (rng.random(shape) * 9).astype(kind) if kind[-1].isdigit() and "," not in kind else np.zeros(shape, kind),
        )
    return file.getvalue(), _pick(rng, (".npy", ".npz", "")), [f"{kind} {shape}"]


MAKERS = (("csv", _csv), ("parquet", _parquet), ("chrome", _chrome), ("records", _records), ("npy", _npy))
