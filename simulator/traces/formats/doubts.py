"""What makes own work doubtful: ranks that do nothing but collectives, or wait for what a profile does not show."""

from collections.abc import Sequence

import pandas as pd

SHOWN = 10  # ranks
MOSTLY = 0.8  # of a step
SOME = 0.05  # of events: below it, waiting changes little
ALIKE, BUSY, IDLE = 0.9, 0.7, 0.25  # of the largest own work, of the largest compute, of the own work


def doubts(table: pd.DataFrame) -> list[str]:
    """Say what is to be doubted of own work by the rule.

    Parameters
    ----------
    table
        With the columns round, worker, and own_us, waited_us, computed_us, in_collectives_us, length_us and has_stacks.
    """
    total = table.groupby("worker", sort=False)[["in_collectives_us", "length_us", "waited_us"]].sum()
    said = []
    without = total.index[total["in_collectives_us"] == 0].astype(str).tolist()
    if 0 < len(without) < len(total):
        said.append(f"no collectives are in the profile of {_ranks(without)}: the whole step is taken for own work")
    if len(without) == len(total):
        said.append("no collectives are in the profiles: the whole step is taken for own work")
    elif table["has_stacks"].any() and not total["waited_us"].any():
        said.append("in the Python stacks no call waits during collectives: the whole step is taken for own work")
    share = total["in_collectives_us"] / total["length_us"]
    if (share > MOSTLY).all():
        said.append(
            f"collectives cover over {MOSTLY:.0%} of the step on every rank (at least {share.min():.0%}): own work is "
            "the small rest, and doubtful (see whether steps, not only their ends, were recorded)"
        )
    if hidden := _waiting(table):
        said.append(
            f"{_ranks(hidden)} {'look' if len(hidden) > 1 else 'looks'} as if waiting "
            "for something that the trace does not show: as long as the slowest, with less compute, and idle "
            "(--work compute takes compute only)"
        )
    return said


def waits_in_events(table: pd.DataFrame) -> str | None:
    """Say if events, of which nothing is subtracted, are waiting in part.

    Parameters
    ----------
    table
        With the columns worker, exposed_us and length_us.
    """
    total = table.groupby("worker", sort=False)[["exposed_us", "length_us"]].sum()
    share = (total["exposed_us"] / total["length_us"]).max()
    if not share > SOME:
        return None
    return (
        f"up to {share:.0%} of the time of these events are exposed collectives, which is waiting for the slowest rank "
        "(--work exposed subtracts them)"
    )


def _ranks(names: Sequence[str]) -> str:
    return f"rank{'s' * (len(names) > 1)} {', '.join(names[:SHOWN])}{', ...' * (len(names) > SHOWN)}"


def _waiting(table: pd.DataFrame) -> Sequence[str]:
    """Ranks that are as slow as the slowest, compute less and idle in more than half of the rounds."""
    largest = table.groupby("round")[["own_us", "computed_us"]].transform("max")
    idle_us = table["own_us"] - table["computed_us"]
    waits = (
        (table["own_us"] >= ALIKE * largest["own_us"])
        & (table["computed_us"] <= BUSY * largest["computed_us"])
        & (idle_us >= IDLE * table["own_us"])
        & (largest["computed_us"] > 0)
    )
    share = waits.groupby(table["worker"], sort=False).mean()
    return sorted((str(worker) for worker in share.index[share > 0.5]), key=lambda name: (len(name), name))
