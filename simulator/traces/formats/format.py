"""The contract of a format: what can be read as a trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from simulator.choices import TraceKind

Options = Mapping[str, Any]  # what was given of the options that only some formats take, by its name in Python
COMMON = ("unit", "base_load", "missing", "aggregate", "drop_first", "drop_last", "rounds")  # of all measured times

KEPT = ("has_collectives", "missing_ranks", "doubt")  # in metadata: no master was seen; remarks, see `MeasuredTimes`
OPTIONAL = ("host", "waited_s", "censored", "slowdown")  # columns that say more of each time


class Samples(NamedTuple):
    """Times as a source has them."""

    table: pd.DataFrame
    """With the columns round, worker (labels, as they stand), duration_s, and perhaps step, those of `OPTIONAL`
    and line (in which a missing time stands), a row for each time; or, without duration_s, the components of the times,
    in the native form."""
    remarks: tuple[str, ...] = ()  # what was left out, what is to be doubted: a sentence each
    about: Mapping[str, str] = MappingProxyType({})  # what of `KEPT` is known of the job
    words: tuple[str, str] = ("round", "worker")  # what the source calls these


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of source, and how it is read."""

    kind: TraceKind
    options: tuple[str, ...]  # of `trace convert`, that say something about such a source
    fits: Callable[[Path, Options], bool]  # whether a source is probably one, by its content, name or the options
    read: Callable[[Sequence[Path], Options], Samples]  # raises TraceError
    unit: str = "s"  # of its times, if none is given
    takes_several: bool = False  # sources: a file for each rank
    export: Callable[[Path, Options, Path], str] | None = None  # writes it as a Chrome trace, and says so
