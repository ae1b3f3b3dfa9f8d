"""Settings of a code that differ in one parameter run side by side, as each does alone."""

import pandas as pd
import pytest

import stragglersim

SHARED = {
    "workers": 6,
    "jobs": 8,
    "trials": 2,
    "seed": 2,
    "network": {"gradient_bytes": 8.0},
    "stragglers": {
        "usual": {
            "kind": "per_worker",
            "model": {
                "kind": "shifted_exponential",
                "shift": [1, 1, 2, 2, 3, 4],
                "mean": 1.0,
                "adds_to": "seconds_per_load",
            },
        },
        "bursts": {"kind": "gilbert_elliott", "p_slow": 0.1, "p_recover": 0.5, "slowdown": 4.0},
    },
}
SWEPT = [
    ({"kind": "heterogeneous_gradient_coding", "speeds": "auto", "s": 1}, {"s": [0, 1, 2, 5]}),
    ({"kind": "heterogeneous_gradient_coding", "speeds": "auto", "s": 1}, {"chunks": [3, 6, 13]}),
    ({"kind": "communication_efficient_gradient_coding", "m": 1, "s": 1}, {"m": [1, 2, 5]}),
    ({"kind": "communication_efficient_gradient_coding", "m": 1, "s": 1}, {"s": [0, 1, 5]}),
    ({"kind": "nested_gradient_coding", "s_max": 1}, {"s_max": [0, 1, 3, 5]}),
    ({"kind": "sparse_graph_gradient_coding", "d": 1}, {"d": [1, 2, 3], "shuffle": [False, True]}),
    (
        {"kind": "sparse_graph_gradient_coding", "d": 1, "assignment": "bernoulli"},
        {"decoding": ["one_step", "optimal"]},
    ),
]
RULES = [
    {"kind": "first_enough"},
    {"kind": "mu_rule", "mu": 0.5, "wait_for": "nobody"},
    {"kind": "mu_rule", "mu": 0.5, "wait_for": "enough"},
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("wait_for", rule["kind"]))
@pytest.mark.parametrize(("scheme", "swept"), SWEPT, ids=str)
def test_settings_run_side_by_side_as_alone(scheme, swept, rule):
    sweep = {f"schemes.it.{name}": values for name, values in swept.items()}
    scenario = stragglersim.Scenario(**SHARED, master=rule, schemes={"it": scheme}, sweep=sweep)
    arrays, events = (stragglersim.run(scenario, engine=engine) for engine in ("vectorised", "events"))
    for table in ("rounds", "jobs", "runs"):
        found, expected = (getattr(each, table).drop(columns="engine", errors="ignore") for each in (arrays, events))
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9)
