"""What figures are drawn on: a figure of its own, whose height is the content's, or axes that the user has given."""

import math
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from simulator.plots.style import GREY, WIDTH_IN, ChartError, Look, chosen_height_in, looks_of
from simulator.plots.text import for_tex, length, literal, wrapped

HOLLOW = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="none", label="hollow: jobs failed")


class Page(Figure):
    """A figure that notebooks show also where matplotlib has not been told to draw there."""

    def _repr_png_(self) -> bytes:
        self.savefig(file := BytesIO(), format="png")
        return file.getvalue()


class Sheet:
    """A figure, or axes in one of the user's, on which a figure is drawn.

    Parameters
    ----------
    axes
        Of the user's; without them there is a new figure.
    colours
        That the user has chosen, by the labels of schemes.
    """

    def __init__(self, axes: Axes | None = None, colours: Mapping[str, str] = MappingProxyType({})) -> None:
        self.figure = Page(layout="constrained") if axes is None else axes.figure.canvas.figure
        self._axes = axes
        self._colours = colours

    @property
    def height_in(self) -> float | None:
        """Height that the user has chosen; None: as high as its content wants."""
        return chosen_height_in() if self._axes is None else float(self.figure.get_figheight())

    @property
    def width_in(self) -> float:
        """Width that there is to draw on."""
        share = 1.0 if self._axes is None else self._axes.get_position().width
        return share * float(self.figure.get_figwidth())

    @property
    def letters_up(self) -> int:
        """Letters of a label that have room along the vertical axis of the user's axes; else, as many as one likes."""
        if self._axes is None:
            return 99
        height = 72 * float(self._axes.get_position().height * self.figure.get_figheight())
        return int(height / (0.55 * rcParams["font.size"]))

    def set_height(self, height_in: float) -> None:
        """Be so high, unless the user has chosen a size."""
        self.set_size(self.figure.get_figwidth(), height_in)

    def set_size(self, width_in: float, height_in: float) -> None:
        """Be so wide and high, unless the user has chosen a size."""
        if self.height_in is None:
            self.figure.set_size_inches(width_in, height_in)

    def subplots(self, n_rows: int = 1, n_columns: int = 1, **how: Any) -> NDArray[Any]:
        """Axes, shape ``(n_rows, n_columns)``.

        Raises
        ------
        ChartError
            If the user's are not enough.
        """
        if self._axes is None:
            return np.asarray(self.figure.subplots(n_rows, n_columns, squeeze=False, **how))
        if n_rows * n_columns > 1:
            raise ChartError(f"ax: must not be given for a figure of {n_rows * n_columns} panels")
        return np.array([[self._axes]])

    def panel(self) -> Axes:
        """The only axes."""
        only: Axes = self.subplots()[0, 0]
        return only

    def looks(self, schemes: Sequence[str]) -> dict[str, Look]:
        """The looks of schemes, in the user's colours."""
        looks = looks_of(schemes)
        return {label: look._replace(colour=self._colours.get(label, look.colour)) for label, look in looks.items()}

    def set_title(self, title: str) -> None:
        """Put the user's title above all."""
        if self._axes is not None:
            self._axes.set_title(literal(title))
        elif self.figure.legends:  # which is above all: a title of the figure would lie on it
            self.figure.legends[0].set_title(literal(title), FontProperties(size="medium"))
        else:
            own = self.figure.get_suptitle()
            self.figure.suptitle("\n".join(filter(None, (literal(title), own))), fontsize="medium")

    def escape_tex(self) -> None:
        """Make all texts fit for LaTeX, if the user's style has it write them."""
        for text in (self._axes or self.figure).findobj(Text):
            if isinstance(text, Text) and text.get_usetex():
                text.set_text(for_tex(text.get_text()))

    def label_rows(self, text: str) -> None:
        """Label the vertical axis that all panels share."""
        if self._axes is not None:
            self._axes.set_ylabel(text)
        else:
            self.figure.supylabel(text, fontsize=rcParams["axes.labelsize"])

    def add_legend(self, looks: Mapping[str, Look], *, has_lines: bool = True, extra: Sequence[Artist] = ()) -> None:
        """Add a legend: above, in as many columns as the labels leave room for, or in the user's axes."""
        handles = _handles(looks, has_lines=has_lines)
        labels = [*(wrapped(label, 26) for label in looks), *(str(one.get_label()) for one in extra)]
        how: dict[str, Any] = {"handlelength": 3 if has_lines else 1, "columnspacing": 1.2}
        if self._axes is not None:
            self._axes.legend([*handles, *extra], labels, **how)
            return
        longest = max(length(line) for label in labels for line in label.splitlines())
        wide = self.width_in / WIDTH_IN
        n_columns = max(1, int(min(4 * wide, 240 * wide / (3.9 * longest + (34 if has_lines else 24)))))  # in points
        n_lines = math.ceil(sum(len(label.splitlines()) for label in labels) / n_columns)
        self.set_height(float(self.figure.get_figheight()) + 0.1 + 0.14 * n_lines)
        self.figure.legend([*handles, *extra], labels, loc="outside upper center", ncols=n_columns, **how)

    def add_legend_beside(self, axes: Axes, looks: Mapping[str, Look]) -> None:
        """Add a legend of some schemes on the right of the only panel that they are in."""
        labels = [wrapped(label, 20) for label in looks]
        axes.legend(_handles(looks), labels, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3)

    def add_key(self, handles: Sequence[Artist]) -> None:
        """Add a legend of what marks mean, in two columns if there is room."""
        if self._axes is None:
            size = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
            letters = max(length(str(one.get_label())) for one in handles)
            fits_two = 2 * size * (0.55 * letters + 3.5) < 72 * self.width_in
            self.figure.legend(handles=handles, loc="outside upper center", ncols=2 if fits_two else 1)
        else:
            self._axes.legend(handles=list(handles), ncols=2)


def _handles(looks: Mapping[str, Look], *, has_lines: bool = True) -> list[Line2D]:
    return [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes if has_lines else "none")
        for look in looks.values()
    ]


Draw = Callable[[Sheet], None]
