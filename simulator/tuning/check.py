"""The best settings of a search run again on events, which must give the same numbers."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from simulator.execution.sweep import run
from simulator.scenario.loading import load
from simulator.scenario.yaml_text import write_yaml
from simulator.tuning.best import best_settings
from simulator.tuning.scenarios import scenario_with
from simulator.tuning.search import Search
from simulator.tuning.trace import AdjustedTrace

N_CHECKED = 6  # settings that are run again besides the best


def largest_difference(settings: pd.DataFrame, trace: AdjustedTrace, search: Search) -> float:
    """Run the best settings and some others again on events; return the largest relative difference of a makespan.

    Raises
    ------
    AssertionError
        If a number of waits differs: a fault of ours.
    """
    places = np.random.default_rng(0).choice(len(settings), min(N_CHECKED, len(settings)), replace=False)
    sample = pd.concat([best_settings(settings), settings.iloc[np.sort(places)]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.yaml"
        trace.write_into(Path(folder))
        write_yaml(scenario_with("sample", sample, trace, search, Path(folder)), path)
        runs = run(load(path), engine="events", detail="runs").runs
    assert runs["waited_rounds"].tolist() == sample["waited_rounds"].tolist(), "as often as on events"
    return float(np.max(np.abs(runs["makespan_s"].to_numpy() / sample["makespan_s"].to_numpy() - 1)))
