"""Cuts incoming streams into frames; see `FRAMES`.

Inside plano every stream consists of server-sent events, so that there is one kind of frame to read, count and send on.
A stream that arrives in another form is converted when it is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from plano.frames import sse


class Aligner(Protocol):
    """Cuts one stream into pieces of whole server-sent events."""

    @property
    def empty(self) -> bool:
        """Whether no frame is begun, so that a chunk of whole server-sent events may pass unchanged. Always False for a
        stream that arrives in another form."""

    def feed(self, chunk: bytes) -> bytes:
        """Everything up to the last complete frame's end; b"" while none is complete.

        Raises:
            UpstreamProtocolError: a frame is too long or malformed.
        """

    def finish(self) -> bytes:
        """The bytes after the last complete frame."""


FRAMES: dict[str, Callable[[], Aligner]] = {"sse": sse.Aligner}
"""The classes that cut a stream, by the name of its form."""

__all__ = ["FRAMES", "Aligner"]
