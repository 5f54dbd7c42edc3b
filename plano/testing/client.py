"""A client for tests: asks in any dialect, streamed or not, and reads the answer in the neutral model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from plano.conversation import Conversation, Event, Failed, Message, PartStart, Reply, Text, TextDelta
from plano.dialects import CODECS
from plano.errors import PlanoError
from plano.frames import sse
from plano.losses import Losses
from plano.operations import CREATE, OPERATIONS
from plano.translation.assembly import ReplyBuilder, events_of
from plano.types import CLIENT_DIALECTS, ClientDialect

WAYS: tuple[tuple[ClientDialect, bool], ...] = tuple(
    (dialect, stream) for dialect in CLIENT_DIALECTS for stream in (False, True)
)
"""Every way in which a client can ask: each dialect, not streamed and streamed. Use it as
`@pytest.mark.parametrize(("dialect", "stream"), WAYS)`."""

_PATHS: Mapping[ClientDialect, str] = OPERATIONS[CREATE].paths
_MAX_TOKENS = 1000
"""The `max_tokens` for dialects that require it."""


class Received:
    """The answer that a client got.

    Attributes:
        dialect: the dialect that it is written in.
        status: HTTP status.
        headers: the headers by lower-case name; of several with one name, the last.
        body: the whole body, or all bytes of a stream.
        complete: whether the application finished its answer. If not, the connection looks broken to a client.
    """

    def __init__(self, dialect: ClientDialect) -> None:
        self.dialect = dialect
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False

    @property
    def json(self) -> Any:
        """The parsed body; raises msgspec.DecodeError if it is not JSON, as a stream is not."""
        return msgspec.json.decode(self.body)

    @cached_property
    def events(self) -> list[Event]:
        """The events of a stream, or the events that would build a whole reply; for an error response a single
        `Failed`."""
        codec = CODECS[self.dialect]
        if self.status >= 400:
            return [Failed(codec.read_error(self.status, self.body))]
        if "event-stream" not in self.headers.get("content-type", ""):
            return events_of(codec.read_reply(self.body))
        reader = codec.stream_reader()
        read = [event for frame in sse.frames(self.body) for event in reader.feed(frame)]
        return [*read, *reader.finish()]

    @property
    def reply(self) -> Reply:
        """The whole reply, streamed or not. Raises the error that the client was told instead of it."""
        builder = ReplyBuilder()
        for event in self.events:
            builder.feed(event)
        return builder.reply()

    @property
    def text(self) -> str:
        """The model's text, as far as it came, without thinking, refusals and tool calls."""
        texts = {event.index for event in self.events if isinstance(event, PartStart) and isinstance(event.part, Text)}
        return "".join(event.text for event in self.events if isinstance(event, TextDelta) and event.index in texts)

    @property
    def error(self) -> PlanoError | None:
        """The error that the client was told, as a status or in a stream; None without one."""
        return next((event.error for event in self.events if isinstance(event, Failed)), None)

    @property
    def attempts(self) -> int:
        """The number of attempts at upstreams, as the gateway tells it; 1 if it does not."""
        return int(self.headers.get("x-plano-attempts", 1))

    @property
    def fallback(self) -> str | None:
        """The failure after which another target answered, or `budget`; None if the first one did."""
        return self.headers.get("x-plano-fallback")

    @property
    def model(self) -> str | None:
        """The entry that answered, as `provider/model`."""
        return self.headers.get("x-plano-model")

    def __repr__(self) -> str:
        return f"<Received {self.status}, {self.dialect}, {len(self.body)} bytes>"


async def ask(
    app: Any,
    dialect: ClientDialect,
    asked: str | Conversation,
    *,
    stream: bool = False,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    under: str = "",
    **fields: Any,
) -> Received:
    """Ask an ASGI application for a reply, and wait for all of its answer.

    Args:
        app: a `Plano`, or an application that has one mounted at the path `under`.
        asked: a user's text, or a whole conversation.
        model: the model's name; None leaves it to the gateway's default.
        fields: top-level fields of the body, in the dialect's own words.

    Raises:
        Exception: any exception that the application raises.
    """
    body = _body(dialect, asked, stream, model) | fields
    sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    exchange = _Exchange(dialect, msgspec.json.encode(body))
    await app(_scope(f"{under}{_PATHS[dialect]}", sent), exchange.receive, exchange.send)
    return exchange.received


def _body(dialect: ClientDialect, asked: str | Conversation, stream: bool, model: str | None) -> dict[str, Any]:
    if isinstance(asked, str):
        said = Message(role="user", parts=(Text(text=asked),))
        limit = _MAX_TOKENS if CODECS[dialect].conventions.needs_limit else None
        asked = Conversation(messages=(said,), max_tokens=limit, include_usage=stream)
    asked = msgspec.structs.replace(asked, stream=stream, model=asked.model if model is None else model)
    body: dict[str, Any] = msgspec.json.decode(CODECS[dialect].write_request(asked, Losses()))
    return body


def _scope(path: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    own = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [*(each for each in own if each[0] not in dict(headers)), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


class _Exchange:
    """One request to an ASGI application, from a client that stays to the end."""

    def __init__(self, dialect: ClientDialect, body: bytes) -> None:
        self.received = Received(dialect)
        self._body: bytes | None = body
        self._stays: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self) -> dict[str, Any]:
        if self._body is None:
            await self._stays
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        received = self.received
        if message["type"] == "http.response.start":
            received.status = message["status"]
            received.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            received.body += message.get("body", b"")
            received.complete = not message.get("more_body", False)
