"""Stores a stream as it passes; the last event is held until the reply can be read back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from msgspec import Raw

from plano.errors import UpstreamError
from plano.state.replies import NOT_STORED, CompletionStream, Ending, ResponseStream, StoredReply

_NOTHING: tuple[bytes, ...] = ()


class CompletionStage:
    """A `plano.streams.stages.Stage` that stores a chat completion.

    Args:
        put: stores the stream; False if it could not.
        limit: the most bytes that are collected.
        at_once: storing takes no time, so the bytes before the last event may wait for it too.
    """

    __slots__ = ("_at_once", "_keep", "_over", "_put", "_stream")

    def __init__(self, put: Callable[[CompletionStream], Awaitable[bool]], *, limit: int, at_once: bool) -> None:
        self._put = put
        self._at_once = at_once
        self._stream = CompletionStream(limit)
        self._keep = self._stream.pieces.append
        self._over = False

    def feed(self, piece: bytes) -> bytes | AsyncGenerator[bytes, None]:
        stream = self._stream
        room = stream.room - len(piece)
        if room >= 0 and piece.find(b"[DONE]", -16) < 0 and not self._over:  # the common case
            stream.room = room
            self._keep(piece)
            return piece
        last = -1 if self._over else self._stream.feed(piece)
        return piece if last < 0 else self._end(piece, last)

    async def finish(self) -> AsyncGenerator[bytes, None]:
        if not self._over:  # the upstream does not send [DONE]; a stream that broke does not get here
            await self._put(self._stream)
        for piece in _NOTHING:
            yield piece

    def fail(self, error: UpstreamError) -> None:
        """Stores nothing, because the stream broke."""

    async def _end(self, piece: bytes, last: int) -> AsyncGenerator[bytes, None]:
        self._over = True
        if last and not self._at_once:
            yield piece[:last]
            piece = piece[last:]
        yield piece if await self._put(self._stream) else NOT_STORED + piece


class ResponseStage:
    """A `plano.streams.stages.Stage` that stores a response.

    Args:
        put: stores the reply; None where nothing is to be stored.
        echo: fields that are set in the stream's Response objects.
        at_once: see `CompletionStage`.
    """

    __slots__ = ("_at_once", "_put", "_stream")

    def __init__(
        self, put: Callable[[StoredReply | None], Awaitable[bool]] | None, echo: Mapping[str, Raw], *, at_once: bool
    ) -> None:
        self._put = put
        self._at_once = at_once
        self._stream = ResponseStream(echo)

    def feed(self, piece: bytes) -> bytes | AsyncGenerator[bytes, None]:
        found = self._stream.feed(piece)
        return self._end(found) if isinstance(found, Ending) else found

    async def finish(self) -> AsyncGenerator[bytes, None]:
        for piece in _NOTHING:
            yield piece

    def fail(self, error: UpstreamError) -> None:
        """Stores nothing, because the stream broke."""

    async def _end(self, ending: Ending) -> AsyncGenerator[bytes, None]:
        before, last, reply = ending
        if self._put is not None:
            if before and not self._at_once:
                yield before
                before = b""
            if not await self._put(reply):
                before += NOT_STORED
        yield before + last
