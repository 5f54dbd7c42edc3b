"""Chooses how an upstream's reply is decoded. Upstreams are asked for identity, but some compress all the same."""

from __future__ import annotations

from collections.abc import Iterator

from plano.codings import Decoder, decoder_of
from plano.transport.errors import Unreadable
from plano.types import RawHeaders

_CODINGS = frozenset((b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd", b"dcb", b"dcz"))
"""The codings of IANA's registry that a server may use. Some servers write other words into the field, such as a
character set, and do not code at all."""

_DESCRIBES_THE_CODED_FORM = frozenset((b"content-encoding", b"content-length", b"content-md5", b"digest"))


def plain(status: int, headers: RawHeaders) -> tuple[RawHeaders, Decoder | None]:
    """The headers that fit the plain body, and its decoder, or None if the body stays as it is.

    A reply whose coding is not undone here, or is a list of several, cannot be read. An error is let through even so,
    because its status is useful.
    """
    said = b",".join([value for name, value in headers if name == b"content-encoding"])
    codings = [coding for word in said.split(b",") if (coding := word.strip().lower()) in _CODINGS]
    if not codings:
        return headers, None
    decoder = decoder_of(codings[0]) if len(codings) == 1 else None
    if decoder is None:
        return headers, None if status >= 400 else Refused(codings)
    return [header for header in headers if header[0] not in _DESCRIBES_THE_CODED_FORM], decoder


class Refused(Decoder):
    """Refuses a body in a coding that is not undone here."""

    def __init__(self, codings: list[bytes]) -> None:
        super().__init__()
        self._codings = b", ".join(codings).decode()

    def feed(self, data: bytes) -> Iterator[bytes]:
        raise Unreadable(f"content-encoding {self._codings}, although identity was asked for")
