"""A stream on its way from an upstream to a client, in pieces of whole frames."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from time import perf_counter

from plano.credentials.masking import NOTHING, Mask
from plano.dialects import CODECS
from plano.dialects.reading import CUT_OFF
from plano.errors import UpstreamError, UpstreamProtocolError
from plano.frames import FRAMES, Aligner
from plano.request import Request
from plano.streams.stages import Ended, Stage, one, through


class Relay:
    """An upstream's stream, watched for its end and for what it says of usage, and what it goes through.

    Iterating gives its pieces. Whoever sends them on can do the same by hand, which saves each piece a coroutine: each
    chunk of `source` through `feed`, and `finish` after the last one, or `fail` when there is an error instead.

    Args:
        request: as the upstream got it.
        source: the reply's body.
        mask: keeps the gateway's credentials out of what it says of errors.
        aligner: cuts the stream into frames; one for server-sent events where it is not given.
    """

    def __init__(
        self,
        request: Request,
        source: AsyncIterator[bytes],
        mask: Mask = NOTHING,
        aligner: Aligner | None = None,
    ) -> None:
        self.source = source
        self._mask = mask
        self._shortest = mask.shortest
        self.journal = request.journal
        self._request = request
        self._aligner = FRAMES["sse"]() if aligner is None else aligner
        self._align = self._aligner.feed
        self._aligned = self._aligner.empty
        self._last: deque[bytes] = deque(maxlen=4)
        self._keep = self._last.append
        self._stages: list[Stage] = []
        self._feeds: list[Callable[[bytes], bytes | AsyncIterator[bytes]]] = []
        request.journal.last = self._last

    def add(self, stage: Stage) -> None:
        """Have the pieces go through `stage` too, after those that are there."""
        self._stages.append(stage)
        self._feeds.append(stage.feed)

    def feed(self, chunk: bytes) -> bytes | AsyncIterator[bytes]:
        """What goes on of what has come. Raises what stages raise."""
        if chunk.endswith(b"\n\n") and self._aligned:  # as nearly all do
            piece = chunk
        else:
            piece = self._align(chunk)
            self._aligned = self._aligner.empty
            if not piece:
                return piece
        if len(piece) >= self._shortest and piece.find(b"error") >= 0:
            piece = self._mask.out_of(piece)
        journal = self.journal
        if journal.first_token is None:
            self._before_first_token(piece)
        else:
            journal.events += piece.count(b"\n\n") or 1
            journal.bytes_streamed += len(piece)
        self._keep(piece)
        passed_by = 0
        try:
            for feed in self._feeds:
                passed_by += 1
                passed = feed(piece)
                if passed.__class__ is not bytes:
                    return through(passed, self._stages[passed_by:])  # type: ignore[arg-type]
                if not passed:
                    return passed
                piece = passed
        except Ended as ended:
            ended.pieces = through(ended.pieces, self._stages[passed_by:])
            raise
        return piece

    def spout(self, pass_on: Callable[[bytes], bool]) -> Spout:
        """`feed` for whoever is called with a chunk and cannot wait; what it gives goes to `pass_on`."""
        return Spout(self, pass_on)

    async def finish(self) -> AsyncGenerator[bytes, None]:
        """The source is over: what is still to go on.

        Raises:
            UpstreamError: it ended before its dialect's end.
        """
        journal = self.journal
        rest = self._mask.out_of(self._aligner.finish())
        if rest:
            journal.first = journal.first or rest
            self._keep(rest)
            async for piece in through(one(rest), self._stages):
                yield piece
        journal.last_piece = perf_counter()
        end = CODECS[self._request.dialect].peek_stream(journal.first or b"", self._last)
        if not end.complete:
            raise UpstreamProtocolError(CUT_OFF)
        if end.failed:
            journal.outcome = "failed"
            self._note_failure()
        journal.usage, journal.finish = end.usage, end.finish
        for at, stage in enumerate(self._stages, 1):
            async for piece in through(stage.finish(), self._stages[at:]):
                yield piece

    def fail(self, error: UpstreamError) -> AsyncIterator[bytes] | None:
        """The stream broke: what ends it for the client; None where the error is to be raised on."""
        self._note_failure()
        self._mask.out_of_error(error)
        for at, stage in enumerate(self._stages, 1):
            last = stage.fail(error)
            if last is not None:
                return through(one(last), self._stages[at:])
        return None

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        journal = self.journal
        before = perf_counter()
        try:
            async for chunk in self.source:
                journal.waited_in_stream += perf_counter() - before
                piece = self.feed(chunk)
                if not isinstance(piece, bytes):
                    async for part in piece:
                        yield part
                elif piece:
                    yield piece
                before = perf_counter()
            async for part in self.finish():
                yield part
            return
        except Ended as ended:
            ending = ended.pieces
        except UpstreamError as error:
            said = self.fail(error)
            if said is None:
                raise
            ending = said
        async for part in ending:
            yield part

    def _note_failure(self) -> None:
        self.journal.failures += ((self._request.require_target(), "broken_stream"),)

    def _before_first_token(self, piece: bytes) -> None:
        journal, now = self.journal, perf_counter()
        if journal.first is None:
            journal.first, journal.first_piece = piece, now
        spoken = CODECS[self._request.dialect].speaks(piece)
        if spoken >= 0:
            journal.first_token = now
            start = max(0, piece.rfind(b"\n\n", 0, spoken))
            journal.events = piece.count(b"\n\n", start + 1) or 1
            journal.bytes_streamed = len(piece) - start


class Spout:
    """Passes a stream on from where it comes in, so that no task has to be woken for a piece.

    Args:
        pass_on: takes a piece; False if it could not.

    Attributes:
        size: bytes that were passed on.
        busy: seconds that this took.
    """

    __slots__ = ("_feed", "_held", "_pass_on", "busy", "size")

    def __init__(self, relay: Relay, pass_on: Callable[[bytes], bool]) -> None:
        self._feed = relay.feed
        self._pass_on = pass_on
        self._held: bytes | AsyncIterator[bytes] | Exception | None = None
        self.size = 0
        self.busy = 0.0

    def take(self, chunk: bytes) -> bool:
        """What to call with each chunk; False if what it gives has to be waited for: see `held`."""
        before = perf_counter()
        try:
            piece = self._feed(chunk)
            if piece.__class__ is bytes and (not piece or self._pass_on(piece)):
                self.size += len(piece)
                self.busy += perf_counter() - before
                return True
            self._held = piece
        except Exception as error:
            self._held = error
        return False

    def held(self) -> bytes | AsyncIterator[bytes] | None:
        """What `take` could not pass on, to be sent. Raises what it could not raise there."""
        held, self._held = self._held, None
        if isinstance(held, Exception):
            try:
                raise held
            finally:
                del held  # or the frame would hold the error that holds the frame
        return held
