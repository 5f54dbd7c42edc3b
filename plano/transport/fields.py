"""Request header fields, checked and written out (RFC 9112 sections 2.1 and 5)."""

from __future__ import annotations

import re
from operator import itemgetter

import httpx

from plano.types import RawHeaders

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
"""A field name (RFC 9110 section 5.6.2), in lower case."""

_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade"))
"""The fields that decide about the end of a message and of the connection. The transport writes them."""

_MAX_NAMES = 1024

_NAME = itemgetter(0)


class FieldWriter:
    """Writes header fields. It remembers the names that it has checked, because requests repeat a few."""

    __slots__ = ("_fit", "_hosts")

    def __init__(self) -> None:
        self._fit: set[bytes] = set()
        self._hosts = False

    def block(self, headers: RawHeaders) -> bytes:
        """The fields, a line each.

        Raises:
            httpx.LocalProtocolError: a field must not be sent, because its name is invalid or not in lower case, it
                belongs to the framing, or its value would end its line.
        """
        if len(headers) == 1:
            ((name, value),) = headers
            if name in self._fit and value.isalnum():  # true of nearly all ids of requests
                return b"%b: %b\r\n" % (name, value)
        elif not headers:
            return b""
        if not self._fit.issuperset(map(_NAME, headers)):
            self._admit(headers)
        block = b"\r\n".join(map(b": ".join, headers)) + b"\r\n"
        lines = len(headers)
        if block.count(b"\n") != lines or block.count(b"\r") != lines or b"\0" in block:
            raise httpx.LocalProtocolError("a header value with CR, LF or NUL")
        return block

    def names_a_host(self, headers: RawHeaders) -> bool:
        """Whether there is a `host` among `headers`, which `block` has checked."""
        return self._hosts and any(name == b"host" for name, _ in headers)

    def _admit(self, headers: RawHeaders) -> None:
        if len(self._fit) > _MAX_NAMES:
            self._fit.clear()
        for name, _ in headers:
            if not _TOKEN.fullmatch(name):
                raise httpx.LocalProtocolError("not the name of a header in lower case")
            if name in _FRAMING:
                raise httpx.LocalProtocolError(f"{name.decode()} is set by the transport")
            self._fit.add(name)
        self._hosts = b"host" in self._fit or self._hosts
