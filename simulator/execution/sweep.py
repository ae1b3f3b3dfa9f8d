"""Points x trials x schemes of a scenario: cut into units of work, run by an executor, put together in order."""

from __future__ import annotations

import csv
import itertools
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from simulator.choices import Detail, Engine, ExecutorName
from simulator.columns import KEYS, TABLES
from simulator.engine.events import NUMERICS
from simulator.errors import LostError, SimulationError, show
from simulator.execution.assemble import Place, arranged
from simulator.execution.check import Checked, Sampled, check, sampled
from simulator.execution.executors import Executor, Lost, Processes, Serial, executor_of
from simulator.execution.one_run import plugins_from_outside
from simulator.execution.side_by_side import Trials
from simulator.execution.store import Parts, Unit
from simulator.execution.tasks import UNIT_COST, Bundles, Failure, Order, cost_of, run_bundle
from simulator.files import whole
from simulator.plugins.identity import checksum, input_files
from simulator.results.account import origin
from simulator.results.folder import ERRORS, MANIFEST, PARTS
from simulator.results.results import MOST_POINTS, Results
from simulator.scenario.identity import Identities, setting_key
from simulator.scenario.plain import plain
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Progress = Callable[[int, int], None]  # runs done, runs in all
MOST_TRIALS = 100  # in a unit
RUN_COLUMNS = [*KEYS, "n_jobs", "makespan_s", "decode_failures", "jobs_per_s"]  # what tells how many trials are needed
SMALL_COST = 100_000  # below it, everything is done before a process has started: about a second


def run(
    scenario: Scenario,
    *,
    engine: Engine = "auto",
    detail: Detail = "rounds",
    progress: Progress | bool = False,
    executor: ExecutorName = "serial",
    processes: int | None = None,
    address: str | None = None,
) -> Results:
    """Run every scheme in every trial of every point, and return the results without writing files.

    Parameters
    ----------
    scenario
        What to run.
    engine
        ``events``, the SimPy engine, which defines the numbers; ``vectorised``, arrays over runs and rounds, where no
        events are needed; ``auto``, the vectorised engine where it can be used, with a sample of its runs repeated on
        events. The numbers are the same. If any differ, there is a warning, and the manifest says where.
    detail
        Finest table to keep: ``runs``, ``rounds`` (with jobs) or ``workers``.
    progress
        True: show a bar, on terminals and in notebooks. Or a function that is called with the number of finished runs
        and of all runs: first with those that existed already, then whenever some have finished.
    executor
        Where runs are computed: ``serial``, ``processes`` or ``dask``. With processes, a script needs its
        ``if __name__ == "__main__":``. The numbers are the same.
    processes
        Number of processes; by default, one for each core.
    address
        Address of a Dask scheduler.

    Raises
    ------
    SimulationError
        If a run can't go on.
    ExecutorError
        If the executor is not available.
    """
    import pyarrow as pa

    began = time.time()
    _check(scenario, engine, detail)
    sweep = _Sweep(scenario, engine, detail, Parts(), executor_of(executor, processes, address))
    with _bar() if progress is True else nullcontext(progress or None) as told:
        sweep.run(told)
    checked = sweep.check(scenario.seed, only_new=True) if engine == "auto" else Checked()
    pieces = list(sweep.tables())
    frames = {name: pa.concat_tables([piece[name] for piece in pieces]).to_pandas() for name in pieces[0]}
    results = Results(**frames, scenario=plain(scenario))
    results.manifest = _manifest(scenario, engine, began, results.runs, checked)
    for difference in checked.differences:
        warnings.warn(difference, stacklevel=2)
    return results


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar that moves, as text on stderr."""
    from tqdm import tqdm

    with tqdm(unit="run", leave=False) as bar:

        def tell(done: int, in_all: int) -> None:
            bar.total = in_all
            bar.update(done - bar.n)

        yield tell


def run_into(
    folder: Path,
    scenario: Scenario,
    *,
    engine: Engine = "auto",
    detail: Detail = "rounds",
    progress: Progress | None = None,
    executor: ExecutorName = "processes",
    processes: int | None = None,
    address: str | None = None,
    keep_going: bool = False,
    until: float | None = None,
    read_from: Path | None = None,
) -> tuple[Results, list[Failure]]:
    """Run what is not there yet, part by part, and write everything but figures and manifest.

    Parameters
    ----------
    folder
        Of :func:`simulator.results.folder.building`.
    keep_going
        Whether to go on after a failure. What failed is then listed in ``errors.csv`` and missing in the tables.
    until
        Add trials until the 95 % interval of each mean makespan is so narrow: its half width over the mean.
    read_from
        The scenario's file, whose checksum the manifest keeps.

    The others are those of :func:`run`.

    Returns
    -------
    results
        With the table of runs, that of training if points are few, that of jobs if there is one only;
        :meth:`Results.seal` completes the folder.
    failures
        Empty unless ``keep_going``.
    """
    import pandas as pd

    began, before = time.time(), _manifest_of(folder)
    finished: list[Unit] = []
    (folder / MANIFEST).unlink(missing_ok=True)
    while True:
        sweep = _Sweep(scenario, engine, detail, Parts(folder / PARTS), executor_of(executor, processes, address))
        before = before if finished or sweep.goes_on else None  # none of what was checked is used
        sweep.finished += finished
        sweep.run(progress, keep_going=keep_going)
        needed = sweep.trials_needed(until) if until is not None else {}
        if not needed:
            break
        scenario, finished = scenario.with_trials(needed), sweep.finished
    checked = Checked()
    if engine == "auto":
        # what an earlier run left without a manifest, because it was stopped, was not checked
        checked = sweep.check(scenario.seed, only_new=before is not None, keep_going=keep_going)
        checked = checked.plus(Checked.of_manifest(before or {}))
    _write_tables(folder, sweep.tables())
    _write_errors(folder, sweep.failures)
    n_points = len(sweep.points)
    wanted = ["runs"] + ["training"] * (n_points <= MOST_POINTS) + ["jobs"] * (n_points == 1)
    files = {name: folder / f"{name}.parquet" for name in wanted}
    frames: dict[str, Any] = {name: pd.read_parquet(file) for name, file in files.items() if file.exists()}
    results = Results(**frames, scenario=plain(scenario))
    results.manifest = _manifest(scenario, engine, began, results.runs, checked, read_from)
    results.write_beside(folder)
    return results, sweep.failures


def _check(scenario: object, engine: str, detail: str) -> None:
    """Refuse what only a type checker would see."""
    if not isinstance(scenario, Scenario):
        raise SimulationError(f"scenario: must be a Scenario, got {show(scenario)} (load makes one of a file)")
    for name, given, known in (("engine", engine, get_args(Engine)), ("detail", detail, get_args(Detail))):
        if given not in known:
            raise SimulationError(f"{name}: must be one of {', '.join(known)}, got {given!r}")


class _Sweep:
    """A scenario on its way from units to tables."""

    def __init__(self, scenario: Scenario, engine: Engine, detail: Detail, parts: Parts, on: Executor) -> None:
        self.points = scenario.all_points()
        self.failures: list[Failure] = []
        self.finished: list[Unit] = []  # by this sweep
        self._name, self._engine, self._detail = scenario.name, engine, detail
        self._parts, self._executor = parts, on
        self._identities = Identities()
        self._places = [
            [Place(point, label, order, self._key(point, label)) for order, label in enumerate(at_point.schemes)]
            for point, (_, at_point) in enumerate(self.points)
        ]

    def _key(self, point: int, label: str) -> str:
        if not self._parts.is_kept:
            return f"{point} {label}"  # in memory, there is nothing to be told apart from
        at_point, identify = self.points[point][1], self._identities
        return setting_key(at_point, label, detail=self._detail, engine=self._engine, identify=identify)

    @property
    def goes_on(self) -> bool:
        """True if anything of it is there already."""
        return any(self._parts.has(place.key) for places in self._places for place in places)

    def run(self, progress: Progress | None, *, keep_going: bool = False) -> None:
        """Run what is missing, and keep it."""
        n_runs: Counter[tuple[range, str]] = Counter()  # that a unit is good for: a key may be that of several points
        units = []
        for place, trials in self._blocks():
            for gap in self._parts.missing(place.key, trials):
                unit = Unit(place.point, place.label, gap, place.key)
                units += [] if unit[2:] in n_runs else [unit]
                n_runs[unit[2:]] += len(gap)
        n_all = sum(at_point.trials * len(at_point.schemes) for _, at_point in self.points)
        n_done = n_all - n_runs.total()
        if progress is not None:
            progress(n_done, n_all)
        bundles = Bundles(units, self.points, Order(self._detail, self._engine, keep_going))
        is_small = len(units) <= 1 or bundles.is_small(SMALL_COST)
        # what is not ours might end its process, which is to be said by another
        is_small = is_small and not any(plugins_from_outside(self.points[unit.point][1], unit.label) for unit in units)
        where = Serial() if is_small and isinstance(self._executor, Processes) else self._executor
        with closing(where.map_unordered(run_bundle, bundles.next_bundle)) as finished:
            for bundle, result in finished:
                done = bundles.lost(bundle, result.reason) if isinstance(result, Lost) else result
                if done.content:
                    self._parts.add(done.content)
                bundles.learn(done)
                self.finished += done.units
                self.failures += done.failures
                if done.failures and not keep_going:
                    raise self._error_of(done.failures[0])
                n_done += sum(n_runs[unit[2:]] for unit in (*done.units, *(failure.unit for failure in done.failures)))
                if progress is not None and (done.units or done.failures):
                    progress(n_done, n_all)
        self.failures.sort(key=attrgetter("unit.point", "unit.label", "unit.trials.start"))  # not as they came
        if not self.goes_on:
            raise self._error_of(self.failures[0])

    def _error_of(self, failure: Failure) -> SimulationError:
        """A failure, and at which point it was."""
        kind = LostError if failure.is_lost else SimulationError
        return kind(f"{self._at(failure.unit.point)}{failure.error}")

    def _at(self, point: int) -> str:
        at = ", ".join(f"{key} = {value}" for key, value in self.points[point][0].items())
        return f"at {at}: " if at else ""

    def _blocks(self) -> Iterator[tuple[Place, range]]:
        """Blocks of trials, in the order of the tables. Their sizes follow from the scenario alone."""
        for (_, at_point), places in zip(self.points, self._places, strict=True):
            size = max(1, min(MOST_TRIALS, UNIT_COST // cost_of(at_point)))
            for first in range(0, at_point.trials, size):
                for place in places:
                    yield place, range(first, min(first + size, at_point.trials))

    def check(self, seed: int, *, only_new: bool, keep_going: bool = False) -> Checked:
        """Repeat some runs on events that were done on arrays: of this sweep's, or of all that are there."""
        bundles = Bundles((), self.points, Order(self._detail, self._engine, keep_going=False))
        units = self.finished
        if not only_new:
            blocks = [Unit(place.point, place.label, trials, place.key) for place, trials in self._blocks()]
            units = [unit for unit in blocks if not any(self._parts.missing(unit.key, unit.trials))]
        chosen = sampled([unit for unit in units if bundles.goes_on_arrays(unit)], seed)
        samples = [
            Sampled(
                Trials(self.points[unit.point][1], unit.label, range(trial, trial + 1)), unit.key, self._at(unit.point)
            )
            for unit, trial in sorted(chosen, key=lambda run: (run[0].point, run[1]))
        ]
        return check(samples, self._parts, self._detail, keep_going=keep_going)

    def trials_needed(self, until: float) -> dict[int, int]:
        """Return the number of trials that each point not yet known well enough is to have next."""
        import pyarrow as pa

        from simulator.results.compare import trials_needed

        runs = pa.concat_tables([piece["runs"].select(RUN_COLUMNS) for piece in self.tables()]).to_pandas()
        wanted = {int(point): n_trials for point, n_trials in trials_needed(runs, until).items()}
        # a point at which trials failed has fewer than it was given
        return {point: n for point, n in wanted.items() if n > self.points[point][1].trials}

    def tables(self) -> Iterator[dict[str, pa.Table]]:
        """The tables in order, a piece at a time."""
        import pandas as pd
        import pyarrow as pa

        columns = {key: [values[key] for values, _ in self.points] for key in self.points[0][0]}
        swept = {key: pa.array(_one_type(pd.Series(values))) for key, values in columns.items()}
        has_updates = any(at_point.models is not None for _, at_point in self.points)
        for piece in arranged(self._parts, list(self._blocks()), {"scenario": self._name}, swept):
            if not has_updates:
                piece["runs"] = piece["runs"].drop_columns(["seconds_per_update"])
            yield piece


def _write_tables(folder: Path, pieces: Iterator[dict[str, pa.Table]]) -> None:
    """Write tables a piece at a time, each under a name of its own until it is whole."""
    from pyarrow.parquet import ParquetWriter

    writers: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, table in itertools.chain.from_iterable(piece.items() for piece in pieces):
            if name not in writers:
                partial = stack.enter_context(whole(folder / f"{name}.parquet"))
                writers[name] = stack.enter_context(ParquetWriter(partial, table.schema))
            writers[name].write_table(table)
    for name in set(TABLES) - set(writers):  # of an earlier run, in finer detail
        (folder / f"{name}.parquet").unlink(missing_ok=True)


def _write_errors(folder: Path, failures: Sequence[Failure]) -> None:
    if not failures:
        (folder / ERRORS).unlink(missing_ok=True)
        return
    with whole(folder / ERRORS) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("point", "scheme", "first_trial", "last_trial", "error"))
        for (point, label, trials, _), error, _ in failures:
            table.writerow((point, label, trials[0], trials[-1], error))


def _one_type(values: pd.Series[Any]) -> pd.Series[Any]:
    """Swept values as a column: numbers (nothing is NaN), truth values or text; anything mixed becomes text."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float, type(None)}:
        return values if type(None) not in kinds else values.astype("float64")
    return values if kinds in ({bool}, {str}) else values.map(lambda value: "none" if value is None else str(value))


def _manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of an earlier run that was completed in a folder; None: there was none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest


def _manifest(
    scenario: Scenario,
    engine: Engine,
    began: float,
    runs: pd.DataFrame,
    checked: Checked,
    read_from: Path | None = None,
) -> dict[str, Any]:
    on_arrays = int((runs["engine"] == "vectorised").sum())
    said = {"runs": on_arrays, "repeated": checked.n_repeated, "differences": list(checked.differences)}
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "engine": engine,
        **({"checked": said} if engine == "auto" else {}),
        "numerics": NUMERICS,
        **origin(_inputs(scenario, read_from), began),
    }


def _inputs(scenario: Scenario, read_from: Path | None) -> dict[str, str]:
    """SHA-256 of every file that decided something: the scenario's own, and those that plug-ins read."""
    plugins: dict[int, object] = {}  # points share most of them
    for _, at in scenario.all_points():
        used = (*at.stragglers.values(), *at.schemes.values(), *at.masters.values(), at.master)
        plugins |= {id(plugin): plugin for plugin in used}
        if at.training is not None:
            plugins[id(at.training.workload)] = at.training.workload
    own = [] if read_from is None else [(str(read_from), checksum(str(read_from)))]
    return dict([*own, *itertools.chain.from_iterable(map(input_files, plugins.values()))])
