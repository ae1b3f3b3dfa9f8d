"""Units of work of one structure side by side on arrays, whatever differs between their runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemes.base.scheme import Scheme
from simulator.choices import Detail
from simulator.engine.arrays.rows import BLOCK, Rows, Times
from simulator.engine.arrays.simulate import simulate_rows
from simulator.engine.figures import Runs
from simulator.engine.master_rules import MasterRule
from simulator.engine.worker_times import DrawnTimes, Draws, Kept, Source
from simulator.errors import is_shipped, place_in, told
from simulator.execution.store import Unit
from simulator.parameters import IntArray
from simulator.scenario.scenario import Scenario
from straggler_models.base import StragglerModel

ROUNDS = 1 << 16  # of all rows of a block together, about
FEWEST_ROWS = 64


def why_not(scenario: Scenario, label: str, detail: Detail = "rounds") -> str | None:
    """Say why a scheme of a scenario needs events; None if it does not."""
    if scenario.training is not None:
        return "real gradients go with responses one by one"
    if detail == "workers":
        return "the table of workers is theirs"
    lives_in = {model.lives_in for model in scenario.stragglers.values()}
    if "seconds" in lives_in:
        return "a straggler model lives in seconds"
    if "absences" in lives_in:
        return "workers leave, and others join"
    if "loads" in lives_in:
        return "times of a straggler model are not linear in the load"
    if lives_in & {"tasks", "messages", "gradients"}:
        return "a straggler model draws anew for each task or message"
    if scenario.leftover == "finish":
        return "workers finish what is left over"
    if not scenario.network.is_free:
        return "messages share a network"
    scheme = scenario.schemes[label]
    if scheme.begins_anew and (scenario.action_overhead_s or scenario.rule_for(label).poll_s is not None):
        return "work that is given out while a round goes on begins later than the response comes"
    if not scheme.session_follows("batches"):
        return f"{type(scheme).__name__} has a session of its own, and no array form of it"
    try:
        has_none = not scheme.batches(1, [scheme])
    except (Exception, SystemExit) as error:
        if is_shipped(scheme):
            raise  # a fault of ours: its traceback is wanted
        place = place_in(error, {type(scheme).__module__.partition(".")[0]})
        return f"its array form is not available: {told(error, place)}"
    return f"{type(scheme).__name__} has no array form" if has_none else None


class Group(NamedTuple):
    """Units that may go side by side; or some that need events, and why."""

    units: list[Unit]
    reason: str | None


class Structures:
    """The structure of units: those in which it is the same number may go side by side."""

    def __init__(self, detail: Detail) -> None:
        self._detail = detail
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[tuple[object, ...], int] = {}  # by parts, which points of a sweep share
        self._times: dict[tuple[object, ...], int] = {}
        self.reasons: list[str | None] = []  # why units of each structure need events

    def of(self, scenario: Scenario, label: str) -> int:
        """The number of the structure of a scheme of a scenario."""
        scheme, rule = scenario.schemes[label], scenario.rule_for(label)
        plain = scenario.workers, scenario.jobs, scenario.probe, scenario.leftover, scenario.action_overhead_s > 0
        shared = scheme, rule, scenario.training, scenario.network, *scenario.stragglers.values()
        parts = *plain, *map(id, shared)
        if parts not in self._known:
            key = _structure_of(scenario, scheme, rule)
            if key not in self._numbers:
                self._numbers[key] = len(self.reasons)
                self.reasons.append(why_not(scenario, label, self._detail))
            self._known[parts] = self._numbers[key]
        return self._known[parts]

    def times_of(self, scenario: Scenario) -> int:
        """A number that is the same where the worker times of a trial are the same."""
        models = scenario.stragglers
        key = scenario.workers, scenario.seed, *models, *map(id, models.values())
        return self._times.setdefault(key, len(self._times))


def _structure_of(scenario: Scenario, scheme: Scheme, rule: MasterRule) -> Hashable:
    """All in which runs that go side by side must be equal, and what decides whether they can."""
    lives_in = frozenset(model.lives_in for model in scenario.stragglers.values())
    needs_events = lives_in, scenario.leftover, scenario.network.is_free, scenario.training is None
    others = scenario.workers, scenario.jobs, scheme.delay_rounds, scenario.probe, rule.structure, needs_events
    if not dataclasses.is_dataclass(scheme):
        return id(scheme), others
    varied = scheme.varied
    fields = [field.name for field in dataclasses.fields(scheme) if field.name != varied]
    key = type(scheme), tuple(getattr(scheme, name) for name in fields), others
    try:
        hash(key)
    except TypeError:
        return id(scheme), others
    return key


class Trials(NamedTuple):
    """Runs of a scheme at a point."""

    scenario: Scenario
    label: str
    trials: range

    @property
    def n_rounds(self) -> int:
        """Rounds that each takes."""
        return self.scenario.jobs + self.scenario.schemes[self.label].delay_rounds


class Drawer:
    """Worker times of some runs, drawn once for all blocks of them, if they are few enough to be kept."""

    def __init__(self, parts: Iterable[Trials]) -> None:
        self._sources: dict[int, _Sources] = {}  # by the number of workers
        self._n_rounds: dict[int, int] = {}
        self._kept: dict[int, DrawnTimes] = {}
        for part in parts:
            n_workers = part.scenario.workers
            self._sources.setdefault(n_workers, _Sources()).places(part)
            self._n_rounds[n_workers] = max(self._n_rounds.get(n_workers, 0), part.n_rounds)

    def times(self, parts: Sequence[Trials]) -> tuple[Times, IntArray]:
        """Worker times for runs of equally many workers, and the source that each of them meets."""
        n_workers = parts[0].scenario.workers
        sources, n_rounds = self._sources[n_workers], self._n_rounds[n_workers]
        if len(sources.all) * n_rounds * n_workers > BLOCK:
            sources = _Sources()
            which = np.concatenate([sources.places(part) for part in parts])
            return Draws(sources.all, n_workers), which
        if n_workers not in self._kept:
            self._kept[n_workers] = Draws(sources.all, n_workers).take(n_rounds)
        kept = Kept(self._kept[n_workers], sources.all, n_workers)
        return kept, np.concatenate([sources.places(part) for part in parts])


class _Sources:
    """Different worker times, each once: of some models, with some seed, in some trial."""

    def __init__(self) -> None:
        self.all: list[Source] = []
        self._places: dict[tuple[object, ...], int] = {}
        self._of_trials: dict[tuple[object, ...], IntArray] = {}

    def places(self, part: Trials) -> IntArray:
        """The numbers of what runs meet."""
        models, seed = part.scenario.stragglers, part.scenario.seed
        key = seed, *models, *map(id, models.values())
        found = self._of_trials.get((part.trials, *key))
        if found is None:
            is_drawn = any(map(_is_drawn, models.values()))
            found = np.array([self._place(models, seed, trial if is_drawn else 0, key) for trial in part.trials])
            self._of_trials[part.trials, *key] = found
        return found

    def _place(self, models: Mapping[str, StragglerModel], seed: int, trial: int, key: tuple[object, ...]) -> int:
        place = self._places.setdefault((trial, *key), len(self.all))
        if place == len(self.all):
            self.all.append(Source(models, seed, trial))
        return place


def _is_drawn(model: StragglerModel) -> bool:
    return model.is_random and not model.gives_same_times


def blocks(units: Sequence[Unit], n_rounds: int) -> Iterator[list[Unit]]:
    """Units that are run together: as many as memory is for."""
    most = max(FEWEST_ROWS, ROUNDS // n_rounds)
    block: list[Unit] = []
    n_rows = 0
    for unit in units:
        if block and n_rows + len(unit.trials) > most:
            yield block
            block, n_rows = [], 0
        block.append(unit)
        n_rows += len(unit.trials)
    yield block


def run_side_by_side(parts: Sequence[Trials], drawer: Drawer) -> Runs:
    """Run them on arrays, each run a row, one part after the other.

    Raises
    ------
    SimulationError
        If a completion time is negative, or nobody can answer any more and the rule has no timeout.
    """
    times, source = drawer.times(parts)
    of_part = np.repeat(np.arange(len(parts)), [len(part.trials) for part in parts])
    together = np.argsort(source, kind="stable")  # runs that meet the same times are neighbours
    of_part, source = of_part[together], source[together]
    schemes: dict[int, Scheme] = {}  # a scheme is one and the same in all its rows
    for scenario, label, _ in parts:
        schemes.setdefault(id(scenario.schemes[label]), scenario.scheme_to_run(label))
    own = [schemes[id(scenario.schemes[label])] for scenario, label, _ in parts]
    rules = [scenario.rule_for(label) for scenario, label, _ in parts]
    rows = Rows(
        source=source,
        rule=type(rules[0]).side_by_side(rules).rows(of_part),
        round_overhead_s=np.array([part.scenario.round_overhead_s for part in parts])[of_part],
        gradient_bytes=np.array([part.scenario.network.gradient_bytes for part in parts])[of_part],
    )
    n_jobs = parts[0].scenario.jobs
    batches = own[0].batches(n_jobs, [own[part] for part in of_part.tolist()])
    return simulate_rows(batches, rows, times, n_jobs).rows(np.argsort(together, kind="stable"))
