"""Reads and writes `text` and `reasoning`, two objects that hold several settings of the neutral model."""

from __future__ import annotations

from typing import Any

import msgspec

from plano.capabilities.efforts import effort_of
from plano.conversation import Conversation, Reasoning, ResponseFormat
from plano.dialects.fields import BOOLEAN, OBJECT, STRING, Fields, Object, decode, raw_of


def read_reasoning(reasoning: Fields | None) -> Reasoning | None:
    """Read `reasoning`; None if it is absent or empty."""
    if reasoning is None:
        return None
    found = Reasoning(
        effort=reasoning.take("effort", STRING),
        summary=reasoning.take("summary", STRING),
        extras=reasoning.extras("responses"),
    )
    return None if found == Reasoning() else found


def write_reasoning(reasoning: Reasoning) -> dict[str, Any]:
    """The `reasoning` object, which may be empty: by default, models of this API think as much as they like.

    A budget of tokens becomes the smallest effort that allows for it. For `disabled` thinking no effort is written, and
    that is not a loss: models that do not think refuse every effort, also `none`.
    """
    fields: dict[str, Any] = {}
    effort = reasoning.effort
    if reasoning.mode == "disabled":
        effort = None
    elif effort is None and reasoning.budget is not None:
        effort = effort_of(reasoning.budget)
    if effort is not None:
        fields["effort"] = effort
    if reasoning.summary is not None:
        fields["summary"] = reasoning.summary
    return fields | dict(reasoning.extras.get("responses", {}))


def read_text(text: Fields | None) -> tuple[ResponseFormat | None, str | None, Object]:
    """The format, the verbosity, and the fields of `text` that only this API has, such as a format of another type."""
    if text is None:
        return None, None, {}
    raw = text.raw("format")
    verbosity = text.take("verbosity", STRING)
    left = text.rest()
    if raw is None:
        return None, verbosity, left
    format_ = Fields(decode(OBJECT, raw, text.at("format")), text.at("format"))
    type_ = format_.need("type", STRING)
    if type_ == "json_schema":
        return _read_schema(format_), verbosity, left
    if type_ == "text":
        return ResponseFormat(type="text"), verbosity, left
    if type_ == "json_object":
        return ResponseFormat(type="json_object"), verbosity, left
    return None, verbosity, {**left, "format": raw}


def _read_schema(format_: Fields) -> ResponseFormat:
    schema = format_.raw("schema")
    if schema is None:
        raise format_.missing("schema")
    return ResponseFormat(
        type="json_schema",
        name=format_.take("name", STRING),
        description=format_.take("description", STRING),
        schema=schema,
        strict=format_.take("strict", BOOLEAN),
    )


def write_text(conversation: Conversation) -> dict[str, Any]:
    """The `text` object; empty if the request sets nothing in it."""
    fields: dict[str, Any] = {}
    if conversation.response_format is not None:
        fields["format"] = _write_format(conversation.response_format)
    if conversation.verbosity is not None:
        fields["verbosity"] = conversation.verbosity
    own = conversation.extras.get("responses", {}).get("text")
    if own is not None:
        fields |= msgspec.json.decode(own, type=Object)
    return fields


def _write_format(format_: ResponseFormat) -> dict[str, Any]:
    """The `format` object. Its `name` is required and the messages API has none, so a format without one is called
    `response`."""
    if format_.type != "json_schema":
        return {"type": format_.type}
    fields: dict[str, Any] = {"type": "json_schema", "name": format_.name or "response"}
    if format_.description is not None:
        fields["description"] = format_.description
    fields["schema"] = format_.schema if format_.schema is not None else raw_of({})
    if format_.strict is not None:
        fields["strict"] = format_.strict
    return fields
