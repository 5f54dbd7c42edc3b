"""Reads a request's body within bounds, and notices when its client leaves."""

from __future__ import annotations

import asyncio
from time import perf_counter

import msgspec
from msgspec import Raw, Struct

from plano.dialects import names, reading
from plano.errors import BodyTimeout, InvalidRequest, TooLarge
from plano.runtime.deadlines import deadlines_of
from plano.types import Headers, Receive


class ClientLeft(Exception):
    """The client closed the connection, so nobody waits for an answer."""


class Peek(Struct, frozen=True, gc=False):
    """The fields that are read of every body, before any others."""

    model: str | None = None
    stream: bool | None = None
    fallbacks: tuple[str, ...] = ()


DECIDED_ON = frozenset(
    {
        "background",
        "conversation",
        "fallbacks",
        "frequency_penalty",
        "include",
        "input",
        "instructions",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "models",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "stop_sequences",
        "store",
        "stream",
        "stream_options",
        "system",
        "temperature",
        "text",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user",
    }
)
"""The fields that decide how plano, a provider's quirks or a filter treats a request.

The upstream must read the same values in them, regardless of the language it is written in: to limit a caller to some
models is worth nothing if the upstream reads another one from `Model`.
"""

_fields = msgspec.json.Decoder(dict[str, Raw])
_model = msgspec.json.Decoder(str | None)
_stream = msgspec.json.Decoder(bool | None)
_peek = msgspec.json.Decoder(Peek)
_names = msgspec.json.Decoder(tuple[str, ...])
_NULL = Raw(b"null")

MAX_FALLBACKS = 16
"""The most fallbacks that a request may name."""

_SPARE_FRAMES = 64
"""Stack frames to spare: a body that can be read here can be read this many calls further down too. Up to Python 3.11,
calls and nested JSON share the recursion limit."""

_SHALLOW_BYTES = 1000
"""A shorter body, in bytes, cannot be nested deeply enough to matter."""


def peek(body: bytes) -> tuple[Peek, bytes]:
    """The model, the stream flag and the fallbacks of a body in any dialect, and the body to send on.

    Fallbacks are the names in `fallbacks` or `models` (as at OpenRouter, where the first of them is the model if there
    is none in `model`). They are for the gateway, so the body to send on does not have them. Field names in that body
    have no escapes, because some of them are searched for in its bytes.

    Raises:
        InvalidRequest: it is not a JSON object in UTF-8, one of the fields is of the wrong type, there are too many
            fallbacks, or two readers could read different names in it.
    """
    fields = _with_room(body, _SPARE_FRAMES) if len(body) > _SHALLOW_BYTES else reading.request(_fields, body)
    if not body.isascii():  # the decoder does not check values that it skips
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"The request body is not valid UTF-8: {error.reason} at byte {error.start}."
            ) from None
    plain = names.judge(body, fields, DECIDED_ON)
    model, stream = fields.get("model", _NULL), fields.get("stream", _NULL)
    try:
        found = Peek(_model.decode(model), _stream.decode(stream))
    except msgspec.MsgspecError:
        found = reading.request(_peek, b'{"model":%b,"stream":%b}' % (model, stream))
    if "fallbacks" in fields or "models" in fields:
        known, others = len(fields), _taken(fields)
        plain = plain and len(fields) == known
        if others:
            found = Peek(found.model or others.pop(0), found.stream, tuple(others))
            fields["model"] = Raw(msgspec.json.encode(found.model))
    return found, body if plain else msgspec.json.encode(fields)


def _taken(fields: dict[str, Raw]) -> list[str]:
    """The names of fallbacks, which are taken out of the body. A field that is no list of names is the upstream's."""
    found: list[str] = []
    for field in ("fallbacks", "models"):
        try:
            said = _names.decode(fields.get(field, b"[]"))
        except msgspec.MsgspecError:
            continue
        fields.pop(field, None)
        found += said
    if len(found) > MAX_FALLBACKS:
        raise InvalidRequest(f"At most {MAX_FALLBACKS} models can be named as fallbacks.", param="fallbacks")
    return found


def _with_room(body: bytes, room: int) -> dict[str, Raw]:
    return _with_room(body, room - 1) if room else reading.request(_fields, body)


async def read_body(receive: Receive, headers: Headers, *, limit: int) -> bytes:
    """The whole body. The caller has to set a deadline.

    Args:
        limit: bytes.

    Raises:
        TooLarge: it is longer than `limit`, or its `content-length` is.
        ClientLeft: the client left before it was complete.
    """
    announced = headers.find(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def late_body(deadline: float) -> BodyTimeout:
    """The error for a body that took longer than `deadline` seconds."""
    return BodyTimeout(f"The request body did not arrive within {deadline:g} seconds.")


def too_large(limit: int) -> TooLarge:
    """The error for a body that is longer than `limit` bytes."""
    return TooLarge(f"The request body is larger than the limit of {limit} bytes.")


class Watch:
    """Cancels the task that made it, if a request's body is late or its client leaves.

    Most requests are over sooner, so nothing happens until the first deadline has passed.

    Args:
        receive: ASGI's `receive`, which gives `http.disconnect`.
        due: the time by which the body must have arrived, on `time.perf_counter()`.

    Attributes:
        due: see `plano.runtime.deadlines`.
        loop: the event loop.
        late: whether the body was late, so that the task was cancelled.
        gone: whether the client left, so that the task was cancelled.
    """

    __slots__ = ("_arrived", "_deadlines", "_receive", "_task", "_waiter", "due", "gone", "late", "loop")

    def __init__(self, receive: Receive, due: float) -> None:
        self.due = due
        self.late = False
        self.gone = False
        self._arrived = False
        self._receive = receive
        self.loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self.loop)
        self._waiter: asyncio.Task[None] | None = None
        self._deadlines = deadlines_of(self.loop)
        self._deadlines.add(self)

    def arrived(self, patience: float = 0.1) -> None:
        """Note that the body is complete. Watch the client, beginning in `patience` seconds."""
        self._arrived = True
        self.due = perf_counter() + patience

    def forgive(self) -> None:
        """Undo the cancellation, so that the task can answer with the reason."""
        if self._task is not None:
            self._task.uncancel()

    def unwatch(self) -> None:
        """Stop watching. If the client left, undo the cancellation, because the task has already ended."""
        self._deadlines.watched.discard(self)
        if self._waiter is not None:
            self._waiter.cancel()
            self._waiter = None  # its error holds frames that hold this: a reference cycle
        if self.gone:
            self.forgive()

    def overdue(self) -> None:
        """See `plano.runtime.deadlines`."""
        if self._arrived:
            self._waiter = asyncio.create_task(self._wait())
        else:
            self.late = True
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _wait(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
        self.gone = True
        self._cancel()
