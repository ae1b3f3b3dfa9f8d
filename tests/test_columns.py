"""The registry of columns against the tables of real runs."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import stragglersim
from simulator.columns import KEYS, SUMMARY, TABLES
from simulator.engine.figures import Runs
from simulator.execution.one_run import run_unit
from simulator.execution.side_by_side import Drawer, Trials, run_side_by_side
from simulator.results.compare import compare, swept_keys
from simulator.results.results import Results
from simulator.results.summary import summary

PLAIN = """
workers: 4
jobs: 6
trials: 2
stragglers: {usual: {kind: shifted_exponential, shift: 1, mean: 1, adds_to: startup_s}}
schemes: {GC: {kind: gradient_coding, s: 1}, fastest: {kind: fastest_k, k: 3}}
sweep: {jobs: [4, 6], network.latency_s: [0, 0.1]}
"""
TRAINED = "models: 2\ntraining: {workload: {kind: least_squares}, learning_rate: 0.1}\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where a run with all tables has written them, and one with as few columns as may be."""
    folder = tmp_path_factory.mktemp("columns")
    for name, text, detail in (("every", PLAIN + TRAINED, "workers"), ("plain", PLAIN, "rounds")):
        (folder / f"{name}.yaml").write_text(text)
        stragglersim.run(stragglersim.load(folder / f"{name}.yaml"), engine="auto", detail=detail).save(folder / name)
    return folder / "every", folder / "plain"


def test_every_column_on_disk_is_known_with_its_type_and_in_its_place(folders):
    for folder in folders:
        for path in folder.glob("*.parquet"):
            known, found = TABLES[path.stem], {field.name: field.type for field in pq.read_schema(path)}
            swept = ("jobs", "network.latency_s") if path.stem == "runs" else ()
            first = () if path.stem == "runs" else KEYS
            assert list(found)[: len(first)] == list(first)
            own = {name: kind for name, kind in found.items() if name not in (*first, *swept)}
            assert list(own.items()) == [
                (name, pa.type_for_alias(column.type)) for name, column in known.items() if name in own
            ]
            assert [name for name in found if name in swept] == list(swept)


def test_what_a_run_records_has_the_types_that_are_written(folders):
    scenario = stragglersim.load(folders[0].with_suffix(".yaml")).all_points()[0][1]
    untrained = replace(scenario, training=None)
    [record] = run_unit(scenario, "GC", range(1), "workers")
    on_arrays = [Trials(untrained, "GC", range(1))]
    for runs in (Runs.of([record]), run_side_by_side(on_arrays, Drawer(on_arrays))):
        tables = {"runs": runs.figures(), "rounds": runs.rounds(), "jobs": runs.jobs()}
        tables |= {"workers": record.workers[0], "training": record.training._asdict()}
        for table, columns in tables.items():
            found = {name: str(pa.array(values).type).replace("double", "float64") for name, values in columns.items()}
            assert found == {name: TABLES[table][name].type.removeprefix("large_") for name in columns}


def test_every_known_column_is_in_a_run_that_has_all(folders):
    for table, known in TABLES.items():
        assert set(known) <= set(pq.read_schema(folders[0] / f"{table}.parquet").names)
    assert {path.stem for path in folders[1].glob("*.parquet")} == set(TABLES) - {"workers", "training"}


def test_a_summary_has_the_columns_that_runs_have_of_it(folders):
    for folder in folders:
        runs = Results.load(folder).runs
        intervals = ["makespan_low_s", "makespan_high_s"]
        others = {"point", "scheme", "n_trials", "change_percent", *intervals}
        assert [name for name in summary(runs) if name not in others] == [name for name in SUMMARY if name in runs]
    assert set(SUMMARY) <= set(Results.load(folders[0]).runs)


def test_swept_keys_are_what_runs_have_besides_and_a_measure_of_ones_own_is_a_metric(folders):
    runs = Results.load(folders[0]).runs
    assert swept_keys(runs) == ["jobs", "network.latency_s"]
    assert swept_keys(runs.assign(time_to_loss=1.0, mine=runs["makespan_s"] / 2)) == ["jobs", "network.latency_s"]
    table = compare(runs.assign(mine=runs["makespan_s"] / 2), metric="mine")
    assert table["mean"].tolist() == pytest.approx((compare(runs)["mean"] / 2).tolist())
    with pytest.raises(ValueError, match="metric: must be one of"):
        compare(runs, metric="jobs")
