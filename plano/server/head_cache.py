"""Heads of requests that were read before: a client sends the same one over and over, but for the body's length."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from plano.types import RawHeaders, Scope

MOST = 256
"""Heads that are remembered."""

LONGEST = 4096
"""Bytes of one."""

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,18})(?=\r\n)").search


class Known(NamedTuple):
    """What a head came to.

    Attributes:
        parts: of the scope: version, method, path and query.
        headers: all of them; the length's is at `at`.
    """

    parts: Scope
    headers: RawHeaders
    at: int


class Heads:
    """Equal bytes mean an equal request, and digits in place of digits another length, so nothing is parsed again.

    Only heads with a `content-length` that the parser accepted are taken in, in its usual spellings. One with two is
    none of them.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def recall(self, data: bytes) -> tuple[Scope, RawHeaders, int, int] | None:
        """The head that `data` begins with, if it is known: parts, headers, the body's length, and where it begins."""
        cut = _cut(data)
        known = None if cut is None else self._known.get(cut[0])
        if cut is None or known is None:
            return None
        _, start, stop, end = cut
        digits = data[start:stop]
        headers = known.headers.copy()
        headers[known.at] = (b"content-length", digits)
        return known.parts, headers, int(digits), end + 4

    def remember(self, data: bytes, scope: Scope, body: int) -> None:
        """Take in the head that `data` begins with, and was parsed from it.

        Args:
            body: how much of the rest of `data` is this request's body; if that is not all, the head ended elsewhere.
        """
        cut = _cut(data)
        if cut is None or len(data) - cut[3] - 4 != body:
            return
        if len(self._known) >= MOST:
            self._known.clear()  # heads that never come again have pushed the others out
        headers: RawHeaders = scope["headers"]
        at = [name for name, _ in headers].index(b"content-length")
        parts: dict[str, Any] = {name: scope[name] for name in _PARTS}
        self._known[cut[0]] = Known(parts, headers.copy(), at)


def _cut(data: bytes) -> tuple[bytes, int, int, int] | None:
    """The head without the digits of its length, where those stand, and where the head ends."""
    end = data.find(b"\r\n\r\n", 0, LONGEST)
    found = None if end < 0 else _LENGTH(data, 0, end + 2)
    if found is None:
        return None
    start, stop = found.span(1)
    return data[:start] + data[stop:end], start, stop, end


_PARTS = ("http_version", "method", "path", "raw_path", "query_string")

HEADS = Heads()
