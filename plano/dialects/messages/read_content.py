"""Reads the content blocks of a request's messages.

Source: API reference, Messages, `messages.content`. A block that only this dialect has, or of an unknown type, becomes
an `Opaque` part, which is written as it was read.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from plano.conversation import (
    Citation,
    Document,
    Extras,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from plano.dialects import call_seals, reading, web_search
from plano.dialects import signatures as seals
from plano.dialects.content import Readers
from plano.dialects.content import read_parts as content_parts
from plano.dialects.deferred_tools import REFERENCE
from plano.dialects.fields import BOOLEAN, CONTENT, NULL, RAWS, STRING, Fields, Object, raw_of

FROM_MESSAGES: Extras = {"messages": {}}
"""Marks a value that was read from this dialect, where the neutral model cannot say that otherwise: a file id is this
vendor's, a system message stood among the others. It holds no field."""


def read_parts(content: str | list[Object], path: str) -> tuple[Part, ...]:
    """The parts of a message's or a tool result's `content`; a string is short for one text block."""
    return tuple(part for whole in content_parts(content, path, _READERS, "messages") for part in _as_given(whole))


def _as_given(part: Part) -> tuple[Part, ...]:
    """The part, or the part of another API from which it was written for this client."""
    given = web_search.handed_back(part) if isinstance(part, Opaque) else None
    return (part,) if given is None else given


def _text(block: Fields) -> Part:
    return Text(
        text=block.need("text", STRING),
        citations=read_citations(block.take("citations", RAWS)),
        cache=block.raw("cache_control"),
        extras=block.extras("messages"),
    )


def read_citations(found: list[Raw] | None) -> tuple[Citation, ...]:
    """The citations of a text block."""
    return tuple(read_citation(raw) for raw in found) if found else ()


class _Location(msgspec.Struct):
    type: str = ""
    url: str | None = None
    title: str | None = None
    cited_text: str | None = None


_LOCATION = msgspec.json.Decoder(_Location)


def read_citation(raw: Raw) -> Citation:
    """Read a citation, and keep the whole of it: the API takes a web search's citation back only with its
    `encrypted_index`."""
    try:
        location = _LOCATION.decode(raw)
    except reading.UNREADABLE:
        return Citation(dialect="messages", raw=raw)
    if location.type == "web_search_result_location" and location.url is not None:
        return Citation(url=location.url, title=location.title, quote=location.cited_text, dialect="messages", raw=raw)
    return Citation(quote=location.cited_text, title=location.title, dialect="messages", raw=raw)


def _image(block: Fields) -> Part | None:
    """Read an image; None if its source is of an unknown type."""
    source = block.need_nested("source")
    kind = source.need("type", STRING)
    cache = block.raw("cache_control")
    if kind == "base64":
        data, media_type = source.need("data", STRING), source.need("media_type", STRING)
        return Image(data=data, media_type=media_type, cache=cache, extras=block.extras("messages"))
    if kind == "url":
        return Image(url=source.need("url", STRING), cache=cache, extras=block.extras("messages"))
    if kind == "file":
        return Image(
            file_id=source.need("file_id", STRING), cache=cache, extras=block.extras("messages") or FROM_MESSAGES
        )
    return None


def _document(block: Fields) -> Part | None:
    """Read a document; None if its source has no neutral form."""
    whole = block.found.get("source", NULL)
    source = block.need_nested("source")
    kind = source.need("type", STRING)
    name, cache = block.take("title", STRING), block.raw("cache_control")
    if kind == "base64":
        data, media_type = source.need("data", STRING), source.need("media_type", STRING)
        return Document(data=data, media_type=media_type, name=name, cache=cache, extras=block.extras("messages"))
    if kind == "url":
        return Document(url=source.need("url", STRING), name=name, cache=cache, extras=block.extras("messages"))
    if kind == "file":
        file_id = source.need("file_id", STRING)
        return Document(file_id=file_id, name=name, cache=cache, extras=block.extras("messages") or FROM_MESSAGES)
    if kind == "text":
        return Document(text=source.need("data", STRING), name=name, cache=cache, extras=block.extras("messages"))
    text = text_of(source.found.get("content")) if kind == "content" else None
    if text is None:
        return None
    block.found["source"] = whole  # citations count its blocks, which the text alone does not show
    return Document(text=text, name=name, cache=cache, extras=block.extras("messages"))


def _search_result(block: Fields) -> Part | None:
    """Read a search result as a document, so that its text reaches other dialects too. Its own fields and its type are
    kept in the extras."""
    text = text_of(block.found.get("content"))
    if text is None:
        return None
    name, cache = block.need("title", STRING), block.raw("cache_control")
    block.found["type"] = raw_of("search_result")
    return Document(text=text, name=name, cache=cache, extras=block.extras("messages"))


def _tool_reference(block: Fields) -> Part:
    """Read a reference to a tool, which is the result of a client's own search for tools ("Tool search tool"), as a
    text that names the tool. Without it the result would be empty in other dialects."""
    whole = {"type": raw_of(REFERENCE), **block.found}
    name, cache = block.need("tool_name", STRING), block.raw("cache_control")
    return Text(text=reference_text(name), cache=cache, extras={"messages": {REFERENCE: raw_of(whole)}})


def reference_text(name: str) -> str:
    """The text for a reference to the tool `name`."""
    return f"Tool: {name}"


class _TextBlock(msgspec.Struct):
    type: str
    text: str | None = None


_TEXT_BLOCKS = msgspec.json.Decoder(str | list[_TextBlock])


def text_of(content: Raw | None) -> str | None:
    """The text of `content`, with a line break between blocks; None if a block is not a text."""
    if content is None:
        return None
    try:
        blocks = _TEXT_BLOCKS.decode(content)
    except reading.UNREADABLE:
        return None
    if isinstance(blocks, str):
        return blocks
    texts = [block.text for block in blocks if block.text is not None]
    return "\n".join(texts) if len(texts) == len(blocks) else None


def _tool_use(block: Fields) -> Part:
    (id_, sealed), name = call_seals.opened(block.need("id", STRING)), block.need("name", STRING)
    given = block.raw("input")
    cache = block.raw("cache_control")
    return ToolCall(
        id=id_,
        name=name,
        arguments=bytes(given).decode() if given is not None else "{}",
        cache=cache,
        extras={**sealed, **call_extras(block)},
    )


def call_extras(block: Fields) -> Extras:
    """A call's unknown fields.

    `extra_content` becomes the chat dialect's: a chat upstream wants it back with the call, and some clients of this
    dialect got it so from other gateways.
    """
    carried = block.raw(call_seals.FIELD)
    rest = block.extras("messages")
    return rest if carried is None else {**rest, "chat": {call_seals.FIELD: carried}}


def _tool_result(block: Fields) -> Part:
    call_id = call_seals.own_id(block.need("tool_use_id", STRING))
    content = block.take("content", CONTENT)
    return ToolResult(
        call_id=call_id,
        parts=read_parts(content, block.at("content")) if content is not None else (),
        is_error=block.take("is_error", BOOLEAN),
        cache=block.raw("cache_control"),
        extras=block.extras("messages"),
    )


def _thinking(block: Fields) -> Part:
    text = block.need("thinking", STRING)
    return read_thinking(text, block.take("signature", STRING))


def read_thinking(text: str, signature: str | None) -> Part:
    """A thinking block; its signature may be a packed seal of another dialect."""
    if signature is None:
        return Thinking(text=text)
    part = seals.unpack(signature, text, "messages")
    if isinstance(part, Thinking) and not part.seal and part.origin != "messages":
        return msgspec.structs.replace(part, seal=None)
    return part


def _redacted_thinking(block: Fields) -> Part:
    return RedactedThinking(data=block.need("data", STRING))


_READERS: Readers = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    REFERENCE: _tool_reference,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
}
