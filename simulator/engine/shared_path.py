"""Workers that are at other work, too: how a list of ours gets on there, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from simulator.parameters import FloatArray
from straggler_models.base import OtherWork


class SharedPath:
    """Each worker's pieces of one model, for a list that comes at some time; all times are on the clock of the run.

    What else a worker is at depends on when lists of ours have been there. So its state is kept as it was at some time
    before which nothing can change any more, with the spans of our lists since.
    """

    def __init__(self, others: Sequence[OtherWork]) -> None:
        self._others = others
        self._spans: list[list[tuple[float, float]]] = [[] for _ in others]  # of lists: when they come and go
        # a list that comes to a worker at some time: what else is there when it does, and its pieces
        self._looked: dict[int, tuple[float, OtherWork, list[tuple[float, float]]]] = {}

    def forget_until(self, time_s: float) -> None:
        """Take what has happened by then as settled."""
        self._looked.clear()
        for other, spans in zip(self._others, self._spans, strict=True):
            while spans and spans[0][1] <= time_s:
                _play(other, *spans.pop(0))
            if not spans or time_s <= spans[0][0]:
                other.run(time_s)

    def at(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return until when lists that come then get on equally fast, and their slowdown until then."""
        pieces = [self.piece(worker, self.cursor(worker, time_s)) for worker, time_s in enumerate(times_s.tolist())]
        ends_s, slowdowns = np.array(pieces).T
        return ends_s, slowdowns

    def cursor(self, worker: int, time_s: float) -> int:
        """Look at a list that comes then; return its first piece."""
        if worker not in self._looked or self._looked[worker][0] != time_s:
            other = self._others[worker].copy()
            for span in self._spans[worker]:
                _play(other, *span)
            other.run(time_s)
            other.enter()
            self._looked[worker] = time_s, other, []
        return 0

    def piece(self, worker: int, cursor: int) -> tuple[float, float]:
        """Return when a piece ends, and the slowdown during it."""
        _, other, pieces = self._looked[worker]
        while cursor >= len(pieces):
            if pieces:
                other.run(pieces[-1][0])
            pieces.append(other.outlook())
        return pieces[cursor]

    def note(self, worker: int, begin_s: float, end_s: float) -> None:
        """Let a list stay from one time to another."""
        self._spans[worker].append((begin_s, end_s))
        self._looked.pop(worker, None)

    def drop(self, time_s: float, workers: Iterable[int] | None) -> None:
        """Let lists of some workers go by then; None: of all."""
        for worker in range(len(self._spans)) if workers is None else workers:
            spans = self._spans[worker]
            if spans and spans[-1][1] > time_s:
                spans[:] = [(begin_s, min(end_s, time_s)) for begin_s, end_s in spans if begin_s < time_s]
                self._looked.pop(worker, None)


def _play(other: OtherWork, begin_s: float, end_s: float) -> None:
    """Go on to a list of ours, and through it."""
    other.run(begin_s)
    other.enter()
    other.run(end_s)
    other.leave()
