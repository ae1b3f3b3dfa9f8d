"""Uncoded rounds before a scheme begins: `probe` in a scenario."""

import numpy as np
import pandas as pd
import pytest

import stragglersim
from schemes import GradientCoding, Multiplexed, SelectiveRepeat, Uncoded
from schemes.testing import check_scheme
from simulator.engine.master_rules import MuRule
from simulator.engine.probing import Probing
from straggler_models import Constant, Trace
from stragglersim import Scenario, ScenarioError

SCHEMES = [
    GradientCoding(6, s=2),
    SelectiveRepeat(6, B=2, W=3, lam=3),
    Multiplexed(6, B=1, W=2, lam=2),
    Multiplexed(6, B=2, W=3, lam=6, accepts="recoverable"),
]


def trace(folder, name, startup_s):
    rounds, workers = np.divmod(np.arange(startup_s.size), startup_s.shape[1])
    frame = pd.DataFrame({"round": rounds, "worker": workers, "startup_s": startup_s.ravel()})
    frame["seconds_per_load"] = 3.0
    frame.to_csv(folder / name, index=False)
    return {"it": Trace(path=str(folder / name))}


def test_rounds_by_hand():
    usual = {"usual": Constant(startup_s=1.0, seconds_per_load=4.0)}
    given = {"workers": 4, "jobs": 5, "probe": 2, "stragglers": usual}
    results = stragglersim.run(Scenario(**given, schemes={"GC": GradientCoding(4, s=1)}))
    assert results.rounds["duration_s"].tolist() == [2.0, 2.0, 3.0, 3.0, 3.0]
    assert results.runs["load"].tolist() == [0.5]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_both_parts_are_runs_of_their_own(scheme, engine, tmp_path):
    n_jobs, probe = 9, 4
    startup_s = np.random.default_rng(8).lognormal(0, 0.7, (n_jobs + scheme.delay_rounds, 6))
    whole = trace(tmp_path, "whole.csv", startup_s)
    later = trace(tmp_path, "later.csv", startup_s[probe:])
    given = {"workers": 6, "master": MuRule(mu=0.5, wait_for="enough"), "round_overhead_s": 0.5}
    probed = stragglersim.run(
        Scenario(**given, jobs=n_jobs, probe=probe, stragglers=whole, schemes={"it": scheme}), engine=engine
    )
    first = stragglersim.run(Scenario(**given, jobs=probe, stragglers=whole, schemes={"it": Uncoded(6)}), engine=engine)
    second = stragglersim.run(
        Scenario(**given, jobs=n_jobs - probe, stragglers=later, schemes={"it": scheme}), engine=engine
    )
    for name in ("duration_s", "waited_s", "stragglers"):
        np.testing.assert_array_equal(probed.rounds[name], pd.concat([first.rounds[name], second.rounds[name]]))
    assert probed.jobs["job"].tolist() == list(range(n_jobs))
    assert probed.jobs["status"].tolist() == [*first.jobs["status"], *second.jobs["status"]]
    np.testing.assert_allclose(
        probed.jobs["latency_s"], pd.concat([first.jobs["latency_s"], second.jobs["latency_s"]]), rtol=1e-12
    )


@pytest.mark.parametrize("scheme", SCHEMES[:2], ids=str)  # with the chunks of uncoded work
def test_it_is_a_scheme(scheme):
    check_scheme(Probing(6, scheme, probe=5))


def test_a_job_must_be_left():
    usual = {"usual": Constant(startup_s=1.0)}
    with pytest.raises(ScenarioError, match="probe: must be less than jobs = 3, got 3"):
        Scenario(workers=2, jobs=3, probe=3, stragglers=usual, schemes={"it": Uncoded(2)})
