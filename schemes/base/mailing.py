"""Runs whose master decodes from messages that have come, as that of real workers does: for checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from schemes.base.codec import Answer, Codec, Ended, Messages, Result, Upload, message
from schemes.base.lists import Lists
from schemes.base.scheme import Scheme, Session
from schemes.base.task_codec import codec_of
from schemes.base.valued import ValuedSession
from schemes.base.work import Closing, Outcome, Phase, Work
from simulator.parameters import FloatArray

EXACT = 1e-8  # as in schemes/testing.py


class Later(list[Ended]):
    """Jobs that wait for their values until the run is over: what they are decoded from must be there still."""

    def end(self, ended: Ended) -> None:
        """Keep a job."""
        self.append(ended)


class Remembered(Later):
    """Such jobs, which may use only results that have come."""

    def __init__(self) -> None:
        super().__init__()
        self.came: Counter[Result] = Counter()
        self._oldest = 0  # of a job whose results may still be used

    def end(self, ended: Ended) -> None:
        """Take note of a job; what it uses must have come as it says."""
        for result, n_used in Counter(ended.results or ()).items():
            said = f"job {ended.outcome.job} uses {result}"
            assert n_used <= self.came[result], f"{said} {n_used} times, which has come {self.came[result]} times"
            assert result.job >= self._oldest, f"{said}, but said that none before job {self._oldest} would be used"
        self._oldest = max(self._oldest, ended.oldest)
        super().end(ended)


class ListedSession(ValuedSession):
    """A session whose reports are known by their tasks."""

    def __init__(self, session: Session, codec: Codec, plane: Later) -> None:
        super().__init__(session, codec, plane)
        self._lists = Lists()
        self._index = -1

    def open_round(self, index: int) -> Work:
        work = super().open_round(index)
        self._index = index
        self._lists.open_round(index, work, self._session)
        return work

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        phase = super().act(now_s, progress)
        if phase is not None:
            self._lists.act(phase, self._session)
        return phase

    @property
    def receive(self) -> Callable[[int, int], None]:
        return self._receive

    def _receive(self, worker: int, report: int) -> None:
        self.take(self._index, worker, report)
        self._session.receive(worker, report)

    def receive_late(self, index: int, worker: int, report: int) -> None:
        self.take(index, worker, report)
        super().receive_late(index, worker, report)

    def take(self, index: int, worker: int, report: int) -> None:
        """Note a report that comes."""


class RememberingSession(ListedSession):
    """Remembers which results have come: the chunks of what was reported, with the round in which it was given out."""

    def __init__(self, session: Session, codec: Codec, plane: Remembered) -> None:
        super().__init__(session, codec, plane)
        self._came = plane.came

    def take(self, index: int, worker: int, report: int) -> None:
        chunks = Counter(chunk for task in self._lists.of(index, worker, report) for chunk in task.chunks)
        self._came.update(Result(index, worker, chunk, steps) for chunk, steps in chunks.items())


class MessageSession(ListedSession):
    """A session whose master keeps the messages that have come, and decodes from them, too."""

    def __init__(self, scheme: Scheme, n_jobs: int, rng: np.random.Generator, *, takes_estimate: bool) -> None:
        codec = codec_of(scheme, "float64", rng)
        super().__init__(scheme.start(n_jobs, np.random.default_rng(0)), codec, Later())
        self._scheme, self._rng, self._takes_estimate = scheme, rng, takes_estimate
        self._came = Messages()
        self._gradients: dict[int, FloatArray] = {}
        self.n_compared = 0

    def open_round(self, index: int) -> Work:
        self._n_received = np.zeros(self._scheme.n_workers, dtype=np.int64)
        return super().open_round(index)

    def _gradient(self, job: int) -> FloatArray:
        """Of each chunk, shape ``(n_chunks, 7)``."""
        if job not in self._gradients:
            self._gradients[job] = self._rng.standard_normal((len(self._codec.chunk_loads), 7))
        return self._gradients[job]

    def take(self, index: int, worker: int, report: int) -> None:
        self._n_received[worker] += index == self._index
        for task in self._lists.of(index, worker, report):
            if not task.step:  # gradients of several steps are those of the first one here
                coefficients = self._scheme.coefficients(worker, task, index)
                made = message(coefficients, self._gradient(task.job)[list(task.chunks)])
                self._came.add(Answer(task.job, task.chunks, worker, index), made)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        asks = self._session.asks_for_uploads and (self._takes_estimate or not closing.forced)
        uploads = self._codec.uploads(self._n_received, self._takes_estimate) if asks else None
        outcomes = super().close_round(closing)
        assert isinstance(self._plane, Later)
        for ended in self._plane:
            if ended.outcome.status != "failed":
                self._compare(ended, uploads)
        self._plane.clear()
        return outcomes

    def _compare(self, ended: Ended, uploads: Mapping[int, Upload] | None) -> None:
        gradients = self._gradient(ended.outcome.job)
        if ended.results is not None:
            each = [self._gradient(one.job)[one.chunk] for one in ended.results]
            gradients = np.array(each).reshape(len(each), gradients.shape[1])
        expected = ended.decoded(gradients)
        if uploads is None:
            messages = self._came.of(self._codec.answers(ended), gradients.shape[1])
        else:
            each = [upload.of(gradients[list(upload.chunks)]) for upload in uploads.values()]
            messages = np.stack(each) if each else np.zeros((0, gradients.shape[1]))
        got = self._codec.combine(ended, messages)
        off = float(np.linalg.norm(got.gradient[:7] - expected.gradient))
        size = float(np.linalg.norm(expected.gradient))
        assert off <= EXACT * max(1.0, size), f"job {ended.outcome.job}: messages give another gradient, off by {off}"
        self.n_compared += 1
