"""All that decides what a plug-in does."""

import functools
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemes.assignment import Assignment
from schemes.base.scheme import Scheme
from schemes.ordering import Ordering
from simulator.engine.master_rules import MasterRule
from simulator.errors import SHIPPED, is_shipped
from simulator.plugins.fields import fields_of, is_input_path
from straggler_models.base import StragglerModel
from workloads.base import Workload

PLUGINS = (Scheme, StragglerModel, MasterRule, Assignment, Ordering, Workload)


def identity(plugin: object) -> dict[str, Any]:
    """All that decides what a plug-in does, as plain values: its class, its parameters, the content of its input files.

    Of a plug-in from outside, also the source of its class, because it may be edited between two runs. What that source
    imports is not followed.

    Examples
    --------
    >>> from straggler_models import Constant
    >>> identity(Constant(startup_s=1.0))["startup_s"]
    1.0
    """
    cls = type(plugin)
    fields = fields_of(cls)
    values: dict[str, Any] = {"class": f"{cls.__module__}:{cls.__qualname__}"}
    for name in fields or vars(plugin):
        value = getattr(plugin, name)
        if name in fields and is_input_path(fields[name]) and value is not None:
            value = checksum(value)
        elif isinstance(value, PLUGINS):
            value = identity(value)
        elif isinstance(value, dict):
            value = {label: identity(one) if isinstance(one, PLUGINS) else one for label, one in value.items()}
        values[name] = value
    if not is_shipped(plugin):
        classes = [base for base in cls.__mro__ if issubclass(base, PLUGINS)]
        outside = [base for base in classes if base.__module__.split(".")[0] not in SHIPPED]
        values["source"] = [_source(base) for base in outside]
    return values


def parts(plugin: object) -> Iterator[object]:
    """Yield a plug-in, and the plug-ins in it."""
    yield plugin
    for value in vars(plugin).values():
        for one in value.values() if isinstance(value, dict) else (value,):
            if isinstance(one, PLUGINS):
                yield from parts(one)


def input_files(plugin: object) -> Iterator[tuple[str, str]]:
    """Yield path and checksum of each input file of a plug-in, and of the plug-ins in it."""
    for part in parts(plugin):
        for name, field in fields_of(type(part)).items():
            value = getattr(part, name)
            if is_input_path(field) and value is not None:
                yield str(value), checksum(value)


def checksum(path: str) -> str:
    """SHA-256 of what a file holds; read again only if it has changed."""
    try:
        stat = Path(path).stat()
        return _hashed(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:  # the plug-in will say so when it reads it
        return error.strerror or str(error)


@functools.lru_cache(maxsize=256)
def _hashed(path: str, modified_ns: int, size: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _source(cls: type) -> str:
    """A hash of the file that defines a class; its name alone where there is none."""
    try:
        return checksum(inspect.getfile(cls))
    except (OSError, TypeError):
        return cls.__qualname__
