"""Means that no number of trials finds: times with heavy tails under a master that waits for the last."""

from __future__ import annotations

import math

import numpy as np

from schemes import Closing, Ideal, Scheme
from simulator.engine.drawn_once import settled
from simulator.engine.master_rules import MasterRule
from simulator.parameters import IntArray
from simulator.scenario.scenario import Scenario

MOST_TAKEN = 20_000  # responses that are played for a scheme
MOST_JUDGED = 100  # schemes with their rules: a sweep may have very many
MOST_ROUNDS = 32  # in which they come


def heavy_tails(scenario: Scenario) -> list[str]:
    """Return a line for each model and moment that is infinite, with the schemes whose makespans inherit it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    known: dict[tuple[int, int, int], float] = {}  # points share schemes and rules
    for _, at_point in scenario.all_points():
        for name, model in settled(at_point.stragglers, at_point.workers, at_point.seed).items():
            if model.tail_index > 2:
                continue
            for label, scheme in at_point.schemes.items():
                most = math.ceil(min(2 / model.tail_index, at_point.workers))  # with so many more, all is well
                rule = at_point.rule_for(label)
                key = id(scheme), id(rule), most
                if key not in known and len(known) < MOST_JUDGED:
                    known[key] = _spared(at_point.scheme_to_run(label), rule, most)
                order = (1 + known.get(key, math.inf)) * model.tail_index
                if order <= 2:
                    moment = "mean" if order <= 1 else "variance"
                    under = found.setdefault((name, type(model).__name__, moment), [])
                    under += [] if label in under else [label]
    why = {
        "mean": "an infinite mean, which no number of trials can estimate",
        "variance": "an infinite variance, so the intervals of mean makespans are too narrow with any number of trials",
    }
    return [
        f"stragglers.{name}: {kind} has so heavy a tail that makespans of {', '.join(under)} have {why[moment]} "
        "(set timeout_s, which bounds them; documentation: Explanation, What the numbers mean)"
        for (name, kind, moment), under in found.items()
    ]


def _spared(scheme: Scheme, rule: MasterRule, enough: int) -> float:
    """Return how many workers the master can do without, also if they miss every round; all is well: infinity.

    Neighbours are tried, who in most codes stand for each other.
    """
    n_workers = scheme.n_workers
    if not rule.may_wait_for_ever or isinstance(scheme, Ideal):
        return math.inf
    if rule.waits_for != "enough":
        return 0 if rule.waits_for == "all" else n_workers - rule.reference_rank(n_workers)
    step = -(-n_workers * n_workers * enough * min(MOST_ROUNDS, scheme.delay_rounds + 2) // MOST_TAKEN)
    for n_missing in range(1, enough + 1):
        groups = ((first + np.arange(n_missing)) % n_workers for first in range(0, n_workers, step))
        if any(_waits_for(scheme, group) for group in groups):
            return n_missing - 1
    return math.inf


def _waits_for(scheme: Scheme, workers: IntArray) -> bool:
    """True if the master waits in some round for workers who miss every round."""
    n_rounds = min(MOST_ROUNDS, scheme.delay_rounds + 2)
    n_jobs = n_rounds + getattr(scheme, "probe", 0)
    session = scheme.start(n_jobs, np.random.default_rng(0))
    is_missing = np.zeros(scheme.n_workers, dtype=np.bool_)
    is_missing[workers] = True
    for index in range(n_rounds):
        work = session.open_round(index)
        for worker, report in np.argwhere(work.reporting & ~is_missing[:, None]).tolist():
            session.receive(worker, report)
        if not session.enough():
            return True
        session.close_round(Closing(is_missing & work.busy, forced=False))
    return False
