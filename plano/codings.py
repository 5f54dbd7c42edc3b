"""Undoes content codings (RFC 9110 section 8.4.1), in steps.

A small body cannot become a large one in memory all at once, because no step gives more than `PIECE` bytes. gzip and
deflate are always there. zstd (RFC 8878) is in the standard library from Python 3.14 on; before that it needs the
extra `zstd`. Other codings would need packages of their own and are not undone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

PIECE = 256 * 1024
"""The most bytes that one step may decode to."""

STEP = 16 * 1024
"""The most coded bytes that one step takes. At the end of each member, zlib copies all bytes after it."""

MAX_FOR_NOTHING = 64 * 1024
"""The most coded bytes in a row that may decode to nothing, as endless names and empty members do."""

_ZSTD_WINDOW_LOG = 23
"""8 MB, the largest window that an encoder may ask for in HTTP (RFC 9659 section 3)."""


class CodingError(ValueError):
    """The coded bytes are not what their coding says, or they end early."""


def decoder_of(coding: bytes) -> Decoder | None:
    """A decoder for a coding, named in lower case; None if it is not undone here."""
    make = _DECODERS.get(coding)
    return None if make is None or (make is Zstd and _zstd() is None) else make()


def known() -> tuple[bytes, ...]:
    """The codings that are undone here, by the names that a client should use."""
    return (b"gzip", b"deflate") if _zstd() is None else (b"gzip", b"deflate", b"zstd")


@cache
def _zstd() -> Any:
    """The module of the standard library, or its backport, which has the same interface; None without either."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


class Decoder:
    """Undoes one coding of one body step by step, one member after another.

    Attributes:
        members: how many members have begun, as gzip calls them, or frames, as zstd does. To begin one costs as much
            as to decode a kilobyte or so.
    """

    def __init__(self) -> None:
        self.members = 0
        self._member: Any = None  # the decompressor of the member that is under way
        self._for_nothing = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain pieces of `data`, none empty, none longer than `PIECE`. Raises CodingError."""
        for start in range(0, len(data), STEP):
            yield from self._step(data[start : start + STEP])

    def _step(self, data: bytes) -> Iterator[bytes]:
        pieces: list[bytes] = []
        room = PIECE
        # The decompressor may have taken all of `data` and still hold output that had no room.
        while (data and self._ready()) or not (room or self._member is None):
            if not room:
                yield b"".join(pieces)
                pieces, room = [], PIECE
            piece, rest = self._decoded(data, room)
            self._for_nothing = 0 if piece else self._for_nothing + len(data) - len(rest)
            if self._for_nothing > MAX_FOR_NOTHING:
                raise CodingError("compressed data that comes to nothing")
            pieces.append(piece)
            room -= len(piece)
            data = rest
        if room < PIECE:
            yield b"".join(pieces)

    def _ready(self) -> bool:
        """Whether a member is under way; if none is, begins one."""
        if self._member is None:
            self._member = self._begin()
            self.members += 1
        return True

    def _begin(self) -> Any:
        """The decompressor of a new member."""
        raise NotImplementedError

    def _decoded(self, data: bytes, room: int) -> tuple[bytes, bytes]:
        """At most `room` plain bytes, and the rest of `data`."""
        member = self._member
        try:
            piece: bytes = member.decompress(data, room)
        except Exception as error:  # zstd's error is a class of a module that may be missing
            raise CodingError(f"not what its content-encoding says: {error}") from None
        if member.eof:
            self._member = None
            return piece, member.unused_data
        return piece, self._left(member)

    def _left(self, member: Any) -> bytes:
        """The bytes that the decompressor was given and has not taken."""
        rest: bytes = member.unconsumed_tail
        return rest

    def finish(self) -> None:
        """The coded form has ended. Raises CodingError if it was cut short."""
        if self._member is not None:
            raise CodingError("the compressed data ends early")


class Gzip(Decoder):
    """gzip, of one member or several in a row (RFC 1952 section 2.2)."""

    def _begin(self) -> Any:
        return zlib.decompressobj(16 + zlib.MAX_WBITS)


class Deflate(Decoder):
    """zlib's format, as the RFC requires, or bare deflate, which some servers send (RFC 9110 section 8.4.1.2, note)."""

    def __init__(self) -> None:
        super().__init__()
        self._first = b""
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not self._started:
            data = self._first = self._first + data
            if len(data) < 2:
                return
            self._started = True
            # RFC 1950 section 2.2: method 8 in the low half, and the two bytes together a multiple of 31.
            has_header = data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0
            self._member = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        yield from super().feed(data)

    def _ready(self) -> bool:
        return self._member is not None  # there is one only, and what follows it is passed over

    def finish(self) -> None:
        if self._first and not self._started:
            raise CodingError("the compressed data ends early")
        super().finish()


class Zstd(Decoder):
    """zstd, of one frame or several in a row (RFC 8878 section 3)."""

    def _begin(self) -> Any:
        zstd = _zstd()
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})

    def _left(self, member: Any) -> bytes:
        return b""  # it has taken all of them, and keeps those that it has not decoded


_DECODERS: dict[bytes, type[Decoder]] = {
    b"gzip": Gzip,
    b"x-gzip": Gzip,
    b"deflate": Deflate,
    b"zstd": Zstd,
}
