"""A scenario as the plain values that its YAML would hold."""

import dataclasses
from typing import Any

from simulator.engine.network import Network
from simulator.plugins.kinds import MODEL_TABLE, RULE_TABLE, SCHEME_TABLE, WORKLOAD_TABLE, as_values
from simulator.scenario.scenario import Scenario


def plain(scenario: Scenario) -> dict[str, Any]:
    """Describe the resolved scenario by plain values, with every default, as YAML would hold them."""
    values: dict[str, Any] = {
        field.name: getattr(scenario, field.name)
        for field in dataclasses.fields(scenario)
        if field.name not in ("network", "training", "stragglers", "master", "schemes", "masters", "sweep", "points")
    }
    if scenario.models is None:
        del values["models"]
    if scenario.network != Network():
        values["network"] = {key: value for key, value in vars(scenario.network).items() if value is not None}
    if scenario.training is not None:
        given = {key: value for key, value in vars(scenario.training).items() if value is not None}
        values["training"] = given | {"workload": as_values(scenario.training.workload, WORKLOAD_TABLE)}
    values["stragglers"] = {label: as_values(model, MODEL_TABLE) for label, model in scenario.stragglers.items()}
    values["master"] = as_values(scenario.master, RULE_TABLE)
    values["schemes"] = {label: as_values(scheme, SCHEME_TABLE) for label, scheme in scenario.schemes.items()}
    for label, rule in scenario.masters.items():
        values["schemes"][label]["master"] = as_values(rule, RULE_TABLE)
    return values | ({"sweep": scenario.sweep} if scenario.sweep else {})
