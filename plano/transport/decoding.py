"""Undoes content codings (RFC 9110 section 8.4.1). Upstreams are asked for identity, but some compress all the same.

gzip and deflate are undone in steps, so that a small reply cannot become a large one in memory all at once. Other
codings would need packages of their own and are not undone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import httpx

from plano.transport.errors import Unreadable
from plano.types import RawHeaders

PIECE = 256 * 1024
"""The most bytes that one step may inflate to."""

STEP = 16 * 1024
"""The most coded bytes that one step takes. At the end of each member, zlib copies all bytes after it."""

MAX_FOR_NOTHING = 64 * 1024
"""The most coded bytes in a row that may decode to nothing, as endless names and empty members do."""

_CODINGS = frozenset((b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd", b"dcb", b"dcz"))
"""The codings of IANA's registry that a server may use. Some servers write other words into the field, such as a
character set, and do not code at all."""

_DESCRIBES_THE_CODED_FORM = frozenset((b"content-encoding", b"content-length", b"content-md5", b"digest"))


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain pieces of `data`, none empty, none longer than `PIECE`. Raises `httpx.DecodingError`."""
        ...

    def finish(self) -> None:
        """The coded form has ended. Raises `httpx.DecodingError` when it was cut short."""
        ...


def plain(status: int, headers: RawHeaders) -> tuple[RawHeaders, Decoder | None]:
    """The headers that fit the plain body, and its decoder, or None if the body stays as it is.

    A reply whose coding is not undone here, or is a list of several, cannot be read. An error is let through even so,
    because its status is useful.
    """
    said = b",".join([value for name, value in headers if name == b"content-encoding"])
    codings = [coding for word in said.split(b",") if (coding := word.strip().lower()) in _CODINGS]
    if not codings:
        return headers, None
    if len(codings) > 1 or codings[0] not in _DECODERS:
        return headers, None if status >= 400 else Refused(codings)
    left = [header for header in headers if header[0] not in _DESCRIBES_THE_CODED_FORM]
    return left, _DECODERS[codings[0]]()


class Refused:
    """Refuses a body in a coding that is not undone here."""

    def __init__(self, codings: list[bytes]) -> None:
        self._codings = b", ".join(codings).decode()

    def feed(self, data: bytes) -> Iterator[bytes]:
        raise Unreadable(f"content-encoding {self._codings}, although identity was asked for")

    def finish(self) -> None:
        pass


class Inflating:
    """Inflates step by step, for gzip and deflate."""

    def __init__(self) -> None:
        self._inflate: Any = None  # while a member is under way
        self._for_nothing = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), STEP):
            yield from self._step(data[start : start + STEP])

    def _step(self, data: bytes) -> Iterator[bytes]:
        pieces: list[bytes] = []
        room = PIECE
        # zlib may have taken all of `data` and still hold output that had no room.
        while (data and self._ready()) or not (room or self._inflate is None):
            if not room:
                yield b"".join(pieces)
                pieces, room = [], PIECE
            piece, rest = self._inflated(data, room)
            self._for_nothing = 0 if piece else self._for_nothing + len(data) - len(rest)
            if self._for_nothing > MAX_FOR_NOTHING:
                raise httpx.DecodingError("compressed data that comes to nothing")
            pieces.append(piece)
            room -= len(piece)
            data = rest
        if room < PIECE:
            yield b"".join(pieces)

    def _ready(self) -> bool:
        """Whether there is a member to inflate."""
        return self._inflate is not None

    def _inflated(self, data: bytes, room: int) -> tuple[bytes, bytes]:
        """At most `room` plain bytes, and the rest of `data`."""
        inflate = self._inflate
        try:
            piece: bytes = inflate.decompress(data, room)
        except zlib.error as error:
            raise httpx.DecodingError(f"not what its content-encoding says: {error}") from None
        if not inflate.eof:
            return piece, inflate.unconsumed_tail
        self._inflate = None
        return piece, inflate.unused_data

    def finish(self) -> None:
        if self._inflate is not None:
            raise httpx.DecodingError("the compressed data ends early")


class Gzip(Inflating):
    """gzip, of one member or several in a row (RFC 1952 section 2.2)."""

    def _ready(self) -> bool:
        if self._inflate is None:
            self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        return True


class Deflate(Inflating):
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
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        yield from super().feed(data)

    def finish(self) -> None:
        if self._first and not self._started:
            raise httpx.DecodingError("the compressed data ends early")
        super().finish()


_DECODERS: dict[bytes, type[Inflating]] = {b"gzip": Gzip, b"x-gzip": Gzip, b"deflate": Deflate}
