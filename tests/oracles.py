"""What a client's SDK makes of an answer: its types for every reply and event, its dialect's grammar for streams."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from plano.frames import sse
from plano.types import Dialect

_MESSAGES_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_RESPONSES_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_REPLIES: dict[Dialect, Any] = {"chat": ChatCompletion, "messages": Message, "responses": Response}


def error(dialect: Dialect, body: bytes) -> dict[str, Any]:
    """The error in an error body, which must be in the form of `dialect`."""
    found = json.loads(body)
    inner = found["error"]
    assert isinstance(inner["message"], str)
    assert inner["message"]
    assert isinstance(inner["type"], str)
    if dialect == "messages":
        assert found["type"] == "error"
        assert set(inner) == {"type", "message"}
    else:
        assert set(found) == {"error"}
        assert set(inner) == {"message", "type", "param", "code"}
    return dict(inner)


_ECHOES = frozenset(Response.model_fields) - {
    "id",
    "created_at",
    "completed_at",
    "error",
    "incomplete_details",
    "model",
    "object",
    "output",
    "status",
    "usage",
}
"""What a Response repeats of its request: where that was wrong, so is this."""
_HARMLESS = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


def reply(dialect: Dialect, body: bytes) -> Any:
    """The SDK's object of a complete reply, but for what a reply repeats of its request."""
    return _REPLIES[dialect].model_validate(_without_echoes(json.loads(body)))


def _without_echoes(found: dict[str, Any]) -> dict[str, Any]:
    if found.get("object") == "response":
        return {name: value for name, value in found.items() if name not in _ECHOES} | _HARMLESS
    if isinstance(found.get("response"), dict):
        return found | {"response": _without_echoes(found["response"])}
    return found


@dataclass
class Stream:
    """A stream as its client sees it. `clean`: it ended as a reply does that is complete; else in an error event."""

    clean: bool = False
    events: list[Any] = field(default_factory=list)

    @property
    def last(self) -> Any:
        return self.events[-1]


def stream(dialect: Dialect, body: bytes) -> Stream:
    """The SDK's objects of a stream, which must follow its dialect's grammar and end in one way or the other."""
    assert body.endswith(b"\n\n")
    return _STREAMS[dialect](sse.frames(body))


def _chat(frames: list[sse.Frame]) -> Stream:
    found, finished, opened = Stream(), set(), set()
    for position, frame in enumerate(frames):
        last = position == len(frames) - 1
        if frame.data == b"[DONE]":
            assert last, "something came after [DONE]"
            assert finished, "[DONE] came without a finish reason"
            found.clean = True
            return found
        event = json.loads(frame.data)
        if "error" in event:
            error("chat", frame.data)
            assert last, "something came after an error"
            return found
        chunk = ChatCompletionChunk.model_validate(_with_known_calls(event))
        found.events.append(chunk)
        for choice in chunk.choices:
            assert choice.index not in finished, "a choice went on after its finish reason"
            assert choice.index in opened or choice.delta.role == "assistant", "the first chunk must have the role"
            opened.add(choice.index)
            if choice.finish_reason is not None:
                finished.add(choice.index)
    raise AssertionError("the stream ended neither in [DONE] nor in an error")


def _with_known_calls(event: dict[str, Any]) -> dict[str, Any]:
    """The SDK's types of chunks have no custom calls yet, though its types of whole replies do."""
    for choice in event["choices"]:
        for call in choice["delta"].get("tool_calls") or []:
            if call.get("type") == "custom" or "custom" in call:
                assert set(call["custom"]) <= {"name", "input"}
                call["type"] = "function"
    return event


def _messages(frames: list[sse.Frame]) -> Stream:
    found, open_, begun, started, reason = Stream(), None, 0, False, None
    for position, frame in enumerate(frames):
        event = json.loads(frame.data)
        assert frame.event == event["type"]
        last = position == len(frames) - 1
        if event["type"] == "error":
            error("messages", frame.data)
            assert last, "something came after an error"
            return found
        if event["type"] == "ping":
            continue
        found.events.append(_MESSAGES_EVENT.validate_python(event))
        assert (event["type"] == "message_start") is not started, "message_start must come first and once"
        started = True
        match event["type"]:
            case "content_block_start":
                assert open_ is None, "blocks overlap"
                assert event["index"] == begun, "blocks are numbered in order"
                open_, begun = event["index"], begun + 1
            case "content_block_delta":
                assert event["index"] == open_, "a delta for a block that is not open"
            case "content_block_stop":
                assert event["index"] == open_
                open_ = None
            case "message_delta":
                assert open_ is None, "a block was never stopped"
                reason = event["delta"]["stop_reason"]
            case "message_stop":
                assert last, "something came after message_stop"
                assert reason is not None, "message_stop came without a stop reason"
                found.clean = True
                return found
    raise AssertionError("the stream ended neither in message_stop nor in an error")


def _responses(frames: list[sse.Frame]) -> Stream:
    found = Stream()
    for position, frame in enumerate(frames):
        event = json.loads(frame.data)
        assert frame.event == event["type"]
        last = position == len(frames) - 1
        found.events.append(_RESPONSES_EVENT.validate_python(_without_echoes(event)))
        assert event["sequence_number"] == position, "sequence numbers have no gaps"
        assert (event["type"] == "response.created") is (position == 0) or event["type"] == "error"
        if event["type"] in ("response.completed", "response.incomplete"):
            assert last, "something came after the reply's end"
            found.clean = True
            return found
        if event["type"] in ("response.failed", "error"):
            assert last, "something came after a failure"
            return found
    raise AssertionError("the stream ended neither in a final response nor in an error")


_STREAMS = {"chat": _chat, "messages": _messages, "responses": _responses}
