"""JSON Schema of a scenario, made from the plug-ins' own parameters."""

import copy
from typing import Any

from pydantic import TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from simulator.plugins.fields import fields_of
from simulator.plugins.kinds import MODEL_TABLE, NESTED, RULE_TABLE, SCHEME_TABLE, Table
from simulator.scenario.limits import MOST_POINTS
from simulator.scenario.scenario import Scenario

RANGE = {
    "type": "object",
    "description": "n numbers from one to another, both included",
    "additionalProperties": False,
    "required": ["from", "to", "n"],
    "properties": {
        "from": {"type": "number"},
        "to": {"type": "number"},
        "n": {"type": "integer", "minimum": 2, "maximum": MOST_POINTS},
        "scale": {"enum": ["linear", "log"], "description": "log: in equal ratios"},
    },
}


class _Generator(GenerateJsonSchema):
    """Leaves a nested plug-in as the name of its family, and defaults that are plug-ins away."""

    def is_instance_schema(self, schema: Any) -> JsonSchemaValue:
        return {"plug-in": NESTED[schema["cls"]].family}

    def emit_warning(self, kind: Any, detail: str) -> None:
        if kind != "non-serializable-default":
            super().emit_warning(kind, detail)


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) with which an editor completes and checks a scenario."""
    definitions: dict[str, Any] = {}
    for table in NESTED.values():
        definitions[table.family] = _any_of(table, definitions)
    rule = _any_of(RULE_TABLE, definitions)
    model = _any_of(MODEL_TABLE, definitions)
    scheme = _any_of(SCHEME_TABLE, definitions, extra={"master": rule})
    apart = ("stragglers", "master", "schemes", "masters", "sweep", "points")
    fields = {name: (field.annotation, field) for name, field in fields_of(Scenario).items() if name not in apart}
    plain_values: Any = create_model("Head", **fields)  # type: ignore[call-overload]  # fields made at run time
    head = TypeAdapter(plain_values).json_schema(schema_generator=_Generator)
    for name, definition in head.pop("$defs", {}).items():
        definition["properties"] = {key: _named(value) for key, value in definition["properties"].items()}
        definitions[name] = definition
    properties = head["properties"] | {
        "stragglers": {
            "anyOf": [
                _labelled(model, "straggler models by label; they compose"),
                {"type": "string", "minLength": 1, "description": "a YAML file with such a section"},
            ]
        },
        "master": rule,
        "schemes": _labelled(scheme, "schemes by label; all meet the same worker times"),
        "sweep": {
            "type": ["object", "null"],
            "description": "values of dotted keys; each combination is a point",
            "additionalProperties": {"anyOf": [{"type": "array", "minItems": 1}, RANGE]},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stragglersim scenario",
        "type": "object",
        "additionalProperties": False,
        "required": ["workers", "jobs", "stragglers", "schemes"],
        "properties": properties,
        "$defs": definitions,
    }


def _named(schema: dict[str, Any]) -> dict[str, Any]:
    """A reference to the kinds of a nested plug-in, in place of the name of its family."""
    family = schema.pop("plug-in", None)
    return schema if family is None else schema | {"$ref": f"#/$defs/{family}"}


def _labelled(plug_in: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "minProperties": 1, "additionalProperties": plug_in, "description": description}


def _any_of(table: Table, definitions: dict[str, Any], extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """One of the kinds of a table, each a definition; the kind decides which, so that messages are about that one."""
    kinds: list[dict[str, Any]] = [{"enum": list(table.known())}]
    if table.group:
        kinds.append({"type": "string", "pattern": r"^[\w.]+:\w+$", "description": "package.module:Class"})
    chosen = []
    for kind, cls in table.known().items():
        try:
            schema = copy.deepcopy(TypeAdapter(cls).json_schema(schema_generator=_Generator))
        except Exception:  # of an outside class: whatever parameters it has that JSON does not know
            if kind in table.shipped:
                raise
            schema = {"type": "object", "properties": {}, "description": (cls.__doc__ or "").strip()}
        definitions.update(schema.pop("$defs", {}))
        properties = {
            name: _named(value) for name, value in schema["properties"].items() if name not in table.filled_in
        }
        name = f"{table.family.replace(' ', '_')}.{kind}"
        definitions[name] = schema | {
            "title": kind,
            "description": schema.get("description", "").split("\n\n")[0],
            "properties": {"kind": {"const": kind}} | properties | (extra or {}),
            "required": ["kind", *(key for key in schema.get("required", []) if key not in table.filled_in)],
        }
        chosen.append({"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{name}"}})
    return {
        "type": "object",
        "description": f"a {table.family}",
        "required": ["kind"],
        "properties": {"kind": {"anyOf": kinds}},
        "allOf": chosen,
    }
