"""Writes the content blocks of a request's messages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from mimetypes import guess_type
from typing import Any

from msgspec import Raw

from plano.conversation import (
    Audio,
    Document,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from plano.dialects import reading
from plano.dialects.custom_tools import wrap
from plano.dialects.deferred_tools import REFERENCE, referred
from plano.dialects.fields import OBJECT, Object, own, raw_of
from plano.dialects.messages.read_content import reference_text, text_of
from plano.losses import Losses, refuse

_FOREIGN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_EMPTY_INPUT = Raw(b"{}")
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_ALSO_CALLED = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}


def write_parts(parts: Iterable[Part], losses: Losses) -> list[Any]:
    """The blocks; fewer than `parts` if some are empty or cannot be said.

    Raises:
        UnsupportedConversion: this dialect cannot carry a part in any form.
    """
    blocks = (_write_part(part, losses) for part in parts)
    return [block for block in blocks if block is not None]


def _write_part(part: Part, losses: Losses) -> Any:
    losses.drop_extras(part.extras, "messages", "messages.")
    match part:
        case Text():
            return _text(part, losses)
        case Image():
            return _image(part, losses)
        case Document():
            return _document(part)
        case ToolCall():
            return _tool_use(part, losses)
        case ToolResult():
            return _tool_result(part, losses)
        case Thinking():
            return _thinking(part, losses)
        case RedactedThinking():
            return {"type": "redacted_thinking", "data": part.data, **own(part.extras, "messages")}
        case Refusal():
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case Opaque():
            if part.dialect == "messages":
                return part.raw
            losses.drop("messages.content", f"only the {part.dialect} API has `{part.type}`")
            return None
        case Audio():
            raise refuse("messages.audio", "the messages API takes no audio")


def _finished(block: dict[str, Any], part: Part) -> dict[str, Any]:
    """Add the part's cache mark and unknown fields to its block."""
    if part.cache is not None:
        block["cache_control"] = part.cache
    for name, value in own(part.extras, "messages").items():
        if name != REFERENCE:
            block.setdefault(name, value)
    return block


def _reference(part: Text) -> Raw | None:
    """The reference to a tool that the text was read from; None if there is none, or the text was changed since."""
    kept = part.extras.get("messages", {}).get(REFERENCE)
    return kept if kept is not None and reference_text(referred(part)) == part.text else None


def _text(part: Text, losses: Losses) -> Any:
    if (reference := _reference(part)) is not None:
        return reference
    if not part.text.strip():
        return None  # the API refuses empty and blank text blocks
    block: dict[str, Any] = {"type": "text", "text": part.text}
    citations = [citation.raw for citation in part.citations if citation.dialect == "messages" and citation.raw]
    if len(citations) < len(part.citations):
        losses.drop("messages.citations", "the messages API only takes back citations of its own")
    if citations:
        block["citations"] = citations
    return _finished(block, part)


def _image(part: Image, losses: Losses) -> dict[str, Any]:
    if part.detail is not None and part.detail != "auto":
        losses.drop("messages.detail", "the messages API has one level of detail")
    if part.data is not None:
        source = {"type": "base64", "media_type": _image_type(part.media_type), "data": part.data}
    elif part.url is not None:
        source = {"type": "url", "url": part.url}
    else:
        source = {"type": "file", "file_id": _own_file(part)}
    return _finished({"type": "image", "source": source}, part)


def _image_type(said: str | None) -> str:
    """The media type as this API spells it.

    Raises:
        UnsupportedConversion: the API does not take images of this type.
    """
    media_type = (said or "image/png").lower()
    media_type = _ALSO_CALLED.get(media_type, media_type)
    if media_type not in _IMAGES:
        raise refuse("messages.image", f"the messages API takes JPEG, PNG, GIF and WebP, not {media_type}")
    return media_type


def _own_file(part: Image | Document) -> str:
    """The file id of a part.

    Raises:
        UnsupportedConversion: the file is stored with another vendor.
    """
    if part.file_id is None or "messages" not in part.extras:
        raise refuse("messages.file_id", "an uploaded file is only known to the vendor it was uploaded to")
    return part.file_id


def _document(part: Document) -> dict[str, Any]:
    kept = own(part.extras, "messages")
    if kept.get("type") is not None:
        return _search_result(part, kept)
    block: dict[str, Any] = {"type": "document", "source": _document_source(part, kept)}
    if part.name is not None:
        block["title"] = part.name
    return _finished(block, part)


def _document_source(part: Document, kept: Object) -> Any:
    """The source of a document; its text, data, URL or file id."""
    if part.text is not None:
        return _kept_source(part.text, kept) or _text_source(part.text)
    if part.data is not None:
        media_type = part.media_type or guess_type(part.name or "")[0]
        return _data_source(part.data, media_type or "application/pdf")
    if part.url is not None:
        return {"type": "url", "url": part.url}
    return {"type": "file", "file_id": _own_file(part)}


def _text_source(text: str) -> dict[str, Any]:
    return {"type": "text", "media_type": "text/plain", "data": text}


def _data_source(data: str, media_type: str) -> dict[str, Any]:
    """The source of a document with base64 data; plain text is decoded."""
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    if not media_type.startswith("text/"):
        raise refuse("messages.file", f"the messages API takes PDF and plain text, not {media_type}")
    try:
        return _text_source(base64.b64decode(data, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise refuse("messages.file", "its data is not text in base64") from None


def _kept_source(text: str, kept: Object) -> Raw | None:
    """The source that the text was read from; None if there is none, or the text was changed since."""
    source = kept.get("source")
    return source if source is not None and text_of(OBJECT.decode(source).get("content")) == text else None


def _search_result(part: Document, kept: Object) -> dict[str, Any]:
    """A search result, which was read as a document."""
    block: dict[str, Any] = {"type": "search_result", "title": part.name, **kept}
    if text_of(kept.get("content")) != part.text:
        block["content"] = [{"type": "text", "text": part.text}]
    if part.cache is not None:
        block["cache_control"] = part.cache
    return block


def tool_id(id_: str) -> str:
    """A call's id, with `_` for all characters that this API refuses (its pattern is `^[a-zA-Z0-9_-]+$`).

    The same id always becomes the same, so that results still find their calls.
    """
    return _FOREIGN_ID.sub("_", id_) or "_"


def _tool_use(part: ToolCall, losses: Losses) -> dict[str, Any]:
    arguments = wrap(part.arguments) if part.kind == "custom" else part.arguments
    block = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": input_of(arguments, losses)}
    return _finished(block, part)


def input_of(arguments: str, losses: Losses, field: str = "messages.tool_calls.arguments") -> Raw:
    """A call's arguments as `input`, which must be an object; the bytes stay as the model wrote them."""
    if not arguments.strip():
        return _EMPTY_INPUT
    if reading.is_object(arguments):
        return Raw(arguments.encode())
    losses.drop(field, "they are not a JSON object, which the messages API insists on; sent as `_raw`")
    return raw_of({"_raw": arguments})


def _tool_result(part: ToolResult, losses: Losses) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.call_id)}
    content = plain(write_parts(part.parts, losses))
    if content:
        block["content"] = content
    if part.is_error is not None:
        block["is_error"] = part.is_error
    return _finished(block, part)


def plain(blocks: list[Any]) -> Any:
    """The blocks as `content`; a string if they are one text block without other fields."""
    if len(blocks) == 1 and isinstance(blocks[0], dict) and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks


def _thinking(part: Thinking, losses: Losses) -> dict[str, Any] | None:
    if part.origin != "messages" or part.seal is None:
        losses.drop("messages.thinking", "the messages API only takes thinking back that it signed itself")
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.seal, **own(part.extras, "messages")}
