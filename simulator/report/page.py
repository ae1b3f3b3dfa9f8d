"""The page: what is in a folder, as parts, and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from simulator.columns import DERIVED, RUNS
from simulator.errors import ResultsError
from simulator.files import read_text, whole_file
from simulator.plugins.identity import checksum
from simulator.report import run_answer
from simulator.report.figures import MOST_BYTES, Shown, figures
from simulator.report.glossary import glossary
from simulator.report.tables import Table, of_frame, of_texts, on_its_side
from simulator.results.account import SUFFIX, Account, Said, read_accounts
from simulator.results.folder import MANIFEST, PARTS, REPORT

if TYPE_CHECKING:
    import pandas as pd

Drawer = Callable[[Path], Path]  # gives the folder with the figures of a run
ORDER = ("advise", "tune", "trace info", "trace fit")
MOST_TEXT = 100_000  # characters of a scenario


@dataclass
class Part:
    """What one command has left in a folder."""

    kind: str  # the command
    subject: str
    question: str
    answer: str
    said: list[tuple[Said, Table | None]]
    tables: list[Table]
    figures: list[Shown]
    fair: str
    scenarios: list[tuple[str, str]]
    origin: dict[str, Any]
    files: list[tuple[str, str]]  # with checksums

    @property
    def words(self) -> list[tuple[str, str]]:
        """What words mean that are used, as far as they are not plain."""
        texts = [self.question, self.answer, self.fair, *(shown.caption for shown in self.figures)]
        for said, _ in self.said:
            texts += [said.title, *itertools.chain(*said.facts), *said.sentences]
        for table in (*self.tables, *(of for _, of in self.said if of)):
            texts += [table.title, *(heading.text for heading in table.headings)]
            texts += dict.fromkeys(cell.text for row in table.rows for cell in row)
        return glossary("\n".join(texts), "\n".join(text for _, text in self.scenarios))


def parts_of(folder: Path, drawer: Drawer) -> list[Part]:
    """Read what a folder holds: a run, and what other commands have written.

    Raises
    ------
    ResultsError
        If it holds nothing of all that, or something is damaged.
    """
    has_run = (folder / MANIFEST).exists() or (folder / "runs.parquet").exists() or (folder / PARTS).is_dir()
    accounts = sorted(read_accounts(folder), key=lambda account: ORDER.index(account.kind))
    if not accounts and not has_run:
        got = f"one without {MANIFEST} or *{SUFFIX}" if folder.is_dir() else "no folder"
        must_be = "a folder that run, tune, advise, trace info or trace fit has written"
        raise ResultsError(f"{folder}: must be {must_be}, got {got} (with --out DIR, they write one)")
    room = MOST_BYTES // (len(accounts) + has_run)
    found = [_of_run(folder, drawer, room)] if has_run else []
    return found + [_of_account(folder, account, number, room) for number, account in enumerate(accounts, 1)]


def _of_run(folder: Path, drawer: Drawer, room: int) -> Part:
    from simulator.results.compare import compare, swept_keys
    from simulator.results.compare_text import notes
    from simulator.results.fairness import fairness
    from simulator.results.results import Results
    from simulator.results.summary import name_of, summary

    results = Results.load(folder, ["runs"])
    keys, fair, metric = swept_keys(results.runs), fairness(results), run_answer.metric_of(results.runs)
    table = compare(results.runs, metric=metric)
    swept = results.runs.groupby("point")[keys].first()
    every = summary(results.runs).join(swept, on="point")
    said, baseline = name_of(metric, results.runs), table["baseline"].iloc[0]
    mean = replace(DERIVED["compare"]["mean"], label=f"mean {said}", unit=RUNS[metric].unit)
    drawn = drawer(folder)
    title = f"Comparison by {said}{f', with changes against {baseline}' if table['scheme'].nunique() > 1 else ''}"
    compared = of_frame(_compared(table, keys), "compare", title, "compare.csv", {"mean": mean})
    return Part(
        kind="run",
        subject=str(results.scenario["name"]),
        question=run_answer.question(results, keys),
        answer=run_answer.answer(results.runs, metric),
        said=[(Said(title="How to read it", sentences=notes(table, said)), None)],
        tables=[compared, of_frame(every, "summary", "All numbers: means over trials", "summary.csv")],
        figures=figures(drawn.glob("*.svg"), fair, "run", room, name_of("makespan_s", results.runs)),
        fair=fair,
        scenarios=[("scenario.yaml", _text(folder / "scenario.yaml"))],
        origin=results.manifest,
        files=_checksums([*sorted(folder.glob("*.parquet")), folder / "scenario.yaml"]),
    )


READ = (  # columns of a comparison that people read
    "scheme", "mean", "interval", "verdict", "change_percent", "change_interval", "won_share", "failure_rate", "rank",
    "n_trials", "ranked_mean",
)  # fmt: skip


def _compared(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The columns of a comparison that people read, the best of each point first."""
    import numpy as np

    verdict = np.where(table["near_best"], "~ best", np.where(table["rank"].fillna(0) == 1, "best", ""))
    ends = _intervals(table["low"], table["high"], ".5g")
    change = _intervals(table["change_low_percent"], table["change_high_percent"], "+.1f")
    is_other = table["scheme"] != table["baseline"]
    shown = table.assign(verdict=verdict, interval=ends, change_interval=np.where(is_other, change, ""))
    shown["won_share"] = table["won_share"].where(is_other)
    names = [*keys, *READ]
    if (table["ranked_by"] == table["metric"]).all():
        names.remove("ranked_mean")
    return shown.sort_values(["point", "rank"], kind="stable")[names].astype({"rank": "float64"})


def _intervals(low: pd.Series[float], high: pd.Series[float], form: str) -> list[str]:
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    return ["" if one != one else f"[{one:{form}}, {other:{form}}]" for one, other in pairs]


def _of_account(folder: Path, account: Account, number: int, room: int) -> Part:
    paths = [folder / name for name in account.figures if (folder / name).is_file()]
    beside = [*account.tables, *account.figures, *account.scenarios]
    return Part(
        kind=account.kind,
        subject=account.subject,
        question=account.question,
        answer=account.answer,
        said=[(said, of_texts(said.table, said.header, said.rows) if said.rows else None) for said in account.said],
        tables=[_of_csv(folder / name) for name in account.tables],
        figures=figures(paths, account.fair, f"part{number}", room),
        fair=account.fair,
        scenarios=[(name, _text(folder / name)) for name in account.scenarios],
        origin=account.origin,
        files=_checksums(folder / name for name in beside),
    )


def _of_csv(path: Path) -> Table:
    import pandas as pd

    kind = path.stem
    try:
        frame = pd.read_csv(path, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: must be as a command has written it, got {' '.join(str(error).split())}") from None
    title = TITLES.get(kind, kind)
    if kind in ("info", "load_slope"):
        return on_its_side(frame, kind, title)
    first = [name for name in ("relative_error", "time_s", "makespan_s") if name in frame and kind in SORTED]
    return of_frame(frame.sort_values(first, kind="stable") if first else frame, kind, title, path.name)


SORTED = ("best", "tested")  # the best first: exact gradients, then the fastest
TITLES = {
    "best": "The best setting of each scheme under each rule",
    "tested": "All that was tested, on later rounds",
    "learned": "What choosing on more rounds gains",
    "info": "All numbers of the traces",
    "load_slope": "What load costs",
}


def _text(path: Path) -> str:
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        return f"# {path.name} can't be read: {error}"
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}\n# ... and so on: {path.name} has all"


def _checksums(paths: Iterable[Path]) -> list[tuple[str, str]]:
    return [(path.name, checksum(str(path))) for path in paths]


def title_of(parts: list[Part]) -> str:
    """A name of the page."""
    return f"{parts[0].subject}: {parts[0].kind}"


@cache
def _asset(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


def _code(text: str) -> Markup:
    """A text in which `names` stand between backticks."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 and place < len(parts) - 1 else escape(part)
        for place, part in enumerate(parts)
    )


def html(parts: list[Part]) -> str:
    """The parts as one HTML document; all texts in them are data, whatever they hold."""
    environment = Environment(
        loader=PackageLoader("simulator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.jinja").render(
        title=title_of(parts),
        parts=parts,
        css=_asset("report.css"),
        script=script,
        digest=digest,
        version=version("stragglersim"),
    )


def write(folder: Path, parts: list[Part]) -> Path:
    """Write the page into the folder.

    Raises
    ------
    WriteError
        If it can't be written.
    """
    path = folder / REPORT
    text = re.sub(r"[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", html(parts))
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
