"""Dotted keys: which places of a scenario they mean."""

from typing import Any

from simulator.errors import Path_


def find(data: Any, key: str) -> Path_:
    """The path that a dotted key means; a label may itself hold dots, and a number counts in a list.

    The last part may be new, all others must exist.

    Examples
    --------
    >>> find({"schemes": {"v1.0": {"s": 1}}}, "schemes.v1.0.s")
    ('schemes', 'v1.0', 's')
    """
    parts: list[str] = key.split(".")
    path: list[str | int] = []
    while parts:
        if isinstance(data, list) and parts[0].isdigit() and int(parts[0]) < len(data):
            path.append(int(parts[0]))
            data, parts = data[int(parts[0])], parts[1:]
            continue
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            if isinstance(data, dict) and name in data:
                break
        else:
            if not isinstance(data, dict) or len(parts) > 1:
                known = ", ".join(data) if isinstance(data, dict) else "none, it is a value"
                raise ValueError(f"must name a place in the scenario; there is no {parts[0]!r} (known here: {known})")
            return (*path, parts[0])
        path.append(name)
        data = data[name]
        parts = parts[length:]
    return tuple(path)


def find_all(data: Any, key: str) -> list[Path_]:
    """The paths that a dotted key means, in which a part ``*`` stands for every label.

    Examples
    --------
    >>> find_all({"schemes": {"a": {"s": 1}, "b": {"s": 1}}}, "schemes.*.s")
    [('schemes', 'a', 's'), ('schemes', 'b', 's')]
    """
    before, star, after = key.partition(".*.")
    if not star:
        return [find(data, key)]
    path = find(data, before)
    labels = data
    for part in path:
        labels = labels.get(part, {})
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f"must name a place in the scenario; there are no labels in {before}")
    return [(*path, label, *rest) for label in labels for rest in find_all(labels[label], after)]


def swept_together(entry: str) -> list[str]:
    """The dotted keys of one entry of a sweep, which vary together.

    Examples
    --------
    >>> swept_together("workers, schemes.*.s")
    ['workers', 'schemes.*.s']
    """
    return [key.strip() for key in entry.split(",")]


def replaced(data: Any, path: Path_, value: Any) -> Any:
    """The data with another value at a path whose parent exists; the rest is the same, not a copy.

    Examples
    --------
    >>> replaced({"a": {"b": 1}, "c": {}}, ("a", "b"), 2)
    {'a': {'b': 2}, 'c': {}}
    """
    if not path:
        return value
    changed = data.copy()
    # what is new below has no value yet
    changed[path[0]] = replaced(data[path[0]], path[1:], value) if len(path) > 1 else value
    return changed
