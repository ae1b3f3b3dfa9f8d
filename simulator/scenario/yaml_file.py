"""A YAML file as plain values, and where each of them stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError

from simulator.errors import Path_, Problem, ScenarioError, dotted, show
from simulator.files import read_text
from simulator.scenario.dotted_keys import find, replaced, swept_together
from simulator.scenario.limits import MOST_DEPTH, MOST_LINES, MOST_REPEATED
from simulator.scenario.ranges import KEYS, is_number, values_of
from simulator.scenario.yaml_text import plain_value, reader

Node = Any  # of ruamel.yaml, which has no types for them
MERGE = "tag:yaml.org,2002:merge"
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "null", "str", "map", "seq")}


class Document:
    """A parsed YAML 1.2 file: plain dicts, lists and scalars in ``data``, nothing executed.

    Raises
    ------
    ScenarioError
        If the file can't be read, is not YAML, or has duplicate keys.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._overrides: dict[Path_, str] = {}
        self._included: dict[str, Document] = {}
        try:
            text = read_text(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ScenarioError([f"{path}: must be a readable YAML file, got none ({reason})"]) from None
        self._problems: list[str] = []
        self._marks: dict[Path_, Any] = {}  # where the key, or the item, of a path stands
        self._n_repeated, self._seen = 0, set[int]()  # nodes, because of aliases
        root = self._compose(text)
        self.data: Any = None if root is None else self._plain(root, (), ())
        if self._problems:
            raise ScenarioError(self._problems)
        if not isinstance(self.data, dict):
            raise ScenarioError([f"{path}:1:1: must be a mapping of scenario keys to values, got {show(self.data)}"])

    def _compose(self, text: str) -> Node:
        self._yaml = reader()
        try:
            return self._yaml.compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            ours = str(error.problem).startswith("must ")
            raise ScenarioError([f"{self.name}{where}: {'' if ours else 'must be YAML: '}{error.problem}"]) from None
        except YAMLError as error:
            before = text[: getattr(error, "position", 0) or 0]
            where = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
            raise ScenarioError([f"{self.name}:{where}: must be YAML: {str(error).splitlines()[0]}"]) from None

    def _plain(self, node: Node, path: Path_, above: tuple[Node, ...]) -> Any:
        self._n_repeated += id(node) in self._seen
        self._seen.add(id(node))
        self._marks.setdefault(path, node.start_mark)
        if node in above:
            return self._refuse(node, path, "must not contain itself")
        if len(above) >= MOST_DEPTH or self._n_repeated > MOST_REPEATED:
            most = f"{MOST_DEPTH} levels, and its aliases of at most {MOST_REPEATED} values"
            self._refuse(node, path, f"must be of at most {most}, got more")
            raise ScenarioError(self._problems)
        if str(node.tag) not in PLAIN_TAGS:
            return self._refuse(node, path, f"must be a plain value, got the tag {node.tag}")
        if node.id == "scalar":
            try:
                return self._yaml.constructor.construct_object(node)
            except (ValueError, KeyError, IndexError):
                return self._refuse(node, path, f"must be a {str(node.tag).rpartition(':')[2]}, got {show(node.value)}")
        if node.id == "sequence":
            return [self._plain(item, (*path, i), (*above, node)) for i, item in enumerate(node.value)]
        return self._mapping(node, path, above)

    def _mapping(self, node: Node, path: Path_, above: tuple[Node, ...]) -> dict[str, Any]:
        """The values of a mapping, and then those that it merges and does not say itself."""
        plain: dict[str, Any] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            key = key_node.value if key_node.id == "scalar" else None
            if str(key_node.tag) == MERGE:
                merged += value_node.value if value_node.id == "sequence" else [value_node]
            elif key is None or str(key_node.tag) not in PLAIN_TAGS:
                self._refuse(key_node, path, "keys must be text")
            elif key in plain:
                self._refuse(key_node, (*path, key), "must be given once, got the same key again")
            else:
                self._marks.setdefault((*path, key), key_node.start_mark)
                plain[key] = self._plain(value_node, (*path, key), (*above, node))
        for other in merged:
            if other.id != "mapping":
                self._refuse(other, (*path, "<<"), f"must be a mapping or a list of mappings, got {show(other.value)}")
            elif other in above or other is node:
                self._refuse(other, (*path, "<<"), "must not contain itself")
            else:
                plain = self._mapping(other, path, (*above, node)) | plain
        return plain

    def _refuse(self, node: Node, path: Path_, message: str) -> None:
        mark = node.start_mark
        self._problems.append(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {dotted(path)}: {message}")

    def override(self, assignment: str) -> None:
        """Set a value from the command line, as ``key.path=value``.

        Raises
        ------
        ScenarioError
            If that is not an assignment, or there is no such place.
        """
        key, equals, text = assignment.partition("=")
        try:
            if not (equals and key.strip()):
                raise ValueError(f"must be key.path=value, got {assignment}")
            path = find(self.data, key.strip())
            self.data = replaced(self.data, path, plain_value(text))
        except ValueError as error:
            raise ScenarioError([f"--set {key}: {error}"]) from None
        self._overrides[path] = f"--set {key.strip()}"

    def include(self, section: str) -> None:
        """Replace a section that names another YAML file, beside this one, by that file's section of the same name.

        Raises
        ------
        ScenarioError
            If that file can't be read, or has no such mapping.
        """
        name = self.data.get(section)
        if not isinstance(name, str):
            return
        other = Document(Path(self.name).parent / name)
        if not isinstance(other.data.get(section), dict):
            got = show(other.data.get(section))
            raise ScenarioError([f"{other.locate((section,))}: {section}: must be a mapping of labels, got {got}"])
        self.data[section] = other.data[section]
        self._included[section] = other

    def sweep(self, assignment: str) -> None:
        """Sweep a key from the command line, as ``key.path=values``, in place of what the file says of that key.

        Raises
        ------
        ScenarioError
            If that is not an assignment, or its key varies together with others in the file.
        """
        key, equals, text = assignment.partition("=")
        entry, given = key.strip(), self.data.get("sweep")
        try:
            if not (equals and entry):
                raise ValueError(f"must be key.path=values, got {assignment}")
            values = read_values(text)
            keys = swept_together(entry)
            for known in given if isinstance(given, dict) else ():
                if swept_together(known) == keys:
                    entry = known
                elif set(swept_together(known)) & set(keys):
                    raise ValueError(f"must be swept as in the scenario, by the entry {show(known)}, got {show(entry)}")
        except ValueError as error:
            raise ScenarioError([f"--sweep {key.strip()}: {error}"]) from None
        if given is None:
            given = self.data["sweep"] = {}
        if isinstance(given, dict):  # else the file is refused for it
            given[entry] = values
            self._overrides["sweep", entry] = f"--sweep {key.strip()}"

    def locate(self, path: Path_) -> str:
        """Return where the key at ``path`` stands: file:line:column, or the option that set it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._overrides and not (end == 1 and path[0] in self._included):
                return self._overrides[path[:end]]
        if path and path[0] in self._included:
            return self._included[str(path[0])].locate(path)
        mark = next(self._marks[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self._marks)
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"

    def describe(self, problem: Problem) -> str:
        """The problem as one line: where, what, must be, got."""
        where, name = self.locate(problem.path), dotted(problem.path)
        named = "" if not name or problem.path in self._overrides else f"{name}: "
        return f"{where}: {named}{problem.message}"

    def describe_all(self, problems: Sequence[Problem]) -> list[str]:
        """A line for each problem, each once, in the order of the file."""
        lines = {self.describe(problem): self._place(problem.path) for problem in problems}
        told = sorted(lines, key=lambda line: lines[line])
        return told[:MOST_LINES] + [f"{self.name}: and {len(told) - MOST_LINES} more"] * (len(told) > MOST_LINES)

    def _place(self, path: Path_) -> tuple[int, ...]:
        *_, line, column = ["0", "0", *self.locate(path).split(":")]
        return (int(line), int(column)) if line.isdigit() and column.isdigit() else (0, 0)


def read_values(text: str) -> list[Any]:
    """The values of an option: ``0.5,1,2``, or ``start:stop:number``, both ends included, in ratios with ``:log``.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> read_values("0.5, 1, all")
    [0.5, 1, 'all']
    >>> read_values("1:10:4")
    [1, 4, 7, 10]
    """
    parts = text.strip().split(":")
    must_be = "must be values separated by commas, or start:stop:number, or start:stop:number:log"
    if len(parts) > 1 and is_number(_plain(parts[0])):  # text with colons is a value: a kind package.module:Class
        if len(parts) not in (3, 4) or parts[3:] not in ([], ["log"]):
            raise ValueError(f"{must_be}, got {text.strip()}")
        scale = "log" if parts[3:] else "linear"
        return values_of(dict(zip(KEYS, [*map(_plain, parts[:3]), scale], strict=True)))
    try:
        values = plain_value(f"[{text}]")
    except ValueError:
        values = None
    if not isinstance(values, list) or not values:
        raise ValueError(f"{must_be}, got {text.strip() or 'nothing'}")
    return values


def _plain(text: str) -> Any:
    try:
        return plain_value(text)
    except ValueError:
        return text
