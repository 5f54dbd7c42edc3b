"""Writes a request to an upstream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from plano.capabilities import Takes
from plano.capabilities.efforts import NOT_THINKING, effort_of
from plano.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    System,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from plano.dialects.chat.names import OF_MESSAGE
from plano.dialects.chat.tools import native_customs, write_tools
from plano.dialects.chat.write_content import (
    NO_CACHE,
    add_extras,
    content_of,
    with_own_fields,
    write_call,
    write_parts,
    write_thinking,
)
from plano.dialects.fields import Object
from plano.dialects.openai import SHARED_FIELDS, refuse_stored, user_of
from plano.losses import Losses
from plano.types import Dialect

_BEFORE_TOOLS = ("temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty")
_AFTER_TOOLS = (
    "logprobs",
    "top_logprobs",
    "verbosity",
    "service_tier",
    "safety_identifier",
    "metadata",
    "store",
    "prompt_cache_key",
)
"""The fields that have the same name in the neutral model, before and after `tools` in the body."""


def write_request(conversation: Conversation, losses: Losses, takes: Takes | None = None) -> bytes:
    """Write the body of a request; see `plano.dialects.codec.Codec`."""
    refuse_stored(conversation)
    takes = takes or Takes()
    fields: dict[str, Any] = {}
    if conversation.model is not None:
        fields["model"] = conversation.model
    fields["messages"] = _Messages(native_customs(conversation), losses).write(conversation)
    if conversation.max_tokens is not None:
        fields["max_completion_tokens"] = conversation.max_tokens
    _copy(conversation, fields, _BEFORE_TOOLS)
    if conversation.stop:
        fields["stop"] = conversation.stop
    write_tools(conversation, fields, losses)
    _write_reasoning(conversation.reasoning, fields, losses, takes)
    if conversation.response_format is not None:
        fields["response_format"] = _response_format(conversation.response_format)
    if conversation.top_logprobs is not None:
        fields["logprobs"] = True  # the chat API refuses `top_logprobs` without it, and other APIs do not need it
    _copy(conversation, fields, _AFTER_TOOLS)
    if (user := user_of(conversation)) is not None:
        fields["user"] = user
    _write_rest(conversation, fields, losses)
    if takes.adds is not None and conversation.is_foreign_to("chat"):
        fields.update(takes.adds)
    return msgspec.json.encode(fields)


def _copy(conversation: Conversation, fields: dict[str, Any], names: Sequence[str]) -> None:
    """Copy the fields `names` that the conversation has."""
    for name in names:
        value = getattr(conversation, name)
        if value is not None:
            fields[name] = value


def _write_reasoning(reasoning: Reasoning | None, fields: dict[str, Any], losses: Losses, takes: Takes) -> None:
    """Add `reasoning_effort`: the effort as it is, or the effort that a budget comes to.

    For `adaptive` thinking nothing is written, because models decide by themselves if they are told nothing. For
    `disabled` thinking `none` is written if the model's row knows how it says that. If nothing is known of the model,
    nothing is written, because most models behind this API do not think, and refuse every effort, also `none`.
    """
    if reasoning is None:
        return
    losses.drop_extras(reasoning.extras, "chat", "reasoning.")
    if reasoning.summary not in (None, "auto"):
        losses.drop("reasoning.summary", "the chat API does not choose among summaries")
    if reasoning.mode == "disabled":
        if reasoning.effort is not None:
            losses.drop("output_config.effort", NOT_THINKING)
        if takes.thinking is not None:
            fields["reasoning_effort"] = "none"
        elif takes != Takes():
            losses.drop("thinking", "plano knows no word for it that this server takes")
    elif reasoning.effort is not None:
        fields["reasoning_effort"] = reasoning.effort
    elif reasoning.budget is not None:
        fields["reasoning_effort"] = effort_of(reasoning.budget)
        if takes.thinking is not None and takes.thinking.budget and reasoning.budget > 0:
            fields[takes.thinking.budget] = reasoning.budget


def _response_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    schema: dict[str, Any] = {"name": wanted.name or "response"}  # required here, and absent in the messages dialect
    for name in ("description", "schema", "strict"):
        value = getattr(wanted, name)
        if value is not None:
            schema[name] = value
    return {"type": "json_schema", "json_schema": schema}


def _write_rest(conversation: Conversation, fields: dict[str, Any], losses: Losses) -> None:
    """Add the stream's options, and the fields that the neutral model does not have."""
    own: Object = dict(conversation.extras.get("chat", ()))
    if "response_format" in fields and (schema := own.pop("response_format", None)) is not None:
        add_extras(fields["response_format"], {"json_schema": schema})
    options: dict[str, Any] = {}
    if (others := own.pop("stream_options", None)) is not None:
        options.update(msgspec.json.decode(others, type=Object))
    if conversation.stream:
        fields["stream"] = True
        options["include_usage"] = True  # without it the upstream sends no usage at all
    if options:
        fields["stream_options"] = options
    if conversation.top_k is not None:
        if "chat" in conversation.extras:
            fields["top_k"] = conversation.top_k
        else:
            losses.drop("top_k", "the chat API does not have it")
    for dialect, extras in conversation.extras.items():
        shared = {name: value for name, value in extras.items() if dialect == "responses" and name in SHARED_FIELDS}
        fields.update(shared)
        losses.drop_extras({dialect: {name: raw for name, raw in extras.items() if name not in shared}}, "chat")
    add_extras(fields, own)


class _Messages:
    """Writes messages in order.

    A tool message holds only text. Images and the like in a result go into a user message, which must wait until all
    results of the turn are written.
    """

    def __init__(self, customs: frozenset[str], losses: Losses) -> None:
        self._customs = customs
        self._losses = losses
        self._written: list[dict[str, Any]] = []
        self._shown: list[Part] = []

    def write(self, conversation: Conversation) -> list[dict[str, Any]]:
        for system in _joined(conversation):
            self._system(system)
        for message in _results_first(conversation.messages):
            self._losses.drop_extras(message.extras, "chat", "messages.")
            if message.role == "assistant":
                self._show()
                self._assistant(message)
            else:
                self._user(message)
        self._show()
        return self._written

    def _system(self, system: System) -> None:
        self._losses.drop_extras(system.extras, "chat", "system.")
        own: dict[str, Raw] = {}
        of_text: dict[str, Raw] = {}
        for name, value in system.extras.get("chat", {}).items():
            if name.startswith(OF_MESSAGE):
                own[name.removeprefix(OF_MESSAGE)] = value
            else:
                of_text[name] = value
        native = "chat" in system.extras
        if system.cache is not None and not native:
            self._losses.drop("system.cache_control", NO_CACHE)
        cache = system.cache if native else None
        text = Text(text=system.text, cache=cache, extras={"chat": of_text} if native else {})
        content = content_of(write_parts([text], self._losses))
        self._written.append({"role": system.role or "system", "content": content, **own})

    def _user(self, message: Message) -> None:
        """Write a turn of the user: its results first, then all else as one message."""
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = [part for part in message.parts if not isinstance(part, ToolResult)]
        if not results:
            self._show_before(message)
        for result in results:
            self._result(result)
        if others or not message.parts:
            shown, self._shown = self._shown, []
            content = write_parts([*shown, *others], self._losses)
            if content or not others:
                self._written.append(_named({"role": message.role, "content": content_of(content)}, message))

    def _show_before(self, message: Message) -> None:
        """Write the parts that wait into a message of their own, if they cannot stand in `message`: it has another
        role, a name or fields of its own."""
        if message.role != "user" or message.name is not None or message.extras:
            self._show()

    def _show(self) -> None:
        """Write the parts that wait as a user message."""
        shown, self._shown = self._shown, []
        content = write_parts(shown, self._losses)
        if content:
            self._written.append({"role": "user", "content": content_of(content)})

    def _result(self, result: ToolResult) -> None:
        if result.is_error:
            self._losses.drop("tool_result.is_error", "the chat API does not say whether a result is an error")
        texts = [part for part in result.parts if _is_text(part)]
        self._shown += (part for part in result.parts if not _is_text(part))
        message = {
            "role": "tool",
            "tool_call_id": result.call_id,
            "content": content_of(write_parts(texts, self._losses)),
        }
        self._written.append(with_own_fields(message, result, self._losses))

    def _assistant(self, message: Message) -> None:
        """Write a message of the assistant, unless none of its parts can be said."""
        said: list[Part] = []
        thought: list[Thinking | RedactedThinking] = []
        fields: dict[str, Any] = {}
        calls = []
        refusals = []
        for part in message.parts:
            match part:
                case Thinking() | RedactedThinking():
                    thought.append(part)
                case ToolCall():
                    calls.append(write_call(part, self._losses, customs=self._customs))
                case Refusal():
                    refusals.append(part.text)
                case Audio() if part.id is not None:
                    fields["audio"] = {"id": part.id}
                case Image() | Document() | Audio():
                    self._losses.drop("messages.content", "the chat API takes only text back from the model")
                case _:
                    said.append(part)
        content = write_parts(said, self._losses)
        if message.parts and not (content or calls or refusals or fields or thought):
            return  # no part of it can be said
        written: dict[str, Any] = {"role": "assistant"}
        written["content"] = content_of(content) if content or not (calls or refusals or fields) else None
        if refusals:
            fields["refusal"] = "".join(refusals)
        fields.update(write_thinking(thought, self._losses))
        if calls:
            fields["tool_calls"] = calls
        self._written.append(_named(written | fields, message))


def _joined(conversation: Conversation) -> Sequence[System]:
    """The leading instructions. Those of the messages API are joined: they are one text in blocks, and the templates of
    many models take only one system message."""
    found = conversation.system
    if len(found) < 2 or conversation.dialect != "messages":
        return found
    cache = next((system.cache for system in found if system.cache is not None), None)
    extras: dict[Dialect, Object] = {}
    for system in found:
        for dialect, fields in system.extras.items():
            extras[dialect] = {**extras.get(dialect, {}), **fields}
    return [System(text="\n\n".join(system.text for system in found), cache=cache, extras=extras)]


def _results_first(messages: Sequence[Message]) -> Iterator[Message]:
    """The messages, with the results of calls directly after the message that made them, as the chat API requires:
    another message of the user may have come between."""
    for of_assistant, group in groupby(messages, key=lambda message: message.role == "assistant"):
        turn = list(group)
        if of_assistant or len(turn) == 1:
            yield from turn
            continue
        results = [part for message in turn[1:] for part in message.parts if isinstance(part, ToolResult)]
        if not results or not any(not isinstance(part, ToolResult) for message in turn[:-1] for part in message.parts):
            yield from turn
            continue
        yield Message(role="user", parts=(*(part for part in turn[0].parts if isinstance(part, ToolResult)), *results))
        for message in turn:
            rest = tuple(part for part in message.parts if not isinstance(part, ToolResult))
            if rest or not message.parts:
                yield replace(message, parts=rest)


def _is_text(part: Part) -> bool:
    """Whether a tool message can hold the part."""
    return isinstance(part, Text) or (isinstance(part, Document) and part.text is not None)


def _named(written: dict[str, Any], message: Message) -> dict[str, Any]:
    """The message with its name and its own fields."""
    if message.name is not None:
        written["name"] = message.name
    own: dict[str, Raw] = dict(message.extras.get("chat", ()))
    return {**written, **own}
