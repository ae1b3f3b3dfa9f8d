"""A choice on line: after each round, the setting that would have been fastest in the rounds seen of late."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import Field, InstanceOf
from pydantic.dataclasses import dataclass

from schemes.base.codec import Codec, Decoded, Ended, Precision
from schemes.base.scheme import Scheme, Session
from schemes.base.seen import Seen
from schemes.base.task_codec import codec_of
from schemes.base.under_rule import EveryArrival, Look, closed_round
from schemes.base.work import Closing, Heard, Outcome, Task, Work
from simulator.parameters import FloatArray, IntArray, NonNegative, PositiveCount

DIGITS = 12  # of where a chunk ends, as a share of the data
BELIEVED = 3  # rounds in which replays were right: so much weight have those that are not known to be wrong


@dataclass(frozen=True)
class Adaptive(Scheme):
    """The setting that would have been fastest in the last rounds, chosen again after each round.

    After each round, every setting is replayed in it with what the master has heard. A worker that has answered
    counts as slow at any load as at its own, relative to the line through the fastest times at the loads that were
    seen. Of a worker that was cut off only a bound is known: its slowness is drawn from the Kaplan-Meier distribution
    of all in the window, beyond that bound. As the slowest may never have been heard, the mean of a setting over the
    window is corrected by what its rounds have really taken when it ran. The setting with the smallest mean runs
    next.

    Another setting is tried if that may pay: every round is also replayed as if workers that were cut off had
    answered just then. If what a setting then saves in a window of rounds, times ``explore``, is more than it is
    expected to lose in one round, it runs next.

    The first setting should be a safe one. The second round runs the next setting with another load, which gives the
    line, unless ``seconds_per_load`` is given; without another load, all of the time counts as work.

    With ``once`` the first setting runs for ``window`` rounds, and the best in these for all others: the probing of
    the first paper; then settings with a delay T may be among them.

    Source: Krishnan, Ebrahimi and Khisti, ICLR 2023, appendix on parameter selection, is ``once`` with uncoded as the
    first setting.

    Examples
    --------
    >>> from schemes import GradientCoding, Uncoded
    >>> Adaptive(4, of={"uncoded": Uncoded(4), "GC": GradientCoding(4, s=1)}).load
    0.5
    """

    n_workers: PositiveCount
    of: Annotated[dict[str, InstanceOf[Scheme]], Field(min_length=1)]
    """settings to choose from by label; the first one runs first"""
    window: PositiveCount = 40
    """number of past rounds that a choice uses"""
    explore: NonNegative = 0.03
    """weight of what trying another setting may gain; 0: none is tried"""
    seconds_per_load: NonNegative | None = None
    """seconds that load 1 takes a worker besides start-up; null: estimated from rounds at different loads"""
    once: bool = False
    """whether to choose once, after ``window`` rounds of the first setting"""

    def __post_init__(self) -> None:
        for label, scheme in self.of.items():
            if scheme.n_workers != self.n_workers:
                raise ValueError(f"of.{label} must be for {self.n_workers} workers, got {scheme.n_workers}")
            if said := _what_is_wrong(scheme):
                raise ValueError(f"of.{label} must be a scheme {said}, got {type(scheme).__name__}")
            if scheme.delay_rounds and (not self.once or scheme is next(iter(self.of.values()))):
                raise ValueError(
                    f"of.{label} must be a scheme without delay (with once: true all but the first may have one), got "
                    f"T = {scheme.delay_rounds}"
                )

    def under(self, rule: Look) -> Self:
        """The same for a master that has this rule."""
        copy = object.__new__(type(self))
        copy.__dict__.update(vars(self) | {"_rule": rule})
        return copy

    @property
    def delay_rounds(self) -> int:
        return max(scheme.delay_rounds for scheme in self.of.values())

    @property
    def load(self) -> float:
        return max(scheme.load for scheme in self.of.values())

    @property
    def tolerates(self) -> str:
        return "what the setting tolerates that it has chosen"

    @property
    def facts(self) -> dict[str, str]:
        return {"chooses from": ", ".join(self.of)}

    @property
    def needs_enough(self) -> str | None:
        return next((said for scheme in self.of.values() if (said := scheme.needs_enough)), None)

    @property
    def n_error_blocks(self) -> int:
        return next(iter(self.of.values())).n_error_blocks

    def chunk_loads(self) -> FloatArray:
        return self.common_chunks()[0]

    def common_chunks(self) -> tuple[FloatArray, Mapping[str, IntArray]]:
        """Chunks of which those of all settings are made, and which of them is the last in each chunk of a setting."""
        ends = {label: np.cumsum(scheme.chunk_loads()).round(DIGITS) for label, scheme in self.of.items()}
        every = np.unique(np.concatenate(list(ends.values())))
        return np.diff(every, prepend=0.0), {label: np.searchsorted(every, each) for label, each in ends.items()}

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec:
        return _AdaptiveCodec(self, precision, rng)

    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        return _AdaptiveSession(self, n_jobs, rng, vars(self).get("_rule", EveryArrival()))


def _what_is_wrong(scheme: Scheme) -> str:
    if isinstance(scheme, Adaptive):
        return "that does not choose itself"
    if scheme.hears_late or scheme.late_ends_rounds or scheme.begins_anew or scheme.decides_leftover:
        return "that gives out all work when a round opens, and drops what is late"
    return ""


class _AdaptiveSession(Session):
    """The sessions of all settings, of which one is on, and a second of each, in which all rounds are replayed."""

    def __init__(self, scheme: Adaptive, n_jobs: int, rng: np.random.Generator, rule: Look) -> None:
        self.n_rounds, self._n_jobs = n_jobs + scheme.delay_rounds, n_jobs
        self._scheme, self._rule = scheme, rule
        runs, replays, self._rng = rng.spawn(3)
        self._rngs = dict(zip(scheme.of, runs.spawn(len(scheme.of)), strict=True))
        self._sessions: dict[str, Session] = {}
        self._n_run = dict.fromkeys(scheme.of, 0)  # rounds of each so far
        self._estimates: dict[bool, dict[str, _Estimate]] = {False: {}, True: {}}  # by whether they are hopeful
        for (label, each), own in zip(scheme.of.items(), replays.spawn(len(scheme.of)), strict=True):
            for estimates, own_rng in zip(self._estimates.values(), own.spawn(2), strict=True):
                estimates[label] = _Estimate(each.start(n_jobs, own_rng), scheme.window)
        self._seen = Seen(scheme.window, scheme.seconds_per_load)
        self.label, self.offset = next(iter(scheme.of)), 0  # the setting that is on, and in which round its first was

    @property
    def now(self) -> Session:
        """The session that is on."""
        return self._sessions[self.label]

    def _choice(self, index: int) -> str:
        scheme = self._scheme
        if not index or (scheme.once and index != scheme.window):
            return self.label
        if index == 1 and not self._seen.has_a_line and not scheme.once:
            own = scheme.of[self.label].load
            return next((label for label, each in scheme.of.items() if each.load != own), self.label)
        expected_s = {label: each.round_s for label, each in self._estimates[False].items()}
        best = min(expected_s, key=expected_s.__getitem__)
        if scheme.once:
            return best
        # what would be gained in a window of rounds, were hopes true, less what a round costs if they are not
        worth_s = {
            label: scheme.explore * scheme.window * max(0.0, expected_s[best] - each.round_s)
            - (expected_s[label] - expected_s[best])
            for label, each in self._estimates[True].items()
            if expected_s[label] < np.inf
        }
        return max(worth_s, key=worth_s.__getitem__) if max(worth_s.values(), default=0.0) > 0 else best

    def open_round(self, index: int) -> Work:
        self.label = self._choice(index)
        if self.label not in self._sessions:
            n_jobs = self._n_jobs - index if self._scheme.once else self._n_jobs
            self._sessions[self.label] = self._scheme.of[self.label].start(n_jobs, self._rngs[self.label])
        own = self._n_run[self.label]
        self.offset = index - own
        self._n_run[self.label] += 1
        self._is_over = own >= self.now.n_rounds  # others have a longer delay
        self._index, self._work = index, _idle(self._scheme.n_workers) if self._is_over else self.now.open_round(own)
        self.asks_for_uploads = self.now.asks_for_uploads and not self._is_over
        return self._work

    def receive(self, worker: int, report: int) -> None:
        self.now.receive(worker, report)

    def enough(self) -> bool:
        return self._is_over or self.now.enough()

    def uploads(self, n_received: IntArray) -> FloatArray | None:
        return self.now.uploads(n_received)

    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        if self._is_over:
            return []
        outcomes = self.now.close_round(closing)
        if closing.heard is not None and (not self._scheme.once or self._index < self._scheme.window):
            for estimates in self._estimates.values():
                for estimate in estimates.values():
                    estimate.forget()
                estimates[self.label].run(_Cost.of(closing.stop_s, outcomes))
            self._replay(closing.heard, closing.stop_s)
        blocks = self._scheme.n_error_blocks / self._scheme.of[self.label].n_error_blocks
        return [
            dataclasses.replace(each, job=each.job + self.offset, squared_error=each.squared_error * blocks)
            for each in outcomes
        ]

    def _replay(self, heard: Heard, stop_s: float) -> None:
        """Let every setting meet the round that has been closed, as far as its times are known."""
        self._seen.add(self._work, heard, stop_s if stop_s < np.inf else heard.times_s.max(initial=0.0))
        for is_hopeful, estimates in self._estimates.items():
            found = self._seen.slowness(None if is_hopeful else self._rng)
            for label, estimate in estimates.items():
                session = estimate.session
                if found is None or self._index >= session.n_rounds:
                    continue
                slowness, (startup_s, seconds_per_load) = found
                work = session.open_round(self._index)
                finish_s = slowness[:, np.newaxis] * (startup_s + seconds_per_load * work.loads)
                closed = closed_round(session, self._rule, work, finish_s)
                outcomes = session.close_round(closed)
                if label != self.label:
                    estimate.costs.append(_Cost.of(closed.stop_s, outcomes))

    def tasks(self, worker: int) -> Sequence[Task]:
        if self._is_over:
            return []
        last = self._last_chunks[self.label]
        first = _first_chunks(last)
        return [
            dataclasses.replace(
                task,
                job=task.job + self.offset,
                chunks=tuple(part for chunk in task.chunks for part in range(first[chunk], last[chunk] + 1)),
            )
            for task in self.now.tasks(worker)
        ]

    @functools.cached_property
    def _last_chunks(self) -> Mapping[str, IntArray]:
        return self._scheme.common_chunks()[1]


def _idle(n_workers: int) -> Work:
    return Work(np.full((n_workers, 1), np.nan))


class _Cost(NamedTuple):
    """What a round has cost, and the jobs that ended with it."""

    duration_s: float
    n_ended: int
    n_failed: int

    @classmethod
    def of(cls, duration_s: float, outcomes: Sequence[Outcome]) -> Self:
        return cls(duration_s, len(outcomes), sum(outcome.status == "failed" for outcome in outcomes))


class _Estimate:
    """What a setting would have cost in the latest rounds; corrected by how far that was off when it ran."""

    def __init__(self, session: Session, window: int) -> None:
        self.session = session  # in which rounds are replayed
        self.costs: deque[_Cost] = deque(maxlen=window)
        self._keep = 1 - 1 / window
        self._real_s = self._replayed_s = 0.0  # of the rounds in which it ran, older ones with less weight

    @property
    def _mean_s(self) -> float:
        """Mean seconds of a round for each job that does not fail; inf: all do, or nothing is known."""
        if not self.costs:
            return np.inf
        durations_s, n_ended, n_failed = np.sum(self.costs, axis=0)
        share = 1 - n_failed / n_ended if n_ended else 1.0
        return float(durations_s / len(self.costs) / share) if share else np.inf

    @property
    def round_s(self) -> float:
        """What a round would cost now."""
        mean_s = self._mean_s
        if not 0 < mean_s < np.inf:
            return mean_s
        believed_s = BELIEVED * mean_s
        return mean_s * (believed_s + self._real_s) / (believed_s + self._replayed_s)

    def forget(self) -> None:
        """Let a round pass."""
        self._real_s *= self._keep
        self._replayed_s *= self._keep

    def run(self, cost: _Cost) -> None:
        """Note a round in which it ran."""
        mean_s = self._mean_s
        if mean_s < np.inf:
            self._real_s += cost.duration_s
            self._replayed_s += mean_s
        self.costs.append(cost)


class _AdaptiveCodec(Codec):
    """The codecs of all settings, of which the session says which is on."""

    def __init__(self, scheme: Adaptive, precision: Precision, rng: np.random.Generator) -> None:
        super().__init__(scheme, precision)
        own_rngs = zip(scheme.of.items(), rng.spawn(len(scheme.of)), strict=True)
        self._codecs = {label: codec_of(each, precision, own) for (label, each), own in own_rngs}
        self._last_chunks = scheme.common_chunks()[1]

    def open_round(self, index: int, work: Work, session: Session) -> None:
        assert isinstance(session, _AdaptiveSession)
        self._label, self._now, self._offset = session.label, self._codecs[session.label], session.offset
        if work.n_busy:
            self._now.open_round(index - self._offset, work, session.now)

    def close_round(self, heard: Heard, closing: Closing) -> None:
        self._now.close_round(heard, closing)

    def end(self, outcome: Outcome) -> Ended:
        ended = self._now.end(dataclasses.replace(outcome, job=outcome.job - self._offset))
        decode, first = ended.decode, _first_chunks(self._last_chunks[self._label])

        def decode_own(responses: Sequence[IntArray], gradients: FloatArray) -> Sequence[Decoded]:
            return decode(responses, np.add.reduceat(gradients, first, axis=0))

        return ended._replace(outcome=outcome, chunk_loads=self.chunk_loads, decode=decode_own)


def _first_chunks(last: IntArray) -> IntArray:
    return np.concatenate([[0], last[:-1] + 1])
