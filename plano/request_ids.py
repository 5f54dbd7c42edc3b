"""The id of a request, as its client is told it.

Every response has it in `x-request-id`, and also in the header from which the SDK of the client's dialect reads it. It
is the id that the client sent, or else the upstream's own, or else the one made here. The upstream's own `request-id`
is never changed, because the errors of the messages API repeat it in their bodies.
"""

from __future__ import annotations

import re
from random import randbytes

from plano.dialects import CLIENT_CODECS
from plano.request import Request
from plano.response import Response
from plano.types import ClientDialect, Headers, RawHeaders

_OURS = b"x-request-id"
_ANTHROPICS = b"request-id"
_UPSTREAMS = b"x-plano-upstream-request-id"

_READ_BY_SDK = {dialect: codec.conventions.request_id.encode() for dialect, codec in CLIENT_CODECS.items()}

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def request_id(headers: Headers) -> str:
    """The id that a client gave its request, or a new one if it gave none, or one that must not be logged."""
    given = headers.find(_OURS)
    if given is not None:
        said = given.decode("latin-1")
        if _REQUEST_ID.fullmatch(said):
            return said
    return randbytes(16).hex()  # it only tells requests apart, so it may be guessable


def id_headers(dialect: ClientDialect, id: str) -> RawHeaders:
    """The headers of a response that plano makes without asking an upstream."""
    return [(name, id.encode("latin-1")) for name in dict.fromkeys((_OURS, _READ_BY_SDK[dialect]))]


def told_id(request: Request, headers: RawHeaders) -> str:
    """The id for the body of an error, equal to that in the header which the client's SDK reads.

    Args:
        headers: those of the upstream's answer, if there is one.
    """
    shown, anthropics, _ = _ids(request, headers)
    return (shown if _READ_BY_SDK[request.journal.dialect] == _OURS else anthropics).decode("latin-1")


def set_ids(request: Request, response: Response) -> None:
    """Set the headers with the request's id, and note the upstream's own."""
    shown, anthropics, upstreams = _ids(request, response.headers)
    if upstreams is None:
        response.headers.append((_OURS, shown))
    else:
        if response.attempt is not None:
            response.attempt.note_id(upstreams)
        if (_OURS, shown) not in response.headers:
            response.set_header(_OURS, shown)
        if shown is not upstreams:
            response.set_header(_UPSTREAMS, upstreams)
    if _READ_BY_SDK[request.journal.dialect] == _ANTHROPICS and (_ANTHROPICS, anthropics) not in response.headers:
        response.headers.append((_ANTHROPICS, anthropics))


def _ids(request: Request, headers: RawHeaders) -> tuple[bytes, bytes, bytes | None]:
    """The values of `x-request-id` and `request-id`, and the upstream's own id, or None."""
    ours = anthropics = None
    for name_, value in headers:
        if name_ == _OURS:
            ours = value
        elif name_ == _ANTHROPICS:
            anthropics = value
    upstreams = anthropics if ours is None else ours
    shown = request.id.encode("latin-1") if upstreams is None or _named(request) else upstreams
    return shown, shown if anthropics is None else anthropics, upstreams


def _named(request: Request) -> bool:
    """Whether the client sent an id."""
    return request.headers.find(_OURS) is not None
