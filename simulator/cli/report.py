"""`stragglersim report`: one page of a folder, to share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.terminal import say, status


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder that run, live, tune, advise, trace info or trace fit has written.",
            show_default=False,
        ),
    ],
) -> None:
    """Write DIR/report.html, a single file to share: question, answer, tables, figures, definitions, how to repeat it.

    Example: stragglersim report results/quickstart

    Example: stragglersim report results/advice
    """
    from simulator.report.page import parts_of, write

    with tempfile.TemporaryDirectory() as beside:
        with status(f"Reading {folder}"):
            parts = parts_of(folder, lambda run: _figures(run, Path(beside)))
        with status("Writing"):
            path = write(folder, parts)
    for part in parts:
        say(f"{part.question}\n{part.answer}\n")
    say(f"Report   {path} ({path.stat().st_size / 1e6:.1f} MB, one file)")


def _figures(folder: Path, beside: Path) -> Path:
    """The folder with the figures of a run; drawn anew if it has none."""
    if any((folder / "plots").glob("*.svg")):
        return folder / "plots"
    from simulator.cli.show import draw_again
    from simulator.plots.naming import AS_THEY_ARE
    from simulator.plots.saving import FORMATS
    from simulator.results.results import Results

    draw_again(Results.load(folder), folder, beside, None, AS_THEY_ARE, FORMATS)
    return beside
