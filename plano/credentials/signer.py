"""Credentials that are made anew for each request.

A key that travels unchanged needs no signer, because its header is prepared once. But a signature covers the body and
the time, and a token expires, so a signer is asked before every attempt.
"""

from __future__ import annotations

from typing import Protocol

from plano.types import RawHeaders


class Unsigned(Protocol):
    """A request that is about to be sent. A signer must not change it."""

    @property
    def method(self) -> bytes: ...

    @property
    def url(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    @property
    def all_headers(self) -> RawHeaders:
        """The headers without those of the transport, names in lower case; `host` only if it is not the URL's."""


class Signer(Protocol):
    """Makes the headers that authenticate a request. One instance serves all requests of an entry."""

    async def sign(self, outgoing: Unsigned) -> RawHeaders:
        """The headers to add to this attempt's others; names in lower case.

        Raises:
            UpstreamError: no credential could be obtained.
        """
