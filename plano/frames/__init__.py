"""How streams are cut into frames on their way in; see `FRAMES`.

Inside of plano every stream is server-sent events, so that one kind of frame is read, counted and sent on. A stream
that arrives in another form is put into that one where it is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from plano.frames import sse


class Aligner(Protocol):
    """Cuts one stream into pieces of whole server-sent events."""

    @property
    def empty(self) -> bool:
        """Whether no frame is begun, so that a chunk of whole server-sent events may pass as it is. Never, where they
        arrive in another form."""

    def feed(self, chunk: bytes) -> bytes:
        """Everything up to the last complete frame's end; b"" while none is complete.

        Raises:
            UpstreamProtocolError: a frame is too long, or is none.
        """

    def finish(self) -> bytes:
        """What came after the last complete frame."""


FRAMES: dict[str, Callable[[], Aligner]] = {"sse": sse.Aligner}
"""What cuts a stream, by the name of its form."""

__all__ = ["FRAMES", "Aligner"]
