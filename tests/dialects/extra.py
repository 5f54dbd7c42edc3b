"""A dialect that only upstreams speak, made up for tests: what an API needs that is unlike the three.

Its requests name the model in the path and the stream by another path; its streams are cut by lengths, not by lines.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import (
    Conversation,
    Event,
    Failed,
    Finished,
    PartStart,
    PartStop,
    Reply,
    Start,
    Text,
    TextDelta,
    Usage,
)
from plano.dialects.codec import Conventions, StreamEnd
from plano.dialects.look import Look, looking_for
from plano.errors import PlanoError, UpstreamProtocolError, UpstreamStatus
from plano.frames import sse
from plano.losses import Losses
from plano.operations import EndpointPath

ENDPOINT = EndpointPath(
    path="/model/{model}/say", streamed="/model/{model}/speak?alt=lengths", omits=("model",), frames="lengths"
)


class Reader:
    def __init__(self) -> None:
        self._over = self._started = False

    def feed(self, frame: sse.Frame) -> list[Event]:
        found = msgspec.json.decode(frame.data)
        events: list[Event] = [] if self._started else [Start(id="1"), PartStart(0, Text(text=""))]
        self._started = True
        if "failed" in found:
            self._over = True
            return [Failed(UpstreamStatus(found["failed"], status=503))]
        if "piece" in found:
            return [*events, TextDelta(0, found["piece"])]
        self._over = True
        return [*events, PartStop(0), Finished(finish="stop", usage=usage(found["tokens"]))]

    def finish(self) -> list[Event]:
        return [] if self._over else [Failed(UpstreamProtocolError("cut off"))]


class Dialect:
    """An object like a dialect's package."""

    name: Any = "extra"
    conventions = Conventions(endpoint=ENDPOINT, auth="none", headers=(("x-extra", "1"),))
    spoken_fields = frozenset({"say", "said", "piece"})

    def write_request(self, conversation: Conversation, losses: Losses) -> bytes:
        for name in ("temperature", "seed"):
            if getattr(conversation, name) is not None:
                losses.drop(name, "there is no such thing")
        texts = [part.text for message in conversation.messages for part in message.parts if isinstance(part, Text)]
        return msgspec.json.encode({"say": texts})

    def read_reply(self, body: bytes) -> Reply:
        found = msgspec.json.decode(body)
        return Reply(id="1", parts=(Text(text=found["said"]),), usage=usage(found["tokens"]))

    def stream_reader(self) -> Reader:
        return Reader()

    def read_error(self, status: int, body: bytes) -> PlanoError:
        return UpstreamStatus(body.decode(), status=status)

    def look(self, body: bytes) -> Look:
        return looking_for("said")(body)

    def peek_usage(self, body: bytes) -> Usage | None:
        return usage(msgspec.json.decode(body)["tokens"])

    def usage_of(self, raw: Raw) -> Usage | None:
        return None

    def peek_stream(self, first: bytes, last: Sequence[bytes]) -> StreamEnd:
        found = [msgspec.json.decode(frame.data) for piece in last for frame in sse.frames(piece)]
        tokens = next((each["tokens"] for each in found if "tokens" in each), None)
        failed = any("failed" in each for each in found)
        return StreamEnd(tokens is not None or failed, failed, usage(tokens) if tokens else None, "stop")

    def begins(self, frame: sse.Frame) -> bool:
        return b"piece" in frame.data

    def error_in(self, frame: sse.Frame) -> PlanoError | None:
        return None

    def speaks(self, piece: bytes) -> int:
        return piece.find(b"piece")


class Lengths:
    """Cuts a stream of frames that have their length, in four bytes, in front of them."""

    empty = False

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        self._rest += chunk
        return b"".join(self._frames())

    def _frames(self) -> Iterator[bytes]:
        while len(self._rest) >= 4:
            (length,) = struct.unpack(">I", self._rest[:4])
            if len(self._rest) < 4 + length:
                return
            data, self._rest = self._rest[4 : 4 + length], self._rest[4 + length :]
            yield sse.frame(data)

    def finish(self) -> bytes:
        return b""


def usage(tokens: list[int]) -> Usage:
    return Usage(input_tokens=tokens[0], output_tokens=tokens[1])


def framed(*events: dict[str, Any]) -> bytes:
    encoded = [msgspec.json.encode(event) for event in events]
    return b"".join(struct.pack(">I", len(data)) + data for data in encoded)
