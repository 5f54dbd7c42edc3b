"""The interface that the upstream link sends through: one request out, one reply back, and nothing wider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf
from typing import Protocol

from msgspec import Struct

from plano.types import RawHeaders


class Timeouts(Struct, frozen=True, kw_only=True):
    """The most seconds to wait for a peer; `math.inf` means without limit.

    Attributes:
        connect: name look-up, TCP and TLS together.
        write: the longest pause in which the peer takes nothing of the request.
        first_byte: from the request's last byte to the head of the reply.
        idle: between two pieces of the reply's body.
        pool: the wait for a free connection, if the origin has the most that it may have.
    """

    connect: float = 5.0
    write: float = 30.0
    first_byte: float = 300.0
    idle: float = 300.0
    pool: float = 10.0


NO_TIMEOUTS = Timeouts(connect=inf, write=inf, first_byte=inf, idle=inf, pool=inf)


class Outgoing(Struct, kw_only=True):
    """One request, ready to be sent.

    Attributes:
        method: the HTTP method in capitals.
        url: an absolute URL, from the configuration. The transport remembers parsed URLs, so they should come from a
            bounded set; one that is made up for one request works and costs a parse.
        headers: lower-case names, values without CR, LF or NUL. `content-length` and the other fields of the framing
            belong to the transport and are refused here. `host` is needed only if it differs from the URL's.
        constant: headers that go before these. They are written out once for many requests if the caller gives the
            very same list with each, and does not change it.
        body: the bytes on the wire.
        timeouts: the most seconds to wait.
    """

    method: bytes = b"POST"
    url: str
    headers: RawHeaders
    constant: RawHeaders = []
    body: bytes = b""
    timeouts: Timeouts = Timeouts()

    @property
    def all_headers(self) -> RawHeaders:
        """All headers, the constant ones first."""
        return [*self.constant, *self.headers]


class Exchange(Protocol):
    """A reply whose head has arrived.

    Its body is read once, whole or in pieces, and is plain: a `content-encoding` that this process can undo has been
    undone, and the fields that described the coded form are gone from `headers`.

    Raises:
        UpstreamTimeout, UpstreamUnavailable, UpstreamProtocolError: on reading.
    """

    status: int
    headers: RawHeaders

    def whole(self, limit: int) -> bytes | None:
        """The same as `read`, if all of the body has come; None if it has not, or is longer than `limit`."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamProtocolError if it has more than `limit` bytes."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces, each as soon as it comes. None of them is empty."""
        ...

    async def aclose(self) -> None:
        """Gives up the unread part. An exchange that was not read to its end needs this; for others it is harmless."""
        ...


class Sender(Protocol):
    """Sends requests."""

    async def send(self, request: Outgoing) -> Exchange:
        """Send the request, and return the reply once its head is there.

        Raises:
            UpstreamTimeout, UpstreamUnavailable, UpstreamProtocolError: no reply came, or none that can be read.
            GatewayExhausted: this machine has no resources left for a connection.
        """
        ...

    async def aclose(self) -> None: ...
