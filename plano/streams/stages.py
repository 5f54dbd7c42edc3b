"""Stages: what a stream passes through on its way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from plano.errors import UpstreamError


class Stage(Protocol):
    """Looks at a stream as it passes, or changes it. `feed` and `finish` give what goes on, which may be nothing: as
    bytes, or, where something has to be waited for, one piece after the other."""

    def feed(self, piece: bytes) -> bytes | AsyncIterator[bytes]:
        """Raises Ended where the stream is over before its source is, UpstreamError where it broke."""

    def finish(self) -> AsyncIterator[bytes]:
        """The stream ended as it should."""

    def fail(self, error: UpstreamError) -> bytes | None:
        """The stream broke: what ends it for the client; None if this stage does not know, or nothing was said yet."""


class Ended(Exception):
    """A stage ends the stream; `pieces` are still to go out."""

    def __init__(self, last: bytes) -> None:
        super().__init__("the stream is over")
        self.pieces: AsyncIterator[bytes] = one(last)


async def staged(pieces: AsyncIterator[bytes], stage: Stage) -> AsyncGenerator[bytes, None]:
    """Any pieces of whole frames through a stage."""
    try:
        async for piece in pieces:
            passed = stage.feed(piece)
            if not isinstance(passed, bytes):
                async for part in passed:
                    yield part
            elif passed:
                yield passed
        ending = stage.finish()
    except Ended as ended:
        ending = ended.pieces
    except UpstreamError as error:
        last = stage.fail(error)
        if last is None:
            raise
        ending = one(last)
    async for part in ending:
        yield part


async def through(pieces: AsyncIterator[bytes], stages: list[Stage]) -> AsyncGenerator[bytes, None]:
    """Pieces through several stages, none of which is at its end."""
    async for piece in pieces:
        if not stages:
            yield piece
            continue
        passed = stages[0].feed(piece)
        async for part in through(one(passed) if isinstance(passed, bytes) else passed, stages[1:]):
            yield part


async def one(piece: bytes) -> AsyncGenerator[bytes, None]:
    if piece:
        yield piece
