"""Reads and writes a complete reply. Source: API reference, Chat, "The chat completion object"."""

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
from plano.dialects.chat.errors import NOT_A_REPLY, in_band_error
from plano.dialects.chat.finish import write_finish
from plano.dialects.chat.ids import REPLY, call_id
from plano.dialects.chat.read_content import read_annotation
from plano.dialects.chat.thinking import read_own, write_details
from plano.dialects.chat.tools import asks_for_functions
from plano.dialects.chat.usage import read_usage, write_usage
from plano.dialects.chat.write_content import call_object
from plano.dialects.custom_tools import unwrap
from plano.dialects.fields import ABSENT, OBJECT, present, says
from plano.dialects.finish import failure, is_unknown, kept, read_finish, silent
from plano.dialects.reply_ids import reply_id
from plano.errors import UpstreamError, UpstreamProtocolError
from plano.losses import Losses
from plano.types import Dialect

# --- reading ---


class ContentPart(Struct):
    """A part of a reply's content; Mistral's reasoning models answer in parts."""

    type: str | None = None
    text: str | None = None
    thinking: list[ContentPart] | None = None


class Function(Struct, gc=False):
    """The function that a call names, with its arguments."""

    name: str | None = None
    arguments: str | dict[str, Raw] | None = None  # a few servers send the object itself

    def written(self) -> str:
        """The arguments as text."""
        if isinstance(self.arguments, dict):
            return msgspec.json.encode(self.arguments).decode("utf-8", "replace")
        return self.arguments or ""


class Custom(Struct, gc=False):
    """The custom tool that a call names, with its input."""

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
    """The fields by which an error is recognized: OpenAI's `error`, and `object` of older vLLM's."""

    error: Raw = ABSENT
    object: str | None = None


_REPLY = msgspec.json.Decoder(_Reply)
_WRONG = msgspec.json.Decoder(_Wrong)
_CALL = msgspec.json.Decoder(_Call)

KNOWN = frozenset({"id", "object", "model", "created", "choices", "usage", "obfuscation"})
"""The top-level fields of replies and chunks that are read, or say nothing. All others are kept as extras."""


def read_reply(body: bytes) -> Reply:
    """Read a complete reply; see `plano.dialects.codec.Codec`."""
    return reading.upstreams(_read_reply, body)


def _read_reply(body: bytes) -> Reply:
    wrong = reading.upstream(_WRONG, body)
    if says(wrong.error):
        raise in_band_error(wrong.error)
    if wrong.object == "error":
        raise in_band_error(Raw(body))
    reply = reading.upstream(_REPLY, body)
    if not reply.choices:
        raise UpstreamProtocolError(NOT_A_REPLY)
    choice = reply.choices[0]
    if error := broken(choice.finish_reason, choice.error):
        raise copy(error)  # this frame holds the original
    if choice.message is None:
        raise UpstreamProtocolError(NOT_A_REPLY)
    parts = tuple(_parts(choice.message, reply.id or ""))
    if not parts and is_unknown(choice.finish_reason):
        raise silent(choice.finish_reason)
    called = any(isinstance(part, ToolCall) for part in parts)
    return Reply(
        id=reply.id or "",
        model=reply.model or "",
        created=seconds(reply.created),
        parts=parts,
        finish=read_finish(choice.finish_reason, called=called),
        usage=read_usage(reply.usage),
        logprobs=choice.logprobs if present(choice.logprobs) else None,
        extras=_extras(body, choice.finish_reason),
    )


def _extras(body: bytes, reason: str | None) -> Extras:
    """The fields that only this dialect has, and a finish reason that nobody knows."""
    extras, unknown = read_extras(body), kept(reason, "finish_reason")
    return {"chat": {**extras.get("chat", {}), **unknown}} if unknown else extras


def seconds(created: float | None) -> int | None:
    """The time of a reply in Unix seconds; None if it has none, or Azure's 0."""
    return int(created) if created and 0 < created < 2**53 else None


def broken(reason: str | None, error: Raw) -> UpstreamError | None:
    """The error in which a choice ended, or None."""
    if says(error):
        return in_band_error(error)
    return failure(reason)


def read_extras(body: bytes) -> Extras:
    """The top-level fields that only this dialect has."""
    found = {
        name: value for name, value in reading.upstream(OBJECT, body).items() if name not in KNOWN and present(value)
    }
    return {"chat": found} if found else NO_EXTRAS


def _parts(message: _Message, reply: str) -> list[Part]:
    """The parts of a reply's message, reasoning first and calls last."""
    parts = read_own(message.reasoning_content or message.reasoning, message.reasoning_details or ())
    citations = tuple(read_annotation(raw) for raw in message.annotations or ())
    for part in content_parts(message.content):
        if citations and isinstance(part, Text):
            part, citations = msgspec.structs.replace(part, citations=citations), ()
        parts.append(part)
    if message.refusal:
        parts.append(Refusal(text=message.refusal))
    audio = message.audio
    if audio is not None and (audio.id or audio.data or audio.transcript):
        parts.append(
            Audio(id=audio.id, data=audio.data, transcript=audio.transcript, extras=audio_extras(audio.expires_at))
        )
    if says(message.images):
        parts.append(Opaque(dialect="chat", type="images", raw=message.images))
    parts += (_read_call(raw, reply, n) for n, raw in enumerate(message.tool_calls or ()))
    function = message.function_call
    if function is not None and (function.name or function.arguments):
        parts.append(ToolCall(id=call_id(reply, 0), name=function.name or "", arguments=function.written()))
    return parts


def audio_extras(expires_at: Raw) -> Extras:
    """The field of an audio that only this dialect has."""
    return {"chat": {"expires_at": expires_at}} if present(expires_at) else NO_EXTRAS


def content_parts(content: str | list[ContentPart] | None) -> list[Part]:
    """The parts in a reply's `content`."""
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
    """A call's unknown fields, such as Gemini's `extra_content`, whose signature must come back."""
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
    """Write a complete reply; see `plano.dialects.codec.Codec`."""
    legacy = asks_for_functions(asked)
    others = {dialect: dict(extras) for dialect, extras in reply.extras.items()}
    message = _WrittenMessage(asked, losses)
    for part in reply.parts:
        message.add(part)
    choice: dict[str, Any] = {
        "index": 0,
        "message": message.fields(legacy=legacy),
        "logprobs": reply.logprobs,
        "finish_reason": own_finish(others) or write_finish(reply.finish, legacy=legacy),
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
    tier = others.get("responses", {}).pop("service_tier", None)
    if tier is not None:
        fields["service_tier"] = tier
    losses.drop_extras(others, "chat", "reply.")
    return msgspec.json.encode(fields | others.get("chat", {}))


def own_finish(extras: dict[Dialect, dict[str, Raw]]) -> Raw | None:
    """Take the finish reason that only the upstream's vendor knows out of a reply's extras."""
    return extras.get("chat", {}).pop("finish_reason", None)


class _WrittenMessage:
    """The message of a reply, collected part by part.

    This dialect has one field for all texts, one for all reasoning and so on: the order of different kinds of parts
    cannot be said in it.
    """

    def __init__(self, asked: Conversation, losses: Losses) -> None:
        self._customs = custom_names(asked)
        self._losses = losses
        self._texts: list[str] = []
        self._length = 0  # characters in the texts so far
        self._annotations: list[Any] = []
        self._refusals: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[Any] = []
        self._calls: list[dict[str, Any]] = []
        self._others: dict[str, Any] = {}

    def add(self, part: Part) -> None:
        """Add one part of the reply."""
        match part:
            case Text():
                self._add_text(part)
            case Refusal():
                self._refusals.append(part.text)
            case Thinking():
                self._thoughts.append(part.text)
                self._details += write_details(part)
            case RedactedThinking():
                self._details += write_details(part)
            case ToolCall():
                self._calls.append(write_reply_call(part, self._customs))
            case Audio():
                self._others["audio"] = _audio(part)
            case Opaque(dialect="chat"):
                self._others[part.type] = part.raw
            case Opaque():
                self._losses.drop("reply.content", f"only the {part.dialect} API has `{part.type}`")
            case _:
                self._losses.drop(f"reply.{type(part).__name__.lower()}", "the chat API has no room for it in a reply")

    def _add_text(self, text: Text) -> None:
        length = len(text.text)
        found = (write_annotation(citation, self._length, length, self._losses) for citation in text.citations)
        self._annotations += (annotation for annotation in found if annotation is not None)
        self._texts.append(text.text)
        self._length += length

    def fields(self, *, legacy: bool) -> dict[str, Any]:
        """The whole message. `legacy`: the client asked with `functions`."""
        says_nothing_else = not (self._calls or self._refusals or self._others)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts or says_nothing_else else None,
            "refusal": "".join(self._refusals) if self._refusals else None,
        }
        if any(self._thoughts):
            message["reasoning_content"] = "".join(self._thoughts)
        if self._details:
            message["reasoning_details"] = self._details
        if self._annotations:
            message["annotations"] = self._annotations
        return message | self._call_fields(legacy=legacy) | self._others

    def _call_fields(self, *, legacy: bool) -> dict[str, Any]:
        """The calls: all of them, or the first one if the client knows only `function_call`."""
        if not self._calls:
            return {}
        if not legacy:
            return {"tool_calls": self._calls}
        if len(self._calls) > 1:
            self._losses.drop("reply.tool_calls", "`functions` can say one call only")
        return {"function_call": self._calls[0]["function"]}


def custom_names(asked: Conversation) -> frozenset[str]:
    """The names of the client's custom tools; calls of them are written as custom calls."""
    return frozenset(tool.name for tool in asked.tools if tool.kind == "custom")


def write_reply_call(call: ToolCall, customs: frozenset[str]) -> dict[str, Any]:
    """A call as the client knows it: a function that stood in for a custom tool becomes one again."""
    if call.kind == "function" and call.name in customs:
        restored = msgspec.structs.replace(call, kind="custom", arguments=unwrap(call.arguments))
        return call_object(restored, kind="custom")
    return call_object(call, kind="custom" if call.kind == "custom" else "function")


def write_annotation(citation: Citation, at: int, length: int, losses: Losses | None = None) -> Any:
    """One of `annotations`, or None for a citation that this dialect cannot say.

    The citing text begins at `at` in the whole content and is `length` characters long; a citation without places
    refers to all of it.
    """
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
