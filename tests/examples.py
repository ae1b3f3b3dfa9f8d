"""Examples that several files of tests share: schemes, straggler models, workloads and a scenario."""

import dataclasses
import itertools
import math

import numpy as np
from hypothesis import strategies as st
from patterns import is_arbitrary, is_bursty

from schemes import (
    Adaptive,
    ApproximateScheme,
    BackupTasks,
    BernoulliGradientCoding,
    BibdGradientCoding,
    BoundedStaleness,
    CommunicationEfficientGradientCoding,
    Dsag,
    DynamicClusters,
    ExpanderGradientCoding,
    FastestK,
    FractionalRepetition,
    GradientCoding,
    HeterogeneousGradientCoding,
    Ideal,
    KAsync,
    KBatchAsync,
    KBatchSync,
    LocalSgd,
    Multiplexed,
    NestedGradientCoding,
    PartialGradientCoding,
    SelectiveRepeat,
    SparseGraphGradientCoding,
    ToDoList,
    Uncoded,
)
from schemes.assignment import BernoulliAssignment, Cyclic
from schemes.base.counting import RuleScheme, RuleSession
from schemes.base.rule import DECODED, Clause, Rule
from schemes.base.sets import OneSet
from schemes.base.work import Task
from schemes.ordering import RandomOrdering
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from straggler_models import (
    Adversarial,
    Bernoulli,
    Churn,
    CommonShock,
    Constant,
    FailedWorkers,
    FailSlow,
    FailStop,
    Gamma,
    GilbertElliott,
    Groups,
    Lognormal,
    MarkovSpeed,
    Pareto,
    PartialSlowdown,
    PerWorker,
    ProneWorkers,
    Queueing,
    ShiftedExponential,
    StragglerModel,
    TimeOfDay,
    Weibull,
)
from workloads import LeastSquares, LogisticRegression, TwoLayerNetwork

POLICIES = [
    {"after": "share", "share": 0.5},
    {"after": "deadline", "deadline_s": 1.5},
    {"after": "late", "max_copies": 2, "heartbeat_s": 0.5},
]
SCHEMES = [
    BernoulliGradientCoding(8, p=0.4),
    BibdGradientCoding(7),
    ExpanderGradientCoding(8, chunks_per_worker=3),
    ExpanderGradientCoding(8, chunks_per_worker=4, decoding="fixed"),
    PartialGradientCoding(6, assignment=Cyclic(3), blocks=2),
    PartialGradientCoding(6, assignment=BernoulliAssignment(p=0.4), ordering=RandomOrdering(), seed=4),
    PartialGradientCoding(6, assignment=Cyclic(3), blocks=3, credit="whole_list"),
    PartialGradientCoding(6, assignment=Cyclic(3), credit="whole_list"),
    Uncoded(1),
    Uncoded(6),
    FastestK(6, k=4),
    FastestK(5, k=5),
    GradientCoding(1, s=0),
    GradientCoding(6, s=0),
    GradientCoding(7, s=3),
    GradientCoding(5, s=4),
    FractionalRepetition(6, s=2),
    FractionalRepetition(6, s=5),
    CommunicationEfficientGradientCoding(7, s=2, m=3),
    CommunicationEfficientGradientCoding(5, s=1, m=1),
    HeterogeneousGradientCoding(6, speeds=[3.0, 1.0, 2.0, 4.0, 7.0, 1.0], s=2),
    HeterogeneousGradientCoding(5, speeds=[0.0, 1.0, 2.0, 2.0, 9.0], s=1, chunks=7),
    NestedGradientCoding(6, s_max=3),
    NestedGradientCoding(4, s_max=0),
    SparseGraphGradientCoding(6, d=2),
    SparseGraphGradientCoding(6, d=3, decoding="one_step"),
    SparseGraphGradientCoding(7, d=3, assignment="bernoulli", seed=2),
    SparseGraphGradientCoding(7, d=3, assignment="bernoulli", decoding="one_step", seed=2),
    Ideal(5),
    ToDoList(6, r=3, k=6),
    ToDoList(5, r=2, k=3, order="staircase"),
    *[BackupTasks(5, policy=policy, relaunch=relaunch) for policy in POLICIES for relaunch in (False, True)],
    KAsync(6, k=1),
    KAsync(5, k=3),
    KAsync(4, k=4),
    KBatchAsync(5, k=1),
    KBatchAsync(4, k=6),
    KBatchSync(5, k=3),
    KBatchSync(3, k=7),
    BoundedStaleness(5, staleness=0),
    BoundedStaleness(4, staleness=2),
    Dsag(5, w=2),
    Dsag(4, w=4),
    DynamicClusters(6, clusters=2, r=2),
    DynamicClusters(6, clusters=3, r=1),
    DynamicClusters(8, clusters=2, r=3, moves=False),
    LocalSgd(5, k=5, steps=3),
    LocalSgd(4, k=2, steps=9),
    Adaptive(5, of={"uncoded": Uncoded(5), "GC": GradientCoding(5, s=2), "3": FastestK(5, k=3)}, window=3),
    Adaptive(6, of={"uncoded": Uncoded(6), "M-SGC": Multiplexed(6, B=1, W=2, lam=3)}, window=2, once=True),
    *[
        SelectiveRepeat(6, B=B, W=W, lam=lam, accepts=accepts)
        for (B, W, lam), accepts in itertools.product(
            [(1, 2, 3), (2, 3, 4), (2, 5, 5), (1, 3, 0), (3, 4, 6)], ["pattern", "recoverable"]
        )
    ],
    SelectiveRepeat(6, B=2, W=3, lam=4, as_published=True),
    SelectiveRepeat(6, B=2, W=3, lam=4, code="fractional_repetition"),
    SelectiveRepeat(6, B=1, W=2, lam=4, code="fractional_repetition", accepts="recoverable"),
    *[
        Multiplexed(6, B=B, W=W, lam=lam, accepts=accepts)
        for (B, W, lam), accepts in itertools.product(
            [(1, 2, 3), (2, 3, 2), (2, 4, 6), (1, 3, 0), (3, 4, 5)], ["pattern", "recoverable"]
        )
    ],
    *[
        Multiplexed(6, B=B, W=W, lam=lam, accepts=accepts, credit=credit, late_responses=late_responses)
        for (B, W, lam), accepts, (credit, late_responses) in itertools.product(
            [(1, 2, 3), (2, 4, 2), (2, 4, 6)],
            ["pattern", "recoverable"],
            [("prefix", "drop"), ("prefix", "keep"), ("whole_list", "keep")],
        )
    ],
    Multiplexed(6, B=2, W=3, lam=1, code="fractional_repetition", accepts="recoverable", credit="prefix"),
    SelectiveRepeat(6, B=2, W=3, lam=4, late_responses="keep"),
    SelectiveRepeat(6, B=1, W=2, lam=4, code="fractional_repetition", accepts="recoverable", late_responses="keep"),
    Multiplexed(6, B=2, W=3, lam=2, as_published=True),
    Multiplexed(6, B=1, W=2, lam=6, as_published=True),
    Multiplexed(6, B=2, W=3, lam=2, code="fractional_repetition"),
    Multiplexed(6, B=2, W=3, lam=1, code="fractional_repetition", accepts="recoverable"),
]
SMALL_WINDOWS = [(n, B, W) for n in (2, 3) for B, W in [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]]
TWO_STATES = [{"slowdown": 1.0, "mean_s": 3.0}, {"slowdown": 5.0, "mean_s": 1.0}]
UNIFORM = {"distribution": "uniform", "low": 0.1, "high": 0.5}
MODELS = [
    Adversarial(B=2, W=3, lam=4, slowdown=3.0),
    Adversarial(B=2, W=3, lam=2, slowdown=3.0),
    Bernoulli(p=0.3, slowdown=4.0),
    Bernoulli(p=0.2, slowdown=math.inf),
    Churn(mean_stay_s=8.0, mean_away_s=2.0, detect_s=0.5),
    Churn(mean_stay_s=50.0, mean_away_s=math.inf, detect_s=0.5),
    CommonShock(p=0.2, share=0.5, slowdown=3.0),
    Constant(startup_s=1.0, seconds_per_load=2.0),
    FailSlow(p_fail=0.1, slowdown=4.0),
    FailSlow(p_fail=0.1, slowdown=math.inf, mean_rounds=3.0),
    FailStop(mean_rounds_to_failure=5.0, mean_rounds_to_repair=2.0),
    FailedWorkers(count=2, drawn="per_round"),
    FailedWorkers(count=2, drawn="per_run"),
    Gamma(mean=2.0, variance=1.5, adds_to="seconds_per_load"),
    Gamma(mean=2.0, variance=1.5, adds_to="startup_s"),
    Gamma(mean=2.0, variance=1.5, adds_to="task"),
    GilbertElliott(p_slow=0.1, p_recover=0.4, slowdown=4.0),
    GilbertElliott(p_slow=0.0, p_recover=0.0, slowdown=4.0),
    Groups(Gamma(mean=2.0, variance=1.5, adds_to="seconds_per_load"), members=[[0, 3], [2]]),
    Groups(GilbertElliott(p_slow=0.2, p_recover=0.4, slowdown=4.0), size=2),
    Groups(MarkovSpeed(states=TWO_STATES), size=2, shuffled=True),
    Groups(Lognormal(median=1.0, sigma=0.5, adds_to="message_s"), members=[[3, 0], [2]]),
    Groups(Churn(mean_stay_s=8.0, mean_away_s=2.0, detect_s=0.5), size=2),
    Groups(PerWorker(Constant.each(startup_s=UNIFORM)), members=[[0, 3], [2]]),
    Groups(ShiftedExponential(shift=1.0, mean=2.0, adds_to="startup_s"), members=[[3, 0], [2]]),
    Lognormal(median=1.0, sigma=0.5, adds_to="startup_s"),
    MarkovSpeed(states=TWO_STATES),
    MarkovSpeed(states=[{"slowdown": 2.0, "mean_s": 1.0}]),
    Pareto(scale=1.0, shape=2.0, adds_to="seconds_per_load"),
    PartialSlowdown(share=0.5, slowdown_min=2.0, slowdown_max=4.0, drawn="per_round"),
    PartialSlowdown(share=0.5, slowdown_min=2.0, slowdown_max=4.0, drawn="per_run"),
    PerWorker(Adversarial.each(B=1, W=3, lam={"distribution": "choice", "values": [0, 1, 3]}, slowdown=3.0)),
    PerWorker(Bernoulli.each(p=UNIFORM, slowdown={"distribution": "choice", "values": [2.0, math.inf]})),
    PerWorker(Churn.each(mean_stay_s=UNIFORM, mean_away_s=0.0, detect_s=math.inf)),
    PerWorker(Gamma.each(mean=UNIFORM, variance=UNIFORM, adds_to="seconds_per_load"), seed=3),
    PerWorker(Pareto.each(scale=UNIFORM, shape=3.0, adds_to="seconds_per_gradient")),
    PerWorker(GilbertElliott.each(p_slow=UNIFORM, p_recover=0.4, slowdown=4.0)),
    PerWorker(
        Weibull.each(scale=1.0, shape={"distribution": "gamma", "mean": 1.0, "variance": 0.1}, adds_to="startup_s")
    ),
    ProneWorkers(share=0.5, p=0.4, slowdown=3.0),
    ProneWorkers(share=0.5, p=0.2, slowdown=math.inf),
    Queueing(rate=0.3, mean_s=2.0, discipline="fifo"),
    Queueing(rate=0.3, mean_s=2.0, discipline="processor_sharing", scv=0.0),
    Queueing(rate=0.0, mean_s=2.0, discipline="processor_sharing"),
    Queueing(rate=0.3, mean_s=2.0, discipline="priority", scv=2.0),
    PerWorker(Queueing.each(rate=UNIFORM, mean_s=1.5, discipline="fifo")),
    ShiftedExponential(shift=1.0, mean=2.0, adds_to="startup_s"),
    ShiftedExponential(shift=1.0, mean=2.0, adds_to="task"),
    TimeOfDay(steps=[{"at_s": 2.0, "slowdown": 3.0}, {"at_s": 5.0, "slowdown": 0.5}]),
    TimeOfDay(wave={"mean": 2.0, "amplitude": 0.5, "peak_s": 3.0}, period_s=7.0),
    Weibull(scale=1.0, shape=0.7, adds_to="startup_s"),
    Weibull(scale=1.0, shape=0.7, adds_to="message_s"),
]
RULES = [
    FirstEnough(),
    FirstEnough(timeout_s=2.7, poll_s=0.7),
    MuRule(mu=0.5),
    MuRule(mu=1.0, reference="median", wait_for="enough"),
    MuRule(mu=0.3, wait_for="nobody"),
    MuRule(mu=0.5, reference="median", wait_for="all", timeout_s=2.7),
    FixedTime(time_s=1.8),
    FixedTime(time_s=1.8, wait_for="enough", poll_s=0.7),
    FixedTime(time_s=1.8, wait_for="nobody"),
]
WORKLOADS = [
    LeastSquares(rows=20, dimension=4),
    LogisticRegression(),
    LogisticRegression(l2=0.1),
    TwoLayerNetwork(hidden=3, l2=0.01),
]
SCENARIO = """\
name: good
seed: 3
trials: 2
workers: 6
jobs: 4
stragglers:
  usual: {kind: constant, startup_s: 1e-1, seconds_per_load: 6}
  slow: {kind: bernoulli, p: 0.2, slowdown: 4}
master: {kind: mu_rule, mu: 1.0}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 2}
"""


class OneRunOnly(Uncoded):
    """An array form that is there, and fails on more than one run."""

    def batches(self, n_jobs, rows):
        if len(rows) > 1:
            raise ZeroDivisionError("too many runs")
        return super().batches(n_jobs, rows)


@st.composite
def conforming_patterns(draw):
    """A scheme and a random pattern that it claims, made by rejecting workers one by one."""
    n = draw(st.integers(3, 12))
    B = draw(st.integers(1, 4))
    is_multiplexed = draw(st.booleans())
    W = draw(st.integers(B + 1, 7)) if is_multiplexed else B * draw(st.integers(1, 3)) + 1
    lam = draw(st.integers(0, n))
    kind = draw(st.sampled_from(["bursty", "arbitrary"] if is_multiplexed else ["bursty", "few"]))
    if is_multiplexed:
        scheme = Multiplexed(n, B=B, W=W, lam=lam, accepts=draw(st.sampled_from(["pattern", "recoverable"])))
    else:
        s = math.ceil(lam / ((W - 1) // B + 1))
        if s >= n:
            lam, s = 0, 0
        scheme = SelectiveRepeat(n, B=B, W=W, lam=lam, accepts=draw(st.sampled_from(["pattern", "recoverable"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_jobs = draw(st.integers(1, 12))
    pattern = np.zeros((n_jobs + scheme.delay_rounds, n), dtype=bool)
    for place in rng.permutation(pattern.size)[: int(pattern.size * rng.uniform(0.1, 1.0))]:
        pattern.flat[place] = True
        fits = {
            "bursty": lambda: is_bursty(pattern, B, W, lam),
            "arbitrary": lambda: is_arbitrary(pattern, B, W + B - 1, lam),
            "few": lambda: (pattern.sum(axis=1) <= scheme.s).all(),
        }[kind]
        if not fits():
            pattern.flat[place] = False
    return scheme, pattern, n_jobs


class FromZero(ApproximateScheme):
    """Errors of its own: whatever has come, the estimate is never exact."""

    def __init__(self, n_workers):
        vars(self).update(n_workers=n_workers)

    def encoding_matrix(self):
        return Cyclic(2).matrix(self.n_workers, np.random.default_rng(0)).T.astype(np.float64)

    def squared_errors(self, closed):
        return closed.missing.sum(axis=1) + 0.5


class OfEstimates(Uncoded):
    """An estimate is as bad as workers are missing, and without one the job has failed."""

    def squared_errors(self, closed):
        return np.where(closed.forced, closed.missing.sum(axis=1) if closed.takes_estimate else np.nan, 0.0)


class Patient(GradientCoding):
    """A session of its own, which waits for everybody."""

    def start(self, n_jobs, rng):
        return Uncoded(self.n_workers).start(n_jobs, rng)


class _DelayedRule(Rule):
    top = 1

    def __init__(self, sets, n_jobs, delay_rounds):
        super().__init__(sets, n_jobs, delay_rounds)
        self.bottom = sets.n_workers
        self._clauses = [Clause(sets.nobody, sets.nobody, 1)]

    def alternatives(self):
        return [self._clauses]

    def ended(self):
        job = self.index - self.delay_rounds
        return [(job, DECODED)] if job >= 0 else []


class _DelayedSession(RuleSession):
    def tasks(self, worker):
        return [Task(self.rule.index, "plain", 1 / self.n_workers, (worker,))]


@dataclasses.dataclass(frozen=True)
class Delayed(RuleScheme):
    """All but one must come, and a job ends T rounds later; T is what a search would vary."""

    n_workers: int
    T: int

    @property
    def tolerates(self):
        return "one straggler"

    @property
    def delay_rounds(self):
        return self.T

    @property
    def load(self):
        return 1 / self.n_workers

    def chunk_loads(self):
        return np.full(self.n_workers, 1 / self.n_workers)

    def rule(self, sets, n_jobs, values):
        return _DelayedRule(sets, n_jobs, self.T)

    def start(self, n_jobs, rng):
        return _DelayedSession(self.rule(OneSet(self.n_workers), n_jobs, self.T))


class Breaks(StragglerModel):
    """A plug-in with a mistake."""

    def rounds(self, n_workers, rng):
        raise KeyError("mine")
