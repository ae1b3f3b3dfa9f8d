"""Search for parameters: every legal setting, together with the master's rule, on one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemes import SCHEMES, Scheme
from schemes.base.bits import WORD
from schemes.base.scheme import FloatArray, IntArray
from simulator.engine import vectorised
from simulator.engine.master_rules import MasterRule, MuRule
from simulator.engine.record import RunRecord
from simulator.engine.replay import Recorded, replay
from simulator.engine.vectorised import BatchTimes
from simulator.errors import SimulationError
from simulator.execution.executors import Executor, Lost, Serial, executor_of
from simulator.tuning.legal_settings import Group
from straggler_models.base import WorkerTimes

if TYPE_CHECKING:
    import pandas as pd


TASK_S = 0.5  # that a task takes at least, roughly
MOST_TASKS = 32
CALLS_S = 100e-6  # of a round of a group, and then of each setting and word of workers
WORD_S = 0.1e-6
MOST_WORDS = 1 << 16  # of the sets of a grid
COLUMNS = ("load", "makespan_s", "waited_rounds", "waited_s", "straggler_rate")
Progress = Callable[[int, int], None]


class Task(NamedTuple):
    """Groups under rules, and what they are replayed."""

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
    """Replay a recording to all settings under all rules.

    Parameters
    ----------
    times
        The recorded rounds, shape ``(n_rounds, n_workers)``; begun again when they are over.
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
        A row for each setting under each rule, group by group and rule by rule: scheme, kind, code, accepts, s, B, W,
        lam, rule (its name), delay_rounds, load, makespan_s, waited_rounds, waited_s, straggler_rate.

    Raises
    ------
    ValueError
        If the recording does not allow it, see `Recorded`.
    """
    import pandas as pd

    Recorded(times, n_workers)  # raises
    if not groups:
        raise ValueError("there is no legal setting of these schemes for so many workers, jobs and rounds of delay")
    rules = _by_what_they_wait_for(rules)
    groups = [part for group in groups for part in _cut(group, n_workers, len(rules))]
    chunks = list(_chunks(groups, rules, n_workers, n_jobs))
    tasks = iter([Task(times, n_workers, n_jobs, chunk, rules) for chunk in chunks])
    if executor is None:
        executor = Serial() if len(chunks) <= 2 else executor_of("processes")
    n_all, n_done = sum(len(group.values) for group in groups) * len(rules), 0
    found: dict[Group, dict[str, Any]] = {}
    if progress is not None:
        progress(0, n_all)
    for task, result in executor.map_unordered(run_task, lambda: next(tasks, None)):
        if isinstance(result, Lost):
            raise SimulationError(f"tune: {result.reason}")
        for group, figures in zip(task.groups, result, strict=True):
            found[group] = figures
            n_done += len(group.values) * len(rules)
        if progress is not None:
            progress(n_done, n_all)
    columns = [_described(group, rules) | found[group] for group in groups]
    return pd.DataFrame({name: np.concatenate([one[name] for one in columns]) for name in columns[0]})


def rule_name(rule: MasterRule) -> str:
    """What a table calls a rule.

    Examples
    --------
    >>> rule_name(MuRule(mu=0.5, wait_for="enough"))
    'mu 0.5, enough'
    """
    if not isinstance(rule, MuRule):
        return "first_enough"
    mu = f"{rule.mu:g}"
    return f"mu {mu if float(mu) == rule.mu else repr(rule.mu)}, {rule.wait_for}"


def _by_what_they_wait_for(rules: Sequence[MasterRule]) -> tuple[MasterRule, ...]:
    return tuple(sorted(rules, key=lambda rule: rule.waits_for == "all"))


def _cut(group: Group, n_workers: int, n_rules: int) -> Iterator[Group]:
    """A group in parts whose sets of workers fit into a cache."""
    most = max(1, MOST_WORDS // (-(-n_workers // WORD) * n_rules))
    for first in range(0, len(group.values), most):
        yield group._replace(values=group.values[first : first + most])


def _described(group: Group, rules: Sequence[MasterRule]) -> dict[str, Any]:
    """What the settings of a group are, as columns."""
    values = np.tile(group.values, len(rules))
    s = -(-values * group.B // (group.W - 1 + group.B)) if group.kind == "selective_repeat" else values
    same: dict[str, str | int] = {
        "scheme": group.label,
        "kind": group.kind,
        "code": group.code if group.B else "",
        "accepts": group.accepts if group.B else "",
        "B": group.B,
        "W": group.W,
        "delay_rounds": group.delay_rounds,
    }
    return {
        **{name: _repeated(value, len(values)) for name, value in same.items()},
        "s": s if group.kind != "multiplexed" else np.zeros_like(values),
        "lam": values if group.B else np.zeros_like(values),
        "rule": np.repeat(np.array([rule_name(rule) for rule in rules], dtype=object), len(group.values)),
    }


def _repeated(value: str | int, times: int) -> NDArray[Any]:
    return np.full(times, value, dtype=object if isinstance(value, str) else np.int64)


def _chunks(
    groups: Sequence[Group], rules: Sequence[MasterRule], n_workers: int, n_jobs: int
) -> Iterator[tuple[Group, ...]]:
    """Groups for a task each: `TASK_S` or more, as each task makes tables of the recording anew."""
    n_looks = sum(1.0 if rule.waits_for == "all" else np.log2(n_workers + 1) for rule in rules)
    seconds = []
    for group in groups:
        per_round = CALLS_S * n_looks / len(rules) + WORD_S * len(group.values) * (n_workers / WORD) * n_looks
        seconds.append(per_round * (n_jobs + group.delay_rounds))
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


def run_task(task: Task) -> list[dict[str, FloatArray]]:
    """Replay to groups; columns for each."""
    recorded = Recorded(task.times, task.n_workers)
    found = []
    for group in task.groups:
        parts = []
        for waits_for in dict.fromkeys(rule.waits_for for rule in task.rules):
            parts.append(_columns(task, group, [rule for rule in task.rules if rule.waits_for == waits_for], recorded))
        found.append({name: np.concatenate([part[name] for part in parts]) for name in COLUMNS})
    return found


def _columns(task: Task, group: Group, rules: Sequence[MasterRule], recorded: Recorded) -> dict[str, FloatArray]:
    if not group.has_equal_lists:
        return _on_arrays(task, group, rules)
    grid = group._replace(values=group.values * len(rules)).grid(task.n_workers, task.n_jobs)
    played = replay(grid, recorded, rules)
    return {
        "load": grid.load,
        "makespan_s": played.duration_s.sum(axis=0),
        "waited_rounds": np.count_nonzero(played.waited_s, axis=0),
        "waited_s": played.waited_s.sum(axis=0),
        "straggler_rate": played.stragglers.sum(axis=0) / played.n_given.sum(axis=0),
    }


def _on_arrays(task: Task, group: Group, rules: Sequence[MasterRule]) -> dict[str, FloatArray]:
    """As the vectorised engine runs it, one setting after the other: workers have unequal lists."""
    rows = []
    for rule in rules:
        for value in group.values:
            scheme = scheme_of(group.scheme(value), task.n_workers)
            rounds = np.arange(task.n_jobs + scheme.delay_rounds)[np.newaxis]
            [record] = run_on_arrays(scheme, task.times, rounds, task.n_jobs, rule)
            rows.append(dict(record.figures(None), load=scheme.load))
    return {name: np.array([row[name] for row in rows]) for name in COLUMNS}


def scheme_of(fields: Mapping[str, Any], n_workers: int) -> Scheme:
    """A scheme as a scenario says it."""
    parameters = dict(fields)
    return SCHEMES[parameters.pop("kind")](n_workers=n_workers, **parameters)  # type: ignore[call-arg]  # each has it


def run_on_arrays(
    scheme: Scheme, times: WorkerTimes, rounds: IntArray, n_jobs: int, rule: MasterRule
) -> list[RunRecord]:
    """Runs of the vectorised engine on recorded rounds.

    Parameters
    ----------
    scheme, n_jobs, rule
        What is run.
    times
        The recorded rounds.
    rounds
        Which of them each run meets, begun again when they are over, shape ``(n_runs, n_jobs + T)``.
    """
    shape = times.n_rounds, scheme.n_workers
    parts = [np.broadcast_to(part, shape) for part in (times.startup_s, times.seconds_per_load, times.slowdown)]
    return vectorised.simulate(
        scheme.batch(n_jobs, len(rounds)),
        n_workers=scheme.n_workers,
        n_jobs=n_jobs,
        n_rounds=rounds.shape[1],
        times=(BatchTimes(*(part[one][:, np.newaxis] for part in parts)) for one in (rounds % times.n_rounds).T),
        rule=rule,
        round_overhead_s=0.0,
        gradient_bytes=0.0,
    )
