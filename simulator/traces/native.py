"""Samples with labels of other people, as traces in the native form."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from schemes.base.scheme import BoolArray, FloatArray, IntArray
from simulator.choices import Missing
from simulator.errors import TraceError

SHOWN = 3  # of missing pairs


def native(samples: pd.DataFrame, where: str, missing: Missing = "error") -> pd.DataFrame:
    """Number rounds and workers from 0 on, and see that no time is missing.

    Parameters
    ----------
    samples
        With the columns round and worker, which hold labels, duration_s, and perhaps step.
    where
        Where they come from, for messages.
    missing
        What to do about rounds in which workers have no time: refuse them, take the time for infinite (never
        answered), or drop them.

    Returns
    -------
    table
        With the columns round, worker and duration_s, sorted; step keeps the label of a round and worker_name that of
        a worker, unless these count 0, 1, 2, ... themselves.

    Raises
    ------
    TraceError
        If times are missing, or there are several for one round and worker, or nothing is left.

    Examples
    --------
    >>> import pandas as pd
    >>> samples = pd.DataFrame({"round": ["7", "8"], "worker": ["rank0", "rank0"], "duration_s": [1.5, 1.25]})
    >>> native(samples, "example")[["round", "worker", "step", "duration_s"]].to_numpy().tolist()
    [[0.0, 0.0, 7.0, 1.5], [1.0, 0.0, 8.0, 1.25]]
    """
    if samples.empty:
        raise TraceError(f"{where}: must hold times, got none")
    rows, steps, shown = _order(samples["round"])
    columns, meant, names = _order(samples["worker"])
    if not all(isinstance(step, int) for step in steps):
        raise TraceError(f"{where}: rounds must be numbered alike (3, or step 3), got {shown[0]!r}")
    grid = np.full((len(steps), len(names)), np.nan)
    grid[rows, columns] = samples["duration_s"]
    if np.count_nonzero(~np.isnan(grid)) < len(samples):
        twice = samples[samples.duplicated(["round", "worker"])].iloc[0]
        raise TraceError(
            f"{where}: must have one time for each round and worker, got several for round {twice['round']}, worker "
            f"{twice['worker']} (keep one run, or add them up)"
        )
    numbers = np.array(steps, dtype=np.int64)
    if "step" in samples.columns:
        numbers[rows] = samples["step"]
    keep = _complete(grid, shown, names, where, missing)
    counts = meant == list(range(len(meant)))
    return _long_form(grid[keep], numbers[keep], None if counts else names)


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
    names = [str(label) for label in distinct]
    meant: list[int | str] = list(names)
    numbers = [re.fullmatch(r"(.*?)(\d+)(?:\.0+)?", name) for name in names]
    if len({found and found[1] for found in numbers}) == 1 and numbers[0]:  # rank0, rank1, ...
        meant = [int(found[2]) for found in numbers if found]
    order = sorted(range(len(names)), key=lambda place: _natural(str(meant[place])))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places[codes], [meant[place] for place in order], [names[place] for place in order]


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts rank10 after rank9."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _complete(grid: FloatArray, rounds: list[str], workers: list[str], where: str, missing: Missing) -> BoolArray:
    """Return a mask of the rounds to keep; what is missing in them becomes infinite."""
    is_missing = np.isnan(grid)
    if is_missing.any() and missing == "error":
        pairs = np.argwhere(is_missing)
        first = "; ".join(f"round {rounds[row]}, worker {workers[column]}" for row, column in pairs[:SHOWN])
        more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        raise TraceError(
            f"{where}: must have a time for each of {len(rounds)} rounds and {len(workers)} workers, got none for "
            f"{first}{more} (--missing drop leaves such rounds out, --missing inf takes them for never answered)"
        )
    keep = np.ones(len(grid), dtype=np.bool_)
    if missing == "drop":
        keep = ~np.asarray(is_missing.any(axis=1))
    if not keep.any():
        raise TraceError(f"{where}: must have a round with a time for each worker, got none")
    grid[is_missing] = np.inf
    return keep


def _long_form(grid: FloatArray, steps: IntArray, names: list[str] | None) -> pd.DataFrame:
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
