"""Faults: which filter an error is put down to when it comes out of a stream.

A stream passes through generators: of filters, and of plano itself. The error's traceback names their frames, so the
innermost frame of a known generator tells who made it. Frames are known by their ids and not held, because a frame
would keep a request's body in memory.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CodeType

from plano.errors import FilterError, GatewayFailed, PlanoError
from plano.streams.relay import Relay

PLANO = ""
"""The maker of plano's own generators; every other maker is a filter, by its name."""

_RELAY = Relay.__aiter__.__code__


class Makers:
    """The makers of the generators that a stream passes through."""

    __slots__ = ("_by_frame",)

    def __init__(self) -> None:
        self._by_frame: dict[int, tuple[CodeType, str]] = {}

    def note(self, stream: AsyncGeneratorType[bytes, None], maker: str) -> None:
        """Put a generator down to a maker, unless it was put down to one before."""
        frame = stream.ag_frame
        if frame is not None:  # it was not read to its end
            key, known = id(frame), self._by_frame.get(id(frame))
            if known is None or known[0] is not frame.f_code:  # the id of a frame that is gone is given again
                self._by_frame[key] = (frame.f_code, maker)

    def maker_of(self, error: BaseException) -> str | None:
        """The maker of the innermost known generator that the error was raised through; None if there is none."""
        maker, traceback = None, error.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            code, by = self._by_frame.get(id(frame), (None, PLANO))
            if code is frame.f_code:
                maker = by
            elif frame.f_code is _RELAY:  # nothing of a filter runs inside it
                maker = PLANO
            traceback = traceback.tb_next
        return maker


def fault(error: Exception, maker: str | None) -> PlanoError:
    """The error to tell a client for what a filter, or plano itself, raised; the cause is what was raised."""
    if isinstance(error, PlanoError):
        return error
    told: PlanoError = FilterError(maker) if maker else GatewayFailed()
    told.__cause__ = error
    return told
