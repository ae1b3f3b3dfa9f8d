"""The page of `stragglersim report` in a real browser: Debian's Chromium, without a window."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from test_report import HOST, HOSTILE, RUN, TRACE, command

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
KINDS = ("run", "sweep", "info", "tune")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Reports with hostile names."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "run.yaml").write_text(json.dumps(RUN))
    at = np.indices((40, 6))
    times = 1 + 0.2 * np.random.default_rng(1).exponential(size=(40, 6))
    hosts = [HOST if worker < 3 else "other" for worker in at[1].ravel()]
    table = {"round": at[0].ravel(), "worker": at[1].ravel(), "duration_s": times.ravel(), "host": hosts}
    pd.DataFrame(table).to_csv(folder / TRACE, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command(patch, "run", "run.yaml", "--out", "run")
        command(patch, "run", "run.yaml", "--out", "sweep", "--sweep", "jobs=3,4,5")
        command(patch, "trace", "info", TRACE, "--out", "info")
        command(patch, "tune", TRACE, "--max-delay", 1, "--out", "tune")
        plain = RUN | {"name": "plain", "schemes": {"uncoded": {"kind": "uncoded"}, "GC": RUN["schemes"][HOSTILE[1]]}}
        (folder / "plain.yaml").write_text(json.dumps(plain))
        command(patch, "run", "plain.yaml", "--out", "plain")
        for kind in (*KINDS, "plain"):
            command(patch, "report", kind)
    return folder


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, folder):
    """Open a report; at the end, nothing may have been complained of or asked for, and nothing have run."""
    contexts, heard, opened = [], [], []

    def opened_page(kind, **options):
        context = chromium.new_context(**options)
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
        own = Path(folder / kind / "report.html").as_uri()
        page.on("request", lambda request: None if request.url in own else asked(request.url))
        contexts.append(context)
        opened.append(page)
        page.goto(own)
        return page

    def asked(url):
        if not url.startswith("data:image/png;base64,"):
            heard.append(f"request: {url}")

    yield opened_page
    for page in opened:
        assert page.evaluate("window.hacked") is None
    for context in contexts:
        context.close()
    assert heard == []


def column(page, place, table=0):
    rows = page.locator("table").nth(table).locator("tbody tr:visible")
    return [row.locator("td").nth(place).inner_text() for row in rows.all()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_has_no_serious_finding_in_light_and_dark(open_page, kind, scheme):
    page = open_page(kind, color_scheme=scheme)
    assert page.locator("h2").first.is_visible()
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["target"]) for one in found] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_scrolls_tables_not_the_page(open_page, kind):
    page = open_page(kind, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("figure:not(.wide) .drawing svg").first.bounding_box()["width"] < 390
    assert (
        page.evaluate("Math.max(...[...document.querySelectorAll('.table .scroll')].map(of => of.scrollWidth))") > 390
    )


@pytest.mark.parametrize(("kind", "number"), [("plain", "mean makespan"), ("tune", "makespan"), ("info", "time saved")])
def test_a_phone_shows_label_and_number_without_scrolling(open_page, kind, number):
    page = open_page(kind, viewport={"width": 390, "height": 844})
    assert page.locator("th").nth(1).inner_text().startswith(number)
    for table in page.locator("table").all()[:2]:
        for cell in table.locator("tbody tr").first.locator("td").all()[:2]:
            box = cell.bounding_box()
            assert box["x"] + box["width"] <= 390


def test_wide_figures_take_the_width_of_the_page_and_scroll_on_a_phone(open_page):
    page = open_page("tune", viewport={"width": 1280, "height": 900})
    widths = [one.bounding_box()["width"] for one in page.locator(".drawing svg").all()]
    assert widths[0] > 1000 > 600 > widths[1]
    page = open_page("tune", viewport={"width": 390, "height": 844})
    assert page.locator(".drawing svg").first.bounding_box()["width"] >= 600
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_figures_are_no_glaring_boxes_in_the_dark(open_page):
    filtered = "getComputedStyle(document.querySelector('.drawing')).filter"
    page = open_page("run", color_scheme="dark")
    assert page.evaluate(filtered) == "brightness(0.85)"
    page.emulate_media(media="print")
    assert page.evaluate(filtered) == "none"
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(filtered) == "none"
    assert open_page("run", color_scheme="light").evaluate(filtered) == "none"


def test_a_click_on_a_heading_sorts_by_it_and_another_the_other_way_round(open_page):
    page = open_page("run")
    names = page.locator("table").first.locator("th").all_inner_texts()
    mean = next(place for place, name in enumerate(names) if name.startswith("mean"))
    as_given = column(page, mean)
    button = page.locator("table").first.locator("th").nth(mean).locator("button")
    heading = page.locator("table").first.locator("th").nth(mean)
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, mean) == sorted(as_given, key=float) == as_given  # the best first
    button.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, mean) == sorted(as_given, key=float, reverse=True)
    page.locator("table").first.locator("th button").first.click()  # schemes
    assert heading.get_attribute("aria-sort") is None
    assert column(page, mean) != as_given


def test_numbers_are_sorted_as_numbers_and_what_has_none_is_last(open_page):
    page = open_page("run")
    page.evaluate(
        """const table = document.querySelector("table");
        [...table.tBodies[0].rows].forEach((row, place) => {
            const cell = row.cells[1], value = [9, 10, -1, undefined, 100][place];
            cell.textContent = value ?? "–";
            if (value === undefined) delete cell.dataset.value; else cell.dataset.value = value;
        });"""
    )
    button = page.locator("table").first.locator("th").nth(1).locator("button")
    button.click()
    assert column(page, 1) == ["-1", "9", "10", "100", "–"]
    button.click()
    assert column(page, 1) == ["100", "10", "9", "-1", "–"]


def test_words_leave_the_rows_that_have_all_of_them(open_page):
    page = open_page("sweep")
    box = page.get_by_label("Show rows with").first
    count = page.locator("output").first
    assert count.inner_text() == "15 of 15 rows"
    box.fill("ONLOAD= window")
    assert count.inner_text() == "6 of 15 rows"
    assert set(column(page, 0)) == {HOSTILE[1], HOSTILE[4]}
    box.fill("nothing has this")
    assert column(page, 1) == []
    box.fill("")
    assert len(column(page, 1)) == 15


def test_a_figure_is_enlarged_and_goes_back_to_its_place(open_page):
    page = open_page("run")
    names = page.locator(".drawing svg title").all_text_contents()
    before = page.locator(".drawing svg").first.bounding_box()["width"]
    button = page.get_by_role("button", name="Enlarge makespan")
    button.click()
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    enlarged = dialog.locator("svg").bounding_box()["width"]
    assert enlarged > 1.5 * before
    page.get_by_role("button", name="Larger").click()
    assert dialog.locator("svg").bounding_box()["width"] == pytest.approx(1.5 * enlarged, rel=0.05)
    page.keyboard.press("-")
    assert dialog.locator("svg").bounding_box()["width"] == pytest.approx(enlarged, rel=0.05)
    assert [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")] == []
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.locator(".drawing svg").first.bounding_box()["width"] == pytest.approx(before)
    assert page.locator(".drawing svg title").all_text_contents() == names


def test_a_button_changes_light_to_dark_and_back(open_page):
    page = open_page("run", color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(colour) == dark


def test_paper_has_all_that_a_screen_hides_and_no_buttons(open_page, tmp_path):
    page = open_page("sweep", color_scheme="dark")
    page.pdf(path=tmp_path / "page.pdf")  # what printing does first, it does too
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("[...document.querySelectorAll('details')].every(details => details.open)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav, .filter, #theme, figure button").filter(visible=True).count()
    assert page.evaluate("getComputedStyle(document.querySelector('.table .scroll')).maxHeight") == "none"


def test_without_scripts_all_is_still_there(open_page):
    page = open_page("run", java_script_enabled=False)
    assert page.locator(".drawing svg").first.is_visible()
    assert page.locator("table tbody tr").count() == 10
    assert not page.locator("dialog").is_visible()
