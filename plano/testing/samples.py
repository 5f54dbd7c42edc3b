"""A value that fits a JSON schema, for replies and tool calls that must have a form."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

_DEEP: Final = 8
"""Optional properties are left out below this depth, which ends what refers to itself."""

_SCALARS: Final[dict[str, Any]] = {"string": "demo", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_FORMATS: Final = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: Raw | None) -> Any:
    """The first value that comes to mind: every property, the first of an enum, one item in each array.

    It follows what schemas for tools and structured output use (types, properties, enum, const, `anyOf`,
    local `$ref`, lower bounds), and is not checked against the rest.
    """
    root = msgspec.json.decode(schema) if schema is not None else {"type": "object"}
    return _value(root, root, 0)


def _value(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return "demo"
    if "$ref" in schema:
        return _value(_resolve(str(schema["$ref"]), root), root, depth + 1) if depth < 2 * _DEEP else None
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return _value(_chosen(schema[choice], depth), root, depth)
    return _typed(_type_of(schema), schema, root, depth)


def _typed(kind: str, schema: dict[str, Any], root: Any, depth: int) -> Any:
    if kind == "object":
        required = set(schema.get("required", ()))
        properties = schema.get("properties") or {}
        return {
            name: _value(inner, root, depth + 1)
            for name, inner in properties.items()
            if name in required or depth < _DEEP
        }
    if kind == "array":
        least = schema.get("minItems", 0 if depth >= _DEEP else 1)
        return [_value(schema.get("items"), root, depth + 1) for _ in range(least)]
    if kind == "string" and schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    return schema.get("minimum", _SCALARS.get(kind, "demo")) if kind in ("integer", "number") else _SCALARS.get(kind)


def _type_of(schema: dict[str, Any]) -> str:
    found = schema.get("type")
    if isinstance(found, list):
        found = next((name for name in found if name != "null"), "null")
    if isinstance(found, str):
        return found
    return "object" if "properties" in schema else "string"


def _chosen(options: list[Any], depth: int) -> Any:
    """The first that is not null; deep down null, where that is allowed, so that lists of lists end."""
    nulls = [option for option in options if isinstance(option, dict) and option.get("type") == "null"]
    others = [option for option in options if option not in nulls]
    return (nulls or others)[0] if depth >= _DEEP else (others or nulls)[0]


def _resolve(reference: str, root: Any) -> Any:
    """A local reference (`#/$defs/Item`); {} where it leads nowhere (RFC 6901 escapes included)."""
    found = root
    for step in reference.lstrip("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found
