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
    from simulator.traces.files import MeasuredTimes


@takes(ReadingOptions)
def fit(
    reading: ReadingOptions,
    file: TraceArgument,
    out: Annotated[
        Path,
        typer.Option(metavar="MODEL.YAML", help="File for the model; page and slowdowns go next to it."),
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
    from simulator.fitting.goodness import checks
    from simulator.traces.files import read_times

    page, slowdowns = _may_write(out, file, force=force)
    trace = read_times(file, base_load, reading.given())
    if trace.components is not None:
        raise FitError(
            f"{file}: must have the column duration_s, got parts of it (give slowdown * (startup_s + seconds_per_load "
            "* load) as duration_s)"
        )
    with status("Fitting") as told:
        try:
            fitted = fit_models(
                trace.duration_s,
                base_load=trace.base_load or 0.0,
                seconds_per_load=seconds_per_load,
                censored=trace.censored,
                progress=told,
            )
        except FitError as error:
            raise FitError(f"{file}: {error}") from None
    tell_remarks(trace)
    n_rounds, n_workers = trace.duration_s.shape
    about = f"{file.name}: {n_rounds} rounds of {n_workers} workers"
    with status("Simulating"):
        simulated_s = _simulated(fitted, trace, seed)
    found = checks(trace.duration_s, simulated_s)
    said = f"base distribution {fitted.base}; BIC {fitted.bic:.1f}"
    text = as_yaml(fitted, f"{about}\n{said}; after #: standard errors; docs/fitting.md says what they mean")
    _write(out, text, trace, fitted.slowdowns, simulated_s, f"{about}; {said}")
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
    say(f"Trace    {slowdowns} (with the slowdown of each time)")


def _may_write(out: Path, file: Path, *, force: bool) -> tuple[Path, Path]:
    """Refuse names that can't be written; return those of the page and of the trace with slowdowns."""
    from simulator.fitting.fit import FitError

    if out.suffix not in (".yaml", ".yml"):
        raise FitError(f"--out: must end in .yaml, got {out}")
    page, slowdowns = (out.with_suffix(suffix) for suffix in (".png", ".parquet"))
    if slowdowns.resolve() == file.resolve():
        raise FitError(f"--out: must have another name than the trace ({slowdowns} goes next to it), got {out}")
    for path in (out, page, slowdowns):
        if path.is_dir() or (path.exists() and not force):
            raise FitError(f"{path}: must not exist yet (--force replaces an earlier model, page and trace)")
    if not out.resolve().parent.is_dir():
        raise FitError(f"--out: must be in a folder that exists, got {out}")
    return page, slowdowns


def _simulated(fitted: Fit, trace: MeasuredTimes, seed: int) -> list[FloatArray]:
    """Traces that the model gives, cut off as the measured one."""
    from simulator.fitting.goodness import N_SIMULATED, cut_off_alike, simulated_durations

    simulated_s = [
        simulated_durations(fitted.models, *trace.duration_s.shape, seed=seed + offset, load=trace.base_load or 0.0)
        for offset in range(N_SIMULATED)
    ]
    if trace.censored is None:
        return simulated_s
    return [cut_off_alike(times_s, trace.duration_s, trace.censored) for times_s in simulated_s]


def _write(
    out: Path,
    text: str,
    trace: MeasuredTimes,
    slowdowns: FloatArray,
    simulated_s: Sequence[FloatArray],
    about: str,
) -> None:
    """Write model, page and the trace with slowdowns, or none of them."""
    from matplotlib.figure import Figure

    from simulator.files import whole_file
    from simulator.plots.fit import draw_fit
    from simulator.plots.style import DPI, style
    from simulator.traces.files import said_of_itself, write_trace

    assert trace.table is not None  # it was read
    known = said_of_itself(trace.path) | {"source": trace.path.name}
    if trace.base_load is not None:
        known["base_load"] = trace.base_load
    page, slowed = out.with_suffix(".png"), out.with_suffix(".parquet")
    with whole_file(page) as partial_page, whole_file(out) as partial_model, status("Drawing"):
        with style():
            figure = Figure(layout="constrained")
            draw_fit(figure, trace.duration_s, simulated_s, about)
            figure.savefig(partial_page, format="png", dpi=DPI)
        partial_model.write_text(text, encoding="utf-8")
        write_trace(slowed, trace.table.assign(slowdown=slowdowns.ravel()), known)


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
    fail_slows = [
        f"worker {of.worker} from round {of.onset} to {of.end - 1} ({of.factor:.2g} times slower)"
        for of in fitted.fail_slows
    ]
    for what, which in (
        ("Fail-slows", fail_slows),
        ("Slow workers", fitted.slow_workers),
        ("Workers prone to straggle", fitted.prone_workers),
        ("Rounds hit by a shock", fitted.hit_rounds),
    ):
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
