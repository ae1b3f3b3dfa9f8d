import numpy as np
from pydantic.dataclasses import dataclass

from schemes import Outcome, Phase, Scheme, Session, Task, Work


@dataclass(frozen=True)
class Backup(Scheme):
    """Uncoded work; once a share of the results has come, whoever is done computes again what is missing."""

    n_workers: int
    share: float
    decides_leftover = is_memoryless = True
    tolerates = "stragglers slower than a copy of their work"
    load = property(lambda self: 1 / self.n_workers)

    def chunk_loads(self):
        return np.full(self.n_workers, self.load)

    def start(self, n_jobs, rng):
        return BackupSession(self, n_jobs)


class BackupSession(Session):
    acts = True

    def __init__(self, scheme, n_jobs):
        self.n_rounds, self.n, self.share, self.load = n_jobs, scheme.n_workers, scheme.share, scheme.load

    def open_round(self, index):
        self.index, self.idle, self.missing = index, [], set(range(self.n))
        self.lists = [[worker] for worker in range(self.n)]  # the chunks of each worker
        return Work(np.full((self.n, 1), self.load))

    def receive(self, worker, report):
        self.missing.discard(self.lists[worker][report])
        self.idle.append(worker)

    def enough(self):
        return not self.missing

    def act(self, now_s, progress):
        to_copy = self.missing.difference(*(chunks[1:] for chunks in self.lists))
        pairs = list(zip(self.idle, sorted(to_copy), strict=False))
        if not pairs or self.n - len(self.missing) < self.share * self.n - 1e-9:
            return None
        self.idle = self.idle[len(pairs) :]
        for worker, chunk in pairs:
            self.lists[worker].append(chunk)
        return Phase({worker: [self.load] for worker, _ in pairs})

    def close_round(self, closing):
        return [Outcome.of(self.index, None if self.missing else 0.0)]

    def leftover(self):
        return "cancel"

    def tasks(self, worker):
        return [Task(self.index, "plain", self.load, (chunk,)) for chunk in self.lists[worker]]
