"""Reads and writes a complete reply.

Source: API reference, "Create a Message", response. Replies are read leniently, because they come from an upstream:
fields may be missing or new, and only a body that is not a reply at all is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any

import msgspec
from msgspec.structs import replace

from plano.conversation import (
    NO_EXTRAS,
    Audio,
    Citation,
    Conversation,
    Extras,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from plano.dialects import reading, web_search
from plano.dialects import signatures as seals
from plano.dialects.call_seals import sealed_id
from plano.dialects.custom_tools import wrap
from plano.dialects.fields import ABSENT, NULL, OBJECT, OBJECTS, RAWS, STRING, Fields, Object, empty, own, raw_of
from plano.dialects.finish import failure, is_unknown, kept, read_finish, silent
from plano.dialects.messages.errors import misplaced_error
from plano.dialects.messages.finish import refuses, write_finish
from plano.dialects.messages.read_content import call_extras, read_citations, read_thinking
from plano.dialects.messages.usage import read_usage, usage_object
from plano.dialects.messages.write_content import input_of, tool_id
from plano.dialects.reply_ids import reply_id
from plano.errors import UpstreamProtocolError
from plano.losses import Losses

PREFIX = "msg_"
"""The prefix of a reply's id."""


# --- reading -------------------------------------------------------------------------------------


def read_reply(body: bytes) -> Reply:
    """Read a complete reply; see `plano.dialects.codec.Codec`."""
    fields = Fields(reading.upstream(OBJECT, body), "")
    return reading.upstreams(_read_reply, fields, body)


def _read_reply(fields: Fields, body: bytes) -> Reply:
    if fields.take("type", STRING) == "error" or not empty(fields.found.pop("error", ABSENT)):
        raise misplaced_error(body)
    blocks = fields.take("content", OBJECTS)
    if blocks is None:
        raise UpstreamProtocolError("The upstream's answer is not a reply of the messages API.")
    parts = tuple(read_block(Fields(block, f"content[{n}]")) for n, block in enumerate(blocks))
    called = any(isinstance(part, ToolCall) for part in parts)
    id_, model = fields.take("id", STRING), fields.take("model", STRING)
    reason = fields.take("stop_reason", STRING)
    error = silent(reason) if not parts and is_unknown(reason) else failure(reason)
    if error is not None:
        raise copy(error)  # an error that is raised holds this frame
    stop_sequence, usage = fields.take("stop_sequence", STRING), read_usage(fields.raw("usage"))
    return Reply(
        id=id_ or "",
        model=model or "",
        parts=parts,
        finish=read_finish(reason, called=called),
        stop_sequence=stop_sequence or None,
        usage=usage,
        extras=reply_extras(fields.found | kept(reason, "stop_reason")),
    )


def reply_extras(found: Object) -> Extras:
    """The fields that are left of a reply, or of the message in `message_start`, as extras."""
    kept = {name: raw for name, raw in found.items() if name != "role" and raw != NULL}
    return {"messages": kept} if kept else NO_EXTRAS


def read_block(block: Fields) -> Part:
    """Read a block of an upstream's reply."""
    whole = dict(block.found)
    match block.take("type", STRING):
        case "text":
            text, citations = block.take("text", STRING), block.take("citations", RAWS)
            return Text(text=text or "", citations=read_citations(citations), extras=block.extras("messages"))
        case "tool_use":
            return _read_call(block)
        case "thinking":
            text, signature = block.take("thinking", STRING), block.take("signature", STRING)
            return own_thinking(text or "", signature)
        case "redacted_thinking":
            return RedactedThinking(data=block.take("data", STRING) or "")
        case type_:
            return Opaque(dialect="messages", type=type_ or "", raw=raw_of(whole))


def own_thinking(text: str, signature: str | None) -> Part:
    """Read thinking from an upstream. It may be another gateway, so a packed seal is unpacked as in a request."""
    part = read_thinking(text, signature)
    return replace(part, origin="messages") if isinstance(part, Thinking) and part.origin is None else part


def _read_call(block: Fields) -> ToolCall:
    id_, name, given = block.take("id", STRING), block.take("name", STRING), block.raw("input")
    arguments = bytes(given).decode("utf-8", "replace") if given is not None else "{}"
    return ToolCall(id=id_ or "", name=name or "", arguments=arguments, extras=call_extras(block))


# --- writing -------------------------------------------------------------------------------------


def write_reply(reply: Reply, asked: Conversation, losses: Losses) -> bytes:
    """Write a complete reply; see `plano.dialects.codec.Codec`."""
    if reply.logprobs is not None:
        losses.drop("reply.logprobs", "the messages API has none")
    losses.drop_extras(reply.extras, "messages", "reply.")
    body: dict[str, Any] = {
        "id": reply_id(reply.id, PREFIX),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _write_blocks(reply.parts, losses),
        "stop_reason": own(reply.extras, "messages").get("stop_reason")
        or write_finish(reply.finish, refused=refuses(reply.parts)),
        "stop_sequence": reply.stop_sequence,
        "usage": usage_object(reply.usage),
    }
    for name, value in own(reply.extras, "messages").items():
        body.setdefault(name, value)
    return msgspec.json.encode(body)


def _write_blocks(parts: Iterable[Part], losses: Losses) -> list[Any]:
    blocks = (_write_block(part, losses) for whole in parts for part in _in_blocks(whole))
    return [block for block in blocks if block is not None]


def _in_blocks(part: Part) -> tuple[Part, ...]:
    """The part, or the parts that stand for it here."""
    return (web_search.as_blocks(part) if isinstance(part, Opaque) else ()) or (part,)


def _write_block(part: Part, losses: Losses) -> Any:
    """The block for a part; None for a part that is empty or cannot be said."""
    match part:
        case Text():
            return _write_text(part, losses) if part.text else None
        case Refusal():
            return {"type": "text", "text": part.text} if part.text else None
        case ToolCall():
            arguments = wrap(part.arguments) if part.kind == "custom" else part.arguments
            return {**call_block(part), "input": input_of(arguments, losses, "reply.tool_calls.arguments")}
        case Thinking():
            return {
                "type": "thinking",
                "thinking": part.text,
                "signature": signature(part),
                **own(part.extras, "messages"),
            }
        case RedactedThinking():
            return {"type": "redacted_thinking", "data": part.data, **own(part.extras, "messages")}
        case Opaque(dialect="messages"):
            return part.raw
        case Opaque():
            losses.drop("reply.content", f"only the {part.dialect} API has `{part.type}`")
            return None
        case Audio():
            losses.drop("reply.audio", "the messages API has no audio; its transcript is sent as text")
            return {"type": "text", "text": part.transcript} if part.transcript else None
    losses.drop("reply.content", "the messages API has no such content in a reply")
    return None


def _write_text(part: Text, losses: Losses) -> dict[str, Any]:
    losses.drop_extras(part.extras, "messages", "reply.")
    block = {"type": "text", "text": part.text, **own(part.extras, "messages")}
    if part.citations:
        found = [citation_object(citation) for citation in part.citations]
        block["citations"] = [citation for citation in found if citation is not None]
        if None in found:
            losses.drop("reply.annotations", "the messages API has no citations of this kind")
    return block


def citation_object(citation: Citation) -> Any:
    """Write a citation; None for one that this dialect cannot say."""
    if citation.dialect == "messages" and citation.raw is not None:
        return citation.raw
    if citation.url is None:
        return None
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": citation.quote or "",
        "encrypted_index": "",
    }


def call_block(part: ToolCall) -> dict[str, Any]:
    """A `tool_use` block whose input is still empty."""
    id_ = sealed_id(tool_id(part.id), part.extras)
    block: dict[str, Any] = {"type": "tool_use", "id": id_, "name": part.name, "input": {}}
    for name, value in own(part.extras, "messages").items():
        block.setdefault(name, value)
    return block


def signature(part: Thinking) -> str:
    """The `signature` of a thinking block, which is required.

    Thinking that another dialect's model did is marked even if it has no seal, so that it is not taken for Anthropic's
    when the client hands it back.
    """
    if part.seal is None and part.origin != "messages":
        part = replace(part, seal="", origin=part.origin or "chat")
    return seals.pack(part, "messages") or ""
