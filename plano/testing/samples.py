"""Values that fit a JSON schema, for replies and tool calls of a required form."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

_DEEP: Final = 8
"""The depth below which optional properties are left out, so that schemas which refer to themselves end."""

_DEEPEST: Final = 64
"""The depth below which everything is null, even a required property."""

_MAX_VALUES: Final = 2000
"""The most values in one sample."""

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
    """A simple value that fits the schema, with every property, the first value of an enum, one item in each array.

    It follows the keywords that schemas for tools and structured output use (types, properties, enum, const, `anyOf`,
    local `$ref`, lower bounds), and no others. A keyword with an invalid value is ignored.
    """
    return _Sampler(msgspec.json.decode(schema) if schema is not None else {"type": "object"}).value()


class _Sampler:
    """Makes one value. A short schema can ask for a huge one, so the number of values in it is bounded."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_VALUES

    def value(self) -> Any:
        return self._value(self._root, 0)

    def _value(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return None
        if not isinstance(schema, dict):
            return "demo"
        if "$ref" in schema:
            return self._value(_resolve(str(schema["$ref"]), self._root), depth + 1) if depth < 2 * _DEEP else None
        for given in ("const", "default"):
            if given in schema:
                return schema[given]
        if enum := _list(schema, "enum"):
            return enum[0]
        for choice in ("anyOf", "oneOf", "allOf"):
            if options := _list(schema, choice):
                return self._value(_chosen(options, depth), depth + 1)
        return self._typed(_type_of(schema), schema, depth)

    def _typed(self, kind: str, schema: dict[str, Any], depth: int) -> Any:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            least = schema.get("minItems")
            if not isinstance(least, int):
                least = 0 if depth >= _DEEP else 1
            return [self._value(schema.get("items"), depth + 1) for _ in range(min(least, self._left))]
        if kind in ("integer", "number"):
            return schema.get("minimum", _SCALARS[kind])
        format_ = schema.get("format")
        if kind == "string" and isinstance(format_, str):
            return _FORMATS.get(format_, _SCALARS[kind])
        return _SCALARS.get(kind)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties"), _list(schema, "required")
        if not isinstance(properties, dict):
            return {}
        return {
            name: self._value(inner, depth + 1)
            for name, inner in properties.items()
            if name in required or depth < _DEEP
        }


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def _type_of(schema: dict[str, Any]) -> str:
    found = schema.get("type")
    if isinstance(found, list):
        found = next((name for name in found if name != "null"), "null")
    if isinstance(found, str):
        return found
    return "object" if "properties" in schema else "string"


def _chosen(options: list[Any], depth: int) -> Any:
    """The first option that is not null; below `_DEEP`, null if it is allowed, so that nested lists end."""
    nulls = [option for option in options if isinstance(option, dict) and option.get("type") == "null"]
    others = [option for option in options if option not in nulls]
    return (nulls or others)[0] if depth >= _DEEP else (others or nulls)[0]


def _resolve(reference: str, root: Any) -> Any:
    """The schema at a local reference (`#/$defs/Item`, with the escapes of RFC 6901); {} if there is none."""
    found = root
    for step in reference.lstrip("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found
