"""JSON Schema of a scenario, made from the plug-ins' own parameters."""

import copy
from typing import Any

from pydantic import TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from simulator.plugins.fields import fields_of, is_of_each
from simulator.plugins.kinds import MODEL_TABLE, NESTED, RULE_TABLE, SCHEME_TABLE, Table
from simulator.scenario.limits import MOST_POINTS
from simulator.scenario.scenario import Scenario
from straggler_models.distributions import DISTRIBUTIONS

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
OF_EACH = "straggler model of each worker"


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
    definitions[OF_EACH] = _any_of(MODEL_TABLE, definitions, of_each=True)
    definitions["distribution"] = {"oneOf": [_distribution(*each, definitions) for each in DISTRIBUTIONS.items()]}
    rule, model = _any_of(RULE_TABLE, definitions), {"$ref": f"#/$defs/{MODEL_TABLE.family}"}
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


def _own(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of which each worker may have its own: a number may be a list of them, or a distribution."""
    if not any(one.get("type") in ("number", "integer") for one in (schema, *schema.get("anyOf", ()))):
        return schema
    one_of = [schema, {"type": "array", "items": {"type": "number"}}, {"$ref": "#/$defs/distribution"}]
    return {"anyOf": one_of, "description": schema.get("description", "")}


def _distribution(kind: str, cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = TypeAdapter(cls).json_schema()
    definitions.update(schema.pop("$defs", {}))
    return schema | {
        "title": kind,
        "properties": {"distribution": {"const": kind}} | schema["properties"],
        "required": ["distribution", *schema.get("required", [])],
    }


def _any_of(
    table: Table, definitions: dict[str, Any], extra: dict[str, Any] | None = None, *, of_each: bool = False
) -> dict[str, Any]:
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
        for name in [name for name, field in fields_of(cls).items() if is_of_each(field)]:
            properties[name]["$ref"] = f"#/$defs/{OF_EACH}"
        if of_each:
            properties = {name: _own(value) for name, value in properties.items()}
        name = f"{table.family.replace(' ', '_')}.{kind}{'.of_each' * of_each}"
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
