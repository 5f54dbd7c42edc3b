"""Reads a client's request.

Source: API reference, Chat, "Create chat completion". Unknown fields, and fields that only this API has, are kept
in `extras["chat"]` of the conversation, the message, the part, the tool or the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw

from plano.conversation import (
    NO_EXTRAS,
    Audio,
    Conversation,
    Extras,
    Message,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    System,
    Text,
    ToolCall,
    ToolResult,
)
from plano.dialects import reading
from plano.dialects.call_seals import own_id
from plano.dialects.chat.names import OF_MESSAGE
from plano.dialects.chat.read_content import read_call, read_content
from plano.dialects.chat.thinking import FROM_CHAT, read_thinking
from plano.dialects.chat.tools import read_choice, read_tools
from plano.dialects.fields import BOOLEAN, CONTENT, INTEGER, NULL, NUMBER, OBJECT, RAWS, STRING, Fields, Object, raw_of

_ROLE: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]
_ROLES = msgspec.json.Decoder(_ROLE)
_STOP = msgspec.json.Decoder(str | list[str])

_PLAIN_FIELDS: dict[str, msgspec.json.Decoder[Any]] = {
    "model": STRING,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "n": INTEGER,
    "seed": INTEGER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "logprobs": BOOLEAN,
    "top_logprobs": INTEGER,
    "parallel_tool_calls": BOOLEAN,
    "verbosity": STRING,
    "service_tier": STRING,
    "user": STRING,
    "safety_identifier": STRING,
    "store": BOOLEAN,
    "prompt_cache_key": STRING,
}
"""The fields that have the same name and type in the neutral model."""


def read_request(body: bytes) -> Conversation:
    """Read a request's body; see `plano.dialects.codec.Codec`."""
    fields = Fields(reading.request(OBJECT, body))
    plain = {name: fields.take(name, decoder) for name, decoder in _PLAIN_FIELDS.items() if name in fields.found}
    if fields.found.get("messages", NULL) == NULL:
        raise fields.missing("messages")
    messages = _Messages().read(fields.each("messages"))
    system, rest = _leading(messages)
    limit, older_limit = fields.take("max_completion_tokens", INTEGER), fields.take("max_tokens", INTEGER)
    legacy = "functions" in fields.found
    tools, choice = read_tools(fields), read_choice(fields)
    effort, top_k = fields.take("reasoning_effort", STRING), fields.take("top_k", INTEGER)
    stream, include_usage = _stream(fields)
    stop = fields.take("stop", _STOP)
    conversation = Conversation(
        dialect="chat",
        system=system,
        messages=rest,
        tools=tools,
        tool_choice=choice,
        max_tokens=limit if limit is not None else older_limit,
        top_k=top_k,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        reasoning=Reasoning(effort=effort) if effort is not None else None,
        response_format=_response_format(fields),
        metadata=_metadata(fields),
        stream=stream,
        include_usage=include_usage,
        extras=_extras(fields, marked=top_k is not None),
    )
    conversation = msgspec.structs.replace(conversation, **plain)
    # A reply to `functions` has room for one call.
    return msgspec.structs.replace(conversation, parallel_tool_calls=False) if legacy and tools else conversation


def _stream(fields: Fields) -> tuple[bool, bool]:
    """Whether to stream, and whether to send the usage. Other stream options stay where they are."""
    stream = fields.take("stream", BOOLEAN) or False
    options = fields.nested("stream_options")
    if options is None:
        return stream, False
    include_usage = options.take("include_usage", BOOLEAN) or False
    if rest := options.rest():
        fields.found["stream_options"] = raw_of(rest)
    return stream, include_usage


def _metadata(fields: Fields) -> Raw | None:
    """The metadata as it was written, once it is known to be an object."""
    raw = fields.found.get("metadata")
    return raw if fields.take("metadata", OBJECT) is not None else None


def _extras(fields: Fields, *, marked: bool) -> Extras:
    """The fields that are left. `marked`: the body had `top_k`, which OpenAI has not but many servers take; the mark
    lets it go out in a chat body again."""
    rest = fields.rest()
    modalities = rest.get("modalities")
    if modalities is not None and b"".join(bytes(modalities).split()) == b'["text"]':
        del rest["modalities"]  # the default
    if rest:
        return {"chat": rest}
    return FROM_CHAT if marked else NO_EXTRAS


def _response_format(fields: Fields) -> ResponseFormat | None:
    """The format of the reply; one that only this API has stays in the body."""
    raw = fields.found.get("response_format")
    found = fields.nested("response_format")
    if found is None:
        return None
    type_ = found.need("type", STRING)
    if type_ == "text":
        return ResponseFormat(type="text")
    if type_ == "json_object":
        return ResponseFormat(type="json_object")
    if type_ != "json_schema":
        assert raw is not None, "it was just read"
        fields.found["response_format"] = raw
        return None
    schema = found.need_nested("json_schema")
    wanted = ResponseFormat(
        type="json_schema",
        name=schema.take("name", STRING),
        description=schema.take("description", STRING),
        schema=schema.raw("schema"),
        strict=schema.take("strict", BOOLEAN),
    )
    if rest := schema.rest():
        fields.found["response_format"] = raw_of(rest)
    return wanted


def _leading(messages: list[Message]) -> tuple[tuple[System, ...], tuple[Message, ...]]:
    """The leading instructions, one for each text, and the messages after them."""
    count = 0
    system: list[System] = []
    for message in messages:
        if message.role not in ("system", "developer") or not all(isinstance(part, Text) for part in message.parts):
            break
        count += 1
        system += _instructions(message)
    return tuple(system), tuple(messages[count:])


def _instructions(message: Message) -> Iterable[System]:
    """One instruction for each text of a leading message."""
    role: Literal["system", "developer"] = "developer" if message.role == "developer" else "system"
    own: Object = {OF_MESSAGE + name: value for name, value in message.extras.get("chat", {}).items()}
    if message.name is not None:
        own[OF_MESSAGE + "name"] = raw_of(message.name)
    for part in message.parts:
        assert isinstance(part, Text), "the caller looked"
        extras: Extras = {"chat": {**own, **part.extras.get("chat", {})}} if own else part.extras
        yield System(text=part.text, role=role, cache=part.cache, extras=extras)


class _Messages:
    """Reads messages in order, because only the calls before a result tell which kind of call it answers."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._customs: set[str] = set()  # ids of calls with free text
        self._functions: dict[str, str] = {}  # the deprecated calls have names only: the last id made up for each
        self._results: list[ToolResult] = []

    def read(self, found: list[Fields]) -> list[Message]:
        """All messages, in order."""
        for n, message in enumerate(found):
            role = message.need("role", _ROLES)
            if role == "tool":
                self._results.append(self._result(message))
            elif role == "function":
                self._results.append(self._function_result(message, n))
            else:
                self._close_results()
                self._messages.append(self._assistant(message, n) if role == "assistant" else _read(message, role))
        self._close_results()
        return self._messages

    def _close_results(self) -> None:
        """Put results that follow each other into one message, because they answer the calls of one turn."""
        if self._results:
            self._messages.append(Message(role="user", parts=tuple(self._results)))
            self._results = []

    def _result(self, message: Fields) -> ToolResult:
        call_id = own_id(message.need("tool_call_id", STRING))
        parts, cache = _content(message), message.raw("cache_control")
        extras = message.extras("chat")
        return ToolResult(
            call_id=call_id,
            parts=parts,
            kind="custom" if call_id in self._customs else "function",
            cache=cache,
            extras=extras or FROM_CHAT if cache is not None else extras,
        )

    def _function_result(self, message: Fields, n: int) -> ToolResult:
        """Read the result of a deprecated call, which is found by the function's name."""
        name = message.need("name", STRING)
        call_id = self._functions.get(name, f"call_{name}_{n}")
        return ToolResult(call_id=call_id, parts=_content(message), extras=message.extras("chat"))

    def _assistant(self, message: Fields, n: int) -> Message:
        """Read a message of the assistant: reasoning, texts, refusal, audio and calls, in this order."""
        text = message.take("reasoning_content", STRING) or message.take("reasoning", STRING)
        message.found.pop("reasoning", None)
        parts = read_thinking(text, message.take("reasoning_details", RAWS))
        parts += (part for part in _content(message) if part != Text(text=""))
        if (refusal := message.take("refusal", STRING)) is not None:
            parts.append(Refusal(text=refusal))
        if (audio := message.nested("audio")) is not None:
            parts.append(Audio(id=audio.need("id", STRING)))
        parts += self._calls(message, n)
        if message.found.get("annotations") == Raw(b"[]"):
            del message.found["annotations"]  # replies have an empty list, and clients send it back
        return Message(
            role="assistant", parts=tuple(parts), name=message.take("name", STRING), extras=message.extras("chat")
        )

    def _calls(self, message: Fields, n: int) -> list[ToolCall]:
        calls = [read_call(call) for call in message.each("tool_calls")]
        self._customs.update(call.id for call in calls if call.kind == "custom")
        if (function := message.nested("function_call")) is not None:
            name = function.need("name", STRING)
            id_ = self._functions[name] = f"call_{name}_{n}"
            calls.append(ToolCall(id=id_, name=name, arguments=function.take("arguments", STRING) or ""))
        return calls


def _read(message: Fields, role: Literal["system", "developer", "user"]) -> Message:
    """Read a message of the user, or an instruction."""
    cache = message.raw("cache_control")
    parts = _content(message)
    if cache is not None and parts:  # a mark on a message means the same as one on its last part
        last = msgspec.structs.replace(parts[-1], cache=cache, extras=parts[-1].extras or FROM_CHAT)
        parts = (*parts[:-1], last)
    return Message(role=role, parts=parts, name=message.take("name", STRING), extras=message.extras("chat"))


def _content(message: Fields) -> tuple[Part, ...]:
    """The parts of a message's content; none if it is null or absent."""
    content = message.take("content", CONTENT)
    return read_content(content, message.at("content")) if content is not None else ()
