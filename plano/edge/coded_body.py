"""Undoes the content codings of a request's body, within the limit for the plain body.

`content-encoding` names the codings in the order in which they were applied, so the last is undone first (RFC 9110
section 8.4). Codex sends its requests in zstd if it is signed in with ChatGPT.
"""

from __future__ import annotations

from collections.abc import Iterator

from plano.codings import CodingError, Decoder, decoder_of, known
from plano.edge.body import too_large
from plano.errors import InvalidRequest
from plano.types import Headers

_MOST_CODINGS = 5
"""The most codings of one body, because each is as much work as the whole body. curl and urllib3 have this limit."""

_MOST_MEMBERS = 10_000
"""The most members or frames of one body, because empty ones are work too. Tools such as bgzip make one per 64 KB."""

_DESCRIBES_THE_CODED_FORM = frozenset((b"content-encoding", b"content-length"))


def decoded(headers: Headers, body: bytes, *, limit: int) -> tuple[Headers, bytes]:
    """The plain body of a request that has `content-encoding`, and the headers that fit it.

    Args:
        limit: the most bytes of the plain body, and of each form in between.

    Raises:
        TooLarge: it is longer than `limit`.
        InvalidRequest: it is not what `content-encoding` says; or, with the status 415, that names a coding which is
            not undone here, or too many of them.
    """
    pieces: Iterator[bytes] = iter((body,))
    for decoder in reversed(_decoders(headers)):
        pieces = _undone(decoder, pieces, limit)
    try:
        plain = b"".join(pieces)
    except CodingError:
        raise InvalidRequest("The request body is not what its content-encoding says, or it is incomplete.") from None
    return Headers([header for header in headers.raw if header[0] not in _DESCRIBES_THE_CODED_FORM]), plain


def _decoders(headers: Headers) -> list[Decoder]:
    said = b",".join([value for name, value in headers.raw if name == b"content-encoding"])
    codings = [coding for word in said.split(b",") if (coding := word.strip().lower()) not in (b"", b"identity")]
    decoders = [decoder for coding in codings[:_MOST_CODINGS] if (decoder := decoder_of(coding)) is not None]
    if len(decoders) < len(codings):
        raise _unsupported()
    return decoders


def _undone(decoder: Decoder, coded: Iterator[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for data in coded:
        for piece in decoder.feed(data):
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            if decoder.members > _MOST_MEMBERS:
                raise CodingError("too many members")
            yield piece
    decoder.finish()


def _unsupported() -> InvalidRequest:
    """The error for a coding that is not undone here (RFC 9110 sections 12.5.3 and 15.5.16)."""
    accepted = b", ".join(known())
    return InvalidRequest(
        f"The request body's content-encoding is not supported; these are, up to {_MOST_CODINGS} in a row: "
        f"{accepted.decode()}.",
        status=415,
        headers=[(b"accept-encoding", accepted)],
    )
