"""`stragglersim trace fit`: straggler models from a trace."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import (
    BaseLoad,
    FittedSecondsPerLoad,
    ReadingOptions,
    TraceArgument,
    must_be_folder,
    takes,
    tell_remarks,
)
from simulator.cli.terminal import complain, print_table, say, status

if TYPE_CHECKING:
    from simulator.fitting.fit import Fit
    from simulator.fitting.goodness import Check
    from simulator.parameters import FloatArray
    from simulator.results.account import Account
    from simulator.traces.files import MeasuredTimes

COMMENTS = "after #: standard errors; documentation: Explanation, Fitting a trace"
FREE_LOAD = (
    "load costs nothing in this model, since all of each time is taken for start-up: to compare schemes of different "
    "loads, give --base-load and --seconds-per-load"
)
UNITS = {  # of parameters; of others: seconds in base distributions, probabilities in layers
    "slowdown": "times as long",
    "share": "share",
    "mean_rounds": "rounds",
    "sigma": "of the logarithm",
    "shape": "none",
}


@takes(ReadingOptions)
def fit(
    reading: ReadingOptions,
    file: TraceArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="MODEL.YAML", help="File for the model; the page and the trace with slowdowns go next to it."
        ),
    ],
    base_load: BaseLoad = None,
    seconds_per_load: FittedSecondsPerLoad = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated traces on the page.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier model and page.")] = False,
) -> None:
    """Fit straggler models to a trace, in layers, and show how well they do.

    Example: stragglersim trace fit times.parquet --base-load 0.125 --seconds-per-load 0.8 --out model.yaml

    The model is a `stragglers:` mapping. Paste it into a scenario, name its file there (stragglers: model.yaml), or run
    any scenario with it: stragglersim run quickstart.yaml --set stragglers=model.yaml
    """
    from simulator.fitting.fit import FitError, as_yaml, fit_models
    from simulator.fitting.goodness import checks
    from simulator.traces.files import read_times

    began, (page, slowdowns) = time.time(), _may_write(out, file, force=force)
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
    free = "" if seconds_per_load else f"\n{FREE_LOAD}"
    if free:
        complain(f"warning: {FREE_LOAD}")
    text = as_yaml(fitted, f"{about}{free}\n{said}; {COMMENTS}")
    account = _account(trace, fitted, found, f"{about}; {said}")
    _write(out, text, trace, fitted.slowdowns, simulated_s, account, began)
    _print(account, found)
    if trace.censored is not None:
        say(
            f"{100 * trace.censored.mean():.2g} % of the times are censored: each counts by the probability of taking "
            "longer, and simulated times are cut off alike before they are compared. A slowdown whose error is unknown "
            "is a lower bound."
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
    must_be_folder(out.parent)
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
    account: Account,
    began: float,
) -> None:
    """Write model, page, account and the trace with slowdowns, or none of them."""
    from matplotlib.figure import Figure

    from simulator.files import whole_file, writing
    from simulator.plots.fit import draw_fit
    from simulator.plots.saving import add_captions, save
    from simulator.plots.style import style
    from simulator.results.account import SUFFIX
    from simulator.traces.files import said_of_itself, write_trace

    assert trace.table is not None  # it was read
    known = said_of_itself(trace.path) | {"source": trace.path.name}
    if trace.base_load is not None:
        known["base_load"] = trace.base_load
    page, svg, slowed, beside = (out.with_suffix(suffix) for suffix in (".png", ".svg", ".parquet", SUFFIX))
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(page) as partial_page,
        whole_file(svg) as partial_svg,
        whole_file(beside) as partial_account,
        whole_file(out) as partial_model,
        status("Drawing"),
    ):
        with style():
            figure = Figure(layout="constrained")
            draw_fit(figure, trace.duration_s, simulated_s, account.fair)
        with tempfile.TemporaryDirectory() as beside_all:
            drawn = save(figure, Path(beside_all), page.stem)
            shutil.copy(drawn, partial_page)
            shutil.copy(drawn.with_suffix(".svg"), partial_svg)
        account.figures, account.scenarios = [svg.name], [out.name]
        account.write(partial_account, [Path(account.subject)], began)
        partial_model.write_text(text, encoding="utf-8")
        write_trace(slowed, trace.table.assign(slowdown=slowdowns.ravel()), known)
        add_captions(out.parent, {page.stem: str(figure.get_label())})


def _account(trace: MeasuredTimes, fitted: Fit, found: list[Check], about: str) -> Account:
    """The parameters, the layers, and how well the model fits."""
    from simulator.fitting.goodness import TOO_WIDE
    from simulator.results.account import Account, Said
    from simulator.traces.naming import labelled

    file, names = trace.path, trace.names
    estimates = Said(
        title="Model",
        table="Parameters",
        header=["layer", "parameter", "estimate", "standard error", "unit", "BIC without it"],
    )
    delta = {choice.layer: choice.delta_bic for choice in fitted.choices}
    rows: list[list[str]] = []
    for layer, parameter, value, error in fitted.estimates:
        is_first = not rows or rows[-1][0] != layer
        left_out = f"{delta[layer]:+.1f}" if is_first and layer in delta else ""
        unit = UNITS.get(parameter, "seconds" if layer == "usual" else "probability")
        rows.append([layer, parameter, f"{value:.5g}", f"{error:.2g}" if error >= 0 else "unknown", unit, left_out])
    estimates.rows = rows
    absent = [f"{choice.layer} {choice.delta_bic:+.1f}" for choice in fitted.choices if not choice.is_kept]
    if absent:
        estimates.sentences.append(f"Not asked for by the trace (BIC with it): {', '.join(absent)}")
    if fitted.other_base is not None:
        other, delta_bic = fitted.other_base
        estimates.sentences.append(f"Base distribution {fitted.base}; the next best: {other} (BIC {delta_bic:+.1f})")
    fail_slows = [
        f"worker {labelled(of.worker, names)} from round {of.onset} to {of.end - 1} ({of.factor:.2g} times slower)"
        for of in fitted.fail_slows
    ]
    for what, which in (
        ("Fail-slows", fail_slows),
        ("Slow workers", [labelled(worker, names) for worker in fitted.slow_workers]),
        ("Workers prone to straggle", [labelled(worker, names) for worker in fitted.prone_workers]),
        ("Rounds hit by a shock", fitted.hit_rounds),
    ):
        if which:
            shown = ", ".join(map(str, which[:20]))
            estimates.sentences.append(f"{what}: {shown}{f' and {len(which) - 20} more' if len(which) > 20 else ''}")
    compared = Said(title="Goodness of fit", table="What the model gives")
    compared.header = ["goodness of fit", "measured", "model, middle 95 %", "fits"]
    compared.rows = [
        [check.name, f"{check.measured:.4g}", f"{check.low:.4g} to {check.high:.4g}", check.verdict] for check in found
    ]
    if any(check.verdict == TOO_WIDE for check in found):
        possible = "half and twice as much, or all that is possible, would fit as well: more rounds say more."
        compared.sentences.append(f"{TOO_WIDE}: {possible}")
    n_inside = sum(check.is_inside for check in found)
    layers = ", ".join(dict.fromkeys(row[0] for row in rows if row[0] != "usual"))
    return Account(
        kind="trace fit",
        subject=str(file),
        question=f"Which straggler models give times like those of {file.name}?",
        answer=f"Times of a base distribution {fitted.base}, {f'slowed by {layers}' if layers else 'never slowed'}. "
        f"{n_inside} of {len(found)} numbers that were compared are what such models give"
        + ("." if n_inside == len(found) else ": look at those that are not before you rely on the model."),
        said=[estimates, compared],
        fair=about,
    )


def _print(account: Account, found: list[Check]) -> None:
    """Print the same, with a hint at what to look at first."""
    estimates, compared = account.said
    print_table(tuple(estimates.header), [tuple(row) for row in estimates.rows])
    for line in (*estimates.sentences, ""):
        say(line)
    print_table(tuple(compared.header), [tuple(row) for row in compared.rows])
    for line in compared.sentences:
        say(f"{line}\n")
    n_outside = sum(not check.is_inside for check in found)
    if n_outside:
        say(f"{n_outside} of {len(found)} numbers are outside of what the model gives: look at the page first.\n")
