"""Writes the content parts, tool calls and reasoning of a request's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import Audio, Document, Image, Opaque, Part, RedactedThinking, Refusal, Text, Thinking, ToolCall
from plano.dialects import data_uris
from plano.dialects.chat.thinking import write_details
from plano.dialects.custom_tools import wrap
from plano.dialects.fields import Object
from plano.losses import Losses, refuse

NO_CACHE = "the chat API has no cache marks"


def content_of(written: list[Any]) -> Any:
    """Written parts as `content`. A single plain text is written as a string, because not every server takes lists."""
    if not written:
        return ""
    if len(written) == 1 and isinstance(written[0], dict) and written[0].keys() == {"type", "text"}:
        return written[0]["text"]
    return written


def write_parts(parts: Iterable[Part], losses: Losses) -> list[Any]:
    """The content parts; fewer than `parts` if some cannot be said.

    Raises:
        UnsupportedConversion: this dialect cannot carry a part in any form.
    """
    written = (_write_part(part, losses) for part in parts)
    return [part for part in written if part is not None]


def _write_part(part: Part, losses: Losses) -> Any:
    match part:
        case Text():
            if part.citations:
                losses.drop("messages.citations", "the chat API takes no citations back")
            written: dict[str, Any] = {"type": "text", "text": part.text}
        case Image():
            written = {"type": "image_url", "image_url": _image(part)}
        case Document():
            written = _document(part)
        case Audio():
            written = {"type": "input_audio", "input_audio": {"data": part.data or "", "format": part.format or "wav"}}
        case Refusal():
            written = {"type": "refusal", "refusal": part.text}
        case Opaque():
            if part.dialect == "chat":
                return part.raw
            losses.drop("messages.content", f"only the {part.dialect} API has `{part.type}`")
            return None
        case _:
            losses.drop(f"messages.{type(part).__name__.lower()}", "the chat API has no room for it there")
            return None
    return with_own_fields(written, part, losses)


def with_own_fields(written: dict[str, Any], part: Part, losses: Losses) -> dict[str, Any]:
    """Add the part's unknown fields and its cache mark, if they came in a chat body; else report them."""
    losses.drop_extras(part.extras, "chat", "messages.")
    add_extras(written, part.extras.get("chat", {}))
    if part.cache is not None:
        if "chat" in part.extras:
            written["cache_control"] = part.cache
        else:
            losses.drop("messages.cache_control", NO_CACHE)
    return written


def add_extras(written: dict[str, Any], extras: Mapping[str, Raw]) -> None:
    """Add unknown fields. If a field has the name of an object that is in `written`, its members go into that
    object."""
    for name, value in extras.items():
        if isinstance(inner := written.get(name), dict):
            inner.update(msgspec.json.decode(value, type=Object))
        else:
            written[name] = value


def _image(image: Image) -> dict[str, Any]:
    if image.url is not None:
        url = image.url
    elif image.data is not None:
        url = data_uris.join(image.media_type or "image/png", image.data)
    else:
        raise refuse("messages.image", "the chat API takes no images by file id")
    return {"url": url} if image.detail is None else {"url": url, "detail": image.detail}


def _document(document: Document) -> dict[str, Any]:
    if document.text is not None:
        return {"type": "text", "text": document.text}
    file: dict[str, Any] = {}
    if document.data is not None:
        # OpenAI refuses `file_data` without a name, though its reference does not require one.
        file["filename"] = document.name or _name_for(document.media_type)
        media_type = document.media_type
        file["file_data"] = document.data if media_type is None else data_uris.join(media_type, document.data)
    elif document.file_id is None:
        raise refuse("messages.document", "the chat API takes no documents by URL")
    elif document.name is not None:
        file["filename"] = document.name
    if document.file_id is not None:
        if "messages" in document.extras:
            raise refuse("messages.document", "a file id means something to the vendor that gave it alone")
        file["file_id"] = document.file_id
    return {"type": "file", "file": file}


def _name_for(media_type: str | None) -> str:
    """A file name with the ending of this media type."""
    subtype = (media_type or "application/pdf").rpartition("/")[2]
    return f"document.{subtype if subtype.isalnum() else 'bin'}"


def write_call(call: ToolCall, losses: Losses, *, customs: frozenset[str]) -> dict[str, Any]:
    """A tool call of an assistant message. `customs` are the names of tools that may be written as custom tools."""
    losses.drop_extras(call.extras, "chat", "messages.tool_calls.")
    if call.cache is not None:
        losses.drop("messages.cache_control", NO_CACHE)
    native = call.kind == "custom" and (call.name in customs or "chat" in call.extras)
    return call_object(call, kind="custom" if native else "function")


def call_object(call: ToolCall, *, kind: str) -> dict[str, Any]:
    """A call as it stands in `tool_calls`, with the unknown fields that an upstream of this dialect gave it."""
    if kind == "custom":
        inner = {"name": call.name, "input": call.arguments}
    else:
        inner = {"name": call.name, "arguments": wrap(call.arguments) if call.kind == "custom" else call.arguments}
    written = {"id": call.id, "type": kind, kind: inner}
    add_extras(written, call.extras.get("chat", {}))
    return written


def write_thinking(parts: Iterable[Thinking | RedactedThinking], losses: Losses) -> dict[str, Any]:
    """The reasoning fields of an assistant message, for an upstream.

    Written are reasoning of this dialect, reasoning that came in a chat body, and reasoning without a seal. The text
    is `reasoning_content`, which most servers understand; the row of a model may move it (`Takes.thoughts`).
    """
    texts: list[str] = []
    details: list[Any] = []
    for part in parts:
        if part.extras and "chat" in part.extras:
            details += write_details(part)
            texts += [part.text] if isinstance(part, Thinking) else []
        elif isinstance(part, RedactedThinking):
            losses.drop("messages.redacted_thinking", "only the messages API has it")
        elif part.origin in (None, "chat"):
            texts.append(part.text)
            details += write_details(part)
        else:
            losses.drop("messages.thinking", f"its seal means something to the {part.origin} API alone")
    text = "".join(texts)
    fields: dict[str, Any] = {}
    if text:
        fields["reasoning_content"] = text
    if details:
        fields["reasoning_details"] = details
    return fields
