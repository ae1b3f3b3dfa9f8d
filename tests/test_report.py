"""`stragglersim report`: one page of a folder, that runs nothing of what it shows."""

import hashlib
import html
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import stragglersim
from simulator.cli.app import main
from simulator.columns import DERIVED, derived
from simulator.report import figures as report_figures
from simulator.report.figures import captions_of, figures
from simulator.report.page import parts_of
from simulator.report.run_answer import answer, metric_of
from simulator.report.svg import NoSVGError, inlined
from simulator.report.tables import of_frame

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"onload="window.hacked=2',
    "javascript:window.hacked=3",
    "</svg><img src=x onerror=window.hacked=4>",
    "'><svg/onload=window.hacked=5>{{ 7 * 7 }}",
)
NAME = "<img src=x onerror=window.hacked=6>{{ name }}"
RUN = {
    "name": NAME,
    "seed": 3,
    "trials": 3,
    "workers": 4,
    "jobs": 6,
    "stragglers": {"usual": {"kind": "shifted_exponential", "shift": 1, "mean": 1, "adds_to": "startup_s"}},
    "schemes": {
        HOSTILE[0]: {"kind": "uncoded"},
        HOSTILE[1]: {"kind": "gradient_coding", "s": 1},
        HOSTILE[2]: {"kind": "fractional_repetition", "s": 1},
        HOSTILE[3]: {"kind": "gradient_coding", "s": 2},
        HOSTILE[4]: {"kind": "fractional_repetition", "s": 3},
    },
}
TRACE = "x<img src=x onerror=window.hacked=7>.csv"  # a file's name
HOST = '"><script>window.hacked=8</script>'
KINDS = ("run", "sweep", "tune", "advise", "info", "fit")


class Tags(HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.texts = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["stragglersim", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code, arguments


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each command, with hostile names wherever a user can give one, and a report in each."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "run.yaml").write_text(json.dumps(RUN))
    rng = np.random.default_rng(1)
    times = 1 + 0.2 * rng.exponential(size=(60, 6))
    times[:, 2] *= 1.8
    at = np.indices(times.shape)
    hosts = [HOST if worker < 3 else "other" for worker in at[1].ravel()]
    table = {"round": at[0].ravel(), "worker": at[1].ravel(), "duration_s": times.ravel(), "host": hosts}
    pd.DataFrame(table).to_csv(folder / TRACE, index=False)
    search = ("--schemes", "uncoded,gradient_coding,multiplexed", "--max-delay", 1, "--rules", "first_enough")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "fit").mkdir()
        command(patch, "run", "run.yaml", "--out", "run")
        command(patch, "run", "run.yaml", "--out", "sweep", "--sweep", "jobs=3,4,5", "--sweep", "workers=4,8")
        command(patch, "tune", TRACE, *search, "--out", "tune")
        command(patch, "advise", TRACE, *search, "--out", "advise")
        command(patch, "trace", "info", TRACE, "--out", "info")
        command(patch, "trace", "fit", TRACE, "--out", "fit/model.yaml")
        for kind in KINDS:
            command(patch, "report", kind)
    return folder


def page(folders, kind):
    return (folders / kind / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_one_file_that_asks_for_nothing_and_runs_one_script(folders, kind):
    text = page(folders, kind)
    assert len(text.encode()) < 5_000_000
    tags = Tags(text)
    for tag, attributes in tags.found:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "foreignobject", "audio", "video"), tag
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert re.match(r"#|data:image/png;base64,", attributes.get(name) or "#"), (tag, attributes)
    assert [tag for tag, _ in tags.found].count("script") == 1
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    [policy] = [attributes["content"] for tag, attributes in tags.found if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_shown_as_they_are(folders, kind):
    text = Tags(page(folders, kind)).text
    for name in (NAME, *HOSTILE) if kind in ("run", "sweep") else (TRACE,):
        assert name in text
    if kind == "info":
        assert HOST in text


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_a_page_are_each_others(folders, kind):
    tags = Tags(page(folders, kind)).found
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    named = {
        value[1:] for _, attributes in tags for name, value in attributes.items() if name == "href" and value[0] == "#"
    }
    named |= {name for _, at in tags for value in at.values() for name in re.findall(r"url\(#([^)]+)\)", value or "")}
    named |= {at[name] for _, at in tags for name in ("aria-labelledby", "for") if name in at}
    assert named <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_drawn_inside_with_words_for_whoever_does_not_see_them(folders, kind):
    tags = Tags(page(folders, kind)).found
    figures = [attributes for tag, attributes in tags if tag == "svg"]
    assert len(figures) == sum(tag == "figure" for tag, _ in tags) > 0
    assert all(attributes["role"] == "img" and "viewbox" in attributes for attributes in figures)
    titles = [attributes["id"] for tag, attributes in tags if tag == "title" and "id" in attributes]
    assert titles == [attributes["aria-labelledby"] for attributes in figures]


def test_the_command_says_the_two_sentences_and_where_the_page_is(folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    capsys.readouterr()
    command(monkeypatch, "report", "info")
    out, err = capsys.readouterr()
    question, answer, blank, path = out.splitlines()
    assert question == f"What do stragglers cost in {TRACE}, and who causes it?"
    assert answer.startswith("Stragglers cost ")
    assert "of the time: each of the 60 rounds (steps) waits for the slowest of 6 workers (ranks)" in answer
    assert "Most of it is because of worker 2" in answer
    assert f"Next, `stragglersim advise '{TRACE}' --out advice` says what to do" in answer
    assert answer.endswith(".")
    assert blank == ""
    assert re.fullmatch(r"Report   info/report.html \(0\.\d MB, one file\)", path)
    assert err == "Reading info ...\nWriting ...\n"
    text = Tags(page(folders, "info")).text
    assert question in text
    assert answer.replace("`", "") in text


def run_of(tmp_path, **changes):
    """The question and the answer of a run."""
    text = {"name": "mine", "workers": 4, "jobs": 20, "trials": 12, "stragglers": RUN["stragglers"]} | changes
    (tmp_path / "mine.yaml").write_text(json.dumps(text))
    results = stragglersim.run(stragglersim.load(tmp_path / "mine.yaml"))
    results.save(tmp_path / "mine", replace=True)
    [part] = parts_of(tmp_path / "mine", lambda folder: folder)
    return part.question, part.answer


def test_the_answer_of_a_run_says_who_is_best_and_how_sure_that_is(tmp_path):
    uncoded, coded = {"kind": "uncoded"}, {"kind": "gradient_coding", "s": 2}
    question, found = run_of(tmp_path, schemes={"uncoded": uncoded, "GC": coded})
    assert question == "Which of uncoded and GC is the best for 20 jobs on 4 workers?"
    assert re.fullmatch(
        r"GC: mean makespan [\d.]+ s \[[\d.]+, [\d.]+\] over 12 trials, -[\d.]+ % \[-[\d.]+, -[\d.]+\] against "
        r"uncoded; significantly better than all others \(paired 95 % CI\)\.",
        found,
    )
    assert "with one trial, that may be luck" in run_of(tmp_path, schemes={"a": uncoded, "b": coded}, trials=1)[1]
    question, found = run_of(tmp_path, schemes={"GC": coded})
    assert question == "How long does GC take for 20 jobs on 4 workers?"
    assert re.fullmatch(r"GC: mean makespan [\d.]+ s \[[\d.]+, [\d.]+\] over 12 trials\.", found)
    assert run_of(tmp_path, schemes={"a": coded, "b": coded})[1].startswith("a and b tie: mean makespan ")


def test_the_answer_says_who_is_not_significantly_worse():
    runs = pd.DataFrame({"point": 0, "scheme": ["a"] * 3 + ["b"] * 3, "trial": [0, 1, 2] * 2, "n_jobs": 5})
    runs = runs.assign(makespan_s=[9.0, 11.0, 10.0, 9.5, 10.0, 12.0], jobs_per_s=1.0, decode_failures=0)
    runs = runs.assign(kind="uncoded", relative_error_mean=0.0)
    near = "a: mean makespan 10 s [7.5159, 12.484] over 3 trials; not significantly different from b"
    assert answer(runs, "makespan_s") == f"{near} (paired 95 % CI contains 0)."
    unknown = answer(runs.assign(makespan_s=np.inf), "makespan_s")
    assert unknown.startswith("That is not known: no scheme has a finite value")


def test_a_reference_is_no_answer_and_an_approximate_gradient_is_said_to_be_one():
    runs = pd.DataFrame({"point": 0, "scheme": ["a", "b", "c"], "trial": 0, "n_jobs": 5, "decode_failures": 0})
    runs = runs.assign(makespan_s=[9.0, 10.0, 11.0], jobs_per_s=1.0, kind=["ideal", "fastest_k", "uncoded"])
    runs = runs.assign(relative_error_mean=[0.0, 0.5, 0.0])
    assert metric_of(runs) == "makespan_s"
    assert answer(runs, "makespan_s") == (
        "b: mean makespan 10 s over 1 trial; with one trial, that may be luck unless nothing is random; its gradients "
        "are approximate (relative error 0.5), and the best of those with exact ones is c: mean makespan 11 s over 1 "
        "trial."
    )
    alike = runs.assign(makespan_s=3.0)
    assert metric_of(alike) == "relative_error_mean"
    assert metric_of(alike.assign(relative_error_mean=0.0)) == "makespan_s"
    assert answer(alike, "relative_error_mean").startswith("c: mean relative error 0 over 1 trial")


def test_the_answer_of_a_sweep_counts_points(folders, tmp_path):
    text = Tags(page(folders, "sweep")).text
    assert "at each of 6 points (workers and jobs swept)?" in text or "(jobs and workers swept)?" in text
    assert re.search(r"By mean makespan, the best is .* at \d of 6 points \(\d of them for sure\)", text)


def test_where_schemes_fail_different_jobs_the_answer_is_by_jobs_per_second(tmp_path):
    gone = {"kind": "bernoulli", "p": 0.3, "slowdown": 100.0}
    schemes = {"few": {"kind": "uncoded"}, "all": {"kind": "gradient_coding", "s": 2}}
    master = {"kind": "fixed_time", "time_s": 4.0, "wait_for": "nobody"}
    stragglers = {"usual": {"kind": "constant", "startup_s": 1.0}, "gone": gone}
    _, found = run_of(tmp_path, schemes=schemes, stragglers=stragglers, master=master)
    assert "ranked by mean jobs per second" in found
    assert found.startswith("all: ")


def tables_of(text):
    """The tables of a page, by their titles: headings, and rows of texts."""
    found = re.findall(r'<h3 id="[^"]*">([^<]*)</h3>(?:(?!<h3).)*?<table>(.*?)</table>', text, re.DOTALL)
    cells = {html.unescape(title): re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) for title, table in found}
    return {
        title: [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]
        for title, rows in cells.items()
    }


def test_tune_shows_first_what_the_terminal_shows_the_best_first(folders):
    (title, best), (_, by_rule), (_, rest), *_ = tables_of(page(folders, "tune")).items()
    assert title == "Each scheme's best setting, under its own best rule, the fastest first"
    assert best[0][:4] == ["scheme", "makespan (s)", "against uncoded", "against repetition only"]
    assert by_rule[0] == ["scheme", "first_enough"]
    assert [row[0] for row in by_rule] == [row[0] for row in best]
    assert [row[1].endswith("*") for row in by_rule[1:]] == [True, *[False] * (len(by_rule) - 2)]
    for table in (best, by_rule, rest):
        makespans_s = [float(row[1].strip("* ")) for row in table[1:]]
        assert makespans_s == sorted(makespans_s)
    answer = parts_of(folders / "tune", lambda folder: folder)[0].answer
    sentence = (
        r"(.*?)(?: with the rule first_enough)? is the fastest: 60 jobs take [\d.]+ s, [\d.]+ % less than .* "
        r"\([\d.]+ s\)\."
    )
    assert re.fullmatch(sentence, answer)[1].startswith(best[1][0])


def test_headings_are_words_with_units_and_keep_the_name_that_files_have(folders):
    text = page(folders, "run")
    compared, summed = list(tables_of(text).values())[:2]
    assert compared[0][:3] == ["scheme", "mean makespan (s)", "95 % interval"]
    assert summed[0][:2] == ["scheme", "makespan (s)"]
    assert '<th scope="col" class="number" title="change_percent">change (%)</th>' in text
    assert "in files <code>change_percent</code>" in text
    ranks = [float(row[compared[0].index("rank")]) for row in compared[1:]]
    assert ranks == sorted(ranks)
    for kind in KINDS:
        for title, (header, *_) in tables_of(page(folders, kind)).items():
            assert not [name for name in header if re.search(r"\w_(s|percent|share|rounds)\b", name)], (kind, title)
    assert tables_of(page(folders, "sweep"))["Comparison by makespan, with changes against " + HOSTILE[0]][0][:4] in (
        ["scheme", "workers", "jobs", "mean makespan (s)"],
        ["scheme", "jobs", "workers", "mean makespan (s)"],
    )


def test_figures_of_several_panels_are_as_wide_as_the_page(folders):
    found = dict(re.findall(r"<figure( class=\"wide\")?>.*?<strong>([^<]*)</strong>", page(folders, "run"), re.DOTALL))
    assert set(found) == {""}
    for kind in ("advise", "fit"):
        found = re.findall(r"<figure( class=\"wide\")?>.*?<strong>([^<]*)</strong>", page(folders, kind), re.DOTALL)
        assert {name for wide, name in found if wide} == {{"advise": "advice", "fit": "model"}[kind]}


def test_names_between_backticks_are_code_and_labels_in_them_are_escaped(folders):
    assert "<code>stragglersim advise</code> says how much" in page(folders, "tune")
    for kind in KINDS:
        assert "`" not in re.sub(r"<script>.*?</script>", "", page(folders, kind), flags=re.DOTALL)
    assert html.escape(f"stragglersim advise '{TRACE}'", quote=False) in page(folders, "info").replace("&#39;", "'")


def words_of(folders, kind):
    [of] = re.findall(r"<h3>Words on this page</h3>\n<dl>(.*?)</dl>", page(folders, kind), re.DOTALL)
    terms = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", of)
    return {
        html.unescape(re.sub("</?code>", "", term)): html.unescape(re.sub("</?code>", "", is_)) for term, is_ in terms
    }


def test_words_of_a_page_are_explained_as_list_explains_them(folders, cli):
    explained = {kind: words_of(folders, kind) for kind in KINDS}
    listed = " ".join(cli("list", "schemes")[1].split())
    assert "so that any n - s responses give the sum" in explained["tune"]["GC (gradient_coding)"]
    assert "s: stragglers tolerated per round" in explained["tune"]["GC (gradient_coding)"]
    assert "any n - s responses give the sum" in listed
    assert explained["tune"]["first_enough"].startswith("Close the round as soon")
    assert {"worker", "round", "load", "straggler", "[a, b]"} <= set(explained["info"])
    assert not {"BIC", "SR-SGC, M-SGC", "trial", "GC, gradient coding"} & set(explained["info"])
    assert "BIC" in explained["fit"]
    assert "slow_workers (partial_slowdown)" in explained["fit"]
    assert any(HOSTILE[3][:20] in term for term in explained["run"])


def test_a_fit_has_a_caption_that_says_what_its_panels_are_and_parameters_have_units(folders):
    [caption] = captions_of(folders / "fit").values()
    for said in (
        "quantiles of all times",
        "band: their middle 95 %",
        "60 rounds of 6 workers",
        "straggler: longer than",
    ):
        assert said in caption
        assert said in Tags(page(folders, "fit")).text
    header, *rows = tables_of(page(folders, "fit"))["Parameters"]
    units = {row[1]: row[header.index("unit")] for row in rows}
    assert units["slowdown"] == "times as long"
    assert set(units.values()) <= {"seconds", "of the logarithm", "none", "share", "probability", "times as long"}


def test_the_captions_of_other_figures_in_the_folder_of_a_fit_stay(folders, tmp_path, cli):
    (tmp_path / "captions.md").write_text("# Captions\n\n## other\n\nmine\n")
    assert cli("trace", "fit", folders / TRACE, "--out", "model.yaml")[0] == 0
    assert list(captions_of(tmp_path)) == ["other", "model"]
    assert captions_of(tmp_path)["other"] == "mine"


def test_options_of_reading_are_part_of_the_command_that_is_next(tmp_path, cli):
    rows = [(step, rank, 1000 * (1 + rank)) for step in range(12) for rank in range(3)]
    pd.DataFrame(rows, columns=["step", "rank", "ms"]).to_csv("my log.csv", index=False)
    columns = "round=step,worker=rank,duration_s=ms"
    options = ("--columns", columns, "--unit", "ms", "--drop-first", 1, "--base-load", 0.5)
    assert cli("trace", "info", "my log.csv", *options, "--mu", 2, "--out", "info")[0] == 0
    [part] = parts_of(tmp_path / "info", lambda folder: folder)
    command = re.search(r"`(stragglersim advise [^`]*)`", part.answer)[1]
    read = f"--columns {columns} --unit ms --drop-first 1 --base-load 0.5"
    assert command == f"stragglersim advise 'my log.csv' {read} --out advice"
    assert cli(*shlex.split(command)[1:])[0] == 0


NOT_READ = ("summary.csv", "settings.parquet", "action-trace.parquet", "model.parquet")  # written, and no table of it


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_says_what_reproduces_it(folders, kind):
    text = Tags(page(folders, kind)).text
    assert f"stragglersim {'trace ' if kind in ('info', 'fit') else ''}{'run' if kind == 'sweep' else kind} " in text
    read = folders / ("run.yaml" if kind in ("run", "sweep") else TRACE)
    written = [path for path in (folders / kind).iterdir() if path.suffix in (".parquet", ".csv", ".yaml")]
    written = [path for path in written if path.name not in NOT_READ]
    assert written
    for path in (read, *written):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text, path
    assert "versions" in text
    assert stragglersim.__name__ in text


def test_parts_of_schemes_and_intervals_are_cells_that_people_read_and_sort():
    frame = pd.DataFrame({"assignment": [{"kind": "cyclic", "chunks_per_worker": 3}], "interval": ["[-26.4, -15.5]"]})
    [[part, interval]] = of_frame(frame, "best", "it", "best.csv").rows
    assert part == ("cyclic, chunks_per_worker 3", None)
    assert interval == ("[-26.4, -15.5]", -26.4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_is_defined_by_the_list_of_columns(folders, kind):
    text = Tags(page(folders, kind)).text
    for path in (folders / kind).glob("*.csv"):
        for name in map(str, pd.read_csv(path, nrows=0).columns):
            known = derived(path.stem, name)
            if name not in ("jobs", "workers") or path.stem != "summary":  # swept keys
                assert known is not None, (path.name, name)
                if name != "file":
                    assert known.meaning.replace("`", "") in text.replace("`", ""), (path.name, name)
    if kind in ("run", "sweep"):
        assert "[+0.0, +0.0]" not in text  # of the first scheme against itself
        assert DERIVED["compare"]["won_share"].meaning in text
        assert "name: " in text  # the scenario
    if kind in ("tune", "fit", "advise"):
        assert "kind: " in text


def test_figures_are_drawn_for_a_run_that_has_none_and_only_for_the_page(cli, tmp_path):
    (tmp_path / "mine.yaml").write_text(json.dumps(RUN | {"name": "mine"}))
    stragglersim.run(stragglersim.load(tmp_path / "mine.yaml")).save(tmp_path / "mine")
    before = {path.name for path in (tmp_path / "mine").iterdir()}
    (tmp_path / "mine/manifest.json").write_text("{}")  # and one that says nothing of where it comes from
    status, _, err = cli("report", "mine")
    assert status == 0, err
    assert "Drawing ..." in err
    text = (tmp_path / "mine/report.html").read_text()
    assert {"makespan", "timeline"} <= set(re.findall(r"<strong>([\w-]+)</strong>", text))
    assert {path.name for path in (tmp_path / "mine").iterdir()} == before | {"report.html"}


def test_captions_come_from_the_folder_of_figures_if_it_has_them(folders, tmp_path):
    for name in ("makespan", "latency"):
        (tmp_path / f"{name}.svg").write_bytes((folders / "run/plots" / f"{name}.svg").read_bytes())
    (tmp_path / "captions.md").write_text("# Captions\n\n## makespan\n\nOf 3 trials;\n<b>fair</b>.\n")
    assert captions_of(tmp_path) == {"makespan": "Of 3 trials; <b>fair</b>."}
    shown = figures(tmp_path.glob("*.svg"), "the common line", "a")
    assert [(one.name, one.caption) for one in shown] == [
        ("makespan", "Of 3 trials; <b>fair</b>."),
        ("latency", "Share of jobs that take longer than a time, a line for each scheme. the common line"),
    ]


def test_what_has_no_room_is_left_in_its_file(folders, tmp_path, monkeypatch):
    path = tmp_path / "makespan.svg"
    path.write_bytes((folders / "run/plots/makespan.svg").read_bytes())
    size = len(figures([path], "", "a")[0].content.encode())
    assert figures([path], "", "a", room=size)[0].content
    assert figures([path], "", "a", room=size - 1)[0].content is None
    monkeypatch.setattr(report_figures, "MOST_BYTES", size)  # too large an SVG: the PNG beside it
    assert figures([path], "", "a")[0].content is None
    path.with_suffix(".png").write_bytes(b"\x89PNG")
    content = figures([path], "", "a")[0].content
    assert content.startswith('<img alt="Makespan: ')
    assert 'src="data:image/png;base64,' in content


def test_a_run_of_many_points_and_large_figures_makes_no_page_over_5_mb(cli, tmp_path):
    schemes = {f"scheme number {s}": {"kind": "gradient_coding", "s": s} for s in range(10)}
    text = RUN | {"name": "many", "trials": 1, "jobs": 1, "workers": 10, "schemes": schemes}
    (tmp_path / "many.yaml").write_text(json.dumps(text | {"sweep": {"seed": list(range(400))}}))
    stragglersim.run(stragglersim.load(tmp_path / "many.yaml")).save(tmp_path / "many")
    (tmp_path / "many/plots").mkdir()
    path = " ".join(f"L {at} {at}" for at in range(150_000))
    large = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M 0 0 {path}"/></svg>'
    for name in "abcd":
        (tmp_path / f"many/plots/{name}.svg").write_text(large)
    status, _, err = cli("report", "many")
    assert status == 0, err
    assert (tmp_path / "many/report.html").stat().st_size < 5_000_000
    text = Tags((tmp_path / "many/report.html").read_text()).text
    assert re.search(r"The first \d+ of 4000 rows; summary\.csv has all\.", text)
    assert "This figure has no room here: see d.svg in the folder." in text


@pytest.mark.parametrize(
    "bad",
    [
        "<script>no()</script>",
        "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml' onload='no()'/></foreignObject>",
        "<a href='javascript:no()'><path d='M 0 0'/></a>",
        "<style>* { background: url(http://no) }</style>",
        "<g onload='no()' onclick='no()'/>",
        "<image href='http://no/x.png'/>",
        "<image href='data:image/svg+xml;base64,AAAA'/>",
        "<use href='http://no/x.svg#a'/>",
        "<path style='fill: url(http://no); background: no()'/>",
        "<path style='fill: u\\72l(http://no)'/>",
        "<path fill='url(//no)'/>",
        "<animate attributeName='href' to='javascript:no()'/>",
        "<set attributeName='onload' to='no()'/>",
        "<svg onload='no()'/>",
        "<!-- no() --><?no no()?>",
        "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>no()</x:script>",
        "<metadata>http://no</metadata>",
    ],
)
def test_nothing_of_a_figure_that_does_more_than_draw_comes_into_a_page(bad):
    text = f"<svg xmlns='http://www.w3.org/2000/svg' onload='no()'>{bad}<path d='M 1 2'/></svg>"
    written = str(inlined(text, "f", "title"))
    assert "no" not in written
    assert set(re.findall(r"<(\w+)", written)) <= {"svg", "title", "path", "g", "use", "image"}
    assert '<path d="M 1 2"/>' in written


def test_what_draws_stays_and_names_only_what_is_in_its_own_figure():
    xlink = "xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'"
    text = (
        f"<svg {xlink} viewBox='0 0 9 9' width='9pt'>"
        "<defs><clipPath id='c'><rect width='3' height='3'/></clipPath></defs>"
        "<g clip-path='url(#c)'><use xlink:href='#c' style='fill: #ff0000; stroke: url(#c)'/></g>"
        "<image xlink:href='data:image/png;base64,AA\nAA'/><text x='1'>a &lt;b&gt;<tspan>c</tspan>d</text></svg>"
    )
    assert inlined(text, "f", 'A "title"') == (
        '<svg role="img" aria-labelledby="f-title" viewBox="0 0 9 9"><title id="f-title">A &#34;title&#34;</title>'
        '<defs><clipPath id="f-c"><rect width="3" height="3"/></clipPath></defs>'
        '<g clip-path="url(#f-c)"><use href="#f-c" style="fill:#ff0000;stroke:url(#f-c)"/></g>'
        '<image href="data:image/png;base64,AAAA"/><text x="1">a &lt;b&gt;<tspan>c</tspan>d</text></svg>'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<svg", "must be XML"),
        ("<html/>", "must be an SVG"),
        ("<!DOCTYPE svg [<!ENTITY a 'b'>]><svg xmlns='http://www.w3.org/2000/svg'>&a;</svg>", "no entities"),
    ],
)
def test_what_is_no_figure_is_refused(text, message, tmp_path):
    with pytest.raises(NoSVGError, match=message):
        inlined(text, "f", "title")
    (tmp_path / "a.svg").write_text(text)
    assert figures([tmp_path / "a.svg"], "", "f")[0].content is None
    deep = "<g>" * 5000 + "</g>" * 5000
    (tmp_path / "a.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{deep}</svg>")
    assert figures([tmp_path / "a.svg"], "", "f")[0].content is None


def test_folders_that_hold_no_results_are_refused_in_one_line(cli, tmp_path, folders):
    (tmp_path / "empty").mkdir()
    must_be = "must be a folder that run, tune, advise, trace info or trace fit has written"
    hint = "(with --out DIR, they write one)"
    assert cli("report", "none") == (2, "", f"Reading none ...\nnone: {must_be}, got no folder {hint}\n")
    got = f"one without manifest.json or *.account.json {hint}"
    assert cli("report", "empty") == (2, "", f"Reading empty ...\nempty: {must_be}, got {got}\n")
    (tmp_path / "half/parts").mkdir(parents=True)
    assert "one that has not finished" in cli("report", "half")[2]
    for text, message in (
        ("{", "Invalid JSON"),
        ("{}", "kind: Field required"),
        (None, "tables.0: Value error, must be a file of the folder itself"),
    ):
        account = json.loads((folders / "info/info.account.json").read_text()) | {"tables": ["../info/info.csv"]}
        (tmp_path / "empty/info.account.json").write_text(json.dumps(account) if text is None else text)
        status, out, err = cli("report", "empty")
        assert (status, out) == (2, "")
        line = err.splitlines()[-1]
        assert line.startswith("empty/info.account.json: must be as a command has written it, got ")
        assert message in line
        assert line.endswith("(run the command again)")
    account["tables"] = ["info.csv"]
    (tmp_path / "empty/info.account.json").write_text(json.dumps(account))
    assert cli("report", "empty")[2].splitlines()[-1].startswith("empty/info.csv: must be as a command has written it")
    assert not (tmp_path / "empty/report.html").exists()


def test_a_folder_of_several_commands_has_them_all_on_its_page(folders, tmp_path, cli):
    for kind in ("info", "fit", "advise", "tune"):
        for path in (folders / kind).iterdir():
            if path.name != "report.html":
                (tmp_path / path.name).write_bytes(path.read_bytes())
    status, out, err = cli("report", ".")
    assert status == 0, err
    asked = [line for line in out.splitlines() if line.endswith("?")]
    assert [question.split(" ")[0:3] for question in asked] == [
        ["What", "is", "to"],
        ["Which", "scheme,", "setting"],
        ["What", "do", "stragglers"],
        ["Which", "straggler", "models"],
    ]
    assert [question in Tags(Path("report.html").read_text()).text for question in asked] == [True] * 4


def test_a_run_with_a_report_can_be_run_again(cli, tmp_path):
    (tmp_path / "mine.yaml").write_text(json.dumps(RUN | {"name": "mine"}))
    assert cli("run", "mine.yaml", "--out", "mine")[0] == 0
    assert cli("report", "mine")[0] == 0
    assert cli("run", "mine.yaml", "--out", "mine", "--force")[0] == 0
    assert not (tmp_path / "mine/report.html").exists()


def test_help_has_an_example(cli):
    assert "Example: stragglersim report results/quickstart" in cli("report", "--help")[1]
