"""The schema of Open Responses (2026-04-24), in `open_responses.json`, and a check of JSON against it.

Source: openresponses/openresponses, `public/openapi/openapi.json`. The notation: `A | B` is one of several types, `'a'`
a string with this value, `[A]` a list, a name the schema of this name, and `?` after a field means that it may be
absent. Fields that a schema does not name are allowed, as they are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("open_responses.json").read_bytes())

_TYPES: dict[str, Any] = {"string": str, "boolean": bool, "object": dict, "null": type(None), "any": object}


def faults(value: Any, schema: Any, path: str = "$") -> list[str]:
    """The places where a value does not fit a schema."""
    return list(_faults(value, schema, path))


def _faults(value: Any, schema: Any, path: str) -> Iterator[str]:
    if isinstance(schema, list):
        if not isinstance(value, list):
            yield f"{path}: no list"
            return
        for n, entry in enumerate(value):
            yield from _faults(entry, schema[0], f"{path}[{n}]")
    elif isinstance(schema, dict):
        yield from _object_faults(value, schema, path)
    elif " | " in schema:
        found = [faults(value, one, path) for one in schema.split(" | ")]
        if all(found):
            yield from min(found, key=len)
    elif schema in SCHEMAS:
        yield from _faults(value, SCHEMAS[schema], path)
    elif not _is(value, schema):
        yield f"{path}: {value!r} is no {schema}"


def _object_faults(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: no object"
        return
    for name, inner in schema.items():
        field = name.removesuffix("?")
        if field in value:
            yield from _faults(value[field], inner, f"{path}.{field}")
        elif name == field:
            yield f"{path}.{field}: missing"


def _is(value: Any, type_: str) -> bool:
    if type_.startswith("'"):
        return bool(value == type_.strip("'"))
    if type_ in ("integer", "number"):
        return type(value) is int or (type_ == "number" and type(value) is float)
    return isinstance(value, _TYPES[type_])


def event_faults(event: dict[str, Any]) -> list[str]:
    """The places where an event of a stream does not fit the schema of its type."""
    schema = SCHEMAS.get(f"event {event.get('type')}")
    return [f"$.type: {event.get('type')!r} is not known"] if schema is None else faults(event, schema)
