"""Names in sentences: workers, by number and by what the trace calls them, and numbers in runs."""

from collections.abc import Iterable, Sequence

SHOWN = 5  # workers, or runs of numbers
ONE_WORKER = "one worker cannot tell of stragglers: nobody waits for it (give the files of all ranks, or their folder)"
MOST_RANKS = 10**6  # larger numbers are no ranks


def labelled(number: int, names: Sequence[str] = (), *more: str) -> str:
    """Give a worker's number, and in brackets what else it is called.

    Examples
    --------
    >>> labelled(3), labelled(1, ("gpu-1", "gpu-7")), labelled(2, ("0", "1", "3"), "host a")
    ('3', '1 (gpu-7)', '2 (named 3, host a)')
    """
    name = names[number] if names else ""
    also = [f"named {name}" if name.isdecimal() else name] * bool(name) + [one for one in more if one]
    return f"{number} ({', '.join(also)})" if also else f"{number}"


def workers(numbers: Sequence[int], names: Sequence[str] = (), most: int = SHOWN) -> str:
    """Name workers.

    Examples
    --------
    >>> workers((3,)), workers((1, 0), ("a", "b")), workers(tuple(range(20)), most=3)
    ('worker 3', 'workers 1 (b) and 0 (a)', 'workers 0, 1, 2 and 17 more')
    """
    shown = [labelled(number, names) for number in numbers[:most]]
    if len(numbers) == 1:
        return f"worker {shown[0]}"
    last = f"{len(numbers) - most} more" if len(numbers) > most else shown.pop()
    return f"workers {', '.join(shown)} and {last}"


def counted(number: int, what: str) -> str:
    """Count things.

    Examples
    --------
    >>> counted(1, "worker"), counted(8, "worker")
    ('1 worker', '8 workers')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def in_runs(numbers: Iterable[int]) -> str:
    """Shorten numbers that go up.

    Examples
    --------
    >>> in_runs([2, 5, 6, 7]), in_runs(range(0, 40, 2))
    ('2, 5 to 7', '0, 2, 4, 6, 8 and 15 more')
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    named = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:SHOWN])
    return f"{named} and {sum(map(len, runs[SHOWN:]))} more" if len(runs) > SHOWN else named


def missing(there: Iterable[int], n_ranks: int = 0, *, are_known: bool = True) -> str:
    """Say which ranks of a job were not read, if any, of as many as it has, or at least as the largest number shows.

    If it is not known which are there, only how many are missing is said.

    Examples
    --------
    >>> missing([0, 1, 3, 4], 8)
    'ranks 2, 5 to 7 of 8 are missing: waiting and the verdict are those of the other 4 only (give the files of all)'
    >>> missing([1, 2])
    'rank 0 of at least 3 is missing: waiting and the verdict are those of the other 2 only (give the files of all)'
    >>> missing([3], 8)
    'only rank 3 of 8 was read: give the files of all ranks'
    >>> missing([0, 1], 2)
    ''
    """
    ranks = set(there)
    least = max(ranks, default=-1) + 1
    absent = sorted(set(range(max(n_ranks, least))) - ranks) if max(n_ranks, least) <= MOST_RANKS else []
    if not absent:
        return ""
    of, is_are = f"{n_ranks}" if n_ranks >= least else f"at least {least}", "is" if len(absent) == 1 else "are"
    which = f"rank{'s' * (len(absent) > 1)} {in_runs(absent)} of {of}" if are_known else f"{len(absent)} of {of} ranks"
    if len(ranks) == 1:
        only = f"rank {least - 1} of {of}" if are_known else f"1 of {of} ranks"
        return f"only {only} was read: give the files of all ranks"
    rest = f"waiting and the verdict are those of the other {len(ranks)} only"
    return f"{which} {is_are} missing: {rest} (give the files of all)"
