"""Writes the items that a request's history and a reply's output have in common.

Each function gives one JSON object as a dict, its keys in the order of the API reference's examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Raw

from plano.conversation import Citation, Extras, Refusal, Text, Thinking, ToolCall
from plano.dialects.responses import tool_search
from plano.dialects.responses.items import CONTENT, OF_MESSAGE

Status = Literal["in_progress", "completed", "incomplete"]


def own_fields(extras: Extras) -> dict[str, Raw]:
    """The part's own fields of this dialect, without those of the message item around it."""
    own = extras.get("responses")
    return {name: raw for name, raw in own.items() if not name.startswith(OF_MESSAGE)} if own else {}


def message_fields(extras: Extras) -> dict[str, Raw]:
    """The fields of the message item around a part (`phase`), which its first part keeps."""
    own = extras.get("responses")
    if not own:
        return {}
    return {name[len(OF_MESSAGE) :]: raw for name, raw in own.items() if name.startswith(OF_MESSAGE)}


def message(content: list[Any], *, id_: str | None, status: Status, fields: Mapping[str, Raw]) -> dict[str, Any]:
    """A message item of the assistant."""
    head: dict[str, Any] = {"type": "message"} if id_ is None else {"id": id_, "type": "message", "status": status}
    return {**head, "role": "assistant", "content": content, **fields}


def output_text(part: Text, logprobs: Any = None) -> dict[str, Any]:
    """A text of the assistant."""
    fields = {
        "type": "output_text",
        "text": part.text,
        "annotations": [found for c in part.citations if (found := annotation(c, len(part.text))) is not None],
    }
    if logprobs is not None:
        fields["logprobs"] = logprobs
    return fields | own_fields(part.extras)


def refusal(part: Refusal) -> dict[str, Any]:
    """A refusal of the assistant."""
    return {"type": "refusal", "refusal": part.text, **own_fields(part.extras)}


def annotation(citation: Citation, length: int) -> Any:
    """One of `annotations`; None for a citation that only another dialect can say. A citation without a place refers to
    the whole text, which is `length` characters long."""
    if citation.url is None:
        return citation.raw if citation.dialect == "responses" else None
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or "",
        "start_index": citation.start or 0,
        "end_index": citation.end if citation.end is not None else length,
    }


def is_raw(part: Thinking) -> bool:
    """Whether reasoning is written as `content` (`reasoning_text`) and not as `summary`.

    Reasoning that came in this dialect, which its id or its origin shows, keeps the form that it had. All other
    reasoning is written as a summary, because that is the form that clients of this API can show.
    """
    return not part.summary and (part.item_id is not None or part.origin == "responses")


def reasoning(part: Thinking, *, id_: str | None, seal: str | None) -> dict[str, Any]:
    """A reasoning item. Clients that keep their own history replay sealed items without ids, so `id_` may be None."""
    fields: dict[str, Any] = {} if id_ is None else {"id": id_}
    fields |= {"type": "reasoning", "summary": []}
    if part.text and is_raw(part):
        fields["content"] = [{"type": "reasoning_text", "text": part.text}]
    elif part.text:
        fields["summary"] = [{"type": "summary_text", "text": part.text}]
    if seal is not None:
        fields["encrypted_content"] = seal
    return fields | own_fields(part.extras)


def call(part: ToolCall, *, id_: str | None, status: Status) -> dict[str, Any]:
    """A call of a function, of a custom tool, or of a search for tools."""
    fields: dict[str, Any] = {} if id_ is None else {"id": id_}
    if part.kind == "search":
        return fields | tool_search.written_call(part.id, part.arguments, status) | own_fields(part.extras)
    if part.kind == "custom":
        fields |= {"type": "custom_tool_call", "call_id": part.id, "name": part.name, "input": part.arguments}
    else:
        fields |= {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
    if id_ is not None and part.kind == "function":
        fields["status"] = status
    return fields | own_fields(part.extras)


def content_type(opaque_type: str) -> bool:
    """Whether an Opaque part belongs into a message's content."""
    return opaque_type.startswith(CONTENT)
