"""Units of work in tasks of about a second, and what has become of them."""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.choices import Detail, Engine
from simulator.columns import RunRow
from simulator.engine.record import RunRecord
from simulator.errors import SimulationError
from simulator.execution.one_run import row_of, run_unit
from simulator.execution.store import Unit, encode
from simulator.scenario.scenario import Scenario

UNIT_COST = 200_000  # of a unit, if it has several trials; see `cost_of`
TASK_S = 1.0  # what a bundle should take: short enough to lose, long enough to be worth sending
TASK_COST = 20 * UNIT_COST  # at most, so that a part fits into memory whatever the speed


class Failure(NamedTuple):
    """A unit that could not be run."""

    unit: Unit
    error: str


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
    """Units that are run one after another in one place."""

    units: tuple[Unit, ...]
    scenarios: Mapping[int, Scenario]  # of the points of the units
    order: Order


class Done(NamedTuple):
    """Outcome of a bundle."""

    units: Sequence[Unit] = ()
    content: bytes = b""  # a part with these units
    failures: Sequence[Failure] = ()
    speeds: Mapping[str, float] = {}  # seconds per cost, by the scheme's label


class Bundles:
    """Units in tasks of about a second each: small ones at first, until it is known how long a scheme takes."""

    def __init__(self, units: Sequence[Unit], points: Sequence[tuple[dict[str, Any], Scenario]], order: Order) -> None:
        self._left = deque(units)
        self._alone: deque[Unit] = deque()  # one of these has taken its process down
        self._points = points
        self._order = order
        self._speeds: dict[str, float] = {}

    def next_bundle(self) -> Bundle | None:
        """Units for about a second, or None."""
        units = [self._alone.popleft()] if self._alone else self._batch()
        if not units:
            return None
        return Bundle(tuple(units), {unit.point: self._points[unit.point][1] for unit in units}, self._order)

    def _batch(self) -> list[Unit]:
        units: list[Unit] = []
        seconds = cost = 0.0
        while self._left and seconds < TASK_S and cost < TASK_COST:
            unit = self._left[0]
            own = float(cost_of(self._points[unit.point][1]) * len(unit.trials))
            expected_s = own * self._speeds.get(unit.label, math.inf)
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
        if len(bundle.units) > 1:
            self._alone += bundle.units
            return Done()
        unit = bundle.units[0]
        first, last = unit.trials[0], unit.trials[-1]
        which = f"trial {first}" if first == last else f"trials {first}-{last}"
        return Done(failures=[Failure(unit, f"schemes.{unit.label}, {which}: {reason}")])


def run_bundle(bundle: Bundle) -> Done:
    """Run units, with one thread for linear algebra, so that processes don't take cores from each other."""
    from threadpoolctl import threadpool_limits

    units: list[Unit] = []
    rows: list[RunRow] = []
    records: list[RunRecord] = []
    failures: list[Failure] = []
    speeds: dict[str, float] = {}
    detail, engine, keep_going = bundle.order
    with threadpool_limits(limits=1):
        for unit in bundle.units:
            at_point, began_s = bundle.scenarios[unit.point], time.perf_counter()
            try:
                block, ran = run_unit(at_point, unit.label, unit.trials, detail=detail, engine=engine)
                told = [row_of(at_point, unit.label, *one, ran) for one in zip(unit.trials, block, strict=True)]
            except SimulationError as error:
                failures.append(Failure(unit, str(error)))
                if not keep_going:
                    break
                continue
            speeds[unit.label] = (time.perf_counter() - began_s) / (cost_of(at_point) * len(unit.trials))
            units.append(unit)
            records += block
            rows += told
    content = encode(units, rows, records, detail) if units else b""
    return Done(units, content, failures, speeds)
