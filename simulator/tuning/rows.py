"""Settings as rows of a table, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemes import HeterogeneousGradientCoding, Scheme
from schemes.heterogeneous_gradient_coding import BY_SPEED, FEW
from simulator.plugins.fields import fields_of
from simulator.plugins.kinds import FILLED_IN, SCHEME_TABLE, nested_values

if TYPE_CHECKING:
    from simulator.tuning.legal_settings import Group

# what every table says of a setting, and what stands there where the scheme has no such thing
ALWAYS: dict[str, str | int | None] = {"code": "", "accepts": "", "B": 0, "W": 0, "delay_rounds": 0, "s": 0, "lam": 0}

NEEDS_ALL = ("uncoded", BY_SPEED)  # labels of what is done without a code: each rule waits for all
PUBLISHED = "published"  # what a scheme accepts as_published


def columns_of(groups: Sequence[Group]) -> dict[str, str | int | None]:
    """The columns that say what settings are: `ALWAYS`, and each parameter more that is given in some group."""
    columns = dict(ALWAYS)
    for group in groups:
        for name in parameters_of(type(group.first)):
            if name == group.searched or getattr(group.first, name) != fields_of(type(group.first))[name].default:
                columns.setdefault(name, None)
    return columns


def described(groups: Sequence[Group], columns: Mapping[str, str | int | None]) -> Iterator[dict[str, Any]]:
    """Columns that say what the settings of each group are."""
    kinds = {cls: SCHEME_TABLE.kind_of(group.first) for cls, group in {type(one.first): one for one in groups}.items()}
    for group in groups:
        same = {"scheme": group.first.label, "kind": kinds[type(group.first)]}
        said = {name: np.full(len(group.values), value, dtype=object) for name, value in same.items()}
        yield said | {name: _array(_column(group, name, columns[name])) for name in columns}


def _array(values: list[Any]) -> NDArray[Any]:
    """An entry for each value, also if these are lists."""
    if not isinstance(values[0], list):
        return np.array(values)
    entries = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        entries[place] = value
    return entries


def _column(group: Group, name: str, nothing: str | int | None) -> list[Any]:
    first, cls = group.first, type(group.first)
    if name == group.searched:
        return [nested_values(value) for value in group.values]
    if name == "s" and "s" not in fields_of(cls) and hasattr(cls, "s") and group.searched:  # it follows from lam
        return [getattr(one, name) for one in first.with_each(group.searched, group.values)]
    value = getattr(first, name) if name in fields_of(cls) or name == "delay_rounds" else nothing
    if name == "accepts" and getattr(first, "as_published", False):
        value = PUBLISHED
    return [nested_values(value)] * len(group.values)


def parameters_of(cls: type[Scheme]) -> list[str]:
    """The parameters of a scheme that a row says."""
    return [name for name in fields_of(cls) if name not in (*FILLED_IN, "as_published")]


def said_setting(row: Mapping[Any, Any]) -> str:
    """The parameters of a setting that its label does not say.

    Examples
    --------
    >>> said_setting({"kind": "multiplexed", "B": 1, "W": 2, "lam": 27, "accepts": "recoverable"})
    'B 1, W 2, lam 27, recoverable'
    >>> said_setting({"kind": "backup_tasks", "policy": {"after": "share", "share": 0.9}})
    'share 0.9'
    """
    names = [name for name in parameters_of(SCHEME_TABLE.find(row["kind"])) if name not in ("code", "speeds")]
    given = {name: row[name] for name in names if row.get(name) is not None}
    return ", ".join(_said(name, value) for name, value in given.items())


def said_rule(row: Mapping[Any, Any]) -> str:
    """The master's rule; of what needs all responses, a dash.

    Examples
    --------
    >>> said_rule({"scheme": "GC", "rule": "first_enough"}), said_rule({"scheme": "uncoded", "rule": "first_enough"})
    ('first_enough', '-')
    """
    return "-" if row["scheme"] in NEEDS_ALL else str(row["rule"])


def said_shares(speeds: Sequence[float]) -> str:
    """Say the share of the load that each worker has in load by speed.

    Examples
    --------
    >>> said_shares([1.0, 0.25, 1.0]).partition("chunks ")[2]
    '(0: 0.4444, 1: 0.1111, 2: 0.4444).'
    """
    shares = HeterogeneousGradientCoding(n_workers=len(speeds), speeds=list(speeds), s=0).worker_loads()
    slowest = np.argsort(shares, kind="stable")
    each = ", ".join(f"{worker}: {shares[worker]:.4g}" for worker in sorted(slowest[:FEW].tolist()))
    others = shares[slowest[FEW:]]
    more = f"; others {others[0]:.4g} to {others[-1]:.4g}, see speeds in winners.yaml" if len(others) else ""
    return f"Load by speed gives shares in proportion to 1 / the workers' median times, in whole chunks ({each}{more})."


def _said(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        said = ((key, part) for key, part in value.items() if part not in list(value))  # {after: share, share: 0.5}
        return ", ".join(str(part) if key == "kind" else f"{key} {part}" for key, part in said)
    return value if isinstance(value, str) else f"{name} {value}"
