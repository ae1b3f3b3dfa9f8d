"""All that there is to say about a trace: as figures, as a row of a table, and in sentences."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.choices import Reference
from simulator.parameters import BoolArray, IntArray
from simulator.traces import measures
from simulator.traces.cost_sentences import cost_figures
from simulator.traces.costs import Costs, costs
from simulator.traces.files import MeasuredTimes
from simulator.traces.measures import Dispersion, Memory, Outliers, SlowWorkers, Times
from simulator.traces.naming import counted, labelled
from simulator.traces.pattern_sentences import LARGE, besides, pattern_figures, sentences
from simulator.traces.patterns import Patterns, patterns
from simulator.traces.threshold import separation, suggestion

WIDE = 0.15  # more of P(again) than by chance, which an interval must exclude before there is no effect
OTHER: dict[Reference, Reference] = {"first": "median", "median": "first"}
WHOSE: dict[Reference, str] = {"first": "the round's first", "median": "its median worker"}
NAMED = 8  # persistently slow workers, or hosts
WORDS = "Words: worker = rank, round = step, load = share of the global batch; documentation: Reference, Traces"


@dataclass(frozen=True)
class Description:
    """Description of a trace, at a tolerance mu and a reference worker."""

    trace: MeasuredTimes
    mu: float
    reference: Reference
    times: Times
    patterns: Patterns
    """what they explain are no outliers, bursts or shocks; workers of fail-slows are not slow all the time"""
    outliers: Outliers
    stragglers: BoolArray
    """who straggles, shape ``(n_rounds, n_workers)``"""
    other_rate: float
    """share of stragglers with the other reference"""
    bursts: IntArray | None
    """lengths, in rounds; None where rounds are a sample"""
    memory: Memory | None
    """None where rounds are a sample, or nobody straggles"""
    dispersion: Dispersion
    slow: SlowWorkers
    costs: Costs | None
    """None where no worker answered after any time"""

    @property
    def rate(self) -> float:
        """Share of the times that are stragglers'."""
        return float(self.stragglers.mean())

    @property
    def is_alone(self) -> bool:
        """True if there is one worker only."""
        return bool(self.stragglers.shape[1] == 1)

    @property
    def is_degenerate(self) -> bool:
        """True if the rule takes more than half of the times for stragglers'."""
        return self.rate > 0.5

    @property
    def needs_other_mu(self) -> bool:
        """True if the rule labels nobody, or most."""
        return self.is_degenerate or not self.rate


def describe(
    trace: MeasuredTimes, mu: float = 1.0, reference: Reference = "first", outlier_s: float | None = None
) -> Description:
    """Compute all figures of a trace.

    Parameters
    ----------
    trace
        What :func:`simulator.traces.files.read_times` has read.
    mu
        Who takes more than 1 + mu times as long as the reference worker of the round straggles.
    reference
        That worker: the first, or the median one.
    outlier_s
        Seconds from where on a time is an outlier; by default ten times the median.
    """
    duration_s = trace.duration_s
    is_straggler = measures.stragglers(duration_s, mu, reference)
    times = measures.times(duration_s)
    over_s = measures.OUTLIER * times.median_s if outlier_s is None else outlier_s
    slow = measures.slow_workers(duration_s)
    n_hosts = len(trace.hosts)
    host = trace.host if 1 < n_hosts < duration_s.shape[1] else None  # else a host is a worker, or all of them
    found = patterns(duration_s, host, trace.steps, is_sample=trace.is_sample)
    passing = is_straggler & ~found.explained
    usual_s = np.where(found.explained, measures.median_worker_s(duration_s)[:, None], duration_s)
    slow = slow._replace(workers=slow.workers[np.isin(slow.workers, measures.slow_workers(usual_s).workers)])
    return Description(
        trace,
        mu,
        reference,
        times,
        found,
        measures.outliers(np.where(found.explained, np.inf, duration_s), over_s),
        is_straggler,
        float(measures.stragglers(duration_s, mu, OTHER[reference]).mean()),
        None if trace.is_sample else measures.burst_lengths(passing, trace.follows),
        None if trace.is_sample else measures.memory(is_straggler, trace.follows, found.explained),
        measures.dispersion(is_straggler)._replace(ratio=measures.dispersion(passing).ratio),
        slow,
        costs(duration_s, slow.workers, host),
    )


def row(about: Description, label: str) -> dict[str, Any]:
    """The figures as a row of ``info.csv``; what can't be known is None."""
    n_rounds, n_workers = about.stragglers.shape
    median_s, max_s = about.times.median_s, about.times.max_s
    return {
        "file": label,
        "base_load": about.trace.base_load,
        "workers": n_workers,
        "rounds": n_rounds,
        "consecutive_pairs": int(np.count_nonzero(about.trace.follows)),
        **cost_figures(about),
        **about.times._asdict(),
        "max_over_median": max_s / median_s if 0 < median_s < math.inf else None,
        "outlier_s": about.outliers.over_s,
        "outliers": about.outliers.n_times,
        "outlier_rounds": about.outliers.n_rounds,
        "outlier_share": about.outliers.share,
        "mu": about.mu,
        "reference": about.reference,
        "suggested_mu": _suggested_mu(about),
        "straggler_rate": about.rate,
        "straggler_rate_other_reference": about.other_rate,
        "is_degenerate": about.is_degenerate,
        "stragglers_per_round_median": about.dispersion.median_count,
        "stragglers_per_round_max": about.dispersion.max_count,
        "worst_round": about.dispersion.max_round,
        "workers_ever_straggling": int(np.count_nonzero(about.stragglers.any(axis=0))),
        "dispersion": about.dispersion.ratio,
        "dispersion_critical": about.dispersion.critical,
        **_burst_figures(about.bursts),
        **dict.fromkeys(Memory._fields, None),
        **(about.memory._asdict() if about.memory else {}),
        **pattern_figures(about),
        "slow_workers": len(about.slow.workers),
        "slowest_worker": int(about.slow.factors.argmax()),
        "slowest_factor": float(about.slow.factors.max()),
    }


def _suggested_mu(about: Description) -> float | None:
    found = separation(about.trace.duration_s) if about.needs_other_mu else None
    return found.mu if found else None


def _burst_figures(lengths: IntArray | None) -> dict[str, Any]:
    names = ("bursts", "frac_bursts_len1", "frac_bursts_len2", "frac_bursts_len3plus", "burst_mean", "longest_burst")
    if lengths is None:
        return dict.fromkeys(names)
    count = len(lengths)
    shares = [np.count_nonzero(of) / max(1, count) for of in (lengths == 1, lengths == 2, lengths > 2)]
    mean = float(lengths.mean()) if count else None
    return dict(zip(names, (count, *shares, mean, int(lengths.max(initial=0))), strict=True))


def facts(about: Description) -> list[tuple[str, str]]:
    """The figures that every trace has, each with its name."""
    n_rounds, n_workers = about.stragglers.shape
    load, times = about.trace.base_load, about.times
    measured = "load not known" if load is None else f"at load {load:g}"
    never = f", {times.never_answered} never answered" if times.never_answered else ""
    seconds = ", ".join(
        f"{name} {getattr(times, f'{name}_s'):.4g} s" for name in ("min", "median", "mean", "p95", "p99", "max")
    )
    lines = [
        ("measured", f"{counted(n_workers, 'worker')}, {counted(n_rounds, 'round')}, {measured}"),
        ("times", seconds + never),
        ("outliers", _outliers(about)),
    ]
    return [*lines, *([] if about.is_alone else _stragglers(about)), *_optional(about.trace)]


def _stragglers(about: Description) -> Iterator[tuple[str, str]]:
    """How many times are over the threshold, which need not be what stragglers cost."""
    of = about.dispersion
    yield (
        _over(about),
        f"{WHOSE[about.reference]} (mu = {about.mu:g}): {_percent(about.rate)} of the times; "
        f"{WHOSE[OTHER[about.reference]]}: {_percent(about.other_rate)}",
    )
    yield (
        "per round",
        f"median {of.median_count:g} of these, most {of.max_count}{f' (round {of.max_round})' * bool(of.max_count)}; "
        f"{np.count_nonzero(about.stragglers.any(axis=0))} of {about.stragglers.shape[1]} workers have any",
    )
    if about.bursts is not None:
        yield "bursts", _bursts(about.bursts) + besides(about)


def _over(about: Description) -> str:
    return f"over {1 + about.mu:.3g}x"


def _slower(mu: float) -> str:
    return "twice as slow" if mu == 1 else f"{1 + mu:.3g} times as slow"


def _optional(trace: MeasuredTimes) -> Iterator[tuple[str, str]]:
    """What only some traces say of their times."""
    if trace.censored is not None:
        share = _percent(float(trace.censored.mean()))
        yield "censored", f"{share} of the times: the worker was cancelled then, its true time is at least this"
    if trace.waited_s is not None:
        waited_s, own_s = float(trace.waited_s.sum()), float(trace.duration_s[np.isfinite(trace.duration_s)].sum())
        yield "waited", f"{_percent(waited_s / max(waited_s + own_s, 1e-300))} of all seconds, besides these times"
    if trace.hosts:
        more = f" and {len(trace.hosts) - NAMED} more" if len(trace.hosts) > NAMED else ""
        yield "hosts", f"{len(trace.hosts)}: {', '.join(trace.hosts[:NAMED])}{more}"


def _outliers(about: Description) -> str:
    over_s, count, n_rounds, share = about.outliers
    if not count:
        return f"none over {over_s:.4g} s{besides(about)}"
    where = f"in {n_rounds} of {len(about.stragglers)} rounds"
    times = f"{count} of {about.stragglers.size} times over {over_s:.4g} s"
    return f"{times}, {where}: {_percent(share)} of all seconds{besides(about)}"


def _bursts(lengths: IntArray) -> str:
    if not len(lengths):
        return "none"
    one, two, more = (_percent(float(np.mean(of))) for of in (lengths == 1, lengths == 2, lengths > 2))
    return (
        f"{len(lengths)}, mean length {lengths.mean():.3g} rounds: {one} last 1 round, {two} 2, {more} more; "
        f"the longest {lengths.max()}"
    )


def findings(about: Description) -> Iterator[str]:
    """Yield what stands out, in sentences."""
    follows = about.trace.follows
    if about.trace.is_sample:
        yield (
            "rounds are a sample (the column step has gaps): burst lengths and P(straggle | straggled in the round "
            "before) can't be read from this file"
        )
    elif not follows.all():
        yield (
            f"{np.count_nonzero(follows)} of {len(follows)} pairs of rounds are consecutive steps (the column step has "
            "gaps): bursts and P(straggle | straggled in the round before) are read from these"
        )
    yield from sentences(about)
    if about.is_alone:
        return
    if about.trace.doubt:
        pass  # who is slow and when, is hidden
    elif about.is_degenerate:
        yield (
            f"the mu-rule is degenerate: {_percent(about.rate)} of the times are {_over(about)} "
            f"{WHOSE[about.reference]}, so bursts and counts mean little; {suggestion(about.trace.duration_s)}"
        )
    elif about.needs_other_mu:
        yield f"nobody is {_slower(about.mu)} as {WHOSE[about.reference]}; {suggestion(about.trace.duration_s)}"
    else:
        if about.memory is not None:
            yield _remembers(about.memory)
        if about.dispersion.hits_together:
            yield (
                f"some rounds hit many workers at once: the variance of stragglers per round is "
                f"{about.dispersion.ratio:.3g} times the binomial one (by chance up to {about.dispersion.critical:.3g})"
            )
    if len(about.slow.workers):
        yield _persistent(about)
    if about.outliers.share > LARGE:
        yield f"a few times dominate means: {_outliers(about)} (medians and quantiles are safer)"


def _remembers(memory: Memory) -> str:
    again = (
        f"P(straggle | straggled in the round before) = {memory.p_again:.2g} [{memory.low:.2g}, {memory.high:.2g}] "
        f"against {memory.at_random:.2g} at random"
    )
    own = f"{memory.at_own_rates:.2g} with each worker's rounds shuffled"
    if memory.is_bursty:
        return f"bursty: {again}, and {own}"
    if memory.repeats:
        said = "it is a matter of which worker, not of when"
        if memory.high > memory.at_own_rates + WIDE:
            said = "too few stragglers to tell if it is a matter of which worker or of when"
        return f"the same workers straggle again: {again}; but {own}: {said}"
    if memory.high > memory.at_random + WIDE:
        return f"too few stragglers to tell bursts from chance: {again}"
    return f"straggling now says nothing of the next round: {again}"


def _persistent(about: Description) -> str:
    (factors, workers), names = about.slow, about.trace.names
    if len(workers) == 1:
        who = f"worker {labelled(workers[0], names)}"
        return f"{who} is slow all the time: {factors[workers[0]]:.2f} times the round's median worker"
    named = ", ".join(labelled(worker, names, f"{factors[worker]:.2f}") for worker in workers[:NAMED])
    more = f" and {len(workers) - NAMED} more" if len(workers) > NAMED else ""
    return (
        f"{len(workers)} workers are slow all the time (times the round's median worker, in their median round): "
        f"{named}{more}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def labels(measured: Sequence[MeasuredTimes]) -> list[str]:
    """A name for each file: short, and each another.

    Examples
    --------
    >>> from pathlib import Path
    >>> files = [Path("a/run.parquet"), Path("b/run.parquet"), Path("b/other.csv")]
    >>> labels([MeasuredTimes(file, np.ones((1, 1)), None) for file in files])
    ['run', 'run-2', 'other']
    """
    names: list[str] = []
    for stem in (trace.path.stem for trace in measured):
        candidates = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(measured) + 1))
        names.append(next(name for name in candidates if name not in names))
    return names
