"""Units of work in tasks of about a second, and what has become of them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.choices import Detail, Engine
from simulator.engine.figures import Runs
from simulator.engine.record import RunRecord
from simulator.errors import SimulationError
from simulator.execution.one_run import facts_of, plugins_from_outside, run_unit, telling
from simulator.execution.side_by_side import Drawer, Group, Structures, Trials, blocks, run_side_by_side
from simulator.execution.store import Unit, encode, table_of
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    import pyarrow as pa

UNIT_COST = 200_000  # of a unit, if it has several trials; see `cost_of`
TASK_S = 1.0  # what a bundle should take: short enough to lose, long enough to be worth sending
TASK_COST = 200 * UNIT_COST  # at most, so that a part fits into memory whatever the speed
ON_EVENTS = -1  # in place of a structure: the runs go one by one
FASTER = 20  # arrays than events, at least
ON_ARRAYS_S = 3e-7  # per cost, before it is known; events differ too much for a guess


class Failure(NamedTuple):
    """A unit that could not be run."""

    unit: Unit
    error: str
    is_lost: bool = False  # with its process


def cost_of(scenario: Scenario) -> int:
    """Estimate a trial's cost to an engine, in steps of a worker; a round costs some fifty besides its workers."""
    return (scenario.workers + 50) * scenario.n_rounds


class Order(NamedTuple):
    """Instructions common to all tasks of a sweep."""

    detail: Detail
    engine: Engine
    keep_going: bool


@dataclass(frozen=True)
class Bundle:
    """Units that are run in one place, those that go side by side together."""

    groups: Sequence[Group]
    scenarios: Mapping[int, Scenario]  # of the points of the units
    order: Order

    @property
    def units(self) -> list[Unit]:
        """All of them."""
        return [unit for group in self.groups for unit in group.units]


class Done(NamedTuple):
    """Outcome of a bundle."""

    units: Sequence[Unit] = ()
    content: bytes = b""  # a part with these units
    failures: Sequence[Failure] = ()
    speeds: Mapping[str, float] = {}  # seconds per cost, by the scheme's label


class Bundles:
    """Units in tasks of about a second each: small ones at first, until it is known how long a scheme takes.

    Units that meet the same worker times are neighbours, so that these are drawn once.
    """

    def __init__(self, units: Sequence[Unit], points: Sequence[tuple[dict[str, Any], Scenario]], order: Order) -> None:
        self._points = points
        self._order = order
        self._structures = Structures(order.detail)
        self._left = deque(self._in_order(units))
        self._alone: deque[tuple[int, Unit]] = deque()  # one of these has taken its process down
        self._speeds: dict[str, float] = {}

    def _structure_of(self, unit: Unit) -> int:
        if self._order.engine == "events":
            return ON_EVENTS
        return self._structures.of(self._points[unit.point][1], unit.label)

    def _in_order(self, units: Sequence[Unit]) -> Iterator[tuple[int, Unit]]:
        """Each unit with the number of its structure."""
        found = []
        for number, unit in enumerate(units):
            structure = self._structure_of(unit)
            times = self._structures.times_of(self._points[unit.point][1]) if structure != ON_EVENTS else 0
            found.append((times, unit.trials.start if times else 0, structure, number))
        yield from ((structure, units[number]) for _, _, structure, number in sorted(found))

    def goes_on_arrays(self, unit: Unit) -> bool:
        """True if a unit can, and is to."""
        return self._reason(self._structure_of(unit)) is None

    def is_small(self, fewest: int) -> bool:
        """True if all together cost less than ``fewest``; on arrays, much less than on events."""
        cost = 0.0
        for structure, unit in self._left:
            on_arrays = self._reason(structure) is None
            cost += cost_of(self._points[unit.point][1]) * len(unit.trials) / (FASTER if on_arrays else 1)
        return cost < fewest

    def next_bundle(self) -> Bundle | None:
        """Units for about a second, or None."""
        units = [self._alone.popleft()] if self._alone else self._batch()
        if not units:
            return None
        groups: dict[int, Group] = {}
        for structure, unit in units:
            groups.setdefault(structure, Group([], self._reason(structure))).units.append(unit)
        scenarios = {unit.point: self._points[unit.point][1] for _, unit in units}
        return Bundle(list(groups.values()), scenarios, self._order)

    def _reason(self, structure: int) -> str | None:
        return self._structures.reasons[structure] if structure != ON_EVENTS else "events are asked for"

    def _batch(self) -> list[tuple[int, Unit]]:
        units: list[tuple[int, Unit]] = []
        seconds = cost = 0.0
        while self._left and seconds < TASK_S and cost < TASK_COST:
            structure, unit = self._left[0]
            own = float(cost_of(self._points[unit.point][1]) * len(unit.trials))
            first_guess = ON_ARRAYS_S if self._reason(structure) is None else math.inf
            expected_s = own * self._speeds.get(unit.label, first_guess)
            if units and seconds + expected_s > 1.5 * TASK_S:
                break
            units.append(self._left.popleft())
            seconds, cost = seconds + expected_s, cost + own
        return units

    def learn(self, done: Done) -> None:
        """Take note of how long a bundle took."""
        self._speeds.update(done.speeds)

    def lost(self, bundle: Bundle, reason: str) -> Done:
        """Take back a bundle whose process died: its units are tried alone; a single one has failed."""
        units = bundle.units
        if len(units) > 1:
            self._alone += ((self._structure_of(unit), unit) for unit in units)
            return Done()
        unit = units[0]
        first, last = unit.trials[0], unit.trials[-1]
        which = f"trial {first}" if first == last else f"trials {first}-{last}"
        return Done(failures=[Failure(unit, f"schemes.{unit.label}, {which}: {reason}", is_lost=True)])


def run_bundle(bundle: Bundle) -> Done:
    """Run units, with one thread for linear algebra, so that processes don't take cores from each other."""
    from threadpoolctl import threadpool_limits

    work = _Work(bundle)
    with threadpool_limits(limits=1):
        work.run()
    content = encode(work.units, work.tables) if work.units else b""
    return Done(work.units, content, work.failures, work.speeds)


class _Work:
    """A bundle while it is run."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._detail, self._engine, self._keep_going = bundle.order
        self._facts: dict[tuple[object, ...], dict[str, Any]] = {}
        self.units: list[Unit] = []
        self.tables: list[pa.Table] = []
        self.failures: list[Failure] = []
        self.speeds: dict[str, float] = {}

    def run(self) -> None:
        """Run all units, or those before the first failure."""
        groups = self._bundle.groups
        drawer = Drawer(self._runs(unit for group in groups if group.reason is None for unit in group.units))
        for group in groups:
            began_s = time.perf_counter()
            self._run_group(group, drawer)
            if self._is_over:
                break
            cost = sum(cost_of(self._scenario_of(unit)) * len(unit.trials) for unit in group.units)
            speed = (time.perf_counter() - began_s) / cost
            self.speeds.update(dict.fromkeys((unit.label for unit in group.units), speed))

    @property
    def _is_over(self) -> bool:
        return bool(self.failures) and not self._keep_going

    def _run_group(self, group: Group, drawer: Drawer) -> None:
        if group.reason is None:
            n_rounds = max(run.n_rounds for run in self._runs(group.units[:1]))
            for block in blocks(group.units, n_rounds):
                if not self._is_over:
                    self._on_arrays(block, drawer)
            return
        for unit in group.units:
            if self._engine == "vectorised":
                error = f"schemes.{unit.label}: needs --engine events (or auto): {group.reason}"
                self.failures.append(Failure(unit, error))
            else:
                self._on_events(unit)
            if self._is_over:
                break

    def _scenario_of(self, unit: Unit) -> Scenario:
        return self._bundle.scenarios[unit.point]

    def _runs(self, units: Iterable[Unit]) -> Iterator[Trials]:
        return (Trials(self._scenario_of(unit), unit.label, unit.trials) for unit in units)

    def _on_arrays(self, units: Sequence[Unit], drawer: Drawer | None = None) -> None:
        """Run units side by side; one by one if that fails, and on events if it still does: they say what is wrong.

        ``drawer`` draws for other units, too; None: for a single one alone.
        """
        try:
            runs = run_side_by_side(list(self._runs(units)), drawer or Drawer(self._runs(units)))
            n_blocks = 1
            if runs.is_approximate:
                n_blocks = self._repeated(
                    units, [self._scenario_of(unit).schemes[unit.label].n_error_blocks for unit in units]
                )
            self._keep(units, "vectorised", runs, runs.figures(n_blocks))
        except (Exception, SystemExit) as error:
            concerned = units if drawer is None else self._bundle.units
            is_ours = not any(plugins_from_outside(self._scenario_of(unit), unit.label) for unit in concerned)
            if is_ours and not isinstance(error, SimulationError | ValueError):
                raise  # its traceback is wanted
            if drawer is None:
                self._on_events(units[0])
                return
            for unit in units:
                if not self._is_over:
                    self._on_arrays([unit])

    def _on_events(self, unit: Unit) -> None:
        try:
            scenario = self._scenario_of(unit)
            records = run_unit(scenario, unit.label, unit.trials, self._detail)
            with telling(scenario, unit.label, unit.trials[0]):
                n_blocks = scenario.schemes[unit.label].n_error_blocks if any(map(_is_approximate, records)) else None
                rows: list[Mapping[str, Any]] = [record.metrics(n_blocks) for record in records]
                figures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
                self._keep([unit], "events", Runs.of(records), figures, records)
        except SimulationError as error:
            self.failures.append(Failure(unit, str(error)))

    def _keep(
        self,
        units: Sequence[Unit],
        engine: str,
        runs: Runs,
        figures: Mapping[str, Any],
        records: Sequence[RunRecord] = (),
    ) -> None:
        facts = [self._facts_of(unit) for unit in units]
        columns = {name: self._repeated(units, [each[name] for each in facts]) for name in facts[0]}
        models = columns.pop("models")
        columns |= figures
        columns["trial"] = np.concatenate([np.asarray(unit.trials) for unit in units])
        columns["engine"] = [engine] * len(models)
        columns["seconds_per_update"] = (
            columns["makespan_s"] * models / columns["n_jobs"]
        )  # a model is updated once in so many jobs
        self.tables.append(table_of(columns, runs, records, self._detail))
        self.units += units

    def _facts_of(self, unit: Unit) -> dict[str, Any]:
        scenario = self._scenario_of(unit)
        key = id(scenario.schemes[unit.label]), scenario.jobs, scenario.models
        if key not in self._facts:
            with telling(scenario, unit.label, unit.trials[0]):
                self._facts[key] = facts_of(scenario, unit.label)
        return self._facts[key]

    def _repeated(self, units: Sequence[Unit], values: Sequence[Any]) -> Any:
        """A value for each unit, once for each of its trials."""
        return np.repeat(np.array(values), [len(unit.trials) for unit in units])


def _is_approximate(record: RunRecord) -> bool:
    return "approximate" in record.jobs.status
