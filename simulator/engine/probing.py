"""Uncoded at first, while the cluster is watched, and a code afterwards."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Self

import numpy as np

from schemes.base.batch import Batch
from schemes.base.codec import Codec, Ended, Precision
from schemes.base.rule import Rule
from schemes.base.scheme import Scheme, Session
from schemes.base.task_codec import codec_of
from schemes.base.work import Closing, Heard, Outcome, Phase, Task, Work
from schemes.uncoded import Uncoded
from simulator.choices import Leftover
from simulator.parameters import FloatArray, IntArray


@dataclasses.dataclass(frozen=True)
class Probing(Scheme):
    """The first jobs uncoded, one each round, and all others by a scheme that begins in the round after.

    Tasks of the first rounds name the chunks of uncoded work, those of later rounds the scheme's. What it costs and
    tolerates is the scheme's.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection.

    Parameters
    ----------
    n_workers
        As of the scheme.
    scheme
        What the master switches to.
    probe
        Rounds before that; fewer than there are jobs.

    Examples
    --------
    >>> from schemes import GradientCoding
    >>> session = Probing(3, GradientCoding(3, s=1), probe=1).start(2, np.random.default_rng(0))
    >>> for index in range(session.n_rounds):
    ...     print(round(session.open_round(index).loads[0, 0], 3))
    ...     print(session.close_round(Closing(np.zeros(3, dtype=bool), forced=False)))
    0.333
    [Outcome(job=0, status='decoded', squared_error=0.0, start_round=None)]
    0.667
    [Outcome(job=1, status='decoded', squared_error=0.0, start_round=None)]
    """

    n_workers: int
    scheme: Scheme
    probe: int

    @property
    def delay_rounds(self) -> int:
        return self.scheme.delay_rounds

    @property
    def load(self) -> float:
        return self.scheme.load

    @property
    def tolerates(self) -> str:
        return self.scheme.tolerates

    @property
    def hears_late(self) -> bool:
        return self.scheme.hears_late

    @property
    def late_ends_rounds(self) -> bool:
        return self.scheme.late_ends_rounds

    @property
    def begins_anew(self) -> bool:
        return self.scheme.begins_anew

    @property
    def decides_leftover(self) -> bool:
        return self.scheme.decides_leftover

    @property
    def n_error_blocks(self) -> int:
        return self.scheme.n_error_blocks

    def chunk_loads(self) -> FloatArray:
        return self.scheme.chunk_loads()

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch | Rule]:
        later = self.scheme.batches(n_jobs - self.probe, [row.scheme for row in rows])
        first = Uncoded(self.n_workers)
        return [*first.batches(self.probe, [first] * len(rows)), *later] if later else ()

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _ProbingCodec(self, precision, rng)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _ProbingSession(self, n_jobs, rng)


class _ProbingSession(Session):
    def __init__(self, scheme: Probing, n_jobs: int, rng: np.random.Generator) -> None:
        self._probe = scheme.probe
        self._first = Uncoded(scheme.n_workers).start(scheme.probe, rng)
        self._later = scheme.scheme.start(n_jobs - scheme.probe, rng)
        self._now: Session = self._first
        self.acts = self._later.acts
        self.n_rounds = scheme.probe + self._later.n_rounds

    @property
    def now(self) -> Session:
        """The session that is on."""
        return self._now

    @property
    def _began(self) -> int:
        """The round in which the session that is on began."""
        return self._probe if self._now is self._later else 0

    def open_round(self, index: int) -> Work:
        if index == self._probe:
            self._now = self._later
            self.asks_for_uploads = self._later.asks_for_uploads
        return self._now.open_round(index - self._began)

    def receive(self, worker: int, report: int) -> None:
        self._now.receive(worker, report)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        if index >= self._probe:  # uncoded work has no use for late responses
            self._later.receive_late(index - self._probe, worker, report)

    def hear_absences(self, left: Collection[int], away: Collection[int], now_s: float) -> None:
        self._later.hear_absences(left, away, now_s)

    def enough(self) -> bool:
        return self._now.enough()

    @property
    def look_s(self) -> float:  # type: ignore[override] # an attribute of others, which this one only passes on
        return self._now.look_s

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        return self._now.act(now_s, progress)

    def used_workers(self) -> Collection[int] | None:
        return self._now.used_workers()

    def leftover(self) -> Leftover | None:
        return self._now.leftover()

    def uploads(self, n_received: IntArray) -> FloatArray | None:
        return self._now.uploads(n_received)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        outcomes = self._now.close_round(closing)
        return [
            dataclasses.replace(
                outcome,
                job=outcome.job + self._began,
                start_round=None if outcome.start_round is None else outcome.start_round + self._began,
            )
            for outcome in outcomes
        ]

    def tasks(self, worker: int) -> Sequence[Task]:
        return [dataclasses.replace(task, job=task.job + self._began) for task in self._now.tasks(worker)]


class _ProbingCodec(Codec):
    def __init__(self, scheme: Probing, precision: Precision, rng: np.random.Generator) -> None:
        super().__init__(scheme, precision)
        self._probe = scheme.probe
        self._first = codec_of(Uncoded(scheme.n_workers), precision, rng)
        self._later = codec_of(scheme.scheme, precision, rng)
        self._now = self._first

    def _of(self, index: int) -> tuple[Codec, int]:
        """Return the codec that a job or a round belongs to, and its number there."""
        return (self._first, index) if index < self._probe else (self._later, index - self._probe)

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, _ProbingSession)
        self._now, own = self._of(index)
        self._now.open_round(own, work, session.now)

    def act(self, phase: Phase, session: Session) -> None:
        assert isinstance(session, _ProbingSession)
        self._now.act(phase, session.now)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        if index >= self._probe:
            self._later.receive_late(index - self._probe, worker, report)

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._now.close_round(heard, closing)

    def end(self, outcome: Outcome) -> Ended:
        codec, own = self._of(outcome.job)
        ended, began = codec.end(dataclasses.replace(outcome, job=own)), outcome.job - own
        if ended.results is not None:
            results = [result._replace(job=result.job + began) for result in ended.results]
            ended = ended._replace(results=results, oldest=ended.oldest + began)
        return ended._replace(outcome=outcome)
