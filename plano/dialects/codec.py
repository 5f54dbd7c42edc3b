"""The interface of a dialect: the verbs that each of them has.

A dialect is a package whose module object satisfies `UpstreamCodec`, and `ClientCodec` too where clients speak it: its
verbs are plain functions over bytes and structs. Nothing in it does I/O, reads a clock or makes up ids. The caller
fills in a reply's id or time, if the upstream left it out, between reading and writing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Raw, Struct

from plano.capabilities import Takes
from plano.conversation import Conversation, Event, Finish, Reply, Usage
from plano.credentials.headers import AuthStyle
from plano.dialects.look import Look
from plano.errors import PlanoError
from plano.frames.sse import Frame
from plano.losses import Losses
from plano.operations import EndpointPath
from plano.types import ClientDialect, RawHeaders, UpstreamDialect


class StreamReader(Protocol):
    """Reads an upstream's stream as events; one instance per exchange."""

    def feed(self, frame: Frame) -> list[Event]:
        """The events in one frame.

        Raises:
            UpstreamProtocolError: the frame is not of this dialect.
        """

    def finish(self) -> list[Event]:
        """The events that are still due at the end of the stream, such as a `Finished` that waited for usage.

        If the stream ended too early, that is a `Failed`, unless one was given already.
        """


class StreamWriter(Protocol):
    """Writes events as a client's stream; one instance per exchange."""

    def feed(self, event: Event) -> list[bytes]:
        """The whole SSE frames for one event. `Failed` ends the stream: open parts are closed as far as the dialect's
        grammar demands it, and then the error is written."""

    def finish(self) -> list[bytes]:
        """The frames after the last event, which close a complete stream (`[DONE]`); none after `Failed`."""


class StreamEnd(NamedTuple):
    """The end of a stream, as its first and last frames show it.

    Attributes:
        complete: whether the dialect's end was seen (a finish reason, `[DONE]`, `message_stop`, `response.completed`,
            `response.incomplete`, or an error event, which the client has got).
        failed: whether that end was an error.
        opening: whether the usage is only that of the opening: all of the input, and a first count of the output.
    """

    complete: bool
    failed: bool
    usage: Usage | None
    finish: Finish | None
    opening: bool = False


class Slot(NamedTuple):
    """A place in parsed JSON that holds text the model wrote for the user.

    Attributes:
        key: identifies the text within its stream: all events of one text have the same key.
        holder, field: `holder[field]` is the string, and may be assigned.
        kind: `delta` (more of the text), `whole` (all of it), or `end` (no text here; the text is over).
    """

    key: Hashable
    holder: dict[str, Any]
    field: str
    kind: Literal["delta", "whole", "end"]


class Renaming(NamedTuple):
    """Replaces the model's name in a reply, and leaves all other bytes of its fields as they are.

    Attributes:
        reply: takes the name and a whole reply, and gives the reply with that name.
        opening: takes the name and one of a stream's first pieces, and gives the piece with that name; None if the
            name does not stand in this piece.
    """

    reply: Callable[[str, bytes], bytes]
    opening: Callable[[str, bytes], bytes | None]


class Gauge(Struct, frozen=True, gc=False):
    """The state of a limit, as clients are told it.

    Attributes:
        counts: the thing that it counts.
        limit: the most in its period.
        left: the amount that is left, never below zero.
        reset: seconds until all of it is there again.
    """

    counts: Literal["requests", "tokens", "input_tokens", "output_tokens"]
    limit: int
    left: int
    reset: float


class Conventions(Struct, frozen=True, kw_only=True):
    """The conventions of servers that speak a dialect; their provider's row may differ.

    Attributes:
        endpoint: the endpoint for replies.
        auth: the header that carries the key.
        headers: further headers of each request, unless the client sends them; names in lower case.
        longest_id: the most characters in a call's id, None for any number.
        longest_name: the most characters in a tool's name, None for any number.
        versioned: whether the last part of a base URL's path is a version, and `/v1` is added where it is none.
        needs_limit: whether every request must have a `max_tokens`.
        limits: the names of the field with the most output tokens, the usual one first.
        lacks: OpenAI's fields of the chat API that this API refuses, because it says them otherwise or not at all.
        request_id: the header with the server's own id for a request.
        call_prefix: the beginning of the ids that servers give to calls.
        overloaded: the HTTP status of an error that means "too busy".
        closing: the data of the frame that ends a stream after the model's finish; b"" if there is none.
    """

    endpoint: EndpointPath
    auth: AuthStyle = "bearer"
    headers: tuple[tuple[str, str], ...] = ()
    longest_id: int | None = None
    longest_name: int | None = None
    versioned: bool = False
    needs_limit: bool = False
    limits: tuple[str, ...] = ("max_tokens",)
    lacks: frozenset[str] = frozenset()
    request_id: str = "x-request-id"
    call_prefix: str = "call_"
    overloaded: int = 503
    closing: bytes = b""


class ClientCodec(Protocol):
    """The verbs of a dialect that clients speak."""

    @property
    def name(self) -> ClientDialect: ...

    def read_request(self, body: bytes) -> Conversation:
        """Read a client's request.

        Raises:
            InvalidRequest: malformed JSON or a wrong type; `param` is the field's path.
        """

    def hands_back(self, body: bytes) -> bool:
        """Whether a request holds values that plano made for its client (another vendor's seal, an item's id), which
        no upstream knows."""

    def mark_seals(self, piece: bytes, mark: bytes) -> bytes:
        """The whole frames of a stream, or a whole reply, with `mark` in front of each seal of a vendor."""

    def write_reply(self, reply: Reply, asked: Conversation, losses: Losses) -> bytes:
        """`asked` is the client's request: it decides echoes and which calls are custom."""

    def stream_writer(self, asked: Conversation) -> StreamWriter: ...

    @property
    def renaming(self) -> Renaming | None:
        """Puts the name that a client asked for into a forwarded reply; None if clients are told the upstream's own."""

    def status_of(self, error: PlanoError) -> int:
        """The HTTP status of an error response. Some errors have another status in this dialect than `error.status`."""

    def write_error(self, error: PlanoError, *, request_id: str | None = None) -> bytes:
        """The JSON body of an error response, with the request's id where the dialect has a place for it."""

    def write_stream_error(self, error: PlanoError, last: Sequence[bytes] = ()) -> bytes:
        """The SSE frame that ends a forwarded stream after it broke. Where events are numbered, its number follows on
        those in `last`, the stream's last pieces."""

    def write_limits(self, gauges: Sequence[Gauge], now: float) -> RawHeaders:
        """The headers that tell a client its limits, one gauge of each kind; `now` is in Unix seconds."""

    def reply_texts(self, reply: dict[str, Any]) -> list[Slot]:
        """The texts in a parsed reply body; all `whole`."""

    def event_texts(self, event: dict[str, Any]) -> list[Slot]:
        """The texts in a parsed stream event, and the ends of texts."""


class UpstreamCodec(Protocol):
    """The verbs of a dialect that upstreams speak."""

    @property
    def name(self) -> UpstreamDialect: ...

    @property
    def conventions(self) -> Conventions: ...

    @property
    def spoken_fields(self) -> frozenset[str]:
        """The fields of requests, replies and events that hold texts of the user or the model."""

    def write_request(self, conversation: Conversation, losses: Losses, takes: Takes | None = None) -> bytes:
        """Write the body of a request to an upstream. `takes` is the row of its model, None if nothing is known.

        Raises:
            UnsupportedConversion: a field cannot be left out without a change of meaning.
        """

    def read_reply(self, body: bytes) -> Reply:
        """Read an upstream's complete reply.

        Raises:
            UpstreamProtocolError: the body is not a complete reply of this dialect.
            UpstreamStatus: the body is an error of the upstream's that came with status 200.
        """

    def stream_reader(self) -> StreamReader: ...

    def read_error(self, status: int, body: bytes) -> PlanoError:
        """Read an upstream's error as an UpstreamStatus. A body in no known form becomes the message, shortened."""

    def look(self, body: bytes) -> Look:
        """A first look at the body of a 200. Raises UpstreamProtocolError if it is not a JSON object."""

    def peek_usage(self, body: bytes) -> Usage | None:
        """A complete reply's usage, without reading the rest; None if it has none or is not JSON."""

    def usage_of(self, raw: Raw) -> Usage | None:
        """The usage in a reply's `usage` object; None if it counts nothing."""

    def peek_stream(self, first: bytes, last: Sequence[bytes]) -> StreamEnd:
        """The end of a stream, from its first piece and its last few pieces.

        The pieces are whole frames, as the Aligner cuts them; `first` may be among `last`.
        """

    def begins(self, frame: Frame) -> bool:
        """Whether a frame of a stream is real output: text or a call of the model, or the reply's end.

        False for frames that only open a stream, keep it alive or tell its usage, and for errors. An unknown frame
        counts as output.
        """

    def error_in(self, frame: Frame) -> PlanoError | None:
        """The upstream's error, if this frame of a stream holds one."""

    def speaks(self, piece: bytes) -> int:
        """The position of the model's first text or call in a piece of a stream, or -1. It may be any byte of its
        frame."""


class Codec(ClientCodec, UpstreamCodec, Protocol):
    """The verbs of a dialect that both clients and upstreams speak."""

    @property
    def name(self) -> ClientDialect: ...
