"""Credentials that are made for each request, instead of travelling as they are.

A key that never changes needs none of this: its header is prepared once. A signature covers the body and the time, and
a token runs out: a signer is asked before every attempt.
"""

from __future__ import annotations

from typing import Protocol

from plano.types import RawHeaders


class Unsigned(Protocol):
    """A request that is about to be sent. Nothing of it may be changed."""

    @property
    def method(self) -> bytes: ...

    @property
    def url(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    @property
    def all_headers(self) -> RawHeaders:
        """Names in lower case; without `host` unless it is not the URL's, and without what the transport adds."""


class Signer(Protocol):
    """Makes the headers that say on whose behalf a request is sent. One instance serves all requests of an entry."""

    async def sign(self, outgoing: Unsigned) -> RawHeaders:
        """What goes out with this attempt, in addition to its other headers; names in lower case.

        Raises:
            UpstreamError: there is no credential to be had.
        """
