"""A remark on stragglers to whom load costs nothing, where schemes differ in load."""

import numpy as np

from simulator.scenario.scenario import Scenario
from straggler_models import StragglerModel


def free_load(scenario: Scenario) -> list[str]:
    """Return a line if more load takes no longer, at any point, and schemes that are waited for differ in it."""
    known: dict[int, bool] = {}  # points share models
    loads: set[float] = set()
    for _, at_point in scenario.all_points():
        for model in at_point.stragglers.values():
            if known.setdefault(id(model), _has_cost(model, at_point.workers)):
                return []
        waiting = (label for label in at_point.schemes if at_point.rule_for(label).waits_for != "nobody")
        loads |= {at_point.schemes[label].load for label in waiting}
    if len(loads) < 2:
        return []
    return [
        f"Load costs nothing here: no straggler model has seconds_per_load, so loads from {min(loads):.3g} to "
        f"{max(loads):.3g} take equally long, and the more redundant scheme always looks good (set seconds_per_load)."
    ]


def _has_cost(model: StragglerModel, n_workers: int) -> bool:
    """True if what it says of the first rounds makes load take time."""
    if model.lives_in != "rounds":
        return model.lives_in in ("loads", "tasks")
    try:
        times = next(model.rounds(n_workers, np.random.default_rng(0)))
        return bool(np.any(times.seconds_per_load))
    except Exception:  # a plug-in's mistake, which the run reports
        return True
