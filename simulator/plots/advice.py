"""The figure of an advice: what each thing that can be done saves, and what more rounds gain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.plots.saving import save
from simulator.plots.style import GREY, Look, style
from simulator.plots.text import wrapped
from simulator.plots.tuning import draw_search, looks_among

if TYPE_CHECKING:
    from simulator.tuning.advice import Advice, Candidate

WIDTH_IN = 7.0
MOST = 16  # that are drawn, the fastest; and uncoded work


def draw_advice(advice: Advice, folder: Path, note: str) -> list[Path]:
    """Write the figures; ``note`` says what was compared. Returns the paths of the PNGs."""
    page = save(_page(advice, looks_among(advice.settings), note), folder, "advice")
    return [page, *draw_search(advice.settings, folder, f"rounds of choosing only; {note}")]


def _page(advice: Advice, looks: dict[str, Look], note: str) -> Figure:
    shown = sorted(advice.candidates, key=lambda one: one.time_s)[:MOST]
    if advice.plain not in shown:
        shown.append(advice.plain)
    with style():
        figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.26 * max(6, len(shown))), layout="constrained")
        figure.set_layout_engine("constrained", wspace=0.1)
        left, right = figure.subplots(1, 2)
        _savings(left, advice, shown, looks)
        _learning(right, advice, looks)
        figure.set_label(f"Time that each action saves, and what more rounds of choosing gain; {note}")
    return figure


def _savings(axes: Axes, advice: Advice, shown: list[Candidate], looks: dict[str, Look]) -> None:
    """Time saved against uncoded work by workers as they are, with its interval."""
    for place, one in enumerate(shown):
        saved, look = advice.saved(one), looks[one.scheme]
        axes.plot([saved.low, saved.high], [place, place], color=look.colour, linewidth=1.6)
        axes.plot(saved.percent, place, look.marker, color=look.colour, markersize=5)
    axes.set_yticks(range(len(shown)), [_named(one) for one in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set_xlabel("time saved against uncoded work (%), 95 % interval")
    axes.set_title(f"tested on rounds {advice.tested_on[0]} to {advice.tested_on[1] - 1}")
    beside = axes.twinx()
    beside.set_ylim(axes.get_ylim())
    beside.set_yticks(
        range(len(shown)), [f"{100 * advice.share_won[one]:.0f} %" if one in advice.share_won else "-" for one in shown]
    )
    beside.set_ylabel("share of resamples won")
    beside.spines["right"].set_visible(False)
    beside.tick_params(length=0)


def _named(one: Candidate) -> str:
    said = [one.fleet.said] if one.fleet.said else []
    return wrapped(", ".join([*said, one.scheme] if one.scheme != "uncoded" or not said else said), 28)


def _learning(axes: Axes, advice: Advice, looks: dict[str, Look]) -> None:
    """Makespan on the rest of what would have been chosen, against how many rounds it was chosen on."""
    learned = advice.learned
    rounds, times_s = learned["rounds"].to_numpy(), learned["time_s"].to_numpy()
    axes.plot(rounds, times_s, color=GREY, linewidth=0.8, zorder=1)
    for scheme in dict.fromkeys(learned["scheme"]):
        own = (learned["scheme"] == scheme).to_numpy()
        look = looks[scheme]
        axes.plot(rounds[own], times_s[own], look.marker, color=look.colour, linestyle="none", label=scheme)
    best_s = min(one.time_s for one in (advice.plain, *advice.codes))
    axes.axhline(best_s, color="black", linestyle="--", linewidth=0.8, label="best of the schemes in the end")
    axes.set_xscale("log")
    shown = [number for place, number in enumerate(rounds) if place == len(rounds) - 1 or number < 0.75 * rounds[-1]]
    axes.set_xticks(shown, [str(number) for number in shown], minor=False)
    axes.minorticks_off()
    least, most = min(best_s, times_s.min()), max(best_s, times_s.max())
    room = max(most - least, 0.02 * least)
    axes.set_ylim(least - 0.1 * room, most + (0.25 + 0.13 * learned["scheme"].nunique()) * room)
    axes.set(xlabel="rounds of choosing", ylabel="makespan when tested (seconds)")
    axes.legend(frameon=False, loc="upper right")
    axes.set_title("the code, chosen on more and more rounds")
