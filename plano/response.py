"""A response as filters see it."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from copy import copy
from functools import partial
from types import AsyncGeneratorType
from typing import TypeAlias

from plano.attempt import Attempt
from plano.conversation import FILTERED, Conversation, Event, Reply, Usage
from plano.dialects import CODECS, client_codec
from plano.dialects.codec import Codec
from plano.dialects.reading import UNREADABLE
from plano.errors import (
    PlanoError,
    UpstreamError,
)
from plano.faults import Makers, fault, log_fault, maker_of
from plano.journal import Journal
from plano.losses import Loss, Losses
from plano.operations import CREATE, OPERATIONS, OTHER, operation_of
from plano.provider import Target
from plano.request import Request
from plano.streams.events import WrittenEvents, each, read_events, rewritten
from plano.streams.rewrite import StreamRewriter, TextMap, rewrite_body
from plano.streams.stages import Flow, Stage
from plano.translation.assembly import ReplyBuilder, completed, events_of
from plano.types import Dialect, RawHeaders, new_id

logger = logging.getLogger("plano")

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"

Pieces: TypeAlias = AsyncIterator[bytes] | Flow
"""A streamed body. Each piece holds whole SSE frames. A stream that breaks raises a PlanoError."""

OnClose: TypeAlias = Callable[[], Awaitable[None] | None]


class _Life:
    """The state that a response and all responses derived from it share.

    Attributes:
        release: releases the upstream's connection.
        closers: functions to call at the end, each with its owner's name, or None while that is not known.
        makers: the makers of the generators that the stream passes through, if filters could have made any.
    """

    __slots__ = ("closers", "makers", "release")

    def __init__(self, journal: Journal, release: Callable[[], Awaitable[None]] | None = None) -> None:
        self.release = release
        self.closers: list[tuple[OnClose, str | None]] = []
        self.makers: Makers | None = None
        journal.releases += (self.close,)  # in case a filter drops the response

    async def close(self) -> None:
        """Release the connection and call the closers, once. Most of them hold the response, so they are not kept."""
        release, self.release = self.release, None
        closers, self.closers = self.closers, []
        try:
            if release is not None:
                await release()
        finally:
            for fn, owner in closers:
                try:
                    awaitable = fn()
                    if inspect.isawaitable(awaitable):
                        await awaitable
                except Exception:  # the others are called even if one fails
                    logger.exception("%s failed at the end of a response, in `on_close`", owner or "a filter")


class Response:
    """The answer to a request: a status, headers, and either a body or a stream of pieces.

    Attributes:
        request: the request that it answers, in the dialect that this response is written in.
        status: HTTP status.
        headers: lower-case names; may be appended to. Neither length nor transfer headers: the sender writes those.
        body: the body's bytes, or None for a stream.
        pieces: the stream, or None.
        attempt: the attempt that got this reply from an upstream; None for a response that was made here.
        error: the error that this response was made from; None for a reply, and for an upstream's own error.
        lost: fields that this response could not say, if there is no attempt to report them.
    """

    attempt: Attempt | None = None
    error: PlanoError | None = None
    lost: tuple[Loss, ...] = ()
    _life: _Life | None = None  # None for a body without closers
    _reply: Reply | None = None
    _written: WrittenEvents | None = None
    _followed: Pieces | None = None

    def __init__(
        self,
        request: Request,
        *,
        status: int = 200,
        headers: RawHeaders | None = None,
        body: bytes | None = None,
        pieces: Pieces | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        assert (body is None) != (pieces is None), "a response has either a body or pieces"
        self.request = request
        self.status = status
        self.headers: RawHeaders = headers if headers is not None else []
        self.body = body
        self.pieces = pieces
        if attempt is not None:
            self.attempt = attempt
        if release is not None:
            self._life = _Life(request.journal, release)

    @classmethod
    def of(cls, request: Request, reply: Reply | str) -> Response:
        """A filter's own answer to a request, in the request's dialect, streamed if the request asks for that.

        Args:
            reply: the reply to send as the model's; a string becomes its text. An id, the time, the model's name (the
                one asked for), ids of tool calls, the finish reason `tool_calls` and a usage of zero are filled in if
                they are missing.

        Raises:
            TypeError: the request asks for something other than a reply (`count_tokens`, `compact`, `embeddings`).
            InvalidRequest: the request cannot be read.
        """
        if request.operation != CREATE:
            raise TypeError(f"`Response.of` answers requests for a reply; this is one for `{request.operation}`")
        asked, codec = request.conversation, client_codec(request.dialect)
        name = request.model or ("plano" if request.target is None else request.target.name)
        if codec.renaming is not None:
            name = request.journal.asked or name
        said = completed(reply, id=new_id(), model=name, now=int(time.time()))
        if request.stream:
            writer = codec.stream_writer(asked)
            frames = [*(frame for event in events_of(said) for frame in writer.feed(event)), *writer.finish()]
            response = cls(request, headers=[(b"content-type", EVENT_STREAM)], pieces=each([b"".join(frames)]))
        else:
            losses = Losses()
            body = codec.write_reply(said, asked, losses)
            response = cls(request, headers=[(b"content-type", JSON)], body=body)
            response.lost = tuple(losses)
        response.lost += _other_choices(asked)
        response._reply = said
        return response

    @property
    def dialect(self) -> Dialect:
        return self.request.dialect

    @property
    def journal(self) -> Journal:
        return self.request.journal

    @property
    def ok(self) -> bool:
        """Whether this is a model's reply, and not an error or the answer to another operation."""
        return self.status < 400 and OPERATIONS.get(self.request.operation, OTHER).replies

    @property
    def reply(self) -> Reply | None:
        """The reply in the neutral model, decoded on first use; None for errors and for a stream that was not read yet
        (`await response.read()` reads it to its end, `response.events()` gives it step by step)."""
        if self._reply is None and self.body is not None and self.ok:
            self._reply = CODECS[self.dialect].read_reply(self.body)
        return self._reply

    @property
    def target(self) -> Target | None:
        """The target that gave this reply; None for a response that was made here."""
        return None if self.attempt is None else self.attempt.target

    @property
    def usage(self) -> Usage | None:
        """Tokens used, as far as the upstream has reported them; most streams report them at their end.

        When the response is over (see `on_close`), missing counts are estimated; `usage.estimated` names them.
        """
        if self.attempt is None or not operation_of(self.request.operation).uses_tokens:
            return None
        return self.attempt.said()

    async def begun(self) -> Response:
        """Wait for the first real output of the model, and return this response.

        Until then another target may still be asked in its place: earlier pieces are held back, and go out with the
        first output. A reply with a body has begun already, unless it says that it failed.

        Raises:
            UpstreamError: the upstream failed before that, with an error of its own or in its reply. The class is in
                `attempt.failure`.
        """
        if self.pieces is not None:
            if not isinstance(self.pieces, Flow):
                self.pieces = Flow(aiter(self.pieces), CODECS[self.dialect])
            if self._written is not None:
                self._written.collected = not self.request.stream
            try:
                await self.pieces.begun()
            except UpstreamError as error:
                if self.attempt is not None:  # whose relay does not look at what generators around it say
                    self.attempt.fail_with(error)
                raise
        elif self.status >= 400 or (self.attempt is not None and self.attempt.failure is not None):
            self._raise_failure()
        return self

    def _raise_failure(self) -> None:
        """Raise the upstream's error that the body, or the error that this response was made of, tells."""
        error, body = self.error, self.body or b""
        if error is None and self.attempt is not None and self.status >= 400:
            error = CODECS[self.dialect].read_error(self.status, body)
        elif error is None and self.ok:
            try:
                CODECS[self.dialect].read_reply(body)
            except UpstreamError as found:
                error = found
        if isinstance(error, UpstreamError):
            if self.attempt is not None:
                self.attempt.fail_with(error)
            raise copy(error)

    @property
    def filtered(self) -> bool:
        """Whether a content filter of the upstream's ended the reply before the model said anything. Of a stream this
        is known once it has begun."""
        if isinstance(self.pieces, Flow):
            return self.pieces.filtered
        if self.body is None or not self.ok:
            return False
        try:
            reply = self.reply
        except (UpstreamError, *UNREADABLE):
            return False
        return reply is not None and reply.finish in FILTERED and not reply.parts

    def events(self) -> AsyncIterator[Event]:
        """The reply step by step, streamed or not. Consumes the stream: answer with `with_events(...)`."""
        assert self.ok, "an error has no events; look at response.ok first"
        reply = self.reply  # present for a stream too, once it was read
        if reply is not None:
            return each(events_of(reply))
        assert self.pieces is not None, "a response has either a body or pieces"
        self._followed = self.pieces
        return read_events(self._codec, self.pieces)

    def with_events(self, events: AsyncIterator[Event]) -> Response:
        """A response made of these events, in the client's dialect: a stream if the client asked for one, else a body.

        The result always has `pieces`, because a plain function cannot wait for events. If the client wants a body, the
        pipeline collects the events when the filter returns: outer filters see a body, and an error among the events
        becomes an error response with its status. In a stream an error becomes the dialect's error event, unless it
        comes before anything else; then it becomes an error response too.

        Events are those of one choice. If a chat client asked for several (`n`), the loss of the others is reported.
        """
        asked = self.request.conversation
        written = WrittenEvents(self._codec, asked, events, journal=self.journal)
        response = self.with_pieces(written.pieces())
        if self._written is None:
            response._lose(_other_choices(asked))
        response._written = written
        response.set_header(b"content-type", EVENT_STREAM)
        return response

    async def ready_for(self, request: Request) -> Response:
        """This response as it leaves the filter that was given `request`.

        Only a response made of events changes. It repeats fields of `request`, not of the copy that the filter made;
        and it becomes a body unless the client wants a stream.

        Raises:
            PlanoError: the events of a body broke off, or one of them is an error.
        """
        if self._written is None or self.pieces is None:
            return self
        self._written.asked = request.conversation
        return self if request.stream else await self._collected(self._written, self.pieces)

    async def _collected(self, written: WrittenEvents, pieces: Pieces) -> Response:
        written.collected = True
        reply, losses = await _built(read_events(self._codec, pieces)), Losses()
        body = self._codec.write_reply(reply, written.asked, losses)
        response = self.with_body(body)
        response._reply = reply
        response._lose(tuple(losses))
        response.set_header(b"content-type", JSON)
        return response

    def _lose(self, losses: tuple[Loss, ...]) -> None:
        """Report fields that this response cannot say."""
        if self.attempt is None:
            self.lost += losses
        elif losses:
            self.attempt.lose(losses)

    async def read(self) -> Reply:
        """The complete reply. A stream is read to its end and kept, so that it can still be sent.

        Raises:
            PlanoError: the stream broke.
        """
        reply = self.reply
        if reply is not None:
            return reply
        assert self.ok, "an error has no reply; look at response.ok first"
        assert self.pieces is not None, "a response has either a body or pieces"
        kept = [piece async for piece in self.pieces]
        self.pieces = each(kept)
        self._reply = await _built(read_events(self._codec, each(kept)))
        return self._reply

    def map_text(self, fn: TextMap) -> Response:
        """This response with `fn` applied to the model's text, piece by piece as it comes. Use it for patterns that
        never span pieces. Thinking, refusals and tool calls are left alone."""
        return self.rewrite_text(fn, window=0)

    def rewrite_text(self, fn: TextMap, *, window: int) -> Response:
        """This response with `fn` applied to the model's text, streamed or not, in any dialect.

        A stream holds back up to `window` characters, so that `fn` sees matches of up to that length whole, also
        across pieces. Every character goes through `fn` exactly once.

        Raises:
            TypeError: at once or in the middle of the stream, if `fn` gives anything but a string.
        """
        if not self.ok:
            return self
        fn = _giving_text(fn)
        if self.pieces is None:
            assert self.body is not None
            return self.with_body(rewrite_body(self._codec, self.body, fn))
        return self.with_pieces(rewritten(self.pieces, StreamRewriter(self._codec, fn, window)))

    def set_header(self, name: bytes | str, value: bytes | str) -> None:
        """Replace the header `name`, or add it. Strings become Latin-1, names lower case."""
        name, value = _encoded(name).lower(), _encoded(value)
        self.headers = [*(header for header in self.headers if header[0] != name), (name, value)]

    def with_body(self, body: bytes) -> Response:
        return self._derive(body=body, pieces=None)

    def with_pieces(self, pieces: Pieces) -> Response:
        """This response with another stream, most often one that reads from `response.pieces`."""
        return self._derive(body=None, pieces=pieces)

    @property
    def was_read(self) -> bool:
        """Whether any of its stream was read, so that it cannot be sent whole."""
        pieces = self.pieces
        if isinstance(pieces, Flow):
            return pieces.was_read
        if not isinstance(pieces, AsyncGeneratorType):
            return pieces is not None and pieces is self._followed
        moved = pieces.ag_frame is None if self.makers is None else self.makers.has_moved(pieces)
        return moved or pieces is self._followed

    @property
    def holds(self) -> bool:
        """Whether it holds anything to close: an upstream's connection, a stream, or closers."""
        return self.pieces is not None or self._life is not None

    @property
    def watched(self) -> bool:
        """Whether anything is to be called at its end."""
        return self._life is not None and bool(self._life.closers)

    def through(self, stage: Stage) -> Response:
        """This response with its stream put through a stage, which costs less per piece than `with_pieces`."""
        assert self.pieces is not None, "a body has no stages"
        flow = self.pieces if isinstance(self.pieces, Flow) else Flow(aiter(self.pieces), CODECS[self.dialect])
        flow.add(stage)
        return self if flow is self.pieces else self.with_pieces(flow)

    def on_close(self, fn: OnClose, *, owner: str | None = None) -> None:
        """Call `fn` once when this response is over: it was sent, it broke, or the client left. `response.usage` and
        `response.journal` are final by then. A response that a filter drops is over with its request, or with `aclose`.
        `fn` may be a coroutine function. An exception in it is logged with the filter's name; plano's own links give
        theirs as `owner`."""
        self._alive().closers.append((fn, owner))

    def on_release(self, fn: Callable[[], Awaitable[None]]) -> None:
        """Await `fn` once when the upstream's connection is let go of, after that. It is for links of plano's own: it
        sees the usage as the upstream has said it."""
        life = self._alive()
        life.release = fn if life.release is None else partial(_both, life.release, fn)

    def made_by(self, maker: str) -> None:
        """Note `maker`, a filter or `plano.faults.PLANO`, for its stream, if that is a generator, and for its closers,
        unless they have a maker already. This costs a piece nothing."""
        life = self._life
        stream = self.pieces.source if isinstance(self.pieces, Flow) else self.pieces
        if isinstance(stream, AsyncGeneratorType):
            life = self._alive()
            life.makers = life.makers or Makers()
            life.makers.note(stream, maker)
        if life is not None and life.closers and maker:
            life.closers = [(fn, owner or f"the filter `{maker}`") for fn, owner in life.closers]

    @property
    def makers(self) -> Makers | None:
        """The makers of the stream's generators, if filters could have made any."""
        return None if self._life is None else self._life.makers

    def blame(self, error: Exception) -> PlanoError:
        """The error to tell the client when `error` comes out of this response's stream: itself if it is a PlanoError,
        a FilterError with the name of the filter that raised it, or GatewayFailed, with `error` as its cause. It is
        logged here."""
        told = fault(error, maker_of(error, self.makers))
        log_fault(told)
        return told

    async def aclose(self) -> None:
        """Release the upstream's connection and run the functions given to `on_close`. A filter that drops a response,
        to try again for instance, calls this; plano does it for the response that is sent."""
        stream = self.pieces.source if isinstance(self.pieces, Flow) else self.pieces
        try:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        finally:
            if self._life is not None:
                await self._life.close()

    @property
    def _codec(self) -> Codec:
        return client_codec(self.request.dialect)

    def _derive(
        self, *, body: bytes | None, pieces: Pieces | None, request: Request | None = None, status: int | None = None
    ) -> Response:
        other = Response(
            request if request is not None else self.request,
            status=status if status is not None else self.status,
            headers=self.headers,
            body=body,
            pieces=pieces,
            attempt=self.attempt,
        )
        other.error, other.lost = self.error, self.lost
        other._life = self._alive()
        other._written = self._written
        return other

    def _alive(self) -> _Life:
        if self._life is None:
            self._life = _Life(self.journal)
        return self._life

    def translated(self, request: Request, *, body: bytes | None = None) -> Response:
        """This response for `request`, which may be in another dialect: with this body, or with the same stream, to
        which the caller adds a stage. The upstream stays the same."""
        return self._derive(body=body, pieces=self.pieces, request=request)


def _other_choices(asked: Conversation) -> tuple[Loss, ...]:
    """The loss of all choices but one, for a request that asks for several."""
    return (Loss("n", "a reply of the neutral model has one choice"),) if (asked.n or 1) > 1 else ()


async def _built(events: AsyncIterator[Event]) -> Reply:
    builder = ReplyBuilder()
    async for event in events:
        builder.feed(event)
    return builder.reply()


def _giving_text(fn: TextMap) -> TextMap:
    """`fn`, with a clear error for a result that is not a string."""

    def mapped(text: str) -> str:
        said: object = fn(text)
        if not isinstance(said, str):
            if inspect.iscoroutine(said):
                said.close()
            raise TypeError(
                f"the function given to `rewrite_text` or `map_text` gave {type(said).__name__} for a text; it must be "
                "a plain function that returns a str on every path"
            )
        return said

    return mapped


async def _both(first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]]) -> None:
    try:
        await first()
    finally:
        await second()


def _encoded(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
