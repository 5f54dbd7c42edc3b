"""The interface of a dialect: the verbs that each of them has.

A dialect is a package whose module object satisfies `Codec`: plain functions over bytes and structs.
Nothing in it does I/O, reads a clock or makes up ids. If an upstream leaves out a reply's id or its time, the caller
fills them in between reading and writing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Raw

from plano.conversation import Conversation, Event, Finish, Reply, Usage
from plano.errors import PlanoError
from plano.frames.sse import Frame
from plano.losses import Losses
from plano.types import Dialect


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
        complete: whether the client has seen an end: a finish reason, `[DONE]`, `message_stop`, `response.completed`,
            `response.incomplete`, or an error event.
        failed: whether that end is an error.
    """

    complete: bool
    failed: bool
    usage: Usage | None
    finish: Finish | None


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


class Codec(Protocol):
    """The verbs of a dialect."""

    @property
    def name(self) -> Dialect: ...

    def read_request(self, body: bytes) -> Conversation:
        """Read a client's request.

        Raises:
            InvalidRequest: malformed JSON or a wrong type; `param` is the field's path.
        """

    def write_request(self, conversation: Conversation, losses: Losses) -> bytes:
        """Write the body of a request to an upstream.

        Raises:
            UnsupportedConversion: something cannot be left out without changing the meaning.
        """

    def read_reply(self, body: bytes) -> Reply:
        """Read an upstream's complete reply.

        Raises:
            UpstreamProtocolError: the body is not a complete reply of this dialect.
            UpstreamStatus: the body is an error of the upstream's that came with status 200.
        """

    def write_reply(self, reply: Reply, asked: Conversation, losses: Losses) -> bytes:
        """Write a reply's body. The client's request, `asked`, decides which of its settings are echoed and which calls
        are calls of custom tools."""

    def stream_reader(self) -> StreamReader: ...

    def stream_writer(self, asked: Conversation) -> StreamWriter: ...

    def read_error(self, status: int, body: bytes) -> PlanoError:
        """Read an upstream's error as an UpstreamStatus. A body in no known form becomes the message, shortened."""

    def write_error(self, error: PlanoError) -> bytes:
        """Write the JSON body of an error response."""

    def write_stream_error(self, error: PlanoError) -> bytes:
        """Write the SSE frame that ends a forwarded stream after it broke."""

    def peek_usage(self, body: bytes) -> Usage | None:
        """A complete reply's usage, without reading the rest; None if it has none or is not JSON."""

    def usage_of(self, raw: Raw) -> Usage | None:
        """The usage in a reply's `usage` object; None if it counts nothing."""

    def peek_stream(self, first: bytes, last: Sequence[bytes]) -> StreamEnd:
        """The end of a stream, from its first piece and its last few pieces.

        The pieces are whole frames, as the Aligner cuts them; `first` may be among `last`.
        """

    def begins(self, frame: Frame) -> bool:
        """Whether a frame of a stream is real output: something the model said or did, or the reply's end.

        False for what only opens a stream, keeps it alive or tells its usage, and for errors. What cannot be
        understood is output.
        """

    def error_in(self, frame: Frame) -> PlanoError | None:
        """The upstream's error, if this frame of a stream says one."""

    def speaks(self, piece: bytes) -> int:
        """Where the first thing that the model says stands in a piece of a stream, or -1. It may be any byte of
        the frame."""

    def reply_texts(self, reply: dict[str, Any]) -> list[Slot]:
        """The texts in a parsed reply body; the kind of all slots is `whole`."""

    def event_texts(self, event: dict[str, Any]) -> list[Slot]:
        """The texts in a parsed stream event, and the ends of texts that it marks."""
