"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.terminal import complain

if TYPE_CHECKING:
    from simulator.scenario.scenario import Scenario


ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace a value of the scenario, e.g. master.mu=0.5 (repeatable)."
    ),
]
Sweeps = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=VALUES",
        help="Vary a value: master.mu=0.5,1,2, or start:stop:number (:log for equal ratios); repeatable.",
    ),
]


def load_scenario(path: Path, overrides: list[str] | None = None, sweeps: list[str] | None = None) -> Scenario:
    """Load a scenario, and warn of what in it is probably not meant."""
    from simulator.scenario.loading import load
    from simulator.scenario.no_effect import warnings

    scenario = load(path, overrides or [], sweeps or [])
    for warning in warnings(scenario, overrides or []):
        complain(f"{path}: warning: {warning}")
    return scenario


RecordingFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Recorded worker times (Parquet or CSV).", show_default=False)
]
Jobs = Annotated[int, typer.Option(metavar="J", help="Jobs of a run.")]
MaxDelay = Annotated[
    int | None,
    typer.Option(metavar="T", help="Largest T in rounds (models - 1 if not given, or 3; published grid: 20)."),
]
Models = Annotated[int | None, typer.Option(metavar="M", help="Networks trained in turn: T is at most M - 1.")]
SecondsPerLoad = Annotated[
    str | None,
    typer.Option(
        metavar="S",
        help="Seconds that load 1 takes besides start-up (`trace info` estimates them), or proportional: all of a "
        "recorded time grows with the load.",
    ),
]
BaseLoad = Annotated[
    float | None,
    typer.Option(
        metavar="L",
        help="Load of the recorded times (if not given: what the file's metadata say, or 0, or 1/n if proportional).",
    ),
]
Rules = Annotated[str, typer.Option(metavar="RULES", help="Master rules to try.")]
Mus = Annotated[str, typer.Option("--mu", metavar="MUS", help="Tolerances of mu_rule to try.")]
WaitFor = Annotated[str, typer.Option(metavar="WHAT", help="What mu_rule waits for: all, enough, or both.")]
Schemes = Annotated[
    str | None, typer.Option(metavar="KINDS", help="Schemes to try (all if not given), e.g. uncoded,multiplexed.")
]
Accept = Annotated[
    str | None, typer.Option(metavar="WHAT", help="What sequential schemes accept: pattern, recoverable, or both.")
]
AsPublished = Annotated[bool, typer.Option("--as-published", help="Sequential schemes as in the paper's simulator.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for tables and pictures.")]
