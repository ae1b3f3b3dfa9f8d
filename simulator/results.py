"""Tables of runs: pandas frames in memory, Parquet on disk."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import ResultsError, UserError
from simulator.files import PARTIAL, made, remove, replacing, whole, writing
from simulator.scenario.keys import swept_together
from simulator.scenario.yaml_text import write_yaml
from simulator.statistics import half_width

if TYPE_CHECKING:
    import pandas as pd


TABLES = ("runs", "rounds", "jobs", "workers", "training")


MANIFEST = "manifest.json"


ERRORS = "errors.csv"


PARTS = "parts"  # folder of finished parts; see simulator/parts.py


PART_SUFFIX = ".arrow"


LISTED = TABLES[1:]


COLUMNS = {  # of the tables that have several rows for a run, after those that say which run it is
    "rounds": {
        "round": "int64",
        "start_s": "float64",
        "duration_s": "float64",
        "first_finish_s": "float64",
        "waited": "bool",
        "waited_s": "float64",
        "stragglers": "int64",
        "uploads": "int64",
        "bytes_up": "float64",
        "upload_s": "float64",
    },
    "jobs": {
        "job": "int64",
        "start_round": "int64",
        "decoded_round": "int64",
        "start_s": "float64",
        "decoded_s": "float64",
        "latency_s": "float64",
        "status": "large_string",
        "squared_error": "float64",
    },
    "workers": {
        "round": "int64",
        "worker": "int64",
        "finished_s": "float64",
        "load_given": "float64",
        "load_done": "float64",
        "straggler": "bool",
        "startup_s": "float64",
        "seconds_per_load": "float64",
        "slowdown": "float64",
    },
    "training": {
        "model": "int64",
        "step": "int64",
        "time_s": "float64",
        "loss": "float64",
        "accuracy": "float64",
        "gradient_error": "float64",
    },
}


@dataclass
class Results:
    """The tables of a scenario's runs, with the scenario (plain values) and a manifest.

    ``runs`` has a row for each run (a scheme in a trial of a point), ``rounds`` and ``jobs`` one for each of its rounds
    and jobs, ``workers`` one for each worker in each round, ``training`` one for each step of each model. A table that
    was not recorded is None.
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame | None = None
    jobs: pd.DataFrame | None = None
    workers: pd.DataFrame | None = None
    training: pd.DataFrame | None = None
    scenario: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write all tables, complete or not at all.

        Raises
        ------
        ResultsError
            If the folder exists and ``replace`` is false, or is not one that holds results.
        WriteError
            If it can't be written.
        """
        folder = Path(folder).resolve()
        may_write(folder, replace=replace)
        with replacing(folder) as partial:
            self.write(partial)

    def write(self, folder: Path) -> None:
        """Write all tables into a folder; the manifest, which makes it complete, comes last."""
        for name in TABLES:
            table = getattr(self, name)
            if table is not None:
                table.to_parquet(folder / f"{name}.parquet", index=False)
        self.write_beside(folder)
        self.seal(folder)

    def write_beside(self, folder: Path) -> None:
        """Write what stands beside the tables: the summary, and the scenario as it ran."""
        keys = [key for entry in self.scenario.get("sweep", {}) for key in swept_together(entry)]
        swept = self.runs.groupby("point")[keys].first()
        with whole(folder / "summary.csv") as partial:
            summary(self.runs).join(swept, on="point").to_csv(partial, index=False)
        with whole(folder / "scenario.yaml") as partial:
            write_yaml(self.scenario, partial)

    def seal(self, folder: Path) -> None:
        """Write the manifest: from now on the folder is complete."""
        with whole(folder / MANIFEST) as partial:
            partial.write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, tables: Sequence[str] = TABLES) -> Results:
        """Read what :meth:`save` or a run has written.

        Parameters
        ----------
        folder
            Where it was written.
        tables
            Which tables are wanted, if they were recorded; ``runs`` must be one of them.

        Raises
        ------
        ResultsError
            If the folder holds no complete results.
        """
        import pandas as pd
        from ruamel.yaml import YAML

        folder = Path(folder)
        if (folder / PARTS).is_dir() and not (folder / MANIFEST).exists():
            raise ResultsError(
                f"{folder}: must be a folder with a finished run, got one that has not finished "
                "(the same `stragglersim run` command goes on with it)"
            )
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            scenario = YAML(typ="safe", pure=True).load((folder / "scenario.yaml").read_text(encoding="utf-8"))
            files = {name: folder / f"{name}.parquet" for name in tables}
            frames = {name: pd.read_parquet(file) for name, file in files.items() if file.exists()}
            return cls(**frames, scenario=scenario, manifest=manifest)
        except FileNotFoundError as error:
            got = f"one without {Path(error.filename).name}" if folder.is_dir() else "no folder"
            raise ResultsError(f"{folder}: must be a folder that a run has written, got {got}") from None
        except (OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ResultsError(f"{folder}: must be a folder that a run has written, got {reason}") from None


TRAINING_MEANS = ("final_loss", "final_accuracy", "gradient_error_mean", "decode_mean_s")


TRAINING_WORST = ("worst_residual", "worst_condition")


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Per point and scheme: means over trials, a 95 % interval of the makespan, change against the first scheme.

    The interval is Student's t over trials, NaN for a single one. The change is a ratio of mean makespans, in
    percent; it means little where schemes fail to decode different numbers of jobs (compare jobs_per_s then).
    After training there are also loss and accuracy at the end, and the code's worst residual and condition number.
    """
    groups = runs.groupby(["point", "scheme"], sort=False)
    n_trials, makespan_s = groups.size(), groups["makespan_s"].mean()
    half_s = half_width(groups["makespan_s"].std(), n_trials)
    table = groups[["load", "delay_rounds"]].first()
    table["makespan_s"] = makespan_s
    table["makespan_low_s"], table["makespan_high_s"] = makespan_s - half_s, makespan_s + half_s
    table[list(SUMMARY_MEANS)] = groups[list(SUMMARY_MEANS)].mean()
    if "final_loss" in runs:
        table[list(TRAINING_MEANS)] = groups[list(TRAINING_MEANS)].mean()
        table[list(TRAINING_WORST)] = groups[list(TRAINING_WORST)].max()
    table["decode_failures"] = groups["decode_failures"].sum()
    table["n_trials"] = n_trials
    table = table.reset_index()
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
        *([_training(scenario.get("training"), swept)] if scenario.get("training") or "training" in swept else []),
        *([f"uncoded for the first {scenario['probe']} rounds"] if scenario.get("probe") else []),
        f"leftover: {'swept' if 'leftover' in swept else scenario.get('leftover', 'not recorded')}",
        "T limit swept" if "models" in swept else "no T limit" if models is None else f"T at most {models - 1}",
        f"{trials} trial" + ("" if trials == "1" else "s"),
        f"engine: {', '.join(sorted(set(runs['engine'])))}",
    ]
    return "; ".join(said)


def _training(training: dict[str, Any] | None, swept: dict[str, list[Any]]) -> str:
    keys = set(itertools.chain.from_iterable(map(swept_together, swept)))
    if training is None or "training" in keys:
        return "training swept"
    usual = {"batch": "all", "optimiser": "sgd", "on_failure": "skip", "messages": "float64"}
    given = {"workload": training["workload"]["kind"], "rate": f"{training['learning_rate']:g}"}
    said = {key: "swept" if f"training.{key}" in keys else value for key, value in (usual | training | given).items()}
    if "training.learning_rate" in keys:
        said["rate"] = "swept"
    inside = [key.removeprefix("training.workload.") for key in keys if key.startswith("training.workload.")]
    return (
        f"training: {said['workload']}{''.join(f', {key} swept' for key in sorted(inside))}, batch {said['batch']}, "
        f"{said['optimiser']}, rate {said['rate']}, on_failure: {said['on_failure']}"
        + ("" if said["messages"] == "float64" else f", messages: {said['messages']}")
    )


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
    """Whether all that is there was written by a run, finished or not."""
    written = {f"{name}.parquet" for name in TABLES}
    written |= {"compare.csv", "compare.md", "summary.csv", "scenario.yaml", ERRORS, MANIFEST, "plots", PARTS}
    try:
        names = {path.name for path in folder.iterdir()}
        if not {name for name in names if not _is_partial(name)} <= written:
            return False
        if (folder / PARTS).is_dir() and not all(_is_part(path.name) for path in (folder / PARTS).iterdir()):
            return False
        if MANIFEST not in names:
            return PARTS in names
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {"engine", "seed", "versions"} <= set(manifest)
    except (OSError, ValueError, TypeError):
        return False


def _can_go_on(folder: Path) -> bool:
    """Whether there are parts, perhaps among other things, or the beginning of a run and nothing else."""
    parts = folder / PARTS
    if not parts.is_dir():
        return False
    names = [path.name for path in parts.iterdir()]
    has_parts = bool(names) and all(map(_is_part, names))
    return has_parts or _holds_results_only(folder)


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(PARTIAL)


def _is_part(name: str) -> bool:
    return name.endswith(PART_SUFFIX) or _is_partial(name)


class Stopped(UserError):  # noqa: N818 - it is none
    """Ctrl-C; in a sentence, what is left."""


@contextmanager
def building(folder: Path, *, replace: bool) -> Iterator[Path]:
    """A folder in which a run is done part by part, or goes on; if there is no part at the end, nothing is left.

    Parameters
    ----------
    folder
        New, empty, or of an earlier run.
    replace
        Whether to forget what is there.

    Raises
    ------
    ResultsError
        If the folder holds anything else, or another run is in it.
    WriteError
        If it can't be written.
    Stopped
        After Ctrl-C.
    """
    folder = folder.resolve()
    if replace or not _can_go_on(folder):
        may_write(folder, replace=replace)
    with writing(folder), made(folder), _alone_in(folder):
        yield from _building(folder, replace=replace)


def _building(folder: Path, *, replace: bool) -> Iterator[Path]:
    parts = folder / PARTS
    try:
        if replace:
            _empty(folder)
        parts.mkdir(parents=True, exist_ok=True)
        for leftover in [*folder.glob(f".*{PARTIAL}"), *parts.glob(f".*{PARTIAL}")]:  # of a run that was killed
            remove(leftover)
        yield folder
    except KeyboardInterrupt:
        left = any(parts.glob(f"*{PART_SUFFIX}"))
        kept = f"what is finished stays in {folder}, and the same command goes on" if left else "nothing was written"
        raise Stopped(f"stopped; {kept}") from None
    finally:
        if not any(parts.glob(f"*{PART_SUFFIX}")):
            shutil.rmtree(parts, ignore_errors=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder for as long as this process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # of the folder itself: no file is left behind, and the lock ends with the process, however that ends
        with suppress(ImportError, OSError):  # some systems, and some file systems, have no locks
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ResultsError(
                    f"{folder}: must be used by one run at a time, got another that has not ended"
                ) from None
        yield
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    """Remove all results, the manifest first: what is left of them is not complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        remove(path)
