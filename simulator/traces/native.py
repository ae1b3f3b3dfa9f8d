"""Samples with labels of other people, as traces in the native form."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from simulator.choices import Missing
from simulator.errors import TraceError, show
from simulator.parameters import BoolArray, FloatArray, IntArray
from simulator.traces.formats.format import OPTIONAL, Options, Samples
from straggler_models.trace_table import MOST_TIMES

LabelArray = np.ndarray[Any, np.dtype[Any]]
SHOWN = 3  # of missing pairs
EXACT = 2**53  # below it, a float that has no fraction is meant so
LONGEST_LABEL = 200  # characters


def native(
    samples: pd.DataFrame, where: str, options: Options | None = None, words: tuple[str, str] = ("round", "worker")
) -> Samples:
    """Number rounds and workers from 0 on, and see that no time is missing.

    Parameters
    ----------
    samples
        With the columns round and worker, which hold labels, duration_s, and perhaps step, worker_name and `OPTIONAL`.
    where
        Where they come from, for messages.
    options
        Those of `COMMON`: ``missing`` says what to do about rounds in which workers have no time: refuse them (if not
        given), take the time for infinite (never answered), or drop them; ``aggregate`` what several times of a round
        and worker become; ``drop_first``, ``drop_last`` and ``rounds`` which rounds are left.
    words
        What the source calls a round and a worker, for messages.

    Returns
    -------
    table
        With the columns round, worker and duration_s, sorted; step keeps the label of a round and worker_name that of
        a worker, unless these count 0, 1, 2, ... themselves. Of several times that become one, ``waited_s`` becomes
        one alike, what is ``censored`` makes the whole so, ``host`` is the last, and ``slowdown`` the mean.
    remarks
        How many rounds were left out because times are missing.

    Raises
    ------
    TraceError
        If times are missing, or there are several for one round and worker, or nothing is left.

    Examples
    --------
    >>> import pandas as pd
    >>> samples = pd.DataFrame({"round": ["7", "8"], "worker": ["rank0", "rank0"], "duration_s": [1.5, 1.25]})
    >>> native(samples, "example").table[["round", "worker", "step", "duration_s"]].to_numpy().tolist()
    [[0.0, 0.0, 7.0, 1.5], [1.0, 0.0, 8.0, 1.25]]
    """
    options = options or {}
    if samples["duration_s"].isna().all():
        raise TraceError(f"{where}: must hold times, got none")
    longest = max(samples["round"].astype(str).str.len().max(), samples["worker"].astype(str).str.len().max())
    if longest > LONGEST_LABEL:
        raise TraceError(
            f"{where}: rounds and workers must have names of at most {LONGEST_LABEL} characters, got {longest}"
        )
    rows, steps, shown = _order(samples["round"])
    columns, meant, names = _order(samples["worker"])
    if not all(isinstance(step, int) for step in steps):
        raise TraceError(
            f"{where}: rounds must be numbered alike (3, or step 3; of at most 18 digits), got {show(shown[0])}"
        )
    if len(steps) * len(names) > MOST_TIMES:
        raise TraceError(
            f"{where}: must have at most {MOST_TIMES} times, got {len(steps)} rounds and {len(names)} workers"
        )
    places = pd.Series(rows * len(names) + columns)
    is_again = places.duplicated()
    if is_again.any() and "aggregate" not in options:
        twice = samples[["round", "worker"]].astype(object)[is_again.to_numpy()].iloc[0]
        raise TraceError(
            f"{where}: must have one time for each round and worker, got several for round {twice['round']}, worker "
            f"{twice['worker']} (--aggregate sum, max, mean or last makes one of them)"
        )
    measured = samples.set_axis(places).groupby(level=0)
    times = measured["duration_s"].agg(options.get("aggregate", "last"))
    grid = np.full((len(steps), len(names)), np.nan)
    grid.ravel()[times.index.to_numpy()] = times
    is_none = samples["duration_s"].isna().to_numpy()
    grid.ravel()[places[is_none]] = np.nan  # without a part of it, a sum is not known
    numbers: LabelArray = np.array(steps, dtype=np.int64)
    if "step" in samples.columns:
        of_row = samples["step"].to_numpy()
        numbers = np.empty(len(steps), dtype=of_row.dtype)
        numbers[rows] = of_row
        words, shown = ("step", words[1]), list(map(str, numbers))
    chosen = _chosen(len(grid), where, options)
    keep = np.zeros(len(grid), dtype=np.bool_)
    labels, missing = (shown[chosen], names), options.get("missing", "error")
    keep[chosen] = _complete(grid[chosen], labels, words, _lines(samples, places, grid.shape)[chosen], where, missing)
    grid[np.isnan(grid)] = np.inf
    counts = meant == list(range(len(meant)))
    table = _long_form(grid[keep], numbers[keep], None if counts else names)
    kept = np.arange(grid.size).reshape(grid.shape)[keep].ravel()
    if counts and "worker_name" in samples.columns:
        called = _filled(measured["worker_name"].last().reindex(kept), table["worker"])
        table.insert(2, "worker_name", called)
    waited = options.get("aggregate", "last")
    how: dict[str, Any] = {"host": "last", "waited_s": waited, "censored": "any", "slowdown": "mean"}
    for name in OPTIONAL:
        if name in samples.columns:
            table[name] = _filled(measured[name].agg(how[name]).reindex(kept), table["worker"])
    n_wanted, n_kept = chosen.stop - chosen.start, int(np.count_nonzero(keep))
    dropped = f"{n_wanted - n_kept} of {n_wanted} rounds, in which times are missing, are left out"
    return Samples(table, (dropped,) * (n_kept < n_wanted))


def _order(labels: pd.Series) -> tuple[IntArray, list[int | str], list[str]]:
    """The place of each label among all of them, by number where each has one, else by name.

    Returns
    -------
    places
        Of each label, shape ``(n_labels,)``.
    meant
        The number, or else the name, of each place.
    names
        The label of each place.
    """
    codes, distinct = pd.factorize(labels)
    names = [" ".join(str(label).split()) for label in distinct]
    found = [_number(name) for name in names]
    is_numbered = len({of_name and of_name[0] for of_name in found}) == 1  # rank0, rank1, ...
    meant = [of_name[1] if is_numbered and of_name else name for of_name, name in zip(found, names, strict=True)]
    shown = dict(zip(meant, names, strict=True))  # 1 and 1.0 are one
    ordered = sorted(shown, key=lambda label: label if isinstance(label, int) else natural_key(label))
    place = {label: number for number, label in enumerate(ordered)}
    places = np.array([place[label] for label in meant], dtype=np.int64)
    return places[codes], ordered, [shown[label] for label in ordered]


def _number(name: str) -> tuple[str, int] | None:
    """What stands before the number at the end of a label, and the number; None: there is none, or no whole one."""
    if whole := re.fullmatch(r"([+-]?[0-9]{1,18})(?:\.0*)?", name):
        return "", int(whole[1])
    if re.fullmatch(r"[0-9.eE+-]*", name):  # numpy.savetxt writes 3.000e+00
        number = float(name) if re.fullmatch(r"[+-]?[0-9]+\.?[0-9]*[eE][+-]?[0-9]{1,3}", name) else 0.5
        return ("", int(number)) if number.is_integer() and abs(number) < EXACT else None
    ending = re.fullmatch(r"(.*[^0-9])([0-9]{1,18})", name)
    return (ending[1], int(ending[2])) if ending else None


def natural_key(name: str) -> list[tuple[str, int, str]]:
    """A key that sorts rank10 after rank9."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, len(digits.lstrip("0")), digits.lstrip("0")) for text, digits in parts]


def _complete(
    grid: FloatArray,
    called: tuple[list[str], list[str]],
    words: tuple[str, str],
    lines: IntArray,
    where: str,
    missing: Missing,
) -> BoolArray:
    """Return a mask of the rounds to keep."""
    is_missing, (rounds, workers) = np.isnan(grid), called
    if is_missing.any() and missing == "error":
        pairs = np.argwhere(is_missing)
        first = "; ".join(f"{words[0]} {rounds[row]}, {words[1]} {workers[column]}" for row, column in pairs[:SHOWN])
        more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        known = [str(line) for line in lines[tuple(pairs[:SHOWN].T)] if line]
        found = "none" + (f" in line{'s' * (len(known) > 1)} {', '.join(known)}" if known else "")
        raise TraceError(
            f"{where}: must have a time for each of {len(rounds)} {words[0]}s and {len(workers)} {words[1]}s, got "
            f"{found} for {first}{more} (--missing drop leaves such rounds out, --missing inf takes them for never "
            "answered)"
        )
    keep = np.ones(len(grid), dtype=np.bool_)
    if missing == "drop":
        keep = ~np.asarray(is_missing.any(axis=1))
    if not keep.any():
        raise TraceError(f"{where}: must have a round with a time for each worker, got none")
    return keep


def _lines(samples: pd.DataFrame, places: pd.Series, shape: tuple[int, ...]) -> IntArray:
    """The line in which each missing time stands, where it is known; else 0."""
    lines = np.zeros(shape, dtype=np.int64)
    if "line" in samples.columns:
        is_none = samples["duration_s"].isna().to_numpy()
        lines.ravel()[places[is_none]] = samples["line"][is_none].fillna(0)
    return lines


def _filled(values: pd.Series, workers: pd.Series) -> LabelArray:
    """Values of optional columns, also where there is no time: the worker's host; not waited, censored or slowed."""
    if values.name in ("host", "worker_name"):
        of_worker = values.groupby(workers.to_numpy())
        return np.asarray(values.fillna(of_worker.transform("first")).astype(str))
    none = 1.0 if values.name == "slowdown" else 0.0
    return np.asarray(values.astype(float).fillna(none).astype(bool if values.name == "censored" else float))


def _chosen(n_rounds: int, where: str, options: Options) -> slice:
    """The rounds that are wanted."""
    first, last = options.get("drop_first", 0), n_rounds - options.get("drop_last", 0)
    if "rounds" in options:
        found = re.fullmatch(r"([0-9]{0,9}):([0-9]{0,9})", options["rounds"].replace(" ", ""))
        if not found:
            raise TraceError(
                f"--rounds: must be A:B, the first round and the one after the last, got {options['rounds']}"
            )
        first, last = max(first, int(found[1] or 0)), min(last, int(found[2] or n_rounds))
    if first >= last:
        raise TraceError(f"{where}: must have rounds that are left, got {n_rounds} in all (--drop-first, --rounds)")
    return slice(first, last)


def _long_form(grid: FloatArray, steps: LabelArray, names: list[str] | None) -> pd.DataFrame:
    n_rounds, n_workers = grid.shape
    table = pd.DataFrame(
        {
            "round": np.repeat(np.arange(n_rounds, dtype=np.int32), n_workers),
            "worker": np.tile(np.arange(n_workers, dtype=np.int32), n_rounds),
        }
    )
    if names is not None:
        table["worker_name"] = names * n_rounds
    if not np.array_equal(steps, np.arange(n_rounds)):
        table["step"] = np.repeat(steps, n_workers)
    table["duration_s"] = grid.ravel()
    return table
