"""Which schemes figures show: under which names, in which order, in which colours."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from matplotlib.colors import is_color_like

from simulator.columns import RUNS, TABLES
from simulator.plots.style import ChartError, LeftOut, chosen_height_in
from simulator.plots.sweep.charts import Chart
from simulator.plots.sweep.frames import main_metric
from simulator.results.results import Results
from simulator.results.summary import name_of
from simulator.scenario.dotted_keys import swept_together

MOST_SCHEMES = 24  # that have room in a figure
MOST_LINES = 12  # that can be told apart
ROW_IN = 0.17  # height that each needs at least


@dataclass(frozen=True)
class Naming:
    """What the user wants a figure and its schemes to be called."""

    title: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # of schemes, by their own
    order: Sequence[str] = ()  # schemes that come first; the others follow as in the scenario
    colours: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # by a scheme's own label

    def check(self, schemes: Sequence[str]) -> None:
        """Refuse what is of no scheme, labels that are the same, and colours that are none."""
        for what, given in (("label", self.labels), ("order", self.order), ("colour", self.colours)):
            for scheme in given:
                if scheme not in schemes:
                    raise ChartError(f"{what} of {scheme}: the scheme must be one of {', '.join(schemes)}")
        shown = [self.labels.get(scheme, scheme) for scheme in schemes]
        for scheme, label in self.labels.items():
            if shown.count(label) > 1:
                raise ChartError(f"label of {scheme}: must differ from the other schemes' labels, got {label}")
        for scheme, colour in self.colours.items():
            if not is_color_like(colour):
                raise ChartError(f"colour of {scheme}: must be a colour such as tab:blue or #0072B2, got {colour}")

    def schemes(self, given: Sequence[str]) -> dict[str, str]:
        """What each scheme is to be called, in the order in which they are to be shown."""
        in_order = [*(one for one in self.order if one in given), *(one for one in given if one not in self.order)]
        return {scheme: self.labels.get(scheme, scheme) for scheme in in_order}

    def colours_shown(self) -> dict[str, str]:
        """The colours by the labels that are shown."""
        return {self.labels.get(scheme, scheme): colour for scheme, colour in self.colours.items()}

    def key(self, key: str) -> str:
        """A swept key, with the label of its scheme."""
        for scheme, label in self.labels.items():
            if key.startswith(f"schemes.{scheme}.") and "," not in label:
                return f"schemes.{label}.{key.removeprefix(f'schemes.{scheme}.')}"
        return key

    def chart(self, chart: Chart) -> Chart:
        """A chart of results that are renamed."""
        where = {
            self.key(key): [self.labels.get(value, value) for value in values] if key == "scheme" else values
            for key, values in chart.where.items()
        }
        return Chart(self.key(chart.x), chart.y, self.key(chart.by), where)

    def renamed(self, results: Results) -> Results:
        """The results, with schemes in this order and under these names.

        Raises
        ------
        ChartError
            If anything is of no scheme, or two have the same label.
        """
        self.check(list(dict.fromkeys(results.runs["scheme"])))
        if not (self.labels or self.order):
            return results
        names = self.schemes(list(dict.fromkeys(results.runs["scheme"])))
        places = {scheme: place for place, scheme in enumerate(names)}
        tables: dict[str, Any] = {}
        for name in TABLES:
            table = getattr(results, name)
            if table is not None:
                keys = ["point", "scheme"] if "point" in table else ["scheme"]
                table = table.sort_values(
                    keys, key=lambda it: it.map(places) if it.name == "scheme" else it, kind="stable"
                )
                table = table.assign(scheme=table["scheme"].map(names)).rename(columns=self.key)
                tables[name] = table.reset_index(drop=True)
        sweep = {
            ", ".join(map(self.key, swept_together(entry))): values
            for entry, values in results.scenario.get("sweep", {}).items()
        }
        scenario = results.scenario | ({"sweep": sweep} if sweep else {})
        return dataclasses.replace(results, **tables, scenario=scenario)


AS_THEY_ARE = Naming()


def few_schemes(results: Results, first: Sequence[str], most: int) -> tuple[Results, list[str]]:
    """The results of as many schemes as have room, at most so many, and what is to be said of the others.

    ``first`` are wanted before all others; then come that with which the others are compared, and the best.
    """
    height_in = chosen_height_in()
    most = most if height_in is None else max(3, min(most, int((height_in - 0.75) / ROW_IN)))
    runs = results.runs
    schemes = list(dict.fromkeys(runs["scheme"]))
    if len(schemes) <= most:
        return results, []
    metric, _ = main_metric(results)
    means = runs.groupby("scheme", sort=False)[metric].mean().sort_values(ascending=not RUNS[metric].higher_is_better)
    wanted = set(list(dict.fromkeys([*first, schemes[0], *means.index]))[:most])
    tables = {name: getattr(results, name) for name in TABLES}
    kept = {name: table[table["scheme"].isin(wanted)] for name, table in tables.items() if table is not None}
    named = "those named, " * bool(first)
    said = f"{most} of {len(schemes)} schemes: {named}{schemes[0]} and the best by mean {name_of(metric, runs)}"
    return dataclasses.replace(results, **kept), [LeftOut(said)]
