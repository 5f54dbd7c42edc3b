"""Content codings, undone (RFC 9110 section 8.4.1). Upstreams are asked for identity; some compress all the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import httpx

from plano.types import RawHeaders

PIECE = 256 * 1024
"""The most one step may inflate to, so that a small reply cannot become a large one in memory all at once."""

_DESCRIBES_THE_CODED_FORM = frozenset((b"content-encoding", b"content-length", b"content-md5", b"digest"))


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain pieces of `data`, none empty. Raises `httpx.DecodingError`."""
        ...

    def finish(self) -> None:
        """The coded form has ended. Raises `httpx.DecodingError` when it was cut short."""
        ...


def decoder_for(coding: bytes) -> Decoder | None:
    """The decoder for a `content-encoding` of one coding, or None when it is unknown here and must stay as it is."""
    make = _DECODERS.get(coding.strip().lower())
    return make() if make else None


def plain(headers: RawHeaders) -> tuple[RawHeaders, Decoder | None]:
    """`headers` as they are once the body is plain, and what makes it so, or None when it is already or cannot be.

    A list of codings is left alone: no API sends one.
    """
    codings = [value for name, value in headers if name == b"content-encoding" and value.strip().lower() != b"identity"]
    decoder = decoder_for(codings[0]) if len(codings) == 1 else None
    if decoder is None:
        return headers, None
    return [header for header in headers if header[0] not in _DESCRIBES_THE_CODED_FORM], decoder


class Gzip:
    """gzip, of one member or several in a row (RFC 1952 section 2.2)."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            self._started = True
            piece = _inflate(self._inflate, data)
            if piece:
                yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def finish(self) -> None:
        if self._started and not self._inflate.eof:
            raise httpx.DecodingError("the gzip data ends early")


class Deflate:
    """zlib's format, as the RFC says, or bare deflate, as some servers send (RFC 9110 section 8.4.1.2, its note)."""

    def __init__(self) -> None:
        self._inflate: Any = None
        self._first = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            data = self._first + data
            if len(data) < 2:
                self._first = data
                return
            # RFC 1950 section 2.2: method 8 in the low half, and the two bytes together a multiple of 31.
            has_header = data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        while data and not self._inflate.eof:
            piece = _inflate(self._inflate, data)
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail

    def finish(self) -> None:
        ended = not self._first if self._inflate is None else self._inflate.eof
        if not ended:
            raise httpx.DecodingError("the deflate data ends early")


def _inflate(inflate: Any, data: bytes) -> bytes:
    try:
        piece: bytes = inflate.decompress(data, PIECE)
    except zlib.error as error:
        raise httpx.DecodingError(f"not what its content-encoding says: {error}") from None
    return piece


class Foreign:
    """A coding of a package that is optional: brotli's and zstandard's objects, behind our two verbs."""

    def __init__(self, decode: Callable[[bytes], bytes], at_end: Callable[[], bool], error: type[Exception]) -> None:
        self._decode = decode
        self._at_end = at_end
        self._error = error
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._started = True
        try:
            piece = self._decode(data)
        except self._error as error:
            raise httpx.DecodingError(f"not what its content-encoding says: {error}") from None
        if piece:
            yield piece

    def finish(self) -> None:
        if self._started and not self._at_end():
            raise httpx.DecodingError("the compressed data ends early")


def _brotli() -> Foreign:
    brotli = import_module("brotli")
    decompressor = brotli.Decompressor()
    return Foreign(decompressor.process, decompressor.is_finished, brotli.error)


def _zstandard() -> Foreign:
    zstandard = import_module("zstandard")
    # RFC 9659: eight megabytes is the largest window a coding on the web may ask for.
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
    return Foreign(decompressor.decompress, lambda: bool(decompressor.eof), zstandard.ZstdError)


_DECODERS: dict[bytes, Callable[[], Decoder]] = {b"gzip": Gzip, b"x-gzip": Gzip, b"deflate": Deflate}
if find_spec("brotli"):
    _DECODERS[b"br"] = _brotli
if find_spec("zstandard"):
    _DECODERS[b"zstd"] = _zstandard
