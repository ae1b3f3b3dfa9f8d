"""Draw the figures of the gallery: `python docs/generate/gallery.py [NAME ...] [--trace FILE]`, all if none is named.

Each is of a run of a shipped scenario.
`lambda-replay` needs FILE, a trace of the AWS Lambda profiles, and is left out without.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from simulator.cli.app import main as stragglersim

ROOT = Path(__file__).parents[2]
COLOURS = 64


class Figure(NamedTuple):
    """A figure of a scenario's run."""

    name: str
    plot: tuple[str, ...] = ()  # options of `plot`, for a figure that `run` does not draw


FIGURES = {
    "adaptive": Figure("makespan"),
    "all-schemes": Figure("loss"),
    "async": Figure("loss"),
    "backup": Figure("best_scheme"),
    "dynamic-clusters": Figure("makespan"),
    "gain-plane": Figure("gain-stragglers_shock_p-0"),
    "heterogeneous": Figure("makespan"),
    "lambda-replay": Figure("jobs_finished"),
    "load-against-lam": Figure("load"),
    "nested": Figure("makespan"),
    "partial-approximate": Figure("", ("--x", "master.time_s", "--y", "error_norm_mean", "--where", "workers=200")),
    "partial-credit": Figure("makespan"),
    "partial-exact": Figure("makespan"),
    "partial-network": Figure("makespan"),
    "queues": Figure("makespan"),
    "quickstart": Figure("makespan"),
    "racks": Figure("makespan"),
    "random-communication": Figure("", ("--x", "schemes.code.s", "--by", "schemes.code.m")),
    "sparse-graphs": Figure("error"),
    "to-do-lists": Figure("makespan"),
    "training": Figure("loss"),
}


def call(*words: str) -> None:
    """Call the command line, which ends by an exit."""
    sys.argv = ["stragglersim", *words]
    try:
        stragglersim()
    except SystemExit as stop:
        if stop.code:
            raise


def draw(name: str, trace: str | None) -> None:
    """Run a scenario in an empty folder, and put its figure beside the page."""
    figure = FIGURES[name]
    options = ["--set", f"stragglers.lambda.path={trace}"] if name == "lambda-replay" else []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        call("run", str(ROOT / "scenarios" / f"{name}.yaml"), "--out", "run", *options)
        before = set(Path("run/plots").glob("*.png"))
        if figure.plot:
            call("plot", "run", "--format", "png", *figure.plot)
        [drawn] = [
            path
            for path in Path("run/plots").glob("*.png")
            if figure.name == path.stem or (figure.plot and path not in before)
        ]
        Image.open(drawn).convert("RGB").quantize(COLOURS).save(
            ROOT / "docs" / "gallery" / f"{name}.png", optimize=True
        )
        os.chdir(ROOT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--trace", type=os.path.abspath)
    given = parser.parse_args()
    for each in given.names or FIGURES:
        if each != "lambda-replay" or given.trace:
            draw(each, given.trace)
