"""A response as filters see it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from copy import copy
from typing import TypeAlias, TypeVar

from plano.attempt import Attempt
from plano.conversation import Event, Failed, Reply, Usage
from plano.dialects import CODECS, client_codec
from plano.dialects.codec import Codec, UpstreamCodec
from plano.errors import (
    FilterError,
    GatewayFailed,
    MethodNotAllowed,
    PlanoError,
    StateUnreadable,
    UpstreamError,
    forget_frames,
)
from plano.frames import sse
from plano.journal import Journal
from plano.operations import OPERATIONS
from plano.provider import Target
from plano.request import Request
from plano.streams.rewrite import StreamRewriter, TextMap, rewrite_body
from plano.streams.stages import Flow, Stage
from plano.translation.assembly import ReplyBuilder, events_of
from plano.types import Dialect, RawHeaders

logger = logging.getLogger("plano")

T = TypeVar("T")

Pieces: TypeAlias = AsyncIterator[bytes] | Flow
"""A streamed body. Each piece holds whole SSE frames. A stream that breaks raises a PlanoError."""

OnClose: TypeAlias = Callable[[], Awaitable[None] | None]


class _Life:
    """What a response and all that were derived from it share: how to let go, and who wants to know."""

    __slots__ = ("closers", "release")

    def __init__(self, journal: Journal, release: Callable[[], Awaitable[None]] | None = None) -> None:
        self.release = release
        self.closers: list[OnClose] = []
        journal.releases += (self.close,)  # for where a filter drops the response

    async def close(self) -> None:
        """Only the first time anything happens. What is called is held no longer: it mostly knows the response."""
        release, self.release = self.release, None
        closers, self.closers = self.closers, []
        try:
            if release is not None:
                await release()
        finally:
            for fn in closers:
                try:
                    awaitable = fn()
                    if inspect.isawaitable(awaitable):
                        await awaitable
                except Exception:  # one that fails does not keep the others from being called
                    logger.exception("what a filter asked for at the end of a response failed")


class Response:
    """What goes back: a status, headers, and either a body or a stream of pieces.

    Attributes:
        request: what this answers, in the dialect that this response is written in.
        status: HTTP status.
        headers: lower-case names; may be appended to. Neither length nor transfer headers: the sender writes those.
        body: the body's bytes, or None for a stream.
        pieces: the stream, or None.
        attempt: the try at an upstream that this is the reply of, or None for a response that was made here.
        error: what this response tells the client, where it was made of an error; None for an upstream's own error.
    """

    attempt: Attempt | None = None
    error: PlanoError | None = None
    _life: _Life | None = None  # a body that nobody waits for has none
    _reply: Reply | None = None

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

    @property
    def dialect(self) -> Dialect:
        return self.request.dialect

    @property
    def journal(self) -> Journal:
        return self.request.journal

    @property
    def ok(self) -> bool:
        """Whether this is a model's reply, and not an error or the answer to another operation."""
        return self.status < 400 and OPERATIONS[self.request.operation].replies

    @property
    def reply(self) -> Reply | None:
        """The reply in the neutral model, decoded on first use; None for errors and for streams
        (`await response.read()` waits for those, `response.events()` follows them)."""
        if self._reply is None and self.body is not None and self.ok:
            self._reply = CODECS[self.dialect].read_reply(self.body)
        return self._reply

    @property
    def target(self) -> Target | None:
        """The target that this is the reply of; None for a response that was made here."""
        return None if self.attempt is None else self.attempt.target

    @property
    def usage(self) -> Usage | None:
        """Tokens used, as far as the upstream has said so; of a stream that is mostly at its end.

        When the response is over (see `on_close`) an estimate stands here where the upstream said nothing;
        `usage.estimated` says which counts are estimated.
        """
        return (
            None if self.attempt is None or not OPERATIONS[self.request.operation].uses_tokens else self.attempt.said()
        )

    async def begun(self) -> Response:
        """Wait for the first real output of the model, and give this response back.

        Until then another target may still be asked in its place; what has come is held back, and goes out with that
        output. A whole reply has begun when it is there.

        Raises:
            UpstreamError: the upstream failed before it: with an error of its own, or in its stream.
        """
        if self.pieces is not None:
            if not isinstance(self.pieces, Flow):
                self.pieces = Flow(aiter(self.pieces), CODECS[self.dialect])
            await self.pieces.begun()
        elif self.status >= 400 and self.body is not None:
            error = self.error
            if error is None and self.attempt is not None:
                error = CODECS[self.dialect].read_error(self.status, self.body)
            if isinstance(error, UpstreamError):
                raise copy(error)
        return self

    def events(self) -> AsyncIterator[Event]:
        """The reply step by step, streamed or not. Consumes the stream: answer with `with_events(...)`."""
        if self.pieces is None:
            reply = self.reply
            assert reply is not None, "an error has no events; look at response.ok first"
            return _each(events_of(reply))
        return _read_events(CODECS[self.dialect], self.pieces)

    def with_events(self, events: AsyncIterator[Event]) -> Response:
        """A streamed response of these events, written in the dialect at hand."""
        writer = self._codec.stream_writer(self.request.conversation)

        async def pieces() -> Pieces:
            try:
                async for event in events:
                    for frame in writer.feed(event):
                        yield frame
            except UpstreamError as error:
                self.journal.note_error(error)
                for frame in writer.feed(Failed(error)):
                    yield frame
            for frame in writer.finish():
                yield frame

        return self.with_pieces(pieces())

    async def read(self) -> Reply:
        """The complete reply. A stream is read to its end and kept, so that it can still be sent.

        Raises:
            PlanoError: the stream broke.
        """
        if self.pieces is None:
            reply = self.reply
            assert reply is not None, "an error has no reply; look at response.ok first"
            return reply
        kept = [piece async for piece in self.pieces]
        self.pieces = _each(kept)
        builder = ReplyBuilder()
        async for event in _read_events(CODECS[self.dialect], _each(kept)):
            builder.feed(event)
        self._reply = builder.reply()
        return self._reply

    def map_text(self, fn: TextMap) -> Response:
        """With `fn` applied to the text the model wrote, piece by piece as it comes: for what never
        spans pieces. Thinking, refusals and tool calls are left alone."""
        return self.rewrite_text(fn, window=0)

    def rewrite_text(self, fn: TextMap, *, window: int) -> Response:
        """With `fn` applied to the text the model wrote, streamed or not, in any dialect.

        Of a stream up to `window` characters are held back, so that `fn` sees across pieces whatever is no
        longer than that. Every character goes through `fn` exactly once.
        """
        if not self.ok:
            return self
        if self.pieces is None:
            assert self.body is not None
            return self.with_body(rewrite_body(self._codec, self.body, fn))
        return self.with_pieces(_rewritten(self.pieces, StreamRewriter(self._codec, fn, window)))

    def set_header(self, name: bytes, value: bytes) -> None:
        """Replace the header `name` (lower case), or add it."""
        self.headers = [*(header for header in self.headers if header[0] != name), (name, value)]

    def with_body(self, body: bytes) -> Response:
        return self._derive(body=body, pieces=None)

    def with_pieces(self, pieces: Pieces) -> Response:
        """This response with another stream, most often one that reads from `response.pieces`."""
        return self._derive(body=None, pieces=pieces)

    @property
    def holds(self) -> bool:
        """Whether there is anything to let go of: an upstream, a stream, or who asked to be told."""
        return self.pieces is not None or self._life is not None

    @property
    def watched(self) -> bool:
        """Whether anybody asked to be told of its end."""
        return self._life is not None and bool(self._life.closers)

    def through(self, stage: Stage) -> Response:
        """With the stream going through a stage, which costs each piece less than `with_pieces` does."""
        assert self.pieces is not None, "a body has no stages"
        flow = self.pieces if isinstance(self.pieces, Flow) else Flow(aiter(self.pieces), CODECS[self.dialect])
        flow.add(stage)
        return self if flow is self.pieces else self.with_pieces(flow)

    def blame(self, error: Exception) -> PlanoError:
        """The error that stands for a failure in the middle of this response's stream."""
        return GatewayFailed()

    def on_close(self, fn: OnClose) -> None:
        """Call `fn` once when this response is over: sent, broken, or the client gone. `response.usage` and
        `response.journal` are final by then. A response that a filter drops is over with its request, or with `aclose`.
        `fn` may be a coroutine function; what it raises is logged."""
        self._alive().closers.append(fn)

    async def aclose(self) -> None:
        """Let go of the upstream and run what `on_close` asked for. Whoever drops a response, to try
        again say, calls this; for the response that is sent plano does."""
        try:
            if isinstance(self.pieces, AsyncGenerator):
                await self.pieces.aclose()
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
        other.error = self.error
        other._life = self._alive()
        return other

    def _alive(self) -> _Life:
        if self._life is None:
            self._life = _Life(self.journal)
        return self._life

    def translated(self, request: Request, *, body: bytes | None = None) -> Response:
        """This response in the dialect of `request`: with another body, or a stream that something is put in front
        of, but the same upstream behind."""
        return self._derive(body=body, pieces=self.pieces, request=request)


def error_response(request: Request, error: PlanoError, *, headers: RawHeaders | None = None) -> Response:
    """An error as the response a client of the request's dialect expects."""
    headers = [] if headers is None else headers
    headers.append((b"content-type", b"application/json"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    response = Response(
        request, status=error.status, headers=headers, body=client_codec(request.dialect).write_error(error)
    )
    response.error = error
    return response


def failed_response(request: Request, error: Exception) -> Response:
    """A failure as the response that the request's client expects. What is the gateway's fault is logged."""
    if isinstance(error, PlanoError):
        log_fault(error)
    else:
        logger.error("a request failed inside plano", exc_info=error)
        cause, error = error, GatewayFailed()
        error.__cause__ = cause
    forget_frames(error)  # which hold the request
    return error_response(request, error)


def log_fault(error: PlanoError) -> None:
    """Log what is neither the client's fault nor the upstream's, with the traceback of its cause."""
    if isinstance(error, StateUnreadable):
        logger.error("%s (%s)", error, error.__cause__)
    if isinstance(error, FilterError | GatewayFailed):
        logger.error("%s", error, exc_info=error.__cause__)


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


async def _read_events(codec: UpstreamCodec, pieces: Pieces) -> AsyncIterator[Event]:
    reader = codec.stream_reader()
    async for piece in pieces:
        for frame in sse.frames(piece):
            for event in reader.feed(frame):
                yield event
    for event in reader.finish():
        yield event


async def _rewritten(pieces: Pieces, rewriter: StreamRewriter) -> Pieces:
    try:
        async for piece in pieces:
            ready = rewriter.feed(piece)
            if ready:
                yield ready
    except PlanoError:  # what was held back goes out before the error does
        rest = rewriter.finish()
        if rest:
            yield rest
        raise
    rest = rewriter.finish()
    if rest:
        yield rest
