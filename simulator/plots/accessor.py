"""``results.plot``: the figures of results by name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.plots.naming import Naming
from simulator.plots.run import chart_of, figure_of, figures_of
from simulator.plots.sweep.charts import Chart
from simulator.plots.sweep.frames import main_metric
from simulator.results.results import Results
from simulator.scenario.loading import of_values
from simulator.scenario.scenario import Scenario

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Plots:
    """The figures of results: ``results.plot.makespan()`` and so on, as ``dir(results.plot)`` lists them.

    Each takes ``ax`` (matplotlib axes to draw on, where the figure has one panel), ``title``, ``labels`` and
    ``colours`` (by a scheme's own label) and ``order`` (of schemes), and returns a matplotlib figure, whose label
    (``figure.get_label()``) is its caption.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    def __dir__(self) -> list[str]:
        return [*figures_of(self._results), "chart"]

    def __getattr__(self, name: str) -> Callable[..., Figure]:
        known = figures_of(self._results)
        if name not in known:
            raise AttributeError(f"results.plot: must be one of {', '.join(dir(self))}, got {name}")

        def figure(*given: Any, **named: Any) -> Figure:
            return self(name, *given, **named)

        figure.__name__ = figure.__qualname__ = name
        figure.__doc__ = f"{known[name]}."
        figure.__signature__ = signature(partial(self.__call__, name))  # type: ignore[attr-defined]  # for completion
        return figure

    def __call__(
        self,
        name: str,
        ax: Axes | None = None,
        *,
        title: str = "",
        labels: Mapping[str, str] = NOTHING,
        order: Sequence[str] = (),
        colours: Mapping[str, str] = NOTHING,
    ) -> Figure:
        """Return the figure of this name, also a map of a sweep of three keys (``gain-jobs-3``).

        Raises
        ------
        ChartError
            If there is no such figure, or it would say nothing.
        """
        naming = Naming(title, labels, order, colours)
        return figure_of(self._results, name, self._scenario(name), naming, ax)

    def chart(
        self,
        x: str,
        y: str | None = None,
        by: str = "scheme",
        where: Mapping[str, Sequence[Any]] = NOTHING,
        ax: Axes | None = None,
        *,
        title: str = "",
        labels: Mapping[str, str] = NOTHING,
        order: Sequence[str] = (),
        colours: Mapping[str, str] = NOTHING,
    ) -> Figure:
        """Return a column of ``runs`` (of most use if not given) against a swept key, or another column.

        Raises
        ------
        ChartError
            If the results do not allow it.
        """
        chart = Chart(x, y or main_metric(self._results)[0], by, where)
        return chart_of(self._results, chart, Naming(title, labels, order, colours), ax)

    def _scenario(self, name: str) -> Scenario | None:
        """What was run, if the figure runs a trial of it again."""
        return of_values(self._results.scenario) if name in ("stragglers", "timeline") else None
