"""Pictures of training: loss and accuracy against simulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from schemes.base import FloatArray
from simulator.curves import Measure, curves
from simulator.looks import add_legend, looks_of, plain_ticks

if TYPE_CHECKING:
    import pandas as pd

N_TIMES = 300  # at which curves of different trials are averaged


def draw_training(figure: Figure, training: pd.DataFrame, measure: Measure) -> None:
    """Mean over models and trials against time, with a 95 % interval over trials (Student's t) as a band.

    A scheme's line ends with the first of its trials; its marker is there.
    """
    from scipy.special import stdtrit

    looks = looks_of(list(training["scheme"].unique()))
    figure.set_figheight(2.6)
    axes = figure.subplots()
    by_scheme: dict[str, list[FloatArray]] = {label: [] for label in looks}
    times_s = np.linspace(0.0, float(training["time_s"].max()), N_TIMES)
    for (_, scheme, _), curve in curves(training, measure):
        by_scheme[scheme].append(curve.at(times_s))
    means = []
    for label, look in looks.items():
        values = np.array(by_scheme[label])
        values = values[:, ~np.isnan(values).any(axis=0)]
        at_s, mean = times_s[: values.shape[1]], values.mean(axis=0)
        means.append(mean)
        axes.plot(at_s, mean, color=look.colour, linestyle=look.dashes)
        axes.plot(at_s[-1], mean[-1], color=look.colour, marker=look.marker, clip_on=False, zorder=3)
        if len(values) > 1:
            half = stdtrit(len(values) - 1, 0.975) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
            axes.fill_between(at_s, mean - half, mean + half, color=look.colour, alpha=0.2, linewidth=0)
    axes.set_xlim(0, times_s[-1] or 1.0)
    axes.set_xlabel("simulated time (seconds)")
    axes.set_ylabel(f"{measure} (mean over models)")
    # the lines say what is shown: a band over few trials may be wider than all that is possible
    lowest, highest = np.nanmin(np.concatenate(means)), np.nanmax(np.concatenate(means))
    if measure == "accuracy":
        axes.set_ylim(0, 1)
    elif lowest > 0:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, lowest, highest)
        axes.set_ylim(lowest / 1.5, highest * 1.5)
    add_legend(figure, looks)
