"""Items in the form that clients list: each has an id and a status, and its content is in parts.

Source: API reference, "List input items" and "Conversations"; the SDK's ResponseItem and ConversationItem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from plano.dialects.responses.ids import MINTED

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "function_call_output": "fco",
    "custom_tool_call_output": "ctco",
    "tool_search_call": "tsc",
}

_STATUS = frozenset({"message", "function_call", "function_call_output"})
"""Types of items that must have a status."""

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_NAMELESS = re.compile(r"[^A-Za-z0-9]+")
_encode = msgspec.json.Encoder().encode


def named(items: Iterable[Raw], stem: str) -> list[tuple[str, Raw]]:
    """Pairs each item with its id. An item without one is named after `stem` and its place, so that it gets the same
    id every time."""
    stem = _NAMELESS.sub("", stem)
    return [_named(_OBJECT.decode(raw), stem, place) for place, raw in enumerate(items)]


def _named(item: dict[str, Any], stem: str, place: int) -> tuple[str, Raw]:
    type_ = item.setdefault("type", "message")
    id_ = item.get("id")
    if not isinstance(id_, str) or not id_:
        id_ = f"{_PREFIXES.get(type_, 'item')}{MINTED}{stem}_{place}"
    if type_ == "message":
        item["content"] = _content(item.get("content"), item.get("role"))
    status = {"status": "completed"} if type_ in _STATUS and not item.get("status") else {}
    return id_, Raw(_encode({**item, "id": id_, **status}))


def _content(content: Any, role: Any) -> Any:
    if isinstance(content, str):
        if role == "assistant":
            return [{"type": "output_text", "text": content, "annotations": []}]
        return [{"type": "input_text", "text": content}]
    if isinstance(content, list):
        return [_part(part) for part in content]
    return content


def _part(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") == "input_image":
        return {**part, "detail": part.get("detail") or "auto"}
    if isinstance(part, dict) and part.get("type") == "output_text":
        return {**part, "annotations": part.get("annotations") or []}
    return part
