"""Turns errors of httpx and sockets into those of `plano.errors`.

The message is for the client, so it names no internal host. The cause is kept for the log.
"""

from __future__ import annotations

import socket
import ssl
from errno import EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM

import httpx

from plano.codings import CodingError
from plano.errors import (
    GatewayExhausted,
    PlanoError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)


class Disconnected(httpx.RemoteProtocolError):
    """The peer closed in the middle of an exchange: to httpx a protocol error, to plano a broken connection."""


class Stale(Disconnected):
    """A connection that had served before ended before the first byte of a reply.

    Attributes:
        untouched: whether it is certain that no byte of the request reached the peer before it closed.
    """

    def __init__(self, *, untouched: bool) -> None:
        super().__init__("the server closed a connection that was kept alive, without a reply")
        self.untouched = untouched


class Unreadable(CodingError):
    """A body in a coding that was not asked for and is not undone here."""


FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, CodingError, OSError)
"""The errors that `to_plano` takes."""

# The first row that fits decides, so subclasses come before their base.
_TABLE: tuple[tuple[type[Exception], type[UpstreamError], str], ...] = (
    (httpx.ConnectTimeout, UpstreamTimeout, "The upstream could not be reached in time."),
    (httpx.WriteTimeout, UpstreamTimeout, "The upstream did not take the request in time."),
    (httpx.PoolTimeout, UpstreamUnavailable, "No connection to the upstream became free in time."),
    (httpx.TimeoutException, UpstreamTimeout, "The upstream did not answer in time."),
    (httpx.ConnectError, UpstreamUnavailable, "The upstream could not be reached."),
    (httpx.ProxyError, UpstreamUnavailable, "The proxy on the way to the upstream refused."),
    (httpx.NetworkError, UpstreamUnavailable, "The connection to the upstream broke."),
    (Disconnected, UpstreamUnavailable, "The upstream closed the connection before its reply was complete."),
    (Unreadable, UpstreamProtocolError, "The upstream's reply is compressed in a way that was not asked for."),
    (CodingError, UpstreamProtocolError, "The upstream's reply is not coded as it says."),
    (httpx.DecodingError, UpstreamProtocolError, "The upstream's reply is not coded as it says."),
    (httpx.RemoteProtocolError, UpstreamProtocolError, "The upstream's reply is not valid HTTP."),
    (httpx.LocalProtocolError, UpstreamProtocolError, "The request cannot be sent as HTTP."),
    (httpx.UnsupportedProtocol, UpstreamUnavailable, "The upstream's URL cannot be used."),
    (httpx.InvalidURL, UpstreamUnavailable, "The upstream's URL cannot be used."),
    (httpx.StreamError, UpstreamProtocolError, "The upstream's reply was read twice."),
    (TimeoutError, UpstreamTimeout, "The upstream did not answer in time."),
    (ssl.SSLError, UpstreamUnavailable, "The upstream's certificate or TLS was not acceptable."),
    (OSError, UpstreamUnavailable, "The connection to the upstream broke."),
    (httpx.HTTPError, UpstreamUnavailable, "The upstream could not be used."),
)


_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    socket.gaierror,
    ConnectionRefusedError,
    ssl.SSLCertVerificationError,
)
"""The errors that come before anything is sent: of names, connections, TLS and proxies."""

_EXHAUSTED = frozenset((EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL))
"""The errors of a machine without descriptors, memory, buffers or local ports."""


def exhausted(error: BaseException | None) -> bool:
    """Whether `error` comes from a lack of resources on this machine, and not from the peer."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno in _EXHAUSTED
        error = error.__cause__ or error.__context__
    return False


def to_plano(error: Exception) -> PlanoError:
    """The plano error that stands for `error`, one of `FOREIGN`. Use `raise to_plano(error) from error`."""
    if isinstance(error, httpx.ConnectError | OSError) and exhausted(error):
        return GatewayExhausted("The gateway cannot open more connections.")
    for foreign, ours, message in _TABLE:
        if isinstance(error, foreign):
            crowded = foreign is httpx.PoolTimeout
            told = ours(message, status=503, kind="overloaded") if crowded else ours(message)
            told.sent = not (error.untouched if isinstance(error, Stale) else isinstance(error, _NEVER_SENT))
            return told
    raise AssertionError(f"{type(error).__name__} is not one of FOREIGN") from error
