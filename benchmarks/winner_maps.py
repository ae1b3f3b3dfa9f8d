"""Who wins under which rule and T, for every group of traces: `python benchmarks/winner_maps.py TRACES OUT`.

Every scheme at its own best setting in each cell, on the whole trace, first_enough included. The number in a cell
is what the best coded scheme saves against repetition without coding (`multiplexed` with lam = n): what coding gains
beyond what T gains.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from findings import groups

from simulator.plots.saving import save
from simulator.plots.tuning import looks_among, winner_map
from simulator.tuning.best import winners
from simulator.tuning.search import Search, rules_of, search_trace

MUS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
# whose workers send one response each
WHOLE = ("uncoded", "gradient_coding", "fractional_repetition", "selective_repeat", "multiplexed")
RULES = rules_of(("first_enough", "mu_rule"), MUS, ("all", "enough"))


def main() -> None:
    """Draw a map for each group, and write all cells into one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    search = Search(rules=RULES, max_delay=4, schemes=WHOLE, is_coarse=True)
    cells = []
    for group, trace in groups(options.traces).items():
        settings = search_trace(trace, search)
        note = f"{trace}, over and over; 80 jobs; {len(settings)} settings; leftover: cancel"
        path = save(winner_map(settings, looks_among(settings), note), options.out, group)
        found = [{"group": group} | cell._asdict() for cell in winners(settings)]
        cells += found
        best = min(found, key=lambda cell: cell["makespan_s"])
        print(f"{path}: {best['scheme']} ({best['setting']}), {best['rule']}: {best['makespan_s']:.2f} s", flush=True)
    pd.DataFrame(cells).to_csv(options.out / "cells.csv", index=False)


if __name__ == "__main__":
    main()
