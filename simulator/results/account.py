"""How results came about, and what a command has said of them, for whoever reads its folder later."""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from simulator.errors import ResultsError
from simulator.files import read_text
from simulator.plugins.identity import checksum

SUFFIX = ".account.json"


def origin(inputs: Mapping[str, str], began: float) -> dict[str, Any]:
    """What made results: the command, SHA-256 of what it read, the time it took, and versions."""
    name = Path(sys.argv[0]).name
    return {
        "command": shlex.join(["stragglersim" if name == "__main__.py" else name, *sys.argv[1:]]),
        "inputs": dict(inputs),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began, 3),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("stragglersim", "numpy", "scipy", "simpy", "pandas", "pyarrow")},
    }


def _plain_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError("must be a file of the folder itself")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]


class Said(BaseModel):
    """What stands under one heading: sentences, named facts, and a table of texts."""

    model_config = ConfigDict(extra="forbid")
    title: str = ""
    facts: list[tuple[str, str]] = []
    sentences: list[str] = []
    table: str = ""  # its title
    header: list[str] = []
    rows: list[list[str]] = []


class Account(BaseModel):
    """What a command other than `run` has said, and the files of its folder that belong to it."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["advise", "tune", "trace info", "trace fit"]
    subject: str
    question: str
    answer: str
    said: list[Said] = []
    fair: str
    tables: list[FileName] = []
    figures: list[FileName] = []
    scenarios: list[FileName] = []
    origin: dict[str, Any] = {}

    def write(self, path: Path, inputs: Iterable[Path], began: float) -> None:
        """Write it, with the checksums of what was read, to a file whose name ends in `SUFFIX`."""
        read = {str(file): checksum(str(file)) for given in inputs for file in _files(given)}
        whole = self.model_copy(update={"origin": origin(read, began)})
        path.write_text(json.dumps(whole.model_dump(), indent=2) + "\n", encoding="utf-8")


def _files(given: Path) -> list[Path]:
    return sorted(file for file in given.rglob("*") if file.is_file()) if given.is_dir() else [given]


def read_accounts(folder: Path) -> list[Account]:
    """Read all accounts of a folder.

    Raises
    ------
    ResultsError
        If one is damaged.
    """
    return [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def _read(path: Path) -> Account:
    try:
        return Account.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        got = f"{where}: {first['msg']}" if where else first["msg"]
    except (ValueError, OSError) as error:
        got = str(error)
    raise ResultsError(f"{path}: must be as a command has written it, got {got} (run the command again)")
