"""Advice on each group of traces, as in docs/explanation/findings.md: `python benchmarks/findings.py TRACES OUT`.

TRACES is a folder of traces named <group>-load<load>-<group>.parquet, or <name>.parquet for times that grow in
proportion to the load. Of each group the least load is advised on, adjusted by the slope of medians over all its loads,
or in proportion where no line goes through them.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from schemes.multiplexed import REPETITION
from simulator.plots.advice import draw_advice
from simulator.traces.files import read_times
from simulator.traces.loads import curve
from simulator.traces.measures import load_slope, stragglers
from simulator.tuning.advice_text import sentences, what
from simulator.tuning.advising import find_advice
from simulator.tuning.rows import said_setting
from simulator.tuning.search import Search, rules_of
from simulator.tuning.trace import AdjustedTrace

RULES = rules_of(("first_enough", "mu_rule"), (0.1, 0.3, 1.0), ("all", "enough"))


def groups(folder: Path) -> dict[str, AdjustedTrace]:
    """The traces to advise on, by the names of their groups."""
    loads: dict[str, dict[float, Path]] = {}
    found = {}
    for path in sorted(folder.rglob("*.parquet")):
        match = re.fullmatch(r"(.*)-load([\d.]+)-(.*)", path.stem)
        if match is None:
            found[path.stem] = AdjustedTrace(path)
        elif "failed" not in path.stem:
            loads.setdefault(f"{match[1]}-{match[3]}", {})[float(match[2])] = path
    for group, files in loads.items():
        if len(files) > 1:
            measured_s, least = [read_times(path).duration_s for path in files.values()], min(files)
            bent = curve(measured_s, list(files))
            is_line = bent is None or not bent.is_bent
            per_load_s = load_slope(measured_s, list(files)).seconds_per_load if is_line else None
            found[group] = AdjustedTrace(files[least], least, per_load_s)
    return dict(sorted(found.items()))


def row(group: str, trace: AdjustedTrace, out: Path) -> dict[str, object]:
    """Advice on a group; its figures and sentences go into a folder of their own."""
    times, n_workers = trace.times()
    search = Search(rules=RULES, n_jobs=times.n_rounds, is_coarse=True)
    advice = find_advice(trace, search)
    folder = out / group
    folder.mkdir(parents=True, exist_ok=True)
    draw_advice(advice, folder, f"{trace}; {times.n_rounds} jobs; T at most {search.delay}; leftover: cancel")
    said = sentences(advice, search)
    (folder / "advice.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
    advice.table().to_csv(folder / "tested.csv", index=False)
    advice.settings.to_parquet(folder / "settings.parquet", index=False)
    code, enough = advice.codes[0], advice.rounds_enough
    is_slow = stragglers(trace.measured.duration_s, 1.0)
    against = {other: advice.find(other) for other in ("GC", REPETITION)}
    return {
        "group": group,
        "n": n_workers,
        "rounds": times.n_rounds,
        "stragglers": f"{100 * is_slow.mean():.1f} %",
        "verdict": advice.verdict,
        "choice": "change nothing" if advice.chosen.is_plain else what(advice.chosen),
        "saved": advice.saved(advice.chosen),
        "best code": f"{code.scheme} ({said_setting(code.setting)}), {code.setting['rule']}",
        "code saves": advice.saved(code),
        **{f"against {name}": "-" if one is None else advice.saved(code, one) for name, one in against.items()},
        "rounds enough": "more" if enough is None else enough,
        "rule": f"{advice.rule_matters_percent:.0f} %",
        "code": f"{advice.scheme_matters_percent:.0f} %",
        "other effect": "; ".join(
            f"{other.effect}: {'the same' if what(other.chosen) == what(advice.chosen) else what(other.chosen)}"
            for other in advice.others
        ),
    }


def main() -> None:
    """Print the table as Markdown, and write it beside the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    rows = []
    for group, trace in groups(options.traces).items():
        rows.append(row(group, trace, options.out))
        print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
    pd.DataFrame(rows).to_csv(options.out / "findings.csv", index=False)


if __name__ == "__main__":
    main()
