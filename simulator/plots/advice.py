"""The figure of an advice: what each scheme saves on the rest of a trace, and what more probing rounds gain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.plots.style import GREY, Look, save, style, wrapped
from simulator.plots.tuning import draw_search, looks_among, say_below

if TYPE_CHECKING:
    from simulator.tuning.advice import Advice

WIDTH_IN = 7.0


def draw_advice(advice: Advice, folder: Path, note: str) -> list[Path]:
    """Write the figures; ``note`` says what was compared. Returns the paths of the PNGs."""
    page = save(_page(advice, looks_among(advice.settings), note), folder, "advice")
    return [page, *draw_search(advice.settings, folder, f"first half only; {note}")]


def _page(advice: Advice, looks: dict[str, Look], note: str) -> Figure:
    with style():
        figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.26 * max(6, len(advice.chosen))), layout="constrained")
        figure.set_layout_engine("constrained", wspace=0.1)
        left, right = figure.subplots(1, 2)
        _savings(left, advice, looks)
        _learning(right, advice, looks)
        say_below(figure, note, WIDTH_IN)
    return figure


def _savings(axes: Axes, advice: Advice, looks: dict[str, Look]) -> None:
    """Time saved against uncoded work, or the first scheme if that was not tried, with its interval."""
    labels = advice.chosen["scheme"].tolist()
    other = "uncoded" if "uncoded" in labels else labels[0]
    for place, label in enumerate(labels):
        saved = advice.saved(label, other)
        assert saved is not None, "both were tried"
        look = looks[label]
        axes.plot([saved.low, saved.high], [place, place], color=look.colour, linewidth=1.6)
        axes.plot(saved.percent, place, look.marker, color=look.colour, markersize=5)
    axes.set_yticks(range(len(labels)), [wrapped(label, 18) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set_xlabel(f"time saved against {other} (%), 95 % interval")
    axes.set_title(f"tested on rounds {advice.n_chosen_on} and on", fontsize=7)
    beside = axes.twinx()
    beside.set_ylim(axes.get_ylim())
    beside.set_yticks(range(len(labels)), [f"{100 * won:.0f} %" for won in advice.share_won])
    beside.set_ylabel("share of resamples won")
    beside.spines["right"].set_visible(False)
    beside.tick_params(length=0)


def _learning(axes: Axes, advice: Advice, looks: dict[str, Look]) -> None:
    """Makespan on the rest of what would have been chosen, against how many rounds it was chosen on."""
    learned = advice.learned
    rounds, rest_s = learned["rounds"].to_numpy(), learned["rest_s"].to_numpy()
    axes.plot(rounds, rest_s, color=GREY, linewidth=0.8, zorder=1)
    for scheme in dict.fromkeys(learned["scheme"]):
        own = (learned["scheme"] == scheme).to_numpy()
        look = looks[scheme]
        axes.plot(rounds[own], rest_s[own], look.marker, color=look.colour, linestyle="none", label=scheme)
    best_s = advice.chosen["rest_s"].min()
    axes.axhline(best_s, color="black", linestyle="--", linewidth=0.8, label="best of the schemes chosen in the end")
    axes.set_xscale("log")
    shown = [number for place, number in enumerate(rounds) if place == len(rounds) - 1 or number < 0.75 * rounds[-1]]
    axes.set_xticks(shown, [str(number) for number in shown], minor=False)
    axes.minorticks_off()
    least, most = min(best_s, rest_s.min()), max(best_s, rest_s.max())
    room = max(most - least, 0.02 * least)
    axes.set_ylim(least - 0.1 * room, most + (0.25 + 0.13 * learned["scheme"].nunique()) * room)
    axes.set(xlabel="probing rounds", ylabel="makespan on the rest (seconds)")
    axes.legend(frameon=False, loc="upper right")
    axes.set_title("what more probing gains", fontsize=7)
