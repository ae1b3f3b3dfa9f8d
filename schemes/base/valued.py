"""A session around a scheme's own that carries numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from schemes.base.codec import Codec, Ended
from schemes.base.scheme import Session
from schemes.base.work import Closing, Outcome, Phase, Task, Work
from simulator.choices import Leftover
from simulator.parameters import FloatArray, IntArray


class ValuePlane(Protocol):
    """Source of the gradients of a run, and user of what is decoded."""

    def end(self, ended: Ended) -> None:
        """Note that a job has ended, perhaps failed; its gradient can be decoded now or later."""


class ValuedSession(Session):
    """A session that keeps a codec informed: it plays the same run, and its responses carry numbers.

    Parameters
    ----------
    session
        The master's memory; its decisions stay as they are.
    codec
        Of the same scheme.
    plane
        Where the gradients come from, and go to.
    """

    def __init__(self, session: Session, codec: Codec, plane: ValuePlane) -> None:
        self.n_rounds, self.acts = session.n_rounds, session.acts
        self._session, self._codec, self._plane = session, codec, plane

    def open_round(self, index: int) -> Work:
        work = self._session.open_round(index)
        self.asks_for_uploads = self._session.asks_for_uploads
        self._codec.open_round(index, work, self._session)
        return work

    # these two are called at each arrival, and the codec hears of a round when it closes: no call in between
    @property
    def receive(self) -> Callable[[int, int], None]:
        return self._session.receive

    @property
    def enough(self) -> Callable[[], bool]:
        return self._session.enough

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        phase = self._session.act(now_s, progress)
        if phase is not None:
            self._codec.act(phase, self._session)
        return phase

    @property
    def look_s(self) -> float:  # type: ignore[override] # an attribute of others, which this one only passes on
        return self._session.look_s

    def leftover(self) -> Leftover | None:
        return self._session.leftover()

    def hear_absences(self, left: Collection[int], away: Collection[int], now_s: float) -> None:
        self._session.hear_absences(left, away, now_s)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        self._session.receive_late(index, worker, report)
        self._codec.receive_late(index, worker, report)

    def uploads(self, n_received: IntArray) -> FloatArray | None:
        return self._session.uploads(n_received)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = self._session.close_round(closing)
        assert closing.heard is not None, "a codec is told what has arrived"
        self._codec.close_round(closing.heard, closing)
        for outcome in outcomes:
            self._plane.end(self._codec.end(outcome))
        return outcomes

    def used_workers(self) -> Collection[int] | None:
        return self._session.used_workers()

    def tasks(self, worker: int) -> Sequence[Task]:
        return self._session.tasks(worker)
