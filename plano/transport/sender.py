"""The interface that the upstream link sends through: one request out, one reply back, and nothing wider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf
from typing import Protocol

from msgspec import Struct

from plano.types import RawHeaders


class Timeouts(Struct, frozen=True, kw_only=True):
    """The most seconds to wait for a peer; `math.inf` means for ever.

    Attributes:
        connect: name look-up, TCP and TLS together.
        write: the longest pause in which the peer takes nothing of the request.
        first_byte: from the request's last byte until the head of the reply is there.
        idle: between two pieces of the reply's body.
        pool: for a connection to come free, if the origin has as many as it may have.
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
        method: in capitals.
        url: absolute, from the configuration. The transport remembers how it parsed a URL, so URLs should come from a
            bounded set; one that is made up for one request works and costs a parse.
        headers: lower-case names, values without CR, LF or NUL. `content-length` and the other fields of the framing
            are the transport's and are refused here. `host` is only needed to say something else than the URL does.
        constant: headers that go before these. They are written out once for many requests if the caller gives the
            very same list with each, and does not change it.
        body: as it goes on the wire.
        timeouts: how long to wait.
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
        """The same as `read`, if all of the body is here already; None if it is not, or is longer than `limit`."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamProtocolError if it has more than `limit` bytes."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces, each as soon as it comes, and none empty."""
        ...

    async def aclose(self) -> None:
        """Gives up what was not read. An exchange that was not read to its end needs it; others may have it."""
        ...


class Sender(Protocol):
    """Sends requests."""

    async def send(self, request: Outgoing) -> Exchange:
        """The reply, once its head is there. Raises the same three errors as reading, and GatewayExhausted."""
        ...

    async def aclose(self) -> None: ...
