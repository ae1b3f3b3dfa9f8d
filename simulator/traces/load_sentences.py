"""All that there is to say about traces at several loads."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from simulator.parameters import FloatArray
from simulator.traces.loads import Curve, Prediction, curve, predictions
from simulator.traces.measures import LoadSlope, load_slope


class LoadCost(NamedTuple):
    """What load costs."""

    slope: LoadSlope
    curve: Curve | None
    """None for fewer than three loads"""
    prediction: Prediction | None

    @property
    def falls_below_0(self) -> bool:
        """True if times at the least load above 0, adjusted by the slope of medians, are negative at small loads."""
        return self.curve is not None and self.slope.seconds_per_load > self.curve.most_s

    @property
    def row(self) -> dict[str, Any]:
        """The figures as a row of ``load_slope.csv``; those of three loads are empty for fewer."""
        of, by = self.curve, self.prediction
        return {
            **self.slope._asdict(),
            "line_miss": None if of is None else np.abs(of.line_miss).max(),
            "quadratic_miss": None if of is None else np.abs(of.quadratic_miss).max(),
            "power": None if of is None else of.power,
            "is_bent": None if of is None else of.is_bent,
            "additive_error": None if by is None else by.additive,
            "proportional_error": None if by is None else by.proportional,
            "better_effect": None if by is None else by.better,
        }


def load_cost(durations_s: Sequence[FloatArray], loads: Sequence[float]) -> LoadCost:
    """Compute all figures of several loads, see `load_slope`, `curve` and `predictions`."""
    slope = load_slope(durations_s, loads)
    return LoadCost(slope, curve(durations_s, loads), predictions(durations_s, loads))


def sentences(cost: LoadCost) -> Iterator[str]:
    """Yield what load costs, and what that means for a scenario, in lines."""
    slope, of, by = cost
    yield f"least squares     {slope.slope_s:.4g} s per load, {slope.intercept_s:.4g} s at load 0 (all times)"
    yield f"slope of medians  {slope.slope_of_medians:.4g} s per load (robust)"
    if of is not None:
        worst = int(np.abs(of.line_miss).argmax())
        grows = f"; grows about as load^{of.power:.2g}" if of.is_bent else ""
        yield (
            f"check of fit      a line misses medians by up to {_percent(of.line_miss)} (load {of.loads[worst]:g}), a "
            f"quadratic by {_percent(of.quadratic_miss)}{grows}"
        )
        if of.is_bent or of.is_off:
            steps = zip(of.slopes_s, of.loads[:-1], of.loads[1:], strict=True)
            yield "between loads     " + ", ".join(f"{s:.4g} from {a:g} to {b:g}" for s, a, b in steps) + " s per load"
    if by is not None:
        yield f"load effect       {_predicts(by)}"
    yield _in_a_scenario(cost)


def _predicts(by: Prediction) -> str:
    errors = f"additive misses slow workers by {100 * by.additive:.3g} %, proportional by {100 * by.proportional:.3g} %"
    interval = f"95 % CI of the difference [{100 * by.low:.1f}, {100 * by.high:.1f}]"
    if by.better is None:
        return f"{errors}, each load predicted from the others ({interval}): no significant difference"
    return f"{by.better} predicts the other loads better: {errors} ({interval})"


def _in_a_scenario(cost: LoadCost) -> str:
    slope, of, by = cost
    if of is not None and (of.is_bent or of.is_off or cost.falls_below_0):
        first = f"of the trace at load {of.loads[of.first]:g}, with base_load: {of.loads[of.first]:g}"
        if of.slopes_s[min(of.first, len(of.slopes_s) - 1)] >= of.most_s:
            near = "all of the time is work; near that load"
            return f"In a scenario: {first}, load_effect: proportional, no seconds_per_load ({near})"
        effect = by.better if by is not None and by.better else "proportional"
        return (
            f"In a scenario: {first}, seconds_per_load: {of.usable_s:.4g} (up to the next load), load_effect: {effect}"
        )
    effect = f", load_effect: {by.better}" if by is not None and by.better else ""
    return f"In a scenario: seconds_per_load: {slope.seconds_per_load:.4g}{effect}"


def warnings(cost: LoadCost) -> Iterator[str]:
    """Yield reasons not to trust the slope, if there are any."""
    slope, of, _ = cost
    if slope.slope_of_medians < 0:
        yield (
            f"the slope of medians is negative ({slope.slope_of_medians:.4g} s per load) and was set to 0: either load "
            "costs next to nothing here, or the traces were not made under the same conditions"
        )
    elif slope.slope_s < 0:
        yield f"least squares is negative ({slope.slope_s:.4g} s per load): a few very long times spoil it; use medians"
    if of is None:
        return
    if of.is_bent or of.is_off:
        why = (
            "times are no line in load"
            if of.is_bent
            else "a line contradicts these times (they bend, or conditions differed)"
        )
        yield (
            f"{why}: one seconds_per_load misses the usual time by up to {_percent(of.line_miss)}; use the slope "
            "between the loads that you mean to compare"
        )
    if cost.falls_below_0:
        yield (
            f"{slope.seconds_per_load:.4g} s per load are more than the median at load {of.loads[of.first]:g} allows "
            f"({of.most_s:.4g} s per load): load_effect: additive would give negative times at small loads; use "
            "proportional"
        )


def _percent(misses: FloatArray) -> str:
    return f"{100 * np.abs(misses).max():.2g} %"
