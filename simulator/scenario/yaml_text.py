"""Plain values from YAML text, and YAML text from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruamel.yaml import YAML


def reader() -> YAML:
    """Make a reader of YAML 1.2 that constructs nothing but plain values."""
    from ruamel.yaml import YAML

    from simulator.scenario.yaml_nodes import BoundedComposer

    made = YAML(typ="safe", pure=True)
    made.Composer = BoundedComposer
    return made


def write_yaml(data: Mapping[str, Any], path: Path) -> None:
    """Write plain values in the order given, short mappings and lists on one line."""
    yaml = reader()
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its own default is a bool
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(data, file)


def plain_value(text: str) -> Any:
    """A value as it would be read in YAML."""
    from ruamel.yaml.error import YAMLError

    try:
        return reader().load(text)
    except (YAMLError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"must be a YAML value, got {text!r} ({str(error).splitlines()[0]})") from None
