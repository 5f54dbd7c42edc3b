"""Converts a reply's stream to events of the neutral model, and events to a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from copy import copy
from typing import TypeVar

from msgspec.structs import replace

from plano.conversation import Conversation, Event, Failed, Finished
from plano.dialects.codec import Codec
from plano.errors import PlanoError, UpstreamError
from plano.frames import sse
from plano.journal import Journal
from plano.streams.rewrite import StreamRewriter

T = TypeVar("T")


async def each(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """The items, one after the other."""
    for item in items:
        yield item


async def read_events(codec: Codec, pieces: AsyncIterable[bytes]) -> AsyncGenerator[Event, None]:
    """The events of a stream in the codec's dialect."""
    reader = codec.stream_reader()
    async for piece in pieces:
        for frame in sse.frames(piece):
            for event in reader.feed(frame):
                yield event
    for event in reader.finish():
        yield event


class WrittenEvents:
    """Events that are written as a stream, which may still be wanted as a body.

    Args:
        journal: the journal that notes an error at the stream's end.

    Attributes:
        asked: the answered request in the neutral model; read when the first piece is asked for.
        collected: whether the stream is read as a whole reply. Then an error is raised and not written, so that the
            client gets it with a status; usage and seals are written even if the client did not ask for them.
    """

    def __init__(self, codec: Codec, asked: Conversation, events: AsyncIterator[Event], *, journal: Journal) -> None:
        self._codec = codec
        self.asked = asked
        self._events = events
        self._journal = journal
        self.collected = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Whole frames. An error that comes before any of them is raised, because a status can still be sent."""
        asked = replace(self.asked, include_usage=True, include_seals=True) if self.collected else self.asked
        writer, silent, ended = self._codec.stream_writer(asked), True, False
        try:
            async for event in self._events:
                ended = ended or isinstance(event, Finished | Failed)
                if type(event) is Failed and (silent or self.collected):
                    raise copy(event.error)  # an error that is raised holds frames, and these the event
                for frame in writer.feed(event):
                    silent = False
                    yield frame
        except UpstreamError as error:
            if silent or self.collected:
                raise
            self._journal.note_error(error)
            for frame in writer.feed(Failed(error)):
                yield frame
            return
        if not ended:
            raise TypeError("its events ended without a `Finished` or `Failed`, so the reply would never be complete")
        for frame in writer.finish():
            yield frame


async def rewritten(pieces: AsyncIterable[bytes], rewriter: StreamRewriter) -> AsyncGenerator[bytes, None]:
    """A stream with its texts rewritten. Before an error, held text goes out."""
    try:
        async for piece in pieces:
            ready = rewriter.feed(piece)
            if ready:
                yield ready
    except PlanoError:
        rest = rewriter.finish()
        if rest:
            yield rest
        raise
    rest = rewriter.finish()
    if rest:
        yield rest
