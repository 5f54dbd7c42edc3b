"""Reads items: the elements of a request's `input` and of a reply's `output`.

Source: API reference, "Responses", input and output items. Items and content parts that the neutral model does not have
become `Opaque` parts: calls of hosted tools, references, and unknown types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from plano.conversation import (
    NO_EXTRAS,
    Audio,
    Citation,
    Document,
    Extras,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from plano.dialects import call_seals, data_uris, reading, web_search
from plano.dialects import signatures as seals
from plano.dialects.fields import NULL, OBJECT, RAW_CONTENT, RAWS, STRING, Fields, decode, object_at, raw_of
from plano.dialects.responses import ids, summaries, tool_search

CONTENT = "content."
"""The prefix of an Opaque's type if it is a part of a message, and not an item of its own."""

OF_MESSAGE = "message."
"""The prefix of a message item's own fields, in the extras of its first part."""

PARAGRAPH = "\n\n"
"""The text between the parts of one item's reasoning."""

ItemKind = Literal["message", "reasoning", "call", "result", "tools", "other"]


class Item(NamedTuple):
    """An item as parts. `extras` has the fields of a message item; those of all other items are in their parts."""

    kind: ItemKind
    role: Role
    parts: tuple[Part, ...]
    extras: Extras = NO_EXTRAS


def read_item(raw: Raw, path: str) -> Item:
    """Read an item of a request.

    Raises:
        InvalidRequest: a field has a wrong type; `param` is its path.
    """
    fields = decode(OBJECT, raw, path)
    if "id" in fields and ids.is_minted(bytes(fields["id"])):
        if reading.maybe(STRING, fields.get("type", NULL)) == web_search.CALL:
            return Item("other", "assistant", ())  # another vendor's search, which no upstream takes back
        del fields["id"]
    return _read(raw, Fields(fields, path), _READERS)


def read_output(raw: Raw, path: str) -> Item:
    """Like `read_item`, for an item that an upstream wrote. Its ids and seals are the upstream's, even if they look
    marked."""
    return _read(raw, object_at(raw, path), _OUTPUT_READERS)


def _read(raw: Raw, item: Fields, readers: dict[str, Callable[[Fields], Item | None]]) -> Item:
    """Read an item by the reader of its type; an item of another type is opaque."""
    type_ = item.take("type", STRING)
    if type_ is None:
        type_ = _type_of_untyped(item)
    reader = readers.get(type_)
    found = reader(item) if reader is not None else None
    return found if found is not None else _opaque(raw, type_)


def _type_of_untyped(item: Fields) -> str:
    """The type of an item without one: `{"role", "content"}` is a message, and `{"id"}` a reference."""
    left = item.rest()
    if "role" in left:
        return "message"
    if "id" in left and len(left) == 1:
        return "item_reference"
    raise item.missing("type")


def _opaque(raw: Raw, type_: str) -> Item:
    """An item that only this dialect has, on the side that its type says: outputs are the user's."""
    role: Role = "user" if type_.endswith(("_output", "_response")) else "assistant"
    return Item("other", role, (Opaque(dialect="responses", type=type_, raw=raw),))


# --- messages --------------------------------------------------------------------------------------


def _message(item: Fields) -> Item:
    """Read a message item."""
    role = item.need("role", _ROLE)
    content = item.need("content", RAW_CONTENT)
    item_id = item.take("id", STRING)
    item.take("status", STRING)
    extras = item.extras("responses")
    if role != "assistant":
        return Item("message", role, read_content(content, item.at("content")), extras)
    parts = read_content(content, item.at("content"), item_id)
    return Item("message", role, _with_message_fields(parts, extras))


def _with_message_fields(parts: tuple[Part, ...], extras: Extras) -> tuple[Part, ...]:
    """The parts of a message item with its fields (`phase`) on the first of them, because one turn of the assistant may
    hold several message items."""
    fields = extras.get("responses")
    if not fields or not parts:
        return parts
    first = parts[0]
    own = dict(first.extras.get("responses", {})) | {OF_MESSAGE + name: raw for name, raw in fields.items()}
    return (replace(first, extras={**first.extras, "responses": own}), *parts[1:])


_ROLE: msgspec.json.Decoder[Role] = msgspec.json.Decoder(Role)


def read_content(content: str | list[Raw], path: str, item_id: str | None = None) -> tuple[Part, ...]:
    """Read the content of a message or of a tool's output."""
    if isinstance(content, str):
        return (Text(text=content, item_id=item_id),)
    return tuple(read_part(raw, f"{path}[{index}]", item_id) for index, raw in enumerate(content))


def read_part(raw: Raw, path: str, item_id: str | None = None) -> Part:
    """Read one element of `content`."""
    part = object_at(raw, path)
    type_ = part.need("type", STRING)
    if type_ in _TEXT_TYPES:
        return _text(part, item_id)
    if type_ == "refusal":
        return Refusal(text=part.need("refusal", STRING), item_id=item_id, extras=part.extras("responses"))
    if type_ == "input_image":
        return _image(part)
    if type_ == "input_file":
        return _file(part)
    if type_ == "input_audio":
        return _audio(part)
    return Opaque(dialect="responses", type=CONTENT + type_, raw=raw)


_TEXT_TYPES = frozenset({"input_text", "output_text", "text"})


def _text(part: Fields, item_id: str | None) -> Text:
    text = part.need("text", STRING)
    annotations = part.take("annotations", RAWS)
    part.raw("logprobs")  # the next turn does not depend on them
    return Text(
        text=text,
        citations=tuple(read_annotation(raw) for raw in annotations or ()),
        item_id=item_id,
        extras=part.extras("responses"),
    )


class _UrlCitation(msgspec.Struct, tag_field="type", tag="url_citation"):
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


_URL_CITATION = msgspec.json.Decoder(_UrlCitation)


def read_annotation(raw: Raw) -> Citation:
    """Read one of `annotations`; one of an unknown kind is kept as it is."""
    found = reading.maybe(_URL_CITATION, raw)
    if found is None:
        return Citation(dialect="responses", raw=raw)
    return Citation(url=found.url, title=found.title, start=found.start_index, end=found.end_index)


def _image(part: Fields) -> Image:
    url = part.take("image_url", STRING)
    media_type, data = data_uris.split(url or "")
    return Image(
        url=url if data is None else None,
        data=data,
        media_type=media_type,
        file_id=part.take("file_id", STRING),
        detail=part.take("detail", STRING),
        extras=part.extras("responses"),
    )


def _file(part: Fields) -> Document:
    """Read a file. `file_data` is a data URI, or base64 alone (API reference, `input_file`)."""
    found = part.take("file_data", STRING)
    media_type, data = data_uris.split(found or "")
    return Document(
        url=part.take("file_url", STRING),
        data=data if data is not None else found,
        media_type=media_type,
        file_id=part.take("file_id", STRING),
        name=part.take("filename", STRING),
        extras=part.extras("responses"),
    )


def _audio(part: Fields) -> Audio:
    audio = part.need_nested("input_audio")
    return Audio(data=audio.need("data", STRING), format=audio.take("format", STRING), extras=part.extras("responses"))


# --- reasoning, calls and their results ------------------------------------------------------------


class _ReasoningPart(msgspec.Struct):
    text: str


_REASONING_PARTS: msgspec.json.Decoder[list[_ReasoningPart]] = msgspec.json.Decoder(list[_ReasoningPart])


def _reasoning(item: Fields, *, upstreams: bool = False) -> Item | None:
    """Read a reasoning item.

    None for an item that has an id, and neither text nor seal: it only refers to reasoning that the upstream keeps.
    Without an id, or with an id that plano made up, such an item has no parts.
    """
    item_id = item.take("id", STRING)
    item.take("status", STRING)
    summary_raw, content_raw = item.raw("summary"), item.raw("content")
    summary = _reasoning_text(summary_raw, item.at("summary"))
    content = _reasoning_text(content_raw, item.at("content"))
    seal = item.take("encrypted_content", STRING)
    if not summary and not content and seal is None:
        return None if item_id is not None else Item("reasoning", "assistant", ())
    text = PARAGRAPH.join(content or summary)
    fields = item.rest()
    if len(summary) > 1 or (summary and content):
        fields["summary"] = summary_raw or raw_of([])
    if len(content) > 1:
        fields["content"] = content_raw or raw_of([])
    if upstreams:
        part: Thinking | RedactedThinking = Thinking(text=text, seal=seal, origin="responses")
    else:
        part = Thinking(text=text) if seal is None else seals.unpack(seal, text, "responses")
    if isinstance(part, Thinking):
        part = replace(
            part,
            summary=not content if part.origin in (None, "responses") else part.summary,
            item_id=part.item_id or item_id,
            extras={"responses": fields} if fields else NO_EXTRAS,
        )
    return Item("reasoning", "assistant", (part,))


def _reasoning_text(raw: Raw | None, path: str) -> list[str]:
    return [] if raw is None else [part.text for part in decode(_REASONING_PARTS, raw, path)]


def _call(item: Fields, kind: Literal["function", "custom"], field: str) -> Item:
    """Read a call, whose arguments are in `field`."""
    item_id = item.take("id", STRING)
    call_id = item.take("call_id", STRING) or item_id
    if call_id is None:
        raise item.missing("call_id")
    name = item.need("name", STRING)
    arguments = item.need(field, STRING)
    item.take("status", STRING)
    call_id, sealed = call_seals.opened(call_id)
    handed_back = item.raw(call_seals.FIELD)
    extras = {**sealed, **item.extras("responses")}
    if handed_back is not None:
        extras["chat"] = {call_seals.FIELD: handed_back}
    part = ToolCall(id=call_id, name=name, arguments=arguments, kind=kind, item_id=item_id, extras=extras)
    return Item("call", "assistant", (part,))


def _result(item: Fields, kind: Literal["function", "custom"]) -> Item | None:
    """Read the output of a call; None if it has no `call_id`, and so answers no call of this conversation."""
    call_id = item.take("call_id", STRING)
    if call_id is None:
        return None
    output = item.need("output", RAW_CONTENT)
    item.take("id", STRING)
    item.take("status", STRING)
    parts = read_content(output, item.at("output"))
    return Item(
        "result",
        "user",
        (ToolResult(call_id=call_seals.own_id(call_id), parts=parts, kind=kind, extras=item.extras("responses")),),
    )


def _search(item: Fields) -> Item | None:
    """Read a call of the client's search for tools; None if OpenAI did the search."""
    item_id, call_id = item.take("id", STRING), item.take("call_id", STRING)
    if not tool_search.by_client(item) or call_id is None:
        return None
    item.take("status", STRING)
    arguments = tool_search.read_arguments(item)
    call_id, sealed = call_seals.opened(call_id)
    part = ToolCall(
        id=call_id,
        name=tool_search.NAME,
        arguments=arguments,
        kind="search",
        item_id=item_id,
        extras={**sealed, **item.extras("responses")},
    )
    return Item("call", "assistant", (part,))


def _found(item: Fields) -> Item | None:
    """Read what a search of the client's found; None if OpenAI did the search."""
    call_id = item.take("call_id", STRING)
    if not tool_search.by_client(item) or call_id is None:
        return None
    item.take("id", STRING)
    item.take("status", STRING)
    found = tool_search.found_in(item)
    call_id, said = call_seals.own_id(call_id), (Text(text=tool_search.summary(found)),)
    result = ToolResult(call_id=call_id, parts=said, kind="search", extras=item.extras("responses"))
    return Item("result", "user", (result,))


def _compaction(item: Fields) -> Item | None:
    """Read a compaction as a message of the user with the summary in it; None for one that another vendor made."""
    content = item.take("encrypted_content", STRING)
    if content is None or not content.startswith(summaries.SEALED):
        return None
    summary = summaries.opened(content)
    if summary is None:
        raise item.wrong("encrypted_content", "it is not as it was given out")
    return Item("message", "user", (Text(text=summaries.NOTE + summary),))


_READERS: dict[str, Callable[[Fields], Item | None]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": lambda item: _call(item, "function", "arguments"),
    "custom_tool_call": lambda item: _call(item, "custom", "input"),
    "function_call_output": lambda item: _result(item, "function"),
    "custom_tool_call_output": lambda item: _result(item, "custom"),
    tool_search.CALL: _search,
    tool_search.OUTPUT: _found,
    summaries.TYPE: _compaction,
    "additional_tools": lambda item: Item("tools", "developer", ()),
}

_OUTPUT_READERS = {
    **{type_: reader for type_, reader in _READERS.items() if type_ != summaries.TYPE},
    "reasoning": lambda item: _reasoning(item, upstreams=True),
}
