"""A stream on its way from an upstream to a client, in pieces of whole frames."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from time import perf_counter

from plano.attempt import Attempt
from plano.credentials.masking import NOTHING, Mask
from plano.dialects import CODECS
from plano.dialects.reading import CUT_OFF
from plano.errors import UpstreamError, UpstreamProtocolError
from plano.frames import FRAMES, Aligner, sse
from plano.request import Request
from plano.streams.stages import Flow, Passed, one, through


class Relay(Flow):
    """An upstream's stream, watched for its end and its usage.

    Args:
        request: the request in the form that the upstream got.
        source: the reply's body.
        attempt: the attempt in whose record times, usage and failure are noted.
        mask: keeps the gateway's credentials out of errors in the stream.
        aligner: cuts the stream into frames; by default one for server-sent events.

    Attributes:
        opening: changes the stream's opening: it is given the pieces up to the first token, until it returns one. None
            changes nothing.
    """

    opening: Callable[[bytes], bytes | None] | None = None

    def __init__(
        self,
        request: Request,
        source: AsyncIterator[bytes],
        attempt: Attempt,
        mask: Mask = NOTHING,
        aligner: Aligner | None = None,
    ) -> None:
        codec = CODECS[request.dialect]
        super().__init__(source, codec, request.journal)
        self._attempt = attempt
        self._mask = mask
        self._shortest = mask.shortest
        self._speaks = codec.speaks
        self._aligner = FRAMES["sse"]() if aligner is None else aligner
        self._align = self._aligner.feed
        self._aligned = self._aligner.empty
        self._last: deque[bytes] = deque(maxlen=4)
        self._keep = self._last.append
        attempt.last = self._last

    def feed(self, chunk: bytes) -> Passed:
        """Put one chunk of the source through the stages. Raises the same errors as they do."""
        piece = self.arrived(chunk)
        if not piece:
            return piece
        return self.through_stages(piece) if self._only_feed is None else self._only_feed(piece)

    def arrived(self, chunk: bytes) -> bytes:
        if chunk.endswith(b"\n\n") and self._aligned:  # nearly always
            piece = chunk
        else:
            piece = self._align(chunk)
            self._aligned = self._aligner.empty
            if not piece:
                return piece
        if len(piece) >= self._shortest and piece.find(b"error") >= 0:
            piece = self._mask.out_of(piece)
        attempt = self._attempt
        if attempt.first_token is None:
            self._before_first_token(piece)
            if self.opening is not None:
                piece = self._opened(self.opening, piece)
        else:
            attempt.events += piece.count(b"\n\n") or 1
            attempt.bytes_streamed += len(piece)
        self._keep(piece)
        return piece

    def _opened(self, opening: Callable[[bytes], bytes | None], piece: bytes) -> bytes:
        opened = opening(piece)
        if opened is None:
            return piece
        self.opening = None
        return opened

    def rest(self) -> bytes:
        rest = self._mask.out_of(self._aligner.finish())
        if rest:
            self._attempt.first = self._attempt.first or rest
            self._keep(rest)
        return rest

    async def finish(self) -> AsyncGenerator[bytes, None]:
        """The last pieces, once the source is over.

        Raises:
            UpstreamError: it ended before its dialect's end.
        """
        attempt = self._attempt
        rest = self.rest()
        if rest:
            async for piece in through(one(rest), self._stages):
                yield piece
        attempt.last_piece = perf_counter()
        end = self._codec.peek_stream(attempt.first or b"", self._last)
        if not end.complete:
            raise UpstreamProtocolError(CUT_OFF)
        if end.failed:
            attempt.fail("broken_stream")
        attempt.usage, attempt.finish = end.usage, end.finish
        if end.finish is not None and (closing := self._missing()):
            async for piece in through(one(closing), self._stages):
                yield piece
        async for piece in super().finish():
            yield piece

    def _missing(self) -> bytes:
        """The frame that ends a complete stream of this dialect, if the upstream left it out; many clients wait for
        it."""
        closing = self._codec.conventions.closing
        if not closing or any(frame.data == closing for piece in self._last for frame in sse.frames(piece)):
            return b""
        return sse.frame(closing)

    def fail(self, error: UpstreamError, *, begun: bool) -> AsyncIterator[bytes] | None:
        """The pieces that end a broken stream for the client; None if the error is to be raised."""
        if begun:
            self._attempt.fail("broken_stream")
        self.note_failure(error)
        return super().fail(error, begun=begun)

    def note_failure(self, error: UpstreamError) -> None:
        self._mask.out_of_error(error)
        if self._attempt.failure is None:
            self._attempt.fail_with(error)

    def _before_first_token(self, piece: bytes) -> None:
        attempt, now = self._attempt, perf_counter()
        if attempt.first is None:
            attempt.first, attempt.first_piece = piece, now
        spoken = self._speaks(piece)
        if spoken >= 0:
            attempt.first_token, attempt.spoken = now, piece
            start = max(0, piece.rfind(b"\n\n", 0, spoken))
            attempt.events = piece.count(b"\n\n", start + 1) or 1
            attempt.bytes_streamed = len(piece) - start
