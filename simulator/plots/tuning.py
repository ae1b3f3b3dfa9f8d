"""The figures of a search for parameters: all settings as dots, and who wins under which rule and T."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from schemes.multiplexed import REPETITION
from simulator.plots.saving import save
from simulator.plots.sheet import Sheet
from simulator.plots.style import GREY, WIDTH_IN, Look, looks_of, plain_ticks, style
from simulator.plots.sweep.maps import LETTERS, tint
from simulator.plots.text import literal, wrapped
from simulator.tuning.best import best_settings, winners
from simulator.tuning.legal_settings import shipped_labels

MOST_PANELS = 8


def draw_search(settings: pd.DataFrame, folder: Path, note: str) -> list[Path]:
    """Write the figures; ``note`` says what was compared. Returns the paths of the PNGs."""
    looks = looks_among(settings)
    paths = [save(dots(settings, looks, note), folder, "settings")]
    if settings["delay_rounds"].max() > 0:
        paths.append(save(winner_map(settings, looks, note), folder, "winners"))
    return paths


def looks_among(settings: pd.DataFrame) -> dict[str, Look]:
    """The looks of the schemes that were tried, the same in every search."""
    tried = list(dict.fromkeys(settings["scheme"]))
    looks = looks_of(list(dict.fromkeys([*shipped_labels(), *tried])))
    return {label: look for label, look in looks.items() if label in tried}


def dots(settings: pd.DataFrame, looks: dict[str, Look], note: str) -> Figure:
    """Run time against load, a dot for each setting, a panel for each rule."""
    best_s = settings.groupby("rule", sort=False)["makespan_s"].min()
    kept = set(best_s.sort_values(kind="stable").index[:MOST_PANELS])
    rules = [rule for rule in best_s.index if rule in kept]
    n_columns = min(4, len(rules))
    n_rows = math.ceil(len(rules) / n_columns)
    with style():
        width = WIDTH_IN if n_columns == 1 else 7.0
        sheet = Sheet()
        sheet.set_size(width, 1.9 * n_rows)
        panels = sheet.subplots(n_rows, n_columns, sharex=True, sharey=True)
        for axes, rule in zip(panels.flat, rules, strict=False):
            under = settings[settings["rule"] == rule]
            for label, own in under.groupby("scheme", sort=False):
                dots: dict[str, Any] = {"s": 2.5, "linewidths": 0, "alpha": 0.5, "rasterized": True}
                axes.scatter(own["load"], own["makespan_s"], color=looks[str(label)].colour, **dots)
            for place, row in enumerate(
                best_settings(under).to_dict("records")
            ):  # smaller ones on top, so that none is hidden
                look, at = looks[row["scheme"]], (row["load"], row["makespan_s"])
                edge = {"markeredgecolor": "white", "markeredgewidth": 0.7, "markersize": 9 - 0.6 * place, "zorder": 4}
                axes.plot(*at, look.marker, color=look.colour, **edge)
            axes.set_title(literal(rule))
            axes.set_xscale("log")
            axes.margins(x=0.06, y=0.08)
        for place, axes in enumerate(panels.flat):
            axes.set_visible(place < len(rules))
            if place + n_columns >= len(rules):  # the last of its column
                axes.set_xlabel("load (share of a job)")
                axes.tick_params(labelbottom=True)
        for axes in panels[:, 0]:
            axes.set_ylabel("makespan (seconds)")
        if settings["makespan_s"].max() > 5 * settings["makespan_s"].min():
            panels[0, 0].set_yscale("log")
            plain_ticks(panels[0, 0].yaxis, settings["makespan_s"].min(), settings["makespan_s"].max())
        plain_ticks(panels[0, 0].xaxis, settings["load"].min(), settings["load"].max())
        dot = Line2D([], [], color=GREY, marker=".", markersize=2, linestyle="none", label="a setting; large: best")
        sheet.add_legend(looks, has_lines=False, extra=[dot])
        more = "" if len(rules) == len(best_s) else f"the best {MOST_PANELS} of {len(best_s)} rules; "
        sheet.figure.set_label(f"Makespan against load, a dot for each setting; {more}{note}")
    return sheet.figure


def winner_map(settings: pd.DataFrame, looks: dict[str, Look], note: str) -> Figure:
    """The best scheme for each rule and limit on T, and what the best coded one saves against repetition alone.

    Schemes that tie are told apart by T and load, and the caption says so.
    """
    cells = winners(settings)
    rules = list(dict.fromkeys(cell.rule for cell in cells))
    n_limits = max(cell.max_delay for cell in cells) + 1
    letters = {scheme: LETTERS[place] for place, scheme in enumerate(looks)}
    with style():
        width = max(WIDTH_IN, 0.9 + 0.62 * len(rules))
        sheet = Sheet()
        sheet.set_size(width, 0.9 + 0.3 * n_limits)
        axes = sheet.panel()
        for cell in cells:
            x, y = rules.index(cell.rule), cell.max_delay
            colour = tint(looks[cell.scheme].colour)
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
            text = f"{letters[cell.scheme]} {cell.coding_saves_percent:+.1f}".replace("nan", "–")
            axes.text(x, y, text, ha="center", va="center", fontsize="small")
        axes.set(xlim=(-0.5, len(rules) - 0.5), ylim=(-0.5, n_limits - 0.5))
        axes.set(xlabel="master rule", ylabel="T of at most (rounds)")
        names = [wrapped(rule.replace(", ", " ").replace("_", "_ "), 10).replace("_ ", "_") for rule in rules]
        axes.set_xticks(range(len(rules)), names)
        axes.set_yticks(range(n_limits))
        axes.tick_params(length=0)
        against = f"{REPETITION} (T = 0: uncoded)" if (settings["scheme"] == REPETITION).any() else "uncoded"
        title = f"best scheme; time that the best coded one saves against {against}, in %"
        axes.set_title(wrapped(title, int(19 * width)))
        won = {cell.scheme: tint(looks[cell.scheme].colour) for cell in cells}
        handles = [
            Patch(facecolor=won[scheme], edgecolor=GREY, linewidth=0.4, label=f"{letters[scheme]}: {scheme}")
            for scheme in looks
            if scheme in won
        ]
        sheet.add_legend({}, has_lines=False, extra=handles)
        what = "The best scheme under each rule and limit on T; ties are broken by smaller T, then smaller load"
        sheet.figure.set_label(f"{what}; {note}")
    return sheet.figure
