"""A stranger's plug-in for backup tasks: short, true to the contract, and the same numbers as the shipped scheme."""

import inspect

import numpy as np
import pandas as pd
import pytest
import their_backup
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes.testing import check_scheme
from stragglersim import Scenario

NOISE = {"kind": "shifted_exponential", "shift": 0.3, "mean": 1.0, "adds_to": "startup_s"}
STATE = {"kind": "gilbert_elliott", "p_slow": 0.2, "p_recover": 0.5, "slowdown": 8.0}
RULES = [{"kind": "first_enough"}, {"kind": "mu_rule", "mu": 0.4, "wait_for": "enough"}, {"kind": "mu_rule", "mu": 2.0}]
RULES += [{"kind": "fixed_time", "time_s": 1.5}]
TRAINING = {"workload": {"kind": "least_squares", "rows": 40, "dimension": 3}, "learning_rate": 0.1}


def test_it_is_written_in_sixty_lines():
    assert len(inspect.getsource(their_backup).splitlines()) <= 60


@pytest.mark.parametrize(("n_workers", "share"), [(1, 0.5), (4, 0.5), (6, 0.7), (5, 0.0), (5, 1.0)])
def test_it_keeps_the_contract(n_workers, share):
    check_scheme(their_backup.Backup(n_workers=n_workers, share=share))


def both(share, **about):
    """Runs of both, the results that are not about names."""
    shipped = {"kind": "backup_tasks", "policy": {"after": "share", "share": share}}
    found = []
    for scheme in (shipped, {"kind": "their_backup:Backup", "share": share}):
        results = stragglersim.run(Scenario(schemes={"it": scheme}, **about))
        found.append((results.runs.drop(columns=["kind"]), results.rounds, results.jobs, results.training))
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_its_runs_are_those_of_the_shipped_scheme(seed):
    rng = np.random.default_rng(seed)
    n_workers = int(rng.integers(1, 12))
    models = [{"noise": NOISE}, {"work": {"kind": "constant", "seconds_per_load": 4.0}, "state": STATE}]
    shipped, theirs = both(
        float(rng.choice([0.25, 0.5, 0.75, 0.9, 1.0])),
        workers=n_workers,
        jobs=int(rng.integers(1, 9)),
        seed=int(rng.integers(1000)),
        trials=2,
        stragglers=[*models, models[0] | models[1]][rng.integers(3)],
        master=RULES[rng.integers(len(RULES))],
        leftover=str(rng.choice(["cancel", "finish"])),
        round_overhead_s=float(rng.choice([0.0, 0.2])),
        action_overhead_s=float(rng.choice([0.0, 0.3])),
    )
    for one, other in zip(shipped[:3], theirs[:3], strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_it_copies_and_learns_as_the_shipped_scheme_does():
    about = {"workers": 6, "jobs": 30, "stragglers": {"noise": NOISE, "state": STATE}, "training": TRAINING}
    shipped, theirs = both(0.5, **about)
    assert (shipped[1]["phases"] > 1).any()
    np.testing.assert_allclose(theirs[3]["loss"], shipped[3]["loss"], rtol=1e-9)
