"""A second, naive way to every number: sets and loops written from the papers, for small cases only.

Nothing here is imported from the package. What can be decoded is decided by listing the results that arrived; what
is recoverable, by playing the future in which nobody straggles.
"""

from __future__ import annotations

import copy
import math


def windows(history, width):
    """All windows of so many rounds, also those that stick out at either end."""
    return [history[max(0, end - width) : end] for end in range(1, len(history) + width)]


def bursty(history, B, W, lam):
    for window in windows(history, W):
        if len(set().union(*window)) > lam:
            return False
        for worker in set().union(*window):
            rounds = [i for i, missing in enumerate(window) if worker in missing]
            if rounds[-1] - rounds[0] > B - 1:
                return False
    return True


def arbitrary(history, N, W, lam):
    for window in windows(history, W):
        if len(set().union(*window)) > lam:
            return False
        if any(sum(worker in missing for missing in window) > N for worker in set().union(*window)):
            return False
    return True


class Memoryless:
    """Each round is a job, decoded from whatever `decodable` says."""

    def __init__(self, n, load, decodable, T=0):
        self.n, self.load, self.decodable, self.T = n, load, decodable, T

    def start(self, n_jobs):
        return self

    def loads(self, t):
        self.t = t
        return dict.fromkeys(range(self.n), self.load)

    def ok(self, missing):
        return self.decodable(missing)

    def close(self, missing, forced):
        return {self.t: "decoded" if self.decodable(missing) else "failed"}


def gradient_coding(n, s):
    return Memoryless(n, (s + 1) / n, lambda missing: len(missing) <= s)


def fractional_repetition(n, s):
    groups = [set(range(first, first + s + 1)) for first in range(0, n, s + 1)]
    return Memoryless(n, (s + 1) / n, lambda missing: all(group - missing for group in groups))


class SelectiveRepeat:
    def __init__(self, n, B, W, lam, code="gradient_coding", accepts="pattern", as_published=False):
        self.n, self.B, self.W, self.lam = n, B, W, lam
        self.code, self.accepts, self.as_published = code, accepts, as_published
        x = (W - 1) // B
        self.s = math.ceil(lam / (x + 1))
        self.T = B

    def start(self, n_jobs):
        self.J = n_jobs
        self.results = {}  # job -> workers whose result came in the job's own round
        self.ended = {}
        self.history = []
        self.published = []  # the history as the published simulator looks back at it
        return self

    def groups(self):
        return [set(range(first, first + self.s + 1)) for first in range(0, self.n, self.s + 1)]

    def decodable(self, received):
        if self.code == "gradient_coding":
            return len(received) >= self.n - self.s
        return all(group & received for group in self.groups())

    def repeaters(self, t):
        job = t - self.B
        if not 0 <= job < self.J or job in self.ended:
            return set()
        received = self.results[job]
        if self.code == "gradient_coding":
            v = self.n - len(received)
            return set([i for i in range(self.n) if i not in received][: v - self.s])
        return {min(group) for group in self.groups() if not group & received}

    def loads(self, t):
        self.t = t
        self.again = self.repeaters(t)
        load = (self.s + 1) / self.n
        if t < self.J or (self.as_published and self.again):
            return dict.fromkeys(range(self.n), load)
        return dict.fromkeys(self.again, load)

    def ok(self, missing):
        if self.as_published:
            return bursty([*self.published, missing], self.B, self.W, self.lam)
        if self.accepts == "pattern":
            return all(
                bursty([set(r) for r in window], self.B, self.W, self.lam) or all(len(r) <= self.s for r in window)
                for window in (
                    [*self.history, missing][max(0, end - self.W) : end] for end in range(1, len(self.history) + 2)
                )
            )
        return not self.again & missing

    def close(self, missing, forced):
        outcomes = {}
        job = self.t - self.B
        if 0 <= job < self.J and job not in self.ended:
            if self.code == "gradient_coding":
                enough = len(self.results[job]) + len(self.again - missing) >= self.n - self.s
            else:
                enough = self.decodable(self.results[job] | (self.again - missing))
            outcomes[job] = "decoded" if enough else "failed"
        if self.t < self.J:
            received = set(range(self.n)) - missing - self.again
            self.results[self.t] = received
            if self.decodable(received):
                outcomes[self.t] = "decoded"
        self.ended |= outcomes
        if forced:
            self.history, self.published = [], []
        else:
            self.history.append(set(missing))
            ignored = len(missing) <= self.s and not self.again
            self.published.append(set() if ignored else set(missing))
        return outcomes


class Multiplexed:
    def __init__(self, n, B, W, lam, code="gradient_coding", accepts="pattern", as_published=False):
        self.n, self.B, self.W, self.lam = n, B, W, lam
        self.code, self.accepts, self.as_published = code, accepts, as_published
        self.T = W - 2 + B

    def load(self, n_tasks):
        # one quotient, as in the package: polling would show a difference in the last bit
        if self.lam == self.n:
            return n_tasks / (self.n * (self.W - 1))
        return n_tasks * (self.lam + 1) / (self.n * (self.B + (self.W - 1) * (self.lam + 1)))

    def start(self, n_jobs):
        self.J = n_jobs
        self.own = set()  # (job, worker, number) of the D1 results received
        self.coded = set()  # (job, worker, group) of the D2 results received
        self.ended = {}
        self.history = []
        self.t = -1
        return self

    def tasks(self, t, worker):
        """What a worker does in round t: ("own", job, number) or ("coded", job, group)."""
        tasks = []
        for slot in range(self.W - 1 + self.B):
            job = t - slot
            if not 0 <= job < self.J or job in self.ended:
                continue
            if slot < self.W - 1:
                tasks.append(("own", job, slot))
                continue
            lacking = [k for k in range(self.W - 1) if (job, worker, k) not in self.own]
            if lacking:
                tasks.append(("own", job, lacking[0]))
            elif self.lam < self.n:
                tasks.append(("coded", job, slot - (self.W - 1)))
        return tasks

    def loads(self, t):
        self.t = t
        self.given = {i: self.tasks(t, i) for i in range(self.n)}
        if self.as_published:
            return dict.fromkeys(range(self.n), self.load(self.W - 1 + self.B))
        return {i: self.load(len(tasks)) for i, tasks in self.given.items() if tasks}

    def book(self, missing):
        for worker, tasks in self.given.items():
            if worker not in missing:
                for kind, job, number in tasks:
                    (self.own if kind == "own" else self.coded).add((job, worker, number))

    def is_decoded(self, job):
        if any((job, i, k) not in self.own for i in range(self.n) for k in range(self.W - 1)):
            return False
        if self.lam == self.n:
            return True
        for group in range(self.B):
            answered = {i for i in range(self.n) if (job, i, group) in self.coded}
            if self.code == "gradient_coding":
                if len(answered) < self.n - self.lam:
                    return False
            else:
                size = self.lam + 1
                if any(not answered & set(range(f, f + size)) for f in range(0, self.n, size)):
                    return False
        return True

    def in_flight(self):
        return [j for j in range(max(0, self.t - self.T), min(self.t, self.J - 1) + 1) if j not in self.ended]

    def rescued(self, missing):
        """Jobs in flight that are decoded by their deadlines if nobody straggles after this round."""
        future = copy.deepcopy(self)
        jobs = future.in_flight()
        future.book(missing)
        decoded = set()
        for t in range(self.t + 1, self.t + self.T + 2):
            decoded |= {job for job in jobs if job + self.T >= t - 1 and future.is_decoded(job)}
            future.given = {i: future.tasks(t, i) for i in range(self.n)}
            future.book(set())
        return decoded

    def ok(self, missing):
        if self.accepts == "recoverable" and not self.as_published:
            return self.rescued(missing) == set(self.in_flight())
        history = [*self.history, missing]
        if bursty(history, self.B, self.W, self.lam):
            return True
        return not self.as_published and arbitrary(history, self.B, self.W + self.B - 1, self.lam)

    def close(self, missing, forced):
        rescued = self.rescued(missing)
        outcomes = {job: "failed" for job in self.in_flight() if job not in rescued}
        jobs = [job for job in self.in_flight() if job in rescued]
        self.book(missing)
        outcomes |= {job: "decoded" for job in jobs if self.is_decoded(job)}
        self.ended |= outcomes
        self.history = [] if forced else [*self.history, set(missing)]
        return outcomes


def look(instant, poll):
    if poll is None or math.isinf(instant):
        return instant
    k = max(0, math.floor(instant / poll) - 2)
    while k * poll < instant:
        k += 1
    return k * poll


def close_of(finish, ok, rule, timeout=None, poll=None):
    """When a round closes, who is missing then, whether that is not enough, and the time waited.

    `finish` maps each busy worker to its finishing time; `rule` is ("first_enough",), ("mu", mu, reference, wait_for)
    or ("fixed", time, wait_for).
    """
    arrivals = sorted({f for f in finish.values() if f < math.inf})

    def missing(instant):
        return {worker for worker, f in finish.items() if f > instant}

    def first_ok(after):
        return min((look(f, poll) for f in arrivals if f > after and ok(missing(f))), default=math.inf)

    everybody = look(max(finish.values()), poll)
    if rule[0] == "first_enough":
        wanted, closes = None, first_ok(-1)
    else:
        wait_for = rule[-1]
        if rule[0] == "fixed":
            wanted = look(rule[1], poll)
        else:
            ranked = sorted(finish.values())
            rank = 0 if rule[2] == "first" else -(-len(ranked) // 2) - 1
            wanted = look((1.0 + rule[1]) * ranked[rank], poll)
        looks = wanted
        if arrivals and looks < arrivals[0]:
            looks = look(arrivals[0], poll)
        if math.isinf(looks):
            closes = math.inf
        elif ok(missing(looks)) or wait_for == "nobody":
            closes = looks
        else:
            closes = first_ok(looks) if wait_for == "enough" else math.inf
    closes = min(closes, everybody, look(math.inf if timeout is None else timeout, poll))
    left = missing(closes)
    waited = 0.0 if wanted is None else max(0.0, closes - wanted)
    return closes, left, bool(left) and not ok(left), waited


def simulate(scheme, n_jobs, times, rule, timeout=None, poll=None):
    """Run a scheme; `times[t][i]` is the (startup_s, seconds_per_load, slowdown) of worker i in round t."""
    session = scheme.start(n_jobs)
    rounds, outcomes = [], {}
    for t in range(n_jobs + scheme.T):
        loads = session.loads(t)
        finish = {}
        for i, load in loads.items():
            startup, rate, slowdown = times[t][i]
            never = math.isinf(startup) or math.isinf(rate) or math.isinf(slowdown)
            finish[i] = math.inf if never else slowdown * (startup + rate * load)
        if finish:
            closes, left, forced, waited = close_of(finish, session.ok, rule, timeout, poll)
        else:
            closes, left, forced, waited = 0.0, set(), False, 0.0
        ended = session.close(left, forced)
        outcomes |= {job: (status, t) for job, status in ended.items()}
        rounds.append((closes, waited, left, loads))
    return rounds, outcomes
