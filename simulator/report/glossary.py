"""The words of a page that its reader may not know: its own, and what `list` prints of schemes, rules and models."""

import re
from collections.abc import Iterator

from simulator.plugins.kinds import MODEL_TABLE, RULE_TABLE, SCHEME_TABLE
from simulator.plugins.messages import Parameter, parameters

WORDS = {  # with commas between those that mean the same
    "worker": "one of the processes that compute side by side (a rank); the master hands out work and combines results",
    "round": "a step: all workers compute, and the master waits until it has enough, or all",
    "job": "one gradient of the whole batch; it is done when the master can decode it from what workers have sent",
    "makespan": "time from the beginning to the end of the last round",
    "straggler": "a worker that is late in a round",
    "load": "share of a job's data that a worker computes in a round; uncoded work by n workers has load 1/n",
    "GC, gradient coding": "parts of the data are computed by several workers, so that the master need not wait for "
    "all of them; the price is a higher load",
    "SR-SGC, M-SGC": "sequential gradient coding: what was missing in a round is made up for in later ones (selective "
    "repeat; multiplexed), which costs less load than GC, and T rounds of delay",
    "SR-SGC-Rep, M-SGC-Rep, GC-Rep": "the same with copies of data in place of coded sums",
    "repetition only": "M-SGC in which nothing is coded: missing work is only given out again, within T rounds",
    "copies of the last tasks": "backup tasks: no code; once most results have come, workers that are done compute "
    "again what is missing, and the first result counts; share: of the results, after which copies begin",
    "T": "delay: a job that begins in round t must be decoded by the end of round t + T",
    "chunk": "one of the equal parts of a job's data",
    "response": "what a worker sends to the master",
    "leftover": "what a late worker does when a round ends: cancel (drop its work), or finish it first",
    "load effect": "how times grow with load: additive (by the same time for all) or proportional (by the same factor)",
    "trial": "one independent repetition, with other random numbers",
    "resample": "the tested rounds put together anew, in blocks drawn at random: that shows what may be luck",
    "relative error": "how far a gradient is from the exact one, relative to it; 0: exact",
    "burst": "rounds in a row in which the same worker straggles",
    "BIC": "measure by which models are compared: misfit plus a price for each parameter; less is better",
    "[a, b]": "95 % confidence interval: the true value is between a and b, unless the data are unusual by chance",
}
NAMED = 4  # labels of one kind
KIND = re.compile(r"^ *(.+?): *(?:\n *|\{)kind: (\w+)", re.MULTILINE)
MU = re.compile(r"\bmu [0-9.]+")


def glossary(text: str, scenarios: str) -> list[tuple[str, str]]:
    """Return what words mean that occur in a text, and kinds that occur in scenarios; backticks are around names."""
    found = [(title, meaning) for title, meaning in WORDS.items() if _is_in(title, text)]
    labels: dict[str, list[str]] = {}
    for label, kind in KIND.findall(scenarios):
        labels.setdefault(kind, []).append(label.strip("'\""))
    rules = [kind for kind in RULE_TABLE.shipped if kind in text or (kind == "mu_rule" and MU.search(text))]
    for table in (SCHEME_TABLE, RULE_TABLE, MODEL_TABLE):
        for kind in rules if table is RULE_TABLE else (kind for kind in labels if kind in table.shipped):
            own = [label for label in labels.get(kind, []) if label not in (kind, "master")]
            named = ", ".join(own[:NAMED]) + (" and others" if len(own) > NAMED else "")
            found.append((f"{named} (`{kind}`)" if named else f"`{kind}`", _meaning(table.shipped[kind], text)))
    return found


def _is_in(title: str, text: str) -> bool:
    words = (
        r"\[[-+0-9]" if title.startswith("[") else "|".join(rf"\b{re.escape(word)}s?\b" for word in title.split(", "))
    )
    return re.search(words, text) is not None


def _meaning(cls: type, text: str) -> str:
    """The first line of a plug-in's description, and those of its parameters that matter here."""
    return "; ".join([(cls.__doc__ or "").strip().partition("\n")[0].rstrip("."), *_parameters(cls, text)])


def _parameters(cls: type, text: str) -> Iterator[str]:
    for one in parameters(cls, SCHEME_TABLE.filled_in):
        choices = one.must_be.removeprefix("one of ").split(", ") if one.must_be.startswith("one of ") else []
        if _is_needed(one) or any(re.search(rf"\b{re.escape(word)}\b", text) for word in (one.name, *choices)):
            yield f"`{one.name}`{' (' + ', '.join(choices) + ')' if choices else ''}: {one.meaning}"


def _is_needed(one: Parameter) -> bool:
    return one.default is None and not one.meaning.endswith("(optional)")
