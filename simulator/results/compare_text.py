"""A comparison as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.files import filling
from simulator.results.compare import HIGHER_IS_BETTER, LEAST_TRIALS
from simulator.statistics import TIE

if TYPE_CHECKING:
    import pandas as pd


def as_text(table: pd.DataFrame) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of a comparison as people read it, without point and swept keys."""
    metric, baseline = table["metric"].iloc[0], table["baseline"].iloc[0]
    others = [name for name in table["ranked_by"].unique() if name != metric]
    has_regret = bool(table["regret_percent"].notna().any())
    rows = []
    for row in table.to_dict("records"):
        is_other = row["scheme"] != baseline
        rows.append(
            (
                str(row["scheme"]),
                "-" if row["rank"] is None or row["rank"] != row["rank"] else str(row["rank"]),
                "~ best" if row["near_best"] else "best" if row["rank"] == 1 else "",
                _with_interval(row["mean"], row["high"] - row["mean"]),
                *((f"{row['ranked_mean']:.5g}" if row["ranked_by"] != metric else "") for _ in others),
                _number(row["change_percent"], "+.1f", " %"),
                _range(row["change_low_percent"], row["change_high_percent"], "+.1f") if is_other else "",
                _number(100 * row["won_share"], ".3g", " %") if is_other else "",
                *([_number(row["regret_percent"], "+.1f", " %")] if has_regret else []),
                f"{100 * row['failure_rate']:.3g} %",
                _range(100 * row["failure_low"], 100 * row["failure_high"], ".2g"),
            )
        )
    change = f"against {baseline}"
    regret = ("regret",) * has_regret
    failed = ("failed", "95 % of failed")
    return ("scheme", "rank", "", metric, *others, change, "95 % of that", "won", *regret, *failed), rows


def _with_interval(mean: float, half_width: float) -> str:
    if half_width != half_width:
        return _number(mean, ".5g")
    # equal trials differ in the last bit at most
    return f"{mean:.5g} ± {half_width if half_width > TIE * abs(mean) else 0:.3g}"


def _number(value: float, form: str, unit: str = "") -> str:
    return "-" if value != value else f"{value:{form}}{unit}"


def _range(low: float, high: float, form: str) -> str:
    return "-" if low != low else f"[{_plain(low, form)}, {_plain(high, form)}]"


def _plain(value: float, form: str) -> str:
    """A number without an exponent, which ``g`` gives one of three digits where two are asked for."""
    return f"{float(format(value, form)):g}" if form.endswith("g") else format(value, form)


def notes(table: pd.DataFrame, called: str = "") -> list[str]:
    """List what a reader of the comparison must know, a line each; ``called``: what the metric is called in it."""
    metric, baseline = table["metric"].iloc[0], table["baseline"].iloc[0]
    better = "More" if metric in HIGHER_IS_BETTER else "Less"
    called = called or metric
    said = [
        f"{better} {called} is better. Means over trials and shares of failed jobs with 95 % intervals.",
        f"against {baseline}: change of the mean and share of trials won, over the trials that both have.",
    ]
    if table["regret_percent"].notna().any():
        said.append("regret: change against the best scheme of each trial that does not choose online.")
    if table["near_best"].any():
        said.append(
            "~ best: not distinguishable from the best (the 95 % interval of the paired difference contains 0)."
        )
    n_points = table["point"].nunique()
    n_unfair = table.loc[table["ranked_by"] != metric, "point"].nunique()
    if n_unfair:
        where = f" at {n_unfair} of {n_points} points" if n_points > 1 else ""
        said.append(f"Schemes failed to decode different numbers of jobs{where}: ranked by jobs_per_s, not {called}.")
    if table["mean"].isna().any():
        said.append(f"-: no mean, as not every trial has a finite {called}.")
    table = table[table["n_trials"] > 0]
    n_trials, n_paired = table["n_trials"], table.loc[table["n_paired"] > 0, "n_paired"]
    if (table.groupby("point")["n_trials"].nunique() > 1).any() or (table["n_paired"] < n_trials).any():
        said.append(f"Trials are missing: schemes are compared over the trials that both have ({_span(n_paired)}).")
    return said + worth(n_trials, table["mean"], table["high"] - table["mean"])


def worth(n_trials: pd.Series[int], mean: pd.Series[float], half_width: pd.Series[float]) -> list[str]:
    """Say what intervals of so many trials are worth, a line for each reason to doubt them."""
    said = []
    if n_trials.min() == 1:
        said.append(
            "One trial has no interval: the order of schemes may be luck, unless nothing in the scenario is random."
        )
    if ((n_trials > 1) & (n_trials < LEAST_TRIALS)).any():
        said.append(
            f"With fewer than {LEAST_TRIALS} trials, intervals are rough: they take trials to be normally distributed."
        )
    is_equal = (n_trials > 1) & (half_width <= TIE * mean.abs())
    if is_equal.any():
        fewest = int(n_trials[is_equal].min())
        said.append(
            f"± 0: all {fewest} trials are equal; if some trials differ, with 95 % confidence at most "
            f"{100 * (1 - 0.05 ** (1 / fewest)):.2g} % of them do."
        )
    return said


def _span(numbers: pd.Series[int]) -> str:
    if numbers.empty:
        return "none"
    return str(numbers.min()) if numbers.min() == numbers.max() else f"{numbers.min()} to {numbers.max()}"


def cells(table: pd.DataFrame) -> list[list[str]]:
    """A comparison as people read it, the swept keys in front: the header, then a row for each scheme and point."""
    keys = list(table.columns[1 : table.columns.get_loc("scheme")])  # between point and scheme
    header, rows = as_text(table)
    swept = table[keys].astype(str).to_numpy().tolist()
    return [[*keys, *header], *([*at, *row] for at, row in zip(swept, rows, strict=True))]


def markdown(table: pd.DataFrame, title: str, remarks: Sequence[str]) -> str:
    """A comparison as a Markdown document: a title, a table, remarks."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells(table)]
    lines.insert(1, "| " + " | ".join("---" for _ in cells(table)[0]) + " |")
    return "\n".join([f"# {title}", "", *lines, "", *(f"- {remark}" for remark in remarks), ""])


def latex(table: pd.DataFrame, title: str, remarks: Sequence[str]) -> str:
    """A comparison as a LaTeX table (package booktabs), the title and remarks as comments above it."""
    header, *rows = [[_in_latex(cell) for cell in row] for row in cells(table)]
    numbers = [all(row[place][:1] in "+-0123456789$[" for row in rows) for place in range(len(header))]
    lines = [f"% {line}" for text in (title, *remarks) for line in text.splitlines()]
    lines.append(f"\\begin{{tabular}}{{{''.join('r' if is_number else 'l' for is_number in numbers)}}}")
    body = [" & ".join(row) + r" \\" for row in (header, *rows)]
    return "\n".join([*lines, r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule", r"\end{tabular}", ""])


def _in_latex(text: str) -> str:
    """Text as LaTeX writes it; what is between two dollars is mathematics already.

    Examples
    --------
    >>> print(_in_latex("12.3 ± 0.4"), _in_latex("~ best"), _in_latex(r"$\\lambda$-GC 5 %"))
    12.3 $\\pm$ 0.4 $\\sim$ best $\\lambda$-GC 5 \\%
    """
    parts = text.split("$")
    is_math = len(parts) % 2 == 1
    plain = (_escaped(part) for part in parts[:: 2 if is_math else 1])
    if not is_math:
        return r"\$".join(plain)
    joined = [next(plain) if place % 2 == 0 else f"${part}$" for place, part in enumerate(parts)]
    return "".join(joined)


def _escaped(text: str) -> str:
    said = {"\\": r"\textbackslash{}", "~": r"$\sim$", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    return "".join(said.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def write(table: pd.DataFrame, folder: Path, title: str, remarks: Sequence[str]) -> None:
    """Write compare.csv, compare.md and compare.tex into a folder, all or none; older ones are replaced.

    Raises
    ------
    WriteError
        If the folder can't be written.
    """
    with filling(folder) as partial:
        (partial / "compare.csv").write_text(table.to_csv(index=False), encoding="utf-8")
        (partial / "compare.md").write_text(markdown(table, title, remarks), encoding="utf-8")
        (partial / "compare.tex").write_text(latex(table, title, remarks), encoding="utf-8")
