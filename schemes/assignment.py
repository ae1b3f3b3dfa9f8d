"""Assignments: which worker holds which chunk. Each is a plug-in of its own, `assignment: {kind: cyclic, ...}`.

A matrix has a row for each chunk and a column for each worker, true where the worker holds the chunk.
"""

from __future__ import annotations

import csv
import functools
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from simulator.parameters import BoolArray, InputPath, IntArray, PositiveCount, TakesNumpy


class Assignment(TakesNumpy, ABC):
    """A description of who holds what.

    Subclasses are ``pydantic.dataclasses.dataclass(frozen=True)``; the constructor's parameters are the keys in a
    scenario.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    @abstractmethod
    def matrix(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        """Return who holds what, shape ``(n_chunks, n_workers)``.

        Raises
        ------
        ValueError
            If there is no such assignment for so many workers: "assignment.<parameter> must be ..., got ...".
        """


@dataclass(frozen=True)
class Cyclic(Assignment):
    """As many chunks as workers; worker w holds chunks w, w + 1, ... (mod n).

    Examples
    --------
    >>> Cyclic(chunks_per_worker=2).matrix(3, np.random.default_rng(0)).astype(int)
    array([[1, 0, 1],
           [1, 1, 0],
           [0, 1, 1]])
    """

    chunks_per_worker: PositiveCount
    """delta; also the copies of each chunk"""

    def matrix(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        _at_most(self.chunks_per_worker, n_workers)
        offsets = (np.arange(n_workers)[:, np.newaxis] - np.arange(n_workers)) % n_workers
        return np.asarray(offsets < self.chunks_per_worker)


@dataclass(frozen=True)
class Fractional(Assignment):
    """As many chunks as workers; groups of neighbouring workers hold the same chunks.

    Examples
    --------
    >>> Fractional(chunks_per_worker=2).matrix(4, np.random.default_rng(0)).astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 1],
           [0, 0, 1, 1]])
    """

    chunks_per_worker: PositiveCount
    """delta; also the size of a group; divides the number of workers"""

    def matrix(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        delta = self.chunks_per_worker
        _at_most(delta, n_workers)
        if n_workers % delta:
            raise ValueError(f"assignment.chunks_per_worker must divide the {n_workers} workers, got {delta}")
        group = np.arange(n_workers) // delta
        return np.asarray(group[:, np.newaxis] == group)


@dataclass(frozen=True)
class RandomRegular(Assignment):
    """As many chunks as workers; the adjacency matrix of a random regular graph, drawn once.

    Worker w never holds chunk w. Uniform in the limit of many workers: Steger and Wormald, "Generating random
    regular graphs quickly", Combinatorics, Probability and Computing 1999 (networkx.random_regular_graph).

    Examples
    --------
    >>> held = RandomRegular(chunks_per_worker=3).matrix(8, np.random.default_rng(0))
    >>> held.sum(axis=0), bool((held == held.T).all())
    (array([3, 3, 3, 3, 3, 3, 3, 3]), True)
    """

    chunks_per_worker: PositiveCount
    """delta; also the copies of each chunk; below the number of workers, and their product is even"""

    def matrix(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        import networkx

        if self.chunks_per_worker >= n_workers:
            raise ValueError(
                f"assignment.chunks_per_worker must be below the number of workers, {n_workers}, "
                f"got {self.chunks_per_worker}"
            )
        if n_workers * self.chunks_per_worker % 2:
            raise ValueError(
                f"assignment.chunks_per_worker must be even for {n_workers} workers, got {self.chunks_per_worker}"
            )
        degree = min(self.chunks_per_worker, n_workers - 1 - self.chunks_per_worker)
        graph = networkx.random_regular_graph(degree, n_workers, seed=int(rng.integers(2**32)))
        if degree < self.chunks_per_worker:  # a dense graph is hardly ever found; its complement is
            graph = networkx.complement(graph)
        return np.asarray(networkx.to_numpy_array(graph, nodelist=range(n_workers)) > 0)


@dataclass(frozen=True)
class BernoulliAssignment(Assignment):
    """As many chunks as workers; each worker holds each chunk with probability p, independently, drawn once.

    A chunk without a worker goes to one drawn uniformly, and a worker without a chunk gets one drawn uniformly.

    Source: Charles, Papailiopoulos and Ellenberg, "Approximate gradient coding via sparse random graphs", 2017.

    Examples
    --------
    >>> bool(BernoulliAssignment(p=0.2).matrix(20, np.random.default_rng(0)).any(axis=1).all())
    True
    """

    p: Annotated[float, Field(gt=0, le=1)]
    """probability that a worker holds a chunk"""

    def matrix(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        held = rng.random((n_workers, n_workers)) < self.p
        for chunk in np.flatnonzero(~held.any(axis=1)):
            held[chunk, rng.integers(n_workers)] = True
        for worker in np.flatnonzero(~held.any(axis=0)):
            held[rng.integers(n_workers), worker] = True
        return held


@dataclass(frozen=True)
class FileAssignment(Assignment):
    """An assignment from a CSV file with the columns ``worker`` and ``chunk``, both counted from 0."""

    path: InputPath
    """CSV file; relative to the scenario file"""

    def matrix(self, n_workers: int, rng: np.random.Generator) -> BoolArray:
        workers, chunks = read_columns("assignment.path", self.path, ("worker", "chunk"))
        if workers.max() + 1 != n_workers:
            raise ValueError(f"assignment.path must be for {n_workers} workers, got {workers.max() + 1} in {self.path}")
        n_chunks = int(chunks.max()) + 1
        if n_chunks > MOST_WORKERS:
            raise ValueError(f"assignment.path must name one of at most {MOST_WORKERS} chunks, got {n_chunks}")
        if len(np.unique(chunks)) < n_chunks:
            raise ValueError(
                f"assignment.path must name an assignment in which each of the {n_chunks} chunks has a worker, "
                f"got {len(np.unique(chunks))} chunks in {self.path}"
            )
        held = np.zeros((n_chunks, n_workers), dtype=np.bool_)
        held[chunks, workers] = True
        return held


ASSIGNMENTS: dict[str, type[Assignment]] = {
    "bernoulli": BernoulliAssignment,
    "cyclic": Cyclic,
    "file": FileAssignment,
    "fractional": Fractional,
    "random_regular": RandomRegular,
}


def _at_most(chunks_per_worker: int, most: int) -> None:
    if chunks_per_worker > most:
        raise ValueError(f"assignment.chunks_per_worker must be between 1 and {most}, got {chunks_per_worker}")


MOST_WORKERS = 10_000  # and chunks: each worker has a row, each chunk a column
DRAW = 0  # the purpose of a stream: what else is drawn from a scheme's seed has another number


@functools.lru_cache(maxsize=64)
def drawn(assignment: Assignment, n_workers: int, seed: int) -> BoolArray:
    """The assignment that schemes with this seed have, shape ``(n_chunks, n_workers)``; read-only.

    Examples
    --------
    >>> drawn(Cyclic(2), 3, 0).sum()
    np.int64(6)
    """
    if n_workers > MOST_WORKERS:
        raise ValueError(f"workers must be at most {MOST_WORKERS} for an assignment of chunks, got {n_workers}")
    held = assignment.matrix(n_workers, np.random.default_rng([seed, DRAW]))
    held.setflags(write=False)
    return held


def read_columns(key: str, path: str, names: tuple[str, ...]) -> list[IntArray]:
    """Columns of counts from a CSV file, at least one row; ``key`` is the parameter that errors name.

    Raises
    ------
    ValueError
        If that is not what the file holds: "<key> must name ..., got ...".
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{key} must name a readable CSV file, got {path} ({reason})") from None
    columns = []
    for name in names:
        values = np.zeros(len(rows), dtype=np.int64)
        for line, row in enumerate(rows):
            try:
                values[line] = int(row[name])
                wrong = values[line] < 0
            except (KeyError, TypeError, ValueError, OverflowError):
                wrong = True
            if wrong:
                raise ValueError(
                    f"{key} must name a CSV file with the columns {', '.join(names)}, all counts from 0, "
                    f"got {path} (row {line + 1}: {name} = {row.get(name)!r})"
                ) from None
        columns.append(values)
    if not rows:
        raise ValueError(f"{key} must name a CSV file with at least one row, got {path}")
    return columns
