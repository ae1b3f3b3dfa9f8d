"""Messages between master and workers: a JSON header and raw arrays, each a frame. Nothing is ever unpickled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

VERSION = 1  # of what is sent: master and workers must have the same
KINDS = ("<f8", "<f4", "<i8")  # of arrays
LONGEST_HEADER = 1 << 22  # bytes
Array = np.ndarray[Any, np.dtype[Any]]


class WireError(ValueError):
    """Something that is no message of ours."""


class Message(NamedTuple):
    """A message as it came."""

    kind: str
    header: dict[str, Any]
    arrays: list[Array]


def pack(kind: str, header: Mapping[str, Any], arrays: Sequence[Array] = ()) -> list[bytes]:
    """Frames of a message.

    Examples
    --------
    >>> unpack(pack("report", {"order": 3}, [np.array([1.0, 2.0])])).arrays
    [array([1., 2.])]
    """
    described = [[array.dtype.str, *array.shape] for array in arrays]
    text = json.dumps({"kind": kind, "arrays": described, **header})
    return [text.encode(), *(np.ascontiguousarray(array).tobytes() for array in arrays)]


def unpack(frames: Sequence[bytes]) -> Message:
    """Read the frames of a message; arrays are read-only.

    Raises
    ------
    WireError
        If they are none.
    """
    try:
        if len(frames[0]) > LONGEST_HEADER:
            raise WireError("its header is too long")
        header = json.loads(frames[0])
        kind, described = header.pop("kind"), header.pop("arrays")
        if not isinstance(kind, str) or len(described) != len(frames) - 1:
            raise WireError("its header does not say what follows")
        arrays = [_array(frame, *said) for frame, said in zip(frames[1:], described, strict=True)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise WireError(str(error)) from error
    return Message(kind, header, arrays)


def _array(frame: bytes, kind: str, *shape: int) -> Array:
    if kind not in KINDS or any(type(length) is not int or length < 0 for length in shape):
        raise WireError("an array is of a kind that is never sent")
    if math.prod(shape) * int(kind[2:]) != len(frame):
        raise WireError("an array is not as long as its header says")
    return np.frombuffer(frame, kind).reshape(shape)
