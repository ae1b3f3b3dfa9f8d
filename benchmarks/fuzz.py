"""Inputs changed at random, given to every command: `python benchmarks/fuzz.py --number 20000 [--commands]`.

None may end in a traceback, take longer than 20 s, need more than 2 GB, or leave with an exit status that is not known.
In this process by default; with `--commands`, each in one of its own. A case is its number: `--first 1234 --number 1`
repeats one. A new kind of input is a function that writes files into a folder and returns the calls to make, and a line
in `MUTATORS`.
"""

import argparse
import contextlib
import functools
import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fuzz_traces import mutants

from simulator.cli.app import main as command_line

KNOWN = (0, 1, 2, 3)  # exit statuses
MOST_S = 20.0
MOST_BYTES = 2 * 2**30
MOST_JOBS = 10_000  # or trials; more may be legal, and would take long
Calls = list[list[str]]  # arguments of the command line, of each call
Mutator = Callable[[random.Random, Path], Calls]

MODELS: list[dict[str, Any]] = [
    {"kind": "constant", "startup_s": 0.2, "seconds_per_load": 4.0},
    {"kind": "shifted_exponential", "shift": 0.5, "mean": 1.0, "adds_to": "startup_s"},
    {"kind": "pareto", "scale": 1.0, "shape": 3.0, "adds_to": "startup_s"},
    {"kind": "weibull", "scale": 1.0, "shape": 2.0, "adds_to": "seconds_per_load"},
    {"kind": "lognormal", "median": 1.0, "sigma": 0.5, "adds_to": "startup_s"},
    {"kind": "bernoulli", "p": 0.2, "slowdown": 3.0},
    {"kind": "gilbert_elliott", "p_slow": 0.1, "p_recover": 0.5, "slowdown": 4.0},
    {"kind": "fail_slow", "p_fail": 0.02, "slowdown": 5.0, "mean_rounds": 9},
    {"kind": "fail_stop", "mean_rounds_to_failure": 20, "mean_rounds_to_repair": 2},
    {"kind": "markov_speed", "states": [{"slowdown": 1.0, "mean_s": 9.0}, {"slowdown": 3.0, "mean_s": 3.0}]},
    {"kind": "time_of_day", "wave": {"mean": 2.0, "amplitude": 0.5, "peak_s": 3.0}, "period_s": 9.0},
    {"kind": "queueing", "rate": 0.2, "mean_s": 2.0, "discipline": "processor_sharing"},
    {"kind": "churn", "mean_stay_s": 50.0, "mean_away_s": 5.0, "detect_s": 0.5},
    {"kind": "adversarial", "B": 1, "W": 3, "lam": 2, "slowdown": 5.0},
]
RULES: list[dict[str, Any]] = [
    {"kind": "first_enough", "timeout_s": 30.0},
    {"kind": "first_enough", "timeout_s": 30.0, "poll_s": 0.5},
    {"kind": "mu_rule", "mu": 0.5, "wait_for": "all", "timeout_s": 20.0},
    {"kind": "fixed_time", "time_s": 3.0, "wait_for": "enough", "timeout_s": 50.0},
]
CYCLIC = {"kind": "cyclic", "chunks_per_worker": 2}
SCHEMES: list[dict[str, Any]] = [
    {"kind": "uncoded"},
    {"kind": "fastest_k", "k": 3},
    {"kind": "ideal"},
    {"kind": "gradient_coding", "s": 2},
    {"kind": "fractional_repetition", "s": 1},
    {"kind": "selective_repeat", "B": 1, "W": 2, "lam": 2},
    {"kind": "multiplexed", "B": 1, "W": 2, "lam": 2, "credit": "prefix"},
    {"kind": "bernoulli_gradient_coding", "p": 0.5},
    {"kind": "expander_gradient_coding", "chunks_per_worker": 3},
    {"kind": "heterogeneous_gradient_coding", "s": 1, "speeds": [1, 2, 3, 4, 1, 2]},
    {"kind": "communication_efficient_gradient_coding", "s": 1, "m": 2},
    {"kind": "nested_gradient_coding", "s_max": 2},
    {"kind": "sparse_graph_gradient_coding", "d": 2, "shuffle": True},
    {"kind": "partial_gradient_coding", "assignment": CYCLIC, "ordering": {"kind": "best_of_random", "k": 3}},
]
WORKLOADS: list[dict[str, Any]] = [
    {"kind": "least_squares", "rows": 60, "dimension": 4},
    {"kind": "two_layer_network", "hidden": 4},
]
NUMBERS = [0, -1, 1, 2, 5, 17, 10**6, 10**9, 2**63, 10**30, 10**400, 0.5, 1e-9, 1e-30, 1e-320, 1e30, 1e308, -0.0]
WORDS = ["", "x", "all", "startup_s", ".inf", "nan", "1e3", "\n", "\ud83d", "\ud83d\udca5", "\0", "a" * 5000, "<<"]
PATHS = [".", "..", "/dev/zero", "/dev/null", "/proc/self/mem", "nowhere.csv", "scenario.yaml"]
ODD: list[Any] = [*NUMBERS, *WORDS, *PATHS, float("inf"), float("nan"), True, None, [], {}, [1, 2], {"kind": "x"}, [[]]]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "&a ",
    "*a",
    "<<: *a",
    "!!x ",
    "\t",
    "#",
    "'",
    '"',
    "|",
    "- ",
    "? ",
    "%",
    "\x07",
]


def scenario(rng: random.Random, folder: Path) -> Calls:
    """A small sound scenario, of which some values, keys or characters are changed."""
    data = _sound(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        _change(rng, data)
    text = json.dumps(data)
    for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 3])):
        text = _garbled(rng, text)
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    given = [str(folder / "scenario.yaml")]
    if rng.random() < 0.2:
        option, key = rng.choice(["--set", "--sweep"]), ".".join(map(str, rng.choice(_places(data))[1]))
        given += [option, f"{key}={rng.choice(NUMBERS + WORDS[1:6])}"]
    out = ["--out", str(folder / "out"), "--executor", "serial", "--detail", rng.choice(["runs", "rounds", "workers"])]
    n_jobs = [value for value in (data.get("jobs"), data.get("trials")) if isinstance(value, int)]
    is_long = any(value > MOST_JOBS for value in n_jobs)  # it is what was asked for, and shows how far it is
    return [["validate", *given]] + [["run", *given, *out]] * (not is_long)


def _sound(rng: random.Random) -> dict[str, Any]:
    models = {f"m{place}": dict(model) for place, model in enumerate(rng.sample(MODELS, rng.choice([1, 2, 3])))}
    schemes = {f"s{place}": dict(scheme) for place, scheme in enumerate(rng.sample(SCHEMES, rng.choice([1, 2])))}
    data = {"workers": 6, "jobs": rng.choice([1, 4]), "trials": rng.choice([1, 2]), "stragglers": models}
    data |= {"master": dict(rng.choice(RULES)), "schemes": schemes, "leftover": rng.choice(["cancel", "finish"])}
    if rng.random() < 0.3:
        data["sweep"] = {rng.choice(["master.timeout_s", "seed", "jobs", "schemes.s0.s", "network.latency_s"]): [1, 2]}
    if rng.random() < 0.3:
        data["network"] = {"latency_s": 0.01, "ingress_bytes_per_s": 1e6, "gradient_bytes": 100.0}
    if rng.random() < 0.2:
        data |= {"models": 3, "training": {"workload": dict(rng.choice(WORKLOADS)), "learning_rate": 0.1}}
    return json.loads(json.dumps(data))


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, tuple[Any, ...]]]:
    """Every key or position, with what holds it."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    own = [(data, (*path, key)) for key, _ in items]
    return own + [place for _, (*_, key) in own for place in _places(data[key], (*path, key))]


def _change(rng: random.Random, data: dict[str, Any]) -> None:
    places = _places(data)
    if not places:
        return
    holder, (*_, key) = rng.choice(places)
    what = rng.random()
    if what < 0.4 and type(holder[key]) in (int, float):
        holder[key] = holder[key] * rng.choice([0, 0.5, 2, 10, 1e3, 1e-3, 1e-9]) if rng.random() < 0.5 else 1
    elif what < 0.6:
        holder[key] = rng.choice(ODD)
    elif what < 0.7:
        del holder[key]
    elif what < 0.8 and isinstance(holder, dict):
        holder[rng.choice(WORDS) + str(key)] = rng.choice(ODD)
    elif what < 0.9:
        other, (*_, place) = rng.choice(places)
        with contextlib.suppress(LookupError, TypeError):
            holder[key] = json.loads(json.dumps(other[place]))
    else:
        holder[key] = rng.choice([[holder[key]], {"a": holder[key]}, [holder[key]] * 50])


def _garbled(rng: random.Random, text: str) -> str:
    at, length = rng.randrange(len(text) + 1), rng.choice([0, 0, 1, 5, 40])
    return text[:at] + rng.choice([*PIECES, text[at : at + 30]]) + text[at + length :]


def trace(rng: random.Random, folder: Path) -> Calls:
    """A trace file with something wrong, for every command that reads one."""
    _, data, suffix = next(mutants(rng.randrange(2**32)))
    path = str(folder / f"mutant{suffix}")
    Path(path).write_bytes(data)
    replay = {"workers": 1, "jobs": 2, "stragglers": {"it": {"kind": "trace", "path": path, "wrap": "cycle"}}}
    (folder / "scenario.yaml").write_text(json.dumps(replay | {"schemes": {"uncoded": {"kind": "uncoded"}}}))
    option = rng.choice([[], [], ["--rows", "round"], ["--missing", "inf"], ["--unit", "ms"]])
    out = ["--out", str(folder / "out")]
    convert = ["trace", "convert", path, *option, "--out", str(folder / "converted.parquet")]
    return [
        ["trace", "info", path, *option],
        convert,
        rng.choice([["trace", "fit", path, *option, *out], ["tune", path, *option, "--jobs", "4", *out]]),
        ["validate", str(folder / "scenario.yaml")],
    ]


def results(rng: random.Random, folder: Path) -> Calls:
    """A folder of results in which a file is damaged."""
    shutil.copytree(_sound_results(), folder / "results")
    for path in rng.sample(sorted((folder / "results").rglob("*.*")), rng.choice([1, 1, 1, 2])):
        _damage(rng, path)
    return [["compare", str(folder / "results")], ["plot", str(folder / "results")]]


@functools.cache
def _sound_results() -> Path:
    folder = Path(tempfile.mkdtemp()) / "results"
    given = {"workers": 4, "jobs": 3, "trials": 3, "stragglers": {"usual": MODELS[1]}}
    given |= {"schemes": {"uncoded": {"kind": "uncoded"}, "GC": {"kind": "gradient_coding", "s": 1}}}
    path = folder.with_suffix(".yaml")
    path.write_text(json.dumps(given))
    as_command(["run", str(path), "--out", str(folder), "--executor", "serial"])
    return folder


def _damage(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    what = rng.random()
    if what < 0.5 and content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif what < 0.6:
        content = content[: rng.randrange(len(content) + 1)]
    elif what < 0.7:
        path.unlink()
        return
    elif path.suffix in (".json", ".yaml"):
        text = content.decode()
        for _ in range(rng.choice([1, 2, 5])):
            text = _garbled(rng, text) if rng.random() < 0.5 else text.replace(rng.choice("0123456789ae"), "x", 1)
        content = bytearray(text.encode(errors="replace"))
    else:
        content = bytearray(rng.randbytes(rng.choice([0, 1, 100])))
    path.write_bytes(content)


MUTATORS: dict[str, Mutator] = {"scenario": scenario, "trace": trace, "results": results}


class Ended(NamedTuple):
    """End of a call."""

    status: object  # an exit status, or the name of what escaped
    said: str


class Hang(BaseException):
    """A call that takes too long."""


def in_process(arguments: Sequence[str]) -> Ended:
    """Call the command line here."""

    def stop(*_: object) -> None:
        raise Hang

    said = io.StringIO()
    before, argv = signal.signal(signal.SIGALRM, stop), sys.argv
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
    try:
        sys.argv = ["stragglersim", *arguments]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            command_line()
    except SystemExit as ended:
        return Ended(ended.code or 0, said.getvalue())
    except BaseException as error:
        return Ended(type(error).__name__, traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.argv = argv
    return Ended(0, said.getvalue())


def as_command(arguments: Sequence[str]) -> Ended:
    """Call the command line in a process of its own."""
    call = [sys.executable, "-m", "simulator", *arguments]
    try:
        done = subprocess.run(call, capture_output=True, timeout=MOST_S, check=False)
    except subprocess.TimeoutExpired:
        return Ended("Hang", "")
    said = done.stderr.decode(errors="replace")
    return Ended("Traceback" if "Traceback (most recent call last)" in said else done.returncode, said)


def faults(kind: str, number: int, call: Callable[[Sequence[str]], Ended], counts: Counter[Any]) -> Iterator[str]:
    """Make the calls of one case, and say what must not be."""
    rng = random.Random(f"{kind} {number}")
    with tempfile.TemporaryDirectory() as place:
        for arguments in MUTATORS[kind](rng, Path(place)):
            ended = call(arguments)
            counts[kind, arguments[0], ended.status] += 1
            left = [path.name for path in Path(place).rglob("*") if path.name.endswith(".partial")]
            if ended.status not in KNOWN or left:
                what = f"{ended.status} {' '.join(left)}".strip()
                yield f"{kind} {number}: {' '.join(arguments)[:300]}: {what}\n{ended.said[-1500:]}"
            elif ended.status == 2 and not ended.said.strip():
                yield f"{kind} {number}: {' '.join(arguments)[:300]}: exit status 2 without a word"


def peak_bytes() -> int:
    """The most memory that this process, or one that it started, has had."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(MUTATORS), help="of inputs")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--number", type=int, default=1000, help="of cases, of all kinds together")
    parser.add_argument("--commands", action="store_true")
    chosen = parser.parse_args()
    counts: Counter[Any] = Counter()
    began_s, n_faults = time.monotonic(), 0
    for number in range(chosen.first, chosen.first + chosen.number):
        kind = chosen.kinds[number % len(chosen.kinds)]
        for fault in faults(kind, number, as_command if chosen.commands else in_process, counts):
            n_faults += 1
            print(fault, flush=True)
    for (kind, command, status), n_calls in sorted(counts.items(), key=str):
        print(f"{kind:10} {command:10} {status!s:>20} {n_calls:8}")
    peak = peak_bytes()
    print(f"{chosen.number} cases, {time.monotonic() - began_s:.0f} s, peak {peak / 2**30:.2f} GiB, {n_faults} faults")
    sys.exit(n_faults > 0 or peak > MOST_BYTES)


if __name__ == "__main__":
    main()
