"""Would the tests notice? Single faults, put into a copy of the code one at a time.

Run it as ``python benchmarks/mutants.py DIR [--faults 150] [--seed 0]``; it needs the package ``coverage``.
In DIR it keeps the copy, which test executes which line (measured once, file by file), and ``faults.jsonl``, a line for
each fault that was tried; what is there is not done again. Each fault first meets the tests that execute its line,
then, if none of them has failed, all tests. Faults that nobody saw are printed last; some of them change nothing.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("stragglersim", "simulator", "schemes", "straggler_models", "workloads")
TEST_LIMIT_S = 120  # of one test; a fault that makes it longer has been seen
LIMIT_S = 1800  # of one run of pytest
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}


class Fault(NamedTuple):
    """A piece of a file, and what stands there instead."""

    file: str
    line: int
    was: str
    now: str
    start: int  # in bytes
    stop: int


def faults_of(folder: Path, name: str) -> Iterator[Fault]:
    """All single faults that a file offers."""
    source = (folder / name).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in _within(ast.parse(source)):
        for place, other in _instead(node):
            start = starts[place.lineno - 1] + place.col_offset
            stop = starts[place.end_lineno - 1] + place.end_col_offset
            now = other if isinstance(other, str) else f"({ast.unparse(other)})"
            yield Fault(name, place.lineno, source[start:stop].decode(), now, start, stop)


def _within(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything that is computed: no types, docstrings, messages, or imports for types."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise):
                continue
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from _within(child)


def _instead(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | str]]:
    """What could stand instead of what: another node, or text."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield node, ast.Compare(node.left, [SWAPS[type(op)]()], node.comparators)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SWAPS and not _is_text(left, right):
            yield node, ast.BinOp(left, SWAPS[type(op)](), right)
        case ast.BoolOp(op=op):
            yield node, ast.BoolOp(SWAPS[type(op)](), node.values)
            yield node, ast.BoolOp(op, node.values[1:]) if len(node.values) > 2 else node.values[1]
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield node, node.operand
        case ast.If() | ast.While() | ast.IfExp():
            yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.Constant(value=bool()):
            yield node, str(not node.value)
        case ast.Constant(value=int()):
            yield node, str(node.value + 1)
        case ast.Constant(value=float()) if node.value:
            yield node, str(2 * node.value)
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            yield node, ast.Call(ast.Name(NAMES[name]), node.args, node.keywords)
        case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in NAMES:
            yield node, ast.Call(ast.Attribute(of, NAMES[name]), node.args, node.keywords)
        case ast.AugAssign() | ast.Break() | ast.Continue() | ast.Assert():
            yield node, "pass"
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, "pass"
        case ast.Return(value=ast.expr()):
            yield node, "return None"


def _is_text(*nodes: ast.AST) -> bool:
    return any(isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", 0), str) for node in nodes)


class Tree:
    """A copy of the project, in which tests are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        self.covered = folder / "coverage"
        if not self.folder.exists():
            named = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
            for name in named.stdout.rstrip("\0").split("\0"):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)
        self.covered.mkdir(exist_ok=True)
        self.test_files = sorted(f"tests/{file.name}" for file in (self.folder / "tests").glob("test_*.py"))

    def run(self, *arguments: str, under: tuple[str, ...] = ("-m",)) -> str:
        """Run pytest, up to the first test that fails; return how it went."""
        shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        environment = os.environ | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        options = ("pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=line")
        command = [sys.executable, *under, *options, f"--timeout={TEST_LIMIT_S}", *arguments]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return "too slow"
        if done.returncode in (0, 5):
            return "unseen"
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0][:150] if failed else f"exit status {done.returncode}"

    def measure(self) -> None:
        """Note which test executes which line."""
        settings = self.covered / "settings"
        settings.write_text(f"[run]\nsource = {','.join(ROOMS)}\ndynamic_context = test_function\n")
        for file in self.test_files:
            data = self.covered / f"{Path(file).stem}.sqlite"
            if not data.exists():
                began_s = time.monotonic()
                partial = data.with_suffix(".part")
                partial.unlink(missing_ok=True)
                how = self.run(
                    *(file, "--maxfail=1000"),
                    under=("-m", "coverage", "run", f"--rcfile={settings}", f"--data-file={partial}", "-m"),
                )
                partial.rename(data)
                print(f"{file}: {how if how != 'unseen' else 'passed'}, {time.monotonic() - began_s:.0f} s", flush=True)

    def tests_of(self) -> dict[tuple[str, int], list[str]]:
        """Tests that execute each line, those first that execute the fewest lines."""
        from coverage.numbits import numbits_to_nums

        lines: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for data in sorted(self.covered.glob("*.sqlite")):
            text = (self.folder / f"tests/{data.stem}.py").read_text()
            named = set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))
            with sqlite3.connect(data) as table:
                rows = table.execute(
                    "select path, context, numbits from line_bits join file on file.id = file_id "
                    "join context on context.id = context_id where context != ''"
                )
                for path, context, bits in rows:
                    name = context.rpartition(".")[2]
                    if name not in named:
                        continue
                    test = f"tests/{data.stem}.py::{name}"
                    file = str(Path(path).relative_to(self.folder))
                    lines[test] |= {(file, line) for line in numbits_to_nums(bits)}
        found = defaultdict(list)
        for test in sorted(lines, key=lambda test: len(lines[test])):
            for place in lines[test]:
                found[place].append(test)
        return found


def main() -> None:
    """Try some faults, and say which ones nobody saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faults", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, tests send it
    given.folder.mkdir(parents=True, exist_ok=True)
    tree = Tree(given.folder.resolve())
    tree.measure()
    tests_of = tree.tests_of()
    files = [str(file.relative_to(tree.folder)) for room in ROOMS for file in (tree.folder / room).rglob("*.py")]
    offered = sorted({fault for name in files for fault in faults_of(tree.folder, name)})
    chosen = random.Random(given.seed).sample(offered, given.faults)
    log = given.folder / "faults.jsonl"
    known: dict[tuple[Fault, str], str] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        entry = json.loads(line)
        known[Fault(*entry["fault"]), entry["by"]] = entry["how"]
    for by in ("its tests", "all tests"):
        for number, fault in enumerate(chosen):
            is_open = (fault, by) not in known and known.get((fault, "its tests"), "unseen") == "unseen"
            if is_open:
                own = tests_of.get((fault.file, fault.line), [])
                known[fault, by] = how = _tried(tree, fault, own if by == "its tests" else ["."])
                with log.open("a") as file:
                    file.write(json.dumps({"fault": fault, "by": by, "how": how}) + "\n")
                print(f"{number} {fault.file}:{fault.line} {fault.was!r} -> {fault.now!r}: {how}", flush=True)
    unseen = [fault for fault in chosen if known.get((fault, "all tests")) == "unseen"]
    for fault in unseen:
        print(f"unseen: {fault.file}:{fault.line}: {fault.was!r} -> {fault.now!r}")
    print(f"{len(chosen) - len(unseen)} of {len(chosen)} faults were seen")


def _tried(tree: Tree, fault: Fault, tests: list[str]) -> str:
    file = tree.folder / fault.file
    whole = file.read_bytes()
    assert whole[fault.start : fault.stop].decode() == fault.was, f"{file} is not the one that was read: begin anew"
    file.write_bytes(whole[: fault.start] + fault.now.encode() + whole[fault.stop :])
    try:
        return tree.run(*tests) if tests else "unseen"
    finally:
        file.write_bytes(whole)


if __name__ == "__main__":
    main()
