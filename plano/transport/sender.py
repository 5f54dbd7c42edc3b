"""What the upstream link sends through: one request out, one reply back, and nothing wider than that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf
from typing import Protocol

from msgspec import Struct

from plano.types import RawHeaders


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long to wait for a peer, in seconds; `math.inf` means for ever.

    Attributes:
        connect: name look-up, TCP and TLS together.
        write: the longest pause in which the peer takes nothing of the request.
        first_byte: from the request's last byte until the head of the reply is there.
        idle: between two pieces of the reply's body.
        pool: in line for a connection, when the origin has as many as it may have.
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
        url: absolute, from the configuration. What is derived from it is remembered, so it should come
            from a bounded set; a URL made up for one request works and costs a parse.
        headers: lower-case names, values without CR, LF or NUL. `content-length` and the other fields of
            the framing are the transport's and are refused here; `host` only to say something else than the URL does.
        constant: headers that go before these. Whoever sends many requests to one URL gives the very same list with
            each, and does not change it: it is then written out once.
        body: as it goes on the wire.
        timeouts: see there.
    """

    method: bytes = b"POST"
    url: str
    headers: RawHeaders
    constant: RawHeaders = []
    body: bytes = b""
    timeouts: Timeouts = Timeouts()

    @property
    def all_headers(self) -> RawHeaders:
        """The constant ones, and the others."""
        return [*self.constant, *self.headers]


class Exchange(Protocol):
    """A reply whose head has arrived.

    Its body is read once, whole or in pieces, and is plain: a `content-encoding` that this process can undo has been
    undone, and the fields that described the coded form are gone from `headers`. Reading raises
    `UpstreamTimeout`, `UpstreamUnavailable` or `UpstreamProtocolError`.
    """

    status: int
    headers: RawHeaders

    def whole(self, limit: int) -> bytes | None:
        """What `read` gives, if all of it is here already; None if it is not, or longer than `limit`."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body; an `UpstreamProtocolError` when it has more than `limit` bytes."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces, each as soon as it came and never empty."""
        ...

    async def aclose(self) -> None:
        """Gives up what was not read; needed after every exchange that was not read to its end, harmless always."""
        ...


class Sender(Protocol):
    """Sends requests. `send` returns with the reply's head and raises the same three errors that reading does, and
    `GatewayExhausted`."""

    async def send(self, request: Outgoing) -> Exchange: ...

    async def aclose(self) -> None: ...
