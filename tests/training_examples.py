"""What several files of tests of training share: schemes that are exact, a scenario, and plain descent."""

import numpy as np

import stragglersim
from schemes import (
    CommunicationEfficientGradientCoding,
    FractionalRepetition,
    GradientCoding,
    HeterogeneousGradientCoding,
    Ideal,
    Multiplexed,
    NestedGradientCoding,
    PartialGradientCoding,
    SelectiveRepeat,
    Uncoded,
)
from schemes.assignment import Cyclic
from straggler_models import GilbertElliott, ShiftedExponential

STRAGGLERS = {
    "usual": ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s"),
    "bursts": GilbertElliott(p_slow=0.1, p_recover=0.5, slowdown=4.0),
}
EXACT_SCHEMES = {
    "uncoded": Uncoded(8),
    "GC": GradientCoding(8, s=2),
    "GC-Rep": FractionalRepetition(8, s=1),
    "SR-SGC": SelectiveRepeat(8, B=2, W=3, lam=3),
    "SR-SGC, late": SelectiveRepeat(8, B=1, W=2, lam=4, accepts="recoverable", late_responses="keep"),
    "M-SGC": Multiplexed(8, B=1, W=2, lam=3),
    "M-SGC-Rep": Multiplexed(8, B=2, W=3, lam=3, code="fractional_repetition"),
    "M-SGC, prefix": Multiplexed(8, B=2, W=3, lam=2, credit="prefix", accepts="recoverable", late_responses="keep"),
    "partial": PartialGradientCoding(8, assignment=Cyclic(4)),
    "partial, l = 2": PartialGradientCoding(8, assignment=Cyclic(4), blocks=2),
    "by speed": HeterogeneousGradientCoding(8, speeds=[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 7.0], s=2),
    "parts": CommunicationEfficientGradientCoding(8, s=2, m=3),
    "nested": NestedGradientCoding(8, s_max=3),
    "ideal": Ideal(8),
}


def scenario(schemes, training, **given):
    n_workers = next(iter(schemes.values())).n_workers
    given = {"workers": n_workers, "jobs": 40, "models": 4, "stragglers": STRAGGLERS, "leftover": "finish"} | given
    return stragglersim.Scenario(schemes=schemes, training=training, **given)


def descent(workload, n_steps, rate, parameters, rows=None, momentum=0.0):
    """Plain gradient descent; the loss after each step."""
    velocity, losses = 0.0, [workload.loss(parameters)]
    for step in range(n_steps):
        chosen = slice(None) if rows is None else rows[step]
        n_rows = workload.n_rows if rows is None else len(chosen)
        velocity = momentum * velocity + workload.gradient(parameters, chosen) / n_rows
        parameters = parameters - rate * velocity
        losses.append(workload.loss(parameters))
    return np.array(losses)


def curve(results, scheme, model=0, trial=0, column="loss"):
    table = results.training
    chosen = table[(table["scheme"] == scheme) & (table["model"] == model) & (table["trial"] == trial)]
    assert chosen["step"].tolist() == list(range(len(chosen)))
    return chosen[column].to_numpy()
