"""Some runs of the vectorised engine again on events, which define the numbers: they must be equal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from simulator.choices import Detail
from simulator.engine.figures import Runs
from simulator.engine.streams import ONCE, stream
from simulator.errors import SimulationError
from simulator.execution.one_run import run_unit, telling
from simulator.execution.side_by_side import Drawer, Trials, run_side_by_side
from simulator.execution.store import Parts, Unit, table_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST_RUNS = 20  # or one of each scheme, if these are more
MOST_ARRIVALS = 2_000_000  # of all that are repeated, together
EQUAL = 1e-9  # seconds, loads and errors that differ by less, or by less of themselves; counts must be equal


class Checked(NamedTuple):
    """Outcome of a check."""

    n_repeated: int = 0
    differences: Sequence[str] = ()

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """What a manifest says of it."""
        said = manifest.get("checked", {})
        return cls(said.get("repeated", 0), said.get("differences", ()))

    def plus(self, other: Checked) -> Checked:
        """Both together."""
        return Checked(self.n_repeated + other.n_repeated, [*self.differences, *other.differences])


class Sampled(NamedTuple):
    """A run that is to be repeated."""

    run: Trials  # one
    key: str  # of its setting, under which its numbers are kept
    at: str  # which point, in words


def check(samples: Sequence[Sampled], parts: Parts, detail: Detail, *, keep_going: bool) -> Checked:
    """Repeat runs on events, in a shortened form where they are long.

    Parameters
    ----------
    samples
        Of :func:`sampled`.
    parts
        Where their numbers are.
    detail
        The finest table that was kept.
    keep_going
        Whether a run that fails on events is a difference like others.

    Raises
    ------
    SimulationError
        If a run can't go on there: a scheme's session and its array form say different things.
    """
    differences: list[str] = []
    n_repeated, left = 0, MOST_ARRIVALS
    kept = [(sample, _kept(sample, parts)) for sample in samples]
    kept = [(sample, found) for sample, found in kept if found["engine"][0].as_py() != "events"]
    for place, (sample, found) in enumerate(kept):
        run, n_jobs = sample.run, sample.run.scenario.jobs
        per_round = _arrivals(run)
        share = left // (len(kept) - place)
        if run.n_rounds * per_round > share:
            shortest = run.scenario.probe + 1
            n_jobs = max(shortest, min(n_jobs, share // per_round - (run.n_rounds - n_jobs)))
        left -= per_round * (run.n_rounds - run.scenario.jobs + n_jobs)
        if left < 0 and n_repeated:
            break
        n_repeated += 1
        try:
            differences += _different(sample, n_jobs, found, detail)
        except SimulationError as error:
            if not keep_going:
                raise SimulationError(f"{sample.at}{error}") from error
            differences.append(f"{sample.at}{error}, on events only")
    return Checked(n_repeated, differences)


def _kept(sample: Sampled, parts: Parts) -> pa.Table:
    [(rows, _)] = parts.find(sample.key, sample.run.trials)
    return parts.read(rows.part, rows.batch, np.asarray(rows.rows))


def sampled(units: Sequence[Unit], seed: int) -> list[tuple[Unit, int]]:
    """Choose runs of some units, by the seed: of each scheme equally many, if there are so many.

    Returns
    -------
    chosen
        The unit and the trial of each run.

    Examples
    --------
    >>> units = [Unit(0, label, range(3), key="") for label in ("GC", "uncoded")]
    >>> [(unit.label, trial) for unit, trial in sampled(units, seed=1)][:3]
    [('GC', 0), ('uncoded', 0), ('GC', 2)]
    """
    by_label: dict[str, list[Unit]] = {}
    for unit in units:
        by_label.setdefault(unit.label, []).append(unit)
    orders = []
    for label, own in by_label.items():
        ends = np.cumsum([len(unit.trials) for unit in own])
        chosen = stream(seed, ONCE, "check", label).choice(ends[-1], min(int(ends[-1]), MOST_RUNS), replace=False)
        places = np.searchsorted(ends, chosen, side="right").tolist()
        orders.append([(own[at], own[at].trials[run - int(ends[at])]) for at, run in zip(places, chosen, strict=True)])
    in_turn = [run for turn in itertools.zip_longest(*orders) for run in turn if run is not None]
    return in_turn[: max(MOST_RUNS, len(by_label))]


def _arrivals(run: Trials) -> int:
    """Number of reports in a round, about."""
    scheme = run.scenario.schemes[run.label]
    work = scheme.start(1, np.random.default_rng(0)).open_round(0)
    return max(1, work.n_reports)


def _different(sample: Sampled, n_jobs: int, found: pa.Table, detail: Detail) -> Iterator[str]:
    """Say in a line what differs first, if anything does."""
    run = sample.run
    where = f"{sample.at}schemes.{run.label}, trial {run.trials[0]}"
    if n_jobs < run.scenario.jobs:
        run = run._replace(scenario=run.scenario.sibling({"jobs": n_jobs}))
        where += f", the first {n_jobs} jobs"
        found = _table(run_side_by_side([run], Drawer([run])), run, detail)
    records = run_unit(run.scenario, run.label, run.trials, "rounds")
    with telling(run.scenario, run.label, run.trials[0]):
        told = _table(Runs.of(records), run, detail)
    for (name, expected), (_, got) in zip(_columns(told, told), _columns(found, told), strict=True):
        unequal = _unequal(expected, got)
        if unequal is not None:
            yield f"{where}: {name}{unequal[0]} must be {unequal[1]} as on events, got {unequal[2]}"
            return


def _table(runs: Runs, run: Trials, detail: Detail) -> pa.Table:
    scheme = run.scenario.schemes[run.label]
    n_blocks = scheme.n_error_blocks if runs.is_approximate else 1
    return table_of(runs.figures(n_blocks), runs, (), "runs" if detail == "runs" else "rounds")


def _columns(table: pa.Table, like: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """Columns of a run, those of its rounds and jobs too, as far as another table has them."""
    import pyarrow as pa

    for name in like.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            rows = column.flatten()
            yield from zip((f"{name}.{field.name}" for field in rows.type), rows.flatten(), strict=True)
        else:
            yield name, column


def _unequal(expected: pa.Array, got: pa.Array) -> tuple[str, Any, Any] | None:
    """The first place at which two columns differ, and what is there; None: nowhere."""
    import pyarrow as pa

    if len(expected) == len(got) and expected.equals(got):
        return None
    if len(expected) != len(got):
        return " (rows)", len(expected), len(got)
    told, found = expected.to_pylist(), got.to_pylist()
    if pa.types.is_floating(expected.type):
        same = np.isclose(got.to_numpy(), expected.to_numpy(), rtol=EQUAL, atol=EQUAL, equal_nan=True)
    else:
        same = np.array([one == other for one, other in zip(told, found, strict=True)])
    if same.all():
        return None
    place = int(np.argmin(same))
    return (f"[{place}]" if len(told) > 1 else ""), told[place], found[place]
