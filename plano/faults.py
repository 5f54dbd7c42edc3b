"""Faults: the filter that is to blame for an error that comes out of a stream.

A stream passes through generators of filters and of plano itself. The error's traceback names their frames, and the
innermost frame that belongs to a known generator tells who raised it. Frames are known by their ids and not held,
because a frame would keep a request's body in memory.
"""

from __future__ import annotations

import logging
from types import AsyncGeneratorType, CodeType, FrameType
from typing import NamedTuple

from plano.errors import FilterError, GatewayFailed, PlanoError, StateUnreadable
from plano.streams.stages import Flow

logger = logging.getLogger("plano")

PLANO = ""
"""The maker of plano's own generators; every other maker is a filter, by its name."""

_FLOW = frozenset({Flow.run.__code__, Flow.begun.__code__})


class _Made(NamedTuple):
    """A generator's code, its maker, and the instruction at which it stood when that was noted."""

    code: CodeType
    maker: str
    place: int


class Makers:
    """The makers of the generators that a stream passes through."""

    __slots__ = ("_by_frame",)

    def __init__(self) -> None:
        self._by_frame: dict[int, _Made] = {}

    def note(self, stream: AsyncGeneratorType[bytes, None], maker: str) -> None:
        """Note the maker of a generator, unless one was noted before."""
        frame = stream.ag_frame
        if frame is not None and self.made(frame) is None:  # None after its end
            self._by_frame[id(frame)] = _Made(frame.f_code, maker, frame.f_lasti)

    def has_moved(self, stream: AsyncGeneratorType[bytes, None]) -> bool:
        """Whether anything was read from the generator since its maker was noted."""
        frame = stream.ag_frame
        made = None if frame is None else self.made(frame)
        return frame is None or (made is not None and made.place != frame.f_lasti)

    def made(self, frame: FrameType) -> _Made | None:
        """The note about the generator of this frame, if there is one."""
        made = self._by_frame.get(id(frame))  # the id may have belonged to an earlier frame
        return None if made is None or made.code is not frame.f_code else made


def maker_of(error: BaseException, makers: Makers | None) -> str | None:
    """The maker of the innermost known generator that the error was raised through; None if there is none."""
    maker, traceback = None, error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        made = None if makers is None else makers.made(frame)
        if made is not None:
            maker = made.maker
        elif frame.f_code in _FLOW:  # no filter's code runs inside it, but for a source that is known
            maker = PLANO
        traceback = traceback.tb_next
    return maker


def fault(error: Exception, maker: str | None) -> PlanoError:
    """The error to tell a client after a filter, or plano itself, raised `error`, which becomes the cause."""
    if isinstance(error, PlanoError):
        return error
    told: PlanoError = FilterError(maker) if maker else GatewayFailed()
    told.__cause__ = error
    return told


def log_fault(error: PlanoError) -> None:
    """Log an error that neither the client nor the upstream is to blame for, with the traceback of its cause."""
    if isinstance(error, StateUnreadable):
        logger.error("%s (%s)", error, error.__cause__)
    if isinstance(error, FilterError | GatewayFailed):
        logger.error("%s", error, exc_info=error.__cause__)
