"""From a trace to straggler models: which layers it asks for, their parameters, and how sure they are.

:func:`fit_models` is the whole of it. What is maximised, documentation: Explanation, Fitting a trace.
"""

import ctypes
import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.errors import UserError
from simulator.fitting.selection import LayerChoice, promising, select, with_base
from simulator.fitting.standard_errors import Settled, settled
from simulator.parameters import BoolArray, FloatArray
from simulator.plugins.kinds import MODEL_TABLE, as_values
from simulator.traces import change_points
from simulator.traces.change_points import FailSlow
from simulator.traces.naming import ONE_WORKER
from straggler_models import Bernoulli, Constant, GilbertElliott, StragglerModel
from straggler_models import FailSlow as FailSlowModel

LEAST = (3, 2, 30)  # rounds, workers and durations: with less, nothing could be said
MALLOC_OPTIONS = {-3: 32 * 2**20, -1: 256 * 2**20}  # glibc: bytes of an array that may use what is kept; what is kept


class FitError(UserError):
    """A trace that can't be fitted, in one sentence."""


class Estimate(NamedTuple):
    """A parameter of the fitted model."""

    layer: str  # label in the scenario
    parameter: str
    value: float
    standard_error: float  # NaN: the trace does not say


@dataclass(frozen=True)
class Fit:
    """A fitted model, ready for a scenario."""

    models: dict[str, StragglerModel]  # by label
    base: str  # kind of the base distribution
    estimates: tuple[Estimate, ...]
    choices: tuple[LayerChoice, ...]
    other_base: tuple[str, float] | None  # the next best base distribution, and how much larger BIC is with it
    bic: float
    slow_workers: tuple[int, ...]  # which are so more likely than not
    hit_rounds: tuple[int, ...]  # the same
    prone_workers: tuple[int, ...]  # the same
    fail_slows: tuple[FailSlow, ...]
    slowdowns: FloatArray
    """what each measured time was multiplied by: the mean over all that the layers may have done, and 1 of those that
    never answered; shape ``(n_rounds, n_workers)``"""


def fit_models(
    durations_s: FloatArray,
    *,
    base_load: float = 0.0,
    seconds_per_load: float = 0.0,
    censored: BoolArray | None = None,
    progress: Callable[[str], None] = lambda trying: None,
) -> Fit:
    """Fit straggler models to a trace.

    Parameters
    ----------
    durations_s
        Seconds, shape ``(n_rounds, n_workers)``; inf: the worker did not answer.
    base_load, seconds_per_load
        The load at which it was measured, and the seconds that load 1 takes: their product is part of each duration.
    censored
        Where workers were cancelled at their durations: what counts there is the chance of being longer.
    progress
        Called with what is tried next, in a few words.

    Raises
    ------
    FitError
        If there is too little, or nothing that varies.

    References
    ----------
    Schwarz, "Estimating the Dimension of a Model", Annals of Statistics 1978; Rabiner, "A Tutorial on Hidden Markov
    Models", Proceedings of the IEEE 1989; Saul and Jordan, "Exploiting Tractable Substructures in Intractable
    Networks", NIPS 1995.

    Examples
    --------
    >>> fitted = fit_models(np.random.default_rng(1).lognormal(0.0, 0.5, (20, 30)))
    >>> fitted.base, list(fitted.models)
    ('lognormal', ['usual'])
    >>> [f"{estimate.parameter} {estimate.value:.2f} ± {estimate.standard_error:.2f}" for estimate in fitted.estimates]
    ['median 0.98 ± 0.02', 'sigma 0.47 ± 0.01']
    """
    import scipy.optimize  # noqa: F401 - loaded now, so that its threads are among those that are limited
    from threadpoolctl import threadpool_limits

    known_s = base_load * seconds_per_load
    _check(durations_s, known_s, censored)
    _keep_memory()
    with threadpool_limits(limits=1):  # the arrays are small: threads would wait for each other
        return _fit(durations_s, known_s, seconds_per_load, censored, progress)


def _keep_memory() -> None:
    """Have arrays use memory that others gave back: new pages from the system take most of the time."""
    with suppress(AttributeError, TypeError):  # another C library
        for option, value in MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)


def _fit(
    durations_s: FloatArray,
    known_s: float,
    seconds_per_load: float,
    censored: BoolArray | None,
    progress: Callable[[str], None],
) -> Fit:
    gone = [of for of in change_points.fail_slows(durations_s) if of.factor < math.inf]
    factors = _factors(gone, durations_s.shape)
    measured_s = np.where(factors > 1, math.inf, durations_s)  # inf: the layers are not asked about these
    _check(measured_s, known_s, censored)
    progress("all base distributions")
    bases = promising(measured_s, known_s, censored)
    found, other = select(measured_s, bases[0], censored=censored, progress=progress), None
    if len(bases) > 1:
        progress(f"{bases[1].kind} instead of {bases[0].kind}")
        other = with_base(found.best, bases[1])
        if other.bic < found.best.bic:
            found, other = select(measured_s, bases[1], other, censored, progress), found.best
    progress("standard errors")
    result = settled(found.best)
    base, layers = result.layered.base, result.layered.layers
    labels = [*("usual" for _ in base.names), *(layer.label for layer in layers for _ in layer.names)]
    names = [*base.names, *(name for layer in layers for name in layer.names)]
    models = result.layered.models(result.theta)
    if seconds_per_load:
        models["load"] = Constant(seconds_per_load=seconds_per_load)
    failing, of_failing = _fail_slow(gone, *durations_s.shape)
    lost, of_lost = _failures(np.isinf(durations_s))
    slow = result.layered.evaluate(result.theta, result.hits).slow_workers > 0.5
    hit_rounds, prone = np.split(result.hits > 0.5, [len(durations_s)])
    return Fit(
        models | failing | lost,
        base.kind,
        (*map(Estimate, labels, names, result.natural.tolist(), result.errors.tolist()), *of_failing, *of_lost),
        found.choices,
        None if other is None else (other.layered.base.kind, other.bic - found.best.bic),
        found.best.bic,
        tuple(np.flatnonzero(slow).tolist()),
        tuple(np.flatnonzero(hit_rounds & any(layer.hits_rounds for layer in layers)).tolist()),
        tuple(np.flatnonzero(prone & any(layer.hits_workers for layer in layers)).tolist()),
        tuple(gone),
        _slowdowns(result, durations_s, factors),
    )


def _factors(fail_slows: Sequence[FailSlow], shape: tuple[int, int]) -> FloatArray:
    """How many times longer each time is because of a fail-slow."""
    factors = np.ones(shape)
    for of in fail_slows:
        factors[of.onset : of.end, of.worker] = of.factor
    return factors


def _slowdowns(result: Settled, durations_s: FloatArray, factors: FloatArray) -> FloatArray:
    """The slowdown of each measured time: of fail-slows, and what the layers say of the rest."""
    layered = dataclasses.replace(result.layered, durations_s=durations_s / factors)
    slowdowns = factors * layered.slowdowns(result.theta, result.hits)
    return np.where(np.isfinite(durations_s), slowdowns, 1.0)


def _check(durations_s: FloatArray, known_s: float, censored: BoolArray | None) -> None:
    answered = durations_s[np.isfinite(durations_s) & (True if censored is None else ~censored)]
    n_rounds, n_workers = durations_s.shape
    if n_workers == 1:
        raise FitError(ONE_WORKER)
    if n_rounds < LEAST[0] or n_workers < LEAST[1] or len(answered) < LEAST[2]:
        raise FitError(
            f"must have at least {LEAST[0]} rounds, {LEAST[1]} workers and {LEAST[2]} durations to fit, "
            f"got {n_rounds}, {n_workers} and {len(answered)}"
        )
    if durations_s.min() <= known_s:
        known = f"base_load * seconds_per_load = {known_s:g} s, which are part of each" if known_s else "0 s"
        raise FitError(f"durations must be longer than {known}, got {durations_s.min():g} s")
    low, middle, high = np.quantile(np.log(answered), (0.1, 0.5, 0.9))
    if high - low < 1e-6:
        raise FitError(
            f"durations must vary, got {math.exp(middle):g} s for most (use the model constant, or a trace, as it is)"
        )


def _fail_slow(
    found: Sequence[FailSlow], n_rounds: int, n_workers: int
) -> tuple[dict[str, StragglerModel], list[Estimate]]:
    """A model of fail-slows: they have been found one by one, so that counting is enough.

    Onsets are binomial, lengths geometric; the error of the slowdown is that of a mean of logarithms.
    """
    if not found:
        return {}, []
    p_fail, slowdown, mean_rounds, at_risk = change_points.hazard(found, n_rounds, n_workers)
    logs = np.log([of.factor for of in found])
    error = slowdown * float(logs.std(ddof=1)) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    estimates = [("p_fail", p_fail, math.sqrt(p_fail * (1 - p_fail) / at_risk)), ("slowdown", slowdown, error)]
    if mean_rounds is not None:
        n_ends = sum(of.end < n_rounds for of in found)
        of_length = math.sqrt(mean_rounds * (mean_rounds - 1) / n_ends) if n_ends > 1 else math.nan
        estimates.append(("mean_rounds", mean_rounds, of_length))
    model = FailSlowModel(p_fail=p_fail, slowdown=slowdown, mean_rounds=mean_rounds)
    return {"fail_slow": model}, [Estimate("fail_slow", *estimate) for estimate in estimates]


def _failures(lost: np.ndarray) -> tuple[dict[str, StragglerModel], list[Estimate]]:
    """A model of the responses that never came: seen, so that counting is enough; in bursts, if BIC says so.

    A count is taken as half a case more, of one more, so that no chance is 0 or 1 (Jeffreys' rule).
    """
    if not lost.any():
        return {}, []
    before, after = lost[:-1], lost[1:]

    def counted(name: str, hits: int, tries: int) -> tuple[float, Estimate]:
        p = (hits + 0.5) / (tries + 1)
        log_likelihood = hits * math.log(p) + (tries - hits) * math.log(1 - p)
        return log_likelihood, Estimate("failures", name, p, math.sqrt(p * (1 - p) / (tries + 1)))

    alone, _ = counted("p", int(after.sum()), after.size)
    of_begun, p_slow = counted("p_slow", int((~before & after).sum()), int((~before).sum()))
    of_ended, p_recover = counted("p_recover", int((before & ~after).sum()), int(before.sum()))
    if 2 * (of_begun + of_ended - alone) > math.log(after.size):
        chain = GilbertElliott(p_slow=p_slow.value, p_recover=p_recover.value, slowdown=math.inf)
        return {"failures": chain}, [p_slow, p_recover]
    _, p = counted("p", int(lost.sum()), lost.size)
    return {"failures": Bernoulli(p=p.value, slowdown=math.inf)}, [p]


def as_yaml(fitted: Fit, about: str) -> str:
    """The model as a ``stragglers:`` mapping, with standard errors as comments.

    Examples
    --------
    >>> usual = (Estimate("usual", "startup_s", 1.5, 0.1),)
    >>> of = {"usual": Constant(1.5)}
    >>> print(as_yaml(Fit(of, "constant", usual, (), None, 0.0, (), (), (), (), np.ones((1, 1))), "times.csv"))
    # Fitted to times.csv
    stragglers:
      usual: {kind: constant, startup_s: 1.5, seconds_per_load: 0}  # ± startup_s 0.1
    <BLANKLINE>
    """
    lines = [f"# Fitted to {line}" if not number else f"# {line}" for number, line in enumerate(about.splitlines())]
    lines.append("stragglers:")
    for label, model in fitted.models.items():
        values = ", ".join(f"{key}: {_scalar(value)}" for key, value in as_values(model, MODEL_TABLE).items())
        errors = [
            f"{parameter} {error:.2g}" if error >= 0 else f"{parameter} unknown"
            for layer, parameter, _, error in fitted.estimates
            if layer == label
        ]
        lines.append(f"  {label}: {{{values}}}" + (f"  # ± {', '.join(errors)}" if errors else ""))
    return "\n".join(lines) + "\n"


def _scalar(value: object) -> str:
    return str(value) if not isinstance(value, float) else ".inf" if value == math.inf else f"{value:.6g}"
