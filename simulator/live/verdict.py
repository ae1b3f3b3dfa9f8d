"""Is the simulator true? Measured times of schemes against their replay and their prediction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulator.live.calibration import Calibration
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

FEWEST_TRIALS = 100  # behind a range of predictions


@dataclasses.dataclass(frozen=True)
class Row:
    """One scheme: a row of live.csv."""

    scheme: str
    live_s: float
    replay_s: float
    replay_equal: bool
    predicted_s: float
    predicted_low_s: float
    predicted_high_s: float

    @property
    def difference(self) -> float:
        """Of the prediction from what was measured, relative."""
        return self.predicted_s / self.live_s - 1


def predictions(
    scenario: Scenario, calibration: Calibration, *, is_injected: bool
) -> Mapping[str, tuple[float, float, float]]:
    """Simulate what the models and the calibration say: seconds and the 95 % range over trials, by scheme.

    With injected times, the seconds are those of trial 0, whose times they are; otherwise the mean over trials. The
    range is of trials that meet other times and pay other costs: each those of one of the calibration's rounds.
    """
    from simulator.execution.sweep import run

    runs = run(calibration.of(scenario, max(scenario.trials, FEWEST_TRIALS))).runs
    dearer_s = np.array(calibration.cost_of_rounds_s) - calibration.latency_s - calibration.round_overhead_s
    found = {}
    for label, of_scheme in runs.groupby("scheme", sort=False):
        makespans, trials = of_scheme["makespan_s"].to_numpy(), of_scheme["trial"].to_numpy()
        centre = makespans[trials == 0][0] if is_injected else makespans.mean()
        n_rounds = scenario.jobs + scenario.schemes[str(label)].delay_rounds
        low, high = np.quantile(makespans + n_rounds * dearer_s[trials % len(dearer_s)], [0.025, 0.975])
        found[str(label)] = float(centre), float(low), float(high)
    return found


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as live.csv has them."""
    import pandas as pd

    return pd.DataFrame([dataclasses.asdict(row) | {"difference": row.difference} for row in rows])


def sentence(rows: Sequence[Row]) -> str:
    """The verdict.

    Examples
    --------
    >>> rows = [Row("GC", 10.0, 10.0, True, 10.1, 9.0, 11.0), Row("uncoded", 20.0, 20.0, True, 19.0, 18.0, 19.5)]
    >>> for part in sentence(rows).split("; "):
    ...     print(part)
    The replay is equal for all 2 schemes
    predictions are off by 3.0 % on average and 5.0 % at most (uncoded)
    1 of 2 runs are within their predicted range.
    """
    unequal = [row.scheme for row in rows if not row.replay_equal]
    worst = max(rows, key=lambda row: abs(row.difference))
    mean = np.mean([abs(row.difference) for row in rows])
    n_inside = sum(row.predicted_low_s <= row.live_s <= row.predicted_high_s for row in rows)
    equal = f"is not equal for {', '.join(unequal)}" if unequal else f"is equal for all {len(rows)} schemes"
    return (
        f"The replay {equal}; predictions are off by {100 * mean:.1f} % on average and "
        f"{100 * abs(worst.difference):.1f} % at most ({worst.scheme}); {n_inside} of {len(rows)} runs are within "
        "their predicted range."
    )
