"""Tables of runs: pandas frames in memory, Parquet on disk."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.document import swept_together

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("runs", "rounds", "jobs", "workers")
MANIFEST = "manifest.json"

ROUND_COLUMNS = (
    "round",
    "start_s",
    "duration_s",
    "first_finish_s",
    "waited",
    "waited_s",
    "stragglers",
    "uploads",
    "bytes_up",
    "upload_s",
)
JOB_COLUMNS = (
    "job",
    "start_round",
    "decoded_round",
    "start_s",
    "decoded_s",
    "latency_s",
    "status",
    "squared_error",
)


class ResultsError(Exception):
    """A folder that can't be written or read as results, in one sentence."""


@dataclass
class Results:
    """The tables of a scenario's runs, with the scenario (plain values) and a manifest.

    ``runs`` has a row for each run (a scheme in a trial of a point), ``rounds`` and ``jobs`` one for each of its rounds
    and jobs, ``workers`` one for each worker in each round. A table that was not recorded is None.
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame | None = None
    jobs: pd.DataFrame | None = None
    workers: pd.DataFrame | None = None
    scenario: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write all tables, complete or not at all.

        Raises
        ------
        ResultsError
            If the folder exists and ``replace`` is false, or is not one that holds results, or can't be written.
        """
        with writing(Path(folder), replace=replace) as partial:
            self.write(partial)

    def write(self, folder: Path) -> None:
        """Write all tables into a folder; the manifest, which makes it complete, comes last."""
        from ruamel.yaml import YAML

        for name in TABLES:
            table = getattr(self, name)
            if table is not None:
                table.to_parquet(folder / f"{name}.parquet", index=False)
        keys = [key for entry in self.scenario.get("sweep", {}) for key in swept_together(entry)]
        swept = self.runs.groupby("point")[keys].first()
        summary(self.runs).join(swept, on="point").to_csv(folder / "summary.csv", index=False)
        with (folder / "scenario.yaml").open("w", encoding="utf-8") as file:
            yaml = YAML(typ="safe", pure=True)
            yaml.default_flow_style = None
            yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its own default is a bool
            yaml.dump(self.scenario, file)
        (folder / MANIFEST).write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ResultsError
            If the folder holds no complete results.
        """
        import pandas as pd
        from ruamel.yaml import YAML

        folder = Path(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            scenario = YAML(typ="safe", pure=True).load((folder / "scenario.yaml").read_text(encoding="utf-8"))
            tables = {
                name: pd.read_parquet(folder / f"{name}.parquet")
                for name in TABLES
                if (folder / f"{name}.parquet").exists()
            }
            return cls(**tables, scenario=scenario, manifest=manifest)
        except (OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ResultsError(f"{folder}: must be a folder that a run has written, got {reason}") from None


def frames(keys: Sequence[dict[str, Any]], records: Sequence[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """One frame of the rows of many runs; ``keys`` are the columns that tell the runs apart."""
    import pandas as pd

    names = list(keys[0])
    lengths = [len(rows) for rows in records]
    table: dict[str, Any] = {
        name: np.repeat(pd.Series([key[name] for key in keys]).to_numpy(), lengths) for name in names
    }
    rows = [row for rows in records for row in rows]
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        table[column] = pd.array(values, dtype="Int64") if column == "decoded_round" else list(values)
    return pd.DataFrame(table)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Per point and scheme: means over trials, a 95 % interval of the makespan, change against the first scheme.

    The interval is Student's t over trials, NaN for a single one. The change is a ratio of mean makespans, in
    percent; it means little where schemes fail to decode different numbers of jobs (compare jobs_per_s then).
    """
    import pandas as pd
    from scipy.special import stdtrit

    rows = []
    for (point, scheme), group in runs.groupby(["point", "scheme"], sort=False):
        makespan_s, n_trials = group["makespan_s"], len(group)
        half_s = np.nan
        if n_trials > 1:
            half_s = stdtrit(n_trials - 1, 0.975) * makespan_s.std(ddof=1) / np.sqrt(n_trials)
        means = group[list(SUMMARY_MEANS)].mean()
        rows.append(
            {
                "point": point,
                "scheme": scheme,
                "load": group["load"].iloc[0],
                "delay_rounds": group["delay_rounds"].iloc[0],
                "makespan_s": makespan_s.mean(),
                "makespan_low_s": makespan_s.mean() - half_s,
                "makespan_high_s": makespan_s.mean() + half_s,
                **means.to_dict(),
                "decode_failures": group["decode_failures"].sum(),
                "n_trials": n_trials,
            }
        )
    table = pd.DataFrame(rows)
    first = table.groupby("point", sort=False)["makespan_s"].transform("first")
    table["change_percent"] = 100 * (table["makespan_s"] / first - 1)
    return table


def fairness(results: Results) -> str:
    """Say in one line what makes the comparison fair or not: rule, leftover, T limit, trials, engine."""
    scenario, runs = results.scenario, results.runs
    swept = scenario.get("sweep", {})
    rules = [_rule("master", scenario.get("master"), swept)]
    for label, scheme in scenario.get("schemes", {}).items():
        if "master" in scheme:
            rules.append(_rule(f"schemes.{label}.master", scheme["master"], swept))
    models = scenario.get("models")
    n_trials = runs.groupby(["point", "scheme"])["trial"].nunique()
    trials = "-".join(str(n) for n in dict.fromkeys((int(n_trials.min()), int(n_trials.max()))))
    network = scenario.get("network", {})
    keys = {key: f"network.{key}" in itertools.chain.from_iterable(map(swept_together, swept)) for key in network}
    sent = ", ".join(f"{key} {'swept' if keys[key] else f'= {network[key]:g}'}" for key in keys if network[key])
    said = [
        *rules,
        *([f"network: {sent}"] if sent else []),
        f"leftover: {'swept' if 'leftover' in swept else scenario.get('leftover', 'not recorded')}",
        "T limit swept" if "models" in swept else "no T limit" if models is None else f"T at most {models - 1}",
        f"{trials} trial" + ("" if trials == "1" else "s"),
        f"engine: {', '.join(sorted(set(runs['engine'])))}",
    ]
    return "; ".join(said)


def _rule(path: str, rule: dict[str, Any] | None, swept: dict[str, list[Any]]) -> str:
    if rule is None:
        return f"{path}: not recorded"
    values = {key: "swept" if f"{path}.{key}" in swept else value for key, value in rule.items()}
    kind = "swept" if path in swept else values.pop("kind")
    parameters = ", ".join(f"{key} = {value}" for key, value in values.items())
    return f"{path}: {kind}" + (f" ({parameters})" if parameters and path not in swept else "")


SUMMARY_MEANS = (
    "jobs_per_s",
    "job_latency_p50_s",
    "job_latency_p95_s",
    "job_latency_p99_s",
    "waited_rounds",
    "waited_s",
    "computed_load",
    "exact_share",
    "error_norm_mean",
    "relative_error_mean",
)


def may_write(folder: Path, *, replace: bool) -> None:
    """Refuse a folder that holds something else, or results that are not to be replaced.

    Raises
    ------
    ResultsError
        If so.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and not replace:
        raise ResultsError(f"{folder}: must not exist yet (--force, in Python replace=True, replaces it)")
    if folder.exists() and not _holds_results_only(folder):
        raise ResultsError(f"{folder}: must hold the results of a run, and nothing else, to be replaced")


def _holds_results_only(folder: Path) -> bool:
    written = {f"{name}.parquet" for name in TABLES} | {"summary.csv", "scenario.yaml", MANIFEST, "plots"}
    written |= {"compare.csv", "compare.md"}
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {"engine", "seed", "versions"} <= set(manifest) and {path.name for path in folder.iterdir()} <= written
    except (OSError, ValueError, TypeError):
        return False


@contextmanager
def writing(folder: Path, *, replace: bool) -> Iterator[Path]:
    """A folder to write into that becomes ``folder`` at the end; if anything goes wrong, nothing is left of it."""
    folder = folder.resolve()
    may_write(folder, replace=replace)
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    except OSError as error:
        raise ResultsError(f"{folder}: must be a folder that can be written, got {error.strerror}") from None
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        _put_in_place(partial, folder)
    except OSError as error:
        raise ResultsError(f"{folder}: must be a folder that can be written, got {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:  # the innermost first; one that holds something stays
            with suppress(OSError):
                parent.rmdir()


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename a finished folder; what it replaces is deleted only when it is there."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = partial.with_name(f"{partial.name}-old")
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
