"""The engine against a second, naive simulator of whole runs: leftover work, the network, late responses, uploads."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference_events
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import rows_of

from schemes import (
    FastestK,
    FractionalRepetition,
    GradientCoding,
    Multiplexed,
    PartialGradientCoding,
    SelectiveRepeat,
    Uncoded,
)
from schemes.assignment import Cyclic
from schemes.ordering import RandomOrdering
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import RoundTimes

INF = math.inf
CODES = ["gradient_coding", "fractional_repetition"]


class Case(NamedTuple):
    scheme: Any
    twin: Any
    n_jobs: int
    rows: list  # (startup_s, seconds_per_load, slowdown) of each worker in each round
    rule: Any
    told: tuple  # the rule, as the naive simulator is told
    leftover: str
    overhead_s: float
    network: tuple  # latency_s, worker_bytes_per_s, ingress_bytes_per_s, gradient_bytes


def factors(n):
    """Sizes of groups of which n workers can be made."""
    return [size for size in range(1, n + 1) if n % size == 0]


@st.composite
def memoryless(draw, n):
    kind = draw(st.sampled_from(["uncoded", "gradient_coding", "fractional_repetition", "fastest_k"]))
    if kind == "uncoded":
        return Uncoded(n), reference_events.uncoded(n)
    if kind == "gradient_coding":
        s = draw(st.integers(0, n - 1))
        return GradientCoding(n, s=s), reference_events.gradient_coding(n, s)
    if kind == "fractional_repetition":
        s = draw(st.sampled_from(factors(n))) - 1
        return FractionalRepetition(n, s=s), reference_events.fractional_repetition(n, s)
    k = draw(st.integers(1, n))
    return FastestK(n, k=k), reference_events.FastestK(n, k)


@st.composite
def acceptance(draw, late_responses, credit="whole_list"):
    """Arguments that both sequential schemes have."""
    if late_responses == "drop" and credit == "whole_list" and draw(st.integers(0, 3)) == 3:
        return {"as_published": True}
    return {"accepts": draw(st.sampled_from(["pattern", "recoverable"])), "late_responses": late_responses}


@st.composite
def selective_repeat(draw, n, late_responses):
    B = draw(st.integers(1, 3))
    W, lam = B * draw(st.integers(1, 2)) + 1, draw(st.integers(0, n - 1))
    s = math.ceil(lam / ((W - 1) // B + 1))
    code = draw(st.sampled_from(CODES[: 1 + ((s + 1) in factors(n))]))
    how = draw(acceptance(late_responses))
    return SelectiveRepeat(n, B=B, W=W, lam=lam, code=code, **how), reference_events.SelectiveRepeat(
        n, B, W, lam, code, **how
    )


@st.composite
def multiplexed(draw, n, late_responses):
    B = draw(st.integers(1, 2))
    W, lam = draw(st.integers(B + 1, 4)), draw(st.integers(0, n))
    code = draw(st.sampled_from(CODES[: 1 + ((lam + 1) in factors(n))]))
    credit = draw(st.sampled_from(["whole_list", "prefix"]))
    how = draw(acceptance(late_responses, credit)) | {"credit": credit}
    return Multiplexed(n, B=B, W=W, lam=lam, code=code, **how), reference_events.Multiplexed(n, B, W, lam, code, **how)


@st.composite
def partial(draw, n):
    held = draw(st.integers(1, n))
    blocks = draw(st.integers(1, min(2, held)))
    credit = draw(st.sampled_from(["prefix", "whole_list"]))
    scheme = PartialGradientCoding(
        n,
        assignment=Cyclic(held),
        ordering=RandomOrdering(),
        blocks=blocks,
        credit=credit,
        seed=draw(st.integers(0, 9)),
    )
    return scheme, reference_events.PartialGradientCoding(scheme.placement.lists, n, blocks, credit)


@st.composite
def rules(draw, is_round, may_estimate, polls):
    """A rule, and how the naive simulator is told of it, if instants are to be round or anything but."""
    rest = {"timeout_s": draw(st.sampled_from([None, 2.0, 5.0])), "poll_s": draw(st.sampled_from(polls))}
    wait_for = draw(st.sampled_from(["all", "enough", *["nobody"] * may_estimate]))
    kind = draw(st.sampled_from(["first_enough", "mu_rule", "fixed_time"]))
    if kind == "first_enough":
        return FirstEnough(**rest), ("first_enough",)
    if kind == "mu_rule":
        mu = draw(st.sampled_from([0.0, 0.5, 1.0] if is_round else [0.0, 0.3, 0.9]))
        who = draw(st.sampled_from(["first", "median"]))
        return MuRule(mu=mu, reference=who, wait_for=wait_for, **rest), ("mu", mu, who, wait_for)
    time_s = draw(st.sampled_from([0.0, 0.5, 1.5, 3.0]))
    return FixedTime(time_s=time_s, wait_for=wait_for, **rest), ("fixed", time_s, wait_for)


@st.composite
def networks(draw, is_round):
    if draw(st.integers(0, 3)) == 0:
        return (0.0, None, None, 0.0)
    if is_round:
        latency_s = draw(st.sampled_from([0.0, 0.125, 0.5]))
        rates, sizes = [None, 2.0, 4.0, 16.0], [1.0, 2.0]
    else:
        latency_s = draw(st.sampled_from([0.0, 0.0917, 0.4133]))
        rates, sizes = [None, 1.93, 5.71, 17.3], [1.37]
    worker_rate, ingress_rate = draw(st.sampled_from(rates)), draw(st.sampled_from(rates))
    if worker_rate is None and ingress_rate is None:
        sizes = [0.0, *sizes]
    return latency_s, worker_rate, ingress_rate, draw(st.sampled_from(sizes))


def loads(scheme):
    """Loads at which reports can be due."""
    if isinstance(scheme, Multiplexed):
        return [float(scheme.load_of(k)) for k in range(1, scheme.n_slots + 1)]
    return [k / scheme.n_workers for k in range(1, scheme.n_workers + 1)]


@st.composite
def worker_times(draw, scheme, n_rounds, is_round, has_failures):
    """Times of each worker in each round: multiples of 1/8, with many ties and bursts, or no two alike."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (n_rounds, scheme.n_workers)
    slow = np.zeros(shape, dtype=bool)
    for t in range(n_rounds):
        slow[t] = rng.random(shape[1]) < (np.where(slow[t - 1], 0.5, 0.25) if t else 0.3)
    slowdown = np.where(slow, rng.choice([2.0, 4.0, 8.0], shape), 1.0)
    if is_round:
        startup_s = rng.choice(draw(st.sampled_from([[0.0, 0.5, 1.0], np.arange(16) / 8])), shape)
        # so that one unit of load takes eighths of a second, also in floating point
        rates = [k / 8 / loads(scheme)[0] for k in (0, 1, 2, 8)]
        rates = [rate for rate in rates if all((8 * rate * load).is_integer() for load in loads(scheme))]
        seconds_per_load = rng.choice(rates, shape)
    else:
        startup_s = rng.exponential(0.5, shape) * draw(st.booleans())
        seconds_per_load = rng.exponential(2.0, shape)
    if has_failures:
        for component in (startup_s, seconds_per_load, slowdown):
            component[rng.random(shape) < 0.04] = INF
        slowdown[rng.random(n_rounds) < 0.05] = INF
    return np.stack([startup_s, seconds_per_load, slowdown], axis=-1).tolist()


@st.composite
def cases(draw, kinds=("memoryless", "selective_repeat", "multiplexed", "multiplexed", "partial"), late=False):
    """Scenarios in which no two instants are equal by chance but for rounding: all are eighths, or no two are alike."""
    n, n_jobs = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    kind = draw(st.sampled_from(kinds))
    leftover = "finish" if late else draw(st.sampled_from(["cancel", "finish"]))
    late_responses = "keep" if late or (leftover == "finish" and draw(st.booleans())) else "drop"
    if kind == "memoryless":
        scheme, twin = draw(memoryless(n))
    elif kind == "selective_repeat":
        scheme, twin = draw(selective_repeat(n, late_responses))
    elif kind == "multiplexed":
        scheme, twin = draw(multiplexed(n, late_responses))
    else:
        scheme, twin = draw(partial(n))
    is_round = draw(st.booleans())
    may_estimate = kind != "partial" or scheme.blocks == 1 or scheme.credit == "prefix"
    polls = [None, None, 0.5] + [0.3] * (leftover == "cancel" and kind != "partial")
    rule, told = draw(rules(is_round, may_estimate, polls))
    rows = draw(worker_times(scheme, n_jobs + scheme.delay_rounds, is_round, rule.timeout_s is not None))
    overhead_s = draw(st.sampled_from([0.0, 0.25, 1.0] if is_round else [0.0, 0.2371, 1.103]))
    return Case(scheme, twin, n_jobs, rows, rule, told, leftover, overhead_s, draw(networks(is_round)))


def times_of(rows):
    for row in rows:
        startup_s, seconds_per_load, slowdown = (np.array(column, dtype=float) for column in zip(*row, strict=True))
        never = np.isinf(startup_s) | np.isinf(seconds_per_load) | np.isinf(slowdown)
        yield RoundTimes(startup_s, seconds_per_load, slowdown, never if never.any() else None)


def run(case):
    latency_s, worker_rate, ingress_rate, gradient_bytes = case.network
    network = Network(
        latency_s=latency_s,
        worker_bytes_per_s=worker_rate,
        ingress_bytes_per_s=ingress_rate,
        gradient_bytes=gradient_bytes,
    )
    record = RunRecord(case.scheme.n_workers, case.n_jobs)
    plan = RunPlan(
        scheme=case.scheme,
        n_jobs=case.n_jobs,
        times=times_of(case.rows),
        speeds=None,
        rule=case.rule,
        leftover=case.leftover,
        round_overhead_s=case.overhead_s,
        network=network,
        rng=np.random.default_rng(0),
    )
    simulate(plan, record)
    return record


def compare(case):
    rounds, outcomes = reference_events.simulate(
        case.twin,
        case.n_jobs,
        case.rows,
        case.told,
        timeout=case.rule.timeout_s,
        poll=case.rule.poll_s,
        leftover=case.leftover,
        overhead=case.overhead_s,
        network=case.network,
    )
    record = run(case)
    for mine, expected in zip(rows_of(record.rounds), rounds, strict=True):
        found = (mine.duration_s, mine.waited_s, mine.bytes_up, mine.upload_s)
        told = tuple(expected[name] for name in ("duration", "waited", "bytes_up", "upload_s"))
        assert found == pytest.approx(told, abs=1e-9), f"round {mine.round}"
        assert (mine.stragglers, mine.uploads) == (len(expected["missing"]), expected["uploads"]), f"round {mine.round}"
    assert {job.job: (job.status, job.decoded_round) for job in rows_of(record.jobs)} == {
        job: (status, None if status == "failed" else t) for job, (status, t, _) in outcomes.items()
    }
    for job in rows_of(record.jobs):
        assert job.squared_error == pytest.approx(outcomes[job.job][2], abs=1e-9, nan_ok=True)


@given(cases())
@settings(deadline=None, max_examples=100)
def test_the_engine_agrees_with_the_naive_simulator_of_whole_runs(case):
    compare(case)


@given(cases(kinds=("selective_repeat", "multiplexed"), late=True))
@settings(deadline=None, max_examples=100)
def test_the_engine_agrees_with_the_naive_simulator_where_late_responses_count(case):
    compare(case)


@given(cases(kinds=("partial",)))
@settings(deadline=None, max_examples=100)
def test_the_engine_agrees_with_the_naive_simulator_on_the_upload_phase(case):
    compare(case)
