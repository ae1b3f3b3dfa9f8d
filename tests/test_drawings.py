"""Figures stay as they are: what is drawn of small inputs is written down in `drawings.txt`.

After a change that is meant: ``python tests/test_drawings.py`` writes the descriptions anew.
"""

import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from figure_text import described
from matplotlib.figure import Figure
from test_advise import candidate, made
from test_plots import SCENARIOS, TWO, make, sweep_of

import stragglersim
from schemes import BackupTasks, Dsag, FastestK, GradientCoding, Ideal, KAsync, Multiplexed, Uncoded
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.plots import advice, fit, run, stragglers, traces, tuning
from simulator.plots import point as run_point
from simulator.plots.saving import save
from simulator.plots.sheet import Sheet
from simulator.plots.style import style
from simulator.plots.sweep.charts import Chart
from simulator.plots.timeline import _points
from simulator.results.results import Results
from simulator.traces.files import MeasuredTimes
from simulator.traces.measures import load_slope
from simulator.traces.report import describe
from straggler_models import Bernoulli, Constant, ShiftedExponential

TEXT = Path(__file__).with_name("drawings.txt")
HERE = Path(tempfile.gettempdir())  # where nothing is written
FOUR = TWO | {"M-SGC": Multiplexed(4, B=1, W=2, lam=1), "ideal": Ideal(4)}
Figures = Iterator[tuple[str, Figure | str]]


def saved_by(draw: Callable[..., Any], *given: Any) -> Figures:
    """The figures that would be written, and why others are not."""
    figures: dict[str, Figure | str] = {}
    with mock.patch.object(
        sys.modules[draw.__module__], "save", lambda figure, _, name, *formats: figures.update({name: figure})
    ):
        drawn = draw(*given)
    yield from (figures | getattr(drawn, "left_out", {})).items()


def of_run(scenario: stragglersim.Scenario, only: Sequence[str] = (), *, is_close: bool = False) -> Figures:
    return chosen(saved_by(run.draw, stragglersim.run(scenario), HERE, scenario if is_close else None), only)


def of_charts(results: Results, *charts: Chart) -> Figures:
    for chart in charts:
        yield chart.name, run.chart_of(results, chart)


def made_up(
    sweep: Mapping[str, Sequence[Any]], n_trials: int = 1, schemes: Sequence[str] = ("one", "two"), **columns: Any
) -> Results:
    """Runs at all combinations of swept values; columns are numbers, or functions of scheme, trial and values."""
    rows = []
    for point, values in enumerate(itertools.product(*sweep.values())):
        for place, trial in itertools.product(range(len(schemes)), range(n_trials)):
            row = {"point": point, "scheme": schemes[place], "kind": schemes[place], "trial": trial, "engine": "events"}
            numbers = {"makespan_s": 10.0 + place + point, "decode_failures": 0, "error_norm_mean": 0.0, "n_jobs": 9}
            numbers |= {"load": 0.5 + 0.1 * place, "job_latency_p95_s": 3.0 - place} | columns
            row |= {name: it(place, trial, *values) if callable(it) else it for name, it in numbers.items()}
            rows.append(
                row
                | {"jobs_per_s": (9 - row["decode_failures"]) / max(1e-9, row["makespan_s"])}
                | dict(zip(sweep, values, strict=True))
            )
    return Results(pd.DataFrame(rows), scenario={"sweep": {key: list(values) for key, values in sweep.items()}})


def runs() -> Figures:
    """Makespans, jobs, latencies: with intervals, waits, failures, errors, many schemes, and nothing at all."""
    yield from prefixed("usual", of_run(make(trials=3), is_close=True))
    mixed = FOUR | {"two": FastestK(4, k=2)}
    yield from prefixed("failed", of_run(make(schemes=mixed, master=FixedTime(time_s=2.0), jobs=30, trials=1)))
    many = {f"s = {s}, {'a long name ' * (s // 4)}": GradientCoding(12, s=s) for s in range(11)}
    yield from prefixed("many", of_run(make(schemes=many, workers=12, trials=1, jobs=2), ["jobs_finished"]))
    nothing = make(stragglers={"usual": Constant()}, schemes=TWO)
    yield from prefixed("instant", of_run(nothing, ["makespan", "latency", "timeline"], is_close=True))
    yield from prefixed(
        "all_failed", of_run(make(master=FixedTime(time_s=0.1, timeout_s=0.2)), ["latency", "jobs_finished"])
    )
    few = make(schemes=TWO, workers=4, jobs=2500, trials=1, master=FirstEnough())
    yield from prefixed("long", of_run(few, ["latency", "makespan"]))


def timelines() -> Figures:
    """Workers that never answer, lists that go on, more workers than have room, tasks too short for their numbers."""
    dead = {
        "usual": ShiftedExponential(shift=0.5, mean=0.5, adds_to="startup_s"),
        "work": Constant(seconds_per_load=20.0),
    }
    dead |= {"slow": Bernoulli(p=0.4, slowdown=1.8), "dead": Bernoulli(p=0.1, slowdown=np.inf)}
    schemes = {"uncoded": Uncoded(14), "M": Multiplexed(14, B=2, W=4, lam=3, credit="prefix")}
    here = make(stragglers=dead, workers=14, jobs=45, trials=1, schemes=schemes, master=FixedTime(time_s=2.0))
    yield from of_run(here, ["timeline"], is_close=True)
    slow = dead | {"dead": Bernoulli(p=0.2, slowdown=1.5)}
    schemes |= {"M": Multiplexed(14, B=1, W=2, lam=3, as_published=True)}
    schemes |= {"GC": GradientCoding(14, s=12)}
    late = dataclasses.replace(here, jobs=4, schemes=schemes, stragglers=slow, leftover="finish", master=MuRule(mu=0.5))
    yield from prefixed("late", of_run(late, ["timeline"], is_close=True))
    policy = {"after": "share", "share": 0.5}
    schemes = {"copies": BackupTasks(4, policy=policy, relaunch=True), "1-async": KAsync(4, k=1), "DSAG": Dsag(4, w=2)}
    acting = make(jobs=90, trials=1, schemes=schemes, master=FirstEnough())
    yield from prefixed("acting", of_run(acting, ["timeline"], is_close=True))


def matrices() -> Figures:
    """Stragglers of many workers in many rounds, which share cells."""
    for name, shape in (("cells", (1000, 100)), ("tall", (30, 60)), ("wide", (500, 10))):
        logs = {}
        for place, label in enumerate(("first", "a second one that has a name which is much longer than one line")):
            mask = np.random.default_rng(place).random((shape[0] - 5 * place, shape[1])) < 0.05 * (1 + place)
            logs[label] = log = stragglers.StragglerLog()
            log._packed, log._n_workers, log._n_given = [np.packbits(row) for row in mask], shape[1], mask.size
            log.waited = (mask[:, 0] & (name != "wide")).tolist()
        with style():
            stragglers.draw_stragglers(sheet := Sheet(), logs)
        yield name, sheet.figure


def of_traces() -> Figures:
    """Times with and without gaps, many, few, equal, 0 or never; and load against time."""
    rng = np.random.default_rng(3)
    many_s = rng.lognormal(0.0, 0.5, (100, 70)) * np.where(rng.random((100, 70)) < 0.05, 5, 1)
    never_s = np.where(rng.random((25, 6)) < 0.1, np.inf, rng.lognormal(0.0, 0.3, (25, 6)))
    zeros_s = np.where(rng.random((12, 4)) < 0.3, 0.0, rng.lognormal(0.0, 0.3, (12, 4)))
    of: dict[str, tuple[Any, ...]] = {
        "never": (never_s, ["never"], 0.4, "median"),
        "many": (many_s, ["many-h", "many-r"]),
        "gaps": (never_s[:, :3], ["gaps-s", "gaps-b"], 1.0, "first", True),
        "zeros": (zeros_s, ["zeros-h", "zeros-r"], 1.0, "median"),
        "one": (np.array([[1.0, 2.0, 3.5]]), ["one-r", "one-s"]),
        "equal": (np.full((3, 5), 2.0), ["equal-h", "equal-s"]),
        "nobody": (np.full((2, 2), np.inf), ["nobody-h"]),
        "long": (rng.lognormal(0.0, 0.2, (1000, 3)), ["long-h", "long-r"], 0.5),
    }
    for name, (duration_s, beginnings, *how) in of.items():
        steps = 2 * np.arange(len(duration_s)) if len(how) > 2 else None
        about = describe(MeasuredTimes(Path(name), duration_s, 0.0, steps), *how[:2])
        yield from chosen(saved_by(traces.draw_trace, about, name, HERE), beginnings)
    for name, loads in (("loads", (0.1, 0.2, 0.4)), ("from_0", (0.0, 0.5))):
        about_all = []
        for load in loads:
            duration_s = rng.gamma(2.0, 0.5, (20, 4)) + 0.3 + 2.0 * load
            duration_s[0, 0] = np.inf
            about_all.append(describe(MeasuredTimes(Path("it"), duration_s, load)))
        slope = load_slope([about.trace.duration_s for about in about_all], loads)
        yield from prefixed(name, saved_by(traces.draw_slope, about_all, slope, HERE))


def fits() -> Figures:
    """Models of wide, narrow, never ending and 0 times."""
    rng = np.random.default_rng(5)
    for name, sigma, p_never, least_s in (("wide", 1.2, 0.0, 0), ("narrow", 0.2, 0.1, 0), ("zeros", 0.5, 0.5, 0.6)):
        times_s = [rng.lognormal(0.0, sigma, (16, 5)) for _ in range(6)]
        times_s = [np.where(rng.random(each.shape) < p_never, np.inf, each) for each in times_s]
        times_s = [np.where(each < least_s, 0.0, each) for each in times_s]
        with style():
            fit.draw_fit(figure := Figure(layout="constrained"), times_s[0], times_s[1:], f"{name}_$")
        yield name, figure
    with style():
        fit.draw_fit(figure := Figure(layout="constrained"), np.full((16, 5), np.inf), times_s[1:3], "all")
    yield "all", figure


def settings(n_rules: int, factor: float, max_delay: int = 2) -> pd.DataFrame:
    rng, rows = np.random.default_rng(7), []
    for rule, label in itertools.product(range(n_rules), ("uncoded", "GC", "SR-SGC", "repetition only")):
        for s in range(1 if label == "uncoded" else 3):
            delay = min(s, max_delay) if label in ("SR-SGC", "repetition only") else 0
            row = {"scheme": label, "kind": "gradient_coding", "rule": f"mu_rule {rule / 2:g}, all", "s": s}
            row |= {"delay_rounds": delay, "load": 0.1 * (s + 1), "makespan_s": 20 * factor ** rng.random()}
            rows.append(row)
    return pd.DataFrame(rows)


def searches() -> Figures:
    """Searches with one rule and with many, and advice."""
    for name, table in (
        ("many", settings(10, 9.0).query("scheme in ('uncoded', 'SR-SGC')")),
        ("one", settings(1, 1.5, 0)),
    ):
        yield from prefixed(name, saved_by(tuning.draw_search, table, HERE, f"_{name}"))
    table = settings(2, 2.0)
    yield from prefixed("usual", chosen(saved_by(tuning.draw_search, table, HERE, "it"), ["winners"]))
    plain = table[table["scheme"] != "repetition only"]
    yield from prefixed("no_repetition", chosen(saved_by(tuning.draw_search, plain, HERE, "it"), ["winners"]))
    learned = pd.DataFrame({"rounds": [1, 3, 10, 30, 50], "time_s": [14.0, 13.0, 11.0, 9.5, 10.0]})
    learned["scheme"] = ["GC", "SR-SGC", "uncoded", "GC", "GC"]
    spread = np.random.default_rng(9).uniform(0.9, 1.1, 200)
    plain_s, others = 12 * spread[::-1], [("GC", 10.0), ("SR-SGC", 11.0), ("repetition only", 13.0)]
    few = [candidate(label, time_s, time_s * spread) for label, time_s in others]
    out = candidate("uncoded", 9.0, 9 * spread, action="leave out", workers=(3, 1, 7))
    many = [candidate("GC", 9.0 + n, (9 + n) * spread, action="replace", workers=tuple(range(n))) for n in range(1, 16)]
    for name, candidates in (("advice", [out, *few]), ("many", [*many, *few])):
        found = made(*candidates, candidate("uncoded", 12.0, plain_s + 10 * (name == "many")), settings=table)
        found = dataclasses.replace(found, learned=learned)
        with mock.patch.object(tuning, "save", lambda figure, folder, name: folder / name):
            yield from prefixed(name, saved_by(advice.draw_advice, found, HERE, "it"))


def training(
    n_points: int, n_trials: int, loss: Callable[..., float], schemes: Sequence[str] = ("one", "two")
) -> Results:
    results = made_up({"a": range(n_points)}, n_trials, schemes)
    rows = []
    for run_ in results.runs.to_dict("records"):
        speed = 1 + 0.2 * schemes.index(run_["scheme"]) + 0.1 * run_["trial"]
        for step, model in itertools.product(range(6 - run_["trial"]), range(2)):
            row = {key: run_[key] for key in ("point", "scheme", "trial")} | {"model": model, "time_s": step * speed}
            row |= {"worker_s": row["time_s"] * (2.0 if run_["scheme"] == "one" else 5.0)}
            row |= {"loss": loss(step, run_["point"] + 0.3 * model + 0.1 * run_["trial"])}
            rows.append(row | {"accuracy": 1 - 0.5**step if run_["point"] != 1 else np.nan})
    results.training = pd.DataFrame(rows)
    return results


def of_training() -> Figures:
    """Loss and accuracy: of one point and several, with bands, of one trial, what diverges, what has no loss at all."""
    usual = training(3, 3, lambda step, more: (2 + more) * 0.6**step)
    yield from of_charts(usual, Chart("time_s", "loss"), Chart("time_s", "accuracy", where={"a": [0]}))
    yield from of_charts(usual, Chart("time_s", "loss", where={"a": [2], "scheme": ["two"]}))
    yield from of_charts(usual, Chart("worker_s", "loss", where={"a": [0]}), Chart("worker_s", "loss"))
    late = dataclasses.replace(usual, training=usual.training.copy())
    late.training.loc[late.training["scheme"] == "two", "time_s"] *= 12.0
    yield from prefixed("late", of_charts(late, Chart("time_s", "loss", where={"a": [0]}), Chart("time_s", "loss")))
    wide = training(1, 1, lambda step, more: np.inf if step > 4 and more > 0 else 1e-3 * 5.0 ** (step + more))
    yield from prefixed("wide", of_charts(wide, Chart("time_s", "loss")))
    many = training(1, 2, lambda step, more: 0.6**step, [f"scheme {n}" for n in range(13)])
    yield from prefixed("many", of_charts(many, Chart("time_s", "loss")))
    two = training(2, 1, lambda step, more: max(0.0, 1.0 - 0.3 * step + more))
    yield from prefixed("zero", of_charts(two, Chart("time_s", "loss")))


def lines() -> Figures:
    """Lines over numbers on every kind of axis, and over words; with bands, bars, bounds, hollow, many."""
    results = made_up(
        {"few": [1, 2, 5], "word": ["plain", None, "{'kind': 'some', 'long': 'one'}"]},
        3,
        ["one", "two", "ideal"],
        makespan_s=lambda place, trial, few, word: 5.0 + few * (1 + place) + 0.3 * trial * few + len(str(word)),
        n_jobs=lambda place, trial, few, word: 9 + min(few, 3),
        decode_failures=lambda place, trial, few, word: int(place == 1 and few == 5 and trial == 0),
    )
    results.runs["few_more"] = 2 * results.runs["few"]
    results.scenario["sweep"] = {"few, few_more": [], "word": []}
    where = {"word": ["plain"]}
    yield from of_charts(
        results,
        Chart("few", "makespan_s"),
        Chart("word", "makespan_s", where={"few": [5, 2]}),
        Chart("few", "makespan_s", by="word", where={"scheme": ["one"]}),
        Chart("makespan_s", "jobs_per_s", where=where),
        Chart("n_jobs", "makespan_s", where=where | {"scheme": ["two"]}),
    )
    for name, xs in (
        ("geometric", [1, 2, 4, 8, 16]),
        ("decades", [0.1, 3.0, 7.0, 10.0]),
        ("integers", range(40)),
        ("floats", [0.0, 1.0, *np.arange(1, 11) / 8.5]),
        ("crowded", [0.01, 0.02, 0.03, 1]),
        ("many", [*range(2100)]),
        ("with_0", [0, 1, 100]),
    ):
        small = {"geometric": 1.5, "decades": 4.0, "integers": 1.2, "many": 1.0, "with_0": 0.0}.get(name, 1.1)
        swept = made_up({"x": xs}, makespan_s=lambda place, trial, x, small=small: (place + 1) * small ** min(x, 20))
        yield from prefixed(name, of_charts(swept, Chart("x", "makespan_s")))
    panels = made_up(
        {"x": [1, 2, 3, 4, 5, 6], "b.c": [1, 2, 3], "b.d_s": [0.5, 2.0]},
        2,
        makespan_s=lambda place, trial, x, c, d: x * c + trial,
    )
    yield from prefixed("panels", of_charts(panels, Chart("x", "makespan_s")))


def bounds() -> Figures:
    """Loads with their bounds, one of all schemes or several; errors on two axes."""
    scenario = stragglersim.load(SCENARIOS / "load-against-lam.yaml", ["trials=1", "jobs=1"])
    results = stragglersim.run(scenario, engine="vectorised")
    x, only = "schemes.M-SGC.lam", {"schemes.M-SGC.B": [1], "schemes.M-SGC.W": [2]}
    some = {"scheme": ["SR-SGC", "M-SGC"]}
    yield from of_charts(results, Chart(x, "load", where=only), Chart(x, "load", where=only | some))
    schemes = {"some": FastestK(4, k=2), "most": FastestK(4, k=3), "all": GradientCoding(4, s=1)}
    yield from prefixed("errors", of_run(sweep_of({"jobs": [2, 9]}, schemes=schemes), ["error"]))
    both = {"jobs": [2, 9], "master.wait_for": ["all", "nobody"]}
    yield from prefixed("both", of_run(sweep_of(both, schemes=schemes), ["error"]))
    words = {"master.wait_for": ["all", "nobody"], "jobs": [4]}
    yield from prefixed("words", of_run(sweep_of(words, schemes=schemes, trials=1), ["error"]))


def maps() -> Figures:
    """Maps with letters and with hatches, ties, doubts, losses, and what has no end; load against latency."""
    mus = {"master.mu": [0.1, 1.0, 8.0], "jobs": [3, 9]}
    yield from of_run(sweep_of(mus, schemes=FOUR, trials=3), ["best", "gain"])
    rng = np.random.default_rng(11)

    def makespan_s(place: int, trial: int, x: float, y: float, *z: float) -> float:
        return (
            10.0 if place < 2 and x < 2 else float(5.0 + 3 * place + x * (1 - place) + (x > 4) * rng.normal() + sum(z))
        )

    small = made_up(
        {"x": range(7), "a.key_s": [0.5, 1.5]},
        3,
        ["one", "two", "three"],
        makespan_s=makespan_s,
        exact_share=0.5,
        error_norm_mean=lambda place, *_: 0.1 * place,
    )
    large = made_up({"x": [*np.arange(14) / 7], "y": [1, 2]}, 2, ["one", "two", "three"], makespan_s=makespan_s)
    third = made_up({"x": [0, 5], "y": [1, 2], "z": range(6)}, 2, ["one", "two"], makespan_s=makespan_s)
    third.runs["z_more"] = third.runs["z"] ** 2
    third.scenario["sweep"] = {"x": [], "y": [], "z, z_more": []}
    failing = made_up(
        {"x": [1, 2], "y": [1, 2, 3]},
        1,
        ["one", "two", "three", "four"],
        decode_failures=lambda place, trial, x, y: 9 if place == x - 1 and y == 1 else 3 * (place == 2),
    )
    kept = ["best", "gain"]
    for name, results, only in (
        ("small", small, kept),
        ("large", large, kept),
        ("third", third, ["gain-z-5"]),
        ("failing", failing, kept),
    ):
        yield from prefixed(name, chosen(saved_by(run.draw, results, HERE), only))


def fronts() -> Figures:
    """Load against latency: what fails, a reference, a logarithm, thousands of points."""
    results = made_up(
        {"schemes.one.s": range(6), "jobs": [1, 2]},
        1,
        ["one", "two", "ideal"],
        load=lambda place, trial, s, jobs: 0.1 * (s + 1) + 0.05 * place,
        decode_failures=lambda place, trial, s, jobs: int(s == 5 - place),
        job_latency_p95_s=lambda place, trial, s, jobs: jobs * 100.0 ** ((7 - s) % 4 / 2) + place,
    )
    yield from chosen(saved_by(run.draw, results, HERE), ["load_latency"])
    many = made_up(
        {"master.mu": range(2001)},
        load=lambda place, trial, mu: 1 + mu % 7,
        job_latency_p95_s=lambda place, trial, mu: 9 - mu % 5,
    )
    yield from prefixed("many", chosen(saved_by(run.draw, many, HERE), ["load_latency"]))


def prefixed(prefix: str, figures: Any) -> Figures:
    return ((f"{prefix}/{name}", figure) for name, figure in figures)


def chosen(figures: Figures, beginnings: Sequence[str]) -> Figures:
    return (one for one in figures if not beginnings or one[0].startswith(tuple(beginnings)))


GROUPS = [runs, timelines, matrices, of_traces, fits, searches, of_training, lines, bounds, maps, fronts]


@cache
def found(group: str) -> dict[str, list[str]]:
    """The lines of each figure of a group."""
    figures = next(one for one in GROUPS if one.__name__ == group)()
    with style():
        return {
            f"{group}/{name}": described(figure) if isinstance(figure, Figure) else [f"not drawn: {figure}"]
            for name, figure in figures
        }


def expected() -> dict[str, list[str]]:
    parts = TEXT.read_text(encoding="utf-8").split("== ")[1:] if TEXT.exists() else []
    return {lines[0]: lines[1:] for lines in (part.splitlines() for part in parts)}


@pytest.mark.parametrize("group", [group.__name__ for group in GROUPS])
def test_the_same_figures_are_drawn(group):
    assert list(found(group)) == [name for name in expected() if name.split("/")[0] == group]


@pytest.mark.parametrize("name", expected())
def test_a_figure_is_as_it_was(name):
    assert found(name.split("/")[0])[name] == expected()[name]


def test_a_figure_is_written_with_so_many_pixels(tmp_path):
    with style():
        (sheet := Sheet()).panel()
        png = save(sheet.figure, tmp_path, "it").read_bytes()
    assert [int.from_bytes(png[at : at + 4]) for at in (16, 20)] == [680, 480]


def test_half_the_span_of_a_timeline_is_half_as_wide_as_its_axes():
    axes = Figure(figsize=(4, 2), dpi=50).add_axes((0, 0, 0.5, 1))
    axes.set_xlim(2, 12)
    assert _points(axes, 5.0) == pytest.approx(72)


def test_a_long_text_beside_a_bar_leaves_two_fifths_of_the_axis_to_the_bar():
    axes = Figure().subplots()
    run_point._say_beside(axes, 165, np.array([10.0]), ["x" * 40])
    assert axes.get_xlim() == pytest.approx((0, 25))


if __name__ == "__main__":
    every = {name: lines for group in GROUPS for name, lines in found(group.__name__).items()}
    TEXT.write_text("".join("\n".join([f"== {name}", *lines, ""]) for name, lines in every.items()), encoding="utf-8")
