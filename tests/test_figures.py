"""Figures for papers and notebooks: the user's style, size, names and axes; captions; many schemes and workers."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from inspect import signature
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_plots import TWO, drawn_by, make, sweep_of, texts

import stragglersim
from schemes import GradientCoding, Multiplexed, SelectiveRepeat, Uncoded
from simulator.plots.naming import MOST_LINES, MOST_SCHEMES, Naming
from simulator.plots.run import chart_of, draw, figure_of, figures_of, run_figures
from simulator.plots.saving import captions, read_style, save
from simulator.plots.sheet import Sheet
from simulator.plots.stragglers import straggler_logs
from simulator.plots.style import ChartError, looks_of, style
from simulator.plots.sweep.charts import Chart
from simulator.plots.text import key_label, literal, wrapped
from simulator.plots.timeline import draw_timeline, timelines
from simulator.results.fairness import fairness
from simulator.results.results import Results
from straggler_models import Bernoulli, Constant


@pytest.fixture(scope="module")
def scenario() -> stragglersim.Scenario:
    return make(schemes=TWO | {"M-SGC": Multiplexed(4, B=1, W=2, lam=1)})


@pytest.fixture(scope="module")
def results(scenario: stragglersim.Scenario) -> Results:
    return stragglersim.run(scenario)


@pytest.fixture(scope="module")
def swept() -> Results:
    return stragglersim.run(sweep_of({"schemes.GC.s": [0, 1, 2], "jobs": [3, 9]}, schemes=TWO))


@pytest.fixture
def folder(results: Results, tmp_path: Path, cli: object) -> Path:
    results.save(tmp_path / "out")
    return tmp_path / "out"


def pixels(path: Path) -> list[int]:
    head = path.read_bytes()[16:24]
    return [int.from_bytes(head[:4]), int.from_bytes(head[4:])]


# --- the user's style


def test_what_the_user_has_set_is_kept_and_all_else_is_our_style(results):
    with mpl.rc_context({"font.size": 12, "axes.linewidth": 3.0, "axes.prop_cycle": cycler(color=["#123456", "red"])}):
        [axes] = figure_of(results, "makespan").axes
    assert axes.xaxis.label.get_size() == 12
    assert axes.spines["left"].get_linewidth() == 3.0
    assert [mpl.colors.to_hex(bar.get_facecolor()) for bar in axes.patches] == ["#123456", "#ff0000", "#123456"]
    assert not axes.spines["top"].get_visible()
    [plain] = figure_of(results, "makespan").axes
    assert (plain.xaxis.label.get_size(), plain.spines["left"].get_linewidth()) == (8, 0.6)


def test_markers_and_dashes_of_the_users_cycle_are_those_of_the_schemes():
    cycle = cycler(color=["red", "blue"]) + cycler(marker=["x", "+"]) + cycler(linestyle=["-", ":"])
    with mpl.rc_context({"axes.prop_cycle": cycle}):
        looks = looks_of(["a", "b", "c"])
    assert looks["a"] == ("red", "x", "-")
    assert looks["b"] == ("blue", "+", ":")
    assert looks["c"] == ("red", "+", ":")


def test_a_style_sheet_also_says_what_is_matplotlibs_default(results, tmp_path):
    sheet = tmp_path / "paper.mplstyle"
    sheet.write_text("axes.spines.top: True\nfont.size: 10\nbackend: pdf\n", encoding="utf-8")
    with style(read_style(sheet)):
        [axes] = figure_of(results, "makespan").axes
    assert axes.spines["top"].get_visible()
    assert not axes.spines["right"].get_visible()
    assert axes.xaxis.label.get_size() == 10


def test_latex_is_given_what_it_can_read_and_a_lack_of_it_is_said(results, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with mpl.rc_context({"text.usetex": True}):
        figure = figure_of(results, "makespan", naming=Naming(labels={"GC": "a_b & $W_0$"}))
        with pytest.raises(ChartError, match=r"makespan: must be written without LaTeX \(text.usetex\), got "):
            save(figure, tmp_path, "makespan")
    assert figure.axes[0].get_xlabel() == r"mean makespan (seconds), 95 \% interval"
    assert figure.axes[0].get_yticklabels()[1].get_text() == r"a\_b \& $W_0$"
    assert "95 % interval" in texts(figure_of(results, "makespan"))


def test_drawing_changes_no_setting_of_the_user(results):
    before = dict(mpl.rcParams)
    figure_of(results, "makespan")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["makespan", "jobs_finished", "latency", "load_makespan", "stragglers", "timeline"])
def test_the_size_is_the_users_and_nothing_overlaps(results, scenario, tmp_path, name):
    with mpl.rc_context({"figure.figsize": (3.5, 2.5)}):
        figure = figure_of(results, name, scenario)
        png, pdf = (save(figure, tmp_path, name, [kind]) for kind in ("png", "pdf"))
    assert pixels(png) == [700, 500]
    assert pdf.read_bytes().startswith(b"%PDF")
    assert re.search(rb"/MediaBox \[ 0 0 252 180 \]", pdf.read_bytes())
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    for place, one in enumerate(boxes):
        assert one.x0 > -1
        assert one.y0 > -1
        for other in boxes[:place]:
            shared = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert shared < 2 or name == "stragglers"  # whose titles stand close


def test_a_size_without_room_is_said_and_the_other_figures_are_drawn(results, tmp_path):
    with mpl.rc_context({"figure.figsize": (1.2, 0.9)}):
        drawn = draw(results, tmp_path)
    assert [path.stem for path in drawn.paths] == ["makespan"]
    assert drawn.left_out["jobs_finished"] == "1.2 x 0.9 inches are too small for it"


def test_labels_that_would_lie_on_each_other_have_no_room(tmp_path):
    for height_in, is_fine in ((2.5, True), (0.8, False)):
        with style({"figure.figsize": [3.0, height_in]}):
            sheet = Sheet()
            for axes in sheet.subplots(2)[:, 0]:
                axes.set_ylabel("a label so long")
        if is_fine:
            save(sheet.figure, tmp_path, "it")
        else:
            with pytest.raises(ChartError, match=r"it: 3 x 0\.8 inches are too small for it"):
                save(sheet.figure, tmp_path, "it")


def test_ticks_whose_labels_would_lie_on_each_other_have_no_room(tmp_path):
    with style({"figure.figsize": [2.0, 1.2]}):
        for heights_in, is_fine in (((0.6, 0.6), True), ((0.1, 1.1), False)):
            sheet = Sheet()
            for axes in sheet.subplots(2, height_ratios=heights_in)[:, 0]:
                axes.set_yticks([0, 1, 2])
            if is_fine:
                save(sheet.figure, tmp_path, "it")
            else:
                with pytest.raises(ChartError, match=r"it: 2 x 1\.2 inches are too small for it"):
                    save(sheet.figure, tmp_path, "it")


def test_the_label_that_panels_share_is_at_their_middle_as_far_as_it_has_room(tmp_path):
    for text, is_short in (("worker", True), ("a label that has nearly the height", False)):
        with style({"figure.figsize": [3.0, 2.0]}):
            sheet = Sheet()
            panels = sheet.subplots(2)[:, 0]
            sheet.label_rows(text)
            panels[0].set_title("a\nhigh\ntitle")
        save(sheet.figure, tmp_path, "it")
        [label] = sheet.figure.texts
        middle = (panels[0].get_position().y1 + panels[1].get_position().y0) / 2
        assert (label.get_position()[1] == pytest.approx(middle)) == is_short
        assert label.get_window_extent().y0 > -1


def test_formulas_are_in_letters_like_those_of_the_texts():
    for family, serif, expected in (
        ("sans-serif", None, "dejavusans"),
        ("serif", None, "dejavuserif"),
        ("serif", "Times", "stix"),
    ):
        chosen = {"font.family": family} | ({"font.serif": [serif]} if serif else {})
        with style(chosen):
            assert mpl.rcParams["mathtext.fontset"] == expected
    with mpl.rc_context({"font.family": "serif", "mathtext.fontset": "cm"}), style():
        assert mpl.rcParams["mathtext.fontset"] == "cm"


# --- text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"$\lambda$-GC", r"$\lambda$-GC"),
        ("5 $", r"5 \$"),
        ("$", r"\$"),
        (r"$\frac{$", r"\$\frac{\$"),
        (r"\$5 and $s$", r"\$5 and $s$"),
        ("_a", " _a"),
    ],
)
def test_dollars_are_mathtext_if_they_can_be(text, shown):
    assert literal(text) == shown
    figure = Figure()
    figure.text(0.5, 0.5, literal(text))
    figure.draw_without_rendering()


def test_formulas_are_not_broken_and_count_as_wide_as_they_look():
    label = r"a code of $\lambda = W + 1$ and then $\frac{B}{W}$"
    lines = wrapped(label, 12).splitlines()
    assert " ".join(lines) == label
    assert lines == ["a code of", r"$\lambda = W + 1$ and", r"then $\frac{B}{W}$"]


def test_parameters_read_as_in_the_papers():
    labels = {
        "schemes.M-SGC.lam": r"$\lambda$ of M-SGC",
        "schemes.v1.0.W": "$W$ of v1.0",
        "schemes.*.blocks": r"$\ell$",
        "schemes.a.assignment.chunks_per_worker": r"$\delta$ of a",
        "schemes.a.ordering.kind": "ordering of a",
        "master.mu": r"$\mu$",
        "master.time_s": "deadline (seconds)",
        "master.wait_for": "wait for",
        "master.kind": "master",
        "workers": "workers",
        "stragglers.bursts.p_slow": "p_slow of bursts",
        "stragglers.slow.p": "$p$ of slow",
        "stragglers.usual.startup_s": "start-up of usual (seconds)",
        "stragglers.usual.seconds_per_load": "seconds per load of usual",
        "stragglers.bursts": "bursts",
        "network.latency_s": "network latency (seconds)",
        "network.ingress_bytes_per_s": "bandwidth of the master (bytes per second)",
        "training.learning_rate": "learning rate",
        "round_overhead_s": "round overhead (seconds)",
    }
    assert {key: key_label(key, 60) for key in labels} == labels


def test_swept_values_have_units_and_large_ticks_are_powers_of_ten():
    swept = {"stragglers.usual.startup_s": [0.1, 0.2], "network.gradient_bytes": [1e6, 2e6, 1e8]}
    scenario = make(sweep=swept, network={"worker_bytes_per_s": 1e9, "gradient_bytes": 1e6})
    figure = stragglersim.run(scenario).plot.chart("network.gradient_bytes", "makespan_s")
    assert [axes.get_title() for axes in figure.axes] == [f"start-up of usual = {startup} s" for startup in (0.1, 0.2)]
    assert figure.axes[0].get_xlabel() == "gradient size (bytes)"
    figure.draw_without_rendering()
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "$10^{6}$" in ticks
    assert not any("e+" in tick for tick in ticks)
    assert figure.get_label().startswith("makespan against gradient size")


def test_the_makespan_of_one_job_is_its_completion_time(results):
    one = stragglersim.run(make(schemes=TWO, jobs=1))
    assert figure_of(one, "makespan").axes[0].get_xlabel() == "mean completion time (seconds),\n95 % interval"
    assert "makespan" not in texts(figure_of(one, "load_makespan"))
    assert "completion" not in texts(figure_of(results, "makespan"))
    swept = stragglersim.run(sweep_of({"master.mu": [0.1, 8.0], "schemes.GC.s": [1, 2]}, schemes=TWO, jobs=1))
    made = dict(run_figures(swept))
    assert " ".join(made["makespan"].axes[0].get_ylabel().split()) == "mean completion time (seconds)"
    assert made["gain"].axes[1].get_ylabel() == "completion time saved (%)"
    assert one.plot.makespan.__doc__ == "Completion time of each scheme."
    for figure in [*made.values(), swept.plot.chart("master.mu", "makespan_s")]:
        assert "akespan" not in figure.get_label()


def test_all_that_a_run_of_one_job_says_is_of_its_completion_time(cli):
    Path("one.yaml").write_text(make(schemes=TWO, jobs=1).to_yaml(), encoding="utf-8")
    _, out, _ = cli("run", "one.yaml", "--out", "one")
    assert " completion time s " in out
    assert "\nMeans over trials; completion time with its 95 % interval" in out
    assert "akespan" not in out.partition("Figures")[0]
    _, out, _ = cli("report", "one")
    assert "mean completion time " in out
    page = Path("one/report.html").read_text(encoding="utf-8")
    assert "Comparison by completion time, with changes" in page
    assert "Makespan" not in page


def test_intervals_that_reach_below_0_end_there(scenario):
    results = stragglersim.run(scenario)
    for second_s, is_below in ((9.0, True), (1.01, False)):
        runs = results.runs.assign(makespan_s=np.where(results.runs["trial"] == 0, 1.0, second_s))
        figure = figure_of(dataclasses.replace(results, runs=runs), "load_makespan")
        assert (figure.axes[0].get_ylim()[0] == 0) == is_below
        assert ("where it reaches below 0, it is cut there" in figure.get_label()) == is_below
    swept = stragglersim.run(sweep_of({"jobs": [3, 9]}, schemes=TWO))
    runs = swept.runs.assign(makespan_s=swept.runs["trial"] + 1.0 + (swept.runs["scheme"] == "GC"))
    figure = figure_of(dataclasses.replace(swept, runs=runs), "makespan")
    assert figure.axes[0].get_ylim()[0] == 0


# --- names, order, colours


NAMES = Naming(
    title="Title", labels={"GC": r"$\lambda$-GC", "M-SGC": "ours"}, order=["M-SGC"], colours={"GC": "#abcdef"}
)


@pytest.mark.parametrize("name", ["makespan", "jobs_finished", "latency", "load_makespan", "stragglers", "timeline"])
def test_schemes_have_the_users_names_order_and_colours(results, scenario, name):
    figure = figure_of(results, name, scenario, NAMES)
    said = texts(figure)
    assert "Title" in said
    titles = [figure.legends[0].get_title().get_text()] if figure.legends else [figure.get_suptitle()]
    assert titles == ["Title"]  # over a legend, it would lie on it
    places = [said.find(label) for label in ("ours", "uncoded", r"$\lambda$-GC") if label in said]
    assert len(places) >= 2
    assert not re.search(r"(?<!-)\bM-SGC|(?<!-)\bGC", said.replace(r"$\lambda$-GC", ""))
    if figure.legends and name in ("jobs_finished", "latency", "load_makespan"):
        [legend] = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["ours", "uncoded", r"$\lambda$-GC"]
        assert legend.legend_handles[2].get_color() == "#abcdef"
    figure.draw_without_rendering()


def test_names_change_no_number(results):
    named = NAMES.renamed(results)
    for own, shown in (("GC", r"$\lambda$-GC"), ("M-SGC", "ours"), ("uncoded", "uncoded")):
        for table in ("runs", "jobs"):
            before, after = (getattr(one, table) for one in (results, named))
            mine = before[before["scheme"] == own].drop(columns="scheme").reset_index(drop=True)
            assert mine.equals(after[after["scheme"] == shown].drop(columns="scheme").reset_index(drop=True))


def test_swept_keys_name_schemes_as_the_user_does(swept):
    naming = Naming(labels={"GC": "ours"})
    figure = figure_of(swept, "makespan", naming=naming)
    assert figure.axes[-1].get_xlabel() == "$s$ of ours"
    chart = swept.plot.chart("schemes.GC.s", "load", where={"scheme": ["GC"], "jobs": [3]}, labels={"GC": "ours"})
    assert [text.get_text() for text in chart.legends[0].get_texts()] == ["ours", "bound"]


@pytest.mark.parametrize(
    ("naming", "message"),
    [
        (Naming(labels={"nope": "x"}), "label of nope: the scheme must be one of uncoded, GC, M-SGC"),
        (Naming(order=["nope"]), "order of nope: the scheme must be one of uncoded, GC, M-SGC"),
        (Naming(colours={"nope": "red"}), "colour of nope: the scheme must be one of uncoded, GC, M-SGC"),
        (Naming(labels={"GC": "uncoded"}), "label of GC: must differ from the other schemes' labels, got uncoded"),
        (Naming(colours={"GC": "reddish"}), "colour of GC: must be a colour such as tab:blue or #0072B2, got reddish"),
    ],
)
def test_names_of_nothing_are_refused(results, naming, message):
    with pytest.raises(ChartError, match=re.escape(message)):
        figure_of(results, "makespan", naming=naming)


# --- captions


def test_what_makes_a_comparison_fair_is_in_captions_and_files_and_not_in_figures(results, scenario, tmp_path):
    drawn = draw(results, tmp_path, scenario, formats=["png", "svg", "pdf"])
    said = captions(tmp_path)
    assert list(said) == [path.stem for path in drawn.paths]
    made = dict(run_figures(results, scenario))
    for name, caption in said.items():
        assert caption.startswith(f"{figures_of(results)[name]}. ")
        assert caption.endswith(fairness(results))
        assert made[name].get_label() == caption
        assert "leftover" not in texts(made[name])
        assert caption.encode() in (tmp_path / f"{name}.png").read_bytes()
        svg = ET.parse(tmp_path / f"{name}.svg").getroot()
        assert caption in {element.text for element in svg.iter("{http://purl.org/dc/elements/1.1/}description")}
        assert b"/Subject (" in (tmp_path / f"{name}.pdf").read_bytes()


def test_a_figure_drawn_later_keeps_the_captions_of_the_others(results, tmp_path):
    draw(results, tmp_path)
    before = captions(tmp_path)
    draw(results, tmp_path, only="makespan", naming=Naming(labels={"GC": "x"}))
    assert captions(tmp_path) == before
    figure = Figure()
    figure.subplots()
    figure.set_label("two\nlines")
    save(figure, tmp_path, "mine")
    assert captions(tmp_path) == before | {"mine": "two lines"}
    (tmp_path / "captions.md").write_bytes(b"\xff\xfe damaged")
    assert captions(tmp_path) == {}


def test_the_same_results_give_the_same_pdf(results, tmp_path):
    for name in "ab":
        draw(results, tmp_path / name, formats=["pdf"], only="makespan")
    assert (tmp_path / "a/makespan.pdf").read_bytes() == (tmp_path / "b/makespan.pdf").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a/makespan.pdf").read_bytes()


# --- many schemes, many workers


@pytest.fixture(scope="module")
def crowd() -> tuple[stragglersim.Scenario, Results]:
    schemes = {"uncoded": Uncoded(60)} | {f"GC {s}": GradientCoding(60, s=s) for s in range(59)}
    scenario = make(workers=60, jobs=3, trials=2, schemes=schemes)
    return scenario, stragglersim.run(scenario)


def test_many_schemes_make_no_figure_higher_than_a_page_and_it_is_said_which_are_shown(crowd):
    scenario, results = crowd
    made = dict(run_figures(results, scenario))
    assert {"makespan", "jobs_finished", "latency", "load_makespan", "stragglers", "timeline"} >= set(made)
    for name, figure in made.items():
        assert figure.get_figheight() * 200 < 2400, name
        most = MOST_LINES if name in ("jobs_finished", "latency") else MOST_SCHEMES
        assert f"{most} of 60 schemes: uncoded and the best by mean makespan" in figure.get_label()
        figure.draw_without_rendering()
    looks = [(line.get_color(), line._unscaled_dash_pattern) for line in made["jobs_finished"].axes[0].lines[::2]]
    assert len(set(map(str, looks))) == MOST_LINES
    names = [text.get_text() for text in made["jobs_finished"].legends[0].get_texts()]
    labels = [label.get_text() for label in made["makespan"].axes[0].get_yticklabels()]
    for name, (colour, _) in zip(names, looks, strict=True):  # which is the same in all figures
        bar = made["makespan"].axes[0].patches[labels.index(name)]
        assert mpl.colors.same_color(bar.get_facecolor(), colour)
    means = results.runs.groupby("scheme")["makespan_s"].mean().drop("uncoded").sort_values(kind="stable")
    labels = [label.get_text() for label in made["makespan"].axes[0].get_yticklabels()]
    assert labels[0] == "uncoded"
    assert len(labels) == MOST_SCHEMES
    assert means[labels[1:]].max() <= means.drop(labels[1:]).min()
    assert not made["jobs_finished"].axes[0].collections  # bands would hide each other
    assert "band" not in made["jobs_finished"].get_label()


def test_schemes_that_the_user_puts_first_are_shown(crowd):
    _, results = crowd
    means = results.runs.groupby("scheme")["makespan_s"].mean().drop("uncoded")
    worst = means.sort_values().index[-2:].tolist()
    assert not set(worst) & set(texts(figure_of(results, "makespan")).splitlines())
    figure = figure_of(results, "makespan", naming=Naming(order=worst, labels={worst[1]: "mine"}))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:2] == [worst[0], "mine"]
    assert len(labels) == MOST_SCHEMES


def test_a_map_of_very_many_schemes_has_letters_for_those_that_are_best():
    schemes = {"uncoded": Uncoded(30)} | {f"GC {s}": GradientCoding(30, s=s) for s in range(29)}
    results = stragglersim.run(sweep_of({"master.mu": [0.1, 2.0], "jobs": [2, 3]}, schemes=schemes, workers=30))
    figure = dict(run_figures(results))["best_scheme"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert 0 < len(names) < 26
    letters = {text.get_text()[0] for text in figure.axes[0].texts}
    assert letters <= {name[0] for name in names}


@pytest.fixture(scope="module")
def wide() -> stragglersim.Scenario:
    schemes = {
        "uncoded": Uncoded(256),
        "GC": GradientCoding(256, s=15),
        "SR-SGC": SelectiveRepeat(256, B=2, W=3, lam=23),
        "M-SGC": Multiplexed(256, B=1, W=2, lam=27),
        "M-SGC 2": Multiplexed(256, B=2, W=3, lam=27),
    }
    models = {"usual": Constant(startup_s=1.0, seconds_per_load=1.0), "slow": Bernoulli(p=0.05, slowdown=3.0)}
    return make(workers=256, jobs=12, trials=1, schemes=schemes, stragglers=models)


def test_panels_of_a_timeline_begin_together_and_those_left_out_are_named(wide):
    figure = figure_of(stragglersim.run(wide), "timeline", wide)
    assert len(figure.axes) == 4
    assert {axes.get_xlim() for axes in figure.axes} == {figure.axes[0].get_xlim()}
    assert figure.axes[0].get_xlim()[0] == 0
    assert re.fullmatch(r"time since round [1-9] began \(seconds\)", figure.axes[-1].get_xlabel())
    for axes in figure.axes:
        paths = [bars.get_path() for bars in axes.patches]
        begins_s = [path.vertices[path.codes != path.CLOSEPOLY, 0].min() for path in paths]
        assert min(begins_s) == pytest.approx(0, abs=1e-9)
    assert "not shown, no room: GC, 247 of 256 workers" in figure.get_label()
    assert "of 256" in figure.get_supylabel()
    assert figure.get_figheight() <= 7.1
    assert all(len(axes.get_yticks()) == 9 for axes in figure.axes)


@pytest.mark.parametrize(
    ("height_in", "first", "expected", "n_rows"),
    [
        (2.5, [], ["uncoded", "M-SGC 2"], 3),
        (2.5, ["GC"], ["uncoded", "GC"], 3),
        (2.5, ["GC", "M-SGC"], ["GC", "M-SGC"], 3),
        (1.8, [], ["M-SGC 2"], 3),
        (1.8, ["SR-SGC", "GC"], ["SR-SGC"], 3),
    ],
)
def test_a_low_timeline_shows_fewer_schemes_and_first_those_that_are_named(wide, height_in, first, expected, n_rows):
    names = {label: label for label in wide.schemes}
    with mpl.rc_context({"figure.figsize": (3.5, height_in)}):
        shown = timelines(wide, straggler_logs(wide, names), first)
        figure = drawn_by(draw_timeline, shown, wide, names)
    assert list(shown) == expected
    assert all(len(axes.get_yticks()) == n_rows for axes in figure.axes)


def test_what_has_no_room_is_said_in_the_terminal(wide, tmp_path, cli):
    stragglersim.run(wide).save(tmp_path / "wide")
    for figure in ([], ["--figure", "timeline"]):
        _, out, _ = cli("plot", "wide", *figure, "--size", "3.5x2.5", "--label", "SR-SGC=ours", "--label", "GC=$G$")
        assert "\n         timeline: not shown, no room: uncoded, M-SGC, M-SGC 2, 253 of 256 workers\n" in out
        assert ("stragglers: not shown, no room: M-SGC, M-SGC 2" in out) == (not figure)


def test_straggler_panels_that_have_no_room_are_named(wide):
    with mpl.rc_context({"figure.figsize": (3.5, 2.5)}):
        figure = figure_of(stragglersim.run(wide), "stragglers", wide)
    titles = [axes.get_title(loc="left").split(":")[0] for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == ["GC", "SR-SGC"]
    assert "not shown, no room: M-SGC, M-SGC 2" in figure.get_label()


# --- from Python


def test_results_have_their_figures_by_name(results, swept):
    assert dir(results.plot) == sorted([*figures_of(results), "chart"])
    assert set(dir(swept.plot)) == {*figures_of(swept), "chart"}
    assert results.plot.makespan.__doc__ == "Makespan of each scheme."
    assert list(signature(results.plot.makespan).parameters) == ["ax", "title", "labels", "order", "colours"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'colors'"):
        results.plot.makespan(colors={})
    for name in ("makespan", "jobs_finished", "latency", "load_makespan", "stragglers", "timeline"):
        figure = getattr(results.plot, name)(labels={"GC": "ours"})
        assert isinstance(figure, Figure)
        assert "ours" in texts(figure) or name == "timeline"
    with pytest.raises(AttributeError, match=r"must be one of chart, .*, got nope"):
        results.plot.nope()
    with pytest.raises(AttributeError, match="got loss"):
        results.plot.loss()


def test_every_figure_that_is_drawn_is_in_the_list(results, scenario, swept):
    for each, its in ((results, scenario), (swept, None)):
        for name, _ in run_figures(each, its):
            assert name.partition("-")[0] in figures_of(each)
            assert each.plot(name).get_label()


def test_a_figure_that_would_say_nothing_is_refused_with_the_reason():
    alike = stragglersim.run(make(schemes={name: Uncoded(4) for name in "ab"}))
    with pytest.raises(ChartError, match="latency: all schemes have the same latencies"):
        alike.plot.latency()


@pytest.mark.parametrize("name", ["makespan", "jobs_finished", "latency", "load_makespan"])
def test_a_figure_of_one_panel_is_drawn_on_the_users_axes(results, name):
    figure = Figure(figsize=(8, 3))
    left, right = figure.subplots(1, 2)
    assert getattr(results.plot, name)(ax=right, title="(b)") is figure
    assert figure.get_size_inches().tolist() == [8, 3]
    assert not left.has_data()
    assert right.has_data()
    assert right.get_xlabel()
    assert right.get_title() == "(b)"
    assert not figure.legends
    assert (right.get_legend() is not None) == (name != "makespan")
    figure.draw_without_rendering()
    sizes = {"title": right.title, "label": right.xaxis.label, "ticks": right.get_yticklabels()[0]}
    assert {what: text.get_size() for what, text in sizes.items()} == {"title": 12, "label": 10, "ticks": 10}
    if name != "makespan":
        assert right.get_legend().get_texts()[0].get_size() == 10


def test_axes_are_not_enough_for_several_panels(swept):
    figure = Figure()
    with pytest.raises(ChartError, match="ax: must not be given for a figure of 2 panels"):
        swept.plot.makespan(ax=figure.subplots())


def test_rows_of_panels_share_a_label_and_a_title_leaves_what_is_said_of_all(swept):
    figure = swept.plot.chart("jobs", "makespan_s", where={"scheme": ["GC"]})
    assert [axes.get_ylabel() for axes in figure.axes] == ["", "", ""]
    assert figure.get_supylabel() == "mean makespan (seconds)"
    schemes = TWO | {"M-SGC": Multiplexed(4, B=1, W=2, lam=1)}
    both = stragglersim.run(sweep_of({"schemes.GC.s": [0, 1, 2], "jobs": [3, 9]}, schemes=schemes))
    gains = both.plot.gains(title="Title")
    assert gains.get_suptitle().splitlines()[0] == "Title"
    assert "each scheme against uncoded" in gains.get_suptitle()
    assert gains.get_supylabel() == "jobs"


def test_maps_go_on_axes_of_a_subfigure(swept):
    figure = Figure(figsize=(8, 3))
    _, right = figure.subfigures(1, 2)
    assert swept.plot.gain(ax=right.subplots()) is figure
    assert figure.get_size_inches().tolist() == [8, 3]


def test_a_notebook_shows_figures_as_pictures(results):
    assert results.plot.makespan()._repr_png_().startswith(b"\x89PNG")


def test_timelines_need_no_more_than_results_that_were_read(results, tmp_path):
    results.save(tmp_path / "it")
    assert len(stragglersim.Results.load(tmp_path / "it").plot.timeline().axes) == 3


# --- from the command line


def test_one_figure_in_one_format(folder, cli):
    status, out, _ = cli("plot", "out", "--figure", "latency", "--format", "pdf", "--size", "3.5x2.5")
    assert status == 0
    assert out == "Figures  out/plots/ (latency: PDF)\n"
    assert {path.name for path in (folder / "plots").iterdir()} == {"latency.pdf", "captions.md"}
    assert re.search(rb"/MediaBox \[ 0 0 252 180 \]", (folder / "plots/latency.pdf").read_bytes())


def test_without_a_format_all_figures_are_png_and_svg(folder, cli):
    assert "PNG and SVG" in cli("plot", "out")[1]
    names = {path.name for path in (folder / "plots").iterdir()}
    assert {"makespan.png", "makespan.svg", "timeline.png", "captions.md"} <= names
    assert not any(name.endswith("pdf") for name in names)


def test_style_label_and_title_of_the_command_line(folder, cli):
    Path("paper.mplstyle").write_text("axes.prop_cycle: cycler(color=['123456', 'abcdef'])\n", encoding="utf-8")
    named = ["--label", r"GC=$\lambda$-GC", "--label", "uncoded=plain = $5", "--title", "A title"]
    status, _, err = cli("plot", "out", "--figure", "makespan", "--format", "svg", "--style", "paper.mplstyle", *named)
    assert (status, err) == (0, "Drawing ...\n")
    svg = (folder / "plots/makespan.svg").read_text(encoding="utf-8")
    assert [svg.count(colour) > 0 for colour in ("#123456", "#abcdef", "#e69f00")] == [True, True, False]
    comments = re.findall(r"<!-- (.*?) -->", svg)
    assert [text for text in comments if text in (r"$\lambda$-GC", "plain = $5", "M-SGC", "A title")] == [
        r"$\lambda$-GC",
        "plain = $5",
        "M-SGC",
        "A title",
    ]


def test_a_chart_has_the_options_too(swept, tmp_path, cli):
    swept.save(tmp_path / "out")
    options = ["--label", "GC=ours", "--format", "pdf", "--size", "5x3"]
    status, _, _ = cli("plot", "out", "--x", "jobs", "--where", "scheme=GC", "--where", "schemes.GC.s=1", *options)
    assert status == 0
    [path] = (tmp_path / "out/plots").glob("*.pdf")
    assert re.search(rb"/MediaBox \[ 0 0 360 216 \]", path.read_bytes())
    assert captions(tmp_path / "out/plots")[path.stem].startswith("makespan against jobs. ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "3.5"], "--size: must be width and height, each 0.5 to 40 inches, e.g. 3.5x2.5, got 3.5"),
        (["--size", "0x3"], "got 0x3"),
        (["--size", "nanx3"], "got nanx3"),
        (["--size", "3x500"], "got 3x500"),
        (["--label", "GC"], "--label: must be SCHEME=TEXT"),
        (["--label", "nope=x"], "label of nope: the scheme must be one of uncoded, GC, M-SGC"),
        (["--label", "GC=uncoded"], "label of GC: must differ"),
        (["--style", "nope.mplstyle"], "--style nope.mplstyle: must be a matplotlib style sheet, got No such file"),
        (["--style", "bad_key.mplstyle"], "--style bad_key.mplstyle: must be a matplotlib style sheet, got Bad key"),
        (
            ["--style", "bad_value.mplstyle"],
            "bad_value.mplstyle: must be a matplotlib style sheet, got Bad val",
        ),
        (["--style", "empty.mplstyle"], "got an empty file"),
        (["--style", "binary.mplstyle"], "--style binary.mplstyle: must be a matplotlib style sheet, got"),
        (["--figure", "nope"], "nope: must be one of the figures of these results: makespan, jobs_finished, latency"),
        (["--figure", "makespan", "--size", "0.5x0.5"], "makespan: 0.5 x 0.5 inches are too small for it"),
        (["--figure", "makespan", "--x", "jobs"], "plot: --figure must not go with --x"),
        (["--format", "gif"], "'gif' is not one of"),
    ],
)
def test_what_cannot_be_drawn_so_is_said_in_one_line_and_nothing_is_written(folder, cli, options, message):
    Path("bad_key.mplstyle").write_text("axes.nope: 3\n", encoding="utf-8")
    Path("bad_value.mplstyle").write_text("font.size: large-ish\n", encoding="utf-8")
    Path("empty.mplstyle").write_text("", encoding="utf-8")
    Path("binary.mplstyle").write_bytes(b"\xff\xfe\x00")
    status, out, err = cli("plot", "out", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if not line.startswith("Drawing")]) == 1
    assert not (folder / "plots").exists()


@pytest.fixture(scope="module")
def racks():
    slow = {"kind": "groups", "size": 1, "shuffled": False, "model": {"kind": "bernoulli", "p": 0.2, "slowdown": 4.0}}
    scenario = make(
        workers=12,
        stragglers={"usual": Constant(1.0), "racks": slow},
        schemes={
            "uncoded": Uncoded(12),
            "copies": {"kind": "backup_tasks", "policy": {"after": "share", "share": 0.5}},
        },
        sweep={
            "stragglers.racks.size": [1, 3],
            "stragglers.racks.shuffled": [False, True],
            "schemes.copies.relaunch": [False, True],
        },
    )
    return stragglersim.run(scenario)


@pytest.mark.parametrize(
    ("chart", "expected"),
    [
        (
            Chart("stragglers.racks.size", "makespan_s"),
            ["racks not shuffled, copies not relaunched", "racks shuffled, copies relaunched", "size of racks"],
        ),
        (Chart("stragglers.racks.shuffled", "makespan_s"), ["racks shuffled", "no", "yes"]),
        (
            Chart("stragglers.racks.size", "makespan_s", by="stragglers.racks.shuffled", where={"scheme": ["uncoded"]}),
            ["not shuffled", "shuffled"],
        ),
    ],
)
def test_what_is_true_or_false_is_said_as_a_person_would(racks, chart, expected):
    figure = chart_of(racks, chart)
    figure.draw_without_rendering()
    ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    found = [" ".join(text.get_text().split()) for text in figure.findobj(Text)] + ticks
    assert set(expected) <= set(found)
    assert not {"False", "True"} & set(re.findall(r"\w+", " ".join([*found, figure.get_label()])))


def test_a_choice_of_what_is_true_or_false_is_said_in_captions(racks):
    where = {"stragglers.racks.shuffled": [True], "schemes.copies.relaunch": [False]}
    figure = racks.plot.chart("stragglers.racks.size", "makespan_s", where=where)
    assert "only racks shuffled; only copies not relaunched" in figure.get_label()


def test_a_formula_in_the_second_line_of_a_title_is_read_in_silence(caplog):
    assert literal("p_slow = 0.02,\n$\\mu$ = 0.5").endswith("$ = 0.5")
    assert caplog.text == ""
