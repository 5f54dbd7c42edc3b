"""The answers that a fake provider can be told to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from plano.conversation import Finish, Part, RedactedThinking, Refusal, Text, Thinking, ToolCall, Usage
from plano.testing.record import Recorded

ESTIMATED: Literal["estimated"] = "estimated"


class Failure:
    """An error response, its body in the dialect of the request.

    Args:
        status: 400 to 599.
        retry_after: the seconds that its header `retry-after` has.
        on: the end of a path (`/embeddings`, `/count_tokens`), if requests to it get this answer, and not those for
            replies.
    """

    def __init__(
        self,
        status: int = 500,
        message: str = "The provider failed, as the test told it to.",
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float | None = None,
        on: str | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        self.headers |= headers or {}
        self.delay = delay
        self.on = on


Break: TypeAlias = Literal["lost", "incomplete", "error"] | Failure
"""The way in which a reply breaks off: the connection is `lost`; the reply ends too early, so that it is `incomplete`;
or it ends with an `error` of an overloaded provider, or with another `Failure`."""


class Reply:
    """A model's reply, written in the dialect of the request, streamed if the request asks for that.

    A stream has an event for each word of a text and for every few characters of a tool call's arguments.

    Args:
        parts: the parts in order; a string is a text. Tool calls without an id get one.
        usage: the numbers to report; None for a provider that reports none; by default they are estimated from the
            request and the parts.
        finish: the finish reason; by default `tool_calls` if there are any, else `stop`.
        stop_sequence: the stop sequence that was met, with `finish="stop_sequence"`.
        model: the model's name in the reply; by default the one that was asked for.
        headers: response headers, besides the content type.
        delay: seconds before the first byte; None for the provider's own `delay`.
        pause: seconds before each further event; None for the provider's own `pause`.
        cut: the size of the pieces in which a stream is sent, in bytes, even if that cuts its events.
        breaks_after: the number of events after which the stream breaks. A reply that is not streamed breaks in the
            middle.
        how: see `Break`.
    """

    def __init__(
        self,
        *parts: Part | str,
        usage: Usage | Literal["estimated"] | None = ESTIMATED,
        finish: Finish | None = None,
        stop_sequence: str | None = None,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float | None = None,
        pause: float | None = None,
        cut: int | None = None,
        breaks_after: int | None = None,
        how: Break = "lost",
    ) -> None:
        self.parts = tuple(text(part) if isinstance(part, str) else part for part in parts)
        self.usage = usage
        self.finish = finish
        self.stop_sequence = stop_sequence
        self.model = model
        self.headers = dict(headers or {})
        self.delay = delay
        self.pause = pause
        self.cut = cut
        self.breaks_after = breaks_after
        self.how = how


class Verbatim:
    """A response byte for byte.

    Args:
        headers: all headers; a body's content type is not guessed.
        body: the whole body, or the pieces in which it is sent.
        lost: whether the connection is lost after the last piece.
        on: the end of a path, as in `Failure`.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes | Sequence[bytes] = b"",
        *,
        delay: float | None = None,
        pause: float | None = None,
        lost: bool = False,
        on: str | None = None,
    ) -> None:
        self.status = status
        self.headers = dict(headers)
        self.pieces = [piece for piece in ((body,) if isinstance(body, bytes) else body) if piece]
        self.delay = delay
        self.pause = pause
        self.lost = lost
        self.on = on


Answer: TypeAlias = Reply | Failure | Verbatim
Script: TypeAlias = Answer | Callable[[Recorded], Answer]
"""An answer, or a function that chooses one for each request. An error in the function is raised to the sender."""


def text(said: str) -> Text:
    return Text(text=said)


def thinking(thought: str, *, seal: str | None = None, summary: bool = False) -> Thinking:
    """Reasoning; `seal` is the signature (messages) or encrypted content (responses) that comes with it."""
    return Thinking(text=thought, seal=seal, summary=summary)


def redacted_thinking(data: str) -> RedactedThinking:
    """Hidden reasoning, which only the messages dialect has."""
    return RedactedThinking(data=data)


def refusal(said: str) -> Refusal:
    return Refusal(text=said)


def tool_call(name: str, arguments: Mapping[str, Any] | str, *, id: str = "") -> ToolCall:
    """A tool call. `arguments` is an object, or the text that the model writes, which need not be valid JSON."""
    written = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return ToolCall(id=id, name=name, arguments=written)


def custom_tool_call(name: str, input: str, *, id: str = "") -> ToolCall:
    """A call of a tool that takes free text (chat and responses)."""
    return ToolCall(id=id, name=name, arguments=input, kind="custom")
