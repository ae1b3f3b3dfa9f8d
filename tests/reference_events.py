"""A whole run the naive way: every message, every list, every response, for small cases only.

Continues `reference`, and imports nothing from the package either. Messages queue in a SimPy environment of their own;
what is enough, who fails and what is recoverable is found by listing the responses that have arrived and by playing the
future in which nobody straggles and no late response comes.

A response is named (round, worker, report): the round in which the list was given, and the place in the list. Instants
are seconds since the start of the open round; what is left of earlier rounds is moved to that clock. They are
fractions, so that no sum is rounded: instants that are equal for a reason are equal however they were found.

A scheme's `open(t)` gives every worker its list of reports, each a cumulative load and the gradients that it carries
up. `enough` and `close` are told the responses that have arrived since the round opened, late ones included, and who
has not reported everything; `hear` books responses for good.
"""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import reference
import simpy
from reference import look


class Memoryless:
    """Each round is a job, and each worker reports once."""

    T = 0
    late_responses = "drop"

    def __init__(self, n, load, decodable):
        self.n, self.load, self.decodable = n, load, decodable

    def start(self, n_jobs):
        return copy.deepcopy(self)

    def open(self, t):
        self.t = t
        return {worker: [(self.load, 1)] for worker in range(self.n)}

    def enough(self, responses, missing):
        return self.decodable(missing)

    def close(self, responses, missing, forced):
        return {self.t: ("decoded", 0.0) if self.decodable(missing) else ("failed", math.nan)}


def uncoded(n):
    return Memoryless(n, 1 / n, lambda missing: not missing)


def gradient_coding(n, s):
    return Memoryless(n, (s + 1) / n, reference.gradient_coding(n, s).decodable)


def fractional_repetition(n, s):
    return Memoryless(n, (s + 1) / n, reference.fractional_repetition(n, s).decodable)


class FastestK(Memoryless):
    def __init__(self, n, k):
        super().__init__(n, 1 / n, lambda missing: n - len(missing) >= k)
        self.k = k

    def close(self, responses, missing, forced):
        used = [worker for worker in range(self.n) if worker not in missing][: self.k]
        if not used:
            return {self.t: ("failed", math.nan)}
        coefficients = [Fraction(self.n, len(used)) if worker in used else 0 for worker in range(self.n)]
        error = float(sum((coefficient - 1) ** 2 for coefficient in coefficients))
        return {self.t: ("approximate" if error else "decoded", error)}


class SelectiveRepeat(reference.SelectiveRepeat):
    def __init__(self, *args, late_responses="drop", **kwargs):
        super().__init__(*args, **kwargs)
        self.late_responses = late_responses

    def start(self, n_jobs):
        session = super(SelectiveRepeat, copy.deepcopy(self)).start(n_jobs)
        session.job_of = {}  # (round, worker) -> the job on which it worked; None if it only padded
        return session

    def received(self, job):
        return self.results.get(job, set())

    def repeaters(self, t):
        job = t - self.B
        if not 0 <= job < self.J or job in self.ended or self.decodable(self.received(job)):
            return set()
        if self.code == "fractional_repetition":
            return {min(group) for group in self.groups() if not group & self.received(job)}
        again = set()
        while not self.decodable(self.received(job) | again):
            again.add(min(set(range(self.n)) - self.received(job) - again))
        return again

    def open(self, t):
        self.t = t
        self.again = self.repeaters(t)
        lists = {}
        for worker in range(self.n):
            if worker in self.again:
                self.job_of[t, worker] = t - self.B
            elif t < self.J:
                self.job_of[t, worker] = t
            elif self.as_published and self.again:
                self.job_of[t, worker] = None
            else:
                continue
            lists[worker] = [((self.s + 1) / self.n, 0 if self.job_of[t, worker] is None else 1)]
        return lists

    def hear(self, responses):
        for t, worker, _ in responses:
            job = self.job_of[t, worker]
            if job is not None and job not in self.ended:
                self.results[job] = self.received(job) | {worker}

    def in_flight(self):
        return [j for j in range(max(0, self.t - self.B), min(self.t, self.J - 1) + 1) if j not in self.ended]

    def rescued(self, responses):
        """Jobs in flight that can be decoded by their deadlines if nobody straggles after this round."""
        future = copy.deepcopy(self)
        future.hear(responses)
        saved = {job for job in self.in_flight() if future.decodable(future.received(job))}
        for t in range(self.t + 1, self.t + self.B + 1):
            future.hear({(t, worker, 0) for worker in future.open(t)})
            saved |= {job for job in self.in_flight() if job + self.B >= t and future.decodable(future.received(job))}
        return saved

    def enough(self, responses, missing):
        if self.accepts == "recoverable":
            return self.rescued(responses) == set(self.in_flight())
        return self.ok(missing)

    def close(self, responses, missing, forced):
        saved = self.rescued(responses)
        outcomes = {job: ("failed", math.nan) for job in self.in_flight() if job not in saved}
        self.hear(responses)
        outcomes |= {job: ("decoded", 0.0) for job in saved if self.decodable(self.received(job))}
        self.ended |= outcomes
        if forced:
            self.history, self.published = [], []
        else:
            self.history.append(set(missing))
            ignored = len(missing) <= self.s and not self.again
            self.published.append(set() if ignored else set(missing))
        return outcomes


class Multiplexed(reference.Multiplexed):
    def __init__(self, *args, credit="whole_list", late_responses="drop", **kwargs):
        super().__init__(*args, **kwargs)
        self.credit, self.late_responses = credit, late_responses

    def start(self, n_jobs):
        session = super(Multiplexed, copy.deepcopy(self)).start(n_jobs)
        session.tasks_of = {}  # response -> the mini-tasks whose results it brings
        return session

    def open(self, t):
        self.t = t
        lists = {}
        for worker in range(self.n):
            tasks = self.in_order(t, worker)
            if self.credit == "prefix":
                reports = [[task] for task in tasks]
                loads = [self.load(report + 1) for report in range(len(tasks))]
            else:
                reports = [tasks] if tasks or self.as_published else []
                loads = [self.load(self.W - 1 + self.B if self.as_published else len(tasks))]
            if reports:
                lists[worker] = [(load, len(report)) for load, report in zip(loads, reports, strict=True)]
            self.tasks_of |= {(t, worker, place): report for place, report in enumerate(reports)}
        return lists

    def in_order(self, t, worker):
        """Repeats and then first tries, of the oldest job first; coded results last, of the newest job first."""
        repeats, first_tries, coded = [], [], []
        for task in sorted(self.tasks(t, worker), key=lambda task: task[1]):
            kind, job, _ = task
            (coded if kind == "coded" else repeats if t - job >= self.W - 1 else first_tries).append(task)
        return repeats + first_tries + coded[::-1]

    def hear(self, responses):
        for response in responses:
            worker = response[1]
            for kind, job, number in self.tasks_of[response]:
                if job not in self.ended:
                    (self.own if kind == "own" else self.coded).add((job, worker, number))

    def rescued(self, responses):
        future = copy.deepcopy(self)
        future.hear(responses)
        saved = {job for job in self.in_flight() if future.is_decoded(job)}
        for t in range(self.t + 1, self.t + self.T + 1):
            lists = future.open(t)
            future.hear({(t, worker, place) for worker, reports in lists.items() for place in range(len(reports))})
            saved |= {job for job in self.in_flight() if job + self.T >= t and future.is_decoded(job)}
        return saved

    def enough(self, responses, missing):
        if self.accepts == "recoverable":
            return self.rescued(responses) == set(self.in_flight())
        return self.ok(missing)

    def close(self, responses, missing, forced):
        saved = self.rescued(responses)
        outcomes = {job: ("failed", math.nan) for job in self.in_flight() if job not in saved}
        self.hear(responses)
        outcomes |= {job: ("decoded", 0.0) for job in saved if self.is_decoded(job)}
        self.ended |= outcomes
        self.history = [] if forced else [*self.history, set(missing)]
        return outcomes


class PartialGradientCoding:
    """`lists[worker]` holds the worker's chunks in their order."""

    T = 0
    late_responses = "drop"

    def __init__(self, lists, n_chunks, blocks, credit):
        self.lists, self.n_chunks, self.blocks, self.credit = lists, n_chunks, blocks, credit

    def start(self, n_jobs):
        return copy.deepcopy(self)

    def open(self, t):
        self.t = t
        sizes = {worker: len(chunks) for worker, chunks in enumerate(self.lists) if chunks}
        if self.credit == "whole_list":
            return {worker: [(size / self.n_chunks, 0)] for worker, size in sizes.items()}
        return {worker: [(k / self.n_chunks, 0) for k in range(1, size + 1)] for worker, size in sizes.items()}

    def finishers(self, responses):
        """Who has finished each chunk, as far as the master knows."""
        done = {chunk: set() for chunk in range(self.n_chunks)}
        for _, worker, place in responses:
            for chunk in self.lists[worker] if self.credit == "whole_list" else [self.lists[worker][place]]:
                done[chunk].add(worker)
        return done

    def senders(self, responses):
        return {worker for _, worker, _ in responses}

    def enough(self, responses, missing):
        return all(len(workers) >= self.blocks for workers in self.finishers(responses).values())

    def squared_error(self, responses):
        done = self.finishers(responses)
        if self.credit == "prefix":
            return float(sum(max(0, self.blocks - len(workers)) for workers in done.values()))
        sums = [[worker in done[chunk] for chunk in range(self.n_chunks)] for worker in self.senders(responses)]
        return float(squared_distance_of_ones(sums, self.n_chunks))

    def close_with(self, responses, is_estimate, is_in_time):
        """End the round, given whether the rule takes what there is, and all uploads asked for have arrived."""
        if not is_in_time:
            return {self.t: ("failed", math.nan)}
        error = self.squared_error(responses) if is_estimate else 0.0
        return {self.t: ("approximate" if error else "decoded", error)}


def squared_distance_of_ones(vectors, length):
    """Squared distance of the all-ones vector to a span: Gram-Schmidt in fractions."""

    def without(vector, directions):
        for direction in directions:
            share = sum(a * b for a, b in zip(vector, direction, strict=True)) / sum(b * b for b in direction)
            vector = [a - share * b for a, b in zip(vector, direction, strict=True)]
        return vector

    directions = []
    for vector in vectors:
        rest = without([Fraction(int(entry)) for entry in vector], directions)
        if any(rest):
            directions.append(rest)
    return sum(entry * entry for entry in without([Fraction(1)] * length, directions))


def one_at_a_time(comes, seconds):
    """When customers begin and end to be served, first come, first served; in the order of their names at ties."""
    env = simpy.Environment(initial_time=min([Fraction(0), *comes.values()]))
    server = simpy.Resource(env, capacity=1)
    begins, ends = {}, {}

    def customer(name):
        yield env.timeout(comes[name] - env.now)
        with server.request() as turn:
            yield turn
            begins[name] = env.now
            yield env.timeout(seconds[name])
        ends[name] = env.now

    for name in sorted(comes):
        env.process(customer(name))
    env.run()
    return begins, ends


def travel(due, gradients, network):
    """When each message begins to be sent, when it comes to the master's ingress, and when it has arrived.

    `due` and `gradients` are told by response. Messages without gradients neither begin nor come to the ingress.
    """
    latency, worker_rate, ingress_rate, gradient_bytes = network

    def seconds(rate):
        size = Fraction(0) if rate is None else Fraction(gradient_bytes) / Fraction(rate)
        return {name: gradients[name] * size for name in due}

    begins, sent = {}, {}
    for worker in {name[1] for name in due}:
        mine = {name: instant for name, instant in due.items() if name[1] == worker and gradients[name]}
        began, ended = one_at_a_time(mine, seconds(worker_rate))
        begins |= began
        sent |= ended
    comes = {name: instant + Fraction(latency) for name, instant in sent.items()}
    _, arrives = one_at_a_time(comes, seconds(ingress_rate))
    return begins, comes, arrives | {name: due[name] + Fraction(latency) for name in due if not gradients[name]}


def close_of(own, late, is_enough, rule, timeout, poll):
    """When a round closes, and at which instant the rule wanted that.

    `own` maps each busy worker to the arrivals of its reports, `late` lists those of old ones; `is_enough` tells it
    of an instant. `rule` is as in `reference.close_of`.
    """
    finish = {worker: max(arrivals) for worker, arrivals in own.items()}
    first = min(min(arrivals) for arrivals in own.values())
    moments = sorted({instant for arrivals in [*own.values(), late] for instant in arrivals if instant < math.inf})

    def first_enough(after):
        instants = [instant for instant in moments if instant > after and instant >= first]
        return min((look(instant, poll) for instant in instants if is_enough(instant)), default=math.inf)

    wanted = math.inf
    if rule[0] == "first_enough":
        closes = first_enough(-1.0)
    else:
        if rule[0] == "fixed":
            wanted = look(rule[1], poll)
        else:
            ranked = sorted(finish.values())
            rank = 0 if rule[2] == "first" else -(-len(ranked) // 2) - 1
            wanted = look(Fraction(1.0 + rule[1]) * ranked[rank], poll)
        looks = wanted if wanted >= first or math.isinf(first) else look(first, poll)
        if math.isinf(looks):
            closes = math.inf
        elif rule[-1] == "nobody" or is_enough(looks):
            closes = looks
        else:
            closes = first_enough(looks) if rule[-1] == "enough" else math.inf
    closes = min(closes, look(max(finish.values()), poll))
    return min(closes, last_call(timeout, poll)), wanted


def last_call(timeout, poll):
    return math.inf if timeout is None else look(timeout, poll)


class Run:
    """One run, and what is on its way."""

    def __init__(self, scheme, n_jobs, rule, timeout, poll, leftover, overhead, network):
        self.session = scheme.start(n_jobs)
        self.rule, self.timeout, self.poll, self.leftover, self.network = rule, timeout, poll, leftover, network
        self.overhead = Fraction(overhead)
        self.is_estimate = rule[-1] == "nobody"
        self.keeps = scheme.late_responses == "keep"
        self.busy_until = {}  # worker -> when it is through with its old lists
        self.due, self.gradients = {}, {}  # of every message that is or was on its way, by response
        self.heard, self.counted = set(), set()  # responses that have been received; whose upload has been counted

    def round(self, t, times):
        """Play a round; return its row, its outcomes, and whether anybody had work."""
        self.hear_what_has_come()
        lists = self.session.open(t)
        if not self.keeps:
            self.due, self.gradients = {}, {}
        own = {worker: [] for worker in lists}
        for worker, reports in lists.items():
            own[worker] = self.give(t, worker, reports, times[worker])
        self.begins, self.comes, self.arrives = travel(self.due, self.gradients, self.network)
        if not lists:
            return self.close(t, Fraction(0), math.inf, own), False
        instants = {w: [self.arrives.get(response, math.inf) for response in responses] for w, responses in own.items()}
        late = [self.arrives[response] for response in self.arrives if response[0] < t and response not in self.heard]

        def is_enough(instant):
            responses = self.arrived(instant)
            return self.session.enough(responses, missing(own, responses))

        closes, wanted = close_of(instants, late, is_enough, self.rule, self.timeout, self.poll)
        if isinstance(self.session, PartialGradientCoding):
            return self.collect(closes, wanted, own, is_enough(closes) or self.is_estimate), True
        return self.close(t, closes, wanted, own), True

    def hear_what_has_come(self):
        """Receive what arrived between the close of the last round and the start of this one."""
        if self.keeps:
            _, _, arrives = travel(self.due, self.gradients, self.network)
            come = {response for response, instant in arrives.items() if instant <= 0 and response not in self.heard}
            self.session.hear(come)
            self.heard |= come

    def give(self, t, worker, reports, times):
        """Give a worker its list; return the responses to expect."""
        startup, rate, slowdown = times
        responses = [(t, worker, place) for place in range(len(reports))]
        begin = self.busy_until.get(worker, Fraction(0))
        if math.inf in times:  # it never completes that list, and drops it when it is back
            return responses
        for response, (load, gradients) in zip(responses, reports, strict=True):
            self.due[response] = begin + Fraction(slowdown * (startup + rate * load))
            self.gradients[response] = gradients
        if self.leftover == "finish":
            self.busy_until[worker] = self.due[responses[-1]]
        return responses

    def arrived(self, instant):
        """Responses that have arrived since the round opened."""
        return {response for response, at in self.arrives.items() if at <= instant and response not in self.heard}

    def close(self, t, closes, wanted, own):
        responses = self.arrived(closes)
        left = missing(own, responses)
        outcomes = self.session.close(responses, left, not self.session.enough(responses, left))
        self.heard |= responses
        # those who are heard late go on while the master is busy
        until = closes + self.overhead if self.keeps and own else closes
        began = {response for response, at in self.begins.items() if at <= until} - self.counted
        self.counted |= began
        mine = [response for response in responses if response[0] == t and self.gradients[response]]
        last = max(mine, key=lambda response: (self.arrives[response], self.comes[response], response), default=None)
        row = {
            "duration": closes,
            "waited": max(0.0, closes - wanted),
            "missing": left,
            "uploads": len(began),
            "bytes_up": sum(self.gradients[response] for response in began) * self.network[3],
            "upload_s": 0.0 if last is None else self.arrives[last] - self.due[last],
        }
        return row, outcomes

    def collect(self, word, wanted, own, asks):
        """The upload phase: what the asked workers send after the master's word."""
        latency, worker_rate, ingress_rate, gradient_bytes = self.network
        responses = self.arrived(word)
        senders = self.session.senders(responses) if asks else set()
        due = {(0, worker, 0): Fraction(word) + Fraction(latency) for worker in senders}
        size = gradient_bytes / self.session.blocks
        begins, _, arrives = travel(due, dict.fromkeys(due, 1), (latency, worker_rate, ingress_rate, size))
        complete = look(max(arrives.values()), self.poll) if senders else word
        closes = min(complete, last_call(self.timeout, self.poll))
        began = [at for at in begins.values() if at <= closes]
        row = {
            "duration": closes,
            "waited": max(0.0, word - wanted),
            "missing": missing(own, responses),
            "uploads": len(began),
            "bytes_up": len(began) * size,
            "upload_s": closes - word,
        }
        return row, self.session.close_with(responses, self.is_estimate, asks and closes == complete)

    def move_clock(self, seconds):
        self.busy_until = {worker: max(Fraction(0), at - seconds) for worker, at in self.busy_until.items()}
        self.due = {response: at - seconds for response, at in self.due.items()}


def missing(own, responses):
    """Workers that have not reported everything."""
    return {worker for worker, expected in own.items() if not set(expected) <= responses}


def simulate(
    scheme,
    n_jobs,
    times,
    rule,
    *,
    timeout=None,
    poll=None,
    leftover="cancel",
    overhead=0.0,
    network=(0.0, None, None, 0.0),
):
    """Run a scheme; `times[t][i]` is the (startup_s, seconds_per_load, slowdown) of worker i in round t.

    `network` is (latency_s, worker_bytes_per_s, ingress_bytes_per_s, gradient_bytes). Returns a row for each round,
    and for each job how it ended: (status, round, squared error).
    """
    run = Run(scheme, n_jobs, rule, timeout, poll, leftover, overhead, network)
    rounds, outcomes = [], {}
    for t in range(n_jobs + scheme.T):
        (row, ended), has_work = run.round(t, times[t])
        run.move_clock(Fraction(row["duration"]) + Fraction(overhead if has_work else 0))
        rounds.append({name: float(value) if isinstance(value, Fraction) else value for name, value in row.items()})
        outcomes |= {job: (status, t, error) for job, (status, error) in ended.items()}
    return rounds, outcomes
