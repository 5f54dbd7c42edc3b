"""Stages, which a streamed reply passes through on its way to the client, and the loop that drives it through them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from copy import copy
from time import perf_counter
from types import AsyncGeneratorType
from typing import Protocol, TypeAlias

from plano.conversation import FILTERED
from plano.dialects.codec import StreamEnd, UpstreamCodec
from plano.dialects.reading import CUT_OFF, SILENT
from plano.errors import UpstreamError, UpstreamProtocolError
from plano.frames import sse
from plano.journal import Journal

MAX_HELD_FRAMES = 64
MAX_HELD_BYTES = 256 * 1024
"""The most that a stream holds back while it waits for the first real output."""

Passed: TypeAlias = bytes | AsyncIterator[bytes]
"""The output of a stage for one piece: bytes, which may be empty, or, if it has to wait, pieces to iterate over."""


class Stage(Protocol):
    """Looks at a stream as it passes, or changes it."""

    def feed(self, piece: bytes) -> Passed:
        """Take one piece. Raises Ended if the stream is over before its source is, UpstreamError if it broke."""

    def finish(self) -> AsyncIterator[bytes]:
        """The last pieces of a stream that ended properly."""

    def fail(self, error: UpstreamError) -> bytes | None:
        """The piece that ends a broken stream for the client; None if this stage has none, or nothing was sent."""


class Ended(Exception):
    """Raised by a stage that ends the stream; `pieces` are still to be sent."""

    def __init__(self, last: bytes) -> None:
        super().__init__("the stream is over")
        self.pieces: AsyncIterator[bytes] = one(last)


class Flow:
    """A stream of whole frames and the stages that it goes through. Iterating gives the pieces that come out.

    Args:
        source: the pieces that go in. A source with `push_to` (see `plano.transport.exchange.Incoming`) can push its
            pieces.
        codec: the codec of the source's dialect.
        journal: the journal whose `waited_in_stream` grows; None if a flow inside this one waits for the upstream.

    Attributes:
        was_read: whether an iteration over it has begun.
        filtered: whether a content filter ended the reply before any output, as far as `begun` has seen.
    """

    # Few streams are waited for, so their defaults stay on the class.
    filtered: bool = False
    _events: int = 0  # the number of events that `begun` has seen, comments included
    _size: int = 0  # and of their bytes
    _outcome: UpstreamError | bool = False  # the error of `begun`, or whether there is output

    def __init__(self, source: AsyncIterator[bytes], codec: UpstreamCodec, journal: Journal | None = None) -> None:
        self.source = source
        self._codec = codec
        self._journal = journal
        self._stages: list[Stage] = []
        self._feeds: list[Callable[[bytes], Passed]] = []
        self._only_feed: Callable[[bytes], Passed] | None = None  # with one stage, as mostly, nothing stands around it
        self._held: deque[bytes] = deque()  # pieces that `begun` has read
        self._broke_off = False  # the source raised in there, or the wait was cancelled
        self.was_read = False

    def add(self, stage: Stage) -> None:
        """Add a stage after the present ones."""
        self._stages.append(stage)
        self._feeds.append(stage.feed)
        self._only_feed = stage.feed if len(self._feeds) == 1 else None

    def feed(self, chunk: bytes) -> Passed:
        """Put one chunk of the source through the stages. Raises the same errors as they do."""
        return self.through_stages(chunk)

    def through_stages(self, piece: bytes) -> Passed:
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

    async def finish(self) -> AsyncGenerator[bytes, None]:
        """The last pieces, once the source is over.

        Raises:
            UpstreamError: it ended before its dialect's end.
        """
        if self._broke_off and isinstance(self.source, AsyncGeneratorType):  # which looks like one that is complete
            raise UpstreamProtocolError(CUT_OFF)
        for at, stage in enumerate(self._stages, 1):
            async for piece in through(stage.finish(), self._stages[at:]):
                yield piece

    def fail(self, error: UpstreamError, *, begun: bool) -> AsyncIterator[bytes] | None:
        """The pieces that end a broken stream for the client; None if the error is to be raised.

        Args:
            begun: whether anything of the stream was given out.
        """
        for at, stage in enumerate(self._stages, 1):
            last = stage.fail(error)
            if last is not None:
                return through(one(last), self._stages[at:])
        return None

    async def begun(self) -> None:
        """Wait for the first real output of the model, and hold the pieces that come until then.

        The wait also ends when `MAX_HELD_FRAMES` or `MAX_HELD_BYTES` have come. Held pieces go through the stages when
        the stream is read on. Comments before the output are dropped: they kept a connection alive that is not the
        client's. A wait that is cancelled can be taken up again.

        Raises:
            UpstreamError: the stream failed before that.
        """
        if self.was_read or self._outcome is True:
            return
        if isinstance(self._outcome, UpstreamError):
            raise copy(self._outcome)
        try:
            await self._hold_until_output()
        except UpstreamError as error:
            self.note_failure(error)
            self._outcome = copy(error)  # without the frames, which hold this stream
            raise
        self._outcome = True

    async def _hold_until_output(self) -> None:
        while self._events < MAX_HELD_FRAMES and self._size < MAX_HELD_BYTES:
            piece = await self._hold()
            if piece is None:
                if not self._end_of(list(self._held)[-4:]).complete:
                    raise UpstreamProtocolError(CUT_OFF)
                return
            self._events += piece.count(b"\n\n") or len(sse.blocks(piece))
            self._size += len(piece)
            # All frames are looked at, because an error may have come with the output.
            said = [frame for frame in sse.frames(piece) if self._tells(frame)]
            if said:
                if self._codec.speaks(piece) < 0:
                    self._judge_end(said)
                return
            opening = sse.without_comments(self._held.pop())
            if opening:
                self._held.append(opening)

    async def _hold(self) -> bytes | None:
        """Wait for one more piece and hold it; None at the source's end."""
        while True:
            chunk = await self._next()
            piece = self.rest() if chunk is None else self.arrived(chunk)
            if piece:
                self._held.append(piece)
                return piece
            if chunk is None:
                return None

    def _judge_end(self, said: list[sse.Frame]) -> None:
        """Look at a reply that ends without having said anything. Raises UpstreamProtocolError if it does not say why.

        Args:
            said: the frames that count as output, which may all be about the end.
        """
        ends = [self._end_of([sse.frame(frame.data, frame.event)]) for frame in said]
        if not all(end.complete or end.finish is not None for end in ends):
            return
        end = self._end_of(list(self._held)[-4:])
        self.filtered = end.finish in FILTERED
        if end.finish is None and not end.failed:
            raise UpstreamProtocolError(SILENT)

    def _end_of(self, pieces: list[bytes]) -> StreamEnd:
        return self._codec.peek_stream(b"", pieces)

    async def _next(self) -> bytes | None:
        asked, self._broke_off = perf_counter(), True
        try:
            chunk = await anext(self.source, None)
        finally:
            if self._journal is not None:
                self._journal.waited_in_stream += perf_counter() - asked
        self._broke_off = False
        return chunk

    def _tells(self, frame: sse.Frame) -> bool:
        """Whether a frame is the first real output. Raises the error that the frame holds, if it does."""
        error = self._codec.error_in(frame)
        if error is not None:
            raise copy(error)
        return self._codec.begins(frame)

    def arrived(self, chunk: bytes) -> bytes:
        """The whole frames that are complete with this chunk."""
        return chunk

    def rest(self) -> bytes:
        """The bytes that are left at the source's end."""
        return b""

    def note_failure(self, error: UpstreamError) -> None:
        """Note that the source failed before any output."""

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self.run()

    async def run(self, push: Callable[[bytes], bool] | None = None) -> AsyncGenerator[bytes, None]:
        """Drive the stream to its end. This is the only loop that does.

        Args:
            push: sends a piece without waiting, or returns False if it cannot. From the first piece on, a source that
                can push sends its pieces there, and only those that `push` did not take are given here.
        """
        self.was_read = True
        journal, source, feed = self._journal, self.source, self.feed
        push_to: PushTo | None = None if push is None else getattr(source, "push_to", None)
        pushed = None if push is None or push_to is None else PushedStream(feed, push)
        begun = False
        try:
            while self._held:
                piece = self.through_stages(self._held.popleft())
                if not isinstance(piece, bytes):
                    async for part in piece:
                        yield part
                        begun = True
                elif piece:
                    yield piece
                    begun = True
            asked = perf_counter()
            async for chunk in source:
                if journal is not None:
                    journal.waited_in_stream += perf_counter() - asked
                piece = feed(chunk)
                if not isinstance(piece, bytes):
                    async for part in piece:
                        yield part
                        begun = True
                elif piece:
                    yield piece
                    begun = True
                asked = perf_counter()
                if begun and pushed is not None and push_to is not None:
                    try:
                        await push_to(pushed.take)
                    finally:  # what was sent is counted, also if the client leaves or the server stops
                        pushed.note(journal, asked)
                    held = pushed.held()
                    if held is not None:
                        async for part in _each(held):
                            yield part
                    asked = perf_counter()
            async for part in self.finish():
                yield part
            return
        except Ended as ended:
            ending = ended.pieces
        except UpstreamError as error:
            last = self.fail(error, begun=begun)
            if last is None:
                raise
            ending = last
        async for part in ending:
            yield part


PushTo: TypeAlias = Callable[[Callable[[bytes], bool]], Awaitable[None]]
"""See `plano.transport.exchange.Incoming.push_to`."""


class PushedStream:
    """Sends a stream on in the callback that receives it, so that no piece has to wake a task.

    Args:
        feed: puts a chunk through the stages.
        push: sends a piece, or returns False if it cannot.
    """

    __slots__ = ("_busy", "_feed", "_held", "_push", "_size")

    def __init__(self, feed: Callable[[bytes], Passed], push: Callable[[bytes], bool]) -> None:
        self._feed = feed
        self._push = push
        self._held: Passed | Exception | None = None
        self._size = 0  # bytes pushed since the last note
        self._busy = 0.0  # seconds that the pushing took

    def take(self, chunk: bytes) -> bool:
        """Send one chunk on. Returns False if that has to wait, or failed; `held` then has the rest."""
        before = perf_counter()
        try:
            piece = self._feed(chunk)
            if piece.__class__ is bytes and (not piece or self._push(piece)):
                self._size += len(piece)
                self._busy += perf_counter() - before
                return True
            self._held = piece
        except Exception as error:
            self._held = error
        return False

    def held(self) -> Passed | None:
        """The output that `take` could not send on. Raises the error that `take` met."""
        held, self._held = self._held, None
        if isinstance(held, Exception):
            try:
                raise held
            finally:
                del held  # otherwise the frame would hold the error that holds the frame
        return held

    def note(self, journal: Journal | None, asked: float) -> None:
        """Note the bytes pushed since the last note, and the seconds spent waiting for them since `asked`."""
        if journal is not None:
            journal.waited_in_stream += perf_counter() - asked - self._busy
            journal.bytes_out += self._size
        self._size, self._busy = 0, 0.0


async def through(pieces: AsyncIterator[bytes], stages: list[Stage]) -> AsyncGenerator[bytes, None]:
    """Put pieces through several stages, none of which is at its end."""
    async for piece in pieces:
        if not stages:
            yield piece
            continue
        async for part in through(_each(stages[0].feed(piece)), stages[1:]):
            yield part


def _each(passed: Passed) -> AsyncIterator[bytes]:
    return one(passed) if isinstance(passed, bytes) else passed


async def one(piece: bytes) -> AsyncGenerator[bytes, None]:
    if piece:
        yield piece
