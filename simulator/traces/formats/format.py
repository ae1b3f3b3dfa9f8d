"""The contract of a format: what can be read as a trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from simulator.choices import TraceKind

Options = Mapping[str, Any]  # what was given of the options that only some formats take, by its name in Python


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of source, and how it is read."""

    kind: TraceKind
    options: tuple[str, ...]  # of `trace convert`, that say something about such a source
    fits: Callable[[Path, Options], bool]  # whether a source is probably one, by its name, the options or its columns
    read: Callable[[Sequence[Path], Options], pd.DataFrame]
    """into the columns round, worker (labels, as they stand), duration_s, and perhaps step; or, without duration_s, the
    components of the times, in the native form; raises TraceError"""
    hint: str = ""  # which options make clear that a source is one
    unit: str = "s"  # of its times, if none is given
    takes_several: bool = False  # sources
    export: Callable[[Path, Options, Path], str] | None = None  # writes it as a Chrome trace, and says so
