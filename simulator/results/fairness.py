"""Fairness of a comparison, in a line."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from simulator.scenario.dotted_keys import swept_together

if TYPE_CHECKING:
    from simulator.results.results import Results


def fairness(results: Results) -> str:
    """Say in one line what makes the comparison fair or not: rule, leftover, T limit, trials, engine."""
    scenario, runs = results.scenario, results.runs
    swept = scenario.get("sweep", {})
    models = scenario.get("models")
    n_trials = runs.groupby(["point", "scheme"])["trial"].nunique()
    trials = "-".join(str(n) for n in dict.fromkeys((int(n_trials.min()), int(n_trials.max()))))
    network = scenario.get("network", {})
    keys = set(itertools.chain.from_iterable(map(swept_together, swept)))
    sent = ", ".join(f"{key} {_rate(key, value, keys)}" for key, value in network.items() if value)
    said = [
        *_rules(scenario, swept),
        *([f"network: {sent}"] if sent else []),
        *([_training(scenario.get("training"), keys)] if scenario.get("training") or "training" in keys else []),
        *([f"uncoded for the first {scenario['probe']} rounds"] if scenario.get("probe") else []),
        f"leftover: {'swept' if 'leftover' in swept else scenario.get('leftover', 'not recorded')}",
        "T limit swept" if "models" in swept else "no T limit" if models is None else f"T at most {models - 1}",
        f"{trials} trial" + ("" if trials == "1" else "s"),
        f"engine: {', '.join(sorted(set(runs['engine'])))}",
        *_checked(results.manifest.get("checked", {})),
    ]
    return "; ".join(said)


def _rate(key: str, value: float | list[float], swept: set[str]) -> str:
    """Say a number of the network, or of a list with an entry for each worker the smallest and the largest."""
    if any(f"{each}.".startswith(f"network.{key}.") for each in swept):
        return "swept"
    return f"from {min(value):g} to {max(value):g}" if isinstance(value, list) else f"= {value:g}"


def _checked(checked: dict[str, Any]) -> list[str]:
    """What became of runs that were repeated on events."""
    if not checked.get("repeated"):
        return []
    n_unequal = len(checked["differences"])
    outcome = f"{n_unequal} not equal" if n_unequal else "equal"
    return [f"{checked['repeated']} of {checked['runs']} runs repeated on events: {outcome}"]


def _training(training: dict[str, Any] | None, keys: set[str]) -> str:
    if training is None or "training" in keys:
        return "training swept"
    usual = {"batch": "all", "optimiser": "sgd", "on_failure": "skip", "messages": "float64"}
    given = {"workload": training["workload"]["kind"], "rate": f"{training['learning_rate']:g}"}
    said = {key: "swept" if f"training.{key}" in keys else value for key, value in (usual | training | given).items()}
    if "training.learning_rate" in keys:
        said["rate"] = "swept"
    inside = [key.removeprefix("training.workload.") for key in keys if key.startswith("training.workload.")]
    return (
        f"training: {said['workload']}{''.join(f', {key} swept' for key in sorted(inside))}, batch {said['batch']}, "
        f"{said['optimiser']}, rate {said['rate']}, on_failure: {said['on_failure']}"
        + ("" if said["messages"] == "float64" else f", messages: {said['messages']}")
    )


def _rules(scenario: dict[str, Any], swept: dict[str, list[Any]]) -> list[str]:
    """Say the rule of most schemes, and those that differ."""
    usual = _rule("master", scenario.get("master"), swept)
    schemes = scenario.get("schemes", {})
    own = {
        label: _rule(f"schemes.{label}.master", scheme["master"], swept)
        for label, scheme in schemes.items()
        if "master" in scheme
    }
    if own and len(own) == len(schemes):  # nobody follows the scenario's
        usual = max(own.values(), key=list(own.values()).count)
    differ = [f"schemes.{label}.master: {rule}" for label, rule in own.items() if rule != usual]
    return [f"master: {usual}{'' if differ or not own else ' (all schemes)'}", *differ]


def _rule(path: str, rule: dict[str, Any] | None, swept: dict[str, list[Any]]) -> str:
    if rule is None:
        return "not recorded"
    values = {key: "swept" if f"{path}.{key}" in swept else value for key, value in rule.items()}
    kind = "swept" if path in swept else values.pop("kind")
    parameters = ", ".join(f"{key} = {value}" for key, value in values.items())
    return kind + (f" ({parameters})" if parameters and path not in swept else "")
