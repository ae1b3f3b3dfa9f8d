"""Checks that a scenario asks for nothing out of all proportion, before anything large is allocated or begun."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from schemes.base.scheme import Scheme
from simulator.engine.master_rules import MasterRule
from simulator.engine.worker_times import round_times
from simulator.errors import Path_, Problem
from simulator.plugins.fields import fields_of
from simulator.scenario.limits import (
    LEAST_POLL,
    MOST_CODED,
    MOST_COUNT,
    MOST_NUMBERS,
    MOST_PIECES,
    MOST_ROUNDS,
    MOST_RUNS,
    MOST_SECONDS,
    MOST_STEPS,
    MOST_TASKS,
)
from straggler_models.base import StragglerModel

if TYPE_CHECKING:
    from simulator.engine.training import Training


def of_runs(schemes: Mapping[str, Scheme], workers: int, jobs: int, trials: int) -> Iterator[Problem]:
    """How many runs there are, their rounds, and the tasks of a job."""
    if jobs > MOST_ROUNDS:
        yield Problem(("jobs",), f"must be at most {MOST_ROUNDS}, the rounds of one run, got {_count(jobs)}")
        return
    if trials * len(schemes) > MOST_RUNS:
        yield Problem(
            ("trials",), f"must leave at most {MOST_RUNS} runs, got {_count(trials)} of {len(schemes)} schemes"
        )
    if workers * jobs > MOST_STEPS:
        yield Problem(("jobs",), f"must leave at most {MOST_STEPS} worker times of a run, got {_count(workers * jobs)}")
    for label, scheme in schemes.items():
        if jobs + scheme.delay_rounds > MOST_ROUNDS:
            got = f"{_count(jobs)} jobs and T = {_count(scheme.delay_rounds)}"
            yield Problem(_largest(scheme, label), f"must leave at most {MOST_ROUNDS} rounds of one run, got {got}")
        if scheme.n_tasks > MOST_TASKS:
            message = f"must leave at most {MOST_TASKS} tasks of one job over all workers, got {_count(scheme.n_tasks)}"
            yield Problem(_largest(scheme, label), message)


def _count(value: int) -> str:
    return str(value) if value < 10**18 else f"about 10^{int(value.bit_length() * math.log10(2))}"


def _largest(scheme: Scheme, label: str) -> Path_:
    """The key of the largest count among a scheme's parameters and its workers."""
    counts = {name: getattr(scheme, name) for name in fields_of(type(scheme)) if name != "seed"}
    name = max((name for name, value in counts.items() if type(value) is int), key=counts.__getitem__, default="")
    return ("workers",) if name == "n_workers" else ("schemes", label, name) if name else ("schemes", label)


def of_numbers(part: object, path: Path_) -> Iterator[Problem]:
    """Finite numbers of which sums and squares would not be, and counts that arrays can't hold, anywhere in a part."""
    if type(part) is int and abs(part) > MOST_COUNT and len(path) > 1 and path[-1] != "seed":
        yield Problem(path, f"must be at most {MOST_COUNT}, got {_count(part)}")
    if isinstance(part, float):
        if MOST_SECONDS < abs(part) < np.inf:
            where = ("schemes", path[1], "master", *path[2:]) if path[0] == "masters" else path
            yield Problem(where, f"must be at most {MOST_SECONDS:g}, got {part:g}")
        return
    inner = part if isinstance(part, dict) else dict(enumerate(part)) if isinstance(part, list | tuple) else {}
    for key, value in (inner or {name: getattr(part, name) for name in fields_of(type(part))}).items():
        yield from of_numbers(value, (*path, key))


def of_training(training: "Training | None", workers: int, models: int) -> Iterator[Problem]:
    """How many numbers training keeps."""
    if training is None:
        return
    n_parameters = training.workload.n_parameters or 0
    if models * (n_parameters + training.workload.n_rows) > MOST_NUMBERS:
        got = f"{_count(models)} models of {n_parameters} and {training.workload.n_rows} rows"
        yield Problem(("models",), f"must leave at most {MOST_NUMBERS} parameters and rows in all, got {got}")
    if workers * n_parameters > MOST_NUMBERS:
        got = f"{workers} chunks of {n_parameters}"
        yield Problem(("workers",), f"must leave at most {MOST_NUMBERS} numbers in the gradients of a job, got {got}")
    if workers > MOST_CODED:
        yield Problem(("workers",), f"must be at most {MOST_CODED} where gradients are computed, got {workers}")


def of_polls(
    polls: Mapping[Path_, MasterRule],
    loads: Sequence[tuple[Path_, float]],
    stragglers: Mapping[str, StragglerModel],
    workers: int,
    seed: int,
) -> Iterator[Problem]:
    """Instants that a master can tell from each other; ``polls``: by place, the rules that poll."""
    for place, rule in polls.items():
        poll_s, median_s = rule.poll_s or 0.0, _median_s(stragglers, workers, seed, dict(loads)[place])
        if poll_s < LEAST_POLL * median_s:
            got = f"{poll_s:g} where that takes {median_s:g} s"
            message = f"must be at least {LEAST_POLL:g} of the median worker time of the first round, got {got}"
            yield Problem((*place, "poll_s"), message)
        for name in ("timeout_s", "time_s"):
            instant_s = getattr(rule, name, None)
            if instant_s is not None and instant_s * LEAST_POLL**2 > poll_s:
                yield Problem((*place, name), f"must be at most {1 / LEAST_POLL**2:g} times poll_s, got {instant_s:g}")


def of_pieces(stragglers: Mapping[str, StragglerModel], workers: int, seed: int, load: float) -> Iterator[Problem]:
    """Speeds that change too often in a round."""
    for label, model in stragglers.items():
        if model.lives_in in ("seconds", "absences"):
            median_s = _median_s(stragglers, workers, seed, load)
            most = f"at most {MOST_PIECES} times in the {median_s:g} s that its median takes"
            problem = Problem(("stragglers", label), f"must change the speed of a worker {most}, got more")
            if model.changes_per_s * median_s > MOST_PIECES:
                yield problem
                continue
            if model.lives_in == "absences" or model.others(workers, np.random.default_rng(0)) is not None:
                continue
            got_s, n_pieces = np.zeros(workers), 0
            for speeds in model.slowdowns(workers, np.random.default_rng(0)):
                if not ((speeds.duration_s >= 0).all() and speeds.duration_s.any()):
                    break  # the run says what is wrong with them
                got_s, n_pieces = got_s + speeds.duration_s.sum(axis=0), n_pieces + len(speeds.duration_s)
                if np.median(got_s) >= median_s:
                    break
                if n_pieces > MOST_PIECES:
                    yield problem
                    break


def _median_s(stragglers: Mapping[str, StragglerModel], workers: int, seed: int, load: float) -> float:
    """Median worker time of the first round of trial 0, of those who answer; 0 if it is not to be had."""
    try:
        times = next(iter(round_times(stragglers, workers, seed, trial=0, n_rounds=1)))
        seconds = times.work_s(np.full((workers, 1), load))
    except Exception:  # of a plug-in, or times that are refused: said where they are used
        return 0.0
    finite = seconds[np.isfinite(seconds)]
    return float(np.median(finite)) if len(finite) else 0.0
