"""The contract checks notice what is wrong in schemes that act, hear late ones or instants, or use stale gradients.

Right ones pass, and deliberate mutants of them do not: a list of mutants for each part of the interface.
"""

import dataclasses
import itertools
import math
import time

import numpy as np
import pytest
from their_backup import Backup, BackupSession

from schemes import KAsync, LocalSgd, Outcome, Phase, Scheme, Session, Task, Work
from schemes.base.chunks import ChunkCodec
from schemes.base.codec import Decoded
from schemes.base.updates import ResultCodec
from schemes.k_async import _KAsyncSession
from schemes.local_sgd import _LocalCodec
from schemes.testing import check_scheme


@dataclasses.dataclass(frozen=True)
class Made(Backup):
    """Backup tasks, with another session or codec."""

    session: type[Session] = BackupSession
    its_codec: type | None = None

    def start(self, n_jobs, rng):
        return self.session(self, n_jobs)

    def codec(self, precision, rng):
        return self.its_codec and self.its_codec(self, precision)


@dataclasses.dataclass(frozen=True)
class Updates(KAsync):
    """Asynchronous updates, with another session or codec."""

    session: type[Session] = _KAsyncSession
    its_codec: type = ResultCodec

    def start(self, n_jobs, rng):
        return self.session(self, n_jobs, self.k)

    def codec(self, precision, rng):
        return self.its_codec(self, precision)


# --- late responses that end rounds ---


class DeafToLateOnes(_KAsyncSession):
    def receive_late(self, index, worker, report):
        self._at[worker] = None


class CountsLateOnesTwice(_KAsyncSession):
    def receive_late(self, index, worker, report):
        super().receive_late(index, worker, report)
        self.came.append(self.came[-1])
        self._open[self.came[-1].job] += 1


class SaysNothingOfLateOnes(Updates):
    @property
    def late_ends_rounds(self):
        return False


# --- what becomes of lists at the close ---


class OfNoSuchWord(_KAsyncSession):
    def leftover(self):
        return "drop"


class CancelsWhatItWaitsFor(_KAsyncSession):
    def leftover(self):
        return "cancel"


class ChangesItsMind(BackupSession):
    n_closed = 0

    def leftover(self):
        type(self).n_closed += 1
        return ["cancel", "finish"][self.n_closed % 7 > 3]


class IsNotAsked(Made):
    decides_leftover = False


# --- phases ---


class CopiesOnTheBusy(BackupSession):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        return phase and Phase({max(self.missing): [self.load]})


class CopiesOnNobody(BackupSession):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        return phase and Phase({self.n: [self.load]})


class CopiesBackwards(BackupSession):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        return phase and Phase({worker: [self.load, 0.5 * self.load] for worker in phase.lists})


class CopiesEmptyLists(BackupSession):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        return phase and Phase({worker: [] for worker in phase.lists})


class HidesItsCopies(BackupSession):
    def tasks(self, worker):
        return super().tasks(worker)[:1]


class CopiesOtherLoads(BackupSession):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        return phase and Phase({worker: [0.5 * self.load] for worker in phase.lists})


class CountsAnyCopy(BackupSession):
    def receive(self, worker, report):
        super().receive(worker, report)
        if report and self.missing:
            self.missing.pop()


class WaitsForTheDropped(BackupSession):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        return phase and Phase(phase.lists, [self.lists[worker][-1] for worker in phase.lists])

    def receive(self, worker, report):
        if not report:
            super().receive(worker, report)


class CopiesForEver(BackupSession):
    def receive(self, worker, report):
        self.idle.append(worker)

    def act(self, now_s, progress):
        idle, self.idle = self.idle, []
        for worker in idle:
            self.lists[worker].append(worker)
        return Phase({worker: [self.load] for worker in idle})


class Spare(Made):
    """The last worker is idle until there is something to copy."""

    def chunk_loads(self):
        return np.full(self.n_workers - 1, self.load)

    load = property(lambda self: 1 / (self.n_workers - 1))


class SpareSession(BackupSession):
    def open_round(self, index):
        work = super().open_round(index)
        self.idle, self.missing = [self.n - 1], set(range(self.n - 1))
        self.lists[-1] = []
        return Work(np.where(np.arange(self.n)[:, np.newaxis] < self.n - 1, work.loads, np.nan))

    def act(self, now_s, progress):
        self.lists[-1].insert(0, self.n - 1)  # which is no chunk
        phase = super().act(now_s, progress)
        self.lists[-1].pop(0)
        return phase


# --- the clock ---


class Learns(BackupSession):
    """Copies begin on the workers that have been fast."""

    def __init__(self, scheme, n_jobs):
        super().__init__(scheme, n_jobs)
        self.took_s = np.zeros(self.n)
        self.look_s = 1.5

    def act(self, now_s, progress):
        self.idle.sort(key=self.took_s.__getitem__)
        self.look_s = 1.5 if now_s < 1.5 else math.inf
        return super().act(now_s, progress)

    def close_round(self, closing):
        assert 0 <= closing.stop_s < math.inf
        self.took_s[closing.missing] = closing.stop_s
        self.took_s[closing.heard.workers] = closing.heard.times_s
        return super().close_round(closing)


class LooksAtTheClockOnTheWall(Learns):
    def close_round(self, closing):
        self.took_s[closing.heard.workers] = [hash(time.perf_counter_ns()) % 97 for _ in closing.heard.workers]
        return BackupSession.close_round(self, closing)


class SortsWhatItWasTold(Learns):
    def close_round(self, closing):
        closing.heard.times_s[:] = closing.heard.times_s[::-1].copy()
        return super().close_round(closing)


class LooksAtNoInstant(Learns):
    def act(self, now_s, progress):
        phase = super().act(now_s, progress)
        self.look_s = math.nan
        return phase


class ThinksThatAllAnswered(Learns):
    def close_round(self, closing):
        self.took_s[:] = closing.heard.times_s[: self.n]
        return super().close_round(closing)


# --- stale and local gradients ---


class CallsStaleOnesFresh(_KAsyncSession):
    def close_round(self, closing):
        outcomes = super().close_round(closing)
        self.idle, self.used = [each.worker for each in self.used], [each._replace(job=self.job) for each in self.used]
        return outcomes


class UsesOthersResults(_KAsyncSession):
    def close_round(self, closing):
        outcomes = super().close_round(closing)
        self.used = [each._replace(worker=(each.worker + 1) % self._n_workers) for each in self.used]
        return outcomes


class UsesOneTwice(_KAsyncSession):
    def close_round(self, closing):
        outcomes = super().close_round(closing)
        self.used = [*self.used, *self.used[:1]]
        return outcomes


class ForgetsTooMuch(_KAsyncSession):
    @property
    def oldest(self):
        return self.job + 1


class SendsOneStep(_LocalCodec):
    def __init__(self, scheme, precision):
        super().__init__(scheme, precision)
        self._steps = 1


class Local(LocalSgd):
    def codec(self, precision, rng):
        return SendsOneStep(self, precision)


# --- estimates that are not linear, and coefficients of the round ---


class NotANumber(ChunkCodec):
    def _decode(self, responses, gradients):
        return [each._replace(gradient=np.nan * each.gradient) for each in super()._decode(responses, gradients)]


class Clipped(ChunkCodec):
    def _decode(self, responses, gradients):
        return [
            each._replace(gradient=np.clip(each.gradient, -0.5, 0.5)) for each in super()._decode(responses, gradients)
        ]


class WritesIntoResults(ResultCodec):
    def weigh(self, used, gradients):
        gradients *= 1.0
        return super().weigh(used, gradients)


class OfSomeLength(ResultCodec):
    def _estimate(self, responses, gradients):
        return [Decoded(each.gradient[:-1], 1.0, 0.0) for each in super()._estimate(responses, gradients)]


class ChunkSession(BackupSession):
    """For a codec that asks which chunks there are."""

    def close_round(self, closing):
        self.chunks = sorted(set(range(self.n)) - self.missing)
        return super().close_round(closing)


@dataclasses.dataclass(frozen=True)
class Mixed(Scheme):
    """Each worker holds two chunks and sends a mixture of them, and in the next round another; both are needed."""

    knows_the_round: bool = True
    n_workers: int = 2
    delay_rounds = 1
    load = 2.0
    tolerates = "nobody"

    def chunk_loads(self):
        return np.full(2 * self.n_workers, 0.5 / self.n_workers)

    def coefficients(self, worker, task, index):
        return np.array([1.0, 3.0 if self.knows_the_round and index > task.job else 2.0])

    def start(self, n_jobs, rng):
        return MixedSession(self, n_jobs)


class MixedSession(Session):
    def __init__(self, scheme, n_jobs):
        self.n, self.n_jobs, self.n_rounds = scheme.n_workers, n_jobs, n_jobs + 1
        self.failed = set()

    def open_round(self, index):
        self.index, self.lacking = index, set(range(self.n))
        n_tasks = len(self.tasks(0))
        return Work(np.full((self.n, 1), n_tasks / self.n if n_tasks else np.nan))

    def receive(self, worker, report):
        self.lacking.discard(worker)

    def enough(self):
        return not self.lacking

    def close_round(self, closing):
        if self.lacking:
            self.failed |= {self.index - 1, self.index}
        job = self.index - 1
        return [Outcome.of(job, None if job in self.failed else 0.0)] if job >= 0 else []

    def tasks(self, worker):
        jobs = [job for job in (self.index - 1, self.index) if 0 <= job < self.n_jobs]
        return [Task(job, "coded", 1 / self.n, (2 * worker, 2 * worker + 1)) for job in jobs]


BACKUP = {"n_workers": 6, "share": 0.5}
UPDATES = {"n_workers": 5, "k": 2}
RIGHT = {
    "backup": Made(**BACKUP),
    "backup of chunks": Made(**BACKUP, session=ChunkSession, its_codec=ChunkCodec),
    "spare": Spare(**BACKUP, session=SpareSession),
    "learning": Made(**BACKUP, session=Learns),
    "updates": Updates(**UPDATES),
    "local": LocalSgd(n_workers=4, k=3, steps=3),
    "mixed": Mixed(),
}
MUTANTS = {
    "late": [
        *[Updates(**UPDATES, session=s) for s in (DeafToLateOnes, CountsLateOnesTwice)],
        SaysNothingOfLateOnes(**UPDATES),
    ],
    "close": [
        *[Updates(**UPDATES, session=session) for session in (OfNoSuchWord, CancelsWhatItWaitsFor)],
        Made(**BACKUP, session=ChangesItsMind),
        IsNotAsked(**BACKUP),
    ],
    "phases": [
        Made(**BACKUP, session=session)
        for session in (
            CopiesOnTheBusy,
            CopiesOnNobody,
            CopiesBackwards,
            CopiesEmptyLists,
            HidesItsCopies,
            CopiesOtherLoads,
            CountsAnyCopy,
            WaitsForTheDropped,
            CopiesForEver,
        )
    ],
    "clock": [
        Made(**BACKUP, session=session)
        for session in (LooksAtTheClockOnTheWall, SortsWhatItWasTold, LooksAtNoInstant, ThinksThatAllAnswered)
    ],
    "gradients": [
        *[Updates(**UPDATES, session=session) for session in (CallsStaleOnesFresh, UsesOthersResults, ForgetsTooMuch)],
        Updates(**UPDATES, session=UsesOneTwice),
        Local(n_workers=4, k=3, steps=3),
    ],
    "estimates": [
        *[Made(**BACKUP, session=ChunkSession, its_codec=codec) for codec in (NotANumber, Clipped)],
        *[Updates(**UPDATES, its_codec=codec) for codec in (WritesIntoResults, OfSomeLength)],
        Mixed(knows_the_round=False),
    ],
}


@pytest.mark.parametrize("scheme", RIGHT.values(), ids=RIGHT)
def test_what_is_right_passes(scheme):
    check_scheme(scheme)


def _named(mutant):
    names = [type(mutant), getattr(mutant, "session", None), getattr(mutant, "its_codec", None)]
    return "-".join(name.__name__ for name in names if name is not None)


@pytest.mark.parametrize("mutant", [*itertools.chain(*MUTANTS.values())], ids=_named)
def test_a_mutant_is_found(mutant):
    with pytest.raises((AssertionError, ValueError)):  # of numpy, where a mutant writes or reads what is not there
        check_scheme(mutant)
