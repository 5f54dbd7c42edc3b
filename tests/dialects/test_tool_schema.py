"""Schemas of tools become one object, which Anthropic and OpenAI insist on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from plano.dialects.tool_schema import as_object
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.test_vendor_rules import sent

A, B = {"type": "string"}, {"type": "integer"}


def fold(schema: Any) -> tuple[Any, list[str]]:
    found, in_words = as_object(Raw(json.dumps(schema).encode()))
    return json.loads(bytes(found)), in_words


def said(keyword: str, value: Any) -> str:
    return f"({keyword}: {json.dumps(value, separators=(',', ':'))})"


NEED_A, NEED_B = {"required": ["a"]}, {"required": ["b"]}
DOG = {"type": "object", "properties": {"kind": {"const": "dog"}, "barks": B}, "required": ["kind", "barks"]}
CAT = {"type": "object", "properties": {"kind": {"const": "cat"}, "purrs": B}, "required": ["kind", "purrs"]}
REFERENCES = [{"$ref": "#/definitions/Dog"}, {"$ref": "#/definitions/Cat"}]
KINDS = {"anyOf": [{"const": "dog"}, {"const": "cat"}]}


@pytest.mark.parametrize(
    ("schema", "expected", "in_words"),
    [
        (
            {"type": "object", "properties": {"a": A, "b": A}, "anyOf": [NEED_A, NEED_B]},
            {"type": "object", "properties": {"a": A, "b": A}, "description": said("anyOf", [NEED_A, NEED_B])},
            ["anyOf"],
        ),
        (
            {"oneOf": [DOG, CAT], "description": "An animal."},
            {
                "type": "object",
                "properties": {"kind": KINDS, "barks": B, "purrs": B},
                "required": ["kind"],
                "description": "An animal.\n\n" + said("oneOf", [DOG, CAT]),
            },
            ["oneOf"],
        ),
        (
            {"allOf": [DOG, {"properties": {"name": A}, "required": ["name"], "additionalProperties": False}]},
            {
                "type": "object",
                "properties": {**DOG["properties"], "name": A},  # type: ignore[dict-item]
                "required": ["name", "kind", "barks"],
            },
            [],
        ),
        (
            {"properties": {"a": A}, "allOf": [{"properties": {"a": {"minLength": 1}}}]},
            {"type": "object", "properties": {"a": {"allOf": [{"minLength": 1}, A]}}},
            [],
        ),
        ({"properties": {"a": A}}, {"type": "object", "properties": {"a": A}}, []),
        ({"type": ["object", "null"], "properties": {"a": A}}, {"type": "object", "properties": {"a": A}}, []),
        ({"anyOf": [DOG, {"type": "null"}]}, DOG, []),
        (
            {"$ref": "#/$defs/Dog", "$defs": {"Dog": DOG}},
            {**DOG, "$defs": {"Dog": DOG}},
            [],
        ),
        (
            {
                "anyOf": [{"$ref": "#/definitions/Dog"}, {"$ref": "#/definitions/Cat"}],
                "definitions": {"Dog": DOG, "Cat": CAT},
            },
            {
                "type": "object",
                "properties": {"kind": KINDS, "barks": B, "purrs": B},
                "required": ["kind"],
                "definitions": {"Dog": DOG, "Cat": CAT},
                "description": said("anyOf", REFERENCES),
            },
            ["anyOf"],
        ),
        (
            {"anyOf": [{"oneOf": [DOG, CAT]}, {"properties": {"name": A}, "required": ["kind", "name"]}]},
            {
                "type": "object",
                "properties": {"kind": KINDS, "barks": B, "purrs": B, "name": A},
                "required": ["kind"],
                "description": said(
                    "anyOf", [{"oneOf": [DOG, CAT]}, {"properties": {"name": A}, "required": ["kind", "name"]}]
                ),
            },
            ["anyOf"],
        ),
        (
            {"type": "object", "properties": {"a": A}, "not": NEED_B, "enum": [{"a": "x"}]},
            {
                "type": "object",
                "properties": {"a": A},
                "description": '(enum: [{"a":"x"}], not: {"required":["b"]})',
            },
            ["enum", "not"],
        ),
        ({}, {"type": "object", "properties": {}}, []),
        (True, {"type": "object", "properties": {}}, []),
        (False, False, []),
        ({"type": "array", "items": A}, {"type": "array", "items": A}, []),
        ({"$ref": "#/nowhere"}, {"type": "object"}, []),
        ({"$ref": "https://example.com/schema"}, {"type": "object"}, []),
        ({"properties": 1, "required": 1, "anyOf": 1, "allOf": {}}, None, ["anyOf"]),
        ({"properties": {"a": A}, "required": [1, "a"], "anyOf": [1, {"required": 5}]}, None, []),
    ],
)
def test_a_schema_becomes_one_object(schema: Any, expected: Any, in_words: list[str]) -> None:
    found, words = fold(schema)
    assert words == in_words
    if expected is None:
        assert found["type"] == "object"
        assert "anyOf" not in found
    else:
        assert found == expected


def test_an_object_keeps_its_bytes() -> None:
    schema = Raw(b'{ "properties": {"a": {"anyOf": [1.50]}}, "type": "object" }')
    assert as_object(schema) == (schema, [])


def test_references_that_lead_back_come_to_an_end() -> None:
    found, _ = fold({"anyOf": [{"$ref": "#"}, {"$ref": "#"}, DOG], "allOf": [{"$ref": "#"}]})
    assert found["properties"]["barks"] == B


def test_long_alternatives_are_said_by_their_names() -> None:
    wide = [
        {"properties": {f"p{n}": {"type": "string", "description": "x" * 900}}, "required": [f"p{n}"]} for n in range(3)
    ]
    found, _ = fold({"anyOf": wide})
    expected = [{"properties": [f"p{n}"], "required": [f"p{n}"]} for n in range(3)]
    assert found["description"] == said("anyOf", expected)


def test_a_schema_nested_too_deeply_to_be_written_goes_as_it_is() -> None:
    for depth in range(100, 3000, 100):
        schema = Raw(b'{"anyOf":[' + b'{"properties":{"a":' * depth + b"{}" + b"}}" * depth + b"]}")
        found, _ = as_object(schema)
        assert bytes(found)[:1] == b"{"


UNION: dict[str, Any] = {"type": "object", "properties": {"a": A, "b": A}, "anyOf": [NEED_A, NEED_B]}


def tool_in(client: Dialect, schema: Any) -> dict[str, Any]:
    if client == "chat":
        return {"type": "function", "function": {"name": "f", "parameters": schema}}
    if client == "messages":
        return {"name": "f", "input_schema": schema}
    return {"type": "function", "name": "f", "parameters": schema}


def schema_of(tool: dict[str, Any]) -> Any:
    return tool.get("input_schema") or (tool.get("function") or tool)["parameters"]


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_union_reaches_other_apis_as_one_object(client: Dialect, upstream: Dialect) -> None:
    body, reported = await sent(client, upstream, tools=[tool_in(client, UNION)])
    (tool,) = body["tools"]
    if client == upstream:
        assert (schema_of(tool), reported) == (UNION, "")
    else:
        assert (schema_of(tool), reported) == (fold(UNION)[0], "tools.parameters")


@pytest.mark.parametrize("upstream", ["messages", "responses"])
async def test_a_schema_without_a_type_gets_one(upstream: Dialect) -> None:
    body, reported = await sent("chat", upstream, tools=[tool_in("chat", {"properties": {"a": A}})])
    assert (schema_of(body["tools"][0]), reported) == ({"type": "object", "properties": {"a": A}}, "")


async def test_a_strict_tool_is_folded_before_it_is_made_strict() -> None:
    tool = tool_in("responses", UNION) | {"strict": True}
    body, reported = await sent("responses", "messages", tools=[tool])
    schema = schema_of(body["tools"][0])
    assert (schema["additionalProperties"], "anyOf" in schema, reported) == (False, False, "tools.parameters")


@pytest.mark.parametrize("schema", [None, {}, True])
async def test_no_schema_is_any_object_for_claude(schema: Any) -> None:
    body, reported = await sent("chat", "messages", tools=[tool_in("chat", schema)])
    assert (schema_of(body["tools"][0]), reported) == ({"type": "object", "properties": {}}, "")


def test_references_to_references_come_to_an_end() -> None:
    levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 3} for n in range(30)}
    found, in_words = fold({"$ref": "#/$defs/l0", "$defs": levels})
    assert (found["type"], in_words) == ("object", ["anyOf"])
