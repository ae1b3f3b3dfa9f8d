"""The pictures of a search for parameters: all settings as dots, and who wins under which rule and T."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from simulator.choice import best_settings, winners
from simulator.looks import GREY, WIDTH_IN, Look, add_legend, literal, looks_of, save, style, wrapped
from simulator.settings import REPETITION
from simulator.sweep_maps import LETTERS, tint

if TYPE_CHECKING:
    import pandas as pd

MOST_PANELS = 8


def draw_search(settings: pd.DataFrame, folder: Path, note: str) -> list[Path]:
    """Write the pictures; ``note`` says what was compared. Returns the paths of the PNGs."""
    looks = looks_of(list(settings["scheme"].unique()))
    paths = [save(dots(settings, looks, note), folder, "settings")]
    if settings["delay_rounds"].max() > 0:
        paths.append(save(winner_map(settings, looks, note), folder, "winners"))
    return paths


def dots(settings: pd.DataFrame, looks: dict[str, Look], note: str) -> Figure:
    """Run time against load, a dot for each setting, a panel for each rule."""
    rules = list(settings["rule"].unique())[:MOST_PANELS]
    n_columns = min(4, len(rules))
    n_rows = math.ceil(len(rules) / n_columns)
    with style():
        width = WIDTH_IN if n_columns == 1 else 7.0
        figure = Figure(figsize=(width, 1.9 * n_rows), layout="constrained")
        panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        for axes, rule in zip(panels.flat, rules, strict=False):
            under = settings[settings["rule"] == rule]
            for label, own in under.groupby("scheme", sort=False):
                dots: dict[str, Any] = {"s": 2.5, "linewidths": 0, "alpha": 0.5, "rasterized": True}
                axes.scatter(own["load"], own["makespan_s"], color=looks[str(label)].colour, **dots)
            for row in best_settings(under).to_dict("records"):
                look = looks[row["scheme"]]
                at = row["load"], row["makespan_s"]
                edge = {"markeredgecolor": "white", "markeredgewidth": 0.8, "markersize": 7, "zorder": 4}
                axes.plot(*at, look.marker, color=look.colour, **edge)
            axes.set_title(literal(rule), fontsize=7)
            axes.set_xscale("log")
        for place, axes in enumerate(panels.flat):
            axes.set_visible(place < len(rules))
            if place + n_columns >= len(rules):  # the last of its column
                axes.set_xlabel("load (share of a job)")
                axes.tick_params(labelbottom=True)
        for axes in panels[:, 0]:
            axes.set_ylabel("makespan (seconds)")
        largest, least = settings["makespan_s"].max(), settings["makespan_s"].min()
        if largest > 5 * least:
            panels[0, 0].set_yscale("log")
        dot = Line2D([], [], color=GREY, marker=".", markersize=2, linestyle="none", label="a setting; large: best")
        add_legend(figure, looks, has_lines=False, extra=[dot])
        more = "" if len(rules) == settings["rule"].nunique() else f"the first {MOST_PANELS} rules; "
        say_below(figure, more + note, width)
    return figure


def winner_map(settings: pd.DataFrame, looks: dict[str, Look], note: str) -> Figure:
    """The best scheme for each rule and limit on T, and what the best coded one saves against repetition alone."""
    cells = winners(settings)
    rules = list(dict.fromkeys(cell.rule for cell in cells))
    n_limits = max(cell.max_delay for cell in cells) + 1
    letters = {scheme: LETTERS[place] for place, scheme in enumerate(looks)}
    with style():
        width = max(WIDTH_IN, 0.9 + 0.62 * len(rules))
        figure = Figure(figsize=(width, 0.9 + 0.3 * n_limits), layout="constrained")
        axes = figure.subplots()
        for cell in cells:
            x, y = rules.index(cell.rule), cell.max_delay
            colour = tint(looks[cell.scheme].colour)
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
            text = f"{letters[cell.scheme]} {cell.coding_saves_percent:+.1f}".replace("nan", "–")
            axes.text(x, y, text, ha="center", va="center", fontsize=6.5)
        axes.set_xlim(-0.5, len(rules) - 0.5)
        axes.set_ylim(-0.5, n_limits - 0.5)
        names = [wrapped(rule.replace(", ", " ").replace("_", "_ "), 10).replace("_ ", "_") for rule in rules]
        axes.set_xticks(range(len(rules)), names)
        axes.set_yticks(range(n_limits))
        axes.tick_params(length=0)
        axes.set_xlabel("master rule")
        axes.set_ylabel("T of at most (rounds)")
        has_baseline = (settings["scheme"] == REPETITION).any()
        against = f"{REPETITION} (T = 0: uncoded)" if has_baseline else "uncoded"
        axes.set_title(
            wrapped(f"best scheme; time that the best coded one saves against {against}, in %", int(19 * width)),
            fontsize=7,
        )
        won = {cell.scheme for cell in cells}
        handles = [
            Patch(facecolor=tint(look.colour), edgecolor=GREY, linewidth=0.4, label=f"{letters[scheme]}: {scheme}")
            for scheme, look in looks.items()
            if scheme in won
        ]
        add_legend(figure, {}, has_lines=False, extra=handles)
        say_below(figure, note, width)
    return figure


def say_below(figure: Figure, note: str, width: float) -> None:
    """Say in one small line below what makes the comparison fair or not."""
    figure.supxlabel(textwrap.fill(literal(note), int(23 * width)), x=0.01, ha="left", fontsize=5.5, color=GREY)
