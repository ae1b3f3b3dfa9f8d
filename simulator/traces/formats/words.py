"""Words that stand above and beside times in tables of other people, and what they tell of a table."""

import re
from collections.abc import Collection, Sequence

ROUND = ("round", "step", "iteration", "iter", "batch", "epoch")
WORKER = ("worker", "rank", "host", "hostname", "node", "machine", "client")
DURATION = ("duration", "time", "elapsed", "latency", "seconds", "sec", "s", "ms", "us", "ns")
UNITS = {  # what says the unit in the name of a column
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "usecs", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"), "ns"),
}
START, END = ("start", "begin", "started"), ("end", "stop", "finish", "finished", "ended")
LONGEST = 60  # characters of a name that is worth repeating
INDEX = ("", "index", "unnamed: 0", "__index_level_0__", *ROUND, *WORKER)  # what stands above numbers or names of rows
TOTAL = (  # what is computed from times, and no worker or round
    "(?i)(?:(?:grand|row|column)[ _])?(?:max|maximum|min|minimum|mean|average|avg|median|sum|total|std|stdev|stddev)s?"
    r"(?:[ _.:(\[]+(?:s|sec|seconds|ms|us|ns|time|duration)?[)\]:]*)*"
)


def is_total(name: object) -> bool:
    """Say whether a column or row of that name holds what is computed from the others."""
    return re.fullmatch(TOTAL, str(name).strip()) is not None


def numbered_alike(names: Collection[str]) -> str | None:
    """What stands before the numbers of rank0, rank1, ...; None: these are others, or fewer than two."""
    found = [re.fullmatch(r"(.*?)[0-9]+", name.strip()) for name in names]
    begins = {one[1] if one else None for one in found}
    return begins.pop() if len(begins) == 1 and len(names) > 1 else None


def is_wide(names: Sequence[str], label_of_columns: str | None = None) -> bool:
    """Say whether columns say themselves that there is one for the rounds and then one for each worker.

    Parameters
    ----------
    names
        Of the columns.
    label_of_columns
        What pandas knows of them together, if a frame had such a name.
    """
    others = [name for name in names if name.lower() not in INDEX and not is_total(name)]
    has_rounds = any(name.lower() in ROUND for name in names)
    return has_rounds and (numbered_alike(others) is not None or str(label_of_columns).lower() in WORKER)


def advice(names: Sequence[str]) -> str:
    """Say what a table looks like, and which option would read it."""
    names = [name for name in names if len(name) <= LONGEST]
    begin = numbered_alike([name for name in names if name.lower() not in INDEX and not is_total(name)])
    if begin is not None:
        is_of_rounds = bool(set(_tokens(begin)) & set(ROUND))
        row, column = ("worker", "round") if is_of_rounds else ("round", "worker")
        return f"looks like a wide table with a column for each {column} (--rows {row})"
    if names and all(re.fullmatch(r"[0-9.eE+-]+|inf|nan|", name) for name in names):
        return "looks like a table without names (--rows worker or --rows round, what a row is)"
    called = {"round": _called(names, ROUND), "worker": _called(names, WORKER), "duration_s": _called(names, DURATION)}
    if called["duration_s"] is None and (start := _called(names, START)) and (end := _called(names, END)):
        del called["duration_s"]
        called |= {"start": start, "end": end}
    if not any(called.values()):
        return "say --rows worker or --rows round (a row for each), or --columns round=...,worker=...,duration_s=..."
    unit = unit_in(called.get("duration_s") or called.get("start") or "")
    pairs = ",".join(f"{name}={other or '...'}" for name, other in called.items())
    return f"looks like a long table under other names (--columns {pairs}{f' --unit {unit}' if unit else ''})"


def unit_in(name: str) -> str | None:
    """The unit that the name of a column says, if that is not seconds."""
    return next((UNITS[token] for token in _tokens(name) if token in UNITS), None)


def odd_ones(names: Sequence[str]) -> list[str]:
    """Names without the beginning that most of them have before a number: loss, among rank0, rank1, rank2."""
    begins = [re.sub(r"[0-9]+$", "", name) if re.search(r"[0-9]$", name) else None for name in names]
    usual = max(set(begins), key=begins.count, default=None)
    if usual is None or 2 * begins.count(usual) <= len(names):
        return []
    return [name for name, begin in zip(names, begins, strict=True) if begin != usual]


def _tokens(name: str) -> list[str]:
    return re.findall("[a-z]+", name.lower())


def _called(names: Sequence[str], words: Sequence[str]) -> str | None:
    """The first name that is one of the words, or has one in it and means nothing else (a step_time is no step)."""
    exact = [name for name in names if name.lower() in words]
    ends = {*START, *END}
    others = set() if words in (START, END) else ends if words is DURATION else {*ends, *DURATION}
    partly = [name for name in names if set(_tokens(name)) & set(words) and not set(_tokens(name)) & others]
    return next(iter(exact + partly), None)
