"""Folders of results that are damaged, unfinished, or made by others."""

import json
import random
import shutil

import pandas as pd
import pytest

import stragglersim
from simulator.columns import KEYS, TABLES
from stragglersim import Results, ResultsError

SCENARIO = """\
name: small
trials: 2
workers: 4
jobs: 3
models: 3
network: {latency_s: 0.25}
stragglers:
  usual: {kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}
training:
  workload: {kind: least_squares, rows: 16, dimension: 3}
  learning_rate: 0.1
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 1, master: {kind: fixed_time, time_s: 9}}
sweep:
  training.learning_rate: [0.1, 0.2]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write a folder of results that has all that there can be."""
    folder = tmp_path_factory.mktemp("folders")
    (folder / "small.yaml").write_text(SCENARIO)
    stragglersim.run(stragglersim.load(folder / "small.yaml"), detail="workers").save(folder / "whole")
    return folder / "whole"


@pytest.fixture
def folder(written, tmp_path):
    """Copy it, to be damaged."""
    shutil.copytree(written, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def refused(cli, folder):
    """Call both commands; each must refuse the folder in one and the same line, which is returned."""

    def call():
        before = sorted(folder.iterdir())
        said = set()
        for command in ("compare", "plot"):
            status, out, err = cli(command, folder)
            assert (status, out) == (2, "")
            said.add(err)
        assert sorted(folder.iterdir()) == before
        (line,) = said
        assert line.count("\n") == 1
        return line.replace(f"{folder}", "out")

    return call


def test_the_folder_is_read_while_it_is_whole(cli, folder):
    for command in ("compare", "plot"):
        status, out, _ = cli(command, folder)
        assert (status, "out/" in out) == (0, True)


def test_one_flipped_bit_is_one_line_or_a_value(cli, folder):
    """Each bit of the files of text is as good as any other: some of them, the same in each run."""
    moments = random.Random(5)
    for name in ("scenario.yaml", "manifest.json"):
        content = (folder / name).read_bytes()
        for bit in moments.sample(range(8 * len(content)), 60):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(damaged)
            status, _, err = cli("compare", folder)
            lines = [line for line in err.splitlines() if line != "Comparing ..."]
            assert (status, len(lines)) in ((0, 0), (2, 1)), (name, bit, err)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("scenario.yaml", "- 1\n", "out/scenario.yaml:1:1: must be a mapping of scenario keys to values, got [1]"),
        ("scenario.yaml", "", "out/scenario.yaml:1:1: must be a mapping"),
        ("scenario.yaml", "a: [\n", "out/scenario.yaml:2:1: must be YAML: "),
        ("scenario.yaml", b"\xff", "out/scenario.yaml: must be a readable YAML file, got none (it is not UTF-8 text)"),
        ("scenario.yaml", ("name: small", "nime: small"), "out/scenario.yaml:1:1: name: must be given"),
        ("scenario.yaml", ("kind: uncoded", "kine: uncoded"), ": schemes.uncoded.kind: must be given"),
        ("scenario.yaml", ("0.25", "x.25"), ": network.latency_s: must be a valid number, got 'x.25'"),
        ("scenario.yaml", ("learning_rate: 0.1", "mearning_rate: 0.1"), ": training.learning_rate: must be given"),
        ("scenario.yaml", ("models: 3", "models: E"), ": models: must be a valid integer, got 'E'"),
        ("manifest.json", "", "out/manifest.json: must be JSON, as a run has written it, got Expecting value"),
        ("manifest.json", b"\xff", "out/manifest.json: must be JSON, as a run has written it, got 'utf-8'"),
        ("manifest.json", "[" * 100_000, "out/manifest.json: must be JSON, as a run has written it, got maximum"),
        ("manifest.json", "[]", "out/manifest.json: must be "),
        ("manifest.json", '{"checked": null}', "out/manifest.json: checked: must be "),
        ("manifest.json", ('"repeated"', '"repeatdd"'), "out/manifest.json: checked.repeated: must be given"),
    ],
)
def test_what_is_not_as_a_run_writes_it_is_refused(refused, folder, file, change, said):
    path = folder / file
    if isinstance(change, tuple):
        assert change[0] in path.read_text()
        change = path.read_text().replace(*change, 1)
    path.write_bytes(change if isinstance(change, bytes) else change.encode())
    assert said in refused()


@pytest.mark.parametrize("name", ["manifest.json", "scenario.yaml", "runs.parquet"])
def test_a_file_that_is_missing_or_none_is_refused(refused, folder, name):
    (folder / name).unlink()
    assert refused() == f"out: must be a folder that a run has written, got one without {name}\n"
    (folder / name).mkdir()
    assert refused() == f"out: must be a folder that a run has written, got one without {name}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda runs: runs.drop(columns="makespan_s"), "must have the column makespan_s, got none"),
        (lambda runs: runs.drop(columns="trial"), "must have the column trial, got none"),
        (lambda runs: runs.assign(makespan_s="5 s"), "makespan_s: must be of type float64, got "),
        (lambda runs: runs.assign(scheme=1), "scheme: must be of type large_string, got int64"),
        (lambda runs: runs.assign(trial=[None, *runs["trial"][1:]]), "must say point, scheme and trial in each row"),
        (lambda runs: runs.iloc[:0], "must have one row for each run, got none"),
        (lambda runs: pd.concat([runs, runs]), "must have one row for each run, got several of the same point"),
    ],
)
def test_a_table_of_runs_that_no_run_has_written_is_refused(refused, folder, change, said):
    path = folder / "runs.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    assert refused().startswith(f"out/runs.parquet: {said}")


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_refused(folder, name):
    path = folder / f"{name}.parquet"
    content = path.read_bytes()
    for damaged in (b"", b"PAR1", content[:-20], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ResultsError, match=rf"{name}.parquet: must be a Parquet file, as a run has written it"):
            Results.load(folder)
    path.write_bytes(content)
    for missing in (*KEYS, list(TABLES[name])[-2 if name == "runs" else -1]):
        pd.read_parquet(path).drop(columns=missing).to_parquet(path)
        with pytest.raises(ResultsError, match=f"{name}.parquet: must have the column {missing}, got none"):
            Results.load(folder)
        path.write_bytes(content)


def test_a_folder_without_a_manifest_is_said_to_be_unfinished(refused, folder):
    (folder / "parts").mkdir()
    (folder / "manifest.json").unlink()
    assert "got one that has not finished" in refused()


def test_a_manifest_of_another_engine_needs_no_check(cli, folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["checked"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert cli("compare", folder)[0] == 0
