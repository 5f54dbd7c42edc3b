"""A complete reply, both ways. Source: API reference, Chat, "The chat completion object"."""

from __future__ import annotations

from copy import copy
from typing import Any

import msgspec
from msgspec import Raw, Struct

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
from plano.dialects import reading
from plano.dialects.chat.errors import NOT_A_REPLY, ended_in_error, in_band_error
from plano.dialects.chat.finish import read_finish, write_finish
from plano.dialects.chat.ids import REPLY, call_id
from plano.dialects.chat.read_content import read_annotation
from plano.dialects.chat.thinking import read_own, write_details
from plano.dialects.chat.tools import asks_for_functions
from plano.dialects.chat.usage import read_usage, write_usage
from plano.dialects.chat.write_content import call_object
from plano.dialects.custom_tools import unwrap
from plano.dialects.fields import ABSENT, OBJECT, present
from plano.dialects.reply_ids import reply_id
from plano.errors import UpstreamError, UpstreamProtocolError
from plano.losses import Losses

# --- reading ---


class ContentPart(Struct):
    """Mistral's reasoning models answer in parts."""

    type: str | None = None
    text: str | None = None
    thinking: list[ContentPart] | None = None


class Function(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Raw] | None = None  # a few servers send the object itself

    def written(self) -> str:
        """The arguments as text."""
        if isinstance(self.arguments, dict):
            return msgspec.json.encode(self.arguments).decode("utf-8", "replace")
        return self.arguments or ""


class Custom(Struct, gc=False):
    name: str | None = None
    input: str | None = None


class _Call(Struct):
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None


class _Audio(Struct):
    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: Raw = ABSENT


class _Message(Struct):
    content: str | list[ContentPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Raw] | None = None
    annotations: list[Raw] | None = None
    audio: _Audio | None = None
    images: Raw = ABSENT
    tool_calls: list[Raw] | None = None
    function_call: Function | None = None


class _Choice(Struct):
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Raw = ABSENT
    error: Raw = ABSENT


class _Reply(Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: Raw = ABSENT


class _Wrong(Struct):
    """What an error looks like: OpenAI's way, or older vLLM's."""

    error: Raw = ABSENT
    object: str | None = None


_REPLY = msgspec.json.Decoder(_Reply)
_WRONG = msgspec.json.Decoder(_Wrong)
_CALL = msgspec.json.Decoder(_Call)

KNOWN = frozenset({"id", "object", "model", "created", "choices", "usage", "obfuscation"})
"""Top-level fields of replies and chunks that are read, or say nothing. The others are kept as extras."""


def read_reply(body: bytes) -> Reply:
    return reading.upstreams(_read_reply, body)


def _read_reply(body: bytes) -> Reply:
    wrong = reading.upstream(_WRONG, body)
    if present(wrong.error):
        raise in_band_error(wrong.error)
    if wrong.object == "error":
        raise in_band_error(Raw(body))
    reply = reading.upstream(_REPLY, body)
    if not reply.choices:
        raise UpstreamProtocolError(NOT_A_REPLY)
    choice = reply.choices[0]
    if error := broken(choice.finish_reason, choice.error):
        raise copy(error)  # not what this frame holds
    if choice.message is None:
        raise UpstreamProtocolError(NOT_A_REPLY)
    parts = tuple(_parts(choice.message, reply.id or ""))
    called = any(isinstance(part, ToolCall) for part in parts)
    return Reply(
        id=reply.id or "",
        model=reply.model or "",
        created=seconds(reply.created),
        parts=parts,
        finish=read_finish(choice.finish_reason, called=called),
        usage=read_usage(reply.usage),
        logprobs=choice.logprobs if present(choice.logprobs) else None,
        extras=read_extras(body),
    )


def seconds(created: float | None) -> int | None:
    """A reply's time; None where it says none, or Azure's 0."""
    return int(created) if created and 0 < created < 2**53 else None


def broken(reason: str | None, error: Raw) -> UpstreamError | None:
    """The error of a choice that ended in one."""
    if present(error):
        return in_band_error(error)
    return ended_in_error(reason)


def read_extras(body: bytes) -> Extras:
    """The top-level fields that only this dialect has."""
    found = {
        name: value for name, value in reading.upstream(OBJECT, body).items() if name not in KNOWN and present(value)
    }
    return {"chat": found} if found else NO_EXTRAS


def _parts(message: _Message, reply: str) -> list[Part]:
    parts = read_own(message.reasoning_content or message.reasoning, message.reasoning_details or ())
    citations = tuple(read_annotation(raw) for raw in message.annotations or ())
    for part in content_parts(message.content):
        if citations and isinstance(part, Text):
            part, citations = msgspec.structs.replace(part, citations=citations), ()
        parts.append(part)
    if message.refusal:
        parts.append(Refusal(text=message.refusal))
    if (audio := message.audio) is not None:
        parts.append(
            Audio(id=audio.id, data=audio.data, transcript=audio.transcript, extras=audio_extras(audio.expires_at))
        )
    if present(message.images):
        parts.append(Opaque(dialect="chat", type="images", raw=message.images))
    parts += (_read_call(raw, reply, n) for n, raw in enumerate(message.tool_calls or ()))
    if message.function_call is not None:
        function = message.function_call
        parts.append(ToolCall(id=call_id(reply, 0), name=function.name or "", arguments=function.written()))
    return parts


def audio_extras(expires_at: Raw) -> Extras:
    return {"chat": {"expires_at": expires_at}} if present(expires_at) else NO_EXTRAS


def content_parts(content: str | list[ContentPart] | None) -> list[Part]:
    if not content:
        return []
    if isinstance(content, str):
        return [Text(text=content)]
    parts: list[Part] = []
    for part in content:
        if part.type == "thinking":
            words = "".join(inner.text or "" for inner in part.thinking or ())
            parts.append(Thinking(text=words, origin="chat"))
        elif part.text:
            parts.append(Text(text=part.text))
    return parts


_CALL_FIELDS = frozenset({"id", "type", "index", "function", "custom"})


def read_call_extras(raw: Raw | bytes) -> Extras:
    """A call's unknown fields (Gemini's `extra_content` holds a signature that must come back)."""
    found = {
        name: value
        for name, value in reading.upstream(OBJECT, bytes(raw)).items()
        if name not in _CALL_FIELDS and present(value)
    }
    return {"chat": found} if found else NO_EXTRAS


def _read_call(raw: Raw, reply: str, n: int) -> ToolCall:
    call = reading.upstream(_CALL, bytes(raw))
    id_, extras = call.id or call_id(reply, n), read_call_extras(raw)
    if call.custom is not None:
        return ToolCall(
            id=id_, name=call.custom.name or "", arguments=call.custom.input or "", kind="custom", extras=extras
        )
    function = call.function or Function()
    return ToolCall(id=id_, name=function.name or "", arguments=function.written(), extras=extras)


# --- writing ---


def write_reply(reply: Reply, asked: Conversation, losses: Losses) -> bytes:
    legacy = asks_for_functions(asked)
    choice: dict[str, Any] = {
        "index": 0,
        "message": _message(reply, asked, losses, legacy=legacy),
        "logprobs": reply.logprobs,
        "finish_reason": write_finish(reply.finish, legacy=legacy),
    }
    fields: dict[str, Any] = {
        "id": reply_id(reply.id, REPLY),
        "object": "chat.completion",
        "created": reply.created or 0,
        "model": reply.model,
        "choices": [choice],
    }
    if reply.usage is not None:
        fields["usage"] = write_usage(reply.usage)
    if reply.stop_sequence is not None:
        losses.drop("reply.stop_sequence", "the chat API does not say which stop sequence was met")
    others = {dialect: dict(extras) for dialect, extras in reply.extras.items()}
    tier = others.get("responses", {}).pop("service_tier", None)
    if tier is not None:
        fields["service_tier"] = tier
    losses.drop_extras(others, "chat", "reply.")
    return msgspec.json.encode(fields | others.get("chat", {}))


def _message(reply: Reply, asked: Conversation, losses: Losses, *, legacy: bool) -> dict[str, Any]:
    customs = custom_names(asked)
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    details: list[Any] = []
    calls: list[dict[str, Any]] = []
    annotations: list[Any] = []
    fields: dict[str, Any] = {}
    at = 0
    for part in reply.parts:
        match part:
            case Text():
                annotations += (
                    written
                    for citation in part.citations
                    if (written := write_annotation(citation, at, len(part.text), losses)) is not None
                )
                texts.append(part.text)
                at += len(part.text)
            case Refusal():
                refusals.append(part.text)
            case Thinking():
                thoughts.append(part.text)
                details += write_details(part)
            case RedactedThinking():
                details += write_details(part)
            case ToolCall():
                calls.append(write_reply_call(part, customs))
            case Audio():
                fields["audio"] = _audio(part)
            case Opaque() if part.dialect == "chat":
                fields[part.type] = part.raw
            case Opaque():
                losses.drop("reply.content", f"only the {part.dialect} API has `{part.type}`")
            case _:
                losses.drop(f"reply.{type(part).__name__.lower()}", "the chat API has no room for it in a reply")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not (calls or refusals or fields) else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if details:
        message["reasoning_details"] = details
    if annotations:
        message["annotations"] = annotations
    if calls and legacy:
        message["function_call"] = calls[0]["function"]
        if len(calls) > 1:
            losses.drop("reply.tool_calls", "`functions` can say one call only")
    elif calls:
        message["tool_calls"] = calls
    return message | fields


def custom_names(asked: Conversation) -> frozenset[str]:
    """The client's tools that take free text: calls of them are given back as such."""
    return frozenset(tool.name for tool in asked.tools if tool.kind == "custom")


def write_reply_call(call: ToolCall, customs: frozenset[str]) -> dict[str, Any]:
    if call.kind == "function" and call.name in customs:
        restored = msgspec.structs.replace(call, kind="custom", arguments=unwrap(call.arguments))
        return call_object(restored, kind="custom")
    return call_object(call, kind=call.kind)


def write_annotation(citation: Citation, at: int, length: int, losses: Losses | None = None) -> Any:
    """One of `annotations`. `at` is where the citing text begins in the whole, `length` how long it is: what a
    citation without places refers to."""
    if citation.dialect == "chat" and citation.raw is not None:
        return citation.raw
    if citation.url is None:
        if losses is not None:
            losses.drop("reply.citations", "the chat API cites by URL alone")
        return None
    start = at + citation.start if citation.start is not None else at
    end = at + citation.end if citation.end is not None else at + length
    found = {"url": citation.url, "title": citation.title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": found}


def _audio(audio: Audio) -> dict[str, Any]:
    return {
        "id": audio.id or "",
        "data": audio.data or "",
        "transcript": audio.transcript or "",
        "expires_at": audio.extras.get("chat", {}).get("expires_at", 0),
    }
