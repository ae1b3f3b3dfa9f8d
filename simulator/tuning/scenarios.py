"""Settings as schemes and scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemes import Scheme
from simulator.plugins.building import from_values
from simulator.plugins.fields import fields_of
from simulator.plugins.kinds import RULE_TABLE, SCHEME_TABLE, as_values, nested_values
from simulator.tuning.best import best_settings
from simulator.tuning.rows import PUBLISHED, parameters_of

if TYPE_CHECKING:
    import pandas as pd

    from simulator.tuning.advice import Candidate
    from simulator.tuning.search import Search
    from simulator.tuning.trace import AdjustedTrace


def as_scheme(setting: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as a scenario says it.

    Examples
    --------
    >>> as_scheme({"kind": "selective_repeat", "accepts": "published", "B": 1, "W": 2, "lam": 3})
    {'kind': 'selective_repeat', 'B': 1, 'W': 2, 'lam': 3, 'as_published': True}
    """
    cls = SCHEME_TABLE.find(setting["kind"])
    values = {name: setting[name] for name in parameters_of(cls) if setting.get(name) is not None}
    given = {name: value for name, value in values.items() if value != nested_values(fields_of(cls)[name].default)}
    if given.get("accepts") == PUBLISHED:
        given["as_published"] = given.pop("accepts") == PUBLISHED
    return {"kind": setting["kind"]} | {
        name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()
    }


def scheme_of(setting: Mapping[Any, Any], n_workers: int) -> Scheme:
    """The scheme of a row."""
    scheme, problems = from_values(as_scheme(setting), (), SCHEME_TABLE, Path.cwd(), {"n_workers": n_workers})
    assert not problems, problems
    assert isinstance(scheme, Scheme)
    return scheme


def scenario_with(
    name: str, settings: pd.DataFrame, trace: AdjustedTrace, search: Search, folder: Path
) -> dict[str, Any]:
    """A scenario with these settings, each under its rule; paths as seen from ``folder``."""
    _, n_workers = trace.times()
    rules = {rule.name: as_values(rule, RULE_TABLE) for rule in search.rules}
    rows = settings.to_dict("records")
    labels = [row["scheme"] for row in rows]
    if len(set(labels)) < len(labels):
        labels = [f"{label} {place}" for place, label in enumerate(labels)]
    model = trace.model_in(folder)
    return {
        "name": name,
        "seed": 0,
        "trials": 1,
        "workers": n_workers,
        "jobs": search.n_jobs,
        **({} if search.models is None else {"models": search.models}),
        "stragglers": {"trace": model},
        "schemes": {
            label: as_scheme(row) | {"master": rules[row["rule"]]} for label, row in zip(labels, rows, strict=True)
        },
    }


def winning_scenario(
    kind: str, settings: pd.DataFrame, trace: AdjustedTrace, search: Search, folder: Path
) -> dict[str, Any]:
    """A scenario with the best setting of each scheme under its own best rule."""
    name = f"{trace.path.stem}-{kind}"
    return scenario_with(name, best_settings(settings), trace, search, folder)


def action_scenario(chosen: Candidate, trace: AdjustedTrace, search: Search, folder: Path) -> dict[str, Any]:
    """Write the trace of the workers after an action into a folder, and return the scenario that replays it."""
    import pandas as pd

    fleet, rules = chosen.fleet, {rule.name: as_values(rule, RULE_TABLE) for rule in search.rules}
    file = "action-trace.parquet"
    rounds, workers = np.divmod(np.arange(fleet.times.n_rounds * fleet.n_workers), fleet.n_workers)
    parts = {name: np.ravel(part) for name, part in fleet.times._asdict().items()}
    pd.DataFrame({"round": rounds, "worker": workers} | parts).to_parquet(folder / file, index=False)
    schemes = {"uncoded": {"kind": "uncoded"}, chosen.scheme: as_scheme(chosen.setting)}
    return {
        "name": f"{trace.path.stem}-action",
        "seed": 0,
        "trials": 1,
        "workers": fleet.n_workers,
        "jobs": search.n_jobs,
        **({} if search.models is None else {"models": search.models}),
        "stragglers": {"trace": {"kind": "trace", "path": file, "wrap": "cycle"}},
        "schemes": {label: scheme | {"master": rules[chosen.setting["rule"]]} for label, scheme in schemes.items()},
    }
