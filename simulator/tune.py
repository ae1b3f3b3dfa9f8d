"""Search for parameters: every legal setting, together with the master's rule, on one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemes import SCHEMES
from schemes.base import FloatArray
from simulator import vectorised
from simulator.executors import Executor, Lost, Serial, executor_of
from simulator.master import MasterRule, MuRule
from simulator.replay import Recorded, replay
from simulator.settings import Group
from simulator.vectorised import BatchTimes
from simulator.waiting import SimulationError
from straggler_models.base import WorkerTimes

if TYPE_CHECKING:
    import pandas as pd

TASK_S = 0.5  # that a task takes, roughly
CALLS_S = 200e-6  # of a round of a group, and then of each setting and word of workers
WORD_S = 0.2e-6

COLUMNS = ("load", "makespan_s", "waited_rounds", "waited_s", "straggler_rate")

Progress = Callable[[int, int], None]


class Task(NamedTuple):
    """Groups under rules, and what they are replayed."""

    times: WorkerTimes
    n_workers: int
    n_jobs: int
    work: tuple[tuple[int, Group, MasterRule], ...]


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
        A row for each setting under each rule, in the order given: scheme, kind, code, accepts, s, B, W, lam, rule (its
        name), delay_rounds, load, makespan_s, waited_rounds, waited_s, straggler_rate.

    Raises
    ------
    ValueError
        If the recording does not allow it, see `Recorded`.
    """
    import pandas as pd

    Recorded(times, n_workers)  # raises
    work = [(number, group, rule) for number, rule in enumerate(rules) for group in groups]
    chunks = list(_chunks(work, n_workers, n_jobs))
    tasks = iter([Task(times, n_workers, n_jobs, chunk) for chunk in chunks])
    if executor is None:
        executor = Serial() if len(chunks) <= 2 else executor_of("processes")
    n_all, n_done = sum(len(group.values) for _, group, _ in work), 0
    found: dict[tuple[int, Group], dict[str, Any]] = {}
    if progress is not None:
        progress(0, n_all)
    for task, result in executor.map_unordered(run_task, lambda: next(tasks, None)):
        if isinstance(result, Lost):
            raise SimulationError(f"tune: {result.reason}")
        for (number, group, _), figures in zip(task.work, result, strict=True):
            found[number, group] = figures
            n_done += len(group.values)
        if progress is not None:
            progress(n_done, n_all)
    columns = [_described(group, rule) | found[number, group] for number, group, rule in work]
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
    return f"mu {rule.mu:g}, {rule.wait_for}"


def _described(group: Group, rule: MasterRule) -> dict[str, Any]:
    """What the settings of a group are, as columns."""
    values = np.array(group.values)
    n_settings = len(values)
    s = -(-values * group.B // (group.W - 1 + group.B)) if group.kind == "selective_repeat" else values
    same: dict[str, str | int] = {
        "scheme": group.label,
        "kind": group.kind,
        "code": group.code if group.B else "",
        "accepts": group.accepts if group.B else "",
        "B": group.B,
        "W": group.W,
        "rule": rule_name(rule),
        "delay_rounds": group.delay_rounds,
    }
    return {
        **{name: _repeated(value, n_settings) for name, value in same.items()},
        "s": s if group.kind != "multiplexed" else np.zeros(n_settings, dtype=np.int64),
        "lam": values if group.B else np.zeros(n_settings, dtype=np.int64),
    }


def _repeated(value: str | int, times: int) -> NDArray[Any]:
    return np.full(times, value, dtype=object if isinstance(value, str) else np.int64)


def _chunks(
    work: Sequence[tuple[int, Group, MasterRule]], n_workers: int, n_jobs: int
) -> Iterator[tuple[tuple[int, Group, MasterRule], ...]]:
    """Work for about `TASK_S` each."""
    chunk: list[tuple[int, Group, MasterRule]] = []
    seconds = 0.0
    for number, group, rule in work:
        chunk.append((number, group, rule))
        n_looks = 1 if rule.waits_for == "all" else np.log2(n_workers + 1)
        per_round = CALLS_S + WORD_S * len(group.values) * (n_workers / 64) * n_looks
        seconds += per_round * (n_jobs + group.delay_rounds)
        if seconds > TASK_S:
            yield tuple(chunk)
            chunk, seconds = [], 0.0
    if chunk:
        yield tuple(chunk)


def run_task(task: Task) -> list[dict[str, FloatArray]]:
    """Replay to groups; columns for each."""
    recorded = Recorded(task.times, task.n_workers)
    return [_columns(task, group, rule, recorded) for _, group, rule in task.work]


def _columns(task: Task, group: Group, rule: MasterRule, recorded: Recorded) -> dict[str, FloatArray]:
    if not group.has_equal_lists:
        return _on_arrays(task, group, rule)
    grid = group.grid(task.n_workers, task.n_jobs)
    played = replay(grid, recorded, rule)
    return {
        "load": grid.load,
        "makespan_s": played.duration_s.sum(axis=0),
        "waited_rounds": np.count_nonzero(played.waited_s, axis=0),
        "waited_s": played.waited_s.sum(axis=0),
        "straggler_rate": played.stragglers.sum(axis=0) / played.n_given.sum(axis=0),
    }


def _on_arrays(task: Task, group: Group, rule: MasterRule) -> dict[str, FloatArray]:
    """As the vectorised engine runs it, one setting after the other: workers have unequal lists."""
    records = []
    for value in group.values:
        fields = group.scheme(value)
        scheme = SCHEMES[fields.pop("kind")](n_workers=task.n_workers, **fields)  # type: ignore[call-arg]  # each kind has it
        n_rounds = task.n_jobs + scheme.delay_rounds
        indices = np.arange(n_rounds) % task.times.n_rounds
        shape = (task.times.n_rounds, task.n_workers)
        parts = (task.times.startup_s, task.times.seconds_per_load, task.times.slowdown)
        block = BatchTimes(*(np.broadcast_to(part, shape)[np.newaxis, indices] for part in parts))
        [record] = vectorised.simulate(
            scheme.batch(task.n_jobs, 1),
            n_workers=task.n_workers,
            n_jobs=task.n_jobs,
            n_rounds=n_rounds,
            times=iter([block]),
            rule=rule,
            round_overhead_s=0.0,
            gradient_bytes=0.0,
        )
        records.append({"load": scheme.load} | record.figures(None))
    return {name: np.array([record[name] for record in records]) for name in COLUMNS}
