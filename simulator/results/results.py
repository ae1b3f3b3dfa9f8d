"""Tables of runs: pandas frames in memory, Parquet on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.columns import TABLES
from simulator.files import replacing, whole, writing
from simulator.results.compare import compare, swept_keys
from simulator.results.compare_text import cells, latex, markdown, notes
from simulator.results.fairness import fairness
from simulator.results.folder import MANIFEST, may_write
from simulator.results.reading import read_folder
from simulator.results.summary import summary, write_csv
from simulator.scenario.yaml_text import write_yaml

if TYPE_CHECKING:
    import pandas as pd

    from simulator.plots.accessor import Plots

SHOWN_ROWS = 40  # of a comparison in a notebook
MOST_POINTS = 6  # of a sweep, whose curves of training are drawn in panels


@dataclass
class Results:
    """Tables of a scenario's runs, with the scenario (plain values) and a manifest.

    ``runs`` has a row for each run (a scheme in a trial of a point), ``rounds`` and ``jobs`` one for each of its rounds
    and jobs, ``workers`` one for each worker in each round, ``training`` one for each step of each model. A table that
    was not recorded is None.
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame | None = None
    jobs: pd.DataFrame | None = None
    workers: pd.DataFrame | None = None
    training: pd.DataFrame | None = None
    scenario: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def plot(self) -> Plots:
        """The figures by name: ``results.plot.makespan()``, with tab completion."""
        plots: Plots = import_module("simulator.plots.accessor").Plots(self)  # a room above this one
        return plots

    def summary(self) -> pd.DataFrame:
        """Means over trials of each point and scheme, see :func:`simulator.results.summary.summary`."""
        return summary(self.runs)

    def compare(self, *, baseline: str | None = None, metric: str = "makespan_s") -> pd.DataFrame:
        """Compare schemes paired by trial, see :func:`simulator.results.compare.compare`."""
        return compare(self.runs, baseline=baseline, metric=metric)

    def to_markdown(self, *, baseline: str | None = None, metric: str = "makespan_s") -> str:
        """Return a comparison as a Markdown document."""
        return markdown(*self._compared(baseline, metric))

    def to_latex(self, *, baseline: str | None = None, metric: str = "makespan_s") -> str:
        """Return a comparison as a LaTeX table (package booktabs)."""
        return latex(*self._compared(baseline, metric))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a comparison, and what makes it fair or not."""
        table, title, remarks = self._compared(None, "makespan_s")
        header, *rows = cells(table)
        if len(rows) > SHOWN_ROWS:
            remarks = [f"The first {SHOWN_ROWS} of {len(rows)} rows; .compare() has all.", *remarks]
        lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[:SHOWN_ROWS]]
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        said = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
        body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        return f"<p><b>{escape(title)}</b></p>{body}<ul>{said}</ul>"

    def _compared(self, baseline: str | None, metric: str) -> tuple[pd.DataFrame, str, list[str]]:
        table = self.compare(baseline=baseline, metric=metric)
        name = self.scenario.get("name", "scenario")
        return table, f"{name}: {metric}", [*notes(table), *([fairness(self)] if self.scenario else [])]

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write all tables, complete or not at all.

        Raises
        ------
        ResultsError
            If the folder exists and ``replace`` is false, or if it holds something other than results.
        WriteError
            If it can't be written.
        """
        with writing(Path(folder)):
            folder = Path(folder).resolve()
        may_write(folder, replace=replace)
        with replacing(folder) as partial:
            self.write(partial)

    def write(self, folder: Path) -> None:
        """Write all tables into a folder; the manifest, which makes it complete, comes last."""
        for name in TABLES:
            table = getattr(self, name)
            if table is not None:
                table.to_parquet(folder / f"{name}.parquet", index=False)
        self.write_beside(folder)
        self.seal(folder)

    def write_beside(self, folder: Path) -> None:
        """Write what stands beside the tables: the summary, and the scenario as it ran."""
        swept = self.runs.groupby("point")[swept_keys(self.runs)].first()
        with whole(folder / "summary.csv") as partial:
            write_csv(summary(self.runs).join(swept, on="point"), partial)
        with whole(folder / "scenario.yaml") as partial:
            write_yaml(self.scenario, partial)

    def seal(self, folder: Path) -> None:
        """Write the manifest: from now on the folder is complete."""
        with whole(folder / MANIFEST) as partial:
            partial.write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, tables: Iterable[str] = TABLES) -> Results:
        """Read what :meth:`save` or a run has written.

        Parameters
        ----------
        folder
            Folder of the results.
        tables
            Tables to read, if they were recorded; ``runs`` must be one of them.

        Raises
        ------
        ResultsError
            If the folder holds no complete results.
        """
        return cls(**read_folder(Path(folder), tables))
