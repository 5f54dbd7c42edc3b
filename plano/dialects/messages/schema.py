"""Fits JSON schemas that were written for other APIs to structured outputs and strict tools of this one.

Anthropic enforces a part of JSON Schema, and refuses requests that use the rest ("Structured outputs", section "JSON
Schema limitations"). A keyword that it does not enforce is moved into the `description`, which the model reads.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.dialects import reading

_REFUSED_KEYWORDS = frozenset(
    {
        "contains",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maximum",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minContains",
        "minimum",
        "minLength",
        "minProperties",
        "multipleOf",
        "patternProperties",
        "uniqueItems",
    }
)
_FORMATS = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"})
_MAPS_OF_SCHEMAS = ("$defs", "definitions", "properties")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf")
_MAX_DEPTH = 100
"""The number of levels that are fitted; no real schema has more."""


def enforceable(schema: Raw) -> tuple[Raw, list[str]]:
    """The schema as this API takes it, and the keywords that were moved into descriptions, sorted."""
    try:
        found = msgspec.json.decode(schema)
    except reading.UNREADABLE:
        return schema, []
    in_words: set[str] = set()
    return Raw(msgspec.json.encode(_fitted(found, in_words, _MAX_DEPTH))), sorted(in_words)


def _fitted(schema: Any, in_words: set[str], levels: int) -> Any:
    """A schema and all inside it, down to `levels`; adds the moved keywords to `in_words`."""
    if not isinstance(schema, dict) or levels == 0:
        return schema
    fitted: dict[str, Any] = {}
    words: list[str] = []
    for keyword, value in schema.items():
        if _is_refused(keyword, value):
            words.append(f"{keyword}: {msgspec.json.encode(value).decode()}")
            in_words.add(keyword)
        elif keyword == "oneOf" and "anyOf" not in schema:
            fitted["anyOf"] = _each(value, in_words, levels)
        elif keyword in _LISTS_OF_SCHEMAS:
            fitted[keyword] = _each(value, in_words, levels)
        elif keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict):
            fitted[keyword] = {name: _fitted(inner, in_words, levels - 1) for name, inner in value.items()}
        elif keyword == "items":
            fitted[keyword] = _fitted(value, in_words, levels - 1)
        else:
            fitted[keyword] = value
    kind = schema.get("type")
    if kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind):
        fitted["additionalProperties"] = False
    if words:
        described = schema.get("description")
        fitted["description"] = (f"{described}\n\n" if isinstance(described, str) else "") + f"({', '.join(words)})"
    return fitted


def _each(value: Any, in_words: set[str], levels: int) -> Any:
    return [_fitted(inner, in_words, levels - 1) for inner in value] if isinstance(value, list) else value


def _is_refused(keyword: str, value: Any) -> bool:
    """Whether Anthropic refuses a schema that has this keyword with this value."""
    if keyword == "additionalProperties":
        return value is not False
    if keyword == "minItems":
        return value not in (0, 1)
    if keyword == "format":
        return value not in _FORMATS
    return keyword in _REFUSED_KEYWORDS
