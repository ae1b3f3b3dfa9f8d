"""Files of a run's folder, refused where they are not what a run writes and readers rely on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from simulator.columns import KEYS, RUNS, TABLES
from simulator.errors import Problem, ResultsError, ScenarioError, show
from simulator.results.folder import MANIFEST, PARTS
from simulator.scenario.yaml_file import Document

if TYPE_CHECKING:
    import pandas as pd

NOT_ALWAYS = {  # in runs: with training, or several models
    "final_loss",
    "final_accuracy",
    "gradient_error_mean",
    "worst_residual",
    "worst_condition",
    "decode_mean_s",
    "seconds_per_update",
}
ANOTHER_VERSION = "written by another version? `stragglersim run` with --force writes it anew"
KINDS = {"int64": "iuf", "float64": "iuf", "bool": "b", "large_string": "OT"}  # of numpy, by type on disk


class _Kind(BaseModel):
    """A plug-in."""

    kind: str


class _Scheme(_Kind):
    master: _Kind | None = None


class _Training(BaseModel):
    workload: _Kind
    learning_rate: float


class _Scenario(BaseModel):
    """What is said of a scenario wherever its results are shown; its plug-ins need not be there any more."""

    name: str
    models: int | None = None
    probe: int | None = None
    network: dict[str, float | list[float]] = {}
    training: _Training | None = None
    master: _Kind | None = None
    schemes: dict[str, _Scheme] = {}
    sweep: dict[str, list[Any]] = {}


class _Checked(BaseModel):
    runs: int
    repeated: int
    differences: list[str]


class _Manifest(BaseModel):
    checked: _Checked = _Checked(runs=0, repeated=0, differences=[])


def read_folder(folder: Path, tables: Iterable[str]) -> dict[str, Any]:
    """What a run has written: the tables that are wanted and were recorded, the scenario and the manifest, by name.

    Raises
    ------
    ResultsError
        If the folder holds no complete results.
    """
    if (folder / PARTS).is_dir() and not (folder / MANIFEST).exists():
        raise ResultsError(
            f"{folder}: must be a folder with a finished run, got one that has not finished "
            "(the same `stragglersim run` command goes on with it)"
        )
    for name in (MANIFEST, "scenario.yaml", "runs.parquet"):
        if not (folder / name).is_file():
            got = f"one without {name}" if folder.is_dir() else "no folder"
            raise ResultsError(f"{folder}: must be a folder that a run has written, got {got}")
    try:
        beside = {"manifest": read_manifest(folder / MANIFEST), "scenario": read_scenario(folder / "scenario.yaml")}
        files = {name: folder / f"{name}.parquet" for name in tables}
        return beside | {name: read_table(file) for name, file in files.items() if file.is_file()}
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ResultsError(f"{folder}: must be a folder that a run has written, got {reason}") from None


def read_scenario(path: Path) -> dict[str, Any]:
    """The plain values of a scenario as it ran.

    Raises
    ------
    ResultsError
        With file:line:column, if it is none.
    """
    try:
        document = Document(path)
    except ScenarioError as error:
        raise ResultsError(error.lines[0]) from None
    for problem in _problems(_Scenario, document.data):
        raise ResultsError(document.describe(problem))
    data: dict[str, Any] = document.data
    return data


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a complete run.

    Raises
    ------
    ResultsError
        If it is none.
    """
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: must be JSON, as a run has written it, got {error}") from None
    for problem in _problems(_Manifest, manifest):
        raise ResultsError(f"{path}: {problem}" if problem.path else f"{path}: {problem.message}")
    return manifest


def _problems(shape: type[BaseModel], value: object) -> list[Problem]:
    try:
        shape.model_validate(value, strict=True)
    except ValidationError as error:
        return [
            Problem(_place(found["loc"]), "must be given" if found["type"] == "missing" else _must_be(found))
            for found in error.errors()
            if "list[float]" not in found["loc"] or isinstance(found["input"], list)
        ]
    return []


def _place(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where something is, without the alternatives that pydantic names."""
    return tuple(step for step in loc if step not in ("float", "list[float]"))


def _must_be(found: Any) -> str:
    return f"must be {found['msg'].removeprefix('Input should be ')}, got {show(found['input'])}"


def read_table(path: Path) -> pd.DataFrame:
    """A table of a run, by the name of its file.

    Raises
    ------
    ResultsError
        If it is none.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except MemoryError:
        raise
    except Exception as error:  # which one depends on what is damaged, and on the library
        reason = " ".join(str(error).split())
        raise ResultsError(f"{path}: must be a Parquet file, as a run has written it, got {reason}") from None
    columns = {name: RUNS[name] for name in KEYS} | TABLES[path.stem]
    for name in (name for name in columns if name not in NOT_ALWAYS or name in table):
        if name not in table:
            raise ResultsError(f"{path}: must have the column {name}, got none ({ANOTHER_VERSION})")
        if table.dtypes[name].kind not in KINDS[columns[name].type]:
            raise ResultsError(f"{path}: {name}: must be of type {columns[name].type}, got {table.dtypes[name]}")
    if table[list(KEYS)].isna().any(axis=None):
        raise ResultsError(f"{path}: must say point, scheme and trial in each row, got a row without")
    if path.stem == "runs" and (table.empty or table.duplicated(list(KEYS)).any()):
        got = "none" if table.empty else "several of the same point, scheme and trial"
        raise ResultsError(f"{path}: must have one row for each run, got {got}")
    return table
