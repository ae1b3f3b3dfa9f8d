"""Search for parameters: every legal setting, together with the master's rule, on one trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes import Scheme
from schemes.base.sets import WORD
from simulator.engine.arrays.rows import Rows
from simulator.engine.arrays.simulate import simulate_rows
from simulator.engine.events import RunPlan, simulate
from simulator.engine.figures import Runs
from simulator.engine.master_rules import MasterRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.replay import MeasuredRounds, NoOneOrderError, Played, replay
from simulator.engine.streams import ONCE, stream
from simulator.engine.worker_times import DrawnTimes, Kept, RoundTimes
from simulator.errors import SimulationError
from simulator.execution.executors import Executor, Lost, Serial, executor_of
from simulator.parameters import FloatArray, IntArray
from simulator.tuning.legal_settings import Group
from simulator.tuning.rows import columns_of, described
from straggler_models.base import WorkerTimes

if TYPE_CHECKING:
    import pandas as pd

TASK_S = 0.5  # that a task takes at least, roughly
MOST_TASKS = 32
CALLS_S = 100e-6  # of a round of a group, and then of each setting and word of workers
WORD_S = 0.1e-6
MOST_WORDS = 1 << 16  # of the sets of a grid
MOST_WORKERS = 1 << 13  # of all runs side by side
COLUMNS = ("load", "makespan_s", "waited_rounds", "waited_s", "straggler_rate")
Progress = Callable[[int, int], None]


class Portion(NamedTuple):
    """Groups under rules, and what they are replayed."""

    place: int  # of the first group among all
    times: WorkerTimes
    n_workers: int
    n_jobs: int
    groups: tuple[Group, ...]
    rules: tuple[MasterRule, ...]


def evaluate(
    times: WorkerTimes,
    n_workers: int,
    n_jobs: int,
    groups: Sequence[Group],
    rules: Sequence[MasterRule],
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Replay a trace to all settings under all rules.

    Parameters
    ----------
    times
        The measured rounds, shape ``(n_rounds, n_workers)``; begun again when they are over.
    n_workers, n_jobs
        Of a run.
    groups
        The settings.
    rules
        None of them may wait for nobody, or poll, or have a timeout.
    executor
        Where; None: in this process if it is little, otherwise in processes.
    progress
        Told how many settings of how many are done.

    Returns
    -------
    settings
        A row for each setting under each rule, group by group and rule by rule: scheme (its label), kind, code,
        accepts, B, W, delay_rounds, s, lam, what other parameters there are, rule (its name), load, makespan_s,
        waited_rounds, waited_s, straggler_rate.

    Raises
    ------
    ValueError
        If somebody never answers in the trace.
    """
    import pandas as pd

    _in_order(times, n_workers)  # raises
    if not groups:
        raise ValueError("these schemes have no legal setting for this number of workers, jobs and rounds of delay")
    rules = tuple(sorted(rules, key=lambda rule: rule.waits_for == "all"))
    groups = [part for group in groups for part in _cut(group, n_workers, len(rules))]
    chunks = list(_chunks(groups, rules, n_workers, n_jobs))
    places = itertools.accumulate((len(chunk) for chunk in chunks), initial=0)
    tasks = (
        Portion(place, times, n_workers, n_jobs, chunk, rules) for place, chunk in zip(places, chunks, strict=False)
    )
    if executor is None:
        executor = Serial() if len(chunks) <= 2 else executor_of("processes")
    n_all, n_done = sum(len(group.values) for group in groups) * len(rules), 0
    found: dict[int, dict[str, FloatArray]] = {}
    if progress is not None:
        progress(0, n_all)
    for portion, result in executor.map_unordered(run_portion, lambda: next(tasks, None)):
        if isinstance(result, Lost):
            raise SimulationError(f"tune: {result.reason}")
        found |= dict(enumerate(result, start=portion.place))
        n_done += sum(len(group.values) for group in portion.groups) * len(rules)
        if progress is not None:
            progress(n_done, n_all)
    names = np.array([rule.name for rule in rules], dtype=object)
    columns = []
    for place, said in enumerate(described(groups, columns_of(groups))):
        n_settings = len(groups[place].values)
        said = {name: np.tile(values, len(rules)) for name, values in said.items()}
        columns.append(said | {"rule": np.repeat(names, n_settings)} | found[place])
    return pd.DataFrame({name: np.concatenate([one[name] for one in columns]) for name in columns[0]})


def _cut(group: Group, n_workers: int, n_rules: int) -> Iterator[Group]:
    """A group in parts whose sets of workers fit into a cache."""
    most = max(1, MOST_WORDS // (-(-n_workers // WORD) * n_rules))
    for first in range(0, len(group.values), most):
        yield group._replace(values=group.values[first : first + most])


def _chunks(
    groups: Sequence[Group], rules: Sequence[MasterRule], n_workers: int, n_jobs: int
) -> Iterator[tuple[Group, ...]]:
    """Groups for a task each: `TASK_S` or more, as each task makes tables of the trace anew."""
    n_looks = sum(1.0 if rule.waits_for == "all" else np.log2(n_workers + 1) for rule in rules)
    seconds = []
    for group in groups:
        per_round = CALLS_S * n_looks / len(rules) + WORD_S * len(group.values) * (n_workers / WORD) * n_looks
        seconds.append(per_round * (n_jobs + group.first.delay_rounds))
    task_s = max(TASK_S, sum(seconds) / MOST_TASKS)
    chunk: list[Group] = []
    chunk_s = 0.0
    for group, group_s in zip(groups, seconds, strict=True):
        chunk.append(group)
        chunk_s += group_s
        if chunk_s > task_s:
            yield tuple(chunk)
            chunk, chunk_s = [], 0.0
    if chunk:
        yield tuple(chunk)


def run_portion(portion: Portion) -> list[dict[str, FloatArray]]:
    """Replay to groups; columns for each."""
    measured = _in_order(portion.times, portion.n_workers)
    alike = [list(rules) for _, rules in itertools.groupby(portion.rules, key=lambda rule: rule.waits_for)]
    found = []
    for group in portion.groups:
        parts = [_columns(portion, group, rules, measured) for rules in alike]
        found.append({name: np.concatenate([part[name] for part in parts]) for name in COLUMNS})
    return found


def _in_order(times: WorkerTimes, n_workers: int) -> MeasuredRounds | None:
    """The measured rounds as a search has them; None: which worker is faster depends on the load."""
    try:
        return MeasuredRounds(times, n_workers)
    except NoOneOrderError:
        return None


def _columns(
    portion: Portion, group: Group, rules: Sequence[MasterRule], measured: MeasuredRounds | None
) -> dict[str, FloatArray]:
    settings = group.grid(portion.n_jobs, len(rules)) if measured is not None else None
    if settings is None or measured is None:
        return _one_by_one(portion, group, rules)
    return _sums(replay(settings, measured, rules)) | {"load": settings.n_slots * settings.top / settings.bottom}


def _sums(played: Played) -> dict[str, FloatArray]:
    """Columns of what was played, an entry for each setting."""
    return {
        "makespan_s": played.duration_s.sum(axis=0),
        "waited_rounds": np.count_nonzero(played.waited_s, axis=0),
        "waited_s": played.waited_s.sum(axis=0),
        "straggler_rate": played.stragglers.sum(axis=0) / played.n_given.sum(axis=0),
    }


def _one_by_one(portion: Portion, group: Group, rules: Sequence[MasterRule]) -> dict[str, FloatArray]:
    """As the engines run it: rules of a kind, and settings, side by side on arrays; or one after the other."""
    schemes = [group.scheme(value) for value in group.values]
    rounds = np.arange(portion.n_jobs + schemes[0].delay_rounds)[np.newaxis]
    has_arrays = _has_arrays(schemes[0])
    kinds = itertools.groupby(range(len(rules)), key=lambda at: rules[at].structure if has_arrays else at)
    found: dict[str, list[FloatArray]] = {name: [] for name in COLUMNS}
    for places in (list(places) for _, places in kinds):
        most = MOST_WORKERS // (portion.n_workers * len(places)) if has_arrays and schemes[0].varied else 0
        figures: Mapping[str, FloatArray | IntArray]
        parts = []
        for first in range(0, len(schemes), max(1, most)):
            some = schemes[first : first + max(1, most)]
            under = [rules[place] for place in places for _ in some]
            if has_arrays:
                figures = on_arrays(some * len(places), _drawn(portion.times, rounds), portion.n_jobs, under).figures()
            elif some[0].is_memoryless:
                figures = _each_round_once(some[0], portion.times, portion.n_jobs, under[0])
            else:
                figures = run_measured(some[0], portion.times, rounds, portion.n_jobs, under[0]).figures()
            parts.append({**figures, "load": np.array([scheme.load for scheme in some] * len(places))})
        for name in COLUMNS:
            by_rule = np.concatenate([part[name].reshape(len(places), -1) for part in parts], axis=1)
            found[name].append(by_rule.ravel())
    return {name: np.concatenate(of_rules) for name, of_rules in found.items()}


def _each_round_once(scheme: Scheme, times: WorkerTimes, n_jobs: int, rule: MasterRule) -> dict[str, FloatArray]:
    n_met = min(n_jobs, times.n_rounds)
    runs = run_measured(scheme, times, np.arange(n_met)[:, np.newaxis], 1, rule).rows(np.arange(n_jobs) % n_met)
    return _sums(Played(runs.duration_s, runs.waited_s, runs.stragglers, runs.n_given[:, np.newaxis]))


def run_measured(scheme: Scheme, times: WorkerTimes, rounds: IntArray, n_jobs: int, rule: MasterRule) -> Runs:
    """Run a scheme on measured rounds, on arrays if it has an array form, otherwise on events.

    Parameters
    ----------
    scheme, n_jobs, rule
        What is run.
    times
        The measured rounds.
    rounds
        Which of them each run meets, begun again when they are over, shape ``(n_runs, n_jobs + T)``.
    """
    if _has_arrays(scheme):
        return on_arrays([scheme] * len(rounds), _drawn(times, rounds), n_jobs, [rule] * len(rounds))
    shape = times.n_rounds, scheme.n_workers
    parts = [np.broadcast_to(part, shape) for part in (times.startup_s, times.seconds_per_load, times.slowdown)]
    return Runs.of([_on_events(scheme, parts, one % times.n_rounds, n_jobs, rule) for one in rounds])


def _has_arrays(scheme: Scheme) -> bool:
    return scheme.session_follows("batches") and bool(scheme.batches(1, [scheme]))


def _drawn(times: WorkerTimes, rounds: IntArray) -> DrawnTimes:
    return DrawnTimes(*(_of_rounds(part, rounds % times.n_rounds) for part in times))


def _of_rounds(part: FloatArray | float, rounds: IntArray) -> FloatArray:
    """A component of the worker times of some runs, shape ``(n_runs or 1, n_rounds or 1, n_workers or 1)``."""
    part = np.asarray(part, dtype=np.float64)
    return part[rounds] if part.ndim == 2 else part.reshape(1, 1, -1)


def on_arrays(schemes: Sequence[Scheme], times: DrawnTimes, n_jobs: int, rules: Sequence[MasterRule]) -> Runs:
    """Run schemes of one structure side by side, each a row; all or each on times, and under a rule, of its own."""
    n_runs = len(schemes)
    rows = Rows(
        source=np.arange(n_runs) if max(map(len, times)) > 1 else np.zeros(n_runs, dtype=np.int64),
        rule=type(rules[0]).side_by_side(rules),
        round_overhead_s=np.zeros(n_runs),
        gradient_bytes=np.zeros(n_runs),
    )
    return simulate_rows(schemes[0].batches(n_jobs, schemes), rows, Kept(times), n_jobs)


def _on_events(
    scheme: Scheme, parts: Sequence[FloatArray], rounds: IntArray, n_jobs: int, rule: MasterRule
) -> RunRecord:
    record = RunRecord(scheme.n_workers, n_jobs)
    startup_s, seconds_per_load, slowdown = parts

    def again(k: int) -> Iterator[RoundTimes]:
        """What was measured is a state of the worker: further lists meet the same times."""
        return (RoundTimes(startup_s[one], seconds_per_load[one], slowdown[one], None) for one in rounds.tolist())

    plan = RunPlan(
        scheme=scheme,
        n_jobs=n_jobs,
        times=again(0),
        again=again,
        speeds=None,
        rule=rule,
        leftover="cancel",
        round_overhead_s=0.0,
        network=Network(),
        rng=stream(0, ONCE, "scheme", scheme.label),
    )
    simulate(plan, record)
    return record
