"""The parameters of a plug-in: the fields of a pydantic dataclass."""

from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from simulator.parameters import BesideTheScenario, OfEach


def fields_of(cls: type) -> dict[str, FieldInfo]:
    """The parameters of a pydantic dataclass: the fields that its constructor takes."""
    return {name: field for name, field in getattr(cls, "__pydantic_fields__", {}).items() if field.init is not False}


def is_input_path(field: FieldInfo) -> bool:
    """Say whether a parameter is a path beside the scenario."""
    return any(isinstance(mark, BesideTheScenario) for mark in field.metadata)


def is_of_each(field: FieldInfo) -> bool:
    """Say whether a parameter is a model of which any number may be each worker's own."""
    return any(isinstance(mark, OfEach) for mark in field.metadata)


def plugin_in(field: FieldInfo) -> tuple[Any, bool]:
    """Return the base of the plug-in that a parameter is, or of those by label in it; and whether it is of these."""
    annotation, _ = unwrap(field.annotation, [])
    if get_origin(annotation) is dict:
        return unwrap(get_args(annotation)[1], [])[0], True
    return annotation, False


def unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Look through Optional and Annotated."""
    while True:
        args = get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            metadata = [*metadata, *annotation.__metadata__]
            annotation = args[0]
        elif type(None) in args:
            annotation = next(arg for arg in args if arg is not type(None))
        else:
            break
    flat = [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
    return annotation, flat
