"""Plain values from YAML text, within bounds, and YAML text from plain values."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import YAMLError

from simulator.scenario.limits import MOST_DEPTH, MOST_NODES


class BoundedComposer(Composer):
    """Refuse what is nested or long out of all proportion, before Python or the memory gives up."""

    warn_double_anchors = False
    _n_nodes = _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._n_nodes, self._depth = self._n_nodes + 1, self._depth + 1
        if self._depth > MOST_DEPTH:
            self._refuse(f"at most {MOST_DEPTH} levels deep")
        if self._n_nodes > MOST_NODES:
            self._refuse(f"of at most {MOST_NODES} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, message: str) -> None:
        raise ComposerError(None, None, f"must be {message}, got more", self.parser.peek_event().start_mark)

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        try:  # JSON writes a character beyond U+FFFF as two
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            message = "must be text, got half of a surrogate pair (write both halves, or the character itself)"
            raise ComposerError(None, None, message, node.start_mark) from None
        return node


def reader() -> YAML:
    """Make a reader of YAML 1.2 that constructs nothing but plain values."""
    made = YAML(typ="safe", pure=True)
    made.Composer = BoundedComposer
    return made


def write_yaml(data: Mapping[str, Any], path: Path) -> None:
    """Write plain values in the order given, short mappings and lists on one line."""
    path.write_text(yaml_of(data), encoding="utf-8")


def yaml_of(data: Mapping[str, Any]) -> str:
    """Return plain values as :func:`write_yaml` writes them.

    Examples
    --------
    >>> print(yaml_of({"workers": 4, "sweep": {"master.mu": [0.5, 1.0]}}))
    workers: 4
    sweep:
      master.mu: [0.5, 1.0]
    <BLANKLINE>
    """
    yaml, text = reader(), io.StringIO()
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its own default is a bool
    yaml.dump(data, text)
    return text.getvalue()


def plain_value(text: str) -> Any:
    """A value as it would be read in YAML."""
    try:
        return reader().load(text)
    except (YAMLError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"must be a YAML value, got {text!r} ({str(error).splitlines()[0]})") from None
