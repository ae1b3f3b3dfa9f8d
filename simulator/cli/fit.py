"""`stragglersim trace fit`: straggler models from a trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import BaseLoad, FittedSecondsPerLoad, ReadingOptions, TraceArgument, takes, tell_remarks
from simulator.cli.terminal import print_table, say, status

if TYPE_CHECKING:
    from simulator.fitting.fit import Fit
    from simulator.fitting.goodness import Check
    from simulator.parameters import FloatArray


@takes(ReadingOptions)
def fit(
    reading: ReadingOptions,
    file: TraceArgument,
    out: Annotated[
        Path, typer.Option(metavar="MODEL.YAML", help="File for the model; the page goes next to it, as PNG.")
    ],
    base_load: BaseLoad = None,
    seconds_per_load: FittedSecondsPerLoad = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of what the page compares with.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier model and page.")] = False,
) -> None:
    """Fit straggler models to a trace, in layers, and show how well they do.

    Example: stragglersim trace fit times.parquet --out model.yaml

    The model is a `stragglers:` mapping: paste it into a scenario, or give its file there (stragglers: model.yaml), or
    run any scenario with it: stragglersim run quickstart.yaml --set stragglers=model.yaml
    """
    from simulator.fitting.fit import FitError, as_yaml, fit_models
    from simulator.fitting.goodness import N_SIMULATED, checks, cut_off_alike, simulated_durations
    from simulator.traces.files import read_times

    page = _may_write(out, force=force)
    trace = read_times(file, base_load, reading.given())
    if trace.components is not None:
        raise FitError(
            f"{file}: must have the column duration_s, got parts of it (give slowdown * (startup_s + seconds_per_load "
            "* load) as duration_s)"
        )
    durations_s, base_load = trace.duration_s, trace.base_load or 0.0
    n_rounds, n_workers = durations_s.shape
    with status("Fitting"):
        try:
            fitted = fit_models(
                durations_s, base_load=base_load, seconds_per_load=seconds_per_load, censored=trace.censored
            )
        except FitError as error:
            raise FitError(f"{file}: {error}") from None
    tell_remarks(trace)
    about = f"{file.name}: {n_rounds} rounds of {n_workers} workers"
    with status("Simulating"):
        simulated_s = [
            simulated_durations(fitted.models, n_rounds, n_workers, seed=seed + offset, load=base_load)
            for offset in range(N_SIMULATED)
        ]
    if trace.censored is not None:
        simulated_s = [cut_off_alike(times_s, durations_s, trace.censored) for times_s in simulated_s]
    found = checks(durations_s, simulated_s)
    said = f"base distribution {fitted.base}; BIC {fitted.bic:.1f}"
    text = as_yaml(fitted, f"{about}\n{said}; after #: standard errors; docs/fitting.md says what they mean")
    _write(out, text, page, durations_s, simulated_s, f"{about}; {said}")
    _print(fitted, found)
    if trace.censored is not None:
        say(
            f"{100 * trace.censored.mean():.2g} % of the times are censored: they count by the chance of being longer, "
            "and of what the model gives, the slowest are cut off alike before it is compared; a slowdown "
            "whose error is unknown is a lower bound."
        )
    if not seconds_per_load:
        say(
            "All of each duration is taken for start-up, which load does not change: give --base-load and "
            "--seconds-per-load to compare schemes of different loads."
        )
    say(f"Model    {out} (a scenario takes it as it is: stragglers: {out.name})")
    say(f"Page     {page}")


def _may_write(out: Path, *, force: bool) -> Path:
    """Refuse names that can't be written; return that of the page."""
    from simulator.fitting.fit import FitError

    if out.suffix not in (".yaml", ".yml"):
        raise FitError(f"--out: must end in .yaml, got {out}")
    page = out.with_suffix(".png")
    for path in (out, page):
        if path.is_dir() or (path.exists() and not force):
            raise FitError(f"{path}: must not exist yet (--force replaces an earlier model and page)")
    if not out.resolve().parent.is_dir():
        raise FitError(f"--out: must be in a folder that exists, got {out}")
    return page


def _write(
    out: Path, text: str, page: Path, durations_s: FloatArray, simulated_s: Sequence[FloatArray], about: str
) -> None:
    """Write model and page, or neither."""
    from matplotlib.figure import Figure

    from simulator.files import whole_file
    from simulator.plots.fit import draw_fit
    from simulator.plots.style import DPI, style

    with whole_file(page) as partial_page, whole_file(out) as partial_model, status("Drawing"):
        with style():
            figure = Figure(layout="constrained")
            draw_fit(figure, durations_s, simulated_s, about)
            figure.savefig(partial_page, format="png", dpi=DPI)
        partial_model.write_text(text, encoding="utf-8")


def _print(fitted: Fit, found: list[Check]) -> None:
    """Print the parameters, the layers, and how well the model fits."""
    from simulator.fitting.goodness import TOO_WIDE

    delta = {choice.layer: choice.delta_bic for choice in fitted.choices}
    rows: list[tuple[str, ...]] = []
    for layer, parameter, value, error in fitted.estimates:
        is_first = not rows or rows[-1][0] != layer
        left_out = f"{delta[layer]:+.1f}" if is_first and layer in delta else ""
        rows.append((layer, parameter, f"{value:.5g}", f"{error:.2g}" if error >= 0 else "unknown", left_out))
    print_table(("layer", "parameter", "estimate", "standard error", "BIC without it"), rows)
    absent = [f"{choice.layer} {choice.delta_bic:+.1f}" for choice in fitted.choices if not choice.is_kept]
    if absent:
        say(f"Not asked for by the trace (BIC with it): {', '.join(absent)}")
    if fitted.other_base is not None:
        other, delta_bic = fitted.other_base
        say(f"Base distribution {fitted.base}; the next best: {other} (BIC {delta_bic:+.1f})")
    for what, which in (("Slow workers", fitted.slow_workers), ("Rounds hit by a shock", fitted.hit_rounds)):
        if which:
            shown = ", ".join(map(str, which[:20]))
            say(f"{what}: {shown}{f' and {len(which) - 20} more' if len(which) > 20 else ''}")
    say("")
    compared = [
        (check.name, f"{check.measured:.4g}", f"{check.low:.4g} to {check.high:.4g}", check.verdict) for check in found
    ]
    print_table(("goodness of fit", "measured", "model, middle 95 %", "fits"), compared)
    n_outside = sum(not check.is_inside for check in found)
    if any(check.verdict == TOO_WIDE for check in found):
        say(f"{TOO_WIDE}: half and twice as much, or all that is possible, would fit as well: more rounds say more.\n")
    if n_outside:
        say(f"{n_outside} of {len(found)} numbers are not what the model gives: look at the page first.\n")
